//! Changes of schemas, and what they mean by the way that a value goes.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Breaks, Change, without_words};
use crate::spec::{Spec, is_success, list, map, referred, resolve};

/// Which way values of a schema go: a request is sent, an answer or event received.
#[derive(Clone, Copy)]
pub struct Way {
    sent: bool,
    received: bool,
}

impl Way {
    pub const SENT: Self = Self { sent: true, received: false };
    pub const RECEIVED: Self = Self { sent: false, received: true };
}

/// The changes of the named schemas.
pub fn changes(old: &Spec, new: &Spec) -> Vec<Change> {
    let (sent, received) = (reached(old, new, true), reached(old, new, false));
    let mut found = Vec::new();
    for (name, was) in old.schemas() {
        match new.schemas().find(|(other, _)| *other == name) {
            None => found.push(Change::new(Breaks::Callers, format!("type `{name}` was removed"))),
            Some((_, is)) => {
                let way = Way { sent: sent.contains(name), received: received.contains(name) };
                found.extend(compare(name, was, is, way, old, new));
            }
        }
    }
    for (name, _) in new.schemas().filter(|(name, _)| old.schemas().all(|(o, _)| o != *name)) {
        found.push(Change::new(Breaks::Nobody, format!("type `{name}` was added")));
    }
    found
}

/// The schemas that a request (or else an answer or an event) of either document holds.
fn reached(old: &Spec, new: &Spec, sent: bool) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for spec in [old, new] {
        for operation in spec.operations() {
            if sent {
                operation.body(&spec.value).values().for_each(|m| follow(spec, m, &mut found));
            } else {
                let answers = operation.responses(&spec.value).filter(|(s, _)| is_success(s));
                answers.for_each(|(_, answer)| follow(spec, answer, &mut found));
            }
        }
    }
    found
}

fn follow(spec: &Spec, value: &Value, found: &mut BTreeSet<String>) {
    if let Some(name) = referred(value) {
        if found.insert(name.to_owned()) {
            follow(spec, resolve(&spec.value, value), found);
        }
        return;
    }
    match value {
        Value::Object(entries) => entries.values().for_each(|value| follow(spec, value, found)),
        Value::Array(items) => items.iter().for_each(|value| follow(spec, value, found)),
        _ => {}
    }
}

/// The changes from the schema `was` to the schema `is` at `place`.
pub fn compare(
    place: &str,
    was: &Value,
    is: &Value,
    way: Way,
    old: &Spec,
    new: &Spec,
) -> Vec<Change> {
    let here = Here { place, way, old, new };
    if was == is {
        return Vec::new();
    }
    if let Some(change) = here.type_change(was, is) {
        return vec![change];
    }
    let mut found = here.nullable(was, is);
    found.extend(here.format(was, is));
    found.extend(here.words(was, is));
    found.extend(here.limits(was, is));
    found.extend(here.fields(was, is));
    for (part, key) in [("[]", "items"), ("{}", "additionalProperties")] {
        if was[key].is_object() && is[key].is_object() {
            found.extend(compare(&format!("{place}{part}"), &was[key], &is[key], way, old, new));
        }
    }
    let composed =
        |schema: &Value| ["allOf", "oneOf", "anyOf"].map(|key| without_words(&schema[key]));
    if composed(was) != composed(is) {
        found.push(Change::new(Breaks::Both, format!("`{place}` is composed of other parts")));
    }
    found
}

/// A place in both documents.
struct Here<'a> {
    place: &'a str,
    way: Way,
    old: &'a Spec,
    new: &'a Spec,
}

impl Here<'_> {
    fn change(&self, callers: bool, server: bool, text: &str) -> Change {
        Change::new(Breaks::of(callers, server), format!("`{}` {text}", self.place))
    }

    fn type_change(&self, was: &Value, is: &Value) -> Option<Change> {
        let (before, after) = (shown(was), shown(is));
        if before == after {
            return None;
        }
        // Another name for the same shape breaks nothing on the wire.
        let shape = |spec: &Spec, schema| without_words(resolve(&spec.value, schema));
        let differs = shape(self.old, was) != shape(self.new, is);
        Some(self.change(true, differs, &format!("is {after}, it was {before}")))
    }

    fn nullable(&self, was: &Value, is: &Value) -> Vec<Change> {
        let collection = is_collection(is);
        match (was["nullable"] == true, is["nullable"] == true) {
            (false, true) => {
                vec![self.change(!collection, self.way.received && !collection, "may be null")]
            }
            (true, false) => vec![self.change(!collection, self.way.sent, "may no longer be null")],
            _ => Vec::new(),
        }
    }

    fn format(&self, was: &Value, is: &Value) -> Option<Change> {
        let format = |schema: &Value| schema["format"].as_str().unwrap_or("none").to_owned();
        let (before, after) = (format(was), format(is));
        // These say how a value is held or handled, not how it is written.
        const QUIET: [&str; 7] = ["none", "password", "byte", "int32", "int64", "float", "double"];
        let quiet = |format: &str| QUIET.contains(&format);
        (before != after).then(|| {
            let server = !(quiet(&before) && quiet(&after));
            self.change(true, server, &format!("has the format {after}, it was {before}"))
        })
    }

    /// Sets of words: open ones carry what they do not know, closed ones fail on it.
    fn words(&self, was: &Value, is: &Value) -> Vec<Change> {
        let mut found = Vec::new();
        for (key, closed) in [("enum", true), ("x-extensible-enum", false)] {
            let (before, after) = (list(&was[key]), list(&is[key]));
            match (was.get(key).is_some(), is.get(key).is_some()) {
                (false, true) if closed => {
                    found.push(self.change(true, true, "takes only certain values"))
                }
                (true, false) if closed => {
                    found.push(self.change(true, self.way.received, "takes any value"))
                }
                (false, true) | (true, false) => {
                    found.push(self.change(true, false, "became another kind of string"));
                }
                _ => {
                    for word in after.iter().filter(|word| !before.contains(word)) {
                        let text = format!("has the new value {word}");
                        found.push(self.change(closed, closed && self.way.received, &text));
                    }
                    for word in before.iter().filter(|word| !after.contains(word)) {
                        let text = format!("no longer has the value {word}");
                        found.push(self.change(true, self.way.sent, &text));
                    }
                }
            }
        }
        found
    }

    fn limits(&self, was: &Value, is: &Value) -> Vec<Change> {
        const LIMITS: [&str; 10] = [
            "pattern",
            "minLength",
            "maxLength",
            "minimum",
            "maximum",
            "exclusiveMinimum",
            "exclusiveMaximum",
            "minItems",
            "maxItems",
            "multipleOf",
        ];
        let said = |schema: &Value, key: &str| match schema.get(key) {
            Some(value) => value.to_string(),
            None => "none".to_owned(),
        };
        let changed = LIMITS.into_iter().filter(|key| was.get(key) != is.get(key));
        let mut found: Vec<Change> = changed
            .map(|key| {
                let text = format!("has the {key} {}, it was {}", said(is, key), said(was, key));
                self.change(false, self.way.sent, &text)
            })
            .collect();
        if was.get("default") != is.get("default") {
            let text =
                format!("has the default {}, it was {}", said(is, "default"), said(was, "default"));
            found.push(self.change(true, false, &text));
        }
        found
    }

    fn fields(&self, was: &Value, is: &Value) -> Vec<Change> {
        let (before, after) = (map(&was["properties"]), map(&is["properties"]));
        let mut found = Vec::new();
        for (name, field) in before {
            let required = requires(was, name);
            let place = format!("{}.{name}", self.place);
            let there = Here { place: &place, ..*self };
            let Some(now) = after.get(name) else {
                let missed = self.way.received && required && !is_collection(field);
                found.push(there.change(true, missed, "was removed"));
                continue;
            };
            found.extend(there.required(required, requires(is, name), is_collection(now)));
            found.extend(compare(&place, field, now, self.way, self.old, self.new));
        }
        for (name, _) in after.iter().filter(|(name, _)| !before.contains_key(*name)) {
            let place = format!("{}.{name}", self.place);
            let there = Here { place: &place, ..*self };
            let (text, required) = match requires(is, name) {
                true => ("was added, required", true),
                false => ("was added, optional", false),
            };
            // A struct that is sent is written as a literal: a field more does not compile.
            found.push(there.change(self.way.sent, self.way.sent && required, text));
        }
        found
    }

    /// A list or map is empty when it is absent, so it has the same type either way.
    fn required(&self, was: bool, is: bool, collection: bool) -> Option<Change> {
        match (was, is) {
            (true, false) => {
                Some(self.change(!collection, self.way.received && !collection, "became optional"))
            }
            (false, true) => Some(self.change(!collection, self.way.sent, "became required")),
            _ => None,
        }
    }
}

fn requires(schema: &Value, name: &str) -> bool {
    list(&schema["required"]).iter().any(|required| required == name)
}

fn is_collection(schema: &Value) -> bool {
    schema["type"] == "array"
        || (schema["type"] == "object" && schema["additionalProperties"].is_object())
}

/// The type of a schema in a sentence: `Peer`, a string, a list of `Peer`.
fn shown(schema: &Value) -> String {
    if let Some(name) = referred(schema) {
        return format!("`{name}`");
    }
    match schema["type"].as_str() {
        Some("array") => "a list".to_owned(),
        Some("object")
            if schema["additionalProperties"].is_object()
                && map(&schema["properties"]).is_empty() =>
        {
            "a map".to_owned()
        }
        Some("integer") => "an integer".to_owned(),
        Some("object") => "an object".to_owned(),
        Some(simple) => format!("a {simple}"),
        None if ["allOf", "oneOf", "anyOf"].iter().any(|k| schema.get(k).is_some()) => {
            "composed".to_owned()
        }
        None => "any JSON".to_owned(),
    }
}
