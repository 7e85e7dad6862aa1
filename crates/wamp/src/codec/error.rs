//! What can be wrong with octets, said in sentences that a client's developer can act on.
//!
//! Which answer a refusal gets (ABORT, a closed transport) is for the session machine to decide.

use std::fmt;

use super::Serializer;
use super::token::Kind;

/// Octets that are not what their serializer demands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyntaxError {
    /// What is wrong.
    pub syntax: Syntax,
    /// Where, in octets from the beginning.
    pub position: usize,
}

/// The ways in which octets can be malformed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Syntax {
    /// The octets stop in the middle of a value.
    End,
    /// Something follows the value.
    Trailing,
    /// Text is not UTF-8.
    Utf8,
    /// JSON begins with U+FEFF.
    ByteOrderMark,
    /// More containers are open than `stentor_model::limit::NESTING_DEPTH_MAX` allows.
    Depth,
    /// Something else should stand here; the words say what.
    Expected(&'static str),
    /// A string holds a bare control character (RFC 8259, section 7).
    Control,
    /// A string holds an unknown escape.
    Escape,
    /// A string holds half of a surrogate pair.
    Surrogate,
    /// A number is larger than any double.
    Range,
    /// A key is not text.
    Key(Kind),
    /// A value of another sort was wanted.
    Kind {
        /// What was wanted.
        expected: Kind,
        /// What stands there.
        found: Kind,
    },
    /// A MessagePack extension, which no other serializer can express.
    Extension,
    /// A marker that the serializer's specification reserves.
    Reserved(u8),
    /// A CBOR string of indefinite length has chunks of another sort.
    Chunk,
}

impl Syntax {
    /// This fault at `position`.
    #[must_use]
    pub const fn at(self, position: usize) -> SyntaxError {
        SyntaxError { syntax: self, position }
    }
}

impl fmt::Display for Syntax {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::End => f.write_str("it ends too early"),
            Self::Trailing => f.write_str("something follows its end"),
            Self::Utf8 => f.write_str("text must be UTF-8"),
            Self::ByteOrderMark => f.write_str("it must not begin with a byte order mark"),
            Self::Depth => f.write_str("it nests too deep"),
            Self::Expected(what) => write!(f, "expected {what}"),
            Self::Control => f.write_str("control characters in strings must be escaped"),
            Self::Escape => f.write_str("the escape in the string is unknown"),
            Self::Surrogate => f.write_str("surrogates in strings must come in pairs"),
            Self::Range => f.write_str("the number is too large"),
            Self::Key(found) => write!(f, "keys must be strings, not {found}"),
            Self::Kind { expected, found } => write!(f, "expected {expected}, not {found}"),
            Self::Extension => f.write_str("extensions have no meaning in WAMP"),
            Self::Reserved(octet) => write!(f, "0x{octet:02x} cannot begin a value"),
            Self::Chunk => f.write_str("the chunks of a string must be of its own sort and of definite length"),
        }
    }
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (at octet {})", self.syntax, self.position)
    }
}

impl std::error::Error for SyntaxError {}

macro_rules! message_types {
    ($($variant:ident = $code:literal, $name:literal;)*) => {
        /// The message types of WAMP by their codes.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u64)]
        pub enum MessageType {
            $(#[doc = $name] $variant = $code,)*
        }

        impl MessageType {
            /// All of them, by ascending code.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The type with this code.
            #[must_use]
            pub const fn from_code(code: u64) -> Option<Self> {
                match code {
                    $($code => Some(Self::$variant),)*
                    _ => None,
                }
            }

            /// The name in the specification's capitals.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

message_types! {
    Hello = 1, "HELLO";
    Welcome = 2, "WELCOME";
    Abort = 3, "ABORT";
    Challenge = 4, "CHALLENGE";
    Authenticate = 5, "AUTHENTICATE";
    Goodbye = 6, "GOODBYE";
    Error = 8, "ERROR";
    Publish = 16, "PUBLISH";
    Published = 17, "PUBLISHED";
    Subscribe = 32, "SUBSCRIBE";
    Subscribed = 33, "SUBSCRIBED";
    Unsubscribe = 34, "UNSUBSCRIBE";
    Unsubscribed = 35, "UNSUBSCRIBED";
    Event = 36, "EVENT";
    Call = 48, "CALL";
    Cancel = 49, "CANCEL";
    Result = 50, "RESULT";
    Register = 64, "REGISTER";
    Registered = 65, "REGISTERED";
    Unregister = 66, "UNREGISTER";
    Unregistered = 67, "UNREGISTERED";
    Invocation = 68, "INVOCATION";
    Interrupt = 69, "INTERRUPT";
    Yield = 70, "YIELD";
}

impl fmt::Display for MessageType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a field of a message has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// An integer from 1 to 2^53.
    Id,
    /// An integer that is not negative.
    Code,
    /// Text.
    Text,
    /// A list.
    List,
    /// A dictionary.
    Dict,
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Id => "an integer from 1 to 2^53",
            Self::Code => "a non-negative integer",
            Self::Text => "a string",
            Self::List => "a list",
            Self::Dict => "a dictionary",
        })
    }
}

/// Why octets are not a message that a client may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// Malformed octets.
    Syntax {
        /// What they should have been.
        serializer: Serializer,
        /// What is wrong with them.
        error: SyntaxError,
    },
    /// The message is no list.
    NotAList(Kind),
    /// The message is an empty list.
    Empty,
    /// The message type is no integer.
    CodeKind(Kind),
    /// The message type is an integer below zero or one that WAMP does not define.
    UnknownCode(i128),
    /// A message that only routers send.
    FromRouter(MessageType),
    /// A field is missing.
    Missing {
        /// The message.
        message: MessageType,
        /// Its first field that is not there.
        field: &'static str,
    },
    /// There are too many fields.
    Surplus {
        /// The message.
        message: MessageType,
        /// How many elements it has at most, the message type included.
        elements_max: usize,
    },
    /// A field is of the wrong sort.
    Field {
        /// The message.
        message: MessageType,
        /// The field at fault.
        field: &'static str,
        /// What it has to be.
        expected: Expected,
        /// What it is.
        found: Kind,
    },
    /// An identifier lies outside 1 to 2^53.
    IdRange {
        /// The message.
        message: MessageType,
        /// The field at fault.
        field: &'static str,
        /// The number.
        found: i128,
    },
    /// A dictionary has keys that are not text.
    Key {
        /// The message.
        message: MessageType,
        /// The field at fault.
        field: &'static str,
        /// What the key is.
        found: Kind,
    },
    /// A key that stands twice in options or details, which WAMP section "Serializations" rules out.
    Repeated {
        /// The message.
        message: MessageType,
        /// The field at fault.
        field: &'static str,
    },
    /// Options or details beyond `stentor_model::limit::OPTIONS_BYTES_MAX`.
    TooLong {
        /// The message.
        message: MessageType,
        /// The field at fault.
        field: &'static str,
        /// The limit in octets.
        bytes_max: usize,
    },
    /// An ERROR that answers something else than INVOCATION, which clients never get to answer.
    ErrorRequestType(i128),
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax { serializer, error } => write!(f, "the message is not valid {}: {error}", serializer.name()),
            Self::NotAList(found) => write!(f, "a message must be a list, not {found}"),
            Self::Empty => f.write_str("a message must not be an empty list"),
            Self::CodeKind(found) => write!(f, "the message type must be {}, not {found}", Expected::Code),
            Self::UnknownCode(code) => write!(f, "there is no message type {code}"),
            Self::FromRouter(message) => write!(f, "{message} is sent by routers, not by clients"),
            Self::Missing { message, field } => write!(f, "{message}.{field} is missing"),
            Self::Surplus { message, elements_max } => {
                write!(f, "{message} must have at most {elements_max} elements")
            }
            Self::Field { message, field, expected, found } => {
                write!(f, "{message}.{field} must be {expected}, not {found}")
            }
            Self::IdRange { message, field, found } => {
                write!(f, "{message}.{field} must be {}, not {found}", Expected::Id)
            }
            Self::Key { message, field, found } => {
                write!(f, "{message}.{field} must have strings for keys, not {found}")
            }
            Self::Repeated { message, field } => write!(f, "{message}.{field} must not have the same key twice"),
            Self::TooLong { message, field, bytes_max } => {
                write!(f, "{message}.{field} must not be longer than {bytes_max} octets")
            }
            Self::ErrorRequestType(code) => {
                write!(f, "ERROR.RequestType must be {} (INVOCATION), not {code}", MessageType::Invocation as u64)
            }
        }
    }
}

impl std::error::Error for DecodeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Syntax { error, .. } => Some(error),
            _ => None,
        }
    }
}

/// Why a payload cannot be written in another serializer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TranscodeError {
    /// It cannot even be read, or holds what has no counterpart (extensions).
    Syntax(SyntaxError),
    /// A number that is infinite or not a number, towards JSON.
    NotFinite,
    /// A key that the other serializer does not allow.
    Key(Kind),
}

impl fmt::Display for TranscodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax(error) => write!(f, "the payload cannot be read: {error}"),
            Self::NotFinite => f.write_str("JSON has no infinite numbers and no NaN"),
            Self::Key(found) => write!(f, "the receiver's serializer has no dictionaries with {found} for a key"),
        }
    }
}

impl std::error::Error for TranscodeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Syntax(error) => Some(error),
            Self::NotFinite | Self::Key(_) => None,
        }
    }
}

impl From<SyntaxError> for TranscodeError {
    fn from(error: SyntaxError) -> Self {
        Self::Syntax(error)
    }
}
