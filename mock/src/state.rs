//! What the control plane knows. Pure data: no sockets, no waiting.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::clock::rfc3339;
use crate::event::{Event, EventLog, PublishedEvent};
use crate::sign::SigningKey;
use crate::stream::CutRule;

/// How many reports of a kind are kept.
const KEPT_REPORTS: usize = 1000;

/// A node as its peers see it.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Peer {
    pub(crate) id: String,
    pub(crate) public_key: String,
    pub(crate) mesh_ip: String,
    pub(crate) endpoint: String,
    pub(crate) allowed_ips: Vec<String>,
    pub(crate) psk: String,
}

/// One registered node.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) hostname: String,
    pub(crate) public_key: String,
    pub(crate) secret_key: String,
    pub(crate) mesh_ip: String,
    pub(crate) endpoint: String,
    pub(crate) reconcile: bool,
    pub(crate) rotate_keys: bool,
    pub(crate) policies: Value,
    pub(crate) metadata: Map<String, Value>,
    pub(crate) data: Value,
    pub(crate) configs: BTreeMap<&'static str, Value>,
    pub(crate) secrets: BTreeMap<String, Secret>,
    pub(crate) log: EventLog,
    pub(crate) cut_rule: Option<CutRule>,
    pub(crate) received: Received,
}

#[derive(Debug, Clone)]
pub(crate) struct Secret {
    pub(crate) plaintext: Vec<u8>,
    pub(crate) version: u64,
}

/// What a node has told the control plane.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Received {
    /// Heartbeats in all.
    pub heartbeats: u64,
    /// The latest heartbeat.
    pub last_heartbeat: Option<Value>,
    /// Metric points in all.
    pub metric_points: u64,
    /// Log lines in all.
    pub log_lines: u64,
    /// Audit entries in all.
    pub audit_entries: u64,
    /// The latest capabilities.
    pub capabilities: Option<Value>,
    /// Drift reports, oldest first; the last 1,000.
    pub drift: VecDeque<Value>,
    /// Integrity violations, oldest first; the last 1,000.
    pub integrity_violations: VecDeque<Value>,
    /// The report entries now in force, by key.
    pub reports: BTreeMap<String, Value>,
    /// The tunnels that the node spoke of, by session.
    pub tunnels: BTreeMap<String, Tunnel>,
}

/// What a node said of one tunnel.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Tunnel {
    /// The body of `tunnel_ready`.
    pub ready: Option<Value>,
    /// The body of `tunnel_closed`.
    pub closed: Option<Value>,
}

/// An action that was asked of a node.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Execution {
    /// The node that was asked.
    pub node_id: String,
    /// The payload of the `action_request`.
    pub request: Value,
    /// The body of `ack_execution`.
    pub ack: Option<Value>,
    /// The body of `report_result`.
    pub result: Option<Value>,
}

/// The server's keys: one signs, the one before is still trusted for a while.
#[derive(Debug)]
pub(crate) struct Keys {
    pub(crate) current: SigningKey,
    previous: Option<(String, Timestamp)>,
}

impl Keys {
    pub(crate) fn new(current: SigningKey) -> Self {
        Self { current, previous: None }
    }

    pub(crate) fn to_json(&self) -> Value {
        keys_json(&self.current.public_key(), self.previous.as_ref())
    }
}

fn keys_json(current: &str, previous: Option<&(String, Timestamp)>) -> Value {
    match previous {
        None => json!({ "current": current }),
        Some((previous, expires)) => {
            json!({ "current": current, "previous": previous, "transition_expires": rfc3339(*expires) })
        }
    }
}

/// All of it.
pub(crate) struct State {
    pub(crate) nodes: BTreeMap<String, Node>,
    pub(crate) keys: Keys,
    pub(crate) executions: BTreeMap<String, Execution>,
    pub(crate) artifacts: HashMap<(String, String, String), Bytes>,
    pub(crate) published: Vec<PublishedEvent>,
    pub(crate) keep_published: bool,
    pub(crate) bus_down: bool,
    tokens: HashMap<String, String>,
    psks: HashMap<(String, String), String>,
    registered: u32,
    event_number: u64,
    execution_number: u64,
    backlog: usize,
}

impl State {
    pub(crate) fn new(key: SigningKey, backlog: usize) -> Self {
        Self {
            nodes: BTreeMap::new(),
            keys: Keys::new(key),
            executions: BTreeMap::new(),
            artifacts: HashMap::new(),
            published: Vec::new(),
            keep_published: true,
            bus_down: false,
            tokens: HashMap::new(),
            psks: HashMap::new(),
            registered: 0,
            event_number: 0,
            execution_number: 0,
            backlog,
        }
    }

    /// The node whose token this is.
    pub(crate) fn owner(&self, token: &str) -> Option<&str> {
        self.tokens.get(token).map(String::as_str)
    }

    /// Takes a node in and tells the others. The same public key is the same node with a new secret.
    pub(crate) fn register(
        &mut self,
        hostname: &str,
        public_key: &str,
        metadata: Map<String, Value>,
        now: Timestamp,
    ) -> String {
        let known = self.nodes.iter().find(|(_, node)| node.public_key == public_key);
        if let Some(node_id) = known.map(|(id, _)| id.clone()) {
            self.replace_secret_key(&node_id);
            if let Some(node) = self.nodes.get_mut(&node_id) {
                node.hostname = hostname.to_owned();
                node.metadata.extend(metadata);
            }
            return node_id;
        }
        let secret_key = random_base64();
        self.registered += 1;
        let node_id = format!("node-{}", self.registered);
        let node = self.new_node(hostname, public_key, &secret_key, metadata);
        self.tokens.insert(secret_key, node_id.clone());
        self.nodes.insert(node_id.clone(), node);
        self.tell_others(&node_id, "peer_added", now);
        node_id
    }

    fn new_node(
        &self,
        hostname: &str,
        public_key: &str,
        secret_key: &str,
        metadata: Map<String, Value>,
    ) -> Node {
        // 100.64.0.0/10, the range for carrier NAT: 22 bits of host.
        let host = self.registered;
        let mesh_ip =
            format!("100.{}.{}.{}", 64 + (host >> 16 & 0x3f), host >> 8 & 0xff, host & 0xff);
        Node {
            hostname: hostname.to_owned(),
            public_key: public_key.to_owned(),
            secret_key: secret_key.to_owned(),
            mesh_ip,
            endpoint: String::new(),
            reconcile: false,
            rotate_keys: false,
            policies: json!([]),
            metadata,
            data: json!([]),
            configs: BTreeMap::new(),
            secrets: BTreeMap::new(),
            log: EventLog::new(self.backlog),
            cut_rule: None,
            received: Received::default(),
        }
    }

    /// Gives a node a new secret key; the old one is dead.
    pub(crate) fn replace_secret_key(&mut self, node_id: &str) -> Option<String> {
        let node = self.nodes.get_mut(node_id)?;
        let secret_key = random_base64();
        node.secret_key = secret_key.clone();
        self.tokens.retain(|_, owner| owner != node_id);
        self.tokens.insert(secret_key.clone(), node_id.to_owned());
        Some(secret_key)
    }

    /// Lets a node go and tells the others.
    pub(crate) fn deregister(&mut self, node_id: &str, now: Timestamp) {
        self.tokens.retain(|_, owner| owner != node_id);
        if self.nodes.remove(node_id).is_none() {
            return;
        }
        self.psks.retain(|(a, b), _| a != node_id && b != node_id);
        for other in self.others(node_id) {
            self.publish(&other, Event::new("peer_removed", &json!({ "peer_id": node_id })), now);
        }
    }

    /// Gives a node a new public key, and a new psk with each peer; tells the others.
    pub(crate) fn rotate_keys(&mut self, node_id: &str, public_key: &str, now: Timestamp) {
        if let Some(node) = self.nodes.get_mut(node_id) {
            node.public_key = public_key.to_owned();
            node.rotate_keys = false;
        }
        self.psks.retain(|(a, b), _| a != node_id && b != node_id);
        self.tell_others(node_id, "peer_key_rotated", now);
    }

    /// Where a node can be reached; tells the others if that is news.
    pub(crate) fn set_endpoint(&mut self, node_id: &str, endpoint: &str, now: Timestamp) {
        let Some(node) = self.nodes.get_mut(node_id) else {
            return;
        };
        if node.endpoint != endpoint {
            node.endpoint = endpoint.to_owned();
            self.tell_others(node_id, "peer_endpoint_changed", now);
        }
    }

    /// The other nodes as `node_id` sees them.
    pub(crate) fn peers_of(&mut self, node_id: &str) -> Vec<Peer> {
        self.others(node_id).iter().filter_map(|other| self.peer(other, node_id)).collect()
    }

    fn others(&self, node_id: &str) -> Vec<String> {
        self.nodes.keys().filter(|other| *other != node_id).cloned().collect()
    }

    /// `subject` as `viewer` sees it, with the psk of the pair.
    fn peer(&mut self, subject: &str, viewer: &str) -> Option<Peer> {
        let node = self.nodes.get(subject)?;
        let (first, second) = if subject < viewer { (subject, viewer) } else { (viewer, subject) };
        let psk =
            self.psks.entry((first.to_owned(), second.to_owned())).or_insert_with(random_base64);
        Some(Peer {
            id: subject.to_owned(),
            public_key: node.public_key.clone(),
            mesh_ip: node.mesh_ip.clone(),
            endpoint: node.endpoint.clone(),
            allowed_ips: vec![format!("{}/32", node.mesh_ip)],
            psk: psk.clone(),
        })
    }

    fn tell_others(&mut self, subject: &str, event_type: &str, now: Timestamp) {
        for other in self.others(subject) {
            if let Some(peer) = self.peer(subject, &other) {
                self.publish(&other, Event::new(event_type, &peer), now);
            }
        }
    }

    /// Signs an event and puts it on a node's stream; `None` if there is no such node.
    pub(crate) fn publish(
        &mut self,
        node_id: &str,
        event: Event,
        now: Timestamp,
    ) -> Option<PublishedEvent> {
        let node = self.nodes.get_mut(node_id)?;
        self.event_number += 1;
        let published =
            event.seal(node_id, node.log.last() + 1, self.event_number, now, &self.keys.current);
        node.log.push(published.frame.clone());
        if self.keep_published {
            self.published.push(published.clone());
        }
        Some(published)
    }

    /// A new signing key; every node hears of it under the old one.
    pub(crate) fn rotate_signing_key(
        &mut self,
        next: SigningKey,
        transition: Duration,
        now: Timestamp,
    ) {
        let transition =
            SignedDuration::try_from(transition).unwrap_or(SignedDuration::from_hours(1));
        let expires = now.checked_add(transition).unwrap_or(Timestamp::MAX);
        let previous = Some((self.keys.current.public_key(), expires));
        let payload = keys_json(&next.public_key(), previous.as_ref());
        for node_id in self.nodes.keys().cloned().collect::<Vec<_>>() {
            self.publish(&node_id, Event::new("signing_key_rotated", &payload), now);
        }
        self.keys = Keys { current: next, previous };
    }

    /// Asks a node to act; fills in `execution_id` and `timeout` where they are missing.
    pub(crate) fn request_action(
        &mut self,
        node_id: &str,
        mut request: Value,
        now: Timestamp,
    ) -> Option<String> {
        self.execution_number += 1;
        let fields = request.as_object_mut()?;
        let generated = format!("exec-{}", self.execution_number);
        let execution_id =
            fields.entry("execution_id").or_insert(json!(generated)).as_str()?.to_owned();
        fields.entry("timeout").or_insert(json!("30s"));
        self.publish(node_id, Event::new("action_request", &request), now)?;
        let execution = Execution { node_id: node_id.to_owned(), request, ack: None, result: None };
        self.executions.insert(execution_id.clone(), execution);
        Some(execution_id)
    }
}

impl Node {
    pub(crate) fn secret_refs(&self) -> Value {
        self.secrets
            .iter()
            .map(|(key, secret)| json!({ "key": key, "version": secret.version }))
            .collect()
    }
}

impl Received {
    pub(crate) fn keep(list: &mut VecDeque<Value>, value: Value) {
        list.push_back(value);
        if list.len() > KEPT_REPORTS {
            list.pop_front();
        }
    }
}

/// 32 random bytes in base64: a secret, a psk.
fn random_base64() -> String {
    STANDARD.encode(crate::random_bytes::<32>())
}
