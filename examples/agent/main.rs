//! One node agent, whole: registers, heartbeats, keeps the event stream open, acts on
//! what comes, reports, and deregisters.
//!
//! With nothing configured it starts a control plane in this process and plays a
//! short day of two nodes. With `PLEXSPHERE_URL` and `PLEXSPHERE_TOKEN` set it is one
//! agent against that control plane until Ctrl-C.

mod day;
mod log;
mod node;

use std::process::ExitCode;
use std::time::Duration;

use log::Log;
use node::Node;
use plexsphere_client::{BoxError, Mode};

const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(15);

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("agent: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), BoxError> {
    match (std::env::var("PLEXSPHERE_URL"), std::env::var("PLEXSPHERE_TOKEN")) {
        (Ok(url), Ok(token)) => agent(&url, &token).await,
        (Err(_), Err(_)) => day::play().await,
        _ => Err("set both PLEXSPHERE_URL and PLEXSPHERE_TOKEN, or neither".into()),
    }
}

/// One real agent, until Ctrl-C.
async fn agent(url: &str, token: &str) -> Result<(), BoxError> {
    let hostname = std::env::var("PLEXSPHERE_HOSTNAME")
        .unwrap_or_else(|_| format!("agent-{}", std::process::id()));
    let log = Log::new();
    let node = Node::join(url, token, &hostname, None, &log).await?;
    let stream = tokio::spawn(node.clone().run());
    log.line(&hostname, "running; Ctrl-C ends it");
    let ended = tokio::select! {
        ended = stream => ended?.map_err(BoxError::from),
        () = say_how_it_is(&node) => Ok(()),
        () = heartbeats(&node) => Ok(()),
        interrupted = tokio::signal::ctrl_c() => {
            interrupted?;
            leave(&node).await
        }
    };
    log.summary(&[(&hostname, &node)]);
    ended
}

/// A line for each change of the event stream's mode, with what went wrong.
async fn say_how_it_is(node: &Node) {
    let mut status = node.manager.status();
    let mut said = Mode::Idle;
    // The manager lives as long as the node, so this does not end.
    while status.changed().await.is_ok() {
        let (mode, error) = {
            let now = status.borrow_and_update();
            (now.mode, now.last_error.clone())
        };
        if mode != said {
            let why = error.filter(|_| matches!(mode, Mode::Waiting | Mode::Polling));
            let why = why.map_or_else(String::new, |error| format!(" ({error})"));
            node.agent.say(format!("event stream {}{why}", mode.as_str()));
            said = mode;
        }
    }
}

async fn heartbeats(node: &Node) {
    let mut ticks = tokio::time::interval(HEARTBEAT_INTERVAL);
    loop {
        ticks.tick().await;
        if let Err(error) = node.heartbeat().await {
            node.agent.say(format!("heartbeat failed: {error}"));
        }
    }
}

async fn leave(node: &Node) -> Result<(), BoxError> {
    node.manager.shutdown();
    node.agent.control_plane.deregister(&node.agent.id).await?;
    node.agent.say("deregistered");
    Ok(())
}
