//! When to connect, wait, poll or stop.
//!
//! This module decides and never acts. It has no socket, no timer and no randomness of its own: facts, the time and a
//! random number go in, and a decision comes out. So tables and virtual time test it, and a million of them run in one loop.
//!
//! ```text
//! what the server said ──▶ classify ──▶ FailureAction ─┐
//!                                                      ▼
//!         opened, ended, poll done, new token … ──▶ ReconnectEngine ──▶ Command
//!                                                      ▲
//!                   ReconnectSettings, backoff ────────┘
//! ```
//!
//! - [`classify()`] turns the facts of a failed attempt into a [`FailureAction`]: a table.
//! - [`backoff`] computes how long to wait: arithmetic.
//! - [`ReconnectEngine`] turns what happened into a [`Command`]: a state machine, whose page has the diagram.

pub mod backoff;
mod classify;
mod engine;
mod settings;

pub use classify::{Failure, FailureAction, classify};
pub use engine::{Command, Input, ReconnectEngine, State, StopReason};
pub use settings::{
    DEFAULT_BASE_INTERVAL, DEFAULT_MAX_INTERVAL, DEFAULT_POLL_INTERVAL, DEFAULT_POLLING_AFTER,
    DEFAULT_RECONNECT_SPREAD, DEFAULT_SLOW_INTERVAL, DEFAULT_SLOW_MAX_INTERVAL, FailurePolicy,
    HEALTHY_AFTER, MIN_INTERVAL, NETWORK_CHANGE_GAP, ReconnectSettings, SILENCES_BEFORE_POLLING,
};
