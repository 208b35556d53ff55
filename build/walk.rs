//! A document as JSON, and the ways through it: its operations, its parameters, its schemas.

use serde_json::{Map, Value};

const METHODS: [&str; 8] = ["get", "put", "post", "delete", "patch", "options", "head", "trace"];

/// The document `text`, which is YAML or JSON. A key given twice is an error.
pub fn read(text: &str) -> Result<Value, String> {
    let yaml: serde_norway::Value =
        serde_norway::from_str(text).map_err(|e| format!("is not YAML: {e}"))?;
    serde_json::to_value(yaml).map_err(|e| format!("is not what JSON can hold: {e}"))
}

/// One operation of the document, with what its path gives it.
pub struct Operation<'a> {
    pub method: &'static str,
    pub path: &'a str,
    pub value: &'a Value,
    item: &'a Value,
}

impl<'a> Operation<'a> {
    /// Its id, or its method and path if it has none.
    pub fn id(&self) -> String {
        match self.value["operationId"].as_str() {
            Some(id) => id.to_owned(),
            None => format!("{} {}", self.method, self.path),
        }
    }

    /// Its parameters, those of its path first, each without its reference.
    pub fn parameters(&self, document: &'a Value) -> Vec<&'a Value> {
        let of = |value: &'a Value| list(&value["parameters"]).iter();
        of(self.item).chain(of(self.value)).map(|p| resolve(document, p)).collect()
    }

    /// The media types of its request body, and what each holds.
    pub fn body(&self, document: &'a Value) -> &'a Map<String, Value> {
        map(&resolve(document, &self.value["requestBody"])["content"])
    }

    /// Its responses by status, each without its reference.
    pub fn responses(
        &self,
        document: &'a Value,
    ) -> impl Iterator<Item = (&'a str, &'a Value)> + use<'a> {
        map(&self.value["responses"])
            .iter()
            .map(|(status, response)| (status.as_str(), resolve(document, response)))
    }
}

/// Every operation of the document, in its order.
pub fn operations(document: &Value) -> Vec<Operation<'_>> {
    let mut found = Vec::new();
    for (path, item) in map(&document["paths"]) {
        let methods = METHODS.into_iter().filter_map(|m| Some((m, item.get(m)?)));
        found.extend(methods.map(|(method, value)| Operation { method, path, value, item }));
    }
    found
}

/// Whether a response with this status is a success.
pub fn is_success(status: &str) -> bool {
    status.starts_with('2')
}

/// What `value` refers to, or `value` itself; null if it refers to nothing.
pub fn resolve<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    let mut value = value;
    // A chain longer than this is a circle.
    for _ in 0..32 {
        let Some(reference) = value["$ref"].as_str() else { return value };
        value = reference
            .strip_prefix('#')
            .and_then(|pointer| document.pointer(pointer))
            .unwrap_or(&Value::Null);
    }
    &Value::Null
}

/// Where a schema stands.
#[derive(Clone)]
pub struct Place {
    /// `Peer.allowed_ips[]`, or `heartbeat body`.
    pub name: String,
    /// It is a named schema itself, not a part of one.
    pub named: bool,
    /// It is in a variant of a `oneOf`.
    pub variant: bool,
}

/// Visits each schema that the generator sees, the parts of each included.
pub fn each_schema<'a>(document: &'a Value, visit: &mut dyn FnMut(&Place, &'a Value)) {
    for (name, schema) in map(&document["components"]["schemas"]) {
        let place = Place { name: name.clone(), named: true, variant: false };
        descend(&place, schema, visit);
    }
    for operation in operations(document) {
        let id = operation.id();
        for parameter in operation.parameters(document) {
            let name = parameter["name"].as_str().unwrap_or_default();
            inline(format!("{id} parameter {name}"), &parameter["schema"], visit);
        }
        for media in operation.body(document).values() {
            inline(format!("{id} body"), &media["schema"], visit);
        }
        for (_, response) in operation.responses(document).filter(|(s, _)| is_success(s)) {
            // Nobody generates from the frames of an event stream: they are for people.
            let media = map(&response["content"]).iter().filter(|(m, _)| *m != "text/event-stream");
            media.for_each(|(_, m)| inline(format!("{id} answer"), &m["schema"], visit));
        }
    }
}

fn inline<'a>(name: String, schema: &'a Value, visit: &mut dyn FnMut(&Place, &'a Value)) {
    if schema.is_object() {
        descend(&Place { name, named: false, variant: false }, schema, visit);
    }
}

fn descend<'a>(place: &Place, schema: &'a Value, visit: &mut dyn FnMut(&Place, &'a Value)) {
    visit(place, schema);
    let mut part = |name: String, schema, variant| {
        descend(&Place { name, named: false, variant }, schema, visit);
    };
    for (name, property) in map(&schema["properties"]) {
        part(format!("{}.{name}", place.name), property, place.variant);
    }
    if schema["items"].is_object() {
        part(format!("{}[]", place.name), &schema["items"], false);
    }
    if schema["additionalProperties"].is_object() {
        part(format!("{}{{}}", place.name), &schema["additionalProperties"], false);
    }
    for kind in ["allOf", "oneOf", "anyOf"] {
        for variant in list(&schema[kind]) {
            part(place.name.clone(), variant, place.variant || kind == "oneOf");
        }
    }
}

/// The entries of an object; none of anything else.
pub fn map(value: &Value) -> &Map<String, Value> {
    static NONE: std::sync::LazyLock<Map<String, Value>> = std::sync::LazyLock::new(Map::new);
    value.as_object().unwrap_or(&NONE)
}

/// The items of an array; none of anything else.
pub fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}
