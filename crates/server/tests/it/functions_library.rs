//! The functions of the library where what they are shown, or configured with, is odd.

use serde_json::{Value, json};
use stentor_websub::authenticator::{Response, Verdict};

use crate::functions::{Function, dictated, identity, issuer, question};

async fn ready(name: &str, config: Value) -> Function {
    let found = stentor::sidecar::READY.iter().find(|ready| ready.name == name).unwrap();
    Function::of(found.code.to_owned(), |options| options.config = config).await
}

#[track_caller]
fn refusal(verdict: Verdict) -> String {
    let Response { status, body, .. } = dictated(verdict);
    assert_eq!(status, 401);
    String::from_utf8(body).unwrap()
}

/// Whoever is refused has waited for the dearest hash, known or not. What is counted is the hashes and not the time, which the
/// machine's other work may take.
#[tokio::test]
async fn the_time_of_a_refusal_does_not_tell_who_is_there() {
    const NOTE: &str = "    import hashlib
    def noted(**cost):
        with open(context.config['note'], 'a') as note: print(cost['n'], file=note)
        return hashlib.scrypt(cost.pop('password'), **cost)
";
    let found = stentor::sidecar::READY.iter().find(|ready| ready.name == "basic").unwrap();
    let code = found.code.replacen("    import hashlib\n", NOTE, 1);
    let (call, noting) = ("hashlib.scrypt(password.encode(), ", "noted(password=password.encode(), ");
    assert_eq!(code.matches(call).count(), 1);
    let note = tempfile::NamedTempFile::new().unwrap();
    // The first of them is the cheapest.
    let users = json!({"alice": "sha256$00", "bob": "scrypt$1024$8$1$c2FsdA==$AAAA", "carol": "pbkdf2_sha256$1$a$b"});
    let config = json!({"users": users, "note": note.path()});
    let basic = Function::of(code.replace(call, noting), |options| options.config = config).await;
    // bob:x, alice:x, carol:x, nobody:x
    for (at, credentials) in ["Ym9iOng=", "YWxpY2U6eA==", "Y2Fyb2w6eA==", "bm9ib2R5Ong="].iter().enumerate() {
        assert_eq!(dictated(basic.ask_as(&format!("Basic {credentials}")).await).status, 401);
        assert_eq!(std::fs::read_to_string(note.path()).unwrap(), "1024\n".repeat(at + 1), "{credentials}");
    }
}

#[tokio::test]
async fn hashes_of_tokens_may_be_written_in_capitals() {
    let hash = "2CF24DBA5FB0A30E26E83B2AC5B9E29E1B161E5C1FA7425E73043362938B9824";
    let bearer = ready("bearer", json!({"tokens": {hash: {"identity": "carol", "scopes": [".*"]}}})).await;
    assert_eq!(identity(bearer.ask_as("Bearer hello").await), "carol");
    assert_eq!(dictated(bearer.ask_as("Bearer other").await).status, 401);
}

/// Makes keys of two types, writes the public ones where the function under test reads them, and signs tokens.
const ISSUER: &str = "
import json, jwt, time
from cryptography.hazmat.primitives.asymmetric import ec, rsa
def issue():
    first, second, other = [rsa.generate_private_key(65537, 2048) for _ in range(3)]
    wide, curve = ec.generate_private_key(ec.SECP384R1()), ec.generate_private_key(ec.SECP256R1())
    def public(key, kid):
        kind = jwt.algorithms.RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else jwt.algorithms.ECAlgorithm
        return {**kind.to_jwk(key.public_key(), as_dict=True), 'kid': kid}
    keys = [public(first, 'one'), public(wide, 'wide'), public(second, 'two'), public(curve, 'curve')]
    with open(context.config['file'], 'w') as file: json.dump({'keys': keys}, file)
    claims = {'sub': 'ann', 'exp': int(time.time()) + 600, 'topics': ['https://example.com/.*']}
    def token(key, algorithm='RS256', kid=None, **more):
        return jwt.encode({**claims, **more}, key, algorithm, headers={'kid': kid} if kid else {})
    return {
        'first': token(first), 'second': token(second), 'curve': token(curve, 'ES256'),
        'other': token(other), 'wide': token(wide, 'ES384'), 'other type': token(curve, 'ES256', 'one'),
        'other key': token(first, kid='two'), 'number': token(first, topics=[1]), 'text': token(first, topics='.*'),
        'broken': token(first, topics=['(']), 'nobody': token(first, sub=''),
    }
with context:
    if not hasattr(context, 'issued'): context.issued = issue()
return AuthCredentials(['.*']), User(context.issued[authorization][:1000])";

#[tokio::test]
async fn every_key_that_fits_is_tried() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("jwks.json");
    let issuer = issuer(ISSUER, &file).await;
    let token = async |name: &str| identity(issuer.ask_as(name).await);
    // The file of keys is there once a token has been asked for.
    token("first").await;
    let function = ready("jwt", json!({"jwks_file": file})).await;
    let ask = async |name: &str| {
        let shown = format!("Bearer {}", token(name).await);
        function.sidecar.ask(question("https://example.com/a", &shown)).await
    };
    for name in ["first", "second", "curve"] {
        assert_eq!(identity(ask(name).await), "ann", "{name}");
    }
    for (name, expected) in [
        ("other", "none of the known keys"),
        ("other type", "none of the known keys"),
        ("other key", "none of the known keys"),
        ("wide", "algorithm is not allowed"),
        ("number", "no list of texts"),
        ("text", "no list of texts"),
        ("broken", "no regular expressions"),
        ("nobody", "who has it"),
    ] {
        let said = refusal(ask(name).await);
        assert!(said.contains(expected), "{name}: {said}");
    }
    assert!(refusal(function.ask_as("Bearer a.b.c").await).contains("not valid"));
    assert_eq!(function.meters.function_failures.get(), 0);
}

#[tokio::test]
async fn a_client_hears_nothing_of_a_file_of_keys_that_is_not_there() {
    for config in [json!({}), json!({"jwks_file": "/nonexistent/jwks.json"}), json!({"jwks_file": file!()})] {
        let function = ready("jwt", config).await;
        assert_eq!(function.ask_as("Bearer a.b.c").await, Verdict::Failed);
    }
}
