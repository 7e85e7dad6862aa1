//! What is read of the log, and that nothing in it is passed over.

use super::*;

/// After a start nothing was announced: whoever is up to date must not have the whole log read again for the next
/// publication.
#[test]
fn the_live_end_begins_where_the_cursors_are() {
    let mut scene = Scene::new(Options::default());
    scene.logs.insert("t".to_owned(), (1..=100).collect());
    for id in 1..=3 {
        scene.enrol(id, "t", "h", 100, None, None);
    }
    scene.append("t", 101);
    assert_eq!(scene.reads, [100, 100, 100, 100]);
    assert_eq!(scene.flights.len(), 3);
}

/// One that is behind the others waits at the live end too when there is nothing for it: the end is where the hindmost is.
#[test]
fn nobody_at_the_live_end_is_passed_over() {
    let mut scene = Scene::new(Options::default());
    scene.enrol(1, "t", "h", 100, None, None);
    scene.enrol(2, "t", "h", 50, None, None);
    scene.append("t", 70);
    assert_eq!(scene.flights.iter().map(|one| (one.webhook.0, one.offset.get())).collect::<Vec<_>>(), [(2, 70)]);
}

#[test]
fn readers_of_one_place_share_one_read() {
    let mut scene = Scene::new(Options { in_flight_max: 10_000, in_flight_per_host_max: 10_000, ..Options::default() });
    for id in 0..1000 {
        scene.subscribe(id, "t", "h");
    }
    scene.append("t", 1);
    assert_eq!((scene.engine.counters().fetches, scene.flights.len()), (1, 1000));
    for offset in 2..=100 {
        scene.append("t", offset);
    }
    for round in 0..100 {
        for id in 0..1000 {
            scene.answer(id, OK);
        }
        assert_eq!(scene.flights.len(), if round == 99 { 0 } else { 1000 });
    }
    assert_eq!(scene.engine.counters().fetches, 2);
}

#[test]
fn a_start_reads_only_what_it_must() {
    let check = |cursor, tail, fetches, flights: &str| {
        let mut scene = Scene::new(Options::default());
        scene.logs.insert("t".to_owned(), vec![5, 8]);
        scene.enrol(1, "t", "h", cursor, tail, None);
        scene.check_flights(flights);
        assert_eq!(scene.engine.counters().fetches, fetches, "{cursor} {tail:?}");
        scene.append("t", 9);
        assert_eq!(scene.flights.len(), 1);
    };
    check(8, Some(8), 0, "");
    check(8, None, 1, "");
    check(5, Some(8), 1, "1:8#1");
    check(0, None, 1, "1:5#1");
    // The announcement of what the cursor stands at may come after the subscription.
    check(8, Some(5), 0, "");
}

#[test]
fn a_store_that_fails_is_asked_again() {
    let mut scene = Scene::new(Options::default());
    scene.subscribe(1, "t", "h");
    scene.is_store_down = true;
    scene.append("t", 1);
    scene.wait_for_deadline();
    scene.check_flights("");
    scene.is_store_down = false;
    scene.wait_for_deadline();
    scene.check_flights("1:1#1");
    assert_eq!(scene.engine.counters().fetches_failed, 2);
}

#[test]
fn an_announcement_during_a_read_is_not_lost() {
    let mut scene = Scene::new(Options::default());
    for (tail, subscribed) in [(Some(0), 1), (None, 2)] {
        scene.engine = Engine::new(Options::default(), 1);
        let (now, mut out) = (Now::default(), Vec::new());
        let topic = Topic::parse("t").unwrap();
        let enrolment = Enrolment {
            webhook: WebhookId(subscribed),
            topic: topic.clone(),
            host: "h".into(),
            cursor: Offset::START,
            tail: tail.map(Offset::new),
            lease_end: LEASE,
            attempts_max: None,
        };
        scene.engine.handle(Event::Subscribed(enrolment), now, &mut out);
        scene.engine.handle(Event::Appended { topic: topic.clone(), offset: Offset::new(1) }, now, &mut out);
        let Some(Action::Fetch { key, .. }) = out.pop() else { panic!("no read") };
        scene.engine.handle(Event::Appended { topic, offset: Offset::new(2) }, now, &mut out);
        // This read looked before either of the two was there; one of them had been announced when it was asked for.
        scene.engine.handle(Event::Fetched { key, offsets: Vec::new(), reach: Reach::Tail }, now, &mut out);
        let later = Now { elapsed: Duration::from_secs(60), ..now };
        scene.engine.handle(Event::Tick, later, &mut out);
        assert!(matches!(out[..], [Action::Fetch { after: Offset::START, .. }]), "{out:?}");
    }
}

/// An answer without what was announced before the question is not the end of the log, whatever it says of itself.
#[test]
fn what_was_announced_is_never_taken_for_read() {
    let check = |brought: &[u64]| {
        let mut scene = Scene::new(Options::default());
        // Two at the live end, which begins where the hindmost stands.
        scene.enrol(1, "t", "h", 4, None, None);
        scene.enrol(2, "t", "h", 2, None, None);
        let (now, mut out) = (Now { unix: Duration::from_secs(UNIX), ..Now::default() }, Vec::new());
        let topic = Topic::parse("t").unwrap();
        scene.logs.insert("t".to_owned(), vec![3, 4, 5]);
        scene.engine.handle(Event::Appended { topic, offset: Offset::new(5) }, now, &mut out);
        let Some(Action::Fetch { key, .. }) = out.pop() else { panic!("no read") };
        let offsets = brought.iter().copied().map(Offset::new).collect();
        scene.tell(Event::Fetched { key, offsets, reach: Reach::Tail });
        scene.wait(Duration::from_secs(60));
        let mut got = vec![];
        while let Some(attempt) = scene.flights.first() {
            let (id, offset) = (attempt.webhook.0, attempt.offset.get());
            got.push((id, offset));
            scene.answer(id, OK);
        }
        got.sort_unstable();
        assert_eq!(got, [(1, 5), (2, 3), (2, 4), (2, 5)], "the first page brought {brought:?}");
    };
    check(&[]);
    check(&[3]);
    check(&[3, 4]);
    check(&[3, 4, 5]);
}

/// An operator may be quicker than the first look into the log: what a replay was put before is looked for afterwards.
#[test]
fn a_replay_soon_after_a_start_hides_nothing() {
    // The read is resting, queued behind another one, or on its way.
    for (is_store_down, fetches_max) in [(true, 8), (false, 0), (false, 1)] {
        let mut scene = Scene::new(Options { fetches_max: fetches_max.max(1), ..Options::default() });
        scene.logs.insert("t".to_owned(), vec![1, 2, 3]);
        let (now, mut out) = (Now { unix: Duration::from_secs(UNIX), ..Now::default() }, Vec::new());
        let enrolment = |id, topic: &str, cursor| Enrolment {
            webhook: WebhookId(id),
            topic: Topic::parse(topic).unwrap(),
            host: "h".into(),
            cursor: Offset::new(cursor),
            tail: None,
            lease_end: UNIX + LEASE,
            attempts_max: None,
        };
        if fetches_max == 0 {
            scene.engine.handle(Event::Subscribed(enrolment(2, "another", 0)), now, &mut out);
        }
        scene.engine.handle(Event::Subscribed(enrolment(1, "t", 1)), now, &mut out);
        let first = out.remove(0);
        let Action::Fetch { key, .. } = first else { panic!("{first:?}") };
        if is_store_down {
            scene.tell(Event::FetchFailed { key });
        }
        scene.replay(1, 1, 1);
        scene.check_flights("1:1#1");
        if !is_store_down {
            let offsets = if fetches_max == 0 { Vec::new() } else { vec![Offset::new(2), Offset::new(3)] };
            scene.tell(Event::Fetched { key, offsets, reach: Reach::Tail });
        }
        scene.wait(Duration::from_secs(60));
        scene.answer(1, OK);
        scene.check_flights("1:2#1");
        scene.answer(1, OK);
        scene.check_flights("1:3#1");
        scene.answer(1, OK);
        scene.check_said("replayed 1 1, 1 at 2, 1 at 3");
    }
}

#[test]
fn pages_follow_one_another() {
    let mut scene = Scene::new(Options { page_publications_max: 3, window_offsets_max: 4, ..Options::default() });
    scene.logs.insert("t".to_owned(), (1..=10).map(|n| n * 10).collect());
    scene.enrol(1, "t", "h", 0, None, None);
    for n in 1..=10 {
        scene.check_flights(&format!("1:{}#1", n * 10));
        scene.answer(1, OK);
    }
    scene.check_flights("");
}

#[test]
fn a_full_page_at_the_end_hides_nothing_that_comes_behind_it() {
    // After a restart: one subscriber is behind by as much as one read brings, another one is not.
    for count in [1, 3, 6] {
        let mut scene = Scene::new(Options { page_publications_max: count as usize, ..Options::default() });
        scene.logs.insert("t".to_owned(), (1..=count).collect());
        scene.enrol(1, "t", "h", 0, None, None);
        scene.enrol(2, "t", "h", count, None, None);
        for n in 1..=count {
            scene.check_flights(&format!("1:{n}#1"));
            scene.answer(1, OK);
        }
        for n in count + 1..count + 4 {
            scene.append("t", n);
            let mut sent: Vec<_> =
                scene.flights.iter().map(|attempt| (attempt.webhook.0, attempt.offset.get())).collect();
            sent.sort_unstable();
            assert_eq!(sent, [(1, n), (2, n)], "after a page of {count}");
            scene.answer(2, OK);
            scene.answer(1, OK);
        }
        scene.check_flights("");
    }
}
