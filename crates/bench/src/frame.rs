//! WebSocket frames as a client of one's own server needs them: as little as possible.
//!
//! The server under test has its frames checked by its own tests and by public suites. Here they are only walked
//! through, whole frames at a time, so that reading an event costs next to nothing beside the server's work.

/// A frame of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    /// RFC 6455, section 5.2.
    pub(crate) opcode: u8,
    /// RSV1: the payload is compressed (RFC 7692).
    pub(crate) compressed: bool,
    /// What it carries.
    pub(crate) payload: &'a [u8],
}

/// Opcodes that are acted upon.
pub(crate) const TEXT: u8 = 1;
pub(crate) const BINARY: u8 = 2;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;

/// The frame that the input begins with and its length; nothing while it is incomplete.
#[must_use]
pub(crate) fn first(input: &[u8]) -> Option<(Frame<'_>, usize)> {
    let (&[first, second], rest) = input.split_first_chunk::<2>()?;
    // Servers do not mask, and nobody here asked for fragments.
    let (length, head) = match second & 127 {
        126 => (usize::from(u16::from_be_bytes(*rest.first_chunk()?)), 4),
        127 => (usize::try_from(u64::from_be_bytes(*rest.first_chunk()?)).ok()?, 10),
        short => (usize::from(short), 2),
    };
    let end = head + length;
    let payload = input.get(head..end)?;
    Some((Frame { opcode: first & 15, compressed: first & 0x40 != 0, payload }, end))
}

/// Appends a frame as clients send it. The key is four zeros, which masks without changing anything.
pub(crate) fn append(opcode: u8, payload: &[u8], out: &mut Vec<u8>) {
    out.push(0x80 | opcode);
    match payload.len() {
        length @ 0..126 => out.push(0x80 | length as u8),
        length @ 126..65536 => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(payload);
}

/// The head of a frame as servers send it, without compression: its octets and how many of them count.
pub(crate) fn server_head(opcode: u8, length: usize, out: &mut Vec<u8>) {
    out.push(0x80 | opcode);
    match length {
        0..126 => out.push(length as u8),
        126..65536 => {
            out.push(126);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        _ => {
            out.push(127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(length: usize, head: usize) {
        let payload = vec![b'x'; length];
        let mut input = Vec::new();
        server_head(TEXT, length, &mut input);
        assert_eq!(input.len(), head);
        input.extend_from_slice(&payload);
        let expect = Frame { opcode: TEXT, compressed: false, payload: &payload };
        assert_eq!(first(&[&input[..], b"\x81"].concat()), Some((expect, head + length)));
        for cut in [0, 1, head - 1, input.len() - 1] {
            assert_eq!(first(&input[..cut]), None, "cut at {cut}");
        }
    }

    #[test]
    fn frames_are_walked() {
        for (length, head) in [(1, 2), (125, 2), (126, 4), (65_535, 4), (65_536, 10)] {
            check(length, head);
        }
        let (frame, length) = first(b"\xc2\x01x").expect("whole");
        assert_eq!((frame.opcode, frame.compressed, length), (BINARY, true, 3));
    }

    #[test]
    fn clients_mask() {
        let mut out = Vec::new();
        append(PONG, b"ab", &mut out);
        assert_eq!(out, b"\x8a\x82\0\0\0\0ab");
    }
}
