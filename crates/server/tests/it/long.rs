//! Long messages and long batches: read elsewhere, carried out a turn at a time, and in the order in which they came.

use serde_json::{Value, json};
use stentor::meter::Reason;
use stentor_wamp::codec::batch;
use stentor_wamp::codec::{self, Batching, Serializer};
use stentor_websocket::deflate::{Deflater, Window};

use crate::client::{Client, Frame, Offer};
use crate::frames::raw;
use crate::house::{Node, soon, start, web_with};

fn node(options: Value) -> Node {
    start(&web_with(json!({}), options))
}

/// Whether a client compresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    Plain,
    Deflated,
}

/// Sends messages together as one WebSocket message, or one by one where the subprotocol has no batches.
async fn say(client: &mut Client, coding: Coding, messages: &[String]) {
    let serializer = client.format.serializer;
    let first = if serializer == Serializer::Json { 0x81 } else { 0x82 };
    let mut out = Vec::new();
    for (place, message) in messages.iter().enumerate() {
        let begun = (client.format.batched == Batching::Batched).then(|| batch::begin(serializer, &mut out));
        codec::transcode(Serializer::Json, serializer, message.as_bytes(), &mut out).unwrap();
        if let Some(begun) = begun {
            batch::finish(serializer, begun, client.separator, &mut out);
            if place + 1 < messages.len() {
                continue;
            }
        }
        let octets = std::mem::take(&mut out);
        let frame = match coding {
            Coding::Plain => raw(first, &octets),
            Coding::Deflated => {
                let mut small = Vec::new();
                Deflater::new().compress(Window::Bits15, &octets, &mut small).unwrap();
                raw(first | 0x40, &small)
            }
        };
        client.send_octets(frame).await;
    }
}

/// A publication with a number and so many small lists.
fn publication(request: u64, number: usize, lists: usize) -> String {
    let mut text = format!(r#"[16,{request},{{}},"t",[{number}"#);
    text.push_str(&",[]".repeat(lists));
    text.push_str("]]");
    text
}

/// Waits until nothing long is held any more.
async fn nothing_waits(node: &Node) {
    let reached = async {
        while node.running.meters().long_messages_waiting.get() > 0 {
            tokio::task::yield_now().await;
        }
    };
    soon("the end of long messages", reached).await;
    assert_eq!(node.running.meters().tasks_panicked.get(), 0);
}

/// Waits until so many long messages have come, and are held or done with.
async fn have_come(node: &Node, count: u64) {
    let reached = async {
        while node.running.meters().long_messages.get() < count {
            tokio::task::yield_now().await;
        }
    };
    soon("long messages", reached).await;
}

#[tokio::test]
async fn they_arrive_whole_and_in_order_between_short_ones() {
    let node = node(json!({"compression": {"deflate": {}}, "outbox_bytes_max": 64 << 20}));
    let mut subscriber = node.session().await;
    subscriber.subscribe("t").await;
    let lists = [0, 60_000, 2, 150_000, 0, 1, 45_000];
    for subprotocol in ["json", "msgpack", "cbor", "json.batched", "msgpack.batched", "cbor.batched"]
        .map(|name| format!("wamp.2.{name}"))
    {
        for coding in [Coding::Plain, Coding::Deflated] {
            let extensions = if coding == Coding::Deflated { "permessage-deflate" } else { "" };
            let offer = Offer { subprotocols: &subprotocol, extensions, ..Offer::default() };
            let mut publisher = node.socket(offer).await;
            publisher.join("realm1").await;
            let before = node.running.meters().long_messages.get();
            let messages: Vec<String> = lists
                .iter()
                .enumerate()
                .map(|(number, lists)| publication(number as u64 + 1, number, *lists))
                .collect();
            say(&mut publisher, coding, &messages).await;
            for (number, lists) in lists.iter().enumerate() {
                let event = subscriber.expect(36).await;
                let args = event[4].as_array().unwrap();
                assert_eq!((&args[0], args.len()), (&json!(number), lists + 1), "{subprotocol} {coding:?}");
                assert!(args[1..].iter().all(|one| *one == json!([])));
            }
            assert!(node.running.meters().long_messages.get() > before, "{subprotocol} {coding:?}");
        }
    }
    nothing_waits(&node).await;
    assert_eq!(node.running.meters().closed.total(), 0);
}

/// What came before a violation is carried out, and nothing behind it; whether the batch is long, or short and of many messages.
#[tokio::test]
async fn a_violation_in_the_middle_of_a_batch_ends_the_session_there() {
    let node = node(json!({"outbox_bytes_max": 64 << 20}));
    let mut subscriber = node.session().await;
    subscriber.subscribe("t").await;
    for (count, lists) in [(5000, 10), (500, 0), (64, 0), (65, 0), (3, 0), (5, 60_000)] {
        let mut publisher = node.session_in("wamp.2.json.batched").await;
        let mut messages: Vec<String> =
            (0..count).map(|number| publication(number as u64 + 1, number, lists)).collect();
        messages.push("[0]".to_owned());
        messages.extend((count..2 * count).map(|number| publication(number as u64 + 1, number, lists)));
        say(&mut publisher, Coding::Plain, &messages).await;
        publisher.expect_abort("wamp.error.protocol_violation", 1002).await;
        for number in 0..count {
            assert_eq!(subscriber.expect(36).await[4][0], number);
        }
        // What comes next is not of that session.
        node.session().await.publish("t", json!(["next"])).await;
        assert_eq!(subscriber.expect(36).await[4], json!(["next"]), "{count}");
    }
    nothing_waits(&node).await;
}

#[tokio::test]
async fn what_is_no_batch_is_refused_before_any_of_it_is_carried_out() {
    let node = node(json!({}));
    let mut subscriber = node.session().await;
    subscriber.subscribe("t").await;
    let mut publisher = node.session_in("wamp.2.json.batched").await;
    let octets = [publication(1, 1, 0), "\u{1e}".to_owned(), " ".repeat(200_000)].concat();
    publisher.send_octets(raw(0x81, octets.as_bytes())).await;
    publisher.expect_abort("wamp.error.protocol_violation", 1002).await;
    node.session().await.publish("t", json!(["next"])).await;
    assert_eq!(subscriber.expect(36).await[4], json!(["next"]));
    nothing_waits(&node).await;
}

#[tokio::test]
async fn long_violations() {
    let node = node(json!({}));
    let long = " ".repeat(200_000);
    let topic = format!(r#"[32,1,{{}},"{}"]"#, "x".repeat(200_000));
    for octets in [format!("[16,1,{{}},\"t\",[{long}"), long.clone(), topic] {
        let mut client = node.session().await;
        client.send_octets(raw(0x81, octets.as_bytes())).await;
        client.expect_abort("wamp.error.protocol_violation", 1002).await;
        let mut client = node.session().await;
        // The wrong kind of frame is not even read.
        client.send_octets(raw(0x82, octets.as_bytes())).await;
        client.expect_abort("wamp.error.protocol_violation", 1002).await;
    }
    let mut client = node.session().await;
    client.send_octets(raw(0x81, &[long.as_bytes(), b"\xff"].concat())).await;
    assert!(matches!(client.frame().await, Frame::Close(1007, _)));
    nothing_waits(&node).await;
    assert_eq!(node.running.meters().closed.get(Reason::WampViolation), 6);
}

#[tokio::test]
async fn broken_text_is_replaced_where_nobody_wants_it_checked() {
    let node = node(json!({"validate_utf8": false}));
    let mut client = node.session().await;
    client.subscribe("t").await;
    let begin = r#"[16,2,{"acknowledge":true,"exclude_me":false},"t",["#;
    let octets = [begin.as_bytes(), b"\"\xff", "x".repeat(200_000).as_bytes(), b"\"]]"].concat();
    client.send_octets(raw(0x81, &octets)).await;
    let event = client.expect(36).await;
    assert!(event[4][0].as_str().unwrap().starts_with("\u{fffd}x"));
    client.expect(17).await;
    nothing_waits(&node).await;
}

#[tokio::test]
async fn sessions_end_while_their_messages_are_read() {
    let node = node(json!({}));
    let mut killer = node.session().await;
    killer.subscribe("wamp.session.on_leave").await;
    for round in 0..4 {
        let mut victim = node.session().await;
        victim.send_octets(raw(0x81, publication(1, 0, 300_000).as_bytes())).await;
        have_come(&node, round + 1).await;
        if round % 2 == 0 {
            let request = killer.request();
            killer.send(json!([48, request, {}, "wamp.session.kill", [victim.id], {"reason": "com.bad"}])).await;
            // Its own leaving is told to the realm, in whatever order.
            let codes = [killer.message().await[0].clone(), killer.message().await[0].clone()];
            assert!(codes.contains(&json!(50)) && codes.contains(&json!(36)), "{codes:?}");
            assert_eq!(victim.message().await, json!([6, {}, "com.bad"]));
            victim.send(json!([6, {}, "wamp.close.goodbye_and_out"])).await;
            victim.expect_close(1000).await;
        } else {
            drop(victim);
            killer.expect(36).await;
        }
        nothing_waits(&node).await;
    }
}

#[tokio::test]
async fn a_node_goes_down_while_a_message_is_read() {
    let node = node(json!({}));
    let mut polite = node.session().await;
    let mut rude = node.session().await;
    for client in [&mut polite, &mut rude] {
        client.send_octets(raw(0x81, publication(1, 0, 200_000).as_bytes())).await;
    }
    have_come(&node, 2).await;
    drop(rude);
    let clients = async {
        assert_eq!(polite.message().await, json!([6, {}, "wamp.close.system_shutdown"]));
        polite.send(json!([6, {}, "wamp.close.goodbye_and_out"])).await;
        polite.expect_close(1000).await;
    };
    soon("the end", async { tokio::join!(node.running.stop(), clients) }).await;
}

#[tokio::test]
async fn pings_and_events_go_on_while_a_message_is_read() {
    let node = node(json!({"auto_ping_interval": 1000, "auto_ping_timeout": 1000}));
    let mut client = node.session().await;
    client.subscribe("t").await;
    client.send_octets(raw(0x81, publication(2, 0, 500_000).as_bytes())).await;
    have_come(&node, 1).await;
    let mut other = node.session().await;
    other.publish("t", json!(["meanwhile"])).await;
    assert_eq!(client.expect(36).await[4], json!(["meanwhile"]));
    // What stands behind the long message is heard when that has been read.
    client.send_frame(stentor_websocket::frame::Opcode::Ping, b"behind").await;
    while client.frame().await != Frame::Pong(b"behind".to_vec()) {}
    nothing_waits(&node).await;
    assert_eq!(node.running.meters().closed.total(), 0);
}
