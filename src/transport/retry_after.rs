use std::time::{Duration, SystemTime};

use http::HeaderMap;
use http::header::{DATE, RETRY_AFTER};

/// `Retry-After` in either form, RFC 9110 section 10.2.3.
///
/// A date is taken relative to the answer's own `Date`, else to `now`; one that has
/// passed is zero. Anything else, negative numbers too, is `None`.
pub(crate) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        // More digits than fit are "very long", not an error.
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    let until = httpdate::parse_http_date(text).ok()?;
    Some(until.duration_since(date(headers).unwrap_or(now)).unwrap_or_default())
}

/// The server's clock, as the answer's `Date` has it (to the second).
pub(crate) fn date(headers: &HeaderMap) -> Option<SystemTime> {
    httpdate::parse_http_date(headers.get(DATE)?.to_str().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    fn parse(value: &str, date: Option<&str>) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, value.parse().unwrap());
        if let Some(date) = date {
            headers.insert(DATE, date.parse().unwrap());
        }
        retry_after(&headers, UNIX_EPOCH + Duration::from_secs(784_111_770))
    }

    #[test]
    fn seconds() {
        assert_eq!(parse("0", None), Some(Duration::ZERO));
        assert_eq!(parse(" 120 ", None), Some(Duration::from_secs(120)));
        assert_eq!(parse("99999999999999999999999", None), Some(Duration::from_secs(u64::MAX)));
        for bad in ["-1", "+5", "1.5", "", "soon", "5 s", "0x10"] {
            assert_eq!(parse(bad, None), None, "{bad:?}");
        }
    }

    #[test]
    fn dates_count_from_the_server_s_own_clock() {
        let at = "Sun, 06 Nov 1994 08:49:37 GMT"; // 784111777
        assert_eq!(parse(at, None), Some(Duration::from_secs(7)));
        assert_eq!(parse(at, Some("Sun, 06 Nov 1994 08:48:37 GMT")), Some(Duration::from_secs(60)));
        assert_eq!(parse(at, Some("Sun, 06 Nov 1994 09:00:00 GMT")), Some(Duration::ZERO));
    }
}
