//! HTTP/2, frame by frame, over TLS.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::future::join_all;
use plexsphere_client::{ControlPlane, ErrorKind as K};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::server::TlsStream;

use crate::calls::{ARTIFACT_BYTES, CALLS, Call, EVENT_BYTES, Reply};
use crate::requests::Ids;
use crate::rows::{LIMIT, Want, assert_is_fit_for_a_log, client, honest_body, judge};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PUSH_PROMISE: u8 = 5;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

const SHORT: Duration = Duration::from_millis(1500);
const RESPONSE_LIMIT: usize = 1024 * 1024;

fn frame(kind: u8, flags: u8, stream: u32, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// A header that no table remembers (RFC 7541, 6.2.2), neither text packed.
fn field(name: &str, value: &str) -> Vec<u8> {
    [vec![0], text(name), text(value)].concat()
}

/// A text with its length as a 7-bit prefix integer.
fn text(text: &str) -> Vec<u8> {
    let (mut bytes, mut left) = (Vec::new(), text.len());
    if left < 127 {
        bytes.push(left as u8);
    } else {
        bytes.push(127);
        left -= 127;
        while left >= 128 {
            bytes.push(left as u8 | 128);
            left >>= 7;
        }
        bytes.push(left as u8);
    }
    bytes.extend(text.as_bytes());
    bytes
}

fn ok_block(media: &str) -> Vec<u8> {
    [vec![0x88], field("content-type", media)].concat()
}

fn honest(stream: u32, call: &Call) -> Vec<u8> {
    let media = match call.reply {
        Reply::Events => "text/event-stream",
        Reply::Bytes => "application/octet-stream",
        _ => "application/json",
    };
    [
        frame(HEADERS, END_HEADERS, stream, ok_block(media)),
        frame(DATA, END_STREAM, stream, honest_body(call)),
    ]
    .concat()
}

/// What goes out for a request on a stream: once, and then over and over with a pause.
#[derive(Clone)]
struct Attack {
    once: fn(u32) -> Vec<u8>,
    again: Option<fn(u32) -> Vec<u8>>,
    close: bool,
}

type Mode = Arc<Mutex<Option<Attack>>>;

/// Means harm while there is an attack, else answers as `current` wants it.
struct Server {
    url: String,
    ca_pem: String,
    mode: Mode,
    current: Arc<Mutex<&'static Call>>,
    connections: Arc<AtomicU64>,
}

impl Server {
    async fn start() -> Self {
        let (acceptor, ca_pem) = tls();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let mode = Mode::default();
        let current = Arc::new(Mutex::new(&CALLS[0]));
        let connections = Arc::new(AtomicU64::new(0));
        let (m, c, n) = (Arc::clone(&mode), Arc::clone(&current), Arc::clone(&connections));
        tokio::spawn(async move {
            loop {
                let Ok((tcp, _)) = listener.accept().await else { return };
                n.fetch_add(1, Ordering::SeqCst);
                let (acceptor, mode, current) = (acceptor.clone(), Arc::clone(&m), Arc::clone(&c));
                tokio::spawn(async move {
                    let Ok(tls) = acceptor.accept(tcp).await else { return };
                    // A client that goes away is no fault of the server.
                    let _ = serve(tls, mode, current).await;
                });
            }
        });
        Self { url, ca_pem, mode, current, connections }
    }

    fn client(&self, limit: Duration) -> ControlPlane {
        client(&self.url, |config| {
            config
                .root_certificate_pem(&*self.ca_pem)
                .connect_timeout(LIMIT)
                .request_timeout(limit)
                .header_timeout(limit)
                .sse_idle_timeout(limit)
                .response_limit(RESPONSE_LIMIT)
        })
    }
}

fn tls() -> (TlsAcceptor, String) {
    let signed = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(signed.signing_key.serialize_der().into());
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![signed.cert.der().clone()], key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    (TlsAcceptor::from(Arc::new(config)), signed.cert.pem())
}

async fn serve(
    tls: TlsStream<TcpStream>,
    mode: Mode,
    current: Arc<Mutex<&'static Call>>,
) -> io::Result<()> {
    let (mut input, mut output) = tokio::io::split(tls);
    let mut preface = [0; 24];
    input.read_exact(&mut preface).await?;
    output.write_all(&frame(SETTINGS, 0, 0, [])).await?;
    let output = Arc::new(tokio::sync::Mutex::new(output));
    let mut floods = tokio::task::JoinSet::new();
    loop {
        let mut head = [0; 9];
        input.read_exact(&mut head).await?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let mut payload = vec![0; length];
        input.read_exact(&mut payload).await?;
        match (head[3], head[4]) {
            (SETTINGS, 0) => output.lock().await.write_all(&frame(SETTINGS, ACK, 0, [])).await?,
            (PING, 0) => output.lock().await.write_all(&frame(PING, ACK, 0, payload)).await?,
            (HEADERS, _) => {
                let attack = mode.lock().unwrap().clone();
                let Some(attack) = attack else {
                    let answer = honest(stream, *current.lock().unwrap());
                    output.lock().await.write_all(&answer).await?;
                    continue;
                };
                output.lock().await.write_all(&(attack.once)(stream)).await?;
                if attack.close {
                    return output.lock().await.shutdown().await;
                }
                if let Some(again) = attack.again {
                    let output = Arc::clone(&output);
                    floods.spawn(async move {
                        loop {
                            if output.lock().await.write_all(&again(stream)).await.is_err() {
                                return;
                            }
                            // real time: a server that goes on for as long as it is listened to.
                            tokio::time::sleep(Duration::from_millis(5)).await;
                        }
                    });
                }
            }
            _ => {}
        }
    }
}

struct Row {
    name: &'static str,
    attack: Attack,
    /// Any of these; streams may differ where their limits do.
    kinds: &'static [K],
    /// Whether it is the time limit that ends it.
    limited: bool,
    /// Whether a call that ignores its answer is content.
    ignored: bool,
}

fn row(name: &'static str, once: fn(u32) -> Vec<u8>) -> Row {
    let attack = Attack { once, again: None, close: false };
    Row { name, attack, kinds: &[K::Transport], limited: false, ignored: false }
}

impl Row {
    fn again(mut self, again: fn(u32) -> Vec<u8>) -> Self {
        self.attack.again = Some(again);
        self
    }

    fn closed(mut self) -> Self {
        self.attack.close = true;
        self
    }

    fn gives(mut self, kinds: &'static [K]) -> Self {
        self.kinds = kinds;
        self
    }

    fn until_the_limit(mut self) -> Self {
        self.limited = true;
        self.kinds = &[K::Timeout, K::IdleTimeout, K::Transport];
        self
    }

    /// The answer's status has come: who wants no more has all.
    fn after_headers(mut self) -> Self {
        self.ignored = true;
        self
    }
}

fn started(stream: u32) -> Vec<u8> {
    let events = [ok_block("text/event-stream"), field("content-length", "100")].concat();
    frame(HEADERS, END_HEADERS, stream, events)
}

fn rows() -> Vec<Row> {
    let empty_settings = |_| frame(SETTINGS, 0, 0, []).repeat(20);
    vec![
        row("a header of 64 KiB", |s| {
            let block = [vec![0x88], field("x-a", &"x".repeat(16_000))].concat();
            let more = field("x-b", &"x".repeat(16_000));
            [
                frame(HEADERS, 0, s, block),
                frame(CONTINUATION, 0, s, &more),
                frame(CONTINUATION, 0, s, &more),
                frame(CONTINUATION, END_HEADERS, s, &more),
            ]
            .concat()
        }),
        row("a thousand headers", |s| {
            let block: Vec<u8> = (0..1000).flat_map(|n| field(&format!("x-{n}"), "v")).collect();
            frame(HEADERS, END_HEADERS | END_STREAM, s, [vec![0x88], block].concat())
        }),
        row("one header of the table over and over", |s| {
            // Put in the table once (6.2.1), then named by one byte each time: a bomb of headers.
            let entry = [vec![0x40], text("x-a"), text(&"x".repeat(3900))].concat();
            frame(
                HEADERS,
                END_HEADERS | END_STREAM,
                s,
                [vec![0x88], entry, vec![0xbe; 10_000]].concat(),
            )
        }),
        row("CONTINUATION without an end", |s| frame(HEADERS, 0, s, [0x88]))
            .again(|s| frame(CONTINUATION, 0, s, field("x-a", "b")).repeat(50)),
        row("empty CONTINUATION without an end", |s| frame(HEADERS, 0, s, [0x88]))
            .again(|s| frame(CONTINUATION, 0, s, []).repeat(50)),
        row("headers that never end", |s| frame(HEADERS, 0, s, [0x88])).until_the_limit(),
        row("a frame over the largest", |s| frame(DATA, 0, s, vec![0; 20_000])),
        row("headers that cannot be unpacked", |s| frame(HEADERS, END_HEADERS, s, [0xff; 20])),
        row("no status", |s| frame(HEADERS, END_HEADERS | END_STREAM, s, field("x-a", "b"))),
        row("status 000", |s| frame(HEADERS, END_HEADERS | END_STREAM, s, field(":status", "000"))),
        row("status 99999", |s| {
            frame(HEADERS, END_HEADERS | END_STREAM, s, field(":status", "99999"))
        }),
        row("a name in capitals", |s| {
            frame(HEADERS, END_HEADERS | END_STREAM, s, [vec![0x88], field("X-A", "b")].concat())
        }),
        row("a header of HTTP/1", |s| {
            let block = [vec![0x88], field("connection", "keep-alive")].concat();
            frame(HEADERS, END_HEADERS | END_STREAM, s, block)
        }),
        row("a reset", |s| frame(RST_STREAM, 0, s, 8u32.to_be_bytes())),
        row("a reset that asks to try again", |s| frame(RST_STREAM, 0, s, 7u32.to_be_bytes())),
        row("a reset in the body", |s| {
            [started(s), frame(RST_STREAM, 0, s, 2u32.to_be_bytes())].concat()
        })
        .after_headers(),
        row("resets of what was never asked", |_| {
            frame(RST_STREAM, 0, 0x7fff_fff1, 8u32.to_be_bytes())
        }),
        row("GOAWAY", |_| frame(GOAWAY, 0, 0, [[0; 4], 2u32.to_be_bytes()].concat())).closed(),
        row("GOAWAY with a debug text of 16 KiB", |_| {
            frame(
                GOAWAY,
                0,
                0,
                [[0; 4].to_vec(), 11u32.to_be_bytes().to_vec(), vec![b'x'; 16_000]].concat(),
            )
        })
        .closed(),
        row("GOAWAY without an end", |_| Vec::new())
            .again(|_| frame(GOAWAY, 0, 0, [[0; 4], [0; 4]].concat()).repeat(20))
            .until_the_limit(),
        row("SETTINGS without an end", |_| Vec::new()).again(empty_settings).until_the_limit(),
        row("SETTINGS that mean harm", |_| {
            // A window of 2^32 - 1 bytes.
            frame(SETTINGS, 0, 0, [0, 4, 0xff, 0xff, 0xff, 0xff])
        }),
        row("PING without an end", |_| Vec::new())
            .again(|_| frame(PING, 0, 0, [0; 8]).repeat(50))
            .until_the_limit(),
        row("a PING of another size", |_| frame(PING, 0, 0, [0; 9])),
        row("a push", |s| {
            frame(PUSH_PROMISE, END_HEADERS, s, [vec![0, 0, 0, 2], vec![0x88]].concat())
        }),
        row("a window past its end", |_| frame(WINDOW_UPDATE, 0, 0, 0x7fff_ffffu32.to_be_bytes())),
        row("a window of nothing", |_| frame(WINDOW_UPDATE, 0, 0, [0; 4])),
        row("data before headers", |s| frame(DATA, END_STREAM, s, "{}")),
        row("data for nobody", |_| frame(DATA, 0, 0, "{}")),
        row("silence", |_| Vec::new()).until_the_limit(),
        row("a body that stops", |s| [started(s), frame(DATA, 0, s, ": x")].concat())
            .until_the_limit()
            .after_headers(),
        row("a body shorter than its length", |s| {
            [started(s), frame(DATA, END_STREAM, s, ": x")].concat()
        })
        .after_headers(),
        row("a body longer than its length", |s| {
            [started(s), frame(DATA, 0, s, [b'x'; 200])].concat()
        })
        .after_headers(),
        row("empty DATA without an end", started)
            .again(|s| frame(DATA, 0, s, []).repeat(20))
            .after_headers(),
        row("interim answers without an end", |_| Vec::new())
            .again(|s| frame(HEADERS, END_HEADERS, s, field(":status", "103")).repeat(20))
            .gives(&[K::Timeout, K::Transport])
            .until_the_limit(),
        row("HTTP/1.1", |_| b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}".to_vec()),
        row("the end", |_| Vec::new()).closed(),
    ]
}

async fn run_row(row: Row) -> usize {
    let server = Server::start().await;
    let api = server.client(if row.limited { SHORT } else { LIMIT });
    *server.mode.lock().unwrap() = Some(row.attack.clone());
    let ids = Ids::default();
    let run = join_all(CALLS.iter().map(|call| (call.run)(&api, &ids)));
    let answers = tokio::time::timeout(LIMIT * 2, run).await;
    let answers = answers.unwrap_or_else(|_| panic!("{}: no end", row.name));
    for (call, answer) in CALLS.iter().zip(answers) {
        let what = format!("{}, {}", row.name, call.operation);
        match answer {
            Ok(_) => assert!(row.ignored && matches!(call.reply, Reply::Ignored(_)), "{what}"),
            Err(error) => {
                let late = row.limited && error.kind() == K::Timeout;
                assert!(late || row.kinds.contains(&error.kind()), "{what}: {error:?}");
                assert_is_fit_for_a_log(&what, &error);
            }
        }
    }
    *server.mode.lock().unwrap() = None;
    for call in CALLS {
        *server.current.lock().unwrap() = call;
        works(&row, &api, call).await;
    }
    // One a call at most, and the honest ones after it.
    let connections = server.connections.load(Ordering::SeqCst);
    assert!(connections <= 2 * CALLS.len() as u64 + 10, "{}: {connections}", row.name);
    CALLS.len()
}

/// The next call works. A connection that the attack has spoilt may fail once more, and a
/// short limit may be too short on a loaded machine.
async fn works(row: &Row, api: &ControlPlane, call: &Call) {
    let mut last = None;
    for _ in 0..5 {
        match (call.run)(api, &Ids::default()).await {
            Err(error) if row.limited && error.is_retryable() => last = Some(error),
            answer => return judge(&format!("after {}", row.name), Want::Answer, call, answer),
        }
    }
    panic!("after {}, {}: {last:?}", row.name, call.operation);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_2_that_means_harm_is_an_error_and_the_next_call_works() {
    use futures::StreamExt;
    let (began, all) = (Instant::now(), rows());
    let count = all.len();
    let cases: usize = futures::stream::iter(all)
        .map(run_row)
        .buffer_unordered(4)
        .collect::<Vec<_>>()
        .await
        .iter()
        .sum();
    println!("HTTP/2: {count} rows, {cases} cases in {:?}", began.elapsed());
}

/// A header list of 15 KiB fits, and small frames of data are no attack.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_2_that_is_only_odd_is_taken() {
    let server = Server::start().await;
    let api = server.client(LIMIT);
    let attack = |once| Some(Attack { once, again: None, close: false });
    *server.mode.lock().unwrap() = attack(|s| {
        let block = [ok_block("text/event-stream"), field("x-a", &"x".repeat(15_000))].concat();
        let body = EVENT_BYTES.bytes().map(|byte| frame(DATA, 0, s, [byte])).collect::<Vec<_>>();
        [frame(HEADERS, END_HEADERS, s, block), body.concat(), frame(DATA, END_STREAM, s, [])]
            .concat()
    });
    let events = Call::of("connect_sse");
    let answer = (events.run)(&api, &Ids::default()).await;
    judge("small frames", Want::Answer, events, answer);
    *server.mode.lock().unwrap() = attack(|s| {
        [
            frame(HEADERS, END_HEADERS, s, field(":status", "103")),
            frame(HEADERS, END_HEADERS, s, ok_block("application/octet-stream")),
            frame(WINDOW_UPDATE, 0, s, 1u32.to_be_bytes()),
            frame(DATA, 0, s, ARTIFACT_BYTES),
            // Trailers.
            frame(HEADERS, END_HEADERS | END_STREAM, s, field("x-sum", "1")),
        ]
        .concat()
    });
    let artifact = Call::of("fetch_artifact");
    let answer = (artifact.run)(&api, &Ids::default()).await;
    judge("trailers", Want::Answer, artifact, answer);
}
