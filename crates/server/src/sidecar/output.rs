//! What functions print and log, in the node's log under their names.
//!
//! It is always read, since a worker whose pipe is full would wait for ever, and most of it is thrown away when there is too
//! much: a function that prints a gigabyte costs the time to read it and nothing else.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::Instant;
use tracing::{debug, error, info, warn};

/// Lines of one function that reach the log at once, and within a second afterwards.
const LINES_BURST: u32 = 500;
const LINES_PER_SECOND: u32 = 100;

/// Octets of a line; more is cut. A traceback fits.
const LINE_BYTES_MAX: usize = 16_384;

/// Lines that are kept to say why a worker did not start.
const LAST_LINES: usize = 12;

/// The first octet of a line that says its level by itself.
const LOG_MARK: u8 = 0x1e;

/// Whose lines they are.
#[derive(Clone, Debug)]
pub(super) struct Speaker {
    pub(super) hub: Rc<str>,
    pub(super) function: Rc<str>,
    pub(super) limiter: Rc<RefCell<Limiter>>,
    /// The last lines of one worker.
    pub(super) last: Rc<RefCell<VecDeque<String>>>,
}

/// How many lines may still be logged.
#[derive(Debug)]
pub(super) struct Limiter {
    left: u32,
    since: Instant,
    dropped: u64,
}

impl Default for Limiter {
    fn default() -> Self {
        Self { left: LINES_BURST, since: Instant::now(), dropped: 0 }
    }
}

impl Limiter {
    /// Whether one more line may be logged, and how many were not since the last one that was.
    fn admit(&mut self, now: Instant) -> Option<u64> {
        let seconds = now.saturating_duration_since(self.since).as_secs();
        if seconds > 0 {
            let earned = u32::try_from(seconds).unwrap_or(u32::MAX).saturating_mul(LINES_PER_SECOND);
            self.left = self.left.saturating_add(earned).min(LINES_BURST);
            self.since += Duration::from_secs(seconds);
        }
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                Some(std::mem::take(&mut self.dropped))
            }
            None => {
                self.dropped += 1;
                None
            }
        }
    }
}

/// Reads until the stream ends.
pub(super) async fn copy(mut from: impl AsyncRead + Unpin, speaker: Speaker, stream: &'static str) {
    let mut buffer = vec![0; 65_536];
    let mut line = Vec::new();
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        let read = &buffer[..count];
        // Most of what comes in masses has no end of a line for long, which is found out much faster.
        let has_end = read.contains(&b'\n');
        let pieces: Vec<&[u8]> =
            if has_end { read.split_inclusive(|octet| *octet == b'\n').collect() } else { vec![read] };
        for piece in pieces {
            let room = LINE_BYTES_MAX - line.len();
            line.extend_from_slice(&piece[..piece.len().min(room)]);
            if piece.ends_with(b"\n") {
                speaker.say(&line, stream);
                line.clear();
            }
        }
        // Whoever prints without end must not keep the others' answers from being read.
        tokio::task::yield_now().await;
    }
    if !line.is_empty() {
        speaker.say(&line, stream);
    }
}

impl Speaker {
    /// Whether one more line about it may be logged.
    pub(super) fn admits(&self) -> bool {
        self.limiter.borrow_mut().admit(Instant::now()).is_some()
    }

    /// The same for a worker that has said nothing yet.
    pub(super) fn anew(&self) -> Self {
        Self { last: Rc::default(), ..self.clone() }
    }

    /// What was said last.
    pub(super) fn last_lines(&self) -> String {
        self.last.borrow().iter().map(|line| format!("\n{line}")).collect()
    }

    fn keep(&self, line: String) {
        let mut last = self.last.borrow_mut();
        if last.len() == LAST_LINES {
            last.pop_front();
        }
        last.push_back(line);
    }

    fn say(&self, line: &[u8], stream: &str) {
        let Some(dropped) = self.limiter.borrow_mut().admit(Instant::now()) else { return };
        let (hub, function) = (&*self.hub, &*self.function);
        if dropped > 0 {
            warn!(hub, function, dropped, "the function prints more than is logged; these lines were dropped");
        }
        let text = String::from_utf8_lossy(line);
        let record = text.as_bytes().first().filter(|first| **first == LOG_MARK);
        let record = record.and_then(|_| serde_json::from_str::<(String, String, String)>(text[1..].trim_end()).ok());
        match record {
            Some((level, logger, text)) => {
                let text = shown(&text);
                match level.as_str() {
                    "error" => error!(hub, function, logger, "{text}"),
                    "warn" => warn!(hub, function, logger, "{text}"),
                    "debug" => debug!(hub, function, logger, "{text}"),
                    _ => info!(hub, function, logger, "{text}"),
                }
            }
            None => {
                let text = shown(&text);
                info!(hub, function, stream, "{text}");
                self.keep(text);
            }
        }
    }
}

/// A text of a function as it may stand in a log: nothing in it looks like a line of the node, or steers a terminal.
pub(super) fn shown(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for letter in text.trim_end().chars() {
        match letter {
            '\n' => shown.push_str("\n    | "),
            '\t' => shown.push('\t'),
            _ if letter.is_control() => shown.extend(letter.escape_default()),
            _ => shown.push(letter),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_bounded() {
        let mut limiter = Limiter::default();
        let now = limiter.since;
        let admitted = (0..10_000).filter(|_| limiter.admit(now).is_some()).count();
        assert_eq!(admitted, LINES_BURST as usize);
        assert_eq!(limiter.admit(now + Duration::from_secs(1)), Some(10_000 - u64::from(LINES_BURST)));
        let later = now + Duration::from_secs(1);
        assert_eq!((0..10_000).filter(|_| limiter.admit(later).is_some()).count(), LINES_PER_SECOND as usize - 1);
    }

    #[test]
    fn nothing_forges_a_line() {
        assert_eq!(shown("a\nb\x1b[31m\r\n"), "a\n    | b\\u{1b}[31m");
    }

    #[tokio::test]
    async fn a_line_without_end_takes_no_room() {
        let speaker = Speaker { hub: "h".into(), function: "f".into(), limiter: Rc::default(), last: Rc::default() };
        copy(tokio::io::repeat(b'x').take(100 << 20), speaker.clone(), "stdout").await;
        assert_eq!(speaker.limiter.borrow().left, LINES_BURST - 1);
    }
}
