//! Authenticator functions with the real Python, the real FastAPI and real processes.
//!
//! Environments are kept under the target directory, so that the packages are fetched once and not for each test.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use stentor::meter::Meters;
use stentor::sidecar::{Condition, Options, Question, Sidecar, Source};
use stentor_websub::authenticator::{Response, TopicVerdict, Verdict};
use tempfile::TempDir;

use crate::house::soon;

/// Fetching packages takes as long as it takes.
const SETUP_PATIENCE: Duration = Duration::from_secs(600);

/// What most functions of these tests begin with.
const IMPORTS: &str = "
    from fastapi import HTTPException
    from starlette.authentication import AuthCredentials, BaseUser, SimpleUser, UnauthenticatedUser
    class User(SimpleUser):
        @property
        def identity(self):
            return self.username
    authorization = request.headers.get('authorization', '')
";

/// A node directory whose environments are those of all tests.
pub(crate) fn node_dir() -> TempDir {
    let found = std::process::Command::new("python3").args(["-c", "import venv, ensurepip"]).output();
    assert!(
        found.is_ok_and(|output| output.status.success()),
        "these tests need Python 3.9 or later with venv and pip: install python3, python3-venv and python3-pip"
    );
    let shared = Path::new(env!("CARGO_TARGET_TMPDIR")).join("functions-env");
    std::fs::create_dir_all(&shared).unwrap();
    let dir = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(shared, dir.path().join("functions-env")).unwrap();
    dir
}

/// A function at work.
pub(crate) struct Function {
    pub(crate) sidecar: Sidecar,
    pub(crate) meters: Arc<Meters>,
    pub(crate) dir: Arc<TempDir>,
}

/// The whole code of a function with this body.
pub(crate) fn code(kind: &str, body: &str) -> String {
    let body = body.lines().map(|line| format!("    {line}\n")).collect::<String>();
    format!("{kind} authenticator(*, context, request, **kwargs):{IMPORTS}{body}")
}

fn options(dir: &Path, code: String) -> Options {
    Options {
        hub: "hub".to_owned(),
        tenant: "tenant".to_owned(),
        source: Source::Inline { code },
        requirements: Vec::new(),
        config: json!({"colour": "red"}),
        timeout: Duration::from_secs(10),
        workers: 1,
        python: PathBuf::from("python3"),
        memory_bytes_max: 1 << 30,
        node_dir: dir.to_owned(),
    }
}

/// A function that makes keys and signs tokens with PyJWT, and writes the public keys into this file.
pub(crate) async fn issuer(body: &str, file: &Path) -> Function {
    Function::of(code("def", body), |options| {
        options.requirements = vec!["pyjwt[crypto] >= 2.8".to_owned()];
        options.config = json!({"file": file});
    })
    .await
}

impl Function {
    pub(crate) async fn start(body: &str) -> Self {
        Self::tuned(body, |_| {}).await
    }

    pub(crate) async fn tuned(body: &str, tune: impl FnOnce(&mut Options)) -> Self {
        Self::of(code("def", body), tune).await
    }

    pub(crate) async fn of(code: String, tune: impl FnOnce(&mut Options)) -> Self {
        let dir = Arc::new(node_dir());
        let mut options = options(dir.path(), code);
        tune(&mut options);
        Self::run(dir, options).await
    }

    async fn run(dir: Arc<TempDir>, options: Options) -> Self {
        let meters = Arc::<Meters>::default();
        let sidecar = Sidecar::start(options, Arc::clone(&meters)).unwrap();
        let mut condition = sidecar.condition();
        let ready = tokio::time::timeout(SETUP_PATIENCE, condition.wait_for(|now| *now != Condition::Preparing)).await;
        let ready = ready.expect("the environment is not made in time").unwrap().clone();
        assert_eq!(ready, Condition::Serving);
        Self { sidecar, meters, dir }
    }

    /// The folder of an environment that has nothing but what every function needs.
    pub(crate) fn environment(&self) -> PathBuf {
        let folder = std::fs::read_link(self.dir.path().join("functions-env")).unwrap();
        let found = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).filter(|path| {
            let name = path.file_name().unwrap().to_string_lossy();
            let marker = std::fs::read_to_string(path.join("stentor-environment.txt")).unwrap_or_default();
            name.len() == 20 && marker.lines().skip(1).eq(["fastapi", "python-multipart"])
        });
        found.last().expect("it has been made")
    }

    pub(crate) async fn ask(&self) -> Verdict {
        self.ask_as("").await
    }

    pub(crate) async fn ask_as(&self, authorization: &str) -> Verdict {
        self.ask_for("https://example.com/a", authorization).await
    }

    async fn ask_for(&self, topic: &str, authorization: &str) -> Verdict {
        soon("a verdict", self.sidecar.ask(question(topic, authorization))).await
    }

    /// Asks until there is another verdict than none.
    async fn ask_until_available(&self, authorization: &str) -> Verdict {
        soon("a worker", async {
            loop {
                match self.sidecar.ask(question("https://example.com/a", authorization)).await {
                    Verdict::Unavailable => tokio::task::yield_now().await,
                    verdict => return verdict,
                }
            }
        })
        .await
    }
}

pub(crate) fn question(topic: &str, authorization: &str) -> Question {
    let fields = [
        ("host", "hub.example:8443"),
        ("content-type", "application/x-www-form-urlencoded"),
        ("authorization", authorization),
    ];
    Question {
        topic: topic.to_owned(),
        method: "POST".to_owned(),
        target: "/hub?key=a%20b".to_owned(),
        scheme: "https".to_owned(),
        http_version: "1.1".to_owned(),
        client: Some("192.0.2.7".to_owned()),
        fields: fields.into_iter().collect(),
        body: "hub.mode=subscribe&hub.topic=https%3A%2F%2Fexample.com%2Fa".into(),
    }
}

/// The identity of somebody who is let in.
#[track_caller]
pub(crate) fn identity(verdict: Verdict) -> String {
    match verdict {
        Verdict::Authenticated { identity, topic: TopicVerdict::Allowed } => identity.as_str().to_owned(),
        other => panic!("{other:?}"),
    }
}

#[track_caller]
pub(crate) fn dictated(verdict: Verdict) -> Response {
    match verdict {
        Verdict::Dictated(response) => response,
        other => panic!("{other:?}"),
    }
}

/// One function with a result for each word.
const RESULTS: &str = "
scopes = AuthCredentials([r'http[s]?://.*'])
if authorization == 'none': return None
if authorization == 'right': return scopes, User('foobar')
if authorization == 'prefix': return AuthCredentials(['https://example.com/']), User('foobar')
if authorization == 'nothing': return AuthCredentials([]), User('foobar')
if authorization == 'stranger': return scopes, UnauthenticatedUser()
if authorization == 'number': return 5
if authorization == 'list': return [scopes, User('a')]
if authorization == 'alone': return scopes
if authorization == 'turned': return User('a'), scopes
if authorization == 'bare': return scopes, BaseUser()
if authorization == 'anonymous': return scopes, User('')
if authorization == 'long': return scopes, User('x' * 2000)
if authorization == 'broken': return AuthCredentials(['(']), User('a')
if authorization == 'many': return AuthCredentials(['x'] * 1000000), User('a')
if authorization == 'huge': return AuthCredentials(['x' * 100000000]), User('a')
if authorization == 'teapot': raise HTTPException(418, {'why': 'tea'}, {'X-Kind': 'green'})
if authorization == 'header': raise HTTPException(400, 'x', {'X-Kind': 'a\\r\\nX-Other: b'})
if authorization == 'status': raise HTTPException(99, 'x')
if authorization == 'detail': raise HTTPException(400, object())
if authorization == 'large': raise HTTPException(400, 'x' * (2 << 20))
if authorization == 'large header': raise HTTPException(400, 'x', {'X-Kind': 'x' * (2 << 20)})
if authorization == 'half': raise HTTPException(400, 'x', {'X-Kind': '\\ud800'})
if authorization == 'half in a trace': raise ValueError('\\ud800')
if authorization == 'cancelled':
    import asyncio
    raise asyncio.CancelledError()
if authorization == 'value': raise ValueError('a secret that nobody may see')
if authorization == 'exit': raise SystemExit(3)
if authorization == 'recursion':
    def deep(): deep()
    deep()
";

async fn check_results(kind: &str) {
    let function = Function::of(code(kind, RESULTS), |_| {}).await;
    let check =
        async |word: &str, expected: Verdict| assert_eq!(function.ask_as(word).await, expected, "{kind} {word}");
    check("none", Verdict::Nobody).await;
    assert_eq!(identity(function.ask_as("right").await), "foobar");
    assert_eq!(identity(function.ask_for("http://elsewhere/", "right").await), "foobar");
    for word in ["prefix", "nothing"] {
        let Verdict::Authenticated { topic, .. } = function.ask_as(word).await else { panic!("{word}") };
        assert_eq!(topic, TopicVerdict::Denied, "a scope matches the whole topic");
    }
    check("stranger", Verdict::Unauthenticated).await;
    let wrong = ["number", "list", "alone", "turned", "bare", "anonymous", "long", "broken", "many", "huge"];
    let raised = ["header", "status", "detail", "value", "exit", "recursion", "cancelled", "half", "half in a trace"];
    for word in wrong.into_iter().chain(raised).chain(["large", "large header"]) {
        check(word, Verdict::Failed).await;
    }
    assert_eq!(function.meters.function_failures.get(), 21);
    let teapot = dictated(function.ask_as("teapot").await);
    assert_eq!(
        (teapot.status, String::from_utf8(teapot.body).unwrap()),
        (418, r#"{"detail":{"why":"tea"}}"#.to_owned())
    );
    assert!(teapot.headers.contains(&("X-Kind".to_owned(), "green".to_owned())), "{:?}", teapot.headers);
    assert_eq!(function.meters.function_workers_ended.get(), 0, "none of that ends a worker");
}

#[tokio::test]
async fn each_result_of_a_plain_function() {
    check_results("def").await;
}

#[tokio::test]
async fn each_result_of_an_async_function() {
    check_results("async def").await;
}

#[tokio::test]
async fn a_task_that_a_function_has_cancelled_is_an_exception_of_its_own() {
    let body = "
import asyncio
task = asyncio.ensure_future(asyncio.sleep(9))
task.cancel()
await task";
    let function = Function::of(code("async def", body), |_| {}).await;
    assert_eq!(function.ask().await, Verdict::Failed);
    assert_eq!((function.meters.function_failures.get(), function.meters.function_silences.get()), (1, 0));
}

#[tokio::test]
async fn the_request_is_that_of_fastapi() {
    let body = "
import fastapi
assert type(request) is fastapi.Request
form = await request.form()
seen = [request.method, str(request.url), request.query_params['key'], request.client.host, form['hub.topic'],
        (await request.body()).decode()[:8], request.headers['host'], request.url.scheme, request.url.port]
seen += [context.config['colour'], context.node, context.tenant, context.logger.name]
return AuthCredentials(['.*']), User('|'.join(map(str, seen)))";
    let function = Function::of(code("async def", body), |_| {}).await;
    let expected = "POST|https://hub.example:8443/hub?key=a%20b|a b|192.0.2.7|https://example.com/a|hub.mode|hub.example:8443\
                    |https|8443|red|hub|tenant|inline";
    assert_eq!(identity(function.ask().await), expected);
}

#[tokio::test]
async fn header_fields_are_octets() {
    let body = "
found = [value for name, value in request.scope['headers'] if name == b'x-name']
assert found == [b'caf\\xe9', b'\\xff'] and request.headers['x-name'] == 'caf\\xe9', found
return AuthCredentials(['.*']), User('octets')";
    let function = Function::of(code("async def", body), |_| {}).await;
    let mut asked = question("https://example.com/a", "");
    asked.fields.extend([("x-name", &b"caf\xe9"[..]), ("x-name", &b"\xff"[..])]);
    assert_eq!(identity(function.sidecar.ask(asked).await), "octets");
}

#[tokio::test]
async fn a_task_is_there_before_an_async_function_waits_for_anything() {
    let body = "
import asyncio
task = asyncio.current_task()
assert asyncio.get_running_loop() is task.get_loop() and not task.done()
async with asyncio.Lock():
    await asyncio.sleep(0)
await asyncio.wait_for(asyncio.sleep(0), 1)
assert asyncio.current_task() is task and await asyncio.gather(asyncio.sleep(0, 1), asyncio.sleep(0, 2)) == [1, 2]
return AuthCredentials(['.*']), User('there')";
    let function = Function::of(code("async def", body), |_| {}).await;
    assert_eq!(identity(function.ask().await), "there");
}

#[tokio::test]
async fn the_context_lives_as_long_as_the_process_and_the_table_longer() {
    let body = "
with context:
    assert context.locked()
    context.count = getattr(context, 'count', 0) + 1
with context.table as table:
    table['count'] = table.get('count', 0) + 1
    table.setdefault('list', []).append(1)
context.table.update(a=1, b={'c': [None]})
assert context.table.pop('a') == 1 and 'a' not in context.table and context.table['b'] == {'c': [None]}
assert sorted(context.table) == ['b', 'count', 'list'] and len(context.table) == 3
return AuthCredentials(['.*']), User('{} {}'.format(context.count, context.table['count']))";
    let function = Function::start(body).await;
    for expected in ["1 1", "2 2", "3 3"] {
        assert_eq!(identity(function.ask().await), expected);
    }
    function.sidecar.stop().await;
    assert_eq!(function.ask().await, Verdict::Unavailable);
    let again = Function::run(Arc::clone(&function.dir), options(function.dir.path(), code("def", body))).await;
    assert_eq!(identity(again.ask().await), "1 4");
}

#[tokio::test]
async fn two_functions_have_requirements_that_exclude_each_other() {
    let version = |requirement: &str| {
        let requirement = requirement.to_owned();
        let body = "import idna, sys\nreturn AuthCredentials(['.*']), User(idna.__version__)";
        Function::tuned(body, move |options| options.requirements = vec![requirement])
    };
    let (old, new) = (version("idna==3.4").await, version("idna==3.7").await);
    assert_eq!(identity(old.ask().await), "3.4");
    assert_eq!(identity(new.ask().await), "3.7");
}

#[tokio::test]
async fn requirements_that_cannot_be_had_deny() {
    let dir = node_dir();
    let mut options = options(dir.path(), code("def", "return None"));
    options.requirements = vec!["stentor-nothing @ file:///nonexistent/package.whl".to_owned()];
    let sidecar = Sidecar::start(options, Arc::default()).unwrap();
    let mut condition = sidecar.condition();
    let failed = tokio::time::timeout(SETUP_PATIENCE, condition.wait_for(|now| *now != Condition::Preparing)).await;
    let Condition::Failed(sentence) = failed.unwrap().unwrap().clone() else { panic!("it was made") };
    assert!(sentence.contains("package.whl"), "{sentence}");
    assert_eq!(sidecar.ask(question("https://example.com/a", "")).await, Verdict::Unavailable);
}

#[tokio::test]
async fn an_environment_that_is_there_needs_no_network() {
    drop(Function::start("return None").await);
    // What would have to fetch something fails.
    let guard = tempfile::tempdir().unwrap();
    let python = guard.path().join("python3");
    std::fs::write(&python, "#!/bin/sh\ncase \"$*\" in *pip*|*venv*) exit 9;; esac\nexec python3 \"$@\"\n").unwrap();
    std::fs::set_permissions(&python, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let function = Function::tuned("return None", |options| options.python = python).await;
    assert_eq!(function.ask().await, Verdict::Nobody);
}

#[tokio::test]
async fn sleeping_past_the_deadline_is_a_denial() {
    for (kind, pause) in
        [("def", "import time; time.sleep(600)"), ("async def", "import asyncio; await asyncio.sleep(600)")]
    {
        let body = format!("if authorization == 'slow': {pause}\nreturn None");
        let function = Function::of(code(kind, &body), |options| options.timeout = Duration::from_secs(4)).await;
        let both = async { tokio::join!(function.ask_as("slow"), function.ask()) };
        let (slow, quick) = soon("both answers", both).await;
        assert_eq!((slow, quick), (Verdict::Unavailable, Verdict::Nobody), "{kind}");
        assert_eq!(function.ask().await, Verdict::Nobody, "the worker goes on");
        assert_eq!(function.meters.function_silences.get(), 1);
    }
}

#[tokio::test]
async fn threads_that_do_not_come_back_cost_the_worker() {
    let body = "import time\nif authorization == 'slow': time.sleep(600)\nreturn None";
    let function = Function::tuned(body, |options| options.timeout = Duration::from_secs(1)).await;
    let slow = (0..8).map(|_| function.sidecar.ask(question("https://example.com/a", "slow")));
    for verdict in join_all(slow).await {
        assert_eq!(verdict, Verdict::Unavailable);
    }
    soon("another worker", async {
        while function.meters.function_workers_ended.get() == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(function.ask_until_available("").await, Verdict::Nobody);
}

#[tokio::test]
async fn a_regular_expression_that_backtracks_for_ever_is_ended() {
    let body = "
scopes = ['https://example.com/(a+)+$'] if authorization == 'evil' else ['.*']
return AuthCredentials(scopes), User('a')";
    let function = Function::tuned(body, |options| options.timeout = Duration::from_secs(3)).await;
    let topic = format!("https://example.com/{}!", "a".repeat(60));
    assert_eq!(function.ask_for(&topic, "evil").await, Verdict::Unavailable);
    assert_eq!(identity(function.ask_until_available("").await), "a");
    assert_eq!(function.meters.function_workers_ended.get(), 1);
}

#[tokio::test]
async fn workers_that_crash_are_replaced() {
    let body = "
import os, time
if authorization == 'exit': os._exit(7)
if authorization == 'signal':
    os.kill(os.getpid(), 11)
    # It may be another thread that the signal reaches first.
    time.sleep(5)
if authorization == 'socket': os.closerange(3, 100)
return AuthCredentials(['.*']), User(str(os.getpid()))";
    let function = Function::start(body).await;
    let mut pid = identity(function.ask().await);
    for word in ["exit", "signal", "socket"] {
        assert_eq!(function.ask_as(word).await, Verdict::Unavailable, "{word}");
        let next = identity(function.ask_until_available("").await);
        assert_ne!(next, pid);
        assert!(!Path::new("/proc").join(&pid).exists(), "a zombie is left by {word}");
        pid = next;
    }
    function.sidecar.stop().await;
    assert!(!Path::new("/proc").join(&pid).exists(), "a worker is left");
}

#[tokio::test]
async fn whoever_is_beside_a_crash_is_answered() {
    let body = "
import os, time
if authorization == 'crash':
    time.sleep(0.5)
    os._exit(7)
time.sleep(1 if not os.path.exists(context.config['mark']) else 0)
return AuthCredentials(['.*']), User(authorization)";
    let mark = tempfile::NamedTempFile::new().unwrap();
    let (path, gone) = (mark.path().to_owned(), mark.into_temp_path());
    let function = Function::tuned(body, |options| {
        (options.config, options.timeout) = (json!({"mark": path}), Duration::from_secs(60));
    })
    .await;
    drop(gone);
    let words = ["a", "b", "crash", "c", "d", "e"];
    let asked = words.map(|word| function.sidecar.ask(question("https://example.com/a", word)));
    let mark = async {
        // What is asked again is answered at once.
        while function.meters.function_workers_ended.get() == 0 {
            tokio::task::yield_now().await;
        }
        std::fs::write(&path, "").unwrap();
    };
    let (verdicts, ()) = tokio::join!(join_all(asked), mark);
    for (word, verdict) in words.into_iter().zip(verdicts) {
        match word {
            "crash" => assert_eq!(verdict, Verdict::Unavailable),
            _ => assert_eq!(identity(verdict), word),
        }
    }
    assert_eq!(function.meters.function_workers_ended.get(), 2, "once for all of them, and once for the one at fault");
}

#[tokio::test]
async fn somebody_who_crashes_workers_does_not_close_the_hub() {
    let body = "
import os
if authorization == 'crash': os._exit(7)
return None";
    let function = Function::tuned(body, |options| options.timeout = Duration::from_secs(20)).await;
    for _ in 0..9 {
        soon("a crash", async { while function.ask_as("crash").await != Verdict::Unavailable {} }).await;
    }
    // A wait that had doubled each time would be longer now than a question has.
    assert_eq!(function.ask().await, Verdict::Nobody);
}

#[tokio::test]
async fn a_damaged_environment_is_made_again() {
    let function = Function::start("return None").await;
    let used = function.environment();
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let folder = dir.path().join("functions-env").join(used.file_name().unwrap());
    std::fs::create_dir_all(folder.join("bin")).unwrap();
    std::fs::copy(used.join("stentor-environment.txt"), folder.join("stentor-environment.txt")).unwrap();
    std::fs::write(folder.join("bin/python"), "#!/bin/sh\nexec python3 -S \"$@\"\n").unwrap();
    std::fs::set_permissions(folder.join("bin/python"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mended = Function::run(Arc::clone(&dir), options(dir.path(), code("def", "return None"))).await;
    assert_eq!(mended.ask().await, Verdict::Nobody);
    assert!(folder.is_symlink(), "its name leads to another one");
}

#[tokio::test]
async fn what_makes_an_environment_ends_with_the_node() {
    let dir = tempfile::tempdir().unwrap();
    // Stands for a pip that takes its time: it writes down its child.
    let (python, note) = (dir.path().join("slow-python"), dir.path().join("child"));
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in *runpy*|*execvp*) sleep 600 & echo $! > {}; wait;; esac\nexec python3 \"$@\"\n",
        note.display()
    );
    std::fs::write(&python, script).unwrap();
    std::fs::set_permissions(&python, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut options = options(dir.path(), code("def", "return None"));
    options.python = python;
    let sidecar = Sidecar::start(options, Arc::default()).unwrap();
    let child = soon("a child", async {
        loop {
            match std::fs::read_to_string(&note).ok().filter(|text| text.ends_with('\n')) {
                Some(text) => return text.trim().to_owned(),
                None => tokio::task::yield_now().await,
            }
        }
    })
    .await;
    sidecar.stop().await;
    soon("its end", async {
        while std::fs::read_to_string(Path::new("/proc").join(&child).join("stat"))
            .is_ok_and(|stat| !stat.contains(") Z "))
        {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn what_a_function_has_started_ends_with_it() {
    let body = "
import subprocess
context.child = subprocess.Popen(['sleep', '600'])
return AuthCredentials(['.*']), User(str(context.child.pid))";
    let function = Function::start(body).await;
    let pid = identity(function.ask().await);
    function.sidecar.stop().await;
    soon("its end", async {
        // Whoever inherits it may take a moment to notice.
        while std::fs::read_to_string(Path::new("/proc").join(&pid).join("stat"))
            .is_ok_and(|stat| !stat.contains(") Z "))
        {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn memory_is_limited() {
    let body = "
if authorization == 'hungry':
    context.kept = []
    while True: context.kept.append(bytearray(1 << 20))
return None";
    let function = Function::start(body).await;
    assert_eq!(function.ask_as("hungry").await, Verdict::Failed);
    assert_eq!(function.ask_until_available("").await, Verdict::Nobody);
    soon("another worker", async {
        while function.meters.function_workers_ended.get() == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_gigabyte_of_output_is_read_and_dropped() {
    let body = "
if authorization == 'loud':
    line = 'x' * (1 << 20)
    for _ in range(1024): print(line)
return None";
    let function = Function::tuned(body, |options| options.timeout = Duration::from_secs(100)).await;
    let loud = function.sidecar.ask(question("https://example.com/a", "loud"));
    let loud = tokio::time::timeout(Duration::from_secs(110), loud).await;
    assert_eq!(loud.unwrap(), Verdict::Nobody);
    assert_eq!(function.ask().await, Verdict::Nobody);
}

#[tokio::test]
async fn two_hundred_requests_at_once() {
    for (kind, pause) in
        [("def", "import time; time.sleep(0.05)"), ("async def", "import asyncio; await asyncio.sleep(0.05)")]
    {
        let body = format!("{pause}\nreturn AuthCredentials(['.*']), User(authorization)");
        let function = Function::of(code(kind, &body), |options| options.workers = 2).await;
        let asked = (0..200).map(|number| function.sidecar.ask(question("https://example.com/a", &number.to_string())));
        let asked = asked.collect::<Vec<_>>();
        for (number, verdict) in join_all(asked).await.into_iter().enumerate() {
            assert_eq!(identity(verdict), number.to_string(), "everybody gets their own verdict");
        }
        assert_eq!(function.meters.function_silences.get(), 0);
    }
}

#[tokio::test]
async fn a_file_that_changes_is_asked_from_the_next_request_on() {
    let dir = Arc::new(node_dir());
    let file = dir.path().join("functions/mine.py");
    std::fs::create_dir(file.parent().unwrap()).unwrap();
    let write = |name: &str| {
        let text = code("def", &format!("return AuthCredentials(['.*']), User('{name}')"));
        std::fs::write(&file, text).unwrap();
    };
    write("first");
    let mut options = options(dir.path(), String::new());
    options.source = Source::named("mine", dir.path());
    options.workers = 2;
    let function = Function::run(Arc::clone(&dir), options).await;
    for _ in 0..4 {
        assert_eq!(identity(function.ask().await), "first");
    }
    write("the second");
    for _ in 0..4 {
        assert_eq!(identity(function.ask().await), "the second");
    }
    std::fs::write(&file, "import os\n").unwrap();
    assert_eq!(function.ask().await, Verdict::Failed);
    std::fs::remove_file(&file).unwrap();
    assert_eq!(function.ask().await, Verdict::Failed);
    write("third");
    assert_eq!(identity(function.ask().await), "third");
    assert_eq!(function.meters.function_workers_ended.get(), 0);
}

#[tokio::test]
async fn a_verdict_of_code_that_has_been_replaced_is_not_repeated() {
    let dir = Arc::new(node_dir());
    let file = dir.path().join("functions/mine.py");
    std::fs::create_dir(file.parent().unwrap()).unwrap();
    let begun = dir.path().join("begun");
    let old = "
import time
from stentor_context import cache_for
open(context.config['begun'], 'w').close()
time.sleep(1)
return cache_for(600, (AuthCredentials(['.*']), User('old')))";
    std::fs::write(&file, code("def", old)).unwrap();
    let mut options = options(dir.path(), String::new());
    (options.source, options.config) = (Source::named("mine", dir.path()), json!({"begun": begun}));
    let function = Function::run(Arc::clone(&dir), options).await;
    let replace = async {
        while !begun.exists() {
            tokio::task::yield_now().await;
        }
        std::fs::write(&file, code("def", "return None")).unwrap();
        assert_eq!(function.ask_as("other").await, Verdict::Nobody);
    };
    let (first, ()) = tokio::join!(function.ask(), replace);
    assert_eq!(identity(first), "old", "it was asked before the change");
    assert_eq!(function.ask().await, Verdict::Nobody);
}

#[tokio::test]
async fn a_verdict_is_repeated_for_as_long_as_the_function_says() {
    let body = "
from stentor_context import cache_for
context.count = getattr(context, 'count', 0) + 1
result = AuthCredentials(['.*']), User(str(context.count))
return cache_for(600, result) if authorization == 'keep' else result";
    let function = Function::start(body).await;
    let mut seen = Vec::new();
    for word in ["keep", "keep", "", "", "keep"] {
        seen.push(identity(function.ask_as(word).await));
    }
    assert_eq!(seen, ["1", "1", "2", "3", "1"]);
}

#[tokio::test]
async fn the_library_has_what_people_expect() {
    let dir = Arc::new(node_dir());
    let ready = async |name: &str, config: Value| {
        let mut options = options(dir.path(), String::new());
        (options.source, options.config) = (Source::named(name, dir.path()), config);
        Function::run(Arc::clone(&dir), options).await
    };
    let sha256 = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    let scopes = json!(["https://example\\.com/.*"]);
    let basic = ready("basic", json!({"scopes": scopes, "users": {"alice": format!("sha256${sha256}")}})).await;
    // alice:hello, alice:other, bob:hello
    assert_eq!(identity(basic.ask_as("Basic YWxpY2U6aGVsbG8=").await), "alice");
    for wrong in ["", "Basic", "Basic YWxpY2U6b3RoZXI=", "Basic Ym9iOmhlbGxv", "Basic !!!"] {
        let response = dictated(basic.ask_as(wrong).await);
        assert_eq!(response.status, 401, "{wrong}");
        assert!(response.headers.iter().any(|(name, value)| name == "WWW-Authenticate" && value.contains("Basic")));
    }
    let bearer = ready("bearer", json!({"tokens": {sha256: {"identity": "carol", "scopes": scopes}}})).await;
    assert_eq!(identity(bearer.ask_as("Bearer hello").await), "carol");
    assert_eq!(dictated(bearer.ask_as("Bearer other").await).status, 401);
}

/// Waits for all of them.
pub(crate) async fn join_all<T>(futures: impl IntoIterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut waiting: Vec<_> = futures.into_iter().map(|future| (Box::pin(future), None)).collect();
    std::future::poll_fn(|cx| {
        for (future, done) in waiting.iter_mut().filter(|(_, done)| done.is_none()) {
            if let std::task::Poll::Ready(value) = future.as_mut().poll(cx) {
                *done = Some(value);
            }
        }
        if waiting.iter().all(|(_, done)| done.is_some()) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    waiting.into_iter().map(|(_, done)| done.expect("all are done")).collect()
}
