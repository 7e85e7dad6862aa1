//! Batched transports: several messages in one WebSocket message (WAMP, section "Batched WebSocket Transport").
//!
//! Binary messages each come behind their length in 32 bits, network byte order. JSON messages are each followed by a
//! separator. The specification writes it as a number that some implementations took for octal, so there are two of them
//! in the world. Neither can stand inside valid JSON, so both are accepted; the peer's choice is worth remembering for
//! what it is sent.

use std::fmt;
use std::ops::Range;

use super::Serializer;

/// What follows each JSON message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Separator {
    /// 0x1E, as the specification means it.
    #[default]
    RecordSeparator,
    /// 0x18, as Autobahn and Crossbar read it.
    Cancel,
}

impl Separator {
    /// The octet.
    #[must_use]
    pub const fn octet(self) -> u8 {
        match self {
            Self::RecordSeparator => 0x1e,
            Self::Cancel => 0x18,
        }
    }

    const fn from_octet(octet: u8) -> Option<Self> {
        match octet {
            0x1e => Some(Self::RecordSeparator),
            0x18 => Some(Self::Cancel),
            _ => None,
        }
    }
}

/// Why octets are not a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchError {
    /// No messages at all.
    Empty,
    /// A message of no octets, the one with this index.
    EmptyMessage(usize),
    /// The last message is cut short or lacks its separator.
    Unfinished,
}

impl fmt::Display for BatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("a batch must hold at least one message"),
            Self::EmptyMessage(index) => write!(f, "message {index} of the batch is empty"),
            Self::Unfinished => f.write_str("the last message of the batch is not complete"),
        }
    }
}

impl std::error::Error for BatchError {}

/// How much of a batch is carried out in one turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// So many messages.
    pub messages: usize,
    /// So many octets; a message that is longer is a turn of its own.
    pub bytes: usize,
}

/// A batch whose framing is sound, cut into turns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turns {
    /// What the peer separates JSON messages with.
    pub separator: Separator,
    /// Where the messages of each turn stand, framing included: for [`messages`].
    pub turns: Vec<Range<usize>>,
}

/// The messages of one batch, in order.
#[derive(Clone, Debug)]
pub struct Batch<'a> {
    serializer: Serializer,
    rest: &'a [u8],
    separator: Separator,
}

impl<'a> Batch<'a> {
    /// What the peer separates JSON messages with.
    #[must_use]
    pub const fn separator(&self) -> Separator {
        self.separator
    }

    /// The octets of what has not been handed out, framing included.
    #[must_use]
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

/// Takes a batch apart and says how much of it is one turn's work.
///
/// # Errors
/// When the octets are not a batch of at least one message.
pub fn turns(serializer: Serializer, octets: &[u8], budget: Budget) -> Result<Turns, BatchError> {
    let mut batch = split(serializer, octets)?;
    let (mut turns, mut turn, mut count) = (Vec::new(), 0..0, 0);
    while batch.next().is_some() {
        let end = octets.len() - batch.rest.len();
        if count == budget.messages || (count > 0 && end - turn.start > budget.bytes) {
            let next = turn.end;
            turns.push(std::mem::replace(&mut turn, next..next));
            count = 0;
        }
        turn.end = end;
        count += 1;
    }
    turns.push(turn);
    Ok(Turns { separator: batch.separator, turns })
}

/// The messages of one of the [`Turns`].
#[must_use]
pub fn messages(serializer: Serializer, turn: &[u8]) -> Batch<'_> {
    Batch { serializer, rest: turn, separator: Separator::default() }
}

/// Takes a batch apart. The framing is checked whole before the first message is handed out.
///
/// # Errors
/// When the octets are not a batch of at least one message.
pub fn split(serializer: Serializer, octets: &[u8]) -> Result<Batch<'_>, BatchError> {
    let last = *octets.last().ok_or(BatchError::Empty)?;
    let separator = match serializer {
        Serializer::Json => Separator::from_octet(last).ok_or(BatchError::Unfinished)?,
        Serializer::Msgpack | Serializer::Cbor => Separator::default(),
    };
    let mut rest = octets;
    let mut index = 0;
    while !rest.is_empty() {
        let (message, behind) = first(serializer, rest).ok_or(BatchError::Unfinished)?;
        if message.is_empty() {
            return Err(BatchError::EmptyMessage(index));
        }
        rest = behind;
        index += 1;
    }
    Ok(Batch { serializer, rest: octets, separator })
}

/// Where the first separator stands. All of a run is compared at once, which is what makes long messages fast.
fn separator_at(octets: &[u8]) -> Option<usize> {
    let is_one = |octet: u8| octet == Separator::RecordSeparator.octet() || octet == Separator::Cancel.octet();
    let mut at = 0;
    while let Some(run) = octets[at..].first_chunk::<32>()
        && !run.iter().fold(false, |any, octet| any | is_one(*octet))
    {
        at += run.len();
    }
    octets[at..].iter().position(|octet| is_one(*octet)).map(|place| at + place)
}

/// The first message, and what stands behind it.
fn first(serializer: Serializer, octets: &[u8]) -> Option<(&[u8], &[u8])> {
    match serializer {
        Serializer::Json => {
            let end = separator_at(octets)?;
            Some((&octets[..end], &octets[end + 1..]))
        }
        Serializer::Msgpack | Serializer::Cbor => {
            let (len, behind) = octets.split_first_chunk::<4>()?;
            behind.split_at_checked(usize::try_from(u32::from_be_bytes(*len)).ok()?)
        }
    }
}

impl<'a> Iterator for Batch<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (message, behind) = first(self.serializer, self.rest)?;
        self.rest = behind;
        Some(message)
    }
}

/// Where a message of a batch begins.
#[derive(Debug)]
#[must_use = "a message begun has to be finished"]
pub struct Begun(usize);

/// Makes ready for one message, which is then to be appended to `out`.
pub fn begin(serializer: Serializer, out: &mut Vec<u8>) -> Begun {
    let start = out.len();
    match serializer {
        Serializer::Json => {}
        Serializer::Msgpack | Serializer::Cbor => out.extend_from_slice(&[0; 4]),
    }
    Begun(start)
}

/// Ends the message begun at `begun`. The separator matters in JSON only.
///
/// # Panics
/// When the message is longer than 4 GiB, which no transport here carries.
pub fn finish(serializer: Serializer, begun: Begun, separator: Separator, out: &mut Vec<u8>) {
    match serializer {
        Serializer::Json => out.push(separator.octet()),
        Serializer::Msgpack | Serializer::Cbor => {
            let (head, message) = out[begun.0..].split_at_mut(4);
            let len = u32::try_from(message.len()).expect("transports limit messages far below 4 GiB");
            head.copy_from_slice(&len.to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(serializer: Serializer, octets: &[u8], expect: Result<&[&[u8]], BatchError>) {
        let found = split(serializer, octets).map(Iterator::collect::<Vec<_>>);
        assert_eq!(found, expect.map(<[_]>::to_vec));
    }

    #[test]
    fn json_with_either_separator() {
        check(Serializer::Json, b"[1]\x1e[2]\x1e", Ok(&[b"[1]", b"[2]"]));
        check(Serializer::Json, b"[1]\x18", Ok(&[b"[1]"]));
        check(Serializer::Json, b"", Err(BatchError::Empty));
        check(Serializer::Json, b"[1]", Err(BatchError::Unfinished));
        check(Serializer::Json, b"[1]\x1e[2]", Err(BatchError::Unfinished));
        check(Serializer::Json, b"[1]\x1e\x1e", Err(BatchError::EmptyMessage(1)));
        check(Serializer::Json, b"\x18", Err(BatchError::EmptyMessage(0)));
        let separator = |octets| split(Serializer::Json, octets).map(|batch| batch.separator());
        assert_eq!(separator(b"[1]\x1e"), Ok(Separator::RecordSeparator));
        assert_eq!(separator(b"[1]\x18"), Ok(Separator::Cancel));
    }

    #[test]
    fn binary_behind_lengths() {
        for serializer in [Serializer::Msgpack, Serializer::Cbor] {
            check(serializer, b"\0\0\0\x01a\0\0\0\x02bc", Ok(&[b"a", b"bc"]));
            check(serializer, b"", Err(BatchError::Empty));
            check(serializer, b"\0\0\0", Err(BatchError::Unfinished));
            check(serializer, b"\0\0\0\x02a", Err(BatchError::Unfinished));
            check(serializer, b"\xff\xff\xff\xffa", Err(BatchError::Unfinished));
            check(serializer, b"\0\0\0\x01a\0\0\0\0", Err(BatchError::EmptyMessage(1)));
        }
    }

    #[test]
    fn turns_are_whole_messages_in_order() {
        let budget = Budget { messages: 3, bytes: 10 };
        // Messages are separated by a dot, turns by a blank.
        for row in ["1.", "1.2.3. 4.", "1234.1234. 1.", "1. 12345678901. 1.", "12345678901. 12345678901."] {
            let octets = row.replace(' ', "").replace('.', "\u{1e}").into_bytes();
            let Turns { turns, .. } = turns(Serializer::Json, &octets, budget).unwrap();
            let found = turns.into_iter().map(|turn| {
                messages(Serializer::Json, &octets[turn]).map(|one| format!("{}.", one.escape_ascii())).collect()
            });
            assert_eq!(found.collect::<Vec<String>>().join(" "), row);
        }
        for serializer in Serializer::ALL {
            assert_eq!(turns(serializer, b"", budget), Err(BatchError::Empty));
        }
        assert_eq!(turns(Serializer::Json, b"1\x1e2", budget), Err(BatchError::Unfinished));
    }

    #[test]
    fn what_is_joined_comes_apart_again() {
        let messages: [&[u8]; 3] = [b"[1]", b"[2,3]", b"[]"];
        for serializer in Serializer::ALL {
            for separator in [Separator::RecordSeparator, Separator::Cancel] {
                let mut out = Vec::new();
                for message in messages {
                    let begun = begin(serializer, &mut out);
                    out.extend_from_slice(message);
                    finish(serializer, begun, separator, &mut out);
                }
                check(serializer, &out, Ok(&messages));
            }
        }
    }
}
