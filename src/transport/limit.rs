use bytes::{Bytes, BytesMut};
use futures::stream;
use http_body::Body;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use memchr::memchr2;

use crate::error::{BoxError, chain};

/// An answer may hold one value or name of JSON for so many bytes of its limit. The limit
/// is one of bytes on the way; a list of zeros takes sixteen times as many once it is built,
/// a map of short names twenty times.
const BYTES_PER_VALUE: usize = 16;

/// Reads a whole body of at most `limit` bytes into one that is held in memory.
///
/// Reading it to its end is what lets the connection be used again, also where the
/// caller ignores the body. A body that fails or is too long becomes one that fails
/// the same way when it is read.
pub(crate) async fn buffered<B>(body: B, limit: usize) -> reqwest::Body
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    let read = whole(Limited::new(body, limit)).await;
    match read.and_then(|body| of_few_values(body, limit)) {
        Ok(body) => body.into(),
        Err(error) => reqwest::Body::wrap_stream(stream::iter([Err::<Bytes, BoxError>(error)])),
    }
}

/// The bytes of a body. Each part is copied as it comes: kept as they are, many small parts
/// would hold the buffers in which they arrived, and take more than a limit of bytes says.
async fn whole<B>(body: B) -> Result<Bytes, BoxError>
where
    B: Body<Data = Bytes, Error = BoxError>,
{
    let mut body = std::pin::pin!(body);
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        if let Ok(part) = frame?.into_data() {
            bytes.extend_from_slice(&part);
        }
    }
    Ok(bytes.freeze())
}

fn of_few_values(body: Bytes, limit: usize) -> Result<Bytes, BoxError> {
    if holds_more_values(&body, limit / BYTES_PER_VALUE) {
        Err(TooManyValues.into())
    } else {
        Ok(body)
    }
}

/// Whether a text, read as JSON, holds more than `most` values and names. It counts the
/// marks that begin or part them, outside of strings; a short text needs no look.
fn holds_more_values(text: &[u8], most: usize) -> bool {
    if text.len() <= most {
        return false;
    }
    let (mut rest, mut marks) = (text, 0);
    while let Some((&byte, behind)) = rest.split_first() {
        rest = match byte {
            b'"' => behind_string(behind),
            b',' | b':' | b'[' | b'{' => {
                marks += 1;
                behind
            }
            _ => behind,
        };
        if marks > most {
            return true;
        }
    }
    false
}

/// What stands behind a string, of which the first quotation mark has been read.
fn behind_string(mut text: &[u8]) -> &[u8] {
    while let Some(at) = memchr2(b'"', b'\\', text) {
        if text[at] == b'"' {
            return &text[at + 1..];
        }
        text = text.get(at + 2..).unwrap_or_default();
    }
    &[]
}

#[derive(Debug, thiserror::Error)]
#[error("more values than one for each {BYTES_PER_VALUE} bytes of it")]
struct TooManyValues;

/// Whether `error` says that a body was longer than its limit, or held too many values.
pub(crate) fn is_too_large(error: &(dyn std::error::Error + 'static)) -> bool {
    chain(error).any(|link| link.is::<LengthLimitError>() || link.is::<TooManyValues>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_and_names_are_counted_outside_of_strings() {
        for (text, values) in [
            ("7", 0),
            ("[]", 1),
            ("[1,2,3]", 3),
            (r#"{"a":1,"b":{}}"#, 5),
            (r#"{"a,[{:":"\\","b\"[[[[":1}"#, 4),
            (r#"["never closed,,,,"#, 1),
            (r#"["ends in an escape\"#, 1),
        ] {
            let padded = format!("{text}{}", " ".repeat(20));
            assert!(!holds_more_values(padded.as_bytes(), values), "{text}");
            assert!(values == 0 || holds_more_values(padded.as_bytes(), values - 1), "{text}");
        }
    }

    #[tokio::test]
    async fn the_limit_of_values_follows_that_of_bytes() {
        let text = format!("[{}]", vec!["0"; 99].join(","));
        for (limit, fits) in [(99 * BYTES_PER_VALUE, true), (99 * BYTES_PER_VALUE - 1, false)] {
            let body = http_body_util::Full::new(Bytes::from(text.clone()));
            let read = BodyExt::collect(buffered(body, limit).await).await;
            assert_eq!(read.is_ok(), fits, "{limit}");
            assert!(read.err().is_none_or(|error| is_too_large(&error)), "{limit}");
        }
    }
}
