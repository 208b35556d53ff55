//! The first reading: the document itself.

use serde_json::Value;

use super::Facts;
use crate::spec::{Spec, is_success, list, map, referred};

/// `operation register`: `POST /v1/register takes RegisterRequest, answers RegisterResponse`
pub fn operations(spec: &Spec) -> Facts {
    let document = &spec.value;
    let fact = |operation: &crate::spec::Operation<'_>| {
        let request = operation.body(document).values().next().map(|media| kind(&media["schema"]));
        let success: Vec<_> =
            operation.responses(document).filter(|(s, _)| is_success(s)).collect();
        let content = success.iter().find_map(|(_, answer)| map(&answer["content"]).iter().next());
        let answer = match content {
            None => "nothing".to_owned(),
            Some((media, _)) if media == "text/event-stream" => "events".to_owned(),
            Some((media, held)) if media == "application/json" => kind(&held["schema"]),
            Some(_) => "bytes".to_owned(),
        };
        shown(&operation.method.to_uppercase(), operation.path, request.as_deref(), &answer)
    };
    spec.operations().iter().map(|o| (format!("operation {}", o.id()), fact(o))).collect()
}

/// How an operation is written as a fact.
pub fn shown(method: &str, path: &str, request: Option<&str>, answer: &str) -> String {
    let takes = request.map(|request| format!(" takes {request},")).unwrap_or_default();
    format!("{method} {path}{takes} answers {answer}")
}

/// `event peer_added`: `Peer`
pub fn events(spec: &Spec) -> Facts {
    let events = spec.events();
    events.into_iter().map(|(name, payload)| (format!("event {name}"), kind(payload))).collect()
}

/// `field Peer.psk`: `string, required`
pub fn fields(spec: &Spec) -> Facts {
    let mut facts = Facts::new();
    for (name, schema) in spec.schemas() {
        let plain = name.to_lowercase();
        for (field, held) in map(&schema["properties"]) {
            let required = list(&schema["required"]).contains(&Value::from(field.as_str()));
            let held = kind(open(spec, held));
            facts.insert(format!("field {plain}.{field}"), field_shown(&held, required));
        }
    }
    facts
}

/// How a field is written as a fact. An absent list or map is an empty one either way.
pub fn field_shown(kind: &str, required: bool) -> String {
    match required || kind.starts_with(['[', '{']) {
        true => kind.to_owned(),
        false => format!("{kind}, may be absent"),
    }
}

/// `words NodeStatus`: `healthy`
pub fn words(spec: &Spec) -> Facts {
    let mut facts = Facts::new();
    for (name, schema) in spec.schemas() {
        if let Some(words) = schema.get("x-extensible-enum") {
            let words: Vec<&str> = list(words).iter().filter_map(Value::as_str).collect();
            facts.insert(format!("words {name}"), words.join(" "));
        }
    }
    facts
}

/// A named set of words is a string on the wire.
fn open<'a>(spec: &'a Spec, schema: &'a Value) -> &'a Value {
    let target = crate::spec::resolve(&spec.value, schema);
    if target.get("x-extensible-enum").is_some() { target } else { schema }
}

/// `Peer`, `[Peer]`, `{string}`, `string`, `integer`, `boolean`, `time` or `any`.
fn kind(schema: &Value) -> String {
    if let Some(name) = referred(schema) {
        return match name {
            "RawJson" => "any".to_owned(),
            name => name.to_owned(),
        };
    }
    match (schema["type"].as_str(), schema["format"].as_str()) {
        (Some("array"), _) => format!("[{}]", kind(&schema["items"])),
        (Some("object"), _) => format!("{{{}}}", kind(&schema["additionalProperties"])),
        (Some("string"), Some("date-time")) => "time".to_owned(),
        (Some(simple), _) => simple.to_owned(),
        (None, _) => "any".to_owned(),
    }
}
