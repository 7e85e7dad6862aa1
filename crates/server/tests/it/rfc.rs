//! RFC 6455 and RFC 7692 over a real socket: raw octets to the echo service, and which frames and codes come back.
//!
//! The decoder has its own tables; here the rules are seen through everything that lies between them and a client, at once
//! and octet by octet.

use serde_json::json;
use stentor_websocket::deflate::{Deflater, Window};
use stentor_websocket::frame::{self, Opcode};

use crate::client::{Client, Frame, Offer};
use crate::frames::raw;
use crate::house::{Node, start, web_with};

const FIN: u8 = 0x80;
const RSV1: u8 = 0x40;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// Longer streams are not sent octet by octet.
const OCTET_WISE_MAX: usize = 200;

const MESSAGE_BYTES_MAX: usize = 1 << 20;

fn node() -> Node {
    let options = json!({
        "compression": {"deflate": {}}, "auto_ping_interval": 0, "close_handshake_timeout": 3_600_000,
        "max_message_size": MESSAGE_BYTES_MAX, "max_frame_size": MESSAGE_BYTES_MAX,
    });
    start(&web_with(json!({"echo": {"type": "echo", "options": options}}), json!({})))
}

async fn echo(node: &Node, extensions: &str) -> Client {
    node.socket(Offer { path: "/echo", subprotocols: "", extensions }).await
}

/// What is to come back.
#[derive(Clone, Debug)]
enum Back {
    Text(&'static str),
    /// A message of so many octets.
    Octets(usize),
    Pong(&'static str),
    /// A Close with this code, 0 for none, and the end of the stream.
    Close(u16),
}

impl Back {
    fn is(&self, frame: &Frame) -> bool {
        match (self, frame) {
            (Self::Text(wanted), Frame::Text(found)) => wanted == found,
            (Self::Octets(length), Frame::Text(found)) => found.len() == *length,
            (Self::Octets(length), Frame::Binary(found)) => found.len() == *length,
            (Self::Pong(wanted), Frame::Pong(found)) => wanted.as_bytes() == found,
            (Self::Close(code), Frame::Close(found, _)) => code == found,
            _ => false,
        }
    }
}

/// Sends these octets, and whatever comes back has to be this and no more: a stream without an ending is closed by us.
async fn check(node: &Node, extensions: &str, name: &str, octets: &[u8], back: &[Back]) {
    for step in [usize::MAX, 1] {
        if step == 1 && octets.len() > OCTET_WISE_MAX {
            continue;
        }
        let mut client = echo(node, extensions).await;
        for part in octets.chunks(step) {
            client.send_octets(part).await;
        }
        if !matches!(back.last(), Some(Back::Close(_))) {
            client.send_octets(raw(FIN | CLOSE, &4000_u16.to_be_bytes())).await;
        }
        for wanted in back {
            let found = client.frame().await;
            assert!(wanted.is(&found), "{name}, step {step}: {found:.200?} instead of {wanted:?}");
        }
        if !matches!(back.last(), Some(Back::Close(_))) {
            assert_eq!(client.frame().await, Frame::Close(4000, String::new()), "{name}, step {step}");
        }
        assert_eq!(client.frame().await, Frame::End, "{name}, step {step}");
    }
}

/// Frames in a row.
fn stream(frames: &[(u8, &[u8])]) -> Vec<u8> {
    frames.iter().flat_map(|(first, payload)| raw(*first, payload)).collect()
}

/// A header of 14 octets, key included, that announces so many.
fn announcement(first: u8, length: u64) -> Vec<u8> {
    [&[first, 0xFF], &length.to_be_bytes()[..], &[1, 2, 3, 4]].concat()
}

fn deflated(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    Deflater::new().compress(Window::Bits15, message, &mut out).unwrap();
    out
}

#[tokio::test]
async fn messages_come_back() {
    let node = node();
    for length in [0, 1, 125, 126, 127, 65_535, 65_536, MESSAGE_BYTES_MAX] {
        let payload = vec![b'*'; length];
        for opcode in [TEXT, BINARY] {
            let octets = raw(FIN | opcode, &payload);
            check(&node, "", "a whole message", &octets, &[Back::Octets(length)]).await;
        }
    }
    let kosme = "κόσμε😀";
    for cut in 0..kosme.len() {
        let (head, tail) = kosme.as_bytes().split_at(cut);
        let octets = stream(&[(TEXT, head), (0, b""), (FIN, tail)]);
        check(&node, "", "a character cut in two", &octets, &[Back::Text(kosme)]).await;
    }
    let small = frame::masked(Opcode::Text, b"x", [0; 4]);
    check(&node, "", "a mask of zeros", &small, &[Back::Text("x")]).await;
    check(&node, "", "no text", &raw(FIN | BINARY, b"\xff\xfe"), &[Back::Octets(2)]).await;
    let pieces: Vec<u8> = (0..70_000).flat_map(|n| raw(if n == 0 { BINARY } else { 0 }, b"x")).collect();
    let octets = [pieces, raw(FIN, b"")].concat();
    check(&node, "", "many fragments", &octets, &[Back::Octets(70_000)]).await;
}

#[tokio::test]
async fn control_frames() {
    let node = node();
    let ten: Vec<(u8, &[u8])> = (0..10).map(|n| (FIN | PING, &b"0123456789"[n..=n])).collect();
    let pongs = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"].map(Back::Pong);
    check(&node, "", "ten pings", &stream(&ten), &pongs).await;
    check(&node, "", "an empty ping", &raw(FIN | PING, b""), &[Back::Pong("")]).await;
    check(&node, "", "a pong that nobody asked for", &raw(FIN | PONG, b"x"), &[]).await;
    let between = stream(&[(TEXT, b"a"), (FIN | PING, b"p"), (0, b"b"), (FIN | PONG, b""), (FIN, b"c")]);
    check(&node, "", "between fragments", &between, &[Back::Pong("p"), Back::Text("abc")]).await;
    for opcode in [CLOSE, PING, PONG] {
        check(&node, "", "a fragmented control frame", &raw(opcode, b""), &[Back::Close(1002)]).await;
        check(&node, "", "a long control frame", &raw(FIN | opcode, &[b'x'; 126]), &[Back::Close(1002)]).await;
        let octets = [FIN | opcode, 0xFE, 0, 2, 1, 2, 3, 4, 0, 0];
        check(&node, "", "a control frame with a long length", &octets, &[Back::Close(1002)]).await;
    }
}

#[tokio::test]
async fn broken_frames() {
    let node = node();
    let wrong = [Back::Close(1002)];
    for bits in [0x10, 0x20, 0x40, 0x70] {
        check(&node, "", "a reserved bit", &raw(FIN | bits | TEXT, b"x"), &wrong).await;
    }
    for opcode in (3..8).chain(11..16) {
        check(&node, "", "a reserved opcode", &raw(FIN | opcode, b""), &wrong).await;
        check(&node, "", "a reserved opcode with a payload", &raw(FIN | opcode, b"x"), &wrong).await;
    }
    let large = Back::Close(1009);
    let rows: [(&str, Vec<u8>, Vec<Back>); 14] = [
        ("no mask", frame::text("x").to_vec(), wrong.to_vec()),
        ("a continuation of nothing", raw(FIN, b"x"), wrong.to_vec()),
        ("a fragment of nothing", raw(0, b"x"), wrong.to_vec()),
        ("a message in a message", stream(&[(TEXT, b"a"), (FIN | TEXT, b"b")]), wrong.to_vec()),
        (
            "one continuation too many",
            stream(&[(TEXT, b"a"), (FIN, b"b"), (FIN, b"c")]),
            vec![Back::Text("ab"), Back::Close(1002)],
        ),
        ("a length of 16 bits for 125", vec![FIN | BINARY, 0xFE, 0, 125], wrong.to_vec()),
        ("a length of 64 bits for 65535", announcement(FIN | BINARY, 65_535), wrong.to_vec()),
        ("2^63 octets", announcement(FIN | BINARY, 1 << 63), wrong.to_vec()),
        ("2^63 - 1 octets", announcement(FIN | BINARY, (1 << 63) - 1), vec![large.clone()]),
        ("60 MiB", announcement(FIN | BINARY, 60 << 20), vec![large.clone()]),
        ("an octet too much", announcement(FIN | BINARY, MESSAGE_BYTES_MAX as u64 + 1), vec![large.clone()]),
        ("an octet too much in the end", stream(&[(BINARY, &vec![0; MESSAGE_BYTES_MAX]), (FIN, b"x")]), vec![large]),
        (
            "what came before counts",
            stream(&[(FIN | TEXT, b"a"), (FIN | PING, b"p"), (FIN | 3, b"")]),
            vec![Back::Text("a"), Back::Pong("p"), Back::Close(1002)],
        ),
        ("what comes after does not", stream(&[(FIN | 3, b""), (FIN | TEXT, b"a")]), wrong.to_vec()),
    ];
    for (name, octets, back) in rows {
        check(&node, "", name, &octets, &back).await;
    }
}

#[tokio::test]
async fn text_is_utf8() {
    let node = node();
    let bad = [Back::Close(1007)];
    for octets in [&b"\xff"[..], b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\x80", b"a\xce"] {
        check(&node, "", "not UTF-8", &raw(FIN | TEXT, octets), &bad).await;
        check(&node, "", "not UTF-8, in the second fragment", &stream(&[(TEXT, b"a"), (FIN, octets)]), &bad).await;
    }
    let first = stream(&[(TEXT, "κόσμε".as_bytes())]);
    // Neither the last fragment nor the rest of this one is awaited.
    let endless = [&first[..], &raw(0, b"\xf4\x90")].concat();
    check(&node, "", "a fragment that cannot heal", &endless, &bad).await;
    let half = [&first[..], &announcement(FIN, 70_000), &[0xf4 ^ 1, 0x90 ^ 2]].concat();
    check(&node, "", "half a fragment that cannot heal", &half, &bad).await;
}

#[tokio::test]
async fn closing() {
    let node = node();
    let close = |payload: &[u8]| raw(FIN | CLOSE, payload);
    let with_code = |code: u16, reason: &[u8]| raw(FIN | CLOSE, &[&code.to_be_bytes()[..], reason].concat());
    check(&node, "", "an empty Close", &close(b""), &[Back::Close(0)]).await;
    for code in [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999] {
        check(&node, "", "a code", &with_code(code, b""), &[Back::Close(code)]).await;
    }
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535] {
        check(&node, "", &format!("{code} must not travel"), &with_code(code, b""), &[Back::Close(1002)]).await;
    }
    let late = [with_code(1000, b""), stream(&[(FIN | TEXT, b"late"), (FIN | PING, b""), (FIN | CLOSE, b"")])].concat();
    for (name, octets, code) in [
        ("a reason", with_code(1000, "tschüß".as_bytes()), 1000),
        ("the longest reason", with_code(1000, &[b'x'; 123]), 1000),
        ("a longer one", with_code(1000, &[b'x'; 124]), 1002),
        ("a reason that is not UTF-8", with_code(1000, b"\xce\xba\xed\xa0\x80"), 1007),
        ("half a code", close(&[3]), 1002),
        ("what comes after a Close", late, 1000),
        ("within a message", [raw(TEXT, b"a"), with_code(1001, b"")].concat(), 1001),
    ] {
        check(&node, "", name, &octets, &[Back::Close(code)]).await;
    }
}

/// The octets of RFC 7692 section 7.2.3, and what must not pass.
#[tokio::test]
async fn compression() {
    let node = node();
    let hello: &[u8] = &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
    let whole = |octets: &[u8]| raw(FIN | RSV1 | TEXT, octets);
    let long: String = (0..2000).map(|n| char::from(b' ' + (n * n % 89) as u8)).collect();
    let long = deflated(long.as_bytes());
    let crumbs = long.iter().enumerate().flat_map(|(n, octet)| {
        let first = if n == 0 { RSV1 | TEXT } else { 0 };
        raw(if n + 1 == long.len() { FIN | first } else { first }, &[*octet])
    });
    let crumbs: Vec<u8> = crumbs.collect();
    let text = || vec![Back::Text("Hello")];
    let rows: Vec<(&str, Vec<u8>, Vec<Back>)> = vec![
        ("one block", whole(hello), text()),
        ("in two fragments", stream(&[(RSV1 | TEXT, &hello[..3]), (FIN, &hello[3..])]), text()),
        (
            "a ping between",
            stream(&[(RSV1 | TEXT, &hello[..3]), (FIN | PING, b""), (FIN, &hello[3..])]),
            vec![Back::Pong(""), Back::Text("Hello")],
        ),
        ("in crumbs", crumbs, vec![Back::Octets(2000)]),
        ("stored", whole(b"\x00\x05\x00\xfa\xffHello\x00"), text()),
        ("a final block", whole(&[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00]), text()),
        ("two blocks", whole(&[0xf2, 0x48, 5, 0, 0, 0, 0xff, 0xff, 0xca, 0xc9, 0xc9, 7, 0]), text()),
        ("nothing", whole(&[0]), vec![Back::Octets(0)]),
        ("less than nothing", whole(&[]), vec![Back::Octets(0)]),
        (
            "plain and compressed",
            [raw(FIN | TEXT, b"a"), whole(hello)].concat(),
            vec![Back::Text("a"), Back::Text("Hello")],
        ),
        // The second message refers to the first one, though it was agreed that none is remembered.
        (
            "a window kept",
            [whole(hello), whole(&[0xf2, 0, 0x11, 0, 0])].concat(),
            vec![Back::Text("Hello"), Back::Close(1007)],
        ),
        ("no such block", whole(&[0xff; 8]), vec![Back::Close(1007)]),
        ("text that is not UTF-8", whole(&deflated(b"\xff")), vec![Back::Close(1007)]),
        ("RSV1 twice", stream(&[(RSV1 | TEXT, &hello[..3]), (FIN | RSV1, &hello[3..])]), vec![Back::Close(1002)]),
        ("RSV1 on a continuation", stream(&[(TEXT, b"a"), (FIN | RSV1, b"b")]), vec![Back::Close(1002)]),
        ("RSV1 on a ping", raw(FIN | RSV1 | PING, b""), vec![Back::Close(1002)]),
        ("RSV2 beside it", raw(FIN | RSV1 | 0x20 | TEXT, hello), vec![Back::Close(1002)]),
        ("as much as may be", whole(&deflated(&vec![b'x'; MESSAGE_BYTES_MAX])), vec![Back::Octets(MESSAGE_BYTES_MAX)]),
        ("one octet more", whole(&deflated(&vec![b'x'; MESSAGE_BYTES_MAX + 1])), vec![Back::Close(1009)]),
    ];
    for (name, octets, back) in rows {
        check(&node, "permessage-deflate", name, &octets, &back).await;
    }
}

#[tokio::test]
async fn every_window_is_agreed_on() {
    let node = node();
    let agreed = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
    let text = "abcdefghij".repeat(1000);
    for bits in 8..=15 {
        for (parameter, packed) in [("server_max_window_bits", bits > 8), ("client_max_window_bits", true)] {
            let parameter = format!("{parameter}={bits}");
            let mut client = echo(&node, &format!("permessage-deflate; {parameter}")).await;
            let answer = client.handshake.header("sec-websocket-extensions").unwrap().to_owned();
            assert_eq!(answer, format!("{agreed}; {parameter}"));
            let before = client.received;
            client.send_octets(raw(FIN | RSV1 | TEXT, &deflated(text.as_bytes()))).await;
            assert_eq!(client.frame().await, Frame::Text(text.clone()), "{parameter}");
            // What 8 bits cannot express goes plain.
            assert_eq!(client.received - before < 1000, packed, "{parameter}");
        }
    }
}
