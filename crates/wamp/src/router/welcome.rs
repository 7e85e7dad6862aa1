//! What a WELCOME announces.

use super::{MetaApi, Router};
use crate::identity::Identity;
use crate::value::Dict;

impl<P> Router<P> {
    pub(super) fn welcome(&self, realm: &str, identity: &Identity) -> Dict {
        let meta = self.settings.meta_api == MetaApi::On;
        let features = |names: &[&str]| {
            let mut features = Dict::new();
            for name in names {
                features.set(*name, true);
            }
            features
        };
        let mut broker = features(&[
            "publisher_identification",
            "publisher_exclusion",
            "subscriber_blackwhite_listing",
            "pattern_based_subscription",
            "event_retention",
        ]);
        let mut dealer = features(&["caller_identification", "call_canceling", "progressive_call_results"]);
        if meta {
            broker.set("session_meta_api", true);
            broker.set("subscription_meta_api", true);
            dealer.set("session_meta_api", true);
        }
        let roles = Dict::new()
            .with("broker", Dict::new().with("features", broker))
            .with("dealer", Dict::new().with("features", dealer));
        Dict::new()
            .with("realm", realm)
            .with("authid", &*identity.authid)
            .with("authrole", &*identity.authrole)
            .with("authmethod", identity.authmethod)
            .with("authprovider", identity.authprovider)
            .with("roles", roles)
    }
}
