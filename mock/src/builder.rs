//! The settings of a server.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use crate::mock::{MockControlPlane, Served};
use crate::server::{Inner, Server};
use crate::sign::SigningKey;
use crate::state::State;
use crate::stream::SHORTEST_KEEP_ALIVE;
use crate::tls::Tls;

/// The bootstrap token, unless another is set.
pub const DEFAULT_BOOTSTRAP_TOKEN: &str = "bootstrap-token";
/// The pause between two keep-alive comments, unless another is set.
pub const DEFAULT_KEEP_ALIVE: Duration = Duration::from_secs(25);
/// How many events a node can have replayed, unless another number is set.
pub const DEFAULT_BACKLOG: usize = 10_000;
/// How large a request's body may be, packed and unpacked, unless another size is set.
pub const DEFAULT_BODY_LIMIT: usize = 10 * 1024 * 1024;
/// How many requests are kept in the record, unless another number is set.
pub const DEFAULT_RECORD_LIMIT: usize = 10_000;

/// How empty lists and maps are written in answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EmptyLists {
    /// `[]` and `{}`.
    #[default]
    Brackets,
    /// `null`, as Go writes a nil slice.
    Null,
    /// Not at all.
    Missing,
}

type Observer = dyn Fn(&Served) + Send + Sync;

pub(crate) struct Settings {
    pub(crate) bootstrap_token: String,
    pub(crate) keep_alive: Duration,
    pub(crate) body_limit: usize,
    pub(crate) record_limit: usize,
    pub(crate) plain_text_errors: bool,
    pub(crate) empty_lists: EmptyLists,
    pub(crate) observer: Option<Arc<Observer>>,
}

/// Sets up a [`MockControlPlane`].
#[must_use]
pub struct Builder {
    settings: Settings,
    address: SocketAddr,
    backlog: usize,
    keep_published: bool,
    signing_key: Option<SigningKey>,
    tls: Option<TlsMode>,
}

#[derive(Clone, Copy)]
enum TlsMode {
    Http2,
    Http1,
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Builder {
    pub(crate) fn new() -> Self {
        Self {
            settings: Settings {
                bootstrap_token: DEFAULT_BOOTSTRAP_TOKEN.to_owned(),
                keep_alive: DEFAULT_KEEP_ALIVE,
                body_limit: DEFAULT_BODY_LIMIT,
                record_limit: DEFAULT_RECORD_LIMIT,
                plain_text_errors: false,
                empty_lists: EmptyLists::default(),
                observer: None,
            },
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            backlog: DEFAULT_BACKLOG,
            keep_published: true,
            signing_key: None,
            tls: None,
        }
    }

    /// Where to listen. Default: 127.0.0.1 and a free port.
    pub fn listen(mut self, address: SocketAddr) -> Self {
        self.address = address;
        self
    }

    /// The token that nodes register with. Default: `"bootstrap-token"`.
    pub fn bootstrap_token(mut self, token: impl Into<String>) -> Self {
        self.settings.bootstrap_token = token.into();
        self
    }

    /// The pause between two keep-alive comments. Default: 25 seconds; at least a millisecond.
    pub fn keep_alive(mut self, interval: Duration) -> Self {
        self.settings.keep_alive = interval.max(SHORTEST_KEEP_ALIVE);
        self
    }

    /// How many events a node can have replayed. Default: 10,000.
    ///
    /// A live stream that reads too slowly loses what falls out of the backlog, too.
    pub fn backlog(mut self, events: usize) -> Self {
        self.backlog = events;
        self
    }

    /// How large a request's body may be, packed and unpacked; beyond that it gets 413. Default: 10 MiB.
    pub fn body_limit(mut self, bytes: usize) -> Self {
        self.settings.body_limit = bytes;
        self
    }

    /// How many requests are kept in the record; the oldest go first. Default: 10,000.
    pub fn record_limit(mut self, requests: usize) -> Self {
        self.settings.record_limit = requests;
        self
    }

    /// Whether [`MockControlPlane::published`] keeps every event. Default: yes.
    pub fn keep_published(mut self, keep: bool) -> Self {
        self.keep_published = keep;
        self
    }

    /// Errors as plain text, like older servers. Default: `application/problem+json`.
    pub fn plain_text_errors(mut self) -> Self {
        self.settings.plain_text_errors = true;
        self
    }

    /// How empty lists and maps are written. Default: as brackets.
    pub fn empty_lists(mut self, style: EmptyLists) -> Self {
        self.settings.empty_lists = style;
        self
    }

    /// The key that signs events. Default: a random one.
    pub fn signing_key(mut self, key: SigningKey) -> Self {
        self.signing_key = Some(key);
        self
    }

    /// TLS 1.2 and 1.3 with a certificate of its own authority, HTTP/2 and HTTP/1.1. Default: no TLS.
    ///
    /// [`MockControlPlane::ca_pem`] is what a client has to trust.
    pub fn tls(mut self) -> Self {
        self.tls = Some(TlsMode::Http2);
        self
    }

    /// TLS as in [`tls`](Self::tls), but HTTP/1.1 alone.
    pub fn tls_http1(mut self) -> Self {
        self.tls = Some(TlsMode::Http1);
        self
    }

    /// Sees every request once its answer is decided; for log lines.
    pub fn observe(mut self, observer: impl Fn(&Served) + Send + Sync + 'static) -> Self {
        self.settings.observer = Some(Arc::new(observer));
        self
    }

    /// Binds the port and starts the server.
    ///
    /// # Errors
    /// If the port cannot be bound, or the certificate or the thread cannot be made.
    pub async fn start(self) -> io::Result<MockControlPlane> {
        self.start_blocking()
    }

    /// [`start`](Self::start) for code without a runtime.
    ///
    /// # Errors
    /// As for [`start`](Self::start).
    pub fn start_blocking(self) -> io::Result<MockControlPlane> {
        let tls = match self.tls {
            None => None,
            Some(mode) => Some(Arc::new(Tls::new(matches!(mode, TlsMode::Http2))?)),
        };
        let listener = TcpListener::bind(self.address)?;
        let address = listener.local_addr()?;
        let mut state =
            State::new(self.signing_key.unwrap_or_else(SigningKey::generate), self.backlog);
        state.keep_published = self.keep_published;
        let inner = Arc::new(Inner::new(self.settings, state));
        let server = Server::start(inner.clone(), listener, tls.clone())?;
        Ok(MockControlPlane::new(inner, server, address, tls))
    }
}
