//! Writes and hashes on another thread while the next bytes come in.

use std::io;
use std::path::Path;

use bytes::Bytes;
use tokio::task::JoinHandle;

use super::checksum::Checksum;
use super::part::{Part, blocking, failed, sync_folder_of};
use crate::error::Error;

/// How many bytes are handed over at once. Two such pieces are in memory: the one that is
/// written and the one that comes in.
pub(super) const PIECE: usize = 1024 * 1024;
/// How many chunks are: small ones take more memory than they hold.
const CHUNKS: usize = 256;

/// Owns the [`Part`]. When it is dropped, a piece that is being written is finished; nothing
/// is renamed or removed.
pub(super) struct Writer {
    state: State,
    waiting: Vec<Bytes>,
    waiting_bytes: usize,
    received: u64,
}

enum State {
    Idle(Part),
    Writing(JoinHandle<(Part, io::Result<()>)>),
    /// The thread has panicked, or the runtime ends.
    Lost,
}

impl Writer {
    pub(super) fn new(part: Part) -> Self {
        let received = part.length();
        Self { state: State::Idle(part), waiting: Vec::new(), waiting_bytes: 0, received }
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
        self.settled().await.map(|_| ())
    }

    pub(super) async fn checksum(&mut self) -> Result<Checksum, Error> {
        self.flush().await?;
        Ok(self.settled().await?.checksum())
    }

    /// Begins anew.
    pub(super) async fn clear(&mut self) -> Result<(), Error> {
        self.waiting.clear();
        self.waiting_bytes = 0;
        self.received = 0;
        self.run(Part::clear).await
    }

    /// Gives the part its mode and the target's name.
    pub(super) async fn put_in_place(&mut self, target: &Path, mode: u32) -> Result<(), Error> {
        self.run(move |part| part.seal(mode)).await?;
        let part = self.settled().await?;
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
        if let Ok(part) = self.settled().await {
            let path = part.path().to_owned();
            if let Err(error) = blocking(move || std::fs::remove_file(path)).await {
                tracing::warn!(%error, "what is left of a download cannot be removed");
            }
        }
    }

    async fn hand_over(&mut self) -> Result<(), Error> {
        self.settled().await?;
        let pieces = std::mem::take(&mut self.waiting);
        self.waiting_bytes = 0;
        if !pieces.is_empty() {
            self.start(move |part| part.append(&pieces));
        }
        Ok(())
    }

    async fn run(
        &mut self,
        work: impl FnOnce(&mut Part) -> io::Result<()> + Send + 'static,
    ) -> Result<(), Error> {
        // What is still being written may fail; what comes now decides.
        let _ = self.settled().await;
        self.start(work);
        self.settled().await.map(|_| ())
    }

    fn start(&mut self, work: impl FnOnce(&mut Part) -> io::Result<()> + Send + 'static) {
        if let State::Idle(mut part) = std::mem::replace(&mut self.state, State::Lost) {
            self.state = State::Writing(tokio::task::spawn_blocking(move || {
                let result = work(&mut part);
                (part, result)
            }));
        }
    }

    /// The part, once nothing is at work on it.
    async fn settled(&mut self) -> Result<&Part, Error> {
        if let State::Writing(running) = &mut self.state {
            match running.await {
                Ok((part, result)) => {
                    let failure = result.map_err(|e| failed("write", part.path(), e));
                    self.state = State::Idle(part);
                    failure?;
                }
                Err(_) => self.state = State::Lost,
            }
        }
        match &self.state {
            State::Idle(part) => Ok(part),
            _ => Err(Error::new(crate::ErrorKind::File, "the thread that writes the file is gone")),
        }
    }
}
