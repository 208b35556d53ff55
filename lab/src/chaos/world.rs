//! The server, the proxy and the agent of a run, and what is done to them.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use plexsphere_client::BoxError;
use plexsphere_mock::{Close, Event, MockControlPlane, Served};

use super::child::Orders;
use super::entry::now;
use super::parent::{Agent, AgentLog, write_token};
use super::plan::Spec;
use super::proxy::{Fired, Proxy, WireFault};

/// How long anything may take that has to happen. Nothing of it is waited out in a good run.
pub const LIMIT: Duration = Duration::from_secs(60);
/// How long a fault waits for the bytes that it is meant for, before it takes any.
const SOON: Duration = Duration::from_millis(150);
/// How many events the server may be ahead: faults must not fall on a stream that nobody reads.
const MOST_AHEAD: u64 = 150;
/// So many frames can be replayed.
const FRAMES: usize = 256;
/// Between two keep-alive comments.
const KEEP_ALIVE: Duration = Duration::from_millis(20);
/// The backlog of the server, which is more than it is ever ahead.
const BACKLOG: usize = 10_000;

/// The answers that the server has given.
#[derive(Debug, Default)]
pub struct Answers {
    counts: BTreeMap<(&'static str, u16), u64>,
    times: BTreeMap<&'static str, Vec<Instant>>,
    /// When each operation last got 429 or 503.
    refused: BTreeMap<&'static str, Instant>,
}

impl Answers {
    fn note(&mut self, served: &Served) {
        let (Some(operation), Some(status)) = (served.operation, served.status) else { return };
        let now = Instant::now();
        *self.counts.entry((operation, status)).or_default() += 1;
        self.times.entry(operation).or_default().push(now);
        if matches!(status, 429 | 503) {
            self.refused.insert(operation, now);
        }
    }

    pub fn count(&self, operation: &'static str, status: u16) -> u64 {
        self.counts.get(&(operation, status)).copied().unwrap_or(0)
    }

    pub fn of(&self, operation: &'static str) -> u64 {
        self.times.get(operation).map_or(0, |times| times.len() as u64)
    }

    /// The requests that came although the server had asked to wait.
    pub fn hasty(&self, asked: &[Asked]) -> Vec<String> {
        let mut hasty = Vec::new();
        for Asked { operation, at, wait } in asked {
            let times = self.times.get(operation).map_or(&[][..], Vec::as_slice);
            let early = times.iter().find(|time| **time > *at && **time < *at + *wait);
            hasty.extend(early.map(|time| {
                format!("{operation} came after {:?} instead of {wait:?}", *time - *at)
            }));
        }
        hasty
    }
}

/// The server asked for no request of an operation for a while.
#[derive(Debug)]
pub struct Asked {
    operation: &'static str,
    at: Instant,
    wait: Duration,
}

/// What the judge has to know beside the server's and the agent's logs.
#[derive(Debug, Default)]
pub struct Facts {
    /// Faults that happened, by kind.
    pub happened: BTreeMap<&'static str, u64>,
    /// Faults that could not be made to happen.
    pub missed: Vec<String>,
    /// The waits that the server asked for.
    pub asked: Vec<Asked>,
    /// Frames that were damaged, by the number of their event.
    pub garbled: HashSet<u64>,
    /// Events published while there was no position to resume from.
    pub doubtful: HashSet<u64>,
    /// Events signed for another time.
    pub untimely: HashSet<u64>,
    /// When the server had asked for no fetches of the state.
    pub held: Vec<(Duration, Duration)>,
    /// Honest events, in number.
    pub honest: u64,
}

pub struct World {
    pub mock: MockControlPlane,
    pub node_id: String,
    pub proxy: Proxy,
    pub agent: Agent,
    pub log: Arc<AgentLog>,
    pub answers: Arc<Mutex<Answers>>,
    pub token_file: PathBuf,
    pub facts: Facts,
    /// The number of the event published last, and of the last one that must arrive.
    last: u64,
    last_sure: u64,
    frames: VecDeque<(u64, Bytes)>,
}

impl World {
    /// A server, a proxy and an agent whose stream is open, with a first event handled.
    pub async fn start(token_file: PathBuf, trace: Option<PathBuf>) -> Result<Self, BoxError> {
        let answers: Arc<Mutex<Answers>> = Arc::default();
        let noted = Arc::clone(&answers);
        let mock = MockControlPlane::builder()
            .keep_alive(KEEP_ALIVE)
            .backlog(BACKLOG)
            .observe(move |served| lock(&noted).note(served))
            .start()
            .await?;
        let node = mock.add_node("chaos");
        write_token(&token_file, &node.secret_key)?;
        let proxy = Proxy::start(mock.address()).await?;
        let log = Arc::new(AgentLog::default());
        let orders = Orders {
            url: proxy.url(),
            node_id: node.node_id.clone(),
            signing_key: mock.signing_public_key(),
            token_file: token_file.clone(),
            trace,
            moody: true,
            ..Orders::default()
        };
        let agent = Agent::start(&orders, Some(&log))?;
        let mut world = Self {
            mock,
            node_id: node.node_id,
            proxy,
            agent,
            log,
            answers,
            token_file,
            facts: Facts::default(),
            last: 0,
            last_sure: 0,
            frames: VecDeque::new(),
        };
        world.anchor().await?;
        Ok(world)
    }

    pub fn answers(&self) -> MutexGuard<'_, Answers> {
        lock(&self.answers)
    }

    // ---- events ----

    /// Publishes an event as it is; returns its number.
    pub fn publish_event(&mut self, event: Event) -> u64 {
        let published = self.mock.publish_event(&self.node_id, event);
        self.last = published.seq;
        self.frames.push_back((published.seq, published.frame));
        if self.frames.len() > FRAMES {
            self.frames.pop_front();
        }
        self.last
    }

    /// Publishes an honest event.
    pub fn publish(&mut self, spec: &Spec) {
        let payload = format!("{{\"peer_id\":\"p-1\",\"filler\":\"{}\"}}", "x".repeat(spec.bytes));
        self.last_sure = self.publish_event(Event::raw(spec.event_type, payload));
        self.facts.honest += 1;
    }

    pub fn publish_all(&mut self, specs: &[Spec]) {
        for spec in specs {
            self.publish(spec);
        }
    }

    /// Another signing key; the server itself publishes the event that says so.
    pub fn rotate_key(&mut self) {
        self.mock.rotate_signing_key();
        self.last += 1;
        self.last_sure = self.last;
        self.facts.honest += 1;
        // Frames under older keys are no longer the server's own.
        self.frames.clear();
    }

    /// A frame of an event that was handled, so many events ago or a few more.
    pub fn old_frame(&self, back: u64) -> Option<Bytes> {
        let handled = self.log.progress().borrow().handled;
        let dishonest = |number: &u64| {
            self.facts.garbled.contains(number) || self.facts.untimely.contains(number)
        };
        let known: HashSet<u64> = self.log.handled_lately();
        let fits = |(number, _): &&(u64, Bytes)| {
            number + back <= handled && known.contains(number) && !dishonest(number)
        };
        self.frames.iter().rev().find(fits).map(|(_, frame)| frame.clone())
    }

    /// Publishes events until one is handled: without a position, what is published while no
    /// stream is open does not arrive.
    pub async fn anchor(&mut self) -> Result<(), BoxError> {
        let until = Instant::now() + LIMIT;
        while Instant::now() < until {
            self.stream_open().await?;
            let number = self.publish_event(Event::raw("policy_updated", "{}"));
            self.facts.doubtful.insert(number);
            let limit = Duration::from_secs(2);
            if self.log.until(limit, |progress| progress.handled >= number).await {
                return Ok(());
            }
        }
        Err(self.stuck("no event arrives").into())
    }

    // ---- waiting ----

    pub async fn stream_open(&self) -> Result<(), BoxError> {
        let mut open = self.proxy.open_streams();
        match tokio::time::timeout(LIMIT, open.wait_for(|open| *open > 0)).await {
            Ok(_) => Ok(()),
            Err(_) => Err(self.stuck("no stream is opened").into()),
        }
    }

    /// Waits until the agent is not far behind.
    pub async fn catch_up(&self) -> Result<(), BoxError> {
        self.handled(self.last_sure.saturating_sub(MOST_AHEAD)).await
    }

    /// Waits until all that must arrive has been handled.
    pub async fn drain(&self) -> Result<(), BoxError> {
        self.handled(self.last_sure).await
    }

    async fn handled(&self, number: u64) -> Result<(), BoxError> {
        let mut before = 0;
        while !self.log.until(LIMIT, |progress| progress.handled >= number).await {
            let events = self.log.progress().borrow().events;
            if events == before {
                return Err(self.stuck("events are not handled").into());
            }
            before = events;
        }
        Ok(())
    }

    /// Waits until the answers that were laid out have been used.
    pub async fn answers_used(&mut self, kind: &str) {
        if !self.mock.wait_until(LIMIT, |mock| mock.unused_answers() == 0).await {
            self.facts.missed.push(format!("{kind}: an answer was not fetched within {LIMIT:?}"));
            self.mock.clear_script("*");
        }
    }

    /// Waits until the server has given such answers.
    pub async fn answered(&self, enough: impl Fn(&Answers) -> bool) -> bool {
        self.mock.wait_until(LIMIT, |_| enough(&self.answers())).await
    }

    fn stuck(&self, what: &str) -> String {
        let progress = self.log.progress().borrow().clone();
        let wanted = self.last_sure;
        format!("stuck: {what} within {LIMIT:?}; event {wanted} is due, {progress:?}")
    }

    // ---- faults ----

    /// Has something happen to the bytes of the open stream, while events are published.
    pub async fn on_the_wire(
        &mut self,
        fault: WireFault,
        specs: &[Spec],
    ) -> Result<Option<Fired>, BoxError> {
        self.stream_open().await?;
        let mut fired = self.proxy.arm(fault);
        self.publish_all(specs);
        if let Ok(fired) = tokio::time::timeout(SOON, &mut fired).await {
            return Ok(fired.ok());
        }
        self.proxy.hurry();
        let fired = tokio::time::timeout(LIMIT, fired).await;
        Ok(fired.ok().and_then(Result::ok))
    }

    /// Ends the open streams, so that the agent connects anew.
    pub fn cut(&self) {
        self.mock.cut_streams(&self.node_id, Close::Cut);
    }

    /// Notes that the last refusal of an operation asked for a wait of at least `wait`.
    pub fn asked_to_wait(&mut self, operation: &'static str, wait: Duration) {
        let Some(at) = self.answers().refused.get(operation).copied() else { return };
        self.facts.asked.push(Asked { operation, at, wait });
        let began = now().saturating_sub(at.elapsed());
        // The client waits up to a quarter longer, and a date may be a second further off.
        let longest = wait.mul_f64(1.25) + Duration::from_millis(1_500);
        self.facts.held.push((began, began + longest));
    }

    /// The id in the frame of the event published last.
    pub fn last_id(&self) -> String {
        self.last.to_string()
    }
}

pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
