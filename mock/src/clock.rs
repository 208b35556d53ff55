//! The server's clock, which a test may set wrong.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use jiff::{SignedDuration, Timestamp};

/// The machine's clock plus an offset.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    offset_millis: AtomicI64,
}

impl Clock {
    pub(crate) fn set_ahead(&self, ahead: Duration) {
        self.offset_millis.store(millis(ahead), Ordering::Relaxed);
    }

    pub(crate) fn set_behind(&self, behind: Duration) {
        self.offset_millis.store(-millis(behind), Ordering::Relaxed);
    }

    pub(crate) fn now(&self) -> Timestamp {
        let offset = SignedDuration::from_millis(self.offset_millis.load(Ordering::Relaxed));
        let now = Timestamp::now();
        now.checked_add(offset).unwrap_or(now)
    }

    /// For `Date` and `Retry-After`.
    pub(crate) fn http_date(&self, ahead: Duration) -> String {
        let now = self.now();
        let then =
            SignedDuration::try_from(ahead).ok().and_then(|ahead| now.checked_add(ahead).ok());
        // HTTP dates end with the year 9999 and begin with 1970.
        let latest = SystemTime::UNIX_EPOCH + Duration::from_secs(253_402_300_799);
        let time = SystemTime::try_from(then.unwrap_or(now)).unwrap_or(latest);
        httpdate::fmt_http_date(time.clamp(SystemTime::UNIX_EPOCH, latest))
    }
}

/// RFC 3339 with the shortest fraction and `Z`: the canonical form of `issued_at`.
pub(crate) fn rfc3339(time: Timestamp) -> String {
    time.to_string()
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
