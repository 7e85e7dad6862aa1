//! What is said on a connection: WebSocket messages to WAMP and back.

use std::ops::{ControlFlow, Range};
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use ring::rand::{SecureRandom, SystemRandom};
use stentor_wamp::auth::{AuthPolicy, Fresh};
use stentor_wamp::codec::batch::{BatchError, Turns};
use stentor_wamp::codec::{self, Batching, DecodeError, Format, Lasting, Serializer, batch};
use stentor_wamp::identity::Member;
use stentor_wamp::message::ClientMessage;
use stentor_wamp::session::{Session, Step};
use stentor_wamp::uri::reason as reasons;
use stentor_websocket::close::CloseCode;
use stentor_websocket::closing::Reading;
use stentor_websocket::decoder::{Event, Whole, WholeSort};
use stentor_websocket::frame::{self, Draft, Opcode};
use stentor_websocket::keepalive::SignOfLife;

use super::reader::BUDGET;
use super::{CloseEcho, SocketService, Speech};
use crate::fanout::peer::{Peer, SocketPeer};
use crate::fanout::shard::Shard;
use crate::meter::Reason;
use crate::realm::{Directory, Effort, Realm};

/// How a connection comes to its end.
#[derive(Debug)]
pub(super) enum Ending {
    /// The peer sent a Close; this is the answer.
    TheirClose(Bytes),
    /// We send one.
    Ours {
        /// Its code.
        code: CloseCode,
        /// Its reason.
        reason: String,
    },
}

/// A message as it came.
#[derive(Clone, Copy, Debug)]
enum Said<'a> {
    Text(&'a str),
    Binary(&'a [u8]),
}

impl<'a> Said<'a> {
    const fn octets(self) -> &'a [u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(octets) => octets,
        }
    }

    const fn opcode(self) -> Opcode {
        match self {
            Self::Text(_) => Opcode::Text,
            Self::Binary(_) => Opcode::Binary,
        }
    }
}

/// The conversation on one connection.
#[derive(Debug)]
pub(super) struct Talk {
    session: Session,
    joined: Option<(Arc<Realm>, Member<Peer>)>,
    peer: Arc<SocketPeer>,
    service: Arc<SocketService>,
    shard: Rc<Shard>,
    /// What is left of a batch when its turn is over.
    rest: Option<Box<[u8]>>,
    /// What messages took beyond being read, in octets, and nobody has asked about yet.
    effort: usize,
}

impl Talk {
    pub(super) fn new(peer: Arc<SocketPeer>, service: Arc<SocketService>, shard: Rc<Shard>) -> Self {
        Self { session: Session::default(), joined: None, peer, service, shard, rest: None, effort: 0 }
    }

    /// Whether the session is in a realm, or the service needs none.
    pub(super) fn is_admitted(&self) -> bool {
        self.joined.is_some() || self.service.is_echo()
    }

    /// What is spoken.
    pub(super) fn format(&self) -> Format {
        self.peer.form().format
    }

    /// Whether a batch is not done.
    pub(super) fn has_rest(&self) -> bool {
        self.rest.is_some()
    }

    /// What is left of a batch: whole messages with their framing.
    pub(super) fn take_rest(&mut self) -> Option<Box<[u8]>> {
        self.rest.take()
    }

    /// What the messages since the last time took beyond being read, in octets of messages that would take as long.
    pub(super) fn take_effort(&mut self) -> usize {
        std::mem::take(&mut self.effort)
    }

    /// The session's id for logs; 0 before it has joined.
    pub(super) fn name(&self) -> u64 {
        self.joined.as_ref().map_or(0, |(_, member)| member.session.get())
    }

    /// Takes the session out of its realm and sees to it that it knows; false when there is no session to tell.
    pub(super) fn say_goodbye(&mut self) -> bool {
        if !self.session.is_established() {
            return false;
        }
        // Out first: nothing may come after GOODBYE.
        self.leave();
        self.peer.say_goodbye(reasons::SYSTEM_SHUTDOWN, &self.shard);
        self.session.closing();
        true
    }

    /// Takes the session out of its realm.
    pub(super) fn leave(&mut self) {
        if let Some((realm, member)) = self.joined.take() {
            realm.leave(member.session, &self.shard);
        }
    }

    /// Deals with one event of the WebSocket layer.
    pub(super) fn event(&mut self, event: Event<'_>, reading: Reading) -> Option<Ending> {
        match event {
            Event::Close(code, reason) => return Some(Ending::TheirClose(self.close_reply(code, reason))),
            Event::Ping(payload) => self.shard.pushed(&self.peer, &self.peer.outbox.push_pong(frame::pong(payload))),
            Event::Pong(_) => self.peer.heard(SignOfLife::Pong, self.shard.clock.ticks()),
            Event::Text(_) | Event::Binary(_) if reading != Reading::Messages => {}
            Event::Text(text) => return self.message(Said::Text(text)),
            Event::Binary(octets) => return self.message(Said::Binary(octets)),
        }
        None
    }

    fn close_reply(&self, code: Option<CloseCode>, reason: &str) -> Bytes {
        match (code, self.service.habits.close_echo) {
            (None, _) => frame::close_empty(),
            (Some(code), CloseEcho::Code) => frame::close(code, ""),
            (Some(code), CloseEcho::CodeAndReason) => frame::close(code, reason),
        }
    }

    fn message(&mut self, said: Said<'_>) -> Option<Ending> {
        let service = Arc::clone(&self.service);
        match &service.speech {
            Speech::Echo => {
                self.echo(said.octets(), said.opcode());
                None
            }
            Speech::Wamp { directory, .. } => self.wamp(said, directory),
        }
    }

    fn echo(&self, octets: &[u8], opcode: Opcode) {
        let form = self.peer.form();
        let compressed =
            form.window.and_then(|window| Draft::deflated(octets, window, &mut self.shard.deflater.borrow_mut()));
        let draft = compressed.unwrap_or_else(|| {
            let mut draft = Draft::with_capacity(octets.len());
            draft.payload().extend_from_slice(octets);
            draft
        });
        self.peer.push(draft.finish_fragmented(opcode, form.fragment_bytes), &self.shard);
    }

    fn wamp(&mut self, said: Said<'_>, directory: &Directory) -> Option<Ending> {
        let Format { serializer, batched } = self.peer.form().format;
        if said.opcode() != expected(serializer) {
            return self.wrong_opcode(serializer, directory);
        }
        if batched == Batching::Single {
            let message = match said {
                // It is known to be UTF-8, and what is read need not be looked at for that once more.
                Said::Text(text) => codec::decode_text(text),
                Said::Binary(octets) => codec::decode(serializer, octets),
            };
            return self.one(message, directory).break_value();
        }
        match batch::split(serializer, said.octets()) {
            Ok(mut messages) => {
                self.peer.use_separator(messages.separator());
                let ending = self.some(serializer, messages.by_ref().take(BUDGET.messages), directory);
                if ending.is_none() && !messages.rest().is_empty() {
                    self.rest = Some(messages.rest().into());
                }
                ending
            }
            Err(fault) => self.no_batch(fault, directory),
        }
    }

    /// Acts on messages of a batch until they end the connection or have taken a turn's work.
    fn some<'m>(
        &mut self,
        serializer: Serializer,
        messages: impl Iterator<Item = &'m [u8]>,
        directory: &Directory,
    ) -> Option<Ending> {
        for message in messages {
            if let ControlFlow::Break(ending) = self.one(codec::decode(serializer, message), directory) {
                return Some(ending);
            }
            if self.effort >= BUDGET.bytes {
                break;
            }
        }
        None
    }

    fn wrong_opcode(&mut self, serializer: Serializer, directory: &Directory) -> Option<Ending> {
        let words = match expected(serializer) {
            Opcode::Text => "a binary frame, where the subprotocol says text",
            _ => "a text frame, where the subprotocol says binary",
        };
        let step = self.session.violate(words);
        self.step(step, directory).break_value()
    }

    fn no_batch(&mut self, fault: BatchError, directory: &Directory) -> Option<Ending> {
        let step = self.session.violate(fault.to_string());
        self.step(step, directory).break_value()
    }

    /// Whether a long message is to be read: not where it comes the wrong way, and echoes are made here and now.
    pub(super) fn meet(&mut self, whole: &Whole) -> Result<(), Option<Ending>> {
        let opcode = match whole.sort {
            WholeSort::Text | WholeSort::LooseText => Opcode::Text,
            WholeSort::Binary => Opcode::Binary,
        };
        let serializer = self.format().serializer;
        let service = Arc::clone(&self.service);
        match &service.speech {
            Speech::Echo if whole.sort == WholeSort::LooseText => {
                self.echo(String::from_utf8_lossy(&whole.octets).as_bytes(), opcode);
                Err(None)
            }
            Speech::Echo => {
                self.echo(&whole.octets, opcode);
                Err(None)
            }
            Speech::Wamp { directory, .. } if opcode != expected(serializer) => {
                Err(self.wrong_opcode(serializer, directory))
            }
            Speech::Wamp { .. } => Ok(()),
        }
    }

    /// The turns of what is left of a batch, whose framing is sound.
    pub(super) fn turns(&self, rest: &[u8]) -> Vec<Range<usize>> {
        batch::turns(self.format().serializer, rest, BUDGET).map(|batch| batch.turns).unwrap_or_default()
    }

    /// Acts on a message that was read elsewhere, in these octets.
    pub(super) fn read(&mut self, message: Result<Lasting, DecodeError>, octets: &[u8]) -> Option<Ending> {
        self.in_realms(|talk, directory| talk.one(message.map(|one| one.restore(octets)), directory).break_value())
    }

    /// Acts on some messages of a batch. How many octets are left of them is said too: those for which there was no time.
    pub(super) fn turn(&mut self, octets: &[u8]) -> (Option<Ending>, usize) {
        let serializer = self.format().serializer;
        let mut messages = batch::messages(serializer, octets);
        let ending = self.in_realms(|talk, directory| talk.some(serializer, messages.by_ref(), directory));
        (ending, messages.rest().len())
    }

    /// Takes notice of a batch that was looked at elsewhere; its messages come one turn after the other.
    pub(super) fn batch(&mut self, batch: &Result<Turns, BatchError>) -> Option<Ending> {
        match batch {
            Ok(batch) => {
                self.peer.use_separator(batch.separator);
                None
            }
            Err(fault) => self.in_realms(|talk, directory| talk.no_batch(*fault, directory)),
        }
    }

    fn in_realms(&mut self, act: impl FnOnce(&mut Self, &Directory) -> Option<Ending>) -> Option<Ending> {
        let service = Arc::clone(&self.service);
        match &service.speech {
            Speech::Wamp { directory, .. } => act(self, directory),
            Speech::Echo => None,
        }
    }

    fn one(&mut self, message: Result<ClientMessage<'_>, DecodeError>, directory: &Directory) -> ControlFlow<Ending> {
        let step = if self.session.is_established() {
            // Established sessions are not challenged, so the hot path needs neither principals nor fresh words.
            let fresh = Fresh { nonce: "", timestamp: "", session: 0 };
            self.session.receive(message, &AuthPolicy::default(), directory, &fresh)
        } else {
            let nonce = nonce();
            let timestamp = self.shard.clock.display();
            let fresh = Fresh { nonce: &nonce, timestamp: &timestamp, session: self.shard.random() >> 11 };
            self.session.receive(message, &self.service.policy(), directory, &fresh)
        };
        self.step(step, directory)
    }

    fn step(&mut self, step: Step<'_>, directory: &Directory) -> ControlFlow<Ending> {
        match step {
            Step::Ignore => {}
            Step::Send(message) => self.peer.tell(&message, &self.shard),
            Step::Join(admission) => {
                let Some(realm) = directory.get(&admission.realm) else {
                    let step = self.session.violate("the realm is gone");
                    return self.step(step, directory);
                };
                self.peer.set_deadline(0);
                let peer = Peer::Socket(Arc::clone(&self.peer));
                let identity = realm.join(admission, &peer, &self.shard);
                let member = Member { session: identity.session, identity, peer };
                self.joined = Some((Arc::clone(realm), member));
            }
            Step::Route(message) => {
                let Some((realm, member)) = &self.joined else { return ControlFlow::Continue(()) };
                let subscriptions_max = self.service.habits.subscriptions_max;
                match realm.handle(member, message, subscriptions_max, &self.shard) {
                    Ok(Effort(octets)) => self.effort += octets,
                    Err(violation) => {
                        let step = self.session.violate(violation.0);
                        return self.step(step, directory);
                    }
                }
            }
            Step::Leave(goodbye) => {
                self.leave();
                self.peer.tell(&goodbye, &self.shard);
                if self.service.habits.open_ticks > 0 {
                    self.peer.set_deadline(self.shard.clock.ticks() + self.service.habits.open_ticks);
                }
            }
            Step::Abort(message) => {
                self.leave();
                self.peer.tell(&message, &self.shard);
                let stentor_wamp::message::RouterMessage::Abort { message, reason } = message else {
                    return ControlFlow::Continue(());
                };
                let mut code = CloseCode::NORMAL;
                if reason == reasons::PROTOCOL_VIOLATION {
                    code = CloseCode::PROTOCOL_ERROR;
                    self.shard.meters.closed.count(Reason::WampViolation);
                }
                return ControlFlow::Break(Ending::Ours { code, reason: message.into_owned() });
            }
            Step::Close => {
                self.leave();
                return ControlFlow::Break(Ending::Ours { code: CloseCode::NORMAL, reason: String::new() });
            }
        }
        ControlFlow::Continue(())
    }
}

/// How the messages of a serializer come.
const fn expected(serializer: Serializer) -> Opcode {
    match serializer {
        Serializer::Json => Opcode::Text,
        Serializer::Msgpack | Serializer::Cbor => Opcode::Binary,
    }
}

/// Unpredictable text for a challenge.
fn nonce() -> String {
    let mut octets = [0_u8; 24];
    SystemRandom::new().fill(&mut octets).expect("the kernel's random source does not fail once it has started");
    base64::Engine::encode(&base64::engine::general_purpose::STANDARD, octets)
}
