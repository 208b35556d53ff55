mod answer;
mod checksum;
mod download;
mod line;
mod part;
mod writer;

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt};
use http::header::CONTENT_LENGTH;
use tokio::io::AsyncRead;
use tokio_util::io::StreamReader;

pub use download::{
    ArtifactDownload, DEFAULT_ARTIFACT_ATTEMPTS, DEFAULT_ARTIFACT_LIMIT, DEFAULT_ARTIFACT_MODE,
    Progress,
};

use crate::error::Error;
use crate::transport::outcome::content_type;
use crate::transport::stream::{BodyStream, Opened};

/// A `plexd` binary on its way: the answer to
/// [`fetch_artifact`](crate::ControlPlane::fetch_artifact).
///
/// It is a [`Stream`] of byte chunks; [`into_async_read`](Self::into_async_read)
/// makes a reader of it. There is no limit to its total time, only to the time
/// without a byte ([`Config::sse_idle_timeout`](crate::Config::sse_idle_timeout)).
/// The bytes are those of the server: never compressed, never decoded. Nothing checks
/// them here; [`download_artifact`](crate::ControlPlane::download_artifact) writes them to
/// a file, verified.
///
/// ```no_run
/// # async fn example(control_plane: plexsphere_client::ControlPlane) -> Result<(), Box<dyn std::error::Error>> {
/// let artifact = control_plane.fetch_artifact("1.4.2", "linux", "amd64").await?;
/// let mut file = tokio::fs::File::create("plexd").await?;
/// tokio::io::copy(&mut artifact.into_async_read(), &mut file).await?;
/// # Ok(())
/// # }
/// ```
///
/// # Cancel safety
/// Dropping a pending `next()` loses nothing; dropping the artifact closes the connection.
///
/// # Backpressure
/// Nothing is read ahead of the consumer but what fits the connection's buffers.
#[derive(Debug)]
pub struct Artifact {
    length: Option<u64>,
    content_type: Option<String>,
    body: BodyStream,
}

impl Artifact {
    pub(crate) fn new(opened: Opened) -> Result<Self, Error> {
        let (headers, body) = opened.into_bytes()?;
        let length = headers.get(CONTENT_LENGTH);
        Ok(Self {
            length: length.and_then(|value| value.to_str().ok()).and_then(|text| text.parse().ok()),
            content_type: content_type(&headers),
            body,
        })
    }

    /// How many bytes the server announces; `None` when it does not say.
    pub fn content_length(&self) -> Option<u64> {
        self.length
    }

    /// The media type in lower case, without parameters.
    pub fn content_type(&self) -> Option<&str> {
        self.content_type.as_deref()
    }

    /// The bytes as a reader. Its errors hold an [`Error`] as their inner error.
    ///
    /// # Cancel safety
    /// Dropping a pending `read` loses nothing.
    pub fn into_async_read(self) -> impl AsyncRead + Send + Unpin {
        StreamReader::new(self.body.map_err(std::io::Error::other))
    }
}

impl Stream for Artifact {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.body.poll_next_unpin(cx)
    }
}
