//! Ends a stream that has gone quiet.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures::Stream;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::error::{Error, ErrorKind};

/// How often a quiet stream looks at the wall clock: timers stand still while a
/// machine sleeps, the wall clock does not.
const WALL_CLOCK_CHECK: Duration = Duration::from_secs(10);

/// A byte stream that fails when it brings nothing for `limit`.
///
/// The clock runs only while somebody waits for bytes: a consumer that takes its
/// time is not taken for a dead server.
pub(crate) struct IdleLimit<S> {
    inner: S,
    limit: Duration,
    wait: Option<Wait>,
    wall_clock: fn() -> SystemTime,
}

struct Wait {
    until: Instant,
    began: SystemTime,
    timer: Pin<Box<Sleep>>,
}

impl<S> IdleLimit<S> {
    pub(crate) fn new(inner: S, limit: Duration) -> Self {
        Self { inner, limit, wait: None, wall_clock: SystemTime::now }
    }

    fn error(&self) -> Error {
        Error::new(
            ErrorKind::IdleTimeout,
            format!(
                "no byte in {:?}: the connection is dead, or something between buffers it",
                self.limit
            ),
        )
        .after_silence(self.limit)
    }
}

impl<S: Stream<Item = Result<Bytes, Error>> + Unpin> IdleLimit<S> {
    fn poll_limit(&mut self, cx: &mut Context<'_>) -> Poll<Error> {
        let (now, wall_clock) = (Instant::now(), self.wall_clock);
        let next_look = |until: Instant| until.min(Instant::now() + WALL_CLOCK_CHECK);
        let limit = self.limit;
        let wait = self.wait.get_or_insert_with(|| Wait {
            until: now + limit,
            began: wall_clock(),
            timer: Box::pin(sleep_until(next_look(now + limit))),
        });
        loop {
            ready!(wait.timer.as_mut().poll(cx));
            let slept = wall_clock().duration_since(wait.began).unwrap_or_default();
            if Instant::now() >= wait.until || slept >= limit {
                return Poll::Ready(self.error());
            }
            wait.timer.as_mut().reset(next_look(wait.until));
        }
    }
}

impl<S: Stream<Item = Result<Bytes, Error>> + Unpin> Stream for IdleLimit<S> {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if let Poll::Ready(item) = Pin::new(&mut this.inner).poll_next(cx) {
            this.wait = None;
            return Poll::Ready(item);
        }
        let error = ready!(this.poll_limit(cx));
        Poll::Ready(Some(Err(error)))
    }
}

#[cfg(test)]
mod tests {
    use futures::{StreamExt, stream};

    use super::*;

    fn quiet() -> impl Stream<Item = Result<Bytes, Error>> + Unpin {
        stream::pending()
    }

    #[tokio::test(start_paused = true)]
    async fn a_quiet_stream_ends_at_its_limit() {
        let began = Instant::now();
        let error =
            IdleLimit::new(quiet(), Duration::from_secs(90)).next().await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::IdleTimeout);
        assert_eq!(error.silence(), Some(Duration::from_secs(90)));
        assert_eq!(began.elapsed(), Duration::from_secs(90));
    }

    #[tokio::test(start_paused = true)]
    async fn any_byte_starts_the_clock_anew() {
        let ticks = stream::unfold(0, |n| async move {
            tokio::time::sleep(Duration::from_secs(60)).await;
            (n < 5).then(|| (Ok(Bytes::from_static(b":")), n + 1))
        });
        let all: Vec<_> = IdleLimit::new(Box::pin(ticks), Duration::from_secs(90)).collect().await;
        assert_eq!(all.iter().filter(|item| item.is_ok()).count(), 5);
        assert_eq!(all.len(), 5);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_consumer_is_not_a_dead_server() {
        let bytes = stream::iter([Ok(Bytes::from_static(b"a")), Ok(Bytes::from_static(b"b"))]);
        let mut limited = IdleLimit::new(bytes, Duration::from_secs(1));
        assert!(limited.next().await.unwrap().is_ok());
        tokio::time::sleep(Duration::from_secs(600)).await;
        assert!(limited.next().await.unwrap().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_jump_of_the_wall_clock_is_seen_within_ten_seconds() {
        use std::sync::atomic::{AtomicBool, Ordering};
        static JUMPED: AtomicBool = AtomicBool::new(false);
        let mut limited = IdleLimit::new(quiet(), Duration::from_secs(90));
        limited.wall_clock = || {
            let hours = if JUMPED.load(Ordering::SeqCst) { 8 } else { 0 };
            SystemTime::UNIX_EPOCH + Duration::from_secs(hours * 3600)
        };
        let began = Instant::now();
        let jump = async {
            tokio::time::sleep(Duration::from_secs(15)).await;
            JUMPED.store(true, Ordering::SeqCst);
        };
        let (item, ()) = tokio::join!(limited.next(), jump);
        assert_eq!(item.unwrap().unwrap_err().kind(), ErrorKind::IdleTimeout);
        assert_eq!(began.elapsed(), Duration::from_secs(20));
    }
}
