//! Signing keys that change.

use std::sync::Arc;
use std::time::Duration;

use plexsphere_client::events::{
    Ed25519Verifier, EventVerifier, KeyError, NonceSnapshot, SignedEnvelope, Verdict, VerifyError,
};
use plexsphere_client::types::SigningKeys;
use plexsphere_mock::{Answer, Event, SigningKey};
use serde_json::json;

use crate::support::{LIMIT, Log, Rig, ms};

#[tokio::test]
async fn a_rotation_is_in_force_before_the_next_event() {
    let rig = Rig::new().await;
    let mut agent = rig.streaming().await;
    // No transition: the old key is worth nothing from the rotation on.
    for _ in 0..5 {
        rig.mock.rotate_signing_key_to(SigningKey::generate(), Duration::ZERO);
        rig.publish();
    }
    agent.events.has(10).await;
    agent.stop().await;
    let counters = agent.status().counters;
    assert_eq!((counters.refused, counters.states), (0, 1));
}

#[tokio::test]
async fn a_missed_rotation_costs_one_fetch_and_no_event() {
    let rig = Rig::new().await;
    // The keys of the first fetch are missed, too.
    rig.mock.script("fetch_state", Answer::status(500));
    let stranger = SigningKey::generate().public_key();
    let mut agent = rig.agent_with(Ed25519Verifier::new(&stranger).unwrap());
    agent.start();
    rig.mock.wait_for_streams(&rig.node_id, 1, LIMIT).await;
    rig.mock.wait_for_requests("fetch_state", 1, LIMIT).await;
    let sent = rig.publish_some(20);
    assert_eq!(agent.events.has(20).await, sent, "held until the keys are there");
    agent.stop().await;
    let counters = agent.status().counters;
    assert_eq!((counters.refused, counters.skipped, counters.connections), (0, 0, 1));
    assert_eq!(rig.mock.count("fetch_state"), 2, "one fetch for all of them");
}

#[tokio::test]
async fn a_bad_signature_gets_one_fetch_and_one_second_look() {
    let rig = Rig::new().await;
    let mut agent = rig.streaming().await;
    let forged = Event::new("policy_updated", &json!({})).forged();
    rig.mock.publish_event(&rig.node_id, forged);
    let good = rig.publish();
    assert_eq!(agent.events.has(1).await, [good]);
    assert_eq!(agent.skipped.len(), 1);
    assert_eq!(agent.all.all().len(), 3, "state, state for the second look, event");
    assert_eq!(rig.mock.count("fetch_state"), 2);
    agent.stop().await;
}

/// The bytes of a forged event that no server will send again.
fn forged_block(rig: &Rig) -> bytes::Bytes {
    let other = rig.mock.add_node("another").node_id;
    rig.mock.publish_event(&other, Event::new("policy_updated", &json!({})).forged()).frame
}

#[tokio::test]
async fn a_second_look_outlives_its_stream() {
    let rig = Rig::new().await;
    let mut agent = rig.streaming().await;
    let block = forged_block(&rig);
    agent.events.has(1).await; // the other node joined
    // The fetch for the second look is under way when the network changes.
    rig.mock.script("fetch_state", Answer::real().silence());
    rig.mock.inject(&rig.node_id, block);
    rig.mock.wait_for_requests("fetch_state", 2, LIMIT).await;
    agent.manager.network_changed();
    agent.skipped.has(1).await;
    let good = rig.publish();
    assert_eq!(agent.events.has(2).await[1], good);
    agent.stop().await;
    let counters = agent.status().counters;
    assert_eq!((counters.refused, counters.skipped, counters.connections), (1, 1, 2));
}

#[tokio::test]
async fn a_second_look_does_not_wait_for_a_fetch_that_the_server_wants_late() {
    let rig = Rig::new().await;
    let mut agent = rig.agent();
    agent.manager.set_polling_fallback(ms(30), ms(30)).unwrap();
    rig.run(&mut agent).await;
    let block = forged_block(&rig);
    agent.events.has(1).await; // the other node joined
    rig.mock.script("fetch_state", Answer::real().silence());
    rig.mock.inject(&rig.node_id, block);
    rig.mock.wait_for_requests("fetch_state", 2, LIMIT).await;
    // The fetch is dropped with the stream, and a poll hears that there is none for an hour.
    rig.mock.script("fetch_state", Answer::status(429).retry_after_secs(3600));
    rig.mock.set_bus_down(true);
    agent.manager.network_changed();
    agent.status_until(|s| s.counters.state_failures == 1).await;
    rig.mock.set_bus_down(false);
    let good = rig.publish();
    assert_eq!(agent.events.has(2).await[1], good);
    assert_eq!(agent.skipped.len(), 1);
    agent.stop().await;
}

#[tokio::test]
async fn a_flood_of_forged_events_is_no_flood_of_fetches_and_holds_little_up() {
    let rig = Rig::new().await;
    let mut agent = rig.streaming().await;
    for _ in 0..200 {
        let forged = Event::new("policy_updated", &json!({})).forged();
        rig.mock.publish_event(&rig.node_id, forged);
    }
    let good = rig.publish();
    assert_eq!(agent.events.has(1).await, [good]);
    assert_eq!(agent.skipped.len(), 200);
    let fetches = rig.mock.count("fetch_state");
    assert!(fetches <= 4, "{fetches} fetches");
    agent.stop().await;
}

#[tokio::test]
async fn a_forged_rotation_has_no_effect() {
    let rig = Rig::new().await;
    let mut agent = rig.streaming().await;
    let stranger = SigningKey::generate();
    let payload = json!({ "current": stranger.public_key() });
    rig.mock.publish_event(&rig.node_id, Event::new("signing_key_rotated", &payload).forged());
    let good = rig.publish();
    assert_eq!(agent.events.has(1).await, [good]);
    agent.stop().await;
    assert_eq!(agent.status().counters.refused, 1);
}

#[tokio::test]
async fn a_rotation_to_an_unusable_key_changes_nothing() {
    let rig = Rig::new().await;
    let mut agent = rig.streaming().await;
    for current in ["", "AAAA", "not base64", "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="] {
        let payload = json!({ "current": current });
        rig.mock.publish(&rig.node_id, "signing_key_rotated", &payload);
    }
    rig.mock.publish(&rig.node_id, "signing_key_rotated", &json!([1]));
    rig.publish();
    agent.events.has(6).await;
    agent.stop().await;
    assert_eq!(agent.status().counters.refused, 0);
}

/// Notes the keys that it is given.
struct Noting(Ed25519Verifier, Log);

impl EventVerifier for Noting {
    fn verify(&self, envelope: &SignedEnvelope) -> Result<Verdict, VerifyError> {
        self.0.verify(envelope)
    }

    fn update_keys(&self, keys: &SigningKeys) -> Result<(), KeyError> {
        self.1.add(keys.current.clone());
        self.0.update_keys(keys)
    }
}

#[tokio::test]
async fn a_rotation_that_is_sent_again_does_not_bring_old_keys_back() {
    let rig = Rig::new().await;
    let (old, keys) = (rig.mock.signing_public_key(), Log::default());
    let mut agent = rig.agent_with(Noting(Ed25519Verifier::new(&old).unwrap(), keys.clone()));
    let hanging = Log::default();
    let log = hanging.clone();
    agent.manager.register_handler("signing_key_rotated", move |event: Arc<SignedEnvelope>| {
        log.add(event.event_id.clone());
        let hang = log.len() == 1;
        async move {
            if hang {
                std::future::pending::<()>().await;
            }
            Ok(())
        }
    });
    rig.run(&mut agent).await;
    rig.publish();
    agent.status_until(|s| s.counters.events == 1).await;
    // A rotation that names the old key, taken up but not handled.
    rig.mock.publish(&rig.node_id, "signing_key_rotated", &json!({ "current": old }));
    hanging.has(1).await;
    agent.kill().await;
    let seen = keys.len();
    let new = rig.mock.rotate_signing_key();
    agent.start();
    hanging.has(3).await;
    assert_eq!(keys.all()[seen..], [new.clone(), new], "of the state, and of its own event");
    agent.stop().await;
}

/// Panics wherever it can.
struct Panics;

impl EventVerifier for Panics {
    fn verify(&self, envelope: &SignedEnvelope) -> Result<Verdict, VerifyError> {
        match envelope.event_type.as_str() {
            "policy_updated" => panic!("verify"),
            "rotate_keys" => Err(VerifyError::Stale { age: LIMIT }),
            _ => Ok(Verdict::New),
        }
    }

    fn is_authentic(&self, _: &SignedEnvelope) -> bool {
        panic!("is_authentic")
    }

    fn update_keys(&self, _: &SigningKeys) -> Result<(), KeyError> {
        panic!("update_keys")
    }

    fn export_nonces(&self) -> NonceSnapshot {
        panic!("export_nonces")
    }

    fn import_nonces(&self, _: &NonceSnapshot) {
        panic!("import_nonces")
    }

    fn is_checking(&self) -> bool {
        panic!("is_checking")
    }
}

#[tokio::test]
async fn l1_a_verifier_that_panics_refuses_and_ends_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::new().await;
    for round in 1..=2 {
        let mut agent = rig.agent_with(Panics);
        let path = folder.path().join("cursor.json");
        agent.manager.set_cursor_store(plexsphere_client::events::FileCursorStore::new(path));
        rig.run(&mut agent).await;
        rig.mock.publish(&rig.node_id, "policy_updated", &json!({}));
        rig.mock.publish(&rig.node_id, "rotate_keys", &json!({}));
        rig.mock.publish(&rig.node_id, "signing_key_rotated", &json!({ "current": "x" }));
        let last = rig.publish();
        assert_eq!(agent.events.has(2).await.last(), Some(&last), "round {round}");
        agent.skipped.has(2).await;
        agent.stop().await;
        assert_eq!(agent.status().counters.refused, 2);
    }
}
