//! Real intermediaries between an agent and a mock: what nginx, haproxy and a forward proxy
//! do to the stream and to the calls, and what the client makes of it.
//!
//! All run as children on loopback ports, with settings written to a folder that goes
//! when the task ends, as the children do.

mod agent;
mod certificates;
mod forward;
mod haproxy;
mod lane;
mod nginx;
mod programs;
mod trials;

use std::sync::Arc;
use std::time::{Duration, Instant};

use plexsphere_client::BoxError;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use certificates::Certificates;
use lane::{Lane, Through};
use programs::{Program, find};

pub const USAGE: &str = "  WORD                 only lines with it; default all";

/// How long the whole task may take.
const LIMIT: Duration = Duration::from_secs(60);

/// How many trials run at once. Each starts an agent, and a time limit must not run out
/// only because all do so in one moment.
const AT_ONCE: usize = 8;

/// What became of one trial: what was seen, or what should have been.
pub type Outcome = Result<String, String>;

/// One line of the table.
struct Row {
    through: String,
    transport: String,
    trial: String,
    outcome: Outcome,
}

/// Runs every trial, prints the table, and says whether all is as it should be.
pub fn run(words: &[String]) -> Result<bool, BoxError> {
    let only = match words {
        [] => "",
        [word] => word.as_str(),
        _ => return Err("more than one word".into()),
    };
    // Before anything is started: a program that is missing is no success.
    let [nginx, haproxy, tinyproxy] = ["nginx", "haproxy", "tinyproxy"].map(find);
    let (nginx, haproxy, tinyproxy) = (nginx?, haproxy?, tinyproxy?);
    let began = Instant::now();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let rows = runtime.block_on(async {
        tokio::select! {
            rows = tokio::time::timeout(LIMIT, all(&nginx, &haproxy, &tinyproxy, only)) => {
                rows.map_err(|_| format!("not done within {LIMIT:?}"))?
            }
            stopped = stopped() => Err(stopped.into()),
        }
    })?;
    if rows.is_empty() {
        return Err(format!("no line has the word {only:?}").into());
    }
    print(&rows);
    let failed = rows.iter().filter(|row| row.outcome.is_err()).count();
    println!("\n{} trials, {failed} failed, {:.1} s", rows.len(), began.elapsed().as_secs_f64());
    Ok(failed == 0)
}

/// Asked to stop from outside: the children are to go, too.
async fn stopped() -> &'static str {
    use tokio::signal::unix::{SignalKind, signal};
    match (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) {
        (Ok(mut terminate), Ok(mut interrupt)) => {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            "stopped from outside"
        }
        _ => std::future::pending().await,
    }
}

async fn all(
    nginx: &str,
    haproxy: &str,
    tinyproxy: &str,
    only: &str,
) -> Result<Vec<Row>, BoxError> {
    let dir = tempfile::tempdir()?;
    let certificates = Certificates::write_to(dir.path())?;
    let mut lanes = lane::all(&certificates)?;
    let of = |through| lanes.iter().filter(move |lane: &&Lane| lane.through == through);
    let nginx_file = nginx::write_to(dir.path(), of(Through::Nginx))?;
    let haproxy_file = haproxy::write_to(dir.path(), of(Through::Haproxy))?;
    let ports = |through| of(through).map(|lane| lane.port).collect::<Vec<u16>>();
    let (nginx_ports, haproxy_ports) = (ports(Through::Nginx), ports(Through::Haproxy));
    lanes.iter_mut().for_each(Lane::free_port);
    let path = dir.path().to_string_lossy().into_owned();
    let nginx_words = ["-p", &path, "-e", "nginx-error.log", "-c", &nginx_file];
    // They live until the trials are over, and end when they are dropped.
    let _nginx = Program::start(dir.path(), nginx, &nginx_words, &nginx_ports).await?;
    let haproxy_words = ["-db", "-f", &haproxy_file];
    let _haproxy = Program::start(dir.path(), haproxy, &haproxy_words, &haproxy_ports).await?;
    let forward = forward::Forward::start(dir.path(), tinyproxy).await?;

    let (mut trials, places) = (JoinSet::new(), Arc::new(Semaphore::new(AT_ONCE)));
    for lane in lanes {
        let [through, transport, trial] =
            [lane.through.name(), lane.transport.name(), lane.trial.name()].map(str::to_owned);
        if format!("{through} {transport} {trial}").contains(only) {
            let places = places.clone();
            trials.spawn(async move {
                let _place = places.acquire_owned().await;
                let outcome = trials::run(&lane).await;
                vec![Row { through, transport, trial, outcome }]
            });
        }
    }
    if "tinyproxy".contains(only) {
        trials.spawn(async move { forward.trials().await });
    }
    let mut rows: Vec<Row> = trials.join_all().await.into_iter().flatten().collect();
    rows.sort_by(|a, b| {
        (&a.through, &a.trial, &a.transport).cmp(&(&b.through, &b.trial, &b.transport))
    });
    Ok(rows)
}

fn print(rows: &[Row]) {
    let width = |of: fn(&Row) -> &str| rows.iter().map(|row| of(row).len()).max().unwrap_or(0);
    let (a, b, c) =
        (width(|row| &row.through), width(|row| &row.transport), width(|row| &row.trial));
    for Row { through, transport, trial, outcome } in rows {
        let (verdict, said) = match outcome {
            Ok(said) => ("ok    ", said),
            Err(said) => ("FAILED", said),
        };
        println!("{verdict}  {through:a$}  {transport:b$}  {trial:c$}  {said}");
    }
}
