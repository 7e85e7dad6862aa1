//! `options` of a hub: leases, patience, limits, addresses. Waiting times are in milliseconds, leases in seconds.

use super::super::gate;
use super::super::reader::{Cursor, Dict};
use super::super::tree::Value;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;
use stentor_websub::guard::{Guard, Reach};
use stentor_websub::options::{HubOptions, NoneResult, OptionFault, SubscriptionSecurity};
use stentor_websub::signature::Algorithm;

/// What the options of a hub come to. The URL of the hub is filled in by whoever knows it.
pub(super) struct Tuned {
    pub(super) hub: HubOptions,
    pub(super) delivery: stentor_delivery::Options,
    pub(super) delivery_timeout: Duration,
    pub(super) connect_timeout: Duration,
    pub(super) certificate_authorities: Option<PathBuf>,
}

/// Milliseconds that a wait for somebody else may last: ten minutes, since a hanging request is a place taken.
const TIMEOUT_MS_MAX: u64 = 600_000;

/// Milliseconds that a delay may last: a day.
const DELAY_MS_MAX: u64 = 86_400_000;

/// Seconds that a lease may last: ten years, beyond which it would be perpetual (WebSub 5.3).
const LEASE_SECONDS_MAX: u64 = 10 * 365 * 86_400;

/// Octets of published content: what the store takes in one piece.
const CONTENT_BYTES_MAX: u64 = stentor_store::RECORD_BYTES_MAX as u64;

/// A URL that passes every check, until the real one is known.
const PLACEHOLDER_URL: &str = "http://localhost/";

impl Tuned {
    fn standard() -> Self {
        Self {
            hub: HubOptions::new(PLACEHOLDER_URL),
            delivery: stentor_delivery::Options::default(),
            // A receiver that needs longer should answer first and work afterwards.
            delivery_timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(10),
            certificate_authorities: None,
        }
    }
}

/// Reads `options` of a hub.
pub(super) fn read(dict: &mut Dict<'_>) -> Tuned {
    let mut tuned = Tuned::standard();
    leases(dict, &mut tuned.hub);
    subscriptions(dict, &mut tuned.hub);
    fetches(dict, &mut tuned.hub);
    deliveries(dict, &mut tuned);
    addresses(dict, &mut tuned.hub);
    tuned.certificate_authorities = dict.take("certificate_authorities").and_then(|cursor| cursor.existing("file"));
    tuned
}

/// The three lease bounds, checked against each other at the place of the one that does not fit.
fn leases(dict: &mut Dict<'_>, hub: &mut HubOptions) {
    let keys = ["min_lease_seconds", "max_lease_seconds", "default_lease_seconds"];
    let cursors = keys.map(|key| dict.take(key));
    let seconds = |cursor: &Option<Cursor<'_>>| cursor.as_ref().map(|cursor| cursor.integer(1..=LEASE_SECONDS_MAX));
    let [min, max, default] = [&cursors[0], &cursors[1], &cursors[2]].map(seconds);
    if [min, max, default].contains(&Some(None)) {
        return;
    }
    let lease = &mut hub.lease;
    lease.min = min.flatten().unwrap_or(lease.min);
    lease.max = max.flatten().unwrap_or(lease.max);
    // Who only moves a bound does not have to write the default down again.
    lease.default = default.flatten().unwrap_or_else(|| lease.default.max(lease.min).min(lease.max));
    if let Err(fault) = hub.check() {
        let name = match fault {
            OptionFault::Lease { name, .. } => name,
            OptionFault::HubUrl(_) | OptionFault::Zero { .. } => "",
        };
        let written = keys.iter().zip(&cursors).find_map(|(key, cursor)| cursor.as_ref().filter(|_| *key == name));
        match written {
            Some(cursor) => cursor.fault(fault.to_string()),
            None => dict.fault(fault.to_string()),
        }
    }
}

fn subscriptions(dict: &mut Dict<'_>, hub: &mut HubOptions) {
    let mut retries = 0;
    dict.integer("delivery_retries", 0..=1_000_000, &mut retries);
    hub.delivery_retries = NonZeroU32::new(retries);
    let algorithms = Algorithm::ALL.map(|one| (one.name(), one));
    choose(dict, "signature_algorithm", &algorithms, &mut hub.signature_algorithm);
    let securities = [
        ("none", SubscriptionSecurity::None),
        ("https", SubscriptionSecurity::Https),
        ("secret", SubscriptionSecurity::Secret),
        ("both", SubscriptionSecurity::Both),
    ];
    choose(dict, "subscription_security", &securities, &mut hub.subscription_security);
    choose(dict, "none_result", &[("deny", NoneResult::Deny), ("reject", NoneResult::Reject)], &mut hub.none_result);
    dict.integer("verify_attempts", 1..=100, &mut hub.verify.attempts_max);
    dict.milliseconds("verify_delay", 1..=DELAY_MS_MAX, &mut hub.verify.delay_first);
    dict.milliseconds("verify_timeout", 1..=TIMEOUT_MS_MAX, &mut hub.verify.timeout);
    let limits = &mut hub.limits;
    dict.integer("request_bytes_max", 1024..=16 << 20, &mut limits.request_bytes_max);
    dict.integer("message_bytes_max", 1024..=2 * CONTENT_BYTES_MAX, &mut limits.message_bytes_max);
    dict.integer("ping_topics_max", 1..=10_000, &mut limits.ping_topics_max);
    dict.integer("subscribe_rate_per_client_max", 0..=1_000_000, &mut limits.subscribe_rate_per_client_max);
    dict.integer("verify_rate_per_host_max", 0..=1_000_000, &mut limits.verify_rate_per_host_max);
    dict.integer("pending_max", 1..=10_000_000, &mut limits.pending_max);
    dict.integer("pending_per_host_max", 1..=10_000_000, &mut limits.pending_per_host_max);
}

fn fetches(dict: &mut Dict<'_>, hub: &mut HubOptions) {
    let fetch = &mut hub.fetch;
    dict.integer("fetch_bytes_max", 1..=CONTENT_BYTES_MAX, &mut fetch.bytes_max);
    dict.milliseconds("fetch_timeout", 1..=TIMEOUT_MS_MAX, &mut fetch.timeout);
    dict.integer("fetch_redirects", 0..=20, &mut fetch.redirects_max);
    dict.integer("fetch_attempts", 1..=100, &mut fetch.attempts_max);
    dict.milliseconds("fetch_delay", 1..=DELAY_MS_MAX, &mut fetch.delay_first);
}

fn deliveries(dict: &mut Dict<'_>, tuned: &mut Tuned) {
    dict.milliseconds("delivery_timeout", 1..=TIMEOUT_MS_MAX, &mut tuned.delivery_timeout);
    dict.milliseconds("connect_timeout", 1..=TIMEOUT_MS_MAX, &mut tuned.connect_timeout);
    let delivery = &mut tuned.delivery;
    dict.integer("in_flight_max", 1..=100_000, &mut delivery.in_flight_max);
    dict.integer("in_flight_per_host_max", 1..=100_000, &mut delivery.in_flight_per_host_max);
    dict.milliseconds("retry_delay_base", 1..=DELAY_MS_MAX, &mut delivery.retry_delay_base);
    dict.milliseconds("retry_delay_min", 0..=DELAY_MS_MAX, &mut delivery.retry_delay_min);
    dict.milliseconds("retry_delay_max", 1..=DELAY_MS_MAX, &mut delivery.retry_delay_max);
    dict.milliseconds("retry_after_max", 0..=DELAY_MS_MAX, &mut delivery.retry_after_max);
    dict.integer("breaker_failures_max", 1..=1_000_000, &mut delivery.breaker_failures_max);
    dict.milliseconds("breaker_delay_base", 1..=DELAY_MS_MAX, &mut delivery.breaker_delay_base);
    dict.milliseconds("breaker_delay_max", 1..=DELAY_MS_MAX, &mut delivery.breaker_delay_max);
    dict.integer("replays_max", 1..=1_000_000, &mut delivery.replays_max);
    for (name, least, most) in [
        ("retry_delay_base", delivery.retry_delay_base, delivery.retry_delay_max),
        ("retry_delay_min", delivery.retry_delay_min, delivery.retry_delay_max),
        ("breaker_delay_base", delivery.breaker_delay_base, delivery.breaker_delay_max),
    ] {
        if least > most {
            let limit = if name.starts_with("retry") { "retry_delay_max" } else { "breaker_delay_max" };
            let (least, most) = (least.as_millis(), most.as_millis());
            dict.fault(format!("'{name}' ({least}) must not be longer than '{limit}' ({most})"));
        }
    }
}

/// A word, if it is there and known.
fn choose<T: Copy>(dict: &mut Dict<'_>, key: &'static str, words: &[(&'static str, T)], into: &mut T) {
    if let Some(found) = dict.take(key).and_then(|cursor| cursor.choice(words)) {
        *into = found;
    }
}

/// Where requests may go besides public addresses.
fn addresses(dict: &mut Dict<'_>, hub: &mut HubOptions) {
    if let Some(cursor) = dict.take("allow_private_networks") {
        if let Value::Dict(_) = cursor.node.value {
            let mut both = cursor.dict().expect("it is a dictionary").in_both_spellings();
            for (key, guard) in [("callbacks", &mut hub.callback_guard), ("fetches", &mut hub.fetch_guard)] {
                if let Some(cursor) = both.take(key) {
                    reach(&cursor, guard);
                }
            }
            both.finish();
        } else {
            reach(&cursor, &mut hub.callback_guard);
            hub.fetch_guard = hub.callback_guard.clone();
        }
    }
    let ports = dict.list("allow_ports");
    let ports = ports.iter().filter_map(|cursor| cursor.integer(1..=1023)?.try_into().ok());
    let ports: Vec<u16> = ports.collect();
    hub.callback_guard.ports.clone_from(&ports);
    hub.fetch_guard.ports = ports;
}

/// `true` for all networks of one's own, or the list of those that are meant.
fn reach(cursor: &Cursor<'_>, guard: &mut Guard) {
    match cursor.node.value {
        Value::Bool(true) => guard.reach = Reach::Private,
        Value::Bool(false) => {}
        Value::List(_) => guard.allow = gate::networks(cursor),
        _ => cursor.must("true, false or a list of networks such as ['10.0.0.0/8']"),
    }
}
