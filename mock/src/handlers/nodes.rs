//! Joining, living, leaving.

use serde_json::{Value, json};

use super::{Call, Caller, forbidden};
use crate::answer::Answer;
use crate::problem::Problem;

pub(super) fn register(call: &Call) -> Result<Answer, Problem> {
    if call.text("token") != call.inner.settings.bootstrap_token {
        return Err(Problem::unauthorized("field \"token\" is not the bootstrap token"));
    }
    let hostname = call.not_empty("hostname")?;
    let public_key = call.not_empty("public_key")?;
    let metadata =
        call.body.get("metadata").and_then(Value::as_object).cloned().unwrap_or_default();
    let mut state = call.inner.state();
    let node_id = state.register(hostname, public_key, metadata, call.inner.now());
    let peers = state.peers_of(&node_id);
    let signing_public_key = state.keys.current.public_key();
    let Some(node) = state.nodes.get_mut(&node_id) else {
        panic!("{node_id} was registered just now")
    };
    if let Some(capabilities) = call.body.get("capabilities").filter(|value| !value.is_null()) {
        node.received.capabilities = Some(capabilities.clone());
    }
    Ok(call.json(json!({
        "node_id": node_id,
        "mesh_ip": node.mesh_ip,
        "signing_public_key": signing_public_key,
        "node_secret_key": node.secret_key,
        "peers": peers,
    })))
}

pub(super) fn heartbeat(call: &Call) -> Result<Answer, Problem> {
    call.same_as_path("node_id")?;
    let mut state = call.inner.state();
    let Some(node) = state.nodes.get_mut(call.node_id()) else {
        return Ok(call.done());
    };
    node.received.heartbeats += 1;
    node.received.last_heartbeat = Some(call.body.clone());
    Ok(call.json(json!({ "reconcile": node.reconcile, "rotate_keys": node.rotate_keys })))
}

pub(super) fn deregister(call: &Call) -> Answer {
    call.inner.state().deregister(call.node_id(), call.inner.now());
    call.done()
}

pub(super) fn rotate_keys(call: &Call) -> Result<Answer, Problem> {
    let node_id = call.not_empty("node_id")?;
    let public_key = call.not_empty("new_public_key")?;
    let mut state = call.inner.state();
    if !state.nodes.contains_key(node_id) {
        return Err(Problem::not_found("unknown_node", format!("there is no node {node_id:?}")));
    }
    match &call.caller {
        Caller::Node(owner) if owner == node_id => {}
        _ => return Err(forbidden("only the node itself rotates its keys")),
    }
    state.rotate_keys(node_id, public_key, call.inner.now());
    let updated = state.peers_of(node_id);
    Ok(call.json(json!({ "updated_peers": updated })))
}

pub(super) fn update_capabilities(call: &Call) -> Answer {
    if let Some(node) = call.inner.state().nodes.get_mut(call.node_id()) {
        node.received.capabilities = Some(call.body.clone());
    }
    call.done()
}

pub(super) fn report_endpoint(call: &Call) -> Result<Answer, Problem> {
    let endpoint = call.not_empty("public_endpoint")?;
    let mut state = call.inner.state();
    state.set_endpoint(call.node_id(), endpoint, call.inner.now());
    let peers = state.peers_of(call.node_id());
    let known = peers.iter().filter(|peer| !peer.endpoint.is_empty());
    let endpoints: Value =
        known.map(|peer| json!({ "peer_id": peer.id, "endpoint": peer.endpoint })).collect();
    Ok(call.json(json!({ "peer_endpoints": endpoints })))
}
