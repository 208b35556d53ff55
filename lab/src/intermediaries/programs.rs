//! The programs: found, started, waited for, and ended.

use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use plexsphere_client::BoxError;
use tokio::net::TcpStream;

/// Where servers are kept; not every user has these in `PATH`.
const SYSTEM: &str = "/usr/local/sbin:/usr/sbin:/sbin";
/// How long a program may take to listen.
const START: Duration = Duration::from_secs(15);

/// The path of a program.
pub fn find(name: &str) -> Result<String, BoxError> {
    let path = std::env::var("PATH").unwrap_or_default();
    path.split(':')
        .chain(SYSTEM.split(':'))
        .map(|folder| Path::new(folder).join(name))
        .find(|file| file.is_file())
        .map(|file| file.to_string_lossy().into_owned())
        .ok_or_else(|| {
            format!("{name} is missing: apt-get install nginx-light haproxy tinyproxy").into()
        })
}

/// A port that nobody else gets while this is held.
pub struct Port(TcpListener);

impl Port {
    pub fn take() -> std::io::Result<Self> {
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map(Self)
    }

    pub fn number(&self) -> std::io::Result<u16> {
        Ok(self.0.local_addr()?.port())
    }
}

/// A running program. It ends when this is dropped.
pub struct Program(Child);

impl Program {
    /// Starts it and waits until it listens on all of these ports.
    pub async fn start(
        dir: &Path,
        path: &str,
        words: &[&str],
        ports: &[u16],
    ) -> Result<Self, BoxError> {
        let log = log_of(dir, path);
        let output = File::create(&log)?;
        let child = Command::new(path)
            .args(words)
            .current_dir(dir)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .map_err(|e| format!("{path} cannot be started: {e}"))?;
        let mut program = Self(child);
        let began = Instant::now();
        for port in ports {
            while TcpStream::connect((Ipv4Addr::LOCALHOST, *port)).await.is_err() {
                let ended = program.0.try_wait()?;
                if ended.is_some() || began.elapsed() > START {
                    let said = std::fs::read_to_string(&log).unwrap_or_default();
                    return Err(format!("{path} does not listen ({ended:?}): {said}").into());
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        Ok(program)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended by itself; there is nobody to tell.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A new file for each start.
fn log_of(dir: &Path, path: &str) -> PathBuf {
    let name = Path::new(path).file_name().unwrap_or_default().to_string_lossy();
    let free = |n: &u32| !dir.join(format!("{name}-{n}.out")).exists();
    let number = (0..).find(free).unwrap_or_default();
    dir.join(format!("{name}-{number}.out"))
}
