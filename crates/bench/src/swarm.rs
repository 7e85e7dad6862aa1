//! Subscribers in processes of their own, for more sessions than one process may have.
//!
//! A child opens its sessions, says `ready`, and then one line for each publication that all of its sessions hold: the
//! time that the slowest took. When its input ends, it answers with its tally.

use std::io::{BufRead, BufReader, Lines, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use crate::dialect::{Dialect, Serializer};
use crate::fault::{Fault, io};
use crate::ledger::Tally;
use crate::machine;
use crate::session::{Deflate, Target};
use crate::subscribers::{Reading, Subscribers};
use crate::system::everybody;

/// Children, each with a part of the sessions.
#[derive(Debug)]
pub struct Swarm {
    children: Vec<Listener>,
}

#[derive(Debug)]
struct Listener {
    child: Child,
    input: Option<ChildStdin>,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Swarm {
    /// Starts as many processes of `bench` as the limit of open files demands, and waits until all sessions are there.
    ///
    /// # Errors
    /// When one of them fails.
    pub fn start(bench: &Path, target: &Target, sessions: usize, sources: usize) -> Result<Self, Fault> {
        let share = machine::descriptors().saturating_sub(machine::DESCRIPTORS_SPARE).clamp(1, 20_000);
        let mut swarm = Self { children: Vec::new() };
        let mut offset = 0;
        while offset < sessions {
            let count = share.min(sessions - offset);
            let mut command = Command::new(bench);
            command.args(["listen", "--address", &target.address.to_string(), "--path", &target.path]);
            command.args(["--realm", &target.realm, "--sources", &sources.to_string()]);
            command.args(["--count", &count.to_string(), "--offset", &offset.to_string()]);
            if target.dialect == Dialect::Plain {
                command.arg("--plain");
            }
            swarm.children.push(Listener::start(&mut command)?);
            // One after the other: the server's backlog is for one.
            let ready = swarm.children.last_mut().expect("just added").line()?;
            if ready != "ready" {
                return Err(Fault::Protocol(format!("a generator says: {ready}")));
            }
            offset += count;
        }
        Ok(swarm)
    }

    /// Waits until all sessions hold the next publication, and gives the time of the slowest in nanoseconds.
    ///
    /// # Errors
    /// When one of the processes fails.
    pub fn slowest(&mut self) -> Result<u64, Fault> {
        let mut slowest = 0;
        for child in &mut self.children {
            slowest = slowest.max(child.numbers::<1>()?[0]);
        }
        Ok(slowest)
    }

    /// Ends all processes; gives their tally.
    ///
    /// # Errors
    /// When one of them fails.
    pub fn finish(mut self, sent: &[u32]) -> Result<Tally, Fault> {
        let mut tally = Tally::default();
        for child in &mut self.children {
            let words: Vec<String> = sent.iter().map(u32::to_string).collect();
            if let Some(mut input) = child.input.take() {
                io(writeln!(input, "{}", words.join(" ")), || "a generator has gone".to_owned())?;
            }
            let [lost, swapped, duplicated, closed] = child.numbers()?;
            tally.add(&Tally { lost, swapped, duplicated, closed });
        }
        Ok(tally)
    }
}

impl Listener {
    fn start(command: &mut Command) -> Result<Self, Fault> {
        let started = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = io(started, || "a generator cannot be started".to_owned())?;
        let input = child.stdin.take();
        let output = child.stdout.take().expect("it was piped");
        Ok(Self { child, input, lines: BufReader::new(output).lines() })
    }

    fn line(&mut self) -> Result<String, Fault> {
        let line = self.lines.next().ok_or_else(|| Fault::Protocol("a generator has ended too early".to_owned()))?;
        io(line, || "a generator cannot be heard".to_owned())
    }

    fn numbers<const N: usize>(&mut self) -> Result<[u64; N], Fault> {
        let line = self.line()?;
        let numbers: Vec<u64> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        numbers.try_into().map_err(|_| Fault::Protocol(format!("a generator says: {line}")))
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // The end of its input ends it.
        drop(self.input.take());
        drop(self.child.wait());
    }
}

/// What a child was told on its command line.
#[derive(Clone, Debug)]
pub struct Part {
    /// Where the sessions go.
    pub target: Target,
    /// How many.
    pub count: usize,
    /// The number of the first.
    pub offset: usize,
    /// Connections that publish.
    pub sources: usize,
}

impl Part {
    /// A target without frills.
    #[must_use]
    pub const fn target(address: std::net::SocketAddr, path: String, realm: String, dialect: Dialect) -> Target {
        Target { address, path, realm, dialect, deflate: Deflate::Off, tls: None }
    }

    /// What children speak where nothing else is said.
    pub const DIALECT: Dialect = Dialect::Wamp(Serializer::Json);

    /// The child's side.
    ///
    /// # Errors
    /// When sessions cannot be opened.
    pub fn run(&self, out: &mut dyn Write) -> Result<(), Fault> {
        let reading = Reading { offset: self.offset, ..Reading::of(self.sources) };
        let subscribers = Subscribers::open(&self.target, &everybody(self.count), reading)?;
        let mut say =
            |line: String| io(writeln!(out, "{line}").and_then(|()| out.flush()), || "nobody listens".to_owned());
        say("ready".to_owned())?;
        // The parent says what was sent when it is done, or goes away.
        let (done, end) = std::sync::mpsc::sync_channel(1);
        drop(std::thread::spawn(move || {
            let mut line = String::new();
            drop(std::io::stdin().read_line(&mut line));
            drop(done.send(line));
        }));
        let mut publications = 0;
        loop {
            if subscribers.wait((publications + 1) * self.count as u64, Duration::from_millis(20)) {
                publications += 1;
                say(subscribers.take_latency().max().to_string())?;
                continue;
            }
            if let Ok(line) = end.try_recv() {
                let sent: Vec<u32> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
                let Tally { lost, swapped, duplicated, closed } = subscribers.tally(&sent);
                return say(format!("{lost} {swapped} {duplicated} {closed}"));
            }
        }
    }
}
