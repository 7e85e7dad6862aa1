//! A WebSub hub on a path of a web transport, and the paths that stand around it: its admin API, its topics, its streams.
//!
//! Knows how the options of `stentor_websub` and `stentor_delivery` are spelt, in which units, and within which limits;
//! what they mean is said there. Every key is taken in snake_case and in camelCase, as the settings of hosted hubs are
//! written. Deliberately does not resolve names, read certificates or compile anything that is thrown away again.

mod authenticator;
mod bridge;
mod census;
mod function;
mod options;

pub use authenticator::AuthenticatorConfig;
pub use bridge::{BridgeConfig, BridgeRule};
pub(super) use census::Census;
pub use function::{FunctionCode, FunctionConfig, is_function_name};

use super::gate::{self, GateOptions};
use super::path::Scope;
use super::reader::{Cursor, Dict};
use std::path::PathBuf;
use std::time::Duration;
use stentor_model::Secret;
use stentor_websub::address;
use stentor_websub::options::HubOptions;

/// A hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubConfig {
    /// What the store, the admin API and other paths call it; unique in the node.
    pub name: String,
    /// What the machine of subscriptions needs to know.
    pub options: HubOptions,
    /// Whether `options.hub_url` was made from a loopback endpoint. If that leaves the port to the system, the URL has
    /// none, and whoever listens has to put it in.
    pub hub_url_derived: bool,
    /// What the machine of deliveries needs to know.
    pub delivery: stentor_delivery::Options,
    /// Who may subscribe.
    pub authenticator: AuthenticatorConfig,
    /// Who may publish over HTTP. `None`: nobody.
    pub publish: Option<GateOptions>,
    /// Beginnings of the topics that pings may name. Empty: there are no pings.
    pub pings: Vec<String>,
    /// For one delivery, from connecting to the answer.
    pub delivery_timeout: Duration,
    /// For connecting alone, TLS included.
    pub connect_timeout: Duration,
    /// A PEM file with authorities that are trusted besides those of the system.
    pub certificate_authorities: Option<PathBuf>,
    /// Which WAMP events are publications of this hub.
    pub bridge: Option<BridgeConfig>,
}

/// The name of a hub on the root, whose path is no name.
const ROOT_NAME: &str = "hub";

/// Characters of an admin token. Fewer can be guessed by trying.
const ADMIN_TOKEN_CHARS_MIN: usize = 16;

/// Reads a `websub-hub`, whose `type` has been taken.
pub(super) fn read<'a>(place: &Cursor<'a>, dict: Dict<'a>, scope: Scope<'_, 'a>) -> Option<HubConfig> {
    let mut dict = dict.in_both_spellings().and_section("options");
    let name = name(&mut dict, scope);
    scope.census.declare(&name, place);
    let hub_url = dict.take("hub_url");
    let url = own_url(&dict, hub_url.as_ref(), "hub_url", scope);
    let authenticator = authenticator::read(&mut dict, scope);
    let publish = dict.take("publish").map(|cursor| publish(&cursor, scope));
    let pings = dict.list("pings").iter().filter_map(topic_prefix).collect();
    let bridge = bridge::read(&mut dict, scope.roster);
    let tuned = options::read(&mut dict);
    dict.finish();
    let (url, hub_url_derived) = url?;
    let mut options = tuned.hub;
    options.hub_url = url;
    // What this finds besides has been found while reading, at its own place.
    options.check().is_ok().then_some(())?;
    Some(HubConfig {
        name,
        options,
        hub_url_derived,
        delivery: tuned.delivery,
        authenticator: authenticator?,
        // A section with a fault in it must not turn into a hub that takes nothing, or everything.
        publish: publish.map_or(Some(None), |publish| publish.map(Some))?,
        pings,
        delivery_timeout: tuned.delivery_timeout,
        connect_timeout: tuned.connect_timeout,
        certificate_authorities: tuned.certificate_authorities,
        bridge: bridge?,
    })
}

/// The hub's name: as written, otherwise its path.
fn name(dict: &mut Dict<'_>, scope: Scope<'_, '_>) -> String {
    let by_path = || if scope.above.is_empty() { ROOT_NAME.to_owned() } else { scope.above.to_owned() };
    let Some(cursor) = dict.take("name") else { return by_path() };
    let Some(name) = cursor.name() else { return by_path() };
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./".contains(&byte);
    if name.len() > stentor_store::HUB_BYTES_MAX || !name.bytes().all(letter) {
        cursor.must(&format!("1 to {} letters, digits, '_', '-', '.' and '/'", stentor_store::HUB_BYTES_MAX));
    }
    name.to_owned()
}

/// A URL under which the node itself is reached, and whether it was made from the endpoint.
fn own_url(dict: &Dict<'_>, written: Option<&Cursor<'_>>, key: &str, scope: Scope<'_, '_>) -> Option<(String, bool)> {
    if let Some(cursor) = written {
        let url = cursor.name()?;
        // As strict as with callbacks: it is sent to others, who compare it octet by octet.
        if let Err(fault) = address::Callback::parse(url) {
            cursor.fault(format!("must be the public URL of this path; it {fault}"));
            return None;
        }
        return Some((url.to_owned(), false));
    }
    // An endpoint with a fault in it has been told about.
    let endpoint = scope.endpoint?;
    match endpoint.loopback_url() {
        Some(base) => Some((format!("{base}/{}", scope.above), true)),
        None => {
            dict.fault(format!(
                "missing required key '{key}': the public URL of this path, which only an endpoint on loopback knows by itself"
            ));
            None
        }
    }
}

fn publish(cursor: &Cursor<'_>, scope: Scope<'_, '_>) -> Option<GateOptions> {
    let gate = gate::read(cursor.dict()?.in_both_spellings(), scope.tls);
    let open = gate.key.is_none() && gate.require_ip.is_none();
    if open && scope.endpoint.is_some_and(|endpoint| !endpoint.is_loopback()) {
        cursor.advise("everybody who reaches this path may publish; set 'key' and 'secret', or 'require_ip'");
    }
    Some(gate)
}

/// The beginning of topics. Without a slash behind the host, `https://example.com` would begin `https://example.com.evil/`.
fn topic_prefix(cursor: &Cursor<'_>) -> Option<String> {
    let text = cursor.name()?;
    if let Err(fault) = address::topic(text) {
        cursor.fault(format!("must be the beginning of topic URLs; it {fault}"));
        return None;
    }
    let has_path = text.split_once("://").is_some_and(|(_, rest)| rest.contains('/'));
    if !has_path {
        cursor.must("the beginning of topic URLs with a '/' after the host, such as 'https://example.com/'");
        return None;
    }
    Some(address::canonical(text).into_owned())
}

/// Reads the required token of a `hub-admin`. A value with a fault in it is not repeated.
pub(super) fn admin_token<'a>(place: &Cursor<'a>, dict: &mut Dict<'a>, census: &Census<'a>) -> Option<Secret> {
    census.administer(place.clone());
    let cursor = dict.need("token")?;
    let token = gate::secret(&cursor)?;
    let text = token.expose();
    if text.chars().count() < ADMIN_TOKEN_CHARS_MIN || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        cursor.fault(format!(
            "must be at least {ADMIN_TOKEN_CHARS_MIN} printable ASCII characters without blanks, drawn at random"
        ));
        return None;
    }
    Some(token)
}

/// Takes the `hub` that a path belongs to.
pub(super) fn belongs<'a>(dict: &mut Dict<'a>, census: &Census<'a>) -> Option<String> {
    let cursor = dict.need("hub")?;
    let name = cursor.name()?.to_owned();
    census.refer(cursor);
    Some(name)
}

/// Takes the `base_url` of topics, which ends with a slash whether it was written or not, and whether it was made from the
/// endpoint.
pub(super) fn base_url(dict: &mut Dict<'_>, scope: Scope<'_, '_>) -> Option<(String, bool)> {
    let cursor = dict.take("base_url");
    let (mut url, derived) = own_url(dict, cursor.as_ref(), "base_url", scope)?;
    if let Some(cursor) = cursor.filter(|_| url.contains(['?', '#'])) {
        cursor.must("a URL without '?' and '#', because what follows the path is appended");
        return None;
    }
    if !url.ends_with('/') {
        url.push('/');
    }
    Some((url, derived))
}
