//! What the server says of the bytes it sends.

use http::header::{CONTENT_LENGTH, CONTENT_RANGE, ETAG};
use http::{HeaderMap, StatusCode};

use crate::transport::stream::BodyStream;

/// What is known of the artifact from earlier answers.
#[derive(Default)]
pub(super) struct Known {
    pub(super) etag: Option<String>,
    pub(super) total: Option<u64>,
    /// Whether the part is made of more than one answer.
    pub(super) pieced: bool,
}

impl Known {
    pub(super) fn of(answer: &Answer) -> Self {
        Self { etag: answer.etag.clone(), total: answer.total, pieced: false }
    }

    pub(super) fn learn(&mut self, answer: &Answer) {
        self.etag = answer.etag.clone().or(self.etag.take());
        self.total = answer.total.or(self.total);
    }
}

/// 200 or 206, and its body.
pub(super) struct Answer {
    /// The first byte of the body; `None` when it is not said.
    start: Option<u64>,
    whole: bool,
    total: Option<u64>,
    etag: Option<String>,
    pub(super) body: BodyStream,
}

impl Answer {
    pub(super) fn new(status: StatusCode, headers: &HeaderMap, body: BodyStream) -> Self {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        // A weak one does not name the very bytes.
        let etag = text(ETAG).filter(|etag| etag.starts_with('"')).map(str::to_owned);
        let whole = status == StatusCode::OK;
        let (start, total) = match whole {
            true => (Some(0), text(CONTENT_LENGTH).and_then(|length| length.parse().ok())),
            false => text(CONTENT_RANGE).map_or((None, None), content_range),
        };
        Self { start, whole, total, etag, body }
    }

    pub(super) fn is_whole(&self) -> bool {
        self.whole
    }

    /// Whether these are the next bytes of what is there.
    pub(super) fn continues(&self, offset: u64, known: &Known) -> bool {
        !self.whole
            && self.start == Some(offset)
            && agree(&self.total, &known.total)
            && agree(&self.etag, &known.etag)
    }
}

/// Whether two answers say the same, as far as both say it.
fn agree<T: PartialEq>(one: &Option<T>, other: &Option<T>) -> bool {
    one.is_none() || other.is_none() || one == other
}

/// Where `bytes FIRST-LAST/TOTAL` begins, and the total where it is a number.
fn content_range(text: &str) -> (Option<u64>, Option<u64>) {
    let Some((span, total)) = text.strip_prefix("bytes ").and_then(|rest| rest.split_once('/'))
    else {
        return (None, None);
    };
    let first = span.split_once('-').and_then(|(first, _)| first.parse().ok());
    (first, total.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_range_says_where_it_begins() {
        assert_eq!(content_range("bytes 10-19/100"), (Some(10), Some(100)));
        assert_eq!(content_range("bytes 10-19/*"), (Some(10), None));
        for bad in ["", "bytes", "bytes */100", "items 1-2/3", "bytes 10/100", "bytes -5/9"] {
            assert_eq!(content_range(bad).0, None, "{bad:?}");
        }
    }

    #[test]
    fn only_what_both_say_can_differ() {
        assert!(agree(&Some(1), &Some(1)) && agree(&Some(1), &None) && agree(&None::<u8>, &None));
        assert!(!agree(&Some(1), &Some(2)));
    }
}
