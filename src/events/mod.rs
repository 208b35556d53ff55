//! Bytes to events to envelopes to verified to dispatched.
