//! The one loop: carries the engine's commands out and yields what is to be handled.
//!
//! It is pulled: nothing is read until the next delivery is asked for, and what was
//! handed out is settled before. Handlers and the poll function so never run at the
//! same time.

mod fetching;
mod position;
mod reading;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;
use tracing::Instrument;

use super::Inner;
use super::clock::Clock;
use super::deliveries::Delivery;
use super::failure::action;
use super::reconcile::Reconcile;
use super::saver::Saver;
use crate::error::Error;
use crate::events::{
    Cursor, DispatchReport, SignedEnvelope, SseParser, SseStream, Verified, VerifyError,
};
use crate::reconnect::{
    Command, FailureAction, Input, ReconnectEngine, SILENCES_BEFORE_POLLING, State, StopReason,
};
use crate::status::{ClockSkew, Mode};
use crate::transport::stream::SseResponse;
use crate::types::StateResponse;
pub(super) use position::Kept;

/// A long wait is cut into pieces, so that a machine that slept notices soon.
const LONGEST_NAP: Duration = Duration::from_secs(10);
/// From how far off on the machine's clock is taken for wrong: the server's `Date`
/// has whole seconds, and an answer takes its time.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(30);

/// How the handlers of a delivery fared.
pub(crate) type Report = DispatchReport;

/// A delivery that is handed out and not settled yet.
#[derive(Clone)]
pub(crate) enum Pending {
    Event { event: Verified, id: Option<Arc<str>> },
    State(Arc<StateResponse>),
}

impl Pending {
    pub(crate) fn delivery(&self) -> Delivery {
        match self {
            Self::Event { event, .. } => Delivery::Event(Arc::clone(event.envelope())),
            Self::State(state) => Delivery::State(Arc::clone(state)),
        }
    }
}

pub(crate) struct Driver {
    inner: Arc<Inner>,
    node_id: String,
    engine: ReconnectEngine,
    command: Command,
    clock: Clock,
    cursor: Cursor,
    saver: Saver,
    loaded: bool,
    reconcile: Reconcile,
    connection: Option<Connection>,
    /// An event with a bad signature, to be looked at again with fresh keys. It outlives its
    /// stream: a server need not send it again.
    second_look: Option<SecondLook>,
    last_error: Option<Error>,
    /// What the consumer has now, until it is settled.
    handed_out: Option<Pending>,
    /// The event that the last run handed out and did not settle.
    again: Option<Pending>,
    /// How often a connect was tried.
    attempts: u64,
    /// When a skipped event was last logged, and how many were not since.
    skips_logged: Option<(Duration, u64)>,
    /// Which token was in use when the last failure was judged: another one since is news.
    token_seen: u64,
    /// When the wait under way is over.
    wait_until: Duration,
}

struct Connection {
    stream: SseStream<SseResponse>,
    span: tracing::Span,
    clock_skew: Option<ClockSkew>,
}

struct SecondLook {
    refused: Refused,
    /// Whether the keys have been fetched, or could not be.
    fetched: bool,
}

struct Refused {
    envelope: Arc<SignedEnvelope>,
    error: VerifyError,
    id: Option<Arc<str>>,
}

impl Driver {
    pub(super) fn new(inner: Arc<Inner>, node_id: &str) -> Self {
        let settings = inner.settings().clone();
        inner.signals.forget_requests();
        Self {
            engine: ReconnectEngine::new(settings.reconnect),
            command: Command::Continue,
            clock: Clock::new(),
            cursor: Cursor::default(),
            saver: Saver::new(settings.store, settings.save_interval),
            loaded: false,
            reconcile: Reconcile::default(),
            connection: None,
            second_look: None,
            last_error: None,
            handed_out: None,
            again: None,
            attempts: 0,
            skips_logged: None,
            token_seen: 0,
            wait_until: Duration::ZERO,
            node_id: node_id.to_owned(),
            inner,
        }
    }

    /// The next event or state to be handled. `None` after a shutdown; an error when
    /// the server refused for good.
    ///
    /// Cancel safe: dropping the future loses nothing that was not handed out.
    pub(crate) async fn next(&mut self) -> Result<Option<Pending>, Error> {
        if !self.loaded {
            let inner = Arc::clone(&self.inner);
            tokio::select! {
                biased;
                () = inner.signals.shutdown() => {}
                () = self.load() => self.step(Input::Start),
            }
        }
        loop {
            // A server that always has more must not keep other tasks from running.
            tokio::task::consume_budget().await;
            if self.inner.signals.is_shut_down() {
                self.step(Input::Shutdown);
            }
            let pending = match self.command {
                Command::Connect => self.connect().await,
                Command::Read | Command::Continue => self.read().await,
                Command::Wait(_) => self.wait().await,
                Command::Poll => self.poll().await,
                Command::Authenticate => self.authenticate().await,
                Command::Stop(reason) => return self.stop(reason).await,
            };
            if pending.is_some() {
                self.handed_out = pending.clone();
                return Ok(pending);
            }
        }
    }

    /// What was handed out has been handled, well or not: the position moves, and a
    /// failure is made good by a fetch of the state.
    pub(crate) fn settle(&mut self, pending: &Pending, report: Report) {
        self.handed_out = None;
        if let Pending::Event { event, id } = pending {
            self.cursor.note_handled(&event.envelope().event_id);
            self.move_cursor(id.as_deref(), |status| {
                status.counters.events += 1;
                status.last_event_at = Some(SystemTime::now());
            });
        }
        if report.failures() > 0 {
            self.reconcile.request();
            self.inner.status.count(|c| {
                c.handler_errors += report.errors as u64;
                c.handler_panics += report.panics as u64;
                c.handler_timeouts += report.timeouts as u64;
            });
        }
    }

    // ---- the engine ----

    /// Tells the engine what happened and takes up what it says.
    fn step(&mut self, input: Input) {
        let now = self.clock.now();
        let command = self.engine.step(input, now, fastrand::u64(..));
        self.take_up(command, now);
    }

    fn take_up(&mut self, command: Command, now: Duration) {
        match command {
            Command::Continue => {}
            Command::Wait(wait) => {
                self.command = Command::Wait(wait);
                self.wait_until = now.saturating_add(wait);
            }
            command => self.command = command,
        }
        if self.command != Command::Read {
            self.connection = None;
        }
        self.report_state(now);
    }

    fn report_state(&self, now: Duration) {
        let mode = match self.engine.state() {
            State::Idle => Mode::Idle,
            State::Streaming { .. } => Mode::Streaming,
            State::Stopped(_) => Mode::Stopped,
            _ if self.engine.is_polling() => Mode::Polling,
            State::Connecting | State::Authenticating => Mode::Connecting,
            _ => Mode::Waiting,
        };
        let due =
            self.engine.next_connect_at().map(|at| SystemTime::now() + at.saturating_sub(now));
        self.inner.status.set_mode(mode, due);
        let healthy = self.engine.is_healthy();
        if self.inner.status.is_healthy() != healthy {
            self.inner.status.update(|status| status.healthy = healthy);
        }
    }

    /// Notes an error and what the engine is to do about it.
    fn fail(
        &mut self,
        error: Error,
        cursor_sent: bool,
        input: impl FnOnce(FailureAction) -> Input,
    ) {
        self.token_seen = self.inner.control_plane.transport.shared.token_generation();
        let action = action(&error, cursor_sent, self.token_seen);
        tracing::debug!(%error, ?action, "event stream failure");
        let now = self.clock.now();
        let command = self.engine.step(input(action), now, fastrand::u64(..));
        // Before the mode changes: who waits for that finds the reason there.
        let text = silenced(&self.engine, &error).unwrap_or_else(|| error.to_string());
        self.inner.status.update(|status| {
            status.counters.failures += 1;
            status.last_error = Some(text);
        });
        self.last_error = Some(error);
        if action.drops_cursor() {
            tracing::warn!("the server refused the position in the stream: starting from now");
            self.cursor.reset();
            self.reconcile.request();
        }
        self.take_up(command, now);
    }

    // ---- the commands ----

    async fn connect(&mut self) -> Option<Pending> {
        self.attempts += 1;
        let attempt = self.attempts;
        let span = tracing::info_span!("connection", node_id = %self.node_id, attempt);
        let cursor = self.cursor.last_event_id().cloned();
        let opening = self.inner.control_plane.connect_sse(&self.node_id, cursor.as_deref());
        let opened = tokio::select! {
            biased;
            () = self.inner.signals.shutdown() => return None,
            () = self.inner.signals.network_has_changed() => {
                self.step(Input::NetworkChanged);
                return None;
            }
            opened = opening.instrument(span.clone()) => opened,
        };
        match opened {
            Ok(response) => self.opened(response, span, cursor),
            Err(error) => self.fail(error, cursor.is_some(), Input::Failed),
        }
        None
    }

    fn opened(&mut self, response: SseResponse, span: tracing::Span, cursor: Option<Arc<str>>) {
        let clock_skew = response.server_time().and_then(clock_skew);
        if let Some(skew) = clock_skew {
            tracing::warn!(parent: &span, "{skew}");
        }
        self.inner.status.update(|status| {
            status.counters.connections += 1;
            status.clock_skew = clock_skew;
        });
        let limit = self.inner.control_plane.config().event_limit;
        let parser =
            SseParser::new().with_event_limit(limit).with_last_event_id(cursor.unwrap_or_default());
        let stream = SseStream::new(response, parser, Arc::clone(&self.inner.verifier));
        self.step(Input::Opened);
        let now = self.clock.now();
        self.reconcile.request_now(now);
        self.connection = Some(Connection { stream, span, clock_skew });
    }

    async fn wait(&mut self) -> Option<Pending> {
        let inner = Arc::clone(&self.inner);
        let shared = &inner.control_plane.transport.shared;
        let input = loop {
            let now = self.clock.now();
            let left = self.wait_until.saturating_sub(now);
            if left.is_zero() {
                break Input::TimerFired;
            }
            let free_in = self.reconcile.free_at().saturating_sub(now);
            self.save_if_due();
            let save_at = self.saver.due_at(self.cursor.version());
            tokio::select! {
                biased;
                () = inner.signals.shutdown() => return None,
                () = inner.signals.network_has_changed() => break Input::NetworkChanged,
                () = shared.token_changed_from(self.token_seen) => {
                    self.token_seen = shared.token_generation();
                    break Input::TokenChanged;
                }
                () = inner.signals.reconcile_requested_after(free_in) => {
                    return self.fetch().await;
                }
                () = self.saver.finished(&inner.status) => {}
                () = at(save_at) => {}
                () = tokio::time::sleep(left.min(LONGEST_NAP)) => {}
            }
        };
        self.step(input);
        None
    }

    async fn poll(&mut self) -> Option<Pending> {
        let inner = Arc::clone(&self.inner);
        let held = self.reconcile.held_for(self.clock.now());
        if !held.is_zero() {
            let later = FailureAction::RespectServer { retry_after: Some(held) };
            self.step(Input::PollDone(Err(later)));
            return None;
        }
        let fetched = tokio::select! {
            biased;
            () = inner.signals.shutdown() => return None,
            fetched = inner.callbacks.poll(&inner.control_plane, &self.node_id) => fetched,
        };
        match fetched {
            Ok(state) => {
                self.step(Input::PollDone(Ok(())));
                Some(self.fetched(state))
            }
            Err(error) => {
                inner.status.count(|c| c.state_failures += 1);
                self.keys_fetched();
                self.hold_fetches(&error);
                self.fail(error, false, |action| Input::PollDone(Err(action)));
                None
            }
        }
    }

    async fn authenticate(&mut self) -> Option<Pending> {
        let renewed = Arc::clone(&self.inner).token_renewed(self.token_seen).await?;
        self.step(if renewed { Input::AuthRecovered } else { Input::AuthRefused });
        None
    }

    async fn stop(&mut self, reason: StopReason) -> Result<Option<Pending>, Error> {
        self.save_now().await;
        if reason == StopReason::Shutdown {
            return Ok(None);
        }
        match self.last_error.take() {
            Some(error) => Err(error),
            // A refusal always has its error; asked again after the end, there is nothing more.
            None => Ok(None),
        }
    }
}

impl Inner {
    /// Whether there is another token than the refused one now: somebody has set one, or
    /// the callback has it. `None` after a shutdown.
    async fn token_renewed(&self, refused: u64) -> Option<bool> {
        let shared = &self.control_plane.transport.shared;
        let new = tokio::select! {
            biased;
            () = self.signals.shutdown() => return None,
            () = shared.token_changed_from(refused) => None,
            new = self.callbacks.new_token() => new,
        };
        if let Some(Err(error)) = new.map(|token| shared.set_token(&token)) {
            tracing::warn!(%error, "the callback's token cannot be used");
        }
        Some(shared.token_generation() != refused)
    }
}

/// What many silences in a row mean, if `error` is one of them; one line in the log when
/// they have become so many.
fn silenced(engine: &ReconnectEngine, error: &Error) -> Option<String> {
    const { assert!(SILENCES_BEFORE_POLLING == 3, "the text says how often") };
    let limit = error.silence().filter(|_| engine.silences() >= SILENCES_BEFORE_POLLING)?;
    let text = format!(
        "connected, but no byte in {limit:?} three times in a row: something between buffers the \
         stream (a proxy without `proxy_buffering off`?); the state is polled"
    );
    if engine.silences() == SILENCES_BEFORE_POLLING {
        tracing::warn!("{text}");
    }
    Some(text)
}

fn clock_skew(server: SystemTime) -> Option<ClockSkew> {
    let local = SystemTime::now();
    let skew = match server.duration_since(local) {
        Ok(behind) => ClockSkew::Behind(behind),
        Err(ahead) => ClockSkew::Ahead(ahead.duration()),
    };
    let (ClockSkew::Behind(by) | ClockSkew::Ahead(by)) = skew;
    (by > CLOCK_TOLERANCE).then_some(skew)
}

async fn at(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant).await,
        None => std::future::pending().await,
    }
}

async fn after(wait: Option<Duration>) {
    match wait {
        Some(wait) => tokio::time::sleep(wait).await,
        None => std::future::pending().await,
    }
}
