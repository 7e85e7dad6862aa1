//! Calls and pattern subscriptions between sessions, on the wire.

use serde_json::{Value, json};
use stentor_websocket::frame::Opcode;

use crate::client::{Client, Frame, Offer};
use crate::house::{Node, pusher, start, web};

fn node() -> Node {
    start(&web(json!({
        "push": pusher(json!({})),
        "call": {"type": "caller", "realm": "realm1", "role": "anonymous"},
    })))
}

#[tokio::test]
async fn a_call_goes_there_and_back_between_serializers() {
    let node = node();
    for (of_caller, of_callee) in [("wamp.2.json", "wamp.2.msgpack"), ("wamp.2.cbor.batched", "wamp.2.json")] {
        let mut caller = node.session_in(of_caller).await;
        let mut callee = node.session_in(of_callee).await;
        let registration = callee.register("com.add").await;
        caller.send(json!([48, 1, {}, "com.add", [2, 3], {"k": null}])).await;
        let invocation = callee.expect(68).await;
        assert_eq!(
            invocation.as_array().unwrap()[2..],
            [json!(registration), json!({}), json!([2, 3]), json!({"k": null})]
        );
        callee.send(json!([70, invocation[1], {}, [5]])).await;
        assert_eq!(caller.message().await, json!([50, 1, {}, [5]]));
        caller.send(json!([48, 2, {}, "com.add"])).await;
        let invocation = callee.expect(68).await;
        callee.send(json!([8, 68, invocation[1], {}, "com.bad", ["why"]])).await;
        assert_eq!(caller.message().await, json!([8, 48, 2, {}, "com.bad", ["why"]]));
        let request = callee.request();
        callee.send(json!([66, request, registration])).await;
        assert_eq!(callee.message().await, json!([67, request]));
        caller.send(json!([48, 3, {}, "com.add"])).await;
        assert_eq!(caller.expect(8).await[4], "wamp.error.no_such_procedure");
    }
}

#[tokio::test]
async fn a_procedure_has_one_callee_until_it_leaves() {
    let node = node();
    let mut first = node.session().await;
    let mut second = node.session().await;
    first.register("com.p").await;
    let request = second.request();
    second.send(json!([64, request, {}, "com.p"])).await;
    assert_eq!(second.expect(8).await[4], "wamp.error.procedure_already_exists");
    // A call under way ends with an error when the callee goes.
    let request = second.request();
    second.send(json!([48, request, {}, "com.p"])).await;
    first.expect(68).await;
    drop(first);
    let error = second.expect(8).await;
    assert_eq!((&error[1], &error[2], &error[4]), (&json!(48), &json!(request), &json!("wamp.error.canceled")));
    second.register("com.p").await;
}

#[tokio::test]
async fn progressive_results_and_canceling() {
    let node = node();
    let features = |role: &str| json!({role: {"features": {"progressive_call_results": true, "call_canceling": true}}});
    let mut caller = node.socket(Offer::default()).await;
    caller.send(json!([1, "realm1", {"roles": features("caller")}])).await;
    caller.expect(2).await;
    let mut callee = node.socket(Offer::default()).await;
    callee.send(json!([1, "realm1", {"roles": features("callee")}])).await;
    callee.expect(2).await;
    callee.register("com.p").await;
    caller.send(json!([48, 1, {"receive_progress": true}, "com.p"])).await;
    let invocation = callee.expect(68).await;
    assert_eq!(invocation[3]["receive_progress"], true);
    for n in 0..3 {
        callee.send(json!([70, invocation[1], {"progress": true}, [n]])).await;
        assert_eq!(caller.message().await, json!([50, 1, {"progress": true}, [n]]));
    }
    callee.send(json!([70, invocation[1], {}])).await;
    assert_eq!(caller.message().await, json!([50, 1, {}]));
    caller.send(json!([48, 2, {}, "com.p"])).await;
    let invocation = callee.expect(68).await;
    caller.send(json!([49, 2, {"mode": "kill"}])).await;
    assert_eq!(callee.expect(69).await[1], invocation[1]);
    callee.send(json!([8, 68, invocation[1], {}, "wamp.error.canceled"])).await;
    assert_eq!(caller.expect(8).await[2], 2);
}

#[tokio::test]
async fn patterns_tell_the_topic() {
    let node = node();
    let mut subscriber = node.session().await;
    let exact = subscriber.subscribe("com.a.b").await;
    let prefix = subscriber.subscribe_with(json!({"match": "prefix"}), "com.a").await;
    let wildcard = subscriber.subscribe_with(json!({"match": "wildcard"}), "com..b").await;
    node.post("/push", r#"{"topic":"com.a.b"}"#).await.id();
    let mut seen = Vec::new();
    for _ in 0..3 {
        let event = subscriber.expect(36).await;
        seen.push((event[1].as_u64().unwrap(), event[3].clone()));
    }
    let topic = json!({"topic": "com.a.b"});
    for expected in [(exact, json!({})), (prefix, topic.clone()), (wildcard, topic)] {
        assert!(seen.contains(&expected), "{seen:?}");
    }
    node.post("/push", r#"{"topic":"com.x.b"}"#).await.id();
    assert_eq!(subscriber.expect(36).await[1], wildcard);
}

/// A MessagePack client that sends one array more than JSON can express: it holds not-a-number.
async fn send_nan(client: &mut Client, message: &Value) {
    let mut octets = Vec::new();
    let text = message.to_string();
    stentor_wamp::codec::transcode(
        stentor_wamp::codec::Serializer::Json,
        stentor_wamp::codec::Serializer::Msgpack,
        text.as_bytes(),
        &mut octets,
    )
    .unwrap();
    // The message ends with the list `["NaN"]`, which becomes a list of one double.
    let end = octets.len() - b"\x91\xa3NaN".len();
    assert_eq!(&octets[end..], b"\x91\xa3NaN");
    octets.truncate(end);
    octets.extend(b"\x91\xcb\x7f\xf8\0\0\0\0\0\0");
    client.send_frame(Opcode::Binary, &octets).await;
}

#[tokio::test]
async fn an_event_that_json_cannot_express_reaches_the_others() {
    let node = node();
    let mut publisher = node.session_in("wamp.2.msgpack").await;
    let mut json = node.session().await;
    let mut cbor = node.session_in("wamp.2.cbor").await;
    json.subscribe("t").await;
    cbor.subscribe("t").await;
    let request = publisher.request();
    send_nan(&mut publisher, &json!([16, request, {"acknowledge": true}, "t", ["NaN"]])).await;
    publisher.expect(17).await;
    let Frame::Binary(event) = cbor.frame().await else { panic!("not binary") };
    assert!(event.ends_with(b"\xfb\x7f\xf8\0\0\0\0\0\0"), "{event:x?}");
    let next = publisher.publish("t", json!([1])).await;
    assert_eq!(json.expect(36).await[2], next);
    assert_eq!(node.running.meters().events_unencodable.get(), 1);
}

#[tokio::test]
async fn a_result_that_json_cannot_express_is_an_error() {
    let node = node();
    let mut callee = node.session_in("wamp.2.msgpack").await;
    callee.register("com.p").await;
    let mut caller = node.session().await;
    caller.send(json!([48, 1, {}, "com.p"])).await;
    let invocation = callee.expect(68).await;
    send_nan(&mut callee, &json!([70, invocation[1], {}, ["NaN"]])).await;
    let error = caller.expect(8).await;
    assert_eq!((&error[1], &error[2]), (&json!(48), &json!(1)));
    // Over HTTP as well.
    let mut http = node.http().await;
    http.send(crate::http::post("/call", &[], br#"{"procedure":"com.p"}"#)).await;
    let invocation = callee.expect(68).await;
    send_nan(&mut callee, &json!([70, invocation[1], {}, ["NaN"]])).await;
    assert_eq!(http.reply().await.refusal().0, 502);
}

#[tokio::test]
async fn an_error_that_json_cannot_express_keeps_its_uri() {
    let node = node();
    let mut callee = node.session_in("wamp.2.msgpack").await;
    callee.register("com.p").await;
    let mut caller = node.session().await;
    caller.send(json!([48, 1, {}, "com.p"])).await;
    let invocation = callee.expect(68).await;
    send_nan(&mut callee, &json!([8, 68, invocation[1], {}, "com.bad", ["NaN"]])).await;
    let error = caller.expect(8).await;
    assert_eq!(error, json!([8, 48, 1, {}, "com.bad"]));
}

#[tokio::test]
async fn arguments_that_the_callee_cannot_be_told_are_an_error() {
    let node = node();
    let mut callee = node.session().await;
    callee.register("com.p").await;
    let mut caller = node.session_in("wamp.2.msgpack").await;
    send_nan(&mut caller, &json!([48, 1, {}, "com.p", ["NaN"]])).await;
    let error = caller.expect(8).await;
    assert_eq!((&error[1], &error[2]), (&json!(48), &json!(1)));
    caller.send(json!([48, 2, {}, "com.p", [1]])).await;
    assert_eq!(callee.expect(68).await[4], json!([1]));
}

#[tokio::test]
async fn a_meta_procedure_takes_few_arguments() {
    let node = start(&web(json!({})));
    let mut client = node.session().await;
    // Every one of them is a role that sessions may be counted by.
    for (roles, allowed) in [(vec!["anonymous"], true), (vec!["anonymous"; 100_000 / 12], false)] {
        let request = client.request();
        client.send(json!([48, request, {}, "wamp.session.count", [roles]])).await;
        let answer = client.message().await;
        if allowed {
            assert_eq!(answer, json!([50, request, {}, [1]]));
        } else {
            assert_eq!(answer.as_array().unwrap()[..3], [json!(8), json!(48), json!(request)]);
            assert_eq!(answer[4], "wamp.error.invalid_argument");
        }
    }
}
