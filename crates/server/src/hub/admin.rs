//! What an operator sees of a hub and may do with it. Secrets are never shown.

use std::fmt;
use std::num::NonZeroU32;
use std::rc::Rc;
use std::time::Duration;

use stentor_delivery::{Event, StateView};
use stentor_model::{Topic, WebhookId};
use stentor_store::{DeadId, DeadPublication, Scope, StoreError, Subscription, Timestamp};
use stentor_websub::subscription;

use super::desk::Desk;
use super::door::{Command, Hub, spelling};

/// How long an operator waits until a change is written down.
const STORE_TIMEOUT: Duration = Duration::from_secs(5);

/// Why an operator's wish was not carried out.
#[derive(Clone, Debug)]
pub enum AdminFault {
    /// There is no such subscription in this hub.
    UnknownSubscription,
    /// There is no such dead publication in this hub.
    UnknownDead,
    /// Its subscription is gone, or too many wait to be sent again.
    NotReplayed,
    /// The store did not answer.
    Store(StoreError),
    /// It is decided, and written down as soon as the store takes it.
    Waits,
    /// The node goes down.
    Closing,
}

impl fmt::Display for AdminFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownSubscription => f.write_str("this hub has no such subscription"),
            Self::UnknownDead => f.write_str("this hub has no such dead publication"),
            Self::NotReplayed => f.write_str(
                "it cannot be sent again: its subscription is gone, or too many wait to be sent again already",
            ),
            Self::Store(error) => error.fmt(f),
            Self::Waits => f.write_str(
                "nothing is sent to it any more; it is removed as soon as the store, which takes no changes at the moment, does so again",
            ),
            Self::Closing => f.write_str("the node is going down"),
        }
    }
}

impl std::error::Error for AdminFault {}

/// Figures of a hub.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Numbers {
    /// Subscriptions in force.
    pub subscriptions: usize,
    /// Requests for subscriptions under way.
    pub intents: usize,
    /// Webhooks on their way.
    pub in_flight: usize,
    /// Deliveries that wait for the time of a retry.
    pub backoffs: usize,
    /// Hosts to which nothing goes.
    pub breakers_open: usize,
    /// Publications that were accepted since the start.
    pub accepted: u64,
    /// Subscriptions that came into force or were renewed.
    pub verified: u64,
    /// Requests for subscriptions that came to nothing.
    pub refuted: u64,
    /// Webhooks that were answered with 2xx.
    pub delivered: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// Publications that were given up.
    pub dead: u64,
    /// Subscriptions that ended with 410.
    pub gone: u64,
    /// Subscriptions that ended with their lease.
    pub leases_ended: u64,
}

/// A subscription, for whoever looks.
#[derive(Clone, Debug)]
pub struct SubscriptionView {
    /// As it is stored.
    pub stored: Subscription,
    /// The callback as the subscriber wrote it.
    pub callback: String,
    /// What the delivery machine does with it.
    pub delivery: Option<DeliveryView>,
}

/// What a subscription waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryView {
    /// In a word.
    pub state: &'static str,
    /// The publication on its way or waiting.
    pub offset: Option<u64>,
    /// The attempt under way or to come, counted from 1.
    pub attempt: Option<u32>,
    /// When it will be tried again.
    pub next_attempt_in: Option<Duration>,
    /// The last publication that is done with.
    pub cursor: u64,
}

/// A publication that was given up, without its content.
#[derive(Clone, Debug)]
pub struct DeadView {
    /// Its name.
    pub id: u64,
    /// Who did not get it.
    pub subscription: u64,
    /// The topic.
    pub topic: String,
    /// Its place in the log.
    pub offset: u64,
    /// Its name, as receivers see it.
    pub publication: u64,
    /// When it was given up.
    pub at: Timestamp,
    /// How often it was tried.
    pub attempts: u32,
    /// Why it was given up.
    pub reason: String,
    /// The type of its content.
    pub content_type: String,
    /// The octets of its content.
    pub bytes: usize,
}

impl Hub {
    /// Figures; zeros when the node goes down.
    pub async fn numbers(&self) -> Numbers {
        let (reply, answer) = tokio::sync::oneshot::channel();
        if self.order(Command::Numbers { reply }).await.is_err() {
            return Numbers::default();
        }
        answer.await.unwrap_or_default()
    }

    /// Subscriptions behind `after`, of one topic or of all; fewer than `limit` are no sign of the end, none is.
    ///
    /// # Errors
    /// When the store or the node cannot.
    pub async fn list(
        &self,
        topic: Option<Topic>,
        after: u64,
        limit: usize,
    ) -> Result<Vec<SubscriptionView>, AdminFault> {
        self.inquire(|reply| Command::List { topic, after: WebhookId(after), limit, reply }).await
    }

    /// One subscription.
    ///
    /// # Errors
    /// When there is none.
    pub async fn show(&self, id: u64) -> Result<SubscriptionView, AdminFault> {
        self.inquire(|reply| Command::Show { id: WebhookId(id), reply }).await
    }

    /// Ends a subscription and tells its callback (WebSub 5.2: at any time).
    ///
    /// # Errors
    /// When there is none.
    pub async fn deny(&self, id: u64, reason: Option<String>) -> Result<(), AdminFault> {
        self.inquire(|reply| Command::Deny { id: WebhookId(id), reason, reply }).await
    }

    /// Ends a subscription.
    ///
    /// # Errors
    /// When there is none.
    pub async fn remove(&self, id: u64) -> Result<(), AdminFault> {
        let removed = self.inquire(|reply| Command::Remove { id: WebhookId(id), reply });
        tokio::time::timeout(STORE_TIMEOUT, removed).await.unwrap_or(Err(AdminFault::Waits))
    }

    /// Publications that were given up.
    ///
    /// # Errors
    /// When the store or the node cannot.
    pub async fn dead(&self, after: u64, limit: usize) -> Result<Vec<DeadView>, AdminFault> {
        self.inquire(|reply| Command::Dead { after: DeadId(after), limit, reply }).await
    }

    /// Sends one of them once more.
    ///
    /// # Errors
    /// When there is none, or it cannot be sent.
    pub async fn replay(&self, id: u64) -> Result<(), AdminFault> {
        self.inquire(|reply| Command::Replay { id: DeadId(id), reply }).await
    }

    /// Forgets one of them.
    ///
    /// # Errors
    /// When there is none.
    pub async fn forget(&self, id: u64) -> Result<(), AdminFault> {
        self.inquire(|reply| Command::Forget { id: DeadId(id), reply }).await
    }
}

impl Desk {
    pub(super) fn numbers(&self) -> Numbers {
        let engine = self.engine.borrow();
        let (gauges, counters, tallies) = (engine.gauges(), engine.counters(), self.hub.tallies());
        Numbers {
            subscriptions: gauges.webhooks,
            intents: self.hub.intents().len(),
            in_flight: gauges.in_flight,
            backoffs: gauges.backoffs,
            breakers_open: gauges.breakers_open,
            accepted: tallies.accepted.get(),
            verified: tallies.verified.get(),
            refuted: tallies.refuted.get(),
            delivered: counters.delivered,
            failed: counters.failed,
            dead: counters.dead,
            gone: counters.gone,
            leases_ended: counters.leases_ended,
        }
    }

    fn view(&self, mut stored: Subscription) -> SubscriptionView {
        let pair = spelling::pair(stored.topic.topic.as_str(), &stored.callback, &stored.extras);
        let callback = pair.map_or_else(|| stored.callback.to_string(), |pair| pair.callback.url().to_owned());
        let delivery = self.engine.borrow().webhook(stored.id).map(|seen| {
            let (state, at) = match seen.state {
                StateView::Idle => ("idle", None),
                StateView::Reading => ("reading", None),
                StateView::Queued { offset, attempt } => ("queued", Some((offset, attempt))),
                StateView::InFlight { offset, attempt } => ("in_flight", Some((offset, attempt))),
                StateView::Backoff { offset, attempt, .. } => ("backoff", Some((offset, attempt))),
                StateView::Burial { offset, attempts } => ("burial", Some((offset, attempts))),
            };
            let next_attempt_in = match seen.state {
                StateView::Backoff { at, .. } => Some(at.saturating_sub(self.now().elapsed)),
                _ => None,
            };
            DeliveryView {
                state,
                offset: at.map(|(offset, _)| offset.get()),
                attempt: at.map(|(_, attempt)| attempt),
                next_attempt_in,
                cursor: seen.cursor.get(),
            }
        });
        // What the callback said before is not why it gets nothing now.
        if delivery.as_ref().is_some_and(|delivery| delivery.state == "reading")
            && let Some(why) = self.unreadable.borrow().why(&stored.topic.topic)
        {
            stored.outcome = Some(why.clone());
        }
        SubscriptionView { stored, callback, delivery }
    }

    pub(super) async fn list(
        &self,
        topic: Option<Topic>,
        after: WebhookId,
        limit: usize,
    ) -> Result<Vec<SubscriptionView>, AdminFault> {
        let scope =
            topic.map_or_else(|| Scope::Hub(self.hub.name().clone()), |topic| Scope::Topic(self.of_store(&topic)));
        let found = self.hub.store().list(&scope, after, limit).await.map_err(AdminFault::Store)?;
        Ok(found.into_iter().map(|stored| self.view(stored)).collect())
    }

    async fn stored(&self, id: WebhookId) -> Result<Subscription, AdminFault> {
        let found = self.hub.store().get(id).await.map_err(AdminFault::Store)?;
        found.filter(|one| one.topic.hub == *self.hub.name()).ok_or(AdminFault::UnknownSubscription)
    }

    pub(super) async fn show(&self, id: WebhookId) -> Result<SubscriptionView, AdminFault> {
        self.stored(id).await.map(|stored| self.view(stored))
    }

    pub(super) async fn cancel(self: &Rc<Self>, id: WebhookId, reason: Option<String>) -> Result<(), AdminFault> {
        let stored = self.stored(id).await?;
        let pair = spelling::pair(stored.topic.topic.as_str(), &stored.callback, &stored.extras);
        let pair = pair.ok_or(AdminFault::UnknownSubscription)?;
        self.tell(subscription::Event::Cancel { pair, reason });
        tokio::time::timeout(STORE_TIMEOUT, self.clerk.settled()).await.map_err(|_| AdminFault::Waits)
    }

    pub(super) async fn dead(&self, after: DeadId, limit: usize) -> Result<Vec<DeadView>, AdminFault> {
        let scope = Scope::Hub(self.hub.name().clone());
        let found = self.hub.store().list_dead(&scope, after, limit).await.map_err(AdminFault::Store)?;
        Ok(found.into_iter().map(dead_view).collect())
    }

    async fn dead_publication(&self, id: DeadId) -> Result<DeadPublication, AdminFault> {
        let found = self.hub.store().dead(id).await.map_err(AdminFault::Store)?;
        found.filter(|one| one.entry.topic.hub == *self.hub.name()).ok_or(AdminFault::UnknownDead)
    }

    pub(super) async fn replay(self: &Rc<Self>, id: DeadId) -> Result<(), AdminFault> {
        let dead = self.dead_publication(id).await?;
        let (webhook, offset) = (dead.subscription, dead.burial.offset);
        // As many as the first time. What the log had lost was never tried.
        let attempts_max = NonZeroU32::new(dead.burial.attempts).unwrap_or(NonZeroU32::MIN);
        self.flights.borrow_mut().replays.insert((webhook, offset), dead);
        self.feed(Event::Replay { webhook, offset, attempts_max });
        // A refusal takes it out of the list again; a delivery does so much later.
        let is_taken = self.flights.borrow().replays.contains_key(&(webhook, offset));
        if is_taken { Ok(()) } else { Err(AdminFault::NotReplayed) }
    }

    pub(super) async fn forget(&self, id: DeadId) -> Result<(), AdminFault> {
        self.dead_publication(id).await?;
        self.hub.store().forget_dead(id).await.map_err(AdminFault::Store)
    }
}

fn dead_view(dead: DeadPublication) -> DeadView {
    DeadView {
        id: dead.id.0,
        subscription: dead.subscription.0,
        topic: dead.entry.topic.topic.as_str().to_owned(),
        offset: dead.burial.offset.get(),
        publication: dead.entry.publication.get(),
        at: dead.burial.at,
        attempts: dead.burial.attempts,
        reason: dead.burial.reason.into(),
        content_type: dead.entry.content.content_type.into(),
        bytes: dead.entry.content.body.len(),
    }
}
