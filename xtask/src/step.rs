//! Steps: named pieces of work, run one after the other, timed and summed up.
//!
//! Knows how a walk through steps is reported. The steps' own output is passed through untouched, so that the closing
//! lines of each test runner can be read, and counted, by whoever reads the log.

use std::io::Write as _;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use crate::place::Place;

/// What a step leaves behind: a few words for its closing line, or a sentence that says what went wrong.
pub(crate) type Ending = Result<String, String>;

/// One step of a subcommand.
#[derive(Clone, Copy)]
pub(crate) struct Step {
    pub(crate) name: &'static str,
    pub(crate) run: fn(&Place) -> Ending,
}

/// Runs the steps up to the first failure, then prints one line with the time of each.
pub(crate) fn run(place: &Place, steps: &[Step]) -> ExitCode {
    let start = Instant::now();
    let mut times = Vec::new();
    for step in steps {
        say(&format!("==> {}", step.name));
        let begin = Instant::now();
        let ending = (step.run)(place);
        let took = seconds(begin.elapsed());
        times.push(format!("{} {took}", step.name));
        match ending {
            Ok(words) => say(&format!("<== {}: {words} ({took})", step.name)),
            Err(fault) => {
                say(&format!("<== {} FAILED ({took}): {fault}", step.name));
                say(&summary("failed", &times, steps.len(), start.elapsed()));
                return ExitCode::FAILURE;
            }
        }
    }
    say(&summary("passed", &times, steps.len(), start.elapsed()));
    ExitCode::SUCCESS
}

fn summary(verdict: &str, times: &[String], planned: usize, total: Duration) -> String {
    format!("xtask: {verdict}, {} of {planned} steps in {}: {}", times.len(), seconds(total), times.join(", "))
}

fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

/// Runs a command with our own output streams.
///
/// # Errors
/// A sentence with the command line, when it cannot be started or ends with another code than 0.
pub(crate) fn exec(command: &mut Command) -> Result<(), String> {
    let line = show(command);
    let status = command.status().map_err(|error| format!("`{line}` cannot be started: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("`{line}` ended with {status}")) }
}

/// Runs a command and gives what it wrote to its standard output, or nothing when it failed.
pub(crate) fn read(command: &mut Command) -> Option<String> {
    let output = command.output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn show(command: &Command) -> String {
    let mut line = command.get_program().to_string_lossy().into_owned();
    for argument in command.get_args() {
        line.push(' ');
        line.push_str(&argument.to_string_lossy());
    }
    line
}

/// One line to standard output. A reader that has gone away, as in `cargo xtask test | head`, is no failure of ours.
pub(crate) fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    drop(writeln!(out, "{line}").and_then(|()| out.flush()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summary_is_one_line_with_each_step() {
        let times = ["fmt 0.1 s".to_owned(), "clippy 2.0 s".to_owned()];
        assert_eq!(
            summary("failed", &times, 5, Duration::from_millis(2100)),
            "xtask: failed, 2 of 5 steps in 2.1 s: fmt 0.1 s, clippy 2.0 s"
        );
    }

    #[test]
    fn a_failing_command_is_named() {
        let fault = exec(Command::new("false").arg("x")).expect_err("false always fails");
        assert!(fault.starts_with("`false x` ended with"), "{fault}");
        let fault = exec(&mut Command::new("no-such-program-here")).expect_err("not there");
        assert!(fault.contains("cannot be started"), "{fault}");
    }
}
