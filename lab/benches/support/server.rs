//! A bare HTTP server on loopback: what a control plane costs at the least.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use futures::{Stream, StreamExt};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// What it answers.
#[derive(Clone)]
pub struct Site {
    /// To `GET …/state`.
    pub state: Bytes,
    /// To `GET …/events`: these chunks, then silence.
    pub events: Arc<[Bytes]>,
}

const HEARTBEAT: &str = r#"{"reconcile":false,"rotate_keys":false}"#;

/// Serves on the runtime that it is called on, as long as that lives.
pub async fn serve(site: Site) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let _ = socket.set_nodelay(true);
            let site = site.clone();
            let service = service_fn(move |request| answer(request, site.clone()));
            let connection =
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), service);
            tokio::spawn(connection);
        }
    });
    address
}

type Body = BoxBody<Bytes, Infallible>;

async fn answer(request: Request<Incoming>, site: Site) -> hyper::Result<Response<Body>> {
    let (head, body) = request.into_parts();
    body.collect().await?;
    let json = |status, body: Bytes| {
        let response = Response::builder().status(status).header("content-type", "application/json");
        response.body(Full::new(body).boxed()).unwrap()
    };
    Ok(match head.uri.path().rsplit('/').next() {
        Some("heartbeat") => json(200, HEARTBEAT.into()),
        Some("state") => json(200, site.state),
        Some("events") => Response::builder()
            .header("content-type", "text/event-stream")
            .body(BodyExt::boxed(StreamBody::new(frames(site.events))))
            .unwrap(),
        _ => json(202, Bytes::new()),
    })
}

fn frames(chunks: Arc<[Bytes]>) -> impl Stream<Item = Result<Frame<Bytes>, Infallible>> {
    let sent = stream::iter(0..chunks.len()).map(move |index| chunks[index].clone());
    let silence = stream::once(tokio::time::sleep(Duration::from_secs(3600))).map(|()| Bytes::new());
    sent.chain(silence).map(|chunk| Ok(Frame::data(chunk)))
}
