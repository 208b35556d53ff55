//! Every status with every body: kind, predicates, fields and text of the error.

use std::time::Duration;

use plexsphere_client::{Error, ErrorKind};
use plexsphere_mock::{Answer, MockControlPlane};

use crate::calls::{CALLS, Call};
use crate::requests::Ids;
use crate::support::{client, mock};

const STATUSES: [(u16, ErrorKind); 21] = [
    (300, ErrorKind::Redirect),
    (301, ErrorKind::Redirect),
    (302, ErrorKind::Redirect),
    (303, ErrorKind::Redirect),
    (304, ErrorKind::Redirect),
    (307, ErrorKind::Redirect),
    (308, ErrorKind::Redirect),
    (400, ErrorKind::BadRequest),
    (401, ErrorKind::Unauthorized),
    (403, ErrorKind::Forbidden),
    (404, ErrorKind::NotFound),
    (408, ErrorKind::Status),
    (409, ErrorKind::Conflict),
    (413, ErrorKind::PayloadTooLarge),
    (418, ErrorKind::Status),
    (429, ErrorKind::RateLimit),
    (500, ErrorKind::Server),
    (501, ErrorKind::Server),
    (502, ErrorKind::Server),
    (503, ErrorKind::Server),
    (504, ErrorKind::Server),
];

const TEXT: &str = "the disk is full\nsecond line";
const MEGABYTES: u64 = 5 * 1024 * 1024;

/// What a body should leave in the error.
enum Left {
    Nothing,
    Text(&'static str),
    Problem,
    Html,
    /// The first 4 KiB of something longer.
    Start,
    /// Some start of [`TEXT`], perhaps none.
    Piece,
}

struct Body {
    name: &'static str,
    answer: fn(u16) -> Answer,
    left: Left,
}

const fn body(name: &'static str, answer: fn(u16) -> Answer, left: Left) -> Body {
    Body { name, answer, left }
}

const BODIES: [Body; 9] = [
    body("empty", Answer::status, Left::Nothing),
    body("plain text", plain, Left::Text(TEXT)),
    body("problem", problem, Left::Problem),
    body("HTML", Answer::html, Left::Html),
    body("gzipped text", |status| plain(status).gzip(), Left::Text(TEXT)),
    body("gzipped problem", |status| problem(status).gzip(), Left::Problem),
    body("not gzip", |status| plain(status).bad_gzip(), Left::Nothing),
    body("half a gzip", |status| plain(status).truncated_gzip(), Left::Piece),
    body(
        "5 MB",
        |status| Answer::status(status).repeat("0123456789abcdef", MEGABYTES),
        Left::Start,
    ),
];

fn plain(status: u16) -> Answer {
    Answer::status(status).text(TEXT)
}

fn problem(status: u16) -> Answer {
    Answer::problem(status, "disk_full", TEXT)
}

async fn failure(mock: &MockControlPlane, call: &Call, answer: Answer) -> Error {
    mock.script(call.route, answer);
    (call.run)(&client(mock), &Ids::default()).await.unwrap_err()
}

#[tokio::test]
async fn every_status_and_body_of_every_call() {
    let mock = mock().await;
    let api = client(&mock);
    let ids = Ids::default();
    let mut checked = 0;
    for call in CALLS {
        for (status, kind) in STATUSES {
            for body in BODIES.iter().filter(|body| is_due(call, status, body)) {
                mock.script(call.route, (body.answer)(status));
                let error = (call.run)(&api, &ids).await.unwrap_err();
                let what = format!("{} {status} {}: {error}", call.operation, body.name);
                assert_eq!(error.kind(), kind, "{what}");
                assert_error(call, status, body, &error, &what);
                checked += 1;
            }
        }
    }
    assert!(checked > 3000, "{checked}");
}

/// 5 MB take their time: three statuses of every call. 304 has no body by its definition.
fn is_due(_: &Call, status: u16, body: &Body) -> bool {
    match body.left {
        Left::Start => matches!(status, 400 | 401 | 503),
        Left::Nothing => true,
        _ => status != 304,
    }
}

fn assert_error(call: &Call, status: u16, body: &Body, error: &Error, what: &str) {
    assert_eq!(error.operation(), Some(call.operation), "{what}");
    assert_eq!(error.status(), Some(status), "{what}");
    assert_eq!(error.retry_after(), None, "{what}");
    assert_predicates(error, what);
    let html = matches!(body.left, Left::Html);
    let retryable = matches!(status, 408 | 429 | 500 | 502..) || html;
    assert_eq!(error.is_retryable(), retryable, "{what}");
    assert_display(call, status, error, what);
    match body.left {
        _ if call.secret => assert_eq!(error.body(), None, "{what}"),
        Left::Nothing => assert_eq!(error.body(), None, "{what}"),
        Left::Text(text) => assert_eq!(error.body(), Some(text), "{what}"),
        Left::Problem => assert!(error.body().unwrap().starts_with('{'), "{what}"),
        Left::Html => assert!(error.body().unwrap().starts_with("<!DOCTYPE html>"), "{what}"),
        Left::Start => assert_eq!(error.body().map(str::len), Some(4096), "{what}"),
        Left::Piece => assert!(TEXT.starts_with(error.body().unwrap_or_default()), "{what}"),
    }
    match (&body.left, error.problem()) {
        (Left::Problem, Some(problem)) => {
            assert_eq!(problem.type_.as_deref(), Some("urn:plexsphere:problem:disk_full"));
            assert_eq!(problem.code.as_deref(), Some("disk_full"), "{what}");
            assert_eq!(problem.detail.as_deref(), Some(TEXT), "{what}");
            assert_eq!(problem.instance.as_deref(), Some("/mock/scripted"), "{what}");
            assert_eq!(problem.status, Some(status), "{what}");
            assert!(problem.title.is_some(), "{what}");
        }
        (_, problem) => assert_eq!(problem, None, "{what}"),
    }
}

fn assert_predicates(error: &Error, what: &str) {
    let predicates: [(ErrorKind, bool); 8] = [
        (ErrorKind::BadRequest, error.is_bad_request()),
        (ErrorKind::Unauthorized, error.is_unauthorized()),
        (ErrorKind::Forbidden, error.is_forbidden()),
        (ErrorKind::NotFound, error.is_not_found()),
        (ErrorKind::Conflict, error.is_conflict()),
        (ErrorKind::PayloadTooLarge, error.is_payload_too_large()),
        (ErrorKind::RateLimit, error.is_rate_limit()),
        (ErrorKind::Server, error.is_server()),
    ];
    for (kind, holds) in predicates {
        assert_eq!(holds, kind == error.kind(), "{kind:?}: {what}");
    }
    assert!(!error.is_timeout(), "{what}");
}

/// One line that begins with the operation and the status, without the server's words.
fn assert_display(call: &Call, status: u16, error: &Error, what: &str) {
    let text = error.to_string();
    assert!(text.starts_with(&format!("{}: {status}", call.operation)), "{what}");
    for form in [text, format!("{error:?}")] {
        assert!(!form.contains('\n') && form.len() < 300, "{what}");
        assert!(!form.contains("disk is full"), "{what}");
    }
}

#[tokio::test]
async fn retry_after_is_read_in_both_forms() {
    let mock = mock().await;
    for operation in ["heartbeat", "fetch_state", "connect_sse", "fetch_artifact"] {
        let call = Call::of(operation);
        for status in [429, 503, 413] {
            let answer = || plain(status);
            let error = failure(&mock, call, answer().retry_after_secs(7)).await;
            assert_eq!(error.retry_after(), Some(Duration::from_secs(7)), "{operation} {status}");
            let ahead = Duration::from_secs(90);
            let error = failure(&mock, call, answer().retry_after_date(ahead)).await;
            assert_eq!(error.retry_after(), Some(ahead), "{operation} {status}");
        }
        for bad in ["-1", "soon", "", "1.5"] {
            let error = failure(&mock, call, plain(429).header("Retry-After", bad)).await;
            assert_eq!(error.retry_after(), None, "{operation} {bad:?}");
        }
        let past = "Sun, 06 Nov 1994 08:49:37 GMT";
        let error = failure(&mock, call, plain(429).header("Retry-After", past)).await;
        assert_eq!(error.retry_after(), Some(Duration::ZERO));
        let huge = "99999999999999999999";
        let error = failure(&mock, call, plain(429).header("Retry-After", huge)).await;
        assert!(error.retry_after() > Some(Duration::from_secs(u32::MAX.into())));
    }
}

#[tokio::test]
async fn retry_after_as_a_date_counts_by_the_server_s_clock() {
    let mock = mock().await;
    let answer = plain(503)
        .header("Date", "Sun, 06 Nov 1994 08:49:37 GMT")
        .header("Retry-After", "Sun, 06 Nov 1994 08:50:07 GMT");
    let error = failure(&mock, Call::of("ping"), answer).await;
    assert_eq!(error.retry_after(), Some(Duration::from_secs(30)));
}

#[tokio::test]
async fn body_is_at_most_4_kib_whatever_the_bytes() {
    let mock = mock().await;
    let two_bytes_a_character = format!("x{}", "é".repeat(8000));
    for bytes in [two_bytes_a_character.into_bytes(), vec![0xff; 16_000]] {
        for operation in ["ping", "fetch_artifact"] {
            let answer = Answer::status(500).body(bytes.clone());
            let error = failure(&mock, Call::of(operation), answer).await;
            let length = error.body().unwrap().len();
            assert!((4090..=4096).contains(&length), "{length}");
        }
    }
}

#[tokio::test]
async fn problem_details_are_read_from_plain_json_too_and_a_strange_code_is_not_printed() {
    let mock = mock().await;
    let call = Call::of("report_drift");
    let answer = Answer::status(409).json(&serde_json::json!({ "code": "version_conflict" }));
    let error = failure(&mock, call, answer).await;
    assert_eq!(error.problem().unwrap().code.as_deref(), Some("version_conflict"));
    assert_eq!(error.to_string(), "report_drift: 409 Conflict (version_conflict)");
    for code in ["two words", "line\nbreak", "", "é"] {
        let error = failure(&mock, call, Answer::problem(409, code, "")).await;
        assert_eq!(error.to_string(), "report_drift: 409 Conflict", "{code:?}");
    }
    for not_a_problem in ["[]", "[\"about:blank\"]", "{}", "7", "{\"status\":\"x\"}", "{"] {
        let answer =
            plain(409).body(not_a_problem).header("Content-Type", "application/problem+json");
        assert_eq!(failure(&mock, call, answer).await.problem(), None, "{not_a_problem}");
    }
}

#[tokio::test]
async fn a_status_without_a_name_is_an_error_too() {
    let mock = mock().await;
    for (status, kind) in
        [(499, ErrorKind::Status), (599, ErrorKind::Server), (799, ErrorKind::Status)]
    {
        let error = failure(&mock, Call::of("ping"), Answer::status(status)).await;
        assert_eq!((error.kind(), error.status()), (kind, Some(status)));
        assert_eq!(error.to_string(), format!("ping: status {status}"));
    }
}

#[tokio::test]
async fn an_html_page_is_named_as_a_proxy_s() {
    let mock = mock().await;
    for status in [403, 404, 502] {
        let error = failure(&mock, Call::of("heartbeat"), Answer::html(status)).await;
        assert!(error.is_retryable());
        assert!(error.to_string().contains("a proxy or portal answered"), "{error}");
    }
    // Also a page with nothing on it, of whatever call.
    for operation in ["ping", "fetch_state", "get_json"] {
        let empty = Answer::status(200).header("Content-Type", "text/html");
        let error = failure(&mock, Call::of(operation), empty).await;
        assert_eq!(error.kind(), ErrorKind::UnexpectedContent, "{error}");
        assert!(error.is_retryable());
    }
}
