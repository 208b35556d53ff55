//! The agent under test: a process of its own, so that it can be killed and its memory is
//! its own. It writes down what happens to it, and takes orders on its standard input.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use lexopt::prelude::*;
use plexsphere_client::events::{
    Checkpoint, CursorStore, Ed25519Verifier, FileCursorStore, SignedEnvelope,
};
use plexsphere_client::reconnect::ReconnectSettings;
use plexsphere_client::values::Secret;
use plexsphere_client::{
    BoxError, Config, ControlPlane, Counters, SkipReason, Skipped, SseManager, Status,
};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::sync::watch;

use super::entry::{Entry, Mood, What, now, number};

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Larger events are skipped: 64 KiB.
pub const EVENT_LIMIT: usize = 64 * 1024;
/// How long a silent stream is kept.
pub const IDLE_LIMIT: Duration = ms(250);
/// More than can be replayed in a run, and few enough to be full soon: memory is flat then.
const NONCES: usize = 8_192;
const HANDLER_LIMIT: Duration = ms(60);
const BETWEEN_PULSES: Duration = ms(100);

/// What the parent tells a new agent.
#[derive(Default)]
pub struct Orders {
    pub url: String,
    pub node_id: String,
    pub signing_key: String,
    /// Holds the token that is valid, or soon will be.
    pub token_file: PathBuf,
    /// Where the log goes; standard output without one.
    pub log: Option<PathBuf>,
    /// Where the position is kept over restarts.
    pub cursor: Option<PathBuf>,
    /// Where the client's own log lines go.
    pub trace: Option<PathBuf>,
    /// Whether handlers fail now and then.
    pub moody: bool,
}

impl Orders {
    /// The words that [`parse`](Self::parse) reads.
    pub fn words(&self) -> Vec<String> {
        let path = |path: &Path| path.display().to_string();
        let mut words = vec![
            format!("--url={}", self.url),
            format!("--node={}", self.node_id),
            format!("--signing-key={}", self.signing_key),
            format!("--token-file={}", path(&self.token_file)),
        ];
        words.extend(self.log.as_deref().map(|log| format!("--log={}", path(log))));
        words.extend(self.cursor.as_deref().map(|file| format!("--cursor={}", path(file))));
        words.extend(self.trace.as_deref().map(|file| format!("--trace={}", path(file))));
        words.extend(self.moody.then(|| "--moody".to_owned()));
        words
    }

    fn parse(words: &[String]) -> Result<Self, lexopt::Error> {
        let mut orders = Self::default();
        let mut parser = lexopt::Parser::from_args(words);
        while let Some(word) = parser.next()? {
            match word {
                Long("url") => orders.url = parser.value()?.string()?,
                Long("node") => orders.node_id = parser.value()?.string()?,
                Long("signing-key") => orders.signing_key = parser.value()?.string()?,
                Long("token-file") => orders.token_file = parser.value()?.into(),
                Long("log") => orders.log = Some(parser.value()?.into()),
                Long("cursor") => orders.cursor = Some(parser.value()?.into()),
                Long("trace") => orders.trace = Some(parser.value()?.into()),
                Long("moody") => orders.moody = true,
                other => return Err(other.unexpected()),
            }
        }
        Ok(orders)
    }
}

/// The task `chaos-agent`: started by the others, not by hand.
pub fn run(words: &[String]) -> Result<bool, BoxError> {
    let orders = Orders::parse(words)?;
    if let Some(path) = &orders.trace {
        let file = Mutex::new(File::options().create(true).append(true).open(path)?);
        let filter = tracing_subscriber::EnvFilter::new("plexsphere_client=debug");
        tracing_subscriber::fmt().with_ansi(false).with_env_filter(filter).with_writer(file).init();
    }
    // Handlers panic on purpose, thousands of times.
    std::panic::set_hook(Box::new(|panic| {
        if !panic.payload().is::<OnPurpose>() {
            eprintln!("{panic}");
        }
    }));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let lived = runtime.block_on(live(orders));
    // The thread that reads standard input hangs there for as long as the parent lives.
    runtime.shutdown_background();
    lived.map(|()| true)
}

struct OnPurpose;

async fn live(orders: Orders) -> Result<(), BoxError> {
    let token = read_token(&orders.token_file)?;
    let config = Config::new(&orders.url)?
        .connect_timeout(ms(1_000))
        .header_timeout(ms(1_000))
        .request_timeout(ms(1_000))
        .sse_idle_timeout(IDLE_LIMIT)
        .event_limit(EVENT_LIMIT);
    let plane = ControlPlane::new(config, "chaos")?;
    let current = Arc::new(Mutex::new(token.clone()));
    plane.set_auth_token(token)?;
    let verifier = Ed25519Verifier::new(&orders.signing_key)?.with_nonce_capacity(NONCES);
    let manager = SseManager::new(plane.clone(), verifier);
    let log = Log::open(orders.log.as_deref(), manager.status())?;
    log.add(What::Began);
    settings(&manager, &orders, &log)?;
    handlers(&manager, &orders, &log);
    tokens(&manager, &orders.token_file, &current);
    let ended = tokio::select! {
        ended = manager.start(&orders.node_id) => ended.err().map(|error| error.to_string()),
        error = obey(&manager, &plane, &current, &log) => return Err(error),
    };
    // The connections end in tasks of their own.
    let (status, log) = (manager.status(), log.clone());
    drop((manager, plane));
    pulse_until_alone(&log).await;
    let status = status.borrow().clone();
    for (name, value) in counters(&status) {
        log.add(What::Counter { name: name.to_owned(), value });
    }
    log.add(What::Ended { error: ended, last_event_id: status.last_event_id });
    Ok(())
}

/// Everything is quick, so that much happens in a short time.
fn settings(manager: &SseManager, orders: &Orders, log: &Log) -> Result<(), BoxError> {
    let mut reconnect = ReconnectSettings::default();
    reconnect.base_interval = ms(10);
    reconnect.max_interval = ms(40);
    reconnect.polling_after = ms(300);
    reconnect.poll_interval = ms(60);
    reconnect.slow_interval = ms(60);
    reconnect.slow_max_interval = ms(120);
    reconnect.healthy_after = ms(30);
    manager.set_reconnect_settings(reconnect);
    if let Some(path) = &orders.cursor {
        manager
            .set_cursor_store(NotedStore { store: FileCursorStore::new(path), log: log.clone() });
    }
    if orders.moody {
        manager.set_handler_time_limit(Some(HANDLER_LIMIT))?;
    }
    Ok(())
}

fn handlers(manager: &SseManager, orders: &Orders, log: &Log) {
    let (noted, moody) = (log.clone(), orders.moody);
    manager.on_every(move |event: Arc<SignedEnvelope>| {
        let event_id = event.event_id.clone();
        let mood = if moody { mood(number(&event_id).unwrap_or(0)) } else { Mood::Fine };
        let log = noted.clone();
        async move {
            // A handler that ends well is done before it says so, or a kill would come between.
            let note = What::Handled { event_id, mood };
            behave(mood, || log.add(note)).await
        }
    });
    let (noted, states) = (log.clone(), std::sync::atomic::AtomicU64::new(1));
    manager.on_state(move |_| {
        let count = states.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let mood = if moody { mood(count * 3) } else { Mood::Fine };
        let log = noted.clone();
        async move { behave(mood, || log.add(What::State(mood))).await }
    });
    let noted = log.clone();
    manager.on_skipped(move |skipped: &Skipped| {
        noted.add(What::Skipped { reason: reason(skipped), event_id: skipped.event_id.clone() });
    });
}

fn reason(skipped: &Skipped) -> String {
    let reason = match &skipped.reason {
        SkipReason::Malformed(_) => "malformed".to_owned(),
        SkipReason::Refused(error) => {
            let text = format!("{error:?}");
            text.split([' ', '(']).next().unwrap_or_default().to_owned()
        }
        SkipReason::ClockSkew(_) => "clock skew".to_owned(),
        SkipReason::Oversized => "oversized".to_owned(),
        other => format!("{other:?}"),
    };
    reason.replace(['\t', '\n'], " ")
}

/// By the number alone, so that the same event meets the same mood in every run.
fn mood(n: u64) -> Mood {
    match n {
        n if n % 997 == 500 => Mood::Hangs,
        n if n % 211 == 100 => Mood::Slow,
        n if n % 97 == 50 => Mood::Error,
        n if n % 101 == 50 => Mood::Panic,
        _ => Mood::Fine,
    }
}

async fn behave(mood: Mood, note: impl FnOnce()) -> Result<(), BoxError> {
    if mood == Mood::Slow {
        tokio::time::sleep(ms(15)).await;
    }
    note();
    match mood {
        Mood::Error => Err("a handler that fails".into()),
        Mood::Panic => std::panic::panic_any(OnPurpose),
        Mood::Hangs => std::future::pending().await,
        Mood::Fine | Mood::Slow => Ok(()),
    }
}

/// The token in use, whoever set it.
type Current = Arc<Mutex<String>>;

/// A refused token is looked up in the file, until another one stands there.
fn tokens(manager: &SseManager, file: &Path, current: &Current) {
    let (file, current) = (file.to_owned(), Arc::clone(current));
    manager.on_auth_failure(move || {
        let (file, current) = (file.clone(), Arc::clone(&current));
        async move {
            loop {
                let token = read_token(&file).unwrap_or_default();
                if !token.is_empty() && replace(&current, &token) {
                    return Some(Secret::new(token));
                }
                tokio::time::sleep(ms(5)).await;
            }
        }
    });
}

/// Notes another token; `false` if it is the same.
fn replace(current: &Current, token: &str) -> bool {
    let mut current = current.lock().unwrap_or_else(PoisonError::into_inner);
    let differs = *current != token;
    token.clone_into(&mut current);
    differs
}

fn read_token(file: &Path) -> std::io::Result<String> {
    std::fs::read_to_string(file)
}

/// Does what the parent says, and counts the tasks meanwhile. Ends with the parent.
async fn obey(
    manager: &SseManager,
    plane: &ControlPlane,
    current: &Current,
    log: &Log,
) -> BoxError {
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let mut pulse = tokio::time::interval(BETWEEN_PULSES);
    loop {
        let line = tokio::select! {
            line = lines.next_line() => line,
            _ = pulse.tick() => {
                log.add(What::Tasks(tasks()));
                continue;
            }
        };
        match line {
            Ok(Some(line)) => match line.split_once(' ') {
                Some(("token", token)) => {
                    replace(current, token);
                    if let Err(error) = plane.set_auth_token(token) {
                        return error.into();
                    }
                }
                _ if line == "network" => manager.network_changed(),
                _ if line == "stop" => manager.shutdown(),
                _ => return format!("not an order: {line:?}").into(),
            },
            Ok(None) => return "the parent is gone".into(),
            Err(error) => return error.into(),
        }
    }
}

fn tasks() -> u64 {
    tokio::runtime::Handle::current().metrics().num_alive_tasks() as u64
}

/// A last count of the tasks: it waits until none is left, or for as long as one may take.
async fn pulse_until_alone(log: &Log) {
    let until = Instant::now() + ms(5_000);
    while tasks() > 0 && Instant::now() < until {
        tokio::time::sleep(ms(5)).await;
    }
    log.add(What::Counter { name: "tasks left".to_owned(), value: tasks() });
}

fn counters(status: &Status) -> [(&'static str, u64); 12] {
    let Counters { connections, events, redelivered, skipped, .. } = status.counters;
    let Counters { malformed, refused, oversized, states, state_failures, .. } = status.counters;
    let Counters { handler_errors, handler_panics, handler_timeouts, .. } = status.counters;
    [
        ("connections", connections),
        ("events", events),
        ("redelivered", redelivered),
        ("skipped", skipped),
        ("malformed", malformed),
        ("refused", refused),
        ("oversized", oversized),
        ("states", states),
        ("state failures", state_failures),
        ("handler errors", handler_errors),
        ("handler panics", handler_panics),
        ("handler timeouts", handler_timeouts),
    ]
}

/// The log: each line is one write, so that a kill leaves whole lines.
#[derive(Clone)]
struct Log {
    to: Arc<Mutex<Box<dyn Write + Send>>>,
    status: watch::Receiver<Status>,
}

impl Log {
    fn open(path: Option<&Path>, status: watch::Receiver<Status>) -> std::io::Result<Self> {
        let to: Box<dyn Write + Send> = match path {
            Some(path) => Box::new(File::options().create(true).append(true).open(path)?),
            None => Box::new(std::io::stdout()),
        };
        Ok(Self { to: Arc::new(Mutex::new(to)), status })
    }

    fn add(&self, what: What) {
        let counters = self.status.borrow().counters;
        let mut to = self.to.lock().unwrap_or_else(PoisonError::into_inner);
        let (streams, failed_fetches) = (counters.connections, counters.state_failures);
        // A life that was killed may have left half a line.
        let before = if what == What::Began { "\n" } else { "" };
        let entry = Entry { at: now(), streams, failed_fetches, what };
        let written = to.write_all(format!("{before}{entry}\n").as_bytes());
        if written.and_then(|()| to.flush()).is_err() {
            // Without its log the agent proves nothing.
            std::process::exit(3);
        }
    }
}

/// The cursor's file, with a note of each save once it is on the disk.
struct NotedStore {
    store: FileCursorStore,
    log: Log,
}

impl CursorStore for NotedStore {
    fn load(&self) -> Result<Option<Checkpoint>, BoxError> {
        self.store.load()
    }

    fn save(&self, checkpoint: &Checkpoint) -> Result<(), BoxError> {
        let began = Instant::now();
        self.store.save(checkpoint)?;
        let last_event_id = checkpoint.last_event_id.clone();
        self.log.add(What::Saved { last_event_id, took: began.elapsed() });
        Ok(())
    }
}
