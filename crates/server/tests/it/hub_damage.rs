//! A hub whose store is damaged: what it says of that.

use std::os::unix::fs::FileExt;
use std::path::Path;

use serde_json::json;

use crate::house::{configured, soon, start};
use crate::hub::{hub, publish, subscribe, subscriptions};
use crate::receiver::{Receiver, Say};

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
    let mut config = hub(json!({}));
    config["store"] = json!({"type": "sqlite", "path": file.to_str().unwrap()});
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
    receiver.behave(crate::receiver::polite);
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
async fn an_emptied_store_is_not_started_with() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("store.sqlite");
    std::fs::write(&file, "").unwrap();
    let mut config = hub(json!({}));
    config["store"] = json!({"type": "sqlite", "path": file.to_str().unwrap()});
    let settings = stentor::node::Settings { threads: 1, echo: stentor::node::wiring::Echo::Enabled };
    let refused = stentor::node::start(configured(&config), settings).map(drop).unwrap_err().0.join("\n");
    assert!(refused.contains(file.to_str().unwrap()) && refused.contains("the file is no store"), "{refused}");
    assert_eq!(std::fs::metadata(&file).unwrap().len(), 0);
}
