//! Sessions over time: one after another on one connection, time limits, pings.

use serde_json::{Value, json};
use stentor::meter::Reason;
use stentor_websocket::frame::Opcode;

use crate::client::{Frame, Offer};
use crate::house::{start, web_with};

fn node(options: Value) -> crate::house::Node {
    start(&web_with(json!({}), options))
}

#[tokio::test]
async fn one_connection_carries_sessions_one_after_another() {
    let node = node(json!({}));
    let mut client = node.socket(Offer::default()).await;
    let mut seen = Vec::new();
    for _ in 0..3 {
        let id = client.join("realm1").await;
        assert!(!seen.contains(&id));
        seen.push(id);
        client.subscribe("t").await;
        client.send(json!([6, {}, "wamp.close.close_realm"])).await;
        assert_eq!(client.message().await, json!([6, {}, "wamp.close.goodbye_and_out"]));
        // The old subscription ended with its session: only the new one would hear this.
        node.session().await.publish("t", json!([])).await;
    }
    client.join("realm1").await;
    client.send(json!([48, 1, {}, "wamp.session.count"])).await;
    client.expect(50).await;
}

#[tokio::test]
async fn whoever_does_not_join_in_time_is_closed() {
    let node = node(json!({"open_handshake_timeout": 1000}));
    let mut idle = node.socket(Offer::default()).await;
    let mut left = node.session().await;
    left.send(json!([6, {}, "wamp.close.close_realm"])).await;
    left.expect(6).await;
    let mut joined = node.session().await;
    idle.expect_close(1008).await;
    left.expect_close(1008).await;
    assert_eq!(node.running.meters().closed.get(Reason::HelloTimeout), 2);
    joined.subscribe("t").await;
}

#[tokio::test]
async fn whoever_does_not_answer_a_close_is_dropped() {
    let node = node(json!({"close_handshake_timeout": 1000}));
    let mut client = node.session().await;
    client.send_frame(Opcode::Text, b"nonsense").await;
    client.expect(3).await;
    assert!(matches!(client.frame().await, Frame::Close(1002, _)));
    assert_eq!(client.frame().await, Frame::End);
}

#[tokio::test]
async fn the_dead_are_dropped_and_the_living_stay() {
    let node = node(json!({"auto_ping_interval": 1000, "auto_ping_timeout": 1000, "auto_ping_size": 20}));
    let mut living = node.session().await;
    living.subscribe("wamp.session.on_leave").await;
    let mut dead = node.session().await;
    let Frame::Ping(payload) = dead.frame().await else { panic!("not a ping") };
    assert_eq!(payload.len(), 20);
    // The living one answers its pings while it waits for this.
    assert_eq!(living.expect(36).await[4][0], dead.id);
    assert_eq!(dead.frame().await, Frame::End);
    assert_eq!(node.running.meters().closed.get(Reason::PingTimeout), 1);
}

#[tokio::test]
async fn a_killed_session_is_told_and_closed() {
    let node = node(json!({}));
    let mut killer = node.session().await;
    for answers in [true, false] {
        let mut victim = node.session().await;
        let request = killer.request();
        killer.send(json!([48, request, {}, "wamp.session.kill", [victim.id], {"reason": "com.bad"}])).await;
        killer.expect(50).await;
        assert_eq!(victim.message().await, json!([6, {}, "com.bad"]));
        if answers {
            victim.send(json!([6, {}, "wamp.close.goodbye_and_out"])).await;
            victim.expect_close(1000).await;
        } else {
            // Without an answer the connection ends all the same.
            assert!(matches!(victim.frame().await, Frame::Close(..) | Frame::End));
        }
    }
}
