//! Decoding what a client sends: one pass over the octets, from the first to the very last.
//!
//! Arity, sorts of fields, ranges of identifiers, UTF-8 and the whole syntax are checked, that of payloads included, so
//! that what has been decoded can be passed on unread. URIs and the order of requests are not this module's concern.

use std::borrow::Cow;

use stentor_model::limit::{OPTIONS_BYTES_MAX, TEXT_BYTES_MAX};
use stentor_model::{InvocationId, RegistrationId, RequestId, SubscriptionId};

use super::error::{DecodeError, Expected, MessageType, Syntax, SyntaxError};
use super::token::{Kind, Open, Read, Token};
use super::{Serializer, cbor, json, msgpack};
use crate::message::{ClientMessage, Payload};
use crate::value::Dict;

/// Decodes one message of a client.
///
/// # Errors
/// When the octets are not one whole message that a client may send.
pub fn decode(serializer: Serializer, octets: &[u8]) -> Result<ClientMessage<'_>, DecodeError> {
    match serializer {
        Serializer::Json => {
            let reader = json::Reader::new(octets).map_err(|error| DecodeError::Syntax { serializer, error })?;
            message(serializer, reader)
        }
        Serializer::Msgpack => message(serializer, msgpack::Reader::new(octets)),
        Serializer::Cbor => message(serializer, cbor::Reader::new(octets)),
    }
}

/// Decodes one message of a client from JSON that is known to be UTF-8.
///
/// # Errors
/// When the text is not one whole message that a client may send.
pub fn decode_text(text: &str) -> Result<ClientMessage<'_>, DecodeError> {
    let serializer = Serializer::Json;
    let reader = json::Reader::of_text(text).map_err(|error| DecodeError::Syntax { serializer, error })?;
    message(serializer, reader)
}

/// The message list, its code first; the code says which fields follow.
fn message<'a, R: Read<'a> + Clone>(serializer: Serializer, mut reader: R) -> Result<ClientMessage<'a>, DecodeError> {
    let malformed = |error| DecodeError::Syntax { serializer, error };
    let mut list = match reader.token().map_err(malformed)? {
        Token::List(list) => list,
        other => return Err(DecodeError::NotAList(other.kind())),
    };
    if !reader.more(&mut list).map_err(malformed)? {
        return Err(DecodeError::Empty);
    }
    let code = reader.token().map_err(malformed)?;
    let code = integer(&code).ok_or(DecodeError::CodeKind(code.kind()))?;
    let message = u64::try_from(code).ok().and_then(MessageType::from_code).ok_or(DecodeError::UnknownCode(code))?;
    fields(Fields { reader, list, serializer, message, read: 1 })
}

/// Every message that a client may send, field by field.
fn fields<'a, R: Read<'a> + Clone>(mut fields: Fields<R>) -> Result<ClientMessage<'a>, DecodeError> {
    Ok(match fields.message {
        MessageType::Hello => {
            let (realm, details) = (fields.text("Realm")?, fields.dict("Details")?);
            fields.whole(ClientMessage::Hello { realm, details })?
        }
        MessageType::Abort => {
            let (details, reason) = (fields.dict("Details")?, fields.text("Reason")?);
            fields.whole(ClientMessage::Abort { details, reason })?
        }
        MessageType::Authenticate => {
            let (signature, extra) = (fields.text("Signature")?, fields.dict("Extra")?);
            fields.whole(ClientMessage::Authenticate { signature, extra })?
        }
        MessageType::Goodbye => {
            let (details, reason) = (fields.dict("Details")?, fields.text("Reason")?);
            fields.whole(ClientMessage::Goodbye { details, reason })?
        }
        MessageType::Error => {
            fields.invocation_code()?;
            let invocation = fields.id("Request", InvocationId::new)?;
            let (details, error) = (fields.dict("Details")?, fields.text("Error")?);
            ClientMessage::Error { invocation, details, error, payload: fields.payload()? }
        }
        MessageType::Publish => {
            let (request, options) = fields.request()?;
            let topic = fields.text("Topic")?;
            ClientMessage::Publish { request, options, topic, payload: fields.payload()? }
        }
        MessageType::Subscribe => {
            let (request, options) = fields.request()?;
            let topic = fields.text("Topic")?;
            fields.whole(ClientMessage::Subscribe { request, options, topic })?
        }
        MessageType::Unsubscribe => {
            let request = fields.id("Request", RequestId::new)?;
            let subscription = fields.id("Subscription", SubscriptionId::new)?;
            fields.whole(ClientMessage::Unsubscribe { request, subscription })?
        }
        MessageType::Call => {
            let (request, options) = fields.request()?;
            let procedure = fields.text("Procedure")?;
            ClientMessage::Call { request, options, procedure, payload: fields.payload()? }
        }
        MessageType::Cancel => {
            let (request, options) = fields.request()?;
            fields.whole(ClientMessage::Cancel { request, options })?
        }
        MessageType::Register => {
            let (request, options) = fields.request()?;
            let procedure = fields.text("Procedure")?;
            fields.whole(ClientMessage::Register { request, options, procedure })?
        }
        MessageType::Unregister => {
            let request = fields.id("Request", RequestId::new)?;
            let registration = fields.id("Registration", RegistrationId::new)?;
            fields.whole(ClientMessage::Unregister { request, registration })?
        }
        MessageType::Yield => {
            let invocation = fields.id("Request", InvocationId::new)?;
            let options = fields.dict("Options")?;
            ClientMessage::Yield { invocation, options, payload: fields.payload()? }
        }
        // The other types are those of routers.
        message => return Err(DecodeError::FromRouter(message)),
    })
}

/// The number, when the token is an integer. Floats are never taken for one, not even `1.0`.
fn integer(token: &Token<'_>) -> Option<i128> {
    match token {
        Token::Int(value) => Some((*value).into()),
        Token::Uint(value) => Some((*value).into()),
        _ => None,
    }
}

/// The fields of one message, taken in order.
struct Fields<R> {
    reader: R,
    list: Open,
    serializer: Serializer,
    message: MessageType,
    /// How many elements have been read, the message type included.
    read: usize,
}

impl<'a, R: Read<'a> + Clone> Fields<R> {
    fn malformed(&self, error: SyntaxError) -> DecodeError {
        DecodeError::Syntax { serializer: self.serializer, error }
    }

    fn more(&mut self) -> Result<bool, DecodeError> {
        let more = self.reader.more(&mut self.list).map_err(|error| self.malformed(error))?;
        self.read += usize::from(more);
        Ok(more)
    }

    fn demand(&mut self, field: &'static str) -> Result<(), DecodeError> {
        if self.more()? { Ok(()) } else { Err(DecodeError::Missing { message: self.message, field }) }
    }

    fn wrong(&self, field: &'static str, expected: Expected, found: Kind) -> DecodeError {
        DecodeError::Field { message: self.message, field, expected, found }
    }

    /// The sort of the field that comes next has to be the expected one.
    fn expect(&mut self, field: &'static str, kind: Kind, expected: Expected) -> Result<(), DecodeError> {
        let found = self.reader.kind().map_err(|error| self.malformed(error))?;
        if found == kind { Ok(()) } else { Err(self.wrong(field, expected, found)) }
    }

    fn integer(&mut self, field: &'static str, expected: Expected) -> Result<i128, DecodeError> {
        self.demand(field)?;
        let token = self.reader.token().map_err(|error| self.malformed(error))?;
        integer(&token).ok_or_else(|| self.wrong(field, expected, token.kind()))
    }

    fn id<T>(&mut self, field: &'static str, new: fn(u64) -> Option<T>) -> Result<T, DecodeError> {
        let found = self.integer(field, Expected::Id)?;
        u64::try_from(found).ok().and_then(new).ok_or(DecodeError::IdRange { message: self.message, field, found })
    }

    fn invocation_code(&mut self) -> Result<(), DecodeError> {
        let code = self.integer("RequestType", Expected::Code)?;
        if code == MessageType::Invocation as i128 { Ok(()) } else { Err(DecodeError::ErrorRequestType(code)) }
    }

    fn text(&mut self, field: &'static str) -> Result<Cow<'a, str>, DecodeError> {
        self.demand(field)?;
        self.expect(field, Kind::Text, Expected::Text)?;
        let text = self.reader.text().map_err(|error| self.malformed(error))?;
        if text.len() > TEXT_BYTES_MAX {
            return Err(DecodeError::TooLong { message: self.message, field, bytes_max: TEXT_BYTES_MAX });
        }
        Ok(text)
    }

    fn request(&mut self) -> Result<(RequestId, Dict), DecodeError> {
        Ok((self.id("Request", RequestId::new)?, self.dict("Options")?))
    }

    /// Options, details or extra: read whole, within their limit.
    fn dict(&mut self, field: &'static str) -> Result<Dict, DecodeError> {
        self.demand(field)?;
        // The limit comes before the values: a tree takes many times the memory of its octets.
        let length = self.reader.clone().skip().map_err(|error| self.malformed(error))?.len();
        if length > OPTIONS_BYTES_MAX {
            return Err(DecodeError::TooLong { message: self.message, field, bytes_max: OPTIONS_BYTES_MAX });
        }
        let mut open = self.enter_dict(field)?;
        let mut entries = Vec::new();
        while let Some(key) = self.key(field, &mut open)? {
            let value = self.reader.value().map_err(|error| self.malformed(error))?;
            entries.push((key.into_owned(), value));
        }
        let count = entries.len();
        let dict: Dict = entries.into_iter().collect();
        // What a repeated key means depends on the reader, and others may read it otherwise.
        if dict.len() < count {
            return Err(DecodeError::Repeated { message: self.message, field });
        }
        Ok(dict)
    }

    fn enter_dict(&mut self, field: &'static str) -> Result<Open, DecodeError> {
        self.expect(field, Kind::Dict, Expected::Dict)?;
        self.reader.dict().map_err(|error| self.malformed(error))
    }

    fn key(&mut self, field: &'static str, dict: &mut Open) -> Result<Option<Cow<'a, str>>, DecodeError> {
        self.reader.text_key(dict).map_err(|error| match error.syntax {
            Syntax::Key(found) => DecodeError::Key { message: self.message, field, found },
            _ => self.malformed(error),
        })
    }

    /// The tail of the message, and nothing behind it.
    fn payload(mut self) -> Result<Payload<'a>, DecodeError> {
        let mut payload = Payload { serializer: self.serializer, args: None, kwargs: None };
        if !self.more()? {
            return self.finish(payload);
        }
        self.expect("Arguments", Kind::List, Expected::List)?;
        payload.args = Some(self.reader.skip().map_err(|error| self.malformed(error))?);
        if !self.more()? {
            return self.finish(payload);
        }
        self.expect("ArgumentsKw", Kind::Dict, Expected::Dict)?;
        let start = self.reader.position();
        let mut open = self.enter_dict("ArgumentsKw")?;
        while self.key("ArgumentsKw", &mut open)?.is_some() {
            self.reader.skip().map_err(|error| self.malformed(error))?;
        }
        payload.kwargs = Some(self.reader.since(start));
        self.whole(payload)
    }

    /// Nothing more in the list, nothing behind it: this is the whole message.
    fn whole<T>(mut self, whole: T) -> Result<T, DecodeError> {
        let elements_max = self.read;
        if self.more()? {
            return Err(DecodeError::Surplus { message: self.message, elements_max });
        }
        self.finish(whole)
    }

    fn finish<T>(mut self, whole: T) -> Result<T, DecodeError> {
        match self.reader.finish() {
            Ok(()) => Ok(whole),
            Err(error) => Err(self.malformed(error)),
        }
    }
}
