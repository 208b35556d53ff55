//! The second reading: the tables of the mock, as it prints them.

use std::process::Command;

use serde_json::Value;

use super::Facts;
use super::document::{field_shown, shown};
use crate::repo::Repo;
use crate::spec::list;

pub fn read(repo: &Repo) -> Result<Facts, String> {
    let printed = Command::new(env!("CARGO"))
        .args(["run", "--quiet", "--offline", "--package", "plexsphere-mock", "--", "--routes"])
        .current_dir(&repo.root)
        .output()
        .map_err(|e| format!("cargo: {e}"))?;
    if !printed.status.success() {
        return Err(String::from_utf8_lossy(&printed.stderr).trim().to_owned());
    }
    let tables = serde_json::from_slice(&printed.stdout)
        .map_err(|e| format!("`plexsphere-mock --routes` does not print JSON: {e}"))?;
    Ok(facts(&tables))
}

fn facts(tables: &Value) -> Facts {
    let mut facts = Facts::new();
    for route in list(&tables["routes"]) {
        let text = |key: &str| route[key].as_str().unwrap_or_default().to_owned();
        let request = (!route["request"].is_null()).then(|| kind(&route["request"]));
        let fact =
            shown(&text("method"), &text("path"), request.as_deref(), &answer(&route["answer"]));
        facts.insert(format!("operation {}", text("operation")), fact);
    }
    for event in list(&tables["events"]) {
        let payload = match &event["payload"] {
            Value::Null => "Trigger".to_owned(),
            payload => kind(payload),
        };
        facts.insert(format!("event {}", event["name"].as_str().unwrap_or_default()), payload);
    }
    for schema in list(&tables["schemas"]) {
        let name = schema["name"].as_str().unwrap_or_default().to_lowercase();
        // The mock has RFC 9457's name for it.
        let name = name.replace("problemdetails", "problem");
        for field in list(&schema["fields"]) {
            let fact = field_shown(&kind(&field["type"]), field["required"] == true);
            facts.insert(
                format!("field {name}.{}", field["name"].as_str().unwrap_or_default()),
                fact,
            );
        }
    }
    facts
}

fn answer(answer: &Value) -> String {
    match answer.get("json") {
        Some(held) => kind(held),
        None if answer == "ignored" => "nothing".to_owned(),
        None => answer.as_str().unwrap_or("something unknown").to_owned(),
    }
}

fn kind(kind: &Value) -> String {
    match kind {
        Value::String(simple) => simple.clone(),
        Value::Object(entries) => match entries.iter().next() {
            Some((key, inner)) if key == "list" => format!("[{}]", self::kind(inner)),
            Some((key, inner)) if key == "map" => format!("{{{}}}", self::kind(inner)),
            Some((_, Value::String(name))) => name.clone(),
            _ => "something unknown".to_owned(),
        },
        _ => "nothing".to_owned(),
    }
}
