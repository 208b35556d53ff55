//! The numbers of the reconnect engine, each with its name and its default.

use std::time::Duration;

/// Default of [`ReconnectSettings::base_interval`]: 1 s.
pub const DEFAULT_BASE_INTERVAL: Duration = Duration::from_secs(1);
/// Default of [`ReconnectSettings::max_interval`]: 60 s.
pub const DEFAULT_MAX_INTERVAL: Duration = Duration::from_secs(60);
/// Default of [`ReconnectSettings::reconnect_spread`]: none.
pub const DEFAULT_RECONNECT_SPREAD: Duration = Duration::ZERO;
/// Default of [`ReconnectSettings::polling_after`]: 5 minutes.
pub const DEFAULT_POLLING_AFTER: Duration = Duration::from_secs(5 * 60);
/// Default of [`ReconnectSettings::poll_interval`]: 60 s.
pub const DEFAULT_POLL_INTERVAL: Duration = Duration::from_secs(60);
/// Default of [`ReconnectSettings::slow_interval`]: 5 minutes.
pub const DEFAULT_SLOW_INTERVAL: Duration = Duration::from_secs(5 * 60);
/// Default of [`ReconnectSettings::slow_max_interval`]: 1 hour.
pub const DEFAULT_SLOW_MAX_INTERVAL: Duration = Duration::from_secs(60 * 60);
/// Default of [`ReconnectSettings::healthy_after`]: 60 s.
pub const HEALTHY_AFTER: Duration = Duration::from_secs(60);
/// The least time between a connect and one that a change of the network asks for: 1 s.
pub const NETWORK_CHANGE_GAP: Duration = Duration::from_secs(1);
/// After so many streams in a row that stood and brought no byte, the state is polled at once: 3.
pub const SILENCES_BEFORE_POLLING: u32 = 3;
/// The shortest interval that a setting can ask for: 10 ms. A shorter one is raised to it.
pub const MIN_INTERVAL: Duration = Duration::from_millis(10);

/// What to do when the control plane refuses the node for good: 401 without a new token, 403 and 404.
///
/// An HTML page under these statuses never counts as a refusal: it comes from something in between.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum FailurePolicy {
    /// Stop and say why. This is what the contract page asks for, and the default.
    #[default]
    Contract,
    /// Never stop: keep trying on the slow schedule (5 minutes doubling to 1 hour), woken at once by a new token.
    Persistent,
}

/// How a [`ReconnectEngine`](super::ReconnectEngine) paces itself.
///
/// Every wait made from these intervals is jittered by ±25 %, so the longest wait is a quarter longer than its cap; the
/// first one after a healthy stream is longer by the spread.
/// Values that make no sense are mended, not refused: an interval under [`MIN_INTERVAL`] is raised to it, and a cap
/// under its base is raised to the base.
///
/// ```
/// use std::time::Duration;
/// use plexsphere_client::reconnect::{FailurePolicy, ReconnectSettings};
///
/// let mut settings = ReconnectSettings::default();
/// settings.max_interval = Duration::from_secs(30);
/// settings.policy = FailurePolicy::Persistent;
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReconnectSettings {
    /// The first delay of the back-off, which doubles from there. Default: 1 s.
    pub base_interval: Duration,
    /// The cap of the back-off, before jitter. Default: 60 s.
    pub max_interval: Duration,
    /// Over how much more time the first reconnect after a healthy stream is spread, evenly, so that a fleet that loses
    /// its server in one moment does not come back in one. Default: none, for each lone reconnect would wait half of it.
    /// It helps when it is at least the time in which the server can take the whole fleet: `docs/fleet.md` has the
    /// figures. A server that sends `retry:` does the same for all at once.
    pub reconnect_spread: Duration,
    /// How long there may be no healthy stream before polling takes its place. Default: 5 minutes.
    /// [`Duration::MAX`] means never; a server that says it has no stream (204, 501) is polled all the same, and so is
    /// one whose streams stay without a byte ([`SILENCES_BEFORE_POLLING`]).
    pub polling_after: Duration,
    /// How often to poll while polling. Default: 60 s.
    pub poll_interval: Duration,
    /// The first delay of the slow schedule, which doubles from there. Default: 5 minutes.
    pub slow_interval: Duration,
    /// The cap of the slow schedule, before jitter. Default: 1 hour.
    pub slow_max_interval: Duration,
    /// How long a stream must have been open to count as a success. Default: 60 s.
    pub healthy_after: Duration,
    /// Whether a refusal for good stops the engine. Default: [`FailurePolicy::Contract`], it does.
    pub policy: FailurePolicy,
}

impl Default for ReconnectSettings {
    fn default() -> Self {
        Self {
            base_interval: DEFAULT_BASE_INTERVAL,
            max_interval: DEFAULT_MAX_INTERVAL,
            reconnect_spread: DEFAULT_RECONNECT_SPREAD,
            polling_after: DEFAULT_POLLING_AFTER,
            poll_interval: DEFAULT_POLL_INTERVAL,
            slow_interval: DEFAULT_SLOW_INTERVAL,
            slow_max_interval: DEFAULT_SLOW_MAX_INTERVAL,
            healthy_after: HEALTHY_AFTER,
            policy: FailurePolicy::default(),
        }
    }
}

impl ReconnectSettings {
    /// The same settings with every floor and cap in force.
    pub(super) fn mended(mut self) -> Self {
        self.base_interval = self.base_interval.max(MIN_INTERVAL);
        self.max_interval = self.max_interval.max(self.base_interval);
        self.poll_interval = self.poll_interval.max(MIN_INTERVAL);
        self.slow_interval = self.slow_interval.max(self.base_interval);
        self.slow_max_interval = self.slow_max_interval.max(self.slow_interval);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reconnect::backoff::MAX_RETRY_AFTER;

    #[test]
    fn the_numbers_are_those_of_the_documentation() {
        let seconds = |time: Duration| time.as_secs();
        assert_eq!([DEFAULT_BASE_INTERVAL, DEFAULT_MAX_INTERVAL].map(seconds), [1, 60]);
        assert_eq!([DEFAULT_POLLING_AFTER, DEFAULT_POLL_INTERVAL].map(seconds), [300, 60]);
        assert_eq!([DEFAULT_SLOW_INTERVAL, DEFAULT_SLOW_MAX_INTERVAL].map(seconds), [300, 3600]);
        assert_eq!([HEALTHY_AFTER, MAX_RETRY_AFTER].map(seconds), [60, 300]);
    }
}
