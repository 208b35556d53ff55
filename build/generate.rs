//! OpenAPI text to Rust text: what the generator cannot take is refused with a
//! mend, what it would mishandle is changed before it, and what it gets wrong for
//! a Go server is changed after it.

use std::panic::{AssertUnwindSafe, catch_unwind};

use openapiv3::{OpenAPI, ReferenceOr, Schema};
use progenitor::{GenerationSettings, Generator, HooksMode, InterfaceStyle, TypeImpl};
use schemars08::schema::{InstanceType, SchemaObject};
use syn::visit_mut::VisitMut;

pub mod calls;
mod passes;
mod refuse;
pub mod walk;

/// Which named schemas have a handwritten type, and where it is.
pub struct Handwritten {
    /// Schema, its type, and what that implements.
    pub named: &'static [(&'static str, &'static str, &'static [TypeImpl])],
    /// The module of all other strings that may grow (`x-extensible-enum`), and their
    /// names. Without one they are strings in a newtype.
    pub open_strings: Option<(&'static str, &'static [&'static str])>,
}

/// Those of this crate.
pub const HANDWRITTEN: Handwritten = Handwritten {
    named: &[
        ("RawJson", "crate::values::RawJson", &[TypeImpl::Default]),
        ("Trigger", "crate::values::Trigger", &[TypeImpl::Default]),
        ("EventType", "crate::events::EventType", &STRING),
        ("SignedEnvelope", "crate::events::SignedEnvelope", &[]),
    ],
    open_strings: Some((
        "crate::values",
        &["AckStatus", "ActionType", "NodeStatus", "ResultStatus"],
    )),
};

const STRING: [TypeImpl; 2] = [TypeImpl::Display, TypeImpl::FromStr];

/// The generated module for the document `text`.
///
/// The error names the operation or schema, and the mend; there is a line for each.
pub fn generate(text: &str, types: &Handwritten) -> Result<String, String> {
    let refused = problems(text)?;
    if !refused.is_empty() {
        return Err(refused.join("\n"));
    }
    let mut spec: OpenAPI = serde_norway::from_str(text)
        .map_err(|e| format!("is not an OpenAPI 3.0 document in YAML: {e}"))?;
    if let Some(name) = open_string_without_type(&spec, types) {
        return Err(format!(
            "schema `{name}` is a set of words that may grow, and has no type yet: \
             write one in src/values/open_string.rs, and name it in HANDWRITTEN in build/generate.rs"
        ));
    }
    passes::only_success_responses(&mut spec);
    let tokens = run_generator(&spec, types)?;
    let mut file: syn::File =
        syn::parse2(tokens).map_err(|e| format!("the generated code does not parse: {e}"))?;
    calls::OwnJson::rewrite(&mut file, &spec)?;
    calls::NoApiVersion.visit_file_mut(&mut file);
    calls::NoAccept.visit_file_mut(&mut file);
    calls::Answers::rewrite(&mut file)?;
    passes::NullIsEmpty.visit_file_mut(&mut file);
    passes::NonExhaustive::of(&spec).visit_file_mut(&mut file);
    passes::Documented::of(&spec).visit_file_mut(&mut file);
    Ok(prettyplease::unparse(&file))
}

/// What is refused in the document `text`; the error is that it is none.
pub fn problems(text: &str) -> Result<Vec<String>, String> {
    let document = walk::read(text)?;
    match document["openapi"].as_str() {
        Some(version) if version.starts_with("3.0.") => Ok(refuse::refusals(&document)),
        Some(version) => Err(format!(
            "says `openapi: {version}`, but the generator takes 3.0.x: set it to 3.0.3, \
             or let `cargo xtask import-spec` translate it"
        )),
        None => Err("is not an OpenAPI document: it has no `openapi: 3.0.3`".to_owned()),
    }
}

fn run_generator(spec: &OpenAPI, types: &Handwritten) -> Result<proc_macro2::TokenStream, String> {
    attempt(spec, types).map_err(|problem| match culprit(spec, types) {
        Some((name, problem)) => {
            format!("{name}: the generator cannot take it ({problem}): write it with simpler means")
        }
        None => format!("the generator cannot take the document: {problem}"),
    })
}

/// One run; a panic of the generator is an error like any other.
fn attempt(spec: &OpenAPI, types: &Handwritten) -> Result<proc_macro2::TokenStream, String> {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let settings = settings(spec, types);
    let result = catch_unwind(AssertUnwindSafe(|| Generator::new(&settings).generate_tokens(spec)));
    std::panic::set_hook(hook);
    match result {
        Ok(Ok(tokens)) => Ok(tokens),
        Ok(Err(e)) => Err(e.to_string()),
        Err(panic) => Err(panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("it panicked")
            .to_owned()),
    }
}

/// The first operation or schema whose removal lets the generator through.
fn culprit(spec: &OpenAPI, types: &Handwritten) -> Option<(String, String)> {
    let mut alone = spec.clone();
    alone.paths.paths.clear();
    for (path, item) in &spec.paths.paths {
        let mut one = alone.clone();
        one.paths.paths.insert(path.clone(), item.clone());
        if attempt(&alone, types).is_ok()
            && let Err(problem) = attempt(&one, types)
        {
            let ids: Vec<_> = item
                .as_item()
                .into_iter()
                .flat_map(|i| i.iter())
                .filter_map(|(_, o)| o.operation_id.as_deref())
                .collect();
            return Some((format!("operation `{}` ({path})", ids.join("`, `")), problem));
        }
    }
    let names: Vec<_> = named_schemas(spec).map(|(name, _)| name.to_owned()).collect();
    names.into_iter().find_map(|name| {
        let mut without = alone.clone();
        without.components.as_mut()?.schemas.shift_remove(&name);
        let problem = attempt(&alone, types).err()?;
        attempt(&without, types).is_ok().then(|| (format!("schema `{name}`"), problem))
    })
}

fn settings(spec: &OpenAPI, types: &Handwritten) -> GenerationSettings {
    let mut settings = GenerationSettings::default();
    settings
        .with_interface(InterfaceStyle::Positional)
        .with_hooks(HooksMode::Expected)
        .with_inner_type(quote::quote!(crate::transport::context::Call))
        .with_map_type("::std::collections::BTreeMap")
        .with_derive("PartialEq")
        .with_derive("::schemars::JsonSchema")
        .with_conversion(string_of("date-time"), "crate::values::Timestamp", STRING.into_iter())
        .with_conversion(
            string_of("password"),
            "crate::values::Secret",
            [TypeImpl::Default].into_iter(),
        );
    for (name, path, impls) in types.named {
        settings.with_replacement(name, path, impls.iter().copied());
    }
    let Some((module, _)) = types.open_strings else { return settings };
    for name in open_strings(spec).filter(|open| types.named.iter().all(|(name, ..)| name != open))
    {
        settings.with_replacement(name, format!("{module}::{name}"), STRING.into_iter());
    }
    settings
}

fn string_of(format: &str) -> SchemaObject {
    SchemaObject {
        instance_type: Some(InstanceType::String.into()),
        format: Some(format.into()),
        ..SchemaObject::default()
    }
}

fn named_schemas(spec: &OpenAPI) -> impl Iterator<Item = (&str, &Schema)> {
    spec.components.iter().flat_map(|c| &c.schemas).filter_map(|(name, schema)| match schema {
        ReferenceOr::Item(schema) => Some((name.as_str(), schema)),
        ReferenceOr::Reference { .. } => None,
    })
}

fn open_string_without_type<'a>(spec: &'a OpenAPI, types: &Handwritten) -> Option<&'a str> {
    let (_, known) = types.open_strings?;
    let has_type =
        |name: &str| known.contains(&name) || types.named.iter().any(|(other, ..)| *other == name);
    open_strings(spec).find(|name| !has_type(name))
}

/// The string sets that may grow: each is a handwritten type that carries unknown values.
fn open_strings(spec: &OpenAPI) -> impl Iterator<Item = &str> {
    named_schemas(spec)
        .filter(|(_, schema)| schema.schema_data.extensions.contains_key("x-extensible-enum"))
        .map(|(name, _)| name)
}
