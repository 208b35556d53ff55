//! One planted fault a rule of the document, and the line that it prints.

use serde_json::{Value, json};

use super::document;
use crate::repo::Repo;
use crate::spec::Spec;

/// What the check says of the contract with the value at `pointer` replaced, or removed.
fn planted(pointer: &str, value: Option<Value>) -> Vec<String> {
    let mut spec = Spec::of(&Repo::here()).unwrap().value;
    let (holder, key) = pointer.rsplit_once('/').unwrap();
    let holder = spec.pointer_mut(holder).unwrap().as_object_mut().unwrap();
    let key = key.replace("~1", "/");
    match value {
        Some(value) => holder.insert(key, value),
        None => holder.remove(&key),
    };
    document::check(&Spec::parse(serde_norway::to_string(&spec).unwrap()).unwrap()).problems
}

const PING: &str = "/paths/~1v1~1ping/get";
const PEER: &str = "/components/schemas/Peer/properties";

#[test]
fn the_contract_is_sound() {
    let line = document::check(&Spec::of(&Repo::here()).unwrap());
    assert_eq!(line.problems, [""; 0]);
    assert!(line.what.starts_with("21 operations, 70 schemas, 24 events, "), "{}", line.what);
}

#[test]
fn an_operation_says_all_that_it_should() {
    for (part, value, said) in [
        (
            "operationId",
            Some(json!("pong")),
            "operation `ping` of the contract is missing: restore it, or its operationId",
        ),
        ("summary", None, "operation `ping`: it has no summary: write one"),
        ("description", Some(json!(" ")), "operation `ping`: it has no description: write one"),
        ("tags", Some(json!([])), "operation `ping`: it has no tag: give it one of `tags`"),
        (
            "tags",
            Some(json!(["Odd"])),
            "operation `ping`: its tag \"Odd\" is not described: add it to `tags`",
        ),
        (
            "security",
            Some(json!([])),
            "operation `ping`: nothing says how it is authorised: write `security`",
        ),
        (
            "security",
            Some(json!([{ "key": [] }])),
            "operation `ping`: its security scheme `key` is not in `securitySchemes`: add it",
        ),
        ("responses/429", None, "operation `ping`: status 429 is not documented: add the response"),
        (
            "responses/204",
            Some(json!({ "description": "" })),
            "operation `ping`: response 204 has no description: write one",
        ),
    ] {
        assert_eq!(planted(&format!("{PING}/{part}"), value), [said]);
    }
}

#[test]
fn an_example_is_there_and_fits() {
    let media =
        "/paths/~1v1~1nodes~1{node_id}~1heartbeat/post/responses/200/content/application~1json";
    assert_eq!(
        planted(&format!("{media}/example"), None),
        ["operation `heartbeat`: response 200 has no example: write one"]
    );
    assert_eq!(
        planted(&format!("{media}/example"), Some(json!({ "reconcile": "yes" }))),
        [
            "operation `heartbeat`: response 200: its example does not fit: /reconcile: \"yes\" is not of type \"boolean\""
        ]
    );
    assert_eq!(
        planted("/components/schemas/SecretRef/example", Some(json!({ "key": "k" }))),
        ["schema `SecretRef`: its example does not fit: : \"version\" is a required property"]
    );
}

#[test]
fn a_reference_names_something() {
    let found =
        planted(&format!("{PEER}/extra"), Some(json!({ "$ref": "#/components/schemas/Nothing" })));
    let said =
        "`#/components/schemas/Nothing` refers to nothing: mend the `$ref`, or add what it names";
    assert!(found.contains(&said.to_owned()), "{found:?}");
}

#[test]
fn a_schema_keeps_to_the_house_style() {
    for (schema, said) in [
        (
            json!({ "type": "string", "nullable": true }),
            "`Peer.extra` has `nullable`: leave it out of `required` instead",
        ),
        (
            json!({ "type": "integer" }),
            "`Peer.extra` is an integer of no size: write `format: int64`",
        ),
        (
            json!({ "description": "Anything." }),
            "`Peer.extra` has no type: write `$ref: '#/components/schemas/RawJson'` to keep its bytes",
        ),
        (
            json!({ "type": "object" }),
            "`Peer.extra` is an object of anything, which does not keep its bytes: write `$ref: '#/components/schemas/RawJson'`",
        ),
        (
            json!({ "$ref": "#/components/schemas/RawJson", "description": "Words." }),
            "`Peer.extra` has words beside its `$ref`, which nobody reads: drop them",
        ),
        (
            json!({ "type": "string", "format": "uuid" }),
            "`Peer.extra` has the format `uuid`, for which there is no type here: drop it and say it in the description",
        ),
    ] {
        assert_eq!(planted(&format!("{PEER}/extra"), Some(schema)), [said]);
    }
    assert_eq!(
        planted("/components/schemas/DriftReport/required", Some(json!(["timestamp"]))),
        [
            "`DriftReport.corrections` is a list that is not `required`, so a request leaves it out: require it, so that it writes `[]`"
        ]
    );
    assert_eq!(
        planted("/components/schemas/SecretRef/required", Some(json!(["key", "version", "age"])))
            [0],
        "`SecretRef` requires `age`, which is no property of it: add it, or mend the name"
    );
}
