//! Where a node listens, and the services beside pusher and WebSocket.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use stentor::node::Settings;
use stentor::node::wiring::Echo;
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::client::{Client, Offer};
use crate::house::{configured, pusher, router, start, web};
use crate::http::{Http, head, post};

/// Writes a certificate for `localhost` and its key.
pub(crate) fn certificate(dir: &Path) -> Value {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    std::fs::write(dir.join("crt.pem"), made.cert.pem()).unwrap();
    std::fs::write(dir.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    json!({"key": dir.join("key.pem"), "certificate": dir.join("crt.pem")})
}

pub(crate) async fn tls(address: SocketAddr, dir: &Path) -> TlsStream<TcpStream> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(dir.join("crt.pem")).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
}

/// The same services on an endpoint of one's own.
fn on(endpoint: Value) -> Value {
    let socket = json!({"type": "websocket", "options": {"outbox_bytes_max": 64 << 20}});
    let paths = json!({"ws": socket, "push": pusher(json!({"require_tls": true}))});
    router(json!([{"type": "web", "endpoint": endpoint, "options": {"hsts": true}, "paths": paths}]))
}

#[tokio::test]
async fn tls_carries_both() {
    let dir = tempfile::tempdir().unwrap();
    let tls_files = certificate(dir.path());
    let node = start(&on(json!({"type": "tcp", "port": 0, "interface": "127.0.0.1", "tls": tls_files})));
    assert!(node.running.open[0].url.starts_with("https://"), "{:?}", node.running.open);
    let address = node.address(0);
    let mut subscriber = Client::open(tls(address, dir.path()).await, Offer::default()).await.unwrap();
    subscriber.join("realm1").await;
    subscriber.subscribe("t").await;
    let mut http = Http::over(tls(address, dir.path()).await);
    for n in 0..3 {
        let large = json!({"topic": "t", "args": [n, "x".repeat(300_000)]}).to_string();
        let reply = http.post("/push", &[], large.as_bytes()).await;
        assert_eq!(reply.status, 202, "{}", reply.text());
        assert_eq!(reply.header("strict-transport-security"), Some("max-age=31536000"));
        assert_eq!(subscriber.expect(36).await[4][0], n);
    }
    for n in 0..500 {
        subscriber.publish("u", json!([n])).await;
    }
    // Somebody without TLS gets nothing and disturbs nobody.
    let mut plain = node.http().await;
    plain.send_unless_refused(&post("/push", &[], br#"{"topic":"t"}"#)).await;
    assert!(plain.is_closed().await || plain.reply_octets().await[0] == 0x15);
    assert_eq!(http.post("/push", &[], br#"{"topic":"t"}"#).await.status, 202);
    subscriber.expect(36).await;
}

#[tokio::test]
async fn a_slow_tls_subscriber_gets_everything() {
    let dir = tempfile::tempdir().unwrap();
    let tls_files = certificate(dir.path());
    let node = start(&on(json!({"type": "tcp", "port": 0, "interface": "127.0.0.1", "tls": tls_files})));
    let mut slow = Client::open(tls(node.address(0), dir.path()).await, Offer::default()).await.unwrap();
    slow.join("realm1").await;
    slow.subscribe("t").await;
    let mut http = Http::over(tls(node.address(0), dir.path()).await);
    for n in 0..150 {
        let body = json!({"topic": "t", "args": [n, "x".repeat(65_536)]}).to_string();
        assert_eq!(http.post("/push", &[], body.as_bytes()).await.status, 202);
    }
    for n in 0..150 {
        assert_eq!(slow.expect(36).await[4][0], n);
    }
}

#[tokio::test]
async fn a_unix_socket_carries_both_and_has_no_address() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    let paths = json!({
        "ws": {"type": "websocket"},
        "push": pusher(json!({})),
        "local": pusher(json!({"require_ip": ["127.0.0.1"]})),
    });
    let endpoint = json!({"type": "unix", "path": path});
    let config = router(json!([{"type": "web", "endpoint": endpoint, "paths": paths}]));
    // A socket that a killed node has left behind is no obstacle.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let node = start(&config);
    let mut subscriber = Client::open(UnixStream::connect(&path).await.unwrap(), Offer::default()).await.unwrap();
    subscriber.join("realm1").await;
    subscriber.subscribe("t").await;
    let mut http = Http::over(UnixStream::connect(&path).await.unwrap());
    assert_eq!(http.post("/push", &[], br#"{"topic":"t"}"#).await.status, 202);
    subscriber.expect(36).await;
    assert_eq!(http.post("/local", &[], br#"{"topic":"t"}"#).await.refusal(), (403, None));
    let settings = Settings { threads: 1, echo: Echo::Refused };
    let taken = stentor::node::start(configured(&config), settings).unwrap_err();
    assert!(taken.0[0].contains("in use"), "{taken:?}");
    drop(node);
}

#[tokio::test]
async fn ipv6_is_served_where_the_machine_has_it() {
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        return;
    }
    let paths = json!({"push": pusher(json!({"require_ip": ["::1"]}))});
    let endpoint = json!({"type": "tcp", "port": 0, "interface": "::1"});
    let node = start(&router(json!([{"type": "web", "endpoint": endpoint, "paths": paths}])));
    assert!(node.running.open[0].url.starts_with("http://[::1]:"));
    assert_eq!(node.post("/push", r#"{"topic":"t"}"#).await.status, 202);
}

#[tokio::test]
async fn every_interface_takes_ipv4_as_itself() {
    let paths = json!({"push": pusher(json!({"require_ip": ["127.0.0.1"]}))});
    let endpoint = json!({"type": "tcp", "port": 0});
    let node = start(&router(json!([{"type": "web", "endpoint": endpoint, "paths": paths}])));
    let address = SocketAddr::from(([127, 0, 0, 1], node.address(0).port()));
    let mut http = Http::over(TcpStream::connect(address).await.unwrap());
    assert_eq!(http.post("/push", &[], br#"{"topic":"t"}"#).await.status, 202);
}

#[tokio::test]
async fn faults_of_endpoints_are_sentences() {
    let node = start(&web(json!({})));
    let port = node.address(0).port();
    let endpoint = json!({"type": "tcp", "port": port, "interface": "127.0.0.1"});
    let config = router(json!([{"type": "web", "endpoint": endpoint, "paths": {"i": {"type": "nodeinfo"}}}]));
    let settings = Settings { threads: 1, echo: Echo::Refused };
    let error = stentor::node::start(configured(&config), settings).unwrap_err();
    assert_eq!(error.0.len(), 1);
    assert!(error.0[0].contains(&port.to_string()) && error.0[0].contains("in use"), "{error:?}");
}

#[tokio::test]
async fn echo_needs_permission() {
    let config = web(json!({"e": {"type": "echo"}}));
    let settings = Settings { threads: 1, echo: Echo::Refused };
    let error = stentor::node::start(configured(&config), settings).unwrap_err();
    assert!(error.0[0].contains("--enable-echo"), "{error:?}");
}

#[tokio::test]
async fn small_services() {
    let node = start(&web(json!({
        "old": {"type": "redirect", "url": "https://example.com/new"},
        "about": {"type": "json", "value": {"b": [1.0, null], "a": "é"}},
        "pretty": {"type": "json", "value": [1], "options": {
            "prettify": true, "allow_cross_origin": false, "discourage_caching": true,
        }},
        "nest": {"type": "path", "paths": {
            "info": {"type": "nodeinfo"},
            "deep": {"type": "path", "paths": {"push": pusher(json!({}))}},
        }},
        "demo": {"type": "demo"},
    })));
    let mut http = node.http().await;
    let reply = http.get("/old").await;
    assert_eq!((reply.status, reply.header("location")), (303, Some("https://example.com/new")));
    let reply = http.get("/about").await;
    assert_eq!(reply.json(), json!({"b": [1.0, null], "a": "é"}));
    assert_eq!(reply.header("access-control-allow-origin"), Some("*"));
    assert_eq!(reply.header("cache-control"), None);
    let reply = http.get("/pretty").await;
    assert_eq!(reply.text(), "[\n  1\n]");
    assert_eq!(reply.header("access-control-allow-origin"), None);
    assert!(reply.header("cache-control").unwrap().contains("no-store"));
    let info = http.get("/nest/info").await.json();
    assert_eq!((&info["server"], &info["realms"]), (&json!("Stentor"), &json!(["realm1"])));
    assert_eq!(http.post("/nest/deep/push", &[], br#"{"topic":"t"}"#).await.status, 202);
    assert_eq!(http.get("/nest").await.status, 404);
    let page = http.get("/demo").await;
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    let script = http.get("/demo/wamp.js").await;
    assert_eq!(script.header("content-type"), Some("text/javascript; charset=utf-8"));
}

#[tokio::test]
async fn files_of_a_directory() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("web");
    std::fs::create_dir_all(root.join("sub")).unwrap();
    std::fs::create_dir_all(root.join("bare")).unwrap();
    for (name, text) in
        [("index.html", "<p>"), ("a.js", "1"), ("b.md", "# b"), ("sub/index.html", "sub"), (".env", "x")]
    {
        std::fs::write(root.join(name), text).unwrap();
    }
    std::fs::write(dir.path().join("secret"), "secret").unwrap();
    let node = start(&web(json!({
        "/": {"type": "static", "directory": root, "options": {"mime_types": {".md": "text/markdown"}}},
        "list": {"type": "static", "directory": root, "options": {"enable_directory_listing": true, "cache_timeout": 60}},
    })));
    let mut http = node.http().await;
    for (target, status, body) in [
        ("/", 200, "<p>"),
        ("/index.html?version=2", 200, "<p>"),
        ("/a.js", 200, "1"),
        ("/sub/", 200, "sub"),
        ("/list/", 200, "<p>"),
    ] {
        let reply = http.get(target).await;
        assert_eq!((reply.status, reply.text()), (status, body), "{target}");
    }
    for target in ["/bare/", "/.env", "/../secret", "/%2e%2e/secret", "/sub/..%2f..%2fsecret", "/nothing", "/a.js/b"] {
        assert_eq!(http.get(target).await.status, 404, "{target}");
    }
    let moved = http.get("/sub").await;
    assert_eq!((moved.status, moved.header("location")), (301, Some("/sub/")));
    assert_eq!(http.get("/b.md").await.header("content-type"), Some("text/markdown"));
    assert_eq!(http.get("/list/bare/").await.status, 200);
    assert_eq!(http.get("/list/a.js").await.header("cache-control"), Some("public, max-age=60"));
    let script = http.get("/a.js").await;
    assert_eq!(script.header("cache-control"), Some("no-cache"));
    let stamp = script.header("last-modified").unwrap().to_owned();
    http.send(head("GET", "/a.js", &[("If-Modified-Since", &stamp)])).await;
    assert_eq!(http.reply_head().await.status, 304);
    http.send(head("HEAD", "/a.js", &[])).await;
    let reply = http.reply_head().await;
    assert_eq!((reply.status, reply.header("content-length")), (200, Some("1")));
    assert_eq!(http.post("/a.js", &[], b"").await.status, 405);
}

#[tokio::test]
async fn a_file_in_the_place_of_a_socket_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    std::fs::write(&path, "mine").unwrap();
    let config = router(json!([{"type": "web", "endpoint": {"type": "unix", "path": path}, "paths": {}}]));
    let settings = Settings { threads: 1, echo: Echo::Refused };
    let error = stentor::node::start(configured(&config), settings).unwrap_err();
    assert!(error.0[0].contains("no socket"), "{error:?}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
}
