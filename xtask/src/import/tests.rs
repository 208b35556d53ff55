//! A document with every construct comes through, and what became of each is said.

use super::*;
use crate::repo::Repo;
use crate::spec::Spec;
use crate::try_spec::try_out;

const EVERYTHING: &str = include_str!("../../tests/fixtures/everything-3.1.yaml");

fn everything() -> Imported {
    import(EVERYTHING).unwrap()
}

#[test]
fn the_build_refuses_nothing_of_a_translation() {
    assert_eq!(generate::problems(&everything().yaml().unwrap()).unwrap(), [""; 0]);
    let twice = import(&everything().yaml().unwrap()).unwrap();
    assert_eq!(twice.document, everything().document, "a translation is translated no further");
}

#[test]
fn a_translation_compiles_as_a_client_of_its_own() {
    let tried = try_out(&Repo::here(), &everything(), "try-spec-test").unwrap();
    assert_eq!((tried.operations, tried.methods), (9, 9));
    assert!(tried.types >= 9 && tried.lines > 300, "{tried:?}");
}

#[test]
fn the_contract_is_no_translation_away() {
    let spec = Spec::of(&Repo::here()).unwrap();
    assert_eq!(generate::problems(&import(&spec.text).unwrap().yaml().unwrap()).unwrap(), [""; 0]);
}

#[test]
fn another_version_is_refused() {
    let said = import("swagger: '2.0'").err();
    assert_eq!(said.as_deref(), Some("says `openapi: `: only 3.0 and 3.1 can be translated"));
}

#[test]
fn each_construct_is_said_again_in_the_words_of_3_0() {
    let document = everything().document;
    let lamp = |field: &str| {
        document["components"]["schemas"]["Lamp"]["allOf"][1]["properties"][field].clone()
    };
    let schema = |name: &str| document["components"]["schemas"][name].clone();
    for (found, said) in [
        (lamp("lit_at"), json!({ "type": "string", "format": "date-time", "nullable": true })),
        (lamp("colour"), json!({ "$ref": "#/components/schemas/Colour" })),
        (
            lamp("keeper"),
            json!({ "allOf": [{ "$ref": "#/components/schemas/Keeper" }], "nullable": true }),
        ),
        (lamp("deputy"), json!({ "type": "string", "nullable": true })),
        (
            lamp("marks"),
            json!({ "type": "array", "items": { "oneOf": [{ "type": "string" }, { "type": "integer" }] } }),
        ),
        (lamp("labels"), json!({ "type": "object", "additionalProperties": { "type": "string" } })),
        (lamp("notes"), json!({ "type": "object", "additionalProperties": { "type": "string" } })),
        (lamp("kind"), json!({ "type": "string" })),
        (lamp("version"), json!({ "type": "integer" })),
        (lamp("level"), json!({ "type": "integer" })),
        (lamp("mood"), json!({ "type": "string", "nullable": true })),
        (lamp("anything"), json!({})),
        (lamp("address"), json!({ "type": "string" })),
        (lamp("id"), json!({ "type": "string" })),
        (
            lamp("first_step"),
            json!({ "type": "array", "items": { "type": "integer", "minimum": 0, "maximum": 65535 } }),
        ),
        (lamp("pair"), json!({ "type": "array", "items": {} })),
        (lamp("on"), json!({ "type": "boolean", "default": false })),
        (
            schema("Colour"),
            json!({ "type": "string", "x-extensible-enum": ["red", "white", "green"], "example": "red" }),
        ),
        (schema("Level"), json!({ "type": "integer" })),
        (
            schema("NewLamp")["properties"]["power"].clone(),
            json!({ "type": "number", "maximum": 9000.5, "exclusiveMaximum": true }),
        ),
        (schema("NewLamp")["properties"]["hours"].clone(), json!({ "type": "integer" })),
        (
            schema("Ship")["oneOf"][0]["properties"]["kind"].clone(),
            json!({ "type": "string", "enum": ["sailer"] }),
        ),
    ] {
        assert_eq!(found, said);
    }
    assert_eq!(schema("NewLamp").get("additionalProperties"), None);
    assert_eq!(document.get("webhooks"), None);
}

#[test]
fn what_changed_and_what_is_lost_is_reported() {
    let report = everything().notes.report();
    let (changed, lost) = report.split_once("could not be expressed:\n").unwrap();
    for line in [
        "   1  `openapi: 3.1.0` became 3.0.3: openapi",
        "   1  path item written in place of its reference: /lamps/{lampId}",
        "   1  request body written in place of its reference: CreateLamp",
        "   2  operationId made from the path, or made unique: post_lamps_lampId_audit, list_lamps_again",
        "   1  answer of a `+json` type became `application/json`: Health",
        "   1  a closed object became open: a new field shall not fail: NewLamp",
        "   1  named `enum` became open (`x-extensible-enum`): Colour",
        "   1  several types became `oneOf`: Lamp.marks[]",
        "   2  `format: uuid` became a plain value: Lamp.id, ",
    ] {
        assert!(changed.contains(line), "no `{line}` in\n{changed}");
    }
    for line in [
        "   1  webhook: the schemas stay, the call is gone: shipSeen",
        "   2  request body of type `application/x-ndjson`: the caller must set the Content-Type: post_lamps_lampId_audit, SendLog",
        "   1  parameter in a cookie or that refers to nothing: ListLamps",
        "   1  query parameter in the style \"deepObject\": ListLamps",
        "   1  a second success answer of another shape: CreateLamp",
        "   1  request body in other types than `application/json`: list_lamps_again",
        "   1  callbacks: CreateLamp",
        "   1  `pattern` was dropped: an answer beyond it shall not fail: NewLamp.name",
        "   1  `if` was dropped: Health",
        "   1  `additionalProperties` beside `properties` was dropped: Health.parts",
        "   1  `anyOf` of required fields was dropped: Keeper",
        "   1  `default` beside a `$ref` was dropped: Lamp.colour",
    ] {
        assert!(lost.contains(line), "no `{line}` in\n{lost}");
    }
}
