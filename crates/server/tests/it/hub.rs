//! A hub from outside: subscriptions, publications, deliveries, and what is refused.

use std::num::NonZero;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use stentor_model::Secret;
use stentor_websub::signature::{Judgement, verify};

use crate::house::{Node, start, web};
use crate::http::{Reply, head, request};
use crate::receiver::{Got, Receiver, Say, polite};

pub(crate) const TOPIC: &str = "https://example.com/feed";

/// A node with a hub on `/hub` that lets everybody in, and its administration on `/admin`.
pub(crate) fn hub(options: Value) -> Value {
    let mut all = json!({
        "authenticator": {"type": "allow-all"},
        "publish": {},
        "allow_private_networks": true,
        "retry_delay_base": 10, "retry_delay_min": 1, "retry_delay_max": 50,
    });
    all.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
    let mut config = web(json!({
        "hub": {"type": "websub-hub", "options": all},
        "admin": {"type": "hub-admin", "token": ADMIN_TOKEN},
    }));
    config["store"] = json!({"type": "memory"});
    config
}

/// The same with a store in this file.
pub(crate) fn hub_in(file: &Path, options: Value) -> Value {
    let mut config = hub(options);
    config["store"] = json!({"type": "sqlite", "path": file});
    config
}

pub(crate) const ADMIN_TOKEN: &str = "a-token-of-the-administration";

fn form(fields: &[(&str, &str)]) -> String {
    let field = |(name, value): &(&str, &str)| format!("{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC));
    fields.iter().map(field).collect::<Vec<_>>().join("&")
}

/// A POST of any type to the hub.
pub(crate) async fn send(node: &Node, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
    let mut http = node.http().await;
    http.send(request("POST", target, headers, body)).await;
    http.reply().await
}

const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");
const JSON: (&str, &str) = ("Content-Type", "application/json");

pub(crate) async fn ask(node: &Node, fields: &[(&str, &str)]) -> Reply {
    send(node, "/hub", &[FORM], form(fields).as_bytes()).await
}

/// Subscribes to the usual topic, and waits until the subscription is in force.
pub(crate) async fn subscribe(node: &Node, receiver: &Receiver, more: &[(&str, &str)]) {
    subscribe_to(node, TOPIC, receiver, more).await;
}

pub(crate) async fn subscribe_to(node: &Node, topic: &str, receiver: &Receiver, more: &[(&str, &str)]) {
    let callback = receiver.url("/callback?mine=1");
    let mut fields = vec![("hub.mode", "subscribe"), ("hub.topic", topic), ("hub.callback", callback.as_str())];
    fields.extend(more);
    let before = subscriptions(node).await.len();
    let reply = ask(node, &fields).await;
    assert_eq!((reply.status, reply.text()), (202, ""));
    crate::house::soon("a subscription", async {
        while subscriptions(node).await.len() == before {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

pub(crate) async fn admin(node: &Node, method: &str, target: &str, body: &str) -> Reply {
    let mut http = node.http().await;
    let authorization = format!("Bearer {ADMIN_TOKEN}");
    http.send(request(method, target, &[("Authorization", &authorization), JSON], body.as_bytes())).await;
    http.reply().await
}

pub(crate) async fn subscriptions(node: &Node) -> Vec<Value> {
    let reply = admin(node, "GET", "/admin/hubs/hub/subscriptions", "").await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()["subscriptions"].as_array().unwrap().clone()
}

/// Offers a text as it is.
pub(crate) async fn offer(node: &Node, text: &str) -> Reply {
    let target = format!("/hub?topic={}", utf8_percent_encode(TOPIC, NON_ALPHANUMERIC));
    send(node, &target, &[("Content-Type", "text/plain;charset=UTF-8")], text.as_bytes()).await
}

/// The same, and it is taken.
pub(crate) async fn publish(node: &Node, text: &str) -> Value {
    let reply = offer(node, text).await;
    assert_eq!(reply.status, 202, "{}", reply.text());
    reply.json()
}

pub(crate) fn texts(posts: &[Got]) -> Vec<&str> {
    posts.iter().map(Got::text).collect()
}

#[tokio::test]
async fn a_webhook_arrives() {
    let (node, receiver) = (start(&hub(json!({}))), Receiver::start().await);
    subscribe(&node, &receiver, &[("hub.secret", "of ours")]).await;
    let question = &receiver.gets(1).await[0];
    assert!(question.target.starts_with("/callback?mine=1&hub.mode=subscribe&"), "{}", question.target);
    assert_eq!(question.parameter("hub.topic").as_deref(), Some(TOPIC));
    assert_eq!(question.parameter("hub.lease_seconds").as_deref(), Some("864000"));
    assert!(question.header("user-agent").unwrap().starts_with("Stentor/"));
    let first = publish(&node, "one").await;
    publish(&node, "two").await;
    let posts = receiver.posts(2).await;
    assert_eq!(texts(&posts), ["one", "two"]);
    let hub_url = format!("http://{}/hub", node.address(0));
    assert_eq!(posts[0].target, "/callback?mine=1");
    assert_eq!(posts[0].header("content-type"), Some("text/plain;charset=UTF-8"));
    assert_eq!(posts[0].header("link").unwrap(), format!("<{hub_url}>; rel=\"hub\", <{TOPIC}>; rel=\"self\""));
    assert_eq!(posts[0].header("stentor-publication").unwrap(), first["id"].to_string());
    assert_eq!(posts[0].header("stentor-attempt"), Some("1"));
    let sequences = posts.iter().map(|post| post.header("stentor-sequence").unwrap()).collect::<Vec<_>>();
    assert_eq!(sequences, ["1", "2"]);
    for post in &posts {
        let signature = post.header("x-hub-signature").unwrap();
        assert!(signature.starts_with("sha1="));
        assert_eq!(verify(signature, &Secret::new("of ours"), &post.body), Judgement::Genuine);
    }
    let seen = &subscriptions(&node).await[0];
    assert_eq!((&seen["has_secret"], &seen["state"]), (&json!(true), &json!("active")));
    assert!(!seen.to_string().contains("of ours"));
}

#[tokio::test]
async fn messages_of_the_reference_are_distributed() {
    let (node, receiver) = (start(&hub(json!({}))), Receiver::start().await);
    subscribe(&node, &receiver, &[]).await;
    let content = Receiver::with(|got, _| match got.target.as_str() {
        "/there" => Say::Status(200, "from there".to_owned()),
        _ => Say::Status(404, "an error page".to_owned()),
    })
    .await;
    let message = |more: Value| {
        let mut all = json!({"topic": TOPIC});
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        all.to_string()
    };
    let octets = [0_u8, 1, 255];
    for more in [
        json!({"contentBase64": STANDARD.encode(octets)}),
        json!({"contentBase64": STANDARD.encode("{}"), "contentType": "application/json"}),
        json!({"contentUrl": content.url("/there"), "contentBase64": STANDARD.encode("not this")}),
        json!({"contentUrl": content.url("/gone"), "contentBase64": STANDARD.encode("instead"), "contentType": "text/x"}),
    ] {
        let reply = send(&node, "/hub", &[JSON], message(more).as_bytes()).await;
        assert_eq!(reply.status, 202, "{}", reply.text());
    }
    let posts = receiver.posts(4).await;
    let found: Vec<_> = posts.iter().map(|post| (post.header("content-type").unwrap(), post.body.clone())).collect();
    assert_eq!(found[0], ("text/plain", octets.to_vec()));
    assert_eq!(found[1], ("application/json", b"{}".to_vec()));
    assert_eq!(found[2], ("application/octet-stream", b"from there".to_vec()));
    assert_eq!(found[3], ("text/x", b"instead".to_vec()));
    // The error page reaches nobody, and nothing is appended.
    let gone = send(&node, "/hub", &[JSON], message(json!({"contentUrl": content.url("/gone")})).as_bytes()).await;
    assert_eq!((gone.status, gone.text()), (422, "contentUrl answered with status 404\n"));
    publish(&node, "the end").await;
    assert_eq!(receiver.posts(5).await[4].text(), "the end");
}

#[tokio::test]
async fn fetched_content_keeps_its_place_and_is_fetched_once() {
    let node = start(&hub(json!({"fetch_delay": 200, "fetch_bytes_max": 100, "message_bytes_max": 2000})));
    let (first, second) = (Receiver::start().await, Receiver::start().await);
    subscribe(&node, &first, &[]).await;
    subscribe(&node, &second, &[]).await;
    let content = Receiver::with(|got, place| match (got.target.as_str(), place) {
        ("/slow", 0) => Say::Status(503, String::new()),
        ("/slow", _) => Say::Status(200, "fetched".to_owned()),
        _ => Say::Status(200, "x".repeat(101)),
    })
    .await;
    let message = |path: &str| json!({"topic": TOPIC, "contentUrl": content.url(path)}).to_string();
    let fetched = async { send(&node, "/hub", &[JSON], message("/slow").as_bytes()).await };
    let direct = async {
        content.gets(1).await;
        publish(&node, "direct").await
    };
    let (fetched, direct) = tokio::join!(fetched, direct);
    assert_eq!((fetched.status, &fetched.json()["sequence"], &direct["sequence"]), (202, &json!(1), &json!(2)));
    for receiver in [&first, &second] {
        assert_eq!(texts(&receiver.posts(2).await), ["fetched", "direct"]);
    }
    assert_eq!(content.all().len(), 2, "one that failed, and one for all");
    let long = send(&node, "/hub", &[JSON], message("/long").as_bytes()).await;
    assert_eq!((long.status, long.text()), (413, "contentUrl has longer content than this hub takes\n"));
    let large = send(&node, &format!("/hub?topic={TOPIC}"), &[], &[b'x'; 2001]).await;
    assert_eq!(large.status, 413, "{}", large.text());
    assert_eq!(publish(&node, "the end").await["sequence"], 3);
}

#[tokio::test]
async fn fetches_and_pings_of_many_topics_do_not_wait_for_each_other() {
    const TOPICS: usize = 20;
    let content = Receiver::with(|_, place| match place {
        // Tried again a little later, so that the others are there when the first are done.
        ..TOPICS => Say::Status(503, String::new()),
        _ => Say::Status(200, "fetched".to_owned()),
    })
    .await;
    let topics: Vec<String> = (0..TOPICS).map(|at| content.url(&format!("/{at}"))).collect();
    let node = start(&hub(json!({"fetch_delay": 300, "pings": [content.url("/")]})));
    let message = |topic: &str| json!({"topic": topic, "contentUrl": topic}).to_string();
    let one = async |topic: &str| send(&node, "/hub", &[JSON], message(topic).as_bytes()).await.status;
    let both = async |topic: &str| tokio::join!(one(topic), one(topic));
    let all = async {
        let mut open: Vec<_> = topics.iter().map(|topic| Box::pin(both(topic))).collect();
        let mut statuses = Vec::new();
        std::future::poll_fn(|context| {
            open.retain_mut(|future| match future.as_mut().poll(context) {
                std::task::Poll::Ready(both) => {
                    statuses.push(both);
                    false
                }
                std::task::Poll::Pending => true,
            });
            if open.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
        })
        .await;
        statuses
    };
    let pings = async {
        content.gets(1).await;
        let mut fields = vec![("hub.mode", "publish")];
        fields.extend(topics.iter().map(|topic| ("hub.url", topic.as_str())));
        ask(&node, &fields).await.status
    };
    let (statuses, pinged) = crate::house::soon("all fetches", async { tokio::join!(all, pings) }).await;
    assert_eq!((statuses, pinged), (vec![(202, 202); TOPICS], 204));
}

#[tokio::test]
async fn a_repeated_message_is_fetched_once() {
    let content = Receiver::with(|_, place| match place {
        0 => Say::Status(200, "as it was".to_owned()),
        _ => Say::Status(404, String::new()),
    })
    .await;
    let node = start(&hub(json!({})));
    let message = |path: &str| json!({"topic": TOPIC, "contentUrl": content.url(path)}).to_string();
    let headers = [JSON, ("Idempotency-Key", "once")];
    let first = send(&node, "/hub", &headers, message("/a").as_bytes()).await.json();
    let second = send(&node, "/hub", &headers, message("/a").as_bytes()).await.json();
    assert_eq!((&first["id"], &second["repeated"]), (&second["id"], &json!(true)));
    assert_eq!(content.all().len(), 1);
    assert_eq!(send(&node, "/hub", &headers, message("/b").as_bytes()).await.status, 422);
}

#[tokio::test]
async fn pings_are_answered_before_the_topic_is_fetched() {
    let receiver = Receiver::start().await;
    let topic_server = Receiver::with(|_, _| Say::Status(200, "fresh".to_owned())).await;
    let topic = topic_server.url("/topic");
    let node = start(&hub(json!({"pings": [topic_server.url("/")]})));
    subscribe_to(&node, &topic, &receiver, &[]).await;
    for field in ["hub.url", "hub.topic"] {
        let reply = ask(&node, &[("hub.mode", "publish"), (field, &topic)]).await;
        assert_eq!((reply.status, reply.text()), (204, ""));
        let count = if field == "hub.url" { 1 } else { 2 };
        assert_eq!(texts(&receiver.posts(count).await)[count - 1], "fresh");
    }
    let strange = ask(&node, &[("hub.mode", "publish"), ("hub.url", TOPIC)]).await;
    assert_eq!(strange.status, 403, "{}", strange.text());
}

#[tokio::test]
async fn a_failing_receiver_is_tried_again_and_nothing_overtakes() {
    let (node, receiver) = (start(&hub(json!({}))), Receiver::start().await);
    subscribe(&node, &receiver, &[]).await;
    receiver.behave(|got, place| match got.method.as_str() {
        "POST" if place < 3 => Say::Status([500, 302, 429][place], String::new()),
        _ => polite(got, place),
    });
    for text in ["one", "two", "three"] {
        publish(&node, text).await;
    }
    let posts = receiver.posts(6).await;
    assert_eq!(texts(&posts), ["one", "one", "one", "one", "two", "three"]);
    let attempts: Vec<_> = posts.iter().map(|post| post.header("stentor-attempt").unwrap()).collect();
    assert_eq!(attempts, ["1", "2", "3", "4", "1", "1"]);
    let ids: Vec<_> = posts[..4].iter().map(|post| post.header("stentor-publication").unwrap()).collect();
    assert!(ids.windows(2).all(|pair| pair[0] == pair[1]));
}

#[tokio::test]
async fn redirects_are_failures_and_patience_is_granted() {
    let (node, receiver) = (start(&hub(json!({}))), Receiver::start().await);
    let elsewhere = Receiver::start().await;
    subscribe(&node, &receiver, &[]).await;
    let goal = elsewhere.url("/");
    receiver.behave(move |got, place| match (got.method.as_str(), place) {
        ("POST", 0) => Say::With(307, "location", goal.clone()),
        ("POST", 1) => Say::With(429, "retry-after", "1".to_owned()),
        _ => polite(got, place),
    });
    publish(&node, "one").await;
    receiver.posts(2).await;
    // The receiver knows of its answer before the hub does.
    let third = async {
        loop {
            let seen = subscriptions(&node).await[0]["delivery"].clone();
            if (&seen["state"], &seen["attempt"]) == (&json!("backoff"), &json!(3)) {
                return seen;
            }
        }
    };
    let seen = crate::house::soon("patience before the third attempt", third).await;
    assert!(seen["next_attempt_in_seconds"].as_f64().unwrap() > 0.5, "{seen}");
    receiver.posts(3).await;
    assert!(elsewhere.all().is_empty());
}

#[tokio::test]
async fn one_that_hangs_delays_nobody_else() {
    let node = start(&hub(json!({"delivery_timeout": 60_000})));
    let (hanging, receiver) = (Receiver::start().await, Receiver::start().await);
    subscribe(&node, &hanging, &[]).await;
    subscribe(&node, &receiver, &[]).await;
    hanging.behave(|_, _| Say::Silence);
    for text in ["one", "two", "three"] {
        publish(&node, text).await;
    }
    assert_eq!(texts(&receiver.posts(3).await), ["one", "two", "three"]);
    assert_eq!(texts(&hanging.posts(1).await), ["one"]);
}

#[tokio::test]
async fn what_is_given_up_is_recorded_and_sent_again_by_hand() {
    let (node, receiver) = (start(&hub(json!({"delivery_retries": 2}))), Receiver::start().await);
    subscribe(&node, &receiver, &[]).await;
    receiver.behave(|got, place| match got.text() {
        "bad" if place < 2 => Say::Status(500, String::new()),
        _ => polite(got, place),
    });
    publish(&node, "bad").await;
    publish(&node, "good").await;
    assert_eq!(texts(&receiver.posts(3).await), ["bad", "bad", "good"]);
    let dead = admin(&node, "GET", "/admin/hubs/hub/dead", "").await.json();
    let dead = dead["dead"].as_array().unwrap();
    assert_eq!((dead.len(), &dead[0]["attempts"], &dead[0]["bytes"]), (1, &json!(2), &json!(3)));
    let id = &dead[0]["id"];
    let reply = admin(&node, "POST", &format!("/admin/hubs/hub/dead/{id}/replay"), "").await;
    assert_eq!(reply.status, 202, "{}", reply.text());
    assert_eq!(texts(&receiver.posts(4).await)[3], "bad");
    crate::house::soon("the record to go", async {
        while admin(&node, "GET", "/admin/hubs/hub/dead", "").await.json()["dead"] != json!([]) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(admin(&node, "POST", &format!("/admin/hubs/hub/dead/{id}/replay"), "").await.status, 404);
}

#[tokio::test]
async fn subscriptions_end_by_every_way() {
    let node = start(&hub(json!({})));
    let none_left = async || {
        crate::house::soon("the subscription to end", async {
            while !subscriptions(&node).await.is_empty() {
                tokio::task::yield_now().await;
            }
        })
        .await;
    };
    // Asked for and confirmed.
    let receiver = Receiver::start().await;
    subscribe(&node, &receiver, &[]).await;
    let callback = receiver.url("/callback?mine=1");
    let fields = [("hub.mode", "unsubscribe"), ("hub.topic", TOPIC), ("hub.callback", callback.as_str())];
    assert_eq!(ask(&node, &fields).await.status, 202);
    none_left().await;
    assert_eq!(receiver.gets(2).await[1].parameter("hub.mode").as_deref(), Some("unsubscribe"));
    // 410.
    subscribe(&node, &receiver, &[]).await;
    receiver.behave(|got, place| match got.method.as_str() {
        "POST" => Say::Status(410, String::new()),
        _ => polite(got, place),
    });
    publish(&node, "unwanted").await;
    none_left().await;
    // By the operator, with a word to the callback.
    subscribe(&node, &receiver, &[]).await;
    let id = subscriptions(&node).await[0]["id"].clone();
    let reply =
        admin(&node, "POST", &format!("/admin/hubs/hub/subscriptions/{id}/deny"), r#"{"reason": "no more"}"#).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(subscriptions(&node).await, Vec::<Value>::new());
    let told = receiver.until("a denial", |got| got.iter().any(|one| one.target.contains("denied"))).await;
    let told = told.iter().find(|one| one.target.contains("denied")).unwrap();
    assert_eq!(told.parameter("hub.reason").as_deref(), Some("no more"));
    assert_eq!(told.parameter("hub.challenge"), None);
    // By the operator, silently.
    subscribe(&node, &receiver, &[]).await;
    let id = subscriptions(&node).await[0]["id"].clone();
    assert_eq!(admin(&node, "DELETE", &format!("/admin/hubs/hub/subscriptions/{id}"), "").await.status, 200);
    assert_eq!(subscriptions(&node).await, Vec::<Value>::new());
    assert_eq!(admin(&node, "DELETE", &format!("/admin/hubs/hub/subscriptions/{id}"), "").await.status, 404);
}

#[tokio::test]
async fn a_renewal_changes_the_terms_and_keeps_the_place() {
    let (node, receiver) = (start(&hub(json!({"signature_algorithm": "sha256"}))), Receiver::start().await);
    subscribe(&node, &receiver, &[("hub.secret", "old")]).await;
    publish(&node, "one").await;
    let callback = receiver.url("/callback?mine=1");
    let fields = [
        ("hub.mode", "subscribe"),
        ("hub.topic", TOPIC),
        ("hub.callback", callback.as_str()),
        ("hub.secret", "new"),
        ("hub.lease_seconds", "1"),
    ];
    assert_eq!(ask(&node, &fields).await.status, 202);
    assert_eq!(receiver.gets(2).await[1].parameter("hub.lease_seconds").as_deref(), Some("300"));
    let is_new = |post: &Got| {
        let signature = post.header("x-hub-signature").unwrap();
        verify(signature, &Secret::new("new"), &post.body) == Judgement::Genuine
    };
    let mut count = 1;
    loop {
        count += 1;
        publish(&node, "more").await;
        let posts = receiver.posts(count).await;
        if is_new(&posts[count - 1]) {
            break;
        }
        assert!(count < 1000, "the new secret is never used");
    }
    assert_eq!(subscriptions(&node).await.len(), 1);
}

#[tokio::test]
async fn a_lease_ends() {
    let options = json!({"min_lease_seconds": 1, "default_lease_seconds": 1, "max_lease_seconds": 1});
    let (node, receiver) = (start(&hub(options)), Receiver::start().await);
    let callback = receiver.url("/callback");
    let fields = [("hub.mode", "subscribe"), ("hub.topic", TOPIC), ("hub.callback", callback.as_str())];
    assert_eq!(ask(&node, &fields).await.status, 202);
    assert_eq!(receiver.gets(1).await[0].parameter("hub.lease_seconds").as_deref(), Some("1"));
    let ended = async || admin(&node, "GET", "/admin/hubs", "").await.json()["hubs"][0]["leases_ended"] == 1;
    crate::house::soon("the lease to end", async {
        while !ended().await || !subscriptions(&node).await.is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    publish(&node, "too late").await;
    assert!(receiver.all().iter().all(|one| one.method == "GET"));
}

#[tokio::test]
async fn nobody_subscribes_where_nobody_is_asked() {
    let (node, receiver) = (start(&hub(json!({"authenticator": null}))), Receiver::start().await);
    let callback = receiver.url("/callback");
    let fields = [("hub.mode", "subscribe"), ("hub.topic", TOPIC), ("hub.callback", callback.as_str())];
    assert_eq!(ask(&node, &fields).await.status, 202);
    let told = &receiver.gets(1).await[0];
    assert_eq!(told.parameter("hub.mode").as_deref(), Some("denied"));
    assert_eq!(told.parameter("hub.challenge"), None);
    assert!(subscriptions(&node).await.is_empty());
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_said() {
    let node = start(&hub(json!({"subscription_security": "both"})));
    let check = async |fields: &[(&str, &str)], status: u16, word: &str| {
        let reply = ask(&node, fields).await;
        assert_eq!(reply.header("content-type"), Some("text/plain; charset=utf-8"));
        assert!(reply.status == status && reply.text().contains(word), "{} {}", reply.status, reply.text());
        assert_eq!(reply.text().lines().count(), 1);
    };
    let (mode, topic) = (("hub.mode", "subscribe"), ("hub.topic", TOPIC));
    let callback = ("hub.callback", "https://example.com/callback");
    check(&[], 400, "hub.mode").await;
    check(&[("hub.mode", "dance")], 400, "hub.mode").await;
    check(&[mode, callback], 400, "hub.topic").await;
    check(&[mode, topic], 400, "hub.callback").await;
    check(&[mode, topic, ("hub.callback", "ftp://x/")], 400, "hub.callback").await;
    check(&[mode, topic, callback], 403, "hub.secret").await;
    check(&[mode, topic, callback, ("hub.secret", &"s".repeat(200))], 400, "hub.secret").await;
    check(&[mode, topic, callback, ("hub.secret", "s"), ("hub.lease_seconds", "soon")], 400, "hub.lease_seconds").await;
    check(&[mode, topic, ("hub.callback", "http://example.com/"), ("hub.secret", "s")], 403, "https").await;
    let check = async |target: &str, headers: &[(&str, &str)], body: &str, status: u16, word: &str| {
        let reply = send(&node, target, headers, body.as_bytes()).await;
        assert!(reply.status == status && reply.text().contains(word), "{} {}", reply.status, reply.text());
    };
    check("/hub", &[("Content-Type", "text/plain")], "x", 415, "application/json").await;
    check("/hub", &[JSON], "{}", 400, "topic").await;
    check("/hub", &[JSON], "[]", 400, "JSON object").await;
    check("/hub", &[JSON], &json!({"topic": TOPIC}).to_string(), 400, "contentBase64").await;
    check("/hub", &[JSON], &json!({"topic": TOPIC, "contentBase64": "?"}).to_string(), 400, "contentBase64").await;
    check("/hub", &[JSON], &json!({"topic": TOPIC, "contentUrl": "there"}).to_string(), 400, "contentUrl").await;
    check("/hub?topic=x", &[], "x", 400, "topic").await;
    check("/hub?topic=http://e.com/?a=1&b=2", &[], "x", 400, "topic: percent-encode the URL").await;
    let topic = format!("/hub?topic={TOPIC}");
    for key in ["a b", "a\tb", "\u{e9}", &"x".repeat(256)] {
        check(&topic, &[("Idempotency-Key", key)], "x", 400, "Idempotency-Key").await;
    }
    check(&topic, &[("Content-Encoding", "gzip")], "x", 415, "Content-Encoding").await;
    check(&topic, &[("Content-Type", "x")], "x", 400, "Content-Type").await;
    check("/hub", &[JSON], r#"{"topic": "http://a/", "topic": "http://b/"}"#, 400, "topic is given twice").await;
    let mut http = node.http().await;
    assert_eq!(http.get("/hub").await.status, 405);
    http.send(head("OPTIONS", "/hub", &[])).await;
    let reply = http.reply().await;
    assert_eq!((reply.status, reply.header("allow")), (204, Some("POST, OPTIONS")));
    for (coding, status) in [("gzip, chunked", 501), ("Chunked", 202)] {
        let mut http = node.http().await;
        http.send(head("POST", &topic, &[("Transfer-Encoding", coding)]) + "1\r\nx\r\n0\r\n\r\n").await;
        assert_eq!(http.reply().await.status, status, "{coding}");
    }
}

#[tokio::test]
async fn private_addresses_are_closed_by_default() {
    let node = start(&hub(json!({"allow_private_networks": false})));
    let receiver = Receiver::start().await;
    let callback = receiver.url("/callback");
    let fields = [("hub.mode", "subscribe"), ("hub.topic", TOPIC), ("hub.callback", callback.as_str())];
    assert_eq!(ask(&node, &fields).await.status, 202);
    let message = json!({"topic": TOPIC, "contentUrl": receiver.url("/secret")}).to_string();
    let reply = send(&node, "/hub", &[JSON], message.as_bytes()).await;
    assert_eq!(reply.status, 403, "{}", reply.text());
    assert!(receiver.all().is_empty() && subscriptions(&node).await.is_empty());
}

#[tokio::test]
async fn publishing_is_closed_unless_it_is_configured() {
    let node = start(&hub(json!({"publish": null})));
    let body = json!({"topic": TOPIC, "contentBase64": ""}).to_string();
    assert_eq!(send(&node, "/hub", &[JSON], body.as_bytes()).await.status, 403);
    let node = start(&hub(json!({"publish": {"key": "k", "secret": "s"}})));
    let reply = send(&node, "/hub", &[JSON], body.as_bytes()).await;
    assert!((400..=401).contains(&reply.status), "{}", reply.text());
    assert!(!reply.text().contains("appended"));
}

#[tokio::test]
async fn a_repetition_publishes_once() {
    let (node, receiver) = (start(&hub(json!({}))), Receiver::start().await);
    subscribe(&node, &receiver, &[]).await;
    let body = |text: &str| json!({"topic": TOPIC, "contentBase64": STANDARD.encode(text)}).to_string();
    let headers = [JSON, ("Idempotency-Key", "once")];
    let first = send(&node, "/hub", &headers, body("x").as_bytes()).await.json();
    let second = send(&node, "/hub", &headers, body("x").as_bytes()).await.json();
    assert_eq!((&first["id"], &second["repeated"]), (&second["id"], &json!(true)));
    assert_eq!(send(&node, "/hub", &headers, body("y").as_bytes()).await.status, 422);
    publish(&node, "after").await;
    assert_eq!(texts(&receiver.posts(2).await), ["x", "after"]);
}

#[tokio::test]
async fn the_administration_wants_its_token() {
    let node = start(&hub(json!({})));
    let mut http = node.http().await;
    let reply = http.get("/admin/hubs").await;
    assert_eq!((reply.status, reply.header("www-authenticate")), (401, Some("Bearer")));
    let hubs = admin(&node, "GET", "/admin/hubs", "").await.json();
    assert_eq!(hubs["hubs"][0]["name"], "hub");
    for (method, target, status) in [
        ("GET", "/admin/hubs/other/subscriptions", 404),
        ("GET", "/admin/hubs/hub/subscriptions/9", 404),
        ("GET", "/admin/hubs/hub/subscriptions/x", 400),
        ("PUT", "/admin/hubs/hub/subscriptions", 405),
        ("GET", "/admin/", 404),
    ] {
        let reply = admin(&node, method, target, "").await;
        assert_eq!(reply.status, status, "{method} {target}");
        assert!(reply.json()["error"].is_string());
    }
}

#[tokio::test]
async fn many_topics_and_receivers_each_keep_their_order() {
    let node = start(&hub(json!({})));
    let mut receivers = Vec::new();
    for _ in 0..5 {
        let receiver = Receiver::start().await;
        subscribe(&node, &receiver, &[]).await;
        receivers.push(receiver);
    }
    let texts_of = |count: usize| (0..count).map(|at| format!("{at}")).collect::<Vec<_>>();
    let count = NonZero::new(200).unwrap().get();
    for text in texts_of(count) {
        publish(&node, &text).await;
    }
    for receiver in receivers {
        assert_eq!(texts(&receiver.posts(count).await), texts_of(count));
    }
}

/// Asks for a subscription with these header fields.
async fn ask_as(node: &Node, receiver: &Receiver, topic: &str, headers: &[(&str, &str)]) -> Reply {
    let callback = receiver.url("/callback");
    let fields = form(&[("hub.mode", "subscribe"), ("hub.topic", topic), ("hub.callback", &callback)]);
    let mut all = vec![FORM];
    all.extend_from_slice(headers);
    send(node, "/hub", &all, fields.as_bytes()).await
}

#[tokio::test]
async fn tokens_say_who_may_subscribe_to_what() {
    let tokens = json!([{"token": "of-ann-long-enough", "identity": "ann", "scopes": ["https://example.com/.*"]}]);
    let node = start(&hub(json!({"authenticator": {"type": "static", "tokens": tokens}})));
    let receiver = Receiver::start().await;
    for headers in [&[][..], &[("Authorization", "Bearer wrong")], &[("Authorization", "Basic of-ann-long-enough")]] {
        let reply = ask_as(&node, &receiver, TOPIC, headers).await;
        assert_eq!(reply.status, 403, "{}", reply.text());
    }
    assert!(receiver.all().is_empty());
    let ann = [("Authorization", "Bearer of-ann-long-enough")];
    assert_eq!(ask_as(&node, &receiver, "https://example.org/?https://example.com/", &ann).await.status, 202);
    let told = &receiver.gets(1).await[0];
    assert_eq!(told.parameter("hub.mode").as_deref(), Some("denied"));
    assert_eq!(ask_as(&node, &receiver, TOPIC, &ann).await.status, 202);
    crate::house::soon("a subscription", async {
        while subscriptions(&node).await.is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(subscriptions(&node).await[0]["identity"], "ann");
}

#[tokio::test]
async fn an_endpoint_says_who_may_subscribe() {
    let judge = Receiver::with(|got, place| match place {
        0 => Say::Status(200, json!({"identity": "bob", "scopes": [".*"]}).to_string()),
        1 => Say::Status(200, "null".to_owned()),
        2 => Say::Status(401, format!("who is {}?", got.header("content-type").unwrap())),
        3 => Say::Status(200, "not JSON".to_owned()),
        4 => Say::Status(503, String::new()),
        _ => Say::Silence,
    })
    .await;
    let options = json!({"authenticator": {"type": "forward", "url": judge.url("/judge"), "timeout": 300}});
    let (node, receiver) = (start(&hub(options)), Receiver::start().await);
    let callback = receiver.url("/callback");
    let asked = form(&[("hub.mode", "subscribe"), ("hub.topic", TOPIC), ("hub.callback", &callback), ("api_key", "f")]);
    let headers = [FORM, ("X-Key", "of the subscriber")];
    assert_eq!(send(&node, "/hub?api_key=q", &headers, asked.as_bytes()).await.status, 202);
    let question: Value = serde_json::from_slice(&judge.posts(1).await[0].body).unwrap();
    assert_eq!((&question["topic"], &question["headers"]["x-key"]), (&json!(TOPIC), &json!("of the subscriber")));
    assert_eq!((&question["mode"], &question["client"]), (&json!("subscribe"), &json!("127.0.0.1")));
    let told = (&question["fields"], &question["query"]);
    assert_eq!(told, (&json!({"api_key": ["f"]}), &json!({"api_key": ["q"]})));
    crate::house::soon("a subscription", async {
        while subscriptions(&node).await.is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(subscriptions(&node).await[0]["identity"], "bob");
    assert_eq!(ask_as(&node, &receiver, TOPIC, &[]).await.status, 202);
    receiver.until("a denial", |got| got.iter().any(|one| one.target.contains("hub.mode=denied"))).await;
    let dictated = ask_as(&node, &receiver, TOPIC, &[]).await;
    assert_eq!((dictated.status, dictated.text()), (401, "who is application/json?"));
    for status in [500, 503, 503] {
        let reply = ask_as(&node, &receiver, TOPIC, &[]).await;
        assert_eq!(reply.status, status, "{}", reply.text());
    }
    // Whoever was let in before stays, whatever is said to later requests.
    assert_eq!(subscriptions(&node).await.len(), 1);
}

#[tokio::test]
async fn nobody_asks_faster_than_he_may() {
    let node = start(&hub(json!({"subscribe_rate_per_client_max": 1, "verify_rate_per_host_max": 1})));
    let receiver = Receiver::with(|_, _| Say::Status(404, String::new())).await;
    let mut statuses = Vec::new();
    for _ in 0..12 {
        let reply = ask_as(&node, &receiver, TOPIC, &[]).await;
        statuses.push(reply.status);
        if reply.status == 429 {
            assert_eq!(reply.header("retry-after"), Some("5"));
            break;
        }
    }
    assert_eq!(statuses.pop(), Some(429));
    assert!((10..=11).contains(&statuses.len()) && statuses.iter().all(|status| *status == 202), "{statuses:?}");
}

#[tokio::test]
async fn pages_of_other_origins_may_not_post() {
    let node = start(&hub(json!({"publish": {"cors": ["https://a.example"]}, "pings": ["http://127.0.0.1:9/"]})));
    let own = "http://test".to_owned();
    let raw = format!("/hub?topic={}", utf8_percent_encode(TOPIC, NON_ALPHANUMERIC));
    let intent = form(&[("hub.mode", "subscribe"), ("hub.topic", TOPIC), ("hub.callback", "http://127.0.0.1:9/")]);
    // Another topic: what is published behind a ping waits until its fetch is given up.
    let ping = form(&[("hub.mode", "publish"), ("hub.url", "http://127.0.0.1:9/")]);
    let check = async |origin: Option<&str>, expected: [u16; 3]| {
        let headers =
            |kind| [Some(kind), origin.map(|origin| ("Origin", origin))].into_iter().flatten().collect::<Vec<_>>();
        let published = send(&node, &raw, &headers(("Content-Type", "text/plain")), b"x").await;
        let asked = send(&node, "/hub", &headers(FORM), intent.as_bytes()).await;
        let pinged = send(&node, "/hub", &headers(FORM), ping.as_bytes()).await;
        assert_eq!([published.status, asked.status, pinged.status], expected, "{origin:?} {}", published.text());
        published
    };
    for foreign in ["https://evil.example", "null", "http://a.example"] {
        let reply = check(Some(foreign), [403; 3]).await;
        assert!(reply.text().contains(foreign) && reply.text().contains("cors"), "{}", reply.text());
    }
    check(None, [202, 202, 204]).await;
    check(Some(&own), [202, 202, 204]).await;
    let reply = check(Some("https://a.example"), [202, 202, 204]).await;
    assert_eq!(reply.header("access-control-allow-origin"), Some("https://a.example"));
    let mut http = node.http().await;
    let asked = [("Origin", "https://a.example"), ("Access-Control-Request-Method", "POST")];
    http.send(crate::http::head("OPTIONS", "/hub", &asked)).await;
    let reply = http.reply().await;
    assert_eq!((reply.status, reply.header("access-control-allow-origin")), (204, Some("https://a.example")));
}
