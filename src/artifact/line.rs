//! Work on bytes on another thread while the next ones come in.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio::task::JoinHandle;

use crate::error::{Error, ErrorKind};

/// How many pieces may wait: enough that neither side stands still while the other takes turns.
const WAITING: usize = 3;

/// Bytes that are handed over at once.
pub(super) type Piece = Arc<[Bytes]>;

/// Owns what works on the pieces, one after the other. A thread is held only while there are
/// some. When the line is dropped, the one that is worked on is finished, and no other begun.
pub(super) struct Line<W> {
    work: fn(&mut W, &[Bytes]) -> Result<(), Error>,
    state: State<W>,
    pieces: mpsc::Sender<Piece>,
}

enum State<W> {
    Idle(Idle<W>),
    Working(JoinHandle<(Idle<W>, Result<(), Error>)>),
    /// The thread has panicked, or the runtime ends.
    Lost,
}

struct Idle<W> {
    worker: W,
    waiting: mpsc::Receiver<Piece>,
}

impl<W: Send + 'static> Line<W> {
    pub(super) fn new(worker: W, work: fn(&mut W, &[Bytes]) -> Result<(), Error>) -> Self {
        let (pieces, waiting) = mpsc::channel(WAITING);
        Self { work, state: State::Idle(Idle { worker, waiting }), pieces }
    }

    /// Waits for room only. An error is that of a piece before.
    pub(super) async fn push(&mut self, mut piece: Piece) -> Result<(), Error> {
        if matches!(&self.state, State::Working(running) if running.is_finished()) {
            self.ended().await?;
        }
        loop {
            match self.pieces.try_send(piece) {
                Ok(()) => break,
                Err(TrySendError::Full(back)) => piece = back,
                Err(TrySendError::Closed(_)) => return Err(lost()),
            }
            self.room().await?;
        }
        self.start();
        Ok(())
    }

    /// The worker, once no piece is left.
    pub(super) async fn settled(&mut self) -> Result<&W, Error> {
        while self.start() {
            self.ended().await?;
        }
        match &self.state {
            State::Idle(idle) => Ok(&idle.worker),
            _ => Err(lost()),
        }
    }

    /// Forgets the pieces that wait, and does this instead.
    pub(super) async fn run(
        &mut self,
        work: impl FnOnce(&mut W) -> Result<(), Error> + Send + 'static,
    ) -> Result<(), Error> {
        // What is still worked on may fail; what comes now decides.
        let _ = self.ended().await;
        if let Some(mut idle) = self.take_idle() {
            idle.forget();
            self.spawn(idle, |idle| work(&mut idle.worker));
        }
        self.settled().await.map(|_| ())
    }

    /// Waits until a piece was taken, or until the thread has ended: it may have looked for
    /// more just before the last one came.
    async fn room(&mut self) -> Result<(), Error> {
        self.start();
        let pieces = self.pieces.clone();
        tokio::select! {
            _ = pieces.reserve() => Ok(()),
            ended = self.ended() => ended,
        }
    }

    /// Sets a thread to work if pieces wait for one. Whether one is at work.
    fn start(&mut self) -> bool {
        if self.pieces.capacity() < WAITING
            && let Some(idle) = self.take_idle()
        {
            let work = self.work;
            self.spawn(idle, move |idle| idle.work_off(work));
        }
        matches!(self.state, State::Working(_))
    }

    fn spawn(
        &mut self,
        mut idle: Idle<W>,
        work: impl FnOnce(&mut Idle<W>) -> Result<(), Error> + Send + 'static,
    ) {
        self.state = State::Working(tokio::task::spawn_blocking(move || {
            let result = work(&mut idle);
            (idle, result)
        }));
    }

    fn take_idle(&mut self) -> Option<Idle<W>> {
        match std::mem::replace(&mut self.state, State::Lost) {
            State::Idle(idle) => Some(idle),
            other => {
                self.state = other;
                None
            }
        }
    }

    /// Waits for the thread that is at work, if one is.
    async fn ended(&mut self) -> Result<(), Error> {
        let State::Working(running) = &mut self.state else { return Ok(()) };
        let Ok((mut idle, result)) = running.await else {
            self.state = State::Lost;
            return Err(lost());
        };
        if result.is_err() {
            // Without the one that failed they are of no use.
            idle.forget();
        }
        self.state = State::Idle(idle);
        result
    }
}

impl<W> Idle<W> {
    fn work_off(&mut self, work: fn(&mut W, &[Bytes]) -> Result<(), Error>) -> Result<(), Error> {
        // Closed means that the line was dropped: what waits is not wanted any more.
        while !self.waiting.is_closed()
            && let Ok(piece) = self.waiting.try_recv()
        {
            work(&mut self.worker, &piece)?;
        }
        Ok(())
    }

    fn forget(&mut self) {
        while self.waiting.try_recv().is_ok() {}
    }
}

fn lost() -> Error {
    Error::new(ErrorKind::File, "the thread that writes the file is gone")
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::RecvTimeoutError;
    use std::time::Duration;

    use super::*;

    const SOON: Duration = Duration::from_secs(20);

    fn piece(byte: u8) -> Piece {
        [Bytes::from(vec![byte])].into()
    }

    fn append(seen: &mut Vec<u8>, bytes: &[Bytes]) -> Result<(), Error> {
        match bytes[0][0] {
            u8::MAX => Err(Error::new(ErrorKind::File, "full")),
            byte => {
                seen.push(byte);
                Ok(())
            }
        }
    }

    #[tokio::test]
    async fn all_pieces_in_their_order() {
        let mut line = Line::new(Vec::new(), append);
        assert!(line.settled().await.unwrap().is_empty());
        let wanted: Vec<u8> = (0..200).collect();
        for byte in &wanted {
            line.push(piece(*byte)).await.unwrap();
            if byte % 50 == 0 {
                assert_eq!(line.settled().await.unwrap(), &wanted[..=usize::from(*byte)]);
            }
        }
        assert_eq!(line.settled().await.unwrap(), &wanted);
    }

    #[tokio::test]
    async fn after_a_failure_nothing_follows_and_the_worker_is_still_there() {
        let mut line = Line::new(Vec::new(), append);
        line.push(piece(1)).await.unwrap();
        line.push(piece(u8::MAX)).await.unwrap();
        while line.push(piece(2)).await.is_ok() {}
        assert_eq!(line.settled().await.unwrap(), &[1]);
        line.push(piece(3)).await.unwrap();
        line.run(|seen| {
            seen.clear();
            Ok(())
        })
        .await
        .unwrap();
        line.push(piece(4)).await.unwrap();
        assert_eq!(line.settled().await.unwrap(), &[4]);
    }

    #[tokio::test]
    async fn what_is_done_instead_forgets_the_pieces_that_wait() {
        let mut line = Line::new(Vec::new(), append);
        // As if the thread had looked for more just before they came.
        line.pieces.try_send(piece(1)).unwrap();
        line.pieces.try_send(piece(2)).unwrap();
        line.run(|_| Ok(())).await.unwrap();
        assert!(line.settled().await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn there_is_room_again_where_the_thread_ended_with_pieces_left() {
        let mut line = Line::new(Vec::new(), append);
        let (end, ends) = std::sync::mpsc::channel::<()>();
        let idle = line.take_idle().unwrap();
        line.spawn(idle, move |_| {
            ends.recv().unwrap();
            Ok(())
        });
        for byte in 0..3 {
            line.pieces.try_send(piece(byte)).unwrap();
        }
        end.send(()).unwrap();
        let pushed = tokio::time::timeout(SOON, line.push(piece(3))).await;
        pushed.expect("there is room").unwrap();
        assert_eq!(line.settled().await.unwrap(), &[0, 1, 2, 3]);
    }

    #[tokio::test]
    async fn a_dropped_line_finishes_a_piece_and_begins_no_other() {
        let (began, begins) = std::sync::mpsc::channel();
        let (go, goes) = std::sync::mpsc::channel::<()>();
        let mut line = Line::new((began, goes), |(began, goes), bytes| {
            // The test may have ended.
            let _ = (began.send(bytes[0][0]), goes.recv());
            Ok(())
        });
        for byte in 1..=3 {
            line.push(piece(byte)).await.unwrap();
        }
        assert_eq!(begins.recv_timeout(SOON), Ok(1));
        drop(line);
        go.send(()).unwrap();
        // The thread ends, and with it the sender that it has.
        assert_eq!(begins.recv_timeout(SOON), Err(RecvTimeoutError::Disconnected));
    }

    #[tokio::test]
    async fn a_thread_that_is_gone_is_an_error() {
        let mut line = Line::new((), |_, _| panic!("broken"));
        line.push(piece(1)).await.unwrap();
        assert_eq!(line.settled().await.unwrap_err().kind(), ErrorKind::File);
        assert!(line.run(|()| Ok(())).await.is_err());
    }
}
