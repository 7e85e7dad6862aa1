//! Authenticator functions behind a hub, from the configuration to the callback, and at the command line.

use std::path::Path;

use serde_json::{Value, json};
use stentor::config::{self, Surroundings, Syntax};

use crate::functions::{Function, node_dir};
use crate::house::{Node, soon, start_with};
use crate::http::{Reply, request};
use crate::hub::{TOPIC, hub, send};
use crate::receiver::{Receiver, Say, polite};

/// The template of the reference. What does not parse there is mended: a parenthesis too many, and a class that is indented
/// by three.
const TEMPLATE: &str = r#"def authenticator(*, context, request, **kwargs):
    from typing import TYPE_CHECKING, cast

    from fastapi import HTTPException
    from starlette.authentication import AuthCredentials, BaseUser, SimpleUser
    
    if TYPE_CHECKING:
        from echostream_function_context import Context
        from fastapi import Request

        context = cast(Context, context)
        request = cast(Request, request)

    # TODO - Perform authentication using the context and request here
    # You must either return None or return a tuple containing an AuthCredentials
    # and a subclass of BaseUser. If you return None or a Base User that returns False
    # from is_authenticated, then the Request will be rejected with a 403.
    #
    # The BaseUser subclass that you return MUST implement the identity property, as below.
    #
    # The AuthCredentials returned should contain one or more regular expressions that describe
    # the topics that the subscriber is allowed to subscribe to. In the example below, all topics are
    # authorized.
    
    class WebSubUser(SimpleUser):
        @property
        def identity(self) -> str:
            return self.username
    
    return AuthCredentials([r"http[s]?://.*"]), WebSubUser("foobar")
"#;

fn configured(value: &Value, node_dir: &Path) -> config::Report {
    let exists = |path: &Path| path.exists();
    let surroundings = Surroundings { node_dir, env: &|_| None, exists: &exists };
    config::parse(&value.to_string(), Syntax::Json, "test", &surroundings)
}

fn started(value: &Value, node_dir: &Path) -> Node {
    let report = configured(value, node_dir);
    assert!(report.faults.is_empty(), "{:#?}", report.faults);
    start_with(report.config.unwrap(), 1)
}

async fn ask(node: &Node, mode: &str, topic: &str, receiver: &Receiver, headers: &[(&str, &str)]) -> Reply {
    let encode =
        |text: &str| percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string();
    let (topic, callback) = (encode(topic), encode(&receiver.url("/callback")));
    let body = format!("hub.mode={mode}&hub.topic={topic}&hub.callback={callback}");
    let mut all = vec![("Content-Type", "application/x-www-form-urlencoded")];
    all.extend_from_slice(headers);
    send(node, "/hub", &all, body.as_bytes()).await
}

/// The same once the function is there. Its environment has been made before, so that this does not ask for minutes.
async fn ask_ready(node: &Node, mode: &str, topic: &str, receiver: &Receiver, headers: &[(&str, &str)]) -> Reply {
    let ready = async {
        loop {
            let reply = ask(node, mode, topic, receiver, headers).await;
            if reply.status != 503 {
                return reply;
            }
        }
    };
    soon("the function", ready).await
}

async fn subscriptions(node: &Node) -> Vec<Value> {
    let mut http = node.http().await;
    let fields = [("Authorization", "Bearer a-token-of-the-administration")];
    http.send(request("GET", "/admin/hubs/hub/subscriptions", &fields, b"")).await;
    http.reply().await.json()["subscriptions"].as_array().unwrap().clone()
}

#[tokio::test]
async fn the_template_of_the_reference_runs() {
    drop(Function::start("return None").await);
    let (dir, receiver) = (node_dir(), Receiver::start().await);
    let mut config = hub(
        json!({"inlineApiAuthenticator": TEMPLATE, "requirements": [], "subscribe_rate_per_client_max": 1_000_000}),
    );
    let options = config["workers"][0]["transports"][0]["paths"]["hub"]["options"].as_object_mut().unwrap();
    options.remove("authenticator");
    let node = started(&config, dir.path());
    let reply = ask_ready(&node, "subscribe", TOPIC, &receiver, &[]).await;
    assert_eq!((reply.status, reply.text()), (202, ""));
    let seen = soon("a subscription", async {
        loop {
            if let Some(one) = subscriptions(&node).await.pop() {
                return one;
            }
        }
    })
    .await;
    assert_eq!(seen["identity"], "foobar");
    node.running.stop().await;
}

#[tokio::test]
async fn verdicts_reach_the_subscriber() {
    drop(Function::start("return None").await);
    let (dir, receiver) = (node_dir(), Receiver::start().await);
    let code = "async def authenticator(*, context, request, **kwargs):
    from fastapi import HTTPException
    from starlette.authentication import AuthCredentials, SimpleUser
    word = request.headers.get('x-word')
    form = await request.form()
    if word == 'teapot': raise HTTPException(418, 'short', {'X-Tea': 'green'})
    if word == 'broken': raise ValueError('a secret')
    if word == 'wrong': return 1
    if word == 'slow':
        import asyncio
        await asyncio.sleep(60)
    return AuthCredentials(['https://example.com/feed']), SimpleUser(form['hub.mode'])
";
    let function = json!({"type": "function", "inline": code, "timeout": 1000, "workers": 1});
    let node =
        started(&hub(json!({"authenticator": function, "subscribe_rate_per_client_max": 1_000_000})), dir.path());
    let ready = ask_ready(&node, "subscribe", "https://example.com/other", &receiver, &[]).await;
    assert_eq!(ready.status, 202);
    let denied = receiver.gets(1).await;
    assert_eq!(denied[0].parameter("hub.mode").as_deref(), Some("denied"));
    let word = async |word: &'static str| ask(&node, "subscribe", TOPIC, &receiver, &[("X-Word", word)]).await;
    let teapot = word("teapot").await;
    assert_eq!((teapot.status, teapot.text(), teapot.header("x-tea")), (418, r#"{"detail":"short"}"#, Some("green")));
    for (name, status) in [("broken", 500), ("wrong", 500), ("slow", 503)] {
        let reply = word(name).await;
        assert_eq!(reply.status, status, "{name}");
        assert!(!reply.text().contains("secret") && !reply.text().contains("Traceback"), "{}", reply.text());
    }
    assert_eq!(subscriptions(&node).await.len(), 0);
    // Ending a subscription is asked about too; the topic is not judged then.
    let refused = ask(&node, "unsubscribe", "https://example.com/other", &receiver, &[("X-Word", "teapot")]).await;
    assert_eq!(refused.status, 418);
    receiver.behave(|got, place| match got.parameter("hub.mode").as_deref() {
        Some("unsubscribe") => Say::Status(404, String::new()),
        _ => polite(got, place),
    });
    assert_eq!(ask(&node, "unsubscribe", "https://example.com/other", &receiver, &[]).await.status, 202);
    assert_eq!(receiver.gets(2).await[1].parameter("hub.mode").as_deref(), Some("unsubscribe"));
    assert_eq!(node.running.meters().function_failures.get(), 2);
    node.running.stop().await;
}

#[test]
fn what_is_wrong_with_functions_is_said_with_its_place() {
    let check = |authenticator: Value, expected: &[&str]| {
        let report = configured(&hub(json!({"authenticator": authenticator})), Path::new("/"));
        let faults: Vec<String> = report.faults.iter().map(ToString::to_string).collect();
        assert_eq!(faults.len(), expected.len(), "{faults:#?}");
        for (fault, part) in faults.iter().zip(expected) {
            assert!(fault.contains(part), "{fault} does not say {part}");
        }
    };
    let function = |more: Value| {
        let mut all = json!({"type": "function"});
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        all
    };
    check(function(json!({"name": "basic"})), &[]);
    check(function(json!({})), &["needs 'inline' (its code) or 'name'"]);
    check(function(json!({"name": "basic", "inline": "def f(): pass"})), &["write one of them"]);
    check(function(json!({"name": "../secret"})), &["authenticator.name: must be 1 to 80"]);
    check(
        function(json!({"name": "a", "requirements": ["--index-url=x", "ok", "a\nb"]})),
        &["requirements[0]", "requirements[2]"],
    );
    check(function(json!({"name": "a", "config": []})), &["config: must be a dictionary"]);
    check(function(json!({"name": "a", "timeout": 0, "workers": 0})), &["timeout", "workers"]);
    let both = hub(json!({"managedApiAuthenticator": "basic"}));
    let faults = configured(&both, Path::new("/")).faults;
    assert!(faults.iter().any(|fault| fault.message.contains("write one of them")), "{faults:?}");
}

#[tokio::test]
async fn an_authenticator_that_changes_needs_a_restart() {
    let dir = node_dir();
    let read = |above: &str, body: &str| {
        let code = format!("def f(**kwargs):\n  {body}\n");
        let text = format!("{above}{}", hub(json!({"authenticator": {"type": "function", "inline": code}})));
        let exists = |path: &Path| path.exists();
        let surroundings = Surroundings { node_dir: dir.path(), env: &|_| None, exists: &exists };
        config::parse(&text, Syntax::Json, "test", &surroundings).config.unwrap()
    };
    let mut node = start_with(read("", "return None"), 1);
    node.running.reload(read("\n\n", "return None")).expect("the same code, two lines further down");
    let sentence = node.running.reload(read("", "return 1")).unwrap_err();
    assert!(sentence.contains("transports[0] changed, which needs a restart"), "{sentence}");
    node.running.stop().await;
}
