//! Clients that mean harm or are broken: each is ended with a reason and counted, and the others go on.
//!
//! Those that merely say something wrong are in `violations` and `rfc`, those that never read in `pressure`, those that fall
//! silent in `lifetime`; how much memory hostile ones may cost is in `hostile_memory`.

use std::time::Duration;

use serde_json::{Value, json};
use stentor::meter::Reason;
use stentor_websocket::decoder::FRAGMENTS_MAX;
use stentor_websocket::frame::{self, Opcode};
use tokio::net::TcpSocket;

use crate::client::{Client, Frame, Offer};
use crate::frames::raw;
use crate::house::{Node, pusher, soon, start, web_with};

/// The gap between the octets of a client that trickles; many fit into the shortest time limits.
const TRICKLE: Duration = Duration::from_millis(20);

/// An empty fragment in the middle of a message: header and mask.
const EMPTY_FRAGMENT: [u8; 6] = [0x00, 0x80, 1, 2, 3, 4];

fn node(options: Value) -> Node {
    let calm = json!({"type": "websocket", "options": {"auto_ping_interval": 0}});
    start(&web_with(json!({"push": pusher(json!({})), "calm": calm}), options))
}

/// A session that wants every event. It has a path of its own, since the short time limits of the other are for the
/// culprits and not for a busy machine.
async fn witness(node: &Node) -> Client {
    let mut witness = node.socket(Offer { path: "/calm", ..Offer::default() }).await;
    witness.join("realm1").await;
    witness.subscribe("t").await;
    witness
}

/// The others still get what is published.
async fn go_on(node: &Node, witness: &mut Client) {
    let id = node.post("/push", &json!({"topic": "t", "args": ["marker"]}).to_string()).await.id();
    loop {
        let event = witness.expect(36).await;
        if event[2] == id {
            break;
        }
    }
    assert_eq!(node.running.meters().tasks_panicked.get(), 0);
}

/// Waits until so many are counted.
async fn counted(count: impl Fn() -> u64, expected: u64) {
    let reached = async {
        while count() < expected {
            tokio::task::yield_now().await;
        }
    };
    soon("the counter", reached).await;
    assert_eq!(count(), expected);
}

/// Waits until only so many connections are open, whatever their clients do.
async fn left(node: &Node, connections: u64) {
    let gone = async {
        while node.running.meters().connections_open.get() > connections {
            tokio::task::yield_now().await;
        }
    };
    soon("the end of the connection", gone).await;
}

/// Sends an octet now and then until a frame arrives.
async fn trickle(client: &mut Client, octets: &[u8]) -> Frame {
    let mut octets = octets.iter().cycle();
    loop {
        if let Ok(frame) = tokio::time::timeout(TRICKLE, client.frame()).await {
            return frame;
        }
        client.send_octets([*octets.next().unwrap()]).await;
    }
}

#[tokio::test]
async fn whoever_reads_octet_by_octet_is_closed() {
    let node = node(json!({"outbox_bytes_max": 1 << 20}));
    let mut witness = witness(&node).await;
    let mut slow = node.session().await;
    slow.subscribe("t").await;
    let body = json!({"topic": "t", "args": ["x".repeat(65_536)]}).to_string();
    let mut http = node.http().await;
    for round in 0.. {
        assert!(round < 2000, "nobody has been closed");
        http.post("/push", &[], body.as_bytes()).await.id();
        witness.expect(36).await;
        if node.running.meters().closed.get(Reason::OutboxFull) > 0 {
            break;
        }
        slow.octets(1).await;
    }
    // Also while the client goes on like that: there is a limit on how long the reason may wait to be read.
    left(&node, 1).await;
    go_on(&node, &mut witness).await;
    assert_eq!(node.running.meters().closed.get(Reason::OutboxFull), 1);
}

#[tokio::test]
async fn whoever_asks_without_reading_the_answers_is_closed() {
    let node = node(json!({"outbox_bytes_max": 65_536}));
    let mut witness = witness(&node).await;
    let mut deaf = node.session().await;
    // Each is answered by an error that repeats the request.
    let calls = |from: u64| -> Vec<u8> {
        let call = |n| frame::masked(Opcode::Text, format!(r#"[48,{n},{{}},"com.nowhere"]"#).as_bytes(), [1, 2, 3, 4]);
        (from..from + 1000).flat_map(call).collect()
    };
    let mut next = 1;
    while deaf.send_unless_gone(calls(next)).await {
        next += 1000;
    }
    counted(|| node.running.meters().closed.get(Reason::OutboxFull), 1).await;
    go_on(&node, &mut witness).await;
}

#[tokio::test]
async fn half_a_frame_and_silence() {
    let node = node(json!({"auto_ping_interval": 1000, "auto_ping_timeout": 1000}));
    let mut witness = witness(&node).await;
    witness.subscribe("wamp.session.on_leave").await;
    let message = raw(0x81, br#"[32,1,{},"t"]"#);
    let halves: [&[u8]; 4] = [
        &message[..1],                          // half a header
        &message[..10],                         // half a payload
        &raw(0x01, b"[32,1,"),                  // a fragment and no other
        &[&[0x82, 0xFF][..], &[0; 3]].concat(), // half a length
    ];
    for half in halves {
        let mut silent = node.session().await;
        silent.send_octets(half).await;
        let (left, end) = tokio::join!(witness.expect(36), async {
            assert!(matches!(silent.frame().await, Frame::Ping(_)));
            silent.frame().await
        });
        assert_eq!((&left[4][0], end), (&json!(silent.id), Frame::End), "{half:?}");
    }
    let mut stranger = node.socket(Offer::default()).await;
    stranger.send_octets(&message[..10]).await;
    counted(|| node.running.meters().closed.get(Reason::PingTimeout), 5).await;
    left(&node, 1).await;
    go_on(&node, &mut witness).await;
}

#[tokio::test]
async fn pings_in_floods_are_answered_while_they_are_read() {
    let node = node(json!({}));
    let mut witness = witness(&node).await;
    let mut client = node.session().await;
    for round in 0..50_u32 {
        let pings: Vec<u8> = (0..1000_u32).flat_map(|n| raw(0x89, &(round * 1000 + n).to_be_bytes())).collect();
        client.send_octets(pings).await;
        let last = (round * 1000 + 999).to_be_bytes().to_vec();
        while client.frame().await != Frame::Pong(last.clone()) {}
    }
    go_on(&node, &mut witness).await;
}

#[tokio::test]
async fn whoever_floods_without_reading_is_given_up() {
    let node = node(json!({"auto_ping_interval": 1000, "auto_ping_timeout": 1000}));
    let mut witness = witness(&node).await;
    // The less the system takes on the client's behalf, the sooner it shows that nobody reads.
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut deaf = Client::open(socket.connect(node.address(0)).await.unwrap(), Offer::default()).await.unwrap();
    deaf.join("realm1").await;
    let pings = raw(0x89, &[7; 125]).repeat(500);
    let flood = async {
        // All traffic is a sign of life, and yet this ends.
        while deaf.send_unless_gone(&pings).await {}
    };
    let listen = async {
        while node.running.meters().closed.get(Reason::PingTimeout) == 0 {
            go_on(&node, &mut witness).await;
        }
    };
    tokio::join!(flood, listen);
    left(&node, 1).await;
    assert_eq!(node.running.meters().closed.get(Reason::PingTimeout), 1);
}

#[tokio::test]
async fn a_message_without_end_is_ended() {
    let node = node(json!({}));
    let mut witness = witness(&node).await;
    let crumb = raw(0x00, b"x");
    for (count, (first, further)) in
        [(raw(0x01, b""), &EMPTY_FRAGMENT[..]), (raw(0x02, b"x"), &crumb)].into_iter().enumerate()
    {
        let mut client = node.session().await;
        client.send_octets(first).await;
        client.send_octets(further.repeat(FRAGMENTS_MAX as usize)).await;
        match client.frame().await {
            Frame::Close(1009, reason) => assert!(reason.contains("fragments"), "{reason}"),
            other => panic!("{other:?}"),
        }
        assert_eq!(client.frame().await, Frame::End);
        assert_eq!(node.running.meters().closed.total(), count as u64 + 1);
    }
    left(&node, 1).await;
    go_on(&node, &mut witness).await;
}

#[tokio::test]
async fn another_protocol_after_the_handshake() {
    let node = node(json!({}));
    let mut witness = witness(&node).await;
    for octets in
        [&b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..], b"\x16\x03\x01\x02\x00\x01", b"\0\0\0\0\0\0", &[0xFF; 100]]
    {
        let mut client = node.socket(Offer::default()).await;
        client.send_octets(octets).await;
        let frame = client.frame().await;
        assert!(matches!(frame, Frame::Close(1002, _)), "{octets:?}: {frame:?}");
        assert_eq!(client.frame().await, Frame::End);
    }
    assert_eq!(node.running.meters().closed.total(), 4);
    go_on(&node, &mut witness).await;
}

#[tokio::test]
async fn whoever_never_finishes_hello_is_closed() {
    let node = node(json!({"open_handshake_timeout": 1000}));
    let mut witness = witness(&node).await;
    // A frame of 50 000 octets, an octet at a time; and pings for ever.
    let header = [&[0x81, 0xFE][..], &50_000_u16.to_be_bytes(), &[0; 4]].concat();
    let mut slow = node.socket(Offer::default()).await;
    slow.send_octets(header).await;
    let mut chatty = node.socket(Offer::default()).await;
    let chat = async {
        loop {
            chatty.send_frame(Opcode::Ping, b"").await;
            match chatty.frame().await {
                Frame::Pong(_) => {}
                other => return other,
            }
        }
    };
    let (slow, chatty) = tokio::join!(trickle(&mut slow, b" "), chat);
    for frame in [slow, chatty] {
        assert!(matches!(frame, Frame::Close(1008, _)), "{frame:?}");
    }
    assert_eq!(node.running.meters().closed.get(Reason::HelloTimeout), 2);
    go_on(&node, &mut witness).await;
}

#[tokio::test]
async fn whoever_talks_on_after_our_close_is_dropped() {
    let node = node(json!({"close_handshake_timeout": 1000}));
    let mut witness = witness(&node).await;
    let mut client = node.session().await;
    client.send_frame(Opcode::Text, b"nonsense").await;
    client.expect(3).await;
    assert!(matches!(client.frame().await, Frame::Close(1002, _)));
    let ping = raw(0x89, b"");
    while client.send_unless_gone(&ping).await {
        tokio::task::yield_now().await;
    }
    left(&node, 1).await;
    go_on(&node, &mut witness).await;
}
