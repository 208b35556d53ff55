//! Publishing events, and breaking the streams that carry them.

use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;

use super::MockControlPlane;
use crate::answer::{Answer, Then};
use crate::event::{Event, PublishedEvent};
use crate::sign::SigningKey;
use crate::stream::{Close, Command, CutRule};

/// Events.
impl MockControlPlane {
    /// Publishes an event of any type on a node's stream.
    #[track_caller]
    pub fn publish(
        &self,
        node_id: &str,
        event_type: &str,
        payload: &(impl Serialize + ?Sized),
    ) -> PublishedEvent {
        self.publish_event(node_id, Event::new(event_type, payload))
    }

    /// Publishes an event that need not be honest: forged, stale, with any id or nonce.
    #[track_caller]
    pub fn publish_event(&self, node_id: &str, event: Event) -> PublishedEvent {
        let published = self.inner.state().publish(node_id, event, self.inner.now());
        let Some(published) = published else { panic!("there is no node {node_id:?}") };
        published
    }

    /// Every event that was published, oldest first: the ground truth.
    pub fn published(&self) -> Vec<PublishedEvent> {
        self.inner.state().published.clone()
    }

    /// What was published on one node's stream, oldest first.
    pub fn published_for(&self, node_id: &str) -> Vec<PublishedEvent> {
        let state = self.inner.state();
        state.published.iter().filter(|event| event.node_id == node_id).cloned().collect()
    }

    /// Forgets what was published so far; the replay stays.
    pub fn clear_published(&self) {
        self.inner.state().published.clear();
    }

    /// Takes a new signing key, trusted along with the old one for an hour; every node gets
    /// `signing_key_rotated` under the old key. Returns the new public key.
    pub fn rotate_signing_key(&self) -> String {
        self.rotate_signing_key_to(SigningKey::generate(), Duration::from_secs(3600))
    }

    /// Like [`rotate_signing_key`](Self::rotate_signing_key) with this key and this transition.
    pub fn rotate_signing_key_to(&self, key: SigningKey, transition: Duration) -> String {
        let public_key = key.public_key();
        self.inner.state().rotate_signing_key(key, transition, self.inner.now());
        public_key
    }

    /// While the event bus is down, `/events` answers 503 and the live streams end; `/state` works.
    pub fn set_bus_down(&self, down: bool) {
        self.inner.state().bus_down = down;
        if down {
            self.inner.streams().tell(None, &Command::Close(Close::End));
        }
    }

    /// How many event streams are open.
    pub fn open_streams(&self) -> usize {
        self.inner.streams().open(None)
    }

    /// How many event streams of one node are open.
    pub fn open_streams_of(&self, node_id: &str) -> usize {
        self.inner.streams().open(Some(node_id))
    }

    /// Closes a node's live streams; returns how many.
    pub fn cut_streams(&self, node_id: &str, close: Close) -> usize {
        self.inner.streams().tell(Some(node_id), &Command::Close(close))
    }

    /// Closes each of a node's streams, now and later, after this many events; `None` ends that.
    #[track_caller]
    pub fn cut_every(&self, node_id: &str, rule: Option<(u64, Close)>) {
        self.with_node(node_id, |node| {
            node.cut_rule = rule.map(|(events, close)| CutRule { events, close })
        });
    }

    /// Keeps a node's live streams silent, not even a keep-alive, or lets them go on; returns how many.
    pub fn stall_streams(&self, node_id: &str, stalled: bool) -> usize {
        self.inner.streams().tell(Some(node_id), &Command::Stall(stalled))
    }

    /// Writes these bytes into a node's live streams, between two frames; returns into how many.
    pub fn inject(&self, node_id: &str, bytes: impl Into<Bytes>) -> usize {
        self.inner.streams().tell(Some(node_id), &Command::Inject(bytes.into()))
    }

    /// The next event stream is exactly these bytes, one write a chunk, then `then`.
    pub fn stream_raw(&self, chunks: impl IntoIterator<Item = impl Into<Bytes>>, then: Then) {
        self.script("connect_sse", Answer::stream(chunks, then));
    }
}
