//! Imports run one way.

use std::collections::{BTreeMap, BTreeSet};

use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens;
use syn::visit_mut::{self, VisitMut};

use super::is_test_file;
use crate::repo::File;

/// Who may import whom. What is not listed here is a leaf.
const TABLE: &[(&str, &[&str])] = &[
    ("error", &[]),
    ("config", &["error"]),
    ("transport", &["config", "error"]),
    ("sealed", &["config", "error", "transport"]),
    ("artifact", &["client", "config", "error", "reconnect", "transport"]),
    ("endpoints", &["artifact", "client", "config", "error", "transport"]),
    ("client", &["config", "error", "transport"]),
    ("events", &["config", "error"]),
    ("reconnect", &["config", "error"]),
    ("status", &["config", "error", "events", "reconnect"]),
    (
        "manager",
        &[
            "artifact",
            "client",
            "config",
            "endpoints",
            "error",
            "events",
            "reconnect",
            "status",
            "transport",
        ],
    ),
];

/// What anyone may import.
const LEAVES: [&str; 2] = ["values", "generated"];

pub fn check(files: &[File]) -> Result<Vec<String>, String> {
    let root = files.iter().find(|file| file.path == "src/lib.rs");
    let exports = root.map(exports).transpose()?.unwrap_or_default();
    let mut found = Vec::new();
    for file in files {
        if file.path.starts_with("mock/") || file.path.starts_with("xtask/") {
            found.extend(knows_the_client(file)?);
        } else if let Some(module) = module_of(&file.path) {
            found.extend(crosses(file, module, &exports)?);
        }
    }
    Ok(found)
}

/// The group of modules that a file of the client belongs to.
fn module_of(path: &str) -> Option<&str> {
    let inner = path.strip_prefix("src/")?;
    if is_test_file(path) || inner == "lib.rs" {
        return None;
    }
    if inner == "transport/generated.rs" {
        return Some("generated");
    }
    Some(inner.split('/').next().unwrap_or(inner).trim_end_matches(".rs"))
}

fn crosses(
    file: &File,
    module: &str,
    exports: &BTreeMap<String, String>,
) -> Result<Vec<String>, String> {
    let allowed = TABLE.iter().find(|(name, _)| *name == module).map(|(_, allowed)| *allowed);
    if allowed.is_none() && !LEAVES.contains(&module) {
        return Ok(vec![format!(
            "{}: the module `{module}` is not in the import table: add it to xtask/src/tidy/imports.rs and ARCHITECTURE.md",
            file.path
        )]);
    }
    let may = |target: &str| {
        target == module
            || LEAVES.contains(&target)
            || allowed.unwrap_or_default().contains(&target)
    };
    let imported = roots(file)?;
    let targets: BTreeSet<&str> = imported
        .iter()
        .map(|name| exports.get(name).map_or(name.as_str(), String::as_str))
        .filter(|target| !may(target))
        .collect();
    Ok(targets
        .into_iter()
        .map(|target| {
            format!("{}: `{module}` imports `{target}`: imports run one way, see the table in ARCHITECTURE.md", file.path)
        })
        .collect())
}

fn knows_the_client(file: &File) -> Result<Vec<String>, String> {
    Ok(names(code(file)?, "plexsphere_client")
        .then(|| format!("{}: imports the client: it reads the contract on its own", file.path))
        .into_iter()
        .collect())
}

/// Whether `name` stands anywhere in the code.
fn names(tokens: TokenStream, name: &str) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Group(group) => names(group.stream(), name),
        token => is_ident(&token, name),
    })
}

/// The names at the crate's root that a file's code uses: `crate::NAME`.
fn roots(file: &File) -> Result<BTreeSet<String>, String> {
    let mut found = BTreeSet::new();
    // In a file right under `src`, `super` is the root as well.
    let top = file.path.matches('/').count() == 1;
    scan(code(file)?, if top { &["crate", "super"] } else { &["crate"] }, &mut found);
    Ok(found)
}

fn scan(tokens: TokenStream, starts: &[&str], found: &mut BTreeSet<String>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    for (at, token) in tokens.iter().enumerate() {
        if let TokenTree::Group(group) = token {
            scan(group.stream(), starts, found);
        }
        let is_start =
            matches!(token, TokenTree::Ident(i) if starts.contains(&i.to_string().as_str()));
        let path =
            tokens.get(at + 1).is_some_and(is_colon) && tokens.get(at + 2).is_some_and(is_colon);
        if !is_start || !path {
            continue;
        }
        match tokens.get(at + 3) {
            // The generated types are anyone's, though their file lies in `transport`.
            Some(TokenTree::Ident(name))
                if name == "transport" && leads_to(&tokens[at + 4..], "generated") => {}
            Some(TokenTree::Ident(name)) => found.extend([name.to_string()]),
            Some(TokenTree::Group(group)) => found.extend(firsts(group.stream())),
            _ => {}
        }
    }
}

/// Whether a path goes on with `:: name`.
fn leads_to(rest: &[TokenTree], name: &str) -> bool {
    rest.len() > 2 && rest[..2].iter().all(is_colon) && is_ident(&rest[2], name)
}

fn is_ident(token: &TokenTree, name: &str) -> bool {
    matches!(token, TokenTree::Ident(ident) if ident == name)
}

/// The first name of each path in `{a, b::c, d::{e, f}}`.
fn firsts(tokens: TokenStream) -> Vec<String> {
    let mut starts = true;
    let mut found = Vec::new();
    for token in tokens {
        match &token {
            TokenTree::Ident(name) if starts => found.push(name.to_string()),
            _ => {}
        }
        starts = matches!(&token, TokenTree::Punct(p) if p.as_char() == ',');
    }
    found
}

fn is_colon(token: &TokenTree) -> bool {
    matches!(token, TokenTree::Punct(p) if p.as_char() == ':')
}

/// A file's code without its tests.
fn code(file: &File) -> Result<TokenStream, String> {
    let mut parsed = syn::parse_file(&file.text).map_err(|e| format!("{}: {e}", file.path))?;
    WithoutTests.visit_file_mut(&mut parsed);
    Ok(parsed.into_token_stream())
}

struct WithoutTests;

impl VisitMut for WithoutTests {
    fn visit_file_mut(&mut self, file: &mut syn::File) {
        file.items.retain(|item| !is_test(item));
        visit_mut::visit_file_mut(self, file);
    }

    fn visit_item_mod_mut(&mut self, module: &mut syn::ItemMod) {
        if let Some((_, items)) = &mut module.content {
            items.retain(|item| !is_test(item));
        }
        visit_mut::visit_item_mod_mut(self, module);
    }
}

fn is_test(item: &syn::Item) -> bool {
    let attributes = match item {
        syn::Item::Mod(item) => &item.attrs,
        syn::Item::Fn(item) => &item.attrs,
        syn::Item::Use(item) => &item.attrs,
        syn::Item::Impl(item) => &item.attrs,
        _ => return false,
    };
    attributes.iter().any(|a| a.to_token_stream().to_string().replace(' ', "") == "#[cfg(test)]")
}

/// What the root re-exports, and the module that it comes from: `Error` is `error`'s.
fn exports(root: &File) -> Result<BTreeMap<String, String>, String> {
    let parsed = syn::parse_file(&root.text).map_err(|e| format!("{}: {e}", root.path))?;
    let mut found = BTreeMap::new();
    for item in parsed.items {
        let syn::Item::Use(item) = item else { continue };
        let syn::UseTree::Path(path) = &item.tree else { continue };
        let mut tree = &*path.tree;
        let mut module = path.ident.to_string();
        while let syn::UseTree::Path(inner) = tree {
            if inner.ident == "generated" {
                module = inner.ident.to_string();
            }
            tree = &inner.tree;
        }
        leaves(tree, &mut |name| {
            found.insert(name, module.clone());
        });
    }
    Ok(found)
}

fn leaves(tree: &syn::UseTree, add: &mut dyn FnMut(String)) {
    match tree {
        syn::UseTree::Name(name) => add(name.ident.to_string()),
        syn::UseTree::Rename(rename) => add(rename.rename.to_string()),
        syn::UseTree::Path(path) => leaves(&path.tree, add),
        syn::UseTree::Group(group) => group.items.iter().for_each(|tree| leaves(tree, add)),
        syn::UseTree::Glob(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::super::file;
    use super::*;

    fn found(path: &str, text: &str) -> Vec<String> {
        let root = "mod error; pub use error::{Error, ErrorKind}; pub use transport::generated::types; pub use client::ControlPlane;";
        check(&[file("src/lib.rs", root), file(path, text)]).unwrap()
    }

    #[test]
    fn an_import_against_the_table_is_found_in_each_form() {
        for text in [
            "use crate::transport::gzip;",
            "use crate::{values, transport::gzip};",
            "fn f() { crate::transport::gzip::pack() }",
            "fn f() { println!(\"{}\", crate::transport::LIMIT) }",
        ] {
            assert_eq!(
                found("src/events/parser.rs", text),
                [
                    "src/events/parser.rs: `events` imports `transport`: imports run one way, see the table in ARCHITECTURE.md"
                ],
                "{text}"
            );
        }
        assert_eq!(found("src/error.rs", "use super::config::Config;").len(), 1);
        assert_eq!(found("src/values/secret.rs", "use crate::Error;").len(), 1);
        assert_eq!(found("src/config.rs", "use crate::ControlPlane;").len(), 1);
    }

    #[test]
    fn what_the_table_allows_is_not() {
        assert!(
            found("src/transport/hooks.rs", "use crate::{config::Config, Error, types};")
                .is_empty()
        );
        assert!(
            found("src/events/parser.rs", "use super::envelope; pub(crate) fn f() {}").is_empty()
        );
        assert!(
            found("src/error.rs", "#[cfg(test)] mod tests { use crate::client::X; }").is_empty()
        );
        assert!(found("src/manager.rs", "use crate::{client, events, reconnect};").is_empty());
    }

    #[test]
    fn a_module_that_nobody_placed_is_found() {
        let found = found("src/cache.rs", "");
        assert!(
            found[0].starts_with("src/cache.rs: the module `cache` is not in the import table")
        );
    }

    #[test]
    fn the_mock_and_the_tasks_know_no_client() {
        for path in ["mock/src/lib.rs", "xtask/src/main.rs"] {
            assert_eq!(
                found(path, "use plexsphere_client::types;"),
                [format!("{path}: imports the client: it reads the contract on its own")]
            );
        }
    }
}
