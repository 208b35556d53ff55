//! How long to wait: pure arithmetic. Randomness is a `u64` that the caller draws, evenly from the whole range.
//!
//! No function panics or overflows, whatever goes in. Times over 584 years are taken as 584 years.

use std::time::Duration;

/// What each failure multiplies the delay by: 2.
pub const MULTIPLIER: u32 = 2;
/// The width of the jitter as a fraction of the delay: one part in four, so ±25 %.
pub const JITTER_FRACTION: u32 = 4;
/// The longest `Retry-After` that is honoured, before jitter: 5 minutes.
pub const MAX_RETRY_AFTER: Duration = Duration::from_secs(5 * 60);

/// The delay after `failures` earlier failures: `base`, then doubled each time, up to `max`.
///
/// ```
/// use std::time::Duration;
/// use plexsphere_client::reconnect::backoff::exponential;
///
/// let delays: Vec<u64> = (0..8)
///     .map(|n| exponential(Duration::from_secs(1), Duration::from_secs(60), n).as_secs())
///     .collect();
/// assert_eq!(delays, [1, 2, 4, 8, 16, 32, 60, 60]);
/// ```
pub fn exponential(base: Duration, max: Duration, failures: u32) -> Duration {
    base.saturating_mul(MULTIPLIER.saturating_pow(failures)).min(max)
}

/// `delay` ±25 %, evenly spread.
pub fn jitter(delay: Duration, random: u64) -> Duration {
    let width = delay / JITTER_FRACTION;
    (delay - width).saturating_add(spread(width.saturating_mul(2), random))
}

/// `delay` +0 to 25 %, evenly spread: for times that must not be undercut.
pub fn jitter_up(delay: Duration, random: u64) -> Duration {
    delay.saturating_add(spread(delay / JITTER_FRACTION, random))
}

/// Between nothing and `width`, evenly spread.
pub fn spread(width: Duration, random: u64) -> Duration {
    let nanos = u64::try_from(width.as_nanos()).unwrap_or(u64::MAX);
    let share = (u128::from(nanos) * u128::from(random)) >> 64;
    // The product of two 64-bit numbers, shifted by 64, fits 64 bits.
    Duration::from_nanos(share as u64)
}

/// How long to wait for a server that sent `Retry-After`: what it said, up to [`MAX_RETRY_AFTER`], jittered upwards only.
pub fn retry_after(said: Duration, random: u64) -> Duration {
    jitter_up(said.min(MAX_RETRY_AFTER), random)
}

/// The new base of the back-off after a `retry:` from the server: what it said, within `[base, max]`.
pub fn server_base(said: Duration, base: Duration, max: Duration) -> Duration {
    said.min(max).max(base)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);
    const MINUTE: Duration = Duration::from_secs(60);

    fn any_duration() -> impl Strategy<Value = Duration> {
        prop_oneof![
            Just(Duration::ZERO),
            Just(Duration::MAX),
            (any::<u64>(), 0..1_000_000_000_u32).prop_map(|(s, n)| Duration::new(s, n)),
            (0..100_000_u64).prop_map(Duration::from_millis),
        ]
    }

    #[test]
    fn reconnect_parity_delays_double_to_the_cap() {
        let delays: Vec<u64> = (0..9).map(|n| exponential(SECOND, MINUTE, n).as_secs()).collect();
        assert_eq!(delays, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(exponential(SECOND, MINUTE, u32::MAX), MINUTE);
    }

    #[test]
    fn l4_jitter_spans_exactly_a_quarter_each_way() {
        assert_eq!(jitter(SECOND * 4, 0), SECOND * 3);
        assert_eq!(jitter(SECOND * 4, 1 << 63), SECOND * 4);
        let highest = jitter(SECOND * 4, u64::MAX);
        assert!(highest <= SECOND * 5 && highest > SECOND * 5 - Duration::from_micros(1));
    }

    #[test]
    fn l4_jitter_is_even_and_not_constant() {
        let mut buckets = [0; 10];
        for i in 0..10_000_u64 {
            let delay = jitter(SECOND, i.wrapping_mul(0x9E37_79B9_7F4A_7C15));
            let offset = delay - Duration::from_millis(750);
            buckets[(offset.as_millis() / 50).min(9) as usize] += 1;
        }
        assert!(buckets.iter().all(|n| (900..1100).contains(n)), "{buckets:?}");
    }

    #[test]
    fn l4_retry_after_is_capped_and_never_undercut() {
        let four_years = Duration::from_secs(4 * 365 * 86_400);
        for said in [four_years, Duration::MAX] {
            assert_eq!(retry_after(said, 0), MAX_RETRY_AFTER);
            assert!(retry_after(said, u64::MAX) <= MAX_RETRY_AFTER * 5 / 4);
        }
        assert_eq!(retry_after(Duration::ZERO, u64::MAX), Duration::ZERO);
        assert_eq!(retry_after(SECOND * 30, 0), SECOND * 30);
    }

    #[test]
    fn l4_a_server_base_stays_between_base_and_cap() {
        assert_eq!(server_base(Duration::ZERO, SECOND, MINUTE), SECOND);
        assert_eq!(server_base(SECOND * 5, SECOND, MINUTE), SECOND * 5);
        assert_eq!(server_base(Duration::MAX, SECOND, MINUTE), MINUTE);
    }

    proptest! {
        #[test]
        fn l4_no_input_overflows(
            base in any_duration(), max in any_duration(), n in any::<u32>(), random in any::<u64>(),
        ) {
            let delay = exponential(base, max, n);
            prop_assert!(delay <= max);
            let longest = Duration::from_nanos(u64::MAX).min(delay / 4).saturating_add(delay);
            for jittered in [jitter(delay, random), jitter_up(delay, random)] {
                prop_assert!(jittered >= delay - delay / 4 && jittered <= longest);
            }
            prop_assert!(spread(delay, random) <= delay);
            prop_assert!(retry_after(base, random) >= base.min(MAX_RETRY_AFTER));
            prop_assert!(server_base(base, SECOND, MINUTE) >= SECOND);
        }
    }
}
