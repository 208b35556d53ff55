//! Saves the cursor now and then, beside everything else.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::error::BoxError;
use crate::events::{Checkpoint, CursorStore};
use crate::status::StatusCell;

/// After a save that took long the next one waits this many times as long, so that a
/// slow disk is not kept busy.
const REST: u32 = 10;

/// A store that fails is tried again after this time, which doubles to its largest.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(60);

/// One save at a time, at most one every `interval`, on a thread for blocking work.
pub(crate) struct Saver {
    store: Option<Arc<dyn CursorStore>>,
    interval: Duration,
    next: Instant,
    saved_version: u64,
    running: Option<Saving>,
    /// How long to wait after the next failure.
    retry: Duration,
}

/// A save that runs: how it went, and how long it took.
pub(crate) type Saving = JoinHandle<(Result<(), BoxError>, Duration)>;

impl Saver {
    pub(crate) fn new(store: Option<Arc<dyn CursorStore>>, interval: Duration) -> Self {
        Self {
            store,
            interval,
            next: Instant::now(),
            saved_version: 0,
            running: None,
            retry: FIRST_RETRY,
        }
    }

    /// Has a save of an earlier run come first, so that there is one call at a time.
    pub(crate) fn take_over(&mut self, saving: Option<Saving>) {
        self.running = self.running.take().or(saving);
    }

    /// The save that runs, for a later run to take over.
    pub(crate) fn running(&mut self) -> Option<Saving> {
        self.running.take()
    }

    /// The checkpoint saved last; a store that fails is one that has none, and is named.
    pub(crate) async fn load(&mut self, status: &StatusCell) -> Option<Checkpoint> {
        let store = Arc::clone(self.store.as_ref()?);
        if let Some(running) = &mut self.running {
            // How it went does not matter: what it left is read now.
            let _ = running.await;
            self.running = None;
        }
        let loaded = tokio::task::spawn_blocking(move || store.load()).await;
        match loaded.unwrap_or_else(|_| Err(super::panicked("the cursor store"))) {
            Ok(checkpoint) => checkpoint,
            Err(error) => {
                tracing::warn!(%error, "the cursor cannot be loaded: starting from now");
                status.update(|s| {
                    let text = format!("the cursor cannot be loaded: {error}; starting from now");
                    s.last_error = Some(text);
                });
                None
            }
        }
    }

    /// What was loaded needs no saving.
    pub(crate) fn is_saved(&mut self, version: u64) {
        self.saved_version = version;
    }

    /// When the next save is due; `None` when there is nothing to save, or a save runs.
    pub(crate) fn due_at(&self, version: u64) -> Option<Instant> {
        let idle = self.store.is_some() && self.running.is_none();
        (idle && version != self.saved_version).then_some(self.next)
    }

    /// Saves what `checkpoint` makes, on the thread for blocking work.
    pub(crate) fn start(
        &mut self,
        version: u64,
        checkpoint: impl FnOnce() -> Checkpoint + Send + 'static,
    ) {
        let Some(store) = self.store.clone() else { return };
        self.saved_version = version;
        self.running = Some(tokio::task::spawn_blocking(move || {
            let began = std::time::Instant::now();
            (store.save(&checkpoint()), began.elapsed())
        }));
    }

    /// Whether a save has ended that nobody has waited for yet.
    pub(crate) fn has_ended(&self) -> bool {
        self.running.as_ref().is_some_and(JoinHandle::is_finished)
    }

    /// Waits for the running save; for ever when there is none.
    pub(crate) async fn finished(&mut self, status: &StatusCell) {
        let Some(running) = &mut self.running else { return std::future::pending().await };
        let panicked = || (Err(super::panicked("the cursor store")), Duration::ZERO);
        let (result, took) = running.await.unwrap_or_else(|_| panicked());
        self.running = None;
        self.next = Instant::now() + self.interval.max(took.saturating_mul(REST).min(LAST_RETRY));
        match result {
            Ok(()) => {
                self.retry = FIRST_RETRY;
                status.count(|c| c.saves += 1);
            }
            Err(error) => {
                // Version 0 is never one to be saved, so it is tried again.
                self.saved_version = 0;
                self.next = Instant::now() + self.interval.max(self.retry);
                self.retry = (self.retry * 2).min(LAST_RETRY);
                tracing::warn!(%error, "the cursor cannot be saved");
                status.update(|s| {
                    s.counters.save_failures += 1;
                    s.last_error = Some(format!("the cursor cannot be saved: {error}"));
                });
            }
        }
    }

    /// Saves what is not saved yet, whatever the interval.
    pub(crate) async fn flush(
        &mut self,
        version: u64,
        checkpoint: impl FnOnce() -> Checkpoint + Send + 'static,
        status: &StatusCell,
    ) {
        if self.running.is_some() {
            self.finished(status).await;
        }
        if self.due_at(version).is_some() {
            self.start(version, checkpoint);
            self.finished(status).await;
        }
    }
}
