use std::fmt;
use std::time::Duration;

use serde::de::Visitor;
use serde::{Deserialize, Deserializer};
use url::Url;

use crate::error::Error;
use crate::values::Secret;

/// How long it may take until there is a connection, TLS and a proxy's CONNECT included: 10 s.
pub const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a call may take in total, from connecting to the last byte: 30 s.
pub const DEFAULT_REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// How long an event stream or a download may wait for the answer's headers: 30 s.
pub const DEFAULT_HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// How long an event stream or a download may bring no byte: 90 s.
pub const DEFAULT_SSE_IDLE_TIMEOUT: Duration = Duration::from_secs(90);
/// How large an answer may be after decompression: 10 MiB.
pub const DEFAULT_RESPONSE_LIMIT: usize = 10 * 1024 * 1024;
/// How large one event of the stream may be: 1 MiB.
pub const DEFAULT_EVENT_LIMIT: usize = 1024 * 1024;
/// The longest time that any setting takes: 24 h.
pub const MAX_DURATION: Duration = Duration::from_secs(24 * 60 * 60);

/// How to reach the control plane.
///
/// Nothing here reads a file: construct it, or deserialise it from whatever your
/// agent's configuration is written in. Every setting but the URL has a default.
///
/// ```
/// use std::time::Duration;
/// use plexsphere_client::Config;
///
/// let config = Config::new("https://api.plexsphere.com")?
///     .connect_timeout(Duration::from_secs(5))
///     .root_certificate_pem("-----BEGIN CERTIFICATE-----\n…");
/// # Ok::<(), plexsphere_client::Error>(())
/// ```
///
/// From a configuration file, durations are strings such as `"30s"` or `"1m 30s"`,
/// and a key that does not exist is an error:
///
/// ```
/// use plexsphere_client::Config;
///
/// let config: Config = serde_json::from_str(r#"{
///     "base_url": "https://api.plexsphere.com/prefix",
///     "request_timeout": "45s",
///     "proxy": "environment"
/// }"#)?;
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "File")]
pub struct Config {
    pub(crate) base_url: Url,
    pub(crate) danger_accept_invalid_certs: bool,
    pub(crate) connect_timeout: Duration,
    pub(crate) request_timeout: Duration,
    pub(crate) header_timeout: Duration,
    pub(crate) sse_idle_timeout: Duration,
    pub(crate) root_certificates: Vec<String>,
    pub(crate) client_certificate: Option<ClientCertificate>,
    pub(crate) proxy: Proxy,
    pub(crate) response_limit: usize,
    pub(crate) event_limit: usize,
}

/// What this node shows to a server that asks who it is.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct ClientCertificate {
    pub(crate) chain: String,
    pub(crate) key: Secret,
}

/// Through which proxy requests go.
#[derive(Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Proxy {
    /// None, whatever the environment says. The default: an agent that builds the
    /// mesh must not depend on a variable that somebody left in its environment.
    #[default]
    None,
    /// `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY` of the environment.
    Environment,
    /// This one, for every request: an `http` or `https` URL, with the proxy's own
    /// credentials in it where it wants any.
    Url(Url),
}

impl Config {
    /// The control plane at `base_url`, everything else at its default.
    ///
    /// The URL is absolute, `http` or `https`, and may have a path
    /// (`https://host/prefix`) under which the API lies.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) when the URL is empty, not
    /// absolute, of another scheme, or has a query, a fragment or credentials.
    pub fn new(base_url: impl AsRef<str>) -> Result<Self, Error> {
        Ok(Self {
            base_url: parse_base_url(base_url.as_ref())?,
            danger_accept_invalid_certs: false,
            connect_timeout: DEFAULT_CONNECT_TIMEOUT,
            request_timeout: DEFAULT_REQUEST_TIMEOUT,
            header_timeout: DEFAULT_HEADER_TIMEOUT,
            sse_idle_timeout: DEFAULT_SSE_IDLE_TIMEOUT,
            root_certificates: Vec::new(),
            client_certificate: None,
            proxy: Proxy::None,
            response_limit: DEFAULT_RESPONSE_LIMIT,
            event_limit: DEFAULT_EVENT_LIMIT,
        })
    }

    /// Accepts any certificate, so that anyone on the way can read and answer in the
    /// control plane's place. For a test bench only; for a private authority add its
    /// certificate with [`root_certificate_pem`](Self::root_certificate_pem).
    /// Default is `false`. In a file: `tls_insecure_skip_verify`.
    #[must_use]
    pub fn danger_accept_invalid_certs(mut self, accept: bool) -> Self {
        self.danger_accept_invalid_certs = accept;
        self
    }

    /// How long it may take until there is a connection, TLS and a proxy's CONNECT
    /// included. Default is 10 s.
    #[must_use]
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.connect_timeout = limit;
        self
    }

    /// How long a call may take in total. It does not end an event stream or a
    /// download. Default is 30 s.
    #[must_use]
    pub fn request_timeout(mut self, limit: Duration) -> Self {
        self.request_timeout = limit;
        self
    }

    /// How long an event stream or a download may wait for the answer's headers.
    /// Default is 30 s.
    #[must_use]
    pub fn header_timeout(mut self, limit: Duration) -> Self {
        self.header_timeout = limit;
        self
    }

    /// How long an event stream or a download may bring no byte, keep-alive comments
    /// counted, before it is given up. Default is 90 s.
    #[must_use]
    pub fn sse_idle_timeout(mut self, limit: Duration) -> Self {
        self.sse_idle_timeout = limit;
        self
    }

    /// Trusts one more authority: a PEM text with one or more certificates, beside
    /// those of the operating system. May be called again. It is parsed by
    /// [`ControlPlane::new`](crate::ControlPlane::new). In a file:
    /// `root_certificates`, a list of PEM texts.
    #[must_use]
    pub fn root_certificate_pem(mut self, pem: impl Into<String>) -> Self {
        self.root_certificates.push(pem.into());
        self
    }

    /// Shows this certificate to a server that asks for one in the handshake (mutual
    /// TLS), an `https` proxy included. Default is none.
    ///
    /// `chain` is PEM text with the certificate first and those of its intermediate
    /// authorities after it; `key` is its private key in PEM, not encrypted. They are
    /// parsed by [`ControlPlane::new`](crate::ControlPlane::new), which says what does
    /// not fit. A renewed certificate needs a new `ControlPlane`. In a file:
    /// `client_certificate` and `client_key`, both PEM texts.
    ///
    /// ```no_run
    /// use plexsphere_client::{BoxError, Config};
    ///
    /// # fn example() -> Result<(), BoxError> {
    /// let config = Config::new("https://api.plexsphere.com")?.client_certificate_pem(
    ///     std::fs::read_to_string("/etc/plexd/client.crt")?,
    ///     std::fs::read_to_string("/etc/plexd/client.key")?,
    /// );
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn client_certificate_pem(
        mut self,
        chain: impl Into<String>,
        key: impl Into<Secret>,
    ) -> Self {
        self.client_certificate = Some(ClientCertificate { chain: chain.into(), key: key.into() });
        self
    }

    /// Through which proxy requests go. Default is [`Proxy::None`]. In a file:
    /// `"none"`, `"environment"` or a URL.
    #[must_use]
    pub fn proxy(mut self, proxy: Proxy) -> Self {
        self.proxy = proxy;
        self
    }

    /// How many bytes an answer may have after decompression. Default is 10 MiB. It bounds
    /// what the answer becomes in memory too: for each 16 bytes of the limit the answer may
    /// hold one value or name of JSON.
    #[must_use]
    pub fn response_limit(mut self, bytes: usize) -> Self {
        self.response_limit = bytes;
        self
    }

    /// How many bytes one event of the stream may have; a larger one is skipped and
    /// reported. Default is 1 MiB.
    #[must_use]
    pub fn event_limit(mut self, bytes: usize) -> Self {
        self.event_limit = bytes;
        self
    }

    /// The URL under which the API lies.
    pub fn base_url(&self) -> &Url {
        &self.base_url
    }

    /// Checks every setting; [`ControlPlane::new`](crate::ControlPlane::new) does it too.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config), with the field's name and
    /// what to write instead: a duration of zero or over 24 h, a limit of zero, a
    /// proxy that is neither `http` nor `https`.
    pub fn validate(&self) -> Result<(), Error> {
        for (field, value) in [
            ("connect_timeout", self.connect_timeout),
            ("request_timeout", self.request_timeout),
            ("header_timeout", self.header_timeout),
            ("sse_idle_timeout", self.sse_idle_timeout),
        ] {
            if value.is_zero() || value > MAX_DURATION {
                return Err(Error::config(format!(
                    "{field} is {value:?}: give more than zero and at most 24 h"
                )));
            }
        }
        for (field, value) in
            [("response_limit", self.response_limit), ("event_limit", self.event_limit)]
        {
            if value == 0 {
                return Err(Error::config(format!(
                    "{field} is 0: give the number of bytes, at least 1"
                )));
            }
        }
        match &self.proxy {
            Proxy::Url(url) if !matches!(url.scheme(), "http" | "https") => {
                Err(Error::config(format!("proxy is not an http or https URL: {PROXY_MEND}")))
            }
            _ => Ok(()),
        }
    }
}

impl Proxy {
    /// What errors call it, without the credentials in its URL.
    pub(crate) fn name(&self) -> Option<String> {
        match self {
            Self::None => None,
            Self::Environment => Some("the proxy of the environment".to_owned()),
            Self::Url(url) => Some(format!("the proxy {}", url.origin().ascii_serialization())),
        }
    }
}

const PROXY_MEND: &str =
    "write \"none\", \"environment\" or a URL such as http://proxy.example:3128";

fn parse_base_url(text: &str) -> Result<Url, Error> {
    const MEND: &str = "give an absolute URL such as https://api.plexsphere.com";
    if text.trim().is_empty() {
        return Err(Error::config(format!("base_url is empty: {MEND}")));
    }
    let url = Url::parse(text).map_err(|e| {
        Error::config(format!("base_url is not an absolute URL: {MEND}")).with_source(e)
    })?;
    let fault = if !text.contains("://") {
        "has no `//` after its scheme"
    } else if !matches!(url.scheme(), "http" | "https") {
        "is neither http nor https"
    } else if !url.username().is_empty() || url.password().is_some() {
        "holds credentials, which belong into set_auth_token"
    } else if url.query().is_some() {
        "has a query (`?`)"
    } else if url.fragment().is_some() {
        "has a fragment (`#`)"
    } else {
        return Ok(url);
    };
    Err(Error::config(format!("base_url {fault}: {MEND}")))
}

/// The form in a configuration file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    base_url: String,
    #[serde(default)]
    tls_insecure_skip_verify: bool,
    connect_timeout: Option<Span>,
    request_timeout: Option<Span>,
    header_timeout: Option<Span>,
    sse_idle_timeout: Option<Span>,
    #[serde(default)]
    root_certificates: Vec<String>,
    client_certificate: Option<String>,
    client_key: Option<Secret>,
    proxy: Option<String>,
    response_limit: Option<usize>,
    event_limit: Option<usize>,
}

impl TryFrom<File> for Config {
    type Error = Error;

    fn try_from(file: File) -> Result<Self, Error> {
        let mut config = Self::new(&file.base_url)?;
        config.danger_accept_invalid_certs = file.tls_insecure_skip_verify;
        for (field, setting, given) in [
            ("connect_timeout", &mut config.connect_timeout, file.connect_timeout),
            ("request_timeout", &mut config.request_timeout, file.request_timeout),
            ("header_timeout", &mut config.header_timeout, file.header_timeout),
            ("sse_idle_timeout", &mut config.sse_idle_timeout, file.sse_idle_timeout),
        ] {
            match given {
                None => {}
                Some(Span(Some(span))) => *setting = span,
                Some(Span(None)) => {
                    return Err(Error::config(format!(
                        "{field} is no duration: write it with its unit, such as \"30s\" or \"1m 30s\""
                    )));
                }
            }
        }
        config.root_certificates = file.root_certificates;
        config.client_certificate = match (file.client_certificate, file.client_key) {
            (None, None) => None,
            (Some(chain), Some(key)) => Some(ClientCertificate { chain, key }),
            (Some(_), None) => return Err(missing("client_key", "client_certificate")),
            (None, Some(_)) => return Err(missing("client_certificate", "client_key")),
        };
        config.proxy = file.proxy.as_deref().map(parse_proxy).transpose()?.unwrap_or_default();
        config.response_limit = file.response_limit.unwrap_or(config.response_limit);
        config.event_limit = file.event_limit.unwrap_or(config.event_limit);
        config.validate()?;
        Ok(config)
    }
}

fn missing(field: &str, beside: &str) -> Error {
    Error::config(format!("{field} is missing: give it beside {beside}, both as PEM text"))
}

fn parse_proxy(text: &str) -> Result<Proxy, Error> {
    match text {
        "none" => Ok(Proxy::None),
        "environment" => Ok(Proxy::Environment),
        url => Url::parse(url).map(Proxy::Url).map_err(|e| {
            Error::config(format!("proxy is not an absolute URL: {PROXY_MEND}")).with_source(e)
        }),
    }
}

/// A duration written as `"30s"`, `"1m 30s"`, `"500ms"`; `None` for anything else,
/// which is refused where the field's name is known.
struct Span(Option<Duration>);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SpanVisitor)
    }
}

struct SpanVisitor;

impl Visitor<'_> for SpanVisitor {
    type Value = Span;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a duration such as \"30s\"")
    }

    fn visit_str<E>(self, text: &str) -> Result<Span, E> {
        let span = text.parse::<jiff::SignedDuration>().ok();
        Ok(Span(span.and_then(|span| Duration::try_from(span).ok())))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Span, E> {
        Ok(Span(None))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Span, E> {
        Ok(Span(None))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Span, E> {
        Ok(Span(None))
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("base_url", &self.base_url.as_str())
            .field("danger_accept_invalid_certs", &self.danger_accept_invalid_certs)
            .field("connect_timeout", &self.connect_timeout)
            .field("request_timeout", &self.request_timeout)
            .field("header_timeout", &self.header_timeout)
            .field("sse_idle_timeout", &self.sse_idle_timeout)
            .field("root_certificates", &self.root_certificates.len())
            .field("client_certificate", &self.client_certificate.is_some())
            .field("proxy", &self.proxy)
            .field("response_limit", &self.response_limit)
            .field("event_limit", &self.event_limit)
            .finish()
    }
}

/// A proxy's URL may hold a password: only its host is shown.
impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Environment => f.write_str("Environment"),
            Self::Url(url) => write!(f, "Url({}://{})", url.scheme(), url.host_str().unwrap_or("")),
        }
    }
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
