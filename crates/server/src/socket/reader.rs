//! The thread that reads long messages, one for a node, so that those that serve are not held up by them.
//!
//! Sixteen mebioctets of JSON take up to a quarter of a second to check. This thread has a low priority, so it does that in time
//! that hardly anybody else wants. It only reads: it takes no lock that a serving thread could wait for, and knows no session and no realm.
//! A message's octets come here with whoever asks, and go back with the answer; to be freed they come here once more, because
//! giving back sixteen mebioctets takes a millisecond or two.

use std::fmt;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;

use stentor_wamp::codec::batch::{self, BatchError, Budget, Turns};
use stentor_wamp::codec::{Batching, DecodeError, Format, Lasting};
use stentor_websocket::decoder::{Remains, Whole};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tracing::{debug, error};

use super::unfinished::Loan;
use crate::meter::Meters;

/// What is longer is read here, in octets: what is shorter is read in some two milliseconds even where it is all lists.
pub(crate) const LONG_BYTES: usize = 128 * 1024;

/// What a session may have carried out of a batch before others have their turn.
pub(super) const BUDGET: Budget = Budget { messages: 64, bytes: 64 * 1024 };

/// Jobs that may wait. A session has one at a time, and `bodies_bytes_max` is used up by half as many messages, so this is
/// reached by nobody but where that was set higher.
const JOBS_MAX: usize = 4096;

/// Steps of priority below the other threads. Where all processors are busy, this one then gets a tenth of what each of them gets.
/// The lowest priority there is would be a seventieth, and a sensible message of a mebioctet would take seconds.
#[cfg(target_os = "linux")]
const STEPS_BELOW: i32 = 10;

/// The octets of a long message, and what is accounted for as long as they are there.
#[derive(Debug)]
pub(super) struct Parcel {
    pub(super) whole: Box<Whole>,
    /// The octets' share of what all sessions may hold.
    pub(super) _loan: Loan,
    /// The right to have inflated them.
    pub(super) _permit: Option<OwnedSemaphorePermit>,
    pub(super) _waiting: Waiting,
}

/// Counts a long message for as long as it is there.
#[derive(Debug)]
pub(super) struct Waiting(Arc<Meters>);

impl Waiting {
    /// One more.
    pub(super) fn new(meters: &Arc<Meters>) -> Self {
        meters.long_messages_waiting.increment();
        Self(Arc::clone(meters))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.long_messages_waiting.decrement();
    }
}

/// What is to be read of a parcel.
#[derive(Debug)]
pub(super) enum Part {
    /// All of it: one message, or the framing of a batch.
    All,
    /// The one message that stands here in a batch, framing included.
    Turn(Range<usize>),
}

/// What was read.
#[derive(Debug)]
pub(super) enum Answer {
    /// One message, and where it stands.
    Message(Result<Lasting, DecodeError>, Range<usize>),
    /// A batch.
    Batch(Result<Turns, BatchError>),
}

/// A parcel on its way back.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) parcel: Parcel,
    pub(super) answer: Answer,
}

#[derive(Debug)]
enum Job {
    Read { parcel: Parcel, part: Part, format: Format, reply: oneshot::Sender<Reply> },
    Free(Spent),
    Run(Work),
    Stop,
}

/// Reading of another kind, which answers for itself.
struct Work(Box<dyn FnOnce() + Send>);

impl fmt::Debug for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Work").finish_non_exhaustive()
    }
}

/// What is only to be freed.
#[derive(Debug)]
#[expect(dead_code, reason = "nobody looks into it again")]
pub(super) enum Spent {
    /// A message that has been carried out.
    Parcel(Parcel),
    /// What came of one that never will be.
    Remains(Box<Remains>, Loan),
}

/// Where long messages are brought.
#[derive(Clone, Debug)]
pub struct Reader {
    jobs: mpsc::Sender<Job>,
}

/// The thread, for whoever ends it.
#[derive(Debug)]
pub struct ReaderThread {
    reader: Reader,
    thread: JoinHandle<()>,
}

impl Reader {
    /// Starts the thread. It ends with the last [`Reader`], or when it is told to.
    ///
    /// # Errors
    /// When the system has no thread for it.
    pub fn start(meters: Arc<Meters>) -> std::io::Result<ReaderThread> {
        let (jobs, waiting) = mpsc::channel(JOBS_MAX);
        let thread =
            std::thread::Builder::new().name("stentor-read".to_owned()).spawn(move || run(waiting, &meters))?;
        Ok(ReaderThread { reader: Self { jobs }, thread })
    }

    /// Has a part of a parcel read; nothing when too many wait already, or the node goes down.
    pub(super) fn read(&self, parcel: Parcel, part: Part, format: Format) -> Option<oneshot::Receiver<Reply>> {
        let (reply, answer) = oneshot::channel();
        self.jobs.try_send(Job::Read { parcel, part, format, reply }).ok()?;
        Some(answer)
    }

    /// Has something else read that is long, such as a body; nothing when too much waits already, or the node goes down. What
    /// nobody waits for any more by then is not read.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<oneshot::Receiver<T>> {
        let (reply, answer) = oneshot::channel();
        let work = move || {
            if !reply.is_closed() {
                drop(reply.send(work()));
            }
        };
        self.jobs.try_send(Job::Run(Work(Box::new(work)))).ok()?;
        Some(answer)
    }

    /// Has octets freed.
    pub(super) fn free(&self, spent: Spent) {
        // Where there is no room for it, it is freed here and now.
        drop(self.jobs.try_send(Job::Free(spent)));
    }
}

impl ReaderThread {
    /// Where long messages are brought.
    #[must_use]
    pub fn reader(&self) -> Reader {
        self.reader.clone()
    }

    /// Waits for the message that is being read, if there is one, and ends the thread. Not for threads with a runtime.
    pub fn stop(self) {
        // An error says that it has ended by itself.
        drop(self.reader.jobs.blocking_send(Job::Stop));
        if self.thread.join().is_err() {
            debug!("the thread that reads long messages had panicked");
        }
    }
}

fn run(mut waiting: mpsc::Receiver<Job>, meters: &Meters) {
    // That of this thread: on Linux each has its own.
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::nice(STEPS_BELOW) {
        debug!(%error, "long messages are read at the priority of everything else");
    }
    while let Some(job) = waiting.blocking_recv() {
        match job {
            Job::Read { reply, .. } if reply.is_closed() => {}
            Job::Read { parcel, part, format, reply } => {
                match catch_unwind(AssertUnwindSafe(move || read(parcel, &part, format))) {
                    // A session that has ended meanwhile leaves its octets to be freed here.
                    Ok(answer) => drop(reply.send(answer)),
                    Err(_) => {
                        meters.tasks_panicked.increment();
                        error!("reading a message panicked; its session ends, and the node goes on");
                    }
                }
            }
            Job::Run(Work(work)) => {
                if catch_unwind(AssertUnwindSafe(work)).is_err() {
                    meters.tasks_panicked.increment();
                    error!("reading a body panicked; its request is refused, and the node goes on");
                }
            }
            Job::Free(spent) => drop(spent),
            Job::Stop => return,
        }
    }
}

fn read(mut parcel: Parcel, part: &Part, format: Format) -> Reply {
    parcel.whole.tidy();
    let octets = &parcel.whole.octets;
    let Format { serializer, batched } = format;
    let one = |place: Range<usize>| Answer::Message(Lasting::decode(serializer, &octets[place.clone()]), place);
    let answer = match (part, batched) {
        (Part::All, Batching::Single) => one(0..octets.len()),
        (Part::All, Batching::Batched) => Answer::Batch(batch::turns(serializer, octets, BUDGET)),
        (Part::Turn(turn), _) => {
            let message = batch::messages(serializer, &octets[turn.clone()]).next().expect("a turn holds a message");
            let start = message.as_ptr().addr() - octets.as_ptr().addr();
            one(start..start + message.len())
        }
    };
    Reply { parcel, answer }
}
