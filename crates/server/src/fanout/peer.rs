//! The handle by which the router's tables reach whoever is behind a session.

use std::io::{self, IoSlice};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use stentor_wamp::codec::batch::Separator;
use stentor_wamp::codec::{self, Format, Serializer, TranscodeError};
use stentor_wamp::message::RouterMessage;
use stentor_websocket::deflate::Window;
use stentor_websocket::frame;
use stentor_websocket::keepalive::{self, Keepalive, Look, Outlet, SignOfLife};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use super::frames::{self, Form};
use super::outbox::{CloseCause, Flushed, Flusher, Outbox, Pushed};
use super::shard::{Shard, Turn};

/// Whoever is behind a session.
#[derive(Clone, Debug)]
pub enum Peer {
    /// A WebSocket connection.
    Socket(Arc<SocketPeer>),
    /// An HTTP request that waits for the result of its call.
    Caller(Arc<Caller>),
}

/// What a connection agreed on in its handshake.
#[derive(Clone, Copy, Debug)]
pub struct Agreement {
    /// Serializer and batching.
    pub format: Format,
    /// The window of our compression.
    pub window: Option<Window>,
    /// Octets of one frame; 0 for whole messages.
    pub fragment_bytes: usize,
    /// Octets that may wait.
    pub outbox_bytes_max: usize,
    /// Silence.
    pub keepalive: keepalive::Policy,
    /// Octets of a ping.
    pub ping_bytes: usize,
}

/// The part of a WebSocket connection that other threads may touch.
#[derive(Debug)]
pub struct SocketPeer {
    agreement: Agreement,
    /// The thread that owns the connection, where it is told to flush.
    home: Arc<Turn>,
    cancel_separator: AtomicBool,
    /// What waits to be written.
    pub outbox: Outbox,
    /// A plain socket takes writes from every thread.
    direct: Option<Arc<TcpStream>>,
    /// The tick of the last sign of life: all that a read has to note.
    heard: AtomicU32,
    /// Looked at by the sweep of one thread, a few times in a second.
    keepalive: Mutex<Keepalive>,
    /// The tick at which the connection ends unless something happens before; 0 for none.
    deadline: AtomicU32,
    /// GOODBYE has been said on the router's own account.
    goodbye: AtomicBool,
    /// Nothing of the peer is read for now.
    unheard: AtomicBool,
}

impl SocketPeer {
    /// The peer of a fresh connection that must join before `deadline`.
    #[must_use]
    pub fn new(agreement: Agreement, direct: Option<Arc<TcpStream>>, shard: &Shard, deadline: u32) -> Arc<Self> {
        let flusher = if direct.is_some() { Flusher::Anybody } else { Flusher::Owner };
        let now = shard.clock.ticks();
        Arc::new(Self {
            agreement,
            home: Arc::clone(shard.turn()),
            cancel_separator: AtomicBool::new(false),
            outbox: Outbox::new(agreement.outbox_bytes_max, flusher),
            direct,
            heard: AtomicU32::new(now),
            keepalive: Mutex::new(Keepalive::new(agreement.keepalive, now)),
            deadline: AtomicU32::new(deadline),
            goodbye: AtomicBool::new(false),
            unheard: AtomicBool::new(false),
        })
    }

    /// How this peer wants its messages.
    #[must_use]
    pub fn form(&self) -> Form {
        let cancel = self.cancel_separator.load(Ordering::Relaxed);
        Form {
            format: self.agreement.format,
            separator: if cancel { Separator::Cancel } else { Separator::RecordSeparator },
            window: self.agreement.window,
            fragment_bytes: self.agreement.fragment_bytes,
        }
    }

    /// Answers with the separator that the peer itself uses.
    pub fn use_separator(&self, separator: Separator) {
        self.cancel_separator.store(separator == Separator::Cancel, Ordering::Relaxed);
    }

    /// Queues a frame.
    pub fn push(self: &Arc<Self>, frame: Bytes, shard: &Shard) -> Pushed {
        let pushed = match self.outbox.push(frame) {
            Pushed::Full(frame) => {
                self.flush();
                self.outbox.push(frame)
            }
            pushed => pushed,
        };
        shard.pushed(self, &pushed);
        pushed
    }

    /// Queues a message.
    ///
    /// # Errors
    /// When its payload has no equal in the peer's serializer. It is counted and nothing is sent.
    pub fn send(self: &Arc<Self>, message: &RouterMessage<'_>, shard: &Shard) -> Result<Pushed, TranscodeError> {
        let frame = frames::frame(message, self.form(), &mut shard.deflater.borrow_mut());
        match frame {
            Ok(frame) => Ok(self.push(frame, shard)),
            Err(error) => {
                shard.meters.events_unencodable.increment();
                Err(error)
            }
        }
    }

    /// Queues a message of the router's own, which every serializer can express.
    pub fn tell(self: &Arc<Self>, message: &RouterMessage<'_>, shard: &Shard) {
        let sent = self.send(message, shard);
        debug_assert!(sent.is_ok(), "text and integers have an equal in every serializer");
    }

    /// The thread that owns the connection.
    pub(super) fn home(&self) -> &Arc<Turn> {
        &self.home
    }

    /// Writes what waits, as far as the socket takes it.
    pub fn flush(&self) {
        if let Some(stream) = &self.direct {
            self.outbox.flush(|slices| write(stream, slices));
        }
    }

    /// The end of its thread's turn: writes what waits, or has it written.
    pub(super) fn end_turn(&self) -> EndedTurn {
        match &self.direct {
            Some(stream) => {
                self.outbox.flush(|slices| write(stream, slices));
                EndedTurn::Written
            }
            None => {
                self.outbox.wake_owner();
                EndedTurn::Woken
            }
        }
    }

    /// The same, for the task that owns the connection.
    pub fn flush_by_owner(&self, write: impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>) -> Flushed {
        self.outbox.flush(write)
    }

    /// The peer has sent something, or has answered a ping.
    pub fn heard(&self, sign: SignOfLife, now: u32) {
        if self.agreement.keepalive.counts(sign) {
            self.heard.store(now, Ordering::Relaxed);
        }
    }

    /// Nothing of the peer is read until this is taken back: its silence is our doing, and no reason to give it
    /// up.
    pub fn stop_hearing(&self) {
        self.unheard.store(true, Ordering::Relaxed);
    }

    /// The peer is read again.
    pub fn hear_again(&self, now: u32) {
        self.unheard.store(false, Ordering::Relaxed);
        self.heard.store(now, Ordering::Relaxed);
    }

    /// Sets the tick at which the connection ends; 0 takes the limit away.
    pub fn set_deadline(&self, tick: u32) {
        self.deadline.store(tick, Ordering::Relaxed);
    }

    /// Says GOODBYE to a session that a meta procedure has taken out of its realm.
    pub fn kill(self: &Arc<Self>, reason: &str, shard: &Shard) {
        self.say_goodbye(reason, shard);
        self.outbox.close(CloseCause::Killed);
    }

    /// Says GOODBYE on the router's own account; the client has two seconds to answer.
    pub fn say_goodbye(self: &Arc<Self>, reason: &str, shard: &Shard) {
        if !self.goodbye.swap(true, Ordering::Relaxed) {
            self.tell(&RouterMessage::Goodbye { reason: reason.into() }, shard);
            self.set_deadline(shard.clock.ticks() + GOODBYE_TICKS);
        }
    }

    fn is_late(&self, now: u32) -> bool {
        let deadline = self.deadline.load(Ordering::Relaxed);
        // An answer to our GOODBYE may stand behind what has not been read.
        deadline != 0 && now >= deadline && !self.unheard.load(Ordering::Relaxed)
    }

    /// Looks after pings and deadlines, and says why the connection is to [end](Self::end).
    pub fn tick(self: &Arc<Self>, now: u32, shard: &Shard) -> Option<CloseCause> {
        if self.is_late(now) {
            return Some(CloseCause::HandshakeTimeout);
        }
        let unheard = self.unheard.load(Ordering::Relaxed);
        let outlet = match (self.outbox.take_progress(), self.outbox.is_blocked()) {
            (true, _) => Outlet::Moving,
            (false, true) => Outlet::Stuck,
            (false, false) => Outlet::Free,
        };
        let heard = if unheard { now } else { self.heard.load(Ordering::Relaxed) };
        let look = Look { heard, outlet };
        let action = self.keepalive.lock().unwrap_or_else(PoisonError::into_inner).handle(look, now);
        match action? {
            keepalive::Action::Ping => {
                let mut payload = [0_u8; frame::CONTROL_BYTES_MAX];
                payload[..4].copy_from_slice(&now.to_be_bytes());
                let length = self.agreement.ping_bytes.min(frame::CONTROL_BYTES_MAX);
                self.push(frame::ping(&payload[..length]), shard);
                None
            }
            keepalive::Action::GiveUp => Some(CloseCause::PingTimeout),
        }
    }

    /// Ends the connection for what [`tick`](Self::tick) has found, unless what was late has come meanwhile.
    pub fn end(&self, cause: CloseCause, now: u32) {
        if cause == CloseCause::HandshakeTimeout {
            if !self.is_late(now) {
                return;
            }
            self.set_deadline(0);
        }
        self.outbox.close(cause);
    }
}

/// How a turn ended for one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EndedTurn {
    /// What the socket takes is written.
    Written,
    /// The task that owns the connection is about to write.
    Woken,
}

/// How long a client may take to answer a GOODBYE.
const GOODBYE_TICKS: u32 = 20;

/// One vectored write.
///
/// # Errors
/// As the socket says; `WouldBlock` when it is full.
pub fn write(stream: &TcpStream, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    match slices {
        // One plain write costs the kernel less than a vector of one.
        [one] => stream.try_write(one),
        many => stream.try_write_vectored(many),
    }
}

/// An HTTP request that waits for the result of its call.
#[derive(Debug)]
pub struct Caller {
    reply: Mutex<Option<oneshot::Sender<Vec<u8>>>>,
}

impl Caller {
    /// A caller, and where its RESULT or ERROR arrives as one JSON message.
    #[must_use]
    pub fn new() -> (Arc<Self>, oneshot::Receiver<Vec<u8>>) {
        let (sender, receiver) = oneshot::channel();
        (Arc::new(Self { reply: Mutex::new(Some(sender)) }), receiver)
    }

    fn send(&self, message: &RouterMessage<'_>, shard: &Shard) -> Result<(), TranscodeError> {
        let mut text = Vec::new();
        if let Err(error) = codec::encode(Serializer::Json, message, &mut text) {
            shard.meters.events_unencodable.increment();
            return Err(error);
        }
        if let Some(sender) = self.reply.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // The receiver is gone when the HTTP client has hung up; the result is nobody's then.
            drop(sender.send(text));
        }
        Ok(())
    }
}

impl Peer {
    /// Queues a message.
    ///
    /// # Errors
    /// When its payload has no equal in the serializer of whoever is behind the session.
    pub fn send(&self, message: &RouterMessage<'_>, shard: &Shard) -> Result<Pushed, TranscodeError> {
        match self {
            Self::Socket(peer) => peer.send(message, shard),
            Self::Caller(caller) => caller.send(message, shard).map(|()| Pushed::Queued),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use stentor_wamp::codec::Format;

    use super::*;
    use crate::clock::Clock;

    pub(crate) fn shard() -> std::rc::Rc<Shard> {
        Shard::new(Arc::default(), Arc::new(Clock::default()), 7)
    }

    /// A peer that is asked after ten ticks of silence and given up after five more.
    pub(crate) fn peer(shard: &Shard, deadline: u32) -> Arc<SocketPeer> {
        let keepalive = keepalive::Policy { interval: 10, timeout: 5, sign: SignOfLife::Traffic };
        let format = Format::ALL[0];
        let agreement =
            Agreement { format, window: None, fragment_bytes: 0, outbox_bytes_max: 1000, keepalive, ping_bytes: 4 };
        SocketPeer::new(agreement, None, shard, deadline)
    }

    /// The first tick from `from` on at which the peer is to end, and why.
    fn end(peer: &Arc<SocketPeer>, shard: &Shard, from: u32) -> Option<(u32, CloseCause)> {
        (from..from + 100).find_map(|now| Some((now, peer.tick(now, shard)?)))
    }

    #[test]
    fn whoever_is_not_read_is_not_given_up() {
        let shard = shard();
        let silent = peer(&shard, 0);
        assert_eq!(end(&silent, &shard, 0), Some((15, CloseCause::PingTimeout)));
        for at in [0, 12] {
            // Before a ping, and while its answer is awaited.
            let unread = peer(&shard, 0);
            assert_eq!((0..at).find_map(|now| unread.tick(now, &shard)), None);
            unread.stop_hearing();
            assert_eq!(end(&unread, &shard, at), None);
            unread.hear_again(at + 100);
            assert_eq!(end(&unread, &shard, at + 100), Some((at + 115, CloseCause::PingTimeout)));
        }
    }

    #[test]
    fn whoever_is_late_ends_unless_it_has_come_meanwhile() {
        let shard = shard();
        let late = peer(&shard, 3);
        assert_eq!((late.tick(2, &shard), late.tick(3, &shard)), (None, Some(CloseCause::HandshakeTimeout)));
        late.set_deadline(0);
        late.end(CloseCause::HandshakeTimeout, 3);
        assert_eq!(late.outbox.take_cause(std::task::Waker::noop()), None, "it has joined");
        late.set_deadline(4);
        late.end(CloseCause::HandshakeTimeout, 4);
        assert_eq!(late.outbox.take_cause(std::task::Waker::noop()), Some(CloseCause::HandshakeTimeout));
        assert_eq!(late.tick(5, &shard), None, "once is enough");
    }
}
