//! Publications of one topic that wait for each other: one whose content has to be fetched keeps its place, and those that
//! come after it stand behind it.
//!
//! A topic has a line only as long as somebody stands in it, and as long as nothing is fetched nobody looks for lines.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use stentor_model::Topic;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Publications that may wait in all lines together. Each holds a connection and its content.
pub(super) const WAITING_MAX: usize = 10_000;

/// The lines of one hub.
#[derive(Debug, Default)]
pub(super) struct Lines {
    lines: Mutex<HashMap<Topic, Line>>,
    /// How many stand in lines, so that one look tells that there are none.
    standing: AtomicUsize,
}

#[derive(Debug)]
struct Line {
    /// One permit, handed on in the order of asking.
    turn: Arc<Semaphore>,
    standing: usize,
}

/// A place in a line, given up when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    lines: Arc<Lines>,
    topic: Topic,
    turn: Arc<Semaphore>,
}

/// More stand in lines than may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Crowded;

impl Lines {
    fn lines(&self) -> MutexGuard<'_, HashMap<Topic, Line>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place at the end of the line of this topic, which begins if there is none.
    pub(super) fn join(self: &Arc<Self>, topic: &Topic) -> Result<Place, Crowded> {
        let mut lines = self.lines();
        if self.standing.load(Ordering::Relaxed) >= WAITING_MAX {
            return Err(Crowded);
        }
        self.standing.fetch_add(1, Ordering::Relaxed);
        let line =
            lines.entry(topic.clone()).or_insert_with(|| Line { turn: Arc::new(Semaphore::new(1)), standing: 0 });
        line.standing += 1;
        Ok(Place { lines: Arc::clone(self), topic: topic.clone(), turn: Arc::clone(&line.turn) })
    }

    /// A place at the end of the line of this topic, if there is one; nothing has to be waited for otherwise.
    pub(super) fn join_if_any(self: &Arc<Self>, topic: &Topic) -> Result<Option<Place>, Crowded> {
        if self.standing.load(Ordering::Acquire) == 0 || !self.lines().contains_key(topic) {
            return Ok(None);
        }
        self.join(topic).map(Some)
    }
}

impl Place {
    /// Waits until all who came before have left.
    pub(super) fn turn(&self) -> impl Future<Output = OwnedSemaphorePermit> + use<> {
        let turn = Arc::clone(&self.turn);
        async move { turn.acquire_owned().await.expect("the semaphore of a line is never closed") }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut lines = self.lines.lines();
        if let Some(line) = lines.get_mut(&self.topic) {
            line.standing -= 1;
            if line.standing == 0 {
                lines.remove(&self.topic);
            }
        }
        self.lines.standing.fetch_sub(1, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_comes_later_waits() {
        let lines = Arc::new(Lines::default());
        let topic = Topic::parse("http://t/").unwrap();
        assert!(lines.join_if_any(&topic).unwrap().is_none());
        let first = lines.join(&topic).unwrap();
        let turn = first.turn().await;
        let second = lines.join_if_any(&topic).unwrap().unwrap();
        let third = lines.join_if_any(&topic).unwrap().unwrap();
        let (mut second_turn, mut third_turn) = (Box::pin(second.turn()), Box::pin(third.turn()));
        assert!(futures_ready(&mut second_turn).await.is_none());
        assert!(futures_ready(&mut third_turn).await.is_none());
        drop((turn, first));
        assert!(futures_ready(&mut third_turn).await.is_none());
        let turn = futures_ready(&mut second_turn).await.unwrap();
        drop((turn, second_turn, second));
        drop((third_turn.await, third));
        assert!(lines.lines().is_empty() && lines.join_if_any(&topic).unwrap().is_none());
    }

    /// Polls once.
    async fn futures_ready<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
        std::future::poll_fn(|context| match std::pin::Pin::new(&mut *future).poll(context) {
            std::task::Poll::Ready(output) => std::task::Poll::Ready(Some(output)),
            std::task::Poll::Pending => std::task::Poll::Ready(None),
        })
        .await
    }
}
