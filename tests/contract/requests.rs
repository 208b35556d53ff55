//! A full request of each type, built as a user of the crate builds it.

use std::collections::BTreeMap;
use std::ops::Index;

use plexsphere_client::types::*;
use plexsphere_client::values::{AckStatus, NodeStatus, RawJson, ResultStatus, Timestamp};
use plexsphere_client::{AuditBatch, LogBatch, MetricBatch};

/// What varies from test to test: path parameters, and texts inside the bodies.
#[derive(Clone)]
pub struct Ids(BTreeMap<&'static str, String>);

impl Default for Ids {
    fn default() -> Self {
        Self(BTreeMap::from(
            [
                ("node_id", "node-7c41e9"),
                ("execution_id", "exec-90b3c7"),
                ("session_id", "sess-4d1f08"),
                ("key", "db-password"),
                ("version", "1.4.2"),
                ("os", "linux"),
                ("arch", "arm64"),
                ("last_event_id", "480"),
                ("token", "bootstrap-token"),
                ("text", "some text"),
            ]
            .map(|(name, value)| (name, value.to_owned())),
        ))
    }
}

impl Ids {
    pub fn set(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.0.insert(name, value.into());
        self
    }

    /// The same text in every place.
    pub fn all(text: &str) -> Self {
        let mut ids = Self::default();
        ids.0.values_mut().for_each(|value| text.clone_into(value));
        ids
    }

    fn text(&self) -> String {
        self["text"].clone()
    }
}

impl Index<&str> for Ids {
    type Output = String;

    fn index(&self, name: &str) -> &String {
        &self.0[name]
    }
}

pub fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub fn raw(text: &str) -> RawJson {
    RawJson::from_text(text).unwrap()
}

pub fn register(ids: &Ids) -> RegisterRequest {
    RegisterRequest {
        token: ids["token"].as_str().into(),
        public_key: "cY23/O4IXTmexg742bfNIEYMfgmWan+Pkb7BTybzKzs=".into(),
        hostname: ids.text(),
        metadata: BTreeMap::from([("region".into(), "eu-central".into())]),
        capabilities: Some(capabilities(ids)),
    }
}

pub fn capabilities(ids: &Ids) -> CapabilitiesPayload {
    let parameter = ActionParam {
        name: "since".into(),
        type_: "duration".into(),
        required: false,
        description: ids.text(),
    };
    CapabilitiesPayload {
        binary: Some(BinaryInfo { version: "1.4.2".into(), checksum: "sha256:4bb4".into() }),
        builtin_actions: vec![ActionInfo {
            name: "collect_diagnostics".into(),
            description: ids.text(),
            parameters: vec![parameter.clone()],
        }],
        hooks: vec![HookInfo {
            name: "restart-web".into(),
            description: ids.text(),
            source: "/etc/plexd/hooks/restart-web".into(),
            checksum: "sha256:c880".into(),
            parameters: vec![parameter],
            timeout: "30s".into(),
            sandbox: "strict".into(),
        }],
    }
}

pub fn heartbeat(ids: &Ids) -> HeartbeatRequest {
    HeartbeatRequest {
        node_id: ids["node_id"].clone(),
        timestamp: time("2025-01-15T10:30:00.123456789+02:00"),
        status: NodeStatus::Healthy,
        uptime: "72h15m".into(),
        binary_checksum: ids.text(),
        mesh: Some(MeshInfo { interface: "plexd0".into(), peer_count: 3, listen_port: 51820 }),
        nat: Some(NatInfo { public_endpoint: "198.51.100.24:41641".into(), type_: "none".into() }),
        bridge: Some(BridgeInfo {
            enabled: true,
            access_interface: "eth1".into(),
            active_routes: 3,
            relay_enabled: true,
            active_relay_sessions: 1,
            ingress_enabled: true,
            active_ingress_rules: 2,
            site_to_site_enabled: false,
            active_site_to_site_tunnels: 0,
        }),
        user_access: Some(UserAccessInfo {
            enabled: true,
            interface_name: "plexd-access".into(),
            peer_count: 1,
            listen_port: 51821,
        }),
        ingress: Some(IngressInfo { enabled: true, rule_count: 1, connection_count: 7 }),
        site_to_site: Some(SiteToSiteInfo { enabled: true, tunnel_count: 1 }),
    }
}

pub fn key_rotation(ids: &Ids) -> KeyRotateRequest {
    KeyRotateRequest { node_id: ids["node_id"].clone(), new_public_key: ids.text() }
}

pub fn endpoint(ids: &Ids) -> EndpointReport {
    EndpointReport { public_endpoint: ids.text(), nat_type: "port_restricted".into() }
}

pub fn drift(ids: &Ids) -> DriftReport {
    DriftReport {
        timestamp: time("2025-01-15T10:35:12Z"),
        corrections: vec![DriftCorrection { type_: "peer_missing".into(), detail: ids.text() }],
    }
}

pub fn reports(ids: &Ids) -> ReportSyncRequest {
    ReportSyncRequest {
        entries: vec![ReportEntry {
            key: "disk".into(),
            content_type: "application/json".into(),
            payload: raw(&format!(r#"{{"b": 1.0, "a": "{}"}}"#, ids.text())),
            version: 12,
            updated_at: time("2025-01-15T10:34:59.120Z"),
        }],
        deleted: vec![ids.text()],
    }
}

pub fn ack(ids: &Ids) -> ExecutionAck {
    ExecutionAck {
        execution_id: ids["execution_id"].clone(),
        status: AckStatus::Accepted,
        reason: ids.text(),
    }
}

pub fn result(ids: &Ids) -> ExecutionResult {
    ExecutionResult {
        execution_id: ids["execution_id"].clone(),
        status: ResultStatus::Timeout,
        exit_code: -9,
        stdout: format!("line one\n{} <b> & \u{2028} é\n", ids.text()),
        stderr: String::new(),
        duration: "2.34s".into(),
        finished_at: time("2025-01-15T10:33:18.900Z"),
        triggered_by: Some(TriggeredBy {
            type_: "user".into(),
            session_id: ids["session_id"].clone(),
            user_id: "user-118".into(),
            email: "ada@example.com".into(),
        }),
    }
}

pub fn metrics(ids: &Ids) -> MetricBatch {
    let timestamp = time("2025-01-15T10:30:00Z");
    let system = raw(r#"{"cpu_percent":12.50}"#);
    let latency = raw(r#"{"rtt_ms":18.4}"#);
    vec![
        MetricPoint { timestamp, group: "system".into(), peer_id: None, data: system },
        MetricPoint {
            timestamp,
            group: "latency".into(),
            peer_id: Some(ids.text()),
            data: latency,
        },
    ]
}

pub fn logs(ids: &Ids) -> LogBatch {
    vec![LogEntry {
        timestamp: time("2025-01-15T10:33:16.561204Z"),
        source: "journald".into(),
        unit: "web.service".into(),
        message: ids.text(),
        severity: "info".into(),
        hostname: "edge-berlin-01".into(),
    }]
}

pub fn audit(ids: &Ids) -> AuditBatch {
    vec![AuditEntry {
        timestamp: time("2025-01-15T10:20:31.774Z"),
        source: "auditd".into(),
        event_type: "USER_LOGIN".into(),
        subject: raw(r#"{"uid":1000}"#),
        object: raw(r#"["ssh",null]"#),
        action: "login".into(),
        result: "success".into(),
        hostname: "edge-berlin-01".into(),
        raw: ids.text(),
    }]
}

pub fn tunnel_ready(ids: &Ids) -> TunnelReadyRequest {
    TunnelReadyRequest { listen_addr: ids.text(), timestamp: time("2025-01-15T10:32:05Z") }
}

pub fn tunnel_closed(ids: &Ids) -> TunnelClosedRequest {
    TunnelClosedRequest {
        reason: ids.text(),
        duration: "35.018s".into(),
        timestamp: time("2025-01-15T10:32:40.018Z"),
    }
}

pub fn violation(ids: &Ids) -> IntegrityViolationReport {
    IntegrityViolationReport {
        type_: "hook".into(),
        path: "/etc/plexd/hooks/restart-web".into(),
        expected_checksum: "sha256:c880".into(),
        actual_checksum: "sha256:b35d".into(),
        detail: ids.text(),
        timestamp: time("2025-01-15T10:36:00Z"),
    }
}
