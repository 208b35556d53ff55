//! The two answers that are read bit by bit.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::SystemTime;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use http::header::CONTENT_ENCODING;
use http::{HeaderMap, StatusCode};
use progenitor_client::{ByteStream, ClientInfo, ResponseValue};

use super::call::Transport;
use super::context::Call;
use super::generated::Client;
use super::idle::IdleLimit;
use super::pool::Lane;
use super::{outcome, retry_after};
use crate::error::{Error, ErrorKind};

/// The bytes of an answer as they arrive, under the idle limit
/// ([`Config::sse_idle_timeout`](crate::Config::sse_idle_timeout)).
///
/// It ends after the last byte, or after one error. A body that breaks off before
/// its announced length is an error, never a clean end.
///
/// # Cancel safety
/// Dropping a pending `next()` loses nothing; dropping the stream closes the connection.
///
/// # Backpressure
/// Nothing is read ahead of the consumer but what fits the connection's buffers. The
/// idle limit runs only while the consumer waits for bytes.
pub struct BodyStream {
    inner: BoxStream<'static, Result<Bytes, Error>>,
    done: bool,
}

impl Stream for BodyStream {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.done {
            return Poll::Ready(None);
        }
        let item = self.inner.poll_next_unpin(cx);
        self.done = matches!(&item, Poll::Ready(None | Some(Err(_))));
        item
    }
}

impl std::fmt::Debug for BodyStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BodyStream").finish_non_exhaustive()
    }
}

/// The open event stream: the answer to [`connect_sse`](crate::ControlPlane::connect_sse).
///
/// It is a [`Stream`] of the raw bytes; [`SseParser`](crate::events::SseParser) makes
/// events of them.
///
/// # Cancel safety
/// As [`BodyStream`].
///
/// # Backpressure
/// As [`BodyStream`].
#[derive(Debug)]
pub struct SseResponse {
    server_time: Option<SystemTime>,
    body: BodyStream,
}

impl SseResponse {
    /// The server's clock when it answered (`Date`, to the second).
    pub fn server_time(&self) -> Option<SystemTime> {
        self.server_time
    }
}

impl Stream for SseResponse {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.body.poll_next_unpin(cx)
    }
}

/// An answer whose headers have come.
pub(crate) struct Opened {
    call: Call,
    headers: HeaderMap,
    body: BodyStream,
}

impl Opened {
    /// The answer as bytes to be kept: 200, and no page of a portal.
    pub(crate) fn into_bytes(self) -> Result<(HeaderMap, BodyStream), Error> {
        self.into_status(&[StatusCode::OK]).map(|(_, headers, body)| (headers, body))
    }

    /// The answer to a request for a part: 206 with it, or 200 with the whole.
    pub(crate) fn into_part(self) -> Result<(StatusCode, HeaderMap, BodyStream), Error> {
        self.into_status(&[StatusCode::PARTIAL_CONTENT, StatusCode::OK])
    }

    fn into_status(
        self,
        expected: &[StatusCode],
    ) -> Result<(StatusCode, HeaderMap, BodyStream), Error> {
        if outcome::is_page(&self.call) {
            return Err(outcome::page(&self.call));
        }
        let status = self.call.answer().map_or(StatusCode::OK, |(status, _)| *status);
        if expected.contains(&status) {
            return Ok((status, self.headers, self.body));
        }
        let text = format!("{status} where 200 with the bytes is expected");
        Err(outcome::refused(&self.call, ErrorKind::EmptyResponse, text))
    }

    /// A media type is the server's word: a long one, or one with the token in it, is not repeated.
    fn printed<'a>(&self, media: &'a str) -> &'a str {
        let fits = !media.is_empty() && media.len() <= 64 && !self.call.is_token_in(media);
        if fits { media } else { "of another content type" }
    }

    /// The answer as an event stream: 200 of the right content type.
    pub(crate) fn into_events(self) -> Result<SseResponse, Error> {
        let refused = |kind, text: String| outcome::refused(&self.call, kind, text);
        match self.call.answer().map(|(status, _)| *status) {
            Some(StatusCode::NO_CONTENT) => {
                let text = "204: the server has no event stream here".to_owned();
                return Err(refused(ErrorKind::NoStream, text));
            }
            Some(status) if status != StatusCode::OK => {
                let text = format!("{status} where 200 with an event stream is expected");
                return Err(refused(ErrorKind::UnexpectedContent, text));
            }
            _ => {}
        }
        match outcome::content_type(&self.headers).as_deref() {
            Some("text/event-stream") => {
                Ok(SseResponse { server_time: retry_after::date(&self.headers), body: self.body })
            }
            other => Err(refused(
                ErrorKind::UnexpectedContent,
                format!(
                    "the answer is {}, not text/event-stream: a proxy or portal may have answered",
                    other.map_or("of no content type", |media| self.printed(media)),
                ),
            )),
        }
    }
}

impl Transport {
    /// Runs one streamed call up to its headers.
    pub(crate) async fn open<F>(
        &self,
        operation: &'static str,
        lane: Lane,
        run: F,
    ) -> Result<Opened, Error>
    where
        F: AsyncFnOnce(&Client) -> Result<ResponseValue<ByteStream>, progenitor_client::Error<()>>,
    {
        let client = self.client(lane);
        let call = client.inner();
        let limit = self.config.header_timeout;
        let result = match tokio::time::timeout(limit, run(&client)).await {
            Ok(Ok(value)) => self.check(operation, call.clone(), value),
            Ok(Err(error)) => Err(outcome::from_generated::<()>(operation, call, error).await),
            Err(_) => Err(self.no_headers().in_operation(operation)),
        };
        self.note(&result);
        result
    }

    fn no_headers(&self) -> Error {
        let limit = self.config.header_timeout;
        let text = format!("no headers within header_timeout ({limit:?})");
        let error = Error::new(ErrorKind::Timeout, text);
        // A connection that does not stand would have failed before.
        if self.config.connect_timeout < limit { error.after_silence(limit) } else { error }
    }

    fn check(
        &self,
        operation: &'static str,
        call: Call,
        value: ResponseValue<ByteStream>,
    ) -> Result<Opened, Error> {
        let headers = value.headers().clone();
        let encoded = headers
            .get(CONTENT_ENCODING)
            .is_some_and(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity"));
        if encoded {
            let text = "the answer is compressed although plain bytes were asked for: \
                        switch compression off in the proxy between";
            return Err(outcome::refused(&call, ErrorKind::UnexpectedContent, text.to_owned())
                .in_operation(operation));
        }
        let of_call = call.clone();
        let bytes = value.into_inner_stream().map(move |chunk| {
            chunk.map_err(|e| outcome::from_transport(&of_call, e).in_operation(operation))
        });
        let limited = IdleLimit::new(bytes, self.config.sse_idle_timeout)
            .map(move |item| item.map_err(|e| e.in_operation(operation)));
        Ok(Opened { call, headers, body: BodyStream { inner: limited.boxed(), done: false } })
    }
}

#[cfg(test)]
mod tests {
    use futures::stream;

    use super::*;

    fn body(chunks: Vec<Result<Bytes, Error>>) -> BodyStream {
        BodyStream { inner: stream::iter(chunks).boxed(), done: false }
    }

    #[test]
    fn nothing_comes_after_an_error() {
        let chunk = || Ok(Bytes::from_static(b"canary"));
        let failed = Err(Error::new(ErrorKind::Transport, "cut"));
        let mut body = body(vec![chunk(), failed, chunk()]);
        assert_eq!(format!("{body:?}"), "BodyStream { .. }");
        let next = |body: &mut BodyStream| {
            use futures::FutureExt;
            body.next().now_or_never().unwrap().map(|item| item.is_ok())
        };
        assert_eq!(
            [next(&mut body), next(&mut body), next(&mut body)],
            [Some(true), Some(false), None]
        );
    }
}
