//! What one session may take of its thread and of its transport: turns and the memory of unfinished messages.

use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use serde_json::json;
use stentor::clock::Clock;
use stentor::fanout::peer::Agreement;
use stentor::fanout::shard::Shard;
use stentor::http::{Front, Service};
use stentor::meter::{Reason, Tally};
use stentor::node::hubs::Hubs;
use stentor::node::wiring::{Echo, directories, wire};
use stentor::socket::connection::{Connection, Opening};
use stentor::socket::io::Io;
use stentor::socket::{SocketService, Speech};
use stentor_model::SessionId;
use stentor_wamp::codec::{Batching, Format, Serializer};
use stentor_wamp::identity::{Features, Identity};
use stentor_wamp::message::Payload;
use stentor_wamp::publish_options::{Filter, PublishOptions};
use stentor_websocket::deflate::{Agreed, Deflater, Window};
use tokio::io::AsyncReadExt;

use crate::client::{Client, Frame};
use crate::frames::raw;
use crate::house::{Node, configured, loopback, router, soon, start, web};

const MIB: usize = 1 << 20;

/// A service that sends every message back.
fn echo() -> Arc<SocketService> {
    service("echo")
}

/// A service of that type.
fn service(name: &str) -> Arc<SocketService> {
    let config = configured(&router(json!([
        {"type": "web", "endpoint": loopback(), "paths": {"/": {"type": name}}},
    ])));
    let shared = (&Tally::new(1), &Arc::new(Clock::default()));
    let realms = directories(&config, &mut || 7);
    let wiring = wire(&config, Echo::Enabled, shared, (&Hubs::default(), &[], realms), &mut || 7).unwrap();
    let Front::Site(site) = &wiring.routers[0].fronts[0].front else { panic!("not a site") };
    let Service::Socket(service, _) = &**site.find("/").unwrap().0 else { panic!("not a socket") };
    Arc::clone(service)
}

fn agreement(service: &SocketService) -> Agreement {
    agreement_on(service, Batching::Single)
}

fn agreement_on(service: &SocketService, batched: Batching) -> Agreement {
    Agreement {
        format: Format { serializer: Serializer::Json, batched },
        window: None,
        fragment_bytes: 0,
        outbox_bytes_max: MIB,
        keepalive: service.habits.keepalive,
        ping_bytes: 4,
    }
}

/// A waker that does nothing: whoever polls by hand knows when.
struct Nobody;

impl Wake for Nobody {
    fn wake(self: Arc<Self>) {}
}

#[tokio::test]
async fn after_so_many_octets_of_messages_others_have_their_turn() {
    after_each_turn(100_000, 40, 2).await;
    after_each_turn(1000, 300, 132).await;
    after_each_turn(0, 1000, 256).await;
}

/// Sends so many messages of this length at once; so many of them are dealt with in one turn.
async fn after_each_turn(length: usize, count: usize, in_turn: usize) {
    let service = echo();
    let shard = Shard::new(Arc::default(), Arc::new(Clock::default()), 7);
    // All of it is there at once, and what is sent back has room.
    let room = count * (length + 100);
    let agreement = Agreement { outbox_bytes_max: room, ..agreement(&service) };
    let leftover = raw(0x82, &vec![7; length]).repeat(count).into();
    let (near, mut far) = tokio::io::duplex(room);
    let opening = Opening { io: Io::Owned(Box::new(near)), leftover, agreement, compression: None };
    let mut connection = Box::pin(Connection::new(opening, service, shard));
    let waker = Waker::from(Arc::new(Nobody));
    let mut back = Vec::new();
    for turn in 1..=count.div_ceil(in_turn) {
        assert_eq!(connection.as_mut().poll(&mut Context::from_waker(&waker)), Poll::Pending);
        while let Poll::Ready(read) = poll_once(far.read_buf(&mut back)) {
            assert!(read.unwrap() > 0);
        }
        let header = if length == 0 { 2 } else { 4 };
        let messages = back.len() / (length + header);
        assert_eq!(messages, count.min(turn * in_turn), "after turn {turn}");
    }
}

/// So many retained topics in `realm1`.
fn retain(service: &SocketService, shard: &Shard, topics: usize) {
    let Speech::Wamp { directory, .. } = &service.speech else { panic!("it only echoes") };
    let session = SessionId::FIRST;
    let by = Identity {
        session,
        authid: "".into(),
        authrole: "anonymous".into(),
        authmethod: "anonymous",
        authprovider: "anonymous",
        features: Features::default(),
    };
    // For nobody, so that nothing is sent.
    let filter = Some(Box::new(Filter { eligible: Some(Vec::new()), ..Filter::default() }));
    let options = PublishOptions { retain: true, filter, ..PublishOptions::default() };
    let payload = Payload { args: Some(b"[]"), ..Payload::none(Serializer::Json) };
    for n in 0..topics {
        let topic = format!("com.{n}.x");
        directory.get("realm1").unwrap().publish(shard, &by, &topic, &options, payload).unwrap();
    }
}

#[tokio::test]
async fn who_has_much_looked_at_takes_turns() {
    // Each that is found counts as a message: 256 are a turn.
    for (topics, batching, in_turn) in [
        (256, Batching::Single, 1),
        (256, Batching::Batched, 1),
        // A batch has half as much.
        (64, Batching::Single, 4),
        (64, Batching::Batched, 2),
        (0, Batching::Single, 40),
        (0, Batching::Batched, 40),
    ] {
        searches(topics, batching, in_turn).await;
    }
}

/// Sends searches at once that find nothing for this session; so many of them are dealt with in one turn.
async fn searches(topics: usize, batching: Batching, in_turn: usize) {
    const COUNT: usize = 40;
    let service = service("websocket");
    let shard = Shard::new(Arc::default(), Arc::new(Clock::default()), 7);
    retain(&service, &shard, topics);
    let hello = r#"[1,"realm1",{"roles":{"subscriber":{}}}]"#.to_owned();
    let ask = |n| format!(r#"[32,{n},{{"match":"prefix","get_retained":true}},"com."]"#);
    let asked = (1..=COUNT).map(ask);
    let leftover = match batching {
        Batching::Single => std::iter::once(hello).chain(asked).flat_map(|one| raw(0x81, one.as_bytes())).collect(),
        Batching::Batched => [
            raw(0x81, format!("{hello}\x18").as_bytes()),
            raw(0x81, asked.map(|one| one + "\x18").collect::<String>().as_bytes()),
        ]
        .concat(),
    };
    let (near, mut far) = tokio::io::duplex(MIB);
    let agreement = agreement_on(&service, batching);
    let opening = Opening { io: Io::Owned(Box::new(near)), leftover: leftover.into(), agreement, compression: None };
    let mut connection = Box::pin(Connection::new(opening, service, Rc::clone(&shard)));
    let waker = Waker::from(Arc::new(Nobody));
    let (mut back, mut done, mut turns) = (Vec::new(), 0, 0);
    while done < COUNT {
        assert_eq!(connection.as_mut().poll(&mut Context::from_waker(&waker)), Poll::Pending);
        while let Poll::Ready(read) = poll_once(far.read_buf(&mut back)) {
            assert!(read.unwrap() > 0);
        }
        let now = back.windows(4).filter(|part| part == b"[33,").count();
        assert!(now - done <= in_turn, "{} of {in_turn} in turn {turns} with {topics} topics", now - done);
        // Whoever is not admitted goes on with nothing.
        assert!(now > done || shard.turnstile.admit(), "turn {turns} with {topics} topics");
        turns += usize::from(now > done);
        done = now;
        // The runtime lets a task do only so much before it gives way.
        tokio::task::yield_now().await;
    }
    assert_eq!(turns, COUNT.div_ceil(in_turn), "{topics} topics {batching:?}");
}

#[tokio::test]
async fn long_messages_are_inflated_in_pieces_and_one_after_the_other() {
    let service = echo();
    let shard = Shard::new(Arc::default(), Arc::new(Clock::default()), 7);
    let (mut compressed, long) = (Vec::new(), "\u{20ac}".repeat(MIB / 3));
    Deflater::new().compress(Window::Bits15, long.as_bytes(), &mut compressed).unwrap();
    // What stands behind the long message comes after it.
    let leftover = [raw(0xc1, &compressed), raw(0x81, b"short")].concat();
    let waker = Waker::from(Arc::new(Nobody));
    let open = || {
        let (near, far) = tokio::io::duplex(4 * MIB);
        let agreement = Agreement { outbox_bytes_max: 4 * MIB, ..agreement(&service) };
        let compression = Some(Agreed { server_window: Window::Bits15 });
        let io = Io::Owned(Box::new(near));
        let opening = Opening { io, leftover: leftover.clone().into(), agreement, compression };
        (Box::pin(Connection::new(opening, Arc::clone(&service), Rc::clone(&shard))), far, Vec::new())
    };
    let (mut one, mut two) = (open(), open());
    let mut ends = Vec::new();
    for turn in 1.. {
        for (connection, far, back) in [&mut one, &mut two] {
            assert_eq!(connection.as_mut().poll(&mut Context::from_waker(&waker)), Poll::Pending);
            let before = back.len();
            while let Poll::Ready(read) = poll_once(far.read_buf(back)) {
                assert!(read.unwrap() > 0);
            }
            if back.len() > long.len() && before <= long.len() {
                ends.push(turn);
                assert!(
                    back.ends_with(b"short") && back.windows(9).filter(|part| part.ends_with(b"short")).count() == 1
                );
            }
        }
        if ends.len() == 2 {
            break;
        }
        assert!(turn < 1000);
    }
    let pieces = MIB / (64 * 1024);
    assert!(ends[0] >= pieces && ends[1] >= ends[0] + pieces, "{ends:?}");
}

fn poll_once<F: Future>(future: F) -> Poll<F::Output> {
    let waker = Waker::from(Arc::new(Nobody));
    std::pin::pin!(future).poll(&mut Context::from_waker(&waker))
}

fn node_with_a_mebibyte() -> Node {
    let mut config = web(json!({}));
    config["workers"][0]["transports"][0]["limits"] = json!({"bodies_bytes_max": MIB});
    start(&config)
}

/// Sends the first part of a publication and waits until it has been read: nothing, or how the connection was closed.
async fn begin(client: &mut Client, padding: usize) -> Option<Frame> {
    let begun = format!(r#"[16,1,{{"acknowledge":true}},"t",["{}"#, "x".repeat(padding));
    client.send_octets(raw(0x01, begun.as_bytes())).await;
    client.send_unless_gone(raw(0x89, b"read?")).await;
    Some(client.frame().await).filter(|frame| *frame != Frame::Pong(b"read?".to_vec()))
}

/// Sends the rest and waits for the answer.
async fn finish(client: &mut Client) {
    client.send_octets(raw(0x80, br#""]]"#)).await;
    client.expect(17).await;
}

#[tokio::test]
async fn unfinished_messages_of_all_sessions_are_bounded_together() {
    let node = node_with_a_mebibyte();
    let full = || node.running.meters().closed.get(Reason::MessagesFull);
    let mut first = node.session().await;
    let mut small = node.session().await;
    assert_eq!(begin(&mut first, 700_000).await, None);
    for count in 1..=2 {
        match begin(&mut node.session().await, 700_000).await {
            Some(Frame::Close(1013, reason)) => assert!(reason.contains("unfinished messages"), "{reason}"),
            other => panic!("{other:?}"),
        }
        assert_eq!(full(), count);
    }
    // Ordinary messages do not count, and whoever was there before goes on.
    assert_eq!(begin(&mut small, 50_000).await, None);
    finish(&mut small).await;
    finish(&mut first).await;
    // What was finished has made room again once it is freed, and so has what was given up.
    let freed = async {
        while node.running.meters().long_messages_waiting.get() > 0 {
            tokio::task::yield_now().await;
        }
    };
    soon("room", freed).await;
    let mut next = node.session().await;
    assert_eq!(begin(&mut next, 700_000).await, None);
    finish(&mut next).await;
    assert_eq!((full(), node.running.meters().closed.total()), (2, 2));
}
