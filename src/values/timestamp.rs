use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;
use std::time::SystemTime;

use jiff::SignedDuration;
use jiff::civil::{Date, DateTime, Time};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

const EPOCH: DateTime = DateTime::constant(1970, 1, 1, 0, 0, 0, 0);
const EARLIEST: DateTime = DateTime::constant(0, 1, 1, 0, 0, 0, 0);
const LATEST: DateTime = DateTime::constant(9999, 12, 31, 23, 59, 59, 999_999_999);
const MINUTES_A_DAY: i16 = 24 * 60;
const GO_ZERO_SINCE_1970: SignedDuration = SignedDuration::from_secs(-719_162 * 24 * 60 * 60);

/// A point in time as RFC 3339 writes it, with up to nine fraction digits. The
/// offset is kept, since the signature of an event covers how its time is spelled.
///
/// It is written as a Go program writes it: the shortest fraction, and `Z` for an
/// offset of zero. What is read and written again is the same text, but for
/// trailing zeros of the fraction and `+00:00`.
///
/// Two times are equal when they are the same instant under the same offset.
/// Their order is that of the instants; the offset decides between equal instants.
///
/// ```
/// use plexsphere_client::values::Timestamp;
///
/// let time: Timestamp = "2025-01-15T10:30:00.100+02:00".parse()?;
/// assert_eq!(time.to_string(), "2025-01-15T10:30:00.1+02:00");
/// assert!(time < "2025-01-15T08:30:01Z".parse()?);
/// # Ok::<(), plexsphere_client::values::TimestampError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Timestamp {
    local: DateTime,
    offset_minutes: i16,
}

/// The text is not an RFC 3339 time. It does not say which text, since a field of
/// a message may hold anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an RFC 3339 time")]
pub struct TimestampError;

impl Timestamp {
    pub(crate) const GO_ZERO: Self =
        Self { local: DateTime::constant(1, 1, 1, 0, 0, 0, 0), offset_minutes: 0 };

    /// The present time in UTC, by the machine's clock.
    pub fn now() -> Self {
        SystemTime::now().into()
    }

    /// The time so many nanoseconds after 1970-01-01T00:00:00Z (or before it), in UTC.
    ///
    /// `None` outside of the years 0 to 9999, which RFC 3339 cannot write.
    pub fn from_unix_nanos(nanos: i128) -> Option<Self> {
        Self::at(SignedDuration::try_from_nanos_i128(nanos)?)
    }

    /// The time so long after 1970-01-01T00:00:00Z.
    fn at(since: SignedDuration) -> Option<Self> {
        let local = EPOCH.checked_add(since).ok()?;
        (EARLIEST..=LATEST).contains(&local).then_some(Self { local, offset_minutes: 0 })
    }

    /// Nanoseconds since 1970-01-01T00:00:00Z, negative before it.
    pub fn unix_nanos(self) -> i128 {
        self.since_1970().as_nanos()
    }

    /// The time since 1970-01-01T00:00:00Z, negative before it.
    pub(crate) fn since_1970(self) -> SignedDuration {
        // Years of four digits and less than a day are far from the ends of 64 bits.
        self.local.duration_since(EPOCH) - SignedDuration::from_mins(self.offset_minutes.into())
    }

    /// The offset from UTC in minutes, positive east of Greenwich.
    pub fn offset_minutes(self) -> i16 {
        self.offset_minutes
    }

    /// The same instant on the system's clock; `None` where that cannot hold it
    /// (the clock of Windows starts in 1601).
    pub fn to_system_time(self) -> Option<SystemTime> {
        let since = self.since_1970();
        let distance = since.unsigned_abs();
        if since.is_negative() {
            SystemTime::UNIX_EPOCH.checked_sub(distance)
        } else {
            SystemTime::UNIX_EPOCH.checked_add(distance)
        }
    }

    /// Whether this is 0001-01-01T00:00:00Z, which a Go program sends for a time
    /// that was never set.
    pub fn is_go_zero(self) -> bool {
        // Most times are far from it, whatever their offset.
        self.local.year() < 2 && self.since_1970() == GO_ZERO_SINCE_1970
    }
}

/// A time in UTC. Outside of the years 0 to 9999, the nearest time within them.
impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        let since = since_1970(time);
        let nearest = if since.is_negative() { EARLIEST } else { LATEST };
        Self::at(since).unwrap_or(Self { local: nearest, offset_minutes: 0 })
    }
}

/// The time since 1970, negative before it: what 64 bits of seconds hold of it.
pub(crate) fn since_1970(time: SystemTime) -> SignedDuration {
    let signed = |distance| SignedDuration::try_from(distance).unwrap_or(SignedDuration::MAX);
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => signed(after),
        Err(before) => -signed(before.duration()),
    }
}

impl Ord for Timestamp {
    fn cmp(&self, other: &Self) -> Ordering {
        let instants = self.since_1970().cmp(&other.since_1970());
        instants.then(self.offset_minutes.cmp(&other.offset_minutes))
    }
}

impl PartialOrd for Timestamp {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(TimeText::of(*self).as_str())
    }
}

/// A time as it is being written: batches hold thousands, and the formatter of the standard
/// library takes several times as long.
pub(crate) struct TimeText {
    bytes: [u8; LONGEST],
    length: usize,
}

const LONGEST: usize = "2025-01-15T10:30:00.123456789+02:00".len();

impl TimeText {
    pub(crate) fn of(time: Timestamp) -> Self {
        let mut text = Self { bytes: [0; LONGEST], length: 0 };
        let local = time.local;
        // The year is one of 0 to 9999, and no other part is negative.
        text.digits::<4>(local.year().unsigned_abs().into());
        for (mark, part) in [
            (b'-', local.month()),
            (b'-', local.day()),
            (b'T', local.hour()),
            (b':', local.minute()),
            (b':', local.second()),
        ] {
            text.byte(mark);
            text.digits::<2>(part.unsigned_abs().into());
        }
        text.fraction(local.subsec_nanosecond().unsigned_abs());
        text.offset(time.offset_minutes);
        text
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    fn as_str(&self) -> &str {
        // Digits and punctuation are always text.
        str::from_utf8(self.as_bytes()).unwrap_or_default()
    }

    fn fraction(&mut self, nanoseconds: u32) {
        if nanoseconds == 0 {
            return;
        }
        self.byte(b'.');
        self.digits::<9>(nanoseconds);
        while self.bytes[self.length - 1] == b'0' {
            self.length -= 1;
        }
    }

    fn offset(&mut self, minutes: i16) {
        if minutes == 0 {
            return self.byte(b'Z');
        }
        self.byte(if minutes < 0 { b'-' } else { b'+' });
        let minutes = u32::from(minutes.unsigned_abs());
        self.digits::<2>(minutes / 60);
        self.byte(b':');
        self.digits::<2>(minutes % 60);
    }

    fn byte(&mut self, byte: u8) {
        self.bytes[self.length] = byte;
        self.length += 1;
    }

    /// With their count known beforehand, the compiler makes it a run of multiplications.
    fn digits<const COUNT: usize>(&mut self, mut number: u32) {
        let mut digits = [0; COUNT];
        for digit in digits.iter_mut().rev() {
            *digit = b'0' + (number % 10) as u8;
            number /= 10;
        }
        let end = self.length + COUNT;
        self.bytes[self.length..end].copy_from_slice(&digits);
        self.length = end;
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Reads `YYYY-MM-DDTHH:MM:SS[.fraction](Z|±hh:mm)` as Go does: `T` and `Z` are
/// upper case, a leap second is refused, and fraction digits after the ninth are cut.
impl FromStr for Timestamp {
    type Err = TimestampError;

    fn from_str(text: &str) -> Result<Self, TimestampError> {
        Reader(text.as_bytes()).timestamp().ok_or(TimestampError)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(TimeText::of(*self).as_str())
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Asked for a string, `serde_json` would quote a number that it finds instead.
        deserializer.deserialize_any(TimestampVisitor)
    }
}

impl JsonSchema for Timestamp {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Timestamp".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "date-time" })
    }
}

struct TimestampVisitor;

impl Visitor<'_> for TimestampVisitor {
    type Value = Timestamp;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an RFC 3339 time")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Timestamp, E> {
        text.parse()
            .map_err(|TimestampError| E::invalid_value(Unexpected::Other("a string"), &self))
    }

    // The default of these quotes the value.
    fn visit_bool<E: Error>(self, _: bool) -> Result<Timestamp, E> {
        Err(E::invalid_type(Unexpected::Other("a boolean"), &self))
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Timestamp, E> {
        Err(E::invalid_type(Unexpected::Other("a number"), &self))
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Timestamp, E> {
        Err(E::invalid_type(Unexpected::Other("a number"), &self))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Timestamp, E> {
        Err(E::invalid_type(Unexpected::Other("a number"), &self))
    }
}

/// What is left to read of a time.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn timestamp(mut self) -> Option<Timestamp> {
        let year = self.number(4)?;
        self.byte(b'-')?;
        let month = self.number(2)?;
        self.byte(b'-')?;
        let day = self.number(2)?;
        self.byte(b'T')?;
        let hour = self.number(2)?;
        self.byte(b':')?;
        let minute = self.number(2)?;
        self.byte(b':')?;
        let second = self.number(2)?;
        let nanosecond = self.fraction()?;
        let offset_minutes = self.offset()?;
        if !self.0.is_empty() {
            return None;
        }
        // Two digits each, so the casts cannot cut anything off.
        let date = Date::new(year, month as i8, day as i8).ok()?;
        let time = Time::new(hour as i8, minute as i8, second as i8, nanosecond).ok()?;
        Some(Timestamp { local: date.to_datetime(time), offset_minutes })
    }

    fn byte(&mut self, expected: u8) -> Option<()> {
        self.0 = self.0.strip_prefix(&[expected])?;
        Some(())
    }

    fn number(&mut self, digits: usize) -> Option<i16> {
        let (number, rest) = self.0.split_at_checked(digits)?;
        self.0 = rest;
        number.iter().try_fold(0, |sum, &digit| {
            digit.is_ascii_digit().then(|| sum * 10 + i16::from(digit - b'0'))
        })
    }

    fn fraction(&mut self) -> Option<i32> {
        if self.byte(b'.').is_none() {
            return Some(0);
        }
        let count = self.0.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (digits, rest) = self.0.split_at(count);
        self.0 = rest;
        let nine = digits.iter().copied().chain(std::iter::repeat(b'0')).take(9);
        (count > 0).then(|| nine.fold(0, |sum, digit| sum * 10 + i32::from(digit - b'0')))
    }

    fn offset(&mut self) -> Option<i16> {
        if self.byte(b'Z').is_some() {
            return Some(0);
        }
        let sign = if self.byte(b'+').is_some() {
            1
        } else {
            self.byte(b'-')?;
            -1
        };
        let hours = self.number(2)?;
        self.byte(b':')?;
        let minutes = self.number(2)?;
        // Go reads `+01:60` as `+02:00`, and cannot write an offset of a day.
        let total = hours * 60 + minutes;
        (minutes <= 60 && total < MINUTES_A_DAY).then_some(sign * total)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn rewritten(text: &str) -> Option<String> {
        text.parse::<Timestamp>().ok().map(|time| time.to_string())
    }

    #[test]
    fn times_are_written_as_go_writes_them() {
        for (text, expected) in [
            ("2025-01-15T10:30:00Z", "2025-01-15T10:30:00Z"),
            ("2025-01-15T10:30:00.100Z", "2025-01-15T10:30:00.1Z"),
            ("2025-01-15T10:30:00.000Z", "2025-01-15T10:30:00Z"),
            ("2025-01-15T10:30:00.123456789+02:00", "2025-01-15T10:30:00.123456789+02:00"),
            ("2025-01-15T10:30:00.0000000019Z", "2025-01-15T10:30:00.000000001Z"),
            ("2025-01-15T10:30:00+00:00", "2025-01-15T10:30:00Z"),
            ("2025-01-15T10:30:00-00:00", "2025-01-15T10:30:00Z"),
            ("2025-01-15T10:30:00-03:30", "2025-01-15T10:30:00-03:30"),
            ("2025-01-15T10:30:00+01:60", "2025-01-15T10:30:00+02:00"),
            ("2025-01-15T10:30:00+23:59", "2025-01-15T10:30:00+23:59"),
            ("0000-01-01T00:00:00+23:59", "0000-01-01T00:00:00+23:59"),
            ("9999-12-31T23:59:59.999999999-23:59", "9999-12-31T23:59:59.999999999-23:59"),
        ] {
            assert_eq!(rewritten(text).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_rfc_3339_time_is_refused() {
        for text in [
            "",
            "2025-01-15",
            "2025-01-15T10:30:00",
            "2025-01-15T10:30:00z",
            "2025-01-15t10:30:00Z",
            "2025-01-15 10:30:00Z",
            "2025-01-15T10:30:00.Z",
            "2025-01-15T10:30:00,1Z",
            "2025-01-15T9:30:00Z",
            "2025-01-15T24:00:00Z",
            "2025-01-15T10:60:00Z",
            "2016-12-31T23:59:60Z",
            "2025-02-29T10:30:00Z",
            "2025-13-01T10:30:00Z",
            "2025-00-01T10:30:00Z",
            "2025-01-15T10:30:00+24:00",
            "2025-01-15T10:30:00+23:60",
            "2025-01-15T10:30:00+01:61",
            "2025-01-15T10:30:00+0100",
            "2025-01-15T10:30:00+01",
            "2025-01-15T10:30:00Z ",
            " 2025-01-15T10:30:00Z",
            "-001-01-15T10:30:00Z",
            "+025-01-15T10:30:00Z",
            "2025-01-15T10:30:0１Z",
        ] {
            assert_eq!(rewritten(text), None, "{text}");
        }
    }

    #[test]
    fn order_is_that_of_the_instants() {
        let [early, same, late] =
            ["2025-01-15T10:00:00Z", "2025-01-15T12:00:00+02:00", "2025-01-15T10:00:00.000000001Z"]
                .map(|text| text.parse::<Timestamp>().unwrap());
        assert_eq!(early.unix_nanos(), same.unix_nanos());
        assert_ne!(early, same);
        assert!(early < same && same < late);
    }

    #[test]
    fn the_zero_of_go_is_known_under_any_offset() {
        for text in ["0001-01-01T00:00:00Z", "0001-01-01T02:00:00+02:00"] {
            assert!(text.parse::<Timestamp>().unwrap().is_go_zero(), "{text}");
        }
        assert!(!"0001-01-01T00:00:00.000000001Z".parse::<Timestamp>().unwrap().is_go_zero());
    }

    #[test]
    fn the_system_clock_round_trips_and_saturates() {
        let far = Duration::from_secs(1 << 40);
        for (time, expected) in [
            (SystemTime::UNIX_EPOCH + Duration::new(1, 5), "1970-01-01T00:00:01.000000005Z"),
            (SystemTime::UNIX_EPOCH - Duration::new(1, 5), "1969-12-31T23:59:58.999999995Z"),
            (SystemTime::UNIX_EPOCH + far, "9999-12-31T23:59:59.999999999Z"),
            (SystemTime::UNIX_EPOCH - far, "0000-01-01T00:00:00Z"),
        ] {
            assert_eq!(Timestamp::from(time).to_string(), expected);
        }
        let now = Timestamp::now();
        assert_eq!(now.to_system_time().map(Timestamp::from), Some(now));
        assert_eq!(now.offset_minutes(), 0);
    }

    #[test]
    fn json_is_the_text_and_its_errors_do_not_quote() {
        let text = r#""2025-01-15T10:30:00.1+02:00""#;
        let time: Timestamp = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&time).unwrap(), text);
        for wrong in [r#""canary""#, "717273", "true", r#"["canary"]"#, "7.17273e300"] {
            let error = serde_json::from_str::<Timestamp>(wrong).unwrap_err().to_string();
            assert!(error.contains("an RFC 3339 time"), "{error}");
            assert!(!error.contains("canary") && !error.contains("717273"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn text_and_nanoseconds_round_trip(
            nanos in -62_167_219_200_000_000_000_i128..=253_402_300_799_999_999_999,
            offset in -1439_i16..=1439,
        ) {
            let time = Timestamp::from_unix_nanos(nanos).unwrap();
            prop_assert_eq!(time.unix_nanos(), nanos);
            let time = Timestamp { local: time.local, offset_minutes: offset };
            prop_assert_eq!(time.to_string().parse(), Ok(time));
        }

        #[test]
        fn any_text_is_read_without_a_panic(text in "[0-9TZ:.+-]{0,40}|\\PC{0,40}") {
            if let Ok(time) = text.parse::<Timestamp>() {
                prop_assert_eq!(time.to_string().parse(), Ok(time));
            }
        }
    }
}
