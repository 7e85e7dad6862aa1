//! Compression: what goes in comes out, and what a stranger sends grows no further than it may.
//!
//! The first octet chooses level and window, the rest is both a message to compress and a stream to inflate.

use std::ops::ControlFlow;

use stentor_websocket::decoder::{Decoder, MaskRule, Options, Role, Utf8Rule};
use stentor_websocket::deflate::{Agreed, Deflater, InflateError, Inflater, Window};
use stentor_websocket::frame::{Draft, Opcode};

use crate::websocket::Said;

pub(crate) fn both_ways(data: &[u8]) {
    let [choice, octets @ ..] = data else { return };
    let window = if choice & 1 == 0 { Window::Bits15 } else { Window::Bits9 };
    let mut deflater = Deflater::with_level(u32::from(choice >> 1 & 15));
    let mut inflater = Inflater::new();
    stranger(octets, &mut inflater);
    round(octets, window, &mut deflater, &mut inflater);
    framed(octets, window, usize::from(choice >> 5), &mut deflater);
}

/// Octets that are hardly ever DEFLATE.
fn stranger(octets: &[u8], inflater: &mut Inflater) {
    for limit in [0, 100, 1 << 20] {
        let mut out = b"before".to_vec();
        let result = inflater.inflate(octets, limit, &mut out);
        assert!(out.starts_with(b"before"));
        let made = out.len() - 6;
        match result {
            Ok(()) => assert!(made <= limit),
            Err(InflateError::TooBig) => assert!(made > limit),
            Err(InflateError::Corrupt) => {}
        }
        assert!(made <= limit.saturating_add(1), "{made} octets within a limit of {limit}");
        let mut again = b"before".to_vec();
        assert_eq!(Inflater::new().inflate(octets, limit, &mut again), result, "nothing stays of what was before");
        assert_eq!(again, out);
    }
}

fn round(message: &[u8], window: Window, deflater: &mut Deflater, inflater: &mut Inflater) {
    let mut compressed = Vec::new();
    let length = deflater.compress(window, message, &mut compressed).expect("both windows can be written");
    assert_eq!(length, compressed.len());
    let mut out = Vec::new();
    assert_eq!(inflater.inflate(&compressed, message.len(), &mut out), Ok(()));
    assert_eq!(out, message);
    if let Some(too_few) = message.len().checked_sub(1) {
        assert_eq!(inflater.inflate(&compressed, too_few, &mut Vec::new()), Err(InflateError::TooBig));
    }
}

fn framed(message: &[u8], window: Window, fragment_bytes: usize, deflater: &mut Deflater) {
    let draft = Draft::deflated(message, window, deflater).expect("both windows can be written");
    let mut frames = draft.finish_fragmented(Opcode::Binary, fragment_bytes).to_vec();
    let mut decoder = Decoder::new(Options {
        role: Role::Client,
        frame_bytes_max: usize::MAX,
        message_bytes_max: message.len(),
        compression: Some(Agreed { server_window: window }),
        mask: MaskRule::Required,
        validate_utf8: Utf8Rule::Strict,
    });
    let mut said = Vec::new();
    let used = decoder.feed(&mut frames, &mut Inflater::new(), |event| {
        said.push(Said::from(event));
        ControlFlow::Continue(())
    });
    assert_eq!(used, Ok(frames.len()));
    assert_eq!(said, [Said::Binary(message.to_vec())]);
}
