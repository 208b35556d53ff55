//! A shutdown in every state, under load: `start` ends well and soon, the position is
//! saved, and the next start goes on with nothing lost and nothing twice.
//!
//! `PLEXSPHERE_SHUTDOWNS` sets how many; 1,000 is the long form.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fastrand::Rng;
use plexsphere_client::events::{Checkpoint, CursorStore, Ed25519Verifier, SignedEnvelope};
use plexsphere_client::{BoxError, Mode, SseManager};
use plexsphere_mock::Answer;
use tokio::sync::watch;

use crate::polled::no_task_is_left;
use crate::support::{LIMIT, Log, Rig, ms};

const SHUTDOWNS: usize = 66;
const SEED: u64 = 7;
/// Events that are published in each round.
const FLOOD: usize = 20;
/// How long a shutdown may take: the grace and the wait for the last save are longer.
const SOON: Duration = Duration::from_secs(4);

fn shutdowns() -> usize {
    let set = std::env::var("PLEXSPHERE_SHUTDOWNS").ok();
    set.map_or(SHUTDOWNS, |text| text.parse().expect("PLEXSPHERE_SHUTDOWNS is a number"))
}

/// What the manager is at when it is shut down.
#[derive(Clone, Copy, Debug, PartialEq)]
enum At {
    Idle,
    Loading,
    Connecting,
    FetchingState,
    StateHandler,
    Streaming,
    Handler,
    Saving,
    Waiting,
    Polling,
    Authenticating,
}

const ALL: [At; 11] = [
    At::Idle,
    At::Loading,
    At::Connecting,
    At::FetchingState,
    At::StateHandler,
    At::Streaming,
    At::Handler,
    At::Saving,
    At::Waiting,
    At::Polling,
    At::Authenticating,
];

/// What one place of the user's code does: it says that it was reached, and goes on at once,
/// unless it is to wait.
#[derive(Clone)]
struct Gate {
    reached: Log,
    open: Arc<watch::Sender<bool>>,
}

impl Gate {
    fn new() -> Self {
        Self { reached: Log::default(), open: Arc::new(watch::Sender::new(true)) }
    }

    fn close(&self) {
        self.open.send_replace(false);
    }

    fn open(&self) {
        self.open.send_replace(true);
    }

    async fn pass(&self) {
        self.reached.add("");
        self.open.subscribe().wait_for(|open| *open).await.unwrap();
    }

    /// The same on a thread for blocking work.
    fn pass_blocking(&self) {
        self.reached.add("");
        let until = Instant::now() + LIMIT;
        while !*self.open.borrow() && Instant::now() < until {
            // real time: a disk that hangs until it is let go
            std::thread::sleep(ms(1));
        }
    }
}

/// What the manager meets: a disk, handlers and a callback that can be held.
#[derive(Clone)]
struct Places {
    disk: Arc<Mutex<Option<Checkpoint>>>,
    load: Gate,
    save: Gate,
    event: Gate,
    state: Gate,
    auth: Gate,
    handled: Log,
}

impl CursorStore for Places {
    fn load(&self) -> Result<Option<Checkpoint>, BoxError> {
        self.load.pass_blocking();
        Ok(self.disk.lock().unwrap().clone())
    }

    fn save(&self, checkpoint: &Checkpoint) -> Result<(), BoxError> {
        self.save.pass_blocking();
        *self.disk.lock().unwrap() = Some(checkpoint.clone());
        Ok(())
    }
}

impl Places {
    fn new() -> Self {
        let gate = Gate::new;
        let (load, save, event, state, auth) = (gate(), gate(), gate(), gate(), gate());
        let (disk, handled) = Default::default();
        Self { disk, load, save, event, state, auth, handled }
    }

    fn gates(&self) -> [&Gate; 5] {
        [&self.load, &self.save, &self.event, &self.state, &self.auth]
    }

    fn manager(&self, rig: &Rig) -> SseManager {
        let verifier = Ed25519Verifier::new(&rig.mock.signing_public_key()).unwrap();
        let manager = SseManager::new(rig.plane.clone(), verifier);
        manager.set_reconnect_intervals(ms(10), ms(20)).unwrap();
        manager.set_save_interval(ms(1)).unwrap();
        manager.set_cursor_store(self.clone());
        let (gate, handled) = (self.event.clone(), self.handled.clone());
        manager.on_every(move |event: Arc<SignedEnvelope>| {
            let (gate, handled) = (gate.clone(), handled.clone());
            async move {
                gate.pass().await;
                handled.add(event.event_id.clone());
                Ok(())
            }
        });
        let gate = self.state.clone();
        manager.on_state(move |_| {
            let gate = gate.clone();
            async move {
                gate.pass().await;
                Ok(())
            }
        });
        let gate = self.auth.clone();
        manager.on_auth_failure(move || {
            let gate = gate.clone();
            async move {
                gate.pass().await;
                None
            }
        });
        manager
    }
}

struct Trial {
    rig: Rig,
    places: Places,
    manager: SseManager,
    sent: Vec<String>,
    random: Rng,
    longest: (Duration, At),
}

impl Trial {
    async fn new() -> Self {
        let rig = Rig::with(|mock| mock.keep_alive(ms(20)), |config| config).await;
        let places = Places::new();
        let start = format!(r#"{{"node_id":"{}","last_event_id":"0"}}"#, rig.node_id);
        *places.disk.lock().unwrap() = serde_json::from_str(&start).unwrap();
        let (manager, random) = (places.manager(&rig), Rng::with_seed(SEED));
        Self { rig, places, manager, sent: Vec::new(), random, longest: (Duration::ZERO, At::Idle) }
    }

    /// Has the manager come to that state and stay there, or pass it if it cannot be held.
    fn prepare(&mut self, at: At) {
        let (mock, places) = (&self.rig.mock, &self.places);
        match at {
            At::Idle => self.manager.shutdown(),
            At::Loading => {
                // The first run of a manager loads.
                self.manager = places.manager(&self.rig);
                places.load.close();
            }
            At::Connecting => mock.script("connect_sse", Answer::real().silence()),
            At::FetchingState => mock.script("fetch_state", Answer::real().silence()),
            At::StateHandler => places.state.close(),
            At::Handler => places.event.close(),
            At::Saving => places.save.close(),
            At::Waiting => mock.script("connect_sse", Answer::status(503).retry_after_secs(60)),
            At::Polling => {
                mock.script("connect_sse", Answer::status(501));
                mock.script("fetch_state", Answer::real().silence());
            }
            At::Authenticating => {
                mock.script("connect_sse", Answer::status(401));
                places.auth.close();
            }
            At::Streaming => {}
        }
    }

    async fn reached(&mut self, at: At, before: &Counts) {
        let (mock, places) = (&self.rig.mock, &self.places);
        let more = |log: &Log, before: usize| {
            let log = log.clone();
            async move { drop(log.has(before + 1).await) }
        };
        let mut status = self.manager.status();
        match at {
            At::Idle => {}
            At::Loading => more(&places.load.reached, before.loads).await,
            At::Saving => more(&places.save.reached, before.saves).await,
            At::Handler => more(&places.event.reached, before.events).await,
            At::StateHandler => more(&places.state.reached, before.states).await,
            At::Authenticating => more(&places.auth.reached, before.auths).await,
            At::Streaming => {
                let some = self.random.usize(0..FLOOD);
                places.handled.has(before.handled + some).await;
            }
            At::Waiting => {
                let waiting = status.wait_for(|s| s.mode == Mode::Waiting);
                tokio::time::timeout(LIMIT, waiting).await.unwrap().unwrap();
            }
            At::Connecting => {
                let arrived = mock.wait_until(LIMIT, |m| m.count("connect_sse") > before.connects);
                assert!(arrived.await, "{at:?}");
            }
            At::FetchingState | At::Polling => {
                let arrived = mock.wait_until(LIMIT, |m| m.count("fetch_state") > before.fetches);
                assert!(arrived.await, "{at:?}");
            }
        }
    }

    async fn round(&mut self, at: At) {
        let before = Counts::of(self);
        self.prepare(at);
        self.sent.extend(self.rig.publish_some(FLOOD));
        let (manager, node_id) = (self.manager.clone(), self.rig.node_id.clone());
        let running = tokio::spawn(async move { manager.start(&node_id).await });
        self.reached(at, &before).await;
        for _ in 0..self.random.u32(0..40) {
            tokio::task::yield_now().await;
        }
        let began = Instant::now();
        if at != At::Idle {
            self.manager.shutdown();
        }
        if at != At::Loading {
            self.places.gates().into_iter().for_each(Gate::open);
        }
        let ended = tokio::time::timeout(LIMIT, running).await;
        ended.unwrap_or_else(|_| panic!("it hangs: {at:?}")).unwrap().unwrap();
        let took = began.elapsed();
        assert!(took < SOON, "{at:?}: {took:?}");
        if took > self.longest.0 {
            self.longest = (took, at);
        }
        self.settled(at);
        self.places.gates().into_iter().for_each(Gate::open);
        self.rig.mock.clear_script("*");
        self.rig.mock.wait_for_streams(&self.rig.node_id, 0, LIMIT).await;
        if self.random.f64() < 0.3 {
            // As after a restart of the process: the next one has what is on the disk.
            self.manager = self.places.manager(&self.rig);
        }
    }

    /// What was handled is on the disk, and nothing else.
    fn settled(&self, at: At) {
        assert_eq!(self.manager.status().borrow().mode, Mode::Stopped, "{at:?}");
        let handled = self.places.handled.len();
        let saved = self.places.disk.lock().unwrap().clone().unwrap();
        assert_eq!(saved.last_event_id, Some(handled.to_string()), "{at:?}");
    }
}

/// How far everything was when a round began.
struct Counts {
    loads: usize,
    saves: usize,
    events: usize,
    states: usize,
    auths: usize,
    handled: usize,
    connects: u64,
    fetches: u64,
}

impl Counts {
    fn of(trial: &Trial) -> Self {
        let [loads, saves, events, states, auths] =
            trial.places.gates().map(|gate| gate.reached.len());
        let handled = trial.places.handled.len();
        let count = |route| trial.rig.mock.count(route);
        let (connects, fetches) = (count("connect_sse"), count("fetch_state"));
        Self { loads, saves, events, states, auths, handled, connects, fetches }
    }
}

#[tokio::test]
async fn a_shutdown_in_every_state_under_load_loses_nothing() {
    let mut trial = Trial::new().await;
    let began = Instant::now();
    for round in 0..shutdowns() {
        trial.round(ALL[round % ALL.len()]).await;
    }
    let took = began.elapsed();
    // The last run takes in what is left.
    let (manager, node_id) = (trial.manager.clone(), trial.rig.node_id.clone());
    let running = tokio::spawn(async move { manager.start(&node_id).await });
    let last = trial.sent.last().cloned();
    trial.places.handled.until(|handled| handled.last() == last.as_ref()).await;
    trial.manager.shutdown();
    running.await.unwrap().unwrap();
    assert_eq!(trial.places.handled.all(), trial.sent, "all, in order, none twice");
    let (events, longest) = (trial.sent.len(), trial.longest);
    println!(
        "{} shutdowns in {took:?}, {events} events; the longest took {longest:?}",
        shutdowns()
    );

    let Trial { rig: Rig { mock, plane, .. }, places, manager, .. } = trial;
    drop((manager, places, plane));
    assert!(mock.wait_until(LIMIT, |mock| mock.open_connections() == 0).await);
    no_task_is_left().await;
}
