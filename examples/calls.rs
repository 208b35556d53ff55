//! Requests, their errors, and what to do about them.

use std::time::Duration;

use plexsphere_client::values::{RawJson, Timestamp};
use plexsphere_client::{BoxError, Config, ControlPlane, Error, types};
use plexsphere_mock::{Answer, MockControlPlane};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let mock = MockControlPlane::start().await?;
    let node = mock.add_node("node-1");

    let config = Config::new(mock.url())?.request_timeout(Duration::from_secs(5));
    let control_plane = ControlPlane::new(config, "0.1.0")?;
    control_plane.set_auth_token(node.secret_key)?;

    let state = control_plane.fetch_state(&node.node_id).await?;
    println!("state: {} peers, {} data entries", state.peers.len(), state.data.len());

    let point = types::MetricPoint {
        timestamp: Timestamp::now(),
        group: "system".into(),
        peer_id: None,
        data: RawJson::new(&serde_json::json!({ "load": 0.7 }))?,
    };
    control_plane.report_metrics(&node.node_id, &vec![point]).await?;
    println!("metrics: sent");

    for answer in [
        Answer::problem(409, "version_conflict", "the entry is newer on the server"),
        Answer::status(429).retry_after_secs(3),
        Answer::html(502),
    ] {
        mock.script("ping", answer);
        if let Err(error) = control_plane.ping().await {
            println!("{}", advice(&error));
        }
    }
    Ok(())
}

fn advice(error: &Error) -> String {
    let what = if error.is_conflict() {
        "fetch the new version first".to_owned()
    } else if let Some(wait) = error.retry_after() {
        format!("again in {wait:?}")
    } else if error.is_retryable() {
        "again in a while".to_owned()
    } else {
        "look into it".to_owned()
    };
    let detail = error.problem().and_then(|problem| problem.detail.as_deref());
    format!("{error} ({}) -> {what}", detail.unwrap_or("no detail"))
}
