//! What this crate logs, one entry a write, down to the debug level: all that is logged by
//! any test of this binary from the moment on when one asks for it.

use std::io::{self, Write};
use std::sync::{Mutex, OnceLock};

use tracing_subscriber::EnvFilter;

/// The longest line that a log should have to take.
const LONGEST: usize = 1024;

#[derive(Debug, Default)]
pub struct Logs(Mutex<Vec<String>>);

static LOGS: OnceLock<Logs> = OnceLock::new();

/// For the whole process: one that is set for a thread misses what other threads have
/// switched off before.
pub fn start() -> &'static Logs {
    LOGS.get_or_init(|| {
        tracing_subscriber::fmt()
            .with_env_filter(EnvFilter::new("plexsphere_client=debug"))
            .with_ansi(false)
            .with_writer(|| Line)
            .init();
        Logs::default()
    })
}

impl Logs {
    pub fn have(&self, text: &str) -> bool {
        self.0.lock().unwrap().iter().any(|line| line.contains(text))
    }

    /// Lines that are long, or could pass for two.
    pub fn unfit(&self) -> Vec<String> {
        let unfit = |line: &&String| {
            line.len() > LONGEST || line.trim_end().contains(|c: char| c.is_control())
        };
        self.0.lock().unwrap().iter().filter(unfit).cloned().collect()
    }
}

struct Line;

impl Write for Line {
    fn write(&mut self, entry: &[u8]) -> io::Result<usize> {
        if let Some(Logs(lines)) = LOGS.get() {
            lines.lock().unwrap().push(String::from_utf8_lossy(entry).into_owned());
        }
        Ok(entry.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
