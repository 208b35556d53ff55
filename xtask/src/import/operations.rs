//! Paths, parameters, bodies and answers: one media type each, one success shape.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::Notes;
use crate::spec::{is_success, list, map, resolve};

const METHODS: [&str; 8] = ["get", "put", "post", "delete", "patch", "options", "head", "trace"];
const JSON: &str = "application/json";
const BYTES: &str = "application/octet-stream";

pub fn translate(document: &mut Value, notes: &mut Notes) {
    let whole = document.clone();
    let mut ids = BTreeSet::new();
    let Some(paths) = document["paths"].as_object_mut() else { return };
    for (path, item) in paths {
        if item.get("$ref").is_some() {
            *item = resolve(&whole, item).clone();
            notes.changed("path item written in place of its reference", path);
        }
        if let Some(shared) = item.get_mut("parameters") {
            parameters(&whole, shared, path, notes);
        }
        for method in METHODS {
            let Some(operation) = item.get_mut(method) else { continue };
            let id = identify(operation, method, path, &mut ids, notes);
            if let Some(own) = operation.get_mut("parameters") {
                parameters(&whole, own, &id, notes);
            }
            body(&whole, operation, &id, notes);
            answers(&whole, operation, &id, notes);
            if operation.as_object_mut().is_some_and(|o| o.remove("callbacks").is_some()) {
                notes.lost("callbacks", &id);
            }
        }
    }
    // Path items are in place now, and the generator has no use for them.
    if let Some(components) = document["components"].as_object_mut() {
        for part in ["pathItems", "callbacks", "links", "examples", "requestBodies"] {
            components.remove(part);
        }
    }
}

fn identify(
    operation: &mut Value,
    method: &str,
    path: &str,
    ids: &mut BTreeSet<String>,
    notes: &mut Notes,
) -> String {
    let given = operation["operationId"].as_str().map(str::to_owned);
    let mut id = given.clone().unwrap_or_else(|| {
        let words: Vec<&str> =
            path.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty()).collect();
        format!("{method}_{}", words.join("_"))
    });
    let key = |id: &str| id.to_lowercase().replace(['-', '_', '.'], "");
    while !ids.insert(key(&id)) {
        id += "_again";
    }
    if given.as_ref() != Some(&id) {
        notes.changed("operationId made from the path, or made unique", &id);
        operation["operationId"] = json!(id);
    }
    id
}

fn parameters(document: &Value, parameters: &mut Value, place: &str, notes: &mut Notes) {
    let Some(parameters) = parameters.as_array_mut() else { return };
    parameters.retain(|parameter| {
        let target = resolve(document, parameter);
        let kept = matches!(target["in"].as_str(), Some("path" | "query" | "header"));
        if !kept {
            notes.lost("parameter in a cookie or that refers to nothing", place);
        }
        let plain = matches!(target["style"].as_str(), None | Some("form" | "simple"));
        if kept && !plain {
            notes.lost(format!("query parameter in the style {}", target["style"]), place);
        }
        kept && plain
    });
    for parameter in parameters {
        let target = resolve(document, parameter).clone();
        if let Some((_, media)) = map(&target["content"]).iter().next() {
            let mut plain = target.clone();
            plain["schema"] = media["schema"].clone();
            plain.as_object_mut().map(|entries| entries.remove("content"));
            *parameter = plain;
            notes.changed("parameter with `content` became one with its schema", place);
        }
    }
}

fn body(document: &Value, operation: &mut Value, id: &str, notes: &mut Notes) {
    let Some(body) = operation.get_mut("requestBody") else { return };
    if body.get("$ref").is_some() {
        *body = resolve(document, body).clone();
        notes.changed("request body written in place of its reference", id);
    }
    if body["required"] != true {
        body["required"] = json!(true);
        notes.changed("optional request body became required", id);
    }
    let Some(content) = body["content"].as_object_mut() else { return };
    one_media_type(content, "request body", id, notes);
    for held in content.values_mut() {
        if held.as_object_mut().is_some_and(|held| held.remove("encoding").is_some()) {
            notes.lost("`encoding` of a request body", id);
        }
    }
    let Some(media) = content.keys().next().cloned() else { return };
    if [JSON, BYTES, "application/x-www-form-urlencoded"].contains(&media.as_str()) {
        return;
    }
    let held = content.remove(&media).unwrap_or_default();
    if media.ends_with("+json") {
        content.insert(JSON.to_owned(), held);
    } else {
        content.insert(
            BYTES.to_owned(),
            json!({ "schema": { "type": "string", "format": "binary" } }),
        );
    }
    notes.lost(format!("request body of type `{media}`: the caller must set the Content-Type"), id);
}

/// JSON if it is there, or else the first.
fn one_media_type(content: &mut Map<String, Value>, what: &str, id: &str, notes: &mut Notes) {
    if content.len() < 2 {
        return;
    }
    let is_json = |media: &&String| *media == JSON || media.ends_with("+json");
    let Some(kept) = content.keys().find(is_json).or(content.keys().next()).cloned() else {
        return;
    };
    notes.lost(format!("{what} in other types than `{kept}`"), id);
    content.retain(|media, _| *media == kept);
}

fn answers(document: &Value, operation: &mut Value, id: &str, notes: &mut Notes) {
    if !operation["responses"].is_object() {
        operation["responses"] = json!({});
    }
    let Some(responses) = operation["responses"].as_object_mut() else { return };
    if !responses.keys().any(|status| is_success(status)) {
        let default = responses.remove("default");
        notes.changed("no 2xx answer: `default` stands for it, or an empty one", id);
        responses
            .insert("2XX".to_owned(), default.unwrap_or_else(|| json!({ "description": "Done." })));
    }
    // One type for all successes; the errors are for people, whatever they hold.
    let mut shape: Option<Value> = None;
    for (_, answer) in responses.iter_mut().filter(|(status, _)| is_success(status)) {
        *answer = match resolve(document, answer) {
            Value::Null => json!({ "description": "Not described." }),
            target => target.clone(),
        };
        let Some(content) = answer.get_mut("content").and_then(Value::as_object_mut) else {
            continue;
        };
        one_media_type(content, "answer", id, notes);
        as_json(content, id, notes);
        let Some((_, held)) = content.iter().next() else { continue };
        let schema = held["schema"].clone();
        match &shape {
            Some(first) if *first != schema => {
                content.clear();
                notes.lost("a second success answer of another shape", id);
            }
            Some(_) => {}
            None => shape = Some(schema),
        }
    }
}

fn as_json(content: &mut Map<String, Value>, id: &str, notes: &mut Notes) {
    let media = content.keys().find(|media| media.ends_with("+json")).cloned();
    let Some(held) = media.as_ref().and_then(|media| content.remove(media)) else { return };
    content.insert(JSON.to_owned(), held);
    notes.changed("answer of a `+json` type became `application/json`", id);
}

/// Whether a schema is one of those that only say which fields go together.
pub fn only_requires(schema: &Value) -> bool {
    let entries = map(schema);
    !entries.is_empty()
        && entries.keys().all(|key| key == "required" || key == "not")
        && list(&schema["oneOf"]).is_empty()
}
