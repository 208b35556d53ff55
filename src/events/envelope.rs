//! Stage 2: the data of an event becomes an envelope.

mod parse;

use std::fmt;

use schemars::JsonSchema;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize};

pub use parse::EnvelopeError;

use super::EventType;
use crate::values::{DecodeError, RawJson, Timestamp, decode_text};

/// An event as the control plane signed it.
///
/// Of its fields only `event_type` and `event_id` are needed to read it; whether the
/// others are there, and true, is for an [`EventVerifier`](super::EventVerifier) to say.
///
/// `Debug` shows the length of the payload, never its bytes.
///
/// ```
/// use plexsphere_client::events::{EventType, SignedEnvelope};
///
/// let envelope = SignedEnvelope::parse(
///     r#"{"event_type":"peer_removed","event_id":"evt-7","payload":{"peer_id":"peer-17"}}"#,
/// )?;
/// assert_eq!(envelope.event_type, EventType::PeerRemoved);
/// assert_eq!(envelope.payload.get(), r#"{"peer_id":"peer-17"}"#);
/// # Ok::<(), plexsphere_client::events::EnvelopeError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[non_exhaustive]
pub struct SignedEnvelope {
    /// What the event tells.
    pub event_type: EventType,
    /// The event's own id, the same each time that it is sent.
    pub event_id: String,
    /// When it was signed. `None` when the field is missing, `null` or empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issued_at: Option<Timestamp>,
    /// A value that the control plane uses once. Empty when it is missing.
    #[schemars(default)]
    pub nonce: String,
    /// What the event holds, byte for byte as it was sent. `null` when it is missing.
    #[schemars(default)]
    pub payload: RawJson,
    /// The Ed25519 signature in base64. Empty when it is missing.
    #[schemars(default)]
    pub signature: String,
}

impl SignedEnvelope {
    /// An envelope without time, nonce and signature, to try a handler with.
    pub fn new(
        event_type: impl Into<EventType>,
        event_id: impl Into<String>,
        payload: RawJson,
    ) -> Self {
        Self {
            event_type: event_type.into(),
            event_id: event_id.into(),
            issued_at: None,
            nonce: String::new(),
            payload,
            signature: String::new(),
        }
    }

    /// Reads the data of an event.
    ///
    /// Unknown fields are ignored. Text that two readers could understand in two ways
    /// is refused: a known field that is given twice, or a name that differs from a
    /// known one only by its case (a Go program takes the two for the same).
    ///
    /// # Errors
    /// When the data is not one JSON object, nests deeper than 10,000 levels, lacks
    /// `event_type` or `event_id`, or has a known field of a wrong type. The error
    /// names the field or the place, and never quotes a value.
    pub fn parse(data: impl AsRef<[u8]>) -> Result<Self, EnvelopeError> {
        let text = std::str::from_utf8(data.as_ref()).map_err(|_| EnvelopeError::NotUtf8)?;
        Self::parse_text(text)
    }

    /// As [`parse`](Self::parse), of data that is known to be UTF-8.
    pub(crate) fn parse_text(text: &str) -> Result<Self, EnvelopeError> {
        parse::envelope(text)
    }

    /// Decodes the payload into a type of your own.
    ///
    /// # Errors
    /// When the payload does not fit the type. The error gives the path, the line and
    /// what was expected, and never quotes a value.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, DecodeError> {
        decode_text(self.payload.get())
    }

    /// The bytes that the signature covers: the five other fields in canonical form.
    ///
    /// Whoever writes a verifier of their own checks [`signature`](Self::signature)
    /// against these.
    pub fn signed_bytes(&self) -> Vec<u8> {
        super::canonical::signed_bytes(self)
    }
}

impl fmt::Debug for SignedEnvelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignedEnvelope")
            .field("event_type", &self.event_type.as_str())
            .field("event_id", &self.event_id)
            .field("issued_at", &self.issued_at)
            .field("nonce", &self.nonce)
            .field("payload", &self.payload)
            .field("signature", &self.signature)
            .finish()
    }
}

impl<'de> Deserialize<'de> for SignedEnvelope {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = RawJson::deserialize(deserializer)?;
        Self::parse_text(text.get()).map_err(D::Error::custom)
    }
}
