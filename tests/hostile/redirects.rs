//! A redirect is not followed: no connection, so no byte, reaches its target.

use std::sync::{Arc, Mutex};

use futures::future::join_all;
use plexsphere_client::ErrorKind as K;
use plexsphere_mock::{Answer, MockControlPlane};

use crate::calls::CALLS;
use crate::requests::Ids;
use crate::rows::{TOKEN, assert_is_fit_for_a_log, call_of, client, honest};
use crate::server::{Server, Wire};

const STATUSES: [u16; 8] = [300, 301, 302, 303, 305, 307, 308, 399];

/// Where a server may point to, when `port` is that of the target.
fn targets(own: u16, port: u16) -> Vec<String> {
    let host = |host: &str| format!("http://{host}:{port}/v1/x");
    let mut all = vec![
        host("127.0.0.1"),
        host("localhost"),
        host("127.0.0.2"),
        host("[::1]"),
        host("user:pw@127.0.0.1"),
        format!("https://127.0.0.1:{port}/"),
        format!("//127.0.0.1:{port}/v1/ping"),
        format!("\\\\127.0.0.1:{port}\\"),
        format!("ftp://127.0.0.1:{port}/"),
        "javascript:alert(1)".to_owned(),
        "file:///etc/passwd".to_owned(),
        format!("http://127.0.0.1:{own}/v1/ping"),
        "/v1/ping".to_owned(),
        "?again".to_owned(),
        String::new(),
    ];
    all.push(format!("http://127.0.0.1:{port}/{}", "a".repeat(100_000)));
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_byte_arrives_where_a_redirect_points() {
    let target = Server::start(|_| Wire::new("HTTP/1.1 204 X\r\n\r\n"));
    let port = target.address().port();
    let now = Arc::new(Mutex::new(Wire::default()));
    let answer = Arc::clone(&now);
    let server = Server::start(move |_| answer.lock().unwrap().clone());
    let api = client(&server.url(), |config| config);
    let (mut cases, ids) = (0, Ids::default());
    for status in STATUSES {
        for to in targets(server.address().port(), port) {
            // Every header that has ever sent somebody elsewhere.
            *now.lock().unwrap() = Wire::new(format!(
                "HTTP/1.1 {status} X\r\nLocation: {to}\r\nContent-Length: 0\r\n\
                 Refresh: 0; url=http://127.0.0.1:{port}/\r\nContent-Location: {to}\r\n\
                 Alt-Svc: h2=\"127.0.0.1:{port}\"; ma=1\r\n\
                 Link: <http://127.0.0.1:{port}/>; rel=preload\r\n\r\n"
            ));
            let answers = join_all(CALLS.iter().map(|call| (call.run)(&api, &ids))).await;
            for (call, answer) in CALLS.iter().zip(answers) {
                let error = answer.unwrap_err();
                assert_eq!(error.kind(), K::Redirect, "{}: {error}", call.operation);
                assert_is_fit_for_a_log("a redirect", &error);
                cases += 1;
            }
        }
    }
    assert_eq!(server.requests().len(), cases, "each was sent once");
    assert_eq!((target.connections(), target.bytes().len()), (0, 0));
    println!("redirects: {cases} cases");
}

/// The same of an answer that is none: headers alone lead nowhere.
#[tokio::test]
async fn a_success_that_points_elsewhere_leads_nowhere() {
    let target = Server::start(|_| Wire::new("HTTP/1.1 204 X\r\n\r\n"));
    let port = target.address().port();
    let server = Server::start(move |seen| {
        let lines = format!(
            "Location: http://127.0.0.1:{port}/\r\nAlt-Svc: http/1.1=\"127.0.0.1:{port}\"; ma=86400; persist=1\r\n\
             Refresh: 0; url=http://127.0.0.1:{port}/\r\n"
        );
        honest(call_of(seen)).with_header(&lines)
    });
    let api = client(&server.url(), |config| config);
    for _ in 0..2 {
        for call in CALLS {
            assert_eq!((call.run)(&api, &Ids::default()).await.unwrap(), call.reply.value());
        }
    }
    assert_eq!((target.connections(), target.bytes().len()), (0, 0));
}

#[tokio::test]
async fn https_is_not_left_for_http() {
    let target = Server::start(|_| Wire::new("HTTP/1.1 204 X\r\n\r\n"));
    let tls = MockControlPlane::builder().tls().start().await.unwrap();
    let api = client(&tls.url(), |config| config.root_certificate_pem(tls.ca_pem().unwrap()));
    for call in CALLS {
        for status in STATUSES {
            let to = format!("{}{}", target.url(), call.path);
            tls.script(call.route, Answer::status(status).header("Location", to));
            let error = (call.run)(&api, &Ids::default()).await.unwrap_err();
            assert_eq!(error.kind(), K::Redirect, "{}: {error}", call.operation);
        }
    }
    let sent = tls.requests();
    assert_eq!(sent.len(), CALLS.len() * STATUSES.len());
    assert!(sent.iter().all(|request| request.header("authorization").unwrap().ends_with(TOKEN)));
    assert_eq!((target.connections(), target.bytes().len()), (0, 0));
}
