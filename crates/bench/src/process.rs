//! The server under test as a process: started, watched and ended by its number.

use std::collections::HashMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::fault::{Fault, io};

/// How long a server may take to end after SIGTERM.
const FAREWELL: Duration = Duration::from_secs(10);

/// A running server and the processes that it started.
#[derive(Debug)]
pub struct Process {
    child: Child,
    /// Nanoseconds by thread, kept when the thread has ended.
    threads: HashMap<(u32, u32), u64>,
}

impl Process {
    /// Starts a program; what it says goes to nowhere.
    ///
    /// # Errors
    /// When there is no such program.
    pub fn start(command: &mut Command) -> Result<Self, Fault> {
        let started = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let child = io(started, || format!("{} cannot be started", command.get_program().display()))?;
        Ok(Self { child, threads: HashMap::new() })
    }

    /// Waits for the first answer to a GET, and gives the time from `begin`.
    ///
    /// # Errors
    /// When the process ends, or does not answer in time.
    pub fn wait_for_http(&mut self, at: SocketAddr, path: &str, patience: Duration) -> Result<(), Fault> {
        let deadline = Instant::now() + patience;
        loop {
            if get(at, path).is_ok() {
                return Ok(());
            }
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(Fault::Setup(format!("the server ended at once: {status}")));
            }
            if Instant::now() > deadline {
                return Err(Fault::Stalled(format!("the server did not answer within {patience:?}")));
            }
            std::thread::sleep(Duration::from_micros(200));
        }
    }

    /// The number of the process that was started.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Processor time used so far by the process and all below it, in nanoseconds.
    pub fn cpu(&mut self) -> u64 {
        let mut total = 0;
        for pid in family(self.id()) {
            for (thread, time) in threads(pid) {
                self.threads.insert((pid, thread), time);
            }
        }
        // A thread that ended between two looks has left its last figure here, and the rest of it in the sum that the
        // kernel keeps for the process, in hundredths of a second.
        let mut by_process: HashMap<u32, u64> = HashMap::new();
        for (&(pid, _), time) in &self.threads {
            *by_process.entry(pid).or_default() += time;
        }
        for (pid, exact) in by_process {
            let coarse = coarse_cpu(pid).unwrap_or_default();
            // The coarse figure is rounded down; it is only believed when threads are missing from the exact one.
            total += if coarse > exact + 20_000_000 { coarse } else { exact };
        }
        total
    }

    /// Resident memory of the process and all below it, in octets.
    #[must_use]
    pub fn memory(&self) -> u64 {
        family(self.id()).into_iter().filter_map(resident).sum()
    }

    /// Files and sockets that the process has open.
    #[must_use]
    pub fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.id())).map_or(0, Iterator::count)
    }

    /// Ends the process with SIGTERM, or the hard way if it does not listen.
    pub fn stop(&mut self) {
        let pid = i32::try_from(self.id()).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid
            && matches!(self.child.try_wait(), Ok(None))
        {
            // It may end by itself at this moment, and then there is nobody to tell.
            let _ended = kill_process(pid, Signal::TERM);
        }
        let deadline = Instant::now() + FAREWELL;
        while matches!(self.child.try_wait(), Ok(None)) {
            if Instant::now() > deadline {
                drop(self.child.kill());
                drop(self.child.wait());
                return;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A port that is free now. Somebody may take it before the server does, and then the server says so by not starting.
///
/// # Errors
/// When the system has none.
pub fn free_port() -> Result<SocketAddr, Fault> {
    let found = TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr());
    io(found, || "there is no free port".to_owned())
}

fn get(at: SocketAddr, path: &str) -> std::io::Result<()> {
    let mut tcp = TcpStream::connect(at)?;
    tcp.set_read_timeout(Some(Duration::from_secs(2)))?;
    tcp.write_all(format!("GET {path} HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n").as_bytes())?;
    tcp.read_exact(&mut [0; 12])
}

/// The process and all below it. Servers of several processes start theirs at the beginning and keep them.
fn family(root: u32) -> Vec<u32> {
    let mut all = vec![root];
    let mut at = 0;
    while let Some(&pid) = all.get(at) {
        at += 1;
        let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { continue };
        for task in tasks.flatten() {
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            all.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
        }
    }
    all
}

/// Time on a processor by thread: the first field of `schedstat`, in nanoseconds.
fn threads(pid: u32) -> Vec<(u32, u64)> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let read = |task: fs::DirEntry| {
        let thread = task.file_name().to_str()?.parse().ok()?;
        let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
        Some((thread, text.split_whitespace().next()?.parse().ok()?))
    };
    tasks.flatten().filter_map(read).collect()
}

/// Processor time used so far by those threads of a process that have this name with a number behind it, in nanoseconds.
#[must_use]
pub fn cpu_of_threads(pid: u32, name: &str) -> u64 {
    let is_meant = |thread: u32| {
        let called = fs::read_to_string(format!("/proc/{pid}/task/{thread}/comm")).unwrap_or_default();
        called.trim_end().strip_prefix(name).is_some_and(|rest| rest.parse::<u32>().is_ok())
    };
    threads(pid).into_iter().filter(|&(thread, _)| is_meant(thread)).map(|(_, time)| time).sum()
}

/// User and system time of a process, ended threads included: fields 14 and 15 of `stat`, in hundredths of a second.
fn coarse_cpu(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may contain anything, so counting starts behind it, with field 3.
    let mut fields = text.rsplit_once(')')?.1.split_whitespace().skip(11);
    let ticks = fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?;
    Some(ticks * 10_000_000)
}

fn resident(pid: u32) -> Option<u64> {
    let field = |file: &str, name: &str| {
        let text = fs::read_to_string(format!("/proc/{pid}/{file}")).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
    };
    // The roll-up is exact; `status` may be some pages behind.
    field("smaps_rollup", "Rss:").or_else(|| field("status", "VmRSS:"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_measured_and_ended() {
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 100 & i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; wait"]);
        let mut process = Process::start(&mut command).expect("sh is there");
        let deadline = Instant::now() + Duration::from_secs(20);
        while process.cpu() == 0 || process.memory() == 0 {
            assert!(Instant::now() < deadline, "no time and no memory were used");
            std::thread::yield_now();
        }
        for pid in family(process.id()).into_iter().skip(1) {
            kill_process(Pid::from_raw(pid.cast_signed()).expect("not 0"), Signal::TERM).expect("ours");
        }
        process.stop();
        assert!(process.child.try_wait().expect("ended").is_some());
    }

    #[test]
    fn this_process_has_time_and_memory() {
        let pid = std::process::id();
        assert!(!threads(pid).is_empty());
        assert!(coarse_cpu(pid).is_some());
        assert!(resident(pid).expect("readable") > 100_000);
    }
}
