//! What the server answers, scripted or its own, with or without a fault.

use std::io::Write;
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{CONTENT_ENCODING, HeaderName, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::Serialize;

use crate::body::repeated;

/// How an answer or a stream ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Then {
    /// As it should.
    #[default]
    End,
    /// Never: the connection stays open and silent.
    Stall,
    /// The connection is closed before the body is whole.
    Cut,
    /// The connection is reset (TCP RST).
    Reset,
}

/// An answer to a request, for [`MockControlPlane::script`](crate::MockControlPlane::script).
///
/// ```
/// use std::time::Duration;
/// use plexsphere_mock::Answer;
///
/// let busy = Answer::status(503).retry_after_secs(5).text("try later");
/// let slow = Answer::real().delay(Duration::from_millis(200));
/// let torn = Answer::real().cut_after(10);
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct Answer {
    pub(crate) status: Option<StatusCode>,
    pub(crate) headers: HeaderMap,
    pub(crate) payload: Payload,
    pub(crate) coding: Coding,
    pub(crate) delay: Duration,
    pub(crate) pace: Option<Pace>,
    pub(crate) limit: Option<u64>,
    pub(crate) then: Then,
    pub(crate) declared_length: Option<u64>,
    pub(crate) chunked: bool,
    pub(crate) retry_after_date: Option<Duration>,
    /// Happens in place of the answer.
    pub(crate) instead: Option<Then>,
}

#[derive(Debug, Clone)]
pub(crate) enum Payload {
    /// What the server would have answered without a script.
    Real,
    Bytes(Bytes),
    /// One write a chunk.
    Chunks(Vec<Bytes>),
    /// `head`, then `unit` over and over, up to `total` bytes or for ever.
    Repeat {
        head: Bytes,
        unit: Bytes,
        total: Option<u64>,
    },
    /// The node's event stream after this sequence number.
    Events {
        node_id: String,
        after: u64,
    },
    /// No HTTP at all: these bytes on the bare connection.
    Wire {
        chunks: Vec<Bytes>,
        repeat: Option<Bytes>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coding {
    Plain,
    Gzip,
    /// Says gzip, is not.
    NotGzip,
    /// Ends in the middle.
    TruncatedGzip,
}

/// This many bytes, then a pause.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    pub(crate) bytes: usize,
    pub(crate) interval: Duration,
}

/// What an answer says.
impl Answer {
    fn with(status: Option<StatusCode>, payload: Payload) -> Self {
        Self {
            status,
            headers: HeaderMap::new(),
            payload,
            coding: Coding::Plain,
            delay: Duration::ZERO,
            pace: None,
            limit: None,
            then: Then::End,
            declared_length: None,
            chunked: false,
            retry_after_date: None,
            instead: None,
        }
    }

    /// What the server itself answers; add a fault, a header or another status to it.
    ///
    /// The request has its effect, even where the answer then gets lost.
    pub fn real() -> Self {
        Self::with(None, Payload::Real)
    }

    /// An empty answer with this status, from 100 to 999.
    ///
    /// # Panics
    /// If `status` is out of that range.
    pub fn status(status: u16) -> Self {
        let parsed = StatusCode::from_u16(status);
        let Ok(parsed) = parsed else { panic!("{status} is not an HTTP status") };
        Self::with(Some(parsed), Payload::Bytes(Bytes::new()))
    }

    /// 200 with a JSON body.
    ///
    /// # Panics
    /// If `value` cannot be written as JSON.
    pub fn ok_json(value: &impl Serialize) -> Self {
        Self::status(200).json(value)
    }

    /// An HTML page as a proxy or a portal sends it.
    pub fn html(status: u16) -> Self {
        let page = format!(
            "<!DOCTYPE html>\n<html><head><title>{status}</title></head><body><h1>{status}</h1><hr>proxy</body></html>\n"
        );
        Self::status(status).body(page).header("Content-Type", "text/html; charset=utf-8")
    }

    /// A refusal as `application/problem+json`.
    pub fn problem(status: u16, code: &str, detail: &str) -> Self {
        let title = StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
        let problem = serde_json::json!({
            "type": format!("urn:plexsphere:problem:{code}"),
            "title": title.unwrap_or("Error"),
            "status": status,
            "detail": detail,
            "instance": "/mock/scripted",
            "code": code,
        });
        Self::status(status).json(&problem).header("Content-Type", "application/problem+json")
    }

    /// 200 and an event stream of exactly these bytes, one write a chunk, then `then`.
    pub fn stream(chunks: impl IntoIterator<Item = impl Into<Bytes>>, then: Then) -> Self {
        let mut answer = Self::status(200).header("Content-Type", "text/event-stream");
        answer.payload = Payload::Chunks(chunks.into_iter().map(Into::into).collect());
        answer.then = then;
        answer
    }

    /// Not HTTP: these bytes on the bare connection, one write a chunk, then `then`.
    ///
    /// For what a well-behaved server library cannot send: a status of 000, endless headers, wrong
    /// lengths. Over HTTP/1.1 only; over HTTP/2 the connection is reset instead.
    pub fn wire(chunks: impl IntoIterator<Item = impl Into<Bytes>>, then: Then) -> Self {
        let chunks = chunks.into_iter().map(Into::into).collect();
        let mut answer = Self::with(None, Payload::Wire { chunks, repeat: None });
        answer.then = then;
        answer
    }

    /// Like [`wire`](Self::wire), with `unit` repeated for ever after `head`.
    pub fn endless_wire(head: impl Into<Bytes>, unit: impl Into<Bytes>) -> Self {
        let repeat = Some(unit.into());
        Self::with(None, Payload::Wire { chunks: vec![head.into()], repeat })
    }

    /// Replaces the body.
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.payload = Payload::Bytes(body.into());
        self
    }

    /// Replaces the body with plain text.
    pub fn text(self, text: impl Into<String>) -> Self {
        self.body(text.into()).header("Content-Type", "text/plain; charset=utf-8")
    }

    /// Replaces the body with JSON.
    ///
    /// # Panics
    /// If `value` cannot be written as JSON.
    pub fn json(self, value: &impl Serialize) -> Self {
        match serde_json::to_vec(value) {
            Ok(body) => self.body(body).header("Content-Type", "application/json"),
            Err(error) => panic!("not JSON: {error}"),
        }
    }

    /// Replaces the body with `total` bytes of `unit` over and over; made while it is sent, never held.
    pub fn repeat(mut self, unit: impl Into<Bytes>, total: u64) -> Self {
        self.payload =
            Payload::Repeat { head: Bytes::new(), unit: unit.into(), total: Some(total) };
        self
    }

    /// Replaces the body with `unit` over and over, for ever.
    pub fn endless(mut self, unit: impl Into<Bytes>) -> Self {
        self.payload = Payload::Repeat { head: Bytes::new(), unit: unit.into(), total: None };
        self
    }

    /// Puts these bytes before those of [`repeat`](Self::repeat) or [`endless`](Self::endless).
    pub fn after_head(mut self, bytes: impl Into<Bytes>) -> Self {
        if let Payload::Repeat { head, .. } = &mut self.payload {
            *head = bytes.into();
        }
        self
    }

    /// Sets the status and keeps the rest.
    ///
    /// # Panics
    /// If `status` is not from 100 to 999.
    pub fn with_status(mut self, status: u16) -> Self {
        self.status = Self::status(status).status;
        self
    }

    /// Sets a header, in place of one of that name.
    ///
    /// # Panics
    /// If name or value cannot be in a header.
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        let (name, value) = header_pair(name, value.as_ref());
        self.headers.insert(name, value);
        self
    }

    /// Adds a header beside those of that name.
    ///
    /// # Panics
    /// If name or value cannot be in a header.
    pub fn add_header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        let (name, value) = header_pair(name, value.as_ref());
        self.headers.append(name, value);
        self
    }

    /// `Retry-After` in seconds.
    pub fn retry_after_secs(self, seconds: u64) -> Self {
        self.header(RETRY_AFTER.as_str(), seconds.to_string())
    }

    /// `Retry-After` as an HTTP date, this far ahead of the server's clock when it answers.
    pub fn retry_after_date(mut self, ahead: Duration) -> Self {
        self.retry_after_date = Some(ahead);
        self
    }
}

/// What goes wrong with it.
impl Answer {
    /// Gzips the body and says so.
    pub fn gzip(mut self) -> Self {
        self.coding = Coding::Gzip;
        self
    }

    /// Says gzip and sends the body as it is.
    pub fn bad_gzip(mut self) -> Self {
        self.coding = Coding::NotGzip;
        self
    }

    /// Gzips the body and sends half of it.
    pub fn truncated_gzip(mut self) -> Self {
        self.coding = Coding::TruncatedGzip;
        self
    }

    /// Waits before the headers.
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Sends the body one byte at a time.
    pub fn drip(self, interval: Duration) -> Self {
        self.pace(1, interval)
    }

    /// Sends the body in pieces of `bytes`, with a pause after each.
    pub fn pace(mut self, bytes: usize, interval: Duration) -> Self {
        self.pace = Some(Pace { bytes: bytes.max(1), interval });
        self
    }

    /// Says nothing more after this many bytes of the body, and keeps the connection.
    pub fn stall_after(self, bytes: u64) -> Self {
        self.limit(bytes, Then::Stall)
    }

    /// Closes the connection after this many bytes of the body.
    pub fn cut_after(self, bytes: u64) -> Self {
        self.limit(bytes, Then::Cut)
    }

    /// Resets the connection after this many bytes of the body.
    pub fn reset_after(self, bytes: u64) -> Self {
        self.limit(bytes, Then::Reset)
    }

    /// Closes the connection instead of sending this answer.
    ///
    /// `Answer::real().hang_up()` has its effect first.
    pub fn hang_up(mut self) -> Self {
        self.instead = Some(Then::Cut);
        self
    }

    /// Resets the connection instead of sending this answer.
    ///
    /// `Answer::real().reset()` has its effect first. Over HTTP/2 all that shares the connection goes with it.
    pub fn reset(mut self) -> Self {
        self.instead = Some(Then::Reset);
        self
    }

    /// Never answers, and keeps the connection.
    pub fn silence(mut self) -> Self {
        self.instead = Some(Then::Stall);
        self
    }

    /// Ends differently from [`Then::End`] once the whole body is sent.
    pub fn then(mut self, then: Then) -> Self {
        self.then = then;
        self
    }

    /// Declares this `Content-Length`; with a longer one than the body has, the connection closes too early.
    ///
    /// For a shorter one see [`wire`](Self::wire).
    pub fn declare_length(mut self, bytes: u64) -> Self {
        self.declared_length = Some(bytes);
        self
    }

    /// Sends no `Content-Length`.
    pub fn chunked(mut self) -> Self {
        self.chunked = true;
        self
    }

    fn limit(mut self, bytes: u64, then: Then) -> Self {
        self.limit = Some(bytes);
        self.then = then;
        self
    }
}

impl Answer {
    pub(crate) fn events(node_id: &str, after: u64) -> Self {
        let mut answer = Self::status(200)
            .header("Content-Type", "text/event-stream")
            .header("Cache-Control", "no-cache");
        answer.payload = Payload::Events { node_id: node_id.to_owned(), after };
        answer
    }

    pub(crate) fn wants_real(&self) -> bool {
        matches!(self.payload, Payload::Real)
    }

    /// This script over what the server itself answers.
    pub(crate) fn over(mut self, real: Answer) -> Self {
        self.status = self.status.or(real.status);
        self.payload = real.payload;
        let mut headers = real.headers;
        for name in self.headers.keys() {
            headers.remove(name);
        }
        headers.extend(self.headers);
        self.headers = headers;
        self
    }

    /// Puts the body into its coding.
    pub(crate) fn encode(&mut self) {
        if self.coding == Coding::Plain {
            return;
        }
        self.headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        if self.coding == Coding::NotGzip {
            return;
        }
        let mut packed = match &self.payload {
            Payload::Bytes(body) => gzip([body.clone()]),
            Payload::Chunks(chunks) => gzip(chunks.iter().cloned()),
            Payload::Repeat { head, unit, total: Some(total) } => {
                gzip(std::iter::once(head.clone()).chain(repeated(unit, Some(*total))))
            }
            _ => return,
        };
        if self.coding == Coding::TruncatedGzip {
            packed.truncate(packed.len() / 2);
        }
        self.payload = Payload::Bytes(packed.into());
    }
}

fn header_pair(name: &str, value: &[u8]) -> (HeaderName, HeaderValue) {
    match (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(value)) {
        (Ok(name), Ok(value)) => (name, value),
        _ => panic!("not a header: {name}: {}", String::from_utf8_lossy(value)),
    }
}

fn gzip(parts: impl IntoIterator<Item = Bytes>) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    for part in parts {
        // A Vec takes every write.
        let _ = encoder.write_all(&part);
    }
    encoder.finish().unwrap_or_default()
}
