//! A bad day: everything that can break, does, while thousands of events go through.
//!
//! `PLEXSPHERE_FAULT_EVENTS` sets how many; 10,000 is the long form.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use plexsphere_client::events::{DEFAULT_HANDLED_WINDOW, SignedEnvelope};
use plexsphere_mock::{Close, Event};
use serde_json::json;

use crate::support::{LIMIT, Log, Rig, ms};

const EVENTS: usize = 2_000;
const CUT_EVERY: u64 = 150;

fn events() -> usize {
    let set = std::env::var("PLEXSPHERE_FAULT_EVENTS").ok();
    set.map_or(EVENTS, |text| text.parse().expect("PLEXSPHERE_FAULT_EVENTS is a number"))
}

/// Fails, panics or takes its time, by the number of the event.
async fn moody(n: usize) -> Result<(), plexsphere_client::BoxError> {
    match n {
        n if n % 97 == 0 => Err("a handler that fails".into()),
        n if n % 101 == 0 => panic!("a handler that panics"),
        n if n % 211 == 0 => {
            // real time: a handler that takes its time
            tokio::time::sleep(ms(15)).await;
            Ok(())
        }
        _ => Ok(()),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn issue_3_6_every_intact_event_is_handled_once_in_order() {
    let total = events();
    let rig = Rig::with(
        |mock| mock.keep_alive(ms(20)).backlog(total + 1000),
        |config| config.sse_idle_timeout(ms(400)),
    )
    .await;
    let mut agent = rig.agent();
    let handled = Log::default();
    let log = handled.clone();
    agent.manager.register_handler("peer_removed", move |event: Arc<SignedEnvelope>| {
        log.add(event.event_id.clone());
        moody(log.len())
    });
    rig.run(&mut agent).await;
    let began = Instant::now();
    // A stream without an id to resume from starts from now: the first event sets it.
    let mut sent = vec![rig.publish()];
    agent.status_until(|s| s.counters.events == 1).await;
    // A reset throws away what was sent and not read yet, so it is no rule: nothing might ever arrive.
    let (rules, faults) =
        ([Close::MidFrame, Close::Cut, Close::End], [Close::Reset, Close::MidFrame]);
    let mut forged = 0;
    for n in 0..total / 100 {
        rig.mock.cut_every(&rig.node_id, Some((CUT_EVERY, rules[n % 3])));
        sent.extend(rig.publish_some(100));
        match n % 5 {
            0 => {
                rig.mock.inject(&rig.node_id, "data: garbage\n\n");
            }
            1 => {
                rig.mock.inject(&rig.node_id, b"\xff\xfe\x00:\r\n\r\nid: 4\n\n".to_vec());
            }
            2 => {
                let event = Event::new("peer_removed", &json!({})).forged();
                rig.mock.publish_event(&rig.node_id, event);
                forged += 1;
            }
            3 if n % 20 == 3 => {
                rig.mock.stall_streams(&rig.node_id, true);
            }
            _ => {
                rig.mock.cut_streams(&rig.node_id, faults[n % 2]);
            }
        }
        // Not too far ahead of the client, or all of the faults hit a stream that nobody reads.
        let most = sent.len().saturating_sub(150) as u64;
        agent.status_until(|s| s.counters.events >= most).await;
    }
    rig.mock.cut_every(&rig.node_id, None);
    sent.push(rig.publish());
    let limit = Duration::from_secs(60 + total as u64 / 50);
    let mut status = agent.manager.status();
    let last = sent.len() as u64;
    let all = tokio::time::timeout(limit, status.wait_for(|s| s.counters.events >= last)).await;
    assert!(all.is_ok(), "{} of {last} after {limit:?}: {:?}", handled.len(), agent.status());
    drop(all);
    let took = began.elapsed();
    agent.stop().await;

    let lines = handled.all();
    assert_eq!(lines.len(), lines.iter().collect::<HashSet<_>>().len(), "none twice");
    assert_eq!(lines, sent, "all, in order");
    assert!(sent.len() < DEFAULT_HANDLED_WINDOW * 4, "longer than the test was made for");
    let counters = agent.status().counters;
    let failing = (1..=sent.len()).filter(|n| n % 97 == 0).count() as u64;
    assert_eq!(counters.handler_errors, failing, "{counters:?}");
    assert!(counters.refused >= u64::from(forged > 0), "{counters:?}");
    assert_eq!(counters.refused + counters.malformed + counters.oversized, counters.skipped);
    assert_eq!(agent.skipped.len() as u64, counters.skipped);
    within_the_schedule(&rig, took);
    nothing_is_left(rig, agent).await;
}

/// No two connects are nearer than the shortest wait of the back-off, and none that
/// follows another failure is nearer than its schedule says.
fn within_the_schedule(rig: &Rig, took: Duration) {
    let gaps = rig.connect_gaps();
    assert!(gaps.len() >= 5, "it was cut {} times", gaps.len());
    // 20 ms less a quarter, less what the clocks of two sides may differ.
    assert!(gaps.iter().all(|gap| *gap >= ms(14)), "{gaps:?}");
    // From the third failure on the wait is 80 ms less a quarter.
    assert!(gaps[3..].iter().all(|gap| *gap >= ms(55)), "{gaps:?}");
    let most = took.as_millis() / 60 + 4;
    assert!((gaps.len() as u128) < most, "{} connects in {took:?}", gaps.len());
}

async fn nothing_is_left(rig: Rig, agent: crate::support::Agent) {
    rig.mock.wait_for_streams(&rig.node_id, 0, LIMIT).await;
    let Rig { mock, plane, .. } = rig;
    drop((agent, plane));
    assert!(mock.wait_until(LIMIT, |mock| mock.open_connections() == 0).await);
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let until = Instant::now() + LIMIT;
    while tasks() > 0 {
        assert!(Instant::now() < until, "{} tasks are left", tasks());
        // real time: looks again until a deadline
        tokio::time::sleep(ms(5)).await;
    }
}

#[tokio::test]
async fn a_server_that_dies_and_comes_back_loses_nothing() {
    let rig = Rig::new().await;
    let mut agent = rig.streaming().await;
    let mut sent = vec![rig.publish()];
    agent.status_until(|s| s.counters.events == 1).await;
    for _ in 0..3 {
        rig.mock.close_port().await;
        sent.extend(rig.publish_some(20));
        let failures = agent.status().counters.failures;
        agent.status_until(|s| s.counters.failures > failures + 1).await;
        rig.mock.open_port().await;
        assert_eq!(agent.events.has(sent.len()).await, sent);
    }
    agent.stop().await;
}
