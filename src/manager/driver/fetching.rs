//! The state: fetched after a gap, and handed to its handlers.

use std::sync::Arc;

use super::{Driver, Pending, Report};
use crate::error::Error;
use crate::events::run_guarded;
use crate::manager::Inner;
use crate::manager::failure::action;
use crate::reconnect::{FailureAction, Input, backoff};
use crate::types::{SigningKeys, StateResponse};

impl Driver {
    pub(super) async fn fetch(&mut self) -> Option<Pending> {
        let inner = Arc::clone(&self.inner);
        let fetched = tokio::select! {
            biased;
            () = inner.signals.shutdown() => return None,
            () = inner.signals.network_has_changed() => {
                self.step(Input::NetworkChanged);
                return None;
            }
            fetched = inner.callbacks.poll(&inner.control_plane, &self.node_id) => fetched,
        };
        let now = self.clock.now();
        self.keys_fetched();
        match fetched {
            Ok(state) => {
                self.reconcile.done(now);
                Some(self.fetched(state))
            }
            Err(error) => {
                self.reconcile.failed(now);
                self.hold_fetches(&error);
                tracing::warn!(%error, "the state cannot be fetched; the stream stays open");
                inner.status.update(|status| {
                    status.counters.state_failures += 1;
                    status.last_error = Some(error.to_string());
                });
                self.renew_token(&error).await;
                None
            }
        }
    }

    /// A token that a fetch finds refused is refused for the stream too, once that has to
    /// be opened anew: another one is looked for now, and the fetch repeated. Without one
    /// the stream stays, for as long as it lasts.
    async fn renew_token(&mut self, error: &Error) {
        let inner = Arc::clone(&self.inner);
        let token = inner.control_plane.transport.shared.token_generation();
        let renewed = match action(error, false, token) {
            FailureAction::RetryNewToken => true,
            FailureAction::RetryAuth => inner.token_renewed(token).await.unwrap_or(false),
            _ => false,
        };
        if renewed {
            self.reconcile.token_renewed(self.clock.now());
        }
    }

    /// A second look need not wait any longer, however the fetch went.
    pub(super) fn keys_fetched(&mut self) {
        if let Some(held) = &mut self.second_look {
            held.fetched = true;
        }
    }

    pub(super) fn fetched(&mut self, state: StateResponse) -> Pending {
        self.keys_fetched();
        self.inner.status.count(|c| c.states += 1);
        if let Some(keys) = &state.signing_keys {
            self.trust(keys);
        }
        Pending::State(Arc::new(state))
    }

    /// `Retry-After` on a fetch is for every fetch: by a reconcile and by polling.
    pub(super) fn hold_fetches(&mut self, error: &Error) {
        let token = self.inner.control_plane.transport.shared.token_generation();
        if let FailureAction::RespectServer { retry_after: Some(said) } =
            action(error, false, token)
        {
            let wait = backoff::retry_after(said, fastrand::u64(..));
            self.reconcile.hold(self.clock.now().saturating_add(wait));
        }
    }

    pub(super) fn trust(&self, keys: &SigningKeys) {
        if let Err(error) = self.inner.verifier.update_keys(keys) {
            tracing::error!(%error, "the signing keys cannot be used: the ones before stay");
        }
    }
}

impl Inner {
    /// Runs the handlers of a delivery.
    pub(in crate::manager) async fn handle(&self, pending: &Pending) -> Report {
        let state = match pending {
            Pending::Event { event, .. } => return self.dispatcher.dispatch(event).await,
            Pending::State(state) => state,
        };
        let mut report = Report::default();
        for handler in self.callbacks.state_handlers() {
            let limit = self.dispatcher.handler_time_limit();
            let ended = run_guarded(handler.as_ref(), Arc::clone(state), limit).await;
            report.note(ended, "state handler", None);
        }
        report
    }
}
