//! The authenticator `forward`: an HTTP endpoint of the operator's is asked about each request.
//!
//! It gets a POST with a JSON object:
//!
//! ```json
//! {"mode": "subscribe", "topic": "https://…", "callback": "https://…", "lease_seconds": 864000, "has_secret": true,
//!  "client": "192.0.2.1", "headers": {"authorization": "Bearer …"}, "fields": {"api_key": ["…"]}, "query": {}}
//! ```
//!
//! `lease_seconds` and `has_secret` are there for subscriptions; the secret itself never leaves the hub. Of a header field
//! that came several times the values are joined with a comma. `fields` are those of the form that are not told elsewhere,
//! `query` those of the request's URL, each with all of its values. They are as bounded as the request: by
//! `request_bytes_max` and by what a head may have. The endpoint answers:
//!
//! - 200 with `{"identity": "name", "scopes": ["regular expression", …]}`: authenticated, for topics that a scope matches
//!   in full; with `"is_authenticated": false` it is somebody who is not;
//! - 200 with `null`, or 204: nobody, see `none_result`;
//! - 400 to 499: this status and body become the response, with the endpoint's `Content-Type`, `WWW-Authenticate` and
//!   `Retry-After`;
//! - everything else is a failure, and no answer at all means that the authenticator is not available.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;

use super::scope::Scopes;
use super::{Identity, Response, Verdict};
use crate::request::{self, Intent, Wish};

/// How much of an answer is read. Scopes may be many; a longer answer is a failure.
pub const ANSWER_BYTES_MAX: usize = 1 << 20;

/// Of the endpoint's header fields, those that a dictated response keeps.
const KEPT_FIELDS: &[&str] = &["content-type", "www-authenticate", "retry-after"];

/// Header fields of the subscriber that the endpoint does not get: they are about a connection that it is not on.
const OWN_FIELDS: &[&str] =
    &["connection", "content-length", "host", "keep-alive", "te", "transfer-encoding", "upgrade"];

#[derive(Serialize)]
struct Question<'a> {
    mode: &'static str,
    topic: &'a str,
    callback: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    lease_seconds: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    has_secret: Option<bool>,
    client: &'a str,
    headers: BTreeMap<String, String>,
    fields: Fields,
    query: Fields,
}

/// The values of each field, in their order.
type Fields = BTreeMap<String, Vec<String>>;

/// What the endpoint is told of a request besides what it asks for.
#[derive(Clone, Copy, Debug)]
pub struct Sender<'a> {
    /// The address of who sent it.
    pub client: &'a str,
    /// Its header fields.
    pub headers: &'a [(String, String)],
    /// The query of its URL.
    pub query: &'a str,
    /// Its body, which is a form.
    pub form: &'a [u8],
}

#[derive(Deserialize)]
struct Credentials<'a> {
    #[serde(borrow)]
    identity: Cow<'a, str>,
    #[serde(borrow)]
    scopes: Vec<Cow<'a, str>>,
    #[serde(default = "yes")]
    is_authenticated: bool,
}

const fn yes() -> bool {
    true
}

/// Fields of a form that the question has under names of its own.
const TOLD_FIELDS: &[&str] = &["hub.mode", "hub.topic", "hub.topic[]", "hub.callback", "hub.lease_seconds"];

/// What the names of fields begin with that are never told. Whoever misspells the rest, or writes it into the query, has erred, and
/// it is a secret all the same.
const SECRET: &str = "hub.secret";

/// The body of the question, in JSON.
#[must_use]
pub fn question(intent: &Intent, sender: &Sender<'_>) -> Vec<u8> {
    let Sender { client, headers, query, form } = *sender;
    let mut joined: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in headers {
        let name = name.to_ascii_lowercase();
        if OWN_FIELDS.contains(&name.as_str()) {
            continue;
        }
        joined.entry(name).and_modify(|former| *former = format!("{former}, {value}")).or_insert_with(|| value.clone());
    }
    let (lease_seconds, has_secret) = match &intent.wish {
        Wish::Subscribe { lease_seconds, secret } => (*lease_seconds, Some(secret.is_some())),
        Wish::Unsubscribe => (None, None),
    };
    let question = Question {
        mode: intent.wish.mode(),
        topic: intent.pair.topic.topic().as_str(),
        callback: intent.pair.callback.url(),
        lease_seconds,
        has_secret,
        client,
        headers: joined,
        fields: fields(form, TOLD_FIELDS),
        query: fields(query.as_bytes(), &[]),
    };
    serde_json::to_vec(&question).expect("text and numbers are always JSON")
}

/// The fields of a form but these, and but the secret.
fn fields(form: &[u8], without: &[&str]) -> Fields {
    let mut told = Fields::new();
    for (name, value) in request::fields(form) {
        let name = String::from_utf8_lossy(&name);
        let is_secret = name.get(..SECRET.len()).is_some_and(|start| start.eq_ignore_ascii_case(SECRET));
        if !is_secret && !without.contains(&&*name) {
            told.entry(name.into_owned()).or_default().push(String::from_utf8_lossy(&value).into_owned());
        }
    }
    told
}

/// What came of asking the endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It answered, with at most [`ANSWER_BYTES_MAX`] octets.
    Answered {
        /// The status code.
        status: u16,
        /// The header fields.
        headers: Vec<(String, String)>,
        /// The body.
        body: Vec<u8>,
    },
    /// It did not, or not in time.
    Silence,
    /// The answer was longer than that.
    TooLong,
}

/// What the endpoint means.
#[must_use]
pub fn judge(outcome: Outcome, intent: &Intent) -> Verdict {
    match outcome {
        Outcome::Silence => Verdict::Unavailable,
        Outcome::TooLong => Verdict::Failed,
        Outcome::Answered { status: 204, .. } => Verdict::Nobody,
        Outcome::Answered { status: 200, body, .. } => credentials(&body, intent).unwrap_or(Verdict::Failed),
        Outcome::Answered { status: status @ 400..=499, mut headers, body } => {
            headers.retain(|(name, _)| KEPT_FIELDS.iter().any(|kept| name.eq_ignore_ascii_case(kept)));
            Response::new(status, headers, body).map_or(Verdict::Failed, Verdict::Dictated)
        }
        // What stands before a dead endpoint says so with these.
        Outcome::Answered { status: 502..=504, .. } => Verdict::Unavailable,
        Outcome::Answered { .. } => Verdict::Failed,
    }
}

fn credentials(body: &[u8], intent: &Intent) -> Option<Verdict> {
    let raw: &RawValue = serde_json::from_slice(body).ok()?;
    if raw.get() == "null" {
        return Some(Verdict::Nobody);
    }
    let found: Credentials<'_> = serde_json::from_str(raw.get()).ok()?;
    if !found.is_authenticated {
        return Some(Verdict::Unauthenticated);
    }
    let scopes = Scopes::compile(&found.scopes).ok()?;
    let topic = scopes.judge(intent.pair.topic.topic());
    Some(Verdict::Authenticated { identity: Identity::parse(&found.identity)?, topic })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::{AskedTopic, Callback, Pair};
    use crate::authenticator::TopicVerdict;
    use stentor_model::Secret;

    fn intent(wish: Wish) -> Intent {
        let topic = AskedTopic::parse("http://t/%7E").unwrap();
        Intent { pair: Pair { topic, callback: Callback::parse("http://s/?k=1").unwrap() }, wish }
    }

    #[test]
    fn questions_have_all_but_the_secret() {
        let headers = [("Authorization", "Bearer x"), ("X-A", "1"), ("x-a", "2"), ("Host", "hub")];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let check = |wish, expected: &str| {
            let form = b"hub.mode=x&hub.topic=t&hub.topic[]=t&hub.callback=c&hub.lease_seconds=1&hub.secret=hunter2\
                         &hub.secret[]=hunter2&Hub.Secret[0]=hunter2&api_key=a+b&x=%ff&api_key=c&hub.verify_token=v";
            let query = "api_key=q&hub.secret=hunter2&hub%2Esecret=hunter2&flag&hub.topic=t";
            let sender = Sender { client: "192.0.2.1", headers: &headers, query, form };
            let body = String::from_utf8(question(&intent(wish), &sender)).unwrap();
            assert!(!body.contains("hunter2"), "{body}");
            let (before, fields) = body.split_once(r#","fields":"#).unwrap();
            assert_eq!(format!("{before}}}"), expected);
            let expected = "{\"api_key\":[\"a b\",\"c\"],\"hub.verify_token\":[\"v\"],\"x\":[\"\u{fffd}\"]},\
                            \"query\":{\"api_key\":[\"q\"],\"flag\":[\"\"],\"hub.topic\":[\"t\"]}}";
            assert_eq!(fields, expected);
        };
        check(
            Wish::Subscribe { lease_seconds: Some(60), secret: Some(Secret::new("hunter2")) },
            r#"{"mode":"subscribe","topic":"http://t/~","callback":"http://s/?k=1","lease_seconds":60,"has_secret":true,"client":"192.0.2.1","headers":{"authorization":"Bearer x","x-a":"1, 2"}}"#,
        );
        check(
            Wish::Unsubscribe,
            r#"{"mode":"unsubscribe","topic":"http://t/~","callback":"http://s/?k=1","client":"192.0.2.1","headers":{"authorization":"Bearer x","x-a":"1, 2"}}"#,
        );
    }

    #[test]
    fn answers_are_judged() {
        let check = |status, body: &str, expected: Verdict| {
            let outcome = Outcome::Answered { status, headers: Vec::new(), body: body.into() };
            assert_eq!(judge(outcome, &intent(Wish::Unsubscribe)), expected, "{status} {body}");
        };
        let known = |topic| Verdict::Authenticated { identity: Identity::new("ann"), topic };
        check(200, r#"{"identity":"ann","scopes":["http://t/~"],"more":1}"#, known(TopicVerdict::Allowed));
        check(200, r#"{"identity":"ann","scopes":["http://t/"]}"#, known(TopicVerdict::Denied));
        check(200, r#"{"identity":"ann","scopes":[]}"#, known(TopicVerdict::Denied));
        check(200, r#"{"identity":"ann","scopes":[".*"],"is_authenticated":false}"#, Verdict::Unauthenticated);
        check(200, " null ", Verdict::Nobody);
        check(204, "", Verdict::Nobody);
        for wrong in [
            "",
            "{}",
            "[]",
            "true",
            r#"{"identity":1,"scopes":[]}"#,
            r#"{"identity":"a","scopes":["("]}"#,
            r#"{"identity":"","scopes":[]}"#,
        ] {
            check(200, wrong, Verdict::Failed);
        }
        check(200, &format!(r#"{{"identity":"{}","scopes":[]}}"#, "a".repeat(1025)), Verdict::Failed);
        check(201, "null", Verdict::Failed);
        check(302, "", Verdict::Failed);
        check(500, "", Verdict::Failed);
        check(503, "", Verdict::Unavailable);
        assert_eq!(judge(Outcome::Silence, &intent(Wish::Unsubscribe)), Verdict::Unavailable);
        assert_eq!(judge(Outcome::TooLong, &intent(Wish::Unsubscribe)), Verdict::Failed);
    }

    #[test]
    fn refusals_are_passed_on() {
        let field = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let headers =
            vec![field("WWW-Authenticate", "Bearer"), field("Set-Cookie", "a=b"), field("Content-Type", "text/plain")];
        let outcome = Outcome::Answered { status: 401, headers, body: b"who?".to_vec() };
        let kept = vec![field("WWW-Authenticate", "Bearer"), field("Content-Type", "text/plain")];
        let expected = Response::new(401, kept, b"who?".to_vec()).unwrap();
        assert_eq!(judge(outcome, &intent(Wish::Unsubscribe)), Verdict::Dictated(expected));
    }
}
