use bytes::Bytes;
use futures::stream;
use http_body_util::{BodyExt, LengthLimitError, Limited};

use crate::error::{BoxError, chain};

/// Reads a whole body of at most `limit` bytes into one that is held in memory.
///
/// Reading it to its end is what lets the connection be used again, also where the
/// caller ignores the body. A body that fails or is too long becomes one that fails
/// the same way when it is read.
pub(crate) async fn buffered<B>(body: B, limit: usize) -> reqwest::Body
where
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    match Limited::new(body, limit).collect().await {
        Ok(whole) => whole.to_bytes().into(),
        Err(error) => reqwest::Body::wrap_stream(stream::iter([Err::<Bytes, BoxError>(error)])),
    }
}

/// Whether `error` says that a body was longer than its limit.
pub(crate) fn is_too_large(error: &(dyn std::error::Error + 'static)) -> bool {
    chain(error).any(|link| link.is::<LengthLimitError>())
}
