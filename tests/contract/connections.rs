//! Connections: reused where they can be, and errors where there is none.

use plexsphere_client::{Config, ControlPlane, ErrorKind, Proxy};
use plexsphere_mock::{Answer, MockControlPlane, Then};

use crate::calls::{ARTIFACT_BYTES, CALLS, Call};
use crate::requests::Ids;
use crate::support::{SOON, client, client_with, mock};

async fn connections_of_100(operation: &str, answer: Answer) -> u64 {
    let mock = mock().await;
    let api = client(&mock);
    mock.script_always(operation, answer);
    for _ in 0..100 {
        let _ = (Call::of(operation).run)(&api, &Ids::default()).await;
    }
    assert_eq!(mock.count(operation), 100);
    mock.connections()
}

#[tokio::test]
async fn also_found_07_a_hundred_calls_that_ignore_a_body_take_one_connection() {
    let accepted = Answer::status(202).text("{\"accepted\":2}");
    assert_eq!(connections_of_100("report_metrics", accepted.clone()).await, 1);
    assert_eq!(connections_of_100("report_logs", accepted.chunked()).await, 1);
    assert_eq!(connections_of_100("report_audit", Answer::status(202)).await, 1);
    let long = Answer::status(202).repeat("0123456789abcdef", 200_000);
    assert_eq!(connections_of_100("report_drift", long).await, 1);
}

#[tokio::test]
async fn also_found_07_a_hundred_errors_take_one_connection_up_to_64_kib_of_body() {
    for size in [0, 4096, 4097, 64 * 1024] {
        let error = Answer::status(500).repeat("0123456789abcdef", size);
        assert_eq!(connections_of_100("heartbeat", error.clone()).await, 1, "{size}");
        assert_eq!(connections_of_100("fetch_artifact", error).await, 1, "{size}");
    }
    let packed = Answer::status(503).text("x".repeat(50_000)).gzip();
    assert_eq!(connections_of_100("fetch_state", packed).await, 1);
}

#[tokio::test]
async fn also_found_07_an_endless_error_body_is_left_with_its_connection() {
    let mock = mock().await;
    let api = client(&mock);
    mock.script("ping", Answer::status(500).endless("0123456789abcdef"));
    assert!(api.ping().await.unwrap_err().is_server());
    api.ping().await.unwrap_err();
    assert_eq!(mock.connections(), 2);
}

#[tokio::test]
async fn clones_share_connections_and_streams_have_their_own() {
    let mock = mock().await;
    let api = client(&mock);
    for call in CALLS.iter().filter(|call| !call.reply.is_stream()) {
        mock.script(call.route, call.reply.answer());
        (call.run)(&api.clone(), &Ids::default()).await.unwrap();
    }
    assert_eq!(mock.connections(), 1);
    mock.script("fetch_artifact", Call::of("fetch_artifact").reply.answer());
    (Call::of("fetch_artifact").run)(&api, &Ids::default()).await.unwrap();
    assert_eq!(mock.connections(), 2);
}

#[tokio::test]
async fn a_port_where_nobody_listens_is_a_connect_error() {
    let mock = mock().await;
    let api = client(&mock);
    mock.close_port().await;
    for call in CALLS {
        let error = (call.run)(&api, &Ids::default()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Connect, "{error}");
        assert_eq!((error.operation(), error.status()), (Some(call.operation), None));
        assert!(error.is_retryable() && !error.is_timeout());
        assert!(error.to_string().to_lowercase().contains("refused"), "{error}");
        assert!(error.to_string().contains(&mock.url()), "it says where: {error}");
    }
    mock.open_port().await;
    mock.script_always("ping", Answer::status(204));
    let back = async {
        while api.ping().await.is_err() {
            // real time: a real port is opened, and asked again until it answers.
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(SOON, back).await.unwrap();
}

#[tokio::test]
async fn a_name_that_does_not_exist_is_a_connect_error() {
    let config = Config::new("http://control-plane.invalid").unwrap().connect_timeout(SOON);
    let error = ControlPlane::new(config, "1").unwrap().ping().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connect, "{error}");
}

#[tokio::test]
async fn a_connection_that_breaks_is_a_transport_error_and_no_call_is_repeated() {
    let mock = mock().await;
    let api = client(&mock);
    for call in CALLS {
        for answer in [
            Answer::real().hang_up(),
            Answer::real().reset(),
            Answer::wire(["220 mail.example ESMTP\r\n\r\n"], Then::End),
            Answer::wire(["HTTP/1.1 2"], Then::Cut),
        ] {
            mock.clear_requests();
            mock.script(call.route, answer);
            let error = (call.run)(&api, &Ids::default()).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Transport, "{}: {error}", call.operation);
            assert_eq!(error.status(), None);
            assert!(error.is_retryable());
            assert_eq!(mock.requests().len(), 1, "{}", call.operation);
        }
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_never_a_whole_one() {
    let mock = mock().await;
    let api = client(&mock);
    let calls = CALLS.iter().filter(|call| !call.reply.value().is_null());
    for call in calls {
        for answer in [call.reply.answer().cut_after(10), call.reply.answer().reset_after(10)] {
            mock.script(call.route, answer);
            let error = (call.run)(&api, &Ids::default()).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Transport, "{}: {error}", call.operation);
            assert!(error.to_string().contains("the connection broke"), "{error}");
        }
    }
    let short = Answer::status(200).body(ARTIFACT_BYTES).declare_length(1000).then(Then::Cut);
    mock.script("fetch_artifact", short);
    let error = (Call::of("fetch_artifact").run)(&api, &Ids::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Transport, "{error}");
}

#[tokio::test]
async fn a_page_of_a_portal_is_never_a_success() {
    let mock = mock().await;
    let api = client(&mock);
    for call in CALLS {
        mock.script(call.route, Answer::html(200));
        let error = (call.run)(&api, &Ids::default()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnexpectedContent, "{}: {error}", call.operation);
        assert_eq!(error.status(), Some(200));
        assert!(error.is_retryable());
    }
}

#[tokio::test]
async fn an_artifact_is_200_with_its_bytes_and_nothing_else() {
    let mock = mock().await;
    let api = client(&mock);
    for status in [202, 204, 206] {
        mock.script("fetch_artifact", Answer::status(status));
        let error = api.fetch_artifact("v", "o", "a").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::EmptyResponse, "{error}");
        assert_eq!(error.status(), Some(status));
    }
}

#[tokio::test]
async fn b3_a_stream_is_200_and_nothing_else() {
    let mock = mock().await;
    let api = client(&mock);
    for status in [201, 202, 203, 206] {
        let answer = Answer::stream([""], Then::End).with_status(status);
        mock.script("connect_sse", answer);
        let error = api.connect_sse("n", None).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnexpectedContent, "{error}");
    }
}

#[tokio::test]
async fn a_broken_body_does_not_hide_the_status_of_an_error() {
    let mock = mock().await;
    let api = client(&mock);
    for call in CALLS.iter().filter(|call| !call.secret) {
        let text = || Answer::status(401).text("no such token");
        for answer in
            [text().cut_after(7), text().reset_after(7), text().declare_length(99).cut_after(7)]
        {
            mock.script(call.route, answer);
            let error = (call.run)(&api, &Ids::default()).await.unwrap_err();
            assert!(error.is_unauthorized(), "{}: {error}", call.operation);
            assert!("no such".starts_with(error.body().unwrap_or_default()));
        }
    }
}

#[tokio::test]
async fn a_proxy_that_is_set_gets_every_call() {
    let proxy = mock().await;
    let config = Config::new("http://control-plane.invalid/prefix")
        .unwrap()
        .proxy(Proxy::Url(proxy.url().parse().unwrap()));
    let api = ControlPlane::new(config, "1").unwrap();
    for call in CALLS {
        proxy.script("*", call.reply.answer());
        assert_eq!((call.run)(&api, &Ids::default()).await.unwrap(), call.reply.value());
        let request = proxy.requests().pop().unwrap();
        assert_eq!(request.header("host"), Some("control-plane.invalid"));
        assert!(request.path.starts_with("/prefix/v1/"), "{}", request.path);
    }
    assert_eq!(proxy.requests().len(), CALLS.len());
}

/// Set in the process that has a proxy in its environment; holds the control plane's URL.
const CHILD: &str = "CONTRACT_TEST_URL";

/// Runs the named test of this binary in a process of its own with a proxy in its environment.
fn run_behind(proxy: &str, test: &str, url: &str) {
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(CHILD, url)
        .envs(["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"].map(|name| (name, proxy)))
        .env_remove("NO_PROXY")
        .env_remove("no_proxy")
        .env_remove("REQUEST_METHOD")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success() && text.contains("1 passed"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_proxy_of_the_environment_is_left_alone_by_default() {
    if let Ok(url) = std::env::var(CHILD) {
        return ControlPlane::new(Config::new(url).unwrap(), "1").unwrap().ping().await.unwrap();
    }
    let (server, proxy) = (mock().await, mock().await);
    server.script("ping", Answer::status(204));
    let test = "connections::a_proxy_of_the_environment_is_left_alone_by_default";
    run_behind(&proxy.url(), test, &server.url());
    assert_eq!((server.count("ping"), proxy.connections()), (1, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_proxy_of_the_environment_is_used_where_it_is_asked_for() {
    if let Ok(url) = std::env::var(CHILD) {
        let config = Config::new(url).unwrap().proxy(Proxy::Environment);
        return ControlPlane::new(config, "1").unwrap().ping().await.unwrap();
    }
    let proxy = mock().await;
    proxy.script("ping", Answer::status(204));
    let test = "connections::a_proxy_of_the_environment_is_used_where_it_is_asked_for";
    run_behind(&proxy.url(), test, "http://control-plane.invalid");
    assert_eq!(proxy.count("ping"), 1);
}

#[tokio::test]
async fn after_failures_in_a_row_a_new_pool_works() {
    let mock = MockControlPlane::start().await.unwrap();
    let api = client_with(&mock, |config| config);
    for _ in 0..5 {
        mock.script("ping", Answer::real().reset());
        api.ping().await.unwrap_err();
    }
    mock.script("ping", Answer::status(204));
    api.ping().await.unwrap();
}
