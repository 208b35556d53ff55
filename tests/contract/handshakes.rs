//! Real handshakes with certificates made here: what is wrong is named, with the setting
//! that mends it, and no byte ever goes out in clear text.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use plexsphere_client::events::{Ed25519Verifier, SignedEnvelope};
use plexsphere_client::{Config, ControlPlane, Error, ErrorKind, SseManager, Status};
use plexsphere_mock::{Close, MockControlPlane};
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, date_time_ymd};
use serde_json::json;
use tokio::sync::watch;

use crate::calls::CALLS;
use crate::requests::Ids;
use crate::support::{SOON, TOKEN, mock};
use crate::tls_server::{
    Arrived, Authority, EACH_VERSION, Front, Handshake, Parrot, Shown, record,
    server_hello_of_tls_1_1, server_params,
};

/// A client for what listens there.
fn api(url: &str, set: impl FnOnce(Config) -> Config) -> ControlPlane {
    let config = set(Config::new(url).unwrap().request_timeout(SOON));
    let api = ControlPlane::new(config, "1").unwrap();
    api.set_auth_token(TOKEN).unwrap();
    api
}

/// Every call, the stream among them, fails to connect and says these words.
async fn assert_every_call_says(api: &ControlPlane, words: &str) {
    for call in CALLS {
        let error = (call.run)(api, &Ids::default()).await.unwrap_err();
        assert_said(&error, words, call.operation);
    }
}

fn assert_said(error: &Error, words: &str, what: &str) {
    let text = error.to_string();
    assert_eq!(error.kind(), ErrorKind::Connect, "{what}: {text}");
    assert!(error.is_retryable(), "{what}: {text}");
    assert!(text.contains(words) && !text.contains('\n'), "{what}: {text}");
}

async fn assert_every_call_works(mock: &MockControlPlane, api: &ControlPlane) {
    for call in CALLS {
        mock.script(call.route, call.reply.answer());
        let answer = (call.run)(api, &Ids::default()).await;
        assert_eq!(answer.unwrap(), call.reply.value(), "{}", call.operation);
    }
}

/// Whatever went wrong, what arrived is TLS and nothing else.
fn assert_nothing_in_clear(arrived: &Arrived) {
    let all = arrived.all();
    assert!(!all.is_empty());
    for bytes in all.iter().filter(|bytes| !bytes.is_empty()) {
        assert!(is_tls(bytes), "{:?}", String::from_utf8_lossy(bytes));
    }
}

/// A hello, then records up to the last byte, and none of the words of HTTP.
fn is_tls(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    while let [20..=23, 3, _, high, low, body @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        rest = body.get(length..).unwrap_or_default();
    }
    let text = String::from_utf8_lossy(bytes);
    let words = ["GET ", "POST ", "PUT ", "PRI * HTTP", "uthorization", TOKEN];
    bytes.starts_with(&[22, 3]) && rest.is_empty() && !words.iter().any(|word| text.contains(word))
}

#[tokio::test]
async fn clear_text_would_be_seen() {
    let server = Parrot::start(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec()).await;
    let _ = api(&format!("http://{}", server.address), |config| config).ping().await;
    let clear = server.arrived.all().concat();
    assert!(!clear.is_empty() && !is_tls(&clear));
    let hello = record(22, [3, 1], b"a hello");
    assert!(is_tls(&hello) && !is_tls(&[hello, clear].concat()));
}

/// Shows this certificate to a client that trusts this root.
async fn assert_refused(shown: &Shown, root: Option<&str>, words: &str) {
    let mock = mock().await;
    let front = Front::start(&mock, Handshake::new(shown)).await;
    let api = api(&front.url(), |config| match root {
        Some(pem) => config.root_certificate_pem(pem),
        None => config,
    });
    assert_every_call_says(&api, words).await;
    assert_eq!(mock.connections(), 0, "nothing came through");
    assert_eq!(front.arrived.all().len(), CALLS.len(), "no handshake is tried again");
    assert_nothing_in_clear(&front.arrived);
}

#[tokio::test]
async fn issue5_an_unknown_authority_is_named() {
    let (ours, other) = (Authority::new("ours"), Authority::new("other"));
    for root in [None, Some(other.pem.as_str())] {
        assert_refused(&ours.server(), root, "add that with root_certificate_pem").await;
    }
}

#[tokio::test]
async fn issue5_another_host_is_named() {
    let authority = Authority::new("ours");
    let elsewhere = CertificateParams::new(vec!["elsewhere.example".to_owned()]).unwrap();
    let shown = authority.sign(&elsewhere);
    assert_refused(&shown, Some(&authority.pem), "for another host: check the host in base_url")
        .await;
}

#[tokio::test]
async fn issue5_a_certificate_outside_its_time_is_named() {
    let authority = Authority::new("ours");
    let mut expired = server_params();
    (expired.not_before, expired.not_after) =
        (date_time_ymd(2001, 1, 1), date_time_ymd(2002, 1, 1));
    assert_refused(&authority.sign(&expired), Some(&authority.pem), "has expired").await;
    let mut early = server_params();
    (early.not_before, early.not_after) = (date_time_ymd(2200, 1, 1), date_time_ymd(2201, 1, 1));
    assert_refused(&authority.sign(&early), Some(&authority.pem), "is not valid yet").await;
}

#[tokio::test]
async fn issue5_a_self_signed_certificate_is_taken_with_the_extra_root_only() {
    let shown = Shown::self_signed(IsCa::NoCa);
    assert_refused(&shown, None, "is self-signed").await;
    let mock = mock().await;
    let front = Front::start(&mock, Handshake::new(&shown)).await;
    let api = api(&front.url(), |config| config.root_certificate_pem(&shown.pem));
    assert_every_call_works(&mock, &api).await;
    assert_nothing_in_clear(&front.arrived);
}

#[tokio::test]
async fn issue5_an_authority_s_own_certificate_is_no_server_s() {
    let shown = Shown::self_signed(IsCa::Ca(BasicConstraints::Unconstrained));
    assert_refused(&shown, Some(&shown.pem), "marked CA:FALSE").await;
}

#[tokio::test]
async fn issue5_tls_1_1_alone_is_named() {
    let alert = |code| record(21, [3, 2], &[2, code]);
    for (answer, words) in [
        (server_hello_of_tls_1_1(), "no TLS version from 1.2 on"),
        (alert(70), "no TLS version from 1.2 on"),
        (alert(71), "no TLS version from 1.2 on"),
        (alert(40), "no TLS version or cipher in common"),
    ] {
        let server = Parrot::start(answer).await;
        let api = api(&format!("https://{}", server.address), |config| config);
        assert_every_call_says(&api, words).await;
        assert_eq!(server.arrived.all().len(), CALLS.len(), "no handshake is tried again");
        assert_nothing_in_clear(&server.arrived);
    }
}

#[tokio::test]
async fn issue5_an_http_answer_to_the_hello_brings_no_clear_text_out() {
    let elsewhere = "Location: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n";
    for answer in [
        "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n".to_owned(),
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}".to_owned(),
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n:hi\n\n".to_owned(),
        format!("HTTP/1.1 301 Moved Permanently\r\n{elsewhere}"),
        format!("HTTP/1.1 307 Temporary Redirect\r\n{elsewhere}"),
        "<!doctype html><h1>sign in</h1>".to_owned(),
        "SSH-2.0-OpenSSH_9.2\r\n".to_owned(),
    ] {
        let server = Parrot::start(answer.clone().into_bytes()).await;
        for insecure in [false, true] {
            let api = api(&format!("https://{}", server.address), |config| {
                config.danger_accept_invalid_certs(insecure)
            });
            assert_every_call_says(&api, "does not speak TLS there: check scheme and port").await;
        }
        assert_eq!(server.arrived.all().len(), 2 * CALLS.len(), "no handshake is tried again");
        assert_nothing_in_clear(&server.arrived);
    }
}

#[tokio::test]
async fn issue5_a_port_that_hangs_up_on_the_hello_gets_no_clear_text() {
    let server = Parrot::start(Vec::new()).await;
    let api = api(&format!("https://{}", server.address), |config| config);
    for call in CALLS {
        let error = (call.run)(&api, &Ids::default()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Connect, "{error}");
    }
    assert_nothing_in_clear(&server.arrived);
}

/// Servers have no status for this, so they send a page with the status 400.
#[tokio::test]
async fn issue5_plain_http_at_a_tls_port_that_answers_is_named() {
    for page in [
        "<html><body><center>The plain HTTP request was sent to HTTPS port</center></body></html>",
        "Client sent an HTTP request to an HTTPS server.\n",
    ] {
        let length = page.len();
        let head = format!("HTTP/1.1 400 Bad Request\r\nContent-Length: {length}\r\n\r\n");
        let server = Parrot::start(format!("{head}{page}").into_bytes()).await;
        let api = api(&format!("http://{}", server.address), |config| config);
        let error = api.ping().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BadRequest);
        assert!(error.to_string().contains("speaks TLS: write https in base_url"), "{error}");
    }
}

/// What is logged on this thread, as text.
#[derive(Clone, Default)]
struct Logged(Arc<Mutex<Vec<u8>>>);

impl io::Write for Logged {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Logged {
    fn start() -> (Self, tracing::subscriber::DefaultGuard) {
        let logged = Self::default();
        let writer = logged.clone();
        let subscriber =
            tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
        (logged, tracing::subscriber::set_default(subscriber))
    }

    fn lines_with(&self, words: &str) -> usize {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        text.lines().filter(|line| line.contains(" WARN ") && line.contains(words)).count()
    }
}

#[tokio::test]
async fn issue5_the_danger_takes_any_certificate_and_warns_each_time() {
    const WARNING: &str = "TLS certificates are not verified";
    let (logged, _guard) = Logged::start();
    let (mock, authority) = (mock().await, Authority::new("ours"));
    let mut expired = CertificateParams::new(vec!["elsewhere.example".to_owned()]).unwrap();
    expired.not_after = date_time_ymd(2002, 1, 1);
    let shown = [authority.server(), authority.sign(&expired), Shown::self_signed(IsCa::NoCa)];
    for (number, shown) in shown.iter().enumerate() {
        let front = Front::start(&mock, Handshake::new(shown)).await;
        let api = api(&front.url(), |config| config.danger_accept_invalid_certs(true));
        assert_eq!(logged.lines_with(WARNING), number + 1);
        assert_every_call_works(&mock, &api).await;
        assert_nothing_in_clear(&front.arrived);
    }
    api("https://127.0.0.1:1", |config| config);
    assert_eq!(logged.lines_with(WARNING), shown.len(), "no warning without the danger");
}

// A client certificate.

#[tokio::test]
async fn issue5_a_client_certificate_is_shown_by_every_call() {
    let (mock, authority) = (mock().await, Authority::new("ours"));
    let (shown, own) = (authority.server(), authority.sign(&CertificateParams::default()));
    for versions in EACH_VERSION {
        let handshake = Handshake { clients: Some(&authority), versions, ..Handshake::new(&shown) };
        let front = Front::start(&mock, handshake).await;
        let trusting = |config: Config| config.root_certificate_pem(&authority.pem);
        let api = api(&front.url(), |config| {
            trusting(config).client_certificate_pem(&own.pem, own.key_pem.as_str())
        });
        assert_every_call_works(&mock, &api).await;
        let clients = front.clients();
        assert!(clients.len() >= 3 && clients.iter().all(|shown| *shown), "{clients:?}");
        assert_nothing_in_clear(&front.arrived);

        let file = json!({ "base_url": front.url(), "root_certificates": [authority.pem],
            "client_certificate": own.pem, "client_key": own.key_pem });
        let config: Config = serde_json::from_value(file).unwrap();
        assert_every_call_works(&mock, &ControlPlane::new(config, "1").unwrap()).await;
    }
}

#[tokio::test]
async fn issue5_without_its_client_certificate_the_error_names_the_setting() {
    let (mock, authority) = (mock().await, Authority::new("ours"));
    let stranger = Authority::new("a stranger").sign(&CertificateParams::default());
    let shown = authority.server();
    const EACH_HTTP: [&[&[u8]]; 2] = [&[b"http/1.1"], &[b"h2"]];
    for versions in EACH_VERSION {
        for alpn in EACH_HTTP {
            let handshake =
                Handshake { clients: Some(&authority), versions, alpn, ..Handshake::new(&shown) };
            let front = Front::start(&mock, handshake).await;
            let trusting = |config: Config| config.root_certificate_pem(&authority.pem);
            let without = api(&front.url(), trusting);
            let words = "asks for a client certificate: give it one with client_certificate_pem";
            assert_every_call_says(&without, words).await;
            let with_a_stranger_s = api(&front.url(), |config| {
                trusting(config).client_certificate_pem(&stranger.pem, stranger.key_pem.as_str())
            });
            let words = "does not accept the client certificate";
            assert_every_call_says(&with_a_stranger_s, words).await;
            assert_nothing_in_clear(&front.arrived);
        }
    }
    assert_eq!(mock.connections(), 0);
}

#[test]
fn issue5_a_client_certificate_that_cannot_be_used_is_refused_by_name() {
    let authority = Authority::new("ours");
    let own = authority.sign(&CertificateParams::default());
    let other = KeyPair::generate().unwrap().serialize_pem();
    let encrypted =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nY2FuYXJ5\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let broken = "-----BEGIN PRIVATE KEY-----\nca nary\n";
    let garbage = "-----BEGIN PRIVATE KEY-----\nY2FuYXJ5\n-----END PRIVATE KEY-----\n";
    let damaged = "-----BEGIN CERTIFICATE-----\nY2FuYXJ5\n-----END CERTIFICATE-----\n";
    let both = format!("{}{}", own.pem, own.key_pem);
    for (chain, key, words) in [
        ("", own.key_pem.as_str(), "client_certificate holds no certificate"),
        (&own.key_pem, &own.key_pem, "client_certificate holds no certificate"),
        ("-----BEGIN CERTIFICATE-----\n???", &own.key_pem, "client_certificate is not understood"),
        (damaged, &own.key_pem, "is damaged"),
        (&own.pem, "", "client_key holds no private key"),
        (&own.pem, &own.pem, "client_key holds no private key"),
        (&own.pem, broken, "client_key holds no private key"),
        (&own.pem, garbage, "client_key is of a kind that is not known"),
        (&own.pem, encrypted, "client_key is encrypted"),
        (&own.pem, &other, "client_key does not belong to client_certificate"),
    ] {
        let config = Config::new("https://h").unwrap().client_certificate_pem(chain, key);
        let error = ControlPlane::new(config, "1").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        let text = format!("{error} {error:?}");
        assert!(text.contains(words), "{words}: {text}");
        assert!(!text.contains("nary") && !text.contains("Y2Fu"), "{text}");
    }
    for (chain, key) in [(&own.pem, &own.key_pem), (&both, &own.key_pem), (&both, &both)] {
        let config = Config::new("https://h").unwrap().client_certificate_pem(chain, key.as_str());
        assert!(!format!("{config:?}").contains("PRIVATE"));
        ControlPlane::new(config, "1").unwrap();
    }
}

// Certificates that change while the stream is open.

struct Running {
    manager: SseManager,
    events: watch::Receiver<Vec<String>>,
}

impl Running {
    /// An agent through the front, reconnecting fast.
    fn start(mock: &MockControlPlane, front: &Front, authority: &Authority) -> (Self, String) {
        let node = mock.add_node("web-1");
        let api = api(&front.url(), |config| config.root_certificate_pem(&authority.pem));
        api.set_auth_token(node.secret_key).unwrap();
        let verifier = Ed25519Verifier::new(&mock.signing_public_key()).unwrap();
        let manager = SseManager::new(api, verifier);
        let short = Duration::from_millis(20);
        manager.set_reconnect_intervals(short, short * 4).unwrap();
        let (sender, events) = watch::channel(Vec::new());
        manager.on_every(move |event: Arc<SignedEnvelope>| {
            sender.send_modify(|all: &mut Vec<String>| all.push(event.event_id.clone()));
            async { Ok(()) }
        });
        let (running, node_id) = (manager.clone(), node.node_id.clone());
        tokio::spawn(async move { running.start(&node_id).await });
        (Self { manager, events }, node.node_id)
    }

    async fn until_handled(&mut self, ids: &[String]) {
        let enough = self.events.wait_for(|events| events.len() >= ids.len());
        let handled = tokio::time::timeout(2 * SOON, enough).await.expect("events come").unwrap();
        assert_eq!(*handled, ids);
    }

    async fn status_until(&self, enough: impl FnMut(&Status) -> bool) -> Status {
        let mut status = self.manager.status();
        let waiting = status.wait_for(enough);
        tokio::time::timeout(2 * SOON, waiting).await.expect("a status").unwrap().clone()
    }
}

#[tokio::test]
async fn issue5_a_certificate_rotated_in_mid_run_loses_nothing() {
    let (mock, authority, other) = (mock().await, Authority::new("ours"), Authority::new("other"));
    let front = Front::start(&mock, Handshake::new(&authority.server())).await;
    let (mut agent, node) = Running::start(&mock, &front, &authority);
    mock.wait_for_streams(&node, 1, 2 * SOON).await;
    let publish = || mock.publish(&node, "peer_removed", &json!({ "peer_id": "p" })).event_id;
    let mut sent = vec![publish()];
    agent.until_handled(&sent).await;

    // The same authority: the open stream stays, the next handshake is a new one.
    front.rotate(&Handshake::new(&authority.server()));
    sent.push(publish());
    agent.until_handled(&sent).await;
    mock.cut_streams(&node, Close::Cut);
    sent.extend([publish(), publish()]);
    agent.until_handled(&sent).await;

    // Another authority: named, tried again and again, and nothing of it is believed.
    front.rotate(&Handshake::new(&other.server()));
    mock.cut_streams(&node, Close::Cut);
    let failures = agent.manager.status().borrow().counters.failures;
    let status = agent
        .status_until(|status| {
            let named = |text: &str| text.contains("add that with root_certificate_pem");
            status.last_error.as_deref().is_some_and(named)
                && status.counters.failures >= failures + 4
        })
        .await;
    assert_ne!(status.mode, plexsphere_client::Mode::Stopped);
    sent.extend([publish(), publish()]);

    // The right one again.
    front.rotate(&Handshake::new(&authority.server()));
    agent.until_handled(&sent).await;
    assert_eq!(agent.status_until(|status| status.counters.events >= 6).await.counters.skipped, 0);
    assert_nothing_in_clear(&front.arrived);
    agent.manager.shutdown();
}
