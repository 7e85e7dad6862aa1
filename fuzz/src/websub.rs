//! What strangers and publishers say to a hub: forms, messages, and the URLs in both.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use stentor_model::Topic;
use stentor_websub::address::{self, Address};
use stentor_websub::callback::{denial_url, verification_url};
use stentor_websub::headers::link;
use stentor_websub::message::{self, Source};
use stentor_websub::options::HubOptions;
use stentor_websub::request::{self, Intent, Refusal, Request, Wish};

const MESSAGE_BYTES_MAX: usize = 4096;

pub(crate) fn form(data: &[u8]) {
    url(data);
    let options = HubOptions::new("https://hub.example/");
    let fields = naive(data);
    let all =
        |wanted: &'static str| fields.iter().filter(move |(name, _)| name == wanted.as_bytes()).map(|(_, value)| value);
    match request::parse(Some("application/x-www-form-urlencoded"), data, &options) {
        Err(refusal) => explained(&refusal),
        Ok(Request::Intent(intent)) => {
            assert!(all("hub.mode").all(|mode| mode == intent.wish.mode().as_bytes()));
            assert!(all("hub.callback").all(|url| url == intent.pair.callback.url().as_bytes()));
            assert!(all("hub.topic").all(|topic| topic == intent.pair.topic.text().as_bytes()));
            if let Wish::Subscribe { secret: Some(secret), .. } = &intent.wish {
                assert!(
                    all("hub.secret").any(|given| given == secret.expose().as_bytes()) && secret.expose().len() < 200
                );
            }
            asked(&intent);
        }
        Ok(Request::Ping(topics)) => {
            assert!(!topics.is_empty() && topics.len() <= options.limits.ping_topics_max);
            topics.iter().for_each(linked);
        }
    }
}

/// A verification and a denial go to the callback as the subscriber wrote it, with our fields behind its own query.
fn asked(intent: &Intent) {
    let Intent { pair, wish } = intent;
    linked(pair.topic.topic());
    for (url, mode) in [
        (verification_url(pair, wish, "challenge", 60), wish.mode()),
        (denial_url(pair, Some("a reason & more")), "denied"),
    ] {
        let ours = url.as_str().strip_prefix(pair.callback.url()).expect("the callback stands first");
        let ours = naive(ours.trim_start_matches(['?', '&']).as_bytes());
        assert_eq!(ours[0], (b"hub.mode".to_vec(), mode.as_bytes().to_vec()));
        assert_eq!(ours[1], (b"hub.topic".to_vec(), pair.topic.text().as_bytes().to_vec()));
        let there = Address::parse(url.as_str()).expect("fields make no URL worse");
        assert_eq!(there.authority, pair.callback.address().authority);
    }
}

pub(crate) fn body(data: &[u8]) {
    let opinion: Option<Value> = serde_json::from_slice(data).ok();
    let message = match message::parse(data, MESSAGE_BYTES_MAX) {
        Err(refusal) => return explained(&refusal),
        Ok(message) => message,
    };
    assert!(data.len() <= MESSAGE_BYTES_MAX);
    linked(&message.topic);
    // What serde_json reads as a tree has limits for numbers that mean nothing here.
    let Some(opinion) = opinion else { return };
    let text = |name: &str| opinion.get(name).and_then(Value::as_str);
    assert_eq!(text("topic").and_then(|text| address::topic(text).ok()).as_ref(), Some(&message.topic));
    let decoded = text("contentBase64").map(|text| STANDARD.decode(text).expect("it was decoded before"));
    let (content, fetched) = match message.source {
        Source::Content(content) => (Some(content), None),
        Source::Fetch(fetch) => (fetch.fallback, Some(fetch.url)),
    };
    assert_eq!(fetched.as_deref(), text("contentUrl"));
    assert_eq!(content.map(|content| content.body), decoded);
}

/// Both ways to the origin of a URL agree, and neither panics.
fn url(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(Address { scheme, host, port, .. }) = Address::parse(text) {
        let (scheme, host) = (format!("{scheme:?}").to_ascii_lowercase(), host.to_string());
        assert_eq!(Address::origin(text), Ok(format!("{scheme}://{host}:{port}")));
    }
    if let Ok(topic) = address::topic(text) {
        assert_eq!(address::topic(topic.as_str()).as_ref(), Ok(&topic), "a topic is the same the second time");
    }
}

/// Nothing in a topic ends its place in a `Link` field.
fn linked(topic: &Topic) {
    let field = link("https://hub.example/", topic);
    assert!(field.bytes().all(|octet| matches!(octet, b' '..=b'~')), "{field}");
    assert_eq!((field.matches('<').count(), field.matches('>').count(), field.matches('"').count()), (2, 2, 4));
    assert!(field.ends_with(">; rel=\"self\""));
}

/// A refusal is one sentence.
fn explained(refusal: &Refusal) {
    let sentence = refusal.to_string();
    assert!(!sentence.is_empty() && !sentence.contains(['\n', '\r', '\0']), "{sentence:?}");
}

/// The fields of a form, as a naive reader sees them.
fn naive(data: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let decode = |octets: &[u8]| {
        let (mut out, mut at) = (Vec::new(), 0);
        while let Some(&octet) = octets.get(at) {
            let hex = octets.get(at + 1..at + 3).filter(|pair| pair.iter().all(u8::is_ascii_hexdigit));
            match (octet, hex) {
                (b'%', Some(pair)) => {
                    let pair = std::str::from_utf8(pair).expect("two digits are text");
                    out.push(u8::from_str_radix(pair, 16).expect("two digits are a number"));
                    at += 2;
                }
                (b'+', _) => out.push(b' '),
                _ => out.push(octet),
            }
            at += 1;
        }
        out
    };
    data.split(|octet| *octet == b'&')
        .filter(|field| !field.is_empty())
        .map(|field| {
            let (name, value) = field.split_at(field.iter().position(|octet| *octet == b'=').unwrap_or(field.len()));
            (decode(name), decode(value.strip_prefix(b"=").unwrap_or_default()))
        })
        .collect()
}
