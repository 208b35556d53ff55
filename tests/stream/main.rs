//! The event layer, from bytes to handlers.

mod auth;
mod cursor;
mod delivery;
mod faults;
mod keys;
mod lifecycle;
mod parser;
mod patience;
mod reconcile;
mod reconnecting;
mod signatures;
mod skipped;
mod status;
mod support;
