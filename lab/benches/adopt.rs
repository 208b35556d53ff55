//! What it costs to take the client up: a minimal program built from nothing, beside one
//! with reqwest alone.
//!
//! It builds everything four times, so it is not part of a plain `cargo bench`:
//! `cargo bench -p plexsphere-lab --bench adopt`

#![allow(missing_docs, clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

const TOKIO: &str = r#"tokio = { version = "1.45", features = ["macros", "rt", "net", "time", "signal"] }"#;

const REQWEST: &str = r#"
reqwest = { version = "0.13.5", default-features = false, features = ["json", "query", "stream", "gzip", "http2", "rustls"] }
serde = { version = "1", features = ["derive"] }
futures = { version = "0.3.31", default-features = false, features = ["std"] }"#;

/// Register, beat, hold the event stream.
const AGENT: &str = r#"
use plexsphere_client::events::{Ed25519Verifier, kind};
use plexsphere_client::{BoxError, Config, ControlPlane, SseManager, types};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    let mut words = std::env::args().skip(1);
    let (url, token) = (words.next().ok_or("url")?, words.next().ok_or("token")?);
    let api = ControlPlane::new(Config::new(url)?, "1.0.0")?;
    api.set_auth_token(token.clone())?;
    let node = api
        .register(&types::RegisterRequest {
            token: token.into(),
            public_key: "5u4wRwoVVBYtwBv3eDFi0nEVAPjPoPyfZE0TTgEEmGA=".into(),
            hostname: "node".into(),
            metadata: Default::default(),
            capabilities: None,
        })
        .await?;
    api.set_auth_token(node.node_secret_key)?;
    let manager = SseManager::new(api, Ed25519Verifier::new(&node.signing_public_key)?);
    manager.on::<kind::PeerAdded>(|event| async move {
        println!("{}", event.payload.mesh_ip);
        Ok(())
    });
    manager.start(&node.node_id).await?;
    Ok(())
}
"#;

/// The same calls without types, verification, reconnects and all else.
const BARE: &str = r#"
use futures::StreamExt;

#[derive(serde::Deserialize)]
struct Node {
    node_id: String,
    node_secret_key: String,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut words = std::env::args().skip(1);
    let (url, token) = (words.next().ok_or("url")?, words.next().ok_or("token")?);
    let http = reqwest::Client::new();
    let body = std::collections::HashMap::from([("token", token.as_str()), ("hostname", "node")]);
    let answer = http.post(format!("{url}/v1/register")).bearer_auth(&token).json(&body).send().await?;
    let node: Node = answer.error_for_status()?.json().await?;
    let events = http.get(format!("{url}/v1/nodes/{}/events", node.node_id));
    let mut chunks = events.bearer_auth(node.node_secret_key).send().await?.bytes_stream();
    while let Some(chunk) = chunks.next().await {
        println!("{}", chunk?.len());
    }
    Ok(())
}
"#;

fn main() {
    // In a test run there is nothing to see that is worth these builds.
    if !std::env::args().any(|word| word == "--bench") {
        return;
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let client = |features: &str| {
        format!("plexsphere-client = {{ path = {:?}{features} }}\n{TOKIO}", root.display())
    };
    let programs = [
        ("the client, default features", client(""), AGENT),
        ("the client, minimal features", client(", default-features = false"), AGENT),
        ("the client, all features", client(r#", features = ["eventsource-stream"]"#), AGENT),
        ("reqwest alone", format!("{REQWEST}\n{TOKIO}"), BARE),
    ];
    println!("## Cost to adopt\n");
    println!("| a program with | clean release build | crates | stripped |");
    println!("|---|---:|---:|---:|");
    for (name, dependencies, source) in programs {
        let folder = root.join("target/adopt");
        // There may be none yet.
        let _ = fs::remove_dir_all(&folder);
        write(root, &folder, &dependencies, source);
        println!("| {name} | {:.0} s | {} | {:.2} MiB |", build(&folder), crates(&folder), size(&folder));
    }
}

fn write(root: &Path, folder: &Path, dependencies: &str, source: &str) {
    fs::create_dir_all(folder.join("src")).unwrap();
    let manifest = format!(
        "[package]\nname = \"minimal\"\nedition = \"2024\"\n\n[dependencies]\n{dependencies}\n\n\
         [profile.release]\nstrip = true\n\n[workspace]\n"
    );
    fs::write(folder.join("Cargo.toml"), manifest).unwrap();
    fs::write(folder.join("src/main.rs"), source).unwrap();
    // The versions that the workspace is tested with.
    fs::copy(root.join("Cargo.lock"), folder.join("Cargo.lock")).unwrap();
}

fn cargo(folder: &Path) -> Command {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(folder).env("CARGO_TARGET_DIR", folder.join("target"));
    cargo
}

/// Seconds.
fn build(folder: &Path) -> f64 {
    // What is downloaded is not part of the build.
    assert!(cargo(folder).args(["fetch", "--quiet"]).status().unwrap().success());
    let began = Instant::now();
    assert!(cargo(folder).args(["build", "--release", "--quiet"]).status().unwrap().success());
    began.elapsed().as_secs_f64()
}

/// All but the program itself that end up in it.
fn crates(folder: &Path) -> usize {
    let tree = ["tree", "--quiet", "--prefix", "none", "--edges", "normal"];
    let output = cargo(folder).args(tree).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let mut names: Vec<&str> = text.lines().map(|line| line.trim_end_matches(" (*)")).collect();
    names.sort_unstable();
    names.dedup();
    names.len() - 1
}

/// MiB.
fn size(folder: &Path) -> f64 {
    let program: PathBuf = folder.join("target/release/minimal");
    fs::metadata(program).unwrap().len() as f64 / (1024.0 * 1024.0)
}
