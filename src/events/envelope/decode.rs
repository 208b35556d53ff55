use std::borrow::Cow;

use serde::de::DeserializeOwned;

use crate::values::RawJson;

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
pub(super) fn payload<T: DeserializeOwned>(payload: &RawJson) -> Result<T, PayloadError> {
    payload.decode().or_else(|_| {
        let mut json = serde_json::Deserializer::from_str(payload.get());
        serde_path_to_error::deserialize(&mut json).map_err(PayloadError::from)
    })
}

impl From<serde_path_to_error::Error<serde_json::Error>> for PayloadError {
    fn from(error: serde_path_to_error::Error<serde_json::Error>) -> Self {
        let path = error.path().to_string();
        let error = error.into_inner();
        let problem = problem(&error);
        Self { path, line: error.line(), column: error.column(), problem }
    }
}

/// What serde says without the part that quotes the value.
fn problem(error: &serde_json::Error) -> Cow<'static, str> {
    if !error.is_data() {
        return "too deep, a number out of range, or half a surrogate pair".into();
    }
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    let text = text.strip_suffix(&place).unwrap_or(&text);
    let starts_with = |starts: &[&str]| starts.iter().any(|start| text.starts_with(start));
    if starts_with(&["missing field `", "duplicate field `"]) {
        return text.to_owned().into();
    }
    let quotes_first = starts_with(&["invalid ", "unknown "]) && !text.contains(", there are no ");
    match text.rsplit_once(", expected ").filter(|_| quotes_first) {
        Some((_, expected)) => format!("expected {expected}").into(),
        None => "another value was expected".into(),
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::events::SignedEnvelope;
    use crate::values::Timestamp;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Entries {
        entries: Vec<Entry>,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Entry {
        key: String,
        payload: RawJson,
        version: u16,
        updated_at: Timestamp,
        mode: Option<Mode>,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Mode {
        On,
    }

    fn decode(text: &str) -> Result<Entries, PayloadError> {
        let payload = RawJson::from_text(text).unwrap();
        SignedEnvelope::new("custom", "1", payload).decode()
    }

    const GOOD: &str =
        r#"{"key":"k","payload":{"b":1.0},"version":1,"updated_at":"2025-01-15T10:30:00Z"}"#;

    #[test]
    fn a_payload_that_fits_is_decoded_and_raw_json_in_it_kept() {
        let entries = decode(&format!(r#"{{"entries":[{GOOD}]}}"#)).unwrap().entries;
        assert_eq!(entries[0].payload.get(), r#"{"b":1.0}"#);
    }

    #[test]
    fn an_error_says_where_and_what_was_expected_and_quotes_nothing() {
        for (from, to, path, problem) in [
            (r#""version":1"#, r#""version":"canary""#, "entries[1].version", "expected u16"),
            (r#""version":1"#, r#""version":717273"#, "entries[1].version", "expected u16"),
            (
                r#""version":1"#,
                r#""version":"canary, expected canary, no""#,
                "entries[1].version",
                "expected u16",
            ),
            ("2025-01-15", "canary", "entries[1].updated_at", "expected an RFC 3339 time"),
            (r#""key":"k""#, r#""other":"canary""#, "entries[1]", "missing field `key`"),
            (r#""key":"k""#, r#""mode":"canary""#, "entries[1].mode", "expected `on`"),
        ] {
            let bad = GOOD.replace(from, to);
            let error = decode(&format!("{{\"entries\":[{GOOD},\n{bad}]}}")).unwrap_err();
            assert_eq!((error.path(), error.line()), (path, 2), "{error}");
            assert_eq!(error.problem(), problem);
            assert!(error.column() > 0);
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains("canary") && !shown.contains("717273"), "{shown}");
        }
        assert_eq!(decode("7").unwrap_err().path(), ".");
    }

    #[test]
    fn an_error_of_a_type_of_its_own_is_not_repeated() {
        #[derive(Debug)]
        struct Talkative;

        impl<'de> Deserialize<'de> for Talkative {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                Err(serde::de::Error::custom(format!("bad text, expected {text}")))
            }
        }

        #[derive(Debug, Deserialize)]
        enum Nothing {}

        let canary = RawJson::from_text(r#""canary, expected canary""#).unwrap();
        let errors =
            [payload::<Talkative>(&canary).unwrap_err(), payload::<Nothing>(&canary).unwrap_err()];
        for error in errors {
            assert_eq!(error.problem(), "another value was expected");
            assert!(!format!("{error} {error:?}").contains("canary"));
        }
    }

    #[test]
    fn what_serde_json_cannot_decode_is_an_error_too() {
        let error = |text: String| {
            let raw = RawJson::from_text(text).unwrap();
            payload::<serde_json::Value>(&raw).unwrap_err()
        };
        for text in ["[".repeat(200) + &"]".repeat(200), "1E400".into(), r#""\ud800""#.into()] {
            assert!(error(text.clone()).problem().starts_with("too deep"), "{text}");
        }
    }
}
