//! The client against a server that means harm: every call, and the event stream.
//!
//! Each group is a table of rows. A row says what the server sends, byte for byte, and what
//! each call must make of it; after each the same call has to work against an honest server.
//! `cargo test --test hostile -- --nocapture` prints how many cases there were. What they
//! cost in memory is measured by `tests/hostile_memory.rs`.

// A test that cannot go on says so by panicking.
#![allow(clippy::unwrap_used)]

mod answers;
mod bodies;
#[allow(dead_code)]
#[path = "../contract/calls.rs"]
mod calls;
mod connections;
mod headers;
mod http2;
mod json;
mod logs;
mod redirects;
#[allow(dead_code)]
#[path = "../contract/requests.rs"]
mod requests;
mod rows;
mod server;
mod stream;
#[allow(dead_code)]
#[path = "../stream/support.rs"]
mod support;
