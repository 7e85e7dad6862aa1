//! `stentor-sim`: lives many worlds, side by side, and says which of them broke a promise.

use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use stentor_sim::{Failure, Life, Sabotage, run, run_traced};

const USAGE: &str = "\
usage: stentor-sim [--seeds N] [--from S]    live the worlds S to S+N-1 (1000 from 0)
       stentor-sim --seed S [--trace]        live one world, with a line for every step";

/// Failures after which nobody reads on.
const FAILURES_SHOWN_MAX: usize = 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Many { from: u64, seeds: u64 },
    One { seed: u64 },
    Traced { seed: u64 },
}

fn main() -> ExitCode {
    match parse(std::env::args().skip(1)) {
        Some(Order::Many { from, seeds }) => many(from, seeds),
        Some(Order::One { seed }) => one(run(seed, Sabotage::None)),
        Some(Order::Traced { seed }) => one(run_traced(seed, Sabotage::None, &mut |line| say(line))),
        None => {
            say(USAGE);
            ExitCode::from(2)
        }
    }
}

fn parse(arguments: impl Iterator<Item = String>) -> Option<Order> {
    let (mut seeds, mut from, mut seed, mut is_traced) = (1000, 0, None, false);
    let mut arguments = arguments;
    while let Some(argument) = arguments.next() {
        let mut number = || arguments.next()?.parse().ok();
        match argument.as_str() {
            "--seeds" => seeds = number()?,
            "--from" => from = number()?,
            "--seed" => seed = Some(number()?),
            "--trace" => is_traced = true,
            _ => return None,
        }
    }
    match seed {
        None => Some(Order::Many { from, seeds }),
        Some(seed) if is_traced => Some(Order::Traced { seed }),
        Some(seed) => Some(Order::One { seed }),
    }
}

fn one(ending: Result<Life, Failure>) -> ExitCode {
    match ending {
        Ok(life) => {
            say(&format!("{life:?}"));
            ExitCode::SUCCESS
        }
        Err(failure) => {
            say(&failure.to_string());
            ExitCode::FAILURE
        }
    }
}

/// What all threads found.
#[derive(Debug, Default)]
struct Sum {
    total: Life,
    failures: Vec<String>,
}

fn many(from: u64, seeds: u64) -> ExitCode {
    let start = Instant::now();
    let (next, sum) = (AtomicU64::new(0), Mutex::new(Sum::default()));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let is_enough = || sum.lock().is_ok_and(|sum| sum.failures.len() >= FAILURES_SHOWN_MAX);
                    if number >= seeds || is_enough() {
                        return;
                    }
                    let ending = live(from + number);
                    if let Ok(mut sum) = sum.lock() {
                        sum.add(ending);
                    }
                }
            });
        }
    });
    let sum = sum.into_inner().unwrap_or_default();
    for failure in &sum.failures {
        say(failure);
    }
    let Life { steps, deliveries, dead, crashes } = sum.total;
    let seconds = start.elapsed().as_secs_f64();
    say(&format!(
        "{seeds} worlds from {from} in {seconds:.1} s: {steps} steps, {deliveries} deliveries, {dead} dead, {crashes} \
         crashes, {} broke a promise",
        sum.failures.len()
    ));
    if sum.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A panic is a failure of its seed, not of the run.
fn live(seed: u64) -> Result<Life, String> {
    match catch_unwind(AssertUnwindSafe(|| run(seed, Sabotage::None))) {
        Ok(ending) => ending.map_err(|failure| failure.to_string()),
        Err(_) => Err(format!("seed {seed}: panicked; replay it with `cargo xtask sim --seed {seed} --trace`")),
    }
}

impl Sum {
    fn add(&mut self, ending: Result<Life, String>) {
        match ending {
            Ok(life) => {
                self.total.steps += life.steps;
                self.total.deliveries += life.deliveries;
                self.total.dead += life.dead;
                self.total.crashes += life.crashes;
            }
            Err(failure) => self.failures.push(failure),
        }
    }
}

/// One line. A reader that has gone away is no failure of ours.
fn say(line: &str) {
    drop(writeln!(std::io::stdout().lock(), "{line}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_lines() {
        let check = |line: &str, expected| assert_eq!(parse(line.split_whitespace().map(str::to_owned)), expected);
        check("", Some(Order::Many { from: 0, seeds: 1000 }));
        check("--seeds 5 --from 7", Some(Order::Many { from: 7, seeds: 5 }));
        check("--seed 9", Some(Order::One { seed: 9 }));
        check("--seed 9 --trace", Some(Order::Traced { seed: 9 }));
        check("--seed", None);
        check("--seeds many", None);
        check("much", None);
    }
}
