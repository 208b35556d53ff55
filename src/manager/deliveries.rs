//! The manager as a stream.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use futures::{FutureExt, Stream};

use super::driver::{Driver, Pending, Report};
use crate::error::Error;
use crate::events::SignedEnvelope;
use crate::types::StateResponse;

/// What the manager delivers.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Delivery {
    /// A verified event.
    Event(Arc<SignedEnvelope>),
    /// A state that was fetched: after a connect, after a gap, or while polling.
    State(Arc<StateResponse>),
}

/// The manager's events and states as a [`Stream`]:
/// [`SseManager::deliveries`](crate::SseManager::deliveries).
///
/// # Cancel safety
/// Dropping a pending `next()` loses nothing. Dropping the stream ends the manager;
/// the item handed out last is then not settled and comes again with the next start,
/// unless [`settle`](Self::settle) was called.
pub struct Deliveries {
    state: State,
}

enum State {
    Idle { driver: Box<Driver>, unsettled: Option<Pending> },
    Working(BoxFuture<'static, Worked>),
    Ended,
}

/// The driver comes back with what it found.
type Worked = (Box<Driver>, Result<Option<Pending>, Error>);

impl Deliveries {
    pub(super) fn new(driver: Driver) -> Self {
        Self { state: State::Idle { driver: Box::new(driver), unsettled: None } }
    }

    /// Counts the item handed out last as handled now, without asking for the next.
    pub fn settle(&mut self) {
        self.settle_as(Report::default());
    }

    /// Says that the item handed out last was handled without success: the position
    /// moves all the same, it counts among the handlers' errors, and a fetch of the
    /// state follows.
    pub fn settle_failed(&mut self) {
        self.settle_as(Report { handlers: 1, errors: 1, ..Report::default() });
    }

    fn settle_as(&mut self, report: Report) {
        if let State::Idle { driver, unsettled } = &mut self.state
            && let Some(pending) = unsettled.take()
        {
            driver.settle(&pending, report);
        }
    }
}

impl Stream for Deliveries {
    type Item = Result<Delivery, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.settle();
        if let State::Idle { .. } = self.state
            && let State::Idle { mut driver, .. } = std::mem::replace(&mut self.state, State::Ended)
        {
            self.state = State::Working(
                async move {
                    let next = driver.next().await;
                    (driver, next)
                }
                .boxed(),
            );
        }
        let State::Working(work) = &mut self.state else { return Poll::Ready(None) };
        let (driver, next) = std::task::ready!(work.poll_unpin(cx));
        self.state = State::Ended;
        Poll::Ready(match next {
            Ok(Some(pending)) => {
                let delivery = pending.delivery();
                self.state = State::Idle { driver, unsettled: Some(pending) };
                Some(Ok(delivery))
            }
            Ok(None) => None,
            Err(error) => Some(Err(error)),
        })
    }
}

impl std::fmt::Debug for Deliveries {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Deliveries").finish_non_exhaustive()
    }
}
