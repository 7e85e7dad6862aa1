//! Every subprotocol end to end, and payloads on their way from one to another.

use serde_json::{Value, json};
use stentor_wamp::codec::batch::Separator;
use stentor_wamp::codec::{Batching, Serializer};

use crate::client::{Frame, Offer};
use crate::house::{Node, pusher, start, web};

const ALL: [&str; 6] = [
    "wamp.2.json",
    "wamp.2.msgpack",
    "wamp.2.cbor",
    "wamp.2.json.batched",
    "wamp.2.msgpack.batched",
    "wamp.2.cbor.batched",
];

fn node() -> Node {
    start(&web(json!({"push": pusher(json!({}))})))
}

#[tokio::test]
async fn every_pair_understands_each_other() {
    let node = node();
    let args = json!([null, true, -1, 1.5, "é\u{1f600}", [1, [2]], {"a": {"b": []}}, 9_007_199_254_740_993_u64]);
    for from in ALL {
        let mut publisher = node.session_in(from).await;
        for to in ALL {
            let mut subscriber = node.session_in(to).await;
            let subscription = subscriber.subscribe("t").await;
            let publication = publisher.publish("t", args.clone()).await;
            let event = subscriber.expect(36).await;
            assert_eq!(event, json!([36, subscription, publication, {}, args]), "{from} to {to}");
        }
    }
}

#[tokio::test]
async fn octets_stay_octets() {
    let node = node();
    // In JSON octets are a string that begins with U+0000; the client below writes them as each serializer does.
    let octets = json!("\u{0}EBERQg==");
    for from in ALL {
        let mut publisher = node.session_in(from).await;
        for to in ALL {
            let mut subscriber = node.session_in(to).await;
            subscriber.subscribe("t").await;
            publisher.publish("t", json!([octets])).await;
            if subscriber.format.serializer == Serializer::Json || subscriber.format.batched == Batching::Batched {
                assert_eq!(subscriber.expect(36).await[4], json!([octets]), "{from} to {to}");
                continue;
            }
            let Frame::Binary(event) = subscriber.frame().await else { panic!("not binary") };
            let raw: &[u8] = match subscriber.format.serializer {
                Serializer::Msgpack => b"\xc4\x04\x10\x11\x11\x42",
                _ => b"\x44\x10\x11\x11\x42",
            };
            assert!(event.ends_with(raw), "{from} to {to}: {event:x?}");
        }
    }
}

#[tokio::test]
async fn a_post_reaches_every_serializer() {
    let node = node();
    for subprotocol in ALL {
        let mut subscriber = node.session_in(subprotocol).await;
        subscriber.subscribe("t").await;
        let reply = node.post("/push", r#"{"topic":"t","args":[1,"a"],"kwargs":{"k":[1.5]}}"#).await;
        let event = subscriber.expect(36).await;
        assert_eq!(
            event.as_array().unwrap()[2..],
            [json!(reply.id()), json!({}), json!([1, "a"]), json!({"k": [1.5]})]
        );
    }
}

#[tokio::test]
async fn batches_hold_many_messages_and_either_separator() {
    let node = node();
    for subprotocol in &ALL[3..] {
        for separator in [Separator::RecordSeparator, Separator::Cancel] {
            let mut client = node.socket(Offer { subprotocols: subprotocol, ..Offer::default() }).await;
            client.separator = separator;
            let messages: Vec<Value> = vec![
                crate::client::hello("realm1"),
                json!([32, 1, {}, "a"]),
                json!([32, 2, {}, "b"]),
                json!([16, 3, {"acknowledge": true, "exclude_me": false}, "a"]),
            ];
            client.send_all(&messages.iter().map(Value::to_string).collect::<Vec<_>>()).await;
            if client.format.serializer == Serializer::Json {
                // The answers are separated as the client separates.
                let mut octets = Vec::new();
                while octets.iter().filter(|octet| **octet == separator.octet()).count() < 5 {
                    let Frame::Text(text) = client.frame().await else { panic!("not text") };
                    octets.extend(text.into_bytes());
                }
                continue;
            }
            for code in [2, 33, 33, 36, 17] {
                client.expect(code).await;
            }
        }
    }
}
