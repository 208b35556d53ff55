//! Time is linear in the bytes. `cargo test --release --test stream speed -- --nocapture` shows
//! the figures.

use std::hint::black_box;
use std::time::{Duration, Instant};

use plexsphere_client::events::SseParser;

const MIB: usize = 1024 * 1024;

/// An optimised build must do each load within this.
const RELEASE_BOUND: Duration = Duration::from_millis(20);

/// How often a measurement is repeated on a machine that is busy with something else.
const ROUNDS: usize = 40;

fn time(stream: &[u8], chunk: usize) -> Duration {
    let start = Instant::now();
    let mut parser = SseParser::new().with_event_limit(32 * MIB);
    let items = stream.chunks(chunk).map(|chunk| parser.feed(chunk).map(black_box).count());
    assert!(items.sum::<usize>() > 0);
    start.elapsed()
}

/// Eight times the bytes may take up to 24 times as long (caches are small); a quadratic parser
/// takes 64 times as long. The best of the rounds counts, because noise only ever adds.
fn assert_linear(
    name: &str,
    stream: impl Fn(usize) -> Vec<u8>,
    bytes: usize,
    chunk: Option<usize>,
) {
    let (small, large) = (stream(bytes / 8), stream(bytes));
    let (mut eighth, mut whole) = (Duration::MAX, Duration::MAX);
    for round in 0..ROUNDS {
        eighth = eighth.min(time(&small, chunk.unwrap_or(small.len())));
        whole = whole.min(time(&large, chunk.unwrap_or(large.len())));
        let linear = whole < eighth * 24;
        let fast = cfg!(debug_assertions) || whole < RELEASE_BOUND;
        if round >= 4 && linear && fast {
            println!("{name}: {whole:?}, an eighth of it {eighth:?}");
            return;
        }
    }
    panic!("{name}: {whole:?}, an eighth of it {eighth:?}");
}

fn one_line(bytes: usize) -> Vec<u8> {
    let mut stream = b"data: ".to_vec();
    stream.resize(bytes - 2, b'x');
    stream.extend(b"\n\n");
    stream
}

fn lines(line: &'static str) -> impl Fn(usize) -> Vec<u8> {
    move |bytes| (line.repeat(bytes / line.len()) + "\n").into_bytes()
}

#[test]
fn a_line_of_8_mib_in_chunks_of_4_kib() {
    assert_linear("8 MiB line in 4 KiB chunks", one_line, 8 * MIB, Some(4096));
}

#[test]
fn lines_of_60_bytes_in_one_chunk() {
    let line = "data: 345678901234567890123456789012345678901234567890123456\n";
    assert_linear("4 MiB of 60-byte lines", lines(line), 4 * MIB, None);
    let event = "data: 34567890123456789012345678901234567890123456789012345\n\n";
    assert_linear("4 MiB of 60-byte events", lines(event), 4 * MIB, None);
}

#[test]
fn one_event_of_6_byte_lines() {
    assert_linear("1 MiB event of 6-byte lines", lines("data:\n"), MIB, None);
    assert_linear("the same in 4 KiB chunks", lines("data:\n"), MIB, Some(4096));
}

#[test]
fn chunks_of_one_byte() {
    assert_linear("1 MiB of bytes alone", one_line, MIB, Some(1));
}
