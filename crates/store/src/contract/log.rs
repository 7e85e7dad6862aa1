//! The promises of [`Log`](crate::Log), but for cutting.

use std::thread;

use stentor_model::{Offset, PublicationId};

use super::{Bed, append, cases, draft, fill, offsets, read, refused, topic, topic_of};
use crate::{
    Content, Draft, Freshness, IDEMPOTENCY_WINDOW, IdempotencyKey, RECORD_BYTES_MAX, ReadLimit, Sequence, Store,
    StoreError, Timestamp,
};

cases![
    one_order_for_all_topics,
    what_was_published_comes_back,
    a_crash_loses_nothing_acknowledged,
    pages_end_at_their_limit,
    pages_say_whether_they_are_the_last,
    an_unknown_topic_is_empty,
    hubs_are_apart,
    whoever_waits_at_the_end_is_told,
    a_key_publishes_once,
    a_key_can_stand_for_a_request,
    a_key_with_other_content_is_refused,
    a_key_lasts_a_day_and_a_crash,
    a_refused_publication_harms_no_other,
    nothing_appears_behind_a_reader,
    full_logs_refuse with |limits| limits.log_bytes_max = 300,
    full_topics_refuse_alone with |limits| limits.topic_bytes_max = 300,
    a_closed_store_says_so,
];

fn one_order_for_all_topics<B: Bed>(bed: &mut B) {
    let store = bed.store();
    let receipts = ["a", "b", "a", "a", "b"].map(|name| append(store, name, 1));
    assert!(receipts.is_sorted_by(|one, next| one.offset < next.offset), "{receipts:?}");
    assert_eq!(receipts.map(|receipt| receipt.sequence.0), [1, 1, 2, 3, 2]);
    let all = store.tail(Offset::START, ReadLimit::default()).wait().unwrap();
    assert_eq!(offsets(&all.entries), receipts.map(|receipt| receipt.offset));
    assert_eq!((all.gap, all.epoch), (None, store.epoch()));
    assert_eq!(offsets(&read(store, "a", Offset::START).entries), [0, 2, 3].map(|at| receipts[at].offset));
    // The place of a publication on another topic is a place as good as any.
    assert_eq!(offsets(&read(store, "b", receipts[0].offset).entries), [1, 4].map(|at| receipts[at].offset));
    assert_eq!(offsets(&read(store, "a", receipts[1].offset).entries), [2, 3].map(|at| receipts[at].offset));
    assert_eq!(offsets(&read(store, "a", receipts[2].offset).entries), [receipts[3].offset]);
    assert!(read(store, "a", receipts[4].offset).entries.is_empty());
    assert_eq!(store.end(), receipts[4].offset);
}

fn what_was_published_comes_back<B: Bed>(bed: &mut B) {
    let sent = Draft {
        topic: topic("ä?x=1"),
        publication: PublicationId::new(1 << 53).unwrap(),
        at: Timestamp(u64::from(u32::MAX) * 1000),
        content: Content {
            content_type: "application/octet-stream".into(),
            extras: vec![("Link".into(), "<x>; rel=self".into()), ("empty".into(), "".into())],
            body: vec![0, 1, 2, 0xff, 0].into(),
        },
        idempotency: None,
    };
    let receipt = bed.store().append(sent.clone()).wait().unwrap();
    let check = |store: &dyn Store| {
        let entry = store.newest(&sent.topic).wait().unwrap().unwrap();
        assert_eq!((entry.offset, entry.sequence), (receipt.offset, Sequence(1)));
        assert_eq!((&entry.topic, entry.publication, entry.at), (&sent.topic, sent.publication, sent.at));
        assert_eq!(entry.content, sent.content);
    };
    check(bed.store());
    bed.crash();
    check(bed.store());
}

fn a_crash_loses_nothing_acknowledged<B: Bed>(bed: &mut B) {
    let epoch = bed.store().epoch();
    let mut places = fill(bed.store(), "a", 20);
    bed.crash();
    let store = bed.store();
    assert_eq!((store.end(), store.epoch()), (places[19], epoch));
    assert_eq!(offsets(&read(store, "a", Offset::START).entries), places);
    let next = append(store, "a", 21);
    assert_eq!(next.sequence, Sequence(21));
    places.push(next.offset);
    assert_eq!(offsets(&read(store, "a", Offset::START).entries), places);
}

fn pages_end_at_their_limit<B: Bed>(bed: &mut B) {
    let store = bed.store();
    let places = fill(store, "a", 9);
    // Each body has three octets.
    let check = |entries, bytes, expected: usize| {
        let limit = ReadLimit { entries, bytes };
        let page = store.read(&topic("a"), places[0], limit).wait().unwrap();
        assert_eq!(offsets(&page.entries), places[1..=expected], "{limit:?}");
        let page = store.tail(places[0], limit).wait().unwrap();
        assert_eq!(offsets(&page.entries), places[1..=expected], "{limit:?}");
    };
    check(100, 1000, 8);
    check(3, 1000, 3);
    check(100, 6, 2);
    check(100, 8, 2);
    check(100, 1, 1);
}

/// Whatever a page ended for: its number, its octets, or the next entry that is large.
fn pages_say_whether_they_are_the_last<B: Bed>(bed: &mut B) {
    let store = bed.store();
    let places = [1, 1, 100, 40, 60, 1].map(|octets| {
        let mut draft = draft("a", 1);
        draft.content.body = vec![0; octets].into();
        append(store, "another", 1);
        store.append(draft).wait().unwrap().offset
    });
    let check = |after: Offset, entries, bytes, expected: &[usize]| {
        let limit = ReadLimit { entries, bytes };
        let page = store.read(&topic("a"), after, limit).wait().unwrap();
        let expected: Vec<_> = expected.iter().map(|at| places[*at]).collect();
        assert_eq!(offsets(&page.entries), expected, "behind {after}, {limit:?}");
        assert_eq!(page.has_more, expected.last().unwrap_or(&after) < &places[5], "behind {after}, {limit:?}");
        let page = store.tail(after, limit).wait().unwrap();
        let last = page.entries.last().map_or(after, |entry| entry.offset);
        assert_eq!(page.has_more, last < store.end(), "the tail behind {after}, {limit:?}");
    };
    check(Offset::START, 100, 100, &[0, 1]);
    check(places[1], 100, 100, &[2]);
    check(places[1], 100, 50, &[2]);
    check(places[2], 100, 100, &[3, 4]);
    check(places[2], 100, 101, &[3, 4, 5]);
    check(places[2], 3, 1000, &[3, 4, 5]);
    check(places[2], 2, 1000, &[3, 4]);
    check(places[4], 1, 1000, &[5]);
    check(places[4], 1, 1, &[5]);
    check(places[5], 1, 1, &[]);
    assert!(!read(store, "nothing", Offset::START).has_more);
}

fn an_unknown_topic_is_empty<B: Bed>(bed: &mut B) {
    let store = bed.store();
    append(store, "a", 1);
    let page = read(store, "b", Offset::START);
    assert_eq!((page.entries, page.gap), (Vec::new(), None));
    assert_eq!(store.newest(&topic("b")).wait().unwrap(), None);
}

fn hubs_are_apart<B: Bed>(bed: &mut B) {
    let store = bed.store();
    let of = |hub, number| Draft { topic: topic_of(hub, "a"), ..draft("a", number) };
    store.append(of("one", 1)).wait().unwrap();
    let second = store.append(of("two", 2)).wait().unwrap();
    assert_eq!(second.sequence, Sequence(1));
    let page = store.read(&topic_of("one", "a"), Offset::START, ReadLimit::default()).wait().unwrap();
    assert_eq!(page.entries.iter().map(|entry| entry.publication.get()).collect::<Vec<_>>(), [1]);
}

fn whoever_waits_at_the_end_is_told<B: Bed>(bed: &mut B) {
    let store = bed.store();
    let waiting = store.beyond(Offset::START);
    let first = append(store, "a", 1).offset;
    assert_eq!(waiting.wait().unwrap(), first);
    assert_eq!(store.beyond(Offset::START).wait().unwrap(), first);
    let waiting = store.beyond(first);
    bed.crash();
    refused(waiting.wait(), "Closed");
}

fn keyed(name: &str, number: u64, key: &str) -> Draft {
    Draft { idempotency: Some(IdempotencyKey::parse(key).unwrap()), ..draft(name, number) }
}

/// The same content again, under a name that a careless publisher draws anew.
fn again(first: &Draft, number: u64) -> Draft {
    Draft { publication: PublicationId::new(number).unwrap(), ..first.clone() }
}

fn a_key_publishes_once<B: Bed>(bed: &mut B) {
    let store = bed.store();
    let sent = keyed("a", 1, "k");
    let first = store.append(sent.clone()).wait().unwrap();
    let second = store.append(again(&sent, 2)).wait().unwrap();
    assert_eq!(first.freshness, Freshness::New);
    assert_eq!(second.freshness, Freshness::Repeated);
    assert_eq!((second.publication, second.offset), (first.publication, first.offset));
    assert_eq!(read(store, "a", Offset::START).entries.len(), 1);
    // Under way at the same time, and so in the same commit perhaps.
    let both = [3, 4]
        .map(|number| store.append(Draft { idempotency: IdempotencyKey::parse("l").ok(), ..again(&sent, number) }));
    let both = both.map(|pending| pending.wait().unwrap().publication.get());
    assert_eq!(both, [3, 3]);
    let elsewhere = Draft { topic: topic_of("other", "a"), ..sent };
    assert_eq!(store.append(elsewhere).wait().unwrap().freshness, Freshness::New);
}

fn a_key_can_stand_for_a_request<B: Bed>(bed: &mut B) {
    let store = bed.store();
    let key = |parts: &[&[u8]]| IdempotencyKey::parse("k").unwrap().of_request(parts);
    let of = |key: IdempotencyKey, number| Draft { idempotency: Some(key), ..draft("a", number) };
    let (hub, now) = (topic("a").hub, Timestamp(2000));
    assert_eq!(store.keyed(&hub, &key(&[b"one"]), now).wait().unwrap(), None);
    let first = store.append(of(key(&[b"one"]), 1)).wait().unwrap();
    // Other content, and still the same: the request decides.
    let found = store.keyed(&hub, &key(&[b"one"]), now).wait().unwrap().unwrap();
    assert_eq!((found.publication, found.freshness), (first.publication, Freshness::Repeated));
    assert_eq!(store.append(of(key(&[b"one"]), 2)).wait().unwrap().publication, first.publication);
    refused(store.keyed(&hub, &key(&[b"on", b"e"]), now).wait(), "KeyReused");
    refused(store.append(of(key(&[b"two"]), 3)).wait(), "KeyReused");
    let day = u64::try_from(IDEMPOTENCY_WINDOW.as_millis()).unwrap();
    assert_eq!(store.keyed(&hub, &key(&[b"one"]), Timestamp(day + 2000)).wait().unwrap(), None);
    assert_eq!(store.keyed(&topic_of("other", "a").hub, &key(&[b"one"]), now).wait().unwrap(), None);
}

fn a_key_with_other_content_is_refused<B: Bed>(bed: &mut B) {
    let store = bed.store();
    store.append(keyed("a", 1, "k")).wait().unwrap();
    refused(store.append(keyed("a", 2, "k")).wait(), "KeyReused");
    refused(store.append(keyed("b", 1, "k")).wait(), "KeyReused");
    assert_eq!(store.tail(Offset::START, ReadLimit::default()).wait().unwrap().entries.len(), 1);
}

fn a_key_lasts_a_day_and_a_crash<B: Bed>(bed: &mut B) {
    let day = u64::try_from(IDEMPOTENCY_WINDOW.as_millis()).unwrap();
    let sent = Draft { at: Timestamp(1000), ..keyed("a", 1, "k") };
    bed.store().append(sent.clone()).wait().unwrap();
    bed.crash();
    let store = bed.store();
    let check = |at, expected| {
        let receipt = store.append(Draft { at: Timestamp(at), ..again(&sent, 2) }).wait().unwrap();
        assert_eq!(receipt.freshness, expected, "at {at}");
    };
    check(999 + day, Freshness::Repeated);
    store.trim(Timestamp(999 + day)).wait().unwrap();
    check(999 + day, Freshness::Repeated);
    store.trim(Timestamp(1000 + day)).wait().unwrap();
    check(999 + day, Freshness::New);
    check(999 + 2 * day, Freshness::New);
}

fn a_refused_publication_harms_no_other<B: Bed>(bed: &mut B) {
    let store = bed.store();
    let mut huge = draft("a", 1);
    huge.content.body = vec![0; RECORD_BYTES_MAX + 1].into();
    let mut wordy = draft("a", 1);
    wordy.content.extras = vec![("x".into(), "y".repeat(1 << 20).into())];
    let pending = [huge, draft("a", 2), wordy, draft("a", 3)].map(|draft| store.append(draft));
    let [huge, second, wordy, third] = pending.map(crate::Pending::wait);
    refused(huge, "TooLarge");
    refused(wordy, "TooLarge");
    assert_eq!((second.unwrap().sequence, third.unwrap().sequence), (Sequence(1), Sequence(2)));
}

fn nothing_appears_behind_a_reader<B: Bed>(bed: &mut B) {
    const PUBLISHERS: u64 = 8;
    const EACH: u64 = 40;
    let store = bed.store();
    let seen = thread::scope(|scope| {
        for publisher in 0..PUBLISHERS {
            scope.spawn(move || {
                let name = if publisher % 2 == 0 { "even" } else { "odd" };
                let mut before = Offset::START;
                for number in 1..=EACH {
                    let receipt = append(store, name, publisher * 1000 + number);
                    assert!(receipt.offset > before, "one publisher's order");
                    before = receipt.offset;
                    let own = store.tail(Offset::new(before.get() - 1), ReadLimit::default()).wait().unwrap();
                    assert_eq!(own.entries[0].offset, before, "acknowledged and not to be read");
                }
            });
        }
        let follower = scope.spawn(|| {
            let mut seen = Vec::new();
            let mut after = Offset::START;
            while seen.len() < usize::try_from(PUBLISHERS * EACH).unwrap() {
                store.beyond(after).wait().unwrap();
                let page = store.tail(after, ReadLimit { entries: 7, bytes: u64::MAX }).wait().unwrap();
                assert_eq!(page.gap, None);
                after = page.entries.last().map_or(after, |entry| entry.offset);
                seen.extend(page.entries);
            }
            seen
        });
        follower.join().unwrap()
    });
    let all = store.tail(Offset::START, ReadLimit { entries: 1000, bytes: u64::MAX }).wait().unwrap().entries;
    assert_eq!(offsets(&seen), offsets(&all), "what a follower saw is what there is");
    for name in ["even", "odd"] {
        let numbers: Vec<_> = read(store, name, Offset::START).entries.iter().map(|entry| entry.sequence.0).collect();
        assert_eq!(numbers, (1..=PUBLISHERS * EACH / 2).collect::<Vec<_>>());
    }
}

fn full_logs_refuse<B: Bed>(bed: &mut B) {
    let store = bed.store();
    let mut accepted = 0;
    let refusal = loop {
        match store.append(draft(if accepted % 2 == 0 { "a" } else { "b" }, 1)).wait() {
            Ok(_) => accepted += 1,
            Err(refusal) => break refusal,
        }
    };
    assert!(matches!(refusal, StoreError::Full(crate::Limit::LogBytes)), "{refusal:?}");
    assert_eq!((accepted, store.status().end.get()), (3, 3), "a publication of three octets costs some seventy");
    assert_eq!(store.tail(Offset::START, ReadLimit::default()).wait().unwrap().entries.len(), 3);
    // Nobody waits for them and room is scarce, so the history goes.
    assert_eq!(store.trim(Timestamp(1)).wait().unwrap().publications, 1);
    append(store, "a", 2);
}

fn full_topics_refuse_alone<B: Bed>(bed: &mut B) {
    let store = bed.store();
    fill(store, "a", 3);
    refused(store.append(draft("a", 4)).wait(), "Full(TopicBytes)");
    append(store, "b", 1);
}

fn a_closed_store_says_so<B: Bed>(bed: &mut B) {
    let store = bed.store();
    append(store, "a", 1);
    let waiting = store.beyond(store.end());
    store.close().wait().unwrap();
    refused(waiting.wait(), "Closed");
    refused(store.append(draft("a", 2)).wait(), "Closed");
    refused(store.read(&topic("a"), Offset::START, ReadLimit::default()).wait(), "Closed");
    refused(store.beyond(store.end()).wait(), "Closed");
    refused(store.flush().wait(), "Closed");
    refused(store.close().wait(), "Closed");
}
