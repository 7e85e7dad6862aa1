//! The signature of a request: HMAC-SHA256 over key | timestamp | seq | nonce | body, in Base64.
//!
//! The parts are joined without separators, as every client in the field does it. So a digit can move from `seq` to
//! `nonce` and leave the signature true; who remembers requests has to remember the signature as well as the nonce.

use base64::Engine as _;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use ring::{digest, hmac};
use stentor_model::Secret;

/// Takes Base64 with its padding and without.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What a signature decodes to: the output of HMAC-SHA256.
pub(super) type Tag = [u8; 32];

/// Who may sign: one key, and the secret that goes with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// Named in the query; not secret.
    pub key: String,
    /// Never on the wire.
    pub secret: Secret,
}

/// The query of a signed request, as a client sends it. `timestamp` is ISO 8601 in UTC, such as `2026-01-01T00:00:00.000Z`.
#[must_use]
pub fn signed_query(credentials: &Credentials, timestamp: &str, seq: u64, nonce: u64, body: &[u8]) -> String {
    let (seq, nonce) = (seq.to_string(), nonce.to_string());
    let fields = [credentials.key.as_bytes(), timestamp.as_bytes(), seq.as_bytes(), nonce.as_bytes()];
    let tag = Signer::new(&credentials.secret).sign(fields, body);
    let signature = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(tag);
    let key = utf8_percent_encode(&credentials.key, NON_ALPHANUMERIC);
    format!("key={key}&timestamp={timestamp}&seq={seq}&nonce={nonce}&signature={signature}")
}

/// Computes and compares signatures.
#[derive(Clone, Debug)]
pub(super) struct Signer(hmac::Key);

impl Signer {
    pub(super) fn new(secret: &Secret) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret.expose().as_bytes()))
    }

    /// The signature that these parts have.
    pub(super) fn sign(&self, fields: [&[u8]; 4], body: &[u8]) -> Tag {
        let mut context = hmac::Context::with_key(&self.0);
        fields.iter().for_each(|field| context.update(field));
        context.update(body);
        context.sign().as_ref().try_into().expect("SHA-256 gives 32 octets")
    }

    /// Compares two tags in constant time, without a copy of the body behind them.
    ///
    /// Verifying one tag as a message under the other's own tag lets the library do the comparison.
    pub(super) fn same(&self, computed: &Tag, received: &Tag) -> bool {
        let of_received = hmac::sign(&self.0, received);
        hmac::verify(&self.0, computed, of_received.as_ref()).is_ok()
    }
}

/// Reads a signature in the standard or the URL-safe alphabet, padded or not.
///
/// A blank stands for the plus that a client forgot to percent-encode; Base64 itself has no blanks.
pub(super) fn decode(text: &[u8]) -> Option<Tag> {
    let standard: Vec<u8> = text
        .iter()
        .map(|octet| match octet {
            b'-' | b' ' => b'+',
            b'_' => b'/',
            other => *other,
        })
        .collect();
    BASE64.decode(standard).ok()?.try_into().ok()
}

/// Why a text cannot be a signature, where the length betrays a mistake that is made again and again.
pub(super) fn hint(text: &[u8]) -> &'static str {
    match text.len() {
        64 if text.iter().all(u8::is_ascii_hexdigit) => {
            ": it is hexadecimal, and has to be the Base64 of the 32 octets of the HMAC"
        }
        86..=88 => {
            ": it seems to be the Base64 of hexadecimal digits, and has to be the Base64 of the 32 octets of the HMAC"
        }
        43 | 44 if decode(text).is_some() => "",
        _ => ": it is not the Base64 of 32 octets",
    }
}

/// What was signed, told without telling it: for the line that a `debug` service logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedParts {
    /// Octets of key, timestamp, seq, nonce and body.
    pub lengths: [usize; 5],
    /// The first eight hexadecimal digits of the SHA-256 of all of them, joined.
    pub sha256_prefix: String,
}

impl SignedParts {
    pub(super) fn of(fields: [&[u8]; 4], body: &[u8]) -> Self {
        let [key, timestamp, seq, nonce] = fields;
        let parts = [key, timestamp, seq, nonce, body];
        let mut context = digest::Context::new(&digest::SHA256);
        parts.iter().for_each(|part| context.update(part));
        let hash = context.finish();
        let sha256_prefix = hash.as_ref()[..4].iter().map(|octet| format!("{octet:02x}")).collect();
        Self { lengths: parts.map(<[u8]>::len), sha256_prefix }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Recorded from a client in the field.
    const BODY: &[u8] =
        br#"{"topic":"com.myapp.topic1","options":{"exclude":[1]},"args":["\u00e9",23],"kwargs":{"msg":"x"}}"#;
    const FIELDS: [&[u8]; 4] = [b"foobar", b"2026-11-22T00:19:14.527Z", b"1", b"5576599056441004"];

    #[test]
    fn the_recorded_request_verifies_in_all_four_encodings() {
        assert_eq!(BODY.len(), 96);
        let signer = Signer::new(&Secret::new("secret"));
        let computed = signer.sign(FIELDS, BODY);
        for text in ["L893V2F0J3YId2VByknGtUfjwAklqMiwzjfqwAj5Srs=", "L893V2F0J3YId2VByknGtUfjwAklqMiwzjfqwAj5Srs"] {
            assert!(signer.same(&computed, &decode(text.as_bytes()).unwrap()), "{text}");
        }
        // The recorded signature has no octet in which the alphabets differ; some other one has both.
        let encode = |tag: &Tag| base64::engine::general_purpose::STANDARD.encode(tag);
        let computed = (0_u8..=255)
            .map(|body| signer.sign(FIELDS, &[body]))
            .find(|tag| encode(tag).contains('+') && encode(tag).contains('/'))
            .unwrap();
        let standard = encode(&computed);
        let url_safe = standard.replace('+', "-").replace('/', "_");
        for text in [&standard, &url_safe, &standard.replace('+', " ")] {
            assert_eq!(decode(text.as_bytes()), Some(computed), "{text}");
            assert_eq!(decode(text.trim_end_matches('=').as_bytes()), Some(computed), "{text}");
        }
    }

    #[test]
    fn a_query_is_signed_as_clients_sign_it() {
        let credentials = Credentials { key: "foobar".to_owned(), secret: Secret::new("secret") };
        let query = signed_query(&credentials, "2026-11-22T00:19:14.527Z", 1, 5_576_599_056_441_004, BODY);
        let expect = "key=foobar&timestamp=2026-11-22T00:19:14.527Z&seq=1&nonce=5576599056441004\
             &signature=L893V2F0J3YId2VByknGtUfjwAklqMiwzjfqwAj5Srs";
        assert_eq!(query, expect);
    }

    #[test]
    fn one_bit_makes_the_difference() {
        let signer = Signer::new(&Secret::new("secret"));
        let computed = signer.sign(FIELDS, BODY);
        for at in [0, 15, 31] {
            let mut other = computed;
            other[at] ^= 1;
            assert!(!signer.same(&computed, &other));
        }
        assert!(!signer.same(&computed, &Signer::new(&Secret::new("Secret")).sign(FIELDS, BODY)));
    }

    #[test]
    fn what_is_not_a_signature_is_told_apart() {
        for (text, part) in [
            ("", "not the Base64 of 32"),
            ("abc", "not the Base64 of 32"),
            (&"0f".repeat(32), "hexadecimal"),
            (&"MGYw".repeat(22), "Base64 of hexadecimal"),
            ("L893V2F0J3YId2VByknGtUfjwAklqMiwzjfqwAj5Srt=", "not the Base64 of 32"),
        ] {
            assert_eq!(decode(text.as_bytes()), None);
            assert!(hint(text.as_bytes()).contains(part), "{text}");
        }
        assert_eq!(hint(b"L893V2F0J3YId2VByknGtUfjwAklqMiwzjfqwAj5Srs="), "");
    }

    #[test]
    fn a_secret_shows_itself_to_nobody() {
        let credentials = Credentials { key: "foobar".to_owned(), secret: Secret::new("hush") };
        assert!(!format!("{credentials:?} {:?}", Signer::new(&credentials.secret)).contains("hush"));
    }

    #[test]
    fn what_was_signed_is_told_by_lengths_and_a_prefix() {
        let parts = SignedParts::of(FIELDS, BODY);
        assert_eq!(parts.lengths, [6, 24, 1, 16, 96]);
        assert_eq!(parts.sha256_prefix, "1fd3c0de");
    }
}
