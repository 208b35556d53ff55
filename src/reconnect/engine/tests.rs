//! Virtual time: a day is a loop. Names begin with the lesson (L), the parity line or the issue that the test answers.

use std::{collections::VecDeque, time::Duration};

use proptest::prelude::*;

use super::*;
use crate::reconnect::{Failure, classify};

mod properties;

/// The middle of the random range: no jitter.
const MID: u64 = 1 << 63;
/// What the idle limit says.
const SILENT: Input = Input::Failed(FailureAction::RetrySilent);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

fn secs(s: f64) -> Duration {
    Duration::from_secs_f64(s)
}

fn persistent() -> ReconnectSettings {
    ReconnectSettings { policy: FailurePolicy::Persistent, ..ReconnectSettings::default() }
}

fn status(status: u16) -> Answer {
    Answer::Fails(classify(&Failure::with_status(status)))
}

fn status_after(status: u16, retry_after: Duration) -> Answer {
    let mut failure = Failure::with_status(status);
    failure.retry_after = Some(retry_after);
    Answer::Fails(classify(&failure))
}

/// How the model of a server answers a connect.
#[derive(Debug, Clone, Copy)]
enum Answer {
    Fails(FailureAction),
    /// A stream with bytes, which ends cleanly after this long.
    Streams(Duration),
    /// A stream with bytes, which breaks off or falls silent after this long.
    Breaks(Duration),
    /// A stream without a byte, which ends cleanly after this long.
    Silent(Duration),
    /// A stream without a byte, until the idle limit ends it after this long.
    Mute(Duration),
    /// A stream with bytes, until the idle limit ends it after this long.
    Stalls(Duration),
}

/// The simplest driver: it carries out the commands in virtual time and keeps the books.
struct Sim {
    engine: ReconnectEngine,
    now: Duration,
    random: u64,
    connects: Vec<Duration>,
    polls: Vec<Duration>,
    waits: Vec<Duration>,
    /// What the auth callback answers, one by one; then `AuthRefused`.
    callback: VecDeque<Input>,
    callbacks: usize,
    /// What happens from outside, in order.
    outside: VecDeque<(Duration, Input)>,
    poll_answer: Result<(), FailureAction>,
}

impl Sim {
    fn new(settings: ReconnectSettings) -> Self {
        Self {
            engine: ReconnectEngine::new(settings),
            now: Duration::ZERO,
            random: 1,
            connects: Vec::new(),
            polls: Vec::new(),
            waits: Vec::new(),
            callback: VecDeque::new(),
            callbacks: 0,
            outside: VecDeque::new(),
            poll_answer: Ok(()),
        }
    }

    fn step(&mut self, input: Input) -> Command {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        self.engine.step(input, self.now, mixed ^ (mixed >> 31))
    }

    /// Runs until the time is up (`None`) or the engine stops.
    fn run(
        &mut self,
        until: Duration,
        mut server: impl FnMut(Duration) -> Answer,
    ) -> Option<StopReason> {
        let mut command = self.step(Input::Start);
        for _ in 0..1_000_000 {
            command = match command {
                _ if self.now >= until => return None,
                Command::Connect => {
                    self.connects.push(self.now);
                    self.answer(server(self.now), until)
                }
                Command::Wait(wait) => {
                    self.waits.push(wait);
                    self.sleep(wait, Input::TimerFired)
                }
                Command::Poll => {
                    self.polls.push(self.now);
                    self.step(Input::PollDone(self.poll_answer))
                }
                Command::Authenticate => {
                    self.callbacks += 1;
                    let answer = self.callback.pop_front();
                    self.step(answer.unwrap_or(Input::AuthRefused))
                }
                Command::Stop(reason) => return Some(reason),
                Command::Read | Command::Continue => panic!("{command:?} out of place"),
            };
        }
        panic!("the engine spins at {:?}", self.now);
    }

    fn answer(&mut self, answer: Answer, until: Duration) -> Command {
        let (lasts, bytes, end) = match answer {
            Answer::Fails(action) => return self.step(Input::Failed(action)),
            Answer::Streams(lasts) => (lasts, true, Input::Ended),
            Answer::Breaks(lasts) => (lasts, true, Input::Failed(classify(&Failure::default()))),
            Answer::Silent(lasts) => (lasts, false, Input::Ended),
            Answer::Mute(lasts) => (lasts, false, SILENT),
            Answer::Stalls(lasts) => (lasts, true, SILENT),
        };
        assert_eq!(self.step(Input::Opened), Command::Read);
        if bytes {
            assert_eq!(self.step(Input::Received), Command::Continue);
        }
        self.sleep(lasts.min(until.saturating_sub(self.now)), end)
    }

    /// Lets the time pass and says `then`, unless something from outside comes first and changes the plan.
    fn sleep(&mut self, wait: Duration, then: Input) -> Command {
        let end = self.now + wait;
        while let Some(&(at, input)) = self.outside.front()
            && at <= end
        {
            self.outside.pop_front();
            self.now = self.now.max(at);
            let command = self.step(input);
            if command != Command::Continue {
                return command;
            }
        }
        self.now = end;
        self.step(then)
    }

    fn polls_between(&self, from: Duration, to: Duration) -> usize {
        self.polls.iter().filter(|at| (from..to).contains(at)).count()
    }
}

// Every state × every input.

const ACTIONS: [FailureAction; 10] = [
    FailureAction::RetryTransient,
    FailureAction::RetrySilent,
    FailureAction::RetryAuth,
    FailureAction::RetryNewToken,
    FailureAction::RespectServer { retry_after: None },
    FailureAction::RespectServer { retry_after: Some(Duration::from_secs(40)) },
    FailureAction::DropCursor,
    FailureAction::RetrySlowly,
    FailureAction::PollInstead,
    FailureAction::PermanentFailure,
];

fn every_input() -> Vec<Input> {
    let mut inputs = vec![
        Input::Start,
        Input::Opened,
        Input::Received,
        Input::Ended,
        Input::ServerRetry(SECOND * 5),
        Input::TimerFired,
        Input::PollDone(Ok(())),
        Input::AuthRecovered,
        Input::AuthRefused,
        Input::TokenChanged,
        Input::NetworkChanged,
        Input::Shutdown,
    ];
    inputs.extend(ACTIONS.map(Input::Failed));
    inputs.extend(ACTIONS.map(|action| Input::PollDone(Err(action))));
    inputs
}

/// The situations a test can be in: how one gets there (at time 0), and when the input comes.
fn situations() -> Vec<(&'static str, Vec<Input>, Duration)> {
    use FailureAction::*;
    use Input::*;
    vec![
        ("idle", vec![], SECOND * 10),
        ("connecting", vec![Start], SECOND * 10),
        ("authenticating", vec![Start, Failed(RetryAuth)], SECOND * 10),
        ("young", vec![Start, Opened, Received], SECOND * 10),
        ("mute", vec![Start, Opened], SECOND * 100),
        ("third silence", third_silence(), SECOND * 220),
        ("healthy", vec![Start, Opened, Received], SECOND * 100),
        ("back-off", vec![Start, Failed(RetryTransient)], secs(0.5)),
        ("due", vec![Start, Failed(RetryTransient)], SECOND),
        ("slow", vec![Start, Failed(RetrySlowly)], SECOND * 10),
        ("polling", vec![Start, Failed(PollInstead)], SECOND * 10),
        ("stopped", vec![Start, Shutdown], SECOND * 10),
    ]
}

/// A stream that is open without a byte, after two others that stayed so. Two minutes have passed.
fn third_silence() -> Vec<Input> {
    use Input::*;
    vec![Start, Opened, SILENT, TimerFired, Opened, SILENT, TimerFired, Opened]
}

/// At the time 0; a timer that fires on the way does so a minute after what was before.
fn brought_to(path: &[Input], settings: ReconnectSettings) -> ReconnectEngine {
    let mut engine = ReconnectEngine::new(settings);
    let mut now = Duration::ZERO;
    for input in path {
        if *input == Input::TimerFired {
            now += MINUTE;
        }
        engine.step(*input, now, MID);
    }
    engine
}

/// The table of the module's page, in exact commands, under the contract's policy and without jitter.
fn expected(situation: &str, input: Input) -> Command {
    use Command::*;
    use FailureAction::*;
    use Input::*;
    let failed = |action| match action {
        RetryTransient | RetrySilent | DropCursor | RespectServer { retry_after: None } => {
            Wait(SECOND)
        }
        RespectServer { .. } => Wait(SECOND * 45),
        RetryAuth => Authenticate,
        RetryNewToken => Connect,
        RetrySlowly => Wait(MINUTE * 5),
        PollInstead => Poll,
        PermanentFailure => Stop(StopReason::Refused),
    };
    match (situation, input) {
        ("stopped", _) | (_, Shutdown) => Stop(StopReason::Shutdown),
        ("third silence", SILENT) => Poll,
        ("third silence", Ended | Failed(RetryTransient | DropCursor)) => Wait(SECOND * 4),
        ("third silence", Failed(RespectServer { retry_after: None })) => Wait(SECOND * 4),
        ("third silence", Failed(RetrySlowly)) => Wait(SECOND * 110), // the poll of the outage
        ("third silence", Opened | Received) => Continue,
        ("idle", Start) => Connect,
        ("connecting", Opened) => Read,
        ("connecting" | "young" | "mute" | "third silence" | "healthy", Failed(action)) => {
            failed(action)
        }
        ("connecting" | "young" | "mute", Ended) => Wait(SECOND),
        ("healthy", Ended) => Wait(SECOND / 2),
        ("connecting" | "young" | "mute" | "third silence", NetworkChanged) => Connect,
        ("healthy" | "slow", NetworkChanged) => Connect,
        ("authenticating", AuthRecovered) => Connect,
        ("authenticating", AuthRefused) => Stop(StopReason::Unauthorized),
        ("back-off", _) => Wait(SECOND / 2),
        ("due", _) => Connect,
        ("slow", TokenChanged | AuthRecovered) => Connect,
        ("slow", _) => Wait(SECOND * 290),
        ("polling", PollDone(Err(RetryAuth | RetrySlowly | PollInstead | PermanentFailure))) => {
            Wait(SECOND * 290)
        }
        ("polling", PollDone(_)) => Wait(MINUTE),
        _ => Continue,
    }
}

#[test]
fn issue3_every_state_times_every_input() {
    let mut walked = 0;
    for (name, path, at) in situations() {
        for input in every_input() {
            let mut engine = brought_to(&path, ReconnectSettings::default());
            let before = engine.state();
            let command = engine.step(input, at, MID);
            assert_eq!(command, expected(name, input), "{name} × {input:?}");
            match command {
                Command::Connect => assert_eq!(engine.state(), State::Connecting),
                Command::Wait(_) => assert_eq!(engine.state(), State::Waiting),
                Command::Poll => assert_eq!(engine.state(), State::Polling),
                Command::Authenticate => assert_eq!(engine.state(), State::Authenticating),
                Command::Stop(reason) => assert_eq!(engine.state(), State::Stopped(reason)),
                Command::Read => assert!(matches!(engine.state(), State::Streaming { .. })),
                Command::Continue => assert_eq!(
                    std::mem::discriminant(&engine.state()),
                    std::mem::discriminant(&before),
                    "{name} × {input:?}"
                ),
            }
            walked += 1;
        }
    }
    assert_eq!(walked, 12 * 32);
}

#[test]
fn l2_the_persistent_policy_never_stops_but_at_shutdown() {
    for (name, path, at) in situations() {
        for input in every_input() {
            let mut engine = brought_to(&path, persistent());
            let command = engine.step(input, at, MID);
            let may_stop = name == "stopped" || input == Input::Shutdown;
            assert_eq!(matches!(command, Command::Stop(_)), may_stop, "{name} × {input:?}");
        }
    }
}

#[test]
fn manager_parity_shutdown_in_every_state_is_a_clean_stop_and_stays() {
    for (name, path, at) in situations() {
        let mut engine = brought_to(&path, ReconnectSettings::default());
        let stop = Command::Stop(StopReason::Shutdown);
        assert_eq!(engine.step(Input::Shutdown, at, MID), stop, "{name}");
        for input in every_input() {
            assert_eq!(engine.step(input, at, MID), stop, "{name}, then {input:?}");
        }
    }
}

#[test]
fn l1_a_stop_keeps_its_first_reason() {
    let mut engine = brought_to(&[Input::Start], ReconnectSettings::default());
    let refused = Command::Stop(StopReason::Refused);
    let failed = Input::Failed(FailureAction::PermanentFailure);
    assert_eq!(engine.step(failed, SECOND, MID), refused);
    assert_eq!(engine.step(Input::Shutdown, SECOND, MID), refused);
}

// Back-off.

#[test]
fn reconnect_parity_delays_double_to_the_cap_within_a_quarter() {
    let mut sim = Sim::new(ReconnectSettings::default());
    assert_eq!(sim.run(MINUTE * 4, |_| status(500)), None);
    for (i, wait) in sim.waits.iter().take(8).enumerate() {
        let nominal = secs([1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0][i]);
        assert!(*wait >= nominal * 3 / 4 && *wait <= nominal * 5 / 4, "{i}: {wait:?}");
    }
    assert_ne!(sim.waits[6], sim.waits[7], "jitter is not constant");
}

#[test]
fn l3_accepting_and_closing_at_once_gets_12_connects_a_minute_at_most() {
    for answer in [
        Answer::Streams(Duration::ZERO),
        Answer::Silent(Duration::ZERO),
        Answer::Breaks(Duration::ZERO),
        status(200),
    ] {
        let mut sim = Sim::new(ReconnectSettings::default());
        assert_eq!(sim.run(MINUTE, |_| answer), None);
        let connects = sim.connects.len();
        assert!((5..=12).contains(&connects), "{answer:?}: {connects}");
    }
}

#[test]
fn parity_c_no_end_of_a_stream_is_a_hot_loop() {
    for seconds in [0, 1, 10, 59] {
        let mut sim = Sim::new(ReconnectSettings::default());
        sim.run(HOUR, |_| Answer::Streams(SECOND * seconds));
        let gaps = sim.connects.windows(2).map(|pair| pair[1] - pair[0] - SECOND * seconds);
        assert!(gaps.clone().all(|gap| gap >= SECOND * 3 / 4), "{seconds} s");
        assert!(gaps.clone().any(|gap| gap >= SECOND * 45), "{seconds} s");
    }
}

#[test]
fn l3_health_needs_a_minute_and_a_byte() {
    let cases = [
        (SECOND * 60, true, true),
        (SECOND * 60 - Duration::from_nanos(1), true, false),
        (HOUR, false, false),
    ];
    for (lasts, byte, healthy) in cases {
        let mut engine = brought_to(
            &[Input::Start, Input::Failed(FailureAction::RetryTransient)],
            ReconnectSettings::default(),
        );
        engine.step(Input::TimerFired, SECOND, MID);
        engine.step(Input::Opened, SECOND, MID);
        if byte {
            engine.step(Input::Received, SECOND, MID);
        }
        engine.step(Input::TimerFired, SECOND + lasts, MID);
        assert_eq!(engine.is_healthy(), healthy, "{lasts:?} {byte}");
        assert_eq!(engine.failures(), u32::from(!healthy));
        assert_eq!(engine.next_poll_at().is_none(), healthy);
    }
}

#[test]
fn l3_the_setting_changes_what_is_healthy() {
    let settings = ReconnectSettings { healthy_after: SECOND * 5, ..ReconnectSettings::default() };
    let mut engine = brought_to(&[Input::Start, Input::Opened], settings);
    engine.step(Input::Received, SECOND * 4, MID);
    assert!(!engine.is_healthy());
    engine.step(Input::Received, SECOND * 5, MID);
    assert!(engine.is_healthy());
}

#[test]
fn l3_a_clean_end_after_health_waits_between_nothing_and_the_base() {
    let mut sim = Sim::new(ReconnectSettings::default());
    sim.run(DAY, |_| Answer::Streams(MINUTE * 2));
    assert!(sim.waits.len() > 600);
    assert!(sim.waits.iter().all(|wait| *wait < SECOND));
    assert!(sim.waits.iter().any(|wait| *wait < SECOND / 10));
    assert!(sim.waits.iter().any(|wait| *wait > SECOND * 9 / 10));
}

#[test]
fn l4_jitter_fills_the_quarter_each_way_and_no_more() {
    let mut sim = Sim::new(ReconnectSettings::default());
    sim.run(DAY, |_| Answer::Breaks(MINUTE * 2));
    let waits: Vec<f64> = sim.waits.iter().map(Duration::as_secs_f64).collect();
    assert!(waits.len() > 600);
    assert!(waits.iter().all(|wait| (0.75..=1.25).contains(wait)));
    assert!(waits.iter().any(|wait| *wait < 0.78) && waits.iter().any(|wait| *wait > 1.22));
    let mean = waits.iter().sum::<f64>() / waits.len() as f64;
    assert!((0.97..1.03).contains(&mean), "{mean}");
}

// What the server asks for.

#[test]
fn l4_retry_of_zero_does_not_spin_and_of_a_year_does_not_stall() {
    for (said, base) in [
        (Duration::ZERO, SECOND),
        (SECOND * 7, SECOND * 7),
        (DAY * 365, MINUTE),
        (Duration::MAX, MINUTE),
    ] {
        let mut engine = brought_to(
            &[Input::Start, Input::Opened, Input::ServerRetry(said)],
            ReconnectSettings::default(),
        );
        let command = engine.step(Input::Ended, Duration::ZERO, MID);
        assert_eq!(command, Command::Wait(base), "retry: {said:?}");
    }
}

#[test]
fn parity_d_retry_is_the_new_base_of_the_back_off_and_of_the_spread() {
    let settings =
        ReconnectSettings { polling_after: Duration::MAX, ..ReconnectSettings::default() };
    let mut engine = brought_to(
        &[Input::Start, Input::Opened, Input::Received, Input::ServerRetry(SECOND * 10)],
        settings,
    );
    let mut now = MINUTE * 2;
    assert_eq!(engine.step(Input::Ended, now, MID), Command::Wait(SECOND * 5));
    for nominal in [10, 20, 40, 60, 60] {
        now += MINUTE;
        assert_eq!(engine.step(Input::TimerFired, now, MID), Command::Connect);
        let failed = Input::Failed(FailureAction::RetryTransient);
        assert_eq!(engine.step(failed, now, MID), Command::Wait(SECOND * nominal));
    }
}

#[test]
fn issue6_the_first_reconnect_after_a_healthy_stream_is_spread_and_no_other() {
    let settings = ReconnectSettings {
        reconnect_spread: SECOND * 40,
        polling_after: Duration::MAX,
        ..ReconnectSettings::default()
    };
    let transient = Input::Failed(FailureAction::RetryTransient);
    let busy = Input::Failed(FailureAction::RespectServer { retry_after: Some(SECOND * 30) });
    for (input, least, most) in
        [(Input::Ended, 0.0, 41.0), (transient, 0.75, 41.25), (busy, 30.0, 77.5)]
    {
        let (mut lowest, mut highest) = (Duration::MAX, Duration::ZERO);
        // A random number of zero is no wait at all: it connects at once.
        for seed in 1..500_u64 {
            let mut engine =
                brought_to(&[Input::Start, Input::Opened, Input::Received], settings.clone());
            let random = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
            let Command::Wait(wait) = engine.step(input, MINUTE * 2, random) else {
                panic!("{input:?}")
            };
            assert!(wait >= secs(least) && wait <= secs(most), "{input:?}: {wait:?}");
            (lowest, highest) = (lowest.min(wait), highest.max(wait));

            // What fails from then on is backed off as ever.
            let now = MINUTE * 2 + wait;
            assert_eq!(engine.step(Input::TimerFired, now, random), Command::Connect);
            let Command::Wait(next) = engine.step(transient, now, random) else {
                panic!("{input:?}")
            };
            assert!(next <= secs(2.5), "{input:?}: {next:?}");
        }
        let window = secs(most - least);
        assert!(highest - lowest > window * 9 / 10, "{input:?}: {lowest:?} to {highest:?}");
    }
}

#[test]
fn issue6_there_is_no_spread_by_default_and_none_after_a_stream_that_was_not_healthy() {
    assert_eq!(ReconnectSettings::default().reconnect_spread, Duration::ZERO);
    let settings =
        ReconnectSettings { reconnect_spread: SECOND * 40, ..ReconnectSettings::default() };
    for before in [&[Input::Start][..], &[Input::Start, Input::Opened, Input::Received]] {
        let mut engine = brought_to(before, settings.clone());
        assert_eq!(engine.step(Input::Ended, SECOND, MID), Command::Wait(SECOND), "{before:?}");
    }
}

#[test]
fn l4_retry_after_is_a_lower_bound_and_capped() {
    let four_years = DAY * 365 * 4;
    for (said, least, most) in [
        (Duration::ZERO, 0.75, 1.25),
        (SECOND / 2, 0.75, 1.25),
        (SECOND * 30, 30.0, 37.5),
        (SECOND * 299, 299.0, 375.0),
        (four_years, 300.0, 375.0),
        (Duration::MAX, 300.0, 375.0),
    ] {
        for code in [429, 503] {
            for seed in 0..200_u64 {
                let mut engine = brought_to(&[Input::Start], ReconnectSettings::default());
                let Answer::Fails(action) = status_after(code, said) else {
                    panic!("a status is a failure")
                };
                let random = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
                let command = engine.step(Input::Failed(action), SECOND, random);
                let Command::Wait(wait) = command else { panic!("{command:?}") };
                assert!(wait >= secs(least) && wait <= secs(most), "{code} {said:?}: {wait:?}");
            }
        }
    }
}

#[test]
fn parity_e_a_retry_after_shorter_than_the_back_off_does_not_undercut_it() {
    let mut sim = Sim::new(ReconnectSettings::default());
    sim.run(HOUR, |_| status_after(503, SECOND));
    assert!(sim.connects.len() < 80, "{}", sim.connects.len());
}

#[test]
fn parity_e_429_without_a_usable_value_backs_off_and_reaches_polling() {
    let mut sim = Sim::new(ReconnectSettings::default());
    sim.run(MINUTE * 10, |_| status(429));
    assert!(sim.waits[5] > SECOND * 20 && sim.connects.len() < 20);
    assert!(sim.polls_between(MINUTE * 5, MINUTE * 6) >= 1);
}

#[test]
fn parity_e_retry_after_is_honoured_while_polling() {
    let mut sim = Sim::new(ReconnectSettings::default());
    sim.run(HOUR, |_| status_after(503, MINUTE * 4));
    let gaps = sim.connects.windows(2).map(|pair| pair[1] - pair[0]);
    assert!(gaps.clone().count() > 8);
    assert!(gaps.clone().all(|gap| gap >= MINUTE * 4), "never sooner");
    assert!(gaps.clone().all(|gap| gap <= MINUTE * 5), "and not much later");
    assert!(sim.polls.len() > 45, "polling keeps its own pace: {}", sim.polls.len());

    let mut sim = Sim::new(ReconnectSettings::default());
    sim.poll_answer = Err(FailureAction::RespectServer { retry_after: Some(MINUTE * 3) });
    sim.run(HOUR, |_| status(500));
    assert!(sim.polls.windows(2).all(|pair| pair[1] - pair[0] >= MINUTE * 3));
    assert!(sim.polls.len() > 10);
}

// Polling.

#[test]
fn contract_page_five_minutes_of_503_then_polling_then_recovery() {
    let mut sim = Sim::new(ReconnectSettings::default());
    let recovers = MINUTE * 20;
    sim.run(HOUR, |now| if now < recovers { status(503) } else { Answer::Streams(DAY) });
    let first_poll = sim.polls[0];
    assert!(first_poll >= MINUTE * 5 && first_poll < MINUTE * 6, "{first_poll:?}");
    for pair in sim.polls.windows(2) {
        let gap = pair[1] - pair[0];
        assert!(gap >= SECOND * 45 && gap <= SECOND * 75, "{gap:?}");
        assert_ne!(gap, MINUTE, "jittered");
    }
    let tried = sim.connects.iter().filter(|at| **at > first_poll && **at < recovers).count();
    assert!(tried >= 11, "the stream is still tried while polling: {tried}");
    let last = *sim.connects.last().expect("connected");
    assert!(last >= recovers && last <= recovers + SECOND * 75, "{last:?}");
    assert_eq!(sim.polls_between(last, HOUR), 0, "a good stream ends polling");
}

#[test]
fn l9_polling_pauses_for_a_stream_and_resumes_if_it_was_not_healthy() {
    let mut sim = Sim::new(ReconnectSettings::default());
    // From minute 20 on, each stream lasts 50 s: never healthy.
    sim.run(HOUR, |now| if now < MINUTE * 20 { status(500) } else { Answer::Streams(SECOND * 50) });
    let opened: Vec<_> = sim.connects.iter().filter(|at| **at >= MINUTE * 20).collect();
    assert!(opened.len() > 10);
    for at in opened {
        assert_eq!(sim.polls_between(*at + SECOND / 100, *at + SECOND * 50), 0);
    }
    assert!(sim.polls_between(MINUTE * 20, HOUR) > 15);
    assert!(sim.engine.is_polling());
}

#[test]
fn l9_a_healthy_stream_ends_polling_and_a_new_outage_counts_from_its_own_start() {
    let mut sim = Sim::new(ReconnectSettings::default());
    let (opens, breaks) = (MINUTE * 20, MINUTE * 30);
    sim.run(MINUTE * 40, |now| {
        if (opens..breaks).contains(&now) { Answer::Breaks(breaks - now) } else { status(500) }
    });
    assert!(sim.polls_between(Duration::ZERO, opens) > 10);
    assert_eq!(sim.polls_between(opens + MINUTE * 2, breaks + MINUTE * 5), 0);
    assert!(sim.polls_between(breaks + MINUTE * 5, MINUTE * 40) >= 3);
}

#[test]
fn l9_polling_starts_late_only_because_a_stream_is_open() {
    let mut engine = brought_to(
        &[Input::Start, Input::Failed(FailureAction::RetryTransient)],
        ReconnectSettings::default(),
    );
    engine.step(Input::TimerFired, SECOND, MID);
    engine.step(Input::Opened, MINUTE * 5 + SECOND * 20, MID);
    assert_eq!(engine.step(Input::Received, MINUTE * 6, MID), Command::Continue);
    assert_eq!(engine.step(Input::Ended, MINUTE * 6 + SECOND, MID), Command::Poll);
}

#[test]
fn l9_the_first_polls_of_a_fleet_are_spread_over_one_interval() {
    let mut earliest = DAY;
    let mut latest = Duration::ZERO;
    for seed in 0..500_u64 {
        let mut engine = brought_to(&[Input::Start], ReconnectSettings::default());
        let random = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        engine.step(Input::Failed(FailureAction::RetryTransient), Duration::ZERO, random);
        let at = engine.next_poll_at().expect("an outage has begun");
        (earliest, latest) = (earliest.min(at), latest.max(at));
    }
    assert!(earliest >= MINUTE * 5 && earliest < MINUTE * 5 + SECOND);
    assert!(latest < MINUTE * 6 && latest > MINUTE * 6 - SECOND);
}

#[test]
fn b3_no_stream_here_polls_at_once_and_looks_for_one_slowly() {
    for code in [204, 501] {
        let mut sim = Sim::new(ReconnectSettings::default());
        assert_eq!(sim.run(DAY, |_| status(code)), None);
        assert_eq!(sim.polls[0], Duration::ZERO);
        assert!((1300..1600).contains(&sim.polls.len()), "{}", sim.polls.len());
        assert!((24..40).contains(&sim.connects.len()), "{}", sim.connects.len());
    }
}

#[test]
fn issue5_the_third_silent_stream_in_a_row_polls_at_once_and_the_stream_is_still_tried() {
    let mut sim = Sim::new(ReconnectSettings::default());
    sim.run(HOUR, |_| Answer::Mute(SECOND * 90));
    let third_end = sim.connects[2] + SECOND * 90;
    assert_eq!(sim.polls[0], third_end, "at once, and not after five minutes");
    assert!(third_end < MINUTE * 5);
    assert!(sim.polls.len() > 15 && sim.engine.is_polling());
    assert!(sim.connects.len() > 20, "the stream is still tried: {}", sim.connects.len());
    assert_eq!(sim.engine.silences() as usize, sim.connects.len());

    // Polling that is set to never take over does so all the same: there is no stream to wait for.
    let never = ReconnectSettings { polling_after: Duration::MAX, ..ReconnectSettings::default() };
    let mut sim = Sim::new(never);
    sim.run(MINUTE * 10, |_| Answer::Mute(SECOND * 90));
    assert_eq!(sim.polls[0], sim.connects[2] + SECOND * 90);
}

#[test]
fn issue5_headers_that_never_come_are_a_silence_too() {
    let mut sim = Sim::new(ReconnectSettings::default());
    sim.run(MINUTE * 3, |_| Answer::Fails(FailureAction::RetrySilent));
    assert_eq!(sim.polls[0], sim.connects[2]);
}

#[test]
fn issue5_a_byte_and_a_new_network_forget_the_silences_and_nothing_else_does() {
    use Input::*;
    let transient = Failed(FailureAction::RetryTransient);
    for (between, silences) in [
        (vec![Opened, Received, SILENT], 0),
        (vec![Opened, Received, Ended], 0),
        (vec![Opened, TimerFired, NetworkChanged, SILENT], 1),
        (vec![Opened, Ended], 2),
        (vec![transient], 2),
        (vec![Opened, TimerFired, SILENT], 3),
    ] {
        let mut path = vec![Start, Opened, SILENT, TimerFired, Opened, SILENT, TimerFired];
        path.extend(&between);
        let engine = brought_to(&path, ReconnectSettings::default());
        assert_eq!(engine.silences(), silences, "{between:?}");
        assert_eq!(engine.is_polling(), silences >= SILENCES_BEFORE_POLLING, "{between:?}");
    }
}

#[test]
fn issue5_a_stream_that_stalls_after_its_first_bytes_is_not_taken_for_buffered() {
    let mut sim = Sim::new(ReconnectSettings::default());
    sim.run(MINUTE * 5, |_| Answer::Stalls(SECOND * 30));
    assert!(sim.connects.len() > 5);
    assert!(sim.polls.is_empty());
}

#[test]
fn issue5_a_stream_that_flows_again_ends_the_polling_of_silent_ones() {
    let mut sim = Sim::new(ReconnectSettings::default());
    let mends = MINUTE * 10;
    sim.run(HOUR, |now| if now < mends { Answer::Mute(SECOND * 90) } else { Answer::Streams(DAY) });
    assert!(sim.polls_between(Duration::ZERO, mends) > 2);
    let last = *sim.connects.last().expect("connected");
    assert!(last < mends + MINUTE * 3, "{last:?}");
    assert_eq!(sim.polls_between(last, HOUR), 0);
    assert_eq!(sim.engine.silences(), 0);
}

#[test]
fn contract_page_the_polling_settings_are_in_force() {
    let settings = ReconnectSettings {
        polling_after: MINUTE,
        poll_interval: SECOND * 10,
        ..ReconnectSettings::default()
    };
    let mut sim = Sim::new(settings);
    sim.run(MINUTE * 11, |_| status(500));
    assert!(sim.polls[0] >= MINUTE && sim.polls[0] < SECOND * 70);
    assert!((50..75).contains(&sim.polls.len()), "{}", sim.polls.len());

    let never = ReconnectSettings { polling_after: Duration::MAX, ..ReconnectSettings::default() };
    let mut sim = Sim::new(never);
    sim.run(DAY, |_| status(500));
    assert!(sim.polls.is_empty());
}

#[test]
fn l3_a_healthy_day_with_a_drop_every_hour_never_reaches_polling() {
    for answer in [Answer::Streams(HOUR), Answer::Breaks(HOUR)] {
        let mut sim = Sim::new(ReconnectSettings::default());
        assert_eq!(sim.run(DAY, |_| answer), None);
        assert_eq!(sim.connects.len(), 24);
        assert!(sim.polls.is_empty() && !sim.engine.is_polling());
        assert!(sim.waits.iter().all(|wait| *wait <= SECOND * 5 / 4));
    }
}

#[test]
fn also_found_2_healthy_sessions_that_fall_silent_are_not_one_outage() {
    // Each session works for two minutes, then the idle limit of 90 s ends it.
    let mut sim = Sim::new(ReconnectSettings::default());
    sim.run(SECOND * 210 * 12, |_| Answer::Breaks(SECOND * 210));
    assert_eq!(sim.connects.len(), 12);
    assert!(sim.polls.is_empty());
    assert!(sim.waits.iter().all(|wait| *wait <= SECOND * 5 / 4), "the gaps do not grow");
}

#[test]
fn also_found_2_alternating_empty_200_and_500_reaches_polling() {
    let mut sim = Sim::new(ReconnectSettings::default());
    let mut turn = 0;
    sim.run(MINUTE * 10, |_| {
        turn += 1;
        if turn % 2 == 0 { status(500) } else { Answer::Silent(Duration::ZERO) }
    });
    assert!(sim.polls_between(MINUTE * 5, MINUTE * 6) >= 1);
    assert!(sim.connects.len() < 20, "{}", sim.connects.len());
}

// Refusals.

#[test]
fn contract_page_403_and_404_stop() {
    for code in [403, 404] {
        let mut sim = Sim::new(ReconnectSettings::default());
        assert_eq!(sim.run(DAY, |_| status(code)), Some(StopReason::Refused));
        assert_eq!((sim.connects.len(), sim.callbacks), (1, 0));
    }
}

#[test]
fn contract_page_401_asks_the_callback_then_stops() {
    let mut sim = Sim::new(ReconnectSettings::default());
    assert_eq!(sim.run(DAY, |_| status(401)), Some(StopReason::Unauthorized));
    assert_eq!((sim.connects.len(), sim.callbacks), (1, 1));
}

#[test]
fn issue3_a_token_from_the_callback_is_tried_at_once_and_the_loop_goes_on() {
    let mut sim = Sim::new(ReconnectSettings::default());
    sim.callback = [Input::AuthRecovered].into();
    let mut answers = [status(401)].into_iter();
    assert_eq!(sim.run(HOUR, |_| answers.next().unwrap_or(Answer::Streams(DAY))), None);
    assert_eq!(sim.connects, [Duration::ZERO; 2]);
}

#[test]
fn issue3_a_token_changed_since_is_tried_once_without_the_callback() {
    let mut sim = Sim::new(ReconnectSettings::default());
    let mut failure = Failure::with_status(401);
    failure.token_changed_since = true;
    let mut answers = [Answer::Fails(classify(&failure))].into_iter();
    let reason = sim.run(HOUR, |_| answers.next().unwrap_or(status(401)));
    assert_eq!(reason, Some(StopReason::Unauthorized));
    assert_eq!(sim.connects, [Duration::ZERO; 2]);
    assert_eq!(sim.callbacks, 1);
}

#[test]
fn l4_a_callback_that_makes_useless_tokens_does_not_storm() {
    let mut sim = Sim::new(ReconnectSettings::default());
    sim.callback = vec![Input::AuthRecovered; 10_000].into();
    assert_eq!(sim.run(HOUR, |_| status(401)), None);
    assert!((50..90).contains(&sim.connects.len()), "{}", sim.connects.len());
    assert!(sim.polls_between(MINUTE * 5, MINUTE * 7) >= 1, "and reaches polling");
}

#[test]
fn l2_six_hours_of_401_under_the_persistent_policy_then_success() {
    let mut sim = Sim::new(persistent());
    let renewed = HOUR * 6;
    sim.outside = [(renewed, Input::TokenChanged)].into();
    sim.poll_answer = Err(FailureAction::RetryAuth);
    let reason =
        sim.run(HOUR * 12, |now| if now < renewed { status(401) } else { Answer::Streams(DAY) });
    assert_eq!(reason, None);
    let before = sim.connects.iter().filter(|at| **at < renewed).count();
    assert!((8..=13).contains(&before), "5 min doubling to 1 h: {before}");
    assert_eq!(sim.callbacks, before, "each refusal asks for a new token");
    assert_eq!(sim.connects.last(), Some(&renewed), "woken at once by the new token");
    let polls = sim.polls_between(Duration::ZERO, renewed);
    assert!((5..=13).contains(&polls), "refused polls are slow too: {polls}");
    assert!(sim.engine.is_healthy() || sim.polls_between(renewed, HOUR * 12) == 0);
}

#[test]
fn l2_the_slow_schedule_doubles_from_five_minutes_to_an_hour() {
    let mut engine = brought_to(
        &[Input::Start],
        ReconnectSettings { polling_after: Duration::MAX, ..persistent() },
    );
    let mut now = Duration::ZERO;
    for minutes in [5, 10, 20, 40, 60, 60] {
        let failed = Input::Failed(FailureAction::PermanentFailure);
        assert_eq!(engine.step(failed, now, MID), Command::Wait(MINUTE * minutes));
        now += MINUTE * minutes;
        assert_eq!(engine.step(Input::TimerFired, now, MID), Command::Connect);
    }
}

#[test]
fn l2_every_new_token_after_hours_is_tried_at_once() {
    let mut sim = Sim::new(persistent());
    let changes: Vec<Duration> = (1..6).map(|hour| HOUR * hour + SECOND).collect();
    sim.outside = changes.iter().map(|at| (*at, Input::TokenChanged)).collect();
    sim.run(HOUR * 6, |_| status(403));
    for at in changes {
        let tried = sim.connects.iter().find(|connect| **connect >= at);
        assert!(tried.is_some_and(|tried| *tried <= at + MINUTE), "{at:?}: {tried:?}");
    }
}

#[test]
fn l2_a_new_token_does_not_shorten_a_back_off_that_it_cannot_mend() {
    let mut engine = brought_to(
        &[Input::Start, Input::Failed(FailureAction::RespectServer { retry_after: Some(MINUTE) })],
        ReconnectSettings::default(),
    );
    let command = engine.step(Input::TokenChanged, SECOND, MID);
    assert_eq!(command, Command::Wait(secs(66.5)));

    let mut engine = Script::new(never_polling());
    engine.fails_each_time(1, FailureAction::RetrySlowly);
    let command = engine.says(Input::TimerFired);
    engine.waits_until(command, Command::Connect);
    let command = engine.says(Input::Failed(FailureAction::RetryTransient));
    assert_eq!(engine.says(Input::TokenChanged), command, "no longer refused");

    let mut engine = Script::new(ReconnectSettings::default());
    engine.waits_for_a_poll();
    let due = engine.engine.next_connect_at();
    assert_eq!(engine.says(Input::TokenChanged), Command::Continue);
    assert_eq!(engine.engine.next_connect_at(), due, "during a poll neither");
}

#[test]
fn also_found_3_other_4xx_never_stop_and_reach_polling() {
    for code in [400, 402, 405, 406, 410, 413, 422, 451] {
        let mut sim = Sim::new(ReconnectSettings::default());
        assert_eq!(sim.run(DAY, |_| status(code)), None);
        assert!((24..40).contains(&sim.connects.len()), "{code}: {}", sim.connects.len());
        assert!(sim.polls_between(MINUTE * 5, MINUTE * 6) >= 1, "{code}");
        assert!(sim.polls.len() > 1300, "{code}: {}", sim.polls.len());
    }
}

#[test]
fn parity_f_a_refused_cursor_is_retried_with_back_off_without_it() {
    let mut sim = Sim::new(ReconnectSettings::default());
    let mut cursor = true;
    sim.run(HOUR, |_| {
        let mut failure = Failure::with_status(400);
        failure.cursor_sent = cursor;
        let action = classify(&failure);
        if action.drops_cursor() {
            cursor = false;
            return Answer::Fails(action);
        }
        Answer::Streams(DAY)
    });
    assert_eq!(sim.connects.len(), 2);
    assert!(sim.connects[1] <= SECOND * 5 / 4);
}

// The network.

#[test]
fn l6_a_network_change_resets_the_back_off_and_connects_now() {
    let mut sim = Sim::new(persistent());
    sim.outside = [(HOUR, Input::NetworkChanged)].into();
    sim.run(HOUR + SECOND * 2, |_| status(403));
    assert!(sim.connects.contains(&HOUR));

    let mut sim = Sim::new(ReconnectSettings::default());
    sim.outside = [(HOUR, Input::NetworkChanged)].into();
    sim.run(HOUR * 2, |now| if now < HOUR { Answer::Breaks(DAY) } else { status(500) });
    assert_eq!(sim.connects[..2], [Duration::ZERO, HOUR], "an open stream may be dead");
    let second = sim.connects[2] - HOUR;
    assert!(second <= SECOND * 5 / 4, "the back-off starts anew: {second:?}");
}

#[test]
fn l6_network_changes_connect_once_a_second_at_most_and_never_starve() {
    let mut sim = Sim::new(ReconnectSettings::default());
    sim.outside =
        (1..600_u64).map(|i| (Duration::from_millis(i * 100), Input::NetworkChanged)).collect();
    sim.run(MINUTE, |_| Answer::Streams(DAY));
    assert!(sim.connects.windows(2).all(|pair| pair[1] - pair[0] >= SECOND));
    assert!((40..=60).contains(&sim.connects.len()), "{}", sim.connects.len());
}

#[test]
fn l6_a_network_change_during_a_poll_or_the_callback_cuts_neither() {
    let now = MINUTE;
    let polling = [Input::Start, Input::Failed(FailureAction::PollInstead)];
    let mut engine = brought_to(&polling, ReconnectSettings::default());
    assert_eq!(engine.step(Input::NetworkChanged, now, MID), Command::Continue);
    assert_eq!(engine.step(Input::PollDone(Ok(())), now, MID), Command::Connect);

    let asking = [Input::Start, Input::Failed(FailureAction::RetryAuth)];
    let mut engine = brought_to(&asking, ReconnectSettings::default());
    assert_eq!(engine.step(Input::NetworkChanged, now, MID), Command::Continue);
    assert_eq!(engine.step(Input::AuthRecovered, now, MID), Command::Connect);
}

#[test]
fn l5_timers_may_fire_early_late_and_twice() {
    let failed = [Input::Start, Input::Failed(FailureAction::RetryTransient)];
    let mut engine = brought_to(&failed, ReconnectSettings::default());
    for tenth in 1..10 {
        let command = engine.step(Input::TimerFired, SECOND * tenth / 10, MID);
        assert_eq!(command, Command::Wait(SECOND * (10 - tenth) / 10));
    }
    assert_eq!(engine.step(Input::TimerFired, HOUR, MID), Command::Poll);
    assert_eq!(engine.step(Input::TimerFired, HOUR, MID), Command::Continue);
    assert_eq!(engine.step(Input::PollDone(Ok(())), HOUR, MID), Command::Connect);
    assert_eq!(engine.step(Input::TimerFired, HOUR, MID), Command::Continue);
}

#[test]
fn l6_a_network_change_starts_both_schedules_anew() {
    for (action, first) in
        [(FailureAction::RetryTransient, SECOND), (FailureAction::RetrySlowly, MINUTE * 5)]
    {
        let mut engine = Script::new(never_polling());
        engine.fails_each_time(5, action);
        assert_eq!(engine.says(Input::NetworkChanged), Command::Connect);
        assert_eq!(engine.says(Input::Failed(action)), Command::Wait(first));
    }
}

#[test]
fn l6_an_open_stream_lost_to_a_network_change_begins_an_outage() {
    let opened = [Input::Start, Input::Opened];
    let mut engine = brought_to(&opened, ReconnectSettings::default());
    engine.step(Input::NetworkChanged, MINUTE, MID);
    let first_poll = MINUTE * 6 + SECOND * 30;
    assert_eq!(engine.next_poll_at(), Some(first_poll));
    // Where both are due, what somebody asked for comes first.
    let failed = Input::Failed(FailureAction::RespectServer { retry_after: Some(MINUTE * 5) });
    engine.step(failed, MINUTE * 6, MID);
    let mut polls = engine.clone();
    assert_eq!(polls.step(Input::TimerFired, first_poll, MID), Command::Poll);
    assert_eq!(engine.step(Input::NetworkChanged, first_poll, MID), Command::Connect);
}

// What a healthy stream and a new token make good.

/// An engine and its clock, without jitter, for tests that tell a story.
struct Script {
    engine: ReconnectEngine,
    now: Duration,
}

impl Script {
    fn new(settings: ReconnectSettings) -> Self {
        Self { engine: brought_to(&[Input::Start], settings), now: Duration::ZERO }
    }

    fn says(&mut self, input: Input) -> Command {
        self.engine.step(input, self.now, MID)
    }

    /// Lets the connects fail, and waits for the next one each time.
    fn fails_each_time(&mut self, times: usize, action: FailureAction) {
        for _ in 0..times {
            let command = self.says(Input::Failed(action));
            self.waits_until(command, Command::Connect);
        }
        let waits = self.says(Input::Failed(action));
        assert!(matches!(waits, Command::Wait(_)), "{waits:?}");
        self.now += NETWORK_CHANGE_GAP * 2;
    }

    /// Waits, once or more, until this command comes.
    fn waits_until(&mut self, mut command: Command, wanted: Command) {
        while let Command::Wait(wait) = command {
            self.now += wait;
            command = self.says(Input::TimerFired);
        }
        assert_eq!(command, wanted);
    }

    /// Waits for the next poll, while the stream is broken.
    fn waits_for_a_poll(&mut self) {
        let mut command = self.says(Input::TimerFired);
        while command != Command::Poll {
            command = match command {
                Command::Wait(wait) => {
                    self.now += wait;
                    self.says(Input::TimerFired)
                }
                _ => self.says(Input::Failed(FailureAction::RetryTransient)),
            };
        }
    }

    /// A stream opens and is read for two minutes.
    fn is_healthy_for_a_while(&mut self) {
        assert_eq!(self.says(Input::Opened), Command::Read);
        self.now += MINUTE * 2;
        assert_eq!(self.says(Input::Received), Command::Continue);
        assert!(self.engine.is_healthy());
    }
}

fn never_polling() -> ReconnectSettings {
    ReconnectSettings { polling_after: Duration::MAX, ..persistent() }
}

#[test]
fn l3_a_healthy_stream_resets_the_slow_schedule_too() {
    let mut engine = Script::new(never_polling());
    engine.fails_each_time(4, FailureAction::RetrySlowly);
    let command = engine.says(Input::TimerFired);
    engine.waits_until(command, Command::Connect);
    engine.is_healthy_for_a_while();
    let refused = Input::Failed(FailureAction::RetrySlowly);
    assert_eq!(engine.says(refused), Command::Wait(MINUTE * 5));
}

#[test]
fn l3_a_healthy_stream_resets_the_count_of_new_tokens() {
    let mut engine = Script::new(never_polling());
    for round in 0..3 {
        let refused = Input::Failed(FailureAction::RetryNewToken);
        assert_eq!(engine.says(refused), Command::Connect, "{round}: the first at once");
        let command = engine.says(refused);
        assert_eq!(command, Command::Wait(SECOND), "{round}: the next after a gap");
        engine.waits_until(command, Command::Connect);
        engine.is_healthy_for_a_while();
    }
}

#[test]
fn l9_the_time_to_polling_counts_from_the_end_of_a_healthy_stream() {
    for end in [Input::Ended, Input::Failed(FailureAction::RetryTransient)] {
        let mut engine = Script::new(persistent());
        engine.is_healthy_for_a_while();
        assert_eq!(engine.engine.next_poll_at(), None);
        engine.says(end);
        let first = engine.now + MINUTE * 5 + SECOND * 30;
        assert_eq!(engine.engine.next_poll_at(), Some(first));
    }
}

#[test]
fn l9_no_stream_here_does_not_poll_again_while_polling() {
    let mut engine = Script::new(persistent());
    assert_eq!(engine.says(Input::Failed(FailureAction::PollInstead)), Command::Poll);
    assert_eq!(engine.says(Input::PollDone(Ok(()))), Command::Wait(MINUTE));
    engine.now += SECOND * 20;
    assert_eq!(engine.says(Input::NetworkChanged), Command::Connect);
    let again = engine.says(Input::Failed(FailureAction::PollInstead));
    assert_eq!(again, Command::Wait(SECOND * 40));
}

#[test]
fn l2_refused_polls_slow_down_until_something_gives_hope() {
    type Hope = fn(&mut Script);
    let hopes: [(&str, Hope); 4] = [
        ("a poll that works", |engine| {
            engine.waits_for_a_poll();
            engine.says(Input::PollDone(Ok(())));
        }),
        ("a new token", |engine| {
            engine.says(Input::TokenChanged);
        }),
        ("another network", |engine| {
            engine.says(Input::NetworkChanged);
        }),
        ("a healthy stream", |engine| {
            let command = engine.says(Input::TimerFired);
            engine.waits_until(command, Command::Connect);
            engine.is_healthy_for_a_while();
        }),
    ];
    for (name, hope) in hopes {
        let mut engine = Script::new(persistent());
        engine.says(Input::Failed(FailureAction::RetryTransient));
        for minutes in [5, 10, 20, 5] {
            if minutes == 5 && engine.engine.is_polling() {
                hope(&mut engine);
            }
            engine.waits_for_a_poll();
            engine.says(Input::PollDone(Err(FailureAction::PermanentFailure)));
            let due = engine.now + MINUTE * minutes;
            assert_eq!(engine.engine.next_poll_at(), Some(due), "{name}");
        }
    }
}

#[test]
fn l2_a_new_token_brings_a_slow_poll_forward_by_itself() {
    let mut engine = Script::new(persistent());
    engine.says(Input::Failed(FailureAction::PollInstead));
    engine.says(Input::PollDone(Err(FailureAction::RetryAuth)));
    assert_eq!(engine.engine.next_poll_at(), Some(MINUTE * 5));
    engine.now += SECOND;
    assert_eq!(engine.says(Input::TokenChanged), Command::Connect);
    assert_eq!(engine.engine.next_poll_at(), Some(SECOND * 61));
}

#[test]
fn l2_a_new_token_during_a_poll_connects_as_soon_as_that_is_done() {
    let mut engine = Script::new(persistent());
    engine.says(Input::Failed(FailureAction::PollInstead));
    assert_eq!(engine.says(Input::TokenChanged), Command::Continue);
    assert_eq!(engine.says(Input::PollDone(Ok(()))), Command::Connect);
}

#[test]
fn l2_a_new_token_starts_the_slow_schedule_anew_and_never_puts_a_connect_off() {
    let mut engine = Script::new(never_polling());
    engine.fails_each_time(3, FailureAction::PermanentFailure);
    assert_eq!(engine.says(Input::TokenChanged), Command::Connect);
    let refused = Input::Failed(FailureAction::PermanentFailure);
    assert_eq!(engine.says(refused), Command::Wait(MINUTE * 5));

    let quick = ReconnectSettings { slow_interval: SECOND, ..never_polling() };
    let mut engine = Script::new(quick);
    for _ in 0..6 {
        let command = engine.says(Input::Failed(FailureAction::RetryNewToken));
        engine.waits_until(command, Command::Connect);
    }
    assert_eq!(engine.says(refused), Command::Wait(SECOND));
    assert_eq!(engine.says(Input::TokenChanged), Command::Wait(SECOND));
}

// The value itself.

#[test]
fn issue6_an_engine_is_small_and_its_clones_share_the_settings() {
    let size = std::mem::size_of::<ReconnectEngine>();
    assert!(size < 200, "{size} bytes");
    let engine = ReconnectEngine::new(ReconnectSettings::default());
    let clone = engine.clone();
    assert!(Arc::ptr_eq(&engine.settings, &clone.settings));
}

#[test]
fn l4_settings_without_sense_are_mended() {
    let settings = ReconnectSettings {
        base_interval: Duration::ZERO,
        max_interval: Duration::ZERO,
        poll_interval: Duration::ZERO,
        slow_interval: Duration::ZERO,
        slow_max_interval: Duration::ZERO,
        polling_after: Duration::ZERO,
        policy: FailurePolicy::Persistent,
        ..ReconnectSettings::default()
    };
    for code in [204, 403, 429, 500] {
        let mut sim = Sim::new(settings.clone());
        sim.run(SECOND, |_| status(code));
        let requests = sim.connects.len() + sim.polls.len();
        assert!((100..300).contains(&requests), "{code}: {requests}");
    }
}

#[test]
fn l4_the_largest_settings_do_not_overflow() {
    let settings = ReconnectSettings {
        base_interval: Duration::MAX,
        poll_interval: Duration::MAX,
        slow_interval: Duration::MAX,
        healthy_after: Duration::MAX,
        ..persistent()
    };
    for (name, path, _) in situations() {
        for input in every_input() {
            let mut engine = brought_to(&path, settings.clone());
            for now in [Duration::ZERO, DAY, Duration::MAX, Duration::MAX] {
                engine.step(input, now, u64::MAX);
            }
            let stopped = matches!(engine.state(), State::Stopped(_));
            let may_stop = name == "stopped" || input == Input::Shutdown;
            assert_eq!(stopped, may_stop, "{name} × {input:?}");
        }
    }
}

// Any sequence of inputs.

fn any_input() -> impl Strategy<Value = Input> {
    let durations = prop_oneof![
        Just(Duration::ZERO),
        Just(Duration::MAX),
        (0..400_000_u64).prop_map(Duration::from_millis),
    ];
    let mut inputs = every_input();
    inputs.retain(|input| *input != Input::Shutdown);
    prop_oneof![
        8 => proptest::sample::select(inputs),
        4 => Just(Input::TimerFired),
        2 => Just(Input::Opened),
        2 => Just(Input::Received),
        1 => durations.clone().prop_map(Input::ServerRetry),
        1 => durations.prop_map(|after| Input::Failed(FailureAction::RespectServer {
            retry_after: Some(after)
        })),
    ]
}

fn any_steps() -> impl Strategy<Value = Vec<(Input, u64, u64)>> {
    let pause = prop_oneof![Just(0), 0..2_000_u64, 0..120_000_u64, 0..8_000_000_u64];
    proptest::collection::vec((any_input(), pause, any::<u64>()), 1..200)
}

/// Checks one step against what the module's page says always holds.
fn check(
    before: &ReconnectEngine,
    input: Input,
    now: Duration,
    after: &ReconnectEngine,
    command: Command,
) -> Result<(), TestCaseError> {
    let uncut = match before.state() {
        State::Polling => !matches!(input, Input::PollDone(_)),
        State::Authenticating => !matches!(input, Input::AuthRecovered | Input::AuthRefused),
        _ => false,
    };
    prop_assert!(!uncut || command == Command::Continue, "{:?} cut a callback", input);
    match command {
        Command::Connect => {
            prop_assert_eq!(after.state(), State::Connecting);
            let replaces = matches!(before.state(), State::Connecting);
            let asked_for = matches!(
                input,
                Input::NetworkChanged | Input::Failed(FailureAction::RetryNewToken)
            );
            prop_assert!(!replaces || asked_for, "two connects at once after {:?}", input);
            if input == Input::NetworkChanged {
                prop_assert!(
                    now >= before.connected_at + NETWORK_CHANGE_GAP || before.connect_at <= now
                );
            }
        }
        Command::Wait(wait) => {
            prop_assert!(wait > Duration::ZERO && wait <= HOUR * 5 / 4, "{:?}", wait);
            let begins = !matches!(before.state(), State::Waiting | State::Polling);
            let full = matches!(input, Input::Failed(action) if action != FailureAction::RetryNewToken)
                || (input == Input::Ended && after.failures > 0);
            let until_connect = after.connect_at - now;
            if begins && full {
                prop_assert!(until_connect >= SECOND * 3 / 4, "{:?}", until_connect);
            }
        }
        Command::Read => prop_assert_eq!(before.state(), State::Connecting),
        Command::Poll => {
            prop_assert!(!matches!(before.state(), State::Polling | State::Idle));
            prop_assert!(after.is_polling());
        }
        Command::Authenticate => prop_assert_eq!(after.state(), State::Authenticating),
        Command::Continue => prop_assert_ne!(after.state(), State::Waiting, "a wait says how long"),
        Command::Stop(reason) => {
            prop_assert_eq!(after.settings.policy, FailurePolicy::Contract);
            let legal = before.state() == State::Stopped(reason)
                || (reason == StopReason::Refused
                    && input == Input::Failed(FailureAction::PermanentFailure))
                || (reason == StopReason::Unauthorized && input == Input::AuthRefused);
            prop_assert!(legal, "{:?} stopped it", input);
        }
    }
    prop_assert!(!(after.is_healthy() && after.is_polling()), "a healthy stream ends polling");
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn issue3_any_sequence_of_inputs_keeps_the_invariants(steps in any_steps(), is_persistent in any::<bool>()) {
        let settings = if is_persistent { persistent() } else { ReconnectSettings::default() };
        let mut engine = ReconnectEngine::new(settings);
        let mut now = Duration::ZERO;
        engine.step(Input::Start, now, MID);
        for (input, pause, random) in steps {
            now += Duration::from_millis(pause);
            let before = engine.clone();
            let command = engine.step(input, now, random);
            check(&before, input, now, &engine, command)?;
        }
    }

    #[test]
    fn l1_from_anywhere_a_good_server_is_found_again(steps in any_steps()) {
        let mut engine = ReconnectEngine::new(persistent());
        let mut now = Duration::ZERO;
        let mut command = engine.step(Input::Start, now, MID);
        for (input, pause, random) in steps {
            now += Duration::from_millis(pause);
            command = engine.step(input, now, random);
        }
        // From here on everything works. Whatever is under way ends well, and a stream is healthy within two hours.
        let deadline = now + HOUR * 2;
        while !engine.is_healthy() {
            prop_assert!(now < deadline, "{:?}", engine);
            let input = match engine.state() {
                State::Connecting => Input::Opened,
                State::Authenticating => Input::AuthRecovered,
                State::Streaming { .. } => { now += MINUTE; Input::Received }
                State::Polling => Input::PollDone(Ok(())),
                State::Waiting => {
                    if let Command::Wait(wait) = command { now += wait; }
                    Input::TimerFired
                }
                other => return Err(TestCaseError::fail(format!("{other:?}"))),
            };
            command = engine.step(input, now, MID);
        }
    }
}
