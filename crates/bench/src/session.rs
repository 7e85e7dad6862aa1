//! A session: upgraded, joined and subscribed, up to the point where events come.
//!
//! Many are opened together, each step for all of them before the next, so that ten thousand take seconds and nothing
//! here is more than a blocking read.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use rustls::ClientConfig;

use crate::dialect::{Dialect, Serializer, Subscription};
use crate::fault::{Fault, io};
use crate::frame::{self, first};
use crate::inflate::Inflate;
use crate::wire::{Wire, source};

/// Sessions that are opened together: below every backlog.
const TOGETHER: usize = 100;

/// Subscriptions asked for before their answers are read.
const SUBSCRIPTIONS_TOGETHER: usize = 500;

/// Where sessions go and what they speak.
#[derive(Clone, Debug)]
pub struct Target {
    /// The server.
    pub address: SocketAddr,
    /// The path of the WebSocket.
    pub path: String,
    /// The realm to join, where there are realms.
    pub realm: String,
    /// What is spoken.
    pub dialect: Dialect,
    /// Whether permessage-deflate is offered.
    pub deflate: Deflate,
    /// How to trust the server, for `wss`.
    pub tls: Option<Arc<ClientConfig>>,
}

/// Whether compression is offered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Deflate {
    /// Frames stay as they are.
    #[default]
    Off,
    /// The server may compress, without keeping a context.
    Offered,
}

/// A session that receives events.
#[derive(Debug)]
pub struct Session {
    pub(crate) wire: Wire,
    /// What has been read and not yet been used: an unfinished frame.
    pub(crate) rest: Vec<u8>,
    /// The server has ended it.
    pub(crate) ended: bool,
}

/// Opens one session for each list of subscriptions. `offset` counts sessions of other generators, so that source
/// addresses are not used up.
///
/// # Errors
/// When the server refuses one of them.
pub fn open(target: &Target, wanted: &[Vec<Subscription>], offset: usize) -> Result<Vec<Session>, Fault> {
    let mut sessions = Vec::with_capacity(wanted.len());
    let mut keeper = Keeper::new()?;
    for (group, wanted) in wanted.chunks(TOGETHER).enumerate() {
        let first = offset + group * TOGETHER;
        sessions.extend(open_group(target, wanted, first)?);
        keeper.keep(&mut sessions)?;
    }
    Ok(sessions)
}

/// Answers the pings of sessions that are open while others are still being opened: for ten thousand that takes longer
/// than a server waits for an answer.
struct Keeper {
    poll: Poll,
    events: Events,
    registered: usize,
}

impl Keeper {
    fn new() -> Result<Self, Fault> {
        let poll = io(Poll::new(), || "sessions cannot be watched".to_owned())?;
        Ok(Self { poll, events: Events::with_capacity(1024), registered: 0 })
    }

    /// Reads what has come, and answers what are pings. What else there is waits for the reader.
    fn keep(&mut self, sessions: &mut [Session]) -> Result<(), Fault> {
        let refused = || "sessions cannot be watched".to_owned();
        for (at, session) in sessions.iter_mut().enumerate().skip(self.registered) {
            // What came together with an answer is read already, and no readiness tells of it.
            session.answer_pings()?;
            let descriptor = session.wire.descriptor();
            io(self.poll.registry().register(&mut SourceFd(&descriptor), Token(at), Interest::READABLE), refused)?;
        }
        self.registered = sessions.len();
        loop {
            io(self.poll.poll(&mut self.events, Some(Duration::ZERO)), refused)?;
            if self.events.is_empty() {
                return Ok(());
            }
            for event in &self.events {
                let session = &mut sessions[event.token().0];
                session.read()?;
                session.answer_pings()?;
            }
        }
    }
}

fn open_group(target: &Target, wanted: &[Vec<Subscription>], first: usize) -> Result<Vec<Session>, Fault> {
    let request = upgrade(target);
    let mut sessions = Vec::with_capacity(wanted.len());
    for number in first..first + wanted.len() {
        let mut wire = Wire::connect(target.address, source(number), target.tls.as_ref())?;
        io(wire.write_all(request.as_bytes()), || "the upgrade cannot be sent".to_owned())?;
        sessions.push(Session { wire, rest: Vec::new(), ended: false });
    }
    for session in &mut sessions {
        session.upgraded()?;
    }
    if let Dialect::Wamp(serializer) = target.dialect {
        let hello = serializer.hello(&target.realm);
        for session in &mut sessions {
            session.say(serializer, &hello)?;
        }
        for session in &mut sessions {
            session.hear(serializer, 2)?;
        }
        for (session, wanted) in sessions.iter_mut().zip(wanted) {
            session.subscribe(serializer, wanted, Answers::Later)?;
        }
        for (session, wanted) in sessions.iter_mut().zip(wanted) {
            session.subscribe(serializer, wanted, Answers::Now)?;
        }
    }
    Ok(sessions)
}

/// When the answers to SUBSCRIBE are read: short lists are sent for all sessions first.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Answers {
    Later,
    Now,
}

pub(crate) fn upgrade(target: &Target) -> String {
    let Target { address, path, .. } = target;
    let mut request = format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    );
    if let Some(subprotocol) = target.dialect.subprotocol() {
        request += &format!("Sec-WebSocket-Protocol: {subprotocol}\r\n");
    }
    if target.deflate == Deflate::Offered {
        request +=
            "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover\r\n";
    }
    request + "\r\n"
}

impl Session {
    pub(crate) fn upgraded(&mut self) -> Result<(), Fault> {
        loop {
            if let Some(end) = self.rest.windows(4).position(|window| window == b"\r\n\r\n") {
                if !self.rest.starts_with(b"HTTP/1.1 101") {
                    let answer = String::from_utf8_lossy(&self.rest[..end]).into_owned();
                    return Err(Fault::Protocol(format!("no upgrade: {answer}")));
                }
                self.rest.drain(..end + 4);
                return Ok(());
            }
            self.read()?;
        }
    }

    pub(crate) fn say(&mut self, serializer: Serializer, message: &[u8]) -> Result<(), Fault> {
        let opcode = if serializer == Serializer::Json { frame::TEXT } else { frame::BINARY };
        let mut out = Vec::with_capacity(message.len() + 14);
        frame::append(opcode, message, &mut out);
        io(self.wire.write_all(&out).and_then(|()| self.wire.flush()), || "a session cannot write".to_owned())
    }

    /// Waits for a message of one type. Events that come earlier, which only a guest among running events has, are
    /// passed over.
    pub(crate) fn hear(&mut self, serializer: Serializer, wanted: u8) -> Result<(), Fault> {
        loop {
            self.answer_pings()?;
            let Some((found, length)) = first(&self.rest) else {
                self.read()?;
                continue;
            };
            let mut inflate = Inflate::default();
            let message = if found.compressed { inflate.message(found.payload) } else { Some(found.payload) };
            let kind = message.and_then(|message| serializer.kind(message));
            let is_event = kind == Some(36);
            if kind != Some(wanted) && !is_event {
                let text = String::from_utf8_lossy(found.payload).into_owned();
                return Err(Fault::Protocol(format!("waited for a message {wanted} and got {text:?}")));
            }
            self.rest.drain(..length);
            if !is_event {
                return Ok(());
            }
        }
    }

    fn subscribe(&mut self, serializer: Serializer, wanted: &[Subscription], answers: Answers) -> Result<(), Fault> {
        let short = wanted.len() <= SUBSCRIPTIONS_TOGETHER;
        let mut request = 0;
        for group in wanted.chunks(SUBSCRIPTIONS_TOGETHER) {
            if short == (answers == Answers::Later) {
                for subscription in group {
                    request += 1;
                    self.say(serializer, &serializer.subscribe(request, subscription))?;
                }
            }
            if answers == Answers::Now {
                for _ in group {
                    self.hear(serializer, 33)?;
                }
            }
        }
        Ok(())
    }

    fn answer_pings(&mut self) -> Result<(), Fault> {
        let (mut at, mut pongs) = (0, Vec::new());
        while let Some((found, length)) = first(&self.rest[at..]) {
            if found.opcode == frame::PING {
                frame::append(frame::PONG, found.payload, &mut pongs);
                self.rest.drain(at..at + length);
            } else {
                at += length;
            }
        }
        if pongs.is_empty() {
            return Ok(());
        }
        io(self.wire.write_all(&pongs).and_then(|()| self.wire.flush()), || "a session cannot write".to_owned())
    }

    pub(crate) fn read(&mut self) -> Result<(), Fault> {
        let mut buffer = [0; 4096];
        let count = io(self.wire.read(&mut buffer), || "a session got no answer".to_owned())?;
        if count == 0 {
            return Err(Fault::Protocol("the server ended a session that was being opened".to_owned()));
        }
        self.rest.extend_from_slice(&buffer[..count]);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// Ten thousand sessions take longer to open than a server waits for a pong.
    #[test]
    fn pings_are_answered_while_others_are_opened() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = Target {
            address: listener.local_addr().unwrap(),
            path: "/".to_owned(),
            realm: String::new(),
            dialect: Dialect::Plain,
            deflate: Deflate::Off,
            tls: None,
        };
        let server = std::thread::spawn(move || {
            let mut streams = Vec::new();
            for number in 0..=TOGETHER {
                let (mut stream, _) = listener.accept().unwrap();
                let mut octets = Vec::new();
                while !octets.ends_with(b"\r\n\r\n") {
                    let mut one = [0];
                    stream.read_exact(&mut one).unwrap();
                    octets.push(one[0]);
                }
                stream.write_all(b"HTTP/1.1 101 Switching Protocols\r\n\r\n").unwrap();
                if number == 0 {
                    stream.write_all(b"\x81\x01x\x89\x05hello\x81\x01y").unwrap();
                }
                streams.push(stream);
            }
            let mut pong = [0; 11];
            streams[0].read_exact(&mut pong).unwrap();
            (pong, streams)
        });
        let sessions = open(&target, &vec![Vec::new(); TOGETHER + 1], 0).unwrap();
        let mut pong = Vec::new();
        frame::append(frame::PONG, b"hello", &mut pong);
        let (answer, streams) = server.join().unwrap();
        assert_eq!(answer[..2], pong[..2]);
        assert_eq!(sessions[0].rest, b"\x81\x01x\x81\x01y", "what is no ping stays");
        drop(streams);
    }
}
