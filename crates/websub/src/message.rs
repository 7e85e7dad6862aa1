//! What is published: an `echo.websub` message, or any body with a topic in the URL.
//!
//! A message either has its content with it or says where to fetch it; then it becomes a [`Fetch`], and what is fetched
//! is judged here. How one fetches is not known here. Content is octets: it is never read, changed or compared, since a
//! hub knows nothing of what it distributes and each message is an event of its own.

mod fetch;

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::value::RawValue;
use stentor_model::Topic;

pub use self::fetch::{Fetch, FetchFault, FetchOutcome, Redirects, Settlement, Step};
use crate::address::{self, Address};
use crate::headers::ContentType;
pub use crate::refusal::{Refusal, RefusalClass};

/// Content for a topic.
#[derive(Clone, PartialEq, Eq)]
pub struct Content {
    /// What it is sent as.
    pub content_type: ContentType,
    /// The octets that each subscriber gets.
    pub body: Vec<u8>,
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Content({}, {} octets)", self.content_type, self.body.len())
    }
}

/// A message, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// What it is about.
    pub topic: Topic,
    /// What there is to tell.
    pub source: Source,
}

/// Where the content is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Here.
    Content(Content),
    /// Somewhere else.
    Fetch(Fetch),
}

/// The attributes; others are allowed and mean nothing.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Attributes<T> {
    topic: Option<T>,
    content_type: Option<T>,
    content_url: Option<T>,
    content_base64: Option<T>,
}

/// Borrows where nothing is escaped; content of megabytes is not copied before it is decoded.
#[derive(Deserialize)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

const ATTRIBUTES: [&str; 4] = ["topic", "contentType", "contentUrl", "contentBase64"];

/// Why a message has not the form that messages have.
fn fault_of_form(body: &str) -> Refusal {
    let attributes: Attributes<&RawValue> = match serde_json::from_str(body) {
        Ok(attributes) => attributes,
        Err(error) => {
            let sentence = error.to_string();
            let repeated = ATTRIBUTES.iter().find(|name| sentence.starts_with(&format!("duplicate field `{name}`")));
            // A second reader might take the other one.
            return repeated.map_or(Refusal::NotJson, |field| Refusal::Repeated { field });
        }
    };
    let Attributes { topic, content_type, content_url, content_base64 } = attributes;
    let values = [topic, content_type, content_url, content_base64];
    let is_text = |value: &RawValue| serde_json::from_str::<Option<Text<'_>>>(value.get()).is_ok();
    let wrong = ATTRIBUTES.into_iter().zip(values).find(|(_, value)| value.is_some_and(|value| !is_text(value)));
    match wrong {
        None => Refusal::NotJson,
        // Strings were read before, save what their escapes stand for.
        Some((field, Some(value))) if value.get().starts_with('"') => Refusal::HalfCharacter { field },
        Some((field, _)) => Refusal::NotText { field },
    }
}

/// Reads an `echo.websub` message. `null` is as good as absent.
///
/// # Errors
/// With the first fault, and the attribute that has it.
pub fn parse(body: &[u8], bytes_max: usize) -> Result<Message, Refusal> {
    if body.len() > bytes_max {
        return Err(Refusal::BodyTooLong { bytes_max });
    }
    // All at once, which is faster than text by text.
    let body = simdutf8::basic::from_utf8(body).map_err(|_| Refusal::NotJson)?;
    // An array would be read as the attributes in their order.
    let is_object = body.trim_ascii_start().starts_with('{');
    if !is_object {
        return Err(Refusal::NotJson);
    }
    let attributes: Attributes<Text<'_>> = serde_json::from_str(body).map_err(|_| fault_of_form(body))?;
    let topic = attributes.topic.ok_or(Refusal::Missing { field: "topic" })?;
    let topic = address::topic(&topic.0).map_err(|fault| Refusal::Url { field: "topic", fault })?;
    let content_type = match attributes.content_type {
        None => None,
        Some(text) => Some(ContentType::parse(&text.0).ok_or(Refusal::ContentType { field: "contentType" })?),
    };
    // Judged also where it is only what is fallen back to: a message that is broken should say so at once.
    let content = match attributes.content_base64 {
        None => None,
        Some(text) => Some(Content {
            content_type: content_type.clone().unwrap_or_else(ContentType::text),
            body: STANDARD.decode(text.0.as_bytes()).map_err(|_| Refusal::NotBase64)?,
        }),
    };
    let source = match attributes.content_url {
        Some(Text(url)) => {
            Address::parse(&url).map_err(|fault| Refusal::Url { field: "contentUrl", fault })?;
            Source::Fetch(Fetch { url: url.into_owned(), content_type, fallback: content })
        }
        None => Source::Content(content.ok_or(Refusal::NoContent)?),
    };
    Ok(Message { topic, source })
}

/// Takes a body as it is, for a topic that the URL named.
///
/// # Errors
/// When it is too long, or its content type could not be sent on.
pub fn raw(topic: Topic, content_type: Option<&str>, body: Vec<u8>, bytes_max: usize) -> Result<Message, Refusal> {
    if body.len() > bytes_max {
        return Err(Refusal::BodyTooLong { bytes_max });
    }
    let content_type = match content_type {
        None => ContentType::octets(),
        Some(text) => ContentType::parse(text).ok_or(Refusal::ContentType { field: "Content-Type" })?,
    };
    Ok(Message { topic, source: Source::Content(Content { content_type, body }) })
}

/// What a ping has the hub do: fetch the topic itself.
#[must_use]
pub fn ping(topic: Topic) -> Message {
    let fetch = Fetch { url: topic.as_str().to_owned(), content_type: None, fallback: None };
    Message { topic, source: Source::Fetch(fetch) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::AddressFault;

    fn told(message: &Message) -> String {
        let content =
            |content: &Content| format!("{} {:?}", content.content_type, String::from_utf8_lossy(&content.body));
        let source = match &message.source {
            Source::Content(found) => content(found),
            Source::Fetch(Fetch { url, content_type, fallback }) => {
                let kind = content_type.as_ref().map_or("-", ContentType::as_str);
                format!("GET {url} {kind} else {}", fallback.as_ref().map_or_else(|| "-".to_owned(), content))
            }
        };
        format!("{} {source}", message.topic)
    }

    fn check(body: &str, expected: Result<&str, Refusal>) {
        let found = parse(body.as_bytes(), 1000).map(|message| told(&message));
        assert_eq!(found, expected.map(str::to_owned), "{body}");
    }

    #[test]
    fn content_is_taken_as_the_reference_says() {
        // Without contentType, text/plain is assumed.
        check(r#"{"topic":"http://t/","contentBase64":"aGk="}"#, Ok("http://t/ text/plain \"hi\""));
        check(r#"{"topic":"http://t/","contentBase64":"aGk=","contentType":"a/b"}"#, Ok("http://t/ a/b \"hi\""));
        check(r#" {"topic":"http:\/\/t\/","contentBase64":""}"#, Ok("http://t/ text/plain \"\""));
        check(r#"{"topic":"http://t/","contentUrl":"http://c/"}"#, Ok("http://t/ GET http://c/ - else -"));
        check(
            r#"{"topic":"http://t/","contentUrl":"http://c/","contentType":"a/b"}"#,
            Ok("http://t/ GET http://c/ a/b else -"),
        );
        // Both: the URL is used, unless it returns an error.
        check(
            r#"{"topic":"http://t/","contentUrl":"http://c/","contentBase64":"aGk="}"#,
            Ok("http://t/ GET http://c/ - else text/plain \"hi\""),
        );
        check(
            r#"{"topic":"http://t/%7E","contentUrl":null,"contentBase64":"aGk=","contentType":null,"more":[1]}"#,
            Ok("http://t/~ text/plain \"hi\""),
        );
    }

    #[test]
    fn faults_are_named() {
        let url = |field, fault| Err(Refusal::Url { field, fault });
        for body in ["", "[]", "1", "null", "{", r#"["http://t/"]"#, r#"{"topic":"http://t/"} x"#] {
            check(body, Err(Refusal::NotJson));
        }
        check("{}", Err(Refusal::Missing { field: "topic" }));
        check(r#"{"topic":null}"#, Err(Refusal::Missing { field: "topic" }));
        check(r#"{"topic":1}"#, Err(Refusal::NotText { field: "topic" }));
        check(r#"{"topic":"http://t/\ud800"}"#, Err(Refusal::HalfCharacter { field: "topic" }));
        check(
            r#"{"topic":"http://t/","contentType":"\udc00\ud800"}"#,
            Err(Refusal::HalfCharacter { field: "contentType" }),
        );
        check(r#"{"topic":"http://t/\ud83d\ude00"}"#, Err(Refusal::NoContent));
        check(r#"{"topic":""}"#, url("topic", AddressFault::Empty));
        check(r#"{"topic":"t"}"#, url("topic", AddressFault::Scheme));
        check(r#"{"topic":"http://t/"}"#, Err(Refusal::NoContent));
        check(r#"{"topic":"http://t/","contentType":""}"#, Err(Refusal::ContentType { field: "contentType" }));
        check(
            r#"{"topic":"http://t/","contentType":"a/b\r\nX: y"}"#,
            Err(Refusal::ContentType { field: "contentType" }),
        );
        check(r#"{"topic":"http://t/","contentUrl":""}"#, url("contentUrl", AddressFault::Empty));
        check(r#"{"topic":"http://t/","contentUrl":"file:///x"}"#, url("contentUrl", AddressFault::Scheme));
        check(r#"{"topic":"http://t/","contentBase64":{}}"#, Err(Refusal::NotText { field: "contentBase64" }));
        // Standard alphabet, padded, nothing else.
        for wrong in ["aGk", "aGk=\\n", "a-_=", "aGk==", "=", "aGl="] {
            check(&format!(r#"{{"topic":"http://t/","contentBase64":"{wrong}"}}"#), Err(Refusal::NotBase64));
        }
        check(&"x".repeat(1001), Err(Refusal::BodyTooLong { bytes_max: 1000 }));
    }

    #[test]
    fn bodies_are_taken_as_they_are() {
        let topic = || address::topic("http://t/").unwrap();
        let check = |content_type, expected: Result<&str, Refusal>| {
            let found = raw(topic(), content_type, b"{\xff".to_vec(), 2).map(|message| told(&message));
            assert_eq!(found, expected.map(str::to_owned));
        };
        check(Some("application/json; x"), Ok("http://t/ application/json; x \"{\u{fffd}\""));
        check(None, Ok("http://t/ application/octet-stream \"{\u{fffd}\""));
        check(Some("json"), Err(Refusal::ContentType { field: "Content-Type" }));
        assert_eq!(raw(topic(), None, vec![0; 3], 2), Err(Refusal::BodyTooLong { bytes_max: 2 }));
        assert_eq!(told(&ping(topic())), "http://t/ GET http://t/ - else -");
    }
}
