use std::fmt;

use serde::de::DeserializeOwned;

/// Where and how a JSON text did not fit its type, without a word of the text itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct DecodeError {
    path: String,
    line: usize,
    column: usize,
    what: String,
}

impl DecodeError {
    /// The place, such as `peers[3].mesh_ip`; empty for the whole document.
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
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.as_str() {
            "" => f.write_str(&self.what)?,
            path => write!(f, "{path}: {}", self.what)?,
        }
        match self.line {
            0 => Ok(()),
            line => write!(f, " (line {line}, column {})", self.column),
        }
    }
}

/// Decodes `text`. The error gives path, place and expected type, never a value.
pub(crate) fn decode<T: DeserializeOwned>(text: &[u8]) -> Result<T, DecodeError> {
    let mut json = serde_json::Deserializer::from_slice(text);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().iter().map(segment).collect::<String>();
        describe(path.trim_start_matches('.').to_owned(), error.inner())
    })?;
    json.end().map_err(|error| describe(String::new(), &error))?;
    Ok(value)
}

fn describe(path: String, error: &serde_json::Error) -> DecodeError {
    DecodeError { path, line: error.line(), column: error.column(), what: safe_text(error) }
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

/// serde quotes the value that did not fit; what it expected comes last and is
/// the type's own text.
fn safe_text(error: &serde_json::Error) -> String {
    let text = error.to_string();
    if error.is_eof() {
        return "the text ends too early".to_owned();
    }
    if error.is_syntax() {
        return "this is not JSON".to_owned();
    }
    let text = text.rsplit_once(" at line ").map_or(text.as_str(), |(text, _)| text);
    if let Some((_, expected)) = text.rsplit_once(", expected ") {
        return format!("expected {expected}");
    }
    match text.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`')) {
        Some(field) if is_field_name(field) => format!("the field `{field}` is missing"),
        _ => "this value does not fit".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

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
        assert_eq!(
            text(r#"{"peers":[{}]}"#),
            "peers[0]: the field `port` is missing (line 1, column 12)"
        );
        assert_eq!(text(""), "the text ends too early (line 1, column 0)");
        assert_eq!(text("<html>"), "this is not JSON (line 1, column 1)");
        assert_eq!(text("{} canary"), "this is not JSON (line 1, column 4)");
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
}
