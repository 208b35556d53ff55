//! How the outside reaches a running manager.

use std::time::Duration;

use futures::FutureExt;
use tokio::sync::{Notify, watch};

/// Requests that wait until the driver takes them up.
#[derive(Debug)]
pub(crate) struct Signals {
    shutdown: watch::Sender<bool>,
    reconcile: Notify,
    network: Notify,
}

impl Signals {
    pub(crate) fn new() -> Self {
        Self {
            shutdown: watch::Sender::new(false),
            reconcile: Notify::new(),
            network: Notify::new(),
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
    }

    pub(crate) async fn network_has_changed(&self) {
        self.network.notified().await;
    }
}
