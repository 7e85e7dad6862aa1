//! What a body asks for: the topic or procedure, the payload as the slices that arrived, the options with their types.
//!
//! The payload is never rebuilt, so that big integers and `1.0` reach subscribers as they were written. What would do
//! harm there is refused here, before anybody is told an id: not-a-number, numbers beyond a double, lone surrogates,
//! nesting without end. Whether the URI is well-formed and allowed is the router's question.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer as _, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use stentor_model::limit::{NESTING_DEPTH_MAX, OPTIONS_BYTES_MAX, URI_BYTES_MAX};
use stentor_wamp::codec::json::Reader;
use stentor_wamp::codec::{Read as _, SyntaxError};
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
    let raw = RawBody::parse(body, "topic")?;
    Ok(Submission { topic: raw.uri()?, args: raw.args()?, kwargs: raw.kwargs()?, options: raw.options()? })
}

/// Reads the body of a call request, like [`parse_publish`] but for `procedure` and without options.
///
/// # Errors
///
/// 400 with the field at fault.
pub fn parse_call(body: &[u8]) -> Result<CallSubmission<'_>, Refusal> {
    let raw = RawBody::parse(body, "procedure")?;
    Ok(CallSubmission { procedure: raw.uri()?, args: raw.args()?, kwargs: raw.kwargs()? })
}

/// The members that count, not yet looked into, so that the last of a repeated key is the only one that is judged.
/// `null` is as good as absent.
struct RawBody<'a> {
    uri_field: &'static str,
    uri: Option<&'a str>,
    args: Option<&'a str>,
    kwargs: Option<&'a str>,
    options: Option<&'a str>,
}

impl<'a> RawBody<'a> {
    fn parse(body: &'a [u8], uri_field: &'static str) -> Result<Self, Refusal> {
        let text = json_text(body)?;
        if !text.trim_ascii_start().starts_with('{') {
            let valid = serde_json::from_str::<IgnoredAny>(text);
            scan(text, NESTING_DEPTH_MAX)?;
            return Err(match valid {
                Ok(_) => Refusal::malformed("the body is valid JSON, but it has to be an object: {...}"),
                Err(error) => syntax(&error),
            });
        }
        scan(text, NESTING_DEPTH_MAX)?;
        let mut raw = Self { uri_field, uri: None, args: None, kwargs: None, options: None };
        each_member(text, |name, value| {
            let slot = match &*name {
                "args" => &mut raw.args,
                "kwargs" => &mut raw.kwargs,
                "options" => &mut raw.options,
                name if name == uri_field => &mut raw.uri,
                _ => return,
            };
            *slot = Some(value).filter(|value| *value != "null");
        })
        .map_err(|error| syntax(&error))?;
        Ok(raw)
    }

    fn uri(&self) -> Result<Cow<'a, str>, Refusal> {
        let field = self.uri_field;
        let Some(raw) = self.uri else {
            return Err(Refusal::malformed(format!("the body has no '{field}'")).at(field));
        };
        let Some(uri) = string(raw) else {
            return Err(Refusal::malformed(format!("'{field}' has to be a string")).at(field));
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
        container(self.args, '[', "'args' has to be an array", "args")
    }

    fn kwargs(&self) -> Result<Option<&'a [u8]>, Refusal> {
        container(self.kwargs, '{', "'kwargs' has to be an object", "kwargs")
    }

    fn options(&self) -> Result<PublishOptions, Refusal> {
        let Some(raw) = self.options else { return Ok(PublishOptions::default()) };
        container(Some(raw), '{', "'options' has to be an object", "options")?;
        if raw.len() > OPTIONS_BYTES_MAX {
            let sentence = format!("'options' has {} octets, and at most {OPTIONS_BYTES_MAX} are allowed", raw.len());
            return Err(Refusal::malformed(sentence).at("options"));
        }
        publish_options(raw)
    }
}

/// The outermost octets of a body: UTF-8, there at all, and without a mark in front.
pub(super) fn json_text(body: &[u8]) -> Result<&str, Refusal> {
    if body.trim_ascii().is_empty() {
        return Err(Refusal::malformed("the body is empty; it has to be a JSON object"));
    }
    if body.starts_with(b"\xef\xbb\xbf") {
        return Err(Refusal::malformed("the body begins with a byte order mark, which JSON does not allow"));
    }
    std::str::from_utf8(body).map_err(|error| {
        Refusal::malformed(format!("the body is not UTF-8: octet {} begins no character", error.valid_up_to()))
    })
}

/// The parser's sentence tells what was expected, and the line and column.
pub(super) fn syntax(error: &serde_json::Error) -> Refusal {
    Refusal::malformed(format!("the body is not valid JSON: {error}"))
}

/// Checks a value by its first octet, which is enough once the parser has taken the whole text.
fn container<'a>(
    raw: Option<&'a str>,
    opening: char,
    sentence: &'static str,
    field: &'static str,
) -> Result<Option<&'a [u8]>, Refusal> {
    let Some(raw) = raw else { return Ok(None) };
    let Some(inside) = raw.strip_prefix(opening) else {
        return Err(Refusal::malformed(sentence).at(field));
    };
    // What is left of an empty container is its closing bracket.
    Ok(Some(raw.as_bytes()).filter(|_| inside.trim_ascii_start().len() > 1))
}

/// The options as the router reads them; a fault names its place, such as `options.eligible[2]`.
fn publish_options(raw: &str) -> Result<PublishOptions, Refusal> {
    let text = |error: SyntaxError| Refusal::malformed(format!("the options cannot be read: {error}")).at("options");
    let mut reader = Reader::of_text(raw).map_err(text)?;
    let Value::Dict(dict) = reader.value().map_err(text)? else { return Ok(PublishOptions::default()) };
    PublishOptions::from_dict(&dict).map_err(|OptionFault { option, expected }| {
        let field = format!("options.{option}");
        Refusal::malformed(format!("'{field}' has to be {expected}")).at(field)
    })
}

fn string(raw: &str) -> Option<Cow<'_, str>> {
    serde_json::from_str(raw).ok().map(|Text(text)| text)
}

/// A string that is borrowed unless it has escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// Hands each member of an object to `visit`, in order, with its value as it is written.
fn each_member<'a>(object: &'a str, visit: impl FnMut(Cow<'a, str>, &'a str)) -> Result<(), serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_str(object);
    deserializer.deserialize_map(Members(visit))?;
    deserializer.end()
}

struct Members<F>(F);

impl<'a, F: FnMut(Cow<'a, str>, &'a str)> Visitor<'a> for Members<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some((Text(name), value)) = map.next_entry::<Text<'a>, &'a RawValue>()? {
            (self.0)(name, value.get());
        }
        Ok(())
    }
}

/// Looks for what the parser lets through in values that it does not build. The rest of the grammar is the parser's.
///
/// It names the member of the outermost object in which the fault lies.
pub(super) fn scan(text: &str, depth_max: usize) -> Result<(), Refusal> {
    let bytes = text.as_bytes();
    let (mut at, mut depth) = (0, 0_usize);
    let mut member: Option<&str> = None;
    let fault = |member: Option<&str>, sentence: String| {
        let refusal = Refusal::malformed(sentence);
        match member {
            Some(member) => refusal.at(member.to_owned()),
            None => refusal,
        }
    };
    while let Some(octet) = bytes.get(at) {
        let start = at;
        at += 1;
        match octet {
            b'{' | b'[' => {
                depth += 1;
                if depth > depth_max {
                    return Err(fault(member, format!("the body is nested deeper than {depth_max} levels")));
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'"' => {
                let Some(end) = string_end(bytes, at) else { return Ok(()) };
                let content = &text[at..end];
                at = end + 1;
                if depth == 1 && bytes[at..].trim_ascii_start().first() == Some(&b':') {
                    member = Some(content);
                }
                if has_lone_surrogate(content.as_bytes()) {
                    let sentence =
                        format!("the string at octet {start} has half of a surrogate pair: \\ud800 to \\udfff");
                    return Err(fault(member, sentence));
                }
            }
            b'N' | b'I' => {
                let sentence = format!("NaN and Infinity are not JSON; there is one at octet {start}");
                return Err(fault(member, sentence));
            }
            b'-' | b'0'..=b'9' => {
                let more = bytes[at..].iter().take_while(|octet| is_number_part(**octet)).count();
                at += more;
                if overflows(&text[start..at]) {
                    return Err(fault(member, format!("the number at octet {start} is too large for any receiver")));
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// Where the string that begins at `from` has its closing quote. Octets do for this: no part of a longer UTF-8 character
/// looks like a quote or a backslash.
fn string_end(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    loop {
        match bytes.get(at)? {
            b'"' => return Some(at),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

const fn is_number_part(octet: u8) -> bool {
    matches!(octet, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-')
}

/// Whether a number with an exponent is infinite as a double. Integers written out are passed on whatever their size.
fn overflows(number: &str) -> bool {
    number.contains(['e', 'E']) && number.parse::<f64>().is_ok_and(f64::is_infinite)
}

/// Whether escapes name a surrogate without its other half (RFC 8259 section 8.2): no serializer downstream could write it.
fn has_lone_surrogate(content: &[u8]) -> bool {
    let mut rest = content;
    while let Some(backslash) = rest.iter().position(|octet| *octet == b'\\') {
        rest = &rest[backslash..];
        let taken = match code_unit(rest) {
            None => 2,
            Some(0xd800..=0xdbff) => match code_unit(&rest[6..]) {
                Some(0xdc00..=0xdfff) => 12,
                _ => return true,
            },
            Some(0xdc00..=0xdfff) => return true,
            Some(_) => 6,
        };
        rest = rest.get(taken..).unwrap_or_default();
    }
    false
}

/// The code unit of an escape `\uXXXX` at the very beginning.
fn code_unit(text: &[u8]) -> Option<u16> {
    let digits = text.strip_prefix(b"\\u")?.get(..4)?;
    digits.iter().try_fold(0, |sum, octet| {
        let digit = char::from(*octet).to_digit(16).and_then(|digit| u16::try_from(digit).ok())?;
        Some(sum << 4 | digit)
    })
}

#[cfg(test)]
mod tests;
