//! One worker process: hired, asked, watched, ended.
//!
//! Its socket is its standard input, so that no other process can have it, and so that it reads the end of it when the node
//! is gone. It leads a process group, which is killed as a whole: what a function has started ends with it.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Stdio;
use std::rc::Rc;
use std::time::Duration;

use bytes::BytesMut;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::process::{Child, Command};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::{debug, error};

use super::environment::Environment;
use super::output::{self, Speaker};
use super::speech::{self, Answer, LoadFault, Said};
use super::{Options, Question, frame};

/// Threads of a worker. Python runs one of them at a time; the others wait for databases.
const THREADS: usize = 32;

/// Questions to one worker at once. Those of plain functions wait for a thread beyond [`THREADS`].
const OPEN_MAX: usize = 128;

/// For starting Python and importing FastAPI on a machine that is busy.
const HELLO_TIMEOUT: Duration = Duration::from_secs(60);

/// How long what a worker printed before its end may take to be read.
const LAST_WORDS_TIMEOUT: Duration = Duration::from_secs(1);

/// How often a worker that has nothing to say is asked whether it is there.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// How long it may take to say so.
const PONG_TIMEOUT: Duration = Duration::from_secs(10);

/// The same when a question is overdue: a function may be stuck in a place that lets nobody else run.
const PONG_TIMEOUT_SUSPECT: Duration = Duration::from_secs(1);

/// Overdue questions that take a thread each before the worker is replaced.
const LATE_MAX: usize = 8;

/// How long one of them may take a thread.
const LATE_AGE_MAX: Duration = Duration::from_secs(60);

/// How a question ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// With an answer.
    Answered(Box<Answer>),
    /// The worker was ended for something else.
    Bystander,
    /// The worker ended by itself, and this was the only question that it had.
    Crashed,
    /// The worker ended by itself, because of this question or of another one.
    Suspect,
}

/// Why a worker is not wanted any more, or is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It was told to go when its questions had ended, for this reason.
    Retired(&'static str),
    /// It does not answer.
    Stuck,
    /// Its socket is closed: it ended by itself.
    Gone,
    /// It said what it must not say.
    Malformed(&'static str),
}

impl End {
    /// For the log.
    pub(super) const fn sentence(&self) -> &'static str {
        match self {
            Self::Retired(reason) | Self::Malformed(reason) => reason,
            Self::Stuck => "it did not answer any more",
            Self::Gone => "it ended by itself",
        }
    }
}

/// The code that workers run.
#[derive(Clone, Debug)]
pub(super) struct Code {
    pub(super) generation: u64,
    pub(super) file: String,
    pub(super) text: String,
}

/// A worker that is at work.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) number: usize,
    outbox: RefCell<BytesMut>,
    filled: Notify,
    open: RefCell<HashMap<u64, oneshot::Sender<Ended>>>,
    /// Questions whose time was over before there was an answer.
    late: RefCell<HashMap<u64, Instant>>,
    next: Cell<u64>,
    generation: Cell<u64>,
    retiring: Cell<Option<&'static str>>,
    /// It is kept for one question that is to be asked alone.
    reserved: Cell<bool>,
    pinged: Cell<Option<Instant>>,
    heard: Cell<Instant>,
    /// Wakes the watch before its time.
    suspect: Notify,
    memory_bytes_max: u64,
}

/// A process and what belongs to it, before and after it is a [`Worker`].
#[derive(Debug)]
pub(super) struct Hired {
    pub(super) worker: Rc<Worker>,
    child: Child,
    reader: OwnedReadHalf,
    writer: OwnedWriteHalf,
    inbox: BytesMut,
}

/// Starts Python and waits until the code is loaded. What is wrong with the code is no fault of the worker.
///
/// # Errors
/// A sentence; the process is gone then.
pub(super) async fn hire(
    number: usize,
    options: &Options,
    environment: &Environment,
    code: &Code,
    speaker: &Speaker,
) -> Result<(Hired, Option<LoadFault>), String> {
    let table = options.node_dir.join("functions-data");
    super::package::private_dir(&table).map_err(|error| format!("{} cannot be made: {error}", table.display()))?;
    let table = table.join(format!("{}.sqlite", options.hub.replace('/', "%2F")));
    let (mut child, stream) =
        spawn(options, environment).map_err(|error| format!("Python cannot be started: {error}"))?;
    let (speaker, mut readers) = (speaker.anew(), JoinSet::new());
    let streams = (child.stdout.take(), child.stderr.take());
    for (stream, name) in
        [streams.0.map(|one| (Pipe::Out(one), "stdout")), streams.1.map(|one| (Pipe::Err(one), "stderr"))]
            .into_iter()
            .flatten()
    {
        readers.spawn_local(stream.copy(speaker.clone(), name));
    }
    let (reader, writer) = stream.into_split();
    let mut outbox = BytesMut::new();
    speech::hello(&mut outbox, options, &table.display().to_string(), THREADS);
    speech::load(&mut outbox, code.generation, &code.file, &code.text);
    let worker = Rc::new(Worker {
        number,
        outbox: RefCell::new(outbox),
        filled: Notify::new(),
        open: RefCell::default(),
        late: RefCell::default(),
        next: Cell::new(0),
        generation: Cell::new(code.generation),
        retiring: Cell::new(None),
        reserved: Cell::new(false),
        pinged: Cell::new(None),
        heard: Cell::new(Instant::now()),
        suspect: Notify::new(),
        memory_bytes_max: options.memory_bytes_max,
    });
    let mut hired = Hired { worker, child, reader, writer, inbox: BytesMut::new() };
    let said = tokio::time::timeout(HELLO_TIMEOUT, hired.greet()).await;
    match said.unwrap_or_else(|_| Err("it said nothing for too long".to_owned())) {
        Ok(fault) => {
            readers.detach_all();
            Ok((hired, fault))
        }
        Err(reason) => {
            let status = hired.end().await;
            // Whoever holds the pipes open may be something that it has started and that has left its group.
            drop(
                tokio::time::timeout(LAST_WORDS_TIMEOUT, async { while readers.join_next().await.is_some() {} }).await,
            );
            readers.detach_all();
            Err(format!("a worker did not start: {reason} ({status}){}", output::shown(&speaker.last_lines())))
        }
    }
}

/// One of the two streams of a process.
enum Pipe {
    Out(tokio::process::ChildStdout),
    Err(tokio::process::ChildStderr),
}

impl Pipe {
    async fn copy(self, speaker: Speaker, name: &'static str) {
        match self {
            Self::Out(stream) => output::copy(stream, speaker, name).await,
            Self::Err(stream) => output::copy(stream, speaker, name).await,
        }
    }
}

fn spawn(options: &Options, environment: &Environment) -> io::Result<(Child, UnixStream)> {
    const BOOT: &str =
        "import sys; sys.path.insert(0, sys.argv[1]); from stentor_runner.serve import main; main(int(sys.argv[2]))";
    let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    let mut command = Command::new(&environment.python);
    command
        .args(["-I", "-u", "-X", "utf8", "-c", BOOT])
        .arg(&environment.package)
        .arg(std::process::id().to_string())
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .current_dir(Path::new(&options.node_dir))
        // Each arena of the allocator takes address space, of which the limit is made.
        .env("MALLOC_ARENA_MAX", "2")
        .process_group(0)
        .kill_on_drop(true);
    Ok((command.spawn()?, UnixStream::from_std(ours)?))
}

impl Hired {
    /// Exchanges the first words.
    async fn greet(&mut self) -> Result<Option<LoadFault>, String> {
        let first = self.worker.outbox.borrow_mut().split();
        self.writer.write_all(&first).await.map_err(|error| format!("it does not listen: {error}"))?;
        loop {
            while let Some(text) = frame::take(&mut self.inbox).map_err(|_| "its first frame is too long")? {
                match serde_json::from_slice(&text).map_err(|error| format!("its first words are none: {error}"))? {
                    Said::Hello { protocol, python, fastapi, starlette } => {
                        if protocol != frame::PROTOCOL {
                            return Err(format!("it speaks version {protocol} of the protocol"));
                        }
                        debug!(number = self.worker.number, python, fastapi, starlette, "a worker is there");
                    }
                    Said::Loaded { fault, .. } => return Ok(fault),
                    Said::Verdict(_) | Said::Pong { .. } => return Err("it answers what nobody asked".to_owned()),
                }
            }
            match self.reader.read_buf(&mut self.inbox).await {
                // What it has not read any more makes an error of its end.
                Ok(0) | Err(_) => return Err("it ended".to_owned()),
                Ok(_) => {}
            }
        }
    }

    /// Works until there is a reason to end. `loaded` hears about code that was loaded later.
    pub(super) async fn work(&mut self, loaded: impl Fn(u64, Option<LoadFault>), freed: &Notify) -> End {
        let worker = Rc::clone(&self.worker);
        let end = tokio::select! {
            end = worker.read(&mut self.reader, &mut self.inbox, loaded, freed) => end,
            () = worker.write(&mut self.writer) => End::Gone,
            end = worker.watch() => end,
        };
        let is_crash = matches!(end, End::Gone | End::Malformed(_));
        worker.retiring.set(Some("it has ended"));
        let mut open = worker.open.borrow_mut();
        let is_alone = open.len() == 1 && worker.late.borrow().is_empty();
        for (_, sender) in open.drain() {
            drop(sender.send(match (is_crash, is_alone) {
                (false, _) => Ended::Bystander,
                (true, true) => Ended::Crashed,
                (true, false) => Ended::Suspect,
            }));
        }
        drop(open);
        end
    }

    /// Kills the process and everything that it has started, and waits for it, so that no zombie is left.
    pub(super) async fn end(mut self) -> String {
        if let Some(group) = self.child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)) {
            // It may have gone by itself, and left something of its own behind.
            if let Err(error) = kill_process_group(group, Signal::KILL) {
                debug!(%error, "a worker's processes had gone before");
            }
        }
        match self.child.wait().await {
            Ok(status) => status.to_string(),
            Err(error) => {
                error!(%error, "a worker cannot be waited for");
                "unknown status".to_owned()
            }
        }
    }
}

/// Takes a question back whose asker has stopped waiting.
struct Asking<'w> {
    worker: &'w Worker,
    id: u64,
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        if self.worker.open.borrow_mut().remove(&self.id).is_some() {
            self.worker.late.borrow_mut().insert(self.id, Instant::now());
            self.worker.suspect.notify_one();
        }
    }
}

impl Worker {
    /// Whether it takes one more question; the smaller the number, the better.
    pub(super) fn load(&self) -> Option<(bool, usize)> {
        let (open, late) = (self.open.borrow().len(), self.late.borrow().len());
        let takes = self.retiring.get().is_none() && !self.reserved.get() && open + late < OPEN_MAX;
        takes.then(|| (late > 0 && self.pinged.get().is_some(), open + late))
    }

    /// Keeps it for one question until it is released.
    pub(super) fn reserve(&self) {
        self.reserved.set(true);
    }

    /// It takes what comes again.
    pub(super) fn release(&self) {
        self.reserved.set(false);
    }

    /// Whether it has ended, or is about to.
    pub(super) fn is_leaving(&self) -> bool {
        self.retiring.get().is_some()
    }

    /// Whether nobody else's question could be at fault for what comes next.
    pub(super) fn is_idle(&self) -> bool {
        self.open.borrow().is_empty() && self.late.borrow().is_empty()
    }

    /// Lets it end what it has begun, and nothing more.
    pub(super) fn retire(&self, reason: &'static str) {
        if self.retiring.get().is_none() {
            self.retiring.set(Some(reason));
            self.suspect.notify_one();
        }
    }

    /// Asks, after it has got the newest code. Whoever stops waiting has given up.
    pub(super) async fn ask(&self, code: &Code, question: &Question, left: Duration) -> Ended {
        let id = self.next.get();
        self.next.set(id + 1);
        let (sender, receiver) = oneshot::channel();
        {
            let mut outbox = self.outbox.borrow_mut();
            if self.generation.replace(code.generation) != code.generation {
                speech::load(&mut outbox, code.generation, &code.file, &code.text);
            }
            speech::ask(&mut outbox, id, left, question);
        }
        self.open.borrow_mut().insert(id, sender);
        self.filled.notify_one();
        let _asking = Asking { worker: self, id };
        receiver.await.unwrap_or(Ended::Crashed)
    }

    async fn write(&self, writer: &mut OwnedWriteHalf) {
        loop {
            let octets = self.outbox.borrow_mut().split();
            if octets.is_empty() {
                self.filled.notified().await;
            } else if writer.write_all(&octets).await.is_err() {
                return;
            }
        }
    }

    async fn read(
        &self,
        reader: &mut OwnedReadHalf,
        inbox: &mut BytesMut,
        loaded: impl Fn(u64, Option<LoadFault>),
        freed: &Notify,
    ) -> End {
        loop {
            match reader.read_buf(inbox).await {
                Ok(0) | Err(_) => return End::Gone,
                Ok(_) => self.heard.set(Instant::now()),
            }
            loop {
                match frame::take(inbox) {
                    Ok(None) => break,
                    Err(frame::TooLong) => return End::Malformed("a frame is too long"),
                    Ok(Some(text)) => match serde_json::from_slice(&text) {
                        Ok(Said::Verdict(answer)) => {
                            if !self.answered(answer) {
                                return End::Malformed("it answers what nobody asked");
                            }
                            freed.notify_one();
                        }
                        Ok(Said::Loaded { generation, fault }) => loaded(generation, fault),
                        Ok(Said::Pong { memory }) => self.pong(memory),
                        Ok(Said::Hello { .. }) => return End::Malformed("it greets twice"),
                        Err(_) => return End::Malformed("a frame holds no words"),
                    },
                }
            }
        }
    }

    /// Hands an answer to whoever waits for it. False when nobody ever asked.
    fn answered(&self, answer: Box<Answer>) -> bool {
        let id = answer.id;
        let Some(sender) = self.open.borrow_mut().remove(&id) else {
            return self.late.borrow_mut().remove(&id).is_some();
        };
        drop(sender.send(Ended::Answered(answer)));
        if self.retiring.get().is_some() {
            self.suspect.notify_one();
        }
        true
    }

    fn pong(&self, memory: u64) {
        self.pinged.set(None);
        // What is nearly full fails at any time, and what has leaked does not come back.
        if self.memory_bytes_max > 0 && memory > self.memory_bytes_max / 10 * 9 {
            self.retire("it uses nearly all of its memory");
        }
    }

    /// Asks whether the process is there when it has been silent or a question is overdue.
    async fn watch(&self) -> End {
        loop {
            let late = self.late.borrow().len();
            let wait = match self.pinged.get() {
                Some(at) => {
                    let patience = if late > 0 { PONG_TIMEOUT_SUSPECT } else { PONG_TIMEOUT };
                    if at.elapsed() >= patience {
                        return End::Stuck;
                    }
                    at + patience
                }
                None if late > 0 => Instant::now() + PONG_TIMEOUT_SUSPECT,
                None => self.heard.get() + HEARTBEAT,
            };
            tokio::select! {
                () = tokio::time::sleep_until(wait) => {}
                () = self.suspect.notified() => {}
            }
            let late = self.late.borrow();
            if late.len() >= LATE_MAX || late.values().any(|since| since.elapsed() > LATE_AGE_MAX) {
                self.retire("its functions do not come to an end");
            }
            if let Some(reason) = self.retiring.get().filter(|_| self.open.borrow().is_empty()) {
                return End::Retired(reason);
            }
            if self.pinged.get().is_none() && (!late.is_empty() || self.heard.get().elapsed() >= HEARTBEAT) {
                self.pinged.set(Some(Instant::now()));
                speech::ping(&mut self.outbox.borrow_mut());
                self.filled.notify_one();
            }
        }
    }
}
