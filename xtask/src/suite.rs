//! The checks and tests, each as a step.
//!
//! Knows the command line of every runner and what the end-to-end tests are told about this machine. The runners' own
//! output goes through untouched. A folder without any tests is a failure: a glob that matches nothing would otherwise
//! pass for ever.

use std::path::PathBuf;
use std::process::Command;

use crate::place::{self, Place};
use crate::step::{Ending, Step, exec, read};

/// Worlds of a run of all tests: half a minute, and enough to meet what happens in one of a thousand.
const SEEDS: u32 = 10_000;

/// What needs no run of our code.
pub(crate) const CHECK: &[Step] =
    &[Step { name: "fmt", run: fmt }, Step { name: "clippy", run: clippy }, Step { name: "doc", run: doc }];

/// The shape of the house.
pub(crate) const TIDY: &[Step] = &[Step { name: "tidy", run: tidy }];

/// Everything that runs without a server process.
pub(crate) const UNIT: &[Step] = &[
    Step { name: "rust tests", run: rust },
    Step { name: "rust doc tests", run: rust_doc },
    Step { name: "python client tests", run: python_client },
    Step { name: "browser library tests", run: browser_library },
];

/// Simulated worlds, as many as every run of all tests can afford.
pub(crate) const SIM: &[Step] = &[Step { name: "simulation", run: simulation }];

/// As many simulated worlds as asked for, or the one asked for.
pub(crate) const SIM_ASKED: &[Step] = &[Step { name: "simulation", run: simulation_asked }];

/// Real clients against a real server process.
pub(crate) const E2E: &[Step] = &[
    Step { name: "build stentor", run: build },
    Step { name: "e2e node", run: e2e_node },
    Step { name: "e2e python", run: e2e_python },
];

fn fmt(place: &Place) -> Ending {
    exec(&mut place.cargo("fmt --all --check")).map(|()| "formatted".to_owned())
}

fn clippy(place: &Place) -> Ending {
    exec(&mut place.cargo("clippy --workspace --all-targets -- -D warnings")).map(|()| "clean".to_owned())
}

fn doc(place: &Place) -> Ending {
    exec(place.cargo("doc --workspace --no-deps").env("RUSTDOCFLAGS", "-D warnings")).map(|()| "clean".to_owned())
}

fn tidy(place: &Place) -> Ending {
    exec(&mut place.cargo(&format!("{} --package xtask", runner(place)))).map(|()| "tidy".to_owned())
}

fn rust(place: &Place) -> Ending {
    exec(&mut place.cargo(&format!("{} --workspace", runner(place)))).map(|()| "passed".to_owned())
}

/// nextest runs the tests of all crates side by side; plain cargo does where it is not installed. Both go on after a
/// failure, so that one run shows all of them.
fn runner(place: &Place) -> &'static str {
    match read(&mut place.cargo("nextest --version")) {
        Some(_) => "nextest run --no-fail-fast",
        None => "test --no-fail-fast --lib --bins --tests",
    }
}

fn rust_doc(place: &Place) -> Ending {
    exec(&mut place.cargo("test --doc --workspace")).map(|()| "passed".to_owned())
}

fn python_client(place: &Place) -> Ending {
    some(place.files("clients/python/tests", "test_", ".py"), "clients/python/tests/test_*.py")?;
    let words = ["-m", "unittest", "discover", "-s", "clients/python/tests"];
    exec(place.command(place.python()).args(words)).map(|()| "passed".to_owned())
}

fn browser_library(place: &Place) -> Ending {
    let files = some(place.files("crates/server/web", "", ".test.mjs"), "crates/server/web/*.test.mjs")?;
    exec(place.command("node").args(["--test", "--test-reporter=spec"]).args(files)).map(|()| "passed".to_owned())
}

fn simulation(place: &Place) -> Ending {
    simulate(place, &format!("--seeds {SEEDS}"))
}

fn simulation_asked(place: &Place) -> Ending {
    match place.arguments.as_slice() {
        [] => simulation(place),
        [number] if number.bytes().all(|byte| byte.is_ascii_digit()) => simulate(place, &format!("--seeds {number}")),
        words => simulate(place, &words.join(" ")),
    }
}

fn simulate(place: &Place, words: &str) -> Ending {
    exec(&mut place.cargo(&format!("run --quiet --package stentor-sim -- {words}")))
        .map(|()| "no promise broken".to_owned())
}

fn build(place: &Place) -> Ending {
    exec(&mut place.cargo("build --package stentor-server --bin stentor"))?;
    let server = place.server();
    if server.is_file() { Ok(server.display().to_string()) } else { Err(format!("{} was not built", server.display())) }
}

fn e2e_node(place: &Place) -> Ending {
    let files = place.files("e2e", "", ".test.mjs");
    if files.is_empty() && place.filter.is_some() {
        return Ok("no file of that name".to_owned());
    }
    let files = some(files, "e2e/*.test.mjs")?;
    // One file after the other: each starts servers and a browser, and the machine may be small.
    let words = ["--test", "--test-concurrency=1", "--test-reporter=spec"];
    let mut command = place.command("node");
    exec(tell(place, &mut command)?.args(words).args(files)).map(|()| "passed".to_owned())
}

fn e2e_python(place: &Place) -> Ending {
    let files = place.files("e2e", "test_", ".py");
    if files.is_empty() && place.filter.is_some() {
        return Ok("no file of that name".to_owned());
    }
    let modules = some(files, "e2e/test_*.py")?;
    let modules = modules.iter().filter_map(|path| path.file_stem());
    let mut command = Command::new(place.python());
    command.current_dir(place.e2e()).args(["-m", "unittest", "--verbose"]).args(modules);
    exec(tell(place, &mut command)?).map(|()| "passed".to_owned())
}

/// The environment of the end-to-end tests. They are told everything and look for nothing, so that a test can never
/// run against another server than the one just built.
fn tell<'c>(place: &Place, command: &'c mut Command) -> Result<&'c mut Command, String> {
    let out = place.target.join("e2e");
    std::fs::create_dir_all(&out).map_err(|error| format!("{} cannot be made: {error}", out.display()))?;
    if let Some(chromium) = place::chromium() {
        command.env("E2E_CHROMIUM", chromium);
    }
    Ok(command.env("STENTOR_BIN", place.server()).env("E2E_PYTHON", place.python()).env("E2E_OUT", out))
}

fn some(files: Vec<PathBuf>, what: &str) -> Result<Vec<PathBuf>, String> {
    if files.is_empty() { Err(format!("there is no {what}")) } else { Ok(files) }
}
