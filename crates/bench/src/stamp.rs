//! The stamp that every publication carries: who sent it, its number, and when.
//!
//! It is sixteen letters of the alphabet that no serializer escapes, so it is found in JSON, MessagePack, CBOR and plain
//! text alike, by its first letter, without parsing anything. Sixteen because the smallest payload measured has that size.

/// Letters of a stamp.
pub const LENGTH: usize = 16;

/// Connections that publish at most: one letter.
pub const SOURCES_MAX: usize = 64;

/// What a stamp begins with. It does not occur in topics or in the frame of a JSON event.
const MARK: u8 = b'~';

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The value of each letter, 255 for what is none.
const VALUES: [u8; 256] = {
    let mut values = [u8::MAX; 256];
    let mut at = 0;
    while at < 64 {
        values[ALPHABET[at] as usize] = at as u8;
        at += 1;
    }
    values
};

/// Letters of the number: 2^30 publications for each source.
const SEQUENCE: usize = 5;

/// Letters of the time: 2^54 nanoseconds are 208 days of running.
const TIME: usize = 9;

const TIME_MASK: u64 = (1 << (6 * TIME)) - 1;

/// What a publication says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The connection that published it, below [`SOURCES_MAX`].
    pub source: u8,
    /// Counted from 1 for each source.
    pub sequence: u32,
    /// [`clock::now`](crate::clock::now) when the POST began.
    pub time: u64,
}

impl Stamp {
    /// Writes the stamp over the first sixteen octets.
    ///
    /// # Panics
    /// When there is less room.
    pub fn write(self, out: &mut [u8]) {
        out[0] = MARK;
        put(u64::from(self.source), &mut out[1..2]);
        put(u64::from(self.sequence), &mut out[2..2 + SEQUENCE]);
        put(self.time, &mut out[2 + SEQUENCE..LENGTH]);
    }

    /// The stamp somewhere in a message. `hint` is its distance from the end in the message before, which is nearly
    /// always the distance in this one too.
    #[must_use]
    pub fn find(message: &[u8], hint: &mut usize) -> Option<Self> {
        let guess = message.len().wrapping_sub(*hint);
        if let Some(stamp) = message.get(guess..).and_then(Self::read) {
            return Some(stamp);
        }
        let mut from = 0;
        while let Some(found) = message[from..].iter().position(|&byte| byte == MARK) {
            let at = from + found;
            if let Some(stamp) = Self::read(&message[at..]) {
                *hint = message.len() - at;
                return Some(stamp);
            }
            // A binary serializer may have this octet anywhere.
            from = at + 1;
        }
        None
    }

    fn read(text: &[u8]) -> Option<Self> {
        let text = text.first_chunk::<LENGTH>()?;
        if text[0] != MARK {
            return None;
        }
        let source = take(&text[1..2])?;
        let sequence = take(&text[2..2 + SEQUENCE])?;
        let time = take(&text[2 + SEQUENCE..])?;
        Some(Self { source: u8::try_from(source).ok()?, sequence: u32::try_from(sequence).ok()?, time })
    }

    /// Nanoseconds from the stamp to `now`.
    #[must_use]
    pub const fn age(self, now: u64) -> u64 {
        (now & TIME_MASK).wrapping_sub(self.time) & TIME_MASK
    }
}

fn put(mut value: u64, out: &mut [u8]) {
    for letter in out.iter_mut().rev() {
        *letter = ALPHABET[(value & 63) as usize];
        value >>= 6;
    }
}

fn take(text: &[u8]) -> Option<u64> {
    let mut value = 0;
    for &letter in text {
        let digit = VALUES[usize::from(letter)];
        if digit == u8::MAX {
            return None;
        }
        value = value << 6 | u64::from(digit);
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(stamp: Stamp, before: &[u8], after: &[u8]) {
        let mut text = [0; LENGTH];
        stamp.write(&mut text);
        let message = [before, &text, after].concat();
        for mut hint in [0, 5, LENGTH + after.len(), usize::MAX] {
            assert_eq!(Stamp::find(&message, &mut hint), Some(stamp));
            assert_eq!(hint, LENGTH + after.len());
        }
    }

    #[test]
    fn stamps_are_found() {
        let stamp = Stamp { source: 63, sequence: (1 << 30) - 1, time: TIME_MASK };
        check(stamp, b"[36,1,2,{},[\"", b"xxxx\"]]");
        check(stamp, b"", b"");
        check(Stamp { source: 0, sequence: 1, time: 0 }, b"~~\x7e\x00~AAAAAAAAAAAAAA.", b"~");
    }

    #[test]
    fn what_is_no_stamp_is_not_found() {
        for message in [&b""[..], b"~", b"~AAAAAAAAAAAAAA", b"~AAAAAAAAAAAAA\"A", b"[36,1,2,{},[\"hello\"]]"] {
            assert_eq!(Stamp::find(message, &mut 16), None);
        }
    }

    #[test]
    fn age_survives_the_wrap() {
        let stamp = Stamp { source: 0, sequence: 1, time: TIME_MASK - 9 };
        assert_eq!(stamp.age((TIME_MASK + 1) * 7 + 5), 15);
    }
}
