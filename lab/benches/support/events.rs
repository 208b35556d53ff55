//! Signed events as a control plane sends them, in memory.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use plexsphere_client::values::Timestamp;
use plexsphere_mock::{SigningKey, canonical};
use serde_json::json;

/// Events with what was signed of them.
pub struct Signed {
    pub key: String,
    /// The stream's bytes.
    pub bytes: Bytes,
    /// Of each event the envelope, the signed bytes and the signature in base64.
    pub events: Vec<(String, String, String)>,
}

/// `count` events `peer_added`, each about `size` bytes on the wire (600 at least).
pub fn signed(count: usize, size: usize) -> Signed {
    let key = SigningKey::from_seed(&[7; 32]);
    let soon = Timestamp::from(SystemTime::now() + Duration::from_secs(120));
    let mut bytes = String::new();
    let mut events = Vec::with_capacity(count);
    for index in 0..count {
        let payload = peer(index, size.saturating_sub(600));
        let id = format!("evt-01HQ3V9Z{index:018}");
        let nonce = format!("9f86d081884c7d65{index:016x}");
        let message = canonical("peer_added", &id, &soon.to_string(), &nonce, &payload);
        let signature = key.sign(message.as_bytes());
        let signed = &message[..message.len() - 1];
        let envelope = format!(r#"{signed},"signature":"{signature}"}}"#);
        bytes += &format!("id: {}\nevent: peer_added\ndata: {envelope}\n\n", index + 1);
        events.push((envelope, message, signature));
    }
    Signed { key: key.public_key(), bytes: bytes.into(), events }
}

fn peer(index: usize, more: usize) -> String {
    let mut networks = vec![format!("10.99.{}.{}/32", index / 256 % 256, index % 256), "fd7a:115c:a1e0::17/128".into()];
    networks.extend((0..more / 20).map(|n| format!("192.168.{:03}.{:03}/32", n / 256, n % 256)));
    json!({
        "id": format!("node-{index:08}-7c1e-4a52-9f3b-2d4e6f8a0b1c"),
        "public_key": "5u4wRwoVVBYtwBv3eDFi0nEVAPjPoPyfZE0TTgEEmGA=",
        "mesh_ip": format!("10.99.{}.{}", index / 256 % 256, index % 256),
        "endpoint": "relay-17.eu-central.example.net:51820",
        "allowed_ips": networks,
        "psk": "lNYp2sM5bI1ZFfZtKl0c3aHfRz5q0k9yT6dQ8mB2wXo=",
    })
    .to_string()
}
