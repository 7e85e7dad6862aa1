//! What one session holds of a kind, and how much of it it may hold.
//!
//! Their number alone would be no bound of memory: ten thousand URIs of four thousand octets are forty mebioctets, and a
//! thousand sessions have as many each. It knows ids and lengths; what stands behind the ids is in the tables.

use super::Refusal;
use crate::uri::{Match, reason};

/// What a component of a wildcard counts for beside its octets. Each that is named is an entry of a table, which takes far more
/// than a short word.
pub(crate) const COMPONENT_BYTES: usize = 16;

/// What a URI counts for.
fn weight(uri: &str, matching: Match) -> usize {
    match matching {
        Match::Exact | Match::Prefix => uri.len(),
        Match::Wildcard => uri.len() + COMPONENT_BYTES * uri.split('.').count(),
    }
}

/// Octets of the URIs of all subscriptions of a session, for each of those that it may hold, and likewise of registrations.
/// They share them: some may be longer than others.
pub(crate) const URI_BYTES_EACH: usize = 100;

/// Octets that a session may have in any case, so that few URIs may be as long as URIs may be.
pub(crate) const URI_BYTES_MIN: usize = 64 * 1024;

/// Octets that the URIs of so many subscriptions or registrations of one session may have together: those of 10,000, which is what
/// a session may hold unless configured, a million.
#[must_use]
pub(crate) const fn uri_bytes_max(count_max: usize) -> usize {
    let all = count_max.saturating_mul(URI_BYTES_EACH);
    if all < URI_BYTES_MIN { URI_BYTES_MIN } else { all }
}

/// Subscriptions or registrations of a session.
#[derive(Debug)]
pub(super) struct Holdings<Id> {
    ids: Vec<Id>,
    uri_bytes: usize,
}

impl<Id> Default for Holdings<Id> {
    fn default() -> Self {
        Self { ids: Vec::new(), uri_bytes: 0 }
    }
}

impl<Id: Copy + PartialEq> Holdings<Id> {
    /// What is held, in no order.
    pub(super) fn ids(&self) -> &[Id] {
        &self.ids
    }

    /// Why one more on this URI may not be held, if so. `what` names them in the sentence.
    pub(super) fn refusal(&self, uri: &str, matching: Match, count_max: usize, what: &str) -> Option<Refusal> {
        let bytes_max = uri_bytes_max(count_max);
        let sentence = if self.ids.len() >= count_max {
            format!("a session may hold {count_max} {what}")
        } else if self.uri_bytes + weight(uri, matching) > bytes_max {
            let components = match matching {
                Match::Wildcard => format!(", and each component of a wildcard counts {COMPONENT_BYTES} more"),
                Match::Exact | Match::Prefix => String::new(),
            };
            format!("the URIs of all {what} of a session may have {bytes_max} octets together{components}")
        } else {
            return None;
        };
        Some(Refusal::new(reason::UNAVAILABLE, sentence))
    }

    /// Notes one more.
    pub(super) fn add(&mut self, id: Id, uri: &str, matching: Match) {
        self.ids.push(id);
        self.uri_bytes += weight(uri, matching);
    }

    /// Takes one out, whose URI this is; false when it is not held.
    pub(super) fn take(&mut self, id: Id, uri: &str, matching: Match) -> bool {
        let Some(place) = self.ids.iter().position(|&one| one == id) else { return false };
        self.ids.swap_remove(place);
        self.uri_bytes -= weight(uri, matching);
        true
    }
}
