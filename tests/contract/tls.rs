//! Also found, 10 and 12: HTTP/2 and HTTP/1.1 over TLS, trust, and base URLs.

use std::time::Duration;

use futures::StreamExt;
use http::Version;
use plexsphere_client::{Config, ControlPlane, ErrorKind};
use plexsphere_mock::{Answer, MockControlPlane};

use crate::calls::CALLS;
use crate::requests::Ids;
use crate::support::{client, client_with, mock};

async fn assert_every_call(mock: &MockControlPlane, api: &ControlPlane, version: Version) {
    for call in CALLS {
        mock.script(call.route, call.reply.answer());
        let answer = (call.run)(api, &Ids::default()).await;
        assert_eq!(answer.unwrap(), call.reply.value(), "{}", call.operation);
        assert_eq!(mock.requests().pop().unwrap().version, version, "{}", call.operation);
    }
}

#[tokio::test]
async fn also_found_10_http_2_is_spoken_where_tls_offers_it() {
    let mock = MockControlPlane::builder().tls().start().await.unwrap();
    let api = client_with(&mock, |config| config.root_certificate_pem(mock.ca_pem().unwrap()));
    assert_every_call(&mock, &api, Version::HTTP_2).await;
    assert_eq!(mock.connections(), 3, "one for calls, one for events, one for artifacts");
}

/// An HTTP/2 connection has one window for all its streams.
#[tokio::test]
async fn downloads_that_nobody_reads_hold_up_neither_events_nor_calls() {
    let mock = MockControlPlane::builder().tls().start().await.unwrap();
    let api = client_with(&mock, |config| config.root_certificate_pem(mock.ca_pem().unwrap()));
    let node = mock.add_node("node");
    api.set_auth_token(node.secret_key).unwrap();
    let mut unread = Vec::new();
    for _ in 0..5 {
        mock.script("fetch_artifact", Answer::status(200).endless("x"));
        unread.push(api.fetch_artifact("v", "o", "a").await.unwrap());
    }
    let mut events = api.connect_sse(&node.node_id, None).await.unwrap();
    mock.publish(&node.node_id, "policy_updated", &serde_json::json!({}));
    let first = tokio::time::timeout(Duration::from_secs(10), events.next()).await;
    assert!(first.expect("an event comes").unwrap().is_ok());
    api.ping().await.unwrap();
}

#[tokio::test]
async fn also_found_10_http_1_is_spoken_where_tls_offers_no_more() {
    let mock = MockControlPlane::builder().tls_http1().start().await.unwrap();
    let api = client_with(&mock, |config| config.root_certificate_pem(mock.ca_pem().unwrap()));
    assert_every_call(&mock, &api, Version::HTTP_11).await;
}

#[tokio::test]
async fn http_1_is_spoken_without_tls() {
    let mock = mock().await;
    assert_every_call(&mock, &client(&mock), Version::HTTP_11).await;
}

#[tokio::test]
async fn also_found_10_an_unknown_authority_is_a_connect_error_that_says_so() {
    let mock = MockControlPlane::builder().tls().start().await.unwrap();
    let other = MockControlPlane::builder().tls().start().await.unwrap();
    let other_root = other.ca_pem().unwrap();
    for api in [client(&mock), client_with(&mock, |config| config.root_certificate_pem(other_root))]
    {
        for call in CALLS {
            let error = (call.run)(&api, &Ids::default()).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Connect, "{error}");
            let text = error.to_string();
            assert!(text.contains("certificate") && !text.contains('\n'), "{text}");
        }
    }
    assert!(mock.requests().is_empty());
}

#[tokio::test]
async fn any_certificate_is_taken_only_where_that_danger_is_spelled() {
    let mock = MockControlPlane::builder().tls().start().await.unwrap();
    let api = client_with(&mock, |config| config.danger_accept_invalid_certs(true));
    assert_every_call(&mock, &api, Version::HTTP_2).await;
    let file = format!(r#"{{"base_url":"{}","tls_insecure_skip_verify":true}}"#, mock.url());
    let config: Config = serde_json::from_str(&file).unwrap();
    let api = ControlPlane::new(config, "1").unwrap();
    assert_every_call(&mock, &api, Version::HTTP_2).await;
}

#[tokio::test]
async fn plain_http_at_a_tls_port_and_tls_at_a_plain_port_are_errors() {
    let (tls, plain) = (MockControlPlane::builder().tls().start().await.unwrap(), mock().await);
    for url in [format!("http://{}", tls.address()), format!("https://{}", plain.address())] {
        let config = Config::new(url).unwrap().connect_timeout(Duration::from_secs(5));
        let error = ControlPlane::new(config, "1").unwrap().ping().await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Connect | ErrorKind::Transport), "{error}");
        assert!(error.is_retryable());
        assert!(error.to_string().contains("check scheme and port in base_url"), "{error}");
    }
}

#[test]
fn also_found_12_base_urls_that_cannot_work_are_refused_with_the_mend() {
    for url in [
        "",
        " ",
        "not a url",
        "example.com",
        "//example.com",
        "/v1",
        "ftp://x",
        "file:///etc",
        "http://h/?q=1",
        "http://h/#f",
        "http://u@h",
        "http://u:canary@h",
        "http://",
        "https://:80",
    ] {
        let error = Config::new(url).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{url:?}");
        let text = error.to_string();
        assert!(text.starts_with("base_url ") && text.contains("https://"), "{text}");
        assert!(!text.contains("canary"), "{text}");
    }
    for url in
        ["http://h", "https://h:8443", "https://h/prefix/", "http://[::1]:80", "http://127.0.0.1"]
    {
        assert!(Config::new(url).is_ok(), "{url:?}");
    }
}

#[test]
fn also_found_12_durations_that_cannot_work_are_refused_by_the_constructor() {
    type Setter = fn(Config, Duration) -> Config;
    let setters: [(&str, Setter); 4] = [
        ("connect_timeout", Config::connect_timeout),
        ("request_timeout", Config::request_timeout),
        ("header_timeout", Config::header_timeout),
        ("sse_idle_timeout", Config::sse_idle_timeout),
    ];
    let day = Duration::from_secs(24 * 60 * 60);
    for (field, set) in setters {
        for (value, good) in
            [(Duration::ZERO, false), (day, true), (day + Duration::from_nanos(1), false)]
        {
            let config = set(Config::new("http://h").unwrap(), value);
            match ControlPlane::new(config, "1") {
                Ok(_) => assert!(good, "{field} {value:?}"),
                Err(error) => {
                    assert!(!good, "{error}");
                    assert_eq!(error.kind(), ErrorKind::Config);
                    assert!(error.to_string().starts_with(field), "{error}");
                }
            }
        }
    }
}

#[test]
fn a_root_certificate_that_is_none_is_refused_by_the_constructor() {
    for pem in ["", "canary", "-----BEGIN CERTIFICATE-----\nY2FuYXJ5\n-----END CERTIFICATE-----\n"]
    {
        let config = Config::new("https://h").unwrap().root_certificate_pem(pem);
        let error = ControlPlane::new(config, "1").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    }
    for version in ["1\n2", "é\0"] {
        let error = ControlPlane::new(Config::new("https://h").unwrap(), version).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
    }
}
