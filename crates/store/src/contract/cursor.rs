//! The promises of [`Cursors`](crate::Cursors).

use stentor_model::{Offset, WebhookId};

use super::{Bed, cases, claim, fill, position, refused, subscribe};
use crate::{LastOutcome, Store, Timestamp};

cases![
    a_position_never_goes_back,
    a_position_is_never_behind_the_end,
    a_new_claim_ends_the_old,
    a_claim_does_not_outlive_a_crash,
    a_crash_goes_back_to_the_flush,
    closing_flushes,
    many_cursors_are_flushed_together,
    outcomes_are_shown_and_kept,
    who_is_gone_has_no_cursor,
];

fn a_position_never_goes_back<B: Bed>(bed: &mut B) {
    let store = bed.store();
    let id = subscribe(store, "a", "x", Offset::START);
    let places = fill(store, "a", 3);
    let held = claim(store, id);
    assert_eq!((held.id(), held.position()), (id, Offset::START));
    store.advance(&held, places[1]).unwrap();
    store.advance(&held, places[0]).unwrap();
    assert_eq!(position(store, id), places[1]);
    assert_eq!(claim(store, id).position(), places[1]);
}

fn a_position_is_never_behind_the_end<B: Bed>(bed: &mut B) {
    let store = bed.store();
    let place = fill(store, "a", 1)[0];
    let id = subscribe(store, "a", "x", Offset::new(1_000_000));
    assert_eq!(position(store, id), place);
    store.advance(&claim(store, id), Offset::new(1_000_000)).unwrap();
    assert_eq!(position(store, id), place);
}

fn a_new_claim_ends_the_old<B: Bed>(bed: &mut B) {
    let store = bed.store();
    let id = subscribe(store, "a", "x", Offset::START);
    let places = fill(store, "a", 2);
    let (old, new) = (claim(store, id), claim(store, id));
    refused(store.advance(&old, places[1]), "Fenced");
    refused(store.note(&old, outcome(1)), "Fenced");
    assert_eq!(position(store, id), Offset::START);
    store.advance(&new, places[0]).unwrap();
}

fn a_claim_does_not_outlive_a_crash<B: Bed>(bed: &mut B) {
    let id = subscribe(bed.store(), "a", "x", Offset::START);
    let places = fill(bed.store(), "a", 2);
    let old = claim(bed.store(), id);
    bed.crash();
    refused(bed.store().advance(&old, places[0]), "Fenced");
    let new = claim(bed.store(), id);
    refused(bed.store().advance(&old, places[0]), "Fenced");
    bed.store().advance(&new, places[0]).unwrap();
    assert_eq!(position(bed.store(), id), places[0]);
}

fn a_crash_goes_back_to_the_flush<B: Bed>(bed: &mut B) {
    let id = subscribe(bed.store(), "a", "x", Offset::START);
    let places = fill(bed.store(), "a", 3);
    let store = bed.store();
    let held = claim(store, id);
    store.advance(&held, places[1]).unwrap();
    assert_eq!(store.status().cursors_unflushed, 1);
    assert_eq!(store.flush().wait().unwrap(), 1);
    assert_eq!(store.flush().wait().unwrap(), 0);
    store.advance(&held, places[2]).unwrap();
    bed.crash();
    assert_eq!(position(bed.store(), id), places[1]);
}

fn closing_flushes<B: Bed>(bed: &mut B) {
    // A store that was closed can only be opened again where it is on disk, so this looks no further than the answer.
    let store = bed.store();
    let id = subscribe(store, "a", "x", Offset::START);
    let place = fill(store, "a", 1)[0];
    store.advance(&claim(store, id), place).unwrap();
    store.close().wait().unwrap();
}

fn many_cursors_are_flushed_together<B: Bed>(bed: &mut B) {
    const COUNT: usize = 11_000;
    let store = bed.store();
    let wishes = (0..COUNT).map(|at| super::wish("a", &at.to_string(), Offset::START));
    let ids: Vec<WebhookId> = wishes
        .collect::<Vec<_>>()
        .chunks(1000)
        .flat_map(|run| run.iter().map(|wanted| store.put(wanted.clone())).collect::<Vec<_>>())
        .map(|pending| pending.wait().unwrap().id())
        .collect();
    let place = fill(store, "a", 1)[0];
    for id in ids.iter().rev() {
        let held = claim(store, *id);
        store.advance(&held, place).unwrap();
        store.note(&held, outcome(id.0)).unwrap();
    }
    assert_eq!(store.flush().wait().unwrap(), COUNT);
    bed.crash();
    for id in [0, 4_999, 5_000, 9_999, COUNT - 1].map(|at| ids[at]) {
        let found = bed.store().get(id).wait().unwrap().unwrap();
        assert_eq!((found.position, found.outcome), (place, Some(outcome(id.0))));
    }
}

fn outcome(at: u64) -> LastOutcome {
    LastOutcome { at: Timestamp(at), status: Some(503), text: "unavailable".into() }
}

fn outcomes_are_shown_and_kept<B: Bed>(bed: &mut B) {
    let shown = |store: &dyn Store, id| store.get(id).wait().unwrap().unwrap().outcome;
    let id = subscribe(bed.store(), "a", "x", Offset::START);
    let held = claim(bed.store(), id);
    let silent = LastOutcome { at: Timestamp(3), status: None, text: "".into() };
    bed.store().note(&held, outcome(1)).unwrap();
    bed.store().note(&held, silent.clone()).unwrap();
    assert_eq!(shown(bed.store(), id), Some(silent.clone()));
    bed.store().flush().wait().unwrap();
    bed.store().note(&held, outcome(2)).unwrap();
    assert_eq!(shown(bed.store(), id), Some(outcome(2)));
    bed.crash();
    assert_eq!(shown(bed.store(), id), Some(silent));
}

fn who_is_gone_has_no_cursor<B: Bed>(bed: &mut B) {
    let store = bed.store();
    let id = subscribe(store, "a", "x", Offset::START);
    let place = fill(store, "a", 1)[0];
    let held = claim(store, id);
    store.advance(&held, place).unwrap();
    store.note(&held, outcome(1)).unwrap();
    store.remove(id).wait().unwrap();
    refused(store.advance(&held, place), "Unknown");
    assert_eq!(store.flush().wait().unwrap(), 0);
    assert_eq!(store.status().subscriptions, 0);
    bed.crash();
    assert_eq!(bed.store().get(id).wait().unwrap(), None);
}
