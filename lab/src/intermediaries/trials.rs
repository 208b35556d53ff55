//! What is tried on a lane, and what must come of it.

use std::time::{Duration, Instant};

use plexsphere_client::{Config, ControlPlane, Error, Mode};
use plexsphere_mock::Answer;
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use super::Outcome;
use super::agent::{Agent, SOON};
use super::lane::{Lane, Through, Transport, Trial};

const EVENTS: usize = 20;
/// How often a stream is cut before the trial is over.
const CUTS: u64 = 3;
/// How long the agent of a lane that holds bytes back waits for one.
const IDLE_LIMIT: Duration = Duration::from_millis(900);

pub async fn run(lane: &Lane) -> Outcome {
    match lane.trial {
        Trial::Flows | Trial::Defaults | Trial::Compressed => flows(lane).await,
        Trial::AskedNotTo => {
            let answer = Answer::real().header("X-Accel-Buffering", "no");
            lane.mock.script_always("connect_sse", answer);
            flows(lane).await
        }
        Trial::IdleCut => is_cut_and_resumes(lane).await,
        Trial::HeldBack | Trial::BodyHeldBack => is_named_and_polled(lane).await,
        Trial::ClientCertificate => client_certificate(lane).await,
        Trial::TooOld => {
            let (api, _) = lane.client(|config| config)?;
            refused(api.ping().await, "the server takes no TLS version from 1.2 on")
        }
        Trial::WrongScheme => wrong_scheme(lane).await,
    }
}

async fn flows(lane: &Lane) -> Outcome {
    let (api, node_id) = lane.client(|config| config)?;
    let median = stream(lane, &api, &node_id).await?;
    let calls = calls(lane, &api, &node_id).await?;
    Ok(format!("{EVENTS} events, median {median:.1?}; {calls}"))
}

/// Events come one by one, each before the next is sent. The time of the middle one.
async fn stream(lane: &Lane, api: &ControlPlane, node_id: &str) -> Result<Duration, String> {
    let agent = Agent::start(api, &lane.mock, node_id)?;
    opened(lane, node_id, 1).await?;
    let (mut sent, mut times) = (Vec::new(), Vec::new());
    for _ in 0..EVENTS {
        let began = Instant::now();
        sent.push(lane.publish(node_id));
        agent.handled(&sent).await?;
        times.push(began.elapsed());
    }
    let status = agent.status();
    if status.counters.connections != 1 || status.last_error.is_some() {
        return Err(format!("one connection and no error expected: {status:?}"));
    }
    version(lane, "connect_sse")?;
    times.sort();
    Ok(times[EVENTS / 2])
}

async fn opened(lane: &Lane, node_id: &str, count: usize) -> Result<(), String> {
    let open = lane.mock.wait_until(SOON, |mock| mock.open_streams_of(node_id) >= count).await;
    if open { Ok(()) } else { Err("no stream was opened".to_owned()) }
}

/// The intermediary says in a header which version was spoken to it.
fn version(lane: &Lane, route: &str) -> Result<(), String> {
    let requests = lane.mock.requests_for(route);
    let seen = requests.last().and_then(|request| request.header("x-client-protocol"));
    match seen {
        Some(version) if version == lane.transport.version() => Ok(()),
        other => Err(format!("{route} came by {other:?}, not {}", lane.transport.version())),
    }
}

/// Small and large calls, gzip out, gzip back where it is on, and one that is too large.
async fn calls(lane: &Lane, api: &ControlPlane, node_id: &str) -> Outcome {
    let said = |error: Error| error.to_string();
    api.ping().await.map_err(said)?;
    version(lane, "ping")?;
    lane.mock.set_data(node_id, &json!({ "note": "x".repeat(20_000) }), &json!([]));
    let state = api.fetch_state(node_id).await.map_err(said)?;
    if state.metadata.get("note").map(String::len) != Some(20_000) {
        return Err("the state is not whole".to_owned());
    }
    let path = format!("/v1/nodes/{node_id}/logs");
    let entry = |text: String| {
        json!([{ "timestamp": "2025-01-15T10:30:00Z", "source": "lab", "unit": "lab",
            "severity": "info", "message": text, "hostname": "web-1" }])
    };
    let long = entry("hello ".repeat(5_000));
    api.post_json::<Value, IgnoredAny>(&path, &long).await.map_err(said)?;
    let requests = lane.mock.requests_for("report_logs");
    let logs = requests.last().ok_or("no logs arrived")?;
    if logs.header("content-encoding") != Some("gzip")
        || logs.json::<Value>().ok().as_ref() != Some(&long)
    {
        return Err("the logs did not arrive as they were sent".to_owned());
    }
    if lane.through == Through::Nginx && lane.trial == Trial::Compressed {
        was_compressed(lane, node_id).await?;
    }
    if lane.through == Through::Haproxy {
        return Ok("calls and gzip bodies work".to_owned());
    }
    // nginx takes 1 MiB by default. What is random does not get smaller.
    let noise: String = (0..60_000).map(|_| uuid()).collect();
    let too_large = api.post_json::<Value, IgnoredAny>(&path, &entry(noise)).await;
    match too_large {
        Err(error) if error.is_payload_too_large() => {
            Ok(format!("calls and gzip bodies work, 1.9 MB: \"{error}\""))
        }
        other => Err(format!("a body over 1 MiB: {:?}", other.map(|_| "taken"))),
    }
}

/// nginx writes down how much smaller each answer became.
async fn was_compressed(lane: &Lane, node_id: &str) -> Result<(), String> {
    let log = lane.certificates.dir.join("nginx-access.log");
    let of_state = format!("{} /v1/nodes/{node_id}/state {} ", lane.port, lane.transport.version());
    let began = Instant::now();
    // The line comes when the answer is gone.
    while began.elapsed() < SOON {
        let text = std::fs::read_to_string(&log).map_err(|e| e.to_string())?;
        match text.lines().rev().find_map(|line| line.strip_prefix(&of_state)) {
            Some("-") => return Err("the state was not compressed".to_owned()),
            Some(_) => return Ok(()),
            None => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
    Err("nginx did not write down the state".to_owned())
}

/// 32 digits that do not compress to less than half.
fn uuid() -> String {
    use std::hash::{BuildHasher, Hasher, RandomState};
    let random = || RandomState::new().build_hasher().finish();
    format!("{:016x}{:016x}", random(), random())
}

async fn is_cut_and_resumes(lane: &Lane) -> Outcome {
    let (api, node_id) = lane.client(|config| config)?;
    let agent = Agent::start(&api, &lane.mock, &node_id)?;
    opened(lane, &node_id, 1).await?;
    let mut sent = vec![lane.publish(&node_id)];
    agent.handled(&sent).await?;
    for _ in 0..CUTS {
        let cut = lane.mock.wait_until(SOON, |mock| mock.open_streams_of(&node_id) == 0).await;
        if !cut {
            return Err("the silent stream was not cut".to_owned());
        }
        // One while it is down, one when it is back.
        sent.push(lane.publish(&node_id));
        agent.handled(&sent).await?;
        sent.push(lane.publish(&node_id));
        agent.handled(&sent).await?;
    }
    let status = agent.status();
    let (connections, skipped) = (status.counters.connections, status.counters.skipped);
    if connections <= CUTS || skipped > 0 {
        return Err(format!("{connections} connections, {skipped} skipped"));
    }
    version(lane, "connect_sse")?;
    let said = status.last_error.unwrap_or_else(|| "a clean end".to_owned());
    Ok(format!("cut {CUTS} times, resumed, {} events, none lost: \"{said}\"", sent.len()))
}

async fn is_named_and_polled(lane: &Lane) -> Outcome {
    let limits = |config: Config| {
        let connecting = IDLE_LIMIT - Duration::from_millis(1);
        config.sse_idle_timeout(IDLE_LIMIT).header_timeout(IDLE_LIMIT).connect_timeout(connecting)
    };
    let (api, node_id) = lane.client(limits)?;
    let began = Instant::now();
    let agent = Agent::start(&api, &lane.mock, &node_id)?;
    let status = agent.status_until("polling", |status| status.mode == Mode::Polling).await?;
    let named = began.elapsed();
    let said = status.last_error.unwrap_or_default();
    let words = "three times in a row: something between buffers the stream";
    if !said.contains(words) {
        return Err(format!("polling because of {said:?}"));
    }
    let body_only = lane.trial == Trial::BodyHeldBack;
    if (status.counters.connections > 0) != body_only {
        return Err(format!("{} streams opened", status.counters.connections));
    }
    // The states come in, and the stream is still tried.
    let states = status.counters.states;
    let tries = lane.mock.count("connect_sse");
    agent.status_until("states", |status| status.counters.states >= states + 3).await?;
    let tried = lane.mock.wait_until(SOON, |mock| mock.count("connect_sse") > tries).await;
    if !tried {
        return Err("the stream is not tried any more".to_owned());
    }
    version(lane, "connect_sse")?;
    api.ping().await.map_err(|e| e.to_string())?;
    Ok(format!("named after {:.1} s, then polled: \"{said}\"", named.as_secs_f64()))
}

async fn client_certificate(lane: &Lane) -> Outcome {
    let (without, node_id) = lane.client(|config| config)?;
    let words = match (lane.through, lane.transport) {
        // It hangs up before HTTP/2 reads what it says of that.
        (Through::Haproxy, Transport::TlsHttp2) => "client_certificate_pem",
        _ => "asks for a client certificate: give it one with client_certificate_pem",
    };
    let said = refused(without.ping().await, words)?;
    let opening = without.connect_sse(&node_id, None).await.map(|_| ());
    refused(opening, words)?;
    let own = &lane.certificates;
    let (with, node_id) =
        lane.client(|config| config.client_certificate_pem(&own.client, own.client_key.as_str()))?;
    let median = stream(lane, &with, &node_id).await?;
    Ok(format!("with it {EVENTS} events, median {median:.1?}; without it {said}"))
}

async fn wrong_scheme(lane: &Lane) -> Outcome {
    if !lane.is_tls() {
        let (api, _) = lane.client_at("https", |config| config)?;
        return refused(api.ping().await, "does not speak TLS there: check scheme and port");
    }
    let (api, _) = lane.client_at("http", |config| config)?;
    match lane.through {
        Through::Nginx => refused(api.ping().await, "speaks TLS: write https in base_url"),
        // It hangs up without a word.
        Through::Haproxy => refused(api.ping().await, "does the port speak TLS? then write https"),
    }
}

/// The error that there must be, with these words in it.
pub fn refused(result: Result<(), Error>, words: &str) -> Outcome {
    match result {
        Err(error) if error.to_string().contains(words) => Ok(format!("\"{error}\"")),
        Err(error) => Err(format!("\"{error}\" does not say: {words}")),
        Ok(()) => Err(format!("nothing failed, instead of: {words}")),
    }
}
