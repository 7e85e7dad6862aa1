//! What the node knows about itself, gathered when somebody asks.
//!
//! Asking holds a realm's lock for two lengths of tables and stops no thread: each counts on while the numbers are added up,
//! so numbers of one page may be an event apart.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use stentor_store::Health;

use super::page::VERSION;
use crate::clock::Clock;
use crate::hub::{Hub, Numbers};
use crate::meter::text::Page;
use crate::meter::{Kind, Meters, Metric, Reason, Tally, sampled};
use crate::process::{self, Usage};
use crate::realm::Realm;

/// Where a node is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Listeners are being opened.
    Starting,
    /// It serves.
    Ready,
    /// It goes down.
    Draining,
}

/// Who knows everything that is told about the node.
#[derive(Debug)]
pub struct Watch {
    tally: Tally,
    clock: Arc<Clock>,
    realms: Vec<Arc<Realm>>,
    hubs: Vec<Arc<Hub>>,
    stage: AtomicU8,
}

impl Watch {
    /// A node that is starting.
    #[must_use]
    pub fn new(tally: Tally, clock: Arc<Clock>, realms: Vec<Arc<Realm>>, hubs: Vec<Arc<Hub>>) -> Self {
        Self { tally, clock, realms, hubs, stage: AtomicU8::new(Stage::Starting as u8) }
    }

    /// Where the node is in its life.
    #[must_use]
    pub fn stage(&self) -> Stage {
        [Stage::Starting, Stage::Ready, Stage::Draining][usize::from(self.stage.load(Ordering::Relaxed))]
    }

    /// The node has come to another stage.
    pub fn enter(&self, stage: Stage) {
        self.stage.store(stage as u8, Ordering::Relaxed);
    }

    /// Everything that is counted, added up over the threads.
    #[must_use]
    pub fn sum(&self) -> Meters {
        self.tally.sum()
    }

    /// The page of metrics.
    pub(super) async fn scrape(&self) -> String {
        let usage = tokio::task::spawn_blocking(process::usage).await.unwrap_or_default();
        let meters = self.sum();
        let mut page = Page::default();
        for (metric, number) in Meters::METRICS.iter().zip(meters.numbers()) {
            match metric.kind {
                Kind::Counter => page.single(metric, number),
                // The threads are read one after the other, so what one gave to another may be missing from both.
                Kind::Gauge => page.single(metric, number.cast_signed().max(0)),
            }
        }
        let closed = Reason::ALL.iter().map(|reason| (reason.label(), meters.closed.get(*reason)));
        page.labelled(&sampled::CLOSED, closed);
        page.labelled(&sampled::REQUESTS, meters.requests.numbers());
        self.add_realms(&mut page);
        self.add_hubs(&mut page).await;
        page.single(&sampled::READY, u8::from(self.stage() == Stage::Ready));
        page.labelled(&sampled::BUILD, [(VERSION, 1)]);
        let uptime = self.clock.uptime();
        page.single(&sampled::UPTIME, uptime.as_secs_f64());
        page.single(&sampled::THREADS, self.tally.serving().len());
        page.single(&sampled::START, self.clock.unix().saturating_sub(uptime).as_secs_f64());
        add_usage(&mut page, &usage);
        page.finish()
    }

    async fn add_hubs(&self, page: &mut Page) {
        let Some(first) = self.hubs.first() else { return };
        let mut hubs = Vec::with_capacity(self.hubs.len());
        for hub in &self.hubs {
            hubs.push((hub.name().as_str(), hub.numbers().await));
        }
        type Figure = (&'static Metric, fn(&Numbers) -> u64);
        let figures: [Figure; 11] = [
            (&sampled::HUB_SUBSCRIPTIONS, |hub| hub.subscriptions as u64),
            (&sampled::HUB_IN_FLIGHT, |hub| hub.in_flight as u64),
            (&sampled::HUB_BACKOFFS, |hub| hub.backoffs as u64),
            (&sampled::HUB_BREAKERS, |hub| hub.breakers_open as u64),
            (&sampled::HUB_PUBLICATIONS, |hub| hub.accepted),
            (&sampled::HUB_VERIFIED, |hub| hub.verified),
            (&sampled::HUB_REFUTED, |hub| hub.refuted),
            (&sampled::HUB_DELIVERED, |hub| hub.delivered),
            (&sampled::HUB_FAILED, |hub| hub.failed),
            (&sampled::HUB_DEAD, |hub| hub.dead),
            (&sampled::HUB_ENDED, |hub| hub.gone + hub.leases_ended),
        ];
        for (metric, figure) in figures {
            page.labelled(metric, hubs.iter().map(|(name, numbers)| (*name, figure(numbers))));
        }
        // All hubs of a node share one store.
        let status = first.store().status();
        page.single(&sampled::LOG_BYTES, status.log_bytes);
        page.single(&sampled::STORE_WRITABLE, u8::from(status.health == Health::Well));
        page.single(&sampled::DEAD_FORGOTTEN, status.dead_forgotten);
    }

    fn add_realms(&self, page: &mut Page) {
        // Realms of several workers may have one name, and two samples may not.
        let mut realms = BTreeMap::new();
        for realm in &self.realms {
            let (sessions, subscriptions) = realms.entry(realm.name.as_str()).or_insert((0, 0));
            *sessions += realm.session_count();
            *subscriptions += realm.subscription_count();
        }
        page.labelled(&sampled::SESSIONS, realms.iter().map(|(name, (sessions, _))| (name, sessions)));
        page.labelled(&sampled::SUBSCRIPTIONS, realms.iter().map(|(name, (_, subscriptions))| (name, subscriptions)));
    }
}

fn add_usage(page: &mut Page, usage: &Usage) {
    page.single(&sampled::CPU, usage.cpu.as_secs_f64());
    let known = [
        (&sampled::MEMORY, usage.resident_bytes),
        (&sampled::FDS, usage.open_files),
        (&sampled::FDS_MAX, usage.open_files_max),
    ];
    for (metric, number) in known {
        if let Some(number) = number {
            page.single(metric, number);
        }
    }
}
