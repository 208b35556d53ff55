//! An agent that writes down what it handled.

use std::sync::Arc;
use std::time::Duration;

use plexsphere_client::events::{Ed25519Verifier, SignedEnvelope};
use plexsphere_client::{ControlPlane, SseManager, Status};
use plexsphere_mock::MockControlPlane;
use tokio::sync::watch;

/// How long anything that must happen may take.
pub const SOON: Duration = Duration::from_secs(20);

/// It ends when this is dropped.
pub struct Agent {
    pub manager: SseManager,
    events: watch::Receiver<Vec<String>>,
}

impl Agent {
    pub fn start(
        api: &ControlPlane,
        mock: &MockControlPlane,
        node_id: &str,
    ) -> Result<Self, String> {
        let verifier =
            Ed25519Verifier::new(&mock.signing_public_key()).map_err(|e| e.to_string())?;
        let manager = SseManager::new(api.clone(), verifier);
        let (base, most) = (Duration::from_millis(100), Duration::from_millis(400));
        manager.set_reconnect_intervals(base, most).map_err(|e| e.to_string())?;
        // Polling begins at its default; what is tested is that it comes before that.
        manager
            .set_polling_fallback(Duration::from_secs(5 * 60), Duration::from_millis(200))
            .map_err(|e| e.to_string())?;
        let (sender, events) = watch::channel(Vec::new());
        manager.on_every(move |event: Arc<SignedEnvelope>| {
            sender.send_modify(|all: &mut Vec<String>| all.push(event.event_id.clone()));
            async { Ok(()) }
        });
        let (running, node_id) = (manager.clone(), node_id.to_owned());
        tokio::spawn(async move { running.start(&node_id).await });
        Ok(Self { manager, events })
    }

    /// Waits until as many events as these have been handled; they must be these, in order.
    pub async fn handled(&self, ids: &[String]) -> Result<(), String> {
        let mut events = self.events.clone();
        let enough = events.wait_for(|events| events.len() >= ids.len());
        let handled = match tokio::time::timeout(SOON, enough).await {
            Ok(Ok(events)) => events.clone(),
            _ => {
                let so_far = self.events.borrow().len();
                let status = self.status();
                return Err(format!("{so_far} of {} events: {:?}", ids.len(), status.last_error));
            }
        };
        if handled == ids { Ok(()) } else { Err(format!("sent {ids:?}, handled {handled:?}")) }
    }

    pub fn status(&self) -> Status {
        self.manager.status().borrow().clone()
    }

    pub async fn status_until(
        &self,
        what: &str,
        enough: impl FnMut(&Status) -> bool,
    ) -> Result<Status, String> {
        let mut status = self.manager.status();
        match tokio::time::timeout(SOON, status.wait_for(enough)).await {
            Ok(Ok(status)) => Ok(status.clone()),
            _ => Err(format!("{what}: not within {SOON:?}, {:?}", self.status())),
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.manager.shutdown();
    }
}
