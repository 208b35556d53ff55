//! An error as the facts that the engine decides by.

use crate::error::{Error, ErrorKind};
use crate::reconnect::{Failure, FailureAction, classify};

/// What to do about a failed attempt to connect, or a failed poll.
pub(crate) fn action(error: &Error, cursor_sent: bool, token_generation: u64) -> FailureAction {
    let answer = error.answer();
    // Only an answer that is whole and the server's own says something by its status.
    let status = match error.kind() {
        ErrorKind::UnexpectedContent | ErrorKind::Decode | ErrorKind::EmptyResponse => None,
        _ => error.status(),
    };
    classify(&Failure {
        status,
        silent: error.silence().is_some(),
        html: answer.is_some_and(|answer| answer.html),
        retry_after: error.retry_after(),
        cursor_sent,
        token_changed_since: answer
            .is_some_and(|answer| answer.token_generation != token_generation),
    })
}
