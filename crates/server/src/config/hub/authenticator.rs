//! `authenticator` of a hub: who may subscribe.

use super::super::endpoint::Sort;
use super::super::gate::secret;
use super::super::path::Scope;
use super::super::reader::{Cursor, Dict};
use super::function::{self, FunctionConfig};
use std::time::Duration;
use stentor_websub::address::Address;
use stentor_websub::authenticator::scope::{SCOPES_MAX, ScopeFault, Scopes};
use stentor_websub::authenticator::token::Token;

/// Who is asked about requests for subscriptions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuthenticatorConfig {
    /// Nobody: every subscription is denied.
    None,
    /// Nobody: every subscription is allowed. Written `insecure-allow-all`, on loopback endpoints `allow-all` too.
    AllowAll,
    /// A list of bearer tokens.
    Static(Vec<Token>),
    /// An HTTP endpoint.
    Forward {
        /// Where it is. It belongs to the operator, so that no guard judges it.
        url: String,
        /// How long its answer may take; after that the request is refused.
        timeout: Duration,
    },
    /// Python of the operator.
    Function(Box<FunctionConfig>),
}

const TYPES: Sort<'static> = Sort {
    noun: "authenticator type",
    known: &["static", "forward", "function", "allow-all", "insecure-allow-all", "none"],
    unsupported: &[],
};

/// Time for the answer of an endpoint where none is configured: the subscriber waits meanwhile.
const FORWARD_TIMEOUT: Duration = Duration::from_secs(5);

/// Milliseconds that an answer may take: five minutes, after which no HTTP client waits any more.
const TIMEOUT_MS_MAX: u64 = 300_000;

/// Reads the authenticator of a hub. `None` with a fault, so that a misspelt one does not turn into another.
pub(super) fn read(parent: &mut Dict<'_>, scope: Scope<'_, '_>) -> Option<AuthenticatorConfig> {
    let beside = function::read_beside(parent);
    let cursor = parent.take("authenticator");
    if let Some(function) = beside {
        if let Some(cursor) = cursor {
            cursor.fault("stands beside 'inline_api_authenticator' or 'managed_api_authenticator'; write one of them");
            return None;
        }
        return function.map(|found| AuthenticatorConfig::Function(Box::new(found)));
    }
    let Some(cursor) = cursor else {
        parent.advise("without an 'authenticator' this hub denies every subscription");
        return Some(AuthenticatorConfig::None);
    };
    let mut dict = cursor.dict()?.in_both_spellings();
    let kind = dict.need("type")?;
    let read = match kind.name()? {
        "none" => Some(AuthenticatorConfig::None),
        "insecure-allow-all" => {
            kind.advise("everybody who reaches this hub may have it send requests to addresses of their choice");
            Some(AuthenticatorConfig::AllowAll)
        }
        "allow-all" if scope.endpoint.is_some_and(|endpoint| !endpoint.is_loopback()) => {
            kind.fault(
                "'allow-all' is for endpoints on loopback; elsewhere it is called 'insecure-allow-all', because \
                 everybody may then have this hub send requests to addresses of their choice",
            );
            None
        }
        "allow-all" => Some(AuthenticatorConfig::AllowAll),
        "static" => dict.need("tokens").and_then(|list| tokens(&list)).map(AuthenticatorConfig::Static),
        "forward" => forward(&mut dict),
        "function" => function::read(&mut dict).map(|found| AuthenticatorConfig::Function(Box::new(found))),
        other => {
            kind.fault(TYPES.refusal(other));
            return None;
        }
    };
    dict.finish();
    read
}

fn forward(dict: &mut Dict<'_>) -> Option<AuthenticatorConfig> {
    let url = dict.need("url");
    let mut timeout = FORWARD_TIMEOUT;
    dict.milliseconds("timeout", 1..=TIMEOUT_MS_MAX, &mut timeout);
    let cursor = url?;
    let url = cursor.name()?.to_owned();
    if let Err(fault) = Address::parse(&url) {
        cursor.fault(format!("must be the URL of an HTTP endpoint; it {fault}"));
        return None;
    }
    Some(AuthenticatorConfig::Forward { url, timeout })
}

fn tokens(list: &Cursor<'_>) -> Option<Vec<Token>> {
    let items = list.list()?;
    if items.is_empty() {
        list.advise("without a token this hub denies every subscription");
    }
    let mut tokens: Vec<Token> = Vec::new();
    for item in &items {
        let Some(token) = token(item) else { continue };
        if tokens.iter().any(|known| known.token == token.token) {
            item.fault("repeats the token of an entry before it");
        }
        tokens.push(token);
    }
    Some(tokens)
}

fn token(cursor: &Cursor<'_>) -> Option<Token> {
    let mut dict = cursor.dict()?;
    let token = dict.need("token").as_ref().and_then(secret);
    let identity = dict.need("identity");
    let scopes = dict.need("scopes");
    dict.finish();
    let identity = identity.and_then(|cursor| {
        let name = cursor.name()?;
        if name.len() > stentor_store::TEXT_BYTES_MAX {
            cursor.fault(format!("must not be longer than {} octets", stentor_store::TEXT_BYTES_MAX));
        }
        Some(name.to_owned())
    });
    let scopes = scopes.and_then(|cursor| {
        let items = cursor.list()?;
        if items.len() > SCOPES_MAX {
            cursor.fault(format!("must be at most {SCOPES_MAX} regular expressions"));
        }
        Some(items.iter().filter_map(scope).collect())
    });
    Some(Token { token: token?, identity: identity?, scopes: scopes? })
}

fn scope(cursor: &Cursor<'_>) -> Option<String> {
    let text = cursor.name()?;
    match Scopes::compile(&[text]) {
        Ok(_) => return Some(text.to_owned()),
        Err(ScopeFault::Invalid { reason, .. }) => cursor.fault(format!("is not a regular expression: {reason}")),
        Err(ScopeFault::TooLong { .. } | ScopeFault::TooMany) => cursor.fault("is too long for a regular expression"),
    }
    None
}
