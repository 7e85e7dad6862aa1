//! `stentor functions` and `stentor check`, by the binary itself.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::cli::{home, run};
use crate::functions::{Function, node_dir};
use crate::hub::hub;

const MINE: &str = "def authenticator(*, context, request, **kwargs):
    from fastapi import HTTPException
    from starlette.authentication import AuthCredentials, SimpleUser, UnauthenticatedUser

    class User(SimpleUser):
        identity = property(lambda self: self.username)

    word = request.headers.get('x-word')
    context.logger.warning('asked with %s', word)
    if word == 'long':
        context.logger.warning('\\u00e9' * 20000)
        context.logger.error('\\ud800' + '\\0' * 20000)
    if word == 'teapot': raise HTTPException(418, 'short', {'X-Tea': 'green'})
    if word == 'none': return None
    if word == 'stranger': return AuthCredentials([]), UnauthenticatedUser()
    if word == 'broken': raise ValueError('a reason for the log')
    return AuthCredentials([r'https://example\\.com/.*']), User(context.config.get('name', 'foobar'))
";

/// A node directory with functions in it, which shares the environments of all tests.
fn with_functions(config: &Value) -> TempDir {
    let (dir, shared) = (home(config), node_dir());
    let node = dir.path().join(".stentor");
    std::os::unix::fs::symlink(fs::read_link(shared.path().join("functions-env")).unwrap(), node.join("functions-env"))
        .unwrap();
    fs::create_dir(node.join("functions")).unwrap();
    fs::write(node.join("functions/mine.py"), MINE).unwrap();
    dir
}

fn named() -> Value {
    hub(json!({"authenticator": {"type": "function", "name": "mine", "config": {"name": "ann"}}}))
}

#[test]
fn functions_are_listed_and_shown() {
    let dir = with_functions(&named());
    fs::write(dir.path().join(".stentor/functions/wrong.py"), "import os\n").unwrap();
    let (list, _) = run(dir.path(), &["functions", "list"], 0);
    for part in ["mine", "functions/mine.py", "wrong", "line 1: ", "basic", "bearer", "jwt"] {
        assert!(list.contains(part), "{part} is missing in {list}");
    }
    let (code, _) = run(dir.path(), &["functions", "show", "mine"], 0);
    assert_eq!(code.trim_end(), MINE.trim_end());
    let (code, _) = run(dir.path(), &["functions", "show", "jwt"], 0);
    assert!(code.contains("def authenticator") && code.contains("pyjwt"), "{code}");
    // What has been shown can be copied and changed, and then goes before the library.
    fs::write(dir.path().join(".stentor/functions/jwt.py"), code + "\n# mine\n").unwrap();
    assert!(run(dir.path(), &["functions", "show", "jwt"], 0).0.contains("# mine"));
    let (_, complaint) = run(dir.path(), &["functions", "show", "nothing"], 2);
    assert!(complaint.contains("there is no function 'nothing'"), "{complaint}");
    fs::write(dir.path().join("outside.py"), "a secret").unwrap();
    for name in ["../../outside", "/etc/passwd", "..", ""] {
        let (shown, complaint) = run(dir.path(), &["functions", "show", name], 2);
        assert!(shown.is_empty() && complaint.contains("a function's name"), "{name}: {shown} {complaint}");
    }
}

#[test]
fn a_topic_that_no_hub_takes_is_not_tried() {
    let dir = with_functions(&named());
    for topic in ["", "feed", "ftp://example.com/"] {
        let (said, _) = run(dir.path(), &["functions", "test", "mine", "--topic", topic], 2);
        assert!(!said.contains("allowed"), "{topic}: {said}");
    }
}

#[tokio::test]
async fn a_function_whose_worker_does_not_start_is_not_waited_for() {
    let function = Function::start("return None").await;
    // What makes and looks at environments is as usual, but no worker comes to its first words.
    let dir = with_functions(&named());
    let node = dir.path().join(".stentor");
    let used = function.environment();
    fs::remove_file(node.join("functions-env")).unwrap();
    fs::create_dir(node.join("functions-env")).unwrap();
    let inside = node.join("functions-env").join(used.file_name().unwrap());
    fs::create_dir_all(inside.join("bin")).unwrap();
    fs::copy(used.join("stentor-environment.txt"), inside.join("stentor-environment.txt")).unwrap();
    let python = used.join("bin/python");
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in *stentor_runner*) echo 'no worker today' >&2; exit 9;; esac\nexec {} \"$@\"\n",
        python.display()
    );
    fs::write(inside.join("bin/python"), script).unwrap();
    fs::set_permissions(inside.join("bin/python"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let args = ["functions", "test", "mine", "--topic", "https://example.com/a"];
    let (said, log) = run(dir.path(), &args, 1);
    assert!(said.contains("no verdict (503)"), "{said} {log}");
    let sentence = "a worker did not start: it ended (exit status: 9)";
    assert!(log.contains(sentence) && log.contains("| no worker today"), "{log}");
}

#[tokio::test]
async fn a_function_is_tried_out() {
    drop(Function::start("return None").await);
    let dir = with_functions(&named());
    let check = |word: &str, topic: &str, code: i32, expected: &str| {
        let field = format!("X-Word: {word}");
        let (said, log) = run(dir.path(), &["functions", "test", "mine", "--header", &field, "--topic", topic], code);
        assert!(said.contains(expected), "{word}: {said} {log}");
        log
    };
    let log = check("right", "https://example.com/a", 0, "allowed: ann may subscribe to https://example.com/a");
    assert!(log.contains("asked with right"), "{log}");
    check("right", "https://elsewhere.example/", 1, "denied: no scope of ann matches");
    check("none", "https://example.com/a", 1, "denied: the function returned None");
    check("stranger", "https://example.com/a", 1, "is_authenticated is false (403)");
    check("teapot", "https://example.com/a", 1, "status 418");
    let log = check("broken", "https://example.com/a", 1, "the function is at fault (500)");
    assert!(log.contains("a reason for the log"), "{log}");
    let log = check("long", "https://example.com/a", 0, "allowed");
    let longest = log.split(|letter| letter != 'é').map(|part| part.chars().count()).max();
    assert!((8100..8192).contains(&longest.unwrap_or(0)), "{longest:?}");
    assert!(log.contains("\\ud800") && !log.contains("u{1e}"), "a record is shown as it was sent");
    // The function of the only hub that has one need not be named.
    run(dir.path(), &["functions", "test", "--topic", "https://example.com/a"], 0);
    let (_, complaint) = run(dir.path(), &["functions", "test", "nothing", "--topic", "https://example.com/a"], 2);
    assert!(complaint.contains("there is no function 'nothing'"), "{complaint}");
}

#[tokio::test]
async fn the_log_names_what_a_configuration_lacks() {
    let dir = with_functions(&hub(json!({"authenticator": {"type": "function", "name": "jwt"}})));
    let command = ["functions", "test", "jwt", "--header", "Authorization: Bearer a.b.c", "--topic", "https://x/"];
    let (said, log) = run(dir.path(), &command, 1);
    assert!(said.contains("the function is at fault (500)") && log.contains("needs a jwks_file"), "{said} {log}");
}

#[test]
fn environments_that_nobody_needs_are_pruned() {
    let dir = home(&hub(json!({"authenticator": {"type": "function", "name": "basic"}})));
    let folder = dir.path().join(".stentor/functions-env");
    let made = |name: &str, marker: Option<&str>| {
        fs::create_dir_all(folder.join(name)).unwrap();
        if let Some(text) = marker {
            fs::write(folder.join(name).join("stentor-environment.txt"), text).unwrap();
        }
    };
    made("0123456789abcdef0123", Some("3 11 cpython /usr\nfastapi\nhttpx\n"));
    made("0123456789abcdef0124", None);
    made("runner-0123456789abcdef0123", None);
    made("notes", None);
    let (list, _) = run(dir.path(), &["functions", "prune"], 0);
    let count = |text: &str, verb: &str| text.lines().filter(|line| line.starts_with(verb)).count();
    assert_eq!(count(&list, "unused"), 3, "{list}");
    assert!(list.contains("(fastapi, httpx)") && list.contains("never finished"), "{list}");
    assert!(folder.join("0123456789abcdef0123").is_dir(), "listing removes nothing");
    let (list, _) = run(dir.path(), &["functions", "prune", "--remove"], 0);
    assert_eq!(count(&list, "removed"), 3, "{list}");
    let left: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["notes"]);
    assert!(run(dir.path(), &["functions", "prune"], 0).0.contains("every Python environment is needed"));
}

#[tokio::test]
async fn an_environment_in_use_is_not_pruned() {
    drop(Function::of(MINE.to_owned(), |_| {}).await);
    let dir = with_functions(&named());
    let used = fs::read_dir(dir.path().join(".stentor/functions-env")).unwrap().count();
    assert!(used > 0);
    let (list, _) = run(dir.path(), &["functions", "prune"], 0);
    // The environments of other tests may be listed; that of this function is the one that nothing was added to.
    assert!(list.lines().all(|line| !line.ends_with("(fastapi, python-multipart)")), "{list}");
    // What is used cannot be told when the code is not there.
    fs::remove_file(dir.path().join(".stentor/functions/mine.py")).unwrap();
    run(dir.path(), &["functions", "prune", "--remove"], 2);
}

#[test]
fn faults_of_code_are_found_by_one_line() {
    let check = |file: &str, text: &str, expected: &str| {
        let dir = tempfile::tempdir().unwrap();
        let node = dir.path().join(".stentor");
        fs::create_dir_all(node.join("functions")).unwrap();
        fs::write(node.join("functions/wrong.py"), "\n\nimport os\n").unwrap();
        fs::write(node.join(file), text).unwrap();
        let (_, complaint) = run(dir.path(), &["check"], 2);
        let sentence = complaint.lines().find(|line| line.contains("outside of the function")).unwrap_or_default();
        assert!(sentence.contains(expected), "{expected}: {complaint}");
    };
    let yaml = |function: &str| {
        format!(
            "version: 2\nworkers:\n- type: router\n  transports:\n  - type: web\n    endpoint: {{type: tcp, port: 8080, interface: 127.0.0.1}}\n    paths:\n      \
             hub:\n        type: websub-hub\n        name: hub\n        authenticator:\n          type: function\n          {function}\n"
        )
    };
    let inline =
        "inline: |\n            def f(*, context, request):\n              return None\n\n            import os";
    check(
        "config.yaml",
        &yaml(inline),
        "config.yaml:17: workers[0].transports[0].paths[\"hub\"].authenticator.inline: there is an",
    );
    check("config.yaml", &yaml("name: wrong"), "functions/wrong.py:3: there is an import");
    let config = hub(json!({"authenticator": {"type": "function", "inline": "def f(**k): pass\nimport os"}}));
    let sentence = "so put it inside (in line 2 of the function that begins here)";
    check("config.json", &config.to_string(), sentence);
}

#[test]
fn one_place_is_enough_for_a_fault_of_a_file() {
    let dir = with_functions(&named());
    fs::write(dir.path().join(".stentor/functions/mine.py"), "def f(**k):\n  x = (\n").unwrap();
    let (_, complaint) = run(dir.path(), &["check"], 2);
    let places = complaint.matches(".py:").count() + complaint.matches(".json:").count();
    assert_eq!(places, 1, "{complaint}");
    assert!(
        Path::new(complaint.trim_start_matches("Error: ").split(".py:").next().unwrap()).is_absolute(),
        "{complaint}"
    );
}
