//! A subscriber's socket: the frames that wait for it, and the task that writes them.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::net::TcpStream;

use super::Hub;
use crate::frame;

/// Frames in one vectored write.
const SLICES: usize = 64;

const WELCOME: &[u8] = b"[2,1,{\"roles\":{\"broker\":{}}}]";
const SUBSCRIBED: &[u8] = b"[33,1,1]";

pub(super) struct Peer {
    tcp: TcpStream,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    frames: VecDeque<Arc<[u8]>>,
    /// Octets of the first frame that are written already.
    written: usize,
    /// The task that writes.
    task: Option<Waker>,
}

impl Peer {
    /// Writes at once; what the socket does not take waits for the task.
    pub(super) fn write(&self, frame: &Arc<[u8]>) {
        let mut waiting = self.waiting();
        if waiting.frames.is_empty() {
            // An error shows again where the task writes.
            let count = self.tcp.try_write(frame).unwrap_or_default();
            if count == frame.len() {
                return;
            }
            waiting.written = count;
        }
        waiting.push(frame);
    }

    /// Leaves the frame to the task.
    pub(super) fn queue(&self, frame: &Arc<[u8]>) {
        self.waiting().push(frame);
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what waits, as far as the socket takes it.
    fn flush(&self, context: &mut Context<'_>) -> io::Result<()> {
        let mut waiting = self.waiting();
        while !waiting.frames.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let count = waiting.frames.len().min(SLICES);
            for (slice, frame) in slices.iter_mut().zip(&waiting.frames) {
                *slice = IoSlice::new(frame);
            }
            slices[0] = IoSlice::new(&waiting.frames[0][waiting.written..]);
            match self.tcp.try_write_vectored(&slices[..count]) {
                Ok(octets) => waiting.written(octets),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if self.tcp.poll_write_ready(context)?.is_pending() {
                        return Ok(());
                    }
                }
                Err(error) => return Err(error),
            }
        }
        if !waiting.task.as_ref().is_some_and(|task| task.will_wake(context.waker())) {
            waiting.task = Some(context.waker().clone());
        }
        Ok(())
    }
}

impl Waiting {
    fn push(&mut self, frame: &Arc<[u8]>) {
        self.frames.push_back(Arc::clone(frame));
        if self.frames.len() == 1
            && let Some(task) = &self.task
        {
            task.wake_by_ref();
        }
    }

    fn written(&mut self, octets: usize) {
        self.written += octets;
        while let Some(first) = self.frames.front()
            && self.written >= first.len()
        {
            self.written -= first.len();
            self.frames.pop_front();
        }
    }
}

/// Serves one WebSocket until its client leaves.
pub(super) async fn serve(tcp: TcpStream, hub: &Hub) {
    let peer = Arc::new(Peer { tcp, waiting: Mutex::new(Waiting::default()) });
    let mut heard = Heard::default();
    poll_fn(|context| turn(&peer, hub, &mut heard, context)).await;
    hub.leave(&peer);
}

/// What the client has said.
#[derive(Default)]
struct Heard {
    rest: Vec<u8>,
    messages: usize,
}

fn turn(peer: &Arc<Peer>, hub: &Hub, heard: &mut Heard, context: &mut Context<'_>) -> Poll<()> {
    while let Poll::Ready(ready) = peer.tcp.poll_read_ready(context) {
        let mut buffer = [0; 2048];
        match ready.and_then(|()| peer.tcp.try_read(&mut buffer)) {
            Ok(0) => return Poll::Ready(()),
            Ok(count) => heard.read(&buffer[..count], peer, hub),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return Poll::Ready(()),
        }
    }
    match peer.flush(context) {
        Ok(()) => Poll::Pending,
        Err(_) => Poll::Ready(()),
    }
}

impl Heard {
    /// The first message is HELLO, the second SUBSCRIBE. What they say does not matter.
    fn read(&mut self, input: &[u8], peer: &Arc<Peer>, hub: &Hub) {
        self.rest.extend_from_slice(input);
        // Frames of clients have four octets of mask behind the length, and ours are short.
        while let [_, length, ..] = self.rest[..] {
            let (length, head) = match length & 127 {
                126 if self.rest.len() >= 4 => (usize::from(u16::from_be_bytes([self.rest[2], self.rest[3]])), 8),
                short => (usize::from(short), 6),
            };
            if self.rest.len() < head + length {
                return;
            }
            self.rest.drain(..head + length);
            self.messages += 1;
            match self.messages {
                1 => peer.write(&text(WELCOME)),
                2 => {
                    peer.write(&text(SUBSCRIBED));
                    hub.join(peer);
                }
                _ => {}
            }
        }
        // An idle session keeps no buffer.
        self.rest = Vec::new();
    }
}

fn text(message: &[u8]) -> Arc<[u8]> {
    let mut out = Vec::with_capacity(message.len() + 2);
    frame::server_head(frame::TEXT, message.len(), &mut out);
    out.extend_from_slice(message);
    out.into()
}
