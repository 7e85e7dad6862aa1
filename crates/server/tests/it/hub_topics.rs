//! A hub's topics as resources: the newest content, and streams of events.

use serde_json::{Value, json};

use crate::house::{Node, soon, start};
use crate::http::{Http, Reply, head};
use crate::hub::{hub, send};

/// A hub whose topics are below `/topics` and streamed on `/sse`.
fn readable() -> Value {
    let mut config = hub(json!({}));
    let paths = &mut config["workers"][0]["transports"][0]["paths"];
    paths["topics"] = json!({"type": "websub-topic", "hub": "hub"});
    paths["sse"] = json!({"type": "sse", "hub": "hub"});
    config
}

fn topic(node: &Node) -> String {
    format!("http://{}/topics/news?lang=en", node.address(0))
}

async fn publish(node: &Node, content_type: &str, body: &[u8]) {
    let target = format!("/hub?topic={}", topic(node).replace('?', "%3F").replace('=', "%3D"));
    let reply = send(node, &target, &[("Content-Type", content_type)], body).await;
    assert_eq!(reply.status, 202, "{}", reply.text());
}

async fn get(node: &Node, headers: &[(&str, &str)]) -> Reply {
    let mut http = node.http().await;
    http.send(head("GET", "/topics/news?lang=en", headers)).await;
    http.reply().await
}

/// An open stream.
struct Stream {
    http: Http,
    text: String,
}

impl Stream {
    async fn open(node: &Node, target: &str, last: Option<&str>) -> Self {
        let mut http = node.http().await;
        let mut headers = vec![("Accept", "text/event-stream")];
        headers.extend(last.map(|last| ("Last-Event-ID", last)));
        http.send(head("GET", target, &headers)).await;
        let reply = http.reply_head().await;
        assert_eq!((reply.status, reply.header("content-type")), (200, Some("text/event-stream")));
        let mut stream = Self { http, text: String::new() };
        assert_eq!(stream.event().await, ": connected");
        stream
    }

    /// The next event, without the empty line at its end.
    async fn event(&mut self) -> String {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.text = rest;
                return event;
            }
            let chunk = self.http.chunk().await;
            assert!(!chunk.is_empty(), "the stream ended");
            self.text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    async fn data(&mut self) -> (String, String) {
        let event = self.event().await;
        let (id, data) = event.split_once('\n').unwrap();
        (id.strip_prefix("id: ").unwrap().to_owned(), data.to_owned())
    }
}

#[tokio::test]
async fn the_newest_content_is_served_with_the_links() {
    let node = start(&readable());
    let nothing = get(&node, &[]).await;
    assert_eq!(nothing.status, 204);
    let link = format!("<http://{}/hub>; rel=\"hub\", <{}>; rel=\"self\"", node.address(0), topic(&node));
    assert_eq!(nothing.header("link"), Some(link.as_str()));
    publish(&node, "text/plain", b"old").await;
    publish(&node, "application/x-test", &[255, 0]).await;
    let newest = get(&node, &[]).await;
    assert_eq!((newest.status, newest.body.as_slice()), (200, &[255, 0][..]));
    assert_eq!(newest.header("content-type"), Some("application/x-test"));
    assert_eq!(newest.header("link"), Some(link.as_str()));
    let tag = newest.header("etag").unwrap();
    let same = get(&node, &[("If-None-Match", tag)]).await;
    assert_eq!((same.status, same.body.len()), (304, 0));
    assert_eq!(send(&node, "/topics/news", &[], b"").await.status, 405);
}

#[tokio::test]
async fn a_stream_has_what_comes_and_resumes() {
    let node = start(&readable());
    publish(&node, "text/plain", b"before").await;
    let encoded = topic(&node).replace('?', "%3F").replace('=', "%3D");
    let mut by_topic = Stream::open(&node, "/topics/news?lang=en", None).await;
    let mut by_query = Stream::open(&node, &format!("/sse?topic={encoded}"), None).await;
    for body in ["one", "two\nlines"] {
        publish(&node, "text/plain", body.as_bytes()).await;
    }
    let (first, data) = by_topic.data().await;
    assert_eq!(data, "data: one");
    let (second, data) = by_topic.data().await;
    assert_eq!(data, "data: two\ndata: lines");
    assert_eq!(by_query.data().await, (first.clone(), "data: one".to_owned()));
    let mut resumed = Stream::open(&node, "/topics/news?lang=en", Some(&first)).await;
    assert_eq!(resumed.data().await.0, second);
    publish(&node, "text/plain", b"three").await;
    assert_eq!(resumed.data().await.1, "data: three");
    // Another log: everything that is there, after a word about it.
    let mut stranger = Stream::open(&node, "/topics/news?lang=en", Some("dead-1")).await;
    assert!(stranger.event().await.starts_with("event: gap\n"));
    assert_eq!(stranger.data().await.1, "data: before");
}

#[tokio::test]
async fn a_reader_that_falls_behind_misses_nothing() {
    let node = start(&readable());
    let mut stream = Stream::open(&node, "/topics/news?lang=en", None).await;
    for number in 0..1000 {
        publish(&node, "text/plain", number.to_string().as_bytes()).await;
    }
    for number in 0..1000 {
        assert_eq!(stream.data().await.1, format!("data: {number}"));
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_stream_is_said() {
    let node = start(&readable());
    let check = async |target: &str, headers: &[(&str, &str)], status: u16| {
        let mut http = node.http().await;
        http.send(head("GET", target, headers)).await;
        let reply = http.reply().await;
        assert_eq!(reply.status, status, "{target}: {}", reply.text());
    };
    check("/sse", &[], 400).await;
    check("/sse?topic=x", &[], 400).await;
    check("/sse?topic=http://t/&topic=http://u/", &[], 400).await;
    check("/sse?topic=http://t/", &[("Last-Event-ID", "x")], 400).await;
}

#[tokio::test]
async fn streams_end_with_the_node() {
    let node = start(&readable());
    let mut stream = Stream::open(&node, "/topics/news?lang=en", None).await;
    let (_, rest) = tokio::join!(node.running.stop(), stream.http.chunk());
    assert!(rest.is_empty());
}

#[tokio::test]
async fn what_was_acknowledged_before_the_end_is_streamed() {
    let node = start(&readable());
    let mut stream = Stream::open(&node, "/topics/news?lang=en", None).await;
    for number in 0..50 {
        publish(&node, "text/plain", number.to_string().as_bytes()).await;
    }
    let rest = async {
        let mut text = String::new();
        loop {
            let chunk = stream.http.chunk().await;
            if chunk.is_empty() {
                return text;
            }
            text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    };
    let (_, text) = tokio::join!(node.running.stop(), rest);
    assert_eq!(text.matches("\nid: ").count() + usize::from(text.starts_with("id: ")), 50, "{text}");
}

#[tokio::test]
async fn what_is_in_memory_is_another_log_after_a_restart() {
    let mut places = Vec::new();
    for _ in 0..2 {
        let node = start(&readable());
        publish(&node, "text/plain", b"1").await;
        places.push(get(&node, &[]).await.header("etag").unwrap().to_owned());
    }
    assert_ne!(places[0], places[1]);
}

#[tokio::test]
async fn who_refuses_a_stream_gets_the_newest() {
    let node = start(&readable());
    publish(&node, "text/plain", b"1").await;
    let reply = get(&node, &[("Accept", "text/event-stream;q=0, */*")]).await;
    assert_eq!((reply.status, reply.text()), (200, "1"));
}

#[tokio::test]
async fn a_gap_is_told_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = readable();
    config["store"] =
        json!({"type": "sqlite", "path": folder.path().join("store.sqlite").to_str().unwrap(), "history_entries": 1});
    let node = start(&config);
    let target = "/sse?topic=http://t/";
    let mut stream = Stream::open(&node, target, None).await;
    for body in ["1", "2", "3"] {
        let reply = send(&node, "/hub?topic=http://t/", &[("Content-Type", "text/plain")], body.as_bytes()).await;
        assert_eq!(reply.status, 202, "{}", reply.text());
    }
    let (place, _) = stream.data().await;
    drop(stream);
    node.running.stop().await;
    let node = start(&config);
    // The log is cut at the start, and nobody says when that is done.
    let cut = async {
        while !Stream::open(&node, target, Some(&place)).await.event().await.starts_with("event: gap\n") {
            tokio::task::yield_now().await;
        }
    };
    soon("the log to be cut", cut).await;
    let beyond = place.replace("-1", "-1000000000");
    for last in ["dead-1", &place, &beyond] {
        let mut stream = Stream::open(&node, target, Some(last)).await;
        assert!(stream.event().await.starts_with("event: gap\n"), "{last}");
        assert_eq!(stream.data().await.1, "data: 3", "{last}");
    }
}
