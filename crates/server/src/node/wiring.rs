//! From the configuration to services, and from a new configuration to the services that run.
//!
//! Each service gets its own small part of the configuration; nothing below this room sees the whole.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use stentor_model::{Secret, SessionId};
use stentor_wamp::auth::{AuthPolicy, CraUser, Salting, TicketPrincipal};
use stentor_wamp::codec::Format;
use stentor_wamp::identity::{Features, Identity};
use stentor_wamp::permission::{Permissions, Rule};
use stentor_wamp::router::{MetaApi, Settings};
use stentor_wamp::session::RequestIds;
use stentor_wamp::uri::{self, Match};
use stentor_websocket::closing::Failure;
use stentor_websocket::decoder::{MaskRule, Utf8Rule};
use stentor_websocket::deflate::Policy;
use stentor_websocket::handshake::{NullOrigin, Origins};
use stentor_websocket::keepalive::{self, SignOfLife};

use super::descriptors;
use super::hubs::Hubs;
use crate::clock::{Clock, ticks_of};
use crate::config::{
    self, AuthConfig, AuthenticatorConfig, EndpointConfig, GateOptions, LimitsConfig, NodeConfig, PathConfig,
    PublisherKind, RealmConfig, RouterConfig, TransportConfig, TransportKind, WebSocketConfig,
};
use crate::http::{
    AdminService, BODY_BYTES_MAX, Bounds, Caching, CallService, CrossOrigin, Crowd, Files, Front, House, HubService,
    Ingress, JsonPage, Limits, Listing, NodeInfo, PushService, Service, Site, StatusPage, StreamService, Subject,
    Submitter, Token, TopicService, Watch, WatchService, is_loopback,
};
use crate::hub::Hub;
use crate::meter::{Gauge, Tally};
use crate::pusher::answer::ServiceName;
use crate::pusher::gate::{self, Memories};
use crate::pusher::signature;
use crate::realm::{Directory, Realm};
use crate::socket::reader::{Reader, ReaderThread};
use crate::socket::unfinished::Unfinished;
use crate::socket::{CloseEcho, Habits, SocketService, Speech, SubprotocolRule};

/// One router of the node: its realms, and what its transports serve.
#[derive(Debug)]
pub struct Wired {
    /// The realms by name.
    pub directory: Arc<Directory>,
    /// What each transport of the configuration serves, in its order.
    pub fronts: Vec<Arc<Ingress>>,
}

/// A configuration come to life.
#[derive(Debug)]
pub struct Wiring {
    /// The routers, in the order of the configuration.
    pub routers: Vec<Wired>,
    /// Who knows how the node does.
    pub watch: Arc<Watch>,
    /// Who reads long messages.
    pub reader: ReaderThread,
}

/// Whether the test-only echo services may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Echo {
    /// They may.
    Enabled,
    /// They may not: an echo service is a free amplifier.
    Refused,
}

/// Builds everything that a configuration asks for. `urls` are those of the transports, in its order; `seed` feeds
/// identifiers.
///
/// # Errors
/// A sentence when an echo service is configured and not enabled, or there is no thread to read with.
pub fn wire(
    config: &NodeConfig,
    echo: Echo,
    (tally, clock): (&Tally, &Arc<Clock>),
    (hubs, urls, directories): (&Hubs, &[String], Vec<Arc<Directory>>),
    seed: &mut impl FnMut() -> u64,
) -> Result<Wiring, String> {
    let realms = directories.iter().flat_map(|directory| directory.0.values().cloned()).collect();
    let watch = Arc::new(Watch::new(tally.clone(), Arc::clone(clock), realms, hubs.all().to_vec()));
    let house = House::new(descriptors::for_connections());
    let reader =
        Reader::start(Arc::clone(tally.accepting())).map_err(|error| format!("a thread cannot be started: {error}"))?;
    let shared = Shared { memories: Arc::default(), house, watch: Arc::clone(&watch), reader: reader.reader(), hubs };
    let mut urls = urls.iter().cloned();
    let wire = |(router, directory)| wire_router(router, directory, &mut urls, &shared, echo, seed);
    let routers = config.routers.iter().zip(directories).map(wire).collect::<Result<_, _>>()?;
    Ok(Wiring { routers, watch, reader })
}

/// What all routers of a node have in common.
struct Shared<'h> {
    memories: Arc<Memories>,
    house: Arc<House>,
    watch: Arc<Watch>,
    reader: Reader,
    hubs: &'h Hubs,
}

/// The realms of each router.
#[must_use]
pub fn directories(config: &NodeConfig, seed: &mut impl FnMut() -> u64) -> Vec<Arc<Directory>> {
    config.routers.iter().map(|router| directory(router, seed)).collect()
}

/// Who publishes for the node itself: nobody but a role.
pub(super) fn internal_identity(role: &str, seed: u64) -> Identity {
    Identity {
        session: SessionId::from_random(seed),
        authid: "".into(),
        authrole: role.into(),
        authmethod: "internal",
        authprovider: "static",
        features: Features::default(),
    }
}

fn directory(config: &RouterConfig, seed: &mut impl FnMut() -> u64) -> Arc<Directory> {
    let realms = config.realms.iter().map(|realm| {
        let name = realm.name.clone();
        (name.clone(), Realm::new(name, settings(realm), seed()))
    });
    Arc::new(Directory(realms.collect()))
}

fn wire_router(
    config: &RouterConfig,
    directory: Arc<Directory>,
    urls: &mut impl Iterator<Item = String>,
    shared: &Shared<'_>,
    echo: Echo,
    seed: &mut impl FnMut() -> u64,
) -> Result<Wired, String> {
    let mut fronts = Vec::new();
    for transport in &config.transports {
        let unfinished = Arc::new(Unfinished::new(transport.limits.bodies_bytes_max));
        let url = urls.next().unwrap_or_default();
        let mut builder = Builder { directory: &directory, shared, url, open: Arc::default(), unfinished, echo, seed };
        fronts.push(Arc::new(builder.ingress(transport)?));
    }
    Ok(Wired { directory, fronts })
}

fn settings(realm: &RealmConfig) -> Settings {
    let roles = realm.roles.iter().map(|role| {
        let rules = role.permissions.iter().map(|permission| Rule {
            uri: permission.uri.clone(),
            matching: match permission.matching {
                config::Match::Exact => Match::Exact,
                config::Match::Prefix => Match::Prefix,
                config::Match::Wildcard => Match::Wildcard,
            },
            publish: permission.publish,
            subscribe: permission.subscribe,
            call: permission.call,
            register: permission.register,
            disclose_publisher: permission.disclose_publisher,
            disclose_caller: permission.disclose_caller,
        });
        (role.name.as_str().into(), Permissions::new(rules))
    });
    Settings {
        roles: roles.collect(),
        uri_rule: match realm.options.uri_check {
            config::UriCheck::Loose => uri::Rule::Loose,
            config::UriCheck::Strict => uri::Rule::Strict,
        },
        request_ids: match realm.options.request_ids {
            config::RequestIds::Sequential => RequestIds::Sequential,
            config::RequestIds::Any => RequestIds::Any,
        },
        meta_api: if realm.options.enable_meta_api { MetaApi::On } else { MetaApi::Off },
    }
}

struct Builder<'b, S> {
    directory: &'b Arc<Directory>,
    shared: &'b Shared<'b>,
    /// Where the transport is reached.
    url: String,
    /// The WebSocket connections of the transport, over all its paths.
    open: Arc<Gauge>,
    /// What is held of unfinished messages on it.
    unfinished: Arc<Unfinished>,
    echo: Echo,
    seed: &'b mut S,
}

impl<S: FnMut() -> u64> Builder<'_, S> {
    fn ingress(&mut self, transport: &TransportConfig) -> Result<Ingress, String> {
        let crowd = Crowd::new(bounds(&transport.limits), Arc::clone(&self.shared.house));
        match &transport.kind {
            TransportKind::WebSocket(socket) => Ok(Ingress {
                front: Front::Socket {
                    service: Arc::new(self.socket(socket)),
                    status_page: status_page(&socket.options),
                },
                access_log: false,
                hsts: None,
                limits: limits(&transport.limits, socket.options.open_handshake_timeout),
                crowd,
                local_watch: None,
            }),
            TransportKind::Web { paths, options } => {
                let mut site = Site::default();
                for (path, service) in paths {
                    self.add(&mut site, path, service)?;
                }
                let hsts = options.hsts.then(|| format!("max-age={}", options.hsts_max_age.as_secs()));
                Ok(Ingress {
                    front: Front::Site(site),
                    access_log: options.access_log,
                    hsts,
                    limits: limits(&transport.limits, options.client_timeout),
                    crowd,
                    local_watch: (options.observability && is_local(&transport.endpoint))
                        .then(|| Arc::clone(&self.shared.watch)),
                })
            }
        }
    }

    fn add(&mut self, site: &mut Site, path: &str, config: &PathConfig) -> Result<(), String> {
        let service = match config {
            PathConfig::Static { directory, options } => Service::Files(Files {
                directory: directory.clone(),
                default_file: options.default_file.clone(),
                listing: if options.enable_directory_listing { Listing::On } else { Listing::Off },
                cache: options.cache_timeout,
                mime_types: options.mime_types.clone(),
            }),
            PathConfig::WebSocket(socket) => {
                Service::Socket(Arc::new(self.socket(socket)), status_page(&socket.options))
            }
            PathConfig::Publisher { dialect, realm, role, options } => Service::Push(Arc::new(PushService {
                submitter: self.submitter(path, realm, role, options)?,
                name: match dialect {
                    PublisherKind::Pusher => ServiceName::Pusher,
                    PublisherKind::Publisher => ServiceName::Publisher,
                },
            })),
            PathConfig::Caller { realm, role, options } => {
                Service::Call(Arc::new(CallService { submitter: self.submitter(path, realm, role, options)? }))
            }
            PathConfig::Redirect { url } => Service::Redirect(url.clone()),
            PathConfig::Json { value, options } => {
                let text = if options.prettify { format!("{value:#}") } else { value.to_string() };
                Service::Json(JsonPage {
                    text: Bytes::from(text),
                    cross_origin: if options.allow_cross_origin { CrossOrigin::Allowed } else { CrossOrigin::Denied },
                    caching: if options.discourage_caching { Caching::Discouraged } else { Caching::Normal },
                })
            }
            PathConfig::NodeInfo => {
                let mut realms: Vec<_> = self.directory.0.keys().cloned().collect();
                realms.sort();
                Service::NodeInfo(NodeInfo { realms })
            }
            PathConfig::Nested { paths } => {
                for (below, service) in paths {
                    self.add(site, &format!("{path}/{below}"), service)?;
                }
                return Ok(());
            }
            PathConfig::Echo(_) if self.echo == Echo::Refused => {
                return Err(format!(
                    "path \"{path}\" has type echo, which is for tests only: start with --enable-echo"
                ));
            }
            PathConfig::Echo(socket) => {
                Service::Socket(Arc::new(self.service(socket, Speech::Echo)), status_page(&socket.options))
            }
            PathConfig::Demo => Service::Demo,
            PathConfig::WebSubHub(_)
            | PathConfig::HubAdmin { .. }
            | PathConfig::WebSubTopic { .. }
            | PathConfig::Sse { .. } => self.hub_service(path, config)?,
            PathConfig::Metrics { token } => self.watch_service(Subject::Metrics, token.as_ref()),
            PathConfig::Health { token } => self.watch_service(Subject::Health, token.as_ref()),
        };
        site.add(path, service);
        Ok(())
    }

    /// A hub, or a path that stands around one.
    fn hub_service(&self, path: &str, config: &PathConfig) -> Result<Service, String> {
        Ok(match config {
            PathConfig::WebSubHub(config) => {
                let hub = self.hub(path, &config.name)?;
                let publish = hub_gate(config);
                Service::Hub(Arc::new(HubService::new(hub, publish, Arc::clone(&self.shared.memories))))
            }
            PathConfig::HubAdmin { token } => Service::Admin(Arc::new(AdminService {
                token: Token::new(token),
                hubs: self.shared.hubs.all().to_vec(),
            })),
            PathConfig::WebSubTopic { hub, base_url, base_url_derived } => {
                // A URL made from the endpoint has the port that the system chose.
                let base_url = if *base_url_derived { format!("{}/{path}/", self.url) } else { base_url.clone() };
                Service::Topic(TopicService { hub: self.hub(path, hub)?, base_url })
            }
            PathConfig::Sse { hub } => Service::Stream(StreamService { hub: self.hub(path, hub)? }),
            _ => return Err(format!("path \"{path}\" is no hub's")),
        })
    }

    fn hub(&self, path: &str, name: &str) -> Result<Arc<Hub>, String> {
        let hub = self.shared.hubs.get(name).cloned();
        hub.ok_or_else(|| format!("path \"{path}\" names the hub {name}, which this node has not"))
    }

    fn watch_service(&self, subject: Subject, token: Option<&Secret>) -> Service {
        Service::Watch(WatchService { subject, token: token.map(Token::new), watch: Arc::clone(&self.shared.watch) })
    }

    fn submitter(&mut self, path: &str, realm: &str, role: &str, options: &GateOptions) -> Result<Submitter, String> {
        let realm = self.directory.get(realm).ok_or_else(|| format!("path \"{path}\" names no realm of its router"))?;
        let identity = Arc::new(internal_identity(role, (self.seed)()));
        let path = format!("/{}", path.trim_matches('/'));
        let conditions = (gate_options(options), options.cors.clone());
        let (memories, reader) = (Arc::clone(&self.shared.memories), self.shared.reader.clone());
        Ok(Submitter::new(conditions, memories, Arc::clone(realm), identity, path, reader))
    }

    fn socket(&self, config: &WebSocketConfig) -> SocketService {
        let policy = std::sync::RwLock::new(Arc::new(auth_policy(&config.auth)));
        self.service(config, Speech::Wamp { directory: Arc::clone(self.directory), policy })
    }

    fn service(&self, config: &WebSocketConfig, speech: Speech) -> SocketService {
        let options = &config.options;
        let null = if options.allow_null_origin { NullOrigin::Allow } else { NullOrigin::Refuse };
        let formats = config.serializers.iter().filter_map(|one| Format::from_subprotocol(one.subprotocol()));
        SocketService {
            speech,
            habits: habits(options),
            origins: Origins::new(&options.allowed_origins, null),
            formats: formats.collect(),
            compression: options.deflate.as_ref().map(|deflate| Policy {
                max_window_bits: deflate.max_window_bits.unwrap_or(15),
                request_max_window_bits: deflate.request_max_window_bits.unwrap_or(15),
            }),
            unfinished: Arc::clone(&self.unfinished),
            reader: self.shared.reader.clone(),
            open: Arc::clone(&self.open),
        }
    }
}

/// Whether only programs on this machine can reach an endpoint. Names other than `localhost` are not resolved here: what
/// they mean may change.
fn is_local(endpoint: &EndpointConfig) -> bool {
    match endpoint {
        EndpointConfig::Tcp { interface, .. } => interface.as_deref().is_some_and(is_loopback),
        EndpointConfig::Unix { .. } => true,
    }
}

fn status_page(options: &config::WebSocketOptions) -> StatusPage {
    match (options.enable_webstatus, options.show_server_version) {
        (false, _) => StatusPage::Off,
        (true, true) => StatusPage::WithVersion,
        (true, false) => StatusPage::Plain,
    }
}

fn habits(options: &config::WebSocketOptions) -> Habits {
    let ticks = |duration: Option<Duration>| duration.map_or(0, ticks_of);
    Habits {
        frame_bytes_max: options.max_frame_size,
        message_bytes_max: options.max_message_size,
        fragment_bytes: options.auto_fragment_size.unwrap_or(0),
        outbox_bytes_max: options.outbox_bytes_max,
        subscriptions_max: options.max_subscriptions_per_session,
        connections_max: options.max_sessions,
        open_ticks: ticks_of(options.open_handshake_timeout),
        close_ticks: ticks_of(options.close_handshake_timeout),
        keepalive: keepalive::Policy {
            interval: ticks(options.auto_ping_interval),
            timeout: ticks(options.auto_ping_timeout),
            sign: if options.auto_ping_restart_on_any_traffic { SignOfLife::Traffic } else { SignOfLife::Pong },
        },
        ping_bytes: options.auto_ping_size,
        mask: if options.require_masked_client_frames { MaskRule::Required } else { MaskRule::Optional },
        utf8: if options.validate_utf8 { Utf8Rule::Strict } else { Utf8Rule::Replace },
        failure: if options.fail_by_drop { Failure::Drop } else { Failure::Close },
        close_echo: if options.echo_close_codereason { CloseEcho::CodeAndReason } else { CloseEcho::Code },
        subprotocol: if options.require_websocket_subprotocol {
            SubprotocolRule::Required
        } else {
            SubprotocolRule::Optional
        },
        nodelay: options.tcp_nodelay,
    }
}

fn bounds(limits: &LimitsConfig) -> Bounds {
    Bounds {
        connections_max: limits.connections_max,
        connections_per_address_max: limits.connections_per_address_max,
        bodies_bytes_max: limits.bodies_bytes_max,
    }
}

/// Whoever may not be silent for longer than `idle` may not take longer for a head either.
fn limits(limits: &LimitsConfig, idle: Duration) -> Limits {
    Limits {
        head: limits.head_timeout.min(idle),
        idle,
        body: limits.body_timeout,
        body_rate_min: limits.body_rate_min,
        write: limits.write_timeout,
    }
}

fn auth_policy(config: &AuthConfig) -> AuthPolicy {
    AuthPolicy {
        anonymous: config.anonymous.clone(),
        ticket: config.ticket.as_ref().map(|principals| {
            let principal =
                |one: &config::TicketPrincipal| TicketPrincipal { ticket: one.ticket.clone(), role: one.role.clone() };
            principals.iter().map(|(name, one)| (name.clone(), principal(one))).collect::<HashMap<_, _>>()
        }),
        wampcra: config.wampcra.as_ref().map(|users| {
            let user = |one: &config::WampCraUser| CraUser {
                secret: one.secret.clone(),
                role: one.role.clone(),
                salting: one.salt.as_ref().map(|salt| Salting {
                    salt: salt.salt.clone(),
                    iterations: salt.iterations.into(),
                    key_bytes: salt.keylen as u64,
                }),
            };
            users.iter().map(|(name, one)| (name.clone(), user(one))).collect::<HashMap<_, _>>()
        }),
    }
}

/// Who may publish at a hub, and from which pages.
fn hub_gate(config: &config::HubConfig) -> Option<(gate::GateOptions, Vec<String>)> {
    config.publish.as_ref().map(|options| {
        // Where the gate has no limit, that of messages holds.
        let post_body_limit = (options.post_body_limit > 0).then_some(options.post_body_limit);
        (gate::GateOptions { post_body_limit, ..gate_options(options) }, options.cors.clone())
    })
}

fn gate_options(options: &GateOptions) -> gate::GateOptions {
    let credentials = match (&options.key, &options.secret) {
        (Some(key), Some(secret)) => Some(signature::Credentials { key: key.clone(), secret: secret.clone() }),
        _ => None,
    };
    gate::GateOptions {
        credentials,
        post_body_limit: Some(if options.post_body_limit == 0 { BODY_BYTES_MAX } else { options.post_body_limit }),
        timestamp_delta_limit: options.timestamp_delta_limit,
        require_ip: options.require_ip.clone(),
        trusted_proxies: options.trusted_proxies.clone(),
        require_tls: options.require_tls,
        debug: options.debug,
    }
}

/// Puts the permissions, principals and gates of a new configuration in force, without touching a connection.
///
/// # Errors
/// A sentence when the two differ in more than that; nothing has changed then.
pub fn rewire(old: &NodeConfig, new: &NodeConfig, wired: &[Wired]) -> Result<(), String> {
    same_structure(old, new)?;
    for (router, wired) in new.routers.iter().zip(wired) {
        for realm in &router.realms {
            if let Some(running) = wired.directory.get(&realm.name) {
                running.reconfigure(settings(realm));
            }
        }
        for (transport, ingress) in router.transports.iter().zip(&wired.fronts) {
            match (&transport.kind, &ingress.front) {
                (TransportKind::WebSocket(config), Front::Socket { service, .. }) => {
                    service.set_policy(Arc::new(auth_policy(&config.auth)));
                }
                (TransportKind::Web { paths, .. }, Front::Site(site)) => rewire_site(paths, "", site),
                _ => {}
            }
        }
    }
    Ok(())
}

fn rewire_site(paths: &[(String, PathConfig)], above: &str, site: &Site) {
    for (path, config) in paths {
        let full = format!("{above}/{path}");
        if let PathConfig::Nested { paths } = config {
            rewire_site(paths, &full, site);
            continue;
        }
        let full: Vec<&str> = full.split('/').filter(|segment| !segment.is_empty()).collect();
        let full = full.join("/");
        let Some((_, service)) = site.services().find(|(path, _)| *path == full) else { continue };
        match (config, &**service) {
            (PathConfig::WebSocket(config), Service::Socket(service, _)) => {
                service.set_policy(Arc::new(auth_policy(&config.auth)));
            }
            (PathConfig::Publisher { options, .. }, Service::Push(service)) => {
                service.submitter.set_conditions(gate_options(options), options.cors.clone());
            }
            (PathConfig::Caller { options, .. }, Service::Call(service)) => {
                service.submitter.set_conditions(gate_options(options), options.cors.clone());
            }
            (PathConfig::WebSubHub(config), Service::Hub(service)) => {
                service.set_conditions(hub_gate(config));
            }
            _ => {}
        }
    }
}

/// Whether two configurations differ in nothing but permissions, principals and gates.
fn same_structure(old: &NodeConfig, new: &NodeConfig) -> Result<(), String> {
    let restart = |what: String| Err(format!("{what} changed, which needs a restart"));
    if old.store != new.store {
        return restart("store".to_owned());
    }
    if old.routers.len() != new.routers.len() {
        return restart("workers".to_owned());
    }
    for (at, (old, new)) in old.routers.iter().zip(&new.routers).enumerate() {
        let names = |router: &RouterConfig| router.realms.iter().map(|realm| realm.name.clone()).collect::<Vec<_>>();
        if names(old) != names(new) {
            return restart(format!("workers[{at}].realms"));
        }
        if old.transports.len() != new.transports.len() {
            return restart(format!("workers[{at}].transports"));
        }
        for (place, (old, new)) in old.transports.iter().zip(&new.transports).enumerate() {
            if without_gates(old) != without_gates(new) {
                return restart(format!("workers[{at}].transports[{place}]"));
            }
        }
    }
    Ok(())
}

fn without_gates(transport: &TransportConfig) -> TransportConfig {
    let mut transport = transport.clone();
    match &mut transport.kind {
        TransportKind::WebSocket(socket) => socket.auth = AuthConfig::default(),
        TransportKind::Web { paths, .. } => paths.iter_mut().for_each(|(_, path)| strip(path)),
    }
    transport
}

fn strip(path: &mut PathConfig) {
    match path {
        PathConfig::WebSocket(socket) => socket.auth = AuthConfig::default(),
        PathConfig::Publisher { options, .. } | PathConfig::Caller { options, .. } => *options = GateOptions::default(),
        PathConfig::WebSubHub(hub) => {
            hub.publish = None;
            // Where the code stands in the file is nothing that a node runs with.
            if let AuthenticatorConfig::Function(function) = &mut hub.authenticator {
                function.code.forget_line();
            }
        }
        PathConfig::Nested { paths } => paths.iter_mut().for_each(|(_, path)| strip(path)),
        _ => {}
    }
}
