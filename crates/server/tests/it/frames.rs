//! The WebSocket layer below WAMP: control frames, fragments, limits, compression, the closing handshake.

use serde_json::json;
use stentor_websocket::deflate::{Deflater, Window};
use stentor_websocket::frame::{self, Opcode};

use crate::client::{Client, Frame, Offer, hello};
use crate::house::{Node, pusher, start, web_with};

fn node(options: serde_json::Value) -> Node {
    let mut options = options;
    options["close_handshake_timeout"] = json!(3_600_000);
    start(&web_with(json!({"push": pusher(json!({})), "echo": {"type": "echo", "options": options}}), options.clone()))
}

/// A masked frame with any first octet.
pub(crate) fn raw(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut octets = frame::masked(Opcode::Binary, payload, [5, 6, 7, 8]).to_vec();
    octets[0] = first;
    octets
}

#[tokio::test]
async fn pings_are_answered_even_between_fragments() {
    let node = node(json!({}));
    let mut client = node.session().await;
    for payload in [&b""[..], b"abc", &[7; 125]] {
        client.send_frame(Opcode::Ping, payload).await;
        assert_eq!(client.frame().await, Frame::Pong(payload.to_vec()));
    }
    client.send_frame(Opcode::Pong, b"unsolicited").await;
    let message = br#"[32,1,{},"t"]"#;
    client.send_octets(raw(0x01, &message[..4])).await;
    client.send_frame(Opcode::Ping, b"between").await;
    assert_eq!(client.frame().await, Frame::Pong(b"between".to_vec()));
    client.send_octets(raw(0x00, &message[4..6])).await;
    client.send_octets(raw(0x00, b"")).await;
    client.send_octets(raw(0x80, &message[6..])).await;
    client.expect(33).await;
}

#[tokio::test]
async fn octets_may_come_one_by_one() {
    let node = node(json!({}));
    let mut client = node.socket(Offer::default()).await;
    for octet in frame::masked(Opcode::Text, hello("realm1").to_string().as_bytes(), [1, 2, 3, 4]) {
        client.send_octets([octet]).await;
    }
    client.expect(2).await;
}

#[tokio::test]
async fn broken_frames_close_with_a_code() {
    let node = node(json!({"max_message_size": 1000, "max_frame_size": 900}));
    let rows: [(&str, Vec<u8>, u16); 12] = [
        ("unmasked", frame::text("[]").to_vec(), 1002),
        ("reserved bit", raw(0xc1, b"[]"), 1002),
        ("reserved opcode", raw(0x83, b"[]"), 1002),
        ("continuation of nothing", raw(0x80, b"[]"), 1002),
        ("message inside a message", [raw(0x01, b"["), raw(0x81, b"[]")].concat(), 1002),
        ("fragmented ping", raw(0x09, b""), 1002),
        ("long ping", raw(0x89, &[0; 126]), 1002),
        ("close with one octet", raw(0x88, &[3]), 1002),
        ("close with a forbidden code", raw(0x88, &1005_u16.to_be_bytes()), 1002),
        ("not UTF-8", raw(0x81, b"[\xff]"), 1007),
        ("frame too big", vec![0x81, 0xfe, 0x03, 0x85], 1009),
        ("message too big", [raw(0x01, &[b' '; 600]), raw(0x80, &[b' '; 600])].concat(), 1009),
    ];
    for (name, octets, code) in rows {
        let mut client = node.session().await;
        client.send_octets(octets).await;
        let closed = client.frame().await;
        assert!(matches!(closed, Frame::Close(found, _) if found == code), "{name}: {closed:?}");
        assert_eq!(client.frame().await, Frame::End, "{name}");
    }
    assert_eq!(node.running.meters().closed.total(), 12);
}

#[tokio::test]
async fn failures_drop_where_that_is_configured() {
    let node = node(json!({"fail_by_drop": true}));
    let mut client = node.session().await;
    client.send_octets(frame::text("[]")).await;
    assert_eq!(client.frame().await, Frame::End);
}

#[tokio::test]
async fn masks_may_be_left_out_where_that_is_configured() {
    let node = node(json!({"require_masked_client_frames": false}));
    let mut client = node.session().await;
    client.send_octets(frame::text(r#"[32,1,{},"t"]"#)).await;
    client.expect(33).await;
}

async fn check_close(client: &mut Client, payload: &[u8], reply: Frame) {
    client.send_frame(Opcode::Close, payload).await;
    assert_eq!(client.frame().await, reply);
    assert_eq!(client.frame().await, Frame::End);
}

#[tokio::test]
async fn a_close_is_echoed() {
    let with_reason = [&1001_u16.to_be_bytes()[..], b"going"].concat();
    let private = 4321_u16.to_be_bytes();
    let quiet = node(json!({}));
    check_close(&mut quiet.session().await, &with_reason, Frame::Close(1001, String::new())).await;
    check_close(&mut quiet.session().await, &private, Frame::Close(4321, String::new())).await;
    check_close(&mut quiet.session().await, b"", Frame::Close(0, String::new())).await;
    let faithful = node(json!({"echo_close_codereason": true}));
    check_close(&mut faithful.session().await, &with_reason, Frame::Close(1001, "going".into())).await;
}

#[tokio::test]
async fn a_session_ends_with_its_connection() {
    let node = node(json!({}));
    let mut witness = node.session().await;
    witness.subscribe("wamp.session.on_leave").await;
    for polite in [true, false] {
        let mut client = node.session().await;
        if polite {
            client.send_frame(Opcode::Close, b"").await;
        }
        let id = client.id;
        drop(client);
        assert_eq!(witness.expect(36).await[4][0], id);
    }
}

#[tokio::test]
async fn long_messages_are_cut_where_that_is_configured() {
    let node = node(json!({"auto_fragment_size": 100}));
    let mut client = node.socket(Offer { path: "/echo", subprotocols: "", ..Offer::default() }).await;
    client.send_frame(Opcode::Text, "x".repeat(250).as_bytes()).await;
    let octets = client.octets(250 + 3 * 2).await;
    assert_eq!((&octets[..2], &octets[102..104], &octets[204..206]), (&[1, 100][..], &[0, 100][..], &[0x80, 50][..]));
    client.send_frame(Opcode::Binary, b"short").await;
    assert_eq!(client.octets(7).await, b"\x82\x05short");
}

/// Compresses as a client.
fn deflated(message: &str) -> Vec<u8> {
    let mut out = Vec::new();
    Deflater::new().compress(Window::Bits15, message.as_bytes(), &mut out).unwrap();
    frame::masked_deflated(Opcode::Text, &out, [1, 2, 3, 4]).to_vec()
}

#[tokio::test]
async fn compression_works_both_ways() {
    let node = node(json!({"compression": {"deflate": {}}}));
    let offer = Offer { extensions: "x-unknown, permessage-deflate; client_max_window_bits", ..Offer::default() };
    let mut client = node.socket(offer).await;
    let agreed = client.handshake.header("sec-websocket-extensions").unwrap().to_owned();
    assert_eq!(agreed, "permessage-deflate; server_no_context_takeover; client_no_context_takeover");
    client.send_octets(deflated(&hello("realm1").to_string())).await;
    client.expect(2).await;
    client.send_octets(deflated(r#"[32,1,{},"t"]"#)).await;
    client.expect(33).await;
    // Plain messages are allowed all the same.
    client.send(json!([32, 2, {}, "u"])).await;
    client.expect(33).await;
    let mut plain = node.session().await;
    plain.subscribe("t").await;
    let large = "abcdefghij".repeat(10_000);
    for _ in 0..3 {
        let before = client.received;
        node.post("/push", &json!({"topic": "t", "args": [large]}).to_string()).await.id();
        assert_eq!(client.expect(36).await[4], json!([large]));
        assert!(client.received - before < 5_000, "{} octets", client.received - before);
        assert_eq!(plain.expect(36).await[4], json!([large]));
    }
    // To compress what is very long would hold up everybody.
    let huge = "abcdefghij".repeat(60_000);
    let before = client.received;
    node.post("/push", &json!({"topic": "t", "args": [huge]}).to_string()).await.id();
    assert_eq!(client.expect(36).await[4], json!([huge]));
    assert!(client.received - before > 600_000, "{} octets", client.received - before);
}

#[tokio::test]
async fn small_windows_and_bombs() {
    let node = node(json!({"compression": {"deflate": {"max_window_bits": 10}}, "max_message_size": 100_000}));
    let offer = Offer { extensions: "permessage-deflate; server_max_window_bits=9", ..Offer::default() };
    let mut client = node.socket(offer).await;
    let agreed = client.handshake.header("sec-websocket-extensions").unwrap();
    assert!(agreed.ends_with("; server_max_window_bits=9"), "{agreed}");
    client.join("realm1").await;
    client.send_octets(deflated(&" ".repeat(10_000_000))).await;
    assert!(matches!(client.frame().await, Frame::Close(1009, _)));
    for extensions in ["permessage-deflate; server_max_window_bits=99", "permessage-deflate; what", "x-webkit-deflate"]
    {
        let client = node.socket(Offer { extensions, ..Offer::default() }).await;
        assert_eq!(client.handshake.header("sec-websocket-extensions"), None, "{extensions}");
    }
}

#[tokio::test]
async fn compressed_frames_without_agreement_are_a_violation() {
    let node = node(json!({}));
    let offer = Offer { extensions: "permessage-deflate", ..Offer::default() };
    let mut client = node.socket(offer).await;
    assert_eq!(client.handshake.header("sec-websocket-extensions"), None);
    client.send_octets(deflated(&hello("realm1").to_string())).await;
    assert!(matches!(client.frame().await, Frame::Close(1002, _)));
}
