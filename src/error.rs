use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use serde::Deserialize;

/// The error of another crate or of the caller's own, boxed.
pub type BoxError = Box<dyn StdError + Send + Sync + 'static>;

/// What went wrong, as one word to branch on.
///
/// The first eight are the statuses that the control plane documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// 400: the server found the request invalid.
    BadRequest,
    /// 401: no token, or one that is not valid (any more).
    Unauthorized,
    /// 403: the token is valid, and may not do this.
    Forbidden,
    /// 404: there is no such node, secret, execution, artifact or route.
    NotFound,
    /// 409: the request conflicts with what the server holds.
    Conflict,
    /// 413: the request body is larger than the server takes.
    PayloadTooLarge,
    /// 429: too many requests; see [`Error::retry_after`].
    RateLimit,
    /// Any 5xx; see [`Error::status`] and [`Error::retry_after`].
    Server,
    /// Any other status that is not 2xx or 3xx.
    Status,
    /// 3xx: redirects are never followed, so that no credential follows one.
    Redirect,
    /// A setting is wrong; the text names the field and the mend.
    Config,
    /// An argument was refused before anything was sent.
    InvalidRequest,
    /// No connection: name look-up, TCP or TLS failed.
    Connect,
    /// A time limit ran out: connecting, waiting for headers, or the whole call.
    Timeout,
    /// A stream brought no byte within its idle limit.
    IdleTimeout,
    /// The connection broke, or what came over it was not HTTP.
    Transport,
    /// The answer is larger than its limit, or holds more values than fit it.
    ResponseTooLarge,
    /// The answer is 2xx without the body that the call promises.
    EmptyResponse,
    /// The answer is 2xx, and its body does not fit the type.
    Decode,
    /// The answer is 2xx of the wrong content type or encoding: something between
    /// this node and the control plane answered.
    UnexpectedContent,
    /// 204 to a request for the event stream: the server has none.
    NoStream,
    /// A secret does not open with this node key.
    Decrypt,
    /// The event manager runs already.
    AlreadyRunning,
    /// A file cannot be opened, written or put in its place; the source says why.
    File,
    /// A download is complete, and is not what its checksum says.
    WrongChecksum,
}

/// Problem details (RFC 9457), as newer control planes send them.
///
/// The fields are the server's words; log them with the care that you give to any
/// text from outside.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Problem {
    /// A URI that names the kind of problem (`type`).
    #[serde(rename = "type")]
    pub type_: Option<String>,
    /// A short summary, the same for each problem of this kind.
    pub title: Option<String>,
    /// The status as the body repeats it.
    pub status: Option<u16>,
    /// What happened this time.
    pub detail: Option<String>,
    /// A URI that names this occurrence.
    pub instance: Option<String>,
    /// The control plane's own word for the problem.
    pub code: Option<String>,
}

/// The one error of this crate.
///
/// Branch on [`kind`](Self::kind) or the predicates. `Display` is one line: the
/// operation, what happened, and the root cause once. Neither it nor `Debug` shows
/// what the server wrote: that is in [`problem`](Self::problem) and
/// [`body`](Self::body), and a token never is in either.
///
/// ```
/// use plexsphere_client::{Error, ErrorKind};
///
/// fn advice(error: &Error) -> &'static str {
///     match error.kind() {
///         ErrorKind::Unauthorized => "register again",
///         ErrorKind::RateLimit => "wait for retry_after()",
///         _ if error.is_server() => "try later",
///         _ => "look at the text",
///     }
/// }
/// ```
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    operation: Option<&'static str>,
    message: String,
    answer: Option<Answer>,
    silence: Option<Duration>,
    source: Option<BoxError>,
}

/// What an answer that is an error said.
#[derive(Clone, Default)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) html: bool,
    pub(crate) problem: Option<Problem>,
    pub(crate) body: Option<String>,
    /// Which token the request carried, so that a changed one can be told.
    pub(crate) token_generation: u64,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            operation: None,
            message: message.into(),
            answer: None,
            silence: None,
            source: None,
        }))
    }

    pub(crate) fn config(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Config, message)
    }

    pub(crate) fn in_operation(mut self, operation: &'static str) -> Self {
        self.0.operation.get_or_insert(operation);
        self
    }

    pub(crate) fn with_answer(mut self, answer: Answer) -> Self {
        self.0.answer = Some(answer);
        self
    }

    /// Says that the connection stood, and that nothing came over it for so long.
    pub(crate) fn after_silence(mut self, limit: Duration) -> Self {
        self.0.silence = Some(limit);
        self
    }

    pub(crate) fn silence(&self) -> Option<Duration> {
        self.0.silence
    }

    pub(crate) fn with_source(mut self, source: impl Into<BoxError>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    pub(crate) fn answer(&self) -> Option<&Answer> {
        self.0.answer.as_ref()
    }

    /// What went wrong, as one word.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The name of the method that failed, such as `"heartbeat"`.
    pub fn operation(&self) -> Option<&'static str> {
        self.0.operation
    }

    /// The HTTP status, when the server answered at all (also when its 2xx answer
    /// could not be decoded).
    pub fn status(&self) -> Option<u16> {
        self.0.answer.as_ref().map(|answer| answer.status)
    }

    /// How long the server asks to wait (`Retry-After`, in seconds or as a date).
    ///
    /// A date is taken relative to the answer's own `Date`, so a wrong local clock
    /// does not matter; a date that has passed is zero. There is no upper bound
    /// here: the event manager caps it at five minutes, and so should you.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.answer.as_ref().and_then(|answer| answer.retry_after)
    }

    /// Problem details, when the server sent them. Their texts are the server's own;
    /// `Display` shows no more of them than `code`, and that only where the bodies of
    /// the operation carry no secrets.
    pub fn problem(&self) -> Option<&Problem> {
        self.0.answer.as_ref().and_then(|answer| answer.problem.as_ref())
    }

    /// Up to 4 KiB of the answer's text. `None` for operations whose bodies carry
    /// secrets, and when there was none.
    pub fn body(&self) -> Option<&str> {
        self.0.answer.as_ref().and_then(|answer| answer.body.as_deref())
    }

    /// 400.
    pub fn is_bad_request(&self) -> bool {
        self.kind() == ErrorKind::BadRequest
    }

    /// 401.
    pub fn is_unauthorized(&self) -> bool {
        self.kind() == ErrorKind::Unauthorized
    }

    /// 403.
    pub fn is_forbidden(&self) -> bool {
        self.kind() == ErrorKind::Forbidden
    }

    /// 404.
    pub fn is_not_found(&self) -> bool {
        self.kind() == ErrorKind::NotFound
    }

    /// 409.
    pub fn is_conflict(&self) -> bool {
        self.kind() == ErrorKind::Conflict
    }

    /// 413.
    pub fn is_payload_too_large(&self) -> bool {
        self.kind() == ErrorKind::PayloadTooLarge
    }

    /// 429.
    pub fn is_rate_limit(&self) -> bool {
        self.kind() == ErrorKind::RateLimit
    }

    /// Any 5xx.
    pub fn is_server(&self) -> bool {
        self.kind() == ErrorKind::Server
    }

    /// A time limit ran out.
    pub fn is_timeout(&self) -> bool {
        matches!(self.kind(), ErrorKind::Timeout | ErrorKind::IdleTimeout)
    }

    /// Whether the same call may succeed later: the network failed, a limit of time
    /// ran out, the server is down or asked to wait, or something in between
    /// answered in its place.
    ///
    /// A call that changes something may have taken effect although it failed this way.
    pub fn is_retryable(&self) -> bool {
        use ErrorKind as K;
        let html = self.0.answer.as_ref().is_some_and(|answer| answer.html);
        html || match self.kind() {
            K::Connect | K::Timeout | K::IdleTimeout | K::Transport => true,
            K::RateLimit | K::UnexpectedContent => true,
            K::Server => self.status() != Some(501),
            K::Status => matches!(self.status(), Some(408 | 425)),
            _ => false,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(operation) = self.0.operation {
            write!(f, "{operation}: ")?;
        }
        f.write_str(&self.0.message)?;
        match root_cause(self) {
            Some(cause) => {
                write!(f, ": {}", shortened(&one_line(&cause.to_string()), LONGEST_CAUSE))
            }
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.kind())
            .field("status", &self.status())
            .field("text", &format_args!("{self}"))
            .finish_non_exhaustive()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

/// The error and all that it came from. An I/O error is not its own source, so what it
/// wraps is looked into.
pub(crate) fn chain<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&link| {
        let wrapped = link.downcast_ref::<std::io::Error>().and_then(|io| io.get_ref());
        wrapped.map(|inner| inner as _).or_else(|| link.source())
    })
}

fn root_cause(error: &Error) -> Option<&(dyn StdError + 'static)> {
    std::iter::successors(error.source(), |&cause| cause.source()).last()
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// How much of a text from outside stands in one field of a log line.
const BRIEF: usize = 128;
/// How much of a root cause stands in an error's text.
const LONGEST_CAUSE: usize = 384;

/// A text from outside, fit for a log line: short, and without control characters.
pub(crate) fn brief(text: &str) -> Cow<'_, str> {
    shortened(text, BRIEF)
}

fn shortened(text: &str, most: usize) -> Cow<'_, str> {
    if text.len() <= most && !text.contains(char::is_control) {
        return Cow::Borrowed(text);
    }
    let end = (0..=most.min(text.len())).rev().find(|&end| text.is_char_boundary(end));
    let start = &text[..end.unwrap_or_default()];
    let mut shown = start.replace(char::is_control, "\u{fffd}");
    if start.len() < text.len() {
        shown.push_str(&format!("... ({} bytes)", text.len()));
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_from_outside_is_shown_short_and_plain() {
        assert_eq!(brief("evt-1"), "evt-1");
        assert_eq!(brief("a\u{1b}[31m\nb"), "a\u{fffd}[31m\u{fffd}b");
        let long = brief(&"\u{e9}".repeat(1000)).into_owned();
        assert_eq!(long, format!("{}... (2000 bytes)", "\u{e9}".repeat(64)));
        assert_eq!(
            brief(&format!("a{}", "\u{e9}".repeat(64))).len(),
            127 + "... (129 bytes)".len()
        );
    }

    #[test]
    fn display_is_one_line_with_the_root_cause_once() {
        let io = std::io::Error::other("connection\nrefused");
        let error = Error::new(ErrorKind::Connect, "no connection to https://h")
            .with_source(io)
            .in_operation("heartbeat");
        assert_eq!(error.to_string(), "heartbeat: no connection to https://h: connection refused");
    }

    #[test]
    fn a_root_cause_is_cut_where_it_gets_long() {
        let cause = std::io::Error::other("x".repeat(100_000));
        let text = Error::new(ErrorKind::Transport, "it broke").with_source(cause).to_string();
        assert!(text.ends_with("xxx... (100000 bytes)") && text.len() < 512, "{}", text.len());
    }

    #[test]
    fn the_server_s_words_are_asked_for_not_printed() {
        let error = Error::new(ErrorKind::Conflict, "409 Conflict").with_answer(Answer {
            status: 409,
            body: Some("canary".into()),
            problem: Some(Problem { detail: Some("canary".into()), ..Problem::default() }),
            ..Answer::default()
        });
        assert!(!format!("{error} {error:?}").contains("canary"));
        assert_eq!(error.body(), Some("canary"));
        assert_eq!(error.problem().unwrap().detail.as_deref(), Some("canary"));
    }

    #[test]
    fn the_outermost_name_of_an_operation_is_not_overwritten() {
        let error = Error::config("x").in_operation("ping").in_operation("outer");
        assert_eq!(error.operation(), Some("ping"));
    }
}
