use std::fmt;

use serde::de::{DeserializeSeed, Deserializer as _, IgnoredAny, MapAccess, Visitor};
use serde_json::error::Category;
use serde_json::value::RawValue;

use super::SignedEnvelope;
use crate::values::{RawJson, Timestamp};

/// How deep an envelope may nest, the envelope itself being the first level.
const MAX_DEPTH: usize = 10_000;

const EVENT_TYPE: usize = 0;
const EVENT_ID: usize = 1;
const ISSUED_AT: usize = 2;
const NONCE: usize = 3;
const PAYLOAD: usize = 4;
const SIGNATURE: usize = 5;
const NAMES: [&str; 6] = ["event_type", "event_id", "issued_at", "nonce", "payload", "signature"];

/// Why the data of an event is not an envelope. It never quotes a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EnvelopeError {
    /// The data is not UTF-8.
    #[error("the envelope is not UTF-8")]
    NotUtf8,
    /// The data is not one JSON value.
    #[error("the envelope is not valid JSON at line {line} column {column}")]
    NotJson {
        /// The line of the fault, from 1.
        line: usize,
        /// The column of the fault in bytes, from 1; 0 before the line's first byte.
        column: usize,
    },
    /// The data is JSON, but not an object.
    #[error("the envelope is not a JSON object")]
    NotAnObject,
    /// Lists and objects stand in each other more than 10,000 deep.
    #[error("the envelope nests deeper than 10000 levels")]
    TooDeep,
    /// A field that every envelope has is missing or empty.
    #[error("the envelope has no {field}")]
    Missing {
        /// The name of the field.
        field: &'static str,
    },
    /// A known field holds something else than it should.
    #[error("the envelope's {field} is not {expected}")]
    WrongType {
        /// The name of the field.
        field: &'static str,
        /// What it should hold.
        expected: &'static str,
    },
    /// A known field is given twice, or once more in another case.
    #[error("the envelope's {field} could be read in two ways")]
    Ambiguous {
        /// The name of the field.
        field: &'static str,
    },
}

pub(super) fn envelope(data: &[u8]) -> Result<SignedEnvelope, EnvelopeError> {
    let text = std::str::from_utf8(data).map_err(|_| EnvelopeError::NotUtf8)?;
    if is_too_deep(data) {
        return Err(EnvelopeError::TooDeep);
    }
    let fields = fields(text)?;
    if let Some(field) = fields.ambiguous {
        return Err(EnvelopeError::Ambiguous { field });
    }
    Ok(SignedEnvelope {
        event_type: fields.required(EVENT_TYPE)?.into(),
        event_id: fields.required(EVENT_ID)?,
        issued_at: fields.time(ISSUED_AT)?,
        nonce: fields.string(NONCE)?,
        payload: fields.values[PAYLOAD].map_or_else(RawJson::default, |raw| raw.to_owned().into()),
        signature: fields.string(SIGNATURE)?,
    })
}

/// Counts brackets outside of strings. Each needs its partner, so a text shorter
/// than two bytes a level cannot be too deep, and almost every event is.
fn is_too_deep(text: &[u8]) -> bool {
    if text.len() <= 2 * MAX_DEPTH {
        return false;
    }
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in text {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => depth += 1,
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_DEPTH {
            return true;
        }
    }
    false
}

fn fields(text: &str) -> Result<Fields<'_>, EnvelopeError> {
    let mut json = serde_json::Deserializer::from_str(text);
    let read = json.deserialize_map(FieldsVisitor);
    read.and_then(|fields| json.end().map(|()| fields)).map_err(|error| match error.classify() {
        Category::Data => EnvelopeError::NotAnObject,
        _ => EnvelopeError::NotJson { line: error.line(), column: error.column() },
    })
}

/// The known fields as they stand in the text.
#[derive(Default)]
struct Fields<'a> {
    values: [Option<&'a RawValue>; NAMES.len()],
    ambiguous: Option<&'static str>,
}

impl Fields<'_> {
    fn required(&self, index: usize) -> Result<String, EnvelopeError> {
        let text = self.string(index)?;
        if text.is_empty() { Err(EnvelopeError::Missing { field: NAMES[index] }) } else { Ok(text) }
    }

    /// The decoded string; empty for `null`, which leaves a Go string as it was.
    fn string(&self, index: usize) -> Result<String, EnvelopeError> {
        match self.values[index].map(RawValue::get) {
            None | Some("null") => Ok(String::new()),
            Some(raw) => serde_json::from_str(raw).map_err(|_| EnvelopeError::WrongType {
                field: NAMES[index],
                expected: "a string of Unicode characters",
            }),
        }
    }

    /// The time is read from the raw text: an escape in it is an error, as in Go.
    fn time(&self, index: usize) -> Result<Option<Timestamp>, EnvelopeError> {
        let raw = match self.values[index].map(RawValue::get) {
            None | Some("null" | r#""""#) => return Ok(None),
            Some(raw) => raw,
        };
        let text = raw.strip_prefix('"').and_then(|raw| raw.strip_suffix('"'));
        text.and_then(|text| text.parse().ok())
            .map(Some)
            .ok_or(EnvelopeError::WrongType { field: NAMES[index], expected: "an RFC 3339 time" })
    }
}

struct FieldsVisitor;

impl<'a> Visitor<'a> for FieldsVisitor {
    type Value = Fields<'a>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an envelope")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<Fields<'a>, A::Error> {
        let mut fields = Fields::default();
        while let Some(name) = map.next_key_seed(NameSeed)? {
            match name {
                Name::Known(index) => {
                    let earlier = fields.values[index].replace(map.next_value()?);
                    if earlier.is_some() {
                        fields.ambiguous = Some(NAMES[index]);
                    }
                }
                Name::OtherCase(index) => {
                    map.next_value::<IgnoredAny>()?;
                    fields.ambiguous = Some(NAMES[index]);
                }
                Name::Unknown => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(fields)
    }
}

enum Name {
    Known(usize),
    OtherCase(usize),
    Unknown,
}

struct NameSeed;

impl<'a> DeserializeSeed<'a> for NameSeed {
    type Value = Name;

    fn deserialize<D: serde::Deserializer<'a>>(self, deserializer: D) -> Result<Name, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for NameSeed {
    type Value = Name;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field name")
    }

    fn visit_str<E>(self, text: &str) -> Result<Name, E> {
        if let Some(index) = NAMES.iter().position(|name| *name == text) {
            return Ok(Name::Known(index));
        }
        let same = |name: &str| text.chars().map(folded).eq(name.chars());
        Ok(NAMES.iter().position(|name| same(name)).map_or(Name::Unknown, Name::OtherCase))
    }
}

/// The lower case of a character where Go matches field names without regard to
/// case: ASCII, and the two characters outside of it whose other case lies within.
fn folded(character: char) -> char {
    match character {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        other => other.to_ascii_lowercase(),
    }
}
