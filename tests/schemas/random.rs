//! Random values of each schema decode, encode, and are the same values still.

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

use crate::document::Document;
use crate::kinds::KINDS;

#[test]
fn random_values_come_through_and_fit_the_document_again() {
    let document = Document::read();
    for kind in KINDS {
        let judge = document.validator(kind.name);
        let values = of(&document, document.schema(kind.name));
        let values = match kind.name {
            "SignedEnvelope" => values.prop_map(envelope).boxed(),
            _ => values,
        };
        let config = Config { cases: 64, failure_persistence: None, ..Config::default() };
        let result = TestRunner::new(config).run(&values, |value| {
            prop_assert!(judge.is_valid(&value), "the value was made wrongly");
            let recoded = (kind.recode)(&value).map_err(TestCaseError::fail)?;
            let faults: Vec<_> = judge.iter_errors(&recoded).map(|e| e.to_string()).collect();
            prop_assert!(faults.is_empty(), "{recoded} does not fit: {faults:?}");
            // Whatever a trigger holds is ignored.
            if kind.name != "Trigger" {
                let value = with_defaults(document.schema(kind.name), value);
                prop_assert_eq!(without_empty(&recoded), without_empty(&value));
            }
            Ok(())
        });
        result.unwrap_or_else(|e| panic!("{}: {e}", kind.name));
    }
}

fn of(document: &Document, schema: &Value) -> BoxedStrategy<Value> {
    let (_, schema) = document.resolve(schema);
    if let Some(words) = schema["x-extensible-enum"].as_array() {
        let known = proptest::sample::select(words.clone());
        return prop_oneof![known, any::<String>().prop_map(Value::from)].boxed();
    }
    match (schema["type"].as_str(), schema["format"].as_str()) {
        (Some("string"), Some("date-time")) => time().prop_map(Value::from).boxed(),
        (Some("string"), _) => any::<String>().prop_map(Value::from).boxed(),
        (Some("integer"), _) => any::<i64>().prop_map(Value::from).boxed(),
        (Some("boolean"), _) => any::<bool>().prop_map(Value::from).boxed(),
        (Some("array"), _) => {
            vec(of(document, &schema["items"]), 0..3).prop_map(Value::from).boxed()
        }
        (Some("object"), _) if schema["additionalProperties"].is_object() => {
            let held = of(document, &schema["additionalProperties"]);
            btree_map(any::<String>(), held, 0..3).prop_map(|map| json!(map)).boxed()
        }
        (Some("object"), _) => object(document, schema),
        (None, None) => anything(),
        other => panic!("no strategy for {other:?}: add it here"),
    }
}

fn object(document: &Document, schema: &Value) -> BoxedStrategy<Value> {
    let required = schema["required"].as_array().cloned().unwrap_or_default();
    let mut whole = Just(json!({})).boxed();
    for (name, held) in schema["properties"].as_object().into_iter().flatten() {
        let held = of(document, held);
        let held = match required.contains(&json!(name)) {
            true => held.prop_map(Some).boxed(),
            false => proptest::option::of(held).boxed(),
        };
        let name = name.clone();
        whole = (whole, held)
            .prop_map(move |(mut object, value)| {
                if let Some(value) = value {
                    object[&name] = value;
                }
                object
            })
            .boxed();
    }
    whole
}

/// A time in the form that is written: the shortest fraction, `Z` for no offset.
fn time() -> impl Strategy<Value = String> {
    let day = (1970..2100_i32, 1..=12_u8, 1..=28_u8);
    let clock = (0..24_u8, 0..60_u8, 0..60_u8);
    let fraction = prop_oneof![Just(String::new()), "\\.[0-9]{0,8}[1-9]"];
    let offset = prop_oneof![Just("Z".to_owned()), "[+-](0[1-9]|1[0-3]):[0-5][0-9]"];
    (day, clock, fraction, offset).prop_map(|((y, mo, d), (h, mi, s), fraction, offset)| {
        format!("{y:04}-{mo:02}-{d:02}T{h:02}:{mi:02}:{s:02}{fraction}{offset}")
    })
}

fn anything() -> BoxedStrategy<Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..3).prop_map(Value::from),
            btree_map(any::<String>(), inner, 0..3).prop_map(|map| json!(map)),
        ]
    })
    .boxed()
}

/// An envelope has a type and an id, or it is none; the rest is written even if it was missing.
fn envelope(mut value: Value) -> Value {
    for (name, empty) in [("nonce", json!("")), ("signature", json!("")), ("payload", Value::Null)]
    {
        if value.get(name).is_none() {
            value[name] = empty;
        }
    }
    for name in ["event_type", "event_id"] {
        if value[name] == "" {
            value[name] = json!("some");
        }
    }
    value
}

/// What is absent and has a default is written as that.
fn with_defaults(schema: &Value, mut value: Value) -> Value {
    for (name, held) in schema["properties"].as_object().into_iter().flatten() {
        if let (None, Some(default)) = (value.get(name), held.get("default")) {
            value[name] = default.clone();
        }
    }
    value
}

/// An empty list or map and none are the same thing.
fn without_empty(value: &Value) -> Value {
    match value {
        Value::Object(entries) => entries
            .iter()
            .map(|(name, value)| (name.clone(), without_empty(value)))
            .filter(|(_, value)| *value != json!([]) && *value != json!({}))
            .collect(),
        Value::Array(items) => items.iter().map(without_empty).collect(),
        other => other.clone(),
    }
}
