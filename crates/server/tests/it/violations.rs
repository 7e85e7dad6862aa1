//! What breaks WAMP ends the session: ABORT with the reason, then Close. The node and the others go on.

use serde_json::{Value, json};
use stentor_websocket::frame::Opcode;

use crate::client::{Client, Frame, Offer, hello};
use crate::house::{Node, start, web, web_with};

const VIOLATION: &str = "wamp.error.protocol_violation";

fn node() -> Node {
    // A test that waits for a time limit would wait for ever.
    start(&web_with(json!({}), json!({"close_handshake_timeout": 3_600_000, "auto_ping_interval": 0})))
}

async fn check_all(joined: bool, messages: &[&str]) {
    let node = node();
    for (count, message) in messages.iter().enumerate() {
        let mut client = node.socket(Offer::default()).await;
        if joined {
            client.join("realm1").await;
        }
        client.send_frame(Opcode::Text, message.as_bytes()).await;
        let abort = client.message().await;
        assert_eq!((&abort[0], &abort[2]), (&json!(3), &json!(VIOLATION)), "{message:.80}: {abort}");
        client.expect_close(1002).await;
        assert_eq!(node.running.meters().closed.total(), count as u64 + 1, "{message:.80}");
    }
    // Nobody is left behind.
    let mut witness = node.session().await;
    witness.send(json!([48, 1, {}, "wamp.session.count"])).await;
    assert_eq!(witness.expect(50).await[3], json!([1]));
}

#[tokio::test]
async fn before_a_session() {
    check_all(
        false,
        &[
            r#"[32,1,{},"t"]"#,
            r#"[16,1,{},"t"]"#,
            r#"[48,1,{},"p"]"#,
            r#"[5,"signature",{}]"#,
            r#"[6,{},"wamp.close.close_realm"]"#,
            r#"[1,"realm1",{}]"#,
            r#"[1,"realm1",{"roles":{}}]"#,
            r#"[1,"realm1",{"roles":[]}]"#,
            r#"[1,"realm1",{"roles":{"broker":{}}}]"#,
            r#"[1,"realm1"]"#,
            r#"[1,5,{"roles":{"caller":{}}}]"#,
            "[]",
            "{}",
            "",
            "nonsense",
            r#"[1,"realm1",{"roles":{"caller":{}}}] "x""#,
        ],
    )
    .await;
}

#[tokio::test]
async fn in_a_session() {
    let deep = format!(r#"[16,1,{{}},"t",{}{}]"#, "[".repeat(80_000), "]".repeat(80_000));
    let hello = hello("realm1").to_string();
    check_all(
        true,
        &[
            &hello,
            &deep,
            r#"[5,"signature",{}]"#,
            r#"[2,1,{}]"#,
            r#"[36,1,1,{}]"#,
            r#"[99,1,{}]"#,
            r#"["16",1,{},"t"]"#,
            r#"[16,2,{},"t"]"#,
            r#"[16,0,{},"t"]"#,
            r#"[16,9007199254740993,{},"t"]"#,
            r#"[16,1.0,{},"t"]"#,
            r#"[16,1,[],"t"]"#,
            r#"[16,1,{},5]"#,
            r#"[16,1,{},"t",{}]"#,
            r#"[16,1,{},"t",[],[]]"#,
            r#"[16,1,{},"t",[],{},1]"#,
            r#"[16,1,{}]"#,
            r#"[32,1,{},"t",1]"#,
            r#"[16,1,{},"t",[NaN]]"#,
            r#"[16,1,{},"t",["\ud800"]]"#,
            r#"[16,1,{},"t",[1,]]"#,
            r#"[70,1,{}]"#,
            r#"[8,48,1,{},"e"]"#,
            r#"[16,1,{},"t"][16,2,{},"t"]"#,
        ],
    )
    .await;
}

#[tokio::test]
async fn ids_count_from_one_by_one() {
    let node = node();
    let mut client = node.session().await;
    client.send(json!([32, 1, {}, "t"])).await;
    client.expect(33).await;
    // What is refused counts too.
    client.send(json!([32, 2, {}, "a b"])).await;
    assert_eq!(client.expect(8).await[4], "wamp.error.invalid_uri");
    client.send(json!([32, 3, {}, "u"])).await;
    client.expect(33).await;
    client.send(json!([32, 3, {}, "v"])).await;
    client.expect_abort(VIOLATION, 1002).await;
}

#[tokio::test]
async fn refusals_of_hello_have_their_own_reasons() {
    let node = node();
    let roles = json!({"caller": {}});
    for (message, reason) in [
        (json!([1, "nowhere", {"roles": roles}]), "wamp.error.no_such_realm"),
        (json!([1, "a b", {"roles": roles}]), "wamp.error.invalid_uri"),
        (json!([1, "realm1", {"roles": roles, "authmethods": ["ticket"]}]), "wamp.error.no_matching_auth_method"),
    ] {
        let mut client = node.socket(Offer::default()).await;
        client.send(message).await;
        client.expect_abort(reason, 1000).await;
    }
}

#[tokio::test]
async fn wrong_tickets_do_not_get_in() {
    let mut config = web(json!({}));
    config["workers"][0]["transports"][0]["paths"]["ws"]["auth"] = json!({
        "ticket": {"type": "static", "principals": {"joe": {"ticket": "right", "role": "member"}}},
    });
    let node = start(&config);
    for (authid, ticket, welcome) in [("joe", "right", true), ("joe", "wrong", false), ("nobody", "right", false)] {
        let mut client = node.socket(Offer::default()).await;
        let details = json!({"roles": {"caller": {}}, "authmethods": ["ticket"], "authid": authid});
        client.send(json!([1, "realm1", details])).await;
        client.expect(4).await;
        client.send(json!([5, ticket, {}])).await;
        if welcome {
            let details = client.expect(2).await[2].clone();
            assert_eq!((&details["authid"], &details["authrole"]), (&json!("joe"), &json!("member")));
        } else {
            client.expect_abort("wamp.error.authentication_failed", 1000).await;
        }
    }
    let mut anonymous = node.socket(Offer::default()).await;
    anonymous.send(hello("realm1")).await;
    anonymous.expect_abort("wamp.error.no_matching_auth_method", 1000).await;
}

async fn check_frame(subprotocol: &str, opcode: Opcode, payload: &[u8]) {
    let node = node();
    let mut client = node.session_in(subprotocol).await;
    client.send_frame(opcode, payload).await;
    client.expect_abort(VIOLATION, 1002).await;
}

#[tokio::test]
async fn the_wrong_sort_of_frame() {
    check_frame("wamp.2.json", Opcode::Binary, br#"[32,1,{},"t"]"#).await;
    check_frame("wamp.2.msgpack", Opcode::Text, b"[]").await;
    check_frame("wamp.2.cbor", Opcode::Text, b"[]").await;
}

#[tokio::test]
async fn batches_that_are_none() {
    check_frame("wamp.2.json.batched", Opcode::Text, br#"[32,1,{},"t"]"#).await;
    check_frame("wamp.2.json.batched", Opcode::Text, b"").await;
    check_frame("wamp.2.msgpack.batched", Opcode::Binary, b"\0\0\0\xffabc").await;
    check_frame("wamp.2.cbor.batched", Opcode::Binary, b"\0\0").await;
    check_frame("wamp.2.cbor", Opcode::Binary, b"\xff").await;
    check_frame("wamp.2.msgpack", Opcode::Binary, b"\xc1").await;
}

#[tokio::test]
async fn what_comes_behind_a_violation_is_not_obeyed() {
    let node = node();
    let mut witness = node.session().await;
    witness.subscribe("t").await;
    let mut client = node.session().await;
    // All in one write: the violation, a publication, and the client's own Close.
    let mut octets = Vec::new();
    for (opcode, payload) in [
        (Opcode::Text, &b"nonsense"[..]),
        (Opcode::Text, br#"[16,1,{},"t"]"#),
        (Opcode::Close, &1002_u16.to_be_bytes()),
    ] {
        octets.extend(stentor_websocket::frame::masked(opcode, payload, [9, 9, 9, 9]));
    }
    client.send_octets(octets).await;
    client.expect(3).await;
    assert!(matches!(client.frame().await, Frame::Close(1002, _)));
    assert_eq!(client.frame().await, Frame::End);
    publish_marker(&node, &mut witness).await;
}

async fn publish_marker(node: &Node, witness: &mut Client) {
    let id = node.session().await.publish("t", json!(["marker"])).await;
    let event: Value = witness.expect(36).await;
    assert_eq!(event[2], id);
}

#[tokio::test]
async fn strangers_may_say_little() {
    let node = node();
    let long = json!([1, "realm1", {"roles": {"caller": {}}, "agent": "x".repeat(100_000)}]).to_string();
    let mut stranger = node.socket(Offer::default()).await;
    stranger.send(&long).await;
    stranger.expect_close(1009).await;
    let mut subscriber = node.session().await;
    subscriber.subscribe("t").await;
    let text = "x".repeat(1_000_000);
    let id = node.session().await.publish("t", json!([text])).await;
    let event = subscriber.expect(36).await;
    assert_eq!((&event[2], &event[4]), (&json!(id), &json!([text])));
}
