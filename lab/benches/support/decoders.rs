//! What else turns bytes into events, each with the same envelope and handler behind it.

use std::collections::HashMap;
use std::future::Future;
use std::hint::black_box;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use eventsource_stream::Eventsource;
use futures::{FutureExt, Stream, StreamExt, future};
use plexsphere_client::BoxError;
use plexsphere_client::types::Peer;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::in_memory::source;

/// The envelope as one would write it with serde.
#[derive(Deserialize)]
struct Envelope {
    event_type: String,
    #[allow(dead_code)]
    event_id: String,
    #[allow(dead_code)]
    issued_at: String,
    #[allow(dead_code)]
    nonce: String,
    payload: Box<RawValue>,
    #[allow(dead_code)]
    signature: String,
}

type Handler = Box<dyn Fn(Arc<Envelope>) -> Pin<Box<dyn Future<Output = Result<(), BoxError>>>>>;

/// Handlers by type, as one would write them by hand.
pub struct Handlers {
    by_type: HashMap<&'static str, Handler>,
    handled: Arc<AtomicUsize>,
}

impl Handlers {
    pub fn new() -> Self {
        let handled = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&handled);
        let handler: Handler = Box::new(move |envelope| {
            let peer: Result<Peer, _> = serde_json::from_str(envelope.payload.get());
            let counter = Arc::clone(&counter);
            Box::pin(async move {
                black_box(&peer?.mesh_ip);
                counter.fetch_add(1, Ordering::Relaxed);
                Ok(())
            })
        });
        Self { by_type: HashMap::from([("peer_added", handler)]), handled }
    }

    pub async fn handle(&self, data: &str) {
        let envelope: Envelope = serde_json::from_str(data).unwrap();
        if let Some(handler) = self.by_type.get(envelope.event_type.as_str()) {
            handler(Arc::new(envelope)).await.unwrap();
        }
    }

    /// How many were handled since the count was `before`.
    pub fn since(&self, before: usize) -> usize {
        self.count() - before
    }

    pub fn count(&self) -> usize {
        self.handled.load(Ordering::Relaxed)
    }

    /// Handles the data of all events of a stream that waits for nothing.
    fn run(&self, data: impl Stream<Item = String>) -> usize {
        let before = self.count();
        let handling = data.for_each(async |data| self.handle(&data).await);
        handling.now_or_never().unwrap();
        self.since(before)
    }
}

/// One turn of a contestant: how many events it brought.
pub type Turn<'a> = Box<dyn FnMut() -> usize + 'a>;

/// Gives each decoder, with envelope and handler behind it, to `take`.
pub fn each<'a>(chunks: &'a [Bytes], mut take: impl FnMut(&str, Turn<'a>)) {
    let handlers = Rc::new(Handlers::new());
    for (name, decode) in DECODERS {
        let handlers = Rc::clone(&handlers);
        take(&format!("{name}, serde"), Box::new(move || handlers.run(decode(chunks))));
    }
}

/// `sse-stream`, and of each event in its turn what checks its signature.
pub fn verified<'a>(chunks: &'a [Bytes], checks: Vec<impl Fn() -> bool + 'a>) -> Turn<'a> {
    let handlers = Handlers::new();
    Box::new(move || {
        let mut checks = checks.iter();
        let genuine = |_: &String| future::ready(checks.next().is_some_and(|check| check()));
        handlers.run(sse_stream(chunks).filter(genuine))
    })
}

/// Gives each decoder alone to `take`.
pub fn each_bare<'a>(chunks: &'a [Bytes], mut take: impl FnMut(&str, Turn<'a>)) {
    for (name, decode) in DECODERS {
        let count = move || decode(chunks).map(black_box).count().now_or_never().unwrap();
        take(name, Box::new(count));
    }
}

type Data = Pin<Box<dyn Stream<Item = String>>>;
type Decode = fn(&[Bytes]) -> Data;

/// Each gives the data of the events in these chunks.
const DECODERS: &[(&str, Decode)] = &[
    ("eventsource-stream", |chunks| {
        Box::pin(source(chunks).eventsource().map(|event| event.unwrap().data))
    }),
    ("sse-stream", sse_stream),
    ("sse-parse", |chunks| {
        let events = sse_parse::EventStream::new(source(chunks));
        Box::pin(events.map(|event| event.unwrap().data))
    }),
];

fn sse_stream(chunks: &[Bytes]) -> Data {
    let events = sse_stream::SseByteStream::new(source(chunks));
    Box::pin(events.map(|event| event.unwrap().data.unwrap_or_default()))
}
