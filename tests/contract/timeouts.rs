//! One limit a layer: connecting, headers, a byte of a stream, a call in all.

use std::time::{Duration, Instant};

use futures::StreamExt;
use plexsphere_client::{Config, ControlPlane, ErrorKind};
use plexsphere_mock::{Answer, Then};

use crate::calls::{CALLS, Call};
use crate::requests::Ids;
use crate::support::{SOON, client_with, json_text, mock};

const SHORT: Duration = Duration::from_millis(150);

#[tokio::test]
async fn part_2_a_a_stream_and_an_artifact_outlive_a_1_s_request_timeout() {
    let mock = mock().await;
    let api = client_with(&mock, |config| config.request_timeout(Duration::from_secs(1)));
    let pause = Duration::from_millis(100);
    for operation in ["connect_sse", "fetch_artifact"] {
        let answer = Call::of(operation).reply.answer();
        let bytes = ": still here\n\n".repeat(2);
        mock.script(operation, answer.body(bytes.clone()).pace(2, pause));
    }
    let started = Instant::now();
    let ids = Ids::default();
    let (events, artifact) = tokio::join!(
        (Call::of("connect_sse").run)(&api, &ids),
        (Call::of("fetch_artifact").run)(&api, &ids),
    );
    assert_eq!(events.unwrap(), ": still here\n\n".repeat(2));
    assert_eq!(artifact.unwrap(), ": still here\n\n".repeat(2));
    assert!(started.elapsed() > Duration::from_millis(1300), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_call_ends_at_its_request_timeout_wherever_the_server_stops() {
    let mock = mock().await;
    let api = client_with(&mock, |config| config.request_timeout(SHORT));
    let calls = || CALLS.iter().filter(|call| !call.reply.is_stream());
    let text = || json_text(format!("\"{}\"", "x".repeat(5000)));
    let stops =
        [Answer::real().silence(), text().stall_after(10), text().drip(Duration::from_millis(20))];
    for (index, stop) in stops.into_iter().enumerate() {
        for call in calls() {
            mock.script(call.route, stop.clone());
        }
        let started = Instant::now();
        let ids = Ids::default();
        let errors = futures::future::join_all(calls().map(|call| (call.run)(&api, &ids))).await;
        assert!(started.elapsed() >= SHORT && started.elapsed() < SOON);
        for (call, answer) in calls().zip(errors) {
            // Where the body is ignored, the status has said all.
            if call.reply.value().is_null() && index > 0 {
                answer.unwrap();
                continue;
            }
            let error = answer.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Timeout, "{}: {error}", call.operation);
            assert!(error.is_timeout() && error.is_retryable());
            assert_eq!(error.status(), (index > 0).then_some(200), "{error}");
            assert!(error.to_string().contains("request_timeout"), "{error}");
        }
    }
}

#[tokio::test]
async fn a_stream_ends_at_its_header_timeout_and_no_call_does() {
    let mock = mock().await;
    let api = client_with(&mock, |config| config.header_timeout(SHORT));
    for operation in ["connect_sse", "fetch_artifact"] {
        mock.script(operation, Answer::real().silence());
        let started = Instant::now();
        let error = (Call::of(operation).run)(&api, &Ids::default()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
        assert_eq!(error.operation(), Some(operation));
        assert!(error.to_string().contains("header_timeout"), "{error}");
        assert!(started.elapsed() >= SHORT && started.elapsed() < SOON);
    }
    mock.script("ping", Answer::status(204).delay(SHORT * 2));
    api.ping().await.unwrap();
}

#[tokio::test]
async fn a_stream_ends_at_its_idle_timeout_and_any_byte_feeds_it() {
    let mock = mock().await;
    let api = client_with(&mock, |config| config.sse_idle_timeout(SHORT));
    for operation in ["connect_sse", "fetch_artifact"] {
        let call = Call::of(operation);
        mock.script(operation, call.reply.answer().body(": x\n\n").chunked().then(Then::Stall));
        let error = (call.run)(&api, &Ids::default()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::IdleTimeout, "{error}");
        assert!(error.is_timeout() && error.is_retryable());
        assert_eq!(error.operation(), Some(operation));
        let fed = call.reply.answer().body(":::::::::::").drip(SHORT / 5);
        mock.script(operation, fed);
        assert_eq!((call.run)(&api, &Ids::default()).await.unwrap(), ":::::::::::");
    }
}

#[tokio::test]
async fn the_idle_clock_stands_still_while_nobody_reads() {
    let mock = mock().await;
    let api = client_with(&mock, |config| config.sse_idle_timeout(SHORT));
    mock.script("connect_sse", Answer::stream([": a\n\n"], Then::Stall));
    let mut stream = api.connect_sse("node-1", None).await.unwrap();
    stream.next().await.unwrap().unwrap();
    // real time: a consumer that lets a real stream wait for longer than the limit.
    tokio::time::sleep(SHORT * 2).await;
    let started = Instant::now();
    let error = stream.next().await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::IdleTimeout);
    assert!(started.elapsed() >= SHORT, "the wait before did not count");
    assert!(stream.next().await.is_none(), "after an error there is no more");
}

#[tokio::test]
async fn a_stalled_error_body_does_not_hide_the_status() {
    let mock = mock().await;
    let api = client_with(&mock, |config| config.header_timeout(SHORT).request_timeout(SHORT));
    for operation in ["heartbeat", "connect_sse", "fetch_artifact"] {
        let answer = Answer::status(401).text("no such token").stall_after(7);
        mock.script(operation, answer);
        let started = Instant::now();
        let error = (Call::of(operation).run)(&api, &Ids::default()).await.unwrap_err();
        assert!(error.is_unauthorized(), "{operation}: {error}");
        assert_eq!(error.body(), Some("no such"));
        assert!(started.elapsed() < SOON);
    }
}

#[tokio::test]
async fn also_found_10_the_connect_timeout_covers_the_tls_handshake() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", silent.local_addr().unwrap());
    let config = Config::new(url).unwrap().connect_timeout(SHORT).request_timeout(SOON);
    let api = ControlPlane::new(config, "1").unwrap();
    for operation in ["ping", "connect_sse"] {
        let started = Instant::now();
        let error = (Call::of(operation).run)(&api, &Ids::default()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
        assert!(error.to_string().contains("connect_timeout"), "{error}");
        assert!(started.elapsed() >= SHORT && started.elapsed() < SOON);
    }
}
