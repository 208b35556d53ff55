//! A TCP proxy that does the network's worst to the event stream.
//!
//! A fault is armed and falls on the next bytes of the stream that go to the client; if that
//! connection ends first, it waits for the next one. One fault is armed at a time.

mod damage;
mod decoder;
mod pump;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};

use super::plan::Damage;
pub use pump::reset_on_close;

/// What happens to the bytes of the stream.
#[derive(Debug)]
pub enum WireFault {
    /// Each piece comes later, for so many bytes.
    Delay { fixed: Duration, jitter: Duration, bytes: usize },
    /// Only so much gets through at a time, for so many bytes.
    Narrow { bytes_per_ms: usize, bytes: usize },
    /// So many bytes come one by one.
    SingleBytes { bytes: usize },
    /// The connection ends after so many bytes.
    End { at: usize, how: Ending },
    /// A chunk of the stream that the server did not send.
    Insert(Bytes),
    /// The next frame is damaged.
    Damage { permille: usize, how: Damage },
    /// Bytes that break the chunked coding.
    Unframed(Bytes),
}

/// How a connection ends.
#[derive(Debug, Clone, Copy)]
pub enum Ending {
    Close,
    Reset,
    /// The server's side is gone, and the client is not told.
    HalfOpen,
    /// The client is told later.
    Slow(Duration),
}

/// A fault has happened; the id of the frame that it damaged.
pub type Fired = Option<u64>;

struct Armed {
    fault: WireFault,
    fired: oneshot::Sender<Fired>,
}

/// What the connections share.
struct Board {
    armed: Mutex<Option<Armed>>,
    /// How many streams are open and whole.
    open: watch::Sender<usize>,
    /// Nothing gets through, in either direction.
    frozen: watch::Sender<bool>,
    /// Connections are refused.
    refusing: watch::Sender<bool>,
    /// What is armed happens with the next bytes, however few.
    hurry: watch::Sender<bool>,
}

impl Board {
    fn armed(&self) -> MutexGuard<'_, Option<Armed>> {
        self.armed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn thawed(&self) {
        // The sender lives as long as `self`, so waiting cannot fail.
        let _ = self.frozen.subscribe().wait_for(|frozen| !*frozen).await;
    }
}

/// The proxy; it ends when it is dropped.
pub struct Proxy {
    board: Arc<Board>,
    address: SocketAddr,
    accepting: JoinHandle<()>,
}

impl Proxy {
    /// Listens on a free port of 127.0.0.1 and passes on to `upstream`.
    pub async fn start(upstream: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let board = Arc::new(Board {
            armed: Mutex::default(),
            open: watch::Sender::new(0),
            frozen: watch::Sender::new(false),
            refusing: watch::Sender::new(false),
            hurry: watch::Sender::new(false),
        });
        let accepting = tokio::spawn(accept(listener, upstream, Arc::clone(&board)));
        Ok(Self { board, address, accepting })
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Has this happen to the stream; resolves when it has.
    pub fn arm(&self, fault: WireFault) -> oneshot::Receiver<Fired> {
        let (fired, happened) = oneshot::channel();
        self.board.hurry.send_replace(false);
        *self.board.armed() = Some(Armed { fault, fired });
        happened
    }

    /// Has what is armed happen with the next bytes.
    pub fn hurry(&self) {
        self.board.hurry.send_replace(true);
    }

    /// Whether no byte gets through.
    pub fn freeze(&self, frozen: bool) {
        self.board.frozen.send_replace(frozen);
    }

    /// Whether connections are refused, in the place of a server whose port is closed.
    pub fn refuse(&self, refusing: bool) {
        self.board.refusing.send_replace(refusing);
    }

    /// How many streams are open and whole.
    pub fn open_streams(&self) -> watch::Receiver<usize> {
        self.board.open.subscribe()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, upstream: SocketAddr, board: Arc<Board>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((client, _)) = listener.accept().await else {
            // Out of descriptors, or the peer is gone already: the next may do better.
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        while connections.try_join_next().is_some() {}
        if *board.refusing.borrow() {
            reset_on_close(&client);
            continue;
        }
        let board = Arc::clone(&board);
        connections.spawn(async move {
            match TcpStream::connect(upstream).await {
                // How a connection ended is for its two ends to notice.
                Ok(server) => drop(pump::run(client, server, board).await),
                Err(_) => reset_on_close(&client),
            }
        });
    }
}
