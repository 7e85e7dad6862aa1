//! A publication on its way into the log, and as the log gives it back.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use stentor_model::{Epoch, Offset, PublicationId, Topic};

use crate::limit::{
    EXTRAS_BYTES_MAX, HUB_BYTES_MAX, IDEMPOTENCY_KEY_BYTES_MAX, RECORD_BYTES_MAX, RECORD_OVERHEAD_BYTES, TEXT_BYTES_MAX,
};
use crate::{Extras, StoreError};

/// Milliseconds of the wall clock since 1970, as the shell read them. For display, leases and ages; never for order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// How long ago `earlier` was; nothing when the clock was set back since.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

/// The name of one of several independent hubs in one store.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hub(Arc<str>);

impl Hub {
    /// The hub of that name.
    ///
    /// # Errors
    /// When the name is empty, longer than [`HUB_BYTES_MAX`] or holds control characters.
    pub fn parse(name: &str) -> Result<Self, StoreError> {
        if name.is_empty() || name.len() > HUB_BYTES_MAX || name.contains(char::is_control) {
            return Err(StoreError::TooLarge("the name of a hub"));
        }
        Ok(Self(name.into()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hub({:?})", self.0)
    }
}

/// A topic of one hub. The same URL under two hubs is two topics.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HubTopic {
    /// Whose topic.
    pub hub: Hub,
    /// Its URL.
    pub topic: Topic,
}

/// The number of a publication within its topic: 1, 2, 3 and so on without a hole, so that a receiver can tell a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sequence(pub u64);

/// What is distributed, as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// Its media type, sent to every subscriber.
    pub content_type: Box<str>,
    /// Further named values that travel with it, headers for instance.
    pub extras: Extras,
    /// The octets.
    pub body: Bytes,
}

/// The value of an `Idempotency-Key` header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyKey {
    text: Box<str>,
    /// What tells its request from others under the same key, where that is not the content.
    likeness: Option<u64>,
}

impl IdempotencyKey {
    /// The key.
    ///
    /// # Errors
    /// When it is empty or longer than [`IDEMPOTENCY_KEY_BYTES_MAX`].
    pub fn parse(text: &str) -> Result<Self, StoreError> {
        if text.is_empty() || text.len() > IDEMPOTENCY_KEY_BYTES_MAX {
            return Err(StoreError::TooLarge("the idempotency key"));
        }
        Ok(Self { text: text.into(), likeness: None })
    }

    /// The same key for a request that is like another when these parts are, whatever its content turns out to be: content
    /// that is elsewhere may have changed meanwhile.
    #[must_use]
    pub fn of_request(self, parts: &[&[u8]]) -> Self {
        Self { likeness: Some(fingerprint(parts)), ..self }
    }

    pub(crate) const fn likeness(&self) -> Option<u64> {
        self.likeness
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// A publication that has no place yet.
#[derive(Clone, Debug)]
pub struct Draft {
    /// Where it is published.
    pub topic: HubTopic,
    /// What it is called if it is new.
    pub publication: PublicationId,
    /// When it arrived.
    pub at: Timestamp,
    /// What it says.
    pub content: Content,
    /// Makes a repetition within a day the same publication. Keys of different hubs are different.
    pub idempotency: Option<IdempotencyKey>,
}

impl Draft {
    /// The octets it costs in the log.
    pub(crate) fn cost(&self) -> u64 {
        self.content.cost()
    }

    /// Whether a row can hold it. Judged before it meets others in a commit, which it must not take down with it.
    pub(crate) fn judge(&self) -> Result<(), StoreError> {
        if self.content.body.len() > RECORD_BYTES_MAX {
            Err(StoreError::TooLarge("the content"))
        } else if self.content.content_type.len() > TEXT_BYTES_MAX {
            Err(StoreError::TooLarge("the content type"))
        } else if crate::extras::encoded_size(&self.content.extras) > EXTRAS_BYTES_MAX {
            Err(StoreError::TooLarge("the extras"))
        } else {
            Ok(())
        }
    }

    /// A number that tells this content, or this request, from others under the same key.
    pub(crate) fn fingerprint(&self) -> u64 {
        let parts = [self.topic.topic.as_str().as_bytes(), self.content.content_type.as_bytes(), &self.content.body];
        let likeness = self.idempotency.as_ref().and_then(IdempotencyKey::likeness);
        likeness.unwrap_or_else(|| fingerprint(&parts))
    }
}

/// FNV-1a, 64 bits. It guards against mistakes, not against attacks: whoever may use a key may publish anyway.
fn fingerprint(parts: &[&[u8]]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for part in parts {
        for byte in part.iter().chain(&[0]) {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    hash
}

impl Content {
    pub(crate) fn cost(&self) -> u64 {
        let octets = self.body.len() + self.content_type.len() + crate::extras::encoded_size(&self.extras);
        octets as u64 + RECORD_OVERHEAD_BYTES
    }
}

/// Whether an append was the first of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// It was appended by this call.
    New,
    /// It had been appended before, and this call did nothing.
    Repeated,
}

/// What an append answers: the publication is durable and has its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The name of the publication; of the first one when this was a repetition.
    pub publication: PublicationId,
    /// Its place in the log.
    pub offset: Offset,
    /// Its number within its topic.
    pub sequence: Sequence,
    /// Whether this call appended it.
    pub freshness: Freshness,
}

/// A publication of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its place in the log.
    pub offset: Offset,
    /// Its number within its topic.
    pub sequence: Sequence,
    /// Where it was published.
    pub topic: HubTopic,
    /// Its name, the same for all who receive it.
    pub publication: PublicationId,
    /// When it arrived.
    pub at: Timestamp,
    /// What it says.
    pub content: Content,
}

/// How much one read gives at most. A page has at least one entry if there is any, however large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadLimit {
    /// Publications.
    pub entries: usize,
    /// Octets of content.
    pub bytes: u64,
}

impl Default for ReadLimit {
    /// A page that is worth its round trip and holds no statement open for long.
    fn default() -> Self {
        Self { entries: 100, bytes: 1024 * 1024 }
    }
}

/// A stretch of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// In order of their offsets.
    pub entries: Vec<Entry>,
    /// Publications between the place asked for and the first entry have been cut off: up to this one.
    pub gap: Option<Offset>,
    /// Whether more lay behind the last entry when the store looked. Only the store can tell: a page may be short because the
    /// next entry is large, or damaged.
    pub has_more: bool,
    /// The life of the log that the offsets belong to.
    pub epoch: Epoch,
}
