//! How to test an agent of your own: values from JSON, a handler alone, and the whole
//! against a control plane in a box.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use plexsphere_client::events::{
    Ed25519Verifier, EventDispatcher, NoOpVerifier, SignedEnvelope, Verified, kind,
};
use plexsphere_client::values::RawJson;
use plexsphere_client::{BoxError, Config, ControlPlane, SseManager, types};
use plexsphere_mock::{Close, MockControlPlane};
use serde_json::json;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    value_from_json()?;
    handler_alone().await?;
    against_the_mock().await
}

/// Types that the server sends grow, so they have no literal: make them from JSON.
fn value_from_json() -> Result<(), BoxError> {
    let peer: types::Peer = serde_json::from_value(json!({
        "id": "node-2", "public_key": "5u4w", "mesh_ip": "100.64.0.2",
        "endpoint": "203.0.113.9:51820", "allowed_ips": ["100.64.0.2/32"], "psk": "",
    }))?;
    println!("a peer: {peer:?}");
    Ok(())
}

/// A handler gets its event without a socket.
async fn handler_alone() -> Result<(), BoxError> {
    let dispatcher = EventDispatcher::new();
    dispatcher.on::<kind::PeerRemoved>(|event| async move {
        println!("a handler: {} is gone", event.payload.peer_id);
        Ok(())
    });
    let payload = RawJson::new(&json!({ "peer_id": "node-2" }))?;
    let envelope = Arc::new(SignedEnvelope::new("peer_removed", "evt-1", payload));
    let report = dispatcher.dispatch(&Verified::check(&NoOpVerifier, &envelope)?).await;
    assert_eq!((report.handlers, report.failures()), (1, 0));
    Ok(())
}

/// The whole, with a fault: the stream is cut, and nothing is lost.
async fn against_the_mock() -> Result<(), BoxError> {
    const PATIENCE: Duration = Duration::from_secs(10);
    let mock = MockControlPlane::start().await?;
    let node = mock.add_node("node-1");
    let control_plane = ControlPlane::new(Config::new(mock.url())?, "0.1.0")?;
    control_plane.set_auth_token(node.secret_key)?;
    let verifier = Ed25519Verifier::new(&mock.signing_public_key())?;
    let manager = SseManager::new(control_plane, verifier);
    manager.set_reconnect_intervals(Duration::from_millis(20), Duration::from_millis(100))?;
    let handled = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&handled);
    manager.on_every(move |_| {
        count.fetch_add(1, Ordering::Relaxed);
        async { Ok(()) }
    });
    let (runner, id) = (manager.clone(), node.node_id.clone());
    let running = tokio::spawn(async move { runner.start(&id).await });

    mock.wait_for_streams(&node.node_id, 1, PATIENCE).await;
    mock.cut_every(&node.node_id, Some((4, Close::MidFrame)));
    for _ in 0..10 {
        mock.publish(&node.node_id, "policy_updated", &json!({}));
    }
    let all = mock.wait_until(PATIENCE, |_| handled.load(Ordering::Relaxed) == 10).await;
    assert!(all, "{handled:?} of 10");
    manager.shutdown();
    running.await??;
    println!("the whole: 10 of 10 events over {} connections", mock.count("connect_sse"));
    Ok(())
}
