//! `/metrics`, `/health/live` and `/health/ready`: who gets them, and what they say.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use stentor::meter::{Reason, catalogue};
use tokio::net::{TcpStream, UnixStream};

use crate::client::{Frame, Offer};
use crate::house::{Node, loopback, pusher, router, start, web, web_with};
use crate::http::{Http, Reply, post};
use crate::hub::hub;

const PATHS: [&str; 3] = ["/metrics", "/health/live", "/health/ready"];

/// A request with a Host of one's own.
fn ask(method: &str, target: &str, host: &str, headers: &[(&str, &str)]) -> String {
    let more: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\n{more}\r\n")
}

async fn reply(http: &mut Http, method: &str, target: &str, host: &str, headers: &[(&str, &str)]) -> Reply {
    http.send(ask(method, target, host, headers)).await;
    http.reply().await
}

/// What a program on this machine is told.
async fn get(http: &mut Http, target: &str) -> Reply {
    reply(http, "GET", target, "localhost", &[]).await
}

/// The metrics of a node, as a scraper reads them.
async fn scrape(node: &Node) -> Samples {
    let reply = get(&mut node.http().await, "/metrics").await;
    assert_eq!(reply.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    Samples::parse(reply.text())
}

/// The samples of a page, by everything that stands before the number; and the names of the metrics.
struct Samples {
    numbers: BTreeMap<String, f64>,
    names: BTreeSet<String>,
}

impl Samples {
    /// Reads the text format as strictly as Prometheus does, and demands HELP and TYPE of every metric.
    fn parse(text: &str) -> Self {
        assert!(text.ends_with('\n'));
        let (mut numbers, mut names, mut described) = (BTreeMap::new(), BTreeSet::new(), String::new());
        for line in text.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, sentence) = help.split_once(' ').unwrap();
                assert!(!sentence.is_empty());
                assert!(names.insert(name.to_owned()), "{name} is described twice");
                name.clone_into(&mut described);
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').unwrap();
                assert_eq!(name, described, "TYPE follows HELP");
                assert!(matches!(kind, "counter" | "gauge"));
            } else {
                let (sample, number) = line.rsplit_once(' ').unwrap();
                let (name, labels) = sample.split_once('{').map_or((sample, None), |(name, rest)| (name, Some(rest)));
                assert_eq!(name, described, "samples stand behind their description");
                labels.into_iter().for_each(check_labels);
                let number = number.parse().unwrap_or_else(|_| panic!("{line}"));
                assert!(numbers.insert(sample.to_owned(), number).is_none(), "{sample} is there twice");
            }
        }
        Self { numbers, names }
    }

    #[track_caller]
    fn get(&self, sample: &str) -> f64 {
        *self.numbers.get(sample).unwrap_or_else(|| panic!("no {sample} in {:#?}", self.numbers))
    }
}

/// One label and the closing brace, with a value in which every quotation mark and backslash is escaped.
#[track_caller]
fn check_labels(labels: &str) {
    let (name, rest) = labels.split_once("=\"").unwrap();
    assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'));
    let mut value = rest.strip_suffix("\"}").unwrap().chars();
    while let Some(letter) = value.next() {
        assert_ne!(letter, '"', "{labels}");
        assert!(letter != '\\' || matches!(value.next(), Some('\\' | '"' | 'n')), "{labels}");
    }
}

#[tokio::test]
async fn programs_on_this_machine_are_told() {
    let node = start(&web(json!({})));
    let port = node.address(0).port();
    let mut http = node.http().await;
    for host in ["localhost", "LOCALHOST:1", &format!("127.0.0.1:{port}"), "[::1]"] {
        for path in PATHS {
            assert_eq!(reply(&mut http, "GET", path, host, &[]).await.status, 200, "{host} {path}");
        }
    }
    assert_eq!(get(&mut http, "/health/live").await.json(), json!({"status": "live"}));
    let ready = get(&mut http, "/health/ready?verbose").await;
    assert_eq!(ready.json(), json!({"status": "ready"}));
    assert!(ready.header("cache-control").unwrap().contains("no-store"));
}

#[tokio::test]
async fn everybody_else_is_told_nothing() {
    let node = start(&web(json!({})));
    let mut http = node.http().await;
    let check = async |http: &mut Http, path: &str, host: &str, headers: &[(&str, &str)]| {
        let hidden = reply(http, "GET", path, host, headers).await;
        let unknown = reply(http, "GET", "/unknown", host, headers).await;
        assert_eq!(hidden.status, 404, "{path} {host} {headers:?}");
        assert_eq!(hidden.text().replace(path, "/unknown"), unknown.text());
        assert_eq!(hidden.headers.len(), unknown.headers.len());
    };
    for path in PATHS {
        for name in ["Forwarded", "X-Forwarded-For", "X-Real-IP", "Via"] {
            check(&mut http, path, "localhost", &[(name, "127.0.0.1")]).await;
        }
        for host in ["test", "example.com:80", "localhost.example.com", "127.0.0.1.nip.io", "10.1.2.3", ""] {
            check(&mut http, path, host, &[]).await;
        }
    }
    for near in ["/health", "/health/", "/health/live/", "/metrics/", "/metrics/x", "//metrics"] {
        assert_eq!(get(&mut http, near).await.status, 404, "{near}");
    }
    // The name in the target counts too, and so does the protocol that proxies speak unless they are told better.
    assert_eq!(get(&mut http, "http://example.com/metrics").await.status, 404);
    http.send(ask("GET", "/metrics", "localhost", &[]).replace("HTTP/1.1", "HTTP/1.0")).await;
    assert_eq!(http.reply().await.status, 404);
}

#[tokio::test]
async fn endpoints_that_others_can_reach_have_them_by_configuration_only() {
    let paths = json!({"/": {"type": "json", "value": "root"}});
    let open = json!({"type": "tcp", "port": 0, "interface": "0.0.0.0"});
    let all = json!({"type": "tcp", "port": 0});
    let off = json!({"type": "web", "endpoint": loopback(), "paths": {}, "options": {"observability": false}});
    let mut transports = vec![off];
    transports.extend([open, all].map(|endpoint| json!({"type": "web", "endpoint": endpoint, "paths": {}})));
    transports.push(json!({"type": "web", "endpoint": loopback(), "paths": paths}));
    let node = start(&router(transports.into()));
    for transport in 0..4 {
        let address = ("127.0.0.1", node.address(transport).port());
        let mut http = Http::over(TcpStream::connect(address).await.unwrap());
        for path in PATHS {
            let reply = get(&mut http, path).await;
            assert_eq!(reply.status, if transport == 3 { 200 } else { 404 }, "{transport} {path}");
            assert_ne!(reply.text(), "\"root\"");
        }
    }
    // What `/` answers is what an unknown path is answered.
    let mut http = Http::over(TcpStream::connect(node.address(3)).await.unwrap());
    assert_eq!(reply(&mut http, "GET", "/metrics", "example.com", &[]).await.text(), "\"root\"");
}

#[tokio::test]
async fn a_unix_socket_is_near() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    let endpoint = json!({"type": "unix", "path": path});
    let _node = start(&router(json!([{"type": "web", "endpoint": endpoint, "paths": {}}])));
    let mut http = Http::over(UnixStream::connect(&path).await.unwrap());
    assert_eq!(get(&mut http, "/health/ready").await.status, 200);
    assert_eq!(reply(&mut http, "GET", "/health/ready", "example.com", &[]).await.status, 404);
}

#[tokio::test]
async fn configured_paths_answer_whoever_has_the_token() {
    let node = start(&web(json!({
        "metrics": {"type": "metrics", "token": "s3cret"},
        "health": {"type": "json", "value": "mine"},
        "open": {"type": "metrics"},
        "ops": {"type": "path", "paths": {"health": {"type": "health", "token": "other"}}},
    })));
    let mut http = node.http().await;
    let check = async |http: &mut Http, target: &str, authorization: Option<&str>, status: u16| {
        let headers: Vec<_> = authorization.iter().map(|value| ("Authorization", *value)).collect();
        for extra in [None, Some(("X-Forwarded-For", "192.0.2.1"))] {
            let headers: Vec<_> = headers.iter().copied().chain(extra).collect();
            let reply = reply(http, "GET", target, "example.com", &headers).await;
            assert_eq!(reply.status, status, "{target} {headers:?}");
            assert_eq!(reply.header("www-authenticate"), (status == 401).then_some("Bearer"));
        }
    };
    check(&mut http, "/open", None, 200).await;
    check(&mut http, "/open/x", None, 404).await;
    check(&mut http, "/metrics", None, 401).await;
    for wrong in ["Bearer other", "Bearer s3cre", "Basic s3cret", "s3cret", "Bearer "] {
        check(&mut http, "/metrics", Some(wrong), 401).await;
    }
    check(&mut http, "/metrics", Some("Bearer s3cret"), 200).await;
    for name in ["live", "ready"] {
        check(&mut http, &format!("/ops/health/{name}"), None, 401).await;
        check(&mut http, &format!("/ops/health/{name}"), Some("bearer other"), 200).await;
    }
    check(&mut http, "/ops/health", Some("Bearer other"), 404).await;
    // A path of the user's own comes first, also for programs on this machine.
    assert_eq!(get(&mut http, "/health/live").await.text(), "\"mine\"");
    assert_eq!(get(&mut http, "/metrics").await.status, 401);
}

#[tokio::test]
async fn asking_is_get_or_head() {
    let node = start(&web(json!({"open": {"type": "metrics"}})));
    let mut http = node.http().await;
    for target in PATHS.into_iter().chain(["/open"]) {
        http.send(ask("HEAD", target, "localhost", &[])).await;
        let head = http.reply_head().await;
        assert_eq!(head.status, 200, "{target}");
        assert!(head.header("content-length").is_some_and(|length| length != "0"), "{target}");
        for method in ["POST", "DELETE", "OPTIONS"] {
            let reply = reply(&mut http, method, target, "localhost", &[("Content-Length", "0")]).await;
            assert_eq!((reply.status, reply.header("allow")), (405, Some("GET, HEAD")), "{method} {target}");
        }
    }
}

#[tokio::test]
async fn a_node_that_goes_down_is_not_ready() {
    let node = start(&web(json!({"open": {"type": "health"}})));
    let mut early = node.http().await;
    // Half of a request, so that the connection is not idle when the node goes down.
    let request = ask("GET", "/health/ready", "localhost", &[]);
    let (first, rest) = request.split_at(request.len() - 4);
    early.send(first).await;
    let mut witness = node.http().await;
    for _ in 0..2 {
        assert_eq!(get(&mut witness, "/open/ready").await.status, 200);
    }
    let stopped = tokio::spawn(node.running.stop());
    // The node hangs up on idle connections when it has begun to go down.
    assert!(witness.is_closed().await);
    early.send(rest).await;
    let reply = early.reply().await;
    assert_eq!((reply.status, reply.json()), (503, json!({"status": "draining"})));
    stopped.await.unwrap();
}

#[tokio::test]
async fn every_metric_is_told_and_described() {
    let samples = scrape(&start(&hub(json!({})))).await;
    let expected: BTreeSet<String> = catalogue().map(|metric| metric.name.to_owned()).collect();
    assert_eq!(samples.names, expected);
    for reason in Reason::ALL {
        assert_eq!(samples.get(&format!("stentor_closed_total{{reason=\"{}\"}}", reason.label())), 0.0);
    }
    assert_eq!(samples.get(&format!("stentor_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"))), 1.0);
    for positive in [
        "process_resident_memory_bytes",
        "process_cpu_seconds_total",
        "process_open_fds",
        "process_max_fds",
        "process_start_time_seconds",
        "stentor_uptime_seconds",
        "stentor_http_connections",
        "stentor_ready",
        "stentor_threads",
    ] {
        assert!(samples.get(positive) > 0.0, "{positive}");
    }
}

#[tokio::test]
async fn what_happens_is_counted() {
    let node = start(&web(json!({"push": pusher(json!({}))})));
    let mut sessions = [node.session().await, node.session().await];
    for session in &mut sessions {
        session.subscribe("t").await;
    }
    sessions[0].subscribe("u").await;
    let mut http = node.http().await;
    for _ in 0..3 {
        assert_eq!(http.post("/push", &[], br#"{"topic":"t"}"#).await.status, 202);
    }
    assert_eq!(http.post("/push", &[], b"nonsense").await.status, 400);
    let samples = scrape(&node).await;
    let check = |sample: &str, number: f64| assert_eq!(samples.get(sample), number, "{sample}");
    check("stentor_publications_total", 3.0);
    check("stentor_events_total", 6.0);
    check("stentor_submissions_refused_total", 1.0);
    check("stentor_sessions_joined_total", 2.0);
    check("stentor_sessions{realm=\"realm1\"}", 2.0);
    check("stentor_subscriptions{realm=\"realm1\"}", 2.0);
    check("stentor_websocket_connections", 2.0);
    check("stentor_http_connections", 2.0);
    check("stentor_http_requests_total{status=\"1xx\"}", 2.0);
    check("stentor_http_requests_total{status=\"2xx\"}", 3.0);
    check("stentor_http_requests_total{status=\"4xx\"}", 1.0);
}

#[tokio::test]
async fn closed_sessions_are_counted_by_reason() {
    let strict = json!({"type": "websocket", "options": {"open_handshake_timeout": 100}});
    let node = start(&web_with(json!({"strict": strict}), json!({"max_message_size": 1000})));
    let mut late = node.socket(Offer { path: "/strict", ..Offer::default() }).await;
    let mut large = node.session().await;
    large.send(json!([16, 1, {}, "t", ["x".repeat(2000)]])).await;
    let mut wild = node.session().await;
    wild.send(json!([99, "nonsense"])).await;
    for (client, code) in [(&mut large, 1009), (&mut wild, 1002), (&mut late, 1008)] {
        loop {
            match client.frame().await {
                Frame::Close(found, _) => break assert_eq!(found, code),
                Frame::End => panic!("no close frame"),
                _ => {}
            }
        }
    }
    let samples = scrape(&node).await;
    for reason in Reason::ALL {
        let expected = match reason {
            Reason::MessageTooBig | Reason::WampViolation | Reason::HelloTimeout => 1.0,
            _ => 0.0,
        };
        let sample = format!("stentor_closed_total{{reason=\"{}\"}}", reason.label());
        assert_eq!(samples.get(&sample), expected, "{sample}");
    }
}

#[tokio::test]
async fn octets_that_wait_are_seen() {
    let node = start(&web_with(json!({"push": pusher(json!({}))}), json!({"outbox_bytes_max": 64 << 20})));
    let mut slow = node.session().await;
    slow.subscribe("t").await;
    let body = json!({"topic": "t", "args": ["x".repeat(65_536)]}).to_string();
    let mut http = node.http().await;
    for _ in 0..300 {
        http.send(post("/push", &[], body.as_bytes())).await;
        assert_eq!(http.reply().await.status, 202);
    }
    // The sum is taken four times a second.
    crate::house::soon("waiting octets", async {
        while scrape(&node).await.get("stentor_outbox_bytes") < 1_000_000.0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn names_of_realms_cannot_break_the_page() {
    let mut config = web(json!({}));
    let role: Value = config["workers"][0]["realms"][0]["roles"].clone();
    let names = ["quo\"te", "back\\slash", "é"];
    config["workers"][0]["realms"] = names.iter().map(|name| json!({"name": name, "roles": role})).collect();
    // Two workers may have a realm of one name.
    let second = json!({"type": "router", "realms": [{"name": "é", "roles": role}], "transports": []});
    config["workers"].as_array_mut().unwrap().push(second);
    let samples = scrape(&start(&config)).await;
    for name in ["quo\\\"te", "back\\\\slash", "é"] {
        assert_eq!(samples.get(&format!("stentor_sessions{{realm=\"{name}\"}}")), 0.0);
    }
}
