//! Does a document generate and compile? A crate of its own says it.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use syn::Item;

use crate::generate::{self, Handwritten};
use crate::import::{self, Imported};
use crate::repo::Repo;
use crate::spec::operations;

/// A foreign document has no handwritten types but those of its formats.
const STANDALONE: Handwritten = Handwritten { named: &[], open_strings: None };

/// What stands for this crate's reading of answers: nothing is sent.
const ANSWER: &str = "    pub mod answer {
        use progenitor_client::{Error, ResponseValue};
        use reqwest::{Response, Result};
        use crate::api::Client;
        pub async fn decoded<T: serde::de::DeserializeOwned>(
            _: &Client, answer: impl Future<Output = Result<Response>>,
        ) -> std::result::Result<T, Error<()>> {
            Ok(ResponseValue::<T>::from_response::<()>(answer.await?).await?.into_inner())
        }
        pub async fn ignored(
            _: &Client, answer: impl Future<Output = Result<Response>>,
        ) -> std::result::Result<(), Error<()>> {
            Ok(drop(answer.await?))
        }
    }
";

/// And for its sending of requests.
const SEND: &str = "impl api::Client {
    fn send(
        &self, request: reqwest::Request, _: &progenitor_client::OperationInfo,
    ) -> impl Future<Output = reqwest::Result<reqwest::Response>> + use<> {
        progenitor_client::ClientInfo::client(self).execute(request)
    }
}
";

/// What came of it.
#[derive(Debug)]
pub struct Tried {
    pub operations: usize,
    pub methods: usize,
    pub types: usize,
    pub lines: usize,
    pub generated: Duration,
    pub compiled: Duration,
}

pub fn run(repo: &Repo, file: &str) -> Result<String, String> {
    let text = fs::read_to_string(file).map_err(|e| format!("{file}: {e}"))?;
    let imported = import::import(&text).map_err(|e| format!("{file}: {e}"))?;
    let tried = try_out(repo, &imported, "try-spec")?;
    Ok(format!(
        "{}compiles: {} operations ({} methods), {} types, {} lines; generated in {:.1} s, compiled in {:.1} s",
        imported.notes.report(),
        tried.operations,
        tried.methods,
        tried.types,
        tried.lines,
        tried.generated.as_secs_f64(),
        tried.compiled.as_secs_f64()
    ))
}

/// Generates the client of a translated document and compiles it in `target/NAME`.
pub fn try_out(repo: &Repo, imported: &Imported, name: &str) -> Result<Tried, String> {
    let start = Instant::now();
    let code = generate::generate(&imported.yaml()?, &STANDALONE)?;
    let generated = start.elapsed();
    let directory = repo.root.join("target").join(name);
    write(repo, &directory, &code).map_err(|e| format!("{}: {e}", directory.display()))?;
    let start = Instant::now();
    compile(repo, &directory)?;
    let (types, methods) = count(&code)?;
    Ok(Tried {
        operations: operations(&imported.document).len(),
        methods,
        types,
        lines: code.lines().count(),
        generated,
        compiled: start.elapsed(),
    })
}

/// The crate has this one's dependencies and versions, its handwritten value types, and what
/// writes its bodies. Its name is its directory's: cargo takes two crates of one name for the same.
fn write(repo: &Repo, directory: &Path, code: &str) -> std::io::Result<()> {
    let manifest = fs::read_to_string(repo.root.join("Cargo.toml"))?;
    let section = |name: &str| {
        let (_, rest) = manifest.split_once(&format!("\n[{name}]\n")).unwrap_or_default();
        rest.split("\n[").next().unwrap_or_default().to_owned()
    };
    let values = repo.root.join("src/values/mod.rs");
    let body = repo.root.join("src/transport/body.rs");
    fs::create_dir_all(directory.join("src"))?;
    fs::copy(repo.root.join("Cargo.lock"), directory.join("Cargo.lock"))?;
    fs::write(
        directory.join("Cargo.toml"),
        format!(
            "[package]\nname = \"{}\"\nedition = \"2024\"\n\n[workspace]\n\n[dependencies]\n{}\n\n[profile.dev]\n{}\n",
            directory.file_name().unwrap_or_default().to_string_lossy(),
            section("dependencies"),
            section("profile.dev")
        ),
    )?;
    fs::write(
        directory.join("src/lib.rs"),
        format!(
            "#![allow(warnings)]\npub mod api;\n#[path = {values:?}]\npub mod values;\npub mod transport {{\n    #[path = {body:?}]\n    pub mod body;\n    pub mod context {{\n        #[derive(Clone, Debug)]\n        pub struct Call;\n    }}\n{ANSWER}}}\nimpl progenitor_client::ClientHooks<transport::context::Call> for api::Client {{}}\n{SEND}"
        ),
    )?;
    fs::write(directory.join("src/api.rs"), code)
}

fn compile(repo: &Repo, directory: &Path) -> Result<(), String> {
    let output = Command::new(env!("CARGO"))
        .args(["check", "--quiet", "--offline", "--message-format", "short"])
        .current_dir(directory)
        .env("CARGO_TARGET_DIR", repo.root.join("target"))
        .output()
        .map_err(|e| format!("cargo: {e}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let first: Vec<&str> = said.lines().take(20).collect();
    Err(format!("what is generated does not compile:\n{}", first.join("\n")))
}

/// The types and the methods of the generated module.
fn count(code: &str) -> Result<(usize, usize), String> {
    let file = syn::parse_file(code).map_err(|e| format!("the generated code: {e}"))?;
    let mut types = 0;
    let mut methods = 0;
    for item in &file.items {
        match item {
            Item::Mod(module) if module.ident == "types" => {
                let items = module.content.iter().flat_map(|(_, items)| items);
                types += items.filter(|i| matches!(i, Item::Struct(_) | Item::Enum(_))).count();
            }
            Item::Impl(block) if block.trait_.is_none() => {
                let is_call = |i: &&syn::ImplItem| matches!(i, syn::ImplItem::Fn(f) if f.sig.asyncness.is_some());
                methods += block.items.iter().filter(is_call).count();
            }
            _ => {}
        }
    }
    Ok((types, methods))
}
