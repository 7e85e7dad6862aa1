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

use stentor_model::{Epoch, Offset, PublicationId, Topic};

use crate::address::{escape, escaped};

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
    /// The topic's [`link`].
    pub link: &'a str,
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

/// Where the link stands in what [`delivery`] writes.
pub const LINK_START: usize = "link: ".len();

/// The fields that are the same in every delivery of a publication, as lines that are ready for the wire, so that they are made
/// once for all subscribers. Names are in lower case, which HTTP/2 wants and HTTP/1.1 does not mind.
#[must_use]
pub fn delivery(delivery: &Delivery<'_>) -> String {
    let Delivery { link, content_type, publication, sequence, epoch, offset, content_length } = delivery;
    // One that no field can have was refused when it came; a store may be older than that.
    let is_value = content_type.bytes().all(|octet| octet == b'\t' || (octet >= b' ' && octet != 0x7f));
    let content_type = if is_value { content_type } else { "" };
    let mut lines = String::with_capacity(link.len() + content_type.len() + 200);
    let number = itoa::Buffer::new;
    for part in [
        "link: ",
        link,
        "\r\ncontent-type: ",
        content_type,
        "\r\nstentor-publication: ",
        number().format(publication.get()),
        "\r\nstentor-sequence: ",
        number().format(*sequence),
        "\r\nstentor-epoch: ",
        number().format(epoch.0),
        "\r\nstentor-offset: ",
        number().format(offset.get()),
        "\r\ncontent-length: ",
        number().format(*content_length),
        "\r\n",
    ] {
        lines.push_str(part);
    }
    lines
}

/// The fields of one attempt, in the same form: its number, counted from 1, and what [`crate::signature::Signer::sign`] made of the
/// content where the subscription has a secret.
#[must_use]
pub fn attempt(number: u32, signature: Option<&str>) -> String {
    let mut lines = String::with_capacity(32 + signature.map_or(0, |signature| signature.len() + 20));
    for part in ["stentor-attempt: ", itoa::Buffer::new().format(number), "\r\n"] {
        lines.push_str(part);
    }
    if let Some(signature) = signature {
        for part in ["x-hub-signature: ", signature, "\r\n"] {
            lines.push_str(part);
        }
    }
    lines
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
    use crate::signature;

    #[test]
    fn deliveries_say_what_they_are() {
        let given = Delivery {
            link: "<h>; rel=\"hub\"",
            content_type: "text/plain;charset=UTF-8",
            publication: PublicationId::FIRST,
            sequence: 7,
            epoch: Epoch(3),
            offset: Offset::new(42),
            content_length: 0,
        };
        let check = |lines: &str, expected: &[(&str, &str)]| {
            let expected: String =
                expected.iter().map(|(name, value)| format!("{}: {value}\r\n", name.to_ascii_lowercase())).collect();
            assert_eq!(lines, expected);
        };
        // Items 46 to 48, and 50: nothing here is signed.
        let expected = [
            ("Link", "<h>; rel=\"hub\""),
            ("Content-Type", "text/plain;charset=UTF-8"),
            (PUBLICATION, "1"),
            (SEQUENCE, "7"),
            (EPOCH, "3"),
            (OFFSET, "42"),
            ("Content-Length", "0"),
        ];
        check(&delivery(&given), &expected);
        // What would be another field is none.
        let broken = Delivery { content_type: "a/b\r\nx: y", ..given };
        assert!(delivery(&broken).contains("content-type: \r\nstentor-publication: 1\r\n"));
        check(&attempt(12, None), &[(ATTEMPT, "12")]);
        check(&attempt(1, Some("sha256=00")), &[(ATTEMPT, "1"), (signature::HEADER, "sha256=00")]);
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
