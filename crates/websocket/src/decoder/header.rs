//! Frame headers: read from any cut, judged as early as the octets allow.
//!
//! Every rule that can be checked before the payload is checked here, limits included, and none is checked anywhere
//! else.

use super::{Coding, Content, MaskRule, Message, Options, Role, Violation};
use crate::{
    frame::{FIN, MASKED, Opcode, RSV1},
    mask::Key,
};

/// The longest header: two octets, a 64-bit length and a masking key.
const HEADER_BYTES_MAX: usize = 14;

/// RSV2 and RSV3, which no agreed extension uses.
const RSV23: u8 = 0x30;

/// A frame whose header was read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame {
    /// Payload octets still to come.
    pub(super) remaining: u64,
    /// Turned along with the payload; zero for an unmasked frame.
    pub(super) key: Key,
    pub(super) kind: Kind,
    pub(super) is_final: bool,
}

/// What a frame contributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Begins a message.
    First(Content, Coding),
    /// Continues the open message.
    Further,
    /// Close, Ping or Pong.
    Control(Opcode),
}

/// The beginning of a header that was cut.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    octets: [u8; HEADER_BYTES_MAX],
    filled: u8,
}

impl Scratch {
    /// Nothing kept: the next octet begins a header.
    pub(super) fn is_empty(&self) -> bool {
        self.filled == 0
    }

    /// Reads a header from what is kept and `input`, and returns it with the number of octets consumed. Without a whole
    /// header everything is consumed and kept, provided that it breaks no rule yet.
    #[inline]
    pub(super) fn read(
        &mut self,
        input: &[u8],
        options: &Options,
        open: Option<&Message>,
    ) -> Result<(Option<Frame>, usize), Violation> {
        if self.is_empty()
            && let Some((frame, used)) = parse(input, options, open)?
        {
            return Ok((Some(frame), used));
        }
        self.piece_together(input, options, open)
    }

    /// The rare case of [`Scratch::read`], apart so that the other one stays short.
    #[cold]
    fn piece_together(
        &mut self,
        input: &[u8],
        options: &Options,
        open: Option<&Message>,
    ) -> Result<(Option<Frame>, usize), Violation> {
        for (index, octet) in input.iter().enumerate() {
            self.octets[usize::from(self.filled)] = *octet;
            self.filled += 1;
            if let Some((frame, _)) = parse(&self.octets[..usize::from(self.filled)], options, open)? {
                return Ok((Some(frame), index + 1));
            }
        }
        Ok((None, input.len()))
    }
}

/// Parses a header at the start of `octets`; `None` while it is incomplete.
#[inline]
fn parse(octets: &[u8], options: &Options, open: Option<&Message>) -> Result<Option<(Frame, usize)>, Violation> {
    let Some(&first) = octets.first() else { return Ok(None) };
    let kind = kind(first, options, open)?;
    let is_final = first & FIN != 0;
    let Some(&second) = octets.get(1) else { return Ok(None) };
    let is_masked = second & MASKED != 0;
    if options.mask == MaskRule::Required && is_masked != (options.role == Role::Server) {
        return Err(Violation::protocol(match options.role {
            Role::Server => "client frame without mask",
            Role::Client => "server frame with mask",
        }));
    }
    let short = second & !MASKED;
    if matches!(kind, Kind::Control(_)) && short > 125 {
        return Err(Violation::protocol("control frame too long"));
    }
    let Some((length, mut used)) = length(octets, short)? else { return Ok(None) };
    check_limits(kind, length, options, open)?;
    let mut key = Key::default();
    if is_masked {
        let Some(found) = octets.get(used..used + 4) else { return Ok(None) };
        key.copy_from_slice(found);
        used += 4;
    }
    Ok(Some((Frame { remaining: length, key, kind, is_final }, used)))
}

/// All that the first octet decides (RFC 6455 sections 5.2, 5.4 and 5.5, RFC 7692 section 6).
#[inline]
fn kind(first: u8, options: &Options, open: Option<&Message>) -> Result<Kind, Violation> {
    if first & RSV23 != 0 {
        return Err(Violation::protocol("reserved bit set"));
    }
    let Some(opcode) = Opcode::parse(first) else {
        return Err(Violation::protocol("reserved opcode"));
    };
    let starts = matches!(opcode, Opcode::Text | Opcode::Binary);
    if first & RSV1 != 0 && !(starts && options.compression.is_some()) {
        return Err(Violation::protocol("compression bit set where it may not be"));
    }
    if opcode.is_control() {
        if first & FIN == 0 {
            return Err(Violation::protocol("fragmented control frame"));
        }
        return Ok(Kind::Control(opcode));
    }
    let content = match (opcode, open) {
        (Opcode::Continuation, Some(_)) => return Ok(Kind::Further),
        (Opcode::Continuation, None) => return Err(Violation::protocol("continuation without a beginning")),
        (_, Some(_)) => return Err(Violation::protocol("new message within a fragmented one")),
        (Opcode::Text, None) => Content::Text,
        (_, None) => Content::Binary,
    };
    Ok(Kind::First(content, if first & RSV1 == 0 { Coding::Plain } else { Coding::Deflated }))
}

/// The payload length and where the header goes on after it. RFC 6455 section 5.2 demands the shortest form and a clear
/// top bit; other forms are a way to smuggle frames past a reader that is less strict.
#[inline]
fn length(octets: &[u8], short: u8) -> Result<Option<(u64, usize)>, Violation> {
    const NOT_MINIMAL: Violation = Violation::protocol("length not in its shortest form");
    match short {
        126 => {
            let Some(&[high, low]) = octets.get(2..4) else { return Ok(None) };
            let length = u16::from_be_bytes([high, low]);
            if length < 126 { Err(NOT_MINIMAL) } else { Ok(Some((length.into(), 4))) }
        }
        127 => {
            let Some(found) = octets.get(2..10) else { return Ok(None) };
            let length = u64::from_be_bytes(found.try_into().expect("the slice has eight octets"));
            if length >> 63 != 0 {
                return Err(Violation::protocol("length with the top bit set"));
            }
            if length <= u16::MAX.into() { Err(NOT_MINIMAL) } else { Ok(Some((length, 10))) }
        }
        _ => Ok(Some((short.into(), 2))),
    }
}

/// Judges the announced length before a single octet of payload is kept. Control frames have a limit of their own.
#[inline]
fn check_limits(kind: Kind, length: u64, options: &Options, open: Option<&Message>) -> Result<(), Violation> {
    let (stored, coding) = match (kind, open) {
        (Kind::Control(_), _) => return Ok(()),
        (Kind::First(_, coding), _) => (0, coding),
        (Kind::Further, open) => open.map_or((0, Coding::Plain), |message| (message.data.len(), message.coding)),
    };
    if length > options.frame_bytes_max as u64 {
        return Err(Violation::too_big("frame too big"));
    }
    if length.saturating_add(stored as u64) > options.stored_bytes_max(coding) as u64 {
        return Err(Violation::too_big("message too big"));
    }
    Ok(())
}
