//! The event layer, from bytes to handlers.
// A test that cannot go on says so by panicking.
#![allow(clippy::unwrap_used)]

mod auth;
mod cancelled;
mod chunks;
mod cursor;
mod delivery;
mod faults;
mod keys;
mod lifecycle;
mod parser;
mod patience;
#[path = "../shared/polled.rs"]
mod polled;
mod reconcile;
mod reconnecting;
mod shutdowns;
mod signatures;
mod skipped;
mod status;
mod support;
