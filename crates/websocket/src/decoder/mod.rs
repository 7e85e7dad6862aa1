//! The reading half of a session: octets in, messages out, whatever way the network cuts them.
//!
//! Knows RFC 6455 section 5 and the reading side of RFC 7692. Does not know sockets, time, or what a message means; it
//! answers nothing by itself, pongs and Close echoes included.
//!
//! Memory follows the data: nothing is reserved because a header announces it, a frame that lies whole in the buffer is
//! unmasked in place and handed out as a slice, and an unfinished message is given back once it is done. An idle decoder
//! owns nothing on the heap.

mod header;

use std::{fmt, ops::ControlFlow};

use crate::{
    close::CloseCode,
    deflate::{Agreed, Fault, InflateError, Inflated, Inflater, Inflation, Sort},
    frame::Opcode,
    mask,
};
use header::{Frame, Kind, Scratch};

/// Which end of the session decodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Reads a client's frames, which must be masked (RFC 6455 section 5.1).
    Server,
    /// Reads a server's frames, which must not be masked; for clients in tests and benchmarks.
    Client,
}

/// Whether the masking rule of RFC 6455 section 5.1 is enforced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MaskRule {
    /// A frame masked the wrong way round ends the session with 1002.
    Required,
    /// Both forms are read; for the setting `require_masked_client_frames: false`.
    Optional,
}

/// What happens to text that is not UTF-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Utf8Rule {
    /// The session ends with 1007 at the first octet that cannot belong to UTF-8, even in an unfinished message.
    Strict,
    /// Broken sequences become U+FFFD; for the setting `validate_utf8: false`. Text is a `&str`, so that broken octets
    /// cannot be passed on as they are.
    Replace,
}

/// What one decoder enforces. `usize::MAX` switches a limit off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Which end of the session this is.
    pub role: Role,
    /// Payload of one data frame as it travels. Prevents one frame from holding the session against control frames.
    pub frame_bytes_max: usize,
    /// A whole message, inflated. Prevents a peer from filling the memory by fragments or by a deflate bomb.
    pub message_bytes_max: usize,
    /// Set when permessage-deflate was agreed; without it RSV1 is an error.
    pub compression: Option<Agreed>,
    /// Whether masking is enforced.
    pub mask: MaskRule,
    /// Whether text must be UTF-8.
    pub validate_utf8: Utf8Rule,
}

impl Options {
    /// How much of a message may pile up before it is complete. The compressed form of a message just within the limit
    /// can be a little longer than the message: fixed Huffman codes take nine bits for some octets.
    fn stored_bytes_max(&self, coding: Coding) -> usize {
        match coding {
            Coding::Plain => self.message_bytes_max,
            Coding::Deflated => self.message_bytes_max.saturating_add(self.message_bytes_max / 8).saturating_add(64),
        }
    }
}

/// What the peer said. The slices live until the callback returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event<'a> {
    /// A whole text message.
    Text(&'a str),
    /// A whole binary message.
    Binary(&'a [u8]),
    /// To be answered with a pong that repeats the payload.
    Ping(&'a [u8]),
    /// An answer to a ping, or unsolicited.
    Pong(&'a [u8]),
    /// The peer's last word; nothing is decoded after it. No code means that the Close frame was empty.
    Close(Option<CloseCode>, &'a str),
}

/// The peer broke a rule. The code belongs into our Close frame, the reason too; nothing is decoded after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Violation {
    /// 1002, 1007 or 1009; an owner that gives up for reasons of its own has others.
    pub code: CloseCode,
    /// Which rule, in a few words.
    pub reason: &'static str,
}

impl Violation {
    const fn protocol(reason: &'static str) -> Self {
        Self { code: CloseCode::PROTOCOL_ERROR, reason }
    }

    const fn payload(reason: &'static str) -> Self {
        Self { code: CloseCode::INVALID_PAYLOAD, reason }
    }

    const fn too_big(reason: &'static str) -> Self {
        Self { code: CloseCode::MESSAGE_TOO_BIG, reason }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.reason, self.code)
    }
}

impl std::error::Error for Violation {}

/// Fragments of one message. Empty ones add nothing to a message, so that without this number a peer could go on with one
/// for ever and no limit on octets would notice. The messages of honest peers stay far below: four mebioctets in pieces
/// of 64, which conformance suites send, are half of it.
pub const FRAGMENTS_MAX: u32 = 128 * 1024;

const NOT_UTF8: Violation = Violation::payload("text is not UTF-8");

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coding {
    Plain,
    Deflated,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Content {
    Text,
    Binary,
}

/// A message that is not complete: between fragments, or in the middle of a frame.
#[derive(Debug)]
struct Message {
    data: Vec<u8>,
    /// Up to here `data` is known to be UTF-8; meaningful for plain text only.
    checked: usize,
    /// Frames that ended without being the last.
    fragments: u32,
    content: Content,
    coding: Coding,
}

impl Message {
    fn new(content: Content, coding: Coding) -> Self {
        Self { data: Vec::new(), checked: 0, fragments: 0, content, coding }
    }

    fn append(&mut self, part: &[u8], rule: Utf8Rule) -> Result<(), Violation> {
        self.data.extend_from_slice(part);
        if self.content == Content::Text && self.coding == Coding::Plain && rule == Utf8Rule::Strict {
            self.check()?;
        }
        Ok(())
    }

    /// One more fragment has ended, and another is to come.
    fn go_on(&mut self) -> Result<(), Violation> {
        self.fragments += 1;
        if self.fragments < FRAGMENTS_MAX { Ok(()) } else { Err(Violation::too_big("too many fragments")) }
    }

    /// Fails at the first octet that no continuation could turn into UTF-8; a character cut in two may still heal.
    fn check(&mut self) -> Result<(), Violation> {
        match simdutf8::compat::from_utf8(&self.data[self.checked..]) {
            Ok(_) => self.checked = self.data.len(),
            Err(error) if error.error_len().is_none() => self.checked += error.valid_up_to(),
            Err(_) => return Err(NOT_UTF8),
        }
        Ok(())
    }
}

#[derive(Debug)]
enum Step {
    Header(Scratch),
    Payload(Frame),
    /// A message is complete, and too long to be inflated at once.
    Long(Box<Inflation>, Content),
    /// A long message is whole, and its owner has not taken it yet.
    Whole(Box<Whole>),
    /// The last word has been read; what is left of a long message is the owner's to take.
    Done(Option<Box<Remains>>),
}

/// What was kept of a long message that nobody will finish. It has no use any more but its memory, and to give back sixteen
/// mebioctets takes a millisecond or two, which the owner may want to spend elsewhere.
#[derive(Debug)]
#[expect(dead_code, reason = "it is only there to be freed")]
pub struct Remains(Step, Option<Message>);

/// A long message with octets of its own, so that it can be read elsewhere.
#[derive(Debug, PartialEq, Eq)]
pub struct Whole {
    /// What it is.
    pub sort: WholeSort,
    /// Its octets.
    pub octets: Vec<u8>,
}

/// What a long message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WholeSort {
    /// Text, and known to be UTF-8.
    Text,
    /// Text in which nobody has looked for UTF-8: under [`Utf8Rule::Replace`] that is left to the owner, who has the time.
    LooseText,
    /// Octets.
    Binary,
}

impl Whole {
    fn new(content: Content, rule: Utf8Rule, octets: Vec<u8>) -> Box<Self> {
        let sort = match (content, rule) {
            (Content::Binary, _) => WholeSort::Binary,
            (Content::Text, Utf8Rule::Strict) => WholeSort::Text,
            (Content::Text, Utf8Rule::Replace) => WholeSort::LooseText,
        };
        Box::new(Self { sort, octets })
    }

    /// Puts U+FFFD in the place of what is no UTF-8, where that is still to be done; the message is text for certain then.
    pub fn tidy(&mut self) {
        if self.sort == WholeSort::LooseText {
            if simdutf8::basic::from_utf8(&self.octets).is_err() {
                self.octets = String::from_utf8_lossy(&self.octets).into_owned().into_bytes();
            }
            self.sort = WholeSort::Text;
        }
    }
}

/// The state of one session's reading half; see the module for what it keeps.
#[derive(Debug)]
pub struct Decoder {
    options: Options,
    step: Step,
    message: Option<Message>,
    /// The beginning of a control frame that was cut; control frames may sit between the fragments of a message.
    control: Vec<u8>,
    /// What is longer waits for its owner to call [`Decoder::take_whole`].
    long_from: usize,
}

/// How far a long message has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// There is more to inflate.
    Underway,
    /// It is whole, or there is none.
    Done,
}

impl Decoder {
    /// A decoder at the beginning of a session.
    pub fn new(options: Options) -> Self {
        Self {
            options,
            step: Step::Header(Scratch::default()),
            message: None,
            control: Vec::new(),
            long_from: usize::MAX,
        }
    }

    /// Does not tell of messages that are longer than this, inflated where they were compressed: `feed` consumes nothing behind
    /// such a message until [`Decoder::take_whole`] has taken it. One that was compressed becomes whole by
    /// [`Decoder::inflate_on`], one piece at a time, so that other sessions of the thread have their turn.
    #[must_use]
    pub fn with_long_messages_from(mut self, bytes: usize) -> Self {
        self.long_from = bytes;
        self
    }

    /// Puts other limits in force, from the next frame on: a server may want to hear little of strangers.
    pub fn set_limits(&mut self, frame_bytes_max: usize, message_bytes_max: usize) {
        self.options.frame_bytes_max = frame_bytes_max;
        self.options.message_bytes_max = message_bytes_max;
    }

    /// Whether the last word has been read: a Close or a violation. `feed` consumes nothing from then on.
    pub fn is_done(&self) -> bool {
        matches!(self.step, Step::Done(_))
    }

    /// Octets of memory that an unfinished message takes, for an owner that bounds what all of its sessions take together.
    pub fn held_bytes(&self) -> usize {
        match &self.step {
            Step::Long(inflation, _) => inflation.held_bytes(),
            Step::Whole(whole) => whole.octets.capacity(),
            Step::Done(_) => 0,
            _ => self.message.as_ref().map_or(0, |message| message.data.capacity()),
        }
    }

    /// Whether a long message waits, to be inflated or to be taken.
    pub fn is_held_up(&self) -> bool {
        matches!(self.step, Step::Long(..) | Step::Whole(_))
    }

    /// Whether a long message waits to be inflated.
    pub fn is_inflating(&self) -> bool {
        matches!(self.step, Step::Long(..))
    }

    /// Inflates one more piece of a long message, until the message is whole.
    ///
    /// # Errors
    ///
    /// The rule that the message broke; nothing is decoded after it.
    pub fn inflate_on(&mut self) -> Result<Progress, Violation> {
        let Step::Long(inflation, content) = &mut self.step else { return Ok(Progress::Done) };
        let content = *content;
        match inflation.advance() {
            Ok(false) => return Ok(Progress::Underway),
            Ok(true) => {}
            Err(fault) => {
                self.end();
                return Err(match fault {
                    Fault::Inflate(error) => violation(error),
                    Fault::Text => NOT_UTF8,
                });
            }
        }
        let Step::Long(inflation, _) = std::mem::replace(&mut self.step, Step::Header(Scratch::default())) else {
            return Ok(Progress::Done);
        };
        let octets = match inflation.finish() {
            Inflated::Text(text) => text.into_bytes(),
            Inflated::Octets(octets) => octets,
        };
        self.step = Step::Whole(Whole::new(content, self.options.validate_utf8, octets));
        Ok(Progress::Done)
    }

    /// Takes a long message once it is whole; what stands behind it is decoded from then on.
    pub fn take_whole(&mut self) -> Option<Box<Whole>> {
        if !matches!(self.step, Step::Whole(_)) {
            return None;
        }
        match std::mem::replace(&mut self.step, Step::Header(Scratch::default())) {
            Step::Whole(whole) => Some(whole),
            _ => None,
        }
    }

    /// Forgets a long message, however far it has come, and goes on behind it.
    pub fn skip_long(&mut self) -> Option<Box<Remains>> {
        let step = self.is_held_up().then(|| std::mem::replace(&mut self.step, Step::Header(Scratch::default())))?;
        Some(Box::new(Remains(step, None)))
    }

    /// Gives up on the peer, as after a violation: what was kept is forgotten and nothing is consumed from now on.
    pub fn give_up(&mut self) {
        self.end();
    }

    /// Takes what is left of a long message after a violation or after giving up.
    pub fn take_remains(&mut self) -> Option<Box<Remains>> {
        match &mut self.step {
            Step::Done(remains) => remains.take(),
            _ => None,
        }
    }

    /// Reads `input`, tells `on` what is complete and returns how many octets were consumed: all, unless `on` breaks or a
    /// Close or a long message came. Octets not consumed are untouched and are to be fed again, in front of what follows; consumed ones
    /// may have been changed by unmasking.
    ///
    /// # Errors
    ///
    /// The first rule that the peer broke. What came before it has been told to `on`.
    pub fn feed<F>(&mut self, input: &mut [u8], inflater: &mut Inflater, mut on: F) -> Result<usize, Violation>
    where
        F: FnMut(Event<'_>) -> ControlFlow<()>,
    {
        let result = self.run(input, inflater, &mut on);
        if result.is_err() {
            self.end();
        }
        result
    }

    fn run<F>(&mut self, input: &mut [u8], inflater: &mut Inflater, on: &mut F) -> Result<usize, Violation>
    where
        F: FnMut(Event<'_>) -> ControlFlow<()>,
    {
        let mut at = 0;
        loop {
            let mut frame = match &mut self.step {
                Step::Done(_) | Step::Long(..) | Step::Whole(_) => return Ok(at),
                Step::Payload(frame) => *frame,
                Step::Header(scratch) => {
                    let (frame, used) = scratch.read(&input[at..], &self.options, self.message.as_ref())?;
                    at += used;
                    let Some(frame) = frame else { return Ok(at) };
                    frame
                }
            };
            let part = &mut input[at..];
            let length = usize::try_from(frame.remaining).unwrap_or(usize::MAX).min(part.len());
            let part = &mut part[..length];
            at += length;
            mask::apply(part, &mut frame.key);
            frame.remaining -= length as u64;
            if frame.remaining > 0 {
                // Nothing to keep leaves the way open for handing out the whole payload in place at the next call.
                if !part.is_empty() {
                    self.keep(frame.kind, part)?;
                }
                self.step = Step::Payload(frame);
                return Ok(at);
            }
            if !matches!(&self.step, Step::Header(scratch) if scratch.is_empty()) {
                self.step = Step::Header(Scratch::default());
            }
            if self.complete(&frame, part, inflater, on)?.is_break() {
                return Ok(at);
            }
        }
    }

    /// Stores a part of a frame or message that is not complete.
    fn keep(&mut self, kind: Kind, part: &[u8]) -> Result<(), Violation> {
        let (content, coding) = match kind {
            Kind::Control(_) => {
                self.control.extend_from_slice(part);
                return Ok(());
            }
            Kind::First(content, coding) => (content, coding),
            // The header was refused unless a message is open.
            Kind::Further => (Content::Binary, Coding::Plain),
        };
        self.message.get_or_insert_with(|| Message::new(content, coding)).append(part, self.options.validate_utf8)
    }

    /// The last part of a frame is there.
    #[inline]
    fn complete<F>(
        &mut self,
        frame: &Frame,
        part: &[u8],
        inflater: &mut Inflater,
        on: &mut F,
    ) -> Result<ControlFlow<()>, Violation>
    where
        F: FnMut(Event<'_>) -> ControlFlow<()>,
    {
        match frame.kind {
            Kind::Control(opcode) if self.control.is_empty() => self.tell_control(opcode, part, on),
            Kind::Control(opcode) => {
                let mut whole = std::mem::take(&mut self.control);
                whole.extend_from_slice(part);
                self.tell_control(opcode, &whole, on)
            }
            Kind::First(content, coding) if frame.is_final && self.message.is_none() => {
                self.tell_message(content, coding, part, inflater, on)
            }
            Kind::First(..) | Kind::Further => {
                self.keep(frame.kind, part)?;
                let mut message = self.message.take().expect("the part was kept in it just now");
                if frame.is_final {
                    if message.coding == Coding::Plain && message.data.len() > self.long_from {
                        return self.hand_over(message);
                    }
                    return self.tell_message(message.content, message.coding, &message.data, inflater, on);
                }
                message.go_on()?;
                self.message = Some(message);
                Ok(ControlFlow::Continue(()))
            }
        }
    }

    #[inline]
    fn tell_message<F>(
        &mut self,
        content: Content,
        coding: Coding,
        data: &[u8],
        inflater: &mut Inflater,
        on: &mut F,
    ) -> Result<ControlFlow<()>, Violation>
    where
        F: FnMut(Event<'_>) -> ControlFlow<()>,
    {
        let mut inflated = Vec::new();
        let data = match coding {
            Coding::Plain if data.len() > self.long_from => {
                let mut message = Message::new(content, coding);
                message.append(data, self.options.validate_utf8)?;
                return self.hand_over(message);
            }
            Coding::Plain => data,
            Coding::Deflated => {
                // Only whole messages are inflated: between two reads the thread's inflater serves other sessions.
                let limit = self.options.message_bytes_max;
                match inflater.inflate(data, limit.min(self.long_from), &mut inflated) {
                    Ok(()) => {}
                    Err(InflateError::TooBig) if limit > self.long_from => return Ok(self.put_off(content, data)),
                    Err(error) => return Err(violation(error)),
                }
                &inflated
            }
        };
        if content == Content::Binary {
            return Ok(on(Event::Binary(data)));
        }
        // A message that came in parts is checked once more here. It runs at memory speed, and a `String` kept beside
        // the cut characters would cost every session more state.
        match (simdutf8::basic::from_utf8(data), self.options.validate_utf8) {
            (Ok(text), _) => Ok(on(Event::Text(text))),
            (Err(_), Utf8Rule::Replace) => Ok(on(Event::Text(&String::from_utf8_lossy(data)))),
            (Err(_), Utf8Rule::Strict) => Err(NOT_UTF8),
        }
    }

    /// A long message that came as it is goes to its owner with the octets that were kept of it.
    #[cold]
    fn hand_over(&mut self, message: Message) -> Result<ControlFlow<()>, Violation> {
        let Message { data, checked, content, .. } = message;
        let rule = self.options.validate_utf8;
        if content == Content::Text && rule == Utf8Rule::Strict && checked < data.len() {
            return Err(NOT_UTF8);
        }
        self.step = Step::Whole(Whole::new(content, rule, data));
        Ok(ControlFlow::Break(()))
    }

    /// A long message is inflated from its beginning when its owner finds the time. What was made of it already is little.
    #[cold]
    fn put_off(&mut self, content: Content, data: &[u8]) -> ControlFlow<()> {
        let is_text = content == Content::Text && self.options.validate_utf8 == Utf8Rule::Strict;
        let sort = if is_text { Sort::Text } else { Sort::Octets };
        let inflation = Inflation::new(data, self.options.message_bytes_max, sort);
        self.step = Step::Long(Box::new(inflation), content);
        ControlFlow::Break(())
    }

    fn tell_control<F>(&mut self, opcode: Opcode, payload: &[u8], on: &mut F) -> Result<ControlFlow<()>, Violation>
    where
        F: FnMut(Event<'_>) -> ControlFlow<()>,
    {
        match opcode {
            Opcode::Ping => Ok(on(Event::Ping(payload))),
            Opcode::Pong => Ok(on(Event::Pong(payload))),
            _ => {
                let (code, reason) = read_close(payload)?;
                self.end();
                Ok(on(Event::Close(code, reason)))
            }
        }
    }

    /// Nothing is decoded any more, so nothing needs to be kept.
    fn end(&mut self) {
        if self.is_done() {
            return;
        }
        let is_long = self.held_bytes() > self.long_from;
        let (step, message) = (std::mem::replace(&mut self.step, Step::Done(None)), self.message.take());
        self.step = Step::Done(is_long.then(|| Box::new(Remains(step, message))));
        self.control = Vec::new();
    }
}

fn violation(error: InflateError) -> Violation {
    match error {
        InflateError::TooBig => Violation::too_big("message too big"),
        InflateError::Corrupt => Violation::payload("invalid compressed data"),
    }
}

/// The payload of a Close frame (RFC 6455 section 5.5.1): nothing, or a code and a reason in UTF-8.
fn read_close(payload: &[u8]) -> Result<(Option<CloseCode>, &str), Violation> {
    match payload {
        [] => Ok((None, "")),
        [_] => Err(Violation::protocol("close payload of one octet")),
        [high, low, reason @ ..] => {
            let code = CloseCode::new(u16::from_be_bytes([*high, *low]));
            if !code.may_travel() {
                return Err(Violation::protocol("close code must not be sent"));
            }
            let reason = simdutf8::basic::from_utf8(reason);
            Ok((Some(code), reason.map_err(|_| Violation::payload("close reason is not UTF-8"))?))
        }
    }
}

#[cfg(test)]
mod tests;
