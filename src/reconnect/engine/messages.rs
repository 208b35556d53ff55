//! The words of the engine: what goes in, what comes out, and where it is between the two.

use std::time::Duration;

use crate::reconnect::FailureAction;

/// What happened, as the driver tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Input {
    /// Begin.
    Start,
    /// The connect succeeded: 200 with an event stream as its content.
    Opened,
    /// A piece of the stream's body arrived. Telling each piece is cheap, and tells how healthy the stream is in time;
    /// telling the first is enough for the right decisions.
    Received,
    /// The stream ended cleanly.
    Ended,
    /// The connect failed, or the stream broke off or fell silent.
    Failed(FailureAction),
    /// The server sent `retry:` with this time.
    ServerRetry(Duration),
    /// The time of the last [`Command::Wait`] is over.
    TimerFired,
    /// The poll ended. A failed one never stops the engine: the stream's own answer decides that.
    PollDone(Result<(), FailureAction>),
    /// The auth callback is done, and the token now in use is not the refused one, whoever put it there.
    AuthRecovered,
    /// The auth callback is done or there is none, and the refused token is still the one in use.
    AuthRefused,
    /// A token is in use that no answer has refused yet.
    TokenChanged,
    /// The machine's network changed: what is open may be dead, and what failed may work now.
    NetworkChanged,
    /// Stop for good.
    Shutdown,
}

/// What to do next. Each command but [`Continue`](Self::Continue) replaces what is under way: drop any connection,
/// connect attempt and timer first, then carry it out. A poll and the auth callback are never replaced but by `Stop`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Command {
    /// Connect, then say `Opened`, `Ended` or `Failed`.
    Connect,
    /// Read the stream that was opened: say `Received` as bytes arrive, then `Ended` or `Failed`.
    Read,
    /// Wait this long, then say `TimerFired`.
    Wait(Duration),
    /// Run the poll function once, then say `PollDone`.
    Poll,
    /// Ask the auth callback for a new token, then say `AuthRecovered` or `AuthRefused`.
    Authenticate,
    /// Go on with what is under way.
    Continue,
    /// Stop, for this reason. No input leads out of it.
    Stop(StopReason),
}

/// Why the engine stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum StopReason {
    /// It was asked to.
    Shutdown,
    /// The token was refused (401) and there is no new one.
    Unauthorized,
    /// The node was refused (403, 404).
    Refused,
}

/// Where the engine is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// Not started yet.
    Idle,
    /// A connect is under way.
    Connecting,
    /// The auth callback is looking for a new token.
    Authenticating,
    /// A stream is open, and its bytes are read.
    Streaming {
        /// When it was opened.
        since: Duration,
        /// Whether at least one byte has arrived.
        received: bool,
        /// Whether it has lasted long enough to count as a success.
        healthy: bool,
    },
    /// Nothing is under way: the next connect or poll is due later.
    Waiting,
    /// The poll function is running.
    Polling,
    /// The end, and why.
    Stopped(StopReason),
}
