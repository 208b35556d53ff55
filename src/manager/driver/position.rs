//! The position in the stream: taken up at the start, saved on the way.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::time::Instant;

use super::Driver;
use crate::events::Cursor;
use crate::status::Mode;

impl Driver {
    pub(super) async fn load(&mut self) {
        self.loaded = true;
        let Some(checkpoint) = self.saver.load().await else { return };
        if checkpoint.node_id != self.node_id {
            tracing::warn!("the saved cursor is another node's: starting from now");
            return;
        }
        self.inner.verifier.import_nonces(&checkpoint.nonces);
        self.cursor = Cursor::restore(&checkpoint);
        self.saver.is_saved(self.cursor.version());
        self.inner.status.update(|status| status.last_event_id = checkpoint.last_event_id);
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
        self.saver.flush(self.cursor.version(), checkpoint, &inner.status).await;
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.inner.status.set_mode(Mode::Stopped, None);
        self.inner.running.store(false, Ordering::Release);
    }
}
