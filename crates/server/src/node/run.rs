//! The life of a node: threads up, listeners open, requests served, everything drained.

use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use ring::rand::{SecureRandom, SystemRandom};
use tokio::net::{TcpStream, UnixStream};
use tokio::runtime::LocalOptions;
use tokio::sync::{mpsc, watch};
use tokio_rustls::TlsAcceptor;
use tracing::{debug, info};

use super::hubs::{self, Hubs};
use super::listen::{self, Accepted, Incoming};
use super::wiring::{self, Echo, Wired};
use crate::clock::Clock;
use crate::config::{NodeConfig, TransportKind};
use crate::fanout::shard::Shard;
use crate::http::{Arrival, Ingress, Remote, Stage, Watch, heard, serve};
use crate::meter::{Meters, Reason, Tally};
use crate::socket::io::Stream;
use crate::socket::reader::ReaderThread;
use crate::task;

/// Accepted connections that may wait for one thread.
const HANDOVER_MAX: usize = 1024;

/// How long sessions have to answer the GOODBYE of a node that goes down.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// How a node is to run.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Threads that serve connections.
    pub threads: usize,
    /// Whether echo services may run.
    pub echo: Echo,
}

/// Why a node does not start: sentences, one for each thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartError(pub Vec<String>);

/// A transport that is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    /// Its name.
    pub transport: String,
    /// Its address.
    pub address: String,
    /// The same as a URL.
    pub url: String,
}

/// A running node.
#[derive(Debug)]
pub struct Running {
    config: NodeConfig,
    wired: Vec<Wired>,
    hubs: Hubs,
    /// Closes the listeners.
    closing: watch::Sender<bool>,
    listeners: Vec<tokio::task::JoinHandle<()>>,
    /// Ends the threads.
    shutdown: watch::Sender<bool>,
    threads: Vec<JoinHandle<()>>,
    reader: ReaderThread,
    watch: Arc<Watch>,
    /// Where it listens.
    pub open: Vec<Open>,
}

/// Starts a node on the current runtime.
///
/// # Errors
/// When an endpoint cannot be opened or a service is refused.
pub fn start(config: NodeConfig, settings: Settings) -> Result<Running, StartError> {
    let mut seed = random_seed;
    let tally = Tally::new(settings.threads.max(1));
    let clock = Arc::new(Clock::default());
    let listeners = open_all(&config)?;
    let urls: Vec<String> = listeners.iter().map(|listener| listener.url.clone()).collect();
    let fault = |sentence| StartError(vec![sentence]);
    let directories = wiring::directories(&config, &mut seed);
    let hubs = hubs::start(&config, (&urls, &directories), (tally.hubs(), &clock), &mut seed).map_err(fault)?;
    let wiring = wiring::wire(&config, settings.echo, (&tally, &clock), (&hubs, &urls, directories), &mut seed);
    let wiring::Wiring { routers: wired, watch, reader } = wiring.map_err(fault)?;
    let (closing, closed) = watch::channel(false);
    let (shutdown, down) = watch::channel(false);
    let mut senders = Vec::new();
    let mut threads = Vec::new();
    for (number, meters) in tally.serving().enumerate() {
        let (sender, receiver) = mpsc::channel(HANDOVER_MAX);
        senders.push(sender);
        let (meters, clock, down, seed) = (Arc::clone(meters), Arc::clone(&clock), down.clone(), random_seed());
        let thread = std::thread::Builder::new()
            .name(format!("stentor-{number}"))
            .spawn(move || serve_thread(receiver, meters, clock, down, seed))
            .map_err(|error| StartError(vec![format!("a thread cannot be started: {error}")]))?;
        threads.push(thread);
    }
    let mut open = Vec::new();
    let mut accepting = Vec::new();
    let transports =
        config.routers.iter().zip(&wired).flat_map(|(router, wired)| router.transports.iter().zip(&wired.fronts));
    for ((transport, ingress), listener) in transports.zip(listeners) {
        let (address, url) = (listener.address.clone(), listener.url.clone());
        info!(transport = %transport.id, %address, %url, "listening");
        open.push(Open { transport: transport.id.clone(), address, url });
        let (ingress, meters) = (Arc::clone(ingress), Arc::clone(tally.accepting()));
        accepting.push(tokio::spawn(listen::accept(listener, ingress, senders.clone(), meters, closed.clone())));
    }
    watch.enter(Stage::Ready);
    Ok(Running { config, wired, hubs, closing, listeners: accepting, shutdown, threads, reader, watch, open })
}

/// Opens every endpoint, or tells all that is wrong with them.
fn open_all(config: &NodeConfig) -> Result<Vec<listen::Listener>, StartError> {
    let (mut open, mut faults) = (Vec::new(), Vec::new());
    for transport in config.routers.iter().flat_map(|router| &router.transports) {
        match listen::open(&transport.endpoint, scheme(&transport.kind)) {
            Ok(listener) => open.push(listener),
            Err(sentence) => faults.push(format!("transport {}: {sentence}", transport.id)),
        }
    }
    if faults.is_empty() { Ok(open) } else { Err(StartError(faults)) }
}

/// What clients of a transport speak.
const fn scheme(kind: &TransportKind) -> &'static str {
    match kind {
        TransportKind::WebSocket(_) => "ws",
        TransportKind::Web { .. } => "http",
    }
}

fn random_seed() -> u64 {
    let mut octets = [0; 8];
    SystemRandom::new().fill(&mut octets).expect("the kernel's random source does not fail once it has started");
    u64::from_le_bytes(octets)
}

impl Running {
    /// Puts the permissions, principals and gates of a new configuration in force.
    ///
    /// # Errors
    /// A sentence when the configurations differ in more than that; the old one stays in force then.
    pub fn reload(&mut self, config: NodeConfig) -> Result<(), String> {
        wiring::rewire(&self.config, &config, &self.wired)?;
        self.config = config;
        Ok(())
    }

    /// What it has counted until now.
    #[must_use]
    pub fn meters(&self) -> Meters {
        self.watch.sum()
    }

    /// Goes down: accepts nothing more, says GOODBYE, waits for the answers, and gives up on those that do not come.
    pub async fn stop(self) {
        let Self { closing, listeners, shutdown, threads, reader, watch, wired, hubs, .. } = self;
        watch.enter(Stage::Draining);
        // Listeners are gone before the first GOODBYE, so that a client which comes back at once finds another node.
        closing.send_replace(true);
        for listener in listeners {
            if let Err(error) = listener.await {
                debug!(%error, "a listener had ended before");
            }
        }
        // Before the first GOODBYE: what is acknowledged reaches everybody, and what cannot any more is refused.
        for realm in wired.iter().flat_map(|wired| wired.directory.0.values()) {
            realm.drain();
        }
        hubs.all().iter().for_each(|hub| hub.end_streams());
        shutdown.send_replace(true);
        let joined = tokio::task::spawn_blocking(|| threads.into_iter().map(JoinHandle::join).all(|one| one.is_ok()));
        if !joined.await.unwrap_or(false) {
            debug!("a thread had panicked");
        }
        // Behind the threads, whose sessions may wait for what it reads.
        drop(tokio::task::spawn_blocking(|| reader.stop()).await);
        // Behind the threads: what they still accept is in the log when the hubs look for the last time.
        drop(tokio::task::spawn_blocking(|| hubs.stop()).await);
        let meters = watch.sum();
        let closed = |reason| meters.closed.get(reason);
        info!(
            publications = meters.publications.get(),
            events = meters.events.get(),
            submissions_refused = meters.submissions_refused.get(),
            outbox_full = closed(Reason::OutboxFull),
            ping_timeout = closed(Reason::PingTimeout),
            closed = meters.closed.total(),
            tasks_panicked = meters.tasks_panicked.get(),
            "what this node did"
        );
    }
}

/// One serving thread: a runtime of its own, whose tasks never move. No `LocalSet` stands between it and the tasks: that would
/// be a second queue for each of them to pass.
fn serve_thread(
    incoming: mpsc::Receiver<Incoming>,
    meters: Arc<Meters>,
    clock: Arc<Clock>,
    shutdown: watch::Receiver<bool>,
    seed: u64,
) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(LocalOptions::default())
        .expect("a runtime needs an epoll descriptor, which the process has at its start");
    runtime.block_on(async move {
        let shard = Shard::new(meters, clock, seed);
        task::spawn(&shard, Rc::clone(&shard).flush_turns());
        task::spawn(&shard, Rc::clone(&shard).sweep_sessions());
        task::spawn(&shard, Arc::clone(&shard.turnstile).admit_for_ever());
        serve_arrivals(incoming, &shard, shutdown).await;
        drain(&shard).await;
    });
}

async fn serve_arrivals(
    mut incoming: mpsc::Receiver<Incoming>,
    shard: &Rc<Shard>,
    mut shutdown: watch::Receiver<bool>,
) {
    let down = shutdown.clone();
    loop {
        // The channel ends a moment before the listeners are closed, so only the word itself begins the drain.
        let arrived = tokio::select! {
            Some(arrived) = incoming.recv() => arrived,
            _ = shutdown.wait_for(|down| *down) => return,
        };
        task::spawn(shard, welcome(arrived, Rc::clone(shard), down.clone()));
    }
}

async fn drain(shard: &Rc<Shard>) {
    shard.close_all();
    let empty = async {
        while shard.session_count() > 0 || shard.http_count() > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    if tokio::time::timeout(DRAIN_TIMEOUT, empty).await.is_err() {
        let (sessions, requests) = (shard.session_count(), shard.http_count());
        info!(sessions, requests, "some sessions did not answer the GOODBYE in time, or requests did not end");
    }
}

/// Takes a connection into this thread and serves it. The parts that need room are boxed when somebody speaks, because a
/// crowd of those who do not is the cheapest way to fill a server's memory.
async fn welcome(incoming: Incoming, shard: Rc<Shard>, shutdown: watch::Receiver<bool>) {
    let Incoming { stream, ingress, tls, place } = incoming;
    let remote = Remote { address: stream.address(), tls: tls.is_some() };
    let arrival = match adopt(stream, &ingress, &shard, &shutdown).await {
        Ok(Some(arrival)) => arrival,
        Ok(None) => return,
        Err(error) => return debug!(%error, "a connection ended before it began"),
    };
    let arrival = match (arrival, tls) {
        (Arrival::Plain(stream), Some(acceptor)) => {
            let Some(stream) = Box::pin(secured(stream, &acceptor, ingress.limits.head, &shard)).await else { return };
            Arrival::Owned(stream)
        }
        (arrival, _) => arrival,
    };
    Box::pin(serve(arrival, remote, place, ingress, shard, shutdown)).await;
}

/// The stream on this thread's runtime once something has come on it; nothing where nothing came in time.
async fn adopt(
    stream: Accepted,
    ingress: &Ingress,
    shard: &Shard,
    shutdown: &watch::Receiver<bool>,
) -> std::io::Result<Option<Arrival>> {
    Ok(match stream {
        Accepted::Tcp(stream, _) => {
            let stream = TcpStream::from_std(stream)?;
            heard(stream.readable(), ingress, shard, shutdown.clone()).await.then_some(Arrival::Plain(stream))
        }
        Accepted::Unix(stream) => {
            let stream = UnixStream::from_std(stream)?;
            let heard = heard(stream.readable(), ingress, shard, shutdown.clone()).await;
            heard.then(|| Arrival::Owned(Box::new(stream)))
        }
    })
}

/// The stream behind a TLS handshake, if there is one in time.
async fn secured(
    stream: TcpStream,
    acceptor: &TlsAcceptor,
    timeout: Duration,
    shard: &Shard,
) -> Option<Box<dyn Stream>> {
    match tokio::time::timeout(timeout, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => Some(Box::new(stream)),
        Ok(Err(error)) => {
            shard.meters.closed.count(Reason::TlsFailed);
            debug!(%error, "a TLS handshake failed");
            None
        }
        Err(_) => {
            shard.meters.closed.count(Reason::TlsTimeout);
            debug!("a TLS handshake took too long");
            None
        }
    }
}
