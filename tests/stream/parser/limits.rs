//! The event limit.

use plexsphere_client::events::{DEFAULT_EVENT_LIMIT, SseItem, SseParser};

use super::{items, items_of_chunks};

const MIB: usize = 1024 * 1024;

/// One event with this much data on one line, and a small one behind it.
fn large_and_small(data: usize) -> Vec<u8> {
    let mut stream = b"event: large\nid: 1\ndata: ".to_vec();
    stream.resize(stream.len() + data, b'x');
    stream.extend(b"\n\ndata: small\n\n");
    stream
}

fn lengths(items: &[SseItem]) -> Vec<Option<usize>> {
    let length = |item: &SseItem| match item {
        SseItem::Event(event) => Some(event.data.len()),
        _ => None,
    };
    items.iter().map(length).collect()
}

fn oversized(event: Option<&str>, id: Option<&str>) -> SseItem {
    let event = event.map(str::to_owned);
    let id = id.map(Into::into);
    SseItem::Oversized { event, id }
}

#[test]
fn a_line_of_64_kib_and_more_is_an_event() {
    for data in [64 * 1024 - 1, 64 * 1024, 64 * 1024 + 1, 1_000_000] {
        assert_eq!(lengths(&items(&large_and_small(data))), [Some(data), Some(5)]);
    }
}

#[test]
fn the_limit_counts_type_id_and_data() {
    let most = DEFAULT_EVENT_LIMIT - "large".len() - "1".len();
    assert_eq!(lengths(&items(&large_and_small(most))), [Some(most), Some(5)]);

    let items = items(&large_and_small(most + 1));
    assert_eq!(items[0], oversized(Some("large"), Some("1")));
    assert_eq!(lengths(&items), [None, Some(5)]);
}

#[test]
fn the_limit_can_be_raised_to_32_mib() {
    let stream = large_and_small(31 * MIB);
    for size in [4096, stream.len()] {
        let parser = SseParser::new().with_event_limit(32 * MIB);
        let items = items_of_chunks(parser, stream.chunks(size));
        assert_eq!(lengths(&items), [Some(31 * MIB), Some(5)]);
    }
}

#[test]
fn the_limit_can_be_lifted() {
    let parser = SseParser::new().with_event_limit(usize::MAX);
    let items = items_of_chunks(parser, large_and_small(2 * MIB).chunks(4096));
    assert_eq!(lengths(&items), [Some(2 * MIB), Some(5)]);
}

#[test]
fn a_type_that_is_a_byte_too_long_is_not_cut_to_fit() {
    let stream = |length| format!("event: {}\ndata: 1\n\n", "x".repeat(length));
    for chunk in [1, 7, 1000] {
        let parser = || SseParser::new().with_event_limit(100);
        let fits = items_of_chunks(parser(), stream(98).as_bytes().chunks(chunk));
        assert!(matches!(&fits[..], [SseItem::Event(event)] if event.event.len() == 98));
        let too_long = items_of_chunks(parser(), stream(101).as_bytes().chunks(chunk));
        assert_eq!(too_long, [oversized(None, None)], "{chunk}");
    }
}

#[test]
fn many_short_lines_reach_the_limit_too() {
    for line in ["data\n", "data: x\n", "data: \u{20AC}\n"] {
        let stream = line.repeat(DEFAULT_EVENT_LIMIT + 2) + "\ndata: small\n\n";
        let items = items(stream.as_bytes());
        assert_eq!(items[0], oversized(None, None), "{line:?}");
        assert_eq!(lengths(&items), [None, Some(5)], "{line:?}");
    }
}

#[test]
fn an_oversized_block_is_reported_at_its_end() {
    let mut parser = SseParser::new().with_event_limit(8);
    assert_eq!(parser.feed(b"data: 123456789\ndata: x\n").count(), 0);
    let items: Vec<_> = parser.feed(b"\n").collect();
    assert_eq!(items, [oversized(None, None)]);
}

#[test]
fn what_follows_the_large_line_still_counts() {
    let stream = b"data: 1234567890\nevent: late\nretry: 5\nid: 7\ndata: x\n\ndata: y\n\n";
    let mut parser = SseParser::new().with_event_limit(10 - 1);
    let items: Vec<_> = parser.feed(stream).collect();
    assert_eq!(items.len(), 3);
    assert!(matches!(items[0], SseItem::Retry(wait) if wait.as_millis() == 5));
    assert_eq!(items[1], oversized(Some("late"), Some("7")));
    assert!(matches!(&items[2], SseItem::Event(event)
        if event.data == "y" && event.id.is_none() && &*event.last_event_id == "7"));
}

#[test]
fn an_id_or_type_that_is_too_large_is_not_known() {
    let stream =
        b"id: 1\ndata: a\n\nid: 12345678\ndata: x\n\nevent: 12345678\ndata: x\n\ndata: b\n\n";
    let mut parser = SseParser::new().with_event_limit(7);
    let items: Vec<_> = parser.feed(stream).collect();
    assert_eq!(items[1..3], [oversized(None, None), oversized(None, None)]);
    assert!(matches!(&items[3], SseItem::Event(event) if &*event.last_event_id == "1"));
}

#[test]
fn comments_and_unknown_fields_are_never_too_long() {
    let long = "x".repeat(2 * DEFAULT_EVENT_LIMIT);
    let stream = format!("data: a\n:{long}\nother: {long}\n{long}\ndata: b\n\n");
    for size in [1000, stream.len()] {
        let parser = SseParser::new().with_comments(true);
        let items = items_of_chunks(parser, stream.as_bytes().chunks(size));
        assert_eq!(lengths(&items), [Some("a\nb".len())]);
    }
}

#[test]
fn an_endless_event_does_not_hide_the_next_connection() {
    let mut parser = SseParser::new();
    let line = [b"data: ", &[b'x'; 4096][..]].concat();
    for _ in 0..1024 {
        assert_eq!(parser.feed(&line).count(), 0);
    }
    let items: Vec<_> = parser.feed(b"\r\rdata: small\r\r").collect();
    assert_eq!(items[0], oversized(None, None));
    assert_eq!(lengths(&items), [None, Some(5)]);
}
