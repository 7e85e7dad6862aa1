//! One message, framed once for each form in which somebody wants it.
//!
//! A form is everything that changes the octets on the wire: serializer, batching, compression window, fragment size.
//! Subscribers of one event differ in a handful of forms at the most, so a list is searched, not a map.

use bytes::Bytes;
use stentor_wamp::codec::batch::{self, Separator};
use stentor_wamp::codec::{self, Batching, Format, OwnedPayload, Serializer, TranscodeError};
use stentor_wamp::message::{Payload, RouterMessage};
use stentor_websocket::deflate::{Deflater, Window};
use stentor_websocket::frame::{Draft, Opcode};

/// Messages below this many octets are sent as they are: deflate would gain next to nothing for 7 µs.
pub const COMPRESS_BYTES_MIN: usize = 512;

/// Messages above this many octets are sent as they are: frames are built under the lock of a realm, and deflate takes some
/// five milliseconds for this much where it finds little to save.
pub const COMPRESS_BYTES_MAX: usize = 512 * 1024;

/// Octets that most messages fit into, beside their payload.
const ENVELOPE_BYTES: usize = 96;

/// Everything that decides about the octets on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Form {
    /// Serializer and batching.
    pub format: Format,
    /// What separates batched JSON messages.
    pub separator: Separator,
    /// The window that was agreed for our side; nothing without compression.
    pub window: Option<Window>,
    /// Octets of one frame; 0 for whole messages.
    pub fragment_bytes: usize,
}

/// Frames one message.
///
/// # Errors
/// When the payload has no equal in the serializer.
pub fn frame(message: &RouterMessage<'_>, form: Form, deflater: &mut Deflater) -> Result<Bytes, TranscodeError> {
    let Format { serializer, batched } = form.format;
    let mut draft = Draft::with_capacity(ENVELOPE_BYTES + payload_bytes(message));
    let out = draft.payload();
    match batched {
        Batching::Single => codec::encode(serializer, message, out)?,
        Batching::Batched => {
            let begun = batch::begin(serializer, out);
            codec::encode(serializer, message, out)?;
            batch::finish(serializer, begun, form.separator, out);
        }
    }
    let opcode = match serializer {
        Serializer::Json => Opcode::Text,
        Serializer::Msgpack | Serializer::Cbor => Opcode::Binary,
    };
    if let Some(window) = form.window
        && (COMPRESS_BYTES_MIN..=COMPRESS_BYTES_MAX).contains(&draft.payload_bytes().len())
        && let Some(small) = Draft::deflated(draft.payload_bytes(), window, deflater)
        && small.payload_bytes().len() < draft.payload_bytes().len()
    {
        draft = small;
    }
    Ok(draft.finish_fragmented(opcode, form.fragment_bytes))
}

fn payload_bytes(message: &RouterMessage<'_>) -> usize {
    match message {
        RouterMessage::Event { payload, .. }
        | RouterMessage::Result { payload, .. }
        | RouterMessage::Error { payload, .. }
        | RouterMessage::Invocation { payload, .. } => {
            payload.args.map_or(0, <[u8]>::len) + payload.kwargs.map_or(0, <[u8]>::len)
        }
        RouterMessage::Welcome { .. } => 1024,
        _ => 0,
    }
}

/// A payload in the serializers that are asked for, transcoded at most once for each.
#[derive(Debug)]
pub struct PayloadForms<'a> {
    original: Payload<'a>,
    others: Vec<(Serializer, Result<OwnedPayload, TranscodeError>)>,
}

impl<'a> PayloadForms<'a> {
    /// The payload as it came.
    #[must_use]
    pub const fn new(original: Payload<'a>) -> Self {
        Self { original, others: Vec::new() }
    }

    /// The payload in that serializer.
    ///
    /// # Errors
    /// When it has no equal there.
    pub fn get(&mut self, serializer: Serializer) -> Result<Payload<'_>, TranscodeError> {
        if serializer == self.original.serializer {
            return Ok(self.original);
        }
        let place = match self.others.iter().position(|(of, _)| *of == serializer) {
            Some(place) => place,
            None => {
                self.others.push((serializer, self.original.transcoded(serializer)));
                self.others.len() - 1
            }
        };
        match &self.others[place].1 {
            Ok(payload) => Ok(payload.as_payload()),
            Err(error) => Err(*error),
        }
    }
}

/// The frames of one event, each built when its first receiver wants it.
#[derive(Debug, Default)]
pub struct FrameCache {
    /// Most events go out in one form only, which needs no list.
    first: Option<(Form, Option<Bytes>)>,
    more: Vec<(Form, Option<Bytes>)>,
}

impl FrameCache {
    /// The frame of that form, if somebody has wanted it; nothing in it when the event cannot be written so.
    pub fn find(&self, form: Form) -> Option<Option<Bytes>> {
        self.first.iter().chain(&self.more).find(|(of, _)| *of == form).map(|(_, frame)| frame.clone())
    }

    /// Keeps the frame of a form that was not there.
    pub fn keep(&mut self, form: Form, frame: Option<Bytes>) {
        match self.first {
            None => self.first = Some((form, frame)),
            Some(_) => self.more.push((form, frame)),
        }
    }
}
