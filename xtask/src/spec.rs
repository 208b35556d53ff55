//! The contract's document, read as JSON.

use std::process::Command;

use serde_json::Value;

pub use crate::generate::walk::*;
use crate::repo::Repo;

/// Where the contract is.
pub const PATH: &str = "openapi/plexsphere.yaml";

/// A document: its text, and what it says.
pub struct Spec {
    pub text: String,
    pub value: Value,
}

impl Spec {
    pub fn parse(text: String) -> Result<Self, String> {
        let value = read(&text)?;
        Ok(Self { text, value })
    }

    /// The contract of `repo`.
    pub fn of(repo: &Repo) -> Result<Self, String> {
        Self::parse(repo.read(PATH)?).map_err(|e| format!("{PATH}: {e}"))
    }

    /// The contract as it was in the git revision `revision`.
    pub fn of_revision(repo: &Repo, revision: &str) -> Result<Self, String> {
        let git = Command::new("git")
            .args(["show", &format!("{revision}:{PATH}")])
            .current_dir(&repo.root)
            .output()
            .map_err(|e| format!("git: {e}"))?;
        if !git.status.success() {
            return Err(String::from_utf8_lossy(&git.stderr).trim().to_owned());
        }
        Self::parse(String::from_utf8_lossy(&git.stdout).into_owned())
            .map_err(|e| format!("{revision}:{PATH}: {e}"))
    }

    pub fn operations(&self) -> Vec<Operation<'_>> {
        operations(&self.value)
    }

    /// The named schemas.
    pub fn schemas(&self) -> impl Iterator<Item = (&str, &Value)> {
        map(&self.value["components"]["schemas"]).iter().map(|(name, s)| (name.as_str(), s))
    }

    /// The events by name, each with its payload's schema.
    pub fn events(&self) -> Vec<(&str, &Value)> {
        let frames = self
            .operations()
            .into_iter()
            .flat_map(|operation| operation.responses(&self.value))
            .flat_map(|(_, response)| {
                list(&response["content"]["text/event-stream"]["schema"]["oneOf"])
            });
        frames
            .flat_map(|frame| list(&frame["allOf"]))
            .filter_map(|part| {
                let properties = &part["properties"];
                let name = properties["event_type"]["enum"][0].as_str()?;
                Some((name, &properties["payload"]))
            })
            .collect()
    }
}

/// The last part of a reference: the name of what it refers to.
pub fn referred(schema: &Value) -> Option<&str> {
    schema["$ref"].as_str()?.rsplit('/').next()
}
