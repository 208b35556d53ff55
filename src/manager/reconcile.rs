//! When the state has to be fetched because the stream alone does not tell it.

use std::time::Duration;

/// The shortest time between two fetches while the stream is open.
pub(crate) const MIN_GAP: Duration = Duration::from_secs(1);
/// The longest, to which it doubles while gaps go on.
pub(crate) const MAX_GAP: Duration = Duration::from_secs(60);

/// Whether a fetch is owed, and from when on it may run. Pure: the time is passed in.
#[derive(Debug, Default)]
pub(crate) struct Reconcile {
    owed: bool,
    not_before: Duration,
    gap: Duration,
    /// Until when the server wants no fetch, whatever else speaks for one.
    held_until: Duration,
    /// Whether a new token has been tried since a fetch last went well.
    token_tried: bool,
}

impl Reconcile {
    /// Something was missed: a fetch is owed. Many requests make one fetch.
    pub(crate) fn request(&mut self) {
        self.owed = true;
    }

    /// A stream has opened: a fetch is owed, and at once.
    pub(crate) fn request_now(&mut self, now: Duration) {
        self.owed = true;
        self.not_before = now;
    }

    /// When a fetch is due; `None` while none is owed.
    pub(crate) fn due_at(&self) -> Option<Duration> {
        self.owed.then_some(self.free_at())
    }

    pub(crate) fn is_due(&self, now: Duration) -> bool {
        self.due_at().is_some_and(|at| at <= now)
    }

    /// From when on a fetch that is asked for may run.
    pub(crate) fn free_at(&self) -> Duration {
        self.not_before.max(self.held_until)
    }

    /// The server asked for no fetch before then. A new stream changes nothing about that.
    pub(crate) fn hold(&mut self, until: Duration) {
        self.held_until = self.held_until.max(until);
    }

    /// For how much longer it is held; zero if it is not.
    pub(crate) fn held_for(&self, now: Duration) -> Duration {
        self.held_until.saturating_sub(now)
    }

    /// A fetch went well. The next may follow after a gap, which doubles while they
    /// follow each other closely.
    pub(crate) fn done(&mut self, now: Duration) {
        self.owed = false;
        self.token_tried = false;
        self.widen(now);
    }

    /// A fetch failed: it stays owed, and waits longer each time.
    pub(crate) fn failed(&mut self, now: Duration) {
        self.owed = true;
        self.widen(now);
    }

    /// A fetch failed for its token, and there is another one: it is tried at once. If that
    /// is refused as well, the next one waits like after any failure.
    pub(crate) fn token_renewed(&mut self, now: Duration) {
        if !std::mem::replace(&mut self.token_tried, true) {
            self.not_before = now;
        }
    }

    fn widen(&mut self, now: Duration) {
        // A gap's length of silence after the gap itself ends the series.
        let quiet = now >= self.not_before.saturating_add(self.gap);
        self.gap = match quiet {
            true => MIN_GAP,
            false => (self.gap * 2).clamp(MIN_GAP, MAX_GAP),
        };
        self.not_before = now.saturating_add(self.gap);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn nothing_is_owed_at_first_and_many_requests_make_one_fetch() {
        let mut reconcile = Reconcile::default();
        assert!(!reconcile.is_due(secs(5)));
        reconcile.request();
        reconcile.request();
        assert!(reconcile.is_due(secs(5)));
        reconcile.done(secs(5));
        assert!(!reconcile.is_due(secs(500)));
    }

    #[test]
    fn while_gaps_go_on_the_fetches_move_apart_to_a_minute() {
        let (mut reconcile, mut now, mut at) = (Reconcile::default(), secs(100), Vec::new());
        for _ in 0..10 {
            reconcile.request();
            now = now.max(reconcile.due_at().unwrap());
            at.push(now.as_secs());
            reconcile.done(now);
        }
        let apart: Vec<u64> = at.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert_eq!(apart, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        now += secs(121);
        reconcile.request();
        assert!(reconcile.is_due(now));
        reconcile.done(now);
        reconcile.request();
        assert_eq!(reconcile.due_at(), Some(now + secs(1)), "silence ends the series");
    }

    #[test]
    fn a_failed_fetch_stays_owed_and_backs_off() {
        let mut reconcile = Reconcile::default();
        reconcile.request_now(secs(10));
        reconcile.failed(secs(10));
        assert!(!reconcile.is_due(secs(10)) && reconcile.is_due(secs(11)));
        reconcile.failed(secs(11));
        assert!(!reconcile.is_due(secs(12)) && reconcile.is_due(secs(13)));
    }

    #[test]
    fn a_new_token_is_tried_at_once_and_the_next_one_is_not() {
        let mut reconcile = Reconcile::default();
        reconcile.failed(secs(10));
        reconcile.token_renewed(secs(10));
        assert!(reconcile.is_due(secs(10)));
        reconcile.failed(secs(10));
        reconcile.token_renewed(secs(10));
        assert!(!reconcile.is_due(secs(11)) && reconcile.is_due(secs(12)));
        reconcile.done(secs(12));
        reconcile.failed(secs(20));
        reconcile.token_renewed(secs(20));
        assert!(reconcile.is_due(secs(20)), "after a success");
    }

    #[test]
    fn l4_what_the_server_asked_for_outlasts_a_new_stream() {
        let mut reconcile = Reconcile::default();
        reconcile.failed(secs(1));
        reconcile.hold(secs(30));
        reconcile.hold(secs(20));
        reconcile.request_now(secs(5));
        assert!(!reconcile.is_due(secs(29)) && reconcile.is_due(secs(30)));
        assert_eq!(reconcile.free_at(), secs(30));
        assert_eq!(reconcile.held_for(secs(12)), secs(18));
        assert_eq!(reconcile.held_for(secs(31)), secs(0));
    }

    #[test]
    fn a_new_stream_does_not_wait() {
        let mut reconcile = Reconcile::default();
        reconcile.request();
        reconcile.done(secs(1));
        reconcile.request_now(secs(1));
        assert!(reconcile.is_due(secs(1)));
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Request,
        RequestNow,
        /// A fetch, if one is due, that works or fails.
        Fetch(bool),
        Pass(u64),
    }

    fn any_steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            2 => Just(Step::Request),
            1 => Just(Step::RequestNow),
            4 => any::<bool>().prop_map(Step::Fetch),
            4 => prop_oneof![0..3_000_u64, 0..200_000_u64].prop_map(Step::Pass),
        ];
        proptest::collection::vec(step, 0..200)
    }

    proptest! {
        #[test]
        fn issue5_no_request_is_lost_and_no_fetch_comes_too_early_or_too_late(
            steps in any_steps(),
        ) {
            let (mut reconcile, mut now) = (Reconcile::default(), secs(0));
            // Whether one is owed, the last fetch and its gap, and whether a stream opened since.
            let (mut owed, mut last, mut opened) = (false, None::<(Duration, Duration)>, false);
            for step in steps {
                match step {
                    Step::Request => {
                        reconcile.request();
                        owed = true;
                    }
                    Step::RequestNow => {
                        reconcile.request_now(now);
                        (owed, opened) = (true, true);
                        prop_assert!(reconcile.is_due(now));
                    }
                    Step::Fetch(works) if reconcile.is_due(now) => {
                        prop_assert!(owed, "a fetch that nobody asked for");
                        let apart = last.map(|(at, _)| now - at);
                        prop_assert!(opened || apart.is_none_or(|apart| apart >= MIN_GAP));
                        if works { reconcile.done(now) } else { reconcile.failed(now) }
                        let gap = reconcile.free_at() - now;
                        prop_assert!((MIN_GAP..=MAX_GAP).contains(&gap), "{:?}", gap);
                        // Right after each other the gaps double, after a pause they begin anew.
                        match last {
                            Some((at, before)) if !opened && now < at + before * 2 => {
                                prop_assert_eq!(gap, (before * 2).min(MAX_GAP));
                            }
                            Some(_) if opened => {}
                            _ => prop_assert_eq!(gap, MIN_GAP),
                        }
                        (owed, last, opened) = (!works, Some((now, gap)), false);
                    }
                    Step::Fetch(_) => {}
                    Step::Pass(millis) => now += Duration::from_millis(millis),
                }
                prop_assert_eq!(reconcile.due_at().is_some(), owed);
                let latest = last.map_or(now, |(at, _)| at + MAX_GAP).max(now);
                prop_assert!(reconcile.due_at().is_none_or(|at| at <= latest));
            }
        }
    }
}
