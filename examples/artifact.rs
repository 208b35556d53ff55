//! A download to a file: verified, taken up again after a cut, with a progress bar.

use std::io::Write;
use std::time::Duration;

use plexsphere_client::{BoxError, Config, ControlPlane, Progress};
use plexsphere_mock::{Answer, MockControlPlane};

const LENGTH: usize = 24_000_000;
/// The SHA-256 of so many bytes 7, as whoever asks for the update would state it.
const CHECKSUM: &str = "sha256:c555311d0e9989b56161ca2a177f6982012cdb0da8133dbc2748c683ae68da29";

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let mock = MockControlPlane::start().await?;
    mock.set_artifact("1.4.2", "linux", "amd64", vec![7; LENGTH]);
    // The connection is slow, and breaks after 15 MB.
    let slow = Answer::real().pace(300_000, Duration::from_millis(20));
    mock.script("fetch_artifact", slow.clone().cut_after(15_000_000));
    mock.script("fetch_artifact", slow);
    let node = mock.add_node("node-1");
    let control_plane = ControlPlane::new(Config::new(mock.url())?, "0.1.0")?;
    control_plane.set_auth_token(node.secret_key)?;

    let folder = tempfile::tempdir()?;
    let target = folder.path().join("plexd");
    let length = control_plane
        .download_artifact("1.4.2", "linux", "amd64", CHECKSUM)
        .mode(0o755)
        .on_progress(show)
        .save_to(&target)
        .await?;
    println!("\n{length} bytes in {}, verified", target.display());
    for request in mock.requests_for("fetch_artifact") {
        println!("asked for {:?}", request.headers.get("range").map_or("all", |_| "the rest"));
    }
    Ok(())
}

fn show(progress: Progress) {
    const WIDTH: u64 = 40;
    let Some(total) = progress.total.filter(|total| *total > 0) else {
        print!("\r{} bytes", progress.received);
        return;
    };
    let done = progress.received * WIDTH / total;
    let (bar, rest) = ("#".repeat(done as usize), "-".repeat((WIDTH - done) as usize));
    print!("\r[{bar}{rest}] {:3} %", progress.received * 100 / total);
    // A terminal that is gone is no reason to stop.
    let _ = std::io::stdout().flush();
}
