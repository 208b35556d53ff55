//! The client's own stages over bytes in memory, to a typed handler.

use std::convert::Infallible;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures::{FutureExt, Stream, StreamExt, stream};
use plexsphere_client::events::{
    EventDispatcher, EventVerifier, SseParser, SseStream, StreamItem, kind,
};

/// The bytes in chunks of this size.
pub fn chunks(bytes: &Bytes, size: usize) -> Vec<Bytes> {
    (0..bytes.len()).step_by(size).map(|at| bytes.slice(at..bytes.len().min(at + size))).collect()
}

/// The chunks as a stream, as an HTTP client gives them.
pub fn source(chunks: &[Bytes]) -> impl Stream<Item = Result<Bytes, Infallible>> + Unpin + use<> {
    let chunks = chunks.to_vec();
    stream::iter(chunks.into_iter().map(Ok))
}

/// A dispatcher with a typed handler that counts.
pub struct Handlers {
    dispatcher: EventDispatcher,
    handled: Arc<AtomicUsize>,
}

impl Handlers {
    pub fn new() -> Self {
        let handled = Arc::new(AtomicUsize::new(0));
        let dispatcher = EventDispatcher::new();
        let counter = Arc::clone(&handled);
        dispatcher.on::<kind::PeerAdded>(move |event| {
            black_box(&event.payload.mesh_ip);
            counter.fetch_add(1, Ordering::Relaxed);
            async { Ok(()) }
        });
        Self { dispatcher, handled }
    }

    pub fn run(&self, chunks: &[Bytes], verifier: Arc<dyn EventVerifier>) -> usize {
        let before = self.handled.load(Ordering::Relaxed);
        let mut stream = SseStream::new(source(chunks), SseParser::new(), verifier);
        let reading = async {
            while let Some(Ok(item)) = stream.next().await {
                match item {
                    StreamItem::Event { event, .. } => drop(self.dispatcher.dispatch(&event).await),
                    StreamItem::Bytes(_) => {}
                    other => panic!("{other:?}"),
                }
            }
        };
        // All is in memory, so nothing is waited for.
        reading.now_or_never().unwrap();
        self.handled.load(Ordering::Relaxed) - before
    }
}
