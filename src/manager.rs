//! The event stream kept open: connects, verifies, dispatches, reconciles, resumes.

mod callbacks;
mod clock;
mod deliveries;
mod driver;
mod failure;
mod guarded;
mod reconcile;
mod saver;
mod signals;

use std::fmt;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use tokio::sync::watch;

use crate::client::ControlPlane;
use crate::config::MAX_DURATION;
use crate::error::{BoxError, Error, ErrorKind};
use crate::events::{
    CursorStore, Event, EventDispatcher, EventKind, EventType, EventVerifier, Handler,
    SignedEnvelope,
};
use crate::reconnect::{FailurePolicy, ReconnectSettings};
use crate::status::{Status, StatusCell};
use crate::types::StateResponse;
use crate::values::Secret;

use callbacks::Callbacks;
use driver::{Driver, Kept, Pending, Report};
use guarded::Guarded;
use signals::Signals;

pub use callbacks::{CALLBACK_TIME_LIMIT, SkipReason, Skipped};
pub use deliveries::{Deliveries, Delivery};

/// How long [`SseManager::shutdown`] lets a running handler go on: 10 s.
pub const DEFAULT_SHUTDOWN_GRACE: Duration = Duration::from_secs(10);
/// How often a changed cursor is saved at most: every 100 ms.
pub const DEFAULT_SAVE_INTERVAL: Duration = Duration::from_millis(100);

/// Keeps a node's event stream open and gives each event to its handlers.
///
/// Register handlers, then [`start`](Self::start). It reconnects with back-off, polls
/// while the stream is down for long, verifies each event, dispatches it, resumes
/// after it, and fetches the state after every gap.
///
/// # The promise
///
/// Every event that arrives intact, verified and inside its time window is handled at
/// least once, in order. Any other is counted, given to
/// [`on_skipped`](Self::on_skipped), and made good by fetching the state. Three kinds
/// of event are not part of the state and cannot be made good that way:
/// `action_request`, `ssh_session_setup` and `session_revoked`.
///
/// # Backpressure
///
/// Handlers run one event at a time, in order, in the task that runs `start`. While
/// one runs nothing is read: the server's side of the connection fills up and waits.
/// A slow handler is not mistaken for a dead server. But what waits behind one that
/// takes longer than the verifier's time window (5 min) is too old when it is read, and
/// is skipped: hand long work to a task of its own.
///
/// # Settings
///
/// Handlers and callbacks may be added at any time. What the `set_` methods set is in
/// force from the next [`start`](Self::start), but for the handlers' time limit, which
/// is at once. A manager is cheap to clone; clones are the same manager.
///
/// A handler that holds a clone of its own manager keeps it alive for ever: take what
/// the handler needs of the agent instead.
///
/// # Example
///
/// ```no_run
/// use plexsphere_client::events::{Ed25519Verifier, kind};
/// use plexsphere_client::{ControlPlane, SseManager};
///
/// # async fn example(control_plane: ControlPlane, signing_public_key: &str) -> Result<(), plexsphere_client::BoxError> {
/// let manager = SseManager::new(control_plane, Ed25519Verifier::new(signing_public_key)?);
/// manager.on::<kind::PeerAdded>(|event| async move {
///     println!("{} joined at {}", event.payload.id, event.payload.mesh_ip);
///     Ok(())
/// });
/// manager.on_state(|state| async move {
///     println!("the mesh has {} peers", state.peers.len());
///     Ok(())
/// });
/// let stopper = manager.clone();
/// tokio::spawn(async move {
///     tokio::signal::ctrl_c().await.ok();
///     stopper.shutdown();
/// });
/// manager.start("n-1").await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct SseManager {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    control_plane: ControlPlane,
    verifier: Arc<dyn EventVerifier>,
    dispatcher: EventDispatcher,
    callbacks: Callbacks,
    settings: Mutex<Settings>,
    signals: Signals,
    status: StatusCell,
    running: AtomicBool,
    kept: Mutex<Kept>,
}

#[derive(Clone)]
struct Settings {
    reconnect: ReconnectSettings,
    store: Option<Arc<dyn CursorStore>>,
    save_interval: Duration,
    shutdown_grace: Duration,
}

impl SseManager {
    /// A manager for the events of one node.
    ///
    /// `verifier` is [`Ed25519Verifier`](crate::events::Ed25519Verifier) with the key
    /// of the registration. Accepting unsigned events is a choice that has to be
    /// spelled: [`NoOpVerifier`](crate::events::NoOpVerifier).
    pub fn new(control_plane: ControlPlane, verifier: impl EventVerifier + 'static) -> Self {
        Self {
            inner: Arc::new(Inner {
                control_plane,
                verifier: Arc::new(Guarded(verifier)),
                dispatcher: EventDispatcher::new(),
                callbacks: Callbacks::default(),
                settings: Mutex::new(Settings {
                    reconnect: ReconnectSettings::default(),
                    store: None,
                    save_interval: DEFAULT_SAVE_INTERVAL,
                    shutdown_grace: DEFAULT_SHUTDOWN_GRACE,
                }),
                signals: Signals::new(),
                status: StatusCell::new(),
                running: AtomicBool::new(false),
                kept: Mutex::default(),
            }),
        }
    }

    // ---- handlers ----

    /// Has `handler` called for each event of this type, with the envelope as it was
    /// signed. May be called at any time; several handlers of one type run in the
    /// order in which they were registered.
    pub fn register_handler(
        &self,
        event_type: impl Into<EventType>,
        handler: impl Handler<Arc<SignedEnvelope>>,
    ) {
        self.inner.dispatcher.register(event_type, handler);
    }

    /// Has `handler` called for each event of kind `K`, with its payload decoded. A
    /// payload that does not fit its type counts as a failed handler.
    pub fn on<K: EventKind>(&self, handler: impl Handler<Event<K>>) {
        self.inner.dispatcher.on::<K>(handler);
    }

    /// Has `handler` called for every event, of types unknown to this version too.
    pub fn on_every(&self, handler: impl Handler<Arc<SignedEnvelope>>) {
        self.inner.dispatcher.register_every(handler);
    }

    /// Has `handler` called with each state that is fetched: after each connect, after
    /// a gap, while polling. It never runs at the same time as an event handler.
    pub fn on_state(&self, handler: impl Handler<Arc<StateResponse>>) {
        self.inner.callbacks.add_state_handler(handler);
    }

    /// Has `callback` told of each event or block that is skipped, and why. It runs
    /// between two events and should be quick.
    pub fn on_skipped(&self, callback: impl Fn(&Skipped) + Send + Sync + 'static) {
        self.inner.callbacks.set_on_skipped(callback);
    }

    /// Has `callback` called when the token is refused (401). The token that it
    /// returns is set and tried at once; with `None`, or the same token again, the
    /// manager stops, or goes on slowly under [`FailurePolicy::Persistent`]. It may take
    /// 60 s ([`CALLBACK_TIME_LIMIT`]); after that it has none. It is also called when a
    /// fetch of the state is refused while the stream is open; that stops nothing.
    pub fn on_auth_failure<F, Fut>(&self, callback: F)
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Option<Secret>> + Send + 'static,
    {
        self.inner.callbacks.set_on_auth_failure(callback);
    }

    // ---- settings ----

    /// Replaces the function that fetches the state. Default is
    /// [`ControlPlane::fetch_state`]. An [`Error`] of this crate among its errors is
    /// judged by its kind, such as one with a `Retry-After`; any other counts as a
    /// failure of the network. It may take 60 s ([`CALLBACK_TIME_LIMIT`]); nothing is
    /// read meanwhile.
    pub fn set_poll_fn<F, Fut, E>(&self, poll: F)
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<StateResponse, E>> + Send + 'static,
        E: Into<BoxError> + 'static,
    {
        self.inner.callbacks.set_poll_fn(poll);
    }

    /// Sets the first wait of the back-off and its upper bound. Defaults are 1 s and
    /// 60 s; each wait varies by ±25 %.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for zero, more than 24 h, or a `base` over `max`.
    pub fn set_reconnect_intervals(&self, base: Duration, max: Duration) -> Result<(), Error> {
        check_duration("base", base)?;
        check_duration("max", max)?;
        if base > max {
            return Err(Error::config(format!("base ({base:?}) is over max ({max:?}): swap them")));
        }
        let mut settings = self.inner.settings();
        settings.reconnect.base_interval = base;
        settings.reconnect.max_interval = max;
        Ok(())
    }

    /// Sets after how long without a healthy stream the state is polled, and how
    /// often. Defaults are 5 min and 60 s. Streams that connect and bring no byte are not
    /// given so long: see [`SILENCES_BEFORE_POLLING`](crate::reconnect::SILENCES_BEFORE_POLLING).
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for zero or more than 24 h.
    pub fn set_polling_fallback(&self, after: Duration, interval: Duration) -> Result<(), Error> {
        check_duration("after", after)?;
        check_duration("interval", interval)?;
        let mut settings = self.inner.settings();
        settings.reconnect.polling_after = after;
        settings.reconnect.poll_interval = interval;
        Ok(())
    }

    /// What a refusal (401 without a new token, 403, 404) means. Default is
    /// [`FailurePolicy::Contract`]: stop.
    pub fn set_failure_policy(&self, policy: FailurePolicy) {
        self.inner.settings().reconnect.policy = policy;
    }

    /// Sets all of the reconnect engine's numbers at once, the slow schedule and the
    /// healthy minute among them. What cannot work is mended as
    /// [`ReconnectSettings`] says.
    ///
    /// ```
    /// # fn example(manager: plexsphere_client::SseManager) {
    /// use std::time::Duration;
    /// use plexsphere_client::reconnect::ReconnectSettings;
    ///
    /// let mut settings = ReconnectSettings::default();
    /// settings.slow_interval = Duration::from_secs(10 * 60);
    /// manager.set_reconnect_settings(settings);
    /// # }
    /// ```
    pub fn set_reconnect_settings(&self, settings: ReconnectSettings) {
        self.inner.settings().reconnect = settings;
    }

    /// Gives each handler at most this long. Default is `None`: as long as it takes.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for zero or more than 24 h.
    pub fn set_handler_time_limit(&self, limit: Option<Duration>) -> Result<(), Error> {
        limit.map_or(Ok(()), |limit| check_duration("limit", limit))?;
        self.inner.dispatcher.set_handler_time_limit(limit);
        Ok(())
    }

    /// Keeps the position in the stream over restarts of the process, for example in a
    /// [`FileCursorStore`](crate::events::FileCursorStore). Default is in memory only,
    /// from one `start` of this manager to the next. It is loaded by the first `start`; one
    /// that cannot be read is named in [`status`](Self::status), and the stream begins from now.
    pub fn set_cursor_store(&self, store: impl CursorStore) {
        self.inner.settings().store = Some(Arc::new(store));
    }

    /// How often the cursor store is written at most. After a kill, what was handled
    /// since the last save may be handled again. Default is 100 ms.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for zero or more than 24 h.
    pub fn set_save_interval(&self, interval: Duration) -> Result<(), Error> {
        check_duration("interval", interval)?;
        self.inner.settings().save_interval = interval;
        Ok(())
    }

    /// How long a shutdown waits for the running handler before it is dropped and its
    /// event left unsettled. Default is 10 s.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for zero or more than 24 h.
    pub fn set_shutdown_grace(&self, grace: Duration) -> Result<(), Error> {
        check_duration("grace", grace)?;
        self.inner.settings().shutdown_grace = grace;
        Ok(())
    }

    // ---- running ----

    /// Runs until [`shutdown`](Self::shutdown) or a refusal that is permanent.
    ///
    /// Failures of network, server, handlers and verifier do not end it.
    ///
    /// # Errors
    /// The refusal that ended it: [`ErrorKind::Unauthorized`],
    /// [`ErrorKind::Forbidden`] or [`ErrorKind::NotFound`]. Also
    /// [`ErrorKind::AlreadyRunning`] when it runs already, and
    /// [`ErrorKind::InvalidRequest`] for a node id that cannot stand in a path.
    ///
    /// # Cancel safety
    /// Dropping the future is safe: the running handler or callback is dropped with it,
    /// and the handler's event is delivered again by the next `start`. What was handled
    /// since the last save of the cursor may be handled again after a restart of the
    /// process.
    pub async fn start(&self, node_id: &str) -> Result<(), Error> {
        let mut driver = self.driver("start", node_id)?;
        let grace = self.inner.settings().shutdown_grace;
        while let Some(delivery) = driver.next().await? {
            match self.inner.handle_within(&delivery, grace).await {
                Some(report) => driver.settle(&delivery, report),
                None => {
                    tracing::warn!("the running handler outlived the shutdown's grace: dropped")
                }
            }
        }
        Ok(())
    }

    /// The same as a stream, for those who prefer a loop to handlers: it takes the
    /// place of [`start`](Self::start), and handlers do not run.
    ///
    /// An item counts as handled when the next one is asked for, or
    /// [`Deliveries::settle`] says so. The stream ends after a shutdown, or after the
    /// one error that `start` would return.
    ///
    /// ```no_run
    /// use futures::StreamExt;
    /// use plexsphere_client::{Delivery, SseManager};
    ///
    /// # async fn example(manager: SseManager) -> Result<(), plexsphere_client::Error> {
    /// let mut deliveries = manager.deliveries("n-1")?;
    /// while let Some(delivery) = deliveries.next().await {
    ///     match delivery? {
    ///         Delivery::Event(event) => println!("{}", event.event_type),
    ///         Delivery::State(state) => println!("{} peers", state.peers.len()),
    ///         _ => {}
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyRunning`] and [`ErrorKind::InvalidRequest`], as `start`.
    ///
    /// # Backpressure
    /// Nothing is read while no item is asked for.
    pub fn deliveries(&self, node_id: &str) -> Result<Deliveries, Error> {
        Ok(Deliveries::new(self.driver("deliveries", node_id)?))
    }

    /// Ends [`start`](Self::start) or the stream: no further event is taken, and the
    /// running handler has the [grace](Self::set_shutdown_grace) to end. Works from
    /// anywhere and at any time; before `start`, the next `start` returns at once.
    pub fn shutdown(&self) {
        self.inner.signals.shut_down();
    }

    /// Asks for the state to be fetched, for example because a heartbeat's answer says
    /// `reconcile`. Several requests make one fetch; fetches are at least 1 s apart.
    pub fn reconcile_now(&self) {
        self.inner.signals.reconcile();
    }

    /// Says that the network is another one: connections are dropped, the back-off
    /// starts anew, and the stream is opened at once (at most once a second).
    pub fn network_changed(&self) {
        self.inner.control_plane.transport.pools.renew();
        self.inner.signals.network_changed();
    }

    /// How it is: the present status, and each change of it.
    ///
    /// Clone what you read, and let go of the borrow: while one is held the manager
    /// waits. A `wait_for` in one `select!` with [`start`](Self::start) holds it while
    /// `start` is dropped, which is a deadlock, unless it clones before it returns:
    ///
    /// ```no_run
    /// # async fn example(manager: plexsphere_client::SseManager) -> Result<(), plexsphere_client::Error> {
    /// let mut status = manager.status();
    /// let healthy = async { status.wait_for(|s| s.healthy).await.map(|s| s.clone()) };
    /// tokio::select! {
    ///     ended = manager.start("n-1") => ended?,
    ///     _ = healthy => println!("it works"),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn status(&self) -> watch::Receiver<Status> {
        self.inner.status.subscribe()
    }

    fn driver(&self, operation: &'static str, node_id: &str) -> Result<Driver, Error> {
        let name = |e: Error| e.in_operation(operation);
        crate::transport::segment::check("node_id", node_id).map_err(name)?;
        if self.inner.running.swap(true, Ordering::AcqRel) {
            let text = "the manager runs already: shut it down first, or make another one";
            return Err(name(Error::new(ErrorKind::AlreadyRunning, text)));
        }
        if !self.inner.verifier.is_checking() {
            tracing::warn!(
                "events are not verified: whoever can answer in the server's place can forge them"
            );
        }
        Ok(Driver::new(Arc::clone(&self.inner), node_id))
    }
}

impl Inner {
    /// Runs the handlers of a delivery, after a shutdown for the grace alone. `None` when
    /// the running one was dropped; a panic of that drop goes no further.
    async fn handle_within(&self, delivery: &Pending, grace: Duration) -> Option<Report> {
        let handled = async {
            tokio::select! {
                // Most handlers are done when they are first polled: nothing else is then.
                biased;
                report = self.handle(delivery) => Some(report),
                () = self.signals.shutdown_and(grace) => None,
            }
        };
        AssertUnwindSafe(handled).catch_unwind().await.unwrap_or(None)
    }

    fn settings(&self) -> MutexGuard<'_, Settings> {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn check_duration(name: &str, value: Duration) -> Result<(), Error> {
    if value.is_zero() || value > MAX_DURATION {
        return Err(Error::config(format!(
            "{name} is {value:?}: give more than zero and at most 24 h"
        )));
    }
    Ok(())
}

impl fmt::Debug for SseManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SseManager")
            .field("control_plane", &self.inner.control_plane)
            .finish_non_exhaustive()
    }
}

/// What a panic of a callback becomes.
fn panicked(what: &str) -> BoxError {
    format!("{what} panicked").into()
}
