//! Authentication of a HELLO: anonymous, ticket and wampcra.
//!
//! The methods and their principals come from the transport's configuration. Unknown principals are challenged like known
//! ones and refused with the same words, so that nobody learns which names exist.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use stentor_model::Secret;

use crate::value::{Dict, Value};

/// A principal that proves itself by a ticket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TicketPrincipal {
    /// What it must show.
    pub ticket: Secret,
    /// The role it gets.
    pub role: String,
}

/// A user that proves itself by wampcra.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CraUser {
    /// The key of the signature; with a salt, the derived key in Base64, as the client derives it.
    pub secret: Secret,
    /// The role it gets.
    pub role: String,
    /// The parameters by which the client derives the key.
    pub salting: Option<Salting>,
}

/// PBKDF2 parameters that a challenge tells the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Salting {
    /// The salt.
    pub salt: String,
    /// Rounds.
    pub iterations: u64,
    /// Octets of the derived key.
    pub key_bytes: u64,
}

/// The methods that one transport offers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuthPolicy {
    /// The role of anonymous sessions, where they are let in.
    pub anonymous: Option<String>,
    /// Principals by authid, where tickets are taken.
    pub ticket: Option<HashMap<String, TicketPrincipal>>,
    /// Users by authid, where wampcra is taken.
    pub wampcra: Option<HashMap<String, CraUser>>,
}

/// The method chosen for one HELLO.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// No proof.
    Anonymous,
    /// A shared ticket.
    Ticket,
    /// A signed challenge.
    WampCra,
}

impl Method {
    /// Its name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Anonymous => "anonymous",
            Self::Ticket => "ticket",
            Self::WampCra => "wampcra",
        }
    }
}

impl AuthPolicy {
    /// Everybody is let in with this role.
    #[must_use]
    pub fn anonymous(role: impl Into<String>) -> Self {
        Self { anonymous: Some(role.into()), ..Self::default() }
    }

    fn offers(&self, method: Method) -> bool {
        match method {
            Method::Anonymous => self.anonymous.is_some(),
            Method::Ticket => self.ticket.is_some(),
            Method::WampCra => self.wampcra.is_some(),
        }
    }

    /// The first method of the client's list that is configured; a client without a list is anonymous.
    #[must_use]
    pub fn choose(&self, details: &Dict) -> Option<Method> {
        let all = [Method::Anonymous, Method::Ticket, Method::WampCra];
        let listed = details.get("authmethods").and_then(Value::as_list).unwrap_or_default();
        if listed.is_empty() {
            return self.offers(Method::Anonymous).then_some(Method::Anonymous);
        }
        listed
            .iter()
            .filter_map(Value::as_str)
            .find_map(|name| all.into_iter().find(|method| method.name() == name && self.offers(*method)))
    }

    /// The challenge for `authid`.
    #[must_use]
    pub fn challenge(&self, method: Method, authid: &str, fresh: &Fresh<'_>) -> Challenge {
        let mut extra = Dict::new();
        let mut signed = String::new();
        if method == Method::WampCra {
            let users = self.wampcra.as_ref();
            let (role, salting) = match users.and_then(|users| users.get(authid)) {
                Some(user) => (&*user.role, user.salting.clone()),
                None => users.and_then(|users| decoy(users, authid)).unwrap_or_default(),
            };
            signed = signed_text(authid, role, fresh);
            extra.set("challenge", signed.as_str());
            if let Some(salting) = salting {
                extra.set("salt", salting.salt);
                extra.set("iterations", salting.iterations);
                extra.set("keylen", salting.key_bytes);
            }
        }
        Challenge { method, authid: authid.into(), extra, signed: signed.into() }
    }

    /// The role of whoever answered `challenge` with `signature`; nothing when the answer is wrong.
    #[must_use]
    pub fn verify(&self, challenge: &Challenge, signature: &str) -> Option<&str> {
        match challenge.method {
            Method::Anonymous => None,
            Method::Ticket => {
                let principal = self.ticket.as_ref()?.get(&*challenge.authid)?;
                // Comparing authentication codes instead of the tickets themselves takes the same time for every wrong one.
                let key = hmac::Key::new(hmac::HMAC_SHA256, b"ticket");
                let expected = hmac::sign(&key, principal.ticket.expose().as_bytes());
                hmac::verify(&key, signature.as_bytes(), expected.as_ref()).ok()?;
                Some(&principal.role)
            }
            Method::WampCra => {
                let user = self.wampcra.as_ref()?.get(&*challenge.authid)?;
                let key = hmac::Key::new(hmac::HMAC_SHA256, user.secret.expose().as_bytes());
                let given = STANDARD.decode(signature).ok()?;
                hmac::verify(&key, challenge.signed.as_bytes(), &given).ok()?;
                Some(&user.role)
            }
        }
    }
}

/// What makes a challenge unique.
#[derive(Clone, Copy, Debug)]
pub struct Fresh<'a> {
    /// Unpredictable text.
    pub nonce: &'a str,
    /// The time, as ISO 8601.
    pub timestamp: &'a str,
    /// A random number that stands for the session to be.
    pub session: u64,
}

/// A challenge that waits for its answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Challenge {
    /// The method.
    pub method: Method,
    /// Who is to prove itself.
    pub authid: Box<str>,
    /// What the client is told.
    pub extra: Dict,
    /// The text to sign.
    signed: Box<str>,
}

/// What the challenge of an unknown user shows: the role and derivation of one of the known users, and a salt of its own.
///
/// Which user and which salt follows from the name and from something secret, so that asking again gives the same answer
/// and nobody can compute it.
fn decoy<'a>(users: &'a HashMap<String, CraUser>, authid: &str) -> Option<(&'a str, Option<Salting>)> {
    let mut names: Vec<&String> = users.keys().collect();
    let secret = users.get(*names.iter().min()?)?.secret.expose();
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let tag = |what: &str| hmac::sign(&key, format!("decoy {what} {authid}").as_bytes());
    let word = tag("user").as_ref().iter().take(7).fold(0, |word, &octet| word << 8 | usize::from(octet));
    let place = word % names.len();
    let (_, name, _) = names.select_nth_unstable(place);
    let user = users.get(*name)?;
    let salting = user.salting.as_ref().map(|like| {
        let mut salt = STANDARD.encode(tag("salt"));
        salt.truncate(like.salt.len());
        Salting { salt, ..like.clone() }
    });
    Some((&user.role, salting))
}

/// The text that a wampcra client signs: a JSON object, treated as opaque by both sides.
fn signed_text(authid: &str, role: &str, fresh: &Fresh<'_>) -> String {
    let dict = Dict::new()
        .with("authid", authid)
        .with("authrole", role)
        .with("authmethod", "wampcra")
        .with("authprovider", "static")
        .with("nonce", fresh.nonce)
        .with("timestamp", fresh.timestamp)
        .with("session", fresh.session);
    let mut text = Vec::new();
    crate::codec::encode_value(crate::codec::Serializer::Json, &Value::Dict(dict), &mut text)
        .expect("text and an integer are valid JSON");
    String::from_utf8(text).expect("JSON is UTF-8")
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRESH: Fresh<'_> = Fresh { nonce: "n", timestamp: "2026-01-01T00:00:00.000Z", session: 7 };

    fn policy() -> AuthPolicy {
        AuthPolicy {
            anonymous: None,
            ticket: Some(HashMap::from([(
                "joe".to_owned(),
                TicketPrincipal { ticket: Secret::new("secret!"), role: "user".into() },
            )])),
            wampcra: Some(HashMap::from([(
                "ann".to_owned(),
                CraUser {
                    secret: Secret::new("key"),
                    role: "admin".into(),
                    salting: Some(Salting { salt: "s".into(), iterations: 100, key_bytes: 16 }),
                },
            )])),
        }
    }

    #[test]
    fn the_clients_order_decides() {
        let check = |methods: &[&str], expected: Option<Method>| {
            let list: Vec<Value> = methods.iter().map(|&name| name.into()).collect();
            assert_eq!(policy().choose(&Dict::new().with("authmethods", list)), expected, "{methods:?}");
        };
        check(&["scram", "wampcra", "ticket"], Some(Method::WampCra));
        check(&["ticket"], Some(Method::Ticket));
        check(&["anonymous"], None);
        check(&[], None);
        assert_eq!(AuthPolicy::anonymous("x").choose(&Dict::new()), Some(Method::Anonymous));
    }

    #[test]
    fn tickets() {
        let policy = policy();
        let check = |authid: &str, ticket: &str, expected: Option<&str>| {
            let challenge = policy.challenge(Method::Ticket, authid, &FRESH);
            assert_eq!(policy.verify(&challenge, ticket), expected, "{authid} {ticket}");
        };
        check("joe", "secret!", Some("user"));
        check("joe", "secret", None);
        check("jim", "secret!", None);
    }

    #[test]
    fn wampcra() {
        let policy = policy();
        let challenge = policy.challenge(Method::WampCra, "ann", &FRESH);
        assert_eq!(
            challenge.extra.get("challenge").and_then(Value::as_str),
            Some(
                r#"{"authid":"ann","authrole":"admin","authmethod":"wampcra","authprovider":"static","nonce":"n","timestamp":"2026-01-01T00:00:00.000Z","session":7}"#
            )
        );
        assert_eq!(challenge.extra.get("keylen"), Some(&Value::Int(16)));
        let sign = |secret: &str| {
            let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
            STANDARD.encode(hmac::sign(&key, challenge.signed.as_bytes()))
        };
        assert_eq!(policy.verify(&challenge, &sign("key")), Some("admin"));
        assert_eq!(policy.verify(&challenge, &sign("kez")), None);
        assert_eq!(policy.verify(&challenge, "no base64!"), None);
    }

    #[test]
    fn secrets_do_not_show() {
        assert!(!format!("{:?}", policy()).contains("secret!"));
    }
}
