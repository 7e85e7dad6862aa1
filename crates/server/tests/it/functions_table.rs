//! `context.table` under many requests at once, and the modules for type checkers.

use std::time::Duration;

use stentor_websub::authenticator::Verdict;

use crate::functions::{Function, code, dictated, identity, join_all, question};
use crate::house::soon;

/// Asks so many times at once, each with its number in place of the credentials.
async fn ask_at_once(function: &Function, count: usize) -> Vec<Verdict> {
    let asked = (0..count).map(|number| function.sidecar.ask(question("https://example.com/a", &number.to_string())));
    soon("verdicts", join_all(asked.collect::<Vec<_>>())).await
}

async fn with_workers(kind: &str, workers: u32, body: &str) -> Function {
    Function::of(code(kind, body), |options| options.workers = workers as usize).await
}

#[tokio::test]
async fn a_transaction_is_one_request_at_a_time() {
    for (kind, with, pause) in
        [("def", "with", "import time; time.sleep(0.002)"), ("async def", "async with", "await asyncio.sleep(0.002)")]
    {
        let body = format!(
            "
import asyncio
if authorization == 'count': return AuthCredentials(['.*']), User(str(context.table['n']))
{with} context.table as t:
    n = t.get('n', 0)
    {pause}
    t['n'] = n + 1
return None"
        );
        let function = with_workers(kind, 2, &body).await;
        for verdict in ask_at_once(&function, 50).await {
            assert_eq!(verdict, Verdict::Nobody, "{kind}");
        }
        assert_eq!(identity(function.ask_as("count").await), "50", "{kind}");
    }
}

#[tokio::test]
async fn an_exception_takes_back_what_its_own_request_wrote() {
    let body = "
import asyncio
if authorization == 'keys': return AuthCredentials(['.*']), User(' '.join(context.table))
number = int(authorization)
async with context.table as t:
    t['k%02d' % number] = number
    await asyncio.sleep(0.005)
    async with t: t['k%02d' % number] += 1
    if number % 2: raise HTTPException(409, 'taken back')
assert context.table['k%02d' % number] == number + 1
return None";
    let function = with_workers("async def", 1, body).await;
    for (number, verdict) in ask_at_once(&function, 12).await.into_iter().enumerate() {
        match verdict {
            Verdict::Nobody => assert_eq!(number % 2, 0),
            other => assert_eq!((dictated(other).status, number % 2), (409, 1)),
        }
    }
    assert_eq!(identity(function.ask_as("keys").await), "k00 k02 k04 k06 k08 k10");
}

#[tokio::test]
async fn nobody_else_is_in_a_transaction() {
    let body = "
import asyncio
table, seen = context.table, []
table['before'] = 1
inside, done = asyncio.Event(), asyncio.Event()
async def transaction():
    async with table:
        table['inside'] = 1
        # What it starts takes part, in whatever thread.
        await asyncio.gather(asyncio.to_thread(table.__setitem__, 'thread', 1), asyncio.create_task(task()))
        assert sorted(table) == ['before', 'inside', 'task', 'thread']
        inside.set()
        await done.wait()
        raise KeyError('taken back')
async def task():
    with table: table['task'] = 1
running = asyncio.create_task(transaction())
await inside.wait()
def refused(attempt):
    try: attempt()
    except RuntimeError as error: assert 'async with context.table' in str(error); seen.append('refused')
seen += list(table)
refused(lambda: table.update(outside=1))
refused(table.__enter__)
done.set()
await asyncio.gather(running, return_exceptions=True)
table['after'] = 1
return AuthCredentials(['.*']), User(' '.join(seen + list(table)))";
    let function = with_workers("async def", 1, body).await;
    assert_eq!(identity(function.ask().await), "before refused refused after before");
}

#[tokio::test]
async fn a_look_at_the_table_is_a_look_at_one_moment() {
    let body = "
import random
table = context.table
for _ in range(20):
    table['z%d' % random.randrange(20)] = 1
    table.pop('z%d' % random.randrange(20), None)
    with table: table['a'] = table['b'] = random.random()
    for seen in dict(table.items()), table.copy():
        assert seen['a'] == seen['b'], seen
    list(table.values()), list(table.keys()), sorted(table), table == {}
return None";
    let function = with_workers("def", 2, body).await;
    for verdict in ask_at_once(&function, 20).await {
        assert_eq!(verdict, Verdict::Nobody);
    }
}

#[tokio::test]
async fn what_cannot_be_stored_is_said_in_a_sentence() {
    let body = "
said = []
def check(kind, attempt, word):
    try: attempt()
    except kind as error: assert word in str(error), error
    else: assert False, word
table = context.table
check(ValueError, lambda: table.update({'\\ud800': 1}), 'UTF-8')
check(ValueError, lambda: table.get('\\ud800'), 'UTF-8')
check(TypeError, lambda: table.update({1: 1}), 'not int')
check(TypeError, lambda: table.update(a=1, b=object()), 'what JSON can say')
check(KeyError, lambda: table.pop('a'), 'a')
table['half'] = '\\ud800'
assert table.pop('half') == '\\ud800'
return None";
    let function = Function::start(body).await;
    assert_eq!(function.ask().await, Verdict::Nobody);
}

#[tokio::test]
async fn type_checkers_know_the_context() {
    let body = r#"
import os, stentor_context, subprocess, sys, textwrap
program = textwrap.dedent('''
from typing import cast
from stentor_context import Context
from echostream_function_context import Context as Same

def plain(context: Context) -> object:
    with context.table as table:
        table["a"] = 1
    with context:
        context.mine = 5
    return context.mine + context.table.copy()["a"] + len(dict(context.table.items()))

async def other(context: Same) -> None:
    async with context.table as table:
        table.pop("a", None)
    async with context:
        context.logger.info("%s", context.config["key"])
''')
environment = {**os.environ, 'MYPYPATH': os.path.dirname(os.path.dirname(stentor_context.__file__))}
command = [sys.executable, '-m', 'mypy', '--strict', '--cache-dir', os.devnull, '-c', program]
said = subprocess.run(command, env=environment, capture_output=True, text=True)
if said.returncode: raise HTTPException(400, said.stdout + said.stderr)
return None"#;
    let function = Function::tuned(body, |options| {
        options.requirements = vec!["mypy".to_owned()];
        options.timeout = Duration::from_secs(120);
        options.memory_bytes_max = 4 << 30;
    })
    .await;
    let asked = function.sidecar.ask(question("https://example.com/a", ""));
    let verdict = tokio::time::timeout(Duration::from_secs(130), asked).await.unwrap();
    match verdict {
        Verdict::Nobody => {}
        other => panic!("{}", String::from_utf8_lossy(&dictated(other).body)),
    }
}
