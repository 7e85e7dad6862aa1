//! The express lane and the long way are one server: whichever way a publication takes, it is answered alike.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::client::{Client, Offer, handshake_head};
use crate::house::{Node, publisher, pusher, start, web};
use crate::http::{Http, Reply, head, post, request};
use crate::hub::{TOPIC, hub, subscribe, texts};
use crate::receiver::Receiver;

/// A header that no plain request has.
const LONG_WAY: (&str, &str) = ("X-Long-Way", "please");

const JSON: (&str, &str) = ("Content-Type", "application/json");

fn node() -> Node {
    let narrow = json!({"type": "pusher", "realm": "realm1", "role": "narrow"});
    let signed = pusher(json!({"key": "k", "secret": "s"}));
    start(&web(json!({
        "push": pusher(json!({"post_body_limit": 5000})), "publish": publisher(json!({})), "narrow": narrow,
        "signed": signed
    })))
}

/// What does not depend on the moment: status, headers without the date, body without the id.
fn lasting(reply: &Reply) -> (u16, Vec<(String, String)>, Value) {
    assert!(reply.header("date").is_some_and(|date| date.len() == 29 && date.ends_with(" GMT")), "{reply:?}");
    let mut headers = reply.headers.clone();
    headers.retain(|(name, _)| name != "date");
    headers.sort_unstable();
    let is_json = reply.header("content-type").is_some_and(|kind| kind.starts_with("application/json"));
    let mut body = if is_json { reply.json() } else { json!({"sentence": reply.text()}) };
    for number in ["id", "sequence", "offset"] {
        if let Some(number) = body.get_mut(number) {
            *number = json!(0);
            headers.retain(|(name, _)| name != "content-length");
        }
    }
    (reply.status, headers, body)
}

/// Sends each request both ways, and compares what comes back.
async fn check_both_ways(node: &Node, rows: &[Row<'_>]) {
    for (target, headers, body, status) in rows {
        let mut http = node.http().await;
        let long = [headers, &[LONG_WAY][..]].concat();
        let mut replies = Vec::new();
        for headers in [headers, &long[..]] {
            http.send(request("POST", target, headers, body.as_bytes())).await;
            replies.push(http.reply().await);
        }
        assert_eq!(replies[0].status, *status, "{target} {headers:?} {body}: {}", replies[0].text());
        assert_eq!(lasting(&replies[0]), lasting(&replies[1]), "{target} {headers:?} {body}");
    }
}

/// A target, further headers, a body, and the status of both answers.
type Row<'r> = (&'r str, &'r [(&'r str, &'r str)], &'r str, u16);

#[tokio::test]
async fn both_ways_answer_alike() {
    let node = node();
    let rows: &[Row<'_>] = &[
        ("/push", &[JSON], r#"{"topic":"t","args":[1]}"#, 202),
        ("/push?a=b", &[JSON, ("Accept", "*/*"), ("Connection", "Keep-Alive")], r#" {"topic":"t"}"#, 202),
        ("/push/below", &[JSON], r#"{"topic":"t"}"#, 202),
        ("/publish", &[JSON], r#"{"topic":"t"}"#, 200),
        ("/publish", &[], r#"{"topic":"t"}"#, 200),
        ("/publish", &[("Content-Type", "application/json; charset=utf-8")], r#"{"topic":"t"}"#, 200),
        ("/publish", &[("Content-Type", "text/plain")], r#"{"topic":"t"}"#, 415),
        ("/publish", &[JSON, JSON], r#"{"topic":"t"}"#, 415),
        ("/push", &[JSON], r#"{"topic":"t","options":{"exclude_me":7}}"#, 400),
        ("/push", &[JSON], r#"{"topic":"two words"}"#, 400),
        ("/push", &[JSON], "nonsense", 400),
        ("/push", &[JSON], "", 400),
        ("/push?seq=x", &[JSON], r#"{"topic":"t"}"#, 400),
        ("/narrow", &[JSON], r#"{"topic":"com.no"}"#, 403),
        ("/narrow", &[JSON], r#"{"topic":"com.yes.x"}"#, 202),
        ("/signed", &[JSON], r#"{"topic":"t"}"#, 400),
        (
            "/signed?key=k&timestamp=2011-10-14T16:59:51.123Z&seq=1&nonce=1&signature=x",
            &[JSON],
            r#"{"topic":"t"}"#,
            401,
        ),
    ];
    check_both_ways(&node, rows).await;
    let large = format!(r#"{{"topic":"t","args":["{}"]}}"#, "x".repeat(5000));
    for headers in [&[][..], &[LONG_WAY]] {
        assert_eq!(node.http().await.post("/push", headers, large.as_bytes()).await.status, 413);
        assert_eq!(
            node.http().await.post("/push", headers, br#"[{"topic":"t"}]"#).await.json().as_array().unwrap().len(),
            1
        );
    }
}

/// A message to the usual topic.
fn message(text: &str) -> String {
    json!({"topic": TOPIC, "contentBase64": STANDARD.encode(text)}).to_string()
}

#[tokio::test]
async fn hubs_answer_both_ways_alike() {
    let node = start(&hub(json!({"message_bytes_max": 1024})));
    let text = ("Content-Type", "text/plain");
    let rows: &[Row<'_>] = &[
        ("/hub", &[JSON], &message("x"), 202),
        ("/hub", &[("Content-Type", "application/JSON; charset=utf-8")], &message("x"), 202),
        ("/hub?topic=https%3A%2F%2Fexample.com%2Ffeed", &[text], "as it is", 202),
        ("/hub?topic=https://example.com/feed", &[], "of no type", 202),
        ("/hub?topic=https://example.com/feed", &[JSON], "{}", 202),
        ("/hub?topic=feed", &[text], "x", 400),
        ("/hub?topic=http://e.com/?a=1&b=2", &[text], "x", 400),
        ("/hub", &[text], "x", 415),
        ("/hub", &[JSON, JSON], &message("x"), 400),
        ("/hub", &[JSON], "nonsense", 400),
        ("/hub", &[JSON], r#"{"topic":"https://example.com/feed"}"#, 400),
        ("/hub", &[JSON], r#"{"topic":"https://example.com/feed","contentBase64":"x"}"#, 400),
        ("/hub", &[JSON], &message(&"x".repeat(1024)), 413),
        ("/hub?seq=x", &[JSON], &message("x"), 400),
        ("/hub", &[JSON, ("Content-Encoding", "gzip")], &message("x"), 415),
        ("/hub", &[JSON, ("Idempotency-Key", "k")], &message("x"), 202),
    ];
    // The last one is the same publication both times, and says so.
    let (keyed, rows) = rows.split_last().unwrap();
    check_both_ways(&node, rows).await;
    for repeated in [false, true] {
        let mut http = node.http().await;
        http.send(request("POST", keyed.0, keyed.1, keyed.2.as_bytes())).await;
        assert_eq!(http.reply().await.json()["repeated"], json!(repeated));
    }
    let closed = start(&hub(json!({"publish": null})));
    check_both_ways(&closed, &[("/hub", &[JSON], &message("x"), 403)]).await;
}

#[tokio::test]
async fn a_store_that_is_full_answers_both_ways_alike() {
    let mut config = hub(json!({}));
    config["store"]["log_bytes_max"] = json!(1 << 20);
    let node = start(&config);
    let target = "/hub?topic=https://example.com/feed";
    assert_eq!(node.http().await.post(target, &[], &[0; 1_048_000]).await.status, 202);
    check_both_ways(&node, &[("/hub", &[JSON], &message(&"x".repeat(1000)), 507)]).await;
}

#[tokio::test]
async fn hubs_keep_the_order_of_a_connection() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = hub(json!({}));
    config["store"] = json!({"type": "sqlite", "path": folder.path().join("store.db")});
    let (node, receiver) = (start(&config), Receiver::start().await);
    subscribe(&node, &receiver, &[]).await;
    let plain = |n: u32| post("/hub", &[], message(&n.to_string()).as_bytes());
    let mut http = node.http().await;
    let mut all: Vec<u8> = (0..50).flat_map(plain).collect();
    all.extend(request("POST", "/hub", &[JSON, LONG_WAY], message("50").as_bytes()));
    all.extend((51..60).flat_map(plain));
    let (first, second) = all.split_at(all.len() / 3);
    http.send(first).await;
    http.send(second).await;
    for sequence in 1..=60 {
        assert_eq!(http.reply().await.json()["sequence"], json!(sequence));
    }
    let expected: Vec<_> = (0..60).map(|n| n.to_string()).collect();
    assert_eq!(texts(&receiver.posts(60).await), expected);
}

#[tokio::test]
async fn a_request_may_come_in_two_pieces_wherever_it_is_cut() {
    let node = node();
    let mut subscriber = node.session().await;
    subscriber.subscribe("t").await;
    let body = json!({"topic": "t", "args": ["x".repeat(300)]}).to_string();
    let octets = post("/push", &[], body.as_bytes());
    let connect = async || {
        let stream = node.tcp().await;
        // The second piece must not wait until the first is acknowledged.
        stream.set_nodelay(true).unwrap();
        Http::over(stream)
    };
    let mut http = connect().await;
    for cut in 1..octets.len() {
        // The answer to the request before is there, so this piece is read alone, unless it is read with the next.
        http.send(&octets[..cut]).await;
        tokio::task::yield_now().await;
        http.send(&octets[cut..]).await;
        assert_eq!(http.reply().await.id(), subscriber.expect(36).await[2].as_u64().unwrap(), "cut at {cut}");
        if cut % 7 == 0 {
            http = connect().await;
        }
    }
}

#[tokio::test]
async fn answers_keep_the_order_of_requests_of_both_ways() {
    let node = node();
    let mut subscriber = node.session().await;
    subscriber.subscribe("t").await;
    let plain = |n: u32| post("/push", &[], json!({"topic": "t", "args": [n]}).to_string().as_bytes());
    let mut http = node.http().await;
    let mut all: Vec<u8> = (0..100).flat_map(plain).collect();
    all.extend(head("GET", "/nowhere", &[]).into_bytes());
    all.extend((100..200).flat_map(plain));
    http.send(all).await;
    for n in 0..200 {
        if n == 100 {
            assert_eq!(http.reply().await.status, 404);
        }
        let id = http.reply().await.id();
        let event = subscriber.expect(36).await;
        assert_eq!((&event[2], &event[4]), (&json!(id), &json!([n])));
    }
}

#[tokio::test]
async fn nothing_that_follows_a_publication_is_lost() {
    let node = node();
    let mut http = node.http().await;
    // A handshake right behind a publication, and HELLO right behind the handshake.
    let hello = stentor_websocket::frame::masked(
        stentor_websocket::frame::Opcode::Text,
        br#"[1,"realm1",{"roles":{"subscriber":{}}}]"#,
        [7, 1, 200, 33],
    );
    let all = [post("/push", &[], br#"{"topic":"t"}"#), handshake_head(Offer::default()).into_bytes(), hello.to_vec()];
    http.send(all.concat()).await;
    assert_eq!(http.reply().await.status, 202);
    let mut client = Client::take_over(http).await.unwrap();
    client.expect(2).await;
}

#[tokio::test]
async fn whoever_goes_in_the_middle_of_a_request_publishes_nothing() {
    let node = node();
    let mut subscriber = node.session().await;
    subscriber.subscribe("t").await;
    let octets = post("/push", &[], br#"{"topic":"t","args":["half"]}"#);
    for cut in [10, octets.len() - 10] {
        let mut http = node.http().await;
        http.send(&octets[..cut]).await;
        http.finish().await;
        assert!(http.is_closed().await || http.reply().await.status == 400, "cut at {cut}");
    }
    let id = node.post("/push", r#"{"topic":"t","args":["whole"]}"#).await.id();
    assert_eq!(subscriber.expect(36).await[2].as_u64(), Some(id));
}

#[tokio::test]
async fn what_two_readers_could_understand_differently_goes_the_long_way() {
    let node = node();
    let check = async |request: &str, status: u16| {
        let mut http = node.http().await;
        http.send(request).await;
        assert_eq!(http.reply().await.status, status, "{request}");
    };
    let body = r#"{"topic":"t"}"#;
    let length = format!("Content-Length: {}", body.len());
    check(&format!("POST /push HTTP/1.1\r\nHost: a\r\nHost: b\r\n{length}\r\n\r\n{body}"), 400).await;
    check(&format!("POST /push HTTP/1.1\r\n{length}\r\n\r\n{body}"), 400).await;
    check(&format!("POST /push HTTP/1.1\r\nHost: a\r\n{length}\r\nContent-Length: 3\r\n\r\n{body}"), 400).await;
    check(&format!("POST /push HTTP/1.1\r\nHost: a\r\nContent-Length: +13\r\n\r\n{body}"), 400).await;
    check(&format!("POST http://a/push HTTP/1.1\r\nHost: a\r\n{length}\r\n\r\n{body}"), 202).await;
    let chunked = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    check(&format!("POST /push HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{chunked}"), 202).await;
}
