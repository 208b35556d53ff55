use std::fmt;

use memchr::memchr;
use serde::de::{DeserializeSeed, Deserializer as _, IgnoredAny, MapAccess, Visitor};
use serde_json::error::Category;
use serde_json::value::RawValue;

use super::SignedEnvelope;
use crate::events::canonical::has_any;
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

pub(super) fn envelope(text: &str) -> Result<SignedEnvelope, EnvelopeError> {
    if is_too_deep(text.as_bytes()) {
        return Err(EnvelopeError::TooDeep);
    }
    plain(text).map_or_else(|| careful(text), Ok)
}

/// Reads an envelope as the control plane writes it: the six fields in their order, without
/// white space between them, and no escape in a string.
///
/// `None` says nothing but that [`careful`] has to look: it accepts all that is accepted here.
fn plain(text: &str) -> Option<SignedEnvelope> {
    let mut rest = Rest(text);
    let event_type = rest.string(r#"{"event_type":""#)?;
    let event_id = rest.string(r#","event_id":""#)?;
    if event_type.is_empty() || event_id.is_empty() {
        return None;
    }
    let envelope = SignedEnvelope {
        event_type: event_type.into(),
        event_id: event_id.to_owned(),
        issued_at: written_time(rest.string(r#","issued_at":""#)?)?,
        nonce: rest.string(r#","nonce":""#)?.to_owned(),
        payload: rest.value(r#","payload":"#)?.into(),
        signature: rest.string(r#","signature":""#)?.to_owned(),
    };
    (rest.0 == "}").then_some(envelope)
}

/// What is not read yet of a text.
struct Rest<'a>(&'a str);

impl<'a> Rest<'a> {
    /// A string that stands behind `prefix`, which ends with its opening quote.
    fn string(&mut self, prefix: &str) -> Option<&'a str> {
        let text = self.0.strip_prefix(prefix)?;
        let (text, rest) = text.split_at_checked(memchr(b'"', text.as_bytes())?)?;
        self.0 = rest.strip_prefix('"')?;
        (!has_any(text.as_bytes(), |byte| (byte < b' ') | (byte == b'\\'))).then_some(text)
    }

    fn value(&mut self, prefix: &str) -> Option<Box<RawValue>> {
        let text = self.0.strip_prefix(prefix)?;
        let mut values = serde_json::Deserializer::from_str(text).into_iter();
        let value = values.next()?.ok()?;
        self.0 = text.get(values.byte_offset()..)?;
        Some(value)
    }
}

/// Reads any envelope, and says what is wrong with one that is none.
fn careful(text: &str) -> Result<SignedEnvelope, EnvelopeError> {
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

/// The time in its raw text: an escape in it is an error, as in Go. `None` is the error,
/// `Some(None)` no time.
fn time(raw: &str) -> Option<Option<Timestamp>> {
    if raw == "null" {
        return Some(None);
    }
    written_time(raw.strip_prefix('"')?.strip_suffix('"')?)
}

fn written_time(text: &str) -> Option<Option<Timestamp>> {
    if text.is_empty() { Some(None) } else { text.parse().ok().map(Some) }
}

/// Counts brackets outside of strings. Each needs its partner, so a text shorter than two
/// bytes a level cannot be too deep, and almost every event is; nor can one with fewer
/// brackets, in strings or not, which are counted faster than strings are told apart.
fn is_too_deep(text: &[u8]) -> bool {
    if text.len() <= 2 * MAX_DEPTH || brackets(text) <= MAX_DEPTH {
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

fn brackets(text: &[u8]) -> usize {
    // A block has no more than fit a byte: so many are counted at once.
    let in_block = |block: &[u8]| block.iter().fold(0_u8, |count, byte| count + is_bracket(*byte));
    text.chunks(u8::MAX.into()).map(|block| usize::from(in_block(block))).sum()
}

/// One for a bracket that opens, which differ in one bit.
fn is_bracket(byte: u8) -> u8 {
    u8::from(byte | 0x20 == b'{')
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

    fn time(&self, index: usize) -> Result<Option<Timestamp>, EnvelopeError> {
        let Some(raw) = self.values[index] else { return Ok(None) };
        time(raw.get())
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::events::EventType;

    fn refusal(data: impl AsRef<[u8]>) -> EnvelopeError {
        SignedEnvelope::parse(data).unwrap_err()
    }

    fn with(field: &str) -> String {
        format!(r#"{{"event_type":"peer_added","event_id":"evt-1",{field}}}"#)
    }

    #[test]
    fn every_field_is_read_and_the_payload_is_kept_as_it_stands() {
        let payload =
            "{ \"b\" : 1.0,\n \"a\": [12345678901234567890123, {\"\\u0061\": 2}], \"a\": 1 }";
        let envelope = SignedEnvelope::parse(format!(
            r#" {{"signature":"c2ln","payload":  {payload} ,"nonce":"n\u002d1","unknown":{{"nonce":1}},
            "issued_at":"2025-01-15T10:30:00.100Z","event_id":"evt-1","\u0065vent_type":"peer_added"}} "#
        ))
        .unwrap();
        assert_eq!(envelope.event_type, EventType::PeerAdded);
        assert_eq!(envelope.event_id, "evt-1");
        assert_eq!(envelope.issued_at.unwrap().to_string(), "2025-01-15T10:30:00.1Z");
        assert_eq!(envelope.nonce, "n-1");
        assert_eq!(envelope.payload.get(), payload);
        assert_eq!(envelope.signature, "c2ln");
    }

    #[test]
    fn type_and_id_are_enough_and_null_is_as_good_as_nothing() {
        let short = SignedEnvelope::parse(r#"{"event_type":"custom","event_id":"1"}"#).unwrap();
        assert_eq!(short.event_type, EventType::Unknown("custom".to_owned()));
        assert_eq!((short.issued_at, short.nonce.as_str()), (None, ""));
        assert!(short.payload.is_null() && short.signature.is_empty());
        for field in [r#""issued_at":"""#, r#""issued_at":null,"nonce":null,"signature":null"#] {
            let same = SignedEnvelope::parse(with(field)).unwrap();
            assert_eq!((same.issued_at, same.nonce.as_str()), (None, ""), "{field}");
        }
    }

    #[test]
    fn a_missing_or_empty_type_or_id_is_named() {
        for (data, field) in [
            ("{}", "event_type"),
            (r#"{"event_id":"1"}"#, "event_type"),
            (r#"{"event_type":"","event_id":"1"}"#, "event_type"),
            (r#"{"event_type":null,"event_id":"1"}"#, "event_type"),
            (r#"{"event_type":"a"}"#, "event_id"),
            (r#"{"event_type":"a","event_id":""}"#, "event_id"),
        ] {
            assert_eq!(refusal(data), EnvelopeError::Missing { field }, "{data}");
            assert_eq!(refusal(data).to_string(), format!("the envelope has no {field}"));
        }
    }

    #[test]
    fn a_field_of_a_wrong_type_is_named_and_its_value_is_not() {
        for (field, json) in [
            ("nonce", r#""nonce":717273"#),
            ("nonce", r#""nonce":{"a":"717273"}"#),
            ("nonce", r#""nonce":"717273\ud800""#),
            ("signature", r#""signature":["717273"]"#),
            ("issued_at", r#""issued_at":"717273""#),
            ("issued_at", r#""issued_at":717273"#),
            ("issued_at", r#""issued_at":"2025-01-15T10:30:00\u005a""#),
        ] {
            let error = refusal(with(json));
            assert!(
                matches!(&error, EnvelopeError::WrongType { field: named, .. } if *named == field),
                "{json}: {error:?}"
            );
            let shown = format!("{error} {error:?}");
            assert!(shown.contains(field) && !shown.contains("717273"), "{shown}");
        }
    }

    #[test]
    fn what_is_not_one_json_object_is_refused() {
        for data in ["null", "7", r#""text""#, "[]", "true"] {
            assert_eq!(refusal(data), EnvelopeError::NotAnObject, "{data}");
        }
        let good = with(r#""nonce":"1""#);
        for data in [
            "",
            " ",
            "{",
            "canary",
            &good[..good.len() - 1],
            &format!("{good}x"),
            &format!("{good}{good}"),
            &format!("{good}\0"),
            &format!("\u{feff}{good}"),
            &with(r#""nonce":'canary'"#),
            &with(r#""payload":{"canary":01}"#),
            &with(r#""nonce":"1","#),
        ] {
            let error = refusal(data);
            assert!(matches!(error, EnvelopeError::NotJson { .. }), "{data}: {error:?}");
            assert!(!error.to_string().contains("canary"), "{error}");
        }
        assert_eq!(refusal("{\n  x}"), EnvelopeError::NotJson { line: 2, column: 3 });
        assert_eq!(refusal(b"{\"event_type\":\"\xff\"}"), EnvelopeError::NotUtf8);
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        for (field, json) in [
            ("nonce", r#""nonce":"1","nonce":"1""#),
            ("nonce", r#""nonce":null,"n\u006fnce":null"#),
            ("payload", r#""payload":1,"payload":2"#),
            ("nonce", r#""Nonce":"1""#),
            ("payload", r#""PAYLOAD":{}"#),
            ("signature", "\"\u{17f}ignature\":\"1\""),
            ("issued_at", r#""i\u017fsued_at":1"#),
        ] {
            assert_eq!(refusal(with(json)), EnvelopeError::Ambiguous { field }, "{json}");
        }
        for json in [r#""eventType":"x""#, r#""non-ce":1,"non-ce":2"#, "\"event_\u{131}d\":1"] {
            SignedEnvelope::parse(with(json)).unwrap();
        }
    }

    #[test]
    fn depth_counts_brackets_outside_of_strings_only() {
        let text = |inner: &str| with(&format!(r#""nonce":"{inner}""#));
        SignedEnvelope::parse(text(&"[".repeat(30_000))).unwrap();
        SignedEnvelope::parse(text(&r#"\"["#.repeat(30_000))).unwrap();
        let unknown = |levels: usize| {
            with(&format!(r#""other":{}{}"#, "[".repeat(levels), "]".repeat(levels)))
        };
        SignedEnvelope::parse(unknown(MAX_DEPTH - 1)).unwrap();
        assert_eq!(refusal(unknown(MAX_DEPTH)), EnvelopeError::TooDeep);
        let wide = with(&format!(r#""payload":[{}[]]"#, "[],".repeat(30_000)));
        SignedEnvelope::parse(wide).unwrap();
    }

    /// The fields as the control plane writes them, with these values.
    fn written(values: &[&str]) -> String {
        let fields = NAMES.iter().zip(values).map(|(name, value)| format!("\"{name}\":{value}"));
        format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
    }

    const VALUES: [&str; 6] =
        [r#""a""#, r#""b""#, r#""2025-01-15T10:30:00Z""#, r#""n""#, r#"{"c": ["}"]}"#, r#""s""#];

    #[test]
    fn a_servers_envelope_is_read_in_one_pass_and_what_is_not_quite_one_is_not() {
        let good = written(&VALUES);
        assert_eq!(plain(&good), careful(&good).ok());
        assert!(plain(&good).is_some());
        for place in [0, 1, 2, 3, 5] {
            for bad in [r#""\u0061""#, "\"a\tb\"", "null", "\"a", "a"] {
                let mut values = VALUES;
                values[place] = bad;
                assert_eq!(plain(&written(&values)), None, "{values:?}");
            }
        }
        let list = r#"["a","b","2025-01-15T10:30:00Z","n",{},"s"]"#;
        let open = &good[..good.len() - 1];
        let more = format!(r#"{open},"Nonce":"n"}}"#);
        for bad in [list, open, &more, &format!("{good}x"), &format!(" {good}")] {
            assert_eq!(plain(bad), None, "{bad}");
        }
    }

    fn value() -> impl Strategy<Value = &'static str> {
        proptest::sample::select(
            &[
                VALUES[0],
                VALUES[2],
                VALUES[4],
                "\"\u{e9}\u{2028}<&\"",
                r#""""#,
                r#""\ud800""#,
                r#""\n""#,
                "\"\n\"",
                "null",
                "1E400",
                "01",
                r#"{"a":1},"nonce":"n""#,
                " [1]",
                "{",
            ][..],
        )
    }

    proptest! {
        #[test]
        fn what_one_pass_accepts_the_careful_reading_accepts_too(
            changed in proptest::collection::vec((0_usize..6, value()), 0..4),
            cut in 0_usize..400,
            end in proptest::sample::select(&["", "", "}", " ", r#","Nonce":1}"#][..]),
        ) {
            let mut values = VALUES;
            changed.into_iter().for_each(|(place, value)| values[place] = value);
            let mut text = written(&values);
            if let Some((at, _)) = text.char_indices().nth(cut) {
                text.truncate(at);
            }
            text.push_str(end);
            if let Some(read) = plain(&text) {
                prop_assert_eq!(careful(&text), Ok(read), "{}", text);
            }
        }

        #[test]
        fn any_text_is_read_without_a_panic(
            text in "[\\[\\]{}\":,\\\\a-z0-9 ]{0,200}|\\PC{0,200}",
            cut in 0_usize..200,
        ) {
            let _ = SignedEnvelope::parse(&text);
            let mut bytes = with(&format!("\"payload\":{text}")).into_bytes();
            bytes.truncate(cut);
            let _ = SignedEnvelope::parse(&bytes);
        }
    }
}
