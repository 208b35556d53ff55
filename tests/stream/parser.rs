//! The parser against the WHATWG algorithm.

#![allow(clippy::unwrap_used)]

mod algorithm;
mod fixtures;
mod limits;
mod random;
mod rules;
mod speed;

use plexsphere_client::events::{SseItem, SseParser};

/// What an uncut stream gives.
fn items(bytes: &[u8]) -> Vec<SseItem> {
    SseParser::new().feed(bytes).collect()
}

/// What a stream gives when it comes in these chunks.
fn items_of_chunks<'a>(
    mut parser: SseParser,
    chunks: impl IntoIterator<Item = &'a [u8]>,
) -> Vec<SseItem> {
    let mut items = Vec::new();
    for chunk in chunks {
        items.extend(parser.feed(chunk));
    }
    items
}
