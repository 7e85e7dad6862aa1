//! What is sent, and what came of it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::Method;
use hyper::header::{HOST, HeaderMap, HeaderValue, USER_AGENT};
use stentor_delivery::{SendFault, WaitFault};

/// A request.
#[derive(Clone)]
pub struct Parcel {
    /// The method.
    pub method: Method,
    /// Where to. Path and query go out octet for octet, save what no request line can carry
    /// (see [`stentor_websub::address::Address::target`]).
    pub url: Arc<str>,
    /// Fields besides `Host`, `Content-Length` and, if it is not here, `User-Agent`.
    pub headers: HeaderMap,
    /// The body; empty for none.
    pub body: Bytes,
    /// For everything, from finding the address to the last octet of the answer.
    pub timeout: Duration,
    /// How much of the answer is wanted.
    pub answer: AnswerLimit,
}

impl Parcel {
    /// An empty table of fields with the courier's own in their places, so that it need not put them before the others.
    pub(super) fn fields() -> HeaderMap {
        let mut fields = HeaderMap::with_capacity(12);
        fields.insert(HOST, HeaderValue::from_static(""));
        fields.insert(USER_AGENT, HeaderValue::from_static(""));
        fields
    }

    /// Whether the fields were begun with [`Self::fields`].
    pub(super) fn is_in_order(&self) -> bool {
        let own = self.headers.iter().take(2);
        own.eq([(&HOST, &HeaderValue::from_static("")), (&USER_AGENT, &HeaderValue::from_static(""))])
    }
}

/// How much of an answer is wanted. What is beyond is never read, whoever sends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerLimit {
    /// Status and fields. A short body is read nevertheless, so that the connection can be used again, and is forgotten.
    Discard,
    /// All of it, so many octets at most; more is [`Return::TooLong`].
    Whole(usize),
    /// The first so many octets.
    First(usize),
    /// As `Whole` when the status is 2xx, else as `Discard`.
    Content(usize),
}

/// How a request ended.
#[derive(Clone, Debug)]
pub enum Return {
    /// With an answer.
    Answered(Answer),
    /// Nothing of it was sent.
    NotSent(SendFault),
    /// It was sent, perhaps in part, and no whole answer came.
    NoAnswer(WaitFault),
    /// The answer is longer than [`AnswerLimit::Whole`] allows.
    TooLong,
}

/// An answer.
#[derive(Clone)]
pub struct Answer {
    /// The status code. Interim answers are passed over, so of 1xx only an unasked 101 comes here.
    pub status: u16,
    /// The fields.
    pub headers: HeaderMap,
    /// As much of the body as was wanted.
    pub body: Bytes,
    /// What `Retry-After` asks for, from now (RFC 9110, section 10.2.3). A date that is over is no time at all.
    pub retry_after: Option<Duration>,
}

impl fmt::Debug for Parcel {
    /// Neither query nor fields, in which subscribers and hubs have their secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = self.url.split('?').next().unwrap_or_default();
        write!(f, "Parcel({} {url:?}, {} octets)", self.method, self.body.len())
    }
}

impl fmt::Debug for Answer {
    /// Without the body, which may be a challenge.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Answer({}, {} octets, retry after {:?})", self.status, self.body.len(), self.retry_after)
    }
}
