//! The caller: one POST, one call, one answer.

use serde_json::{Value, json};

use crate::house::{Node, start, web};
use crate::http::post;

fn node() -> Node {
    start(&web(json!({
        "call": {"type": "caller", "realm": "realm1", "role": "anonymous"},
        "narrow": {"type": "caller", "realm": "realm1", "role": "narrow"},
        "open": {"type": "caller", "realm": "realm1", "role": "open", "options": {"cors": ["*"]}},
        "signed": {"type": "caller", "realm": "realm1", "role": "anonymous", "options": {"key": "k", "secret": "s"}},
    })))
}

/// Posts a call; the callee checks what arrives and answers; the reply is compared.
async fn check(target: &str, call: Value, payload: &[Value], answer: impl Fn(u64) -> Value, status: u16, body: Value) {
    let node = node();
    let mut callee = node.session().await;
    callee.register("com.p").await;
    let mut http = node.http().await;
    http.send(post(target, &[], call.to_string().as_bytes())).await;
    let invocation = callee.expect(68).await;
    assert_eq!(&invocation.as_array().unwrap()[4..], payload);
    callee.send(answer(invocation[1].as_u64().unwrap())).await;
    let reply = http.reply().await;
    assert_eq!((reply.status, reply.json()), (status, body));
    assert_eq!(reply.header("content-type"), Some("application/json; charset=UTF-8"));
}

#[tokio::test]
async fn results_and_errors() {
    let call = |rest: Value| {
        let mut call = json!({"procedure": "com.p"});
        call.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        call
    };
    check("/call", call(json!({})), &[], |id| json!([70, id, {}]), 200, json!({"args": []})).await;
    check(
        "/call/",
        call(json!({"args": [1, "a"]})),
        &[json!([1, "a"])],
        |id| json!([70, id, {}, [5]]),
        200,
        json!({"args": [5]}),
    )
    .await;
    check(
        "/call",
        call(json!({"kwargs": {"a": null}})),
        &[json!([]), json!({"a": null})],
        |id| json!([70, id, {}, [1, 2], {"b": "c"}]),
        200,
        json!({"args": [1, 2], "kwargs": {"b": "c"}}),
    )
    .await;
    check(
        "/call",
        call(json!({})),
        &[],
        |id| json!([8, 68, id, {}, "com.out_of_stock", ["sorry"], {"left": 0}]),
        422,
        json!({"error": "com.out_of_stock", "args": ["sorry"], "kwargs": {"left": 0}}),
    )
    .await;
    for (uri, status) in [
        ("wamp.error.runtime_error", 502),
        ("wamp.error.not_authorized", 403),
        ("wamp.error.invalid_argument", 400),
        ("wamp.error.canceled", 503),
    ] {
        let body = json!({"error": uri, "args": [], "kwargs": {}});
        check("/call", call(json!({})), &[], |id| json!([8, 68, id, {}, uri]), status, body).await;
    }
}

#[tokio::test]
async fn refusals() {
    let node = node();
    for (target, body, status, field) in [
        ("/call", "{}", 400, Some("procedure")),
        ("/call", r#"{"procedure":5}"#, 400, Some("procedure")),
        ("/call", r#"{"procedure":"p","args":{}}"#, 400, Some("args")),
        ("/call", "", 400, None),
        ("/call", r#"{"procedure":"com.nobody"}"#, 404, None),
        ("/call", r#"{"procedure":"a b"}"#, 400, None),
        ("/narrow", r#"{"procedure":"com.no.x"}"#, 403, None),
        ("/narrow", r#"{"procedure":"com.yes.x"}"#, 404, None),
        ("/signed", r#"{"procedure":"com.p"}"#, 400, Some("key")),
    ] {
        let reply = node.post(target, body).await;
        assert_eq!(reply.refusal(), (status, field.map(str::to_owned)), "{body}: {}", reply.text());
    }
}

#[tokio::test]
async fn meta_procedures_can_be_called() {
    let node = node();
    let client = node.session().await;
    let reply = node.post("/call", r#"{"procedure":"wamp.session.count"}"#).await;
    assert_eq!((reply.status, reply.json()), (200, json!({"args": [1]})));
    let reply = node.post("/call", r#"{"procedure":"wamp.session.list"}"#).await;
    assert_eq!(reply.json(), json!({"args": [[client.id]]}));
}

#[tokio::test]
async fn a_callee_that_vanishes_is_an_error_at_once() {
    let node = node();
    let mut callee = node.session().await;
    callee.register("com.p").await;
    let mut http = node.http().await;
    http.send(post("/call", &[], br#"{"procedure":"com.p"}"#)).await;
    callee.expect(68).await;
    drop(callee);
    let reply = http.reply().await;
    assert_eq!((reply.status, &reply.json()["error"]), (503, &json!("wamp.error.canceled")));
    assert_eq!(reply.header("retry-after"), Some("1"));
}

#[tokio::test]
async fn results_cross_serializers() {
    let node = node();
    let mut callee = node.session_in("wamp.2.cbor").await;
    callee.register("com.p").await;
    let mut http = node.http().await;
    http.send(post("/call", &[], br#"{"procedure":"com.p","args":[1.5,"\u00e9"]}"#)).await;
    let invocation = callee.expect(68).await;
    assert_eq!(invocation[4], json!([1.5, "é"]));
    callee.send(json!([70, invocation[1], {}, ["\u{0}aGVsbG8=", {"a": [null, true]}]])).await;
    assert_eq!(http.reply().await.json(), json!({"args": ["\u{0}aGVsbG8=", {"a": [null, true]}]}));
}

#[tokio::test]
async fn calls_of_several_clients_do_not_mix() {
    let node = node();
    let mut callee = node.session().await;
    callee.register("com.p").await;
    let mut clients = Vec::new();
    let mut invocations = Vec::new();
    for n in 0..20 {
        let mut http = node.http().await;
        http.send(post("/call", &[], json!({"procedure": "com.p", "args": [n]}).to_string().as_bytes())).await;
        invocations.push(callee.expect(68).await);
        clients.push(http);
    }
    for invocation in invocations.iter().rev() {
        callee.send(json!([70, invocation[1], {}, invocation[4]])).await;
    }
    for (n, http) in clients.iter_mut().enumerate() {
        assert_eq!(http.reply().await.json(), json!({"args": [n]}));
    }
}

#[tokio::test]
async fn the_caller_is_told_where_the_role_discloses_it() {
    let node = node();
    let mut callee = node.session().await;
    callee.register("com.p").await;
    let mut http = node.http().await;
    http.send(post("/open", &[("Origin", "https://a.example")], br#"{"procedure":"com.p"}"#)).await;
    let invocation = callee.expect(68).await;
    assert_eq!(invocation[3]["caller_authrole"], "open");
    callee.send(json!([70, invocation[1], {}])).await;
    assert!(http.reply().await.header("access-control-allow-origin").is_some());
}

#[tokio::test]
async fn a_client_that_hangs_up_ends_its_call() {
    let node = node();
    let mut callee = node.socket(crate::client::Offer::default()).await;
    let roles = json!({"callee": {"features": {"call_canceling": true}}});
    callee.send(json!([1, "realm1", {"roles": roles}])).await;
    callee.expect(2).await;
    callee.register("com.p").await;
    let mut http = node.http().await;
    http.send(post("/call", &[], br#"{"procedure":"com.p"}"#)).await;
    let invocation = callee.expect(68).await;
    drop(http);
    let interrupt = callee.expect(69).await;
    assert_eq!(interrupt[1], invocation[1]);
}
