//! The handle on a running server: what a test asks of it and tells it.

mod events;
mod faults;
mod watch;
mod world;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::answer::Answer;
use crate::builder::Builder;
use crate::record::RecordedRequest;
use crate::server::{Inner, Server};
use crate::tls::Tls;

pub use world::NodeView;

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
