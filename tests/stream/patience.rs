//! What handlers, callbacks and stores of a user's may do without hurting the rest.

use std::fmt;
use std::io::{self, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::StreamExt;
use plexsphere_client::events::{Checkpoint, CursorStore, SignedEnvelope};
use plexsphere_client::reconnect::{FailurePolicy, ReconnectSettings};
use plexsphere_client::values::Secret;
use plexsphere_client::{BoxError, Delivery, ErrorKind};
use plexsphere_mock::{Answer, Then};

use crate::support::{LIMIT, Log, Rig, ms};

/// A future that never ends, and panics when it is given up.
struct SoreLoser;

impl Future for SoreLoser {
    type Output = Result<(), BoxError>;

    fn poll(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Self::Output> {
        std::task::Poll::Pending
    }
}

impl Drop for SoreLoser {
    fn drop(&mut self) {
        panic!("a future that is dropped");
    }
}

#[derive(Debug)]
struct Unspeakable;

impl fmt::Display for Unspeakable {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic!("the text of an error")
    }
}

impl std::error::Error for Unspeakable {}

#[tokio::test]
async fn l10_a_handler_that_panics_in_its_drop_or_in_its_error_s_text_stops_nothing() {
    let rig = Rig::new().await;
    let mut agent = rig.agent();
    agent.manager.set_handler_time_limit(Some(ms(50))).unwrap();
    agent.manager.register_handler("peer_removed", |_: Arc<SignedEnvelope>| SoreLoser);
    agent.manager.register_handler("peer_removed", |_: Arc<SignedEnvelope>| async {
        Err(Unspeakable.into())
    });
    let last = Log::default();
    let log = last.clone();
    agent.manager.register_handler("peer_removed", move |event: Arc<SignedEnvelope>| {
        log.add(event.event_id.clone());
        async { Ok(()) }
    });
    rig.run(&mut agent).await;
    let sent = rig.publish_some(2);
    assert_eq!(last.has(2).await, sent);
    let counters = agent.status_until(|s| s.counters.events == 2).await.counters;
    assert_eq!((counters.handler_panics, counters.connections), (4, 1));
    agent.stop().await;
}

#[tokio::test]
async fn l1_a_callback_that_hangs_does_not_keep_a_new_token_out() {
    let rig = Rig::new().await;
    let token = rig.mock.node(&rig.node_id).unwrap().secret_key;
    rig.plane.set_auth_token("an-old-one").unwrap();
    let mut agent = rig.agent();
    agent.manager.set_failure_policy(FailurePolicy::Persistent);
    let asked = Log::default();
    let log = asked.clone();
    agent.manager.on_auth_failure(move || {
        log.add("asked");
        std::future::pending::<Option<Secret>>()
    });
    agent.start();
    asked.has(1).await;
    rig.plane.set_auth_token(token).unwrap();
    rig.mock.wait_for_streams(&rig.node_id, 1, LIMIT).await;
    agent.stop().await;
}

#[tokio::test]
async fn the_first_event_of_all_comes_again_when_its_handler_is_cut_short() {
    let rig = Rig::new().await;
    let mut agent = rig.agent();
    let (begun, tries) = (Log::default(), Arc::new(AtomicUsize::new(0)));
    let log = begun.clone();
    agent.manager.register_handler("peer_removed", move |event: Arc<SignedEnvelope>| {
        log.add(event.event_id.clone());
        let first = tries.fetch_add(1, Ordering::SeqCst) == 0;
        async move {
            if first {
                std::future::pending::<()>().await;
            }
            Ok(())
        }
    });
    rig.run(&mut agent).await;
    let id = rig.publish();
    begun.has(1).await;
    agent.kill().await;
    assert_eq!(agent.status().last_event_id, None, "there is nothing to resume from");
    agent.start();
    assert_eq!(begun.has(2).await, [id.clone(), id]);
    agent.status_until(|s| s.counters.events == 1).await;
    agent.stop().await;
}

/// Fails each time, and counts.
struct Full(Arc<AtomicUsize>);

impl CursorStore for Full {
    fn load(&self) -> Result<Option<Checkpoint>, BoxError> {
        Ok(None)
    }

    fn save(&self, _: &Checkpoint) -> Result<(), BoxError> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Err("no space left on device".into())
    }
}

#[tokio::test]
async fn a_store_that_fails_is_tried_again_at_growing_intervals() {
    let rig = Rig::new().await;
    let tries = Arc::new(AtomicUsize::new(0));
    let mut agent = rig.agent();
    agent.manager.set_save_interval(ms(1)).unwrap();
    agent.manager.set_cursor_store(Full(Arc::clone(&tries)));
    rig.run(&mut agent).await;
    rig.publish();
    agent.status_until(|s| s.counters.save_failures >= 2).await;
    assert!(tries.load(Ordering::SeqCst) <= 3, "{tries:?}");
    agent.stop().await;
}

#[tokio::test]
async fn durations_that_cannot_work_are_refused() {
    let agent = Rig::new().await.agent();
    for bad in [Duration::ZERO, Duration::MAX] {
        for result in [
            agent.manager.set_save_interval(bad),
            agent.manager.set_shutdown_grace(bad),
            agent.manager.set_handler_time_limit(Some(bad)),
            agent.manager.set_reconnect_intervals(bad, bad),
            agent.manager.set_polling_fallback(bad, bad),
        ] {
            assert_eq!(result.unwrap_err().kind(), ErrorKind::Config);
        }
    }
    agent.manager.set_handler_time_limit(None).unwrap();
}

/// What is logged.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_flood_leaves_other_tasks_of_the_same_thread_their_turn() {
    const BLOCKS: usize = 100_000;
    let lines = Lines::default();
    let written = lines.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || written.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let began = Instant::now();
    let rig = Rig::new().await;
    rig.mock.script("connect_sse", Answer::stream(["data: x\n\n".repeat(BLOCKS)], Then::Stall));
    let mut agent = rig.agent();
    let turns = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&turns);
    let other = tokio::spawn(async move {
        loop {
            counted.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
        }
    });
    agent.start();
    agent.status_until(|s| s.counters.malformed == BLOCKS as u64).await;
    other.abort();
    assert!(turns.load(Ordering::Relaxed) > 500, "{turns:?}");
    let said = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    let said = said.matches("event skipped").count() as u64;
    assert!((1..=began.elapsed().as_secs() + 1).contains(&said), "{said} lines of a flood");
    agent.stop().await;
}

#[tokio::test]
async fn a_delivery_that_failed_is_followed_by_a_fetch() {
    let rig = Rig::new().await;
    let agent = rig.agent();
    let mut deliveries = agent.manager.deliveries(&rig.node_id).unwrap();
    assert!(matches!(deliveries.next().await, Some(Ok(Delivery::State(_)))));
    rig.mock.wait_for_streams(&rig.node_id, 1, LIMIT).await;
    rig.publish();
    assert!(matches!(deliveries.next().await, Some(Ok(Delivery::Event(_)))));
    deliveries.settle_failed();
    assert!(matches!(deliveries.next().await, Some(Ok(Delivery::State(_)))));
    let counters = agent.status().counters;
    assert_eq!((counters.events, counters.handler_errors, counters.states), (1, 1, 2));
}

#[tokio::test]
async fn every_number_of_the_engine_is_a_setting() {
    let rig = Rig::new().await;
    rig.mock.script_always("connect_sse", Answer::status(418));
    let mut agent = rig.agent();
    let mut settings = ReconnectSettings::default();
    (settings.base_interval, settings.slow_interval) = (ms(10), ms(30));
    settings.slow_max_interval = ms(60);
    agent.manager.set_reconnect_settings(settings);
    agent.start();
    rig.mock.wait_for_requests("connect_sse", 5, LIMIT).await;
    agent.stop().await;
}
