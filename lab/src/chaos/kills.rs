//! The other form: the agent is killed at random moments under load, and resumes.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use plexsphere_client::events::DEFAULT_HANDLED_WINDOW;
use plexsphere_client::{BoxError, DEFAULT_SAVE_INTERVAL};
use plexsphere_mock::{Event, MockControlPlane};

use super::child::Orders;
use super::entry::{Entry, What, now, number};
use super::judge::Claim;
use super::parent::{Agent, Progress, write_token};
use super::plan::{Moment, moments, short_digest};
use super::report;
use super::world::LIMIT;

/// So many events are published at a time, and so much time lies between.
const BURST: usize = 5;
const BETWEEN_BURSTS: Duration = Duration::from_millis(5);
/// The server is not further ahead than this: less than the window of handled ids.
const MOST_AHEAD: u64 = DEFAULT_HANDLED_WINDOW as u64 / 4;
/// What the clocks of two processes and a loaded machine's scheduler may add.
const MARGIN: Duration = Duration::from_millis(400);
/// After a save the client rests for so many times as long as it took.
const REST: u32 = 10;

/// Kills the agent so many times; `false` if a claim does not hold.
pub async fn run(seed: u64, kills: usize, trace: Option<PathBuf>) -> Result<bool, BoxError> {
    let moments = moments(seed, kills);
    println!("seed {seed}, plan {}: {kills} kills", short_digest(&format!("{moments:?}")));
    let began = Instant::now();
    let folder = tempfile::tempdir()?;
    let mut load = Load::start(folder.path(), trace).await?;
    let mut killed = Vec::new();
    let lived = live_and_die(&mut load, &moments, &mut killed).await;
    let mut claims = vec![Claim::new(
        "it resumed after every kill",
        lived.err().map(|problem| problem.to_string()),
    )];
    load.tail.read()?;
    let published: Vec<String> =
        load.mock.published_for(&load.node_id).into_iter().map(|event| event.event_id).collect();
    let lives = Lives::of(&load.tail.entries, &killed);
    claims.extend(lives.claims(&published, kills));
    report::table("what came of it", &lives.rows(published.len(), kills, began.elapsed()));
    let again = format!("cargo xtask chaos --kills {kills} --seed {seed}");
    Ok(report::verdict(&claims, &again))
}

async fn live_and_die(
    load: &mut Load,
    moments: &[Moment],
    killed: &mut Vec<Duration>,
) -> Result<(), BoxError> {
    load.first_life().await?;
    for (number, moment) in moments.iter().enumerate() {
        let mut agent = load.agent()?;
        load.until_the(*moment).await.map_err(|problem| format!("life {number}: {problem}"))?;
        agent.kill()?;
        killed.push(now());
        agent.ended().await?;
        if (number + 1) % 50 == 0 {
            eprintln!("{} of {} kills, {} events", number + 1, moments.len(), load.last);
        }
    }
    load.last_life().await
}

/// A server that publishes all the time, and the log of all lives.
struct Load {
    mock: MockControlPlane,
    node_id: String,
    orders: Orders,
    tail: Tail,
    last: u64,
}

impl Load {
    async fn start(folder: &Path, trace: Option<PathBuf>) -> Result<Self, BoxError> {
        let mock =
            MockControlPlane::builder().keep_alive(Duration::from_millis(20)).start().await?;
        let node = mock.add_node("chaos");
        let (token_file, log) = (folder.join("token"), folder.join("log"));
        write_token(&token_file, &node.secret_key)?;
        let orders = Orders {
            url: mock.url(),
            node_id: node.node_id.clone(),
            signing_key: mock.signing_public_key(),
            token_file,
            log: Some(log.clone()),
            cursor: Some(folder.join("cursor.json")),
            trace,
            moody: false,
        };
        File::create(&log)?;
        let tail = Tail {
            file: File::open(log)?,
            held: Vec::new(),
            entries: Vec::new(),
            progress: Progress::default(),
        };
        Ok(Self { mock, node_id: node.node_id, orders, tail, last: 0 })
    }

    fn agent(&self) -> Result<Agent, BoxError> {
        Ok(Agent::start(&self.orders, None)?)
    }

    fn publish(&mut self) {
        let event = Event::raw("policy_updated", "{\"a\":\"payload of a usual size\"}");
        self.last = self.mock.publish_event(&self.node_id, event).seq;
    }

    /// Publishes for a moment, unless it is far ahead; then looks at the log.
    async fn go_on(&mut self) -> Result<(), BoxError> {
        if self.last < self.tail.progress.handled + MOST_AHEAD {
            (0..BURST).for_each(|_| self.publish());
        }
        tokio::time::sleep(BETWEEN_BURSTS).await;
        self.tail.read()
    }

    /// The first life is left alone until it has a position to resume from, and is ended in
    /// peace.
    async fn first_life(&mut self) -> Result<(), BoxError> {
        let mut agent = self.agent()?;
        let until = Instant::now() + LIMIT;
        let saved = |tail: &Tail| {
            tail.entries
                .iter()
                .any(|entry| matches!(&entry.what, What::Saved { last_event_id: Some(_), .. }))
        };
        while !saved(&self.tail) {
            if Instant::now() > until {
                return Err(format!("no first event within {LIMIT:?}").into());
            }
            self.publish();
            tokio::time::sleep(BETWEEN_BURSTS).await;
            self.tail.read()?;
        }
        agent.order("stop").await?;
        agent.ended().await?;
        Ok(())
    }

    async fn until_the(&mut self, moment: Moment) -> Result<(), BoxError> {
        let wait = match moment {
            Moment::AfterStart(wait) => wait,
            Moment::AfterEvent(wait) => {
                let (before, until) = (self.tail.progress.events, Instant::now() + LIMIT);
                while self.tail.progress.events == before {
                    if Instant::now() > until {
                        return Err(format!("no event within {LIMIT:?}").into());
                    }
                    self.go_on().await?;
                }
                wait
            }
        };
        let until = Instant::now() + wait;
        while Instant::now() + BETWEEN_BURSTS < until {
            self.go_on().await?;
        }
        tokio::time::sleep_until(until.into()).await;
        Ok(())
    }

    /// The last life handles all that is left.
    async fn last_life(&mut self) -> Result<(), BoxError> {
        let mut agent = self.agent()?;
        (0..BURST).for_each(|_| self.publish());
        let mut until = Instant::now() + LIMIT;
        while self.tail.progress.handled < self.last {
            let before = self.tail.progress.events;
            tokio::time::sleep(BETWEEN_BURSTS).await;
            self.tail.read()?;
            if self.tail.progress.events > before {
                until = Instant::now() + LIMIT;
            } else if Instant::now() > until {
                let handled = self.tail.progress.handled;
                return Err(format!("stuck at event {handled} of {}", self.last).into());
            }
        }
        agent.order("stop").await?;
        let ended = tokio::time::timeout(LIMIT, agent.ended()).await;
        ended.map_err(|_| format!("it does not end within {LIMIT:?}"))??;
        Ok(())
    }
}

/// Reads what is added to the log.
struct Tail {
    file: File,
    /// The beginning of a line whose end is not written yet.
    held: Vec<u8>,
    entries: Vec<Entry>,
    progress: Progress,
}

impl Tail {
    fn read(&mut self) -> Result<(), BoxError> {
        self.file.read_to_end(&mut self.held)?;
        while let Some(end) = self.held.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.held.drain(..=end).collect();
            // A kill may leave half a line, which says nothing: its event was not settled.
            if let Ok(entry) = String::from_utf8_lossy(&line).trim_end().parse::<Entry>() {
                self.progress.note(&entry.what);
                self.entries.push(entry);
            }
        }
        Ok(())
    }
}

/// What the log says of all lives together.
#[derive(Default)]
struct Lives {
    /// The ids in the order in which each was handled first.
    first: Vec<String>,
    again: Vec<Again>,
    /// Events that one life handled twice.
    twice: Vec<String>,
    /// Lives that handled something.
    busy: usize,
    lives: usize,
    saves: usize,
    slowest_save: Duration,
}

/// An event that was handled again after a kill.
struct Again {
    event_id: String,
    /// How long before the kill it was handled for the first time.
    age: Duration,
    /// Whether it had been saved by then.
    saved: bool,
}

impl Lives {
    fn of(log: &[Entry], killed: &[Duration]) -> Self {
        let mut lives = Self::default();
        // When each was handled last, and in which life.
        let mut handled: HashMap<&str, (Duration, usize)> = HashMap::new();
        let (mut saved, mut saved_before, mut last_busy) = (0, 0, 0);
        for entry in log {
            match &entry.what {
                What::Began => {
                    lives.lives += 1;
                    saved_before = saved;
                }
                What::Saved { last_event_id, took } => {
                    lives.saves += 1;
                    lives.slowest_save = lives.slowest_save.max(*took);
                    saved = last_event_id.as_deref().and_then(number).unwrap_or(0);
                }
                What::Handled { event_id, .. } => {
                    lives.busy += usize::from(last_busy != lives.lives);
                    last_busy = lives.lives;
                    let earlier = handled.insert(event_id, (entry.at, lives.lives));
                    lives.note(event_id, earlier, saved_before, killed);
                }
                _ => {}
            }
        }
        lives
    }

    /// Notes a handled event: whether it was handled before, in which life, and whether that
    /// life or one before it had saved it.
    fn note(
        &mut self,
        event_id: &str,
        earlier: Option<(Duration, usize)>,
        saved_before: u64,
        killed: &[Duration],
    ) {
        let event_id = event_id.to_owned();
        match earlier {
            None => self.first.push(event_id),
            Some((_, life)) if life == self.lives => self.twice.push(event_id),
            Some((at, _)) => {
                let kill = killed.iter().find(|kill| **kill >= at);
                let age = kill.map_or(Duration::MAX, |kill| *kill - at);
                // An event's number is its place in the stream, and so the id in its frame.
                let saved = number(&event_id).is_some_and(|number| number <= saved_before);
                self.again.push(Again { event_id, age, saved });
            }
        }
    }

    /// An event may be handled again if no save that was whole knew of it. A save begins 100 ms
    /// after the one before it, or later if that took long, and takes its time itself.
    fn bound(&self) -> Duration {
        let slow = self.slowest_save;
        DEFAULT_SAVE_INTERVAL.max(slow * REST) + slow * 2 + MARGIN
    }

    fn claims(&self, published: &[String], kills: usize) -> Vec<Claim> {
        let first = published.iter().position(|id| Some(id) == self.first.first());
        let expected = &published[first.unwrap_or(published.len())..];
        let lost = expected.len().saturating_sub(self.first.len());
        let wrong = expected.iter().zip(&self.first).find(|(wanted, got)| wanted != got);
        let bound = self.bound();
        let saved = self.again.iter().filter(|again| again.saved);
        let old = self.again.iter().filter(|again| again.age > bound);
        let idle = self.lives.saturating_sub(self.busy);
        vec![
            Claim::new("nothing was lost", (lost > 0).then(|| format!("{lost} events were lost"))),
            Claim::new(
                "in order",
                wrong.map(|(wanted, got)| format!("{got} came where {wanted} was due")),
            ),
            Claim::new(
                "no life handled an event twice",
                self.twice.iter().map(|id| format!("{id} was handled again")),
            ),
            Claim::new(
                "nothing that was saved was handled again",
                saved.map(|again| format!("{} was saved, and handled again", again.event_id)),
            ),
            Claim::new(
                "nor what was handled before the last save interval",
                old.map(|again| {
                    format!("{} was handled {:?} before the kill", again.event_id, again.age)
                }),
            ),
            Claim::new(
                "there was something to lose",
                (self.busy * 2 < kills).then(|| format!("{idle} lives handled nothing")),
            ),
        ]
    }

    fn rows(&self, published: usize, kills: usize, took: Duration) -> Vec<report::Row> {
        let interval = DEFAULT_SAVE_INTERVAL;
        let before = self.first.first().and_then(|id| number(id)).map_or(0, |number| number - 1);
        let within = self.again.iter().filter(|again| again.age <= interval).count();
        let oldest = self.again.iter().map(|again| again.age).max().unwrap_or_default();
        let row = |name: &str, value: String| (name.to_owned(), value);
        vec![
            row("published", published.to_string()),
            // What is published before the first position comes in with the state.
            row("before the first that was handled", before.to_string()),
            row("handled", self.first.len().to_string()),
            row("kills", kills.to_string()),
            row("lives that handled something", format!("{} of {}", self.busy, self.lives)),
            row("handled again after a kill", self.again.len().to_string()),
            row("of them handled at most 100 ms before it", within.to_string()),
            row("the oldest was handled before the kill by", format!("{oldest:.1?}")),
            row("and might have been by", format!("{:.1?}", self.bound())),
            row("saves, and the slowest", format!("{}, {:.1?}", self.saves, self.slowest_save)),
            row("time", report::seconds(took)),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn entry(at: u64, what: What) -> Entry {
        Entry { at: ms(at), streams: 1, failed_fetches: 0, what }
    }

    fn handled(at: u64, number: u64) -> Entry {
        let event_id = format!("evt-{number}");
        entry(at, What::Handled { event_id, mood: super::super::entry::Mood::Fine })
    }

    fn saved(at: u64, number: u64) -> Entry {
        entry(at, What::Saved { last_event_id: Some(number.to_string()), took: ms(5) })
    }

    /// Two kills, at 1000 and 2000. Event 3 was handled and not saved before the first, and
    /// comes again. Event 1 is published before there is a position.
    fn good() -> Vec<Entry> {
        vec![
            entry(1, What::Began),
            handled(10, 2),
            saved(20, 2),
            entry(100, What::Began),
            handled(950, 3),
            entry(1_100, What::Began),
            handled(1_200, 3),
            handled(1_300, 4),
            saved(1_400, 4),
            entry(2_100, What::Began),
            handled(2_200, 5),
        ]
    }

    fn broken(log: &[Entry]) -> Vec<&'static str> {
        let published: Vec<String> = (1..=5).map(|number| format!("evt-{number}")).collect();
        let lives = Lives::of(log, &[ms(1_000), ms(2_000)]);
        let claims = lives.claims(&published, 2);
        claims.iter().filter(|claim| !claim.broken.is_empty()).map(|claim| claim.name).collect()
    }

    #[test]
    fn what_was_not_saved_may_come_again() {
        assert_eq!(broken(&good()), <[&str; 0]>::default());
    }

    #[test]
    fn a_lost_event_and_disorder_are_found() {
        let mut log = good();
        log.pop();
        assert_eq!(broken(&log), ["nothing was lost"]);
        let mut log = good();
        log.remove(7);
        assert_eq!(broken(&log), ["nothing was lost", "in order"]);
        let mut log = good();
        log.swap(7, 10);
        assert_eq!(broken(&log), ["in order"]);
    }

    #[test]
    fn an_event_that_one_life_handles_twice_is_found() {
        let mut log = good();
        log.push(handled(2_300, 5));
        assert_eq!(broken(&log), ["no life handled an event twice"]);
    }

    #[test]
    fn an_event_that_was_saved_and_comes_again_is_found() {
        let mut log = good();
        log.insert(5, saved(960, 3));
        assert_eq!(broken(&log), ["nothing that was saved was handled again"]);
    }

    #[test]
    fn an_event_that_was_handled_long_before_the_kill_is_found() {
        let mut log = good();
        log[4] = handled(450, 3);
        assert_eq!(broken(&log), ["nor what was handled before the last save interval"]);
        // A save that took long explains it.
        log[2] = entry(20, What::Saved { last_event_id: Some("2".into()), took: ms(20) });
        assert_eq!(broken(&log), <[&str; 0]>::default());
    }

    #[test]
    fn lives_without_an_event_prove_nothing() {
        let log = [entry(1, What::Began), handled(10, 1), entry(20, What::Began)];
        let published = ["evt-1".to_owned()];
        let lives = Lives::of(&log, &[]);
        let claims = lives.claims(&published, 10);
        assert!(!claims.last().unwrap().broken.is_empty());
    }
}
