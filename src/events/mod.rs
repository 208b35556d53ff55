//! Bytes to events to envelopes to verified to dispatched.

mod canonical;
mod envelope;
mod event_type;
mod verifier;

pub use envelope::{EnvelopeError, PayloadError, SignedEnvelope};
pub use event_type::EventType;
pub use verifier::{
    DEFAULT_NONCE_CAPACITY, DEFAULT_TIME_WINDOW, Ed25519Verifier, EventVerifier, KeyError,
    NoOpVerifier, NonceSnapshot, SigningKeyUpdate, Verdict, Verified, VerifyError,
};
mod parser;

pub use parser::{DEFAULT_EVENT_LIMIT, SseEvent, SseItem, SseItems, SseParser};
