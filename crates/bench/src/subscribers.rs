//! Subscribers: many sessions, read by one thread or a few.
//!
//! The generator shares the processors with the server it measures, so this is the place where nothing may be wasted: one
//! large buffer for all sessions of a thread, one read for each readiness, one look at the clock for each read, and no
//! allocation for an event.

use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};

use crate::clock;
use crate::dialect::Subscription;
use crate::fault::{Fault, io};
use crate::frame::{self, Frame};
use crate::histogram::Histogram;
use crate::inflate::Inflate;
use crate::ledger::{Check, Ledger, Tally};
use crate::progress::Progress;
use crate::session::{self, Session, Target};
use crate::stamp::Stamp;

/// What one read takes at most: more than a socket buffer usually holds.
const BUFFER: usize = 256 * 1024;

/// Reads between two reports of progress.
const READS_PER_REPORT: u32 = 64;

const STOP: Token = Token(usize::MAX);

/// How sessions are read and checked.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    /// Threads that read.
    pub threads: usize,
    /// Connections that publish.
    pub sources: usize,
    /// How numbers are compared.
    pub check: Check,
    /// The number of the first session, where other generators have opened some.
    pub offset: usize,
}

impl Reading {
    /// One thread, every subscriber gets everything.
    #[must_use]
    pub const fn of(sources: usize) -> Self {
        Self { threads: 1, sources, check: Check::Dense, offset: 0 }
    }
}

/// Sessions that receive events until they are closed.
#[derive(Debug)]
pub struct Subscribers {
    readers: Vec<Reader>,
    progress: Arc<Progress>,
    sessions: usize,
}

#[derive(Debug)]
struct Reader {
    thread: Option<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
    waker: Waker,
    notes: Arc<Mutex<Notes>>,
}

/// What a thread has seen.
#[derive(Debug)]
struct Notes {
    latency: Histogram,
    ledger: Ledger,
    closed: u64,
}

impl Subscribers {
    /// Opens one session for each list of subscriptions and begins to read.
    ///
    /// # Errors
    /// When a session cannot be opened.
    pub fn open(target: &Target, wanted: &[Vec<Subscription>], reading: Reading) -> Result<Self, Fault> {
        let mut subscribers = Self::none();
        subscribers.add(target, wanted, reading)?;
        Ok(subscribers)
    }

    /// No session yet.
    #[must_use]
    pub fn none() -> Self {
        Self { readers: Vec::new(), progress: Arc::new(Progress::default()), sessions: 0 }
    }

    /// Opens more, perhaps with another target; they get threads of their own.
    ///
    /// # Errors
    /// When a session cannot be opened.
    pub fn add(&mut self, target: &Target, wanted: &[Vec<Subscription>], reading: Reading) -> Result<(), Fault> {
        let mut sessions = session::open(target, wanted, reading.offset + self.sessions)?;
        self.sessions += sessions.len();
        let share = sessions.len().div_ceil(reading.threads.max(1)).max(1);
        while !sessions.is_empty() {
            let rest = sessions.split_off(share.min(sessions.len()));
            let mine = std::mem::replace(&mut sessions, rest);
            self.readers.push(start(mine, reading, Arc::clone(&self.progress))?);
        }
        Ok(())
    }

    /// How many sessions there are.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.sessions
    }

    /// How much has arrived.
    #[must_use]
    pub fn progress(&self) -> &Arc<Progress> {
        &self.progress
    }

    /// Waits until so many events have arrived in all; `false` when they have not after this time.
    #[must_use]
    pub fn wait(&self, arrived: u64, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        while self.progress.arrived() < arrived {
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
        let mut all = Histogram::default();
        for reader in &self.readers {
            all.merge(&std::mem::take(&mut lock(&reader.notes).latency));
        }
        all
    }

    /// Losses, swaps and duplicates up to now, given the last number that each source sent.
    #[must_use]
    pub fn tally(&self, sent: &[u32]) -> Tally {
        let mut all = Tally::default();
        for reader in &self.readers {
            let notes = lock(&reader.notes);
            all.add(&notes.ledger.tally(sent));
            all.closed += notes.closed;
        }
        all
    }
}

impl Drop for Subscribers {
    fn drop(&mut self) {
        for reader in &mut self.readers {
            reader.stop.store(true, Ordering::SeqCst);
            // If it cannot be woken it has ended already.
            drop(reader.waker.wake());
            drop(reader.thread.take().map(JoinHandle::join));
        }
    }
}

fn lock(notes: &Mutex<Notes>) -> MutexGuard<'_, Notes> {
    notes.lock().unwrap_or_else(PoisonError::into_inner)
}

fn start(sessions: Vec<Session>, reading: Reading, progress: Arc<Progress>) -> Result<Reader, Fault> {
    let refused = || "the readers cannot be set up".to_owned();
    let poll = io(Poll::new(), refused)?;
    let waker = io(Waker::new(poll.registry(), STOP), refused)?;
    let ledger = Ledger::new(sessions.len(), reading.sources, reading.check);
    let notes = Arc::new(Mutex::new(Notes { latency: Histogram::default(), ledger, closed: 0 }));
    let stop = Arc::new(AtomicBool::new(false));
    for (at, session) in sessions.iter().enumerate() {
        io(session.wire.stop_blocking(), refused)?;
        let descriptor = session.wire.descriptor();
        io(poll.registry().register(&mut SourceFd(&descriptor), Token(at), Interest::READABLE), refused)?;
    }
    let mut work = Work { scan: Scan::default(), buffer: vec![0; BUFFER], sessions, progress };
    let thread = {
        let (notes, stop) = (Arc::clone(&notes), Arc::clone(&stop));
        let builder = std::thread::Builder::new().name("bench-read".to_owned());
        io(builder.spawn(move || work.run(poll, &notes, &stop)), refused)?
    };
    Ok(Reader { thread: Some(thread), stop, waker, notes })
}

/// What a reading thread owns.
struct Work {
    sessions: Vec<Session>,
    buffer: Vec<u8>,
    scan: Scan,
    progress: Arc<Progress>,
}

impl Work {
    fn run(&mut self, mut poll: Poll, notes: &Mutex<Notes>, stop: &AtomicBool) {
        let mut events = Events::with_capacity(1024);
        // Events that came with the answers to SUBSCRIBE are already here, and no readiness tells of them.
        for at in 0..self.sessions.len() {
            let mut notes = lock(notes);
            let arrived = self.leftover(at, &mut notes) + self.drain(at, &mut notes);
            self.progress.add(arrived);
        }
        while !stop.load(Ordering::SeqCst) {
            if let Err(error) = poll.poll(&mut events, None)
                && error.kind() != io::ErrorKind::Interrupted
            {
                return;
            }
            let mut notes = lock(notes);
            let (mut reads, mut arrived) = (0, 0);
            for event in events.iter().filter(|event| event.token() != STOP) {
                arrived += self.drain(event.token().0, &mut notes);
                reads += 1;
                if reads == READS_PER_REPORT {
                    self.progress.add(std::mem::take(&mut arrived));
                    reads = 0;
                }
            }
            self.progress.add(arrived);
        }
    }

    /// What was read while the session was being opened.
    fn leftover(&mut self, at: usize, notes: &mut Notes) -> u64 {
        let session = &mut self.sessions[at];
        let input = std::mem::take(&mut session.rest);
        let mut read = Arrivals { session: at, now: clock::now(), notes, scan: &mut self.scan, pong: Vec::new() };
        read.feed(&mut session.rest, &input)
    }

    /// Reads all that a session has, and gives the number of events.
    fn drain(&mut self, at: usize, notes: &mut Notes) -> u64 {
        let session = &mut self.sessions[at];
        let mut arrived = 0;
        loop {
            let count = match session.wire.read(&mut self.buffer) {
                Ok(count) if count > 0 => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // The end of the stream, or of the connection.
                Ok(_) | Err(_) => {
                    notes.closed += u64::from(!std::mem::replace(&mut session.ended, true));
                    break;
                }
            };
            let input = &self.buffer[..count];
            let mut read = Arrivals { session: at, now: clock::now(), notes, scan: &mut self.scan, pong: Vec::new() };
            arrived += read.feed(&mut session.rest, input);
            if !read.pong.is_empty() {
                // A session whose answer does not fit into an idle socket is about to be closed, which is counted.
                drop(session.wire.write(&read.pong));
            }
            if count < self.buffer.len() && session.wire.short_read_drains() {
                break;
            }
        }
        arrived
    }
}

/// What finding stamps needs from one message to the next.
#[derive(Default)]
struct Scan {
    hint: usize,
    inflate: Inflate,
}

impl Scan {
    fn find(&mut self, frame: &Frame<'_>) -> Option<Stamp> {
        let message = if frame.compressed { self.inflate.message(frame.payload)? } else { frame.payload };
        Stamp::find(message, &mut self.hint)
    }
}

/// One read of one session.
struct Arrivals<'a> {
    session: usize,
    now: u64,
    notes: &'a mut Notes,
    scan: &'a mut Scan,
    pong: Vec<u8>,
}

impl Arrivals<'_> {
    fn feed(&mut self, rest: &mut Vec<u8>, input: &[u8]) -> u64 {
        if rest.is_empty() {
            let (arrived, used) = self.walk(input);
            rest.extend_from_slice(&input[used..]);
            return arrived;
        }
        rest.extend_from_slice(input);
        let (arrived, used) = self.walk(rest);
        rest.drain(..used);
        arrived
    }

    fn walk(&mut self, input: &[u8]) -> (u64, usize) {
        let (mut arrived, mut used) = (0, 0);
        while let Some((frame, length)) = frame::first(&input[used..]) {
            used += length;
            match frame.opcode {
                frame::TEXT | frame::BINARY => {
                    let Some(stamp) = self.scan.find(&frame) else { continue };
                    self.notes.latency.record(stamp.age(self.now));
                    self.notes.ledger.arrived(self.session, stamp.source, stamp.sequence);
                    arrived += 1;
                }
                frame::PING => frame::append(frame::PONG, frame.payload, &mut self.pong),
                // A Close frame is followed by the end of the stream, which is counted.
                _ => {}
            }
        }
        (arrived, used)
    }
}
