//! What the parser yields.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// One thing that an event stream said.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SseItem {
    /// A complete event.
    Event(SseEvent),
    /// A comment line: what stands behind its colon and one space. Only
    /// [when asked for](super::SseParser::with_comments), and only if it fits the event limit.
    Comment(String),
    /// A `retry:` line: the server wants this wait before a reconnect.
    ///
    /// It is in force when it arrives, and stands alone: no event needs to follow. A number of
    /// milliseconds that is too large for a `u64` is the largest. The value is the server's;
    /// clamp it before use.
    Retry(Duration),
    /// A block that was larger than the event limit has been skipped. Reported at its end.
    ///
    /// Its id became the parser's last event id, but its data was never seen: think
    /// twice before resuming behind it.
    Oversized {
        /// The type, if a line that fitted gave one.
        event: Option<String>,
        /// The id, if a line of this block that fitted gave one.
        id: Option<Arc<str>>,
    },
}

impl SseItem {
    /// The event, if it is one.
    pub fn into_event(self) -> Option<SseEvent> {
        match self {
            Self::Event(event) => Some(event),
            _ => None,
        }
    }
}

/// One event of an event stream.
///
/// Its `Debug` form shows how long the data is, never the data itself.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SseEvent {
    /// The type of the event: its last `event:` line, or `message` if it has none or an empty one.
    pub event: Cow<'static, str>,
    /// The `data:` lines, joined with LF.
    pub data: String,
    /// The id that stands in this very block. `Some("")` resets the last event id; `None` leaves
    /// it as it was.
    pub id: Option<Arc<str>>,
    /// The last event id of the stream after this event, inherited or not. Empty if there is none.
    pub last_event_id: Arc<str>,
}

impl fmt::Debug for SseEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SseEvent")
            .field("event", &self.event)
            .field("data", &format_args!("<{} bytes>", self.data.len()))
            .field("id", &self.id)
            .field("last_event_id", &self.last_event_id)
            .finish()
    }
}

/// For code written against the crate `eventsource-stream`. Its `id` is our `last_event_id`; its
/// `retry` stays empty, because a `retry:` line is an [`SseItem`] of its own.
#[cfg(feature = "eventsource-stream")]
impl From<SseEvent> for eventsource_stream::Event {
    fn from(event: SseEvent) -> Self {
        Self {
            event: event.event.into_owned(),
            data: event.data,
            id: event.last_event_id.as_ref().to_owned(),
            retry: None,
        }
    }
}
