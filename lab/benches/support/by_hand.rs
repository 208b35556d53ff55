//! The same calls with reqwest alone, as one writes them who needs only these.

use std::io::Write;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use plexsphere_client::types::{HeartbeatRequest, HeartbeatResponse, StateResponse};
use reqwest::Client;
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE};
use serde::Serialize;

pub struct ByHand {
    http: Client,
    base: String,
    token: String,
}

impl ByHand {
    pub fn new(base: &str, token: &str) -> Self {
        let http = Client::builder()
            .user_agent("plexd/1.0")
            .timeout(Duration::from_secs(30))
            .connect_timeout(Duration::from_secs(10))
            .no_proxy()
            .build()
            .unwrap();
        Self { http, base: base.to_owned(), token: token.to_owned() }
    }

    fn url(&self, node: &str, what: &str) -> String {
        format!("{}/v1/nodes/{node}/{what}", self.base)
    }

    pub async fn heartbeat(&self, node: &str, body: &HeartbeatRequest) -> HeartbeatResponse {
        let request = self.http.post(self.url(node, "heartbeat")).bearer_auth(&self.token);
        let answer = request.json(body).send().await.unwrap().error_for_status().unwrap();
        answer.json().await.unwrap()
    }

    pub async fn fetch_state(&self, node: &str) -> StateResponse {
        let request = self.http.get(self.url(node, "state")).bearer_auth(&self.token);
        let answer = request.send().await.unwrap().error_for_status().unwrap();
        answer.json().await.unwrap()
    }

    /// Compressed with this level of gzip.
    pub async fn post<T: Serialize>(&self, node: &str, what: &str, body: &[T], level: u32) {
        let json = serde_json::to_vec(body).unwrap();
        let mut encoder = GzEncoder::new(Vec::new(), Compression::new(level));
        encoder.write_all(&json).unwrap();
        let packed = encoder.finish().unwrap();
        let request = self.http.post(self.url(node, what)).bearer_auth(&self.token);
        let request =
            request.header(CONTENT_TYPE, "application/json").header(CONTENT_ENCODING, "gzip");
        let answer = request.body(packed).send().await.unwrap().error_for_status().unwrap();
        answer.bytes().await.unwrap();
    }

    /// What the generator writes for this call, line by line, without hooks. The real one
    /// is private to the client.
    #[cfg(feature = "contestants")]
    pub async fn generated_heartbeat(
        &self,
        node: &str,
        body: &HeartbeatRequest,
    ) -> HeartbeatResponse {
        use progenitor_client::{ResponseValue, encode_path};
        use reqwest::header::{ACCEPT, HeaderMap, HeaderName, HeaderValue};
        let url = format!("{}/v1/nodes/{}/heartbeat", self.base, encode_path(node));
        let mut header_map = HeaderMap::with_capacity(1);
        header_map.append(HeaderName::from_static("api-version"), HeaderValue::from_static("1.0"));
        let request = self
            .http
            .post(url)
            .header(ACCEPT, HeaderValue::from_static("application/json"))
            .json(body)
            .headers(header_map)
            // The one thing that the mock does not do without.
            .bearer_auth(&self.token)
            .build()
            .unwrap();
        let response = self.http.execute(request).await.unwrap();
        match response.status().as_u16() {
            200..=299 => ResponseValue::<HeartbeatResponse>::from_response::<()>(response)
                .await
                .unwrap()
                .into_inner(),
            other => panic!("{other}"),
        }
    }
}
