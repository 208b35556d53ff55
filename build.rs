//! Generates the types and endpoint methods from `openapi/plexsphere.yaml`.

use std::path::Path;
use std::{env, fs, process};

#[path = "build/generate.rs"]
mod generate;

const SPEC: &str = "openapi/plexsphere.yaml";

fn main() {
    println!("cargo:rerun-if-changed={SPEC}");
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=build");
    if let Err(problem) = run() {
        eprintln!("\n{SPEC}: {problem}\n");
        process::exit(1);
    }
}

fn run() -> Result<(), String> {
    let text = fs::read_to_string(SPEC).map_err(|e| format!("cannot be read: {e}"))?;
    let code = generate::generate(&text, &generate::HANDWRITTEN)?;
    let out = env::var_os("OUT_DIR").ok_or("cargo did not set OUT_DIR")?;
    fs::write(Path::new(&out).join("api.rs"), code)
        .map_err(|e| format!("the generated code cannot be written: {e}"))
}
