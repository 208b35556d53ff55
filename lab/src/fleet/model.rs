//! Up to some millions of engines, one server and an event queue.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use plexsphere_client::reconnect::{
    Command, FailureAction, Input, ReconnectEngine, ReconnectSettings, backoff,
};
use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::books::{Books, Outcome};
use super::scenario::{End, Scenario};
use super::server::{Fate, ROUND_TRIP, Server, Weather};

/// Time zero of the scenario on the engines' clock: all streams are healthy by then.
const BEFORE: Duration = Duration::from_secs(300);
/// How long after the end of the trouble it is given up.
const PATIENCE: Duration = Duration::from_secs(4 * 3600);

pub struct Plan {
    pub nodes: u32,
    pub seed: u64,
    pub settings: ReconnectSettings,
    /// What the server sends as `retry:`.
    pub retry: Option<Duration>,
}

/// Runs a scenario to the moment when every node has its stream back.
pub fn run(plan: &Plan, scenario: &Scenario, server: Server) -> Outcome {
    let mut fleet = Fleet::new(plan, scenario, server);
    fleet.schedule_cuts();
    fleet.run();
    fleet.books.outcome(scenario.well_at)
}

struct Node {
    engine: ReconnectEngine,
    /// Counts what was under way: an event of an earlier one is void.
    turn: u32,
    open: bool,
    has_new_token: bool,
    /// Of the request that is under way.
    fate: Fate,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Happens {
    Cut(u32),
    Timer,
    Connected,
    Received,
    Noticed,
    Polled,
    Asked,
}

/// When, whom, in which turn, what.
type Event = Reverse<(Duration, u32, u32, Happens)>;

struct Fleet<'a> {
    scenario: &'a Scenario,
    server: Server,
    nodes: Vec<Node>,
    queue: BinaryHeap<Event>,
    random: ChaCha8Rng,
    healthy_after: Duration,
    retry: Option<Duration>,
    /// Since the begin of the scenario.
    now: Duration,
    books: Books,
    last_cut: Duration,
}

impl<'a> Fleet<'a> {
    fn new(plan: &Plan, scenario: &'a Scenario, server: Server) -> Self {
        let settings = scenario.settings(plan.settings.clone());
        let healthy_after = settings.healthy_after;
        let engine = healthy(settings, plan.retry);
        let node = |_| Node {
            engine: engine.clone(),
            turn: 0,
            open: true,
            has_new_token: false,
            fate: Ok(()),
        };
        Self {
            scenario,
            server,
            nodes: (0..plan.nodes).map(node).collect(),
            queue: BinaryHeap::new(),
            random: ChaCha8Rng::seed_from_u64(plan.seed),
            healthy_after,
            retry: plan.retry,
            now: Duration::ZERO,
            books: Books::new(plan.nodes),
            last_cut: scenario.cuts.iter().map(|cut| cut.at).max().unwrap_or_default(),
        }
    }

    fn schedule_cuts(&mut self) {
        for (index, cut) in self.scenario.cuts.iter().enumerate() {
            // There are some dozens of cuts at most.
            self.queue.push(Reverse((cut.at, 0, 0, Happens::Cut(index as u32))));
        }
    }

    fn run(&mut self) {
        let end = self.scenario.well_at + PATIENCE;
        while let Some(Reverse((at, node, turn, what))) = self.queue.pop() {
            let settled = at > self.last_cut && at > self.scenario.well_at;
            if at > end || settled && self.books.all_back() {
                return;
            }
            self.now = at;
            match what {
                Happens::Cut(index) => self.cut(index),
                _ if self.nodes[node as usize].turn == turn => self.happens(node, what),
                _ => {}
            }
        }
    }

    fn cut(&mut self, index: u32) {
        let cut = self.scenario.cuts[index as usize];
        for node in (0..self.nodes.len() as u32).filter(|node| cut.hits(*node)) {
            if !self.nodes[node as usize].open {
                continue;
            }
            match cut.end {
                End::Clean => self.step(node, Input::Ended),
                End::Broken => self.step(node, broken()),
                End::Silent => {
                    let [least, most] = [75, 90].map(Duration::from_secs);
                    let noticed = between(least, most, self.random.next_u64());
                    self.replaced(node);
                    self.later(node, self.now + noticed, Happens::Noticed);
                }
            }
        }
    }

    fn happens(&mut self, node: u32, what: Happens) {
        let fate = self.nodes[node as usize].fate;
        match (what, fate) {
            (Happens::Connected, Ok(())) => {
                self.step(node, Input::Opened);
                if let Some(said) = self.retry {
                    self.step(node, Input::ServerRetry(said));
                }
                self.step(node, Input::Received);
            }
            (Happens::Connected, Err(action)) => self.step(node, Input::Failed(action)),
            (Happens::Polled, result) => self.step(node, Input::PollDone(result)),
            (Happens::Asked, Ok(())) => {
                self.nodes[node as usize].has_new_token = true;
                self.step(node, Input::AuthRecovered);
            }
            (Happens::Asked, Err(_)) => self.step(node, Input::AuthRefused),
            (Happens::Received, _) => self.step(node, Input::Received),
            (Happens::Timer, _) => self.step(node, Input::TimerFired),
            (Happens::Noticed, _) => self.step(node, broken()),
            (Happens::Cut(_), _) => {}
        }
    }

    fn step(&mut self, node: u32, input: Input) {
        let random = self.random.next_u64();
        let this = &mut self.nodes[node as usize];
        let command = this.engine.step(input, BEFORE + self.now, random);
        match command {
            Command::Connect => self.connect(node),
            Command::Read => {
                self.nodes[node as usize].open = true;
                self.books.opened(self.now);
                self.later(node, self.now + self.healthy_after, Happens::Received);
            }
            Command::Wait(time) => {
                self.replaced(node);
                self.later(node, self.now + time, Happens::Timer);
            }
            Command::Poll => self.poll(node),
            Command::Authenticate => self.authenticate(node),
            Command::Stop(_) => {
                self.replaced(node);
                self.books.stopped();
            }
            // `Continue`, and what a later version may add.
            _ => {}
        }
    }

    /// What was under way is void from here on.
    fn replaced(&mut self, node: u32) {
        let this = &mut self.nodes[node as usize];
        this.turn += 1;
        if std::mem::take(&mut this.open) {
            self.books.closed(self.now);
        }
    }

    fn connect(&mut self, node: u32) {
        self.replaced(node);
        let weather = self.weather(node);
        let fate = self.request(node, &weather, Happens::Connected);
        self.books.connect(self.now, weather.reaches(), fate.is_err());
    }

    fn poll(&mut self, node: u32) {
        let weather = self.weather(node);
        let fate = self.request(node, &weather, Happens::Polled);
        self.books.poll(self.now, weather.reaches(), fate.is_ok());
    }

    /// The callback registers anew; that is work for the server too.
    fn authenticate(&mut self, node: u32) {
        let weather = match self.now >= self.scenario.well_at {
            true => Weather::Up,
            false => Weather::Revoked,
        };
        let _ = self.request(node, &weather, Happens::Asked);
        self.books.registration(self.now);
    }

    /// The node hears of it later.
    fn request(&mut self, node: u32, weather: &Weather, what: Happens) -> Fate {
        let random = self.random.next_u64();
        let (at, fate) = self.server.request(weather, self.now, random);
        self.nodes[node as usize].fate = fate;
        self.later(node, at, what);
        fate
    }

    fn weather(&self, node: u32) -> Weather {
        match self.scenario.weather(node, self.now) {
            Weather::Revoked if self.nodes[node as usize].has_new_token => Weather::Up,
            weather => weather,
        }
    }

    fn later(&mut self, node: u32, at: Duration, what: Happens) {
        let turn = self.nodes[node as usize].turn;
        self.queue.push(Reverse((at, node, turn, what)));
    }
}

fn broken() -> Input {
    Input::Failed(FailureAction::RetryTransient)
}

/// An engine whose stream has been open for minutes.
fn healthy(settings: ReconnectSettings, retry: Option<Duration>) -> ReconnectEngine {
    let mut engine = ReconnectEngine::new(settings);
    engine.step(Input::Start, Duration::ZERO, 0);
    engine.step(Input::Opened, ROUND_TRIP, 0);
    if let Some(said) = retry {
        engine.step(Input::ServerRetry(said), ROUND_TRIP, 0);
    }
    engine.step(Input::Received, ROUND_TRIP, 0);
    engine.step(Input::Received, BEFORE, 0);
    engine
}

/// Evenly spread from `first` to before `last`.
pub fn between(first: Duration, last: Duration, random: u64) -> Duration {
    first + backoff::spread(last.saturating_sub(first), random)
}
