//! URIs: which are well formed, and how a pattern matches.
//!
//! WAMP section "URIs". The loose rule is what the specification demands, the strict one what it recommends. Nothing here
//! knows who may use a URI; that is [`crate::permission`].

use stentor_model::limit::URI_BYTES_MAX;

/// The error and closing reasons of the specification that this router sends.
pub mod reason {
    /// The URI breaks the realm's rule, or belongs to the router.
    pub const INVALID_URI: &str = "wamp.error.invalid_uri";
    /// No registration matches the procedure.
    pub const NO_SUCH_PROCEDURE: &str = "wamp.error.no_such_procedure";
    /// Another session holds the procedure.
    pub const PROCEDURE_ALREADY_EXISTS: &str = "wamp.error.procedure_already_exists";
    /// The session does not hold that registration.
    pub const NO_SUCH_REGISTRATION: &str = "wamp.error.no_such_registration";
    /// The session does not hold that subscription.
    pub const NO_SUCH_SUBSCRIPTION: &str = "wamp.error.no_such_subscription";
    /// An option or argument has the wrong type or value.
    pub const INVALID_ARGUMENT: &str = "wamp.error.invalid_argument";
    /// The callee failed in a way that is not the caller's doing; not in the specification, but what clients know.
    pub const RUNTIME_ERROR: &str = "wamp.error.runtime_error";
    /// The call was canceled, or its callee left.
    pub const CANCELED: &str = "wamp.error.canceled";
    /// The payload cannot be carried to the receiver.
    pub const PAYLOAD_SIZE_EXCEEDED: &str = "wamp.error.payload_size_exceeded";
    /// The peer broke the protocol.
    pub const PROTOCOL_VIOLATION: &str = "wamp.error.protocol_violation";
    /// The role may not do that.
    pub const NOT_AUTHORIZED: &str = "wamp.error.not_authorized";
    /// There is no such realm.
    pub const NO_SUCH_REALM: &str = "wamp.error.no_such_realm";
    /// The realm has no such role.
    pub const NO_SUCH_ROLE: &str = "wamp.error.no_such_role";
    /// None of the offered authentication methods is configured.
    pub const NO_MATCHING_AUTH_METHOD: &str = "wamp.error.no_matching_auth_method";
    /// The proof of identity was wrong.
    pub const AUTHENTICATION_FAILED: &str = "wamp.error.authentication_failed";
    /// The role may not ask for that option.
    pub const DISCLOSE_ME_DISALLOWED: &str = "wamp.error.option_disallowed.disclose_me";
    /// A meta procedure was asked about a session that is not there.
    pub const NO_SUCH_SESSION: &str = "wamp.error.no_such_session";
    /// A limit of this router is reached.
    pub const UNAVAILABLE: &str = "wamp.error.unavailable";
    /// The log of a topic has reached its limit; not in the specification, which knows no logs.
    pub const LOG_FULL: &str = "stentor.error.log_full";
    /// The answer to a client's GOODBYE.
    pub const GOODBYE_AND_OUT: &str = "wamp.close.goodbye_and_out";
    /// The node goes down.
    pub const SYSTEM_SHUTDOWN: &str = "wamp.close.system_shutdown";
    /// The session was ended by a meta procedure.
    pub const KILLED: &str = "wamp.close.killed";
}

/// The rule that the URIs of a realm follow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rule {
    /// No white space, no `#`, no empty component.
    #[default]
    Loose,
    /// Components of `a-z`, `0-9` and `_` only.
    Strict,
}

/// How a subscription or a permission matches URIs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Match {
    /// The same URI.
    #[default]
    Exact,
    /// Every URI that begins with this text.
    Prefix,
    /// Every URI of as many components, where an empty component of the pattern stands for any.
    Wildcard,
}

impl Match {
    /// The policy that an `Options.match` names.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "exact" => Some(Self::Exact),
            "prefix" => Some(Self::Prefix),
            "wildcard" => Some(Self::Wildcard),
            _ => None,
        }
    }

    /// The name of the policy on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Prefix => "prefix",
            Self::Wildcard => "wildcard",
        }
    }

    /// Whether `pattern` under this policy matches the whole `uri`.
    #[must_use]
    pub fn matches(self, pattern: &str, uri: &str) -> bool {
        match self {
            Self::Exact => pattern == uri,
            Self::Prefix => uri.starts_with(pattern),
            Self::Wildcard => {
                let mut theirs = uri.split('.');
                let fits =
                    pattern.split('.').all(|ours| theirs.next().is_some_and(|part| ours.is_empty() || ours == part));
                fits && theirs.next().is_none()
            }
        }
    }
}

/// Why a URI is not well formed, as a sentence that quotes no more of it than needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// No octet at all.
    Empty,
    /// More octets than [`URI_BYTES_MAX`].
    Long,
    /// White space.
    Space,
    /// `#`.
    Hash,
    /// Two dots in a row, or one at either end.
    EmptyComponent,
    /// Not one of the strict rule's characters.
    Strict,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Empty => f.write_str("is empty"),
            Self::Long => write!(f, "is longer than {URI_BYTES_MAX} octets"),
            Self::Space => f.write_str("contains white space"),
            Self::Hash => f.write_str("contains '#'"),
            Self::EmptyComponent => f.write_str("has an empty component"),
            Self::Strict => {
                f.write_str("has a character other than a-z, 0-9, '_' and '.' (the realm's uri_check is strict)")
            }
        }
    }
}

/// Checks `uri` as a whole (`Match::Exact`) or as a pattern.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn check(uri: &str, matching: Match, rule: Rule) -> Result<(), Fault> {
    if uri.len() > URI_BYTES_MAX {
        return Err(Fault::Long);
    }
    if uri.is_empty() {
        return if matching == Match::Exact { Err(Fault::Empty) } else { Ok(()) };
    }
    if is_plain(uri) {
        return Ok(());
    }
    for octet in uri.bytes() {
        match octet {
            b' ' | b'\t'..=b'\r' => return Err(Fault::Space),
            b'#' => return Err(Fault::Hash),
            b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.' => {}
            _ if rule == Rule::Strict => return Err(Fault::Strict),
            _ => {}
        }
    }
    if !uri.is_ascii() && uri.chars().any(char::is_whitespace) {
        return Err(Fault::Space);
    }
    let whole = match matching {
        Match::Exact => uri,
        // Only the component that the prefix breaks off in may be empty.
        Match::Prefix => uri.strip_suffix('.').unwrap_or(uri),
        Match::Wildcard => return Ok(()),
    };
    if whole.starts_with('.') || whole.ends_with('.') || whole.contains("..") {
        return Err(Fault::EmptyComponent);
    }
    Ok(())
}

/// Whether a URI is well formed by every rule: what nearly all are, told without a branch for each octet. Every publication
/// comes by here.
fn is_plain(uri: &str) -> bool {
    let (mut strange, mut before) = (false, b'.');
    for octet in uri.bytes() {
        strange |= !PLAIN[usize::from(octet)] | ((octet == b'.') & (before == b'.'));
        before = octet;
    }
    !strange && before != b'.'
}

/// The octets of the strict rule, and the dot between components.
const PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut octet = 0_u8;
    while octet < u8::MAX {
        plain[octet as usize] = matches!(octet, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.');
        octet += 1;
    }
    plain
};

/// Whether the router keeps this URI for itself: its first component is `wamp`.
#[must_use]
pub fn is_reserved(uri: &str) -> bool {
    uri == "wamp" || uri.starts_with("wamp.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn well_formed() {
        let check = |uri: &str, matching, rule, expected: Result<(), Fault>| {
            assert_eq!(super::check(uri, matching, rule), expected, "{uri:?} {matching:?} {rule:?}");
        };
        use Match::{Exact, Prefix, Wildcard};
        check("com.myapp.topic1", Exact, Rule::Loose, Ok(()));
        check("com.My-App.Zürich", Exact, Rule::Loose, Ok(()));
        check("com.My-App", Exact, Rule::Strict, Err(Fault::Strict));
        check("com.my_app.x1", Exact, Rule::Strict, Ok(()));
        check("", Exact, Rule::Loose, Err(Fault::Empty));
        check("", Prefix, Rule::Loose, Ok(()));
        check("a b", Exact, Rule::Loose, Err(Fault::Space));
        check("a\u{2003}b", Exact, Rule::Loose, Err(Fault::Space));
        check("a#b", Prefix, Rule::Loose, Err(Fault::Hash));
        for uri in ["a..b", ".a", "a.", "."] {
            check(uri, Exact, Rule::Loose, Err(Fault::EmptyComponent));
        }
        check("a.", Prefix, Rule::Loose, Ok(()));
        check("a..", Prefix, Rule::Loose, Err(Fault::EmptyComponent));
        check("a..b.", Wildcard, Rule::Loose, Ok(()));
        check(&"x".repeat(URI_BYTES_MAX + 1), Exact, Rule::Loose, Err(Fault::Long));
    }

    #[test]
    fn patterns() {
        let check = |matching: Match, pattern: &str, uri: &str, expected: bool| {
            assert_eq!(matching.matches(pattern, uri), expected, "{matching:?} {pattern:?} {uri:?}");
        };
        check(Match::Exact, "a.b", "a.b", true);
        check(Match::Exact, "a.b", "a.b.c", false);
        check(Match::Prefix, "a.b", "a.bc", true);
        check(Match::Prefix, "a.b.", "a.b", false);
        check(Match::Prefix, "", "a", true);
        check(Match::Wildcard, "a..c", "a.b.c", true);
        check(Match::Wildcard, "a..c", "a.b.c.d", false);
        check(Match::Wildcard, "a..c", "a.b", false);
        check(Match::Wildcard, ".b.", "a.b.c", true);
    }

    #[test]
    fn reserved() {
        assert!(is_reserved("wamp.session.on_join"));
        assert!(is_reserved("wamp"));
        assert!(!is_reserved("wampum.x"));
    }
}
