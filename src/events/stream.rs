//! Stages 1 to 3 over any byte stream: bytes in, verified events and all that was
//! not one out. Nothing is passed over in silence.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures::Stream;

use super::{EnvelopeError, EventVerifier, SignedEnvelope, SseEvent, SseItem, SseParser};
use super::{Verified, VerifyError};

/// One thing that an event stream brought.
#[derive(Debug)]
#[non_exhaustive]
pub enum StreamItem {
    /// Bytes arrived: the server is alive. What they say follows.
    Bytes(usize),
    /// An event that the verifier accepted.
    Event {
        /// The event.
        event: Verified,
        /// The id that stood in the event's own block.
        id: Option<Arc<str>>,
    },
    /// An event that the verifier refused.
    Refused {
        /// What it says of itself; nothing of it is to be believed.
        envelope: Arc<SignedEnvelope>,
        /// Why it was refused.
        error: VerifyError,
        /// The id that stood in the event's own block.
        id: Option<Arc<str>>,
    },
    /// A block whose data is not an envelope.
    Malformed(EnvelopeError),
    /// A block over the event limit, skipped to its end. Its type, as a hint.
    Oversized(Option<String>),
    /// The server asks for this wait before a reconnect (`retry:`).
    Retry(Duration),
}

/// Makes verified events of the bytes of one connection.
///
/// It reads from any [`Stream`] of bytes, passes its errors on, and ends with it.
/// A panic of the verifier goes through it; [`SseManager`](crate::SseManager) catches it.
///
/// # Cancel safety
/// Dropping a pending `next()` loses nothing.
///
/// # Backpressure
/// One chunk is read when the items of the one before have been taken.
pub struct SseStream<S> {
    source: S,
    parser: SseParser,
    chunk: Bytes,
    verifier: Arc<dyn EventVerifier>,
}

impl<S> SseStream<S> {
    /// Reads from `source` with this parser and verifier.
    pub fn new(source: S, parser: SseParser, verifier: Arc<dyn EventVerifier>) -> Self {
        Self { source, parser, chunk: Bytes::new(), verifier }
    }

    /// The next item of the bytes that are here already, if there is one in them.
    pub(crate) fn item_at_hand(&mut self) -> Option<StreamItem> {
        while !self.chunk.is_empty() {
            if let Some(item) = self.next_item() {
                return Some(item);
            }
        }
        None
    }

    fn next_item(&mut self) -> Option<StreamItem> {
        let mut rest = &self.chunk[..];
        let item = self.parser.next_item(&mut rest);
        let read = self.chunk.len() - rest.len();
        self.chunk.advance(read);
        Some(match item? {
            SseItem::Event(event) => self.judge(event),
            SseItem::Oversized { event, .. } => StreamItem::Oversized(event),
            SseItem::Retry(wait) => StreamItem::Retry(wait),
            SseItem::Comment(_) => return None,
        })
    }

    fn judge(&self, event: SseEvent) -> StreamItem {
        let envelope = match SignedEnvelope::parse_text(&event.data) {
            Ok(envelope) => Arc::new(envelope),
            Err(error) => return StreamItem::Malformed(error),
        };
        match Verified::check(&*self.verifier, &envelope) {
            Ok(verified) => StreamItem::Event { event: verified, id: event.id },
            Err(error) => StreamItem::Refused { envelope, error, id: event.id },
        }
    }
}

impl<S, E> Stream for SseStream<S>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
{
    type Item = Result<StreamItem, E>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if let Some(item) = this.item_at_hand() {
            return Poll::Ready(Some(Ok(item)));
        }
        Poll::Ready(match ready!(Pin::new(&mut this.source).poll_next(cx)) {
            Some(Ok(chunk)) => {
                this.chunk = chunk;
                Some(Ok(StreamItem::Bytes(this.chunk.len())))
            }
            Some(Err(error)) => Some(Err(error)),
            None => None,
        })
    }
}

impl<S> std::fmt::Debug for SseStream<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SseStream").field("parser", &self.parser).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures::{FutureExt, StreamExt, stream};

    use super::*;
    use crate::events::NoOpVerifier;

    fn items(text: &str, chunk: usize, verifier: Arc<dyn EventVerifier>) -> Vec<String> {
        let chunks: Vec<_> = text
            .as_bytes()
            .chunks(chunk)
            .map(|c| Ok::<_, Infallible>(Bytes::copy_from_slice(c)))
            .collect();
        let parser = SseParser::new().with_event_limit(100);
        let stream = SseStream::new(stream::iter(chunks), parser, verifier);
        let all = stream.collect::<Vec<_>>().now_or_never().unwrap();
        all.into_iter()
            .filter_map(|item| match item.unwrap() {
                StreamItem::Bytes(_) => None,
                StreamItem::Event { event, id } => {
                    Some(format!("event {} id {:?}", event.envelope().event_id, id.as_deref()))
                }
                StreamItem::Refused { error, .. } => Some(format!("refused: {error}")),
                StreamItem::Malformed(_) => Some("malformed".to_owned()),
                StreamItem::Oversized(hint) => Some(format!("oversized {hint:?}")),
                StreamItem::Retry(wait) => Some(format!("retry {wait:?}")),
            })
            .collect()
    }

    #[test]
    fn debug_shows_the_parser_and_how_much_it_holds() {
        let mut parser = SseParser::new().with_event_limit(100);
        assert!(parser.next_item(&mut &b"event: canary\ndata: canary\ndata: can"[..]).is_none());
        let source = stream::empty::<Result<Bytes, Infallible>>();
        let shown = format!("{:?}", SseStream::new(source, parser, Arc::new(NoOpVerifier)));
        // The type's 6 bytes, the data's 6 and its line end, and the 9 of the open line.
        assert!(shown.starts_with("SseStream {") && shown.contains("held: 22"), "{shown}");
        assert!(!shown.contains("can"), "{shown}");
    }

    #[test]
    fn what_is_no_event_is_said_and_the_stream_goes_on_in_any_chunking() {
        let text = format!(
            ":keep-alive\n\nid: 1\ndata: {{\"event_type\":\"a\",\"event_id\":\"e-1\"}}\n\n\
             data: <html>\n\nretry: 1500\n\nevent: big\ndata: {}\n\n\
             data: {{\"event_type\":\"a\",\"event_id\":\"e-2\"}}\n\n\
             data: {{\"event_type\":\"a\",\"event_id\":\"e-3\"}}",
            "x".repeat(200)
        );
        let expected = [
            "event e-1 id Some(\"1\")",
            "malformed",
            "retry 1.5s",
            "oversized Some(\"big\")",
            "event e-2 id None",
        ];
        for chunk in 1..40 {
            assert_eq!(items(&text, chunk, Arc::new(NoOpVerifier)), expected, "{chunk}");
        }
    }
}
