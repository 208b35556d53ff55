//! A download to a file beside bare reqwest: `cargo bench -p plexsphere-lab --bench artifact`.
//!
//! All write the same bytes from the same server to the same disk and sync them, in turns.
//! The ratio is the median of those within a round, which a busy machine moves the least. The
//! processor time is that of the process, with the server's, which is the same for all.
//! `PLEXSPHERE_BENCH_MIB` and `PLEXSPHERE_BENCH_ROUNDS` set how much and how often.

use std::path::Path;
use std::time::{Duration, Instant};
use std::{env, fs};

use bytes::Bytes;
use plexsphere_client::{BoxError, Config, ControlPlane};
use plexsphere_mock::{Answer, MockControlPlane};
use tokio::fs::File;
use tokio::io::AsyncWriteExt;

const MEBIBYTE: usize = 1024 * 1024;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let (size, rounds) = (setting("MIB", 256)? * MEBIBYTE, setting("ROUNDS", 9)?);
    let content = Bytes::from(vec![7_u8; size]);
    let checksum = sha256(&content);
    let mock = MockControlPlane::start().await?;
    mock.script_always("fetch_artifact", Answer::status(200).body(content));
    let rig = Rig::new(&mock, checksum)?;

    let mut turns: [Vec<Turn>; 2] = Default::default();
    let mut growth = 0;
    for round in 0..=rounds {
        let bare = rig.timed(rig.bare()).await?;
        let before = resident_peak_reset();
        let ours = rig.timed(rig.ours()).await?;
        growth = growth.max(resident_peak().saturating_sub(before));
        // The first one warms up.
        if round > 0 {
            turns[0].push(bare);
            turns[1].push(ours);
        }
    }
    println!("{} MiB to a file and synced, {rounds} rounds in turns, medians", size / MEBIBYTE);
    println!("| | MiB/s | of bare reqwest | processor ms |\n|---|---:|---:|---:|");
    let names = ["bare reqwest, not hashed", "download_artifact, hashed and verified"];
    for (name, its) in names.into_iter().zip(&turns) {
        let rate = (size / MEBIBYTE) as f64 / median(its.iter().map(|turn| turn.took));
        let ratio = median(turns[0].iter().zip(its).map(|(bare, turn)| bare.took / turn.took));
        let processor = median(its.iter().map(|turn| turn.processor)) * 1000.0;
        println!("| {name} | {rate:.0} | {:.0} % | {processor:.0} |", ratio * 100.0);
    }
    println!("memory at the peak of a download: {:.1} MiB more", growth as f64 / MEBIBYTE as f64);
    Ok(())
}

/// What one download took, in seconds.
struct Turn {
    took: f64,
    processor: f64,
}

struct Rig {
    url: String,
    token: String,
    checksum: String,
    bare: reqwest::Client,
    control_plane: ControlPlane,
    folder: tempfile::TempDir,
}

impl Rig {
    fn new(mock: &MockControlPlane, checksum: String) -> Result<Self, BoxError> {
        let token = mock.add_node("node").secret_key;
        let control_plane = ControlPlane::new(Config::new(mock.url())?, "1.4.2")?;
        control_plane.set_auth_token(token.clone())?;
        Ok(Self {
            url: format!("{}/v1/artifacts/plexd/1.4.2/linux/amd64", mock.url()),
            token,
            checksum,
            bare: reqwest::Client::builder().no_proxy().build()?,
            control_plane,
            // In the build's folder: the system's own may be memory.
            folder: tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?,
        })
    }

    async fn timed(
        &self,
        run: impl Future<Output = Result<(), BoxError>>,
    ) -> Result<Turn, BoxError> {
        let (began, used) = (Instant::now(), processor_time());
        run.await?;
        let took = began.elapsed().as_secs_f64();
        let processor = (processor_time() - used).as_secs_f64();
        fs::remove_file(self.target())?;
        Ok(Turn { took, processor })
    }

    fn target(&self) -> impl AsRef<Path> + use<> {
        self.folder.path().join("plexd")
    }

    /// What one writes by hand, without hashing.
    async fn bare(&self) -> Result<(), BoxError> {
        let mut answer = self.bare.get(&self.url).bearer_auth(&self.token).send().await?;
        let mut file = File::create(self.target()).await?;
        while let Some(chunk) = answer.chunk().await? {
            file.write_all(&chunk).await?;
        }
        file.sync_all().await?;
        Ok(())
    }

    async fn ours(&self) -> Result<(), BoxError> {
        let download =
            self.control_plane.download_artifact("1.4.2", "linux", "amd64", &self.checksum);
        download.save_to(self.target()).await?;
        Ok(())
    }
}

fn setting(name: &str, default: usize) -> Result<usize, BoxError> {
    match env::var(format!("PLEXSPHERE_BENCH_{name}")) {
        Ok(text) => Ok(text.parse()?),
        Err(_) => Ok(default),
    }
}

/// The processor time that all threads have had.
fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    // Neither is negative, and there are no more nanoseconds than fit a second.
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn sha256(content: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, content);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What is in use now, in bytes; the kernel's mark of the highest starts from there.
fn resident_peak_reset() -> u64 {
    // Elsewhere than on Linux there is no mark, and the growth reads as zero.
    let _ = fs::write("/proc/self/clear_refs", "5");
    status("VmRSS")
}

fn resident_peak() -> u64 {
    status("VmHWM")
}

fn status(name: &str) -> u64 {
    let text = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    kib.unwrap_or_default() * 1024
}
