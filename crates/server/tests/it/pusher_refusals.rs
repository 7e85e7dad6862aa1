//! Each mistake of a client has its status, names the field at fault, and publishes nothing.

use serde_json::{Value, json};

use crate::house::{pusher, start, web};
use crate::http::request;

/// Posts to a pusher with these options and compares status and field.
async fn check(options: Value, rows: &[(&str, &[u8], u16, Option<&str>)]) {
    let node = start(&web(json!({"push": pusher(options)})));
    for (query, body, status, field) in rows {
        let reply = node.http().await.post(&format!("/push{query}"), &[], body).await;
        let body = String::from_utf8_lossy(body);
        assert_eq!(reply.refusal(), (*status, field.map(str::to_owned)), "{query} {body:.80}: {}", reply.text());
    }
    assert_eq!(node.running.meters().publications.get(), 0);
    assert_eq!(node.running.meters().submissions_refused.get(), rows.len() as u64);
}

#[tokio::test]
async fn bodies() {
    let deep = format!(r#"{{"topic":"t","args":{}{}}}"#, "[".repeat(80_000), "]".repeat(80_000));
    let long = format!(r#"{{"topic":"{}"}}"#, "a".repeat(70_000));
    check(
        json!({}),
        &[
            ("", b"", 400, None),
            ("", b"   ", 400, None),
            ("", b"\xef\xbb\xbf{\"topic\":\"t\"}", 400, None),
            ("", b"{\"topic\":\"t\",\"args\":[\"\xff\"]}", 400, None),
            ("", b"nonsense", 400, None),
            ("", br#"{"topic":"t"} x"#, 400, None),
            ("", br#"{"topic":"t","#, 400, None),
            ("", br#""topic""#, 400, None),
            ("", b"5", 400, None),
            ("", b"null", 400, None),
            ("", b"{}", 400, Some("topic")),
            ("", br#"{"topic":null}"#, 400, Some("topic")),
            ("", br#"{"topic":5}"#, 400, Some("topic")),
            ("", br#"{"topic":""}"#, 400, Some("topic")),
            ("", long.as_bytes(), 400, Some("topic")),
            ("", br#"{"topic":"t","args":"abc"}"#, 400, Some("args")),
            ("", br#"{"topic":"t","args":0}"#, 400, Some("args")),
            ("", br#"{"topic":"t","args":{"k":1}}"#, 400, Some("args")),
            ("", br#"{"topic":"t","kwargs":[]}"#, 400, Some("kwargs")),
            ("", br#"{"topic":"t","kwargs":"a"}"#, 400, Some("kwargs")),
            ("", br#"{"topic":"t","options":[]}"#, 400, Some("options")),
            ("", br#"{"topic":"t","options":{"exclude":["a"]}}"#, 400, Some("options.exclude[0]")),
            ("", br#"{"topic":"t","options":{"exclude":"a"}}"#, 400, Some("options.exclude")),
            ("", br#"{"topic":"t","options":{"eligible":[1,0]}}"#, 400, Some("options.eligible[1]")),
            ("", br#"{"topic":"t","options":{"eligible_authid":[1]}}"#, 400, Some("options.eligible_authid[0]")),
            ("", br#"{"topic":"t","options":{"retain":1}}"#, 400, Some("options.retain")),
            ("", br#"{"topic":"t","args":[NaN]}"#, 400, Some("args")),
            ("", br#"{"topic":"t","args":[-Infinity]}"#, 400, Some("args")),
            ("", br#"{"topic":"t","kwargs":{"a":1e999}}"#, 400, Some("kwargs")),
            ("", br#"{"topic":"t","args":["\ud800"]}"#, 400, Some("args")),
            ("", br#"{"topic":"t","kwargs":{"\udc00":1}}"#, 400, Some("kwargs")),
            ("", deep.as_bytes(), 400, Some("args")),
        ],
    )
    .await;
}

#[tokio::test]
async fn topics_that_the_router_refuses() {
    let node = start(&web(json!({
        "push": pusher(json!({})),
        "narrow": {"type": "pusher", "realm": "realm1", "role": "narrow"},
    })));
    for (target, topic, status, error) in [
        ("/push", "a b", 400, "wamp.error.invalid_uri"),
        ("/push", "a#b", 400, "wamp.error.invalid_uri"),
        ("/push", "a..b", 400, "wamp.error.invalid_uri"),
        ("/push", "a.b.", 400, "wamp.error.invalid_uri"),
        ("/push", ".a", 400, "wamp.error.invalid_uri"),
        ("/push", "wamp.session.on_join", 400, "wamp.error.invalid_uri"),
        ("/narrow", "com.no.x", 403, "wamp.error.not_authorized"),
    ] {
        let reply = node.post(target, &json!({"topic": topic}).to_string()).await;
        assert_eq!(reply.refusal(), (status, None), "{topic}: {}", reply.text());
        assert_eq!(reply.json()["error"], error, "{topic}");
        assert!(reply.json()["args"][0].is_string(), "{}", reply.text());
    }
    for (target, topic) in [("/push", "crossbar.x"), ("/push", "com.Ünï.X-1"), ("/narrow", "com.yes.x")] {
        assert_eq!(node.post(target, &json!({"topic": topic}).to_string()).await.status, 202, "{topic}");
    }
}

#[tokio::test]
async fn query_fields_of_unsigned_requests() {
    let body = br#"{"topic":"t"}"#;
    check(
        json!({"timestamp_delta_limit": 10}),
        &[
            ("?timestamp=xx", body, 400, Some("timestamp")),
            ("?timestamp=", body, 400, Some("timestamp")),
            ("?timestamp=2014-07-08T10:11:12.123%2B00:00", body, 400, Some("timestamp")),
            ("?timestamp=2014-07-08T10:11:12.123Z", body, 400, Some("timestamp")),
            ("?timestamp=2999-07-08T10:11:12.123Z", body, 400, Some("timestamp")),
            ("?seq=x", body, 400, Some("seq")),
            ("?seq=", body, 400, Some("seq")),
            ("?nonce=1.5", body, 400, Some("nonce")),
        ],
    )
    .await;
}

#[tokio::test]
async fn methods() {
    let node = start(&web(json!({"push": pusher(json!({}))})));
    for method in ["GET", "DELETE", "PATCH", "PURGE"] {
        let mut http = node.http().await;
        http.send(request(method, "/push", &[], b"")).await;
        let reply = http.reply().await;
        assert_eq!(reply.refusal(), (405, None), "{method}");
        assert_eq!(reply.header("allow"), Some("POST, PUT"));
        assert!(reply.text().contains(method));
    }
    let mut http = node.http().await;
    http.send(crate::http::head("HEAD", "/push", &[])).await;
    let reply = http.reply_head().await;
    assert_eq!((reply.status, reply.header("allow")), (405, Some("POST, PUT")));
    // No body came with the answer to HEAD, or this would not be the next answer.
    http.send(crate::http::head("OPTIONS", "/push", &[])).await;
    let reply = http.reply().await;
    assert_eq!((reply.status, reply.text()), (204, ""));
    assert_eq!(reply.header("allow"), Some("POST, PUT, OPTIONS"));
    assert_eq!(reply.header("access-control-allow-methods"), None);
}

#[tokio::test]
async fn content_types() {
    let node = start(&web(json!({"push": pusher(json!({}))})));
    let mut http = node.http().await;
    for (header, status) in [
        (&[][..], 202),
        (&[("Content-Type", "application/json; charset=utf-8")], 202),
        (&[("content-type", "APPLICATION/JSON;charset=\"UTF8\"")], 202),
        (&[("Content-Type", "text/plain")], 415),
        (&[("Content-Type", "application/x-www-form-urlencoded")], 415),
        (&[("Content-Type", "application/json; charset=latin-1")], 415),
        (&[("Content-Type", "application/json"), ("Content-Type", "application/json")], 415),
    ] {
        http.send(request("POST", "/push", header, br#"{"topic":"t"}"#)).await;
        let reply = http.reply().await;
        assert_eq!(reply.status, status, "{header:?}: {}", reply.text());
        if status == 415 {
            assert_eq!(reply.refusal(), (415, Some("Content-Type".to_owned())));
            assert_eq!(reply.header("accept"), Some("application/json, application/x-ndjson"));
        }
    }
}
