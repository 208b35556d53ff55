use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use crate::config::{Config, Proxy};
use crate::error::{Error, ErrorKind};

/// How long an unused connection is kept: less than the 60 s after which most
/// servers and middleboxes forget it.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(50);
/// How often TCP asks whether the other side is still there.
const TCP_KEEP_ALIVE: Duration = Duration::from_secs(30);
/// How often HTTP/2 asks the same, and how long it waits for the answer.
const HTTP2_KEEP_ALIVE: Duration = Duration::from_secs(20);
const HTTP2_KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// After so many failures in a row the pooled connections are dropped.
const FAILURES_BEFORE_RENEWAL: u32 = 3;

/// The two HTTP clients: one for calls, one for streams, whose unread bytes must not
/// use up the calls' share of an HTTP/2 connection.
pub(crate) struct Pools {
    config: Config,
    current: RwLock<Clients>,
    failures: AtomicU32,
}

#[derive(Clone)]
pub(crate) struct Clients {
    pub(crate) calls: reqwest::Client,
    pub(crate) streams: reqwest::Client,
}

impl Pools {
    pub(crate) fn new(config: Config) -> Result<Self, Error> {
        let current = RwLock::new(Clients::new(&config)?);
        Ok(Self { config, current, failures: AtomicU32::new(0) })
    }

    pub(crate) fn clients(&self) -> Clients {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Counts failures of the transport in a row; the pool that they came from is
    /// replaced, since its connections may all be dead.
    pub(crate) fn note(&self, failure: Option<ErrorKind>) {
        use ErrorKind as K;
        match failure {
            Some(K::Connect | K::Timeout | K::Transport | K::IdleTimeout) => {
                if self.failures.fetch_add(1, Ordering::Relaxed) + 1 >= FAILURES_BEFORE_RENEWAL {
                    self.renew();
                }
            }
            _ => self.failures.store(0, Ordering::Relaxed),
        }
    }

    /// Drops the pooled connections; running calls keep theirs to the end.
    pub(crate) fn renew(&self) {
        self.failures.store(0, Ordering::Relaxed);
        // It was built from the same settings before; if that fails now, the old one stays.
        match Clients::new(&self.config) {
            Ok(clients) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = clients;
                tracing::debug!("connection pool renewed");
            }
            Err(error) => tracing::warn!(%error, "connection pool not renewed"),
        }
    }
}

impl Clients {
    fn new(config: &Config) -> Result<Self, Error> {
        let built = |builder: reqwest::ClientBuilder| {
            builder.build().map_err(|e| {
                Error::config("the HTTP client cannot be built with these settings").with_source(e)
            })
        };
        let calls = builder(config)?.gzip(true);
        let streams = builder(config)?.gzip(false);
        Ok(Self { calls: built(calls)?, streams: built(streams)? })
    }
}

fn builder(config: &Config) -> Result<reqwest::ClientBuilder, Error> {
    let builder = reqwest::Client::builder()
        .tls_backend_rustls()
        .tls_version_min(reqwest::tls::Version::TLS_1_2)
        .tls_danger_accept_invalid_certs(config.danger_accept_invalid_certs)
        .tls_certs_merge(root_certificates(config)?)
        .connect_timeout(config.connect_timeout)
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .tcp_nodelay(true)
        .tcp_keepalive(TCP_KEEP_ALIVE)
        .pool_idle_timeout(POOL_IDLE_TIMEOUT)
        .http2_keep_alive_interval(HTTP2_KEEP_ALIVE)
        .http2_keep_alive_timeout(HTTP2_KEEP_ALIVE_TIMEOUT)
        .http2_keep_alive_while_idle(true);
    Ok(match &config.proxy {
        Proxy::None => builder.no_proxy(),
        Proxy::Environment => builder,
        Proxy::Url(url) => {
            builder.no_proxy().proxy(reqwest::Proxy::all(url.clone()).map_err(|e| {
                Error::config("proxy cannot be used: give an http or https URL").with_source(e)
            })?)
        }
    })
}

fn root_certificates(config: &Config) -> Result<Vec<reqwest::Certificate>, Error> {
    const MEND: &str = "give PEM text with BEGIN CERTIFICATE and END CERTIFICATE lines";
    let mut certificates = Vec::new();
    for (index, pem) in config.root_certificates.iter().enumerate() {
        let found = reqwest::Certificate::from_pem_bundle(pem.as_bytes()).map_err(|e| {
            Error::config(format!("root_certificates[{index}] is not understood: {MEND}"))
                .with_source(e)
        })?;
        if found.is_empty() {
            return Err(Error::config(format!(
                "root_certificates[{index}] holds no certificate: {MEND}"
            )));
        }
        certificates.extend(found);
    }
    Ok(certificates)
}
