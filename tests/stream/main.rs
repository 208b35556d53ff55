//! The event layer, from bytes to handlers.
#![allow(clippy::unwrap_used)]

mod auth;
mod cursor;
mod delivery;
mod faults;
mod keys;
mod lifecycle;
mod parser;
mod reconcile;
mod reconnecting;
mod signatures;
mod skipped;
mod status;
mod support;
