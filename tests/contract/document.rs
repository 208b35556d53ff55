//! What goes over the wire, judged by the document itself.

use std::fs;

use plexsphere_client::{ErrorKind, Problem};
use plexsphere_mock::Answer;
use serde_json::{Value, json};

use crate::calls::CALLS;
use crate::requests::Ids;
use crate::support::{client, mock, only_request};

struct Document(Value);

impl Document {
    fn read() -> Self {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi/plexsphere.yaml");
        Self(serde_norway::from_str(&fs::read_to_string(path).unwrap()).unwrap())
    }

    fn operation(&self, id: &str) -> Option<&Value> {
        let items = self.0["paths"].as_object().unwrap().values();
        items.flat_map(|item| item.as_object().unwrap().values()).find(|o| o["operationId"] == id)
    }

    /// Every way in which `value` does not fit `schema`.
    fn faults(&self, schema: &Value, value: &Value) -> Vec<String> {
        let whole = json!({ "allOf": [schema], "components": self.0["components"] });
        let judge = jsonschema::validator_for(&whole).unwrap();
        judge.iter_errors(value).map(|error| error.to_string()).collect()
    }
}

#[tokio::test]
async fn every_request_fits_the_document_s_schema() {
    let (document, mut judged) = (Document::read(), 0);
    for call in CALLS {
        let Some(operation) = document.operation(call.operation) else { continue };
        let mock = mock().await;
        mock.script(call.route, call.reply.answer());
        (call.run)(&client(&mock), &Ids::default()).await.unwrap();
        let request = only_request(&mock);
        let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
        if schema.is_null() {
            assert!(request.body.is_empty(), "{}", call.operation);
            continue;
        }
        let body: Value = request.json().unwrap();
        assert_eq!(document.faults(schema, &body), [""; 0], "{}", call.operation);
        // The judge does not take just anything.
        assert_ne!(document.faults(schema, &json!("no such body")), [""; 0]);
        judged += 1;
    }
    assert!(judged >= 14, "only {judged} bodies");
}

#[tokio::test]
async fn every_documented_status_is_produced_and_mapped() {
    let (document, mock) = (Document::read(), mock().await);
    let (api, mut mapped) = (client(&mock), 0);
    for call in CALLS {
        let Some(operation) = document.operation(call.operation) else { continue };
        for status in operation["responses"].as_object().unwrap().keys() {
            let status: u16 = status.parse().unwrap();
            if (200..300).contains(&status) {
                continue;
            }
            mock.script(call.route, Answer::problem(status, "some_code", "some detail"));
            let error = (call.run)(&api, &Ids::default()).await.unwrap_err();
            assert_eq!(error.status(), Some(status), "{}", call.operation);
            assert_eq!(error.operation(), Some(call.operation));
            assert_eq!(error.kind(), kind(status), "{}", call.operation);
            let code = error.problem().and_then(|Problem { code, .. }| code.as_deref());
            assert_eq!(code, Some("some_code"), "{}", call.operation);
            assert_eq!(error.to_string().contains("some_code"), !call.secret, "{error}");
            mapped += 1;
        }
    }
    assert!(mapped > 100, "only {mapped} statuses");
}

/// The contract page's table.
fn kind(status: u16) -> ErrorKind {
    match status {
        400 => ErrorKind::BadRequest,
        401 => ErrorKind::Unauthorized,
        403 => ErrorKind::Forbidden,
        404 => ErrorKind::NotFound,
        409 => ErrorKind::Conflict,
        413 => ErrorKind::PayloadTooLarge,
        // Not in the page's table: the crate asks for ranges in `download_artifact` alone.
        416 => ErrorKind::Status,
        429 => ErrorKind::RateLimit,
        500..600 => ErrorKind::Server,
        other => panic!("{other} is not in the table"),
    }
}
