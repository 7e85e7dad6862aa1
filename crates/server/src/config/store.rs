//! `store`: where the order of a node's hubs lives, and how much of it is kept.

use super::endpoint::Sort;
use super::reader::{Context, Cursor, Dict};
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::time::Duration;
use stentor_store::Limits;

/// The store of a node. It is opened only where there is a hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreConfig {
    /// What holds it.
    pub kind: StoreKind,
    /// How much it takes before it refuses more.
    pub limits: Limits,
}

/// What holds the publications and subscriptions of hubs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreKind {
    /// One SQLite file.
    Sqlite {
        /// Resolved against the node directory.
        path: PathBuf,
    },
    /// Nothing: all is forgotten when the node ends.
    Memory,
}

/// The file in the node directory, where none is named.
const FILE: &str = "store.sqlite";

const STORE_TYPES: Sort<'static> = Sort { noun: "store type", known: &["sqlite", "memory"], unsupported: &[] };

/// Octets that a limit may allow: a petabyte, which tells a slip from a wish.
const BYTES_MAX: u64 = 1 << 50;

/// Seconds that a publication may be allowed to wait: ten years, as the longest lease.
const AGE_SECONDS_MAX: u64 = 10 * 365 * 86_400;

impl StoreConfig {
    /// The store of a node that says nothing about it.
    fn standard(cx: &Context<'_>) -> Self {
        let path = cx.surroundings.node_dir.join(FILE);
        Self { kind: StoreKind::Sqlite { path }, limits: Limits::default() }
    }
}

/// Reads `store` of a node.
pub(super) fn read(parent: &mut Dict<'_>) -> StoreConfig {
    let mut store = StoreConfig::standard(parent.cx);
    let Some(mut dict) = parent.dict("store").map(Dict::in_both_spellings) else { return store };
    let memory = match dict.need("type").and_then(|kind| Some((kind.name()?, kind))) {
        Some(("sqlite", _)) | None => false,
        Some(("memory", _)) => true,
        Some(("nats", kind)) => {
            kind.fault("store type 'nats' is not there yet; 'sqlite' keeps everything in one file of this node");
            false
        }
        Some((other, kind)) => {
            kind.fault(STORE_TYPES.refusal(other));
            false
        }
    };
    let path = dict.take("path");
    if let (true, Some(path)) = (memory, &path) {
        path.fault("has no effect with the type 'memory', which keeps nothing");
    } else if let Some(path) = path.as_ref().and_then(Cursor::file) {
        store.kind = StoreKind::Sqlite { path };
    }
    let file_bytes_max = dict.take("file_bytes_max");
    limits(&mut dict, &mut store.limits);
    if let Some(cursor) = file_bytes_max {
        if memory {
            cursor.fault("has no effect with the type 'memory', which has no file");
        }
        store.limits.file_bytes_max = cursor.integer(1 << 20..=BYTES_MAX).and_then(NonZeroU64::new);
    }
    if memory {
        store.kind = StoreKind::Memory;
    }
    dict.finish();
    store
}

fn limits(dict: &mut Dict<'_>, limits: &mut Limits) {
    dict.integer("log_bytes_max", 1 << 20..=BYTES_MAX, &mut limits.log_bytes_max);
    dict.integer("topic_bytes_max", 1 << 20..=BYTES_MAX, &mut limits.topic_bytes_max);
    if let Some(seconds) = dict.take("backlog_age_max").and_then(|cursor| cursor.integer(60..=AGE_SECONDS_MAX)) {
        limits.backlog_age_max = Duration::from_secs(seconds);
    }
    let entries = dict.take("history_entries").and_then(|cursor| cursor.integer(1..=1_000_000));
    limits.history_entries = entries.and_then(NonZeroU64::new).unwrap_or(limits.history_entries);
}
