//! The parser over a stream of chunks.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use futures::Stream;

use super::{SseItem, SseParser};

/// The items of a stream of chunks, made by [`SseParser::stream`].
///
/// It ends when the chunks end, and drops an unfinished block. An error of the source passes
/// through; if the source goes on after it, so does this stream.
///
/// # Cancel safety
///
/// Waiting for the next item (`StreamExt::next`) can be given up at any time: what was read stays
/// in here.
///
/// # Backpressure
///
/// A new chunk is asked for only when every item of the last one has been taken.
///
/// # Examples
///
/// ```
/// use bytes::Bytes;
/// use futures::{StreamExt, stream};
/// use plexsphere_client::events::{SseItem, SseParser};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// let chunks = ["data: he", "llo\n", "\n"].map(Bytes::from).map(Ok::<_, std::io::Error>);
/// let mut items = SseParser::new().stream(stream::iter(chunks));
/// while let Some(item) = items.next().await {
///     if let SseItem::Event(event) = item? {
///         assert_eq!(event.data, "hello");
///     }
/// }
/// # Ok(())
/// # }
/// ```
pub struct SseItems<S> {
    source: Pin<Box<S>>,
    parser: SseParser,
    chunk: Bytes,
}

impl<S> SseItems<S> {
    pub(super) fn new(parser: SseParser, source: S) -> Self {
        Self { source: Box::pin(source), parser, chunk: Bytes::new() }
    }

    /// The parser, for its last event id and the number of bytes seen.
    pub fn parser(&self) -> &SseParser {
        &self.parser
    }
}

impl<S, E> Stream for SseItems<S>
where
    S: Stream<Item = Result<Bytes, E>>,
{
    type Item = Result<SseItem, E>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            let mut rest = &this.chunk[..];
            let item = this.parser.next_item(&mut rest);
            let read = this.chunk.len() - rest.len();
            this.chunk.advance(read);
            if let Some(item) = item {
                return Poll::Ready(Some(Ok(item)));
            }
            match ready!(this.source.as_mut().poll_next(cx)) {
                Some(Ok(chunk)) => this.chunk = chunk,
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
    }
}

impl<S> fmt::Debug for SseItems<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SseItems").field("parser", &self.parser).finish_non_exhaustive()
    }
}
