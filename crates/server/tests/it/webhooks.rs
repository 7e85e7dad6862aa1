//! Webhooks on the wire: what goes out, and that both ways of sending them, by a lane and by hyper, come to the same end.

use std::time::Duration;

use bytes::Bytes;
use stentor::courier::{Courier, Notice, Options, Return};

use crate::house::PATIENCE;
use crate::scripted::{Act, BRIEF, Server, here, ok, options, say, shown};

pub(crate) fn notice(url: &str) -> Notice {
    Notice {
        url: url.into(),
        shared_fields: Bytes::from_static(b"x-one: 1\r\ncontent-length: 5\r\n"),
        own_fields: "x-two: a b\r\n".to_owned(),
        body: Bytes::from_static(b"hello"),
        timeout: PATIENCE,
    }
}

/// One webhook to a server that acts so, by the lane, and by hyper once the server has shown that it is elaborate; both end
/// in the same way.
async fn check_notice(act: Act, expected: &str) {
    for warnings in [0, 1] {
        let elaborate = Act::Last(b"HTTP/1.1 200 OK\r\n\r\nto the end".into());
        let script: Vec<_> = std::iter::repeat_n(elaborate, warnings).chain([act.clone()]).collect();
        let server = Server::start(script).await;
        let courier = Courier::new(options());
        for _ in 0..warnings {
            assert_eq!(shown(&courier.notify(notice(&server.url("/"))).await), "200 ");
        }
        let mut notice = notice(&server.url("/"));
        notice.timeout = if expected.contains("Timeout") { BRIEF } else { PATIENCE };
        assert_eq!(shown(&courier.notify(notice).await), expected, "{warnings} elaborate answers before");
        let requests = server.seen.requests.borrow();
        let request = format!(
            "POST / HTTP/1.1\r\nhost: {}\r\nuser-agent: stentor-test\r\nx-one: 1\r\ncontent-length: 5\r\nx-two: a b\r\n\r\nhello",
            server.address
        );
        assert!(requests.iter().all(|one| *one == request), "{requests:?}");
    }
}

#[tokio::test]
async fn webhooks_end_like_other_requests() {
    here(async {
        let head = |fields: &str| say(&format!("HTTP/1.1 200 OK\r\n{fields}\r\n"));
        check_notice(Act::Reset, "no answer: Reset").await;
        check_notice(Act::Last(Vec::new()), "no answer: Reset").await;
        check_notice(Act::Hang, "no answer: Timeout").await;
        check_notice(Act::Last(b"HTTP/1.1 200 OK\r\nConte".into()), "no answer: Reset").await;
        // The status is known, and nothing else was wanted.
        check_notice(Act::Last(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf".into()), "200 ").await;
        check_notice(Act::Last(b"HTTP/1.0 202 \r\n\r\n".into()), "202 ").await;
        check_notice(say("SSH-2.0-OpenSSH_9\r\n"), "no answer: Malformed").await;
        check_notice(say("HTTP/1.1 99999 No\r\n\r\n"), "no answer: Malformed").await;
        check_notice(head("Content-Length: 1\r\nContent-Length: 2\r\n"), "no answer: Malformed").await;
        check_notice(head(&format!("X: {}\r\n", "x".repeat(70_000))), "no answer: Malformed").await;
        check_notice(head(&"X: yyyyyyyyyyyyyyyyyyyy\r\n".repeat(5_000)), "no answer: Malformed").await;
        check_notice(Act::Drip("HTTP/1.1 200 OK\r\nX: "), "no answer: Timeout").await;
        check_notice(Act::Drip("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n"), "200 ").await;
        check_notice(say("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n"), "204 ").await;
        check_notice(say("HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n"), "302 ").await;
        check_notice(ok(&"b".repeat(1 << 20)), "200 ").await;
        check_notice(say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nc\r\n0\r\n\r\n"), "200 ").await;
        check_notice(Act::Drip("HTTP/1.1 200 OK\r\n\r\n"), "200 ").await;
    })
    .await;
}

/// Webhooks, one after the other, and over how many connections they went.
async fn check_lanes(script: Vec<Act>, connections: usize) {
    let webhooks = script.len();
    let server = Server::start(script).await;
    let courier = Courier::new(options());
    for _ in 0..webhooks {
        let result = courier.notify(notice(&server.url("/"))).await;
        assert!(matches!(result, Return::Answered(_)), "{}", shown(&result));
    }
    assert_eq!(server.seen.connections.get(), connections);
}

#[tokio::test]
async fn webhooks_share_connections() {
    here(async {
        check_lanes(vec![ok(""); 3], 1).await;
        check_lanes(vec![ok("short"); 3], 1).await;
        check_lanes(vec![ok(&"x".repeat(60_000)), ok("")], 1).await;
        check_lanes(vec![ok(&"x".repeat(70_000)), ok("")], 2).await;
        check_lanes(vec![say("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"), ok("")], 2).await;
        check_lanes(vec![Act::Last(b"HTTP/1.0 200 OK\r\n\r\n".into()), ok("")], 2).await;
        // The end of such an answer has to be read, and hyper does that from then on, over one connection.
        let pieces = say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nc\r\n0\r\n\r\n");
        check_lanes(vec![pieces; 4], 2).await;
        // Long ones have their own.
        let server = Server::start(vec![ok(""); 4]).await;
        let courier = Courier::new(options());
        for length in [5, 70_000, 5, 70_000] {
            let mut notice = notice(&server.url("/"));
            notice.shared_fields = format!("content-length: {length}\r\n").into();
            notice.body = vec![b'x'; length].into();
            assert_eq!(shown(&courier.notify(notice).await), "200 ");
        }
        assert_eq!((server.seen.connections.get(), courier.idle()), (2, 2));
    })
    .await;
}

#[tokio::test]
async fn a_lane_that_ended_while_idle_costs_nothing() {
    here(async {
        let said = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec();
        let mut server = Server::start(vec![Act::ThenEnd(said), ok("again"), Act::Reset]).await;
        let courier = Courier::new(options());
        assert_eq!(shown(&courier.notify(notice(&server.url("/"))).await), "200 ");
        server.ended(1).await;
        assert_eq!(shown(&courier.notify(notice(&server.url("/"))).await), "200 ");
        assert_eq!(server.seen.requests.borrow().len(), 2, "sent once each");
        // What may have arrived is not sent twice.
        assert_eq!(shown(&courier.notify(notice(&server.url("/"))).await), "no answer: Reset");
        assert_eq!(server.seen.requests.borrow().len(), 3);
    })
    .await;
}

#[tokio::test]
async fn idle_lanes_are_few_and_end() {
    here(async {
        let mut server = Server::start(vec![ok(""); 6]).await;
        let courier =
            Courier::new(Options { idle_timeout: Duration::from_millis(100), idle_per_host_max: 2, ..options() });
        let url = server.url("/");
        let all: Vec<_> = (0..6)
            .map(|_| {
                let (courier, url) = (courier.clone(), url.clone());
                tokio::task::spawn_local(async move { shown(&courier.notify(notice(&url)).await) })
            })
            .collect();
        for one in all {
            assert_eq!(one.await.unwrap(), "200 ");
        }
        server.ended(6).await;
        assert_eq!(courier.idle(), 0);
    })
    .await;
}
