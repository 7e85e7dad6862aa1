//! The promises of [`Subscriptions`](crate::Subscriptions).

use stentor_model::{Offset, Secret, WebhookId};

use super::{Bed, append, cases, claim, fill, position, refused, subscribe, topic, topic_of, wish};
use crate::{CALLBACK_BYTES_MAX, NewSubscription, Placed, Recipient, Scope, State, Store, Timestamp};

cases![
    what_was_put_comes_back,
    putting_again_renews,
    what_has_ended_is_revived,
    states_have_reasons,
    identifiers_are_never_used_twice,
    lists_are_pages_of_a_scope,
    recipients_are_the_active_ones_of_a_hub,
    secrets_do_not_show,
    what_is_too_large_is_refused,
];

fn what_was_put_comes_back<B: Bed>(bed: &mut B) {
    let places = fill(bed.store(), "a", 3);
    let wanted = NewSubscription {
        secret: Some(Secret::new("hunter2")),
        identity: Some("joe".into()),
        extras: vec![("format".into(), "json".into())],
        ..wish("a", "https://example.org/hook", places[1])
    };
    let id = bed.store().put(wanted.clone()).wait().unwrap().id();
    let check = |store: &dyn Store| {
        let found = store.get(id).wait().unwrap().unwrap();
        assert_eq!((found.id, &found.topic, &found.callback), (id, &wanted.topic, &wanted.callback));
        assert_eq!((&found.secret, &found.identity, &found.extras), (&wanted.secret, &wanted.identity, &wanted.extras));
        assert_eq!((found.created, found.verified), (wanted.created, wanted.verified));
        assert_eq!((found.lease_end, &found.state), (wanted.lease_end, &State::Active));
        assert_eq!((&found.outcome, found.position), (&None, places[1]));
        assert_eq!(store.find(&wanted.topic, &wanted.callback).wait().unwrap(), Some(found));
        assert_eq!(store.find(&wanted.topic, "other").wait().unwrap(), None);
        assert_eq!(store.find(&topic("other"), &wanted.callback).wait().unwrap(), None);
    };
    check(bed.store());
    bed.crash();
    check(bed.store());
}

fn putting_again_renews<B: Bed>(bed: &mut B) {
    let store = bed.store();
    let id = subscribe(store, "a", "x", Offset::START);
    let places = fill(store, "a", 2);
    let held = claim(store, id);
    store.advance(&held, places[0]).unwrap();
    let renewal = NewSubscription {
        lease_end: Timestamp(9),
        secret: Some(Secret::new("new")),
        created: Timestamp(8),
        ..wish("a", "x", places[1])
    };
    assert_eq!(store.put(renewal.clone()).wait().unwrap(), Placed::Renewed(id));
    let found = store.get(id).wait().unwrap().unwrap();
    assert_eq!((found.lease_end, found.secret, found.created), (Timestamp(9), renewal.secret, Timestamp(1)));
    assert_eq!(found.position, places[0], "a renewal skips nothing");
    store.advance(&held, places[1]).unwrap();
}

fn what_has_ended_is_revived<B: Bed>(bed: &mut B) {
    let store = bed.store();
    let id = subscribe(store, "a", "x", Offset::START);
    let places = fill(store, "a", 3);
    let held = claim(store, id);
    store.advance(&held, places[2]).unwrap();
    store.set_state(id, State::Gone { reason: "410".into() }).wait().unwrap();
    assert_eq!(store.put(wish("a", "x", places[0])).wait().unwrap(), Placed::Revived(id));
    assert_eq!(position(store, id), places[0]);
    refused(store.advance(&held, places[2]), "Fenced");
    // What the earlier life had not flushed does not come over this one.
    store.flush().wait().unwrap();
    bed.crash();
    let found = bed.store().get(id).wait().unwrap().unwrap();
    assert_eq!((found.state, found.position), (State::Active, places[0]));
}

fn states_have_reasons<B: Bed>(bed: &mut B) {
    let store = bed.store();
    let states = [
        State::Denied { reason: "not for you".into() },
        State::Gone { reason: "".into() },
        State::Gone { reason: "lease ended".into() },
        State::Active,
    ];
    let ids: Vec<_> = (0..states.len()).map(|at| subscribe(store, "a", &at.to_string(), Offset::START)).collect();
    for (id, state) in ids.iter().zip(&states) {
        store.set_state(*id, state.clone()).wait().unwrap();
    }
    bed.crash();
    for (id, state) in ids.iter().zip(states) {
        assert_eq!(bed.store().get(*id).wait().unwrap().unwrap().state, state);
    }
    refused(bed.store().set_state(WebhookId(999), State::Active).wait(), "Unknown");
    let long = State::Gone { reason: "ä".repeat(10_000).into() };
    bed.store().set_state(ids[0], long).wait().unwrap();
    let State::Gone { reason } = bed.store().get(ids[0]).wait().unwrap().unwrap().state else { panic!("it is gone") };
    assert_eq!(&*reason, "ä".repeat(crate::TEXT_BYTES_MAX / 2));
}

fn identifiers_are_never_used_twice<B: Bed>(bed: &mut B) {
    let first = subscribe(bed.store(), "a", "x", Offset::START);
    let second = subscribe(bed.store(), "a", "y", Offset::START);
    for id in [first, second, second] {
        bed.store().remove(id).wait().unwrap();
    }
    assert_eq!(bed.store().get(second).wait().unwrap(), None);
    refused(bed.store().claim(second).wait(), "Unknown");
    bed.crash();
    let third = subscribe(bed.store(), "a", "y", Offset::START);
    assert!(third > second, "{third} after {second}");
}

fn lists_are_pages_of_a_scope<B: Bed>(bed: &mut B) {
    let store = bed.store();
    append(store, "c", 1);
    let mut ids = Vec::new();
    for (hub, name) in [("main", "a"), ("main", "b"), ("other", "a"), ("main", "a")] {
        let wanted = NewSubscription { topic: topic_of(hub, name), ..wish("a", &ids.len().to_string(), Offset::START) };
        ids.push(store.put(wanted).wait().unwrap().id());
    }
    let check = |scope: &Scope, after, entries, expected: &[usize]| {
        let found = store.list(scope, after, entries).wait().unwrap();
        let expected: Vec<_> = expected.iter().map(|at| ids[*at]).collect();
        assert_eq!(found.iter().map(|found| found.id).collect::<Vec<_>>(), expected, "{scope:?}");
    };
    let start = WebhookId(0);
    check(&Scope::All, start, 100, &[0, 1, 2, 3]);
    check(&Scope::All, start, 3, &[0, 1, 2]);
    check(&Scope::All, ids[2], 3, &[3]);
    check(&Scope::Hub(topic_of("main", "a").hub), start, 2, &[0, 1]);
    check(&Scope::Hub(topic_of("main", "a").hub), ids[1], 2, &[3]);
    check(&Scope::Hub(topic_of("nobody", "a").hub), start, 2, &[]);
    check(&Scope::Topic(topic("a")), start, 100, &[0, 3]);
    check(&Scope::Topic(topic("a")), ids[0], 100, &[3]);
    check(&Scope::Topic(topic("z")), start, 100, &[]);
}

fn recipients_are_the_active_ones_of_a_hub<B: Bed>(bed: &mut B) {
    let store = bed.store();
    let places = fill(store, "a", 2);
    let mut ids = Vec::new();
    for (hub, name) in [("other", "a"), ("other", "b"), ("main", "a"), ("main", "a"), ("other", "a"), ("main", "b")] {
        let extras = vec![("format".into(), "json".into())];
        let callback = format!("https://example.org/{}", ids.len());
        let wanted = NewSubscription { topic: topic_of(hub, name), extras, ..wish("a", &callback, places[0]) };
        ids.push(store.put(wanted).wait().unwrap().id());
    }
    store.set_state(ids[3], State::Gone { reason: "410".into() }).wait().unwrap();
    let moved = store.claim(ids[2]).wait().unwrap();
    store.advance(&moved, places[1]).unwrap();
    let check = |hub: &str, after, entries, expected: &[usize]| {
        let found = store.recipients(&topic_of(hub, "a").hub, after, entries).wait().unwrap();
        let expected: Vec<_> =
            expected.iter().map(|at| store.get(ids[*at]).wait().unwrap().unwrap().into()).collect::<Vec<Recipient>>();
        assert_eq!(found, expected, "{hub}");
    };
    let start = WebhookId(0);
    check("main", start, 100, &[2, 5]);
    check("main", ids[2], 1, &[5]);
    check("main", ids[5], 1, &[]);
    check("other", ids[1], 100, &[4]);
    check("nobody", start, 1, &[]);
    assert_eq!(store.recipients(&topic_of("main", "a").hub, start, 1).wait().unwrap()[0].position, places[1]);
}

fn secrets_do_not_show<B: Bed>(bed: &mut B) {
    let wanted = NewSubscription { secret: Some(Secret::new("hunter2")), ..wish("a", "x", Offset::START) };
    let shown = format!("{wanted:?}");
    let id = bed.store().put(wanted).wait().unwrap().id();
    let shown = shown + &format!("{:?} {:?}", bed.store().get(id).wait(), bed.store());
    assert!(!shown.contains("hunter2"), "{shown}");
}

fn what_is_too_large_is_refused<B: Bed>(bed: &mut B) {
    let store = bed.store();
    let long = "x".repeat(CALLBACK_BYTES_MAX + 1);
    refused(store.put(wish("a", &long, Offset::START)).wait(), "TooLarge");
    let secret = Some(Secret::new(long.as_str()));
    refused(store.put(NewSubscription { secret, ..wish("a", "x", Offset::START) }).wait(), "TooLarge");
}
