//! Every fault, as a client meets it.
#![allow(clippy::unwrap_used)]

mod common;

use std::io::Read;
use std::time::{Duration, Instant};

use common::{Api, LIMIT};
use plexsphere_mock::{Answer, MockControlPlane, Then};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A bare request for ping, and the connection.
async fn ask(mock: &MockControlPlane) -> TcpStream {
    let mut tcp = TcpStream::connect(mock.address()).await.unwrap();
    let request = format!(
        "GET /v1/ping HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\r\n",
        mock.bootstrap_token()
    );
    tcp.write_all(request.as_bytes()).await.unwrap();
    tcp
}

/// All that comes until the end, and how it ended.
async fn read(tcp: &mut TcpStream) -> (String, Result<(), std::io::ErrorKind>) {
    let mut bytes = Vec::new();
    let ended = tokio::time::timeout(LIMIT, tcp.read_to_end(&mut bytes))
        .await
        .expect("the connection stayed open");
    (String::from_utf8_lossy(&bytes).into_owned(), ended.map(|_| ()).map_err(|error| error.kind()))
}

/// What comes within a short while from a connection that stays open.
async fn read_open(tcp: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let ended = tokio::time::timeout(Duration::from_millis(300), tcp.read_to_end(&mut bytes)).await;
    assert!(ended.is_err(), "the connection ended");
    String::from_utf8_lossy(&bytes).into_owned()
}

#[tokio::test]
async fn scripted_answers_come_in_order_then_the_real_one() {
    let mock = MockControlPlane::start().await.unwrap();
    let (api, _) = Api::register(&mock, "web-1").await;
    mock.script("fetch_state", Answer::status(503).retry_after_secs(7).text("busy"));
    mock.script("fetch_state", Answer::html(502));
    mock.script("fetch_state", Answer::problem(409, "conflict", "no"));
    mock.script_always("/v1/other", Answer::ok_json(&json!({ "other": true })));
    mock.script_for("node-2", "fetch_state", Answer::status(500));
    let busy = api.get("state").send().await.unwrap();
    assert_eq!(
        (busy.status().as_u16(), &busy.headers()["retry-after"]),
        (503, &"7".parse().unwrap())
    );
    assert_eq!(busy.text().await.unwrap(), "busy");
    let html = api.get("state").send().await.unwrap();
    assert!(html.status() == 502 && html.text().await.unwrap().starts_with("<!DOCTYPE html>"));
    assert_eq!(api.get("state").send().await.unwrap().status(), 409);
    assert_eq!(
        api.get("state").send().await.unwrap().status(),
        200,
        "the other node's answer waits"
    );
    assert_eq!(mock.unused_answers(), 1);
    for _ in 0..2 {
        let other = api.client.get(format!("{}/v1/other?a=%20b", mock.url())).send().await.unwrap();
        assert_eq!(other.text().await.unwrap(), "{\"other\":true}");
    }
    assert_eq!(mock.requests().last().unwrap().query.as_deref(), Some("a=%20b"));
    mock.clear_script("/v1/other");
    assert_eq!(reqwest::get(format!("{}/v1/other", mock.url())).await.unwrap().status(), 404);
}

#[tokio::test]
async fn a_date_in_retry_after_follows_the_servers_clock() {
    let mock = MockControlPlane::start().await.unwrap();
    mock.set_clock_ahead(Duration::from_secs(7200));
    mock.script("ping", Answer::status(429).retry_after_date(Duration::from_secs(60)));
    let busy = reqwest::get(format!("{}/v1/ping", mock.url())).await.unwrap();
    let date =
        |name: &str| httpdate::parse_http_date(busy.headers()[name].to_str().unwrap()).unwrap();
    let ahead = date("retry-after").duration_since(date("date")).unwrap();
    assert!((59..=61).contains(&ahead.as_secs()), "{ahead:?}");
    let skew = date("date").duration_since(std::time::SystemTime::now()).unwrap();
    assert!((7190..=7200).contains(&skew.as_secs()), "{skew:?}");
}

#[tokio::test]
async fn gzip_is_good_bad_or_torn() {
    let mock = MockControlPlane::start().await.unwrap();
    let body = "plain text, and again plain text";
    // A build of the whole workspace gives this client gzip too; the bytes are wanted here.
    let client = reqwest::Client::builder().no_gzip().build().unwrap();
    let get = async |answer: Answer| {
        mock.script("ping", answer);
        let response = client.get(format!("{}/v1/ping", mock.url())).send().await.unwrap();
        assert_eq!(response.headers()["content-encoding"], "gzip");
        let bytes = response.bytes().await.unwrap();
        let mut text = String::new();
        flate2::read::GzDecoder::new(&bytes[..])
            .read_to_string(&mut text)
            .map(|_| text)
            .map_err(|error| error.kind())
    };
    assert_eq!(get(Answer::status(200).text(body).gzip()).await.unwrap(), body);
    assert!(get(Answer::status(200).text(body).bad_gzip()).await.is_err());
    assert_eq!(
        get(Answer::status(200).text(body).truncated_gzip()).await,
        Err(std::io::ErrorKind::UnexpectedEof)
    );
    let bomb = get(Answer::status(200).repeat("0", 1_000_000).gzip()).await.unwrap();
    assert_eq!(bomb.len(), 1_000_000);
}

#[tokio::test]
async fn bodies_are_cut_reset_stalled_and_dripped() {
    let mock = MockControlPlane::start().await.unwrap();
    let answer = || Answer::status(200).text("0123456789");
    let mut cut = {
        mock.script("ping", answer().cut_after(4));
        ask(&mock).await
    };
    let (text, ended) = read(&mut cut).await;
    assert!(
        text.contains("content-length: 10\r\n") && text.ends_with("\r\n\r\n0123") && ended.is_ok(),
        "{text} {ended:?}"
    );

    let mut reset = {
        mock.script("ping", answer().reset_after(4));
        ask(&mock).await
    };
    let (text, ended) = read(&mut reset).await;
    assert!(
        text.ends_with("\r\n\r\n0123") && ended == Err(std::io::ErrorKind::ConnectionReset),
        "{text} {ended:?}"
    );

    let mut stalled = {
        mock.script("ping", answer().stall_after(4));
        ask(&mock).await
    };
    assert!(read_open(&mut stalled).await.ends_with("\r\n\r\n0123"));

    let started = Instant::now();
    mock.script("ping", answer().drip(Duration::from_millis(20)));
    let dripped =
        reqwest::get(format!("{}/v1/ping", mock.url())).await.unwrap().text().await.unwrap();
    assert_eq!(dripped, "0123456789");
    assert!(started.elapsed() >= Duration::from_millis(180), "{:?}", started.elapsed());
}

#[tokio::test]
async fn answers_are_late_lost_or_never_come() {
    let mock = MockControlPlane::start().await.unwrap();
    mock.script("ping", Answer::real().hang_up());
    assert_eq!(read(&mut ask(&mock).await).await, (String::new(), Ok(())));
    mock.script("ping", Answer::real().reset());
    assert_eq!(
        read(&mut ask(&mock).await).await,
        (String::new(), Err(std::io::ErrorKind::ConnectionReset))
    );
    mock.script("ping", Answer::real().silence());
    assert_eq!(read_open(&mut ask(&mock).await).await, "");
    mock.script("ping", Answer::real().delay(Duration::from_millis(150)).header("X-Late", "yes"));
    let started = Instant::now();
    let request = reqwest::Client::new()
        .get(format!("{}/v1/ping", mock.url()))
        .bearer_auth(mock.bootstrap_token());
    let late = request.send().await.unwrap();
    assert!(started.elapsed() >= Duration::from_millis(150) && late.headers()["x-late"] == "yes");
    assert_eq!(late.text().await.unwrap(), "pong\n", "the real answer");

    let (api, _) = Api::register(&mock, "web-1").await;
    mock.script("report_logs", Answer::real().reset());
    assert!(api.post("logs").json(&json!([])).send().await.is_err());
    mock.script("deregister", Answer::real().hang_up());
    assert!(api.post("deregister").send().await.is_err());
    assert!(mock.nodes().is_empty(), "it had its effect");
}

#[tokio::test]
async fn big_and_endless_bodies_are_not_held() {
    let mock = MockControlPlane::start().await.unwrap();
    mock.script("ping", Answer::status(200).repeat("0123456789", 200_000_003));
    let mut big = reqwest::get(format!("{}/v1/ping", mock.url())).await.unwrap();
    assert_eq!(big.content_length(), Some(200_000_003));
    let mut total = 0;
    while let Some(chunk) = big.chunk().await.unwrap() {
        total += chunk.len();
    }
    assert_eq!(total, 200_000_003);
    mock.script("ping", Answer::status(200).endless("x"));
    let mut endless = reqwest::get(format!("{}/v1/ping", mock.url())).await.unwrap();
    let mut total = 0;
    while total < 50_000_000 {
        total += endless.chunk().await.unwrap().unwrap().len();
    }
}

#[tokio::test]
async fn bare_bytes_take_the_place_of_http() {
    let mock = MockControlPlane::start().await.unwrap();
    let chunks = ["HTTP/1.1 000 ", "Nothing\r\n", "\r\n"];
    mock.script("ping", Answer::wire(chunks, Then::End));
    assert_eq!(
        read(&mut ask(&mock).await).await,
        ("HTTP/1.1 000 Nothing\r\n\r\n".to_owned(), Ok(()))
    );
    mock.script("ping", Answer::wire(chunks, Then::Reset));
    assert_eq!(read(&mut ask(&mock).await).await.1, Err(std::io::ErrorKind::ConnectionReset));
    mock.script("ping", Answer::endless_wire("HTTP/1.1 200 OK\r\n", "X-More: yes\r\n"));
    let mut tcp = ask(&mock).await;
    let mut bytes = vec![0; 5_000_000];
    tcp.read_exact(&mut bytes).await.unwrap();
    assert!(bytes.starts_with(b"HTTP/1.1 200 OK\r\nX-More: yes\r\nX-More"));
}

#[tokio::test]
async fn connections_are_refused_counted_and_dropped() {
    let mock = MockControlPlane::start().await.unwrap();
    mock.refuse_connections(2);
    for _ in 0..2 {
        // The reset may come before the client has looked at its connection.
        let refused = async { TcpStream::connect(mock.address()).await?.read_u8().await };
        let ended = tokio::time::timeout(LIMIT, refused).await.unwrap();
        assert_eq!(ended.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    }
    mock.script_always("ping", Answer::status(200).text("x").stall_after(0));
    let mut open = ask(&mock).await;
    mock.wait_for_requests("ping", 1, LIMIT).await;
    assert_eq!(
        (mock.connections(), mock.open_connections(), mock.requests()[0].connection),
        (3, 1, 3)
    );
    mock.drop_connections(true);
    assert_eq!(read(&mut open).await.1, Err(std::io::ErrorKind::ConnectionReset));

    mock.close_port().await;
    let refused = TcpStream::connect(mock.address()).await;
    assert_eq!(refused.unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
    mock.open_port().await;
    mock.clear_script("*");
    assert!(
        mock.wait_until(LIMIT, |mock| std::net::TcpStream::connect(mock.address()).is_ok()).await
    );
}

#[tokio::test]
async fn one_connection_serves_many_requests() {
    let mock = MockControlPlane::start().await.unwrap();
    let (api, _) = Api::register(&mock, "web-1").await;
    for _ in 0..50 {
        let answer = api.post("metrics").json(&json!([])).send().await.unwrap();
        assert_eq!(answer.text().await.unwrap(), "{\"accepted\":0}");
    }
    assert_eq!((mock.connections(), mock.count("report_metrics"), mock.count("*")), (1, 50, 51));
}

#[tokio::test]
async fn the_record_shows_what_arrived() {
    let mock = MockControlPlane::builder().record_limit(2).start().await.unwrap();
    let (api, _) = Api::register(&mock, "web-1").await;
    let request = api.get("secrets/a%2Fb%20%25%3F").header("X-Thing", "Some");
    assert_eq!(request.send().await.unwrap().status(), 404);
    let recorded = mock.requests_for("fetch_secret").pop().unwrap();
    assert_eq!(recorded.path, "/v1/nodes/node-1/secrets/a%2Fb%20%25%3F");
    assert_eq!(
        (recorded.parameter("key"), recorded.parameter("node_id")),
        (Some("a/b %?"), Some("node-1"))
    );
    assert_eq!((recorded.header("x-THING"), recorded.bearer()), (Some("Some"), Some(&*api.token)));
    assert_eq!((recorded.number, recorded.method.as_str(), recorded.complete), (2, "GET", true));
    api.get("state").send().await.unwrap();
    assert_eq!(
        (mock.requests().len(), mock.count("*")),
        (2, 3),
        "the oldest is gone, the count is not"
    );
}

#[tokio::test]
async fn a_panic_in_a_scripted_function_fails_the_test() {
    let mock = MockControlPlane::start().await.unwrap();
    mock.script_fn("ping", |request| {
        assert!(request.header("x-wanted").is_some(), "x-wanted is missing");
        Answer::status(204)
    });
    let answer = reqwest::get(format!("{}/v1/ping", mock.url())).await.unwrap();
    assert_eq!(answer.status(), 500);
    assert_eq!(mock.failures(), ["GET /v1/ping: x-wanted is missing"]);
    let dropped =
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(mock))).unwrap_err();
    assert!(dropped.downcast_ref::<String>().unwrap().contains("x-wanted is missing"));
}

#[tokio::test]
async fn dropping_it_closes_the_port_and_every_connection() {
    let mock = MockControlPlane::start().await.unwrap();
    let (api, _) = Api::register(&mock, "web-1").await;
    let mut events = api.events(None).await;
    let address = mock.address();
    drop(mock);
    assert!(events.block().await.is_err());
    assert!(TcpStream::connect(address).await.is_err());
}

#[test]
#[should_panic(expected = "no operation is named \"hartbeat\"")]
fn a_script_for_no_operation_is_a_mistake() {
    let mock = MockControlPlane::builder().start_blocking().unwrap();
    mock.script("hartbeat", Answer::status(200));
}

#[tokio::test(start_paused = true)]
async fn a_paused_clock_does_not_disturb_it() {
    let mock = MockControlPlane::start().await.unwrap();
    let mut tcp = ask(&mock).await;
    let mut first = [0; 15];
    tcp.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 200 OK");
    let started = Instant::now();
    assert!(!mock.wait_until(Duration::from_millis(50), |_| false).await);
    assert!(started.elapsed() >= Duration::from_millis(50));
}

#[tokio::test]
async fn headers_drip_and_a_long_line_has_its_head() {
    let mock = MockControlPlane::start().await.unwrap();
    let dripped = Answer::wire(["HTTP/1.1 200 OK\r\n"], Then::End).drip(Duration::from_millis(10));
    mock.script("ping", dripped);
    let started = Instant::now();
    assert_eq!(read(&mut ask(&mock).await).await.0, "HTTP/1.1 200 OK\r\n");
    assert!(started.elapsed() >= Duration::from_millis(150), "{:?}", started.elapsed());
    mock.script("ping", Answer::status(200).repeat("ab", 5).after_head("data: "));
    let long = reqwest::get(format!("{}/v1/ping", mock.url())).await.unwrap();
    assert_eq!((long.content_length(), &*long.text().await.unwrap()), (Some(11), "data: ababa"));
}

#[tokio::test]
async fn a_replaced_secret_key_is_the_new_token() {
    let mock = MockControlPlane::start().await.unwrap();
    let (mut api, _) = Api::register(&mock, "web-1").await;
    let new = mock.replace_secret_key(&api.node_id);
    assert_eq!(api.get("state").send().await.unwrap().status(), 401);
    api.token = new;
    assert_eq!(api.get("state").send().await.unwrap().status(), 200);
}
