//! Whether a publication is what was written. SQLite's own checks see damage to the structure of the file; an octet that changed
//! within a content it gives back as it is.
//!
//! CRC-32, as in gzip: it misses no damage of up to 32 neighbouring bits, and one in four thousand million of what is larger. It guards
//! against accidents; whoever may write the file may write this as well.

use std::error::Error;
use std::fmt;

use flate2::Crc;
use rusqlite::types::{Type, ValueRef};
use rusqlite::{Result, Row};

/// Where the checksum stands, counted from the first of the columns that it is of.
const COLUMN: usize = 8;

/// A sentence about a row that this program did not write in this way. `fault` passes it on as it is.
#[derive(Debug)]
pub(super) struct Damage(pub(super) String);

impl Damage {
    /// Of the publication at this place.
    pub(super) fn of(offset: u64, topic: &str) -> Self {
        Self(format!("the publication at offset {offset} of {topic} is not the one that was written"))
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Damage {}

impl From<Damage> for rusqlite::Error {
    fn from(damage: Damage) -> Self {
        Self::FromSqlConversionFailure(0, Type::Blob, Box::new(damage))
    }
}

/// The checksum of a row: id, topic, seq, name and at, then the lengths of the content type and the extras, all with eight octets,
/// little endian; then both, and the body. A dead publication keeps all of these, so it keeps the checksum.
pub(super) fn of(numbers: [i64; 5], content_type: &[u8], extras: Option<&[u8]>, body: &[u8]) -> i64 {
    let extras = extras.unwrap_or_default();
    let lengths = [content_type.len() as i64, extras.len() as i64];
    let mut head = [0; 56];
    for (place, number) in head.chunks_exact_mut(8).zip(numbers.iter().chain(&lengths)) {
        place.copy_from_slice(&number.to_le_bytes());
    }
    let mut sum = Crc::new();
    for part in [&head, content_type, extras, body] {
        sum.update(part);
    }
    i64::from(sum.sum())
}

/// Whether the publication in the columns from `at` on has the checksum behind them. One from before there were any has none.
pub(super) fn fits(row: &Row<'_>, at: usize) -> Result<bool> {
    let kept = match row.get_ref(at + COLUMN)? {
        ValueRef::Null => return Ok(true),
        ValueRef::Integer(kept) => kept,
        _ => return Ok(false),
    };
    let mut numbers = [0; 5];
    for (column, number) in (at..).zip(&mut numbers) {
        let ValueRef::Integer(found) = row.get_ref(column)? else { return Ok(false) };
        *number = found;
    }
    let octets = |column| row.get_ref(at + column).map(|value| value.as_bytes_or_null());
    let (Ok(Some(content_type)), Ok(extras), Ok(Some(body))) = (octets(5)?, octets(6)?, octets(7)?) else {
        return Ok(false);
    };
    Ok(kept == of(numbers, content_type, extras, body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_of_a_row_stays_what_it_is() {
        // As Python's zlib.crc32 has it.
        assert_eq!(of([1, 2, 3, 4, 5], b"a/b", Some(b"extras"), b"body"), 0x90c8_5ffa);
        assert_eq!(of([1, 2, 3, 4, -1], b"", None, b""), 0x421c_9429);
    }

    #[test]
    fn every_part_counts() {
        let row = |at: usize, parts: [&'static str; 3]| {
            let mut numbers = [1; 5];
            numbers[at] += 1;
            of(numbers, parts[0].as_bytes(), Some(parts[1].as_bytes()), parts[2].as_bytes())
        };
        let rows = [
            row(0, ["a", "b", "c"]),
            row(1, ["a", "b", "c"]),
            row(2, ["a", "b", "c"]),
            row(3, ["a", "b", "c"]),
            row(4, ["a", "b", "c"]),
            row(0, ["d", "b", "c"]),
            row(0, ["a", "d", "c"]),
            row(0, ["a", "b", "d"]),
            row(0, ["ab", "", "c"]),
            row(0, ["a", "", "bc"]),
        ];
        for (at, sum) in rows.iter().enumerate() {
            assert!(!rows[..at].contains(sum), "{at}");
        }
    }
}
