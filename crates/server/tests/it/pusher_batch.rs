//! Many publications in one request.

use serde_json::{Value, json};

use crate::house::{Node, publisher, pusher, start, web};
use crate::http::request;

fn node() -> Node {
    start(&web(json!({"push": pusher(json!({})), "publish": publisher(json!({}))})))
}

/// Posts with this content type; checks the status, the sort of each answer, and which items arrive in which order.
async fn check(node: &Node, target: &str, media: &str, body: &str, status: u16, items: &[Result<(), &str>]) {
    let mut subscriber = node.session().await;
    subscriber.subscribe("t").await;
    let mut http = node.http().await;
    http.send(request("POST", target, &[("Content-Type", media)], body.as_bytes())).await;
    let reply = http.reply().await;
    assert_eq!(reply.status, status, "{body}: {}", reply.text());
    let answers = reply.json();
    assert_eq!(answers.as_array().unwrap().len(), items.len());
    for (answer, item) in answers.as_array().unwrap().iter().zip(items) {
        match item {
            Ok(()) => assert_eq!(subscriber.expect(36).await[2], answer["id"], "{body}"),
            Err(field) => {
                assert!(answer["error"].is_string());
                assert_eq!(answer["kwargs"]["field"].as_str().unwrap_or("-"), *field, "{body}");
            }
        }
    }
}

#[tokio::test]
async fn arrays_and_lines() {
    let node = node();
    let (array, lines) = ("application/json", "application/x-ndjson");
    let ok = Ok(());
    check(&node, "/push", array, r#"[{"topic":"t"},{"topic":"t"},{"topic":"t"}]"#, 202, &[ok; 3]).await;
    check(&node, "/publish", array, r#"[{"topic":"t"}]"#, 200, &[ok]).await;
    check(&node, "/push", lines, "{\"topic\":\"t\"}\n{\"topic\":\"t\"}\n", 202, &[ok; 2]).await;
    check(&node, "/push", lines, "{\"topic\":\"t\"}", 202, &[ok]).await;
    let mixed = r#"[{"topic":"t"},{},{"topic":"t","args":[NaN]},{"topic":"a b"},{"topic":"t"}]"#;
    // The parser of the whole does not go on behind NaN; line by line it does.
    let reply = node.post("/push", mixed).await;
    assert_eq!(reply.status, 400, "{}", reply.text());
    let mixed = r#"[{"topic":"t"},{},7,{"topic":"t","args":["\ud800"]},{"topic":"a b"},{"topic":"t"}]"#;
    check(&node, "/push", array, mixed, 207, &[ok, Err("topic"), Err("-"), Err("args"), Err("-"), ok]).await;
    let mixed = "{\"topic\":\"t\"}\nnonsense\n{\"topic\":\"t\",\"args\":[NaN]}\n{\"topic\":\"t\"}";
    check(&node, "/push", lines, mixed, 207, &[ok, Err("-"), Err("args"), ok]).await;
    check(&node, "/push", array, "[{},{}]", 400, &[Err("topic"); 2]).await;
}

#[tokio::test]
async fn refusals_of_the_whole() {
    let node = node();
    for body in ["[]", "[{\"topic\":\"t\"}", "[{\"topic\":\"t\"}] x", &"[".repeat(80_000)] {
        let reply = node.post("/push", body).await;
        assert_eq!(reply.refusal().0, 400, "{body:.40}");
    }
    let many = format!("[{}{{}}]", "{},".repeat(10_000));
    assert_eq!(node.post("/push", &many).await.refusal().0, 413);
    assert_eq!(node.running.meters().publications.get(), 0);
}

#[tokio::test]
async fn a_large_batch_arrives_whole_and_in_order() {
    let node = node();
    let mut subscriber = node.session().await;
    subscriber.subscribe("t").await;
    let items: Vec<Value> = (0..5000).map(|n| json!({"topic": "t", "args": [n]})).collect();
    let reply = node.post("/push", &json!(items).to_string()).await;
    assert_eq!(reply.status, 202);
    for n in 0..5000 {
        assert_eq!(subscriber.expect(36).await[4], json!([n]));
    }
}
