//! The only place that makes an [`Error`] of an answer or of a broken connection.

use std::error::Error as StdError;
use std::time::{Duration, SystemTime};

use futures::StreamExt;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, LOCATION};
use http::{HeaderMap, StatusCode};
use serde::de::DeserializeOwned;
use url::Url;

use super::cause::Cause;
use super::context::Call;
use super::limit::is_too_large;
use super::retry_after::retry_after;
use super::{gzip, tls, tunnel};
use crate::error::{Answer, Error, ErrorKind, Problem, chain};
use crate::values::decode;

/// How much of an error's body is kept.
pub(crate) const ERROR_BODY_LIMIT: usize = 4 * 1024;
/// How much of it is read: a body that ends within this leaves its connection fit for
/// the next call.
const ERROR_BODY_READ: usize = 64 * 1024;
/// How long reading it may take.
const ERROR_BODY_TIME: Duration = Duration::from_secs(2);

/// The longest origin that is printed: a host name has at most 253 characters.
const LONGEST_ORIGIN: usize = 300;

/// Calls whose bodies carry secrets: no text of their answers is kept.
const SECRET_BEARING: [&str; 4] = ["register", "fetch_state", "rotate_keys", "fetch_secret"];

/// The error of a call that the generated code gave up.
pub(crate) async fn from_generated<T: DeserializeOwned>(
    operation: &'static str,
    call: &Call,
    error: progenitor_client::Error<()>,
) -> Error {
    use progenitor_client::Error as E;
    let error = match error {
        E::UnexpectedResponse(response) => from_answer(operation, call, response).await,
        E::InvalidResponsePayload(body, _) => from_payload::<T>(call, &body),
        E::CommunicationError(e) | E::ResponseBodyError(e) | E::InvalidUpgrade(e) => {
            from_transport(call, e).with_answer_of(call)
        }
        E::ErrorResponse(response) => {
            let message = describe(response.status());
            Error::new(kind_of(response.status()), message).with_answer_of(call)
        }
        // Both texts quote what was sent.
        E::InvalidRequest(_) | E::Custom(_) => Error::new(
            ErrorKind::InvalidRequest,
            "the request cannot be built: check its arguments",
        ),
    };
    error.in_operation(operation)
}

/// The error of an answer whose status is not 2xx.
pub(crate) async fn from_answer(
    operation: &'static str,
    call: &Call,
    response: reqwest::Response,
) -> Error {
    let status = response.status();
    let headers = response.headers().clone();
    let body = unpacked(&headers, read_start(response).await);
    let html = is_html(&headers, &body);
    let secret = SECRET_BEARING.contains(&operation);
    let problem = problem(&headers, &body);
    let code = problem.as_ref().and_then(|p| p.code.as_deref());
    let code = code.filter(|code| !secret && is_word(code) && !call.is_token_in(code));
    let mut message = describe(status);
    if status.is_redirection() {
        message = format!("{message}: {}", redirect_advice(call, &headers));
    } else if let Some(code) = code {
        message = format!("{message} ({code})");
    } else if let Some(advice) = tls::advice_of_page(status, &body) {
        message = format!("{message}: {advice}");
    } else if status == StatusCode::PROXY_AUTHENTICATION_REQUIRED {
        let proxy = call.shared().proxy.as_deref().unwrap_or("a proxy between");
        message = format!("{message}: {proxy} wants {}", tunnel::CREDENTIALS);
    } else if html {
        message = format!("{message} as an HTML page: {} answered", in_between(call));
    }
    if status == StatusCode::UNAUTHORIZED && call.authorization().is_none() {
        message = format!("{message}: no token is set, see set_auth_token");
    }
    Error::new(kind_of(status), message).with_answer(Answer {
        status: status.as_u16(),
        retry_after: retry_after(&headers, SystemTime::now()),
        html,
        problem,
        body: (!secret && !body.is_empty()).then(|| text_of(&body)),
        token_generation: call.token_generation(),
    })
}

/// The error of a 2xx answer whose body is not what the call promises.
fn from_payload<T: DeserializeOwned>(call: &Call, body: &[u8]) -> Error {
    let status = call.answer().map_or_else(String::new, |(status, _)| format!("{status}"));
    let headers = call.answer().map(|(_, headers)| headers.clone()).unwrap_or_default();
    let error = if is_html(&headers, body) {
        return page(call);
    } else if body.iter().all(u8::is_ascii_whitespace) {
        Error::new(
            ErrorKind::EmptyResponse,
            format!("{status} with an empty body where one is expected"),
        )
    } else {
        let error = Error::new(ErrorKind::Decode, format!("{status}, but its body does not fit"));
        match decode::<T>(body) {
            Err(fault) => error.with_source(fault),
            Ok(_) => error,
        }
    };
    error.with_answer_of(call)
}

/// The error of a request that got no answer, or of a body that broke off.
pub(crate) fn from_transport(call: &Call, error: reqwest::Error) -> Error {
    let origin = error.url().map(|url| url.origin().ascii_serialization());
    let is_tls = error.url().is_some_and(|url| url.scheme() == "https");
    // The rest of the URL holds ids.
    let error = error.without_url();
    let (kind, message) = if is_too_large(&error) {
        (ErrorKind::ResponseTooLarge, "the answer is larger than response_limit")
    } else if error.is_timeout() && error.is_connect() {
        (ErrorKind::Timeout, "no connection within connect_timeout")
    } else if error.is_timeout() {
        (ErrorKind::Timeout, "no whole answer within request_timeout")
    } else if error.is_connect() || tls::is_of_handshake(&error) {
        let message = unreachable(call, origin, &error);
        return Error::new(ErrorKind::Connect, message).with_source(Cause::of(&error));
    } else if let Some(reason) = farewell(&error) {
        let message = format!("the server closed the HTTP/2 connection: {}", reason.description());
        return Error::new(ErrorKind::Transport, message).with_source(Cause::of(&error));
    } else if error.is_builder() {
        (ErrorKind::InvalidRequest, "the request cannot be built")
    } else if error.is_decode() && !is_of_connection(&error) {
        (ErrorKind::Transport, "the answer's compression is damaged")
    } else if is_hyper(&error, hyper::Error::is_parse_too_large) {
        (ErrorKind::Transport, "the answer has too many headers, or too large ones")
    } else if is_hyper(&error, hyper::Error::is_parse) {
        (ErrorKind::Transport, "what answered is not HTTP: check scheme and port in base_url")
    } else if call.answer().is_none() && is_hang_up(&error) {
        (ErrorKind::Transport, if is_tls { tls::HUNG_UP } else { tls::HUNG_UP_IN_CLEAR })
    } else {
        (ErrorKind::Transport, "the connection broke")
    };
    Error::new(kind, message).with_source(Cause::of(&error))
}

/// Why there is no connection, and where the mend is: at the proxy, in the handshake.
fn unreachable(call: &Call, origin: Option<String>, error: &reqwest::Error) -> String {
    let to = origin.map_or_else(String::new, |origin| format!(" ({origin})"));
    let proxy = call.shared().proxy.as_deref();
    if let Some(message) = proxy.and_then(|proxy| tunnel::advice(proxy, &to, error)) {
        return message;
    }
    match (tls::advice(error), proxy) {
        (Some(advice), _) => format!("{advice}{to}"),
        (None, None) => format!("no connection{to}"),
        (None, Some(proxy)) => format!("no connection{to} through {proxy}"),
    }
}

/// Whether the answer is an HTML page, by its headers: the control plane sends none.
pub(crate) fn is_page(call: &Call) -> bool {
    call.answer().is_some_and(|(_, headers)| is_html_type(headers))
}

/// The error of a 2xx answer that is an HTML page.
pub(crate) fn page(call: &Call) -> Error {
    let status = call.answer().map_or_else(String::new, |(status, _)| format!("{status} "));
    let who = in_between(call);
    let text = format!("{status}with an HTML page: {who} answered in the server's place");
    refused(call, ErrorKind::UnexpectedContent, text)
}

/// The error of a 2xx answer that is not of the promised kind.
pub(crate) fn refused(call: &Call, kind: ErrorKind, message: String) -> Error {
    Error::new(kind, message).with_answer_of(call)
}

/// Who answers in the server's place.
fn in_between(call: &Call) -> String {
    match &call.shared().proxy {
        None => "a proxy or portal".to_owned(),
        Some(proxy) => format!("{proxy}, or a portal"),
    }
}

/// Whether the connection is to blame for a body that cannot be read: the one below
/// the decoder says so.
fn is_of_connection(error: &(dyn StdError + 'static)) -> bool {
    is_hyper(error, |_| true)
}

/// Why the server ended an HTTP/2 connection, in the protocol's own words.
fn farewell(error: &(dyn StdError + 'static)) -> Option<h2::Reason> {
    let error = chain(error).find_map(|link| link.downcast_ref::<h2::Error>())?;
    error.reason().filter(|_| error.is_go_away() && error.is_remote())
}

fn is_hyper(error: &(dyn StdError + 'static), is: impl Fn(&hyper::Error) -> bool) -> bool {
    chain(error).filter_map(|link| link.downcast_ref::<hyper::Error>()).any(is)
}

/// Whether the server closed the connection without a word.
fn is_hang_up(error: &(dyn StdError + 'static)) -> bool {
    chain(error).any(|link| {
        let hyper = link.downcast_ref::<hyper::Error>();
        hyper.is_some_and(|e| e.is_closed() || e.is_canceled() || e.is_incomplete_message())
            // HTTP/2 keeps of an error below it only the text.
            || link.to_string().to_ascii_lowercase().contains("broken pipe")
    })
}

impl Error {
    /// Status and headers as far as they are known, for an error that has no answer yet.
    fn with_answer_of(self, call: &Call) -> Self {
        match call.answer() {
            Some((status, headers)) => self.with_answer(Answer {
                status: status.as_u16(),
                retry_after: retry_after(headers, SystemTime::now()),
                html: is_html(headers, b""),
                token_generation: call.token_generation(),
                ..Answer::default()
            }),
            None => self,
        }
    }
}

fn kind_of(status: StatusCode) -> ErrorKind {
    match status.as_u16() {
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
    }
}

/// "404 Not Found"; a number alone where it has no name.
fn describe(status: StatusCode) -> String {
    match status.canonical_reason() {
        Some(reason) => format!("{} {reason}", status.as_u16()),
        None => format!("status {}", status.as_u16()),
    }
}

fn redirect_advice(call: &Call, headers: &HeaderMap) -> String {
    let target = headers
        .get(LOCATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| Url::parse(text).ok())
        .map(|url| url.origin().ascii_serialization())
        .filter(|origin| origin.len() <= LONGEST_ORIGIN && !call.is_token_in(origin));
    match target {
        Some(origin) => format!(
            "redirects are not followed; if {origin} is the control plane, set base_url to it"
        ),
        None => "redirects are not followed; set base_url to where the control plane is".to_owned(),
    }
}

/// The start of an error's body. The status is what counts: a body that breaks off or
/// stalls does not hide it.
async fn read_start(response: reqwest::Response) -> Vec<u8> {
    let mut body = Vec::new();
    let mut chunks = response.bytes_stream();
    let reading = async {
        let mut read = 0;
        while read <= ERROR_BODY_READ
            && let Some(Ok(chunk)) = chunks.next().await
        {
            read += chunk.len();
            let room = ERROR_BODY_LIMIT - body.len();
            body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        }
    };
    let _ = tokio::time::timeout(ERROR_BODY_TIME, reading).await;
    body
}

/// The body of a stream's error, should it be compressed although plain bytes were
/// asked for; of any other call it is unpacked already.
fn unpacked(headers: &HeaderMap, body: Vec<u8>) -> Vec<u8> {
    match headers.get(CONTENT_ENCODING).map(|encoding| encoding.as_bytes()) {
        None | Some(b"identity") => body,
        Some(b"gzip") => gzip::start_of(&body, ERROR_BODY_LIMIT),
        Some(_) => Vec::new(),
    }
}

/// At most [`ERROR_BODY_LIMIT`] bytes of text, although each bad byte becomes three.
fn text_of(body: &[u8]) -> String {
    let mut text = String::from_utf8_lossy(body).into_owned();
    while text.len() > ERROR_BODY_LIMIT {
        text.pop();
    }
    text
}

fn problem(headers: &HeaderMap, body: &[u8]) -> Option<Problem> {
    let media = content_type(headers)?;
    // To serde a list of values is a struct too.
    let is_object = body.trim_ascii_start().starts_with(b"{");
    (is_object && matches!(media.as_str(), "application/problem+json" | "application/json"))
        .then(|| serde_json::from_slice::<Problem>(body).ok())
        .flatten()
        .filter(|problem| *problem != Problem::default())
}

/// The media type in lower case, without its parameters.
pub(crate) fn content_type(headers: &HeaderMap) -> Option<String> {
    media_type(headers).map(str::to_ascii_lowercase)
}

/// The media type as the server wrote it, without its parameters.
fn media_type(headers: &HeaderMap) -> Option<&str> {
    let text = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    Some(text.split(';').next().unwrap_or_default().trim())
}

fn is_html_type(headers: &HeaderMap) -> bool {
    let is_page = |media: &str| {
        ["text/html", "application/xhtml+xml"].iter().any(|page| media.eq_ignore_ascii_case(page))
    };
    media_type(headers).is_some_and(is_page)
}

pub(crate) fn is_html(headers: &HeaderMap, body: &[u8]) -> bool {
    if is_html_type(headers) {
        return true;
    }
    let start = body.trim_ascii_start();
    [b"<!doctype html".as_slice(), b"<html"]
        .iter()
        .any(|tag| start.get(..tag.len()).is_some_and(|s| s.eq_ignore_ascii_case(tag)))
}

/// Whether a problem's `code` is a plain word, fit to be printed.
fn is_word(code: &str) -> bool {
    (1..=64).contains(&code.len())
        && code.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use bytes::Bytes;
    use futures::stream;
    use http::HeaderValue;
    use http::header::RETRY_AFTER;

    use super::*;
    use crate::config::Config;
    use crate::transport::context::Shared;

    #[test]
    fn an_error_without_an_answer_takes_what_is_known_of_the_call_s() {
        let shared = Arc::new(Shared::new("1.0", &Config::new("http://h").unwrap()).unwrap());
        shared.set_token(&"a".into()).unwrap();
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, HeaderValue::from_static("5"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html"));
        let call = Call::new(&shared);
        call.note_answer(StatusCode::FORBIDDEN, headers);
        let error = Error::new(ErrorKind::Forbidden, "no").with_answer_of(&call);
        assert_eq!(
            (error.status(), error.retry_after()),
            (Some(403), Some(Duration::from_secs(5)))
        );
        assert!(error.is_retryable(), "a page is not the control plane's word");
        let answer = error.answer().unwrap();
        assert_eq!((answer.token_generation, call.token_generation()), (1, 1));
    }

    #[test]
    fn of_an_error_s_body_a_start_is_kept_and_a_little_more_is_read() {
        let pulled = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&pulled);
        let chunks = stream::iter(0..1000).map(move |_| {
            counter.fetch_add(1, Ordering::Relaxed);
            Ok::<_, std::io::Error>(Bytes::from_static(&[b'x'; 1000]))
        });
        let body = reqwest::Body::wrap_stream(chunks);
        let reading = read_start(http::Response::new(body).into());
        let kept = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let kept = kept.block_on(reading);
        assert_eq!(kept.len(), 4096);
        assert_eq!(pulled.load(Ordering::Relaxed), 66, "64 KiB, and the rest of a chunk");
    }
}
