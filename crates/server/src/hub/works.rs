//! The thread on which all hubs of a node live, and what looks after their store.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use foldhash::fast::RandomState;
use ring::rand::{SecureRandom, SystemRandom};
use stentor_delivery::Event;
use stentor_model::{Epoch, Offset, WebhookId};
use stentor_store::memory::Memory;
use stentor_store::sqlite::Sqlite;
use stentor_store::{Health, Hub as HubName, Limits, ReadLimit, Store, StoreError, Timestamp};
use tokio::runtime::LocalOptions;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tracing::{error, info, warn};

use super::bridge::{self, Bridge, Outlet};
use super::desk::Desk;
use super::door::{Command, Hub, Options};
use super::{clerk, ping};
use crate::clock::Clock;
use crate::courier::SystemResolver;
use crate::fanout::shard::Shard;
use crate::meter::Meters;
use crate::task;

/// How often cursors are made durable: what a crash repeats at most.
const FLUSH_INTERVAL: Duration = Duration::from_secs(1);

/// When they are for the first time; each further pause is twice as long. A node that crashes again and again within its first
/// second would otherwise repeat the same webhooks in each life, and get no further.
const FLUSH_PAUSE_FIRST: Duration = Duration::from_millis(50);

/// How often the log is cut, and looked through for who has waited for too long.
const TRIM_INTERVAL: Duration = Duration::from_secs(60);

/// The same while topics are refused for that: their publishers wait for the day on which the subscriber has caught up.
const TRIM_INTERVAL_OVERDUE: Duration = Duration::from_secs(5);

/// Looking takes at most one part in so many of the time, however many topics there are.
const TRIM_SHARE: u32 = 20;

/// How long new publications may gather while they come faster than this. One that comes alone waits for nothing; of many,
/// waking the hubs' thread for each would cost more than what is done with it.
const GATHER: Duration = Duration::from_millis(1);

/// How long webhooks on their way may take when the node goes down. What is not answered by then is sent again at the
/// next start.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the subscriptions that were confirmed and those that ended may take to be written when the node goes down.
/// Twenty thousand take a second.
const WRITE_TIMEOUT: Duration = Duration::from_secs(15);

/// Subscriptions that are read at once at the start.
const PAGE_SUBSCRIPTIONS: usize = 4096;

/// Where hubs keep what they must not lose.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The file; nothing keeps all of it in memory.
    pub file: Option<PathBuf>,
    /// What it takes.
    pub limits: Limits,
}

/// Why hubs do not start.
#[derive(Debug)]
pub enum StartFault {
    /// The store cannot be opened.
    Store(Option<PathBuf>, StoreError),
    /// There is no thread for them.
    Thread(std::io::Error),
}

impl fmt::Display for StartFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(Some(file), error) => write!(f, "the store {} cannot be opened: {error}", file.display()),
            Self::Store(None, error) => write!(f, "the store cannot be opened: {error}"),
            Self::Thread(error) => write!(f, "the hubs' thread cannot be started: {error}"),
        }
    }
}

impl std::error::Error for StartFault {}

/// The hubs at work, by their names.
type Desks = HashMap<HubName, Rc<Desk>, RandomState>;

/// All hubs of a node.
#[derive(Debug)]
pub struct Works {
    hubs: Vec<Arc<Hub>>,
    stop: watch::Sender<bool>,
    thread: JoinHandle<()>,
}

/// What the thread begins with.
struct Seat {
    hubs: Vec<(Arc<Hub>, Options, mpsc::Receiver<Command>)>,
    store: Arc<dyn Store>,
    /// Everything behind this place is announced; what lies before, subscriptions look for themselves. Taken before anybody
    /// can publish, or the first publications of a start could reach no session and no stream.
    start: Offset,
    meters: Arc<Meters>,
    clock: Arc<Clock>,
}

impl Works {
    /// Opens the store and starts the hubs. Their subscriptions are read in the background.
    ///
    /// # Errors
    /// When the store or the thread is not to be had.
    pub fn start(
        settings: Settings,
        hubs: Vec<Options>,
        meters: Arc<Meters>,
        clock: Arc<Clock>,
    ) -> Result<Self, StartFault> {
        let file = settings.file.clone();
        let fault = |error| StartFault::Store(file.clone(), error);
        let store: Arc<dyn Store> = match &settings.file {
            Some(path) => Arc::new(Sqlite::open(path, settings.limits).map_err(fault)?),
            // An epoch of its own: what is in memory is another log after each start.
            None => Arc::new(Memory::with_epoch(settings.limits, Epoch(dice().max(1)))),
        };
        let mut seats = Vec::new();
        for options in hubs {
            let (hub, commands) = Hub::new(&options, Arc::clone(&store), seed()).map_err(fault)?;
            seats.push((hub, options, commands));
        }
        let hubs = seats.iter().map(|(hub, ..)| Arc::clone(hub)).collect();
        let (stop, stopped) = watch::channel(false);
        let start = store.end();
        let seat = Seat { hubs: seats, store, start, meters, clock };
        let thread = std::thread::Builder::new().name("stentor-hub".to_owned()).spawn(move || run(seat, stopped));
        Ok(Self { hubs, stop, thread: thread.map_err(StartFault::Thread)? })
    }

    /// The hubs, in the order in which they were given.
    #[must_use]
    pub fn hubs(&self) -> &[Arc<Hub>] {
        &self.hubs
    }

    /// Lets webhooks on their way end, for a while, and closes the store. Blocks until then.
    pub fn stop(self) {
        self.stop.send_replace(true);
        if self.thread.join().is_err() {
            error!("the hubs' thread had panicked");
        }
    }
}

fn seed() -> [u8; 32] {
    let mut octets = [0; 32];
    SystemRandom::new().fill(&mut octets).expect("the kernel's random source does not fail once it has started");
    octets
}

fn dice() -> u64 {
    u64::from_le_bytes(seed()[..8].try_into().expect("eight octets of thirty-two"))
}

fn run(seat: Seat, stopped: watch::Receiver<bool>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(LocalOptions::default())
        .expect("a runtime needs an epoll descriptor, which the process has at its start");
    runtime.block_on(work(seat, stopped));
}

async fn work(seat: Seat, mut stopped: watch::Receiver<bool>) {
    let Seat { hubs, store, start, meters, clock } = seat;
    let shard = Shard::new(meters, Arc::clone(&clock), dice());
    task::spawn(&shard, Rc::clone(&shard).flush_turns());
    let names = SystemResolver::default();
    let mut desks = Desks::default();
    for (hub, mut options, commands) in hubs {
        let name = hub.name().clone();
        let (outlet, crossers) = match options.bridge.take() {
            None => (None, None),
            Some(Bridge { realm, identity, rules, crossers }) => {
                (Some(Outlet { realm, identity, rules, told: RefCell::default() }), Some(crossers))
            }
        };
        let desk = Desk::new(hub, options, outlet, Rc::clone(&shard), Arc::clone(&clock), &names, dice());
        if let Some(crossers) = crossers {
            task::spawn(&shard, bridge::receive(Rc::clone(&desk), crossers));
        }
        for forever in [
            Box::pin(Rc::clone(&desk).ring()) as std::pin::Pin<Box<dyn Future<Output = ()>>>,
            Box::pin(Rc::clone(&desk).ring_intents()),
            Box::pin(clerk::work(Rc::clone(&desk))),
            Box::pin(clerk::call_off(Rc::clone(&desk))),
            Box::pin(listen(Rc::clone(&desk), commands)),
            Box::pin(load(Rc::clone(&desk))),
        ] {
            task::spawn(&shard, forever);
        }
        desks.insert(name, desk);
    }
    let desks = Rc::new(desks);
    tell_handed_out(&desks, start);
    task::spawn(&shard, follow(Arc::clone(&store), start, Rc::clone(&desks)));
    task::spawn(&shard, flush(Arc::clone(&store)));
    task::spawn(&shard, trim(Arc::clone(&store), Arc::clone(&clock)));
    // Ends when the node does, or is dropped.
    drop(stopped.wait_for(|stopped| *stopped).await);
    drain(&desks).await;
    // Nobody hands anything out from here on.
    tell_handed_out(&desks, Offset::new(u64::MAX));
    if let Err(error) = store.close().await {
        error!(%error, "the store was not closed in order; what was acknowledged is safe, some webhooks may be sent again");
    }
}

async fn drain(desks: &Desks) {
    for desk in desks.values() {
        desk.feed(Event::Drain);
    }
    let all = async {
        for desk in desks.values() {
            desk.drained.notified().await;
            desk.cursors_settled().await;
        }
    };
    if tokio::time::timeout(DRAIN_TIMEOUT, all).await.is_err() {
        info!("some webhooks were not answered in time; they are sent again at the next start");
    }
    // Of its own time: whoever was confirmed counts on it, however slow the webhooks are.
    let written = async {
        for desk in desks.values() {
            desk.clerk.settled().await;
        }
    };
    if tokio::time::timeout(WRITE_TIMEOUT, written).await.is_err() {
        error!(
            "some changes of subscriptions could not be written: who subscribed, renewed or unsubscribed last has to ask anew"
        );
    }
    for desk in desks.values() {
        desk.hub.judge().stop().await;
    }
}

/// Tells every hub what is new in the log, in its order, for ever.
async fn follow(store: Arc<dyn Store>, start: Offset, desks: Rc<Desks>) {
    let mut at = start;
    let mut looked = Instant::now();
    loop {
        match store.beyond(at).await {
            Ok(_) => {}
            Err(StoreError::Closed) => return,
            Err(error) => {
                warn!(%error, "the end of the log cannot be waited for");
                tokio::time::sleep(FLUSH_INTERVAL).await;
                continue;
            }
        }
        if looked.elapsed() < GATHER {
            tokio::time::sleep_until(looked + GATHER).await;
        }
        looked = Instant::now();
        let page = match store.tail(at, ReadLimit::default()).await {
            Ok(page) => page,
            Err(StoreError::Closed) => return,
            Err(error) => {
                error!(%error, "the log cannot be followed");
                tokio::time::sleep(FLUSH_INTERVAL).await;
                continue;
            }
        };
        for entry in &page.entries {
            if let Some(desk) = desks.get(&entry.topic.hub) {
                desk.appended(at, entry);
            }
            at = entry.offset;
        }
        tell_handed_out(&desks, at);
    }
}

/// Tells those who wait for it that sessions have what the log has up to here.
fn tell_handed_out(desks: &Desks, up_to: Offset) {
    for desk in desks.values().filter(|desk| desk.outlet.is_some()) {
        desk.hub.set_handed_out(up_to);
    }
}

async fn flush(store: Arc<dyn Store>) {
    let (mut health, mut was_flushed) = (Health::Well, true);
    let mut pause = FLUSH_PAUSE_FIRST;
    loop {
        tokio::time::sleep(pause).await;
        pause = flush_pause(pause);
        let is_flushed = match store.flush().await {
            Ok(_) => true,
            Err(StoreError::Closed) => return,
            // Said once, or a full disk would fill the log as well.
            Err(error) if was_flushed => {
                warn!(%error, "cursors cannot be written; a crash now would repeat webhooks");
                false
            }
            Err(_) => false,
        };
        was_flushed = is_flushed;
        let now = store.health();
        match &now {
            _ if now == health => {}
            Health::Well => info!("the store takes publications and subscriptions again"),
            Health::DiskFull => {
                warn!("the store's disk is full: publications and subscriptions are refused, webhooks go on")
            }
            Health::ReadOnly(reason) => {
                error!(%reason, "the store takes no writes: publications and subscriptions are refused, webhooks go on");
            }
        }
        health = now;
    }
}

/// The pause after this one.
fn flush_pause(before: Duration) -> Duration {
    (before * 2).min(FLUSH_INTERVAL)
}

async fn trim(store: Arc<dyn Store>, clock: Arc<Clock>) {
    let mut overdue = 0;
    loop {
        let now = Timestamp(u64::try_from(clock.unix().as_millis()).unwrap_or(u64::MAX));
        let begun = Instant::now();
        match store.trim(now).await {
            Ok(trimmed) => {
                let topics = trimmed.topics_overdue;
                if topics > overdue {
                    warn!(
                        topics,
                        "topics take no publications: one has waited for its subscriber for longer than backlog_age_max"
                    );
                } else if topics == 0 && overdue > 0 {
                    info!("all topics take publications again: no subscriber is behind by more than backlog_age_max");
                }
                overdue = topics;
            }
            Err(StoreError::Closed) => return,
            Err(error) => warn!(%error, "the log cannot be cut"),
        }
        tokio::time::sleep(trim_pause(begun.elapsed(), overdue)).await;
    }
}

/// How long the log is left alone after it was looked through.
fn trim_pause(took: Duration, topics_overdue: usize) -> Duration {
    if topics_overdue == 0 {
        return TRIM_INTERVAL;
    }
    took.saturating_mul(TRIM_SHARE).clamp(TRIM_INTERVAL_OVERDUE, TRIM_INTERVAL)
}

/// Reads the subscriptions of a hub, and goes on with the pings that it had taken.
async fn load(desk: Rc<Desk>) {
    let (mut after, mut count) = (WebhookId(0), 0_usize);
    let read = |after| desk.hub.store().recipients(desk.hub.name(), after, PAGE_SUBSCRIPTIONS);
    let mut next = read(after);
    loop {
        let page = match next.await {
            Ok(page) => page,
            Err(StoreError::Closed) => return,
            Err(error) => {
                error!(hub = desk.name(), %error, "the subscriptions cannot be read");
                tokio::time::sleep(FLUSH_INTERVAL).await;
                next = read(after);
                continue;
            }
        };
        let Some(last) = page.last() else { break };
        after = last.id;
        count += page.len();
        // The store reads on while these are taken in.
        next = read(after);
        for recipient in page {
            // One that was verified meanwhile is there already. Nothing was sent to the others, so their cursors stand still.
            if !desk.is_enrolled(recipient.id) && !desk.has_ended(recipient.id) {
                clerk::enrol_at(&desk, recipient);
            }
        }
        tokio::task::yield_now().await;
    }
    desk.all_read();
    info!(hub = desk.name(), subscriptions = count, "the hub's subscriptions are loaded");
    ping::resume(&desk).await;
}

/// Carries out commands, for ever. What takes time has a task of its own.
async fn listen(desk: Rc<Desk>, mut commands: mpsc::Receiver<Command>) {
    while let Some(command) = commands.recv().await {
        obey(&desk, command);
    }
}

fn obey(desk: &Rc<Desk>, command: Command) {
    match command {
        Command::Execute { actions } => actions.into_iter().for_each(|action| desk.execute(action)),
        Command::Consult { intent, asked, reply } => {
            answer(desk, reply, async move |desk| desk.hub.judge().consult(&intent, &asked, &desk.messenger).await)
        }
        Command::Ping { topics, reply } => ping::receive(desk, topics, reply),
        Command::Numbers { reply } => drop(reply.send(desk.numbers())),
        Command::Remove { id, reply } => desk.clerk.remove_by_id(id, reply),
        Command::Fetch { fetch, mut reply } => {
            let desk_of_task = Rc::clone(desk);
            desk.spawn(async move {
                let fetched = async {
                    let _permit = desk_of_task.fetches.acquire().await;
                    desk_of_task.fetch(&fetch).await
                };
                tokio::select! {
                    fetched = fetched => drop(reply.send(fetched)),
                    () = reply.closed() => {}
                }
            });
        }
        Command::List { topic, after, limit, reply } => {
            answer(desk, reply, async move |desk| desk.list(topic, after, limit).await);
        }
        Command::Show { id, reply } => answer(desk, reply, async move |desk| desk.show(id).await),
        Command::Deny { id, reason, reply } => answer(desk, reply, async move |desk| desk.cancel(id, reason).await),
        Command::Dead { after, limit, reply } => answer(desk, reply, async move |desk| desk.dead(after, limit).await),
        Command::Replay { id, reply } => answer(desk, reply, async move |desk| desk.replay(id).await),
        Command::Forget { id, reply } => answer(desk, reply, async move |desk| desk.forget(id).await),
    }
}

fn answer<T: 'static>(desk: &Rc<Desk>, reply: oneshot::Sender<T>, work: impl AsyncFnOnce(&Rc<Desk>) -> T + 'static) {
    let desk_of_task = Rc::clone(desk);
    // Who asked may have gone; what was asked for is done all the same.
    desk.spawn(async move { drop(reply.send(work(&desk_of_task).await)) });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_are_flushed_early_in_a_life() {
        let pauses = std::iter::successors(Some(FLUSH_PAUSE_FIRST), |before| Some(flush_pause(*before)));
        let millis: Vec<_> = pauses.take(7).map(|pause| pause.as_millis()).collect();
        assert_eq!(millis, [50, 100, 200, 400, 800, 1000, 1000]);
    }

    #[test]
    fn what_is_refused_for_its_age_is_looked_at_soon() {
        let check = |took, topics_overdue, expected| {
            assert_eq!(trim_pause(Duration::from_secs(took), topics_overdue), Duration::from_secs(expected));
        };
        check(0, 0, 60);
        check(9, 0, 60);
        check(0, 1, 5);
        check(1, 1, 20);
        check(9, 7, 60);
    }
}
