//! Every operation against the mock's own behaviour: a node's life without a script.

use futures::StreamExt;
use plexsphere_client::{ControlPlane, Error};
use plexsphere_mock::{EmptyLists, MockControlPlane};
use serde_json::{Value, json};

use crate::calls::{CALLS, Call};
use crate::requests::{self, Ids};
use crate::support::{SOON, client, mock};

/// A registered node: its client carries the node secret key.
async fn registered(mock: &MockControlPlane) -> (ControlPlane, Ids) {
    let api = client(mock);
    api.set_auth_token(mock.bootstrap_token()).unwrap();
    let ids = Ids::default().set("token", mock.bootstrap_token());
    let node = api.register(&requests::register(&ids)).await.unwrap();
    api.set_auth_token(node.node_secret_key).unwrap();
    (api, ids.set("node_id", node.node_id))
}

#[tokio::test]
async fn register_answers_with_an_identity() {
    let mock = mock().await;
    let peer = mock.add_node("first");
    let api = client(&mock);
    api.set_auth_token(mock.bootstrap_token()).unwrap();
    let ids = Ids::default().set("token", mock.bootstrap_token());
    let answer = api.register(&requests::register(&ids)).await.unwrap();
    let node = mock.node(&answer.node_id).unwrap();
    assert_eq!(answer.mesh_ip, node.mesh_ip);
    assert_eq!(answer.node_secret_key.expose(), node.secret_key);
    assert_eq!(answer.signing_public_key, mock.signing_public_key());
    assert_eq!(answer.peers[0].id, peer.node_id);
    assert_eq!(node.hostname, "some text");
}

#[tokio::test]
async fn every_call_is_taken_by_a_server_that_checks() {
    let mock = mock().await;
    let (api, mut ids) = registered(&mock).await;
    let node_id = ids["node_id"].clone();
    mock.set_secret(&node_id, &ids["key"], "hunter2");
    mock.set_artifact(&ids["version"], &ids["os"], &ids["arch"], "binary");
    let execution = mock.request_action(&node_id, &json!({ "action": "a", "timeout": "1s" }));
    ids = ids.set("execution_id", execution.clone());
    mock.set_heartbeat_flags(&node_id, true, false);

    let mut answers = serde_json::Map::new();
    let separate = ["register", "connect_sse", "deregister", "get_json", "post_json"];
    for call in CALLS.iter().filter(|call| !separate.contains(&call.operation)) {
        let answer = (call.run)(&api, &ids).await;
        answers.insert(call.operation.into(), answer.unwrap());
    }
    assert_eq!(answers["heartbeat"], json!({ "reconcile": true, "rotate_keys": false }));
    assert_eq!(answers["fetch_state"]["secret_refs"][0]["key"], "db-password");
    assert_eq!(answers["fetch_artifact"], "binary");

    let expected = |operation: &str| (Call::of(operation).body)(&ids).unwrap();
    let received = mock.node(&node_id).unwrap().received;
    assert_eq!(received.heartbeats, 1);
    assert_eq!(received.last_heartbeat, Some(expected("heartbeat")));
    assert_eq!(received.capabilities, Some(expected("update_capabilities")));
    assert_eq!(received.drift, [expected("report_drift")]);
    assert_eq!(received.integrity_violations, [expected("report_integrity_violation")]);
    assert_eq!(received.reports["disk"], expected("sync_reports")["entries"][0]);
    assert_eq!((received.metric_points, received.log_lines, received.audit_entries), (2, 1, 1));
    let tunnel = &received.tunnels[&ids["session_id"]];
    assert_eq!(tunnel.ready, Some(expected("tunnel_ready")));
    assert_eq!(tunnel.closed, Some(expected("tunnel_closed")));
    let execution = mock.execution(&execution).unwrap();
    assert_eq!(execution.ack, Some(expected("ack_execution")));
    assert_eq!(execution.result, Some(expected("report_result")));
    let node = mock.node(&node_id).unwrap();
    assert_eq!((node.endpoint, node.public_key), (ids["text"].clone(), ids["text"].clone()));

    api.deregister(&node_id).await.unwrap();
    assert!(mock.nodes().is_empty());
    assert!(api.ping().await.unwrap_err().is_unauthorized(), "the token is dead");
}

#[tokio::test]
async fn a_secret_opens_with_the_node_key_and_no_other() {
    let mock = mock().await;
    let (api, ids) = registered(&mock).await;
    mock.set_secret(&ids["node_id"], "a/b", "hunter2");
    let secret = api.fetch_secret(&ids["node_id"], "a/b").await.unwrap();
    let key = mock.node(&ids["node_id"]).unwrap().secret_key;
    assert_eq!(*secret.decrypt(&key.into()).unwrap(), b"hunter2");
    let stranger = mock.add_node("stranger").secret_key;
    let error = secret.decrypt(&stranger.into()).unwrap_err();
    assert_eq!(error.kind(), plexsphere_client::ErrorKind::Decrypt);
}

#[tokio::test]
async fn the_event_stream_brings_events_and_the_server_s_time() {
    let mock = mock().await;
    let (api, ids) = registered(&mock).await;
    let before = mock.publish(&ids["node_id"], "policy_updated", &json!({}));
    let mut stream = api.connect_sse(&ids["node_id"], Some("0")).await.unwrap();
    assert!(stream.server_time().is_some());
    let after = mock.publish(&ids["node_id"], "rotate_keys", &json!({}));
    let mut text = String::new();
    while !text.contains(&after.envelope_json) {
        let chunk = tokio::time::timeout(SOON, stream.next()).await.unwrap().unwrap().unwrap();
        text.push_str(std::str::from_utf8(&chunk).unwrap());
    }
    assert!(text.contains(&before.envelope_json));
    drop(stream);
    mock.wait_for_streams(&ids["node_id"], 0, SOON).await;
}

#[tokio::test]
async fn the_server_s_refusals_arrive_as_their_kinds() {
    let mock = MockControlPlane::builder().body_limit(4096).start().await.unwrap();
    let (api, ids) = registered(&mock).await;
    let node_id = &ids["node_id"];
    let other = mock.add_node("other").node_id;
    let code = |error: &Error| error.problem().and_then(|problem| problem.code.clone());

    assert!(api.report_drift("nobody", &requests::drift(&ids)).await.unwrap_err().is_not_found());
    assert!(api.deregister(&other).await.unwrap_err().is_forbidden());
    let wrong_id = requests::heartbeat(&ids.clone().set("node_id", "other"));
    let error = api.heartbeat(node_id, &wrong_id).await.unwrap_err();
    assert!(error.is_bad_request());
    assert_eq!(code(&error).as_deref(), Some("id_mismatch"));

    api.sync_reports(node_id, &requests::reports(&ids)).await.unwrap();
    let older = requests::reports(&ids.clone().set("text", "other"));
    let error = api.sync_reports(node_id, &older).await.unwrap_err();
    assert!(error.is_conflict());
    assert_eq!(code(&error).as_deref(), Some("version_conflict"));
    assert!(error.to_string().contains("version_conflict"), "{error}");

    let long = requests::logs(&ids.clone().set("text", "x".repeat(5000)));
    assert!(api.report_logs(node_id, &long).await.unwrap_err().is_payload_too_large());
    mock.set_bus_down(true);
    let error = api.connect_sse(node_id, None).await.unwrap_err();
    assert!(error.is_server() && error.status() == Some(503));
    api.set_auth_token("stale").unwrap();
    assert!(api.fetch_state(node_id).await.unwrap_err().is_unauthorized());
}

#[tokio::test]
async fn null_and_missing_lists_of_the_server_are_empty() {
    for style in [EmptyLists::Brackets, EmptyLists::Null, EmptyLists::Missing] {
        let mock = MockControlPlane::builder().empty_lists(style).start().await.unwrap();
        let (api, ids) = registered(&mock).await;
        let state = api.fetch_state(&ids["node_id"]).await.unwrap();
        assert!(state.peers.is_empty() && state.policies.is_empty());
        assert!(state.data.is_empty() && state.secret_refs.is_empty());
        assert!(
            api.rotate_keys(&requests::key_rotation(&ids)).await.unwrap().updated_peers.is_empty()
        );
        let endpoints = api.report_endpoint(&ids["node_id"], &requests::endpoint(&ids)).await;
        assert!(endpoints.unwrap().peer_endpoints.is_empty());
    }
}

#[tokio::test]
async fn the_helpers_reach_any_path() {
    let mock = mock().await;
    let (api, ids) = registered(&mock).await;
    let path = format!("/v1/nodes/{}/heartbeat", ids["node_id"]);
    let answer: Value = api.post_json(&path, &requests::heartbeat(&ids)).await.unwrap();
    assert_eq!(answer, json!({ "reconcile": false, "rotate_keys": false }));
    let state: Value = api.get_json(&path.replace("heartbeat", "state")).await.unwrap();
    assert!(state["peers"].is_array());
    assert!(api.get_json::<Value>("/v1/nothing").await.unwrap_err().is_not_found());
}
