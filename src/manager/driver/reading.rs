//! What the open stream brings, and what becomes of it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures::StreamExt;
use tracing::Instrument;

use super::{Driver, LONGEST_NAP, Pending, Refused, SecondLook, after, at};
use crate::error::brief;
use crate::events::{EventType, StreamItem, Verdict, Verified, VerifyError};
use crate::manager::callbacks::{SkipReason, Skipped};
use crate::manager::reconcile::MIN_GAP;
use crate::reconnect::Input;
use crate::status::Status;
use crate::types::SigningKeys;

/// Between two log lines of skipped events.
const SKIP_LOG_GAP: Duration = Duration::from_secs(1);

impl Driver {
    pub(super) async fn read(&mut self) -> Option<Pending> {
        if let Some(held) = self.second_look.take_if(|held| held.fetched) {
            return self.look_again(held.refused);
        }
        let now = self.clock.now();
        if self.reconcile.is_due(now) {
            return self.fetch().await;
        }
        if self.again.is_some() {
            // Before all that the server replays: it may not have an id to replay it by.
            return self.again.take();
        }
        self.save_if_due();
        if let Some(item) = self.item_at_hand() {
            return self.take(item);
        }
        let inner = Arc::clone(&self.inner);
        let save_at = self.saver.due_at(self.cursor.version());
        let fetch_in = self.reconcile.due_at().map(|at| at.saturating_sub(now).min(LONGEST_NAP));
        let Some(connection) = &mut self.connection else {
            // No stream without a connection: this arm keeps a slip from becoming a busy loop.
            self.step(Input::Ended);
            return None;
        };
        let span = connection.span.clone();
        let item = tokio::select! {
            // The stream comes last: a server that always has more must not keep the rest waiting.
            biased;
            () = inner.signals.shutdown() => return None,
            () = inner.signals.network_has_changed() => {
                self.step(Input::NetworkChanged);
                return None;
            }
            () = inner.signals.reconcile_requested() => {
                self.reconcile.request();
                return None;
            }
            () = self.saver.finished(&inner.status) => return None,
            item = connection.stream.next().instrument(span), if self.second_look.is_none() => item,
            () = at(save_at) => return None,
            () = after(fetch_in) => return None,
        };
        match item {
            Some(Ok(item)) => self.take(item),
            Some(Err(error)) => {
                inner.control_plane.transport.pools.note(Some(error.kind()));
                self.fail(error, false, Input::Failed);
                None
            }
            None => {
                tracing::debug!("the server ended the event stream");
                self.step(Input::Ended);
                None
            }
        }
    }

    /// An item that needs no waiting: of what has been read already, while none of the others
    /// that [`read`](Self::read) waits for has come. A chunk holds many events, and a look at
    /// a flag is much less than a wait for all of them.
    fn item_at_hand(&mut self) -> Option<StreamItem> {
        if self.inner.signals.take_raised() || self.saver.has_ended() || self.second_look.is_some()
        {
            return None;
        }
        let connection = self.connection.as_mut()?;
        connection.span.in_scope(|| connection.stream.item_at_hand())
    }

    pub(super) fn take(&mut self, item: StreamItem) -> Option<Pending> {
        match item {
            StreamItem::Bytes(count) => {
                self.inner.status.update(|status| {
                    status.counters.bytes += count as u64;
                    status.last_byte_at = Some(SystemTime::now());
                });
                self.step(Input::Received);
                None
            }
            StreamItem::Retry(wait) => {
                self.step(Input::ServerRetry(wait));
                None
            }
            StreamItem::Event { event, id } => self.accept(event, id),
            StreamItem::Refused { envelope, error, id } => {
                self.refuse(Refused { envelope, error, id });
                None
            }
            StreamItem::Malformed(error) => {
                self.inner.status.count(|c| c.malformed += 1);
                self.skip(Skipped {
                    reason: SkipReason::Malformed(error),
                    event_type: None,
                    event_id: None,
                });
                None
            }
            StreamItem::Oversized(hint) => {
                self.inner.status.count(|c| c.oversized += 1);
                self.skip(Skipped {
                    reason: SkipReason::Oversized,
                    event_type: hint.map(EventType::from),
                    event_id: None,
                });
                None
            }
        }
    }

    /// A verified event: handed out, unless it was handled before.
    pub(super) fn accept(&mut self, event: Verified, id: Option<Arc<str>>) -> Option<Pending> {
        if self.cursor.was_handled(&event.envelope().event_id) {
            let event_id = &*brief(&event.envelope().event_id);
            tracing::debug!(event_id, "event handled before");
            self.move_cursor(id.as_deref(), |status| status.counters.redelivered += 1);
            return None;
        }
        if event.envelope().event_type == EventType::SigningKeyRotated
            && event.verdict() == Verdict::New
        {
            match event.envelope().decode::<SigningKeys>() {
                Ok(keys) => self.trust(&keys),
                Err(error) => tracing::warn!(%error, "a key rotation without usable keys"),
            }
        }
        Some(Pending::Event { event, id })
    }

    pub(super) fn refuse(&mut self, refused: Refused) {
        let soon = self.clock.now().saturating_add(MIN_GAP);
        if refused.error == VerifyError::BadSignature && self.reconcile.free_at() <= soon {
            // A rotation may have been missed: fetch the keys, then look again. Nothing
            // is read meanwhile, so a stranger's events may not hold it up for longer.
            self.second_look = Some(SecondLook { refused, fetched: false });
            self.reconcile.request();
            return;
        }
        self.skip_refused(refused);
    }

    pub(super) fn look_again(&mut self, refused: Refused) -> Option<Pending> {
        match Verified::check(&*self.inner.verifier, &refused.envelope) {
            Ok(event) => self.accept(event, refused.id),
            Err(error) => {
                self.skip_refused(Refused { error, ..refused });
                None
            }
        }
    }

    pub(super) fn skip_refused(&mut self, refused: Refused) {
        self.inner.status.count(|c| c.refused += 1);
        let Refused { envelope, error, id } = refused;
        let untimely = matches!(error, VerifyError::Stale { .. } | VerifyError::Future { .. });
        let skew = self.connection.as_ref().and_then(|c| c.clock_skew).filter(|_| untimely);
        if skew.is_none()
            && matches!(error, VerifyError::Stale { .. })
            && self.inner.verifier.is_authentic(&envelope)
        {
            // It is the server's own and too late: its fate is settled.
            self.move_cursor(id.as_deref(), |_| {});
        }
        let reason = skew.map_or(SkipReason::Refused(error), SkipReason::ClockSkew);
        self.skip(Skipped::envelope(reason, &envelope));
    }

    pub(super) fn skip(&mut self, skipped: Skipped) {
        self.log_skip(&skipped);
        self.inner.status.count(|c| c.skipped += 1);
        self.reconcile.request();
        self.inner.callbacks.skipped(&skipped);
    }

    /// One line a second at most: a flood of forged events must not become one of lines.
    fn log_skip(&mut self, skipped: &Skipped) {
        let now = self.clock.now();
        let unlogged = match &mut self.skips_logged {
            Some((at, unlogged)) if now.saturating_sub(*at) < SKIP_LOG_GAP => {
                *unlogged += 1;
                return;
            }
            logged => logged.replace((now, 0)).map_or(0, |(_, unlogged)| unlogged),
        };
        let event_type = skipped.event_type.as_ref().map(|known| brief(known.as_str()));
        let event_id = skipped.event_id.as_deref().map(brief);
        tracing::warn!(
            reason = %skipped.reason,
            event_type = event_type.as_deref(),
            event_id = event_id.as_deref(),
            unlogged,
            "event skipped"
        );
    }

    /// Moves the position, and says so in one update of the status with another change.
    pub(super) fn move_cursor(&mut self, id: Option<&str>, change: impl FnOnce(&mut Status)) {
        if !self.cursor.move_to(id) {
            tracing::warn!("an event id cannot stand in a header: the position stays before it");
        }
        let at = self.cursor.last_event_id();
        self.inner.status.update(|status| {
            change(status);
            if id.is_none() {
                return;
            }
            match at {
                // Into the text that is there: it is as long, nearly always.
                Some(at) => at.as_ref().clone_into(status.last_event_id.get_or_insert_default()),
                None => status.last_event_id = None,
            }
        });
    }
}
