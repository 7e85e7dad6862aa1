//! What a verdict of a function costs, beside the same work in a bare Starlette application under uvicorn. Not a test: run it
//! by name, optimised.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use stentor::sidecar::Sidecar;
use tokio::net::TcpStream;

use crate::functions::{Function, identity, question};
use crate::http::{Http, request};

/// Questions of one measurement.
const QUESTIONS: usize = 4_000;

/// Who ask at once.
const ASKERS: [usize; 2] = [1, 64];

const BODY: &str = "
token = authorization.partition(' ')[2]
if token != 'right': raise HTTPException(401, 'who?')
return AuthCredentials([r'https://example\\.com/.*']), User('foobar')";

/// The same, with what an application has to do itself: read the topic, match it, and write an answer.
const APPLICATION: &str = "
import re
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.routing import Route
SCOPE = re.compile(r'https://example\\.com/.*')
def judge(request):
    token = request.headers.get('authorization', '').partition(' ')[2]
    if token != 'right': raise HTTPException(401, 'who?')
    allowed = SCOPE.fullmatch(request.query_params['topic']) is not None
    return JSONResponse({'identity': 'foobar', 'allowed': allowed})
async def judge_async(request):
    return judge(request)
app = Starlette(routes=[Route('/def', judge, methods=['POST']), Route('/async', judge_async, methods=['POST'])])
";

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// What was measured: verdicts a second, and the wait of the median and of one in a hundred in microseconds.
#[expect(clippy::print_stdout, reason = "a measurement is for whoever reads it")]
fn tell(name: &str, askers: usize, elapsed: Duration, mut waits: Vec<Duration>) {
    waits.sort_unstable();
    let micros = |part: usize| waits[waits.len() * part / 100].as_micros();
    let rate = waits.len() as f64 / elapsed.as_secs_f64();
    println!("{name:<28} {askers:>3} at once: {rate:>7.0}/s, median {:>6} us, p99 {:>6} us", micros(50), micros(99));
}

/// Has so many ask one after the other, each in a way of its own.
async fn measure<S>(name: &str, askers: Vec<S>, ask: impl AsyncFn(&mut S)) {
    let count = askers.len();
    let each = QUESTIONS / count;
    let run = async |mut asker: S| {
        let mut waits = Vec::with_capacity(each);
        for _ in 0..each {
            let since = Instant::now();
            ask(&mut asker).await;
            waits.push(since.elapsed());
        }
        waits
    };
    let since = Instant::now();
    let waits = crate::functions::join_all(askers.into_iter().map(run)).await;
    tell(name, count, since.elapsed(), waits.into_iter().flatten().collect());
}

async fn of_sidecar(kind: &str) {
    let function = Function::of(crate::functions::code(kind, BODY), |_| {}).await;
    let sidecar: &Sidecar = &function.sidecar;
    let asked = question("https://example.com/a", "Bearer right");
    for askers in ASKERS {
        let ask = async |_: &mut ()| drop(identity(sidecar.ask(asked.clone()).await));
        measure(&format!("stentor, {kind}"), vec![(); askers], ask).await;
    }
}

async fn of_uvicorn(python: &str, more: &[&str], name: &str) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("application.py"), APPLICATION).unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let port = address.port().to_string();
    let words = ["-m", "uvicorn", "application:app", "--no-access-log", "--log-level", "error", "--port", &port];
    let child =
        Command::new(python).args(words).args(more).current_dir(dir.path()).stdin(Stdio::null()).spawn().unwrap();
    let _server = Server(child);
    crate::house::soon("uvicorn", async {
        while TcpStream::connect(address).await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    for path in ["def", "async"] {
        let target = format!("/{path}?topic=https%3A%2F%2Fexample.com%2Fa");
        let body = b"hub.mode=subscribe&hub.topic=https%3A%2F%2Fexample.com%2Fa";
        let octets = request("POST", &target, &[("Authorization", "Bearer right")], body);
        for count in ASKERS {
            let mut askers = Vec::new();
            for _ in 0..count {
                askers.push(Http::over(TcpStream::connect(address).await.unwrap()));
            }
            let ask = async |http: &mut Http| {
                http.send(octets.clone()).await;
                let reply = http.reply().await;
                assert_eq!((reply.status, reply.text()), (200, r#"{"identity":"foobar","allowed":true}"#));
            };
            measure(&format!("{name}, {path}"), askers, ask).await;
        }
    }
}

#[tokio::test]
#[ignore = "a measurement: cargo test --release --test it -- --ignored --nocapture verdicts_cost"]
async fn verdicts_cost() {
    let where_it_is =
        "import os, sys\nreturn AuthCredentials(['.*']), User(os.path.realpath(sys.prefix) + '/bin/python')";
    let needs = |options: &mut stentor::sidecar::Options| options.requirements = vec!["uvicorn[standard]".to_owned()];
    let python = identity(Function::tuned(where_it_is, needs).await.ask().await);
    of_sidecar("def").await;
    of_sidecar("async def").await;
    of_uvicorn(&python, &["--http", "httptools", "--loop", "uvloop"], "uvicorn[standard]").await;
    of_uvicorn(&python, &["--http", "h11", "--loop", "asyncio"], "uvicorn").await;
}
