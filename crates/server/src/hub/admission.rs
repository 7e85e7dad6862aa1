//! A request for a subscription, from its arrival to its answer.
//!
//! It is judged on the thread of its connection: a refusal, which anybody can provoke as often as they like, never comes to
//! the hub's thread, and whoever waits for a function waits for one thread less. What follows from a verdict at the callback
//! is carried out there (`verify`).

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use stentor_store::Health;
use stentor_websub::address::Pair;
use stentor_websub::authenticator::{Answer, Verdict};
use stentor_websub::request::{Intent, Wish};
use stentor_websub::subscription::{Action, DropCause, Event};
use tokio::sync::oneshot;
use tracing::{debug, error, info};

use super::door::{Asked, Command, Hub};
use crate::fanout::shard::Shard;
use crate::task;

/// How long an authenticator may think. Its own timeout, of five minutes at most, ends it before.
const VERDICT_TIMEOUT: Duration = Duration::from_secs(330);

impl Hub {
    /// Takes a request for a subscription. The answer does not wait for the callback (WebSub 5.1.1), and the request does
    /// not wait for whoever asked: one whose client has gone before the verdict is verified all the same.
    pub async fn subscribe(self: &Arc<Self>, intent: Intent, asked: Asked, shard: &Rc<Shard>) -> Answer {
        // A callback that has agreed relies on it, and must not be forgotten by a disk that is full.
        let is_kept = matches!(intent.wish, Wish::Unsubscribe) || self.store().health() == Health::Well;
        if !is_kept {
            return Answer::NoStore;
        }
        let (reply, answer) = oneshot::channel();
        let (hub, shard_of_task) = (Arc::clone(self), Rc::clone(shard));
        task::spawn(shard, async move { hub.admit(Arc::new(intent), asked, reply, &shard_of_task).await });
        answer.await.unwrap_or(Answer::Busy)
    }

    async fn admit(&self, intent: Arc<Intent>, asked: Asked, reply: oneshot::Sender<Answer>, shard: &Shard) {
        let mut actions = self.tell(Event::Received(intent), shard.clock.unix());
        if let Some(Action::AskAuthenticator { ticket, intent }) = actions.first() {
            let ticket = *ticket;
            let verdict = tokio::time::timeout(VERDICT_TIMEOUT, self.judge().ask(Arc::clone(intent), asked, self));
            let verdict = verdict.await.unwrap_or(Verdict::Unavailable);
            if matches!(verdict, Verdict::Failed | Verdict::Unavailable) {
                error!(hub = self.name().as_str(), ?verdict, "the authenticator did not say who may subscribe");
            }
            actions = self.tell(Event::Judged { ticket, verdict }, shard.clock.unix());
        }
        let mut reply = Some(reply);
        let mut rest = Vec::new();
        for action in actions {
            match action {
                // Both events are answered for the request that they are about and for no other.
                Action::Answer { answer, .. } => {
                    // Who asked may have gone.
                    drop(reply.take().map(|reply| reply.send(answer)));
                }
                Action::Drop { pair, cause, .. } => self.dropped(&pair, cause),
                action => rest.push(action),
            }
        }
        if !rest.is_empty() && self.order(Command::Execute { actions: rest }).await.is_err() {
            debug!(hub = self.name().as_str(), "the node goes down before a callback is asked");
        }
    }

    /// A request came to nothing.
    pub(super) fn dropped(&self, pair: &Pair, cause: DropCause) {
        self.tallies().refuted.increment();
        info!(
            hub = self.name().as_str(),
            topic = pair.topic.topic().as_str(),
            callback_host = pair.callback.address().authority,
            ?cause,
            "a request for a subscription came to nothing"
        );
    }
}
