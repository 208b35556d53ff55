//! What goes wrong with a request, and how it is told.

use http::StatusCode;
use serde_json::json;

use crate::answer::Answer;

/// How the server words its errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ErrorFormat {
    /// `application/problem+json`, as newer servers do.
    #[default]
    Problem,
    /// `text/plain`, as older servers do.
    PlainText,
}

/// A request that is refused.
#[derive(Debug)]
pub(crate) struct Problem {
    pub(crate) status: StatusCode,
    pub(crate) code: &'static str,
    pub(crate) detail: String,
    pub(crate) headers: Vec<(&'static str, String)>,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, detail: detail.into(), headers: Vec::new() }
    }

    pub(crate) fn bad_request(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, detail)
    }

    pub(crate) fn unauthorized(detail: &str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", detail)
            .header("WWW-Authenticate", "Bearer realm=\"plexsphere\"")
    }

    pub(crate) fn not_found(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, detail)
    }

    pub(crate) fn conflict(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, code, detail)
    }

    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(crate) fn into_answer(self, format: ErrorFormat, instance: &str) -> Answer {
        let answer = Answer::status(self.status.as_u16());
        let answer = match format {
            ErrorFormat::PlainText => answer.text(format!("{}\n", self.detail)),
            ErrorFormat::Problem => answer.json(&json!({
                "type": format!("urn:plexsphere:problem:{}", self.code),
                "title": self.status.canonical_reason().unwrap_or("Error"),
                "status": self.status.as_u16(),
                "detail": self.detail,
                "instance": instance,
                "code": self.code,
            })),
        };
        let answer = match format {
            ErrorFormat::PlainText => answer,
            ErrorFormat::Problem => answer.header("Content-Type", "application/problem+json"),
        };
        self.headers.into_iter().fold(answer, |answer, (name, value)| answer.header(name, value))
    }
}
