//! The position in the stream: taken up at the start, saved on the way, and kept in
//! memory from one run to the next.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use super::{Driver, Pending};
use crate::events::{Checkpoint, Cursor};
use crate::manager::saver::Saving;
use crate::status::Mode;

/// How long the end waits for the last save: a disk that hangs must not keep the
/// manager from ending.
const LAST_SAVE_LIMIT: Duration = Duration::from_secs(5);

/// What one run leaves to the next.
#[derive(Default)]
pub(in crate::manager) struct Kept {
    position: Option<(String, Cursor)>,
    /// The event that was handed out and not settled: the next run begins with it.
    unsettled: Option<Pending>,
    /// A save that the run did not wait for.
    saving: Option<Saving>,
}

impl Driver {
    /// Takes the position up where the last run left it, or a process before this one.
    ///
    /// Cancel safe: a load that was cut short is begun anew, and until it is done what
    /// the last run left stays where it is.
    pub(super) async fn load(&mut self) {
        self.saver.take_over(self.inner.kept().saving.take());
        if !self.take_up_kept() {
            self.load_from_store().await;
        }
        let last_event_id = self.cursor.last_event_id().map(|id| id.to_string());
        self.inner.status.update(|status| status.last_event_id = last_event_id);
        self.loaded = true;
    }

    /// Takes over what the last run left, if it was this node's.
    fn take_up_kept(&mut self) -> bool {
        let mut kept = self.inner.kept();
        match kept.position.take_if(|(node_id, _)| *node_id == self.node_id) {
            Some((_, cursor)) => {
                self.cursor = cursor;
                self.again = kept.unsettled.take();
                true
            }
            None => false,
        }
    }

    async fn load_from_store(&mut self) {
        let Some(checkpoint) = self.saver.load(&self.inner.status).await else { return };
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
            let checkpoint = self.checkpoint();
            self.saver.start(version, checkpoint);
        }
    }

    /// The position of now, and the nonces of when it is saved: one nonce more only says
    /// that its event was seen, and the handled ids decide.
    fn checkpoint(&self) -> impl FnOnce() -> Checkpoint + Send + 'static {
        let verifier = Arc::clone(&self.inner.verifier);
        let checkpoint = self.cursor.checkpoint(&self.node_id);
        move || Checkpoint { nonces: verifier.export_nonces(), ..checkpoint }
    }

    pub(super) async fn save_now(&mut self) {
        let inner = Arc::clone(&self.inner);
        let checkpoint = self.checkpoint();
        let saved = self.saver.flush(self.cursor.version(), checkpoint, &inner.status);
        if tokio::time::timeout(LAST_SAVE_LIMIT, saved).await.is_err() {
            tracing::warn!("the cursor store hangs: the last save is not waited for");
        }
    }

    /// Puts down what the next run begins with. A run that did not get to its position
    /// leaves that of the one before.
    fn leave_to_the_next(&mut self) {
        let mut kept = self.inner.kept();
        if self.loaded {
            // What is handed out may be a state, fetched before the event that comes again.
            let mut open = [self.handed_out.take(), self.again.take()].into_iter().flatten();
            kept.unsettled = open.find(|pending| matches!(pending, Pending::Event { .. }));
            kept.position =
                Some((std::mem::take(&mut self.node_id), std::mem::take(&mut self.cursor)));
        }
        if let Some(saving) = self.saver.running() {
            kept.saving = Some(saving);
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.leave_to_the_next();
        self.inner.status.update(|status| status.healthy = false);
        self.inner.status.set_mode(Mode::Stopped, None);
        // A shutdown was for this run, however it ended.
        self.inner.signals.shutdown_done();
        self.inner.running.store(false, Ordering::Release);
    }
}
