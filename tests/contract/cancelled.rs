//! Each future of a `ControlPlane`, dropped at each of its await points: the next call
//! works, and no task and no connection is left.

use std::future::{Future, poll_fn};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use futures::{FutureExt, Stream, StreamExt};
use plexsphere_client::events::{NoOpVerifier, SseItem, SseParser, SseStream, StreamItem};
use plexsphere_client::{ControlPlane, Error};
use plexsphere_mock::{Answer, MockControlPlane, Then};
use tokio::io::AsyncReadExt;

use crate::calls::{ARTIFACT_BYTES, CALLS, Call, EVENT_BYTES, Reply};
use crate::polled::{Cut, dropped, no_task_is_left};
use crate::requests::Ids;
use crate::support::{SOON, client, client_with, mock};

const A_MOMENT: Duration = Duration::from_millis(1);
/// Of how many pieces an answer's body is, each in a packet of its own.
const PIECES: usize = 4;
/// More polls than any of the calls needs.
const MOST_POLLS: usize = 200;

/// The reply, late, and in pieces.
fn in_pieces(reply: &Reply) -> Answer {
    let length = match reply {
        Reply::Ignored(_) => 16,
        Reply::Json(_, value) => value().to_string().len(),
        Reply::Events => EVENT_BYTES.len(),
        Reply::Bytes => ARTIFACT_BYTES.len(),
    };
    reply.answer().delay(A_MOMENT).pace(length / PIECES + 1, A_MOMENT)
}

/// Drops the call after each number of polls, and makes it whole after each.
async fn cut_at_each_poll(api: &ControlPlane, call: &Call, at: fn(usize) -> Cut) -> usize {
    let ids = Ids::default();
    for polls in 0..MOST_POLLS {
        if let Some(answer) = dropped((call.run)(api, &ids), at(polls)).await {
            assert_eq!(answer.unwrap(), call.reply.value(), "{}", call.operation);
            return polls;
        }
        let whole = tokio::time::timeout(SOON, (call.run)(api, &ids)).await;
        let next = whole.unwrap_or_else(|_| panic!("{} hangs after {polls} polls", call.operation));
        assert_eq!(next.unwrap(), call.reply.value(), "{} after {polls} polls", call.operation);
    }
    panic!("{} does not end", call.operation);
}

async fn every_call_may_be_dropped(mock: MockControlPlane, api: ControlPlane) {
    for call in CALLS {
        mock.script_always(call.route, in_pieces(&call.reply));
    }
    for at in [Cut::Waiting, Cut::Woken] {
        let polls = join_all(CALLS.iter().map(|call| cut_at_each_poll(&api, call, at))).await;
        println!("{} calls, {} drops", polls.len(), polls.iter().sum::<usize>());
        for (call, polls) in CALLS.iter().zip(polls) {
            assert!(polls >= 2, "{}: {polls}, so it never waited", call.operation);
        }
    }
    nothing_is_left(mock, api).await;
}

async fn nothing_is_left(mock: MockControlPlane, api: ControlPlane) {
    drop(api);
    assert!(mock.wait_until(SOON, |mock| mock.open_connections() == 0).await);
    no_task_is_left().await;
}

#[tokio::test]
async fn every_call_may_be_dropped_at_every_await_over_http_1() {
    let mock = mock().await;
    let api = client(&mock);
    every_call_may_be_dropped(mock, api).await;
}

#[tokio::test]
async fn every_call_may_be_dropped_at_every_await_over_tls_and_http_2() {
    let mock = MockControlPlane::builder().tls().start().await.unwrap();
    let api = client_with(&mock, |config| config.root_certificate_pem(mock.ca_pem().unwrap()));
    every_call_may_be_dropped(mock, api).await;
}

/// Reading an error's body has await points of its own.
#[tokio::test]
async fn an_answer_that_is_an_error_may_be_dropped_too() {
    let mock = mock().await;
    let api = client(&mock);
    for operation in ["heartbeat", "connect_sse", "fetch_artifact"] {
        let call = Call::of(operation);
        let problem = Answer::problem(409, "taken", "x").delay(A_MOMENT).pace(8, A_MOMENT);
        let mut polls = 0;
        let status = loop {
            mock.script(call.route, problem.clone());
            let ended = dropped((call.run)(&api, &Ids::default()), Cut::Waiting(polls)).await;
            mock.clear_script(call.route);
            if let Some(answer) = ended {
                break answer.unwrap_err().status();
            }
            mock.script(call.route, call.reply.answer());
            assert_eq!((call.run)(&api, &Ids::default()).await.unwrap(), call.reply.value());
            polls += 1;
        };
        assert_eq!(status, Some(409));
        assert!(polls >= 4, "{operation}: {polls}");
    }
    nothing_is_left(mock, api).await;
}

/// A client that lives on does not collect connections of calls that were dropped.
#[tokio::test]
async fn dropped_calls_do_not_leave_their_connections_open() {
    let mock = mock().await;
    let api = client(&mock);
    for operation in ["fetch_state", "connect_sse", "fetch_artifact"] {
        let call = Call::of(operation);
        mock.script_always(call.route, Answer::real().silence());
        for round in 0..40 {
            let before = mock.count(call.route);
            let ids = Ids::default();
            let mut running = pin!((call.run)(&api, &ids));
            tokio::select! {
                answer = &mut running => panic!("{answer:?}"),
                arrived = mock.wait_until(SOON, |mock| mock.count(call.route) > before) => {
                    assert!(arrived, "{operation} {round}");
                }
            }
        }
    }
    assert!(mock.wait_until(SOON, |mock| mock.open_connections() == 0).await);
    nothing_is_left(mock, api).await;
}

/// All items, each waited for by futures that are polled once and dropped.
async fn each_by_dropped_nexts<S: Stream + Unpin>(mut stream: S) -> Vec<S::Item> {
    let mut items = Vec::new();
    while let Some(item) = poll_fn(|cx| stream.next().poll_unpin(cx)).await {
        items.push(item);
    }
    items
}

fn text(chunks: Vec<Result<bytes::Bytes, Error>>) -> String {
    let bytes: Vec<u8> = chunks.into_iter().flat_map(|chunk| chunk.unwrap()).collect();
    String::from_utf8(bytes).unwrap()
}

#[tokio::test]
async fn a_dropped_next_of_any_stream_loses_nothing() {
    let mock = mock().await;
    let api = client(&mock);
    let events = (0..20)
        .map(|n| format!("id: {n}\ndata: {{\"event_type\":\"a\",\"event_id\":\"e-{n}\"}}\n\n"));
    let body: String = events.collect();
    mock.script_always("connect_sse", Answer::stream([body.clone()], Then::End).pace(37, A_MOMENT));
    let bytes = Answer::status(200).body(body.clone()).pace(37, A_MOMENT);
    mock.script_always("fetch_artifact", bytes);
    let (open, fetch) = (|| api.connect_sse("n", None), || api.fetch_artifact("v", "o", "a"));

    assert_eq!(text(each_by_dropped_nexts(open().await.unwrap()).await), body);
    assert_eq!(text(each_by_dropped_nexts(fetch().await.unwrap()).await), body);

    let mut reader = fetch().await.unwrap().into_async_read();
    let (mut read, mut buffer) = (Vec::new(), [0; 16]);
    loop {
        // A read that is polled once and dropped.
        let count = poll_fn(|cx| pin!(reader.read(&mut buffer)).poll(cx)).await.unwrap();
        if count == 0 {
            break;
        }
        read.extend_from_slice(&buffer[..count]);
    }
    assert_eq!(String::from_utf8(read).unwrap(), body);

    let items = each_by_dropped_nexts(SseParser::new().stream(open().await.unwrap())).await;
    let seen = items.into_iter().filter(|item| matches!(item, Ok(SseItem::Event(_))));
    assert_eq!(seen.count(), 20);

    let verified = SseStream::new(open().await.unwrap(), SseParser::new(), Arc::new(NoOpVerifier));
    let items = each_by_dropped_nexts(verified).await;
    let seen = items.into_iter().filter(|item| matches!(item, Ok(StreamItem::Event { .. })));
    assert_eq!(seen.count(), 20);
    nothing_is_left(mock, api).await;
}

/// Rule 8: what may be dropped says what becomes of it.
#[test]
fn every_public_future_and_stream_has_its_section_on_cancel_safety() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/src");
    let (mut checked, mut without) = (0, Vec::new());
    for (path, text) in sources(Path::new(root)) {
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        let streams = lines.iter().filter_map(|line| {
            let (head, name) = line.split_once("Stream for ")?;
            head.starts_with("impl").then(|| name.split(['<', ' ']).next().unwrap())
        });
        let structs: Vec<_> = streams.map(|name| format!("pub struct {name}")).collect();
        for (number, line) in lines.iter().enumerate() {
            let is_stream = structs.iter().any(|declared| {
                line.strip_prefix(declared.as_str())
                    .is_some_and(|rest| rest.starts_with([' ', '<', ';', '(']))
            });
            if line.starts_with("pub async fn ") || is_stream {
                checked += 1;
                let docs = lines[..number].iter().rev();
                let mut docs = docs.take_while(|l| l.starts_with("///") || l.starts_with("#["));
                if !docs.any(|line| *line == "/// # Cancel safety") {
                    without.push(format!("{}: {line}", path.display()));
                }
            }
        }
    }
    assert!(without.is_empty(), "{without:#?}");
    assert!(checked >= 25 + 6, "{checked}: 25 futures and 6 streams when this was written");
}

fn sources(folder: &Path) -> Vec<(PathBuf, String)> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| match path.is_dir() {
            true => sources(&path),
            false => vec![(path.clone(), std::fs::read_to_string(&path).unwrap())],
        })
        .collect()
}
