//! Every value of a type that stands in an example anywhere in the document.

use serde_json::Value;

use crate::document::Document;
use crate::kinds::Kind;

pub fn of(document: &Document, kind: &Kind) -> Vec<Value> {
    let mut found = Vec::new();
    let mut add = |name: &str, value: &Value| {
        if name.eq_ignore_ascii_case(kind.name) && !found.contains(value) {
            found.push(value.clone());
        }
    };
    for (name, schema) in document.schemas() {
        if let Some(example) = schema.get("example") {
            add(name, example);
            parts(document, schema, example, &mut add);
        }
    }
    holders(document, document.value(), &mut add);
    found
}

/// Each `schema` with an `example` beside it: bodies and answers.
fn holders(document: &Document, value: &Value, add: &mut dyn FnMut(&str, &Value)) {
    if let (Some(schema), Some(example)) = (value.get("schema"), value.get("example")) {
        part(document, schema, example, add);
    }
    match value {
        Value::Object(entries) => entries.values().for_each(|v| holders(document, v, add)),
        Value::Array(items) => items.iter().for_each(|v| holders(document, v, add)),
        _ => {}
    }
}

fn part(document: &Document, schema: &Value, value: &Value, add: &mut dyn FnMut(&str, &Value)) {
    let (name, schema) = document.resolve(schema);
    if let Some(name) = name {
        add(name, value);
    }
    parts(document, schema, value, add);
}

fn parts(document: &Document, schema: &Value, value: &Value, add: &mut dyn FnMut(&str, &Value)) {
    for (name, held) in schema["properties"].as_object().into_iter().flatten() {
        if let Some(value) = value.get(name) {
            part(document, held, value, add);
        }
    }
    for item in value.as_array().into_iter().flatten() {
        part(document, &schema["items"], item, add);
    }
    if schema["additionalProperties"].is_object() {
        for entry in value.as_object().into_iter().flatten() {
            part(document, &schema["additionalProperties"], entry.1, add);
        }
    }
}
