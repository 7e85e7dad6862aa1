//! The decoder of WebSocket frames: however the network cuts the octets, the same is said.
//!
//! The first two octets choose the rules and the cuts, the rest is what a peer sends.

use std::ops::ControlFlow;

use stentor_websocket::close::CloseCode;
use stentor_websocket::decoder::{Decoder, Event, MaskRule, Options, Role, Utf8Rule, Violation, WholeSort};
use stentor_websocket::deflate::{Agreed, Inflater, Window};

/// What a peer said, with octets of its own.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Said {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<CloseCode>, String),
    Violation(Violation),
}

impl From<Event<'_>> for Said {
    fn from(event: Event<'_>) -> Self {
        match event {
            Event::Text(text) => Self::Text(text.to_owned()),
            Event::Binary(octets) => Self::Binary(octets.to_vec()),
            Event::Ping(octets) => Self::Ping(octets.to_vec()),
            Event::Pong(octets) => Self::Pong(octets.to_vec()),
            Event::Close(code, reason) => Self::Close(code, reason.to_owned()),
        }
    }
}

/// How long a payload of a control frame may be (RFC 6455 section 5.5).
const CONTROL_BYTES_MAX: usize = 125;

/// Limits on frames and messages; small ones are hit by small inputs.
const LIMITS: [(usize, usize); 4] = [(usize::MAX, usize::MAX), (4096, 1 << 20), (64, 200), (0, 0)];

pub(crate) fn decoder(data: &[u8]) {
    let [rules, cuts, input @ ..] = data else { return };
    let options = options(*rules);
    let whole = read(options, input, std::iter::once(input.len()), false);
    within_limits(&options, &whole);
    let single = std::iter::repeat_n(1, input.len());
    assert_eq!(read(options, input, single, false), whole, "octet by octet");
    assert_eq!(read(options, input, lengths(*cuts), false), whole, "cut anyhow");
    assert_eq!(read(options, input, lengths(*cuts), true), whole, "one event at a time");
    let long_from = usize::from(*cuts) * 4;
    let long = read_long(options, input, lengths(*cuts), long_from);
    assert_eq!(
        without_reasons(&options, long),
        without_reasons(&options, whole),
        "long messages taken from {long_from}"
    );
}

fn options(rules: u8) -> Options {
    let (frame_bytes_max, message_bytes_max) = LIMITS[usize::from(rules >> 4) % LIMITS.len()];
    Options {
        role: if rules & 1 == 0 { Role::Server } else { Role::Client },
        frame_bytes_max,
        message_bytes_max: message_bytes_max.min(1 << 22),
        compression: (rules & 2 != 0).then_some(Agreed { server_window: Window::Bits15 }),
        mask: if rules & 4 == 0 { MaskRule::Required } else { MaskRule::Optional },
        validate_utf8: if rules & 8 == 0 { Utf8Rule::Strict } else { Utf8Rule::Replace },
    }
}

/// Endless lengths of parts, most of them short; the same ones for the same seed.
fn lengths(seed: u8) -> impl Iterator<Item = usize> {
    let mut state = u32::from(seed) * 2 + 1;
    std::iter::repeat_with(move || {
        state = state.wrapping_mul(1_103_515_245).wrapping_add(12_345);
        (state >> 16) as usize % if state & 0x1000 == 0 { 5 } else { 40 }
    })
}

/// Feeds the input in parts of these lengths, as a session does: what was not consumed comes again in front.
fn read(options: Options, input: &[u8], lengths: impl Iterator<Item = usize>, one_by_one: bool) -> Vec<Said> {
    let mut decoder = Decoder::new(options);
    let mut inflater = Inflater::new();
    let mut said = Vec::new();
    let mut rest = input;
    for length in lengths {
        let (part, behind) = rest.split_at(length.min(rest.len()));
        rest = behind;
        let mut part = part.to_vec();
        let mut at = 0;
        loop {
            let before = said.len();
            let untouched = part[at..].to_vec();
            let fed = decoder.feed(&mut part[at..], &mut inflater, |event| {
                said.push(Said::from(event));
                if one_by_one { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
            match fed {
                Ok(used) => {
                    assert_eq!(part[at + used..], untouched[used..], "what is not consumed is not changed");
                    at += used;
                }
                Err(violation) => said.push(Said::Violation(violation)),
            }
            if decoder.is_done() {
                assert_eq!(decoder.feed(&mut part, &mut inflater, |_| unreachable!("all is said")), Ok(0));
                return said;
            }
            if at == part.len() && (!one_by_one || said.len() == before) {
                break;
            }
            assert!(said.len() > before, "all is consumed unless somebody breaks");
        }
        if rest.is_empty() {
            break;
        }
    }
    said
}

/// What is broken in two ways may be refused for either: pieces show another order than the whole. So a compressed
/// message may be too long and not what a compressor writes.
fn without_reasons(options: &Options, mut said: Vec<Said>) -> Vec<Said> {
    if let Some(Said::Violation(violation)) = said.last_mut() {
        violation.reason = "";
        if options.compression.is_some() && violation.code == CloseCode::INVALID_PAYLOAD {
            violation.code = CloseCode::MESSAGE_TOO_BIG;
        }
    }
    said
}

/// The same where messages above a length are taken by their owner.
fn read_long(options: Options, input: &[u8], mut lengths: impl Iterator<Item = usize>, long_from: usize) -> Vec<Said> {
    let mut decoder = Decoder::new(options).with_long_messages_from(long_from);
    let (mut inflater, mut said, mut rest) = (Inflater::new(), Vec::new(), input.to_vec());
    while !decoder.is_done() && (!rest.is_empty() || decoder.is_held_up()) {
        let length = lengths.next().unwrap_or(usize::MAX).min(rest.len());
        let fed = decoder.feed(&mut rest[..length], &mut inflater, |event| {
            said.push(Said::from(event));
            ControlFlow::Continue(())
        });
        match fed {
            Ok(used) => drop(rest.drain(..used)),
            Err(violation) => said.push(Said::Violation(violation)),
        }
        while decoder.is_inflating() {
            if let Err(violation) = decoder.inflate_on() {
                said.push(Said::Violation(violation));
            }
        }
        if let Some(mut whole) = decoder.take_whole() {
            assert!(whole.octets.len() > long_from && whole.octets.len() <= options.message_bytes_max);
            whole.tidy();
            said.push(match whole.sort {
                WholeSort::Binary => Said::Binary(whole.octets),
                _ => Said::Text(String::from_utf8(whole.octets).expect("it is tidy")),
            });
        }
    }
    said
}

fn within_limits(options: &Options, said: &[Said]) {
    // Each broken octet may become U+FFFD, which has three.
    let text_bytes_max = match options.validate_utf8 {
        Utf8Rule::Strict => options.message_bytes_max,
        Utf8Rule::Replace => options.message_bytes_max * 3,
    };
    for (place, said_here) in said.iter().enumerate() {
        match said_here {
            Said::Text(text) => assert!(text.len() <= text_bytes_max),
            Said::Binary(octets) => assert!(octets.len() <= options.message_bytes_max),
            Said::Ping(octets) | Said::Pong(octets) => assert!(octets.len() <= CONTROL_BYTES_MAX),
            Said::Close(code, reason) => {
                assert!(reason.len() <= CONTROL_BYTES_MAX - 2);
                assert!(code.is_none_or(CloseCode::may_travel));
                assert_eq!(place + 1, said.len(), "nothing comes after a Close");
            }
            Said::Violation(violation) => {
                let codes = [CloseCode::PROTOCOL_ERROR, CloseCode::INVALID_PAYLOAD, CloseCode::MESSAGE_TOO_BIG];
                assert!(codes.contains(&violation.code) && !violation.reason.is_empty());
                assert_eq!(place + 1, said.len(), "nothing comes after a violation");
            }
        }
    }
}
