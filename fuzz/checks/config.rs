//! A configuration file of any bytes: what it makes is what the setters make, and what they
//! would refuse it refuses.

use std::time::Duration;

use plexsphere_client::{Config, Proxy};
use serde_json::{Map, Value};

use super::members::Members;

const DURATIONS: [(&str, Setter); 4] = [
    ("connect_timeout", Config::connect_timeout),
    ("request_timeout", Config::request_timeout),
    ("header_timeout", Config::header_timeout),
    ("sse_idle_timeout", Config::sse_idle_timeout),
];
const OTHERS: [&str; 6] = [
    "base_url",
    "tls_insecure_skip_verify",
    "root_certificates",
    "proxy",
    "response_limit",
    "event_limit",
];
const DAY: Duration = Duration::from_secs(86_400);

type Setter = fn(Config, Duration) -> Config;

/// The bytes are a file and a base URL at the same time.
pub fn check(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        check_url(text);
    }
    let ours = serde_json::from_slice::<Config>(bytes).map_err(|error| error.to_string());
    if let Ok(config) = &ours {
        config.validate().unwrap();
        assert_usable(config);
    }
    // A list of values in the order of the fields is a file to serde as well.
    let Ok(Value::Object(file)) = serde_json::from_slice(bytes) else { return };
    assert_hides_the_proxy_s_password(file.clone());
    let Members(members) = serde_json::from_slice(bytes).unwrap();
    if members.len() > file.len() {
        assert!(ours.is_err(), "a key that is given twice: {ours:?}");
        return;
    }
    match built(&file) {
        Built::Config(expected) => assert!(ours.as_ref() == Ok(&*expected), "{ours:?}"),
        Built::Refused(why) => assert!(ours.is_err(), "{why}: {ours:?}"),
        Built::Unsure => {}
    }
    if let Ok(config) = ours {
        // The same members in the order of their names, and without those that are `null`.
        let known = file.into_iter().filter(|(_, value)| !value.is_null()).collect();
        let again: Config = serde_json::from_value(Value::Object(known)).unwrap();
        assert!(again == config, "{again:?} {config:?}");
    }
}

fn check_url(text: &str) {
    match Config::new(text) {
        Ok(config) => {
            config.validate().unwrap();
            assert_usable(&config);
            let again = Config::new(config.base_url().as_str()).unwrap();
            assert!(again == config, "{again:?} {config:?}");
        }
        Err(error) => {
            let said = error.to_string();
            assert!(said.starts_with("base_url ") && said.lines().count() == 1, "{said}");
            assert!(said.contains("give an absolute URL"), "it says what to do: {said}");
        }
    }
}

/// A base URL that paths can be put behind and that holds no credential.
fn assert_usable(config: &Config) {
    let url = config.base_url();
    assert!(matches!(url.scheme(), "http" | "https") && url.has_host(), "{url}");
    assert!(url.username().is_empty() && url.password().is_none(), "a credential in the URL");
    assert!(url.query().is_none() && url.fragment().is_none(), "{url}");
    let call = format!("{}/v1/ping", url.as_str().trim_end_matches('/'));
    let call = url::Url::parse(&call).unwrap();
    assert_eq!(call.origin(), url.origin());
    assert!(call.path().starts_with(url.path().trim_end_matches('/')), "{call} under {url}");
    assert!(call.path().ends_with("/v1/ping"), "{call}");
}

/// Whatever else is wrong with a file, its proxy's password is not shown.
fn assert_hides_the_proxy_s_password(mut file: Map<String, Value>) {
    const CANARY: &str = "canary-5317";
    let Some(Value::String(proxy)) = file.get_mut("proxy") else { return };
    let Ok(mut url) = url::Url::parse(proxy) else { return };
    if url.set_password(Some(CANARY)).is_ok() {
        *proxy = url.into();
        let shown = format!("{:?}", serde_json::from_value::<Config>(Value::Object(file)));
        assert!(!shown.contains(CANARY), "{shown}");
    }
}

/// What a file should make.
enum Built {
    Config(Box<Config>),
    Refused(&'static str),
    /// It holds a duration in one of the many forms that are not plain.
    Unsure,
}

fn built(file: &Map<String, Value>) -> Built {
    use Built::Refused;
    let is_known = |name: &String| {
        OTHERS.contains(&name.as_str()) || DURATIONS.iter().any(|(known, _)| known == name)
    };
    if !file.keys().all(is_known) {
        return Refused("a key that does not exist");
    }
    let Some(Value::String(url)) = file.get("base_url") else {
        return Refused("no base_url");
    };
    let Ok(mut config) = Config::new(url) else { return Refused("no base URL") };
    for (name, set) in DURATIONS {
        config = match file.get(name) {
            None | Some(Value::Null) => config,
            Some(Value::String(text)) => match plain_duration(text) {
                Some(span) if span.is_zero() || span > DAY => return Refused("zero or over a day"),
                Some(span) => set(config, span),
                None => return Built::Unsure,
            },
            Some(_) => return Refused("a duration that is no text"),
        };
    }
    config = match file.get("tls_insecure_skip_verify") {
        None => config,
        Some(Value::Bool(accept)) => config.danger_accept_invalid_certs(*accept),
        Some(_) => return Refused("neither true nor false"),
    };
    match file.get("root_certificates") {
        None => {}
        Some(Value::Array(pems)) => {
            for pem in pems {
                let Value::String(pem) = pem else { return Refused("a certificate is no text") };
                config = config.root_certificate_pem(pem);
            }
        }
        Some(_) => return Refused("certificates that are no list"),
    }
    for (name, set) in [
        ("response_limit", Config::response_limit as fn(Config, usize) -> Config),
        ("event_limit", Config::event_limit),
    ] {
        config = match file.get(name) {
            None | Some(Value::Null) => config,
            Some(value) => match value.as_u64() {
                Some(bytes @ 1..) => set(config, bytes as usize),
                _ => return Refused("a limit that is no number of bytes"),
            },
        };
    }
    let proxy = match file.get("proxy") {
        None | Some(Value::Null) => Proxy::None,
        Some(Value::String(text)) => match text.as_str() {
            "none" => Proxy::None,
            "environment" => Proxy::Environment,
            text => match url::Url::parse(text) {
                Ok(url) if matches!(url.scheme(), "http" | "https") => Proxy::Url(url),
                _ => return Refused("a proxy that is no http or https URL"),
            },
        },
        Some(_) => return Refused("a proxy that is no text"),
    };
    Built::Config(Box::new(config.proxy(proxy)))
}

/// A duration such as `1h 30m`, each unit at most once, the larger first.
fn plain_duration(text: &str) -> Option<Duration> {
    let mut units = [("h", 3_600_000_u64), ("m", 60_000), ("s", 1_000), ("ms", 1)].iter();
    let mut millis = 0_u64;
    for part in text.split(' ') {
        let digits = part.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = part.split_at(digits);
        let (_, worth) = units.find(|(name, _)| *name == unit)?;
        if number.is_empty() || number.len() > 6 {
            return None;
        }
        millis += number.parse::<u64>().ok()? * worth;
    }
    Some(Duration::from_millis(millis))
}
