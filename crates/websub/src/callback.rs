//! Requests to a callback that carry no content: "did you ask for this?" (WebSub 5.3) and "you are denied" (WebSub 5.2).
//!
//! URLs are made and answers judged; sending, and where it may go, is not known here. Neither request is signed, as
//! WebSub gives no way to do it.

use std::fmt::{self, Write as _};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::address::Pair;
use crate::request::Wish;

/// Everything but the unreserved characters, so that no value can end its parameter, the query or the request line.
const VALUE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// How much of an answer to a verification has to be read: it echoes a challenge of 64 octets, and one octet more already
/// tells that it does not.
pub const ANSWER_BYTES_MAX: usize = 1024;

/// A URL to GET once. Its query has a challenge or a subscriber's own token in it, so that it does not show.
#[derive(Clone, PartialEq, Eq)]
pub struct CallbackUrl(String);

impl CallbackUrl {
    /// The URL, for [`crate::address::Address::parse`].
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for CallbackUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CallbackUrl({:?})", self.0.split('?').next().unwrap_or_default())
    }
}

/// The URL to GET for a verification. For a subscription the granted lease is told.
#[must_use]
pub fn verification_url(pair: &Pair, wish: &Wish, challenge: &str, lease_seconds: u64) -> CallbackUrl {
    let mut fields = vec![
        ("hub.mode", wish.mode().to_owned()),
        ("hub.topic", pair.topic.text().to_owned()),
        ("hub.challenge", challenge.to_owned()),
    ];
    if matches!(wish, Wish::Subscribe { .. }) {
        fields.push(("hub.lease_seconds", lease_seconds.to_string()));
    }
    append(pair.callback.url(), &fields)
}

/// The URL to GET for a denial. What is answered does not matter.
#[must_use]
pub fn denial_url(pair: &Pair, reason: Option<&str>) -> CallbackUrl {
    let mut fields = vec![("hub.mode", "denied".to_owned()), ("hub.topic", pair.topic.text().to_owned())];
    fields.extend(reason.map(|reason| ("hub.reason", reason.to_owned())));
    append(pair.callback.url(), &fields)
}

/// WebSub 5.3: the callback's own query stays byte for byte, parameters of the same name included; ours come behind it.
fn append(url: &str, fields: &[(&str, String)]) -> CallbackUrl {
    let mut out = url.to_owned();
    for (name, value) in fields {
        match out.find('?') {
            None => out.push('?'),
            Some(_) if out.ends_with(['?', '&']) => {}
            Some(_) => out.push('&'),
        }
        write!(out, "{name}={}", utf8_percent_encode(value, VALUE)).expect("writing to a String cannot fail");
    }
    CallbackUrl(out)
}

/// What came of asking a callback, as the one who asked reports it.
#[derive(Clone, PartialEq, Eq)]
pub enum Echo {
    /// It answered. Redirects are not followed (item 32), so theirs is an answer as well.
    Answered {
        /// The status code.
        status: u16,
        /// The first [`ANSWER_BYTES_MAX`] octets of the body, or fewer.
        body: Vec<u8>,
    },
    /// No connection, a broken one, or no answer in time.
    Silence,
    /// The guard lets nobody talk to it.
    Blocked,
}

impl fmt::Debug for Echo {
    /// Without the body, which may be a challenge.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answered { status, body } => write!(f, "Answered({status}, {} octets)", body.len()),
            Self::Silence => f.write_str("Silence"),
            Self::Blocked => f.write_str("Blocked"),
        }
    }
}

/// What an answer means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// The subscriber asked for it.
    Confirmed,
    /// The subscriber did not, or cannot be asked: that is final.
    Refuted(Refutation),
    /// Nobody could say; worth another attempt.
    Open(OpenReason),
}

/// Why a verification failed for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refutation {
    /// The status is neither 2xx nor 5xx. 404 is how a subscriber says that it did not ask.
    Status(u16),
    /// 2xx, but the body is not the challenge.
    Challenge,
    /// The guard refused the address.
    Blocked,
}

/// Why a verification found nothing out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenReason {
    /// The subscriber's server has trouble of its own.
    Status(u16),
    /// No answer.
    Silence,
}

/// WebSub 5.3.1: any 2xx with exactly the challenge as its body confirms; everything else is a failure. Of the failures,
/// trouble of the server (5xx) and silence say nothing about the intent and may be tried again (item 37).
#[must_use]
pub fn judge(echo: &Echo, challenge: &str) -> Finding {
    match echo {
        Echo::Answered { status: 200..=299, body } if body == challenge.as_bytes() => Finding::Confirmed,
        Echo::Answered { status: 200..=299, .. } => Finding::Refuted(Refutation::Challenge),
        Echo::Answered { status: status @ 500..=599, .. } => Finding::Open(OpenReason::Status(*status)),
        Echo::Answered { status, .. } => Finding::Refuted(Refutation::Status(*status)),
        Echo::Silence => Finding::Open(OpenReason::Silence),
        Echo::Blocked => Finding::Refuted(Refutation::Blocked),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::{AskedTopic, Callback};

    fn pair(callback: &str, topic: &str) -> Pair {
        Pair { topic: AskedTopic::parse(topic).unwrap(), callback: Callback::parse(callback).unwrap() }
    }

    #[test]
    fn verifications_keep_the_query() {
        // Items 28 and 29.
        let subscribe = Wish::Subscribe { lease_seconds: None, secret: None };
        let check = |callback: &str, topic: &str, wish: &Wish, expected: &str| {
            assert_eq!(verification_url(&pair(callback, topic), wish, "c4", 300).as_str(), expected);
        };
        let tail = "hub.mode=subscribe&hub.topic=http%3A%2F%2Ft%2F&hub.challenge=c4&hub.lease_seconds=300";
        check("http://s", "http://t/", &subscribe, &format!("http://s?{tail}"));
        check("http://s/cb", "http://t/", &subscribe, &format!("http://s/cb?{tail}"));
        check("http://s/cb?", "http://t/", &subscribe, &format!("http://s/cb?{tail}"));
        check("http://s/cb?a=1&", "http://t/", &subscribe, &format!("http://s/cb?a=1&{tail}"));
        check(
            "http://s/?hub.mode=x&a='%27+%zz",
            "http://t/",
            &subscribe,
            &format!("http://s/?hub.mode=x&a='%27+%zz&{tail}"),
        );
        // The topic as it was asked for, with all that could break out of its parameter encoded (item 69).
        check(
            "http://s/",
            "http://t/%7Eä?b=1&c=+#d",
            &Wish::Unsubscribe,
            "http://s/?hub.mode=unsubscribe&hub.topic=http%3A%2F%2Ft%2F%257E%C3%A4%3Fb%3D1%26c%3D%2B%23d&hub.challenge=c4",
        );
    }

    #[test]
    fn denials_tell_the_reason() {
        // Item 24: no challenge.
        let check = |reason, expected: &str| {
            assert_eq!(denial_url(&pair("http://s/?a=1", "http://t/"), reason).as_str(), expected)
        };
        check(None, "http://s/?a=1&hub.mode=denied&hub.topic=http%3A%2F%2Ft%2F");
        check(
            Some("not for you\r\n& me"),
            "http://s/?a=1&hub.mode=denied&hub.topic=http%3A%2F%2Ft%2F&hub.reason=not%20for%20you%0D%0A%26%20me",
        );
    }

    #[test]
    fn answers_are_judged() {
        let check = |status, body: &str, expected| {
            assert_eq!(judge(&Echo::Answered { status, body: body.into() }, "c4"), expected, "{status} {body}");
        };
        // Item 31: any 2xx, and the challenge exactly.
        check(200, "c4", Finding::Confirmed);
        check(204, "c4", Finding::Confirmed);
        check(299, "c4", Finding::Confirmed);
        for body in ["", "c4\n", " c4", "C4", "\"c4\"", "c"] {
            check(200, body, Finding::Refuted(Refutation::Challenge));
        }
        // Item 32: redirects are failures.
        for status in [100, 199, 301, 302, 307, 308, 400, 404, 410, 429] {
            check(status, "c4", Finding::Refuted(Refutation::Status(status)));
        }
        check(500, "c4", Finding::Open(OpenReason::Status(500)));
        check(503, "", Finding::Open(OpenReason::Status(503)));
        assert_eq!(judge(&Echo::Silence, "c4"), Finding::Open(OpenReason::Silence));
        assert_eq!(judge(&Echo::Blocked, "c4"), Finding::Refuted(Refutation::Blocked));
    }
}
