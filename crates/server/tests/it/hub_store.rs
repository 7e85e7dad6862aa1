//! A hub and what it keeps: over restarts, when there is no room, and when the file is damaged.

use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use serde_json::json;

use crate::house::{configured, soon, start};
use crate::hub::{TOPIC, admin, ask, hub, hub_in, offer, publish, send, subscribe, subscribe_to, subscriptions, texts};
use crate::receiver::{Got, Receiver, Say, polite};

/// Overwrites the first page of a file that has this text.
fn damage(file: &Path, text: &[u8]) {
    let octets = std::fs::read(file).unwrap();
    let at = octets.windows(text.len()).position(|window| window == text).unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(file).unwrap();
    file.write_all_at(&[0x5a; 4096], at as u64 / 4096 * 4096).unwrap();
}

#[tokio::test]
async fn who_gets_nothing_is_shown_with_the_reason() {
    let (folder, receiver) = (tempfile::tempdir().unwrap(), Receiver::start().await);
    let file = folder.path().join("store.sqlite");
    let config = hub_in(&file, json!({}));
    let node = start(&config);
    subscribe(&node, &receiver, &[]).await;
    receiver.behave(|_, _| Say::Status(503, String::new()));
    for number in 0..150 {
        publish(&node, &format!("{number} {}", "x".repeat(3000))).await;
    }
    receiver.posts(1).await;
    node.running.stop().await;
    damage(&file, b"120 xxx");
    let node = start(&config);
    receiver.behave(polite);
    let told = async {
        loop {
            let one = subscriptions(&node).await.remove(0);
            let text = one["last_failure"]["text"].as_str().unwrap_or_default().to_owned();
            if text.contains("damaged") {
                return (text, one["last_failure"]["status"].clone());
            }
        }
    };
    let (text, status) = soon("word of the damage", told).await;
    assert!(text.starts_with("nothing was sent: the store cannot be read here: "), "{text}");
    assert!(status.is_null());
}

#[tokio::test]
async fn what_changed_in_the_file_is_not_sent() {
    let (folder, receiver) = (tempfile::tempdir().unwrap(), Receiver::start().await);
    let file = folder.path().join("store.sqlite");
    let config = hub_in(&file, json!({}));
    let node = start(&config);
    subscribe(&node, &receiver, &[]).await;
    receiver.behave(|_, _| Say::Status(503, String::new()));
    let texts_sent: Vec<_> = (0..20).map(|number| format!("publication {number:02}: amount=1000")).collect();
    for text in &texts_sent {
        publish(&node, text).await;
    }
    receiver.posts(1).await;
    node.running.stop().await;
    let before = receiver.posts(1).await.len();
    let octets = std::fs::read(&file).unwrap();
    let at = octets.windows(14).position(|window| window == b"publication 12").unwrap();
    let store = std::fs::OpenOptions::new().write(true).open(&file).unwrap();
    store.write_all_at(b"9", at as u64 + 23).unwrap();
    let node = start(&config);
    receiver.behave(polite);
    let posts = receiver.posts(before + 12).await;
    assert_eq!(texts(&posts[before..]), texts_sent[..12], "what lies before the damage arrives");
    let told = async {
        loop {
            let one = subscriptions(&node).await.remove(0);
            let text = one["last_failure"]["text"].as_str().unwrap_or_default().to_owned();
            if one["delivery"]["state"] == "reading" && text.contains("damaged") {
                return text;
            }
        }
    };
    let said = soon("word of the damage", told).await;
    assert!(said.contains(&format!("offset 13 of {TOPIC} is not the one that was written")), "{said}");
    assert_eq!(receiver.posts(before + 12).await.len(), before + 12);
}

#[tokio::test]
async fn an_emptied_store_is_not_started_with() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("store.sqlite");
    std::fs::write(&file, "").unwrap();
    let config = hub_in(&file, json!({}));
    let settings = stentor::node::Settings { threads: 1, echo: stentor::node::wiring::Echo::Enabled };
    let refused = stentor::node::start(configured(&config), settings).map(drop).unwrap_err().0.join("\n");
    assert!(refused.contains(file.to_str().unwrap()) && refused.contains("the file is no store"), "{refused}");
    assert_eq!(std::fs::metadata(&file).unwrap().len(), 0);
}

#[tokio::test]
async fn a_restart_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let receiver = Receiver::start().await;
    let config = hub_in(&dir.path().join("store.sqlite"), json!({}));
    let node = start(&config);
    subscribe(&node, &receiver, &[("hub.secret", "kept")]).await;
    receiver.behave(|_, _| Say::Status(503, String::new()));
    for text in ["one", "two"] {
        publish(&node, text).await;
    }
    receiver.posts(1).await;
    node.running.stop().await;
    let before = receiver.posts(1).await.len();
    receiver.behave(polite);
    let node = start(&config);
    publish(&node, "three").await;
    let posts = receiver.posts(before + 3).await;
    assert_eq!(texts(&posts[before..]), ["one", "two", "three"]);
    assert!(posts.last().unwrap().header("x-hub-signature").is_some());
}

/// A read of the log brings a hundred publications, or half a mebioctet: the last page of a backlog may be as long.
#[tokio::test]
async fn nothing_behind_a_backlog_is_lost() {
    for (count, octets) in [(100, 10), (1, 600_000)] {
        let dir = tempfile::tempdir().unwrap();
        let receiver = Receiver::start().await;
        let config = hub_in(&dir.path().join("store.sqlite"), json!({}));
        let node = start(&config);
        subscribe(&node, &receiver, &[]).await;
        receiver.behave(|_, _| Say::Status(503, String::new()));
        let backlog: Vec<String> = (0..count).map(|at| format!("{at} {}", "x".repeat(octets))).collect();
        for text in &backlog {
            publish(&node, text).await;
        }
        receiver.posts(1).await;
        node.running.stop().await;
        let before = receiver.posts(1).await.len();
        receiver.behave(polite);
        let node = start(&config);
        let caught_up = receiver.posts(before + count).await;
        assert!(texts(&caught_up[before..]).iter().eq(&backlog));
        for text in ["next", "one more"] {
            publish(&node, text).await;
        }
        let posts = receiver.posts(before + count + 2).await;
        assert_eq!(texts(&posts[before + count..]), ["next", "one more"]);
    }
}

#[tokio::test]
async fn a_full_log_refuses_and_goes_on_delivering() {
    let mut config = hub(json!({}));
    config["store"]["log_bytes_max"] = json!(1 << 20);
    let (node, receiver) = (start(&config), Receiver::start().await);
    subscribe(&node, &receiver, &[]).await;
    receiver.behave(|_, _| Say::Status(503, String::new()));
    let body = "x".repeat(100_000);
    let mut accepted = 0;
    let refused = loop {
        let reply = offer(&node, &body).await;
        if reply.status != 202 {
            break reply;
        }
        accepted += 1;
        assert!(accepted < 20, "the log takes more than its limit");
    };
    assert_eq!((refused.status, refused.text().lines().count()), (507, 1));
    assert!(refused.text().contains("log_bytes_max"), "{}", refused.text());
    let tried = receiver.posts(1).await.len();
    receiver.behave(polite);
    let delivered = |got: &[Got]| got.iter().filter(|one| one.header("stentor-sequence").is_some()).count();
    receiver.until("all deliveries", |got| delivered(got) >= tried + accepted - 1).await;
}

#[tokio::test]
async fn a_full_disk_refuses_and_nothing_acknowledged_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = hub_in(&dir.path().join("store.sqlite"), json!({}));
    config["store"]["file_bytes_max"] = json!(1 << 20);
    let (node, receiver) = (start(&config), Receiver::start().await);
    subscribe(&node, &receiver, &[]).await;
    let mut accepted: Vec<String> = Vec::new();
    let refused = loop {
        let body = format!("{}:{}", accepted.len(), "x".repeat(100_000));
        let reply = offer(&node, &body).await;
        if reply.status != 202 {
            break reply;
        }
        accepted.push(body);
        assert!(accepted.len() < 30, "the disk takes more than it has");
    };
    assert_eq!((refused.status, refused.text()), (507, "the hub's disk is full; nothing was published\n"));
    assert_eq!(texts(&receiver.posts(accepted.len()).await), accepted);
    assert_eq!(subscriptions(&node).await.len(), 1);
    // Who subscribes now would be forgotten after having agreed, so that nobody asks. (A cursor that finds room to be
    // written in makes the store well again until the next refusal.)
    let other = Receiver::start().await;
    let body = "x".repeat(100_000);
    let mut status = 202;
    for _ in 0..20 {
        assert_eq!(offer(&node, &body).await.status, 507);
        let topic = format!("{TOPIC}/{status}");
        let fields = [("hub.mode", "subscribe"), ("hub.topic", &*topic), ("hub.callback", &*other.url("/late"))];
        let reply = ask(&node, &fields).await;
        status = reply.status;
        if status == 503 {
            assert!(reply.text().contains("takes no subscriptions"), "{}", reply.text());
            break;
        }
    }
    assert_eq!(status, 503);
}

/// What was read last need not be all: the next publication may have been too large for the page. Whoever is behind gets the
/// rest without anybody publishing, and who is not misses nothing of what comes then.
#[tokio::test]
async fn large_and_small_ones_in_turn_arrive_after_a_start() {
    let folder = tempfile::tempdir().unwrap();
    let (slow, healthy) = (Receiver::start().await, Receiver::start().await);
    let config = hub_in(&folder.path().join("store.sqlite"), json!({}));
    let node = start(&config);
    subscribe(&node, &slow, &[]).await;
    subscribe(&node, &healthy, &[]).await;
    slow.behave(|_, _| Say::Status(503, String::new()));
    let large = "x".repeat(1_100_000);
    for text in ["one", &large, "three", &large] {
        publish(&node, text).await;
    }
    healthy.posts(4).await;
    slow.posts(1).await;
    node.running.stop().await;
    let before = slow.posts(1).await.len();
    slow.behave(polite);
    let node = start(&config);
    let posts = slow.posts(before + 4).await;
    assert!(texts(&posts[before..]) == ["one", &large, "three", &large]);
    for text in ["five", "six"] {
        publish(&node, text).await;
    }
    for (receiver, before) in [(&slow, before + 4), (&healthy, 4)] {
        assert_eq!(texts(&receiver.posts(before + 2).await[before..]), ["five", "six"]);
    }
}

/// The end of a subscription is told while its renewal is being written: whichever of the two comes first, what is listed is
/// what is served, and what was answered with 410 is not sent again.
#[tokio::test]
async fn an_end_during_a_renewal_leaves_nothing_behind() {
    const ROUNDS: usize = 10;
    let (folder, receiver) = (tempfile::tempdir().unwrap(), Receiver::start().await);
    let node = start(&hub_in(&folder.path().join("store.sqlite"), json!({})));
    let topics = (0..ROUNDS).map(|round| format!("{TOPIC}/{round}"));
    let callback = receiver.url("/callback?mine=1");
    for (round, topic) in topics.enumerate() {
        receiver.behave(polite);
        subscribe_to(&node, &topic, &receiver, &[]).await;
        let renewed = Arc::new(tokio::sync::Notify::new());
        receiver.behave(move |got, place| match got.method.as_str() {
            "POST" => Say::Later(Arc::clone(&renewed), 410),
            _ => {
                renewed.notify_one();
                polite(got, place)
            }
        });
        let target = format!("/hub?topic={topic}");
        assert_eq!(send(&node, &target, &[("Content-Type", "text/plain")], b"end").await.status, 202);
        receiver.posts(round + 1).await;
        let fields = [("hub.mode", "subscribe"), ("hub.topic", &topic), ("hub.callback", &callback)];
        assert_eq!(ask(&node, &fields).await.status, 202);
        let figures = async || admin(&node, "GET", "/admin/hubs", "").await.json()["hubs"][0].clone();
        let both_known = async {
            while {
                let figures = figures().await;
                figures["gone"] != round + 1 || figures["requests_under_way"] != 0
            } {
                tokio::task::yield_now().await;
            }
        };
        soon("the renewal and the end", both_known).await;
        // Changes are written one after the other, so this one is answered after all of them.
        assert_eq!(admin(&node, "DELETE", "/admin/hubs/hub/subscriptions/999999", "").await.status, 404);
        assert_eq!(figures().await["subscriptions"], subscriptions(&node).await.len(), "round {round}");
    }
    assert_eq!(receiver.posts(ROUNDS).await.len(), ROUNDS);
}
