//! This machine: what a result has to say about where it was taken, and the limits that a measurement runs into.

use std::fs;
use std::path::Path;
use std::time::{Instant, SystemTime};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::{Value, json};

use crate::fault::Fault;

/// Descriptors that a process needs beside its sessions: listeners, publishers, files.
pub const DESCRIPTORS_SPARE: usize = 200;

/// Raises the limit of open files as far as we may; processes started later inherit it.
pub fn raise_limit() {
    let limit = getrlimit(Resource::Nofile);
    // Whoever may not raise it hears of it where it is too low.
    let _may_not = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

/// Files that one process may have open.
#[must_use]
pub fn descriptors() -> usize {
    getrlimit(Resource::Nofile).current.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX)
}

/// Whether a server may hold so many sessions.
///
/// # Errors
/// A sentence that says what is needed.
pub fn allows(sessions: usize) -> Result<(), Fault> {
    let (limit, needed) = (descriptors(), sessions + DESCRIPTORS_SPARE);
    if limit >= needed {
        return Ok(());
    }
    Err(Fault::Limit(format!(
        "{sessions} sessions need {needed} open files in the server's process, and the limit (`ulimit -n`) is {limit}; \
         50000 sessions need {}",
        50_000 + DESCRIPTORS_SPARE
    )))
}

/// Cores, processor, kernel, and when.
#[must_use]
pub fn describe() -> Value {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let seconds = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |time| time.as_secs());
    json!({
        "cores": processors(),
        "cpu": model.trim_matches([' ', '\t', ':']),
        "kernel": kernel.trim(),
        "memory_mib": memory_total() / 1024,
        "open_files": descriptors(),
        "date": date(seconds),
    })
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

fn memory_total() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    text.split_whitespace().nth(1).and_then(|word| word.parse().ok()).unwrap_or_default()
}

/// Nanoseconds that the hypervisor kept the processors to itself, over all of them.
#[must_use]
pub fn stolen() -> u64 {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    // Field 8 of the first line, in hundredths of a second.
    text.split_whitespace().nth(8).and_then(|word| word.parse::<u64>().ok()).unwrap_or_default() * 10_000_000
}

/// What the hypervisor takes from a moment on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Theft {
    begin: Instant,
    stolen: u64,
}

impl Theft {
    pub(crate) fn begin() -> Self {
        Self { begin: Instant::now(), stolen: stolen() }
    }

    /// The part of all processors' time since then.
    pub(crate) fn share(self) -> f64 {
        let all = self.begin.elapsed().as_nanos() as f64 * processors() as f64;
        (stolen() - self.stolen) as f64 / all.max(1.0)
    }
}

/// A day of the Gregorian calendar from seconds since 1970, for the result's heading.
fn date(seconds: u64) -> String {
    let mut days = seconds / 86400;
    let is_leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let mut year = 1970;
    while days >= 365 + u64::from(is_leap(year)) {
        days -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let lengths = [31, 28 + u64::from(is_leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while days >= lengths[month] {
        days -= lengths[month];
        month += 1;
    }
    format!("{year}-{:02}-{:02}", month + 1, days + 1)
}

/// Checks that a program is as new as the sources that it was built from, which cargo lists beside it.
///
/// # Errors
/// When it is not there, or older than one of them.
pub fn is_fresh(program: &Path) -> Result<(), Fault> {
    let built = program.metadata().and_then(|data| data.modified());
    let built = built.map_err(|error| Fault::Io(format!("{} is not there", program.display()), error))?;
    let list = fs::read_to_string(program.with_extension("d")).unwrap_or_default();
    for source in list.split_once(": ").map_or("", |(_, sources)| sources).split_whitespace() {
        if fs::metadata(source).and_then(|data| data.modified()).is_ok_and(|changed| changed > built) {
            let program = program.display();
            return Err(Fault::Setup(format!(
                "{program} is older than {source}: build it, or run `cargo xtask bench`"
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_right() {
        for (seconds, expect) in [
            (0, "1970-01-01"),
            (951_782_400, "2000-02-29"),
            (1_795_324_851, "2026-11-22"),
            (4_107_542_400, "2100-03-01"),
        ] {
            assert_eq!(date(seconds), expect);
        }
    }

    #[test]
    fn a_limit_too_low_is_said() {
        assert!(allows(1).is_ok());
        let words = allows(usize::MAX / 2).expect_err("no machine has that").to_string();
        assert!(words.contains("ulimit -n") && words.contains("50200"), "{words}");
    }
}
