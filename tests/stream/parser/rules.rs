//! One rule of the parser a test.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use plexsphere_client::events::{DEFAULT_EVENT_LIMIT, SseEvent, SseItem, SseParser};

use super::items;

fn events(bytes: &[u8]) -> Vec<SseEvent> {
    let items = items(bytes).into_iter();
    items.filter_map(SseItem::into_event).collect()
}

fn event(bytes: &[u8]) -> SseEvent {
    let events = events(bytes);
    assert_eq!(events.len(), 1, "{events:?}");
    events.into_iter().next().unwrap()
}

fn data(bytes: &[u8]) -> Vec<String> {
    events(bytes).into_iter().map(|event| event.data).collect()
}

fn retries(bytes: &[u8]) -> Vec<Duration> {
    let wait = |item| match item {
        SseItem::Retry(wait) => Some(wait),
        _ => None,
    };
    items(bytes).into_iter().filter_map(wait).collect()
}

#[test]
fn an_event_has_type_data_and_id() {
    let event = event(b"event: peer_added\nid: 42\ndata: {}\n\n");
    assert_eq!(event.event, "peer_added");
    assert_eq!(event.data, "{}");
    assert_eq!(event.id.as_deref(), Some("42"));
    assert_eq!(&*event.last_event_id, "42");
}

#[test]
fn the_type_is_message_by_default() {
    assert_eq!(event(b"data: x\n\n").event, "message");
    assert_eq!(event(b"event:\ndata: x\n\n").event, "message");
}

#[test]
fn lines_of_data_are_joined_with_lf() {
    assert_eq!(data(b"data: a\ndata:b\ndata\ndata: c\n\n"), ["a\nb\n\nc"]);
}

#[test]
fn comments_are_skipped() {
    assert_eq!(items(b": hi\n\n:\ndata: x\n: there\n\n").len(), 1);
}

#[test]
fn comments_come_out_when_asked_for() {
    let mut parser = SseParser::new().with_comments(true);
    let items: Vec<_> = parser.feed(b": hi\n:there\n").collect();
    let comment = |text: &str| SseItem::Comment(text.to_owned());
    assert_eq!(items, [comment("hi"), comment("there")]);
}

#[test]
fn bytes_without_items_are_counted() {
    let mut parser = SseParser::new();
    assert_eq!(parser.feed(b"\xEF\xBB\xBF: keep-").count(), 0);
    assert_eq!(parser.bytes_seen(), 10);
    assert_eq!(parser.feed(b"alive\r\n").count(), 0);
    assert_eq!(parser.bytes_seen(), 17);
    parser.feed(b"").for_each(drop);
    assert_eq!(parser.bytes_seen(), 17);
}

#[test]
fn retry_is_digits_only_and_saturates() {
    assert_eq!(retries(b"retry: 3000\n"), [Duration::from_secs(3)]);
    assert_eq!(retries(b"retry:0\n"), [Duration::ZERO]);
    for bogus in ["soon", "+5", "-5", "5s", "1.5", " 5", "", "٥"] {
        let line = format!("retry: {bogus}\n");
        assert!(retries(line.as_bytes()).is_empty(), "{bogus:?}");
    }
    let largest = Duration::from_millis(u64::MAX);
    assert_eq!(retries(b"retry: 18446744073709551616\n"), [largest]);
}

#[test]
fn retry_counts_at_the_end_of_its_line() {
    let mut parser = SseParser::new();
    assert_eq!(parser.feed(b"data: x\nretry: 5").count(), 0);
    let items: Vec<_> = parser.feed(b"\n").collect();
    assert_eq!(items, [SseItem::Retry(Duration::from_millis(5))]);
}

#[test]
fn the_last_id_is_inherited() {
    let events = events(b"id: 1\ndata: a\n\ndata: b\n\nid: 2\ndata: c\n\n");
    let ids: Vec<_> = events.iter().map(|event| event.id.as_deref()).collect();
    assert_eq!(ids, [Some("1"), None, Some("2")]);
    let last: Vec<_> = events.iter().map(|event| &*event.last_event_id).collect();
    assert_eq!(last, ["1", "1", "2"]);
}

#[test]
fn an_id_counts_from_the_end_of_its_block() {
    let mut parser = SseParser::new().with_last_event_id("6");
    parser.feed(b"id: 7\n").for_each(drop);
    assert_eq!(&**parser.last_event_id(), "6");
    parser.feed(b"\n").for_each(drop);
    assert_eq!(&**parser.last_event_id(), "7");
}

#[test]
fn the_last_id_outlives_the_connection() {
    let mut first = SseParser::new();
    first.feed(b"id: 7\ndata: x\n\n").for_each(drop);
    let mut second = SseParser::new().with_last_event_id(first.last_event_id().clone());
    let SseItem::Event(event) = second.feed(b"data: y\n\n").next().unwrap() else {
        panic!("no event");
    };
    assert_eq!(event.id, None);
    assert_eq!(&*event.last_event_id, "7");
}

#[test]
fn an_id_without_data_counts() {
    let event = event(b"id: 7\n\ndata: x\n\n");
    assert_eq!(event.id, None);
    assert_eq!(&*event.last_event_id, "7");
}

#[test]
fn an_empty_id_resets() {
    let event = &events(b"id: 7\ndata: a\n\nid:\ndata: b\n\n")[1];
    assert_eq!(event.id.as_deref(), Some(""));
    assert_eq!(&*event.last_event_id, "");
}

#[test]
fn an_id_with_nul_is_ignored() {
    let event = event(b"id: 7\nid: 8\0\ndata: a\n\n");
    assert_eq!(event.id.as_deref(), Some("7"));
}

#[test]
fn a_block_without_data_drops_its_type() {
    assert_eq!(event(b"event: lost\n\ndata: x\n\n").event, "message");
}

#[test]
fn a_value_may_hold_colons_and_one_space_goes() {
    assert_eq!(data(b"data: a:b: c\ndata:  d\n\n"), ["a:b: c\n d"]);
}

#[test]
fn a_field_may_have_no_colon() {
    assert_eq!(data(b"data\n\n"), [""]);
    assert_eq!(event(b"id: 7\nid\ndata\n\n").id.as_deref(), Some(""));
}

#[test]
fn empty_data_is_an_event() {
    assert_eq!(data(b"data:\n\ndata: \n\n"), ["", ""]);
}

#[test]
fn names_are_exact() {
    assert_eq!(items(b"Data: x\n data: x\ndata : x\nRETRY: 5\n\n"), []);
}

#[test]
fn runs_of_blank_lines_are_nothing() {
    assert_eq!(data(b"\n\n\ndata: a\n\n\n\r\n\r\ndata: b\n\n\n"), ["a", "b"]);
}

#[test]
fn two_events_in_a_row() {
    assert_eq!(data(b"data: a\n\ndata: b\n\n"), ["a", "b"]);
}

#[test]
fn a_bom_is_dropped_once() {
    assert_eq!(data(b"\xEF\xBB\xBFdata: a\n\n\xEF\xBB\xBFdata: b\n\n"), ["a"]);
    let twice = "\u{FEFF}\u{FEFF}data: a\n\ndata: b\n\n";
    assert_eq!(data(twice.as_bytes()), ["b"]);
}

#[test]
fn lines_end_with_lf_cr_or_crlf() {
    for end in ["\n", "\r", "\r\n"] {
        let stream = "event: x|data: a|data: b||data: c||".replace('|', end);
        assert_eq!(data(stream.as_bytes()), ["a\nb", "c"], "{end:?}");
    }
}

#[test]
fn an_event_comes_with_the_byte_that_completes_it() {
    for end in ["\n\n", "\r\r", "\r\n\r", "\n\r"] {
        let mut parser = SseParser::new();
        let stream = format!("data: x{end}");
        let (start, last) = stream.as_bytes().split_at(stream.len() - 1);
        assert_eq!(parser.feed(start).count(), 0, "{end:?}");
        assert_eq!(parser.feed(last).count(), 1, "{end:?}");
        assert_eq!(parser.feed(b"\n").count(), 0, "{end:?}");
    }
}

#[test]
fn bad_utf8_is_replaced_and_the_stream_goes_on() {
    let stream = b"data: \xFF\xE2\x82x\xF0\x9F\x98\ndata: y\n\ndata: z\n\n";
    assert_eq!(data(stream), ["\u{FFFD}\u{FFFD}x\u{FFFD}\ny", "z"]);
}

#[test]
fn characters_may_be_cut_between_chunks() {
    let mut parser = SseParser::new();
    let mut items = Vec::new();
    for byte in "data: é€😀\n\n".as_bytes() {
        items.extend(parser.feed(std::slice::from_ref(byte)));
    }
    assert_eq!(items, super::items("data: é€😀\n\n".as_bytes()));
}

#[test]
fn an_unfinished_block_is_dropped() {
    assert_eq!(items(b"id: 1\nevent: x\ndata: a\n"), []);
    assert_eq!(items(b"data: a"), []);
}

#[test]
fn next_item_leaves_the_rest() {
    let mut input: &[u8] = b"data: a\n\nretry: 5\ndata: b";
    let mut parser = SseParser::new();
    assert!(parser.next_item(&mut input).is_some());
    assert_eq!(input, b"retry: 5\ndata: b");
    assert!(parser.next_item(&mut input).is_some());
    assert_eq!(input, b"data: b");
    assert!(parser.next_item(&mut input).is_none());
    assert_eq!(input, b"");
}

#[test]
fn debug_shows_no_data() {
    let mut parser = SseParser::new();
    let items: Vec<_> = parser.feed(b"id: 7\ndata: canary\n\ndata: canary\ndata: can").collect();
    let debug = format!("{items:?} {parser:?}");
    assert!(debug.contains("<6 bytes>"), "{debug}");
    assert!(!debug.contains("can"), "{debug}");
    let items = parser.stream(stream::pending::<Result<Bytes, Infallible>>());
    assert!(!format!("{items:?}").contains("can"));
}

/// Chunks that come through something that must stay pinned.
fn chunks(
    chunks: Vec<Result<&'static str, &'static str>>,
) -> impl Stream<Item = Result<Bytes, &'static str>> {
    stream::iter(chunks).then(|chunk| async move {
        tokio::task::yield_now().await;
        chunk.map(Bytes::from)
    })
}

#[tokio::test]
async fn a_stream_of_chunks_is_a_stream_of_items() {
    let source = chunks(vec![Ok("data: a\n\nda"), Ok(""), Ok("ta: b\n"), Ok("\ndata: c\n")]);
    let mut stream = SseParser::new().stream(source);
    let mut data = Vec::new();
    while let Some(item) = stream.next().await {
        data.extend(item.unwrap().into_event().map(|event| event.data));
    }
    assert_eq!(data, ["a", "b"]);
    assert_eq!(stream.parser().bytes_seen(), 26);
}

#[tokio::test]
async fn errors_of_the_source_pass_through() {
    let source = chunks(vec![Ok("data: a\n\nid: 7\ndata: b\n"), Err("reset"), Ok("\n")]);
    let mut stream = SseParser::new().stream(source);
    assert!(matches!(stream.next().await, Some(Ok(SseItem::Event(_)))));
    assert_eq!(stream.next().await, Some(Err("reset")));
    assert!(matches!(stream.next().await, Some(Ok(SseItem::Event(_)))));
    assert_eq!(stream.next().await, None);
    assert_eq!(&**stream.parser().last_event_id(), "7");
}

#[tokio::test]
async fn waiting_for_an_item_can_be_given_up() {
    let mut stream = SseParser::new().stream(chunks(vec![Ok("data: "), Ok("a\n"), Ok("\n")]));
    let mut given_up = 0;
    let item = loop {
        // One poll, then the future is dropped.
        match futures::poll!(stream.next()) {
            std::task::Poll::Ready(item) => break item,
            std::task::Poll::Pending => given_up += 1,
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(item.unwrap().unwrap().into_event().unwrap().data, "a");
    assert_eq!(given_up, 3);
}

#[tokio::test]
async fn a_chunk_is_asked_for_when_the_last_one_is_used_up() {
    let asked = std::cell::Cell::new(0);
    let source = stream::repeat_with(|| {
        asked.set(asked.get() + 1);
        Ok::<_, Infallible>(Bytes::from("data: a\n\ndata: b\n\n"))
    });
    let mut stream = SseParser::new().stream(source);
    for expected in [1, 1, 2, 2, 3] {
        stream.next().await;
        assert_eq!(asked.get(), expected);
    }
}

#[test]
fn the_default_limit_is_one_mebibyte() {
    assert_eq!(DEFAULT_EVENT_LIMIT, 1_048_576);
}
