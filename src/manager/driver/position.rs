//! The position in the stream: taken up at the start, saved on the way, and kept in
//! memory from one run to the next.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use super::Driver;
use crate::events::Cursor;
use crate::manager::saver::Saving;
use crate::status::Mode;

/// How long the end waits for the last save: a disk that hangs must not keep the
/// manager from ending.
const LAST_SAVE_LIMIT: Duration = Duration::from_secs(5);

/// What one run leaves to the next.
#[derive(Default)]
pub(in crate::manager) struct Kept {
    position: Option<(String, Cursor)>,
    /// A save that the run did not wait for.
    saving: Option<Saving>,
}

impl Driver {
    /// Takes the position up where the last run left it, or a process before this one.
    ///
    /// Cancel safe: a load that was cut short is begun anew.
    pub(super) async fn load(&mut self) {
        let kept = std::mem::take(&mut *self.inner.kept());
        self.saver.take_over(kept.saving);
        match kept.position.filter(|(node_id, _)| *node_id == self.node_id) {
            Some((_, cursor)) => self.cursor = cursor,
            None => self.load_from_store().await,
        }
        let last_event_id = self.cursor.last_event_id().map(|id| id.to_string());
        self.inner.status.update(|status| status.last_event_id = last_event_id);
        self.loaded = true;
    }

    async fn load_from_store(&mut self) {
        let Some(checkpoint) = self.saver.load().await else { return };
        if checkpoint.node_id != self.node_id {
            tracing::warn!("the saved cursor is another node's: starting from now");
            return;
        }
        self.inner.verifier.import_nonces(&checkpoint.nonces);
        self.cursor = Cursor::restore(&checkpoint);
        self.saver.is_saved(self.cursor.version());
    }

    pub(super) fn save_if_due(&mut self) {
        let version = self.cursor.version();
        if self.saver.due_at(version).is_some_and(|at| at <= Instant::now()) {
            let nonces = self.inner.verifier.export_nonces();
            self.saver.start(version, self.cursor.checkpoint(&self.node_id, nonces));
        }
    }

    pub(super) async fn save_now(&mut self) {
        let inner = Arc::clone(&self.inner);
        let checkpoint = || {
            let nonces = inner.verifier.export_nonces();
            self.cursor.checkpoint(&self.node_id, nonces)
        };
        let saved = self.saver.flush(self.cursor.version(), checkpoint, &inner.status);
        if tokio::time::timeout(LAST_SAVE_LIMIT, saved).await.is_err() {
            tracing::warn!("the cursor store hangs: the last save is not waited for");
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let position = self
            .loaded
            .then(|| (std::mem::take(&mut self.node_id), std::mem::take(&mut self.cursor)));
        *self.inner.kept() = Kept { position, saving: self.saver.running() };
        self.inner.status.set_mode(Mode::Stopped, None);
        // A shutdown was for this run, however it ended.
        self.inner.signals.shutdown_done();
        self.inner.running.store(false, Ordering::Release);
    }
}
