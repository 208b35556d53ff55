//! What the parser allocates and holds. A binary of its own, because the counter is its allocator.

#![allow(clippy::unwrap_used)]

use allocation_counter::{AllocationInfo, measure};
use plexsphere_client::events::{SseItem, SseParser};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// Twice the default event limit and a little: the counter sees a growing buffer beside its
/// smaller self.
const MOST_HELD: usize = 22 * MIB / 10;

/// What one more event costs a parser that has seen its like, in chunks of this size.
fn cost(event: &str, chunk: usize) -> AllocationInfo {
    let mut parser = SseParser::new();
    let mut parse = || {
        for chunk in event.as_bytes().chunks(chunk) {
            parser.feed(chunk).for_each(drop);
        }
    };
    parse();
    let info = measure(&mut parse);
    assert!(info.count_total > 0, "the counter does not count");
    assert_eq!(info.count_current, 0, "something is left behind");
    info
}

#[test]
fn an_event_costs_its_data_its_type_and_its_id() {
    let event = "id: 42\nevent: peer_added\ndata: {\"public_key\": \"abc\"}\n\n";
    for chunk in [1, 7, event.len()] {
        assert_eq!(cost(event, chunk).count_total, 3);
    }
}

#[test]
fn an_event_that_is_only_data_costs_that() {
    assert_eq!(cost("data: x\n\n", 4 * KIB).count_total, 1);
}

#[test]
fn the_number_of_lines_makes_no_difference() {
    let event = format!("id: 42\nevent: peer_added\n{}\n", "data: {}\n".repeat(1000));
    for chunk in [1, 100, event.len()] {
        assert_eq!(cost(&event, chunk).count_total, 3);
    }
}

#[test]
fn comments_and_retries_cost_nothing() {
    let mut parser = SseParser::new();
    let info = measure(|| parser.feed(b": keep-alive\n\nretry: 5\n\nother: x\n\n").for_each(drop));
    assert_eq!(info.count_total, 0);
}

/// The largest number of bytes held at once while this stream comes in.
fn held(mut parser: SseParser, start: &[u8], chunk: &[u8], bytes: usize) -> usize {
    let info = measure(|| {
        parser.feed(start).for_each(drop);
        for _ in 0..bytes / chunk.len() {
            assert_eq!(parser.feed(chunk).count(), 0);
        }
    });
    usize::try_from(info.bytes_max).unwrap()
}

/// 64 MiB, or as much as `PARSER_ENDLESS_MIB` says.
fn endless() -> usize {
    let mib = std::env::var("PARSER_ENDLESS_MIB").map_or(64, |mib| mib.parse().unwrap());
    mib * MIB
}

#[test]
fn an_endless_line_is_held_up_to_the_limit() {
    let chunk = [b'x'; 16 * KIB];
    for start in ["", "data: ", "id: ", "event: ", ":", "other: ", "retry: "] {
        let parser = SseParser::new().with_comments(true);
        let held = held(parser, start.as_bytes(), &chunk, endless());
        println!("{start:?}: {held} bytes held");
        assert!(held >= MIB, "{start:?}: {held}");
        assert!(held <= MOST_HELD, "{start:?}: {held}");
    }
}

#[test]
fn an_endless_block_is_held_up_to_the_limit() {
    for line in ["data\n", "data: some text\n", "id: 1\n", "event: x\n", "data: \u{FFFD}\n"] {
        let chunk = line.repeat(16 * KIB / line.len());
        let held = held(SseParser::new(), b"", chunk.as_bytes(), 8 * MIB);
        assert!(held <= MOST_HELD, "{line:?}: {held}");
    }
}

#[test]
fn a_large_event_leaves_little_behind() {
    let event = [b"data: ", &[b'x'; MIB - KIB][..], b"\n\n"].concat();
    let mut parser = SseParser::new();
    let mut events = 0;
    let info = measure(|| {
        for chunk in event.chunks(4 * KIB) {
            events += parser.feed(chunk).filter_map(SseItem::into_event).count();
        }
    });
    assert_eq!(events, 1);
    assert!(info.bytes_current <= 128 * KIB as i64, "{}", info.bytes_current);
    assert!(info.bytes_max <= MOST_HELD as u64, "{}", info.bytes_max);
}
