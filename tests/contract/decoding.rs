//! What comes in: lists, unknown words, raw JSON, times, and bodies that do not fit.

use plexsphere_client::types::{HeartbeatResponse, StateResponse};
use plexsphere_client::values::{ResultStatus, Timestamp};
use plexsphere_client::{ErrorKind, types};
use plexsphere_mock::Answer;
use serde_json::{Value, json};

use crate::calls::{self, CALLS, Call, Reply};
use crate::requests::Ids;
use crate::support::{client, json_text, mock};

async fn state_of(text: &str) -> StateResponse {
    let mock = mock().await;
    mock.script("fetch_state", json_text(text));
    client(&mock).fetch_state("node-1").await.unwrap()
}

fn typed_calls() -> impl Iterator<Item = &'static Call> {
    CALLS.iter().filter(|call| matches!(call.reply, Reply::Json(..)))
}

#[tokio::test]
async fn a_body_that_does_not_fit_is_named_by_path_and_type_never_by_value() {
    let peer = r#""id":"n","public_key":"k","mesh_ip":"m","endpoint":"e","psk":"s""#;
    let cases: &[(&str, &str, &str)] = &[
        ("fetch_state", r#"{"peers":[{"id":717273}]}"#, "peers[0].id: expected a string"),
        ("fetch_state", r#"{"peers":{"canary":1}}"#, "peers: expected a sequence"),
        (
            "fetch_state",
            &format!(r#"{{"peers":[{{{peer}}},{{{peer},"allowed_ips":["a",true]}}]}}"#),
            "peers[1].allowed_ips[1]: expected a string",
        ),
        (
            "fetch_state",
            r#"{"policies":[{"id":"p","rules":[{"src":"a","dst":"b","port":1.0,"protocol":"tcp","action":"allow"}]}]}"#,
            "policies[0].rules[0].port: expected i64",
        ),
        ("fetch_state", r#"{"signing_keys":{}}"#, "signing_keys: missing field `current`"),
        (
            "fetch_state",
            r#"{"signing_keys":{"current":"k","transition_expires":"canary"}}"#,
            "signing_keys.transition_expires: expected an RFC 3339 time",
        ),
        ("fetch_state", r#"{"metadata":{"Canary key":717273}}"#, "metadata.*: expected a string"),
        ("fetch_state", r#"["canary"]"#, "[0]: expected struct BridgeConfig"),
        ("fetch_state", r#""canary""#, "expected struct StateResponse"),
        ("fetch_state", r#"{"peers":[]"#, "the text ends too early"),
        ("fetch_state", "canary", "not JSON"),
        ("register", r#"{"node_id":"n"}"#, "missing field `mesh_ip`"),
        ("heartbeat", r#"{"reconcile":"canary"}"#, "reconcile: expected a boolean"),
        ("rotate_keys", r#"{"updated_peers":[7]}"#, "updated_peers[0]: expected struct Peer"),
        (
            "report_endpoint",
            r#"{"peer_endpoints":"canary"}"#,
            "peer_endpoints: expected a sequence",
        ),
        ("fetch_secret", r#"{"version":"canary"}"#, "version: expected i64"),
    ];
    let mock = mock().await;
    let api = client(&mock);
    for (operation, text, expected) in cases {
        mock.script(operation, json_text(*text));
        let error = (Call::of(operation).run)(&api, &Ids::default()).await.unwrap_err();
        let shown = error.to_string();
        assert_eq!(error.kind(), ErrorKind::Decode, "{shown}");
        assert_eq!(error.operation(), Some(*operation));
        assert_eq!(error.body(), None, "{shown}");
        assert!(!error.is_retryable());
        assert!(shown.contains(", but its body does not fit: "), "{shown}");
        assert!(shown.contains(expected), "{shown}, not {expected}");
        assert!(shown.contains("(line 1, column "), "{shown}");
        let everything = format!("{shown} {error:?}").to_lowercase();
        assert!(!everything.contains("canary") && !everything.contains("717273"), "{shown}");
    }
}

#[tokio::test]
async fn also_found_13_an_empty_body_where_one_is_promised_is_named() {
    let mock = mock().await;
    let api = client(&mock);
    // To the helpers nothing is `null`, which the type that they are asked for takes here.
    for call in typed_calls().filter(|call| call.path != call.route) {
        for answer in [
            Answer::status(200),
            Answer::status(204),
            Answer::status(200).body(" \r\n\t"),
            Answer::status(200).gzip(),
            Answer::status(200).chunked(),
        ] {
            mock.script(call.route, answer);
            let error = (call.run)(&api, &Ids::default()).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::EmptyResponse, "{error}");
            assert!(matches!(error.status(), Some(200 | 204)));
            assert!(error.to_string().contains("empty body where one is expected"), "{error}");
        }
    }
}

#[tokio::test]
async fn also_found_13_text_after_the_json_is_an_error() {
    let mock = mock().await;
    let api = client(&mock);
    for call in typed_calls() {
        for tail in [" {}", "x", "\n7", ",", "<html>"] {
            let text = format!("{}{tail}", call.reply.value());
            mock.script(call.route, json_text(text));
            let error = (call.run)(&api, &Ids::default()).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Decode, "{} {tail:?}", call.operation);
        }
        mock.script(call.route, json_text(format!(" {} \r\n", call.reply.value())));
        assert_eq!((call.run)(&api, &Ids::default()).await.unwrap(), call.reply.value());
    }
}

#[tokio::test]
async fn a_page_in_place_of_an_answer_is_unexpected_content() {
    let mock = mock().await;
    let api = client(&mock);
    for call in typed_calls() {
        let bare = json_text("<!doctype HTML><p>log in");
        for answer in [Answer::html(200), bare, Answer::html(200).gzip()] {
            mock.script(call.route, answer);
            let error = (call.run)(&api, &Ids::default()).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::UnexpectedContent, "{}", call.operation);
            assert!(error.is_retryable());
            assert_eq!((error.status(), error.body()), (Some(200), None));
        }
    }
}

#[tokio::test]
async fn any_2xx_is_success_and_an_ignored_body_may_be_anything() {
    let mock = mock().await;
    let api = client(&mock);
    for call in CALLS.iter().filter(|call| matches!(call.reply, Reply::Ignored(_))) {
        for status in [200, 201, 202, 204, 299] {
            for text in ["", "{}", "ok", "<p>", "{"] {
                mock.script(call.route, Answer::status(status).text(text));
                let answer = (call.run)(&api, &Ids::default()).await;
                assert_eq!(answer.unwrap(), Value::Null, "{} {status}", call.operation);
            }
        }
    }
    for call in typed_calls() {
        for status in [200, 201, 202, 203] {
            mock.script(call.route, call.reply.answer().with_status(status));
            let answer = (call.run)(&api, &Ids::default()).await;
            assert_eq!(answer.unwrap(), call.reply.value(), "{} {status}", call.operation);
        }
    }
}

#[tokio::test]
async fn gzipped_answers_are_decoded_and_damaged_ones_refused() {
    let mock = mock().await;
    let api = client(&mock);
    for call in typed_calls() {
        mock.script(call.route, call.reply.answer().gzip());
        assert_eq!((call.run)(&api, &Ids::default()).await.unwrap(), call.reply.value());
        for answer in [call.reply.answer().bad_gzip(), call.reply.answer().truncated_gzip()] {
            mock.script(call.route, answer);
            let error = (call.run)(&api, &Ids::default()).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Transport, "{}: {error}", call.operation);
            assert!(matches!(error.status(), Some(200 | 201)), "{error}");
            assert!(error.to_string().contains("compression is damaged"), "{error}");
        }
    }
}

#[tokio::test]
async fn null_missing_and_empty_lists_are_one() {
    for text in [
        "{}",
        r#"{"peers":[],"policies":[],"data":[],"secret_refs":[],"metadata":{}}"#,
        r#"{"peers":null,"policies":null,"data":null,"secret_refs":null,"metadata":null,
            "signing_keys":null,"bridge_config":null,"relay_config":null,
            "user_access_config":null,"ingress_config":null,"site_to_site_config":null}"#,
    ] {
        let state = state_of(text).await;
        assert!(state.peers.is_empty() && state.policies.is_empty() && state.data.is_empty());
        assert!(state.secret_refs.is_empty() && state.metadata.is_empty());
        assert!(state.signing_keys.is_none() && state.relay_config.is_none());
    }
    let nested = r#"{
        "policies": [{"id":"p","rules":null}, {"id":"q"}],
        "bridge_config": {"access_subnets":null,"enable_nat":true,"enable_forwarding":false},
        "relay_config": {"sessions":null},
        "user_access_config": {"enabled":true,"interface_name":"i","listen_port":1,"peers":[
            {"public_key":"k","allowed_ips":null,"label":"l"}]},
        "ingress_config": {"enabled":true,"rules":null},
        "site_to_site_config": {"enabled":true,"tunnels":[{"tunnel_id":"t","remote_endpoint":"e",
            "remote_public_key":"k","local_subnets":null,"interface_name":"i","listen_port":1}]}
    }"#;
    let state = state_of(nested).await;
    assert_eq!(state.policies.iter().map(|policy| policy.rules.len()).sum::<usize>(), 0);
    assert!(state.bridge_config.unwrap().access_subnets.is_empty());
    assert!(state.relay_config.unwrap().sessions.is_empty());
    assert!(state.user_access_config.unwrap().peers[0].allowed_ips.is_empty());
    assert!(state.site_to_site_config.unwrap().tunnels[0].remote_subnets.is_empty());
}

#[tokio::test]
async fn missing_flags_of_a_heartbeat_are_false() {
    let mock = mock().await;
    let api = client(&mock);
    for (text, expected) in [
        ("{}", (false, false)),
        (r#"{"reconcile":true}"#, (true, false)),
        (r#"{"rotate_keys":true}"#, (false, true)),
    ] {
        mock.script("heartbeat", json_text(text));
        let body = crate::requests::heartbeat(&Ids::default());
        let HeartbeatResponse { reconcile, rotate_keys, .. } =
            api.heartbeat("node-1", &body).await.unwrap();
        assert_eq!((reconcile, rotate_keys), expected);
    }
}

#[tokio::test]
async fn unknown_fields_are_ignored_in_every_object() {
    fn add_field(value: &mut Value) {
        match value {
            Value::Object(fields) => {
                fields.values_mut().for_each(add_field);
                fields.insert("new_in_2031".into(), json!({ "any": [1, null] }));
            }
            Value::Array(items) => items.iter_mut().for_each(add_field),
            _ => {}
        }
    }
    let mock = mock().await;
    let api = client(&mock);
    // Maps and free JSON keep what they are given, so those of the state are left out.
    let mut state = calls::state();
    state.as_object_mut().unwrap().retain(|name, _| name != "metadata" && name != "data");
    for (operation, plain) in [
        ("register", Call::of("register").reply.value()),
        ("heartbeat", Call::of("heartbeat").reply.value()),
        ("rotate_keys", Call::of("rotate_keys").reply.value()),
        ("report_endpoint", Call::of("report_endpoint").reply.value()),
        ("fetch_secret", Call::of("fetch_secret").reply.value()),
        ("fetch_state", state),
    ] {
        let mut extended = plain.clone();
        add_field(&mut extended);
        mock.script(operation, Answer::ok_json(&extended));
        let mut answer = (Call::of(operation).run)(&api, &Ids::default()).await.unwrap();
        answer
            .as_object_mut()
            .unwrap()
            .retain(|name, _| name != "data" || operation != "fetch_state");
        assert_eq!(answer, plain, "{operation}");
    }
}

#[test]
fn unknown_words_of_open_sets_are_carried() {
    let text = r#"{"execution_id":"e","status":"paused by operator","exit_code":0,"stdout":"","stderr":"","duration":"1s","finished_at":"2025-01-15T10:30:00Z"}"#;
    let result: types::ExecutionResult = serde_json::from_str(text).unwrap();
    assert_eq!(result.status, ResultStatus::Unknown("paused by operator".into()));
    let written: Value = serde_json::to_value(&result).unwrap();
    assert_eq!(written, serde_json::from_str::<Value>(text).unwrap());
    let request: types::ActionRequest =
        serde_json::from_str(r#"{"execution_id":"e","action":"a","timeout":"1s","type":"wasm"}"#)
            .unwrap();
    assert_eq!(request.type_.unwrap().as_str(), "wasm");
}

#[tokio::test]
async fn raw_json_keeps_its_bytes_through_fetch_state() {
    let entry = |payload: &str| {
        format!(
            r#"{{ "key":"k", "content_type":"t" , "payload" : {payload} ,"version":1,"updated_at":"2025-01-15T10:30:00Z"}}"#
        )
    };
    let payloads = [
        r#"{"b" : 1.0,  "a":12345678901234567890123, "a": 2, "s":"<\u003c\/"}"#,
        "1E400",
        "-0.0",
        "null",
        "\"\\ud83e\\udd80 é\"",
        "[ 1,\n2 ]",
    ];
    let entries = payloads.map(entry).join(",");
    let state = state_of(&format!(r#"{{"data":[{entries}]}}"#)).await;
    let got: Vec<_> = state.data.iter().map(|entry| entry.payload.get()).collect();
    assert_eq!(got, payloads);
}

#[tokio::test]
async fn raw_json_keeps_its_bytes_in_requests() {
    let mock = mock().await;
    let payload = r#"{"b" : 1.0,  "a":12345678901234567890123, "a": 2, "s":"<&>"}"#;
    let mut reports = crate::requests::reports(&Ids::default());
    reports.entries[0].payload = crate::requests::raw(payload);
    mock.script("sync_reports", Answer::status(204));
    client(&mock).sync_reports("node-1", &reports).await.unwrap();
    let body = String::from_utf8(mock.requests()[0].decoded.to_vec()).unwrap();
    assert!(body.contains(payload), "{body}");
}

#[tokio::test]
async fn times_keep_nanoseconds_and_offset_and_are_written_as_go_writes_them() {
    let mock = mock().await;
    let api = client(&mock);
    for (text, written) in [
        ("2025-01-15T10:30:00Z", "2025-01-15T10:30:00Z"),
        ("2025-01-15T10:30:00.100Z", "2025-01-15T10:30:00.1Z"),
        ("2025-01-15T10:30:00.123456789+02:00", "2025-01-15T10:30:00.123456789+02:00"),
        ("2025-01-15T10:30:00.000000001-03:30", "2025-01-15T10:30:00.000000001-03:30"),
        ("2025-01-15T10:30:00.000+00:00", "2025-01-15T10:30:00Z"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
    ] {
        let state = state_of(&format!(
            r#"{{"signing_keys":{{"current":"k","transition_expires":"{text}"}}}}"#
        ))
        .await;
        let timestamp: Timestamp = state.signing_keys.unwrap().transition_expires.unwrap();
        mock.script("report_drift", Answer::status(204));
        let report = types::DriftReport { timestamp, corrections: vec![] };
        api.report_drift("node-1", &report).await.unwrap();
        let body: Value = mock.requests().last().unwrap().json().unwrap();
        assert_eq!(body, json!({ "timestamp": written, "corrections": [] }));
    }
}
