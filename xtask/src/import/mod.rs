//! A document of OpenAPI 3.1, or a wide one of 3.0, as one that the build takes.
//!
//! Nothing is generated here: the passes change the document until `build/refuse.rs`
//! has nothing to say, and note what they changed.

use std::collections::BTreeMap;
use std::fs;

use serde_json::{Value, json};

use crate::generate;
use crate::spec::read;

mod operations;
mod schemas;
#[cfg(test)]
mod tests;

/// A translated document, and what became of it on the way.
pub struct Imported {
    pub document: Value,
    pub notes: Notes,
}

impl Imported {
    pub fn yaml(&self) -> Result<String, String> {
        serde_norway::to_string(&self.document).map_err(|e| format!("cannot be written: {e}"))
    }
}

/// What was changed or left out, by kind, with each place.
#[derive(Default)]
pub struct Notes(BTreeMap<(bool, String), Vec<String>>);

impl Notes {
    /// The same is said in another way.
    fn changed(&mut self, what: impl Into<String>, place: &str) {
        self.0.entry((false, what.into())).or_default().push(place.to_owned());
    }

    /// Something is no longer said.
    fn lost(&mut self, what: impl Into<String>, place: &str) {
        self.0.entry((true, what.into())).or_default().push(place.to_owned());
    }

    /// A line a kind, with the number of places and the first of them.
    pub fn report(&self) -> String {
        let mut text = String::new();
        for (lost, title) in [(false, "changed"), (true, "could not be expressed")] {
            text += &format!("{title}:\n");
            for ((_, what), places) in self.0.iter().filter(|((l, _), _)| *l == lost) {
                let shown =
                    places.iter().take(3).map(String::as_str).collect::<Vec<_>>().join(", ");
                let more = if places.len() > 3 { ", ..." } else { "" };
                text += &format!("  {:4}  {what}: {shown}{more}\n", places.len());
            }
        }
        text
    }
}

/// Reads `file`, writes the translation to `out`, says what changed.
pub fn run(file: &str, out: &str) -> Result<String, String> {
    let text = fs::read_to_string(file).map_err(|e| format!("{file}: {e}"))?;
    let imported = import(&text).map_err(|e| format!("{file}: {e}"))?;
    let yaml = imported.yaml()?;
    fs::write(out, &yaml).map_err(|e| format!("{out}: {e}"))?;
    let left = generate::problems(&yaml)?;
    let mut said = imported.notes.report();
    if !left.is_empty() {
        said += &format!("the build still refuses:\n  {}\n", left.join("\n  "));
    }
    Ok(said + &format!("{out} is written"))
}

/// Translates the document `text`.
pub fn import(text: &str) -> Result<Imported, String> {
    let mut document = read(text)?;
    let mut notes = Notes::default();
    version(&mut document, &mut notes)?;
    operations::translate(&mut document, &mut notes);
    schemas::translate(&mut document, &mut notes);
    Ok(Imported { document, notes })
}

fn version(document: &mut Value, notes: &mut Notes) -> Result<(), String> {
    let version = document["openapi"].as_str().unwrap_or_default().to_owned();
    if !version.starts_with("3.0.") && !version.starts_with("3.1.") {
        return Err(format!("says `openapi: {version}`: only 3.0 and 3.1 can be translated"));
    }
    if version.starts_with("3.1.") {
        document["openapi"] = json!("3.0.3");
        notes.changed(format!("`openapi: {version}` became 3.0.3"), "openapi");
    }
    let Some(root) = document.as_object_mut() else { return Ok(()) };
    root.remove("jsonSchemaDialect");
    if let Some(hooks) = root.remove("webhooks") {
        for name in hooks.as_object().into_iter().flat_map(|hooks| hooks.keys()) {
            notes.lost("webhook: the schemas stay, the call is gone", name);
        }
    }
    // Both are words of 3.1.
    if let Some(info) = root.get_mut("info").and_then(Value::as_object_mut) {
        info.remove("summary");
        if let Some(license) = info.get_mut("license").and_then(Value::as_object_mut) {
            license.remove("identifier");
        }
    }
    root.entry("paths").or_insert_with(|| json!({}));
    Ok(())
}
