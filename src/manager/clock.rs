//! Time that goes on while the machine sleeps.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

/// How far the wall clock must run ahead of the timers' clock to count as a sleep.
const SLEEP: Duration = Duration::from_secs(5);

/// Time since the manager started, for the engine.
///
/// Timers stand still while a machine sleeps; the wall clock does not. A jump of the
/// wall clock forward, by sleep or by hand, brings what is due forward, which costs an
/// early attempt and no more; a jump backwards is ignored.
#[derive(Debug)]
pub(crate) struct Clock {
    origin: Instant,
    seen: (Instant, SystemTime),
    slept: Duration,
}

impl Clock {
    pub(crate) fn new() -> Self {
        let now = Instant::now();
        Self { origin: now, seen: (now, SystemTime::now()), slept: Duration::ZERO }
    }

    pub(crate) fn now(&mut self) -> Duration {
        self.at(Instant::now(), SystemTime::now())
    }

    fn at(&mut self, instant: Instant, wall: SystemTime) -> Duration {
        let ticked = instant - self.seen.0;
        let passed = wall.duration_since(self.seen.1).unwrap_or_default();
        if let Some(slept) = passed.checked_sub(ticked).filter(|slept| *slept >= SLEEP) {
            tracing::info!(?slept, "the wall clock jumped: the machine slept, or was set");
            self.slept += slept;
        }
        self.seen = (instant, wall);
        instant - self.origin + self.slept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sleep_counts_and_a_step_back_does_not() {
        let mut clock = Clock::new();
        let (start, wall) = clock.seen;
        let secs = Duration::from_secs;
        assert_eq!(clock.at(start + secs(10), wall + secs(10)), secs(10));
        assert_eq!(clock.at(start + secs(11), wall + secs(8 * 3600)), secs(8 * 3600));
        assert_eq!(clock.at(start + secs(12), wall), secs(8 * 3600 + 1));
        assert_eq!(clock.at(start + secs(13), wall + secs(2)), secs(8 * 3600 + 2));
    }
}
