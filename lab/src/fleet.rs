//! `cargo xtask fleet`: the real engine, a fleet of it, against a control plane that can take so much.

mod books;
mod model;
mod options;
mod plot;
mod scenario;
mod server;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::time::{Duration, Instant};

use plexsphere_client::BoxError;
use plexsphere_client::reconnect::ReconnectSettings;

pub use self::options::USAGE;

use self::books::{Outcome, SHARES};
use self::model::Plan;
use self::options::{Options, Variant};
use self::plot::{Chart, Line, Scale, grouped};
use self::scenario::Scenario;
use self::server::Server;

/// Runs what the words ask for; see lab/README.md.
pub fn run(words: &[String]) -> Result<bool, BoxError> {
    let options = Options::parse(words)?;
    println!(
        "{} nodes, capacity {}/s, seed {}",
        grouped(options.nodes.into()),
        grouped(options.capacity as u64),
        options.seed
    );
    let mut all_back = true;
    for name in &options.scenarios {
        let scenario = Scenario::named(name, &options.knobs).ok_or("a scenario without a name")?;
        println!("\n{}: {}\n{HEAD}", scenario.name, scenario.what);
        let mut outcomes = Vec::new();
        for variant in options.variants() {
            let began = Instant::now();
            let outcome = simulate(&options, &variant, &scenario);
            println!("{}", row(&variant, &outcome, options.capacity, began.elapsed()));
            all_back &= outcome.back[2].is_some() && outcome.stopped == 0;
            outcomes.push((variant, outcome));
        }
        if let Some(folder) = &options.out {
            write_charts(folder, &options, &scenario, &outcomes)?;
        }
    }
    Ok(all_back)
}

fn simulate(options: &Options, variant: &Variant, scenario: &Scenario) -> Outcome {
    let mut settings = ReconnectSettings::default();
    if let Some(spread) = variant.spread {
        settings.reconnect_spread = spread;
    }
    let plan = Plan { nodes: options.nodes, seed: options.seed, settings, retry: variant.retry };
    let server = Server::new(options.capacity, options.overload, options.retry_after.clone());
    model::run(&plan, scenario, server)
}

const HEAD: &str = "\
| variant | peak/s | of capacity | failed at the server | 50 % back | 99 % | 100 % | connects | state fetches | run |
|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|";

fn row(variant: &Variant, outcome: &Outcome, capacity: f64, took: Duration) -> String {
    let Outcome { peak, refused, connects, fetches, .. } = outcome;
    let back = |share: usize| match outcome.back[share] {
        Some(time) => format!("{:.1} s", time.as_secs_f64()),
        None => "never".to_owned(),
    };
    let stopped = match outcome.stopped {
        0 => String::new(),
        count => format!(", {} stopped", grouped(count.into())),
    };
    format!(
        "| {}{stopped} | {} | {:.1} × | {} | {} | {} | {} | {} | {} | {:.1} s |",
        variant.name(),
        grouped((*peak).into()),
        f64::from(*peak) / capacity,
        grouped(*refused),
        back(0),
        back(1),
        back(2),
        grouped(*connects),
        grouped(*fetches),
        took.as_secs_f64(),
    )
}

/// Two charts: what reached the server, and who is back.
fn write_charts(
    folder: &Path,
    options: &Options,
    scenario: &Scenario,
    outcomes: &[(Variant, Outcome)],
) -> Result<(), BoxError> {
    std::fs::create_dir_all(folder)?;
    let until = outcomes.iter().map(|(_, outcome)| outcome.seconds.len()).max();
    let until = until.unwrap_or_default().max(10) as f64;
    let chart = |title: &str, y_label, scale, level, lines| Chart {
        title: format!("{}: {title} ({} nodes)", scenario.name, grouped(options.nodes.into())),
        y_label,
        lines,
        level,
        scale,
        until,
    };
    let load = outcomes.iter().map(|(variant, outcome)| Line {
        label: format!("{}\npeak {}/s", variant.name(), grouped(outcome.peak.into())),
        values: outcome.seconds.iter().map(|second| f64::from(second.reached)).collect(),
    });
    let level = (options.capacity, format!("capacity {}/s", grouped(options.capacity as u64)));
    let load = chart(
        "requests that reach the server",
        "per second; powers of ten",
        Scale::Powers,
        Some(level),
        load.collect(),
    );
    let share = |outcome: &Outcome, open: u32| f64::from(open) * 100.0 / f64::from(outcome.nodes);
    let back = outcomes.iter().map(|(variant, outcome)| Line {
        label: format!("{}\n{}", variant.name(), times(outcome)),
        values: outcome.seconds.iter().map(|second| share(outcome, second.open)).collect(),
    });
    let back = chart("streams that are open", "of all nodes", Scale::Percent, None, back.collect());
    for (kind, chart) in [("load", load), ("back", back)] {
        let path = folder.join(format!("{}-{kind}.svg", scenario.name));
        std::fs::write(&path, chart.svg())?;
        println!("{} is written", path.display());
    }
    Ok(())
}

/// When the shares were back, in short.
fn times(outcome: &Outcome) -> String {
    let time = |(share, back): (&u32, &Option<Duration>)| match back {
        Some(back) => format!("{share} %: {:.0} s", back.as_secs_f64()),
        None => format!("{share} %: never"),
    };
    SHARES.iter().zip(&outcome.back).skip(1).map(time).collect::<Vec<_>>().join(", ")
}
