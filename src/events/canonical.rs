//! The signed bytes of an envelope: what Go's `encoding/json` writes for its five
//! fields, the payload's own spelling kept.

use std::io::Write;

use super::SignedEnvelope;
use crate::values::{TimeText, Timestamp};

/// Room for the names, the time and some escapes, so that the usual envelope needs
/// one allocation.
const SLACK: usize = 160;

/// How many bytes are looked at in one go.
const BLOCK: usize = 64;

/// U+2028 and U+2029 begin with it.
const FIRST_OF_SEPARATORS: u8 = 0xe2;

/// The canonical form. A missing time is written as Go writes one that was never set.
pub(super) fn signed_bytes(envelope: &SignedEnvelope) -> Vec<u8> {
    let event_type = envelope.event_type.as_str();
    let payload = envelope.payload.get();
    let strings = event_type.len() + envelope.event_id.len() + envelope.nonce.len();
    let mut out = Vec::with_capacity(strings + payload.len() + payload.len() / 8 + SLACK);
    out.extend_from_slice(br#"{"event_type":"#);
    push_string(&mut out, event_type);
    out.extend_from_slice(br#","event_id":"#);
    push_string(&mut out, &envelope.event_id);
    out.extend_from_slice(br#","issued_at":""#);
    out.extend_from_slice(
        TimeText::of(envelope.issued_at.unwrap_or(Timestamp::GO_ZERO)).as_bytes(),
    );
    out.extend_from_slice(br#"","nonce":"#);
    push_string(&mut out, &envelope.nonce);
    out.extend_from_slice(br#","payload":"#);
    push_payload(&mut out, payload);
    out.push(b'}');
    out
}

/// A decoded string, encoded again. What needs no escape is copied, in runs as long as
/// they come.
fn push_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    if has_any(text.as_bytes(), may_be_escaped) {
        push_escaped(out, text);
    } else {
        out.extend_from_slice(text.as_bytes());
    }
    out.push(b'"');
}

fn push_escaped(out: &mut Vec<u8>, text: &str) {
    let bytes = text.as_bytes();
    let mut copied = 0;
    for (at, character) in text.char_indices().filter(|(_, c)| is_escaped(*c)) {
        out.extend_from_slice(&bytes[copied..at]);
        push_escape(out, character);
        copied = at + character.len_utf8();
    }
    out.extend_from_slice(&bytes[copied..]);
}

fn is_escaped(character: char) -> bool {
    matches!(character, '\0'..' ' | '"' | '\\' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}')
}

/// Whether a character may be escaped that has this byte in it.
fn may_be_escaped(byte: u8) -> bool {
    (byte < b' ') | (byte == b'"') | (byte == b'\\') | may_be_html(byte)
}

/// Whether a JSON text with this byte may have another canonical form. None without it has.
fn may_change(byte: u8) -> bool {
    // White space is the only byte up to the space that stands in valid JSON.
    (byte <= b' ') | may_be_html(byte)
}

fn may_be_html(byte: u8) -> bool {
    (byte == b'<') | (byte == b'>') | (byte == b'&') | (byte == FIRST_OF_SEPARATORS)
}

/// Looks at all bytes of a block at once, which compilers turn into a few instructions.
pub(super) fn has_any(bytes: &[u8], is_one: impl Fn(u8) -> bool) -> bool {
    bytes.chunks(BLOCK).any(|block| block.iter().fold(false, |found, &byte| found | is_one(byte)))
}

fn push_escape(out: &mut Vec<u8>, character: char) {
    let short = match character {
        '"' => br#"\""#,
        '\\' => br"\\",
        '\n' => br"\n",
        '\r' => br"\r",
        '\t' => br"\t",
        '\u{8}' => br"\b",
        '\u{c}' => br"\f",
        other => {
            // Writing to a vector cannot fail.
            let _ = write!(out, "\\u{:04x}", u32::from(other));
            return;
        }
    };
    out.extend_from_slice(short);
}

/// JSON text without the white space between its parts, and with the characters
/// escaped that Go escapes. All else is copied, in runs as long as they come.
///
/// The text is valid JSON (`RawJson` holds nothing else), so a backslash stands in a
/// string and has a character after it.
fn push_payload(out: &mut Vec<u8>, text: &str) {
    let bytes = text.as_bytes();
    if !has_any(bytes, may_change) {
        out.extend_from_slice(bytes);
        return;
    }
    let (mut copied, mut at, mut in_string) = (0, 0, false);
    loop {
        let special = if in_string { &SPECIAL_IN_STRING } else { &SPECIAL_OUTSIDE };
        let ordinary = bytes[at..].iter().position(|&byte| special[usize::from(byte)]);
        let Some(ordinary) = ordinary else { break };
        at += ordinary;
        let (length, replacement) = match &bytes[at..] {
            [b'"', ..] => {
                in_string = !in_string;
                (1, None)
            }
            [b'\\', _, ..] => (2, None),
            [b' ' | b'\n' | b'\r' | b'\t', ..] => (1, Some("")),
            [b'<', ..] => (1, Some(r"\u003c")),
            [b'>', ..] => (1, Some(r"\u003e")),
            [b'&', ..] => (1, Some(r"\u0026")),
            [0xe2, 0x80, 0xa8, ..] => (3, Some(r"\u2028")),
            [0xe2, 0x80, 0xa9, ..] => (3, Some(r"\u2029")),
            _ => (1, None),
        };
        if let Some(replacement) = replacement {
            out.extend_from_slice(&bytes[copied..at]);
            out.extend_from_slice(replacement.as_bytes());
            copied = at + length;
        }
        at += length;
    }
    out.extend_from_slice(&bytes[copied..]);
}

/// The bytes that may need more than to be copied.
const SPECIAL_IN_STRING: [bool; 256] = table(b"\"\\<>&\xe2");
const SPECIAL_OUTSIDE: [bool; 256] = table(b"\" \n\r\t");

const fn table(bytes: &[u8]) -> [bool; 256] {
    let mut table = [false; 256];
    let mut index = 0;
    while index < bytes.len() {
        table[bytes[index] as usize] = true;
        index += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::values::RawJson;

    /// A JSON text in pieces: white space may stand between any two of them.
    type Pieces = Vec<String>;

    fn json() -> impl Strategy<Value = Pieces> {
        let string = vec(
            prop_oneof![
                "[ -!#-\\[\\]-~]{0,8}",
                "[\u{e0}-\u{ff}\u{2020}-\u{2030}\u{10000}-\u{10010}]{1,4}",
                Just(r#"\""#.to_owned()),
                Just(r"\\".to_owned()),
                Just(r"\u003C\ud800\/\b".to_owned()),
            ],
            0..6,
        )
        .prop_map(|parts| vec![format!("\"{}\"", parts.concat())]);
        let scalar = prop_oneof!["1E400|-0\\.50|null|true"].prop_map(|text| vec![text]);
        prop_oneof![string.clone(), scalar].prop_recursive(4, 40, 5, move |inner| {
            let member = (string.clone(), inner.clone())
                .prop_map(|(name, value)| [name, vec![":".to_owned()], value].concat());
            prop_oneof![
                vec(inner, 0..5).prop_map(|items| bracketed("[", items, "]")),
                vec(member, 0..5).prop_map(|members| bracketed("{", members, "}")),
            ]
        })
    }

    fn bracketed(open: &str, items: Vec<Pieces>, close: &str) -> Pieces {
        let inner = items.join(&",".to_owned());
        [vec![open.to_owned()], inner, vec![close.to_owned()]].concat()
    }

    fn html_escaped(text: String) -> String {
        text.replace('<', r"\u003c")
            .replace('>', r"\u003e")
            .replace('&', r"\u0026")
            .replace('\u{2028}', r"\u2028")
            .replace('\u{2029}', r"\u2029")
    }

    /// `serde_json` writes all but the five characters as Go does.
    fn slow_string(text: &str) -> String {
        html_escaped(serde_json::to_string(text).unwrap())
    }

    proptest! {
        #[test]
        fn the_signed_bytes_are_those_of_a_slow_and_obvious_writer(
            pieces in json(),
            spaces in vec("[ \n\r\t]{0,3}", 1..50),
            event_type in ".{1,8}",
            event_id in "[\u{0}-\u{7f}\u{2027}-\u{202a}]{0,12}",
            nonce in any::<String>(),
        ) {
            let spaced = pieces.iter().zip(spaces.iter().cycle());
            let spaced: String = spaced.map(|(piece, space)| format!("{space}{piece}")).collect();
            let payload = RawJson::from_text(spaced.trim_start()).unwrap();
            let mut envelope = SignedEnvelope::new(event_type.as_str(), event_id.as_str(), payload);
            envelope.nonce = nonce.clone();
            envelope.issued_at = Some("2025-01-15T10:30:00.10+02:00".parse().unwrap());
            let expected = format!(
                r#"{{"event_type":{},"event_id":{},"issued_at":"2025-01-15T10:30:00.1+02:00","nonce":{},"payload":{}}}"#,
                slow_string(&event_type),
                slow_string(&event_id),
                slow_string(&nonce),
                html_escaped(pieces.concat()),
            );
            prop_assert_eq!(String::from_utf8(signed_bytes(&envelope)).unwrap(), expected);
        }
    }

    #[test]
    fn the_room_for_the_usual_envelope_is_made_once_and_little_more_than_needed() {
        for size in [10, 1000, 100_000] {
            let payload = RawJson::from_text(format!("\"{}\"", "x".repeat(size))).unwrap();
            let (event_type, event_id) = ("t".repeat(200), "i".repeat(1000));
            let mut envelope = SignedEnvelope::new(event_type, event_id, payload);
            envelope.nonce = "n".repeat(1000);
            let bytes = signed_bytes(&envelope);
            let most = bytes.len() + bytes.len() / 4 + 512;
            assert!(bytes.capacity() <= most, "{} for {}", bytes.capacity(), bytes.len());
        }
    }

    #[test]
    fn a_time_that_is_missing_is_written_as_the_zero_of_go() {
        let bytes = signed_bytes(&SignedEnvelope::new("a", "b", RawJson::default()));
        let expected = r#"{"event_type":"a","event_id":"b","issued_at":"0001-01-01T00:00:00Z","nonce":"","payload":null}"#;
        assert_eq!(String::from_utf8(bytes).unwrap(), expected);
    }
}
