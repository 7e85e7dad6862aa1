//! Payloads that outlive the octets they came in, for what the router keeps: retained events, history, its own results.

use bytes::Bytes;

use super::Serializer;
use super::error::TranscodeError;
use super::transcode::transcode;
use super::value::encode_value;
use crate::message::Payload;
use crate::value::{Dict, Value};

/// A [`Payload`] with octets of its own. Clones share them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedPayload {
    /// The serializer whose octets these are.
    pub serializer: Serializer,
    /// One whole array, or nothing.
    pub args: Option<Bytes>,
    /// One whole dictionary, or nothing.
    pub kwargs: Option<Bytes>,
}

impl OwnedPayload {
    /// The payload of these values; what is empty is left out.
    ///
    /// # Errors
    /// When a value has no counterpart in `serializer`, which only numbers in JSON can bring about.
    pub fn from_values(serializer: Serializer, args: &[Value], kwargs: &Dict) -> Result<Self, TranscodeError> {
        let encoded = |value: &Value| {
            let mut octets = Vec::new();
            encode_value(serializer, value, &mut octets).map(|()| Some(Bytes::from(octets)))
        };
        let args = if args.is_empty() { None } else { encoded(&Value::List(args.to_vec()))? };
        let kwargs = if kwargs.is_empty() { None } else { encoded(&Value::Dict(kwargs.clone()))? };
        Ok(Self { serializer, args, kwargs })
    }

    /// The payload without its octets.
    #[must_use]
    pub fn as_payload(&self) -> Payload<'_> {
        Payload { serializer: self.serializer, args: self.args.as_deref(), kwargs: self.kwargs.as_deref() }
    }
}

impl Payload<'_> {
    /// No payload. The serializer does not matter then, but has to be told.
    #[must_use]
    pub const fn none(serializer: Serializer) -> Self {
        Self { serializer, args: None, kwargs: None }
    }

    /// A copy with octets of its own.
    #[must_use]
    pub fn to_owned(&self) -> OwnedPayload {
        OwnedPayload {
            serializer: self.serializer,
            args: self.args.map(Bytes::copy_from_slice),
            kwargs: self.kwargs.map(Bytes::copy_from_slice),
        }
    }

    /// A copy in the octets of another serializer.
    ///
    /// # Errors
    /// When something in the payload has no counterpart there.
    pub fn transcoded(&self, to: Serializer) -> Result<OwnedPayload, TranscodeError> {
        if to == self.serializer {
            return Ok(self.to_owned());
        }
        let transcoded = |octets: Option<&[u8]>| -> Result<_, TranscodeError> {
            let Some(octets) = octets else { return Ok(None) };
            let mut out = Vec::with_capacity(octets.len());
            transcode(self.serializer, to, octets, &mut out)?;
            Ok(Some(Bytes::from(out)))
        };
        Ok(OwnedPayload { serializer: to, args: transcoded(self.args)?, kwargs: transcoded(self.kwargs)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn from_values_and_back_through_another_serializer() {
        let kwargs = Dict::new().with("a", true);
        let json = OwnedPayload::from_values(Serializer::Json, &[7.into(), "x".into()], &kwargs).unwrap();
        assert_eq!(json.args.as_deref(), Some(&br#"[7,"x"]"#[..]));
        assert_eq!(json.kwargs.as_deref(), Some(&br#"{"a":true}"#[..]));

        let msgpack = json.as_payload().transcoded(Serializer::Msgpack).unwrap();
        assert_eq!(msgpack.args.as_deref(), Some(&b"\x92\x07\xa1x"[..]));
        assert_eq!(msgpack.kwargs.as_deref(), Some(&b"\x81\xa1a\xc3"[..]));
        assert_eq!(msgpack.as_payload().transcoded(Serializer::Json), Ok(json.clone()));
        assert_eq!(json.as_payload().transcoded(Serializer::Json), Ok(json));
    }

    #[test]
    fn nothing_stays_nothing() {
        for serializer in Serializer::ALL {
            let nothing = OwnedPayload::from_values(serializer, &[], &Dict::new()).unwrap();
            assert_eq!(nothing.as_payload(), Payload::none(serializer));
            assert_eq!(nothing.as_payload().transcoded(Serializer::Json).unwrap().args, None);
        }
    }

    #[test]
    fn json_has_no_infinity() {
        let infinite = [Value::Float(f64::INFINITY)];
        let refused = OwnedPayload::from_values(Serializer::Json, &infinite, &Dict::new());
        assert_eq!(refused, Err(TranscodeError::NotFinite));
        let kept = OwnedPayload::from_values(Serializer::Cbor, &infinite, &Dict::new()).unwrap();
        assert_eq!(kept.as_payload().transcoded(Serializer::Json), Err(TranscodeError::NotFinite));
        assert!(kept.as_payload().transcoded(Serializer::Msgpack).is_ok());
    }
}
