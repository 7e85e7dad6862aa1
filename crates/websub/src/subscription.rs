//! From a request to a subscription: asked, verified, in force (WebSub 5.2 and 5.3).
//!
//! [`Intents`] holds the requests that are under way, and nothing of the subscriptions that are in force: those are with
//! the store, and stay as they are until an [`Action`] says otherwise. So a verification that fails changes nothing (WebSub
//! 5.1), and an idle subscription costs nothing here.
//!
//! The machine is told the time (the wall clock since 1970) and is given a seed; from the same events it makes the same
//! actions. Actions are to be carried out in their order. It knows neither sockets nor how many requests go to one host at
//! once, nor the client that asked.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ring::hmac;
use stentor_model::Secret;

use crate::address::Pair;
use crate::authenticator::{Answer, Decision, DenyReason, Identity, Verdict, decide};
use crate::callback::{CallbackUrl, Echo, Finding, OpenReason, Refutation, denial_url, judge, verification_url};
use crate::lease::{Lease, LeaseBounds};
use crate::options::{HubOptions, LimitOptions, NoneResult, VerifyOptions};
use crate::request::{Intent, Wish};
use crate::signature;

/// A request under way. Later requests have greater tickets, for as long as the machine lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// A subscription that was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// What identifies it.
    pub pair: Pair,
    /// How notifications are signed, if they are.
    pub secret: Option<Secret>,
    /// How long it lasts.
    pub lease: Lease,
    /// Who asked for it.
    pub identity: Option<Identity>,
}

/// What happens to the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A request came in, without fault as far as it tells itself.
    Received(Arc<Intent>),
    /// The authenticator spoke, or did not in time.
    Judged {
        /// About which request.
        ticket: Ticket,
        /// What it said.
        verdict: Verdict,
    },
    /// A callback was asked.
    Asked {
        /// For which request.
        ticket: Ticket,
        /// In which attempt.
        attempt: u32,
        /// When the question was sent, since 1970; the lease counts from there.
        sent: Duration,
        /// What came of it.
        echo: Echo,
    },
    /// The operator ends a subscription, or a policy does (WebSub 5.2: at any time).
    Cancel {
        /// Which one.
        pair: Pair,
        /// What the subscriber is told.
        reason: Option<String>,
    },
    /// The next deadline has come.
    Tick,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Ask the authenticator about this request, and report [`Event::Judged`].
    AskAuthenticator {
        /// Which request.
        ticket: Ticket,
        /// What it asks for.
        intent: Arc<Intent>,
    },
    /// Answer the request. Comes exactly once for each, and before anything is sent to the callback.
    Answer {
        /// Which request.
        ticket: Ticket,
        /// What to answer.
        answer: Answer,
    },
    /// GET this URL without following redirects, and report [`Event::Asked`].
    Verify {
        /// For which request.
        ticket: Ticket,
        /// In which attempt, counted from 1.
        attempt: u32,
        /// The URL.
        url: CallbackUrl,
    },
    /// GET this URL once, without following redirects; what is answered does not matter.
    Deny {
        /// The URL.
        url: CallbackUrl,
    },
    /// The subscription is in force, with these settings instead of all former ones.
    Activate {
        /// By which request.
        ticket: Ticket,
        /// The subscription.
        subscription: Subscription,
    },
    /// The subscription, if there is one, is over.
    Remove {
        /// Which one.
        pair: Pair,
        /// Why.
        cause: RemoveCause,
    },
    /// A request came to nothing. What was in force stays so. For logs and metrics.
    Drop {
        /// Which request.
        ticket: Ticket,
        /// What it was about.
        pair: Pair,
        /// Why.
        cause: DropCause,
    },
}

/// Why a subscription is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemoveCause {
    /// The subscriber asked for it and confirmed it.
    Unsubscribed,
    /// The operator or a policy denied it.
    Cancelled,
}

/// Why a request came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropCause {
    /// It was answered with something other than 202.
    Refused,
    /// The subscription was denied.
    Denied(DenyReason),
    /// The callback does not want it, or may not be asked.
    Refuted(Refutation),
    /// The callback could not say, and the attempts are used up.
    Exhausted(OpenReason),
    /// A later request for the same subscription took its place.
    Superseded,
    /// The subscription was cancelled meanwhile.
    Cancelled,
}

/// Requests under way.
#[derive(Debug)]
pub struct Intents {
    lease: LeaseBounds,
    verify: VerifyOptions,
    limits: LimitOptions,
    none_result: NoneResult,
    /// Challenges and jitter come out of this key, which nobody else knows.
    seed: hmac::Key,
    next: u64,
    pending: BTreeMap<Ticket, Pending>,
    /// All requests under way for a subscription, oldest first.
    by_pair: BTreeMap<Pair, BTreeSet<Ticket>>,
    /// Requests that wait for a callback of this host.
    by_host: BTreeMap<String, usize>,
    /// When resting requests wake up.
    due: BTreeSet<(Duration, Ticket)>,
}

#[derive(Debug)]
struct Pending {
    intent: Arc<Intent>,
    state: State,
}

#[derive(Debug)]
enum State {
    /// The authenticator thinks.
    Judging,
    /// The authenticator thinks, but a later request for the same subscription was accepted already.
    JudgingLate,
    /// The callback was asked.
    Asking(Accepted, Challenge),
    /// The callback did not answer and is left alone until then.
    Resting(Accepted, Duration),
}

#[derive(Clone, Debug)]
struct Accepted {
    identity: Option<Identity>,
    host: String,
    lease_seconds: u64,
    attempt: u32,
}

/// Whoever knows it can confirm the request, so it does not show.
struct Challenge(String);

impl fmt::Debug for Challenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Challenge(..)")
    }
}

impl Intents {
    /// No requests. The seed has to be secret and used once: who knows it can confirm subscriptions for others.
    #[must_use]
    pub fn new(options: &HubOptions, seed: [u8; 32]) -> Self {
        Self {
            lease: options.lease,
            verify: options.verify.clone(),
            limits: options.limits.clone(),
            none_result: options.none_result,
            seed: hmac::Key::new(hmac::HMAC_SHA256, &seed),
            next: 1,
            pending: BTreeMap::new(),
            by_pair: BTreeMap::new(),
            by_host: BTreeMap::new(),
            due: BTreeSet::new(),
        }
    }

    /// How many requests are under way.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pending.len()
    }

    /// Whether nothing is under way.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// When [`Event::Tick`] is wanted, since 1970.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Duration> {
        self.due.first().map(|(at, _)| *at)
    }

    /// What is to be done about an event, in this order. Events about requests that are no longer under way do nothing.
    #[must_use]
    pub fn handle(&mut self, event: Event, now: Duration) -> Vec<Action> {
        let mut actions = Vec::new();
        match event {
            Event::Received(intent) => self.received(intent, &mut actions),
            Event::Judged { ticket, verdict } => self.judged(ticket, verdict, &mut actions),
            Event::Asked { ticket, attempt, sent, echo } => {
                self.asked(ticket, attempt, sent.min(now), &echo, now, &mut actions);
            }
            Event::Cancel { pair, reason } => self.cancel(pair, reason.as_deref(), &mut actions),
            Event::Tick => self.tick(now, &mut actions),
        }
        actions
    }

    fn received(&mut self, intent: Arc<Intent>, actions: &mut Vec<Action>) {
        let ticket = Ticket(self.next);
        self.next += 1;
        if self.pending.len() >= self.limits.pending_max {
            actions.push(Action::Answer { ticket, answer: Answer::Busy });
            return;
        }
        self.by_pair.entry(intent.pair.clone()).or_default().insert(ticket);
        self.pending.insert(ticket, Pending { intent: Arc::clone(&intent), state: State::Judging });
        actions.push(Action::AskAuthenticator { ticket, intent });
    }

    fn judged(&mut self, ticket: Ticket, verdict: Verdict, actions: &mut Vec<Action>) {
        let Some(Pending { intent, state: state @ (State::Judging | State::JudgingLate) }) = self.pending.get(&ticket)
        else {
            return;
        };
        let is_late = matches!(state, State::JudgingLate);
        let intent = Arc::clone(intent);
        match decide(verdict, &intent.wish, self.none_result) {
            Decision::Refuse(answer) => {
                actions.push(Action::Answer { ticket, answer });
                self.end(ticket, DropCause::Refused, actions);
            }
            Decision::Deny(reason) => {
                actions.push(Action::Answer { ticket, answer: Answer::Accepted });
                // WebSub 5.2: no verification for what is denied. What is in force is not touched: whoever is not let in
                // must not be able to end the subscription of somebody else.
                actions.push(Action::Deny { url: denial_url(&intent.pair, Some(reason.sentence())) });
                self.end(ticket, DropCause::Denied(reason), actions);
            }
            Decision::Verify { .. } if is_late => {
                actions.push(Action::Answer { ticket, answer: Answer::Accepted });
                self.end(ticket, DropCause::Superseded, actions);
            }
            Decision::Verify { identity } => self.accept(ticket, &intent, identity, actions),
        }
    }

    /// The request is allowed: it takes the place of earlier ones, and its callback is asked.
    fn accept(&mut self, ticket: Ticket, intent: &Intent, identity: Option<Identity>, actions: &mut Vec<Action>) {
        let host = intent.pair.callback.address().host.to_string();
        let waiting = self.by_host.get(&host).copied().unwrap_or_default();
        if waiting >= self.limits.pending_per_host_max {
            actions.push(Action::Answer { ticket, answer: Answer::Busy });
            self.end(ticket, DropCause::Refused, actions);
            return;
        }
        actions.push(Action::Answer { ticket, answer: Answer::Accepted });
        self.supersede(ticket, &intent.pair, actions);
        *self.by_host.entry(host.clone()).or_default() += 1;
        let lease_seconds = match intent.wish {
            Wish::Subscribe { lease_seconds, .. } => self.lease.grant(lease_seconds),
            Wish::Unsubscribe => 0,
        };
        self.ask(ticket, Accepted { identity, host, lease_seconds, attempt: 1 }, actions);
    }

    /// Only a request that was allowed gets here, so that nobody can call off the requests of others.
    fn supersede(&mut self, ticket: Ticket, pair: &Pair, actions: &mut Vec<Action>) {
        let tickets = self.by_pair.get(pair).into_iter().flatten();
        let earlier: Vec<Ticket> = tickets.copied().filter(|other| *other < ticket).collect();
        for other in earlier {
            match self.pending.get_mut(&other).map(|pending| &mut pending.state) {
                // It still has to be answered, once the authenticator has spoken.
                Some(state @ (State::Judging | State::JudgingLate)) => *state = State::JudgingLate,
                _ => self.end(other, DropCause::Superseded, actions),
            }
        }
    }

    /// Asks the callback, with a challenge that was never used before (WebSub 5.3).
    fn ask(&mut self, ticket: Ticket, accepted: Accepted, actions: &mut Vec<Action>) {
        let mut challenge = String::with_capacity(64);
        signature::hex(self.random(b"challenge", ticket, accepted.attempt).as_ref(), &mut challenge);
        let Some(pending) = self.pending.get_mut(&ticket) else { return };
        let Intent { pair, wish } = &*pending.intent;
        let url = verification_url(pair, wish, &challenge, accepted.lease_seconds);
        actions.push(Action::Verify { ticket, attempt: accepted.attempt, url });
        pending.state = State::Asking(accepted, Challenge(challenge));
    }

    fn asked(
        &mut self,
        ticket: Ticket,
        attempt: u32,
        sent: Duration,
        echo: &Echo,
        now: Duration,
        actions: &mut Vec<Action>,
    ) {
        let Some(Pending { intent, state: State::Asking(accepted, Challenge(challenge)) }) = self.pending.get(&ticket)
        else {
            return;
        };
        if accepted.attempt != attempt {
            return;
        }
        match judge(echo, challenge) {
            Finding::Confirmed => {
                actions.push(confirmed(ticket, intent, accepted, sent));
                self.forget(ticket);
            }
            Finding::Refuted(refutation) => self.end(ticket, DropCause::Refuted(refutation), actions),
            Finding::Open(reason) if attempt >= self.verify.attempts_max => {
                self.end(ticket, DropCause::Exhausted(reason), actions);
            }
            Finding::Open(_) => {
                let accepted = accepted.clone();
                let until = now.saturating_add(self.delay(ticket, attempt));
                self.due.insert((until, ticket));
                let pending = self.pending.get_mut(&ticket).expect("it was found above");
                pending.state = State::Resting(accepted, until);
            }
        }
    }

    /// Doubles with each attempt, plus up to a quarter, so that what failed together does not come back together.
    fn delay(&self, ticket: Ticket, attempt: u32) -> Duration {
        let factor = 1_u32.checked_shl(attempt - 1).unwrap_or(u32::MAX);
        let delay = self.verify.delay_first.saturating_mul(factor);
        let dice = self.random(b"delay", ticket, attempt).as_ref()[0];
        delay.saturating_add(delay / 1024 * u32::from(dice))
    }

    fn random(&self, purpose: &[u8], ticket: Ticket, attempt: u32) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.seed);
        context.update(purpose);
        context.update(&ticket.0.to_be_bytes());
        context.update(&attempt.to_be_bytes());
        context.sign()
    }

    fn cancel(&mut self, pair: Pair, reason: Option<&str>, actions: &mut Vec<Action>) {
        let tickets: Vec<Ticket> = self.by_pair.get(&pair).into_iter().flatten().copied().collect();
        for ticket in tickets {
            let state = self.pending.get(&ticket).map(|pending| &pending.state);
            // What the authenticator still thinks about came later than what is cancelled, or is judged by new rules.
            if let Some(State::Asking(..) | State::Resting(..)) = state {
                self.end(ticket, DropCause::Cancelled, actions);
            }
        }
        let url = denial_url(&pair, reason);
        actions.push(Action::Remove { pair, cause: RemoveCause::Cancelled });
        actions.push(Action::Deny { url });
    }

    fn tick(&mut self, now: Duration, actions: &mut Vec<Action>) {
        while let Some((at, ticket)) = self.due.first().copied().filter(|(at, _)| *at <= now) {
            self.due.remove(&(at, ticket));
            if let Some(Pending { state: State::Resting(accepted, _), .. }) = self.pending.get(&ticket) {
                let accepted = Accepted { attempt: accepted.attempt + 1, ..accepted.clone() };
                self.ask(ticket, accepted, actions);
            }
        }
    }

    fn end(&mut self, ticket: Ticket, cause: DropCause, actions: &mut Vec<Action>) {
        if let Some(pending) = self.forget(ticket) {
            actions.push(Action::Drop { ticket, pair: pending.intent.pair.clone(), cause });
        }
    }

    fn forget(&mut self, ticket: Ticket) -> Option<Pending> {
        let pending = self.pending.remove(&ticket)?;
        if let Some(tickets) = self.by_pair.get_mut(&pending.intent.pair) {
            tickets.remove(&ticket);
            if tickets.is_empty() {
                self.by_pair.remove(&pending.intent.pair);
            }
        }
        if let State::Resting(_, until) = &pending.state {
            self.due.remove(&(*until, ticket));
        }
        if let State::Asking(accepted, _) | State::Resting(accepted, _) = &pending.state
            && let Some(count) = self.by_host.get_mut(&accepted.host)
        {
            *count -= 1;
            if *count == 0 {
                self.by_host.remove(&accepted.host);
            }
        }
        Some(pending)
    }
}

fn confirmed(ticket: Ticket, intent: &Intent, accepted: &Accepted, sent: Duration) -> Action {
    let pair = intent.pair.clone();
    match &intent.wish {
        Wish::Unsubscribe => Action::Remove { pair, cause: RemoveCause::Unsubscribed },
        Wish::Subscribe { secret, .. } => {
            let lease = Lease { start: sent, seconds: accepted.lease_seconds };
            let identity = accepted.identity.clone();
            Action::Activate { ticket, subscription: Subscription { pair, secret: secret.clone(), lease, identity } }
        }
    }
}

#[cfg(test)]
mod tests;
