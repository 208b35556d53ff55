//! The agent's process, as seen from outside.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use plexsphere_client::BoxError;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::watch;

use super::child::Orders;
use super::entry::{Entry, What, number};

/// How far an agent has come.
#[derive(Debug, Clone, Default)]
pub struct Progress {
    /// The highest number among the events that it handled.
    pub handled: u64,
    /// How many events it handled.
    pub events: u64,
    /// How many states it got.
    pub states: u64,
    /// How many events and blocks it skipped.
    pub skips: u64,
    /// The skips since the last state.
    pub unreconciled: u64,
    /// How many tasks it had last.
    pub tasks: u64,
    /// Its log has ended.
    pub ended: bool,
}

/// A running agent; it is killed when it is dropped.
pub struct Agent {
    child: Child,
    orders: ChildStdin,
}

impl Agent {
    /// Starts this very program as an agent. Its standard output is passed to `log`, if any.
    pub fn start(orders: &Orders, log: Option<&Arc<AgentLog>>) -> io::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("chaos-agent")
            .args(orders.words())
            .stdin(Stdio::piped())
            .stdout(if log.is_some() { Stdio::piped() } else { Stdio::null() })
            .kill_on_drop(true)
            .spawn()?;
        if let (Some(log), Some(stdout)) = (log, child.stdout.take()) {
            let log = Arc::clone(log);
            tokio::spawn(async move {
                let mut lines = BufReader::new(stdout).lines();
                while let Ok(Some(line)) = lines.next_line().await {
                    log.take(&line);
                }
                log.progress.send_modify(|progress| progress.ended = true);
            });
        }
        let orders = child.stdin.take().ok_or_else(|| io::Error::other("no standard input"))?;
        Ok(Self { child, orders })
    }

    /// Gives an order.
    pub async fn order(&mut self, order: &str) -> io::Result<()> {
        self.orders.write_all(format!("{order}\n").as_bytes()).await
    }

    /// Kills it as `kill -9` does; returns once the system has taken the order.
    pub fn kill(&mut self) -> io::Result<()> {
        self.child.start_kill()
    }

    pub async fn ended(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Its resident memory in KiB, and its open descriptors; `None` once it is gone.
    pub fn size(&self) -> Option<(u64, u64)> {
        let folder = format!("/proc/{}", self.child.id()?);
        let status = fs::read_to_string(format!("{folder}/status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        let memory = line.trim().trim_end_matches(" kB").parse().ok()?;
        let descriptors = fs::read_dir(format!("{folder}/fd")).ok()?.count();
        Some((memory, descriptors as u64))
    }
}

/// What an agent has written so far.
#[derive(Default)]
pub struct AgentLog {
    entries: Mutex<Vec<Entry>>,
    progress: watch::Sender<Progress>,
    unreadable: Mutex<Vec<String>>,
}

impl AgentLog {
    pub fn entries(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// Lines that are none of a log: a panic, a stray print.
    pub fn unreadable(&self) -> Vec<String> {
        self.unreadable.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until the agent has come so far; `false` if it does not within `limit`.
    pub async fn until(&self, limit: Duration, enough: impl Fn(&Progress) -> bool) -> bool {
        let mut progress = self.progress();
        let reached = tokio::time::timeout(limit, progress.wait_for(|now| enough(now))).await;
        matches!(reached, Ok(Ok(_)))
    }

    /// The numbers of the events that were handled last.
    pub fn handled_lately(&self) -> HashSet<u64> {
        let entries = self.entries();
        let latest = entries.iter().rev().take(2_000);
        latest
            .filter_map(|entry| match &entry.what {
                What::Handled { event_id, .. } => number(event_id),
                _ => None,
            })
            .collect()
    }

    fn take(&self, line: &str) {
        if line.is_empty() {
            return;
        }
        match line.parse::<Entry>() {
            Ok(entry) => {
                self.progress.send_modify(|progress| progress.note(&entry.what));
                self.entries().push(entry);
            }
            Err(problem) => {
                self.unreadable.lock().unwrap_or_else(PoisonError::into_inner).push(problem);
            }
        }
    }
}

impl Progress {
    pub fn note(&mut self, what: &What) {
        match what {
            What::Handled { event_id, .. } => {
                self.events += 1;
                self.handled = self.handled.max(number(event_id).unwrap_or(0));
            }
            What::State(_) => {
                self.states += 1;
                self.unreconciled = 0;
            }
            What::Skipped { .. } => {
                self.skips += 1;
                self.unreconciled += 1;
            }
            What::Tasks(tasks) => self.tasks = *tasks,
            _ => {}
        }
    }
}

/// Puts a token where the agent finds it, all at once.
pub fn write_token(file: &Path, token: &str) -> Result<(), BoxError> {
    let beside = file.with_extension("new");
    fs::write(&beside, token)?;
    Ok(fs::rename(beside, file)?)
}
