//! Futures that are dropped on their way.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

/// How long a future may take between two polls, and a runtime to become empty.
const PATIENCE: Duration = Duration::from_secs(30);

/// When a future is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// As soon as this poll has found it waiting.
    Waiting(usize),
    /// As soon as it is to go on after this poll, with its news at the door.
    Woken(usize),
}

impl Cut {
    fn polls(self) -> usize {
        match self {
            Self::Waiting(polls) | Self::Woken(polls) => polls,
        }
    }
}

/// Runs `future` up to there and drops it. Its output, if it came to its end before.
pub async fn dropped<F: Future>(future: F, at: Cut) -> Option<F::Output> {
    let (mut future, mut left) = (pin!(future), at.polls());
    let running = poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if left == 0 && matches!(at, Cut::Waiting(_)) => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    });
    tokio::time::timeout(PATIENCE, running).await.expect("it is woken")
}

/// Waits until the runtime has no task: nothing goes on behind the back of what was dropped.
pub async fn no_task_is_left() {
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let until = Instant::now() + PATIENCE;
    while tasks() > 0 {
        assert!(Instant::now() < until, "{} tasks are left", tasks());
        // real time: looks again until a deadline
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
