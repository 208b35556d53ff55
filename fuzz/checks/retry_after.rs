//! `Retry-After` in any form: the client reads it as a slow reader of RFC 9110 does.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::HeaderMap;
use http::header::{DATE, HeaderName, HeaderValue, RETRY_AFTER};

use super::slow::days;

#[path = "../../src/transport/retry_after.rs"]
mod of_the_client;

const DAY: u64 = 86_400;
const MONTHS: &str = "JanFebMarAprMayJunJulAugSepOctNovDec";
/// The first day of 1970 was a Thursday.
const WEEKDAYS: [&str; 7] =
    ["Thursday", "Friday", "Saturday", "Sunday", "Monday", "Tuesday", "Wednesday"];

/// Four bytes of the machine's clock, then the values of `Retry-After` and `Date`, a line each.
/// A value that cannot stand in a header is a header that is not there.
pub fn check(bytes: &[u8]) {
    let [a, b, c, d, text @ ..] = bytes else { return };
    let now = u64::from(u32::from_be_bytes([*a, *b, *c, *d]));
    let mut lines = text.split(|byte| *byte == b'\n');
    let mut headers = HeaderMap::new();
    let mut value = |name: HeaderName| {
        let value = HeaderValue::from_bytes(lines.next()?).ok()?;
        headers.insert(name, value.clone());
        Some(value)
    };
    let (said, date) = (value(RETRY_AFTER), value(DATE));
    let ours = of_the_client::retry_after(&headers, UNIX_EPOCH + Duration::from_secs(now));
    assert_eq!(ours, wait(said.as_ref().map(HeaderValue::as_bytes), date.as_ref(), now));
    let ours = of_the_client::date(&headers);
    assert_eq!(ours, date.as_ref().and_then(|date| http_date(date.as_bytes())).map(system_time));
}

fn system_time(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

/// How long to wait, by the slow reader.
pub fn wait(said: Option<&[u8]>, date: Option<&HeaderValue>, now: u64) -> Option<Duration> {
    let text = said?.trim_ascii();
    if text.iter().any(|byte| !matches!(byte, b' '..=b'~' | b'\t')) {
        return None;
    }
    if !text.is_empty() && text.iter().all(u8::is_ascii_digit) {
        let mut seconds = 0_u64;
        for digit in text {
            seconds = seconds.saturating_mul(10).saturating_add(u64::from(digit - b'0'));
        }
        return Some(Duration::from_secs(seconds));
    }
    let until = http_date(text)?;
    let now = date.and_then(|date| http_date(date.as_bytes())).unwrap_or(now);
    Some(Duration::from_secs(until.saturating_sub(now)))
}

/// Seconds since 1970 of a date in one of the three forms of RFC 9110, section 5.6.7.
fn http_date(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text.trim_ascii()).ok().filter(|text| text.is_ascii())?;
    let words: Vec<&str> = text.split(' ').collect();
    let (weekday, day, month, year, time) = match *words {
        // Sun, 06 Nov 1994 08:49:37 GMT
        [weekday, day, month, year, time, "GMT"] => {
            let weekday = weekday.strip_suffix(',').filter(|weekday| weekday.len() == 3)?;
            (weekday, number(day, 2)?, month, number(year, 4)?, time)
        }
        // Sun Nov  6 08:49:37 1994
        [weekday, month, "", day, time, year] if weekday.len() == 3 => {
            (weekday, number(day, 1)?, month, number(year, 4)?, time)
        }
        [weekday, month, day, time, year] if weekday.len() == 3 => {
            (weekday, number(day, 2)?, month, number(year, 4)?, time)
        }
        _ => of_rfc_850(text)?,
    };
    let month = MONTHS.find(month).filter(|at| month.len() == 3 && at % 3 == 0)? as i32 / 3 + 1;
    if year < 1970 || day < 1 || day > days(year, month) {
        return None;
    }
    let parts: Vec<&str> = time.split(':').collect();
    let [hour, minute, second] = *parts else { return None };
    let (hour, minute, second) = (number(hour, 2)?, number(minute, 2)?, number(second, 2)?);
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let years = (1970..year).map(|year| (1..=12).map(|month| days(year, month)).sum::<i32>());
    let since =
        years.sum::<i32>() + (1..month).map(|month| days(year, month)).sum::<i32>() + day - 1;
    let is_right = WEEKDAYS[since as usize % 7].starts_with(weekday);
    let seconds = since as u64 * DAY + (hour * 3600 + minute * 60 + second) as u64;
    is_right.then_some(seconds)
}

/// `Sunday, 06-Nov-94 08:49:37 GMT`: its parts. Whatever stands between the date and the time, the
/// client reads over it.
fn of_rfc_850(text: &str) -> Option<(&str, i32, &str, i32, &str)> {
    let (weekday, rest) = text.split_once(", ").filter(|(name, _)| WEEKDAYS.contains(name))?;
    let (date, rest) = rest.split_at_checked(9)?;
    let time = rest.get(1..)?.strip_suffix(" GMT")?;
    let parts: Vec<&str> = date.split('-').collect();
    let [day, month, year] = *parts else { return None };
    let year = number(year, 2)?;
    Some((weekday, number(day, 2)?, month, year + if year < 70 { 2000 } else { 1900 }, time))
}

fn number(text: &str, digits: usize) -> Option<i32> {
    let is_number = text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap())
}
