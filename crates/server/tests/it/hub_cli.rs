//! What an operator types about a hub: `publish`, `hub`, `store`.

use std::path::Path;

use serde_json::json;
use tempfile::TempDir;

use crate::cli::{home, run, stentor};
use crate::house::{Node, configured, soon, start, start_with};
use crate::hub::{ADMIN_TOKEN, TOPIC, hub, hub_in, subscribe};
use crate::receiver::{Receiver, Say, polite};

/// Runs a command while the subscribers of this test go on.
async fn cli(dir: &Path, args: &[&str], code: i32) -> (String, String) {
    let (dir, args) = (dir.to_owned(), args.iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>());
    let command = move || run(&dir, &args.iter().map(String::as_str).collect::<Vec<_>>(), code);
    tokio::task::spawn_blocking(command).await.unwrap()
}

/// A folder with a text to publish, a secret, and the token of the administration.
fn desk() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("news.txt"), "the news").unwrap();
    std::fs::write(dir.path().join("secret"), "hush-hush\n").unwrap();
    std::fs::write(dir.path().join("token"), format!("{ADMIN_TOKEN}\n")).unwrap();
    dir
}

async fn publish(node: &Node, dir: &Path, more: &[&str], code: i32) -> (String, String) {
    let url = format!("http://{}/hub", node.address(0));
    let mut args = vec!["publish", "--hub", &url, "--topic", TOPIC];
    args.extend(more);
    cli(dir, &args, code).await
}

async fn admin(node: &Node, dir: &Path, more: &[&str], code: i32) -> (String, String) {
    let url = format!("http://{}/admin", node.address(0));
    let mut args = vec!["hub", "--admin", &url, "--token-file", "token"];
    args.extend(more);
    cli(dir, &args, code).await
}

#[tokio::test]
async fn a_file_is_published() {
    let (node, receiver, dir) = (start(&hub(json!({}))), Receiver::start().await, desk());
    subscribe(&node, &receiver, &[]).await;
    let (id, _) = publish(&node, dir.path(), &["news.txt"], 0).await;
    let post = &receiver.posts(1).await[0];
    assert_eq!((post.text(), post.header("content-type")), ("the news", Some("text/plain")));
    assert_eq!(post.header("stentor-publication"), Some(id.trim()));
    // The same key, and a type of its own.
    let key = ["--idempotency-key", "k1", "--content-type", "text/x", "news.txt"];
    let (first, _) = publish(&node, dir.path(), &key, 0).await;
    let (second, told) = publish(&node, dir.path(), &key, 0).await;
    assert_eq!(first, second);
    assert!(told.contains("used before"), "{told}");
    assert_eq!(receiver.posts(2).await[1].header("content-type"), Some("text/x"));
}

#[tokio::test]
async fn publications_are_signed_with_a_key() {
    let node = start(&hub(json!({"publish": {"key": "k", "secret": "hush-hush", "timestamp_delta_limit": 60}})));
    let dir = desk();
    let (_, told) = publish(&node, dir.path(), &["news.txt"], 1).await;
    assert!(told.contains("refused with status 40"), "{told}");
    publish(&node, dir.path(), &["--key", "k", "--secret-file", "secret", "news.txt"], 0).await;
    publish(&node, dir.path(), &["--key", "k", "--secret", "hush-hush", "news.txt"], 0).await;
    let (_, told) = publish(&node, dir.path(), &["--key", "k", "--secret", "wrong", "news.txt"], 1).await;
    assert!(told.contains("401") && !told.contains("wrong"), "{told}");
    let (_, told) = publish(&node, dir.path(), &["--key", "k", "news.txt"], 2).await;
    assert!(told.contains("--secret-file"), "{told}");
    let (_, told) = publish(&node, dir.path(), &["--secret", "hush-hush", "news.txt"], 2).await;
    assert!(told.contains("--key"), "{told}");
}

#[tokio::test]
async fn the_secret_may_be_in_the_environment() {
    let (signed, open) = (start(&hub(json!({"publish": {"key": "k", "secret": "hush-hush"}}))), start(&hub(json!({}))));
    let dir = desk();
    let check = async |node: &Node, secret: &str, more: &[&str]| {
        let url = format!("http://{}/hub", node.address(0));
        let mut args = vec!["publish", "--hub", &url, "--topic", TOPIC, "news.txt"];
        args.extend(more);
        let mut command = stentor(dir.path(), &args);
        command.env("STENTOR_SECRET", secret);
        let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
        assert!(output.status.success(), "{more:?}: {output:?}");
    };
    check(&signed, "hush-hush", &["--key", "k"]).await;
    check(&signed, "another", &["--key", "k", "--secret-file", "secret"]).await;
    check(&signed, "another", &["--key", "k", "--secret", "hush-hush"]).await;
    // Where nothing is signed, it says nothing.
    check(&open, "hush-hush", &[]).await;
}

#[tokio::test]
async fn what_cannot_be_published_is_one_sentence() {
    let (node, dir) = (start(&hub(json!({"publish": null}))), desk());
    let (_, told) = publish(&node, dir.path(), &["news.txt"], 1).await;
    assert!(told.contains("403") && told.contains("configured without publish"), "{told}");
    publish(&node, dir.path(), &["nothing.txt"], 2).await;
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for hub in ["hub", &format!("http://{closed}/hub")] {
        let (_, told) = cli(dir.path(), &["publish", "--hub", hub, "--topic", TOPIC, "news.txt"], 1).await;
        assert_eq!(told.lines().count(), 1, "{told}");
    }
    std::fs::write(dir.path().join("long.bin"), vec![0; 8 << 20]).unwrap();
    let rude = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let hub = format!("http://{}/hub", rude.local_addr().unwrap());
    let hangs_up = std::thread::spawn(move || {
        let (mut stream, _) = rude.accept().unwrap();
        std::io::Read::read_exact(&mut stream, &mut [0; 1024]).unwrap();
    });
    let (_, told) = cli(dir.path(), &["publish", "--hub", &hub, "--topic", TOPIC, "long.bin"], 1).await;
    hangs_up.join().unwrap();
    assert!(told.contains("less than these 8388608 octets"), "{told}");
}

#[tokio::test]
async fn subscriptions_are_looked_after() {
    let (node, receiver, dir) = (start(&hub(json!({}))), Receiver::start().await, desk());
    let (all, _) = admin(&node, dir.path(), &["hubs"], 0).await;
    assert!(all.contains("\"name\": \"hub\""), "{all}");
    let nothing = |told: &str| (String::new(), format!("The hub 'hub' has no {told}.\n"));
    assert_eq!(admin(&node, dir.path(), &["list"], 0).await, nothing("subscriptions"));
    let of_topic = format!("subscriptions of the topic {TOPIC}");
    assert_eq!(admin(&node, dir.path(), &["list", "--topic", TOPIC], 0).await, nothing(&of_topic));
    assert_eq!(admin(&node, dir.path(), &["dead"], 0).await, nothing("dead publications"));
    subscribe(&node, &receiver, &[("hub.secret", "of ours")]).await;
    let (list, _) = admin(&node, dir.path(), &["list"], 0).await;
    let id = list.split_whitespace().next().unwrap().to_owned();
    assert!(list.contains(TOPIC) && list.contains("/callback?mine=1") && list.lines().count() == 1, "{list}");
    assert_eq!(admin(&node, dir.path(), &["list", "--topic", TOPIC], 0).await.0, list);
    let (shown, _) = admin(&node, dir.path(), &["show", &id], 0).await;
    assert!(shown.contains("\"has_secret\": true") && !shown.contains("of ours"), "{shown}");
    let (_, told) = admin(&node, dir.path(), &["show", "99999"], 1).await;
    assert!(told.contains("404") && told.contains("no such subscription"), "{told}");
    let (_, told) = admin(&node, dir.path(), &["--hub", "hob", "list"], 1).await;
    assert!(told.contains("hob"), "{told}");
    admin(&node, dir.path(), &["deny", &id, "--reason", "no longer"], 0).await;
    let denial = receiver.gets(2).await[1].clone();
    assert_eq!(denial.parameter("hub.mode").as_deref(), Some("denied"));
    assert_eq!(denial.parameter("hub.reason").as_deref(), Some("no longer"));
    std::fs::write(dir.path().join("token"), "something that is not the token").unwrap();
    let (_, told) = admin(&node, dir.path(), &["list"], 1).await;
    assert!(told.contains("401") && !told.contains("something"), "{told}");
}

#[tokio::test]
async fn what_is_removed_behind_a_change_that_waits_is_sent_nothing() {
    let store = tempfile::tempdir().unwrap();
    let file = store.path().join("store.sqlite");
    let config = hub_in(&file, json!({}));
    let (node, first, second, dir) = (start(&config), Receiver::start().await, Receiver::start().await, desk());
    subscribe(&node, &first, &[]).await;
    subscribe(&node, &second, &[]).await;
    let (list, _) = admin(&node, dir.path(), &["list"], 0).await;
    let ids: Vec<_> = list.lines().filter_map(|line| line.split_whitespace().next()).collect();
    let [one, other] = *ids else { panic!("two subscriptions: {list}") };
    let is_sent_to = async |id: &str| admin(&node, dir.path(), &["show", id], 0).await.0.contains("\"delivery\": {");
    assert!(is_sent_to(one).await && is_sent_to(other).await);
    // A store whose file is gone takes nothing, so that the first change waits, and the second one behind it.
    std::fs::rename(&file, store.path().join("away")).unwrap();
    let remove = async |id: &str| admin(&node, dir.path(), &["remove", id], 1).await.1;
    let told = tokio::join!(remove(one), remove(other));
    assert!(told.0.contains("503") && told.1.contains("503"), "{told:?}");
    assert!(!is_sent_to(one).await && !is_sent_to(other).await);
}

#[tokio::test]
async fn dead_publications_are_sent_again_and_forgotten() {
    let (node, receiver, dir) = (start(&hub(json!({"delivery_retries": 1}))), Receiver::start().await, desk());
    subscribe(&node, &receiver, &[]).await;
    receiver.behave(|got, place| match got.method.as_str() {
        "POST" if place < 2 => Say::Status(500, String::new()),
        _ => polite(got, place),
    });
    for _ in 0..2 {
        publish(&node, dir.path(), &["news.txt"], 0).await;
    }
    receiver.posts(2).await;
    let two = async {
        loop {
            let (list, _) = admin(&node, dir.path(), &["dead"], 0).await;
            if list.lines().count() == 2 {
                return list;
            }
        }
    };
    let list = soon("two dead publications", two).await;
    assert!(list.contains(TOPIC), "{list}");
    let ids: Vec<&str> = list.lines().filter_map(|line| line.split_whitespace().next()).collect();
    admin(&node, dir.path(), &["forget", ids[0]], 0).await;
    admin(&node, dir.path(), &["replay", ids[1]], 0).await;
    assert_eq!(receiver.posts(3).await[2].text(), "the news");
    let (_, told) = admin(&node, dir.path(), &["forget", ids[0]], 1).await;
    assert!(told.contains("no such dead publication"), "{told}");
}

#[tokio::test]
async fn a_store_is_checked_and_copied_while_the_node_runs() {
    let mut config = hub(json!({}));
    config["store"] = json!({"type": "sqlite", "path": "hubs.sqlite"});
    let dir = home(&config);
    let (_, told) = cli(dir.path(), &["store", "check"], 1).await;
    assert!(told.contains("hubs.sqlite"), "{told}");
    let mut here = config.clone();
    here["store"]["path"] = json!(dir.path().join(".stentor/hubs.sqlite"));
    let node = start_with(configured(&here), 1);
    std::fs::write(dir.path().join("news.txt"), "the news").unwrap();
    publish(&node, dir.path(), &["news.txt"], 0).await;
    let (told, _) = cli(dir.path(), &["store", "check"], 0).await;
    assert!(told.contains("sound: 1 publications, 0 subscriptions"), "{told}");
    cli(dir.path(), &["store", "backup", "copy.sqlite"], 0).await;
    let (_, told) = cli(dir.path(), &["store", "backup", "copy.sqlite"], 1).await;
    assert!(told.contains("copy.sqlite"), "{told}");
    std::fs::write(dir.path().join(".stentor/other.sqlite"), "no store at all, but long enough to be looked at")
        .unwrap();
    config["store"]["path"] = json!("other.sqlite");
    crate::cli::configure(dir.path(), &config);
    cli(dir.path(), &["store", "check"], 1).await;
    config["store"] = json!({"type": "memory"});
    crate::cli::configure(dir.path(), &config);
    let (_, told) = cli(dir.path(), &["store", "check"], 2).await;
    assert!(told.contains("'memory'"), "{told}");
}
