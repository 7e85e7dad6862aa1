//! The task of one connection: reads into its thread's buffer, writes what its own socket did not take at once, and does
//! what the closing handshake says. Written as one future by hand, because thousands of them sleep at a time and each holds
//! only what it needs.

use std::future::Future;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use stentor_websocket::close::CloseCode;
use stentor_websocket::closing::{self, Action, Closing, Event, Reading};
use stentor_websocket::decoder::{self, Decoder, Violation};
use stentor_websocket::deflate::Agreed;
use stentor_websocket::keepalive::SignOfLife;
use tracing::{debug, info};

use super::SocketService;
use super::io::Io;
use super::long::Long;
use super::reader::LONG_BYTES;
use super::talk::{Ending, Talk};
use super::unfinished::Share;
use crate::fanout::outbox::CloseCause;
use crate::fanout::peer::{Agreement, SocketPeer};
use crate::fanout::shard::Shard;
use crate::meter::Reason;

/// Reads in one turn before other connections of the thread have theirs.
const READS_PER_TURN: usize = 4;

/// Octets of messages in one turn, save the last one of them, which may be nearly as long. Compression makes a thousand times as much
/// of what is read, and lists of this length take a millisecond. What messages take beyond being read counts like octets.
const MESSAGE_BYTES_PER_TURN: usize = 128 * 1024;

/// What the shortest message counts for: 256 of them are a turn too.
const EVENT_BYTES_MIN: usize = 512;

/// Octets of a message before the session is established: room for any HELLO, and little for strangers to fill.
const STRANGER_BYTES_MAX: usize = 64 * 1024;

/// Ticks that a closed connection lingers, so that the kernel does not cut off our last words.
const LINGER_TICKS: u32 = 10;

/// One connection.
#[derive(Debug)]
pub struct Connection {
    io: Io,
    pub(super) decoder: Decoder,
    /// The decoder has the limits of established sessions.
    admitted: bool,
    /// What is kept of an unfinished message, of what all sessions may keep.
    pub(super) share: Share,
    pub(super) talk: Talk,
    pub(super) peer: Arc<SocketPeer>,
    pub(super) service: Arc<SocketService>,
    pub(super) shard: Rc<Shard>,
    pub(super) closing: Closing,
    number: u64,
    /// Octets that came together with the handshake, or that are left for the next turn.
    leftover: bytes::Bytes,
    /// Octets of messages in this turn, and what else they took.
    pub(super) spent: usize,
    /// The long message that is under way.
    pub(super) long: Long,
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
        let peer = SocketPeer::new(opening.agreement, opening.io.direct(), &shard, deadline);
        let number = shard.adopt(&peer);
        let closing =
            closing::Policy { answer_ticks: habits.close_ticks, linger_ticks: LINGER_TICKS, failure: habits.failure };
        let mut options = habits.decoder(opening.compression);
        if !service.is_echo() {
            options.frame_bytes_max = options.frame_bytes_max.min(STRANGER_BYTES_MAX);
            options.message_bytes_max = options.message_bytes_max.min(STRANGER_BYTES_MAX);
        }
        Self {
            decoder: Decoder::new(options).with_long_messages_from(LONG_BYTES),
            admitted: false,
            share: Share::default(),
            talk: Talk::new(Arc::clone(&peer), Arc::clone(&service), Rc::clone(&shard)),
            io: opening.io,
            leftover: opening.leftover,
            spent: 0,
            long: Long::None,
            peer,
            service,
            shard,
            closing: Closing::new(closing),
            number,
        }
    }

    /// Tells the closing handshake what happened, and does what it says.
    fn act(&mut self, event: Event<'_>) {
        match self.closing.handle(event, self.shard.clock.ticks()) {
            None => {}
            Some(Action::Last(frame)) => self.peer.outbox.push_last(Some(frame)),
            Some(Action::Stop) => self.peer.outbox.push_last(None),
        }
        if let Some(deadline) = self.closing.next_deadline() {
            self.peer.set_deadline(deadline);
        }
    }

    fn handle_cause(&mut self, cause: CloseCause) {
        let meters = Arc::clone(&self.shard.meters);
        match cause {
            CloseCause::OutboxFull => {
                info!(session = self.talk.name(), "outbox full: the subscriber reads too slowly and is closed");
                self.talk.leave();
                self.act(Event::Deaf(CloseCode::POLICY_VIOLATION, "outbox full: this subscriber reads too slowly"));
            }
            CloseCause::PingTimeout => {
                info!(session = self.talk.name(), "no sign of life, or nothing read for too long: the connection ends");
                meters.closed.count(Reason::PingTimeout);
                self.act(Event::Gone);
            }
            CloseCause::HandshakeTimeout => {
                if self.closing.is_open() {
                    meters.closed.count(Reason::HelloTimeout);
                    self.talk.leave();
                } else if self.closing.reading() == Reading::Control {
                    meters.closed.count(Reason::CloseTimeout);
                }
                let words = "the session was not established, or not closed, in time";
                self.act(Event::Late(CloseCode::POLICY_VIOLATION, words));
            }
            CloseCause::Killed | CloseCause::Shutdown => {
                if self.closing.is_open() && !self.talk.say_goodbye() {
                    self.act(Event::Ours(CloseCode::GOING_AWAY, ""));
                }
            }
        }
    }

    /// Deals with octets that arrived.
    fn arrived(&mut self, mut octets: &mut [u8]) {
        self.peer.heard(SignOfLife::Traffic, self.shard.clock.ticks());
        // Our own Close ends the decoding in the middle of what arrived; the peer's Close may stand in the rest.
        while !octets.is_empty() && self.closing.reading() != Reading::Nothing {
            let consumed = self.decode(octets);
            octets = &mut octets[consumed..];
            if self.is_over() {
                self.leftover = bytes::Bytes::copy_from_slice(octets);
                return;
            }
        }
    }

    /// Decodes until something ends the phase, and returns how many octets that took.
    fn decode(&mut self, octets: &mut [u8]) -> usize {
        let shard = Rc::clone(&self.shard);
        let mut inflater = shard.inflater.borrow_mut();
        let mut ending = None;
        let reading = self.closing.reading();
        let spent = &mut self.spent;
        let mut effort = 0;
        let outcome = self.decoder.feed(octets, &mut inflater, |event| {
            *spent += weight(&event);
            let end = self.talk.event(event, reading);
            let took = self.talk.take_effort();
            (*spent, effort) = (*spent + took, effort + took);
            match end {
                None if *spent < MESSAGE_BYTES_PER_TURN && !self.talk.has_rest() => ControlFlow::Continue(()),
                None => ControlFlow::Break(()),
                Some(end) => {
                    ending = Some(end);
                    ControlFlow::Break(())
                }
            }
        });
        drop(inflater);
        if self.spent >= MESSAGE_BYTES_PER_TURN && effort >= self.spent / 2 {
            self.rest();
        }
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
            (Ok(consumed), None) => match self.service.unfinished.settle(&mut self.share, self.decoder.held_bytes()) {
                Some(()) => consumed,
                None => {
                    let reason = "too much is held of unfinished messages; try again";
                    self.fail(Violation { code: CloseCode::TRY_AGAIN_LATER, reason });
                    octets.len()
                }
            },
            (Err(violation), _) => {
                self.fail(violation);
                octets.len()
            }
        }
    }

    /// Whether this turn is over: nothing more is decoded in it.
    fn is_over(&self) -> bool {
        self.spent >= MESSAGE_BYTES_PER_TURN || self.is_held_up()
    }

    pub(super) fn fail(&mut self, violation: Violation) {
        self.free_unfinished();
        self.shard.meters.closed.count(reason(violation.code));
        debug!(peer = self.talk.name(), %violation, "websocket violation");
        self.talk.leave();
        self.act(Event::Broken(violation));
    }

    pub(super) fn end(&mut self, ending: Ending) {
        self.talk.leave();
        match ending {
            Ending::TheirClose(reply) => self.act(Event::Theirs(reply)),
            Ending::Ours { code, reason } => self.act(Event::Ours(code, &reason)),
        }
    }

    fn read(&mut self, cx: &mut Context<'_>) {
        self.spent = 0;
        if self.poll_long(cx).is_pending() {
            return;
        }
        if !self.leftover.is_empty() && self.spent < MESSAGE_BYTES_PER_TURN {
            let mut octets = std::mem::take(&mut self.leftover).to_vec();
            self.arrived(&mut octets);
        }
        let shard = Rc::clone(&self.shard);
        for _ in 0..READS_PER_TURN {
            if self.closing.is_done() {
                return;
            }
            if self.is_over() || !self.leftover.is_empty() {
                break;
            }
            let mut buffer = shard.read_buffer.borrow_mut();
            match self.io.poll_read(cx, &mut buffer) {
                Poll::Pending => return,
                Poll::Ready(Ok(0) | Err(_)) => {
                    // The answer to a Close whose sender has already shut its side may still be queued.
                    self.peer.flush();
                    self.act(Event::Gone);
                }
                Poll::Ready(Ok(length)) => self.arrived(&mut buffer[..length]),
            }
        }
        yield_turn(cx);
    }

    fn write(&mut self, cx: &mut Context<'_>) {
        if self.io.poll_flush(cx, &self.peer).is_ready() {
            self.act(Event::Gone);
        }
        if !self.closing.is_open() {
            // The last frame may be queued without anybody having flushed.
            self.peer.flush();
        }
        if self.closing.is_draining() && self.peer.outbox.is_empty() && self.io.poll_shutdown(cx).is_ready() {
            self.act(Event::Shut);
        }
    }
}

/// Asks for another turn behind everybody else's. A plain wake would keep the runtime's list of ready tasks from running
/// empty, and it then looks at its sockets only once in 61 turns: one client that sends without pause would delay the others
/// by as many turns of its own.
pub(super) fn yield_turn(cx: &mut Context<'_>) {
    let turn = std::pin::pin!(tokio::task::yield_now());
    // Pending by its nature: the first poll is what registers the waker.
    let _ = turn.poll(cx);
}

/// What an event counts for in its turn.
fn weight(event: &decoder::Event<'_>) -> usize {
    let octets = match event {
        decoder::Event::Text(text) => text.len(),
        decoder::Event::Binary(octets) => octets.len(),
        _ => 0,
    };
    octets.max(EVENT_BYTES_MIN)
}

/// What a violation is counted as.
fn reason(code: CloseCode) -> Reason {
    match code {
        CloseCode::INVALID_PAYLOAD => Reason::InvalidPayload,
        CloseCode::MESSAGE_TOO_BIG => Reason::MessageTooBig,
        CloseCode::TRY_AGAIN_LATER => Reason::MessagesFull,
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
        if this.closing.is_done() { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // Also when the task panics or the runtime goes down: the router must not keep a session that nobody serves.
        self.talk.leave();
        self.forget_long();
        self.free_unfinished();
        self.peer.outbox.push_last(None);
        self.shard.forget(self.number);
        self.service.open.decrement();
    }
}
