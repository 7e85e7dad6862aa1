//! A benchmark of a moment, against the ceilings, to see that the generator itself loses nothing and ends nothing.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use stentor_bench::cell::{Cell, Context, Load};
use stentor_bench::publishers::{Pace, Publishers, Until};
use stentor_bench::request::Topics;
use stentor_bench::subscribers::{Reading, Subscribers};
use stentor_bench::system::{Programs, Setup, System, TOPIC, everybody};

fn programs() -> Programs {
    let bench = PathBuf::from(env!("CARGO_BIN_EXE_stentor-bench"));
    Programs { stentor: PathBuf::from("not-built-for-this-test"), bench, nchan: None, crossbar: None }
}

#[track_caller]
fn check(system: System, sessions: usize, connections: usize, pace: Pace, payload: usize) {
    let mut server = system.start(&programs(), Setup::default()).expect("a ceiling starts");
    let reading = Reading { threads: 2, ..Reading::of(connections) };
    let subscribers = Subscribers::open(&server.target, &everybody(sessions), reading).expect("sessions open");
    let template = server.template(&Topics::One(TOPIC.to_owned()), payload);
    let mut publishers = Publishers::connect(server.address, connections, template).expect("publishers connect");
    let per_publication = sessions as u64;
    let mut load =
        Load { server: &mut server, subscribers: &subscribers, publishers: &mut publishers, per_publication };
    for _ in 0..2 {
        let outcome = load.run(pace, Until::Published(200)).expect("all is answered");
        assert_eq!(outcome.sent.publications, 200);
        assert_eq!(outcome.events, 200 * per_publication);
        assert_eq!(outcome.latency.count(), 200 * per_publication);
        assert!(outcome.tally.is_clean(), "{:?}", outcome.tally);
        assert!(outcome.cpu > 0);
    }
}

#[test]
fn nothing_is_lost_directly() {
    check(System::Direct, 5, 4, Pace::Window(20), 128);
}

#[test]
fn nothing_is_lost_in_queues() {
    check(System::Coalesce, 5, 4, Pace::Window(20), 16);
}

#[test]
fn large_payloads_arrive_whole() {
    check(System::Direct, 2, 3, Pace::Window(50), 100_000);
    check(System::Coalesce, 2, 3, Pace::Window(50), 100_000);
}

#[test]
fn a_fixed_rate_is_kept() {
    check(System::Direct, 3, 2, Pace::Rate(2000.0), 128);
}

#[test]
fn sessions_of_other_processes_are_timed() {
    let context = Context { programs: programs(), time: Duration::from_millis(50) };
    let figures = Cell::Sessions(3).run(&context, System::Coalesce).expect("figures");
    assert!(figures["last_ms"] > 0.0);
    assert_eq!((figures["lost"], figures["closed"]), (0.0, 0.0));
}

#[test]
fn a_server_that_ends_is_noticed() {
    let mut server = System::Direct.start(&programs(), Setup::default()).expect("a ceiling starts");
    let subscribers = Subscribers::open(&server.target, &everybody(3), Reading::of(1)).expect("sessions open");
    server.process.stop();
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while subscribers.tally(&[2]).closed < 3 {
        assert!(std::time::Instant::now() < deadline, "the ends of the sessions were not seen");
        std::thread::yield_now();
    }
    assert_eq!(subscribers.tally(&[2]).lost, 6);
}

#[test]
fn misuse_has_a_code_of_its_own() {
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_stentor-bench")).args(arguments).output().expect("it runs");
        output.status.code()
    };
    assert_eq!(run(&["--help"]), Some(0));
    assert_eq!(run(&["run", "--server", "x", "--only", "nonsense"]), Some(2));
    assert_eq!(run(&["run", "--server", "not-there"]), Some(1));
}
