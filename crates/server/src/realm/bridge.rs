//! Logged topics of a realm: publications on them are appended to a hub's log before anybody gets them, and are handed out
//! in the order of that log.
//!
//! The realm judges a publication when it comes and knows who may have it; what is between is the log's. This room does not
//! know hubs: a publication goes into a queue, and comes back through [`Realm::distribute`](super::Realm::distribute).

use std::borrow::Cow;

use percent_encoding::percent_decode_str;
use stentor_model::{PublicationId, SessionId, Topic};
use stentor_wamp::codec::OwnedPayload;
use stentor_wamp::publish_options::Filter;
use stentor_wamp::router::Refusal;
use stentor_wamp::uri::Match;
use stentor_wamp::value::Dict;
use stentor_websub::address;
use tokio::sync::{mpsc, oneshot};

/// What stands for the URI in the template of a topic.
const PLACEHOLDER: &str = "{uri}";

/// URIs whose publications go to a log, and which topic of it each is.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The URI or pattern.
    pub uri: String,
    /// How it is compared.
    pub matching: Match,
    /// The topic, in which `{uri}` stands for the whole URI.
    pub template: String,
}

/// A rule, and where its publications go.
#[derive(Debug)]
pub struct Crossing {
    /// The rule.
    pub rule: Rule,
    /// To the log.
    pub queue: mpsc::Sender<Crosser>,
}

/// A publication on its way to the log.
#[derive(Debug)]
pub struct Crosser {
    /// On which URI it was published.
    pub uri: String,
    /// On which topic it is logged.
    pub topic: Topic,
    /// What it is called if it is new.
    pub publication: PublicationId,
    /// Who gets it, and what is told about its publisher.
    pub terms: Terms,
    /// In JSON.
    pub payload: OwnedPayload,
    /// The `Idempotency-Key` of its request.
    pub idempotency: Option<String>,
    /// Gets its name when it is durable.
    pub reply: oneshot::Sender<Result<PublicationId, Refusal>>,
}

/// What was decided about a publication when it was judged, to be kept with it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Terms {
    /// The details of its events.
    pub details: Dict,
    /// A session that does not get it: its publisher, as a rule.
    pub without: Option<SessionId>,
    /// Who may get it.
    pub filter: Option<Box<Filter>>,
    /// It is kept for later subscribers.
    pub retain: bool,
}

impl Rule {
    /// Whether the rule is about this URI.
    #[must_use]
    pub fn matches(&self, uri: &str) -> bool {
        self.matching.matches(&self.uri, uri)
    }

    /// The topic of a URI, if the rule is about it and a topic can be made of it.
    #[must_use]
    pub fn topic(&self, uri: &str) -> Option<Topic> {
        if !self.matches(uri) {
            return None;
        }
        address::topic(&self.template.replace(PLACEHOLDER, uri)).ok()
    }

    /// The URI whose topic this is.
    #[must_use]
    pub fn uri(&self, topic: &Topic) -> Option<String> {
        let uri = match self.template.split_once(PLACEHOLDER) {
            None => Cow::Borrowed(self.uri.as_str()),
            // A URL has letters of other alphabets and some signs encoded, and a URI as they are.
            Some((before, after)) => {
                let behind = topic.as_str().strip_prefix(&*address::canonical(before))?;
                percent_decode_str(behind.strip_suffix(&*address::canonical(after))?).decode_utf8().ok()?
            }
        };
        (self.topic(&uri).as_ref() == Some(topic)).then(|| uri.into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_lead_there_and_back() {
        let rule = |uri: &str, matching, template: &str| Rule { uri: uri.into(), matching, template: template.into() };
        let check = |rule: &Rule, uri: &str, expected: Option<&str>| {
            let topic = rule.topic(uri);
            assert_eq!(topic.as_ref().map(Topic::as_str), expected, "{uri}");
            if let Some(topic) = topic {
                assert_eq!(rule.uri(&topic).as_deref(), Some(uri));
            }
        };
        let prefix = rule("com.x.", Match::Prefix, "https://e.org/t/{uri}?v=1");
        check(&prefix, "com.x.a", Some("https://e.org/t/com.x.a?v=1"));
        check(&prefix, "com.y", None);
        check(&prefix, "com.x.größe", Some("https://e.org/t/com.x.gr%C3%B6%C3%9Fe?v=1"));
        check(&prefix, "com.x.\"<>`{|}^", Some("https://e.org/t/com.x.%22%3C%3E%60%7B%7C%7D%5E?v=1"));
        check(&prefix, "com.x.a\\b", None);
        let written = rule("com.x.", Match::Prefix, "https://e.org/|ö%7E/{uri}?^");
        check(&written, "com.x.a", Some("https://e.org/%7C%C3%B6~/com.x.a?%5E"));
        let exact = rule("com.x", Match::Exact, "https://e.org/x");
        check(&exact, "com.x", Some("https://e.org/x"));
        check(&exact, "com.x.a", None);
        let wildcard = rule("com..y", Match::Wildcard, "https://e.org/{uri}");
        check(&wildcard, "com.a.y", Some("https://e.org/com.a.y"));
        assert_eq!(prefix.uri(&Topic::parse("https://e.org/t/com.y?v=1").unwrap()), None);
        assert_eq!(prefix.uri(&Topic::parse("https://e.org/").unwrap()), None);
    }
}
