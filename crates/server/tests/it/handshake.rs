//! The opening handshake: who gets a WebSocket, and what the others are told.

use serde_json::{Value, json};
use stentor::meter::Reason;
use stentor_websocket::frame::{self, Opcode};

use crate::client::{Client, Offer, handshake_head, hello};
use crate::house::{Node, loopback, router, start, web, web_with};
use crate::http::Http;

/// Sends the usual handshake with one text in it replaced.
async fn altered(node: &Node, from: &str, to: &str) -> Http {
    let head = handshake_head(Offer::default());
    assert!(head.contains(from), "{from}");
    let mut http = node.http().await;
    http.send(head.replace(from, to)).await;
    http
}

#[tokio::test]
async fn requests_that_are_no_handshake() {
    let node = start(&web(json!({})));
    for (from, to, status) in [
        ("Sec-WebSocket-Version: 13", "Sec-WebSocket-Version: 8", 426),
        ("Sec-WebSocket-Version: 13", "Sec-WebSocket-Version: 12", 426),
        ("Sec-WebSocket-Version: 13", "Sec-WebSocket-Version: 13, 8", 426),
        ("Sec-WebSocket-Version: 13\r\n", "", 426),
        ("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", "", 400),
        ("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", 400),
        ("dGhlIHNhbXBsZSBub25jZQ==", "c2hvcnQ=", 400),
        ("dGhlIHNhbXBsZSBub25jZQ==", "nonsense!", 400),
        ("Connection: Upgrade\r\n", "", 400),
        ("Upgrade: websocket", "Upgrade: h2c", 426),
        ("GET", "POST", 405),
        ("HTTP/1.1", "HTTP/1.0", 400),
        ("Sec-WebSocket-Protocol: wamp.2.json\r\n", "", 400),
        ("wamp.2.json", "wamp.1, chat", 400),
        ("wamp.2.json", "WAMP.2.JSON", 400),
    ] {
        let reply = altered(&node, from, to).await.reply().await;
        assert_eq!(reply.status, status, "{from} -> {to}: {}", reply.text());
        if status == 426 {
            assert_eq!(reply.header("sec-websocket-version"), Some("13"));
            assert_eq!(reply.header("upgrade"), Some("websocket"));
        }
    }
    assert_eq!(node.running.meters().connections_open.get(), 0);
}

#[tokio::test]
async fn lists_and_letters_are_read_as_http_reads_them() {
    let node = start(&web(json!({})));
    for (from, to) in [
        ("Connection: Upgrade", "connection: keep-alive, UPGRADE"),
        ("Upgrade: websocket", "UPGRADE: WebSocket"),
        ("/ws", "/ws/"),
        ("/ws", "/ws/below?query=1"),
        ("wamp.2.json", "chat, wamp.2.json ,wamp.2.cbor"),
    ] {
        let client = Client::take_over(altered(&node, from, to).await).await.unwrap();
        assert_eq!(client.handshake.header("sec-websocket-protocol"), Some("wamp.2.json"), "{to}");
        assert_eq!(client.handshake.header("sec-websocket-extensions"), None);
    }
}

#[tokio::test]
async fn the_clients_order_of_serializers_wins() {
    let node = start(&web(json!({})));
    for (offered, chosen) in [
        ("wamp.2.cbor, wamp.2.json", "wamp.2.cbor"),
        ("wamp.3.x, wamp.2.msgpack.batched, wamp.2.json", "wamp.2.msgpack.batched"),
    ] {
        let client = node.socket(Offer { subprotocols: offered, ..Offer::default() }).await;
        assert_eq!(client.handshake.header("sec-websocket-protocol"), Some(chosen));
    }
    let paths = json!({"few": {"type": "websocket", "serializers": ["cbor"]}});
    let node = start(&web(paths));
    let offer = |subprotocols| Offer { path: "/few", subprotocols, ..Offer::default() };
    assert_eq!(Client::open(node.tcp().await, offer("wamp.2.json")).await.err().unwrap().status, 400);
    assert!(Client::open(node.tcp().await, offer("wamp.2.json, wamp.2.cbor")).await.is_ok());
}

#[tokio::test]
async fn a_subprotocol_need_not_be_named_where_that_is_configured() {
    let node = start(&web_with(json!({}), json!({"require_websocket_subprotocol": false})));
    let mut client = node.socket(Offer { subprotocols: "", ..Offer::default() }).await;
    assert_eq!(client.handshake.header("sec-websocket-protocol"), None);
    client.join("realm1").await;
    let reply = altered(&node, "wamp.2.json", "chat").await.reply().await;
    assert_eq!(reply.status, 400);
}

async fn check_origin(options: Value, origin: &str, expected: bool) {
    let node = start(&web_with(json!({}), options.clone()));
    let header = if origin.is_empty() { "Host: test".to_owned() } else { format!("Host: test\r\nOrigin: {origin}") };
    let outcome = Client::take_over(altered(&node, "Host: test", &header).await).await;
    assert_eq!(outcome.is_ok(), expected, "{options} {origin}");
    if let Err(reply) = outcome {
        assert_eq!(reply.status, 403);
    }
}

#[tokio::test]
async fn origins() {
    let some = || json!({"allowed_origins": ["https://*.example.com", "http://localhost:8080"]});
    check_origin(some(), "https://www.example.com", true).await;
    check_origin(some(), "http://localhost:8080", true).await;
    check_origin(some(), "http://localhost:8081", false).await;
    check_origin(some(), "https://example.com.evil.org", false).await;
    // Programs that are not browsers send none.
    check_origin(some(), "", true).await;
    check_origin(json!({}), "https://anywhere.example", true).await;
    check_origin(json!({}), "null", true).await;
    check_origin(json!({"allow_null_origin": false}), "null", false).await;
}

#[tokio::test]
async fn a_browser_window_sees_a_page() {
    for (options, status) in [(json!({}), 200), (json!({"enable_webstatus": false}), 426)] {
        let node = start(&web_with(json!({}), options.clone()));
        let reply = node.http().await.get("/ws").await;
        assert_eq!(reply.status, status, "{options}");
        let transport = json!([{"type": "websocket", "endpoint": loopback(), "options": options}]);
        let node = start(&router(transport));
        assert_eq!(node.http().await.get("/").await.status, status, "{options} on a transport of its own");
    }
    let version = env!("CARGO_PKG_VERSION");
    for (options, told) in [(json!({}), true), (json!({"show_server_version": false}), false)] {
        let node = start(&router(json!([{"type": "websocket", "endpoint": loopback(), "options": options}])));
        assert_eq!(node.http().await.get("/").await.text().contains(version), told);
        let node = start(&web_with(json!({}), options));
        assert_eq!(node.http().await.get("/ws").await.text().contains(version), told);
    }
}

#[tokio::test]
async fn frames_may_come_together_with_the_handshake() {
    let node = start(&web(json!({})));
    let mut http = node.http().await;
    let mut octets = handshake_head(Offer::default()).into_bytes();
    octets.extend(frame::masked(Opcode::Text, hello("realm1").to_string().as_bytes(), [1, 2, 3, 4]));
    http.send(octets).await;
    let mut client = Client::take_over(http).await.unwrap();
    client.expect(2).await;
}

#[tokio::test]
async fn a_full_transport_says_so() {
    let node = start(&web_with(json!({}), json!({"max_sessions": 2})));
    let first = node.session().await;
    let mut second = node.session().await;
    let refused = Client::open(node.tcp().await, Offer::default()).await.err().unwrap();
    assert_eq!(refused.status, 503);
    assert_eq!(node.running.meters().closed.get(Reason::SessionsFull), 1);
    drop(first);
    // Another's departure shows that the place is free.
    let request = second.request();
    second.send(json!([32, request, {}, "marker"])).await;
    second.expect(33).await;
    while node.running.meters().connections_open.get() > 1 {
        tokio::task::yield_now().await;
    }
    node.session().await;
}
