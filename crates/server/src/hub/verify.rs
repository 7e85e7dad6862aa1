//! Carrying out what the machine of WebSub says about requests for subscriptions.

use std::rc::Rc;

use bytes::Bytes;
use hyper::{HeaderMap, Method};
use stentor_delivery::SendFault;
use stentor_websub::address::Address;
use stentor_websub::callback::{ANSWER_BYTES_MAX, CallbackUrl, Echo};
use stentor_websub::subscription::{Action, Event, RemoveCause, Ticket};
use tokio::time::Instant;
use tracing::{debug, info};

use super::desk::Desk;
use crate::courier::{AnswerLimit, Parcel, Return};

impl Desk {
    /// Tells the machine what happened, and carries out what it says, in its order.
    pub(super) fn tell(self: &Rc<Self>, event: Event) {
        let actions = self.hub.tell(event, self.now().unix);
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
                self.clerk.put(subscription);
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
            let wait = deadline.saturating_sub(self.now().unix);
            if wait.is_zero() {
                self.tell(Event::Tick);
                tokio::task::yield_now().await;
                continue;
            }
            // The wall clock may jump, so it is looked at again after a minute at the latest.
            let wait = wait.min(std::time::Duration::from_secs(60));
            tokio::select! {
                () = tokio::time::sleep_until(Instant::now() + wait) => {}
                () = self.intents_alarm.notified() => {}
            }
        }
    }
}
