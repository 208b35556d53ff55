//! A control plane that can take so many connects a second, in virtual time.

use std::ops::RangeInclusive;
use std::time::Duration;

use plexsphere_client::reconnect::{Failure, FailureAction, classify};

use super::model::between;

/// How long a connect or a poll is on its way when nothing holds it up.
pub const ROUND_TRIP: Duration = Duration::from_millis(50);
/// The client's limits: `Config::connect_timeout` and `Config::header_timeout`.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);

/// What it does with more than it can take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overload {
    /// It answers 503 as soon as more than this much work waits.
    Sheds(Duration),
    /// It lets all wait, and works for those too that have given up by then.
    Drowns,
}

/// How it is at a moment, for a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Weather {
    Up,
    /// Nothing listens.
    Refused,
    /// Packets vanish.
    BlackHole,
    /// 503 to all, with a `Retry-After` out of this range of seconds.
    Busy(RangeInclusive<u64>),
    /// 401 to any token but one that was issued since.
    Revoked,
}

impl Weather {
    /// Whether a request reaches the server at all.
    pub fn reaches(&self) -> bool {
        !matches!(self, Self::Refused | Self::BlackHole)
    }
}

/// What becomes of a request.
pub type Fate = Result<(), FailureAction>;

pub struct Server {
    /// The time that one connect takes, with the fetch of the state behind it.
    work: Duration,
    overload: Overload,
    /// Seconds of `Retry-After` in the 503 of an overload.
    retry_after: Option<RangeInclusive<u64>>,
    free_at: Duration,
}

impl Server {
    pub fn new(
        capacity: f64,
        overload: Overload,
        retry_after: Option<RangeInclusive<u64>>,
    ) -> Self {
        let work = Duration::from_secs_f64(1.0 / capacity);
        Self { work, overload, retry_after, free_at: Duration::ZERO }
    }

    /// A connect with its fetch of the state, a poll or a registration: one piece of work each.
    /// Gives the time when the node learns its fate.
    pub fn request(&mut self, weather: &Weather, now: Duration, random: u64) -> (Duration, Fate) {
        match weather {
            Weather::Refused => (now + ROUND_TRIP, Err(action(None, None))),
            Weather::BlackHole => (now + CONNECT_TIMEOUT, Err(action(None, None))),
            Weather::Revoked => (now + ROUND_TRIP, Err(action(Some(401), None))),
            Weather::Busy(range) => (now + ROUND_TRIP, Err(busy(Some(range), random))),
            Weather::Up => self.queue(now, random),
        }
    }

    fn queue(&mut self, now: Duration, random: u64) -> (Duration, Fate) {
        let waits = self.free_at.saturating_sub(now);
        if matches!(self.overload, Overload::Sheds(limit) if waits > limit) {
            return (now + ROUND_TRIP, Err(busy(self.retry_after.as_ref(), random)));
        }
        self.free_at = self.free_at.max(now) + self.work;
        let answered = self.free_at - now + ROUND_TRIP;
        match answered > HEADER_TIMEOUT {
            true => (now + HEADER_TIMEOUT, Err(action(None, None))),
            false => (now + answered, Ok(())),
        }
    }
}

fn busy(range: Option<&RangeInclusive<u64>>, random: u64) -> FailureAction {
    let said = range.map(|range| {
        let [first, last] = [*range.start(), *range.end()].map(Duration::from_secs);
        // To the second, as the header has it.
        Duration::from_secs(
            between(first, last + Duration::from_secs(1), random).as_secs().min(*range.end()),
        )
    });
    action(Some(503), said)
}

fn action(status: Option<u16>, retry_after: Option<Duration>) -> FailureAction {
    let mut failure = Failure::default();
    failure.status = status;
    failure.retry_after = retry_after;
    classify(&failure)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn it_takes_its_capacity_and_sheds_the_rest() {
        let mut server = Server::new(10.0, Overload::Sheds(SECOND), Some(7..=7));
        let fates: Vec<(Duration, Fate)> =
            (0..100).map(|_| server.request(&Weather::Up, SECOND, 0)).collect();
        let (taken, shed): (Vec<_>, Vec<_>) = fates.into_iter().partition(|(_, fate)| fate.is_ok());
        assert_eq!(taken.len(), 11, "a second's work and the one that is over it");
        let wait = FailureAction::RespectServer { retry_after: Some(SECOND * 7) };
        assert!(shed.iter().all(|fate| *fate == (SECOND + ROUND_TRIP, Err(wait))));
        assert!(server.request(&Weather::Up, SECOND * 3, 0).1.is_ok(), "the queue has emptied");
    }

    #[test]
    fn one_that_drowns_works_for_those_who_left() {
        let mut server = Server::new(1.0, Overload::Drowns, None);
        for _ in 0..40 {
            server.request(&Weather::Up, Duration::ZERO, 0);
        }
        let (at, fate) = server.request(&Weather::Up, Duration::ZERO, 0);
        assert_eq!((at, fate), (HEADER_TIMEOUT, Err(FailureAction::RetryTransient)));
        assert!(server.request(&Weather::Up, SECOND * 20, 0).1.is_ok(), "after 22 s of waiting");
    }

    #[test]
    fn retry_after_is_spread_over_its_range() {
        let seen: Vec<u64> = (0..1000_u64)
            .map(|n| match busy(Some(&(10..=19)), n.wrapping_mul(0x9E37_79B9_7F4A_7C15)) {
                FailureAction::RespectServer { retry_after: Some(said) } => said.as_secs(),
                other => panic!("{other:?}"),
            })
            .collect();
        for second in 10..=19 {
            assert!(seen.iter().filter(|said| **said == second).count() > 50, "{second}");
        }
    }
}
