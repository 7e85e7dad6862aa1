//! Compression and decompression against each other, and the pitfalls of sync flushes.

use super::*;

fn inflate(data: &[u8], limit: usize) -> Result<Vec<u8>, InflateError> {
    let mut out = Vec::new();
    Inflater::new().inflate(data, limit, &mut out).map(|()| out)
}

/// Poorly compressible octets without dice.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    })
    .take(length)
    .collect()
}

#[test]
fn examples_of_rfc_7692_section_7_2_3() {
    let check = |data: &[u8], expect: &[u8]| assert_eq!(inflate(data, 100).as_deref(), Ok(expect), "{data:x?}");
    check(&[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00], b"Hello");
    // A stored block.
    check(&[0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00], b"Hello");
    // A final block, with the octet that the RFC adds.
    check(&[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00], b"Hello");
    // Two blocks.
    check(&[0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00], b"Hello");
    // The empty message.
    check(&[0x00], b"");
    // Two final blocks, and data going on behind the first.
    let twice = [0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00];
    check(&twice, b"HelloHello");
}

#[test]
fn corrupt_data() {
    for bad in [&[0x06][..], &[0xFF; 40], &[0x00, 0x05, 0x00, 0x00, 0x00, 1, 2, 3]] {
        assert_eq!(inflate(bad, 1000), Err(InflateError::Corrupt), "{bad:x?}");
    }
}

#[test]
fn empty_message_is_one_zero() {
    for window in [Window::Bits15, Window::Bits9] {
        let mut out = vec![9];
        assert_eq!(Deflater::new().compress(window, b"", &mut out), Some(1));
        assert_eq!(out, [9, 0]);
    }
    let mut out = vec![9];
    assert_eq!(Deflater::new().compress(Window::Never, b"abc", &mut out), None);
    assert_eq!(out, [9]);
}

/// Noise that repeats gets shorter only where the compressor looks back far enough. (The reader at hand proves nothing:
/// it keeps the full window whatever size it is given.)
#[test]
fn small_window_looks_back_512_octets_at_most() {
    let check = |window, period: usize, expect_shorter: bool| {
        let message = noise(period).repeat(9000 / period);
        let mut out = Vec::new();
        Deflater::new().compress(window, &message, &mut out).unwrap();
        assert_eq!(out.len() < message.len() / 2, expect_shorter, "{window:?} {period}");
    };
    for period in [200, 513, 600, 1024, 3000] {
        check(Window::Bits15, period, true);
        check(Window::Bits9, period, period < 512);
    }
}

#[test]
fn nothing_is_remembered_between_messages() {
    let (mut deflater, mut inflater) = (Deflater::new(), Inflater::new());
    let message = noise(500);
    let mut first = Vec::new();
    for window in [Window::Bits15, Window::Bits9, Window::Bits15] {
        let mut out = Vec::new();
        deflater.compress(window, &message, &mut out).unwrap();
        first = if first.is_empty() { out.clone() } else { first };
        assert_eq!(out.len(), first.len(), "a second look at known data must not be shorter");
        // A message that failed half way leaves nothing behind either.
        let _ = inflater.inflate(&[0xFF; 9], 100, &mut Vec::new());
        let mut plain = Vec::new();
        inflater.inflate(&out, 500, &mut plain).unwrap();
        assert_eq!(plain, message);
    }
}

/// An output that is full exactly when the input ends may hide a part of the flush. Steps of every small size meet that
/// case at every place.
#[test]
fn flush_into_output_filled_exactly() {
    let messages = [b"a".to_vec(), b"Hello, hello, hello".to_vec(), noise(100), vec![0; 5000], noise(70_000)];
    for message in &messages {
        for bits in [9, 15] {
            let mut compress = Compress::new_with_window_bits(Compression::new(LEVEL), false, bits);
            for room in (1..48).chain([4096, 100_000]) {
                let mut out = Vec::new();
                compress.reset();
                sync_flush(&mut compress, message, &mut out, room);
                assert!(out.ends_with(&TAIL), "room {room}");
                out.truncate(out.len() - TAIL.len());
                assert!(inflate(&out, message.len()).as_ref() == Ok(message), "room {room} bits {bits}");
            }
        }
    }
}

#[test]
fn limit_is_exact() {
    for length in [1, 100, STEP_BYTES - 1, STEP_BYTES, STEP_BYTES + 1, 100_000] {
        for message in [vec![b'x'; length], noise(length)] {
            let mut out = Vec::new();
            Deflater::new().compress(Window::Bits15, &message, &mut out).unwrap();
            assert!(inflate(&out, length).as_ref() == Ok(&message), "{length}");
            assert_eq!(inflate(&out, length - 1), Err(InflateError::TooBig), "{length}");
            assert!(inflate(&out, usize::MAX).as_ref() == Ok(&message), "{length}");
        }
    }
}

#[test]
fn bomb_stops_at_the_limit() {
    const LIMIT: usize = 1 << 20;
    let mut bomb = Vec::new();
    Deflater::with_level(9).compress(Window::Bits15, &vec![0; 64 << 20], &mut bomb).unwrap();
    assert!(bomb.len() < LIMIT / 8, "a bomb is small on the wire");
    let mut out = Vec::new();
    assert_eq!(Inflater::new().inflate(&bomb, LIMIT, &mut out), Err(InflateError::TooBig));
    assert!(out.capacity() <= LIMIT + 1, "{}", out.capacity());
}
