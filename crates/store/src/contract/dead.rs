//! The promises of [`DeadPublications`](crate::DeadPublications).

use std::num::NonZeroU64;

use stentor_model::Offset;

use super::{Bed, cases, claim, fill, read, refused, subscribe, topic};
use crate::{Burial, DeadId, Scope, Timestamp};

cases![
    the_dead_outlive_the_log with |limits| limits.history_entries = NonZeroU64::MIN,
    burying_twice_is_burying_once,
    only_who_holds_the_cursor_gives_up,
    the_dead_are_forgotten_on_demand,
];

fn burial(offset: Offset) -> Burial {
    Burial { offset, at: Timestamp(7), attempts: 3, reason: "503".into() }
}

fn the_dead_outlive_the_log<B: Bed>(bed: &mut B) {
    let store = bed.store();
    let id = subscribe(store, "a", "x", Offset::START);
    let places = fill(store, "a", 3);
    let entry = read(store, "a", Offset::START).entries.swap_remove(0);
    let held = claim(store, id);
    let buried = store.bury(&held, burial(places[0])).wait().unwrap();
    store.advance(&held, places[2]).unwrap();
    store.flush().wait().unwrap();
    assert_eq!(store.trim(Timestamp(1)).wait().unwrap().publications, 2);
    store.remove(id).wait().unwrap();
    bed.crash();
    let dead = bed.store().dead(buried).wait().unwrap().unwrap();
    assert_eq!((dead.id, dead.subscription, &dead.burial), (buried, id, &burial(places[0])));
    assert_eq!(dead.entry, entry);
    let check = |scope: &Scope, after, entries, expected: usize| {
        assert_eq!(bed.store().list_dead(scope, after, entries).wait().unwrap(), vec![dead.clone(); expected]);
    };
    check(&Scope::All, DeadId(0), 10, 1);
    check(&Scope::Hub(topic("a").hub), DeadId(0), 10, 1);
    check(&Scope::Topic(topic("a")), DeadId(0), 10, 1);
    check(&Scope::Topic(topic("b")), DeadId(0), 10, 0);
    check(&Scope::All, buried, 10, 0);
    check(&Scope::All, DeadId(0), 0, 0);
}

fn burying_twice_is_burying_once<B: Bed>(bed: &mut B) {
    let store = bed.store();
    let ids = ["x", "y"].map(|callback| subscribe(store, "a", callback, Offset::START));
    let places = fill(store, "a", 2);
    let claims = ids.map(|id| claim(store, id));
    let first = store.bury(&claims[0], burial(places[0])).wait().unwrap();
    let other = store.bury(&claims[1], burial(places[0])).wait().unwrap();
    let next = store.bury(&claims[0], burial(places[1])).wait().unwrap();
    assert!(first < other && other < next);
    bed.crash();
    let again = claim(bed.store(), ids[0]);
    assert_eq!(bed.store().bury(&again, burial(places[0])).wait().unwrap(), first);
    assert_eq!(bed.store().list_dead(&Scope::All, DeadId(0), 10).wait().unwrap().len(), 3);
}

fn only_who_holds_the_cursor_gives_up<B: Bed>(bed: &mut B) {
    let store = bed.store();
    let id = subscribe(store, "a", "x", Offset::START);
    let place = fill(store, "a", 1)[0];
    let old = claim(store, id);
    let new = claim(store, id);
    refused(store.bury(&old, burial(place)).wait(), "Fenced");
    refused(store.bury(&new, burial(Offset::new(99))).wait(), "Missing");
    assert!(store.list_dead(&Scope::All, DeadId(0), 10).wait().unwrap().is_empty());
}

fn the_dead_are_forgotten_on_demand<B: Bed>(bed: &mut B) {
    let store = bed.store();
    let id = subscribe(store, "a", "x", Offset::START);
    let places = fill(store, "a", 2);
    let held = claim(store, id);
    let first = store.bury(&held, burial(places[0])).wait().unwrap();
    store.forget_dead(first).wait().unwrap();
    store.forget_dead(first).wait().unwrap();
    bed.crash();
    assert_eq!(bed.store().dead(first).wait().unwrap(), None);
    let held = claim(bed.store(), id);
    assert!(bed.store().bury(&held, burial(places[1])).wait().unwrap() > first);
}
