//! Configurations that are right, of both generations and in both syntaxes.

use super::super::*;
use super::{node, read};
use std::time::Duration;
use stentor_model::Secret;

/// "Running Standalone" from the reference page, verbatim.
const STANDALONE: &str = include_str!("standalone.json");

/// What `crossbar init --template pusher` wrote in 2014.
const TEMPLATE: &str = include_str!("template.json");

/// The same node in the second generation.
const MODERN: &str = include_str!("modern.json");

/// The modern node in YAML, with an anchor.
const MODERN_YAML: &str = include_str!("modern.yaml");

fn sound(text: &str, syntax: Syntax) -> NodeConfig {
    let report = read(text, syntax);
    assert_eq!(report.faults, [], "{text}");
    assert_eq!(report.warnings, [], "{text}");
    report.config.unwrap()
}

fn store() -> StoreConfig {
    StoreConfig {
        kind: StoreKind::Sqlite { path: "/node/store.sqlite".into() },
        limits: stentor_store::Limits::default(),
    }
}

fn everything(uri: &str, matching: Match) -> PermissionConfig {
    PermissionConfig {
        uri: uri.to_owned(),
        matching,
        publish: true,
        subscribe: true,
        call: true,
        register: true,
        disclose_publisher: false,
        disclose_caller: false,
    }
}

fn realm(name: &str, role: &str) -> RealmConfig {
    let role = RoleConfig { name: role.to_owned(), permissions: vec![everything("", Match::Prefix)] };
    RealmConfig { name: name.to_owned(), roles: vec![role], options: RealmOptions::default() }
}

fn tcp(port: u16) -> EndpointConfig {
    EndpointConfig::Tcp { port, interface: None, backlog: BACKLOG_DEFAULT, version: None, tls: None }
}

fn websocket() -> WebSocketConfig {
    WebSocketConfig {
        url: None,
        serializers: Serializer::ALL.to_vec(),
        options: WebSocketOptions::default(),
        auth: AuthConfig::default(),
    }
}

fn publisher(dialect: PublisherKind, role: &str, options: GateOptions) -> PathConfig {
    PathConfig::Publisher { dialect, realm: "realm1".to_owned(), role: role.to_owned(), options }
}

#[test]
fn the_standalone_node_of_the_reference() {
    let config = sound(STANDALONE, Syntax::Json);
    let paths = vec![("/".to_owned(), publisher(PublisherKind::Pusher, "role1", GateOptions::default()))];
    let transports = vec![
        TransportConfig {
            id: "transport001".to_owned(),
            kind: TransportKind::WebSocket(websocket()),
            endpoint: tcp(9000),
            limits: LimitsConfig::default(),
        },
        TransportConfig {
            id: "transport002".to_owned(),
            kind: TransportKind::Web { paths, options: WebOptions::default() },
            endpoint: tcp(8080),
            limits: LimitsConfig::default(),
        },
    ];
    let mut realm = realm("realm1", "role1");
    // Anonymous clients have the rights of the only role.
    realm.roles.push(RoleConfig { name: "anonymous".to_owned(), ..realm.roles[0].clone() });
    let router = RouterConfig { place: 0, id: "worker001".to_owned(), realms: vec![realm], transports };
    assert_eq!(config, NodeConfig { routers: vec![router], store: store() });
}

#[test]
fn the_excerpt_of_the_reference_with_its_dots_filled_in() {
    let text = r#"{
       "workers": [
          {
             "type": "router",
             "realms": [{"name": "realm1", "roles": [{"name": "anonymous", "permissions": []}]}],
             "transports": [
                {
                   "type": "web",
                   "endpoint": {"type": "tcp", "port": 8080},
                   "paths": {
                      "/": {"type": "static", "directory": "../web"},
                      "push": {
                         "type": "pusher",
                         "realm": "realm1",
                         "role": "anonymous"
                      }
                   }
                }
             ]
          }
       ]
    }"#;
    sound(text, Syntax::Json);
    let fault = &read("{\n  \"workers\": [{\"type\": \"router\",\n  ...\n}]}", Syntax::Json).faults[0];
    assert_eq!(fault.to_string(), "config.json:3: invalid JSON: '...' stands for something left out; write it in full");
}

fn signed() -> GateOptions {
    GateOptions {
        key: Some("foobar".to_owned()),
        secret: Some(Secret::new("secret")),
        post_body_limit: 8192,
        timestamp_delta_limit: Some(Duration::from_secs(10)),
        require_ip: Some(vec!["192.168.1.0/24".parse().unwrap(), "127.0.0.1/32".parse().unwrap()]),
        ..GateOptions::default()
    }
}

fn template_node(dialect: PublisherKind) -> NodeConfig {
    let directory = PathBuf::from("/node/../web");
    let paths = vec![
        ("/".to_owned(), PathConfig::Static { directory, options: StaticOptions::default() }),
        ("ws".to_owned(), PathConfig::WebSocket(websocket())),
        ("push".to_owned(), publisher(dialect, "anonymous", GateOptions { debug: true, ..GateOptions::default() })),
        ("pushsigned".to_owned(), publisher(dialect, "anonymous", signed())),
    ];
    let kind = TransportKind::Web { paths, options: WebOptions::default() };
    let limits = LimitsConfig::default();
    let transports = vec![TransportConfig { id: "transport001".to_owned(), kind, endpoint: tcp(8080), limits }];
    let router =
        RouterConfig { place: 0, id: "worker001".to_owned(), realms: vec![realm("realm1", "anonymous")], transports };
    NodeConfig { routers: vec![router], store: store() }
}

#[test]
fn one_node_in_both_generations_and_syntaxes() {
    assert_eq!(sound(TEMPLATE, Syntax::Json), template_node(PublisherKind::Pusher));
    assert_eq!(sound(MODERN, Syntax::Json), template_node(PublisherKind::Publisher));
    assert_eq!(sound(MODERN_YAML, Syntax::Yaml), template_node(PublisherKind::Publisher));
    // JSON is YAML too.
    assert_eq!(sound(TEMPLATE, Syntax::Yaml), template_node(PublisherKind::Pusher));
    // Nothing here deserves advice: signed requests have a window.
    assert_eq!(read(TEMPLATE, Syntax::Json).advice, []);
}

#[test]
fn secrets_stay_hidden() {
    let shown = format!("{:?}", sound(TEMPLATE, Syntax::Json));
    assert!(shown.contains("foobar") && !shown.contains("\"secret\""), "{shown}");
}

#[test]
fn permissions_of_both_generations() {
    let check = |text: &str, uri: &str, matching: Match| {
        let text = format!(
            r#"{{"workers": [{{"type": "router", "realms": [{{"name": "r", "roles": [
            {{"name": "anonymous", "permissions": [{{{text}}}]}}]}}]}}]}}"#
        );
        let config = sound(&text, Syntax::Json);
        assert_eq!(config.routers[0].realms[0].roles[0].permissions, [everything(uri, matching)], "{text}");
    };
    let flat = r#""publish": true, "subscribe": true, "call": true, "register": true"#;
    let allow = format!(r#""allow": {{{flat}}}"#);
    for rights in [flat, &allow] {
        check(&format!(r#""uri": "*", {rights}"#), "", Match::Prefix);
        check(&format!(r#""uri": "com.x.*", {rights}"#), "com.x.", Match::Prefix);
        check(&format!(r#""uri": "com.x", {rights}"#), "com.x", Match::Exact);
        check(&format!(r#""uri": "com..x", {rights}"#), "com..x", Match::Wildcard);
        check(&format!(r#""uri": "", "match": "prefix", {rights}"#), "", Match::Prefix);
        check(&format!(r#""uri": "com.x.", "match": "prefix", {rights}"#), "com.x.", Match::Prefix);
        check(&format!(r#""uri": "com.x.*", "match": "exact", {rights}"#), "com.x.*", Match::Exact);
        check(&format!(r#""uri": ".x.", "match": "wildcard", {rights}"#), ".x.", Match::Wildcard);
    }
}

#[test]
fn endpoints() {
    let check = |text: &str, expect: EndpointConfig| {
        let text = format!(
            r#"{{"version": 2, "workers": [{{"type": "router", "transports": [
            {{"type": "web", "paths": {{}}, "endpoint": {text}}}]}}]}}"#
        );
        assert_eq!(sound(&text, Syntax::Json).routers[0].transports[0].endpoint, expect);
    };
    check(r#"{"type": "tcp", "port": "$PORT"}"#, tcp(9123));
    check(
        r#"{"type": "tcp", "port": 0, "interface": "::1", "backlog": 7, "version": 6}"#,
        EndpointConfig::Tcp {
            port: 0,
            interface: Some("::1".to_owned()),
            backlog: 7,
            version: Some(IpVersion::V6),
            tls: None,
        },
    );
    let tls = TlsConfig {
        key: "/node/server.key".into(),
        certificate: "/etc/server.crt".into(),
        chain_certificates: vec!["/node/chain.crt".into()],
    };
    check(
        r#"{"type": "tcp", "port": 443, "tls": {"key": "server.key", "certificate": "/etc/server.crt",
        "chain_certificates": ["chain.crt"]}}"#,
        EndpointConfig::Tcp { port: 443, interface: None, backlog: BACKLOG_DEFAULT, version: None, tls: Some(tls) },
    );
    check(
        r#"{"type": "unix", "path": "socket"}"#,
        EndpointConfig::Unix { path: "/node/socket".into(), backlog: BACKLOG_DEFAULT },
    );
}

#[test]
fn authentication() {
    let text = node(
        "",
        "",
        r#", "ws": {"type": "websocket", "serializers": ["cbor", "json.batched", "cbor"], "auth": {
        "ticket": {"type": "static", "principals": {"joe": {"ticket": "t", "role": "anonymous"}}},
        "wampcra": {"type": "static", "users": {
            "ann": {"secret": "s", "role": "anonymous"},
            "bob": {"secret": "k", "role": "anonymous", "salt": "x"}}}}}"#,
    );
    let config = sound(&text, Syntax::Json);
    let TransportKind::Web { paths, .. } = &config.routers[0].transports[0].kind else { panic!("web") };
    let PathConfig::WebSocket(websocket) = &paths[1].1 else { panic!("websocket") };
    assert_eq!(websocket.serializers, [Serializer::Cbor, Serializer::CborBatched, Serializer::JsonBatched]);
    assert_eq!(websocket.auth.anonymous, None);
    let tickets = websocket.auth.ticket.as_ref().unwrap();
    assert_eq!(tickets["joe"], TicketPrincipal { ticket: Secret::new("t"), role: "anonymous".to_owned() });
    let users = websocket.auth.wampcra.as_ref().unwrap();
    assert_eq!(users["ann"].salt, None);
    assert_eq!(users["bob"].salt, Some(SaltConfig { salt: "x".to_owned(), iterations: 1000, keylen: 32 }));
}

#[test]
fn paths_for_those_who_look_after_the_node() {
    let text = node("", "", r#", "m": {"type": "metrics"}, "h": {"type": "health", "token": "t"}"#);
    let config = sound(&text, Syntax::Json);
    let TransportKind::Web { paths, options } = &config.routers[0].transports[0].kind else { panic!("web") };
    assert_eq!(paths[1].1, PathConfig::Metrics { token: None });
    assert_eq!(paths[2].1, PathConfig::Health { token: Some(Secret::new("t")) });
    assert!(options.observability);
}

#[test]
fn null_counts_as_absent_but_not_as_a_json_document() {
    let text = node("\"options\": null,", "\"options\": null,", r#", "j": {"type": "json", "value": null}"#);
    let config = sound(&text, Syntax::Json);
    let TransportKind::Web { paths, .. } = &config.routers[0].transports[0].kind else { panic!("web") };
    assert!(matches!(&paths[1].1, PathConfig::Json { value: serde_json::Value::Null, .. }));
}
