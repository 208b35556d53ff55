//! When the stream ends, and what then.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use futures::future::join_all;
use plexsphere_client::{Config, Error, ErrorKind, Mode};
use plexsphere_mock::{Answer, Close, Event, Then};
use serde_json::json;

use crate::support::{LIMIT, Log, Rig, ms};

#[tokio::test]
async fn parity_2a_a_stream_outlives_the_request_timeout() {
    let rig =
        Rig::with(|mock| mock.keep_alive(ms(50)), |config| config.request_timeout(ms(300))).await;
    let mut agent = rig.streaming().await;
    // real time: longer than the limit that must not end it
    tokio::time::sleep(ms(1000)).await;
    let id = rig.publish();
    assert_eq!(agent.events.has(1).await, [id]);
    assert_eq!(rig.mock.count("connect_sse"), 1);
    agent.stop().await;
}

#[tokio::test]
async fn issue5_streams_without_a_byte_are_named_and_polled_at_once() {
    // Its keep-alive comments come too late: as if something held them back.
    let rig = Rig::with(|mock| mock, |config| config.sse_idle_timeout(ms(200))).await;
    let mut agent = rig.agent();
    agent.start();
    let status = agent.mode(Mode::Polling).await;
    let said = status.last_error.unwrap();
    let words = "connected, but no byte in 200ms three times in a row: something between buffers";
    assert!(said.starts_with(words), "{said}");
    assert_eq!(status.counters.connections, 3);
    // The stream is still tried, and when it flows all is well.
    rig.until(|mock| mock.count("connect_sse") >= 6).await;
    rig.mock.wait_for_streams(&rig.node_id, 1, LIMIT).await;
    let id = rig.publish();
    assert_eq!(agent.events.has(1).await, [id]);
    agent.stop().await;
}

#[tokio::test]
async fn issue5_answers_without_headers_are_named_and_polled_at_once() {
    let limits = |config: Config| config.connect_timeout(ms(400)).header_timeout(ms(500));
    let rig = Rig::with(|mock| mock, limits).await;
    rig.mock.script_always("connect_sse", Answer::real().silence());
    let mut agent = rig.agent();
    agent.start();
    let said = agent.mode(Mode::Polling).await.last_error.unwrap();
    assert!(said.contains("no byte in 500ms three times in a row"), "{said}");
    agent.stop().await;
}

#[tokio::test]
async fn issue5_a_byte_now_and_then_is_a_stream_that_flows() {
    let rig = Rig::with(|mock| mock, |config| config.sse_idle_timeout(ms(200))).await;
    let short = |text: &str| Answer::stream([text.to_owned()], Then::Stall);
    for text in ["", "", ":hi\n\n", "", "", ":hi\n\n", "", ""] {
        rig.mock.script("connect_sse", short(text));
    }
    rig.mock.script_always("connect_sse", short(":hi\n\n"));
    let mut agent = rig.agent();
    agent.start();
    rig.until(|mock| mock.count("connect_sse") >= 11).await;
    let status = agent.status();
    assert_ne!(status.mode, Mode::Polling);
    assert!(!status.last_error.unwrap().contains("three times"));
    agent.stop().await;
}

/// How many connects such a server sees in 1.5 s: the waits are 50, 100, 200, then
/// 400 ms, each ±25 %, so 5 to 9.
async fn connects(answer: fn() -> Answer) -> (usize, Vec<Duration>) {
    let rig = Rig::new().await;
    rig.mock.script_fn("connect_sse", move |_| answer());
    let mut agent = rig.agent();
    agent.manager.set_reconnect_intervals(ms(50), ms(400)).unwrap();
    agent.start();
    // real time: how often it connects in so long is what is measured
    tokio::time::sleep(ms(1500)).await;
    agent.stop().await;
    (rig.mock.count("connect_sse") as usize, rig.connect_gaps())
}

#[tokio::test]
async fn parity_2c_l3_an_answer_that_ends_at_once_is_no_hot_loop() {
    const NONE: [&str; 0] = [];
    type Made = (&'static str, fn() -> Answer);
    let answers: [Made; 7] = [
        ("an empty stream", || Answer::stream(NONE, Then::End)),
        ("a comment, then the end", || Answer::stream([":hi\n\n"], Then::End)),
        ("a reset in the body", || Answer::stream([":hi\n\n"], Then::Reset)),
        ("an HTML page", || Answer::html(200)),
        ("JSON", || Answer::ok_json(&json!({ "events": [] }))),
        ("an empty 200", || Answer::status(200)),
        ("a portal's 302", || Answer::status(302).header("location", "https://portal.example/")),
    ];
    let runs = answers.map(|(name, answer)| async move { (name, connects(answer).await) });
    for (name, (count, gaps)) in join_all(runs).await {
        assert!((3..=9).contains(&count), "{name}: {count} connects in 1.5 s");
        assert!(gaps[0] >= ms(37) && gaps[1] >= ms(75), "{name}: {gaps:?}");
    }
}

#[tokio::test]
async fn parity_2c_b3_without_a_stream_the_state_is_polled_at_once() {
    for status in [204, 501] {
        let rig = Rig::new().await;
        rig.mock.script_always("connect_sse", Answer::status(status));
        let mut agent = rig.agent();
        agent.manager.set_polling_fallback(LIMIT * 2, ms(100)).unwrap();
        agent.start();
        agent.states.has(3).await;
        assert_eq!(rig.mock.count("connect_sse"), 1, "{status}: the stream on the slow schedule");
        assert_eq!(agent.mode(Mode::Polling).await.counters.states, 3);
        agent.stop().await;
    }
}

#[tokio::test]
async fn parity_2d_retry_is_in_force() {
    let rig = Rig::new().await;
    rig.mock.stream_raw(["retry: 400\n\n"], Then::End);
    let mut agent = rig.agent();
    agent.manager.set_reconnect_intervals(ms(10), LIMIT).unwrap();
    agent.start();
    rig.mock.wait_for_requests("connect_sse", 2, LIMIT).await;
    let gap = rig.connect_gaps()[0];
    assert!(gap >= ms(300), "{gap:?}");
    agent.stop().await;
}

#[tokio::test]
async fn l4_retry_0_is_no_hot_loop() {
    let (count, gaps) = connects(|| Answer::stream(["retry: 0\n\n"], Then::End)).await;
    assert!((3..=9).contains(&count), "{count} connects in 1.5 s: {gaps:?}");
}

#[tokio::test]
async fn parity_2e_l4_retry_after_is_honoured_in_both_forms() {
    let answers: [fn() -> Answer; 4] = [
        || Answer::status(503).retry_after_secs(1),
        || Answer::status(429).retry_after_secs(1),
        || Answer::status(503).retry_after_date(Duration::from_secs(2)),
        || Answer::status(429).retry_after_date(Duration::from_secs(2)),
    ];
    let runs = answers.map(|answer| async move {
        let rig = Rig::new().await;
        rig.mock.script("connect_sse", answer());
        let mut agent = rig.agent();
        agent.start();
        rig.mock.wait_for_streams(&rig.node_id, 1, LIMIT).await;
        agent.stop().await;
        rig.connect_gaps()[0]
    });
    for gap in join_all(runs).await {
        // A date has whole seconds, so "in two seconds" may be one and a bit.
        assert!(gap >= ms(950), "{gap:?}");
    }
}

#[tokio::test]
async fn parity_2e_l4_retry_after_four_years_is_five_minutes() {
    let rig = Rig::new().await;
    rig.mock.script("connect_sse", Answer::status(503).retry_after_secs(4 * 365 * 86_400));
    let mut agent = rig.agent();
    agent.start();
    let status = agent.mode(Mode::Waiting).await;
    let wait = status.next_attempt_at.unwrap().duration_since(SystemTime::now()).unwrap();
    assert!((290..=376).contains(&wait.as_secs()), "{wait:?}");
    assert_eq!(rig.mock.count("connect_sse"), 1);
    agent.stop().await;
}

#[tokio::test]
async fn parity_2f_a_refused_cursor_is_dropped_and_made_good() {
    for status in [400, 410] {
        let rig = Rig::new().await;
        rig.mock.script_fn("connect_sse", move |request| match request.header("last-event-id") {
            Some(_) => Answer::problem(status, "cursor", "no such id"),
            None => Answer::real(),
        });
        let mut agent = rig.streaming().await;
        rig.publish();
        agent.status_until(|s| s.last_event_id.as_deref() == Some("1")).await;
        rig.mock.cut_streams(&rig.node_id, Close::End);
        rig.mock.wait_for_requests("connect_sse", 3, LIMIT).await;
        agent.states.has(2).await;
        assert_eq!(rig.cursors(), [None, Some("1".to_owned()), None], "{status}");
        rig.publish();
        agent.events.has(2).await;
        agent.stop().await;
    }
}

#[tokio::test]
async fn parity_2f_an_id_that_the_server_itself_cannot_read_does_not_block() {
    let rig = Rig::new().await;
    let mut agent = rig.streaming().await;
    let event = Event::new("policy_updated", &json!({})).frame_id("not a number");
    rig.mock.publish_event(&rig.node_id, event);
    agent.status_until(|s| s.last_event_id.as_deref() == Some("not a number")).await;
    rig.mock.cut_streams(&rig.node_id, Close::End);
    rig.mock.wait_for_requests("connect_sse", 3, LIMIT).await;
    assert_eq!(rig.cursors(), [None, Some("not a number".to_owned()), None]);
    agent.states.has(2).await;
    agent.stop().await;
}

#[tokio::test]
async fn parity_2f_an_id_that_no_header_takes_does_not_block() {
    let long = "7".repeat(200_000);
    for bad in ["5\u{0}", "5\r", "5\u{7f}", "5\u{1}", long.as_str()] {
        let rig = Rig::new().await;
        let mut agent = rig.streaming().await;
        rig.publish();
        agent.status_until(|s| s.counters.events == 1).await;
        let event = Event::new("policy_updated", &json!({})).frame_id(bad);
        rig.mock.publish_event(&rig.node_id, event);
        agent.status_until(|s| s.counters.events == 2).await;
        let last = agent.status().last_event_id;
        rig.mock.cut_streams(&rig.node_id, Close::End);
        rig.mock.wait_for_requests("connect_sse", 2, LIMIT).await;
        assert_eq!(rig.cursors()[1], last);
        // A carriage return ends the line: what stands before it is an id like any other.
        let expected = if bad == "5\r" { "5" } else { "1" };
        assert_eq!(last.as_deref(), Some(expected), "{:?}", &bad[..2]);
        agent.stop().await;
    }
}

#[tokio::test]
async fn parity_2l_l5_the_configured_idle_timeout_is_used() {
    let rig =
        Rig::with(|mock| mock.keep_alive(ms(40)), |config| config.sse_idle_timeout(ms(250))).await;
    let mut agent = rig.streaming().await;
    // real time: longer than the limit that must not end it
    tokio::time::sleep(ms(600)).await;
    assert_eq!(rig.mock.count("connect_sse"), 1, "comments are signs of life");
    let stalled = Instant::now();
    rig.mock.stall_streams(&rig.node_id, true);
    rig.mock.wait_for_requests("connect_sse", 2, LIMIT).await;
    assert!(stalled.elapsed() >= ms(200), "{:?}", stalled.elapsed());
    let error = agent.status().last_error.unwrap();
    assert!(error.contains("no byte in 250ms"), "{error}");
    agent.stop().await;
}

#[tokio::test]
async fn l5_headers_that_do_not_come_are_a_failure_too() {
    let rig = Rig::with(|mock| mock, |config| config.header_timeout(ms(150))).await;
    rig.mock.script("connect_sse", Answer::real().silence());
    let mut agent = rig.agent();
    rig.run(&mut agent).await;
    assert_eq!(agent.status().counters.failures, 1);
    agent.stop().await;
}

#[tokio::test]
async fn l1_refusals_stop_and_say_which() {
    let kinds =
        [(401, ErrorKind::Unauthorized), (403, ErrorKind::Forbidden), (404, ErrorKind::NotFound)];
    for (status, kind) in kinds {
        let rig = Rig::new().await;
        rig.mock.script("connect_sse", Answer::problem(status, "refused", "go away"));
        let mut agent = rig.agent();
        agent.start();
        let error = agent.ended().await.unwrap_err();
        assert_eq!((error.kind(), error.status()), (kind, Some(status)));
        assert_eq!(rig.mock.count("connect_sse"), 1);
        let status = agent.status();
        assert_eq!((status.mode, status.healthy), (Mode::Stopped, false));
        assert_eq!(status.last_error, Some(error.to_string()));
        rig.run(&mut agent).await;
        agent.stop().await;
    }
}

#[tokio::test]
async fn also_found_3_another_4xx_is_tried_slowly_and_stops_nothing() {
    for status in [400, 405, 406, 410, 422, 451] {
        let rig = Rig::new().await;
        rig.mock.script_always("connect_sse", Answer::problem(status, "no", "no"));
        let mut agent = rig.agent();
        agent.start();
        let waiting = agent.mode(Mode::Waiting).await;
        let wait = waiting.next_attempt_at.unwrap().duration_since(SystemTime::now()).unwrap();
        assert!((220..=376).contains(&wait.as_secs()), "{status}: {wait:?}");
        agent.stop().await;
    }
}

#[tokio::test]
async fn l2_a_portal_s_page_is_not_a_refusal() {
    let rig = Rig::new().await;
    for status in [403, 404, 401] {
        rig.mock.script("connect_sse", Answer::html(status));
    }
    let mut agent = rig.agent();
    rig.run(&mut agent).await;
    assert_eq!(agent.status().counters.failures, 3);
    agent.stop().await;
}

#[tokio::test]
async fn reconnect_parity_polling_takes_over_and_ends_with_the_stream() {
    let rig = Rig::new().await;
    rig.mock.set_bus_down(true);
    let mut agent = rig.agent();
    agent.manager.set_polling_fallback(ms(150), ms(60)).unwrap();
    agent.start();
    agent.states.has(3).await;
    agent.mode(Mode::Polling).await;
    assert!(rig.mock.count("connect_sse") >= 3, "the stream is still tried");
    rig.mock.set_bus_down(false);
    agent.mode(Mode::Streaming).await;
    rig.mock.wait_for_streams(&rig.node_id, 1, LIMIT).await;
    rig.publish();
    agent.events.has(1).await;
    let polls = agent.states.len();
    // real time: nothing may come in so long
    tokio::time::sleep(ms(400)).await;
    assert_eq!(agent.states.len(), polls, "no polls beside an open stream");
    // It was not open for long enough to be healthy, so polling resumes.
    rig.mock.set_bus_down(true);
    agent.mode(Mode::Polling).await;
    agent.states.has(polls + 2).await;
    agent.stop().await;
}

fn failing() -> Error {
    plexsphere_client::Config::new("no url").unwrap_err()
}

#[tokio::test]
async fn manager_parity_a_poll_function_replaces_the_fetch() {
    let rig = Rig::new().await;
    rig.mock.set_bus_down(true);
    let mut agent = rig.agent();
    agent.manager.set_polling_fallback(ms(50), ms(50)).unwrap();
    let (calls, plane, node) =
        (Arc::new(AtomicUsize::new(0)), rig.plane.clone(), rig.node_id.clone());
    let counted = Arc::clone(&calls);
    agent.manager.set_poll_fn(move || {
        let (call, plane, node) =
            (counted.fetch_add(1, Ordering::SeqCst), plane.clone(), node.clone());
        async move {
            match call {
                0 => panic!("a poll function"),
                1 => Err(failing()),
                _ => plane.fetch_state(&node).await,
            }
        }
    });
    agent.start();
    agent.states.has(2).await;
    assert_eq!(agent.status().counters.state_failures, 2, "a panic and an error");
    let before = calls.load(Ordering::SeqCst);
    rig.mock.set_bus_down(false);
    agent.mode(Mode::Streaming).await;
    agent.states.has(3).await;
    assert!(calls.load(Ordering::SeqCst) > before, "the reconcile uses it too");
    agent.stop().await;
    let (fetched, called) = (rig.mock.count("fetch_state") as usize, calls.load(Ordering::SeqCst));
    // The stop may have cut one call short before its request.
    assert!((called - 3..=called - 2).contains(&fetched), "{fetched} of {called} calls");
}

#[tokio::test]
async fn l6_a_new_network_reconnects_now_and_at_most_once_a_second() {
    let rig = Rig::new().await;
    let mut agent = rig.agent();
    agent.manager.set_reconnect_intervals(LIMIT * 2, LIMIT * 2).unwrap();
    rig.run(&mut agent).await;
    let sent = rig.publish();
    agent.status_until(|s| s.counters.events == 1).await;
    let connection = rig.mock.requests_for("connect_sse")[0].connection;
    for _ in 0..20 {
        agent.manager.network_changed();
    }
    let requests = rig.mock.wait_for_requests("connect_sse", 2, LIMIT).await;
    let gap = requests[1].at - requests[0].at;
    assert!(gap >= ms(990) && gap < LIMIT, "{gap:?}");
    assert_ne!(requests[1].connection, connection, "not over the old connection");
    agent.states.has(2).await;
    assert_eq!(rig.mock.count("connect_sse"), 2);
    assert_eq!(agent.events.all(), [sent]);
    agent.stop().await;
}

#[tokio::test]
async fn l6_a_new_network_ends_a_long_wait() {
    let rig = Rig::new().await;
    rig.mock.script("connect_sse", Answer::status(503));
    let mut agent = rig.agent();
    agent.manager.set_reconnect_intervals(LIMIT * 2, LIMIT * 2).unwrap();
    agent.start();
    agent.mode(Mode::Waiting).await;
    agent.manager.network_changed();
    agent.mode(Mode::Streaming).await;
    agent.stop().await;
}

#[tokio::test]
async fn l6_a_change_of_before_the_start_does_not_delay_it() {
    let rig = Rig::new().await;
    let mut agent = rig.agent();
    let modes = agent.modes();
    agent.manager.network_changed();
    agent.manager.reconcile_now();
    rig.run(&mut agent).await;
    let id = rig.publish();
    assert_eq!(agent.events.has(1).await, [id]);
    assert_eq!(modes.all(), ["connecting", "streaming"], "without a wait");
    agent.stop().await;
}

#[tokio::test]
async fn a_network_that_fails_in_every_way_stops_nothing() {
    let rig = Rig::new().await;
    let mut agent = rig.streaming().await;
    let mut sent = vec![rig.publish()];
    agent.events.has(1).await;
    for close in [Close::End, Close::Cut, Close::MidFrame, Close::Reset] {
        rig.mock.cut_streams(&rig.node_id, close);
        sent.extend(rig.publish_some(2));
        agent.events.has(sent.len()).await;
    }
    rig.mock.close_port().await;
    sent.extend(rig.publish_some(2));
    agent.status_until(|s| s.counters.failures >= 6).await;
    rig.mock.refuse_connections(3);
    rig.mock.open_port().await;
    assert_eq!(agent.events.has(sent.len()).await, sent);
    agent.stop().await;
}

#[tokio::test]
async fn l1_a_callback_that_panics_does_not_end_the_loop() {
    let rig = Rig::new().await;
    let mut agent = rig.agent();
    let skipped = Log::default();
    let log = skipped.clone();
    agent.manager.on_skipped(move |skip| {
        log.add(skip.reason.to_string());
        panic!("a callback");
    });
    agent.manager.on_state(|_| async { panic!("a state handler") });
    rig.run(&mut agent).await;
    rig.mock.inject(&rig.node_id, "data: no envelope\n\n");
    skipped.has(1).await;
    let id = rig.publish();
    assert_eq!(agent.events.has(1).await, [id]);
    agent.stop().await;
    assert!(agent.status().counters.handler_panics >= 1);
}
