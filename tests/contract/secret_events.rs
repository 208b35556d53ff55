//! The canary on the event side: in tokens, payloads, nonces, signatures, states and in what
//! a user's own code panics with. It shows in no log line, no status, no report and no error.

use std::error::Error as StdError;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use plexsphere_client::events::{
    Checkpoint, CursorStore, Ed25519Verifier, EventVerifier, FileCursorStore, KeyError,
    NonceSnapshot, SignedEnvelope, Verdict, VerifyError, kind,
};
use plexsphere_client::types::{SigningKeys, StateResponse};
use plexsphere_client::values::Secret;
use plexsphere_client::{BoxError, ControlPlane, ErrorKind, Skipped, SseManager, Status};
use plexsphere_mock::{Answer, Event, MockControlPlane, Then};
use serde_json::{Value, json};

use crate::calls;
use crate::secrets::{CANARY, assert_error_is_silent, assert_silent};
use crate::support::{SOON, client, mock};
use crate::traces::Heard;

/// Every text of an error and of what lies under it.
fn assert_chain_is_silent(error: &(dyn StdError + 'static), what: &str) {
    let mut link = Some(error);
    while let Some(error) = link {
        assert_silent(&format!("{error} {error:#} {error:?} {error:#?}"), what);
        link = error.source();
    }
}

/// Data that is no envelope, with the canary in every place where it can stand.
fn malformed() -> Vec<String> {
    let mut all = vec![
        CANARY.to_owned(),
        format!("\"{CANARY}\""),
        format!("[\"{CANARY}\"]"),
        format!("{{\"{CANARY}\":\"{CANARY}\""),
        format!("{{\"{CANARY}\":\"{CANARY}\"}}"),
        format!("{{\"event_type\":\"a\",\"event_id\":\"b\",\"payload\":{CANARY}}}"),
        format!("{{\"event_type\":\"a\",\"event_id\":\"b\"}} {CANARY}"),
        format!("{{\"event_type\":\"a\",\"event_type\":\"{CANARY}\",\"event_id\":\"b\"}}"),
        format!("{{\"Event_Type\":\"{CANARY}\",\"event_id\":\"b\"}}"),
    ];
    for field in ["event_type", "event_id", "issued_at", "nonce", "signature"] {
        for wrong in [json!([CANARY]), json!({ CANARY: CANARY }), json!(1)] {
            let mut envelope = json!({ "event_type": "a", "event_id": "b", "payload": CANARY });
            envelope[field] = wrong;
            all.push(envelope.to_string());
        }
    }
    let late = json!({ "event_type": "a", "event_id": "b", "issued_at": CANARY });
    all.push(late.to_string());
    all
}

/// A payload that is a peer, and one that is none, both with secrets.
fn payloads() -> [Value; 2] {
    let mut peer = calls::peer();
    peer["psk"] = CANARY.into();
    [peer, json!({ "id": [CANARY], "psk": { CANARY: CANARY }, CANARY: CANARY })]
}

/// An event stream with the canary in what is good, forged, late, malformed and oversized.
fn bad_day(mock: &MockControlPlane) -> Answer {
    let node = mock.add_node("bad-day").node_id;
    let mut frames: Vec<_> =
        malformed().iter().map(|data| format!("data: {data}\n\n").into_bytes()).collect();
    let mut publish = |event| frames.push(mock.publish_event(&node, event).frame.to_vec());
    for payload in payloads() {
        let event = || Event::new("peer_added", &payload);
        publish(event().nonce(format!("{CANARY} {payload}")));
        publish(event().forged());
        publish(event().signature(CANARY));
        publish(event().signature(""));
        publish(event().nonce(""));
        publish(event().age(Duration::from_secs(600)));
        publish(Event::new("made_up", &payload));
    }
    publish(Event::new("peer_added", &json!({ CANARY: CANARY.repeat(1000) })));
    publish(Event::new("signing_key_rotated", &json!({ "current": CANARY })));
    publish(Event::new("signing_key_rotated", &json!({ "current": [CANARY] })));
    publish(Event::new("peer_removed", &json!({ "peer_id": "last" })));
    Answer::stream(frames, Then::Stall)
}

fn state() -> Value {
    let mut state = calls::state();
    state["peers"][0]["psk"] = CANARY.into();
    state["data"][0]["payload"] = json!({ CANARY: CANARY });
    state["ingress_config"]["rules"][0]["key_pem"] = CANARY.into();
    state["signing_keys"] = json!({ "current": CANARY });
    state
}

/// Runs a manager through it. The token of `api` is the canary, too.
pub async fn live_through_a_bad_day(mock: &MockControlPlane, api: &ControlPlane) {
    mock.script("fetch_state", Answer::ok_json(&state()));
    mock.script_always("fetch_state", Answer::ok_json(&json!([CANARY])));
    mock.script("connect_sse", Answer::problem(500, &format!("two {CANARY}"), CANARY));
    mock.script("connect_sse", Answer::status(401).text(CANARY));
    mock.script("connect_sse", bad_day(mock));
    let manager = manager(mock, api);
    manager.on_auth_failure(|| async { Some(Secret::from(format!("{CANARY}2"))) });
    let told = Arc::new(Mutex::new(Vec::new()));
    let tell = told.clone();
    manager.on_skipped(move |skipped: &Skipped| {
        let text = format!("{skipped:?} {skipped:#?} {} ", skipped.reason);
        tell.lock().unwrap().push(text);
    });
    manager.on::<kind::PeerAdded>(|event| async move {
        assert_silent(&format!("{:?} {:#?}", event.payload, event.payload), "the payload");
        Ok(())
    });
    manager.on_every(|envelope: Arc<SignedEnvelope>| async move {
        assert_silent(&format!("{:?}", envelope.payload), "the payload");
        Ok(())
    });
    let stopper = manager.clone();
    manager.on::<kind::PeerRemoved>(move |_| {
        stopper.shutdown();
        async { Ok(()) }
    });
    let ended = tokio::time::timeout(SOON, manager.start("node")).await;
    ended.expect("the last event comes").unwrap();
    let status = manager.status().borrow().clone();
    assert!(status.counters.handler_errors > 0 && status.counters.handler_panics == 0);
    assert!(status.counters.malformed > 20 && status.counters.oversized == 1, "{status:?}");
    assert!(status.counters.refused >= 10, "{status:?}");
    assert_silent(&format!("{status:?} {status:#?} {manager:?}"), "the status");
    let told = told.lock().unwrap().join("\n");
    assert_silent(&told, "what was skipped");
    mock.clear_script("*");
}

fn manager(mock: &MockControlPlane, api: &ControlPlane) -> SseManager {
    let verifier = Ed25519Verifier::new(&mock.signing_public_key()).unwrap();
    manager_with(api, verifier)
}

fn manager_with(api: &ControlPlane, verifier: impl EventVerifier + 'static) -> SseManager {
    let manager = SseManager::new(api.clone(), verifier);
    let shortest = Duration::from_millis(10);
    manager.set_reconnect_intervals(shortest, shortest).unwrap();
    manager.set_polling_fallback(Duration::from_secs(3600), shortest).unwrap();
    manager
}

/// A user's code, each part of which panics with the canary.
struct Panics;

impl EventVerifier for Panics {
    fn verify(&self, envelope: &SignedEnvelope) -> Result<Verdict, VerifyError> {
        if envelope.event_type.as_str() == "peer_removed" {
            return Ok(Verdict::New);
        }
        panic!("verify {CANARY}")
    }

    fn is_authentic(&self, _: &SignedEnvelope) -> bool {
        panic!("is_authentic {CANARY}")
    }

    fn update_keys(&self, _: &SigningKeys) -> Result<(), KeyError> {
        panic!("update_keys {CANARY}")
    }

    fn export_nonces(&self) -> NonceSnapshot {
        panic!("export_nonces {CANARY}")
    }

    fn import_nonces(&self, _: &NonceSnapshot) {
        panic!("import_nonces {CANARY}")
    }

    fn is_checking(&self) -> bool {
        panic!("is_checking {CANARY}")
    }
}

impl CursorStore for Panics {
    fn load(&self) -> Result<Option<Checkpoint>, BoxError> {
        panic!("load {CANARY}")
    }

    fn save(&self, _: &Checkpoint) -> Result<(), BoxError> {
        panic!("save {CANARY}")
    }
}

/// What a panic says is for the panic hook alone, which is the user's.
#[tokio::test]
async fn a_panic_of_the_user_s_code_is_not_repeated() {
    let (heard, _listening) = Heard::start();
    let mock = mock().await;
    let api = client(&mock);
    let manager = manager_with(&api, Panics);
    manager.set_cursor_store(Panics);
    manager.set_save_interval(Duration::from_millis(1)).unwrap();
    manager.on_skipped(|_| panic!("on_skipped {CANARY}"));
    manager.on_state(|_| async { panic!("on_state {CANARY}") });
    manager.on_every(|_| async { panic!("on_every {CANARY}") });
    manager.on::<kind::PeerRemoved>(|_| async { panic!("on {CANARY}") });
    manager.on_auth_failure(|| async { panic!("on_auth_failure {CANARY}") });
    mock.script("fetch_state", Answer::ok_json(&state()));
    mock.script_always("fetch_state", Answer::ok_json(&json!({})));
    let node = mock.add_node("node").node_id;
    let frames = ["policy_updated", "peer_removed"].map(|event_type| {
        mock.publish_event(&node, Event::new(event_type, &json!({ "peer_id": "p" }))).frame
    });
    // An open stream, one that does not exist, which is polled for, and a refusal.
    mock.script("connect_sse", Answer::stream(frames, Then::End));
    mock.script("connect_sse", Answer::status(401));
    let error = tokio::time::timeout(SOON, manager.start("node")).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    assert_error_is_silent(&error, "the refusal");
    let status = manager.status().borrow().clone();
    assert!(status.counters.handler_panics >= 3 && status.counters.refused == 1, "{status:?}");
    assert!(status.counters.save_failures > 0, "{status:?}");
    assert_silent(&format!("{status:?}"), "the status");
    let panicked = heard.lines().into_iter().filter(|line| line.text.contains("panicked"));
    let panicked: Vec<_> = panicked.map(|line| line.text).collect();
    for what in ["event handler", "state handler", "verifier", "skipped events", "refused token"] {
        assert!(panicked.iter().any(|text| text.contains(what)), "{what}: {panicked:#?}");
    }
    assert!(panicked.iter().any(|text| text.contains("cursor store")), "{panicked:#?}");
    assert!(heard.lines().iter().all(|line| !crate::secrets::shows(&line.text)));
}

/// A status whose last failure was the poll function's.
async fn after_polls(poll: fn() -> Result<StateResponse, BoxError>) -> (Status, Heard) {
    let (heard, _listening) = Heard::start();
    let mock = mock().await;
    let api = client(&mock);
    let manager = manager(&mock, &api);
    manager.set_poll_fn(move || async move { poll() });
    mock.script_always("connect_sse", Answer::status(501));
    let mut status = manager.status();
    // A copy, since nobody may hold on to a status while the manager ends.
    let failed = async {
        status.wait_for(|status| status.counters.state_failures > 0).await.unwrap().clone()
    };
    let failed = tokio::select! {
        ended = manager.start("node") => panic!("{ended:?}"),
        failed = tokio::time::timeout(SOON, failed) => failed.unwrap(),
    };
    (failed, heard)
}

#[tokio::test]
async fn a_panic_of_the_poll_function_is_not_repeated_and_its_error_is() {
    let (status, heard) = after_polls(|| panic!("{CANARY}")).await;
    assert!(status.last_error.as_deref().unwrap().contains("the poll function panicked"));
    assert_silent(&format!("{status:?}"), "the status");
    assert!(heard.lines().iter().all(|line| !crate::secrets::shows(&line.text)));
    // The text of an error is the user's own word, and is passed on.
    let (status, _) = after_polls(|| Err(CANARY.into())).await;
    assert!(status.last_error.unwrap().contains(CANARY));
}

#[test]
fn no_error_of_the_event_side_quotes_what_it_read() {
    let mut refused = 0;
    for data in malformed() {
        if let Err(error) = SignedEnvelope::parse(&data) {
            assert_chain_is_silent(&error, &data);
            refused += 1;
        }
        if let Err(error) = serde_json::from_str::<SignedEnvelope>(&data) {
            assert_chain_is_silent(&error, &data);
        }
    }
    assert!(refused >= 20, "{refused}");
    for payload in payloads() {
        let text = json!({ "event_type": "a", "event_id": "b", "payload": payload }).to_string();
        let envelope = SignedEnvelope::parse(text).unwrap();
        assert_chain_is_silent(&envelope.decode::<Vec<u8>>().unwrap_err(), "a payload");
    }
    for key in [CANARY, &format!("{CANARY}="), &CANARY.repeat(4)] {
        assert_chain_is_silent(&Ed25519Verifier::new(key).unwrap_err(), "a key");
        let verifier = Ed25519Verifier::new(&signing_key()).unwrap();
        let keys = serde_json::from_value(json!({ "current": key })).unwrap();
        assert_chain_is_silent(&verifier.update_keys(&keys).unwrap_err(), "new keys");
        assert_silent(&format!("{verifier:?} {verifier:#?}"), "the verifier");
    }
}

fn signing_key() -> String {
    plexsphere_mock::SigningKey::generate().public_key()
}

/// Whoever gives it the wrong file may have given it one with a token.
#[test]
fn a_file_that_is_no_checkpoint_is_not_quoted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wrong.json");
    for text in [
        CANARY.to_owned(),
        format!("\"{CANARY}\""),
        format!("[\"{CANARY}\"]"),
        format!("{{\"{CANARY}\":1}}"),
        format!("{{\"node_id\":[\"{CANARY}\"]}}"),
        format!("{{\"node_id\":\"n\",\"last_event_id\":{{\"{CANARY}\":1}}}}"),
        format!("{{\"node_id\":\"n\",\"handled\":\"{CANARY}\"}}"),
        format!("{{\"node_id\":\"n\",\"nonces\":\"{CANARY}\"}}"),
        format!("{{\"node_id\":\"n\",\"nonces\":{{\"{CANARY}\":\"{CANARY}\"}}}}"),
    ] {
        std::fs::write(&path, &text).unwrap();
        if let Err(error) = FileCursorStore::new(&path).load() {
            assert_chain_is_silent(&*error, &text);
        }
    }
}
