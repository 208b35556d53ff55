//! The one place that every request passes.

use http::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap,
    HeaderValue, USER_AGENT,
};
use progenitor_client::{ClientHooks, ClientInfo, OperationInfo};
use reqwest::{Request, Response, ResponseBuilderExt};
use tracing::Instrument;

use super::context::Call;
use super::{generated, limit};

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const EVENTS: HeaderValue = HeaderValue::from_static("text/event-stream");
const BYTES: HeaderValue = HeaderValue::from_static("application/octet-stream");

impl ClientHooks<Call> for generated::Client {
    async fn pre<E>(
        &self,
        request: &mut Request,
        info: &OperationInfo,
    ) -> Result<(), progenitor_client::Error<E>> {
        let call = self.inner();
        let streams = is_stream(info.operation_id);
        if !streams {
            *request.timeout_mut() = Some(call.shared().request_timeout);
        }
        set_headers(request.headers_mut(), info.operation_id, call);
        if request.method() == http::Method::POST && request.body().is_none() {
            // Some servers and proxies answer 411 to a POST that does not say how long it is.
            request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        Ok(())
    }

    async fn exec(&self, request: Request, info: &OperationInfo) -> reqwest::Result<Response> {
        let call = self.inner();
        let span = tracing::debug_span!(
            "request",
            operation = info.operation_id,
            method = %request.method(),
            status = tracing::field::Empty,
        );
        let answered = async {
            let response = self.client().execute(request).await?;
            tracing::Span::current().record("status", response.status().as_u16());
            if is_stream(info.operation_id) || !response.status().is_success() {
                call.note_answer(response.status(), response.headers().clone());
                return Ok(response);
            }
            Ok(read_whole(response, call).await)
        };
        answered.instrument(span).await
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

/// The same response with its body read through the limit, gzip decoded. The call has its
/// headers from here on: the generated code only copies them.
async fn read_whole(response: Response, call: &Call) -> Response {
    let url = response.url().clone();
    let (parts, body) = http::Response::<reqwest::Body>::from(response).into_parts();
    call.note_answer(parts.status, parts.headers);
    let body = limit::buffered(body, call.shared().response_limit).await;
    let response = http::Response::builder().status(parts.status).url(url).body(body);
    // The builder can only fail on a bad status, and this one comes from a response.
    response.expect("the parts of a response make a response").into()
}
