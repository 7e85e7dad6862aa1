//! Publishing: from a message to its place in the log.
//!
//! A message is answered when it is durable. One whose content is elsewhere is fetched first, and whatever is published on
//! the same topic meanwhile waits behind it, so that the log has the order in which messages came.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use stentor_model::{PublicationId, Topic};
use stentor_store::{
    Content, Draft, Freshness, HubTopic, IdempotencyKey, Limit, Pending, Receipt, StoreError, Timestamp,
};
use stentor_websub::message::{self, Fetch, FetchFault, Message, Source};
use tokio::sync::oneshot;

use super::door::{Command, Hub};

/// A message, and what its request says beside it.
#[derive(Debug)]
pub struct Publish {
    /// What is published, and where.
    pub message: Message,
    /// Makes a repetition within a day the same publication.
    pub idempotency: Option<IdempotencyKey>,
    /// What it is called if it is new.
    pub publication: PublicationId,
    /// The wall clock.
    pub at: Timestamp,
}

/// Why nothing was published. Whoever answers finds the status in one table.
#[derive(Clone, Debug)]
pub enum PublishFault {
    /// There is no content to be had.
    Fetch(FetchFault),
    /// The store did not take it.
    Store(StoreError),
    /// Too many publications wait for others.
    Crowded,
    /// The node goes down.
    Closing,
}

impl fmt::Display for PublishFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fetch(fault) => write!(f, "contentUrl {fault}"),
            // What exactly failed is for the log, not for publishers.
            Self::Store(StoreError::Full(Limit::Disk)) => f.write_str("the hub's disk is full; nothing was published"),
            Self::Store(StoreError::Full(limit)) => {
                write!(f, "{}; nothing was published", StoreError::Full(*limit))
            }
            Self::Store(StoreError::TooLarge(what)) => write!(f, "{what} is too large for this hub"),
            Self::Store(StoreError::KeyReused) => {
                f.write_str("the Idempotency-Key was used before with other content or another topic")
            }
            Self::Store(StoreError::Busy) | Self::Crowded => {
                f.write_str("too many publications wait for this hub; try again")
            }
            Self::Store(_) => f.write_str("the hub's store takes no publications at the moment; nothing was published"),
            Self::Closing => f.write_str("the node is going down; nothing was published"),
        }
    }
}

impl std::error::Error for PublishFault {}

/// What two requests have in common that mean the same content, wherever it is and whatever it has become.
fn likeness<'f>(topic: &'f Topic, fetch: &'f Fetch) -> [&'f [u8]; 5] {
    let kind = fetch.content_type.as_ref().map_or("", |kind| kind.as_str());
    let (fallback, body) = fetch.fallback.as_ref().map_or(("", &[][..]), |one| (one.content_type.as_str(), &one.body));
    [topic.as_str().as_bytes(), fetch.url.as_bytes(), kind.as_bytes(), fallback.as_bytes(), body]
}

/// A publication on its way into the log.
pub(crate) struct Appending {
    hub: Arc<Hub>,
    topic: Topic,
    stage: Stage,
}

enum Stage {
    /// It is not yet durable.
    Stored(Pending<Receipt>),
    /// It is, and sessions do not yet have it.
    HandedOut(Receipt, Pin<Box<dyn Future<Output = ()> + Send>>),
}

impl fmt::Debug for Appending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Appending").field("topic", &self.topic).finish_non_exhaustive()
    }
}

impl Future for Appending {
    type Output = Result<Receipt, PublishFault>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        loop {
            match &mut this.stage {
                Stage::Stored(pending) => {
                    let outcome = ready!(Pin::new(pending).poll(cx));
                    let receipt = this.hub.appended(outcome)?;
                    match this.hub.handed_out(&this.topic, receipt.offset) {
                        None => return Poll::Ready(Ok(receipt)),
                        Some(wait) => this.stage = Stage::HandedOut(receipt, Box::pin(wait)),
                    }
                }
                Stage::HandedOut(receipt, wait) => return wait.as_mut().poll(cx).map(|()| Ok(*receipt)),
            }
        }
    }
}

impl Hub {
    /// Publishes a message; it is durable when this answers.
    ///
    /// # Errors
    /// When it is not, and then nothing was published; but see [`StoreError::Failed`].
    pub async fn publish(&self, publish: Publish) -> Result<Receipt, PublishFault> {
        let Publish { message: Message { topic, source }, idempotency, publication, at } = publish;
        let draft = |content| self.draft(topic.clone(), content, publication, at);
        match source {
            Source::Content(content) => {
                let place = self.lines().join_if_any(&topic).map_err(|_| PublishFault::Crowded)?;
                let _turn = match &place {
                    Some(place) => Some(place.turn().await),
                    None => None,
                };
                self.append(Draft { idempotency, ..draft(content) }).await
            }
            Source::Fetch(fetch) => {
                let place = self.lines().join(&topic).map_err(|_| PublishFault::Crowded)?;
                let _turn = place.turn().await;
                let key = idempotency.map(|key| key.of_request(&likeness(&topic, &fetch)));
                if let Some(key) = &key
                    && let Some(receipt) =
                        self.store().keyed(self.name(), key, at).await.map_err(PublishFault::Store)?
                {
                    return Ok(receipt);
                }
                let content = self.fetch(fetch).await?;
                self.append(Draft { idempotency: key, ..draft(content) }).await
            }
        }
    }

    /// Appends, and counts.
    pub(super) async fn append(&self, draft: Draft) -> Result<Receipt, PublishFault> {
        let topic = draft.topic.topic.clone();
        let receipt = self.appended(self.store().append(draft).await)?;
        if let Some(handed_out) = self.handed_out(&topic, receipt.offset) {
            handed_out.await;
        }
        Ok(receipt)
    }

    /// The same; it is under way when this returns.
    pub(super) fn begin_append(self: &Arc<Self>, draft: Draft) -> Appending {
        let topic = draft.topic.topic.clone();
        Appending { hub: Arc::clone(self), topic, stage: Stage::Stored(self.store().append(draft)) }
    }

    /// Begins to publish content; it is under way when this returns. Only while nobody stands in the line of its topic.
    pub(crate) fn begin_publish(
        self: &Arc<Self>,
        (topic, content): (Topic, message::Content),
        publication: PublicationId,
        at: Timestamp,
    ) -> Appending {
        self.begin_append(self.draft(topic, content, publication, at))
    }

    /// Whether publications of this topic wait for one that came before.
    pub(crate) fn has_line(&self, topic: &Topic) -> bool {
        !matches!(self.lines().join_if_any(topic), Ok(None))
    }

    fn draft(&self, topic: Topic, content: message::Content, publication: PublicationId, at: Timestamp) -> Draft {
        let (content_type, body) = (content.content_type.as_str().into(), Bytes::from(content.body));
        Draft {
            topic: HubTopic { hub: self.name().clone(), topic },
            publication,
            at,
            content: Content { content_type, extras: Vec::new(), body },
            idempotency: None,
        }
    }

    fn appended(&self, outcome: Result<Receipt, StoreError>) -> Result<Receipt, PublishFault> {
        let receipt = outcome.map_err(|error| {
            if matches!(error, StoreError::Failed(_) | StoreError::Corrupt(_) | StoreError::ReadOnly(_)) {
                tracing::error!(hub = self.name().as_str(), %error, "a publication could not be stored");
            }
            PublishFault::Store(error)
        })?;
        if receipt.freshness == Freshness::New {
            self.tallies().accepted.increment();
        }
        Ok(receipt)
    }

    /// Has the hub's thread fetch content.
    pub(super) async fn fetch(&self, fetch: Fetch) -> Result<message::Content, PublishFault> {
        let (reply, answer) = oneshot::channel();
        self.order(Command::Fetch { fetch: Box::new(fetch), reply }).await.map_err(|_| PublishFault::Closing)?;
        answer.await.map_err(|_| PublishFault::Closing)?.map_err(PublishFault::Fetch)
    }

    /// Takes pings: they are durable when this answers, and their topics are fetched afterwards.
    ///
    /// # Errors
    /// When the store did not take them.
    pub async fn ping(&self, topics: Vec<Topic>) -> Result<(), PublishFault> {
        let (reply, answer) = oneshot::channel();
        self.order(Command::Ping { topics, reply }).await.map_err(|_| PublishFault::Closing)?;
        answer.await.map_err(|_| PublishFault::Closing)?
    }
}
