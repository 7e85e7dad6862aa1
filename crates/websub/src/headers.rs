//! Header fields: of deliveries (WebSub 7), of a topic's own answers (WebSub 4, "Discovery"), and of the hub's requests.
//!
//! | field of a delivery | value |
//! |---|---|
//! | `Content-Type` | that of the content, octet by octet |
//! | `Link` | `<hub>; rel="hub", <topic>; rel="self"` |
//! | `X-Hub-Signature` | `method=hex`, when the subscription has a secret |
//! | `Stentor-Publication` | a number that identifies the publication; the same in every attempt and for every subscriber |
//! | `Stentor-Sequence` | its number among the publications of the topic: 1, 2, 3 …, from which a receiver can tell a gap |
//! | `Stentor-Epoch`, `Stentor-Offset` | its place in the log: within one epoch, offsets grow, but not by one each |
//! | `Stentor-Attempt` | 1, 2, 3 …: more than 1 says that this may be a duplicate |
//!
//! Fields that say who and what connects (`Host`, `Content-Length`) are the client's.

use std::fmt;
use std::ops::Range;

use stentor_model::{Epoch, Offset, PublicationId, Topic};

use crate::address::{escape, escaped};
#[cfg(doc)]
use crate::signature;

/// The publication's number.
pub const PUBLICATION: &str = "Stentor-Publication";
/// The life of the log that the offset belongs to.
pub const EPOCH: &str = "Stentor-Epoch";
/// The publication's place.
pub const OFFSET: &str = "Stentor-Offset";
/// Its number among the publications of its topic.
pub const SEQUENCE: &str = "Stentor-Sequence";
/// The attempt's number.
pub const ATTEMPT: &str = "Stentor-Attempt";

/// Octets of a content type.
const CONTENT_TYPE_BYTES_MAX: usize = 1024;

/// The media type of a content, kept as it was given: subscribers compare the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentType(String);

impl ContentType {
    /// The type, when it is one that a header field can have: `type/subtype`, and parameters as they come.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (kind, rest) = text.split_once('/')?;
        let is_type = !kind.trim().is_empty() && !rest.trim().is_empty() && text.len() <= CONTENT_TYPE_BYTES_MAX;
        (is_type && crate::authenticator::is_field_value(text)).then(|| Self(text.to_owned()))
    }

    /// For a message whose content has no type.
    #[must_use]
    pub fn text() -> Self {
        Self("text/plain".to_owned())
    }

    /// For what somebody sent or fetched without a type.
    #[must_use]
    pub fn octets() -> Self {
        Self("application/octet-stream".to_owned())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ContentType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What all deliveries of one publication say about it.
#[derive(Clone, Copy, Debug)]
pub struct Delivery<'a> {
    /// The type of the content, as its publisher wrote it.
    pub content_type: &'a str,
    /// The publication.
    pub publication: PublicationId,
    /// Its number among those of the topic, from 1.
    pub sequence: u64,
    /// The life of the log.
    pub epoch: Epoch,
    /// The place of the publication.
    pub offset: Offset,
    /// Octets of the content.
    pub content_length: usize,
}

/// The fields that are the same in every delivery of a publication, so that they are made once for all subscribers. Beside
/// them stands the topic's [`link`]. Each attempt adds [`ATTEMPT`], and [`signature::HEADER`] where the subscription has a
/// secret.
///
/// The values stand in one text, one behind the other, so that a publication needs room for them once.
#[must_use]
pub fn delivery(delivery: &Delivery<'_>) -> (String, [(&'static str, Range<usize>); 6]) {
    let Delivery { content_type, publication, sequence, epoch, offset, content_length } = delivery;
    let mut text = String::with_capacity(content_type.len() + 80);
    let mut add = |name, value: &str| {
        let start = text.len();
        text.push_str(value);
        (name, start..text.len())
    };
    let number = itoa::Buffer::new;
    let fields = [
        add("Content-Type", content_type),
        add(PUBLICATION, number().format(publication.get())),
        add(SEQUENCE, number().format(*sequence)),
        add(EPOCH, number().format(epoch.0)),
        add(OFFSET, number().format(offset.get())),
        add("Content-Length", number().format(*content_length)),
    ];
    (text, fields)
}

/// The `Link` field of a delivery and of a topic's own answer (WebSub 4 and 7): one field with both links, the hub first,
/// since some subscribers read no further than the first.
#[must_use]
pub fn link(hub_url: &str, topic: &Topic) -> String {
    format!("<{}>; rel=\"hub\", <{}>; rel=\"self\"", escaped(hub_url), escaped(topic.as_str()))
}

/// The `User-Agent` of all requests of a hub: subscribers look for it when they wonder who asks (item 61).
#[must_use]
pub fn user_agent(version: &str, hub_url: &str) -> String {
    format!("Stentor/{version} (WebSub hub; +{})", escape(hub_url).replace(['(', ')'], ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deliveries_say_what_they_are() {
        let given = Delivery {
            content_type: "text/plain;charset=UTF-8",
            publication: PublicationId::FIRST,
            sequence: 7,
            epoch: Epoch(3),
            offset: Offset::new(42),
            content_length: 0,
        };
        // Items 46 to 48, and 50: nothing here is signed.
        let expected = [
            ("Content-Type", "text/plain;charset=UTF-8"),
            ("Stentor-Publication", "1"),
            ("Stentor-Sequence", "7"),
            ("Stentor-Epoch", "3"),
            ("Stentor-Offset", "42"),
            ("Content-Length", "0"),
        ];
        let (text, fields) = delivery(&given);
        assert_eq!(fields.map(|(name, range)| (name, &text[range])), expected);
        assert_eq!(
            link("https://hub.example/", &Topic::parse("http://t/?a=1").unwrap()),
            "<https://hub.example/>; rel=\"hub\", <http://t/?a=1>; rel=\"self\""
        );
    }

    #[test]
    fn links_cannot_be_broken_out_of() {
        let check = |topic: &str, expected: &str| {
            assert_eq!(
                link("http://h/", &Topic::parse(topic).unwrap()),
                format!("<http://h/>; rel=\"hub\", {expected}")
            );
        };
        check("http://t/'a';b,c", "<http://t/'a';b,c>; rel=\"self\"");
        check("http://t/>;rel=\"hub\"", "<http://t/%3E;rel=%22hub%22>; rel=\"self\"");
        check("http://t/ä", "<http://t/%C3%A4>; rel=\"self\"");
    }

    #[test]
    fn content_types_are_kept() {
        let check = |text: &str, expected: bool| {
            assert_eq!(ContentType::parse(text).map(|found| found.to_string()), expected.then(|| text.to_owned()));
        };
        check("text/plain", true);
        check("Text/HTML;  charset=\"utf-8\"", true);
        check("application/vnd.x+json", true);
        for wrong in ["", "text", "/", "text/", "/plain", "text/plain\r\nX: y", "text/plän"] {
            check(wrong, false);
        }
        check(&format!("text/{}", "x".repeat(1020)), false);
    }

    #[test]
    fn the_hub_names_itself() {
        assert_eq!(user_agent("0.1.0", "https://h/(x)"), "Stentor/0.1.0 (WebSub hub; +https://h/x)");
    }
}
