//! A server that sends what it is told, byte for byte, and keeps all that it is sent.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::watch;

/// What goes out in answer to one request. When its steps are done the next request is
/// read from the same connection, unless a step has ended that.
#[derive(Clone, Default)]
pub struct Wire(Vec<Step>);

#[derive(Clone)]
enum Step {
    Send(Bytes),
    Repeat { unit: Bytes, times: u64, pause: Duration },
    Hold,
    Close,
    Reset,
}

impl Wire {
    pub fn new(bytes: impl Into<Bytes>) -> Self {
        Self::default().then(bytes)
    }

    pub fn then(self, bytes: impl Into<Bytes>) -> Self {
        self.step(Step::Send(bytes.into()))
    }

    /// `unit` so many times, as fast as it is taken.
    pub fn repeat(self, unit: impl Into<Bytes>, times: u64) -> Self {
        self.step(Step::Repeat { unit: unit.into(), times, pause: Duration::ZERO })
    }

    /// `unit` for ever, as fast as it is taken.
    pub fn endless(self, unit: impl Into<Bytes>) -> Self {
        self.repeat(unit, u64::MAX)
    }

    /// `unit` for ever, with a pause after each.
    pub fn drip(self, unit: impl Into<Bytes>, pause: Duration) -> Self {
        self.step(Step::Repeat { unit: unit.into(), times: u64::MAX, pause })
    }

    pub fn followed_by(mut self, more: Self) -> Self {
        self.0.extend(more.0);
        self
    }

    /// More header lines in what goes out first.
    pub fn with_header(self, lines: &str) -> Self {
        self.replacing("\r\nContent-Type:", &format!("\r\n{lines}Content-Type:"))
    }

    /// Another text at the first place of `from` in what goes out first.
    pub fn replacing(mut self, from: &str, to: &str) -> Self {
        let Some(Step::Send(first)) = self.0.first_mut() else { panic!("nothing goes out") };
        let at = first.windows(from.len()).position(|part| part == from.as_bytes()).unwrap();
        *first = [&first[..at], to.as_bytes(), &first[at + from.len()..]].concat().into();
        self
    }

    /// `bytes` in the same write as what goes out first.
    pub fn glued(mut self, bytes: &str) -> Self {
        let Some(Step::Send(first)) = self.0.first_mut() else { panic!("nothing goes out") };
        *first = [first, bytes.as_bytes()].concat().into();
        self
    }

    /// Says nothing more, and keeps the connection.
    pub fn hold(self) -> Self {
        self.step(Step::Hold)
    }

    pub fn close(self) -> Self {
        self.step(Step::Close)
    }

    /// Closes with a TCP RST.
    pub fn reset(self) -> Self {
        self.step(Step::Reset)
    }

    fn step(mut self, step: Step) -> Self {
        self.0.push(step);
        self
    }
}

/// One request as it arrived.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: String,
    pub path: String,
}

type Script = dyn Fn(&Seen) -> Wire + Send + Sync;

#[derive(Default)]
struct Record {
    connections: AtomicU64,
    left: watch::Sender<u64>,
    requests: Mutex<Vec<Seen>>,
    bytes: Mutex<Vec<u8>>,
}

/// It has a runtime of its own, and stops when it is dropped.
pub struct Server {
    address: SocketAddr,
    record: Arc<Record>,
    runtime: Option<Runtime>,
}

impl Server {
    pub fn start(script: impl Fn(&Seen) -> Wire + Send + Sync + 'static) -> Self {
        Self::greeting(Wire::default, script)
    }

    /// Sends a greeting to each connection before anything was asked.
    pub fn greeting(
        greeting: impl Fn() -> Wire + Send + 'static,
        script: impl Fn(&Seen) -> Wire + Send + Sync + 'static,
    ) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        listener.set_nonblocking(true).unwrap();
        let record = Arc::new(Record::default());
        let shared = Arc::clone(&record);
        let script: Arc<Script> = Arc::new(script);
        runtime.spawn(async move {
            let listener = TcpListener::from_std(listener).unwrap();
            loop {
                let Ok((tcp, _)) = listener.accept().await else { return };
                shared.connections.fetch_add(1, Ordering::SeqCst);
                let (record, script) = (Arc::clone(&shared), Arc::clone(&script));
                let greeting = greeting();
                tokio::spawn(async move {
                    // A client that goes away is no fault of the server.
                    let _ = serve(tcp, &record, greeting, &*script).await;
                });
            }
        });
        Self { address, record, runtime: Some(runtime) }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn connections(&self) -> u64 {
        self.record.connections.load(Ordering::SeqCst)
    }

    /// Waits until the client has left so many connections that were held.
    pub async fn left(&self, connections: u64) {
        self.record.left.subscribe().wait_for(|left| *left >= connections).await.unwrap();
    }

    pub fn requests(&self) -> Vec<Seen> {
        self.record.requests.lock().unwrap().clone()
    }

    /// All bytes that have arrived, on whatever connection.
    pub fn bytes(&self) -> Vec<u8> {
        self.record.bytes.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn serve(
    mut tcp: TcpStream,
    record: &Record,
    greeting: Wire,
    script: &Script,
) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    let mut unread = Vec::new();
    if !play(&mut tcp, record, greeting).await? {
        return Ok(());
    }
    while let Some(seen) = request(&mut tcp, &mut unread, record).await? {
        let wire = script(&seen);
        record.requests.lock().unwrap().push(seen);
        if !play(&mut tcp, record, wire).await? {
            return Ok(());
        }
    }
    Ok(())
}

/// Whether the connection goes on.
async fn play(tcp: &mut TcpStream, record: &Record, wire: Wire) -> io::Result<bool> {
    for step in wire.0 {
        match step {
            Step::Send(bytes) => tcp.write_all(&bytes).await?,
            Step::Repeat { unit, times, pause } => repeat(tcp, &unit, times, pause).await?,
            Step::Hold => {
                let mut rest = Vec::new();
                while read_some(tcp, &mut rest, record).await.is_ok_and(|read| read > 0) {}
                record.left.send_modify(|left| *left += 1);
                return Ok(false);
            }
            Step::Close => {
                tcp.shutdown().await?;
                return Ok(false);
            }
            Step::Reset => {
                tcp.set_zero_linger()?;
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// Many small units go out in one write, or the test would take its time.
async fn repeat<W: AsyncWrite + Unpin>(
    out: &mut W,
    unit: &[u8],
    times: u64,
    pause: Duration,
) -> io::Result<()> {
    if !pause.is_zero() {
        for _ in 0..times {
            out.write_all(unit).await?;
            // real time: a server that takes its time over a real socket.
            tokio::time::sleep(pause).await;
        }
        return Ok(());
    }
    let at_once = (64 * 1024 / unit.len() as u64).clamp(1, times.max(1));
    let block = unit.repeat(at_once as usize);
    for _ in 0..times / at_once {
        out.write_all(&block).await?;
    }
    out.write_all(&block[..unit.len() * (times % at_once) as usize]).await
}

/// The next request, its body read and left aside. `None` when the client has closed.
async fn request(
    tcp: &mut TcpStream,
    unread: &mut Vec<u8>,
    record: &Record,
) -> io::Result<Option<Seen>> {
    let end = loop {
        if let Some(at) = unread.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        if read_some(tcp, unread, record).await? == 0 {
            return Ok(None);
        }
    };
    let head = String::from_utf8_lossy(&unread[..end]).into_owned();
    let length = head
        .to_ascii_lowercase()
        .lines()
        .find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok())
        .unwrap_or(0);
    while unread.len() < end + length {
        if read_some(tcp, unread, record).await? == 0 {
            return Ok(None);
        }
    }
    unread.drain(..end + length);
    let mut words = head.split(' ').map(str::to_owned);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    Ok(Some(Seen { method, path }))
}

async fn read_some<R: AsyncRead + Unpin>(
    from: &mut R,
    into: &mut Vec<u8>,
    record: &Record,
) -> io::Result<usize> {
    let before = into.len();
    let read = from.read_buf(into).await?;
    record.bytes.lock().unwrap().extend_from_slice(&into[before..]);
    Ok(read)
}
