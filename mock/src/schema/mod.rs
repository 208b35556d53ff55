//! The shapes of the wire, as this crate reads the contract.

pub(crate) mod events;
pub(crate) mod objects;

use events::*;
use objects::*;
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

/// A named object and its fields.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Schema {
    /// The contract's name for it.
    pub name: &'static str,
    /// Its fields, in the contract's order.
    pub fields: &'static [Field],
}

/// One field of a [`Schema`].
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Field {
    /// The name on the wire.
    pub name: &'static str,
    /// What it holds.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// False for the fields that the contract marks with `?`.
    pub required: bool,
}

/// What a field, a body or an event's payload holds.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// Any string.
    String,
    /// A whole number in 64 bits, written without a fraction.
    Integer,
    /// `true` or `false`.
    Boolean,
    /// An RFC 3339 time.
    Time,
    /// Any JSON.
    Any,
    /// A named object.
    Object(&'static Schema),
    /// A list; `null` and absence mean empty.
    List(&'static Kind),
    /// A map from strings; `null` and absence mean empty.
    Map(&'static Kind),
}

/// `"string"`, `{"object": "Peer"}`, `{"list": …}`, `{"map": …}`.
impl Serialize for Kind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Kind::String => serializer.serialize_str("string"),
            Kind::Integer => serializer.serialize_str("integer"),
            Kind::Boolean => serializer.serialize_str("boolean"),
            Kind::Time => serializer.serialize_str("time"),
            Kind::Any => serializer.serialize_str("any"),
            Kind::Object(schema) => single(serializer, "object", &schema.name),
            Kind::List(item) => single(serializer, "list", item),
            Kind::Map(value) => single(serializer, "map", value),
        }
    }
}

fn single<S: Serializer, T: Serialize>(
    serializer: S,
    key: &str,
    value: &T,
) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(1))?;
    map.serialize_entry(key, value)?;
    map.end()
}

const fn required(name: &'static str, kind: Kind) -> Field {
    Field { name, kind, required: true }
}

const fn optional(name: &'static str, kind: Kind) -> Field {
    Field { name, kind, required: false }
}

const STRINGS: Kind = Kind::List(&Kind::String);
const STRING_MAP: Kind = Kind::Map(&Kind::String);

/// Every named object of the contract, as this crate reads it.
pub static SCHEMAS: &[&Schema] = &[
    &REGISTER_REQUEST,
    &REGISTER_RESPONSE,
    &PEER,
    &HEARTBEAT_REQUEST,
    &MESH_INFO,
    &NAT_INFO,
    &BRIDGE_INFO,
    &USER_ACCESS_INFO,
    &INGRESS_INFO,
    &SITE_TO_SITE_INFO,
    &HEARTBEAT_RESPONSE,
    &STATE_RESPONSE,
    &POLICY,
    &POLICY_RULE,
    &SIGNING_KEYS,
    &DATA_ENTRY,
    &REPORT_ENTRY,
    &SECRET_REF,
    &SECRET_RESPONSE,
    &DRIFT_REPORT,
    &DRIFT_CORRECTION,
    &REPORT_SYNC_REQUEST,
    &EXECUTION_ACK,
    &EXECUTION_RESULT,
    &TRIGGERED_BY,
    &METRIC_POINT,
    &LOG_ENTRY,
    &AUDIT_ENTRY,
    &CAPABILITIES_PAYLOAD,
    &BINARY_INFO,
    &ACTION_INFO,
    &ACTION_PARAM,
    &HOOK_INFO,
    &ENDPOINT_REPORT,
    &ENDPOINT_RESPONSE,
    &PEER_ENDPOINT,
    &KEY_ROTATE_REQUEST,
    &KEY_ROTATE_RESPONSE,
    &TUNNEL_READY_REQUEST,
    &TUNNEL_CLOSED_REQUEST,
    &INTEGRITY_VIOLATION_REPORT,
    &BRIDGE_CONFIG,
    &RELAY_CONFIG,
    &RELAY_SESSION_ASSIGNMENT,
    &USER_ACCESS_CONFIG,
    &USER_ACCESS_PEER,
    &INGRESS_CONFIG,
    &INGRESS_RULE,
    &SITE_TO_SITE_CONFIG,
    &SITE_TO_SITE_TUNNEL,
    &SIGNED_ENVELOPE,
    &PROBLEM_DETAILS,
    &PEER_REMOVED,
    &PEER_ENDPOINT_CHANGED,
    &ACTION_REQUEST,
    &SESSION_REVOKED,
    &SSH_SESSION_SETUP,
    &NODE_STATE_UPDATED,
    &NODE_SECRETS_UPDATED,
    &RELAY_SESSION_REVOKED,
    &USER_ACCESS_PEER_REVOKED,
    &INGRESS_RULE_REVOKED,
    &SITE_TO_SITE_TUNNEL_REVOKED,
];
