//! What a node may see: its state, its secrets, its events.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use serde_json::json;

use super::Call;
use crate::answer::Answer;
use crate::problem::Problem;

pub(super) fn fetch_state(call: &Call) -> Result<Answer, Problem> {
    let mut state = call.inner.state();
    let peers = state.peers_of(call.node_id());
    let signing_keys = state.keys.to_json();
    let node = state.nodes.get_mut(call.node_id()).ok_or_else(|| gone(call))?;
    node.reconcile = false;
    let mut answer = json!({
        "peers": peers,
        "policies": node.policies,
        "signing_keys": signing_keys,
        "data": node.data,
        "secret_refs": node.secret_refs(),
    });
    if !node.metadata.is_empty() {
        answer["metadata"] = node.metadata.clone().into();
    }
    for (block, config) in &node.configs {
        answer[*block] = config.clone();
    }
    Ok(call.json(answer))
}

pub(super) fn fetch_secret(call: &Call) -> Result<Answer, Problem> {
    let key = call.parameters.get("key");
    let state = call.inner.state();
    let node = state.nodes.get(call.node_id()).ok_or_else(|| gone(call))?;
    let unknown = || Problem::not_found("unknown_secret", format!("there is no secret {key:?}"));
    let secret = node.secrets.get(key).ok_or_else(unknown)?;
    let (ciphertext, nonce) = seal(&node.secret_key, &secret.plaintext);
    Ok(call.json(
        json!({ "key": key, "ciphertext": ciphertext, "nonce": nonce, "version": secret.version }),
    ))
}

/// AES-256-GCM under the node's key, the tag appended; both in base64.
fn seal(node_secret_key: &str, plaintext: &[u8]) -> (String, String) {
    let nonce = crate::random_bytes::<12>();
    let mut sealed = plaintext.to_vec();
    let key = STANDARD.decode(node_secret_key).unwrap_or_default();
    let done = UnboundKey::new(&AES_256_GCM, &key).and_then(|key| {
        let nonce = Nonce::assume_unique_for_key(nonce);
        LessSafeKey::new(key).seal_in_place_append_tag(nonce, Aad::empty(), &mut sealed)
    });
    assert!(done.is_ok(), "a node's secret key is 32 bytes in base64");
    (STANDARD.encode(sealed), STANDARD.encode(nonce))
}

pub(super) fn connect_sse(call: &Call) -> Result<Answer, Problem> {
    let state = call.inner.state();
    if state.bus_down {
        let detail = "the event bus is down; the state can still be fetched";
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "event_bus_down", detail));
    }
    let last = state.nodes.get(call.node_id()).ok_or_else(|| gone(call))?.log.last();
    let after = match call.headers.get("last-event-id") {
        None => last,
        // An id from the future is one of another life of the server: there is nothing to replay.
        Some(_) => last_event_id(call)?.min(last),
    };
    Ok(Answer::events(call.node_id(), after))
}

fn last_event_id(call: &Call) -> Result<u64, Problem> {
    let text = call.header("last-event-id").unwrap_or_default();
    let decimal = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| decimal).ok_or_else(|| {
        Problem::bad_request(
            "malformed_last_event_id",
            format!("Last-Event-ID {text:?} is not a sequence number"),
        )
    })
}

fn gone(call: &Call) -> Problem {
    Problem::not_found("unknown_node", format!("there is no node {:?}", call.node_id()))
}
