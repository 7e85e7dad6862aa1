//! What an operator decides about a hub: names, units, defaults and limits. Plain data.
//!
//! How a configuration spells them is not known here; [`HubOptions::check`] says what contradicts itself.

use std::fmt;
use std::time::Duration;

use crate::guard::Guard;
use crate::lease::LeaseBounds;
use crate::signature::Algorithm;

/// What a hub demands of a request for a subscription (`subscription_security`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SubscriptionSecurity {
    /// Nothing.
    #[default]
    None,
    /// The callback is an https URL.
    Https,
    /// A `hub.secret` is given.
    Secret,
    /// An https callback and a secret.
    Both,
}

impl SubscriptionSecurity {
    /// The setting with this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "none" => Some(Self::None),
            "https" => Some(Self::Https),
            "secret" => Some(Self::Secret),
            "both" => Some(Self::Both),
            _ => None,
        }
    }

    /// Whether the callback has to be an https URL.
    #[must_use]
    pub const fn needs_https(self) -> bool {
        matches!(self, Self::Https | Self::Both)
    }

    /// Whether a secret has to be given.
    #[must_use]
    pub const fn needs_secret(self) -> bool {
        matches!(self, Self::Secret | Self::Both)
    }
}

/// What an authenticator's `None` means (`none_result`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NoneResult {
    /// The request is accepted with 202 and the subscription denied at the callback, as the reference's section on
    /// returns says.
    #[default]
    Deny,
    /// 403 at once, as the comment in the reference's template says.
    Reject,
}

impl NoneResult {
    /// The setting with this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "deny" => Some(Self::Deny),
            "reject" => Some(Self::Reject),
            _ => None,
        }
    }
}

/// How often and how patiently a callback is asked for its intent (`verify_*`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifyOptions {
    /// Attempts in total, when the callback does not answer. Bounded, so that a hub is no tool against a host.
    pub attempts_max: u32,
    /// Wait after the first attempt; it doubles with each further one. The reference hub of old began with 30 seconds.
    pub delay_first: Duration,
    /// For connecting, asking and reading.
    pub timeout: Duration,
}

impl Default for VerifyOptions {
    fn default() -> Self {
        Self { attempts_max: 5, delay_first: Duration::from_secs(30), timeout: Duration::from_secs(10) }
    }
}

/// How content is fetched, for `contentUrl` and for pings (`fetch_*`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchOptions {
    /// Octets of a body; a longer one is a failure, not cut.
    pub bytes_max: usize,
    /// For connecting, asking and reading, redirects included.
    pub timeout: Duration,
    /// Redirects followed; each goal passes the guard again. The reference hub of old followed 7.
    pub redirects_max: u32,
    /// Attempts in total before the message is given up.
    pub attempts_max: u32,
    /// Wait after the first attempt; it doubles with each further one.
    pub delay_first: Duration,
}

impl Default for FetchOptions {
    fn default() -> Self {
        Self {
            bytes_max: 16 << 20,
            timeout: Duration::from_secs(30),
            redirects_max: 5,
            attempts_max: 5,
            delay_first: Duration::from_secs(1),
        }
    }
}

/// What may wait at once, and how large requests may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitOptions {
    /// Octets of a form-encoded request. A subscription needs a tenth; a ping may name many topics.
    pub request_bytes_max: usize,
    /// Topics of one ping, each of which costs a fetch.
    pub ping_topics_max: usize,
    /// Requests that wait for an authenticator or a callback. A request costs about a kilobyte.
    pub pending_max: usize,
    /// Requests that wait for one callback host, so that a hub is no tool against it, nor one dead host fills the table.
    pub pending_per_host_max: usize,
    /// How long a published JSON message may be.
    pub message_bytes_max: usize,
    /// Requests for subscriptions from one client, in a second on average; more are refused. 0 is no limit.
    pub subscribe_rate_per_client_max: u32,
    /// Questions to the callbacks of one host, in a second on average; more wait. 0 is no limit.
    pub verify_rate_per_host_max: u32,
}

impl Default for LimitOptions {
    fn default() -> Self {
        Self {
            request_bytes_max: 64 << 10,
            ping_topics_max: 100,
            pending_max: 100_000,
            pending_per_host_max: 5_000,
            message_bytes_max: 24 << 20,
            subscribe_rate_per_client_max: 100,
            verify_rate_per_host_max: 50,
        }
    }
}

/// Everything about one hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubOptions {
    /// The URL that is advertised as `rel="hub"`; subscribers compare it byte for byte.
    pub hub_url: String,
    /// `default_lease_seconds`, `min_lease_seconds`, `max_lease_seconds`.
    pub lease: LeaseBounds,
    /// `delivery_retries`: attempts in total for a publication; nothing is without limit until the lease ends.
    pub delivery_retries: Option<std::num::NonZeroU32>,
    /// `signature_algorithm`.
    pub signature_algorithm: Algorithm,
    /// `subscription_security`.
    pub subscription_security: SubscriptionSecurity,
    /// `none_result`.
    pub none_result: NoneResult,
    /// Asking callbacks.
    pub verify: VerifyOptions,
    /// Fetching content.
    pub fetch: FetchOptions,
    /// What may wait and how large it may be.
    pub limits: LimitOptions,
    /// Where callbacks may be.
    pub callback_guard: Guard,
    /// Where content may be. Apart from callbacks: an intranet's feeds may be fetched without being posted to.
    pub fetch_guard: Guard,
}

impl HubOptions {
    /// The defaults for the hub at this URL.
    #[must_use]
    pub fn new(hub_url: impl Into<String>) -> Self {
        Self {
            hub_url: hub_url.into(),
            lease: LeaseBounds::default(),
            delivery_retries: None,
            signature_algorithm: Algorithm::default(),
            subscription_security: SubscriptionSecurity::default(),
            none_result: NoneResult::default(),
            verify: VerifyOptions::default(),
            fetch: FetchOptions::default(),
            limits: LimitOptions::default(),
            callback_guard: Guard::default(),
            fetch_guard: Guard::default(),
        }
    }

    /// Looks for settings that contradict each other.
    ///
    /// # Errors
    /// The first fault.
    pub fn check(&self) -> Result<(), OptionFault> {
        crate::address::Address::parse(&self.hub_url).map_err(OptionFault::HubUrl)?;
        self.lease.check()?;
        let counts = [
            ("verify_attempts", u64::from(self.verify.attempts_max)),
            ("fetch_attempts", u64::from(self.fetch.attempts_max)),
            ("pending_max", self.limits.pending_max as u64),
            ("pending_per_host_max", self.limits.pending_per_host_max as u64),
            ("ping_topics_max", self.limits.ping_topics_max as u64),
            ("fetch_bytes_max", self.fetch.bytes_max as u64),
        ];
        let zero = counts.iter().find(|(_, count)| *count == 0);
        zero.map_or(Ok(()), |(name, _)| Err(OptionFault::Zero { name }))
    }
}

/// Settings that cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OptionFault {
    /// The hub's own URL is none.
    HubUrl(crate::address::AddressFault),
    /// A lease bound outside of what is allowed, or bounds out of order.
    Lease {
        /// The setting.
        name: &'static str,
        /// The least it may be, in seconds.
        at_least: u64,
        /// The most it may be, in seconds.
        at_most: u64,
    },
    /// A limit of nothing, with which the hub could do nothing.
    Zero {
        /// The setting.
        name: &'static str,
    },
}

impl fmt::Display for OptionFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HubUrl(fault) => write!(f, "hub_url {fault}"),
            Self::Lease { name, at_least, at_most } => {
                write!(f, "{name} has to lie from {at_least} to {at_most} seconds")
            }
            Self::Zero { name } => write!(f, "{name} has to be at least 1"),
        }
    }
}

impl std::error::Error for OptionFault {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_those_of_the_reference() {
        let options = HubOptions::new("https://hub.example/");
        assert_eq!(options.check(), Ok(()));
        assert_eq!((options.lease.default, options.lease.max, options.lease.min), (864_000, 864_000, 300));
        assert_eq!(options.delivery_retries, None);
        assert_eq!(options.signature_algorithm, Algorithm::Sha1);
        assert_eq!(options.subscription_security, SubscriptionSecurity::None);
        assert_eq!(options.none_result, NoneResult::Deny);
    }

    #[test]
    fn contradictions_are_found() {
        let check = |change: fn(&mut HubOptions), expected: &str| {
            let mut options = HubOptions::new("https://hub.example/");
            change(&mut options);
            assert_eq!(options.check().unwrap_err().to_string(), expected);
        };
        check(|o| o.hub_url = "hub".to_owned(), "hub_url is neither an http:// nor an https:// URL");
        check(|o| o.lease.max = 299, "max_lease_seconds has to lie from 300 to 315360000 seconds");
        check(|o| o.lease.default = 864_001, "default_lease_seconds has to lie from 300 to 864000 seconds");
        check(|o| o.lease.min = 0, "min_lease_seconds has to lie from 1 to 315360000 seconds");
        check(|o| o.verify.attempts_max = 0, "verify_attempts has to be at least 1");
    }

    #[test]
    fn names_are_read() {
        let check = |name: &str, expected| assert_eq!(SubscriptionSecurity::parse(name), expected);
        check("none", Some(SubscriptionSecurity::None));
        check("https", Some(SubscriptionSecurity::Https));
        check("secret", Some(SubscriptionSecurity::Secret));
        check("both", Some(SubscriptionSecurity::Both));
        check("HTTPS", None);
        assert_eq!(NoneResult::parse("reject"), Some(NoneResult::Reject));
        assert_eq!(NoneResult::parse("403"), None);
    }
}
