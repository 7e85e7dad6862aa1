//! Files: sent piece by piece, in parts where parts are asked for, and to nobody who does not read.

use std::fs::File;
use std::os::unix::fs::FileExt;

use serde_json::json;
use stentor::meter::Reason;
use tokio::io::AsyncReadExt;

use crate::house::{Node, PATIENCE, soon, start, web};
use crate::http::head;

/// More than a server would want in memory, and than all buffers on the way hold.
const LARGE: u64 = 80 << 20;

/// A node that serves a directory with one large file, whose octets at 1 MiB say "marker".
fn node(dir: &std::path::Path) -> Node {
    let file = File::create(dir.join("large.bin")).unwrap();
    file.set_len(LARGE).unwrap();
    file.write_all_at(b"marker", 1 << 20).unwrap();
    let mut config = web(json!({"files": {"type": "static", "directory": dir}}));
    config["workers"][0]["transports"][0]["limits"] = json!({"write_timeout": 500});
    start(&config)
}

#[tokio::test]
async fn a_file_of_any_size_is_sent() {
    let dir = tempfile::tempdir().unwrap();
    let node = node(dir.path());
    let mut http = node.http().await;
    http.send(head("GET", "/files/large.bin", &[])).await;
    let reply = http.reply_head().await;
    assert_eq!((reply.status, reply.header("content-length")), (200, Some(LARGE.to_string().as_str())));
    assert_eq!(reply.header("accept-ranges"), Some("bytes"));
    let (mut stream, octets) = http.into_parts();
    let mut received = octets.len() as u64;
    let mut room = vec![0; 1 << 16];
    while received < LARGE {
        received += soon("octets", stream.read(&mut room)).await.unwrap() as u64;
    }
    assert_eq!(received, LARGE);
}

#[tokio::test]
async fn parts_and_heads() {
    let dir = tempfile::tempdir().unwrap();
    let node = node(dir.path());
    let mut http = node.http().await;
    http.send(head("HEAD", "/files/large.bin", &[])).await;
    let reply = http.reply_head().await;
    assert_eq!((reply.status, reply.header("content-length")), (200, Some(LARGE.to_string().as_str())));
    let stamp = reply.header("last-modified").unwrap().to_owned();
    for range in
        [&[("Range", "bytes=1048576-1048581")][..], &[("Range", "bytes=1048576-1048581"), ("If-Range", &stamp)]]
    {
        http.send(head("GET", "/files/large.bin", range)).await;
        let reply = http.reply().await;
        assert_eq!((reply.status, reply.text()), (206, "marker"));
        assert_eq!(reply.header("content-range"), Some(format!("bytes 1048576-1048581/{LARGE}").as_str()));
    }
    http.send(head("GET", "/files/large.bin", &[("Range", "bytes=99999999-")])).await;
    let reply = http.reply().await;
    assert_eq!((reply.status, reply.header("content-range")), (416, Some(format!("bytes */{LARGE}").as_str())));
    http.send(head("GET", "/files/large.bin", &[("If-Modified-Since", &stamp), ("Range", "bytes=0-1")])).await;
    assert_eq!(http.reply().await.status, 304);
    std::fs::write(dir.path().join("empty.txt"), "").unwrap();
    http.send(head("GET", "/files/empty.txt", &[])).await;
    let reply = http.reply().await;
    assert_eq!((reply.status, reply.header("content-length")), (200, Some("0")));
}

#[tokio::test]
async fn a_file_that_becomes_shorter_is_broken_off() {
    let dir = tempfile::tempdir().unwrap();
    let node = node(dir.path());
    let mut http = node.http().await;
    http.send(head("GET", "/files/large.bin", &[])).await;
    assert_eq!(http.reply_head().await.status, 200);
    File::options().write(true).open(dir.path().join("large.bin")).unwrap().set_len(1 << 20).unwrap();
    let (mut stream, mut octets) = http.into_parts();
    drop(soon("the end", stream.read_to_end(&mut octets)).await);
    assert!((octets.len() as u64) < LARGE);
}

#[tokio::test]
async fn whoever_stops_reading_is_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let node = node(dir.path());
    let mut http = node.http().await;
    http.send(head("GET", "/files/large.bin", &[])).await;
    let given_up = async {
        while node.running.meters().closed.get(Reason::WriteTimeout) == 0 {
            tokio::time::sleep(PATIENCE / 1000).await;
        }
    };
    soon("the end", given_up).await;
    let (mut stream, mut octets) = http.into_parts();
    drop(soon("the end", stream.read_to_end(&mut octets)).await);
    assert!((octets.len() as u64) < LARGE);
}
