//! What a hostile server can make the client hold, at the peak, case by case.
//!
//! A test binary of its own with one test, as `tests/memory.rs` is and for the same reasons;
//! the server is in the process and counted too. `PLEXSPHERE_HOSTILE_MIB=1024` makes the
//! long lines of the event stream 1 GiB and their ids a million.

#![cfg(target_os = "linux")]
// A test that cannot go on says so by panicking.
#![allow(clippy::unwrap_used)]

#[allow(dead_code)]
#[path = "contract/calls.rs"]
mod calls;
#[path = "memory/peak.rs"]
mod peak;
#[allow(dead_code)]
#[path = "contract/requests.rs"]
mod requests;
#[allow(dead_code)]
#[path = "hostile/server.rs"]
mod server;

use std::io::Write;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use futures::StreamExt;
use plexsphere_client::events::NoOpVerifier;
use plexsphere_client::{Config, ControlPlane, Delivery, Error, ErrorKind as K, SseManager};
use serde_json::Value;

use crate::calls::Call;
use crate::peak::{MEBIBYTE, peak_of, peak_under};
use crate::requests::Ids;
use crate::server::{Server, Wire};

/// What the long forms of the stream's cases are made of, in MiB.
const FLOOD_MIB: u64 = 24;
const JSON: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n";
const EVENTS: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
const LIMIT: Duration = Duration::from_secs(2);
/// For what no limit of time is to end, on a loaded machine.
const LONG: Duration = Duration::from_secs(60);

fn flood_mib() -> u64 {
    let set = std::env::var("PLEXSPHERE_HOSTILE_MIB").ok();
    set.map_or(FLOOD_MIB, |text| text.parse().expect("PLEXSPHERE_HOSTILE_MIB is a number"))
}

fn full() -> bool {
    flood_mib() >= 1024
}

fn client_with(server: &Server, limit: Duration) -> ControlPlane {
    let config = Config::new(server.url()).unwrap().request_timeout(limit).header_timeout(limit);
    let api = ControlPlane::new(config, "1").unwrap();
    api.set_auth_token("t").unwrap();
    api
}

/// What a call makes of an answer, and what that costs; the next call is answered well.
async fn call(what: &str, operation: &'static str, wire: Wire, expected: Option<K>) {
    let hostile = std::sync::atomic::AtomicBool::new(true);
    let server =
        Server::start(move |_| match hostile.swap(false, std::sync::atomic::Ordering::SeqCst) {
            true => wire.clone(),
            false => Wire::new("HTTP/1.1 204 X\r\n\r\n"),
        });
    let api = client_with(&server, if expected == Some(K::Timeout) { LIMIT } else { LONG });
    let run = async {
        let answer = (Call::of(operation).run)(&api, &Ids::default()).await;
        assert_eq!(answer.err().as_ref().map(Error::kind), expected, "{what}, {operation}");
    };
    peak_of(&format!("{what} ({operation})"), run).await;
    api.ping().await.unwrap_or_else(|error| panic!("after {what}: {error}"));
}

fn sized(headers: &str, body: impl AsRef<[u8]>) -> Wire {
    let body = body.as_ref();
    let head = format!("{JSON}{headers}Content-Length: {}\r\n\r\n", body.len());
    Wire::new([head.as_bytes(), body].concat())
}

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

/// A text of JSON just under the limit of bytes, all of one unit.
fn full_of(open: &str, unit: &str, close: &str) -> Vec<u8> {
    let times = (10 * 1024 * 1024 - 1000) / unit.len();
    let mut text = format!("{open}{}", unit.repeat(times));
    text.pop();
    (text + close).into_bytes()
}

/// Kept as they come, chunks of one byte would take forty times their length.
async fn many_chunks(head: &Wire) {
    // A debug build takes minutes for as many as an answer may have.
    let most = 10 * MEBIBYTE / if cfg!(debug_assertions) { 80 } else { 1 };
    let server = {
        let wire = head.clone().repeat("1\r\n \r\n", most).then("0\r\n\r\n");
        Server::start(move |_| wire.clone())
    };
    let api = client_with(&server, Duration::from_secs(600));
    let run = async {
        let error = api.get_json::<Value>("/v1/extra/get").await.unwrap_err();
        assert_eq!(error.kind(), K::EmptyResponse, "{error}");
    };
    let least = (2 * MEBIBYTE + 8 * most).min(64 * MEBIBYTE);
    peak_under(least, &format!("{most} chunks of one byte (get_json)"), run).await;
}

async fn answers() {
    const TOO_LARGE: Option<K> = Some(K::ResponseTooLarge);
    const BROKEN: Option<K> = Some(K::Transport);
    let header = Wire::new("HTTP/1.1 200 OK\r\nx-a: ");
    call("a header without an end", "fetch_state", header.endless("x"), BROKEN).await;
    let lines = Wire::new("HTTP/1.1 200 OK\r\n").endless("x-a: b\r\n");
    call("headers without an end", "connect_sse", lines, BROKEN).await;
    let hints = "HTTP/1.1 103 X\r\nLink: </a>; rel=preload\r\n\r\n";
    // At full speed a debug build is busy for minutes with what its buffers hold.
    let flood = Wire::default().drip(hints.repeat(20), Duration::from_millis(5));
    call("103 without an end", "fetch_state", flood, Some(K::Timeout)).await;

    let chunks = Wire::new(format!("{JSON}Transfer-Encoding: chunked\r\n\r\n"));
    many_chunks(&chunks).await;

    let bomb = gzip(&gzip(&vec![b' '; 64 << 20]));
    let twice = sized("Content-Encoding: gzip\r\n", &bomb);
    call("a bomb in a bomb", "fetch_state", twice, Some(K::Decode)).await;
    let empty = Wire::new(format!("{JSON}Content-Encoding: gzip\r\n\r\n")).endless(gzip(b""));
    call("empty gzip members without an end", "fetch_state", empty, BROKEN).await;
    let name = Wire::new(format!("{JSON}Content-Encoding: gzip\r\n\r\n"))
        .then(b"\x1f\x8b\x08\x08\0\0\0\0\0\x03".as_slice());
    call(
        "a gzip name without an end",
        "fetch_state",
        name.drip("x".repeat(1 << 16), Duration::from_millis(5)),
        Some(K::Timeout),
    )
    .await;

    let deep = [vec![b'['; 5 << 20], vec![b']'; 5 << 20]].concat();
    call("five million levels", "get_json", sized("", &deep), TOO_LARGE).await;
    let levels = [vec![b'['; 100_000], vec![b']'; 100_000]].concat();
    call("100,000 levels", "get_json", sized("", &levels), Some(K::Decode)).await;
    let keys: String = (0..1_000_000).map(|n| format!("\"{n:05x}\":0,")).collect();
    let keys = format!("{{{}}}", keys.trim_end_matches(','));
    call("a million keys", "get_json", sized("", &keys), TOO_LARGE).await;
    for (what, operation, open, unit, close) in [
        ("10 MiB of zeros", "get_json", "[", "0,", "]"),
        ("10 MiB of empty lists", "get_json", "[", "[],", "]"),
        (
            "10 MiB of strings",
            "fetch_state",
            r#"{"peers":[{"id":"","public_key":"","mesh_ip":"","endpoint":"","psk":"","allowed_ips":["#,
            "\"\",",
            "]}]}",
        ),
        ("10 MiB of policies", "fetch_state", r#"{"policies":["#, r#"{"id":""},"#, "]}"),
    ] {
        call(what, operation, sized("", full_of(open, unit, close)), TOO_LARGE).await;
    }
}

/// What is within the limits, and as costly as it gets there.
async fn the_most_that_fits() {
    let most = 10 * MEBIBYTE as usize / 16 - 2000;
    let keys: String = (0..most / 3).map(|n| format!("\"{n:05x}\":{{}},")).collect();
    let padding = " ".repeat(5 << 20);
    let keys = format!("{{{}}}{padding}", keys.trim_end_matches(','));
    let server = Server::start(move |_| sized("", &keys));
    let api = client_with(&server, LONG);
    let run = async { drop(api.get_json::<Value>("/v1/extra/get").await.unwrap()) };
    peak_of("as many keys as an answer may hold (get_json)", run).await;

    let keys: String = (0..most / 2).map(|n| format!("\"{n:05x}\":\"\",")).collect();
    let keys = format!("{{\"metadata\":{{{}}}}}", keys.trim_end_matches(','));
    let server = Server::start(move |_| sized("", &keys));
    let api = client_with(&server, LONG);
    let run = async { drop(api.fetch_state("n").await.unwrap()) };
    peak_of("as many keys as an answer may hold (fetch_state)", run).await;
}

/// The event behind the flood, on the same connection, is handled.
async fn stream(what: &str, flood: impl FnOnce(Wire) -> Wire) {
    let honest = "\n\ndata: {\"event_type\":\"policy_updated\",\"event_id\":\"e-1\"}\n\n";
    let wire = flood(Wire::new(EVENTS)).then(honest).hold();
    let server = Server::start(move |seen| match seen.path.ends_with("/events") {
        true => wire.clone(),
        false => sized("", "{}"),
    });
    let manager = SseManager::new(client_with(&server, LONG), NoOpVerifier);
    let mut counted = Default::default();
    let run = async {
        let mut deliveries = manager.deliveries("n").unwrap();
        loop {
            if let Delivery::Event(event) = deliveries.next().await.unwrap().unwrap() {
                assert_eq!(event.event_id, "e-1", "{what}");
                break;
            }
        }
        counted = manager.status().borrow().counters;
    };
    peak_of(what, run).await;
    assert_eq!(counted.connections, 1, "{what}: {counted:?}");
}

#[tokio::test]
async fn no_answer_and_no_stream_costs_64_mib() {
    answers().await;
    the_most_that_fits().await;
    let mib = flood_mib();
    let line = "x".repeat(MEBIBYTE as usize);
    stream(&format!("a line of {mib} MiB"), |w| w.then("data: ").repeat(line.clone(), mib)).await;
    stream(&format!("a comment of {mib} MiB"), |w| w.then(":").repeat(line.clone(), mib)).await;
    stream(&format!("an id of {mib} MiB"), |w| w.then("id: ").repeat(line.clone(), mib)).await;
    let unit = "id: 1234567\n\n";
    let times = if full() { 1_000_000 } else { 20_000 };
    stream(&format!("{times} ids"), |w| w.repeat(unit, times)).await;
    let name = format!("event: {}\ndata: {{}}\n\n", &line[..1_000_000]);
    stream("10 event names of 1 MB", |w| w.repeat(name, 10)).await;
    let envelope = format!(
        "data: {{\"event_type\":\"a\",\"event_id\":\"\",\"payload\":\"{}\"}}\n\n",
        &line[..1_000_000]
    );
    stream("10 events of 1 MB without an id", |w| w.repeat(envelope, 10)).await;
    let lists = format!("data: {{\"a\":[{}[]]}}\n\n", "[],".repeat(300_000));
    stream("5 events of 300,000 lists", |w| w.repeat(lists, 5)).await;
}
