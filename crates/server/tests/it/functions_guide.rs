//! The worked examples of `docs/authenticators.md`, as they stand there, and the function of the library that one of them is.

use std::path::Path;
use std::time::Duration;

use serde_json::json;
use stentor_websub::authenticator::{TopicVerdict, Verdict};

use crate::functions::{Function, identity, issuer, question};
use crate::house::soon;
use crate::receiver::{Receiver, Say};

/// The functions of the guide, in their order.
fn examples() -> Vec<String> {
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/authenticators.md");
    let text = std::fs::read_to_string(guide).unwrap();
    let blocks = text.split("```python\n").skip(1).filter_map(|rest| Some(rest.split_once("```")?.0.to_owned()));
    blocks.filter(|block| block.contains("def authenticator")).collect()
}

fn example(word: &str) -> String {
    examples().into_iter().find(|block| block.contains(word)).expect("the guide has such an example")
}

#[track_caller]
fn refused(verdict: &Verdict, status: u16) {
    assert!(matches!(verdict, Verdict::Dictated(response) if response.status == status), "{verdict:?}");
}

#[test]
fn the_examples_of_the_guide_are_functions() {
    let examples = examples();
    assert_eq!(examples.len(), 3);
    for code in examples {
        assert_eq!(stentor::sidecar::check(&code, Path::new("python3")), Ok(()), "{code}");
    }
}

#[tokio::test]
async fn the_first_function_of_the_guide_runs() {
    let function = Function::of(example("x-key"), |options| options.config = json!({"key": "right"})).await;
    refused(&function.ask().await, 401);
    let mut asked = question("https://example.com/a", "");
    asked.fields.extend([("x-key", "right")]);
    assert_eq!(identity(function.sidecar.ask(asked).await), "foobar");
}

#[tokio::test]
async fn the_example_that_asks_another_service_runs() {
    let service = Receiver::with(|got, _| match got.header("authorization") {
        Some("Bearer right") if got.parameter("topic").as_deref() == Some("https://example.com/a") => {
            Say::Status(200, r#"{"topics": ["https://example.com/.*"], "name": "ann"}"#.to_owned())
        }
        Some("Bearer broken") => Say::Status(500, String::new()),
        _ => Say::Status(401, String::new()),
    })
    .await;
    let config = json!({"service": service.url("")});
    let function = Function::of(example("import httpx"), |options| options.config = config).await;
    let ask = async |token: &str| {
        let asked = question("https://example.com/a", &format!("Bearer {token}"));
        soon("a verdict", function.sidecar.ask(asked)).await
    };
    refused(&ask("wrong").await, 401);
    assert_eq!(ask("broken").await, Verdict::Failed);
    assert_eq!(identity(ask("right").await), "ann");
    assert_eq!(service.all().len(), 3);
    assert_eq!(identity(ask("right").await), "ann");
    assert_eq!(service.all().len(), 3, "the verdict is kept for half a minute");
}

/// Makes two keys, writes the public one of the first where the function under test reads it, and signs tokens.
const ISSUER: &str = "
import json, jwt, time
from cryptography.hazmat.primitives.asymmetric import ec
def issue():
    known, other = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    public = jwt.algorithms.ECAlgorithm.to_jwk(known.public_key(), as_dict=True)
    keys = [{**public, 'kid': 'one', 'alg': 'ES256', 'use': 'sig'}]
    with open(context.config['file'], 'w') as file: json.dump({'keys': keys}, file)
    claims = {'sub': 'ann', 'iss': 'https://login.example.com/', 'aud': 'our hub', 'topics': ['https://example.com/.*']}
    soon = {'exp': int(time.time()) + 600}
    def token(key, more, kind='ES256', kid='one'):
        return jwt.encode({**claims, **more}, key, kind, headers={'kid': kid})
    return {
        'good': token(known, soon),
        'expired': token(known, {'exp': int(time.time()) - 60}),
        'endless': token(known, {}),
        'other issuer': token(known, {**soon, 'iss': 'https://evil.example/'}),
        'other audience': token(known, {**soon, 'aud': 'theirs'}),
        'other key': token(other, soon),
        'unknown key': token(other, soon, kid='two'),
        'unsigned': token(None, soon, 'none'),
        'shared secret': token('x' * 40, soon, 'HS256'),
    }
with context:
    if not hasattr(context, 'tokens'): context.tokens = issue()
return AuthCredentials(['.*']), User(context.tokens[authorization])";

#[tokio::test]
async fn tokens_are_checked_with_the_keys_of_a_jwks_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("jwks.json");
    let issuer = issuer(ISSUER, &file).await;
    let token = async |name: &str| identity(issuer.sidecar.ask(question("https://example.com/a", name)).await);
    let good = token("good").await;
    let library = stentor::sidecar::READY.iter().find(|ready| ready.name == "jwt").unwrap();
    // As in the guide, but for the file.
    let config = json!({
        "jwks_file": file, "issuer": "https://login.example.com/", "audience": "our hub", "scopes_claim": "topics",
    });
    let function = Function::of(library.code.to_owned(), |options| {
        options.config = config;
        options.timeout = Duration::from_secs(20);
    })
    .await;
    let ask = async |topic: &str, token: &str| {
        soon("a verdict", function.sidecar.ask(question(topic, &format!("Bearer {token}")))).await
    };
    assert_eq!(identity(ask("https://example.com/a", &good).await), "ann");
    let elsewhere = ask("https://elsewhere.example/", &good).await;
    assert!(matches!(elsewhere, Verdict::Authenticated { topic: TopicVerdict::Denied, .. }), "{elsewhere:?}");
    for name in [
        "expired",
        "endless",
        "other issuer",
        "other audience",
        "other key",
        "unknown key",
        "unsigned",
        "shared secret",
    ] {
        refused(&ask("https://example.com/a", &token(name).await).await, 401);
    }
    refused(&function.ask().await, 401);
}
