//! What is said in the frames: questions and orders to a worker, verdicts and signs of life from it.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};
use stentor_websub::authenticator::{Identity, Response, TopicVerdict, Verdict};

use super::{Options, frame};

/// A request for a subscription, as the hub received it.
#[derive(Clone, Debug)]
pub struct Question {
    /// The topic that scopes are held against.
    pub topic: String,
    /// Such as `POST`.
    pub method: String,
    /// Path and query, as they stood in the request.
    pub target: String,
    /// `http` or `https`.
    pub scheme: String,
    /// `1.0`, `1.1` or `2`.
    pub http_version: String,
    /// The client's address, if it has one.
    pub client: Option<String>,
    /// The header fields.
    pub fields: Fields,
    /// The form.
    pub body: Bytes,
}

/// Header fields as they go to a worker: of each, its name in lower case and the octets of its value, with the end of a line
/// behind both. Neither can hold one.
#[derive(Clone, Debug, Default)]
pub struct Fields(Vec<u8>);

impl Fields {
    /// The value of the first field of this name.
    fn get(&self, wanted: &str) -> Option<&[u8]> {
        let mut lines = self.0.split(|octet| *octet == b'\n');
        while let (Some(name), Some(value)) = (lines.next(), lines.next()) {
            if name == wanted.as_bytes() {
                return Some(value);
            }
        }
        None
    }

    pub(super) fn octets(&self) -> &[u8] {
        &self.0
    }
}

impl<N: AsRef<str>, V: AsRef<[u8]>> Extend<(N, V)> for Fields {
    fn extend<I: IntoIterator<Item = (N, V)>>(&mut self, fields: I) {
        for (name, value) in fields {
            for part in [name.as_ref().as_bytes(), value.as_ref()] {
                self.0.extend_from_slice(part);
                self.0.push(b'\n');
            }
        }
    }
}

impl<N: AsRef<str>, V: AsRef<[u8]>> FromIterator<(N, V)> for Fields {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(fields: I) -> Self {
        let mut found = Self(Vec::with_capacity(512));
        found.extend(fields);
        found
    }
}

#[derive(Serialize)]
struct Ask<'q> {
    r#type: &'static str,
    id: u64,
    timeout_ms: u64,
    topic: &'q str,
    method: &'q str,
    target: &'q str,
    scheme: &'q str,
    http_version: &'q str,
    /// The port of a client says nothing about who it is, and many a proxy does not tell it.
    client: Option<(&'q str, u16)>,
    server: Option<(&'q str, u16)>,
    /// Octets of the tail that are header fields; behind them is the form.
    fields: usize,
    /// The form as pairs, where it is one that everybody reads alike.
    #[serde(skip_serializing_if = "Option::is_none")]
    form: Option<Vec<(String, String)>>,
}

/// Appends a question.
pub(super) fn ask(into: &mut BytesMut, id: u64, timeout: Duration, question: &Question) {
    let host = question.fields.get("host").and_then(|host| std::str::from_utf8(host).ok());
    let text = serde_json::to_vec(&Ask {
        r#type: "ask",
        id,
        timeout_ms: millis(timeout),
        topic: &question.topic,
        method: &question.method,
        target: &question.target,
        scheme: &question.scheme,
        http_version: &question.http_version,
        client: question.client.as_deref().map(|address| (address, 0)),
        server: host.map(|host| server(host, &question.scheme)),
        fields: question.fields.octets().len(),
        form: form(question),
    });
    frame::put(into, &text.expect("texts and numbers are always JSON"), &[question.fields.octets(), &question.body]);
}

/// Python takes several times as long to read a form as all of the way to it does. Octets that should have been escaped are
/// left to it, since it has its own opinion of them.
fn form(question: &Question) -> Option<Vec<(String, String)>> {
    let essence = question.fields.get("content-type")?.split(|octet| *octet == b';').next()?.trim_ascii();
    let is_form = essence.eq_ignore_ascii_case(b"application/x-www-form-urlencoded");
    let body = std::str::from_utf8(&question.body).ok().filter(|body| is_form && body.is_ascii())?;
    let text = |octets: &str| percent_decode_str(&octets.replace('+', " ")).decode_utf8_lossy().into_owned();
    let pairs = body.split('&').filter(|pair| !pair.is_empty()).map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    Some(pairs.map(|(name, value)| (text(name), text(value))).collect())
}

fn server<'q>(host: &'q str, scheme: &str) -> (&'q str, u16) {
    let usual = if scheme == "https" { 443 } else { 80 };
    // The colons of an IPv6 address stand before its bracket.
    match host.rsplit_once(':').filter(|(_, port)| !port.contains(']')) {
        Some((name, port)) => (name, port.parse().unwrap_or(usual)),
        None => (host, usual),
    }
}

/// Milliseconds of a wait.
pub(super) fn millis(wait: Duration) -> u64 {
    u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)
}

/// Appends the first words to a worker.
pub(super) fn hello(into: &mut BytesMut, options: &Options, table: &str, threads: usize) {
    let text = serde_json::json!({
        "type": "hello",
        "protocol": frame::PROTOCOL,
        "function": options.source.name(),
        "node": options.hub,
        "tenant": options.tenant,
        "config": options.config,
        "table": table,
        "threads": threads,
        "memory_bytes_max": options.memory_bytes_max,
    });
    frame::put(into, text.to_string().as_bytes(), &[]);
}

/// Appends new code.
pub(super) fn load(into: &mut BytesMut, generation: u64, file: &str, code: &str) {
    let text = serde_json::json!({"type": "load", "generation": generation, "file": file});
    frame::put(into, text.to_string().as_bytes(), &[code.as_bytes()]);
}

/// Appends the question whether somebody is there.
pub(super) fn ping(into: &mut BytesMut) {
    frame::put(into, br#"{"type":"ping","id":0}"#, &[]);
}

/// What a worker says.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Said {
    /// The first words.
    Hello { protocol: u64, python: String, fastapi: String, starlette: String },
    /// The code of this generation is there, or is at fault.
    Loaded { generation: u64, fault: Option<LoadFault> },
    /// A verdict.
    Verdict(Box<Answer>),
    /// It is there, and uses so much address space.
    Pong { memory: u64 },
}

/// Why code cannot be loaded.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct LoadFault {
    pub(super) line: usize,
    pub(super) reason: String,
}

/// A verdict as a worker words it.
#[derive(Debug, Deserialize)]
pub(super) struct Answer {
    pub(super) id: u64,
    verdict: Kind,
    identity: Option<String>,
    status: Option<i64>,
    detail: Option<String>,
    #[serde(default)]
    headers: Vec<(String, String)>,
    cause: Option<Cause>,
    reason: Option<String>,
    cache_for: Option<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Allowed,
    Denied,
    Unauthenticated,
    Nobody,
    Dictated,
    Failed,
    Overdue,
}

/// Why a function failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Cause {
    /// Its result is none of those that are allowed.
    Result,
    /// It raised something else than an `HTTPException`.
    Exception,
    /// It needed too much memory.
    Memory,
}

/// What an answer comes to.
#[derive(Debug)]
pub(super) enum Ruling {
    /// A verdict, and for how long it may be given again.
    Verdict(Verdict, Option<Duration>),
    /// The function is at fault: for the log, and for nobody else.
    Failed(Cause, String),
    /// The function gave up when its time was over.
    Overdue,
}

impl Answer {
    /// What it comes to. A verdict that lacks something is no verdict.
    pub(super) fn ruling(self) -> Option<Ruling> {
        let verdict = match self.verdict {
            Kind::Allowed | Kind::Denied => {
                let allowed = self.verdict == Kind::Allowed;
                let topic = if allowed { TopicVerdict::Allowed } else { TopicVerdict::Denied };
                Verdict::Authenticated { identity: Identity::parse(&self.identity?)?, topic }
            }
            Kind::Unauthenticated => Verdict::Unauthenticated,
            Kind::Nobody => Verdict::Nobody,
            Kind::Dictated => {
                let status = u16::try_from(self.status?).ok();
                let response = status.and_then(|code| Response::from_exception(code, &self.detail?, self.headers));
                let Some(response) = response else {
                    let reason = "its HTTPException cannot be sent: the status has to be from 200 to 599, and header \
                                  fields have to be printable ISO 8859-1";
                    return Some(Ruling::Failed(Cause::Result, reason.to_owned()));
                };
                Verdict::Dictated(response)
            }
            Kind::Failed => return Some(Ruling::Failed(self.cause?, self.reason?)),
            Kind::Overdue => return Some(Ruling::Overdue),
        };
        let keep = self.cache_for.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        Some(Ruling::Verdict(verdict, keep))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ruling(text: &str) -> Option<Ruling> {
        match serde_json::from_str(text).unwrap() {
            Said::Verdict(answer) => answer.ruling(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn answers_come_to_rulings() {
        let check = |more: &str, expected: &str| {
            let found = ruling(&format!(r#"{{"type":"verdict","id":1,{more}}}"#));
            let found = format!("{found:?}");
            assert!(found.starts_with(expected), "{more}: {found}");
        };
        check(
            r#""verdict":"allowed","identity":"a""#,
            "Some(Verdict(Authenticated { identity: Identity(\"a\"), topic: Allowed }, None))",
        );
        check(r#""verdict":"allowed""#, "None");
        check(r#""verdict":"allowed","identity":"""#, "None");
        check(&format!(r#""verdict":"allowed","identity":"{}""#, "a".repeat(1025)), "None");
        check(r#""verdict":"nobody","cache_for":2"#, "Some(Verdict(Nobody, Some(2s)))");
        check(r#""verdict":"nobody","cache_for":-2"#, "Some(Verdict(Nobody, None))");
        check(r#""verdict":"dictated","status":418,"detail":"1""#, "Some(Verdict(Dictated(Response { status: 418");
        check(r#""verdict":"dictated","status":99,"detail":"1""#, "Some(Failed(Result");
        check(r#""verdict":"dictated","status":400,"detail":"1","headers":[["a b","c"]]"#, "Some(Failed(Result");
        check(r#""verdict":"failed","cause":"memory","reason":"r""#, "Some(Failed(Memory, \"r\"))");
        check(r#""verdict":"failed""#, "None");
        check(r#""verdict":"overdue""#, "Some(Overdue)");
    }

    #[test]
    fn forms_are_read_as_python_reads_them() {
        let check = |content_type: &str, body: &'static [u8], expected: Option<&[(&str, &str)]>| {
            let question = Question {
                topic: String::new(),
                method: String::new(),
                target: String::new(),
                scheme: String::new(),
                http_version: String::new(),
                client: None,
                fields: [("a", "b"), ("content-type", content_type)].into_iter().collect(),
                body: body.into(),
            };
            let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
            assert_eq!(form(&question), expected.map(|pairs| pairs.iter().map(own).collect::<Vec<_>>()), "{body:?}");
        };
        // What `parse_qsl(…, keep_blank_values=True)` says to the same.
        const FORM: &str = "application/x-www-form-urlencoded";
        check(FORM, b"a=b&&c+d=e%20f=g&h&=i&", Some(&[("a", "b"), ("c d", "e f=g"), ("h", ""), ("", "i")]));
        check(FORM, b"a=%zz%4&b=%c3%a9%C3x", Some(&[("a", "%zz%4"), ("b", "\u{e9}\u{fffd}x")]));
        check(FORM, b"a=%ff%c3%28%e2%82%41%f0%9f%92", Some(&[("a", "\u{fffd}\u{fffd}(\u{fffd}A\u{fffd}")]));
        check("Application/X-WWW-Form-Urlencoded ; charset=x", b"", Some(&[]));
        check(FORM, b"a=\xc3\xa9", None);
        check("text/plain", b"a=b", None);
    }

    #[test]
    fn hosts_have_ports() {
        let check = |host, scheme, expected| assert_eq!(server(host, scheme), expected);
        check("a.example", "http", ("a.example", 80));
        check("a.example", "https", ("a.example", 443));
        check("a.example:8080", "https", ("a.example", 8080));
        check("[::1]", "http", ("[::1]", 80));
        check("[::1]:81", "http", ("[::1]", 81));
    }
}
