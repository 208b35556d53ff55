//! Whether a value fits a schema of the document.

use std::cell::RefCell;
use std::collections::HashMap;

use jsonschema::Validator;
use serde_json::{Map, Value, json};

use crate::spec::{Spec, list, map};

/// Judges values by the schemas of one document.
pub struct Judge {
    components: Value,
    /// The validator of each schema that was asked for.
    known: RefCell<HashMap<String, Result<Validator, String>>>,
}

impl Judge {
    pub fn new(spec: &Spec) -> Self {
        let components = json_schema(&spec.value["components"]);
        Self { components, known: RefCell::default() }
    }

    /// How `value` differs from `schema`, each with its place.
    pub fn faults(&self, schema: &Value, value: &Value) -> Vec<String> {
        let mut known = self.known.borrow_mut();
        let validator = known.entry(schema.to_string()).or_insert_with(|| {
            validator(&json!({ "allOf": [json_schema(schema)], "components": self.components }))
        });
        match validator {
            Ok(validator) => validator
                .iter_errors(value)
                .map(|e| format!("{}: {e}", e.instance_path()))
                .collect(),
            Err(problem) => vec![problem.clone()],
        }
    }
}

fn validator(root: &Value) -> Result<Validator, String> {
    jsonschema::options()
        .should_validate_formats(true)
        .build(root)
        .map_err(|e| format!("the schema is none: {e}"))
}

/// An OpenAPI 3.0 schema in the words of JSON Schema: `nullable` and the
/// exclusive bounds are said differently there.
fn json_schema(schema: &Value) -> Value {
    match schema {
        Value::Object(entries) => {
            let inner = entries.iter().map(|(key, value)| (key.clone(), json_schema(value)));
            let mut said: Map<String, Value> = inner.collect();
            for (bound, exclusive) in
                [("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")]
            {
                match said.get(exclusive).and_then(Value::as_bool) {
                    Some(true) => {
                        let limit = said.remove(bound).unwrap_or_default();
                        said.insert(exclusive.to_owned(), limit);
                    }
                    Some(false) => drop(said.remove(exclusive)),
                    None => {}
                }
            }
            if said.get("nullable") == Some(&Value::Bool(true)) {
                said.remove("nullable");
                return json!({ "anyOf": [said, { "type": "null" }] });
            }
            Value::Object(said)
        }
        Value::Array(items) => items.iter().map(json_schema).collect(),
        other => other.clone(),
    }
}

/// The examples beside a schema: `example`, or the values of `examples`.
pub fn examples(holder: &Value) -> Vec<&Value> {
    let named = map(&holder["examples"]).values().filter_map(|example| example.get("value"));
    holder.get("example").into_iter().chain(named).chain(list(&holder["examples"])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nullable_and_exclusive_bounds_are_understood() {
        let text = "components: { schemas: { A: { type: string, nullable: true } } }";
        let judge = Judge::new(&Spec::parse(text.to_owned()).unwrap());
        let a = json!({ "$ref": "#/components/schemas/A" });
        assert!(judge.faults(&a, &Value::Null).is_empty());
        assert!(judge.faults(&a, &json!("x")).is_empty());
        assert_eq!(judge.faults(&a, &json!(7)).len(), 1);
        let above = json!({ "type": "number", "minimum": 0, "exclusiveMinimum": true });
        assert_eq!(judge.faults(&above, &json!(0)).len(), 1);
        assert!(judge.faults(&above, &json!(0.5)).is_empty());
        let time = json!({ "type": "string", "format": "date-time" });
        assert_eq!(judge.faults(&time, &json!("soon")).len(), 1);
    }
}
