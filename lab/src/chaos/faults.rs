//! Each fault of the plan, done to the world.

use std::time::Duration;

use bytes::Bytes;
use plexsphere_client::BoxError;
use plexsphere_mock::{Answer, Event};

use super::child::EVENT_LIMIT;
use super::parent::write_token;
use super::plan::{Fault, RetryAfter, Route, Spec, Step};
use super::proxy::{Ending, WireFault};
use super::world::{Answers, World};

/// Beyond this an event is outside of its time window.
const WINDOW: u64 = 300;

/// Blocks that are none of the server's. Each ends, so that the frame after it stays whole.
const GARBAGE: [&[u8]; 12] = [
    b"data: garbage\n\n",
    b"data\n\n",
    b"data: {\"event_type\":\"policy_updated\",\"event_id\":\"evt-0\"}\n\n",
    b"id: 999999\n\n",
    b"id: 4\ndata: null\n\n",
    b"event: policy_updated\nid: 7\n\n",
    b"retry: 0\n\nretry: 99999999999\n\n",
    b"\xef\xbb\xbfdata: after a byte order mark\n\n",
    b"data: \xff\xfe\x80\n\n",
    b"\x00\x01\x02: \x03\n\n",
    b": a comment\r\n\r\n:\r\r",
    b"data: <html><body>Sign in to this network</body></html>\n\n",
];

/// Bytes that are no chunk.
const UNFRAMED: [&[u8]; 4] =
    [b"zz\r\n", b"\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n", b"ffffffffffffffffff\r\n"];

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Lets one fault happen, and its events be published.
pub async fn happen(world: &mut World, step: &Step) -> Result<(), BoxError> {
    let Step { fault, events } = step;
    let happened = match wire(world, fault) {
        Some(fault) => {
            let fired = world.on_the_wire(fault, events).await?;
            world.facts.garbled.extend(fired.flatten());
            fired.is_some()
        }
        None => {
            at_the_server(world, fault, events).await?;
            true
        }
    };
    match happened {
        true => *world.facts.happened.entry(fault.kind()).or_default() += 1,
        false => world.facts.missed.push(format!("{fault:?} did not happen")),
    }
    Ok(())
}

/// The fault as one of the proxy's, if it is one.
fn wire(world: &World, fault: &Fault) -> Option<WireFault> {
    let end = |at: &usize, how| Some(WireFault::End { at: *at, how });
    match fault {
        Fault::Latency { ms: fixed, jitter, bytes } => {
            Some(WireFault::Delay { fixed: ms(*fixed), jitter: ms(*jitter), bytes: *bytes })
        }
        Fault::Bandwidth { bytes_per_ms, bytes } => {
            Some(WireFault::Narrow { bytes_per_ms: *bytes_per_ms, bytes: *bytes })
        }
        Fault::SingleBytes { bytes } => Some(WireFault::SingleBytes { bytes: *bytes }),
        Fault::Cut { at } => end(at, Ending::Close),
        Fault::Reset { at } => end(at, Ending::Reset),
        Fault::HalfOpen { at } => end(at, Ending::HalfOpen),
        Fault::SlowClose { at, ms: wait } => end(at, Ending::Slow(ms(*wait))),
        Fault::GarbageBlock { which } => {
            Some(WireFault::Insert(Bytes::from_static(GARBAGE[which % GARBAGE.len()])))
        }
        Fault::GarbledFrame { permille, how } => {
            Some(WireFault::Damage { permille: *permille, how: *how })
        }
        Fault::BrokenFraming { which } => {
            Some(WireFault::Unframed(Bytes::from_static(UNFRAMED[which % UNFRAMED.len()])))
        }
        // Right after the start, or a rotation, there may be no old frame.
        Fault::ReplayedFrame { back } => Some(WireFault::Insert(
            world.old_frame(*back).unwrap_or(Bytes::from_static(b": nothing to replay\n\n")),
        )),
        _ => None,
    }
}

async fn at_the_server(world: &mut World, fault: &Fault, events: &[Spec]) -> Result<(), BoxError> {
    match *fault {
        Fault::Blackhole { ms: wait } => {
            world.proxy.freeze(true);
            world.publish_all(events);
            tokio::time::sleep(ms(wait)).await;
            world.proxy.freeze(false);
        }
        Fault::Forged { .. } | Fault::Stale { .. } | Fault::Oversized { .. } => {
            let (before, after) = events.split_at(events.len() / 2);
            world.publish_all(before);
            dishonest(world, fault);
            world.publish_all(after);
        }
        Fault::Restart { ms: wait } => {
            world.proxy.refuse(true);
            world.mock.close_port().await;
            world.publish_all(events);
            tokio::time::sleep(ms(wait)).await;
            world.mock.open_port().await;
            world.proxy.refuse(false);
        }
        Fault::Dropped { reset } => {
            world.publish_all(events);
            world.mock.drop_connections(reset);
        }
        Fault::ClockJump { seconds, cut } => clock_jump(world, seconds, cut, events).await?,
        Fault::TokenChange { burst, by_callback, cut } => {
            token_change(world, burst, by_callback, cut, events).await?;
        }
        Fault::Busy { route, status, retry_after, times } => {
            busy(world, route, status, retry_after, times, events).await?;
        }
        Fault::Portal { route, status, times } => {
            world.stream_open().await?;
            for _ in 0..times {
                world.mock.script(operation(route), Answer::html(status));
            }
            world.cut();
            world.publish_all(events);
            world.answers_used(fault.kind()).await;
        }
        Fault::BusDown { ms: wait } => {
            world.mock.set_bus_down(true);
            world.publish_all(events);
            tokio::time::sleep(ms(wait)).await;
            world.mock.set_bus_down(false);
        }
        Fault::KeyRotation => {
            // Events under a key before the last two could not be verified any more.
            world.drain().await?;
            world.rotate_key();
            world.publish_all(events);
        }
        Fault::CursorRefused { status } => cursor_refused(world, status, events).await?,
        Fault::NetworkChange => {
            world.agent.order("network").await?;
            world.publish_all(events);
        }
        _ => {}
    }
    Ok(())
}

fn operation(route: Route) -> &'static str {
    match route {
        Route::Stream => "connect_sse",
        Route::State => "fetch_state",
    }
}

/// Publishes an event that must not be handled.
fn dishonest(world: &mut World, fault: &Fault) {
    let event = Event::raw("policy_updated", "{}");
    match *fault {
        Fault::Forged { how } => {
            let nobody_s = "A".repeat(86) + "==";
            world.publish_event(match how {
                0 => event.forged(),
                1 => event.signature(""),
                2 => event.signature("no base64!"),
                _ => event.signature(nobody_s),
            });
        }
        Fault::Stale { seconds } => {
            let number = world.publish_event(event.age(Duration::from_secs(seconds)));
            world.facts.untimely.insert(number);
        }
        Fault::Oversized { bytes } => {
            let payload = format!("{{\"filler\":\"{}\"}}", "x".repeat(bytes.max(EVENT_LIMIT)));
            world.publish_event(Event::raw("policy_updated", payload));
        }
        _ => {}
    }
}

async fn clock_jump(
    world: &mut World,
    seconds: i64,
    cut: bool,
    events: &[Spec],
) -> Result<(), BoxError> {
    let by = Duration::from_secs(seconds.unsigned_abs());
    match seconds < 0 {
        true => world.mock.set_clock_behind(by),
        false => world.mock.set_clock_ahead(by),
    }
    if cut {
        world.stream_open().await?;
        let opened = world.answers().count("connect_sse", 200);
        world.cut();
        if !world.answered(|answers| answers.count("connect_sse", 200) > opened).await {
            world.facts.missed.push("clock jump: no new stream".to_owned());
        }
    }
    if by.as_secs() > WINDOW {
        for _ in 0..2 {
            let number = world.publish_event(Event::raw("policy_updated", "{}"));
            world.facts.untimely.insert(number);
        }
        world.mock.set_clock_ahead(Duration::ZERO);
        world.publish_all(events);
    } else {
        world.publish_all(events);
        world.mock.set_clock_ahead(Duration::ZERO);
    }
    Ok(())
}

/// The token changes, several times in a row if it is a burst: each new one but the last is
/// refused as well.
async fn token_change(
    world: &mut World,
    burst: usize,
    by_callback: bool,
    cut: bool,
    events: &[Spec],
) -> Result<(), BoxError> {
    if cut {
        world.stream_open().await?;
    }
    let refused =
        |answers: &Answers| answers.count("connect_sse", 401) + answers.count("fetch_state", 401);
    let mut seen = refused(&world.answers());
    let tokens: Vec<String> =
        (0..burst).map(|_| world.mock.replace_secret_key(&world.node_id)).collect();
    if cut {
        world.cut();
    }
    world.publish_all(events);
    for token in tokens {
        if cut {
            seen += 1;
            if !world.answered(|answers| refused(answers) >= seen).await {
                world.facts.missed.push("401: the old token was not tried".to_owned());
            }
        }
        if !by_callback {
            world.agent.order(&format!("token {token}")).await?;
        }
        write_token(&world.token_file, &token)?;
    }
    Ok(())
}

async fn busy(
    world: &mut World,
    route: Route,
    status: u16,
    retry_after: RetryAfter,
    times: usize,
    events: &[Spec],
) -> Result<(), BoxError> {
    world.stream_open().await?;
    let answer = Answer::problem(status, "busy", "later");
    let answer = match retry_after {
        RetryAfter::Missing => answer,
        RetryAfter::Seconds(seconds) => answer.retry_after_secs(seconds),
        RetryAfter::Date(seconds) => answer.retry_after_date(Duration::from_secs(seconds)),
        RetryAfter::Nonsense => answer.header("Retry-After", "soon"),
    };
    let before = world.answers().count(operation(route), status);
    for _ in 0..times {
        world.mock.script(operation(route), answer.clone());
    }
    world.cut();
    world.publish_all(events);
    world.answers_used("429 or 503").await;
    // An answer is taken from the script a moment before it is noted.
    let refused = before + times as u64;
    if !world.answered(|answers| answers.count(operation(route), status) >= refused).await {
        world.facts.missed.push("429 or 503: the answer was not given".to_owned());
    }
    let least = match retry_after {
        RetryAfter::Seconds(seconds) => Duration::from_secs(seconds),
        // A date has whole seconds: up to one of them is gone when it is read.
        RetryAfter::Date(seconds) => Duration::from_secs(seconds.saturating_sub(1)),
        RetryAfter::Missing | RetryAfter::Nonsense => Duration::ZERO,
    };
    if least.is_zero() {
        return Ok(());
    }
    world.asked_to_wait(operation(route), least);
    // A new token or another network would bring the next attempt forward, and rightly so.
    world.stream_open().await?;
    Ok(())
}

/// The server refuses to resume: what is published until the next stream is open does not
/// arrive, and comes in with the state.
async fn cursor_refused(world: &mut World, status: u16, events: &[Spec]) -> Result<(), BoxError> {
    world.drain().await?;
    world.stream_open().await?;
    world.mock.script("connect_sse", Answer::problem(status, "no_such_position", "too old"));
    world.cut();
    for _ in 0..2 {
        let number = world.publish_event(Event::raw("policy_updated", "{}"));
        world.facts.doubtful.insert(number);
    }
    world.answers_used("cursor refused").await;
    world.anchor().await?;
    world.publish_all(events);
    Ok(())
}
