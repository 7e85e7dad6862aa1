//! Who carries webhooks out: a task that has done with one takes the next. To start a task for each took a tenth of the
//! instructions of a webhook, most of them to move it about.
//!
//! Knows when to begin, and when what is under way is called off. What a webhook is, it does not know.

use std::cell::{Cell, RefCell};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

/// Runners that wait for work. Those beyond end: each keeps the room that a webhook takes, some three kilobytes.
pub(super) const IDLE_MAX: usize = 128;

/// What its task and those who give it work share.
#[derive(Debug)]
pub(super) struct Runner<T> {
    next: RefCell<Option<T>>,
    is_called_off: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl<T> Runner<T> {
    /// One that has something to do.
    pub(super) fn new(first: T) -> Self {
        Self { next: RefCell::new(Some(first)), is_called_off: Cell::new(false), waker: RefCell::default() }
    }

    /// Gives it what it does next. Only to one that [`rests`](Self::rest).
    pub(super) fn give(&self, next: T) {
        *self.next.borrow_mut() = Some(next);
        self.wake();
    }

    /// Ends what is under way without a result.
    pub(super) fn call_off(&self) {
        self.is_called_off.set(true);
        self.wake();
    }

    /// Nothing is under way any more. It need not be woken for what it is given from here on until it next waits.
    pub(super) fn rest(&self) {
        self.is_called_off.set(false);
        drop(self.waker.take());
    }

    /// What it was given, or is given some time.
    pub(super) async fn next(&self) -> T {
        std::future::poll_fn(|cx| match self.next.take() {
            Some(next) => Poll::Ready(next),
            None => {
                self.expect_wake(cx);
                Poll::Pending
            }
        })
        .await
    }

    /// The result of this work; nothing when it was called off, and then the work is dropped.
    pub(super) async fn unless_called_off<R>(&self, work: impl Future<Output = R>) -> Option<R> {
        let mut work = pin!(work);
        std::future::poll_fn(|cx| {
            if self.is_called_off.get() {
                return Poll::Ready(None);
            }
            self.expect_wake(cx);
            work.as_mut().poll(cx).map(Some)
        })
        .await
    }

    fn expect_wake(&self, cx: &Context<'_>) {
        let mut waker = self.waker.borrow_mut();
        match &mut *waker {
            Some(waker) => waker.clone_from(cx.waker()),
            None => *waker = Some(cx.waker().clone()),
        }
    }

    fn wake(&self) {
        // Out of its cell first: whoever is woken may come back here.
        let waker = self.waker.take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn one_thing_after_the_other_and_woken_only_when_it_waits() {
        let wakes = Arc::new(Wakes::default());
        let waker = Waker::from(Arc::clone(&wakes));
        let mut cx = Context::from_waker(&waker);
        let count = || wakes.0.load(Ordering::Relaxed);
        let runner = Runner::new(1);

        let mut next = pin!(runner.next());
        assert_eq!(next.as_mut().poll(&mut cx), Poll::Ready(1));
        let mut work = pin!(runner.unless_called_off(std::future::ready(7)));
        assert_eq!(work.as_mut().poll(&mut cx), Poll::Ready(Some(7)));
        // What comes while it is at it already needs no wake.
        runner.rest();
        runner.give(2);
        assert_eq!(count(), 0);
        assert_eq!(pin!(runner.next()).as_mut().poll(&mut cx), Poll::Ready(2));

        let mut waits = pin!(runner.next());
        assert_eq!(waits.as_mut().poll(&mut cx), Poll::Pending);
        runner.give(3);
        assert_eq!((count(), waits.as_mut().poll(&mut cx)), (1, Poll::Ready(3)));
    }

    #[test]
    fn what_is_called_off_has_no_result_and_what_comes_next_has() {
        let wakes = Arc::new(Wakes::default());
        let waker = Waker::from(Arc::clone(&wakes));
        let mut cx = Context::from_waker(&waker);
        let runner = Runner::new(1);
        let mut work = pin!(runner.unless_called_off(std::future::pending::<()>()));
        assert_eq!(work.as_mut().poll(&mut cx), Poll::Pending);
        runner.call_off();
        assert_eq!((wakes.0.load(Ordering::Relaxed), work.as_mut().poll(&mut cx)), (1, Poll::Ready(None)));
        runner.rest();
        let mut work = pin!(runner.unless_called_off(std::future::ready(8)));
        assert_eq!(work.as_mut().poll(&mut cx), Poll::Ready(Some(8)));
    }
}
