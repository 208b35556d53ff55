//! What a user may hang into the manager beside event handlers.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{FutureExt, TryFutureExt};

use crate::client::ControlPlane;
use crate::error::{BoxError, Error, ErrorKind};
use crate::events::{EnvelopeError, EventType, Handler, SignedEnvelope, VerifyError, boxed};
use crate::status::ClockSkew;
use crate::types::StateResponse;
use crate::values::Secret;

/// How long the poll function and the callback for a refused token may take: 60 s.
pub const CALLBACK_TIME_LIMIT: Duration = Duration::from_secs(60);

/// An event or block that no handler saw.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Skipped {
    /// Why.
    pub reason: SkipReason,
    /// The type that it claims, where one could be read.
    pub event_type: Option<EventType>,
    /// The id that it claims, where one could be read.
    pub event_id: Option<String>,
}

/// Why an event or block was skipped. Each is followed by a fetch of the state.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SkipReason {
    /// Its data is not an envelope.
    Malformed(EnvelopeError),
    /// The verifier refused it.
    Refused(VerifyError),
    /// It is outside the time window, and this machine's clock is to blame. The
    /// position in the stream stays before it until another event is accepted: set the
    /// clock, and start anew to have it replayed.
    ClockSkew(ClockSkew),
    /// It is over the event limit.
    Oversized,
}

impl std::fmt::Display for SkipReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Malformed(error) => write!(f, "{error}"),
            Self::Refused(error) => write!(f, "{error}"),
            Self::ClockSkew(skew) => write!(f, "{skew}"),
            Self::Oversized => f.write_str("the event is over the event limit"),
        }
    }
}

impl Skipped {
    pub(crate) fn envelope(reason: SkipReason, envelope: &SignedEnvelope) -> Self {
        Self {
            reason,
            event_type: Some(envelope.event_type.clone()),
            event_id: Some(envelope.event_id.clone()),
        }
    }
}

type StateHandler =
    Arc<dyn Fn(Arc<StateResponse>) -> BoxFuture<'static, Result<(), BoxError>> + Send + Sync>;
type PollFn = Arc<dyn Fn() -> BoxFuture<'static, Result<StateResponse, BoxError>> + Send + Sync>;
type AuthCallback = Arc<dyn Fn() -> BoxFuture<'static, Option<Secret>> + Send + Sync>;
type SkipCallback = Arc<dyn Fn(&Skipped) + Send + Sync>;

#[derive(Default)]
pub(crate) struct Callbacks {
    state: RwLock<Vec<StateHandler>>,
    poll: RwLock<Option<PollFn>>,
    auth: RwLock<Option<AuthCallback>>,
    skipped: RwLock<Option<SkipCallback>>,
}

impl Callbacks {
    pub(crate) fn add_state_handler(&self, handler: impl Handler<Arc<StateResponse>>) {
        self.state.write().unwrap_or_else(PoisonError::into_inner).push(boxed(handler));
    }

    pub(crate) fn set_poll_fn<F, Fut, E>(&self, poll: F)
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<StateResponse, E>> + Send + 'static,
        E: Into<BoxError> + 'static,
    {
        set(&self.poll, Arc::new(move || poll().map_err(Into::into).boxed()) as PollFn);
    }

    pub(crate) fn set_on_auth_failure<F, Fut>(&self, callback: F)
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Option<Secret>> + Send + 'static,
    {
        set(&self.auth, Arc::new(move || callback().boxed()) as AuthCallback);
    }

    pub(crate) fn set_on_skipped(&self, callback: impl Fn(&Skipped) + Send + Sync + 'static) {
        set(&self.skipped, Arc::new(callback) as SkipCallback);
    }

    pub(crate) fn state_handlers(&self) -> Vec<StateHandler> {
        self.state.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Fetches the state; a poll function that panics or hangs has failed.
    pub(crate) async fn poll(
        &self,
        control_plane: &ControlPlane,
        node_id: &str,
    ) -> Result<StateResponse, Error> {
        let Some(poll) = get(&self.poll) else {
            return control_plane.fetch_state(node_id).await;
        };
        guarded(async { poll().await }, "the poll function")
            .await
            .and_then(|fetched| fetched)
            .map_err(|error| {
                error.downcast::<Error>().map_or_else(
                    |other| {
                        Error::new(ErrorKind::Transport, "the state was not fetched")
                            .with_source(other)
                    },
                    |own| *own,
                )
            })
    }

    /// Asks for a new token; a callback that panics or hangs has none.
    pub(crate) async fn new_token(&self) -> Option<Secret> {
        let callback = get(&self.auth)?;
        let asked = guarded(async { callback().await }, "the callback for a refused token").await;
        asked.unwrap_or_else(|error| {
            tracing::error!(%error, "no new token");
            None
        })
    }

    pub(crate) fn skipped(&self, skipped: &Skipped) {
        let Some(callback) = get(&self.skipped) else { return };
        if catch_unwind(AssertUnwindSafe(|| callback(skipped))).is_err() {
            tracing::error!("the callback for skipped events panicked");
        }
    }
}

/// Runs a callback to its end, its panic, or its time limit.
async fn guarded<T>(running: impl Future<Output = T>, what: &str) -> Result<T, BoxError> {
    let ended = AssertUnwindSafe(running).catch_unwind();
    match tokio::time::timeout(CALLBACK_TIME_LIMIT, ended).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(_)) => Err(super::panicked(what)),
        Err(_) => Err(format!("{what} took longer than {CALLBACK_TIME_LIMIT:?}").into()),
    }
}

fn set<T>(slot: &RwLock<Option<T>>, value: T) {
    *slot.write().unwrap_or_else(PoisonError::into_inner) = Some(value);
}

fn get<T: Clone>(slot: &RwLock<Option<T>>) -> Option<T> {
    slot.read().unwrap_or_else(PoisonError::into_inner).clone()
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;
    use crate::Config;

    async fn polled<E: Into<BoxError> + Send + 'static>(fail: fn() -> E) -> Error {
        let callbacks = Callbacks::default();
        callbacks.set_poll_fn(move || async move { Err(fail()) });
        failed(&callbacks).await
    }

    async fn failed(callbacks: &Callbacks) -> Error {
        let config = Config::new("http://127.0.0.1:9").unwrap();
        callbacks.poll(&ControlPlane::new(config, "1").unwrap(), "n").await.unwrap_err()
    }

    #[tokio::test]
    async fn an_error_of_this_crate_keeps_its_kind_and_any_other_is_the_network_s() {
        let own = polled(|| Error::new(ErrorKind::RateLimit, "429")).await;
        assert_eq!(own.kind(), ErrorKind::RateLimit);
        let boxed = polled(|| BoxError::from(Error::new(ErrorKind::Forbidden, "403"))).await;
        assert_eq!(boxed.kind(), ErrorKind::Forbidden);
        let other = polled(|| "my cache is empty").await;
        assert_eq!(other.kind(), ErrorKind::Transport);
        assert!(other.to_string().ends_with("my cache is empty"), "{other}");
    }

    #[tokio::test(start_paused = true)]
    async fn l1_a_callback_that_hangs_is_given_up_after_a_minute() {
        let callbacks = Callbacks::default();
        callbacks.set_poll_fn(std::future::pending::<Result<StateResponse, BoxError>>);
        callbacks.set_on_auth_failure(std::future::pending::<Option<Secret>>);
        let began = Instant::now();
        assert!(failed(&callbacks).await.to_string().contains("longer than 60s"));
        assert_eq!(began.elapsed(), Duration::from_secs(60));
        assert_eq!(callbacks.new_token().await, None);
        assert_eq!(began.elapsed(), Duration::from_secs(120));
    }
}
