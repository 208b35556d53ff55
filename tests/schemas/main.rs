//! The types say what the document says: each type's own JSON Schema takes every
//! example and refuses a spoilt one, and random documents come through it whole.

// A test that cannot go on says so by panicking.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use jsonschema::Validator;
use serde_json::{Value, json};

mod document;
mod examples;
mod kinds;
mod random;

use document::Document;
use kinds::{KINDS, Kind};

#[test]
fn every_schema_has_its_type_in_this_test() {
    let document = Document::read();
    let schemas: BTreeSet<String> = document.schemas().map(|(n, _)| n.to_lowercase()).collect();
    let types: BTreeSet<String> = KINDS.iter().map(|kind| kind.name.to_lowercase()).collect();
    let lacking: Vec<_> = schemas.difference(&types).collect();
    let surplus: Vec<_> = types.difference(&schemas).collect();
    assert!(
        lacking.is_empty() && surplus.is_empty(),
        "tests/schemas/kinds.rs lacks {lacking:?} and has {surplus:?} too many"
    );
}

#[test]
fn every_example_fits_its_type() {
    let document = Document::read();
    for kind in KINDS {
        let derived = kind.validator();
        let examples = examples::of(&document, kind);
        assert!(!examples.is_empty(), "{} has no example", kind.name);
        for example in examples {
            let faults: Vec<_> = derived.iter_errors(&example).map(|e| e.to_string()).collect();
            assert!(faults.is_empty(), "{}: {example} does not fit: {faults:?}", kind.name);
            (kind.recode)(&example).unwrap_or_else(|e| panic!("{}: {example}: {e}", kind.name));
        }
    }
}

#[test]
fn an_example_without_a_required_scalar_is_refused() {
    let mut tried = 0;
    each_field(|kind, derived, example, name, field| {
        if !field.required || !field.is_scalar {
            return;
        }
        let mut spoilt = example.clone();
        spoilt.as_object_mut().unwrap().remove(name);
        refused(kind, derived, &spoilt, &format!("{}.{name}", kind.name));
        tried += 1;
    });
    assert!(tried > 100, "only {tried} fields were tried");
}

#[test]
fn an_example_with_a_value_of_another_type_is_refused() {
    let mut tried = 0;
    each_field(|kind, derived, example, name, field| {
        // What nobody interprets may be anything.
        if field.is_any || example.get(name).is_none() {
            return;
        }
        let other = if example[name].is_string() { json!(7) } else { json!("seven") };
        let mut spoilt = example.clone();
        spoilt[name] = other;
        refused(kind, derived, &spoilt, &format!("{}.{name}", kind.name));
        tried += 1;
    });
    assert!(tried > 100, "only {tried} fields were tried");
}

fn refused(kind: &Kind, derived: &Validator, spoilt: &Value, place: &str) {
    assert!(!derived.is_valid(spoilt), "{place}: the type's schema takes {spoilt}");
    assert!((kind.recode)(spoilt).is_err(), "{place}: the type decodes {spoilt}");
}

/// Calls `visit` with each example of each type and each field of its schema.
fn each_field(mut visit: impl FnMut(&Kind, &Validator, &Value, &str, &document::Field)) {
    let document = Document::read();
    for kind in KINDS {
        let derived = kind.validator();
        let fields = document.fields(kind.name);
        for example in examples::of(&document, kind) {
            for (name, field) in &fields {
                visit(kind, &derived, &example, name, field);
            }
        }
    }
}
