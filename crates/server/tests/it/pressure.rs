//! Slow readers, full outboxes, many publishers: who waits for whom, and in which order things arrive.

use serde_json::{Value, json};
use stentor::meter::Reason;

use crate::client::{Client, Frame, Offer};
use crate::house::{Node, configured, pusher, start, start_with, web_with};
use crate::http::request;

/// A body that carries its number.
fn numbered(n: usize, length: usize) -> String {
    json!({"topic": "t", "args": [n, "x".repeat(length)]}).to_string()
}

async fn push(node: &Node, http: &mut crate::http::Http, body: &str) {
    let reply = http.post("/push", &[], body.as_bytes()).await;
    assert_eq!(reply.status, 202);
    assert!(node.running.meters().tasks_panicked.get() == 0);
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
    while node.running.meters().closed.get(Reason::OutboxFull) == 0 {
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
    assert_eq!(node.running.meters().closed.get(Reason::OutboxFull), 1);
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
    let receive = async |subscriber: &mut Client| {
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

#[tokio::test]
async fn sessions_may_come_and_go_in_the_midst_of_it() {
    let config = web_with(json!({"push": pusher(json!({}))}), json!({}));
    let node = start_with(configured(&config), 2);
    let mut steady = node.session().await;
    steady.subscribe("t").await;
    let publish = async {
        let mut http = node.http().await;
        for n in 0..300 {
            push(&node, &mut http, &numbered(n, 100)).await;
        }
    };
    let churn = async |polite: bool| {
        for _ in 0..60 {
            let mut client = node.session().await;
            client.register(&format!("com.{}", client.id)).await;
            client.subscribe_with(json!({"match": "prefix"}), "").await;
            if polite {
                client.send(json!([6, {}, "wamp.close.close_realm"])).await;
                while client.message().await[0] != 6 {}
            }
        }
    };
    let receive = async {
        for n in 0..300 {
            assert_eq!(steady.expect(36).await[4][0], n);
        }
    };
    tokio::join!(publish, churn(true), churn(false), receive);
    while node.running.meters().connections_open.get() > 1 {
        tokio::task::yield_now().await;
    }
    let request = steady.request();
    steady.send(json!([48, request, {}, "wamp.session.count"])).await;
    assert_eq!(steady.expect(50).await[3], json!([1]));
    assert_eq!(node.running.meters().tasks_panicked.get(), 0);
}

#[tokio::test]
async fn a_full_transport_is_full_on_every_thread() {
    let node = start_with(configured(&web_with(json!({}), json!({"max_sessions": 5}))), 2);
    let mut let_in = Vec::new();
    let mut running = tokio::task::JoinSet::new();
    let address = node.address(0);
    for _ in 0..40 {
        running.spawn(async move {
            let stream = tokio::net::TcpStream::connect(address).await.unwrap();
            Client::open(stream, Offer::default()).await.ok()
        });
    }
    while let Some(outcome) = running.join_next().await {
        let_in.extend(outcome.unwrap());
    }
    assert_eq!(let_in.len(), 5);
}

#[tokio::test]
async fn a_full_transport_is_full_on_every_path() {
    let limit = json!({"max_sessions": 1});
    let paths = json!({"other": {"type": "websocket", "options": limit}});
    let node = start_with(configured(&web_with(paths, limit)), 1);
    let stream = || tokio::net::TcpStream::connect(node.address(0));
    let held = Client::open(stream().await.unwrap(), Offer::default()).await.unwrap();
    let other = Offer { path: "/other", ..Offer::default() };
    let refused = Client::open(stream().await.unwrap(), other).await.err().unwrap();
    assert_eq!(refused.status, 503);
    drop(held);
}

/// Posts so many publications of that length in one request.
async fn post_batch(node: &Node, items: usize, length: usize) -> crate::http::Reply {
    let lines: Vec<_> = (0..items).map(|n| numbered(n, length)).collect();
    let mut http = node.http().await;
    http.send(request("POST", "/push", &[("Content-Type", "application/x-ndjson")], lines.join("\n").as_bytes())).await;
    http.reply().await
}

/// Posts a batch while the only subscriber reads.
async fn batch_arrives(options: Value, items: usize, length: usize) {
    let node = start(&web_with(json!({"push": pusher(json!({}))}), options));
    let mut subscriber = node.session().await;
    subscriber.subscribe("t").await;
    let receive = async {
        let mut ids = Vec::new();
        for n in 0..items {
            let event = subscriber.expect(36).await;
            assert_eq!(event[4][0], n);
            ids.push(event[2].clone());
        }
        ids
    };
    let (reply, received) = tokio::join!(post_batch(&node, items, length), receive);
    assert_eq!(reply.status, 202);
    let answered: Vec<_> = reply.json().as_array().unwrap().iter().map(|item| item["id"].clone()).collect();
    assert_eq!(answered.len(), items);
    assert_eq!(answered, received);
    assert_eq!(node.running.meters().closed.get(Reason::OutboxFull), 0);
    push(&node, &mut node.http().await, &numbered(items, 1)).await;
    assert_eq!(subscriber.expect(36).await[4][0], items);
}

#[tokio::test]
async fn a_batch_larger_than_the_outbox_reaches_a_reader() {
    batch_arrives(json!({}), 10_000, 700).await;
    // Each turn of the batch is twice the outbox, and the whole is within what the socket takes of its own.
    batch_arrives(json!({"outbox_bytes_max": 65_536}), 300, 2000).await;
    // Far more than the socket takes too: the batch waits for its reader.
    batch_arrives(json!({"outbox_bytes_max": 65_536}), 60, 250_000).await;
}

/// Who reads nothing is closed for it as ever, and costs those who read nothing.
#[tokio::test]
async fn a_batch_gives_up_who_does_not_read() {
    let node = start(&web_with(json!({"push": pusher(json!({}))}), json!({"outbox_bytes_max": 65_536})));
    let (mut reader, mut stuck) = (node.session().await, node.session().await);
    reader.subscribe("t").await;
    stuck.subscribe("t").await;
    const ITEMS: usize = 4000;
    let receive = async {
        for n in 0..ITEMS {
            assert_eq!(reader.expect(36).await[4][0], n);
        }
    };
    let (reply, ()) = tokio::join!(post_batch(&node, ITEMS, 4000), receive);
    assert_eq!(reply.status, 202, "{}", reply.text());
    assert_eq!(node.running.meters().closed.get(Reason::OutboxFull), 1);
}

#[tokio::test]
async fn a_retained_event_larger_than_the_outbox_reaches_who_asks() {
    let node = start(&web_with(json!({"push": pusher(json!({}))}), json!({"outbox_bytes_max": 1024})));
    let text = "x".repeat(20_000);
    let retained = json!({"topic": "t", "args": [text], "options": {"retain": true}}).to_string();
    push(&node, &mut node.http().await, &retained).await;
    let mut subscriber = node.session().await;
    let subscription = subscriber.subscribe_with(json!({"get_retained": true}), "t").await;
    let event = subscriber.expect(36).await;
    assert_eq!((&event[1], &event[4]), (&json!(subscription), &json!([text])));
    assert_eq!(node.running.meters().closed.get(Reason::OutboxFull), 0);
}

/// More than is told of at once: the rest comes in the same order.
#[tokio::test]
async fn what_a_session_leaves_behind_is_told_in_order() {
    const COUNT: u64 = 300;
    let node = start(&web_with(json!({}), json!({})));
    let mut listener = node.session().await;
    let on = listener.subscribe_with(json!({"match": "prefix"}), "wamp.").await;
    let mut leaver = node.session().await;
    assert_eq!(listener.expect(36).await[1], on);
    let mut ids = Vec::new();
    for n in 0..COUNT {
        ids.push(leaver.subscribe(&format!("t.{n}")).await);
        for topic in ["on_create", "on_subscribe"] {
            assert_eq!(listener.expect(36).await[3]["topic"], format!("wamp.subscription.{topic}"));
        }
    }
    let session = leaver.id;
    drop(leaver);
    let mut told = Vec::new();
    for _ in 0..COUNT {
        for topic in ["on_unsubscribe", "on_delete"] {
            let event = listener.expect(36).await;
            assert_eq!(event[3]["topic"], format!("wamp.subscription.{topic}"));
            assert_eq!(event[4][0], session);
            told.push(event[4][1].as_u64().unwrap());
        }
    }
    told.dedup();
    told.sort_unstable();
    assert_eq!(told, ids);
    assert_eq!(listener.expect(36).await[3]["topic"], "wamp.session.on_leave");
}

#[tokio::test]
async fn the_callers_of_a_callee_that_leaves_all_hear_of_it() {
    const CALLS: u64 = 2000;
    let node = start(&web_with(json!({}), json!({})));
    let (mut callee, mut caller) = (node.session().await, node.session().await);
    callee.register("com.p").await;
    for request in 1..=CALLS {
        caller.send(json!([48, request, {}, "com.p"])).await;
        callee.expect(68).await;
    }
    drop(callee);
    let mut told = Vec::new();
    for _ in 0..CALLS {
        let error = caller.expect(8).await;
        assert_eq!((&error[1], &error[4]), (&json!(48), &json!("wamp.error.canceled")));
        told.push(error[2].as_u64().unwrap());
    }
    told.sort_unstable();
    assert_eq!(told, (1..=CALLS).collect::<Vec<_>>());
}
