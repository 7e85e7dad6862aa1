//! Where the instructions of a publication go, by stage: counted by valgrind's callgrind, and therefore nearly the same
//! at each run and on each machine. What the kernel does is not in it.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::callgrind::{self, Account, Bill};
use crate::cell::PAYLOAD;
use crate::curve::{shared, unmatched};
use crate::fault::{Fault, io};
use crate::publishers::{Audience, Pace, Publishers, Until};
use crate::request::Topics;
use crate::session;
use crate::subscribers::{Reading, Subscribers};
use crate::system::{Programs, Server, Setup, System, TOPIC, everybody};

/// The numbers of subscribers that are compared, so that the cost of each further one can be told.
const FEW: usize = 1;
const MANY: usize = 100;

/// Patterns that do not match, beside one subscriber.
const PATTERNS: usize = 10_000;

/// Publications before counting begins, after which every buffer has its size.
const WARM_UP: u64 = 200;

/// How long nothing may be counted after the last arrival: the server's tail of a publication, under valgrind.
const TAIL: std::time::Duration = std::time::Duration::from_millis(200);

const HTTP: &str = "HTTP: parse, answer";
const SERVICE: &str = "service look-up, limits, gate";
const BODY: &str = "body: read and parse";
const ROUTING: &str = "routing: permission, match";
const FRAME: &str = "encode and frame";
const OUTBOX: &str = "outboxes and flush";
const RUNTIME: &str = "runtime: tasks, readiness";
const CALLS: &str = "system calls, our side";
const ALLOCATOR: &str = "allocator";
const OTHER: &str = "other";

/// Stages in the order of a publication.
const STAGES: [&str; 10] = [HTTP, SERVICE, BODY, ROUTING, FRAME, OUTBOX, RUNTIME, CALLS, ALLOCATOR, OTHER];

/// Source files by a part of their path; the first that fits counts.
const FILES: &[(&str, &str)] = &[
    ("server/src/http/express", HTTP),
    ("server/src/http/intake", BODY),
    ("server/src/http/", SERVICE),
    ("server/src/pusher/body", BODY),
    ("server/src/pusher/batch", BODY),
    ("server/src/pusher/media", BODY),
    ("server/src/pusher/", SERVICE),
    ("server/src/realm", ROUTING),
    ("server/src/fanout/frames", FRAME),
    ("server/src/fanout/", OUTBOX),
    ("server/src/meter/", SERVICE),
    ("server/src/socket/", OUTBOX),
    ("server/src/", RUNTIME),
    ("wamp/src/codec", FRAME),
    ("wamp/src/value", FRAME),
    ("wamp/src/message", FRAME),
    ("wamp/src/", ROUTING),
    ("websocket/src/", FRAME),
    ("model/src/", ROUTING),
    ("/hyper-", HTTP),
    ("/httparse-", HTTP),
    ("/httpdate-", HTTP),
    ("/http-", HTTP),
    ("/serde", BODY),
    ("/tokio-", RUNTIME),
    ("/mio-", RUNTIME),
];

/// Functions of the C library that are stages of their own.
const FUNCTIONS: &[(&str, &[&str])] = &[
    (
        ALLOCATOR,
        &["malloc", "free", "calloc", "realloc", "_int_malloc", "_int_free", "malloc_consolidate", "unlink_chunk"],
    ),
    (CALLS, &["send", "recv", "writev", "write", "read", "epoll_wait", "readv", "recvfrom", "sendto", "clock_gettime"]),
];

/// Instructions for each publication, by stage.
#[derive(Clone, Debug)]
pub struct Profile {
    few: Bill,
    many: Bill,
    patterns: Bill,
}

/// Counts; `tell` hears of what is under way.
///
/// # Errors
/// When valgrind is missing, or the server does not do its part.
pub fn run(server: PathBuf, publications: u64, tell: &mut dyn FnMut(&str)) -> Result<Profile, Fault> {
    let programs = Programs { stentor: server, bench: PathBuf::new(), nchan: None, crossbar: None };
    let mut count = |subscribers, patterns| {
        tell(&format!("{publications} publications to {subscribers}, beside {patterns} patterns, under valgrind"));
        counted(&programs, subscribers, patterns, publications)
    };
    Ok(Profile { few: count(FEW, 0)?, many: count(MANY, 0)?, patterns: count(FEW, PATTERNS)? })
}

fn counted(programs: &Programs, count: usize, patterns: usize, publications: u64) -> Result<Bill, Fault> {
    let folder = io(TempDir::new(), || "there is no temporary folder".to_owned())?;
    let file = folder.path().join("callgrind.out");
    let mut server =
        System::StentorOne.start_as(programs, Setup::default(), |command| under_valgrind(&command, &file))?;
    let subscribers = Subscribers::open(&server.target, &everybody(count), Reading::of(1))?;
    let _holders = session::open(&server.target, &shared((0..patterns).map(unmatched)), PATTERNS)?;
    let template = server.template(&Topics::One(TOPIC.to_owned()), PAYLOAD);
    let mut publishers = Publishers::connect(server.address, 1, template)?;
    let audience = Audience { progress: subscribers.progress().clone(), events_per_publication: count as u64 };
    // One at a time, so that no two share a write: the cost of a publication that comes alone.
    publishers.run(Pace::Window(1), Until::Published(WARM_UP), &audience)?;
    control(&server, "on")?;
    publishers.run(Pace::Window(1), Until::Published(publications), &audience)?;
    std::thread::sleep(TAIL);
    control(&server, "off")?;
    server.process.stop();
    let text = io(fs::read_to_string(&file), || "valgrind has written nothing".to_owned())?;
    let mut bill = callgrind::bill(&text, account);
    bill.values_mut().for_each(|cost| *cost /= publications as f64);
    Ok(bill)
}

fn under_valgrind(server: &Command, file: &Path) -> Command {
    let mut command = Command::new("valgrind");
    let mut out = OsString::from("--callgrind-out-file=");
    out.push(file);
    command.args(["--tool=callgrind", "--instr-atstart=no"]).arg(out);
    command.arg(server.get_program()).args(server.get_args());
    command
}

fn control(server: &Server, word: &str) -> Result<(), Fault> {
    let mut command = Command::new("callgrind_control");
    let done = command.args(["--instr", word]).arg(server.process.id().to_string()).output();
    let output = io(done, || "callgrind_control, a part of valgrind, cannot be started".to_owned())?;
    if output.status.success() { Ok(()) } else { Err(Fault::Setup("callgrind_control has failed".to_owned())) }
}

fn account(file: &str, function: &str) -> Account {
    // Names may carry a version behind an @ and a prefix of the C library's own.
    let plain = function.split('@').next().unwrap_or_default();
    let plain = plain.trim_start_matches("__libc_").trim_start_matches("__");
    let by_function = FUNCTIONS.iter().find(|(_, names)| names.contains(&plain)).map(|&(stage, _)| stage);
    let by_file = || FILES.iter().find(|(part, _)| file.contains(part)).map(|&(_, stage)| stage);
    by_function.or_else(by_file).map_or(Account::Caller, Account::Stage)
}

impl Profile {
    /// A table in Markdown, as it stands in docs/performance.md.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = format!("| stage | {FEW} subscriber | share | {MANY} subscribers | each further one |\n");
        text += "|---|--:|--:|--:|--:|\n";
        let total = |bill: &Bill| bill.values().sum::<f64>();
        let mut row = |name: &str, few: f64, many: f64| {
            let (share, further) = (100.0 * few / total(&self.few), (many - few) / (MANY - FEW) as f64);
            text += &format!("| {name} | {few:.0} | {share:.0} % | {many:.0} | {further:.0} |\n");
        };
        for stage in STAGES {
            let cost = |bill: &Bill| bill.get(stage).copied().unwrap_or_default();
            row(stage, cost(&self.few), cost(&self.many));
        }
        row("all", total(&self.few), total(&self.many));
        let more = total(&self.patterns) - total(&self.few);
        text + &format!(
            "\n{PATTERNS} patterns that do not match cost a publication {more:.0} instructions more than none.\n"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_functions_have_stages() {
        for (file, function, expect) in [
            ("crates/server/src/http/push.rs", "", Account::Stage(SERVICE)),
            ("/registry/hyper-1.9.0/src/proto/h1/role.rs", "", Account::Stage(HTTP)),
            ("/registry/hyper-util-0.1.20/src/rt/tokio.rs", "", Account::Stage(HTTP)),
            ("crates/wamp/src/router/mod.rs", "", Account::Stage(ROUTING)),
            ("", "__libc_send", Account::Stage(CALLS)),
            ("", "malloc", Account::Stage(ALLOCATOR)),
            ("", "memcpy@GLIBC_2.14", Account::Caller),
            ("/rustc/1/library/core/src/str/mod.rs", "", Account::Caller),
        ] {
            assert_eq!(account(file, function), expect, "{file} {function}");
        }
    }

    #[test]
    fn a_table_tells_the_cost_of_each_further_subscriber() {
        let bill = |outbox| Bill::from([(HTTP, 100.0), (OUTBOX, outbox)]);
        let profile = Profile { few: bill(0.0), many: bill(990.0), patterns: bill(40.0) };
        let text = profile.render();
        assert!(text.contains("| outboxes and flush | 0 | 0 % | 990 | 10 |"), "{text}");
        assert!(text.contains("cost a publication 40 instructions more"), "{text}");
    }
}
