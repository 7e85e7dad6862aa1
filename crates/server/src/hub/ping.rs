//! Pings: a publisher says that a topic has something new, and the hub fetches the topic itself (WebSub 6).
//!
//! A publisher is often a web application that can serve one request at a time, and would wait for the hub's answer while
//! the hub waits for the topic. So a ping is answered before the fetch, and is written down before it is answered: as a
//! mark in a compartment of the store that no subscriber sees. The mark goes when the content is in the log, or when there
//! is none to be had. Several pings of one topic that wait are one: the fetch sees the newest content anyway.

use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use stentor_model::{Offset, Topic, WebhookId};
use stentor_store::{HubTopic, NewSubscription, Scope, StoreError, Timestamp};
use stentor_websub::message::{self, Source};
use tokio::sync::oneshot;
use tracing::{info, warn};

use super::desk::Desk;
use super::door::Hub;
use super::line::{Crowded, Place};
use super::publish::PublishFault;

/// What stands where a subscription has its callback.
const MARK: &str = "ping";

/// Marks that are read at once at the start.
const PAGE_MARKS: usize = 1000;

/// Pinged topics that wait for their fetch, or for another attempt. More are refused: each is a row in the store and a
/// fetch, and pings need no signature.
const OPEN_MAX: usize = 1000;

/// Wait before a topic is tried again that the store did not take.
const STORE_PATIENCE: Duration = Duration::from_secs(5);

/// The pinged topics that are being looked after.
#[derive(Debug, Default)]
pub(super) struct Pings {
    open: HashMap<Topic, State>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing was fetched yet since the ping.
    Waiting,
    /// It is being fetched.
    Fetching,
    /// It is being fetched, and was pinged once more.
    Again,
}

/// A ping as it is written down.
pub(super) fn mark(hub: &Hub, topic: &Topic, at: Timestamp) -> NewSubscription {
    NewSubscription {
        topic: HubTopic { hub: hub.ping_name().clone(), topic: topic.clone() },
        callback: MARK.into(),
        secret: None,
        identity: None,
        extras: Vec::new(),
        created: at,
        verified: None,
        lease_end: Timestamp(u64::MAX / 2),
        after: Offset::START,
    }
}

/// Begins with what was pinged before the node went down.
pub(super) async fn resume(desk: &Rc<Desk>) {
    let scope = Scope::Hub(desk.hub.ping_name().clone());
    let mut after = WebhookId(0);
    loop {
        let marks = match desk.hub.store().list(&scope, after, PAGE_MARKS).await {
            Ok(marks) => marks,
            Err(StoreError::Closed) => return,
            Err(error) => {
                warn!(hub = desk.name(), %error, "earlier pings cannot be read");
                tokio::time::sleep(STORE_PATIENCE).await;
                continue;
            }
        };
        let Some(last) = marks.last() else { return };
        after = last.id;
        for mark in marks {
            let topic = mark.topic.topic;
            if let Ok(place) = desk.hub.lines().join(&topic) {
                pinged(desk, mark.id, topic, place);
            }
        }
    }
}

/// Takes pings, and answers when they are written down.
pub(super) fn receive(desk: &Rc<Desk>, topics: Vec<Topic>, reply: oneshot::Sender<Result<(), PublishFault>>) {
    let at = Timestamp(desk.unix_millis());
    let known = desk.pings.borrow().open.len();
    if known + topics.iter().filter(|topic| !desk.pings.borrow().open.contains_key(*topic)).count() > OPEN_MAX {
        drop(reply.send(Err(PublishFault::Crowded)));
        return;
    }
    let mut marks = Vec::with_capacity(topics.len());
    for topic in topics {
        // The place in the order of the topic is that of the request, whatever has to be waited for.
        let Ok(place) = desk.hub.lines().join(&topic) else {
            drop(reply.send(Err(PublishFault::Crowded)));
            return;
        };
        // Before the mark is asked for: whoever looks after the topic must not take the new mark away with the old one.
        if let Some(state @ State::Fetching) = desk.pings.borrow_mut().open.get_mut(&topic) {
            *state = State::Again;
        }
        marks.push((desk.hub.store().put(mark(&desk.hub, &topic, at)), topic, place));
    }
    let desk_of_task = Rc::clone(desk);
    desk.spawn(async move {
        let mut outcome = Ok(());
        for (mark, topic, place) in marks {
            match mark.await {
                Ok(placed) => pinged(&desk_of_task, placed.id(), topic, place),
                Err(error) => outcome = Err(PublishFault::Store(error)),
            }
        }
        // Who asked may have gone; what was pinged is looked after all the same.
        drop(reply.send(outcome));
    });
}

/// A topic has something new, and this is written down.
fn pinged(desk: &Rc<Desk>, mark: WebhookId, topic: Topic, place: Place) {
    let mut pings = desk.pings.borrow_mut();
    if pings.open.contains_key(&topic) {
        return;
    }
    pings.open.insert(topic.clone(), State::Waiting);
    let desk_of_task = Rc::clone(desk);
    desk.spawn(async move { look_after(&desk_of_task, mark, topic, place).await });
}

async fn look_after(desk: &Rc<Desk>, mark: WebhookId, topic: Topic, mut place: Place) {
    loop {
        match publish(desk, &topic, &place).await {
            Ok(()) => {}
            Err(PublishFault::Fetch(fault)) => {
                info!(hub = desk.name(), topic = topic.as_str(), %fault, "a pinged topic has no content");
            }
            Err(PublishFault::Closing) => return,
            Err(fault) => {
                warn!(hub = desk.name(), topic = topic.as_str(), %fault, "a pinged topic waits for the store");
                tokio::time::sleep(STORE_PATIENCE).await;
                continue;
            }
        }
        let is_again = desk.pings.borrow().open.get(&topic) == Some(&State::Again);
        if !is_again {
            desk.pings.borrow_mut().open.remove(&topic);
            // A ping from now on begins anew, with a mark that is written behind this removal.
            drop(desk.hub.store().remove(mark));
            return;
        }
        // Others that came meanwhile go first.
        while let Err(Crowded) = desk.hub.lines().join(&topic).map(|next| place = next) {
            tokio::time::sleep(STORE_PATIENCE).await;
        }
    }
}

/// Waits for the turn of the topic first and for a place among the fetches then, as everybody does who fetches: the other
/// way round, those who hold places could wait for those who wait for one.
async fn publish(desk: &Rc<Desk>, topic: &Topic, place: &Place) -> Result<(), PublishFault> {
    let _turn = place.turn().await;
    let _permit = desk.ping_fetches.acquire().await;
    desk.pings.borrow_mut().open.insert(topic.clone(), State::Fetching);
    let Source::Fetch(fetch) = message::ping(topic.clone()).source else { return Ok(()) };
    let content = desk.fetch(&fetch).await.map_err(PublishFault::Fetch)?;
    desk.hub.append(desk.draft(topic, content)).await.map(drop)
}
