//! What is sent and fetched.

use bytes::Bytes;
use plexsphere_client::types::HeartbeatRequest;
use plexsphere_client::{LogBatch, MetricBatch};
use serde_json::{Value, json};

const METRIC_POINTS: usize = 978;
const LOG_LINES: usize = 10_000;
const GROUPS: [&str; 4] = ["tunnel", "cpu", "memory", "disk"];
const UNITS: [&str; 3] = ["plexd.service", "sshd.service", "kernel"];
const SEVERITIES: [&str; 3] = ["info", "notice", "warning"];

pub struct Payloads {
    pub metrics: MetricBatch,
    pub logs: LogBatch,
}

impl Payloads {
    pub fn new() -> Self {
        Self {
            metrics: decoded((0..METRIC_POINTS).map(metric).collect()),
            logs: decoded((0..LOG_LINES).map(log).collect()),
        }
    }

    #[allow(clippy::unused_self)]
    pub fn heartbeat(&self, node: &str) -> HeartbeatRequest {
        serde_json::from_value(json!({
            "node_id": node,
            "timestamp": "2025-01-15T10:30:00.123456789Z",
            "status": "healthy",
            "uptime": "72h3m12s",
            "binary_checksum": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "mesh": { "interface": "plexd0", "peer_count": 12, "listen_port": 51820 },
            "nat": { "public_endpoint": "203.0.113.17:51820", "type": "full_cone" },
        }))
        .unwrap()
    }
}

fn decoded<T: serde::de::DeserializeOwned>(items: Vec<Value>) -> T {
    serde_json::from_value(Value::Array(items)).unwrap()
}

/// About 210 bytes, with numbers that do not repeat.
fn metric(index: usize) -> Value {
    let number = scrambled(index);
    json!({
        "timestamp": format!("2025-01-15T10:{:02}:{:02}.{:09}Z", index / 60 % 60, index % 60, number % 1_000_000_000),
        "group": GROUPS[index % 4],
        "peer_id": format!("node-{:012}", index / 4),
        "data": {
            "rx_bytes": number >> 20,
            "tx_bytes": number >> 24,
            "latency_ms": (number % 100_000) as f64 / 1000.0,
            "handshake": format!("{:016x}", number),
            "loss": (number % 97) as f64 / 1000.0,
        },
    })
}

fn log(index: usize) -> Value {
    let number = scrambled(index);
    json!({
        "timestamp": format!("2025-01-15T10:{:02}:{:02}.{:09}Z", index / 60 % 60, index % 60, number % 1_000_000_000),
        "source": "journald",
        "unit": UNITS[index % 3],
        "message": format!("peer node-{:012} handshake took {} us, session {number:016x}", number % 1000, number % 90_000),
        "severity": SEVERITIES[index % 3],
        "hostname": "node-1",
    })
}

/// A number that looks random and is the same in each run.
fn scrambled(index: usize) -> u64 {
    let mut number = (index as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    number ^= number >> 31;
    number = number.wrapping_mul(0xBF58_476D_1CE4_E5B9);
    number ^ (number >> 29)
}

/// A state with so many peers. It names no signing keys: those that the caller has stay in force.
pub fn state(peers: usize) -> Bytes {
    let peers: Vec<Value> = (0..peers).map(peer).collect();
    let state = json!({
        "peers": peers,
        "policies": null,
        "metadata": {},
        "data": null,
        "secret_refs": null,
    });
    state.to_string().into()
}

fn peer(index: usize) -> Value {
    json!({
        "id": format!("node-{index:012}"),
        "public_key": "5u4wRwoVVBYtwBv3eDFi0nEVAPjPoPyfZE0TTgEEmGA=",
        "mesh_ip": format!("10.99.{}.{}", index / 256, index % 256),
        "endpoint": format!("203.0.113.{}:51820", index % 256),
        "allowed_ips": [format!("10.99.{}.{}/32", index / 256, index % 256)],
        "psk": "",
    })
}
