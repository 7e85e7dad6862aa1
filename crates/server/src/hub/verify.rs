//! Carrying out what the machine of WebSub says about requests for subscriptions.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use hyper::{HeaderMap, Method};
use stentor_delivery::SendFault;
use stentor_websub::address::Address;
use stentor_websub::callback::{ANSWER_BYTES_MAX, CallbackUrl, Echo};
use stentor_websub::options::VerifyOptions;
use stentor_websub::subscription::{Action, Event, RemoveCause, Ticket};
use tokio::time::Instant;
use tracing::{debug, info};

use super::clerk;
use super::desk::Desk;
use crate::courier::{AnswerLimit, Parcel, Return};

/// How often the wall clock is looked at, at least.
const LOOK: Duration = Duration::from_secs(60);

impl Desk {
    /// Tells the machine what happened, and carries out what it says, in its order.
    pub(super) fn tell(self: &Rc<Self>, event: Event) {
        self.tell_at(event, self.now().unix);
    }

    fn tell_at(self: &Rc<Self>, event: Event, unix: Duration) {
        let actions = self.hub.tell(event, unix);
        for action in actions {
            self.execute(action);
        }
        self.intents_alarm.notify_one();
    }

    pub(super) fn execute(self: &Rc<Self>, action: Action) {
        match action {
            Action::AskAuthenticator { .. } | Action::Answer { .. } => {
                unreachable!("these two follow from requests and verdicts, which the hub's thread does not tell of")
            }
            Action::Verify { ticket, attempt, url } => self.ask_callback(ticket, attempt, &url),
            Action::Deny { url } => self.deny(&url),
            Action::Activate { subscription, .. } => {
                info!(
                    hub = self.name(),
                    topic = subscription.pair.topic.topic().as_str(),
                    callback_host = subscription.pair.callback.address().authority,
                    lease = subscription.lease.seconds,
                    "a subscription is in force"
                );
                clerk::confirmed(self, &subscription);
            }
            Action::Remove { pair, cause } => {
                let why = match cause {
                    RemoveCause::Unsubscribed => "unsubscribed",
                    RemoveCause::Cancelled => "denied by the operator",
                };
                info!(
                    hub = self.name(),
                    topic = pair.topic.topic().as_str(),
                    callback_host = pair.callback.address().authority,
                    "{why}"
                );
                self.clerk.remove(pair);
            }
            Action::Drop { pair, cause, .. } => self.hub.dropped(&pair, cause),
        }
    }

    fn ask_callback(self: &Rc<Self>, ticket: Ticket, attempt: u32, url: &CallbackUrl) {
        let parcel = self.question(url, AnswerLimit::First(ANSWER_BYTES_MAX));
        let host = Address::parse(url.as_str()).map(|address| address.authority).unwrap_or_default();
        let wait = self.hosts.borrow_mut().reserve(host, self.now().elapsed);
        let desk = Rc::clone(self);
        self.spawn(async move {
            if !wait.is_zero() {
                tokio::time::sleep(wait).await;
            }
            let sent = desk.now().unix;
            let echo = match desk.courier.send(parcel).await {
                Return::Answered(answer) => Echo::Answered { status: answer.status, body: answer.body.to_vec() },
                Return::NotSent(SendFault::Address) => Echo::Blocked,
                Return::NotSent(_) | Return::NoAnswer(_) | Return::TooLong => Echo::Silence,
            };
            debug!(hub = desk.name(), ?echo, "a callback was asked");
            desk.tell(Event::Asked { ticket, attempt, sent, echo });
        });
    }

    /// Told once, and whatever is answered does not matter (WebSub 5.2).
    fn deny(self: &Rc<Self>, url: &CallbackUrl) {
        let parcel = self.question(url, AnswerLimit::Discard);
        let desk = Rc::clone(self);
        self.spawn(async move {
            let told = desk.courier.send(parcel).await;
            debug!(hub = desk.name(), is_told = matches!(told, Return::Answered(_)), "a callback was told of a denial");
        });
    }

    fn question(&self, url: &CallbackUrl, answer: AnswerLimit) -> Parcel {
        Parcel {
            method: Method::GET,
            url: url.as_str().into(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
            timeout: self.options.websub.verify.timeout,
            answer,
        }
    }

    /// Wakes the machine when a callback is to be asked again, for ever.
    pub(super) async fn ring_intents(self: Rc<Self>) {
        loop {
            let deadline = self.hub.intents().next_deadline();
            let Some(deadline) = deadline else {
                self.intents_alarm.notified().await;
                continue;
            };
            let unix = self.now().unix;
            let Some(wait) = wait_until(deadline, unix, rest_max(&self.options.websub.verify)) else {
                self.tell_at(Event::Tick, unix.max(deadline));
                tokio::task::yield_now().await;
                continue;
            };
            tokio::select! {
                () = tokio::time::sleep_until(Instant::now() + wait) => {}
                () = self.intents_alarm.notified() => {}
            }
        }
    }
}

/// How long until that time; nothing when it has come. The wall clock may jump, so it is looked at again after a minute at the
/// latest. When it shows that there is longer to wait than anybody was ever told to, it went back, and they have waited.
fn wait_until(deadline: Duration, unix: Duration, rest_max: Duration) -> Option<Duration> {
    let wait = deadline.saturating_sub(unix);
    (!wait.is_zero() && wait <= rest_max).then_some(wait.min(LOOK))
}

/// The longest rest before a callback is asked again: before the last time.
fn rest_max(verify: &VerifyOptions) -> Duration {
    let factor = 1_u32.checked_shl(verify.attempts_max.saturating_sub(2)).unwrap_or(u32::MAX);
    let longest = verify.delay_first.saturating_mul(factor);
    // The machine adds up to a quarter.
    longest.saturating_add(longest / 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_goes_back_delays_nobody_for_long() {
        let verify = VerifyOptions { attempts_max: 4, delay_first: Duration::from_secs(20), ..Default::default() };
        assert_eq!(rest_max(&verify), Duration::from_secs(100));
        let check = |deadline, unix, expected: Option<u64>| {
            let wait = wait_until(Duration::from_secs(deadline), Duration::from_secs(unix), rest_max(&verify));
            assert_eq!(wait, expected.map(Duration::from_secs), "{deadline} at {unix}");
        };
        check(1000, 1000, None);
        check(1000, 1001, None);
        check(1000, 990, Some(10));
        check(1000, 900, Some(60));
        check(1000, 899, None);
        check(1000, 0, None);
    }
}
