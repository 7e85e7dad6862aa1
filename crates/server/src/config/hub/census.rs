//! The hubs of a node, and who names them: a path may name a hub that comes later in the file.

use super::super::reader::{Cursor, did_you_mean};
use std::cell::RefCell;

/// Collects while paths are read, and judges at the end. Names are entered even where a hub has other faults, so that it
/// does not make every reference to it a fault too.
#[derive(Debug, Default)]
pub(in super::super) struct Census<'a> {
    hubs: RefCell<Vec<(String, String)>>,
    references: RefCell<Vec<Cursor<'a>>>,
    admins: RefCell<Vec<Cursor<'a>>>,
}

impl<'a> Census<'a> {
    /// Enters a hub, unless its name is taken.
    pub(super) fn declare(&self, name: &str, place: &Cursor<'_>) {
        let mut hubs = self.hubs.borrow_mut();
        match hubs.iter().find(|(known, _)| known == name) {
            Some((_, path)) => {
                place.fault(format!("a second hub '{name}', beside the one at {path}; give it a 'name' of its own"));
            }
            None => hubs.push((name.to_owned(), place.path.clone())),
        }
    }

    /// Notes that a hub was named here.
    pub(super) fn refer(&self, cursor: Cursor<'a>) {
        self.references.borrow_mut().push(cursor);
    }

    /// Notes that all hubs are looked after here.
    pub(super) fn administer(&self, place: Cursor<'a>) {
        self.admins.borrow_mut().push(place);
    }

    /// Looks for names without a hub.
    pub(in super::super) fn settle(self) {
        let hubs = self.hubs.into_inner();
        for cursor in self.references.into_inner() {
            let Some(name) = cursor.text() else { continue };
            if !hubs.iter().any(|(known, _)| known == name) {
                let hint = did_you_mean(name, hubs.iter().map(|(name, _)| name.as_str()));
                cursor.fault(format!("this node has no hub '{name}'{hint}"));
            }
        }
        if hubs.is_empty() {
            for place in self.admins.into_inner() {
                place.advise("this node has no hub that could be looked after here");
            }
        }
    }
}
