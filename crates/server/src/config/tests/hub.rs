//! Hubs, what stands around them, and their store: what is accepted, and the sentence for what is not.

use super::super::*;
use super::read;
use std::num::NonZeroU32;
use std::time::Duration;
use stentor_model::Secret;
use stentor_websub::authenticator::token::Token;
use stentor_websub::guard::Reach;
use stentor_websub::options::{NoneResult, SubscriptionSecurity};
use stentor_websub::signature::Algorithm;

/// A node with these keys at its root, this interface and port, and these paths on lines 4 and following.
fn node(root: &str, endpoint: &str, paths: &str) -> String {
    format!(
        r#"{{{root} "workers": [{{"type": "router",
"realms": [{{"name": "realm1", "roles": [{{"name": "anonymous"}}]}}],
"transports": [{{"type": "web", "endpoint": {{"type": "tcp", {endpoint}}}, "paths": {{
{paths}}}}}]}}]}}"#
    )
}

const PUBLIC: &str = r#""port": 8080"#;
const LOOPBACK: &str = r#""port": 8080, "interface": "127.0.0.1""#;

#[track_caller]
fn sound(text: &str) -> NodeConfig {
    let report = read(text, Syntax::Json);
    assert_eq!(report.faults, [], "{text}");
    assert_eq!(report.warnings, [], "{text}");
    report.config.unwrap()
}

fn paths(config: &NodeConfig) -> &[(String, PathConfig)] {
    let TransportKind::Web { paths, .. } = &config.routers[0].transports[0].kind else { panic!("web") };
    paths
}

/// The hub that these keys make on a public endpoint.
#[track_caller]
fn hub(keys: &str) -> HubConfig {
    let options = format!(r#"{{"hub_url": "https://e.org/h" {keys}}}"#);
    let config = sound(&node("", PUBLIC, &format!(r#""h": {{"type": "websub-hub", "options": {options}}}"#)));
    let PathConfig::WebSubHub(hub) = &paths(&config)[0].1 else { panic!("hub") };
    (**hub).clone()
}

/// The faults of these options of a hub on a public endpoint, behind their place.
#[track_caller]
fn check(keys: &str, expect: &[&str]) {
    let expect: Vec<String> = expect.iter().map(|text| format!(".options{text}")).collect();
    let options = format!(r#"{{"hub_url": "https://e.org/h", {keys}}}"#);
    let expect: Vec<&str> = expect.iter().map(String::as_str).collect();
    check_paths(PUBLIC, &format!(r#""h": {{"type": "websub-hub", "options": {options}}}"#), &expect, "h");
}

#[track_caller]
fn check_paths(endpoint: &str, paths: &str, expect: &[&str], name: &str) {
    let report = read(&node("", endpoint, paths), Syntax::Json);
    let place = format!("config.json:4: workers[0].transports[0].paths[\"{name}\"]");
    let lines: Vec<String> = report.faults.iter().map(|fault| fault.to_string().replacen(&place, "", 1)).collect();
    assert_eq!(lines, expect, "{paths}");
}

#[test]
fn the_defaults_of_a_hub() {
    let found = hub("");
    assert_eq!(found.name, "h");
    assert_eq!(found.options, stentor_websub::options::HubOptions::new("https://e.org/h"));
    assert_eq!(found.delivery, stentor_delivery::Options::default());
    assert_eq!((found.authenticator, found.publish, found.pings), (AuthenticatorConfig::None, None, vec![]));
    assert_eq!((found.bridge, found.certificate_authorities, found.hub_url_derived), (None, None, false));
    assert_eq!((found.delivery_timeout, found.connect_timeout), (Duration::from_secs(30), Duration::from_secs(10)));
}

#[test]
fn urls_and_names_come_from_loopback_endpoints_and_paths() {
    let check = |endpoint: &str, path: &str, name: &str, url: &str| {
        let config = sound(&node("", endpoint, &format!(r#""{path}": {{"type": "websub-hub"}}"#)));
        let PathConfig::WebSubHub(hub) = &paths(&config)[0].1 else { panic!("hub") };
        assert_eq!((hub.name.as_str(), hub.options.hub_url.as_str(), hub.hub_url_derived), (name, url, true));
    };
    check(LOOPBACK, "hub", "hub", "http://127.0.0.1:8080/hub");
    check(LOOPBACK, "/", "hub", "http://127.0.0.1:8080/");
    check(r#""port": 0, "interface": "localhost""#, "x", "x", "http://localhost/x");
    check(r#""port": 81, "interface": "::1""#, "x", "x", "http://[::1]:81/x");
    check(r#""port": 81, "interface": "::1", "tls": {"key": "k", "certificate": "c"}"#, "x", "x", "https://[::1]:81/x");
    let nested = r#""api": {"type": "path", "paths": {"hub": {"type": "websub-hub"}}}"#;
    let config = sound(&node("", LOOPBACK, nested));
    let PathConfig::Nested { paths } = &paths(&config)[0].1 else { panic!("path") };
    let PathConfig::WebSubHub(hub) = &paths[0].1 else { panic!("hub") };
    assert_eq!((hub.name.as_str(), hub.options.hub_url.as_str()), ("api/hub", "http://127.0.0.1:8080/api/hub"));
}

#[test]
fn options_may_stand_beside_the_type() {
    let flat = r#""h": {"type": "websub-hub", "hubUrl": "https://e.org/h", "delivery_retries": 3}"#;
    let config = sound(&node("", PUBLIC, flat));
    let PathConfig::WebSubHub(found) = &paths(&config)[0].1 else { panic!("hub") };
    assert_eq!(**found, hub(r#", "delivery_retries": 3"#));
    let torn = r#""h": {"type": "websub-hub", "delivery_retries": 3, "options": {"hub_url": "https://e.org/h"}}"#;
    let config = sound(&node("", PUBLIC, torn));
    let PathConfig::WebSubHub(found) = &paths(&config)[0].1 else { panic!("hub") };
    assert_eq!(**found, hub(r#", "delivery_retries": 3"#));
}

#[test]
fn every_option_in_both_spellings() {
    let check = |snake: &str| {
        let camel = snake.split('_').enumerate().map(|(at, word)| match at {
            0 => word.to_owned(),
            _ => word[..1].to_uppercase() + &word[1..],
        });
        for text in [snake.to_owned(), camel.collect()] {
            let found = hub(&format!(", {text}"));
            assert_ne!(found, hub(""), "{text}");
        }
    };
    for option in [
        r#""default_lease_seconds": 300"#,
        r#""min_lease_seconds": 1"#,
        r#""max_lease_seconds": 864001"#,
        r#""delivery_retries": 5"#,
        r#""signature_algorithm": "sha512""#,
        r#""subscription_security": "both""#,
        r#""none_result": "reject""#,
        r#""verify_attempts": 1"#,
        r#""verify_delay": 1"#,
        r#""verify_timeout": 1"#,
        r#""delivery_timeout": 1"#,
        r#""connect_timeout": 1"#,
        r#""in_flight_max": 1"#,
        r#""in_flight_per_host_max": 1"#,
        r#""retry_delay_base": 1"#,
        r#""retry_delay_min": 1"#,
        r#""retry_delay_max": 1000"#,
        r#""retry_after_max": 0"#,
        r#""breaker_failures_max": 1"#,
        r#""breaker_delay_base": 1"#,
        r#""breaker_delay_max": 5000"#,
        r#""replays_max": 1"#,
        r#""fetch_bytes_max": 1"#,
        r#""fetch_timeout": 1"#,
        r#""fetch_redirects": 0"#,
        r#""fetch_attempts": 1"#,
        r#""fetch_delay": 1"#,
        r#""request_bytes_max": 1024"#,
        r#""message_bytes_max": 1024"#,
        r#""ping_topics_max": 1"#,
        r#""subscribe_rate_per_client_max": 0"#,
        r#""verify_rate_per_host_max": 1"#,
        r#""pending_max": 1"#,
        r#""pending_per_host_max": 1"#,
        r#""allow_private_networks": true"#,
        r#""allow_ports": [25]"#,
        r#""certificate_authorities": "ca.pem""#,
    ] {
        check(option);
    }
}

#[test]
fn gates_in_both_spellings() {
    let check = |snake: &str, camel: &str| {
        let gate = |text: &str| hub(&format!(r#", "publish": {{{text}}}"#)).publish;
        assert_eq!(gate(snake), gate(camel), "{camel}");
        assert_ne!(gate(camel), gate(""), "{camel}");
    };
    check(r#""post_body_limit": 9"#, r#""postBodyLimit": 9"#);
    check(r#""timestamp_delta_limit": 9"#, r#""timestampDeltaLimit": 9"#);
    check(r#""require_ip": ["::1"]"#, r#""requireIp": ["::1"]"#);
    check(r#""require_tls": true"#, r#""requireTls": true"#);
    check(r#""trusted_proxies": ["::1"]"#, r#""trustedProxies": ["::1"]"#);
}

#[test]
fn null_is_as_good_as_absent() {
    let expect = hub(r#", "default_lease_seconds": 300"#);
    for text in [
        r#", "default_lease_seconds": null, "defaultLeaseSeconds": 300"#,
        r#", "default_lease_seconds": 300, "defaultLeaseSeconds": null"#,
    ] {
        assert_eq!(hub(text), expect, "{text}");
        let beside = r#""h": {"type": "websub-hub", "default_lease_seconds": null,
            "options": {"hub_url": "https://e.org/h", "defaultLeaseSeconds": 300}}"#;
        let config = sound(&node("", PUBLIC, beside));
        let PathConfig::WebSubHub(found) = &paths(&config)[0].1 else { panic!("hub") };
        assert_eq!(**found, expect);
    }
}

#[test]
fn options_arrive_where_they_belong() {
    let found = hub(r#", "name": "shop", "minLeaseSeconds": 10, "max_lease_seconds": 3600, "deliveryRetries": 3,
        "signatureAlgorithm": "sha256", "subscriptionSecurity": "https", "none_result": "reject",
        "retry_delay_base": 250, "delivery_timeout": 1500, "certificate_authorities": "ca.pem""#);
    let lease = found.options.lease;
    // The default follows the bounds unless it is written down.
    assert_eq!((found.name.as_str(), lease.min, lease.max, lease.default), ("shop", 10, 3600, 3600));
    assert_eq!(found.options.delivery_retries, NonZeroU32::new(3));
    assert_eq!(found.options.signature_algorithm, Algorithm::Sha256);
    assert_eq!(found.options.subscription_security, SubscriptionSecurity::Https);
    assert_eq!(found.options.none_result, NoneResult::Reject);
    assert_eq!(found.delivery.retry_delay_base, Duration::from_millis(250));
    assert_eq!(found.delivery_timeout, Duration::from_millis(1500));
    assert_eq!(found.certificate_authorities, Some("/node/ca.pem".into()));
    assert_eq!(hub(r#", "delivery_retries": 0"#).options.delivery_retries, None);
}

#[test]
fn own_networks() {
    let guards = |text: &str| {
        let options = hub(&format!(r#", "allow_private_networks": {text}"#)).options;
        let show = |guard: &stentor_websub::guard::Guard| (guard.reach == Reach::Private, guard.allow.len());
        (show(&options.callback_guard), show(&options.fetch_guard))
    };
    assert_eq!(guards("true"), ((true, 0), (true, 0)));
    assert_eq!(guards("false"), ((false, 0), (false, 0)));
    assert_eq!(guards(r#"["10.0.0.0/8", "::1"]"#), ((false, 2), (false, 2)));
    assert_eq!(guards(r#"{"callbacks": ["10.0.0.0/8"], "fetches": true}"#), ((false, 1), (true, 0)));
    assert_eq!(guards(r#"{"fetches": true}"#), ((false, 0), (true, 0)));
}

#[test]
fn authenticators() {
    let check = |text: &str, expect: AuthenticatorConfig| {
        assert_eq!(hub(&format!(r#", "authenticator": {{{text}}}"#)).authenticator, expect, "{text}");
    };
    check(r#""type": "none""#, AuthenticatorConfig::None);
    check(r#""type": "insecure-allow-all""#, AuthenticatorConfig::AllowAll);
    let url = "http://127.0.0.1:9000/ask".to_owned();
    let forward = |ms| AuthenticatorConfig::Forward { url: url.clone(), timeout: Duration::from_millis(ms) };
    check(r#""type": "forward", "url": "http://127.0.0.1:9000/ask""#, forward(5000));
    check(r#""type": "forward", "url": "http://127.0.0.1:9000/ask", "timeout": 70"#, forward(70));
    let token =
        Token { token: Secret::new("t"), identity: "ann".to_owned(), scopes: vec!["https?://e\\.org/.*".to_owned()] };
    check(
        r#""type": "static", "tokens": [{"token": "t", "identity": "ann", "scopes": ["https?://e\\.org/.*"]}]"#,
        AuthenticatorConfig::Static(vec![token]),
    );
    let config = sound(&node(
        "",
        LOOPBACK,
        r#""h": {"type": "websub-hub", "options": {"authenticator": {"type": "allow-all"}}}"#,
    ));
    let PathConfig::WebSubHub(hub) = &paths(&config)[0].1 else { panic!("hub") };
    assert_eq!(hub.authenticator, AuthenticatorConfig::AllowAll);
}

#[test]
fn publishing_and_bridges() {
    let found = hub(r#", "publish": {"key": "k", "secret": "s"}, "pings": ["https://e.org/"], "realm": "realm1",
        "role": "anonymous", "bridge": [{"uri": "com.x.*", "topic": "https://e.org/{uri}"},
        {"uri": "com..y", "topic": "https://e.org/?t={uri}"}, {"uri": "com.z", "topic": "https://e.org/z"}]"#);
    assert_eq!(found.publish.unwrap().key.as_deref(), Some("k"));
    assert_eq!(found.pings, ["https://e.org/"]);
    let bridge = found.bridge.unwrap();
    let rules: Vec<_> =
        bridge.rules.iter().map(|rule| (rule.uri.as_str(), rule.matching, rule.topic.as_str())).collect();
    let expect = [
        ("com.x.", Match::Prefix, "https://e.org/{uri}"),
        ("com..y", Match::Wildcard, "https://e.org/?t={uri}"),
        ("com.z", Match::Exact, "https://e.org/z"),
    ];
    assert_eq!((bridge.realm.as_str(), bridge.role.as_str(), rules.as_slice()), ("realm1", "anonymous", &expect[..]));
    assert_eq!(hub(r#", "publish": {}"#).publish, Some(GateOptions::default()));
}

#[test]
fn paths_around_a_hub() {
    let config = sound(&node(
        "",
        LOOPBACK,
        // References may come before what they name.
        r#""events": {"type": "sse", "hub": "hub"}, "t": {"type": "websub-topic", "hub": "hub"},
        "u": {"type": "websub-topic", "hub": "hub", "baseUrl": "https://e.org/u"},
        "admin": {"type": "hub-admin", "token": "0123456789abcdef"}, "hub": {"type": "websub-hub"}"#,
    ));
    let hub = "hub".to_owned();
    let topic = |base_url: &str, base_url_derived| PathConfig::WebSubTopic {
        hub: hub.clone(),
        base_url: base_url.to_owned(),
        base_url_derived,
    };
    let found = paths(&config);
    assert_eq!(found[0].1, PathConfig::Sse { hub: hub.clone() });
    assert_eq!(found[1].1, topic("http://127.0.0.1:8080/t/", true));
    assert_eq!(found[2].1, topic("https://e.org/u/", false));
    assert_eq!(found[3].1, PathConfig::HubAdmin { token: Secret::new("0123456789abcdef") });
}

#[test]
fn stores() {
    let check = |text: &str, expect: StoreKind| {
        assert_eq!(sound(&node(&format!(r#""store": {{{text}}},"#), PUBLIC, "")).store.kind, expect, "{text}");
    };
    check(r#""type": "sqlite""#, StoreKind::Sqlite { path: "/node/store.sqlite".into() });
    check(r#""type": "sqlite", "path": "/var/x""#, StoreKind::Sqlite { path: "/var/x".into() });
    check(r#""type": "memory""#, StoreKind::Memory);
    let limits = r#""store": {"type": "sqlite", "logBytesMax": 1048576, "topic_bytes_max": 1048577,
        "backlog_age_max": 60, "history_entries": 1, "file_bytes_max": 1048578},"#;
    let found = sound(&node(limits, PUBLIC, "")).store.limits;
    assert_eq!((found.log_bytes_max, found.topic_bytes_max), (1_048_576, 1_048_577));
    assert_eq!((found.backlog_age_max, found.history_entries.get()), (Duration::from_secs(60), 1));
    assert_eq!(found.file_bytes_max.map(std::num::NonZeroU64::get), Some(1_048_578));
}

#[test]
fn faults_of_stores() {
    let check = |text: &str, expect: &[&str]| {
        let report = read(&node(&format!(r#""store": {{{text}}},"#), PUBLIC, ""), Syntax::Json);
        let lines: Vec<String> =
            report.faults.iter().map(|fault| fault.to_string().replacen("config.json:1: store", "", 1)).collect();
        assert_eq!(lines, expect, "{text}");
    };
    check("", &[": missing required key 'type'"]);
    check(r#""type": "sqlit""#, &[".type: unknown store type 'sqlit'; did you mean 'sqlite'?"]);
    check(
        r#""type": "nats""#,
        &[".type: store type 'nats' is not there yet; 'sqlite' keeps everything in one file of this node"],
    );
    check(
        r#""type": "memory", "path": "x", "file_bytes_max": 1048576"#,
        &[
            ".path: has no effect with the type 'memory', which keeps nothing",
            ".file_bytes_max: has no effect with the type 'memory', which has no file",
        ],
    );
    check(
        r#""type": "sqlite", "log_bytes_max": 5, "backlog_age_max": "10d", "histry_entries": 1"#,
        &[
            ".log_bytes_max: must be an integer from 1048576 to 1125899906842624, not 5",
            ".backlog_age_max: must be an integer from 60 to 315360000, not \"10d\"",
            ": unknown key 'histry_entries'; did you mean 'history_entries'?",
        ],
    );
}

#[test]
fn faults_of_names_and_urls() {
    check(r#""name": "a b""#, &[".name: must be 1 to 128 letters, digits, '_', '-', '.' and '/', not \"a b\""]);
    check_paths(
        PUBLIC,
        r#""h": {"type": "websub-hub"}"#,
        &[
            ": missing required key 'hub_url': the public URL of this path, which only an endpoint on loopback knows by itself",
        ],
        "h",
    );
    check_paths(
        LOOPBACK,
        r#""h": {"type": "websub-hub", "options": {"hub_url": "hub"}}"#,
        &[".options.hub_url: must be the public URL of this path; it is neither an http:// nor an https:// URL"],
        "h",
    );
    check(
        r#""hubUrl": "https://e.org/h""#,
        &[".hubUrl: is 'hub_url' in another spelling, and both are there; write one of them"],
    );
    check(r#""authentcator": {}"#, &[": unknown key 'authentcator'; did you mean 'authenticator'?"]);
    let twice = r#""a": {"type": "websub-hub"}, "b": {"type": "websub-hub", "options": {"name": "a"}}"#;
    check_paths(
        LOOPBACK,
        twice,
        &[": a second hub 'a', beside the one at workers[0].transports[0].paths[\"a\"]; give it a 'name' of its own"],
        "b",
    );
}

#[test]
fn faults_of_options() {
    check(
        r#""max_lease_seconds": 100"#,
        &[".max_lease_seconds: max_lease_seconds has to lie from 300 to 315360000 seconds"],
    );
    check(
        r#""defaultLeaseSeconds": 864001"#,
        &[".defaultLeaseSeconds: default_lease_seconds has to lie from 300 to 864000 seconds"],
    );
    check(
        r#""min_lease_seconds": 0, "delivery_retries": -1, "signature_algorithm": "md5", "subscription_security": true"#,
        &[
            ".min_lease_seconds: must be an integer from 1 to 315360000, not 0",
            ".delivery_retries: must be an integer from 0 to 1000000, not -1",
            ".signature_algorithm: must be one of 'sha1', 'sha256', 'sha384', 'sha512', not \"md5\"",
            ".subscription_security: must be a string, not true",
        ],
    );
    check(
        r#""retry_delay_base": 700000, "breaker_delay_max": 1"#,
        &[
            ": 'retry_delay_base' (700000) must not be longer than 'retry_delay_max' (600000)",
            ": 'breaker_delay_base' (5000) must not be longer than 'breaker_delay_max' (1)",
        ],
    );
    check(
        r#""allow_private_networks": "yes""#,
        &[".allow_private_networks: must be true, false or a list of networks such as ['10.0.0.0/8'], not \"yes\""],
    );
    check(
        r#""allow_private_networks": {"callback": true}"#,
        &[".allow_private_networks: unknown key 'callback'; did you mean 'callbacks'?"],
    );
    check(r#""allow_ports": [8080]"#, &[".allow_ports[0]: must be an integer from 1 to 1023, not 8080"]);
    check(r#""deliveryRetry": 1"#, &[": unknown key 'deliveryRetry'; did you mean 'deliveryRetries'?"]);
    check(r#""delivery_timeout": 0"#, &[".delivery_timeout: must be an integer from 1 to 600000, not 0"]);
}

#[test]
fn faults_of_authenticators() {
    let authenticator = |text: &str, expect: &[&str]| {
        let expect: Vec<String> = expect.iter().map(|text| format!(".authenticator{text}")).collect();
        check(&format!(r#""authenticator": {{{text}}}"#), &expect.iter().map(String::as_str).collect::<Vec<_>>());
    };
    authenticator("", &[": missing required key 'type'"]);
    authenticator(r#""type": "statics""#, &[".type: unknown authenticator type 'statics'; did you mean 'static'?"]);
    authenticator(r#""type": "function", "name": "x", "code": "x""#, &[": unknown key 'code'"]);
    authenticator(
        r#""type": "allow-all""#,
        &[
            ".type: 'allow-all' is for endpoints on loopback; elsewhere it is called 'insecure-allow-all', because everybody \
           may then have this hub send requests to addresses of their choice",
        ],
    );
    authenticator(
        r#""type": "forward", "url": "ask", "timeout": 0"#,
        &[
            ".timeout: must be an integer from 1 to 300000, not 0",
            ".url: must be the URL of an HTTP endpoint; it is neither an http:// nor an https:// URL",
        ],
    );
    authenticator(r#""type": "static""#, &[": missing required key 'tokens'"]);
    authenticator(
        r#""type": "static", "tokens": [{"token": 7, "identity": "a", "scopes": ["(", "ok"]}, {"scope": []},
        {"token": "t", "identity": "a", "scopes": []}, {"token": "t", "identity": "b", "scopes": []}]"#
            .replace('\n', "")
            .as_str(),
        &[
            ".tokens[0].token: must be a string (in quotation marks)",
            ".tokens[0].scopes[0]: is not a regular expression: unclosed group",
            ".tokens[1]: missing required key 'token'",
            ".tokens[1]: missing required key 'identity'",
            ".tokens[1]: missing required key 'scopes'",
            ".tokens[1]: unknown key 'scope'; did you mean 'scopes'?",
            ".tokens[3]: repeats the token of an entry before it",
        ],
    );
}

#[test]
fn faults_of_publishing_and_bridges() {
    check(
        r#""publish": {"key": "k"}"#,
        &[".publish.key: a 'key' needs a 'secret' beside it; without one nothing would be checked"],
    );
    check(r#""publish": true"#, &[".publish: must be a dictionary, not true"]);
    check(
        r#""pings": ["https://e.org", "e.org/"]"#,
        &[
            ".pings[0]: must be the beginning of topic URLs with a '/' after the host, such as 'https://example.com/', \
             not \"https://e.org\"",
            ".pings[1]: must be the beginning of topic URLs; it is neither an http:// nor an https:// URL",
        ],
    );
    let bridge = |rules: &str, expect: &[&str]| {
        let expect: Vec<String> = expect.iter().map(|text| format!(".bridge{text}")).collect();
        let text = format!(r#""realm": "realm1", "role": "anonymous", "bridge": [{rules}]"#);
        check(&text, &expect.iter().map(String::as_str).collect::<Vec<_>>());
    };
    check(
        r#""realm": "realm2", "role": "anonymous", "bridge": []"#,
        &[
            ".realm: this router has no realm 'realm2'; did you mean 'realm1'?",
            ".bridge: must hold at least one rule; leave 'bridge' out to bridge nothing",
        ],
    );
    bridge(
        r#"{"uri": "com.x.*", "topic": "https://e.org/x"}"#,
        &["[0].topic: must contain '{uri}', because this rule covers many URIs and each needs a topic of its own"],
    );
    bridge(
        r#"{"uri": "com.x", "topic": "x/{uri}"}, {"uri": "com.y", "topic": "https://{uri}/"},
        {"uri": "com.z", "topic": "https://e.org/{url}"}, {"uri": "a b", "topic": "https://e.org/"}"#
            .replace('\n', "")
            .as_str(),
        &[
            "[0].topic: must be a topic URL such as 'https://example.com/topics/{uri}'; it is neither an http:// nor an \
             https:// URL",
            "[1].topic: must have '{uri}' behind the host",
            "[2].topic: must not have braces other than those of '{uri}'",
            "[3].uri: must be a URI without blanks and '#', not \"a b\"",
        ],
    );
    bridge(
        r#"{"uri": "a.*", "topic": "https://e.org/{uri}"}, {"uri": "a.", "match": "prefix", "topic": "https://e.org/b/{uri}"}"#,
        &["[1]: repeats the URI and match of a rule before it"],
    );
    // Two hubs in one realm; other rules may overlap, and the first decides.
    let of_hub = |name: &str, uri: &str| {
        let rule = format!(r#"{{"uri": "{uri}", "topic": "https://e.org/{name}/{{uri}}"}}"#);
        let options = format!(r#""hub_url": "https://e.org/{name}", "realm": "realm1", "role": "anonymous""#);
        format!(r#""{name}": {{"type": "websub-hub", "options": {{{options}, "bridge": [{rule}]}}}}"#)
    };
    let hubs = |uri: &str| format!("{},{}", of_hub("g", "com.a.*"), of_hub("h", uri));
    check_paths(
        PUBLIC,
        &hubs("com.a.*"),
        &[".options.bridge[0]: repeats the URI and match of a rule of another hub: an event is in the log of one"],
        "h",
    );
    check_paths(PUBLIC, &hubs("com.a.b.*"), &[], "h");
}

#[test]
fn faults_of_paths_around_a_hub() {
    let hub = r#""hub": {"type": "websub-hub"}, "#;
    let token = ".token: must be at least 16 printable ASCII characters without blanks, drawn at random";
    check_paths(LOOPBACK, r#""a": {"type": "hub-admin", "token": "short"}"#, &[token], "a");
    check_paths(LOOPBACK, r#""a": {"type": "hub-admin", "token": "long enough but blank"}"#, &[token], "a");
    check_paths(LOOPBACK, r#""a": {"type": "hub-admin"}"#, &[": missing required key 'token'"], "a");
    check_paths(
        LOOPBACK,
        &format!(r#"{hub}"e": {{"type": "sse", "hub": "hob"}}"#),
        &[".hub: this node has no hub 'hob'; did you mean 'hub'?"],
        "e",
    );
    check_paths(
        LOOPBACK,
        r#""t": {"type": "websub-topic", "hub": "x", "base_url": "https://e.org/?"}"#,
        &[
            ".base_url: must be a URL without '?' and '#', because what follows the path is appended, not \"https://e.org/?\"",
            ".hub: this node has no hub 'x'",
        ],
        "t",
    );
    check_paths(
        LOOPBACK,
        r#""t": {"type": "websub-hubb"}"#,
        &[".type: unknown path type 'websub-hubb'; did you mean 'websub-hub'?"],
        "t",
    );
}

#[test]
fn advice_about_hubs() {
    let check = |endpoint: &str, paths: &str, expect: &[&str]| {
        let report = read(&node("", endpoint, paths), Syntax::Json);
        let advice: Vec<&str> = report.advice.iter().map(|advice| advice.message.as_str()).collect();
        assert_eq!((report.faults.as_slice(), advice.as_slice()), (&[][..], expect), "{paths}");
    };
    let denied = "without an 'authenticator' this hub denies every subscription";
    check(LOOPBACK, r#""h": {"type": "websub-hub"}"#, &[denied]);
    let open = r#""h": {"type": "websub-hub", "options": {"hub_url": "https://e.org/", "publish": {},
        "authenticator": {"type": "insecure-allow-all"}}}"#;
    check(
        PUBLIC,
        open,
        &[
            "everybody who reaches this path may publish; set 'key' and 'secret', or 'require_ip'",
            "everybody who reaches this hub may have it send requests to addresses of their choice",
        ],
    );
    check(
        LOOPBACK,
        r#""a": {"type": "hub-admin", "token": "0123456789abcdef"}"#,
        &["this node has no hub that could be looked after here"],
    );
}
