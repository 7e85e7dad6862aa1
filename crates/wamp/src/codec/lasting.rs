//! Messages that do not hold on to the octets they were read from, so that one thread can read them and another act on them.
//!
//! The head of a message is small and is copied; its payload stays where it is, and only its place is kept. Knows nothing of
//! threads.

use std::borrow::Cow;
use std::ops::Range;

use super::error::DecodeError;
use super::{Serializer, decode};
use crate::message::{ClientMessage, Payload};

/// A message of a client without the octets it came in.
#[derive(Clone, Debug, PartialEq)]
pub struct Lasting {
    /// With no payload.
    message: ClientMessage<'static>,
    args: Option<Range<usize>>,
    kwargs: Option<Range<usize>>,
}

impl Lasting {
    /// Decodes one message of a client.
    ///
    /// # Errors
    /// When the octets are not one whole message that a client may send.
    pub fn decode(serializer: Serializer, octets: &[u8]) -> Result<Self, DecodeError> {
        let mut message = decode(serializer, octets)?;
        let (mut args, mut kwargs) = (None, None);
        if let Some(payload) = payload_mut(&mut message) {
            args = payload.args.map(|part| place(octets, part));
            kwargs = payload.kwargs.map(|part| place(octets, part));
            *payload = Payload::none(serializer);
        }
        Ok(Self { message: into_static(message), args, kwargs })
    }

    /// The message as [`decode`] would have read it from these octets, which must be the same as before.
    ///
    /// # Panics
    /// When they are too short to be the same.
    #[must_use]
    pub fn restore(self, octets: &[u8]) -> ClientMessage<'_> {
        let Self { message, args, kwargs } = self;
        let mut message: ClientMessage<'_> = message;
        if let Some(payload) = payload_mut(&mut message) {
            payload.args = args.map(|part| &octets[part]);
            payload.kwargs = kwargs.map(|part| &octets[part]);
        }
        message
    }
}

/// Where a part of some octets stands in them.
fn place(octets: &[u8], part: &[u8]) -> Range<usize> {
    let start = part.as_ptr().addr() - octets.as_ptr().addr();
    start..start + part.len()
}

fn payload_mut<'m, 'a>(message: &'m mut ClientMessage<'a>) -> Option<&'m mut Payload<'a>> {
    match message {
        ClientMessage::Error { payload, .. }
        | ClientMessage::Publish { payload, .. }
        | ClientMessage::Call { payload, .. }
        | ClientMessage::Yield { payload, .. } => Some(payload),
        _ => None,
    }
}

/// The message with texts of its own. There must be no payload in it.
fn into_static(message: ClientMessage<'_>) -> ClientMessage<'static> {
    use ClientMessage as M;
    let own = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
    let none = |payload: Payload<'_>| Payload::none(payload.serializer);
    match message {
        M::Hello { realm, details } => M::Hello { realm: own(realm), details },
        M::Abort { details, reason } => M::Abort { details, reason: own(reason) },
        M::Authenticate { signature, extra } => M::Authenticate { signature: own(signature), extra },
        M::Goodbye { details, reason } => M::Goodbye { details, reason: own(reason) },
        M::Error { invocation, details, error, payload } => {
            M::Error { invocation, details, error: own(error), payload: none(payload) }
        }
        M::Publish { request, options, topic, payload } => {
            M::Publish { request, options, topic: own(topic), payload: none(payload) }
        }
        M::Subscribe { request, options, topic } => M::Subscribe { request, options, topic: own(topic) },
        M::Unsubscribe { request, subscription } => M::Unsubscribe { request, subscription },
        M::Call { request, options, procedure, payload } => {
            M::Call { request, options, procedure: own(procedure), payload: none(payload) }
        }
        M::Cancel { request, options } => M::Cancel { request, options },
        M::Register { request, options, procedure } => M::Register { request, options, procedure: own(procedure) },
        M::Unregister { request, registration } => M::Unregister { request, registration },
        M::Yield { invocation, options, payload } => M::Yield { invocation, options, payload: none(payload) },
    }
}
