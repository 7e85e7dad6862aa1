//! What is cut from the log, and what never is.

use std::num::NonZeroU64;
use std::time::Duration;

use stentor_model::Offset;

use super::{Bed, append, cases, claim, draft, fill, offsets, read, refused, subscribe, topic};
use crate::{Limits, Sequence, State, Store, Timestamp};

cases![
    the_newest_stays with no_history,
    the_slowest_durable_cursor_holds with no_history,
    whoever_has_ended_holds_nothing with no_history,
    a_reader_of_the_past_holds with no_history,
    what_is_pinned_stays with no_history,
    history_is_kept with |limits| limits.history_entries = NonZeroU64::new(3).unwrap(),
    numbers_go_on_after_a_cut with no_history,
    large_cuts_are_whole with no_history,
    who_waits_too_long_stops_its_topic with |limits| limits.backlog_age_max = Duration::from_secs(1),
];

fn no_history(limits: &mut Limits) {
    limits.history_entries = NonZeroU64::MIN;
}

fn trim(store: &dyn Store) -> u64 {
    store.trim(Timestamp(1)).wait().unwrap().publications
}

fn the_newest_stays<B: Bed>(bed: &mut B) {
    let store = bed.store();
    let places = fill(store, "a", 5);
    append(store, "b", 1);
    assert_eq!(trim(store), 4);
    assert_eq!(trim(store), 0);
    let page = read(store, "a", Offset::START);
    assert_eq!(offsets(&page.entries), [places[4]]);
    assert_eq!(page.gap, Some(places[3]));
    assert_eq!(read(store, "a", places[3]).gap, None);
    assert_eq!(read(store, "b", Offset::START).gap, None);
    assert_eq!(store.newest(&topic("a")).wait().unwrap().unwrap().offset, places[4]);
    let all = store.tail(Offset::START, crate::ReadLimit::default()).wait().unwrap();
    assert_eq!((all.entries.len(), all.gap), (2, Some(places[3])));
}

fn the_slowest_durable_cursor_holds<B: Bed>(bed: &mut B) {
    let store = bed.store();
    let ids = ["x", "y"].map(|callback| subscribe(store, "a", callback, Offset::START));
    let places = fill(store, "a", 6);
    let claims = ids.map(|id| claim(store, id));
    assert_eq!(trim(store), 0);
    store.advance(&claims[0], places[4]).unwrap();
    store.advance(&claims[1], places[2]).unwrap();
    assert_eq!(trim(store), 0, "what a crash would go back to is not cut");
    assert_eq!(store.flush().wait().unwrap(), 2);
    assert_eq!(trim(store), 3);
    assert_eq!(offsets(&read(store, "a", places[2]).entries), places[3..]);
    bed.crash();
    let page = read(bed.store(), "a", places[2]);
    assert_eq!((offsets(&page.entries), page.gap), (places[3..].to_vec(), None));
}

fn whoever_has_ended_holds_nothing<B: Bed>(bed: &mut B) {
    let store = bed.store();
    let ids = ["x", "y", "z"].map(|callback| subscribe(store, "a", callback, Offset::START));
    fill(store, "a", 4);
    store.set_state(ids[0], State::Gone { reason: "410".into() }).wait().unwrap();
    store.set_state(ids[1], State::Denied { reason: "no".into() }).wait().unwrap();
    assert_eq!(trim(store), 0);
    store.remove(ids[2]).wait().unwrap();
    bed.crash();
    assert_eq!(trim(bed.store()), 3);
}

fn a_reader_of_the_past_holds<B: Bed>(bed: &mut B) {
    let store = bed.store();
    let places = fill(store, "a", 4);
    let id = subscribe(store, "a", "x", places[1]);
    assert_eq!(trim(store), 2);
    assert_eq!(offsets(&read(store, "a", claim(store, id).position()).entries), places[2..]);
}

fn what_is_pinned_stays<B: Bed>(bed: &mut B) {
    let store = bed.store();
    let others = subscribe(store, "b", "x", Offset::START);
    let before = fill(store, "a", 2);
    let pin = store.pin();
    let later = store.pin();
    assert_eq!((pin.offset(), later.offset()), (before[1], before[1]));
    drop(later);
    let behind: Vec<_> = (3..=5).map(|number| append(store, "a", number).offset).collect();
    let beside = fill(store, "b", 3);
    store.advance(&claim(store, others), beside[2]).unwrap();
    store.flush().wait().unwrap();
    assert_eq!(trim(store), 2, "what lies before it may go, but on no topic what comes behind it");
    let id = subscribe(store, "a", "x", pin.offset());
    drop(pin);
    assert_eq!(trim(store), 2, "of the other topic");
    let page = read(store, "a", claim(store, id).position());
    assert_eq!((offsets(&page.entries), page.gap), (behind, None));
}

fn history_is_kept<B: Bed>(bed: &mut B) {
    let store = bed.store();
    let places = fill(store, "a", 5);
    assert_eq!(trim(store), 2);
    assert_eq!(offsets(&read(store, "a", Offset::START).entries), places[2..]);
}

fn numbers_go_on_after_a_cut<B: Bed>(bed: &mut B) {
    let before = fill(bed.store(), "a", 3);
    trim(bed.store());
    bed.crash();
    let next = append(bed.store(), "a", 4);
    assert_eq!(next.sequence, Sequence(4));
    assert!(next.offset > before[2]);
    assert_eq!(trim(bed.store()), 1);
}

fn large_cuts_are_whole<B: Bed>(bed: &mut B) {
    const COUNT: u64 = 1500;
    let store = bed.store();
    let pending: Vec<_> = (1..=COUNT).map(|number| store.append(draft("a", number))).collect();
    for pending in pending {
        pending.wait().unwrap();
    }
    let before = store.status().log_bytes;
    let trimmed = store.trim(Timestamp(1)).wait().unwrap();
    assert_eq!(trimmed.publications, COUNT - 1);
    assert_eq!(store.status().log_bytes, before - trimmed.bytes);
    assert_eq!(read(store, "a", Offset::START).entries.len(), 1);
}

fn who_waits_too_long_stops_its_topic<B: Bed>(bed: &mut B) {
    let store = bed.store();
    let id = subscribe(store, "a", "x", Offset::START);
    let places = fill(store, "a", 2);
    assert_eq!(store.trim(Timestamp(1001)).wait().unwrap().topics_overdue, 0);
    append(store, "a", 3);
    assert_eq!(store.trim(Timestamp(1002)).wait().unwrap().topics_overdue, 1);
    refused(store.append(draft("a", 4)).wait(), "Full(BacklogAge)");
    append(store, "b", 1);
    store.advance(&claim(store, id), places[1]).unwrap();
    store.flush().wait().unwrap();
    store.trim(Timestamp(1003)).wait().unwrap();
    append(store, "a", 4);
}
