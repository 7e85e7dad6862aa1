//! Writing tokens: the one interface of the three writers.

use super::error::TranscodeError;
use super::token::Kind;
use crate::value::{Dict, Value};

/// Where a container was begun, so that its length can be put there when it ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Begun {
    /// Where its head stands in the buffer.
    pub(super) at: usize,
    /// Whether the head already tells the right length.
    pub(super) length: Length,
}

/// What is known of a container's length when it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Length {
    /// It has been written, or need not be.
    Settled,
    /// The container's end will tell.
    Open,
}

/// A writer of one serializer. It appends to a buffer and trusts its caller for the structure.
pub(super) trait Write {
    fn null(&mut self);
    fn bool(&mut self, value: bool);
    fn int(&mut self, value: i64);
    fn uint(&mut self, value: u64);
    /// Fails where the serializer has no such number.
    fn float(&mut self, value: f64) -> Result<(), TranscodeError>;
    fn text(&mut self, text: &str);
    fn bytes(&mut self, octets: &[u8]);
    /// Puts down a whole value that is already in this serializer's octets.
    fn raw(&mut self, octets: &[u8]);

    fn begin_list(&mut self, len: Option<usize>) -> Begun;
    fn end_list(&mut self, begun: Begun, count: usize);
    fn begin_dict(&mut self, len: Option<usize>) -> Begun;
    fn end_dict(&mut self, begun: Begun, count: usize);
    /// Comes before each list element and each key; `index` counts from 0.
    fn separate(&mut self, index: usize);
    /// Comes between a key and its value.
    fn assign(&mut self);
    /// Whether keys of this kind can be written; text always can.
    fn takes_key(&self, kind: Kind) -> bool;

    /// Writes one value.
    fn value(&mut self, value: &Value) -> Result<(), TranscodeError> {
        match value {
            Value::Null => self.null(),
            Value::Bool(value) => self.bool(*value),
            Value::Int(value) => self.int(*value),
            Value::Uint(value) => self.uint(*value),
            Value::Float(value) => self.float(*value)?,
            Value::Str(text) => self.text(text),
            Value::Bytes(octets) => self.bytes(octets),
            Value::List(items) => self.items(items)?,
            Value::Dict(dict) => self.dict(dict)?,
        }
        Ok(())
    }

    /// Writes one list.
    fn items(&mut self, items: &[Value]) -> Result<(), TranscodeError> {
        let begun = self.begin_list(Some(items.len()));
        for (index, item) in items.iter().enumerate() {
            self.separate(index);
            self.value(item)?;
        }
        self.end_list(begun, items.len());
        Ok(())
    }

    /// Writes one dictionary.
    fn dict(&mut self, dict: &Dict) -> Result<(), TranscodeError> {
        let begun = self.begin_dict(Some(dict.len()));
        for (index, (key, value)) in dict.iter().enumerate() {
            self.separate(index);
            self.text(key);
            self.assign();
            self.value(value)?;
        }
        self.end_dict(begun, dict.len());
        Ok(())
    }
}
