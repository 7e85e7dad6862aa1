//! Fuzzing: builds the binary of `fuzz/` with the coverage flags of libFuzzer and runs its targets, one after the other.
//!
//! Knows how the binary is built on a stable toolchain, where inputs are kept, and for how long and within which limits
//! a target runs. What a target does is in `fuzz/src`; this room only has the list, so that it needs no build to answer.
//!
//! Seeds are committed in `fuzz/seeds`, or made by the binary. What grows from them is kept in the target directory and
//! is the start of the next run there.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use crate::place::Place;
use crate::step::{Ending, Step, exec, read, say};

/// The bounded run, for every change.
pub(crate) const STEPS: &[Step] = &[Step { name: "fuzz", run: bounded }];

/// One target of the binary, and the longest input that is worth its time.
struct Target {
    name: &'static str,
    bytes_max: u32,
}

const TARGETS: &[Target] = &[
    Target { name: "configuration_json", bytes_max: 16 * 1024 },
    Target { name: "configuration_yaml", bytes_max: 16 * 1024 },
    Target { name: "pusher_batch", bytes_max: 4096 },
    Target { name: "pusher_body", bytes_max: 4096 },
    Target { name: "pusher_head", bytes_max: 1024 },
    Target { name: "pusher_lane", bytes_max: 2048 },
    Target { name: "pusher_query", bytes_max: 1024 },
    Target { name: "wamp_batch", bytes_max: 4096 },
    Target { name: "wamp_cbor", bytes_max: 4096 },
    Target { name: "wamp_json", bytes_max: 4096 },
    Target { name: "wamp_msgpack", bytes_max: 4096 },
    Target { name: "wamp_session", bytes_max: 4096 },
    Target { name: "websocket_decoder", bytes_max: 4096 },
    Target { name: "websocket_deflate", bytes_max: 4096 },
    Target { name: "websocket_handshake", bytes_max: 2048 },
    Target { name: "websub_form", bytes_max: 4096 },
    Target { name: "websub_message", bytes_max: 4096 },
];

/// What cargo-fuzz asks of the compiler, without the address sanitizer: that one wants a nightly toolchain and finds
/// faults of unsafe code, of which there is none here.
const COVERAGE: &[&str] = &[
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "--cfg",
    "fuzzing",
];

/// How long a target goes on.
#[derive(Clone, Copy)]
enum Effort {
    /// Until the time is over, from where earlier searches ended, another way each time.
    Search(Duration),
    /// So many inputs, from the seeds alone and always the same ones, so that a change is judged by itself and not by luck.
    Check(u32),
}

/// Inputs for each target in the bounded run: seconds for most.
const BOUNDED: Effort = Effort::Check(10_000);

/// All targets together, when somebody asks for fuzzing without saying for how long.
const DEFAULT: Duration = Duration::from_secs(3600);

/// Seconds for a single input, which takes microseconds unless something is wrong. Leaves room for a busy machine.
const INPUT_SECONDS_MAX: u32 = 10;

/// Memory of the process. The largest limit of a decoder under test is a few megabytes; the rest is libFuzzer's.
const MEMORY_MEBIBYTES_MAX: u32 = 2048;

/// What `cargo xtask fuzz` was asked for.
enum Request {
    /// To look for new faults in some targets, each for so long.
    Search { targets: Vec<&'static Target>, each: Duration },
    /// To run one input once.
    Replay { target: &'static Target, input: PathBuf },
}

impl Request {
    fn parse(arguments: &[String]) -> Result<Self, String> {
        let mut total = DEFAULT;
        let mut rest = Vec::new();
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            if argument == "--seconds" {
                let seconds = arguments.next().and_then(|text| text.parse().ok());
                total = Duration::from_secs(seconds.ok_or("--seconds takes a number")?);
            } else {
                rest.push(argument.as_str());
            }
        }
        match rest.as_slice() {
            [] => {
                let targets: Vec<_> = TARGETS.iter().collect();
                let each = total / u32::try_from(targets.len()).expect("the list above is short");
                Ok(Self::Search { targets, each })
            }
            [name] => Ok(Self::Search { targets: vec![find(name)?], each: total }),
            [name, input] => Ok(Self::Replay { target: find(name)?, input: PathBuf::from(input) }),
            _ => Err("at most a target and an input".to_owned()),
        }
    }
}

fn find(name: &str) -> Result<&'static Target, String> {
    let names = || TARGETS.iter().map(|target| target.name).collect::<Vec<_>>().join(", ");
    TARGETS
        .iter()
        .find(|target| target.name == name)
        .ok_or_else(|| format!("no target `{name}`; there are {}", names()))
}

/// `cargo xtask fuzz [TARGET [INPUT]] [--seconds N]`.
pub(crate) fn run(place: &Place, arguments: &[String]) -> ExitCode {
    let ending = match Request::parse(arguments) {
        Ok(Request::Search { targets, each }) => search(place, &targets, Effort::Search(each)),
        Ok(Request::Replay { target, input }) => replay(place, target, &input),
        Err(fault) => {
            say(&fault);
            return ExitCode::from(2);
        }
    };
    match ending {
        Ok(words) => {
            say(&words);
            ExitCode::SUCCESS
        }
        Err(fault) => {
            say(&fault);
            ExitCode::FAILURE
        }
    }
}

fn bounded(place: &Place) -> Ending {
    search(place, &TARGETS.iter().collect::<Vec<_>>(), BOUNDED)
}

/// Runs the targets one after the other. A fault in one does not keep the others from being run.
fn search(place: &Place, targets: &[&Target], effort: Effort) -> Ending {
    let room = Room::new(place);
    room.build(place)?;
    let mut faults = Vec::new();
    for target in targets {
        match room.search(target, effort) {
            Ok(words) => say(&format!("{}: {words}", target.name)),
            Err(fault) => {
                say(&fault);
                faults.push(target.name);
            }
        }
    }
    match faults.as_slice() {
        [] => Ok(format!("{} targets, nothing found", targets.len())),
        names => Err(format!("found something in {}", names.join(", "))),
    }
}

fn replay(place: &Place, target: &Target, input: &Path) -> Ending {
    let room = Room::new(place);
    room.build(place)?;
    exec(room.target(target).arg(limit("timeout", INPUT_SECONDS_MAX)).arg(input))
        .map(|()| "the input is survived".to_owned())
}

/// Where things lie.
struct Room {
    /// Committed.
    seeds: PathBuf,
    /// The target directory of this build, whose flags would otherwise make every other build start anew.
    target: PathBuf,
    triple: String,
}

impl Room {
    fn new(place: &Place) -> Self {
        let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let version = read(Command::new(rustc).arg("-vV")).unwrap_or_default();
        let triple = version.lines().find_map(|line| line.strip_prefix("host: ")).unwrap_or_default().to_owned();
        Self { seeds: place.root.join("fuzz/seeds"), target: place.target.join("fuzz"), triple }
    }

    fn binary(&self) -> PathBuf {
        self.target.join(&self.triple).join("release").join(format!("stentor-fuzz{}", std::env::consts::EXE_SUFFIX))
    }

    fn build(&self, place: &Place) -> Result<(), String> {
        // With a target named, build scripts and macros go without the flags: they could not be linked with them.
        let words = format!("build --quiet --release --manifest-path fuzz/Cargo.toml --target {}", self.triple);
        let mut cargo = place.cargo(&words);
        cargo.env("CARGO_TARGET_DIR", &self.target).env("CARGO_ENCODED_RUSTFLAGS", COVERAGE.join("\x1f"));
        exec(&mut cargo)?;
        // libFuzzer always has something to say, which nobody needs to know unless this fails.
        let made = Command::new(self.binary()).env("FUZZ_SEEDS_OUT", self.target.join("seeds")).output();
        match made {
            Ok(made) if made.status.success() => Ok(()),
            Ok(made) => Err(format!("the seeds cannot be made: {}", String::from_utf8_lossy(&made.stderr))),
            Err(error) => Err(format!("{} cannot be started: {error}", self.binary().display())),
        }
    }

    /// The binary as one target, in a folder of its own.
    fn target(&self, target: &Target) -> Command {
        let mut command = Command::new(self.binary());
        command.env("FUZZ_TARGET", target.name).env("RUST_BACKTRACE", "1");
        command
    }

    /// One target with so much effort; the words are the figures of its last line.
    fn search(&self, target: &Target, effort: Effort) -> Ending {
        let (corpus, limits) = match effort {
            Effort::Search(time) => ("corpus", vec![limit("max_total_time", time.as_secs().max(1))]),
            Effort::Check(inputs) => ("check", vec![limit("seed", 1), limit("runs", inputs)]),
        };
        let corpus = self.target.join(corpus).join(target.name);
        if matches!(effort, Effort::Check(_)) && corpus.exists() {
            fs::remove_dir_all(&corpus).map_err(|error| format!("{} cannot be emptied: {error}", corpus.display()))?;
        }
        let corpus = folder(corpus)?;
        let findings = folder(self.target.join("findings").join(target.name))?;
        let log = folder(self.target.join("logs"))?.join(format!("{}.log", target.name));
        let sources = [self.seeds.join(target.name), self.target.join("seeds").join(target.name)];
        let file = File::create(&log).map_err(|error| format!("{} cannot be written: {error}", log.display()))?;
        let status = self
            .target(target)
            .args(limits)
            .arg(limit("timeout", INPUT_SECONDS_MAX))
            .arg(limit("rss_limit_mb", MEMORY_MEBIBYTES_MAX))
            .arg(limit("max_len", target.bytes_max))
            .arg(limit("artifact_prefix", format!("{}/", findings.display())))
            .arg(corpus)
            .args(sources.iter().filter(|source| source.is_dir()))
            .stderr(file)
            .status()
            .map_err(|error| format!("{} cannot be started: {error}", self.binary().display()))?;
        let text = fs::read(&log).map(|octets| String::from_utf8_lossy(&octets).into_owned()).unwrap_or_default();
        if status.success() { Ok(figures(&text)) } else { Err(report(target, &text, &log)) }
    }
}

fn limit(name: &str, value: impl std::fmt::Display) -> String {
    format!("-{name}={value}")
}

fn folder(path: PathBuf) -> Result<PathBuf, String> {
    fs::create_dir_all(&path).map_err(|error| format!("{} cannot be made: {error}", path.display()))?;
    Ok(path)
}

/// The last figures of a run: executions, edges, size of the corpus.
fn figures(log: &str) -> String {
    let done = log.lines().rev().find_map(|line| line.strip_prefix('#')?.split_once("DONE").map(|_| line));
    done.unwrap_or("no figures").split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What was found: the panic, where the input is, and how to see it again.
fn report(target: &Target, log: &str, path: &Path) -> String {
    let name = target.name;
    let panic = log.lines().skip_while(|line| !line.contains("panicked at") && !line.contains("ERROR: ")).take(6);
    let panic = panic.collect::<Vec<_>>().join("\n  ");
    let input = log.lines().find_map(|line| line.split_once("Test unit written to ")).map_or("", |(_, input)| input);
    format!(
        "{name}: FOUND\n  {panic}\n  the input: {input}\n  once more: cargo xtask fuzz {name} {input}\n  the log:   {}",
        path.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn requests_are_read() {
        let check = |text: &str, expect: Result<(usize, u64), &str>| match (Request::parse(&words(text)), expect) {
            (Ok(Request::Search { targets, each }), Ok(expect)) => assert_eq!((targets.len(), each.as_secs()), expect),
            (Ok(Request::Replay { target, input }), Ok((0, _))) => {
                assert!(text.contains(target.name) && text.ends_with(input.to_str().unwrap_or_default()));
            }
            (Err(fault), Err(part)) => assert!(fault.contains(part), "{fault}"),
            _ => panic!("{text}"),
        };
        let all = TARGETS.len();
        check("", Ok((all, 3600 / all as u64)));
        check("--seconds 140", Ok((all, 140 / all as u64)));
        check("wamp_json", Ok((1, 3600)));
        check("wamp_json --seconds 9", Ok((1, 9)));
        check("wamp_json some/input", Ok((0, 0)));
        check("wamp_xml", Err("wamp_json"));
        check("--seconds x", Err("a number"));
        check("a b c", Err("at most"));
    }

    #[test]
    fn the_list_is_that_of_the_binary_and_each_has_limits() {
        let root = Place::find(Vec::new()).root;
        let source = fs::read_to_string(root.join("fuzz/src/main.rs")).expect("the binary is there");
        let listed: Vec<&str> = source
            .lines()
            .filter_map(|line| line.trim().strip_prefix("(\"")?.split_once('"').map(|(name, _)| name))
            .collect();
        assert_eq!(listed, TARGETS.iter().map(|target| target.name).collect::<Vec<_>>());
        for entry in fs::read_dir(root.join("fuzz/seeds")).expect("the seeds are there").flatten() {
            assert!(find(&entry.file_name().to_string_lossy()).is_ok(), "{entry:?} are seeds of no target");
        }
    }

    #[test]
    fn a_finding_says_how_to_see_it_again() {
        let log =
            "#5 NEW\nthread panicked at src/a.rs:1:1:\nno\nartifact_prefix='f/'; Test unit written to f/crash-1\n";
        let text = report(&TARGETS[0], log, Path::new("x.log"));
        for part in ["panicked at src/a.rs", "cargo xtask fuzz configuration_json f/crash-1", "x.log"] {
            assert!(text.contains(part), "{text}");
        }
        assert_eq!(figures("#1\tNEW x\n#99\tDONE   cov: 7 ft: 8\nstat::x: 1"), "#99 DONE cov: 7 ft: 8");
    }
}
