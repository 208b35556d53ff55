//! Random streams, cut at random: against the algorithm as written down beside this, and against
//! other parsers. `PROPTEST_CASES` raises the number of streams.

use std::time::Duration;

use plexsphere_client::events::{SseItem, SseParser};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

use super::algorithm::{Item, interpret};
use super::items_of_chunks;

const CASES: u32 = 7_000;

/// What streams are made of; the longer list is only for tests that may see bad UTF-8.
const PIECES: &[&[u8]] = &[
    b"\r",
    b"\n",
    b"\r\n",
    b"\n\n",
    b"\r\r",
    b"\r\n\r\n",
    b":",
    b" ",
    b": ",
    b"\0",
    b"data",
    b"data:",
    b"data: ",
    b"data: x\n",
    b"id",
    b"id:",
    b"id: ",
    b"id: 7\n",
    b"id: a\0b\n",
    b"retry",
    b"retry:",
    b"retry: ",
    b"retry: 3\r",
    b"event",
    b"event:",
    b"event: ",
    b"event: add\n",
    b"0",
    b"15",
    b"x",
    b"Data: ",
    b"\xEF\xBB\xBF",
    b"\xC3\xA9",
    b"\xE2\x82\xAC",
    b"\xF0\x9F\x98\x80",
];
const BAD_PIECES: &[&[u8]] = &[
    b"\xEF",
    b"\xBB",
    b"\xBF",
    b"\xEF\xBB",
    b"\xFF",
    b"\xC3",
    b"\xE2\x82",
    b"\xF0\x9F",
    b"\x80",
    b"\xED\xA0\x80",
];

fn config() -> ProptestConfig {
    let seeds = "tests/stream/proptest-regressions/parser.txt";
    let cases = std::env::var("PROPTEST_CASES").ok();
    ProptestConfig {
        cases: cases.map_or(CASES, |cases| cases.parse().unwrap()),
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(seeds))),
        ..ProptestConfig::default()
    }
}

fn pieces(pieces: Vec<&'static [u8]>) -> impl Strategy<Value = Vec<u8>> {
    vec(proptest::sample::select(pieces), 0..40).prop_map(|pieces| pieces.concat())
}

fn any_stream() -> impl Strategy<Value = Vec<u8>> {
    pieces([PIECES, BAD_PIECES].concat())
}

/// The stream in chunks of these lengths, over and over; a chunk may be empty.
fn cut<'a>(mut stream: &'a [u8], lengths: &[usize]) -> Vec<&'a [u8]> {
    let mut chunks = Vec::new();
    for length in lengths.iter().cycle() {
        if stream.is_empty() {
            break;
        }
        let (chunk, rest) = stream.split_at((*length).min(stream.len()));
        chunks.push(chunk);
        stream = rest;
    }
    chunks
}

/// At least one chunk has bytes in it, so that cutting comes to an end.
fn lengths() -> impl Strategy<Value = Vec<usize>> {
    (vec(0usize..12, 0..6), 1usize..12).prop_map(|(mut lengths, last)| {
        lengths.push(last);
        lengths
    })
}

fn parse(mut parser: SseParser, chunks: &[&[u8]]) -> (Vec<Item>, String) {
    let mut items = Vec::new();
    for chunk in chunks {
        items.extend(parser.feed(chunk).map(Item::from));
    }
    (items, parser.last_event_id().to_string())
}

/// Our events as that crate gives them: each with the last `retry:` since the one before.
fn as_sse_parse(items: Vec<SseItem>) -> Vec<sse_parse::Event> {
    let mut pending = None;
    let mut events = Vec::new();
    for item in items {
        match item {
            // Too large for a `u64`: the standard sets no bound; that crate ignores the line.
            SseItem::Retry(wait) if wait == Duration::from_millis(u64::MAX) => {}
            SseItem::Retry(wait) => pending = Some(wait),
            SseItem::Event(event) => events.push(sse_parse::Event {
                event: event.event.into_owned(),
                data: event.data,
                id: event.last_event_id.to_string(),
                retry: pending.take(),
            }),
            other => panic!("{other:?}"),
        }
    }
    events
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn as_the_algorithm_and_sse_parse_say(stream in any_stream(), lengths in lengths()) {
        let chunks = cut(&stream, &lengths);
        let expected = interpret(&stream, usize::MAX);
        prop_assert_eq!(parse(SseParser::new().with_comments(true), &chunks), expected.clone());

        let mut theirs = sse_parse::SseParser::new();
        theirs.feed(&stream);
        let ours = as_sse_parse(items_of_chunks(SseParser::new(), chunks));
        prop_assert_eq!(theirs.last_event_id(), expected.1);
        prop_assert_eq!(ours, std::iter::from_fn(|| theirs.next_event()).collect::<Vec<_>>());
    }

    #[test]
    fn a_limit_does_what_the_algorithm_with_a_limit_does(
        stream in pieces(PIECES.to_vec()),
        lengths in lengths(),
        limit in 0usize..24,
    ) {
        let parser = SseParser::new().with_comments(true).with_event_limit(limit);
        let items = parse(parser, &cut(&stream, &lengths));
        prop_assert_eq!(items, interpret(&stream, limit));
    }

    #[test]
    fn a_limit_does_the_same_in_any_chunking_of_any_bytes(
        stream in prop_oneof![any_stream(), vec(any::<u8>(), 0..120)],
        lengths in lengths(),
        limit in 0usize..24,
    ) {
        let parser = || SseParser::new().with_comments(true).with_event_limit(limit);
        prop_assert_eq!(parse(parser(), &cut(&stream, &lengths)), parse(parser(), &[&stream]));
    }
}

/// Streams that `eventsource-stream` reads as the standard says: valid UTF-8, no byte order
/// mark, LF alone, an id in each block, and nothing but its fields.
#[cfg(feature = "eventsource-stream")]
mod eventsource_stream_crate {
    use super::*;
    use bytes::Bytes;
    use eventsource_stream::{Event, Eventsource};
    use futures::{StreamExt, stream};

    fn block() -> impl Strategy<Value = String> {
        let text = "[ -~éö€😀]{0,12}";
        let event = proptest::option::of("[a-z_]{1,8}");
        ("[0-9a-z-]{1,6}", event, vec(text, 1..4)).prop_map(|(id, event, data)| {
            let event = event.map_or(String::new(), |event| format!("event: {event}\n"));
            let data: String = data.iter().map(|line| format!("data: {line}\n")).collect();
            format!("id: {id}\n{event}{data}\n")
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: config().cases / 4, ..config() })]

        #[test]
        fn says_the_same(blocks in vec(block(), 0..6), lengths in lengths()) {
            let text = blocks.concat();
            let chunks = cut(text.as_bytes(), &lengths);
            let bytes: Vec<Result<Bytes, ()>> =
                chunks.iter().map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
            let theirs: Vec<Event> = tokio::runtime::Builder::new_current_thread()
                .build()
                .unwrap()
                .block_on(stream::iter(bytes).eventsource().map(Result::unwrap).collect());
            let ours: Vec<Event> = items_of_chunks(SseParser::new(), chunks)
                .into_iter()
                .filter_map(SseItem::into_event)
                .map(Event::from)
                .collect();
            prop_assert_eq!(ours, theirs);
        }
    }
}
