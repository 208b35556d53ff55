//! Where to resume, and what was handled already.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use plexsphere_client::events::{Checkpoint, CursorStore, FileCursorStore, SignedEnvelope};
use plexsphere_client::{BoxError, Mode};
use plexsphere_mock::{Answer, Close, Event};
use serde_json::json;

use crate::support::{Agent, LIMIT, Log, Rig, ms};

#[tokio::test]
async fn sse_parity_last_event_id_is_absent_at_first_and_sent_on_a_reconnect() {
    let rig = Rig::new().await;
    let mut agent = rig.streaming().await;
    rig.publish_some(3);
    agent.status_until(|s| s.counters.events == 3).await;
    rig.mock.cut_streams(&rig.node_id, Close::End);
    rig.mock.wait_for_requests("connect_sse", 2, LIMIT).await;
    assert_eq!(rig.cursors(), [None, Some("3".to_owned())]);
    agent.stop().await;
}

#[tokio::test]
async fn parity_2h_l8_the_cursor_moves_after_the_handlers() {
    let rig = Rig::new().await;
    let mut agent = rig.agent();
    let (log, go_on) = (Log::default(), Arc::new(AtomicBool::new(false)));
    let (began, waits) = (log.clone(), Arc::clone(&go_on));
    agent.manager.register_handler("peer_removed", move |event: Arc<SignedEnvelope>| {
        began.add(event.event_id.clone());
        let waits = Arc::clone(&waits);
        async move {
            while !waits.load(Ordering::SeqCst) {
                // real time: looks again until it is let go
                tokio::time::sleep(ms(5)).await;
            }
            Ok(())
        }
    });
    rig.run(&mut agent).await;
    rig.publish();
    log.has(1).await;
    assert_eq!(agent.status().last_event_id, None, "not while a handler runs");
    go_on.store(true, Ordering::SeqCst);
    agent.status_until(|s| s.last_event_id.as_deref() == Some("1")).await;
    agent.stop().await;
}

#[tokio::test]
async fn parity_2h_an_event_that_was_handled_is_not_handled_twice() {
    let rig = Rig::new().await;
    let mut agent = rig.streaming().await;
    let first = rig.mock.publish(&rig.node_id, "policy_updated", &json!({}));
    agent.status_until(|s| s.counters.events == 1).await;
    rig.mock.inject(&rig.node_id, first.frame.clone());
    agent.status_until(|s| s.counters.redelivered == 1).await;
    let second = rig.publish();
    assert_eq!(agent.events.has(2).await, [first.event_id, second]);
    agent.stop().await;
    let counters = agent.status().counters;
    assert_eq!((counters.skipped, counters.refused, counters.events), (0, 0, 2));
}

fn stored(rig: &Rig, path: &Path) -> Agent {
    let agent = rig.agent();
    agent.manager.set_cursor_store(FileCursorStore::new(path));
    agent.manager.set_save_interval(ms(5)).unwrap();
    agent
}

#[tokio::test]
async fn l8_a_restarted_process_goes_on_where_it_was() {
    let (rig, folder) = (Rig::new().await, tempfile::tempdir().unwrap());
    let path = folder.path().join("cursor.json");
    let (mut sent, mut handled) = (Vec::new(), Vec::new());
    for round in 0..4 {
        let mut agent = stored(&rig, &path);
        agent.start();
        rig.mock.wait_for_streams(&rig.node_id, 1, LIMIT).await;
        sent.extend(rig.publish_some(5));
        agent.events.until(|events| events.last() == sent.last()).await;
        agent.stop().await;
        assert!(agent.status().counters.saves >= 1);
        handled.extend(agent.events.all());
        assert_eq!(handled, sent, "round {round}: nothing lost, nothing twice");
        sent.extend(rig.publish_some(3));
    }
    assert_eq!(rig.cursors()[1].as_deref(), Some("5"));
}

#[tokio::test]
async fn l8_a_killed_process_loses_nothing() {
    let (rig, folder) = (Rig::new().await, tempfile::tempdir().unwrap());
    let path = folder.path().join("cursor.json");
    let (mut sent, mut handled) = (Vec::new(), Vec::new());
    for round in 0..6 {
        let mut agent = stored(&rig, &path);
        agent.start();
        rig.mock.wait_for_streams(&rig.node_id, 1, LIMIT).await;
        sent.extend(rig.publish_some(20));
        match round {
            // The first save has to be there, or there is nothing to go on from.
            0 => {
                agent.status_until(|s| s.counters.saves >= 1 && s.counters.events >= 20).await;
            }
            _ => {
                agent.events.has(7).await;
            }
        }
        agent.kill().await;
        handled.extend(agent.events.all());
    }
    let mut agent = stored(&rig, &path);
    agent.start();
    rig.mock.wait_for_streams(&rig.node_id, 1, LIMIT).await;
    sent.push(rig.publish());
    agent.events.until(|events| events.last() == sent.last()).await;
    agent.stop().await;
    handled.extend(agent.events.all());
    let mut seen = HashSet::new();
    handled.retain(|id| seen.insert(id.clone()));
    assert_eq!(handled, sent, "all of them, in order");
}

#[tokio::test]
async fn also_found_15_the_nonces_survive_a_restart() {
    let (rig, folder) = (Rig::new().await, tempfile::tempdir().unwrap());
    let path = folder.path().join("cursor.json");
    let event = || Event::new("policy_updated", &json!({})).nonce("once");
    let mut agent = stored(&rig, &path);
    rig.run(&mut agent).await;
    rig.mock.publish_event(&rig.node_id, event());
    agent.events.has(1).await;
    agent.stop().await;
    let mut agent = stored(&rig, &path);
    rig.run(&mut agent).await;
    rig.mock.publish_event(&rig.node_id, event());
    let line = agent.skipped.has(1).await.remove(0);
    assert!(line.contains("nonce was used before"), "{line}");
    agent.stop().await;
    assert_eq!(agent.events.len(), 0);
}

#[tokio::test]
async fn another_node_s_checkpoint_is_not_used() {
    let (rig, folder) = (Rig::new().await, tempfile::tempdir().unwrap());
    let path = folder.path().join("cursor.json");
    let text = r#"{"node_id":"node-9","last_event_id":"77","handled":["evt-1"],"nonces":[]}"#;
    std::fs::write(&path, text).unwrap();
    let mut agent = stored(&rig, &path);
    rig.run(&mut agent).await;
    let id = rig.publish();
    assert_eq!(agent.events.has(1).await, [id]);
    assert_eq!(rig.cursors(), [None]);
    agent.stop().await;
    let saved = FileCursorStore::new(&path).load().unwrap().unwrap();
    assert_eq!((saved.node_id.as_str(), saved.last_event_id.as_deref()), ("node-1", Some("1")));
}

/// A store that fails in each way in turn, and notices two calls at once.
#[derive(Clone, Default)]
struct Bad {
    calls: Arc<AtomicUsize>,
    inside: Arc<AtomicUsize>,
    overlaps: Arc<AtomicUsize>,
}

impl CursorStore for Bad {
    fn load(&self) -> Result<Option<Checkpoint>, BoxError> {
        match self.calls.fetch_add(1, Ordering::SeqCst) % 2 {
            0 => Err("no disk".into()),
            _ => panic!("load"),
        }
    }

    fn save(&self, _: &Checkpoint) -> Result<(), BoxError> {
        self.overlaps.fetch_add(self.inside.fetch_add(1, Ordering::SeqCst), Ordering::SeqCst);
        // real time: a disk that takes its time, so that calls could overlap
        std::thread::sleep(ms(20));
        self.inside.fetch_sub(1, Ordering::SeqCst);
        match self.calls.fetch_add(1, Ordering::SeqCst) % 3 {
            0 => Err("no disk".into()),
            1 => panic!("save"),
            _ => Ok(()),
        }
    }
}

#[tokio::test]
async fn l1_a_store_that_fails_or_panics_ends_nothing() {
    let (rig, store) = (Rig::new().await, Bad::default());
    let mut sent = Vec::new();
    let mut agent = rig.agent();
    agent.manager.set_cursor_store(store.clone());
    agent.manager.set_save_interval(ms(1)).unwrap();
    for round in 0..4 {
        agent.start();
        if round == 0 {
            let named = "the cursor cannot be loaded: no disk; starting from now";
            agent.status_until(|s| s.last_error.as_deref() == Some(named)).await;
        }
        rig.mock.wait_for_streams(&rig.node_id, 1, LIMIT).await;
        sent.extend(rig.publish_some(10));
        assert_eq!(agent.events.has(sent.len()).await, sent);
        agent.status_until(|s| s.counters.save_failures > 2 * round).await;
        match round % 2 {
            0 => {
                // In the middle of a save.
                sent.push(rig.publish());
                let saving = async {
                    while store.inside.load(Ordering::SeqCst) == 0 {
                        // real time: looks again until a deadline
                        tokio::time::sleep(ms(1)).await;
                    }
                };
                tokio::time::timeout(LIMIT, saving).await.unwrap();
                agent.kill().await;
            }
            _ => agent.stop().await,
        }
    }
    assert_eq!(store.overlaps.load(Ordering::SeqCst), 0, "one call at a time, over restarts too");
    let mut other = rig.agent();
    other.manager.set_cursor_store(store);
    rig.run(&mut other).await;
    rig.publish();
    other.events.has(1).await;
    other.stop().await;
}

#[tokio::test]
async fn a_stream_that_never_rests_is_saved_all_the_same() {
    let (rig, folder) = (Rig::new().await, tempfile::tempdir().unwrap());
    let mut agent = stored(&rig, &folder.path().join("cursor.json"));
    agent.manager.register_handler("peer_removed", |_: Arc<SignedEnvelope>| async {
        // real time: a handler that takes its time
        tokio::time::sleep(ms(2)).await;
        Ok(())
    });
    rig.run(&mut agent).await;
    rig.publish_some(500);
    agent.events.has(10).await;
    agent.manager.reconcile_now();
    let status = agent.status_until(|s| s.counters.saves >= 5 && s.counters.states >= 2).await;
    assert!(status.counters.events < 400, "only after {} events", status.counters.events);
    agent.manager.network_changed();
    let status = agent.status_until(|s| s.counters.connections == 2).await;
    assert!(status.counters.events < 499, "only after {} events", status.counters.events);
    agent.stop().await;
}

#[tokio::test]
async fn a_poll_that_is_refused_does_not_cost_the_cursor() {
    for status in [400, 410] {
        let rig = Rig::new().await;
        let mut agent = rig.agent();
        agent.manager.set_polling_fallback(ms(50), ms(50)).unwrap();
        rig.run(&mut agent).await;
        rig.publish();
        agent.status_until(|s| s.counters.events == 1).await;
        rig.mock.script_always("fetch_state", Answer::problem(status, "no", "no"));
        rig.mock.set_bus_down(true);
        agent.mode(Mode::Polling).await;
        agent.status_until(|s| s.counters.state_failures >= 1).await;
        rig.mock.clear_script("fetch_state");
        rig.mock.set_bus_down(false);
        let missed = rig.publish();
        assert_eq!(agent.events.has(2).await[1], missed);
        assert_eq!(rig.cursors().last().unwrap().as_deref(), Some("1"), "{status}");
        agent.stop().await;
    }
}
