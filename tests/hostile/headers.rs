//! Status lines, headers, and interim answers.

use std::time::Duration;

use plexsphere_client::ErrorKind as K;

use crate::rows::{Row, Want, Wants, fails, head, honest, honest_body, row, row_by, run};
use crate::server::Wire;

const MEBIBYTE: usize = 1024 * 1024;
const OK: &str = "HTTP/1.1 200 OK\r\n";

fn lines(count: usize, value: &str) -> String {
    (0..count).map(|n| format!("x-h{n}: {value}\r\n")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_without_measure_are_an_error() {
    let broken = || fails(K::Transport);
    let big = "x".repeat(MEBIBYTE);
    run(
        "large headers",
        vec![
            row("100,000 headers", Wire::new(format!("{OK}{}\r\n", lines(100_000, "v"))), broken()),
            row("101 headers", Wire::new(format!("{OK}{}\r\n", lines(101, "v"))), broken()),
            row("a header of 1 MiB", Wire::new(format!("{OK}x-a: {big}\r\n\r\n")), broken()),
            row("a name of 1 MiB", Wire::new(format!("{OK}{big}: a\r\n\r\n")), broken()),
            row(
                "a name of 64 KiB",
                Wire::new(format!("{OK}{}: a\r\n\r\n", &big[..65536])),
                broken(),
            ),
            row("a reason of 1 MiB", Wire::new(format!("HTTP/1.1 200 {big}\r\n\r\n")), broken()),
            row("headers without an end", Wire::new(OK).endless("x-a: b\r\n"), broken()),
            row("a header without an end", Wire::new(format!("{OK}x-a: ")).endless("x"), broken()),
            row("a name without an end", Wire::new(OK).endless("x"), broken()),
            row("a status line without an end", Wire::new("HTTP/1.1 200 ").endless("O"), broken()),
            row("a status without an end", Wire::new("HTTP/1.1 ").endless("2"), broken()),
            row("spaces without an end", Wire::new("HTTP/1.1").endless(" "), broken()),
            row("blank lines without an end", Wire::default().endless("\r\n"), broken()),
            row_by("99 headers of 4,000 bytes, and an answer", Wants::all(Want::Answer), |call| {
                let body = honest_body(call);
                let (length, more) = (body.len(), lines(97, &"v".repeat(4000)));
                Wire::new(format!("{}{more}Content-Length: {length}\r\n\r\n{body}", head(call)))
            }),
            row_by("99 headers of 4,000 bytes, and an error", fails(K::Server), |_| {
                let more = lines(98, &"v".repeat(4000));
                Wire::new(format!("HTTP/1.1 500 X\r\n{more}Content-Length: 0\r\n\r\n"))
            }),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_that_do_not_come_are_ended_by_the_limit() {
    let slow = |name: &str, wire: Wire| row(name, wire, fails(K::Timeout)).until_the_limit();
    let pause = Duration::from_millis(50);
    run(
        "slow headers",
        vec![
            slow("nothing", Wire::default().hold()),
            slow("a status line byte by byte", Wire::new("HTTP/1.1 200 ").drip("O", pause)),
            slow("headers byte by byte", Wire::new(format!("{OK}x-a: ")).drip("x", pause)),
            slow("headers line by line", Wire::new(OK).drip("x-a: b\r\n", 2 * pause)),
            slow("headers that stop", Wire::new(format!("{OK}Content-Length: 2\r\n")).hold()),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_http_is_an_error() {
    let mut rows: Vec<Row> = [
        "HTTP/1.1 000 None\r\n\r\n",
        "HTTP/1.1 099 Low\r\n\r\n",
        "HTTP/1.1 1000 High\r\n\r\n",
        "HTTP/1.1 99 Short\r\n\r\n",
        "HTTP/1.1 -1 Minus\r\n\r\n",
        "HTTP/1.1 2x0 Word\r\n\r\n",
        "HTTP/1.1  200 Two\r\n\r\n",
        "HTTP/9.9 200 OK\r\n\r\n",
        "HTTP/2 200 OK\r\n\r\n",
        "http/1.1 200 OK\r\n\r\n",
        "ICY 200 OK\r\n\r\n",
        "200 OK\r\n\r\n",
        "{\"accepted\":2}\r\n\r\n",
        "SSH-2.0-OpenSSH_9.2\r\n\r\n",
        "\u{0}\u{0}\u{12}\u{4}\u{0}\u{0}\u{0}\u{0}\u{0}",
        "HTTP/1.1 200 OK\r\nx-a: a\u{0}b\r\n\r\n",
        "HTTP/1.1 200 OK\r\nx-a : b\r\n\r\n",
        "HTTP/1.1 200 OK\r\n : b\r\n\r\n",
        "HTTP/1.1 200 OK\r\nx-a\r\n\r\n",
        "HTTP/1.1 200 OK\r\nx\u{7f}a: b\r\n\r\n",
        "HTTP/1.1 200 OK\r\nx-a: b\r\n folded\r\n\r\n",
        "HTTP/1.1 200 OK\r\nx-a: b\rx-b: c\r\n\r\n",
    ]
    .iter()
    .map(|text| row(format!("{text:?}"), Wire::new(*text).close(), fails(K::Transport)))
    .collect();
    rows.push(row_by("odd, but allowed", Wants::all(Want::Answer), |call| {
        let (body, odd) = (honest_body(call), "x-a:\r\nx-b: \u{fc}\r\n");
        Wire::new(format!("{}{odd}Content-Length: {}\r\n\r\n{body}", head(call), body.len()))
    }));
    run("not HTTP", rows).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_status_has_its_kind() {
    let bare = |status: u16| Wire::new(format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n"));
    let mut rows: Vec<Row> = [
        (300, K::Redirect),
        (304, K::Redirect),
        (305, K::Redirect),
        (399, K::Redirect),
        (400, K::BadRequest),
        (418, K::Status),
        (499, K::Status),
        (500, K::Server),
        (599, K::Server),
        (600, K::Status),
        (999, K::Status),
    ]
    .into_iter()
    .map(|(status, kind)| row(format!("status {status}"), bare(status), fails(kind)))
    .collect();
    let switch = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n";
    rows.push(row(
        "101, and another protocol",
        Wire::new(switch).endless("PRI * "),
        fails(K::Status),
    ));
    rows.push(row("101, and nothing", Wire::new(switch).hold(), fails(K::Status)));
    rows.push(row("101, and the end", Wire::new(switch).close(), fails(K::Status)));
    run("statuses", rows).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn interim_answers_are_passed_over_and_a_flood_of_them_ends_at_the_limit() {
    let hints = "HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n";
    let flood = |name: &str, unit: &str| {
        // Not as fast as it goes: a flood at full speed is measured one at a time.
        let wire = Wire::default().drip(unit.repeat(20), Duration::from_millis(5));
        row(name, wire, fails(K::Timeout)).until_the_limit()
    };
    run(
        "interim answers",
        vec![
            flood("100 without an end", "HTTP/1.1 100 Continue\r\n\r\n"),
            flood("103 without an end", hints),
            flood("199 without an end", "HTTP/1.1 199 X\r\nContent-Length: 5\r\n\r\n"),
            row_by("a thousand interim answers", Wants::all(Want::Answer), move |call| {
                let mut wire = Wire::default().repeat("HTTP/1.1 100 Continue\r\n\r\n", 500);
                wire = wire.repeat(hints, 500);
                wire.followed_by(honest(call))
            }),
            row(
                "100, and the end",
                Wire::new("HTTP/1.1 100 X\r\n\r\n").close(),
                fails(K::Transport),
            ),
        ],
    )
    .await;
}
