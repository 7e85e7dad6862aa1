//! `cargo xtask bench`, `bench-hub`, `bench-functions`, `soak` and `weather`: the server and the load generator, built as users
//! get them, and then measured.
//! `cargo xtask profile`: the same programs with line tables, and their instructions counted.
//!
//! Knows how both are built and what the load generator is told about them. What is measured, and what the options mean, is in
//! `crates/bench`.

use std::process::Command;

use crate::place::{Place, program};
use crate::step::{Ending, Step, exec, read};

/// Two builds, because one would join the features of both programs, and the server would not be the one that users get.
pub(crate) const STEPS: &[Step] = &[
    Step { name: "build stentor", run: build_server },
    Step { name: "build stentor-bench", run: build_bench },
    Step { name: "bench", run: bench },
];

/// The same two programs, a measurement of the store alone, and the benchmark of the hub.
pub(crate) const HUB: &[Step] = &[
    Step { name: "build stentor", run: build_server },
    Step { name: "build stentor-bench", run: build_bench },
    Step { name: "build the store's example", run: build_store },
    Step { name: "bench of the hub", run: hub },
];

/// The same two programs, and the benchmark of authenticator functions.
pub(crate) const FUNCTIONS: &[Step] = &[
    Step { name: "build stentor", run: build_server },
    Step { name: "build stentor-bench", run: build_bench },
    Step { name: "bench of functions", run: functions },
];

/// The same two programs, and half of the full rate for long.
pub(crate) const SOAK: &[Step] = &[
    Step { name: "build stentor", run: build_server },
    Step { name: "build stentor-bench", run: build_bench },
    Step { name: "soak", run: soak },
];

/// A minute of it with the server of the tests, whose full rate is low; the rules are the same.
pub(crate) const SHORT_SOAK: &[Step] = &[Step { name: "short soak", run: short_soak }];

/// The same builds, and hostile clients instead of many.
pub(crate) const WEATHER: &[Step] = &[
    Step { name: "build stentor", run: build_server },
    Step { name: "build stentor-bench", run: build_bench },
    Step { name: "weather", run: weather },
];

fn build_server(place: &Place) -> Ending {
    exec(&mut place.cargo("build --release --package stentor-server --bin stentor")).map(|()| "built".to_owned())
}

fn build_bench(place: &Place) -> Ending {
    exec(&mut place.cargo("build --release --package stentor-bench")).map(|()| "built".to_owned())
}

fn build_store(place: &Place) -> Ending {
    exec(&mut place.cargo("build --release --package stentor-store --example bench")).map(|()| "built".to_owned())
}

fn hub(place: &Place) -> Ending {
    let example = place.target.join("release").join("examples").join(format!("bench{}", std::env::consts::EXE_SUFFIX));
    let mut command = measure(place, "hub");
    command.arg("--store-example").arg(example).args(["--commit", &commit(place)]).args(&place.arguments);
    exec(&mut command).map(|()| "measured".to_owned())
}

/// The Python environment stays in the target folder, so that packages are fetched once.
fn functions(place: &Place) -> Ending {
    let mut command = measure(place, "functions");
    command.arg("--files").arg(place.target.join("bench-functions")).args(["--commit", &commit(place)]);
    exec(command.args(&place.arguments)).map(|()| "measured".to_owned())
}

fn bench(place: &Place) -> Ending {
    let mut command = measure(place, "run");
    exec(command.args(["--commit", &commit(place)]).args(&place.arguments)).map(|()| "measured".to_owned())
}

fn weather(place: &Place) -> Ending {
    exec(measure(place, "weather").args(&place.arguments)).map(|()| "held".to_owned())
}

/// The benchmark's program with one of its subcommands and the server to measure.
fn measure(place: &Place, subcommand: &str) -> Command {
    let folder = place.target.join("release");
    let program = |name: &str| folder.join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    let mut command = place.command(program("stentor-bench"));
    command.arg(subcommand).arg("--server").arg(program("stentor"));
    command
}

fn soak(place: &Place) -> Ending {
    exec(measure(place, "soak").args(&place.arguments)).map(|()| "every rule held".to_owned())
}

/// The features are those of the whole workspace, so that nearly everything has been built for the tests already.
fn short_soak(place: &Place) -> Ending {
    exec(&mut place.cargo("build --workspace --bin stentor-bench"))?;
    let program = place.server().with_file_name(format!("stentor-bench{}", std::env::consts::EXE_SUFFIX));
    let mut command = place.command(program);
    command.arg("soak").arg("--server").arg(place.server()).args(["--seconds", "60"]);
    exec(&mut command).map(|()| "every rule held".to_owned())
}

/// Line tables change nothing in the code, and tell which source an inlined instruction came from.
pub(crate) const PROFILE: &[Step] =
    &[Step { name: "build stentor with line tables", run: build_traced }, Step { name: "profile", run: profile }];

fn traced(place: &Place) -> std::path::PathBuf {
    // A folder of its own, so that the programs that users get are not replaced.
    place.target.join("profile")
}

fn build_traced(place: &Place) -> Ending {
    for package in ["stentor-server --bin stentor", "stentor-bench"] {
        let mut command = place.cargo(&format!("build --release --package {package}"));
        command.env("CARGO_TARGET_DIR", traced(place)).env("CARGO_PROFILE_RELEASE_DEBUG", "line-tables-only");
        exec(&mut command)?;
    }
    Ok("built".to_owned())
}

fn profile(place: &Place) -> Ending {
    if program(&["valgrind"]).is_none() {
        return Err("valgrind counts the instructions and is not installed; on Debian: apt install valgrind".to_owned());
    }
    let program = |name: &str| traced(place).join("release").join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    let mut command = place.command(program("stentor-bench"));
    command.arg("profile").arg("--server").arg(program("stentor"));
    exec(command.args(&place.arguments)).map(|()| "counted".to_owned())
}

/// What is checked out, and whether it is what was built.
fn commit(place: &Place) -> String {
    let commit = read(place.command("git").args(["rev-parse", "HEAD"])).unwrap_or_else(|| "unknown".to_owned());
    let changes =
        read(place.command("git").args(["status", "--porcelain", "--untracked-files=no"])).unwrap_or_default();
    if changes.is_empty() { commit } else { commit + " with changes" }
}
