//! Why a request is refused at once (WebSub 5.1.1): one plain sentence that names the field.
//!
//! Which status a class becomes is said by the one table of the server that knows statuses.

use std::fmt;

use crate::address::AddressFault;

/// What the client can do about a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalClass {
    /// Correct the request: 400.
    Malformed,
    /// Send something shorter: 413.
    TooLong,
    /// Send another kind of body: 415.
    BodyType,
    /// Understood, and against this hub's policy: 403.
    Policy,
}

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The body is neither a form nor anything else that is taken here.
    BodyType,
    /// The body is longer than it may be.
    BodyTooLong {
        /// The limit, in octets.
        bytes_max: usize,
    },
    /// A field's percent-encoding does not give UTF-8.
    NotUtf8 {
        /// The field.
        field: &'static str,
    },
    /// A field is not there.
    Missing {
        /// The field.
        field: &'static str,
    },
    /// A field is there twice with two values.
    Ambiguous {
        /// The field.
        field: &'static str,
    },
    /// An attribute of a message is there twice.
    Repeated {
        /// The attribute.
        field: &'static str,
    },
    /// `hub.mode` is none of the three.
    Mode,
    /// A URL is none.
    Url {
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        fault: AddressFault,
    },
    /// The topic in the query ends at an `&` of its own.
    NotEncoded {
        /// What the next field would be called, shortened and escaped.
        name: String,
    },
    /// `hub.secret` has 200 octets or more.
    SecretTooLong,
    /// `hub.lease_seconds` is no positive decimal number.
    Lease,
    /// `subscription_security` wants an https callback.
    NeedsHttps,
    /// `subscription_security` wants a secret.
    NeedsSecret,
    /// A ping names too many topics.
    TooManyTopics {
        /// The limit.
        topics_max: usize,
    },
    /// A published message is not a JSON object.
    NotJson,
    /// An attribute of a message is not text.
    NotText {
        /// The attribute.
        field: &'static str,
    },
    /// A string of a message has an escape that stands for half a character.
    HalfCharacter {
        /// The attribute.
        field: &'static str,
    },
    /// `contentBase64` is not standard Base64 with padding.
    NotBase64,
    /// A content type cannot stand in a header field.
    ContentType {
        /// The attribute, or the header field.
        field: &'static str,
    },
    /// A message has neither content nor the URL of content.
    NoContent,
}

impl Refusal {
    /// What the client can do about it.
    #[must_use]
    pub const fn class(&self) -> RefusalClass {
        match self {
            Self::BodyType => RefusalClass::BodyType,
            Self::BodyTooLong { .. } => RefusalClass::TooLong,
            Self::NeedsHttps | Self::NeedsSecret => RefusalClass::Policy,
            _ => RefusalClass::Malformed,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BodyType => f.write_str(
                "the body has to be application/x-www-form-urlencoded, or application/json with a topic attribute, or \
                 anything with ?topic= in the URL",
            ),
            Self::BodyTooLong { bytes_max } => write!(f, "the body is longer than {bytes_max} octets"),
            Self::NotUtf8 { field } => write!(f, "{field} is not UTF-8"),
            Self::Missing { field } => write!(f, "{field} is missing"),
            Self::Ambiguous { field } => write!(f, "{field} is given twice with different values"),
            Self::Repeated { field } => write!(f, "{field} is given twice"),
            Self::Mode => f.write_str("hub.mode has to be subscribe, unsubscribe or publish"),
            Self::Url { field, fault } => write!(f, "{field} {fault}"),
            Self::NotEncoded { name } => {
                write!(f, "topic: percent-encode the URL (& as %26); `{name}` is no field of this request")
            }
            Self::SecretTooLong => f.write_str("hub.secret has to be shorter than 200 octets"),
            Self::Lease => f.write_str("hub.lease_seconds has to be a positive decimal number"),
            Self::NeedsHttps => f.write_str("hub.callback has to be an https:// URL at this hub"),
            Self::NeedsSecret => f.write_str("hub.secret is required at this hub"),
            Self::TooManyTopics { topics_max } => write!(f, "hub.url names more than {topics_max} topics"),
            Self::NotJson => f.write_str("the body is not a JSON object"),
            Self::NotText { field } => write!(f, "{field} has to be a string"),
            Self::HalfCharacter { field } => {
                write!(f, "{field} has a \\u escape of a surrogate in it that is not one of a pair")
            }
            Self::NotBase64 => f.write_str("contentBase64 is not Base64 (standard alphabet, padded)"),
            Self::ContentType { field } => write!(f, "{field} is not a media type such as text/plain"),
            Self::NoContent => f.write_str("contentBase64 or contentUrl is missing"),
        }
    }
}

impl std::error::Error for Refusal {}
