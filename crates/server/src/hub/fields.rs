//! The header fields of a webhook. Their names are always the same, so a table of them is made once, and a webhook gets a copy
//! with its own values, for which no name has to be looked up.

use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LINK};

use crate::courier::Parcel;

/// The fields that are the same in all deliveries of a publication, beside `Link`.
pub(super) const FIELDS: [HeaderName; 6] = [
    CONTENT_TYPE,
    HeaderName::from_static("stentor-publication"),
    HeaderName::from_static("stentor-sequence"),
    HeaderName::from_static("stentor-epoch"),
    HeaderName::from_static("stentor-offset"),
    CONTENT_LENGTH,
];

const ATTEMPT: HeaderName = HeaderName::from_static("stentor-attempt");
const SIGNATURE: HeaderName = HeaderName::from_static("x-hub-signature");

/// What is the same in all deliveries of a publication.
#[derive(Debug)]
pub(super) struct Common {
    /// `Link`, the same for all publications of the topic.
    pub(super) link: HeaderValue,
    /// The values of [`FIELDS`].
    pub(super) values: [HeaderValue; 6],
}

/// Tables that have the names and lack the values.
#[derive(Debug)]
pub(super) struct Forms {
    plain: HeaderMap,
    signed: HeaderMap,
}

impl Default for Forms {
    fn default() -> Self {
        let mut plain = Parcel::fields();
        for name in std::iter::once(LINK).chain(FIELDS).chain([ATTEMPT]) {
            plain.insert(name, HeaderValue::from_static(""));
        }
        let mut signed = plain.clone();
        signed.insert(SIGNATURE, HeaderValue::from_static(""));
        Self { plain, signed }
    }
}

impl Forms {
    /// The fields of one attempt.
    pub(super) fn fill(&self, common: &Common, attempt: u32, signature: Option<HeaderValue>) -> HeaderMap {
        let mut fields = if signature.is_some() { self.signed.clone() } else { self.plain.clone() };
        // The courier's own are at the beginning, and are its business. A table keeps the order in which it was made.
        let slots = fields.values_mut().skip(Parcel::OWN_FIELDS);
        let link = std::iter::once(&common.link);
        let last = [Some(HeaderValue::from(attempt)), signature].into_iter().flatten();
        slots.zip(link.chain(&common.values).cloned().chain(last)).for_each(|(slot, value)| *slot = value);
        fields
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stentor_websub::{headers, signature};

    #[test]
    fn the_fields_of_an_attempt_have_their_names() {
        let names = [
            "Content-Type",
            headers::PUBLICATION,
            headers::SEQUENCE,
            headers::EPOCH,
            headers::OFFSET,
            "Content-Length",
        ];
        assert!(FIELDS.iter().zip(names).all(|(field, name)| name.eq_ignore_ascii_case(field.as_str())));
        assert!(headers::ATTEMPT.eq_ignore_ascii_case(ATTEMPT.as_str()));
        assert!(signature::HEADER.eq_ignore_ascii_case(SIGNATURE.as_str()));
    }

    #[test]
    fn each_value_has_its_place() {
        let value = HeaderValue::from_static;
        let common =
            Common { link: value("<l>"), values: ["a/b", "11", "12", "13", "14", "15"].map(HeaderValue::from_static) };
        let forms = Forms::default();
        let expected = "host=,user-agent=,link=<l>,content-type=a/b,stentor-publication=11,stentor-sequence=12,\
                        stentor-epoch=13,stentor-offset=14,content-length=15,stentor-attempt=3";
        let check = |signature, expected: &str| {
            let filled = forms.fill(&common, 3, signature);
            let told: Vec<_> =
                filled.iter().map(|(name, value)| format!("{name}={}", value.to_str().unwrap())).collect();
            assert_eq!(told.join(","), expected);
            assert!(filled.iter().all(|(name, value)| filled.get(name) == Some(value)));
        };
        check(None, expected);
        check(Some(value("sha256=00")), &format!("{expected},x-hub-signature=sha256=00"));
        // Nothing of one attempt stays for the next.
        check(None, expected);
    }
}
