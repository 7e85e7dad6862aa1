//! Encoding messages into a buffer. A payload in the receiver's serializer is copied as it stands, any other is
//! transcoded on its way.

use super::error::{MessageType, TranscodeError};
use super::write::{Begun, Write};
use super::{Serializer, cbor, json, msgpack, transcode};
use crate::message::{ClientMessage, Payload, RouterMessage};
use crate::value::Dict;

/// Appends a message of the router.
///
/// Empty arguments are left out, since "Arguments" and "ArgumentsKw" SHOULD NOT be sent empty; only an empty list before
/// a dictionary with entries has to stay.
///
/// # Errors
/// When the payload or a value in the details has no counterpart in `serializer`; the buffer is then as it was.
pub fn encode(serializer: Serializer, message: &RouterMessage<'_>, out: &mut Vec<u8>) -> Result<(), TranscodeError> {
    let start = out.len();
    let written = match serializer {
        Serializer::Json => router(Fields::new(serializer, json::Writer(out)), message),
        Serializer::Msgpack => router(Fields::new(serializer, msgpack::Writer(out)), message),
        Serializer::Cbor => router(Fields::new(serializer, cbor::Writer(out)), message),
    };
    if written.is_err() {
        out.truncate(start);
    }
    written
}

/// Appends a message of a client, as test and bench clients need it.
///
/// # Errors
/// When the payload or a value in the options has no counterpart in `serializer`; the buffer is then as it was.
pub fn encode_client(
    serializer: Serializer,
    message: &ClientMessage<'_>,
    out: &mut Vec<u8>,
) -> Result<(), TranscodeError> {
    let start = out.len();
    let written = match serializer {
        Serializer::Json => client(Fields::new(serializer, json::Writer(out)), message),
        Serializer::Msgpack => client(Fields::new(serializer, msgpack::Writer(out)), message),
        Serializer::Cbor => client(Fields::new(serializer, cbor::Writer(out)), message),
    };
    if written.is_err() {
        out.truncate(start);
    }
    written
}

fn router<W: Write>(fields: Fields<W>, message: &RouterMessage<'_>) -> Result<(), TranscodeError> {
    use MessageType as Type;
    match message {
        RouterMessage::Welcome { session, details } => {
            fields.begin(Type::Welcome, 2).uint(session.get()).dict(details)?.end();
        }
        RouterMessage::Abort { message, reason } => {
            fields.begin(Type::Abort, 2).message(message).text(reason).end();
        }
        RouterMessage::Challenge { method, extra } => {
            fields.begin(Type::Challenge, 2).text(method).dict(extra)?.end();
        }
        RouterMessage::Goodbye { reason } => {
            fields.begin(Type::Goodbye, 2).dict(&Dict::new())?.text(reason).end();
        }
        RouterMessage::Error { kind, request, details, error, payload } => {
            let (fields, tail) = fields.begin_with(Type::Error, 4, payload);
            fields.uint(*kind as u64).uint(request.get()).dict(details)?.text(error).tail(tail)?.end();
        }
        RouterMessage::Published { request, publication } => {
            fields.begin(Type::Published, 2).uint(request.get()).uint(publication.get()).end();
        }
        RouterMessage::Subscribed { request, subscription } => {
            fields.begin(Type::Subscribed, 2).uint(request.get()).uint(subscription.get()).end();
        }
        RouterMessage::Unsubscribed { request } => {
            fields.begin(Type::Unsubscribed, 1).uint(request.get()).end();
        }
        RouterMessage::Event { subscription, publication, details, payload } => {
            let (fields, tail) = fields.begin_with(Type::Event, 3, payload);
            fields.uint(subscription.get()).uint(publication.get()).dict(details)?.tail(tail)?.end();
        }
        RouterMessage::Result { request, details, payload } => {
            let (fields, tail) = fields.begin_with(Type::Result, 2, payload);
            fields.uint(request.get()).dict(details)?.tail(tail)?.end();
        }
        RouterMessage::Registered { request, registration } => {
            fields.begin(Type::Registered, 2).uint(request.get()).uint(registration.get()).end();
        }
        RouterMessage::Unregistered { request } => {
            fields.begin(Type::Unregistered, 1).uint(request.get()).end();
        }
        RouterMessage::Invocation { invocation, registration, details, payload } => {
            let (fields, tail) = fields.begin_with(Type::Invocation, 3, payload);
            fields.uint(invocation.get()).uint(registration.get()).dict(details)?.tail(tail)?.end();
        }
        RouterMessage::Interrupt { invocation, options } => {
            fields.begin(Type::Interrupt, 2).uint(invocation.get()).dict(options)?.end();
        }
    }
    Ok(())
}

fn client<W: Write>(fields: Fields<W>, message: &ClientMessage<'_>) -> Result<(), TranscodeError> {
    use MessageType as Type;
    match message {
        ClientMessage::Hello { realm, details } => fields.begin(Type::Hello, 2).text(realm).dict(details)?.end(),
        ClientMessage::Abort { details, reason } => fields.begin(Type::Abort, 2).dict(details)?.text(reason).end(),
        ClientMessage::Authenticate { signature, extra } => {
            fields.begin(Type::Authenticate, 2).text(signature).dict(extra)?.end();
        }
        ClientMessage::Goodbye { details, reason } => fields.begin(Type::Goodbye, 2).dict(details)?.text(reason).end(),
        ClientMessage::Error { invocation, details, error, payload } => {
            let (fields, tail) = fields.begin_with(Type::Error, 4, payload);
            let fields = fields.uint(Type::Invocation as u64).uint(invocation.get());
            fields.dict(details)?.text(error).tail(tail)?.end();
        }
        ClientMessage::Publish { request, options, topic, payload } => {
            let (fields, tail) = fields.begin_with(Type::Publish, 3, payload);
            fields.uint(request.get()).dict(options)?.text(topic).tail(tail)?.end();
        }
        ClientMessage::Subscribe { request, options, topic } => {
            fields.begin(Type::Subscribe, 3).uint(request.get()).dict(options)?.text(topic).end();
        }
        ClientMessage::Unsubscribe { request, subscription } => {
            fields.begin(Type::Unsubscribe, 2).uint(request.get()).uint(subscription.get()).end();
        }
        ClientMessage::Call { request, options, procedure, payload } => {
            let (fields, tail) = fields.begin_with(Type::Call, 3, payload);
            fields.uint(request.get()).dict(options)?.text(procedure).tail(tail)?.end();
        }
        ClientMessage::Cancel { request, options } => {
            fields.begin(Type::Cancel, 2).uint(request.get()).dict(options)?.end();
        }
        ClientMessage::Register { request, options, procedure } => {
            fields.begin(Type::Register, 3).uint(request.get()).dict(options)?.text(procedure).end();
        }
        ClientMessage::Unregister { request, registration } => {
            fields.begin(Type::Unregister, 2).uint(request.get()).uint(registration.get()).end();
        }
        ClientMessage::Yield { invocation, options, payload } => {
            let (fields, tail) = fields.begin_with(Type::Yield, 2, payload);
            fields.uint(invocation.get()).dict(options)?.tail(tail)?.end();
        }
    }
    Ok(())
}

/// What is to be written of a payload.
enum Tail<'a> {
    Nothing,
    Args(&'a [u8], Serializer),
    /// Without arguments of their own, dictionaries follow an empty list.
    Both(Option<&'a [u8]>, &'a [u8], Serializer),
}

impl<'a> Tail<'a> {
    fn of(payload: &Payload<'a>) -> Self {
        let from = payload.serializer;
        let filled = |octets: Option<&'a [u8]>| octets.filter(|octets| !transcode::is_empty_container(from, octets));
        match (filled(payload.args), filled(payload.kwargs)) {
            (None, None) => Self::Nothing,
            (Some(args), None) => Self::Args(args, from),
            (args, Some(kwargs)) => Self::Both(args, kwargs, from),
        }
    }

    const fn len(&self) -> usize {
        match self {
            Self::Nothing => 0,
            Self::Args(..) => 1,
            Self::Both(..) => 2,
        }
    }
}

/// A message that is being written, field by field.
struct Fields<W> {
    to: Serializer,
    writer: W,
    list: Option<Begun>,
    written: usize,
}

impl<W: Write> Fields<W> {
    const fn new(to: Serializer, writer: W) -> Self {
        Self { to, writer, list: None, written: 0 }
    }

    /// The head of a message with so many fields after its type.
    fn begin(mut self, message: MessageType, fields: usize) -> Self {
        self.list = Some(self.writer.begin_list(Some(fields + 1)));
        self.uint(message as u64)
    }

    /// The head of a message that ends in a payload.
    fn begin_with<'a>(self, message: MessageType, fields: usize, payload: &Payload<'a>) -> (Self, Tail<'a>) {
        let tail = Tail::of(payload);
        (self.begin(message, fields + tail.len()), tail)
    }

    fn field(&mut self) -> &mut W {
        self.writer.separate(self.written);
        self.written += 1;
        &mut self.writer
    }

    fn uint(mut self, value: u64) -> Self {
        self.field().uint(value);
        self
    }

    fn text(mut self, text: &str) -> Self {
        self.field().text(text);
        self
    }

    fn dict(mut self, dict: &Dict) -> Result<Self, TranscodeError> {
        self.field().dict(dict)?;
        Ok(self)
    }

    /// Details that say one sentence.
    fn message(mut self, sentence: &str) -> Self {
        let writer = self.field();
        let begun = writer.begin_dict(Some(1));
        writer.separate(0);
        writer.text("message");
        writer.assign();
        writer.text(sentence);
        writer.end_dict(begun, 1);
        self
    }

    fn tail(mut self, tail: Tail<'_>) -> Result<Self, TranscodeError> {
        match tail {
            Tail::Nothing => {}
            Tail::Args(args, from) => self.payload(from, args)?,
            Tail::Both(args, kwargs, from) => {
                match args {
                    Some(args) => self.payload(from, args)?,
                    None => self.field().items(&[])?,
                }
                self.payload(from, kwargs)?;
            }
        }
        Ok(self)
    }

    fn payload(&mut self, from: Serializer, octets: &[u8]) -> Result<(), TranscodeError> {
        let to = self.to;
        let writer = self.field();
        if from == to {
            writer.raw(octets);
            return Ok(());
        }
        transcode::into(from, octets, writer)
    }

    fn end(mut self) {
        let list = self.list.take().expect("only begun messages end");
        self.writer.end_list(list, self.written);
    }
}
