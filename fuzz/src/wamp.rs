//! The WAMP decoders: what can be read can be written, is read the same again, and means the same to the others.

use std::fmt::Debug;

use stentor_wamp::codec::{Lasting, Serializer, decode, decode_value, encode_client, encode_value, transcode};
use stentor_wamp::message::{ClientMessage, Payload};
use stentor_wamp::value::{Dict, Value};

pub(crate) fn json(data: &[u8]) {
    second_opinion(data);
    both(Serializer::Json, data);
}

pub(crate) fn msgpack(data: &[u8]) {
    both(Serializer::Msgpack, data);
}

pub(crate) fn cbor(data: &[u8]) {
    both(Serializer::Cbor, data);
}

fn both(serializer: Serializer, data: &[u8]) {
    value(serializer, data);
    let lasting = Lasting::decode(serializer, data).map(|lasting| lasting.restore(data));
    assert_eq!(shown(lasting), shown(decode(serializer, data)), "what lasts means the same");
    if let Ok(message) = decode(serializer, data) {
        let value = decode_value(serializer, data);
        assert!(value.is_ok_and(|value| matches!(value, Value::List(_))) || !all_text_keys(serializer, data));
        self::message(serializer, data, &message);
    }
}

/// Whether a tree can be made of it: payloads may hold dictionaries with keys that are not text.
fn all_text_keys(serializer: Serializer, data: &[u8]) -> bool {
    let to_json = transcode(serializer, Serializer::Json, data, &mut Vec::new());
    to_json.is_ok()
}

/// What means the same looks the same, and NaN equals itself.
fn shown(value: impl Debug) -> String {
    format!("{value:?}")
}

/// A string that begins with NUL is how JSON writes octets (WAMP, section "Binary conversion of JSON Strings"), so it
/// cannot come back from there as a string.
fn is_ambiguous(value: &Value) -> bool {
    match value {
        Value::Str(text) => text.starts_with('\0'),
        Value::List(items) => items.iter().any(is_ambiguous),
        Value::Dict(dict) => dict.iter().any(|(_, value)| is_ambiguous(value)),
        _ => false,
    }
}

fn is_finite(value: &Value) -> bool {
    match value {
        Value::Float(value) => value.is_finite(),
        Value::List(items) => items.iter().all(is_finite),
        Value::Dict(dict) => dict.iter().all(|(_, value)| is_finite(value)),
        _ => true,
    }
}

fn value(from: Serializer, data: &[u8]) {
    let Ok(value) = decode_value(from, data) else {
        for to in Serializer::ALL {
            let mut out = b"before".to_vec();
            if transcode(from, to, data, &mut out).is_err() {
                assert_eq!(out, b"before", "{from:?} to {to:?}");
            }
        }
        return;
    };
    let meaning = shown(&value);
    let mut out = Vec::new();
    encode_value(from, &value, &mut out).expect("what was read can be written");
    assert_eq!(decode_value(from, &out).map(shown), Ok(meaning.clone()));
    for to in Serializer::ALL {
        let mut crossed = b"before".to_vec();
        let result = transcode(from, to, data, &mut crossed);
        if to == Serializer::Json && !is_finite(&value) {
            // A repeated key hides its first value from the tree, so the tree may be finite where the octets are not,
            // but never the other way round.
            assert!(result.is_err());
        }
        if result.is_err() {
            assert_eq!(crossed, b"before", "{from:?} to {to:?}");
            assert_eq!(to, Serializer::Json, "only JSON cannot express every tree");
            continue;
        }
        let crossed = &crossed[6..];
        let there = decode_value(to, crossed).expect("what was transcoded can be read");
        if to != Serializer::Json || !is_ambiguous(&value) {
            assert_eq!(shown(&there), meaning, "{from:?} to {to:?}");
        }
        let mut back = Vec::new();
        transcode(to, from, crossed, &mut back).expect("what came from there can go back");
        let again = decode_value(from, &back).expect("and can be read");
        assert_eq!(shown(again), shown(there), "{from:?} to {to:?} and back");
    }
}

fn message(from: Serializer, data: &[u8], message: &ClientMessage<'_>) {
    let payload = payload(message).map(|payload| (payload.args, payload.kwargs));
    for slice in payload.iter().flat_map(|(args, kwargs)| [args, kwargs]).flatten() {
        let place = slice.as_ptr().addr().checked_sub(data.as_ptr().addr()).expect("a payload is a slice of the input");
        assert_eq!(data.get(place..place + slice.len()), Some(*slice));
    }
    let first = written(from, message).expect("what was read can be written");
    let again = decode(from, &first).expect("what was written can be read");
    assert_eq!(shown(head(again.clone())), shown(head(message.clone())));
    assert_eq!(written(from, &again).as_ref(), Some(&first), "the second time changes nothing");
    for to in Serializer::ALL {
        let Some(there) = written(to, message) else {
            assert_ne!(from, Serializer::Json, "every JSON can be written in {to:?}");
            continue;
        };
        let crossed = decode(to, &there).expect("what was transcoded can be read");
        let (Ok(before), Ok(after)) = (decode_value(from, &first), decode_value(to, &there)) else { continue };
        let back = written(from, &crossed).expect("what came from there can go back");
        if [from, to].contains(&Serializer::Json) && (is_ambiguous(&before) || is_ambiguous(&after)) {
            // The tree of JSON takes for octets what a field of the head takes for text.
            let again = decode(from, &back).expect("and can be read");
            assert_eq!(written(to, &again).as_ref(), Some(&there), "{from:?} to {to:?}, back, and there again");
            continue;
        }
        assert_eq!(shown(&after), shown(before), "{from:?} to {to:?}");
        assert_eq!(decode_value(from, &back).map(shown), Ok(shown(after)), "{from:?} to {to:?} and back");
    }
}

fn written(to: Serializer, message: &ClientMessage<'_>) -> Option<Vec<u8>> {
    let mut out = b"before".to_vec();
    if encode_client(to, message, &mut out).is_err() {
        assert_eq!(out, b"before");
        return None;
    }
    Some(out.split_off(6))
}

fn payload<'m, 'a>(message: &'m ClientMessage<'a>) -> Option<&'m Payload<'a>> {
    match message {
        ClientMessage::Error { payload, .. }
        | ClientMessage::Publish { payload, .. }
        | ClientMessage::Call { payload, .. }
        | ClientMessage::Yield { payload, .. } => Some(payload),
        _ => None,
    }
}

/// The message without its payload, of which empty parts are left away when it is written.
fn head(mut message: ClientMessage<'_>) -> ClientMessage<'_> {
    match &mut message {
        ClientMessage::Error { payload, .. }
        | ClientMessage::Publish { payload, .. }
        | ClientMessage::Call { payload, .. }
        | ClientMessage::Yield { payload, .. } => *payload = Payload::none(payload.serializer),
        _ => {}
    }
    message
}

/// serde_json accepts what our reader accepts, and the other way round, but for limits of its own.
fn second_opinion(data: &[u8]) {
    let ours = decode_value(Serializer::Json, data);
    let theirs: Result<serde_json::Value, _> = serde_json::from_slice(data);
    match (&ours, &theirs) {
        (Ok(ours), Ok(theirs)) => assert!(same(ours, theirs), "{ours:?} is not {theirs:?}"),
        (Ok(_), Err(error)) => {
            let sentence = error.to_string();
            let own_limit = ["recursion limit", "number out of range"].iter().any(|limit| sentence.contains(limit));
            assert!(own_limit, "we accept what is refused elsewhere: {sentence}");
        }
        (Err(error), Ok(_)) => panic!("we refuse what is accepted elsewhere: {error}"),
        (Err(_), Err(_)) => {}
    }
}

fn same(ours: &Value, theirs: &serde_json::Value) -> bool {
    use serde_json::Value as Json;
    match (ours, theirs) {
        (Value::Null, Json::Null) => true,
        (Value::Bool(one), Json::Bool(other)) => one == other,
        // Theirs keeps the sign of `-0` by making a float of it.
        (Value::Int(0), Json::Number(other)) => other.as_f64() == Some(0.0),
        (Value::Int(one), Json::Number(other)) => other.as_i64() == Some(*one),
        (Value::Uint(one), Json::Number(other)) => other.as_u64() == Some(*one),
        // Theirs rounds with less care, for speed.
        (Value::Float(one), Json::Number(other)) => other.as_f64().is_some_and(|other| near(*one, other)),
        (Value::Str(one), Json::String(other)) => one == other,
        (Value::Bytes(_), Json::String(other)) => other.starts_with('\0'),
        (Value::List(one), Json::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
        }
        (Value::Dict(one), Json::Object(other)) => same_dict(one, other),
        _ => false,
    }
}

fn same_dict(one: &Dict, other: &serde_json::Map<String, serde_json::Value>) -> bool {
    one.len() == other.len() && one.iter().all(|(key, value)| other.get(key).is_some_and(|other| same(value, other)))
}

fn near(one: f64, other: f64) -> bool {
    (one - other).abs() <= one.abs().max(other.abs()) * 1e-12 + 1e-300
}
