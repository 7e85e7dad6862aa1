//! What is seen of a connection at work, and the stream that shows it.
//!
//! [`Watched`] counts what passes through a stream and carries out what was decided about it. It decides nothing; that is
//! the business of `patience`. Counting is a handful of relaxed stores by the one thread that owns the connection; they
//! are atomic only because hyper hands upgraded streams on as `Send`.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::crowd::Place;
use super::patience::{Outlet, Phase, Sample};
use crate::fanout::turnstile::{Spent, Ticket, Turnstile};

/// Octets that are read and thrown away after a farewell, so that the client sees the answer and not a reset.
const LINGER_BYTES_MAX: u64 = 256 * 1024;

/// Octets that are written before other tasks have their turn, and others who write much theirs.
const WRITE_BYTES_PER_TURN: usize = 128 * 1024;

/// A write of so many octets takes its time, and counts for all that write on the thread.
const HEAVY_BYTES: usize = 16 * 1024;

/// What somebody hears whose head took too long.
const TOO_SLOW: &[u8] =
    b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Type: text/plain; charset=utf-8\r\n\
Content-Length: 50\r\n\r\nThe request's head did not arrive in time, so bye\n";

const GO_ON: u8 = 0;
const END_READING: u8 = 1;
const SAY_TOO_SLOW: u8 = 2;

/// The signs of life of one connection.
#[derive(Debug, Default)]
pub(crate) struct Vitals {
    phase: AtomicU8,
    requests: AtomicU32,
    read: AtomicU64,
    /// What `read` was when the phase began.
    mark: AtomicU64,
    written: AtomicU64,
    blocked: AtomicBool,
    /// A body, or a part of one, was left unread.
    unread: AtomicBool,
    order: AtomicU8,
}

impl Vitals {
    const PHASES: [Phase; 4] = [Phase::Head, Phase::Body, Phase::Answer, Phase::Linger];

    /// Another phase begins.
    pub(super) fn enter(&self, phase: Phase) {
        self.mark.store(self.read.load(Relaxed), Relaxed);
        self.phase.store(phase as u8, Relaxed);
    }

    /// A head is complete.
    pub(super) fn begin_request(&self) {
        self.requests.store(self.requests.load(Relaxed).wrapping_add(1), Relaxed);
        self.enter(Phase::Answer);
    }

    /// Notes whether there is a body that nobody has read to its end.
    pub(super) fn set_unread(&self, unread: bool) {
        self.unread.store(unread, Relaxed);
    }

    /// Whether there is.
    pub(super) fn is_unread(&self) -> bool {
        self.unread.load(Relaxed)
    }

    /// What there is to be seen.
    pub(super) fn sample(&self) -> Sample {
        Sample {
            phase: Self::PHASES[usize::from(self.phase.load(Relaxed)) % Self::PHASES.len()],
            requests: self.requests.load(Relaxed),
            read: self.read.load(Relaxed).wrapping_sub(self.mark.load(Relaxed)),
            written: self.written.load(Relaxed),
            outlet: if self.blocked.load(Relaxed) { Outlet::Blocked } else { Outlet::Free },
        }
    }

    /// Ends reading, so that whoever awaits a body learns that it does not come in time.
    pub(super) fn end_reading(&self) {
        self.order.store(END_READING, Relaxed);
    }

    /// Ends reading with an answer for somebody whose head is not complete.
    pub(super) fn say_too_slow(&self) {
        self.order.store(SAY_TOO_SLOW, Relaxed);
    }

    fn count_read(&self, octets: usize) {
        self.read.store(self.read.load(Relaxed).wrapping_add(octets as u64), Relaxed);
    }

    fn count_write(&self, outcome: &Poll<io::Result<usize>>) {
        match outcome {
            Poll::Ready(Ok(octets)) => {
                self.written.store(self.written.load(Relaxed).wrapping_add(*octets as u64), Relaxed);
                self.blocked.store(false, Relaxed);
            }
            Poll::Ready(Err(_)) => {}
            Poll::Pending => self.blocked.store(true, Relaxed),
        }
    }
}

/// A stream whose signs of life are recorded.
pub(super) struct Watched<S> {
    stream: S,
    vitals: Arc<Vitals>,
    /// What was read before and comes first. It has been counted.
    ahead: Bytes,
    /// The place that the connection takes for as long as it lives.
    place: Option<Place>,
    /// How far a farewell has come: what was thrown away of the client's octets since.
    lingered: Option<u64>,
    /// Octets written since others had their turn.
    spent: usize,
    /// Where it waits for its next turn, and for which one.
    turnstile: Arc<Turnstile>,
    ticket: Option<Ticket>,
}

impl<S> Watched<S> {
    pub(super) const fn new(stream: S, vitals: Arc<Vitals>, place: Option<Place>, turnstile: Arc<Turnstile>) -> Self {
        Self { stream, vitals, ahead: Bytes::new(), place, lingered: None, spent: 0, turnstile, ticket: None }
    }

    /// The same, with octets that were read from it and not used.
    pub(super) fn after(mut self, ahead: Bytes) -> Self {
        self.ahead = ahead;
        self
    }

    /// Lets others have their turn when this one has written its share, or all of the thread together have written theirs and
    /// this is a large one again: Pending, without blame on the client.
    fn poll_turn(&mut self, cx: &mut Context<'_>, octets: usize) -> Poll<()> {
        if octets < HEAVY_BYTES && self.spent < WRITE_BYTES_PER_TURN {
            return Poll::Ready(());
        }
        let spent = if self.spent < WRITE_BYTES_PER_TURN { Spent::Little } else { Spent::All };
        ready!(self.turnstile.poll_pass(&mut self.ticket, spent, cx));
        if spent == Spent::All {
            self.spent = 0;
        }
        Poll::Ready(())
    }

    /// What a request has taken beside its octets counts as if it had been written: the answer waits for its turn.
    pub(super) fn charge(&mut self, octets: usize) {
        if octets >= HEAVY_BYTES {
            self.spent += octets;
            self.turnstile.spend(octets);
        }
    }

    fn count_write(&mut self, outcome: &Poll<io::Result<usize>>) {
        self.vitals.count_write(outcome);
        if let Poll::Ready(Ok(octets)) = outcome {
            self.spent += octets;
            if *octets >= HEAVY_BYTES {
                self.turnstile.spend(*octets);
            }
        }
    }

    /// The stream, unwatched, what was read before, and its place.
    pub(super) fn into_parts(self) -> (S, Bytes, Option<Place>) {
        (self.stream, self.ahead, self.place)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Watched<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.ahead.is_empty() {
            let count = self.ahead.len().min(buffer.remaining());
            buffer.put_slice(&self.ahead[..count]);
            self.ahead.advance(count);
            return Poll::Ready(Ok(()));
        }
        let order = self.vitals.order.load(Relaxed);
        if order != GO_ON {
            if order == SAY_TOO_SLOW {
                self.vitals.end_reading();
                // Whoever has no room for this is not going to miss it.
                let _ = Pin::new(&mut self.stream).poll_write(cx, TOO_SLOW)?;
                let _ = Pin::new(&mut self.stream).poll_flush(cx)?;
            }
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        self.vitals.count_read(buffer.filled().len() - before);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_turn(cx, octets.len()));
        let outcome = Pin::new(&mut self.stream).poll_write(cx, octets);
        self.count_write(&outcome);
        outcome
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_turn(cx, slices.iter().map(|slice| slice.len()).sum()));
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.count_write(&outcome);
        outcome
    }

    /// hyper holds back further answers only where writes are vectored, which bounds what waits for a slow reader.
    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// Says that nothing more will be written. Where the client may still be sending, closing at once would reset the
    /// connection and take the answer with it (RFC 9112 section 9.6), so a bounded rest is read and thrown away first.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let mut lingered = match this.lingered {
            Some(lingered) => lingered,
            None => {
                ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
                let sample = this.vitals.sample();
                let in_head = sample.phase == Phase::Head && sample.read > 0;
                if !this.vitals.is_unread() && !in_head {
                    return Poll::Ready(Ok(()));
                }
                this.vitals.enter(Phase::Linger);
                0
            }
        };
        let mut room = [0; 4096];
        while lingered < LINGER_BYTES_MAX {
            this.lingered = Some(lingered);
            let mut buffer = ReadBuf::new(&mut room);
            match ready!(Pin::new(&mut this.stream).poll_read(cx, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => lingered += buffer.filled().len() as u64,
                // The client has gone, one way or the other.
                _ => break,
            }
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_writes_much_lets_others_have_their_turn() {
        let stream = tokio::io::join(tokio::io::empty(), tokio::io::sink());
        let turnstile = Arc::new(Turnstile::default());
        let mut watched = Watched::new(stream, Arc::default(), None, Arc::clone(&turnstile));
        let chunk = vec![0; 16 * 1024];
        for _ in 0..3 {
            let mut written = 0;
            std::future::poll_fn(|cx| {
                while let Poll::Ready(count) = Pin::new(&mut watched).poll_write(cx, &chunk) {
                    written += count.expect("a sink has no faults");
                }
                Poll::Ready(())
            })
            .await;
            assert_eq!(written, WRITE_BYTES_PER_TURN);
            assert!(turnstile.admit(), "it waits for its next turn");
            assert_eq!(
                watched.vitals.sample().outlet,
                Outlet::Free,
                "the client has not kept anything from being written"
            );
        }
    }
}
