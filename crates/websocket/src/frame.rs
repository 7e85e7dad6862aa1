//! Prepared frames: complete WebSocket frames as shared bytes, ready for any number of outboxes.
//!
//! Knows the header layout of RFC 6455 section 5.2 and the RSV1 bit of RFC 7692 section 6. Does not know who reads the
//! frames, nor when they are written. Servers never mask (section 5.1); the masked form exists for clients in tests and
//! benchmarks.

use bytes::Bytes;

use crate::{
    close::CloseCode,
    deflate::{Deflater, Window},
    mask,
};

/// The longest header of an unmasked frame: two octets and a 64-bit length.
pub const HEADER_BYTES_MAX: usize = 10;

/// The longest payload of a Close, Ping or Pong frame (RFC 6455 section 5.5).
pub const CONTROL_BYTES_MAX: usize = 125;

/// A close reason shares the control payload with two octets of code.
pub const REASON_BYTES_MAX: usize = CONTROL_BYTES_MAX - 2;

pub(crate) const FIN: u8 = 0x80;
pub(crate) const RSV1: u8 = 0x40;
pub(crate) const MASKED: u8 = 0x80;

/// What a frame is (RFC 6455 section 5.2). The reserved opcodes have no name because they may not travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Opcode {
    /// A further fragment of the message that is open.
    Continuation = 0x0,
    /// A text message, or its first fragment.
    Text = 0x1,
    /// A binary message, or its first fragment.
    Binary = 0x2,
    /// The end of the session.
    Close = 0x8,
    /// A request for a pong with the same payload.
    Ping = 0x9,
    /// An answer to a ping, or a sign of life that nobody asked for.
    Pong = 0xA,
}

impl Opcode {
    /// The opcode in the low four bits, unless it is one of the reserved ones.
    pub(crate) fn parse(octet: u8) -> Option<Self> {
        Some(match octet & 0x0F {
            0x0 => Self::Continuation,
            0x1 => Self::Text,
            0x2 => Self::Binary,
            0x8 => Self::Close,
            0x9 => Self::Ping,
            0xA => Self::Pong,
            _ => return None,
        })
    }

    pub(crate) fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

/// A message on its way to becoming a frame: room for the header in front, then whatever an encoder appends.
///
/// The header is written right-aligned into the reserved octets once the length is known, so that the payload is never
/// moved.
#[derive(Debug)]
pub struct Draft {
    buffer: Vec<u8>,
    first: u8,
}

impl Draft {
    /// An empty draft with room for a payload of this size; the payload may still outgrow it.
    pub fn with_capacity(payload_bytes: usize) -> Self {
        let mut buffer = Vec::with_capacity(HEADER_BYTES_MAX + payload_bytes);
        buffer.resize(HEADER_BYTES_MAX, 0);
        Self { buffer, first: 0 }
    }

    /// A draft whose payload is `message` compressed for that window; RSV1 will be set on its first frame.
    ///
    /// `None` for [`Window::Never`]: such a peer gets the plain form, which RFC 7692 section 6 allows for any message.
    pub fn deflated(message: &[u8], window: Window, deflater: &mut Deflater) -> Option<Self> {
        let mut draft = Self::with_capacity(message.len() / 2);
        draft.first = RSV1;
        deflater.compress(window, message, &mut draft.buffer)?;
        Some(draft)
    }

    /// The buffer to append the payload to. Its first [`HEADER_BYTES_MAX`] octets are reserved: append only.
    pub fn payload(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// What has been appended so far.
    pub fn payload_bytes(&self) -> &[u8] {
        self.buffer.get(HEADER_BYTES_MAX..).unwrap_or_default()
    }

    /// One final frame, header and payload in one piece, without a copy.
    ///
    /// # Panics
    ///
    /// When an encoder removed the reserved octets, which is a bug in that encoder.
    pub fn finish(mut self, opcode: Opcode) -> Bytes {
        assert!(self.buffer.len() >= HEADER_BYTES_MAX, "an encoder must only append to a draft");
        let (header, used) = header(FIN | self.first | opcode as u8, self.buffer.len() - HEADER_BYTES_MAX);
        let start = HEADER_BYTES_MAX - used;
        self.buffer[start..HEADER_BYTES_MAX].copy_from_slice(&header[..used]);
        Bytes::from(self.buffer).slice(start..)
    }

    /// The message cut into frames of at most `fragment_bytes`, one behind the other in one piece.
    ///
    /// Zero means one frame, as in the setting that this serves. Cutting has to make room for the headers between, so
    /// this copies. RSV1 stands on the first frame only (RFC 7692 section 6.1), and a cut may fall inside a character
    /// (RFC 6455 section 5.6).
    pub fn finish_fragmented(self, opcode: Opcode, fragment_bytes: usize) -> Bytes {
        let payload = self.payload_bytes();
        if fragment_bytes == 0 || payload.len() <= fragment_bytes {
            return self.finish(opcode);
        }
        let count = payload.len().div_ceil(fragment_bytes);
        let mut out = Vec::with_capacity(payload.len() + count * header(0, fragment_bytes).1);
        for (index, part) in payload.chunks(fragment_bytes).enumerate() {
            let start = if index == 0 { self.first | opcode as u8 } else { Opcode::Continuation as u8 };
            let fin = if index + 1 == count { FIN } else { 0 };
            let (header, used) = header(fin | start, part.len());
            out.extend_from_slice(&header[..used]);
            out.extend_from_slice(part);
        }
        Bytes::from(out)
    }
}

/// An unmasked header with the shortest possible length field (RFC 6455 section 5.2), and how many octets of it count.
fn header(first: u8, length: usize) -> ([u8; HEADER_BYTES_MAX], usize) {
    let mut header = [0; HEADER_BYTES_MAX];
    header[0] = first;
    if length < 126 {
        header[1] = length as u8;
        (header, 2)
    } else if let Ok(short) = u16::try_from(length) {
        header[1] = 126;
        header[2..4].copy_from_slice(&short.to_be_bytes());
        (header, 4)
    } else {
        header[1] = 127;
        header[2..10].copy_from_slice(&(length as u64).to_be_bytes());
        (header, 10)
    }
}

fn whole(opcode: Opcode, payload: &[u8]) -> Bytes {
    let mut draft = Draft::with_capacity(payload.len());
    draft.payload().extend_from_slice(payload);
    draft.finish(opcode)
}

/// A text message in one frame.
pub fn text(payload: &str) -> Bytes {
    whole(Opcode::Text, payload.as_bytes())
}

/// A binary message in one frame.
pub fn binary(payload: &[u8]) -> Bytes {
    whole(Opcode::Binary, payload)
}

/// A ping; a payload above [`CONTROL_BYTES_MAX`] is cut there.
pub fn ping(payload: &[u8]) -> Bytes {
    whole(Opcode::Ping, &payload[..payload.len().min(CONTROL_BYTES_MAX)])
}

/// A pong; a payload above [`CONTROL_BYTES_MAX`] is cut there.
pub fn pong(payload: &[u8]) -> Bytes {
    whole(Opcode::Pong, &payload[..payload.len().min(CONTROL_BYTES_MAX)])
}

/// A Close with code and reason. The reason is cut at [`REASON_BYTES_MAX`], or before it so that no character is halved:
/// a peer would answer a broken reason with a protocol error instead of showing it.
///
/// # Panics
///
/// When the code is one that must never travel, see [`CloseCode::may_travel`].
pub fn close(code: CloseCode, reason: &str) -> Bytes {
    assert!(code.may_travel(), "close code {code} must not be sent");
    let mut draft = Draft::with_capacity(CONTROL_BYTES_MAX);
    draft.payload().extend_from_slice(&code.get().to_be_bytes());
    draft.payload().extend_from_slice(&reason.as_bytes()[..whole_characters(reason)]);
    draft.finish(Opcode::Close)
}

/// How much of a reason fits without halving a character.
fn whole_characters(reason: &str) -> usize {
    (0..=REASON_BYTES_MAX.min(reason.len())).rev().find(|&end| reason.is_char_boundary(end)).unwrap_or(0)
}

/// A Close that says nothing, the answer to one that said nothing.
pub fn close_empty() -> Bytes {
    whole(Opcode::Close, &[])
}

/// The payload of one of our own unfragmented frames, for building its other forms from the plain one.
///
/// Empty when `frame` does not begin with a complete unmasked header.
pub fn payload_of(frame: &[u8]) -> &[u8] {
    let start = match frame.get(1) {
        Some(..126) => 2,
        Some(126) => 4,
        Some(127) => 10,
        _ => return &[],
    };
    frame.get(start..).unwrap_or_default()
}

/// A client's frame around a plain payload. The mask is passed in, since there are no dice in this crate.
pub fn masked(opcode: Opcode, payload: &[u8], key: [u8; 4]) -> Bytes {
    mask_frame(FIN | opcode as u8, payload, key)
}

/// A client's frame around a payload that is already compressed: [`masked`] with RSV1.
pub fn masked_deflated(opcode: Opcode, compressed: &[u8], key: [u8; 4]) -> Bytes {
    mask_frame(FIN | RSV1 | opcode as u8, compressed, key)
}

/// A masked frame with any first octet, so that tests can build the illegal ones too.
pub(crate) fn mask_frame(first: u8, payload: &[u8], mut key: [u8; 4]) -> Bytes {
    let (mut header, used) = header(first, payload.len());
    header[1] |= MASKED;
    let mut out = Vec::with_capacity(used + key.len() + payload.len());
    out.extend_from_slice(&header[..used]);
    out.extend_from_slice(&key);
    out.extend_from_slice(payload);
    mask::apply(&mut out[used + 4..], &mut key);
    Bytes::from(out)
}

#[cfg(test)]
mod tests;
