//! What goes out: one loop over all calls.

use plexsphere_client::{ControlPlane, ErrorKind};
use plexsphere_mock::{Answer, MockControlPlane, ROUTES, RecordedRequest, Then};
use serde_json::{Value, json};

use crate::calls::{CALLS, Call, EVENT_BYTES, Reply};
use crate::requests::Ids;
use crate::support::{TOKEN, client, mock, only_request};

/// Runs one call against its usual answer and returns what arrived.
async fn sent(
    mock: &MockControlPlane,
    api: &ControlPlane,
    call: &Call,
    ids: &Ids,
) -> RecordedRequest {
    mock.script(call.route, call.reply.answer());
    let answer = (call.run)(api, ids).await;
    assert_eq!(answer.unwrap(), call.reply.value(), "{}: the decoded answer", call.operation);
    only_request(mock)
}

#[test]
fn the_table_has_every_operation_of_the_contract() {
    for route in ROUTES {
        let call = Call::of(route.operation);
        assert_eq!((call.method, call.path), (route.method, route.path));
    }
    assert_eq!(CALLS.len(), ROUTES.len() + 2, "and the two helpers");
}

#[tokio::test]
async fn every_call_sends_what_the_contract_says_and_decodes_the_answer() {
    let mock = mock().await;
    let api = client(&mock);
    let ids = Ids::default();
    for call in CALLS {
        let request = sent(&mock, &api, call, &ids).await;
        assert_eq!(request.method, call.method, "{}", call.operation);
        assert_eq!(request.path, call.path_with(&ids, |_, id| id.to_owned()));
        assert_eq!(request.query, None, "{}", call.operation);
        assert_common_headers(call, &request);
        assert_body(call, &request, (call.body)(&ids));
    }
}

fn assert_common_headers(call: &Call, request: &RecordedRequest) {
    let name = call.operation;
    for header in ["authorization", "user-agent", "accept"] {
        assert_eq!(request.headers.get_all(header).iter().count(), 1, "{name}: {header}");
    }
    assert_eq!(request.bearer(), Some(TOKEN), "{name}");
    assert_eq!(request.header("user-agent"), Some("plexd/1.4.2"), "{name}");
    let accept = request.header("accept").unwrap();
    let (wanted, encoding) = match call.reply {
        Reply::Events => ("text/event-stream", "identity"),
        Reply::Bytes => ("application/octet-stream", "identity"),
        _ => ("application/json", "gzip"),
    };
    assert_eq!(accept.split(',').next(), Some(wanted), "{name}");
    assert_eq!(request.header("accept-encoding"), Some(encoding), "{name}");
    let no_cache = matches!(call.reply, Reply::Events).then_some("no-cache");
    assert_eq!(request.header("cache-control"), no_cache, "{name}");
    for header in ["api-version", "cookie", "referer", "proxy-authorization", "expect"] {
        assert_eq!(request.header(header), None, "{name}: {header}");
    }
}

fn assert_body(call: &Call, request: &RecordedRequest, expected: Option<Value>) {
    let name = call.operation;
    let Some(expected) = expected else {
        assert!(request.body.is_empty(), "{name}");
        assert_eq!(request.header("content-type"), None, "{name}");
        assert_eq!(request.header("content-encoding"), None, "{name}");
        let length = (call.method != "GET").then_some("0");
        assert_eq!(request.header("content-length"), length, "{name}");
        return;
    };
    assert_eq!(request.json::<Value>().unwrap(), expected, "{name}");
    assert_eq!(request.header("content-type"), Some("application/json"), "{name}");
    assert_eq!(request.header("content-length"), Some(&*request.body.len().to_string()), "{name}");
    let is_long = request.decoded.len() > 1024;
    assert_eq!(request.header("content-encoding"), is_long.then_some("gzip"), "{name}");
    assert_eq!(request.body == request.decoded, !is_long, "{name}");
}

#[tokio::test]
async fn long_bodies_are_gzipped_in_every_call_that_has_one() {
    let mock = mock().await;
    let api = client(&mock);
    let ids = Ids::default().set("text", "long text, ".repeat(200));
    let mut gzipped = 0;
    for call in CALLS.iter().filter(|call| (call.body)(&ids).is_some()) {
        let request = sent(&mock, &api, call, &ids).await;
        assert_eq!(request.header("content-encoding"), Some("gzip"), "{}", call.operation);
        assert!(request.body.len() < request.decoded.len() / 2, "{}", call.operation);
        assert_body(call, &request, (call.body)(&ids));
        gzipped += 1;
    }
    assert_eq!(gzipped, 16);
}

#[tokio::test]
async fn a_body_of_1024_bytes_is_plain_and_one_of_1025_gzipped() {
    let mock = mock().await;
    let api = client(&mock);
    for (operation, route) in [("post_json", "/v1/extra/post"), ("report_logs", "report_logs")] {
        let call = Call::of(operation);
        let short = serde_json::to_vec(&(call.body)(&Ids::default().set("text", ""))).unwrap();
        for (size, encoding) in [(1024, None), (1025, Some("gzip"))] {
            let ids = Ids::default().set("text", "x".repeat(size - short.len()));
            let request = sent(&mock, &api, call, &ids).await;
            assert_eq!(request.decoded.len(), size, "{route}");
            assert_eq!(request.header("content-encoding"), encoding, "{route}");
            assert_eq!(request.body.starts_with(&[0x1f, 0x8b]), encoding.is_some(), "{route}");
        }
    }
}

#[tokio::test]
async fn no_call_carries_a_token_before_one_is_set() {
    let mock = mock().await;
    let api = client(&mock);
    api.clear_auth_token();
    for call in CALLS {
        let request = sent(&mock, &api, call, &Ids::default()).await;
        assert_eq!(request.header("authorization"), None, "{}", call.operation);
    }
}

#[tokio::test]
async fn a_401_without_a_token_says_that_none_is_set() {
    let mock = mock().await;
    let api = client(&mock);
    for call in CALLS {
        for (token, hint) in [(None, true), (Some("wrong"), false)] {
            api.clear_auth_token();
            if let Some(token) = token {
                api.set_auth_token(token).unwrap();
            }
            mock.script(call.route, Answer::status(401));
            let error = (call.run)(&api, &Ids::default()).await.unwrap_err();
            assert_eq!(error.to_string().contains("set_auth_token"), hint, "{error}");
        }
    }
}

#[tokio::test]
async fn a_path_parameter_is_always_one_segment() {
    const ENCODED: [(&str, &str); 14] = [
        ("a/b", "a%2Fb"),
        ("a?b=c", "a%3Fb=c"),
        ("a#b", "a%23b"),
        ("50%", "50%25"),
        ("%2e%2e", "%252e%252e"),
        ("a b", "a%20b"),
        ("é", "%C3%A9"),
        ("日本", "%E6%97%A5%E6%9C%AC"),
        ("🦀", "%F0%9F%A6%80"),
        ("a/../../b", "a%2F..%2F..%2Fb"),
        ("../x", "..%2Fx"),
        ("...", "..."),
        ("a\"b<c>", "a%22b%3Cc%3E"),
        ("-._~", "-._~"),
    ];
    let mock = mock().await;
    let api = client(&mock);
    let mut checked = 0;
    for call in CALLS {
        for name in call.parameters() {
            for (id, encoded) in ENCODED {
                let ids = Ids::default().set(name, id);
                let request = sent(&mock, &api, call, &ids).await;
                let path = call.path_with(&ids, |at, id| {
                    if at == name { encoded.to_owned() } else { id.to_owned() }
                });
                assert_eq!(request.path, path, "{}: {name}", call.operation);
                assert_eq!(request.operation, Some(call.operation), "{id:?}");
                assert_eq!(request.parameter(name), Some(id), "{}", call.operation);
            }
            checked += 1;
        }
    }
    assert_eq!(checked, 25);
}

#[tokio::test]
async fn also_found_11_ids_that_would_change_the_route_are_refused_and_nothing_is_sent() {
    let mock = mock().await;
    let api = client(&mock);
    for call in CALLS {
        for name in call.parameters() {
            for id in ["", ".", "..", "a\\b", "\\..\\x", "a\nb", "a\r\n", "\0", "\u{7f}", "\u{85}"]
            {
                let error = (call.run)(&api, &Ids::default().set(name, id)).await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{name} {id:?}");
                assert_eq!(error.operation(), Some(call.operation));
                assert!(error.to_string().contains(name), "{error}");
                assert_eq!((error.status(), error.is_retryable()), (None, false));
            }
        }
    }
    assert_eq!((mock.requests().len(), mock.connections()), (0, 0));
}

#[tokio::test]
async fn the_event_stream_resumes_after_the_id_that_is_given() {
    let mock = mock().await;
    let api = client(&mock);
    for id in ["480", "a b", "é", "with:colon"] {
        let request =
            sent(&mock, &api, Call::of("connect_sse"), &Ids::default().set("last_event_id", id))
                .await;
        assert_eq!(request.headers["last-event-id"].as_bytes(), id.as_bytes());
    }
    mock.script("connect_sse", Answer::stream([EVENT_BYTES], Then::End));
    drop(api.connect_sse("node-1", None).await.unwrap());
    assert_eq!(only_request(&mock).header("last-event-id"), None);
    for id in ["", "a\nb", "\0", "a\r", "\u{7f}", "\t"] {
        let error = api.connect_sse("node-1", Some(id)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{id:?}");
    }
    assert!(mock.requests().is_empty());
}

#[tokio::test]
async fn a_base_path_stands_before_every_path() {
    let mock = mock().await;
    for prefix in ["/prefix", "/prefix/", "/a/b%20c"] {
        let config = plexsphere_client::Config::new(format!("{}{prefix}", mock.url())).unwrap();
        let api = ControlPlane::new(config, "1.4.2").unwrap();
        for call in CALLS {
            let ids = Ids::default();
            mock.script("*", call.reply.answer());
            assert_eq!((call.run)(&api, &ids).await.unwrap(), call.reply.value());
            let path = call.path_with(&ids, |_, id| id.to_owned());
            let prefix = prefix.trim_end_matches('/');
            assert_eq!(only_request(&mock).path, format!("{prefix}{path}"), "{}", call.operation);
        }
    }
}

#[tokio::test]
async fn the_helpers_stay_under_the_base_url() {
    let mock = mock().await;
    let api = client(&mock);
    mock.script_always("*", Answer::ok_json(&json!(1)));
    let _: Value = api.get_json("/v1/any%20thing?limit=5&after=a%2Fb").await.unwrap();
    let request = only_request(&mock);
    assert_eq!(request.path, "/v1/any%20thing");
    assert_eq!(request.query.as_deref(), Some("limit=5&after=a%2Fb"));
    for path in
        ["", "v1/x", "//evil.example/x", "/../x", "/a/%2e%2E/x", "/\\evil", "/a#b", "/a b", "@h/"]
    {
        let error = api.get_json::<Value>(path).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{path:?}");
        let error = api.post_json::<_, Value>(path, &json!(1)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{path:?}");
    }
    assert!(mock.requests().is_empty());
}

#[tokio::test]
async fn post_json_sends_any_body_and_takes_an_empty_answer_as_null() {
    let mock = mock().await;
    let api = client(&mock);
    mock.script("/v1/x", Answer::status(204));
    api.post_json::<_, ()>("/v1/x", &json!({ "a": 1 })).await.unwrap();
    assert_eq!(only_request(&mock).json::<Value>().unwrap(), json!({ "a": 1 }));
    mock.script("/v1/x", Answer::status(204));
    assert_eq!(api.post_json::<_, Option<u8>>("/v1/x", "text").await.unwrap(), None);
    mock.script("/v1/x", Answer::status(204));
    let error = api.post_json::<_, Vec<u8>>("/v1/x", &()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::EmptyResponse);
    mock.script("/v1/x", Answer::status(200));
    let error = api.get_json::<Value>("/v1/x").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::EmptyResponse, "a fetch promises a body");
    let unwritable = std::collections::BTreeMap::from([((1, 2), 3)]);
    let error = api.post_json::<_, ()>("/v1/x", &unwritable).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidRequest);
}
