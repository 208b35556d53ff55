//! A lane: one port of an intermediary, the mock behind it, and what is tried there.

use std::time::Duration;

use plexsphere_client::{BoxError, Config, ControlPlane};
use plexsphere_mock::MockControlPlane;
use serde_json::json;

use super::certificates::Certificates;
use super::programs::Port;

#[derive(Clone, Copy, PartialEq)]
pub enum Through {
    Nginx,
    Haproxy,
}

impl Through {
    pub fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
pub enum Transport {
    Plain,
    TlsHttp1,
    TlsHttp2,
}

impl Transport {
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain HTTP/1.1",
            Self::TlsHttp1 => "TLS HTTP/1.1",
            Self::TlsHttp2 => "TLS HTTP/2",
        }
    }

    /// What the intermediary calls the version that the client speaks to it.
    pub fn version(self) -> &'static str {
        match self {
            Self::TlsHttp2 => "HTTP/2.0",
            _ => "HTTP/1.1",
        }
    }
}

/// What is tried, which also says how the intermediary is set up.
#[derive(Clone, Copy, PartialEq)]
pub enum Trial {
    /// Set up as its operators are advised to.
    Flows,
    /// Set up as it comes, and not in the way all the same.
    Defaults,
    /// The control plane itself says that its stream is not to be buffered.
    AskedNotTo,
    /// Answers are compressed on the way.
    Compressed,
    /// A stream that is silent for longer than the intermediary likes is cut.
    IdleCut,
    /// Answers are collected first: no header, no byte comes through.
    HeldBack,
    /// Only the headers come through at once.
    BodyHeldBack,
    /// A client certificate is asked for.
    ClientCertificate,
    /// No TLS from 1.2 on.
    TooOld,
    /// Spoken to in plain HTTP where TLS is expected, or the reverse.
    WrongScheme,
}

impl Trial {
    pub fn name(self) -> &'static str {
        match self {
            Self::Flows => "as advised",
            Self::Defaults => "defaults",
            Self::AskedNotTo => "X-Accel-Buffering: no",
            Self::Compressed => "gzip on",
            Self::IdleCut => "cuts silent streams",
            Self::HeldBack => "default buffering",
            Self::BodyHeldBack => "buffers the body only",
            Self::ClientCertificate => "client certificate",
            Self::TooOld => "TLS 1.1 only",
            Self::WrongScheme => "wrong scheme",
        }
    }
}

/// After so long without a byte the intermediary cuts a stream.
pub const CUT_AFTER: Duration = Duration::from_secs(1);

pub struct Lane {
    pub through: Through,
    pub transport: Transport,
    pub trial: Trial,
    pub port: u16,
    pub mock: MockControlPlane,
    pub certificates: Certificates,
    held: Option<Port>,
}

/// All lanes, each with its port held and its mock running.
pub fn all(certificates: &Certificates) -> Result<Vec<Lane>, BoxError> {
    use Trial::*;
    const EACH: [Transport; 3] = [Transport::Plain, Transport::TlsHttp1, Transport::TlsHttp2];
    const TLS: [Transport; 2] = [Transport::TlsHttp1, Transport::TlsHttp2];
    let plan: [(Through, &[Trial], &[Transport]); 6] = [
        (Through::Nginx, &[Flows, AskedNotTo, Compressed, IdleCut, HeldBack], &EACH),
        // Over TLS nginx holds the headers back with the body.
        (Through::Nginx, &[BodyHeldBack], &[Transport::Plain]),
        (Through::Nginx, &[ClientCertificate], &TLS),
        (Through::Nginx, &[TooOld], &[Transport::TlsHttp2]),
        (Through::Haproxy, &[Flows, Defaults, Compressed, IdleCut], &EACH),
        (Through::Haproxy, &[ClientCertificate], &TLS),
    ];
    let mut lanes = Vec::new();
    for (through, trials, transports) in plan {
        for trial in trials {
            for transport in transports {
                lanes.push(Lane::new(through, *trial, *transport, certificates)?);
            }
        }
    }
    for through in [Through::Nginx, Through::Haproxy] {
        for transport in [Transport::Plain, Transport::TlsHttp1] {
            lanes.push(Lane::new(through, WrongScheme, transport, certificates)?);
        }
    }
    Ok(lanes)
}

impl Lane {
    fn new(
        through: Through,
        trial: Trial,
        transport: Transport,
        certificates: &Certificates,
    ) -> Result<Self, BoxError> {
        let held = Port::take()?;
        Ok(Self {
            through,
            transport,
            trial,
            port: held.number()?,
            mock: MockControlPlane::builder().start_blocking()?,
            certificates: certificates.clone(),
            held: Some(held),
        })
    }

    /// Lets the intermediary have the port.
    pub fn free_port(&mut self) {
        self.held = None;
    }

    pub fn is_tls(&self) -> bool {
        self.transport != Transport::Plain
    }

    /// A client for the intermediary, and a node of the mock behind it.
    pub fn client(
        &self,
        set: impl FnOnce(Config) -> Config,
    ) -> Result<(ControlPlane, String), String> {
        let scheme = if self.is_tls() { "https" } else { "http" };
        self.client_at(scheme, set)
    }

    pub fn client_at(
        &self,
        scheme: &str,
        set: impl FnOnce(Config) -> Config,
    ) -> Result<(ControlPlane, String), String> {
        let node = self.mock.add_node("web-1");
        let url = format!("{scheme}://127.0.0.1:{}", self.port);
        let config = Config::new(url).map_err(|e| e.to_string())?;
        let config = set(config.root_certificate_pem(&self.certificates.ca));
        let api = ControlPlane::new(config, "1").map_err(|e| e.to_string())?;
        api.set_auth_token(node.secret_key).map_err(|e| e.to_string())?;
        Ok((api, node.node_id))
    }

    /// Publishes an event; returns its id.
    pub fn publish(&self, node_id: &str) -> String {
        self.mock.publish(node_id, "peer_removed", &json!({ "peer_id": "p-1" })).event_id
    }
}
