//! What each fuzz target checks, as functions over bytes that panic when something is wrong.
//!
//! The targets in `fuzz_targets/` call them under libFuzzer, and `tests/fuzz.rs` calls them on
//! the corpora and on random inputs, with any compiler.

// A check that cannot go on says so by panicking.
#![allow(clippy::unwrap_used)]

#[path = "../../tests/stream/parser/algorithm.rs"]
mod algorithm;
pub mod config;
pub mod envelope;
mod members;
pub mod parser;
pub mod problem;
pub mod retry_after;
mod slow;
pub mod stream;
