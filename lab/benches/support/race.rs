//! Runs contestants in turns, so that whatever else the machine does hits all alike.
//!
//! In each round every contestant runs once, in an order that is drawn anew: whoever follows
//! another finds the caches as that one left them. What counts is the processor time of this
//! one thread, on which all of a race happens, so that a busy machine falsifies little. What
//! is printed are medians over the rounds; the ratios are medians of the ratios within a
//! round, which a slow moment does not move.
//!
//! `--quick` runs a tenth of the rounds, `--race WORDS` only the races with these words in
//! their titles, and `--only NAME` one contestant, ten times and untimed, for a profiler.

use std::env;
use std::time::Duration;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

/// How long a contestant's turn takes, about.
const TURN: Duration = Duration::from_millis(8);

/// How much is run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// All: what the figures of `docs/performance.md` come from.
    Full,
    /// A tenth of the rounds: `--quick`.
    Quick,
    /// Each contestant once, to see that it works: without cargo's `--bench`, so in tests.
    Smoke,
}

/// What the command line asks for.
pub fn extent() -> Extent {
    let has = |word: &str| env::args().any(|argument| argument == word);
    match (has("--bench"), has("--quick")) {
        (_, true) => Extent::Quick,
        (true, false) => Extent::Full,
        (false, false) => Extent::Smoke,
    }
}

/// The word behind an option.
fn option(name: &str) -> Option<String> {
    env::args().skip_while(|argument| argument != name).nth(1)
}

/// Whether the command line asks for the race of this title; without `--race` it asks for all.
pub fn is_asked(title: &str) -> bool {
    option("--race").is_none_or(|words| title.contains(&words))
}

/// The processor time that this thread has had.
fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    // Neither is negative, and there are no more nanoseconds than fit a second.
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// One turn: does its work and says how many units it has done.
type Turn<'a> = Box<dyn FnMut() -> usize + 'a>;

/// Contestants that do the same work.
pub struct Race<'a> {
    title: String,
    unit: &'static str,
    rounds: usize,
    contestants: Vec<(String, Turn<'a>)>,
}

/// How one contestant fared.
pub struct Outcome {
    pub name: String,
    /// Nanoseconds a unit, median.
    pub nanos: f64,
    /// Its time over that of the first contestant, median within a round.
    pub ratio: f64,
}

impl<'a> Race<'a> {
    /// A race of so many rounds in the full extent. The first contestant is the measure.
    pub fn new(title: impl Into<String>, unit: &'static str, rounds: usize) -> Self {
        Self { title: title.into(), unit, rounds, contestants: Vec::new() }
    }

    pub fn add(&mut self, name: impl Into<String>, turn: impl FnMut() -> usize + 'a) {
        self.contestants.push((name.into(), Box::new(turn)));
    }

    /// Runs all and prints the table.
    pub fn run(mut self) -> Vec<Outcome> {
        if !is_asked(&self.title) {
            return Vec::new();
        }
        if let Some(only) = option("--only") {
            for (_, turn) in self.contestants.iter_mut().filter(|(name, _)| *name == only) {
                assert!((0..10).all(|_| turn() > 0));
            }
            return Vec::new();
        }
        let (rounds, turn) = match extent() {
            Extent::Full => (self.rounds, TURN),
            Extent::Quick => (self.rounds.div_ceil(10).max(3), TURN / 2),
            Extent::Smoke => (1, Duration::ZERO),
        };
        let repeats: Vec<usize> =
            self.contestants.iter_mut().map(|(_, run)| repeats(run, turn)).collect();
        let mut times = vec![Vec::with_capacity(rounds); self.contestants.len()];
        let mut order: Vec<usize> = (0..self.contestants.len()).collect();
        let mut random = ChaCha8Rng::seed_from_u64(1);
        for _ in 0..rounds {
            order.shuffle(&mut random);
            for &index in &order {
                let run = &mut self.contestants[index].1;
                times[index].push(nanos(run, repeats[index]));
            }
        }
        let outcomes = self.outcomes(&times);
        self.print(&outcomes, rounds);
        outcomes
    }

    fn outcomes(&self, times: &[Vec<f64>]) -> Vec<Outcome> {
        let named = self.contestants.iter().zip(times);
        let outcome = |((name, _), own): (&(String, Turn<'_>), &Vec<f64>)| {
            let ratios = own.iter().zip(&times[0]).map(|(own, first)| own / first);
            Outcome {
                name: name.clone(),
                nanos: median(own.clone()),
                ratio: median(ratios.collect()),
            }
        };
        named.map(outcome).collect()
    }

    fn print(&self, outcomes: &[Outcome], rounds: usize) {
        println!("\n### {}\n", self.title);
        println!("| | time, ratio | {0} | {0}s/s |\n|---|---:|---:|---:|", self.unit);
        for Outcome { name, nanos, ratio } in outcomes {
            println!("| {name} | {ratio:.2} | {} | {} |", time(*nanos), count(1e9 / nanos));
        }
        println!("\n{rounds} rounds, interleaved; medians.");
    }
}

fn repeats(turn: &mut Turn<'_>, target: Duration) -> usize {
    turn();
    let began = processor_time();
    turn();
    let took = processor_time() - began;
    (target.as_secs_f64() / took.as_secs_f64()).ceil().clamp(1.0, 1e6) as usize
}

/// Nanoseconds a unit.
fn nanos(turn: &mut Turn<'_>, repeats: usize) -> f64 {
    let began = processor_time();
    let units: usize = (0..repeats).map(|_| turn()).sum();
    (processor_time() - began).as_secs_f64() * 1e9 / units as f64
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() % 2 {
        0 => (values[middle - 1] + values[middle]) / 2.0,
        _ => values[middle],
    }
}

fn time(nanos: f64) -> String {
    match nanos {
        n if n < 1e3 => format!("{n:.0} ns"),
        n if n < 1e6 => format!("{:.2} µs", n / 1e3),
        n => format!("{:.2} ms", n / 1e6),
    }
}

fn count(number: f64) -> String {
    match number {
        n if n < 1e4 => format!("{n:.0}"),
        n if n < 1e6 => format!("{:.1} k", n / 1e3),
        n => format!("{:.2} M", n / 1e6),
    }
}
