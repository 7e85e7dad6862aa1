//! Publication options over HTTP: who gets the event, what is kept, what is told about the publisher.

use serde_json::{Value, json};

use crate::client::Client;
use crate::house::{Node, pusher, start, web};

/// A node where `joe` and `ann` come with tickets, in the roles `member` and `open`, and others anonymously.
fn node() -> Node {
    let mut config = web(json!({
        "push": pusher(json!({})),
        "open": {"type": "publisher", "realm": "realm1", "role": "open"},
    }));
    config["workers"][0]["transports"][0]["paths"]["ws"]["auth"] = json!({
        "anonymous": {"type": "static", "role": "anonymous"},
        "ticket": {"type": "static", "principals": {
            "joe": {"ticket": "joe's ticket", "role": "member"},
            "ann": {"ticket": "ann's ticket", "role": "open"},
        }},
    });
    start(&config)
}

async fn principal(node: &Node, name: &str) -> Client {
    let mut client = node.socket(crate::client::Offer::default()).await;
    let details = json!({"roles": {"subscriber": {}}, "authmethods": ["ticket"], "authid": name});
    client.send(json!([1, "realm1", details])).await;
    assert_eq!(client.expect(4).await[1], "ticket");
    client.send(json!([5, format!("{name}'s ticket"), {}])).await;
    client.id = client.expect(2).await[1].as_u64().unwrap();
    client
}

#[tokio::test]
async fn receivers_are_chosen_by_session_authid_and_authrole() {
    let node = node();
    let mut all = [principal(&node, "joe").await, principal(&node, "ann").await, node.session().await];
    for client in &mut all {
        client.subscribe("t").await;
    }
    let [joe, ann, anonymous] = [all[0].id, all[1].id, all[2].id];
    for (options, expected) in [
        (json!({}), [true, true, true]),
        (json!({"exclude": [joe, ann]}), [false, false, true]),
        (json!({"exclude": joe}), [false, true, true]),
        (json!({"eligible": [joe]}), [true, false, false]),
        (json!({"eligible": []}), [false, false, false]),
        (json!({"eligible": [joe, anonymous], "exclude": [joe]}), [false, false, true]),
        (json!({"exclude_authid": ["joe"]}), [false, true, true]),
        (json!({"eligible_authid": ["joe", "ann"]}), [true, true, false]),
        (json!({"exclude_authrole": ["member", "anonymous"]}), [false, true, false]),
        (json!({"eligible_authrole": ["anonymous"]}), [false, false, true]),
        (json!({"eligible_authrole": ["member", "open"], "exclude_authid": ["ann"]}), [true, false, false]),
        (json!({"exclude_me": false}), [true, true, true]),
    ] {
        let id = node.post("/push", &json!({"topic": "t", "options": options}).to_string()).await.id();
        // Whoever does not get the first event gets the second one first.
        let marker = node.post("/push", r#"{"topic":"t"}"#).await.id();
        for (client, expected) in all.iter_mut().zip(expected) {
            if expected {
                assert_eq!(client.expect(36).await[2], id, "{options}");
            }
            assert_eq!(client.expect(36).await[2], marker, "{options}");
        }
    }
}

#[tokio::test]
async fn the_last_retained_event_waits_for_subscribers() {
    let node = node();
    let retained = |n: u64| json!({"topic": "r", "args": [n], "options": {"retain": true}}).to_string();
    node.post("/push", &retained(1)).await.id();
    let id = node.post("/push", &retained(2)).await.id();
    node.post("/push", r#"{"topic":"r","args":[3]}"#).await.id();
    let mut subscriber = node.session().await;
    let subscription = subscriber.subscribe_with(json!({"get_retained": true}), "r").await;
    assert_eq!(subscriber.text().await, format!(r#"[36,{subscription},{id},{{"retained":true}},[2]]"#));
    let mut indifferent = node.session().await;
    indifferent.subscribe("r").await;
    let next = node.post("/push", r#"{"topic":"r"}"#).await.id();
    assert_eq!(indifferent.expect(36).await[2], next);
    assert_eq!(subscriber.expect(36).await[2], next);
}

#[tokio::test]
async fn the_publisher_is_told_where_the_role_discloses_it() {
    let node = node();
    let mut subscriber = node.session().await;
    subscriber.subscribe("t").await;
    node.post("/push", r#"{"topic":"t"}"#).await.id();
    assert_eq!(subscriber.expect(36).await[3], json!({}));
    let mut publishers = Vec::new();
    for options in [json!({}), json!({"disclose_me": true})] {
        node.post("/open", &json!({"topic": "t", "options": options}).to_string()).await.id();
        let details = subscriber.expect(36).await[3].clone();
        assert_eq!(details["publisher_authrole"], "open");
        assert_eq!(details["publisher_authid"], Value::Null);
        publishers.push(details["publisher"].as_u64().unwrap());
    }
    // One session stands for all requests of a path.
    assert_eq!(publishers[0], publishers[1]);
    let reply = node.post("/push", r#"{"topic":"t","options":{"disclose_me":true}}"#).await;
    assert_eq!(reply.refusal(), (403, None));
    assert_eq!(reply.json()["error"], "wamp.error.option_disallowed.disclose_me");
}
