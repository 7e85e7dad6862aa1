//! An answer that is on its way, without a runtime: a future for those who have one, and `wait` for those who have none.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use crate::StoreError;

/// An answer of the store that may still be on its way. What was asked for happens whether it is looked at or not.
#[must_use = "the answer says whether it was done"]
pub struct Pending<T>(Inner<T>);

/// The other end: gives the answer once. Dropped without, it answers [`StoreError::Closed`], so that nobody waits for a
/// thread that is no more.
pub struct Completer<T>(Option<Arc<Slot<T>>>);

enum Inner<T> {
    /// Known at once, which costs no allocation.
    Ready(Option<Result<T, StoreError>>),
    Waiting(Arc<Slot<T>>),
}

type Slot<T> = Mutex<State<T>>;

enum State<T> {
    Open(Option<Waker>),
    Done(Result<T, StoreError>),
    Taken,
}

impl<T> Pending<T> {
    /// An answer that is known already.
    pub fn ready(answer: Result<T, StoreError>) -> Self {
        Self(Inner::Ready(Some(answer)))
    }

    /// An answer to come, and who gives it.
    pub fn new() -> (Completer<T>, Self) {
        let slot = Arc::new(Mutex::new(State::Open(None)));
        (Completer(Some(Arc::clone(&slot))), Self(Inner::Waiting(slot)))
    }

    /// Blocks this thread until the answer is there. Not for threads of an asynchronous runtime.
    ///
    /// # Errors
    /// What the store answered.
    pub fn wait(mut self) -> Result<T, StoreError> {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut context = Context::from_waker(&waker);
        loop {
            match Pin::new(&mut self).poll(&mut context) {
                Poll::Ready(answer) => return answer,
                // A token that was left by somebody else only costs a turn.
                Poll::Pending => thread::park(),
            }
        }
    }
}

// Nothing inside is ever pinned.
impl<T> Unpin for Pending<T> {}

impl<T> Future for Pending<T> {
    type Output = Result<T, StoreError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let slot = match &mut self.0 {
            Inner::Ready(answer) => return Poll::Ready(answer.take().expect("a future is not polled after its end")),
            Inner::Waiting(slot) => slot,
        };
        let mut state = slot.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *state {
            State::Open(Some(waker)) if waker.will_wake(context.waker()) => Poll::Pending,
            State::Open(waker) => {
                *waker = Some(context.waker().clone());
                Poll::Pending
            }
            State::Done(_) | State::Taken => match std::mem::replace(&mut *state, State::Taken) {
                State::Done(answer) => Poll::Ready(answer),
                _ => unreachable!("a future is not polled after its end"),
            },
        }
    }
}

impl<T> Completer<T> {
    /// Gives the answer and wakes whoever waits for it.
    pub fn complete(mut self, answer: Result<T, StoreError>) {
        self.give(answer);
    }

    fn give(&mut self, answer: Result<T, StoreError>) {
        let Some(slot) = self.0.take() else { return };
        let before = std::mem::replace(&mut *slot.lock().unwrap_or_else(PoisonError::into_inner), State::Done(answer));
        if let State::Open(Some(waker)) = before {
            waker.wake();
        }
    }
}

impl<T> Drop for Completer<T> {
    fn drop(&mut self) {
        self.give(Err(StoreError::Closed));
    }
}

impl<T> fmt::Debug for Pending<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pending(..)")
    }
}

impl<T> fmt::Debug for Completer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Completer(..)")
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_arrive_from_another_thread() {
        let (completer, pending) = Pending::new();
        let giver = thread::spawn(move || completer.complete(Ok(7)));
        assert_eq!(pending.wait().unwrap(), 7);
        giver.join().unwrap();
        assert_eq!(Pending::ready(Ok(8)).wait().unwrap(), 8);
    }

    #[test]
    fn nobody_waits_for_a_completer_that_is_gone() {
        let (completer, pending) = Pending::<()>::new();
        drop(completer);
        assert!(matches!(pending.wait(), Err(StoreError::Closed)));
    }
}
