//! What this crate and all that it stands on say at TRACE: nowhere is the canary in it, but
//! where `SECURITY.md` says so.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt::{self, Display, Write};
use std::sync::{Arc, Mutex, Once};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use plexsphere_client::{Config, ControlPlane, Proxy};
use plexsphere_mock::{Answer, MockControlPlane};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::DefaultGuard;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Layer, Registry};

use crate::calls::{CALLS, Reply};
use crate::requests::Ids;
use crate::secret_events;
use crate::secrets::{CANARY, faults, shows, with_headers};
use crate::support::{SOON, mock};

/// One line of a log, wherever it came from.
#[derive(Clone, Debug)]
pub struct Line {
    pub target: String,
    pub level: Level,
    pub text: String,
}

/// All that is said on this thread, through `tracing` and through `log`.
#[derive(Clone, Default)]
pub struct Heard(Arc<Mutex<Vec<Line>>>);

thread_local! {
    static LISTENER: RefCell<Option<Heard>> = const { RefCell::new(None) };
}

/// As long as it lives, this thread is listened to.
pub struct Listening(#[expect(dead_code, reason = "it is there to be dropped")] DefaultGuard);

impl Drop for Listening {
    fn drop(&mut self) {
        LISTENER.with(|listener| listener.replace(None));
    }
}

impl Heard {
    pub fn start() -> (Self, Listening) {
        static LOGGER: Once = Once::new();
        LOGGER.call_once(|| {
            log::set_logger(&Logger).unwrap();
            log::set_max_level(log::LevelFilter::Trace);
            // With one subscriber alone, a place that the server's thread passes first would be
            // taken for silent, as nobody listens there.
            std::mem::forget(tracing::Dispatch::new(Registry::default()));
        });
        let heard = Self::default();
        LISTENER.with(|listener| listener.replace(Some(heard.clone())));
        let guard = tracing::subscriber::set_default(Registry::default().with(heard.clone()));
        (heard, Listening(guard))
    }

    pub fn lines(&self) -> Vec<Line> {
        self.0.lock().unwrap().clone()
    }

    fn add(&self, meta: &Metadata<'_>, record: impl FnOnce(&mut Text)) {
        let mut text = Text(meta.name().to_owned());
        record(&mut text);
        self.push(meta.target(), *meta.level(), text.0);
    }

    fn push(&self, target: &str, level: Level, text: String) {
        self.0.lock().unwrap().push(Line { target: target.to_owned(), level, text });
    }
}

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        write!(self.0, " {field}={value:?}").unwrap();
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Heard {
    fn on_new_span(&self, attributes: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
        self.add(attributes.metadata(), |text| attributes.record(text));
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let span = context.span(id).unwrap();
        self.add(span.metadata(), |text| values.record(text));
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        self.add(event.metadata(), |text| event.record(text));
    }
}

struct Logger;

impl log::Log for Logger {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let level = match record.level() {
            log::Level::Error => Level::ERROR,
            log::Level::Warn => Level::WARN,
            log::Level::Info => Level::INFO,
            log::Level::Debug => Level::DEBUG,
            log::Level::Trace => Level::TRACE,
        };
        LISTENER.with_borrow(|listener| {
            if let Some(heard) = listener {
                heard.push(record.target(), level, record.args().to_string());
            }
        });
    }

    fn flush(&self) {}
}

/// The reply with the canary wherever the contract has a secret or a free value.
fn planted(reply: &Reply) -> Answer {
    fn plant(value: &mut Value) {
        match value {
            Value::Array(items) => items.iter_mut().for_each(plant),
            Value::Object(fields) => {
                for (name, value) in fields {
                    match name.as_str() {
                        "metadata" | "payload" => *value = serde_json::json!({ CANARY: CANARY }),
                        "psk" | "key_pem" | "node_secret_key" | "ciphertext" => {
                            *value = CANARY.into();
                        }
                        _ => plant(value),
                    }
                }
            }
            _ => {}
        }
    }
    match reply {
        Reply::Json(status, value) => {
            let mut value = value();
            plant(&mut value);
            Answer::status(*status).json(&value)
        }
        Reply::Bytes => Answer::status(200).body(CANARY),
        Reply::Events => {
            Answer::stream([format!("id: {CANARY}\ndata: {CANARY}\n\n")], Default::default())
        }
        Reply::Ignored(_) => reply.answer(),
    }
}

/// Every call: well answered, refused, and broken in some ways, with canaries all over.
async fn every_call(mock: &MockControlPlane, api: &ControlPlane) {
    let ids = Ids::all(CANARY);
    for call in CALLS {
        mock.script(call.route, with_headers(planted(&call.reply)));
        (call.run)(api, &ids).await.unwrap();
        for fault in faults().into_iter().step_by(8) {
            mock.script(call.route, with_headers(fault));
            drop((call.run)(api, &ids).await);
        }
    }
}

/// A proxy for `CONNECT` alone, to whatever it is asked for.
async fn tunnels() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(tunnel(client));
        }
    });
    address.to_string()
}

async fn tunnel(mut client: TcpStream) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let target = head.split(' ').nth(1).unwrap_or_default();
    let mut server = TcpStream::connect(target).await?;
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
    tokio::io::copy_bidirectional(&mut client, &mut server).await.map(drop)
}

/// Neither this crate nor anything below it says the canary, at any level. A dependency that
/// begins to is named by its target.
fn assert_nobody_says_it(heard: &Heard, expected: &[&str]) {
    let lines = heard.lines();
    let told: BTreeSet<_> = lines
        .iter()
        .filter(|line| shows(&line.text))
        .map(|line| format!("{} {}: {}", line.level, line.target, line.text))
        .collect();
    assert!(told.is_empty(), "{told:#?}");
    // Each of those was heard, or the test would be deaf.
    let targets: BTreeSet<_> = lines.iter().map(|line| line.target.as_str()).collect();
    for expected in expected {
        assert!(targets.iter().any(|t| t.starts_with(expected)), "{expected}: {targets:?}");
    }
}

/// All calls and an event stream, with canaries all over.
async fn exercise(mock: &MockControlPlane, set: impl FnOnce(Config) -> Config) -> Heard {
    let (heard, _listening) = Heard::start();
    let config = Config::new(mock.url()).unwrap().request_timeout(SOON).event_limit(4096);
    let api = ControlPlane::new(set(config), "1").unwrap();
    api.set_auth_token(CANARY).unwrap();
    every_call(mock, &api).await;
    secret_events::live_through_a_bad_day(mock, &api).await;
    heard
}

fn proxy(address: impl Display) -> Proxy {
    Proxy::Url(format!("http://{CANARY}:{CANARY}@{address}").parse().unwrap())
}

const OURS: &str = "plexsphere_client::manager";
const BELOW: [&str; 4] =
    ["plexsphere_client::transport", "reqwest::connect", "reqwest::retry", "hyper_util::client"];

#[tokio::test]
async fn nobody_traces_a_secret_over_http_1() {
    let mock = mock().await;
    let heard = exercise(&mock, |config| config).await;
    assert_nobody_says_it(&heard, &[&[OURS], &BELOW[..]].concat());
}

#[tokio::test]
async fn nobody_traces_a_secret_over_tls_and_http_2() {
    let mock = MockControlPlane::builder().tls().start().await.unwrap();
    let root = mock.ca_pem().unwrap().to_owned();
    let heard = exercise(&mock, |config| config.root_certificate_pem(root)).await;
    let http2 = ["h2::codec", "h2::frame", "h2::hpack", "h2::proto", "rustls_platform_verifier"];
    assert_nobody_says_it(&heard, &[&[OURS], &BELOW[..], &http2].concat());
}

#[tokio::test]
async fn nobody_traces_a_secret_through_a_proxy_with_a_password() {
    let mock = mock().await;
    let heard = exercise(&mock, |config| config.proxy(proxy(mock.address()))).await;
    assert_nobody_says_it(&heard, &[&[OURS], &BELOW[..]].concat());
    let basic = format!("Basic {}", STANDARD.encode(format!("{CANARY}:{CANARY}")));
    let requests = mock.requests();
    assert!(requests.iter().all(|r| r.header("proxy-authorization") == Some(&basic)));
}

#[tokio::test]
async fn nobody_traces_a_secret_through_a_tunnel_with_a_password() {
    let mock = MockControlPlane::builder().tls().start().await.unwrap();
    let (root, tunnel) = (mock.ca_pem().unwrap().to_owned(), tunnels().await);
    let set = |config: Config| config.root_certificate_pem(root).proxy(proxy(tunnel));
    let heard = exercise(&mock, set).await;
    assert_nobody_says_it(&heard, &[&[OURS], &BELOW[..], &["h2::codec", "h2::hpack"]].concat());
    let lines = heard.lines();
    assert!(lines.iter().any(|line| line.text.contains("tunneling HTTPS over proxy")));
    assert!(mock.requests().iter().all(|r| r.header("proxy-authorization").is_none()));
}

#[tokio::test]
async fn what_is_said_is_heard() {
    let (heard, listening) = Heard::start();
    tracing::trace!(target: "one", field = CANARY, "a");
    drop(tracing::trace_span!(target: "two", "b", field = CANARY));
    let span = tracing::debug_span!(target: "three", "c", field = tracing::field::Empty);
    span.record("field", CANARY);
    log::trace!(target: "four", "{CANARY}");
    drop(listening);
    tracing::error!(target: "five", "{CANARY}");
    log::error!(target: "six", "{CANARY}");
    let lines = heard.lines().into_iter().filter(|line| shows(&line.text));
    let targets: Vec<_> = lines.map(|line| line.target).collect();
    assert_eq!(targets, ["one", "two", "three", "four"]);
}
