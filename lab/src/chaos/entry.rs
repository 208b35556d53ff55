//! What an agent writes down: a line for each thing that happened to it.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

/// One line of an agent's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// When, since 1970.
    pub at: Duration,
    /// How many streams the agent had opened by then.
    pub streams: u64,
    /// How many fetches of the state had failed by then.
    pub failed_fetches: u64,
    pub what: What,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// The process began.
    Began,
    /// A handler got an event, and fared like this.
    Handled { event_id: String, mood: Mood },
    /// A state came, and its handler fared like this.
    State(Mood),
    /// An event or block was skipped; the id that it claimed.
    Skipped { reason: String, event_id: Option<String> },
    /// The cursor was saved.
    Saved { last_event_id: Option<String>, took: Duration },
    /// How many tasks are alive.
    Tasks(u64),
    /// A counter's value at the end.
    Counter { name: String, value: u64 },
    /// `start` has returned; its error, or where the stream would be resumed.
    Ended { error: Option<String>, last_event_id: Option<String> },
}

/// How a handler behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    Fine,
    /// It takes its time.
    Slow,
    Error,
    Panic,
    /// It never ends, and is dropped when its time is up.
    Hangs,
}

const MOODS: [(Mood, &str); 5] = [
    (Mood::Fine, "fine"),
    (Mood::Slow, "slow"),
    (Mood::Error, "error"),
    (Mood::Panic, "panic"),
    (Mood::Hangs, "hangs"),
];

impl Mood {
    /// Whether the handler fails.
    pub fn fails(self) -> bool {
        matches!(self, Self::Error | Self::Panic | Self::Hangs)
    }

    fn name(self) -> &'static str {
        MOODS.iter().find(|(mood, _)| *mood == self).map_or("", |(_, name)| name)
    }
}

/// The number at the end of an id such as `evt-17`.
pub fn number(event_id: &str) -> Option<u64> {
    event_id.rsplit('-').next()?.parse().ok()
}

pub fn now() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, streams, failed_fetches, what } = self;
        write!(f, "{}\t{streams}\t{failed_fetches}\t", at.as_micros())?;
        let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        match what {
            What::Began => f.write_str("began"),
            What::Handled { event_id, mood } => write!(f, "handled\t{event_id}\t{}", mood.name()),
            What::State(mood) => write!(f, "state\t{}", mood.name()),
            What::Skipped { reason, event_id } => {
                write!(f, "skipped\t{reason}\t{}", or_none(event_id))
            }
            What::Saved { last_event_id, took } => {
                write!(f, "saved\t{}\t{}", or_none(last_event_id), took.as_micros())
            }
            What::Tasks(count) => write!(f, "tasks\t{count}"),
            What::Counter { name, value } => write!(f, "counter\t{name}\t{value}"),
            What::Ended { error, last_event_id } => {
                write!(f, "ended\t{}\t{}", or_none(error), or_none(last_event_id))
            }
        }
    }
}

impl FromStr for Entry {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        parse(line).ok_or_else(|| format!("not a line of an agent's log: {line:?}"))
    }
}

fn parse(line: &str) -> Option<Entry> {
    let mut words = line.split('\t');
    let mut number = || words.next()?.parse::<u64>().ok();
    let (at, streams, failed_fetches) = (number()?, number()?, number()?);
    let name = words.next()?;
    let mut text = || words.next().map(str::to_owned);
    let optional = |text: String| (text != "-").then_some(text);
    let mood = |text: String| MOODS.iter().find(|(_, name)| *name == text).map(|(mood, _)| *mood);
    let what = match name {
        "began" => What::Began,
        "handled" => What::Handled { event_id: text()?, mood: mood(text()?)? },
        "state" => What::State(mood(text()?)?),
        "skipped" => What::Skipped { reason: text()?, event_id: optional(text()?) },
        "saved" => What::Saved {
            last_event_id: optional(text()?),
            took: Duration::from_micros(text()?.parse().ok()?),
        },
        "tasks" => What::Tasks(text()?.parse().ok()?),
        "counter" => What::Counter { name: text()?, value: text()?.parse().ok()? },
        "ended" => What::Ended { error: optional(text()?), last_event_id: optional(text()?) },
        _ => return None,
    };
    let at = Duration::from_micros(at);
    text().is_none().then_some(Entry { at, streams, failed_fetches, what })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_as_it_was_written() {
        let id = || Some("17".to_owned());
        let mut all = vec![
            What::Began,
            What::State(Mood::Slow),
            What::Skipped { reason: "malformed".into(), event_id: None },
            What::Skipped { reason: "refused".into(), event_id: id() },
            What::Saved { last_event_id: id(), took: Duration::from_micros(9) },
            What::Tasks(3),
            What::Counter { name: "events".into(), value: 4 },
            What::Ended { error: None, last_event_id: id() },
        ];
        all.extend(MOODS.map(|(mood, _)| What::Handled { event_id: "evt-17".into(), mood }));
        for what in all {
            let entry =
                Entry { at: Duration::from_micros(12), streams: 3, failed_fetches: 1, what };
            assert_eq!(entry.to_string().parse(), Ok(entry));
        }
    }

    #[test]
    fn a_torn_line_is_not_taken_for_a_whole_one() {
        let line = "12\t3\t1\thandled\tevt-17\tfine";
        for end in 0..line.len() {
            assert!(line[..end].parse::<Entry>().is_err(), "{end}");
        }
        assert!(format!("{line}\tmore").parse::<Entry>().is_err());
        assert_eq!(number("evt-17"), Some(17));
        assert_eq!(number("evt"), None);
    }
}
