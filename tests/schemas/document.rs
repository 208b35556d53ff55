//! The document, and what it says of each schema's fields.

use std::collections::BTreeMap;
use std::fs;

use jsonschema::Validator;
use serde_json::{Value, json};

pub struct Document(Value);

/// What the document says of a field.
pub struct Field {
    pub required: bool,
    /// A string, number or boolean.
    pub is_scalar: bool,
    /// Anything at all.
    pub is_any: bool,
}

impl Document {
    pub fn read() -> Self {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi/plexsphere.yaml");
        let text = fs::read_to_string(path).unwrap();
        Self(serde_norway::from_str(&text).unwrap())
    }

    pub fn value(&self) -> &Value {
        &self.0
    }

    pub fn schemas(&self) -> impl Iterator<Item = (&str, &Value)> {
        let schemas = self.0["components"]["schemas"].as_object().unwrap();
        schemas.iter().map(|(name, schema)| (name.as_str(), schema))
    }

    /// The schema of the type `name`: the generator writes `NATInfo` as `NatInfo`.
    pub fn schema(&self, name: &str) -> &Value {
        let found = self.schemas().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map_or_else(|| panic!("no schema {name}"), |(_, schema)| schema)
    }

    /// What `schema` refers to, and by which name; else itself.
    pub fn resolve<'a>(&'a self, schema: &'a Value) -> (Option<&'a str>, &'a Value) {
        match schema["$ref"].as_str() {
            Some(reference) => {
                let target = self.0.pointer(reference.trim_start_matches('#')).unwrap();
                (reference.rsplit('/').next(), target)
            }
            None => (None, schema),
        }
    }

    pub fn fields(&self, name: &str) -> BTreeMap<String, Field> {
        let schema = self.schema(name);
        let required = schema["required"].as_array().cloned().unwrap_or_default();
        let properties = schema["properties"].as_object().into_iter().flatten();
        properties
            .map(|(field, held)| {
                let (_, held) = self.resolve(held);
                let kind = held["type"].as_str();
                let field_is = Field {
                    required: required.contains(&json!(field)),
                    is_scalar: matches!(kind, Some("string" | "integer" | "boolean" | "number")),
                    is_any: kind.is_none(),
                };
                (field.clone(), field_is)
            })
            .collect()
    }

    /// A judge by the document's own schema of the type `name`.
    pub fn validator(&self, name: &str) -> Validator {
        let root = json!({ "allOf": [self.schema(name)], "components": self.0["components"] });
        jsonschema::options().should_validate_formats(true).build(&root).unwrap()
    }
}
