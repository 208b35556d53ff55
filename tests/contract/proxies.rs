//! A proxy that is asked for a tunnel and gives none: named, with the setting that mends
//! it, and without its password.

use plexsphere_client::{Config, ControlPlane, Error, ErrorKind, Proxy};

use crate::calls::CALLS;
use crate::requests::Ids;
use crate::support::{SOON, TOKEN};
use crate::tls_server::Parrot;

const PASSWORD: &str = "Canary-of-the-proxy";

fn through(proxy: &str, target: &str) -> ControlPlane {
    let url = proxy.replace("http://", &format!("http://user:{PASSWORD}@"));
    let config = Config::new(target).unwrap().request_timeout(SOON);
    let api = ControlPlane::new(config.proxy(Proxy::Url(url.parse().unwrap())), "1").unwrap();
    api.set_auth_token(TOKEN).unwrap();
    api
}

fn assert_said(error: &Error, kind: ErrorKind, words: [&str; 2]) {
    let text = format!("{error} {error:?}");
    assert_eq!(error.kind(), kind, "{text}");
    for word in words {
        assert!(text.contains(word), "{word}: {text}");
    }
    assert!(!text.contains(PASSWORD), "{text}");
}

#[tokio::test]
async fn issue5_a_proxy_that_gives_no_tunnel_is_named_with_its_mend() {
    for (answer, words) in [
        ("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "wants credentials: check those"),
        ("HTTP/1.1 403 Forbidden\r\n\r\n", "refuses to connect: check the credentials"),
        ("HTTP/1.1 502 Bad Gateway\r\n\r\n", "refuses to connect: check the credentials"),
        ("", "gives no tunnel: check its URL"),
    ] {
        let parrot = Parrot::start(answer.as_bytes().to_vec()).await;
        let proxy = format!("http://{}", parrot.address);
        let api = through(&proxy, "https://control-plane.invalid:8443");
        for call in CALLS {
            let error = (call.run)(&api, &Ids::default()).await.unwrap_err();
            assert_said(&error, ErrorKind::Connect, [&format!("the proxy {proxy}"), words]);
            assert!(error.to_string().contains("(https://control-plane.invalid:8443)"), "{error}");
        }
        // Without a tunnel there is nothing to say but where it should lead.
        for bytes in parrot.arrived.all() {
            let text = String::from_utf8(bytes).unwrap();
            assert!(text.starts_with("CONNECT control-plane.invalid:8443 HTTP/1.1\r\n"), "{text}");
            assert!(text.contains("Proxy-Authorization: Basic ") && !text.contains(TOKEN));
        }
    }
}

#[tokio::test]
async fn issue5_a_proxy_that_is_not_there_is_named() {
    let parrot = Parrot::start(Vec::new()).await;
    let proxy = format!("http://{}", parrot.address);
    drop(parrot);
    for target in ["https://control-plane.invalid", "http://control-plane.invalid"] {
        let error = through(&proxy, target).ping().await.unwrap_err();
        assert_said(&error, ErrorKind::Connect, [&format!("the proxy {proxy}"), "no connection"]);
    }
}

/// Requests for plain HTTP go to the proxy as they are, and it answers them itself.
#[tokio::test]
async fn issue5_a_proxy_that_answers_in_the_server_s_place_is_named() {
    let page = "Content-Type: text/html\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno";
    for (status, kind, words) in [
        ("407 Proxy Authentication Required", ErrorKind::Status, "wants credentials"),
        ("403 Forbidden", ErrorKind::Forbidden, "as an HTML page"),
        ("200 OK", ErrorKind::UnexpectedContent, "with an HTML page"),
    ] {
        let parrot = Parrot::start(format!("HTTP/1.1 {status}\r\n{page}").into_bytes()).await;
        let proxy = format!("http://{}", parrot.address);
        let error = through(&proxy, "http://control-plane.invalid").ping().await.unwrap_err();
        assert_said(&error, kind, [&format!("the proxy {proxy}"), words]);
    }
}
