//! HTTP itself: connections that stay, requests that overtake their answers, heads that are too long.

use serde_json::json;

use crate::house::{pusher, start, web};
use crate::http::{head, post};

#[tokio::test]
async fn a_connection_serves_many_requests() {
    let node = start(&web(json!({"push": pusher(json!({}))})));
    let mut http = node.http().await;
    for _ in 0..100 {
        assert_eq!(http.post("/push", &[], br#"{"topic":"t"}"#).await.status, 202);
        // Neither does a refusal end it.
        assert_eq!(http.post("/push", &[], b"nonsense").await.status, 400);
        assert_eq!(http.get("/nowhere").await.status, 404);
    }
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let node = start(&web(json!({"push": pusher(json!({}))})));
    let mut subscriber = node.session().await;
    subscriber.subscribe("t").await;
    let mut http = node.http().await;
    let all: Vec<u8> =
        (0..200).flat_map(|n| post("/push", &[], json!({"topic": "t", "args": [n]}).to_string().as_bytes())).collect();
    http.send(all).await;
    for n in 0..200 {
        let id = http.reply().await.id();
        let event = subscriber.expect(36).await;
        assert_eq!((&event[2], &event[4]), (&json!(id), &json!([n])));
    }
}

#[tokio::test]
async fn a_client_may_ask_to_hang_up() {
    let node = start(&web(json!({"push": pusher(json!({}))})));
    let mut http = node.http().await;
    let reply = http.post("/push", &[("Connection", "close")], br#"{"topic":"t"}"#).await;
    assert_eq!(reply.status, 202);
    assert!(http.is_closed().await);
}

#[tokio::test]
async fn http_1_0_is_served() {
    let node = start(&web(json!({"push": pusher(json!({}))})));
    let mut http = node.http().await;
    let octets = post("/push", &[], br#"{"topic":"t"}"#);
    http.send(String::from_utf8(octets).unwrap().replace("HTTP/1.1", "HTTP/1.0")).await;
    let reply = http.reply().await;
    assert_eq!(reply.status, 202);
    assert!(http.is_closed().await);
}

#[tokio::test]
async fn heads_are_bounded() {
    let node = start(&web(json!({"push": pusher(json!({}))})));
    let mut http = node.http().await;
    let long = "x".repeat(200_000);
    http.send_unless_refused(head("POST", "/push", &[("X-Long", &long)]).as_bytes()).await;
    assert_eq!(http.reply().await.status, 431);
    let mut http = node.http().await;
    http.send_unless_refused(head("POST", &format!("/push?{long}"), &[]).as_bytes()).await;
    assert!(matches!(http.reply().await.status, 414 | 431));
    let mut http = node.http().await;
    http.send("nonsense\r\n\r\n").await;
    assert_eq!(http.reply().await.status, 400);
}

#[tokio::test]
async fn a_silent_connection_is_closed() {
    let mut config = web(json!({"push": pusher(json!({}))}));
    config["workers"][0]["transports"][0]["options"] = json!({"client_timeout": 1});
    let node = start(&config);
    let mut silent = node.http().await;
    let mut slow = node.http().await;
    slow.send("POST /push HTTP/1.1\r\nHost: a\r\n").await;
    assert!(silent.is_closed().await);
    assert!(slow.is_closed().await || slow.reply().await.status == 408);
}
