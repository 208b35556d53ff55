//! The control plane's operations, one method each.
//!
//! What all have in common: path parameters are sent as one segment each, and an
//! empty one, `.`, `..` or one with a backslash or control character is
//! [`ErrorKind::InvalidRequest`](crate::ErrorKind::InvalidRequest) before anything is
//! sent. Any other error is the answer's status or the network's:
//! [`ErrorKind`](crate::ErrorKind) lists them. Dropping a future abandons its
//! request; the server may have acted on it.

use crate::artifact::Artifact;
use crate::client::ControlPlane;
use crate::error::{Error, ErrorKind};
use crate::transport::pool::Lane;
use crate::transport::segment;
use crate::transport::stream::SseResponse;
use crate::types;

/// The body of [`report_metrics`](ControlPlane::report_metrics).
pub type MetricBatch = Vec<types::MetricPoint>;
/// The body of [`report_logs`](ControlPlane::report_logs).
pub type LogBatch = Vec<types::LogEntry>;
/// The body of [`report_audit`](ControlPlane::report_audit).
pub type AuditBatch = Vec<types::AuditEntry>;

impl ControlPlane {
    /// Registers this node (`POST /v1/register`): the answer holds its id, mesh address, peers and secret key.
    ///
    /// Use the bootstrap token for this call, and [`set_auth_token`](Self::set_auth_token) with
    /// `node_secret_key` after it.
    ///
    /// # Errors
    /// [`BadRequest`](ErrorKind::BadRequest) for a value that the server does not take;
    /// [`Unauthorized`](ErrorKind::Unauthorized) or [`Forbidden`](ErrorKind::Forbidden) for the
    /// token; [`Conflict`](ErrorKind::Conflict) for a node that is registered already;
    /// [`PayloadTooLarge`](ErrorKind::PayloadTooLarge) for a body over the server's limit: send less
    /// at once; [`RateLimit`](ErrorKind::RateLimit) and [`Server`](ErrorKind::Server) with their
    /// `retry_after`. The network's own: see [`ErrorKind`].
    ///
    /// # Cancel safety
    /// Dropping the future abandons the request; the server may have acted on it.
    pub async fn register(
        &self,
        body: &types::RegisterRequest,
    ) -> Result<types::RegisterResponse, Error> {
        self.transport.call("register", async |api| api.register(body).await).await
    }

    /// Says that the node is alive (`POST /v1/nodes/{node_id}/heartbeat`). The answer may ask for a
    /// reconcile or a rotation of keys.
    ///
    /// # Errors
    /// [`InvalidRequest`](ErrorKind::InvalidRequest) for an id that cannot be a segment of a path,
    /// before anything is sent. [`BadRequest`](ErrorKind::BadRequest) for a value that the server
    /// does not take; [`Unauthorized`](ErrorKind::Unauthorized) or
    /// [`Forbidden`](ErrorKind::Forbidden) for the token; [`NotFound`](ErrorKind::NotFound) for an
    /// unknown node; [`RateLimit`](ErrorKind::RateLimit) and [`Server`](ErrorKind::Server) with their
    /// `retry_after`. The network's own: see [`ErrorKind`].
    ///
    /// # Cancel safety
    /// Dropping the future abandons the request; the server may have acted on it.
    pub async fn heartbeat(
        &self,
        node_id: &str,
        body: &types::HeartbeatRequest,
    ) -> Result<types::HeartbeatResponse, Error> {
        check("heartbeat", &[("node_id", node_id)])?;
        self.transport.call("heartbeat", async |api| api.heartbeat(node_id, body).await).await
    }

    /// Removes the node from the mesh (`POST /v1/nodes/{node_id}/deregister`). Its token is dead after it.
    ///
    /// # Errors
    /// [`InvalidRequest`](ErrorKind::InvalidRequest) for an id that cannot be a segment of a path,
    /// before anything is sent. [`BadRequest`](ErrorKind::BadRequest) for a value that the server
    /// does not take; [`Unauthorized`](ErrorKind::Unauthorized) or
    /// [`Forbidden`](ErrorKind::Forbidden) for the token; [`NotFound`](ErrorKind::NotFound) for an
    /// unknown node; [`RateLimit`](ErrorKind::RateLimit) and [`Server`](ErrorKind::Server) with their
    /// `retry_after`. The network's own: see [`ErrorKind`].
    ///
    /// # Cancel safety
    /// Dropping the future abandons the request; the server may have acted on it.
    pub async fn deregister(&self, node_id: &str) -> Result<(), Error> {
        check("deregister", &[("node_id", node_id)])?;
        self.transport.call("deregister", async |api| api.deregister(node_id).await).await
    }

    /// Fetches all that the node should be (`GET /v1/nodes/{node_id}/state`): peers, policies, keys,
    /// configuration, data.
    ///
    /// # Errors
    /// [`InvalidRequest`](ErrorKind::InvalidRequest) for an id that cannot be a segment of a path,
    /// before anything is sent. [`BadRequest`](ErrorKind::BadRequest) for a value that the server
    /// does not take; [`Unauthorized`](ErrorKind::Unauthorized) or
    /// [`Forbidden`](ErrorKind::Forbidden) for the token; [`NotFound`](ErrorKind::NotFound) for an
    /// unknown node; [`RateLimit`](ErrorKind::RateLimit) and [`Server`](ErrorKind::Server) with their
    /// `retry_after`. The network's own: see [`ErrorKind`].
    ///
    /// # Cancel safety
    /// Dropping the future abandons the request.
    pub async fn fetch_state(&self, node_id: &str) -> Result<types::StateResponse, Error> {
        check("fetch_state", &[("node_id", node_id)])?;
        self.transport.call("fetch_state", async |api| api.fetch_state(node_id).await).await
    }

    /// Announces the node's new public key (`POST /v1/keys/rotate`). The answer holds the peers whose
    /// keys changed with it.
    ///
    /// # Errors
    /// [`BadRequest`](ErrorKind::BadRequest) for a value that the server does not take;
    /// [`Unauthorized`](ErrorKind::Unauthorized) or [`Forbidden`](ErrorKind::Forbidden) for the
    /// token; [`NotFound`](ErrorKind::NotFound) for an unknown node;
    /// [`Conflict`](ErrorKind::Conflict) for a key that is in use;
    /// [`RateLimit`](ErrorKind::RateLimit) and [`Server`](ErrorKind::Server) with their
    /// `retry_after`. The network's own: see [`ErrorKind`].
    ///
    /// # Cancel safety
    /// Dropping the future abandons the request; the server may have acted on it.
    pub async fn rotate_keys(
        &self,
        body: &types::KeyRotateRequest,
    ) -> Result<types::KeyRotateResponse, Error> {
        self.transport.call("rotate_keys", async |api| api.rotate_keys(body).await).await
    }

    /// Says what the node can do (`PUT /v1/nodes/{node_id}/capabilities`).
    ///
    /// # Errors
    /// [`InvalidRequest`](ErrorKind::InvalidRequest) for an id that cannot be a segment of a path,
    /// before anything is sent. [`BadRequest`](ErrorKind::BadRequest) for a value that the server
    /// does not take; [`Unauthorized`](ErrorKind::Unauthorized) or
    /// [`Forbidden`](ErrorKind::Forbidden) for the token; [`NotFound`](ErrorKind::NotFound) for an
    /// unknown node; [`PayloadTooLarge`](ErrorKind::PayloadTooLarge) for a body over the server's
    /// limit: send less at once; [`RateLimit`](ErrorKind::RateLimit) and
    /// [`Server`](ErrorKind::Server) with their `retry_after`. The network's own: see [`ErrorKind`].
    ///
    /// # Cancel safety
    /// Dropping the future abandons the request; the server may have acted on it.
    pub async fn update_capabilities(
        &self,
        node_id: &str,
        body: &types::CapabilitiesPayload,
    ) -> Result<(), Error> {
        check("update_capabilities", &[("node_id", node_id)])?;
        self.transport
            .call("update_capabilities", async |api| api.update_capabilities(node_id, body).await)
            .await
    }

    /// Reports the node's public endpoint (`PUT /v1/nodes/{node_id}/endpoint`). The answer holds those of
    /// its peers.
    ///
    /// # Errors
    /// [`InvalidRequest`](ErrorKind::InvalidRequest) for an id that cannot be a segment of a path,
    /// before anything is sent. [`BadRequest`](ErrorKind::BadRequest) for a value that the server
    /// does not take; [`Unauthorized`](ErrorKind::Unauthorized) or
    /// [`Forbidden`](ErrorKind::Forbidden) for the token; [`NotFound`](ErrorKind::NotFound) for an
    /// unknown node; [`RateLimit`](ErrorKind::RateLimit) and [`Server`](ErrorKind::Server) with their
    /// `retry_after`. The network's own: see [`ErrorKind`].
    ///
    /// # Cancel safety
    /// Dropping the future abandons the request; the server may have acted on it.
    pub async fn report_endpoint(
        &self,
        node_id: &str,
        body: &types::EndpointReport,
    ) -> Result<types::EndpointResponse, Error> {
        check("report_endpoint", &[("node_id", node_id)])?;
        self.transport
            .call("report_endpoint", async |api| api.report_endpoint(node_id, body).await)
            .await
    }

    /// Reports what had to be corrected (`POST /v1/nodes/{node_id}/drift`).
    ///
    /// # Errors
    /// [`InvalidRequest`](ErrorKind::InvalidRequest) for an id that cannot be a segment of a path,
    /// before anything is sent. [`BadRequest`](ErrorKind::BadRequest) for a value that the server
    /// does not take; [`Unauthorized`](ErrorKind::Unauthorized) or
    /// [`Forbidden`](ErrorKind::Forbidden) for the token; [`NotFound`](ErrorKind::NotFound) for an
    /// unknown node; [`PayloadTooLarge`](ErrorKind::PayloadTooLarge) for a body over the server's
    /// limit: send less at once; [`RateLimit`](ErrorKind::RateLimit) and
    /// [`Server`](ErrorKind::Server) with their `retry_after`. The network's own: see [`ErrorKind`].
    ///
    /// # Cancel safety
    /// Dropping the future abandons the request; the server may have acted on it.
    pub async fn report_drift(
        &self,
        node_id: &str,
        body: &types::DriftReport,
    ) -> Result<(), Error> {
        check("report_drift", &[("node_id", node_id)])?;
        self.transport.call("report_drift", async |api| api.report_drift(node_id, body).await).await
    }

    /// Fetches one secret (`GET /v1/nodes/{node_id}/secrets/{key}`). Open it with
    /// [`decrypt`](crate::types::SecretResponse::decrypt).
    ///
    /// # Errors
    /// [`InvalidRequest`](ErrorKind::InvalidRequest) for an id that cannot be a segment of a path,
    /// before anything is sent. [`BadRequest`](ErrorKind::BadRequest) for a value that the server
    /// does not take; [`Unauthorized`](ErrorKind::Unauthorized) or
    /// [`Forbidden`](ErrorKind::Forbidden) for the token; [`NotFound`](ErrorKind::NotFound) for an
    /// unknown node or secret; [`RateLimit`](ErrorKind::RateLimit) and [`Server`](ErrorKind::Server)
    /// with their `retry_after`. The network's own: see [`ErrorKind`].
    ///
    /// # Cancel safety
    /// Dropping the future abandons the request.
    pub async fn fetch_secret(
        &self,
        node_id: &str,
        key: &str,
    ) -> Result<types::SecretResponse, Error> {
        check("fetch_secret", &[("node_id", node_id), ("key", key)])?;
        self.transport.call("fetch_secret", async |api| api.fetch_secret(node_id, key).await).await
    }

    /// Reports entries of the node's own (`POST /v1/nodes/{node_id}/report`).
    /// [`ErrorKind::Conflict`](crate::ErrorKind::Conflict) is a conflict of versions.
    ///
    /// # Errors
    /// [`InvalidRequest`](ErrorKind::InvalidRequest) for an id that cannot be a segment of a path,
    /// before anything is sent. [`BadRequest`](ErrorKind::BadRequest) for a value that the server
    /// does not take; [`Unauthorized`](ErrorKind::Unauthorized) or
    /// [`Forbidden`](ErrorKind::Forbidden) for the token; [`NotFound`](ErrorKind::NotFound) for an
    /// unknown node; [`Conflict`](ErrorKind::Conflict) for an entry that is newer on the server;
    /// [`PayloadTooLarge`](ErrorKind::PayloadTooLarge) for a body over the server's limit: send less
    /// at once; [`RateLimit`](ErrorKind::RateLimit) and [`Server`](ErrorKind::Server) with their
    /// `retry_after`. The network's own: see [`ErrorKind`].
    ///
    /// # Cancel safety
    /// Dropping the future abandons the request; the server may have acted on it.
    pub async fn sync_reports(
        &self,
        node_id: &str,
        body: &types::ReportSyncRequest,
    ) -> Result<(), Error> {
        check("sync_reports", &[("node_id", node_id)])?;
        self.transport.call("sync_reports", async |api| api.sync_reports(node_id, body).await).await
    }

    /// Accepts or rejects an execution (`POST /v1/nodes/{node_id}/executions/{execution_id}/ack`).
    ///
    /// # Errors
    /// [`InvalidRequest`](ErrorKind::InvalidRequest) for an id that cannot be a segment of a path,
    /// before anything is sent. [`BadRequest`](ErrorKind::BadRequest) for a value that the server
    /// does not take; [`Unauthorized`](ErrorKind::Unauthorized) or
    /// [`Forbidden`](ErrorKind::Forbidden) for the token; [`NotFound`](ErrorKind::NotFound) for an
    /// unknown node or execution; [`Conflict`](ErrorKind::Conflict) for a second answer;
    /// [`RateLimit`](ErrorKind::RateLimit) and [`Server`](ErrorKind::Server) with their
    /// `retry_after`. The network's own: see [`ErrorKind`].
    ///
    /// # Cancel safety
    /// Dropping the future abandons the request; the server may have acted on it.
    pub async fn ack_execution(
        &self,
        node_id: &str,
        execution_id: &str,
        body: &types::ExecutionAck,
    ) -> Result<(), Error> {
        check("ack_execution", &[("node_id", node_id), ("execution_id", execution_id)])?;
        self.transport
            .call("ack_execution", async |api| api.ack_execution(node_id, execution_id, body).await)
            .await
    }

    /// Reports how an execution ended (`POST /v1/nodes/{node_id}/executions/{execution_id}/result`).
    ///
    /// # Errors
    /// [`InvalidRequest`](ErrorKind::InvalidRequest) for an id that cannot be a segment of a path,
    /// before anything is sent. [`BadRequest`](ErrorKind::BadRequest) for a value that the server
    /// does not take; [`Unauthorized`](ErrorKind::Unauthorized) or
    /// [`Forbidden`](ErrorKind::Forbidden) for the token; [`NotFound`](ErrorKind::NotFound) for an
    /// unknown node or execution; [`Conflict`](ErrorKind::Conflict) for a second result;
    /// [`PayloadTooLarge`](ErrorKind::PayloadTooLarge) for a body over the server's limit: send less
    /// at once; [`RateLimit`](ErrorKind::RateLimit) and [`Server`](ErrorKind::Server) with their
    /// `retry_after`. The network's own: see [`ErrorKind`].
    ///
    /// # Cancel safety
    /// Dropping the future abandons the request; the server may have acted on it.
    pub async fn report_result(
        &self,
        node_id: &str,
        execution_id: &str,
        body: &types::ExecutionResult,
    ) -> Result<(), Error> {
        check("report_result", &[("node_id", node_id), ("execution_id", execution_id)])?;
        self.transport
            .call("report_result", async |api| api.report_result(node_id, execution_id, body).await)
            .await
    }

    /// Sends measured points (`POST /v1/nodes/{node_id}/metrics`).
    ///
    /// # Errors
    /// [`InvalidRequest`](ErrorKind::InvalidRequest) for an id that cannot be a segment of a path,
    /// before anything is sent. [`BadRequest`](ErrorKind::BadRequest) for a value that the server
    /// does not take; [`Unauthorized`](ErrorKind::Unauthorized) or
    /// [`Forbidden`](ErrorKind::Forbidden) for the token; [`NotFound`](ErrorKind::NotFound) for an
    /// unknown node; [`PayloadTooLarge`](ErrorKind::PayloadTooLarge) for a body over the server's
    /// limit: send less at once; [`RateLimit`](ErrorKind::RateLimit) and
    /// [`Server`](ErrorKind::Server) with their `retry_after`. The network's own: see [`ErrorKind`].
    ///
    /// # Cancel safety
    /// Dropping the future abandons the request; the server may have acted on it.
    pub async fn report_metrics(&self, node_id: &str, body: &MetricBatch) -> Result<(), Error> {
        check("report_metrics", &[("node_id", node_id)])?;
        self.transport
            .call("report_metrics", async |api| api.report_metrics(node_id, body).await)
            .await
    }

    /// Sends log lines (`POST /v1/nodes/{node_id}/logs`).
    ///
    /// # Errors
    /// [`InvalidRequest`](ErrorKind::InvalidRequest) for an id that cannot be a segment of a path,
    /// before anything is sent. [`BadRequest`](ErrorKind::BadRequest) for a value that the server
    /// does not take; [`Unauthorized`](ErrorKind::Unauthorized) or
    /// [`Forbidden`](ErrorKind::Forbidden) for the token; [`NotFound`](ErrorKind::NotFound) for an
    /// unknown node; [`PayloadTooLarge`](ErrorKind::PayloadTooLarge) for a body over the server's
    /// limit: send less at once; [`RateLimit`](ErrorKind::RateLimit) and
    /// [`Server`](ErrorKind::Server) with their `retry_after`. The network's own: see [`ErrorKind`].
    ///
    /// # Cancel safety
    /// Dropping the future abandons the request; the server may have acted on it.
    pub async fn report_logs(&self, node_id: &str, body: &LogBatch) -> Result<(), Error> {
        check("report_logs", &[("node_id", node_id)])?;
        self.transport.call("report_logs", async |api| api.report_logs(node_id, body).await).await
    }

    /// Sends audit entries (`POST /v1/nodes/{node_id}/audit`).
    ///
    /// # Errors
    /// [`InvalidRequest`](ErrorKind::InvalidRequest) for an id that cannot be a segment of a path,
    /// before anything is sent. [`BadRequest`](ErrorKind::BadRequest) for a value that the server
    /// does not take; [`Unauthorized`](ErrorKind::Unauthorized) or
    /// [`Forbidden`](ErrorKind::Forbidden) for the token; [`NotFound`](ErrorKind::NotFound) for an
    /// unknown node; [`PayloadTooLarge`](ErrorKind::PayloadTooLarge) for a body over the server's
    /// limit: send less at once; [`RateLimit`](ErrorKind::RateLimit) and
    /// [`Server`](ErrorKind::Server) with their `retry_after`. The network's own: see [`ErrorKind`].
    ///
    /// # Cancel safety
    /// Dropping the future abandons the request; the server may have acted on it.
    pub async fn report_audit(&self, node_id: &str, body: &AuditBatch) -> Result<(), Error> {
        check("report_audit", &[("node_id", node_id)])?;
        self.transport.call("report_audit", async |api| api.report_audit(node_id, body).await).await
    }

    /// Says that a tunnel listens (`POST /v1/nodes/{node_id}/tunnels/{session_id}/ready`).
    ///
    /// # Errors
    /// [`InvalidRequest`](ErrorKind::InvalidRequest) for an id that cannot be a segment of a path,
    /// before anything is sent. [`BadRequest`](ErrorKind::BadRequest) for a value that the server
    /// does not take; [`Unauthorized`](ErrorKind::Unauthorized) or
    /// [`Forbidden`](ErrorKind::Forbidden) for the token; [`NotFound`](ErrorKind::NotFound) for an
    /// unknown node or session; [`Conflict`](ErrorKind::Conflict) for what the server holds already;
    /// [`RateLimit`](ErrorKind::RateLimit) and [`Server`](ErrorKind::Server) with their
    /// `retry_after`. The network's own: see [`ErrorKind`].
    ///
    /// # Cancel safety
    /// Dropping the future abandons the request; the server may have acted on it.
    pub async fn tunnel_ready(
        &self,
        node_id: &str,
        session_id: &str,
        body: &types::TunnelReadyRequest,
    ) -> Result<(), Error> {
        check("tunnel_ready", &[("node_id", node_id), ("session_id", session_id)])?;
        self.transport
            .call("tunnel_ready", async |api| api.tunnel_ready(node_id, session_id, body).await)
            .await
    }

    /// Says that a tunnel is gone (`POST /v1/nodes/{node_id}/tunnels/{session_id}/closed`).
    ///
    /// # Errors
    /// [`InvalidRequest`](ErrorKind::InvalidRequest) for an id that cannot be a segment of a path,
    /// before anything is sent. [`BadRequest`](ErrorKind::BadRequest) for a value that the server
    /// does not take; [`Unauthorized`](ErrorKind::Unauthorized) or
    /// [`Forbidden`](ErrorKind::Forbidden) for the token; [`NotFound`](ErrorKind::NotFound) for an
    /// unknown node or session; [`Conflict`](ErrorKind::Conflict) for what the server holds already;
    /// [`RateLimit`](ErrorKind::RateLimit) and [`Server`](ErrorKind::Server) with their
    /// `retry_after`. The network's own: see [`ErrorKind`].
    ///
    /// # Cancel safety
    /// Dropping the future abandons the request; the server may have acted on it.
    pub async fn tunnel_closed(
        &self,
        node_id: &str,
        session_id: &str,
        body: &types::TunnelClosedRequest,
    ) -> Result<(), Error> {
        check("tunnel_closed", &[("node_id", node_id), ("session_id", session_id)])?;
        self.transport
            .call("tunnel_closed", async |api| api.tunnel_closed(node_id, session_id, body).await)
            .await
    }

    /// Reports a file that is not what it should be (`POST /v1/nodes/{node_id}/integrity/violations`).
    ///
    /// # Errors
    /// [`InvalidRequest`](ErrorKind::InvalidRequest) for an id that cannot be a segment of a path,
    /// before anything is sent. [`BadRequest`](ErrorKind::BadRequest) for a value that the server
    /// does not take; [`Unauthorized`](ErrorKind::Unauthorized) or
    /// [`Forbidden`](ErrorKind::Forbidden) for the token; [`NotFound`](ErrorKind::NotFound) for an
    /// unknown node; [`RateLimit`](ErrorKind::RateLimit) and [`Server`](ErrorKind::Server) with their
    /// `retry_after`. The network's own: see [`ErrorKind`].
    ///
    /// # Cancel safety
    /// Dropping the future abandons the request; the server may have acted on it.
    pub async fn report_integrity_violation(
        &self,
        node_id: &str,
        body: &types::IntegrityViolationReport,
    ) -> Result<(), Error> {
        check("report_integrity_violation", &[("node_id", node_id)])?;
        self.transport
            .call("report_integrity_violation", async |api| {
                api.report_integrity_violation(node_id, body).await
            })
            .await
    }

    /// Opens the node's event stream (`GET /v1/nodes/{node_id}/events`), from after
    /// `last_event_id` or, without one, from now on.
    ///
    /// This is the raw stream for those who want it; [`SseManager`](crate::SseManager) keeps one
    /// open, verifies and dispatches. It has no total time limit: the headers must
    /// come within [`header_timeout`](crate::Config::header_timeout), and then a byte
    /// at least every [`sse_idle_timeout`](crate::Config::sse_idle_timeout).
    ///
    /// # Errors
    /// [`ErrorKind::NoStream`](crate::ErrorKind::NoStream) for 204,
    /// [`ErrorKind::UnexpectedContent`](crate::ErrorKind::UnexpectedContent) for a 2xx that is not an
    /// event stream, [`ErrorKind::InvalidRequest`](crate::ErrorKind::InvalidRequest) for an id that
    /// cannot stand in a header; otherwise those of any call.
    ///
    /// # Cancel safety
    /// Dropping the future or the stream closes the connection.
    pub async fn connect_sse(
        &self,
        node_id: &str,
        last_event_id: Option<&str>,
    ) -> Result<SseResponse, Error> {
        const NAME: &str = "connect_sse";
        check(NAME, &[("node_id", node_id)])?;
        if last_event_id.is_some_and(|id| id.is_empty() || id.chars().any(char::is_control)) {
            let text =
                "last_event_id is empty or holds a control character: pass None to start from now";
            return Err(Error::new(ErrorKind::InvalidRequest, text).in_operation(NAME));
        }
        self.transport
            .open(NAME, Lane::Events, async |api| api.connect_sse(node_id, last_event_id).await)
            .await?
            .into_events()
            .map_err(|e| e.in_operation(NAME))
    }

    /// Fetches the agent's own binary
    /// (`GET /v1/artifacts/plexd/{version}/{os}/{arch}`) as a stream of bytes.
    ///
    /// It has no total time limit: the headers must come within
    /// [`header_timeout`](crate::Config::header_timeout), and then a byte at least
    /// every [`sse_idle_timeout`](crate::Config::sse_idle_timeout).
    ///
    /// # Errors
    /// [`InvalidRequest`](ErrorKind::InvalidRequest) for an id that cannot be a segment of a path,
    /// before anything is sent. [`BadRequest`](ErrorKind::BadRequest) for a value that the server
    /// does not take; [`Unauthorized`](ErrorKind::Unauthorized) or
    /// [`Forbidden`](ErrorKind::Forbidden) for the token; [`NotFound`](ErrorKind::NotFound) for an
    /// unknown build; [`RateLimit`](ErrorKind::RateLimit) and [`Server`](ErrorKind::Server) with
    /// their `retry_after`. The network's own: see [`ErrorKind`].
    ///
    /// # Cancel safety
    /// Dropping the future or the artifact closes the connection.
    pub async fn fetch_artifact(
        &self,
        version: &str,
        os: &str,
        arch: &str,
    ) -> Result<Artifact, Error> {
        const NAME: &str = "fetch_artifact";
        check(NAME, &[("version", version), ("os", os), ("arch", arch)])?;
        self.transport
            .open(NAME, Lane::Artifacts, async |api| {
                api.fetch_artifact(version, os, arch, None, None).await
            })
            .await
            .and_then(Artifact::new)
            .map_err(|e| e.in_operation(NAME))
    }
}

fn check(operation: &'static str, parameters: &[(&str, &str)]) -> Result<(), Error> {
    parameters
        .iter()
        .try_for_each(|(name, value)| segment::check(name, value))
        .map_err(|e| e.in_operation(operation))
}
