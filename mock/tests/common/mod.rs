//! A plain client for the tests.
#![allow(dead_code, clippy::unwrap_used)]

use std::time::Duration;

use plexsphere_mock::MockControlPlane;
use reqwest::{Client, RequestBuilder, Response};
use serde_json::{Value, json};

/// Long enough for a loaded machine.
pub const LIMIT: Duration = Duration::from_secs(20);

pub struct Api {
    pub client: Client,
    pub url: String,
    pub token: String,
    pub node_id: String,
}

impl Api {
    pub async fn register(mock: &MockControlPlane, hostname: &str) -> (Self, Value) {
        let client = Client::builder().no_proxy().build().unwrap();
        let token = mock.bootstrap_token();
        let body = json!({ "token": token, "public_key": format!("key of {hostname}"), "hostname": hostname });
        let request =
            client.post(format!("{}/v1/register", mock.url())).bearer_auth(token).json(&body);
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 201);
        let answer: Value = response.json().await.unwrap();
        let api = Self {
            client,
            url: mock.url(),
            token: answer["node_secret_key"].as_str().unwrap().to_owned(),
            node_id: answer["node_id"].as_str().unwrap().to_owned(),
        };
        (api, answer)
    }

    /// A path under the node's own.
    pub fn path(&self, tail: &str) -> String {
        format!("{}/v1/nodes/{}/{tail}", self.url, self.node_id)
    }

    pub fn get(&self, tail: &str) -> RequestBuilder {
        self.client.get(self.path(tail)).bearer_auth(&self.token)
    }

    pub fn post(&self, tail: &str) -> RequestBuilder {
        self.client.post(self.path(tail)).bearer_auth(&self.token)
    }

    pub fn put(&self, tail: &str) -> RequestBuilder {
        self.client.put(self.path(tail)).bearer_auth(&self.token)
    }

    pub async fn events(&self, last_event_id: Option<&str>) -> Stream {
        let mut request = self.get("events").header("Accept", "text/event-stream");
        if let Some(id) = last_event_id {
            request = request.header("Last-Event-ID", id);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Stream { response, buffer: String::new() }
    }
}

/// Reads an event stream block by block.
pub struct Stream {
    pub response: Response,
    buffer: String,
}

impl Stream {
    /// The next block without its blank line; an error at the end or a break.
    pub async fn block(&mut self) -> Result<String, String> {
        loop {
            if let Some((block, rest)) = self.buffer.split_once("\n\n") {
                let block = block.to_owned();
                self.buffer = rest.to_owned();
                return Ok(block);
            }
            let chunk = tokio::time::timeout(LIMIT, self.response.chunk())
                .await
                .expect("the stream went silent");
            match chunk {
                Ok(Some(bytes)) => self.buffer.push_str(&String::from_utf8_lossy(&bytes)),
                Ok(None) => return Err(format!("end after {:?}", self.buffer)),
                Err(_) => return Err(format!("broken after {:?}", self.buffer)),
            }
        }
    }

    /// The next event: its id, its name, its envelope.
    pub async fn event(&mut self) -> (String, String, Value) {
        loop {
            let block = self.block().await.unwrap();
            if block.starts_with(':') {
                continue;
            }
            let field = |name: &str| {
                let line = block.lines().find_map(|line| line.strip_prefix(name)).unwrap();
                line.strip_prefix(": ").unwrap().to_owned()
            };
            return (field("id"), field("event"), serde_json::from_str(&field("data")).unwrap());
        }
    }
}
