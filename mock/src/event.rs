//! Events: what a test wants published, and what went out.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use tokio::sync::watch;

use crate::clock::rfc3339;
use crate::sign::{SigningKey, canonical, with_signature};

/// An event to publish; all that is not set is as a healthy server makes it.
///
/// ```
/// use std::time::Duration;
/// use plexsphere_mock::Event;
///
/// let honest = Event::new("peer_removed", &serde_json::json!({ "peer_id": "node-2" }));
/// let late = Event::new("policy_updated", &serde_json::json!({})).age(Duration::from_secs(600));
/// let forged = Event::new("policy_updated", &serde_json::json!({})).forged();
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct Event {
    event_type: String,
    payload: String,
    event_id: Option<String>,
    nonce: Option<String>,
    issued_at: Option<String>,
    age: Duration,
    signature: Signature,
    frame_id: Option<String>,
    frame_name: Option<String>,
}

#[derive(Debug, Clone)]
enum Signature {
    Honest,
    Forged,
    Raw(String),
}

impl Event {
    /// An event of this type; any name will do.
    ///
    /// # Panics
    /// If `payload` cannot be written as JSON.
    pub fn new(event_type: impl Into<String>, payload: &(impl Serialize + ?Sized)) -> Self {
        match serde_json::to_string(payload) {
            Ok(payload) => Self::raw(event_type, payload),
            Err(error) => panic!("not JSON: {error}"),
        }
    }

    /// An event whose payload is this JSON text, byte for byte but for the canonical form.
    pub fn raw(event_type: impl Into<String>, payload: impl Into<String>) -> Self {
        Self {
            event_type: event_type.into(),
            payload: payload.into(),
            event_id: None,
            nonce: None,
            issued_at: None,
            age: Duration::ZERO,
            signature: Signature::Honest,
            frame_id: None,
            frame_name: None,
        }
    }

    /// Sets the `event_id`. Default: `evt-` and a number.
    pub fn event_id(mut self, id: impl Into<String>) -> Self {
        self.event_id = Some(id.into());
        self
    }

    /// Sets the nonce. Default: 16 random bytes in hex.
    pub fn nonce(mut self, nonce: impl Into<String>) -> Self {
        self.nonce = Some(nonce.into());
        self
    }

    /// Sets `issued_at` as it stands. Default: the server's clock.
    pub fn issued_at(mut self, time: impl Into<String>) -> Self {
        self.issued_at = Some(time.into());
        self
    }

    /// Makes the event this old.
    pub fn age(mut self, age: Duration) -> Self {
        self.age = age;
        self
    }

    /// Signed with a key that nobody trusts.
    pub fn forged(mut self) -> Self {
        self.signature = Signature::Forged;
        self
    }

    /// Sets the signature as it stands; the empty text for none.
    pub fn signature(mut self, signature: impl Into<String>) -> Self {
        self.signature = Signature::Raw(signature.into());
        self
    }

    /// Sets the frame's `id:` line; its place in the replay stays. Default: the sequence number.
    pub fn frame_id(mut self, id: impl Into<String>) -> Self {
        self.frame_id = Some(id.into());
        self
    }

    /// Sets the frame's `event:` line. Default: the event's type.
    pub fn frame_name(mut self, name: impl Into<String>) -> Self {
        self.frame_name = Some(name.into());
        self
    }

    /// Signs the event and puts it in its frame.
    pub(crate) fn seal(
        self,
        node_id: &str,
        seq: u64,
        number: u64,
        now: Timestamp,
        key: &SigningKey,
    ) -> PublishedEvent {
        let event_id = self.event_id.unwrap_or_else(|| format!("evt-{number}"));
        let nonce = self.nonce.unwrap_or_else(|| hex(&crate::random_bytes::<16>()));
        let issued_at = self.issued_at.unwrap_or_else(|| {
            let age = SignedDuration::try_from(self.age).unwrap_or(SignedDuration::MAX);
            rfc3339(now.checked_sub(age).unwrap_or(Timestamp::MIN))
        });
        let signed = canonical(&self.event_type, &event_id, &issued_at, &nonce, &self.payload);
        let genuine = matches!(self.signature, Signature::Honest);
        let signature = match self.signature {
            Signature::Honest => key.sign(signed.as_bytes()),
            Signature::Forged => SigningKey::generate().sign(signed.as_bytes()),
            Signature::Raw(text) => text,
        };
        let envelope_json = with_signature(&signed, &signature);
        let id = self.frame_id.unwrap_or_else(|| seq.to_string());
        let name = self.frame_name.as_deref().unwrap_or(&self.event_type);
        let frame = Bytes::from(format!("id: {id}\nevent: {name}\ndata: {envelope_json}\n\n"));
        PublishedEvent {
            node_id: node_id.to_owned(),
            seq,
            event_id,
            event_type: self.event_type,
            nonce,
            envelope_json,
            genuine,
            frame,
        }
    }
}

/// An event that was published: the ground truth of what a client should see.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PublishedEvent {
    /// Whose stream it is on.
    pub node_id: String,
    /// Its place in that stream, from 1.
    pub seq: u64,
    /// The signed `event_id`.
    pub event_id: String,
    /// The signed `event_type`.
    pub event_type: String,
    /// The signed nonce.
    pub nonce: String,
    /// The `data` of the frame.
    pub envelope_json: String,
    /// Signed by the server's key; says nothing of its time or nonce.
    pub genuine: bool,
    /// The whole frame, as it stands on the stream.
    pub frame: Bytes,
}

/// The events of one node that can still be replayed.
#[derive(Debug)]
pub(crate) struct EventLog {
    frames: VecDeque<Bytes>,
    last: watch::Sender<u64>,
    backlog: usize,
}

impl EventLog {
    pub(crate) fn new(backlog: usize) -> Self {
        Self { frames: VecDeque::new(), last: watch::Sender::new(0), backlog }
    }

    pub(crate) fn last(&self) -> u64 {
        *self.last.borrow()
    }

    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.last.subscribe()
    }

    pub(crate) fn push(&mut self, frame: Bytes) {
        self.frames.push_back(frame);
        while self.frames.len() > self.backlog {
            self.frames.pop_front();
        }
        self.last.send_modify(|last| *last += 1);
    }

    /// Up to `most` frames after a sequence number; the first may be later if the backlog is short.
    pub(crate) fn after(&self, seq: u64, most: usize) -> Replay {
        let last = self.last();
        let oldest = last - self.frames.len() as u64 + 1;
        let first = oldest.max(seq.saturating_add(1));
        let skip = usize::try_from(first - oldest).unwrap_or(usize::MAX);
        let frames: Vec<Bytes> = self.frames.iter().skip(skip).take(most).cloned().collect();
        let upto = if frames.is_empty() { seq } else { first + frames.len() as u64 - 1 };
        Replay { frames, upto }
    }
}

/// Frames in order, and the sequence number of the last.
#[derive(Debug)]
pub(crate) struct Replay {
    pub(crate) frames: Vec<Bytes>,
    pub(crate) upto: u64,
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
