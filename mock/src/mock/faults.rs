//! Scripted answers and broken connections.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::MockControlPlane;
use crate::answer::Answer;
use crate::record::RecordedRequest;
use crate::script::{Rule, assert_known};

/// Scripts and faults. A route is named by its operation (`"heartbeat"`), by a path (`"/v1/other"`), or `"*"` for all.
impl MockControlPlane {
    /// Lays out the next answer for a route; several are used in order.
    ///
    /// # Panics
    /// If no operation has that name; so do all that take a route.
    #[track_caller]
    pub fn script(&self, route: &str, answer: Answer) {
        self.inner.script().once(Rule::new(route, None, Arc::new(move |_| answer.clone())));
    }

    /// Lays out the next answer for a route when one node asks.
    #[track_caller]
    pub fn script_for(&self, node_id: &str, route: &str, answer: Answer) {
        self.inner.script().once(Rule::new(
            route,
            Some(node_id),
            Arc::new(move |_| answer.clone()),
        ));
    }

    /// Answers a route like this until [`clear_script`](Self::clear_script); answers laid out for once go first.
    #[track_caller]
    pub fn script_always(&self, route: &str, answer: Answer) {
        self.inner.script().always(Rule::new(route, None, Arc::new(move |_| answer.clone())));
    }

    /// Answers a route by a function until [`clear_script`](Self::clear_script); its panic fails the test.
    #[track_caller]
    pub fn script_fn(
        &self,
        route: &str,
        answer: impl Fn(&RecordedRequest) -> Answer + Send + Sync + 'static,
    ) {
        self.inner.script().always(Rule::new(route, None, Arc::new(answer)));
    }

    /// Forgets all that was laid out for a route; `"*"` forgets everything.
    #[track_caller]
    pub fn clear_script(&self, route: &str) {
        assert_known(route);
        self.inner.script().clear(route);
    }

    /// How many answers that were laid out for once have not been used.
    pub fn unused_answers(&self) -> usize {
        self.inner.script().unused()
    }

    /// Resets the next connections right after they are accepted; `usize::MAX` for all to come, 0 ends it.
    pub fn refuse_connections(&self, connections: usize) {
        self.inner.refuse(connections);
    }

    /// Closes the port (connections are refused by the system) and every connection; the state stays.
    pub async fn close_port(&self) {
        if self.inner.listen(false) {
            self.inner.port_switched().await;
        }
        self.drop_connections(false);
    }

    /// Opens the port again, the same one.
    pub async fn open_port(&self) {
        if self.inner.listen(true) {
            self.inner.port_switched().await;
        }
    }

    /// Closes every connection, with a TCP RST or without.
    pub fn drop_connections(&self, reset: bool) {
        for link in self.inner.links().iter() {
            if reset { link.reset() } else { link.close() }
        }
    }

    /// Sets the server's clock ahead of the machine's: `Date` and `issued_at`. Zero sets it right.
    pub fn set_clock_ahead(&self, ahead: Duration) {
        self.inner.clock.set_ahead(ahead);
    }

    /// Sets the server's clock behind the machine's.
    pub fn set_clock_behind(&self, behind: Duration) {
        self.inner.clock.set_behind(behind);
    }

    /// Errors as plain text, like older servers, or as problem details.
    pub fn set_plain_text_errors(&self, plain: bool) {
        self.inner.plain_text_errors.store(plain, Ordering::Relaxed);
    }
}
