//! The routes and events of the contract, as this crate reads it.
//!
//! These tables are data for two readers: the server routes and checks by them, and a checker may
//! compare them with another reading of the contract (`plexsphere-mock --routes` prints them).

use percent_encoding::percent_decode_str;
use serde::Serialize;

use crate::schema::events::*;
use crate::schema::objects::*;
use crate::schema::{Kind, SCHEMAS, Schema};

/// One operation of the control plane.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Route {
    /// The contract's method name, for example `"heartbeat"`.
    pub operation: &'static str,
    /// The HTTP method.
    pub method: &'static str,
    /// The path, with parameters in braces.
    pub path: &'static str,
    /// The JSON body that it takes, if any.
    pub request: Option<Kind>,
    /// What it answers when all is well.
    pub answer: Answers,
    /// The status of that answer.
    pub success: u16,
}

/// What a route answers when all is well.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Answers {
    /// Nothing that the caller reads.
    Ignored,
    /// A JSON body.
    Json(Kind),
    /// A stream of bytes.
    Bytes,
    /// An event stream of signed envelopes.
    Events,
}

/// One type of event.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct EventType {
    /// The `event_type` on the wire.
    pub name: &'static str,
    /// Its payload; `None` for a trigger, whose payload says nothing.
    pub payload: Option<Kind>,
}

const fn get(operation: &'static str, path: &'static str, answer: Answers) -> Route {
    Route { operation, method: "GET", path, request: None, answer, success: 200 }
}

const fn send(
    operation: &'static str,
    method: &'static str,
    path: &'static str,
    request: Kind,
    answer: Answers,
    success: u16,
) -> Route {
    Route { operation, method, path, request: Some(request), answer, success }
}

const fn object(schema: &'static Schema) -> Kind {
    Kind::Object(schema)
}

const fn answers(schema: &'static Schema) -> Answers {
    Answers::Json(Kind::Object(schema))
}

use Answers::Ignored;

/// Every operation, in the contract's order; `ping` last.
#[rustfmt::skip]
pub static ROUTES: &[Route] = &[
    send("register", "POST", "/v1/register", object(&REGISTER_REQUEST), answers(&REGISTER_RESPONSE), 201),
    send("heartbeat", "POST", "/v1/nodes/{node_id}/heartbeat", object(&HEARTBEAT_REQUEST), answers(&HEARTBEAT_RESPONSE), 200),
    Route { operation: "deregister", method: "POST", path: "/v1/nodes/{node_id}/deregister", request: None, answer: Ignored, success: 204 },
    get("fetch_state", "/v1/nodes/{node_id}/state", answers(&STATE_RESPONSE)),
    get("connect_sse", "/v1/nodes/{node_id}/events", Answers::Events),
    send("rotate_keys", "POST", "/v1/keys/rotate", object(&KEY_ROTATE_REQUEST), answers(&KEY_ROTATE_RESPONSE), 200),
    send("update_capabilities", "PUT", "/v1/nodes/{node_id}/capabilities", object(&CAPABILITIES_PAYLOAD), Ignored, 204),
    send("report_endpoint", "PUT", "/v1/nodes/{node_id}/endpoint", object(&ENDPOINT_REPORT), answers(&ENDPOINT_RESPONSE), 200),
    send("report_drift", "POST", "/v1/nodes/{node_id}/drift", object(&DRIFT_REPORT), Ignored, 204),
    get("fetch_secret", "/v1/nodes/{node_id}/secrets/{key}", answers(&SECRET_RESPONSE)),
    send("sync_reports", "POST", "/v1/nodes/{node_id}/report", object(&REPORT_SYNC_REQUEST), Ignored, 204),
    send("ack_execution", "POST", "/v1/nodes/{node_id}/executions/{execution_id}/ack", object(&EXECUTION_ACK), Ignored, 204),
    send("report_result", "POST", "/v1/nodes/{node_id}/executions/{execution_id}/result", object(&EXECUTION_RESULT), Ignored, 204),
    send("report_metrics", "POST", "/v1/nodes/{node_id}/metrics", Kind::List(&object(&METRIC_POINT)), Ignored, 202),
    send("report_logs", "POST", "/v1/nodes/{node_id}/logs", Kind::List(&object(&LOG_ENTRY)), Ignored, 202),
    send("report_audit", "POST", "/v1/nodes/{node_id}/audit", Kind::List(&object(&AUDIT_ENTRY)), Ignored, 202),
    get("fetch_artifact", "/v1/artifacts/plexd/{version}/{os}/{arch}", Answers::Bytes),
    send("tunnel_ready", "POST", "/v1/nodes/{node_id}/tunnels/{session_id}/ready", object(&TUNNEL_READY_REQUEST), Ignored, 204),
    send("tunnel_closed", "POST", "/v1/nodes/{node_id}/tunnels/{session_id}/closed", object(&TUNNEL_CLOSED_REQUEST), Ignored, 204),
    send("report_integrity_violation", "POST", "/v1/nodes/{node_id}/integrity/violations", object(&INTEGRITY_VIOLATION_REPORT), Ignored, 204),
    get("ping", "/v1/ping", Ignored),
];

const fn trigger(name: &'static str) -> EventType {
    EventType { name, payload: None }
}

const fn event(name: &'static str, schema: &'static Schema) -> EventType {
    EventType { name, payload: Some(Kind::Object(schema)) }
}

/// The 24 types of event.
pub static EVENTS: &[EventType] = &[
    event("peer_added", &PEER),
    event("peer_removed", &PEER_REMOVED),
    event("peer_key_rotated", &PEER),
    event("peer_endpoint_changed", &PEER_ENDPOINT_CHANGED),
    trigger("policy_updated"),
    event("action_request", &ACTION_REQUEST),
    event("session_revoked", &SESSION_REVOKED),
    event("ssh_session_setup", &SSH_SESSION_SETUP),
    trigger("rotate_keys"),
    event("signing_key_rotated", &SIGNING_KEYS),
    event("node_state_updated", &NODE_STATE_UPDATED),
    event("node_secrets_updated", &NODE_SECRETS_UPDATED),
    trigger("bridge_config_updated"),
    event("relay_session_assigned", &RELAY_SESSION_ASSIGNMENT),
    event("relay_session_revoked", &RELAY_SESSION_REVOKED),
    trigger("user_access_config_updated"),
    event("user_access_peer_assigned", &USER_ACCESS_PEER),
    event("user_access_peer_revoked", &USER_ACCESS_PEER_REVOKED),
    trigger("ingress_config_updated"),
    event("ingress_rule_assigned", &INGRESS_RULE),
    event("ingress_rule_revoked", &INGRESS_RULE_REVOKED),
    trigger("site_to_site_config_updated"),
    event("site_to_site_tunnel_assigned", &SITE_TO_SITE_TUNNEL),
    event("site_to_site_tunnel_revoked", &SITE_TO_SITE_TUNNEL_REVOKED),
];

/// The whole reading (routes, schemas, events) as one JSON document.
pub fn contract_as_json() -> String {
    let document = serde_json::json!({ "routes": ROUTES, "schemas": SCHEMAS, "events": EVENTS });
    format!("{document:#}")
}

/// Where a request's path leads.
pub(crate) enum Target {
    Route(&'static Route, Parameters),
    /// The path exists, the method does not; `Allow` lists those that do.
    WrongMethod(String),
    Unknown,
}

/// The decoded path parameters, by name.
#[derive(Debug, Clone, Default)]
pub(crate) struct Parameters(Vec<(&'static str, String)>);

impl Parameters {
    /// A parameter of the matched route; empty if the route has none of that name.
    pub(crate) fn get(&self, name: &str) -> &str {
        self.find(name).unwrap_or_default()
    }

    pub(crate) fn find(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn into_vec(self) -> Vec<(&'static str, String)> {
        self.0
    }
}

pub(crate) fn find(method: &str, path: &str) -> Target {
    let mut allowed = Vec::new();
    for route in ROUTES {
        let Some(parameters) = match_path(route.path, path) else {
            continue;
        };
        if route.method == method {
            return Target::Route(route, parameters);
        }
        allowed.push(route.method);
    }
    match allowed.is_empty() {
        true => Target::Unknown,
        false => Target::WrongMethod(allowed.join(", ")),
    }
}

/// Segment by segment; a parameter takes exactly one segment that is not empty, percent-decoded.
fn match_path(pattern: &'static str, path: &str) -> Option<Parameters> {
    let mut parameters = Vec::new();
    let mut segments = path.split('/');
    for wanted in pattern.split('/') {
        let found = segments.next()?;
        match wanted.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
            Some(_) if found.is_empty() => return None,
            Some(name) => {
                let decoded = percent_decode_str(found).decode_utf8().ok()?;
                parameters.push((name, decoded.into_owned()));
            }
            None if wanted == found => {}
            None => return None,
        }
    }
    segments.next().is_none().then_some(Parameters(parameters))
}
