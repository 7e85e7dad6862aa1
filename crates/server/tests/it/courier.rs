//! The courier against servers that follow a script: what goes over the wire, and what it makes of what comes back.

use std::cell::Cell;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::{HeaderMap, Method};
use rustls::RootCertStore;
use stentor::courier::{Addresses, AnswerLimit, Courier, Options, Parcel, Resolve, Return, fetch};
use stentor_websub::guard::Guard;
use stentor_websub::message::{Fetch, FetchFault, FetchOutcome};
use stentor_websub::options::FetchOptions;
use tokio::net::TcpListener;

use crate::house::PATIENCE;
use crate::scripted::{Act, BRIEF, Server, here, ok, options, say, shown};
use crate::webhooks::notice;

fn parcel(url: &str) -> Parcel {
    Parcel {
        method: Method::POST,
        url: url.into(),
        headers: HeaderMap::new(),
        body: Bytes::from_static(b"hello"),
        timeout: PATIENCE,
        answer: AnswerLimit::Whole(1 << 20),
    }
}

#[tokio::test]
async fn requests_are_what_was_asked_for() {
    here(async {
        let server = Server::start(vec![ok("fine"), ok(""), ok("")]).await;
        let courier = Courier::new(options());
        let mut first = parcel(&server.url("/%7Ecb//../x?a='%27+&{b}|c=%zz"));
        first.headers.insert("x-one", "1".parse().unwrap());
        first.headers.append("x-two", "a".parse().unwrap());
        first.headers.append("x-two", "b".parse().unwrap());
        assert_eq!(shown(&courier.send(first).await), "200 fine");
        let mut second = parcel(&format!("HTTP://{}?", server.address));
        (second.method, second.body) = (Method::GET, Bytes::new());
        second.headers.insert("user-agent", "somebody".parse().unwrap());
        second.headers.insert("host", "elsewhere".parse().unwrap());
        courier.send(second).await;
        let mut third = parcel(&server.url(""));
        third.body = Bytes::new();
        courier.send(third).await;
        let requests = server.seen.requests.borrow();
        let host = server.address;
        let expected = format!(
            "POST /%7Ecb//../x?a='%27+&{{b}}|c=%zz HTTP/1.1\r\nhost: {host}\r\nuser-agent: stentor-test\r\n\
             x-one: 1\r\nx-two: a\r\nx-two: b\r\ncontent-length: 5\r\n\r\nhello",
        );
        assert_eq!(requests[0], expected);
        assert_eq!(requests[1], format!("GET /? HTTP/1.1\r\nhost: {host}\r\nuser-agent: somebody\r\n\r\n"));
        // RFC 9110, section 8.6: a POST says that it has no content.
        let expected =
            format!("POST / HTTP/1.1\r\nhost: {host}\r\nuser-agent: stentor-test\r\ncontent-length: 0\r\n\r\n");
        assert_eq!(requests[2], expected);
        assert_eq!(server.seen.connections.get(), 1, "one connection for all");
    })
    .await;
}

/// One request to a server that acts so, and how it ends.
async fn check_act(act: Act, limit: AnswerLimit, expected: &str) {
    let server = Server::start(vec![act]).await;
    let mut parcel = parcel(&server.url("/"));
    parcel.timeout = if expected.contains("Timeout") { BRIEF } else { PATIENCE };
    parcel.answer = limit;
    let courier = Courier::new(options());
    assert_eq!(shown(&courier.send(parcel).await), expected, "{limit:?}");
}

#[tokio::test]
async fn every_ending_has_a_name() {
    here(async {
        let whole = AnswerLimit::Whole(100);
        let head = |fields: &str| say(&format!("HTTP/1.1 200 OK\r\n{fields}\r\n"));
        check_act(Act::Reset, whole, "no answer: Reset").await;
        check_act(Act::Last(Vec::new()), whole, "no answer: Reset").await;
        check_act(Act::Hang, whole, "no answer: Timeout").await;
        check_act(Act::Last(b"HTTP/1.1 200 OK\r\nConte".into()), whole, "no answer: Reset").await;
        check_act(Act::Last(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf".into()), whole, "no answer: Reset")
            .await;
        check_act(Act::Last(b"HTTP/1.1 200 OK\r\n\r\nto the end".into()), whole, "200 to the end").await;
        check_act(Act::Last(b"HTTP/1.0 202 \r\n\r\n".into()), whole, "202 ").await;
        check_act(say("SSH-2.0-OpenSSH_9\r\n"), whole, "no answer: Malformed").await;
        check_act(say("HTTP/1.1 99999 No\r\n\r\n"), whole, "no answer: Malformed").await;
        check_act(head("Transfer-Encoding: chunked\r\n\r\nzz\r\nno"), whole, "no answer: Malformed").await;
        check_act(head("Content-Length: 1\r\nContent-Length: 2\r\n"), whole, "no answer: Malformed").await;
        // Fields: 64 KiB, whether they end or not.
        check_act(head(&format!("X: {}\r\n", "x".repeat(70_000))), whole, "no answer: Malformed").await;
        check_act(head(&"X: yyyyyyyyyyyyyyyyyyyy\r\n".repeat(5_000)), whole, "no answer: Malformed").await;
        check_act(say(&format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(200_000))), whole, "no answer: Malformed").await;
        check_act(Act::Drip("HTTP/1.1 200 OK\r\nX: "), whole, "no answer: Timeout").await;
        check_act(Act::Drip("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n"), whole, "no answer: Timeout").await;
        // Interim answers are passed over.
        let interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n";
        check_act(say(&format!("{interim}HTTP/1.1 204 No Content\r\n\r\n")), whole, "204 ").await;
        // Redirects are answers.
        check_act(say("HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n"), whole, "302 ").await;
    })
    .await;
}

#[tokio::test]
async fn bodies_are_read_as_far_as_wanted() {
    here(async {
        let length = |n: usize| ok(&"b".repeat(n));
        let pieces = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n";
        let endless = Act::Drip("HTTP/1.1 200 OK\r\n\r\n");
        let error = say("HTTP/1.1 500 No\r\nContent-Length: 3\r\n\r\nbad");
        check_act(length(100), AnswerLimit::Whole(100), &format!("200 {}", "b".repeat(100))).await;
        check_act(length(101), AnswerLimit::Whole(100), "too long").await;
        check_act(say(pieces), AnswerLimit::Whole(3), "200 abc").await;
        check_act(say(pieces), AnswerLimit::Whole(2), "too long").await;
        check_act(endless.clone(), AnswerLimit::Whole(4), "too long").await;
        check_act(say(pieces), AnswerLimit::First(3), "200 abc").await;
        check_act(say(pieces), AnswerLimit::First(2), "200 ab").await;
        check_act(length(1), AnswerLimit::First(2), "200 b").await;
        check_act(length(9), AnswerLimit::First(0), "200 ").await;
        check_act(endless.clone(), AnswerLimit::First(4), "200 xxxx").await;
        check_act(length(1 << 20), AnswerLimit::Discard, "200 ").await;
        check_act(say(pieces), AnswerLimit::Discard, "200 ").await;
        // The status is known, and nothing else was wanted.
        check_act(endless, AnswerLimit::Discard, "200 ").await;
        check_act(say(pieces), AnswerLimit::Content(2), "too long").await;
        check_act(error.clone(), AnswerLimit::Content(9), "500 ").await;
        check_act(error, AnswerLimit::Content(2), "500 ").await;
    })
    .await;
}

/// Two requests, one after the other, and over how many connections they went.
async fn check_reuse(first: Act, limit: AnswerLimit, connections: usize) {
    let server = Server::start(vec![first, ok("")]).await;
    let courier = Courier::new(options());
    for _ in 0..2 {
        let mut parcel = parcel(&server.url("/"));
        parcel.answer = limit;
        let result = courier.send(parcel).await;
        assert!(matches!(result, Return::Answered(_)), "{}", shown(&result));
    }
    assert_eq!(server.seen.connections.get(), connections, "{limit:?}");
}

#[tokio::test]
async fn connections_are_used_again_when_the_answer_was_read() {
    here(async {
        check_reuse(ok(""), AnswerLimit::Discard, 1).await;
        check_reuse(ok("short"), AnswerLimit::Discard, 1).await;
        check_reuse(ok(&"x".repeat(60_000)), AnswerLimit::Discard, 1).await;
        check_reuse(ok(&"x".repeat(70_000)), AnswerLimit::Discard, 2).await;
        check_reuse(ok("short"), AnswerLimit::First(5), 1).await;
        check_reuse(ok("short"), AnswerLimit::First(4), 2).await;
        check_reuse(ok("short"), AnswerLimit::Whole(5), 1).await;
        check_reuse(say("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"), AnswerLimit::Discard, 2)
            .await;
        check_reuse(Act::Last(b"HTTP/1.0 200 OK\r\n\r\n".into()), AnswerLimit::Whole(5), 2).await;
    })
    .await;
}

#[tokio::test]
async fn a_connection_that_ended_while_idle_costs_nothing() {
    here(async {
        let said = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec();
        let mut server = Server::start(vec![Act::ThenEnd(said), ok("again")]).await;
        let courier = Courier::new(options());
        assert_eq!(shown(&courier.send(parcel(&server.url("/"))).await), "200 ");
        server.ended(1).await;
        assert_eq!(shown(&courier.send(parcel(&server.url("/"))).await), "200 again");
        assert_eq!(server.seen.requests.borrow().len(), 2, "sent once each");
    })
    .await;
}

#[tokio::test]
async fn what_may_have_arrived_is_not_sent_twice() {
    here(async {
        let server = Server::start(vec![ok(""), Act::Reset]).await;
        let courier = Courier::new(options());
        assert_eq!(shown(&courier.send(parcel(&server.url("/"))).await), "200 ");
        assert_eq!(shown(&courier.send(parcel(&server.url("/"))).await), "no answer: Reset");
        assert_eq!(server.seen.requests.borrow().len(), 2);
    })
    .await;
}

#[tokio::test]
async fn idle_connections_are_few_and_end() {
    here(async {
        let mut server = Server::start(vec![ok(""); 6]).await;
        let courier = Courier::new(Options { idle_timeout: BRIEF, ..options() });
        let url = server.url("/");
        let all: Vec<_> = (0..6)
            .map(|_| {
                let courier = courier.clone();
                let parcel = parcel(&url);
                tokio::task::spawn_local(async move { shown(&courier.send(parcel).await) })
            })
            .collect();
        for task in all {
            assert_eq!(task.await.unwrap(), "200 ");
        }
        assert_eq!(server.seen.connections.get(), 6);
        assert_eq!(courier.idle(), 4, "idle_per_host_max");
        server.ended(6).await;
        assert_eq!(courier.idle(), 0);
    })
    .await;
}

#[tokio::test]
async fn a_dropped_future_breaks_off() {
    here(async {
        let mut server =
            Server::start(vec![Act::Hang, Act::Drip("HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n")]).await;
        let courier = Courier::new(options());
        for number in 1..=2 {
            let sending = tokio::time::timeout(BRIEF, courier.send(parcel(&server.url("/"))));
            assert!(sending.await.is_err());
            server.ended(number).await;
        }
    })
    .await;
}

#[tokio::test]
async fn nothing_is_sent_without_a_connection() {
    here(async {
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let courier = Courier::new(options());
        assert_eq!(shown(&courier.send(parcel(&format!("http://{closed}/"))).await), "not sent: Connect");
        // Accepted by the system, answered by nobody: TLS never gets going.
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut parcel = parcel(&format!("https://{}/", silent.local_addr().unwrap()));
        parcel.timeout = BRIEF;
        assert_eq!(shown(&courier.send(parcel.clone()).await), "not sent: Connect");
        let courier = Courier::new(Options { connect_timeout: BRIEF, ..options() });
        parcel.timeout = PATIENCE;
        assert_eq!(shown(&courier.send(parcel).await), "not sent: Connect");
    })
    .await;
}

/// Gives one answer after the other, and counts how often it was asked.
struct Fickle {
    answers: Vec<Vec<IpAddr>>,
    asked: Rc<Cell<usize>>,
}

impl Resolve for Fickle {
    fn resolve<'a>(&'a self, _: &'a str) -> Addresses<'a> {
        let at = self.asked.replace(self.asked.get() + 1).min(self.answers.len() - 1);
        Box::pin(async move { Ok(self.answers[at].clone()) })
    }
}

#[tokio::test]
async fn names_lead_only_where_the_guard_allows() {
    here(async {
        let check = async |answers: &[&[&str]], expected: &str| {
            let server = Server::start(vec![ok("hi")]).await;
            // One's own network is closed, save for this one address.
            let guard = Guard { allow: vec!["127.0.0.1/32".parse().unwrap()], ..Guard::default() };
            let asked = Rc::new(Cell::new(0));
            let parsed = |list: &&[&str]| list.iter().map(|ip| ip.parse().unwrap()).collect();
            let fickle = Fickle { answers: answers.iter().map(parsed).collect(), asked: Rc::clone(&asked) };
            let courier = Courier::with_resolver(Options { guard, ..options() }, Box::new(fickle));
            let url = format!("http://name.example:{}/", server.address.port());
            assert_eq!(shown(&courier.send(parcel(&url)).await), expected, "{answers:?}");
            assert_eq!(asked.get(), 1, "asked once, so that nothing changes in between");
            assert_eq!(server.seen.connections.get(), usize::from(expected.starts_with("200")));
        };
        check(&[&["127.0.0.1"]], "200 hi").await;
        // Those that are not allowed are passed over, first or last.
        check(&[&["127.0.0.2", "10.0.0.1", "::1", "127.0.0.1"]], "200 hi").await;
        check(&[&["::ffff:127.0.0.1"]], "200 hi").await;
        // A name that changes: the second answer is never asked for.
        check(&[&["127.0.0.1"], &["127.0.0.2"]], "200 hi").await;
        check(&[&["127.0.0.2"], &["127.0.0.1"]], "not sent: Address").await;
        check(&[&["169.254.169.254", "192.168.0.1", "fd00::1", "::"]], "not sent: Address").await;
        check(&[&[]], "not sent: Dns").await;
    })
    .await;
}

#[tokio::test]
async fn addresses_are_tried_in_their_order() {
    here(async {
        let check = async |answer: &[&str], expected: &str| {
            // Listens on one address; at the others of this machine nobody does.
            let server = Server::start(vec![ok("hi")]).await;
            let answers = vec![answer.iter().map(|ip| ip.parse().unwrap()).collect()];
            let resolver = Box::new(Fickle { answers, asked: Rc::default() });
            let courier = Courier::with_resolver(options(), resolver);
            let url = format!("http://name.example:{}/", server.address.port());
            assert_eq!(shown(&courier.send(parcel(&url)).await), expected, "{answer:?}");
        };
        check(&["127.0.0.1", "127.0.0.2"], "200 hi").await;
        check(&["127.0.0.2", "127.0.0.3", "127.0.0.1"], "200 hi").await;
        check(&["127.0.0.2", "127.0.0.3"], "not sent: Connect").await;
    })
    .await;
}

/// A server with a certificate for `localhost` that answers each connection's first request with what was agreed on.
async fn secured(alpn: &[&[u8]]) -> (SocketAddr, RootCertStore, Rc<Cell<usize>>) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.into())
        .unwrap();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let connections = Rc::new(Cell::new(0));
    let counted = Rc::clone(&connections);
    tokio::task::spawn_local(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, counted) = (acceptor.clone(), Rc::clone(&counted));
            tokio::task::spawn_local(async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                counted.set(counted.get() + 1);
                let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                let io = hyper_util::rt::TokioIo::new(stream);
                let service = hyper::service::service_fn(told);
                if is_http2 {
                    let _ = hyper::server::conn::http2::Builder::new(Here).serve_connection(io, service).await;
                } else {
                    let _ = hyper::server::conn::http1::Builder::new().serve_connection(io, service).await;
                }
            });
        }
    });
    (address, roots, connections)
}

#[derive(Clone, Copy)]
struct Here;

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for Here {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}

/// Says what it was asked; `/hang` is never answered.
async fn told(
    request: hyper::Request<hyper::body::Incoming>,
) -> Result<hyper::Response<http_body_util::Full<Bytes>>, std::convert::Infallible> {
    use http_body_util::BodyExt;
    if request.uri().path() == "/hang" {
        std::future::pending::<()>().await;
    }
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let host = head.headers.get("host").map(|host| host.to_str().unwrap().to_owned());
    let text = format!("{:?} {} {} {host:?} {}", head.version, head.method, head.uri, body.len());
    Ok(hyper::Response::new(Bytes::from(text).into()))
}

/// Knows one name.
fn localhost() -> Box<dyn Resolve> {
    Box::new(Fickle { answers: vec![vec!["127.0.0.1".parse().unwrap()]], asked: Rc::default() })
}

#[tokio::test]
async fn tls_speaks_what_was_agreed_on() {
    here(async {
        let check = async |alpn: &[&[u8]], version: &str| {
            let (address, roots, connections) = secured(alpn).await;
            let courier = Courier::with_resolver(Options { roots: Arc::new(roots), ..options() }, localhost());
            let base = format!("localhost:{}", address.port());
            let asked = format!("https://{base}/a//b?c='%27");
            let expected = match version {
                "HTTP/2.0" => format!("200 HTTP/2.0 POST {asked} None 5"),
                _ => format!("200 HTTP/1.1 POST /a//b?c='%27 Some({base:?}) 5"),
            };
            for _ in 0..3 {
                assert_eq!(shown(&courier.send(parcel(&asked)).await), expected);
            }
            assert_eq!((connections.get(), courier.idle()), (1, 1));
            // Webhooks are spoken likewise; a lane is a connection of its own.
            for _ in 0..3 {
                assert_eq!(shown(&courier.notify(notice(&asked)).await), "200 ", "{version}");
            }
            let expected = if version == "HTTP/2.0" { (1, 1) } else { (2, 2) };
            assert_eq!((connections.get(), courier.idle()), expected, "{version}");
        };
        check(&[b"h2", b"http/1.1"], "HTTP/2.0").await;
        check(&[b"http/1.1"], "HTTP/1.1").await;
        check(&[], "HTTP/1.1").await;
    })
    .await;
}

#[tokio::test]
async fn a_shared_connection_carries_many_and_is_left_when_it_hangs() {
    here(async {
        let (address, roots, connections) = secured(&[b"h2"]).await;
        let courier = Courier::with_resolver(Options { roots: Arc::new(roots), ..options() }, localhost());
        let url = |path: &str| format!("https://localhost:{}{path}", address.port());
        assert!(shown(&courier.send(parcel(&url("/"))).await).starts_with("200"));
        let mut hanging = parcel(&url("/hang"));
        hanging.timeout = BRIEF;
        let other = courier.clone();
        let hanging = tokio::task::spawn_local(async move { shown(&other.send(hanging).await) });
        // One does not wait for the other.
        assert!(shown(&courier.send(parcel(&url("/"))).await).starts_with("200"));
        assert_eq!(connections.get(), 1);
        assert_eq!(hanging.await.unwrap(), "no answer: Timeout");
        assert!(shown(&courier.send(parcel(&url("/"))).await).starts_with("200"));
        assert_eq!(connections.get(), 2, "who knows whether it was the request or the connection");
    })
    .await;
}

#[tokio::test]
async fn certificates_are_the_hosts_own() {
    here(async {
        let (address, roots, _) = secured(&[b"h2"]).await;
        let check = async |roots: &RootCertStore, url: &str, expected: &str| {
            let courier = Courier::with_resolver(Options { roots: Arc::new(roots.clone()), ..options() }, localhost());
            assert!(shown(&courier.send(parcel(url)).await).starts_with(expected), "{url}");
        };
        let port = address.port();
        check(&roots, &format!("https://localhost:{port}/"), "200").await;
        check(&RootCertStore::empty(), &format!("https://localhost:{port}/"), "not sent: Tls").await;
        check(&roots, &format!("https://other.example:{port}/"), "not sent: Tls").await;
        check(&roots, &format!("https://127.0.0.1:{port}/"), "not sent: Tls").await;
        // No TLS at the other end, and TLS where none is asked for.
        let closing = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let closes = closing.local_addr().unwrap();
        tokio::task::spawn_local(async move { while closing.accept().await.is_ok() {} });
        check(&roots, &format!("https://localhost:{}/", closes.port()), "not sent: Tls").await;
        check(&roots, &format!("http://localhost:{port}/"), "no answer").await;
    })
    .await;
}

#[tokio::test]
async fn times_to_try_again_are_read() {
    here(async {
        let check = async |field: &str, expected: Option<u64>| {
            let server = Server::start(vec![say(&format!("HTTP/1.1 503 \r\n{field}Content-Length: 0\r\n\r\n"))]).await;
            let result = Courier::new(options()).send(parcel(&server.url("/"))).await;
            let Return::Answered(answer) = result else { panic!("{}", shown(&result)) };
            assert_eq!(answer.retry_after.map(|wait| wait.as_secs()), expected, "{field}");
        };
        check("", None).await;
        check("Retry-After: 0\r\n", Some(0)).await;
        check("Retry-After:  120 \r\n", Some(120)).await;
        check("Retry-After: 99999999999999999999999\r\n", Some(u64::MAX)).await;
        check("Retry-After: Sun, 06 Nov 1994 08:49:37 GMT\r\n", Some(0)).await;
        for nonsense in ["-1", "+1", "1.5", "soon", "", "Sun, 99 Nov 1994"] {
            check(&format!("Retry-After: {nonsense}\r\n"), None).await;
        }
        let later = httpdate::fmt_http_date(std::time::SystemTime::now() + Duration::from_secs(1_000));
        let server =
            Server::start(vec![say(&format!("HTTP/1.1 503 \r\nRetry-After: {later}\r\nContent-Length: 0\r\n\r\n"))]);
        let server = server.await;
        let Return::Answered(answer) = Courier::new(options()).send(parcel(&server.url("/"))).await else { panic!() };
        let wait = answer.retry_after.unwrap().as_secs();
        assert!((990..=1_000).contains(&wait), "{wait}");
    })
    .await;
}

#[tokio::test]
async fn content_is_fetched_through_redirects() {
    here(async {
        let to =
            |location: &str| say(&format!("HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"));
        let typed = say("HTTP/1.1 200 OK\r\nContent-Type: text/x\r\nContent-Length: 2\r\n\r\nhi");
        let check = async |script: Vec<Act>, paths: &[&str], expected: Result<&str, FetchFault>| {
            let server = Server::start(script).await;
            let guard = Guard { allow: vec!["127.0.0.1/32".parse().unwrap()], ..Guard::default() };
            let courier = Courier::new(Options { guard, ..options() });
            let asked = Fetch { url: server.url("/a?x"), content_type: None, fallback: None };
            let limits =
                FetchOptions { bytes_max: 10, timeout: BRIEF * 2, redirects_max: 2, ..FetchOptions::default() };
            let outcome = match fetch(&courier, &asked, &limits).await {
                FetchOutcome::Answered { status, content_type, body } => {
                    Ok(format!("{status} {} {}", content_type.unwrap_or_default(), String::from_utf8(body).unwrap()))
                }
                FetchOutcome::Failed(fault) => Err(fault),
            };
            assert_eq!(outcome, expected.map(str::to_owned));
            let requests = server.seen.requests.borrow();
            let asked: Vec<_> = requests.iter().map(|text| text.split(' ').nth(1).unwrap()).collect();
            assert_eq!(asked, paths);
        };
        check(vec![typed.clone()], &["/a?x"], Ok("200 text/x hi")).await;
        check(vec![to("/b?y"), to("c"), typed], &["/a?x", "/b?y", "/c"], Ok("200 text/x hi")).await;
        let often = vec![to("/b"), to("/c"), to("/d")];
        check(often, &["/a?x", "/b", "/c"], Err(FetchFault::TooManyRedirects)).await;
        // Into one's own network, however it is spelt.
        for inside in ["10.0.0.1", "127.0.0.2", "0x7f000002", "[::1]", "[::ffff:10.0.0.1]", "169.254.169.254", "0"] {
            check(vec![to(&format!("http://{inside}:8080/"))], &["/a?x"], Err(FetchFault::Blocked)).await;
        }
        check(vec![to("file:///etc/passwd")], &["/a?x"], Err(FetchFault::BadRedirect)).await;
        check(vec![say("HTTP/1.1 301 \r\nContent-Length: 0\r\n\r\n")], &["/a?x"], Err(FetchFault::BadRedirect)).await;
        check(vec![ok("eleven long")], &["/a?x"], Err(FetchFault::TooLong)).await;
        // A page of errors may be as long as it likes.
        let page = say(&format!("HTTP/1.1 503 \r\nContent-Length: 2000\r\n\r\n{}", "x".repeat(2_000)));
        check(vec![page], &["/a?x"], Ok("503  ")).await;
        check(vec![to("/b"), Act::Hang], &["/a?x", "/b"], Err(FetchFault::Silence)).await;
        check(vec![Act::Drip("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")], &["/a?x"], Ok("200  xxxxxxxxx")).await;
        check(vec![Act::Drip("HTTP/1.1 200 OK\r\nX: ")], &["/a?x"], Err(FetchFault::Silence)).await;
        let cut = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf".to_vec();
        check(vec![Act::Last(cut)], &["/a?x"], Err(FetchFault::Broken)).await;
        check(vec![Act::Reset], &["/a?x"], Err(FetchFault::Broken)).await;
        check(vec![say("SSH-2.0-OpenSSH\r\n\r\n")], &["/a?x"], Err(FetchFault::Malformed)).await;
    })
    .await;
}
