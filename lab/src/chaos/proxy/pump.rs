//! One connection: the client's bytes pass, the server's meet the faults.

use std::io;
use std::net::Shutdown;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::watch;

use super::damage::damaged;
use super::decoder::{Decoder, Unit, encoded, find};
use super::{Armed, Board, Ending, Fired, WireFault};

const BUFFER: usize = 64 * 1024;

/// Passes bytes on until an end is gone, or a fault ends it.
pub async fn run(client: TcpStream, server: TcpStream, board: Arc<Board>) -> io::Result<()> {
    for side in [&client, &server] {
        side.set_nodelay(true)?;
    }
    let is_stream = Arc::new(AtomicBool::new(false));
    let (client_read, client_write) = client.into_split();
    let (server_read, server_write) = server.into_split();
    let down = Down {
        client: client_write,
        server: server_read,
        board: Arc::clone(&board),
        is_stream: Arc::clone(&is_stream),
        decoder: Decoder::new(),
        current: None,
        open: None,
        rng: ChaCha8Rng::seed_from_u64(0),
    };
    tokio::select! {
        ended = up(client_read, server_write, &board, &is_stream) => ended,
        ended = down.run() => ended,
    }
}

/// Makes the coming close a TCP RST.
pub fn reset_on_close(tcp: &TcpStream) {
    // If this fails, the socket is closed already.
    let _ = SockRef::from(tcp).set_linger(Some(Duration::ZERO));
}

async fn up(
    mut client: OwnedReadHalf,
    mut server: OwnedWriteHalf,
    board: &Board,
    is_stream: &AtomicBool,
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let read = client.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        if find(&buffer[..read], b"/events HTTP/1.1\r\n").is_some() {
            is_stream.store(true, Ordering::Relaxed);
        }
        board.thawed().await;
        server.write_all(&buffer[..read]).await?;
    }
}

/// The fault that this connection has taken up; given back if the connection ends first.
struct Current {
    armed: Option<Armed>,
    board: Arc<Board>,
}

impl Current {
    fn fire(mut self, fired: Fired) {
        if let Some(armed) = self.armed.take() {
            // Whoever armed it may have stopped waiting.
            let _ = armed.fired.send(fired);
        }
    }
}

impl Drop for Current {
    fn drop(&mut self) {
        if let Some(armed) = self.armed.take() {
            self.board.armed().get_or_insert(armed);
        }
    }
}

/// Counts a stream as open for as long as it lives.
struct Open(watch::Sender<usize>);

impl Open {
    fn new(open: &watch::Sender<usize>) -> Self {
        open.send_modify(|count| *count += 1);
        Self(open.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

struct Down {
    client: OwnedWriteHalf,
    server: OwnedReadHalf,
    board: Arc<Board>,
    is_stream: Arc<AtomicBool>,
    decoder: Decoder,
    current: Option<Current>,
    open: Option<Open>,
    rng: ChaCha8Rng,
}

/// Whether the connection goes on.
type Flow = io::Result<ControlFlow<()>>;

impl Down {
    async fn run(mut self) -> io::Result<()> {
        let mut buffer = vec![0; BUFFER];
        loop {
            let read = self.server.read(&mut buffer).await?;
            self.board.thawed().await;
            if read == 0 {
                let rest = self.decoder.rest();
                return self.client.write_all(&rest).await;
            }
            if !self.is_stream.load(Ordering::Relaxed) {
                self.client.write_all(&buffer[..read]).await?;
                continue;
            }
            self.decoder.push(&buffer[..read]);
            while let Some(unit) = self.decoder.next() {
                if self.forward(unit).await?.is_break() {
                    return Ok(());
                }
            }
        }
    }

    async fn forward(&mut self, unit: Unit) -> Flow {
        let payload = match unit {
            Unit::Chunk(payload) => payload,
            Unit::Head(head, chunked) => {
                self.client.write_all(&head).await?;
                self.open = chunked.then(|| Open::new(&self.board.open));
                return Ok(ControlFlow::Continue(()));
            }
            Unit::Other(bytes) => {
                self.open = None;
                self.client.write_all(&bytes).await?;
                return Ok(ControlFlow::Continue(()));
            }
        };
        if self.current.is_none() {
            let armed = self.board.armed().take();
            self.current =
                armed.map(|armed| Current { armed: Some(armed), board: Arc::clone(&self.board) });
        }
        self.meet(payload).await
    }

    /// Sends a chunk under the fault that is due.
    async fn meet(&mut self, payload: Bytes) -> Flow {
        let hurry = *self.board.hurry.borrow();
        let whole = encoded(&payload);
        let fault = self.current.as_mut().and_then(|current| current.armed.as_mut());
        let Some(Armed { fault, .. }) = fault else {
            self.client.write_all(&whole).await?;
            return Ok(ControlFlow::Continue(()));
        };
        if let WireFault::End { at, how } = fault {
            let (left, how) = (if hurry { (*at).min(whole.len() - 1) } else { *at }, *how);
            *at = at.saturating_sub(whole.len());
            if left < whole.len() {
                return self.end(&whole[..left], how).await;
            }
        }
        let fired = match fault {
            WireFault::End { .. } => {
                self.client.write_all(&whole).await?;
                None
            }
            WireFault::Insert(_) | WireFault::Unframed(_) | WireFault::Damage { .. } => {
                self.spoil(&payload).await?
            }
            _ => self.slow_down(&whole, hurry).await?.then_some(None),
        };
        if let Some(fired) = fired
            && let Some(current) = self.current.take()
        {
            current.fire(fired);
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Sends a chunk later, or in pieces; whether that is all of the fault.
    async fn slow_down(&mut self, whole: &[u8], hurry: bool) -> io::Result<bool> {
        let Self { client, current, rng, .. } = self;
        let armed = current.as_mut().and_then(|current| current.armed.as_mut());
        match armed.map(|armed| &mut armed.fault) {
            Some(WireFault::Delay { fixed, jitter, bytes }) => {
                let wait = *fixed + jitter.mul_f64(rng.random::<f64>());
                tokio::time::sleep(wait).await;
                client.write_all(whole).await?;
                Ok(spend(bytes, whole.len(), hurry))
            }
            Some(WireFault::Narrow { bytes_per_ms, bytes }) => {
                for piece in whole.chunks((*bytes_per_ms).max(1)) {
                    client.write_all(piece).await?;
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                Ok(spend(bytes, whole.len(), hurry))
            }
            Some(WireFault::SingleBytes { bytes }) => {
                let (single, rest) = whole.split_at(whole.len().min(*bytes));
                for byte in single {
                    client.write_all(std::slice::from_ref(byte)).await?;
                    tokio::task::yield_now().await;
                }
                client.write_all(rest).await?;
                Ok(spend(bytes, single.len(), hurry))
            }
            _ => Ok(false),
        }
    }

    /// Sends a chunk with something wrong in it, before it or around it; how that went,
    /// once it has happened.
    async fn spoil(&mut self, payload: &Bytes) -> io::Result<Option<Fired>> {
        let Self { client, current, open, .. } = self;
        let armed = current.as_mut().and_then(|current| current.armed.as_mut());
        let (before, payload, fired) = match armed.map(|armed| &armed.fault) {
            Some(WireFault::Insert(bytes)) => (encoded(bytes), payload.clone(), Some(None)),
            Some(WireFault::Unframed(bytes)) => {
                *open = None;
                (bytes.clone(), payload.clone(), Some(None))
            }
            Some(WireFault::Damage { permille, how }) => match damaged(payload, *permille, *how) {
                Some((payload, id)) => (Bytes::new(), payload, Some(Some(id))),
                None => (Bytes::new(), payload.clone(), None),
            },
            _ => (Bytes::new(), payload.clone(), None),
        };
        client.write_all(&before).await?;
        client.write_all(&encoded(&payload)).await?;
        Ok(fired)
    }

    /// Sends the last bytes and ends the connection.
    async fn end(&mut self, last: &[u8], how: Ending) -> Flow {
        self.client.write_all(last).await?;
        self.open = None;
        if let Some(current) = self.current.take() {
            current.fire(None);
        }
        if matches!(how, Ending::Reset) {
            reset_on_close(self.client.as_ref());
        }
        if let Ending::HalfOpen | Ending::Slow(_) = how {
            // The other half of the socket lives on in `up`: the server is told by hand. If
            // this fails, it is gone already.
            let _ = SockRef::from(self.server.as_ref()).shutdown(Shutdown::Both);
        }
        match how {
            Ending::Close | Ending::Reset => {}
            // Until the client gives up, which ends `up`.
            Ending::HalfOpen => std::future::pending().await,
            Ending::Slow(wait) => {
                tokio::time::sleep(wait).await;
                self.client.shutdown().await?;
                tokio::time::sleep(wait).await;
            }
        }
        Ok(ControlFlow::Break(()))
    }
}

/// Takes from a budget of bytes; whether it is used up.
fn spend(budget: &mut usize, bytes: usize, hurry: bool) -> bool {
    *budget = budget.saturating_sub(bytes);
    hurry || *budget == 0
}
