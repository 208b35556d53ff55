//! Bytes to events to envelopes to verified to dispatched.

mod parser;

pub use parser::{DEFAULT_EVENT_LIMIT, SseEvent, SseItem, SseItems, SseParser};
