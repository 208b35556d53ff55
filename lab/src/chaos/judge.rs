//! What an agent's log has to say, given what the server published.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::entry::{Entry, Mood, What};

/// How soon a fetch of the state has to follow a gap: the client lets a minute pass between
/// two, and a fetch may fail.
pub const RECONCILE_LIMIT: Duration = Duration::from_secs(75);

/// An event that the server published.
#[derive(Debug, Clone)]
pub struct Truth {
    pub event_id: String,
    /// Signed by the server's key.
    pub genuine: bool,
    /// Inside its time window.
    pub timely: bool,
    /// No larger than the client's limit.
    pub fits: bool,
    /// Damaged on its way, at least once.
    pub garbled: bool,
    /// Published while the client had no position to resume from.
    pub doubtful: bool,
}

impl Truth {
    fn may_be_handled(&self) -> bool {
        self.genuine && self.timely && self.fits
    }

    fn must_be_handled(&self) -> bool {
        self.may_be_handled() && !self.garbled && !self.doubtful
    }

    /// Whether its skip names its id: it was not damaged, and it was read.
    fn is_skipped_by_name(&self) -> bool {
        self.fits && !self.garbled
    }
}

/// All that is known of a run.
#[derive(Debug, Default)]
pub struct Evidence {
    /// What was published, in order.
    pub truth: Vec<Truth>,
    pub log: Vec<Entry>,
    /// When the server had asked for no fetches of the state.
    pub held: Vec<(Duration, Duration)>,
    /// How many streams the server opened.
    pub opened: u64,
    /// The id in the last event's frame.
    pub last_id: String,
}

/// Something that has to hold, and where it does not.
#[derive(Debug)]
pub struct Claim {
    pub name: &'static str,
    pub broken: Vec<String>,
}

impl Claim {
    pub fn new(name: &'static str, broken: impl IntoIterator<Item = String>) -> Self {
        Self { name, broken: broken.into_iter().collect() }
    }
}

/// Judges a run by its log.
pub fn judge(evidence: &Evidence) -> Vec<Claim> {
    let handled = handled(&evidence.log);
    vec![
        Claim::new("every intact event was handled", lost(evidence, &handled)),
        Claim::new("in order", disorder(evidence, &handled)),
        Claim::new("none was handled twice", twice(&handled)),
        Claim::new("none was handled that must not be", forged(evidence, &handled)),
        Claim::new("every other was reported", unreported(evidence, &handled)),
        Claim::new("the state was fetched after every gap", unreconciled(&evidence.log)),
        Claim::new("and before a new stream's first event", unprepared(evidence)),
        Claim::new("the counters tell what happened", miscounted(evidence)),
        Claim::new("it ended when it was told to", ending(evidence)),
    ]
}

/// The ids of the handled events, and where in the log.
fn handled(log: &[Entry]) -> Vec<(usize, &str)> {
    let found = log.iter().enumerate().filter_map(|(at, entry)| match &entry.what {
        What::Handled { event_id, .. } => Some((at, event_id.as_str())),
        _ => None,
    });
    found.collect()
}

fn lost(evidence: &Evidence, handled: &[(usize, &str)]) -> Vec<String> {
    let known: HashSet<&str> = handled.iter().map(|(_, id)| *id).collect();
    let must = evidence.truth.iter().filter(|truth| truth.must_be_handled());
    let lost = must.filter(|truth| !known.contains(truth.event_id.as_str()));
    lost.map(|truth| format!("{} was lost", truth.event_id)).collect()
}

fn places(evidence: &Evidence) -> HashMap<&str, usize> {
    let ids = evidence.truth.iter().map(|truth| truth.event_id.as_str());
    ids.enumerate().map(|(place, id)| (id, place)).collect()
}

fn disorder(evidence: &Evidence, handled: &[(usize, &str)]) -> Vec<String> {
    let places = places(evidence);
    let known: Vec<_> =
        handled.iter().filter_map(|(_, id)| places.get(id).map(|place| (*place, *id))).collect();
    let wrong = known.windows(2).filter(|pair| pair[0].0 > pair[1].0);
    wrong.map(|pair| format!("{} came after {}", pair[1].1, pair[0].1)).collect()
}

fn twice(handled: &[(usize, &str)]) -> Vec<String> {
    let mut known = HashSet::new();
    let again = handled.iter().filter(|(_, id)| !known.insert(*id));
    again.map(|(_, id)| format!("{id} was handled again")).collect()
}

fn forged(evidence: &Evidence, handled: &[(usize, &str)]) -> Vec<String> {
    let may: HashSet<&str> = evidence
        .truth
        .iter()
        .filter(|truth| truth.may_be_handled())
        .map(|truth| truth.event_id.as_str())
        .collect();
    let wrong = handled.iter().filter(|(_, id)| !may.contains(id));
    wrong.map(|(_, id)| format!("{id} was handled, and must not be")).collect()
}

/// An event that was not handled was skipped, and said to be, between the handled ones on
/// either side of it.
fn unreported(evidence: &Evidence, handled: &[(usize, &str)]) -> Vec<String> {
    let at: HashMap<&str, usize> = handled.iter().map(|(at, id)| (*id, *at)).collect();
    let mut broken = Vec::new();
    let (mut from, mut run) = (0, Vec::new());
    for truth in &evidence.truth {
        match at.get(truth.event_id.as_str()) {
            None => run.push(truth),
            Some(to) => {
                broken.extend(unreported_run(&evidence.log, from, *to, &run));
                (from, run) = (*to, Vec::new());
            }
        }
    }
    broken.extend(unreported_run(&evidence.log, from, evidence.log.len(), &run));
    broken
}

fn unreported_run(log: &[Entry], from: usize, to: usize, run: &[&Truth]) -> Vec<String> {
    let between = log.get(from..to).unwrap_or_default();
    let skips: Vec<Option<&str>> = between
        .iter()
        .filter_map(|entry| match &entry.what {
            What::Skipped { event_id, .. } => Some(event_id.as_deref()),
            _ => None,
        })
        .collect();
    let named: HashSet<&str> = skips.iter().flatten().copied().collect();
    let owed = run.iter().copied().filter(|truth| !truth.doubtful);
    let (by_name, other): (Vec<&Truth>, Vec<&Truth>) =
        owed.partition(|truth| truth.is_skipped_by_name());
    let known: HashSet<&str> = by_name.iter().map(|truth| truth.event_id.as_str()).collect();
    let unnamed = skips.iter().filter(|id| id.is_none_or(|id| !known.contains(id))).count();
    let mut broken: Vec<String> = by_name
        .iter()
        .filter(|truth| !named.contains(truth.event_id.as_str()))
        .map(|truth| format!("{} was neither handled nor reported", truth.event_id))
        .collect();
    if unnamed < other.len() {
        let ids: Vec<_> = other.iter().map(|truth| truth.event_id.as_str()).collect();
        broken.push(format!("{unnamed} reports for {}", ids.join(", ")));
    }
    broken
}

/// A gap is a skip, a handler that failed, or a new stream.
fn unreconciled(log: &[Entry]) -> Vec<String> {
    let mut broken = Vec::new();
    let mut next_state: Option<Duration> = None;
    for (at, entry) in log.iter().enumerate().rev() {
        if let What::State(_) = entry.what {
            next_state = Some(entry.at);
        }
        let streams_before = at.checked_sub(1).map_or(0, |before| log[before].streams);
        let gap = match &entry.what {
            What::Skipped { reason, .. } => Some(format!("a skip ({reason})")),
            What::Handled { event_id, mood } if mood.fails() => {
                Some(format!("a failing {event_id}"))
            }
            _ if entry.streams > streams_before => Some(format!("stream {}", entry.streams)),
            _ => None,
        };
        let Some(gap) = gap else { continue };
        match next_state.map(|next| next.saturating_sub(entry.at)) {
            None => broken.push(format!("no state after {gap}")),
            Some(wait) if wait > RECONCILE_LIMIT => {
                broken.push(format!("the state came {wait:?} after {gap}"));
            }
            Some(_) => {}
        }
    }
    broken.reverse();
    broken
}

/// The longest time from a skip to the next state.
pub fn longest_wait(log: &[Entry]) -> Duration {
    let (mut longest, mut next_state) = (Duration::ZERO, None);
    for entry in log.iter().rev() {
        match (&entry.what, next_state) {
            (What::State(_), _) => next_state = Some(entry.at),
            (What::Skipped { .. }, Some(next)) => {
                longest = longest.max(entry.at.abs_diff(next));
            }
            _ => {}
        }
    }
    longest
}

/// Before the first event of a stream the state was fetched, or could not be.
fn unprepared(evidence: &Evidence) -> Vec<String> {
    let mut broken = Vec::new();
    let (mut stream, mut fetched, mut failed_before, mut failed) = (0, false, 0, 0);
    for entry in &evidence.log {
        if entry.streams > stream {
            (stream, fetched, failed_before) = (entry.streams, false, failed);
        }
        failed = entry.failed_fetches;
        match entry.what {
            What::State(_) => fetched = true,
            What::Handled { ref event_id, .. } if !fetched => {
                let held = evidence.held.iter().any(|(from, to)| (*from..=*to).contains(&entry.at));
                if failed == failed_before && !held {
                    broken.push(format!("{event_id} came before the state on stream {stream}"));
                }
                fetched = true;
            }
            _ => {}
        }
    }
    broken
}

fn miscounted(evidence: &Evidence) -> Vec<String> {
    let log = &evidence.log;
    let count = |counts: &dyn Fn(&What) -> bool| {
        log.iter().filter(|entry| counts(&entry.what)).count() as u64
    };
    let moods = |wanted: Mood| {
        count(&|what| match what {
            What::Handled { mood, .. } | What::State(mood) => *mood == wanted,
            _ => false,
        })
    };
    let skips = count(&|what| matches!(what, What::Skipped { .. }));
    let said = |name: &str| counter(log, name);
    let kinds = said("malformed") + said("refused") + said("oversized");
    let mut broken = Vec::new();
    for (name, said, seen) in [
        ("events", said("events"), count(&|what| matches!(what, What::Handled { .. }))),
        ("skipped", said("skipped"), skips),
        ("malformed, refused and oversized", kinds, skips),
        ("states", said("states"), count(&|what| matches!(what, What::State(_)))),
        ("handler errors", said("handler errors"), moods(Mood::Error)),
        ("handler panics", said("handler panics"), moods(Mood::Panic)),
        ("handler timeouts", said("handler timeouts"), moods(Mood::Hangs)),
        ("tasks left", said("tasks left"), 0),
    ] {
        if said != seen {
            broken.push(format!("{name}: {said} counted, {seen} happened"));
        }
    }
    if said("connections") > evidence.opened {
        let (said, opened) = (said("connections"), evidence.opened);
        broken.push(format!("connections: {said} counted, {opened} streams were opened"));
    }
    broken
}

/// A counter's value at the end; `u64::MAX` if it was not said, which fits nothing.
pub fn counter(log: &[Entry], wanted: &str) -> u64 {
    let found = log.iter().rev().find_map(|entry| match &entry.what {
        What::Counter { name, value } if name == wanted => Some(*value),
        _ => None,
    });
    found.unwrap_or(u64::MAX / 4)
}

fn ending(evidence: &Evidence) -> Vec<String> {
    match evidence.log.last().map(|entry| &entry.what) {
        Some(What::Ended { error: Some(error), .. }) => vec![format!("it ended with: {error}")],
        Some(What::Ended { last_event_id, .. })
            if last_event_id.as_ref() != Some(&evidence.last_id) =>
        {
            let wanted = &evidence.last_id;
            vec![format!("it would resume after {last_event_id:?}, not after {wanted}")]
        }
        Some(What::Ended { .. }) => Vec::new(),
        _ => vec!["its log has no end".to_owned()],
    }
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
