use std::fmt;
use std::sync::{Arc, OnceLock};

use http::{HeaderMap, HeaderValue, StatusCode};
use tokio::sync::watch;

use crate::config::Config;
use crate::error::{Error, ErrorKind};
use crate::values::Secret;

/// What stands before the token in its header.
const BEARER: &str = "Bearer ";

/// What every request of a [`ControlPlane`](crate::ControlPlane) and its clones shares.
pub(crate) struct Shared {
    token: watch::Sender<Token>,
    pub(crate) user_agent: HeaderValue,
    pub(crate) response_limit: usize,
    /// What errors call the proxy that requests go through.
    pub(crate) proxy: Option<String>,
}

#[derive(Clone, Default)]
struct Token {
    header: Option<HeaderValue>,
    generation: u64,
}

impl Shared {
    pub(crate) fn new(version: &str, config: &Config) -> Result<Self, Error> {
        if version.is_empty() {
            return Err(Error::config("version is empty: give the agent's own, such as 1.4.2"));
        }
        let user_agent = HeaderValue::try_from(format!("plexd/{version}")).map_err(|e| {
            Error::config("version cannot stand in a header: give visible ASCII").with_source(e)
        })?;
        Ok(Self {
            token: watch::Sender::default(),
            user_agent,
            response_limit: config.response_limit,
            proxy: config.proxy.name(),
        })
    }

    pub(crate) fn set_token(&self, token: &Secret) -> Result<(), Error> {
        let refused = |why: &str| {
            Error::new(
                ErrorKind::InvalidRequest,
                format!("the token {why}: give it exactly as the control plane issued it"),
            )
            .in_operation("set_auth_token")
        };
        let text = token.expose();
        if text.is_empty() {
            return Err(refused("is empty"));
        }
        if !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(refused("holds a space, a control character or non-ASCII"));
        }
        let mut header = HeaderValue::try_from(format!("{BEARER}{text}"))
            .map_err(|_| refused("cannot stand in a header"))?;
        header.set_sensitive(true);
        self.replace_token(Some(header));
        Ok(())
    }

    pub(crate) fn clear_token(&self) {
        self.replace_token(None);
    }

    /// Counts the changes of the token: a request that failed with 401 may be tried
    /// again when it carried an older one.
    pub(crate) fn token_generation(&self) -> u64 {
        self.token.borrow().generation
    }

    /// Waits until the token is another than that of `generation`.
    pub(crate) async fn token_changed_from(&self, generation: u64) {
        // The sender lives as long as `self`, so waiting cannot fail.
        let _ = self.token.subscribe().wait_for(|token| token.generation != generation).await;
    }

    fn replace_token(&self, header: Option<HeaderValue>) {
        self.token.send_if_modified(|token| {
            // The same token again is no change: it would be refused again.
            let changed = token.header != header;
            if changed {
                *token = Token { header, generation: token.generation + 1 };
            }
            changed
        });
    }

    fn token(&self) -> Token {
        self.token.borrow().clone()
    }
}

/// One request: what it shares with all others, and what is learnt of it on the way.
#[derive(Clone)]
pub(crate) struct Call {
    shared: Arc<Shared>,
    token: Token,
    answer: OnceLock<(StatusCode, HeaderMap)>,
}

impl Call {
    pub(crate) fn new(shared: &Arc<Shared>) -> Self {
        Self { shared: Arc::clone(shared), token: shared.token(), answer: OnceLock::new() }
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    pub(crate) fn authorization(&self) -> Option<HeaderValue> {
        self.token.header.clone()
    }

    pub(crate) fn token_generation(&self) -> u64 {
        self.token.generation
    }

    /// Whether the server's words hold the token that this request carried. Who has it can
    /// send it back, and what is printed would then print it.
    pub(crate) fn is_token_in(&self, text: &str) -> bool {
        let header = self.token.header.as_ref().and_then(|header| header.to_str().ok());
        let token = header.and_then(|header| header.strip_prefix(BEARER));
        // Hosts and media types come in lower case.
        token.is_some_and(|token| text.to_ascii_lowercase().contains(&token.to_ascii_lowercase()))
    }

    pub(crate) fn note_answer(&self, status: StatusCode, headers: HeaderMap) {
        // A call has one answer; redirects are not followed.
        let _ = self.answer.set((status, headers));
    }

    /// Status and headers, also where the generated code has lost them.
    pub(crate) fn answer(&self) -> Option<&(StatusCode, HeaderMap)> {
        self.answer.get()
    }
}

/// The generated client derives `Debug`; nothing of a request is shown.
impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Call")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shared() -> Arc<Shared> {
        Arc::new(Shared::new("1.0", &Config::new("http://h").unwrap()).unwrap())
    }

    #[test]
    fn a_token_that_cannot_be_a_header_is_refused_and_the_old_one_stays() {
        let shared = shared();
        shared.set_token(&"good".into()).unwrap();
        for bad in ["", "a b", "a\r\nX: y", "\u{0}", "ü", "a\u{7f}"] {
            let error = shared.set_token(&bad.into()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{bad:?}");
            assert!(bad.is_empty() || !error.to_string().contains(bad));
        }
        assert_eq!(Call::new(&shared).authorization().unwrap(), "Bearer good");
    }

    #[test]
    fn debug_of_a_call_shows_nothing_of_it() {
        let shared = shared();
        shared.set_token(&"canary".into()).unwrap();
        assert_eq!(format!("{:?}", Call::new(&shared)), "Call");
    }

    #[test]
    fn only_a_changed_token_counts_as_new() {
        let shared = shared();
        shared.set_token(&"a".into()).unwrap();
        let first = shared.token_generation();
        shared.set_token(&"a".into()).unwrap();
        assert_eq!(shared.token_generation(), first);
        shared.set_token(&"b".into()).unwrap();
        assert_eq!(shared.token_generation(), first + 1);
        shared.clear_token();
        assert!(Call::new(&shared).authorization().is_none());
    }

    #[test]
    fn the_header_is_marked_sensitive_and_debug_is_silent() {
        let shared = shared();
        shared.set_token(&"canary".into()).unwrap();
        let call = Call::new(&shared);
        assert!(!format!("{call:?} {:?}", call.authorization()).contains("canary"));
    }

    #[test]
    fn a_token_is_found_in_any_case_and_no_token_in_nothing() {
        let shared = shared();
        assert!(!Call::new(&shared).is_token_in("Bearer canary"));
        shared.set_token(&"Canary".into()).unwrap();
        let call = Call::new(&shared);
        assert!(call.is_token_in("https://x.canary.example") && call.is_token_in("Canary"));
        assert!(!call.is_token_in("https://x.example"));
    }

    #[test]
    fn a_version_that_cannot_be_a_header_is_refused() {
        for bad in ["1.0\n", ""] {
            assert!(Shared::new(bad, &Config::new("http://h").unwrap()).is_err(), "{bad:?}");
        }
    }
}
