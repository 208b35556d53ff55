//! Schemas: the words of 3.1 in those of 3.0, and nothing that makes an answer fail.

use serde_json::{Map, Value, json};

use super::Notes;
use super::operations::only_requires;
use crate::spec::{list, map};

/// What the types cannot say, or would enforce to no good.
const DROPPED: [&str; 26] = [
    "$schema",
    "$id",
    "$anchor",
    "$comment",
    "$defs",
    "$dynamicRef",
    "$dynamicAnchor",
    "not",
    "if",
    "then",
    "else",
    "contains",
    "propertyNames",
    "patternProperties",
    "prefixItems",
    "unevaluatedProperties",
    "unevaluatedItems",
    "dependentRequired",
    "dependentSchemas",
    "contentEncoding",
    "contentMediaType",
    "contentSchema",
    "minContains",
    "maxContains",
    "minProperties",
    "maxProperties",
];
const LIMITS: [&str; 6] =
    ["pattern", "minLength", "maxLength", "minItems", "maxItems", "uniqueItems"];
const FORMATS: [&str; 8] =
    ["date-time", "password", "int32", "int64", "float", "double", "byte", "binary"];

pub fn translate(document: &mut Value, notes: &mut Notes) {
    let whole = document.clone();
    let mut pass = Pass { whole: &whole, notes };
    if let Some(schemas) =
        document.pointer_mut("/components/schemas").and_then(Value::as_object_mut)
    {
        for (name, schema) in schemas {
            pass.schema(&Place { name: name.clone(), named: true, variant: false }, schema);
        }
    }
    pass.find("", document);
}

struct Place {
    name: String,
    named: bool,
    variant: bool,
}

struct Pass<'a> {
    whole: &'a Value,
    notes: &'a mut Notes,
}

impl Pass<'_> {
    /// Finds the schemas outside `components/schemas`: each is the value of a key `schema`.
    fn find(&mut self, place: &str, value: &mut Value) {
        match value {
            Value::Object(entries) => {
                let own = entries.get("name").and_then(Value::as_str).filter(|_| place.is_empty());
                let place = own.unwrap_or(place).to_owned();
                for (key, value) in entries {
                    let inner = value["operationId"].as_str().unwrap_or(&place).to_owned();
                    match key.as_str() {
                        "schema" => self.schema(
                            &Place {
                                name: format!("{place} (in place)"),
                                named: false,
                                variant: false,
                            },
                            value,
                        ),
                        "schemas" | "example" | "examples" => {}
                        _ => self.find(&inner, value),
                    }
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.find(place, item)),
            _ => {}
        }
    }

    fn schema(&mut self, place: &Place, schema: &mut Value) {
        if schema.is_boolean() {
            self.notes.changed("`true` or `false` as a schema became anything", &place.name);
            *schema = json!({});
        }
        self.reference(place, schema);
        let Some(entries) = schema.as_object_mut() else { return };
        if entries.contains_key("$ref") {
            return;
        }
        self.without(place, entries);
        self.examples(place, entries);
        self.types(place, entries);
        self.choices(place, entries);
        self.constants(place, entries);
        self.bounds(place, entries);
        self.objects(place, entries);
        self.defaults(place, entries);
        self.parts(place, entries);
        nullable(place, entries, self.notes);
    }

    fn reference(&mut self, place: &Place, schema: &mut Value) {
        let Some(reference) = schema["$ref"].as_str().map(str::to_owned) else { return };
        let beside: Vec<String> =
            map(schema).keys().filter(|key| *key != "$ref").cloned().collect();
        for key in &beside {
            let what = format!("`{key}` beside a `$ref` was dropped");
            match key.as_str() {
                "description" | "summary" | "title" | "example" | "examples" | "deprecated" => {
                    self.notes.changed(what, &place.name);
                }
                _ => self.notes.lost(what, &place.name),
            }
        }
        *schema = json!({ "$ref": reference });
        let named = reference.strip_prefix("#/components/schemas/");
        if named.is_some_and(|name| {
            !name.contains('/') && self.whole["components"]["schemas"].get(name).is_some()
        }) {
            return;
        }
        let target =
            reference.strip_prefix('#').and_then(|pointer| self.whole.pointer(pointer)).cloned();
        // Within its target it would never end.
        let endless = target
            .as_ref()
            .is_some_and(|target| target.to_string().contains(&format!("\"{reference}\"")));
        match target {
            Some(target) if !endless => {
                self.notes.changed(
                    "`$ref` into the middle of something was written in place",
                    &place.name,
                );
                *schema = target;
                self.reference(place, schema);
            }
            _ => {
                self.notes.lost(format!("`$ref: {reference}` became anything"), &place.name);
                *schema = json!({});
            }
        }
    }

    fn without(&mut self, place: &Place, entries: &mut Map<String, Value>) {
        // A map by patterns is a map, if that is all it is.
        if let (Some(Value::Object(patterns)), None) =
            (entries.get("patternProperties"), entries.get("properties"))
            && patterns.len() == 1
            && let Some(held) = patterns.values().next().cloned()
        {
            entries.insert("additionalProperties".to_owned(), held);
            entries.remove("patternProperties");
            self.notes.changed("`patternProperties` became a map", &place.name);
        }
        for key in DROPPED.iter().filter(|key| entries.remove(**key).is_some()) {
            self.notes.lost(format!("`{key}` was dropped"), &place.name);
        }
        for key in LIMITS.iter().filter(|key| entries.remove(**key).is_some()) {
            self.notes.lost(
                format!("`{key}` was dropped: an answer beyond it shall not fail"),
                &place.name,
            );
        }
        let format = entries.get("format").and_then(Value::as_str).map(str::to_owned);
        if let Some(format) = format.filter(|format| !FORMATS.contains(&format.as_str())) {
            entries.remove("format");
            self.notes.changed(format!("`format: {format}` became a plain value"), &place.name);
        }
    }

    fn examples(&mut self, place: &Place, entries: &mut Map<String, Value>) {
        if let Some(examples) = entries.remove("examples") {
            if let Some(first) = list(&examples).first() {
                entries.entry("example").or_insert(first.clone());
            }
            self.notes.changed("of `examples` the first became `example`", &place.name);
        }
    }

    /// `type: [string, 'null']`, `type: 'null'`, and no type where one is meant.
    fn types(&mut self, place: &Place, entries: &mut Map<String, Value>) {
        let kinds = match entries.get("type") {
            Some(Value::Array(kinds)) => kinds.clone(),
            Some(kind) => vec![kind.clone()],
            None => Vec::new(),
        };
        let null = kinds.iter().any(|kind| kind == "null");
        let real: Vec<Value> = kinds.into_iter().filter(|kind| kind != "null").collect();
        if null {
            entries.insert("nullable".to_owned(), json!(true));
            self.notes.changed("type null became `nullable`", &place.name);
        }
        match real.as_slice() {
            [one] => drop(entries.insert("type".to_owned(), one.clone())),
            [] if null => drop(entries.remove("type")),
            [] => {}
            many => {
                let one_of: Vec<Value> = many.iter().map(|kind| json!({ "type": kind })).collect();
                entries.remove("type");
                entries.insert("oneOf".to_owned(), json!(one_of));
                self.notes.changed("several types became `oneOf`", &place.name);
            }
        }
        if !entries.contains_key("type") {
            if entries.contains_key("properties") {
                entries.insert("type".to_owned(), json!("object"));
            } else if entries.contains_key("items") {
                entries.insert("type".to_owned(), json!("array"));
            }
        }
        if entries.get("type") == Some(&json!("array")) {
            entries.entry("items").or_insert_with(|| json!({}));
        }
    }

    /// `anyOf`, and a choice of which one part is null.
    fn choices(&mut self, place: &Place, entries: &mut Map<String, Value>) {
        if let Some(any) = entries.remove("anyOf") {
            if list(&any).iter().all(only_requires) {
                self.notes.lost("`anyOf` of required fields was dropped", &place.name);
            } else {
                entries.entry("oneOf").or_insert(any);
                self.notes.changed("`anyOf` became `oneOf`", &place.name);
            }
        }
        let Some(Value::Array(parts)) = entries.get_mut("oneOf") else { return };
        if parts.iter().all(only_requires) {
            entries.remove("oneOf");
            self.notes.lost("`oneOf` of required fields was dropped", &place.name);
            return;
        }
        let before = parts.len();
        parts.retain(|part| part["type"] != "null");
        if parts.len() < before {
            let one = (parts.len() == 1).then(|| parts[0].clone());
            self.notes.changed("a choice of null became `nullable`", &place.name);
            if let Some(one) = one {
                entries.remove("oneOf");
                match one {
                    Value::Object(inner) if !inner.contains_key("$ref") => entries.extend(inner),
                    reference => drop(entries.insert("allOf".to_owned(), json!([reference]))),
                }
                self.types(place, entries);
            }
            entries.insert("nullable".to_owned(), json!(true));
        }
    }

    /// `const` and `enum`: a word that tells variants apart stays, a named set becomes an open one.
    fn constants(&mut self, place: &Place, entries: &mut Map<String, Value>) {
        if let Some(only) = entries.remove("const") {
            entries.insert("enum".to_owned(), json!([only]));
            self.notes.changed("`const` became an `enum` of one", &place.name);
        }
        let Some(Value::Array(mut values)) = entries.remove("enum") else { return };
        if values.iter().any(Value::is_null) {
            values.retain(|value| !value.is_null());
            entries.insert("nullable".to_owned(), json!(true));
        }
        let kind = match values.first() {
            Some(Value::String(_)) => "string",
            Some(Value::Bool(_)) => "boolean",
            Some(Value::Number(number)) if number.is_f64() => "number",
            Some(Value::Number(_)) => "integer",
            _ => return,
        };
        entries.entry("type").or_insert(json!(kind));
        if kind == "string" && place.variant && values.len() == 1 {
            entries.insert("enum".to_owned(), json!(values));
        } else if kind == "string" && place.named {
            entries.insert("x-extensible-enum".to_owned(), json!(values));
            self.notes.changed("named `enum` became open (`x-extensible-enum`)", &place.name);
        } else {
            self.notes.lost(format!("`enum` of {kind}s in place became any {kind}"), &place.name);
        }
    }

    /// Numeric exclusive bounds, and a lower bound that would make a type without zero.
    fn bounds(&mut self, place: &Place, entries: &mut Map<String, Value>) {
        for (bound, exclusive) in [("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")]
        {
            if let Some(limit) = entries.get(exclusive).filter(|limit| limit.is_number()).cloned() {
                entries.insert(bound.to_owned(), limit);
                entries.insert(exclusive.to_owned(), json!(true));
                self.notes.changed(
                    format!("`{exclusive}` as a number became `{bound}` with a flag"),
                    &place.name,
                );
            }
        }
        let lower = entries.get("minimum").and_then(Value::as_f64);
        let above = entries.get("exclusiveMinimum") == Some(&json!(true));
        if lower.is_some_and(|lower| lower > 0.0 || (above && lower >= 0.0)) {
            entries.remove("minimum");
            entries.remove("exclusiveMinimum");
            self.notes.lost("a `minimum` above 0 was dropped: zero shall not fail", &place.name);
        }
    }

    fn objects(&mut self, place: &Place, entries: &mut Map<String, Value>) {
        let fields = entries.get("properties").is_some_and(|p| !map(p).is_empty());
        match entries.get("additionalProperties") {
            Some(Value::Bool(false)) => {
                entries.remove("additionalProperties");
                self.notes.changed(
                    "a closed object became open: a new field shall not fail",
                    &place.name,
                );
            }
            Some(Value::Bool(true)) if fields => drop(entries.remove("additionalProperties")),
            Some(_) if fields => {
                entries.remove("additionalProperties");
                self.notes
                    .lost("`additionalProperties` beside `properties` was dropped", &place.name);
            }
            _ => {}
        }
    }

    /// A default stays where it is a value of its type.
    fn defaults(&mut self, place: &Place, entries: &mut Map<String, Value>) {
        let Some(default) = entries.get("default") else { return };
        let fits = match entries.get("type").and_then(Value::as_str) {
            Some("boolean") => default.is_boolean(),
            Some("integer") => default.is_i64(),
            Some("string") => {
                default.is_string() && !entries.contains_key("format") && !place.named
            }
            _ => false,
        };
        if !fits {
            entries.remove("default");
            self.notes.lost("`default` was dropped", &place.name);
        }
    }

    fn parts(&mut self, place: &Place, entries: &mut Map<String, Value>) {
        if let Some(Value::Object(properties)) = entries.get_mut("properties") {
            for (name, property) in properties {
                let name = format!("{}.{name}", place.name);
                self.schema(&Place { name, named: false, variant: place.variant }, property);
            }
        }
        for (key, sign) in [("items", "[]"), ("additionalProperties", "{}")] {
            if let Some(part) =
                entries.get_mut(key).filter(|part| part.is_object() || key == "items")
            {
                let name = format!("{}{sign}", place.name);
                self.schema(&Place { name, named: false, variant: false }, part);
            }
        }
        for key in ["allOf", "oneOf"] {
            if let Some(Value::Array(parts)) = entries.get_mut(key) {
                let variant = place.variant || key == "oneOf";
                for part in parts {
                    self.schema(&Place { name: place.name.clone(), named: false, variant }, part);
                }
            }
        }
    }
}

/// Null is an empty list or map.
fn nullable(place: &Place, entries: &mut Map<String, Value>, notes: &mut Notes) {
    let collection = entries.get("type") == Some(&json!("array"))
        || entries.contains_key("additionalProperties");
    if collection && entries.remove("nullable") == Some(json!(true)) {
        notes.changed("a list or map that may be null: null is read as empty", &place.name);
    }
}
