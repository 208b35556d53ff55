//! A whole event stream of any bytes in any chunking: every block with data comes out as exactly
//! one of event, refused, malformed and oversized, in order, and nothing else does.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::{FutureExt, Stream, StreamExt, task};
use plexsphere_client::events::{
    EventVerifier, KeyError, SignedEnvelope, SseParser, SseStream, StreamItem, Verdict, VerifyError,
};
use plexsphere_client::types::SigningKeys;

use super::algorithm::{Item, interpret};

/// The bytes before the stream: the event limit, how it is cut, and what the verifier says.
pub fn check(bytes: &[u8]) {
    let [limit, cut, verdicts, stream @ ..] = bytes else { return };
    let verifier = Dice(*verdicts);
    // The algorithm counts the limit in bytes of valid UTF-8, so bad UTF-8 is read without one.
    let is_text = std::str::from_utf8(stream).is_ok();
    let limit = if is_text { usize::from(*limit) * 4 } else { usize::MAX };
    let expected = judged(interpret(stream, limit).0, &verifier);

    let whole = Run::of([Step::Chunk(Bytes::copy_from_slice(stream))], limit, verifier);
    assert_eq!(whole.items, expected);
    let run = Run::of(steps(stream, *cut), limit, verifier);
    assert_eq!(run.items, expected, "cut in another way");
    assert_eq!(run.bytes, stream.len(), "bytes were lost");

    // What a stop in the stream has brought so far is what its bytes say.
    for (read, count) in run.stops.iter().filter(|_| stream.len() < 300) {
        let so_far = judged(interpret(&stream[..*read], limit).0, &verifier);
        assert_eq!(so_far, run.items[..*count], "after {read} bytes");
    }
}

/// What the stream should bring for what the parser's algorithm says.
fn judged(items: Vec<Item>, verifier: &Dice) -> Vec<String> {
    let judge = |data: &str, id: Option<String>| match SignedEnvelope::parse(data) {
        Err(error) => format!("malformed {error:?}"),
        Ok(envelope) => match verifier.verify(&envelope) {
            Ok(verdict) => format!("{verdict:?} {envelope:?} {id:?}"),
            Err(error) => format!("{error:?} {envelope:?} {id:?}"),
        },
    };
    let said = items.into_iter().filter_map(|item| match item {
        Item::Event { data, id, .. } => Some(judge(&data, id)),
        Item::Oversized { event, .. } => Some(format!("oversized {event:?}")),
        Item::Retry(wait) => Some(format!("retry {wait:?}")),
        Item::Comment(_) => None,
    });
    said.collect()
}

/// A verifier whose verdict depends on the input alone.
#[derive(Clone, Copy)]
struct Dice(u8);

impl EventVerifier for Dice {
    fn verify(&self, envelope: &SignedEnvelope) -> Result<Verdict, VerifyError> {
        let sum = envelope.event_id.bytes().fold(self.0, u8::wrapping_add);
        match sum % 4 {
            0 => Err(VerifyError::BadSignature),
            1 => Err(VerifyError::Custom(envelope.nonce.clone())),
            2 => Ok(Verdict::Redelivered),
            _ => Ok(Verdict::New),
        }
    }

    fn update_keys(&self, _: &SigningKeys) -> Result<(), KeyError> {
        Ok(())
    }
}

/// What a source does when it is polled.
enum Step {
    Chunk(Bytes),
    Wait,
    Fail,
}

/// Any chunks, some empty, with waits and errors between them.
fn steps(mut stream: &[u8], cut: u8) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut random = u32::from(cut);
    while !stream.is_empty() {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        match random >> 28 {
            0 => steps.push(Step::Chunk(Bytes::new())),
            1 | 2 => steps.push(Step::Wait),
            3 => steps.push(Step::Fail),
            _ => {
                let length = 1 + (random >> 16) as usize % (usize::from(cut) % 40 + 1);
                let (chunk, rest) = stream.split_at(length.min(stream.len()));
                steps.push(Step::Chunk(Bytes::copy_from_slice(chunk)));
                stream = rest;
            }
        }
    }
    steps
}

struct Source(VecDeque<Step>);

#[derive(Debug)]
struct Broken;

impl Stream for Source {
    type Item = Result<Bytes, Broken>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match self.0.pop_front() {
            Some(Step::Chunk(chunk)) => Poll::Ready(Some(Ok(chunk))),
            Some(Step::Wait) => Poll::Pending,
            Some(Step::Fail) => Poll::Ready(Some(Err(Broken))),
            None => Poll::Ready(None),
        }
    }
}

/// What a stream brought.
#[derive(Default)]
struct Run {
    items: Vec<String>,
    bytes: usize,
    /// How many bytes and items there were each time that the source was asked for more.
    stops: Vec<(usize, usize)>,
}

impl Run {
    fn of(steps: impl IntoIterator<Item = Step>, limit: usize, verifier: Dice) -> Self {
        let steps: VecDeque<Step> = steps.into_iter().collect();
        let errors = steps.iter().filter(|step| matches!(step, Step::Fail)).count();
        let parser = SseParser::new().with_event_limit(limit);
        let mut stream = SseStream::new(Source(steps), parser, Arc::new(verifier));
        let (mut run, mut seen) = (Self::default(), 0);
        let mut cx = Context::from_waker(task::noop_waker_ref());
        loop {
            // Each wait is given up and begun anew.
            let Poll::Ready(item) = stream.next().poll_unpin(&mut cx) else { continue };
            match item {
                Some(Ok(item)) => run.take(item),
                Some(Err(Broken)) => {
                    seen += 1;
                    run.stops.push((run.bytes, run.items.len()));
                }
                None => break,
            }
            if limit < usize::MAX {
                assert_bounded(&format!("{stream:?}"), limit);
            }
        }
        assert_eq!(seen, errors, "errors of the source pass through");
        run
    }

    fn take(&mut self, item: StreamItem) {
        let id = |id: Option<Arc<str>>| id.map(|id| id.to_string());
        self.items.push(match item {
            StreamItem::Bytes(count) => {
                self.stops.push((self.bytes, self.items.len()));
                self.bytes += count;
                return;
            }
            StreamItem::Event { event, id: of } => {
                format!("{:?} {:?} {:?}", event.verdict(), event.envelope(), id(of))
            }
            StreamItem::Refused { envelope, error, id: of } => {
                format!("{error:?} {envelope:?} {:?}", id(of))
            }
            StreamItem::Malformed(error) => format!("malformed {error:?}"),
            StreamItem::Oversized(event) => format!("oversized {event:?}"),
            StreamItem::Retry(wait) => format!("retry {wait:?}"),
            other => panic!("unknown item {other:?}"),
        });
    }
}

/// What is held of a block fits the limit, but for its last line's end and the name of a field.
fn assert_bounded(debug: &str, limit: usize) {
    let held = debug.split("held: ").nth(1).unwrap();
    let held: usize = held.split(',').next().unwrap().parse().unwrap();
    assert!(held <= limit + "\nevent: :".len(), "{held} bytes held under a limit of {limit}");
}
