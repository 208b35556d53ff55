//! Memory: of an idle manager, at the peak of a call, for each event, and over time.
//!
//! The server is this process; each case runs in a process of its own, which measures
//! itself by the kernel's count of its resident memory. So it runs on Linux only.
//!
//! `cargo bench -p plexsphere-lab --features contestants --bench memory`

#![allow(missing_docs, clippy::unwrap_used)]

#[path = "support/by_hand.rs"]
#[allow(dead_code)]
mod by_hand;
#[cfg(feature = "contestants")]
#[path = "support/decoders.rs"]
#[allow(dead_code)]
mod decoders;
#[path = "support/events.rs"]
#[allow(dead_code)]
mod events;
#[path = "support/in_memory.rs"]
mod in_memory;
#[path = "support/payloads.rs"]
mod payloads;
#[path = "support/race.rs"]
#[allow(dead_code)]
mod race;
#[path = "support/server.rs"]
mod server;

use std::env;
use std::fs;
use std::hint::black_box;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use by_hand::ByHand;
use bytes::Bytes;
use events::signed;
use futures::StreamExt;
use in_memory::{Handlers, chunks};
use payloads::{Payloads, state};
use plexsphere_client::events::{Ed25519Verifier, kind};
use plexsphere_client::{Config, ControlPlane, SseManager};
use race::{Extent, extent};
use server::{Site, serve};
use tokio::runtime::{Builder, Runtime};

const KIB: f64 = 1024.0;
/// What comes of a socket at a time.
const CHUNK: usize = 8 * 1024;

fn main() {
    let words: Vec<String> = env::args().skip_while(|word| word != "--child").skip(1).collect();
    match words.as_slice() {
        [url, key, case] => runtime().block_on(child(url, key, case)),
        _ => parent(),
    }
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// Serves, runs the cases and prints the tables.
fn parent() {
    let (most, step) = match extent() {
        Extent::Full => (5000, 25_000),
        Extent::Quick => (500, 5000),
        Extent::Smoke => (20, 100),
    };
    let all = signed(STEPS * step, 600);
    let key = all.key.clone();
    let quiet = Site { state: state(1), events: Arc::new([Bytes::from_static(b": hello\n\n")]) };
    let busy = Site { state: state(1), events: chunks(&all.bytes, CHUNK).into() };
    let large = Site { state: state(1000), events: Arc::default() };
    // One thread of its own for the server, for as long as the program runs.
    let server = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let [quiet, busy, large] =
        [quiet, busy, large].map(|site| format!("http://{}", server.block_on(serve(site))));
    idle(&quiet, &key, most);
    peaks(&large, &key);
    allocations();
    growth(&busy, &key, step);
}

/// Runs a case in a process of its own; it prints numbers, one a line.
fn measured(url: &str, key: &str, case: &str) -> Vec<f64> {
    let program = env::current_exe().unwrap();
    let output = Command::new(program).args(["--child", url, key, case]).output().unwrap();
    assert!(output.status.success(), "{case}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| line.parse().unwrap()).collect()
}

fn idle(url: &str, key: &str, most: usize) {
    println!("## Memory\n\n### Idle and connected, KiB for each of so many in one process\n");
    println!("| | 1 | 100 | {most} |\n|---|---:|---:|---:|");
    let mut rows = Vec::new();
    for (name, case) in
        [("plexsphere-client, a manager", "managers"), ("reqwest, a stream", "streams")]
    {
        let row = [1, 100, most].map(|count| {
            let grown = measured(url, key, &format!("{case} {count}"))[0];
            grown / KIB / count as f64
        });
        println!("| {name} | {:.1} | {:.1} | {:.1} |", row[0], row[1], row[2]);
        rows.push(row);
    }
    let more: Vec<f64> = rows[0].iter().zip(rows[1]).map(|(ours, bare)| ours - bare).collect();
    println!("| more for a manager | {:.1} | {:.1} | {:.1} |", more[0], more[1], more[2]);
}

fn peaks(url: &str, key: &str) {
    println!("\n### Peak of a call, KiB more than before it\n");
    println!("| | plexsphere-client | reqwest by hand |\n|---|---:|---:|");
    for (name, case) in [
        ("heartbeat", "heartbeat"),
        ("state with 1,000 peers", "state"),
        ("978 metric points", "metrics"),
        ("10,000 log lines", "logs"),
    ] {
        let [ours, hand] =
            ["ours", "hand"].map(|who| measured(url, key, &format!("{case} {who}"))[0] / KIB);
        println!("| {name} | {ours:.0} | {hand:.0} |");
    }
}

/// The events of the growth case come in so many steps.
const STEPS: usize = 6;

fn growth(url: &str, key: &str, step: usize) {
    println!("\n### Over time: one manager, verified events, KiB more than before the first\n");
    let rows = measured(url, key, &format!("growth {step}"));
    println!("| events handled | KiB |\n|---:|---:|");
    for (index, grown) in rows.iter().enumerate() {
        println!("| {} | {:.0} |", (index + 1) * step, grown / KIB);
    }
}

fn allocations() {
    println!("\n### Allocations, a 600-byte event in chunks of 8 KiB, to a typed handler\n");
    println!("| | allocations | bytes |\n|---|---:|---:|");
    let signed = signed(1000, 600);
    let chunks = chunks(&signed.bytes, CHUNK);
    let row = |name: &str, run: &mut dyn FnMut() -> usize| {
        let mut events = run();
        let info = allocation_counter::measure(|| events = run());
        let each = |total: u64| total as f64 / events as f64;
        println!("| {name} | {:.1} | {:.0} |", each(info.count_total), each(info.bytes_total));
    };
    let handlers = Handlers::new();
    row("plexsphere-client, no verification", &mut || {
        handlers.run(&chunks, Arc::new(plexsphere_client::events::NoOpVerifier))
    });
    row("plexsphere-client, verified", &mut || {
        handlers.run(&chunks, Arc::new(Ed25519Verifier::new(&signed.key).unwrap()))
    });
    #[cfg(feature = "contestants")]
    decoders::each(&chunks, |name, mut run| row(name, &mut run));
}

// ---- the child ----

async fn child(url: &str, key: &str, case: &str) {
    let (what, word) = case.split_once(' ').unwrap();
    match what {
        "managers" => managers(url, key, word.parse().unwrap()).await,
        "streams" => streams(url, word.parse().unwrap()).await,
        "growth" => grow(url, key, word.parse().unwrap()).await,
        call => println!("{}", peak(url, call, word == "ours").await),
    }
}

/// A line of `/proc/self/status` in bytes.
fn status(name: &str) -> f64 {
    let text = fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap();
    line.trim().strip_suffix(" kB").unwrap().trim().parse::<f64>().unwrap() * KIB
}

/// A control plane that has made its first call.
async fn control_plane(url: &str) -> ControlPlane {
    let api = ControlPlane::new(Config::new(url).unwrap(), "1.0").unwrap();
    api.set_auth_token("token").unwrap();
    api.fetch_state("warm-up").await.unwrap();
    api
}

/// So many are opened at a time: the server's queue of connections is not endless.
const AT_ONCE: usize = 50;

async fn managers(url: &str, key: &str, count: usize) {
    let api = control_plane(url).await;
    let opened = Arc::new(AtomicUsize::new(0));
    let before = status("VmRSS");
    for index in 0..count {
        let manager = SseManager::new(api.clone(), Ed25519Verifier::new(key).unwrap());
        let counter = Arc::clone(&opened);
        manager.on::<kind::PeerAdded>(|_| async { Ok(()) });
        manager.on_state(move |_| {
            counter.fetch_add(1, Ordering::Relaxed);
            async { Ok(()) }
        });
        tokio::spawn(async move { manager.start(&format!("node-{index}")).await });
        until(|| index + 1 - opened.load(Ordering::Relaxed) < AT_ONCE).await;
    }
    until(|| opened.load(Ordering::Relaxed) == count).await;
    println!("{}", status("VmRSS") - before);
}

async fn streams(url: &str, count: usize) {
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let warm_up = http.get(format!("{url}/v1/nodes/warm-up/state")).send().await.unwrap();
    warm_up.bytes().await.unwrap();
    let opened = Arc::new(AtomicUsize::new(0));
    let before = status("VmRSS");
    for index in 0..count {
        let request = http.get(format!("{url}/v1/nodes/node-{index}/events"));
        let counter = Arc::clone(&opened);
        tokio::spawn(async move {
            let mut chunks = request.bearer_auth("token").send().await.unwrap().bytes_stream();
            while let Some(Ok(chunk)) = chunks.next().await {
                black_box(chunk);
                counter.fetch_add(1, Ordering::Relaxed);
            }
        });
        until(|| index + 1 - opened.load(Ordering::Relaxed) < AT_ONCE).await;
    }
    until(|| opened.load(Ordering::Relaxed) == count).await;
    println!("{}", status("VmRSS") - before);
}

/// Also gives the others a moment to come to rest.
async fn until(met: impl Fn() -> bool) {
    for _ in 0..60_000 {
        if met() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("a minute has passed");
}

async fn peak(url: &str, call: &str, ours: bool) -> f64 {
    let payloads = Payloads::new();
    let api = control_plane(url).await;
    let hand = ByHand::new(url, "token");
    hand.fetch_state("warm-up").await;
    let heartbeat = payloads.heartbeat("n");
    // Resident memory counts pages that were used and given back to the allocator; the
    // first call of each kind is what makes the difference.
    fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = status("VmRSS");
    match (call, ours) {
        ("heartbeat", true) => {
            black_box(api.heartbeat("n", &heartbeat).await.unwrap());
        }
        ("heartbeat", false) => {
            black_box(hand.heartbeat("n", &heartbeat).await);
        }
        ("state", true) => drop(api.fetch_state("n").await.unwrap()),
        ("state", false) => drop(hand.fetch_state("n").await),
        ("metrics", true) => api.report_metrics("n", &payloads.metrics).await.unwrap(),
        ("metrics", false) => hand.post("n", "metrics", &payloads.metrics, 6).await,
        ("logs", true) => api.report_logs("n", &payloads.logs).await.unwrap(),
        ("logs", false) => hand.post("n", "logs", &payloads.logs, 6).await,
        other => panic!("{other:?}"),
    }
    status("VmHWM") - before
}

async fn grow(url: &str, key: &str, step: usize) {
    let api = control_plane(url).await;
    let manager = SseManager::new(api, Ed25519Verifier::new(key).unwrap());
    let before = status("VmRSS");
    let handled = AtomicUsize::new(0);
    let stopper = manager.clone();
    manager.on::<kind::PeerAdded>(move |event| {
        black_box(&event.payload);
        let count = handled.fetch_add(1, Ordering::Relaxed) + 1;
        if count.is_multiple_of(step) {
            println!("{}", status("VmRSS") - before);
        }
        if count == STEPS * step {
            stopper.shutdown();
        }
        async { Ok(()) }
    });
    manager.start("node-1").await.unwrap();
}
