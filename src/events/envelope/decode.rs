use std::borrow::Cow;

use serde::de::DeserializeOwned;

/// Why a payload does not fit its type: where, and what was expected there. It
/// never quotes a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the payload does not fit at {path} (line {line} column {column}): {problem}")]
pub struct PayloadError {
    path: String,
    line: usize,
    column: usize,
    problem: Cow<'static, str>,
}

impl PayloadError {
    /// The place within the payload, such as `peers[2].allowed_ips`; `.` for the whole.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The line within the payload, from 1.
    pub fn line(&self) -> usize {
        self.line
    }

    /// The column within the line in bytes, from 1.
    pub fn column(&self) -> usize {
        self.column
    }

    /// What is wrong there, such as `expected a string` or ``missing field `id` ``.
    pub fn problem(&self) -> &str {
        &self.problem
    }
}

/// Tracking the path costs an allocation a field, so only a failure pays for it.
pub(super) fn payload<T: DeserializeOwned>(text: &str) -> Result<T, PayloadError> {
    serde_json::from_str(text).or_else(|error| match located(text) {
        Ok(value) => Ok(value),
        Err(Some(error)) => Err(error),
        // The fault lies behind the value, where no path leads.
        Err(None) => Err(failure(".".to_owned(), &error)),
    })
}

fn located<T: DeserializeOwned>(text: &str) -> Result<T, Option<PayloadError>> {
    let mut json = serde_json::Deserializer::from_str(text);
    let value = serde_path_to_error::deserialize(&mut json)
        .map_err(|error| Some(failure(error.path().to_string(), error.inner())))?;
    json.end().map_err(|_| None)?;
    Ok(value)
}

fn failure(path: String, error: &serde_json::Error) -> PayloadError {
    PayloadError { path, line: error.line(), column: error.column(), problem: problem(error) }
}

/// What serde says without the part that quotes the value.
fn problem(error: &serde_json::Error) -> Cow<'static, str> {
    if !error.is_data() {
        return "not valid JSON, or nested too deep".into();
    }
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    let text = text.strip_suffix(&place).unwrap_or(&text);
    let names_a_field = ["missing field `", "duplicate field `"];
    if names_a_field.iter().any(|start| text.starts_with(start)) {
        return text.to_owned().into();
    }
    match text.rsplit_once(", expected ") {
        Some((_, expected)) => format!("expected {expected}").into(),
        None => "another value was expected".into(),
    }
}
