//! OpenAPI text to Rust text: what the generator cannot take is refused with a
//! mend, what it would mishandle is changed before it, and what it gets wrong for
//! a Go server is changed after it.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use openapiv3::{
    MediaType, OpenAPI, Operation, ReferenceOr, Response, Schema, SchemaKind, StatusCode, Type,
};
use progenitor::{GenerationSettings, Generator, HooksMode, InterfaceStyle, TypeImpl};
use schemars08::schema::{InstanceType, SchemaObject};
use syn::visit_mut::VisitMut;

/// The generated module for the document `text`.
///
/// The error names the operation or schema, and the mend.
pub fn generate(text: &str) -> Result<String, String> {
    let mut spec = parse(text)?;
    refuse_unsupported(&spec)?;
    only_success_responses(&mut spec)?;
    let tokens = run_generator(&spec)?;
    let mut file: syn::File =
        syn::parse2(tokens).map_err(|e| format!("the generated code does not parse: {e}"))?;
    NullIsEmpty.visit_file_mut(&mut file);
    NonExhaustive { exhaustive: request_types(&spec) }.visit_file_mut(&mut file);
    Ok(prettyplease::unparse(&file))
}

fn parse(text: &str) -> Result<OpenAPI, String> {
    let spec: OpenAPI = serde_norway::from_str(text)
        .map_err(|e| format!("is not an OpenAPI 3.0 document in YAML: {e}"))?;
    if !spec.openapi.starts_with("3.0.") {
        return Err(format!(
            "says `openapi: {}`, but the generator takes 3.0.x: set it to 3.0.3",
            spec.openapi
        ));
    }
    Ok(spec)
}

// ---- before: what cannot be taken ----

fn refuse_unsupported(spec: &OpenAPI) -> Result<(), String> {
    let mut ids = BTreeSet::new();
    for (path, item) in &spec.paths.paths {
        let ReferenceOr::Item(item) = item else {
            return Err(format!("path `{path}` is a reference: write the path item in place"));
        };
        for (method, operation) in item.iter() {
            let Some(id) = &operation.operation_id else {
                return Err(format!("`{method} {path}` has no operationId: give it one"));
            };
            if !ids.insert(id) {
                return Err(format!(
                    "operationId `{id}` is given twice: each operation needs one of its own"
                ));
            }
            refuse_operation(id, operation)?;
        }
    }
    for (name, schema) in named_schemas(spec) {
        refuse_schema(name, schema)?;
    }
    Ok(())
}

fn refuse_operation(id: &str, operation: &Operation) -> Result<(), String> {
    match &operation.request_body {
        Some(ReferenceOr::Reference { .. }) => {
            return Err(format!(
                "operation `{id}`: its request body is a reference: write the body in place"
            ));
        }
        Some(ReferenceOr::Item(body)) => {
            if body.content.len() != 1 {
                return Err(format!(
                    "operation `{id}`: its request body has {} media types: give exactly one, `application/json`",
                    body.content.len()
                ));
            }
            const TAKEN: [&str; 4] = [
                "application/json",
                "application/octet-stream",
                "application/x-www-form-urlencoded",
                "text/plain",
            ];
            if let Some(media) = body.content.keys().find(|m| !TAKEN.contains(&m.as_str())) {
                return Err(format!(
                    "operation `{id}`: the generator has no request body of type `{media}`: use `application/json` or `application/octet-stream`"
                ));
            }
        }
        None => {}
    }
    if !operation.responses.responses.keys().any(is_success) {
        return Err(format!(
            "operation `{id}`: no 2xx response is documented: add one, such as `'204'`"
        ));
    }
    Ok(())
}

fn refuse_schema(name: &str, schema: &Schema) -> Result<(), String> {
    let mend = match &schema.schema_kind {
        SchemaKind::AnyOf { .. } => "has `anyOf`, which decodes nothing: write `oneOf` or one type",
        SchemaKind::Type(Type::String(text)) if !text.enumeration.is_empty() => {
            "has `enum`, so one new value would fail the whole answer: write `x-extensible-enum`"
        }
        _ => return Ok(()),
    };
    Err(format!("schema `{name}` {mend}"))
}

fn named_schemas(spec: &OpenAPI) -> impl Iterator<Item = (&str, &Schema)> {
    spec.components.iter().flat_map(|c| &c.schemas).filter_map(|(name, schema)| match schema {
        ReferenceOr::Item(schema) => Some((name.as_str(), schema)),
        ReferenceOr::Reference { .. } => None,
    })
}

// ---- before: what would be mishandled ----

/// The generator decodes one success type an operation, and loses the status of
/// an error body that does not decode. The document keeps every status for
/// people; the generated code sees one `2XX`, so that each failure arrives whole
/// at the one mapper.
fn only_success_responses(spec: &mut OpenAPI) -> Result<(), String> {
    let shared = spec.components.clone().unwrap_or_default().responses;
    let resolve = |response: &ReferenceOr<Response>| match response {
        ReferenceOr::Item(response) => Some(response.clone()),
        ReferenceOr::Reference { reference } => {
            let name = reference.strip_prefix("#/components/responses/")?;
            shared.get(name)?.as_item().cloned()
        }
    };
    for item in spec.paths.paths.values_mut() {
        let ReferenceOr::Item(item) = item else { continue };
        for operation in operations_mut(item) {
            let id = operation.operation_id.clone().unwrap_or_default();
            let responses = &mut operation.responses;
            let mut kept = Vec::new();
            for (_, response) in responses.responses.iter().filter(|(code, _)| is_success(code)) {
                kept.push(resolve(response).ok_or_else(|| {
                    format!(
                        "operation `{id}`: a success response refers to nothing: mend its `$ref`"
                    )
                })?);
            }
            // Whatever 2xx the server picks, the one that has content is the type.
            kept.sort_by_key(|response| response.content.is_empty());
            let Some(mut response) = kept.into_iter().next() else { continue };
            if let Some(stream) = response.content.get_mut("text/event-stream") {
                *stream = MediaType::default();
            }
            responses.default = None;
            responses.responses.clear();
            responses.responses.insert(StatusCode::Range(2), ReferenceOr::Item(response));
        }
    }
    Ok(())
}

fn operations_mut(item: &mut openapiv3::PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.get, &mut item.put, &mut item.post, &mut item.delete, &mut item.patch]
        .into_iter()
        .flatten()
}

fn is_success(code: &StatusCode) -> bool {
    matches!(code, StatusCode::Code(200..=299) | StatusCode::Range(2))
}

// ---- the generator ----

fn run_generator(spec: &OpenAPI) -> Result<proc_macro2::TokenStream, String> {
    attempt(spec).map_err(|problem| match culprit(spec) {
        Some((name, problem)) => {
            format!("{name}: the generator cannot take it ({problem}): write it with simpler means")
        }
        None => format!("the generator cannot take the document: {problem}"),
    })
}

/// One run; a panic of the generator is an error like any other.
fn attempt(spec: &OpenAPI) -> Result<proc_macro2::TokenStream, String> {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let settings = settings(spec);
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
fn culprit(spec: &OpenAPI) -> Option<(String, String)> {
    let mut alone = spec.clone();
    alone.paths.paths.clear();
    for (path, item) in &spec.paths.paths {
        let mut one = alone.clone();
        one.paths.paths.insert(path.clone(), item.clone());
        if attempt(&alone).is_ok()
            && let Err(problem) = attempt(&one)
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
        let problem = attempt(&alone).err()?;
        attempt(&without).is_ok().then(|| (format!("schema `{name}`"), problem))
    })
}

fn settings(spec: &OpenAPI) -> GenerationSettings {
    let mut settings = GenerationSettings::default();
    settings
        .with_interface(InterfaceStyle::Positional)
        .with_hooks(HooksMode::Expected)
        .with_inner_type(quote::quote!(crate::transport::context::Call))
        .with_map_type("::std::collections::BTreeMap")
        .with_derive("PartialEq")
        .with_derive("::schemars::JsonSchema")
        .with_replacement("RawJson", "crate::values::RawJson", [TypeImpl::Default].into_iter())
        .with_replacement("Trigger", "crate::values::Trigger", [TypeImpl::Default].into_iter())
        .with_replacement("EventType", "crate::events::EventType", string_impls())
        .with_replacement("SignedEnvelope", "crate::events::SignedEnvelope", [].into_iter())
        .with_conversion(string_of("date-time"), "crate::values::Timestamp", string_impls())
        .with_conversion(
            string_of("password"),
            "crate::values::Secret",
            [TypeImpl::Default].into_iter(),
        );
    for name in open_strings(spec).filter(|name| *name != "EventType") {
        settings.with_replacement(name, format!("crate::values::{name}"), string_impls());
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

fn string_impls() -> std::array::IntoIter<TypeImpl, 2> {
    [TypeImpl::Display, TypeImpl::FromStr].into_iter()
}

/// The string sets that may grow: each is a handwritten type that carries unknown values.
fn open_strings(spec: &OpenAPI) -> impl Iterator<Item = &str> {
    named_schemas(spec)
        .filter(|(_, schema)| schema.schema_data.extensions.contains_key("x-extensible-enum"))
        .map(|(name, _)| name)
}

// ---- after ----

/// Each list and map field decodes from `null` and from nothing as empty; what is
/// written does not change.
struct NullIsEmpty;

impl VisitMut for NullIsEmpty {
    fn visit_field_mut(&mut self, field: &mut syn::Field) {
        // A tuple field belongs to a transparent newtype, which takes no attribute.
        if field.ident.is_none() || !is_collection(&field.ty) {
            return;
        }
        let has_default = field.attrs.iter().any(|attr| {
            attr.path().is_ident("serde") && quote::quote!(#attr).to_string().contains("default")
        });
        if !has_default {
            field.attrs.push(syn::parse_quote!(#[serde(default)]));
        }
        field
            .attrs
            .push(syn::parse_quote!(#[serde(deserialize_with = "crate::values::null_is_empty")]));
    }
}

fn is_collection(ty: &syn::Type) -> bool {
    let syn::Type::Path(path) = ty else { return false };
    path.path.segments.last().is_some_and(|s| s.ident == "Vec" || s.ident == "BTreeMap")
}

/// The server adds fields to what it sends, so a struct that only arrives is
/// `#[non_exhaustive]`; one that is sent can be written as a literal.
struct NonExhaustive {
    exhaustive: BTreeSet<String>,
}

impl VisitMut for NonExhaustive {
    fn visit_item_struct_mut(&mut self, item: &mut syn::ItemStruct) {
        let named = matches!(item.fields, syn::Fields::Named(_));
        if named && item.ident != "Client" && !self.exhaustive.contains(&item.ident.to_string()) {
            item.attrs.push(syn::parse_quote!(#[non_exhaustive]));
        }
    }
}

/// The names of all schemas that a request body reaches.
fn request_types(spec: &OpenAPI) -> BTreeSet<String> {
    let mut waiting: Vec<String> = spec
        .operations()
        .filter_map(|(_, _, operation)| operation.request_body.as_ref())
        .flat_map(|body| references(&serde_json::to_value(body).unwrap_or_default()))
        .collect();
    let schemas = spec.components.clone().unwrap_or_default().schemas;
    let mut reached = BTreeSet::new();
    while let Some(name) = waiting.pop() {
        if reached.insert(name.clone())
            && let Some(schema) = schemas.get(&name)
        {
            waiting.extend(references(&serde_json::to_value(schema).unwrap_or_default()));
        }
    }
    reached
}

fn references(value: &serde_json::Value) -> Vec<String> {
    match value {
        serde_json::Value::Object(map) => {
            let here = map.get("$ref").and_then(|r| r.as_str()).and_then(|r| r.rsplit('/').next());
            here.map(str::to_owned).into_iter().chain(map.values().flat_map(references)).collect()
        }
        serde_json::Value::Array(list) => list.iter().flat_map(references).collect(),
        _ => Vec::new(),
    }
}
