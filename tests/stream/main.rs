//! The event layer, from bytes to verified events.

mod signatures;
