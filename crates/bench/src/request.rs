//! The POST that publishes, and how its answer is read.

use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::stamp::{self, Stamp};

/// What a body looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// `{"topic": ..., "args": [payload]}`.
    Json,
    /// The payload itself, for servers that forward bodies.
    Raw,
    /// `{"topic": ..., "contentBase64": payload}`, for hubs.
    Hub,
}

/// Digits of a topic's number.
const DIGITS: usize = 6;

/// Topics to publish to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Topics {
    /// One.
    One(String),
    /// So many, numbered from 0: [`numbered`] writes their names. Each publication draws one of them.
    Numbered(String, u32),
}

/// The name of a numbered topic.
#[must_use]
pub fn numbered(prefix: &str, number: u32) -> String {
    format!("{prefix}{number:0DIGITS$}")
}

/// A request in which only the stamp changes, and perhaps the topic's number.
#[derive(Clone, Debug)]
pub struct Template {
    request: Vec<u8>,
    stamp_at: usize,
    number_at: usize,
    topics: u32,
    dice: fastrand::Rng,
    /// What is stamped instead of the request, where it is encoded into that.
    content: Option<Vec<u8>>,
}

impl Template {
    /// A request to publish a payload of so many octets, at least those of a stamp.
    #[must_use]
    pub fn new(to: SocketAddr, path: &str, body: Body, topics: &Topics, payload: usize) -> Self {
        // A printable pattern that neither JSON escapes nor compression makes disappear entirely.
        let mut text: String =
            (0..payload.max(stamp::LENGTH)).map(|at| char::from(b'a' + (at * 7 % 26) as u8)).collect();
        text.replace_range(..stamp::LENGTH, &"#".repeat(stamp::LENGTH));
        let (topic, topics) = match topics {
            Topics::One(topic) => (topic.clone(), 0),
            Topics::Numbered(prefix, count) => (numbered(prefix, 0), *count),
        };
        let content = (body == Body::Hub).then(|| text.clone().into_bytes());
        let body = match body {
            Body::Hub => {
                let content = STANDARD.encode(&text);
                // The first mark is looked for below; it is overwritten with everything behind it.
                format!("{{\"topic\":\"{topic}\",\"contentBase64\":\"#{}\"}}", &content[1..])
            }
            Body::Json => format!("{{\"topic\":\"{topic}\",\"args\":[\"{text}\"]}}"),
            Body::Raw => text,
        };
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {to}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let stamp_at = head.len() + body.find('#').expect("the payload begins so");
        let number_at = head.len() + body.find(&topic).map_or(0, |at| at + topic.len() - DIGITS.min(topic.len()));
        let request = (head + &body).into_bytes();
        Self { request, stamp_at, number_at, topics, dice: fastrand::Rng::with_seed(1), content }
    }

    /// The request with this stamp.
    pub(crate) fn fill(&mut self, stamp: Stamp) -> &[u8] {
        let place = &mut self.request[self.stamp_at..];
        match &mut self.content {
            None => stamp.write(place),
            Some(content) => {
                stamp.write(content);
                STANDARD.encode_slice(content, place).expect("as long as the one before");
            }
        }
        if self.topics > 0 {
            let mut number = self.dice.u32(..self.topics);
            for digit in self.request[self.number_at..self.number_at + DIGITS].iter_mut().rev() {
                *digit = b'0' + (number % 10) as u8;
                number /= 10;
            }
        }
        &self.request
    }
}

/// What a server answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// There is more to come.
    Incomplete,
    /// A status of 200 to 299; the answer has so many octets.
    Success(usize),
    /// Another status.
    Refusal(String),
}

/// Reads an answer: its status, and where it ends.
pub(crate) fn answer(input: &[u8]) -> Answer {
    let Some(head) = input.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4) else {
        return Answer::Incomplete;
    };
    let is_success = input.get(9) == Some(&b'2');
    let end = match length(&input[..head]) {
        Some(length) => head + length,
        // Chunks, of which only the end matters here; no answer contains these octets otherwise.
        None => match input[head..].windows(5).position(|window| window == b"0\r\n\r\n") {
            Some(at) => head + at + 5,
            None => return Answer::Incomplete,
        },
    };
    if input.len() < end {
        return Answer::Incomplete;
    }
    if is_success { Answer::Success(end) } else { Answer::Refusal(String::from_utf8_lossy(&input[..end]).into_owned()) }
}

/// The length that a head announces; nothing when the body comes in chunks.
pub(crate) fn length(head: &[u8]) -> Option<usize> {
    for line in head.split(|&byte| byte == b'\n').skip(1) {
        let Some(colon) = line.iter().position(|&byte| byte == b':') else { continue };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.eq_ignore_ascii_case(b"content-length") {
            return std::str::from_utf8(value).ok()?.parse().ok();
        }
        if name.eq_ignore_ascii_case(b"transfer-encoding") {
            return None;
        }
    }
    Some(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address() -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 80))
    }

    #[test]
    fn requests_are_filled() {
        let topics = Topics::Numbered("com.t".to_owned(), 1_000_000);
        let mut template = Template::new(address(), "/push", Body::Json, &topics, 20);
        let stamp = Stamp { source: 1, sequence: 2, time: 3 };
        let text = String::from_utf8(template.fill(stamp).to_vec()).expect("text");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
        assert!(head.ends_with(&format!("Content-Length: {}", body.len())), "{head}");
        assert!(body.starts_with("{\"topic\":\"com.t"), "{body}");
        assert_eq!(&body[21..], "\",\"args\":[\"~BAAAACAAAAAAAADipwd\"]}");
        assert_eq!(Stamp::find(body.as_bytes(), &mut 0), Some(stamp));
        assert_eq!(numbered("com.t", 17), "com.t000017");
    }

    #[test]
    fn contents_of_hubs_are_encoded() {
        let topics = Topics::One("https://example.com/t".to_owned());
        let mut template = Template::new(address(), "/hub", Body::Hub, &topics, 128);
        for sequence in [1, 2] {
            let stamp = Stamp { source: 1, sequence, time: 3 };
            let text = String::from_utf8(template.fill(stamp).to_vec()).expect("text");
            let (_, body) = text.split_once("\r\n\r\n").expect("a head and a body");
            let body: serde_json::Value = serde_json::from_str(body).expect("JSON");
            assert_eq!(body["topic"], "https://example.com/t");
            let content = STANDARD.decode(body["contentBase64"].as_str().expect("text")).expect("base64");
            assert_eq!((content.len(), Stamp::find(&content, &mut 0)), (128, Some(stamp)));
        }
    }

    #[test]
    fn raw_bodies_are_payloads() {
        let topics = Topics::One("x".to_owned());
        let mut template = Template::new(address(), "/", Body::Raw, &topics, 0);
        let request = template.fill(Stamp { source: 0, sequence: 1, time: 0 });
        assert!(request.ends_with(b"Content-Length: 16\r\n\r\n~AAAAABAAAAAAAAA"));
    }

    #[track_caller]
    fn check(input: &str, expect: Answer) {
        assert_eq!(answer(input.as_bytes()), expect, "{input:?}");
    }

    #[test]
    fn answers_are_read() {
        let whole = "HTTP/1.1 202 Accepted\r\ncontent-LENGTH: 2\r\n\r\n{}";
        check(whole, Answer::Success(whole.len()));
        check(&whole[..whole.len() - 1], Answer::Incomplete);
        check("HTTP/1.1 202", Answer::Incomplete);
        check("HTTP/1.1 204 No Content\r\n\r\n", Answer::Success(27));
        let chunks = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n";
        check(chunks, Answer::Success(chunks.len()));
        check(&chunks[..chunks.len() - 2], Answer::Incomplete);
        let refusal = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
        check(refusal, Answer::Refusal(refusal.to_owned()));
    }
}
