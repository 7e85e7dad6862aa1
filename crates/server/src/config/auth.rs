//! How clients of a WebSocket transport prove who they are.
//!
//! Knows the static forms of `anonymous`, `ticket` and `wampcra`. Everything else of Crossbar.io is a fault by name:
//! leaving a method out silently would lock people out, or let them in.

use std::collections::BTreeMap;

use stentor_model::Secret;
use stentor_wamp::session::AUTHID_BYTES_MAX;

use super::gate::secret;
use super::reader::{Cursor, Dict};
use super::realm::Roster;

/// The role of clients where no `auth` is configured.
const ANONYMOUS: &str = "anonymous";

/// The authentication methods of a transport. A method that is `None` (or without anybody in it) is not offered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthConfig {
    /// The role of clients that do not authenticate.
    pub anonymous: Option<String>,
    /// Who may come in with a ticket, by authid.
    pub ticket: Option<BTreeMap<String, TicketPrincipal>>,
    /// Who may come in by challenge and response, by authid.
    pub wampcra: Option<BTreeMap<String, WampCraUser>>,
}

impl Default for AuthConfig {
    fn default() -> Self {
        Self { anonymous: Some(ANONYMOUS.to_owned()), ticket: None, wampcra: None }
    }
}

/// Somebody with a ticket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TicketPrincipal {
    /// What they have to show.
    pub ticket: Secret,
    /// What they become.
    pub role: String,
}

/// Somebody with a shared secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WampCraUser {
    /// The shared secret; where `salt` is there, the key derived from it.
    pub secret: Secret,
    /// What they become.
    pub role: String,
    /// How the client derives the key from its password.
    pub salt: Option<SaltConfig>,
}

/// PBKDF2 parameters sent to the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SaltConfig {
    /// The salt.
    pub salt: String,
    /// Rounds, 1000 by default.
    pub iterations: u32,
    /// Octets of the derived key, 32 by default.
    pub keylen: usize,
}

/// Rounds that a configuration may ask of its clients. More would hang a browser for minutes.
const ITERATIONS_MAX: u64 = 10_000_000;

/// Reads the `auth` of a transport or path; without one, everybody is anonymous.
pub(super) fn read(parent: &mut Dict<'_>, roster: &Roster) -> AuthConfig {
    let Some(mut dict) = parent.dict("auth") else {
        if !roster.has_role(ANONYMOUS) {
            parent.advise("without 'auth' every client is 'anonymous', and no realm of this router has such a role");
        }
        return AuthConfig::default();
    };
    if dict.is_empty() {
        dict.fault("names no authentication method, so nobody could join; leave it out to let everybody in");
    }
    let mut auth = AuthConfig { anonymous: None, ticket: None, wampcra: None };
    if let Some(mut method) = dict.dict("anonymous") {
        // The 2014 form has no type here.
        if let Some(kind) = method.take("type") {
            is_static(&kind);
        }
        auth.anonymous = method.need("role").and_then(|role| roster.role(&role));
        method.finish();
    }
    auth.ticket = people(&mut dict, "ticket", "principals", |person| {
        let ticket = person.need("ticket").as_ref().and_then(secret);
        let role = person.need("role").and_then(|role| roster.role(&role));
        Some(TicketPrincipal { ticket: ticket?, role: role? })
    });
    auth.wampcra = people(&mut dict, "wampcra", "users", |person| {
        let secret = person.need("secret").as_ref().and_then(secret);
        let role = person.need("role").and_then(|role| roster.role(&role));
        let salt = salt(person);
        Some(WampCraUser { secret: secret?, role: role?, salt })
    });
    let methods = ["mozilla_persona", "cookie", "scram", "cryptosign", "cryptosign-proxy", "tls"];
    for method in methods {
        if let Some(cursor) = dict.take_unasked(method) {
            cursor.fault(format!("authentication method '{method}' of Crossbar.io is not supported by Stentor"));
        }
    }
    dict.finish();
    auth
}

fn is_static(kind: &Cursor<'_>) -> bool {
    match kind.name() {
        Some("static") => true,
        Some(other @ ("dynamic" | "function")) => {
            kind.fault(format!("authentication of type '{other}' is not supported by Stentor; use 'static'"));
            false
        }
        Some(_) => {
            kind.must("'static'");
            false
        }
        None => false,
    }
}

/// Reads one method: its type, and the people in it.
fn people<T>(
    parent: &mut Dict<'_>,
    method: &'static str,
    list: &'static str,
    read: impl Fn(&mut Dict<'_>) -> Option<T>,
) -> Option<BTreeMap<String, T>> {
    let mut dict = parent.dict(method)?;
    if !is_static(&dict.need("type")?) {
        return None;
    }
    let people = dict.need(list).map(|cursor| cursor.named()).unwrap_or_default();
    dict.finish();
    let mut read_one = |(name, cursor): (&str, Cursor<'_>)| {
        if name.len() > AUTHID_BYTES_MAX {
            cursor.fault(format!(
                "the name of a user may have {AUTHID_BYTES_MAX} octets, and this one has {}",
                name.len()
            ));
        }
        let mut person = cursor.dict()?;
        let read = read(&mut person);
        // A principal bound to one realm must not be let into the others.
        person.refuse("realm");
        person.finish();
        Some((name.to_owned(), read?))
    };
    Some(people.into_iter().filter_map(&mut read_one).collect())
}

fn salt(person: &mut Dict<'_>) -> Option<SaltConfig> {
    let salt = person.take("salt");
    let (mut iterations, mut keylen) = (1000, 32);
    if salt.is_none() {
        for key in ["iterations", "keylen"] {
            if let Some(cursor) = person.take(key) {
                cursor.fault("has no effect without 'salt'");
            }
        }
        return None;
    }
    person.integer("iterations", 1..=ITERATIONS_MAX, &mut iterations);
    person.integer("keylen", 16..=64, &mut keylen);
    let salt = salt?.name()?.to_owned();
    Some(SaltConfig { salt, iterations, keylen })
}
