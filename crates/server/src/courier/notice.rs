//! A webhook as it is sent: a POST of whose answer nothing matters but the status and when to try again.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::header::{HeaderName, HeaderValue};
use hyper::{HeaderMap, Method};

use super::parcel::{AnswerLimit, Parcel};

/// A webhook.
#[derive(Clone)]
pub struct Notice {
    /// Where to; see [`Parcel::url`].
    pub url: Arc<str>,
    /// Fields that many webhooks share, `Content-Length` among them: each a line of its own with its end, ready for the wire.
    /// `Host` and `User-Agent` are the courier's.
    pub shared_fields: Bytes,
    /// Fields of this webhook alone, in the same form.
    pub own_fields: String,
    /// The body.
    pub body: Bytes,
    /// For everything, from finding the address to the end of the answer.
    pub timeout: Duration,
}

impl std::fmt::Debug for Notice {
    /// Neither query nor fields, in which subscribers and hubs have their secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let url = self.url.split('?').next().unwrap_or_default();
        write!(f, "Notice({url:?}, {} octets)", self.body.len())
    }
}

impl Notice {
    /// The same for those ways that need a table.
    pub(super) fn parcel(&self) -> Parcel {
        let mut headers = Parcel::fields();
        read(&self.shared_fields, &mut headers);
        read(self.own_fields.as_bytes(), &mut headers);
        Parcel {
            method: Method::POST,
            url: Arc::clone(&self.url),
            headers,
            body: self.body.clone(),
            timeout: self.timeout,
            answer: AnswerLimit::Discard,
        }
    }
}

/// Reads lines that we wrote. What is no field is left out, as it could not be sent.
fn read(lines: &[u8], headers: &mut HeaderMap) {
    for line in lines.split(|octet| *octet == b'\n') {
        let Some(colon) = line.iter().position(|octet| *octet == b':') else { continue };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            headers.insert(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_a_table() {
        let notice = Notice {
            url: "http://s/".into(),
            shared_fields: Bytes::from_static(b"link: <a>; rel=\"hub\", <b:c>\r\ncontent-length: 1\r\n"),
            own_fields: "stentor-attempt: 2\r\n".to_owned(),
            body: Bytes::from_static(b"x"),
            timeout: Duration::from_secs(1),
        };
        let parcel = notice.parcel();
        let told = parcel.headers.iter().map(|(name, value)| format!("{name}={}", value.to_str().unwrap()));
        let told: Vec<_> = told.collect();
        let expected = "host=,user-agent=,link=<a>; rel=\"hub\", <b:c>,content-length=1,stentor-attempt=2";
        assert_eq!(told.join(","), expected);
    }
}
