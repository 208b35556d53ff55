//! Part 2 i: no body is read past its limit. `tests/memory.rs` measures what that costs.

use futures::StreamExt;
use plexsphere_client::ErrorKind;
use plexsphere_mock::Answer;
use serde_json::Value;
use tokio::io::AsyncReadExt;

use crate::calls::{CALLS, Call, Reply};
use crate::requests::Ids;
use crate::support::{client, client_with, json_text, mock};

const MEBIBYTE: u64 = 1024 * 1024;

#[tokio::test]
async fn part_2_i_the_limit_holds_for_plain_and_gzipped_answers_of_every_call() {
    let mock = mock().await;
    let api = client(&mock);
    for call in CALLS.iter().filter(|call| matches!(call.reply, Reply::Json(..))) {
        let long = |status| Answer::status(status).repeat(" ", 64 * MEBIBYTE);
        for answer in [
            long(200),
            long(201).chunked(),
            Answer::status(200).endless("[["),
            Answer::status(200).repeat("\"", 12 * MEBIBYTE).gzip(),
        ] {
            mock.script(call.route, answer);
            let error = (call.run)(&api, &Ids::default()).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ResponseTooLarge, "{}: {error}", call.operation);
            assert!(error.to_string().contains("response_limit"), "{error}");
            assert!(matches!(error.status(), Some(200 | 201)), "{error}");
            assert!(!error.is_retryable());
        }
    }
}

#[tokio::test]
async fn part_2_i_the_limit_is_exact_and_a_setting() {
    let mock = mock().await;
    let api = client_with(&mock, |config| config.response_limit(2000));
    for (size, fits) in [(1999, true), (2000, true), (2001, false)] {
        let text = format!("\"{}\"", "x".repeat(size - 2));
        for answer in [json_text(&text), json_text(&text).chunked(), json_text(&text).gzip()] {
            mock.script("/v1/x", answer);
            match api.get_json::<Value>("/v1/x").await {
                Ok(value) => assert!(fits && value == text[1..size - 1], "{size}"),
                Err(error) => {
                    assert!(!fits, "{size}");
                    assert_eq!(error.kind(), ErrorKind::ResponseTooLarge, "{error}");
                }
            }
        }
    }
}

#[tokio::test]
async fn an_ignored_body_over_the_limit_does_not_turn_success_into_an_error() {
    let mock = mock().await;
    let api = client(&mock);
    mock.script("report_logs", Answer::status(202).repeat("x", 12 * MEBIBYTE));
    (Call::of("report_logs").run)(&api, &Ids::default()).await.unwrap();
}

#[tokio::test]
async fn also_found_09_an_artifact_is_not_limited_and_arrives_as_it_is() {
    let mock = mock().await;
    let api = client_with(&mock, |config| config.response_limit(100));
    // Looks like gzip, and is what the server has.
    let binary: Vec<u8> =
        [0x1f, 0x8b, 8, 0].into_iter().chain((0..=255).cycle().take(300_000)).collect();
    mock.set_artifact("1.4.2", "linux", "arm64", binary.clone());
    api.set_auth_token(mock.add_node("n").secret_key).unwrap();
    let mut artifact = api.fetch_artifact("1.4.2", "linux", "arm64").await.unwrap();
    assert_eq!(artifact.content_length(), Some(binary.len() as u64));
    assert_eq!(artifact.content_type(), Some("application/octet-stream"));
    let mut streamed = Vec::new();
    while let Some(chunk) = artifact.next().await {
        streamed.extend_from_slice(&chunk.unwrap());
    }
    assert!(streamed == binary);
    assert!(artifact.next().await.is_none(), "the end stays the end");

    let artifact = api.fetch_artifact("1.4.2", "linux", "arm64").await.unwrap();
    let mut read = Vec::new();
    artifact.into_async_read().read_to_end(&mut read).await.unwrap();
    assert!(read == binary);

    mock.script("fetch_artifact", Answer::real().chunked());
    let artifact = api.fetch_artifact("1.4.2", "linux", "arm64").await.unwrap();
    assert_eq!(artifact.content_length(), None);
}

#[tokio::test]
async fn also_found_09_a_stream_that_was_compressed_on_the_way_is_refused() {
    let mock = mock().await;
    let api = client(&mock);
    for operation in ["fetch_artifact", "connect_sse"] {
        let call = Call::of(operation);
        for encoding in ["gzip", "br", "x-custom"] {
            mock.script(operation, call.reply.answer().header("Content-Encoding", encoding));
            let error = (call.run)(&api, &Ids::default()).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::UnexpectedContent, "{error}");
            assert_eq!(error.status(), Some(200));
            assert!(error.to_string().contains("compressed"), "{error}");
        }
        mock.script(operation, call.reply.answer().header("Content-Encoding", "identity"));
        assert_eq!((call.run)(&api, &Ids::default()).await.unwrap(), call.reply.value());
    }
}

#[tokio::test]
async fn also_found_08_gzipped_error_bodies_are_readable_in_calls_and_streams() {
    let mock = mock().await;
    let api = client(&mock);
    let text = "no such artifact, ".repeat(1000);
    for operation in ["heartbeat", "connect_sse", "fetch_artifact"] {
        mock.script(operation, Answer::status(404).text(text.clone()).gzip());
        let error = (Call::of(operation).run)(&api, &Ids::default()).await.unwrap_err();
        assert!(error.is_not_found());
        assert_eq!(error.body(), Some(&text[..4096]), "{operation}");
    }
}

#[tokio::test]
async fn the_event_stream_is_refused_unless_it_is_one() {
    let mock = mock().await;
    let api = client(&mock);
    let refused = [
        (Answer::status(204), ErrorKind::NoStream),
        (Answer::status(200), ErrorKind::UnexpectedContent),
        (Answer::html(200), ErrorKind::UnexpectedContent),
        (json_text("{}"), ErrorKind::UnexpectedContent),
        (
            Answer::status(200).header("Content-Type", "text/event-streams"),
            ErrorKind::UnexpectedContent,
        ),
    ];
    for (answer, kind) in refused {
        mock.script("connect_sse", answer);
        let error = api.connect_sse("node-1", None).await.unwrap_err();
        assert_eq!((error.kind(), error.operation()), (kind, Some("connect_sse")), "{error}");
    }
    for media in ["text/event-stream", "Text/Event-Stream; charset=utf-8"] {
        mock.script("connect_sse", Answer::status(200).header("Content-Type", media));
        api.connect_sse("node-1", None).await.unwrap();
    }
}
