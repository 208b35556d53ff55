//! A download, streamed: to a file, without holding it in memory.

use plexsphere_client::{BoxError, Config, ControlPlane};
use plexsphere_mock::MockControlPlane;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let mock = MockControlPlane::start().await?;
    mock.set_artifact("1.4.2", "linux", "amd64", vec![7; 5_000_000]);
    let node = mock.add_node("node-1");
    let control_plane = ControlPlane::new(Config::new(mock.url())?, "0.1.0")?;
    control_plane.set_auth_token(node.secret_key)?;

    let artifact = control_plane.fetch_artifact("1.4.2", "linux", "amd64").await?;
    println!("announced: {:?} bytes of {:?}", artifact.content_length(), artifact.content_type());
    let folder = tempfile::tempdir()?;
    let mut file = tokio::fs::File::create(folder.path().join("plexd")).await?;
    let written = tokio::io::copy(&mut artifact.into_async_read(), &mut file).await?;
    file.sync_all().await?;
    println!("written: {written} bytes");
    Ok(())
}
