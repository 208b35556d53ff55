//! The third reading: what the crate's handwritten code offers, read from its
//! source, so that it need not compile.

use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens;
use syn::{FnArg, ImplItem, Item};

use super::Facts;
use super::document::shown;
use crate::repo::{File, Repo};

pub fn read(repo: &Repo) -> Result<Facts, String> {
    let files = repo.rust_files(&["src"])?;
    let parsed: Vec<syn::File> = files
        .iter()
        .map(|file: &File| syn::parse_file(&file.text).map_err(|e| format!("{}: {e}", file.path)))
        .collect::<Result<_, _>>()?;
    let items: Vec<&Item> = parsed.iter().flat_map(|file| &file.items).collect();
    Ok(facts(&items))
}

fn facts(items: &[&Item]) -> Facts {
    let aliases: Facts = items
        .iter()
        .filter_map(|item| match item {
            Item::Type(alias) => Some((alias.ident.to_string(), named(&alias.ty))),
            _ => None,
        })
        .collect();
    let mut facts = Facts::new();
    for item in items {
        match item {
            Item::Impl(item)
                if item.trait_.is_none() && named(&*item.self_ty) == "ControlPlane" =>
            {
                facts.extend(item.items.iter().filter_map(|item| method(item, &aliases)));
            }
            Item::Macro(call) if call.mac.path.is_ident("open_string") => {
                facts.extend(words(call.mac.tokens.clone()));
            }
            _ => {}
        }
    }
    let names = event_names(&facts);
    for item in items {
        if let Item::Macro(call) = item
            && call.mac.path.is_ident("kinds")
        {
            facts.extend(kinds(call.mac.tokens.clone(), &names));
        }
    }
    facts
}

/// A method whose doc names its route: (`GET /v1/ping`).
fn method(item: &ImplItem, aliases: &Facts) -> Option<(String, String)> {
    let ImplItem::Fn(method) = item else { return None };
    let documentation: String =
        method.attrs.iter().map(|a| a.to_token_stream().to_string()).collect();
    let (verb, path) = documentation.split('`').find_map(route)?;
    let body = method.sig.inputs.iter().find_map(|input| match input {
        FnArg::Typed(argument) if argument.pat.to_token_stream().to_string() == "body" => {
            Some(named(&argument.ty))
        }
        _ => None,
    });
    let body = body.map(|body| aliases.get(&body).cloned().unwrap_or(body));
    let output = named(&method.sig.output);
    let answer = match output.as_str() {
        "()" => "nothing",
        "SseResponse" => "events",
        "Artifact" => "bytes",
        other => other,
    };
    let fact = shown(verb, path, body.as_deref(), answer);
    Some((format!("operation {}", method.sig.ident), fact))
}

fn route(text: &str) -> Option<(&str, &str)> {
    let (verb, path) = text.split_once(' ')?;
    let known = ["GET", "PUT", "POST", "DELETE", "PATCH"].contains(&verb);
    (known && path.starts_with("/v1/")).then_some((verb, path))
}

/// `Peer` of `types::Peer`, `&types::Peer` or `Result<types::Peer, Error>`; `[Peer]` of `Vec<types::Peer>`.
fn named(tokens: &impl ToTokens) -> String {
    let text = tokens.to_token_stream().to_string().replace(' ', "");
    let text = text.trim_start_matches("->").trim_start_matches('&').replace("types::", "");
    if let Some(inner) = text.strip_prefix("Result<") {
        return inner.rsplit_once(',').map_or(inner, |(value, _)| value).to_owned();
    }
    match text.strip_prefix("Vec<") {
        Some(inner) => format!("[{}]", inner.trim_end_matches('>')),
        None => text,
    }
}

/// `Name { Variant = "text", ... }` in an `open_string!`.
fn words(tokens: TokenStream) -> Option<(String, String)> {
    let mut name = String::new();
    for token in tokens {
        match token {
            TokenTree::Ident(ident) => name = ident.to_string(),
            TokenTree::Group(group) if group.delimiter() == proc_macro2::Delimiter::Brace => {
                let pairs = texts(group.stream());
                let words: Vec<String> = pairs.into_iter().map(|(_, text)| text).collect();
                return Some((format!("words {name}"), words.join(" ")));
            }
            _ => {}
        }
    }
    None
}

/// The variants and their texts.
fn texts(tokens: TokenStream) -> Vec<(String, String)> {
    let mut variant = String::new();
    let mut found = Vec::new();
    for token in tokens {
        match token {
            TokenTree::Ident(ident) => variant = ident.to_string(),
            TokenTree::Literal(text) => {
                found.push((variant.clone(), text.to_string().trim_matches('"').to_owned()));
            }
            _ => {}
        }
    }
    found
}

/// The event names that `EventType` has.
fn event_names(facts: &Facts) -> Vec<String> {
    let words = facts.get("words EventType").map(String::as_str).unwrap_or_default();
    words.split(' ').map(str::to_owned).collect()
}

/// `PeerAdded => types::Peer,` for each event.
fn kinds(tokens: TokenStream, names: &[String]) -> Vec<(String, String)> {
    let text = tokens.to_string().replace([' ', '\n'], "").replace("types::", "");
    let pairs = text.split(',').filter_map(|pair| pair.split_once("=>"));
    pairs
        .map(|(variant, payload)| {
            let of_variant = |name: &&String| name.replace('_', "").eq_ignore_ascii_case(variant);
            let name = names.iter().find(of_variant).cloned().unwrap_or(variant.to_owned());
            (format!("event {name}"), payload.to_owned())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_words_and_events_are_read_from_source() {
        let source = r#"
            pub type MetricBatch = Vec<types::MetricPoint>;
            impl ControlPlane {
                /// Sends points (`POST /v1/nodes/{node_id}/metrics`).
                pub async fn report_metrics(&self, node_id: &str, body: &MetricBatch) -> Result<(), Error> {}
                /// Opens (`GET /v1/e`).
                pub async fn connect_sse(&self) -> Result<SseResponse, Error> {}
                /// Has no route.
                pub fn new() -> Self {}
            }
            open_string! { /** Doc. */ EventType { /** A. */ PeerAdded = "peer_added", KeyGone = "key_gone", } }
            kinds! { PeerAdded => types::Peer, KeyGone => Trigger, }
        "#;
        let file = syn::parse_file(source).unwrap();
        let found = facts(&file.items.iter().collect::<Vec<_>>());
        let shown: Vec<String> =
            found.iter().map(|(name, said)| format!("{name}: {said}")).collect();
        assert_eq!(
            shown,
            [
                "event key_gone: Trigger",
                "event peer_added: Peer",
                "operation connect_sse: GET /v1/e answers events",
                "operation report_metrics: POST /v1/nodes/{node_id}/metrics takes [MetricPoint], answers nothing",
                "words EventType: peer_added key_gone",
            ]
        );
    }
}
