//! Slow readers, full outboxes, many publishers: who waits for whom, and in which order things arrive.

use serde_json::{Value, json};

use crate::client::{Frame, Offer};
use crate::house::{Node, configured, pusher, start, start_with, web_with};

/// A body that carries its number.
fn numbered(n: usize, length: usize) -> String {
    json!({"topic": "t", "args": [n, "x".repeat(length)]}).to_string()
}

async fn push(node: &Node, http: &mut crate::http::Http, body: &str) {
    let reply = http.post("/push", &[], body.as_bytes()).await;
    assert_eq!(reply.status, 202);
    assert!(node.running.meters.tasks_panicked.get() == 0);
}

#[tokio::test]
async fn a_subscriber_that_never_reads_is_closed_and_nobody_else() {
    let node = start(&web_with(json!({"push": pusher(json!({}))}), json!({"outbox_bytes_max": 1 << 20})));
    let mut quick = node.session().await;
    quick.subscribe("t").await;
    quick.subscribe("wamp.session.on_leave").await;
    let mut stuck = node.session().await;
    stuck.subscribe("t").await;
    let mut http = node.http().await;
    let mut sent = 0;
    while node.running.meters.closed_outbox_full.get() == 0 {
        push(&node, &mut http, &numbered(sent, 65_536)).await;
        assert_eq!(quick.expect(36).await[4][0], sent);
        sent += 1;
        assert!(sent < 2000, "nobody has been closed");
    }
    // What had been written to the socket arrives whole and in order, then the reason for the end.
    let mut expected = 0;
    loop {
        match stuck.frame().await {
            Frame::Text(text) => {
                assert!(text.contains(&format!("[{expected},")), "{text:.60}");
                expected += 1;
            }
            Frame::Close(code, reason) => {
                assert_eq!(code, 1008);
                assert!(reason.contains("outbox"), "{reason}");
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(0 < expected && expected < sent);
    assert_eq!(stuck.frame().await, Frame::End);
    assert_eq!(quick.expect(36).await[4][0], stuck.id);
    push(&node, &mut http, &numbered(sent, 10)).await;
    assert_eq!(quick.expect(36).await[4][0], sent);
    assert_eq!(node.running.meters.closed_outbox_full.get(), 1);
}

#[tokio::test]
async fn a_slow_reader_within_its_bounds_gets_everything() {
    let node = start(&web_with(json!({"push": pusher(json!({}))}), json!({"outbox_bytes_max": 64 << 20})));
    let mut slow = node.session().await;
    slow.subscribe("t").await;
    let mut http = node.http().await;
    for n in 0..300 {
        push(&node, &mut http, &numbered(n, 65_536)).await;
    }
    for n in 0..300 {
        assert_eq!(slow.expect(36).await[4][0], n);
    }
    slow.publish("u", json!([])).await;
}

#[tokio::test]
async fn one_event_may_be_larger_than_an_outbox() {
    let node = start(&web_with(json!({"push": pusher(json!({}))}), json!({"outbox_bytes_max": 1024})));
    let mut subscriber = node.session().await;
    subscriber.subscribe("t").await;
    push(&node, &mut node.http().await, &numbered(0, 100_000)).await;
    assert_eq!(subscriber.expect(36).await[4][0], 0);
}

#[tokio::test]
async fn subscriptions_of_a_session_are_bounded() {
    let node = start(&web_with(json!({}), json!({"max_subscriptions_per_session": 2})));
    let mut client = node.session().await;
    let first = client.subscribe("a").await;
    client.subscribe("b").await;
    let request = client.request();
    client.send(json!([32, request, {}, "c"])).await;
    let refusal = client.expect(8).await;
    assert_eq!(refusal.as_array().unwrap()[..3], [json!(8), json!(32), json!(request)]);
    assert_eq!(refusal[4], "wamp.error.unavailable");
    let request = client.request();
    client.send(json!([34, request, first])).await;
    client.expect(35).await;
    client.subscribe("c").await;
}

#[tokio::test]
async fn each_publishers_order_is_kept_across_threads() {
    const PUBLISHERS: usize = 8;
    const EVENTS: usize = 250;
    let config = web_with(json!({"push": pusher(json!({}))}), json!({}));
    let node = start_with(configured(&config), 2);
    let mut subscribers = [node.session().await, node.session_in("wamp.2.cbor").await];
    for subscriber in &mut subscribers {
        subscriber.subscribe_with(json!({"match": "prefix"}), "com.").await;
    }
    let mut publishers = Vec::new();
    for _ in 0..PUBLISHERS {
        publishers.push(node.session().await);
    }
    let publish = async {
        for n in 0..EVENTS {
            for (who, publisher) in publishers.iter_mut().enumerate() {
                let request = publisher.request();
                publisher.send(json!([16, request, {}, format!("com.{}", n % 3), [who, n]])).await;
            }
        }
    };
    let receive = async |subscriber: &mut crate::client::Client| {
        let mut next = [0; PUBLISHERS];
        for _ in 0..PUBLISHERS * EVENTS {
            let event: Value = subscriber.expect(36).await;
            let who = usize::try_from(event[4][0].as_u64().unwrap()).unwrap();
            assert_eq!(event[4][1], next[who], "of publisher {who}");
            next[who] += 1;
        }
        assert_eq!(next, [EVENTS; PUBLISHERS]);
    };
    let [one, other] = &mut subscribers;
    tokio::join!(publish, receive(one), receive(other));
}

#[tokio::test]
async fn nothing_comes_before_subscribed_or_after_unsubscribed() {
    let config = web_with(json!({"push": pusher(json!({}))}), json!({}));
    let node = start_with(configured(&config), 2);
    let mut publisher = node.socket(Offer::default()).await;
    publisher.join("realm1").await;
    let mut subscriber = node.session().await;
    for _ in 0..100 {
        let (mut request, mut subscribed) = (subscriber.request(), false);
        subscriber.send(json!([32, request, {}, "t"])).await;
        for n in 0..5 {
            let publication = publisher.request();
            publisher.send(json!([16, publication, {}, "t", [n]])).await;
        }
        let mut unsubscribing = false;
        loop {
            let message = subscriber.message().await;
            match message[0].as_u64().unwrap() {
                33 => {
                    subscribed = true;
                    request = subscriber.request();
                    subscriber.send(json!([34, request, message[2]])).await;
                    unsubscribing = true;
                }
                36 => assert!(subscribed, "{message}"),
                35 => {
                    assert!(unsubscribing);
                    break;
                }
                _ => panic!("{message}"),
            }
        }
        // Whatever was published has been routed by now, and nothing of it comes any more.
        publisher.publish("t", json!(["late"])).await;
    }
    let request = subscriber.request();
    subscriber.send(json!([48, request, {}, "wamp.session.count"])).await;
    subscriber.expect(50).await;
}
