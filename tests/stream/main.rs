//! The event layer, from bytes to handlers.

mod parser;
mod signatures;
