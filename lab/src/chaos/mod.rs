//! Chaos: an agent, a server, and everything that can go wrong between them.
//!
//! ```text
//!   plan ──▶ run ──▶ faults ──▶ server (mock) ◀── proxy ◀── agent (a process of its own)
//!             │                    │ published               │ its log
//!             └── judge ◀──────────┴─────────────────────────┘
//! ```

mod child;
mod entry;
mod faults;
mod judge;
mod kills;
mod parent;
mod plan;
mod proxy;
mod report;
mod run;
mod steady;
mod world;

use std::path::PathBuf;

use lexopt::prelude::*;
use plexsphere_client::BoxError;

pub use child::run as agent;
use plan::Plan;

pub const USAGE: &str = "  --seed N             decides the plan; default another one each time
  --events N           how many honest events are published; default 3000
  --faults N           how many faults happen, at most one an event; default 300
  --kills N            kills the agent so many times instead, and lets it resume
  --plan               prints the faults that are planned, and does nothing
  --trace FILE         adds the client's own log lines to this file";

struct Options {
    seed: u64,
    events: usize,
    faults: usize,
    kills: Option<usize>,
    trace: Option<PathBuf>,
    only_plan: bool,
}

/// The task `chaos`.
pub fn run(words: &[String]) -> Result<bool, BoxError> {
    let options = parse(words)?;
    if options.only_plan {
        let plan = Plan::new(options.seed, options.events, options.faults);
        plan.steps.iter().enumerate().for_each(|(n, step)| println!("{n:6} {:?}", step.fault));
        return Ok(true);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let Options { seed, events, faults, kills, trace, .. } = options;
    let held = match kills {
        Some(kills) => runtime.block_on(kills::run(seed, kills, trace)),
        None => runtime.block_on(run::run(&Plan::new(seed, events, faults), trace)),
    };
    // What goes wrong from here on is no fault of the words.
    Ok(held.unwrap_or_else(|problem| {
        println!("the run broke off: {problem}");
        false
    }))
}

fn parse(words: &[String]) -> Result<Options, BoxError> {
    let mut options = Options {
        seed: u64::from(std::process::id()) ^ entry::now().as_micros() as u64,
        events: 3_000,
        faults: 300,
        kills: None,
        trace: None,
        only_plan: false,
    };
    let mut parser = lexopt::Parser::from_args(words);
    while let Some(word) = parser.next()? {
        match word {
            Long("seed") => options.seed = parser.value()?.parse()?,
            Long("events") => options.events = parser.value()?.parse()?,
            Long("faults") => options.faults = parser.value()?.parse()?,
            Long("kills") => options.kills = Some(parser.value()?.parse()?),
            Long("plan") => options.only_plan = true,
            Long("trace") => options.trace = Some(parser.value()?.into()),
            other => return Err(other.unexpected().into()),
        }
    }
    if options.faults == 0 || options.faults > options.events {
        return Err("faults: at least one, and at most one an event".into());
    }
    if options.kills == Some(0) {
        return Err("kills: at least one".into());
    }
    Ok(options)
}
