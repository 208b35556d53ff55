//! Check 2: what the generated code offers, one fact a line, so that a change of
//! the contract is readable in review.

use std::collections::BTreeMap;

use quote::ToTokens;
use syn::{Fields, FnArg, ImplItem, Item, ItemStruct, Visibility};

use crate::generate::{self, HANDWRITTEN};
use crate::repo::Repo;
use crate::report::Line;
use crate::spec::{Spec, referred};

const PATH: &str = "openapi/surface.txt";
const MEND: &str = "run `cargo xtask verify-spec --bless` and review the diff";
const HEAD: &str = "\
# What the build makes of plexsphere.yaml: operations, types, fields, events, one a line.
# Written by `cargo xtask verify-spec --bless`; do not edit.
";

pub fn check(repo: &Repo, spec: &Spec) -> Line {
    let real = match surface(spec) {
        Ok(real) => real,
        Err(problem) => return Line::new("surface", "nothing is generated", vec![problem]),
    };
    let noted = match repo.read(PATH) {
        Ok(noted) => noted,
        Err(e) => return Line::new("surface", "not noted", vec![format!("{e}: {MEND}")]),
    };
    let facts = real.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).count();
    Line::new("surface", format!("{facts} facts in {PATH}"), differences(&noted, &real))
}

/// Renews the file; says what changed in it.
pub fn bless(repo: &Repo) -> Result<String, String> {
    let real = surface(&Spec::of(repo)?)?;
    let noted = repo.read(PATH).unwrap_or_default();
    repo.write(PATH, &real)?;
    let changed: Vec<String> =
        changes(&noted, &real).into_iter().map(|(sign, line)| format!("{sign} {line}")).collect();
    Ok(match changed.len() {
        0 => format!("{PATH} was right"),
        _ => format!("{}\n{PATH} is renewed", changed.join("\n")),
    })
}

fn differences(noted: &str, real: &str) -> Vec<String> {
    changes(noted, real)
        .into_iter()
        .map(|(sign, line)| match sign {
            '+' => format!("{PATH} lacks `{line}`: {MEND}"),
            _ => format!("{PATH} has `{line}`, but the generated code has not: {MEND}"),
        })
        .collect()
}

fn changes<'a>(noted: &'a str, real: &'a str) -> Vec<(char, &'a str)> {
    let gone = noted.lines().filter(|line| !real.lines().any(|l| l == *line)).map(|l| ('-', l));
    let new = real.lines().filter(|line| !noted.lines().any(|l| l == *line)).map(|l| ('+', l));
    gone.chain(new).collect()
}

/// The facts about the code that the generator makes of `spec`.
pub fn surface(spec: &Spec) -> Result<String, String> {
    let code = generate::generate(&spec.text, &HANDWRITTEN)?;
    let file = syn::parse_file(&code).map_err(|e| format!("the generated code: {e}"))?;
    let mut facts = HEAD.to_owned();
    let mut section = |lines: Vec<String>| {
        facts += "\n";
        lines.into_iter().for_each(|line| facts += &(line + "\n"));
    };
    section(operations(&file));
    section(types(&file));
    section(events(spec));
    Ok(facts)
}

/// `operation fetch_state = GET /v1/nodes/{node_id}/state (node_id: &str) -> StateResponse`
fn operations(file: &syn::File) -> Vec<String> {
    let methods = file.items.iter().filter_map(|item| match item {
        Item::Impl(item) if item.trait_.is_none() => Some(&item.items),
        _ => None,
    });
    let mut lines: Vec<String> = methods
        .flatten()
        .filter_map(|item| match item {
            ImplItem::Fn(method) if method.sig.asyncness.is_some() => Some(operation(method)),
            _ => None,
        })
        .collect();
    lines.sort();
    lines
}

fn operation(method: &syn::ImplItemFn) -> String {
    let documentation: String = method.attrs.iter().filter_map(doc_text).collect();
    // The generator writes: Sends a `GET` request to `/v1/ping`
    let mut sent = documentation.rsplit("Sends a `").next().unwrap_or_default().split('`');
    let (verb, path) = (sent.next().unwrap_or_default(), sent.nth(1).unwrap_or_default());
    let arguments: Vec<String> = method
        .sig
        .inputs
        .iter()
        .filter_map(|input| match input {
            FnArg::Typed(argument) => {
                Some(format!("{}: {}", argument.pat.to_token_stream(), shown(&argument.ty)))
            }
            FnArg::Receiver(_) => None,
        })
        .collect();
    let answer = shown(&method.sig.output);
    let answer = answer
        .strip_prefix("->Result<")
        .and_then(|rest| rest.rsplit_once(", Error<"))
        .map_or(answer.as_str(), |(inner, _)| inner);
    // Streams are left as the generator wraps them.
    let answer = answer
        .strip_prefix("ResponseValue<")
        .and_then(|rest| rest.strip_suffix('>'))
        .unwrap_or(answer);
    format!("operation {} = {verb} {path} ({}) -> {answer}", method.sig.ident, arguments.join(", "))
}

fn doc_text(attribute: &syn::Attribute) -> Option<String> {
    let syn::Meta::NameValue(pair) = &attribute.meta else { return None };
    match &pair.value {
        syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. })
            if attribute.path().is_ident("doc") =>
        {
            Some(text.value())
        }
        _ => None,
    }
}

fn types(file: &syn::File) -> Vec<String> {
    let module = file.items.iter().find_map(|item| match item {
        Item::Mod(module) if module.ident == "types" => module.content.as_ref(),
        _ => None,
    });
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for item in module.iter().flat_map(|(_, items)| items) {
        let (name, lines) = match item {
            Item::Struct(item) => (item.ident.to_string(), structure(item)),
            Item::Enum(item) => (item.ident.to_string(), enumeration(item)),
            Item::Type(item) => {
                (item.ident.to_string(), vec![format!("type {} = {}", item.ident, shown(&item.ty))])
            }
            _ => continue,
        };
        found.insert(name, lines);
    }
    found.into_values().flatten().collect()
}

fn structure(item: &ItemStruct) -> Vec<String> {
    let name = &item.ident;
    let open = item.attrs.iter().any(|a| a.path().is_ident("non_exhaustive"));
    match &item.fields {
        Fields::Named(fields) => {
            let kind = if open { "received" } else { "sent" };
            let lines = fields.named.iter().map(|field| format!("field {name}.{}", fact(field)));
            std::iter::once(format!("type {name}, {kind}")).chain(lines).collect()
        }
        Fields::Unnamed(fields) => {
            let inner: Vec<String> = fields.unnamed.iter().map(|field| shown(&field.ty)).collect();
            vec![format!("type {name} = ({})", inner.join(", "))]
        }
        Fields::Unit => vec![format!("type {name}")],
    }
}

fn enumeration(item: &syn::ItemEnum) -> Vec<String> {
    let name = &item.ident;
    let variants = item.variants.iter().map(|variant| {
        let held = match &variant.fields {
            Fields::Unit => String::new(),
            fields => shown(fields),
        };
        format!("variant {name}::{}{held}", variant.ident)
    });
    std::iter::once(format!("type {name}, one of")).chain(variants).collect()
}

/// `psk: Option<Secret>, may be absent`
fn fact(field: &syn::Field) -> String {
    let name = field.ident.as_ref().map(ToString::to_string).unwrap_or_default();
    let serde: String = field
        .attrs
        .iter()
        .filter(|attribute| attribute.path().is_ident("serde"))
        .map(|attribute| attribute.to_token_stream().to_string())
        .collect();
    let renamed = serde
        .split_once("rename = \"")
        .and_then(|(_, rest)| rest.split_once('"'))
        .map(|(name, _)| format!(" ({name})"))
        .unwrap_or_default();
    let kind = shown(&field.ty);
    let absent = kind.starts_with("Option<") || serde.contains("default");
    let hidden = !matches!(field.vis, Visibility::Public(_));
    format!(
        "{name}{renamed}: {kind}{}{}",
        if absent { ", may be absent" } else { "" },
        if hidden { ", private" } else { "" }
    )
}

/// A type as one would write it with everything imported.
fn shown(tokens: &impl ToTokens) -> String {
    let mut text = tokens.to_token_stream().to_string().replace(' ', "");
    for prefix in [
        "::std::string::",
        "::std::option::",
        "::std::vec::",
        "::std::collections::",
        "::std::boxed::",
        "crate::values::",
        "crate::events::",
        "types::",
        "'a",
    ] {
        text = text.replace(prefix, "");
    }
    text.replace(",>", ">").replace(',', ", ")
}

fn events(spec: &Spec) -> Vec<String> {
    let payload = |schema| referred(schema).unwrap_or("in place").to_owned();
    spec.events()
        .into_iter()
        .map(|(name, schema)| format!("event {name}: {}", payload(schema)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_names_the_line_and_the_mend() {
        assert_eq!(
            differences("# head\nfield Peer.id: String\n", "# head\nfield Peer.id: i64\n"),
            [
                "openapi/surface.txt has `field Peer.id: String`, but the generated code has not: run `cargo xtask verify-spec --bless` and review the diff",
                "openapi/surface.txt lacks `field Peer.id: i64`: run `cargo xtask verify-spec --bless` and review the diff",
            ]
        );
        assert!(differences("a\n", "a\n").is_empty());
    }
}
