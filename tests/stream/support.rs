//! A mock, a node of it, and a manager whose doings are written down.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use plexsphere_client::events::{Ed25519Verifier, EventVerifier, SignedEnvelope};
use plexsphere_client::{BoxError, Config, ControlPlane, Error, Mode, Skipped, SseManager, Status};
use plexsphere_mock::{Builder, MockControlPlane};
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Long enough for a loaded machine.
pub const LIMIT: Duration = Duration::from_secs(20);

pub const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A list that grows, and that can be waited on.
#[derive(Clone, Default)]
pub struct Log(Arc<watch::Sender<Vec<String>>>);

impl Log {
    pub fn add(&self, line: impl Into<String>) {
        self.0.send_modify(|lines| lines.push(line.into()));
    }

    pub fn all(&self) -> Vec<String> {
        self.0.borrow().clone()
    }

    pub fn len(&self) -> usize {
        self.0.borrow().len()
    }

    pub async fn until(&self, enough: impl Fn(&[String]) -> bool) -> Vec<String> {
        let mut lines = self.0.subscribe();
        let waiting = tokio::time::timeout(LIMIT, lines.wait_for(|lines| enough(lines)));
        match waiting.await {
            Ok(lines) => lines.unwrap().clone(),
            Err(_) => panic!("not within {LIMIT:?}; so far {:?}", self.all()),
        }
    }

    pub async fn has(&self, count: usize) -> Vec<String> {
        self.until(|lines| lines.len() >= count).await
    }
}

/// A mock and one node of it.
pub struct Rig {
    pub mock: MockControlPlane,
    pub node_id: String,
    pub plane: ControlPlane,
}

impl Rig {
    pub async fn new() -> Self {
        Self::with(|mock| mock, |config| config).await
    }

    pub async fn with(
        mock: impl FnOnce(Builder) -> Builder,
        config: impl FnOnce(Config) -> Config,
    ) -> Self {
        let mock = mock(MockControlPlane::builder()).start().await.unwrap();
        let node = mock.add_node("web-1");
        let config = config(Config::new(mock.url()).unwrap());
        let plane = ControlPlane::new(config, "1.0").unwrap();
        plane.set_auth_token(node.secret_key).unwrap();
        Self { mock, node_id: node.node_id, plane }
    }

    /// A manager that checks signatures and reconnects fast.
    pub fn agent(&self) -> Agent {
        self.agent_with(Ed25519Verifier::new(&self.mock.signing_public_key()).unwrap())
    }

    pub fn agent_with(&self, verifier: impl EventVerifier + 'static) -> Agent {
        let manager = SseManager::new(self.plane.clone(), verifier);
        manager.set_reconnect_intervals(ms(20), ms(80)).unwrap();
        let agent = Agent {
            manager,
            node_id: self.node_id.clone(),
            events: Log::default(),
            states: Log::default(),
            skipped: Log::default(),
            all: Log::default(),
            task: None,
        };
        let (events, all) = (agent.events.clone(), agent.all.clone());
        agent.manager.on_every(move |event: Arc<SignedEnvelope>| {
            events.add(event.event_id.clone());
            all.add(event.event_id.clone());
            async { Ok(()) }
        });
        let (states, all) = (agent.states.clone(), agent.all.clone());
        agent.manager.on_state(move |_| {
            states.add("state");
            all.add("state");
            async { Ok(()) }
        });
        let skipped = agent.skipped.clone();
        agent.manager.on_skipped(move |skip: &Skipped| {
            let of = |text: Option<&str>| text.unwrap_or("-").to_owned();
            let event_type = of(skip.event_type.as_ref().map(|t| t.as_str()));
            let event_id = of(skip.event_id.as_deref());
            skipped.add(format!("{event_type} {event_id}: {}", skip.reason));
        });
        agent
    }

    /// An agent whose stream is open and whose first state has been handled.
    pub async fn streaming(&self) -> Agent {
        let mut agent = self.agent();
        self.run(&mut agent).await;
        agent
    }

    pub async fn run(&self, agent: &mut Agent) {
        agent.start();
        self.mock.wait_for_streams(&self.node_id, 1, LIMIT).await;
        agent.states.has(1).await;
    }

    /// Publishes an event; returns its id.
    pub fn publish(&self) -> String {
        self.mock.publish(&self.node_id, "peer_removed", &json!({ "peer_id": "p-1" })).event_id
    }

    pub fn publish_some(&self, count: usize) -> Vec<String> {
        (0..count).map(|_| self.publish()).collect()
    }

    pub async fn until(&self, enough: impl FnMut(&MockControlPlane) -> bool) {
        assert!(self.mock.wait_until(LIMIT, enough).await, "not within {LIMIT:?}");
    }

    /// The times between the connects, in order.
    pub fn connect_gaps(&self) -> Vec<Duration> {
        let requests = self.mock.requests_for("connect_sse");
        requests.windows(2).map(|pair| pair[1].at - pair[0].at).collect()
    }

    /// What each connect asked to resume after.
    pub fn cursors(&self) -> Vec<Option<String>> {
        let requests = self.mock.requests_for("connect_sse");
        requests.iter().map(|r| r.header("last-event-id").map(str::to_owned)).collect()
    }
}

/// A manager, and what it did.
pub struct Agent {
    pub manager: SseManager,
    pub node_id: String,
    pub events: Log,
    pub states: Log,
    pub skipped: Log,
    /// Events and states in one list.
    pub all: Log,
    task: Option<JoinHandle<Result<(), Error>>>,
}

impl Agent {
    pub fn start(&mut self) {
        let (manager, node_id) = (self.manager.clone(), self.node_id.clone());
        self.task = Some(tokio::spawn(async move { manager.start(&node_id).await }));
    }

    /// How `start` ended, without being asked to.
    pub async fn ended(&mut self) -> Result<(), Error> {
        let task = self.task.take().unwrap();
        tokio::time::timeout(LIMIT, task).await.expect("start does not end").unwrap()
    }

    /// Shuts down; a clean one is `Ok`, and quick.
    pub async fn stop(&mut self) {
        let began = Instant::now();
        self.manager.shutdown();
        self.ended().await.unwrap();
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    }

    /// Drops the future of `start`.
    pub async fn kill(&mut self) {
        let task = self.task.take().unwrap();
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
    }

    pub fn status(&self) -> Status {
        self.manager.status().borrow().clone()
    }

    pub async fn status_until(&self, enough: impl Fn(&Status) -> bool) -> Status {
        let mut status = self.manager.status();
        let waiting = tokio::time::timeout(LIMIT, status.wait_for(|status| enough(status)));
        match waiting.await {
            Ok(status) => status.unwrap().clone(),
            Err(_) => panic!("not within {LIMIT:?}: {:?}", self.status()),
        }
    }

    /// Each change of mode from now on.
    pub fn modes(&self) -> Log {
        let (modes, mut status) = (Log::default(), self.manager.status());
        let log = modes.clone();
        tokio::spawn(async move {
            let mut last = status.borrow_and_update().mode;
            while status.changed().await.is_ok() {
                let mode = status.borrow_and_update().mode;
                if mode != last {
                    log.add(mode.as_str());
                }
                last = mode;
            }
        });
        modes
    }

    pub async fn mode(&self, mode: Mode) -> Status {
        self.status_until(|status| status.mode == mode).await
    }
}

/// A handler that notes the event's id under a name, and then does something.
pub fn noting<Fut>(
    log: &Log,
    name: &'static str,
    then: impl Fn() -> Fut + Send + Sync + 'static,
) -> impl Fn(Arc<SignedEnvelope>) -> Fut + Send + Sync + 'static
where
    Fut: Future<Output = Result<(), BoxError>> + Send + 'static,
{
    let log = log.clone();
    move |event: Arc<SignedEnvelope>| {
        log.add(format!("{name} {}", event.event_id));
        then()
    }
}

pub async fn fine() -> Result<(), BoxError> {
    Ok(())
}
