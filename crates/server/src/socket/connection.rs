//! The task of one connection: reads into its thread's buffer, writes what its own socket did not take at once, and walks
//! through the closing handshake. Written as one future by hand, because thousands of them sleep at a time and each holds
//! only what it needs.

use std::future::Future;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use stentor_websocket::close::CloseCode;
use stentor_websocket::decoder::{Decoder, Violation};
use stentor_websocket::deflate::Agreed;
use stentor_websocket::frame;
use tracing::{debug, info};

use super::io::Io;
use super::talk::{Ending, Talk};
use super::{Failure, SocketService};
use crate::fanout::outbox::CloseCause;
use crate::fanout::peer::{Agreement, SignOfLife, SocketPeer};
use crate::fanout::shard::Shard;
use crate::meter::Reason;

/// Reads in one turn before other connections of the thread have theirs.
const READS_PER_TURN: usize = 4;

/// Octets of a message before the session is established: room for any HELLO, and little for strangers to fill.
const STRANGER_BYTES_MAX: usize = 64 * 1024;

/// Ticks that a closed connection lingers, so that the kernel does not cut off our last words.
const LINGER_TICKS: u32 = 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Messages flow.
    Open,
    /// Our Close is sent; theirs is awaited.
    Closing,
    /// Everything is said; the outbox runs empty.
    Draining,
    /// Our side is shut; what still arrives is read and dropped until the end of the stream.
    Lingering,
    /// The connection is to be dropped.
    Done,
}

/// One connection.
#[derive(Debug)]
pub struct Connection {
    io: Io,
    decoder: Decoder,
    /// The decoder has the limits of established sessions.
    admitted: bool,
    talk: Talk,
    peer: Arc<SocketPeer>,
    service: Arc<SocketService>,
    shard: Rc<Shard>,
    phase: Phase,
    number: u64,
    /// Octets that came together with the handshake.
    leftover: bytes::Bytes,
}

/// What a handshake leads to.
#[derive(Debug)]
pub struct Opening {
    /// The stream.
    pub io: Io,
    /// Octets that came together with the handshake.
    pub leftover: bytes::Bytes,
    /// What was agreed about messages.
    pub agreement: Agreement,
    /// What was agreed about compression.
    pub compression: Option<Agreed>,
}

impl Connection {
    /// Takes over a stream after the handshake.
    #[must_use]
    pub fn new(opening: Opening, service: Arc<SocketService>, shard: Rc<Shard>) -> Self {
        let now = shard.clock.ticks();
        let habits = &service.habits;
        let deadline = if habits.open_ticks == 0 || service.is_echo() { 0 } else { now + habits.open_ticks };
        let peer = SocketPeer::new(opening.agreement, opening.io.direct(), now, deadline);
        let number = shard.adopt(&peer);
        let mut options = habits.decoder(opening.compression);
        if !service.is_echo() {
            options.frame_bytes_max = options.frame_bytes_max.min(STRANGER_BYTES_MAX);
            options.message_bytes_max = options.message_bytes_max.min(STRANGER_BYTES_MAX);
        }
        Self {
            decoder: Decoder::new(options),
            admitted: false,
            talk: Talk::new(Arc::clone(&peer), Arc::clone(&service), Rc::clone(&shard)),
            io: opening.io,
            leftover: opening.leftover,
            peer,
            service,
            shard,
            phase: Phase::Open,
            number,
        }
    }

    fn set_deadline(&self, ticks: u32) {
        self.peer.set_deadline(self.shard.clock.ticks() + ticks);
    }

    /// Sends our Close; the peer's ends the connection.
    fn close(&mut self, code: CloseCode, reason: &str) {
        self.peer.outbox.push_last(Some(frame::close(code, reason)));
        self.phase = Phase::Closing;
        self.set_deadline(self.service.habits.close_ticks.max(1));
    }

    fn drain(&mut self) {
        self.phase = Phase::Draining;
        self.set_deadline(LINGER_TICKS);
    }

    fn handle_cause(&mut self, cause: CloseCause) {
        let meters = Arc::clone(&self.shard.meters);
        match (cause, self.phase) {
            (CloseCause::OutboxFull, _) => {
                info!(session = self.talk.name(), "outbox full: the subscriber reads too slowly and is closed");
                self.talk.leave();
                let words = "outbox full: this subscriber reads too slowly";
                self.peer.outbox.push_last(Some(frame::close(CloseCode::POLICY_VIOLATION, words)));
                self.drain();
            }
            (CloseCause::PingTimeout, _) => {
                meters.closed.count(Reason::PingTimeout);
                self.phase = Phase::Done;
            }
            (CloseCause::HandshakeTimeout, Phase::Open) => {
                meters.closed.count(Reason::HelloTimeout);
                self.talk.leave();
                self.close(CloseCode::POLICY_VIOLATION, "the session was not established, or not closed, in time");
            }
            (CloseCause::HandshakeTimeout, phase) => {
                if phase == Phase::Closing {
                    meters.closed.count(Reason::CloseTimeout);
                }
                self.phase = Phase::Done;
            }
            (CloseCause::Killed | CloseCause::Shutdown, Phase::Open) => {
                if !self.talk.say_goodbye() {
                    self.close(CloseCode::GOING_AWAY, "");
                }
            }
            (CloseCause::Killed | CloseCause::Shutdown, _) => {}
        }
    }

    /// Deals with octets that arrived.
    fn arrived(&mut self, mut octets: &mut [u8]) {
        self.peer.heard(SignOfLife::Traffic, self.shard.clock.ticks());
        // Our own Close ends the decoding in the middle of what arrived; the peer's Close may stand in the rest.
        while !octets.is_empty() && matches!(self.phase, Phase::Open | Phase::Closing) {
            let consumed = self.decode(octets);
            octets = &mut octets[consumed..];
        }
    }

    /// Decodes until something ends the phase, and returns how many octets that took.
    fn decode(&mut self, octets: &mut [u8]) -> usize {
        let shard = Rc::clone(&self.shard);
        let mut inflater = shard.inflater.borrow_mut();
        let mut ending = None;
        let closing = self.phase == Phase::Closing;
        let outcome = self.decoder.feed(octets, &mut inflater, |event| match self.talk.event(event, closing) {
            None => ControlFlow::Continue(()),
            Some(end) => {
                ending = Some(end);
                ControlFlow::Break(())
            }
        });
        drop(inflater);
        if !self.admitted && self.talk.is_admitted() {
            self.admitted = true;
            let habits = &self.service.habits;
            self.decoder.set_limits(habits.frame_bytes_max, habits.message_bytes_max);
        }
        match (outcome, ending) {
            (Ok(consumed), Some(ending)) => {
                self.end(ending);
                consumed
            }
            (Ok(_), None) => octets.len(),
            (Err(violation), _) => {
                self.fail(violation);
                octets.len()
            }
        }
    }

    fn fail(&mut self, violation: Violation) {
        self.shard.meters.closed.count(reason(violation.code));
        debug!(peer = self.talk.name(), %violation, "websocket violation");
        self.talk.leave();
        if self.service.habits.failure == Failure::Drop {
            self.phase = Phase::Done;
        } else {
            self.peer.outbox.push_last(Some(frame::close(violation.code, violation.reason)));
            self.drain();
        }
    }

    fn end(&mut self, ending: Ending) {
        self.talk.leave();
        match ending {
            Ending::TheirClose(reply) => {
                self.peer.outbox.push_last((self.phase != Phase::Closing).then_some(reply));
                self.drain();
            }
            Ending::Ours { code, reason } => self.close(code, &reason),
        }
    }

    fn read(&mut self, cx: &mut Context<'_>) {
        if !self.leftover.is_empty() {
            let mut octets = std::mem::take(&mut self.leftover).to_vec();
            self.arrived(&mut octets);
        }
        let shard = Rc::clone(&self.shard);
        for _ in 0..READS_PER_TURN {
            if self.phase == Phase::Done {
                return;
            }
            let mut buffer = shard.read_buffer.borrow_mut();
            match self.io.poll_read(cx, &mut buffer) {
                Poll::Pending => return,
                Poll::Ready(Ok(0) | Err(_)) => {
                    // The answer to a Close whose sender has already shut its side may still be queued.
                    self.peer.flush();
                    self.phase = Phase::Done;
                }
                Poll::Ready(Ok(length)) => self.arrived(&mut buffer[..length]),
            }
        }
        cx.waker().wake_by_ref();
    }

    fn write(&mut self, cx: &mut Context<'_>) {
        if self.io.poll_flush(cx, &self.peer).is_ready() {
            self.phase = Phase::Done;
        }
        if self.phase == Phase::Draining {
            // The last frame may be queued without anybody having flushed.
            self.peer.flush();
            if self.peer.outbox.is_empty() && self.io.poll_shutdown(cx).is_ready() {
                self.phase = Phase::Lingering;
            }
        } else if self.phase == Phase::Closing {
            self.peer.flush();
        }
    }
}

/// What a violation is counted as.
fn reason(code: CloseCode) -> Reason {
    match code {
        CloseCode::INVALID_PAYLOAD => Reason::InvalidPayload,
        CloseCode::MESSAGE_TOO_BIG => Reason::MessageTooBig,
        _ => Reason::ProtocolError,
    }
}

impl Future for Connection {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        while let Some(cause) = this.peer.outbox.take_cause(cx.waker()) {
            this.handle_cause(cause);
        }
        this.read(cx);
        this.write(cx);
        if this.phase == Phase::Done { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // Also when the task panics or the runtime goes down: the router must not keep a session that nobody serves.
        self.talk.leave();
        self.peer.outbox.push_last(None);
        self.shard.forget(self.number);
        self.service.open.decrement();
    }
}
