//! Events on their way to handlers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::StreamExt;
use futures::future::BoxFuture;
use plexsphere_client::events::{EventKind, EventType, SignedEnvelope, kind};
use plexsphere_client::{BoxError, Deliveries, Delivery, ErrorKind, SseManager};
use plexsphere_mock::{Answer, Close, EVENTS, Event, Kind};
use serde_json::{Value, json};

use crate::support::{LIMIT, Log, Rig, fine, ms, noting};

#[tokio::test]
async fn events_are_handled_in_order() {
    let rig = Rig::new().await;
    let mut agent = rig.streaming().await;
    let sent = rig.publish_some(300);
    assert_eq!(agent.events.has(300).await, sent);
    agent.stop().await;
    assert_eq!(agent.status().counters.events, 300);
}

#[tokio::test]
async fn handlers_run_in_the_order_of_their_registration() {
    let rig = Rig::new().await;
    let mut agent = rig.agent();
    let log = Log::default();
    agent.manager.register_handler("peer_removed", noting(&log, "raw", fine));
    let typed = log.clone();
    agent.manager.on::<kind::PeerRemoved>(move |event| {
        typed.add(format!("typed {}", event.envelope.event_id));
        fine()
    });
    agent.manager.on_every(noting(&log, "every", fine));
    agent.manager.register_handler(EventType::PeerRemoved, noting(&log, "last", fine));
    agent.manager.register_handler("peer_added", noting(&log, "other", fine));
    rig.run(&mut agent).await;
    let id = rig.publish();
    let names = ["raw", "typed", "every", "last"];
    assert_eq!(log.has(4).await, names.map(|name| format!("{name} {id}")));
    agent.stop().await;
}

/// A value of this kind as a server would send it.
fn sample(kind: &Kind, name: &str) -> Value {
    match kind {
        Kind::String => json!(format!("{name}-1")),
        Kind::Integer => json!(7),
        Kind::Boolean => json!(true),
        Kind::Time => json!("2026-03-01T12:00:00.123456789Z"),
        Kind::Any => json!({ "any": [1, null, "x"] }),
        Kind::Object(schema) => {
            schema.fields.iter().map(|f| (f.name.to_owned(), sample(&f.kind, f.name))).collect()
        }
        Kind::List(of) => json!([sample(of, name), sample(of, name)]),
        Kind::Map(of) => json!({ "key": sample(of, name) }),
    }
}

fn note<K: EventKind>(manager: &SseManager, log: &Log) {
    let log = log.clone();
    manager.on::<K>(move |event| {
        log.add(event.envelope.event_type.as_str());
        fine()
    });
}

#[tokio::test]
async fn all_24_typed_handlers_take_the_contract_s_payloads() {
    let rig = Rig::new().await;
    let mut agent = rig.agent();
    let log = Log::default();
    macro_rules! note_all {
        ($($kind:ident)+) => { $(note::<kind::$kind>(&agent.manager, &log);)+ };
    }
    note_all! {
        PeerAdded PeerRemoved PeerKeyRotated PeerEndpointChanged PolicyUpdated ActionRequest
        SessionRevoked SshSessionSetup RotateKeys SigningKeyRotated NodeStateUpdated
        NodeSecretsUpdated BridgeConfigUpdated RelaySessionAssigned RelaySessionRevoked
        UserAccessConfigUpdated UserAccessPeerAssigned UserAccessPeerRevoked
        IngressConfigUpdated IngressRuleAssigned IngressRuleRevoked SiteToSiteConfigUpdated
        SiteToSiteTunnelAssigned SiteToSiteTunnelRevoked
    }
    rig.run(&mut agent).await;
    assert_eq!(EVENTS.len(), 24);
    for event in EVENTS {
        // Its payload has to fit the handler, whatever the keys in it are worth.
        let payload = event.payload.as_ref().map_or(json!({}), |kind| sample(kind, event.name));
        rig.mock.publish(&rig.node_id, event.name, &payload);
    }
    let names: Vec<_> = EVENTS.iter().map(|event| event.name).collect();
    assert_eq!(log.has(24).await, names);
    agent.stop().await;
    assert_eq!(agent.status().counters.handler_errors, 0);
}

#[tokio::test]
async fn parity_2k_l10_errors_panics_and_timeouts_are_counted_and_made_good() {
    let rig = Rig::new().await;
    let mut agent = rig.agent();
    agent.manager.set_handler_time_limit(Some(ms(50))).unwrap();
    let log = Log::default();
    let register = |name, then: fn() -> BoxFuture<'static, Result<(), BoxError>>| {
        agent.manager.register_handler("peer_removed", noting(&log, name, then));
    };
    register("error", || Box::pin(async { Err("no".into()) }));
    register("panic", || Box::pin(async { panic!("a handler") }));
    register("hang", || Box::pin(std::future::pending()));
    register("fine", || Box::pin(fine()));
    rig.run(&mut agent).await;
    let first = rig.publish();
    let second = rig.publish();
    let lines = log.has(8).await;
    for (n, name) in ["error", "panic", "hang", "fine"].iter().enumerate() {
        assert_eq!(lines[n], format!("{name} {first}"));
        assert_eq!(lines[n + 4], format!("{name} {second}"));
    }
    agent.states.has(2).await;
    agent.stop().await;
    let status = agent.status();
    let c = status.counters;
    assert_eq!((c.handler_errors, c.handler_panics, c.handler_timeouts, c.events), (2, 2, 2, 2));
    assert_eq!(status.last_event_id.as_deref(), Some("2"), "their fate is settled all the same");
    assert_eq!(c.connections, 1);
}

#[tokio::test]
async fn also_found_1_a_slow_handler_is_not_an_idle_stream() {
    let rig =
        Rig::with(|mock| mock.keep_alive(ms(50)), |config| config.sse_idle_timeout(ms(300))).await;
    let mut agent = rig.agent();
    agent.manager.register_handler(
        "peer_removed",
        noting(&Log::default(), "", || async {
            // real time: a handler that outlasts the idle limit
            tokio::time::sleep(ms(600)).await;
            Ok(())
        }),
    );
    rig.run(&mut agent).await;
    let sent = rig.publish_some(4);
    agent.status_until(|s| s.counters.events == 4).await;
    assert_eq!(agent.events.all(), sent);
    assert_eq!(rig.mock.count("connect_sse"), 1, "no idle timeout");
    agent.stop().await;
    assert_eq!(agent.status().last_error, None);
}

#[tokio::test]
async fn a_payload_that_does_not_fit_is_a_handler_s_error_and_made_good() {
    let rig = Rig::new().await;
    let mut agent = rig.agent();
    let log = Log::default();
    note::<kind::PeerRemoved>(&agent.manager, &log);
    rig.run(&mut agent).await;
    rig.mock.publish(&rig.node_id, "peer_removed", &json!({ "peer_id": 7 }));
    let good = rig.publish();
    log.has(1).await;
    agent.states.has(2).await;
    agent.stop().await;
    let status = agent.status();
    assert_eq!((status.counters.handler_errors, status.counters.events), (1, 2));
    assert_eq!((agent.events.all().last(), log.len()), (Some(&good), 1));
}

#[tokio::test]
async fn unknown_types_are_carried_and_unhandled_ones_settled() {
    let rig = Rig::new().await;
    let mut agent = rig.agent();
    let log = Log::default();
    agent.manager.register_handler("peer_renamed", noting(&log, "named", fine));
    rig.run(&mut agent).await;
    let renamed = rig.mock.publish(&rig.node_id, "peer_renamed", &json!({})).event_id;
    let other = rig.mock.publish(&rig.node_id, "nobody_knows", &json!([1])).event_id;
    assert_eq!(agent.events.has(2).await, [renamed.clone(), other]);
    assert_eq!(log.all(), [format!("named {renamed}")]);
    agent.status_until(|s| s.last_event_id.as_deref() == Some("2")).await;
    agent.stop().await;
}

#[tokio::test]
async fn also_found_5_the_signed_type_counts_not_the_frame_s() {
    let rig = Rig::new().await;
    let mut agent = rig.agent();
    let log = Log::default();
    agent.manager.register_handler("peer_removed", noting(&log, "signed", fine));
    agent.manager.register_handler("action_request", noting(&log, "frame", fine));
    rig.run(&mut agent).await;
    let event = Event::new("peer_removed", &json!({ "peer_id": "p" })).frame_name("action_request");
    let id = rig.mock.publish_event(&rig.node_id, event).event_id;
    agent.status_until(|s| s.counters.events == 1).await;
    assert_eq!(log.all(), [format!("signed {id}")]);
    agent.stop().await;
}

async fn next_event(deliveries: &mut Deliveries) -> String {
    loop {
        let next = tokio::time::timeout(LIMIT, deliveries.next()).await.expect("no delivery");
        match next.expect("ended").unwrap() {
            Delivery::Event(event) => return event.event_id.clone(),
            Delivery::State(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn as_a_stream_an_item_is_settled_when_the_next_is_asked_for() {
    let rig = Rig::new().await;
    let agent = rig.agent();
    let mut deliveries = agent.manager.deliveries(&rig.node_id).unwrap();
    let first = tokio::time::timeout(LIMIT, deliveries.next()).await.unwrap();
    assert!(matches!(first, Some(Ok(Delivery::State(_)))), "the state comes first");
    let sent = rig.publish_some(4);
    assert_eq!(next_event(&mut deliveries).await, sent[0]);
    assert_eq!(agent.status().counters.events, 0, "handed out, not settled");
    assert_eq!(next_event(&mut deliveries).await, sent[1]);
    assert_eq!(agent.status().counters.events, 1);
    drop(deliveries);

    let mut deliveries = agent.manager.deliveries(&rig.node_id).unwrap();
    assert_eq!(next_event(&mut deliveries).await, sent[1], "dropped unsettled, it comes again");
    assert_eq!(next_event(&mut deliveries).await, sent[2]);
    deliveries.settle();
    deliveries.settle();
    assert_eq!(agent.status().counters.events, 3);
    drop(deliveries);

    let mut deliveries = agent.manager.deliveries(&rig.node_id).unwrap();
    assert_eq!(next_event(&mut deliveries).await, sent[3], "settled, it does not");
    agent.manager.shutdown();
    assert!(tokio::time::timeout(LIMIT, deliveries.next()).await.unwrap().is_none());
    assert!(deliveries.next().await.is_none(), "the end stays the end");
    assert_eq!(agent.status().counters.events, 4);
    assert_eq!(agent.events.len(), 0, "handlers do not run");
}

#[tokio::test]
async fn as_a_stream_a_refusal_is_the_last_item() {
    let rig = Rig::new().await;
    rig.mock.script("connect_sse", Answer::problem(403, "forbidden", "not you"));
    let agent = rig.agent();
    let mut deliveries = agent.manager.deliveries(&rig.node_id).unwrap();
    let error = tokio::time::timeout(LIMIT, deliveries.next()).await.unwrap().unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Forbidden);
    assert!(deliveries.next().await.is_none());
    agent.manager.deliveries(&rig.node_id).unwrap();
}

#[tokio::test]
async fn l10_what_is_not_handled_yet_is_not_read_either() {
    let rig = Rig::new().await;
    let mut agent = rig.agent();
    let started = Arc::new(AtomicUsize::new(0));
    let running = Arc::clone(&started);
    agent.manager.register_handler("node_state_updated", move |_: Arc<SignedEnvelope>| {
        running.fetch_add(1, Ordering::SeqCst);
        std::future::pending()
    });
    rig.run(&mut agent).await;
    let big = json!({ "filler": "x".repeat(100_000) });
    for _ in 0..200 {
        rig.mock.publish(&rig.node_id, "node_state_updated", &big);
    }
    rig.until(|_| started.load(Ordering::SeqCst) == 1).await;
    let before = agent.status().counters.bytes;
    assert!(before < 5_000_000, "{before} of 20 MB read while one handler runs");
    rig.mock.cut_streams(&rig.node_id, Close::Cut);
    agent.kill().await;
}
