//! The event manager against a hostile server: it does not stop, does not spin, and the
//! next honest event is handled.

use std::time::{Duration, Instant};

use plexsphere_client::{Mode, SseManager};
use plexsphere_mock::{Answer, Event, MockControlPlane, Then};
use serde_json::json;

use crate::support::{Agent, LIMIT, Rig, ms};

const STREAM: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
/// How often a row is met before the server is honest again.
const TIMES: usize = 3;
const FLOOD: usize = 64 << 10;
/// The time limits of a client whose server is to run into them.
const SHORT: Duration = ms(1000);
const FIVE_MINUTES: Duration = Duration::from_secs(300);

/// In MiB; `PLEXSPHERE_HOSTILE_MIB` sets another. A debug build is slow.
fn flood() -> usize {
    let set = std::env::var("PLEXSPHERE_HOSTILE_MIB").ok();
    set.map_or(FLOOD, |text| text.parse::<usize>().expect("a number of MiB") << 20)
}

async fn rig(limit: Duration) -> Rig {
    Rig::with(
        |mock| mock.keep_alive(ms(100)),
        |config| config.header_timeout(limit).sse_idle_timeout(limit),
    )
    .await
}

fn assert_short(agent: &Agent, name: &str) {
    let status = agent.status();
    let error = status.last_error.unwrap_or_default();
    assert!(error.len() <= 512 && !error.contains('\n'), "{name}: {} bytes", error.len());
    assert!(status.last_event_id.unwrap_or_default().len() <= 4096, "{name}");
}

/// What ends at a time limit of the client.
const LIMITED: [&str; 7] = [
    "headers byte by byte",
    "100 without an end",
    "an error body byte by byte",
    "an error body that is silent",
    "a stream that is silent",
    "half a line, and silence",
    "nothing",
];

/// Meets the answer some times, and then an honest server.
async fn survives(name: &'static str, answer: Answer) {
    let limited = LIMITED.contains(&name);
    let rig = rig(if limited { SHORT } else { LIMIT }).await;
    for _ in 0..TIMES {
        rig.mock.script("connect_sse", answer.clone());
    }
    let mut agent = rig.agent();
    agent.start();
    let times = TIMES as u64;
    let open =
        |mock: &MockControlPlane| mock.count("connect_sse") > times && mock.open_streams() == 1;
    assert!(rig.mock.wait_until(LIMIT * 2, open).await, "{name}: {:?}", agent.status());
    agent.status_until(|status| status.mode == Mode::Streaming).await;
    let sent = rig.publish();
    agent.events.until(|events| events.last() == Some(&sent)).await;
    assert_eq!(agent.events.all(), [sent], "{name}: no other is handled");
    let connects = rig.mock.count("connect_sse");
    // A short limit may be too short for an honest stream on a loaded machine.
    assert!(connects == times + 1 || limited && connects < times + 4, "{name}: {connects}");
    // 20 ms less a quarter, less what the clocks of two sides may differ.
    assert!(
        rig.connect_gaps().iter().all(|gap| *gap >= ms(14)),
        "{name}: {:?}",
        rig.connect_gaps()
    );
    assert_short(&agent, name);
    agent.manager.shutdown();
    agent.ended().await.unwrap();
}

fn answers() -> Vec<(&'static str, Answer)> {
    let wire = |text: String| Answer::wire([text], Then::End);
    let ok = "HTTP/1.1 200 OK\r\n";
    let big = "x".repeat(1 << 20);
    let bare = |line: &str| wire(format!("HTTP/1.1 {line}\r\nContent-Length: 0\r\n\r\n"));
    vec![
        ("a header of 1 MiB", wire(format!("{ok}x: {big}\r\n\r\n"))),
        ("headers without an end", Answer::endless_wire(ok, "x-a: b\r\n")),
        ("a header without an end", Answer::endless_wire("HTTP/1.1 200 OK\r\nx: ", "x")),
        ("headers byte by byte", Answer::endless_wire(ok, "x").drip(ms(20))),
        ("100 without an end", Answer::endless_wire("", "HTTP/1.1 100 X\r\n\r\n").pace(190, ms(5))),
        ("nothing", Answer::real().silence()),
        ("an error body that is silent", Answer::status(500).text("no").stall_after(1)),
        ("status 000", bare("000 X")),
        ("status 999", bare("999 X")),
        ("status 101", wire("HTTP/1.1 101 X\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n".into())),
        ("status 206", bare("206 X\r\nContent-Type: text/event-stream")),
        ("a redirect to itself", bare("307 X\r\nLocation: /")),
        (
            "a length of -1",
            wire(format!("{ok}Content-Type: text/event-stream\r\nContent-Length: -1\r\n\r\n")),
        ),
        (
            "a length of 0",
            wire(format!("{ok}Content-Type: text/event-stream\r\nContent-Length: 0\r\n\r\n")),
        ),
        (
            "a wrong chunk",
            wire(format!(
                "{ok}Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n"
            )),
        ),
        (
            "a chunk extension without an end",
            Answer::endless_wire(
                format!(
                    "{ok}Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n1;"
                ),
                "x",
            ),
        ),
        ("compressed", bare("200 OK\r\nContent-Type: text/event-stream\r\nContent-Encoding: gzip")),
        ("another type", bare("200 OK\r\nContent-Type: application/json")),
        ("a type of 64 KiB", bare(&format!("200 OK\r\nContent-Type: a/{}", &big[..65536]))),
        ("503 and a time that is none", bare("503 X\r\nRetry-After: -5")),
        (
            "429 and a time that is past",
            bare("429 X\r\nRetry-After: Thu, 01 Jan 1970 00:00:00 GMT"),
        ),
        ("a date of the year 9999", bare("502 X\r\nDate: Fri, 31 Dec 9999 23:59:59 GMT")),
        ("an error body without an end", Answer::status(500).endless("x")),
        ("an error body byte by byte", Answer::status(500).endless("x").drip(ms(20))),
        ("the end at once", wire(STREAM.into())),
        ("a reset at once", Answer::stream(["retry: 0\n\n"], Then::Reset)),
        ("a stream that is silent", Answer::stream([""; 0], Then::Stall)),
        ("half a line, and silence", Answer::stream(["data: {"], Then::Stall)),
        (
            "a line of 2 MiB, and the end",
            Answer::stream([format!("data: {}", "x".repeat(2 << 20))], Then::Cut),
        ),
        (
            "retry lines of absurd numbers",
            Answer::stream(
                [
                    "retry: 99999999999999999999999\n\nretry: 0\n\nretry: -1\n\nretry: 1e9\n\nretry:\n\n",
                ],
                Then::End,
            ),
        ),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_is_none_is_tried_again_and_the_next_honest_event_is_handled() {
    use futures::StreamExt;
    let began = Instant::now();
    let all = answers();
    let count = all.len();
    futures::stream::iter(all)
        .for_each_concurrent(4, |(name, answer)| survives(name, answer))
        .await;
    println!("event streams: {count} rows in {:?}", began.elapsed());
}

/// A flood on the open stream; the honest event behind it, on the same connection, is handled.
async fn wades(name: &'static str, flood: Vec<u8>) {
    let rig = rig(LIMIT).await;
    let mut agent = rig.streaming().await;
    let length = flood.len() as u64;
    let began = Instant::now();
    assert_eq!(rig.mock.inject(&rig.node_id, flood), 1);
    let sent = rig.publish();
    agent.events.until(|events| events.last() == Some(&sent)).await;
    let status = agent.status();
    assert_eq!(agent.events.len(), 1, "{name}: {:?}", status.counters);
    assert_eq!(status.counters.connections, 1, "{name}: the stream stays");
    assert!(status.counters.bytes >= length, "{name}");
    assert!(rig.mock.count("fetch_state") <= 8, "{name}: {} states", rig.mock.count("fetch_state"));
    assert_short(&agent, name);
    println!(
        "  {name}: {length} bytes in {:?}, {} skipped",
        began.elapsed(),
        status.counters.skipped
    );
    agent.stop().await;
}

fn floods() -> Vec<(&'static str, Vec<u8>)> {
    let size = flood();
    let fill = |unit: &str| unit.repeat(size / unit.len()).into_bytes();
    let ids: String = (0..size / 10).map(|n| format!("id:{n}\n\n")).collect();
    let name = "x".repeat((1 << 20) - 100);
    let named = format!("event: {name}\ndata: {{}}\n\n");
    let ided = format!("id: {name}\ndata: {{}}\n\n");
    let envelope = |event_type: &str, id: &str| {
        format!(
            "data: {{\"event_type\":\"{event_type}\",\"event_id\":\"{id}\",\"issued_at\":\"2025-01-15T10:30:00Z\",\"nonce\":\"n\",\"payload\":{{}},\"signature\":\"c2ln\"}}\n\n"
        )
    };
    let deep = format!("data: {}{}\n\n", "[".repeat(100_000), "]".repeat(100_000));
    let inside = format!(
        "data: {{\"event_type\":\"a\",\"event_id\":\"b\",\"payload\":{}{}}}\n\n",
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    let keys: String = (0..60_000).map(|n| format!("\"k{n}\":0,")).collect();
    vec![
        ("comments", fill(":\n")),
        ("a long comment", format!(":{}\n", "x".repeat(size * 16)).into_bytes()),
        ("blank lines", fill("\n")),
        ("carriage returns", fill("\r")),
        ("empty blocks", fill("event:\nid:\n\n")),
        ("ids", ids.into_bytes()),
        ("retry lines", fill("retry: 1\n")),
        ("retry lines of absurd length", format!("retry: {}\n\n", "9".repeat(size)).into_bytes()),
        ("unknown fields", fill("x:y\n")),
        ("lines without a colon", fill("data\n\n")),
        ("malformed events", fill("data: {\"event_type\":\"peer_removed\"\n\n")),
        ("events of bytes that are no text", b"data: \xff\xfe\n\n".repeat(5_000)),
        ("forged events", fill(&envelope("peer_removed", "e"))),
        ("a forged type of 1 MiB", envelope(&name[..1_000_000], "e").into_bytes()),
        ("a forged id of 1 MiB", envelope("a", &name[..1_000_000]).into_bytes()),
        ("event names of 1 MiB", named.repeat(4).into_bytes()),
        ("ids of 1 MiB", ided.repeat(4).into_bytes()),
        ("an event over the limit", format!("data: {}\n\n", "x".repeat(size * 16)).into_bytes()),
        ("an event of many lines", format!("{}\n", "data\n".repeat(size)).into_bytes()),
        ("an event 100,000 deep", deep.into_bytes()),
        ("a payload 100,000 deep", inside.into_bytes()),
        ("an event of 60,000 keys", format!("data: {{{}\"a\":0}}\n\n", keys).into_bytes()),
        ("a byte order mark before each line", "\u{feff}data: x\n\n".repeat(5_000).into_bytes()),
    ]
}

/// A forged block may be cut in the middle; it ends before the honest event comes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_on_the_stream_is_waded_through() {
    use futures::StreamExt;
    let began = Instant::now();
    let all = floods();
    let count = all.len();
    futures::stream::iter(all)
        .for_each_concurrent(2, |(name, mut flood)| {
            flood.extend_from_slice(b"\n\n");
            wades(name, flood)
        })
        .await;
    println!("floods: {count} rows in {:?}", began.elapsed());
}

/// One thread for everything: whatever floods in must leave room for the rest.
async fn is_fair(name: &'static str, unit: String) {
    let rig = rig(LIMIT).await;
    rig.mock.script("connect_sse", Answer::endless_wire(STREAM, unit));
    let mut agent = rig.agent();
    agent.start();
    agent.states.has(1).await;
    let before = agent.status_until(|status| status.counters.bytes > 32 << 10).await;
    let mut ticks = tokio::time::interval(ms(1));
    let began = Instant::now();
    for _ in 0..20 {
        ticks.tick().await;
    }
    assert!(began.elapsed() < Duration::from_secs(10), "{name}: {:?}", began.elapsed());
    assert!(
        agent.status_until(|s| s.counters.bytes > before.counters.bytes).await.mode
            == Mode::Streaming
    );
    assert_eq!(rig.mock.count("connect_sse"), 1, "{name}");
    agent.stop().await;
}

#[tokio::test]
async fn a_flood_without_an_end_leaves_room_for_other_tasks_and_for_the_shutdown() {
    let began = Instant::now();
    let forged = r#"data: {"event_type":"a","event_id":"b","issued_at":"2025-01-15T10:30:00Z","nonce":"n","payload":{},"signature":"c2ln"}"#;
    for (name, unit) in [
        ("comments", ":\n".repeat(1000)),
        ("blank lines", "\n".repeat(1000)),
        ("ids", "id: 1\n\n".repeat(1000)),
        ("retry lines", "retry: 1\n".repeat(1000)),
        ("malformed events", "data: x\n\n".repeat(1000)),
        ("forged events", format!("{forged}\n\n").repeat(100)),
        ("a line", "data: x".repeat(1000)),
    ] {
        is_fair(name, unit).await;
    }
    println!("fairness: 7 floods in {:?}", began.elapsed());
}

#[tokio::test]
async fn an_absurd_retry_after_is_five_minutes_and_a_change_of_the_network_is_sooner() {
    for form in ["99999999999999999999", "Fri, 31 Dec 9999 23:59:59 GMT", "4294967296"] {
        let rig = rig(LIMIT).await;
        rig.mock.script("connect_sse", Answer::status(503).header("Retry-After", form));
        let mut agent = rig.agent();
        agent.start();
        let status = agent.status_until(|status| status.next_attempt_at.is_some()).await;
        let wait = status.next_attempt_at.unwrap().duration_since(std::time::SystemTime::now());
        let wait = wait.unwrap();
        assert!(wait > FIVE_MINUTES - LIMIT && wait < FIVE_MINUTES * 3 / 2, "{form}: {wait:?}");
        let manager: &SseManager = &agent.manager;
        manager.network_changed();
        rig.mock.wait_for_streams(&rig.node_id, 1, LIMIT).await;
        let sent = rig.publish();
        assert_eq!(agent.events.has(1).await, [sent]);
        agent.stop().await;
    }
}

/// What is signed is the control plane's own, and still no reason to write megabytes.
#[tokio::test]
async fn a_signed_type_of_1_mib_is_handled_and_makes_no_long_line_in_the_log() {
    let logs = crate::logs::start();
    let rig = rig(LIMIT).await;
    let mut agent = rig.streaming().await;
    let long = "x".repeat(400_000);
    agent.manager.register_handler(long.as_str(), |_| async { Err("it fails".into()) });
    for event in [
        Event::new(&long, &json!({})),
        Event::new("a", &json!({})).event_id(&long),
        Event::new("a", &json!({})).frame_id(&long),
        Event::new("a\u{1b}[31m\nb", &json!({})).event_id("c\nd"),
        Event::new(&long, &json!({})).event_id(&long[1..1000]).forged(),
        Event::new("a", &json!({})).event_id(&long).forged(),
    ] {
        rig.mock.publish_event(&rig.node_id, event);
    }
    let last = rig.publish();
    agent.events.until(|events| events.last() == Some(&last)).await;
    agent.stop().await;
    for said in ["it fails", "event skipped", "... (400000 bytes)"] {
        assert!(logs.have(said), "{said}: {logs:.1000?}");
    }
    assert_eq!(logs.unfit(), [""; 0]);
}
