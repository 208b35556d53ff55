//! Bytes to a typed event in a handler: beside what else reads event streams, and beside
//! the floors under them.
//!
//! `cargo bench -p plexsphere-lab --features contestants --bench stream`

#![allow(missing_docs, clippy::unwrap_used)]

#[path = "support/connected.rs"]
mod connected;
#[cfg(feature = "contestants")]
#[path = "support/decoders.rs"]
mod decoders;
#[path = "support/events.rs"]
mod events;
#[path = "support/in_memory.rs"]
mod in_memory;
#[path = "support/race.rs"]
mod race;
#[path = "support/server.rs"]
mod server;

use std::hint::black_box;
use std::sync::Arc;

use aws_lc_rs::signature::{ED25519, ParsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use events::{Signed, signed};
use in_memory::{Handlers, chunks};
use plexsphere_client::events::{Ed25519Verifier, NoOpVerifier, SseParser};
use race::Race;

const EVENTS: usize = 1000;
const KIB: usize = 1024;

fn main() {
    let few = signed(EVENTS, 600);
    println!("## Stream: {EVENTS} events of {} bytes", few.bytes.len() / EVENTS);
    for chunk in [KIB, 8 * KIB, 64 * KIB] {
        unverified(&few, chunk);
    }
    parsers(&few);
    verified(&few, "600-byte events");
    verified(&signed(200, 4 * KIB), "4 KiB events");
    verified(&signed(8, 256 * KIB), "256 KiB events");
    connected::race(&few, chunks(&few.bytes, 8 * KIB));
}

fn unverified(signed: &Signed, size: usize) {
    let chunks = chunks(&signed.bytes, size);
    let handlers = Handlers::new();
    let title = format!("Without verification, chunks of {} KiB", size / KIB);
    let mut race = Race::new(title, "event", 150);
    race.add("plexsphere-client", || handlers.run(&chunks, Arc::new(NoOpVerifier)));
    #[cfg(feature = "contestants")]
    decoders::each(&chunks, |name, run| race.add(name, run));
    race.add("floor: the envelope with serde_json", || {
        signed.events.iter().filter(|(text, ..)| envelope(text)).count()
    });
    race.add("floor: one pass of memchr", || {
        let lines = |chunk: &Bytes| memchr::memchr2_iter(b'\n', b'\r', chunk).count();
        black_box(chunks.iter().map(lines).sum::<usize>()) / 4
    });
    race.run();
}

fn envelope(text: &str) -> bool {
    #[derive(serde::Deserialize)]
    #[allow(dead_code)]
    struct Envelope<'a> {
        event_type: String,
        event_id: String,
        issued_at: String,
        nonce: String,
        #[serde(borrow)]
        payload: &'a serde_json::value::RawValue,
        signature: String,
    }
    black_box(serde_json::from_str::<Envelope<'_>>(text)).is_ok()
}

/// Decoding alone: no envelope, no handler.
fn parsers(signed: &Signed) {
    let chunks = chunks(&signed.bytes, 8 * KIB);
    let mut race = Race::new("The parser alone, chunks of 8 KiB", "event", 100);
    race.add("plexsphere-client", || {
        let mut parser = SseParser::new();
        chunks.iter().map(|chunk| parser.feed(chunk).map(black_box).count()).sum()
    });
    #[cfg(feature = "contestants")]
    decoders::each_bare(&chunks, |name, run| race.add(name, run));
    race.run();
}

fn verified(signed: &Signed, what: &str) {
    let chunks = chunks(&signed.bytes, 8 * KIB);
    let key = STANDARD.decode(&signed.key).unwrap();
    let key = ParsedPublicKey::new(&ED25519, key).unwrap();
    let raw: Vec<_> = signed
        .events
        .iter()
        .map(|(_, message, signature)| (message.as_bytes(), STANDARD.decode(signature).unwrap()))
        .collect();
    let handlers = Handlers::new();
    let mut race = Race::new(format!("With Ed25519, {what}"), "event", 40);
    race.add("plexsphere-client", || {
        handlers.run(&chunks, Arc::new(Ed25519Verifier::new(&signed.key).unwrap()))
    });
    let checks = || raw.iter().map(|(message, bytes)| || key.verify_sig(message, bytes).is_ok());
    #[cfg(feature = "contestants")]
    race.add(
        "sse-stream, serde, the bare verification",
        decoders::verified(&chunks, checks().collect()),
    );
    race.add("floor: aws-lc-rs verifies the same bytes", || {
        checks().filter(|check| check()).count()
    });
    race.run();
}
