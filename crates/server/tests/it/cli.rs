//! The command line, by the binary itself.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::client::{Client, Frame, Offer};
use crate::house::{PATIENCE, pusher, soon, web, web_with};
use crate::http::{Http, head};

pub(crate) fn stentor(dir: &Path, args: &[impl AsRef<OsStr>]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stentor"));
    command.args(args).current_dir(dir).env_remove("CROSSBAR_DIR").env_remove("STENTOR_DIR");
    command
}

/// Runs to the end; the exit code has to be this. Standard output and standard error come back.
#[track_caller]
pub(crate) fn run(dir: &Path, args: &[&str], code: i32) -> (String, String) {
    let Output { status, stdout, stderr } = stentor(dir, args).output().unwrap();
    let texts = (String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap());
    assert_eq!(status.code(), Some(code), "{args:?}: {texts:?}");
    texts
}

/// A directory with a node directory and this configuration.
pub(crate) fn home(config: &Value) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join(".stentor")).unwrap();
    configure(dir.path(), config);
    dir
}

pub(crate) fn configure(dir: &Path, config: &Value) {
    std::fs::write(dir.join(".stentor/config.json"), format!("{config:#}")).unwrap();
}

/// A node in a process of its own.
pub(crate) struct Process {
    pub(crate) child: Child,
    lines: Receiver<String>,
}

impl Process {
    pub(crate) fn start(dir: &Path) -> Self {
        Self::with_threads(dir, 2)
    }

    pub(crate) fn with_threads(dir: &Path, threads: usize) -> Self {
        Self::reading_ahead(dir, threads, 1000)
    }

    /// Starts a node of whose log this many lines are read before somebody waits for them.
    fn reading_ahead(dir: &Path, threads: usize, lines_max: usize) -> Self {
        let mut child = stentor(dir, &["start", "--log-format", "json", "--threads", &threads.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let errors = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = sync_channel(lines_max);
        std::thread::spawn(move || {
            for line in errors.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, lines }
    }

    /// The lines up to one that contains this text.
    pub(crate) fn wait_for(&self, text: &str) -> Vec<String> {
        let mut seen = Vec::new();
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => seen.push(line),
                Err(_) => panic!("no line with {text} in {seen:#?}"),
            }
            if seen.last().is_some_and(|line| line.contains(text)) {
                return seen;
            }
        }
    }

    /// Waits until it says anything.
    pub(crate) fn wait_for_line(&self) {
        self.lines.recv_timeout(PATIENCE).expect("a node says something before it starts");
    }

    /// The address of the first transport.
    pub(crate) fn address(&self) -> SocketAddr {
        let lines = self.wait_for("\"started\"");
        let line = lines.iter().find(|line| line.contains("listening")).unwrap();
        let line: Value = serde_json::from_str(line).unwrap();
        line["address"].as_str().unwrap().parse().unwrap()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    pub(crate) fn exit_code(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }

    /// The exit code of a process whose log is not read meanwhile.
    async fn unread_exit_code(&mut self) -> Option<i32> {
        let ended = async {
            loop {
                if let Some(status) = self.child.try_wait().unwrap() {
                    return status.code();
                }
                tokio::task::yield_now().await;
            }
        };
        soon("the end of the process", ended).await
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It has ended already in most tests.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

pub(crate) async fn join(address: SocketAddr) -> Client {
    let mut client = Client::open(TcpStream::connect(address).await.unwrap(), Offer::default()).await.unwrap();
    client.join("realm1").await;
    client
}

#[test]
fn version_help_and_mistakes() {
    let dir = tempfile::tempdir().unwrap();
    for asked in ["version", "--version", "-V"] {
        let (out, err) = run(dir.path(), &[asked], 0);
        assert_eq!((out, err.as_str()), (format!("Stentor {}\n", env!("CARGO_PKG_VERSION")), ""), "{asked}");
    }
    let (out, err) = run(dir.path(), &["--help"], 0);
    assert!(out.contains("start") && err.is_empty());
    for args in [&["nonsense"][..], &["start", "--nonsense"], &["init", "--template"], &[]] {
        let (_, err) = run(dir.path(), args, 2);
        assert!(!err.is_empty(), "{args:?}");
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn templates_become_nodes_that_check() {
    let dir = tempfile::tempdir().unwrap();
    let (listed, _) = run(dir.path(), &["templates"], 0);
    for name in ["default", "pusher", "hub", "hub-with-authenticator", "push-everywhere"] {
        assert!(listed.contains(name), "{listed}");
        let (out, err) = run(dir.path(), &["init", "--template", name, "--appdir", name], 0);
        assert!(out.contains("Application template initialized") && err.is_empty(), "{out} {err}");
        let app = dir.path().join(name);
        let page: &[&str] = if name.starts_with("hub") { &[] } else { &["web/index.html", "web/wamp.js"] };
        for file in [".stentor/config.json", "README.md"].iter().chain(page) {
            assert!(app.join(file).is_file(), "{name}/{file}");
            assert!(out.contains(file), "{out}");
        }
        let (out, err) = run(&app, &["check"], 0);
        assert!(out.starts_with("Ok, ") && !err.contains("Error"), "{out} {err}");
        // The same from elsewhere.
        run(dir.path(), &["check", "--cbdir", &format!("{name}/.stentor")], 0);
    }
    assert!(dir.path().join("pusher/publish.py").is_file());
    assert!(dir.path().join("pusher/publish_signed.py").is_file());
    assert!(dir.path().join("push-everywhere/subscribe.py").is_file());
    // Each node has a token of its own.
    run(dir.path(), &["init", "--template", "hub", "--appdir", "other"], 0);
    let token = |name: &str| {
        let text = std::fs::read_to_string(dir.path().join(name).join(".stentor/config.json")).unwrap();
        let value: Value = serde_json::from_str(&text).unwrap();
        value["workers"][0]["transports"][0]["paths"]["admin"]["token"].as_str().unwrap().to_owned()
    };
    assert_ne!(token("hub"), token("other"));
    assert_eq!(token("hub").len(), 32);
}

#[test]
fn init_overwrites_nothing_and_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let app = dir.path().join("app");
    std::fs::create_dir(&app).unwrap();
    let (_, err) = run(dir.path(), &["init", "--template", "pusher", "--appdir", "app"], 1);
    assert!(err.contains("already exists"), "{err}");
    let (_, err) = run(dir.path(), &["init", "--template", "nonsense"], 2);
    assert!(err.contains("stentor templates"), "{err}");
    // A file in the way of one of the template's.
    std::fs::write(app.join("README.md"), "mine").unwrap();
    let (_, err) = run(&app, &["init", "--template", "pusher"], 1);
    assert!(err.contains("README.md"), "{err}");
    // A file in the way of one of its directories, met half-way.
    std::fs::remove_file(app.join("README.md")).unwrap();
    std::fs::write(app.join("web"), "mine").unwrap();
    run(&app, &["init", "--template", "pusher"], 1);
    let left: Vec<_> = std::fs::read_dir(&app).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["web"]);
    assert_eq!(std::fs::read_to_string(app.join("web")).unwrap(), "mine");
}

#[test]
fn check_names_each_fault_in_one_line() {
    let mut config = web(json!({
        "push": {"type": "pusher", "realm": "nowhere", "role": "anonymous", "options": {"require_ip": ["300.1.1.1"]}},
        "x": {"type": "webhook"},
    }));
    config["workers"][0]["transports"][0]["endpoint"]["prot"] = json!(1);
    let dir = home(&config);
    let (_, err) = run(dir.path(), &["check"], 2);
    let faults: Vec<_> = err.lines().collect();
    for part in ["prot", "nowhere", "300.1.1.1", "webhook"] {
        let line: Vec<_> = faults.iter().filter(|line| line.contains(part)).collect();
        assert_eq!(line.len(), 1, "{part}: {err}");
        assert!(line[0].contains("config.json:"), "{err}");
    }
    let (_, err) = run(dir.path(), &["start"], 2);
    assert!(err.contains("does not start"), "{err}");
    for text in ["{", "", "[]", "{\"workers\": 5}"] {
        std::fs::write(dir.path().join(".stentor/config.json"), text).unwrap();
        run(dir.path(), &["check"], 2);
    }
}

#[test]
fn check_tries_out_what_a_hub_names() {
    let dir = home(&json!({}));
    let node_dir = dir.path().join(".stentor");
    std::fs::write(node_dir.join("empty.pem"), "").unwrap();
    std::fs::create_dir(node_dir.join("folder")).unwrap();
    let check = |options: Value, store: &str, expect: Option<[&str; 2]>| {
        let mut config = web(json!({"hub": {"type": "websub-hub", "options": options}}));
        config["store"] = json!({"type": "sqlite", "path": store});
        configure(dir.path(), &config);
        let Some([place, part]) = expect else { return drop(run(dir.path(), &["check"], 0)) };
        let (_, err) = run(dir.path(), &["check"], 2);
        let line = err.lines().find(|line| line.starts_with("Error: ") && line.contains(place)).unwrap();
        let (_, behind) = line.split_once("config.json:").unwrap();
        let number: usize = behind.split(':').next().unwrap().parse().unwrap();
        let text = std::fs::read_to_string(node_dir.join("config.json")).unwrap();
        assert!(text.lines().nth(number - 1).unwrap().contains(part) && line.contains(part), "{line}");
        let (_, err) = run(dir.path(), &["start"], 2);
        assert!(err.contains("does not start"), "{err}");
    };
    check(json!({}), "new", None);
    check(json!({}), "missing/new", Some(["store.path", "missing/new"]));
    check(json!({}), "folder", Some(["store.path", "folder"]));
    let authorities = json!({"certificateAuthorities": "empty.pem"});
    check(authorities, "new", Some(["certificate_authorities", "empty.pem"]));
}

#[test]
fn configurations_are_found_where_crossbar_has_them() {
    let dir = tempfile::tempdir().unwrap();
    // Without any, the embedded default would run.
    let (out, _) = run(dir.path(), &["check"], 0);
    assert!(out.contains("embedded default"), "{out}");
    run(dir.path(), &["check", "--config", "nothing.json"], 2);
    run(dir.path(), &["check", "--cbdir", "nothing"], 2);
    std::fs::create_dir(dir.path().join(".crossbar")).unwrap();
    run(dir.path(), &["check"], 2);
    std::fs::write(dir.path().join(".crossbar/config.json"), web(json!({})).to_string()).unwrap();
    let (out, _) = run(dir.path(), &["check"], 0);
    assert!(out.contains(".crossbar"), "{out}");
    let yaml = "version: 2\nworkers:\n  - type: router\n    realms: []\n    transports: []\n";
    std::fs::write(dir.path().join("other.yaml"), yaml).unwrap();
    let output = stentor(dir.path(), &["check", "--config", "other.yaml"]).output().unwrap();
    assert!(matches!(output.status.code(), Some(0 | 2)));
    let mut from_environment = stentor(dir.path(), &["check"]);
    assert_eq!(from_environment.env("CROSSBAR_DIR", "elsewhere").output().unwrap().status.code(), Some(2));
}

#[tokio::test]
async fn the_life_of_a_node() {
    let dir = home(&web(json!({"push": pusher(json!({}))})));
    run(dir.path(), &["status"], 0);
    run(dir.path(), &["status", "--assert", "stopped"], 0);
    run(dir.path(), &["status", "--assert", "running"], 1);
    run(dir.path(), &["stop"], 1);
    let mut process = Process::start(dir.path());
    let address = process.address();
    let (out, _) = run(dir.path(), &["status", "--assert", "running"], 0);
    assert_eq!(out, "Status is RUNNING\n");
    run(dir.path(), &["status", "--assert", "stopped"], 1);
    let (_, err) = run(dir.path(), &["start"], 1);
    assert!(err.contains("already running") && err.contains(&process.child.id().to_string()), "{err}");
    let mut http = Http::over(TcpStream::connect(address).await.unwrap());
    assert_eq!(http.post("/push", &[], br#"{"topic":"t"}"#).await.status, 202);
    let (out, _) = run(dir.path(), &["stop"], 0);
    assert!(out.contains("exited gracefully"), "{out}");
    assert_eq!(process.exit_code(), Some(0));
    run(dir.path(), &["status", "--assert", "stopped"], 0);
    // The directory is free again, also after a node that was killed.
    let mut killed = Process::start(dir.path());
    killed.address();
    killed.signal(Signal::KILL);
    killed.exit_code();
    run(dir.path(), &["status", "--assert", "stopped"], 0);
    Process::start(dir.path()).address();
}

#[test]
fn a_port_in_use_is_one_sentence() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let mut config = web(json!({}));
    config["workers"][0]["transports"][0]["endpoint"]["port"] = json!(port);
    let dir = home(&config);
    let (_, err) = run(dir.path(), &["start"], 1);
    let about: Vec<_> = err.lines().filter(|line| line.contains("ERROR") || line.contains("Error")).collect();
    assert_eq!(about.len(), 1, "{err}");
    assert!(about[0].contains(&port.to_string()) && about[0].contains("in use"), "{err}");
}

#[tokio::test]
async fn echo_is_refused_without_the_flag() {
    let dir = home(&web(json!({"e": {"type": "echo"}})));
    let (_, err) = run(dir.path(), &["start"], 1);
    assert!(err.contains("--enable-echo"), "{err}");
}

#[tokio::test]
async fn sigterm_says_goodbye_and_ends_well() {
    let dir = home(&web(json!({"push": pusher(json!({}))})));
    for signal in [Signal::TERM, Signal::INT] {
        let mut process = Process::start(dir.path());
        let address = process.address();
        let mut polite = join(address).await;
        let mut rude = join(address).await;
        let idle = Http::over(TcpStream::connect(address).await.unwrap());
        process.signal(signal);
        assert_eq!(polite.message().await, json!([6, {}, "wamp.close.system_shutdown"]));
        polite.send(json!([6, {}, "wamp.close.goodbye_and_out"])).await;
        polite.expect_close(1000).await;
        assert_eq!(rude.message().await[0], 6);
        // Nobody else gets in meanwhile.
        assert!(TcpStream::connect(address).await.is_err() || signal == Signal::INT);
        while rude.frame().await != Frame::End {}
        process.wait_for("stopped");
        assert_eq!(process.exit_code(), Some(0));
        drop(idle);
    }
}

/// The configuration before and after a reload: who may publish what, and the key of the pusher.
fn reloadable(secret: &str, publish: bool) -> Value {
    let mut config = web(json!({"push": pusher(json!({"key": "k", "secret": secret})), "plain": pusher(json!({}))}));
    config["workers"][0]["realms"][0]["roles"][0]["permissions"] = json!([
        {"uri": "", "match": "prefix", "allow": {"publish": publish, "subscribe": true, "call": true, "register": true}},
    ]);
    config
}

/// The status of a request that is signed with this secret.
async fn signed(http: &mut Http, secret: &str, nonce: u64) -> u16 {
    let body = r#"{"topic":"t"}"#;
    let text = format!("k2026-01-01T00:00:00Z1{nonce}{body}");
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret.as_bytes());
    let tag = ring::hmac::sign(&key, text.as_bytes());
    let signature = base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, tag);
    let target = format!("/push?key=k&timestamp=2026-01-01T00:00:00Z&seq=1&nonce={nonce}&signature={signature}");
    http.post(&target, &[], body.as_bytes()).await.status
}

#[tokio::test]
async fn sighup_changes_permissions_and_keys_and_drops_nobody() {
    let dir = home(&reloadable("old", true));
    let mut process = Process::start(dir.path());
    let address = process.address();
    let mut session = join(address).await;
    session.subscribe("t").await;
    let mut http = Http::over(TcpStream::connect(address).await.unwrap());
    assert_eq!(http.post("/plain", &[], br#"{"topic":"t"}"#).await.status, 202);
    assert_eq!(signed(&mut http, "old", 1).await, 202);

    configure(dir.path(), &reloadable("old", false));
    process.signal(Signal::HUP);
    process.wait_for("reloaded");
    assert_eq!(http.post("/plain", &[], br#"{"topic":"t"}"#).await.status, 403);

    configure(dir.path(), &reloadable("new", true));
    process.signal(Signal::HUP);
    process.wait_for("reloaded");
    assert_eq!(signed(&mut http, "old", 2).await, 401);
    assert_eq!(signed(&mut http, "new", 3).await, 202);

    // A fault, and a change that needs a restart: both are said, and nothing changes.
    std::fs::write(dir.path().join(".stentor/config.json"), "{\"workers\": 5}").unwrap();
    process.signal(Signal::HUP);
    let lines = process.wait_for("the old one stays in force");
    assert!(lines.iter().any(|line| line.contains("config.json:1")), "{lines:#?}");
    configure(dir.path(), &web_with(json!({"other": pusher(json!({}))}), json!({})));
    process.signal(Signal::HUP);
    process.wait_for("the old configuration stays in force");
    assert_eq!(http.post("/plain", &[], br#"{"topic":"t"}"#).await.status, 202);

    // The session has heard what was published while it was allowed, and is still there.
    for _ in 0..4 {
        session.expect(36).await;
    }
    session.publish("u", json!([])).await;
    process.signal(Signal::TERM);
    session.expect(6).await;
    session.send(json!([6, {}, "wamp.close.goodbye_and_out"])).await;
    assert_eq!(process.exit_code(), Some(0));
}

#[tokio::test]
async fn a_configuration_that_cannot_be_read_to_its_end_holds_up_nothing() {
    let dir = home(&reloadable("old", true));
    let mut process = Process::start(dir.path());
    let address = process.address();
    let config = dir.path().join(".stentor/config.json");
    std::fs::remove_file(&config).unwrap();
    let made = Command::new("mkfifo").arg(&config).status().unwrap();
    assert!(made.success(), "mkfifo, of coreutils, makes the pipe");
    process.signal(Signal::HUP);
    // Opening it for writing waits until the node has opened it for reading, which now waits for what never comes.
    let writer = tokio::task::spawn_blocking(move || std::fs::OpenOptions::new().write(true).open(config));
    let _writer = writer.await.unwrap().unwrap();
    let mut http = Http::over(TcpStream::connect(address).await.unwrap());
    assert_eq!(http.post("/plain", &[], br#"{"topic":"t"}"#).await.status, 202);
    process.signal(Signal::TERM);
    assert_eq!(process.exit_code(), Some(0));
}

#[test]
fn a_closed_pipe_is_nobodys_fault() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = stentor(dir.path(), &["templates"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let mut errors = String::new();
    child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    assert_eq!((child.wait().unwrap().code(), errors.as_str()), (Some(0), ""));
}

#[tokio::test]
async fn debug_tells_each_outcome_and_no_secret() {
    let options = json!({"debug": true, "key": "k", "secret": "hush-hush"});
    let dir = home(&web(json!({"push": pusher(options), "open": pusher(json!({"debug": true}))})));
    let mut process = Process::start(dir.path());
    let mut http = Http::over(TcpStream::connect(process.address()).await.unwrap());
    assert_eq!(http.post("/open", &[], br#"{"topic":"t"}"#).await.status, 202);
    assert_eq!(http.post("/open", &[], b"{}").await.status, 400);
    assert_eq!(signed(&mut http, "hush-hush", 1).await, 202);
    assert_eq!(signed(&mut http, "wrong", 2).await, 401);
    process.signal(Signal::TERM);
    let lines: Vec<_> = process.wait_for("stopped").into_iter().filter(|line| line.contains("\"pusher\"")).collect();
    assert_eq!(lines.len(), 4, "{lines:#?}");
    for (line, status) in lines.iter().zip(["202", "400", "202", "401"]) {
        assert!(line.contains(status) && !line.contains("hush"), "{line}");
    }
    assert_eq!(process.exit_code(), Some(0));
}

#[tokio::test]
async fn a_call_under_way_is_answered_before_the_end() {
    let dir = home(&web(json!({"call": {"type": "caller", "realm": "realm1", "role": "anonymous"}})));
    let mut process = Process::start(dir.path());
    let address = process.address();
    let mut callee = join(address).await;
    callee.register("com.p").await;
    let mut http = Http::over(TcpStream::connect(address).await.unwrap());
    http.send(crate::http::post("/call", &[], br#"{"procedure":"com.p"}"#)).await;
    callee.expect(68).await;
    process.signal(Signal::TERM);
    callee.expect(6).await;
    callee.send(json!([6, {}, "wamp.close.goodbye_and_out"])).await;
    assert_eq!(http.reply().await.refusal().0, 503);
    assert_eq!(process.exit_code(), Some(0));
}

/// A POST whose head has been read by the server, which now waits for the body.
async fn half_a_post(address: SocketAddr, target: &str, body: &str) -> Http {
    let mut http = Http::over(TcpStream::connect(address).await.unwrap());
    let length = body.len().to_string();
    let headers = [("Content-Type", "application/json"), ("Content-Length", &length), ("Expect", "100-continue")];
    http.send(head("POST", target, &headers)).await;
    assert_eq!(http.reply_head().await.status, 100);
    http
}

#[tokio::test]
async fn a_request_in_flight_is_answered_while_the_node_goes_down() {
    let dir = home(&web(json!({"push": pusher(json!({}))})));
    let mut process = Process::start(dir.path());
    let body = r#"{"topic":"t"}"#;
    let mut http = half_a_post(process.address(), "/push", body).await;
    let (first, rest) = body.split_at(body.len() / 2);
    http.send(first).await;
    process.signal(Signal::TERM);
    process.wait_for("going down");
    // A node that does not wait for the rest has said its last words by then.
    let next = process.lines.recv_timeout(Duration::from_millis(300));
    assert_eq!(next, Err(RecvTimeoutError::Timeout));
    http.send(rest).await;
    // Answered, and not with a promise that nobody is left to keep.
    assert_eq!(http.reply().await.status, 503);
    process.wait_for("stopped");
    assert_eq!(process.exit_code(), Some(0));
}

#[tokio::test]
async fn nothing_comes_after_goodbye() {
    let dir = home(&web(json!({"push": pusher(json!({}))})));
    let mut process = Process::start(dir.path());
    let address = process.address();
    let mut sessions = [join(address).await, join(address).await];
    for session in &mut sessions {
        session.subscribe("wamp.session.on_leave").await;
        session.subscribe("com.x").await;
    }
    let body = r#"{"topic":"com.x"}"#;
    let mut http = half_a_post(address, "/push", body).await;
    process.signal(Signal::TERM);
    for session in &mut sessions {
        // The other one may have left before.
        loop {
            let message = session.message().await;
            if message[0] == 6 {
                assert_eq!(message, json!([6, {}, "wamp.close.system_shutdown"]));
                break;
            }
            assert_eq!(message[0], 36, "{message}");
        }
    }
    // What comes after both GOODBYEs is refused, and one session ends before the other one answers.
    http.send(body).await;
    assert_eq!(http.reply().await.status, 503);
    for session in &mut sessions {
        session.send(json!([6, {}, "wamp.close.goodbye_and_out"])).await;
        session.expect_close(1000).await;
    }
    assert_eq!(process.exit_code(), Some(0));
}

#[tokio::test]
async fn a_log_that_nobody_reads_stops_nobody() {
    let dir = home(&web(json!({"push": pusher(json!({"debug": true}))})));
    let mut process = Process::reading_ahead(dir.path(), 2, 0);
    let mut http = Http::over(TcpStream::connect(process.address()).await.unwrap());
    let body = json!({"topic": "t", "args": ["x".repeat(200)]}).to_string();
    // Their lines are several times what a pipe holds.
    for n in 0..1500 {
        assert_eq!(http.post("/push", &[], body.as_bytes()).await.status, 202, "{n}");
    }
    process.signal(Signal::TERM);
    assert_eq!(process.unread_exit_code().await, Some(0));
}
