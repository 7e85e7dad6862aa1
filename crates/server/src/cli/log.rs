//! How messages look, and how they leave the process.
//!
//! Whoever reads the log may stop reading, and then a write to it waits for ever. The threads that serve connections
//! therefore never write themselves: lines go through a bounded queue to a thread of their own, and what does not fit is
//! counted and told once the reader is back.

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::fmt::{MakeWriter, format, layer};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use super::{LogFormat, LogLevel};
use crate::clock::Clock;

/// Lines that wait for a reader who is slow.
const LINES_MAX: usize = 8192;

/// How long the end of the process waits for the last lines to be read.
const FAREWELL: Duration = Duration::from_secs(1);

struct WallClock(Clock);

impl FormatTime for WallClock {
    fn format_time(&self, out: &mut format::Writer<'_>) -> std::fmt::Result {
        out.write_str(&self.0.display())
    }
}

enum Note {
    Line(Vec<u8>),
    /// Everything before this has been written when the answer comes.
    Flush(SyncSender<()>),
}

/// Where lines are put.
#[derive(Clone)]
struct Queue {
    notes: SyncSender<Note>,
    lost: Arc<AtomicU64>,
}

impl Write for Queue {
    /// The subscriber writes one whole line at a time.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if let Err(TrySendError::Full(_)) = self.notes.try_send(Note::Line(line.to_vec())) {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Queue {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

fn write_lines(notes: &Receiver<Note>, lost: &AtomicU64) {
    let mut out = io::stderr();
    for note in notes {
        // A closed pipe is nobody's fault, and there is nowhere else to say so.
        match note {
            Note::Line(line) => drop(out.write_all(&line)),
            Note::Flush(done) => drop(done.try_send(())),
        }
        let missing = lost.swap(0, Ordering::Relaxed);
        if missing > 0 {
            drop(writeln!(out, "{{\"message\":\"the log was not read for a while\",\"lines_lost\":{missing}}}"));
        }
    }
}

/// The log of this process. Dropping it waits a moment for the last lines.
pub(super) struct Log(Option<SyncSender<Note>>);

impl Drop for Log {
    fn drop(&mut self) {
        let Some(notes) = self.0.take() else { return };
        let (done, finished) = sync_channel(1);
        if notes.try_send(Note::Flush(done)).is_ok() {
            // A reader that has stopped reading is not waited for.
            let _too_slow = finished.recv_timeout(FAREWELL);
        }
    }
}

/// Sends messages to standard error.
pub(super) fn set_up(level: LogLevel, format: LogFormat) -> Log {
    let level = match level {
        LogLevel::None => "off",
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "info",
        LogLevel::Debug => "debug",
        LogLevel::Trace => "trace",
    };
    let (notes, receiver) = sync_channel(LINES_MAX);
    let lost = Arc::new(AtomicU64::new(0));
    let queue = Queue { notes: notes.clone(), lost: Arc::clone(&lost) };
    let writer = std::thread::Builder::new().name("stentor-log".to_owned());
    let started = writer.spawn(move || write_lines(&receiver, &lost)).is_ok();
    let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let base = layer().with_writer(queue).with_timer(WallClock(Clock::default()));
    let shape = match format {
        LogFormat::Json => base.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed(),
        LogFormat::Human => base.compact().with_target(false).with_ansi(colour).boxed(),
    };
    tracing_subscriber::registry().with(EnvFilter::new(level)).with(shape).init();
    Log(started.then_some(notes))
}
