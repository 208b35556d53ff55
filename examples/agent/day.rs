//! A short day of two nodes against a control plane in this process.

use std::path::Path;
use std::time::{Duration, Instant};

use plexsphere_client::BoxError;
use plexsphere_mock::{Close, Event, MockControlPlane};
use serde_json::json;

use crate::log::Log;
use crate::node::Node;

const PATIENCE: Duration = Duration::from_secs(5);

pub async fn play() -> Result<(), BoxError> {
    let began = Instant::now();
    let log = Log::new();
    let folder = tempfile::tempdir()?;
    let cursor = folder.path().join("alpha.json");
    let mock = MockControlPlane::start().await?;
    println!("A control plane in this process, at {}", mock.url());

    let (alpha, beta) = morning(&mock, &cursor, &log).await?;
    work(&mock, &alpha, &beta, &log).await?;
    trouble(&mock, &alpha, &log).await?;
    let again = restart(&mock, &alpha, &cursor, &log).await?;
    evening(&mock, &again, &beta, &log).await?;

    log.summary(&[("alpha", &alpha), ("alpha again", &again), ("beta", &beta)]);
    let sent = mock.published_for(&alpha.agent.id).iter().filter(|event| event.genuine).count();
    let handled = log.count("alpha", "handled:");
    println!("\nalpha: {sent} events sent, {handled} handled, in {:.1?}", began.elapsed());
    match sent == handled {
        true => Ok(()),
        false => Err("an event was lost or handled twice".into()),
    }
}

/// Two nodes register, say that they are alive, and hear of each other.
async fn morning(
    mock: &MockControlPlane,
    cursor: &Path,
    log: &Log,
) -> Result<(Node, Node), BoxError> {
    let (url, token) = (mock.url(), mock.bootstrap_token());
    log.heading("alpha registers and opens its event stream");
    let alpha = Node::join(&url, token, "alpha", Some(cursor), log).await?;
    alpha.heartbeat().await?;
    start(&alpha, mock).await;
    log.wait_for("alpha", "state fetched: peers 0", 1).await?;

    log.heading("beta joins: alpha hears of it");
    let beta = Node::join(&url, token, "beta", None, log).await?;
    beta.heartbeat().await?;
    start(&beta, mock).await;
    log.wait_for("alpha", "peer joined", 1).await?;
    log.wait_for("beta", "state fetched: peers 1", 1).await?;
    Ok((alpha, beta))
}

/// A policy, an action, a secret, a batch of metrics.
async fn work(
    mock: &MockControlPlane,
    alpha: &Node,
    beta: &Node,
    log: &Log,
) -> Result<(), BoxError> {
    log.heading("a policy changes");
    let rule =
        json!({ "src": "alpha", "dst": "beta", "port": 22, "protocol": "tcp", "action": "allow" });
    mock.set_policies(&alpha.agent.id, &json!([{ "id": "policy-1", "rules": [rule] }]));
    log.wait_for("alpha", "policies changed: 1 in force", 1).await?;

    log.heading("an action is requested of beta");
    let action = json!({ "action": "diagnostics", "type": "builtin", "timeout": "30s" });
    mock.request_action(&beta.agent.id, &action);
    log.wait_for("beta", "action result: success", 1).await?;

    log.heading("a secret for alpha");
    mock.set_secret(&alpha.agent.id, "database-password", "correct horse");
    log.wait_for("alpha", "secret database-password opened", 1).await?;

    log.heading("metrics go out");
    beta.agent.report_metrics(200).await?;
    if let Some(request) = mock.requests_for("report_metrics").last() {
        let (plain, wire) = (request.decoded.len(), request.body.len());
        log.line("server", format!("got {plain} bytes of metrics as {wire} (gzip)"));
    }
    Ok(())
}

/// A forged event, a new signing key, a connection that is cut twice.
async fn trouble(mock: &MockControlPlane, alpha: &Node, log: &Log) -> Result<(), BoxError> {
    let id = &alpha.agent.id;
    log.heading("somebody forges an event");
    let forged = Event::new("peer_removed", &json!({ "peer_id": "node-2" }));
    mock.publish_event(id, forged.event_id("evt-forged").forged());
    log.wait_for("alpha", "skipped evt-forged", 1).await?;

    log.heading("the control plane rotates its signing key");
    mock.rotate_signing_key();
    log.wait_for("alpha", "new signing key in force", 1).await?;
    mock.publish(id, "bridge_config_updated", &json!({}));
    log.wait_for("alpha", "handled: bridge_config_updated", 1).await?;

    log.heading("the stream is cut in mid-event: it resumes");
    mock.cut_every(id, Some((3, Close::MidFrame)));
    for n in 0..5 {
        let endpoint = format!("203.0.113.{n}:51820");
        mock.publish(id, "peer_endpoint_changed", &json!({ "id": "node-2", "endpoint": endpoint }));
    }
    log.wait_for("alpha", "moved to 203.0.113.4", 1).await?;
    mock.cut_every(id, None);
    Ok(())
}

/// alpha's process ends; a new one goes on from the cursor file.
async fn restart(
    mock: &MockControlPlane,
    alpha: &Node,
    cursor: &Path,
    log: &Log,
) -> Result<Node, BoxError> {
    log.heading("alpha restarts; what happened meanwhile is replayed");
    let id = alpha.agent.id.clone();
    alpha.manager.shutdown();
    log.wait_for("alpha", "event stream ended", 1).await?;
    for kind in ["ingress_config_updated", "site_to_site_config_updated"] {
        mock.publish(&id, kind, &json!({}));
    }
    let again = alpha.restarted(cursor)?;
    start(&again, mock).await;
    log.wait_for("alpha", "handled: site_to_site_config_updated", 1).await?;
    Ok(again)
}

/// Both nodes leave.
async fn evening(
    mock: &MockControlPlane,
    alpha: &Node,
    beta: &Node,
    log: &Log,
) -> Result<(), BoxError> {
    log.heading("both nodes leave");
    beta.manager.shutdown();
    log.wait_for("beta", "event stream ended", 1).await?;
    beta.agent.control_plane.deregister(&beta.agent.id).await?;
    beta.agent.say("deregistered");
    log.wait_for("alpha", "handled: peer_removed", 1).await?;
    alpha.manager.shutdown();
    log.wait_for("alpha", "event stream ended", 2).await?;
    alpha.agent.control_plane.deregister(&alpha.agent.id).await?;
    alpha.agent.say("deregistered");
    mock.wait_until(PATIENCE, |mock| mock.open_streams() == 0).await;
    Ok(())
}

/// Runs the node's stream in the background, and waits until it is open.
async fn start(node: &Node, mock: &MockControlPlane) {
    let agent = node.agent.clone();
    node.manager.on_every(move |envelope| {
        agent.say(format!("handled: {}", envelope.event_type));
        async { Ok(()) }
    });
    let (agent, running) = (node.agent.clone(), node.clone().run());
    tokio::spawn(async move {
        match running.await {
            Ok(()) => agent.say("event stream ended"),
            Err(error) => agent.say(format!("event stream ended by {error}")),
        }
    });
    mock.wait_for_streams(&node.agent.id, 1, PATIENCE).await;
}
