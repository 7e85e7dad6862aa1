//! Who may subscribe to what: the verdicts of authenticators, and what the hub answers to them.
//!
//! An authenticator is a Python function, a list of tokens ([`token`]) or an endpoint of somebody else ([`forward`]). All
//! say the same few things, and what follows from them is decided here, once. How a function is run is not known here; in
//! particular, the scopes of Python functions are Python's regular expressions and are matched where Python is.

pub mod forward;
pub mod scope;
pub mod token;

use std::fmt;
use std::sync::Arc;

use crate::options::NoneResult;
use crate::request::Wish;

/// Who subscribed, as the authenticator calls them; shown to the operator and kept with the subscription. It is no part of
/// what identifies a subscription.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity(Arc<str>);

/// Octets of an identity: it is kept with each subscription, and shown in one line.
pub const IDENTITY_BYTES_MAX: usize = 1024;

impl Identity {
    /// Somebody as an authenticator calls them, when that is a name: from 1 to [`IDENTITY_BYTES_MAX`] octets.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        (1..=IDENTITY_BYTES_MAX).contains(&name.len()).then(|| Self::new(name))
    }

    /// Somebody whose name was judged before.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether one of somebody's scopes matches the topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TopicVerdict {
    /// One does.
    Allowed,
    /// None does.
    Denied,
}

/// What an authenticator said about a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Credentials and a user who is authenticated.
    Authenticated {
        /// Who it is.
        identity: Identity,
        /// Whether the topic is among those allowed.
        topic: TopicVerdict,
    },
    /// A user whose `is_authenticated` is false, or credentials that are unknown.
    Unauthenticated,
    /// `None`, and a hub without an authenticator.
    Nobody,
    /// An `HTTPException`: the response is to be this one.
    Dictated(Response),
    /// Another exception, or a result of a type that is not allowed.
    Failed,
    /// No answer in time, or nobody to ask. Nothing is subscribed, and the request may come again.
    Unavailable,
}

/// What is answered to a request for a subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// 202: what happens next, happens at the callback.
    Accepted,
    /// 403.
    Forbidden,
    /// As the authenticator says.
    Dictated(Response),
    /// 500: the authenticator is at fault.
    Failed,
    /// 503: the authenticator did not answer.
    Unavailable,
    /// 503: as much is waiting as may wait.
    Busy,
    /// 503: what is agreed on could not be kept.
    NoStore,
}

impl Answer {
    /// The sentence for the body (WebSub 5.1.1); nothing for 202, and for answers that somebody else wrote.
    #[must_use]
    pub const fn sentence(&self) -> Option<&'static str> {
        match self {
            Self::Accepted | Self::Dictated(_) => None,
            Self::Forbidden => Some("the credentials of this request do not allow subscriptions at this hub"),
            Self::Failed => Some("the hub could not find out who may subscribe"),
            Self::Unavailable => Some("the hub cannot find out at the moment who may subscribe; try again later"),
            Self::NoStore => Some("the hub's store takes no subscriptions at the moment; try again later"),
            Self::Busy => Some("too many requests for subscriptions are waiting; try again later"),
        }
    }
}

/// What follows from a verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// 202, and the callback is asked.
    Verify {
        /// Who asked, if that is known.
        identity: Option<Identity>,
    },
    /// 202, and the callback is told that the subscription is denied.
    Deny(DenyReason),
    /// This answer, and the callback hears nothing.
    Refuse(Answer),
}

/// Why a subscription is denied after its request was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DenyReason {
    /// No scope matches the topic.
    Topic,
    /// The authenticator answered `None`, or there is none.
    Nobody,
}

impl DenyReason {
    /// For `hub.reason`.
    #[must_use]
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::Topic => "you may not subscribe to this topic",
            Self::Nobody => "this hub does not accept this subscription",
        }
    }
}

/// Decides by the reference's section on returns.
///
/// Ending a subscription asks for authentication only: the topic is not judged, since WebSub 5.2 has nobody but the
/// callback object to it. `None` refuses it at once, whatever `none_result` says: a denial at the callback would tell a
/// subscription that still exists that it is over, and a verification would let anybody have the hub call a callback.
#[must_use]
pub fn decide(verdict: Verdict, wish: &Wish, none_result: NoneResult) -> Decision {
    let is_end = matches!(wish, Wish::Unsubscribe);
    match verdict {
        Verdict::Authenticated { identity, topic } if is_end || topic == TopicVerdict::Allowed => {
            Decision::Verify { identity: Some(identity) }
        }
        Verdict::Authenticated { .. } => Decision::Deny(DenyReason::Topic),
        Verdict::Unauthenticated => Decision::Refuse(Answer::Forbidden),
        Verdict::Nobody if is_end || none_result == NoneResult::Reject => Decision::Refuse(Answer::Forbidden),
        Verdict::Nobody => Decision::Deny(DenyReason::Nobody),
        Verdict::Dictated(response) => Decision::Refuse(Answer::Dictated(response)),
        Verdict::Failed => Decision::Refuse(Answer::Failed),
        Verdict::Unavailable => Decision::Refuse(Answer::Unavailable),
    }
}

/// A response that an authenticator dictates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// From 200 to 599.
    pub status: u16,
    /// Header fields, without those that belong to the connection. Each character of a value is one octet (ISO 8859-1), as
    /// Starlette writes them.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// Header fields that say how a message is transferred; the server writes its own.
const CONNECTION_FIELDS: &[&str] = &[
    "connection",
    "content-length",
    "date",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

impl Response {
    /// The response, if such a one can be sent: a final status, and names and values that header fields can have.
    #[must_use]
    pub fn new(status: u16, headers: Vec<(String, String)>, body: Vec<u8>) -> Option<Self> {
        let is_own = |name: &str| CONNECTION_FIELDS.iter().any(|own| name.eq_ignore_ascii_case(own));
        let headers: Vec<_> = headers.into_iter().filter(|(name, _)| !is_own(name)).collect();
        let is_sendable = headers.iter().all(|(name, value)| is_token(name) && is_opaque_value(value));
        ((200..600).contains(&status) && is_sendable).then_some(Self { status, headers, body })
    }

    /// The response that FastAPI makes of an `HTTPException`: a JSON object with the attribute `detail`, which is JSON
    /// already. A `Content-Type` of the exception goes before that of JSON.
    #[must_use]
    pub fn from_exception(status: u16, detail_json: &str, mut headers: Vec<(String, String)>) -> Option<Self> {
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")) {
            headers.push(("content-type".to_owned(), "application/json".to_owned()));
        }
        // These two have no body (RFC 9110, sections 15.3.5 and 15.4.5).
        let body =
            if matches!(status, 204 | 304) { Vec::new() } else { format!("{{\"detail\":{detail_json}}}").into() };
        Self::new(status, headers, body)
    }
}

/// RFC 9110, section 5.6.2.
fn is_token(text: &str) -> bool {
    let is_token_char = |octet: u8| octet.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&octet);
    !text.is_empty() && text.bytes().all(is_token_char)
}

/// RFC 9110, section 5.5, with the octets beyond ASCII, each of them one character here.
fn is_opaque_value(text: &str) -> bool {
    text.chars().all(|letter| matches!(letter, ' '..='~' | '\t' | '\u{80}'..='\u{ff}'))
}

/// RFC 9110, section 5.5, without the octets beyond ASCII that it only tolerates.
pub(crate) fn is_field_value(text: &str) -> bool {
    text.bytes().all(|octet| matches!(octet, b' '..=b'~' | b'\t'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUBSCRIBE: Wish = Wish::Subscribe { lease_seconds: None, secret: None };

    #[test]
    fn identities_have_bounds() {
        let check = |name: &str, expected: bool| assert_eq!(Identity::parse(name).is_some(), expected, "{name}");
        check("a", true);
        check("", false);
        check(&"ö".repeat(512), true);
        check(&"a".repeat(1025), false);
    }

    #[test]
    fn verdicts_become_decisions() {
        let identity = Identity::new("foobar");
        let known = |topic| Verdict::Authenticated { identity: identity.clone(), topic };
        let verify = Decision::Verify { identity: Some(identity.clone()) };
        let refuse = Decision::Refuse;
        let response = Response::new(418, Vec::new(), Vec::new()).unwrap();
        let check = |verdict: &Verdict, subscribe: &Decision, unsubscribe: &Decision| {
            for none_result in [NoneResult::Deny, NoneResult::Reject] {
                assert_eq!(&decide(verdict.clone(), &SUBSCRIBE, none_result), subscribe, "{verdict:?}");
                assert_eq!(&decide(verdict.clone(), &Wish::Unsubscribe, none_result), unsubscribe, "{verdict:?}");
            }
        };
        check(&known(TopicVerdict::Allowed), &verify, &verify);
        check(&known(TopicVerdict::Denied), &Decision::Deny(DenyReason::Topic), &verify);
        check(&Verdict::Unauthenticated, &refuse(Answer::Forbidden), &refuse(Answer::Forbidden));
        check(&Verdict::Failed, &refuse(Answer::Failed), &refuse(Answer::Failed));
        check(&Verdict::Unavailable, &refuse(Answer::Unavailable), &refuse(Answer::Unavailable));
        let dictated = refuse(Answer::Dictated(response.clone()));
        check(&Verdict::Dictated(response), &dictated, &dictated);
    }

    #[test]
    fn nobody_is_denied_or_rejected() {
        let check = |wish: &Wish, none_result, expected| {
            assert_eq!(decide(Verdict::Nobody, wish, none_result), expected);
        };
        check(&SUBSCRIBE, NoneResult::Deny, Decision::Deny(DenyReason::Nobody));
        check(&Wish::Unsubscribe, NoneResult::Deny, Decision::Refuse(Answer::Forbidden));
        check(&SUBSCRIBE, NoneResult::Reject, Decision::Refuse(Answer::Forbidden));
        check(&Wish::Unsubscribe, NoneResult::Reject, Decision::Refuse(Answer::Forbidden));
    }

    #[test]
    fn exceptions_become_responses() {
        let field = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let headers = vec![field("WWW-Authenticate", "Bearer"), field("Content-Length", "9")];
        let response = Response::from_exception(401, "\"who?\"", headers).unwrap();
        assert_eq!(response.body, b"{\"detail\":\"who?\"}");
        assert_eq!(response.headers, [field("WWW-Authenticate", "Bearer"), field("content-type", "application/json")]);
        let own = vec![field("Content-Type", "application/problem+json")];
        assert_eq!(Response::from_exception(401, "1", own.clone()).unwrap().headers, own);
        assert_eq!(Response::from_exception(204, "null", Vec::new()).unwrap().body, b"");
        let check = |status, name: &str, value: &str, expected: bool| {
            assert_eq!(Response::new(status, vec![field(name, value)], Vec::new()).is_some(), expected);
        };
        check(599, "x-a", "b", true);
        check(600, "x-a", "b", false);
        check(101, "x-a", "b", false);
        check(400, "x a", "b", false);
        check(400, "", "b", false);
        check(400, "x-a", "b\r\nx-b: c", false);
        check(400, "x-a", "caf\u{e9}", true);
        check(400, "x-a", "\u{7f}", false);
        check(400, "x-a", "\u{20ac}", false);
    }
}
