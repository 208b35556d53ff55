//! A Plexsphere control plane in a box, for tests and examples.
//!
//! A real HTTP server with real state: nodes register and see each other, fetch state and
//! secrets, send telemetry, and get signed events on a stream that replays. It checks what it is
//! sent and answers as the contract says. A test can script any answer and any fault, break
//! streams in every way, and read the record of all that arrived.
//!
//! ```
//! use std::time::Duration;
//! use plexsphere_mock::{Answer, Close, MockControlPlane};
//!
//! # async fn run() -> std::io::Result<()> {
//! let mock = MockControlPlane::start().await?;
//! let node = mock.add_node("web-1");
//!
//! // The next heartbeat fails, the one after it is answered and torn in the middle.
//! mock.script("heartbeat", Answer::status(503).retry_after_secs(2));
//! mock.script("heartbeat", Answer::real().cut_after(5));
//!
//! // The node's streams are cut in mid-frame after every third event.
//! mock.cut_every(&node.node_id, Some((3, Close::MidFrame)));
//! let published = mock.publish(&node.node_id, "policy_updated", &serde_json::json!({}));
//! assert_eq!(published.seq, 1);
//! # Ok(())
//! # }
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(run()).unwrap();
//! ```
//!
//! It knows nothing of any client: its tables are a reading of the contract of its own.

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}

mod answer;
mod body;
mod builder;
mod check;
mod clock;
mod event;
mod handlers;
mod mock;
mod problem;
mod record;
mod routes;
mod schema;
mod script;
mod server;
mod service;
mod sign;
mod state;
mod stream;
mod tls;
mod wire;

pub use answer::{Answer, Then};
pub use builder::{
    Builder, DEFAULT_BACKLOG, DEFAULT_BODY_LIMIT, DEFAULT_BOOTSTRAP_TOKEN, DEFAULT_KEEP_ALIVE,
    DEFAULT_RECORD_LIMIT, EmptyLists,
};
pub use event::{Event, PublishedEvent};
pub use mock::{MockControlPlane, NodeView, Served};
pub use record::RecordedRequest;
pub use routes::{Answers, EVENTS, EventType, ROUTES, Route, contract_as_json};
pub use schema::{Field, Kind, SCHEMAS, Schema};
pub use sign::{SigningKey, canonical};
pub use state::{Execution, Received, Tunnel};
pub use stream::Close;

/// Bytes that nobody can guess.
fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    let filled = aws_lc_rs::rand::fill(&mut bytes);
    assert!(filled.is_ok(), "the system gives no random bytes");
    bytes
}
