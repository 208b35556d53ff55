//! The control plane in a box as a program.

use std::io::Write;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use plexsphere_mock::{MockControlPlane, Served, contract_as_json};
use serde_json::json;

const HELP: &str = "\
A Plexsphere control plane in a box.

Usage: plexsphere-mock [OPTIONS]

Options:
  --listen <ADDR:PORT>       where to listen; port 0 takes a free one [default: 127.0.0.1:0]
  --bootstrap-token <TOKEN>  what nodes register with [default: bootstrap-token]
  --keep-alive <DURATION>    between two keep-alive comments, as 25s or 500ms [default: 25s]
  --tls                      TLS with a certificate authority made on the spot
  --demo                     publish something to every node each few seconds
  --routes                   print the routes, schemas and events as JSON, and end
  --help                     this text
";

struct Options {
    listen: SocketAddr,
    bootstrap_token: Option<String>,
    keep_alive: Option<Duration>,
    tls: bool,
    demo: bool,
}

enum Task {
    Serve(Options),
    Print(String),
}

fn main() -> ExitCode {
    let outcome = match parse(lexopt::Parser::from_env()) {
        Ok(Task::Print(text)) => {
            say(&text);
            return ExitCode::SUCCESS;
        }
        Ok(Task::Serve(options)) => serve(options).map_err(|error| error.to_string()),
        Err(error) => Err(format!("{error}; see --help")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("plexsphere-mock: {error}");
            ExitCode::FAILURE
        }
    }
}

fn parse(mut parser: lexopt::Parser) -> Result<Task, lexopt::Error> {
    use lexopt::prelude::*;
    let mut options = Options {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        bootstrap_token: None,
        keep_alive: None,
        tls: false,
        demo: false,
    };
    while let Some(argument) = parser.next()? {
        match argument {
            Long("listen") => options.listen = parser.value()?.parse()?,
            Long("bootstrap-token") => options.bootstrap_token = Some(parser.value()?.string()?),
            Long("keep-alive") => {
                options.keep_alive = Some(parser.value()?.parse_with(parse_duration)?)
            }
            Long("tls") => options.tls = true,
            Long("demo") => options.demo = true,
            Long("routes") => return Ok(Task::Print(format!("{}\n", contract_as_json()))),
            Long("help") | Short('h') => return Ok(Task::Print(HELP.to_owned())),
            other => return Err(other.unexpected()),
        }
    }
    Ok(Task::Serve(options))
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    let parse = |number: &str, unit: fn(u64) -> Duration| number.parse().map(unit);
    let duration = match (text.strip_suffix("ms"), text.strip_suffix('s')) {
        (Some(number), _) => parse(number, Duration::from_millis),
        (None, Some(number)) => parse(number, Duration::from_secs),
        (None, None) => parse(text, Duration::from_secs),
    };
    duration.map_err(|_| format!("{text:?} is not a duration such as 25s or 500ms"))
}

#[tokio::main(flavor = "current_thread")]
async fn serve(options: Options) -> std::io::Result<()> {
    let mut builder =
        MockControlPlane::builder().listen(options.listen).keep_published(false).record_limit(100);
    if let Some(token) = options.bootstrap_token {
        builder = builder.bootstrap_token(token);
    }
    if let Some(interval) = options.keep_alive {
        builder = builder.keep_alive(interval);
    }
    if options.tls {
        builder = builder.tls();
    }
    let mock = builder.observe(print_request).start().await?;
    mock.set_artifact("1.0.0", "linux", "amd64", vec![0x7f; 64 * 1024]);
    greet(&mock);
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted?,
        () = demo(&mock), if options.demo => {}
    }
    say("stopped\n");
    Ok(())
}

fn greet(mock: &MockControlPlane) {
    let url = mock.url();
    let token = mock.bootstrap_token();
    let mut curl = "curl -s".to_owned();
    if let Some(ca) = mock.ca_pem() {
        say(&format!("{ca}\n(save the certificate as ca.pem)\n\n"));
        curl.push_str(" --cacert ca.pem");
    }
    say(&format!(
        "url              {url}
bootstrap token  {token}
signing key      {key}

Try:
  {curl} {url}/v1/register -H 'Authorization: Bearer {token}' \\
    --json '{{\"token\":\"{token}\",\"public_key\":\"cHVibGljIGtleQ==\",\"hostname\":\"web-1\"}}'

Ctrl-C stops it.

",
        key = mock.signing_public_key(),
    ));
}

/// Something for everyone, every few seconds, in turn.
async fn demo(mock: &MockControlPlane) {
    for round in 1_u64.. {
        tokio::time::sleep(Duration::from_secs(3)).await;
        for node_id in mock.nodes() {
            match round % 3 {
                0 => drop(mock.set_secret(&node_id, "demo", format!("secret of round {round}"))),
                1 => drop(mock.set_policies(&node_id, &demo_policies(round))),
                _ => drop(mock.request_action(
                    &node_id,
                    &json!({ "action": "demo", "parameters": { "round": round } }),
                )),
            }
        }
    }
}

fn demo_policies(round: u64) -> serde_json::Value {
    let rule =
        json!({ "src": "any", "dst": "any", "port": 443, "protocol": "tcp", "action": "allow" });
    json!([{ "id": format!("policy-{round}"), "rules": [rule] }])
}

fn print_request(served: &Served) {
    let seconds =
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let (hours, minutes, seconds) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    let status = served.status.map_or_else(|| "---".to_owned(), |status| status.to_string());
    say(&format!(
        "{hours:02}:{minutes:02}:{seconds:02} {status} {:<4} {} ({}, {} bytes, connection {}, {:.1?})\n",
        served.method,
        served.path,
        served.operation.unwrap_or("no operation"),
        served.body_len,
        served.connection,
        served.took,
    ));
}

/// A reader that is gone is no reason to stop.
fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
