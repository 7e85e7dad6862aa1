//! A long message, inflated a piece at a time.
//!
//! Sixteen mebioctets take some ten milliseconds, in which a thread does nothing else. What is made in pieces is checked in pieces
//! too: text is known to be UTF-8 when the last one is there, and nobody has to look at the whole of it again.

use std::fmt;

use flate2::{Decompress, FlushDecompress, Status};

use super::stream::{InflateError, TAIL};

/// Octets of one piece.
const PIECE_BYTES: usize = 64 * 1024;

/// Octets that are reserved for a message at its beginning, so that it is not moved while it grows. Memory is given when it is
/// written to, so the rest costs addresses only. It is more than the 32 MiB up to which the C library of Linux keeps for the thread
/// what is given back: without that, a thread would hold on to several messages' worth.
const RESERVED_BYTES: usize = 33 * 1024 * 1024;

/// What is to come out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sort {
    /// Octets.
    Octets,
    /// UTF-8.
    Text,
}

/// What has come out.
#[derive(Debug)]
pub(crate) enum Inflated {
    /// Octets.
    Octets(Vec<u8>),
    /// UTF-8.
    Text(String),
}

/// Why nothing comes out.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It does not inflate, or to too much.
    Inflate(InflateError),
    /// It is not UTF-8.
    Text,
}

/// A message of which a part is inflated.
pub(crate) struct Inflation {
    decompress: Decompress,
    /// The compressed message with what the sender has cut off, and how much of it is used.
    compressed: Vec<u8>,
    used: usize,
    /// The message may have so many octets more.
    room: usize,
    /// The piece that is being made; its first octets may be those of a character that was cut.
    piece: Box<[u8]>,
    cut: usize,
    out: Inflated,
}

impl Inflation {
    /// Begins with the first octet.
    pub(crate) fn new(compressed: &[u8], limit_bytes: usize, sort: Sort) -> Self {
        let compressed = [compressed, &TAIL].concat();
        let out = match sort {
            Sort::Octets => Inflated::Octets(Vec::with_capacity(RESERVED_BYTES)),
            Sort::Text => Inflated::Text(String::with_capacity(RESERVED_BYTES)),
        };
        Self {
            decompress: Decompress::new(false),
            compressed,
            used: 0,
            room: limit_bytes,
            piece: vec![0; PIECE_BYTES].into(),
            cut: 0,
            out,
        }
    }

    /// Octets of memory that it takes.
    pub(crate) fn held_bytes(&self) -> usize {
        let made = match &self.out {
            Inflated::Octets(octets) => octets.len(),
            Inflated::Text(text) => text.len(),
        };
        self.compressed.capacity() + self.piece.len() + made
    }

    /// Makes one more piece. True when it was the last one.
    pub(crate) fn advance(&mut self) -> Result<bool, Fault> {
        let (before, made) = (self.decompress.total_in(), self.decompress.total_out());
        let rest = &self.compressed[self.used..];
        let status = self
            .decompress
            .decompress(rest, &mut self.piece[self.cut..], FlushDecompress::None)
            .map_err(|_| Fault::Inflate(InflateError::Corrupt))?;
        let used = (self.decompress.total_in() - before) as usize;
        let made = (self.decompress.total_out() - made) as usize;
        self.used += used;
        if made > self.room {
            return Err(Fault::Inflate(InflateError::TooBig));
        }
        self.room -= made;
        let filled = self.cut + made;
        let is_full = filled == self.piece.len();
        self.keep(filled)?;
        let is_done = self.used == self.compressed.len() && !is_full;
        if status == Status::StreamEnd {
            // A final block inside a message is legal (RFC 7692 section 7.2.3.5); what follows is a new stream.
            self.decompress.reset(false);
        } else if used == 0 && made == 0 && !is_done {
            return Err(Fault::Inflate(InflateError::Corrupt));
        }
        if is_done && self.cut > 0 { Err(Fault::Text) } else { Ok(is_done) }
    }

    /// Adds what the piece holds to the message.
    fn keep(&mut self, filled: usize) -> Result<(), Fault> {
        let piece = &self.piece[..filled];
        let text = match &mut self.out {
            Inflated::Octets(octets) => {
                octets.extend_from_slice(piece);
                return Ok(());
            }
            Inflated::Text(text) => text,
        };
        match simdutf8::compat::from_utf8(piece) {
            Ok(whole) => {
                text.push_str(whole);
                self.cut = 0;
            }
            Err(error) if error.error_len().is_none() => {
                let whole = error.valid_up_to();
                text.push_str(std::str::from_utf8(&piece[..whole]).expect("so far it is UTF-8"));
                self.piece.copy_within(whole..filled, 0);
                self.cut = filled - whole;
            }
            Err(_) => return Err(Fault::Text),
        }
        Ok(())
    }

    /// The whole message, after the last piece.
    pub(crate) fn finish(self) -> Inflated {
        self.out
    }
}

impl fmt::Debug for Inflation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inflation").field("used", &self.used).field("room", &self.room).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Deflater, Inflater, Window};
    use super::*;

    fn compress(message: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        Deflater::new().compress(Window::Bits15, message, &mut out).expect("there is a window");
        out
    }

    fn inflate(compressed: &[u8], limit: usize, sort: Sort) -> Result<(Vec<u8>, usize), Fault> {
        let mut inflation = Inflation::new(compressed, limit, sort);
        let mut pieces = 1;
        while !inflation.advance()? {
            pieces += 1;
        }
        Ok(match inflation.finish() {
            Inflated::Octets(octets) => (octets, pieces),
            Inflated::Text(text) => (text.into_bytes(), pieces),
        })
    }

    #[test]
    fn messages_come_in_pieces() {
        for length in [1, 100, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES, 1_000_000] {
            // Characters of three octets, so that pieces end within them.
            let text: String = "\u{20ac}".repeat(length.div_ceil(3));
            for sort in [Sort::Octets, Sort::Text] {
                let (octets, pieces) = inflate(&compress(text.as_bytes()), text.len(), sort).unwrap();
                assert!(octets == text.as_bytes(), "{length}");
                assert!(pieces >= text.len().div_ceil(PIECE_BYTES) && pieces <= text.len() / (PIECE_BYTES - 3) + 2);
                let short = inflate(&compress(text.as_bytes()), text.len() - 1, sort);
                assert_eq!(short, Err(Fault::Inflate(InflateError::TooBig)));
            }
        }
    }

    #[test]
    fn what_is_no_text_is_found_out() {
        let long = vec![b' '; 2 * PIECE_BYTES];
        for (bad, is_text) in
            [(&b"\xff"[..], false), (b"\xe2\x82", false), (b"\xe2\x82 ", false), ("\u{20ac}".as_bytes(), true)]
        {
            let message = [&long[1..], bad].concat();
            let outcome = inflate(&compress(&message), message.len(), Sort::Text);
            assert!(if is_text { outcome.is_ok() } else { outcome == Err(Fault::Text) }, "{bad:x?}");
        }
    }

    proptest! {
        /// Whatever the octets are, in pieces they mean what they mean at once.
        #[test]
        fn pieces_agree_with_the_whole(
            octets in proptest::collection::vec(any::<u8>(), 0..200),
            message in proptest::collection::vec(any::<u8>(), 1..2000),
            times in 1..200usize,
            is_sound in any::<bool>(),
            limit in 0..300_000usize,
        ) {
            let octets = if is_sound { compress(&message.repeat(times)) } else { octets };
            let mut whole = Vec::new();
            let at_once = Inflater::new().inflate(&octets, limit, &mut whole).map(|()| whole);
            let in_pieces = inflate(&octets, limit, Sort::Octets).map(|(octets, _)| octets);
            match (at_once, in_pieces) {
                (Ok(whole), Ok(pieces)) => prop_assert!(whole == pieces),
                (Err(one), Err(other)) => prop_assert_eq!(Fault::Inflate(one), other),
                (one, other) => prop_assert!(false, "{:?} {:?}", one.map(|v| v.len()), other.map(|v| v.len())),
            }
        }
    }
}
