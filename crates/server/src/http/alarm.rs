//! Waiting for one thing while an alarm may go off.
//!
//! `select!` polls all its branches whenever the task is woken. A connection is woken for every request, and asking its
//! timer and the shutdown signal each time costs more than finding the service. Here the alarm has a waker of its own, so
//! that it is polled only when it was the alarm that went off.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// Which of the two came first.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum First<T, A> {
    /// What was waited for.
    Done(T),
    /// The alarm.
    Alarm(A),
}

/// The waker of the alarm: it wakes the task and says why.
struct Bell {
    rung: AtomicBool,
    task: Waker,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rung.store(true, Ordering::Release);
        self.task.wake_by_ref();
    }
}

/// Awaits `work`, which is left as it is when the alarm goes off before.
pub(super) async fn attend<W: Future, A: Future>(mut work: Pin<&mut W>, alarm: A) -> First<W::Output, A::Output> {
    let mut alarm = pin!(alarm);
    let mut bell: Option<Arc<Bell>> = None;
    poll_fn(move |cx| {
        // A task keeps its waker for life; another one means that somebody else polls now.
        let bell = match &mut bell {
            Some(bell) if bell.task.will_wake(cx.waker()) => bell,
            other => other.insert(Arc::new(Bell { rung: AtomicBool::new(true), task: cx.waker().clone() })),
        };
        if bell.rung.load(Ordering::Acquire) {
            bell.rung.store(false, Ordering::Release);
            let waker = Waker::from(Arc::clone(bell));
            if let Poll::Ready(alarm) = alarm.as_mut().poll(&mut Context::from_waker(&waker)) {
                return Poll::Ready(First::Alarm(alarm));
            }
        }
        work.as_mut().poll(cx).map(First::Done)
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn the_alarm_is_asked_only_when_it_went_off() {
        let (asked, rings) = (Cell::new(0), Cell::new(None::<Waker>));
        let alarm = poll_fn(|cx| {
            asked.set(asked.get() + 1);
            rings.set(Some(cx.waker().clone()));
            if asked.get() == 3 { Poll::Ready("alarm") } else { Poll::Pending }
        });
        let worked = Cell::new(0);
        let mut work = pin!(poll_fn(|_| {
            worked.set(worked.get() + 1);
            Poll::<()>::Pending
        }));
        let mut both = pin!(attend(work.as_mut(), alarm));
        let task = Waker::from(Arc::new(Bell { rung: AtomicBool::new(false), task: Waker::noop().clone() }));
        let mut poll = || both.as_mut().poll(&mut Context::from_waker(&task));
        for turn in 1..=3 {
            assert_eq!(poll(), Poll::Pending);
            assert_eq!((worked.get(), asked.get()), (turn, 1));
        }
        rings.take().unwrap().wake();
        assert_eq!(poll(), Poll::Pending);
        assert_eq!((worked.get(), asked.get()), (4, 2));
        rings.take().unwrap().wake();
        assert_eq!(poll(), Poll::Ready(First::Alarm("alarm")));
        assert_eq!((worked.get(), asked.get()), (4, 3));
    }

    #[test]
    fn what_is_done_is_done() {
        let mut work = pin!(async { 7 });
        let mut both = pin!(attend(work.as_mut(), std::future::pending::<()>()));
        let outcome = both.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert_eq!(outcome, Poll::Ready(First::Done(7)));
    }
}
