//! Every message: JSON round trip, names of the fields, what is left out when empty.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use plexsphere_client::types;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

/// A type, the fields that it always writes, and those that it leaves out when they are
/// empty: as the facts about the API list them, not as the document does.
pub struct Message {
    pub schema: &'static str,
    always: &'static str,
    optional: &'static str,
    round_trip: fn(&str) -> serde_json::Result<Value>,
    /// The value in both forms of `Debug`.
    pub shown: fn(&str) -> serde_json::Result<String>,
}

fn round_trip<T: Serialize + DeserializeOwned + Clone + PartialEq>(
    text: &str,
) -> serde_json::Result<Value> {
    let value: T = serde_json::from_str(text)?;
    let written = serde_json::to_string(&value)?;
    assert!(serde_json::from_str::<T>(&written)? == value, "{written} reads as something else");
    serde_json::from_str(&written)
}

fn shown<T: DeserializeOwned + Debug>(text: &str) -> serde_json::Result<String> {
    serde_json::from_str::<T>(text).map(|value| format!("{value:?} {value:#?}"))
}

macro_rules! messages {
    ($($schema:ident as $type:ident: $always:literal, $optional:literal;)+) => {
        pub const MESSAGES: &[Message] = &[$(Message {
            schema: stringify!($schema),
            always: $always,
            optional: $optional,
            round_trip: round_trip::<types::$type>,
            shown: shown::<types::$type>,
        }),+];
    };
}

messages! {
    RegisterRequest as RegisterRequest: "token public_key hostname", "metadata capabilities";
    RegisterResponse as RegisterResponse: "node_id mesh_ip signing_public_key node_secret_key peers", "";
    Peer as Peer: "id public_key mesh_ip endpoint allowed_ips psk", "";
    HeartbeatRequest as HeartbeatRequest: "node_id timestamp status uptime binary_checksum", "mesh nat bridge user_access ingress site_to_site";
    MeshInfo as MeshInfo: "interface peer_count listen_port", "";
    NATInfo as NatInfo: "public_endpoint type", "";
    BridgeInfo as BridgeInfo: "enabled access_interface active_routes relay_enabled active_relay_sessions ingress_enabled active_ingress_rules site_to_site_enabled active_site_to_site_tunnels", "";
    UserAccessInfo as UserAccessInfo: "enabled interface_name peer_count listen_port", "";
    IngressInfo as IngressInfo: "enabled rule_count connection_count", "";
    SiteToSiteInfo as SiteToSiteInfo: "enabled tunnel_count", "";
    HeartbeatResponse as HeartbeatResponse: "reconcile rotate_keys", "";
    StateResponse as StateResponse: "peers policies data secret_refs", "signing_keys metadata bridge_config relay_config user_access_config ingress_config site_to_site_config";
    Policy as Policy: "id rules", "";
    PolicyRule as PolicyRule: "src dst port protocol action", "";
    SigningKeys as SigningKeys: "current", "previous transition_expires";
    DataEntry as DataEntry: "key content_type payload version updated_at", "";
    ReportEntry as ReportEntry: "key content_type payload version updated_at", "";
    SecretRef as SecretRef: "key version", "";
    SecretResponse as SecretResponse: "key ciphertext nonce version", "";
    DriftReport as DriftReport: "timestamp corrections", "";
    DriftCorrection as DriftCorrection: "type detail", "";
    ReportSyncRequest as ReportSyncRequest: "entries deleted", "";
    ExecutionAck as ExecutionAck: "execution_id status reason", "";
    ExecutionResult as ExecutionResult: "execution_id status exit_code stdout stderr duration finished_at", "triggered_by";
    TriggeredBy as TriggeredBy: "type session_id user_id email", "";
    MetricPoint as MetricPoint: "timestamp group data", "peer_id";
    LogEntry as LogEntry: "timestamp source unit message severity hostname", "";
    AuditEntry as AuditEntry: "timestamp source event_type subject object action result hostname raw", "";
    CapabilitiesPayload as CapabilitiesPayload: "builtin_actions hooks", "binary";
    BinaryInfo as BinaryInfo: "version checksum", "";
    ActionInfo as ActionInfo: "name description parameters", "";
    ActionParam as ActionParam: "name type required description", "";
    HookInfo as HookInfo: "name description source checksum parameters timeout sandbox", "";
    EndpointReport as EndpointReport: "public_endpoint nat_type", "";
    EndpointResponse as EndpointResponse: "peer_endpoints", "";
    PeerEndpoint as PeerEndpoint: "peer_id endpoint", "";
    KeyRotateRequest as KeyRotateRequest: "node_id new_public_key", "";
    KeyRotateResponse as KeyRotateResponse: "updated_peers", "";
    TunnelReadyRequest as TunnelReadyRequest: "listen_addr timestamp", "";
    TunnelClosedRequest as TunnelClosedRequest: "reason duration timestamp", "";
    IntegrityViolationReport as IntegrityViolationReport: "type path expected_checksum actual_checksum detail timestamp", "";
    BridgeConfig as BridgeConfig: "access_subnets enable_nat enable_forwarding", "";
    RelayConfig as RelayConfig: "sessions", "";
    RelaySessionAssignment as RelaySessionAssignment: "session_id peer_a_id peer_a_endpoint peer_b_id peer_b_endpoint expires_at", "";
    UserAccessConfig as UserAccessConfig: "enabled interface_name listen_port peers", "";
    UserAccessPeer as UserAccessPeer: "public_key allowed_ips label", "psk";
    IngressConfig as IngressConfig: "enabled rules", "";
    IngressRule as IngressRule: "rule_id listen_port target_addr mode", "cert_pem key_pem";
    SiteToSiteConfig as SiteToSiteConfig: "enabled tunnels", "";
    SiteToSiteTunnel as SiteToSiteTunnel: "tunnel_id remote_endpoint remote_public_key local_subnets remote_subnets interface_name listen_port", "psk";
    PeerRemoved as PeerRemoved: "peer_id", "";
    PeerEndpointChanged as PeerEndpointChanged: "id endpoint", "public_key mesh_ip allowed_ips psk";
    ActionRequest as ActionRequest: "execution_id action timeout", "type parameters checksum callback_url triggered_by";
    SessionRevoked as SessionRevoked: "session_id", "";
    SshSessionSetup as SshSessionSetup: "session_id target_host target_port authorized_key expires_at", "";
    NodeStateUpdated as NodeStateUpdated: "metadata data", "";
    NodeSecretsUpdated as NodeSecretsUpdated: "secret_refs", "";
    RelaySessionRevoked as RelaySessionRevoked: "session_id", "";
    UserAccessPeerRevoked as UserAccessPeerRevoked: "public_key", "";
    IngressRuleRevoked as IngressRuleRevoked: "rule_id", "";
    SiteToSiteTunnelRevoked as SiteToSiteTunnelRevoked: "tunnel_id", "";
    Problem as Problem: "", "type title status detail instance code";
}

impl Message {
    fn always(&self) -> BTreeSet<&'static str> {
        self.always.split_whitespace().collect()
    }

    fn optional(&self) -> BTreeSet<&'static str> {
        self.optional.split_whitespace().collect()
    }

    fn again(&self, value: &Value) -> Value {
        (self.round_trip)(&value.to_string())
            .unwrap_or_else(|error| panic!("{}: {error}: {value}", self.schema))
    }
}

/// The schemas of the document.
pub fn schemas() -> Map<String, Value> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi/plexsphere.yaml");
    let document: Value = serde_norway::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    document["components"]["schemas"].as_object().unwrap().clone()
}

/// A value for `schema` with all of its fields.
fn full(schemas: &Map<String, Value>, schema: &Value, seed: &mut i64) -> Value {
    *seed += 1;
    if let Some(reference) = schema["$ref"].as_str() {
        return full(schemas, &schemas[reference.rsplit('/').next().unwrap()], seed);
    }
    match (schema["type"].as_str(), schema["format"].as_str()) {
        (Some("object"), _) if schema["properties"].is_object() => {
            let properties = schema["properties"].as_object().unwrap();
            let fields = properties.iter().map(|(name, s)| (name.clone(), full(schemas, s, seed)));
            Value::Object(fields.collect())
        }
        (Some("object"), _) => {
            json!({ "Any Key": full(schemas, &schema["additionalProperties"], seed) })
        }
        (Some("array"), _) => {
            json!([full(schemas, &schema["items"], seed), full(schemas, &schema["items"], seed)])
        }
        (Some("integer"), _) => json!(i64::MIN + *seed),
        (Some("boolean"), _) => json!(true),
        (Some("string"), Some("date-time")) => {
            json!(format!("2025-01-15T10:30:00.{seed:08}1+02:00"))
        }
        (Some("string"), _) => json!(format!("text {seed} <&> é\u{2028}")),
        _ => json!({ "b": [seed, null, 1.5], "a": {} }),
    }
}

#[test]
fn the_table_has_every_object_of_the_document() {
    let words = ["NodeStatus", "AckStatus", "ResultStatus", "ActionType", "EventType"];
    let by_hand = ["RawJson", "Trigger", "SignedEnvelope"];
    let schemas = schemas();
    let named: BTreeSet<_> = schemas.keys().map(String::as_str).collect();
    let here = MESSAGES.iter().map(|message| message.schema).chain(words).chain(by_hand).collect();
    assert_eq!(named, here);
}

#[test]
fn every_field_of_every_message_round_trips_under_its_name() {
    let schemas = schemas();
    for message in MESSAGES {
        let value = full(&schemas, &schemas[message.schema], &mut 0);
        assert_eq!(message.again(&value), value, "{}", message.schema);
        let names: BTreeSet<_> = value.as_object().unwrap().keys().map(String::as_str).collect();
        let facts: BTreeSet<_> = message.always().union(&message.optional()).copied().collect();
        assert_eq!(names, facts, "{}", message.schema);
        let is_snake = |name: &str| name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        assert!(names.iter().all(|name| is_snake(name)), "{names:?}");
    }
}

#[test]
fn optional_fields_are_left_out_when_empty() {
    let schemas = schemas();
    for message in MESSAGES {
        let mut value = full(&schemas, &schemas[message.schema], &mut 0);
        value.as_object_mut().unwrap().retain(|name, _| message.always().contains(name.as_str()));
        assert_eq!(message.again(&value), value, "{}", message.schema);
        // Go writes a nil pointer as `null`; it reads as absent.
        for name in message.optional() {
            value[name] = Value::Null;
        }
        let names: BTreeSet<String> =
            message.again(&value).as_object().unwrap().keys().cloned().collect();
        assert!(
            names.iter().map(String::as_str).eq(message.always()),
            "{}: {names:?}",
            message.schema
        );
    }
}

#[test]
fn lists_are_written_even_when_empty() {
    for (schema, text, written) in [
        ("ReportSyncRequest", "{}", json!({ "entries": [], "deleted": [] })),
        ("CapabilitiesPayload", "{}", json!({ "builtin_actions": [], "hooks": [] })),
        ("KeyRotateResponse", r#"{"updated_peers":null}"#, json!({ "updated_peers": [] })),
        ("EndpointResponse", "{}", json!({ "peer_endpoints": [] })),
        (
            "StateResponse",
            r#"{"peers":null}"#,
            json!({ "peers": [], "policies": [], "data": [], "secret_refs": [] }),
        ),
    ] {
        let message = MESSAGES.iter().find(|message| message.schema == schema).unwrap();
        assert_eq!((message.round_trip)(text).unwrap(), written, "{schema}");
    }
}

#[test]
fn the_examples_of_the_document_round_trip() {
    let schemas = schemas();
    for message in MESSAGES {
        let example = &schemas[message.schema]["example"];
        assert!(example.is_object(), "{} has no example", message.schema);
        assert_eq!(message.again(example), as_go_writes(example), "{}", message.schema);
    }
}

/// Times without zeros at the end of their fraction.
fn as_go_writes(value: &Value) -> Value {
    match value {
        Value::String(text) if text.len() > 19 && text.as_bytes()[10] == b'T' => {
            match text.parse::<plexsphere_client::values::Timestamp>() {
                Ok(time) => time.to_string().into(),
                Err(_) => value.clone(),
            }
        }
        Value::Array(items) => items.iter().map(as_go_writes).collect(),
        Value::Object(fields) => {
            Value::Object(fields.iter().map(|(name, v)| (name.clone(), as_go_writes(v))).collect())
        }
        other => other.clone(),
    }
}

#[test]
fn a_field_that_is_missing_is_named() {
    let schemas = schemas();
    let mut missing = 0;
    for message in MESSAGES {
        let value = full(&schemas, &schemas[message.schema], &mut 0);
        for name in message.always() {
            let mut value = value.clone();
            value.as_object_mut().unwrap().remove(name);
            // A missing list is an empty one, a missing flag of a heartbeat is false, and
            // missing JSON is `null`.
            let lenient = match (message.schema, name) {
                ("HeartbeatResponse", _) => true,
                (schema, name) => {
                    let schema = &schemas[schema]["properties"][name];
                    matches!(schema["type"].as_str(), Some("array" | "object"))
                }
            };
            match (message.round_trip)(&value.to_string()) {
                Ok(_) => assert!(lenient, "{}.{name} may be missing", message.schema),
                Err(error) => {
                    assert!(!lenient, "{}.{name}: {error}", message.schema);
                    assert!(error.to_string().contains(name), "{error}");
                    missing += 1;
                }
            }
        }
    }
    assert!(missing > 150, "{missing}");
}

#[test]
fn integers_keep_64_bits_and_take_no_fraction() {
    let policy = |port: &str| {
        let text = format!(r#"{{"src":"","dst":"","port":{port},"protocol":"","action":""}}"#);
        serde_json::from_str::<types::PolicyRule>(&text).map(|rule| rule.port)
    };
    assert_eq!(policy("9223372036854775807").unwrap(), i64::MAX);
    assert_eq!(policy("-9223372036854775808").unwrap(), i64::MIN);
    for bad in ["9223372036854775808", "1.0", "1e3", "\"1\"", "null"] {
        assert!(policy(bad).is_err(), "{bad}");
    }
}

#[test]
fn parameters_of_an_action_take_any_scalar() {
    let text = r#"{"execution_id":"e","action":"a","timeout":"1s","parameters":{"a":1.0,"b":"x","c":true,"d":null,"e":12345678901234567890}}"#;
    let request: types::ActionRequest = serde_json::from_str(text).unwrap();
    let raw: BTreeMap<_, _> =
        request.parameters.iter().map(|(name, value)| (name.as_str(), value.get())).collect();
    let expected =
        [("a", "1.0"), ("b", "\"x\""), ("c", "true"), ("d", "null"), ("e", "12345678901234567890")];
    assert_eq!(raw, BTreeMap::from(expected));
}
