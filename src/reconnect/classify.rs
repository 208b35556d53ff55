//! From the facts of a failed attempt to what to do about it.

use std::time::Duration;

/// The facts of a failed attempt to open a stream or to poll. The default is a network failure: no answer at all.
///
/// ```
/// use plexsphere_client::reconnect::{Failure, FailureAction, classify};
///
/// assert_eq!(classify(&Failure::default()), FailureAction::RetryTransient);
/// assert_eq!(classify(&Failure::with_status(403)), FailureAction::PermanentFailure);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Failure {
    /// The HTTP status, or `None` if no answer came (DNS, TLS, reset, timeout, idle stream).
    pub status: Option<u16>,
    /// Whether the connection stood and nothing came over it until a time limit ran out: no headers, or no byte of
    /// the stream. Whether bytes had come before that, the engine knows.
    pub silent: bool,
    /// Whether the answer was an HTML page, so not the control plane's own.
    pub html: bool,
    /// The usable value of `Retry-After`: a date is made a time from now, one in the past is zero.
    pub retry_after: Option<Duration>,
    /// Whether the request carried `Last-Event-ID`.
    pub cursor_sent: bool,
    /// Whether the bearer token has been changed since the request was built.
    pub token_changed_since: bool,
}

impl Failure {
    /// An answer with this status and nothing else of note.
    pub fn with_status(status: u16) -> Self {
        Self { status: Some(status), ..Self::default() }
    }
}

/// What to do about a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FailureAction {
    /// It may pass: try again with exponential back-off. Network failures, 5xx, 408, 425, every HTML page, and any
    /// other answer that is no stream and no refusal (a redirect, 200 with the wrong content type).
    RetryTransient,
    /// The connection stood and was silent: try again with exponential back-off. Where that happens to
    /// [`SILENCES_BEFORE_POLLING`](super::SILENCES_BEFORE_POLLING) streams in a row, something between holds their
    /// bytes back, and polling begins at once.
    RetrySilent,
    /// The token was refused (401): ask the auth callback for a new one, else follow the
    /// [`FailurePolicy`](super::FailurePolicy).
    RetryAuth,
    /// The token was refused (401, 403, 404), but it is no longer the one in use: try the new one at once.
    RetryNewToken,
    /// The server says when (429; 503 with `Retry-After`): wait at least that long, and never less than the back-off.
    RespectServer {
        /// How long the server asks to wait. `None`: it did not say, or not in a usable form.
        retry_after: Option<Duration>,
    },
    /// The server refused to resume (400 or 410 to a cursor; 414 or 431 to one that is too long): drop the cursor, then try again with back-off.
    /// What was missed is made good by the reconcile that follows the connect.
    DropCursor,
    /// The request itself seems wrong (any other 4xx): try again on the slow schedule.
    RetrySlowly,
    /// There is no stream here (204, 501): poll at once, and look for a stream on the slow schedule.
    PollInstead,
    /// The node is refused (403, 404): follow the [`FailurePolicy`](super::FailurePolicy).
    PermanentFailure,
}

impl FailureAction {
    /// Whether the stored cursor must go before the next connect.
    pub fn drops_cursor(self) -> bool {
        self == Self::DropCursor
    }
}

/// Says what to do about a failed attempt. The first line that fits wins:
///
/// | answer | action |
/// |---|---|
/// | 429 or 503 with a usable `Retry-After` | [`RespectServer`](FailureAction::RespectServer) |
/// | HTML, whatever the status | [`RetryTransient`](FailureAction::RetryTransient) |
/// | 204, 501 | [`PollInstead`](FailureAction::PollInstead) |
/// | 400, 410, 414, 431 to a cursor | [`DropCursor`](FailureAction::DropCursor) |
/// | 401, 403, 404, but the token has changed since | [`RetryNewToken`](FailureAction::RetryNewToken) |
/// | 401 | [`RetryAuth`](FailureAction::RetryAuth) |
/// | 403, 404 | [`PermanentFailure`](FailureAction::PermanentFailure) |
/// | 408, 425 | [`RetryTransient`](FailureAction::RetryTransient) |
/// | 429 | [`RespectServer`](FailureAction::RespectServer) without a time |
/// | any other 4xx | [`RetrySlowly`](FailureAction::RetrySlowly) |
/// | no answer, or no more of it, until a limit ran out | [`RetrySilent`](FailureAction::RetrySilent) |
/// | anything else, or no answer | [`RetryTransient`](FailureAction::RetryTransient) |
pub fn classify(failure: &Failure) -> FailureAction {
    let retry_after = failure.retry_after;
    match failure.status {
        Some(429 | 503) if retry_after.is_some() => FailureAction::RespectServer { retry_after },
        _ if failure.html => FailureAction::RetryTransient,
        Some(204 | 501) => FailureAction::PollInstead,
        Some(400 | 410 | 414 | 431) if failure.cursor_sent => FailureAction::DropCursor,
        Some(401 | 403 | 404) if failure.token_changed_since => FailureAction::RetryNewToken,
        Some(401) => FailureAction::RetryAuth,
        Some(403 | 404) => FailureAction::PermanentFailure,
        Some(408 | 425) => FailureAction::RetryTransient,
        Some(429) => FailureAction::RespectServer { retry_after: None },
        Some(400..=499) => FailureAction::RetrySlowly,
        None if failure.silent => FailureAction::RetrySilent,
        _ => FailureAction::RetryTransient,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOME_TIME: Option<Duration> = Some(Duration::from_secs(7));

    /// The rules once more, one status class a line, written from the lessons and not from the code above.
    fn expected(f: &Failure) -> FailureAction {
        use FailureAction::*;
        let status = f.status.unwrap_or(0);
        let says_when = f.retry_after.is_some() && [429, 503].contains(&status);
        if says_when {
            return RespectServer { retry_after: f.retry_after };
        }
        if f.html {
            return RetryTransient;
        }
        match status {
            204 | 501 => PollInstead,
            401 => [RetryAuth, RetryNewToken][usize::from(f.token_changed_since)],
            403 | 404 => [PermanentFailure, RetryNewToken][usize::from(f.token_changed_since)],
            429 => RespectServer { retry_after: None },
            400 | 410 | 414 | 431 => [RetrySlowly, DropCursor][usize::from(f.cursor_sent)],
            408 | 425 => RetryTransient,
            s if (400..500).contains(&s) => RetrySlowly,
            0 if f.silent => RetrySilent,
            _ => RetryTransient,
        }
    }

    #[test]
    fn issue3_every_status_times_every_fact() {
        let statuses = (100..=599).map(Some).chain([None]);
        let mut seen = 0;
        for status in statuses {
            for bits in 0..32 {
                let failure = Failure {
                    status,
                    silent: bits & 16 != 0,
                    html: bits & 1 != 0,
                    retry_after: if bits & 2 != 0 { SOME_TIME } else { None },
                    cursor_sent: bits & 4 != 0,
                    token_changed_since: bits & 8 != 0,
                };
                assert_eq!(classify(&failure), expected(&failure), "{failure:?}");
                seen += 1;
            }
        }
        assert_eq!(seen, 501 * 32);
    }

    #[test]
    fn contract_page_table() {
        let of = |status| classify(&Failure::with_status(status));
        assert_eq!(classify(&Failure::default()), FailureAction::RetryTransient, "network");
        for status in [500, 502, 503, 504, 599] {
            assert_eq!(of(status), FailureAction::RetryTransient, "{status}");
        }
        assert_eq!(of(401), FailureAction::RetryAuth);
        assert_eq!(of(429), FailureAction::RespectServer { retry_after: None });
        assert_eq!(of(403), FailureAction::PermanentFailure);
        assert_eq!(of(404), FailureAction::PermanentFailure);
    }

    #[test]
    fn l2_a_portal_page_is_never_a_refusal() {
        for status in [200, 204, 302, 400, 401, 403, 404, 410, 422, 501, 511] {
            let failure = Failure { html: true, cursor_sent: true, ..Failure::with_status(status) };
            assert_eq!(classify(&failure), FailureAction::RetryTransient, "{status}");
        }
    }

    #[test]
    fn parity_f_a_refused_cursor_is_dropped_and_only_that() {
        for status in 100..=599 {
            let mut failure = Failure::with_status(status);
            assert!(!classify(&failure).drops_cursor(), "{status}");
            failure.cursor_sent = true;
            assert_eq!(classify(&failure).drops_cursor(), [400, 410, 414, 431].contains(&status));
        }
    }

    #[test]
    fn parity_e_retry_after_counts_on_429_and_503() {
        for status in 100..=599 {
            let failure = Failure { retry_after: SOME_TIME, ..Failure::with_status(status) };
            let respected =
                classify(&failure) == FailureAction::RespectServer { retry_after: SOME_TIME };
            assert_eq!(respected, status == 429 || status == 503, "{status}");
        }
    }

    #[test]
    fn also_found_3_other_4xx_are_slow_not_permanent_and_not_fast() {
        for status in [402, 405, 406, 407, 409, 411, 413, 415, 418, 421, 422, 451] {
            assert_eq!(
                classify(&Failure::with_status(status)),
                FailureAction::RetrySlowly,
                "{status}"
            );
        }
    }
}
