//! The store of the simulated world: what is durable, and what is only in memory and goes with a crash.

use std::collections::{BTreeMap, BTreeSet};

/// Octets that one read gives at most.
pub(crate) const PAGE_OCTETS_MAX: u64 = 1000;

/// A subscription as it is written.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) topic: u64,
    pub(crate) host: u64,
    pub(crate) cursor: u64,
    pub(crate) lease_end: u64,
    pub(crate) attempts_max: u32,
}

#[derive(Debug, Default)]
pub(crate) struct Disk {
    /// The durable publications of each topic.
    pub(crate) logs: Vec<Vec<u64>>,
    pub(crate) rows: BTreeMap<u64, Row>,
    /// Given up, by subscription and place, after so many attempts.
    pub(crate) dead: BTreeMap<(u64, u64), u32>,
    /// Octets of each publication.
    octets: BTreeMap<u64, u64>,
    /// Publications whose body the log has lost.
    pub(crate) holes: BTreeSet<u64>,
    /// Cursors that wait for the next flush. Not durable.
    pub(crate) unflushed: BTreeMap<u64, u64>,
    pub(crate) is_bad: bool,
    next: u64,
}

impl Disk {
    pub(crate) fn new(topics: u64) -> Self {
        Self { logs: (0..topics).map(|_| Vec::new()).collect(), ..Self::default() }
    }

    /// Appends a publication of so many octets `gap` after the last of any topic.
    pub(crate) fn append(&mut self, topic: u64, gap: u64, octets: u64) -> u64 {
        self.next += gap.max(1);
        self.octets.insert(self.next, octets);
        let at = usize::try_from(topic).expect("a handful of topics");
        self.logs[at].push(self.next);
        self.next
    }

    pub(crate) fn log(&self, topic: u64) -> &[u64] {
        let at = usize::try_from(topic).expect("a handful of topics");
        &self.logs[at]
    }

    pub(crate) fn tail(&self, topic: u64) -> u64 {
        self.log(topic).last().copied().unwrap_or(0)
    }

    /// The publications after a place, in order.
    pub(crate) fn after(&self, topic: u64, after: u64) -> &[u64] {
        let log = self.log(topic);
        &log[log.partition_point(|&offset| offset <= after)..]
    }

    /// The publications after a place, as many as one read gives, and whether it kept something back.
    pub(crate) fn page(&self, topic: u64, after: u64, limit: usize) -> (&[u64], bool) {
        let rest = self.after(topic, after);
        let mut octets = 0;
        let fits = |offset: &&u64| {
            octets += self.octets.get(offset).copied().unwrap_or_default();
            octets <= PAGE_OCTETS_MAX
        };
        // One at least, however large.
        let count = rest.iter().take(limit).take_while(fits).count().max(1).min(rest.len());
        (&rest[..count], count < rest.len())
    }

    /// Octets of these publications.
    pub(crate) fn octets(&self, offsets: &[u64]) -> u64 {
        offsets.iter().filter_map(|offset| self.octets.get(offset)).sum()
    }

    /// The publication before a place.
    pub(crate) fn before(&self, topic: u64, place: u64) -> Option<u64> {
        let log = self.log(topic);
        log[..log.partition_point(|&offset| offset < place)].last().copied()
    }

    pub(crate) fn flush(&mut self) {
        for (webhook, cursor) in std::mem::take(&mut self.unflushed) {
            if let Some(row) = self.rows.get_mut(&webhook) {
                row.cursor = row.cursor.max(cursor);
            }
        }
    }

    /// The newest cursor that this life knows.
    pub(crate) fn cursor(&self, webhook: u64) -> u64 {
        let written = self.rows.get(&webhook).map_or(0, |row| row.cursor);
        self.unflushed.get(&webhook).copied().unwrap_or(written)
    }

    pub(crate) fn crash(&mut self) {
        self.unflushed.clear();
    }
}
