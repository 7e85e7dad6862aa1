//! Where those wait who have much to do, so that those who have little do not wait for all of them.
//!
//! The runtime serves its tasks first come, first served. A thousand of them that take a tenth of a millisecond each would keep the
//! next publication waiting for a tenth of a second, however short their turns are. Here only one of them goes on between two looks at
//! the sockets, and whatever those looks bring comes before the next one. This knows no sockets and no octets but their number.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::sync::Notify;

/// Octets that all of a thread may copy to the kernel between two looks at the sockets without waiting here: less than a tenth of
/// a millisecond's worth.
const FREE_BYTES: usize = 128 * 1024;

/// What one task has had already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spent {
    /// It may go on where the others leave room for it.
    Little,
    /// It waits for its next turn in any case.
    All,
}

/// The number of somebody who waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket(u64);

/// The turnstile of one thread.
#[derive(Debug, Default)]
pub struct Turnstile {
    queue: Mutex<Queue>,
    work: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    /// Octets since the last look at the sockets.
    spent: usize,
    waiting: VecDeque<Waker>,
    /// Tickets below this number are let in.
    admitted: u64,
}

impl Turnstile {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        // Every change is whole before anything can panic.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ready when this task may do something large. Whoever goes away with a ticket leaves an empty turn behind.
    pub(crate) fn poll_pass(&self, ticket: &mut Option<Ticket>, spent: Spent, cx: &mut Context<'_>) -> Poll<()> {
        let mut queue = self.queue();
        match *ticket {
            Some(Ticket(number)) if number < queue.admitted => {
                *ticket = None;
                return Poll::Ready(());
            }
            Some(Ticket(number)) => {
                let place = usize::try_from(number - queue.admitted).unwrap_or(usize::MAX);
                if let Some(waker) = queue.waiting.get_mut(place) {
                    waker.clone_from(cx.waker());
                }
            }
            None if spent == Spent::Little && queue.spent < FREE_BYTES && queue.waiting.is_empty() => {
                return Poll::Ready(());
            }
            None => {
                *ticket = Some(Ticket(queue.admitted + queue.waiting.len() as u64));
                queue.waiting.push_back(cx.waker().clone());
                self.work.notify_one();
            }
        }
        Poll::Pending
    }

    /// Waits until this task may do something large.
    pub(crate) async fn pass(&self, spent: Spent) {
        let mut ticket = None;
        std::future::poll_fn(|cx| self.poll_pass(&mut ticket, spent, cx)).await;
    }

    /// Notes that so much was done.
    pub(crate) fn spend(&self, octets: usize) {
        let mut queue = self.queue();
        if queue.spent == 0 {
            self.work.notify_one();
        }
        queue.spent += octets;
    }

    /// The next one goes on; false when nobody waits.
    pub fn admit(&self) -> bool {
        let mut queue = self.queue();
        queue.spent = 0;
        let next = queue.waiting.pop_front();
        queue.admitted += u64::from(next.is_some());
        drop(queue);
        next.map(Waker::wake).is_some()
    }

    /// Lets one after the other go on, for ever. Yielding lets the runtime look at its sockets, and what came with that is served
    /// before the next one.
    pub(crate) async fn admit_for_ever(self: Arc<Self>) {
        loop {
            self.work.notified().await;
            loop {
                tokio::task::yield_now().await;
                if !self.admit() {
                    break;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn poll(turnstile: &Turnstile, ticket: &mut Option<Ticket>, spent: Spent) -> bool {
        turnstile.poll_pass(ticket, spent, &mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn one_at_a_time_in_the_order_of_their_coming() {
        let turnstile = Turnstile::default();
        let mut tickets = [None; 3];
        for ticket in &mut tickets {
            assert!(!poll(&turnstile, ticket, Spent::All));
        }
        for next in 0..3 {
            // Being woken for something else is no admission.
            assert!(tickets[next..].iter_mut().all(|ticket| !poll(&turnstile, ticket, Spent::All)));
            assert!(turnstile.admit());
            assert!(tickets[next + 1..].iter_mut().all(|ticket| !poll(&turnstile, ticket, Spent::All)));
            assert!(poll(&turnstile, &mut tickets[next], Spent::All));
        }
        assert!(!turnstile.admit());
    }

    #[test]
    fn a_little_is_free_until_all_together_have_had_much() {
        let turnstile = Turnstile::default();
        let (mut one, mut two) = (None, None);
        assert!(poll(&turnstile, &mut one, Spent::Little));
        turnstile.spend(FREE_BYTES);
        assert!(!poll(&turnstile, &mut one, Spent::Little));
        assert!(turnstile.admit());
        assert!(poll(&turnstile, &mut one, Spent::Little) && poll(&turnstile, &mut one, Spent::Little));
        // Nobody overtakes those who wait.
        assert!(!poll(&turnstile, &mut one, Spent::All) && !poll(&turnstile, &mut two, Spent::Little));
    }

    #[test]
    fn who_has_gone_leaves_an_empty_turn() {
        let turnstile = Turnstile::default();
        // It is never asked for again.
        let (mut gone, mut next) = (None, None);
        assert!(!poll(&turnstile, &mut gone, Spent::All) && !poll(&turnstile, &mut next, Spent::All));
        assert!(turnstile.admit() && !poll(&turnstile, &mut next, Spent::All));
        assert!(turnstile.admit() && poll(&turnstile, &mut next, Spent::All));
    }

    #[tokio::test]
    async fn others_have_their_turn_between_two() {
        let turnstile = Arc::new(Turnstile::default());
        let usher = tokio::spawn(Arc::clone(&turnstile).admit_for_ever());
        let passed = Arc::new(Mutex::new(0));
        for _ in 0..5 {
            let (turnstile, passed) = (Arc::clone(&turnstile), Arc::clone(&passed));
            tokio::spawn(async move {
                let mut ticket = None;
                std::future::poll_fn(|cx| turnstile.poll_pass(&mut ticket, Spent::All, cx)).await;
                *passed.lock().unwrap() += 1;
            });
        }
        let mut seen = 0;
        while seen < 5 {
            tokio::task::yield_now().await;
            let now = *passed.lock().unwrap();
            assert!(now <= seen + 1, "{now} after {seen}");
            seen = now;
        }
        usher.abort();
    }
}
