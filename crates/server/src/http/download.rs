//! A file on its way to a client, one bounded piece after another.

use std::io;
use std::ops::Range;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use hyper::body::Frame;
use tokio::fs::File;
use tokio::io::{AsyncRead, AsyncSeekExt, ReadBuf};

/// Octets of one piece. Together with what hyper holds for the socket this is all that one download keeps in memory.
const PIECE_BYTES: usize = 64 * 1024;

/// A part of a file that is still to be sent.
#[derive(Debug)]
pub(crate) struct Download {
    file: File,
    left: u64,
    piece: BytesMut,
}

impl Download {
    /// The octets of a file within `range`.
    pub(super) async fn open(path: &Path, range: Range<u64>) -> io::Result<Self> {
        let mut file = File::open(path).await?;
        file.set_max_buf_size(PIECE_BYTES);
        if range.start > 0 {
            file.seek(io::SeekFrom::Start(range.start)).await?;
        }
        Ok(Self { file, left: range.end.saturating_sub(range.start), piece: BytesMut::new() })
    }

    /// Octets that are still to come.
    pub(super) const fn left(&self) -> u64 {
        self.left
    }

    /// The next piece. A file that has become shorter than it was said to be breaks the answer off, so that nobody takes a
    /// part for the whole.
    pub(super) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let length = usize::try_from(self.left).unwrap_or(usize::MAX).min(PIECE_BYTES);
        self.piece.resize(length, 0);
        let mut room = ReadBuf::new(&mut self.piece);
        if let Err(error) = ready!(Pin::new(&mut self.file).poll_read(cx, &mut room)) {
            return Poll::Ready(Some(Err(error)));
        }
        let read = room.filled().len();
        if read == 0 {
            return Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into())));
        }
        self.left -= read as u64;
        let piece = self.piece.split_to(read).freeze();
        self.piece = BytesMut::new();
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }
}
