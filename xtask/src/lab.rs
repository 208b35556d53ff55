//! Starts what lives in `lab/`: it runs the client, which this program does not link.

use std::process::Command;

use crate::repo::Repo;

/// The tasks that are the lab's.
pub const TASKS: [&str; 3] = ["chaos", "fleet", "intermediaries"];

/// Runs a task of the lab with these words; `--release` among them is cargo's. What is wrong
/// with them the task says itself.
pub fn run(repo: &Repo, words: &[&str]) -> Result<bool, String> {
    let (release, words): (Vec<&str>, Vec<&str>) =
        words.iter().partition(|word| **word == "--release");
    let status = Command::new(env!("CARGO"))
        .current_dir(&repo.root)
        .args(["run", "--quiet", "--package", "plexsphere-lab"])
        .args(release)
        .arg("--")
        .args(&words)
        .status()
        .map_err(|e| format!("cargo cannot be started: {e}"))?;
    match status.code() {
        Some(0) => Ok(true),
        Some(1) => Ok(false),
        Some(_) => Err(String::new()),
        None => Err(format!("{} was stopped from outside", words[0])),
    }
}
