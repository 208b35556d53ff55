//! The config blocks and the payloads of events, field by field.

use super::objects::*;
use super::{Kind, STRING_MAP, STRINGS, Schema, optional, required};

pub static BRIDGE_CONFIG: Schema = Schema {
    name: "BridgeConfig",
    fields: &[
        required("access_subnets", STRINGS),
        required("enable_nat", Kind::Boolean),
        required("enable_forwarding", Kind::Boolean),
    ],
};

pub static RELAY_CONFIG: Schema = Schema {
    name: "RelayConfig",
    fields: &[required("sessions", Kind::List(&Kind::Object(&RELAY_SESSION_ASSIGNMENT)))],
};

pub static RELAY_SESSION_ASSIGNMENT: Schema = Schema {
    name: "RelaySessionAssignment",
    fields: &[
        required("session_id", Kind::String),
        required("peer_a_id", Kind::String),
        required("peer_a_endpoint", Kind::String),
        required("peer_b_id", Kind::String),
        required("peer_b_endpoint", Kind::String),
        required("expires_at", Kind::Time),
    ],
};

pub static USER_ACCESS_CONFIG: Schema = Schema {
    name: "UserAccessConfig",
    fields: &[
        required("enabled", Kind::Boolean),
        required("interface_name", Kind::String),
        required("listen_port", Kind::Integer),
        required("peers", Kind::List(&Kind::Object(&USER_ACCESS_PEER))),
    ],
};

pub static USER_ACCESS_PEER: Schema = Schema {
    name: "UserAccessPeer",
    fields: &[
        required("public_key", Kind::String),
        required("allowed_ips", STRINGS),
        optional("psk", Kind::String),
        required("label", Kind::String),
    ],
};

pub static INGRESS_CONFIG: Schema = Schema {
    name: "IngressConfig",
    fields: &[
        required("enabled", Kind::Boolean),
        required("rules", Kind::List(&Kind::Object(&INGRESS_RULE))),
    ],
};

pub static INGRESS_RULE: Schema = Schema {
    name: "IngressRule",
    fields: &[
        required("rule_id", Kind::String),
        required("listen_port", Kind::Integer),
        required("target_addr", Kind::String),
        required("mode", Kind::String),
        optional("cert_pem", Kind::String),
        optional("key_pem", Kind::String),
    ],
};

pub static SITE_TO_SITE_CONFIG: Schema = Schema {
    name: "SiteToSiteConfig",
    fields: &[
        required("enabled", Kind::Boolean),
        required("tunnels", Kind::List(&Kind::Object(&SITE_TO_SITE_TUNNEL))),
    ],
};

pub static SITE_TO_SITE_TUNNEL: Schema = Schema {
    name: "SiteToSiteTunnel",
    fields: &[
        required("tunnel_id", Kind::String),
        required("remote_endpoint", Kind::String),
        required("remote_public_key", Kind::String),
        required("local_subnets", STRINGS),
        required("remote_subnets", STRINGS),
        optional("psk", Kind::String),
        required("interface_name", Kind::String),
        required("listen_port", Kind::Integer),
    ],
};

pub static SIGNED_ENVELOPE: Schema = Schema {
    name: "SignedEnvelope",
    fields: &[
        required("event_type", Kind::String),
        required("event_id", Kind::String),
        optional("issued_at", Kind::Time),
        optional("nonce", Kind::String),
        optional("payload", Kind::Any),
        optional("signature", Kind::String),
    ],
};

pub static PEER_REMOVED: Schema =
    Schema { name: "PeerRemoved", fields: &[required("peer_id", Kind::String)] };

pub static PEER_ENDPOINT_CHANGED: Schema = Schema {
    name: "PeerEndpointChanged",
    fields: &[
        required("id", Kind::String),
        optional("public_key", Kind::String),
        optional("mesh_ip", Kind::String),
        required("endpoint", Kind::String),
        optional("allowed_ips", STRINGS),
        optional("psk", Kind::String),
    ],
};

pub static ACTION_REQUEST: Schema = Schema {
    name: "ActionRequest",
    fields: &[
        required("execution_id", Kind::String),
        required("action", Kind::String),
        optional("type", Kind::String),
        optional("parameters", Kind::Map(&Kind::Any)),
        required("timeout", Kind::String),
        optional("checksum", Kind::String),
        optional("callback_url", Kind::String),
        optional("triggered_by", Kind::Object(&TRIGGERED_BY)),
    ],
};

pub static SESSION_REVOKED: Schema =
    Schema { name: "SessionRevoked", fields: &[required("session_id", Kind::String)] };

pub static SSH_SESSION_SETUP: Schema = Schema {
    name: "SSHSessionSetup",
    fields: &[
        required("session_id", Kind::String),
        required("target_host", Kind::String),
        required("target_port", Kind::Integer),
        required("authorized_key", Kind::String),
        required("expires_at", Kind::Time),
    ],
};

pub static NODE_STATE_UPDATED: Schema = Schema {
    name: "NodeStateUpdated",
    fields: &[
        required("metadata", STRING_MAP),
        required("data", Kind::List(&Kind::Object(&DATA_ENTRY))),
    ],
};

pub static NODE_SECRETS_UPDATED: Schema = Schema {
    name: "NodeSecretsUpdated",
    fields: &[required("secret_refs", Kind::List(&Kind::Object(&SECRET_REF)))],
};

pub static RELAY_SESSION_REVOKED: Schema =
    Schema { name: "RelaySessionRevoked", fields: &[required("session_id", Kind::String)] };

pub static USER_ACCESS_PEER_REVOKED: Schema =
    Schema { name: "UserAccessPeerRevoked", fields: &[required("public_key", Kind::String)] };

pub static INGRESS_RULE_REVOKED: Schema =
    Schema { name: "IngressRuleRevoked", fields: &[required("rule_id", Kind::String)] };

pub static SITE_TO_SITE_TUNNEL_REVOKED: Schema =
    Schema { name: "SiteToSiteTunnelRevoked", fields: &[required("tunnel_id", Kind::String)] };
