//! What happens to the control plane. Time zero is when it begins; all streams are healthy then.

use std::ops::RangeInclusive;
use std::time::Duration;

use plexsphere_client::reconnect::{FailurePolicy, ReconnectSettings};

use super::server::Weather;

/// How streams end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Cleanly, as of a server that shuts down in order.
    Clean,
    /// By a broken connection.
    Broken,
    /// In silence: each node notices by its idle limit, 75 to 90 s later.
    Silent,
}

/// One blow: when, who of how many groups, and how.
#[derive(Debug, Clone, Copy)]
pub struct Cut {
    pub at: Duration,
    pub group: u32,
    pub of: u32,
    pub end: End,
}

impl Cut {
    fn all(at: u64, end: End) -> Self {
        Self { at: secs(at), group: 0, of: 1, end }
    }

    pub fn hits(&self, node: u32) -> bool {
        node % self.of == self.group
    }
}

pub struct Scenario {
    pub name: &'static str,
    pub what: &'static str,
    pub cuts: Vec<Cut>,
    /// From when on nothing stands in the way any more.
    pub well_at: Duration,
    pub policy: FailurePolicy,
    kind: Kind,
}

enum Kind {
    Fine,
    Down,
    HalfBlackHoled,
    Busy(RangeInclusive<u64>),
    Revoked,
}

pub const NAMES: [&str; 8] =
    ["restart", "crash", "rolling", "outage", "black-hole", "retry-after", "revoked", "flapping"];

/// The settings of a scenario that the command line may change.
#[derive(Debug, Clone)]
pub struct Knobs {
    /// How long a restart takes.
    pub down: Duration,
    /// What the scenario `retry-after` says, in seconds.
    pub busy: RangeInclusive<u64>,
}

impl Default for Knobs {
    fn default() -> Self {
        Self { down: secs(5), busy: 60..=60 }
    }
}

impl Scenario {
    pub fn named(name: &str, knobs: &Knobs) -> Option<Self> {
        const HALF_AN_HOUR: u64 = 1800;
        let all = |end| vec![Cut::all(0, end)];
        let contract = FailurePolicy::Contract;
        let (what, cuts, well_at, policy, kind) = match name {
            "restart" => (
                "all streams end, nothing listens for some seconds",
                all(End::Clean),
                knobs.down,
                contract,
                Kind::Down,
            ),
            "crash" => (
                "all streams break, nothing listens for some seconds",
                all(End::Broken),
                knobs.down,
                contract,
                Kind::Down,
            ),
            "rolling" => {
                let cut = |group: u32| Cut { at: secs(30) * group, group, of: 10, end: End::Clean };
                (
                    "a tenth of the streams ends every 30 s",
                    (0..10).map(cut).collect(),
                    secs(270),
                    contract,
                    Kind::Fine,
                )
            }
            "outage" => (
                "all streams break, nothing listens for 30 min",
                all(End::Broken),
                secs(HALF_AN_HOUR),
                contract,
                Kind::Down,
            ),
            "black-hole" => {
                let half = |group, end| Cut { at: secs(0), group, of: 2, end };
                (
                    "30 min: half is refused, half gets no answer at all",
                    vec![half(0, End::Broken), half(1, End::Silent)],
                    secs(HALF_AN_HOUR),
                    contract,
                    Kind::HalfBlackHoled,
                )
            }
            "retry-after" => (
                "all streams end, 503 with Retry-After for 2 min",
                all(End::Clean),
                secs(120),
                contract,
                Kind::Busy(knobs.busy.clone()),
            ),
            "revoked" => (
                "401 to all for 10 min, then the callbacks get new tokens",
                all(End::Clean),
                secs(600),
                FailurePolicy::Persistent,
                Kind::Revoked,
            ),
            "flapping" => (
                "all streams end every 10 s for 10 min",
                (0..=60).map(|n| Cut::all(10 * n, End::Clean)).collect(),
                secs(600),
                contract,
                Kind::Fine,
            ),
            _ => return None,
        };
        let name = NAMES.into_iter().find(|known| *known == name)?;
        Some(Self { name, what, cuts, well_at, policy, kind })
    }

    /// How the server is to a node at a time.
    pub fn weather(&self, node: u32, now: Duration) -> Weather {
        let over = now >= self.well_at;
        match &self.kind {
            // The old tokens stay refused.
            Kind::Revoked => Weather::Revoked,
            _ if over => Weather::Up,
            Kind::Fine => Weather::Up,
            Kind::Down => Weather::Refused,
            Kind::HalfBlackHoled if node % 2 == 1 => Weather::BlackHole,
            Kind::HalfBlackHoled => Weather::Refused,
            Kind::Busy(range) => Weather::Busy(range.clone()),
        }
    }

    pub fn settings(&self, mut settings: ReconnectSettings) -> ReconnectSettings {
        settings.policy = self.policy;
        settings
    }
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
