//! Calls over loopback: beside the same by hand with reqwest, and beside the generated
//! client without what this crate adds to it.
//!
//! Client and bare server share one thread, so a figure is the cost of both; the mock has a
//! thread of its own.
//!
//! `cargo bench -p plexsphere-lab --features contestants --bench requests`

#![allow(missing_docs, clippy::unwrap_used)]

#[path = "support/by_hand.rs"]
mod by_hand;
#[path = "support/payloads.rs"]
mod payloads;
#[path = "support/race.rs"]
mod race;
#[path = "support/server.rs"]
mod server;

use std::sync::Arc;

use by_hand::ByHand;
use payloads::{Payloads, state};
use plexsphere_client::{Config, ControlPlane};
use plexsphere_mock::MockControlPlane;
use race::Race;
use server::{Site, serve};
use tokio::runtime::{Builder, Runtime};

const PEERS: usize = 1000;

const RACES: [&str; 4] =
    ["Heartbeat", "State with 1,000 peers", "978 metric points", "10,000 log lines"];

fn main() {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let payloads = Payloads::new();
    println!("## Requests");
    let site = Site { state: state(PEERS), events: Arc::default() };
    races(&runtime, &payloads, "a bare hyper server", || Target {
        url: format!("http://{}", runtime.block_on(serve(site))),
        node: "node-1".into(),
        token: "t".into(),
    });
    let mock = MockControlPlane::builder().record_limit(1).keep_published(false);
    let mock = runtime.block_on(mock.start()).unwrap();
    races(&runtime, &payloads, "the mock control plane", || {
        let node = mock.add_node("node-0");
        (1..PEERS).for_each(|index| drop(mock.add_node(&format!("node-{index}"))));
        Target { url: mock.url(), node: node.node_id, token: node.secret_key }
    });
}

struct Target {
    url: String,
    node: String,
    token: String,
}

/// How many rounds, and how many calls a turn. The target is made ready only for a race that
/// is asked for: the nodes of the mock take long.
fn races(runtime: &Runtime, payloads: &Payloads, server: &str, target: impl FnOnce() -> Target) {
    let titles = RACES.map(|what| format!("{what}, {server}"));
    if !titles.iter().any(|title| race::is_asked(title)) {
        return;
    }
    let [heartbeat, state, metrics, logs] = titles;
    let target = target();
    let api = ControlPlane::new(Config::new(target.url.as_str()).unwrap(), "1.0").unwrap();
    api.set_auth_token(target.token.as_str()).unwrap();
    let hand = ByHand::new(&target.url, &target.token);
    let node = target.node.as_str();

    let body = payloads.heartbeat(node);
    let mut race = Race::new(heartbeat, "call", 200);
    race.add("plexsphere-client", || {
        runtime.block_on(repeat(20, async || api.heartbeat(node, &body).await.unwrap()))
    });
    race.add("reqwest by hand", || {
        runtime.block_on(repeat(20, async || hand.heartbeat(node, &body).await))
    });
    #[cfg(feature = "contestants")]
    race.add("the generated client without hooks", || {
        runtime.block_on(repeat(20, async || hand.generated_heartbeat(node, &body).await))
    });
    race.run();

    let mut race = Race::new(state, "call", 60);
    race.add("plexsphere-client", || {
        runtime.block_on(repeat(2, async || api.fetch_state(node).await.unwrap()))
    });
    race.add("reqwest by hand", || {
        runtime.block_on(repeat(2, async || hand.fetch_state(node).await))
    });
    race.run();

    let mut race = Race::new(metrics, "call", 60);
    let points = &payloads.metrics;
    race.add("plexsphere-client", || {
        runtime.block_on(repeat(2, async || api.report_metrics(node, points).await.unwrap()))
    });
    race.add("reqwest by hand, gzip level 1", || {
        runtime.block_on(repeat(2, async || hand.post(node, "metrics", points, 1).await))
    });
    race.add("reqwest by hand, gzip level 6", || {
        runtime.block_on(repeat(2, async || hand.post(node, "metrics", points, 6).await))
    });
    race.run();

    let mut race = Race::new(logs, "call", 25);
    let lines = &payloads.logs;
    race.add("plexsphere-client", || {
        runtime.block_on(repeat(1, async || api.report_logs(node, lines).await.unwrap()))
    });
    race.add("reqwest by hand, gzip level 1", || {
        runtime.block_on(repeat(1, async || hand.post(node, "logs", lines, 1).await))
    });
    race.add("reqwest by hand, gzip level 6", || {
        runtime.block_on(repeat(1, async || hand.post(node, "logs", lines, 6).await))
    });
    race.run();
}

async fn repeat<T>(times: usize, call: impl AsyncFn() -> T) -> usize {
    for _ in 0..times {
        call().await;
    }
    times
}
