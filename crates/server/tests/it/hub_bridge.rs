//! One publication, every kind of subscriber: a realm and a hub that share topics.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use crate::house::{Node, publisher, pusher, start};
use crate::http::head;
use crate::hub::{hub, send, subscribe_to};
use crate::receiver::{Got, Receiver};

const URI: &str = "com.shop.orders";
const TOPIC: &str = "https://example.com/topics/com.shop.orders";

fn bridged() -> Value {
    let mut config = hub(json!({
        "realm": "realm1", "role": "anonymous",
        "bridge": [{"uri": "com.shop.", "match": "prefix", "topic": "https://example.com/topics/{uri}"}],
    }));
    let paths = &mut config["workers"][0]["transports"][0]["paths"];
    paths["push"] = pusher(json!({}));
    paths["publish"] = publisher(json!({}));
    config
}

fn body(got: &Got) -> Value {
    serde_json::from_slice(&got.body).unwrap()
}

async fn publish_at_hub(node: &Node, content_type: &str, body: &str) -> Value {
    let target = format!("/hub?topic={TOPIC}");
    let reply = send(node, &target, &[("Content-Type", content_type)], body.as_bytes()).await;
    assert_eq!(reply.status, 202, "{}", reply.text());
    reply.json()
}

#[tokio::test]
async fn one_post_reaches_a_session_and_a_webhook() {
    let (node, receiver) = (start(&bridged()), Receiver::start().await);
    subscribe_to(&node, TOPIC, &receiver, &[]).await;
    let mut session = node.session().await;
    session.subscribe(URI).await;
    let reply = node.post("/push", &json!({"topic": URI, "args": [1, "a"], "kwargs": {"b": 2}}).to_string()).await;
    assert_eq!(reply.status, 202, "{}", reply.text());
    let event = session.expect(36).await;
    assert_eq!((&event[2], &event[4], &event[5]), (&json!(reply.id()), &json!([1, "a"]), &json!({"b": 2})));
    let post = &receiver.posts(1).await[0];
    assert_eq!(post.header("stentor-publication").unwrap(), reply.id().to_string());
    assert_eq!(post.header("content-type"), Some("application/json"));
    assert_eq!(body(post), json!({"topic": URI, "args": [1, "a"], "kwargs": {"b": 2}}));
    // Other topics go on as they did.
    session.subscribe("com.other").await;
    let reply = node.post("/push", r#"{"topic": "com.other", "args": [3]}"#).await;
    assert_eq!(session.expect(36).await[2], json!(reply.id()));
}

#[tokio::test]
async fn publications_of_the_hub_become_events() {
    let node = start(&bridged());
    let mut session = node.session().await;
    session.subscribe(URI).await;
    for (content_type, content, arg) in [
        ("text/plain", "a text", json!("a text")),
        ("application/json", r#"{"x": [1]}"#, json!({"x": [1]})),
        ("application/problem+json; charset=utf-8", "[]", json!([])),
        ("application/json", "not JSON", json!("not JSON")),
    ] {
        let receipt = publish_at_hub(&node, content_type, content).await;
        let event = session.expect(36).await;
        assert_eq!((&event[2], &event[4]), (&receipt["id"], &json!([arg])));
        assert_eq!(event[5], json!({"topic": TOPIC, "content_type": content_type}));
    }
}

#[tokio::test]
async fn a_session_publishes_to_webhooks_and_is_told_when_it_is_kept() {
    let (node, receiver) = (start(&bridged()), Receiver::start().await);
    subscribe_to(&node, TOPIC, &receiver, &[]).await;
    let (mut publisher, mut other) = (node.session().await, node.session().await);
    publisher.subscribe(URI).await;
    other.subscribe(URI).await;
    let id = publisher.publish(URI, json!(["x"])).await;
    assert_eq!(other.expect(36).await[2], json!(id));
    assert_eq!(receiver.posts(1).await[0].header("stentor-publication").unwrap(), id.to_string());
    // exclude_me holds: the publisher's next event is somebody else's.
    let reply = node.post("/push", &json!({"topic": URI}).to_string()).await;
    assert_eq!(publisher.expect(36).await[2], json!(reply.id()));
    // What the role may not do is refused before anything is kept.
    let request = publisher.request();
    publisher.send(json!([16, request, {"acknowledge": true, "disclose_me": true}, URI])).await;
    assert_eq!(publisher.expect(8).await[4], "wamp.error.option_disallowed.disclose_me");
    // Nobody is singled out where everybody may subscribe.
    let request = publisher.request();
    publisher.send(json!([16, request, {"acknowledge": true, "eligible": [1]}, URI])).await;
    assert_eq!(publisher.expect(8).await[4], "wamp.error.invalid_argument");
}

#[tokio::test]
async fn everybody_has_the_same_order_whoever_publishes() {
    let (node, receiver) = (start(&bridged()), Receiver::start().await);
    subscribe_to(&node, TOPIC, &receiver, &[]).await;
    let mut reader = node.session().await;
    reader.subscribe(URI).await;
    let mut publisher = node.session().await;
    let by_session = async {
        for number in 0..100 {
            publisher.publish(URI, json!([number])).await;
        }
    };
    let by_push = async {
        for number in 100..200 {
            let reply = node.post("/push", &json!({"topic": URI, "args": [number]}).to_string()).await;
            assert_eq!(reply.status, 202);
        }
    };
    let by_hub = async {
        for number in 200..300 {
            publish_at_hub(&node, "text/plain", &number.to_string()).await;
        }
    };
    tokio::join!(by_session, by_push, by_hub);
    let posts = receiver.posts(300).await;
    for post in &posts {
        let event = reader.expect(36).await;
        assert_eq!(event[2].to_string(), post.header("stentor-publication").unwrap());
    }
    let sequence: Vec<u64> =
        posts.iter().map(|post| post.header("stentor-sequence").unwrap().parse().unwrap()).collect();
    assert_eq!(sequence, (1..=300).collect::<Vec<u64>>());
}

#[tokio::test]
async fn a_repeated_post_is_published_once() {
    let node = start(&bridged());
    let mut session = node.session().await;
    session.subscribe(URI).await;
    let text = json!({"topic": URI, "args": [1]}).to_string();
    let mut ids = Vec::new();
    for _ in 0..2 {
        let mut http = node.http().await;
        let reply = http.post("/publish", &[("Idempotency-Key", "k1")], text.as_bytes()).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        ids.push(reply.id());
    }
    assert_eq!(ids[0], ids[1]);
    let marker = node.post("/push", &json!({"topic": URI}).to_string()).await;
    assert_eq!(session.expect(36).await[2], json!(ids[0]));
    assert_eq!(session.expect(36).await[2], json!(marker.id()));
}

#[tokio::test]
async fn a_batch_on_bridged_topics_is_answered_item_by_item() {
    let node = start(&bridged());
    let mut session = node.session().await;
    session.subscribe(URI).await;
    let items = json!([{"topic": URI, "args": [1]}, {"topic": "com.shop.a b"}, {"topic": URI, "args": [2]}]);
    let reply = node.post("/push", &items.to_string()).await;
    assert_eq!(reply.status, 207, "{}", reply.text());
    assert_eq!(session.expect(36).await[4], json!([1]));
    assert_eq!(session.expect(36).await[4], json!([2]));
}

#[tokio::test]
async fn what_was_acknowledged_is_not_overtaken() {
    let (node, other) = (start(&bridged()), "com.other");
    let (mut reader, mut publisher) = (node.session().await, node.session().await);
    reader.subscribe(URI).await;
    reader.subscribe(other).await;
    // On a bridged URI and beside it in turn, each when the one before was acknowledged.
    for number in (0..120).step_by(2) {
        match number % 6 {
            0 => drop(publisher.publish(URI, json!([number])).await),
            2 => drop(node.post("/push", &json!({"topic": URI, "args": [number]}).to_string()).await),
            _ => drop(publish_at_hub(&node, "application/json", &number.to_string()).await),
        }
        let reply = node.post("/push", &json!({"topic": other, "args": [number + 1]}).to_string()).await;
        assert_eq!(reply.status, 202);
    }
    let items: Vec<_> =
        (120..160).map(|n| json!({"topic": if n % 2 == 0 { URI } else { other }, "args": [n]})).collect();
    let reply = node.post("/push", &json!(items).to_string()).await;
    assert!(reply.status < 300, "{}", reply.text());
    for number in 0..160 {
        assert_eq!(reader.expect(36).await[4], json!([number]));
    }
}

#[tokio::test]
async fn uris_of_all_letters_cross() {
    let (node, receiver) = (start(&bridged()), Receiver::start().await);
    // As others write it in a URL.
    subscribe_to(&node, "https://example.com/topics/com.shop.gr%C3%B6%C3%9Fe", &receiver, &[]).await;
    let mut session = node.session().await;
    for uri in ["com.shop.größe", "com.shop.a\"b"] {
        session.subscribe(uri).await;
        let reply = node.post("/push", &json!({"topic": uri, "args": [uri]}).to_string()).await;
        assert_eq!(reply.status, 202, "{}", reply.text());
        assert_eq!(session.expect(36).await[4], json!([uri]));
    }
    assert_eq!(body(&receiver.posts(1).await[0])["topic"], "com.shop.größe");
    let target = "/hub?topic=https://example.com/topics/com.shop.gr%25C3%25B6%25C3%259Fe";
    let reply = send(&node, target, &[("Content-Type", "text/plain")], b"back").await;
    assert_eq!(reply.status, 202, "{}", reply.text());
    assert_eq!(session.expect(36).await[4], json!(["back"]));
    // What no URL can be made of is refused, and does not go past the log.
    let reply = node.post("/push", &json!({"topic": "com.shop.a\\b"}).to_string()).await;
    assert_eq!(reply.status, 400, "{}", reply.text());
    assert!(reply.text().contains("bridged"), "{}", reply.text());
}

#[tokio::test]
async fn every_uri_is_discovered_and_subscribed_to() {
    let mut config = bridged();
    let paths = &mut config["workers"][0]["transports"][0]["paths"];
    paths["topics"] = json!({"type": "websub-topic", "hub": "hub", "base_url": "https://example.com/topics/"});
    let (node, receiver) = (start(&config), Receiver::start().await);
    for (number, sign) in (1..).zip("\"<>`{|}^[]&ö".chars()) {
        let uri = format!("com.shop.a{sign}b");
        let publish = async || {
            let reply = node.post("/push", &json!({"topic": uri, "args": [sign.to_string()]}).to_string()).await;
            assert_eq!(reply.status, 202, "{uri}: {}", reply.text());
        };
        publish().await;
        let mut http = node.http().await;
        let written = if matches!(sign, '[' | ']' | '&') {
            uri.clone()
        } else {
            utf8_percent_encode(&uri, NON_ALPHANUMERIC).to_string()
        };
        http.send(head("GET", &format!("/topics/{written}"), &[])).await;
        let newest = http.reply().await;
        assert_eq!(newest.status, 200, "{uri}");
        let link = newest.header("link").unwrap();
        let (_, topic) = link.rsplit_once('<').unwrap();
        let topic = topic.strip_suffix(">; rel=\"self\"").unwrap();
        subscribe_to(&node, topic, &receiver, &[]).await;
        publish().await;
        assert_eq!(body(receiver.posts(number).await.last().unwrap())["topic"], uri.as_str());
    }
}

#[tokio::test]
async fn what_only_json_can_say_is_a_text_for_all() {
    let node = start(&bridged());
    let mut session = node.session().await;
    session.subscribe(URI).await;
    for content in ["\"\\ud800\"", "1e400"] {
        publish_at_hub(&node, "application/json", content).await;
        assert_eq!(session.expect(36).await[4], json!([content]));
    }
}

#[tokio::test]
async fn a_key_does_not_stand_for_a_batch() {
    let node = start(&bridged());
    let items = json!([{"topic": URI}, {"topic": URI}]).to_string();
    let mut http = node.http().await;
    let reply = http.post("/push", &[("Idempotency-Key", "k1")], items.as_bytes()).await;
    assert_eq!(reply.status, 400, "{}", reply.text());
    assert!(reply.text().contains("Idempotency-Key"), "{}", reply.text());
}
