//! Nodes, and what the owner of the control plane does.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::MockControlPlane;
use crate::event::PublishedEvent;
use crate::state::{Execution, Node, Received, Secret};

/// A node as the control plane knows it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct NodeView {
    /// Its id.
    pub node_id: String,
    /// Its host name.
    pub hostname: String,
    /// Its public key.
    pub public_key: String,
    /// Its secret key in base64: its bearer token, and the key of its secrets.
    pub secret_key: String,
    /// Its address in the mesh.
    pub mesh_ip: String,
    /// Its public endpoint; empty until it reported one.
    pub endpoint: String,
    /// The sequence number of the latest event on its stream.
    pub last_seq: u64,
    /// What it has told.
    pub received: Received,
}

/// The world: nodes, and what the owner of the control plane does.
impl MockControlPlane {
    /// Registers a node without a request; the others hear of it as usual.
    pub fn add_node(&self, hostname: &str) -> NodeView {
        let public_key = STANDARD.encode(crate::random_bytes::<32>());
        let node_id =
            self.inner.state().register(hostname, &public_key, Map::new(), self.inner.now());
        match self.node(&node_id) {
            Some(node) => node,
            None => panic!("{node_id} was deregistered at once"),
        }
    }

    /// Lets a node go without a request; its token is dead and the others hear of it.
    pub fn remove_node(&self, node_id: &str) {
        self.inner.state().deregister(node_id, self.inner.now());
    }

    /// Gives a node a new secret key and returns it; the old token gets 401.
    #[track_caller]
    pub fn replace_secret_key(&self, node_id: &str) -> String {
        let secret_key = self.inner.state().replace_secret_key(node_id);
        let Some(secret_key) = secret_key else { panic!("there is no node {node_id:?}") };
        secret_key
    }

    /// The ids of all registered nodes.
    pub fn nodes(&self) -> Vec<String> {
        self.inner.state().nodes.keys().cloned().collect()
    }

    /// A registered node and what it has told.
    pub fn node(&self, node_id: &str) -> Option<NodeView> {
        let state = self.inner.state();
        let node = state.nodes.get(node_id)?;
        Some(NodeView {
            node_id: node_id.to_owned(),
            hostname: node.hostname.clone(),
            public_key: node.public_key.clone(),
            secret_key: node.secret_key.clone(),
            mesh_ip: node.mesh_ip.clone(),
            endpoint: node.endpoint.clone(),
            last_seq: node.log.last(),
            received: node.received.clone(),
        })
    }

    /// What the next heartbeats are answered: `reconcile` until the node fetches its state,
    /// `rotate_keys` until it rotates its keys.
    ///
    /// # Panics
    /// If there is no such node; so do all that take a node's id, unless they say otherwise.
    #[track_caller]
    pub fn set_heartbeat_flags(&self, node_id: &str, reconcile: bool, rotate_keys: bool) {
        self.with_node(node_id, |node| {
            node.reconcile = reconcile;
            node.rotate_keys = rotate_keys;
        });
    }

    /// Replaces a node's policies, a list, and publishes `policy_updated`.
    #[track_caller]
    pub fn set_policies(&self, node_id: &str, policies: &impl Serialize) -> PublishedEvent {
        let policies = to_value(policies);
        self.with_node(node_id, |node| node.policies = policies);
        self.publish(node_id, "policy_updated", &json!({}))
    }

    /// Replaces a node's metadata (a map) and data (a list) and publishes `node_state_updated`.
    #[track_caller]
    pub fn set_data(
        &self,
        node_id: &str,
        metadata: &impl Serialize,
        data: &impl Serialize,
    ) -> PublishedEvent {
        let (metadata, data) = (to_value(metadata), to_value(data));
        let payload = json!({ "metadata": metadata, "data": data });
        self.with_node(node_id, |node| {
            node.metadata = metadata.as_object().cloned().unwrap_or_default();
            node.data = data;
        });
        self.publish(node_id, "node_state_updated", &payload)
    }

    /// Sets a config block of a node's state (`"bridge_config"`, `"relay_config"`, `"user_access_config"`,
    /// `"ingress_config"`, `"site_to_site_config"`) and publishes its event, where it has one.
    ///
    /// # Panics
    /// If there is no block of that name.
    #[track_caller]
    pub fn set_config(
        &self,
        node_id: &str,
        block: &str,
        config: &impl Serialize,
    ) -> Option<PublishedEvent> {
        const BLOCKS: [&str; 5] = [
            "bridge_config",
            "relay_config",
            "user_access_config",
            "ingress_config",
            "site_to_site_config",
        ];
        let Some(block) = BLOCKS.into_iter().find(|known| *known == block) else {
            panic!("no config block {block:?}")
        };
        let config = to_value(config);
        self.with_node(node_id, |node| node.configs.insert(block, config));
        (block != "relay_config")
            .then(|| self.publish(node_id, &format!("{block}_updated"), &json!({})))
    }

    /// Sets a secret of a node, one version up, and publishes `node_secrets_updated`.
    #[track_caller]
    pub fn set_secret(
        &self,
        node_id: &str,
        key: &str,
        plaintext: impl AsRef<[u8]>,
    ) -> PublishedEvent {
        let plaintext = plaintext.as_ref().to_vec();
        let secret_refs = self.with_node(node_id, |node| {
            let version = node.secrets.get(key).map_or(1, |secret| secret.version + 1);
            node.secrets.insert(key.to_owned(), Secret { plaintext, version });
            node.secret_refs()
        });
        self.publish(node_id, "node_secrets_updated", &json!({ "secret_refs": secret_refs }))
    }

    /// Asks a node to act: publishes `action_request` and returns the execution's id.
    ///
    /// `request` is the payload, an object with at least `action`; `execution_id` and `timeout` are
    /// filled in where they are missing.
    #[track_caller]
    pub fn request_action(&self, node_id: &str, request: &impl Serialize) -> String {
        let request = to_value(request);
        let execution_id = self.inner.state().request_action(node_id, request, self.inner.now());
        let Some(execution_id) = execution_id else {
            panic!("no node {node_id:?}, or the request is not an object")
        };
        execution_id
    }

    /// How an action went so far.
    pub fn execution(&self, execution_id: &str) -> Option<Execution> {
        self.inner.state().executions.get(execution_id).cloned()
    }

    /// Puts an artifact up for download.
    pub fn set_artifact(&self, version: &str, os: &str, arch: &str, content: impl Into<Bytes>) {
        let name = (version.to_owned(), os.to_owned(), arch.to_owned());
        self.inner.state().artifacts.insert(name, content.into());
    }

    #[track_caller]
    pub(super) fn with_node<T>(&self, node_id: &str, act: impl FnOnce(&mut Node) -> T) -> T {
        let mut state = self.inner.state();
        match state.nodes.get_mut(node_id) {
            Some(node) => act(node),
            None => {
                drop(state);
                panic!("there is no node {node_id:?}")
            }
        }
    }
}

#[track_caller]
fn to_value(value: &impl Serialize) -> Value {
    match serde_json::to_value(value) {
        Ok(value) => value,
        Err(error) => panic!("not JSON: {error}"),
    }
}
