//! The opening handshake: offers of compression, subprotocols and the request itself.
//!
//! The input is text: a line with the method, then lines of `Name: value` as in a request.

use stentor_websocket::deflate::{ClientWindow, Offer, Policy, Window, negotiate};
use stentor_websocket::handshake::{self, HttpVersion, NullOrigin, Origins, check, pick_subprotocol};

const EXTENSIONS: &str = "sec-websocket-extensions";
const PROTOCOL: &str = "sec-websocket-protocol";
const SUPPORTED: [&str; 3] = ["wamp.2.json", "wamp.2.msgpack", "wamp.2.cbor.batched"];

pub(crate) fn headers(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (method, rest) = text.split_once('\n').unwrap_or((text, ""));
    let fields: Vec<(&str, &str)> = rest.lines().filter_map(|line| line.split_once(": ")).collect();
    let values = |name: &str| -> Vec<&str> {
        fields.iter().filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| *value).collect()
    };
    if let Ok(accept) = check(method, HttpVersion::Http11, fields.as_slice()) {
        let keys = values("sec-websocket-key");
        assert_eq!((method, keys.len()), ("GET", 1));
        assert_eq!(accept, handshake::accept(keys[0].trim()));
    }
    subprotocols(&values(PROTOCOL));
    for policy in [Policy::default(), Policy { max_window_bits: 9, request_max_window_bits: 12 }] {
        offers(&values(EXTENSIONS), &policy);
    }
    origins(&values("x-pattern"), &values("origin"));
}

fn subprotocols(values: &[&str]) {
    let asked = || values.iter().flat_map(|value| value.split(',')).map(str::trim);
    let expect = asked().find(|name| SUPPORTED.contains(name));
    assert_eq!(pick_subprotocol(values.iter().copied(), &SUPPORTED), expect);
}

/// An answer is a legal one to the first offer that can be read.
fn offers(values: &[&str], policy: &Policy) {
    let quoted = values.iter().any(|value| value.contains('"'));
    let offer = values.iter().flat_map(|value| value.split(',')).find_map(Offer::parse);
    let Some((agreed, answer)) = negotiate(values.iter().copied(), policy) else {
        assert!(quoted || offer.is_none(), "an offer was passed over");
        return;
    };
    let answered = Offer::parse(&answer).expect("an answer has the grammar of an offer");
    assert!(answered.server_no_context_takeover && answered.client_no_context_takeover);
    let bits = answered.server_max_window_bits.unwrap_or(15);
    assert_eq!(Window::for_bits(bits), agreed.server_window);
    if quoted {
        return;
    }
    let offer = offer.expect("only an offer is answered");
    assert!(bits <= offer.server_max_window_bits.unwrap_or(15));
    assert!(answered.server_max_window_bits.is_some() || offer.server_max_window_bits.is_none());
    match (offer.client_max_window_bits, answered.client_max_window_bits) {
        (ClientWindow::Unrestricted, answer) => assert_eq!(answer, ClientWindow::Unrestricted),
        (_, ClientWindow::Willing) => panic!("a value is missing in {answer}"),
        (ClientWindow::AtMost(most), answer) => assert!(matches!(answer, ClientWindow::AtMost(bits) if bits <= most)),
        (ClientWindow::Willing, _) => {}
    }
}

fn origins(patterns: &[&str], origins: &[&str]) {
    let list = Origins::new(patterns.iter().copied(), NullOrigin::Refuse);
    let all = Origins::new(["*"], NullOrigin::Allow);
    for origin in origins {
        let admitted = list.admits(Some(origin));
        assert!(!admitted || !patterns.is_empty(), "an empty list lets no page in");
        assert!(!admitted || !origin.trim().eq_ignore_ascii_case("null"), "null is refused");
        let literal = patterns.iter().any(|pattern| pattern.trim().eq_ignore_ascii_case(origin.trim()));
        assert!(!admitted || literal || patterns.iter().any(|pattern| pattern.contains('*') || pattern.contains(':')));
        assert!(all.admits(Some(origin)), "all are let in, also those that have no origin to show");
    }
}
