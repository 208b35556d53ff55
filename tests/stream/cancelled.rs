//! `start` and `deliveries`, dropped at each of their await points: nothing is lost, and
//! only what was in a handler's hands comes twice.
//!
//! A day has them all: the position is loaded, a token is refused and renewed, the server
//! fails, has no stream and is polled, the stream opens, the state is fetched, events are
//! handled, the position is saved, a shutdown ends it.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use futures::StreamExt;
use futures::future::join_all;
use plexsphere_client::events::{Checkpoint, CursorStore, Ed25519Verifier, SignedEnvelope};
use plexsphere_client::reconnect::ReconnectSettings;
use plexsphere_client::values::Secret;
use plexsphere_client::{BoxError, Config, ControlPlane, Delivery, Error, Mode, SseManager};
use plexsphere_mock::{Answer, MockControlPlane};
use serde_json::json;

use crate::polled::{Cut, dropped, no_task_is_left};
use crate::support::{LIMIT, Log, ms};

/// How many nodes live their days at the same time, so that the waits of one are those of all.
const NODES: usize = 12;
/// More polls than a day has.
const MOST_POLLS: usize = 3_000;

/// A store in memory that takes its time.
#[derive(Clone)]
struct Memory(Arc<Mutex<Checkpoint>>);

impl CursorStore for Memory {
    fn load(&self) -> Result<Option<Checkpoint>, BoxError> {
        // real time: a disk is not at once
        std::thread::sleep(ms(1));
        Ok(Some(self.0.lock().unwrap().clone()))
    }

    fn save(&self, checkpoint: &Checkpoint) -> Result<(), BoxError> {
        // real time: a disk is not at once
        std::thread::sleep(ms(1));
        *self.0.lock().unwrap() = checkpoint.clone();
        Ok(())
    }
}

/// How a day is lived.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    Handlers,
    Loop,
    /// With handlers, and each time by a new manager that has the saved position alone.
    Restarts,
}

/// A node, and what it has lived through so far.
struct Node<'a> {
    mock: &'a MockControlPlane,
    id: String,
    plane: ControlPlane,
    manager: SseManager,
    store: Memory,
    token: Arc<Mutex<String>>,
    sent: Vec<String>,
    handled: Log,
    states: Log,
}

/// How long the lists have to be at least, and the last event of all in its place.
#[derive(Clone, Copy)]
struct ToDo {
    events: usize,
    states: usize,
}

impl<'a> Node<'a> {
    fn new(mock: &'a MockControlPlane, name: &str) -> Self {
        let node = mock.add_node(name);
        let plane = ControlPlane::new(Config::new(mock.url()).unwrap(), "1").unwrap();
        plane.set_auth_token(node.secret_key).unwrap();
        // From the beginning of the stream on; without an id it would be from now on.
        let start = json!({ "node_id": node.node_id, "last_event_id": "0" });
        let store = Memory(Arc::new(Mutex::new(serde_json::from_value(start).unwrap())));
        let (token, handled, states) = Default::default();
        let manager = manager(mock, &plane, &store, &token, &handled, &states);
        let sent = Vec::new();
        Self { mock, id: node.node_id, plane, manager, store, token, sent, handled, states }
    }

    /// What waits for it today.
    fn morning(&mut self) {
        *self.token.lock().unwrap() = self.mock.replace_secret_key(&self.id);
        for answer in [Answer::real(), Answer::status(503), Answer::status(501)] {
            self.mock.script_for(&self.id, "connect_sse", answer);
        }
        for _ in 0..3 {
            let event = self.mock.publish(&self.id, "peer_removed", &json!({ "peer_id": "p" }));
            self.sent.push(event.event_id);
        }
    }

    /// What has to happen until a day is over.
    fn to_do(&self) -> ToDo {
        let position = self.manager.status().borrow().last_event_id.clone();
        let settled = position.or(self.store.0.lock().unwrap().last_event_id.clone());
        let events = settled != Some(self.sent.len().to_string());
        ToDo { events: self.handled.len() + usize::from(events), states: self.states.len() + 1 }
    }

    fn is_done(&self, to_do: ToDo) -> bool {
        let (handled, last) = (self.handled.all(), self.sent.last());
        handled.last() == last && handled.len() >= to_do.events && self.states.len() >= to_do.states
    }

    async fn live(&self, way: Way) -> Result<(), Error> {
        let to_do = self.to_do();
        if way == Way::Loop {
            return self.live_by_a_loop(to_do).await;
        }
        let end = async {
            tokio::select! {
                _ = self.states.until(|_| self.is_done(to_do)) => {}
                _ = self.handled.until(|_| self.is_done(to_do)) => {}
            }
            self.manager.shutdown();
        };
        tokio::join!(self.manager.start(&self.id), end).0
    }

    async fn live_by_a_loop(&self, to_do: ToDo) -> Result<(), Error> {
        let mut deliveries = self.manager.deliveries(&self.id)?;
        while let Some(delivery) = deliveries.next().await {
            tokio::task::yield_now().await;
            match delivery? {
                Delivery::Event(event) => self.handled.add(event.event_id.clone()),
                Delivery::State(_) => self.states.add("state"),
                other => panic!("{other:?}"),
            }
            tokio::task::yield_now().await;
            if self.is_done(to_do) {
                self.manager.shutdown();
            }
        }
        Ok(())
    }

    /// A day that is cut there, and then lived to its end. Whether the cut came too late.
    async fn day(&mut self, way: Way, at: Cut) -> bool {
        self.morning();
        let late = match dropped(self.live(way), at).await {
            Some(ended) => {
                ended.unwrap();
                true
            }
            None => {
                self.live_on(way, at).await;
                false
            }
        };
        self.nothing_is_missing(way, at);
        late
    }

    async fn live_on(&mut self, way: Way, at: Cut) {
        let begun = !matches!(at, Cut::Waiting(0) | Cut::Woken(0));
        assert!(!begun || self.manager.status().borrow().mode == Mode::Stopped, "{at:?}");
        if way == Way::Restarts {
            self.restart().await;
        }
        let (states, streams) = (self.states.len(), self.mock.count("connect_sse"));
        let rest = tokio::time::timeout(LIMIT, self.live(way)).await;
        rest.unwrap_or_else(|_| panic!("it hangs after {at:?}")).unwrap();
        assert!(self.states.len() > states, "the state is fetched after {at:?}");
        assert!(self.mock.count("connect_sse") > streams, "it connects after {at:?}");
    }

    /// As a process that is killed and started anew: what it was saving is saved or lost by then.
    async fn restart(&mut self) {
        let Self { mock, plane, token, handled, states, .. } = &*self;
        let spare = Memory(Arc::new(Mutex::new(Checkpoint::default())));
        self.manager = manager(mock, plane, &spare, token, handled, states);
        while Arc::strong_count(&self.store.0) > 1 {
            // real time: a save that the old one began is still on its thread
            tokio::time::sleep(ms(1)).await;
        }
        self.manager.set_cursor_store(self.store.clone());
    }

    fn nothing_is_missing(&self, way: Way, at: Cut) {
        let mut handled = self.handled.all();
        if way == Way::Restarts {
            // What was handled since the last save may come again, and in order.
            let mut seen = HashSet::new();
            handled.retain(|id| seen.insert(id.clone()));
        } else {
            // Only what was cut in the hands of its handler comes twice.
            handled.dedup();
        }
        assert_eq!(handled, self.sent, "{at:?}");
        let stored = self.store.0.lock().unwrap().clone();
        assert_eq!(stored.last_event_id, Some(self.sent.len().to_string()), "{at:?}");
    }
}

fn manager(
    mock: &MockControlPlane,
    plane: &ControlPlane,
    store: &Memory,
    token: &Arc<Mutex<String>>,
    handled: &Log,
    states: &Log,
) -> SseManager {
    let verifier = Ed25519Verifier::new(&mock.signing_public_key()).unwrap();
    let manager = SseManager::new(plane.clone(), verifier);
    let mut settings = ReconnectSettings::default();
    (settings.base_interval, settings.max_interval) = (ms(10), ms(10));
    (settings.slow_interval, settings.slow_max_interval) = (ms(10), ms(10));
    settings.poll_interval = ms(10);
    manager.set_reconnect_settings(settings);
    manager.set_save_interval(ms(2)).unwrap();
    manager.set_cursor_store(store.clone());
    let token = token.clone();
    manager.on_auth_failure(move || {
        let token = token.clone();
        async move {
            tokio::task::yield_now().await;
            let token = token.lock().unwrap().clone();
            Some(Secret::from(token))
        }
    });
    let handled = handled.clone();
    manager.on_every(move |event: Arc<SignedEnvelope>| {
        let handled = handled.clone();
        async move {
            tokio::task::yield_now().await;
            handled.add(event.event_id.clone());
            tokio::task::yield_now().await;
            Ok(())
        }
    });
    let states = states.clone();
    manager.on_state(move |_| {
        let states = states.clone();
        async move {
            tokio::task::yield_now().await;
            states.add("state");
            Ok(())
        }
    });
    manager
}

/// Each number of polls, or each `step`th.
async fn lived_through(way: Way, at: fn(usize) -> Cut, step: usize) {
    let mock = MockControlPlane::start().await.unwrap();
    let pieces = Answer::real().delay(ms(1)).pace(100, ms(1));
    mock.script_always("fetch_state", pieces);
    let mut nodes: Vec<_> = (0..NODES).map(|n| Node::new(&mock, &format!("node-{n}"))).collect();
    // The later ones made the earlier ones hear of them.
    for node in &mut nodes {
        node.sent = mock.published_for(&node.id).into_iter().map(|event| event.event_id).collect();
    }
    let mut polls = 0;
    loop {
        let cuts = (polls..).step_by(step).map(at);
        let days = nodes.iter_mut().zip(cuts).map(|(node, cut)| node.day(way, cut));
        if join_all(days).await.into_iter().all(|late| late) {
            break;
        }
        polls += NODES * step;
        assert!(polls < MOST_POLLS, "the days have no end");
    }
    println!("up to {} polls", polls + NODES * step);
    assert!(polls > 40, "a day has more await points than {polls}");
    drop(nodes);
    assert!(mock.wait_until(LIMIT, |mock| mock.open_connections() == 0).await);
    no_task_is_left().await;
}

#[tokio::test]
async fn start_may_be_dropped_at_every_await() {
    lived_through(Way::Handlers, Cut::Waiting, 1).await;
}

#[tokio::test]
async fn start_may_be_dropped_whenever_it_is_woken() {
    lived_through(Way::Handlers, Cut::Woken, 1).await;
}

#[tokio::test]
async fn the_loop_may_be_dropped_at_every_await() {
    lived_through(Way::Loop, Cut::Waiting, 1).await;
}

#[tokio::test]
async fn the_loop_may_be_dropped_whenever_it_is_woken() {
    lived_through(Way::Loop, Cut::Woken, 3).await;
}

#[tokio::test]
async fn after_a_drop_the_saved_position_is_enough_to_go_on() {
    lived_through(Way::Restarts, Cut::Waiting, 3).await;
}
