//! Any bytes, in any chunking, with any limit: `SseParser` says what the algorithm says.

use plexsphere_client::events::SseParser;

use super::algorithm::{Item, interpret};

/// The first byte sets the event limit, the second how the rest is cut.
pub fn check(bytes: &[u8]) {
    let [limit, cut, stream @ ..] = bytes else { return };
    let chunk = usize::from(*cut) % 16 + 1;
    let uncut = parse(SseParser::new(), [stream]);
    assert_eq!(uncut, interpret(stream, usize::MAX));
    assert_eq!(uncut, parse(SseParser::new(), stream.chunks(chunk)));

    // The algorithm counts the limit in bytes of valid UTF-8.
    let limit = usize::from(*limit);
    let parser = || SseParser::new().with_event_limit(limit);
    let limited = parse(parser(), stream.chunks(chunk));
    assert_eq!(limited, parse(parser(), [stream]));
    if std::str::from_utf8(stream).is_ok() {
        assert_eq!(limited, interpret(stream, limit));
    }

    let mut theirs = sse_parse::SseParser::new();
    theirs.feed(stream);
    let mut ours = uncut.0.iter().filter_map(|item| match item {
        Item::Event { event, data, last_event_id, .. } => Some((event, data, last_event_id)),
        _ => None,
    });
    while let Some(event) = theirs.next_event() {
        assert_eq!(ours.next(), Some((&event.event, &event.data, &event.id)));
    }
    assert_eq!(ours.next(), None);
    assert_eq!(theirs.last_event_id(), uncut.1);
}

fn parse<'a>(parser: SseParser, chunks: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Item>, String) {
    let mut parser = parser.with_comments(true);
    let mut items = Vec::new();
    for chunk in chunks {
        items.extend(parser.feed(chunk).map(Item::from));
    }
    (items, parser.last_event_id().to_string())
}
