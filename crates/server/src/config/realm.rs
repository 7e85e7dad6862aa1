//! Realms, their roles, and what each role may do.
//!
//! Knows both generations of permissions: the starred URI with flat rights (2014), and `match`, `allow`, `disclose`.
//! Deliberately does not decide which of several matching permissions wins.

use std::cell::RefCell;
use std::collections::HashSet;

use super::reader::{Cursor, Dict, did_you_mean};

/// One realm of a router.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RealmConfig {
    /// The URI that clients join.
    pub name: String,
    /// Who may do what in it.
    pub roles: Vec<RoleConfig>,
    /// How it behaves.
    pub options: RealmOptions,
}

/// `options` of a realm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RealmOptions {
    /// How strictly URIs are checked.
    pub uri_check: UriCheck,
    /// Whether the meta procedures and events of WAMP are there.
    pub enable_meta_api: bool,
    /// Which request identifiers clients may use.
    pub request_ids: RequestIds,
}

impl Default for RealmOptions {
    fn default() -> Self {
        Self { uri_check: UriCheck::Loose, enable_meta_api: true, request_ids: RequestIds::Sequential }
    }
}

/// The two URI grammars of WAMP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UriCheck {
    /// No blanks and no `#` in a component.
    Loose,
    /// Lower-case letters, digits and `_` only.
    Strict,
}

/// What request identifiers a client may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestIds {
    /// 1, 2, 3 in each session, as WAMP demands; anything else ends the session.
    Sequential,
    /// Any identifier, for old clients that draw them at random.
    Any,
}

/// One role and its permissions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleConfig {
    /// The role that a session is given when it joins.
    pub name: String,
    /// What is not permitted is denied.
    pub permissions: Vec<PermissionConfig>,
}

/// What a role may do with the URIs that match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PermissionConfig {
    /// The URI, without the star of the 2014 form.
    pub uri: String,
    /// How `uri` is compared.
    pub matching: Match,
    /// May publish to such topics.
    pub publish: bool,
    /// May subscribe to such topics.
    pub subscribe: bool,
    /// May call such procedures.
    pub call: bool,
    /// May register such procedures.
    pub register: bool,
    /// Events tell subscribers who published them.
    pub disclose_publisher: bool,
    /// Invocations tell callees who called them.
    pub disclose_caller: bool,
}

/// How a URI pattern is compared with a URI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Match {
    /// Equal.
    Exact,
    /// Begins with it, octet by octet.
    Prefix,
    /// Equal in every component; an empty one in the pattern stands for any one component.
    Wildcard,
}

/// The words for the three.
pub(super) const MATCHES: [(&str, Match); 3] =
    [("exact", Match::Exact), ("prefix", Match::Prefix), ("wildcard", Match::Wildcard)];

/// The names that other parts of a router may refer to. Kept apart from `RealmConfig`, so that a fault inside a realm
/// does not make every reference to it a fault too.
#[derive(Debug, Default)]
pub(super) struct Roster {
    realms: Vec<(String, Vec<String>)>,
    /// What hubs have of the events of each realm: an event is in the log of one.
    bridged: RefCell<HashSet<(String, String, Match)>>,
}

impl Roster {
    /// Notes that a hub has the events of this realm on this URI or pattern; false when another one has.
    pub(super) fn bridge(&self, realm: &str, uri: &str, matching: Match) -> bool {
        self.bridged.borrow_mut().insert((realm.to_owned(), uri.to_owned(), matching))
    }

    pub(super) fn has_role(&self, role: &str) -> bool {
        self.realms.iter().any(|(_, roles)| roles.iter().any(|known| known == role))
    }

    /// Checks the role of an authenticated client, which may join any realm that knows the role.
    pub(super) fn role(&self, cursor: &Cursor<'_>) -> Option<String> {
        let role = cursor.name()?;
        if !self.has_role(role) {
            let roles = self.realms.iter().flat_map(|(_, roles)| roles).map(String::as_str);
            cursor.fault(format!("no realm of this router has a role '{role}'{}", did_you_mean(role, roles)));
        }
        Some(role.to_owned())
    }

    /// Takes and checks the `realm` and `role` of a service.
    pub(super) fn realm_and_role(&self, dict: &mut Dict<'_>) -> Option<(String, String)> {
        let (realm, role) = (dict.need("realm"), dict.need("role"));
        let (realm_name, role_name) = (realm.as_ref()?.name(), role.as_ref().and_then(Cursor::name));
        let name = realm_name?;
        let Some((_, roles)) = self.realms.iter().find(|(known, _)| known == name) else {
            let names = self.realms.iter().map(|(name, _)| name.as_str());
            realm?.fault(format!("this router has no realm '{name}'{}", did_you_mean(name, names)));
            return None;
        };
        let wanted = role_name?;
        if !roles.iter().any(|known| known == wanted) {
            let hint = did_you_mean(wanted, roles.iter().map(String::as_str));
            role?.fault(format!("the realm '{name}' has no role '{wanted}'{hint}"));
            return None;
        }
        Some((name.to_owned(), wanted.to_owned()))
    }
}

/// Reads the realms of a router.
pub(super) fn read_all(cursors: Vec<Cursor<'_>>, era: Era) -> (Vec<RealmConfig>, Roster) {
    let mut roster = Roster::default();
    let realms = cursors.iter().filter_map(|cursor| read(cursor, era, &mut roster)).collect();
    (realms, roster)
}

/// Which of Crossbar.io's two generations a configuration is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Era {
    /// Without a `version`.
    First,
    /// `"version": 2`.
    Second,
}

/// In the first generation a realm with a single role let everybody in with it, whatever the role's name: its
/// documentation has such a node. Transports with an `auth` of their own are not touched by this.
fn open_the_only_role(cursor: &Cursor<'_>, roles: &mut Vec<RoleConfig>, names: &mut Vec<String>) {
    const ANONYMOUS: &str = "anonymous";
    if let [only] = roles.as_slice()
        && only.name != ANONYMOUS
    {
        let name = &only.name;
        cursor.advise(format!(
            "'{name}' is the only role, so clients without authentication get its permissions, as Crossbar.io did it in \
             2014; add a role 'anonymous' to decide otherwise"
        ));
        let everybody = RoleConfig { name: ANONYMOUS.to_owned(), permissions: only.permissions.clone() };
        roles.push(everybody);
        names.push(ANONYMOUS.to_owned());
    }
}

fn read(cursor: &Cursor<'_>, era: Era, roster: &mut Roster) -> Option<RealmConfig> {
    let mut dict = cursor.dict()?;
    let name = dict.need("name").and_then(|name| {
        let text = name.name()?;
        if roster.realms.iter().any(|(known, _)| known == text) {
            name.fault(format!("a second realm '{text}' in this router"));
        } else if !is_uri(text) {
            name.must("a URI without blanks, '#' and empty components");
        }
        Some(text.to_owned())
    });
    let mut names = Vec::new();
    let mut roles: Vec<RoleConfig> = dict.list("roles").iter().filter_map(|cursor| role(cursor, &mut names)).collect();
    if era == Era::First {
        open_the_only_role(cursor, &mut roles, &mut names);
    }
    let options = options(&mut dict);
    dict.ignore("id", "realms go by their names");
    dict.ignore("store", "event history is not kept");
    dict.ignore("links", "router links are not supported");
    dict.ignore("rlinks", "router links are not supported");
    dict.finish();
    let name = name?;
    roster.realms.push((name.clone(), names));
    Some(RealmConfig { name, roles, options })
}

fn options(parent: &mut Dict<'_>) -> RealmOptions {
    let mut options = RealmOptions::default();
    let Some(mut dict) = parent.dict("options") else { return options };
    let checks = [("loose", UriCheck::Loose), ("strict", UriCheck::Strict)];
    if let Some(check) = dict.take("uri_check").and_then(|cursor| cursor.choice(&checks)) {
        options.uri_check = check;
    }
    dict.flag("enable_meta_api", &mut options.enable_meta_api);
    let ids = [("sequential", RequestIds::Sequential), ("any", RequestIds::Any)];
    if let Some(ids) = dict.take("request_ids").and_then(|cursor| cursor.choice(&ids)) {
        options.request_ids = ids;
    }
    dict.ignore("event_dispatching_chunk_size", "events are dispatched without chunks");
    dict.ignore("bridge_meta_api", "there is no management realm to bridge to");
    dict.finish();
    options
}

/// Whether a text is a URI by the loose rules: no blanks, no `#`, no empty component.
fn is_uri(text: &str) -> bool {
    has_uri_characters(text) && text.split('.').all(|component| !component.is_empty())
}

fn has_uri_characters(text: &str) -> bool {
    !text.contains(|c: char| c.is_whitespace() || c == '#')
}

fn role(cursor: &Cursor<'_>, names: &mut Vec<String>) -> Option<RoleConfig> {
    let mut dict = cursor.dict()?;
    let name = dict.need("name").and_then(|name| {
        let text = name.name()?.to_owned();
        if names.contains(&text) {
            name.fault(format!("a second role '{text}' in this realm"));
        }
        names.push(text.clone());
        Some(text)
    });
    let mut permissions: Vec<PermissionConfig> = Vec::new();
    for cursor in dict.list("permissions").iter() {
        let Some(permission) = permission(cursor) else { continue };
        let same = |known: &PermissionConfig| known.uri == permission.uri && known.matching == permission.matching;
        if permissions.iter().any(same) {
            cursor.fault("repeats the URI and match of a permission before it");
        }
        permissions.push(permission);
    }
    dict.refuse("authorizer");
    dict.ignore("id", "roles go by their names");
    dict.finish();
    Some(RoleConfig { name: name?, permissions })
}

fn permission(cursor: &Cursor<'_>) -> Option<PermissionConfig> {
    let mut dict = cursor.dict()?;
    let uri = dict.need("uri");
    let explicit = dict.take("match").map(|cursor| cursor.choice(&MATCHES));
    let mut permission = PermissionConfig {
        uri: String::new(),
        matching: Match::Exact,
        publish: false,
        subscribe: false,
        call: false,
        register: false,
        disclose_publisher: false,
        disclose_caller: false,
    };
    let flat = rights(&mut dict, &mut permission);
    if let Some(mut allow) = dict.dict("allow") {
        if flat {
            allow.fault("the rights stand beside 'allow' too; write them in one place");
        }
        rights(&mut allow, &mut permission);
        allow.finish();
    }
    if let Some(mut disclose) = dict.dict("disclose") {
        disclose.flag("publisher", &mut permission.disclose_publisher);
        disclose.flag("caller", &mut permission.disclose_caller);
        disclose.finish();
    }
    dict.ignore("cache", "permissions are always looked up in memory");
    dict.ignore("validate", "payloads are not validated");
    dict.finish();
    let uri = uri?;
    (permission.uri, permission.matching) = pattern(&uri, explicit)?;
    Some(permission)
}

/// Reads the four rights; tells whether any of them was there.
fn rights(dict: &mut Dict<'_>, into: &mut PermissionConfig) -> bool {
    let rights = [
        ("publish", &mut into.publish),
        ("subscribe", &mut into.subscribe),
        ("call", &mut into.call),
        ("register", &mut into.register),
    ];
    let mut any = false;
    for (key, right) in rights {
        if let Some(cursor) = dict.take(key) {
            any = true;
            *right = cursor.flag().unwrap_or(false);
        }
    }
    any
}

/// The URI and how it is matched. Without an explicit `match`, a star at the end makes a prefix and an empty component
/// a wildcard; with one, both are ordinary text.
pub(super) fn pattern(cursor: &Cursor<'_>, explicit: Option<Option<Match>>) -> Option<(String, Match)> {
    let text = cursor.text()?;
    if !has_uri_characters(text) {
        cursor.must("a URI without blanks and '#'");
        return None;
    }
    let (uri, matching) = match (explicit, text.strip_suffix('*')) {
        (Some(explicit), _) => (text, explicit?),
        (None, Some(prefix)) => (prefix, Match::Prefix),
        (None, None) if text.contains("..") => (text, Match::Wildcard),
        (None, None) => (text, Match::Exact),
    };
    if uri.is_empty() && matching == Match::Exact {
        cursor.fault("must not be empty; '*' means every URI");
        return None;
    }
    if matching == Match::Exact && !is_uri(uri) {
        cursor.must("a URI without empty components, which match nothing");
        return None;
    }
    if uri.contains('*') {
        let place = if explicit.is_some() { "without an explicit 'match'" } else { "at the end" };
        cursor.advise(format!("a '*' is a wildcard only {place}; here it is an ordinary character"));
    }
    Some((uri.to_owned(), matching))
}
