//! What changed between two documents, and what that means for whom.

use serde_json::{Value, json};

use crate::repo::Repo;
use crate::spec::{Spec, map, referred};

mod operations;
mod schemas;
#[cfg(test)]
mod tests;

/// One change, in the words of the API.
#[derive(Debug)]
pub struct Change {
    pub text: String,
    /// Code that uses this crate must change with it.
    pub callers: bool,
    /// A server of the new document breaks clients of the old one.
    pub server: bool,
}

/// For whom a change breaks something.
#[derive(Clone, Copy)]
pub enum Breaks {
    Nobody,
    Callers,
    Server,
    Both,
}

impl Change {
    fn new(breaks: Breaks, text: String) -> Self {
        let callers = matches!(breaks, Breaks::Callers | Breaks::Both);
        Self { text, callers, server: matches!(breaks, Breaks::Server | Breaks::Both) }
    }
}

impl Breaks {
    fn of(callers: bool, server: bool) -> Self {
        match (callers, server) {
            (false, false) => Self::Nobody,
            (true, false) => Self::Callers,
            (false, true) => Self::Server,
            (true, true) => Self::Both,
        }
    }
}

/// The report of `verify-spec --against OLD`, where OLD is a file or `git:REVISION`.
pub fn run(repo: &Repo, old: &str, as_json: bool) -> Result<String, String> {
    let new = Spec::of(repo)?;
    let old = match old.strip_prefix("git:") {
        Some(revision) => Spec::of_revision(repo, revision)?,
        None => Spec::parse(std::fs::read_to_string(old).map_err(|e| format!("{old}: {e}"))?)?,
    };
    let manifest = repo.read("Cargo.toml")?;
    let version = manifest.lines().find_map(|line| line.strip_prefix("version = \""));
    let version = version.unwrap_or_default().trim_end_matches('"');
    let changes = changes(&old, &new);
    Ok(match as_json {
        true => machine(&changes, version),
        false => report(&changes, version),
    })
}

/// Every change from `old` to `new`.
pub fn changes(old: &Spec, new: &Spec) -> Vec<Change> {
    let mut found = operations::changes(old, new);
    found.extend(schemas::changes(old, new));
    found.extend(events(old, new));
    if found.is_empty() && old.value != new.value {
        let text = "only words, examples or the order changed".to_owned();
        found.push(Change::new(Breaks::Nobody, text));
    }
    found
}

fn events(old: &Spec, new: &Spec) -> Vec<Change> {
    let (before, after) = (old.events(), new.events());
    let payload = |schema| referred(schema).unwrap_or("a payload in place").to_owned();
    let mut found = Vec::new();
    for (name, was) in &before {
        match after.iter().find(|(other, _)| other == name) {
            None => {
                found.push(Change::new(Breaks::Callers, format!("event `{name}` was removed")));
            }
            Some((_, is)) if is != was => found.push(Change::new(
                Breaks::Both,
                format!("event `{name}` carries `{}`, it was `{}`", payload(is), payload(was)),
            )),
            Some(_) => {}
        }
    }
    let new_ones = after.iter().filter(|(name, _)| before.iter().all(|(other, _)| other != name));
    found.extend(new_ones.map(|(name, schema)| {
        let text = format!("event `{name}` was added, with `{}`", payload(schema));
        Change::new(Breaks::Nobody, text)
    }));
    found
}

/// What a reader sees of the changes.
fn report(changes: &[Change], version: &str) -> String {
    let mut text = String::new();
    let mut section = |title: &str, of: &dyn Fn(&Change) -> bool| {
        let lines: Vec<_> = changes.iter().filter(|change| of(change)).collect();
        text += &format!("{title}: {}\n", lines.len());
        for change in lines {
            let also =
                if change.callers && change.server { " (and for the server's side)" } else { "" };
            text += &format!("  - {}{also}\n", change.text);
        }
    };
    section("breaking for callers (their code must change)", &|c| c.callers);
    section("breaking for the server's side (its deployed clients fail)", &|c| {
        c.server && !c.callers
    });
    section("harmless", &|c| !c.server && !c.callers);
    text + &step(changes, version)
}

fn machine(changes: &[Change], version: &str) -> String {
    let changes_json: Vec<Value> = changes
        .iter()
        .map(
            |c| json!({ "change": c.text, "breaks_callers": c.callers, "breaks_server": c.server }),
        )
        .collect();
    format!("{:#}", json!({ "changes": changes_json, "step": step(changes, version) }))
}

/// The version that follows.
fn step(changes: &[Change], version: &str) -> String {
    let early = version.starts_with("0.");
    let (size, place) = if changes.is_empty() {
        return format!("version: stays {version}");
    } else if changes.iter().any(|c| c.callers) {
        ("a breaking release", usize::from(early))
    } else if changes.iter().any(|c| c.server) {
        (
            "a compatible release; older versions do not work with the new server",
            1 + usize::from(early),
        )
    } else {
        ("a compatible release", 1 + usize::from(early))
    };
    let mut numbers: Vec<u64> = version.split('.').map(|n| n.parse().unwrap_or_default()).collect();
    numbers.resize(3, 0);
    numbers[place] += 1;
    numbers[place + 1..].fill(0);
    format!("version: {version} -> {}.{}.{} ({size})", numbers[0], numbers[1], numbers[2])
}

/// A schema without what only people read.
fn without_words(schema: &Value) -> Value {
    const WORDS: [&str; 4] = ["description", "title", "example", "examples"];
    match schema {
        Value::Object(entries) => entries
            .iter()
            .filter(|(key, _)| !WORDS.contains(&key.as_str()))
            .map(|(key, value)| match key.as_str() {
                // The names in here are properties; one may be called `title`.
                "properties" => (key.clone(), without_words_in(value)),
                _ => (key.clone(), without_words(value)),
            })
            .collect(),
        Value::Array(items) => items.iter().map(without_words).collect(),
        other => other.clone(),
    }
}

fn without_words_in(properties: &Value) -> Value {
    map(properties).iter().map(|(name, schema)| (name.clone(), without_words(schema))).collect()
}
