//! What the tasks of one thread share: buffers that would cost too much for each session, and the list of outboxes to
//! flush at the end of the turn.
//!
//! Publishing only queues. The flusher runs after the other tasks of the same turn and after one more look at the sockets,
//! so what a burst of requests publishes to one subscriber leaves in one write. On an idle node that look costs
//! microseconds; under load it is worth a factor of three.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use stentor_model::PublicationId;
use stentor_websocket::deflate::{Deflater, Inflater};
use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;

use super::outbox::{CloseCause, Pushed};
use super::peer::{EndedTurn, SocketPeer};
use super::turnstile::Turnstile;
use crate::clock::Clock;
use crate::meter::{Meters, Reason};

/// Octets that one read takes at the most.
const READ_BYTES: usize = 64 * 1024;

/// How often sessions are looked at for pings and deadlines.
pub const SWEEP_INTERVAL: Duration = Duration::from_millis(250);

/// Outboxes that one thread flushes between two of its yields: some milliseconds' worth of writing, after which requests and
/// pings have their turn. An event for fifty thousand sessions would otherwise stop everything else for a quarter of a second.
const FLUSHES_PER_TURN: usize = 256;

/// A turn that writes to so many sockets, which takes a millisecond, is followed by a rest.
const LONG_TURN: usize = 128;

/// The longest rest: far below what a reader notices, and time enough for whoever publishes to hear of the turn before.
const REST_MAX: Duration = Duration::from_millis(2);

/// Connections that one thread ends between two of its yields: a network that breaks down makes thousands of them late at the
/// same time, and each takes some tens of microseconds.
const ENDINGS_PER_TURN: usize = 32;

/// How long somebody who publishes much waits for readers, for each [`PATIENCE_BYTES`] that they have to take: half a megabyte a second
/// is fast enough for any batch.
const READERS_PATIENCE: Duration = Duration::from_millis(500);
const PATIENCE_BYTES: usize = 256 * 1024;

/// How many times that he waits for them at once.
const PATIENCE_MOST: u32 = 8;

/// Readers whom he waits for; the others profit.
const CROWDED_MAX: usize = 4096;

/// How long none of them may take anything. Nobody waits again for those who did not, until they have read everything.
const READERS_STUCK: Duration = Duration::from_millis(500);

/// How often he looks meanwhile.
const READERS_PAUSE: Duration = Duration::from_millis(1);

/// What reaches one thread from all others: which of its outboxes wait for the end of its turn.
///
/// The owner's thread does all the writing, so that an event for many is written by all threads at once, and what several
/// threads publish goes out in one write.
#[derive(Debug, Default)]
pub struct Turn {
    dirty: Mutex<Vec<Arc<SocketPeer>>>,
    work: Notify,
}

impl Turn {
    fn dirty(&self) -> MutexGuard<'_, Vec<Arc<SocketPeer>>> {
        // A list is whole after every push.
        self.dirty.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One thread's share of the node.
pub struct Shard {
    /// What this thread counts.
    pub meters: Arc<Meters>,
    /// The time.
    pub clock: Arc<Clock>,
    /// Where all connections of this thread read into.
    pub read_buffer: RefCell<Box<[u8]>>,
    /// The decompressor of this thread.
    pub inflater: RefCell<Inflater>,
    /// The compressors of this thread.
    pub deflater: RefCell<Deflater>,
    /// Where those wait who have much to write.
    pub turnstile: Arc<Turnstile>,
    /// Held by the one session of this thread whose long message is inflated.
    pub inflation: Arc<Semaphore>,
    rng: RefCell<fastrand::Rng>,
    /// What this thread itself has put into outboxes of its own connections.
    dirty: RefCell<Vec<Arc<SocketPeer>>>,
    turn: Arc<Turn>,
    /// The threads for which this one has left word in this turn.
    others: RefCell<Vec<Arc<Turn>>>,
    /// The end of this turn has something to do.
    working: Cell<bool>,
    sessions: RefCell<HashMap<u64, Arc<SocketPeer>>>,
    next_session: Cell<u64>,
    http: Cell<usize>,
    effort: Cell<usize>,
    /// While somebody publishes who can wait.
    crowded: RefCell<Option<Crowded>>,
}

/// Whose outboxes a publisher who can wait has seen half full, or with a full socket, and how long he still waits for them.
#[derive(Debug, Default)]
pub struct Crowded {
    readers: Vec<Arc<SocketPeer>>,
    patience: Duration,
}

impl Crowded {
    /// Nobody, yet.
    #[must_use]
    pub fn new() -> Self {
        Self { readers: Vec::new(), patience: READERS_PATIENCE }
    }

    /// Whether there is somebody.
    #[must_use]
    pub fn is_any(&self) -> bool {
        !self.readers.is_empty()
    }

    /// Notes that so many octets are on their way to all of them, which deserve patience.
    pub fn note(&mut self, octets: usize) {
        let part = octets as f64 / PATIENCE_BYTES as f64;
        self.patience = (self.patience + READERS_PATIENCE.mul_f64(part)).min(READERS_PATIENCE * PATIENCE_MOST);
    }
}

/// An HTTP connection that is being served.
#[derive(Debug)]
pub struct HttpGuard(Rc<Shard>);

impl Drop for HttpGuard {
    fn drop(&mut self) {
        self.0.http.set(self.0.http.get() - 1);
        self.0.meters.http_connections.decrement();
    }
}

impl std::fmt::Debug for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shard").field("sessions", &self.sessions.borrow().len()).finish_non_exhaustive()
    }
}

/// How long a thread rests after a turn that wrote to so many sockets and took so long. What is published meanwhile joins the
/// next one: to write to a thousand sockets takes milliseconds, and for twenty events hardly more than for one. Where events
/// come one by one, the rest is over before the next one is there.
fn rest(sockets: usize, took: Duration) -> Duration {
    if sockets < LONG_TURN { Duration::ZERO } else { took.min(REST_MAX) }
}

impl Shard {
    /// A thread without connections.
    #[must_use]
    pub fn new(meters: Arc<Meters>, clock: Arc<Clock>, seed: u64) -> Rc<Self> {
        Rc::new(Self {
            meters,
            clock,
            read_buffer: RefCell::new(vec![0; READ_BYTES].into()),
            inflater: RefCell::default(),
            deflater: RefCell::default(),
            turnstile: Arc::default(),
            inflation: Arc::new(Semaphore::new(1)),
            rng: RefCell::new(fastrand::Rng::with_seed(seed)),
            dirty: RefCell::default(),
            turn: Arc::default(),
            others: RefCell::default(),
            working: Cell::new(false),
            sessions: RefCell::default(),
            next_session: Cell::new(0),
            http: Cell::new(0),
            effort: Cell::new(0),
            crowded: RefCell::default(),
        })
    }

    /// A random publication id.
    pub fn publication_id(&self) -> PublicationId {
        PublicationId::from_random(self.random())
    }

    /// A random number; not for secrets.
    pub fn random(&self) -> u64 {
        self.rng.borrow_mut().u64(..)
    }

    /// Deals with the outcome of a push.
    pub fn pushed(&self, peer: &Arc<SocketPeer>, pushed: &Pushed) {
        match pushed {
            Pushed::Flush => {
                let home = peer.home();
                if Arc::ptr_eq(home, &self.turn) {
                    self.dirty.borrow_mut().push(Arc::clone(peer));
                } else {
                    home.dirty().push(Arc::clone(peer));
                    let mut others = self.others.borrow_mut();
                    if !others.iter().any(|other| Arc::ptr_eq(other, home)) {
                        others.push(Arc::clone(home));
                    }
                }
                if !self.working.replace(true) {
                    self.turn.work.notify_one();
                }
            }
            Pushed::Overflow => self.meters.closed.count(Reason::OutboxFull),
            Pushed::Queued | Pushed::Closed | Pushed::Full(_) => {}
        }
        if let Some(crowded) = &mut *self.crowded.borrow_mut()
            && crowded.readers.len() < CROWDED_MAX
            && (peer.outbox.is_blocked() || peer.outbox.is_crowded(0))
        {
            crowded.readers.push(Arc::clone(peer));
        }
    }

    /// Publishes something for somebody who is going to publish more and can [wait](Self::wait_for_readers).
    pub fn watching_readers<T>(&self, crowded: &mut Crowded, publish: impl FnOnce() -> T) -> T {
        self.crowded.replace(Some(std::mem::take(crowded)));
        let outcome = publish();
        *crowded = self.crowded.take().unwrap_or_default();
        outcome
    }

    /// Lets readers have their turn, and waits for those whose outboxes are half full or have no room for the next frame, of so
    /// many octets, as long as there is patience. Who takes nothing for a while is given up, and closed for what comes then.
    pub async fn wait_for_readers(&self, crowded: &mut Crowded, next: usize) {
        tokio::task::yield_now().await;
        let begin = Instant::now();
        let (mut least, mut moved) = (usize::MAX, begin);
        loop {
            let readers = &mut crowded.readers;
            readers.retain(|peer| peer.outbox.is_crowded(next));
            if readers.is_empty() || begin.elapsed() >= crowded.patience {
                break;
            }
            let waiting = readers.iter().map(|peer| peer.outbox.bytes()).sum();
            if waiting < least {
                (least, moved) = (waiting, Instant::now());
            } else if moved.elapsed() >= READERS_STUCK {
                readers.iter().for_each(|peer| peer.outbox.give_up());
            }
            tokio::time::sleep(READERS_PAUSE).await;
        }
        crowded.readers.clear();
        crowded.patience = crowded.patience.saturating_sub(begin.elapsed());
    }

    /// What fan-outs of this thread have taken so far, in octets of messages that would take as long to read. Whoever wants to
    /// know what one has taken asks before and afterwards.
    pub fn effort(&self) -> usize {
        self.effort.get()
    }

    /// Adds what one has taken.
    pub(crate) fn note_effort(&self, octets: usize) {
        self.effort.set(self.effort.get().wrapping_add(octets));
    }

    /// Where other threads leave word for this one.
    pub(super) fn turn(&self) -> &Arc<Turn> {
        &self.turn
    }

    /// Flushes at the end of each turn, for ever.
    pub async fn flush_turns(self: Rc<Self>) {
        let mut turn = Vec::new();
        let mut rest_until = Instant::now();
        loop {
            self.turn.work.notified().await;
            if Instant::now() < rest_until {
                tokio::time::sleep_until(rest_until).await;
            }
            // Yielding lets the runtime look at its sockets once, so that requests which are here already join in.
            tokio::task::yield_now().await;
            self.working.set(false);
            // Others are woken now and not by the first of a burst, whose rest would then need writes of its own.
            for other in self.others.borrow_mut().drain(..) {
                other.work.notify_one();
            }
            turn.append(&mut self.dirty.borrow_mut());
            turn.append(&mut self.turn.dirty());
            let begin = Instant::now();
            let mut is_written = true;
            for (place, peer) in turn.iter().enumerate() {
                if place % FLUSHES_PER_TURN == FLUSHES_PER_TURN - 1 {
                    tokio::task::yield_now().await;
                }
                is_written &= peer.end_turn() == EndedTurn::Written;
            }
            if !is_written {
                // Behind the tasks that were woken, so that what they write counts as part of this turn.
                tokio::task::yield_now().await;
            }
            rest_until = Instant::now() + rest(turn.len(), begin.elapsed());
            turn.clear();
        }
    }

    /// Puts a connection under this thread's care and returns the number to forget it by.
    pub fn adopt(&self, peer: &Arc<SocketPeer>) -> u64 {
        let number = self.next_session.get();
        self.next_session.set(number + 1);
        self.sessions.borrow_mut().insert(number, Arc::clone(peer));
        self.meters.connections_open.increment();
        number
    }

    /// Forgets a connection.
    pub fn forget(&self, number: u64) {
        if self.sessions.borrow_mut().remove(&number).is_some() {
            self.meters.connections_open.decrement();
        }
    }

    /// Looks after pings and deadlines, for ever.
    pub async fn sweep_sessions(self: Rc<Self>) {
        let mut beat = tokio::time::interval(SWEEP_INTERVAL);
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            beat.tick().await;
            let now = self.clock.ticks();
            for (place, (peer, cause)) in self.sweep(now).into_iter().enumerate() {
                if place % ENDINGS_PER_TURN == ENDINGS_PER_TURN - 1 {
                    tokio::task::yield_now().await;
                }
                peer.end(cause, now);
            }
        }
    }

    /// Looks at each session once, and says which are to end.
    fn sweep(&self, now: u32) -> Vec<(Arc<SocketPeer>, CloseCause)> {
        let mut waiting = 0;
        let mut ends = Vec::new();
        for peer in self.sessions.borrow().values() {
            if let Some(cause) = peer.tick(now, self) {
                ends.push((Arc::clone(peer), cause));
            }
            waiting += peer.outbox.bytes();
        }
        // Here and not with each frame: a sum that every push and every write had to touch would cost each of them.
        self.meters.outbox_bytes.set(waiting as u64);
        ends
    }

    /// Tells every connection of this thread that the node goes down.
    pub fn close_all(&self) {
        for peer in self.sessions.borrow().values() {
            peer.outbox.close(CloseCause::Shutdown);
        }
    }

    /// Counts an HTTP connection for as long as the guard lives.
    pub fn serve_http(self: &Rc<Self>) -> HttpGuard {
        self.http.set(self.http.get() + 1);
        self.meters.http_connections.increment();
        HttpGuard(Rc::clone(self))
    }

    /// How many HTTP connections this thread serves.
    pub fn http_count(&self) -> usize {
        self.http.get()
    }

    /// How many connections this thread looks after.
    pub fn session_count(&self) -> usize {
        self.sessions.borrow().len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rests_are_short_and_follow_long_turns_only() {
        let check = |sockets, took, expected| {
            assert_eq!(rest(sockets, Duration::from_micros(took)), Duration::from_micros(expected));
        };
        check(0, 0, 0);
        // Somebody else had the processor.
        check(127, 20_000, 0);
        check(128, 1500, 1500);
        check(50_000, 400_000, 2000);
    }
}
