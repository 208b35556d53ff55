//! Event streams, and breaking them.
#![allow(clippy::unwrap_used)]

mod common;

use std::time::Duration;

use common::{Api, LIMIT};
use plexsphere_mock::{Close, Event, MockControlPlane, Then};
use serde_json::json;

async fn node_with_stream(mock: &MockControlPlane) -> (Api, common::Stream) {
    let (api, _) = Api::register(mock, "web-1").await;
    let events = api.events(None).await;
    (api, events)
}

#[tokio::test]
async fn a_quiet_stream_is_kept_alive() {
    let mock =
        MockControlPlane::builder().keep_alive(Duration::from_millis(20)).start().await.unwrap();
    let (api, mut events) = node_with_stream(&mock).await;
    for _ in 0..3 {
        assert_eq!(events.block().await.unwrap(), ":keep-alive");
    }
    assert_eq!(mock.stall_streams(&api.node_id, true), 1);
    let silent = async { while events.block().await.is_ok() {} };
    assert!(tokio::time::timeout(Duration::from_millis(200), silent).await.is_err(), "it ended");
    mock.publish(&api.node_id, "policy_updated", &json!({}));
    mock.stall_streams(&api.node_id, false);
    assert_eq!(events.event().await.1, "policy_updated");
}

#[tokio::test]
async fn streams_end_in_four_ways() {
    let mock = MockControlPlane::start().await.unwrap();
    let (api, mut events) = node_with_stream(&mock).await;
    mock.publish(&api.node_id, "policy_updated", &json!({}));
    events.event().await;
    mock.cut_streams(&api.node_id, Close::End);
    assert_eq!(events.block().await.unwrap_err(), "end after \"\"");
    mock.wait_for_streams(&api.node_id, 0, LIMIT).await;
    for (close, wanted) in [(Close::Cut, "broken after \"\""), (Close::Reset, "broken after \"\"")]
    {
        let mut events = api.events(None).await;
        assert_eq!(mock.cut_streams(&api.node_id, close), 1);
        assert_eq!(events.block().await.unwrap_err(), wanted, "{close:?}");
    }
    let mut events = api.events(None).await;
    mock.cut_streams(&api.node_id, Close::MidFrame);
    let half = events.block().await.unwrap_err();
    assert!(half.starts_with("broken after \"id: 1\\nevent: policy_updated\\ndata: {"), "{half}");
    assert_eq!(mock.open_streams(), 0);
}

#[tokio::test]
async fn every_stream_is_cut_after_so_many_events_and_nothing_is_lost() {
    let mock = MockControlPlane::start().await.unwrap();
    let (api, _) = Api::register(&mock, "web-1").await;
    mock.cut_every(&api.node_id, Some((3, Close::MidFrame)));
    for number in 0..10 {
        mock.publish(&api.node_id, "policy_updated", &json!({ "number": number }));
    }
    let mut seen = 0;
    let mut streams = 0;
    while seen < 10 {
        let mut events = api.events(Some(&seen.to_string())).await;
        streams += 1;
        while let Ok(block) = events.block().await {
            seen += 1;
            assert!(block.starts_with(&format!("id: {seen}\n")), "{block}");
            if seen == 10 {
                break;
            }
        }
    }
    assert_eq!(streams, 4, "three, three, three, one");
    mock.cut_every(&api.node_id, None);
}

#[tokio::test]
async fn raw_bytes_and_injected_bytes_arrive_as_they_are() {
    let mock = MockControlPlane::start().await.unwrap();
    let (api, _) = Api::register(&mock, "web-1").await;
    mock.stream_raw([&b"\xef\xbb\xbfda"[..], b"ta: x\r", b"\n\r\n"], Then::Cut);
    let mut raw = api.events(None).await;
    let mut bytes = Vec::new();
    while let Ok(Some(chunk)) = raw.response.chunk().await {
        bytes.extend_from_slice(&chunk);
    }
    assert_eq!(bytes, b"\xef\xbb\xbfdata: x\r\n\r\n");
    let mut events = api.events(None).await;
    assert_eq!(mock.inject(&api.node_id, "garbage\n\n"), 1);
    assert_eq!(events.block().await.unwrap(), "garbage");
    let published = mock.publish(&api.node_id, "policy_updated", &json!({}));
    events.event().await;
    mock.inject(&api.node_id, published.frame);
    assert_eq!(events.event().await.2["event_id"], *published.event_id, "a redelivery");
}

#[tokio::test]
async fn events_need_not_be_honest() {
    let mock = MockControlPlane::start().await.unwrap();
    let (api, mut events) = node_with_stream(&mock).await;
    let event = || Event::raw("policy_updated", "{ \"a\" : 1.50 }");
    let honest = mock.publish_event(&api.node_id, event());
    let forged = mock.publish_event(&api.node_id, event().forged());
    let odd =
        event().event_id("e").nonce("n").issued_at("2026-01-15T10:30:00.5+02:00").signature("");
    let odd = mock.publish_event(&api.node_id, odd.frame_id("x").frame_name("y"));
    assert!(honest.genuine && !forged.genuine && !odd.genuine);
    assert!(honest.envelope_json.contains("\"payload\":{\"a\":1.50}"), "{}", honest.envelope_json);
    events.event().await;
    events.event().await;
    let (id, name, envelope) = events.event().await;
    assert_eq!((id.as_str(), name.as_str(), envelope["event_id"].as_str()), ("x", "y", Some("e")));
    assert_eq!((envelope["nonce"].as_str(), envelope["signature"].as_str()), (Some("n"), Some("")));
    assert_eq!(mock.published().iter().map(|event| event.seq).collect::<Vec<_>>(), [1, 2, 3]);
}

#[tokio::test]
async fn the_bus_goes_down_and_comes_back() {
    let mock = MockControlPlane::start().await.unwrap();
    let (api, mut events) = node_with_stream(&mock).await;
    mock.set_bus_down(true);
    assert!(events.block().await.unwrap_err().starts_with("end"));
    assert_eq!(api.get("events").send().await.unwrap().status(), 503);
    assert_eq!(api.get("state").send().await.unwrap().status(), 200);
    mock.publish(&api.node_id, "policy_updated", &json!({}));
    mock.set_bus_down(false);
    assert_eq!(api.events(Some("0")).await.event().await.0, "1");
}

#[tokio::test]
async fn the_backlog_is_bounded() {
    let mock = MockControlPlane::builder().backlog(3).start().await.unwrap();
    let (api, _) = Api::register(&mock, "web-1").await;
    for _ in 0..10 {
        mock.publish(&api.node_id, "policy_updated", &json!({}));
    }
    assert_eq!(api.events(Some("2")).await.event().await.0, "8");
    let mut future = api.events(Some("999")).await;
    mock.publish(&api.node_id, "policy_updated", &json!({}));
    assert_eq!(future.event().await.0, "11", "an id from the future means now");
}

#[tokio::test]
async fn ten_thousand_events_pass_whole_and_in_order() {
    let mock = MockControlPlane::start().await.unwrap();
    let (api, mut events) = node_with_stream(&mock).await;
    for number in 1..=10_000 {
        mock.publish(&api.node_id, "policy_updated", &json!({ "number": number }));
    }
    for number in 1..=10_000 {
        assert_eq!(events.event().await.2["payload"]["number"], number);
    }
}
