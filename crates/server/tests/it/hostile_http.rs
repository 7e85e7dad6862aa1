//! Clients that mean harm to the HTTP side, or might as well: what they send never ends, or does not come, or is not read.
//!
//! Each is closed and counted with its reason, while somebody else is served.

use std::time::Duration;

use serde_json::{Value, json};
use stentor::meter::Reason;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::client::Offer;
use crate::house::{Node, PATIENCE, loopback, pusher, router, soon, start, web};
use crate::http::{Http, head, post};

const BODY: &[u8] = br#"{"topic":"t"}"#;

/// A node with a pusher, a page and these limits.
fn node(limits: Value, options: Value) -> Node {
    start(&configuration(limits, options))
}

fn configuration(limits: Value, options: Value) -> Value {
    let mut config =
        web(json!({"push": pusher(json!({})), "page": {"type": "json", "value": {"a": "x".repeat(9000)}}}));
    config["workers"][0]["transports"][0]["limits"] = limits;
    config["workers"][0]["transports"][0]["options"] = options;
    config
}

/// A request that has to be served.
async fn serves(node: &Node) {
    assert_eq!(node.post("/push", "{\"topic\":\"t\"}").await.status, 202);
}

async fn counted(node: &Node, reason: Reason, number: u64) {
    let wait = async {
        while node.running.meters().closed.get(reason) < number {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    soon("a count", wait).await;
    assert_eq!(node.running.meters().closed.get(reason), number);
}

/// Sends one octet now and then until the server hangs up or answers.
async fn trickle(http: Http, octet: &[u8]) -> Vec<u8> {
    let (mut stream, mut received) = http.into_parts();
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while tokio::time::Instant::now() < deadline {
        if stream.write_all(octet).await.is_err() {
            // What had arrived before the end is still there to be read.
            drop(stream.read_to_end(&mut received).await);
            break;
        }
        let answer = tokio::time::timeout(Duration::from_millis(20), stream.read_buf(&mut received));
        if matches!(answer.await, Ok(Ok(0) | Err(_))) {
            return received;
        }
    }
    received
}

fn starts_with(octets: &[u8], text: &str) -> bool {
    octets.starts_with(text.as_bytes())
}

#[tokio::test]
async fn a_silent_crowd_does_not_keep_others_out() {
    let limits = json!({"connections_max": 100, "head_timeout": 4000});
    let node = node(limits, json!({}));
    let mut session = node.session().await;
    let mut silent = Vec::new();
    for _ in 0..500 {
        silent.push(node.tcp().await);
    }
    let meters = || node.running.meters();
    assert!(meters().closed.get(Reason::ConnectionsFull) > 0);
    // Places become free after the second that a crowd is granted, before the time for a head is over.
    let served = async {
        loop {
            let mut http = node.http().await;
            http.send_unless_refused(&post("/push", &[], BODY)).await;
            let (mut stream, mut octets) = http.into_parts();
            drop(stream.read_buf(&mut octets).await);
            if starts_with(&octets, "HTTP/1.1 202") {
                return;
            }
            assert!(octets.is_empty() || starts_with(&octets, "HTTP/1.1 503"));
        }
    };
    soon("a place", served).await;
    for mut stream in silent {
        let mut octets = Vec::new();
        drop(soon("the end", stream.read_to_end(&mut octets)).await);
        assert!(octets.is_empty() || starts_with(&octets, "HTTP/1.1 503"));
    }
    assert!(meters().closed.get(Reason::Silent) > 0);
    // Each was one or the other; some of those who were refused had asked for something.
    assert!(meters().closed.get(Reason::Silent) + meters().closed.get(Reason::ConnectionsFull) >= 500);
    // Whoever had joined has noticed nothing.
    session.subscribe("t").await;
}

#[tokio::test]
async fn places_are_given_back_by_requests_and_by_sessions() {
    let node = node(json!({"connections_max": 2, "head_timeout": 30_000}), json!({}));
    for _ in 0..20 {
        let refused = node.running.meters().closed.get(Reason::ConnectionsFull);
        let session = node.session().await;
        let mut http = node.http().await;
        assert_eq!(http.post("/push", &[], BODY).await.status, 202);
        let mut third = node.http().await;
        assert_eq!(third.reply().await.status, 503);
        counted(&node, Reason::ConnectionsFull, refused + 1).await;
        drop((session, http));
        let emptied = async { while !matches!(node.http().await.post_unless_refused().await, Some(202)) {} };
        soon("places", emptied).await;
    }
}

impl Http {
    /// The status of a POST; nothing where the server hung up instead.
    async fn post_unless_refused(mut self) -> Option<u16> {
        self.send_unless_refused(&post("/push", &[("Connection", "close")], BODY)).await;
        let (mut stream, mut octets) = self.into_parts();
        drop(soon("the end", stream.read_to_end(&mut octets)).await);
        std::str::from_utf8(octets.get(9..12)?).ok()?.parse().ok()
    }
}

#[tokio::test]
async fn one_address_has_its_share() {
    let node = node(json!({"connections_per_address_max": 3}), json!({}));
    let mut held = Vec::new();
    for _ in 0..3 {
        let mut http = node.http().await;
        assert_eq!(http.post("/push", &[], BODY).await.status, 202);
        held.push(http);
    }
    assert_eq!(node.http().await.reply().await.status, 503);
    counted(&node, Reason::AddressFull, 1).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let mut other = Http::over(socket.connect(node.address(0)).await.unwrap());
    assert_eq!(other.post("/push", &[], BODY).await.status, 202);
}

#[tokio::test]
async fn a_head_that_trickles_is_answered_and_closed() {
    let node = node(json!({"head_timeout": 300}), json!({}));
    let mut fresh = node.http().await;
    fresh.send("POST /push HTTP/1.1\r\nX: ").await;
    let mut kept = node.http().await;
    assert_eq!(kept.post("/push", &[], BODY).await.status, 202);
    let (fresh, kept) = tokio::join!(trickle(fresh, b"x"), trickle(kept, b"x"));
    for octets in [fresh, kept] {
        let text = String::from_utf8_lossy(&octets);
        assert!(text.starts_with("HTTP/1.1 408 ") && text.contains("Connection: close\r\n"), "{text}");
        assert!(text.ends_with("\r\n\r\nThe request's head did not arrive in time, so bye\n"), "{text}");
    }
    counted(&node, Reason::HeadTimeout, 2).await;
    serves(&node).await;
}

#[tokio::test]
async fn silence_between_requests_ends_a_connection_without_a_word() {
    let node = node(json!({}), json!({"client_timeout": 1}));
    let mut http = node.http().await;
    assert_eq!(http.post("/push", &[], BODY).await.status, 202);
    assert!(http.is_closed().await);
    counted(&node, Reason::Idle, 1).await;
    assert!(node.http().await.is_closed().await);
    counted(&node, Reason::Silent, 1).await;
}

#[tokio::test]
async fn a_body_that_trickles_is_refused() {
    let node = node(json!({"body_timeout": 400}), json!({}));
    for framing in [("Content-Length", "100000"), ("Transfer-Encoding", "chunked")] {
        let mut http = node.http().await;
        http.send(head("POST", "/push", &[framing, ("Content-Type", "application/json")])).await;
        let octets = trickle(http, if framing.1 == "chunked" { b"1\r\nx\r\n" } else { b"x" }).await;
        let text = String::from_utf8_lossy(&octets);
        assert!(text.starts_with("HTTP/1.1 408 ") && text.contains("connection: close\r\n"), "{text}");
        assert!(text.contains("\"error\":\"the request's body did not arrive in time\""), "{text}");
    }
    counted(&node, Reason::BodyTimeout, 2).await;
    serves(&node).await;
}

#[tokio::test]
async fn a_body_without_end_is_cut_wherever_it_goes() {
    let node = node(json!({}), json!({}));
    let json = ("Content-Type", "application/json");
    for (method, target, framing, status) in [
        ("POST", "/push", ("Content-Length", "99999999999"), 413),
        ("POST", "/push", ("Transfer-Encoding", "chunked"), 413),
        ("PATCH", "/push", ("Transfer-Encoding", "chunked"), 405),
        ("OPTIONS", "/push", ("Transfer-Encoding", "chunked"), 204),
        ("GET", "/page", ("Content-Length", "99999999999"), 200),
        ("GET", "/page", ("Transfer-Encoding", "chunked"), 200),
        ("POST", "/nowhere", ("Transfer-Encoding", "chunked"), 404),
        ("GET", "/ws", ("Transfer-Encoding", "chunked"), 400),
    ] {
        let mut http = node.http().await;
        http.send(head(method, target, &[framing, json])).await;
        let (mut stream, _) = http.into_parts();
        let piece = [b"10000\r\n", &[b' '; 65536][..], b"\r\n"].concat();
        let mut sent = 0_u64;
        let mut received = Vec::new();
        let whole = async {
            loop {
                tokio::select! {
                    outcome = stream.read_buf(&mut received) => if matches!(outcome, Ok(0) | Err(_)) { return },
                    () = async { tokio::task::yield_now().await } => {}
                }
                match stream.write_all(&piece).await {
                    Ok(()) => sent += 65536,
                    Err(_) => {
                        drop(stream.read_to_end(&mut received).await);
                        return;
                    }
                }
            }
        };
        soon("the end", whole).await;
        let text = String::from_utf8_lossy(&received);
        assert!(text.starts_with(&format!("HTTP/1.1 {status} ")), "{method} {target} {framing:?}: {text}");
        assert!(text.contains("connection: close\r\n"), "{text}");
        // What the limit allows, what is thrown away, and what the kernel had room for.
        assert!(sent < 64 << 20, "{method} {target} took {sent} octets");
    }
    counted(&node, Reason::BodyTooLarge, 1).await;
    serves(&node).await;
}

#[tokio::test]
async fn a_small_body_that_nobody_wants_costs_nobody_the_connection() {
    let node = node(json!({}), json!({}));
    let mut http = node.http().await;
    for (target, status) in [("/nowhere", 404), ("/page", 200), ("/push", 415)] {
        http.send(crate::http::request("POST", target, &[("Content-Type", "text/plain")], b"nobody wants this")).await;
        assert_eq!(http.reply().await.status, status, "{target}");
    }
    // Nobody is invited to send what is going to be refused.
    http.send(head("POST", "/nowhere", &[("Content-Length", "10"), ("Expect", "100-continue")])).await;
    let reply = http.reply().await;
    assert_eq!((reply.status, reply.header("connection")), (404, Some("close")));
    assert!(http.is_closed().await);
}

#[tokio::test]
async fn large_bodies_share_their_memory() {
    let node = node(json!({"bodies_bytes_max": 1 << 20}), json!({}));
    let large = json!({"topic": "t", "args": ["x".repeat(400_000)]}).to_string();
    let mut holders = Vec::new();
    for _ in 0..4 {
        let mut http = node.http().await;
        http.send(&post("/push", &[], large.as_bytes())[..large.len()]).await;
        holders.push(http);
    }
    counted_at_least(&node, Reason::BodiesFull, 1).await;
    // Small ones are not concerned, and those who hold the memory can finish.
    serves(&node).await;
    let mut statuses = Vec::new();
    for mut http in holders {
        http.send_unless_refused(&post("/push", &[], large.as_bytes())[large.len()..]).await;
        statuses.push(http.reply().await.status);
    }
    assert!(statuses.contains(&202) && statuses.contains(&503), "{statuses:?}");
    assert_eq!(node.post("/push", &large).await.status, 202);
}

async fn counted_at_least(node: &Node, reason: Reason, number: u64) {
    let wait = async {
        while node.running.meters().closed.get(reason) < number {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    soon("a count", wait).await;
}

#[tokio::test]
async fn whoever_does_not_read_is_closed() {
    let node = node(json!({"write_timeout": 500}), json!({}));
    let http = node.http().await;
    let (mut stream, _) = http.into_parts();
    let requests = head("GET", "/page", &[]).repeat(1000);
    // The server takes no more requests than it can answer; what it took is answered into a full socket.
    let flood = async { while stream.write_all(requests.as_bytes()).await.is_ok() {} };
    soon("the end", flood).await;
    counted(&node, Reason::WriteTimeout, 1).await;
    serves(&node).await;
}

/// Without a bound of its own the kernel takes megabytes at once for somebody who reads nothing, and all of them are copied.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn little_is_done_for_whoever_does_not_read() {
    let node = node(json!({}), json!({}));
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut deaf = socket.connect(node.address(0)).await.unwrap();
    deaf.write_all(head("GET", "/page", &[]).repeat(300).as_bytes()).await.unwrap();
    let answered = || {
        let meters = node.running.meters();
        let classes: Vec<_> = meters.requests.numbers().collect();
        classes[1].1
    };
    let begun = async {
        while answered() == 0 {
            tokio::task::yield_now().await;
        }
    };
    soon("the first answer", begun).await;
    // There is one thread, so that this one has a turn whenever somebody else has had one.
    let others = 200;
    for _ in 0..others {
        serves(&node).await;
    }
    // 64 KiB in the kernel, as much in the connection, and what the client's own buffer takes: of 9000 octets each.
    let served = answered() - others;
    assert!(served > 0 && served < 50, "{served} of 300");
}

#[tokio::test]
async fn garbage_behind_a_request_is_refused() {
    let node = node(json!({}), json!({}));
    let mut http = node.http().await;
    let garbage = [post("/push", &[], BODY), b"\x16\x03\x01\x02\x00\x01 garbage\r\n\r\n".to_vec()].concat();
    http.send(garbage).await;
    assert_eq!(http.reply().await.status, 202);
    let reply = http.reply().await;
    assert_eq!((reply.status, reply.header("connection")), (400, Some("close")));
    assert!(http.is_closed().await);
    counted(&node, Reason::Malformed, 1).await;
    assert_eq!(node.running.meters().publications.get(), 1);
    serves(&node).await;
}

#[tokio::test]
async fn a_tls_handshake_has_its_time() {
    let dir = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    std::fs::write(dir.path().join("crt.pem"), made.cert.pem()).unwrap();
    std::fs::write(dir.path().join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    let mut endpoint = loopback();
    endpoint["tls"] = json!({"key": dir.path().join("key.pem"), "certificate": dir.path().join("crt.pem")});
    let paths = json!({"push": pusher(json!({}))});
    let node = start(&router(json!([
        {"type": "web", "endpoint": endpoint, "paths": paths, "limits": {"head_timeout": 300}},
    ])));
    let mut slow = node.http().await;
    slow.send(b"\x16\x03\x01\x02").await;
    let mut garbage = node.http().await;
    garbage.send(b"this is no handshake").await;
    let mut silent = node.http().await;
    assert!(silent.is_closed().await && slow.is_closed().await);
    counted(&node, Reason::TlsTimeout, 1).await;
    counted(&node, Reason::TlsFailed, 1).await;
    counted(&node, Reason::Silent, 1).await;
}

#[tokio::test]
async fn slow_clients_do_not_keep_a_node_from_going_down() {
    let node = node(json!({"head_timeout": 600_000, "body_timeout": 600_000}), json!({}));
    let _silent = node.http().await;
    let mut head_missing = node.http().await;
    head_missing.send("POST /push HTTP/1.1\r\n").await;
    let mut body_missing = node.http().await;
    body_missing.send(head("POST", "/push", &[("Content-Length", "10"), ("Content-Type", "application/json")])).await;
    serves(&node).await;
    let _session = node.socket(Offer::default()).await;
    soon("the end of the node", node.running.stop()).await;
}

/// A head with a host, these lines and this body, sent raw.
async fn raw(node: &Node, octets: &[u8]) -> (u16, bool) {
    let mut stream: TcpStream = node.tcp().await;
    stream.write_all(octets).await.unwrap();
    let mut received = Vec::new();
    // The second request shows whether the connection is still in use.
    drop(stream.write_all(&head("GET", "/marker", &[("Connection", "close")]).into_bytes()).await);
    drop(soon("the end", stream.read_to_end(&mut received)).await);
    let text = String::from_utf8_lossy(&received);
    let status = text.get(9..12).and_then(|status| status.parse().ok()).unwrap_or(0);
    // With the version in front: the id of a publication may have these digits too.
    (status, !text.contains("HTTP/1.1 404"))
}

#[tokio::test]
async fn requests_that_two_readers_could_read_differently() {
    let node = node(json!({}), json!({}));
    let length = "Content-Length: 13\r\n";
    let chunks = "d\r\n{\"topic\":\"t\"}\r\n0\r\n\r\n";
    let body = "{\"topic\":\"t\"}";
    let flood = format!("1;{}\r\n{{\r\n0\r\n\r\n", "x".repeat(100_000));
    for (lines, body, expected) in [
        // Sound ones first: they are served, and the connection lives on.
        (length, body, (202, false)),
        ("Transfer-Encoding: chunked\r\n", chunks, (202, false)),
        // RFC 9112 section 6.1: chunks win, and the connection must end behind them.
        ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", chunks, (202, true)),
        ("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", chunks, (202, true)),
        ("Transfer-Encoding: gzip\r\n", chunks, (400, true)),
        ("Transfer-Encoding: gzip, chunked\r\n", chunks, (501, true)),
        ("Transfer-Encoding: chunked, chunked\r\n", chunks, (501, true)),
        ("Transfer-Encoding: chunked, identity\r\n", chunks, (400, true)),
        ("Transfer-Encoding: xchunked\r\n", chunks, (400, true)),
        ("Transfer-Encoding : chunked\r\n", chunks, (400, true)),
        (" Transfer-Encoding: chunked\r\n", chunks, (400, true)),
        ("X: a\r\n Transfer-Encoding: chunked\r\n", chunks, (400, true)),
        ("X: a\rTransfer-Encoding: chunked\r\n", chunks, (400, true)),
        ("X: a\0b\r\n", body, (400, true)),
        ("Content-Length: 13\r\nContent-Length: 14\r\n", body, (400, true)),
        ("Content-Length: 13, 13\r\n", body, (400, true)),
        ("Content-Length: +13\r\n", body, (400, true)),
        ("Content-Length: 0x0d\r\n", body, (400, true)),
        ("Content-Length: 18446744073709551616\r\n", body, (400, true)),
        ("Content-Length : 13\r\n", body, (400, true)),
        ("Host: b\r\nContent-Length: 13\r\n", body, (400, true)),
        ("Transfer-Encoding: chunked\r\n", "ffffffffffffffff0\r\nx\r\n0\r\n\r\n", (400, true)),
        ("Transfer-Encoding: chunked\r\n", "-1\r\nx\r\n0\r\n\r\n", (400, true)),
        ("Transfer-Encoding: chunked\r\n", "1\r\nxx\r\n0\r\n\r\n", (400, true)),
        ("Transfer-Encoding: chunked\r\n", "1\nx\n0\n\n", (400, true)),
        ("Transfer-Encoding: chunked\r\n", &flood, (400, true)),
    ] {
        let head = format!("POST /push HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n{lines}\r\n");
        let shown = lines.to_owned() + &body[..body.len().min(40)];
        assert_eq!(raw(&node, (head + body).as_bytes()).await, expected, "{shown:?}");
    }
    for (octets, expected) in [
        ("GET /page HTTP/1.1\r\n\r\n", (400, true)),
        ("GET /page HTTP/3.0\r\nHost: a\r\n\r\n", (400, true)),
        ("GET  /page HTTP/1.1\r\nHost: a\r\n\r\n", (400, true)),
        ("GET /pa ge HTTP/1.1\r\nHost: a\r\n\r\n", (400, true)),
        ("POST /push HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", (400, true)),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (0, true)),
    ] {
        assert_eq!(raw(&node, octets.as_bytes()).await, expected, "{octets:?}");
    }
    serves(&node).await;
}
