//! Bytes to events to envelopes to verified to dispatched.

mod event_type;

pub use event_type::EventType;
