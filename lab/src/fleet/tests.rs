//! Small forms of the runs: each scenario ends well, the same each time, and within what the model can do.

use std::time::Duration;

use super::options::Options;
use super::*;

fn options(words: &str) -> Options {
    let words: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
    Options::parse(&words).unwrap()
}

fn outcome(words: &str, scenario: &str) -> Outcome {
    let options = options(words);
    let scenario = Scenario::named(scenario, &options.knobs).unwrap();
    simulate(&options, &options.variants()[0], &scenario)
}

#[test]
fn after_every_scenario_the_whole_fleet_is_back() {
    for scenario in scenario::NAMES {
        let outcome = outcome("--nodes 2000 --retry-after 5..30", scenario);
        assert!(outcome.back.iter().all(Option::is_some), "{scenario}: {:?}", outcome.back);
        assert_eq!(outcome.stopped, 0, "{scenario}");
        assert!(outcome.fetches >= 2000, "{scenario}: each connect fetches the state");
        assert!(outcome.connects >= 2000, "{scenario}");
        let reached: u64 = outcome.seconds.iter().map(|second| u64::from(second.reached)).sum();
        assert!(reached >= 2000 && u64::from(outcome.peak) <= reached, "{scenario}");
    }
}

#[test]
fn a_seed_is_a_run() {
    for scenario in ["restart", "black-hole", "revoked"] {
        let run = |seed: u64| outcome(&format!("--nodes 500 --seed {seed}"), scenario);
        assert_eq!(run(7), run(7), "{scenario}");
        assert_ne!(run(7), run(8), "{scenario}");
    }
}

#[test]
fn nobody_is_back_sooner_than_the_capacity_allows() {
    let outcome = outcome("--nodes 5000 --capacity 100 --scenario restart", "restart");
    let all = outcome.back[2].unwrap();
    assert!(all >= Duration::from_secs(49), "{all:?}: 5,000 at 100/s");
    let open = outcome.seconds.windows(2).map(|pair| pair[1].open.saturating_sub(pair[0].open));
    assert!(open.max().unwrap() <= 101, "no second takes more than the capacity");
}

#[test]
fn while_nothing_listens_nothing_reaches_the_server() {
    let outcome = outcome("--nodes 1000", "outage");
    let (during, after) = outcome.seconds.split_at(1800);
    assert_eq!(during.iter().map(|second| second.reached).max(), Some(0));
    assert!(during.iter().map(|second| u64::from(second.lost)).sum::<u64>() > 30_000);
    assert!(after.iter().any(|second| second.reached > 0));
    assert!(outcome.polls > 0, "polling began after five minutes");
}

#[test]
fn a_spread_takes_the_peak_off_a_restart() {
    let peak = |words: &str| outcome(&format!("--nodes 20000 {words} --down 0"), "restart").peak;
    let (bare, spread) = (peak("--spread 0"), peak("--spread 30"));
    assert!(bare > 15_000, "{bare}: all within the first second");
    assert!(spread < bare / 5, "{spread}");
    assert!(peak("--retry 30") < bare / 5, "the server's lever does the same");
}

#[test]
fn bad_words_are_refused() {
    let capacities = ["--capacity nan", "--capacity inf", "--capacity -5"];
    let others = ["--nodes 0", "--scenario none", "--retry-after 5..2", "--spread -1", "--what"];
    for bad in capacities.into_iter().chain(others) {
        let words: Vec<String> = bad.split(' ').map(str::to_owned).collect();
        assert!(Options::parse(&words).is_err(), "{bad}");
    }
}
