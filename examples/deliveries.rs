//! Events as a loop instead of handlers.

use std::time::Duration;

use futures::StreamExt;
use plexsphere_client::events::{Ed25519Verifier, EventType};
use plexsphere_client::{BoxError, Config, ControlPlane, Delivery, SseManager, types};
use plexsphere_mock::MockControlPlane;
use serde_json::json;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let mock = MockControlPlane::start().await?;
    let node = mock.add_node("node-1");
    let control_plane = ControlPlane::new(Config::new(mock.url())?, "0.1.0")?;
    control_plane.set_auth_token(node.secret_key)?;

    let verifier = Ed25519Verifier::new(&mock.signing_public_key())?;
    let manager = SseManager::new(control_plane, verifier);
    let mut deliveries = manager.deliveries(&node.node_id)?;

    // The state comes first, once the stream is open.
    while let Some(delivery) = deliveries.next().await {
        match delivery? {
            Delivery::State(state) => {
                println!("state: {} peers", state.peers.len());
                mock.wait_for_streams(&node.node_id, 1, Duration::from_secs(5)).await;
                mock.publish(&node.node_id, "peer_removed", &json!({ "peer_id": "node-2" }));
                mock.publish(&node.node_id, "policy_updated", &json!({}));
            }
            Delivery::Event(event) if event.event_type == EventType::PeerRemoved => {
                let gone: types::PeerRemoved = event.decode()?;
                println!("event: {} is gone", gone.peer_id);
            }
            Delivery::Event(event) => {
                println!("event: {}", event.event_type);
                // The one before is settled by now; this one would come again after a
                // restart, unless it is settled here.
                deliveries.settle();
                manager.shutdown();
            }
            _ => {}
        }
    }
    println!("ended");
    Ok(())
}
