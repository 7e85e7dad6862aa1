//! The simulation itself: it keeps quiet about a machine that works, it notices one that does not, and a seed is one life.

use stentor_sim::{Sabotage, run, run_traced};

#[test]
fn worlds_come_to_rest() {
    for seed in 0..300 {
        if let Err(failure) = run(seed, Sabotage::None) {
            panic!("{failure}");
        }
    }
}

/// A simulation that finds nothing proves nothing, until it has found what was hidden in it.
#[test]
fn every_sabotage_is_noticed() {
    // Out of a hundred worlds, at least so many notice; most sabotage needs something to happen first.
    let check = |sabotage, least: usize, part: &str| {
        let found: Vec<String> = (0..100).filter_map(|seed| Some(run(seed, sabotage).err()?.sentence)).collect();
        println!("{sabotage:?}: {} of 100", found.len());
        assert!(found.len() >= least, "{sabotage:?} was noticed in {} of 100 worlds", found.len());
        assert!(found.iter().any(|sentence| sentence.contains(part)), "{sabotage:?}: {found:?}");
    };
    check(Sabotage::Swap, 80, "the next is");
    check(Sabotage::Skip, 30, "the next is");
    check(Sabotage::FailureAsSuccess, 50, "not done with");
    check(Sabotage::TwoInFlight, 95, "two requests");
    check(Sabotage::RenewalLosesPlace, 20, "the next is");
    check(Sabotage::EagerCursor, 5, "and never");
    check(Sabotage::GuessedTail, 3, "the log ends at");
    check(Sabotage::LostHint, 50, "the log ends at");
    check(Sabotage::LostRemoval, 50, "not subscribed");
    check(Sabotage::FastClock, 50, "was due");
    check(Sabotage::UnwrittenRecord, 50, "and never");
    check(Sabotage::EndlessReplay, 5, "before its record");
    check(Sabotage::HeldByReplay, 5, "no rest");
}

#[test]
fn a_seed_is_one_life() {
    let trace = |seed| {
        let mut lines = Vec::new();
        let life = run_traced(seed, Sabotage::None, &mut |line| lines.push(line.to_owned())).unwrap();
        (life, lines)
    };
    for seed in [1, 2, 3] {
        assert_eq!(trace(seed), trace(seed));
    }
}
