//! Verdicts that their function lets be repeated.
//!
//! The same verdict is given to a request that is the same in everything that the function could have looked at. Whatever
//! differs, differs for a reason that only the function knows.

use std::collections::HashMap;
use std::time::Duration;

use ring::digest;
use stentor_websub::authenticator::Verdict;
use tokio::time::Instant;

use super::speech::Question;

/// Verdicts that are kept at once. Beyond it the cache begins anew: whoever fills it costs questions, not memory.
const VERDICTS_MAX: usize = 10_000;

/// What is kept.
#[derive(Debug, Default)]
pub(super) struct Cache(HashMap<Key, (Verdict, Instant)>);

/// The hash of a whole request. Requests hold secrets, so they are not kept themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key([u8; 32]);

impl Key {
    /// The key of a request.
    pub(super) fn of(question: &Question) -> Self {
        let mut hash = digest::Context::new(&digest::SHA256);
        let mut put = |part: &[u8]| {
            hash.update(&part.len().to_be_bytes());
            hash.update(part);
        };
        let Question { topic, method, target, scheme, http_version, client, fields, body } = question;
        for text in [topic, method, target, scheme, http_version, client.as_deref().unwrap_or_default()] {
            put(text.as_bytes());
        }
        put(fields.octets());
        put(body);
        Self(hash.finish().as_ref().try_into().expect("SHA-256 has 32 octets"))
    }
}

impl Cache {
    /// Whether nothing is kept, so that no key needs to be made.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn get(&self, key: Key, now: Instant) -> Option<Verdict> {
        self.0.get(&key).filter(|(_, end)| now < *end).map(|(verdict, _)| verdict.clone())
    }

    pub(super) fn put(&mut self, key: Key, verdict: Verdict, keep: Duration, now: Instant) {
        if self.0.len() >= VERDICTS_MAX {
            self.0.retain(|_, (_, end)| now < *end);
        }
        if self.0.len() >= VERDICTS_MAX {
            self.0.clear();
        }
        self.0.insert(key, (verdict, now + keep));
    }

    /// Forgets everything, because the function is another one now.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(topic: &str, headers: &[(&str, &str)], body: &'static [u8]) -> Question {
        Question {
            topic: topic.to_owned(),
            method: "POST".to_owned(),
            target: "/hub".to_owned(),
            scheme: "http".to_owned(),
            http_version: "1.1".to_owned(),
            client: None,
            fields: headers.iter().copied().collect(),
            body: body.into(),
        }
    }

    #[test]
    fn a_verdict_is_for_the_same_request_and_for_its_time() {
        let now = Instant::now();
        let mut cache = Cache::default();
        let key = Key::of(&question("t", &[("a", "bc")], b"x"));
        cache.put(key, Verdict::Nobody, Duration::from_secs(2), now);
        let check = |question: &Question, later: u64, expected: Option<Verdict>| {
            assert_eq!(cache.get(Key::of(question), now + Duration::from_secs(later)), expected, "{question:?}");
        };
        check(&question("t", &[("a", "bc")], b"x"), 1, Some(Verdict::Nobody));
        check(&question("t", &[("a", "bc")], b"x"), 2, None);
        check(&question("t", &[("ab", "c")], b"x"), 1, None);
        check(&question("u", &[("a", "bc")], b"x"), 1, None);
        check(&question("t", &[("a", "bc")], b"y"), 1, None);
    }

    #[test]
    fn it_does_not_grow_without_end() {
        let now = Instant::now();
        let mut cache = Cache::default();
        for count in 0..=VERDICTS_MAX {
            let key = Key::of(&question(&count.to_string(), &[], b""));
            cache.put(key, Verdict::Nobody, Duration::from_secs(1), now);
        }
        assert_eq!(cache.0.len(), 1);
    }
}
