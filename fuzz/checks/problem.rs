//! An answer of any status, headers and body, over a socket: the error that a call gives says
//! what the answer says, and none of the server's words where they would be printed.

use std::error::Error as _;
use std::io::Write;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{CONTENT_TYPE, DATE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use plexsphere_client::values::DecodeError;
use plexsphere_client::{Config, ControlPlane, Error, ErrorKind, Problem};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};

use super::members::Members;
use super::retry_after;

/// How much of a body is kept.
const BODY_LIMIT: usize = 4096;
/// So many bytes of a body in a row do not stand in an error's text by chance.
const QUOTE: usize = 12;

/// The first byte is the call, the second the encoding, the next two the status. Then come
/// headers, a line each, an empty line, and the body.
pub fn check(bytes: &[u8]) {
    let [call, encoding, high, low, rest @ ..] = bytes else { return };
    let status = 200 + u16::from_be_bytes([*high, *low]) % 800;
    let call = match call % 4 {
        0 => Call::Ping,
        1 => Call::FetchState,
        2 if !(200..300).contains(&status) => Call::FetchArtifact,
        _ => Call::GetJson,
    };
    let answer = Answer::read(status, Encoding::of(*encoding), rest);
    match WORLD.lock().unwrap_or_else(PoisonError::into_inner).run(call, &answer) {
        Ok(value) => assert_success(call, &answer, value),
        Err(error) if (200..300).contains(&status) => assert_unfit(call, &answer, &error),
        Err(error) => assert_refused(call, &answer, &error),
    }
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Call {
    Ping,
    GetJson,
    /// Its answers hold secrets, so no text of them is kept.
    FetchState,
    /// Its answer is read bit by bit.
    FetchArtifact,
}

#[derive(Clone, Copy, PartialEq)]
enum Encoding {
    Plain,
    Gzip,
    /// Said to be gzip, and is not.
    Damaged,
    /// One that was not asked for.
    Unknown,
}

impl Encoding {
    fn of(byte: u8) -> Self {
        [Self::Plain, Self::Gzip, Self::Damaged, Self::Unknown][usize::from(byte % 4)]
    }
}

struct Answer {
    status: u16,
    encoding: Encoding,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    fn read(status: u16, encoding: Encoding, bytes: &[u8]) -> Self {
        let mut headers = HeaderMap::new();
        let mut rest = bytes;
        for _ in 0..20 {
            let end = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
            let line = &rest[..end];
            rest = rest.get(end + 1..).unwrap_or_default();
            let Some((name, value)) = header(line) else { break };
            headers.append(name, value);
        }
        // These two have no body by their definition.
        let body = if matches!(status, 204 | 304) { &[] } else { rest };
        Self { status, encoding, headers, body: body.to_vec() }
    }

    fn without_body(&self) -> Self {
        Self { headers: self.headers.clone(), body: Vec::new(), ..*self }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut out = format!("HTTP/1.1 {} Any\r\n", self.status).into_bytes();
        for (name, value) in &self.headers {
            out.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
        }
        let body = match self.encoding {
            Encoding::Gzip => {
                let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
                encoder.write_all(&self.body).unwrap();
                encoder.finish().unwrap()
            }
            _ => self.body.clone(),
        };
        out.extend_from_slice(match self.encoding {
            Encoding::Plain => b"",
            Encoding::Gzip | Encoding::Damaged => b"Content-Encoding: gzip\r\n",
            Encoding::Unknown => b"Content-Encoding: br\r\n",
        });
        if matches!(self.status, 204 | 304) {
            out.extend(b"\r\n");
        } else {
            out.extend(format!("Content-Length: {}\r\n\r\n", body.len()).into_bytes());
            out.extend(body);
        }
        out
    }

    /// The start of the body as the caller may see it; `None` where that depends on how far
    /// something damaged can be unpacked.
    fn start(&self, call: Call) -> Option<&[u8]> {
        let start = &self.body[..self.body.len().min(BODY_LIMIT)];
        match (self.encoding, call) {
            (Encoding::Damaged, _) => None,
            (Encoding::Unknown, _) => Some(b""),
            _ => Some(start),
        }
    }

    fn media_type(&self) -> Option<String> {
        let text = self.headers.get(CONTENT_TYPE)?.as_bytes();
        let is_plain = text.iter().all(|byte| matches!(byte, b' '..=b'~' | b'\t'));
        let text = String::from_utf8(text.to_vec()).ok().filter(|_| is_plain)?;
        let media = text.split_once(';').map_or(text.as_str(), |(media, _)| media);
        Some(media.trim().to_lowercase())
    }

    fn says_html(&self) -> bool {
        matches!(self.media_type().as_deref(), Some("text/html" | "application/xhtml+xml"))
    }
}

/// A header line, unless it would change how the answer is framed.
fn header(line: &[u8]) -> Option<(HeaderName, HeaderValue)> {
    const OF_THE_FRAME: [&str; 7] = [
        "content-length",
        "content-encoding",
        "transfer-encoding",
        "connection",
        "upgrade",
        "trailer",
        "keep-alive",
    ];
    let colon = line.iter().position(|byte| *byte == b':')?;
    let name = HeaderName::from_bytes(&line[..colon]).ok()?;
    let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?;
    (!OF_THE_FRAME.contains(&name.as_str())).then_some((name, value))
}

fn looks_like_html(body: &[u8]) -> bool {
    let start = body.trim_ascii_start().iter().take(14).map(u8::to_ascii_lowercase);
    let start: Vec<u8> = start.collect();
    start.starts_with(b"<!doctype html") || start.starts_with(b"<html")
}

fn assert_success(call: Call, answer: &Answer, value: Option<Value>) {
    assert!((200..300).contains(&answer.status), "{} is no success", answer.status);
    assert!(!answer.says_html(), "a page of HTML is no success");
    if let (Some(value), Some(body)) = (value, answer.whole()) {
        assert_eq!(serde_json::from_slice::<Value>(body).unwrap(), value, "{call:?}");
    }
}

impl Answer {
    /// The whole body of an intact answer that is read whole.
    fn whole(&self) -> Option<&[u8]> {
        matches!(self.encoding, Encoding::Plain | Encoding::Gzip).then_some(&self.body)
    }
}

/// A 2xx answer that is not what the call promises.
fn assert_unfit(call: Call, answer: &Answer, error: &Error) {
    assert_printable(call, answer, error);
    assert_eq!(error.body(), None);
    let Some(body) = answer.whole() else { return };
    assert_eq!(error.status(), Some(answer.status), "{error}");
    let expected = if answer.says_html() {
        ErrorKind::UnexpectedContent
    } else if body.iter().all(u8::is_ascii_whitespace) {
        ErrorKind::EmptyResponse
    } else if looks_like_html(body) {
        ErrorKind::UnexpectedContent
    } else {
        ErrorKind::Decode
    };
    assert_eq!(error.kind(), expected, "{call:?} {error}");
    if call == Call::GetJson && expected == ErrorKind::Decode {
        assert!(serde_json::from_slice::<Value>(body).is_err(), "{error}");
    }
    assert!(call != Call::Ping || expected == ErrorKind::UnexpectedContent, "{error}");
}

/// An answer whose status says that the call failed.
fn assert_refused(call: Call, answer: &Answer, error: &Error) {
    assert_printable(call, answer, error);
    assert_eq!(error.status(), Some(answer.status));
    let kind = match answer.status {
        300..=399 => ErrorKind::Redirect,
        400 => ErrorKind::BadRequest,
        401 => ErrorKind::Unauthorized,
        403 => ErrorKind::Forbidden,
        404 => ErrorKind::NotFound,
        409 => ErrorKind::Conflict,
        413 => ErrorKind::PayloadTooLarge,
        429 => ErrorKind::RateLimit,
        500..=599 => ErrorKind::Server,
        _ => ErrorKind::Status,
    };
    assert_eq!(error.kind(), kind);
    assert_wait(answer, error);
    let Some(start) = answer.start(call).filter(|_| answer.is_read_as_it_is(call)) else { return };
    let html = answer.says_html() || looks_like_html(start);
    let passes = matches!(answer.status, 408 | 425 | 429 | 500 | 502..=599);
    assert_eq!(error.is_retryable(), html || passes, "{error}");
    // Bad UTF-8 in a field that nobody reads is passed over.
    if std::str::from_utf8(start).is_ok() {
        assert_eq!(error.problem(), problem(answer, start).as_ref());
    }
    let text = lossy_start(start);
    let kept = (call != Call::FetchState && !text.is_empty()).then_some(text.as_str());
    assert_eq!(error.body(), kept);
}

impl Answer {
    /// Calls that are read whole get what they did not ask for as it is.
    fn is_read_as_it_is(&self, call: Call) -> bool {
        self.encoding != Encoding::Unknown || call == Call::FetchArtifact
    }
}

fn lossy_start(start: &[u8]) -> String {
    let text = String::from_utf8_lossy(start);
    let end = (0..=text.len().min(BODY_LIMIT)).rev().find(|end| text.is_char_boundary(*end));
    text[..end.unwrap()].to_owned()
}

fn assert_wait(answer: &Answer, error: &Error) {
    let said = answer.headers.get(RETRY_AFTER).map(HeaderValue::as_bytes);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let wait = |now| retry_after::wait(said, answer.headers.get(DATE), now);
    // The answer was read before, at most as long ago as a call may take.
    let range = wait(now + 1)..=wait(now - 60);
    assert!(range.contains(&error.retry_after()), "{:?} in {range:?}", error.retry_after());
}

/// Problem details, field by field.
fn problem(answer: &Answer, body: &[u8]) -> Option<Problem> {
    let media = answer.media_type()?;
    if !matches!(media.as_str(), "application/problem+json" | "application/json") {
        return None;
    }
    let Members(members) = serde_json::from_slice(body).ok()?;
    let member = |name: &str| -> Result<Option<&str>, ()> {
        let mut found = members.iter().filter(|(key, _)| key == name);
        let first = found.next().map(|(_, raw)| raw.get());
        if found.next().is_some() { Err(()) } else { Ok(first.filter(|raw| *raw != "null")) }
    };
    let text = |name| -> Option<Option<String>> {
        member(name).ok()?.map_or(Some(None), |raw| serde_json::from_str(raw).ok())
    };
    let mut problem = Problem::default();
    problem.type_ = text("type")?;
    problem.title = text("title")?;
    problem.detail = text("detail")?;
    problem.instance = text("instance")?;
    problem.code = text("code")?;
    problem.status = match member("status").ok()? {
        None => None,
        Some(raw) => Some(raw.parse().ok().filter(|_| !raw.starts_with('+'))?),
    };
    (problem != Problem::default()).then_some(problem)
}

/// One line, of bounded length, without the server's words.
fn assert_printable(call: Call, answer: &Answer, error: &Error) {
    let text = error.to_string();
    assert!(text.len() < 1000 && !text.chars().any(char::is_control), "{text:?}");
    let code = error.problem().and_then(|problem| problem.code.as_deref()).unwrap_or_default();
    // A path names the fields on its way, and a map's key may look like one: it is shown.
    let path = error.source().and_then(|fault| fault.downcast_ref::<DecodeError>());
    let text = match path.map_or("", DecodeError::path) {
        "" => text,
        path => text.replace(path, "\n"),
    };
    let quoted = answer
        .body
        .windows(QUOTE)
        .filter_map(|quote| std::str::from_utf8(quote).ok())
        .find(|quote| text.contains(*quote) && !code.contains(*quote));
    let Some(quoted) = quoted else { return };
    // The body may hold our own words.
    let bare = WORLD_WITHOUT_BODY.lock().unwrap_or_else(PoisonError::into_inner);
    let ours =
        bare.run(call, &answer.without_body()).map_or_else(|e| e.to_string(), |_| String::new());
    let page = "as an HTML page: a proxy or portal answered";
    assert!(
        ours.contains(quoted) || page.contains(quoted),
        "{quoted:?} of the body is in {text:?}"
    );
}

static WORLD: LazyLock<Mutex<World>> = LazyLock::new(|| Mutex::new(World::new()));
static WORLD_WITHOUT_BODY: LazyLock<Mutex<World>> = LazyLock::new(|| Mutex::new(World::new()));

/// A client, and a server that gives one answer after the other.
struct World {
    runtime: Runtime,
    client: ControlPlane,
    answer: Arc<Mutex<Vec<u8>>>,
}

impl World {
    fn new() -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let answer = Arc::new(Mutex::new(Vec::new()));
        runtime.spawn(serve(listener, Arc::clone(&answer)));
        let client = ControlPlane::new(Config::new(url).unwrap(), "1").unwrap();
        client.set_auth_token("a-token").unwrap();
        Self { runtime, client, answer }
    }

    fn run(&self, call: Call, answer: &Answer) -> Result<Option<Value>, Error> {
        *self.answer.lock().unwrap() = answer.bytes();
        self.runtime.block_on(async {
            match call {
                Call::Ping => self.client.ping().await.map(|()| None),
                Call::GetJson => self.client.get_json("/any").await.map(Some),
                Call::FetchState => self.client.fetch_state("n").await.map(|_| None),
                Call::FetchArtifact => {
                    self.client.fetch_artifact("1", "linux", "amd64").await.map(|_| None)
                }
            }
        })
    }
}

async fn serve(listener: TcpListener, answer: Arc<Mutex<Vec<u8>>>) {
    while let Ok((socket, _)) = listener.accept().await {
        tokio::spawn(talk(socket, Arc::clone(&answer)));
    }
}

async fn talk(mut socket: TcpStream, answer: Arc<Mutex<Vec<u8>>>) {
    let mut request = Vec::new();
    while socket.read_buf(&mut request).await.is_ok_and(|read| read > 0) {
        if request.ends_with(b"\r\n\r\n") {
            request.clear();
            let bytes = answer.lock().unwrap().clone();
            if socket.write_all(&bytes).await.is_err() {
                return;
            }
        }
    }
}
