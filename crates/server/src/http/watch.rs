//! `/metrics`, `/health/live` and `/health/ready`: for whoever looks after the node, and nobody else.
//!
//! A configured path answers whoever has its token. Without configuration the three are there for programs on the same
//! machine only, on endpoints that nobody else can reach; everybody else is told what is told about any unknown path.

use std::net::IpAddr;
use std::sync::Arc;

use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Version};
use ring::hmac;
use ring::rand::SystemRandom;
use stentor_model::Secret;

use super::Remote;
use super::reply::{self, Reply};
use super::scrape::{Stage, Watch};
use crate::meter::text;

/// Headers by which a proxy says that it carries somebody else's request.
const PROXY_HEADERS: [HeaderName; 4] =
    [header::FORWARDED, HeaderName::from_static("x-forwarded-for"), HeaderName::from_static("x-real-ip"), header::VIA];

/// A configured path for those who look after the node.
#[derive(Debug)]
pub struct WatchService {
    /// What is told.
    pub subject: Subject,
    /// What has to be shown for it.
    pub token: Option<Token>,
    /// Who knows.
    pub watch: Arc<Watch>,
}

/// What is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// Numbers.
    Metrics,
    /// Whether the node lives, and whether it is ready.
    Health,
}

/// A bearer token (RFC 6750 section 2.1) that can be recognised and not read.
#[derive(Debug)]
pub struct Token {
    key: hmac::Key,
    tag: hmac::Tag,
}

/// One question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Question {
    Metrics,
    Live,
    Ready,
}

impl Token {
    /// Recognises this secret.
    #[must_use]
    pub fn new(secret: &Secret) -> Self {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new())
            .expect("the kernel's random source does not fail once it has started");
        Self { tag: hmac::sign(&key, secret.expose().as_bytes()), key }
    }

    /// Whether a request shows it. Authentication codes are compared instead of the texts, and in constant time, so the
    /// time it takes says nothing about the token.
    pub(super) fn is_shown(&self, headers: &HeaderMap) -> bool {
        let mut values = headers.get_all(header::AUTHORIZATION).iter();
        let (Some(value), None) = (values.next(), values.next()) else { return false };
        let Some((scheme, token)) = value.as_bytes().split_at_checked(b"Bearer ".len()) else { return false };
        scheme.eq_ignore_ascii_case(b"Bearer ") && hmac::verify(&self.key, token, self.tag.as_ref()).is_ok()
    }
}

impl WatchService {
    /// Answers on the configured path; `rest` is what follows it.
    pub(super) async fn answer(&self, method: &Method, rest: &str, headers: &HeaderMap) -> Reply {
        let question = match (self.subject, rest) {
            (Subject::Metrics, "") => Question::Metrics,
            (Subject::Health, "live") => Question::Live,
            (Subject::Health, "ready") => Question::Ready,
            _ => return reply::text(404, "There is nothing here"),
        };
        if self.token.as_ref().is_some_and(|token| !token.is_shown(headers)) {
            let mut reply =
                reply::text(401, "This path takes the token of its configuration, as Authorization: Bearer");
            reply.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            return reply;
        }
        answer(&self.watch, question, method).await
    }
}

/// The question that a path asks without configuration.
pub(super) fn question(path: &str) -> Option<Question> {
    match path {
        "/metrics" => Some(Question::Metrics),
        "/health/live" => Some(Question::Live),
        "/health/ready" => Some(Question::Ready),
        _ => None,
    }
}

/// Whether a request comes from a program on this machine; any other is answered as if the path were unknown.
pub(super) fn is_local<B>(request: &Request<B>, remote: Remote) -> bool {
    remote.address.is_none_or(|address| address.is_loopback()) && is_direct(request)
}

/// Whether a request was meant for this machine by a program on it. A proxy on the same machine would publish what it is
/// given, and a page whose name was bound to 127.0.0.1 would read it (DNS rebinding), but such a page cannot change the Host.
fn is_direct<B>(request: &Request<B>) -> bool {
    let headers = request.headers();
    // HTTP/1.0 is what proxies speak that were told nothing else; what asks by itself has been past it for long.
    request.version() == Version::HTTP_11
        && PROXY_HEADERS.iter().all(|name| !headers.contains_key(name))
        && request.uri().host().is_none_or(is_loopback)
        && headers
            .get(header::HOST)
            .and_then(|host| host.to_str().ok())
            .is_some_and(|host| is_loopback(without_port(host)))
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        // The colons within the brackets of an IPv6 address separate no port.
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

/// Whether a host, without its port, is this machine by its loopback name or address.
pub(crate) fn is_loopback(host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    bare.eq_ignore_ascii_case("localhost")
        || bare.parse().is_ok_and(|address: IpAddr| address.to_canonical().is_loopback())
}

/// The answer to a question that may be asked.
pub(super) async fn answer(watch: &Watch, question: Question, method: &Method) -> Reply {
    if !matches!(*method, Method::GET | Method::HEAD) {
        let mut reply = reply::text(405, "This path answers GET and HEAD");
        reply.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return reply;
    }
    match question {
        Question::Metrics => {
            let mut reply = reply::with_body(200, text::MEDIA_TYPE, watch.scrape().await);
            reply.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
            reply
        }
        Question::Live => reply::json(200, r#"{"status":"live"}"#),
        Question::Ready => match watch.stage() {
            Stage::Starting => reply::json(503, r#"{"status":"starting"}"#),
            Stage::Ready => reply::json(200, r#"{"status":"ready"}"#),
            Stage::Draining => reply::json(503, r#"{"status":"draining"}"#),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_few_names() {
        let check = |host, expected| assert_eq!(is_loopback(without_port(host)), expected, "{host}");
        for host in
            ["localhost", "LocalHost:8080", "127.0.0.1", "127.1.2.3:1", "[::1]", "[::1]:80", "[::ffff:127.0.0.1]"]
        {
            check(host, true);
        }
        for host in [
            "",
            ":80",
            "example.com",
            "localhost.example.com:80",
            "10.0.0.1",
            "127.0.0.1.nip.io",
            "[::2]",
            "localhost:x",
        ] {
            check(host, false);
        }
    }

    #[test]
    fn a_token_is_recognised_whole() {
        let token = Token::new(&Secret::new("s3cret"));
        let check = |values: &[&str], expected| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::AUTHORIZATION, value.parse().unwrap());
            }
            assert_eq!(token.is_shown(&headers), expected, "{values:?}");
        };
        check(&["Bearer s3cret"], true);
        check(&["bearer s3cret"], true);
        for wrong in ["", "Bearer", "Bearer ", "Bearer s3cre", "Bearer s3cret2", "Basic s3cret", "s3cret"] {
            check(&[wrong], false);
        }
        check(&[], false);
        check(&["Bearer s3cret", "Bearer s3cret"], false);
    }
}
