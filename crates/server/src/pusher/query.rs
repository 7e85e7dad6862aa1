//! The query fields of a request: `key`, `timestamp`, `seq`, `nonce`, `signature`, as octets and as values.
//!
//! The octets after percent-decoding are what is signed, so that they are kept as they came; the values are only looked
//! at. Nothing here knows which fields are mandatory.

use std::borrow::Cow;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::Offset;

/// The five fields, percent-decoded. Of a repeated field the first counts; a blank field is there, and blank.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Fields<'a> {
    pub(super) key: Option<Cow<'a, [u8]>>,
    pub(super) timestamp: Option<Cow<'a, [u8]>>,
    pub(super) seq: Option<Cow<'a, [u8]>>,
    pub(super) nonce: Option<Cow<'a, [u8]>>,
    pub(super) signature: Option<Cow<'a, [u8]>>,
}

impl<'a> Fields<'a> {
    /// Reads the part of a request target behind the question mark.
    pub(super) fn parse(query: &'a str) -> Self {
        let mut fields = Self::default();
        // Only `&` separates, as the URL standard has it: a `;` may be part of a key.
        for pair in query.split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let slot = match &*decode(name) {
                b"key" => &mut fields.key,
                b"timestamp" => &mut fields.timestamp,
                b"seq" => &mut fields.seq,
                b"nonce" => &mut fields.nonce,
                b"signature" => &mut fields.signature,
                _ => continue,
            };
            slot.get_or_insert_with(|| decode(value));
        }
        fields
    }

    /// The four fields that are signed, in their order; an absent one is empty.
    pub(super) fn signed(&self) -> [&[u8]; 4] {
        [&self.key, &self.timestamp, &self.seq, &self.nonce].map(|field| field.as_deref().unwrap_or_default())
    }
}

/// Form decoding: a plus is a blank, `%` and two hexadecimal digits an octet; a `%` without them stands for itself.
fn decode(text: &str) -> Cow<'_, [u8]> {
    let text = text.as_bytes();
    // Most values have nothing to decode and are not copied.
    if !text.iter().any(|octet| matches!(octet, b'%' | b'+')) {
        return Cow::Borrowed(text);
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, after @ ..] = rest {
        rest = after;
        match (first, after) {
            (b'+', _) => out.push(b' '),
            (b'%', [high, low, after @ ..]) => match (digit(*high), digit(*low)) {
                (Some(high), Some(low)) => {
                    out.push(high << 4 | low);
                    rest = after;
                }
                _ => out.push(b'%'),
            },
            (octet, _) => out.push(*octet),
        }
    }
    Cow::Owned(out)
}

fn digit(octet: u8) -> Option<u8> {
    char::from(octet).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

/// An integer of any size as the clients' libraries write it: blanks around, a sign, single underscores between digits.
///
/// Returns its digits without leading zeros, after a minus where it is negative: two spellings of one number are one.
pub(super) fn integer(text: &[u8]) -> Option<Vec<u8>> {
    let text = text.trim_ascii();
    let (minus, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    let mut value = Vec::with_capacity(digits.len() + 1);
    let mut separated = true;
    for octet in digits {
        match octet {
            b'0'..=b'9' => {
                separated = false;
                if *octet != b'0' || !value.is_empty() {
                    value.push(*octet);
                }
            }
            b'_' if !separated => separated = true,
            _ => return None,
        }
    }
    // A trailing underscore, or no digit at all.
    if separated {
        return None;
    }
    if value.is_empty() {
        value.push(b'0');
    } else if minus {
        value.insert(0, b'-');
    }
    Some(value)
}

/// `YYYY-MM-DDTHH:MM:SS`, a fraction of one to nine digits or none, and `Z`: ISO 8601 in UTC.
///
/// Stricter than a general parser, whose other forms (offsets, week dates, leap seconds) no client sends: the fewer
/// texts mean one moment, the fewer ways there are to be misunderstood.
pub(super) fn timestamp(text: &[u8]) -> Option<Timestamp> {
    const SHAPE: &[u8; 19] = b"dddd-dd-ddTdd:dd:dd";
    let (whole, fraction) = text.strip_suffix(b"Z")?.split_at_checked(SHAPE.len())?;
    let fits = |(octet, shape): (&u8, &u8)| if *shape == b'd' { octet.is_ascii_digit() } else { octet == shape };
    if !whole.iter().zip(SHAPE).all(fits) {
        return None;
    }
    let nanosecond = match fraction {
        [] => 0,
        [b'.', digits @ ..] if matches!(digits.len(), 1..=9) && digits.iter().all(u8::is_ascii_digit) => {
            (0..9).fold(0, |sum, place| sum * 10 + digits.get(place).map_or(0, |octet| i32::from(octet - b'0')))
        }
        _ => return None,
    };
    let number =
        |from: usize, to: usize| whole[from..to].iter().fold(0, |sum, octet| sum * 10 + i16::from(octet - b'0'));
    let small = |from: usize| i8::try_from(number(from, from + 2)).expect("two digits are at most 99");
    let civil = DateTime::new(number(0, 4), small(5), small(8), small(11), small(14), small(17), nanosecond).ok()?;
    Offset::UTC.to_timestamp(civil).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_decoded_and_the_first_counts() {
        let fields = Fields::parse("key=a%2Bb&seq=+1&seq=2&nonce=&signature=x%3D%3d&other=1&tim%65stamp=t%zz%4");
        assert_eq!(fields.key.as_deref(), Some(&b"a+b"[..]));
        assert_eq!(fields.seq.as_deref(), Some(&b" 1"[..]));
        assert_eq!(fields.nonce.as_deref(), Some(&b""[..]));
        assert_eq!(fields.signature.as_deref(), Some(&b"x=="[..]));
        assert_eq!(fields.timestamp.as_deref(), Some(&b"t%zz%4"[..]));
        assert_eq!(Fields::parse(""), Fields::default());
        assert_eq!(Fields::parse("key").key.as_deref(), Some(&b""[..]));
        assert_eq!(Fields::parse("key=a=b").key.as_deref(), Some(&b"a=b"[..]));
    }

    #[test]
    fn integers_as_python_reads_them() {
        for (text, expect) in [
            ("1", Some("1")),
            ("01", Some("1")),
            ("+1", Some("1")),
            (" 1\t", Some("1")),
            ("1_000", Some("1000")),
            ("-7", Some("-7")),
            ("-0", Some("0")),
            ("000", Some("0")),
            ("123456789012345678901234567890", Some("123456789012345678901234567890")),
            ("", None),
            (" ", None),
            ("+", None),
            ("1__0", None),
            ("_1", None),
            ("1_", None),
            ("1.0", None),
            ("0x1", None),
            ("1 2", None),
            ("- 1", None),
        ] {
            assert_eq!(integer(text.as_bytes()).as_deref(), expect.map(str::as_bytes), "{text:?}");
        }
    }

    #[test]
    fn timestamps_with_and_without_fraction() {
        for (text, expect) in [
            ("2011-10-14T16:59:51.123Z", Some(1_318_611_591_123_000_000)),
            ("2011-10-14T16:59:51.123456Z", Some(1_318_611_591_123_456_000)),
            ("2011-10-14T16:59:51.123456789Z", Some(1_318_611_591_123_456_789)),
            ("2011-10-14T16:59:51.5Z", Some(1_318_611_591_500_000_000)),
            ("2011-10-14T16:59:51Z", Some(1_318_611_591_000_000_000)),
            ("2024-02-29T00:00:00Z", Some(1_709_164_800_000_000_000)),
            ("2023-02-29T00:00:00Z", None),
            ("2011-10-14T16:59:51.Z", None),
            ("2011-10-14T16:59:51.1234567890Z", None),
            ("2011-10-14T16:59:51+00:00", None),
            ("2011-10-14T16:59:51.123", None),
            ("2011-10-14 16:59:51Z", None),
            ("2011-10-14T24:00:00Z", None),
            ("2011-10-14T16:59:60Z", None),
            ("2011-13-14T16:59:51Z", None),
            ("-011-10-14T16:59:51Z", None),
            ("9999-12-31T23:59:59Z", None),
            ("\u{e9}011-10-14T16:59:5Z", None),
            ("Z", None),
            ("", None),
            ("xx", None),
        ] {
            assert_eq!(timestamp(text.as_bytes()).map(Timestamp::as_nanosecond), expect, "{text}");
        }
    }
}
