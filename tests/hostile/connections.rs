//! What a server does with the connection: closing it where nobody expects it, keeping
//! what it said it would close, and answers that nobody has asked for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use plexsphere_client::ErrorKind as K;

use crate::calls::CALLS;
use crate::requests::Ids;
use crate::rows::{
    LIMIT, Row, SHORT, Want, Wants, assert_is_fit_for_a_log, call_of, client, fails, honest, row,
    row_by, run,
};
use crate::server::{Server, Wire};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_connection_header_says_changes_no_answer() {
    let says = |line: &'static str, end: fn(Wire) -> Wire| -> Row {
        row_by(line, Wants::all(Want::Answer), move |call| end(honest(call).with_header(line)))
    };
    let kept: fn(Wire) -> Wire = |wire| wire;
    let closed: fn(Wire) -> Wire = Wire::close;
    run(
        "connection headers",
        vec![
            says("Connection: close\r\n", kept),
            says("Connection: close\r\n", closed),
            says("Connection: keep-alive\r\n", closed).closing_in_the_next_request(),
            says("Connection: close, keep-alive\r\n", kept),
            says("Connection: keep-alive\r\nConnection: close\r\n", kept),
            says("Connection: upgrade\r\nUpgrade: websocket\r\n", kept),
            says("Connection: upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AAAA\r\n", kept),
            says("Connection: Content-Length, Content-Type\r\n", kept),
            says("Connection: \r\n", kept),
            says("Keep-Alive: timeout=0, max=0\r\n", kept),
            says("Keep-Alive: timeout=-1, max=99999999999999999999\r\n", kept),
            says("Proxy-Connection: close\r\nTE: trailers\r\nTrailer: Content-Length\r\n", kept),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_ends_in_an_odd_place_is_an_error() {
    let broken = |name: &str, wire: Wire| row(name, wire, fails(K::Transport));
    run(
        "odd ends",
        vec![
            broken("closed at once", Wire::default().close()),
            broken("reset at once", Wire::default().reset()),
            broken("closed in the status", Wire::new("HTTP/1.1 20").close()),
            broken("reset in the status", Wire::new("HTTP/1.1 20").reset()),
            broken("closed in a header", Wire::new("HTTP/1.1 200 OK\r\nContent-Le").close()),
            broken(
                "closed before the blank line",
                Wire::new("HTTP/1.1 200 OK\r\nx-a: b\r\n").close(),
            ),
            broken(
                "reset before the blank line",
                Wire::new("HTTP/1.1 200 OK\r\nx-a: b\r\n").reset(),
            ),
            row(
                "an error, closed in its body",
                Wire::new("HTTP/1.1 404 X\r\nContent-Length: 99\r\n\r\nno").close(),
                fails(K::NotFound),
            ),
            row(
                "an error, reset in its body",
                Wire::new("HTTP/1.1 403 X\r\nContent-Length: 99\r\n\r\nno").reset(),
                fails(K::Forbidden),
            ),
            row_by("HTTP/1.0, and closed", Wants::all(Want::Answer), |call| {
                honest(call).replacing("HTTP/1.1", "HTTP/1.0").close()
            }),
            row_by("HTTP/1.0, and kept", Wants::all(Want::Answer), |call| {
                honest(call).replacing("HTTP/1.1", "HTTP/1.0")
            }),
        ],
    )
    .await;
}

const FORGED: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 17\r\n\r\n{\"forged\":\"yes\"} ";

/// Behind each answer comes another that nobody has asked for. Taken for the answer to the
/// next call it would let one who writes a body write a whole answer. The client leaves the
/// connection as soon as it sees it. What comes in the moment in which the next request goes
/// out cannot be told from an answer; whoever can do that can answer anyway.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_brings_what_nobody_asked_for_is_left() {
    for (name, more) in [
        ("an answer", FORGED),
        ("an error", "HTTP/1.1 401 X\r\nContent-Length: 0\r\n\r\n"),
        ("half an answer", "HTTP/1.1 401 X\r\nContent-Le"),
        ("an interim answer", "HTTP/1.1 100 X\r\n\r\n"),
        ("a blank line", "\r\n"),
        ("rubbish", "x"),
    ] {
        let server = Server::start(move |seen| honest(call_of(seen)).then(more).hold());
        let api = client(&server.url(), |config| config);
        for (before, call) in (0..).zip(CALLS) {
            let answer = (call.run)(&api, &Ids::default()).await;
            let value = answer.unwrap_or_else(|e| panic!("{name}: {e}"));
            assert_eq!(value, call.reply.value(), "{name}, {}", call.operation);
            let left = tokio::time::timeout(LIMIT, server.left(before + 1)).await;
            assert!(left.is_ok(), "{name}, {}: it is kept", call.operation);
        }
        assert_eq!(server.connections(), CALLS.len() as u64);
    }
}

/// The same in one write, so that it is read together with the answer before it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_glued_to_the_one_before_is_nobody_s() {
    let server = Server::start(|seen| honest(call_of(seen)).glued(FORGED));
    let api = client(&server.url(), |config| config);
    for _ in 0..10 {
        for call in CALLS {
            let answer = (call.run)(&api, &Ids::default()).await.unwrap();
            assert_eq!(answer, call.reply.value(), "{}", call.operation);
        }
    }
}

/// Calls whose answer has no field that it must have: they take any object.
const TAKE_ANYTHING: [&str; 4] = ["heartbeat", "fetch_state", "report_endpoint", "rotate_keys"];

/// A server that answers before it is asked decides itself which bytes answer which request:
/// an answer that meets its request on the way is taken for that one's, and the true one may
/// meet the next. A request may also be lost between two connections, which the HTTP library
/// does not notice; the time limit does. What can be held: no call lasts beyond its limit,
/// nothing is returned that is no answer of this server, each error says what broke, and as
/// soon as the server answers in turn each call gets its own answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_before_the_requests_leave_nothing_behind() {
    let hostile = Arc::new(AtomicBool::new(true));
    let greets = Arc::clone(&hostile);
    let greeting = move || match greets.load(Ordering::SeqCst) {
        true => Wire::new(FORGED),
        false => Wire::default(),
    };
    let server = Server::greeting(greeting, |seen| honest(call_of(seen)));
    let api = client(&server.url(), |config| config.request_timeout(SHORT).header_timeout(SHORT));
    for call in CALLS.iter().chain(CALLS) {
        let ids = Ids::default();
        let run = (call.run)(&api, &ids);
        let Ok(answer) = tokio::time::timeout(LIMIT, run).await else {
            panic!("{}: no end within {LIMIT:?}", call.operation)
        };
        let error = match answer {
            Ok(value) => {
                let is_the_server_s = value.to_string().contains("forged")
                    || CALLS.iter().any(|call| value == call.reply.value())
                    || value == serde_json::json!({ "accepted": 2 })
                    || TAKE_ANYTHING.contains(&call.operation);
                assert!(is_the_server_s, "{}: {value}", call.operation);
                continue;
            }
            Err(error) => error,
        };
        let kinds = [K::Transport, K::Timeout, K::Decode, K::UnexpectedContent];
        assert!(kinds.contains(&error.kind()), "{}: {error}", call.operation);
        assert_is_fit_for_a_log(call.operation, &error);
    }
    hostile.store(false, Ordering::SeqCst);
    // An answer that nobody waits for may still be on its way on the last connection.
    let _ = api.ping().await;
    for call in CALLS.iter().chain(CALLS) {
        let answer = (call.run)(&api, &Ids::default()).await;
        let value = answer.unwrap_or_else(|e| panic!("{}: {e}", call.operation));
        assert_eq!(value, call.reply.value(), "{}", call.operation);
    }
}
