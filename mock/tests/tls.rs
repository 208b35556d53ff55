//! TLS with the server's own authority, HTTP/2 by ALPN.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use plexsphere_mock::{Answer, Close, MockControlPlane};
use reqwest::{Certificate, Client, Version};
use serde_json::json;

fn client(mock: &MockControlPlane) -> Client {
    let ca = Certificate::from_pem(mock.ca_pem().unwrap().as_bytes()).unwrap();
    Client::builder().no_proxy().tls_certs_only([ca]).build().unwrap()
}

#[tokio::test]
async fn http2_is_offered_and_its_streams_break_too() {
    let mock = MockControlPlane::builder().tls().start().await.unwrap();
    let client = client(&mock);
    assert!(mock.url().starts_with("https://127.0.0.1:"));
    let url = mock.url().replace("127.0.0.1", "localhost");
    let ping = client
        .get(format!("{url}/v1/ping"))
        .bearer_auth(mock.bootstrap_token())
        .send()
        .await
        .unwrap();
    assert_eq!((ping.status().as_u16(), ping.version()), (200, Version::HTTP_2));
    assert_eq!(mock.requests()[0].version, Version::HTTP_2);

    let node = mock.add_node("web-1");
    let events = format!("{url}/v1/nodes/{}/events", node.node_id);
    let mut stream = client.get(events).bearer_auth(&node.secret_key).send().await.unwrap();
    mock.publish(&node.node_id, "policy_updated", &json!({}));
    let first = stream.chunk().await.unwrap().unwrap();
    assert!(first.starts_with(b"id: 1\nevent: policy_updated\n"));
    mock.cut_streams(&node.node_id, Close::Cut);
    assert!(stream.chunk().await.is_err());
    assert_eq!(mock.connections(), 1);

    mock.script("ping", Answer::real().reset());
    assert!(client.get(format!("{url}/v1/ping")).send().await.is_err());
}

#[tokio::test]
async fn http1_alone_and_a_client_that_does_not_trust_it() {
    let mock = MockControlPlane::builder().tls_http1().start().await.unwrap();
    let ping = client(&mock).get(format!("{}/v1/ping", mock.url())).send().await.unwrap();
    assert_eq!((ping.status().as_u16(), ping.version()), (401, Version::HTTP_11));
    let stranger = Client::builder().no_proxy().timeout(Duration::from_secs(20)).build().unwrap();
    assert!(stranger.get(mock.url()).send().await.is_err());
    assert!(mock.failures().is_empty());
}
