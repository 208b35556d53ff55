//! What nodes tell: telemetry, reports, drift, violations, tunnels.

use serde_json::{Value, json};

use super::Call;
use crate::answer::Answer;
use crate::problem::Problem;
use crate::state::Received;

/// Drift and integrity violations.
pub(super) fn keep(call: &Call) -> Answer {
    if let Some(node) = call.inner.state().nodes.get_mut(call.node_id()) {
        let list = match call.route.operation {
            "report_drift" => &mut node.received.drift,
            _ => &mut node.received.integrity_violations,
        };
        Received::keep(list, call.body.clone());
    }
    call.done()
}

/// Metrics, logs and audit entries.
pub(super) fn count(call: &Call) -> Answer {
    let accepted = call.body.as_array().map_or(0, Vec::len) as u64;
    if let Some(node) = call.inner.state().nodes.get_mut(call.node_id()) {
        match call.route.operation {
            "report_metrics" => node.received.metric_points += accepted,
            "report_logs" => node.received.log_lines += accepted,
            _ => node.received.audit_entries += accepted,
        }
    }
    call.done().json(&json!({ "accepted": accepted }))
}

/// All entries or none: 409 if one is not newer than what is there.
pub(super) fn sync(call: &Call) -> Result<Answer, Problem> {
    let mut state = call.inner.state();
    let Some(node) = state.nodes.get_mut(call.node_id()) else {
        return Ok(call.done());
    };
    let reports = &mut node.received.reports;
    let entries = list(&call.body, "entries");
    for entry in entries {
        let Some(known) = reports.get(key_of(entry)) else {
            continue;
        };
        if entry != known && entry["version"].as_i64() <= known["version"].as_i64() {
            let detail =
                format!("report {:?} is at version {} already", key_of(entry), known["version"]);
            return Err(Problem::conflict("version_conflict", detail));
        }
    }
    for entry in entries {
        reports.insert(key_of(entry).to_owned(), entry.clone());
    }
    for key in list(&call.body, "deleted").iter().filter_map(Value::as_str) {
        reports.remove(key);
    }
    Ok(call.done())
}

pub(super) fn tunnel(call: &Call) -> Answer {
    if let Some(node) = call.inner.state().nodes.get_mut(call.node_id()) {
        let session = call.parameters.get("session_id").to_owned();
        let tunnel = node.received.tunnels.entry(session).or_default();
        match call.route.operation {
            "tunnel_ready" => tunnel.ready = Some(call.body.clone()),
            _ => tunnel.closed = Some(call.body.clone()),
        }
    }
    call.done()
}

fn list<'a>(body: &'a Value, field: &str) -> &'a [Value] {
    body.get(field).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn key_of(entry: &Value) -> &str {
    entry["key"].as_str().unwrap_or_default()
}
