//! What is answered: refusals, their statuses and their one body, and the bodies of success.
//!
//! This is the only place that knows status codes. An error is never inside a 200, and a client's mistake is never a 500.
//! Nothing here knows how a refusal came about, and no internal detail reaches a body.

use std::borrow::Cow;
use std::fmt;
use std::io::Write as _;

use stentor_model::PublicationId;

/// The methods that the services take, as an `Allow` header.
pub const ALLOW: &str = "POST, PUT";

/// Seconds after which a client may try again when the server itself could not serve it.
const RETRY_AFTER_SECONDS: &str = "1";

/// Why a request was refused, by what its sender can do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RefusalKind {
    /// A query field or the body is not what it has to be.
    Malformed,
    /// The timestamp lies outside of the configured window.
    Expired,
    /// The key of a signed request is not the configured one.
    UnknownKey,
    /// The signature does not belong to the request.
    WrongSignature,
    /// The nonce, or the whole signed request, has been used before.
    Replayed,
    /// The client's address is not on the list, or cannot be told.
    Address,
    /// The request did not come over TLS.
    Tls,
    /// The service's role may not do this.
    NotAuthorized,
    /// Nobody registered the procedure.
    NoSuchProcedure,
    /// The method is neither POST nor PUT.
    Method,
    /// The body did not arrive in time.
    TooSlow,
    /// The body or the batch is larger than the limit.
    TooLarge,
    /// The content type is not JSON in UTF-8.
    MediaType,
    /// The procedure answered with an error of the application.
    Procedure,
    /// The client sends faster than it may.
    TooMany,
    /// The callee failed without saying why.
    CalleeFault,
    /// The server cannot serve this now; later it can.
    Unavailable,
    /// The callee did not answer in time.
    CalleeTimeout,
    /// The log of the topic has reached its limit.
    Full,
}

/// The one table from kinds to statuses.
///
/// `Expired` is 400 and not 401, as it always was in Crossbar: signing again with the same clock does not help. An
/// application's error is 422, because 5xx would make proxies retry calls or take the node out of service.
#[must_use]
pub const fn status_of(kind: &RefusalKind) -> u16 {
    match kind {
        RefusalKind::Malformed | RefusalKind::Expired => 400,
        RefusalKind::UnknownKey | RefusalKind::WrongSignature | RefusalKind::Replayed => 401,
        RefusalKind::Address | RefusalKind::Tls | RefusalKind::NotAuthorized => 403,
        RefusalKind::NoSuchProcedure => 404,
        RefusalKind::Method => 405,
        RefusalKind::TooSlow => 408,
        RefusalKind::TooLarge => 413,
        RefusalKind::MediaType => 415,
        RefusalKind::Procedure => 422,
        RefusalKind::TooMany => 429,
        RefusalKind::CalleeFault => 502,
        RefusalKind::Unavailable => 503,
        RefusalKind::CalleeTimeout => 504,
        RefusalKind::Full => 507,
    }
}

/// A request, or one item of a batch, that was not served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    kind: RefusalKind,
    error: Cow<'static, str>,
    detail: Detail,
}

/// What a refusal says besides its sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Detail {
    Nothing,
    /// The query field or the place in the body that is at fault.
    Field(Cow<'static, str>),
    /// The payload of a WAMP error, as JSON texts.
    Payload {
        args: Box<[u8]>,
        kwargs: Box<[u8]>,
    },
}

impl Refusal {
    /// A refusal with a sentence for the person who reads it.
    #[must_use]
    pub fn new(kind: RefusalKind, sentence: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, error: sentence.into(), detail: Detail::Nothing }
    }

    /// A query field or body that is not what it has to be.
    pub(super) fn malformed(sentence: impl Into<Cow<'static, str>>) -> Self {
        Self::new(RefusalKind::Malformed, sentence)
    }

    /// The same refusal, naming the field at fault.
    #[must_use]
    pub fn at(mut self, field: impl Into<Cow<'static, str>>) -> Self {
        self.detail = Detail::Field(field.into());
        self
    }

    /// The refusal that a WAMP error of the router or of a callee stands for.
    ///
    /// `args` is one JSON array and `kwargs` one JSON object, passed on as they are; nothing stands for empty.
    #[must_use]
    pub fn wamp(uri: &str, args: Option<&[u8]>, kwargs: Option<&[u8]>) -> Self {
        let kind = match uri {
            "wamp.error.not_authorized"
            | "wamp.error.authorization_denied"
            | "wamp.error.option_disallowed.disclose_me" => RefusalKind::NotAuthorized,
            "wamp.error.invalid_uri" | "wamp.error.invalid_argument" => RefusalKind::Malformed,
            "wamp.error.no_such_procedure" => RefusalKind::NoSuchProcedure,
            "wamp.error.timeout" => RefusalKind::CalleeTimeout,
            "wamp.error.runtime_error" => RefusalKind::CalleeFault,
            "stentor.error.log_full" => RefusalKind::Full,
            "wamp.error.canceled" | "wamp.error.unavailable" | "wamp.error.authorization_failed" => {
                RefusalKind::Unavailable
            }
            _ => RefusalKind::Procedure,
        };
        let detail = Detail::Payload { args: args.unwrap_or(b"[]").into(), kwargs: kwargs.unwrap_or(b"{}").into() };
        Self { kind, error: Cow::Owned(uri.to_owned()), detail }
    }

    /// A body of more than `limit` octets; how many it has is not known before its end, which nobody waits for.
    #[must_use]
    pub fn too_large(limit: usize) -> Self {
        Self::new(
            RefusalKind::TooLarge,
            format!("the request body is too long: it has more than the {limit} octets that this service accepts"),
        )
    }

    /// A body of `length` octets, as announced or counted, where `limit` are allowed.
    #[must_use]
    pub fn too_large_at(length: u64, limit: usize) -> Self {
        Self::new(
            RefusalKind::TooLarge,
            format!("the request body is too long: {length} octets, and this service accepts at most {limit}"),
        )
    }

    /// Why, by what can be done about it.
    #[must_use]
    pub const fn kind(&self) -> RefusalKind {
        self.kind
    }

    /// The status of an answer that consists of this refusal.
    #[must_use]
    pub const fn status(&self) -> u16 {
        status_of(&self.kind)
    }

    /// The sentence, or the URI of a WAMP error.
    #[must_use]
    pub fn error(&self) -> &str {
        &self.error
    }

    /// The field at fault, where there is one.
    #[must_use]
    pub fn field(&self) -> Option<&str> {
        match &self.detail {
            Detail::Field(field) => Some(field),
            Detail::Nothing | Detail::Payload { .. } => None,
        }
    }

    /// The positional arguments of a WAMP error, as a JSON text.
    #[must_use]
    pub fn payload_args(&self) -> Option<&[u8]> {
        match &self.detail {
            Detail::Payload { args, .. } => Some(args),
            Detail::Nothing | Detail::Field(_) => None,
        }
    }

    /// The header that belongs to the status, by RFC 9110 section 15.5 and 15.6.
    #[must_use]
    pub const fn header(&self) -> Option<(&'static str, &'static str)> {
        match self.status() {
            401 => Some(("www-authenticate", "HMAC-SHA256")),
            405 => Some(("allow", ALLOW)),
            415 => Some(("accept", "application/json, application/x-ndjson")),
            429 | 503 => Some(("retry-after", RETRY_AFTER_SECONDS)),
            _ => None,
        }
    }

    /// The body: `{"error": "...", "args": [...], "kwargs": {...}}`, compact.
    #[must_use]
    pub fn body(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64 + self.error.len());
        self.write(&mut out);
        out
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"error\":");
        write_string(out, &self.error);
        match &self.detail {
            Detail::Nothing => out.extend_from_slice(b",\"args\":[],\"kwargs\":{}}"),
            Detail::Field(field) => {
                out.extend_from_slice(b",\"args\":[],\"kwargs\":{\"field\":");
                write_string(out, field);
                out.extend_from_slice(b"}}");
            }
            Detail::Payload { args, kwargs } => {
                out.extend_from_slice(b",\"args\":");
                out.extend_from_slice(args);
                out.extend_from_slice(b",\"kwargs\":");
                out.extend_from_slice(kwargs);
                out.push(b'}');
            }
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.error)
    }
}

impl std::error::Error for Refusal {}

/// Which of Crossbar's two names the service was configured by. The name decides the status of success: clients of the
/// old one raise unless it is exactly 202, clients of the new one expect 200.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceName {
    /// `pusher`, 2014.
    Pusher,
    /// `publisher`, and `caller`, since 2015.
    Publisher,
}

impl ServiceName {
    /// The status of a request that was served whole.
    #[must_use]
    pub const fn success_status(self) -> u16 {
        match self {
            Self::Pusher => 202,
            Self::Publisher => 200,
        }
    }
}

/// The body of a publication that was accepted: `{"id":N}`.
#[must_use]
pub fn published(id: PublicationId) -> Vec<u8> {
    let mut out = Vec::with_capacity(32);
    write!(out, "{{\"id\":{id}}}").expect("a vector takes every octet");
    out
}

/// The body of a call that was answered: `{"args":[...]}`, with `kwargs` where the callee sent some.
///
/// Both slices are JSON texts and are passed on as they are.
#[must_use]
pub fn called(args: Option<&[u8]>, kwargs: Option<&[u8]>) -> Vec<u8> {
    let mut out = b"{\"args\":".to_vec();
    out.extend_from_slice(args.unwrap_or(b"[]"));
    if let Some(kwargs) = kwargs {
        out.extend_from_slice(b",\"kwargs\":");
        out.extend_from_slice(kwargs);
    }
    out.push(b'}');
    out
}

/// The status and the body of a batch: one entry per item, in order, each as it would be answered alone.
///
/// - All items published: the status of success of this service.
/// - Some refused: 207, so that no error hides inside a 200 and no publication inside a 400.
/// - All refused: the largest of their statuses. Where one item could succeed later (503), so could the batch.
#[must_use]
pub fn batch(service: ServiceName, items: &[Result<PublicationId, Refusal>]) -> (u16, Vec<u8>) {
    let mut out = Vec::with_capacity(2 + items.len() * 26);
    out.push(b'[');
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        match item {
            Ok(id) => out.extend_from_slice(&published(*id)),
            Err(refusal) => refusal.write(&mut out),
        }
    }
    out.push(b']');
    let refused = items.iter().filter_map(|item| item.as_ref().err());
    let status = match refused.clone().map(Refusal::status).max() {
        None => service.success_status(),
        Some(worst) if refused.count() == items.len() => worst,
        Some(_) => 207,
    };
    (status, out)
}

fn write_string(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("a string is always JSON, and writing to memory cannot fail");
}

/// Text of a client inside a sentence: quoted, on one line, shortened.
pub(super) fn quote(text: &[u8]) -> String {
    const SHOWN: usize = 80;
    let text = String::from_utf8_lossy(text);
    let shown: String = text.chars().take(SHOWN).flat_map(char::escape_debug).collect();
    if text.chars().nth(SHOWN).is_some() { format!("'{shown}...'") } else { format!("'{shown}'") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(raw: u64) -> PublicationId {
        PublicationId::new(raw).unwrap()
    }

    fn text(body: Vec<u8>) -> String {
        String::from_utf8(body).unwrap()
    }

    #[test]
    fn bodies_have_one_shape() {
        let plain = Refusal::new(RefusalKind::Tls, "say \"please\"");
        assert_eq!(text(plain.body()), r#"{"error":"say \"please\"","args":[],"kwargs":{}}"#);
        let field = Refusal::malformed("no").at("options.eligible[2]");
        assert_eq!(text(field.body()), r#"{"error":"no","args":[],"kwargs":{"field":"options.eligible[2]"}}"#);
        let wamp = Refusal::wamp("wamp.error.not_authorized", Some(br#"["not you"]"#), None);
        assert_eq!(text(wamp.body()), r#"{"error":"wamp.error.not_authorized","args":["not you"],"kwargs":{}}"#);
        assert_eq!(text(published(id(4_532_703_899_599_182))), r#"{"id":4532703899599182}"#);
        assert_eq!(text(called(Some(b"[5]"), None)), r#"{"args":[5]}"#);
        assert_eq!(text(called(None, Some(br#"{"a":1}"#))), r#"{"args":[],"kwargs":{"a":1}}"#);
    }

    #[test]
    fn wamp_errors_are_never_a_success() {
        for (uri, status) in [
            ("wamp.error.not_authorized", 403),
            ("wamp.error.invalid_uri", 400),
            ("wamp.error.invalid_argument", 400),
            ("wamp.error.no_such_procedure", 404),
            ("wamp.error.timeout", 504),
            ("wamp.error.runtime_error", 502),
            ("wamp.error.canceled", 503),
            ("com.example.out_of_stock", 422),
        ] {
            assert_eq!(Refusal::wamp(uri, None, None).status(), status, "{uri}");
        }
    }

    #[test]
    fn statuses_bring_their_headers() {
        for (kind, header) in [
            (RefusalKind::Method, Some("allow")),
            (RefusalKind::UnknownKey, Some("www-authenticate")),
            (RefusalKind::MediaType, Some("accept")),
            (RefusalKind::Unavailable, Some("retry-after")),
            (RefusalKind::TooMany, Some("retry-after")),
            (RefusalKind::Malformed, None),
        ] {
            assert_eq!(Refusal::new(kind, "").header().map(|(name, _)| name), header, "{kind:?}");
        }
    }

    #[test]
    fn a_batch_answers_each_item_and_hides_nothing() {
        let bad = || Err(Refusal::malformed("bad"));
        let later = || Err(Refusal::new(RefusalKind::Unavailable, "later"));
        for (service, items, status) in [
            (ServiceName::Pusher, vec![Ok(id(1)), Ok(id(2))], 202),
            (ServiceName::Publisher, vec![Ok(id(1))], 200),
            (ServiceName::Pusher, vec![Ok(id(1)), bad()], 207),
            (ServiceName::Pusher, vec![bad(), bad()], 400),
            (ServiceName::Pusher, vec![bad(), later()], 503),
        ] {
            assert_eq!(batch(service, &items).0, status);
        }
        let (_, body) = batch(ServiceName::Pusher, &[Ok(id(1)), bad()]);
        assert_eq!(text(body), r#"[{"id":1},{"error":"bad","args":[],"kwargs":{}}]"#);
    }

    #[test]
    fn quotes_stay_on_one_line_and_short() {
        assert_eq!(quote(b"a\nb"), "'a\\nb'");
        assert_eq!(quote("x".repeat(100).as_bytes()).len(), 85);
    }
}
