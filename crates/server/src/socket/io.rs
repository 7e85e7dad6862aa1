//! The stream under a connection: a plain TCP socket, which any thread may write to, or anything else, which only its
//! owner may.

use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::fanout::outbox::Flushed;
use crate::fanout::peer::{self, SocketPeer};

/// A stream that only its owner can write to: TLS, Unix sockets.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// The stream under a connection.
pub enum Io {
    /// A plain TCP socket.
    Plain(Arc<TcpStream>),
    /// Anything else.
    Owned(Box<dyn Stream>),
}

impl std::fmt::Debug for Io {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Plain(_) => "Plain",
            Self::Owned(_) => "Owned",
        })
    }
}

impl Io {
    /// The socket, when every thread may write to it.
    #[must_use]
    pub fn direct(&self) -> Option<Arc<TcpStream>> {
        match self {
            Self::Plain(stream) => Some(Arc::clone(stream)),
            Self::Owned(_) => None,
        }
    }

    /// Reads what is there; 0 octets at the end of the stream.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(stream) => loop {
                ready!(stream.poll_read_ready(cx))?;
                match stream.try_read(buffer) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    outcome => return Poll::Ready(outcome),
                }
            },
            Self::Owned(stream) => {
                let mut room = ReadBuf::new(buffer);
                ready!(Pin::new(stream).poll_read(cx, &mut room))?;
                Poll::Ready(Ok(room.filled().len()))
            }
        }
    }

    /// Writes what waits, and waits for the socket where it is full. Ready when the stream is broken.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>, peer: &SocketPeer) -> Poll<()> {
        match self {
            Self::Plain(stream) => {
                while peer.outbox.is_blocked() {
                    if ready!(stream.poll_write_ready(cx)).is_err() {
                        return Poll::Ready(());
                    }
                    if peer.flush_by_owner(|slices| peer::write(stream, slices)) == Flushed::Broken {
                        return Poll::Ready(());
                    }
                }
                Poll::Pending
            }
            Self::Owned(stream) => {
                if !peer.outbox.is_empty()
                    && peer.flush_by_owner(|slices| write_owned(stream, cx, slices)) == Flushed::Broken
                {
                    return Poll::Ready(());
                }
                match Pin::new(stream).poll_flush(cx) {
                    Poll::Ready(Err(_)) => Poll::Ready(()),
                    _ => Poll::Pending,
                }
            }
        }
    }

    /// Says that nothing more will be written.
    pub fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Plain(stream) => {
                // A socket that is gone already needs no farewell.
                drop(socket2::SockRef::from(&**stream).shutdown(Shutdown::Write));
                Poll::Ready(())
            }
            Self::Owned(stream) => Pin::new(stream).poll_shutdown(cx).map(drop),
        }
    }
}

fn write_owned(stream: &mut Box<dyn Stream>, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    match Pin::new(stream).poll_write_vectored(cx, slices) {
        Poll::Ready(outcome) => outcome,
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}
