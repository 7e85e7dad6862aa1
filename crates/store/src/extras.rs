//! Named values that travel with a record, and their form on disk.
//!
//! Form 1: the octet 1, then for each pair the length of the name and of the value (u32, little endian) and their octets.

use crate::StoreError;

/// Names and values, in order.
pub type Extras = Vec<(Box<str>, Box<str>)>;

const FORM: u8 = 1;

/// Octets of all names and values.
pub(crate) fn size(extras: &Extras) -> usize {
    extras.iter().map(|(name, value)| name.len() + value.len()).sum()
}

/// Octets of the form on disk.
pub(crate) fn encoded_size(extras: &Extras) -> usize {
    if extras.is_empty() { 0 } else { 1 + 8 * extras.len() + size(extras) }
}

/// Nothing for nothing, since most records have none.
pub(crate) fn encode(extras: &Extras) -> Option<Vec<u8>> {
    if extras.is_empty() {
        return None;
    }
    let mut octets = vec![FORM];
    for (name, value) in extras {
        for part in [name, value] {
            let length = u32::try_from(part.len()).expect("EXTRAS_BYTES_MAX was checked and is below 4 GiB");
            octets.extend_from_slice(&length.to_le_bytes());
        }
        octets.extend_from_slice(name.as_bytes());
        octets.extend_from_slice(value.as_bytes());
    }
    Some(octets)
}

/// What was encoded, or damage. Lengths are checked before anything is allocated for them.
pub(crate) fn decode(octets: Option<&[u8]>) -> Result<Extras, StoreError> {
    let Some(octets) = octets else { return Ok(Vec::new()) };
    let (form, mut rest) = octets.split_first().ok_or_else(damaged)?;
    if *form != FORM {
        return Err(damaged());
    }
    let mut extras = Vec::new();
    while !rest.is_empty() {
        let name_length = length(&mut rest)?;
        let value_length = length(&mut rest)?;
        extras.push((text(&mut rest, name_length)?, text(&mut rest, value_length)?));
    }
    Ok(extras)
}

fn length(rest: &mut &[u8]) -> Result<usize, StoreError> {
    let (head, tail) = rest.split_first_chunk::<4>().ok_or_else(damaged)?;
    *rest = tail;
    Ok(u32::from_le_bytes(*head) as usize)
}

fn text(rest: &mut &[u8], length: usize) -> Result<Box<str>, StoreError> {
    let (head, tail) = rest.split_at_checked(length).ok_or_else(damaged)?;
    *rest = tail;
    std::str::from_utf8(head).map(Into::into).map_err(|_| damaged())
}

/// One word for all kinds of damage: nobody can do anything about one that he could not about another.
fn damaged() -> StoreError {
    StoreError::Corrupt("extras of a record".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_encoded_comes_back() {
        let check = |pairs: &[(&str, &str)]| {
            let extras: Extras = pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
            let octets = encode(&extras);
            assert_eq!(octets.as_ref().map_or(0, Vec::len), encoded_size(&extras));
            assert_eq!(decode(octets.as_deref()).unwrap(), extras);
        };
        check(&[]);
        check(&[("a", "")]);
        check(&[("Link", "<https://example.com>; rel=self"), ("ä", "ö")]);
    }

    #[test]
    fn damage_is_an_error() {
        let check = |octets: &[u8]| assert!(matches!(decode(Some(octets)), Err(StoreError::Corrupt(_))), "{octets:?}");
        check(&[]);
        check(&[2]);
        check(&[1, 1, 0, 0]);
        check(&[1, 1, 0, 0, 0, 255, 255, 255, 255, b'a']);
        check(&[1, 1, 0, 0, 0, 0, 0, 0, 0, 0xff]);
    }
}
