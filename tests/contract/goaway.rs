//! A server that writes what it likes into the frame that closes an HTTP/2 connection.

use std::sync::Arc;

use plexsphere_client::{Config, ControlPlane, ErrorKind};
use rcgen::{CertificateParams, KeyPair};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tracing::Level;

use crate::calls::CALLS;
use crate::requests::Ids;
use crate::secrets::{CANARY, assert_error_is_silent, shows};
use crate::support::SOON;
use crate::traces::{Heard, Line};

/// A frame of HTTP/2 on the connection itself.
fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, 0, 0, 0, 0, 0], payload].concat()
}

/// Settings, and then the end of the connection with the error and `words`.
fn goaway(error: u32, words: &str) -> Vec<u8> {
    let payload = [&0u32.to_be_bytes(), &error.to_be_bytes(), words.as_bytes()].concat();
    [frame(4, &[]), frame(7, &payload)].concat()
}

/// Answers every connection with these bytes, over TLS; gives its URL and its certificate.
async fn server(bytes: Vec<u8>) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let der = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], der)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let (acceptor, listener) =
        (TlsAcceptor::from(Arc::new(config)), TcpListener::bind("127.0.0.1:0"));
    let listener = listener.await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let (acceptor, bytes) = (acceptor.clone(), bytes.clone());
            tokio::spawn(async move {
                let mut stream = acceptor.accept(socket).await?;
                stream.write_all(&bytes).await?;
                // What the client still has to say must not reset the connection.
                tokio::io::copy(&mut stream.take(1 << 20), &mut tokio::io::sink()).await
            });
        }
    });
    (url, certificate.pem())
}

#[tokio::test]
async fn the_words_of_a_server_that_hangs_up_are_not_repeated() {
    for (error, words) in [(0, CANARY.to_owned()), (11, CANARY.repeat(1000))] {
        let (heard, _listening) = Heard::start();
        let (url, root) = server(goaway(error, &words)).await;
        let config = Config::new(url).unwrap().root_certificate_pem(root).request_timeout(SOON);
        let api = ControlPlane::new(config, "1").unwrap();
        for call in CALLS {
            let failed = (call.run)(&api, &Ids::default()).await.unwrap_err();
            assert_eq!(failed.kind(), ErrorKind::Transport, "{failed}");
            assert_error_is_silent(&failed, call.operation);
            assert!(failed.to_string().contains("HTTP/2 connection closed"), "{failed}");
        }
        // `h2` and `hyper_util` repeat them in their own log lines, as `SECURITY.md` says.
        let told: Vec<_> = heard.lines().into_iter().filter(|line| shows(&line.text)).collect();
        assert!(told.iter().any(|line| line.target == "h2::codec::framed_read"), "{told:?}");
        for Line { target, level, .. } in told {
            assert!(target.starts_with("h2::") || target.starts_with("hyper_util::"), "{target}");
            assert!(level >= Level::DEBUG, "{target} {level}");
        }
    }
}
