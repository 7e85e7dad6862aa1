//! Pulling tokens: the one interface of the three readers.
//!
//! A reader holds a position and a depth, nothing more. What is open is remembered by whoever opened it, in an [`Open`]
//! on the stack, so that reading allocates nothing. Depth is bounded by the readers, which makes recursion over them safe.

use std::borrow::Cow;
use std::fmt;

use stentor_model::limit::NESTING_DEPTH_MAX;

use super::error::{Syntax, SyntaxError};
use crate::value::{Dict, Value};

/// Containers that may be open at once: those of a payload, and the message or document around them.
pub(super) const DEPTH_MAX: usize = NESTING_DEPTH_MAX + 1;

/// The beginning of a value; scalars are whole, containers go on with [`Read::more`] or [`Read::key`].
#[derive(Clone, Debug, PartialEq)]
pub enum Token<'a> {
    /// Nothing.
    Null,
    /// A truth value.
    Bool(bool),
    /// An integer in the range of `i64`.
    Int(i64),
    /// An integer above `i64::MAX`.
    Uint(u64),
    /// A number with a fraction or an exponent, or an integer too large for 64 bits.
    Float(f64),
    /// Text.
    Text(Cow<'a, str>),
    /// Octets.
    Bytes(Cow<'a, [u8]>),
    /// The beginning of a list.
    List(Open),
    /// The beginning of a dictionary.
    Dict(Open),
}

/// What sort of value something is, for error sentences.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nothing.
    Null,
    /// A truth value.
    Bool,
    /// An integer.
    Integer,
    /// Any other number.
    Float,
    /// Text.
    Text,
    /// Octets.
    Bytes,
    /// A list.
    List,
    /// A dictionary.
    Dict,
    /// A MessagePack extension, for which WAMP has no use.
    Extension,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Null => "null",
            Self::Bool => "a boolean",
            Self::Integer => "an integer",
            Self::Float => "a float",
            Self::Text => "a string",
            Self::Bytes => "a byte string",
            Self::List => "a list",
            Self::Dict => "a dictionary",
            Self::Extension => "an extension",
        })
    }
}

impl Token<'_> {
    /// What sort of value this begins.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Null => Kind::Null,
            Self::Bool(_) => Kind::Bool,
            Self::Int(_) | Self::Uint(_) => Kind::Integer,
            Self::Float(_) => Kind::Float,
            Self::Text(_) => Kind::Text,
            Self::Bytes(_) => Kind::Bytes,
            Self::List(_) => Kind::List,
            Self::Dict(_) => Kind::Dict,
        }
    }
}

impl From<u64> for Token<'_> {
    fn from(value: u64) -> Self {
        i64::try_from(value).map_or(Self::Uint(value), Self::Int)
    }
}

/// A container that has been begun: how much of it is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Open(pub(super) Left);

/// What ends a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// So many more elements or entries.
    Counted(usize),
    /// A mark in the octets; nothing has been read yet.
    UntilMarkFirst,
    /// A mark in the octets; something has been read.
    UntilMark,
}

impl Open {
    /// How many elements or entries follow, where the octets say it in advance.
    #[must_use]
    pub const fn len_ahead(&self) -> Option<usize> {
        match self.0 {
            Left::Counted(left) => Some(left),
            Left::UntilMarkFirst | Left::UntilMark => None,
        }
    }
}

/// A reader of one serializer.
///
/// Values are read in order: [`token`](Self::token) begins one; in a list every element is announced by
/// [`more`](Self::more), in a dictionary every value by [`key`](Self::key). Instead of beginning a value,
/// [`skip`](Self::skip) checks it whole and returns its octets.
pub trait Read<'a> {
    /// What sort of value comes next, without taking it.
    ///
    /// # Errors
    /// When no value can begin here.
    fn kind(&mut self) -> Result<Kind, SyntaxError>;

    /// Begins the next value.
    ///
    /// # Errors
    /// When it is malformed or nests too deep.
    fn token(&mut self) -> Result<Token<'a>, SyntaxError>;

    /// Whether the list has another element; if not, the list has been left.
    ///
    /// # Errors
    /// When neither an element nor the end of the list follows.
    fn more(&mut self, list: &mut Open) -> Result<bool, SyntaxError>;

    /// The next key of the dictionary; without one the dictionary has been left. Keys other than text are for the
    /// caller to refuse.
    ///
    /// # Errors
    /// When neither a key nor the end of the dictionary follows.
    fn key(&mut self, dict: &mut Open) -> Result<Option<Token<'a>>, SyntaxError>;

    /// Checks one whole value and returns its octets as they stand.
    ///
    /// # Errors
    /// When anything in it is malformed or nests too deep.
    fn skip(&mut self) -> Result<&'a [u8], SyntaxError>;

    /// How many octets have been read.
    fn position(&self) -> usize;

    /// The octets from `start` to the present position.
    fn since(&self, start: usize) -> &'a [u8];

    /// Checks that nothing follows.
    ///
    /// # Errors
    /// When something does.
    fn finish(&mut self) -> Result<(), SyntaxError>;

    /// The next value, which must be text. In JSON the text is taken as it stands, even if it encodes octets.
    ///
    /// # Errors
    /// When it is malformed or something else.
    fn text(&mut self) -> Result<Cow<'a, str>, SyntaxError>;

    /// Begins the next value, which must be a list.
    ///
    /// # Errors
    /// When it is malformed or something else.
    fn list(&mut self) -> Result<Open, SyntaxError> {
        let position = self.position();
        match self.token()? {
            Token::List(open) => Ok(open),
            other => Err(Syntax::Kind { expected: Kind::List, found: other.kind() }.at(position)),
        }
    }

    /// Begins the next value, which must be a dictionary.
    ///
    /// # Errors
    /// When it is malformed or something else.
    fn dict(&mut self) -> Result<Open, SyntaxError> {
        let position = self.position();
        match self.token()? {
            Token::Dict(open) => Ok(open),
            other => Err(Syntax::Kind { expected: Kind::Dict, found: other.kind() }.at(position)),
        }
    }

    /// The next key of the dictionary, which must be text.
    ///
    /// # Errors
    /// When it is malformed or something else.
    fn text_key(&mut self, dict: &mut Open) -> Result<Option<Cow<'a, str>>, SyntaxError> {
        let position = self.position();
        match self.key(dict)? {
            None => Ok(None),
            Some(Token::Text(key)) => Ok(Some(key)),
            Some(other) => Err(Syntax::Key(other.kind()).at(position)),
        }
    }

    /// Checks one whole list and returns its octets.
    ///
    /// # Errors
    /// When it is malformed or something else.
    fn skip_list(&mut self) -> Result<&'a [u8], SyntaxError> {
        let found = self.kind()?;
        if found != Kind::List {
            return Err(Syntax::Kind { expected: Kind::List, found }.at(self.position()));
        }
        self.skip()
    }

    /// Checks one whole dictionary, whose keys must be text on the outermost level, and returns its octets.
    ///
    /// # Errors
    /// When it is malformed or something else.
    fn skip_dict(&mut self) -> Result<&'a [u8], SyntaxError> {
        self.kind()?;
        let start = self.position();
        let mut open = self.dict()?;
        while self.text_key(&mut open)?.is_some() {
            self.skip()?;
        }
        Ok(self.since(start))
    }

    /// Reads one whole value.
    ///
    /// # Errors
    /// When it is malformed or a dictionary has keys other than text.
    fn value(&mut self) -> Result<Value, SyntaxError> {
        Ok(match self.token()? {
            Token::Null => Value::Null,
            Token::Bool(value) => Value::Bool(value),
            Token::Int(value) => Value::Int(value),
            Token::Uint(value) => Value::Uint(value),
            Token::Float(value) => Value::Float(value),
            Token::Text(text) => Value::Str(text.into_owned()),
            Token::Bytes(octets) => Value::Bytes(octets.into_owned()),
            Token::List(mut open) => {
                let mut items = Vec::new();
                while self.more(&mut open)? {
                    items.push(self.value()?);
                }
                Value::List(items)
            }
            Token::Dict(open) => Value::Dict(self.entries(open)?),
        })
    }

    /// Reads the rest of a dictionary; of equal keys the last one counts.
    ///
    /// # Errors
    /// When it is malformed or has keys other than text.
    fn entries(&mut self, mut open: Open) -> Result<Dict, SyntaxError> {
        let mut entries = Vec::new();
        while let Some(key) = self.text_key(&mut open)? {
            entries.push((key.into_owned(), self.value()?));
        }
        Ok(entries.into_iter().collect())
    }
}
