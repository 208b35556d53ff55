//! Any sequence of inputs, under any settings, at any pace: the schedules are kept to the letter.
//!
//! [`Shadow`] reads the rules a second time, as ranges: it knows no random number, so for each
//! connect and each poll it says between which two moments it is due.

use super::*;

/// A range of time on the clock of `now`.
#[derive(Debug, Clone, Copy)]
struct Due {
    earliest: Duration,
    latest: Duration,
}

impl Due {
    fn at(now: Duration) -> Self {
        Self { earliest: now, latest: now }
    }

    /// So long after a moment, a quarter less or more.
    fn about(delay: Duration, after: Duration) -> Self {
        let earliest = after.saturating_add(delay - delay / 4);
        Self { earliest, latest: after.saturating_add(delay.saturating_add(delay / 4)) }
    }

    /// So long after a moment, up to a quarter more.
    fn at_least(delay: Duration, after: Duration) -> Self {
        Self { earliest: after.saturating_add(delay), ..Self::about(delay, after) }
    }

    fn later(self, other: Self) -> Self {
        Self { earliest: self.earliest.max(other.earliest), latest: self.latest.max(other.latest) }
    }

    fn sooner(self, other: Self) -> Self {
        Self { earliest: self.earliest.min(other.earliest), latest: self.latest.min(other.latest) }
    }

    fn contains(self, at: Duration) -> bool {
        (self.earliest..=self.latest).contains(&at)
    }
}

/// Doubles, so many times, as far as the cap.
fn doubled(mut delay: Duration, times: u32, cap: Duration) -> Duration {
    for _ in 0..times.min(64) {
        delay = delay.saturating_mul(2);
    }
    delay.min(cap)
}

const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(300);

/// What the rules say of an engine, told the same inputs.
struct Shadow {
    settings: ReconnectSettings,
    /// The base of the back-off, the server's where it has named one.
    base: Duration,
    connect: Due,
    poll: Option<Due>,
    connected_at: Duration,
    opened_at: Duration,
    received: bool,
    healthy: bool,
    failures: u32,
    refusals: u32,
    poll_refusals: u32,
    token_tries: u32,
    token_pending: bool,
    slow: bool,
    polling: bool,
}

impl Shadow {
    fn new(mut settings: ReconnectSettings) -> Self {
        let floor = Duration::from_millis(10);
        settings.base_interval = settings.base_interval.max(floor);
        settings.poll_interval = settings.poll_interval.max(floor);
        settings.max_interval = settings.max_interval.max(settings.base_interval);
        settings.slow_interval = settings.slow_interval.max(settings.base_interval);
        settings.slow_max_interval = settings.slow_max_interval.max(settings.slow_interval);
        Self {
            base: settings.base_interval,
            settings,
            connect: Due::at(Duration::ZERO),
            poll: None,
            connected_at: Duration::ZERO,
            opened_at: Duration::ZERO,
            received: false,
            healthy: false,
            failures: 0,
            refusals: 0,
            poll_refusals: 0,
            token_tries: 0,
            token_pending: false,
            slow: false,
            polling: false,
        }
    }

    /// What an input changes, before its command is known.
    fn hear(&mut self, state: State, input: Input, now: Duration) {
        let is_streaming = matches!(state, State::Streaming { .. });
        if is_streaming {
            self.received |= input == Input::Received;
            if self.received && now - self.opened_at >= self.settings.healthy_after {
                self.recover();
            }
        }
        let has_stream = is_streaming || state == State::Connecting;
        let is_between = matches!(state, State::Waiting | State::Polling);
        match input {
            _ if matches!(state, State::Idle | State::Stopped(_)) => {}
            Input::Ended if self.healthy => {
                self.begin_outage(now);
                self.connect = Due { earliest: now, latest: now.saturating_add(self.base) };
            }
            Input::Ended if has_stream => self.fail(FailureAction::RetryTransient, now),
            Input::Failed(action) if has_stream => self.fail(action, now),
            Input::AuthRecovered if state == State::Authenticating => {
                self.connect = self.renewal(now);
            }
            Input::AuthRefused if state == State::Authenticating => self.slow_down(now),
            Input::PollDone(result) if state == State::Polling => self.polled(result, now),
            Input::TokenChanged | Input::AuthRecovered => {
                self.forgive_polls(now);
                if is_between && self.slow {
                    self.connect = self.renewal(now).sooner(self.connect);
                }
            }
            Input::NetworkChanged => {
                (self.failures, self.refusals) = (0, 0);
                self.forgive_polls(now);
                let due = Due::at_least(SECOND, self.connected_at).later(Due::at(now));
                if has_stream {
                    self.begin_outage(now);
                    self.connect = due;
                } else if is_between {
                    self.connect = due.sooner(self.connect);
                }
            }
            Input::ServerRetry(said) => {
                let ReconnectSettings { base_interval, max_interval, .. } = self.settings;
                self.base = said.clamp(base_interval, max_interval);
            }
            _ => {}
        }
    }

    fn recover(&mut self) {
        self.healthy = true;
        (self.failures, self.refusals, self.poll_refusals, self.token_tries) = (0, 0, 0, 0);
        self.poll = None;
        self.polling = false;
    }

    fn begin_outage(&mut self, now: Duration) {
        let earliest = now.saturating_add(self.settings.polling_after);
        let latest = earliest.saturating_add(self.settings.poll_interval);
        self.poll = self.poll.or(Some(Due { earliest, latest }));
    }

    fn fail(&mut self, action: FailureAction, now: Duration) {
        self.begin_outage(now);
        let delay = doubled(self.base, self.failures, self.settings.max_interval);
        let back_off = Due::about(delay, now);
        match action {
            FailureAction::RetryTransient | FailureAction::DropCursor => {
                self.failures += 1;
                self.connect = back_off;
            }
            FailureAction::RespectServer { retry_after } => {
                self.failures += 1;
                let said = retry_after.unwrap_or_default().min(LONGEST_RETRY_AFTER);
                self.connect = back_off.later(Due::at_least(said, now));
            }
            FailureAction::RetrySlowly => self.slow_down(now),
            FailureAction::PollInstead => {
                if !self.polling {
                    self.poll = Some(Due::at(now));
                }
                self.slow_down(now);
            }
            FailureAction::PermanentFailure => self.slow_down(now),
            FailureAction::RetryNewToken => self.connect = self.renewal(now),
            FailureAction::RetryAuth => {}
        }
    }

    fn slow_down(&mut self, now: Duration) {
        self.connect = Due::about(self.slow_delay(self.refusals), now);
        self.slow = true;
        self.failures += 1;
        self.refusals += 1;
    }

    fn slow_delay(&self, refusals: u32) -> Duration {
        doubled(self.settings.slow_interval, refusals, self.settings.slow_max_interval)
    }

    /// The first new token is tried at once, the next ones after a growing gap.
    fn renewal(&mut self, now: Duration) -> Due {
        self.refusals = 0;
        self.token_pending = true;
        if self.token_tries == 0 {
            return Due::at(now);
        }
        let gap = doubled(self.base, self.token_tries - 1, self.settings.max_interval);
        Due::about(gap, self.connected_at).later(Due::at(now))
    }

    fn polled(&mut self, result: Result<(), FailureAction>, now: Duration) {
        use FailureAction::*;
        let interval = Due::about(self.settings.poll_interval, now);
        self.poll = Some(match result {
            Err(RespectServer { retry_after }) => {
                let said = retry_after.unwrap_or_default().min(LONGEST_RETRY_AFTER);
                interval.later(Due::at_least(said, now))
            }
            Err(RetryAuth | RetrySlowly | PollInstead | PermanentFailure) => {
                let slow = self.slow_delay(self.poll_refusals);
                self.poll_refusals += 1;
                interval.later(Due::about(slow, now))
            }
            Ok(()) => {
                self.poll_refusals = 0;
                interval
            }
            Err(_) => interval,
        });
    }

    fn forgive_polls(&mut self, now: Duration) {
        if std::mem::take(&mut self.poll_refusals) > 0 {
            let soon = Due::about(self.settings.poll_interval, now);
            self.poll = self.poll.map(|due| due.sooner(soon));
        }
    }

    /// Whether the command and the engine after it are what the rules allow.
    fn allows(
        &mut self,
        command: Command,
        now: Duration,
        engine: &ReconnectEngine,
    ) -> Result<(), TestCaseError> {
        match command {
            Command::Connect => {
                prop_assert!(now >= self.connect.earliest, "a connect before {:?}", self.connect);
                self.token_tries += u32::from(std::mem::take(&mut self.token_pending));
                self.connected_at = now;
                self.slow = false;
            }
            Command::Read => {
                (self.opened_at, self.received, self.healthy) = (now, false, false);
            }
            Command::Poll => {
                let due = self.poll.map(|due| due.earliest);
                prop_assert!(due.is_some_and(|due| now >= due), "a poll before {:?}", self.poll);
                self.polling = true;
            }
            Command::Wait(wait) => {
                let due = engine.next_connect_at().into_iter().chain(engine.next_poll_at()).min();
                prop_assert_eq!(Some(now + wait), due, "a wait for the nearer of the two");
            }
            Command::Authenticate | Command::Continue | Command::Stop(_) => {}
        }
        if let Some(at) = engine.next_connect_at() {
            prop_assert!(self.connect.contains(at), "connect at {:?}, due {:?}", at, self.connect);
        }
        match (engine.next_poll_at(), self.poll) {
            (Some(at), Some(due)) => prop_assert!(due.contains(at), "poll at {:?}, {:?}", at, due),
            // A time that the clock cannot show is never.
            (None, Some(due)) => prop_assert_eq!(due.latest, Duration::MAX),
            (at, None) => prop_assert_eq!(at, None),
        }
        self.healthy &= matches!(engine.state(), State::Streaming { .. });
        prop_assert_eq!(engine.is_healthy(), self.healthy);
        prop_assert_eq!(engine.is_polling(), self.polling);
        prop_assert_eq!(engine.failures(), self.failures);
        Ok(())
    }
}

fn any_settings() -> impl Strategy<Value = ReconnectSettings> {
    let some = |millis: &'static [u64]| {
        let some = proptest::sample::select(millis).prop_map(Duration::from_millis);
        prop_oneof![9 => some, 1 => Just(Duration::MAX)]
    };
    let bases = some(&[0, 10, 1_000, 1_000, 90_000]);
    let caps = some(&[0, 1_000, 60_000, 60_000, 3_600_000]);
    let slow = (some(&[0, 1_000, 300_000]), some(&[0, 300_000, 3_600_000]));
    let polls = (some(&[0, 1_000, 60_000]), some(&[0, 1_000, 300_000, 300_000]));
    (bases, caps, slow, polls, some(&[0, 1_000, 60_000]), any::<bool>()).prop_map(
        |(base_interval, max_interval, slow, polls, healthy_after, is_persistent)| {
            ReconnectSettings {
                base_interval,
                max_interval,
                slow_interval: slow.0,
                slow_max_interval: slow.1,
                poll_interval: polls.0,
                polling_after: polls.1,
                healthy_after,
                policy: match is_persistent {
                    true => FailurePolicy::Persistent,
                    false => FailurePolicy::Contract,
                },
            }
        },
    )
}

/// An answer of a server that wants to do harm: of any kind, and just long or short enough.
fn any_answer() -> impl Strategy<Value = Answer> {
    let lasts = proptest::sample::select(&[0, 1_000, 59_999, 60_000, 61_000, 600_000][..]);
    let lasts = lasts.prop_map(Duration::from_millis);
    let retry_after = proptest::option::of((0..400_000_u64).prop_map(Duration::from_millis));
    prop_oneof![
        4 => proptest::sample::select(&ACTIONS[..]).prop_map(Answer::Fails),
        1 => retry_after.prop_map(|retry_after| {
            Answer::Fails(FailureAction::RespectServer { retry_after })
        }),
        1 => lasts.clone().prop_map(Answer::Streams),
        1 => lasts.clone().prop_map(Answer::Breaks),
        1 => lasts.prop_map(Answer::Silent),
    ]
}

/// The most connects in one hour, whenever it begins.
fn busiest_hour(connects: &[Duration]) -> usize {
    let within =
        |from: &Duration| connects.iter().filter(|at| (*from..*from + HOUR).contains(*at)).count();
    connects.iter().map(within).max().unwrap_or_default()
}

/// An adversary: a server, an auth callback and what happens outside, for three hours.
fn run_against(
    answers: &[Answer],
    callback: Vec<bool>,
    outside: Vec<(u64, Input)>,
) -> (Sim, Option<StopReason>) {
    let mut sim = Sim::new(persistent());
    let recovered = |works| if works { Input::AuthRecovered } else { Input::AuthRefused };
    sim.callback = callback.into_iter().cycle().take(50_000).map(recovered).collect();
    let mut outside: Vec<_> =
        outside.into_iter().map(|(at, input)| (Duration::from_millis(at), input)).collect();
    outside.sort_by_key(|(at, _)| *at);
    sim.outside = outside.into();
    let mut turns = answers.iter().cycle();
    let reason = sim.run(HOUR * 3, |_| *turns.next().expect("a cycle"));
    (sim, reason)
}

/// So many, or as many as `PROPTEST_CASES` says.
fn cases(usual: u32) -> ProptestConfig {
    match std::env::var_os("PROPTEST_CASES") {
        Some(_) => ProptestConfig::default(),
        None => ProptestConfig::with_cases(usual),
    }
}

fn any_time() -> impl Strategy<Value = u64> {
    0..3 * 3_600_000_u64
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn issue5_every_connect_and_poll_is_within_its_due_time(
        settings in any_settings(),
        steps in any_steps(),
    ) {
        let mut shadow = Shadow::new(settings.clone());
        let mut engine = ReconnectEngine::new(settings);
        let mut now = Duration::ZERO;
        for (input, pause, random) in [(Input::Start, 0, MID)].into_iter().chain(steps) {
            now += Duration::from_millis(pause);
            let state = engine.state();
            let stops = matches!(engine.settings.policy, FailurePolicy::Contract)
                && matches!(
                    (state, input),
                    (State::Authenticating, Input::AuthRefused)
                        | (
                            State::Connecting | State::Streaming { .. },
                            Input::Failed(FailureAction::PermanentFailure)
                        )
                );
            let command = engine.step(input, now, random);
            if stops || matches!(state, State::Stopped(_)) {
                prop_assert!(matches!(command, Command::Stop(_)), "{:?}", command);
                continue;
            }
            prop_assert!(!matches!(command, Command::Stop(_)), "{:?} stopped it", input);
            shadow.hear(state, input, now);
            shadow.allows(command, now, &engine)?;
        }
    }

    #[test]
    fn issue5_a_stopped_engine_stays_stopped(
        settings in any_settings(),
        before in any_steps(),
        after in any_steps(),
    ) {
        let mut engine = ReconnectEngine::new(settings);
        let mut now = Duration::ZERO;
        for (input, pause, random) in before {
            now += Duration::from_millis(pause);
            engine.step(input, now, random);
        }
        let stop = engine.step(Input::Shutdown, now, MID);
        prop_assert!(matches!(stop, Command::Stop(_)));
        for (input, pause, random) in after {
            now += Duration::from_millis(pause);
            prop_assert_eq!(engine.step(input, now, random), stop);
        }
    }

    #[test]
    fn issue5_from_anywhere_failures_alone_lead_to_the_next_connect(
        steps in any_steps(),
        failures in proptest::collection::vec(proptest::sample::select(&ACTIONS[..]), 1..6),
    ) {
        let mut engine = ReconnectEngine::new(persistent());
        let mut now = Duration::ZERO;
        let mut command = engine.step(Input::Start, now, MID);
        for (input, pause, random) in steps {
            now += Duration::from_millis(pause);
            command = engine.step(input, now, random);
        }
        let mut failures = failures.iter().copied().cycle();
        let mut fails = move || failures.next().unwrap_or(FailureAction::RetryTransient);
        let (mut connects, mut since, mut taken) = (0, now, 0);
        while connects < 6 {
            // The slow schedule's cap and a quarter, and a poll a minute on the way there.
            prop_assert!(now - since <= HOUR * 5 / 4 && taken < 500, "{:?}", engine);
            let input = match engine.state() {
                State::Connecting | State::Streaming { .. } => Input::Failed(fails()),
                State::Authenticating => Input::AuthRefused,
                State::Polling => Input::PollDone(Err(fails())),
                _ => {
                    if let Command::Wait(wait) = command {
                        now += wait;
                    }
                    Input::TimerFired
                }
            };
            command = engine.step(input, now, MID);
            taken += 1;
            if command == Command::Connect {
                (connects, since, taken) = (connects + 1, now, 0);
            }
        }
    }
}

proptest! {
    #![proptest_config(cases(60))]

    #[test]
    fn issue5_no_server_and_no_token_makes_a_storm(
        answers in proptest::collection::vec(any_answer(), 1..12),
        callback in proptest::collection::vec(any::<bool>(), 1..5),
        tokens in proptest::collection::vec(any_time(), 0..200),
    ) {
        let outside = tokens.into_iter().map(|at| (at, Input::TokenChanged)).collect();
        let (sim, reason) = run_against(&answers, callback, outside);
        prop_assert_eq!(reason, None);
        // The quickest way: a minute of health, then failures of two kinds that each double.
        let most = busiest_hour(&sim.connects);
        prop_assert!(most <= 600, "{} connects in an hour", most);
        prop_assert!(sim.polls.len() < 3 * 80 + 1000, "{} polls", sim.polls.len());
    }

    #[test]
    fn issue5_a_network_that_changes_all_the_time_gets_one_connect_a_second(
        answers in proptest::collection::vec(any_answer(), 1..6),
        changes in proptest::collection::vec(any_time(), 1..400),
        burst in any_time(),
    ) {
        let mut outside: Vec<_> =
            changes.into_iter().map(|at| (at, Input::NetworkChanged)).collect();
        outside.extend((0..2_000).map(|n| (burst + n * 50, Input::NetworkChanged)));
        let (sim, _) = run_against(&answers, vec![true], outside);
        let minute = |from: &Duration| {
            sim.connects.iter().filter(|at| (*from..*from + MINUTE).contains(at)).count()
        };
        let most = sim.connects.iter().map(minute).max().unwrap_or_default();
        // A back-off that has just begun may end a quarter of a second sooner.
        prop_assert!(most <= 80, "{} connects in a minute", most);
    }
}
