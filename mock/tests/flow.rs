//! A day of two nodes.
#![allow(clippy::unwrap_used)]

mod common;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use common::{Api, LIMIT};
use plexsphere_mock::MockControlPlane;
use serde_json::{Value, json};

fn verify(envelope_json: &str, public_key: &str) -> bool {
    let (signed, signature) = envelope_json.rsplit_once(",\"signature\":\"").unwrap();
    let signature = STANDARD.decode(signature.strip_suffix("\"}").unwrap()).unwrap();
    let key = STANDARD.decode(public_key).unwrap();
    UnparsedPublicKey::new(&ED25519, key)
        .verify(format!("{signed}}}").as_bytes(), &signature)
        .is_ok()
}

fn open(answer: &Value, node_secret_key: &str) -> Vec<u8> {
    let bytes = |field: &str| STANDARD.decode(answer[field].as_str().unwrap()).unwrap();
    let key = UnboundKey::new(&AES_256_GCM, &STANDARD.decode(node_secret_key).unwrap()).unwrap();
    let nonce = Nonce::try_assume_unique_for_key(&bytes("nonce")).unwrap();
    let mut sealed = bytes("ciphertext");
    LessSafeKey::new(key).open_in_place(nonce, Aad::empty(), &mut sealed).unwrap().to_vec()
}

#[tokio::test]
async fn two_nodes_meet_live_and_part() {
    let mock = MockControlPlane::start().await.unwrap();
    let (one, joined) = Api::register(&mock, "web-1").await;
    assert_eq!(joined["peers"], json!([]));
    assert_eq!(joined["mesh_ip"], "100.64.0.1");
    assert_eq!(joined["signing_public_key"], mock.signing_public_key());
    assert_eq!(STANDARD.decode(&one.token).unwrap().len(), 32);

    let mut events = one.events(None).await;
    let (two, joined) = Api::register(&mock, "web-2").await;
    assert_eq!(joined["peers"][0]["id"], one.node_id);
    let (id, name, envelope) = events.event().await;
    assert_eq!((id.as_str(), name.as_str()), ("1", "peer_added"));
    assert_eq!(envelope["payload"]["id"], two.node_id);
    assert_eq!(envelope["payload"]["psk"], joined["peers"][0]["psk"], "one key for the pair");
    assert!(verify(&mock.published()[0].envelope_json, &mock.signing_public_key()));

    let endpoint = json!({ "public_endpoint": "198.51.100.2:51820", "nat_type": "none" });
    assert_eq!(two.put("endpoint").json(&endpoint).send().await.unwrap().status(), 200);
    let (_, name, envelope) = events.event().await;
    assert_eq!(
        (name.as_str(), &envelope["payload"]["endpoint"]),
        ("peer_endpoint_changed", &endpoint["public_endpoint"])
    );

    let rotate = json!({ "node_id": two.node_id, "new_public_key": "new key" });
    let request = two
        .client
        .post(format!("{}/v1/keys/rotate", two.url))
        .bearer_auth(&two.token)
        .json(&rotate);
    let updated: Value = request.send().await.unwrap().json().await.unwrap();
    let (_, name, envelope) = events.event().await;
    assert_eq!(
        (name.as_str(), &envelope["payload"]["public_key"]),
        ("peer_key_rotated", &json!("new key"))
    );
    assert_eq!(envelope["payload"]["psk"], updated["updated_peers"][0]["psk"]);

    let state: Value = one.get("state").send().await.unwrap().json().await.unwrap();
    assert_eq!(state["peers"], json!([envelope["payload"]]));

    assert_eq!(two.post("deregister").send().await.unwrap().status(), 204);
    let (_, name, envelope) = events.event().await;
    assert_eq!(
        (name.as_str(), envelope["payload"].clone()),
        ("peer_removed", json!({ "peer_id": two.node_id }))
    );
    assert_eq!(two.get("state").send().await.unwrap().status(), 401, "its token is dead");
}

#[tokio::test]
async fn a_secret_opens_with_the_nodes_key_alone() {
    let mock = MockControlPlane::start().await.unwrap();
    let (api, _) = Api::register(&mock, "web-1").await;
    let mut events = api.events(None).await;
    mock.set_secret(&api.node_id, "db/password", "first");
    mock.set_secret(&api.node_id, "db/password", "hunter2");
    events.event().await;
    let (_, name, envelope) = events.event().await;
    assert_eq!(name, "node_secrets_updated");
    assert_eq!(
        envelope["payload"],
        json!({ "secret_refs": [{ "key": "db/password", "version": 2 }] })
    );

    let answer: Value =
        api.get("secrets/db%2Fpassword").send().await.unwrap().json().await.unwrap();
    assert_eq!(answer["version"], 2);
    assert_eq!(open(&answer, &api.token), b"hunter2");
    assert_eq!(
        api.get("secrets/db/password").send().await.unwrap().status(),
        404,
        "one segment, not two"
    );
}

#[tokio::test]
async fn the_stream_replays_after_the_last_id() {
    let mock = MockControlPlane::start().await.unwrap();
    let (api, _) = Api::register(&mock, "web-1").await;
    for number in 0..5 {
        mock.publish(&api.node_id, "policy_updated", &json!({ "number": number }));
    }
    let mut events = api.events(Some("3")).await;
    assert_eq!(events.event().await.0, "4");
    assert_eq!(events.event().await.0, "5");
    let mut from_now = api.events(None).await;
    mock.publish(&api.node_id, "policy_updated", &json!({}));
    assert_eq!(from_now.event().await.0, "6");
    assert_eq!(events.event().await.0, "6");
    let bad = api.get("events").header("Last-Event-ID", "3x").send().await.unwrap();
    assert_eq!(bad.status(), 400);
}

#[tokio::test]
async fn an_action_is_asked_acknowledged_and_answered_once() {
    let mock = MockControlPlane::start().await.unwrap();
    let (api, _) = Api::register(&mock, "web-1").await;
    let id = mock.request_action(&api.node_id, &json!({ "action": "restart" }));
    let ack = json!({ "execution_id": id, "status": "accepted", "reason": "" });
    let post = async |tail: String, body: &Value| {
        api.post(&tail).json(body).send().await.unwrap().status().as_u16()
    };
    assert_eq!(post(format!("executions/{id}/ack"), &ack).await, 204);
    let result = json!({
        "execution_id": id, "status": "success", "exit_code": 0, "stdout": "ok", "stderr": "",
        "duration": "2.34s", "finished_at": "2026-01-15T10:30:00.5+02:00",
    });
    assert_eq!(post(format!("executions/{id}/result"), &result).await, 204);
    assert_eq!(post(format!("executions/{id}/result"), &result).await, 409);
    assert_eq!(post("executions/other/ack".to_owned(), &ack).await, 400, "path and body differ");
    let other = json!({ "execution_id": "other", "status": "accepted", "reason": "" });
    assert_eq!(post("executions/other/ack".to_owned(), &other).await, 404);
    let execution = mock.execution(&id).unwrap();
    assert_eq!((execution.ack, execution.result), (Some(ack), Some(result)));
}

#[tokio::test]
async fn the_signing_key_rotates_under_the_old_one() {
    let mock = MockControlPlane::start().await.unwrap();
    let (api, joined) = Api::register(&mock, "web-1").await;
    let old = joined["signing_public_key"].as_str().unwrap();
    let mut events = api.events(None).await;
    let new = mock.rotate_signing_key();
    mock.publish(&api.node_id, "policy_updated", &json!({}));
    let (_, name, envelope) = events.event().await;
    assert_eq!(name, "signing_key_rotated");
    assert_eq!(
        (envelope["payload"]["current"].as_str(), envelope["payload"]["previous"].as_str()),
        (Some(&*new), Some(old))
    );
    events.event().await;
    let published = mock.published();
    assert!(verify(&published[0].envelope_json, old));
    assert!(verify(&published[1].envelope_json, &new) && !verify(&published[1].envelope_json, old));
    let state: Value = api.get("state").send().await.unwrap().json().await.unwrap();
    assert_eq!(state["signing_keys"], envelope["payload"]);
}

#[tokio::test]
async fn heartbeats_carry_the_flags_until_they_are_heeded() {
    let mock = MockControlPlane::start().await.unwrap();
    let (api, _) = Api::register(&mock, "web-1").await;
    let body = json!({
        "node_id": api.node_id, "timestamp": "2026-01-15T10:30:00Z", "status": "healthy", "uptime": "72h15m",
        "binary_checksum": "sha256:00", "mesh": { "interface": "wg0", "peer_count": 0, "listen_port": 51820 },
    });
    let beat = async || -> Value {
        api.post("heartbeat").json(&body).send().await.unwrap().json().await.unwrap()
    };
    assert_eq!(beat().await, json!({ "reconcile": false, "rotate_keys": false }));
    mock.set_heartbeat_flags(&api.node_id, true, true);
    assert_eq!(beat().await, json!({ "reconcile": true, "rotate_keys": true }));
    api.get("state").send().await.unwrap();
    assert_eq!(beat().await, json!({ "reconcile": false, "rotate_keys": true }));
    let heartbeats = mock.wait_for_requests("heartbeat", 3, LIMIT).await;
    assert_eq!(heartbeats[0].json::<Value>().unwrap(), body);
    assert_eq!(mock.node(&api.node_id).unwrap().received.heartbeats, 3);
}
