//! A webhook subscription as it is kept, and what was given up for it.

use stentor_model::{Offset, Secret, WebhookId};

use crate::limit::{CALLBACK_BYTES_MAX, EXTRAS_BYTES_MAX, TEXT_BYTES_MAX};
use crate::{Entry, Extras, Hub, HubTopic, StoreError, Timestamp};

/// What somebody subscribed to, verified. One (topic, callback) pair is one subscription (WebSub 5.1), so putting it again
/// renews it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewSubscription {
    /// To what.
    pub topic: HubTopic,
    /// Where to.
    pub callback: Box<str>,
    /// What deliveries are signed with.
    pub secret: Option<Secret>,
    /// Who subscribed, as the authenticator says.
    pub identity: Option<Box<str>>,
    /// The format that was asked for and other such wishes.
    pub extras: Extras,
    /// When it was created; a renewal does not change it.
    pub created: Timestamp,
    /// When the callback confirmed it.
    pub verified: Option<Timestamp>,
    /// When it runs out, by the wall clock.
    pub lease_end: Timestamp,
    /// Where a new one begins to read: after this place. A renewal goes on where it was.
    pub after: Offset,
}

/// A subscription of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// Never used twice.
    pub id: WebhookId,
    /// To what.
    pub topic: HubTopic,
    /// Where to.
    pub callback: Box<str>,
    /// What deliveries are signed with.
    pub secret: Option<Secret>,
    /// Who subscribed.
    pub identity: Option<Box<str>>,
    /// The format that was asked for and other such wishes.
    pub extras: Extras,
    /// When it was created.
    pub created: Timestamp,
    /// When the callback confirmed it.
    pub verified: Option<Timestamp>,
    /// When it runs out, by the wall clock.
    pub lease_end: Timestamp,
    /// Whether it still receives.
    pub state: State,
    /// How the latest noted delivery ended.
    pub outcome: Option<LastOutcome>,
    /// Everything up to here is done with.
    pub position: Offset,
}

/// An active subscription, as far as whoever delivers begins with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient {
    /// Never used twice.
    pub id: WebhookId,
    /// To what.
    pub topic: HubTopic,
    /// Where to.
    pub callback: Box<str>,
    /// The format that was asked for and other such wishes.
    pub extras: Extras,
    /// When it runs out, by the wall clock.
    pub lease_end: Timestamp,
    /// Everything up to here is done with.
    pub position: Offset,
}

impl From<Subscription> for Recipient {
    fn from(found: Subscription) -> Self {
        let Subscription { id, topic, callback, extras, lease_end, position, .. } = found;
        Self { id, topic, callback, extras, lease_end, position }
    }
}

/// Whether a subscription receives. Only an active one keeps the log from being cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It receives.
    Active,
    /// It was refused after it had been accepted (WebSub 5.2).
    Denied {
        /// Why.
        reason: Box<str>,
    },
    /// It has ended: unsubscribed, run out, or 410 from the callback.
    Gone {
        /// Why.
        reason: Box<str>,
    },
}

/// How a delivery ended, for whoever looks at a subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastOutcome {
    /// When.
    pub at: Timestamp,
    /// The status that the callback answered, if it did.
    pub status: Option<u16>,
    /// What else there is to say, in a few words.
    pub text: Box<str>,
}

/// What putting a subscription did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placed {
    /// There was none for this topic and callback.
    New(WebhookId),
    /// There was one, and it goes on with the new terms from where it was.
    Renewed(WebhookId),
    /// There was one that had ended; it is active again, and begins to read where the new terms say.
    Revived(WebhookId),
}

impl Placed {
    /// Which subscription it is.
    #[must_use]
    pub const fn id(self) -> WebhookId {
        match self {
            Self::New(id) | Self::Renewed(id) | Self::Revived(id) => id,
        }
    }
}

/// Which subscriptions or dead publications are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All of the store.
    All,
    /// Those of one hub.
    Hub(Hub),
    /// Those of one topic.
    Topic(HubTopic),
}

impl Scope {
    pub(crate) fn has(&self, topic: &HubTopic) -> bool {
        match self {
            Self::All => true,
            Self::Hub(hub) => topic.hub == *hub,
            Self::Topic(only) => topic == only,
        }
    }
}

/// A dead publication, for as long as the store lives; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeadId(pub u64);

/// The decision to give up on a publication for one subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Burial {
    /// Which publication.
    pub offset: Offset,
    /// When it was given up.
    pub at: Timestamp,
    /// How often it was tried.
    pub attempts: u32,
    /// Why it was given up.
    pub reason: Box<str>,
}

/// A publication that was given up, kept with its content so that it can be replayed after the log was cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadPublication {
    /// Its name.
    pub id: DeadId,
    /// Who did not get it. The subscription may be gone by now.
    pub subscription: WebhookId,
    /// What the decision was.
    pub burial: Burial,
    /// The publication as it was in the log.
    pub entry: Entry,
}

impl NewSubscription {
    /// Whether a row can hold it.
    pub(crate) fn judge(&self) -> Result<(), StoreError> {
        let long = |text: &Option<Box<str>>| text.as_ref().is_some_and(|text| text.len() > TEXT_BYTES_MAX);
        if self.callback.len() > CALLBACK_BYTES_MAX {
            Err(StoreError::TooLarge("the callback"))
        } else if self.secret.as_ref().is_some_and(|secret| secret.expose().len() > TEXT_BYTES_MAX) {
            Err(StoreError::TooLarge("the secret"))
        } else if long(&self.identity) {
            Err(StoreError::TooLarge("the identity"))
        } else if crate::extras::encoded_size(&self.extras) > EXTRAS_BYTES_MAX {
            Err(StoreError::TooLarge("the extras"))
        } else {
            Ok(())
        }
    }
}

/// The first [`TEXT_BYTES_MAX`] octets at most: a reason comes from outside, and its end is what can be spared.
pub(crate) fn clipped(text: &str) -> &str {
    let mut end = text.len().min(TEXT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}
