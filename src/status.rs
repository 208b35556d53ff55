//! What the manager says of itself.

use std::time::{Duration, SystemTime};

use tokio::sync::watch;

/// What the event manager is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mode {
    /// It has not started.
    #[default]
    Idle,
    /// It is opening the stream.
    Connecting,
    /// The stream is open.
    Streaming,
    /// It waits before the next attempt.
    Waiting,
    /// The stream has failed for long, or brings no byte, and the state is polled in its
    /// place; the stream is still tried.
    Polling,
    /// It has ended.
    Stopped,
}

impl Mode {
    /// The mode in lower case, as it stands in logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Connecting => "connecting",
            Self::Streaming => "streaming",
            Self::Waiting => "waiting",
            Self::Polling => "polling",
            Self::Stopped => "stopped",
        }
    }
}

/// How the event manager is, at this moment.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Status {
    /// What it is doing.
    pub mode: Mode,
    /// Since when.
    pub since: Option<SystemTime>,
    /// Whether the stream has been open for long enough to count as a success.
    pub healthy: bool,
    /// When the last byte of a stream arrived, comments included.
    pub last_byte_at: Option<SystemTime>,
    /// When the last event was accepted.
    pub last_event_at: Option<SystemTime>,
    /// Where the stream would be resumed.
    pub last_event_id: Option<String>,
    /// The last failure, in one line.
    pub last_error: Option<String>,
    /// When the next attempt to connect is due.
    pub next_attempt_at: Option<SystemTime>,
    /// How far this machine's clock is off the server's, when that is so much that
    /// events look too old or too new.
    pub clock_skew: Option<ClockSkew>,
    /// What has been counted since the manager was made.
    pub counters: Counters,
}

/// How far the machine's clock is off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockSkew {
    /// The machine's clock is behind the server's.
    Behind(Duration),
    /// The machine's clock is ahead of the server's.
    Ahead(Duration),
}

impl std::fmt::Display for ClockSkew {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (by, word) = match self {
            Self::Behind(by) => (by, "behind"),
            Self::Ahead(by) => (by, "ahead of"),
        };
        write!(f, "this machine's clock is {by:?} {word} the server's: set the clock")
    }
}

/// Counters, each since the manager was made. None of them ever falls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Streams opened.
    pub connections: u64,
    /// Attempts to connect, streams and polls that failed.
    pub failures: u64,
    /// Bytes of all streams.
    pub bytes: u64,
    /// Events accepted and settled.
    pub events: u64,
    /// Events that came again after they had been handled.
    pub redelivered: u64,
    /// Events and blocks that were skipped, whatever the reason.
    pub skipped: u64,
    /// Blocks that were no envelope.
    pub malformed: u64,
    /// Events that the verifier refused, those with a wrong signature included.
    pub refused: u64,
    /// Blocks over the event limit.
    pub oversized: u64,
    /// Handlers that returned an error.
    pub handler_errors: u64,
    /// Handlers that panicked.
    pub handler_panics: u64,
    /// Handlers that ran out of time.
    pub handler_timeouts: u64,
    /// States fetched, by a reconcile or by polling.
    pub states: u64,
    /// Fetches of the state that failed.
    pub state_failures: u64,
    /// Checkpoints saved.
    pub saves: u64,
    /// Checkpoints that could not be saved.
    pub save_failures: u64,
}

/// The writing end: one manager's status, for as many readers as there are.
#[derive(Debug)]
pub(crate) struct StatusCell(watch::Sender<Status>);

impl StatusCell {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(Status::default()))
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<Status> {
        self.0.subscribe()
    }

    pub(crate) fn update(&self, change: impl FnOnce(&mut Status)) {
        self.0.send_modify(change);
    }

    pub(crate) fn count(&self, change: impl FnOnce(&mut Counters)) {
        self.0.send_modify(|status| change(&mut status.counters));
    }

    pub(crate) fn is_healthy(&self) -> bool {
        self.0.borrow().healthy
    }

    /// Says what it is doing now; one line in the log for each change.
    pub(crate) fn set_mode(&self, mode: Mode, next_attempt_at: Option<SystemTime>) {
        self.0.send_if_modified(|status| {
            let changed = status.mode != mode;
            if changed {
                tracing::info!(from = status.mode.as_str(), to = mode.as_str(), "event stream");
                status.mode = mode;
                status.healthy &= mode == Mode::Streaming;
                status.since = Some(SystemTime::now());
            }
            let changed = changed || status.next_attempt_at != next_attempt_at;
            status.next_attempt_at = next_attempt_at;
            changed
        });
    }
}
