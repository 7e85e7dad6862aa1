//! What a body asks for: the topic or procedure, the payload as the slices that arrived, the options with their types.
//!
//! The payload is never rebuilt, so that big integers and `1.0` reach subscribers as they were written. What would do
//! harm there is refused here, before anybody is told an id: not-a-number, numbers beyond a double, lone surrogates,
//! nesting without end. Whether the URI is well-formed and allowed is the router's question.

use std::borrow::Cow;
use std::ops::Range;

use stentor_model::limit::{NESTING_DEPTH_MAX, OPTIONS_BYTES_MAX, URI_BYTES_MAX};
use stentor_wamp::codec::json::Reader;
use stentor_wamp::codec::{Kind, Read as _, Syntax, SyntaxError};
use stentor_wamp::publish_options::{OptionFault, PublishOptions};
use stentor_wamp::value::Value;

use super::answer::Refusal;

/// One publication that a body asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submission<'a> {
    /// Not empty, and within the limit of length; not checked further.
    pub topic: Cow<'a, str>,
    /// One JSON array as it arrived; nothing where it was absent, null or empty, as WAMP leaves an empty list away.
    pub args: Option<&'a [u8]>,
    /// One JSON object as it arrived; nothing where it was absent, null or empty.
    pub kwargs: Option<&'a [u8]>,
    /// The WAMP options of the publication.
    pub options: PublishOptions,
}

/// A [`Submission`] apart from the body that it was read from.
#[derive(Clone, Debug)]
pub struct LastingSubmission {
    topic: String,
    args: Option<Range<usize>>,
    kwargs: Option<Range<usize>>,
    options: PublishOptions,
}

impl LastingSubmission {
    /// The submission again, of the body that it came from.
    #[must_use]
    pub fn lend(self, body: &[u8]) -> Submission<'_> {
        let part = |place: Option<Range<usize>>| place.and_then(|place| body.get(place));
        let (args, kwargs) = (part(self.args), part(self.kwargs));
        Submission { topic: self.topic.into(), args, kwargs, options: self.options }
    }
}

impl Submission<'_> {
    /// The same without its body, for threads that only read.
    #[must_use]
    pub fn lasting(self, body: &[u8]) -> LastingSubmission {
        let place = |part: &[u8]| {
            let start = part.as_ptr().addr() - body.as_ptr().addr();
            start..start + part.len()
        };
        let (args, kwargs) = (self.args.map(place), self.kwargs.map(place));
        LastingSubmission { topic: self.topic.into_owned(), args, kwargs, options: self.options }
    }

    /// How long its payload is.
    #[must_use]
    pub fn octets(&self) -> usize {
        self.args.map_or(0, <[u8]>::len) + self.kwargs.map_or(0, <[u8]>::len)
    }
}

/// One call that a body asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallSubmission<'a> {
    /// Not empty, and within the limit of length; not checked further.
    pub procedure: Cow<'a, str>,
    /// As in [`Submission`].
    pub args: Option<&'a [u8]>,
    /// As in [`Submission`].
    pub kwargs: Option<&'a [u8]>,
}

/// Reads the body of a publish request. Unknown keys are ignored; of a repeated key the last counts.
///
/// # Errors
///
/// 400 with the field at fault.
pub fn parse_publish(body: &[u8]) -> Result<Submission<'_>, Refusal> {
    let mut raw = RawBody::parse(body, "topic")?;
    Ok(Submission { topic: raw.uri()?, args: raw.args()?, kwargs: raw.kwargs()?, options: raw.options()? })
}

/// Reads the body of a call request, like [`parse_publish`] but for `procedure` and without options.
///
/// # Errors
///
/// 400 with the field at fault.
pub fn parse_call(body: &[u8]) -> Result<CallSubmission<'_>, Refusal> {
    let mut raw = RawBody::parse(body, "procedure")?;
    Ok(CallSubmission { procedure: raw.uri()?, args: raw.args()?, kwargs: raw.kwargs()? })
}

/// The members that count. They are judged when all are read, so that only the last of a repeated key is; `null` is as
/// good as absent.
struct RawBody<'a> {
    uri_field: &'static str,
    uri: Uri<'a>,
    args: Option<&'a [u8]>,
    kwargs: Option<&'a [u8]>,
    options: Option<&'a [u8]>,
}

/// What stands where the topic or the procedure belongs.
enum Uri<'a> {
    Absent,
    Text(Cow<'a, str>),
    Other,
}

impl<'a> From<CallSubmission<'a>> for Submission<'a> {
    /// A call is read as a publication is, but for options.
    fn from(call: CallSubmission<'a>) -> Self {
        Self { topic: call.procedure, args: call.args, kwargs: call.kwargs, options: PublishOptions::default() }
    }
}

impl<'a> RawBody<'a> {
    /// Walks over the body once. What that walk takes is JSON that every serializer can express.
    fn parse(body: &'a [u8], uri_field: &'static str) -> Result<Self, Refusal> {
        let mut reader = Reader::new(body).map_err(|error| fault(body, None, error))?;
        if reader.kind().map_err(|error| fault(body, None, error))? != Kind::Dict {
            reader.skip().and_then(|_| reader.finish()).map_err(|error| fault(body, None, error))?;
            return Err(Refusal::malformed("the body is valid JSON, but it has to be an object: {...}"));
        }
        let mut raw = Self { uri_field, uri: Uri::Absent, args: None, kwargs: None, options: None };
        let mut member = None;
        raw.read(&mut reader, &mut member).map_err(|error| fault(body, member.as_deref(), error))?;
        Ok(raw)
    }

    /// `member` is the one that is being read, so that a fault can name it.
    fn read(&mut self, reader: &mut Reader<'a>, member: &mut Option<Cow<'a, str>>) -> Result<(), SyntaxError> {
        let mut members = reader.dict()?;
        while let Some(name) = reader.text_key(&mut members)? {
            let name = &**member.insert(name);
            if name == self.uri_field {
                self.uri = Uri::read(reader)?;
            } else {
                let value = reader.skip()?;
                let slot = match name {
                    "args" => &mut self.args,
                    "kwargs" => &mut self.kwargs,
                    "options" => &mut self.options,
                    _ => continue,
                };
                *slot = Some(value).filter(|value| *value != b"null");
            }
        }
        *member = None;
        reader.finish()
    }

    fn uri(&mut self) -> Result<Cow<'a, str>, Refusal> {
        let field = self.uri_field;
        let uri = match std::mem::replace(&mut self.uri, Uri::Absent) {
            Uri::Text(uri) => uri,
            Uri::Absent => return Err(Refusal::malformed(format!("the body has no '{field}'")).at(field)),
            Uri::Other => return Err(Refusal::malformed(format!("'{field}' has to be a string")).at(field)),
        };
        if uri.is_empty() {
            return Err(Refusal::malformed(format!("'{field}' is empty")).at(field));
        }
        if uri.len() > URI_BYTES_MAX {
            let sentence = format!("'{field}' has {} octets, and at most {URI_BYTES_MAX} are allowed", uri.len());
            return Err(Refusal::malformed(sentence).at(field));
        }
        Ok(uri)
    }

    fn args(&self) -> Result<Option<&'a [u8]>, Refusal> {
        container(self.args, b'[', "'args' has to be an array", "args")
    }

    fn kwargs(&self) -> Result<Option<&'a [u8]>, Refusal> {
        container(self.kwargs, b'{', "'kwargs' has to be an object", "kwargs")
    }

    fn options(&self) -> Result<PublishOptions, Refusal> {
        let Some(raw) = self.options else { return Ok(PublishOptions::default()) };
        container(Some(raw), b'{', "'options' has to be an object", "options")?;
        if raw.len() > OPTIONS_BYTES_MAX {
            let sentence = format!("'options' has {} octets, and at most {OPTIONS_BYTES_MAX} are allowed", raw.len());
            return Err(Refusal::malformed(sentence).at("options"));
        }
        publish_options(raw)
    }
}

impl<'a> Uri<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, SyntaxError> {
        match reader.kind()? {
            Kind::Text => reader.text().map(Self::Text),
            Kind::Null => reader.skip().map(|_| Self::Absent),
            _ => reader.skip().map(|_| Self::Other),
        }
    }
}

/// Checks a value by its first octet, which is enough once the reader has taken the whole text.
fn container<'a>(
    raw: Option<&'a [u8]>,
    opening: u8,
    sentence: &'static str,
    field: &'static str,
) -> Result<Option<&'a [u8]>, Refusal> {
    let Some(raw) = raw else { return Ok(None) };
    let Some(inside) = raw.strip_prefix(&[opening]) else {
        return Err(Refusal::malformed(sentence).at(field));
    };
    // What is left of an empty container is its closing bracket.
    Ok(Some(raw).filter(|_| inside.trim_ascii_start().len() > 1))
}

/// The sentence for a text that cannot be read, with the member in which the fault lies where the client can find it
/// better by that than by line and column.
pub(super) fn fault(body: &[u8], member: Option<&str>, error: SyntaxError) -> Refusal {
    let at = error.position.min(body.len());
    let number = body[at..].strip_prefix(b"-").unwrap_or(&body[at..]);
    let sentence = match error.syntax {
        _ if body.trim_ascii().is_empty() => {
            return Refusal::malformed("the body is empty; it has to be a JSON object");
        }
        Syntax::ByteOrderMark => "the body begins with a byte order mark, which JSON does not allow".to_owned(),
        Syntax::Utf8 => format!("the body is not UTF-8: octet {at} begins no character"),
        Syntax::Depth => format!("the body is nested deeper than {NESTING_DEPTH_MAX} levels"),
        Syntax::Surrogate => {
            format!("the string at octet {at} has half of a surrogate pair: \\ud800 to \\udfff")
        }
        Syntax::Range => format!("the number at octet {at} is too large for any receiver"),
        _ if number.starts_with(b"NaN") || number.starts_with(b"Infinity") => {
            format!("NaN and Infinity are not JSON; there is one at octet {at}")
        }
        syntax => {
            let line = body[..at].iter().filter(|octet| **octet == b'\n').count() + 1;
            let column = at - body[..at].iter().rposition(|octet| *octet == b'\n').map_or(0, |end| end + 1) + 1;
            return Refusal::malformed(format!("the body is not valid JSON: {syntax} at line {line} column {column}"));
        }
    };
    let refusal = Refusal::malformed(sentence);
    match member {
        Some(member) => refusal.at(member.to_owned()),
        None => refusal,
    }
}

/// The options as the router reads them; a fault names its place, such as `options.eligible[2]`.
fn publish_options(raw: &[u8]) -> Result<PublishOptions, Refusal> {
    let text = |error: SyntaxError| Refusal::malformed(format!("the options cannot be read: {error}")).at("options");
    let mut reader = Reader::new(raw).map_err(text)?;
    let Value::Dict(dict) = reader.value().map_err(text)? else { return Ok(PublishOptions::default()) };
    PublishOptions::from_dict(&dict).map_err(|OptionFault { option, expected }| {
        let field = format!("options.{option}");
        Refusal::malformed(format!("'{field}' has to be {expected}")).at(field)
    })
}

#[cfg(test)]
mod tests;
