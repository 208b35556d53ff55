//! A run: the plan carried out, the agent's log judged.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use plexsphere_client::BoxError;

use super::entry::{Entry, Mood, What};
use super::faults;
use super::judge::{Claim, Evidence, Truth, counter, judge, longest_wait};
use super::plan::{Plan, Spec};
use super::report::{self, Row};
use super::steady::Trend;
use super::world::{LIMIT, World};

/// Between two looks at the agent's size, and between two lines of progress.
const BETWEEN_LOOKS: Duration = Duration::from_millis(100);
const BETWEEN_LINES: Duration = Duration::from_secs(10);

/// By how much memory may grow over a run, in KiB: an allocator is never quite at rest.
const MEMORY_GROWTH: f64 = 4_096.0;
/// By how much the number of tasks and of descriptors may.
const COUNT_GROWTH: f64 = 4.0;

/// The agent's size over the run.
#[derive(Default)]
struct Sizes {
    looked: Option<Instant>,
    memory: Vec<(f64, f64)>,
    descriptors: Vec<(f64, f64)>,
    tasks: Vec<(f64, f64)>,
}

/// Carries the plan out; `false` if a claim does not hold.
pub async fn run(plan: &Plan, trace: Option<PathBuf>) -> Result<bool, BoxError> {
    let (events, faults) = (plan.events(), plan.steps.len());
    println!("seed {}, plan {}: {events} events, {faults} faults", plan.seed, plan.digest());
    let folder = tempfile::tempdir()?;
    let began = Instant::now();
    let mut world = World::start(folder.path().join("token"), trace).await?;
    let mut sizes = Sizes::default();
    let carried_out = carry_out(&mut world, plan, &mut sizes, began).await;
    let mut claims = vec![Claim::new(
        "it went on whatever happened",
        carried_out.err().map(|problem| problem.to_string()),
    )];
    let ended = end(&mut world).await;
    claims.push(Claim::new("the process ended well", ended.err().map(|error| error.to_string())));
    let evidence = evidence(&world);
    claims.extend(judge(&evidence));
    claims.extend(others(&world, plan, &sizes));
    report::table("faults", &rows(&world.facts.happened));
    report::table("what came of it", &result(&world, &evidence.log, &sizes, began.elapsed()));
    let again =
        format!("cargo xtask chaos --seed {} --events {events} --faults {faults}", plan.seed);
    Ok(report::verdict(&claims, &again))
}

async fn carry_out(
    world: &mut World,
    plan: &Plan,
    sizes: &mut Sizes,
    began: Instant,
) -> Result<(), BoxError> {
    let mut said = Instant::now();
    for (number, step) in plan.steps.iter().enumerate() {
        let happened = faults::happen(world, step).await;
        happened.map_err(|problem| format!("{problem}; fault {number} was {:?}", step.fault))?;
        world.catch_up().await.map_err(|problem| {
            format!("{problem}; the latest fault was {number}, {:?}", step.fault)
        })?;
        sizes.look(world);
        if said.elapsed() >= BETWEEN_LINES {
            said = Instant::now();
            let events = world.log.progress().borrow().events;
            let (faults, seconds) = (plan.steps.len(), began.elapsed().as_secs());
            eprintln!("{seconds:4} s: {} of {faults} faults, {events} events", number + 1);
        }
    }
    world.stream_open().await?;
    world.publish(&Spec { event_type: "policy_updated", bytes: 0 });
    world.drain().await
}

/// Lets the agent fetch the state once more, and end.
async fn end(world: &mut World) -> Result<(), BoxError> {
    // A last new stream owes nobody a wait, and its state makes all good that went before.
    for _ in 0..5 {
        let states = world.log.progress().borrow().states;
        world.cut();
        if !world.log.until(LIMIT, |progress| progress.states > states || progress.ended).await {
            return Err(format!("no state within {LIMIT:?} after the last stream").into());
        }
        let entries = world.log.entries();
        let last = entries.iter().rev().find_map(|entry| match entry.what {
            What::State(mood) => Some(mood),
            _ => None,
        });
        if last.is_some_and(|mood| !mood.fails()) {
            break;
        }
    }
    world.agent.order("stop").await?;
    let status = tokio::time::timeout(LIMIT, world.agent.ended()).await;
    let status = status.map_err(|_| format!("it does not end within {LIMIT:?}"))??;
    world.log.until(LIMIT, |progress| progress.ended).await;
    match world.log.unreadable().first() {
        Some(line) => Err(line.clone().into()),
        None if !status.success() => Err(status.to_string().into()),
        None => Ok(()),
    }
}

/// The ground truth is the server's own log.
fn evidence(world: &World) -> Evidence {
    let facts = &world.facts;
    let published = world.mock.published_for(&world.node_id);
    let truth = published.iter().map(|event| Truth {
        event_id: event.event_id.clone(),
        genuine: event.genuine,
        timely: !facts.untimely.contains(&event.seq),
        fits: event.frame.len() <= super::child::EVENT_LIMIT,
        garbled: facts.garbled.contains(&event.seq),
        doubtful: facts.doubtful.contains(&event.seq),
    });
    Evidence {
        truth: truth.collect(),
        log: world.log.entries().clone(),
        held: facts.held.clone(),
        opened: world.answers().count("connect_sse", 200),
        last_id: world.last_id(),
    }
}

/// The claims that the log alone does not prove.
fn others(world: &World, plan: &Plan, sizes: &Sizes) -> Vec<Claim> {
    let facts = &world.facts;
    let happened: u64 = facts.happened.values().sum();
    let mut missed = facts.missed.clone();
    if happened != plan.steps.len() as u64 {
        missed.push(format!("{happened} of {} happened", plan.steps.len()));
    }
    let grown = |name: &str, samples: &[(f64, f64)], limit: f64| {
        let growth = Trend::of(samples).map_or(0.0, |trend| trend.growth());
        (growth > limit).then(|| format!("{name} grew by {growth:.0}, more than {limit:.0}"))
    };
    vec![
        Claim::new("every fault happened", missed),
        Claim::new("Retry-After was kept", world.answers().hasty(&facts.asked)),
        Claim::new("memory is flat", grown("KiB", &sizes.memory, MEMORY_GROWTH)),
        Claim::new("tasks are flat", grown("tasks", &sizes.tasks, COUNT_GROWTH)),
        Claim::new("sockets are flat", grown("descriptors", &sizes.descriptors, COUNT_GROWTH)),
        Claim::new("the server did not break", world.mock.failures()),
    ]
}

fn rows(counts: &BTreeMap<&'static str, u64>) -> Vec<Row> {
    let rows = counts.iter().map(|(name, count)| (name.to_string(), count.to_string()));
    rows.collect()
}

fn result(world: &World, log: &[Entry], sizes: &Sizes, took: Duration) -> Vec<Row> {
    let answers = world.answers();
    let mut skips: BTreeMap<String, u64> = BTreeMap::new();
    let mut handled = 0;
    for entry in log {
        match &entry.what {
            What::Skipped { reason, .. } => {
                *skips.entry(format!("skipped: {reason}")).or_default() += 1;
            }
            What::Handled { .. } => handled += 1,
            _ => {}
        }
    }
    let failing = |wanted: Mood| {
        let all = log.iter().filter(|entry| match entry.what {
            What::Handled { mood, .. } | What::State(mood) => mood == wanted,
            _ => false,
        });
        all.count()
    };
    let mut rows = vec![
        ("published".to_owned(), world.mock.published_for(&world.node_id).len().to_string()),
        ("of them honest, and sent intact or damaged".to_owned(), world.facts.honest.to_string()),
        ("of them damaged at least once".to_owned(), world.facts.garbled.len().to_string()),
        ("handled".to_owned(), handled.to_string()),
        (
            "came again and were not handled again".to_owned(),
            counter(log, "redelivered").to_string(),
        ),
        (
            "handlers that failed, panicked, hung".to_owned(),
            format!("{}, {}, {}", failing(Mood::Error), failing(Mood::Panic), failing(Mood::Hangs)),
        ),
        (
            "connects, and streams opened".to_owned(),
            format!("{}, {}", answers.of("connect_sse"), counter(log, "connections")),
        ),
        (
            "fetches of the state, and those that failed".to_owned(),
            format!("{}, {}", answers.of("fetch_state"), counter(log, "state failures")),
        ),
        ("longest wait from a skip to a state".to_owned(), report::seconds(longest_wait(log))),
    ];
    rows.extend(skips.into_iter().map(|(reason, count)| (reason, count.to_string())));
    for (name, samples) in [
        ("resident KiB", &sizes.memory),
        ("tasks", &sizes.tasks),
        ("descriptors", &sizes.descriptors),
    ] {
        if let Some(Trend { start, end, highest }) = Trend::of(samples) {
            let text = format!("{start:.0} to {end:.0}, highest {highest:.0}");
            rows.push((format!("{name}, after the warm-up"), text));
        }
    }
    rows.push(("time".to_owned(), report::seconds(took)));
    rows
}

impl Sizes {
    fn look(&mut self, world: &World) {
        if self.looked.is_some_and(|at| at.elapsed() < BETWEEN_LOOKS) {
            return;
        }
        self.looked = Some(Instant::now());
        let Some((memory, descriptors)) = world.agent.size() else { return };
        let progress = world.log.progress().borrow().clone();
        let at = progress.events as f64;
        self.memory.push((at, memory as f64));
        self.descriptors.push((at, descriptors as f64));
        self.tasks.push((at, progress.tasks as f64));
    }
}
