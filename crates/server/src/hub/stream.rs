//! Readers of a topic that stay: what is new reaches them as it comes, and what they missed is read from the log first.
//!
//! History is finished before live begins (I5): a reader enters its name first, reads the log up to its end, and then
//! takes from what arrived meanwhile only what it has not had. One that is too slow for the live end goes back to the log.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use stentor_model::{Epoch, Offset, Topic};
use stentor_store::{Entry, HubTopic, Page, ReadLimit, StoreError};
use tokio::sync::{broadcast, watch};

use super::door::Hub;

/// Publications that a reader may be behind the live end before it reads the log instead.
const LIVE_ENTRIES_MAX: usize = 256;

/// The live ends of the topics that somebody reads.
#[derive(Debug)]
pub(super) struct Feeds {
    topics: Mutex<HashMap<Topic, broadcast::Sender<Arc<Entry>>>>,
    /// How many topics there are, so that one look tells that nobody reads.
    count: AtomicUsize,
    ended: watch::Sender<bool>,
}

impl Default for Feeds {
    fn default() -> Self {
        Self { topics: Mutex::default(), count: AtomicUsize::new(0), ended: watch::channel(false).0 }
    }
}

impl Feeds {
    fn topics(&self) -> MutexGuard<'_, HashMap<Topic, broadcast::Sender<Arc<Entry>>>> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, topic: &Topic) -> broadcast::Receiver<Arc<Entry>> {
        let mut topics = self.topics();
        let feed = topics.entry(topic.clone()).or_insert_with(|| broadcast::channel(LIVE_ENTRIES_MAX).0).subscribe();
        self.count.store(topics.len(), Ordering::Release);
        feed
    }

    /// Tells the readers of its topic about a publication.
    pub(super) fn appended(&self, entry: &Entry) {
        if self.count.load(Ordering::Acquire) == 0 {
            return;
        }
        let mut topics = self.topics();
        let topic = &entry.topic.topic;
        let is_read = topics.get(topic).is_some_and(|feed| feed.send(Arc::new(entry.clone())).is_ok());
        if !is_read && topics.remove(topic).is_some() {
            self.count.store(topics.len(), Ordering::Release);
        }
    }

    /// Ends all readers.
    pub(super) fn end(&self) {
        self.ended.send_replace(true);
    }
}

/// Where a reader begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// With what is new from now on.
    Now,
    /// Behind a place that it knows from earlier.
    Place(Epoch, Offset),
}

/// One reader of a topic.
#[derive(Debug)]
pub struct Reader {
    hub: Arc<Hub>,
    topic: HubTopic,
    live: broadcast::Receiver<Arc<Entry>>,
    ended: watch::Receiver<bool>,
    /// The last publication that it has had.
    at: Offset,
    /// It has been told of a gap, and has had nothing since.
    is_told: bool,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Reads the log.
    Behind(std::vec::IntoIter<Entry>),
    /// Takes what comes.
    Live,
}

/// What a reader gets next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// A publication.
    Entry(Arc<Entry>),
    /// Publications that it has not had are no longer in the log, or the log is another one.
    Gap,
    /// The node goes down.
    End,
}

impl Hub {
    /// A reader of this topic.
    #[must_use]
    pub fn reader(self: &Arc<Self>, topic: &Topic, since: Since) -> (Reader, Option<Next>) {
        let live = self.feeds().enter(topic);
        let (at, lost) = match since {
            // Read before the name was entered, a publication could fall between; now it is in both.
            Since::Now => (self.store().end(), None),
            Since::Place(epoch, at) if epoch == self.store().epoch() && at <= self.store().end() => (at, None),
            Since::Place(..) => (Offset::START, Some(Next::Gap)),
        };
        let state = match since {
            Since::Now => State::Live,
            Since::Place(..) => State::Behind(Vec::new().into_iter()),
        };
        let topic = HubTopic { hub: self.name().clone(), topic: topic.clone() };
        let ended = self.feeds().ended.subscribe();
        (Reader { hub: Arc::clone(self), topic, live, ended, at, is_told: lost.is_some(), state }, lost)
    }
}

impl Reader {
    /// Waits for what comes next.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn next(&mut self) -> Result<Next, StoreError> {
        loop {
            // Whoever reads gets what was acknowledged before the end.
            let is_last = *self.ended.borrow();
            match &mut self.state {
                State::Behind(page) => {
                    if let Some(entry) = page.next() {
                        self.at = entry.offset;
                        return Ok(Next::Entry(Arc::new(entry)));
                    }
                    let page = self.hub.store().read(&self.topic, self.at, ReadLimit::default()).await?;
                    let is_all = page.entries.is_empty();
                    if self.take(page) {
                        return Ok(Next::Gap);
                    }
                    if is_last && is_all {
                        return Ok(Next::End);
                    }
                }
                State::Live if is_last => self.state = State::Behind(Vec::new().into_iter()),
                State::Live => {
                    let arrived = tokio::select! {
                        arrived = self.live.recv() => arrived,
                        _ = self.ended.wait_for(|ended| *ended) => continue,
                    };
                    match arrived {
                        Ok(entry) if entry.offset <= self.at => {}
                        Ok(entry) => {
                            self.at = entry.offset;
                            return Ok(Next::Entry(entry));
                        }
                        Err(broadcast::error::RecvError::Lagged(_)) => {
                            self.state = State::Behind(Vec::new().into_iter());
                        }
                        Err(broadcast::error::RecvError::Closed) => return Ok(Next::End),
                    }
                }
            }
        }
    }

    /// Goes on with a page of the log; whether something is missing before it of which nothing was said.
    fn take(&mut self, page: Page) -> bool {
        let is_told = std::mem::take(&mut self.is_told);
        self.state = if page.entries.is_empty() { State::Live } else { State::Behind(page.entries.into_iter()) };
        page.gap.is_some() && !is_told
    }
}
