//! The compressor and the decompressor: one message in, one message out, nothing remembered between.

use std::fmt;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::Window;

/// What a sync flush ends with. The sender removes it and the receiver puts it back (RFC 7692 section 7.2.1).
pub(super) const TAIL: [u8; 4] = [0x00, 0x00, 0xFF, 0xFF];

/// First step of an output buffer; large enough that ordinary messages need one.
const STEP_BYTES: usize = 4 * 1024;

/// Level 1: for small JSON the higher levels cost several times the time for a few per cent.
const LEVEL: u32 = 1;

/// The compressor of one thread: a 15-bit one, and a 9-bit one for peers with small windows. Each is allocated when it
/// is first needed.
pub struct Deflater {
    level: Compression,
    bits15: Option<Compress>,
    bits9: Option<Compress>,
}

impl Deflater {
    /// A compressor at the default level.
    pub fn new() -> Self {
        Self::with_level(LEVEL)
    }

    /// A compressor at a level from 0 (stored) to 9; higher numbers mean 9.
    pub fn with_level(level: u32) -> Self {
        Self { level: Compression::new(level.min(9)), bits15: None, bits9: None }
    }

    /// Appends the compressed form of one message to `out` and returns its length.
    ///
    /// `None` means that this peer must be sent the plain form; `out` is untouched then.
    #[must_use = "without a compressed form the plain one must be sent"]
    pub fn compress(&mut self, window: Window, message: &[u8], out: &mut Vec<u8>) -> Option<usize> {
        let level = self.level;
        let (slot, bits) = match window {
            Window::Bits15 => (&mut self.bits15, 15),
            Window::Bits9 => (&mut self.bits9, 9),
            Window::Never => return None,
        };
        // A flush of nothing may produce nothing to strip; RFC 7692 section 7.2.3.6 names the octet to send.
        if message.is_empty() {
            out.push(0);
            return Some(1);
        }
        let compress = slot.get_or_insert_with(|| Compress::new_with_window_bits(level, false, bits));
        compress.reset();
        let start = out.len();
        sync_flush(compress, message, out, message.len() / 2 + 64);
        debug_assert!(out.ends_with(&TAIL), "a sync flush ends with an empty stored block");
        out.truncate(out.len() - TAIL.len());
        Some(out.len() - start)
    }
}

/// Compresses all of `input` and flushes, making room in steps of at least `room_bytes`.
///
/// Done only when the input is used up *and* the output was not filled to the brim: a full output may hide a part of the
/// flush, and the tail would then be cut out of live data.
fn sync_flush(compress: &mut Compress, input: &[u8], out: &mut Vec<u8>, room_bytes: usize) {
    let mut rest = input;
    loop {
        out.reserve(room_bytes);
        let before = compress.total_in();
        compress
            .compress_vec(rest, out, FlushCompress::Sync)
            .expect("deflate fails only on misuse of its state, and this one was just reset");
        rest = &rest[(compress.total_in() - before) as usize..];
        if rest.is_empty() && out.len() < out.capacity() {
            return;
        }
    }
}

impl Default for Deflater {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Deflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deflater")
            .field("level", &self.level.level())
            .field("bits15", &self.bits15.is_some())
            .field("bits9", &self.bits9.is_some())
            .finish()
    }
}

/// Why a compressed message could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InflateError {
    /// The message is larger than allowed; inflating stopped there.
    TooBig,
    /// The data is not DEFLATE.
    Corrupt,
}

impl fmt::Display for InflateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooBig => "inflated message too big",
            Self::Corrupt => "invalid compressed data",
        })
    }
}

impl std::error::Error for InflateError {}

/// The decompressor of one thread. Its window has 15 bits, which reads what any smaller window wrote.
#[derive(Default)]
pub struct Inflater {
    decompress: Option<Decompress>,
}

impl Inflater {
    /// A decompressor; its window is allocated with the first compressed message.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends the message behind `compressed` to `out`, which grows to at most `limit_bytes` beyond its length, plus
    /// the one octet that tells "full" from "too much". A bomb of any ratio costs no more than that.
    ///
    /// DEFLATE has no end mark here, so a message cut short by its sender is not always noticed; every framing above
    /// (JSON, a length) notices it.
    ///
    /// # Errors
    ///
    /// [`InflateError::TooBig`] beyond the limit, [`InflateError::Corrupt`] for data that does not inflate. `out` then
    /// holds a part of the message.
    pub fn inflate(&mut self, compressed: &[u8], limit_bytes: usize, out: &mut Vec<u8>) -> Result<(), InflateError> {
        let decompress = self.decompress.get_or_insert_with(|| Decompress::new(false));
        decompress.reset(false);
        let end_max = out.len().saturating_add(limit_bytes);
        inflate_part(decompress, compressed, end_max, out)?;
        inflate_part(decompress, &TAIL, end_max, out)
    }
}

fn inflate_part(
    decompress: &mut Decompress,
    part: &[u8],
    end_max: usize,
    out: &mut Vec<u8>,
) -> Result<(), InflateError> {
    let mut rest = part;
    loop {
        if out.len() > end_max {
            return Err(InflateError::TooBig);
        }
        if out.len() == out.capacity() {
            // Doubling, but never past the limit; `reserve` alone would overshoot it.
            let step = out.len().max(STEP_BYTES).min((end_max - out.len()).saturating_add(1));
            out.reserve_exact(step);
        }
        let (used, made) = (decompress.total_in(), decompress.total_out());
        let status = decompress.decompress_vec(rest, out, FlushDecompress::None).map_err(|_| InflateError::Corrupt)?;
        let idle = decompress.total_in() == used && decompress.total_out() == made;
        rest = &rest[(decompress.total_in() - used) as usize..];
        if status == Status::StreamEnd {
            // A final block inside a message is legal (RFC 7692 section 7.2.3.5); what follows is a new stream.
            decompress.reset(false);
        } else if idle && !rest.is_empty() {
            return Err(InflateError::Corrupt);
        }
        if rest.is_empty() && (idle || out.len() < out.capacity()) {
            return if out.len() > end_max { Err(InflateError::TooBig) } else { Ok(()) };
        }
    }
}

impl fmt::Debug for Inflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inflater").field("allocated", &self.decompress.is_some()).finish()
    }
}

#[cfg(test)]
mod tests;
