//! Frames between the node and a worker: two lengths of four octets, a JSON object, and octets that are no text.
//!
//! The other end is `python/stentor_runner/wire.py`. Which version is spoken stands in the first frame of each side.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// The version of the protocol.
pub(super) const PROTOCOL: u64 = 2;

const HEAD_BYTES: usize = 8;

/// Octets of a frame of a worker. A verdict takes some hundred; a traceback and a dictated answer a few thousand.
pub(super) const FRAME_BYTES_MAX: usize = 1 << 20;

/// A worker has sent a frame that is longer than any can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooLong;

/// Appends one frame, whose tail comes in parts.
pub(super) fn put(into: &mut BytesMut, text: &[u8], tail: &[&[u8]]) {
    let length = |octets: usize| u32::try_from(octets).expect("requests and functions are far below 4 GiB");
    let tail_bytes = tail.iter().map(|part| part.len()).sum();
    into.reserve(HEAD_BYTES + text.len() + tail_bytes);
    into.put_u32(length(text.len()));
    into.put_u32(length(tail_bytes));
    into.put_slice(text);
    tail.iter().for_each(|part| into.put_slice(part));
}

/// Takes the JSON of the next frame, once it is complete. What a worker sends has no tail that matters.
pub(super) fn take(from: &mut BytesMut) -> Result<Option<Bytes>, TooLong> {
    let Some((head, _)) = from.split_first_chunk::<HEAD_BYTES>() else { return Ok(None) };
    let mut head = &head[..];
    let (text, tail) = (head.get_u32() as usize, head.get_u32() as usize);
    if text > FRAME_BYTES_MAX || tail > FRAME_BYTES_MAX {
        return Err(TooLong);
    }
    if from.len() < HEAD_BYTES + text + tail {
        return Ok(None);
    }
    let mut whole = from.split_to(HEAD_BYTES + text + tail).freeze();
    whole.advance(HEAD_BYTES);
    Ok(Some(whole.slice(..text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_out_as_they_went_in() {
        let mut stream = BytesMut::new();
        put(&mut stream, b"{}", &[b"ta", b"il"]);
        put(&mut stream, b"[1]", &[]);
        let whole = stream.clone();
        for cut in 0..whole.len() {
            let mut stream = BytesMut::from(&whole[..cut]);
            let mut found = Vec::new();
            while let Some(text) = take(&mut stream).unwrap() {
                found.push(text);
            }
            stream.extend_from_slice(&whole[cut..]);
            while let Some(text) = take(&mut stream).unwrap() {
                found.push(text);
            }
            assert_eq!(found, [&b"{}"[..], b"[1]"], "cut at {cut}");
            assert!(stream.is_empty());
        }
    }

    #[test]
    fn no_length_is_believed_beyond_the_limit() {
        let check = |head: [u32; 2], expected: Result<Option<Bytes>, TooLong>| {
            let mut stream = BytesMut::new();
            head.into_iter().for_each(|length| stream.put_u32(length));
            assert_eq!(take(&mut stream), expected);
        };
        let most = u32::try_from(FRAME_BYTES_MAX).unwrap();
        check([most, 0], Ok(None));
        check([most + 1, 0], Err(TooLong));
        check([0, u32::MAX], Err(TooLong));
    }
}
