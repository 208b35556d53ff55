//! What the generator cannot take, or takes and gets wrong: each is refused with what to write instead.

use std::collections::BTreeMap;

use serde_json::Value;

use super::walk::{self, Operation, Place, is_success, list, map, operations, resolve};

/// Methods that every generated client has.
const RESERVED: [&str; 9] =
    ["new", "new_with_client", "api_version", "baseurl", "client", "inner", "pre", "post", "exec"];

/// What stands in the way of generating from `document`, each with its mend.
pub fn refusals(document: &Value) -> Vec<String> {
    let mut found = Vec::new();
    for (path, item) in map(&document["paths"]) {
        if item.get("$ref").is_some() {
            found.push(format!("path `{path}` is a reference: write the path item in place"));
        }
    }
    let mut ids = BTreeMap::new();
    for operation in operations(document) {
        let Operation { method, path, value, .. } = operation;
        let Some(id) = value["operationId"].as_str() else {
            found.push(format!("`{method} {path}` has no operationId: give it one"));
            continue;
        };
        if RESERVED.contains(&id) {
            found.push(format!(
                "operationId `{id}` is a name that the generated client needs itself: choose another"
            ));
        }
        // The generator takes these for one name.
        if let Some(other) = ids.insert(id.to_lowercase().replace(['-', '_', '.'], ""), id) {
            found.push(format!(
                "operationId `{id}` is given twice (`{other}`): each operation needs one of its own"
            ));
        }
        let problems = body(document, &operation)
            .into_iter()
            .chain(success(document, &operation))
            .chain(parameters(document, &operation));
        found.extend(problems.map(|problem| format!("operation `{id}`: {problem}")));
    }
    walk::each_schema(document, &mut |place, schema| {
        found.extend(schema_rules(place, schema).map(|rule| format!("`{}` {rule}", place.name)));
    });
    found
}

fn body(document: &Value, operation: &Operation<'_>) -> Option<String> {
    const TAKEN: [&str; 4] = [
        "application/json",
        "application/octet-stream",
        "application/x-www-form-urlencoded",
        "text/plain",
    ];
    let body = operation.value.get("requestBody")?;
    if body.get("$ref").is_some() {
        return Some("its request body is a reference: write the body in place".to_owned());
    }
    let content = operation.body(document);
    if content.len() != 1 {
        return Some(format!(
            "its request body has {} media types: give exactly one, `application/json`",
            content.len()
        ));
    }
    if let Some(media) = content.keys().find(|media| !TAKEN.contains(&media.as_str())) {
        return Some(format!(
            "the generator has no request body of type `{media}`: use `application/json` or `application/octet-stream`"
        ));
    }
    (body["required"] != true).then(|| {
        "its request body is optional, but the client always sends it: write `required: true`"
            .to_owned()
    })
}

fn success(document: &Value, operation: &Operation<'_>) -> Vec<String> {
    let mut found = Vec::new();
    let answers: Vec<_> = operation.responses(document).filter(|(s, _)| is_success(s)).collect();
    if answers.is_empty() {
        found.push("no 2xx response is documented: add one, such as `'204'`".to_owned());
    }
    for (status, answer) in &answers {
        let content = map(&answer["content"]);
        if answer.is_null() {
            found.push(format!("response {status} refers to nothing: mend its `$ref`"));
        }
        if content.len() > 1 {
            let media = content.keys().map(String::as_str).collect::<Vec<_>>().join("`, `");
            found.push(format!("response {status} has several media types (`{media}`): give one"));
        }
        if let Some(media) = content.keys().find(|m| m.ends_with("+json")) {
            found.push(format!(
                "response {status} has the type `{media}`, which would be bytes to the caller: write `application/json`"
            ));
        }
    }
    let mut types: Vec<_> = answers
        .iter()
        .flat_map(|(_, answer)| map(&answer["content"]))
        .map(|(media, content)| (media, resolve(document, &content["schema"])))
        .collect();
    types.dedup();
    if types.len() > 1 && found.is_empty() {
        found.push("its 2xx responses have different bodies, but the method has one type: give all the same schema".to_owned());
    }
    found
}

fn parameters(document: &Value, operation: &Operation<'_>) -> Vec<String> {
    let rule = |parameter: &Value| {
        let name = &parameter["name"];
        match parameter["in"].as_str() {
            Some("path" | "query" | "header") if parameter["schema"].is_object() => None,
            Some("path" | "query" | "header") => {
                Some(format!("parameter {name} has no `schema`: give it one instead of `content`"))
            }
            Some(place) => Some(format!(
                "parameter {name} is in the {place}, which the generator cannot send: use a header"
            )),
            None => Some("a parameter refers to nothing: mend its `$ref`".to_owned()),
        }
    };
    operation.parameters(document).into_iter().filter_map(rule).collect()
}

fn schema_rules(place: &Place, schema: &Value) -> impl Iterator<Item = String> {
    let has = |key: &str| schema.get(key).is_some();
    let is = |kind: &str| schema["type"] == kind;
    let rules = [
        (has("anyOf"), "has `anyOf`, which decodes nothing: write `oneOf` or one type"),
        (
            is("string") && has("enum") && !is_tag(place, schema),
            "has `enum`, so one new value would fail the whole answer: write `x-extensible-enum`",
        ),
        (
            !is("string") && has("enum"),
            "has `enum` on what is no string, which does not build: say the values in the description",
        ),
        (
            has("x-extensible-enum") && !place.named,
            "has `x-extensible-enum` in place, which is not seen there: make it a schema of its own",
        ),
        (
            is("integer") && (at_least_one(schema)),
            "has a `minimum` above 0, so it becomes a type without zero: drop it and say it in the description",
        ),
        (
            ["pattern", "minLength", "maxLength"].into_iter().any(has),
            "has a `pattern` or a length, so a longer answer would fail: drop it and say it in the description",
        ),
        (
            schema["additionalProperties"] == false,
            "has `additionalProperties: false`, so one new field would fail the whole answer: drop it",
        ),
        (
            has("additionalProperties")
                && !map(&schema["properties"]).is_empty()
                && schema["additionalProperties"] != false,
            "has `properties` and `additionalProperties`, which loses what a raw value holds: make the rest a map field",
        ),
        (
            schema["nullable"] == true && (is("array") || has("additionalProperties")),
            "is a list or map with `nullable`, which makes null another thing than empty: drop it, null is read as empty",
        ),
    ];
    let mut found: Vec<_> =
        rules.into_iter().filter(|(hit, _)| *hit).map(|(_, text)| text.to_owned()).collect();
    found.extend(unknown_format(schema).map(|format| {
        format!("has the format `{format}`, for which there is no type here: drop it and say it in the description")
    }));
    found.into_iter()
}

/// One word in a variant of a `oneOf` tells the variants apart.
fn is_tag(place: &Place, schema: &Value) -> bool {
    place.variant && list(&schema["enum"]).len() == 1
}

fn at_least_one(schema: &Value) -> bool {
    let minimum = schema["minimum"].as_f64();
    minimum.is_some_and(|m| m > 0.0 || (m == 0.0 && schema["exclusiveMinimum"] == true))
}

fn unknown_format(schema: &Value) -> Option<&str> {
    const KNOWN: [&str; 8] =
        ["date-time", "password", "int32", "int64", "float", "double", "byte", "binary"];
    schema["format"].as_str().filter(|format| !KNOWN.contains(format))
}
