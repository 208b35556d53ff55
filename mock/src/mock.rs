//! The handle on a running server: what a test asks of it and tells it.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use jiff::SignedDuration;
use serde::Serialize;
use serde_json::Value;
use tokio::sync::oneshot;

use crate::answer::{Answer, Then};
use crate::builder::Builder;
use crate::event::{Event, PublishedEvent};
use crate::record::RecordedRequest;
use crate::script::{Rule, assert_known};
use crate::server::{Inner, Server};
use crate::sign::SigningKey;
use crate::state::{Execution, Received, Secret};
use crate::stream::{Close, Command, CutRule};
use crate::tls::Tls;

/// A control plane in a box: a real HTTP server with real state, on a thread of its own.
///
/// It stops when it is dropped: the port is closed and every connection ends. If it panicked
/// itself, or a scripted function did, dropping it panics, so that the test fails.
///
/// ```
/// # async fn run() -> std::io::Result<()> {
/// use plexsphere_mock::{Answer, MockControlPlane};
///
/// let mock = MockControlPlane::start().await?;
/// mock.script("heartbeat", Answer::status(503).retry_after_secs(1));
/// let node = mock.add_node("web-1");
/// mock.publish(&node.node_id, "policy_updated", &serde_json::json!({}));
/// // … the code under test talks to mock.url() …
/// assert_eq!(mock.requests().len(), 0);
/// # Ok(())
/// # }
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(run()).unwrap();
/// ```
pub struct MockControlPlane {
    inner: Arc<Inner>,
    server: Option<Server>,
    address: SocketAddr,
    tls: Option<Arc<Tls>>,
}

/// A node as the control plane knows it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct NodeView {
    /// Its id.
    pub node_id: String,
    /// Its host name.
    pub hostname: String,
    /// Its public key.
    pub public_key: String,
    /// Its secret key in base64: its bearer token, and the key of its secrets.
    pub secret_key: String,
    /// Its address in the mesh.
    pub mesh_ip: String,
    /// Its public endpoint; empty until it reported one.
    pub endpoint: String,
    /// The sequence number of the latest event on its stream.
    pub last_seq: u64,
    /// What it has told.
    pub received: Received,
}

/// A request and its answer, for log lines.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Served {
    /// The operation, if there is one.
    pub operation: Option<&'static str>,
    /// The method.
    pub method: String,
    /// The path as received.
    pub path: String,
    /// The status of the answer; `None` if there is none, by the script.
    pub status: Option<u16>,
    /// How many bytes of body came in.
    pub body_len: usize,
    /// Which connection it came on.
    pub connection: u64,
    /// From the request's head to the answer's.
    pub took: Duration,
}

impl Served {
    pub(crate) fn new(request: &RecordedRequest, answer: &Answer, took: Duration) -> Self {
        Self {
            operation: request.operation,
            method: request.method.clone(),
            path: request.path.clone(),
            status: answer
                .status
                .filter(|_| answer.instead.is_none())
                .map(|status| status.as_u16()),
            body_len: request.body.len(),
            connection: request.connection,
            took,
        }
    }
}

/// Starting, and what a client has to know.
impl MockControlPlane {
    /// A server with the default settings, on 127.0.0.1 and a free port.
    ///
    /// # Errors
    /// If there is no port or no thread to be had.
    pub async fn start() -> io::Result<Self> {
        Self::builder().start().await
    }

    /// A server with other settings.
    pub fn builder() -> Builder {
        Builder::new()
    }

    pub(crate) fn new(
        inner: Arc<Inner>,
        server: Server,
        address: SocketAddr,
        tls: Option<Arc<Tls>>,
    ) -> Self {
        Self { inner, server: Some(server), address, tls }
    }

    /// The base URL, without a slash at the end.
    pub fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The token that nodes register with.
    pub fn bootstrap_token(&self) -> &str {
        &self.inner.settings.bootstrap_token
    }

    /// The public key that signs events now, in base64.
    pub fn signing_public_key(&self) -> String {
        self.inner.state().keys.current.public_key()
    }

    /// The authority's certificate as PEM; `None` without TLS.
    pub fn ca_pem(&self) -> Option<&str> {
        self.tls.as_deref().map(|tls| tls.ca_pem.as_str())
    }
}

/// The world: nodes, and what the owner of the control plane does.
impl MockControlPlane {
    /// Registers a node without a request; the others hear of it as usual.
    pub fn add_node(&self, hostname: &str) -> NodeView {
        let public_key = {
            use base64::Engine;
            base64::engine::general_purpose::STANDARD.encode(crate::random_bytes::<32>())
        };
        let node_id = self.inner.state().register(
            hostname,
            &public_key,
            serde_json::Map::new(),
            self.inner.now(),
        );
        match self.node(&node_id) {
            Some(node) => node,
            None => panic!("{node_id} was deregistered at once"),
        }
    }

    /// Lets a node go without a request; its token is dead and the others hear of it.
    pub fn remove_node(&self, node_id: &str) {
        self.inner.state().deregister(node_id, self.inner.now());
    }

    /// The ids of all registered nodes.
    pub fn nodes(&self) -> Vec<String> {
        self.inner.state().nodes.keys().cloned().collect()
    }

    /// A registered node and what it has told.
    pub fn node(&self, node_id: &str) -> Option<NodeView> {
        let state = self.inner.state();
        let node = state.nodes.get(node_id)?;
        Some(NodeView {
            node_id: node_id.to_owned(),
            hostname: node.hostname.clone(),
            public_key: node.public_key.clone(),
            secret_key: node.secret_key.clone(),
            mesh_ip: node.mesh_ip.clone(),
            endpoint: node.endpoint.clone(),
            last_seq: node.log.last(),
            received: node.received.clone(),
        })
    }

    /// What the next heartbeats are answered: `reconcile` until the node fetches its state,
    /// `rotate_keys` until it rotates its keys.
    ///
    /// # Panics
    /// If there is no such node; so do all that take a node's id, unless they say otherwise.
    #[track_caller]
    pub fn set_heartbeat_flags(&self, node_id: &str, reconcile: bool, rotate_keys: bool) {
        self.with_node(node_id, |node| {
            node.reconcile = reconcile;
            node.rotate_keys = rotate_keys;
        });
    }

    /// Replaces a node's policies, a list, and publishes `policy_updated`.
    #[track_caller]
    pub fn set_policies(&self, node_id: &str, policies: &impl Serialize) -> PublishedEvent {
        let policies = to_value(policies);
        self.with_node(node_id, |node| node.policies = policies);
        self.publish(node_id, "policy_updated", &serde_json::json!({}))
    }

    /// Replaces a node's metadata (a map) and data (a list) and publishes `node_state_updated`.
    #[track_caller]
    pub fn set_data(
        &self,
        node_id: &str,
        metadata: &impl Serialize,
        data: &impl Serialize,
    ) -> PublishedEvent {
        let (metadata, data) = (to_value(metadata), to_value(data));
        let payload = serde_json::json!({ "metadata": metadata, "data": data });
        self.with_node(node_id, |node| {
            node.metadata = metadata.as_object().cloned().unwrap_or_default();
            node.data = data;
        });
        self.publish(node_id, "node_state_updated", &payload)
    }

    /// Sets a config block of a node's state (`"bridge_config"`, `"relay_config"`, `"user_access_config"`,
    /// `"ingress_config"`, `"site_to_site_config"`) and publishes its event, where it has one.
    ///
    /// # Panics
    /// If there is no block of that name.
    #[track_caller]
    pub fn set_config(
        &self,
        node_id: &str,
        block: &str,
        config: &impl Serialize,
    ) -> Option<PublishedEvent> {
        const BLOCKS: [&str; 5] = [
            "bridge_config",
            "relay_config",
            "user_access_config",
            "ingress_config",
            "site_to_site_config",
        ];
        let Some(block) = BLOCKS.into_iter().find(|known| *known == block) else {
            panic!("no config block {block:?}")
        };
        let config = to_value(config);
        self.with_node(node_id, |node| node.configs.insert(block, config));
        (block != "relay_config")
            .then(|| self.publish(node_id, &format!("{block}_updated"), &serde_json::json!({})))
    }

    /// Sets a secret of a node, one version up, and publishes `node_secrets_updated`.
    #[track_caller]
    pub fn set_secret(
        &self,
        node_id: &str,
        key: &str,
        plaintext: impl AsRef<[u8]>,
    ) -> PublishedEvent {
        let plaintext = plaintext.as_ref().to_vec();
        let secret_refs = self.with_node(node_id, |node| {
            let version = node.secrets.get(key).map_or(1, |secret| secret.version + 1);
            node.secrets.insert(key.to_owned(), Secret { plaintext, version });
            node.secret_refs()
        });
        self.publish(
            node_id,
            "node_secrets_updated",
            &serde_json::json!({ "secret_refs": secret_refs }),
        )
    }

    /// Asks a node to act: publishes `action_request` and returns the execution's id.
    ///
    /// `request` is the payload, an object with at least `action`; `execution_id` and `timeout` are
    /// filled in where they are missing.
    #[track_caller]
    pub fn request_action(&self, node_id: &str, request: &impl Serialize) -> String {
        let request = to_value(request);
        let execution_id = self.inner.state().request_action(node_id, request, self.inner.now());
        let Some(execution_id) = execution_id else {
            panic!("no node {node_id:?}, or the request is not an object")
        };
        execution_id
    }

    /// How an action went so far.
    pub fn execution(&self, execution_id: &str) -> Option<Execution> {
        self.inner.state().executions.get(execution_id).cloned()
    }

    /// Puts an artifact up for download.
    pub fn set_artifact(&self, version: &str, os: &str, arch: &str, content: impl Into<Bytes>) {
        let name = (version.to_owned(), os.to_owned(), arch.to_owned());
        self.inner.state().artifacts.insert(name, content.into());
    }

    #[track_caller]
    fn with_node<T>(&self, node_id: &str, act: impl FnOnce(&mut crate::state::Node) -> T) -> T {
        let mut state = self.inner.state();
        match state.nodes.get_mut(node_id) {
            Some(node) => act(node),
            None => {
                drop(state);
                panic!("there is no node {node_id:?}")
            }
        }
    }
}

/// Events.
impl MockControlPlane {
    /// Publishes an event of any type on a node's stream.
    #[track_caller]
    pub fn publish(
        &self,
        node_id: &str,
        event_type: &str,
        payload: &(impl Serialize + ?Sized),
    ) -> PublishedEvent {
        self.publish_event(node_id, Event::new(event_type, payload))
    }

    /// Publishes an event that need not be honest: forged, stale, with any id or nonce.
    #[track_caller]
    pub fn publish_event(&self, node_id: &str, event: Event) -> PublishedEvent {
        let published = self.inner.state().publish(node_id, event, self.inner.now());
        let Some(published) = published else { panic!("there is no node {node_id:?}") };
        published
    }

    /// Every event that was published, oldest first: the ground truth.
    pub fn published(&self) -> Vec<PublishedEvent> {
        self.inner.state().published.clone()
    }

    /// Forgets what was published so far; the replay stays.
    pub fn clear_published(&self) {
        self.inner.state().published.clear();
    }

    /// Takes a new signing key, trusted along with the old one for an hour; every node gets
    /// `signing_key_rotated` under the old key. Returns the new public key.
    pub fn rotate_signing_key(&self) -> String {
        self.rotate_signing_key_to(SigningKey::generate(), Duration::from_secs(3600))
    }

    /// Like [`rotate_signing_key`](Self::rotate_signing_key) with this key and this transition.
    pub fn rotate_signing_key_to(&self, key: SigningKey, transition: Duration) -> String {
        let public_key = key.public_key();
        self.inner.state().rotate_signing_key(key, transition, self.inner.now());
        public_key
    }

    /// While the event bus is down, `/events` answers 503 and the live streams end; `/state` works.
    pub fn set_bus_down(&self, down: bool) {
        self.inner.state().bus_down = down;
        if down {
            self.inner.streams().tell(None, &Command::Close(Close::End));
        }
    }

    /// How many event streams are open.
    pub fn open_streams(&self) -> usize {
        self.inner.streams().open(None)
    }

    /// How many event streams of one node are open.
    pub fn open_streams_of(&self, node_id: &str) -> usize {
        self.inner.streams().open(Some(node_id))
    }

    /// Closes a node's live streams; returns how many.
    pub fn cut_streams(&self, node_id: &str, close: Close) -> usize {
        self.inner.streams().tell(Some(node_id), &Command::Close(close))
    }

    /// Closes each of a node's streams, now and later, after this many events; `None` ends that.
    #[track_caller]
    pub fn cut_every(&self, node_id: &str, rule: Option<(u64, Close)>) {
        self.with_node(node_id, |node| {
            node.cut_rule = rule.map(|(events, close)| CutRule { events, close })
        });
    }

    /// Keeps a node's live streams silent, not even a keep-alive, or lets them go on; returns how many.
    pub fn stall_streams(&self, node_id: &str, stalled: bool) -> usize {
        self.inner.streams().tell(Some(node_id), &Command::Stall(stalled))
    }

    /// Writes these bytes into a node's live streams, between two frames; returns into how many.
    pub fn inject(&self, node_id: &str, bytes: impl Into<Bytes>) -> usize {
        self.inner.streams().tell(Some(node_id), &Command::Inject(bytes.into()))
    }

    /// The next event stream is exactly these bytes, one write a chunk, then `then`.
    pub fn stream_raw(&self, chunks: impl IntoIterator<Item = impl Into<Bytes>>, then: Then) {
        self.script("connect_sse", Answer::stream(chunks, then));
    }
}

/// Scripts and faults. A route is named by its operation (`"heartbeat"`), by a path (`"/v1/other"`), or `"*"` for all.
impl MockControlPlane {
    /// Lays out the next answer for a route; several are used in order.
    ///
    /// # Panics
    /// If no operation has that name; so do all that take a route.
    #[track_caller]
    pub fn script(&self, route: &str, answer: Answer) {
        self.inner.script().once(Rule::new(route, None, Arc::new(move |_| answer.clone())));
    }

    /// Lays out the next answer for a route when one node asks.
    #[track_caller]
    pub fn script_for(&self, node_id: &str, route: &str, answer: Answer) {
        self.inner.script().once(Rule::new(
            route,
            Some(node_id),
            Arc::new(move |_| answer.clone()),
        ));
    }

    /// Answers a route like this until [`clear_script`](Self::clear_script); answers laid out for once go first.
    #[track_caller]
    pub fn script_always(&self, route: &str, answer: Answer) {
        self.inner.script().always(Rule::new(route, None, Arc::new(move |_| answer.clone())));
    }

    /// Answers a route by a function until [`clear_script`](Self::clear_script); its panic fails the test.
    #[track_caller]
    pub fn script_fn(
        &self,
        route: &str,
        answer: impl Fn(&RecordedRequest) -> Answer + Send + Sync + 'static,
    ) {
        self.inner.script().always(Rule::new(route, None, Arc::new(answer)));
    }

    /// Forgets all that was laid out for a route; `"*"` forgets everything.
    #[track_caller]
    pub fn clear_script(&self, route: &str) {
        assert_known(route);
        self.inner.script().clear(route);
    }

    /// How many answers that were laid out for once have not been used.
    pub fn unused_answers(&self) -> usize {
        self.inner.script().unused()
    }

    /// Resets the next connections right after they are accepted; `usize::MAX` for all to come, 0 ends it.
    pub fn refuse_connections(&self, connections: usize) {
        self.inner.refuse(connections);
    }

    /// Closes the port (connections are refused by the system) and every connection; the state stays.
    pub async fn close_port(&self) {
        self.inner.listen(false);
        self.inner.port_closed().await;
        self.drop_connections(false);
    }

    /// Opens the port again, the same one.
    pub fn open_port(&self) {
        self.inner.listen(true);
    }

    /// Closes every connection, with a TCP RST or without.
    pub fn drop_connections(&self, reset: bool) {
        for link in self.inner.links().iter() {
            if reset { link.reset() } else { link.close() }
        }
    }

    /// Sets the server's clock ahead of the machine's, or behind if negative: `Date` and `issued_at`.
    pub fn set_clock_offset(&self, offset: SignedDuration) {
        self.inner.clock.set_offset(offset);
    }

    /// Errors as plain text, like older servers, or as problem details.
    pub fn set_plain_text_errors(&self, plain: bool) {
        self.inner.plain_text_errors.store(plain, Ordering::Relaxed);
    }
}

/// The record.
impl MockControlPlane {
    /// The requests that arrived, oldest first; the latest 10,000 unless set otherwise.
    pub fn requests(&self) -> Vec<RecordedRequest> {
        self.inner.record().all()
    }

    /// The requests for one route.
    #[track_caller]
    pub fn requests_for(&self, route: &str) -> Vec<RecordedRequest> {
        assert_known(route);
        self.inner.record().of(route)
    }

    /// How many requests arrived for one route, even those no longer kept.
    #[track_caller]
    pub fn count(&self, route: &str) -> u64 {
        assert_known(route);
        self.inner.record().count(route)
    }

    /// Forgets the requests so far.
    pub fn clear_requests(&self) {
        self.inner.record().clear();
    }

    /// How many connections were accepted, refused ones included.
    pub fn connections(&self) -> u64 {
        self.inner.accepted()
    }

    /// How many connections are open.
    pub fn open_connections(&self) -> usize {
        self.inner.links().len()
    }

    /// The server's own panics, and those of scripted functions.
    pub fn failures(&self) -> Vec<String> {
        self.inner.failures().clone()
    }

    /// Takes the panics away, for a test that expects them.
    pub fn take_failures(&self) -> Vec<String> {
        std::mem::take(&mut *self.inner.failures())
    }

    /// Waits until `enough` holds; false if it does not within `limit`.
    ///
    /// It looks again whenever something happens at the server. The limit is real time, even where
    /// the test's own clock is paused.
    ///
    /// # Cancel safety
    /// Dropping the future has no effect.
    pub async fn wait_until(&self, limit: Duration, mut enough: impl FnMut(&Self) -> bool) -> bool {
        let mut changes = self.inner.changes();
        let mut deadline = self.alarm(limit);
        loop {
            changes.mark_unchanged();
            if enough(self) {
                return true;
            }
            tokio::select! {
                _ = changes.changed() => {}
                _ = &mut deadline => return enough(self),
            }
        }
    }

    /// Waits for `count` requests for a route and returns all of them.
    ///
    /// # Panics
    /// If they do not arrive within `limit`.
    ///
    /// # Cancel safety
    /// Dropping the future has no effect.
    pub async fn wait_for_requests(
        &self,
        route: &str,
        count: usize,
        limit: Duration,
    ) -> Vec<RecordedRequest> {
        let arrived = self.wait_until(limit, |mock| mock.requests_for(route).len() >= count).await;
        let requests = self.requests_for(route);
        assert!(arrived, "{} of {count} requests for {route} within {limit:?}", requests.len());
        requests
    }

    /// Waits until a node has exactly `count` open event streams.
    ///
    /// # Panics
    /// If it does not within `limit`.
    ///
    /// # Cancel safety
    /// Dropping the future has no effect.
    pub async fn wait_for_streams(&self, node_id: &str, count: usize, limit: Duration) {
        let arrived = self.wait_until(limit, |mock| mock.open_streams_of(node_id) == count).await;
        let open = self.open_streams_of(node_id);
        assert!(arrived, "{open} open streams of {node_id} instead of {count} after {limit:?}");
    }

    /// Fires after real time, on the server's own runtime.
    fn alarm(&self, limit: Duration) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        if let Some(server) = &self.server {
            server.handle.spawn(async move {
                tokio::time::sleep(limit).await;
                // Nobody waits any more: fine.
                let _ = sender.send(());
            });
        }
        receiver
    }
}

#[track_caller]
fn to_value(value: &impl Serialize) -> Value {
    match serde_json::to_value(value) {
        Ok(value) => value,
        Err(error) => panic!("not JSON: {error}"),
    }
}

impl fmt::Debug for MockControlPlane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MockControlPlane").field("url", &self.url()).finish_non_exhaustive()
    }
}

impl Drop for MockControlPlane {
    fn drop(&mut self) {
        drop(self.server.take());
        let failures = self.take_failures();
        if !failures.is_empty() && !std::thread::panicking() {
            panic!("the mock control plane failed: {}", failures.join("; "));
        }
    }
}
