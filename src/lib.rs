//! Client library for the Plexsphere control plane.

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

pub use artifact::Artifact;
pub use client::ControlPlane;
pub use config::{
    Config, DEFAULT_CONNECT_TIMEOUT, DEFAULT_EVENT_LIMIT, DEFAULT_HEADER_TIMEOUT,
    DEFAULT_REQUEST_TIMEOUT, DEFAULT_RESPONSE_LIMIT, DEFAULT_SSE_IDLE_TIMEOUT, MAX_DURATION, Proxy,
};
pub use endpoints::{AuditBatch, LogBatch, MetricBatch};
pub use error::{BoxError, Error, ErrorKind, Problem};
pub use manager::{
    DEFAULT_SAVE_INTERVAL, DEFAULT_SHUTDOWN_GRACE, Deliveries, Delivery, SkipReason, Skipped,
    SseManager,
};
pub use status::{ClockSkew, Counters, Mode, Status};
pub use transport::generated::types;
pub use transport::stream::{BodyStream, SseResponse};
