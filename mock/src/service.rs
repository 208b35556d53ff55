//! One request: read, record, script, check, handle, answer.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Instant, SystemTime};

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use http::header::{CONTENT_LENGTH, DATE, HeaderName, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, request};
use http_body_util::BodyExt;
use hyper::body::Incoming;

use crate::answer::{Answer, Payload, Then};
use crate::body::{MockBody, Sink, repeated};
use crate::check;
use crate::handlers::{self, Call};
use crate::mock::Served;
use crate::problem::{ErrorFormat, Problem};
use crate::record::RecordedRequest;
use crate::routes::{self, Answers, Parameters, Route, Target};
use crate::server::{Inner, panic_text};
use crate::stream::Feed;
use crate::wire::{Link, Takeover};

/// Answers a request; a panic on the way is kept and answered with 500.
pub(crate) async fn serve(
    inner: Arc<Inner>,
    link: Arc<Link>,
    request: Request<Incoming>,
) -> Result<Response<MockBody>, Infallible> {
    let what = format!("{} {}", request.method(), request.uri().path());
    let served = AssertUnwindSafe(answer(&inner, &link, request)).catch_unwind().await;
    Ok(served.unwrap_or_else(|panic| {
        let text = panic_text(&*panic);
        inner.fail(format!("{what}: {text}"));
        let mut response =
            Response::new(MockBody::Whole(Some(format!("the mock panicked: {text}\n").into())));
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        response
    }))
}

async fn answer(
    inner: &Arc<Inner>,
    link: &Arc<Link>,
    request: Request<Incoming>,
) -> Response<MockBody> {
    let started = Instant::now();
    let (head, body) = request.into_parts();
    let body = read_body(body, inner.settings.body_limit).await;
    let target = routes::find(head.method.as_str(), head.uri.path());
    let decoded = check::decode(&head.headers, &body.bytes, inner.settings.body_limit);
    let recorded = record(inner, link.id, &head, &target, &body, decoded.as_ref().ok());
    let decoded =
        if body.too_large { Err(check::too_large(inner.settings.body_limit)) } else { decoded };

    let rule = inner.script().pick(&recorded);
    let scripted = rule.map(|rule| rule.answer(&recorded));
    let answer = match scripted {
        Some(scripted) if !scripted.wants_real() => scripted,
        scripted => {
            let real = real_answer(inner, &head, target, decoded);
            match scripted {
                Some(scripted) => scripted.over(real),
                None => real,
            }
        }
    };
    // Even a sleep of nothing takes a tick of the timer.
    if !answer.delay.is_zero() {
        tokio::time::sleep(answer.delay).await;
    }
    let served = Served::new(&recorded, &answer, started.elapsed());
    inner.served(&served);
    inner.changed();
    render(inner, link, answer).await
}

struct ReadBody {
    bytes: Bytes,
    complete: bool,
    too_large: bool,
}

/// Reads on past the limit without keeping, so that the client gets to read the answer.
async fn read_body(mut body: Incoming, limit: usize) -> ReadBody {
    let mut bytes = BytesMut::new();
    let mut dropped = 0_usize;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            return ReadBody { bytes: bytes.freeze(), complete: false, too_large: dropped > 0 };
        };
        let Some(data) = frame.data_ref() else {
            continue;
        };
        if dropped > 0 || bytes.len() + data.len() > limit {
            dropped += data.len();
        } else {
            bytes.extend_from_slice(data);
        }
        if dropped > limit.saturating_mul(16) {
            return ReadBody { bytes: bytes.freeze(), complete: false, too_large: true };
        }
    }
    ReadBody { bytes: bytes.freeze(), complete: dropped == 0, too_large: dropped > 0 }
}

fn record(
    inner: &Inner,
    connection: u64,
    head: &request::Parts,
    target: &Target,
    body: &ReadBody,
    decoded: Option<&Bytes>,
) -> RecordedRequest {
    let (operation, parameters) = match target {
        Target::Route(route, parameters) => (Some(route.operation), parameters.clone()),
        _ => (None, Parameters::default()),
    };
    let mut record = inner.record();
    let request = RecordedRequest {
        number: record.next_number(),
        operation,
        method: head.method.to_string(),
        path: head.uri.path().to_owned(),
        query: head.uri.query().map(str::to_owned),
        parameters: parameters.into_vec(),
        headers: head.headers.clone(),
        body: body.bytes.clone(),
        decoded: decoded.unwrap_or(&body.bytes).clone(),
        complete: body.complete,
        connection,
        version: head.version,
        at: Instant::now(),
        time: SystemTime::now(),
    };
    record.add(request.clone());
    drop(record);
    inner.changed();
    request
}

/// What the server answers without a script.
fn real_answer(
    inner: &Inner,
    head: &request::Parts,
    target: Target,
    body: Result<Bytes, Problem>,
) -> Answer {
    let path = head.uri.path();
    let answer = match target {
        Target::Unknown => {
            Err(Problem::not_found("unknown_path", format!("there is nothing at {path}")))
        }
        Target::WrongMethod(allowed) => {
            let detail = format!("{} is not allowed here; {allowed} is", head.method);
            Err(Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail)
                .header("Allow", allowed))
        }
        Target::Route(route, parameters) => handle(inner, head, route, &parameters, body),
    };
    let format = match inner.plain_text_errors.load(Ordering::Relaxed) {
        true => ErrorFormat::PlainText,
        false => ErrorFormat::Problem,
    };
    answer.unwrap_or_else(|problem| problem.into_answer(format, path))
}

fn handle(
    inner: &Inner,
    head: &request::Parts,
    route: &'static Route,
    parameters: &Parameters,
    body: Result<Bytes, Problem>,
) -> Result<Answer, Problem> {
    let caller = handlers::authorize(inner, route, parameters, &head.headers)?;
    let offered = match route.answer {
        Answers::Json(_) | Answers::Ignored => "application/json",
        Answers::Bytes => "application/octet-stream",
        Answers::Events => "text/event-stream",
    };
    if !matches!(route.answer, Answers::Ignored) {
        check::accept(&head.headers, offered)?;
    }
    let body = check::body(route.request, &head.headers, &body?)?;
    handlers::handle(&Call { inner, route, parameters, headers: &head.headers, body, caller })
}

/// Turns an answer into what the HTTP library sends, or into a fault.
async fn render(inner: &Arc<Inner>, link: &Arc<Link>, mut answer: Answer) -> Response<MockBody> {
    match answer.instead {
        None => {}
        Some(Then::Reset) => link.reset(),
        Some(Then::Cut) => link.close(),
        Some(Then::Stall | Then::End) => std::future::pending().await,
    }
    if answer.instead.is_some() {
        return std::future::pending().await;
    }
    answer.encode();
    if let Payload::Wire { chunks, repeat } = answer.payload {
        link.take_over(Takeover { chunks, repeat, pace: answer.pace, then: answer.then });
        return std::future::pending().await;
    }
    let mut headers = std::mem::take(&mut answer.headers);
    if let Some(ahead) = answer.retry_after_date {
        set(&mut headers, RETRY_AFTER, &inner.clock.http_date(ahead));
    }
    if !headers.contains_key(DATE) {
        set(&mut headers, DATE, &inner.clock.http_date(std::time::Duration::ZERO));
    }
    if let Some(length) = answer.declared_length.or_else(|| known_length(&answer)) {
        set(&mut headers, CONTENT_LENGTH, &length.to_string());
    }
    let status = answer.status.unwrap_or_default();
    let mut response = Response::new(body_of(inner, link, answer));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// The length of a body that is fed but known beforehand.
fn known_length(answer: &Answer) -> Option<u64> {
    match &answer.payload {
        Payload::Bytes(body) if !answer.chunked && is_fed(answer) => Some(body.len() as u64),
        Payload::Repeat { head, total, .. } if !answer.chunked => {
            total.map(|total| total.saturating_add(head.len() as u64))
        }
        _ => None,
    }
}

/// Whether the body has to be sent piece by piece.
fn is_fed(answer: &Answer) -> bool {
    let faulty = answer.pace.is_some() || answer.limit.is_some() || answer.then != Then::End;
    faulty
        || answer.chunked
        || answer.declared_length.is_some()
        || !matches!(answer.payload, Payload::Bytes(_))
}

fn body_of(inner: &Arc<Inner>, link: &Arc<Link>, answer: Answer) -> MockBody {
    let fed = is_fed(&answer);
    if let (Payload::Bytes(bytes), false) = (&answer.payload, fed) {
        return MockBody::Whole((!bytes.is_empty()).then(|| bytes.clone()));
    }
    let (sink, body) = Sink::new(link.clone(), answer.pace, answer.limit, answer.then);
    match answer.payload {
        Payload::Events { node_id, after } => match Feed::new(inner, &node_id, after) {
            Some(feed) => inner.spawn("an event stream", feed.run(sink)),
            None => drop(sink),
        },
        Payload::Bytes(bytes) => feed_parts(inner, sink, [bytes].into_iter()),
        Payload::Chunks(chunks) => feed_parts(inner, sink, chunks.into_iter()),
        Payload::Repeat { head, unit, total } => {
            let parts = std::iter::once(head).chain(repeated(&unit, total));
            feed_parts(inner, sink, parts.filter(|part| !part.is_empty()));
        }
        Payload::Real | Payload::Wire { .. } => {}
    }
    body
}

fn feed_parts(
    inner: &Arc<Inner>,
    mut sink: Sink,
    parts: impl Iterator<Item = Bytes> + Send + 'static,
) {
    inner.spawn("a body", async move {
        for part in parts {
            if sink.send(part).await.is_break() {
                return;
            }
        }
        sink.end().await;
    });
}
