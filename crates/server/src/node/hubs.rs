//! From the configuration of hubs to hubs that run.

use std::collections::HashMap;
use std::sync::Arc;

use stentor_store::Hub as HubName;
use stentor_websub::authenticator::token::Tokens;

use crate::clock::Clock;
use crate::config::{AuthenticatorConfig, HubConfig, NodeConfig, PathConfig, StoreConfig, StoreKind, TransportKind};
use crate::courier;
use crate::hub::{Hub, Judge, Options, Settings, Works};
use crate::meter::Meters;

/// The hubs of a node.
#[derive(Debug, Default)]
pub(super) struct Hubs {
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
    urls: &[String],
    meters: &Arc<Meters>,
    clock: &Arc<Clock>,
) -> Result<Hubs, String> {
    let mut found = Vec::new();
    let transports = config.routers.iter().flat_map(|router| &router.transports);
    for (transport, url) in transports.zip(urls) {
        if let TransportKind::Web { paths, .. } = &transport.kind {
            collect(paths, url, &mut found);
        }
    }
    if found.is_empty() {
        return Ok(Hubs::default());
    }
    let names: Vec<String> = found.iter().map(|(hub, _)| hub.name.clone()).collect();
    let options = found.into_iter().map(|(hub, url)| options(hub, url)).collect::<Result<Vec<_>, _>>()?;
    let works = Works::start(settings(&config.store), options, Arc::clone(meters), Arc::clone(clock));
    let works = works.map_err(|fault| fault.to_string())?;
    let by_name = names.into_iter().zip(works.hubs().iter().cloned()).collect();
    Ok(Hubs { works: Some(works), by_name })
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

fn options(config: &HubConfig, url: String) -> Result<Options, String> {
    let name = &config.name;
    let mut websub = config.options.clone();
    websub.hub_url = url;
    Ok(Options {
        name: HubName::parse(name).map_err(|error| format!("hub {name}: {error}"))?,
        websub,
        delivery: config.delivery.clone(),
        judge: match &config.authenticator {
            AuthenticatorConfig::None => Judge::Nobody,
            AuthenticatorConfig::AllowAll => Judge::Everybody,
            AuthenticatorConfig::Static(tokens) => {
                let fault = |(identity, fault)| format!("hub {name}: the scopes of {identity}: {fault}");
                Judge::Tokens(Tokens::new(tokens).map_err(fault)?)
            }
            AuthenticatorConfig::Forward { url, timeout } => {
                Judge::Forward { url: url.as_str().into(), timeout: *timeout }
            }
        },
        pings: config.pings.clone(),
        delivery_timeout: config.delivery_timeout,
        connect_timeout: config.connect_timeout,
        roots: Arc::new(courier::roots(config.certificate_authorities.as_deref())?),
    })
}
