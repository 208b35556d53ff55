//! Headers that lie: the content type, and how long to wait.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::join_all;
use plexsphere_client::ErrorKind as K;

use crate::calls::CALLS;
use crate::requests::Ids;
use crate::rows::{
    Row, TOKEN, Want, Wants, assert_is_fit_for_a_log, call_of, client, fails, honest, honest_body,
    row, row_by, run,
};
use crate::server::{Server, Wire};

fn typed_as(name: &str, lines: impl Into<String>, wants: Wants) -> Row {
    let lines = lines.into();
    row_by(name, wants, move |call| {
        let body = honest_body(call);
        Wire::new(format!("HTTP/1.1 200 OK\r\n{lines}Content-Length: {}\r\n\r\n{body}", body.len()))
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_content_type_that_lies_misleads_nobody() {
    let no_stream = || Wants::all(Want::Answer).events(Want::Error(K::UnexpectedContent));
    let lie = |value: &str| typed_as(value, format!("Content-Type: {value}\r\n"), no_stream());
    let page = |value: &str| {
        typed_as(value, format!("Content-Type: {value}\r\n"), fails(K::UnexpectedContent))
    };
    let long = format!("Content-Type: text/{}\r\n", "x".repeat(64 * 1024));
    run(
        "content types",
        vec![
            typed_as("none", "", no_stream()),
            lie("image/png"),
            lie("text/plain; charset=utf-16"),
            lie("application/json; charset=ebcdic"),
            lie("*/*"),
            lie(";"),
            lie("\u{7f}".replace('\u{7f}', "multipart/form-data; boundary=x").as_str()),
            lie(&format!("text/{TOKEN}")),
            lie(&format!("{TOKEN}/x")),
            lie(&format!("x{TOKEN}y")),
            typed_as("64 KiB", long, no_stream()),
            typed_as("bytes that are no text", "Content-Type: \u{fc}/\u{fc}\r\n", no_stream()),
            typed_as(
                "the right one second",
                "Content-Type: text/plain\r\nContent-Type: text/event-stream\r\n",
                no_stream(),
            ),
            page("text/html"),
            page("TEXT/HTML;charset=x"),
            page(" application/xhtml+xml "),
        ],
    )
    .await;
}

/// A server that has a token can write it into any answer. It stays out of every text.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_the_server_sends_back_is_in_no_text() {
    let answer = |status: u16, headers: String, body: String| {
        Wire::new(format!(
            "HTTP/1.1 {status} {TOKEN}\r\n{headers}Content-Length: {}\r\n\r\n{body}",
            body.len()
        ))
    };
    let problem = format!(r#"{{"code":"{TOKEN}","detail":"{TOKEN}","title":"{TOKEN}"}}"#);
    let json = "Content-Type: application/problem+json\r\n".to_owned();
    let to = |url: String| answer(307, format!("Location: {url}\r\n"), String::new());
    let reader = || fails(K::Decode).ignored(Want::Answer).streams(Want::Ok);
    run(
        "tokens sent back",
        vec![
            row("as a code", answer(409, json.clone(), problem.clone()), fails(K::Conflict)),
            row(
                "as part of a code",
                answer(409, json, problem.replace(TOKEN, &format!("a.{TOKEN}.b"))),
                fails(K::Conflict),
            ),
            row("as a host", to(format!("https://{TOKEN}/a")), fails(K::Redirect)),
            row(
                "as part of a host",
                to(format!("https://a.{TOKEN}.example:8443/a")),
                fails(K::Redirect),
            ),
            row("as a scheme", to(format!("{TOKEN}://a/b")), fails(K::Redirect)),
            row("as a user", to(format!("https://{TOKEN}:{TOKEN}@a/b")), fails(K::Redirect)),
            row(
                "as a retry time",
                answer(429, format!("Retry-After: {TOKEN}\r\n"), String::new()),
                fails(K::RateLimit),
            ),
            row_by("as a value", reader(), |call| {
                crate::rows::with_body(call, "", format!("[\"{TOKEN}\"]x"))
            }),
            row_by("as a name", Wants { typed: Want::Either(K::Decode), ..reader() }, |call| {
                crate::rows::with_body(call, "", format!("{{\"{TOKEN}\":{{\"{TOKEN}\":1e400}}}}"))
            }),
            row(
                "as a status line",
                Wire::new(format!("{TOKEN}\r\n\r\n")).close(),
                fails(K::Transport),
            ),
            row(
                "as a header that is none",
                Wire::new(format!("HTTP/1.1 200 OK\r\n{TOKEN}\r\n\r\n")).close(),
                fails(K::Transport),
            ),
            row(
                "as a length",
                answer(200, format!("Content-Length: {TOKEN}\r\n"), String::new()),
                fails(K::Transport),
            ),
        ],
    )
    .await;
}

/// Each form, and what is made of it.
fn forms() -> Vec<(String, Option<Duration>)> {
    let secs = |n| Some(Duration::from_secs(n));
    let far = "Fri, 31 Dec 9999 23:59:59 GMT";
    let none = [
        "-1",
        "+1",
        "1.5",
        "1e9",
        "0x10",
        "soon",
        "5 s",
        "5,6",
        "NaN",
        "\u{661}",
        "1_000",
        "Sun, 32 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994",
        "99999-12-31T00:00:00Z",
        "Fri, 31 Dec 99999 23:59:59 GMT",
        "",
        "\u{fc}",
    ];
    let mut forms: Vec<_> = none.map(|text| (text.to_owned(), None)).into();
    forms.extend([
        ("0".to_owned(), secs(0)),
        ("000000000000000000000000007".to_owned(), secs(7)),
        ("18446744073709551615".to_owned(), secs(u64::MAX)),
        ("99999999999999999999999999".to_owned(), secs(u64::MAX)),
        ("9".repeat(100_000), secs(u64::MAX)),
        ("5\r\nRetry-After: 100".to_owned(), secs(5)),
        ("Thu, 01 Jan 1970 00:00:00 GMT".to_owned(), secs(0)),
        (format!("{far}\r\nDate: {far}"), secs(0)),
        (format!("{far}\r\nDate: Fri, 31 Dec 9999 23:59:50 GMT"), secs(9)),
        (format!("{far}\r\nDate: nonsense"), None),
    ]);
    forms
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_after_of_any_form_is_a_time_or_none() {
    let now = Arc::new(Mutex::new(String::new()));
    let answer = Arc::clone(&now);
    let server = Server::start(move |_| Wire::new(answer.lock().unwrap().clone()));
    let api = client(&server.url(), |config| config);
    let mut cases = 0;
    for (status, kind) in [(429, K::RateLimit), (503, K::Server)] {
        for (form, wanted) in forms() {
            *now.lock().unwrap() =
                format!("HTTP/1.1 {status} X\r\nRetry-After: {form}\r\nContent-Length: 0\r\n\r\n");
            let short: String = form.chars().take(60).collect();
            let ids = Ids::default();
            let answers = join_all(CALLS.iter().map(|call| (call.run)(&api, &ids))).await;
            for (call, answer) in CALLS.iter().zip(answers) {
                let error = answer.unwrap_err();
                assert_eq!(error.kind(), kind, "{short}: {error}");
                if short.ends_with("nonsense") {
                    assert!(error.retry_after() > Some(Duration::from_secs(1 << 30)), "{short}");
                } else {
                    assert_eq!(error.retry_after(), wanted, "{short}, {}", call.operation);
                }
                assert_is_fit_for_a_log(&short, &error);
                cases += 1;
            }
        }
    }
    println!("retry times: {cases} cases");
}

#[tokio::test]
async fn a_cookie_is_never_sent_back() {
    let server = Server::start(|seen| {
        let cookie = "Set-Cookie: canary-cookie=1; Path=/; Domain=127.0.0.1\r\n";
        let honest = honest(call_of(seen));
        Wire::new(format!("HTTP/1.1 103 X\r\n{cookie}\r\n")).followed_by(honest.with_header(cookie))
    });
    let api = client(&server.url(), |config| config);
    for _ in 0..2 {
        for call in CALLS {
            let answer = (call.run)(&api, &Ids::default()).await.unwrap();
            assert_eq!(answer, call.reply.value());
        }
    }
    let sent = String::from_utf8_lossy(&server.bytes()).to_lowercase();
    assert_eq!(server.requests().len(), CALLS.len() * 2);
    assert!(!sent.contains("cookie"), "{sent}");
}
