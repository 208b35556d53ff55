//! The one place that every request passes.

use futures::TryFutureExt;
use futures::future::Either;
use http::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap,
    HeaderValue, USER_AGENT,
};
use progenitor_client::{ClientHooks, ClientInfo, OperationInfo};
use reqwest::{Request, Response};
use tracing::Instrument;

use super::context::Call;
use super::generated;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const EVENTS: HeaderValue = HeaderValue::from_static("text/event-stream");
const BYTES: HeaderValue = HeaderValue::from_static("application/octet-stream");

impl generated::Client {
    /// Sends a request. It is taken here and not in a future, which would hold it to the end.
    pub(crate) fn send(
        &self,
        mut request: Request,
        info: &OperationInfo,
    ) -> impl Future<Output = reqwest::Result<Response>> + use<> {
        self.prepare(&mut request, info);
        self.execute(request, info)
    }

    /// What every request carries.
    fn prepare(&self, request: &mut Request, info: &OperationInfo) {
        let call = self.inner();
        set_headers(request.headers_mut(), info.operation_id, call);
        if request.method() == http::Method::POST && request.body().is_none() {
            // Some servers and proxies answer 411 to a POST that does not say how long it is.
            request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
    }

    fn execute(
        &self,
        request: Request,
        info: &OperationInfo,
    ) -> impl Future<Output = reqwest::Result<Response>> + use<> {
        let span = tracing::debug_span!(
            "request",
            operation = info.operation_id,
            method = %request.method(),
            status = tracing::field::Empty,
        );
        let answer = span.in_scope(|| self.client().execute(request));
        if span.is_disabled() {
            // Nobody listens, so each poll need not pass the span.
            return Either::Left(answer);
        }
        let recorded = answer.inspect_ok(|response| {
            tracing::Span::current().record("status", response.status().as_u16());
        });
        Either::Right(recorded.instrument(span))
    }
}

/// What the build leaves as the generator wrote it: the streams.
impl ClientHooks<Call> for generated::Client {
    async fn pre<E>(
        &self,
        request: &mut Request,
        info: &OperationInfo,
    ) -> Result<(), progenitor_client::Error<E>> {
        self.prepare(request, info);
        Ok(())
    }

    async fn exec(&self, request: Request, info: &OperationInfo) -> reqwest::Result<Response> {
        let response = self.execute(request, info).await?;
        self.inner().note_answer(response.status(), response.headers().clone());
        Ok(response)
    }
}

/// Calls whose answer is read bit by bit: no total time limit, no compression.
fn is_stream(operation: &str) -> bool {
    matches!(operation, "connect_sse" | "fetch_artifact")
}

fn set_headers(headers: &mut HeaderMap, operation: &str, call: &Call) {
    headers.insert(USER_AGENT, call.shared().user_agent.clone());
    match operation {
        "connect_sse" => {
            headers.insert(ACCEPT, EVENTS);
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        }
        "fetch_artifact" => {
            headers.insert(ACCEPT, BYTES);
        }
        _ => {
            headers.insert(ACCEPT, JSON);
        }
    }
    if is_stream(operation) {
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        headers.remove(CONTENT_TYPE);
    }
    if let Some(token) = call.authorization() {
        headers.insert(AUTHORIZATION, token);
    }
}
