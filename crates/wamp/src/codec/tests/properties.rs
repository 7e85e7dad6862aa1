//! What has to hold for all values, all serializers and all octets.

use proptest::collection::vec;
use proptest::prelude::*;
use stentor_model::{InvocationId, RegistrationId, RequestId, SubscriptionId};

use crate::codec::{
    Format, Lasting, OwnedPayload, Serializer, batch, decode, decode_value, encode_client, encode_value, transcode,
};
use crate::message::{ClientMessage, Payload};
use crate::value::{Dict, Value};

/// Values that every serializer can express. Text that begins with U+0000 is left out: JSON takes it for octets.
fn value() -> impl Strategy<Value = Value> {
    let text = "(\\PC|[\u{1}-\u{1f}\"\\\\é😀]){0,20}";
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        (-200..200i64).prop_map(Value::Int),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_filter("JSON has finite numbers only", |value| value.is_finite()).prop_map(Value::Float),
        text.prop_map(Value::Str),
        vec(any::<u8>(), 0..40).prop_map(Value::Bytes),
    ];
    leaf.prop_recursive(5, 24, 20, move |inner| {
        prop_oneof![
            vec(inner.clone(), 0..20).prop_map(Value::List),
            vec((text, inner), 0..20).prop_map(|entries| Value::Dict(entries.into_iter().collect())),
        ]
    })
}

fn dict() -> impl Strategy<Value = Dict> {
    vec(("[a-z_]{1,8}", value()), 0..3).prop_map(|entries| entries.into_iter().collect())
}

fn serializer() -> impl Strategy<Value = Serializer> {
    prop_oneof![Just(Serializer::Json), Just(Serializer::Msgpack), Just(Serializer::Cbor)]
}

fn payload(serializer: Serializer) -> impl Strategy<Value = OwnedPayload> {
    (vec(value(), 0..3), dict()).prop_map(move |(args, kwargs)| {
        let payload = OwnedPayload::from_values(serializer, &args, &kwargs).unwrap();
        // A dictionary cannot come without a list before it.
        let args = match (payload.args, &payload.kwargs) {
            (None, Some(_)) => Some(bytes_of(serializer, &Value::List(Vec::new())).into()),
            (args, _) => args,
        };
        OwnedPayload { args, ..payload }
    })
}

fn bytes_of(serializer: Serializer, value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    encode_value(serializer, value, &mut out).unwrap();
    out
}

/// Every message of a client, of the same parts.
fn messages<'a>(id: u64, dict: &Dict, text: &'a str, payload: Payload<'a>) -> Vec<ClientMessage<'a>> {
    let (request, invocation) = (RequestId::from_random(id), InvocationId::from_random(id));
    let (subscription, registration) = (SubscriptionId::from_random(id), RegistrationId::from_random(id));
    let dict = || dict.clone();
    vec![
        ClientMessage::Hello { realm: text.into(), details: dict() },
        ClientMessage::Abort { details: dict(), reason: text.into() },
        ClientMessage::Authenticate { signature: text.into(), extra: dict() },
        ClientMessage::Goodbye { details: dict(), reason: text.into() },
        ClientMessage::Error { invocation, details: dict(), error: text.into(), payload },
        ClientMessage::Publish { request, options: dict(), topic: text.into(), payload },
        ClientMessage::Subscribe { request, options: dict(), topic: text.into() },
        ClientMessage::Unsubscribe { request, subscription },
        ClientMessage::Call { request, options: dict(), procedure: text.into(), payload },
        ClientMessage::Cancel { request, options: dict() },
        ClientMessage::Register { request, options: dict(), procedure: text.into() },
        ClientMessage::Unregister { request, registration },
        ClientMessage::Yield { invocation, options: dict(), payload },
    ]
}

proptest! {
    #[test]
    fn values_come_back(serializer in serializer(), value in value()) {
        prop_assert_eq!(decode_value(serializer, &bytes_of(serializer, &value)), Ok(value));
    }

    #[test]
    fn values_cross(from in serializer(), to in serializer(), value in value()) {
        let octets = bytes_of(from, &value);
        let mut crossed = Vec::new();
        transcode(from, to, &octets, &mut crossed).unwrap();
        prop_assert_eq!(&crossed, &bytes_of(to, &value), "the same as if encoded at once");
        let mut back = Vec::new();
        transcode(to, from, &crossed, &mut back).unwrap();
        prop_assert_eq!(back, octets);
    }

    #[test]
    fn messages_come_back(
        (payload, serializer) in serializer().prop_flat_map(|serializer| (payload(serializer), Just(serializer))),
        id in any::<u64>(),
        dict in dict(),
        text in "\\PC{0,20}",
    ) {
        for message in messages(id, &dict, &text, payload.as_payload()) {
            let mut octets = Vec::new();
            encode_client(serializer, &message, &mut octets).unwrap();
            let lasting = Lasting::decode(serializer, &octets);
            prop_assert_eq!(lasting.map(|lasting| lasting.restore(&octets)), Ok(message.clone()));
            prop_assert_eq!(decode(serializer, &octets), Ok(message));
        }
    }

    #[test]
    fn any_octets_are_survived(octets in vec(any::<u8>(), 0..200)) {
        for serializer in Serializer::ALL {
            let lasting = Lasting::decode(serializer, &octets);
            prop_assert_eq!(lasting.map(|lasting| lasting.restore(&octets)), decode(serializer, &octets));
            let _ = decode_value(serializer, &octets);
            let budget = batch::Budget { messages: 2, bytes: 9 };
            let turns = batch::turns(serializer, &octets, budget).map(|batch| {
                batch.turns.into_iter().flat_map(|turn| batch::messages(serializer, &octets[turn])).collect::<Vec<_>>()
            });
            prop_assert_eq!(turns, batch::split(serializer, &octets).map(Iterator::collect));
            for to in Serializer::ALL {
                let _ = transcode(serializer, to, &octets, &mut Vec::new());
            }
        }
        let _ = Format::from_subprotocol(&String::from_utf8_lossy(&octets));
    }

    /// Octets that begin well get further than random ones. What is accepted is whole: it can be written again, and what
    /// came as JSON can be written in any serializer.
    #[test]
    fn damaged_messages_are_survived(
        (payload, serializer) in serializer().prop_flat_map(|serializer| (payload(serializer), Just(serializer))),
        which in 0..13usize,
        dict in dict(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let message = messages(1, &dict, "com.example", payload.as_payload()).swap_remove(which);
        let mut octets = Vec::new();
        encode_client(serializer, &message, &mut octets).unwrap();
        for (place, octet) in damage {
            let place = place.index(octets.len());
            octets[place] = octet;
        }
        let Ok(message) = decode(serializer, &octets) else { return Ok(()) };
        for to in Serializer::ALL {
            let mut out = Vec::new();
            let written = encode_client(to, &message, &mut out);
            prop_assert!(written.is_ok() || serializer != Serializer::Json);
            if written.is_ok() {
                prop_assert!(decode(to, &out).is_ok());
            }
        }
    }
}
