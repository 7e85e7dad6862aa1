//! The part of a file that a request asks for (RFC 9110 section 14).
//!
//! One range is served. A list of ranges may be answered with the whole, and is: overlapping ranges are a known way to have
//! a server send far more than it has.

use std::ops::Range;

use hyper::HeaderMap;
use hyper::header::{self, HeaderValue};

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// Everything.
    Whole,
    /// These octets.
    Part(Range<u64>),
    /// What is not there.
    Beyond,
}

/// Reads `Range` for a file of `length` octets; `stamp` is its `Last-Modified`.
pub(super) fn asked(headers: &HeaderMap, stamp: Option<&HeaderValue>, length: u64) -> Asked {
    let text = headers.get(header::RANGE).and_then(|value| value.to_str().ok());
    // A part is of use only to somebody who has the rest of the same file.
    let same = headers.get(header::IF_RANGE).is_none_or(|value| Some(value) == stamp);
    match text.and_then(|text| text.strip_prefix("bytes=")) {
        Some(text) if same => one(text, length).unwrap_or(Asked::Whole),
        _ => Asked::Whole,
    }
}

/// `first-last`, `first-` or `-count`; nothing for what cannot be understood, which is to be ignored.
fn one(text: &str, length: u64) -> Option<Asked> {
    let (first, last) = text.trim().split_once('-')?;
    let number = |text: &str| text.bytes().all(|octet| octet.is_ascii_digit()).then(|| text.parse().ok())?;
    let part = match (number(first), number(last)) {
        (None, Some(count)) if first.is_empty() => length.saturating_sub(count)..length,
        (Some(first), None) if last.is_empty() => first..length,
        (Some(first), Some(last)) if first <= last => first..last.saturating_add(1).min(length),
        _ => return None,
    };
    Some(if part.is_empty() { Asked::Beyond } else { Asked::Part(part) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        let stamp = HeaderValue::from_static("Sun, 06 Nov 1994 08:49:37 GMT");
        let check = |range: &'static str, if_range: Option<&'static str>, expected: Asked| {
            let mut headers = HeaderMap::new();
            headers.insert(header::RANGE, HeaderValue::from_static(range));
            if let Some(value) = if_range {
                headers.insert(header::IF_RANGE, HeaderValue::from_static(value));
            }
            assert_eq!(asked(&headers, Some(&stamp), 100), expected, "{range}");
        };
        for (range, expected) in [
            ("bytes=0-0", Asked::Part(0..1)),
            ("bytes=10-19", Asked::Part(10..20)),
            ("bytes=10-", Asked::Part(10..100)),
            ("bytes=99-1000", Asked::Part(99..100)),
            ("bytes=0-18446744073709551615", Asked::Part(0..100)),
            ("bytes=-1", Asked::Part(99..100)),
            ("bytes=-1000", Asked::Part(0..100)),
            ("bytes=100-", Asked::Beyond),
            ("bytes=200-300", Asked::Beyond),
            ("bytes=-0", Asked::Beyond),
            ("bytes=2-1", Asked::Whole),
            ("bytes=0-1,5-6", Asked::Whole),
            ("bytes=+1-2", Asked::Whole),
            ("bytes=-", Asked::Whole),
            ("bytes=99999999999999999999-", Asked::Whole),
            ("octets=0-1", Asked::Whole),
        ] {
            check(range, None, expected);
        }
        check("bytes=0-0", Some("Sun, 06 Nov 1994 08:49:37 GMT"), Asked::Part(0..1));
        check("bytes=0-0", Some("Sun, 06 Nov 1994 08:49:38 GMT"), Asked::Whole);
    }
}
