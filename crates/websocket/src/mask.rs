//! Masking: the XOR of RFC 6455 section 5.3.
//!
//! Plain 64-bit words; the compiler turns the loop into vector instructions, so there is no hand-written SIMD here.

/// The masking key of one frame.
pub(crate) type Key = [u8; 4];

/// Masks or unmasks `data` and leaves `key` turned to where the next part of the same payload begins.
#[inline]
pub(crate) fn apply(data: &mut [u8], key: &mut Key) {
    // An unmasked frame is carried as key zero; XOR with zero would only cost time.
    if *key == [0; 4] {
        return;
    }
    let [a, b, c, d] = *key;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let turn = data.len() % 4;
    let (words, rest) = data.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (octet, key) in rest.iter_mut().zip([a, b, c, d, a, b, c, d]) {
        *octet ^= key;
    }
    key.rotate_left(turn);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_split_equals_octet_by_octet() {
        let plain: Vec<u8> = (0..67).collect();
        let key = [0x37, 0xfa, 0x21, 0x3d];
        let expect: Vec<u8> = plain.iter().enumerate().map(|(i, octet)| octet ^ key[i % 4]).collect();
        for cut in 0..plain.len() {
            let (mut data, mut turning) = (plain.clone(), key);
            let (left, right) = data.split_at_mut(cut);
            apply(left, &mut turning);
            apply(right, &mut turning);
            assert_eq!(data, expect, "cut at {cut}");
        }
    }
}
