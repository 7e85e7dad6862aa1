//! From the configuration of hubs to hubs that run.

use std::collections::HashMap;
use std::sync::Arc;

use stentor_store::Hub as HubName;
use stentor_wamp::uri::Match;
use stentor_websub::authenticator::token::Tokens;
use tokio::sync::mpsc;

use super::wiring::internal_identity;
use crate::clock::Clock;
use crate::config::{
    self, AuthenticatorConfig, BridgeConfig, BridgeRule, FunctionCode, FunctionConfig, HubConfig, NodeConfig,
    PathConfig, StoreConfig, StoreKind, TransportKind,
};
use crate::courier;
use crate::hub::{Bridge, CROSSERS_MAX, Hub, Judge, Options, Settings, Works};
use crate::meter::Meters;
use crate::realm::{Crossing, Directory, Realm, Rule};
use crate::sidecar::{self, Sidecar, Source};

/// The hubs of a node.
#[derive(Debug, Default)]
pub struct Hubs {
    works: Option<Works>,
    by_name: HashMap<String, Arc<Hub>>,
}

impl Hubs {
    /// The hub of this name, which the configuration has checked to be there.
    pub(super) fn get(&self, name: &str) -> Option<&Arc<Hub>> {
        self.by_name.get(name)
    }

    /// All of them, in the order of the configuration.
    pub(super) fn all(&self) -> &[Arc<Hub>] {
        self.works.as_ref().map_or(&[], Works::hubs)
    }

    /// Lets webhooks end and closes the store. Blocks.
    pub(super) fn stop(self) {
        if let Some(works) = self.works {
            works.stop();
        }
    }
}

/// Opens the store and starts the hubs, if there are any. `urls` are those of the transports, in the order of the
/// configuration.
pub(super) fn start(
    config: &NodeConfig,
    (urls, directories): (&[String], &[Arc<Directory>]),
    (meters, clock): (&Arc<Meters>, &Arc<Clock>),
    seed: &mut impl FnMut() -> u64,
) -> Result<Hubs, String> {
    let mut found = Vec::new();
    let routers = config.routers.iter().zip(directories);
    let transports = routers.flat_map(|(router, directory)| router.transports.iter().map(move |one| (one, directory)));
    for ((transport, directory), url) in transports.zip(urls) {
        if let TransportKind::Web { paths, .. } = &transport.kind {
            let mut here = Vec::new();
            collect(paths, url, &mut here);
            found.extend(here.into_iter().map(|(hub, url)| (hub, url, directory)));
        }
    }
    if found.is_empty() {
        return Ok(Hubs::default());
    }
    let names: Vec<String> = found.iter().map(|(hub, ..)| hub.name.clone()).collect();
    let mut crossings = HashMap::new();
    let mut all = Vec::new();
    for (hub, url, directory) in found {
        let mut options = options(hub, url, meters)?;
        options.bridge = hub.bridge.as_ref().map(|one| bridge(one, directory, &mut crossings, seed())).transpose()?;
        all.push(options);
    }
    for (realm, crossings) in crossings.into_values() {
        realm.bridge(crossings);
    }
    let options = all;
    let works = Works::start(settings(&config.store), options, Arc::clone(meters), Arc::clone(clock));
    let works = works.map_err(|fault| fault.to_string())?;
    let by_name = names.into_iter().zip(works.hubs().iter().cloned()).collect();
    Ok(Hubs { works: Some(works), by_name })
}

/// The bridge of a hub. Both ends of its queue are made here: the realm's waits in `crossings` until all hubs are known.
fn bridge(
    config: &BridgeConfig,
    directory: &Directory,
    crossings: &mut HashMap<*const Realm, (Arc<Realm>, Vec<Crossing>)>,
    seed: u64,
) -> Result<Bridge, String> {
    let realm = directory
        .get(&config.realm)
        .ok_or_else(|| format!("a bridge names no realm of its router: {}", config.realm))?;
    let rule = |rule: &BridgeRule| Rule {
        uri: rule.uri.clone(),
        matching: match rule.matching {
            config::Match::Exact => Match::Exact,
            config::Match::Prefix => Match::Prefix,
            config::Match::Wildcard => Match::Wildcard,
        },
        template: rule.topic.clone(),
    };
    let rules: Vec<Rule> = config.rules.iter().map(rule).collect();
    let (queue, crossers) = mpsc::channel(CROSSERS_MAX);
    let (_, of_realm) = crossings.entry(Arc::as_ptr(realm)).or_insert_with(|| (Arc::clone(realm), Vec::new()));
    let is_taken =
        |rule: &&Rule| of_realm.iter().any(|one| (&one.rule.uri, one.rule.matching) == (&rule.uri, rule.matching));
    if let Some(rule) = rules.iter().find(is_taken) {
        return Err(format!(
            "two hubs bridge \"{}\" in the realm {}; an event is in the log of one",
            rule.uri, realm.name
        ));
    }
    of_realm.extend(rules.iter().map(|rule| Crossing { rule: rule.clone(), queue: queue.clone() }));
    let identity = Arc::new(internal_identity(&config.role, seed));
    Ok(Bridge { realm: Arc::clone(realm), identity, rules, crossers })
}

/// Every hub with the URL that it advertises.
fn collect<'c>(paths: &'c [(String, PathConfig)], above: &str, found: &mut Vec<(&'c HubConfig, String)>) {
    for (path, config) in paths {
        let url = format!("{above}/{}", path.trim_matches('/'));
        match config {
            PathConfig::WebSubHub(hub) if hub.hub_url_derived => found.push((hub, url)),
            PathConfig::WebSubHub(hub) => found.push((hub, hub.options.hub_url.clone())),
            PathConfig::Nested { paths } => collect(paths, &url, found),
            _ => {}
        }
    }
}

fn settings(config: &StoreConfig) -> Settings {
    let file = match &config.kind {
        StoreKind::Sqlite { path } => Some(path.clone()),
        StoreKind::Memory => None,
    };
    Settings { file, limits: config.limits.clone() }
}

fn options(config: &HubConfig, url: String, meters: &Arc<Meters>) -> Result<Options, String> {
    let name = &config.name;
    let mut websub = config.options.clone();
    websub.hub_url = url;
    Ok(Options {
        name: HubName::parse(name).map_err(|error| format!("hub {name}: {error}"))?,
        websub,
        delivery: config.delivery.clone(),
        judge: Arc::new(match &config.authenticator {
            AuthenticatorConfig::None => Judge::Nobody,
            AuthenticatorConfig::AllowAll => Judge::Everybody,
            AuthenticatorConfig::Static(tokens) => {
                let fault = |(identity, fault)| format!("hub {name}: the scopes of {identity}: {fault}");
                Judge::Tokens(Tokens::new(tokens).map_err(fault)?)
            }
            AuthenticatorConfig::Forward { url, timeout } => {
                Judge::Forward { url: url.as_str().into(), timeout: *timeout }
            }
            AuthenticatorConfig::Function(function) => {
                let fault = |error| format!("hub {name}: there is no thread for its authenticator: {error}");
                Judge::Function(Sidecar::start(sidecar_options(name, function), Arc::clone(meters)).map_err(fault)?)
            }
        }),
        bridge: None,
        pings: config.pings.clone(),
        delivery_timeout: config.delivery_timeout,
        connect_timeout: config.connect_timeout,
        roots: Arc::new(courier::roots(config.certificate_authorities.as_deref())?),
    })
}

/// What the function of a hub needs to run.
#[must_use]
pub(crate) fn sidecar_options(hub: &str, config: &FunctionConfig) -> sidecar::Options {
    let node_dir = std::path::absolute(&config.node_dir).unwrap_or_else(|_| config.node_dir.clone());
    let above = node_dir.parent().and_then(|dir| dir.file_name());
    sidecar::Options {
        hub: hub.to_owned(),
        tenant: above.map_or_else(|| "stentor".to_owned(), |name| name.to_string_lossy().into_owned()),
        source: function_source(config),
        requirements: config.requirements.clone(),
        config: config.config.clone(),
        timeout: config.timeout,
        workers: config.workers,
        python: config.python.clone(),
        memory_bytes_max: config.memory_bytes_max,
        node_dir,
    }
}

/// Where the code of a function is.
#[must_use]
pub(super) fn function_source(config: &FunctionConfig) -> Source {
    match &config.code {
        FunctionCode::Inline { code, .. } => Source::Inline { code: code.clone() },
        FunctionCode::Named { name, .. } => Source::named(name, &config.node_dir),
    }
}
