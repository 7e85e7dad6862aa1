//! The authenticator `static`: a list of bearer tokens (RFC 6750), each with an identity and its scopes.

use std::fmt;

use ring::hmac;
use stentor_model::{Secret, Topic};

use super::scope::{ScopeFault, Scopes};
use super::{Identity, Verdict};

/// One line of the list, as it is configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// What stands behind `Bearer`.
    pub token: Secret,
    /// Who shows it.
    pub identity: String,
    /// Regular expressions for topics.
    pub scopes: Vec<String>,
}

/// Judges requests by their tokens.
pub struct Tokens(Vec<(hmac::Key, Identity, Scopes)>);

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tokens({})", self.0.len())
    }
}

/// What is signed to compare two tokens; anything would do.
const PROBE: &[u8] = b"stentor";

impl Tokens {
    /// Prepares a list.
    ///
    /// # Errors
    /// With the identity whose scopes are none, and what is wrong with them.
    pub fn new(tokens: &[Token]) -> Result<Self, (String, ScopeFault)> {
        let prepare = |one: &Token| {
            let scopes = Scopes::compile(&one.scopes).map_err(|fault| (one.identity.clone(), fault))?;
            Ok((key(one.token.expose()), Identity::new(&one.identity), scopes))
        };
        tokens.iter().map(prepare).collect::<Result<_, _>>().map(Self)
    }

    /// Judges the value of `Authorization` (nothing, if there is none) for a topic.
    ///
    /// Takes the same time for every token: all lines are looked at, and each comparison is one of digests, which does not
    /// tell how many octets were right.
    #[must_use]
    pub fn judge(&self, authorization: Option<&str>, topic: &Topic) -> Verdict {
        let Some(token) = authorization.and_then(bearer) else { return Verdict::Unauthenticated };
        let shown = hmac::sign(&key(token), PROBE);
        let mut found = None;
        for (key, identity, scopes) in &self.0 {
            if hmac::verify(key, PROBE, shown.as_ref()).is_ok() {
                found = Some((identity, scopes));
            }
        }
        found.map_or(Verdict::Unauthenticated, |(identity, scopes)| Verdict::Authenticated {
            identity: identity.clone(),
            topic: scopes.judge(topic),
        })
    }
}

fn key(token: &str) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, token.as_bytes())
}

/// The token of `Bearer token`; the scheme in any case, as RFC 9110, section 11.1 has it.
fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.trim().split_once(' ')?;
    let token = token.trim_start();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authenticator::TopicVerdict;

    fn token(token: &str, identity: &str, scope: &str) -> Token {
        Token { token: Secret::new(token), identity: identity.to_owned(), scopes: vec![scope.to_owned()] }
    }

    #[test]
    fn tokens_are_judged() {
        let tokens = Tokens::new(&[token("t1", "ann", "http://a/.*"), token("t2", "bob", "http://b/")]).unwrap();
        let known = |name: &str, topic| Verdict::Authenticated { identity: Identity::new(name), topic };
        let check = |authorization, topic: &str, expected: Verdict| {
            assert_eq!(tokens.judge(authorization, &Topic::parse(topic).unwrap()), expected, "{authorization:?}");
        };
        check(Some("Bearer t1"), "http://a/x", known("ann", TopicVerdict::Allowed));
        check(Some("bearer  t1 "), "http://b/", known("ann", TopicVerdict::Denied));
        check(Some("Bearer t2"), "http://b/", known("bob", TopicVerdict::Allowed));
        check(None, "http://a/", Verdict::Unauthenticated);
        for wrong in ["Bearer", "Bearer ", "Bearer t", "Bearer t11", "Bearer T1", "Basic t1", "t1", ""] {
            check(Some(wrong), "http://a/", Verdict::Unauthenticated);
        }
        assert_eq!(format!("{tokens:?}"), "Tokens(2)");
    }

    #[test]
    fn bad_lists_are_named() {
        let fault = Tokens::new(&[token("t", "ann", "(")]).unwrap_err();
        assert_eq!(fault.0, "ann");
    }
}
