//! The socket under a connection, and the means to break it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::answer::{Pace, Then};

/// What a connection is told to do, from outside the HTTP library that serves it.
#[derive(Debug, Clone)]
pub(crate) enum Order {
    Serve,
    /// Drop the connection now; with or without a reset.
    Close,
    /// Leave HTTP and send these bytes.
    Takeover(Takeover),
}

/// What goes out in place of HTTP.
#[derive(Debug, Clone)]
pub(crate) struct Takeover {
    pub(crate) chunks: Vec<Bytes>,
    pub(crate) repeat: Option<Bytes>,
    pub(crate) pace: Option<Pace>,
    pub(crate) then: Then,
}

/// A handle on one connection.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) id: u64,
    order: watch::Sender<Order>,
    reset: AtomicBool,
    blocked: AtomicBool,
}

impl Link {
    pub(crate) fn new(id: u64) -> Arc<Self> {
        Arc::new(Self {
            id,
            order: watch::Sender::new(Order::Serve),
            reset: AtomicBool::new(false),
            blocked: AtomicBool::new(false),
        })
    }

    /// Closes the connection with a TCP RST.
    pub(crate) fn reset(&self) {
        self.reset.store(true, Ordering::Relaxed);
        self.close();
    }

    pub(crate) fn close(&self) {
        self.order.send_replace(Order::Close);
    }

    pub(crate) fn take_over(&self, takeover: Takeover) {
        self.order.send_replace(Order::Takeover(takeover));
    }

    /// Waits for an order other than to serve.
    pub(crate) async fn ordered(&self) -> Order {
        let mut orders = self.order.subscribe();
        let order = orders
            .wait_for(|order| !matches!(order, Order::Serve))
            .await
            .map(|order| order.clone());
        match order {
            Ok(order) => order,
            Err(_) => std::future::pending().await,
        }
    }

    /// Waits for the order to close.
    pub(crate) async fn closed(&self) {
        let mut orders = self.order.subscribe();
        let lost = orders.wait_for(|order| matches!(order, Order::Close)).await.is_err();
        if lost {
            std::future::pending().await
        }
    }

    /// Waits until the socket has taken all that was written so far.
    pub(crate) async fn drained(&self) {
        tokio::task::yield_now().await;
        while self.blocked.load(Ordering::Relaxed) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

/// A TCP stream that resets when its [`Link`] says so.
pub(crate) struct Wire {
    tcp: TcpStream,
    link: Arc<Link>,
}

impl Wire {
    pub(crate) fn new(tcp: TcpStream, link: Arc<Link>) -> Self {
        Self { tcp, link }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        if self.link.reset.load(Ordering::Relaxed) {
            reset_on_close(&self.tcp);
        }
    }
}

/// Makes the coming close a TCP RST.
pub(crate) fn reset_on_close(tcp: &TcpStream) {
    // If this fails, the socket is closed already.
    let _ = SockRef::from(tcp).set_linger(Some(Duration::ZERO));
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_read(cx, buf)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.tcp).poll_write(cx, buf);
        self.link.blocked.store(written.is_pending(), Ordering::Relaxed);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.tcp).poll_write_vectored(cx, bufs);
        self.link.blocked.store(written.is_pending(), Ordering::Relaxed);
        written
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}
