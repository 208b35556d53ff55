//! What is counted on the way.

use std::time::Duration;

/// Of a hundred nodes, so many.
pub const SHARES: [u32; 3] = [50, 99, 100];

pub struct Books {
    nodes: u32,
    open: u32,
    stopped: u32,
    seconds: Vec<Second>,
    /// When the streams last rose to each of the shares, while they are there.
    back_at: [Option<Duration>; 3],
    refused: u64,
    fetches: u64,
    polls: u64,
    connects: u64,
    registrations: u64,
}

/// One second of the run.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Second {
    /// Connects, polls and registrations that reached the server.
    pub reached: u32,
    /// Those that found none.
    pub lost: u32,
    /// The streams that were open at its end.
    pub open: u32,
}

/// The result of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    pub nodes: u32,
    pub seconds: Vec<Second>,
    /// From the end of the trouble until so many are back for good; `None` if they never were.
    pub back: [Option<Duration>; 3],
    /// The most requests that reached the server in one second.
    pub peak: u32,
    /// Connects that failed although the server was there.
    pub refused: u64,
    pub connects: u64,
    /// State fetches: one a connect that succeeded, one a poll that did.
    pub fetches: u64,
    pub polls: u64,
    pub registrations: u64,
    pub stopped: u32,
}

impl Books {
    pub fn new(nodes: u32) -> Self {
        Self {
            nodes,
            open: nodes,
            stopped: 0,
            seconds: Vec::new(),
            back_at: [Some(Duration::ZERO); 3],
            refused: 0,
            fetches: 0,
            polls: 0,
            connects: 0,
            registrations: 0,
        }
    }

    pub fn connect(&mut self, now: Duration, reached: bool, failed: bool) {
        self.connects += 1;
        self.refused += u64::from(reached && failed);
        self.arrives(now, reached);
    }

    pub fn poll(&mut self, now: Duration, reached: bool, succeeds: bool) {
        self.polls += 1;
        self.fetches += u64::from(succeeds);
        self.arrives(now, reached);
    }

    pub fn registration(&mut self, now: Duration) {
        self.registrations += 1;
        self.arrives(now, true);
    }

    pub fn opened(&mut self, now: Duration) {
        self.fetches += 1;
        // The seconds in which nothing happened had what was open until now.
        self.second(now);
        self.open += 1;
        self.second(now).open = self.open;
        for (share, back_at) in SHARES.iter().zip(&mut self.back_at) {
            if back_at.is_none() && is_share(self.open, self.nodes, *share) {
                *back_at = Some(now);
            }
        }
    }

    pub fn closed(&mut self, now: Duration) {
        // The seconds in which nothing happened had what was open until now.
        self.second(now);
        self.open -= 1;
        self.second(now).open = self.open;
        for (share, back_at) in SHARES.iter().zip(&mut self.back_at) {
            if !is_share(self.open, self.nodes, *share) {
                *back_at = None;
            }
        }
    }

    pub fn stopped(&mut self) {
        self.stopped += 1;
    }

    pub fn all_back(&self) -> bool {
        self.open + self.stopped == self.nodes
    }

    pub fn outcome(self, well_at: Duration) -> Outcome {
        Outcome {
            nodes: self.nodes,
            back: self.back_at.map(|at| at.map(|at| at.saturating_sub(well_at))),
            peak: self.seconds.iter().map(|second| second.reached).max().unwrap_or_default(),
            seconds: self.seconds,
            refused: self.refused,
            connects: self.connects,
            fetches: self.fetches,
            polls: self.polls,
            registrations: self.registrations,
            stopped: self.stopped,
        }
    }

    fn arrives(&mut self, now: Duration, reached: bool) {
        let second = self.second(now);
        match reached {
            true => second.reached += 1,
            false => second.lost += 1,
        }
    }

    fn second(&mut self, now: Duration) -> &mut Second {
        let index = now.as_secs() as usize;
        let open = self.open;
        while self.seconds.len() <= index {
            self.seconds.push(Second { open, ..Second::default() });
        }
        &mut self.seconds[index]
    }
}

fn is_share(part: u32, whole: u32, percent: u32) -> bool {
    u64::from(part) * 100 >= u64::from(whole) * u64::from(percent)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_share_is_back_when_it_is_there_for_good() {
        let mut books = Books::new(100);
        (0..100).for_each(|_| books.closed(Duration::ZERO));
        (0..60).for_each(|_| books.opened(SECOND * 2));
        (0..20).for_each(|_| books.closed(SECOND * 3));
        (0..59).for_each(|_| books.opened(SECOND * 9));
        assert!(!books.all_back());
        let outcome = books.outcome(SECOND * 2);
        assert_eq!(outcome.back, [Some(SECOND * 7), Some(SECOND * 7), None]);
        assert_eq!(outcome.seconds.len(), 10);
        assert_eq!(
            (outcome.seconds[2].open, outcome.seconds[5].open, outcome.seconds[9].open),
            (60, 40, 99)
        );
    }

    #[test]
    fn only_what_reaches_the_server_is_its_load() {
        let mut books = Books::new(2);
        books.connect(SECOND, false, true);
        books.connect(SECOND, true, true);
        books.connect(SECOND, true, false);
        books.poll(SECOND, true, true);
        let outcome = books.outcome(Duration::ZERO);
        assert_eq!((outcome.peak, outcome.refused, outcome.fetches), (3, 1, 1));
        assert_eq!(outcome.seconds[1].lost, 1);
    }
}
