//! What can go wrong, by what the caller can do about it.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use stentor_model::{Offset, WebhookId};

/// Which limit was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// `log_bytes_max`: all topics together.
    LogBytes,
    /// `topic_bytes_max`: this topic.
    TopicBytes,
    /// `backlog_age_max`: a publication of this topic waits for too long already.
    BacklogAge,
    /// The file system, or the page limit of the file.
    Disk,
}

/// Why the store did not do what it was asked to. Cheap to clone, since one failed commit answers all who waited for it.
#[derive(Clone, Debug)]
pub enum StoreError {
    /// Too much waits already. Try again later.
    Busy,
    /// Room has run out. What is there stays and is delivered; new publications are refused until room is made.
    Full(Limit),
    /// The store does not trust its file any more and takes no writes. Reads go on.
    ReadOnly(Arc<str>),
    /// Somebody else holds the claim now; this one moves nothing any more.
    Fenced,
    /// No such subscription.
    Unknown(WebhookId),
    /// The log has no publication at this place, or not any more.
    Missing(Offset),
    /// The idempotency key came before, with other content.
    KeyReused,
    /// The named part is larger than the store takes.
    TooLarge(&'static str),
    /// The file is damaged where it was read.
    Corrupt(Arc<str>),
    /// Another process has the store open.
    Locked,
    /// The path leads to no store of this version or an earlier one, or to one of several names; the text says what is there.
    Unfit(Arc<str>),
    /// The store was closed, or its thread has ended.
    Closed,
    /// The file system or SQLite failed. A write may or may not have happened.
    Failed(Arc<dyn Error + Send + Sync>),
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy => f.write_str("too many requests wait for the store"),
            Self::Full(Limit::LogBytes) => f.write_str("the log has reached log_bytes_max"),
            Self::Full(Limit::TopicBytes) => f.write_str("the topic has reached topic_bytes_max"),
            Self::Full(Limit::BacklogAge) => {
                f.write_str("a publication of the topic has waited longer than backlog_age_max")
            }
            Self::Full(Limit::Disk) => f.write_str("the disk is full"),
            Self::ReadOnly(reason) => write!(f, "the store takes no writes: {reason}"),
            Self::Fenced => f.write_str("the claim on the cursor is no longer valid"),
            Self::Unknown(id) => write!(f, "there is no subscription {id}"),
            Self::Missing(offset) => write!(f, "the log has no publication at {offset}"),
            Self::KeyReused => f.write_str("the idempotency key was used before with other content"),
            Self::TooLarge(part) => write!(f, "{part} is too large for the store"),
            Self::Corrupt(what) => write!(f, "the file is damaged: {what}"),
            Self::Locked => f.write_str("another process has the store open"),
            Self::Unfit(what) => f.write_str(what),
            Self::Closed => f.write_str("the store is closed"),
            Self::Failed(source) => write!(f, "the store failed: {source}"),
        }
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Failed(source) => Some(&**source),
            _ => None,
        }
    }
}
