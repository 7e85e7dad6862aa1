//! `bridge` of a hub: WAMP events that are publications of the hub too.

use super::super::reader::{Cursor, Dict};
use super::super::realm::{self, MATCHES, Match, Roster};
use stentor_websub::address;

/// Which events of a realm are publications of a hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BridgeConfig {
    /// Where events come from, and go to when the hub is published to.
    pub realm: String,
    /// As whom they are published there.
    pub role: String,
    /// The URIs; the first rule that matches decides.
    pub rules: Vec<BridgeRule>,
}

/// One bridged URI or pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BridgeRule {
    /// The URI, without the star of the 2014 form.
    pub uri: String,
    /// How it is compared.
    pub matching: Match,
    /// The topic, in which `{uri}` stands for the whole URI.
    pub topic: String,
}

/// What stands for the URI in a template.
const PLACEHOLDER: &str = "{uri}";

/// Takes `bridge` with its `realm` and `role` out of the options of a hub. The outer `None` is a fault, the inner one is no
/// bridge.
pub(super) fn read(dict: &mut Dict<'_>, roster: &Roster) -> Option<Option<BridgeConfig>> {
    let Some(list) = dict.take("bridge") else { return Some(None) };
    let names = roster.realm_and_role(dict);
    let items = list.list()?;
    if items.is_empty() {
        list.fault("must hold at least one rule; leave 'bridge' out to bridge nothing");
    }
    let mut rules: Vec<BridgeRule> = Vec::new();
    for item in &items {
        let Some(rule) = rule(item) else { continue };
        if rules.iter().any(|known| known.uri == rule.uri && known.matching == rule.matching) {
            item.fault("repeats the URI and match of a rule before it");
            continue;
        }
        let realm = names.as_ref().map(|(realm, _)| realm);
        if realm.is_some_and(|realm| !roster.bridge(realm, &rule.uri, rule.matching)) {
            item.fault("repeats the URI and match of a rule of another hub: an event is in the log of one");
        }
        rules.push(rule);
    }
    let (realm, role) = names?;
    Some(Some(BridgeConfig { realm, role, rules }))
}

fn rule(cursor: &Cursor<'_>) -> Option<BridgeRule> {
    let mut dict = cursor.dict()?;
    let uri = dict.need("uri");
    let explicit = dict.take("match").map(|cursor| cursor.choice(&MATCHES));
    let template = dict.need("topic");
    dict.finish();
    let (uri, matching) = realm::pattern(&uri?, explicit)?;
    let topic = topic(&template?, matching)?;
    Some(BridgeRule { uri, matching, topic })
}

fn topic(cursor: &Cursor<'_>, matching: Match) -> Option<String> {
    let text = cursor.name()?;
    if matching != Match::Exact && !text.contains(PLACEHOLDER) {
        cursor.fault("must contain '{uri}', because this rule covers many URIs and each needs a topic of its own");
        return None;
    }
    let filled = text.replace(PLACEHOLDER, "com.example.uri");
    if filled.contains(['{', '}']) {
        cursor.fault("must not have braces other than those of '{uri}'");
        return None;
    }
    // The host is no place for it: events would choose whom the hub speaks for.
    let host = text.split_once("://").and_then(|(_, rest)| rest.split('/').next());
    if host.is_some_and(|host| host.contains(PLACEHOLDER)) {
        cursor.fault("must have '{uri}' behind the host");
        return None;
    }
    if let Err(fault) = address::topic(&filled) {
        cursor.fault(format!("must be a topic URL such as 'https://example.com/topics/{{uri}}'; it {fault}"));
        return None;
    }
    Some(text.to_owned())
}
