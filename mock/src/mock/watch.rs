//! What arrived, and waiting for it.

use std::time::Duration;

use tokio::sync::oneshot;

use super::MockControlPlane;
use crate::record::RecordedRequest;
use crate::script::assert_known;

/// The record.
impl MockControlPlane {
    /// The requests that arrived, oldest first; the latest 10,000 unless set otherwise.
    pub fn requests(&self) -> Vec<RecordedRequest> {
        self.inner.record().all()
    }

    /// The requests for one route.
    #[track_caller]
    pub fn requests_for(&self, route: &str) -> Vec<RecordedRequest> {
        assert_known(route);
        self.inner.record().of(route)
    }

    /// How many requests arrived for one route, even those no longer kept.
    #[track_caller]
    pub fn count(&self, route: &str) -> u64 {
        assert_known(route);
        self.inner.record().count(route)
    }

    /// Forgets the requests so far.
    pub fn clear_requests(&self) {
        self.inner.record().clear();
    }

    /// How many connections were accepted, refused ones included.
    pub fn connections(&self) -> u64 {
        self.inner.accepted()
    }

    /// How many connections are open.
    pub fn open_connections(&self) -> usize {
        self.inner.links().len()
    }

    /// The server's own panics, and those of scripted functions.
    pub fn failures(&self) -> Vec<String> {
        self.inner.failures().clone()
    }

    /// Takes the panics away, for a test that expects them.
    pub fn take_failures(&self) -> Vec<String> {
        std::mem::take(&mut *self.inner.failures())
    }

    /// Waits until `enough` holds; false if it does not within `limit`.
    ///
    /// It looks again whenever something happens at the server. The limit is real time, even where
    /// the test's own clock is paused.
    ///
    /// # Cancel safety
    /// Dropping the future has no effect.
    pub async fn wait_until(&self, limit: Duration, mut enough: impl FnMut(&Self) -> bool) -> bool {
        let mut changes = self.inner.changes();
        let mut deadline = self.alarm(limit);
        loop {
            changes.mark_unchanged();
            if enough(self) {
                return true;
            }
            tokio::select! {
                _ = changes.changed() => {}
                _ = &mut deadline => return enough(self),
            }
        }
    }

    /// Waits for `count` requests for a route and returns all of them.
    ///
    /// # Panics
    /// If they do not arrive within `limit`.
    ///
    /// # Cancel safety
    /// Dropping the future has no effect.
    pub async fn wait_for_requests(
        &self,
        route: &str,
        count: usize,
        limit: Duration,
    ) -> Vec<RecordedRequest> {
        let arrived = self.wait_until(limit, |mock| mock.requests_for(route).len() >= count).await;
        let requests = self.requests_for(route);
        assert!(arrived, "{} of {count} requests for {route} within {limit:?}", requests.len());
        requests
    }

    /// Waits until a node has exactly `count` open event streams.
    ///
    /// # Panics
    /// If it does not within `limit`.
    ///
    /// # Cancel safety
    /// Dropping the future has no effect.
    pub async fn wait_for_streams(&self, node_id: &str, count: usize, limit: Duration) {
        let arrived = self.wait_until(limit, |mock| mock.open_streams_of(node_id) == count).await;
        let open = self.open_streams_of(node_id);
        assert!(arrived, "{open} open streams of {node_id} instead of {count} after {limit:?}");
    }

    /// Fires after real time, on the server's own runtime.
    fn alarm(&self, limit: Duration) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        if let Some(server) = &self.server {
            server.handle.spawn(async move {
                tokio::time::sleep(limit).await;
                // Nobody waits any more: fine.
                let _ = sender.send(());
            });
        }
        receiver
    }
}
