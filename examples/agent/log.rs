//! Readable lines, and the table at the end.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use plexsphere_client::values::Timestamp;
use tokio::sync::Notify;

use crate::node::Node;

/// What happened, printed as it happens and kept for those who wait for it.
#[derive(Clone, Default)]
pub struct Log(Arc<Inner>);

#[derive(Default)]
struct Inner {
    lines: Mutex<Vec<String>>,
    changed: Notify,
}

impl Log {
    pub fn new() -> Self {
        Self::default()
    }

    /// Prints time, node and what happened.
    pub fn line(&self, node: &str, text: impl AsRef<str>) {
        let now = Timestamp::now().to_string();
        let time = now.get(11..19).unwrap_or_default();
        println!("{time}  {node:<8} {}", text.as_ref());
        // Only a panic in `push` could poison it.
        self.0.lines.lock().expect("no panic").push(format!("{node} {}", text.as_ref()));
        self.0.changed.notify_waiters();
    }

    pub fn heading(&self, text: &str) {
        println!("\n── {text}");
    }

    /// Waits until `count` lines of `node` contain `text`.
    pub async fn wait_for(&self, node: &str, text: &str, count: usize) -> Result<(), String> {
        const LIMIT: Duration = Duration::from_secs(10);
        let deadline = Instant::now() + LIMIT;
        loop {
            let changed = self.0.changed.notified();
            if self.count(node, text) >= count {
                return Ok(());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if tokio::time::timeout(left, changed).await.is_err() {
                return Err(format!("{node}: nothing of {text:?} within {LIMIT:?}"));
            }
        }
    }

    pub fn count(&self, node: &str, text: &str) -> usize {
        let lines = self.0.lines.lock().expect("no panic");
        lines.iter().filter(|line| line.starts_with(node) && line.contains(text)).count()
    }

    /// What each node counted.
    pub fn summary(&self, nodes: &[(&str, &Node)]) {
        println!("\n{:<22}{}", "", columns(nodes.iter().map(|(title, _)| (*title).to_owned())));
        type Row = (&'static str, fn(&Node) -> String);
        let rows: [Row; 8] = [
            ("node id", |n| n.agent.id.clone()),
            ("mesh address", |n| n.agent.mesh_ip.clone()),
            ("streams opened", |n| n.counters().connections.to_string()),
            ("events handled", |n| n.counters().events.to_string()),
            ("events skipped", |n| n.counters().skipped.to_string()),
            ("of them forged", |n| n.counters().refused.to_string()),
            ("states fetched", |n| n.counters().states.to_string()),
            ("handlers failed", |n| n.counters().handler_errors.to_string()),
        ];
        for (name, value) in rows {
            println!("{name:<22}{}", columns(nodes.iter().map(|(_, node)| value(node))));
        }
    }
}

fn columns(cells: impl Iterator<Item = String>) -> String {
    cells.map(|cell| format!("{cell:>14}")).collect()
}
