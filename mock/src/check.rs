//! Is a request's body what the contract says?

use std::io::Read;

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use http::header::{ACCEPT, CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use serde_json::Value;

use crate::problem::Problem;
use crate::schema::Kind;

/// Undoes the content coding, up to `limit` bytes.
pub(crate) fn decode(headers: &HeaderMap, body: &Bytes, limit: usize) -> Result<Bytes, Problem> {
    match header(headers, CONTENT_ENCODING.as_str()) {
        None | Some("identity") => Ok(body.clone()),
        Some("gzip") => {
            let mut decoded = Vec::new();
            let read =
                MultiGzDecoder::new(&body[..]).take(limit as u64 + 1).read_to_end(&mut decoded);
            match read {
                Err(error) => {
                    Err(Problem::bad_request("bad_gzip", format!("the body is not gzip: {error}")))
                }
                Ok(_) if decoded.len() > limit => Err(too_large(limit)),
                Ok(_) => Ok(decoded.into()),
            }
        }
        Some(other) => {
            let detail = format!("content coding {other:?} is not supported; send gzip or none");
            Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_encoding", detail))
        }
    }
}

pub(crate) fn too_large(limit: usize) -> Problem {
    let detail = format!("the body is over {limit} bytes");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", detail)
}

/// The body as JSON of the given kind; without a kind there must be no body.
pub(crate) fn body(kind: Option<Kind>, headers: &HeaderMap, body: &[u8]) -> Result<Value, Problem> {
    let Some(kind) = kind else {
        return match body.is_empty() {
            true => Ok(Value::Null),
            false => Err(Problem::bad_request("unexpected_body", "this operation takes no body")),
        };
    };
    let content_type = header(headers, CONTENT_TYPE.as_str()).unwrap_or_default();
    if !is_media_type(content_type, "application/json") {
        let detail = format!("Content-Type must be application/json, not {content_type:?}");
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            detail,
        ));
    }
    let value: Value = serde_json::from_slice(body).map_err(|error| {
        Problem::bad_request("malformed_json", format!("the body is not JSON: {error}"))
    })?;
    check(&kind, &value, "").map_err(|detail| Problem::bad_request("invalid_field", detail))?;
    Ok(value)
}

/// 406 if the client takes nothing of what the operation answers.
pub(crate) fn accept(headers: &HeaderMap, offered: &str) -> Result<(), Problem> {
    let mut accepted =
        headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).peekable();
    if accepted.peek().is_none() {
        return Ok(());
    }
    let family = format!("{}/*", offered.split('/').next().unwrap_or_default());
    let fits = accepted.flat_map(|value| value.split(',')).any(|range| {
        ["*/*", &family, offered].iter().any(|wanted| is_media_type(range.trim(), wanted))
    });
    match fits {
        true => Ok(()),
        false => {
            let detail = format!("this operation answers {offered}, which Accept leaves out");
            Err(Problem::new(StatusCode::NOT_ACCEPTABLE, "not_acceptable", detail))
        }
    }
}

fn is_media_type(value: &str, wanted: &str) -> bool {
    let essence = value.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case(wanted)
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// The error names the field by its path.
fn check(kind: &Kind, value: &Value, path: &str) -> Result<(), String> {
    let fits = match kind {
        Kind::Any => true,
        Kind::String => value.is_string(),
        Kind::Integer => value.is_i64() || value.is_u64(),
        Kind::Boolean => value.is_boolean(),
        Kind::Time => value.as_str().is_some_and(is_rfc3339),
        Kind::Object(schema) => {
            let Some(fields) = value.as_object() else {
                return Err(wrong(kind, path));
            };
            for field in schema.fields {
                let path = join(path, field.name);
                match fields.get(field.name) {
                    None if field.required && !may_be_empty(&field.kind) => {
                        return Err(format!("field {path:?} is missing"));
                    }
                    None => {}
                    Some(Value::Null) if !field.required => {}
                    Some(value) => check(&field.kind, value, &path)?,
                }
            }
            true
        }
        Kind::List(item) => match value {
            Value::Null => true,
            Value::Array(items) => {
                for (index, value) in items.iter().enumerate() {
                    check(item, value, &format!("{path}[{index}]"))?;
                }
                true
            }
            _ => false,
        },
        Kind::Map(item) => match value {
            Value::Null => true,
            Value::Object(entries) => {
                for (key, value) in entries {
                    check(item, value, &join(path, key))?;
                }
                true
            }
            _ => false,
        },
    };
    if fits { Ok(()) } else { Err(wrong(kind, path)) }
}

/// Go peers leave empty lists and maps out, or write `null`.
fn may_be_empty(kind: &Kind) -> bool {
    matches!(kind, Kind::List(_) | Kind::Map(_))
}

fn wrong(kind: &Kind, path: &str) -> String {
    let wanted = match kind {
        Kind::String => "a string",
        Kind::Integer => "an integer of 64 bits",
        Kind::Boolean => "true or false",
        Kind::Time => "an RFC 3339 time",
        Kind::Any => "JSON",
        Kind::Object(_) => "an object",
        Kind::List(_) => "a list",
        Kind::Map(_) => "a map",
    };
    match path {
        "" => format!("the body must be {wanted}"),
        path => format!("field {path:?} must be {wanted}"),
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// A date, a `T`, a time and an offset, all upper case; at most nanoseconds.
fn is_rfc3339(text: &str) -> bool {
    let shape = text.as_bytes().get(10) == Some(&b'T') && !text.contains(['t', 'z', ' ', ',', '[']);
    shape && text.parse::<Timestamp>().is_ok()
}
