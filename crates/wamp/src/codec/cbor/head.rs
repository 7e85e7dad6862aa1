//! The first octets of CBOR data items (RFC 8949, section 3), and what their numbers mean.

use super::reader::Reader;
use crate::codec::error::{Syntax, SyntaxError};
use crate::codec::token::Token;

/// The octet that ends what is of indefinite length.
pub(super) const BREAK: u8 = 0xff;

/// How much follows a head.
#[derive(Clone, Copy)]
pub(super) enum Extent {
    Definite(usize),
    Indefinite,
}

/// The first octets of a value, up to its contents. Tags are gone.
#[derive(Clone, Copy)]
pub(super) enum Head {
    Null,
    Bool(bool),
    Unsigned(u64),
    /// The number is -1 minus this.
    Negative(u64),
    Float(f64),
    Text(Extent),
    Bytes(Extent),
    List(Extent),
    Dict(Extent),
    /// A byte string, which is the number in network byte order; the sign is that of the tag.
    Bignum(Sign, Extent),
}

/// The sign of a bignum; a negative one is -1 minus its octets.
#[derive(Clone, Copy)]
pub(super) enum Sign {
    Positive,
    Negative,
}

impl Reader<'_> {
    /// The head of the next value, whatever tags stand before it.
    pub(super) fn head(&mut self) -> Result<Head, SyntaxError> {
        let mut sign = None;
        loop {
            let start = self.at;
            let initial = self.u8()?;
            let (major, info) = (initial >> 5, initial & 0x1f);
            // A bignum's tag stands directly before its byte string.
            match (sign, major) {
                (Some(sign), 2) => return Ok(Head::Bignum(sign, self.extent(start, info)?)),
                (Some(_), _) => return Err(Syntax::Expected("the byte string of a bignum").at(start)),
                (None, _) => {}
            }
            return Ok(match major {
                0 => Head::Unsigned(self.argument(start, info)?),
                1 => Head::Negative(self.argument(start, info)?),
                2 => Head::Bytes(self.extent(start, info)?),
                3 => Head::Text(self.extent(start, info)?),
                4 => Head::List(self.extent(start, info)?),
                5 => Head::Dict(self.extent(start, info)?),
                6 => {
                    sign = match self.argument(start, info)? {
                        2 => Some(Sign::Positive),
                        3 => Some(Sign::Negative),
                        _ => None,
                    };
                    continue;
                }
                _ => self.simple(start, info)?,
            });
        }
    }

    fn argument(&mut self, start: usize, info: u8) -> Result<u64, SyntaxError> {
        Ok(match info {
            0..=23 => info.into(),
            24 => u8::from_be_bytes(self.array()?).into(),
            25 => u16::from_be_bytes(self.array()?).into(),
            26 => u32::from_be_bytes(self.array()?).into(),
            27 => u64::from_be_bytes(self.array()?),
            _ => return Err(self.reserved(start)),
        })
    }

    fn extent(&mut self, start: usize, info: u8) -> Result<Extent, SyntaxError> {
        if info == 31 {
            return Ok(Extent::Indefinite);
        }
        // A length that memory cannot hold is one that no message can keep.
        let len = usize::try_from(self.argument(start, info)?).unwrap_or(usize::MAX);
        Ok(Extent::Definite(len))
    }

    fn simple(&mut self, start: usize, info: u8) -> Result<Head, SyntaxError> {
        Ok(match info {
            20 => Head::Bool(false),
            21 => Head::Bool(true),
            22 | 23 => Head::Null,
            25 => Head::Float(half(u16::from_be_bytes(self.array()?))),
            26 => Head::Float(f32::from_be_bytes(self.array()?).into()),
            27 => Head::Float(f64::from_be_bytes(self.array()?)),
            31 => return Err(Syntax::Expected("a value").at(start)),
            _ => return Err(self.reserved(start)),
        })
    }
}

/// Half-precision numbers (RFC 8949, appendix D, in words: five bits of exponent, ten of fraction).
fn half(bits: u16) -> f64 {
    let fraction = f64::from(bits & 0x3ff);
    let magnitude = match bits >> 10 & 0x1f {
        0 => fraction * 2f64.powi(-24),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        exponent => (1024.0 + fraction) * 2f64.powi(i32::from(exponent) - 25),
    };
    if bits & 0x8000 == 0 { magnitude } else { -magnitude }
}

/// -1 minus `magnitude`, which leaves the range of integers before that of floats.
pub(super) fn negative<'a>(magnitude: u64) -> Token<'a> {
    i64::try_from(magnitude).map_or_else(|_| Token::Float(-1.0 - magnitude as f64), |value| Token::Int(-1 - value))
}

/// What a bignum's octets mean. Beyond 64 bits the nearest floats have to do, as for JSON integers.
pub(super) fn bignum<'a>(sign: Sign, octets: &[u8]) -> Token<'a> {
    let significant = octets.iter().position(|octet| *octet != 0).map_or(&[][..], |first| &octets[first..]);
    if significant.len() <= 8 {
        let magnitude = significant.iter().fold(0, |value, octet| value << 8 | u64::from(*octet));
        return match sign {
            Sign::Positive => Token::from(magnitude),
            Sign::Negative => negative(magnitude),
        };
    }
    let magnitude = significant.iter().fold(0.0, |value, octet| value * 256.0 + f64::from(*octet));
    Token::Float(match sign {
        Sign::Positive => magnitude,
        Sign::Negative => -1.0 - magnitude,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_floats() {
        for (bits, value) in [
            (0x0000, 0.0),
            (0x3c00, 1.0),
            (0x3e00, 1.5),
            (0x7bff, 65504.0),
            (0x0001, 5.960_464_477_539_063e-8),
            (0x0400, 0.000_061_035_156_25),
            (0xc400, -4.0),
            (0x7c00, f64::INFINITY),
            (0xfc00, f64::NEG_INFINITY),
        ] {
            assert_eq!(half(bits).to_bits(), f64::to_bits(value), "{bits:04x}");
        }
        assert!(half(0x7e00).is_nan());
    }
}
