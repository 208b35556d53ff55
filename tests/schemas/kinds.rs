//! The types, generated and handwritten, by the names of their schemas.

use jsonschema::Validator;
use plexsphere_client::{events, types, values};
use schemars::{JsonSchema, schema_for};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// One type.
pub struct Kind {
    pub name: &'static str,
    pub schema: fn() -> Value,
    /// Decodes a value into the type and encodes it again.
    pub recode: fn(&Value) -> Result<Value, String>,
}

impl Kind {
    const fn of<T: JsonSchema + Serialize + DeserializeOwned + PartialEq>(
        name: &'static str,
    ) -> Self {
        Self { name, schema: || schema_for!(T).to_value(), recode: recode::<T> }
    }

    /// A judge by the schema that the type itself has.
    pub fn validator(&self) -> Validator {
        jsonschema::options()
            .should_validate_formats(true)
            .build(&(self.schema)())
            .unwrap_or_else(|e| panic!("{}: {e}", self.name))
    }
}

fn recode<T: Serialize + DeserializeOwned + PartialEq>(value: &Value) -> Result<Value, String> {
    // By way of text, as on the wire: raw JSON keeps its bytes only there.
    let decoded: T = serde_json::from_str(&value.to_string()).map_err(|e| e.to_string())?;
    let text = serde_json::to_string(&decoded).map_err(|e| e.to_string())?;
    let again: T = serde_json::from_str(&text).map_err(|e| format!("not from {text}: {e}"))?;
    if again != decoded {
        return Err(format!("{text} decodes to another value"));
    }
    serde_json::from_str(&text).map_err(|e| e.to_string())
}

macro_rules! kinds {
    ($($module:ident: $($name:ident),+ ;)+) => {
        &[$($(Kind::of::<$module::$name>(stringify!($name))),+),+]
    };
}

pub const KINDS: &[Kind] = kinds! {
    types:
        ActionInfo, ActionParam, ActionRequest, AuditEntry, BinaryInfo, BridgeConfig,
        BridgeInfo, CapabilitiesPayload, DataEntry, DriftCorrection, DriftReport,
        EndpointReport, EndpointResponse, ExecutionAck, ExecutionResult, HeartbeatRequest,
        HeartbeatResponse, HookInfo, IngressConfig, IngressInfo, IngressRule,
        IngressRuleRevoked, IntegrityViolationReport, KeyRotateRequest, KeyRotateResponse,
        LogEntry, MeshInfo, MetricPoint, NatInfo, NodeSecretsUpdated, NodeStateUpdated, Peer,
        PeerEndpoint, PeerEndpointChanged, PeerRemoved, Policy, PolicyRule, Problem,
        RegisterRequest, RegisterResponse, RelayConfig, RelaySessionAssignment,
        RelaySessionRevoked, ReportEntry, ReportSyncRequest, SecretRef, SecretResponse,
        SessionRevoked, SigningKeys, SiteToSiteConfig, SiteToSiteInfo, SiteToSiteTunnel,
        SiteToSiteTunnelRevoked, SshSessionSetup, StateResponse, TriggeredBy,
        TunnelClosedRequest, TunnelReadyRequest, UserAccessConfig, UserAccessInfo,
        UserAccessPeer, UserAccessPeerRevoked;
    values: AckStatus, ActionType, NodeStatus, RawJson, ResultStatus, Trigger;
    events: EventType, SignedEnvelope;
};
