//! Which content types are a publication: JSON, or JSON line by line, in UTF-8.
//!
//! RFC 9110 section 8.3. An absent header is taken for JSON, as Crossbar does; the body is judged later anyhow.

use super::answer::{Refusal, RefusalKind, quote};
use super::gate::ContentType;

/// How the body is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Media {
    /// One JSON text: an object, or an array of objects.
    Json,
    /// `application/x-ndjson`: one object per line.
    JsonLines,
}

/// The media type that the `Content-Type` headers of a request name.
pub(super) fn parse(named: ContentType<'_>) -> Result<Media, Refusal> {
    let header = match named {
        ContentType::Absent => return Ok(Media::Json),
        // What nearly every client sends needs no taking apart.
        ContentType::Once(b"application/json") => return Ok(Media::Json),
        ContentType::Once(header) => header,
        ContentType::Repeated => {
            return Err(unsupported("the request has several Content-Type headers; one is needed".to_owned()));
        }
    };
    let mut parts = split_parameters(header).into_iter();
    let name = parts.next().unwrap_or_default();
    let media = if name.eq_ignore_ascii_case(b"application/json") {
        Media::Json
    } else if name.eq_ignore_ascii_case(b"application/x-ndjson") {
        Media::JsonLines
    } else {
        return Err(unsupported(wrong_type(name)));
    };
    // Other parameters have no meaning for JSON (RFC 8259 section 11) and are passed over. The charset has none either, but
    // a client that names another one is about to send octets that are not what it thinks.
    let mut charset_seen = false;
    for parameter in parts.filter(|part| !part.is_empty()) {
        let (name, value) = match parameter.iter().position(|&octet| octet == b'=') {
            Some(at) => (&parameter[..at], &parameter[at + 1..]),
            None => (parameter, &b""[..]),
        };
        if !name.eq_ignore_ascii_case(b"charset") {
            continue;
        }
        let value = unquote(value);
        if charset_seen || !(value.eq_ignore_ascii_case(b"utf-8") || value.eq_ignore_ascii_case(b"utf8")) {
            return Err(unsupported(format!("the charset has to be utf-8, once, and not {}", quote(value))));
        }
        charset_seen = true;
    }
    Ok(media)
}

fn unsupported(sentence: String) -> Refusal {
    Refusal::new(RefusalKind::MediaType, sentence).at("Content-Type")
}

/// What `curl -d` sends without `-H` is the commonest mistake of all, so that the sentence says what to add.
fn wrong_type(name: &[u8]) -> String {
    let hint = if name.eq_ignore_ascii_case(b"application/x-www-form-urlencoded") {
        "; with curl, add -H \"Content-Type: application/json\""
    } else {
        ""
    };
    format!("the content type has to be application/json, not {}{hint}", quote(name))
}

/// Splits at semicolons outside of quoted strings, without the blanks around.
fn split_parameters(header: &[u8]) -> Vec<&[u8]> {
    let mut quoted = false;
    header
        .split(|&octet| {
            quoted ^= octet == b'"';
            octet == b';' && !quoted
        })
        .map(<[u8]>::trim_ascii)
        .collect()
}

fn unquote(value: &[u8]) -> &[u8] {
    value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(headers: &[&str], expect: Result<Media, &str>) {
        let named = match headers {
            [] => ContentType::Absent,
            [one] => ContentType::Once(one.as_bytes()),
            _ => ContentType::Repeated,
        };
        match (parse(named), expect) {
            (Ok(media), Ok(expected)) => assert_eq!(media, expected),
            (Err(refusal), Err(part)) => {
                assert_eq!(refusal.status(), 415);
                assert!(refusal.error().contains(part), "{refusal}");
            }
            (got, _) => panic!("{headers:?} gave {got:?}"),
        }
    }

    #[test]
    fn json_in_utf_8_and_nothing_else() {
        check(&[], Ok(Media::Json));
        check(&["application/json"], Ok(Media::Json));
        check(&["Application/JSON"], Ok(Media::Json));
        check(&["application/json; charset=utf-8"], Ok(Media::Json));
        check(&["application/json;charset=UTF8"], Ok(Media::Json));
        check(&["application/json; charset=\"utf-8\""], Ok(Media::Json));
        check(&["application/json; profile=\"a;b\"; charset=utf-8"], Ok(Media::Json));
        check(&["application/json;"], Ok(Media::Json));
        check(&["application/x-ndjson"], Ok(Media::JsonLines));
        check(&["application/json; charset=latin-1"], Err("utf-8"));
        check(&["application/json; charset"], Err("utf-8"));
        check(&["application/json; charset=utf-8; charset=utf-8"], Err("once"));
        check(&["application/json", "application/json"], Err("several"));
        check(&[""], Err("application/json"));
        check(&["text/plain"], Err("'text/plain'"));
        check(&["application/json-patch"], Err("application/json"));
        check(&["application/x-www-form-urlencoded"], Err("-H \"Content-Type: application/json\""));
    }
}
