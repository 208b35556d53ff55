//! JSON that is too deep, too wide, or read by two readers in two ways.

use plexsphere_client::types::StateResponse;
use plexsphere_client::{Error, ErrorKind as K};
use serde_json::Value;

use crate::rows::{
    Row, Want, Wants, assert_is_fit_for_a_log, client, fails, row_by, run, with_body,
};
use crate::server::Server;

/// The same body to every call. Where nobody reads it as JSON it is as good as any.
fn body(name: &str, typed: Want, body: impl Into<Vec<u8>>) -> Row {
    let (wants, body) = (Wants::all(typed).ignored(Want::Answer).streams(Want::Ok), body.into());
    row_by(name, wants, move |call| with_body(call, "", &body))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn json_that_no_call_can_take_is_an_error() {
    let deep =
        |open: &str, close: &str| format!("{}{}", open.repeat(100_000), close.repeat(100_000));
    let refused = Want::Error(K::Decode);
    run(
        "JSON",
        vec![
            body("lists 100,000 deep", refused, deep("[", "]")),
            body(
                // What nobody asked for is skipped, however deep.
                "objects 60,000 deep",
                Want::Either(K::Decode),
                format!("{}0{}", "{\"a\":".repeat(60_000), "}".repeat(60_000)),
            ),
            body("lists 100,000 deep, unclosed", refused, "[".repeat(100_000)),
            body(
                "both 40,000 deep",
                refused,
                format!("{}{}", "[{\"a\":".repeat(20_000), "}]".repeat(20_000)),
            ),
            body("half a surrogate pair", refused, r#""\ud800""#),
            body("half a pair as a name", refused, r#"{"\udfff":1}"#),
            body("a number beyond range", refused, "1e400"),
            body("a number of 100,000 digits", refused, "9".repeat(100_000)),
            body("an exponent of 100,000 digits", refused, format!("1e{}", "9".repeat(100_000))),
            body("not a number", refused, "NaN"),
            body("infinity", refused, "-Infinity"),
            body("a leading zero", refused, "007"),
            body("a plus sign", refused, "+7"),
            body("bytes that are no UTF-8", refused, b"\"\xff\xfe\"".to_vec()),
            body("an overlong NUL", refused, b"\"\xc0\x80\"".to_vec()),
            body("a surrogate in UTF-8", refused, b"\"\xed\xa0\x80\"".to_vec()),
            body("no UTF-8 in a name", refused, b"{\"\xff\":1}".to_vec()),
            body("UTF-16", refused, b"\xff\xfe{\0}\0".to_vec()),
            body("a byte order mark", refused, "\u{feff}{}"),
            body("a NUL", refused, "{}\u{0}"),
            body("a control character in a string", refused, "\"\u{1}\""),
            body("single quotes", refused, "{'a':1}"),
            body("a comment", refused, "{} // and so on"),
            body("a trailing comma", refused, "[1,]"),
            body("two values", refused, "{}{}"),
            body("900 KiB of spaces", Want::Error(K::EmptyResponse), " ".repeat(900 << 10)),
            body("900 KiB of spaces and a brace", refused, format!("{}{{", " ".repeat(900 << 10))),
            body(
                "a string of 900 KiB without an end",
                refused,
                format!("\"{}", "x".repeat(900 << 10)),
            ),
        ],
    )
    .await;
}

async fn state(text: impl Into<Vec<u8>>) -> Result<StateResponse, Error> {
    let text = text.into();
    let server = Server::start(move |seen| with_body(crate::rows::call_of(seen), "", &text));
    client(&server.url(), |config| config).fetch_state("node-7c41e9").await
}

async fn assert_refused(text: impl Into<Vec<u8>>, said: &str) {
    let error = state(text).await.unwrap_err();
    assert_eq!(error.kind(), K::Decode, "{error}");
    assert!(error.to_string().contains(said), "{error}, not {said}");
    assert_is_fit_for_a_log(said, &error);
}

#[tokio::test]
async fn a_field_that_is_given_twice_is_refused_and_a_key_of_a_map_is_the_last_one() {
    assert_refused(r#"{"peers":[],"peers":null}"#, "duplicate field `peers`").await;
    assert_refused(
        r#"{"signing_keys":{"current":"a","current":"b"}}"#,
        "signing_keys: duplicate field `current`",
    )
    .await;
    let map = state(r#"{"metadata":{"a":"1","a":"2"},"unknown":1,"unknown":2}"#).await.unwrap();
    assert_eq!(map.metadata["a"], "2");
}

#[tokio::test]
async fn numbers_beyond_their_field_s_range_are_refused_by_name() {
    for number in
        ["9223372036854775808", "-9223372036854775809", "1e3", "1.0", "1e400", "1e-400", "-0.5"]
    {
        let text = format!(r#"{{"secret_refs":[{{"key":"k","version":{number}}}]}}"#);
        let error = state(text).await.unwrap_err();
        assert_eq!(error.kind(), K::Decode, "{number}");
        assert!(error.to_string().contains("secret_refs[0].version"), "{number}: {error}");
    }
    let least = r#"{"secret_refs":[{"key":"k","version":-9223372036854775808}]}"#;
    assert_eq!(state(least).await.unwrap().secret_refs[0].version, i64::MIN);
}

#[tokio::test]
async fn what_nobody_asked_for_may_be_odd_and_the_rest_is_read() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    // What is skipped, and what is kept as it stands, is not built: its depth costs nothing.
    let skipped = state(format!(r#"{{"unknown":{deep},"metadata":{{"a":"b"}}}}"#)).await.unwrap();
    assert_eq!(skipped.metadata["a"], "b");
    let kept = format!(
        r#"{{"data":[{{"key":"k","content_type":"t","payload":{deep},"version":1,"updated_at":"2025-01-15T10:30:00Z"}}]}}"#
    );
    assert_eq!(state(kept).await.unwrap().data[0].payload.get(), deep);
    // To whom it is given as a value, it is too deep.
    let entry = state(format!(r#"{{"peers":{deep}}}"#)).await.unwrap_err();
    assert_eq!(entry.kind(), K::Decode);
    let value: Result<Value, _> = serde_json::from_str(&deep);
    assert!(value.is_err());
}

#[tokio::test]
async fn the_path_to_a_fault_is_short_however_deep_it_lies() {
    let name = "a".repeat(32);
    let nested = |value: &str| {
        let (open, close) = (format!("{{\"{name}\":").repeat(120), "}".repeat(120));
        format!("{open}{value}{close}")
    };
    assert_refused(format!(r#"{{"unknown":{}}}"#, nested("x")), "not JSON").await;
    let server = {
        let text = nested("1e400");
        Server::start(move |seen| with_body(crate::rows::call_of(seen), "", &text))
    };
    let api = client(&server.url(), |config| config);
    let error = api.get_json::<Value>("/v1/extra/get").await.unwrap_err();
    assert_eq!(error.kind(), K::Decode, "{error}");
    assert_is_fit_for_a_log("a value deep inside", &error);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_values_than_an_answer_may_hold_are_refused_before_they_are_built() {
    let keys = |count: usize| {
        let keys: String = (0..count).map(|n| format!("\"{n:06x}\":0,")).collect();
        format!("{{{}}}", keys.trim_end_matches(','))
    };
    let values = |unit: &str| format!("[{}]", vec![unit; 140_000].join(","));
    let wide = |name: &str, text: String| {
        let wants = fails(K::ResponseTooLarge).ignored(Want::Answer).streams(Want::Ok);
        row_by(name, wants, move |call| with_body(call, "", &text))
    };
    run(
        "many values",
        vec![
            wide("70,000 keys", keys(70_000)),
            wide("140,000 zeros", values("0")),
            wide("140,000 empty lists", values("[]")),
            wide("140,000 empty strings", values("\"\"")),
            wide("140,000 empty objects", values("{}")),
        ],
    )
    .await;
}
