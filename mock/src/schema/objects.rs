//! The bodies of requests and answers, field by field.

use super::events::*;
use super::{Kind, STRING_MAP, STRINGS, Schema, optional, required};

pub static REGISTER_REQUEST: Schema = Schema {
    name: "RegisterRequest",
    fields: &[
        required("token", Kind::String),
        required("public_key", Kind::String),
        required("hostname", Kind::String),
        optional("metadata", STRING_MAP),
        optional("capabilities", Kind::Object(&CAPABILITIES_PAYLOAD)),
    ],
};

pub static REGISTER_RESPONSE: Schema = Schema {
    name: "RegisterResponse",
    fields: &[
        required("node_id", Kind::String),
        required("mesh_ip", Kind::String),
        required("signing_public_key", Kind::String),
        required("node_secret_key", Kind::String),
        required("peers", Kind::List(&Kind::Object(&PEER))),
    ],
};

pub static PEER: Schema = Schema {
    name: "Peer",
    fields: &[
        required("id", Kind::String),
        required("public_key", Kind::String),
        required("mesh_ip", Kind::String),
        required("endpoint", Kind::String),
        required("allowed_ips", STRINGS),
        required("psk", Kind::String),
    ],
};

pub static HEARTBEAT_REQUEST: Schema = Schema {
    name: "HeartbeatRequest",
    fields: &[
        required("node_id", Kind::String),
        required("timestamp", Kind::Time),
        required("status", Kind::String),
        required("uptime", Kind::String),
        required("binary_checksum", Kind::String),
        optional("mesh", Kind::Object(&MESH_INFO)),
        optional("nat", Kind::Object(&NAT_INFO)),
        optional("bridge", Kind::Object(&BRIDGE_INFO)),
        optional("user_access", Kind::Object(&USER_ACCESS_INFO)),
        optional("ingress", Kind::Object(&INGRESS_INFO)),
        optional("site_to_site", Kind::Object(&SITE_TO_SITE_INFO)),
    ],
};

pub static MESH_INFO: Schema = Schema {
    name: "MeshInfo",
    fields: &[
        required("interface", Kind::String),
        required("peer_count", Kind::Integer),
        required("listen_port", Kind::Integer),
    ],
};

pub static NAT_INFO: Schema = Schema {
    name: "NATInfo",
    fields: &[required("public_endpoint", Kind::String), required("type", Kind::String)],
};

pub static BRIDGE_INFO: Schema = Schema {
    name: "BridgeInfo",
    fields: &[
        required("enabled", Kind::Boolean),
        required("access_interface", Kind::String),
        required("active_routes", Kind::Integer),
        required("relay_enabled", Kind::Boolean),
        required("active_relay_sessions", Kind::Integer),
        required("ingress_enabled", Kind::Boolean),
        required("active_ingress_rules", Kind::Integer),
        required("site_to_site_enabled", Kind::Boolean),
        required("active_site_to_site_tunnels", Kind::Integer),
    ],
};

pub static USER_ACCESS_INFO: Schema = Schema {
    name: "UserAccessInfo",
    fields: &[
        required("enabled", Kind::Boolean),
        required("interface_name", Kind::String),
        required("peer_count", Kind::Integer),
        required("listen_port", Kind::Integer),
    ],
};

pub static INGRESS_INFO: Schema = Schema {
    name: "IngressInfo",
    fields: &[
        required("enabled", Kind::Boolean),
        required("rule_count", Kind::Integer),
        required("connection_count", Kind::Integer),
    ],
};

pub static SITE_TO_SITE_INFO: Schema = Schema {
    name: "SiteToSiteInfo",
    fields: &[required("enabled", Kind::Boolean), required("tunnel_count", Kind::Integer)],
};

pub static HEARTBEAT_RESPONSE: Schema = Schema {
    name: "HeartbeatResponse",
    fields: &[optional("reconcile", Kind::Boolean), optional("rotate_keys", Kind::Boolean)],
};

pub static STATE_RESPONSE: Schema = Schema {
    name: "StateResponse",
    fields: &[
        required("peers", Kind::List(&Kind::Object(&PEER))),
        required("policies", Kind::List(&Kind::Object(&POLICY))),
        optional("signing_keys", Kind::Object(&SIGNING_KEYS)),
        optional("metadata", STRING_MAP),
        optional("bridge_config", Kind::Object(&BRIDGE_CONFIG)),
        optional("relay_config", Kind::Object(&RELAY_CONFIG)),
        optional("user_access_config", Kind::Object(&USER_ACCESS_CONFIG)),
        optional("ingress_config", Kind::Object(&INGRESS_CONFIG)),
        optional("site_to_site_config", Kind::Object(&SITE_TO_SITE_CONFIG)),
        required("data", Kind::List(&Kind::Object(&DATA_ENTRY))),
        required("secret_refs", Kind::List(&Kind::Object(&SECRET_REF))),
    ],
};

pub static POLICY: Schema = Schema {
    name: "Policy",
    fields: &[
        required("id", Kind::String),
        required("rules", Kind::List(&Kind::Object(&POLICY_RULE))),
    ],
};

pub static POLICY_RULE: Schema = Schema {
    name: "PolicyRule",
    fields: &[
        required("src", Kind::String),
        required("dst", Kind::String),
        required("port", Kind::Integer),
        required("protocol", Kind::String),
        required("action", Kind::String),
    ],
};

pub static SIGNING_KEYS: Schema = Schema {
    name: "SigningKeys",
    fields: &[
        required("current", Kind::String),
        optional("previous", Kind::String),
        optional("transition_expires", Kind::Time),
    ],
};

pub static DATA_ENTRY: Schema = Schema {
    name: "DataEntry",
    fields: &[
        required("key", Kind::String),
        required("content_type", Kind::String),
        required("payload", Kind::Any),
        required("version", Kind::Integer),
        required("updated_at", Kind::Time),
    ],
};

pub static REPORT_ENTRY: Schema = Schema {
    name: "ReportEntry",
    fields: &[
        required("key", Kind::String),
        required("content_type", Kind::String),
        required("payload", Kind::Any),
        required("version", Kind::Integer),
        required("updated_at", Kind::Time),
    ],
};

pub static SECRET_REF: Schema = Schema {
    name: "SecretRef",
    fields: &[required("key", Kind::String), required("version", Kind::Integer)],
};

pub static SECRET_RESPONSE: Schema = Schema {
    name: "SecretResponse",
    fields: &[
        required("key", Kind::String),
        required("ciphertext", Kind::String),
        required("nonce", Kind::String),
        required("version", Kind::Integer),
    ],
};

pub static DRIFT_REPORT: Schema = Schema {
    name: "DriftReport",
    fields: &[
        required("timestamp", Kind::Time),
        required("corrections", Kind::List(&Kind::Object(&DRIFT_CORRECTION))),
    ],
};

pub static DRIFT_CORRECTION: Schema = Schema {
    name: "DriftCorrection",
    fields: &[required("type", Kind::String), required("detail", Kind::String)],
};

pub static REPORT_SYNC_REQUEST: Schema = Schema {
    name: "ReportSyncRequest",
    fields: &[
        required("entries", Kind::List(&Kind::Object(&REPORT_ENTRY))),
        required("deleted", STRINGS),
    ],
};

pub static EXECUTION_ACK: Schema = Schema {
    name: "ExecutionAck",
    fields: &[
        required("execution_id", Kind::String),
        required("status", Kind::String),
        required("reason", Kind::String),
    ],
};

pub static EXECUTION_RESULT: Schema = Schema {
    name: "ExecutionResult",
    fields: &[
        required("execution_id", Kind::String),
        required("status", Kind::String),
        required("exit_code", Kind::Integer),
        required("stdout", Kind::String),
        required("stderr", Kind::String),
        required("duration", Kind::String),
        required("finished_at", Kind::Time),
        optional("triggered_by", Kind::Object(&TRIGGERED_BY)),
    ],
};

pub static TRIGGERED_BY: Schema = Schema {
    name: "TriggeredBy",
    fields: &[
        required("type", Kind::String),
        required("session_id", Kind::String),
        required("user_id", Kind::String),
        required("email", Kind::String),
    ],
};

pub static METRIC_POINT: Schema = Schema {
    name: "MetricPoint",
    fields: &[
        required("timestamp", Kind::Time),
        required("group", Kind::String),
        optional("peer_id", Kind::String),
        required("data", Kind::Any),
    ],
};

pub static LOG_ENTRY: Schema = Schema {
    name: "LogEntry",
    fields: &[
        required("timestamp", Kind::Time),
        required("source", Kind::String),
        required("unit", Kind::String),
        required("message", Kind::String),
        required("severity", Kind::String),
        required("hostname", Kind::String),
    ],
};

pub static AUDIT_ENTRY: Schema = Schema {
    name: "AuditEntry",
    fields: &[
        required("timestamp", Kind::Time),
        required("source", Kind::String),
        required("event_type", Kind::String),
        required("subject", Kind::Any),
        required("object", Kind::Any),
        required("action", Kind::String),
        required("result", Kind::String),
        required("hostname", Kind::String),
        required("raw", Kind::String),
    ],
};

pub static CAPABILITIES_PAYLOAD: Schema = Schema {
    name: "CapabilitiesPayload",
    fields: &[
        optional("binary", Kind::Object(&BINARY_INFO)),
        required("builtin_actions", Kind::List(&Kind::Object(&ACTION_INFO))),
        required("hooks", Kind::List(&Kind::Object(&HOOK_INFO))),
    ],
};

pub static BINARY_INFO: Schema = Schema {
    name: "BinaryInfo",
    fields: &[required("version", Kind::String), required("checksum", Kind::String)],
};

pub static ACTION_INFO: Schema = Schema {
    name: "ActionInfo",
    fields: &[
        required("name", Kind::String),
        required("description", Kind::String),
        required("parameters", Kind::List(&Kind::Object(&ACTION_PARAM))),
    ],
};

pub static ACTION_PARAM: Schema = Schema {
    name: "ActionParam",
    fields: &[
        required("name", Kind::String),
        required("type", Kind::String),
        required("required", Kind::Boolean),
        required("description", Kind::String),
    ],
};

pub static HOOK_INFO: Schema = Schema {
    name: "HookInfo",
    fields: &[
        required("name", Kind::String),
        required("description", Kind::String),
        required("source", Kind::String),
        required("checksum", Kind::String),
        required("parameters", Kind::List(&Kind::Object(&ACTION_PARAM))),
        required("timeout", Kind::String),
        required("sandbox", Kind::String),
    ],
};

pub static ENDPOINT_REPORT: Schema = Schema {
    name: "EndpointReport",
    fields: &[required("public_endpoint", Kind::String), required("nat_type", Kind::String)],
};

pub static ENDPOINT_RESPONSE: Schema = Schema {
    name: "EndpointResponse",
    fields: &[required("peer_endpoints", Kind::List(&Kind::Object(&PEER_ENDPOINT)))],
};

pub static PEER_ENDPOINT: Schema = Schema {
    name: "PeerEndpoint",
    fields: &[required("peer_id", Kind::String), required("endpoint", Kind::String)],
};

pub static KEY_ROTATE_REQUEST: Schema = Schema {
    name: "KeyRotateRequest",
    fields: &[required("node_id", Kind::String), required("new_public_key", Kind::String)],
};

pub static KEY_ROTATE_RESPONSE: Schema = Schema {
    name: "KeyRotateResponse",
    fields: &[required("updated_peers", Kind::List(&Kind::Object(&PEER)))],
};

pub static TUNNEL_READY_REQUEST: Schema = Schema {
    name: "TunnelReadyRequest",
    fields: &[required("listen_addr", Kind::String), required("timestamp", Kind::Time)],
};

pub static TUNNEL_CLOSED_REQUEST: Schema = Schema {
    name: "TunnelClosedRequest",
    fields: &[
        required("reason", Kind::String),
        required("duration", Kind::String),
        required("timestamp", Kind::Time),
    ],
};

pub static INTEGRITY_VIOLATION_REPORT: Schema = Schema {
    name: "IntegrityViolationReport",
    fields: &[
        required("type", Kind::String),
        required("path", Kind::String),
        required("expected_checksum", Kind::String),
        required("actual_checksum", Kind::String),
        required("detail", Kind::String),
        required("timestamp", Kind::Time),
    ],
};

pub static PROBLEM_DETAILS: Schema = Schema {
    name: "ProblemDetails",
    fields: &[
        optional("type", Kind::String),
        optional("title", Kind::String),
        optional("status", Kind::Integer),
        optional("detail", Kind::String),
        optional("instance", Kind::String),
        optional("code", Kind::String),
    ],
};
