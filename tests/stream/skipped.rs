//! What is not handled: counted, reported, made good, and never a step of the cursor.

use std::time::Duration;

use plexsphere_client::{ClockSkew, Counters};
use plexsphere_mock::{Event, PublishedEvent};
use serde_json::json;

use crate::support::{Agent, Rig, ms};

const HOUR: Duration = Duration::from_secs(3600);

fn event() -> Event {
    Event::new("policy_updated", &json!({}))
}

/// Opens a stream, handles one event (id 1), spoils one (id 2), and checks what
/// always holds.
async fn skip(
    config: impl FnOnce(plexsphere_client::Config) -> plexsphere_client::Config,
    spoil: impl FnOnce(&Rig),
) -> (String, Agent, Rig) {
    let rig = Rig::with(|mock| mock, config).await;
    let mut agent = rig.streaming().await;
    rig.publish();
    agent.status_until(|s| s.counters.events == 1).await;
    spoil(&rig);
    let line = agent.skipped.has(1).await.remove(0);
    agent.states.has(2).await;
    let status = agent.status();
    assert_eq!((status.counters.skipped, status.counters.connections), (1, 1));
    let good = rig.publish();
    agent.events.has(2).await;
    assert_eq!(agent.events.all().last(), Some(&good), "the stream goes on");
    agent.stop().await;
    assert_eq!(rig.mock.count("connect_sse"), 1, "and was never cut");
    (line, agent, rig)
}

/// Skips what is published, and then again with the cursor looked at in between.
async fn refused(make: impl Fn() -> Event) -> String {
    let mut published: Option<PublishedEvent> = None;
    let (line, agent, _) =
        skip(|config| config, |rig| published = Some(rig.mock.publish_event(&rig.node_id, make())))
            .await;
    let counters = agent.status().counters;
    assert_eq!((counters.refused, counters.events), (1, 2));
    let id = published.unwrap().event_id;
    line.strip_prefix(&format!("policy_updated {id}: ")).expect(&line).to_owned()
}

/// Where the cursor is after an event that is skipped.
async fn cursor_after(make: impl FnOnce() -> Event) -> Option<String> {
    let rig = Rig::new().await;
    let mut agent = rig.streaming().await;
    rig.publish();
    agent.status_until(|s| s.counters.events == 1).await;
    rig.mock.publish_event(&rig.node_id, make());
    agent.skipped.has(1).await;
    agent.stop().await;
    agent.status().last_event_id
}

#[tokio::test]
async fn l7_a_malformed_block() {
    let (line, agent, _) = skip(
        |config| config,
        |rig| {
            rig.mock.inject(&rig.node_id, "id: 99\nevent: peer_added\ndata: {\"event_type\":\n\n");
        },
    )
    .await;
    assert!(line.starts_with("- -: the envelope is not valid JSON"), "{line}");
    assert_eq!(agent.status().counters.malformed, 1);
}

#[tokio::test]
async fn parity_2h_l8_a_malformed_block_does_not_move_the_cursor() {
    let rig = Rig::new().await;
    let mut agent = rig.streaming().await;
    rig.publish();
    agent.status_until(|s| s.counters.events == 1).await;
    rig.mock.inject(&rig.node_id, "id: 99\ndata: {}\n\nid: 98\n\n");
    agent.skipped.has(1).await;
    agent.stop().await;
    assert_eq!(agent.status().last_event_id.as_deref(), Some("1"));
}

#[tokio::test]
async fn parity_2b_b2_an_oversized_event() {
    let filler = "x".repeat(20_000);
    let (line, agent, _) = skip(
        |config| config.event_limit(10_000),
        |rig| {
            let payload = json!({ "filler": filler });
            rig.mock.publish(&rig.node_id, "node_state_updated", &payload);
        },
    )
    .await;
    assert_eq!(line, "node_state_updated -: the event is over the event limit");
    assert_eq!(agent.status().counters.oversized, 1);
}

#[tokio::test]
async fn parity_2b_a_line_over_64_kib_is_an_event_like_any_other() {
    let rig = Rig::new().await;
    let mut agent = rig.streaming().await;
    let payload = json!({ "filler": "x".repeat(700_000) });
    let id = rig.mock.publish(&rig.node_id, "node_state_updated", &payload).event_id;
    assert_eq!(agent.events.has(1).await, [id]);
    agent.stop().await;
}

#[tokio::test]
async fn an_unsigned_event() {
    let reason = refused(|| event().signature("")).await;
    assert_eq!(reason, "the event has no signature");
    assert_eq!(cursor_after(|| event().signature("")).await.as_deref(), Some("1"));
}

#[tokio::test]
async fn parity_2h_a_forged_event() {
    let reason = refused(|| event().forged()).await;
    assert_eq!(reason, "the event's signature is wrong, or of a key that is not trusted");
    assert_eq!(cursor_after(|| event().forged()).await.as_deref(), Some("1"));
}

#[tokio::test]
async fn a_bad_signature_encoding_a_missing_nonce_and_time() {
    assert!(refused(|| event().signature("AAAA")).await.contains("base64"));
    assert!(refused(|| event().nonce("")).await.contains("nonce"));
    assert!(refused(|| event().issued_at("0001-01-01T00:00:00Z")).await.contains("time"));
}

#[tokio::test]
async fn parity_2g_a_stale_event_is_made_good_and_the_cursor_moves_past_it() {
    let reason = refused(|| event().age(HOUR)).await;
    assert!(reason.starts_with("the event is stale"), "{reason}");
    assert_eq!(cursor_after(|| event().age(HOUR)).await.as_deref(), Some("2"));
}

#[tokio::test]
async fn parity_2h_a_stale_event_of_a_stranger_moves_nothing() {
    assert_eq!(cursor_after(|| event().age(HOUR).forged()).await.as_deref(), Some("1"));
}

#[tokio::test]
async fn an_event_from_the_future_moves_nothing() {
    let ahead = || event().issued_at("2999-01-01T00:00:00Z");
    let reason = refused(ahead).await;
    assert!(reason.starts_with("the event is from the future"), "{reason}");
    assert_eq!(cursor_after(ahead).await.as_deref(), Some("1"));
}

#[tokio::test]
async fn a_nonce_used_before_by_another_event() {
    let rig = Rig::new().await;
    let mut agent = rig.streaming().await;
    rig.mock.publish_event(&rig.node_id, event().nonce("once"));
    agent.status_until(|s| s.counters.events == 1).await;
    let again = rig.mock.publish_event(&rig.node_id, event().nonce("once")).event_id;
    let line = agent.skipped.has(1).await.remove(0);
    let expected =
        format!("policy_updated {again}: the event's nonce was used before by another event");
    assert_eq!(line, expected);
    assert_eq!(agent.status().last_event_id.as_deref(), Some("1"));
    agent.states.has(2).await;
    agent.stop().await;
    assert_eq!(agent.events.len(), 1);
}

#[tokio::test]
async fn issue_3_2_a_wrong_clock_is_told_apart_and_the_cursor_stays() {
    for ahead in [true, false] {
        let rig = Rig::new().await;
        let mut agent = rig.streaming().await;
        rig.publish();
        agent.status_until(|s| s.counters.events == 1).await;
        agent.stop().await;
        assert_eq!(agent.status().clock_skew, None);
        match ahead {
            true => rig.mock.set_clock_ahead(HOUR * 2),
            false => rig.mock.set_clock_behind(HOUR * 2),
        }
        agent.start();
        rig.mock.wait_for_streams(&rig.node_id, 1, crate::support::LIMIT).await;
        rig.publish();
        let line = agent.skipped.has(1).await.remove(0);
        let word = if ahead { "behind the server's" } else { "ahead of the server's" };
        assert!(line.contains("this machine's clock is") && line.contains(word), "{line}");
        let status = agent.status();
        let (ClockSkew::Behind(by) | ClockSkew::Ahead(by)) = status.clock_skew.unwrap();
        assert!(by > HOUR * 2 - ms(5000) && by < HOUR * 2 + ms(5000), "{by:?}");
        assert_eq!(status.last_event_id.as_deref(), Some("1"), "the event is not lost");
        // The clock is set: the event is still there.
        rig.mock.set_clock_ahead(Duration::ZERO);
        agent.stop().await;
        agent.start();
        let good = rig.publish();
        agent.events.until(|events| events.last() == Some(&good)).await;
        assert_eq!(agent.status().clock_skew, None);
        agent.stop().await;
    }
}

#[tokio::test]
async fn one_of_each_and_the_counters_add_up() {
    let rig = Rig::with(|mock| mock, |config| config.event_limit(10_000)).await;
    let mut agent = rig.streaming().await;
    let mut sent = vec![rig.publish()];
    for bad in [event().signature(""), event().age(HOUR), event().nonce("")] {
        rig.mock.publish_event(&rig.node_id, bad);
        sent.push(rig.publish());
    }
    rig.mock.publish(&rig.node_id, "policy_updated", &json!({ "filler": "x".repeat(20_000) }));
    sent.push(rig.publish());
    assert_eq!(agent.events.has(sent.len()).await, sent);
    agent.stop().await;
    let Counters { skipped, refused, oversized, malformed, connections, .. } =
        agent.status().counters;
    assert_eq!((skipped, refused, oversized, malformed, connections), (4, 3, 1, 0, 1));
    assert_eq!(agent.skipped.len(), 4);
}
