//! What `build.rs` makes of `openapi/plexsphere.yaml`; only `types` leaves the crate.

#![allow(dead_code, unreachable_patterns, clippy::all, clippy::restriction)]

include!(concat!(env!("OUT_DIR"), "/api.rs"));
