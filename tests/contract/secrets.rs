//! A canary in every place where a secret may stand: it never shows in an error, in a
//! `Debug`, or in what the crate traces.
//!
//! The deliberate exceptions are the accessors `body()` and `problem()`, a problem's `code`
//! if it is a plain word, the origin of a redirect and the media type of an answer.

use std::error::Error as _;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use plexsphere_client::values::Secret;
use plexsphere_client::{Config, ControlPlane, Error, Proxy};
use plexsphere_mock::{Answer, MockControlPlane, Then};
use serde_json::{Value, json};
use tracing_subscriber::fmt::format::FmtSpan;
use tracing_subscriber::{EnvFilter, fmt};

use crate::calls::{CALLS, Call};
use crate::requests::{self, Ids};
use crate::support::{client_with, json_text, mock};

pub const CANARY: &str = "Canary7f3E91";

pub fn assert_silent(text: &str, what: &str) {
    assert!(!shows(text), "{what} shows the canary: {text}");
}

/// In any case, in base64 at any offset, in hexadecimal or as a list of bytes it would be
/// no better.
pub fn shows(text: &str) -> bool {
    let shown = text.to_lowercase();
    const FORMS: [&str; 6] = [
        "canary",
        "q2fuyxj5n2y",
        "nhbmfyetdmm",
        "dyw5hcnk3zj",
        "616e617279",
        "97, 110, 97, 114, 121",
    ];
    FORMS.iter().any(|form| shown.contains(form))
}

/// Every text that an error has, but for the two accessors.
pub fn assert_error_is_silent(error: &Error, what: &str) {
    assert_silent(&format!("{error} {error:#} {error:?} {error:#?}"), what);
    let mut source = error.source();
    while let Some(cause) = source {
        assert_silent(&format!("{cause} {cause:?} {cause:#?}"), what);
        source = cause.source();
    }
}

/// What is traced, as text.
#[derive(Clone, Default)]
struct Traced(Arc<Mutex<Vec<u8>>>);

impl io::Write for Traced {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Traced {
    /// Captures what this crate traces on this thread, spans and their fields included.
    fn start() -> (Self, tracing::subscriber::DefaultGuard) {
        let traced = Self::default();
        let writer = traced.clone();
        let subscriber = fmt()
            .with_env_filter(EnvFilter::new("plexsphere_client=trace"))
            .with_span_events(FmtSpan::FULL)
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        (traced, tracing::subscriber::set_default(subscriber))
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

/// An answer with the canary in all headers that a server may send.
pub fn with_headers(answer: Answer) -> Answer {
    let path = format!("/v1/{CANARY}?token={CANARY}");
    answer
        .header("Location", &path)
        .header("Set-Cookie", CANARY)
        .header("WWW-Authenticate", format!("Bearer error=\"{CANARY}\""))
        .header("ETag", format!("\"{CANARY}\""))
        .header("X-Request-Id", CANARY)
        .header("Server", CANARY)
}

/// The fault of each kind, with the canary in it.
pub fn faults() -> Vec<Answer> {
    let text = || Answer::status(500).text(CANARY);
    let object = json!({ CANARY: CANARY, "canary": 1, "peers": [{ "id": CANARY }] });
    let mut faults = vec![
        text(),
        text().gzip(),
        text().bad_gzip(),
        text().truncated_gzip(),
        text().cut_after(9),
        text().reset_after(9),
        text().with_status(429).header("Retry-After", CANARY),
        Answer::problem(409, &format!("two words {CANARY}"), CANARY)
            .header("Content-Language", CANARY),
        Answer::problem(400, "", CANARY).gzip(),
        Answer::html(502).body(format!("<!doctype html>{CANARY}")),
        Answer::html(200).body(format!("<!doctype html>{CANARY}")),
        Answer::status(307),
        Answer::status(204),
        json_text(format!("\"{CANARY}\"")),
        json_text(format!("{CANARY} ")),
        json_text(format!("{{\"{CANARY}")),
        json_text(format!("{{}} {CANARY}")),
        json_text(format!("[\"{CANARY}\"]")),
        Answer::ok_json(&object),
        Answer::ok_json(&object).bad_gzip(),
        Answer::ok_json(&object).truncated_gzip(),
        Answer::ok_json(&object).cut_after(20),
        Answer::ok_json(&object).header("Content-Encoding", CANARY),
        Answer::ok_json(&object).header("Content-Type", format!("text/plain; x={CANARY}")),
        Answer::real().hang_up(),
        Answer::real().reset(),
        Answer::wire([format!("{CANARY}\r\n{CANARY}: {CANARY}\r\n\r\n")], Then::End),
        Answer::wire([format!("HTTP/1.1 200 {CANARY}\r\n{CANARY} {CANARY}\r\n\r\n")], Then::End),
        Answer::wire([format!("HTTP/1.1 200 OK\r\nContent-Length: {CANARY}\r\n\r\n")], Then::End),
        Answer::wire(
            [format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{CANARY}")],
            Then::End,
        ),
    ];
    for name in WRONG_FIELDS {
        faults.push(Answer::ok_json(&json!({ name: CANARY })));
        faults.push(Answer::ok_json(&json!({ name: [CANARY] })));
        faults.push(Answer::ok_json(&json!({ name: { CANARY: [CANARY] } })));
    }
    faults
}

/// Fields that some answer has, each of which gets a value that does not fit.
const WRONG_FIELDS: [&str; 8] = [
    "peers",
    "metadata",
    "signing_keys",
    "updated_peers",
    "reconcile",
    "version",
    "peer_endpoints",
    "node_secret_key",
];

/// Like one of those, so that the deliberate exceptions do not stand in the way.
async fn run_all(mock: &MockControlPlane, api: &ControlPlane, ids: &Ids) -> usize {
    let mut failed = 0;
    for call in CALLS {
        for (number, fault) in faults().into_iter().enumerate() {
            mock.script(call.route, if number % 2 == 0 { with_headers(fault) } else { fault });
            if let Err(error) = (call.run)(api, ids).await {
                assert_error_is_silent(&error, &format!("{} fault {number}", call.operation));
                failed += 1;
            }
        }
    }
    failed
}

#[tokio::test]
async fn no_fault_of_any_call_shows_what_was_sent_or_answered() {
    let (traced, _guard) = Traced::start();
    let mock = mock().await;
    let api = client_with(&mock, |config| config.request_timeout(Duration::from_secs(5)));
    api.set_auth_token(CANARY).unwrap();
    // In every path parameter, in the id to resume from and in every body.
    let failed = run_all(&mock, &api, &Ids::all(CANARY)).await;
    assert!(failed > 500, "{failed}");
    assert!(mock.requests().iter().all(|request| request.bearer() == Some(CANARY)));
    assert_silent(&format!("{api:?} {:?}", api.config()), "the client");

    let text = traced.text();
    assert!(text.contains("operation=\"heartbeat\"") && text.contains("status=500"), "{text}");
    assert_silent(&text, "the trace");
}

#[tokio::test]
async fn no_time_limit_shows_what_was_sent() {
    let (traced, _guard) = Traced::start();
    let mock = mock().await;
    let short = Duration::from_millis(200);
    let api = client_with(&mock, |config| config.request_timeout(short).header_timeout(short));
    api.set_auth_token(CANARY).unwrap();
    let ids = Ids::all(CANARY);
    for call in CALLS {
        mock.script(call.route, Answer::real().silence());
    }
    let answers = futures::future::join_all(CALLS.iter().map(|call| (call.run)(&api, &ids))).await;
    mock.close_port().await;
    let refused = futures::future::join_all(CALLS.iter().map(|call| (call.run)(&api, &ids))).await;
    for error in answers.into_iter().chain(refused).map(Result::unwrap_err) {
        assert_error_is_silent(&error, "a limit");
    }
    assert_silent(&traced.text(), "the trace");
}

#[tokio::test]
async fn arguments_that_are_refused_are_not_shown() {
    let mock = mock().await;
    let api = client_with(&mock, |config| config);
    for call in CALLS {
        for name in call.parameters() {
            let ids = Ids::default().set(name, format!("{CANARY}\\"));
            assert_error_is_silent(&(call.run)(&api, &ids).await.unwrap_err(), call.operation);
        }
    }
    let bad = format!("{CANARY}\n");
    assert_error_is_silent(&api.set_auth_token(bad.as_str()).unwrap_err(), "the token");
    assert_error_is_silent(&api.connect_sse("n", Some(&bad)).await.unwrap_err(), "the id");
    assert_error_is_silent(&api.get_json::<Value>(&bad).await.unwrap_err(), "the path");
    assert_error_is_silent(&ControlPlane::new(api.config().clone(), &bad).unwrap_err(), "version");
    for url in
        [format!("http://u:{CANARY}@h"), format!("{CANARY}:/x"), format!("http://h?{CANARY}")]
    {
        assert_error_is_silent(&Config::new(url).unwrap_err(), "the base URL");
    }
}

#[tokio::test]
async fn a_proxy_s_password_is_not_shown() {
    let (traced, _guard) = Traced::start();
    let mock = mock().await;
    let url = mock.url().replace("http://", &format!("http://user:{CANARY}@"));
    let config = Config::new("http://control-plane.invalid")
        .unwrap()
        .proxy(Proxy::Url(url.parse().unwrap()));
    assert_silent(&format!("{config:?} {config:#?}"), "the settings");
    let api = ControlPlane::new(config, "1").unwrap();
    mock.script("*", Answer::real().hang_up());
    assert_error_is_silent(&api.ping().await.unwrap_err(), "a hung-up proxy");
    mock.close_port().await;
    assert_error_is_silent(&api.ping().await.unwrap_err(), "a closed proxy");
    assert_silent(&traced.text(), "the trace");
}

#[test]
fn debug_of_a_message_redacts_its_secrets() {
    let peer = json!({
        "id": "n", "public_key": "k", "mesh_ip": "m", "endpoint": "e", "allowed_ips": [],
        "psk": CANARY,
    });
    let state = json!({
        "peers": [peer],
        "data": [{ "key": "k", "content_type": "t", "payload": { CANARY: CANARY }, "version": 1,
            "updated_at": "2025-01-15T10:30:00Z" }],
        "user_access_config": { "enabled": true, "interface_name": "i", "listen_port": 1,
            "peers": [{ "public_key": "k", "allowed_ips": [], "label": "l", "psk": CANARY }] },
        "ingress_config": { "enabled": true, "rules": [{ "rule_id": "r", "listen_port": 1,
            "target_addr": "t", "mode": "m", "key_pem": CANARY }] },
        "site_to_site_config": { "enabled": true, "tunnels": [{ "tunnel_id": "t",
            "remote_endpoint": "e", "remote_public_key": "k", "interface_name": "i",
            "listen_port": 1, "psk": CANARY }] },
    });
    fn shown<T: serde::de::DeserializeOwned + std::fmt::Debug>(value: &Value) -> String {
        let value: T = serde_json::from_value(value.clone()).unwrap();
        format!("{value:?} {value:#?}")
    }
    use plexsphere_client::types::*;
    let register = json!({
        "node_id": "n", "mesh_ip": "m", "signing_public_key": "k", "node_secret_key": CANARY,
        "peers": [peer],
    });
    let secret = json!({ "key": "k", "ciphertext": CANARY, "nonce": "n", "version": 1 });
    let moved = json!({ "id": "n", "endpoint": "e", "psk": CANARY });
    let action = json!({
        "execution_id": "e", "action": "a", "timeout": "1s", "parameters": { "p": CANARY },
    });
    let ids = Ids::default().set("token", CANARY);
    for (what, text) in [
        ("StateResponse", shown::<StateResponse>(&state)),
        ("RegisterResponse", shown::<RegisterResponse>(&register)),
        ("SecretResponse", shown::<SecretResponse>(&secret)),
        ("KeyRotateResponse", shown::<KeyRotateResponse>(&json!({ "updated_peers": [peer] }))),
        ("PeerEndpointChanged", shown::<PeerEndpointChanged>(&moved)),
        ("ActionRequest", shown::<ActionRequest>(&action)),
        ("RegisterRequest", format!("{:?}", requests::register(&ids))),
        ("Secret", format!("{:?} {:#?}", Secret::from(CANARY), Some(Secret::from(CANARY)))),
    ] {
        assert!(text.len() > 10, "{what}");
        assert_silent(&text, what);
    }
}

#[tokio::test]
async fn the_canary_is_seen_where_it_may_be() {
    // So that the tests above cannot pass because it never arrives.
    let mock = mock().await;
    let api = client_with(&mock, |config| config);
    mock.script("report_drift", Answer::problem(409, "word", CANARY));
    let error = (Call::of("report_drift").run)(&api, &Ids::default()).await.unwrap_err();
    assert!(error.body().unwrap().contains(CANARY));
    assert_eq!(error.problem().unwrap().detail.as_deref(), Some(CANARY));
}
