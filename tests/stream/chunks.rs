//! Many events in one piece: what comes in between does not wait for its end.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use plexsphere_client::events::{Checkpoint, CursorStore};
use plexsphere_client::{BoxError, Skipped};
use plexsphere_mock::{Answer, Then};

use crate::support::{Agent, Log, Rig, ms};

const EVENTS: usize = 12;

/// An agent whose position is known, and events that it has not seen: the server sends them as
/// one piece when it comes back.
async fn away(rig: &Rig) -> (Agent, Vec<String>) {
    let mut agent = rig.streaming().await;
    rig.publish();
    agent.events.has(1).await;
    agent.stop().await;
    (agent, rig.publish_some(EVENTS))
}

#[tokio::test]
async fn a_shutdown_comes_before_the_next_event() {
    let rig = Rig::new().await;
    let (mut agent, _) = away(&rig).await;
    let stopper = agent.manager.clone();
    agent.manager.register_handler("peer_removed", move |_| {
        stopper.shutdown();
        async { Ok(()) }
    });
    agent.start();
    agent.ended().await.unwrap();
    assert_eq!(agent.events.len(), 2);
}

/// Not at once, for a state has just been fetched; a second after that.
#[tokio::test]
async fn a_reconcile_comes_between_two_events() {
    let rig = Rig::new().await;
    let (mut agent, missed) = away(&rig).await;
    let (asker, first) = (agent.manager.clone(), missed[0].clone());
    agent.manager.register_handler("peer_removed", move |event| {
        if event.event_id == first {
            asker.reconcile_now();
        }
        async {
            // real time: all of them together take longer than the second
            tokio::time::sleep(ms(150)).await;
            Ok(())
        }
    });
    agent.start();
    agent.events.has(1 + EVENTS).await;
    let all = agent.all.all();
    let at = |id: &str| all.iter().position(|entry| entry == id).unwrap();
    let between = &all[at(&missed[0])..at(&missed[EVENTS - 1])];
    assert!(between.contains(&"state".to_owned()), "{all:?}");
    agent.stop().await;
}

#[tokio::test]
async fn a_change_of_the_network_comes_before_the_next_event() {
    const BLOCKS: usize = 100;
    let rig = Rig::new().await;
    rig.mock.script("connect_sse", Answer::stream(["data: x\n\n".repeat(BLOCKS)], Then::Stall));
    let mut agent = rig.agent();
    let (roamer, skipped) = (agent.manager.clone(), Log::default());
    let seen = skipped.clone();
    agent.manager.on_skipped(move |_: &Skipped| {
        roamer.network_changed();
        seen.add("skipped");
    });
    agent.start();
    rig.until(|mock| mock.count("connect_sse") == 2).await;
    assert_eq!(skipped.len(), 1);
    agent.stop().await;
}

/// Counts how often it is asked to save.
#[derive(Clone, Default)]
struct Counts(Arc<AtomicUsize>, Arc<Mutex<Checkpoint>>);

impl CursorStore for Counts {
    fn load(&self) -> Result<Option<Checkpoint>, BoxError> {
        Ok(None)
    }

    fn save(&self, checkpoint: &Checkpoint) -> Result<(), BoxError> {
        self.0.fetch_add(1, Ordering::SeqCst);
        *self.1.lock().unwrap() = checkpoint.clone();
        Ok(())
    }
}

#[tokio::test]
async fn the_position_is_saved_between_events_too() {
    let rig = Rig::new().await;
    let (mut agent, _) = away(&rig).await;
    let store = Counts::default();
    agent.manager.set_cursor_store(store.clone());
    agent.manager.set_save_interval(ms(1)).unwrap();
    let saves = Log::default();
    let (log, counts) = (saves.clone(), store.clone());
    agent.manager.register_handler("peer_removed", move |_| {
        let (log, counts) = (log.clone(), counts.clone());
        async move {
            // real time: longer than a save and the time between two
            tokio::time::sleep(ms(30)).await;
            log.add(counts.0.load(Ordering::SeqCst).to_string());
            Ok(())
        }
    });
    agent.start();
    let saves = saves.has(EVENTS).await;
    assert!(saves[EVENTS - 1].parse::<usize>().unwrap() >= 4, "{saves:?}");
    agent.stop().await;
}
