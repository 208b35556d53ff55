//! The words of the command line.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use plexsphere_client::BoxError;

use super::scenario::{Knobs, NAMES};
use super::server::Overload;

pub struct Options {
    pub nodes: u32,
    pub scenarios: Vec<String>,
    pub seed: u64,
    /// Connects a second, each with the fetch of the state behind it.
    pub capacity: f64,
    pub overload: Overload,
    pub retry_after: Option<RangeInclusive<u64>>,
    pub knobs: Knobs,
    spreads: Vec<Duration>,
    retries: Vec<Duration>,
    pub out: Option<PathBuf>,
}

/// What is compared within a scenario. `None` is the default.
#[derive(Debug, Clone, Copy)]
pub struct Variant {
    pub spread: Option<Duration>,
    pub retry: Option<Duration>,
}

impl Variant {
    pub fn name(&self) -> String {
        match (self.spread, self.retry) {
            (None, None) => "as it is".to_owned(),
            (Some(spread), None) => format!("spread {} s", spread.as_secs_f64()),
            (None, Some(retry)) => format!("retry: {} s", retry.as_secs_f64()),
            (Some(spread), Some(retry)) => {
                format!("spread {} s, retry: {} s", spread.as_secs_f64(), retry.as_secs_f64())
            }
        }
    }
}

/// The whole fleet fits in this many seconds, unless `--capacity` says otherwise.
const SECONDS_FOR_ALL: f64 = 50.0;

pub const USAGE: &str = "  --nodes N            default 100000
  --scenario NAME      restart, crash, rolling, outage, black-hole, retry-after, revoked, flapping;
                       may be given again; default all
  --seed N             default 1
  --capacity N         connects a second; default a fiftieth of the nodes
  --queue SECONDS      how much work may wait before it answers 503; default 5
  --drown              no 503: it lets all wait
  --retry-after A..B   seconds in that 503, spread from A to B; default none
  --busy A..B          the same in the scenario retry-after; default 60..60
  --down SECONDS       how long a restart or a crash takes; default 5
  --spread SECONDS     the client's reconnect_spread; may be given again, to compare
  --retry SECONDS      the server's retry:, of which the client takes 60 at most; may be given
                       again, to compare
  --out FOLDER         writes charts there";

impl Options {
    pub fn parse(words: &[String]) -> Result<Self, BoxError> {
        use lexopt::prelude::*;
        let mut options = Self {
            nodes: 100_000,
            scenarios: Vec::new(),
            seed: 1,
            capacity: 0.0,
            overload: Overload::Sheds(Duration::from_secs(5)),
            retry_after: None,
            knobs: Knobs::default(),
            spreads: Vec::new(),
            retries: Vec::new(),
            out: None,
        };
        let mut parser = lexopt::Parser::from_args(words);
        while let Some(word) = parser.next()? {
            match word {
                Long("nodes") => options.nodes = parser.value()?.parse()?,
                Long("scenario") => options.scenarios.push(scenario(parser.value()?.string()?)?),
                Long("seed") => options.seed = parser.value()?.parse()?,
                Long("capacity") => options.capacity = parser.value()?.parse()?,
                Long("queue") => options.overload = Overload::Sheds(seconds(&mut parser)?),
                Long("drown") => options.overload = Overload::Drowns,
                Long("retry-after") => options.retry_after = Some(range(&mut parser)?),
                Long("busy") => options.knobs.busy = range(&mut parser)?,
                Long("down") => options.knobs.down = seconds(&mut parser)?,
                Long("spread") => options.spreads.push(seconds(&mut parser)?),
                Long("retry") => options.retries.push(seconds(&mut parser)?),
                Long("out") => options.out = Some(parser.value()?.into()),
                other => return Err(other.unexpected().into()),
            }
        }
        if options.nodes == 0 {
            return Err("--nodes is 0: give at least 1".into());
        }
        if !(options.capacity.is_finite() && options.capacity >= 0.0) {
            return Err(
                "--capacity takes a number above 0, or 0 for a fiftieth of the nodes".into()
            );
        }
        if options.capacity == 0.0 {
            options.capacity = (f64::from(options.nodes) / SECONDS_FOR_ALL).max(1.0);
        }
        if options.scenarios.is_empty() {
            options.scenarios = NAMES.map(str::to_owned).into();
        }
        Ok(options)
    }

    /// The default when nothing is to be compared; else one for each word.
    pub fn variants(&self) -> Vec<Variant> {
        let spreads =
            self.spreads.iter().map(|spread| Variant { spread: Some(*spread), retry: None });
        let retries =
            self.retries.iter().map(|retry| Variant { spread: None, retry: Some(*retry) });
        let all: Vec<_> = spreads.chain(retries).collect();
        match all.is_empty() {
            true => vec![Variant { spread: None, retry: None }],
            false => all,
        }
    }
}

fn scenario(name: String) -> Result<String, BoxError> {
    match NAMES.contains(&name.as_str()) {
        true => Ok(name),
        false => Err(format!("no scenario {name:?}; there are: {}", NAMES.join(", ")).into()),
    }
}

fn seconds(parser: &mut lexopt::Parser) -> Result<Duration, BoxError> {
    use lexopt::ValueExt;
    Ok(Duration::try_from_secs_f64(parser.value()?.parse()?)?)
}

fn range(parser: &mut lexopt::Parser) -> Result<RangeInclusive<u64>, BoxError> {
    use lexopt::ValueExt;
    let text = parser.value()?.string()?;
    let (first, last) = text.split_once("..").ok_or("a range is written A..B, in seconds")?;
    let (first, last) = (first.parse()?, last.parse()?);
    match first <= last {
        true => Ok(first..=last),
        false => Err(format!("{text}: the first is larger than the last").into()),
    }
}
