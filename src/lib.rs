//! Client library for the Plexsphere control plane.

mod artifact;
mod client;
mod config;
mod endpoints;
mod error;
mod sealed;
mod transport;

pub mod events;
pub mod reconnect;
pub mod values;

pub use artifact::Artifact;
pub use client::ControlPlane;
pub use config::{
    Config, DEFAULT_CONNECT_TIMEOUT, DEFAULT_EVENT_LIMIT, DEFAULT_HEADER_TIMEOUT,
    DEFAULT_REQUEST_TIMEOUT, DEFAULT_RESPONSE_LIMIT, DEFAULT_SSE_IDLE_TIMEOUT, MAX_DURATION, Proxy,
};
pub use endpoints::{AuditBatch, LogBatch, MetricBatch};
pub use error::{BoxError, Error, ErrorKind, Problem};
pub use transport::generated::types;
pub use transport::stream::{BodyStream, SseResponse};
