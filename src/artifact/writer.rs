//! Writes and hashes on other threads while the next bytes come in.

use std::io;
use std::path::Path;

use bytes::Bytes;

use super::checksum::{Checksum, Hash};
use super::line::{Line, Piece};
use super::part::{Part, blocking, failed, sync_folder_of};
use crate::error::Error;

/// How many bytes are handed over at once, or up to a chunk more. Half a dozen such pieces are
/// in memory at most: the one that comes in, and those of a [`Line`].
const PIECE: usize = 256 * 1024;
/// How many chunks are: small ones take more memory than they hold.
const CHUNKS: usize = 256;

/// Owns the [`Part`] and its hash. When it is dropped, a piece that is being written is
/// finished; nothing is renamed or removed.
pub(super) struct Writer {
    part: Line<Part>,
    hash: Line<Hash>,
    waiting: Vec<Bytes>,
    waiting_bytes: usize,
    received: u64,
}

impl Writer {
    pub(super) fn new(part: Part, hash: Hash) -> Self {
        let received = part.length();
        Self {
            part: Line::new(part, |part, piece| written(part, |part| part.append(piece))),
            hash: Line::new(hash, |hash, piece| {
                hash.update_all(piece);
                Ok(())
            }),
            waiting: Vec::new(),
            waiting_bytes: 0,
            received,
        }
    }

    /// The bytes so far, those that wait to be written too.
    pub(super) fn received(&self) -> u64 {
        self.received
    }

    pub(super) async fn push(&mut self, chunk: Bytes) -> Result<(), Error> {
        self.received += chunk.len() as u64;
        self.waiting_bytes += chunk.len();
        self.waiting.push(chunk);
        match self.waiting_bytes >= PIECE || self.waiting.len() >= CHUNKS {
            true => self.hand_over().await,
            false => Ok(()),
        }
    }

    /// Waits until all is written.
    pub(super) async fn flush(&mut self) -> Result<(), Error> {
        self.hand_over().await?;
        self.part.settled().await.map(|_| ())
    }

    pub(super) async fn checksum(&mut self) -> Result<Checksum, Error> {
        self.flush().await?;
        Ok(self.hash.settled().await?.checksum())
    }

    /// Begins anew.
    pub(super) async fn clear(&mut self) -> Result<(), Error> {
        self.waiting.clear();
        self.waiting_bytes = 0;
        self.received = 0;
        self.part.run(|part| written(part, Part::clear)).await?;
        self.hash
            .run(|hash| {
                *hash = Hash::new();
                Ok(())
            })
            .await
    }

    /// Gives the part its mode and the target's name.
    pub(super) async fn put_in_place(&mut self, target: &Path, mode: u32) -> Result<(), Error> {
        self.part.run(move |part| written(part, |part| part.seal(mode))).await?;
        let part = self.part.settled().await?;
        // Here and not on another thread: who drops the future must know that nothing is
        // renamed after that.
        std::fs::rename(part.path(), target).map_err(|e| failed("replace", target, e))?;
        let target = target.to_owned();
        if let Err(error) = blocking(move || sync_folder_of(&target)).await {
            tracing::debug!(%error, "the folder of a download is not synced");
        }
        Ok(())
    }

    /// Removes the part, if that can be done.
    pub(super) async fn remove(&mut self) {
        let removed = self.part.run(|part| {
            std::fs::remove_file(part.path()).map_err(|e| failed("remove", part.path(), e))
        });
        if let Err(error) = removed.await {
            tracing::warn!(%error, "what is left of a download cannot be removed");
        }
    }

    async fn hand_over(&mut self) -> Result<(), Error> {
        let piece: Piece = std::mem::take(&mut self.waiting).into();
        self.waiting_bytes = 0;
        if piece.is_empty() {
            return Ok(());
        }
        self.part.push(piece.clone()).await?;
        self.hash.push(piece).await
    }
}

/// Does this to the part, and says of a failure which file it was.
fn written(part: &mut Part, work: impl FnOnce(&mut Part) -> io::Result<()>) -> Result<(), Error> {
    work(part).map_err(|e| failed("write", part.path(), e))
}
