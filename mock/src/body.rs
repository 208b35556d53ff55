//! Bodies that are sent as they are made, and that may end badly.

use std::io;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::mpsc;

use crate::answer::{Pace, Then};
use crate::wire::Link;

/// The body of every answer.
pub(crate) enum MockBody {
    Whole(Option<Bytes>),
    /// One write a message: the channel holds one, so each is flushed before the next is taken.
    Fed(mpsc::Receiver<io::Result<Bytes>>),
}

impl Body for MockBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match &mut *self {
            MockBody::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            MockBody::Fed(receiver) => {
                receiver.poll_recv(cx).map(|part| part.map(|part| part.map(Frame::data)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, MockBody::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            MockBody::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            MockBody::Fed(_) => SizeHint::default(),
        }
    }
}

/// The sending end of a [`MockBody::Fed`].
pub(crate) struct Sink {
    sender: mpsc::Sender<io::Result<Bytes>>,
    link: Arc<Link>,
    pace: Option<Pace>,
    left: Option<u64>,
    then: Then,
}

/// Whether to go on feeding.
pub(crate) type Fed = ControlFlow<()>;

impl Sink {
    /// `limit` bytes at most, then `then`.
    pub(crate) fn new(
        link: Arc<Link>,
        pace: Option<Pace>,
        limit: Option<u64>,
        then: Then,
    ) -> (Self, MockBody) {
        let (sender, receiver) = mpsc::channel(1);
        (Self { sender, link, pace, left: limit, then }, MockBody::Fed(receiver))
    }

    /// Breaks when the reader is gone or the limit is reached.
    pub(crate) async fn send(&mut self, mut bytes: Bytes) -> Fed {
        let over = match &mut self.left {
            None => false,
            Some(left) => {
                let fits = bytes.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                bytes.truncate(fits);
                *left -= fits as u64;
                *left == 0
            }
        };
        self.send_paced(bytes).await?;
        match over {
            true => {
                self.finish(self.then).await;
                ControlFlow::Break(())
            }
            false => ControlFlow::Continue(()),
        }
    }

    async fn send_paced(&self, mut bytes: Bytes) -> Fed {
        while let Some(pace) = self.pace.filter(|_| !bytes.is_empty()) {
            let piece = bytes.split_to(pace.bytes.min(bytes.len()));
            self.push(Ok(piece)).await?;
            tokio::select! {
                () = tokio::time::sleep(pace.interval) => {}
                () = self.sender.closed() => return ControlFlow::Break(()),
            }
        }
        match bytes.is_empty() {
            true => ControlFlow::Continue(()),
            false => self.push(Ok(bytes)).await,
        }
    }

    async fn push(&self, part: io::Result<Bytes>) -> Fed {
        match self.sender.send(part).await {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    }

    /// Ends the body as the script says.
    pub(crate) async fn end(self) {
        self.finish(self.then).await;
    }

    /// Ends the body in the given way, once all of it is on its way.
    pub(crate) async fn finish(&self, then: Then) {
        match then {
            Then::End => {}
            Then::Stall => self.sender.closed().await,
            Then::Cut => {
                self.flushed().await;
                let _ = self.push(Err(io::Error::other("cut by the script"))).await;
            }
            Then::Reset => {
                self.flushed().await;
                self.link.reset();
                // The end of the body must not be sent before the connection is gone.
                self.sender.closed().await;
            }
        }
    }

    /// Resolves once nobody reads any more.
    pub(crate) async fn closed(&self) {
        self.sender.closed().await;
    }

    /// The last part was taken by the HTTP library and by the socket.
    async fn flushed(&self) {
        // The channel holds one part: a permit means that the part before is taken.
        drop(self.sender.reserve().await);
        self.link.drained().await;
    }
}

/// `unit` over and over, in parts of about 64 KiB, without holding the whole.
pub(crate) fn repeated(
    unit: &Bytes,
    total: Option<u64>,
) -> impl Iterator<Item = Bytes> + Send + use<> {
    const PART: usize = 64 * 1024;
    let copies = PART.div_ceil(unit.len().max(1));
    // A whole number of units, so that every part begins with a unit.
    let part = Bytes::from(unit.repeat(copies.max(1)));
    let mut left = total;
    std::iter::from_fn(move || {
        if part.is_empty() {
            return None;
        }
        let Some(left) = &mut left else {
            return Some(part.clone());
        };
        let size = part.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
        *left -= size as u64;
        (size > 0).then(|| part.slice(..size))
    })
}
