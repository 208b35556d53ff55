//! Check 1: the document is whole, says what it should, and holds nothing that the
//! generator mishandles.

use std::collections::BTreeSet;

use serde_json::Value;

use super::prose;
use crate::generate;
use crate::report::Line;
use crate::spec::{Place, Spec, each_schema, list, map, resolve};

/// The contract page's method names, and `ping`.
pub const METHODS: [&str; 21] = [
    "register",
    "heartbeat",
    "deregister",
    "fetch_state",
    "connect_sse",
    "rotate_keys",
    "update_capabilities",
    "report_endpoint",
    "report_drift",
    "fetch_secret",
    "sync_reports",
    "ack_execution",
    "report_result",
    "report_metrics",
    "report_logs",
    "report_audit",
    "fetch_artifact",
    "tunnel_ready",
    "tunnel_closed",
    "report_integrity_violation",
    "ping",
];

pub fn check(spec: &Spec) -> Line {
    let mut problems = generate::problems(&spec.text).unwrap_or_else(|problem| vec![problem]);
    problems.extend(missing_operations(spec));
    problems.extend(dangling_references(&spec.value));
    problems.extend(house_style(spec));
    let (examples, faults) = prose::check(spec);
    problems.extend(faults);
    let what = format!(
        "{} operations, {} schemas, {} events, {examples} examples",
        spec.operations().len(),
        spec.schemas().count(),
        spec.events().len()
    );
    Line::new("document", what, problems)
}

fn missing_operations(spec: &Spec) -> Vec<String> {
    let there: BTreeSet<String> = spec.operations().iter().map(|o| o.id()).collect();
    METHODS
        .into_iter()
        .filter(|name| !there.contains(*name))
        .map(|name| {
            format!("operation `{name}` of the contract is missing: restore it, or its operationId")
        })
        .collect()
}

fn dangling_references(document: &Value) -> Vec<String> {
    let mut found = BTreeSet::new();
    references(document, &mut found);
    let dangling = |reference: &&str| resolve_text(document, reference).is_null();
    found
        .into_iter()
        .filter(dangling)
        .map(|reference| {
            format!("`{reference}` refers to nothing: mend the `$ref`, or add what it names")
        })
        .collect()
}

fn resolve_text<'a>(document: &'a Value, reference: &str) -> &'a Value {
    let target = reference.strip_prefix('#').and_then(|pointer| document.pointer(pointer));
    target.map_or(&Value::Null, |target| resolve(document, target))
}

fn references<'a>(value: &'a Value, found: &mut BTreeSet<&'a str>) {
    match value {
        Value::Object(entries) => {
            found.extend(entries.get("$ref").and_then(Value::as_str));
            // An example may hold anything, a key of this name too.
            let inner = entries.iter().filter(|(key, _)| !key.starts_with("example"));
            inner.for_each(|(_, value)| references(value, found));
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}

/// What this document keeps to so that its types are good to use.
fn house_style(spec: &Spec) -> Vec<String> {
    let mut found = Vec::new();
    each_schema(&spec.value, &mut |place, schema| {
        found.extend(style(place, schema).map(|text| format!("`{}` {text}", place.name)));
        let required = list(&schema["required"]);
        for (name, property) in map(&schema["properties"]) {
            // An event's payload may be a part of something: there an absent list is said to be absent.
            if required.contains(&Value::from(name.as_str())) || !place.named {
                continue;
            }
            if property["type"] == "array" && reached_by_a_request(spec, &place.name) {
                found.push(format!(
                    "`{}.{name}` is a list that is not `required`, so a request leaves it out: require it, so that it writes `[]`",
                    place.name
                ));
            }
        }
        for name in required.iter().filter_map(Value::as_str) {
            if !map(&schema["properties"]).contains_key(name) {
                found.push(format!(
                    "`{}` requires `{name}`, which is no property of it: add it, or mend the name",
                    place.name
                ));
            }
        }
    });
    found
}

fn style<'a>(place: &Place, schema: &'a Value) -> impl Iterator<Item = &'a str> {
    let is = |key: &str, value: &str| schema[key] == value;
    let composed = ["$ref", "type", "allOf", "oneOf", "anyOf"];
    let free = !composed.iter().any(|key| schema.get(key).is_some());
    let handwritten = place.named && ["RawJson", "Trigger"].contains(&place.name.as_str());
    [
        (schema["nullable"] == true, "has `nullable`: leave it out of `required` instead"),
        (
            is("type", "integer") && !is("format", "int64"),
            "is an integer of no size: write `format: int64`",
        ),
        (free && !handwritten, "has no type: write `$ref: '#/components/schemas/RawJson'` to keep its bytes"),
        (
            is("type", "object") && schema.get("properties").is_none() && !schema["additionalProperties"].is_object(),
            "is an object of anything, which does not keep its bytes: write `$ref: '#/components/schemas/RawJson'`",
        ),
        (schema.get("$ref").is_some() && map(schema).len() > 1, "has words beside its `$ref`, which nobody reads: drop them"),
    ]
    .into_iter()
    .filter_map(|(hit, text)| hit.then_some(text))
}

fn reached_by_a_request(spec: &Spec, name: &str) -> bool {
    let document = &spec.value;
    let mut waiting = BTreeSet::new();
    for operation in spec.operations() {
        operation.body(document).values().for_each(|media| references(media, &mut waiting));
    }
    let mut reached = BTreeSet::new();
    while let Some(reference) = waiting.pop_first() {
        if reached.insert(reference) {
            references(resolve_text(document, reference), &mut waiting);
        }
    }
    reached.iter().any(|reference| reference.ends_with(&format!("/{name}")))
}
