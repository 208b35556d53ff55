//! How much memory an answer costs that is larger than its limit.
//!
//! A test binary of its own with one test, so that nothing else uses memory: before each
//! case the kernel's high-water mark of resident memory (`VmHWM`) is set back, and after
//! it the mark is compared with what was in use. The server runs in the same process and
//! is counted too. Elsewhere than on Linux there is no such mark, and nothing is measured.

#![cfg(target_os = "linux")]
// A test that cannot go on says so by panicking.
#![allow(clippy::unwrap_used)]

#[allow(dead_code)]
#[path = "memory/peak.rs"]
mod peak;

use bytes::Bytes;
use futures::StreamExt;
use plexsphere_client::events::NoOpVerifier;
use plexsphere_client::{Config, ControlPlane, Delivery, Error, ErrorKind, SseManager};
use plexsphere_mock::{Answer, MockControlPlane, Then};
use serde_json::Value;

use crate::peak::{MEBIBYTE, peak_of};

fn assert_too_large(error: Error) {
    assert_eq!(error.kind(), ErrorKind::ResponseTooLarge, "{error}");
}

#[tokio::test]
async fn an_answer_over_its_limit_costs_less_than_64_mib() {
    let mock = MockControlPlane::start().await.unwrap();
    let api = ControlPlane::new(Config::new(mock.url()).unwrap(), "1").unwrap();
    api.set_auth_token("t").unwrap();

    let bomb = Answer::status(200).repeat("[", 50 * MEBIBYTE).gzip();
    for _ in 0..2 {
        mock.script("fetch_state", bomb.clone());
        let run = async { assert_too_large(api.fetch_state("n").await.unwrap_err()) };
        peak_of("a gzip bomb of 50 MiB", run).await;
    }
    mock.script("fetch_state", Answer::status(200).repeat(" ", 64 * MEBIBYTE));
    let run = async { assert_too_large(api.fetch_state("n").await.unwrap_err()) };
    peak_of("a plain body of 64 MiB", run).await;

    mock.script("/v1/x", Answer::status(200).endless("x"));
    let run = async { assert_too_large(api.get_json::<Value>("/v1/x").await.unwrap_err()) };
    peak_of("a body without an end", run).await;

    mock.script("fetch_state", bomb.with_status(500));
    let run = async { assert!(api.fetch_state("n").await.unwrap_err().is_server()) };
    peak_of("a gzip bomb as an error", run).await;

    mock.script("fetch_artifact", Answer::status(200).repeat("x", 256 * MEBIBYTE));
    let run = async {
        let mut artifact = api.fetch_artifact("v", "o", "a").await.unwrap();
        let mut length = 0;
        while let Some(chunk) = artifact.next().await {
            length += chunk.unwrap().len() as u64;
        }
        assert_eq!(length, 256 * MEBIBYTE);
    };
    peak_of("an artifact of 256 MiB, streamed", run).await;

    peak_of("an event of 257 MiB, skipped", oversized_event(&mock)).await;
}

/// The event is skipped and said; the one behind it, on the same connection, is handled.
async fn oversized_event(mock: &MockControlPlane) {
    let line = Bytes::from(format!("data: {}\n", "x".repeat(MEBIBYTE as usize - 7)));
    let next = "\ndata: {\"event_type\":\"policy_updated\",\"event_id\":\"e-1\"}\n\n";
    let chunks = std::iter::repeat_n(line, 257).chain([Bytes::from(next)]);
    let node = mock.add_node("node");
    mock.stream_raw(chunks, Then::Stall);
    let api = ControlPlane::new(Config::new(mock.url()).unwrap(), "1").unwrap();
    api.set_auth_token(node.secret_key).unwrap();
    let manager = SseManager::new(api, NoOpVerifier);
    let mut deliveries = manager.deliveries(&node.node_id).unwrap();
    while let Some(delivery) = deliveries.next().await {
        if let Delivery::Event(event) = delivery.unwrap() {
            assert_eq!(event.event_id, "e-1");
            break;
        }
    }
    let counters = manager.status().borrow().counters;
    assert_eq!((counters.oversized, counters.connections), (1, 1));
    assert!(counters.bytes > 257 * MEBIBYTE);
}
