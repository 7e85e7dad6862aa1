//! Subscribers that ask again as soon as they have an answer: a closed loop over kept connections.
//!
//! One thread, the caller's, as everywhere in this crate, so that the generator takes as little of the machine as it can.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

use crate::clock;
use crate::fault::{Fault, io};
use crate::histogram::Histogram;
use crate::request::{Answer, answer};
use crate::wire::Wire;

/// Without any answer for so long, a run has failed.
const STALL: Duration = Duration::from_secs(10);

/// The status of a verdict that refuses.
pub(super) const REFUSAL: u16 = 403;

/// Connections that ask the same.
#[derive(Debug)]
pub struct Askers {
    poll: Poll,
    lines: Vec<Line>,
    request: Vec<u8>,
}

/// One connection, with one request under way.
#[derive(Debug)]
struct Line {
    wire: Wire,
    began: u64,
    input: Vec<u8>,
}

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Asked {
    /// From the first question to the last answer.
    pub elapsed: Duration,
    /// What each answer took.
    pub waits: Histogram,
}

/// The status of an answer.
pub(super) fn status(input: &[u8]) -> Option<u16> {
    std::str::from_utf8(input.get(9..12)?).ok()?.parse().ok()
}

impl Askers {
    /// Opens so many connections.
    ///
    /// # Errors
    /// When the server does not take them.
    pub fn connect(to: SocketAddr, count: usize, request: Vec<u8>) -> Result<Self, Fault> {
        let refused = || "the askers cannot be set up".to_owned();
        let poll = io(Poll::new(), refused)?;
        let mut lines = Vec::with_capacity(count);
        for at in 0..count {
            let wire = Wire::connect(to, Ipv4Addr::LOCALHOST, None)?;
            io(wire.stop_blocking(), refused)?;
            let descriptor = wire.descriptor();
            io(poll.registry().register(&mut SourceFd(&descriptor), Token(at), Interest::READABLE), refused)?;
            lines.push(Line { wire, began: 0, input: Vec::new() });
        }
        Ok(Self { poll, lines, request })
    }

    /// Asks for so long. Every answer has to be a refusal.
    ///
    /// # Errors
    /// When one is not, or when nothing happens for too long.
    pub fn run(&mut self, time: Duration) -> Result<Asked, Fault> {
        let (begin, mut heard) = (Instant::now(), Instant::now());
        let mut asked = Asked { elapsed: Duration::ZERO, waits: Histogram::default() };
        let mut open = self.lines.len();
        self.lines.iter_mut().try_for_each(|line| line.ask(&self.request))?;
        let mut events = Events::with_capacity(self.lines.len());
        while open > 0 {
            match self.poll.poll(&mut events, Some(STALL)) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => io(other, || "waiting for answers failed".to_owned())?,
            }
            for event in &events {
                let line = &mut self.lines[event.token().0];
                if !line.is_answered()? {
                    continue;
                }
                heard = Instant::now();
                asked.waits.record(clock::now().saturating_sub(line.began));
                if begin.elapsed() < time {
                    line.ask(&self.request)?;
                } else {
                    open -= 1;
                }
            }
            if heard.elapsed() > STALL {
                return Err(Fault::Stalled(format!("there was no answer for {STALL:?}")));
            }
        }
        asked.elapsed = begin.elapsed();
        Ok(asked)
    }
}

impl Line {
    /// A request is far smaller than the buffer of a socket that has just been emptied.
    fn ask(&mut self, request: &[u8]) -> Result<(), Fault> {
        self.began = clock::now();
        io(self.wire.write_all(request), || "a question cannot be sent".to_owned())
    }

    fn is_answered(&mut self) -> Result<bool, Fault> {
        let mut buffer = [0; 4096];
        loop {
            match self.wire.read(&mut buffer) {
                Ok(0) => return Err(Fault::Protocol("the server ended a connection that asks".to_owned())),
                Ok(count) => self.input.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Fault::Io("a question got no answer".to_owned(), error)),
            }
            if answer(&self.input) == Answer::Incomplete {
                continue;
            }
            if status(&self.input) != Some(REFUSAL) {
                let words = String::from_utf8_lossy(&self.input).into_owned();
                return Err(Fault::Protocol(format!("a question got another answer: {words}")));
            }
            // One request is under way, so that nothing follows its answer.
            self.input.clear();
            return Ok(true);
        }
    }
}
