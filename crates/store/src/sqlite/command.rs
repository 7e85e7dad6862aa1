//! What the threads of the store are asked to do. Closed sets, so that each can be matched to the end.

use stentor_model::{Offset, WebhookId};

use super::cut::Plan;
use crate::{
    Burial, Completer, DeadId, DeadPublication, Draft, Entry, Hub, HubTopic, IdempotencyKey, NewSubscription, Page,
    Placed, ReadLimit, Receipt, Recipient, Scope, State, StoreError, Subscription, Timestamp, Trimmed,
};

/// For the writer.
#[derive(Debug)]
pub(super) enum Command {
    /// Shares a transaction with others.
    Write(Write),
    /// Takes turns of its own.
    Flush(Completer<usize>),
    /// Takes turns of its own.
    Cut(Plan, Completer<Trimmed>),
    Close(Completer<()>),
}

/// A change that is one part of a transaction.
#[derive(Debug)]
pub(super) enum Write {
    Append(Box<Draft>, Completer<Receipt>),
    Put(Box<NewSubscription>, Completer<Placed>),
    SetState(WebhookId, State, Completer<()>),
    Remove(WebhookId, Completer<()>),
    Bury(WebhookId, Burial, Completer<DeadId>),
    ForgetDead(DeadId, Completer<()>),
}

/// What a [`Write`] answers once it is durable.
#[derive(Debug)]
pub(super) enum Reply {
    Receipt(Receipt),
    Placed(Placed),
    Dead(DeadId),
    Done,
}

impl Write {
    /// Octets that it keeps in memory while it waits, beside its own size.
    pub(super) fn weight(&self) -> u64 {
        match self {
            Self::Append(draft, _) => draft.cost(),
            Self::Put(..) | Self::SetState(..) | Self::Remove(..) | Self::Bury(..) | Self::ForgetDead(..) => 0,
        }
    }

    pub(super) fn answer(self, reply: Result<Reply, StoreError>) {
        match (self, reply) {
            (Self::Append(_, answer), Ok(Reply::Receipt(receipt))) => answer.complete(Ok(receipt)),
            (Self::Append(_, answer), Err(error)) => answer.complete(Err(error)),
            (Self::Put(_, answer), Ok(Reply::Placed(placed))) => answer.complete(Ok(placed)),
            (Self::Put(_, answer), Err(error)) => answer.complete(Err(error)),
            (Self::Bury(_, _, answer), Ok(Reply::Dead(id))) => answer.complete(Ok(id)),
            (Self::Bury(_, _, answer), Err(error)) => answer.complete(Err(error)),
            (Self::SetState(_, _, answer) | Self::Remove(_, answer) | Self::ForgetDead(_, answer), reply) => {
                answer.complete(reply.map(|_| ()));
            }
            (write, reply) => unreachable!("{write:?} does not reply {reply:?}"),
        }
    }
}

/// For the readers.
#[derive(Debug)]
pub(super) enum Read {
    Topic(HubTopic, Offset, ReadLimit, Completer<Page>),
    Tail(Offset, ReadLimit, Completer<Page>),
    Newest(HubTopic, Completer<Option<Entry>>),
    Keyed(Hub, IdempotencyKey, Timestamp, Completer<Option<Receipt>>),
    Get(WebhookId, Completer<Option<Subscription>>),
    Find(HubTopic, Box<str>, Completer<Option<Subscription>>),
    List(Scope, WebhookId, usize, Completer<Vec<Subscription>>),
    Recipients(Hub, WebhookId, usize, Completer<Vec<Recipient>>),
    ListDead(Scope, DeadId, usize, Completer<Vec<DeadPublication>>),
    Dead(DeadId, Completer<Option<DeadPublication>>),
    /// Looks for what may be cut and hands it to the writer.
    Plan(Timestamp, Completer<Trimmed>),
}
