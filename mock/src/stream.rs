//! The live event streams: feeding them, and breaking them on demand.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::sync::{mpsc, watch};

use crate::answer::Then;
use crate::body::{Fed, Sink};
use crate::server::Inner;

/// The comment that keeps a quiet stream alive.
const KEEP_ALIVE: &[u8] = b":keep-alive\n\n";

/// Frames that go out in one write.
const BATCH: usize = 256;

/// How a test ends a live event stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Close {
    /// Cleanly, as a server that restarts in good order.
    End,
    /// The connection is closed between two frames.
    Cut,
    /// The connection is closed in the middle of a frame: of the next event if one is due, else of a repeat of the last.
    MidFrame,
    /// TCP RST.
    Reset,
}

/// Every stream of a node is closed after this many events.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CutRule {
    pub(crate) events: u64,
    pub(crate) close: Close,
}

/// What a live stream is told.
#[derive(Debug, Clone)]
pub(crate) enum Command {
    Close(Close),
    Inject(Bytes),
    Stall(bool),
}

/// The live streams.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    next: u64,
    live: HashMap<u64, (String, mpsc::UnboundedSender<Command>)>,
}

impl Streams {
    pub(crate) fn open(&self, node_id: Option<&str>) -> usize {
        self.live.values().filter(|(owner, _)| node_id.is_none_or(|wanted| wanted == owner)).count()
    }

    /// Tells the streams of one node, or all; returns how many.
    pub(crate) fn tell(&self, node_id: Option<&str>, command: &Command) -> usize {
        let wanted =
            self.live.values().filter(|(owner, _)| node_id.is_none_or(|wanted| wanted == owner));
        wanted.filter(|(_, stream)| stream.send(command.clone()).is_ok()).count()
    }

    fn add(&mut self, node_id: &str) -> (u64, mpsc::UnboundedReceiver<Command>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.next += 1;
        self.live.insert(self.next, (node_id.to_owned(), sender));
        (self.next, receiver)
    }
}

/// A stream's place in [`Streams`], given back on drop.
struct Place {
    inner: Arc<Inner>,
    id: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.inner.streams().live.remove(&self.id);
        self.inner.changed();
    }
}

/// A stream to be fed; exists from the moment that its answer is decided, so no event is missed.
pub(crate) struct Feed {
    place: Place,
    node_id: String,
    position: u64,
    last: watch::Receiver<u64>,
    commands: mpsc::UnboundedReceiver<Command>,
    sent: u64,
    stalled: bool,
}

impl Feed {
    /// `None` if the node is gone.
    pub(crate) fn new(inner: &Arc<Inner>, node_id: &str, after: u64) -> Option<Self> {
        let last = inner.state().nodes.get(node_id)?.log.watch();
        let (id, commands) = inner.streams().add(node_id);
        inner.changed();
        let place = Place { inner: inner.clone(), id };
        Some(Self {
            place,
            node_id: node_id.to_owned(),
            position: after,
            last,
            commands,
            sent: 0,
            stalled: false,
        })
    }

    /// Feeds until somebody ends it: the reader, a command, the node's deregistration.
    pub(crate) async fn run(mut self, mut sink: Sink) {
        while self.step(&mut sink).await.is_continue() {}
    }

    async fn step(&mut self, sink: &mut Sink) -> Fed {
        if let Ok(command) = self.commands.try_recv() {
            return self.obey(command, sink).await;
        }
        if !self.stalled {
            let due = self.due();
            if !due.is_empty() {
                sink.send(due).await?;
                self.place.inner.changed();
                return ControlFlow::Continue(());
            }
            if let Some(close) = self.rule_is_met() {
                self.close(close, sink).await;
                return ControlFlow::Break(());
            }
        }
        self.wait(sink).await
    }

    async fn wait(&mut self, sink: &mut Sink) -> Fed {
        let keep_alive = self.place.inner.settings.keep_alive;
        tokio::select! {
            () = sink.closed() => ControlFlow::Break(()),
            Some(command) = self.commands.recv() => self.obey(command, sink).await,
            changed = self.last.changed() => match changed {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => {
                    sink.finish(Then::End).await;
                    ControlFlow::Break(())
                }
            },
            () = tokio::time::sleep(keep_alive), if !self.stalled => {
                sink.send(Bytes::from_static(KEEP_ALIVE)).await
            }
        }
    }

    /// The frames that can go out now, as one piece.
    fn due(&mut self) -> Bytes {
        let state = self.place.inner.state();
        let Some(node) = state.nodes.get(&self.node_id) else {
            return Bytes::new();
        };
        let room = match node.cut_rule {
            Some(rule) => {
                usize::try_from(rule.events.saturating_sub(self.sent)).unwrap_or(BATCH).min(BATCH)
            }
            None => BATCH,
        };
        self.last.mark_unchanged();
        let replay = node.log.after(self.position, room);
        self.position = replay.upto;
        self.sent += replay.frames.len() as u64;
        match replay.frames.as_slice() {
            [] => Bytes::new(),
            [only] => only.clone(),
            frames => frames
                .iter()
                .fold(BytesMut::new(), |mut all, frame| {
                    all.extend_from_slice(frame);
                    all
                })
                .freeze(),
        }
    }

    /// A cut in mid-frame waits for the frame to cut.
    fn rule_is_met(&self) -> Option<Close> {
        let state = self.place.inner.state();
        let node = state.nodes.get(&self.node_id)?;
        let rule = node.cut_rule.filter(|rule| self.sent >= rule.events)?;
        let due = rule.close != Close::MidFrame || node.log.last() > self.position;
        due.then_some(rule.close)
    }

    async fn obey(&mut self, command: Command, sink: &mut Sink) -> Fed {
        match command {
            Command::Close(close) => {
                self.close(close, sink).await;
                ControlFlow::Break(())
            }
            Command::Inject(bytes) => sink.send(bytes).await,
            Command::Stall(stalled) => {
                self.stalled = stalled;
                ControlFlow::Continue(())
            }
        }
    }

    async fn close(&self, close: Close, sink: &mut Sink) {
        let then = match close {
            Close::End => Then::End,
            Close::Cut => Then::Cut,
            Close::Reset => Then::Reset,
            Close::MidFrame => {
                let half = self.half_a_frame();
                if sink.send(half).await.is_break() {
                    return;
                }
                Then::Cut
            }
        };
        sink.finish(then).await;
    }

    fn half_a_frame(&self) -> Bytes {
        let state = self.place.inner.state();
        let log = state.nodes.get(&self.node_id).map(|node| &node.log);
        let after = |position| log.and_then(|log| log.after(position, 1).frames.into_iter().next());
        let frame = after(self.position).or_else(|| after(self.position.saturating_sub(1)));
        match frame {
            Some(frame) => frame.slice(..frame.len() / 2),
            None => Bytes::from_static(b"event: peer_added\ndata: {\"event_ty"),
        }
    }
}

/// The shortest pause between two keep-alive comments.
pub(crate) const SHORTEST_KEEP_ALIVE: Duration = Duration::from_millis(1);
