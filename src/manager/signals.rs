//! How the outside reaches a running manager.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::FutureExt;
use tokio::sync::{Notify, watch};

/// Requests that wait until the driver takes them up.
#[derive(Debug)]
pub(crate) struct Signals {
    shutdown: watch::Sender<bool>,
    reconcile: Notify,
    network: Notify,
    /// One of the two has been notified since this was last asked.
    raised: AtomicBool,
}

impl Signals {
    pub(crate) fn new() -> Self {
        Self {
            shutdown: watch::Sender::new(false),
            reconcile: Notify::new(),
            network: Notify::new(),
            raised: AtomicBool::new(false),
        }
    }

    pub(crate) fn shut_down(&self) {
        self.shutdown.send_replace(true);
    }

    pub(crate) fn is_shut_down(&self) -> bool {
        *self.shutdown.borrow()
    }

    /// The run that was shut down has ended: the manager may be started again.
    pub(crate) fn shutdown_done(&self) {
        self.shutdown.send_replace(false);
    }

    pub(crate) async fn shutdown(&self) {
        // The sender lives as long as `self`, so waiting cannot fail.
        let _ = self.shutdown.subscribe().wait_for(|shut_down| *shut_down).await;
    }

    /// A shutdown, and a time after it.
    pub(crate) async fn shutdown_and(&self, grace: Duration) {
        self.shutdown().await;
        tokio::time::sleep(grace).await;
    }

    pub(crate) fn reconcile(&self) {
        self.reconcile.notify_one();
        self.raise();
    }

    pub(crate) async fn reconcile_requested(&self) {
        self.reconcile.notified().await;
    }

    /// Such a request, but none before that time has passed.
    pub(crate) async fn reconcile_requested_after(&self, wait: Duration) {
        tokio::time::sleep(wait).await;
        self.reconcile.notified().await;
    }

    /// Requests of before the start are met by the start itself.
    pub(crate) fn forget_requests(&self) {
        let _ = self.reconcile.notified().now_or_never();
        let _ = self.network.notified().now_or_never();
    }

    pub(crate) fn network_changed(&self) {
        self.network.notify_one();
        self.raise();
    }

    /// Only behind the notification: whoever takes the flag down finds it then.
    fn raise(&self) {
        self.raised.store(true, Ordering::Release);
    }

    /// Whether a request may wait since the last time that this was asked: cheap enough to
    /// be asked for each event. What it says is to be looked for, since it may have been met.
    pub(crate) fn take_raised(&self) -> bool {
        self.raised.load(Ordering::Relaxed) && self.raised.swap(false, Ordering::Acquire)
    }

    pub(crate) async fn network_has_changed(&self) {
        self.network.notified().await;
    }
}
