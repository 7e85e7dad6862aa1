//! The nouns of a logged topic: where a publication stands, and who reads it from where.
//!
//! One ordered log, many cursors: a publication is appended once, and that act gives it its place.

use std::fmt;
use std::sync::Arc;

/// Octets of a topic of the log. Subscribers send it back byte for byte in URLs, and longer URLs are refused on the way by
/// many servers.
pub const TOPIC_BYTES_MAX: usize = 2048;

/// The name of a logged topic: a URL that subscribers compare byte for byte.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Topic(Arc<str>);

/// Why a text is no [`Topic`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TopicFault {
    /// Nothing is there.
    Empty,
    /// More than [`TOPIC_BYTES_MAX`] octets.
    TooLong,
    /// A control character or white space, which no URL has and which would break headers and lists.
    Unprintable,
}

impl Topic {
    /// The topic of that name. Whether a service allows it is the service's question.
    ///
    /// # Errors
    /// When the text is empty, too long, or holds what no URL has.
    pub fn parse(text: &str) -> Result<Self, TopicFault> {
        if text.is_empty() {
            Err(TopicFault::Empty)
        } else if text.len() > TOPIC_BYTES_MAX {
            Err(TopicFault::TooLong)
        } else if has_unprintable(text) {
            Err(TopicFault::Unprintable)
        } else {
            Ok(Self(text.into()))
        }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn has_unprintable(text: &str) -> bool {
    if text.is_ascii() {
        // Without an early end, so that many octets are compared at once.
        return text.bytes().fold(false, |found, octet| found | (octet <= b' ') | (octet == 0x7f));
    }
    text.contains(|c: char| c.is_control() || c.is_whitespace())
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Topic({:?})", self.0)
    }
}

/// A place in the log. Ordered, not contiguous: nobody may reckon that the next one is this one plus one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Offset(u64);

impl Offset {
    /// Before every publication.
    pub const START: Self = Self(0);

    /// The place with this number, as a store wrote it.
    #[must_use]
    pub const fn new(raw: u64) -> Self {
        Self(raw)
    }

    /// The bare number, for the store and the wire.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Offset({})", self.0)
    }
}

/// One life of a log. Offsets of different epochs say nothing about each other: a store that was emptied or restored from
/// an old copy begins a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Epoch(pub u64);

/// A webhook subscription, for as long as the store lives; never used twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WebhookId(pub u64);

impl fmt::Display for WebhookId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for WebhookId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WebhookId({})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_what_a_url_can_be() {
        let check = |text: &str, expected| assert_eq!(Topic::parse(text).map(|topic| topic.to_string()), expected);
        check("https://example.com/feed?x=ä", Ok("https://example.com/feed?x=ä".to_owned()));
        check("", Err(TopicFault::Empty));
        check("a b", Err(TopicFault::Unprintable));
        check("a\r\nX: y", Err(TopicFault::Unprintable));
        check(&"t".repeat(TOPIC_BYTES_MAX), Ok("t".repeat(TOPIC_BYTES_MAX)));
        check(&"t".repeat(TOPIC_BYTES_MAX + 1), Err(TopicFault::TooLong));
    }
}
