use std::borrow::Cow;
use std::fmt;

use serde::de::DeserializeOwned;

/// How much of a path is kept: a hostile text can nest a hundred names of 32 characters.
const LONGEST_PATH: usize = 200;

/// Where and how a JSON text did not fit its type, without a word of the text itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct DecodeError {
    path: String,
    line: usize,
    column: usize,
    problem: Cow<'static, str>,
}

impl DecodeError {
    /// The place, such as `peers[3].mesh_ip`; empty for the whole document. Of a long
    /// path the last 200 bytes, behind three dots.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The line, from 1; 0 when it is not known.
    pub fn line(&self) -> usize {
        self.line
    }

    /// The column, from 1; 0 when it is not known.
    pub fn column(&self) -> usize {
        self.column
    }

    /// What is wrong there, such as `expected a string` or ``missing field `id` ``.
    pub fn problem(&self) -> &str {
        &self.problem
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.as_str() {
            "" => f.write_str(&self.problem)?,
            path => write!(f, "{path}: {}", self.problem)?,
        }
        match self.line {
            0 => Ok(()),
            line => write!(f, " (line {line}, column {})", self.column),
        }
    }
}

/// Decodes `text`. The error gives path, place and expected type, never a value.
///
/// Tracking the path costs an allocation a field, so only a failure pays for it.
pub(crate) fn decode<T: DeserializeOwned>(text: &[u8]) -> Result<T, DecodeError> {
    serde_json::from_slice(text).or_else(|_| located(text))
}

/// As [`decode`], of text whose strings need no check for UTF-8 any more.
pub(crate) fn decode_text<T: DeserializeOwned>(text: &str) -> Result<T, DecodeError> {
    serde_json::from_str(text).or_else(|_| located(text.as_bytes()))
}

fn located<T: DeserializeOwned>(text: &[u8]) -> Result<T, DecodeError> {
    let mut json = serde_json::Deserializer::from_slice(text);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().iter().map(segment).collect::<String>();
        describe(end_of(path.trim_start_matches('.')), error.inner())
    })?;
    json.end().map_err(|error| describe(String::new(), &error))?;
    Ok(value)
}

/// The end of a path says most. All of it is ASCII.
fn end_of(path: &str) -> String {
    match path.len().checked_sub(LONGEST_PATH) {
        None | Some(0) => path.to_owned(),
        Some(more) => format!("...{}", &path[more..]),
    }
}

fn describe(path: String, error: &serde_json::Error) -> DecodeError {
    DecodeError { path, line: error.line(), column: error.column(), problem: problem(error) }
}

/// A key of a map comes from the server and may be anything: only what looks like a
/// field name is shown.
fn segment(segment: &serde_path_to_error::Segment) -> String {
    use serde_path_to_error::Segment;
    match segment {
        Segment::Seq { index } => format!("[{index}]"),
        Segment::Map { key } if is_field_name(key) => format!(".{key}"),
        Segment::Map { .. } => ".*".to_owned(),
        _ => String::new(),
    }
}

fn is_field_name(key: &str) -> bool {
    key.len() <= 32 && key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
}

/// What serde says without the part that quotes the value: what it expected comes
/// last, and is the type's own text.
fn problem(error: &serde_json::Error) -> Cow<'static, str> {
    if error.is_eof() {
        return "the text ends too early".into();
    }
    if error.is_syntax() {
        return "not JSON, nested too deep, a number out of range, or half a surrogate pair".into();
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
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;
    use crate::values::{RawJson, Timestamp};

    #[derive(Deserialize, Debug)]
    struct Peers {
        #[serde(default)]
        #[allow(dead_code)]
        peers: Vec<Peer>,
        #[serde(default)]
        #[allow(dead_code)]
        tags: BTreeMap<String, u8>,
    }

    #[derive(Deserialize, Debug)]
    struct Peer {
        #[allow(dead_code)]
        port: u16,
    }

    fn text(json: &str) -> String {
        decode::<Peers>(json.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn path_place_and_expected_type_are_named() {
        assert_eq!(
            text(r#"{"peers":[{"port":1},{"port":"canary"}]}"#),
            "peers[1].port: expected u16 (line 1, column 37)"
        );
        assert_eq!(text(r#"{"peers":[{}]}"#), "peers[0]: missing field `port` (line 1, column 12)");
        assert_eq!(text(""), "the text ends too early (line 1, column 0)");
        assert_eq!(
            text("<html>"),
            "not JSON, nested too deep, a number out of range, or half a surrogate pair (line 1, column 1)"
        );
        assert!(text("{} canary").ends_with("(line 1, column 4)"));
    }

    #[test]
    fn of_a_long_path_the_end_is_named() {
        let name = "a".repeat(32);
        let open = format!("{{\"{name}\":").repeat(100);
        let error = decode::<serde_json::Value>(format!("{open}1e400").as_bytes()).unwrap_err();
        assert_eq!(error.path().len(), LONGEST_PATH + "...".len());
        assert!(error.path().starts_with("...") && error.path().ends_with(&format!(".{name}")));
    }

    #[test]
    fn no_value_and_no_map_key_is_quoted() {
        for json in [
            r#"{"peers":[{"port":"canary, expected canary"}]}"#,
            r#"{"tags":{"Canary-key":"canary"}}"#,
            r#"{"tags":{"canary key":-1}}"#,
            r#"{"peers":"canary"}"#,
            r#"{"peers":[{"port":1e99}]}"#,
        ] {
            let text = text(json);
            assert!(!text.to_lowercase().contains("canary"), "{text}");
        }
    }

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

    fn entries(text: &str) -> Result<Entries, DecodeError> {
        decode(text.as_bytes())
    }

    const GOOD: &str =
        r#"{"key":"k","payload":{"b":1.0},"version":1,"updated_at":"2025-01-15T10:30:00Z"}"#;

    #[test]
    fn a_payload_that_fits_is_decoded_and_raw_json_in_it_kept() {
        let all = entries(&format!(r#"{{"entries":[{GOOD}]}}"#)).unwrap().entries;
        assert_eq!(all[0].payload.get(), r#"{"b":1.0}"#);
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
            let error = entries(&format!("{{\"entries\":[{GOOD},\n{bad}]}}")).unwrap_err();
            assert_eq!((error.path(), error.line()), (path, 2), "{error}");
            assert_eq!(error.problem(), problem);
            assert!(error.column() > 0);
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains("canary") && !shown.contains("717273"), "{shown}");
        }
        assert_eq!(entries("7").unwrap_err().path(), "");
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

        let canary = br#""canary, expected canary""#;
        let errors =
            [decode::<Talkative>(canary).unwrap_err(), decode::<Nothing>(canary).unwrap_err()];
        for error in errors {
            assert_eq!(error.problem(), "another value was expected");
            assert!(!format!("{error} {error:?}").contains("canary"));
        }
    }

    #[test]
    fn what_serde_json_cannot_decode_is_an_error_too() {
        for text in ["[".repeat(200) + &"]".repeat(200), "1E400".into(), r#""\ud800""#.into()] {
            assert!(
                decode::<serde_json::Value>(text.as_bytes())
                    .unwrap_err()
                    .problem()
                    .starts_with("not JSON"),
                "{text}"
            );
        }
    }
}
