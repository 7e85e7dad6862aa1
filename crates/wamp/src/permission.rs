//! Who may do what: the static permissions of a role.
//!
//! The rule with the longest URI among those that match decides alone. An exact rule never falls back to a shorter prefix,
//! and where no rule matches the answer is no.

use crate::pattern::PatternIndex;
use crate::uri::Match;

/// What a session wants to do with a URI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// PUBLISH
    Publish,
    /// SUBSCRIBE
    Subscribe,
    /// CALL
    Call,
    /// REGISTER
    Register,
}

impl Deed {
    /// The verb and preposition of a refusal: "session not authorized to publish to topic".
    #[must_use]
    pub const fn phrase(self) -> &'static str {
        match self {
            Self::Publish => "publish to topic",
            Self::Subscribe => "subscribe to topic",
            Self::Call => "call procedure",
            Self::Register => "register procedure",
        }
    }
}

/// One rule of a role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The URI or pattern it speaks of.
    pub uri: String,
    /// How that URI matches.
    pub matching: Match,
    /// PUBLISH is allowed.
    pub publish: bool,
    /// SUBSCRIBE is allowed.
    pub subscribe: bool,
    /// CALL is allowed.
    pub call: bool,
    /// REGISTER is allowed.
    pub register: bool,
    /// Events tell who published them.
    pub disclose_publisher: bool,
    /// Invocations tell who called.
    pub disclose_caller: bool,
}

impl Rule {
    const fn allows(&self, deed: Deed) -> bool {
        match deed {
            Deed::Publish => self.publish,
            Deed::Subscribe => self.subscribe,
            Deed::Call => self.call,
            Deed::Register => self.register,
        }
    }
}

/// The rules of one role.
#[derive(Debug, Default)]
pub struct Permissions {
    rules: PatternIndex<Rule>,
}

/// The rule behind a yes, for what it says about disclosure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Events tell who published them.
    pub disclose_publisher: bool,
    /// Invocations tell who called.
    pub disclose_caller: bool,
    /// The rule's own URI begins with `wamp.`: it was written for the router's procedures and events.
    pub names_router: bool,
}

impl Permissions {
    /// The permissions that these rules make; of two rules on the same pattern the later one holds.
    #[must_use]
    pub fn new(rules: impl IntoIterator<Item = Rule>) -> Self {
        let mut index = PatternIndex::default();
        for rule in rules {
            let (matching, uri) = (rule.matching, rule.uri.clone());
            index.insert(matching, &uri, rule);
        }
        Self { rules: index }
    }

    fn decisive(&self, uri: &str) -> Option<&Rule> {
        let mut best: Option<&Rule> = None;
        self.rules.each_match(uri, &mut |matching, rule| {
            let better = match best {
                None => true,
                Some(old) if old.matching == Match::Exact => false,
                // Prefixes come from short to long and before wildcards, so at equal length the prefix stays.
                Some(old) if rule.uri.len() == old.uri.len() => matching == old.matching && opens_earlier(rule, old),
                Some(old) => rule.uri.len() > old.uri.len(),
            };
            if better {
                best = Some(rule);
            }
        });
        best
    }

    /// Whether the role may do `deed` on `uri`.
    #[must_use]
    pub fn check(&self, deed: Deed, uri: &str) -> Option<Grant> {
        let rule = self.decisive(uri).filter(|rule| rule.allows(deed))?;
        Some(Grant {
            disclose_publisher: rule.disclose_publisher,
            disclose_caller: rule.disclose_caller,
            names_router: rule.uri.starts_with("wamp."),
        })
    }

    /// Whether the role may subscribe to everything that a pattern stands for.
    ///
    /// A rule that denies some topics of the pattern must not be undone by subscribing to more, so a pattern that reaches
    /// into such a rule is refused as a whole; and so is one that reaches beyond what is allowed. One rule has to allow all
    /// of it: that several do together is not looked into.
    #[must_use]
    pub fn check_pattern(&self, pattern: &str, matching: Match) -> bool {
        if matching == Match::Exact {
            return self.check(Deed::Subscribe, pattern).is_some();
        }
        // The rule that decides wherever no denying one is stronger.
        let Some(floor) = self
            .rules
            .values()
            .filter(|rule| rule.subscribe && covers(rule, pattern, matching))
            .max_by_key(|rule| (rule.uri.len(), rule.matching == Match::Prefix))
        else {
            return false;
        };
        !self.rules.values().any(|rule| !rule.subscribe && may_outrank(rule, floor) && meets(rule, pattern, matching))
    }
}

/// Whether every topic of the pattern is one of the rule.
fn covers(rule: &Rule, pattern: &str, matching: Match) -> bool {
    match (rule.matching, matching) {
        (Match::Prefix, Match::Wildcard) => literal_start(pattern).starts_with(&rule.uri),
        (Match::Prefix, _) => pattern.starts_with(&rule.uri),
        (Match::Wildcard, Match::Wildcard) => Match::Wildcard.matches(&rule.uri, pattern),
        // A single topic is less than a pattern, and a prefix goes on for any number of components.
        (Match::Exact, _) | (Match::Wildcard, _) => false,
    }
}

/// Of two wildcards of one length that match the same URI, the one that leaves open the first component in which they differ
/// decides, so that the order of the rules does not matter.
fn opens_earlier(rule: &Rule, old: &Rule) -> bool {
    let mut parts = rule.uri.split('.').zip(old.uri.split('.'));
    parts.find(|(ours, theirs)| ours != theirs).is_some_and(|(ours, _)| ours.is_empty())
}

/// Whether `rule` can decide for a topic that both match. Of two wildcards of one length either can.
fn may_outrank(rule: &Rule, floor: &Rule) -> bool {
    let (ours, theirs) = (rule.uri.len(), floor.uri.len());
    rule.matching == Match::Exact
        || ours > theirs
        || (ours == theirs && (rule.matching == Match::Prefix || floor.matching == Match::Wildcard))
}

/// Whether some topic belongs to both the rule and the pattern.
fn meets(rule: &Rule, pattern: &str, matching: Match) -> bool {
    match (rule.matching, matching) {
        (Match::Exact, _) => matching.matches(pattern, &rule.uri),
        (_, Match::Exact) => rule.matching.matches(&rule.uri, pattern),
        (Match::Prefix, Match::Prefix) => rule.uri.starts_with(pattern) || pattern.starts_with(&rule.uri),
        (Match::Prefix, Match::Wildcard) => some_start(pattern, &rule.uri),
        (Match::Wildcard, Match::Prefix) => some_start(&rule.uri, pattern),
        (Match::Wildcard, Match::Wildcard) => {
            rule.uri.split('.').count() == pattern.split('.').count()
                && rule.uri.split('.').zip(pattern.split('.')).all(|(a, b)| a.is_empty() || b.is_empty() || a == b)
        }
    }
}

/// Whether some topic of a wildcard pattern begins with `prefix`.
fn some_start(wildcard: &str, prefix: &str) -> bool {
    let (whole, broken) = prefix.rsplit_once('.').map_or((None, prefix), |(whole, broken)| (Some(whole), broken));
    let mut parts = wildcard.split('.');
    let whole_fit = whole.is_none_or(|whole| {
        whole.split('.').all(|ours| parts.next().is_some_and(|part| part.is_empty() || part == ours))
    });
    whole_fit && parts.next().is_some_and(|part| part.is_empty() || part.starts_with(broken))
}

/// What stands before the first empty component.
fn literal_start(pattern: &str) -> &str {
    if pattern.starts_with('.') {
        return "";
    }
    pattern.find("..").map_or(pattern, |at| &pattern[..=at])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::transcript::rule;

    #[test]
    fn the_longest_rule_decides() {
        let permissions = Permissions::new([
            rule("", Match::Prefix, true),
            rule("com.secret.", Match::Prefix, false),
            rule("com.secret.open", Match::Exact, true),
            rule("com.closed", Match::Exact, false),
            rule("com..status", Match::Wildcard, false),
        ]);
        let check = |uri: &str, expected: bool| {
            assert_eq!(permissions.check(Deed::Publish, uri).is_some(), expected, "{uri}");
        };
        check("com.any", true);
        check("com.secret.x", false);
        check("com.secret.open", true);
        check("com.closed", false);
        check("com.closed.not", true);
        check("com.x.status", false);
        assert!(Permissions::default().check(Deed::Call, "com.any").is_none());
    }

    #[test]
    fn equal_length_prefers_the_prefix() {
        let permissions =
            Permissions::new([rule("com..x", Match::Wildcard, false), rule("com.ab", Match::Prefix, true)]);
        assert!(permissions.check(Deed::Call, "com.ab.x").is_some());
    }

    #[test]
    fn of_wildcards_of_equal_length_one_decides_whatever_their_order() {
        let (late, early) = (rule("a..x", Match::Wildcard, false), rule(".b.x", Match::Wildcard, true));
        for rules in [[late.clone(), early.clone()], [early, late]] {
            assert!(Permissions::new(rules).check(Deed::Call, "a.b.x").is_some());
        }
    }

    #[test]
    fn a_pattern_does_not_reach_into_what_is_denied() {
        let permissions = Permissions::new([
            rule("", Match::Prefix, true),
            rule("com.secret.", Match::Prefix, false),
            rule("org.hidden", Match::Exact, false),
            rule("net..key", Match::Wildcard, false),
        ]);
        let check = |pattern: &str, matching, expected: bool| {
            assert_eq!(permissions.check_pattern(pattern, matching), expected, "{pattern} {matching:?}");
        };
        check("com.", Match::Prefix, false);
        check("com.open.", Match::Prefix, true);
        check("com.secret.x", Match::Prefix, false);
        check("", Match::Prefix, false);
        check("org.", Match::Prefix, false);
        check("org.h", Match::Prefix, false);
        check(".hidden", Match::Wildcard, false);
        check("org..x", Match::Wildcard, true);
        check("com..x", Match::Wildcard, false);
        check("com.open.", Match::Wildcard, true);
        check("net.a.", Match::Wildcard, false);
        check("net.", Match::Prefix, false);
        check("edu.", Match::Prefix, true);
        check("com.open", Match::Exact, true);
    }

    #[test]
    fn a_pattern_does_not_reach_beyond_what_is_allowed() {
        let permissions = Permissions::new([
            rule("com.a", Match::Exact, true),
            rule("com.b.", Match::Prefix, true),
            rule("org..x", Match::Wildcard, true),
            rule("net.", Match::Prefix, true),
            rule("net..", Match::Wildcard, false),
        ]);
        let check = |pattern: &str, matching, expected: bool| {
            assert_eq!(permissions.check_pattern(pattern, matching), expected, "{pattern} {matching:?}");
        };
        check("com.a", Match::Exact, true);
        check("com.a", Match::Prefix, false);
        check("com.b.", Match::Prefix, true);
        check("com.b", Match::Prefix, false);
        check("com.b.c", Match::Prefix, true);
        check("com.b.", Match::Wildcard, true);
        check("com.b..x", Match::Wildcard, true);
        check("com..x", Match::Wildcard, false);
        check("org..x", Match::Wildcard, true);
        check("org.y.x", Match::Wildcard, true);
        check("org..", Match::Wildcard, false);
        check("org.y.x", Match::Prefix, false);
        // A longer prefix than the denying wildcard, and yet some of its topics belong to the wildcard.
        check("net.long_name", Match::Prefix, false);
        check("net.a.b.c", Match::Prefix, true);
        check("net.a.b.", Match::Wildcard, true);
        check("", Match::Prefix, false);
    }

    #[test]
    fn of_rules_of_equal_length_the_prefix_decides_and_else_the_denying_one_counts() {
        let check = |floor: &[(&str, Match)], denied: &str, pattern: &str, expected: bool| {
            let floor = floor.iter().map(|(uri, matching)| rule(uri, *matching, true));
            let permissions = Permissions::new(floor.chain([rule(denied, Match::Wildcard, false)]));
            assert_eq!(permissions.check_pattern(pattern, Match::Wildcard), expected, "{pattern} but not {denied}");
        };
        check(&[("a..", Match::Wildcard)], "..b", "a..", false);
        check(&[("..b", Match::Wildcard)], "a..", "..b", false);
        check(&[("a.", Match::Wildcard)], ".b", "a.", false);
        check(&[("a.", Match::Wildcard), ("a.", Match::Prefix)], ".b", "a.", true);
        check(&[("a.", Match::Prefix)], ".bc", "a.", false);
    }

    const PARTS: [&str; 3] = ["a", "b", "ab"];

    /// Every topic of up to three components.
    fn topics() -> Vec<String> {
        let one: Vec<String> = PARTS.map(str::to_owned).to_vec();
        let longer = |shorter: &[String]| -> Vec<String> {
            shorter.iter().flat_map(|start| PARTS.map(|part| format!("{start}.{part}"))).collect()
        };
        let two = longer(&one);
        let three = longer(&two);
        [one, two, three].concat()
    }

    fn rules() -> impl Strategy<Value = Rule> {
        let part = || proptest::sample::select(&["", "", "a", "b", "ab"][..]);
        let uri = proptest::collection::vec(part(), 1..4).prop_map(|parts| parts.join("."));
        let kind = prop_oneof![1 => Just(Match::Exact), 2 => Just(Match::Prefix), 3 => Just(Match::Wildcard)];
        (uri, kind, any::<bool>()).prop_map(|(uri, matching, allowed)| rule(&uri, matching, allowed))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2048))]

        #[test]
        fn whoever_subscribes_to_a_pattern_may_subscribe_to_each_of_its_topics(
            floor in any::<bool>(),
            rules in proptest::collection::vec(rules(), 0..8),
            pattern in rules(),
        ) {
            let permissions = Permissions::new(floor.then(|| rule("", Match::Prefix, true)).into_iter().chain(rules));
            if !permissions.check_pattern(&pattern.uri, pattern.matching) {
                return Ok(());
            }
            for topic in topics().iter().filter(|topic| pattern.matching.matches(&pattern.uri, topic)) {
                prop_assert!(permissions.check(Deed::Subscribe, topic).is_some(), "{topic}");
            }
        }
    }
}
