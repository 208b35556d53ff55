//! The program, as a person starts it.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

fn start(arguments: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_plexsphere-mock"));
    command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn output(arguments: &[&str]) -> (bool, String, String) {
    let output = start(arguments).wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.success(), text(output.stdout), text(output.stderr))
}

#[test]
fn it_prints_its_routes_its_help_and_its_mistakes() {
    let (ok, routes, _) = output(&["--routes"]);
    let document: serde_json::Value = serde_json::from_str(&routes).unwrap();
    assert!(
        ok && document["routes"].as_array().unwrap().len() == 21
            && document["events"].as_array().unwrap().len() == 24
    );
    assert_eq!(document["routes"][0]["request"]["object"], "RegisterRequest");
    let (ok, help, _) = output(&["--help"]);
    assert!(ok && help.contains("--listen"));
    for wrong in
        [&["--lisen", "x"][..], &["--keep-alive", "soon"], &["--listen", "here"], &["word"]]
    {
        let (ok, _, error) = output(wrong);
        assert!(
            !ok && error.starts_with("plexsphere-mock: ") && error.contains("--help"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn it_serves_and_logs_a_line_a_request() {
    let mut child = start(&["--bootstrap-token", "boot", "--keep-alive", "10ms"]);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let value = |line: String| line.split_whitespace().last().unwrap().to_owned();
    let url = value(lines.find(|line| line.starts_with("url")).unwrap());
    assert_eq!(value(lines.next().unwrap()), "boot");
    assert!(lines.any(|line| line.contains("curl -s http://127.0.0.1:")));
    let ping = reqwest::Client::builder()
        .no_proxy()
        .build()
        .unwrap()
        .get(format!("{url}/v1/ping"))
        .bearer_auth("boot");
    assert_eq!(ping.send().await.unwrap().status(), 200);
    let logged = lines.find(|line| line.contains("/v1/ping")).unwrap();
    assert!(
        logged.contains(" 200 GET ") && logged.contains("(ping, 0 bytes, connection 1, "),
        "{logged}"
    );
    let listening = url.strip_prefix("http://").unwrap();
    let (ok, _, error) = output(&["--listen", listening]);
    assert!(!ok && error.contains("in use"), "{error}");
    child.kill().unwrap();
    child.wait().unwrap();
}
