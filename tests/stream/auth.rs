//! Refused tokens.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use plexsphere_client::reconnect::FailurePolicy;
use plexsphere_client::values::Secret;
use plexsphere_client::{ErrorKind, Mode};
use plexsphere_mock::Answer;

use crate::support::{LIMIT, Rig, ms};

/// Has the callback return this token each time; gives back how often it was asked.
fn answering(agent: &crate::support::Agent, token: Option<String>) -> Arc<AtomicUsize> {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    agent.manager.on_auth_failure(move || {
        counted.fetch_add(1, Ordering::SeqCst);
        let token = token.clone().map(Secret::new);
        async move { token }
    });
    asked
}

#[tokio::test]
async fn reconnect_parity_401_asks_the_callback_and_its_token_is_tried_at_once() {
    let rig = Rig::new().await;
    let mut agent = rig.streaming().await;
    rig.publish();
    agent.status_until(|s| s.counters.events == 1).await;
    agent.stop().await;
    agent.manager.set_reconnect_intervals(LIMIT * 2, LIMIT * 2).unwrap();
    let token = rig.mock.replace_secret_key(&rig.node_id);
    let asked = answering(&agent, Some(token.clone()));
    agent.start();
    agent.mode(Mode::Streaming).await;
    rig.mock.wait_for_streams(&rig.node_id, 1, LIMIT).await;
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    let requests = rig.mock.requests_for("connect_sse");
    assert_eq!(requests.last().unwrap().bearer(), Some(token.as_str()));
    assert_eq!(requests.len(), 3);
    agent.stop().await;
}

#[tokio::test]
async fn without_a_new_token_it_stops() {
    let rig = Rig::new().await;
    let old = rig.mock.node(&rig.node_id).unwrap().secret_key;
    rig.mock.replace_secret_key(&rig.node_id);
    for token in [None, Some(old), Some("not a token".to_owned()), Some(String::new())] {
        let mut agent = rig.agent();
        let asked = answering(&agent, token);
        let before = rig.mock.count("connect_sse");
        agent.start();
        assert_eq!(agent.ended().await.unwrap_err().kind(), ErrorKind::Unauthorized);
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        assert_eq!(rig.mock.count("connect_sse"), before + 1);
    }
}

#[tokio::test]
async fn l1_a_callback_that_panics_has_no_token() {
    let rig = Rig::new().await;
    rig.mock.script_always("connect_sse", Answer::status(401));
    let mut agent = rig.agent();
    agent.manager.on_auth_failure(|| async { panic!("a callback") });
    agent.start();
    assert_eq!(agent.ended().await.unwrap_err().kind(), ErrorKind::Unauthorized);
}

#[tokio::test]
async fn a_token_that_was_changed_meanwhile_is_tried_without_asking() {
    let rig = Rig::new().await;
    let new = rig.mock.replace_secret_key(&rig.node_id);
    rig.mock.script("connect_sse", Answer::status(401).delay(ms(300)));
    let mut agent = rig.agent();
    agent.manager.set_reconnect_intervals(LIMIT * 2, LIMIT * 2).unwrap();
    let asked = answering(&agent, None);
    agent.start();
    rig.mock.wait_for_requests("connect_sse", 1, LIMIT).await;
    rig.plane.set_auth_token(new).unwrap();
    agent.mode(Mode::Streaming).await;
    assert_eq!(asked.load(Ordering::SeqCst), 0);
    agent.stop().await;
}

#[tokio::test]
async fn a_token_set_while_the_callback_looks_for_one_counts() {
    let rig = Rig::new().await;
    let new = rig.mock.replace_secret_key(&rig.node_id);
    let mut agent = rig.agent();
    let plane = rig.plane.clone();
    agent.manager.on_auth_failure(move || {
        plane.set_auth_token(new.clone()).unwrap();
        async { None }
    });
    agent.start();
    agent.mode(Mode::Streaming).await;
    agent.stop().await;
}

#[tokio::test]
async fn a_fetch_on_an_open_stream_that_is_refused_asks_too() {
    let rig = Rig::new().await;
    let mut agent = rig.streaming().await;
    // The stream stays open at the server; only the token is another one.
    let asked = answering(&agent, Some(rig.mock.replace_secret_key(&rig.node_id)));
    agent.manager.reconcile_now();
    agent.states.has(2).await;
    let counters = agent.status().counters;
    assert_eq!((counters.connections, counters.state_failures), (1, 1));
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    let requests = rig.mock.requests_for("fetch_state");
    assert!(requests[2].at - requests[1].at < ms(900), "at once, not after the back-off");
    agent.stop().await;
}

#[tokio::test]
async fn a_fetch_that_is_refused_for_want_of_a_token_stops_nothing_and_is_no_storm() {
    let rig = Rig::new().await;
    let mut agent = rig.streaming().await;
    rig.mock.script_always("fetch_state", Answer::status(401));
    let made = AtomicUsize::new(0);
    agent.manager.on_auth_failure(move || {
        let token = format!("token-{}", made.fetch_add(1, Ordering::SeqCst));
        async move { Some(Secret::new(token)) }
    });
    agent.manager.reconcile_now();
    // One at once for the first new token, and then with the back-off of any failure.
    let requests = rig.mock.wait_for_requests("fetch_state", 4, LIMIT).await;
    assert!(requests[3].at - requests[2].at >= ms(1900));
    agent.manager.on_auth_failure(|| async { None::<Secret> });
    agent.status_until(|s| s.counters.state_failures == 4).await;
    let sent = rig.publish();
    assert_eq!(agent.events.has(1).await, [sent]);
    assert_eq!(agent.status().counters.connections, 1);
    agent.stop().await;
}

#[tokio::test]
async fn a_callback_that_keeps_making_useless_tokens_is_no_storm() {
    let rig = Rig::new().await;
    rig.mock.script_always("connect_sse", Answer::status(401));
    let mut agent = rig.agent();
    agent.manager.set_reconnect_intervals(ms(50), ms(400)).unwrap();
    let made = AtomicUsize::new(0);
    agent.manager.on_auth_failure(move || {
        let token = format!("token-{}", made.fetch_add(1, Ordering::SeqCst));
        async move { Some(Secret::new(token)) }
    });
    agent.start();
    // real time: how often it connects in so long is what is measured
    tokio::time::sleep(ms(1500)).await;
    let connects = rig.mock.count("connect_sse");
    assert!((3..=10).contains(&connects), "{connects} in 1.5 s");
    agent.stop().await;
}

#[tokio::test]
async fn l2_the_persistent_policy_goes_on_and_a_new_token_wakes_it() {
    let rig = Rig::new().await;
    let new = rig.mock.replace_secret_key(&rig.node_id);
    let mut agent = rig.agent();
    agent.manager.set_failure_policy(FailurePolicy::Persistent);
    agent.start();
    let status = agent.mode(Mode::Waiting).await;
    assert!(status.last_error.unwrap().contains("401"));
    assert_eq!(rig.mock.count("connect_sse"), 1, "on the slow schedule");
    rig.plane.set_auth_token(new).unwrap();
    agent.mode(Mode::Streaming).await;
    agent.stop().await;
}

#[tokio::test]
async fn l2_the_persistent_policy_outlives_403_and_404() {
    for status in [403, 404] {
        let rig = Rig::new().await;
        rig.mock.script("connect_sse", Answer::problem(status, "refused", "go away"));
        let mut agent = rig.agent();
        agent.manager.set_failure_policy(FailurePolicy::Persistent);
        agent.start();
        agent.mode(Mode::Waiting).await;
        agent.manager.network_changed();
        agent.mode(Mode::Streaming).await;
        agent.stop().await;
    }
}
