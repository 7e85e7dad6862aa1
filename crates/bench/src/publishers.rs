//! Publishers: POSTs over kept connections, as fast as a window allows or at a fixed rate.
//!
//! One thread, the caller's. A connection has one request under way; the numbers that it stamps on its publications
//! therefore have to arrive in their order. Requests are one buffer in which only the stamp changes.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};

use crate::clock;
use crate::fault::{Fault, io};
use crate::histogram::Histogram;
use crate::progress::Progress;
use crate::request::{Answer, Template, answer};
use crate::stamp::{SOURCES_MAX, Stamp};
use crate::wire::Wire;

/// Without any answer or arrival for so long, a run has failed.
const STALL: Duration = Duration::from_secs(10);

/// The wait for readiness counts in milliseconds, so one is nothing to complain about.
const LATE: Duration = Duration::from_millis(2);

const WAKE: Token = Token(usize::MAX);

/// How fast to publish.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// As fast as answers come, while at most so many publications have not yet reached everybody.
    Window(u64),
    /// So many each second, evenly spaced, whatever comes back.
    Rate(f64),
}

/// When to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// After this time.
    Elapsed(Duration),
    /// After so many publications.
    Published(u64),
}

/// Who hears the publications.
#[derive(Clone, Debug)]
pub struct Audience {
    /// What the subscribers report.
    pub progress: Arc<Progress>,
    /// Arrivals that each publication causes; 0 when nobody listens, and then a window has no effect.
    pub events_per_publication: u64,
}

/// What a run sent.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sent {
    /// Publications, all of them answered with a success.
    pub publications: u64,
    /// From the first POST to the last answer.
    pub elapsed: Duration,
    /// Publications of a fixed rate that began late: by more than a turn of the system timer.
    pub late: u64,
}

/// How far each source is, for whoever reads along from another thread.
#[derive(Debug)]
pub struct Marks {
    begun: Vec<AtomicU32>,
    answered: Vec<AtomicU32>,
}

impl Marks {
    fn new(sources: usize) -> Self {
        let zeros = || (0..sources).map(|_| AtomicU32::new(0)).collect();
        Self { begun: zeros(), answered: zeros() }
    }

    /// The last number of each source whose POST has begun. A higher one begins after this call.
    #[must_use]
    pub fn begun(&self) -> Vec<u32> {
        self.begun.iter().map(|mark| mark.load(Ordering::SeqCst)).collect()
    }

    /// The last number of each source whose POST has been answered with a success.
    #[must_use]
    pub fn answered(&self) -> Vec<u32> {
        self.answered.iter().map(|mark| mark.load(Ordering::SeqCst)).collect()
    }
}

/// Connections that publish.
#[derive(Debug)]
pub struct Publishers {
    marks: Arc<Marks>,
    poll: Poll,
    waker: Arc<Waker>,
    lines: Vec<Line>,
    idle: VecDeque<usize>,
    template: Template,
    buffer: Vec<u8>,
    answers: Histogram,
}

/// One connection.
#[derive(Debug)]
struct Line {
    wire: Wire,
    sequence: u32,
    /// When its POST began.
    began: u64,
    /// What did not fit into the socket.
    output: VecDeque<u8>,
    input: Vec<u8>,
}

impl Publishers {
    /// Opens so many connections.
    ///
    /// # Errors
    /// When the server does not take them.
    pub fn connect(to: SocketAddr, connections: usize, template: Template) -> Result<Self, Fault> {
        assert!((1..=SOURCES_MAX).contains(&connections), "a stamp has room for {SOURCES_MAX} sources");
        let refused = || "the publishers cannot be set up".to_owned();
        let poll = io(Poll::new(), refused)?;
        let waker = Arc::new(io(Waker::new(poll.registry(), WAKE), refused)?);
        let mut lines = Vec::with_capacity(connections);
        for at in 0..connections {
            let wire = Wire::connect(to, Ipv4Addr::LOCALHOST, None)?;
            io(wire.stop_blocking(), refused)?;
            let descriptor = wire.descriptor();
            let interest = Interest::READABLE | Interest::WRITABLE;
            io(poll.registry().register(&mut SourceFd(&descriptor), Token(at), interest), refused)?;
            lines.push(Line { wire, sequence: 0, began: 0, output: VecDeque::new(), input: Vec::new() });
        }
        let idle = (0..connections).collect();
        let marks = Arc::new(Marks::new(connections));
        let (buffer, answers) = (vec![0; 16 * 1024], Histogram::default());
        Ok(Self { marks, poll, waker, lines, idle, template, buffer, answers })
    }

    /// The last number of each source.
    #[must_use]
    pub fn sent(&self) -> Vec<u32> {
        self.lines.iter().map(|line| line.sequence).collect()
    }

    /// How far each source is, also while [`Publishers::run`] runs.
    #[must_use]
    pub const fn marks(&self) -> &Arc<Marks> {
        &self.marks
    }

    /// How long answers took since the last call, from the start of the POST.
    pub fn take_answers(&mut self) -> Histogram {
        std::mem::take(&mut self.answers)
    }

    /// Publishes; all requests are answered when this returns, but events may still be on their way.
    ///
    /// # Errors
    /// When a request is refused, or when nothing happens for too long.
    pub fn run(&mut self, pace: Pace, until: Until, audience: &Audience) -> Result<Sent, Fault> {
        audience.progress.attach(Arc::clone(&self.waker));
        let begin = Instant::now();
        let base = audience.progress.arrived();
        let mut run = Run { pace, until, audience, begin, base, sent: Sent::default(), heard: (begin, base) };
        let mut events = Events::with_capacity(SOURCES_MAX + 1);
        loop {
            while !self.idle.is_empty() && run.may_publish() {
                self.publish()?;
                run.published();
            }
            if run.is_over() && self.idle.len() == self.lines.len() {
                run.sent.elapsed = begin.elapsed();
                return Ok(run.sent);
            }
            // A full window asks to be woken; it is looked at once more, because it may have opened meanwhile.
            if !self.idle.is_empty() && !run.is_over() && !run.waits_for_window() && run.until_next().is_none() {
                continue;
            }
            let timeout = run.until_next().unwrap_or(Duration::from_millis(500));
            match self.poll.poll(&mut events, Some(timeout)) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => io(other, || "waiting for answers failed".to_owned())?,
            }
            let mut answers = 0;
            for event in events.iter().filter(|event| event.token() != WAKE) {
                answers += self.ready(event.token().0)?;
            }
            run.watch(answers, self.lines.len() - self.idle.len())?;
        }
    }

    fn publish(&mut self) -> Result<(), Fault> {
        let Some(at) = self.idle.pop_front() else { return Ok(()) };
        let line = &mut self.lines[at];
        line.sequence += 1;
        self.marks.begun[at].store(line.sequence, Ordering::SeqCst);
        let source = u8::try_from(at).expect("fewer than SOURCES_MAX");
        line.began = clock::now();
        let request = self.template.fill(Stamp { source, sequence: line.sequence, time: line.began });
        match line.wire.write(request) {
            Ok(count) => line.output.extend(&request[count..]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => line.output.extend(request),
            Err(error) => return Err(Fault::Io("a POST cannot be sent".to_owned(), error)),
        }
        if line.output.is_empty() { Ok(()) } else { line.flush() }
    }

    /// Goes on with a connection; gives the number of answers, 0 or 1.
    fn ready(&mut self, at: usize) -> Result<u64, Fault> {
        let line = &mut self.lines[at];
        if !line.output.is_empty() {
            line.flush()?;
        }
        let mut answers = 0;
        loop {
            let count = match line.wire.read(&mut self.buffer) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Fault::Io("a POST got no answer".to_owned(), error)),
            };
            if count == 0 {
                return Err(Fault::Protocol("the server ended a connection that publishes".to_owned()));
            }
            line.input.extend_from_slice(&self.buffer[..count]);
            match answer(&line.input) {
                Answer::Incomplete => {}
                Answer::Success(length) => {
                    line.input.drain(..length);
                    self.marks.answered[at].store(line.sequence, Ordering::SeqCst);
                    self.answers.record(clock::now().saturating_sub(line.began));
                    self.idle.push_back(at);
                    answers += 1;
                }
                Answer::Refusal(words) => return Err(Fault::Protocol(format!("a POST was refused: {words}"))),
            }
            if count < self.buffer.len() {
                break;
            }
        }
        Ok(answers)
    }
}

impl Line {
    fn flush(&mut self) -> Result<(), Fault> {
        while !self.output.is_empty() {
            let (front, _) = self.output.as_slices();
            match self.wire.write(front) {
                Ok(count) => drop(self.output.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(Fault::Io("a POST cannot be sent".to_owned(), error)),
            }
        }
        Ok(())
    }
}

/// The state of one call of [`Publishers::run`].
struct Run<'a> {
    pace: Pace,
    until: Until,
    audience: &'a Audience,
    begin: Instant,
    /// Arrivals before the run.
    base: u64,
    sent: Sent,
    /// When something happened last, and how much had arrived then.
    heard: (Instant, u64),
}

impl Run<'_> {
    fn is_over(&self) -> bool {
        match self.until {
            Until::Elapsed(time) => self.begin.elapsed() >= time,
            Until::Published(count) => self.sent.publications >= count,
        }
    }

    fn may_publish(&self) -> bool {
        !self.is_over() && self.window_is_open() && self.until_next().is_none_or(|wait| wait.is_zero())
    }

    /// Arrivals after which the window has room again.
    fn wanted(&self, window: u64) -> u64 {
        let owed = (self.sent.publications + 1).saturating_sub(window);
        self.base + owed * self.audience.events_per_publication
    }

    fn window_is_open(&self) -> bool {
        match self.pace {
            Pace::Window(window) => self.audience.progress.arrived() >= self.wanted(window),
            Pace::Rate(_) => true,
        }
    }

    /// Asks to be woken when the window opens; `false` when it is open.
    fn waits_for_window(&self) -> bool {
        match self.pace {
            Pace::Window(window) => self.audience.progress.wake_at(self.wanted(window)),
            Pace::Rate(_) => false,
        }
    }

    /// The time until the next publication of a fixed rate.
    fn until_next(&self) -> Option<Duration> {
        let Pace::Rate(rate) = self.pace else { return None };
        let due = Duration::from_secs_f64(self.sent.publications as f64 / rate);
        Some(due.saturating_sub(self.begin.elapsed()))
    }

    fn published(&mut self) {
        if let Pace::Rate(rate) = self.pace {
            let due = Duration::from_secs_f64(self.sent.publications as f64 / rate);
            self.sent.late += u64::from(self.begin.elapsed().saturating_sub(due) > LATE);
        }
        self.sent.publications += 1;
    }

    fn watch(&mut self, answers: u64, under_way: usize) -> Result<(), Fault> {
        let arrived = self.audience.progress.arrived();
        // A fixed rate may be so slow that nothing is under way for long.
        let rests = under_way == 0 && matches!(self.pace, Pace::Rate(_));
        if answers > 0 || arrived > self.heard.1 || rests {
            self.heard = (Instant::now(), arrived);
        } else if self.heard.0.elapsed() > STALL {
            let expected = self.base + self.sent.publications * self.audience.events_per_publication;
            return Err(Fault::Stalled(format!(
                "nothing happened for {STALL:?}: {} publications, {} of {expected} events arrived",
                self.sent.publications, arrived
            )));
        }
        Ok(())
    }
}
