//! What the operating system says about this process: memory, processor time, file descriptors and their limit.
//!
//! Where the system does not say (there is no `/proc` outside of Linux), the number is left out.

use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::time::{ClockId, clock_gettime};

/// What the process takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Memory in RAM, in octets.
    pub resident_bytes: Option<u64>,
    /// Processor time, user and system.
    pub cpu: Duration,
    /// Open file descriptors.
    pub open_files: Option<u64>,
    /// File descriptors that may be open; nothing where there is no limit.
    pub open_files_max: Option<u64>,
}

/// Asks the system. With many connections this may take milliseconds, so it does not belong on a serving thread.
#[must_use]
pub fn usage() -> Usage {
    let cpu = clock_gettime(ClockId::ProcessCPUTime);
    Usage {
        resident_bytes: std::fs::read_to_string("/proc/self/status").ok().and_then(|text| resident_bytes(&text)),
        cpu: cpu.try_into().unwrap_or_default(),
        open_files: open_files(),
        open_files_max: getrlimit(Resource::Nofile).current,
    }
}

/// The line `VmRSS:     1234 kB`.
fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    kibibytes.checked_mul(1024)
}

fn open_files() -> Option<u64> {
    const FOLDER: &str = "/proc/self/fd";
    // Since Linux 6.2 the folder's size is the number; before, it was 0 and the entries have to be counted.
    match std::fs::metadata(FOLDER).ok()?.len() {
        0 => std::fs::read_dir(FOLDER).ok().and_then(|entries| u64::try_from(entries.count()).ok()),
        count => Some(count),
    }
}

/// Raises the soft limit of open file descriptors to the hard one, and returns what holds now; nothing where there is no
/// limit. The soft limit protects programs that use `select`, which cannot count beyond 1024; this one does not.
#[must_use]
pub fn raise_open_files() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum || setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).is_err() {
        return current;
    }
    maximum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resident_memory_is_read_from_its_line() {
        let check = |text, expected| assert_eq!(resident_bytes(text), expected, "{text}");
        check("Name:\tx\nVmRSS:\t    1234 kB\nRssAnon: 1 kB\n", Some(1234 * 1024));
        check("VmRSS: many kB", None);
        check("VmRSS: 18446744073709551615 kB", None);
        check("", None);
    }

    #[test]
    fn limits_are_raised_to_the_hard_one() {
        let now = raise_open_files();
        assert_eq!(now, getrlimit(Resource::Nofile).maximum);
        assert_eq!(usage().open_files_max, now);
    }
}
