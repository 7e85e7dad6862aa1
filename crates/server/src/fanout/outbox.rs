//! What waits to be written to one socket.
//!
//! Frames are shared octets, so a thousand outboxes hold one event once. Any thread may push. The owner's thread flushes at
//! the end of its turn; another thread may flush a plain socket whose outbox would overflow before. What the socket does not
//! take at once is left to the task that owns the connection. The number of octets is bounded: passing the bound closes the
//! connection, because dropping events in silence would be worse and waiting would let one slow reader slow everybody.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use bytes::{Buf, Bytes};

/// Slices of one vectored write. More than this saves next to nothing.
const SLICES_MAX: usize = 64;

/// Elements of the queue's storage that are kept when it has run empty after a burst.
const IDLE_CAPACITY_MAX: usize = 64;

/// Frames in front of which a pong still takes its place at the end. One turn of reading may bring ten thousand pings; pongs
/// count for nothing in the outbox's limit, and each costs far more memory than its two octets.
const PONG_FRAMES_MAX: usize = 256;

/// A frame takes a place and an allocation however short it is, so an outbox takes one at most for so many octets of its limit.
const FRAME_BYTES: usize = 128;

/// Short frames that wait even where the limit is next to nothing.
const FRAMES_MIN: usize = 64;

/// How many times its limit an outbox takes that only its owner can empty, until the owner has tried: what many publish in one
/// turn says nothing about who reads.
const UNTRIED: usize = 4;

/// Why a connection is closed from our side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseCause {
    /// The outbox was full: the peer reads too slowly.
    OutboxFull,
    /// The peer sent nothing, not even a pong.
    PingTimeout,
    /// The peer did not join in time, or did not close in time.
    HandshakeTimeout,
    /// The session was killed; GOODBYE is in the outbox.
    Killed,
    /// The node goes down.
    Shutdown,
}

/// What one flush achieved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flushed {
    /// Nothing waits any more.
    Empty,
    /// The socket is full; its owner has been woken to wait for it.
    Blocked,
    /// The socket is broken.
    Broken,
}

/// What one push did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// The owner's thread must be told to flush this outbox at the end of its turn.
    Flush,
    /// It knows already.
    Queued,
    /// The outbox is full of what nobody has tried to write yet. The frame is given back: flush, and push it again.
    Full(Bytes),
    /// The socket takes no more and the outbox is full: it is now closed.
    Overflow,
    /// It was closed before; the frame is gone.
    Closed,
}

/// The outbox of one connection.
///
/// Two locks, so that whoever publishes never waits for the kernel: `queue` is held for moments, `wire` while a socket is
/// written. Whoever needs both takes `wire` first.
#[derive(Debug)]
pub struct Outbox {
    queue: Mutex<Queue>,
    wire: Mutex<Wire>,
    bytes_max: usize,
    flusher: Flusher,
}

/// Who may write to the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flusher {
    /// Every thread: the socket takes writes through a shared reference.
    Anybody,
    /// Only the task that owns the connection, because it holds the state of TLS.
    Owner,
}

/// Frames on their way into the socket.
#[derive(Debug, Default)]
struct Wire {
    frames: VecDeque<Bytes>,
    /// Part of the first frame has been written.
    started: bool,
}

#[derive(Debug, Default)]
struct Queue {
    frames: VecDeque<Bytes>,
    /// Octets that are not written yet, those on the wire included.
    bytes: usize,
    /// The frames that they are.
    count: usize,
    /// A pong that waits: only the newest, or a flood of pings would fill the memory.
    pong: Option<Bytes>,
    /// The owner's thread has this outbox on its list for the end of the turn.
    marked: bool,
    /// The socket was full; the owner waits until it takes more.
    blocked: bool,
    /// A full socket has taken octets since somebody last asked.
    progress: bool,
    /// What is on the wire is to be dropped, save the frame that has been begun.
    cleared: bool,
    /// Somebody has waited for the peer in vain.
    given_up: bool,
    /// Nothing is accepted any more but the last frame.
    closed: bool,
    /// Not even that.
    ended: bool,
    /// What the owner has to do about it.
    cause: Option<CloseCause>,
    waker: Option<Waker>,
}

impl Queue {
    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn append(&mut self, frame: Bytes) {
        self.bytes += frame.len();
        self.count += 1;
        self.frames.push_back(frame);
    }

    fn clear(&mut self) {
        self.bytes -= self.frames.iter().map(Bytes::len).sum::<usize>();
        self.count -= self.frames.len();
        self.frames.clear();
        self.pong = None;
        self.cleared = true;
    }

    fn break_down(&mut self) {
        self.closed = true;
        self.frames.clear();
        self.pong = None;
        (self.bytes, self.count) = (0, 0);
        self.wake();
    }
}

impl Wire {
    /// Takes what waits. A pong may pass between frames, never within one.
    fn take(&mut self, queue: &mut Queue) {
        if std::mem::take(&mut queue.cleared) {
            let kept = usize::from(self.started).min(self.frames.len());
            queue.count -= self.frames.len() - kept;
            queue.bytes -= self.frames.drain(kept..).map(|frame| frame.len()).sum::<usize>();
        }
        if self.frames.is_empty() {
            std::mem::swap(&mut self.frames, &mut queue.frames);
        }
        if !self.started
            && let Some(pong) = queue.pong.take()
        {
            queue.bytes += pong.len();
            queue.count += 1;
            self.frames.push_front(pong);
        }
    }

    fn write(&mut self, write: &mut impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>) -> io::Result<usize> {
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let mut used = 0;
        for (slice, frame) in slices.iter_mut().zip(&self.frames) {
            *slice = IoSlice::new(frame);
            used += 1;
        }
        let written = write(&slices[..used])?;
        self.advance(written);
        Ok(written)
    }

    fn advance(&mut self, mut written: usize) {
        while let Some(first) = self.frames.front_mut() {
            if written < first.len() {
                first.advance(written);
                self.started |= written > 0;
                return;
            }
            written -= first.len();
            self.frames.pop_front();
            self.started = false;
        }
    }
}

impl Outbox {
    /// An empty outbox.
    #[must_use]
    pub fn new(bytes_max: usize, flusher: Flusher) -> Self {
        Self { queue: Mutex::default(), wire: Mutex::default(), bytes_max, flusher }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Every change below leaves the queue whole, so a panic elsewhere in a holder does not spoil it.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts one whole frame at the end.
    ///
    /// Only a peer that does not take its octets is too slow. What merely waits for the end of the turn is written first,
    /// where any thread may write.
    pub fn push(&self, frame: Bytes) -> Pushed {
        let mut queue = self.lock();
        if queue.closed {
            return Pushed::Closed;
        }
        if self.is_full(&queue, frame.len()) {
            if self.flusher == Flusher::Anybody && !queue.blocked {
                return Pushed::Full(frame);
            }
            queue.clear();
            queue.closed = true;
            queue.cause = Some(CloseCause::OutboxFull);
            queue.wake();
            return Pushed::Overflow;
        }
        queue.append(frame);
        self.ask_for_flush(&mut queue)
    }

    /// A single frame always finds room: its length is another limit's concern.
    fn is_full(&self, queue: &Queue, octets: usize) -> bool {
        let times = if self.flusher == Flusher::Owner && !queue.blocked { UNTRIED } else { 1 };
        let bytes_max = self.bytes_max.saturating_mul(times);
        queue.count > 0 && (queue.bytes + octets > bytes_max || queue.count >= frames_max(bytes_max))
    }

    /// Whether whoever can wait had better do so before he pushes a frame of so many octets: half of what is taken waits
    /// already, or the frame finds no room.
    #[must_use]
    pub fn is_crowded(&self, octets: usize) -> bool {
        let queue = self.lock();
        let (bytes, frames) = (self.bytes_max, frames_max(self.bytes_max));
        let is_full = queue.bytes + octets.max(bytes / 2) > bytes || queue.count > frames / 2;
        !queue.closed && !queue.given_up && queue.count > 0 && is_full
    }

    /// Nobody need wait for this peer until it has taken all that it has: it is crowded no longer.
    pub fn give_up(&self) {
        self.lock().given_up = true;
    }

    /// Queues a pong. While the socket is full, or much waits already, only the newest one waits (RFC 6455 section 5.5.3
    /// allows it), so a flood of pings fills nothing.
    pub fn push_pong(&self, frame: Bytes) -> Pushed {
        let mut queue = self.lock();
        if queue.closed {
            return Pushed::Closed;
        }
        if queue.blocked || queue.frames.len() >= PONG_FRAMES_MAX {
            queue.pong = Some(frame);
        } else {
            queue.append(frame);
        }
        self.ask_for_flush(&mut queue)
    }

    fn ask_for_flush(&self, queue: &mut Queue) -> Pushed {
        if queue.blocked || queue.marked {
            return Pushed::Queued;
        }
        queue.marked = true;
        Pushed::Flush
    }

    /// The end of the turn for a stream that only its owner can write: the owner is woken, once for all that waits.
    pub fn wake_owner(&self) {
        let mut queue = self.lock();
        queue.marked = false;
        queue.wake();
    }

    /// Puts the last frame at the end: nothing comes after it.
    pub fn push_last(&self, frame: Option<Bytes>) {
        let mut queue = self.lock();
        if let Some(frame) = frame.filter(|_| !queue.ended) {
            queue.append(frame);
        }
        queue.closed = true;
        queue.ended = true;
        queue.wake();
    }

    /// Ends the connection from outside its task.
    pub fn close(&self, cause: CloseCause) {
        let mut queue = self.lock();
        queue.cause.get_or_insert(cause);
        queue.wake();
    }

    /// The cause that the owner has not dealt with yet. The owner is woken at the next one.
    pub fn take_cause(&self, waker: &Waker) -> Option<CloseCause> {
        let mut queue = self.lock();
        let cause = queue.cause.take();
        if queue.waker.as_ref().is_none_or(|old| !old.will_wake(waker)) {
            queue.waker = Some(waker.clone());
        }
        cause
    }

    /// Whether something waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let queue = self.lock();
        queue.bytes == 0 && queue.pong.is_none()
    }

    /// Octets that wait.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.lock().bytes
    }

    /// Writes what waits, by `write`, which takes what the socket takes.
    pub fn flush(&self, mut write: impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>) -> Flushed {
        // A panic of `write` would leave whole frames behind, and the connection's own task ends with it.
        let mut wire = self.wire.lock().unwrap_or_else(PoisonError::into_inner);
        let mut queue = self.lock();
        queue.marked = false;
        loop {
            wire.take(&mut queue);
            if wire.frames.is_empty() {
                (queue.blocked, queue.given_up) = (false, false);
                release(&mut wire.frames);
                release(&mut queue.frames);
                return Flushed::Empty;
            }
            drop(queue);
            let before = wire.frames.len();
            let outcome = wire.write(&mut write);
            queue = self.lock();
            match outcome {
                Ok(written) if written > 0 => {
                    queue.bytes -= written;
                    queue.count -= before - wire.frames.len();
                    queue.progress |= queue.blocked;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let was_blocked = std::mem::replace(&mut queue.blocked, true);
                    // Once is enough: an owner that knows is waiting for its stream, and waking it again would make it spin.
                    if self.flusher == Flusher::Anybody && !was_blocked {
                        queue.wake();
                    }
                    return Flushed::Blocked;
                }
                Ok(_) | Err(_) => {
                    wire.frames.clear();
                    queue.break_down();
                    return Flushed::Broken;
                }
            }
        }
    }

    /// Whether a full socket has taken octets since this was last asked: a slow reader is alive.
    pub fn take_progress(&self) -> bool {
        std::mem::take(&mut self.lock().progress)
    }

    /// Whether nothing is accepted any more.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Whether the owner has to wait for the socket.
    #[must_use]
    pub fn is_blocked(&self) -> bool {
        self.lock().blocked
    }
}

/// The most frames for a limit in octets.
fn frames_max(bytes_max: usize) -> usize {
    (bytes_max / FRAME_BYTES).max(FRAMES_MIN)
}

/// Gives storage back that a burst has grown.
fn release(frames: &mut VecDeque<Bytes>) {
    if frames.capacity() > IDLE_CAPACITY_MAX {
        *frames = VecDeque::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    /// A socket that takes `room` octets and is full then.
    fn socket(taken: &mut Vec<u8>, mut room: usize) -> impl FnMut(&[IoSlice<'_>]) -> io::Result<usize> + '_ {
        move |slices| {
            let before = taken.len();
            for slice in slices {
                let part = slice.len().min(room);
                taken.extend_from_slice(&slice[..part]);
                room -= part;
            }
            match taken.len() - before {
                0 => Err(io::ErrorKind::WouldBlock.into()),
                written => Ok(written),
            }
        }
    }

    #[test]
    fn one_flush_for_many_frames() {
        let outbox = Outbox::new(100, Flusher::Anybody);
        assert_eq!(outbox.push(frame("one")), Pushed::Flush);
        assert_eq!(outbox.push(frame("two")), Pushed::Queued);
        let mut calls = 0;
        let flushed = outbox.flush(|slices| {
            calls += 1;
            Ok(slices.iter().map(|slice| slice.len()).sum())
        });
        assert_eq!((flushed, calls, outbox.bytes()), (Flushed::Empty, 1, 0));
        assert_eq!(outbox.push(frame("three")), Pushed::Flush);
    }

    #[test]
    fn a_full_socket_goes_on_where_it_stopped() {
        let outbox = Outbox::new(100, Flusher::Anybody);
        outbox.push(frame("hello "));
        outbox.push(frame("world"));
        let mut taken = Vec::new();
        assert_eq!(outbox.flush(socket(&mut taken, 8)), Flushed::Blocked);
        assert_eq!(outbox.push(frame("!")), Pushed::Queued);
        assert_eq!(outbox.push_pong(frame("PONG")), Pushed::Queued);
        assert_eq!(outbox.flush(socket(&mut taken, 100)), Flushed::Empty);
        assert_eq!(String::from_utf8(taken).unwrap(), "hello worldPONG!");
    }

    #[test]
    fn what_nobody_has_tried_to_write_is_written_first() {
        let outbox = Outbox::new(10, Flusher::Anybody);
        outbox.push(frame("12345678"));
        assert_eq!(outbox.push(frame("abcde")), Pushed::Full(frame("abcde")));
        let mut taken = Vec::new();
        assert_eq!(outbox.flush(socket(&mut taken, 100)), Flushed::Empty);
        assert_eq!(outbox.push(frame("abcde")), Pushed::Flush);
    }

    #[test]
    fn what_only_its_owner_may_write_has_more_room_until_it_was_tried() {
        let outbox = Outbox::new(10, Flusher::Owner);
        outbox.push(frame("12345678"));
        assert_eq!(outbox.push(frame("12345678")), Pushed::Queued);
        let mut taken = Vec::new();
        assert_eq!(outbox.flush(socket(&mut taken, 7)), Flushed::Blocked);
        assert_eq!(outbox.push(frame("ab")), Pushed::Overflow);
        let untried = Outbox::new(4, Flusher::Owner);
        untried.push(frame("12345678"));
        untried.push(frame("12345678"));
        assert_eq!(untried.push(frame("a")), Pushed::Overflow);
    }

    #[test]
    fn whoever_was_waited_for_in_vain_is_not_waited_for_again_before_it_has_read() {
        let outbox = Outbox::new(10, Flusher::Anybody);
        outbox.push(frame("123456"));
        assert!(outbox.is_crowded(0));
        outbox.give_up();
        assert!(!outbox.is_crowded(0) && !outbox.is_crowded(9));
        assert_eq!(outbox.flush(socket(&mut Vec::new(), 10)), Flushed::Empty);
        outbox.push(frame("1234"));
        assert!(!outbox.is_crowded(5) && outbox.is_crowded(7));
    }

    #[test]
    fn short_frames_fill_an_outbox_too() {
        let outbox = Outbox::new(100 * FRAME_BYTES, Flusher::Anybody);
        let mut taken = Vec::new();
        outbox.push(frame("first"));
        assert_eq!(outbox.flush(socket(&mut taken, 1)), Flushed::Blocked);
        for _ in 1..100 {
            assert_eq!(outbox.push(frame("x")), Pushed::Queued);
        }
        // What is written makes room: the first two of them, and a pong that had passed between.
        outbox.push_pong(frame("!"));
        assert_eq!(outbox.flush(socket(&mut taken, 6)), Flushed::Blocked);
        assert_eq!(taken, b"first!x");
        assert_eq!(outbox.push(frame("x")), Pushed::Queued);
        assert_eq!(outbox.push(frame("x")), Pushed::Queued);
        assert_eq!(outbox.push(frame("x")), Pushed::Overflow);
        assert_eq!(outbox.flush(socket(&mut taken, 100)), Flushed::Empty);
        assert_eq!(outbox.lock().count, 0);
    }

    #[test]
    fn a_full_outbox_closes_and_keeps_the_frame_boundary() {
        let outbox = Outbox::new(10, Flusher::Anybody);
        outbox.push(frame("12345678"));
        let mut taken = Vec::new();
        outbox.flush(socket(&mut taken, 3));
        assert_eq!(outbox.push(frame("abcde")), Pushed::Queued);
        assert_eq!(outbox.push(frame("f")), Pushed::Overflow);
        assert_eq!(outbox.push(frame("g")), Pushed::Closed);
        assert_eq!(outbox.take_cause(Waker::noop()), Some(CloseCause::OutboxFull));
        outbox.push_last(None);
        assert_eq!(outbox.flush(socket(&mut taken, 100)), Flushed::Empty);
        assert_eq!(String::from_utf8(taken).unwrap(), "12345678");
    }

    #[test]
    fn an_owner_is_woken_once_and_never_by_itself() {
        struct Count(std::sync::atomic::AtomicUsize);
        impl std::task::Wake for Count {
            fn wake(self: std::sync::Arc<Self>) {
                self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            }
        }
        let check = |flusher, expected: usize| {
            let count = std::sync::Arc::new(Count(0.into()));
            let outbox = Outbox::new(100, flusher);
            outbox.push(frame("hello"));
            outbox.take_cause(&Waker::from(std::sync::Arc::clone(&count)));
            assert_eq!(outbox.flush(socket(&mut Vec::new(), 3)), Flushed::Blocked);
            // A second attempt on the same full socket tells the owner nothing new.
            outbox.take_cause(&Waker::from(std::sync::Arc::clone(&count)));
            assert_eq!(outbox.flush(socket(&mut Vec::new(), 0)), Flushed::Blocked);
            assert_eq!(count.0.load(std::sync::atomic::Ordering::Relaxed), expected, "{flusher:?}");
        };
        check(Flusher::Anybody, 1);
        check(Flusher::Owner, 0);
    }

    #[test]
    fn only_the_newest_pong_waits_for_a_full_socket() {
        let outbox = Outbox::new(100, Flusher::Anybody);
        outbox.push_pong(frame("1"));
        outbox.push_pong(frame("2"));
        let mut taken = Vec::new();
        assert_eq!(outbox.flush(socket(&mut taken, 1)), Flushed::Blocked);
        outbox.push_pong(frame("3"));
        outbox.push_pong(frame("4"));
        assert_eq!(outbox.flush(socket(&mut taken, 100)), Flushed::Empty);
        // It passes what waited before it: a peer that reads slowly must not be taken for dead.
        assert_eq!(taken, b"142");
    }
}
