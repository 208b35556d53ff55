//! Stage 4: verified events to handlers, in order.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;

use super::typed::{Event, EventKind};
use super::{EventType, SignedEnvelope, Verified};
use crate::error::{BoxError, brief};

/// An async function that handles an `A`: `Fn(A) -> impl Future<Output = Result<(), BoxError>>`.
///
/// It is implemented for every such function and closure; there is nothing to
/// implement by hand.
pub trait Handler<A>: Fn(A) -> <Self as Handler<A>>::Future + Send + Sync + 'static {
    /// The future that the function returns.
    type Future: Future<Output = Result<(), BoxError>> + Send + 'static;
}

impl<A, F, Fut> Handler<A> for F
where
    F: Fn(A) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), BoxError>> + Send + 'static,
{
    type Future = Fut;
}

type Boxed<A> = Arc<dyn Fn(A) -> BoxFuture<'static, Result<(), BoxError>> + Send + Sync>;

/// Routes verified events to the handlers registered for their type.
///
/// - Several handlers of one type run one after the other, in the order in which they
///   were registered; those registered for every event come in that same order.
/// - An error or a panic of a handler is logged and counted, and the next one runs.
/// - An event without a handler is logged at debug level and discarded.
/// - Registering and dispatching may happen at the same time, from any thread.
///
/// [`SseManager`](crate::SseManager) has one; use it alone to test handlers.
///
/// ```
/// use plexsphere_client::events::{EventDispatcher, NoOpVerifier, SignedEnvelope, Verified};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), plexsphere_client::BoxError> {
/// let dispatcher = EventDispatcher::new();
/// dispatcher.register("peer_removed", |envelope: std::sync::Arc<SignedEnvelope>| async move {
///     println!("{} is gone", envelope.payload.get());
///     Ok(())
/// });
/// let envelope = SignedEnvelope::parse(
///     r#"{"event_type":"peer_removed","event_id":"e-1","payload":{"peer_id":"p-2"}}"#,
/// )?;
/// let event = Verified::check(&NoOpVerifier, &envelope.into())?;
/// let report = dispatcher.dispatch(&event).await;
/// assert_eq!((report.handlers, report.failures()), (1, 0));
/// # Ok(())
/// # }
/// ```
#[derive(Default)]
pub struct EventDispatcher {
    handlers: RwLock<Handlers>,
    time_limit: RwLock<Option<Duration>>,
}

/// Each list is complete and in the order of registration: those for every event stand in
/// all of them. A list is shared with the events that are being dispatched, and copied when
/// it grows.
#[derive(Default)]
struct Handlers {
    by_type: HashMap<EventType, List>,
    /// Those of a type that has none of its own.
    every: List,
}

type List = Arc<Vec<Boxed<Arc<SignedEnvelope>>>>;

impl Handlers {
    fn add(&mut self, event_type: EventType, handler: Boxed<Arc<SignedEnvelope>>) {
        let list = self.by_type.entry(event_type).or_insert_with(|| Arc::clone(&self.every));
        Arc::make_mut(list).push(handler);
    }

    fn add_to_every(&mut self, handler: &Boxed<Arc<SignedEnvelope>>) {
        for list in self.by_type.values_mut().chain([&mut self.every]) {
            Arc::make_mut(list).push(Arc::clone(handler));
        }
    }
}

/// How the handlers of one event fared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DispatchReport {
    /// How many handlers ran.
    pub handlers: usize,
    /// How many returned an error, a payload that does not fit its type included.
    pub errors: usize,
    /// How many panicked.
    pub panics: usize,
    /// How many ran out of time.
    pub timeouts: usize,
}

impl DispatchReport {
    /// How many did not end well.
    pub fn failures(&self) -> usize {
        self.errors + self.panics + self.timeouts
    }

    /// Counts a handler that has run, and logs what went wrong with it.
    pub(crate) fn note(
        &mut self,
        ended: Option<Failure>,
        what: &str,
        envelope: Option<&SignedEnvelope>,
    ) {
        self.handlers += 1;
        let Some(failure) = ended else { return };
        let event_type = envelope.map(|envelope| brief(envelope.event_type.as_str()));
        let event_id = envelope.map(|envelope| brief(&envelope.event_id));
        let (event_type, event_id) = (event_type.as_deref(), event_id.as_deref());
        match failure {
            Failure::Error(error) => {
                self.errors += 1;
                tracing::warn!(event_type, event_id, error, "{what} failed");
            }
            Failure::Panic => {
                self.panics += 1;
                tracing::error!(event_type, event_id, "{what} panicked");
            }
            Failure::TimedOut => {
                self.timeouts += 1;
                tracing::warn!(event_type, event_id, "{what} ran out of time");
            }
        }
    }
}

impl EventDispatcher {
    /// One without handlers.
    pub fn new() -> Self {
        Self::default()
    }

    /// Has `handler` called for each event of this type, known or not.
    pub fn register(
        &self,
        event_type: impl Into<EventType>,
        handler: impl Handler<Arc<SignedEnvelope>>,
    ) {
        let (event_type, handler) = (event_type.into(), boxed(handler));
        self.handlers_mut().add(event_type, handler);
    }

    /// Has `handler` called for each event of kind `K`, with its payload decoded. A
    /// payload that does not fit counts as an error of the handler.
    pub fn on<K: EventKind>(&self, handler: impl Handler<Event<K>>) {
        self.register(K::event_type(), move |envelope: Arc<SignedEnvelope>| {
            let decoded = Event::<K>::decode(envelope).map(&handler);
            async move { decoded?.await }
        });
    }

    /// Has `handler` called for every event, of types unknown to this version too.
    pub fn register_every(&self, handler: impl Handler<Arc<SignedEnvelope>>) {
        let handler = boxed(handler);
        self.handlers_mut().add_to_every(&handler);
    }

    /// Gives each handler at most this long; one that takes longer is dropped and
    /// counted. Default is `None`: as long as it takes.
    pub fn set_handler_time_limit(&self, limit: Option<Duration>) {
        *self.time_limit.write().unwrap_or_else(PoisonError::into_inner) = limit;
    }

    /// Runs the event's handlers to their end, one after the other.
    ///
    /// # Cancel safety
    /// Dropping the future drops the running handler; the ones after it do not run.
    pub async fn dispatch(&self, event: &Verified) -> DispatchReport {
        let envelope = event.envelope();
        let mut report = DispatchReport::default();
        for handler in self.handlers_of(&envelope.event_type).iter() {
            let ended = self.run(handler, Arc::clone(envelope)).await;
            report.note(ended, "event handler", Some(envelope));
        }
        if report.handlers == 0 {
            let event_type = &*brief(envelope.event_type.as_str());
            let event_id = &*brief(&envelope.event_id);
            tracing::debug!(event_type, event_id, "event without a handler");
        }
        report
    }

    async fn run<A>(&self, handler: &Boxed<A>, argument: A) -> Option<Failure> {
        run_guarded(handler.as_ref(), argument, self.handler_time_limit()).await
    }

    pub(crate) fn handler_time_limit(&self) -> Option<Duration> {
        *self.time_limit.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn handlers_mut(&self) -> RwLockWriteGuard<'_, Handlers> {
        self.handlers.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The handlers at this moment: one that is registered meanwhile sees the next event.
    fn handlers_of(&self, event_type: &EventType) -> List {
        let handlers = self.handlers.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(handlers.by_type.get(event_type).unwrap_or(&handlers.every))
    }
}

impl fmt::Debug for EventDispatcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventDispatcher").finish_non_exhaustive()
    }
}

pub(crate) enum Failure {
    /// With its text.
    Error(String),
    Panic,
    TimedOut,
}

pub(crate) fn boxed<A: 'static>(handler: impl Handler<A>) -> Boxed<A> {
    Arc::new(move |argument| handler(argument).boxed())
}

/// Runs a handler so that neither its panic nor its patience can hurt the caller.
pub(crate) async fn run_guarded<A, F>(
    handler: &F,
    argument: A,
    limit: Option<Duration>,
) -> Option<Failure>
where
    F: Fn(A) -> BoxFuture<'static, Result<(), BoxError>> + ?Sized,
{
    // All that is the handler's runs in here: the call before there is a future, the
    // future's drop when its time is up, and the text of its error.
    let guarded = async {
        let running = async { handler(argument).await };
        let ended = match limit {
            None => running.await,
            Some(limit) => match tokio::time::timeout(limit, running).await {
                Ok(ended) => ended,
                Err(_) => return Some(Failure::TimedOut),
            },
        };
        ended.err().map(|error| Failure::Error(error.to_string()))
    };
    AssertUnwindSafe(guarded).catch_unwind().await.unwrap_or(Some(Failure::Panic))
}

#[cfg(test)]
#[path = "dispatcher_tests.rs"]
mod tests;
