//! `Debug` of every public type, with the canary in each place where a secret may stand.
//!
//! The deliberate exceptions are words of the server that are not part of a message: those
//! of a `Problem` and of a comment in the event stream.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, stream};
use plexsphere_client::events::*;
use plexsphere_client::reconnect::*;
use plexsphere_client::values::{RawJson, Secret, Timestamp, Trigger};
use plexsphere_client::*;
use plexsphere_mock::{Answer, Event as Published, MockControlPlane, Then};
use serde_json::{Map, Value, json};

use crate::calls::EVENT_BYTES;
use crate::secrets::{CANARY, assert_silent, shows};
use crate::support::{client_with, mock};
use crate::types::{MESSAGES, schemas};

/// What each public type shows of itself.
#[derive(Default)]
struct Shown(Vec<(&'static str, String)>);

impl Shown {
    fn add(&mut self, name: &'static str, value: &dyn Debug) {
        self.0.push((name, format!("{value:?} {value:#?}")));
    }
}

fn secret_json() -> Value {
    json!({ "id": "p", "psk": CANARY, CANARY: CANARY })
}

fn envelope() -> SignedEnvelope {
    let data = json!({ "event_type": "peer_added", "event_id": "e", "payload": secret_json() });
    SignedEnvelope::parse(data.to_string()).unwrap()
}

fn event_bytes() -> String {
    let data = json!({ "event_type": "a", "event_id": "e", "payload": secret_json() });
    format!("retry: 5\nid: 1\ndata: {data}\n\ndata: {CANARY}\n\n")
}

fn plain_values(shown: &mut Shown) {
    shown.add("Secret", &[Secret::from(CANARY), Secret::default()]);
    shown.add("RawJson", &RawJson::new(&secret_json()).unwrap());
    shown.add("DecodeError", &envelope().decode::<Vec<u8>>().unwrap_err());
    shown.add("Timestamp", &"2025-01-15T10:30:00Z".parse::<Timestamp>().unwrap());
    shown.add("TimestampError", &CANARY.parse::<Timestamp>().unwrap_err());
    shown.add("Trigger", &serde_json::from_value::<Trigger>(secret_json()).unwrap());
    shown.add("Mode", &Mode::default());
    shown.add("ClockSkew", &ClockSkew::Ahead(Duration::ZERO));
    shown.add("Counters", &Counters::default());
    shown.add("Status", &Status::default());
    shown.add("Input", &Input::Failed(FailureAction::RetryAuth));
    shown.add("Command", &Command::Stop(StopReason::Shutdown));
    shown.add("StopReason", &StopReason::Refused);
    shown.add("State", &State::Idle);
    shown.add("Failure", &Failure::default());
    shown.add("FailureAction", &classify(&Failure::default()));
    shown.add("FailurePolicy", &FailurePolicy::Persistent);
    shown.add("ReconnectSettings", &ReconnectSettings::default());
    shown.add("ReconnectEngine", &ReconnectEngine::new(ReconnectSettings::default()));
}

async fn event_values(shown: &mut Shown) {
    let (envelope, verifier) = (Arc::new(envelope()), Arc::new(NoOpVerifier));
    let verified = Verified::check(&NoOpVerifier, &envelope).unwrap();
    shown.add("SignedEnvelope", &envelope);
    shown.add("EnvelopeError", &SignedEnvelope::parse(CANARY).unwrap_err());
    shown.add("NoOpVerifier", &verifier);
    shown.add("Verdict", &verified.verdict());
    let dispatcher = EventDispatcher::new();
    dispatcher.register_every(|_| async { Err(CANARY.into()) });
    shown.add("DispatchReport", &dispatcher.dispatch(&verified).await);
    shown.add("EventDispatcher", &dispatcher);
    shown.add("Verified", &verified);
    shown.add("Delivery", &Delivery::Event(envelope.clone()));
    shown.add("FileCursorStore", &FileCursorStore::new("cursor.json"));
    shown.add("Checkpoint", &Checkpoint::default());
    shown.add("NonceSnapshot", &NonceSnapshot::default());
    let ed25519 = Ed25519Verifier::new(&plexsphere_mock::SigningKey::generate().public_key());
    let ed25519 = ed25519.unwrap();
    shown.add("VerifyError", &ed25519.verify(&envelope).unwrap_err());
    shown.add("KeyError", &Ed25519Verifier::new(CANARY).unwrap_err());
    shown.add("Ed25519Verifier", &ed25519);

    let bytes = || stream::iter([Ok::<_, std::io::Error>(Bytes::from(event_bytes()))]);
    let mut parser = SseParser::new();
    let mut half = &event_bytes().into_bytes()[..60];
    let _ = parser.next_item(&mut half);
    shown.add("SseParser", &parser);
    let mut items = SseParser::new().stream(bytes());
    let _ = items.next().await;
    let item = items.next().await.unwrap().unwrap();
    shown.add("SseItems", &items);
    shown.add("SseItem", &item);
    shown.add("SseEvent", &item.into_event().unwrap());
    let mut events = SseStream::new(bytes(), SseParser::new(), verifier);
    let _ = events.next().await;
    shown.add("SseStream", &events);
    shown.add("StreamItem", &events.collect::<Vec<_>>().await);
}

/// What only a control plane can make.
async fn live_values(shown: &mut Shown) {
    let mock = mock().await;
    let proxy = Proxy::Url(format!("http://{CANARY}:{CANARY}@{}", mock.address()).parse().unwrap());
    shown.add("Proxy", &proxy);
    let api = client_with(&mock, |config| config.proxy(proxy));
    api.set_auth_token(CANARY).unwrap();
    shown.add("ControlPlane", &api);
    shown.add("Config", api.config());
    mock.script("connect_sse", Answer::stream([EVENT_BYTES], Then::End));
    shown.add("SseResponse", &api.connect_sse("n", None).await.unwrap());
    mock.script("fetch_artifact", Answer::status(200).body(CANARY));
    shown.add("Artifact", &api.fetch_artifact("v", "o", "a").await.unwrap());
    downloads(shown, &mock, &api).await;
    mock.script("ping", Answer::problem(409, "two words", CANARY));
    let error = api.ping().await.unwrap_err();
    shown.add("Error", &error);
    shown.add("ErrorKind", &error.kind());

    let key = mock.signing_public_key();
    let node = mock.add_node("n").node_id;
    let peer = Published::new("peer_added", &crate::calls::peer());
    let frame = mock.publish_event(&node, peer).frame;
    mock.script("connect_sse", Answer::stream([Bytes::from(event_bytes()), frame], Then::Stall));
    mock.script("fetch_state", Answer::ok_json(&json!({ "metadata": { "a": "b" } })));
    let manager = SseManager::new(api, Ed25519Verifier::new(&key).unwrap());
    let (sender, receiver) = std::sync::mpsc::channel();
    manager.on_skipped(move |skipped| sender.send(skipped.clone()).unwrap());
    let mut deliveries = manager.deliveries("n").unwrap();
    let first = deliveries.next().await.unwrap().unwrap();
    assert!(matches!(first, Delivery::State(_)), "{first:?}");
    let second = deliveries.next().await.unwrap().unwrap();
    shown.add("Delivery", &[first, second]);
    shown.add("Deliveries", &deliveries);
    shown.add("SseManager", &manager);
    let skipped: Vec<_> = receiver.try_iter().collect();
    assert_eq!(skipped.len(), 2);
    shown.add("SkipReason", &skipped[0].reason);
    shown.add("Skipped", &skipped);
}

async fn downloads(shown: &mut Shown, mock: &MockControlPlane, api: &ControlPlane) {
    mock.script("fetch_artifact", Answer::status(200).body(CANARY));
    let (sender, receiver) = std::sync::mpsc::channel();
    let download = api
        .download_artifact("v", "o", "a", &"0".repeat(64))
        .on_progress(move |progress| sender.send(progress).unwrap());
    shown.add("ArtifactDownload", &download);
    let folder = tempfile::tempdir().unwrap();
    shown.add("Error", &download.save_to(folder.path().join("plexd")).await.unwrap_err());
    shown.add("Progress", &receiver.try_iter().collect::<Vec<_>>());
}

async fn typed_events(shown: &mut Shown) {
    let dispatcher = EventDispatcher::new();
    let (sender, receiver) = std::sync::mpsc::channel();
    dispatcher.on::<kind::PeerAdded>(move |event| {
        sender.send(format!("{event:?} {event:#?}")).unwrap();
        async { Ok(()) }
    });
    let mut payload = crate::calls::peer();
    payload["psk"] = CANARY.into();
    let payload = RawJson::new(&payload).unwrap();
    let envelope = Arc::new(SignedEnvelope::new("peer_added", "e", payload));
    dispatcher.dispatch(&Verified::check(&NoOpVerifier, &envelope).unwrap()).await;
    shown.0.push(("Event", receiver.recv().unwrap()));
}

#[tokio::test]
async fn debug_of_every_handwritten_type_is_silent() {
    let mut shown = Shown::default();
    plain_values(&mut shown);
    event_values(&mut shown).await;
    live_values(&mut shown).await;
    typed_events(&mut shown).await;
    for (name, text) in &shown.0 {
        assert_silent(text, name);
    }
    let tried: BTreeSet<String> = shown.0.iter().map(|(name, _)| (*name).to_owned()).collect();
    // `BodyStream` is inside two of the above, and can be had from neither.
    let exceptions = ["BodyStream", "Problem"].map(str::to_owned);
    let tried: BTreeSet<_> = tried.into_iter().chain(exceptions).collect();
    let written = public_types(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")));
    assert_eq!(tried, written, "each public type has its sample here");
}

/// The names after `pub struct` and `pub enum` in all files below the folder.
fn public_types(folder: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(public_types(&path));
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        for line in text.lines().map(str::trim_start) {
            let rest = line.strip_prefix("pub struct ").or(line.strip_prefix("pub enum "));
            let end = |c: char| !c.is_alphanumeric() && c != '_';
            // A macro's `$name` begins with what ends a name.
            found.extend(rest.and_then(|rest| rest.split(end).next()).map(str::to_owned));
        }
    }
    found.remove("");
    found
}

/// A value with every field, the canary where the contract says `format: password` or
/// leaves the value free.
fn filled(schemas: &Map<String, Value>, schema: &Value) -> Value {
    if let Some(name) = schema["$ref"].as_str().and_then(|path| path.rsplit('/').next()) {
        return filled(schemas, &schemas[name]);
    }
    if let Some(all) = schema["allOf"].as_array() {
        return filled(schemas, &all[0]);
    }
    match schema["type"].as_str() {
        Some("string") => match schema["format"].as_str() {
            Some("password") => CANARY.into(),
            Some("date-time") => "2025-01-15T10:30:00Z".into(),
            _ => schema["enum"].get(0).cloned().unwrap_or_else(|| "text".into()),
        },
        Some("integer" | "number") => 1.into(),
        Some("boolean") => true.into(),
        Some("array") => json!([filled(schemas, &schema["items"])]),
        Some("object") if schema.get("properties").is_some() => {
            let fields = schema["properties"].as_object().unwrap();
            fields.iter().map(|(name, field)| (name.clone(), filled(schemas, field))).collect()
        }
        Some("object") if schema["additionalProperties"].is_object() => {
            json!({ "key": filled(schemas, &schema["additionalProperties"]) })
        }
        _ => json!({ CANARY: [CANARY] }),
    }
}

#[test]
fn debug_of_every_message_is_silent() {
    let schemas = schemas();
    let mut planted = 0;
    for message in MESSAGES.iter().filter(|message| message.schema != "Problem") {
        let value = filled(&schemas, &schemas[message.schema]).to_string();
        planted += usize::from(shows(&value));
        let text = (message.shown)(&value).unwrap_or_else(|e| panic!("{e}: {value}"));
        assert!(text.len() > 10, "{}: {text}", message.schema);
        assert_silent(&text, message.schema);
    }
    assert!(planted >= 15, "{planted} messages hold secrets");
}
