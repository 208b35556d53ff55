use std::mem;

use bytes::{Bytes, BytesMut};
use futures::{FutureExt, stream};
use memchr::memchr2;
use reqwest::Response;

use crate::error::{BoxError, chain};

/// An answer may hold one value or name of JSON for so many bytes of its limit. The limit
/// is one of bytes on the way; a list of zeros takes sixteen times as many once it is built,
/// a map of short names twenty times.
const BYTES_PER_VALUE: usize = 16;

/// Reads a body of at most `limit` bytes to its end.
///
/// One that comes in a single part is that part. Of more than one each is copied: kept as they
/// are, many small parts would hold the buffers in which they arrived, and take more than a
/// limit of bytes says.
pub(crate) async fn whole(response: &mut Response, limit: usize) -> reqwest::Result<Bytes> {
    let (mut only, mut joined) = (Bytes::new(), BytesMut::new());
    while let Some(part) = response.chunk().await? {
        if part.len() > limit - only.len() - joined.len() {
            return Err(refused(TooLong));
        }
        if only.is_empty() && joined.is_empty() {
            only = part;
        } else {
            joined.extend_from_slice(&mem::take(&mut only));
            joined.extend_from_slice(&part);
        }
    }
    Ok(if joined.is_empty() { only } else { joined.freeze() })
}

/// Refuses a body that holds more JSON than its limit of bytes lets expect.
pub(crate) fn of_few_values(body: Bytes, limit: usize) -> reqwest::Result<Bytes> {
    if holds_more_values(&body, limit / BYTES_PER_VALUE) {
        Err(refused(TooManyValues))
    } else {
        Ok(body)
    }
}

/// The HTTP client's error of a body that fails because of `why`. There is no other way to one.
fn refused(why: impl Into<BoxError>) -> reqwest::Error {
    let body = reqwest::Body::wrap_stream(stream::iter([Err::<Bytes, BoxError>(why.into())]));
    let read = Response::from(http::Response::new(body)).bytes().now_or_never();
    // Its one part is an error, and it is there already.
    read.and_then(Result::err).expect("what fails at once has failed")
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
#[error("length limit exceeded")]
struct TooLong;

#[derive(Debug, thiserror::Error)]
#[error("more values than one for each {BYTES_PER_VALUE} bytes of it")]
struct TooManyValues;

/// Whether `error` says that a body was longer than its limit, or held too many values.
pub(crate) fn is_too_large(error: &(dyn std::error::Error + 'static)) -> bool {
    chain(error).any(|link| link.is::<TooLong>() || link.is::<TooManyValues>())
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

    #[test]
    fn the_limit_of_values_follows_that_of_bytes() {
        let text = format!("[{}]", vec!["0"; 99].join(","));
        for (limit, fits) in [(99 * BYTES_PER_VALUE, true), (99 * BYTES_PER_VALUE - 1, false)] {
            let checked = of_few_values(text.clone().into(), limit);
            assert_eq!(checked.is_ok(), fits, "{limit}");
            assert!(checked.err().is_none_or(|error| is_too_large(&error)), "{limit}");
        }
    }

    #[tokio::test]
    async fn a_body_is_read_whole_in_however_many_parts_it_comes() {
        for parts in [&[][..], &["one"], &["one", "two"], &["", "one", "", "two", "three"]] {
            let text = parts.concat();
            for (limit, fits) in [(text.len(), true), (text.len().saturating_sub(1), false)] {
                let fits = fits || text.is_empty();
                let stream = stream::iter(parts.iter().map(|part| Ok::<_, BoxError>(*part)));
                let body = reqwest::Body::wrap_stream(stream);
                let read = whole(&mut http::Response::new(body).into(), limit).await;
                assert_eq!(read.as_deref().ok(), fits.then_some(text.as_bytes()), "{parts:?}");
                assert!(read.err().is_none_or(|error| is_too_large(&error)), "{parts:?}");
            }
        }
    }
}
