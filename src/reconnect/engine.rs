//! The state machine: when to connect, read, wait, poll or stop.
//!
//! [`ReconnectEngine::step`] takes what happened, the time and a random number, and gives back what to do next. It does
//! nothing by itself: a driver carries the command out and reports how it went.
//!
//! ```text
//!               Start                  Opened
//!      Idle ────────────▶ Connecting ──────────▶ Streaming
//!                          ▲ │  ▲  │                 │
//!       AuthRecovered,     │ │  │  │ 401             │ Ended, Failed
//!       at once            │ │  │  ▼                 │
//!                          │ │  Authenticating       │
//!                          │ │             │         │
//!                connect   │ │ Failed      │ AuthRefused, persistent
//!                is due    │ ▼             ▼         │
//!                        Waiting ◀───────────────────┘
//!                          │ ▲
//!              poll is due │ │ PollDone
//!                          ▼ │
//!                        Polling
//!
//!      any ──── Shutdown; AuthRefused, 403, 404 under the contract's policy ────▶ Stopped
//! ```
//!
//! Two schedules run beside each other, and `Waiting` waits for the nearer one: when to connect next and, once streams
//! have failed for long enough, when to poll next. So a stream is still tried while polling, on its own schedule, and
//! an answer with `Retry-After` holds back the schedule of the request that it answers.
//!
//! | in | input | then |
//! |---|---|---|
//! | Idle | Start | Connecting, without a wait |
//! | Connecting | Opened | Streaming; polling pauses |
//! | Streaming | Received | silences are forgotten; healthy once the stream is 60 s old; back-off, slow schedule and polling end |
//! | Streaming, healthy | Ended | Waiting for 0 to base, and the spread more |
//! | Connecting, Streaming | Ended, any other | Waiting for the back-off, which grows |
//! | Connecting, Streaming | Failed | what the [`FailureAction`] says: back-off, slow schedule, Authenticating, Stopped; or, for a new token, Connecting |
//! | Connecting, Streaming without a byte | Failed, silent | Waiting for the back-off; the third in a row polls first, and the stream is still tried |
//! | Authenticating | AuthRecovered | Connecting at once; if such tokens are refused in a row, after a growing gap |
//! | Authenticating | AuthRefused | Stopped; under the persistent policy Waiting on the slow schedule |
//! | Waiting | TimerFired | Polling or Connecting, whichever is due |
//! | Waiting, Polling after a refusal | TokenChanged, AuthRecovered | Connecting at once, or as soon as the poll is done |
//! | Connecting, Streaming, Waiting | NetworkChanged | back-off and slow schedule start anew; Connecting, at least 1 s after the last connect |
//! | Polling, Authenticating | NetworkChanged | the same once the poll or the callback is done |
//! | Polling | PollDone | Connecting if that is due, else Waiting |
//! | any but Idle, Stopped | ServerRetry | stays; the new base is in force from the next delay on |
//! | any | Shutdown | Stopped |
//! | Stopped | any | stays, and says again why |
//!
//! Any other pair is ignored: the state stays, and so does what is under way ([`Command::Continue`]; in Waiting the time
//! that is left). A timer that fires early, late or twice is therefore harmless, and a driver may cut a long wait into
//! short ones.
//!
//! What always holds: at most one connect is under way; a wait is neither shorter than the smallest interval less a
//! quarter nor longer than the largest plus a quarter, except the first reconnect after a healthy stream (0 to base, and
//! up to `reconnect_spread` more) and what a new token or network brings forward; a healthy stream ends polling; only Shutdown and a refusal under the
//! contract's policy stop the engine.

use std::{sync::Arc, time::Duration};

use super::{
    FailureAction, FailurePolicy, NETWORK_CHANGE_GAP, ReconnectSettings, SILENCES_BEFORE_POLLING,
    backoff::{self, exponential, jitter, jitter_up, spread},
};

mod messages;
#[cfg(test)]
mod tests;

pub use messages::{Command, Input, State, StopReason};

/// Decides when to connect, wait, poll or stop. The module's page has the state diagram.
///
/// It is a value: small, cheap to clone and to step, and equal inputs give equal commands.
///
/// ```
/// use std::time::Duration;
/// use plexsphere_client::reconnect::{Command, FailureAction, Input, ReconnectEngine, ReconnectSettings};
///
/// let mut engine = ReconnectEngine::new(ReconnectSettings::default());
/// let (now, random) = (Duration::ZERO, 1 << 63); // the middle of the range: no jitter
/// assert_eq!(engine.step(Input::Start, now, random), Command::Connect);
/// let command = engine.step(Input::Failed(FailureAction::RetryTransient), now, random);
/// assert_eq!(command, Command::Wait(Duration::from_secs(1)));
/// ```
#[derive(Debug, Clone)]
pub struct ReconnectEngine {
    settings: Arc<ReconnectSettings>,
    state: State,
    /// When the next connect is due, while none is under way.
    connect_at: Duration,
    /// When the last connect began.
    connected_at: Duration,
    /// When the next poll is due. `None` while streams do not fail.
    poll_at: Option<Duration>,
    /// What the server's `retry:` made the base of the back-off.
    server_base: Option<Duration>,
    /// Failures in a row, since a stream was last healthy.
    failures: u32,
    /// Streams in a row that stood and brought no byte.
    silences: u32,
    /// Refusals in a row that put the stream on the slow schedule.
    refusals: u32,
    /// Refusals in a row of the poll.
    poll_refusals: u32,
    /// New tokens tried in a row, since a stream was last healthy.
    token_tries: u32,
    /// Whether a new token waits to be tried.
    token_pending: bool,
    /// Whether the next connect is on the slow schedule, so that a new token brings it forward.
    slow: bool,
    /// Whether polling has taken the stream's place.
    polling: bool,
}

impl ReconnectEngine {
    /// An engine that has not started. Its clones share the settings.
    pub fn new(settings: ReconnectSettings) -> Self {
        Self {
            settings: Arc::new(settings.mended()),
            state: State::Idle,
            connect_at: Duration::ZERO,
            connected_at: Duration::ZERO,
            poll_at: None,
            server_base: None,
            failures: 0,
            silences: 0,
            refusals: 0,
            poll_refusals: 0,
            token_tries: 0,
            token_pending: false,
            slow: false,
            polling: false,
        }
    }

    /// Takes the input and says what to do next.
    ///
    /// `now` is the time since any fixed origin, and must not run backwards. It should go on while the machine sleeps.
    /// `random` is drawn evenly from the whole range, anew for each step.
    pub fn step(&mut self, input: Input, now: Duration, random: u64) -> Command {
        use Input::*;
        use State::*;
        if input == Shutdown {
            return self.stop(StopReason::Shutdown);
        }
        self.note_health(input, now);
        match (self.state, input) {
            (Stopped(reason), _) => Command::Stop(reason),
            (Idle, Start) => self.connect(now),
            (Idle, _) => Command::Continue,
            (Connecting, Opened) => self.open(now),
            (Connecting | Streaming { .. }, Ended) => self.ended(now, random),
            (Connecting | Streaming { .. }, Failed(action)) => self.failed(action, now, random),
            (Authenticating, AuthRecovered) => self.renew(now, random),
            (Authenticating, AuthRefused) => self.refused(StopReason::Unauthorized, now, random),
            (Polling, PollDone(result)) => self.polled(result, now, random),
            (_, TokenChanged | AuthRecovered) => self.token_changed(now, random),
            (_, NetworkChanged) => self.network_changed(now, random),
            (_, ServerRetry(said)) => self.server_retry(said, now),
            (_, _) => self.carry_on(now),
        }
    }

    /// Where the engine is.
    pub fn state(&self) -> State {
        self.state
    }

    /// Whether a stream is open that has lasted long enough to count as a success.
    pub fn is_healthy(&self) -> bool {
        matches!(self.state, State::Streaming { healthy: true, .. })
    }

    /// Whether polling has taken the stream's place. It stays so until a stream is healthy, also while one is tried.
    pub fn is_polling(&self) -> bool {
        self.polling
    }

    /// When the next connect is due, on the clock of `now`. `None` unless the engine is waiting or polling.
    pub fn next_connect_at(&self) -> Option<Duration> {
        matches!(self.state, State::Waiting | State::Polling).then_some(self.connect_at)
    }

    /// When the next poll is due, on the clock of `now`. `None` while streams do not fail.
    pub fn next_poll_at(&self) -> Option<Duration> {
        self.poll_at
    }

    /// How many failures there were since a stream was last healthy, those on the slow schedule included.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// How many streams in a row stood and brought no byte until a time limit ran out. From
    /// [`SILENCES_BEFORE_POLLING`] on, something between holds their bytes back.
    pub fn silences(&self) -> u32 {
        self.silences
    }

    // What the inputs do.

    /// Marks the stream as healthy once it has lasted, and forgets all failures before it.
    fn note_health(&mut self, input: Input, now: Duration) {
        let State::Streaming { since, received, healthy: false } = self.state else {
            return;
        };
        let received = received || input == Input::Received;
        let healthy = received && now.saturating_sub(since) >= self.settings.healthy_after;
        self.state = State::Streaming { since, received, healthy };
        if received {
            self.silences = 0;
        }
        if healthy {
            self.failures = 0;
            self.refusals = 0;
            self.poll_refusals = 0;
            self.token_tries = 0;
            self.poll_at = None;
            self.polling = false;
        }
    }

    fn open(&mut self, now: Duration) -> Command {
        self.state = State::Streaming { since: now, received: false, healthy: false };
        Command::Read
    }

    fn ended(&mut self, now: Duration, random: u64) -> Command {
        if !self.is_healthy() {
            return self.failed(FailureAction::RetryTransient, now, random);
        }
        self.begin_outage(now, random);
        let window = self.base().saturating_add(self.settings.reconnect_spread);
        self.reconnect_in(spread(window, random), now)
    }

    fn failed(&mut self, action: FailureAction, now: Duration, random: u64) -> Command {
        self.begin_outage(now, random);
        match action {
            FailureAction::RetryTransient | FailureAction::DropCursor => {
                self.back_off(Duration::ZERO, now, random)
            }
            FailureAction::RetrySilent => self.fell_silent(now, random),
            FailureAction::RespectServer { retry_after } => {
                let asked = backoff::retry_after(retry_after.unwrap_or_default(), random);
                self.back_off(asked, now, random)
            }
            FailureAction::RetrySlowly => self.slow_down(now, random),
            FailureAction::PollInstead => {
                self.poll_from(now);
                self.slow_down(now, random)
            }
            FailureAction::RetryNewToken => self.renew(now, random),
            FailureAction::RetryAuth => {
                self.state = State::Authenticating;
                Command::Authenticate
            }
            FailureAction::PermanentFailure => self.refused(StopReason::Refused, now, random),
        }
    }

    fn fell_silent(&mut self, now: Duration, random: u64) -> Command {
        if !matches!(self.state, State::Streaming { received: true, .. }) {
            self.silences = self.silences.saturating_add(1);
            if self.silences >= SILENCES_BEFORE_POLLING {
                self.poll_from(now);
            }
        }
        self.back_off(Duration::ZERO, now, random)
    }

    fn refused(&mut self, reason: StopReason, now: Duration, random: u64) -> Command {
        match self.settings.policy {
            FailurePolicy::Contract => self.stop(reason),
            FailurePolicy::Persistent => self.slow_down(now, random),
        }
    }

    fn polled(&mut self, result: Result<(), FailureAction>, now: Duration, random: u64) -> Command {
        let interval = jitter(self.settings.poll_interval, random);
        let wait = match result {
            Ok(()) => {
                self.poll_refusals = 0;
                interval
            }
            Err(FailureAction::RespectServer { retry_after }) => {
                interval.max(backoff::retry_after(retry_after.unwrap_or_default(), random))
            }
            Err(
                FailureAction::RetryTransient
                | FailureAction::RetrySilent
                | FailureAction::RetryNewToken
                | FailureAction::DropCursor,
            ) => interval,
            Err(
                FailureAction::RetryAuth
                | FailureAction::RetrySlowly
                | FailureAction::PollInstead
                | FailureAction::PermanentFailure,
            ) => {
                let slow = self.slow_delay(self.poll_refusals, random);
                self.poll_refusals = self.poll_refusals.saturating_add(1);
                interval.max(slow)
            }
        };
        self.poll_at = Some(now.saturating_add(wait));
        self.next_due(now)
    }

    fn token_changed(&mut self, now: Duration, random: u64) -> Command {
        self.forgive_polls(now, random);
        match self.state {
            State::Waiting if self.slow => {
                let due = self.renewal_due(now, random).min(self.connect_at);
                return self.reconnect_at(due, now);
            }
            State::Polling if self.slow => {
                self.connect_at = self.renewal_due(now, random).min(self.connect_at);
            }
            _ => {}
        }
        self.carry_on(now)
    }

    fn network_changed(&mut self, now: Duration, random: u64) -> Command {
        self.failures = 0;
        self.silences = 0;
        self.refusals = 0;
        self.forgive_polls(now, random);
        let due = now.max(self.connected_at.saturating_add(jitter_up(NETWORK_CHANGE_GAP, random)));
        match self.state {
            State::Connecting | State::Streaming { .. } => {
                self.begin_outage(now, random);
                return self.reconnect_at(due, now);
            }
            State::Waiting => return self.reconnect_at(due.min(self.connect_at), now),
            State::Polling => self.connect_at = due.min(self.connect_at),
            _ => {}
        }
        Command::Continue
    }

    fn server_retry(&mut self, said: Duration, now: Duration) -> Command {
        let ReconnectSettings { base_interval, max_interval, .. } = *self.settings;
        self.server_base = Some(backoff::server_base(said, base_interval, max_interval));
        self.carry_on(now)
    }

    // What the inputs are made of.

    /// From the first failure on there is a time when polling takes over. It is spread over one poll interval, so that
    /// a fleet that lost its server in one moment does not poll in one moment.
    fn begin_outage(&mut self, now: Duration, random: u64) {
        if self.poll_at.is_none() {
            let first = spread(self.settings.poll_interval, random);
            let wait = self.settings.polling_after.checked_add(first);
            self.poll_at = wait.and_then(|wait| now.checked_add(wait));
        }
    }

    /// Polling begins at once, unless it has begun.
    fn poll_from(&mut self, now: Duration) {
        if !self.polling {
            self.poll_at = Some(now);
        }
    }

    /// The next connect comes after the back-off, and not before the `least` time.
    fn back_off(&mut self, least: Duration, now: Duration, random: u64) -> Command {
        let delay = exponential(self.base(), self.settings.max_interval, self.failures);
        self.failures = self.failures.saturating_add(1);
        let wait = jitter(delay, random).max(least);
        self.reconnect_in(wait.saturating_add(self.first_spread(random)), now)
    }

    /// What the wait after a healthy stream is longer by: many others may have lost theirs in the same moment.
    fn first_spread(&self, random: u64) -> Duration {
        match self.is_healthy() {
            true => spread(self.settings.reconnect_spread, random),
            false => Duration::ZERO,
        }
    }

    /// The next connect comes on the slow schedule.
    fn slow_down(&mut self, now: Duration, random: u64) -> Command {
        let delay = self.slow_delay(self.refusals, random);
        self.failures = self.failures.saturating_add(1);
        self.refusals = self.refusals.saturating_add(1);
        self.slow = true;
        self.reconnect_in(delay, now)
    }

    /// A new token is tried at once.
    fn renew(&mut self, now: Duration, random: u64) -> Command {
        let due = self.renewal_due(now, random);
        self.reconnect_at(due, now)
    }

    /// When to try a new token: at once. But where one new token after the other is refused, the gap between them
    /// grows like a back-off, or a callback that keeps making useless tokens would storm the server.
    fn renewal_due(&mut self, now: Duration, random: u64) -> Duration {
        self.refusals = 0;
        self.token_pending = true;
        let Some(earlier) = self.token_tries.checked_sub(1) else {
            return now;
        };
        let gap = exponential(self.base(), self.settings.max_interval, earlier);
        now.max(self.connected_at.saturating_add(jitter(gap, random)))
    }

    /// A poll that was refused is no longer on the slow schedule.
    fn forgive_polls(&mut self, now: Duration, random: u64) {
        if self.poll_refusals > 0 {
            self.poll_refusals = 0;
            let soon = now.saturating_add(jitter(self.settings.poll_interval, random));
            self.poll_at = self.poll_at.map(|at| at.min(soon));
        }
    }

    fn slow_delay(&self, refusals: u32, random: u64) -> Duration {
        let ReconnectSettings { slow_interval, slow_max_interval, .. } = *self.settings;
        jitter(exponential(slow_interval, slow_max_interval, refusals), random)
    }

    fn base(&self) -> Duration {
        self.server_base.unwrap_or(self.settings.base_interval)
    }

    // Where the steps end.

    fn connect(&mut self, now: Duration) -> Command {
        if self.token_pending {
            self.token_pending = false;
            self.token_tries = self.token_tries.saturating_add(1);
        }
        self.slow = false;
        self.connected_at = now;
        self.state = State::Connecting;
        Command::Connect
    }

    /// The one place that schedules a connect after a wait.
    fn reconnect_in(&mut self, wait: Duration, now: Duration) -> Command {
        self.connect_at = now.saturating_add(wait);
        self.next_due(now)
    }

    /// Connects if that is due, even before a poll that is due as well: somebody asked for it.
    fn reconnect_at(&mut self, due: Duration, now: Duration) -> Command {
        self.connect_at = due;
        if due <= now { self.connect(now) } else { self.next_due(now) }
    }

    /// Polls or connects if that is due, the poll first, else waits for the nearer of the two.
    fn next_due(&mut self, now: Duration) -> Command {
        let poll_at = self.poll_at.unwrap_or(Duration::MAX);
        if poll_at <= now {
            self.polling = true;
            self.state = State::Polling;
            return Command::Poll;
        }
        if self.connect_at <= now {
            return self.connect(now);
        }
        self.state = State::Waiting;
        Command::Wait(self.connect_at.min(poll_at) - now)
    }

    /// Nothing changes; a wait goes on for the time that is left.
    fn carry_on(&mut self, now: Duration) -> Command {
        match self.state {
            State::Waiting => self.next_due(now),
            _ => Command::Continue,
        }
    }

    fn stop(&mut self, reason: StopReason) -> Command {
        if let State::Stopped(first) = self.state {
            return Command::Stop(first);
        }
        self.state = State::Stopped(reason);
        Command::Stop(reason)
    }
}
