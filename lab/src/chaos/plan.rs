//! What is to happen, decided by the seed alone before anything runs.

use std::fmt::Write;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The events and the faults of a run.
#[derive(Debug)]
pub struct Plan {
    pub seed: u64,
    pub steps: Vec<Step>,
}

/// One fault, and what is published while it works.
#[derive(Debug)]
pub struct Step {
    pub fault: Fault,
    pub events: Vec<Spec>,
}

/// An honest event.
#[derive(Debug)]
pub struct Spec {
    pub event_type: &'static str,
    /// Of its payload.
    pub bytes: usize,
}

/// How a damaged frame is damaged.
#[derive(Debug, Clone, Copy)]
pub enum Damage {
    /// One bit of a byte.
    Flip,
    /// Some bytes that do not belong there.
    Insert(Garbage),
    /// So many bytes are missing.
    Delete(usize),
}

/// Bytes in the middle of a frame.
#[derive(Debug, Clone, Copy)]
pub enum Garbage {
    NotUtf8,
    EndOfBlock,
    Text,
}

/// What the server asks for with `Retry-After`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryAfter {
    Missing,
    Seconds(u64),
    /// A date so many seconds ahead; 0 is now.
    Date(u64),
    Nonsense,
}

/// Which request gets the scripted answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    Stream,
    State,
}

/// One thing that goes wrong. Byte counts are of the stream from when the fault is armed.
#[derive(Debug, Clone)]
pub enum Fault {
    Latency { ms: u64, jitter: u64, bytes: usize },
    Bandwidth { bytes_per_ms: usize, bytes: usize },
    SingleBytes { bytes: usize },
    Cut { at: usize },
    Reset { at: usize },
    HalfOpen { at: usize },
    SlowClose { at: usize, ms: u64 },
    Blackhole { ms: u64 },
    GarbageBlock { which: usize },
    GarbledFrame { permille: usize, how: Damage },
    BrokenFraming { which: usize },
    ReplayedFrame { back: u64 },
    Forged { how: usize },
    Stale { seconds: u64 },
    Oversized { bytes: usize },
    Restart { ms: u64 },
    Dropped { reset: bool },
    ClockJump { seconds: i64, cut: bool },
    TokenChange { burst: usize, by_callback: bool, cut: bool },
    Busy { route: Route, status: u16, retry_after: RetryAfter, times: usize },
    Portal { route: Route, status: u16, times: usize },
    BusDown { ms: u64 },
    KeyRotation,
    CursorRefused { status: u16 },
    NetworkChange,
}

/// Draws the numbers of one kind of fault.
type Draw = fn(&mut ChaCha8Rng) -> Fault;

/// Each kind of fault: its name, how often it comes in a thousand, and its numbers.
const KINDS: &[(&str, u32, Draw)] = &[
    ("latency and jitter", 60, latency),
    ("bandwidth", 50, |rng| Fault::Bandwidth {
        bytes_per_ms: rng.random_range(20..400),
        bytes: rng.random_range(500..6_000),
    }),
    ("single bytes", 60, |rng| Fault::SingleBytes { bytes: rng.random_range(100..1_500) }),
    ("cut at a byte", 150, |rng| Fault::Cut { at: rng.random_range(0..4_000) }),
    ("reset", 110, |rng| Fault::Reset { at: rng.random_range(0..4_000) }),
    ("half-open", 25, |rng| Fault::HalfOpen { at: rng.random_range(0..3_000) }),
    ("slow close", 40, |rng| Fault::SlowClose {
        at: rng.random_range(0..3_000),
        ms: rng.random_range(5..150),
    }),
    ("blackhole", 20, |rng| Fault::Blackhole { ms: rng.random_range(50..500) }),
    ("garbage between frames", 80, |rng| Fault::GarbageBlock { which: rng.random_range(0..64) }),
    ("garbage in a frame", 70, garbled),
    ("broken framing", 40, |rng| Fault::BrokenFraming { which: rng.random_range(0..64) }),
    ("replayed frame", 40, |rng| Fault::ReplayedFrame { back: rng.random_range(0..64) }),
    ("forged event", 50, |rng| Fault::Forged { how: rng.random_range(0..4) }),
    ("stale event", 25, |rng| Fault::Stale { seconds: rng.random_range(600..5_000) }),
    ("oversized event", 8, |rng| Fault::Oversized { bytes: rng.random_range(70_000..200_000) }),
    ("server restart", 25, |rng| Fault::Restart { ms: rng.random_range(5..250) }),
    ("all connections dropped", 20, |rng| Fault::Dropped { reset: rng.random() }),
    ("clock jump", 20, clock_jump),
    ("401 and a new token", 40, token_change),
    ("429 or 503", 40, busy),
    ("HTML from a portal", 35, portal),
    ("event bus down", 8, |rng| Fault::BusDown { ms: rng.random_range(10..600) }),
    ("signing key rotated", 10, |_| Fault::KeyRotation),
    ("cursor refused", 8, |rng| Fault::CursorRefused { status: pick(rng, &[400, 410, 414, 431]) }),
    ("network changed", 3, |_| Fault::NetworkChange),
];

fn pick<T: Copy>(rng: &mut ChaCha8Rng, of: &[T]) -> T {
    of[rng.random_range(0..of.len())]
}

fn latency(rng: &mut ChaCha8Rng) -> Fault {
    Fault::Latency {
        ms: rng.random_range(0..15),
        jitter: rng.random_range(1..15),
        bytes: rng.random_range(500..6_000),
    }
}

fn garbled(rng: &mut ChaCha8Rng) -> Fault {
    let garbage = pick(rng, &[Garbage::NotUtf8, Garbage::EndOfBlock, Garbage::Text]);
    let missing = rng.random_range(1..40);
    let how = pick(rng, &[Damage::Flip, Damage::Insert(garbage), Damage::Delete(missing)]);
    Fault::GarbledFrame { permille: rng.random_range(0..1_000), how }
}

/// An hour off is outside of every window; two minutes are within.
fn clock_jump(rng: &mut ChaCha8Rng) -> Fault {
    Fault::ClockJump { seconds: pick(rng, &[-3_600, -120, 120, 3_600]), cut: rng.random() }
}

fn token_change(rng: &mut ChaCha8Rng) -> Fault {
    let cut = rng.random_bool(0.75);
    let burst = if cut { pick(rng, &[1, 1, 2, 3]) } else { 1 };
    Fault::TokenChange { burst, by_callback: rng.random(), cut }
}

fn busy(rng: &mut ChaCha8Rng) -> Fault {
    let none =
        [RetryAfter::Missing, RetryAfter::Seconds(0), RetryAfter::Date(0), RetryAfter::Nonsense];
    let some = [RetryAfter::Seconds(1), RetryAfter::Date(2)];
    let route = pick(rng, &[Route::Stream, Route::State]);
    let long = rng.random_bool(if route == Route::State { 0.5 } else { 0.1 });
    let retry_after = if long { pick(rng, &some) } else { pick(rng, &none) };
    let times = if long || route == Route::State { 1 } else { rng.random_range(1..4) };
    Fault::Busy { route, status: pick(rng, &[429, 503]), retry_after, times }
}

fn portal(rng: &mut ChaCha8Rng) -> Fault {
    let route = pick(rng, &[Route::Stream, Route::Stream, Route::State]);
    let times = if route == Route::State { 1 } else { rng.random_range(1..4) };
    Fault::Portal { route, status: pick(rng, &[200, 302, 401, 403, 404, 502, 511]), times }
}

impl Fault {
    /// The name of its kind.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Latency { .. } => "latency and jitter",
            Self::Bandwidth { .. } => "bandwidth",
            Self::SingleBytes { .. } => "single bytes",
            Self::Cut { .. } => "cut at a byte",
            Self::Reset { .. } => "reset",
            Self::HalfOpen { .. } => "half-open",
            Self::SlowClose { .. } => "slow close",
            Self::Blackhole { .. } => "blackhole",
            Self::GarbageBlock { .. } => "garbage between frames",
            Self::GarbledFrame { .. } => "garbage in a frame",
            Self::BrokenFraming { .. } => "broken framing",
            Self::ReplayedFrame { .. } => "replayed frame",
            Self::Forged { .. } => "forged event",
            Self::Stale { .. } => "stale event",
            Self::Oversized { .. } => "oversized event",
            Self::Restart { .. } => "server restart",
            Self::Dropped { .. } => "all connections dropped",
            Self::ClockJump { .. } => "clock jump",
            Self::TokenChange { .. } => "401 and a new token",
            Self::Busy { .. } => "429 or 503",
            Self::Portal { .. } => "HTML from a portal",
            Self::BusDown { .. } => "event bus down",
            Self::KeyRotation => "signing key rotated",
            Self::CursorRefused { .. } => "cursor refused",
            Self::NetworkChange => "network changed",
        }
    }
}

impl Plan {
    /// The plan of a seed: so many honest events, spread at random over so many faults, at
    /// least one for each if there are enough. Each kind of fault comes at least once, if
    /// there is room for all of them.
    pub fn new(seed: u64, events: usize, faults: usize) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut draws: Vec<Draw> = KINDS.iter().map(|(_, _, draw)| *draw).take(faults).collect();
        draws.extend((draws.len()..faults).map(|_| drawn(&mut rng)).collect::<Vec<_>>());
        draws.shuffle(&mut rng);
        let mut steps: Vec<Step> =
            draws.iter().map(|draw| Step { fault: draw(&mut rng), events: Vec::new() }).collect();
        for number in 0..events {
            let at = if number < faults { number } else { rng.random_range(0..faults) };
            let spec = spec(&mut rng);
            steps[at].events.push(spec);
        }
        Self { seed, steps }
    }

    /// A short name of the plan: the same for the same seed and sizes, in every version that
    /// plans the same.
    pub fn digest(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = write!(text, "{self:?}");
        short_digest(&text)
    }

    /// How many honest events there are.
    pub fn events(&self) -> usize {
        self.steps.iter().map(|step| step.events.len()).sum()
    }
}

/// The first eight bytes of the SHA-256 of a text, in hex.
pub fn short_digest(text: &str) -> String {
    let digest = digest(&SHA256, text.as_bytes());
    digest.as_ref()[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

fn drawn(rng: &mut ChaCha8Rng) -> Draw {
    let total: u32 = KINDS.iter().map(|(_, weight, _)| weight).sum();
    let mut left = rng.random_range(0..total);
    for (_, weight, draw) in KINDS {
        if left < *weight {
            return *draw;
        }
        left -= weight;
    }
    latency
}

/// Mostly small, now and then large: frames are cut in many places.
fn spec(rng: &mut ChaCha8Rng) -> Spec {
    let event_type =
        pick(rng, &["peer_removed", "policy_updated", "node_state_updated", "made_up_tomorrow"]);
    let bytes = match rng.random_range(0..100) {
        0 => rng.random_range(5_000..30_000),
        1..10 => rng.random_range(500..3_000),
        _ => rng.random_range(0..200),
    };
    Spec { event_type, bytes }
}

/// When a process is killed.
#[derive(Debug, Clone, Copy)]
pub enum Moment {
    /// So long after its start, whatever it has done by then.
    AfterStart(Duration),
    /// So long after the first event that it handled.
    AfterEvent(Duration),
}

/// The moments of the kills, by the seed alone.
pub fn moments(seed: u64, kills: usize) -> Vec<Moment> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let draw = |_| match rng.random_bool(0.25) {
        true => Moment::AfterStart(Duration::from_micros(rng.random_range(0..150_000))),
        false => Moment::AfterEvent(Duration::from_micros(rng.random_range(0..400_000))),
    };
    (0..kills).map(draw).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_seed_is_a_plan() {
        let plan = Plan::new(7, 500, 50);
        assert_eq!(plan.digest(), Plan::new(7, 500, 50).digest());
        assert_ne!(plan.digest(), Plan::new(8, 500, 50).digest());
        assert_ne!(plan.digest(), Plan::new(7, 501, 50).digest());
        assert_eq!((plan.events(), plan.steps.len()), (500, 50));
        assert_eq!(format!("{:?}", moments(7, 9)), format!("{:?}", moments(7, 9)));
    }

    #[test]
    fn every_kind_comes_at_least_once_and_has_its_own_name() {
        let planned: HashSet<_> = Plan::new(1, KINDS.len(), KINDS.len())
            .steps
            .iter()
            .map(|step| step.fault.kind())
            .collect();
        assert_eq!(planned, KINDS.iter().map(|(name, _, _)| *name).collect());
        assert_eq!(planned.len(), KINDS.len());
    }

    #[test]
    fn the_names_in_the_table_are_those_of_the_faults() {
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        for (name, _, draw) in KINDS {
            assert_eq!(draw(&mut rng).kind(), *name);
        }
    }
}
