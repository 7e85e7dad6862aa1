//! Who may reach the pusher: addresses, TLS, proxies, sizes, origins.

use serde_json::{Value, json};

use crate::house::{Node, pusher, start, web};
use crate::http::{head, post, request};

const BODY: &[u8] = br#"{"topic":"t"}"#;

fn node(options: Value) -> Node {
    start(&web(json!({"push": pusher(options)})))
}

async fn check(options: Value, rows: &[(&[(&str, &str)], u16)]) {
    let node = node(options.clone());
    for (headers, status) in rows {
        let reply = node.http().await.post("/push", headers, BODY).await;
        assert_eq!(reply.status, *status, "{options} {headers:?}: {}", reply.text());
    }
}

#[tokio::test]
async fn addresses() {
    for (networks, status) in [
        (json!(["127.0.0.1"]), 202),
        (json!(["127.0.0.0/8"]), 202),
        (json!(["127.0.0.77/255.255.255.0"]), 202),
        (json!(["192.168.1.1/255.255.255.0", "127.0.0.1"]), 202),
        (json!(["::ffff:127.0.0.1"]), 202),
        (json!(["192.168.1.1/255.255.255.0"]), 403),
        (json!(["::1"]), 403),
        (json!(["127.0.0.2"]), 403),
    ] {
        check(json!({"require_ip": networks}), &[(&[], status), (&[("X-Forwarded-For", "127.0.0.1")], status)]).await;
    }
}

#[tokio::test]
async fn an_empty_list_of_addresses_lets_nobody_in() {
    check(json!({"require_ip": []}), &[(&[], 403)]).await;
}

#[tokio::test]
async fn tls_is_required_of_the_client_itself() {
    check(json!({"require_tls": true}), &[(&[], 403), (&[("X-Forwarded-Proto", "https")], 403)]).await;
    check(
        json!({"require_tls": true, "trusted_proxies": ["127.0.0.1"]}),
        &[
            (&[], 403),
            (&[("X-Forwarded-For", "198.51.100.1"), ("X-Forwarded-Proto", "https")], 202),
            (&[("X-Forwarded-For", "198.51.100.1"), ("X-Forwarded-Proto", "http")], 403),
            (&[("X-Forwarded-For", "198.51.100.1")], 403),
            (&[("Forwarded", "for=198.51.100.1;proto=https")], 202),
        ],
    )
    .await;
}

#[tokio::test]
async fn proxies_are_believed_where_they_are_named() {
    check(
        json!({"require_ip": ["198.51.100.0/24"], "trusted_proxies": ["127.0.0.1"]}),
        &[
            (&[], 403),
            (&[("X-Forwarded-For", "198.51.100.7")], 202),
            (&[("X-Forwarded-For", "198.51.100.7, 203.0.113.1")], 403),
            (&[("X-Forwarded-For", "203.0.113.1, 198.51.100.7")], 202),
            (&[("Forwarded", "for=198.51.100.7")], 202),
            (&[("Forwarded", "for=198.51.100.7"), ("X-Forwarded-For", "198.51.100.8")], 403),
            (&[("Forwarded", "for=unknown")], 403),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_strangers_body_is_not_read() {
    let node = node(json!({"require_ip": ["192.0.2.1"]}));
    let mut http = node.http().await;
    http.send(head("POST", "/push", &[("Content-Length", "1000000"), ("Expect", "100-continue")])).await;
    assert_eq!(http.reply().await.refusal(), (403, None));
}

#[tokio::test]
async fn a_body_that_waits_for_permission_gets_it() {
    let node = node(json!({}));
    let mut http = node.http().await;
    let length = BODY.len().to_string();
    http.send(head("POST", "/push", &[("Content-Length", &length), ("Expect", "100-continue")])).await;
    assert_eq!(http.reply_head().await.status, 100);
    http.send(BODY).await;
    assert_eq!(http.reply().await.status, 202);
}

/// A body of so many octets.
fn body_of(length: usize) -> Vec<u8> {
    let mut body = format!("{{\"topic\":\"t\",\"args\":[\"{}\"]}}", "x".repeat(length - 26)).into_bytes();
    body.resize(length, b' ');
    body
}

fn chunked(body: &[u8], piece: usize) -> Vec<u8> {
    let mut out = head("POST", "/push", &[("Transfer-Encoding", "chunked")]).into_bytes();
    for chunk in body.chunks(piece) {
        out.extend(format!("{:x}\r\n", chunk.len()).bytes());
        out.extend_from_slice(chunk);
        out.extend(b"\r\n");
    }
    out.extend(b"0\r\n\r\n");
    out
}

#[tokio::test]
async fn the_body_limit_is_inclusive() {
    let node = node(json!({"post_body_limit": 8192}));
    for (length, status) in [(8191, 202), (8192, 202), (8193, 413), (60_000, 413)] {
        let body = body_of(length);
        let mut http = node.http().await;
        http.send_unless_refused(&post("/push", &[], &body)).await;
        let reply = http.reply().await;
        assert_eq!(reply.status, status, "{length}");
        if status == 413 {
            assert_eq!(reply.refusal(), (413, None));
            assert!(reply.text().contains("8192"), "{}", reply.text());
        }
        let mut http = node.http().await;
        http.send_unless_refused(&chunked(&body, 1000)).await;
        assert_eq!(http.reply().await.status, status, "{length} in chunks");
    }
    // An announcement is enough.
    let mut http = node.http().await;
    http.send(head("POST", "/push", &[("Content-Length", "99999999999")])).await;
    assert_eq!(http.reply().await.status, 413);
}

#[tokio::test]
async fn without_a_limit_there_is_still_a_ceiling() {
    let node = node(json!({}));
    let large = body_of(15 * 1024 * 1024);
    let mut http = node.http().await;
    http.send(post("/push", &[], &large)).await;
    assert_eq!(http.reply().await.status, 202);
    let huge = body_of(17 * 1024 * 1024);
    let mut http = node.http().await;
    http.send_unless_refused(&chunked(&huge, 1 << 20)).await;
    assert_eq!(http.reply().await.status, 413);
}

#[tokio::test]
async fn bodies_that_come_in_pieces_or_break_off() {
    let node = node(json!({}));
    let mut http = node.http().await;
    for octet in chunked(BODY, 3) {
        http.send([octet]).await;
    }
    assert_eq!(http.reply().await.status, 202);
    let length = (BODY.len() + 5).to_string();
    http.send(head("POST", "/push", &[("Content-Length", &length)])).await;
    http.send(BODY).await;
    http.finish().await;
    assert!(http.is_closed().await || http.reply().await.status == 400);
    for broken in ["zz\r\n", "5\r\n{}"] {
        let mut http = node.http().await;
        http.send(head("POST", "/push", &[("Transfer-Encoding", "chunked")])).await;
        http.send(broken).await;
        http.finish().await;
        assert!(http.is_closed().await || http.reply().await.status == 400);
    }
    assert_eq!(node.running.meters().publications.get(), 1);
    assert_eq!(node.post("/push", r#"{"topic":"t"}"#).await.status, 202);
}

#[tokio::test]
async fn lengths_that_disagree_are_refused() {
    let node = node(json!({}));
    for headers in [
        &[("Content-Length", "13"), ("Content-Length", "14")][..],
        &[("Content-Length", "x")],
        &[("Content-Length", "-1")],
        &[("Content-Length", "13"), ("Transfer-Encoding", "identity")],
    ] {
        let mut http = node.http().await;
        http.send(head("POST", "/push", headers)).await;
        http.send_unless_refused(BODY).await;
        assert_eq!(http.reply().await.status, 400, "{headers:?}");
    }
    assert_eq!(node.running.meters().publications.get(), 0);
}

#[tokio::test]
async fn pages_of_other_origins_are_told_nothing_unless_configured() {
    let node = node(json!({}));
    let origin = ("Origin", "https://example.com");
    let mut http = node.http().await;
    for octets in [post("/push", &[origin], BODY), request("OPTIONS", "/push", &[origin], b"")] {
        http.send(octets).await;
        let reply = http.reply().await;
        assert!(!reply.headers.iter().any(|(name, _)| name.starts_with("access-control")), "{reply:?}");
    }
}

#[tokio::test]
async fn configured_origins_may_read() {
    let node = node(json!({"cors": ["https://example.com"]}));
    let mut http = node.http().await;
    for (origin, allowed) in [
        ("https://example.com", true),
        ("https://example.com.evil.org", false),
        ("http://example.com", false),
        ("null", false),
    ] {
        let expected = allowed.then_some(origin);
        let reply = http.post("/push", &[("Origin", origin)], BODY).await;
        assert_eq!(reply.header("access-control-allow-origin"), expected);
        assert_eq!(reply.header("access-control-allow-credentials"), None);
        assert_eq!(reply.header("vary"), Some("Origin"));
        let refusal = http.post("/push", &[("Origin", origin)], b"").await;
        assert_eq!((refusal.status, refusal.header("access-control-allow-origin")), (400, expected));
        http.send(head("OPTIONS", "/push", &[("Origin", origin), ("Access-Control-Request-Method", "POST")])).await;
        let preflight = http.reply().await;
        assert_eq!(preflight.status, 204);
        assert_eq!(preflight.header("access-control-allow-origin"), expected);
        assert_eq!(preflight.header("access-control-allow-methods").is_some(), allowed);
        assert_eq!(preflight.header("access-control-allow-headers").is_some(), allowed);
    }
}

#[tokio::test]
async fn a_page_has_to_name_its_content_type() {
    let node = node(json!({}));
    let origin = ("Origin", "https://example.com");
    let mut http = node.http().await;
    http.send(request("POST", "/push", &[origin], BODY)).await;
    assert_eq!(http.reply().await.refusal(), (415, Some("Content-Type".to_owned())));
    assert_eq!(node.running.meters().publications.get(), 0);
    assert_eq!(node.http().await.post("/push", &[origin], BODY).await.status, 202);
    assert_eq!(node.running.meters().publications.get(), 1);
}
