//! The thread, the port, the connections.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use futures_util::FutureExt;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use jiff::Timestamp;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::runtime::{Handle, Runtime};
use tokio::sync::{Notify, oneshot, watch};

use crate::answer::Then;
use crate::body::repeated;
use crate::builder::Settings;
use crate::clock::Clock;
use crate::mock::Served;
use crate::record::Record;
use crate::script::Script;
use crate::service;
use crate::state::State;
use crate::stream::Streams;
use crate::tls::Tls;
use crate::wire::{Link, Order, Takeover, Wire, reset_on_close};

/// What all parts of the server share.
pub(crate) struct Inner {
    pub(crate) settings: Settings,
    pub(crate) clock: Clock,
    pub(crate) plain_text_errors: AtomicBool,
    state: Mutex<State>,
    streams: Mutex<Streams>,
    script: Mutex<Script>,
    record: Mutex<Record>,
    links: Mutex<Vec<Arc<Link>>>,
    failures: Mutex<Vec<String>>,
    changes: watch::Sender<u64>,
    refusals: AtomicUsize,
    accepted: AtomicU64,
    listening: watch::Sender<bool>,
    /// Told when the port has been closed or opened.
    switched: Notify,
}

impl Inner {
    pub(crate) fn new(settings: Settings, state: State) -> Self {
        let record = Record::new(settings.record_limit);
        let plain_text_errors = AtomicBool::new(settings.plain_text_errors);
        Self {
            settings,
            clock: Clock::default(),
            plain_text_errors,
            state: Mutex::new(state),
            streams: Mutex::default(),
            script: Mutex::default(),
            record: Mutex::new(record),
            links: Mutex::default(),
            failures: Mutex::default(),
            changes: watch::Sender::new(0),
            refusals: AtomicUsize::new(0),
            accepted: AtomicU64::new(0),
            listening: watch::Sender::new(true),
            switched: Notify::new(),
        }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    pub(crate) fn streams(&self) -> MutexGuard<'_, Streams> {
        lock(&self.streams)
    }

    pub(crate) fn script(&self) -> MutexGuard<'_, Script> {
        lock(&self.script)
    }

    pub(crate) fn record(&self) -> MutexGuard<'_, Record> {
        lock(&self.record)
    }

    pub(crate) fn failures(&self) -> MutexGuard<'_, Vec<String>> {
        lock(&self.failures)
    }

    pub(crate) fn links(&self) -> MutexGuard<'_, Vec<Arc<Link>>> {
        lock(&self.links)
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Wakes whoever waits for something to happen.
    pub(crate) fn changed(&self) {
        self.changes.send_modify(|count| *count = count.wrapping_add(1));
    }

    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    pub(crate) fn refuse(&self, connections: usize) {
        self.refusals.store(connections, Ordering::Relaxed);
    }

    pub(crate) fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Opens or closes the port; true if that changes anything.
    pub(crate) fn listen(&self, open: bool) -> bool {
        self.listening.send_if_modified(|now| std::mem::replace(now, open) != open)
    }

    /// Resolves once the port is as [`Inner::listen`] asked.
    pub(crate) async fn port_switched(&self) {
        self.switched.notified().await;
    }

    pub(crate) fn fail(&self, message: String) {
        self.failures().push(message);
        self.changed();
    }

    pub(crate) fn served(&self, served: &Served) {
        if let Some(observer) = &self.settings.observer {
            observer(served);
        }
    }

    /// Runs a task whose panic is kept and fails the test.
    pub(crate) fn spawn(
        self: &Arc<Self>,
        what: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        let inner = self.clone();
        tokio::spawn(async move {
            if let Err(panic) = AssertUnwindSafe(task).catch_unwind().await {
                inner.fail(format!("{what}: {}", panic_text(&*panic)));
            }
        });
    }
}

/// A panic elsewhere is kept as a failure; the data behind the lock is still whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "a panic without a message".to_owned())
}

/// The server's own thread and runtime: a test may block or pause its clock as it likes.
pub(crate) struct Server {
    pub(crate) handle: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Binds the port and starts to serve.
    pub(crate) fn start(
        inner: Arc<Inner>,
        listener: StdListener,
        tls: Option<Arc<Tls>>,
    ) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("plexsphere-mock".to_owned())
            .spawn(move || run(&runtime, inner, listener, tls, stopped))?;
        Ok(Self { handle, stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Server {
    /// Closes the port, drops every connection and ends the thread.
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // The thread's own panics are caught and kept as failures.
            let _ = thread.join();
        }
    }
}

fn run(
    runtime: &Runtime,
    inner: Arc<Inner>,
    listener: StdListener,
    tls: Option<Arc<Tls>>,
    stopped: oneshot::Receiver<()>,
) {
    runtime.block_on(async {
        let accepting = AssertUnwindSafe(accept_loop(inner.clone(), listener, tls)).catch_unwind();
        tokio::select! {
            _ = stopped => {}
            ended = accepting => match ended {
                Ok(Ok(())) => {}
                Ok(Err(error)) => inner.fail(format!("the port: {error}")),
                Err(panic) => inner.fail(format!("the accept loop: {}", panic_text(&*panic))),
            }
        }
    });
}

async fn accept_loop(
    inner: Arc<Inner>,
    listener: StdListener,
    tls: Option<Arc<Tls>>,
) -> io::Result<()> {
    let address = listener.local_addr()?;
    let mut listening = inner.listening.subscribe();
    let mut listener = Some(TcpListener::from_std(listener)?);
    loop {
        let Some(port) = &listener else {
            // The sender lives in `inner`, so this ends only with a change.
            let _ = listening.wait_for(|open| *open).await;
            listener = Some(reopen(address).await?);
            inner.switched.notify_one();
            inner.changed();
            continue;
        };
        tokio::select! {
            _ = listening.wait_for(|open| !*open) => {
                listener = None;
                inner.switched.notify_one();
            }
            accepted = port.accept() => match accepted {
                Ok((tcp, _)) => connect(&inner, tcp, tls.clone()),
                // Out of descriptors, or the peer is gone already: the next may do better.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    }
}

/// The same port again; another process may hold it for a moment.
async fn reopen(address: SocketAddr) -> io::Result<TcpListener> {
    let mut tries = 0;
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => return Ok(listener),
            Err(error) if tries >= 100 => return Err(error),
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
        tries += 1;
    }
}

fn connect(inner: &Arc<Inner>, tcp: tokio::net::TcpStream, tls: Option<Arc<Tls>>) {
    let id = inner.accepted.fetch_add(1, Ordering::Relaxed) + 1;
    inner.changed();
    let refused =
        inner.refusals.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| match left {
            0 => None,
            usize::MAX => Some(usize::MAX),
            left => Some(left - 1),
        });
    if refused.is_ok() {
        reset_on_close(&tcp);
        return;
    }
    let link = Link::new(id);
    let _ = tcp.set_nodelay(true);
    inner.links().push(link.clone());
    let serving = inner.clone();
    inner.spawn("a connection", async move {
        let wire = Wire::new(tcp, link.clone());
        tokio::select! {
            () = serve(&serving, wire, &link, tls) => {}
            () = link.closed() => {}
        }
        serving.links().retain(|other| other.id != link.id);
        serving.changed();
    });
}

async fn serve(inner: &Arc<Inner>, wire: Wire, link: &Arc<Link>, tls: Option<Arc<Tls>>) {
    let Some(tls) = tls else {
        return serve_http1(inner, wire, link).await;
    };
    // A failed handshake is the client's affair.
    let Ok(stream) = tls.acceptor.accept(wire).await else {
        return;
    };
    match stream.get_ref().1.alpn_protocol() {
        Some(b"h2") => serve_http2(inner, stream, link).await,
        _ => serve_http1(inner, stream, link).await,
    }
}

async fn serve_http1(
    inner: &Arc<Inner>,
    io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    link: &Arc<Link>,
) {
    let service = service_fn(|request| service::serve(inner.clone(), link.clone(), request));
    let mut connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(io), service);
    let order = tokio::select! {
        // The client's faults are its own; ours were caught before.
        _ = &mut connection => return,
        order = link.ordered() => order,
    };
    if let Order::Takeover(takeover) = order {
        let io = connection.into_parts().io.into_inner();
        // A peer that is gone needs no more bytes.
        let _ = send_raw(io, link, takeover).await;
    }
}

async fn serve_http2(
    inner: &Arc<Inner>,
    io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    link: &Arc<Link>,
) {
    let service = service_fn(|request| service::serve(inner.clone(), link.clone(), request));
    let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(io), service);
    tokio::select! {
        _ = connection => {}
        // There is no way out of HTTP/2 to the bare connection.
        _ = link.ordered() => link.reset(),
    }
}

async fn send_raw(
    mut io: impl AsyncWrite + Unpin,
    link: &Link,
    takeover: Takeover,
) -> io::Result<()> {
    let endless = takeover.repeat.iter().flat_map(|unit| repeated(unit, None));
    for chunk in takeover.chunks.into_iter().chain(endless) {
        let pace = takeover.pace.map_or(chunk.len(), |pace| pace.bytes);
        for piece in chunk.chunks(pace.max(1)) {
            io.write_all(piece).await?;
            io.flush().await?;
            match takeover.pace {
                Some(pace) => tokio::time::sleep(pace.interval).await,
                None => tokio::task::yield_now().await,
            }
        }
    }
    match takeover.then {
        Then::End | Then::Cut => io.shutdown().await,
        Then::Stall => std::future::pending().await,
        Then::Reset => {
            link.reset();
            Ok(())
        }
    }
}
