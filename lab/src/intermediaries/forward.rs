//! A forward proxy with CONNECT, with and without credentials, before mocks that speak TLS.

use std::path::Path;
use std::time::Duration;

use plexsphere_client::{BoxError, Config, ControlPlane, Proxy};
use plexsphere_mock::MockControlPlane;

use super::agent::{Agent, SOON};
use super::programs::{Port, Program};
use super::trials::refused;
use super::{Outcome, Row};

const USER: &str = "agent";
const PASSWORD: &str = "word-of-the-proxy";

pub struct Forward {
    /// The one that both proxies allow.
    mock: MockControlPlane,
    /// Another one, which they do not.
    forbidden: MockControlPlane,
    open: u16,
    guarded: u16,
    _programs: [Program; 2],
}

impl Forward {
    pub async fn start(dir: &Path, path: &str) -> Result<Self, BoxError> {
        let mock = MockControlPlane::builder().tls().start_blocking()?;
        let forbidden = MockControlPlane::builder().tls().start_blocking()?;
        let allowed = mock.address().port();
        let open = proxy(dir, path, "open", allowed, "").await?;
        let credentials = format!("BasicAuth {USER} {PASSWORD}\n");
        let guarded = proxy(dir, path, "guarded", allowed, &credentials).await?;
        let programs = [open.0, guarded.0];
        Ok(Self { mock, forbidden, open: open.1, guarded: guarded.1, _programs: programs })
    }

    pub async fn trials(self) -> Vec<Row> {
        let good = format!("{USER}:{PASSWORD}@");
        let wrong = format!("{USER}:another-word@");
        let wants = "wants credentials: check those in its URL";
        let refuses = "refuses to connect: check the credentials";
        let rows = [
            ("CONNECT", self.flows(self.open, "").await),
            ("CONNECT with credentials", self.flows(self.guarded, &good).await),
            ("credentials missing", self.fails(&self.mock, self.guarded, "", wants).await),
            ("credentials wrong", self.fails(&self.mock, self.guarded, &wrong, refuses).await),
            ("target refused", self.fails(&self.forbidden, self.open, "", refuses).await),
        ];
        let row = |(trial, outcome): (&str, Outcome)| Row {
            through: "tinyproxy".to_owned(),
            transport: "TLS HTTP/2".to_owned(),
            trial: trial.to_owned(),
            outcome,
        };
        rows.map(row).into()
    }

    async fn flows(&self, port: u16, credentials: &str) -> Outcome {
        let (api, node_id) = client(&self.mock, port, credentials)?;
        let agent = Agent::start(&api, &self.mock, &node_id)?;
        let opened = |mock: &MockControlPlane| mock.open_streams_of(&node_id) == 1;
        if !self.mock.wait_until(SOON, opened).await {
            return Err(format!("no stream was opened: {:?}", agent.status().last_error));
        }
        let publish = || self.mock.publish(&node_id, "peer_removed", &serde_json::json!({}));
        let mut sent = Vec::new();
        for _ in 0..20 {
            sent.push(publish().event_id);
            agent.handled(&sent).await?;
        }
        api.fetch_state(&node_id).await.map_err(|e| e.to_string())?;
        match self.mock.requests_for("connect_sse").last().map(|request| request.version) {
            Some(http::Version::HTTP_2) => Ok("20 events and the calls work".to_owned()),
            other => Err(format!("the stream came by {other:?}")),
        }
    }

    async fn fails(
        &self,
        mock: &MockControlPlane,
        port: u16,
        credentials: &str,
        words: &str,
    ) -> Outcome {
        let (api, node_id) = client(mock, port, credentials)?;
        let words = format!("the proxy http://127.0.0.1:{port} {words}");
        let said = refused(api.ping().await, &words)?;
        if said.contains("another-word") {
            return Err("the error shows the password".to_owned());
        }
        let agent = Agent::start(&api, mock, &node_id)?;
        let named = |text: &Option<String>| text.as_ref().is_some_and(|text| text.contains(&words));
        agent.status_until("the reason", |status| named(&status.last_error)).await?;
        if mock.connections() > 0 && !std::ptr::eq(mock, &self.mock) {
            return Err("something came through all the same".to_owned());
        }
        Ok(said)
    }
}

fn client(
    mock: &MockControlPlane,
    port: u16,
    credentials: &str,
) -> Result<(ControlPlane, String), String> {
    let node = mock.add_node("web-1");
    let proxy = format!("http://{credentials}127.0.0.1:{port}");
    let proxy = Proxy::Url(proxy.parse().map_err(|e| format!("{e}"))?);
    let ca = mock.ca_pem().unwrap_or_default();
    let config = Config::new(mock.url())
        .map_err(|e| e.to_string())?
        .root_certificate_pem(ca)
        .request_timeout(Duration::from_secs(15))
        .proxy(proxy);
    let api = ControlPlane::new(config, "1").map_err(|e| e.to_string())?;
    api.set_auth_token(node.secret_key).map_err(|e| e.to_string())?;
    Ok((api, node.node_id))
}

async fn proxy(
    dir: &Path,
    path: &str,
    name: &str,
    allowed: u16,
    more: &str,
) -> Result<(Program, u16), BoxError> {
    let port = Port::take()?;
    let number = port.number()?;
    let text = format!(
        "Port {number}\nListen 127.0.0.1\nTimeout 60\nMaxClients 50\nConnectPort {allowed}\n{more}"
    );
    let file = format!("tinyproxy-{name}.conf");
    std::fs::write(dir.join(&file), text)?;
    drop(port);
    Ok((Program::start(dir, path, &["-d", "-c", &file], &[number]).await?, number))
}
