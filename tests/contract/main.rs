//! The client against the contract: every call over a real socket, recorded by the mock.
//!
//! `calls` is the table of all operations that the other modules loop over.

// A test that cannot go on says so by panicking.
#![allow(clippy::unwrap_used)]

mod calls;
mod cancelled;
mod connections;
mod decoding;
mod document;
mod download;
mod errors;
mod handshakes;
mod goaway;
mod limits;
#[path = "../shared/polled.rs"]
mod polled;
mod proxies;
mod reality;
mod redirects;
mod requests;
mod secret_debug;
mod secret_events;
mod secrets;
mod support;
mod timeouts;
mod tls;
mod tls_server;
mod tokens;
mod traces;
mod types;
mod wire;
