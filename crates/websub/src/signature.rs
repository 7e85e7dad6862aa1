//! `X-Hub-Signature`: an HMAC over the body, keyed with the subscription's secret (WebSub 7.1).
//!
//! Only the body is covered, not the header fields; those are protected by https alone (items 63 and 71).

use std::fmt;

use ring::hmac;
use stentor_model::Secret;

/// The name of the header field.
pub const HEADER: &str = "X-Hub-Signature";

/// How a hub signs. WebSub 7.1 names these four; there is no negotiation, so it is a setting of the hub.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Algorithm {
    /// The default, because many subscribers know nothing else. Better ones are advised without https.
    #[default]
    Sha1,
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Sha1, Self::Sha256, Self::Sha384, Self::Sha512];

    /// The name before the equals sign, and in the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        }
    }

    /// The algorithm with this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.name() == name)
    }

    const fn hmac(self) -> hmac::Algorithm {
        match self {
            Self::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => hmac::HMAC_SHA256,
            Self::Sha384 => hmac::HMAC_SHA384,
            Self::Sha512 => hmac::HMAC_SHA512,
        }
    }
}

/// Signs for one subscription. The key is prepared once, which saves two blocks of hashing for each delivery.
#[derive(Clone)]
pub struct Signer {
    algorithm: Algorithm,
    key: hmac::Key,
}

impl Signer {
    /// Signs with this secret, whose UTF-8 octets are the key.
    #[must_use]
    pub fn new(algorithm: Algorithm, secret: &Secret) -> Self {
        Self { algorithm, key: hmac::Key::new(algorithm.hmac(), secret.expose().as_bytes()) }
    }

    /// The value of the field for this body: `method=signature`, in lower case since subscribers compare strings.
    #[must_use]
    pub fn sign(&self, body: &[u8]) -> String {
        let (name, signature) = (self.algorithm.name(), hmac::sign(&self.key, body));
        let mut value = String::with_capacity(name.len() + 1 + 2 * signature.as_ref().len());
        value.push_str(name);
        value.push('=');
        hex(signature.as_ref(), &mut value);
        value
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({})", self.algorithm.name())
    }
}

pub(crate) fn hex(octets: &[u8], out: &mut String) {
    // By hand: the formatting machinery takes longer for this than the signature itself.
    let digit = |value: u8| char::from(b"0123456789abcdef"[usize::from(value)]);
    for octet in octets {
        out.push(digit(octet >> 4));
        out.push(digit(octet & 15));
    }
}

/// What a subscriber finds when it looks at a signature (WebSub 7.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// The body comes from somebody who knows the secret.
    Genuine,
    /// It does not, or the body was changed. The subscriber answers 2xx all the same and throws the body away.
    Forged,
    /// The field has no known method, or no hexadecimal signature.
    Unreadable,
}

/// The subscriber's side: judges the value of the field. The comparison takes the same time wherever the difference is.
#[must_use]
pub fn verify(value: &str, secret: &Secret, body: &[u8]) -> Judgement {
    let Some((method, signature)) = value.split_once('=') else { return Judgement::Unreadable };
    let Some(algorithm) = Algorithm::parse(&method.to_ascii_lowercase()) else { return Judgement::Unreadable };
    let Some(signature) = unhex(signature) else { return Judgement::Unreadable };
    let key = hmac::Key::new(algorithm.hmac(), secret.expose().as_bytes());
    match hmac::verify(&key, body, &signature) {
        Ok(()) => Judgement::Genuine,
        Err(_) => Judgement::Forged,
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |octet: u8| char::from(octet).to_digit(16).map(|digit| digit.to_le_bytes()[0]);
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| if let [high, low] = pair { Some(digit(*high)? << 4 | digit(*low)?) } else { None }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 2202, case 2, and RFC 4231, test case 2: key "Jefe".
    #[test]
    fn signatures_are_those_of_the_rfcs() {
        let secret = Secret::new("Jefe");
        let check = |algorithm, expected: &str| {
            let value = Signer::new(algorithm, &secret).sign(b"what do ya want for nothing?");
            assert_eq!(value, expected);
            assert_eq!(verify(&value, &secret, b"what do ya want for nothing?"), Judgement::Genuine);
        };
        check(Algorithm::Sha1, "sha1=effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
        check(Algorithm::Sha256, "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
        check(
            Algorithm::Sha384,
            "sha384=af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e8e2240ca5e69e2c78b3239ecfab21649",
        );
        check(
            Algorithm::Sha512,
            "sha512=164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fdcaeab\
             1a34d4a6b4b636e070a38bce737",
        );
    }

    #[test]
    fn signatures_are_judged() {
        let secret = Secret::new("ключ");
        let good = Signer::new(Algorithm::Sha256, &secret).sign(b"body");
        let check = |value: &str, body: &[u8], expected| assert_eq!(verify(value, &secret, body), expected, "{value}");
        check(&good, b"body", Judgement::Genuine);
        check(&good.to_uppercase(), b"body", Judgement::Genuine);
        check(&good, b"bodY", Judgement::Forged);
        check(&good[..good.len() - 2], b"body", Judgement::Forged);
        check(&good[..good.len() - 1], b"body", Judgement::Unreadable);
        check(&good.replace("sha256", "sha1"), b"body", Judgement::Forged);
        check("md5=00", b"body", Judgement::Unreadable);
        check("sha256", b"body", Judgement::Unreadable);
        check("sha256=zz", b"body", Judgement::Unreadable);
        check("sha256=", b"body", Judgement::Forged);
        assert_eq!(verify(&good, &Secret::new("other"), b"body"), Judgement::Forged);
        assert_eq!(format!("{:?}", Signer::new(Algorithm::Sha1, &secret)), "Signer(sha1)");
    }
}
