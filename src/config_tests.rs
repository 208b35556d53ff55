use super::*;

fn from_file(json: &str) -> Result<Config, String> {
    serde_json::from_str(json).map_err(|e| e.to_string())
}

#[test]
fn every_default_is_its_constant() {
    let config = Config::new("https://h").unwrap();
    assert_eq!(config.connect_timeout, Duration::from_secs(10));
    assert_eq!(config.request_timeout, Duration::from_secs(30));
    assert_eq!(config.header_timeout, Duration::from_secs(30));
    assert_eq!(config.sse_idle_timeout, Duration::from_secs(90));
    assert_eq!(config.response_limit, 10 * 1024 * 1024);
    assert_eq!(config.event_limit, 1024 * 1024);
    assert!(!config.danger_accept_invalid_certs);
    assert!(config.proxy == Proxy::None && config.client_certificate.is_none());
    assert_eq!(from_file(r#"{"base_url":"https://h"}"#).unwrap(), config);
}

#[test]
fn what_a_file_sets_is_not_overwritten_by_a_default() {
    let config = from_file(
        r#"{"base_url":"http://h:1/p","connect_timeout":"1m 30s","request_timeout":"500ms",
            "header_timeout":"2h","sse_idle_timeout":"1m30s","tls_insecure_skip_verify":true,
            "root_certificates":["a"],"client_certificate":"b","client_key":"kpw","proxy":"http://user:pw@proxy:3128",
            "response_limit":5,"event_limit":6}"#,
    )
    .unwrap();
    assert_eq!(config.connect_timeout, Duration::from_secs(90));
    assert_eq!(config.request_timeout, Duration::from_millis(500));
    assert_eq!(config.header_timeout, Duration::from_secs(7200));
    assert_eq!(config.sse_idle_timeout, Duration::from_secs(90));
    assert!(config.danger_accept_invalid_certs);
    assert_eq!((config.response_limit, config.event_limit), (5, 6));
    let shown = ClientCertificate { chain: "b".into(), key: "kpw".into() };
    assert!(config.client_certificate == Some(shown));
    let text = format!("{config:?}");
    assert!(!text.contains("pw") && text.contains("client_certificate: true"), "{text}");
}

#[test]
fn another_client_certificate_or_key_is_another_config() {
    let with = |chain: &str, key: &str| {
        Config::new("https://h").unwrap().client_certificate_pem(chain, key)
    };
    assert_eq!(with("a", "b"), with("a", "b"));
    assert_ne!(with("a", "b"), with("a", "c"));
    assert_ne!(with("a", "b"), with("c", "b"));
    assert_ne!(with("a", "b"), Config::new("https://h").unwrap());
    let file = r#"{"base_url":"https://h","client_certificate":"a","client_key":"b"}"#;
    assert_eq!(from_file(file).unwrap(), with("a", "b"));
}

#[test]
fn base_urls_that_would_not_work_are_refused_with_the_mend() {
    for url in [
        "",
        " ",
        "not a url",
        "example.com",
        "/v1",
        "ftp://x",
        "file:///etc",
        "http://h/?q=1",
        "http://h/?",
        "https://h/#f",
        "https://user:pw@h",
        "https://user@h",
        "https://",
        "https:///x",
        "localhost:8080",
        "http:h",
        "https:/h",
    ] {
        let result = Config::new(url);
        // `https:///x` is the host `x` to the URL standard.
        if url == "https:///x" {
            assert!(result.is_ok());
            continue;
        }
        let text = result.unwrap_err().to_string();
        assert!(text.starts_with("base_url") && text.contains("https://api."), "{url:?}: {text}");
        assert!(!text.contains("pw"), "{text}");
    }
    for url in ["https://h", "http://127.0.0.1:8080", "https://h/prefix/", "http://[::1]:1/a/b"] {
        assert!(Config::new(url).is_ok(), "{url}");
    }
}

#[test]
fn durations_of_zero_or_over_a_day_are_refused_by_name() {
    let good = || Config::new("https://h").unwrap();
    type Setter = fn(Config, Duration) -> Config;
    let setters: [(&str, Setter); 4] = [
        ("connect_timeout", Config::connect_timeout),
        ("request_timeout", Config::request_timeout),
        ("header_timeout", Config::header_timeout),
        ("sse_idle_timeout", Config::sse_idle_timeout),
    ];
    for (field, set) in setters {
        for bad in [Duration::ZERO, MAX_DURATION + Duration::from_nanos(1), Duration::MAX] {
            let text = set(good(), bad).validate().unwrap_err().to_string();
            assert!(text.starts_with(field) && text.contains("24 h"), "{text}");
        }
        assert!(set(good(), MAX_DURATION).validate().is_ok());
    }
    assert!(good().response_limit(0).validate().is_err());
    assert!(good().event_limit(0).validate().is_err());
}

#[test]
fn a_file_with_a_mistake_says_which() {
    for (json, word) in [
        (r#"{"base_url":"https://h","request_timeout":30}"#, "request_timeout is no duration"),
        (r#"{"base_url":"https://h","request_timeout":-1.5}"#, "request_timeout is no duration"),
        (r#"{"base_url":"https://h","connect_timeout":"30"}"#, "connect_timeout is no duration"),
        (r#"{"base_url":"https://h","header_timeout":"-30s"}"#, "header_timeout is no duration"),
        (r#"{"base_url":"https://h","request_timeout":"0s"}"#, "request_timeout"),
        (r#"{"base_url":"https://h","reqest_timeout":"30s"}"#, "reqest_timeout"),
        (r#"{"base_url":"h"}"#, "base_url"),
        (r#"{}"#, "base_url"),
        (r#"{"base_url":"https://h","client_key":"k"}"#, "client_certificate is missing"),
        (r#"{"base_url":"https://h","client_certificate":"c"}"#, "client_key is missing"),
        (r#"{"base_url":"https://h","proxy":"h:1x"}"#, "proxy"),
    ] {
        let text = from_file(json).unwrap_err();
        assert!(text.contains(word), "{json}: {text}");
    }
}
