//! What the server refuses, and how it says so.
#![allow(clippy::unwrap_used)]

mod common;

use common::Api;
use plexsphere_mock::{EVENTS, EmptyLists, MockControlPlane, ROUTES, SCHEMAS};
use reqwest::{Method, Response};
use serde_json::{Value, json};

async fn problem(response: Response) -> (u16, String, String) {
    let status = response.status().as_u16();
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    let problem: Value = response.json().await.unwrap();
    assert_eq!(problem["status"], status);
    let text = |field: &str| problem[field].as_str().unwrap().to_owned();
    (status, text("code"), text("detail"))
}

fn log_entry() -> Value {
    json!({
        "timestamp": "2026-01-15T10:30:00.123456789+02:00", "source": "journald", "unit": "plexd.service",
        "message": "started", "severity": "info", "hostname": "web-1",
    })
}

#[tokio::test]
async fn a_token_opens_its_own_node_alone() {
    let mock = MockControlPlane::start().await.unwrap();
    let (one, _) = Api::register(&mock, "web-1").await;
    let (two, _) = Api::register(&mock, "web-2").await;
    let state = |node: &str| one.client.get(format!("{}/v1/nodes/{node}/state", mock.url()));
    assert_eq!(problem(state("node-1").send().await.unwrap()).await.0, 401);
    assert_eq!(
        problem(state("node-1").bearer_auth("wrong").send().await.unwrap()).await.1,
        "unauthorized"
    );
    assert_eq!(
        problem(state("node-1").basic_auth("a", Some("b")).send().await.unwrap()).await.0,
        401
    );
    assert_eq!(
        problem(state("node-1").bearer_auth(&two.token).send().await.unwrap()).await.1,
        "forbidden"
    );
    assert_eq!(
        problem(state("node-9").bearer_auth(&two.token).send().await.unwrap()).await.1,
        "unknown_node"
    );
    assert_eq!(state("node-1").bearer_auth(&one.token).send().await.unwrap().status(), 200);
    let refused = state("node-1").send().await.unwrap();
    assert!(refused.headers()["www-authenticate"].to_str().unwrap().starts_with("Bearer"));
}

#[tokio::test]
async fn registration_needs_the_bootstrap_token_twice() {
    let mock = MockControlPlane::builder().bootstrap_token("boot").start().await.unwrap();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let register = async |bearer: &str, token: &str| {
        let body = json!({ "token": token, "public_key": "k", "hostname": "h" });
        let request =
            client.post(format!("{}/v1/register", mock.url())).bearer_auth(bearer).json(&body);
        request.send().await.unwrap().status().as_u16()
    };
    assert_eq!(register("boot", "other").await, 401);
    assert_eq!(register("other", "boot").await, 401);
    assert_eq!(register("boot", "boot").await, 201);
    assert_eq!(register("boot", "boot").await, 201);
    assert_eq!(mock.nodes(), ["node-1"], "the same key is the same node");
}

#[tokio::test]
async fn bodies_are_checked_and_the_field_is_named() {
    let mock = MockControlPlane::builder().body_limit(20_000).start().await.unwrap();
    let (api, _) = Api::register(&mock, "web-1").await;
    let logs = async |body: Value| api.post("logs").json(&body).send().await.unwrap();
    assert_eq!(logs(json!([log_entry(), log_entry()])).await.status(), 202);
    assert_eq!(mock.node(&api.node_id).unwrap().received.log_lines, 2);

    let mut entry = log_entry();
    entry.as_object_mut().unwrap().remove("unit");
    let refused = problem(logs(json!([log_entry(), entry])).await).await;
    assert_eq!(refused, (400, "invalid_field".into(), "field \"[1].unit\" is missing".into()));
    for (field, value) in
        [("timestamp", json!("yesterday")), ("message", json!(7)), ("severity", Value::Null)]
    {
        let mut entry = log_entry();
        entry[field] = value;
        let (status, _, detail) = problem(logs(json!([entry])).await).await;
        assert!(status == 400 && detail.contains(field), "{detail}");
    }
    let send = async |content_type: &str, coding: &str, body: &[u8]| {
        let request = api
            .post("logs")
            .header("Content-Type", content_type)
            .header("Content-Encoding", coding);
        problem(request.body(body.to_vec()).send().await.unwrap()).await
    };
    assert_eq!(send("text/plain", "identity", b"[]").await.0, 415);
    assert_eq!(send("application/json", "br", b"[]").await.0, 415);
    assert_eq!(send("application/json", "identity", b"[{").await.1, "malformed_json");
    assert_eq!(send("application/json", "gzip", b"[]").await.1, "bad_gzip");
    assert_eq!(send("application/json", "identity", &[b' '; 20_001]).await.0, 413);
    let bomb = gzip(&[b' '; 1_000_000]);
    assert!(bomb.len() < 20_000);
    assert_eq!(send("application/json", "gzip", &bomb).await.0, 413);

    let packed = gzip(json!([log_entry()]).to_string().as_bytes());
    let request = api.post("logs").header("Content-Type", "application/json; charset=utf-8");
    let accepted =
        request.header("Content-Encoding", "gzip").body(packed.clone()).send().await.unwrap();
    assert_eq!(accepted.status(), 202);
    let recorded = mock.requests().pop().unwrap();
    assert_eq!(
        (&recorded.body[..], recorded.json::<Value>().unwrap()),
        (&packed[..], json!([log_entry()]))
    );
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn ids_in_path_and_body_agree() {
    let mock = MockControlPlane::start().await.unwrap();
    let (api, _) = Api::register(&mock, "web-1").await;
    let beat = json!({
        "node_id": "node-7", "timestamp": "2026-01-15T10:30:00Z", "status": "healthy", "uptime": "1s", "binary_checksum": "",
    });
    assert_eq!(
        problem(api.post("heartbeat").json(&beat).send().await.unwrap()).await.1,
        "id_mismatch"
    );
    let rotate = json!({ "node_id": "node-7", "new_public_key": "k" });
    let url = format!("{}/v1/keys/rotate", mock.url());
    let request = api.client.post(url).bearer_auth(&api.token).json(&rotate);
    assert_eq!(problem(request.send().await.unwrap()).await.1, "unknown_node");
}

#[tokio::test]
async fn paths_methods_and_accept_are_checked() {
    let mock = MockControlPlane::start().await.unwrap();
    let (api, _) = Api::register(&mock, "web-1").await;
    let wrong = api
        .client
        .request(Method::PATCH, api.path("state"))
        .bearer_auth(&api.token)
        .send()
        .await
        .unwrap();
    assert_eq!(wrong.headers()["allow"], "GET");
    assert_eq!(problem(wrong).await.0, 405);
    assert_eq!(problem(api.get("nothing").send().await.unwrap()).await.1, "unknown_path");
    let html = api.get("events").header("Accept", "text/html").send().await.unwrap();
    assert_eq!(problem(html).await.0, 406);
    assert_eq!(
        problem(api.post("deregister").body("x").send().await.unwrap()).await.1,
        "unexpected_body"
    );
    assert_eq!(mock.requests()[1].operation, None);
}

#[tokio::test]
async fn older_servers_speak_plain_text() {
    let mock = MockControlPlane::builder().plain_text_errors().start().await.unwrap();
    let refused = reqwest::get(format!("{}/v1/ping", mock.url())).await.unwrap();
    assert_eq!(
        (refused.status().as_u16(), &refused.headers()["content-type"]),
        (401, &"text/plain; charset=utf-8".parse().unwrap())
    );
    assert_eq!(refused.text().await.unwrap(), "the Authorization header is missing\n");
}

#[tokio::test]
async fn reports_conflict_by_version_and_all_or_none_are_taken() {
    let mock = MockControlPlane::start().await.unwrap();
    let (api, _) = Api::register(&mock, "web-1").await;
    let entry = |key: &str, version: u64, payload: Value| {
        json!({ "key": key, "content_type": "application/json", "payload": payload, "version": version,
                "updated_at": "2026-01-15T10:30:00Z" })
    };
    let sync = async |entries: Value, deleted: Value| {
        let body = json!({ "entries": entries, "deleted": deleted });
        api.post("report").json(&body).send().await.unwrap().status().as_u16()
    };
    assert_eq!(sync(json!([entry("a", 2, json!(1))]), Value::Null).await, 204);
    assert_eq!(sync(json!([entry("a", 2, json!(1))]), json!([])).await, 204, "again is fine");
    assert_eq!(
        sync(json!([entry("b", 1, json!(1)), entry("a", 2, json!(9))]), json!([])).await,
        409
    );
    assert_eq!(mock.node(&api.node_id).unwrap().received.reports.len(), 1);
    assert_eq!(sync(json!([entry("b", 1, json!(1))]), json!(["a"])).await, 204);
    let reports = mock.node(&api.node_id).unwrap().received.reports;
    assert_eq!(reports.keys().collect::<Vec<_>>(), ["b"]);
}

#[tokio::test]
async fn every_operation_takes_what_the_contract_says() {
    let mock = MockControlPlane::start().await.unwrap();
    let (api, _) = Api::register(&mock, "web-1").await;
    let id = &api.node_id;
    let action = mock.request_action(id, &json!({ "action": "x" }));
    mock.set_secret(id, "key", "s");
    mock.set_artifact("1.0.0", "linux", "amd64", "elf");
    let values = [
        ("node_id", &**id),
        ("execution_id", &*action),
        ("key", "key"),
        ("version", "1.0.0"),
        ("os", "linux"),
        ("arch", "amd64"),
        ("session_id", "s1"),
    ];
    for route in ROUTES
        .iter()
        .filter(|route| !["connect_sse", "deregister", "register"].contains(&route.operation))
    {
        let path = values.iter().fold(route.path.to_owned(), |path, (name, value)| {
            path.replace(&format!("{{{name}}}"), value)
        });
        let method: Method = route.method.parse().unwrap();
        let mut request =
            api.client.request(method, format!("{}{path}", mock.url())).bearer_auth(&api.token);
        if let Some(kind) = &route.request {
            request = request.json(&sample(&serde_json::to_value(kind).unwrap(), &values));
        }
        let answer = request.send().await.unwrap();
        assert_eq!(
            answer.status(),
            route.success,
            "{}: {}",
            route.operation,
            answer.text().await.unwrap()
        );
    }
    let received = mock.node(id).unwrap().received;
    assert_eq!((received.metric_points, received.log_lines, received.audit_entries), (1, 1, 1));
    assert_eq!(
        (received.drift.len(), received.integrity_violations.len(), received.heartbeats),
        (1, 1, 1)
    );
    assert!(
        received.capabilities.is_some()
            && received.tunnels["s1"].ready.is_some()
            && received.tunnels["s1"].closed.is_some()
    );
    assert_eq!((ROUTES.len(), EVENTS.len()), (21, 24));
}

/// A value of a kind as the printed table words it, with the required fields alone.
fn sample(kind: &Value, ids: &[(&str, &str)]) -> Value {
    if let Some(name) = kind["object"].as_str() {
        let schema = SCHEMAS.iter().find(|schema| schema.name == name).unwrap();
        let fields = schema.fields.iter().filter(|field| field.required).map(|field| {
            let id = ids.iter().find(|(name, _)| name.ends_with("_id") && *name == field.name);
            let value = id.map_or_else(
                || sample(&serde_json::to_value(field.kind).unwrap(), ids),
                |(_, id)| json!(id),
            );
            (field.name.to_owned(), value)
        });
        return Value::Object(fields.collect());
    }
    match (kind.as_str(), &kind["list"]) {
        (Some("string"), _) => json!("text"),
        (Some("integer"), _) => json!(1),
        (Some("boolean"), _) => json!(true),
        (Some("time"), _) => json!("2026-01-15T10:30:00Z"),
        (Some("any"), _) => json!({ "free": [1, 2.5] }),
        (None, Value::Null) => json!({}),
        (None, item) => json!([sample(item, ids)]),
        (Some(other), _) => panic!("what is {other}?"),
    }
}

#[tokio::test]
async fn empty_lists_come_in_three_forms() {
    for (style, peers) in [
        (EmptyLists::Brackets, Some(json!([]))),
        (EmptyLists::Null, Some(Value::Null)),
        (EmptyLists::Missing, None),
    ] {
        let mock = MockControlPlane::builder().empty_lists(style).start().await.unwrap();
        let (api, joined) = Api::register(&mock, "web-1").await;
        mock.set_data(
            &api.node_id,
            &json!({}),
            &json!([{ "key": "k", "payload": { "free": [] } }]),
        );
        let state: Value = api.get("state").send().await.unwrap().json().await.unwrap();
        assert_eq!((joined.get("peers"), state.get("policies")), (peers.as_ref(), peers.as_ref()));
        assert_eq!(state["data"][0]["payload"]["free"], json!([]), "free JSON stays");
    }
}

#[tokio::test]
async fn artifacts_come_whole_or_in_part() {
    let mock = MockControlPlane::start().await.unwrap();
    let (api, _) = Api::register(&mock, "web-1").await;
    let content: Vec<u8> = (0..100_000_u32).map(|n| (n % 251) as u8).collect();
    mock.set_artifact("1.2.3", "linux", "arm64", content.clone());
    let get = async |path: &str, range: &str| {
        let url = format!("{}/v1/artifacts/plexd/{path}", mock.url());
        api.client.get(url).bearer_auth(&api.token).header("Range", range).send().await.unwrap()
    };
    let whole = get("1.2.3/linux/arm64", "").await;
    assert_eq!((whole.status().as_u16(), whole.content_length()), (200, Some(100_000)));
    assert_eq!(whole.bytes().await.unwrap(), content);
    for (range, wanted) in
        [("bytes=10-19", 10..20), ("bytes=99990-", 99_990..100_000), ("bytes=-5", 99_995..100_000)]
    {
        let part = get("1.2.3/linux/arm64", range).await;
        assert_eq!(part.status(), 206);
        let span = format!("bytes {}-{}/100000", wanted.start, wanted.end - 1);
        assert_eq!(part.headers()["content-range"], *span);
        assert_eq!(part.bytes().await.unwrap(), content[wanted]);
    }
    let beyond = get("1.2.3/linux/arm64", "bytes=100000-").await;
    assert_eq!(
        (beyond.status().as_u16(), &beyond.headers()["content-range"]),
        (416, &"bytes */100000".parse().unwrap())
    );
    assert_eq!(get("1.2.4/linux/arm64", "").await.status(), 404);
    for whole in ["bytes=5-3", "bytes=1-2,5-6", "lines=1-2", "bytes=x-"] {
        assert_eq!(get("1.2.3/linux/arm64", whole).await.status(), 200, "{whole}");
    }
}

#[tokio::test]
async fn a_part_of_other_bytes_than_the_client_s_is_not_sent() {
    let mock = MockControlPlane::start().await.unwrap();
    let (api, _) = Api::register(&mock, "web-1").await;
    let url = format!("{}/v1/artifacts/plexd/1.2.3/linux/arm64", mock.url());
    let rest_if = async |known: &str| {
        let request = api.client.get(&url).bearer_auth(&api.token).header("Range", "bytes=4-");
        request.header("If-Range", known).send().await.unwrap()
    };
    mock.set_artifact("1.2.3", "linux", "arm64", "the first");
    let first = rest_if("\"none\"").await;
    assert_eq!(
        (first.status().as_u16(), &first.headers()["accept-ranges"]),
        (200, &"bytes".parse().unwrap())
    );
    let etag = first.headers()["etag"].to_str().unwrap().to_owned();
    let rest = rest_if(&etag).await;
    assert_eq!((rest.status().as_u16(), rest.headers()["etag"].to_str().unwrap()), (206, &*etag));
    assert_eq!(rest.text().await.unwrap(), "first");
    assert_eq!(rest_if(&format!("W/{etag}")).await.status(), 200, "a weak one names no bytes");
    mock.set_artifact("1.2.3", "linux", "arm64", "the second");
    let changed = rest_if(&etag).await;
    assert_eq!(changed.status(), 200);
    assert_ne!(changed.headers()["etag"].to_str().unwrap(), etag);
    assert_eq!(changed.text().await.unwrap(), "the second");
}
