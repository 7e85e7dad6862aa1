//! One host: what is on its way to it, who waits for a turn, and whether it can be reached at all.

use std::sync::Arc;

use crate::list::{Linked, Links, List};

/// Whether requests may go to a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Breaker {
    /// They may. Counts those in a row that never reached it.
    Closed { failures: u32 },
    /// They may not, until that time.
    Open { until: u64, trips: u32 },
    /// One may, to see.
    HalfOpen { trips: u32 },
}

/// The two queues in which hosts with work wait for their turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ring {
    /// Nothing is on its way to them.
    Fresh,
    /// Something is.
    Busy,
}

#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) name: Arc<str>,
    pub(crate) links: Links,
    /// Subscriptions whose next publication may go.
    pub(crate) ready: List,
    pub(crate) in_flight: u32,
    pub(crate) webhooks: u32,
    /// In which queue it stands.
    pub(crate) ring: Option<Ring>,
    pub(crate) breaker: Breaker,
}

impl Linked for Host {
    fn links(&mut self) -> &mut Links {
        &mut self.links
    }
}

impl Host {
    pub(crate) fn new(name: Arc<str>) -> Self {
        Self {
            name,
            links: Links::OUT,
            ready: List::default(),
            in_flight: 0,
            webhooks: 0,
            ring: None,
            breaker: Breaker::Closed { failures: 0 },
        }
    }

    /// The queue in which it ought to stand.
    pub(crate) fn wanted_ring(&self, in_flight_max: usize) -> Option<Ring> {
        let limit = match self.breaker {
            Breaker::Closed { .. } => in_flight_max,
            Breaker::Open { .. } => 0,
            Breaker::HalfOpen { .. } => 1,
        };
        if self.ready.is_empty() || self.in_flight as usize >= limit {
            None
        } else if self.in_flight == 0 {
            Some(Ring::Fresh)
        } else {
            Some(Ring::Busy)
        }
    }
}
