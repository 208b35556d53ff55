//! Client library for the Plexsphere control plane: one typed call for each endpoint,
//! and a verified event stream that says what it skips.
//!
//! ```
//! use plexsphere_client::events::{Ed25519Verifier, kind};
//! use plexsphere_client::{BoxError, Config, ControlPlane, SseManager, types};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), BoxError> {
//! # let mock = plexsphere_mock::MockControlPlane::start().await?;
//! # let (url, bootstrap_token) = (mock.url(), mock.bootstrap_token());
//! let control_plane = ControlPlane::new(Config::new(url)?, "1.4.2")?;
//! control_plane.set_auth_token(bootstrap_token)?;
//! let node = control_plane
//!     .register(&types::RegisterRequest {
//!         token: bootstrap_token.into(),
//!         public_key: "5u4wRwoVVBYtwBv3eDFi0nEVAPjPoPyfZE0TTgEEmGA=".into(),
//!         hostname: "node-1".into(),
//!         metadata: Default::default(),
//!         capabilities: None,
//!     })
//!     .await?;
//! control_plane.set_auth_token(node.node_secret_key)?;
//!
//! let manager =
//!     SseManager::new(control_plane, Ed25519Verifier::new(&node.signing_public_key)?);
//! manager.on::<kind::PeerAdded>(|event| async move {
//!     println!("{} joined at {}", event.payload.id, event.payload.mesh_ip);
//!     Ok(())
//! });
//! # let stopper = manager.clone();
//! manager.on_state(move |state| {
//!     println!("the mesh has {} peers", state.peers.len());
//! #   stopper.shutdown();
//!     async { Ok(()) }
//! });
//! manager.start(&node.node_id).await?;
//! # Ok(())
//! # }
//! ```
//!
//! In reading order:
//!
//! - [`Config`]: how to reach the control plane.
//! - [`ControlPlane`]: the calls. [`types`]: what they take and give, generated from
//!   the contract. [`values`]: the handwritten types in them.
//! - [`Error`]: the one error, with its [`ErrorKind`].
//! - [`SseManager`]: keeps the event stream open. [`events`]: its stages, each usable
//!   alone. [`reconnect`]: what decides when to connect. [`Status`]: how it is.
//!
//! It needs a tokio runtime with its I/O and time drivers, and a thread of its pool
//! for blocking work when a cursor store is set.
//!
//! # Logs
//!
//! Through [`tracing`], never with a token, a key, a payload or a body:
//!
//! - spans `request` (debug; `operation`, `method`, `status`) and `connection` (info;
//!   `node_id`, `attempt`), one for each;
//! - `event stream` (info; `from`, `to`) at each change of the manager's [`Mode`];
//! - `event skipped` (warn, at most one a second; `reason`, `event_type`, `event_id`, and
//!   `unlogged`: how many came since the last such line), `event handler failed`
//!   and `event handler panicked` (`event_type`, `event_id`).

mod artifact;
mod client;
mod config;
mod endpoints;
mod error;
mod manager;
mod sealed;
mod status;
mod transport;

pub mod events;
pub mod reconnect;
pub mod values;

pub use artifact::{
    Artifact, ArtifactDownload, DEFAULT_ARTIFACT_ATTEMPTS, DEFAULT_ARTIFACT_LIMIT,
    DEFAULT_ARTIFACT_MODE, Progress,
};
pub use client::ControlPlane;
pub use config::{
    Config, DEFAULT_CONNECT_TIMEOUT, DEFAULT_EVENT_LIMIT, DEFAULT_HEADER_TIMEOUT,
    DEFAULT_REQUEST_TIMEOUT, DEFAULT_RESPONSE_LIMIT, DEFAULT_SSE_IDLE_TIMEOUT, MAX_DURATION, Proxy,
};
pub use endpoints::{AuditBatch, LogBatch, MetricBatch};
pub use error::{BoxError, Error, ErrorKind, Problem};
pub use manager::{
    CALLBACK_TIME_LIMIT, DEFAULT_SAVE_INTERVAL, DEFAULT_SHUTDOWN_GRACE, Deliveries, Delivery,
    SkipReason, Skipped, SseManager,
};
pub use status::{ClockSkew, Counters, Mode, Status};
pub use transport::generated::types;
pub use transport::stream::{BodyStream, SseResponse};

/// The examples of the README, compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
