//! Frames against the examples of RFC 6455 section 5.7 and the lengths at which headers grow.

use super::*;

#[test]
fn examples_of_rfc_6455_section_5_7() {
    let check = |frame: Bytes, expect: &[u8]| assert_eq!(frame, expect);
    check(text("Hello"), b"\x81\x05Hello");
    check(masked(Opcode::Text, b"Hello", [0x37, 0xfa, 0x21, 0x3d]), b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58");
    check(ping(b"Hello"), b"\x89\x05Hello");
    check(pong(b"Hello"), b"\x8a\x05Hello");
    let long = |header: &[u8], length| [header, &vec![7; length]].concat();
    check(binary(&[7; 256]), &long(&[0x82, 0x7e, 0x01, 0x00], 256));
    check(binary(&[7; 65536]), &long(&[0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0], 65536));
    // The fragmented "Hello" of the section is cut unevenly; this is the same with ours.
    let mut draft = Draft::with_capacity(5);
    draft.payload().extend_from_slice(b"Hello");
    check(draft.finish_fragmented(Opcode::Text, 3), b"\x01\x03Hel\x80\x02lo");
}

#[test]
fn shortest_length_form() {
    let check = |length: usize, header: &[u8]| {
        let frame = binary(&vec![1; length]);
        assert_eq!(&frame[..header.len()], header, "{length}");
        assert_eq!(frame.len(), header.len() + length, "{length}");
        assert_eq!(payload_of(&frame).len(), length, "{length}");
    };
    check(0, &[0x82, 0]);
    check(125, &[0x82, 125]);
    check(126, &[0x82, 126, 0, 126]);
    check(65535, &[0x82, 126, 0xFF, 0xFF]);
    check(65536, &[0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]);
    for strange in [&b""[..], b"\x82", b"\x82\x81\0\0\0\0x", b"\x82\x7e\x01"] {
        assert_eq!(payload_of(strange), b"");
    }
}

#[test]
fn finishing_copies_nothing() {
    let mut draft = Draft::with_capacity(8);
    draft.payload().extend_from_slice(&[5; 200]);
    let before = draft.payload_bytes().as_ptr();
    let frame = draft.finish(Opcode::Binary);
    assert_eq!(payload_of(&frame).as_ptr(), before);
}

#[test]
fn fragments() {
    let check = |payload: &[u8], fragment_bytes: usize, expect: &[u8]| {
        let mut draft = Draft::with_capacity(0);
        draft.payload().extend_from_slice(payload);
        assert_eq!(draft.finish_fragmented(Opcode::Binary, fragment_bytes), expect, "{payload:?} {fragment_bytes}");
    };
    check(b"abcd", 0, b"\x82\x04abcd");
    check(b"abcd", 4, b"\x82\x04abcd");
    check(b"abcd", 2, b"\x02\x02ab\x80\x02cd");
    check(b"abc", 1, b"\x02\x01a\x00\x01b\x80\x01c");
    check(b"", 1, b"\x82\x00");
}

#[test]
fn rsv1_on_the_first_frame_only() {
    let mut deflater = Deflater::new();
    let mut draft = || Draft::deflated(b"Hello", Window::Bits15, &mut deflater).unwrap();
    // RFC 7692 section 7.2.3.1.
    assert_eq!(draft().finish(Opcode::Text), b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00".as_slice());
    let fragments = draft().finish_fragmented(Opcode::Text, 3);
    assert_eq!(fragments, b"\x41\x03\xf2\x48\xcd\x00\x03\xc9\xc9\x07\x80\x01\x00".as_slice());
    assert!(Draft::deflated(b"Hello", Window::Never, &mut deflater).is_none());
}

#[test]
fn control_frames_stay_short() {
    let check = |reason: &str, expect: &str| {
        let frame = close(CloseCode::POLICY_VIOLATION, reason);
        assert_eq!(&frame[2..4], [0x03, 0xF0]);
        assert_eq!(&frame[4..], expect.as_bytes());
    };
    check("", "");
    check("no", "no");
    check(&"x".repeat(123), &"x".repeat(123));
    check(&"x".repeat(124), &"x".repeat(123));
    check(&"ü".repeat(62), &"ü".repeat(61));
    check(&format!("{}😀", "x".repeat(120)), &"x".repeat(120));
    assert_eq!(close_empty(), [0x88, 0].as_slice());
    assert_eq!(ping(&[0; 200]).len(), 127);
    assert_eq!(pong(&[0; 200]).len(), 127);
}
