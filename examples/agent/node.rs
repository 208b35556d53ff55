//! What a node agent does.

use std::path::Path;
use std::time::Instant;

use aws_lc_rs::agreement;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use plexsphere_client::events::{Ed25519Verifier, FileCursorStore, kind};
use plexsphere_client::values::{AckStatus, RawJson, ResultStatus, Secret, Timestamp};
use plexsphere_client::{BoxError, Config, ControlPlane, Counters, SseManager, types};

use crate::log::Log;

const VERSION: &str = "0.1.0";

/// A registered node with its event stream.
#[derive(Clone)]
pub struct Node {
    pub agent: Agent,
    pub manager: SseManager,
}

/// What a handler needs of its node.
#[derive(Clone)]
pub struct Agent {
    pub name: String,
    pub id: String,
    pub mesh_ip: String,
    pub control_plane: ControlPlane,
    signing_public_key: String,
    secret_key: Secret,
    started: Instant,
    log: Log,
}

impl Node {
    /// Registers with the bootstrap token and goes on with the node's own.
    pub async fn join(
        url: &str,
        bootstrap_token: &str,
        name: &str,
        cursor: Option<&Path>,
        log: &Log,
    ) -> Result<Self, BoxError> {
        let control_plane = ControlPlane::new(Config::new(url)?, VERSION)?;
        control_plane.set_auth_token(bootstrap_token)?;
        let registered = control_plane
            .register(&types::RegisterRequest {
                token: bootstrap_token.into(),
                public_key: new_public_key()?,
                hostname: name.to_owned(),
                metadata: Default::default(),
                capabilities: Some(capabilities()),
            })
            .await?;
        control_plane.set_auth_token(registered.node_secret_key.clone())?;
        log.line(name, format!("registered as {} at {}", registered.node_id, registered.mesh_ip));
        let agent = Agent {
            name: name.to_owned(),
            id: registered.node_id,
            mesh_ip: registered.mesh_ip,
            control_plane,
            signing_public_key: registered.signing_public_key,
            secret_key: registered.node_secret_key,
            started: Instant::now(),
            log: log.clone(),
        };
        agent.with_stream(cursor)
    }

    /// The same node after a restart of its process: what is left is its credentials
    /// and the cursor file.
    pub fn restarted(&self, cursor: &Path) -> Result<Self, BoxError> {
        self.agent.clone().with_stream(Some(cursor))
    }

    /// Runs the event stream until a shutdown or a refusal.
    pub async fn run(self) -> Result<(), plexsphere_client::Error> {
        self.manager.start(&self.agent.id).await
    }

    pub async fn heartbeat(&self) -> Result<(), BoxError> {
        if self.agent.heartbeat().await?.reconcile {
            self.manager.reconcile_now();
        }
        Ok(())
    }

    pub fn counters(&self) -> Counters {
        self.manager.status().borrow().counters
    }
}

impl Agent {
    /// Adds the verified event stream and its handlers.
    fn with_stream(self, cursor: Option<&Path>) -> Result<Node, BoxError> {
        let verifier = Ed25519Verifier::new(&self.signing_public_key)?;
        let manager = SseManager::new(self.control_plane.clone(), verifier);
        if let Some(path) = cursor {
            manager.set_cursor_store(FileCursorStore::new(path));
        }
        self.hear_of_peers(&manager);
        self.hear_of_work(&manager);
        let agent = self.clone();
        manager.on_state(move |state| {
            let (peers, policies) = (state.peers.len(), state.policies.len());
            agent.say(format!("state fetched: peers {peers}, policies {policies}"));
            async { Ok(()) }
        });
        let agent = self.clone();
        manager.on_skipped(move |skipped| {
            let id = skipped.event_id.as_deref().unwrap_or("?");
            agent.say(format!("skipped {id}: {}", skipped.reason));
        });
        Ok(Node { agent: self, manager })
    }

    fn hear_of_peers(&self, manager: &SseManager) {
        let agent = self.clone();
        manager.on::<kind::PeerAdded>(move |event| {
            let peer = event.payload;
            agent.say(format!("peer joined: {} at {}", peer.id, peer.mesh_ip));
            async { Ok(()) }
        });
        let agent = self.clone();
        manager.on::<kind::PeerRemoved>(move |event| {
            agent.say(format!("peer left: {}", event.payload.peer_id));
            async { Ok(()) }
        });
        let agent = self.clone();
        manager.on::<kind::PeerEndpointChanged>(move |event| {
            agent.say(format!("peer {} moved to {}", event.payload.id, event.payload.endpoint));
            async { Ok(()) }
        });
        let agent = self.clone();
        manager.on::<kind::PolicyUpdated>(move |_| {
            let agent = agent.clone();
            async move {
                let state = agent.control_plane.fetch_state(&agent.id).await?;
                agent.say(format!("policies changed: {} in force", state.policies.len()));
                Ok(())
            }
        });
    }

    fn hear_of_work(&self, manager: &SseManager) {
        let agent = self.clone();
        manager.on::<kind::ActionRequest>(move |event| {
            let agent = agent.clone();
            async move { agent.act(event.payload).await }
        });
        let agent = self.clone();
        manager.on::<kind::NodeSecretsUpdated>(move |event| {
            let agent = agent.clone();
            async move {
                for reference in event.payload.secret_refs {
                    agent.open_secret(&reference.key).await?;
                }
                Ok(())
            }
        });
        let agent = self.clone();
        manager.on::<kind::SigningKeyRotated>(move |_| {
            agent.say("new signing key in force");
            async { Ok(()) }
        });
    }

    /// Acknowledges an action, carries it out, and reports how it went.
    async fn act(&self, request: types::ActionRequest) -> Result<(), BoxError> {
        let id = &request.execution_id;
        self.say(format!("action requested: {} ({id})", request.action));
        let known = capabilities().builtin_actions.iter().any(|a| a.name == request.action);
        let ack = types::ExecutionAck {
            execution_id: id.clone(),
            status: if known { AckStatus::Accepted } else { AckStatus::Rejected },
            reason: if known { String::new() } else { "no such action here".into() },
        };
        self.control_plane.ack_execution(&self.id, id, &ack).await?;
        self.say(format!("action {}", ack.status));
        if !known {
            return Ok(());
        }
        let began = Instant::now();
        let result = types::ExecutionResult {
            execution_id: id.clone(),
            status: ResultStatus::Success,
            exit_code: 0,
            stdout: format!("{} is well", self.name),
            stderr: String::new(),
            duration: format!("{}ms", began.elapsed().as_millis()),
            finished_at: Timestamp::now(),
            triggered_by: request.triggered_by,
        };
        self.control_plane.report_result(&self.id, id, &result).await?;
        self.say(format!("action result: {}", result.status));
        Ok(())
    }

    async fn open_secret(&self, key: &str) -> Result<(), BoxError> {
        let secret = self.control_plane.fetch_secret(&self.id, key).await?;
        let plain = secret.decrypt(&self.secret_key)?;
        self.say(format!("secret {key} opened, {} bytes", plain.len()));
        Ok(())
    }

    async fn heartbeat(&self) -> Result<types::HeartbeatResponse, BoxError> {
        let heartbeat = types::HeartbeatRequest {
            node_id: self.id.clone(),
            timestamp: Timestamp::now(),
            status: "healthy".into(),
            uptime: format!("{}s", self.started.elapsed().as_secs()),
            binary_checksum: "sha256:unknown".into(),
            mesh: None,
            nat: None,
            bridge: None,
            user_access: None,
            ingress: None,
            site_to_site: None,
        };
        let answer = self.control_plane.heartbeat(&self.id, &heartbeat).await?;
        self.say("heartbeat sent");
        Ok(answer)
    }

    /// Sends measured points in one batch.
    pub async fn report_metrics(&self, points: u32) -> Result<(), BoxError> {
        let point = |n| -> Result<types::MetricPoint, BoxError> {
            let data = serde_json::json!({ "rx_bytes": n * 1500, "tx_bytes": n * 900 });
            Ok(types::MetricPoint {
                timestamp: Timestamp::now(),
                group: "tunnel".into(),
                peer_id: None,
                data: RawJson::new(&data)?,
            })
        };
        let batch = (0..points).map(point).collect::<Result<Vec<_>, _>>()?;
        self.control_plane.report_metrics(&self.id, &batch).await?;
        self.say(format!("{points} metric points sent"));
        Ok(())
    }

    pub fn say(&self, text: impl AsRef<str>) {
        self.log.line(&self.name, text);
    }
}

fn capabilities() -> types::CapabilitiesPayload {
    types::CapabilitiesPayload {
        binary: None,
        builtin_actions: vec![types::ActionInfo {
            name: "diagnostics".into(),
            description: "Says how the node is".into(),
            parameters: Vec::new(),
        }],
        hooks: Vec::new(),
    }
}

/// The public half of a new Curve25519 key. A real agent gives the private half to
/// WireGuard; this one has no tunnel.
fn new_public_key() -> Result<String, BoxError> {
    let private = agreement::PrivateKey::generate(&agreement::X25519)?;
    Ok(STANDARD.encode(private.compute_public_key()?))
}
