use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, Instant};

use super::certificates;
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

/// At most one renewal in this time: building clients reads the trusted authorities
/// anew.
const RENEWAL_GAP: Duration = Duration::from_secs(1);

/// Which HTTP client a call uses. Each has connections of its own, so that bytes that
/// nobody reads of the one do not use up the HTTP/2 window of the others.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Lane {
    Calls,
    Events,
    Artifacts,
}

/// The HTTP clients, one a lane.
pub(crate) struct Pools {
    config: Config,
    current: RwLock<Clients>,
    failures: AtomicU32,
}

struct Clients {
    calls: reqwest::Client,
    events: reqwest::Client,
    artifacts: reqwest::Client,
    built: Instant,
}

impl Pools {
    pub(crate) fn new(config: Config) -> Result<Self, Error> {
        let current = RwLock::new(Clients::new(&config)?);
        Ok(Self { config, current, failures: AtomicU32::new(0) })
    }

    pub(crate) fn client(&self, lane: Lane) -> reqwest::Client {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        match lane {
            Lane::Calls => current.calls.clone(),
            Lane::Events => current.events.clone(),
            Lane::Artifacts => current.artifacts.clone(),
        }
    }

    /// Counts failures of the transport in a row; the pools are replaced after some,
    /// since their connections may all be dead.
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

    /// Drops the pooled connections; running calls keep theirs to the end. Within a
    /// second of the last renewal it does nothing.
    pub(crate) fn renew(&self) {
        let built = self.current.read().unwrap_or_else(PoisonError::into_inner).built;
        if built.elapsed() < RENEWAL_GAP {
            return;
        }
        self.failures.store(0, Ordering::Relaxed);
        // They were built from the same settings before; if that fails now, the old ones stay.
        match Clients::new(&self.config) {
            Ok(clients) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = clients;
                tracing::debug!("connection pools renewed");
            }
            Err(error) => tracing::warn!(%error, "connection pools not renewed"),
        }
    }
}

impl Clients {
    fn new(config: &Config) -> Result<Self, Error> {
        // What is read bit by bit has no total time limit, and no compression.
        let calls = builder(config)?.timeout(config.request_timeout);
        let stream = || builder(config)?.gzip(false).build().map_err(certificates::refused);
        Ok(Self {
            calls: calls.gzip(true).build().map_err(certificates::refused)?,
            events: stream()?,
            artifacts: stream()?,
            built: Instant::now(),
        })
    }
}

fn builder(config: &Config) -> Result<reqwest::ClientBuilder, Error> {
    let mut builder = reqwest::Client::builder()
        .tls_backend_rustls()
        .tls_version_min(reqwest::tls::Version::TLS_1_2)
        .tls_danger_accept_invalid_certs(config.danger_accept_invalid_certs)
        .tls_certs_merge(certificates::roots(config)?)
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
    if let Some(identity) = certificates::identity(config)? {
        builder = builder.identity(identity);
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn built(pools: &Pools) -> Instant {
        pools.current.read().unwrap().built
    }

    #[test]
    fn pools_are_renewed_after_failures_in_a_row_and_at_most_once_a_second() {
        let pools = Pools::new(Config::new("http://h").unwrap()).unwrap();
        let first = built(&pools);
        pools.renew();
        assert_eq!(built(&pools), first, "within a second of the first");
        let long_ago = first.checked_sub(RENEWAL_GAP).unwrap();
        pools.current.write().unwrap().built = long_ago;
        for failure in [Some(ErrorKind::Connect), Some(ErrorKind::Timeout), None] {
            pools.note(failure);
        }
        for _ in 0..FAILURES_BEFORE_RENEWAL - 1 {
            pools.note(Some(ErrorKind::Transport));
        }
        assert_eq!(built(&pools), long_ago, "a success in between begins the count anew");
        pools.note(Some(ErrorKind::Transport));
        assert!(built(&pools) > long_ago);
    }
}
