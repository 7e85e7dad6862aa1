//! The endpoints of a hub's subscribers: one thread, one port, an address of the loopback network for each of them.
//!
//! An address each, because a hub treats endpoints of one host as one. Some endpoints may be slow or worse; what arrives at the
//! good ones is timed and checked, and is all that counts as arrived. Deliveries are told apart by their path: the number of the
//! endpoint.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token, Waker};
use socket2::{Domain, Socket, Type};

use crate::clock;
use crate::fault::{Fault, io};
use crate::histogram::Histogram;
use crate::ledger::{Check, Ledger, Tally};
use crate::progress::Progress;
use crate::request::length;
use crate::stamp::Stamp;
use crate::wire::BACKLOG;

const LISTENER: Token = Token(usize::MAX - 1);
const STOP: Token = Token(usize::MAX);

const BUFFER: usize = 64 * 1024;

const ACCEPTED: &[u8] = b"HTTP/1.1 204 No Content\r\n\r\n";
const FAILED: &[u8] = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n";

/// How an endpoint treats deliveries. Questions of the hub are always answered at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Accepts at once.
    Prompt,
    /// Accepts after a while.
    Slow(Duration),
    /// Answers with status 500.
    Failing,
    /// Never answers.
    Hanging,
    /// Answers one octet a second.
    Dripping,
}

/// Endpoints that listen until this is dropped.
#[derive(Debug)]
pub struct Receivers {
    port: u16,
    count: usize,
    prompt: usize,
    shared: Arc<Shared>,
    waker: Waker,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    notes: Mutex<Notes>,
    progress: Arc<Progress>,
    questions: AtomicUsize,
    stop: AtomicBool,
}

/// What the thread has seen.
#[derive(Debug)]
struct Notes {
    latency: Histogram,
    ledger: Ledger,
    connections: u64,
    /// Deliveries that came to endpoints that are not good ones.
    elsewhere: u64,
}

/// The address of an endpoint.
#[must_use]
pub fn address(endpoint: usize, port: u16) -> SocketAddr {
    let octet = |number: usize| u8::try_from(number).expect("below 251");
    SocketAddr::from((Ipv4Addr::new(127, 1, octet(endpoint / 250 % 250), octet(1 + endpoint % 250)), port))
}

impl Receivers {
    /// Listens for so many endpoints that accept everything, and after them one for each of these manners.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn start(prompt: usize, others: &[Manner], sources: usize) -> Result<Self, Fault> {
        let refused = || "the receivers cannot be set up".to_owned();
        let poll = io(Poll::new(), refused)?;
        let waker = io(Waker::new(poll.registry(), STOP), refused)?;
        let mut listener = io(listen(), refused)?;
        let port = io(listener.local_addr(), refused)?.port();
        io(poll.registry().register(&mut listener, LISTENER, Interest::READABLE), refused)?;
        let ledger = Ledger::new(prompt, sources, Check::Dense);
        let notes = Notes { latency: Histogram::default(), ledger, connections: 0, elsewhere: 0 };
        let shared = Arc::new(Shared {
            notes: Mutex::new(notes),
            progress: Arc::default(),
            questions: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
        });
        let mut work = Work {
            listener,
            poll,
            lines: Vec::new(),
            free: Vec::new(),
            prompt,
            others: others.to_vec(),
            due: BinaryHeap::new(),
            buffer: vec![0; BUFFER],
            hint: 0,
            shared: Arc::clone(&shared),
        };
        let builder = std::thread::Builder::new().name("bench-receive".to_owned());
        let thread = io(builder.spawn(move || work.run()), refused)?;
        Ok(Self { port, count: prompt + others.len(), prompt, shared, waker, thread: Some(thread) })
    }

    /// The callback of an endpoint.
    #[must_use]
    pub fn callback(&self, endpoint: usize) -> String {
        format!("http://{}/{endpoint}", address(endpoint, self.port))
    }

    /// The one port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// All endpoints.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.count
    }

    /// Those that accept at once: what is counted and timed.
    #[must_use]
    pub const fn prompt(&self) -> usize {
        self.prompt
    }

    /// What has arrived at the good ones.
    #[must_use]
    pub fn progress(&self) -> &Arc<Progress> {
        &self.shared.progress
    }

    /// Questions of the hub that have been answered.
    #[must_use]
    pub fn questions(&self) -> usize {
        self.shared.questions.load(Ordering::SeqCst)
    }

    /// Waits until so many deliveries have arrived in all; `false` when they have not after this time.
    #[must_use]
    pub fn wait(&self, arrived: u64, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        while self.progress().arrived() < arrived {
            if Instant::now() > deadline {
                return false;
            }
            std::thread::sleep(Duration::from_micros(500));
        }
        true
    }

    /// The latencies since the last call.
    #[must_use]
    pub fn take_latency(&self) -> Histogram {
        std::mem::take(&mut self.shared.notes().latency)
    }

    /// Losses, swaps and duplicates at the good ones, given the last number that each source sent.
    #[must_use]
    pub fn tally(&self, sent: &[u32]) -> Tally {
        self.shared.notes().ledger.tally(sent)
    }

    /// Connections that were opened so far, and deliveries that came to the others.
    #[must_use]
    pub fn traffic(&self) -> (u64, u64) {
        let notes = self.shared.notes();
        (notes.connections, notes.elsewhere)
    }
}

impl Drop for Receivers {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        // If it cannot be woken it has ended already.
        drop(self.waker.wake());
        drop(self.thread.take().map(JoinHandle::join));
    }
}

impl Shared {
    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn listen() -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)).into())?;
    socket.listen(BACKLOG.cast_signed())?;
    socket.set_nonblocking(true)?;
    Ok(TcpListener::from_std(socket.into()))
}

/// One connection of the hub.
struct Line {
    tcp: TcpStream,
    input: Vec<u8>,
    /// Tells a connection from the one that had its place before.
    serial: u64,
}

/// An answer, or a piece of one, that is not given yet.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Due {
    at: Instant,
    line: usize,
    serial: u64,
    /// Octets of the answer that were given already, for those that drip.
    given: usize,
    drips: bool,
}

/// What the thread owns.
struct Work {
    listener: TcpListener,
    poll: Poll,
    lines: Vec<Option<Line>>,
    free: Vec<usize>,
    prompt: usize,
    others: Vec<Manner>,
    due: BinaryHeap<Reverse<Due>>,
    buffer: Vec<u8>,
    hint: usize,
    shared: Arc<Shared>,
}

impl Work {
    fn run(&mut self) {
        let shared = Arc::clone(&self.shared);
        let mut events = Events::with_capacity(1024);
        while !shared.stop.load(Ordering::SeqCst) {
            let wait = self.due.peek().map(|Reverse(due)| due.at.saturating_duration_since(Instant::now()));
            if let Err(error) = self.poll.poll(&mut events, wait)
                && error.kind() != io::ErrorKind::Interrupted
            {
                return;
            }
            let mut notes = shared.notes();
            let mut arrived = 0;
            for event in &events {
                match event.token() {
                    STOP => {}
                    LISTENER => self.accept(&mut notes),
                    Token(at) => arrived += self.drain(at, &mut notes),
                }
            }
            drop(notes);
            shared.progress.add(arrived);
            self.answer_due();
        }
    }

    fn accept(&mut self, notes: &mut Notes) {
        // Whatever the reason is why there is no further one, the next readiness tells.
        while let Ok((mut tcp, _)) = self.listener.accept() {
            let at = self.free.pop().unwrap_or_else(|| {
                self.lines.push(None);
                self.lines.len() - 1
            });
            notes.connections += 1;
            if tcp
                .set_nodelay(true)
                .and_then(|()| self.poll.registry().register(&mut tcp, Token(at), Interest::READABLE))
                .is_ok()
            {
                self.lines[at] = Some(Line { tcp, input: Vec::new(), serial: notes.connections });
            } else {
                self.free.push(at);
            }
        }
    }

    /// Reads all that a connection has, and gives the number of deliveries that count.
    fn drain(&mut self, at: usize, notes: &mut Notes) -> u64 {
        let Some(mut line) = self.lines.get_mut(at).and_then(Option::take) else { return 0 };
        let mut arrived = 0;
        loop {
            match line.tcp.read(&mut self.buffer) {
                Ok(count) if count > 0 => {
                    let input = &self.buffer[..count];
                    // Nearly always one read is one request, and then nothing is copied.
                    let is_whole = count < self.buffer.len();
                    let mut read = Reading {
                        prompt: self.prompt,
                        others: &self.others,
                        due: &mut self.due,
                        hint: &mut self.hint,
                        shared: &self.shared,
                        notes,
                        at,
                        arrived: 0,
                    };
                    if line.input.is_empty() {
                        let used = read.walk(input, &mut line.tcp, line.serial);
                        line.input.extend_from_slice(&input[used..]);
                    } else {
                        line.input.extend_from_slice(input);
                        let all = std::mem::take(&mut line.input);
                        let used = read.walk(&all, &mut line.tcp, line.serial);
                        line.input.extend_from_slice(&all[used..]);
                    }
                    arrived += read.arrived;
                    if is_whole {
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Ok(_) | Err(_) => {
                    self.free.push(at);
                    return arrived;
                }
            }
        }
        self.lines[at] = Some(line);
        arrived
    }

    /// Gives the answers whose time has come.
    fn answer_due(&mut self) {
        let now = Instant::now();
        while self.due.peek().is_some_and(|Reverse(due)| due.at <= now) {
            let Some(Reverse(due)) = self.due.pop() else { return };
            let line = self.lines.get_mut(due.line).and_then(Option::as_mut).filter(|line| line.serial == due.serial);
            let Some(line) = line else { continue };
            if !due.drips {
                say(&mut line.tcp, ACCEPTED);
            } else if let Some(&octet) = ACCEPTED.get(due.given) {
                say(&mut line.tcp, &[octet]);
                self.due.push(Reverse(Due { at: now + Duration::from_secs(1), given: due.given + 1, ..due }));
            }
        }
    }
}

/// An answer of a few octets fits into the socket of a hub that waits for it; one that has gone needs none.
fn say(tcp: &mut TcpStream, answer: &[u8]) {
    drop(tcp.write(answer));
}

/// One read of one connection.
struct Reading<'a> {
    prompt: usize,
    others: &'a [Manner],
    due: &'a mut BinaryHeap<Reverse<Due>>,
    hint: &'a mut usize,
    shared: &'a Shared,
    notes: &'a mut Notes,
    at: usize,
    arrived: u64,
}

impl Reading<'_> {
    /// Answers the requests that are whole, and gives the number of octets that they had.
    fn walk(&mut self, input: &[u8], tcp: &mut TcpStream, serial: u64) -> usize {
        let mut used = 0;
        while let Some(end) = input[used..].windows(4).position(|four| four == b"\r\n\r\n") {
            let head = &input[used..used + end + 4];
            let body = used + end + 4;
            let length = length(head).unwrap_or(0);
            if input.len() < body + length {
                break;
            }
            if let Some(challenge) = challenge(head) {
                let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{challenge}", challenge.len());
                say(tcp, answer.as_bytes());
                self.shared.questions.fetch_add(1, Ordering::SeqCst);
            } else {
                self.delivery(head, &input[body..body + length], tcp, serial);
            }
            used = body + length;
        }
        used
    }

    fn delivery(&mut self, head: &[u8], body: &[u8], tcp: &mut TcpStream, serial: u64) {
        let digits = head.strip_prefix(b"POST /").unwrap_or_default().iter().take_while(|octet| octet.is_ascii_digit());
        let endpoint = digits.fold(0, |number, digit| number * 10 + usize::from(digit - b'0'));
        if endpoint < self.prompt {
            say(tcp, ACCEPTED);
            if let Some(stamp) = Stamp::find(body, self.hint) {
                self.notes.latency.record(stamp.age(clock::now()));
                self.notes.ledger.arrived(endpoint, stamp.source, stamp.sequence);
                self.arrived += 1;
            }
            return;
        }
        self.notes.elsewhere += 1;
        let mut later = |wait, drips| {
            self.due.push(Reverse(Due { at: Instant::now() + wait, line: self.at, serial, given: 0, drips }));
        };
        match self.others.get(endpoint - self.prompt).copied().unwrap_or(Manner::Prompt) {
            Manner::Prompt => say(tcp, ACCEPTED),
            Manner::Failing => say(tcp, FAILED),
            Manner::Slow(wait) => later(wait, false),
            Manner::Dripping => later(Duration::from_secs(1), true),
            Manner::Hanging => {}
        }
    }
}

/// What a question of the hub wants to have repeated.
fn challenge(head: &[u8]) -> Option<&str> {
    let line = head.strip_prefix(b"GET ")?.split(|octet| *octet == b'\r').next()?;
    let target = std::str::from_utf8(line).ok()?.split(' ').next()?;
    target.split(['?', '&']).find_map(|pair| pair.strip_prefix("hub.challenge="))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_found() {
        let head = b"GET /7?hub.mode=subscribe&hub.challenge=abc&hub.topic=x HTTP/1.1\r\nHost: a\r\n\r\n";
        assert_eq!(challenge(head), Some("abc"));
        assert_eq!(challenge(b"POST /7 HTTP/1.1\r\n\r\n"), None);
    }

    #[test]
    fn endpoints_have_addresses_of_their_own() {
        let all: std::collections::HashSet<_> = (0..1000).map(|endpoint| address(endpoint, 80)).collect();
        assert_eq!(all.len(), 1000);
    }

    #[test]
    fn deliveries_are_counted_where_they_count() {
        let receivers =
            Receivers::start(1, &[Manner::Failing, Manner::Slow(Duration::from_millis(1))], 1).expect("a port");
        let mut tcp = std::net::TcpStream::connect(address(0, receivers.port())).expect("it listens");
        tcp.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket");
        let mut body = [b'x'; 20];
        Stamp { source: 0, sequence: 1, time: 0 }.write(&mut body);
        for (endpoint, status) in [(0, "204"), (1, "500"), (2, "204")] {
            let head = format!("POST /{endpoint} HTTP/1.1\r\ncontent-length: {}\r\n\r\n", body.len());
            let request = [head.as_bytes(), &body].concat();
            // In two pieces, which may or may not be read together.
            tcp.write_all(&request[..30]).and_then(|()| tcp.write_all(&request[30..])).expect("a socket");
            let mut answer = [0; 256];
            let count = tcp.read(&mut answer).expect("an answer");
            assert_eq!(std::str::from_utf8(&answer[9..12]), Ok(status), "{count}");
        }
        assert!(receivers.wait(1, Duration::from_secs(20)));
        assert_eq!((receivers.tally(&[1]), receivers.traffic()), (Tally::default(), (1, 2)));
        assert_eq!(receivers.tally(&[2]).lost, 1);
    }
}
