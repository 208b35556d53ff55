//! All operations: what each sends by the contract, and the call that should send it.

use futures::StreamExt;
use futures::future::BoxFuture;
use plexsphere_client::{ControlPlane, Error};
use plexsphere_mock::{Answer, Then};
use serde::Serialize;
use serde_json::{Value, json};

use crate::requests::{self, Ids};

/// One operation.
pub struct Call {
    pub operation: &'static str,
    /// The mock's name for it.
    pub route: &'static str,
    pub method: &'static str,
    pub path: &'static str,
    /// Its answers carry secrets, so no error keeps their text.
    pub secret: bool,
    /// The body as the contract has it, written by hand.
    pub body: fn(&Ids) -> Option<Value>,
    pub reply: Reply,
    /// The real call; the answer as JSON.
    pub run: for<'a> fn(&'a ControlPlane, &'a Ids) -> BoxFuture<'a, Result<Value, Error>>,
}

/// What the server answers when all is well.
pub enum Reply {
    /// This status, nothing that the caller reads.
    Ignored(u16),
    /// This status and JSON.
    Json(u16, fn() -> Value),
    Events,
    Bytes,
}

pub const EVENT_BYTES: &str = ": hello\n\nid: 7\nevent: peer_added\ndata: {}\n\n";
pub const ARTIFACT_BYTES: &str = "\u{7f}ELF and so on";

impl Reply {
    pub fn answer(&self) -> Answer {
        match self {
            Self::Ignored(status @ 202) => Answer::status(*status).json(&json!({ "accepted": 2 })),
            Self::Ignored(status) => Answer::status(*status),
            Self::Json(status, value) => Answer::status(*status).json(&value()),
            Self::Events => Answer::stream([EVENT_BYTES], Then::End),
            Self::Bytes => Answer::status(200)
                .body(ARTIFACT_BYTES)
                .header("Content-Type", "application/octet-stream"),
        }
    }

    pub fn value(&self) -> Value {
        match self {
            Self::Ignored(_) => Value::Null,
            Self::Json(_, value) => value(),
            Self::Events => EVENT_BYTES.into(),
            Self::Bytes => ARTIFACT_BYTES.into(),
        }
    }

    pub fn is_stream(&self) -> bool {
        matches!(self, Self::Events | Self::Bytes)
    }
}

impl Call {
    pub fn of(operation: &str) -> &'static Self {
        CALLS.iter().find(|call| call.operation == operation).unwrap()
    }

    /// The names of the path parameters.
    pub fn parameters(&self) -> impl Iterator<Item = &'static str> {
        self.path.split('/').filter_map(|s| s.strip_prefix('{')?.strip_suffix('}'))
    }

    /// The path with its parameters filled in, each as `encode` writes it.
    pub fn path_with(&self, ids: &Ids, encode: impl Fn(&'static str, &str) -> String) -> String {
        self.parameters().fold(self.path.to_owned(), |path, name| {
            path.replace(&format!("{{{name}}}"), &encode(name, &ids[name]))
        })
    }
}

fn to_json<T: Serialize>(answer: Result<T, Error>) -> Result<Value, Error> {
    answer.map(|value| serde_json::to_value(value).unwrap())
}

async fn text<S>(stream: Result<S, Error>) -> Result<Value, Error>
where
    S: futures::Stream<Item = Result<bytes::Bytes, Error>> + Unpin,
{
    let mut stream = stream?;
    let mut bytes = Vec::new();
    while let Some(chunk) = stream.next().await {
        bytes.extend_from_slice(&chunk?);
    }
    Ok(String::from_utf8_lossy(&bytes).into())
}

const NO_BODY: fn(&Ids) -> Option<Value> = |_| None;

pub static CALLS: &[Call] = &[
    Call {
        operation: "register",
        route: "register",
        method: "POST",
        path: "/v1/register",
        secret: true,
        body: |ids| {
            Some(json!({
                "token": ids["token"],
                "public_key": "cY23/O4IXTmexg742bfNIEYMfgmWan+Pkb7BTybzKzs=",
                "hostname": ids["text"],
                "metadata": { "region": "eu-central" },
                "capabilities": capabilities(ids),
            }))
        },
        reply: Reply::Json(201, || {
            json!({
                "node_id": "node-7c41e9",
                "mesh_ip": "10.100.0.12",
                "signing_public_key": "3uQIEJfYOAD4EUGOKuteiIggcyvhhEorJEESO560wHc=",
                "node_secret_key": "ZXhhbXBsZS1ub2RlLXNlY3JldC1rZXktMzItYnl0ZXM=",
                "peers": [peer()],
            })
        }),
        run: |api, ids| Box::pin(async { to_json(api.register(&requests::register(ids)).await) }),
    },
    Call {
        operation: "heartbeat",
        route: "heartbeat",
        method: "POST",
        path: "/v1/nodes/{node_id}/heartbeat",
        secret: false,
        body: |ids| {
            Some(json!({
                "node_id": ids["node_id"],
                "timestamp": "2025-01-15T10:30:00.123456789+02:00",
                "status": "healthy",
                "uptime": "72h15m",
                "binary_checksum": ids["text"],
                "mesh": { "interface": "plexd0", "peer_count": 3, "listen_port": 51820 },
                "nat": { "public_endpoint": "198.51.100.24:41641", "type": "none" },
                "bridge": {
                    "enabled": true,
                    "access_interface": "eth1",
                    "active_routes": 3,
                    "relay_enabled": true,
                    "active_relay_sessions": 1,
                    "ingress_enabled": true,
                    "active_ingress_rules": 2,
                    "site_to_site_enabled": false,
                    "active_site_to_site_tunnels": 0,
                },
                "user_access": {
                    "enabled": true,
                    "interface_name": "plexd-access",
                    "peer_count": 1,
                    "listen_port": 51821,
                },
                "ingress": { "enabled": true, "rule_count": 1, "connection_count": 7 },
                "site_to_site": { "enabled": true, "tunnel_count": 1 },
            }))
        },
        reply: Reply::Json(200, || json!({ "reconcile": true, "rotate_keys": false })),
        run: |api, ids| {
            Box::pin(async {
                to_json(api.heartbeat(&ids["node_id"], &requests::heartbeat(ids)).await)
            })
        },
    },
    Call {
        operation: "deregister",
        route: "deregister",
        method: "POST",
        path: "/v1/nodes/{node_id}/deregister",
        secret: false,
        body: NO_BODY,
        reply: Reply::Ignored(204),
        run: |api, ids| Box::pin(async { to_json(api.deregister(&ids["node_id"]).await) }),
    },
    Call {
        operation: "fetch_state",
        route: "fetch_state",
        method: "GET",
        path: "/v1/nodes/{node_id}/state",
        secret: true,
        body: NO_BODY,
        reply: Reply::Json(200, state),
        run: |api, ids| Box::pin(async { to_json(api.fetch_state(&ids["node_id"]).await) }),
    },
    Call {
        operation: "connect_sse",
        route: "connect_sse",
        method: "GET",
        path: "/v1/nodes/{node_id}/events",
        secret: false,
        body: NO_BODY,
        reply: Reply::Events,
        run: |api, ids| {
            Box::pin(async {
                text(api.connect_sse(&ids["node_id"], Some(&ids["last_event_id"])).await).await
            })
        },
    },
    Call {
        operation: "rotate_keys",
        route: "rotate_keys",
        method: "POST",
        path: "/v1/keys/rotate",
        secret: true,
        body: |ids| Some(json!({ "node_id": ids["node_id"], "new_public_key": ids["text"] })),
        reply: Reply::Json(200, || json!({ "updated_peers": [peer()] })),
        run: |api, ids| {
            Box::pin(async { to_json(api.rotate_keys(&requests::key_rotation(ids)).await) })
        },
    },
    Call {
        operation: "update_capabilities",
        route: "update_capabilities",
        method: "PUT",
        path: "/v1/nodes/{node_id}/capabilities",
        secret: false,
        body: |ids| Some(capabilities(ids)),
        reply: Reply::Ignored(204),
        run: |api, ids| {
            Box::pin(async {
                let body = requests::capabilities(ids);
                to_json(api.update_capabilities(&ids["node_id"], &body).await)
            })
        },
    },
    Call {
        operation: "report_endpoint",
        route: "report_endpoint",
        method: "PUT",
        path: "/v1/nodes/{node_id}/endpoint",
        secret: false,
        body: |ids| Some(json!({ "public_endpoint": ids["text"], "nat_type": "port_restricted" })),
        reply: Reply::Json(200, || {
            json!({ "peer_endpoints": [
                { "peer_id": "node-2b90d4", "endpoint": "203.0.113.20:51820" },
            ] })
        }),
        run: |api, ids| {
            Box::pin(async {
                to_json(api.report_endpoint(&ids["node_id"], &requests::endpoint(ids)).await)
            })
        },
    },
    Call {
        operation: "report_drift",
        route: "report_drift",
        method: "POST",
        path: "/v1/nodes/{node_id}/drift",
        secret: false,
        body: |ids| {
            Some(json!({
                "timestamp": "2025-01-15T10:35:12Z",
                "corrections": [{ "type": "peer_missing", "detail": ids["text"] }],
            }))
        },
        reply: Reply::Ignored(204),
        run: |api, ids| {
            Box::pin(async {
                to_json(api.report_drift(&ids["node_id"], &requests::drift(ids)).await)
            })
        },
    },
    Call {
        operation: "fetch_secret",
        route: "fetch_secret",
        method: "GET",
        path: "/v1/nodes/{node_id}/secrets/{key}",
        secret: true,
        body: NO_BODY,
        reply: Reply::Json(200, || {
            json!({
                "key": "db-password",
                "ciphertext": "W9b1BHnrXWzabMyagbteDG8UvnwuGjhA2sou1QbDmKHZUcqqw+A/DGQ=",
                "nonce": "Bk5X0kOaQfFK4575",
                "version": 3,
            })
        }),
        run: |api, ids| {
            Box::pin(async { to_json(api.fetch_secret(&ids["node_id"], &ids["key"]).await) })
        },
    },
    Call {
        operation: "sync_reports",
        route: "sync_reports",
        method: "POST",
        path: "/v1/nodes/{node_id}/report",
        secret: false,
        body: |ids| {
            Some(json!({
                "entries": [{
                    "key": "disk",
                    "content_type": "application/json",
                    "payload": { "b": 1.0, "a": ids["text"] },
                    "version": 12,
                    "updated_at": "2025-01-15T10:34:59.12Z",
                }],
                "deleted": [ids["text"]],
            }))
        },
        reply: Reply::Ignored(204),
        run: |api, ids| {
            Box::pin(async {
                to_json(api.sync_reports(&ids["node_id"], &requests::reports(ids)).await)
            })
        },
    },
    Call {
        operation: "ack_execution",
        route: "ack_execution",
        method: "POST",
        path: "/v1/nodes/{node_id}/executions/{execution_id}/ack",
        secret: false,
        body: |ids| {
            Some(json!({
                "execution_id": ids["execution_id"], "status": "accepted", "reason": ids["text"],
            }))
        },
        reply: Reply::Ignored(204),
        run: |api, ids| {
            Box::pin(async {
                let body = requests::ack(ids);
                to_json(api.ack_execution(&ids["node_id"], &ids["execution_id"], &body).await)
            })
        },
    },
    Call {
        operation: "report_result",
        route: "report_result",
        method: "POST",
        path: "/v1/nodes/{node_id}/executions/{execution_id}/result",
        secret: false,
        body: |ids| {
            Some(json!({
                "execution_id": ids["execution_id"],
                "status": "timeout",
                "exit_code": -9,
                "stdout": format!("line one\n{} <b> & \u{2028} é\n", ids["text"]),
                "stderr": "",
                "duration": "2.34s",
                "finished_at": "2025-01-15T10:33:18.9Z",
                "triggered_by": {
                    "type": "user",
                    "session_id": ids["session_id"],
                    "user_id": "user-118",
                    "email": "ada@example.com",
                },
            }))
        },
        reply: Reply::Ignored(204),
        run: |api, ids| {
            Box::pin(async {
                let body = requests::result(ids);
                to_json(api.report_result(&ids["node_id"], &ids["execution_id"], &body).await)
            })
        },
    },
    Call {
        operation: "report_metrics",
        route: "report_metrics",
        method: "POST",
        path: "/v1/nodes/{node_id}/metrics",
        secret: false,
        body: |ids| {
            Some(json!([
                {
                    "timestamp": "2025-01-15T10:30:00Z",
                    "group": "system",
                    "data": { "cpu_percent": 12.5 },
                },
                {
                    "timestamp": "2025-01-15T10:30:00Z",
                    "group": "latency",
                    "peer_id": ids["text"],
                    "data": { "rtt_ms": 18.4 },
                },
            ]))
        },
        reply: Reply::Ignored(202),
        run: |api, ids| {
            Box::pin(async {
                to_json(api.report_metrics(&ids["node_id"], &requests::metrics(ids)).await)
            })
        },
    },
    Call {
        operation: "report_logs",
        route: "report_logs",
        method: "POST",
        path: "/v1/nodes/{node_id}/logs",
        secret: false,
        body: |ids| {
            Some(json!([{
                "timestamp": "2025-01-15T10:33:16.561204Z",
                "source": "journald",
                "unit": "web.service",
                "message": ids["text"],
                "severity": "info",
                "hostname": "edge-berlin-01",
            }]))
        },
        reply: Reply::Ignored(202),
        run: |api, ids| {
            Box::pin(async {
                to_json(api.report_logs(&ids["node_id"], &requests::logs(ids)).await)
            })
        },
    },
    Call {
        operation: "report_audit",
        route: "report_audit",
        method: "POST",
        path: "/v1/nodes/{node_id}/audit",
        secret: false,
        body: |ids| {
            Some(json!([{
                "timestamp": "2025-01-15T10:20:31.774Z",
                "source": "auditd",
                "event_type": "USER_LOGIN",
                "subject": { "uid": 1000 },
                "object": ["ssh", null],
                "action": "login",
                "result": "success",
                "hostname": "edge-berlin-01",
                "raw": ids["text"],
            }]))
        },
        reply: Reply::Ignored(202),
        run: |api, ids| {
            Box::pin(async {
                to_json(api.report_audit(&ids["node_id"], &requests::audit(ids)).await)
            })
        },
    },
    Call {
        operation: "fetch_artifact",
        route: "fetch_artifact",
        method: "GET",
        path: "/v1/artifacts/plexd/{version}/{os}/{arch}",
        secret: false,
        body: NO_BODY,
        reply: Reply::Bytes,
        run: |api, ids| {
            Box::pin(async {
                text(api.fetch_artifact(&ids["version"], &ids["os"], &ids["arch"]).await).await
            })
        },
    },
    Call {
        operation: "tunnel_ready",
        route: "tunnel_ready",
        method: "POST",
        path: "/v1/nodes/{node_id}/tunnels/{session_id}/ready",
        secret: false,
        body: |ids| {
            Some(json!({ "listen_addr": ids["text"], "timestamp": "2025-01-15T10:32:05Z" }))
        },
        reply: Reply::Ignored(204),
        run: |api, ids| {
            Box::pin(async {
                let body = requests::tunnel_ready(ids);
                to_json(api.tunnel_ready(&ids["node_id"], &ids["session_id"], &body).await)
            })
        },
    },
    Call {
        operation: "tunnel_closed",
        route: "tunnel_closed",
        method: "POST",
        path: "/v1/nodes/{node_id}/tunnels/{session_id}/closed",
        secret: false,
        body: |ids| {
            Some(json!({
                "reason": ids["text"],
                "duration": "35.018s",
                "timestamp": "2025-01-15T10:32:40.018Z",
            }))
        },
        reply: Reply::Ignored(204),
        run: |api, ids| {
            Box::pin(async {
                let body = requests::tunnel_closed(ids);
                to_json(api.tunnel_closed(&ids["node_id"], &ids["session_id"], &body).await)
            })
        },
    },
    Call {
        operation: "report_integrity_violation",
        route: "report_integrity_violation",
        method: "POST",
        path: "/v1/nodes/{node_id}/integrity/violations",
        secret: false,
        body: |ids| {
            Some(json!({
                "type": "hook",
                "path": "/etc/plexd/hooks/restart-web",
                "expected_checksum": "sha256:c880",
                "actual_checksum": "sha256:b35d",
                "detail": ids["text"],
                "timestamp": "2025-01-15T10:36:00Z",
            }))
        },
        reply: Reply::Ignored(204),
        run: |api, ids| {
            Box::pin(async {
                let body = requests::violation(ids);
                to_json(api.report_integrity_violation(&ids["node_id"], &body).await)
            })
        },
    },
    Call {
        operation: "ping",
        route: "ping",
        method: "GET",
        path: "/v1/ping",
        secret: false,
        body: NO_BODY,
        reply: Reply::Ignored(204),
        run: |api, _| Box::pin(async { to_json(api.ping().await) }),
    },
    Call {
        operation: "get_json",
        route: "/v1/extra/get",
        method: "GET",
        path: "/v1/extra/get",
        secret: false,
        body: NO_BODY,
        reply: Reply::Json(200, || json!({ "of": ["any", "shape"] })),
        run: |api, _| Box::pin(async { api.get_json::<Value>("/v1/extra/get").await }),
    },
    Call {
        operation: "post_json",
        route: "/v1/extra/post",
        method: "POST",
        path: "/v1/extra/post",
        secret: false,
        body: |ids| Some(json!({ "any": ids["text"] })),
        reply: Reply::Json(200, || json!({ "of": ["any", "shape"] })),
        run: |api, ids| {
            Box::pin(async {
                let body = json!({ "any": ids["text"] });
                api.post_json::<_, Value>("/v1/extra/post", &body).await
            })
        },
    },
];

fn capabilities(ids: &Ids) -> Value {
    let parameter = json!({
        "name": "since", "type": "duration", "required": false, "description": ids["text"],
    });
    json!({
        "binary": { "version": "1.4.2", "checksum": "sha256:4bb4" },
        "builtin_actions": [{
            "name": "collect_diagnostics",
            "description": ids["text"],
            "parameters": [parameter],
        }],
        "hooks": [{
            "name": "restart-web",
            "description": ids["text"],
            "source": "/etc/plexd/hooks/restart-web",
            "checksum": "sha256:c880",
            "parameters": [parameter],
            "timeout": "30s",
            "sandbox": "strict",
        }],
    })
}

pub fn peer() -> Value {
    json!({
        "id": "node-2b90d4",
        "public_key": "kIX9mBpO+ecnyQVSTBdm7Zdzd8/Qup4dL/Qva2qR7Ck=",
        "mesh_ip": "10.100.0.7",
        "endpoint": "203.0.113.20:51820",
        "allowed_ips": ["10.100.0.7/32"],
        "psk": "ZXhhbXBsZS1wcmVzaGFyZWQta2V5LWZvci1wZWVyLWE=",
    })
}

/// A state with every block.
pub fn state() -> Value {
    json!({
        "peers": [peer()],
        "policies": [{ "id": "pol-web", "rules": [{
            "src": "10.100.0.0/16", "dst": "10.100.0.12/32", "port": 443,
            "protocol": "tcp", "action": "allow",
        }] }],
        "signing_keys": {
            "current": "L6B/3vdMpNQA/+u8X6/Vi0csKS3N+Tms+Wa4fpNO2P0=",
            "previous": "3uQIEJfYOAD4EUGOKuteiIggcyvhhEorJEESO560wHc=",
            "transition_expires": "2025-01-16T10:40:00Z",
        },
        "metadata": { "region": "eu-central", "rack": "b7" },
        "bridge_config": {
            "access_subnets": ["10.40.0.0/16"], "enable_nat": true, "enable_forwarding": true,
        },
        "relay_config": { "sessions": [{
            "session_id": "relay-66a2",
            "peer_a_id": "node-2b90d4",
            "peer_a_endpoint": "203.0.113.20:51820",
            "peer_b_id": "node-e58a17",
            "peer_b_endpoint": "192.0.2.44:51820",
            "expires_at": "2025-01-15T22:30:00Z",
        }] },
        "user_access_config": {
            "enabled": true,
            "interface_name": "plexd-access",
            "listen_port": 51821,
            "peers": [{
                "public_key": "+xRvsNkOlg/P7cV6nknuz/sj5GPTHaH/cTldyJB6M04=",
                "allowed_ips": ["10.110.0.5/32"],
                "psk": "ZXhhbXBsZS1wcmVzaGFyZWQta2V5LWZvci1sYXB0b3A=",
                "label": "laptop of Ada",
            }],
        },
        "ingress_config": { "enabled": true, "rules": [{
            "rule_id": "ing-302",
            "listen_port": 443,
            "target_addr": "10.40.0.15:8080",
            "mode": "terminate",
            "cert_pem": "-----BEGIN CERTIFICATE-----\n",
            "key_pem": "-----BEGIN PRIVATE KEY-----\n",
        }] },
        "site_to_site_config": { "enabled": true, "tunnels": [{
            "tunnel_id": "s2s-17",
            "remote_endpoint": "192.0.2.90:51830",
            "remote_public_key": "lvxrgk3/nMFshTe4+VU4nGUsXRVjMiLFUnFK2o4LEjU=",
            "local_subnets": ["10.40.0.0/16"],
            "remote_subnets": ["10.60.0.0/16"],
            "psk": "ZXhhbXBsZS1wcmVzaGFyZWQta2V5LXNpdGUtdG8tc2k=",
            "interface_name": "plexd-s2s0",
            "listen_port": 51830,
        }] },
        "data": [{
            "key": "ntp",
            "content_type": "application/json",
            "payload": { "servers": ["ntp1.example.net"] },
            "version": 4,
            "updated_at": "2025-01-14T08:12:45.5Z",
        }],
        "secret_refs": [{ "key": "db-password", "version": 3 }],
    })
}
