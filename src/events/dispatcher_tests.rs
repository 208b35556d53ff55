use std::sync::Mutex;

use super::*;
use crate::events::{NoOpVerifier, kind};
use crate::values::RawJson;

fn event(event_type: &str, payload: &str) -> Verified {
    let payload = RawJson::from_text(payload).unwrap();
    let envelope = SignedEnvelope::new(event_type, "e-1", payload);
    Verified::check(&NoOpVerifier, &Arc::new(envelope)).unwrap()
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn add(&self, text: impl Into<String>) {
        self.0.lock().unwrap().push(text.into());
    }

    fn taken(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }

    fn handler(&self, name: &'static str) -> impl Handler<Arc<SignedEnvelope>> {
        let log = self.clone();
        move |envelope: Arc<SignedEnvelope>| {
            log.add(format!("{name} {}", envelope.event_type));
            async { Ok(()) }
        }
    }
}

#[tokio::test]
async fn handlers_run_in_registration_order_whatever_they_were_registered_for() {
    let (dispatcher, log) = (EventDispatcher::new(), Log::default());
    dispatcher.register("peer_added", log.handler("1"));
    dispatcher.register_every(log.handler("2"));
    dispatcher.register(EventType::PeerAdded, log.handler("3"));
    dispatcher.register("peer_removed", log.handler("other"));
    assert_eq!(dispatcher.dispatch(&event("peer_added", "{}")).await.handlers, 3);
    assert_eq!(log.taken(), ["1 peer_added", "2 peer_added", "3 peer_added"]);
    assert_eq!(dispatcher.dispatch(&event("made_up_tomorrow", "{}")).await.handlers, 1);
    assert_eq!(log.taken(), ["2 made_up_tomorrow"]);
}

#[tokio::test]
async fn an_error_or_a_panic_does_not_stop_the_next_handler() {
    let (dispatcher, log) = (EventDispatcher::new(), Log::default());
    dispatcher.register("x", |_: Arc<SignedEnvelope>| async { Err("no".into()) });
    dispatcher.register("x", |_: Arc<SignedEnvelope>| async { panic!("in the future") });
    dispatcher
        .register("x", |_: Arc<SignedEnvelope>| -> std::future::Ready<_> { panic!("in the call") });
    dispatcher.register("x", log.handler("last"));
    let report = dispatcher.dispatch(&event("x", "{}")).await;
    assert_eq!((report.handlers, report.errors, report.panics, report.timeouts), (4, 1, 2, 0));
    assert_eq!(log.taken(), ["last x"]);
}

#[test]
fn what_did_not_end_well_is_counted_together() {
    let report = DispatchReport { handlers: 20, errors: 2, panics: 3, timeouts: 4 };
    assert_eq!(report.failures(), 9);
}

#[test]
fn debug_says_what_it_is_and_not_what_it_holds() {
    assert_eq!(format!("{:?}", EventDispatcher::new()), "EventDispatcher { .. }");
    let event = event("peer_removed", r#"{"peer_id":"p-1","canary":"canary"}"#);
    let event = Event::<kind::PeerRemoved>::decode(Arc::clone(event.envelope())).unwrap();
    let shown = format!("{event:?}");
    assert!(shown.contains(r#"event_id: "e-1""#) && !shown.contains("canary"), "{shown}");
}

#[tokio::test]
async fn an_event_without_a_handler_is_discarded() {
    let report = EventDispatcher::new().dispatch(&event("x", "{}")).await;
    assert_eq!(report, DispatchReport::default());
}

#[tokio::test(start_paused = true)]
async fn a_time_limit_drops_the_handler_and_counts_it() {
    let dispatcher = EventDispatcher::new();
    dispatcher.register("x", |_: Arc<SignedEnvelope>| std::future::pending());
    let event_x = event("x", "{}");
    let running = dispatcher.dispatch(&event_x);
    let an_hour = tokio::time::timeout(Duration::from_secs(3600), running);
    assert!(an_hour.await.is_err(), "there is no limit by default");
    dispatcher.set_handler_time_limit(Some(Duration::from_secs(2)));
    assert_eq!(dispatcher.dispatch(&event("x", "{}")).await.timeouts, 1);
}

#[tokio::test]
async fn a_typed_handler_gets_its_payload_and_a_misfit_is_its_error() {
    let (dispatcher, log) = (EventDispatcher::new(), Log::default());
    let seen = log.clone();
    dispatcher.on::<kind::PeerRemoved>(move |event| {
        seen.add(format!("{} {}", event.payload.peer_id, event.envelope.event_id));
        async { Ok(()) }
    });
    let good = event("peer_removed", r#"{"peer_id":"p-1","more":1}"#);
    assert_eq!(dispatcher.dispatch(&good).await.failures(), 0);
    assert_eq!(log.taken(), ["p-1 e-1"]);
    let bad = event("peer_removed", r#"{"peer_id":7}"#);
    assert_eq!(dispatcher.dispatch(&bad).await.errors, 1);
    assert!(log.taken().is_empty());
}

#[tokio::test]
async fn registering_and_dispatching_run_at_the_same_time() {
    let (dispatcher, log) = (Arc::new(EventDispatcher::new()), Log::default());
    let registering = {
        let (dispatcher, log) = (Arc::clone(&dispatcher), log.clone());
        std::thread::spawn(move || {
            (0..1000).for_each(|_| dispatcher.register("x", log.handler("h")));
        })
    };
    let mut most = 0;
    while !registering.is_finished() {
        let ran = dispatcher.dispatch(&event("x", "{}")).await.handlers;
        assert!(ran >= most);
        most = ran;
    }
    registering.join().unwrap();
    assert_eq!(dispatcher.dispatch(&event("x", "{}")).await.handlers, 1000);
}
