//! The state, fetched when the stream alone does not tell it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use plexsphere_client::Mode;
use plexsphere_mock::{Answer, Close, Event};
use serde_json::json;

use crate::support::{LIMIT, Log, Rig, ms, noting};

#[tokio::test]
async fn l7_after_each_connect_the_state_comes_before_the_first_event() {
    let rig = Rig::new().await;
    let mut agent = rig.streaming().await;
    let mut expected = vec!["state".to_owned()];
    for _ in 0..3 {
        let sent = rig.publish_some(2);
        expected.extend(sent);
        agent.all.has(expected.len()).await;
        agent.status_until(|s| s.counters.events == agent.events.len() as u64).await;
        rig.mock.cut_streams(&rig.node_id, Close::Cut);
        expected.push("state".to_owned());
        expected.push(rig.publish());
        assert_eq!(agent.all.has(expected.len()).await, expected);
    }
    agent.stop().await;
}

#[tokio::test]
async fn l7_many_gaps_make_few_fetches() {
    let rig = Rig::new().await;
    let mut agent = rig.agent();
    agent.manager.register_handler(
        "peer_removed",
        noting(&Log::default(), "", || async { Err("no".into()) }),
    );
    rig.run(&mut agent).await;
    rig.publish_some(200);
    agent.events.has(200).await;
    agent.states.has(2).await;
    // real time: nothing may come in so long
    tokio::time::sleep(ms(300)).await;
    assert_eq!(agent.states.len(), 2, "one for the connect, one for 200 failures");
    let requests = rig.mock.requests_for("fetch_state");
    let apart = requests[1].at - requests[0].at;
    assert!(apart >= ms(950), "{apart:?}");
    agent.stop().await;
}

#[tokio::test]
async fn l7_a_fetch_that_fails_backs_off_and_the_stream_stays() {
    let rig = Rig::new().await;
    rig.mock.script_always("fetch_state", Answer::status(500));
    let mut agent = rig.agent();
    agent.start();
    agent.status_until(|s| s.counters.state_failures == 3).await;
    let sent = rig.publish_some(5);
    assert_eq!(agent.events.has(5).await, sent);
    let requests = rig.mock.requests_for("fetch_state");
    assert!(requests[1].at - requests[0].at >= ms(950));
    assert!(requests[2].at - requests[1].at >= ms(1950));
    rig.mock.clear_script("fetch_state");
    agent.states.has(1).await;
    assert_eq!(agent.status().counters.connections, 1);
    agent.stop().await;
}

#[tokio::test]
async fn l4_a_fetch_keeps_to_retry_after_on_a_new_stream_too() {
    let rig = Rig::new().await;
    rig.mock.script("fetch_state", Answer::status(429).retry_after_secs(3));
    let mut agent = rig.agent();
    agent.start();
    agent.status_until(|s| s.counters.state_failures == 1).await;
    let sent = rig.publish_some(2);
    assert_eq!(agent.events.has(2).await, sent, "events do not wait for it");
    rig.mock.cut_streams(&rig.node_id, Close::Cut);
    agent.status_until(|s| s.counters.connections == 2).await;
    agent.manager.reconcile_now();
    agent.states.has(1).await;
    let requests = rig.mock.requests_for("fetch_state");
    assert!(requests[1].at - requests[0].at >= ms(2950));
    agent.stop().await;
}

#[tokio::test]
async fn l4_polls_and_fetches_share_retry_after() {
    let rig = Rig::new().await;
    rig.mock.script("fetch_state", Answer::status(503).retry_after_secs(2));
    let mut agent = rig.agent();
    agent.manager.set_polling_fallback(ms(30), ms(30)).unwrap();
    agent.start();
    agent.status_until(|s| s.counters.state_failures == 1).await;
    // The fetch was refused on the stream, and the polls wait for it.
    rig.mock.set_bus_down(true);
    agent.states.has(1).await;
    // A poll was refused, and the fetch of a new stream waits for it.
    rig.mock.script("fetch_state", Answer::status(503).retry_after_secs(2));
    agent.status_until(|s| s.counters.state_failures == 2).await;
    let refused = rig.mock.count("fetch_state") as usize - 1;
    let states = agent.states.len();
    rig.mock.set_bus_down(false);
    agent.states.has(states + 1).await;
    let requests = rig.mock.requests_for("fetch_state");
    assert!(requests[1].at - requests[0].at >= ms(1950));
    assert!(requests[refused + 1].at - requests[refused].at >= ms(1950));
    agent.stop().await;
}

#[tokio::test]
async fn reconcile_now_fetches_once_for_several_requests() {
    let rig = Rig::new().await;
    let mut agent = rig.streaming().await;
    for _ in 0..50 {
        agent.manager.reconcile_now();
    }
    agent.states.has(2).await;
    // real time: nothing may come in so long
    tokio::time::sleep(ms(200)).await;
    assert_eq!(rig.mock.count("fetch_state"), 2);
    agent.stop().await;
}

#[tokio::test]
async fn reconcile_now_is_heard_while_the_stream_is_down() {
    let rig = Rig::new().await;
    rig.mock.set_bus_down(true);
    let mut agent = rig.agent();
    agent.manager.set_reconnect_intervals(LIMIT * 2, LIMIT * 2).unwrap();
    agent.start();
    agent.mode(Mode::Waiting).await;
    for _ in 0..5 {
        agent.manager.reconcile_now();
    }
    agent.states.has(1).await;
    let status = agent.status();
    assert_eq!((status.mode, rig.mock.count("connect_sse")), (Mode::Waiting, 1));
    agent.stop().await;
    assert_eq!(rig.mock.count("fetch_state"), 1);
}

#[tokio::test]
async fn l9_handlers_and_the_poll_function_never_run_at_the_same_time() {
    let rig = Rig::new().await;
    let mut agent = rig.agent();
    agent.manager.set_polling_fallback(ms(30), ms(30)).unwrap();
    let (running, overlaps) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let work = {
        let (running, overlaps) = (Arc::clone(&running), Arc::clone(&overlaps));
        move || {
            let (running, overlaps) = (Arc::clone(&running), Arc::clone(&overlaps));
            async move {
                overlaps.fetch_add(running.fetch_add(1, Ordering::SeqCst), Ordering::SeqCst);
                // real time: long enough for two to overlap, if they could
                tokio::time::sleep(ms(5)).await;
                running.fetch_sub(1, Ordering::SeqCst);
            }
        }
    };
    let (on_event, on_state, on_poll) = (work.clone(), work.clone(), work);
    agent.manager.on_every(move |_| {
        let work = on_event();
        async move {
            work.await;
            Err("so that fetches follow".into())
        }
    });
    agent.manager.on_state(move |_| {
        let work = on_state();
        async move {
            work.await;
            Ok(())
        }
    });
    let (plane, node_id) = (rig.plane.clone(), rig.node_id.clone());
    agent.manager.set_poll_fn(move || {
        let (work, plane, node_id) = (on_poll(), plane.clone(), node_id.clone());
        async move {
            work.await;
            plane.fetch_state(&node_id).await
        }
    });
    rig.run(&mut agent).await;
    for round in 0..6 {
        rig.publish_some(10);
        agent.manager.reconcile_now();
        agent.events.has(10 * (round + 1)).await;
        agent.status_until(|s| s.counters.events >= 10).await;
        rig.mock.set_bus_down(true);
        agent.mode(Mode::Polling).await;
        rig.mock.set_bus_down(false);
        agent.mode(Mode::Streaming).await;
    }
    agent.stop().await;
    assert_eq!(overlaps.load(Ordering::SeqCst), 0);
    assert!(agent.states.len() >= 7, "{}", agent.states.len());
}

#[tokio::test]
async fn a_state_handler_that_fails_is_counted_and_the_state_comes_again() {
    let rig = Rig::new().await;
    let mut agent = rig.agent();
    let log = Log::default();
    let calls = log.clone();
    agent.manager.on_state(move |_| {
        calls.add("state");
        let first = calls.len() == 1;
        async move { if first { Err("no".into()) } else { Ok(()) } }
    });
    rig.run(&mut agent).await;
    log.has(2).await;
    agent.stop().await;
    assert_eq!(agent.status().counters.handler_errors, 1);
}

#[tokio::test]
async fn the_keys_of_a_fetched_state_are_trusted() {
    let rig = Rig::new().await;
    let mut agent = rig.streaming().await;
    rig.publish();
    agent.status_until(|s| s.counters.events == 1).await;
    agent.stop().await;
    // Ten rotations while nobody listens; the first of their events has no trusted key left.
    for _ in 0..10 {
        rig.mock.rotate_signing_key();
    }
    agent.start();
    let last = rig.publish();
    agent.events.until(|events| events.last() == Some(&last)).await;
    agent.stop().await;
    let event = Event::new("policy_updated", &json!({}));
    rig.mock.publish_event(&rig.node_id, event);
    agent.start();
    agent.events.until(|events| events.last() != Some(&last)).await;
    agent.stop().await;
}
