//! Carrying out what the machine of WebSub says about requests for subscriptions.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use hyper::{HeaderMap, Method};
use stentor_delivery::SendFault;
use stentor_websub::address::Address;
use stentor_websub::authenticator::{Answer, Verdict};
use stentor_websub::callback::{ANSWER_BYTES_MAX, CallbackUrl, Echo};
use stentor_websub::request::Intent;
use stentor_websub::subscription::{Action, Event, RemoveCause, Ticket};
use tokio::sync::oneshot;
use tokio::time::Instant;
use tracing::{debug, info};

use super::desk::Desk;
use super::door::Asked;
use crate::courier::{AnswerLimit, Parcel, Return};

/// How long an authenticator may think. Its own timeout, of five minutes at most, ends it before.
const VERDICT_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(330);

/// Requests whose client waits for an answer.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// The request that the machine is being told of and has no ticket for yet.
    arriving: Option<(Asked, oneshot::Sender<Answer>)>,
    open: HashMap<Ticket, (Asked, oneshot::Sender<Answer>)>,
}

impl Waiting {
    /// The request of this ticket, which is the arriving one when it is new.
    fn name(&mut self, ticket: Ticket) {
        if let Some(arriving) = self.arriving.take() {
            self.open.insert(ticket, arriving);
        }
    }
}

impl Desk {
    /// A request for a subscription came in.
    pub(super) fn receive(self: &Rc<Self>, intent: Arc<Intent>, asked: Asked, reply: oneshot::Sender<Answer>) {
        self.waiting.borrow_mut().arriving = Some((asked, reply));
        self.tell(Event::Received(intent));
    }

    /// Tells the machine what happened, and carries out what it says, in its order.
    pub(super) fn tell(self: &Rc<Self>, event: Event) {
        let actions = self.intents.borrow_mut().handle(event, self.now().unix);
        for action in actions {
            self.execute(action);
        }
        self.intents_alarm.notify_one();
    }

    fn execute(self: &Rc<Self>, action: Action) {
        match action {
            Action::AskAuthenticator { ticket, intent } => self.ask_authenticator(ticket, intent),
            Action::Answer { ticket, answer } => {
                let mut waiting = self.waiting.borrow_mut();
                waiting.name(ticket);
                if let Some((_, reply)) = waiting.open.remove(&ticket) {
                    // Who asked may have gone.
                    drop(reply.send(answer));
                }
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
            Action::Drop { pair, cause, .. } => {
                self.hub.tallies().refuted.increment();
                info!(
                    hub = self.name(),
                    topic = pair.topic.topic().as_str(),
                    callback_host = pair.callback.address().authority,
                    ?cause,
                    "a request for a subscription came to nothing"
                );
            }
        }
    }

    fn ask_authenticator(self: &Rc<Self>, ticket: Ticket, intent: Arc<Intent>) {
        let asked = {
            let mut waiting = self.waiting.borrow_mut();
            waiting.name(ticket);
            waiting.open.get(&ticket).map(|(asked, _)| asked.clone())
        };
        let Some(asked) = asked else { return };
        let desk = Rc::clone(self);
        self.spawn(async move {
            let verdict = desk.options.judge.ask(&intent, &asked, &desk.messenger);
            let verdict = tokio::time::timeout(VERDICT_TIMEOUT, verdict).await.unwrap_or(Verdict::Unavailable);
            if matches!(verdict, Verdict::Failed | Verdict::Unavailable) {
                tracing::error!(hub = desk.name(), ?verdict, "the authenticator did not say who may subscribe");
            }
            desk.tell(Event::Judged { ticket, verdict });
        });
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
            let deadline = self.intents.borrow().next_deadline();
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
