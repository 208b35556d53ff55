//! The same over a socket: for those that come with a connection of their own.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use plexsphere_client::events::{Ed25519Verifier, EventVerifier, NoOpVerifier, kind};
use plexsphere_client::{Config, ControlPlane, SseManager};
use tokio::runtime::Builder;

use crate::events::Signed;
use crate::race::Race;
use crate::server::{Site, serve};

/// A connection, the events, and the end of it; client and server on one thread.
pub fn race(signed: &Signed, chunks: Vec<Bytes>) {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let events = signed.events.len();
    let site = Site { state: "{}".into(), events: chunks.into() };
    let url = format!("http://{}", runtime.block_on(serve(site)));
    let api = ControlPlane::new(Config::new(url.as_str()).unwrap(), "1.0").unwrap();
    #[cfg(feature = "contestants")]
    let (url, handlers) = (format!("{url}/v1/nodes/n/events"), crate::decoders::Handlers::new());
    let title = format!("Connect, read {events} events, close; server on the same thread");
    let mut race = Race::new(title, "event", 40);
    race.add("plexsphere-client, the whole manager", || {
        runtime.block_on(managed(&api, NoOpVerifier, events))
    });
    race.add("the same, verified", || {
        runtime.block_on(managed(&api, Ed25519Verifier::new(&signed.key).unwrap(), events))
    });
    #[cfg(feature = "contestants")]
    {
        race.add("reqwest-eventsource, serde", || {
            runtime.block_on(contestants::reqwest_eventsource(&url, &handlers, events))
        });
        race.add("eventsource-client, serde", || {
            runtime.block_on(contestants::eventsource_client(&url, &handlers, events))
        });
    }
    race.run();
}

async fn managed(api: &ControlPlane, verifier: impl EventVerifier + 'static, count: usize) -> usize {
    let manager = SseManager::new(api.clone(), verifier);
    let handled = Arc::new(AtomicUsize::new(0));
    let (counter, stopper) = (Arc::clone(&handled), manager.clone());
    manager.on::<kind::PeerAdded>(move |event| {
        black_box(&event.payload.mesh_ip);
        if counter.fetch_add(1, Ordering::Relaxed) + 1 == count {
            stopper.shutdown();
        }
        async { Ok(()) }
    });
    manager.start("n").await.unwrap();
    handled.load(Ordering::Relaxed)
}

#[cfg(feature = "contestants")]
mod contestants {
    use eventsource_client::{Client, ClientBuilder, SSE};
    use futures::StreamExt;

    use crate::decoders::Handlers;

    pub async fn reqwest_eventsource(url: &str, handlers: &Handlers, count: usize) -> usize {
        use reqwest_eventsource::{Event, EventSource};
        let before = handlers.count();
        let http = reqwest_old::Client::builder().no_proxy().build().unwrap();
        let mut events = EventSource::new(http.get(url)).unwrap();
        while handlers.since(before) < count {
            match events.next().await.unwrap().unwrap() {
                Event::Message(message) => handlers.handle(&message.data).await,
                Event::Open => {}
            }
        }
        count
    }

    pub async fn eventsource_client(url: &str, handlers: &Handlers, count: usize) -> usize {
        let before = handlers.count();
        let client = ClientBuilder::for_url(url).unwrap().build_http();
        let mut events = client.stream();
        while handlers.since(before) < count {
            if let SSE::Event(event) = events.next().await.unwrap().unwrap() {
                handlers.handle(&event.data).await;
            }
        }
        count
    }
}
