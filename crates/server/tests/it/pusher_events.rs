//! What a POST becomes at a subscriber: the EVENT octet by octet, and who gets one.

use serde_json::json;

use crate::house::{publisher, pusher, start, web};

/// Posts a body for topic `t` and compares everything after the publication id of the EVENT with `rest`.
async fn check(rows: &[(&str, &str)]) {
    let node = start(&web(json!({"push": pusher(json!({}))})));
    let mut subscriber = node.session().await;
    let subscription = subscriber.subscribe("t").await;
    let mut http = node.http().await;
    for (body, rest) in rows {
        let reply = http.post("/push", &[], body.as_bytes()).await;
        assert_eq!(reply.status, 202, "{body}: {}", reply.text());
        let expected = format!("[36,{subscription},{},{rest}]", reply.id());
        assert_eq!(subscriber.text().await, expected, "{body}");
    }
}

#[tokio::test]
async fn the_payload_arrives_as_it_was_written() {
    check(&[
        (r#"{"topic":"t"}"#, "{}"),
        (r#"{"topic":"t","args":["Hello, world"]}"#, r#"{},["Hello, world"]"#),
        (r#"{"topic":"t","kwargs":{"a":1}}"#, r#"{},[],{"a":1}"#),
        (r#"{"topic":"t","args":[],"kwargs":{"a":1}}"#, r#"{},[],{"a":1}"#),
        (r#"{"topic":"t","args":null,"kwargs":null,"options":null}"#, "{}"),
        (r#"{"topic":"t","args":[],"kwargs":{}}"#, "{}"),
        (r#"{"topic":"t","kwargs":{"options":1,"topic":2,"self":3}}"#, r#"{},[],{"options":1,"topic":2,"self":3}"#),
        (
            r#"{"topic":"t","args":[123456789012345678901234567890,1.0,-0.0,9007199254740993]}"#,
            "{},[123456789012345678901234567890,1.0,-0.0,9007199254740993]",
        ),
        ("{\"topic\":\"t\",\"args\":[\"\u{2028}\u{1f600}\"]}", "{},[\"\u{2028}\u{1f600}\"]"),
        (r#"{"topic":"t","args":["\u00e9","\ud83d\ude00"]}"#, r#"{},["\u00e9","\ud83d\ude00"]"#),
        (r#"{"topic":"t","topic":"t","args":[1],"args":[2]}"#, "{},[2]"),
        (r#"{"topic":"t","unknown":[1],"options":{"unknown":1,"acknowledge":false}}"#, "{}"),
        (r#"{"topic":"t","options":{"exclude":1}}"#, "{}"),
        (r#"{"topic":"t","args":["\u0000aGVsbG8="]}"#, r#"{},["\u0000aGVsbG8="]"#),
    ])
    .await;
}

#[tokio::test]
async fn blanks_around_values_do_no_harm() {
    let node = start(&web(json!({"push": pusher(json!({}))})));
    let mut subscriber = node.session().await;
    subscriber.subscribe("t").await;
    let reply = node.post("/push", " \r\n{ \"topic\" : \"t\" , \"args\" : [ 1 , { \"a\" : null } ] }\n ").await;
    assert_eq!(reply.status, 202);
    let event = subscriber.expect(36).await;
    assert_eq!(event[4], json!([1, {"a": null}]));
}

#[tokio::test]
async fn the_two_names_have_their_own_success() {
    let node = start(&web(json!({"push": pusher(json!({})), "publish": publisher(json!({}))})));
    for (target, status) in [("/push", 202), ("/publish", 200)] {
        let reply = node.post(target, r#"{"topic":"t"}"#).await;
        assert_eq!(reply.status, status);
        assert!((1..=1 << 53).contains(&reply.id()));
        assert_eq!(reply.header("content-type"), Some("application/json; charset=UTF-8"));
        assert_eq!(reply.header("cache-control"), Some("no-store, no-cache, must-revalidate, max-age=0"));
        assert_eq!(reply.header("content-length"), Some(&*reply.body.len().to_string()));
        assert_eq!(reply.header("access-control-allow-origin"), None);
    }
}

#[tokio::test]
async fn a_service_answers_below_its_path() {
    let node = start(&web(json!({"push": pusher(json!({}))})));
    for (target, status) in [
        ("/push", 202),
        ("/push/", 202),
        ("/push/foo/bar", 202),
        ("/push?timestamp=2014-07-08T10:11:12.123Z&seq=1", 202),
        ("/pushed", 404),
        ("/", 404),
        ("/PUSH", 404),
    ] {
        assert_eq!(node.post(target, r#"{"topic":"t"}"#).await.status, status, "{target}");
    }
}

#[tokio::test]
async fn a_pusher_on_the_root_leaves_the_other_paths_alone() {
    let node = start(&web(json!({"/": pusher(json!({}))})));
    let mut subscriber = node.session().await;
    subscriber.subscribe("t").await;
    for target in ["/", "/anything", "/anything/else"] {
        let id = node.post(target, r#"{"topic":"t"}"#).await.id();
        assert_eq!(subscriber.expect(36).await[2], id);
    }
}

#[tokio::test]
async fn put_publishes_like_post() {
    let node = start(&web(json!({"push": pusher(json!({}))})));
    let mut http = node.http().await;
    http.send(crate::http::request("PUT", "/push", &[], br#"{"topic":"t"}"#)).await;
    assert_eq!(http.reply().await.status, 202);
}
