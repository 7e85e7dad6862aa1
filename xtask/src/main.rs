//! Automation of this repository: `cargo xtask SUBCOMMAND`.
//!
//! Knows which steps exist and in which order a subcommand walks through them. How a step does its work is in the
//! other rooms: [`place`] finds files and programs, [`install`] fetches what the tests need, [`suite`] runs the tests,
//! [`mod@bench`] measures, [`fuzz`] looks for inputs that break something, [`conformance`] runs a public suite that must be at
//! hand, and `tidy` checks the shape of the house as ordinary Rust tests.
//!
//! There are no dependencies: whoever has Rust can build this in seconds, and it must work before anything else does.

use std::process::ExitCode;

mod bench;
mod conformance;
mod fuzz;
mod install;
mod place;
mod step;
mod suite;
#[cfg(test)]
mod tidy;

use place::Place;
use step::Step;

const USAGE: &str = "\
usage: cargo xtask SUBCOMMAND

  test         install what the tests need, then check and run everything
  check        formatting, clippy and documentation
  tidy         the checks on the shape of the house alone
  unit         Rust tests, Python client tests, browser library tests
  e2e [NAME]   end-to-end tests with real clients; only the files whose name contains NAME
  sim [N]      live N simulated worlds; `sim --seed S --trace` lives one and tells all of it
  fuzz [TARGET [INPUT]] [--seconds N]
               all fuzz targets, or one, for N seconds in total (3600); or one target on one INPUT, once
  install      only install what the tests need
  websocket-suite --wstest PROGRAM [--cases 1.*,6.4.3]
               the public WebSocket fuzzing suite against the echo service of a release build
  bench        build everything in release and measure it; `bench --help` has the options
  bench-hub    the same for the WebSub hub; `bench-hub --help` has the options
  bench-functions
               the same for authenticator functions; `bench-functions --help` has the options
  soak [--seconds N]
               build both in release and press on the server for ten minutes, or N seconds, while sessions come and go
  weather [--only NAMES] [--rounds N] [--seconds N] [--json FILE]
               build everything in release and see what hostile clients do to honest ones
  profile      count the instructions of a publication by stage, with valgrind

CARGO_TARGET_DIR is honoured. E2E_CHROMIUM names the browser to take, PYTHON the Python to build the test environment with.
";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let subcommand = arguments.next().unwrap_or_default();
    if subcommand == "fuzz" {
        return fuzz::run(&Place::find(Vec::new()), &arguments.collect::<Vec<_>>());
    }
    if subcommand == "websocket-suite" {
        return conformance::run(arguments);
    }
    let Some(steps) = steps(&subcommand) else {
        step::say(USAGE);
        return ExitCode::from(2);
    };
    step::run(&Place::find(arguments.collect()), &steps)
}

/// The walk of each subcommand; the order matters, what is cheap and what others stand on comes first.
fn steps(subcommand: &str) -> Option<Vec<Step>> {
    let groups: &[&[Step]] = match subcommand {
        "test" => &[install::STEPS, suite::CHECK, suite::UNIT, suite::SIM, suite::E2E, bench::SHORT_SOAK, fuzz::STEPS],
        "check" => &[suite::CHECK],
        "tidy" => &[suite::TIDY],
        "unit" => &[install::PYTHON, suite::UNIT],
        "e2e" => &[install::STEPS, suite::E2E],
        "sim" => &[suite::SIM_ASKED],
        "install" => &[install::STEPS],
        "bench" => &[bench::STEPS],
        "bench-hub" => &[bench::HUB],
        "bench-functions" => &[bench::FUNCTIONS],
        "soak" => &[bench::SOAK],
        "weather" => &[bench::WEATHER],
        "profile" => &[bench::PROFILE],
        _ => return None,
    };
    Some(groups.concat())
}
