//! The rules of RFC 6455 and 7692 that a decoder enforces, one row each, and any cut of the input.

use super::*;
use crate::{
    deflate::{Deflater, Window},
    frame::{self, FIN, RSV1, mask_frame},
};
use proptest::prelude::*;

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
const AGREED: Agreed = Agreed { server_window: Window::Bits15 };
const OPTIONS: Options = Options {
    role: Role::Server,
    frame_bytes_max: 70_000,
    message_bytes_max: 100_000,
    compression: Some(AGREED),
    mask: MaskRule::Required,
    validate_utf8: Utf8Rule::Strict,
};

/// An event that outlives the callback.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Got {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>, String),
    Violation(u16),
}

impl From<Event<'_>> for Got {
    fn from(event: Event<'_>) -> Self {
        match event {
            Event::Text(text) => Self::Text(text.to_owned()),
            Event::Binary(data) => Self::Binary(data.to_vec()),
            Event::Ping(data) => Self::Ping(data.to_vec()),
            Event::Pong(data) => Self::Pong(data.to_vec()),
            Event::Close(code, reason) => Self::Close(code.map(CloseCode::get), reason.to_owned()),
        }
    }
}

fn text(text: &str) -> Got {
    Got::Text(text.to_owned())
}

const PROTOCOL: Got = Got::Violation(1002);
const PAYLOAD: Got = Got::Violation(1007);
const TOO_BIG: Got = Got::Violation(1009);

/// Feeds parts of the given sizes, over and over; the end of the sizes means the rest at once.
fn decode(options: Options, octets: &[u8], sizes: impl IntoIterator<Item = usize>) -> Vec<Got> {
    let (mut decoder, mut inflater, mut got) = (Decoder::new(options), Inflater::new(), Vec::new());
    let mut rest = octets.to_vec();
    let mut sizes = sizes.into_iter();
    while !rest.is_empty() {
        let mut part: Vec<u8> = rest.drain(..sizes.next().unwrap_or(usize::MAX).min(rest.len())).collect();
        let result = decoder.feed(&mut part, &mut inflater, |event| {
            got.push(event.into());
            ControlFlow::Continue(())
        });
        match result {
            Ok(used) => assert!(used == part.len() || decoder.is_done()),
            Err(violation) => got.push(Got::Violation(violation.code.get())),
        }
        if decoder.is_done() {
            assert_eq!(decoder.feed(&mut rest, &mut inflater, |_| panic!("nothing after the end")), Ok(0));
            break;
        }
    }
    got
}

/// The same from a decoder that hands over what is longer than this.
fn decode_long(options: Options, octets: &[u8], sizes: impl IntoIterator<Item = usize>, long_from: usize) -> Vec<Got> {
    let mut decoder = Decoder::new(options).with_long_messages_from(long_from);
    let (mut inflater, mut got, mut rest) = (Inflater::new(), Vec::new(), octets.to_vec());
    let mut sizes = sizes.into_iter();
    while !decoder.is_done() && (!rest.is_empty() || decoder.is_held_up()) {
        let length = sizes.next().unwrap_or(usize::MAX).min(rest.len());
        let result = decoder.feed(&mut rest[..length], &mut inflater, |event| {
            if let Event::Binary(data) = event {
                assert!(data.len() <= long_from);
            }
            got.push(event.into());
            ControlFlow::Continue(())
        });
        match result {
            Ok(used) => drop(rest.drain(..used)),
            Err(violation) => got.push(Got::Violation(violation.code.get())),
        }
        while decoder.is_inflating() {
            if let Err(violation) = decoder.inflate_on() {
                got.push(Got::Violation(violation.code.get()));
            }
        }
        if let Some(mut whole) = decoder.take_whole() {
            assert!(whole.octets.len() > long_from);
            whole.tidy();
            got.push(match whole.sort {
                WholeSort::Binary => Got::Binary(whole.octets),
                _ => Got::Text(String::from_utf8(whole.octets).expect("it is known to be UTF-8")),
            });
        }
    }
    got
}

/// The same octets whole, octet by octet and in threes must tell the same.
fn check_with(options: Options, octets: &[u8], expect: &[Got]) {
    assert_eq!(decode(options, octets, []), expect, "whole: {octets:x?}");
    assert_eq!(decode(options, octets, std::iter::repeat(1)), expect, "by ones: {octets:x?}");
    assert_eq!(decode(options, octets, std::iter::repeat(3)), expect, "by threes: {octets:x?}");
}

fn check(frames: &[(u8, &[u8])], expect: &[Got]) {
    check_with(OPTIONS, &stream(frames), expect);
}

/// Client frames from first octets and payloads.
fn stream(frames: &[(u8, &[u8])]) -> Vec<u8> {
    frames.iter().flat_map(|(first, payload)| mask_frame(*first, payload, KEY)).collect()
}

fn deflated(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    Deflater::new().compress(Window::Bits15, message, &mut out).unwrap();
    out
}

#[test]
fn examples_of_rfc_6455_section_5_7() {
    let client = Options { role: Role::Client, compression: None, ..OPTIONS };
    check_with(client, b"\x81\x05Hello", &[text("Hello")]);
    check_with(OPTIONS, b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", &[text("Hello")]);
    check_with(client, b"\x01\x03Hel\x80\x02lo", &[text("Hello")]);
    check_with(client, b"\x89\x05Hello", &[Got::Ping(b"Hello".to_vec())]);
    check_with(OPTIONS, b"\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", &[Got::Pong(b"Hello".to_vec())]);
    for length in [256, 65536] {
        check_with(client, &frame::binary(&vec![3; length]), &[Got::Binary(vec![3; length])]);
    }
}

#[test]
fn first_octet_rules() {
    // RSV2 and RSV3, alone and together.
    for reserved in [0x10, 0x20, 0x30, 0x70] {
        check(&[(FIN | reserved | 1, b"x")], &[PROTOCOL]);
        check(&[(FIN | reserved | 9, b"x")], &[PROTOCOL]);
    }
    for opcode in (0x3..=0x7).chain(0xB..=0xF) {
        check(&[(FIN | opcode, b"")], &[PROTOCOL]);
    }
    for opcode in 0x8..=0xA {
        check(&[(opcode, b"")], &[PROTOCOL]);
    }
    check(&[(FIN, b"x")], &[PROTOCOL]);
    check(&[(0, b"x")], &[PROTOCOL]);
    check(&[(1, b"a"), (FIN | 1, b"b")], &[PROTOCOL]);
    check(&[(1, b"a"), (2, b"b")], &[PROTOCOL]);
    check(&[(1, b"a"), (FIN, b"b"), (FIN, b"c")], &[text("ab"), PROTOCOL]);
    // One octet is enough to judge.
    assert_eq!(decode(OPTIONS, &[0x83], []), [PROTOCOL]);
}

#[test]
fn compression_bit_rules() {
    let hello = deflated(b"Hello");
    check(&[(FIN | RSV1 | 1, &hello), (FIN | RSV1 | 2, &hello)], &[text("Hello"), Got::Binary(b"Hello".to_vec())]);
    check(&[(FIN | 1, b"plain"), (FIN | RSV1 | 1, &hello)], &[text("plain"), text("Hello")]);
    check(&[(RSV1 | 1, &hello[..3]), (FIN | 9, b""), (FIN, &hello[3..])], &[Got::Ping(vec![]), text("Hello")]);
    check(&[(RSV1 | 1, &hello[..3]), (FIN | RSV1, &hello[3..])], &[PROTOCOL]);
    for opcode in 0x8..=0xA {
        check(&[(FIN | RSV1 | opcode, b"")], &[PROTOCOL]);
    }
    let plain = Options { compression: None, ..OPTIONS };
    check_with(plain, &stream(&[(FIN | RSV1 | 1, &hello)]), &[PROTOCOL]);
    // The empty message: one zero octet; nothing at all inflates to nothing too.
    check(&[(FIN | RSV1 | 1, b"\0"), (FIN | RSV1 | 2, b"")], &[text(""), Got::Binary(vec![])]);
    check(&[(FIN | RSV1 | 1, &[0xFF; 8])], &[PAYLOAD]);
    check(&[(FIN | RSV1 | 1, &deflated(b"\xFF"))], &[PAYLOAD]);
}

#[test]
fn control_frames() {
    let long = [b'x'; 126];
    check(&[(FIN | 9, &long[..125])], &[Got::Ping(long[..125].to_vec())]);
    for opcode in 0x8..=0xA {
        check(&[(FIN | opcode, &long)], &[PROTOCOL]);
    }
    let frames: &[(u8, &[u8])] = &[(1, b"Hel"), (FIN | 9, b"1"), (0, b"l"), (FIN | 10, b""), (FIN, b"o")];
    check(frames, &[Got::Ping(b"1".to_vec()), Got::Pong(vec![]), text("Hello")]);
    check(&[(1, b"Hel"), (FIN | 8, b"")], &[Got::Close(None, String::new())]);
}

#[test]
fn close_frames() {
    let close = |code: u16, reason: &[u8], expect: Got| {
        // Nothing is read after a Close.
        let payload = [&code.to_be_bytes(), reason].concat();
        check(&[(FIN | 8, &payload), (FIN | 1, b"late")], &[expect]);
    };
    close(1000, b"", Got::Close(Some(1000), String::new()));
    close(4999, "tschüß".as_bytes(), Got::Close(Some(4999), "tschüß".to_owned()));
    close(1000, &[b'x'; 123], Got::Close(Some(1000), "x".repeat(123)));
    close(1000, &[b'x'; 124], PROTOCOL);
    close(1000, b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80", PAYLOAD);
    close(1000, b"\xc3", PAYLOAD);
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535] {
        close(code, b"", PROTOCOL);
    }
    check(&[(FIN | 8, b"\x03")], &[PROTOCOL]);
    check(&[(FIN | 8, b""), (FIN | 8, b"")], &[Got::Close(None, String::new())]);
}

#[test]
fn text_is_utf8() {
    let kosme = "κόσμε😀".as_bytes();
    for cut in 0..kosme.len() {
        check(&[(1, &kosme[..cut]), (FIN, &kosme[cut..])], &[text("κόσμε😀")]);
        // A character that the last fragment leaves unfinished.
        if std::str::from_utf8(&kosme[..cut]).is_err() {
            check(&[(FIN | 1, &kosme[..cut])], &[PAYLOAD]);
            check(&[(1, &kosme[..cut]), (FIN, b"")], &[PAYLOAD]);
        }
    }
    for bad in [&b"\xff"[..], b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\x80", b"\xf0\x28\x8c\x28"] {
        check(&[(FIN | 1, bad)], &[PAYLOAD]);
        check(&[(FIN | 2, bad)], &[Got::Binary(bad.to_vec())]);
        check(&[(1, b"a"), (0, bad)], &[PAYLOAD]);
    }
    let lenient = Options { validate_utf8: Utf8Rule::Replace, ..OPTIONS };
    check_with(lenient, &stream(&[(1, b"a\xff"), (FIN, b"b\xc3")]), &[text("a\u{FFFD}b\u{FFFD}")]);
    check_with(lenient, &stream(&[(FIN | 8, b"\x03\xe8\xff")]), &[PAYLOAD]);
}

/// The peer is told at the octet that cannot be healed, not at the end of the message.
#[test]
fn text_fails_fast() {
    let message = stream(&[(1, "κόσμε".as_bytes()), (FIN, b"\xf4\x90\x80\x80edited")]);
    let second = stream(&[(1, "κόσμε".as_bytes())]).len();
    for end in second..message.len() {
        let expect: &[Got] = if end < second + 6 + 2 { &[] } else { &[PAYLOAD] };
        assert_eq!(decode(OPTIONS, &message[..end], std::iter::repeat(1)), expect, "{end}");
    }
    // A frame of which only a part is there, in one read.
    assert_eq!(decode(OPTIONS, &message[..second + 8], []), [PAYLOAD]);
}

#[test]
fn masking_rules() {
    let masked = stream(&[(FIN | 1, b"x")]);
    let plain = frame::text("x");
    let row = |role, mask, octets: &[u8], expect: Got| check_with(Options { role, mask, ..OPTIONS }, octets, &[expect]);
    row(Role::Server, MaskRule::Required, &masked, text("x"));
    row(Role::Server, MaskRule::Required, &plain, PROTOCOL);
    row(Role::Client, MaskRule::Required, &masked, PROTOCOL);
    row(Role::Client, MaskRule::Required, &plain, text("x"));
    for role in [Role::Server, Role::Client] {
        row(role, MaskRule::Optional, &masked, text("x"));
        row(role, MaskRule::Optional, &plain, text("x"));
    }
    // A mask of zero is legal.
    check_with(OPTIONS, &mask_frame(FIN | 1, b"x", [0; 4]), &[text("x")]);
}

#[test]
fn length_rules() {
    for short in [0u16, 1, 125] {
        check_with(OPTIONS, &[&[0x82, 0xFE], &short.to_be_bytes()[..], &[0; 200]].concat(), &[PROTOCOL]);
    }
    for long in [0u64, 126, 65535, 1 << 63, u64::MAX] {
        check_with(OPTIONS, &[&[0x82, 0xFF], &long.to_be_bytes()[..], &[0; 4]].concat(), &[PROTOCOL]);
    }
    // The long forms are never legal in control frames, minimal or not.
    check_with(OPTIONS, &[0x89, 0xFE, 0, 5], &[PROTOCOL]);
}

#[test]
fn limits_are_checked_on_the_announcement() {
    let announce = |first: u8, length: u64| [&[first, 0xFF], &length.to_be_bytes()[..]].concat();
    for length in [70_001, 60 << 20, (1 << 63) - 1] {
        check_with(OPTIONS, &announce(0x82, length), &[TOO_BIG]);
    }
    check_with(OPTIONS, &announce(0x82, 70_000), &[]);
    let part = vec![0; 60_000];
    let begun = stream(&[(2, &part)]);
    check_with(OPTIONS, &[&begun[..], &[0x80, 0xFE], &40_001u16.to_be_bytes()].concat(), &[TOO_BIG]);
    check_with(OPTIONS, &[&begun[..], &[0x80, 0xFE], &40_000u16.to_be_bytes()].concat(), &[]);
    check(&[(2, &part), (FIN, &part[..40_000])], &[Got::Binary(vec![0; 100_000])]);
    let unlimited = Options { frame_bytes_max: usize::MAX, message_bytes_max: usize::MAX, ..OPTIONS };
    check_with(unlimited, &[&announce(0x82, (1 << 63) - 1)[..], &KEY, &[0; 99]].concat(), &[]);
    // Nothing is reserved for what is only announced.
    let mut decoder = Decoder::new(unlimited);
    let mut input = [&announce(0x82, 1 << 40)[..], &KEY, &[0; 99]].concat();
    assert_eq!(decoder.feed(&mut input, &mut Inflater::new(), |_| ControlFlow::Continue(())), Ok(113));
    assert!(decoder.message.unwrap().data.capacity() < 1024);
}

#[test]
fn fragments_are_counted() {
    let row = |further: u32, expect: Got| {
        let mut octets = stream(&[(1, b"a")]);
        for _ in 0..further {
            octets.extend_from_slice(&[0x00, 0x80, 0, 0, 0, 0]);
        }
        octets.extend(stream(&[(FIN, b"b")]));
        assert_eq!(decode(OPTIONS, &octets, []), [expect]);
    };
    row(FRAGMENTS_MAX - 2, text("ab"));
    row(FRAGMENTS_MAX - 1, TOO_BIG);
}

#[test]
fn compressed_messages_have_the_same_limit() {
    let small = Options { message_bytes_max: 1000, ..OPTIONS };
    let row = |length, expect: Got| {
        check_with(small, &stream(&[(FIN | RSV1 | 2, &deflated(&vec![7; length]))]), &[expect]);
    };
    row(1000, Got::Binary(vec![7; 1000]));
    row(1001, TOO_BIG);
    row(1 << 22, TOO_BIG);
    // Octets above 143 cost nine bits each in the fixed code: a message within the limit may travel in a longer form.
    let stored = [&[0x00, 0xE8, 0x03, 0x17, 0xFC][..], &[0xEE; 1000], &[0x00]].concat();
    check_with(small, &stream(&[(FIN | RSV1 | 2, &stored)]), &[Got::Binary(vec![0xEE; 1000])]);
    check_with(small, &stream(&[(FIN | RSV1 | 2, &vec![0; 1190])]), &[TOO_BIG]);
}

#[test]
fn break_leaves_the_rest_untouched() {
    let octets = stream(&[(FIN | 1, b"one"), (FIN | 1, b"two")]);
    let mut input = octets.clone();
    let (mut decoder, mut inflater, mut got) = (Decoder::new(OPTIONS), Inflater::new(), Vec::new());
    let mut pause = |event: Event<'_>| {
        got.push(Got::from(event));
        ControlFlow::Break(())
    };
    let used = decoder.feed(&mut input, &mut inflater, &mut pause).unwrap();
    assert_eq!(used, 9);
    assert_eq!(input[used..], octets[used..]);
    assert_eq!(decoder.feed(&mut input[used..], &mut inflater, &mut pause), Ok(9));
    assert_eq!(got, [text("one"), text("two")]);
}

#[test]
fn whole_frame_is_handed_out_in_place() {
    let mut input = stream(&[(FIN | 2, &[5; 300])]);
    let range = input.as_ptr_range();
    let mut decoder = Decoder::new(OPTIONS);
    // The header in one read and the payload in the next is still the same case.
    let (header, payload) = input.split_at_mut(8);
    let mut inflater = Inflater::new();
    decoder.feed(header, &mut inflater, |_| panic!("no payload yet")).unwrap();
    let mut seen = false;
    let on = |event: Event<'_>| {
        let Event::Binary(data) = event else { panic!("{event:?}") };
        seen = range.contains(&data.as_ptr());
        ControlFlow::Continue(())
    };
    decoder.feed(payload, &mut inflater, on).unwrap();
    assert!(seen);
}

#[test]
fn long_messages_are_skipped() {
    let mut decoder = Decoder::new(OPTIONS).with_long_messages_from(4);
    let mut inflater = Inflater::new();
    let messages = [mask_frame(FIN | 1, b"longer", KEY), mask_frame(FIN | RSV1 | 1, &deflated(b"longer"), KEY)];
    for message in messages {
        let mut input = [&message[..], &mask_frame(FIN | 1, b"short", KEY)[..]].concat();
        decoder = decoder.with_long_messages_from(5);
        let used = decoder.feed(&mut input, &mut inflater, |_| panic!("it is long")).unwrap();
        assert!(decoder.is_held_up() && decoder.held_bytes() >= 6);
        assert_eq!(decoder.feed(&mut input[used..], &mut inflater, |_| panic!("it is held up")), Ok(0));
        assert!(decoder.skip_long().is_some() && decoder.skip_long().is_none());
        let mut got = Vec::new();
        let fed = decoder.feed(&mut input[used..], &mut inflater, |event| {
            got.push(Got::from(event));
            ControlFlow::Continue(())
        });
        assert_eq!((fed, got), (Ok(input.len() - used), vec![text("short")]));
        assert!(!decoder.is_held_up() && decoder.take_whole().is_none());
    }
}

#[test]
fn what_is_left_of_long_messages_is_handed_over() {
    let mut inflater = Inflater::new();
    let half = &mask_frame(FIN | 2, &[b'x'; 100], KEY)[..60];
    let broken = [&mask_frame(2, &[b'x'; 100], KEY)[..], &mask_frame(FIN | 2, b"a new one", KEY)].concat();
    for (long_from, has_remains) in [(10, true), (usize::MAX, false)] {
        let fresh = || Decoder::new(OPTIONS).with_long_messages_from(long_from);
        let mut decoder = fresh();
        assert_eq!(decoder.feed(&mut half.to_vec(), &mut inflater, |_| panic!("it is not whole")), Ok(60));
        assert!(decoder.held_bytes() >= 50 && decoder.take_remains().is_none(), "it may still be finished");
        decoder.give_up();
        decoder.give_up();
        assert_eq!((decoder.held_bytes(), decoder.take_remains().is_some()), (0, has_remains));
        assert!(decoder.is_done() && decoder.take_remains().is_none());

        let mut decoder = fresh();
        assert!(decoder.feed(&mut broken.clone(), &mut inflater, |_| panic!("it is not whole")).is_err());
        assert_eq!((decoder.held_bytes(), decoder.take_remains().is_some()), (0, has_remains));
    }
}

#[test]
fn idle_decoder_is_small() {
    assert!(size_of::<Decoder>() <= 128, "{}", size_of::<Decoder>());
    let mut decoder = Decoder::new(OPTIONS);
    let mut input = stream(&[(1, &[b'x'; 5000]), (FIN | 9, b"ping"), (FIN, b"end")]);
    let mut inflater = Inflater::new();
    for part in input.chunks_mut(100) {
        decoder.feed(part, &mut inflater, |_| ControlFlow::Continue(())).unwrap();
    }
    assert!(decoder.message.is_none());
    assert_eq!(decoder.control.capacity(), 0);
}

/// A frame of a stream that is legal most of the time.
fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let payload = prop_oneof![
        4 => proptest::collection::vec(any::<u8>(), 0..200),
        4 => ".{0,60}".prop_map(String::into_bytes),
        1 => Just(vec![b'x'; 66_000]),
    ];
    let first = prop_oneof![
        6 => Just(FIN | 1), 4 => Just(FIN | 2), 3 => Just(1), 1 => Just(2), 5 => Just(FIN), 3 => Just(0),
        3 => Just(FIN | 9), 3 => Just(FIN | 10), 1 => Just(FIN | 8), 4 => Just(FIN | RSV1 | 1), 1 => Just(RSV1 | 2),
        1 => any::<u8>(),
    ];
    (first, payload, any::<[u8; 4]>()).prop_map(|(first, mut payload, key)| {
        if first & 8 != 0 {
            payload.truncate(125);
        }
        let payload = if first & RSV1 != 0 { deflated(&payload) } else { payload };
        mask_frame(first, &payload, key).to_vec()
    })
}

/// A whole legal message: its frames, and what must come out.
fn legal_message() -> impl Strategy<Value = (Vec<u8>, Vec<Got>)> {
    (".{0,200}", any::<bool>(), any::<bool>(), 1..80usize, any::<[u8; 4]>()).prop_map(
        |(message, is_text, is_deflated, step, key)| {
            let opcode = if is_text { 1 } else { 2 };
            let rsv1 = if is_deflated { RSV1 } else { 0 };
            let payload = if is_deflated { deflated(message.as_bytes()) } else { message.clone().into_bytes() };
            let (mut octets, mut got) = (Vec::new(), Vec::new());
            let count = payload.len().div_ceil(step).max(1);
            for index in 0..count {
                let part = payload.chunks(step).nth(index).unwrap_or_default();
                let first = if index == 0 { rsv1 | opcode } else { 0 };
                let fin = if index + 1 == count { FIN } else { 0 };
                octets.extend_from_slice(&mask_frame(fin | first, part, key));
                if fin == 0 {
                    octets.extend_from_slice(&mask_frame(FIN | 9, &key, key));
                    got.push(Got::Ping(key.to_vec()));
                }
            }
            got.push(if is_text { Got::Text(message) } else { Got::Binary(message.into_bytes()) });
            (octets, got)
        },
    )
}

proptest! {
    #[test]
    fn any_cut_tells_the_same(
        frames in proptest::collection::vec(any_frame(), 0..8),
        sizes in proptest::collection::vec(1..40usize, 0..300),
    ) {
        let octets = frames.concat();
        prop_assert_eq!(decode(OPTIONS, &octets, sizes), decode(OPTIONS, &octets, []));
    }

    /// However a message comes to whoever wants it, it is the same.
    #[test]
    fn long_messages_tell_the_same(
        frames in proptest::collection::vec(any_frame(), 0..8),
        sizes in proptest::collection::vec(1..400usize, 0..300),
        long_from in prop_oneof![0..100usize, Just(10_000)],
        is_strict in any::<bool>(),
    ) {
        let octets = frames.concat();
        let validate_utf8 = if is_strict { Utf8Rule::Strict } else { Utf8Rule::Replace };
        let options = Options { validate_utf8, ..OPTIONS };
        prop_assert_eq!(decode_long(options, &octets, sizes, long_from), decode(options, &octets, []));
    }

    #[test]
    fn legal_streams_come_out_whole(
        messages in proptest::collection::vec(legal_message(), 0..6),
        sizes in proptest::collection::vec(1..60usize, 0..100),
    ) {
        let octets = messages.iter().flat_map(|(octets, _)| octets.clone()).collect::<Vec<_>>();
        let expect = messages.into_iter().flat_map(|(_, got)| got).collect::<Vec<_>>();
        prop_assert_eq!(decode(OPTIONS, &octets, sizes), expect);
    }

    #[test]
    fn arbitrary_octets_never_panic(
        octets in proptest::collection::vec(any::<u8>(), 0..300),
        sizes in proptest::collection::vec(1..20usize, 0..50),
    ) {
        let lenient = Options { mask: MaskRule::Optional, validate_utf8: Utf8Rule::Replace, ..OPTIONS };
        decode(OPTIONS, &octets, sizes.clone());
        prop_assert_eq!(decode(lenient, &octets, sizes), decode(lenient, &octets, []));
    }

    #[test]
    fn compression_round_trip(
        message in proptest::collection::vec(any::<u8>(), 0..3000),
        times in 1..40usize,
        small in any::<bool>(),
    ) {
        let message = message.repeat(times);
        let window = if small { Window::Bits9 } else { Window::Bits15 };
        let (mut out, mut plain) = (Vec::new(), Vec::new());
        Deflater::new().compress(window, &message, &mut out).unwrap();
        Inflater::new().inflate(&out, message.len(), &mut plain).unwrap();
        prop_assert!(plain == message);
    }
}
