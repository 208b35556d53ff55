use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::config::Config;
use crate::error::Error;
use crate::transport::call::Transport;
use crate::values::Secret;

/// The control plane: one typed method for each of its operations.
///
/// Cheap to clone; clones share connections and token. All methods take `&self` and
/// may run at the same time. No call is ever repeated by the library itself.
///
/// ```no_run
/// use plexsphere_client::{Config, ControlPlane, types};
///
/// # async fn example() -> Result<(), plexsphere_client::Error> {
/// let control_plane = ControlPlane::new(Config::new("https://api.plexsphere.com")?, "1.4.2")?;
/// control_plane.set_auth_token("bootstrap-token")?;
/// let node = control_plane
///     .register(&types::RegisterRequest {
///         token: "bootstrap-token".into(),
///         public_key: "base64 of the Curve25519 public key".into(),
///         hostname: "node-1".into(),
///         metadata: Default::default(),
///         capabilities: None,
///     })
///     .await?;
/// control_plane.set_auth_token(node.node_secret_key.clone())?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct ControlPlane {
    pub(crate) transport: Arc<Transport>,
}

impl ControlPlane {
    /// A client for the control plane that `config` names. `version` is the agent's
    /// own and goes out as `User-Agent: plexd/{version}`. Nothing is sent yet.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) when a setting does not
    /// [validate](Config::validate), a root certificate, the client certificate or
    /// the proxy is not understood, or `version` cannot stand in a header.
    pub fn new(config: Config, version: &str) -> Result<Self, Error> {
        if config.danger_accept_invalid_certs {
            tracing::warn!(
                "TLS certificates are not verified: anyone on the way can read and answer"
            );
        }
        Ok(Self { transport: Arc::new(Transport::new(config, version)?) })
    }

    /// The settings that it was made with.
    pub fn config(&self) -> &Config {
        &self.transport.config
    }

    /// Sets the token that each request from now on carries as
    /// `Authorization: Bearer …`: the bootstrap token before registration, the node
    /// secret key after. Every clone sees it at its next request; a request that is
    /// on its way keeps the old one.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidRequest`](crate::ErrorKind::InvalidRequest) when it is
    /// empty or cannot stand in a header; the old token then stays.
    pub fn set_auth_token(&self, token: impl Into<Secret>) -> Result<(), Error> {
        self.transport.shared.set_token(&token.into())
    }

    /// Takes the token away: requests from now on carry none.
    pub fn clear_auth_token(&self) {
        self.transport.shared.clear_token();
    }

    /// Asks the control plane whether it is there (`GET /v1/ping`).
    ///
    /// # Errors
    /// Those of any call: see [`ErrorKind`](crate::ErrorKind).
    ///
    /// # Cancel safety
    /// Dropping the future abandons the request.
    pub async fn ping(&self) -> Result<(), Error> {
        self.transport.call("ping", async |api| api.ping().await).await
    }

    /// Fetches any path under the base URL, for operations that this crate does not
    /// name: `path` starts with `/` and may have a query; encode what you put in it.
    ///
    /// ```no_run
    /// # async fn example(control_plane: plexsphere_client::ControlPlane) -> Result<(), plexsphere_client::Error> {
    /// let nodes: serde_json::Value = control_plane.get_json("/v1/nodes?limit=10").await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::InvalidRequest`](crate::ErrorKind::InvalidRequest) for a path
    /// that would leave the base URL; otherwise those of any call.
    ///
    /// # Cancel safety
    /// Dropping the future abandons the request.
    pub async fn get_json<T: DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        self.transport.json("get_json", http::Method::GET, path, None::<&()>).await
    }

    /// Posts `body` as JSON to any path under the base URL, like
    /// [`get_json`](Self::get_json). An empty answer reads as `null`: `()` takes only
    /// that, [`serde::de::IgnoredAny`] takes whatever comes, and any other type gets
    /// [`ErrorKind::EmptyResponse`](crate::ErrorKind::EmptyResponse).
    ///
    /// # Errors
    /// As [`get_json`](Self::get_json), and
    /// [`ErrorKind::InvalidRequest`](crate::ErrorKind::InvalidRequest) when `body`
    /// does not encode.
    ///
    /// # Cancel safety
    /// Dropping the future abandons the request; the server may have acted on it.
    pub async fn post_json<B, T>(&self, path: &str, body: &B) -> Result<T, Error>
    where
        B: Serialize + ?Sized,
        T: DeserializeOwned,
    {
        self.transport.json("post_json", http::Method::POST, path, Some(body)).await
    }
}

/// Shows where it points, never the token.
impl fmt::Debug for ControlPlane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ControlPlane")
            .field("base_url", &self.config().base_url.as_str())
            .finish_non_exhaustive()
    }
}
