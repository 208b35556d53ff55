//! Bytes to events to envelopes to verified to dispatched.

mod canonical;
mod cursor;
mod dispatcher;
mod envelope;
mod event_type;
mod parser;
mod stream;
mod typed;
mod verifier;

pub(crate) use cursor::Cursor;
pub use cursor::{Checkpoint, CursorStore, DEFAULT_HANDLED_WINDOW, FileCursorStore};
pub use dispatcher::{DispatchReport, EventDispatcher, Handler};
pub(crate) use dispatcher::{boxed, run_guarded};
pub use envelope::{EnvelopeError, SignedEnvelope};
pub use event_type::EventType;
pub use parser::{DEFAULT_EVENT_LIMIT, SseEvent, SseItem, SseItems, SseParser};
pub use stream::{SseStream, StreamItem};
pub use typed::{Event, EventKind, kind};
pub use verifier::{
    DEFAULT_NONCE_CAPACITY, DEFAULT_TIME_WINDOW, Ed25519Verifier, EventVerifier, KeyError,
    NoOpVerifier, NonceSnapshot, Verdict, Verified, VerifyError,
};
