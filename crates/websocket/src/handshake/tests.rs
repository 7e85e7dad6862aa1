//! Handshakes that are right, and each way to be wrong.

use super::*;

/// The request of RFC 6455 section 1.3.
const GOOD: [(&str, &str); 5] = [
    ("Host", "server.example.com"),
    ("Upgrade", "websocket"),
    ("Connection", "Upgrade"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ("Sec-WebSocket-Version", "13"),
];

#[test]
fn requests() {
    let accepted = || Ok("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=".to_owned());
    assert_eq!(check("GET", HttpVersion::Http11, &GOOD), accepted());
    assert_eq!(check("POST", HttpVersion::Http11, &GOOD), Err(Refusal::Method));
    assert_eq!(check("GET", HttpVersion::Other, &GOOD), Err(Refusal::HttpVersion));
    // Each row replaces the values of one header.
    let with = |name: &str, values: &[&str], expect: Result<String, Refusal>| {
        let mut headers: Vec<_> = GOOD.into_iter().filter(|(found, _)| !found.eq_ignore_ascii_case(name)).collect();
        headers.extend(values.iter().map(|value| (name, *value)));
        assert_eq!(check("GET", HttpVersion::Http11, headers.as_slice()), expect, "{name}: {values:?}");
    };
    with("upgrade", &["h2c", "foo, WebSocket"], accepted());
    with("upgrade", &[], Err(Refusal::NotAnUpgrade));
    with("upgrade", &["h2c"], Err(Refusal::NotAnUpgrade));
    with("connection", &["keep-alive, upgrade"], accepted());
    with("connection", &["keep-alive", "Upgrade"], accepted());
    with("connection", &["keep-alive"], Err(Refusal::Connection));
    with("connection", &[], Err(Refusal::Connection));
    with("sec-websocket-version", &[" 13 "], accepted());
    for bad in [&[][..], &["8"], &["13, 8"], &["013"], &["13", "13"]] {
        with("sec-websocket-version", bad, Err(Refusal::Version));
    }
    let key = "sec-websocket-key";
    for bad in ["", "AAAA", "dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZSBub25jZTE=", "dGhlIHNhbXBsZSBub25jZ!=="] {
        with(key, &[bad], Err(Refusal::Key));
    }
    with(key, &[], Err(Refusal::Key));
    with(key, &["dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZQ=="], Err(Refusal::Key));
    with(key, &["dGhlIHNhbXBsZSBub25jZR=="], Ok(accept("dGhlIHNhbXBsZSBub25jZR==")));
}

#[test]
fn subprotocols() {
    let check = |client: &[&str], expect: Option<&str>| {
        let supported = ["wamp.2.cbor", "wamp.2.json"];
        assert_eq!(pick_subprotocol(client.iter().copied(), &supported), expect, "{client:?}");
    };
    check(&["wamp.2.json"], Some("wamp.2.json"));
    check(&["wamp.2.json, wamp.2.cbor"], Some("wamp.2.json"));
    check(&["wamp.2.msgpack ,wamp.2.cbor"], Some("wamp.2.cbor"));
    check(&["mqtt", "wamp.2.cbor"], Some("wamp.2.cbor"));
    check(&["WAMP.2.JSON"], None);
    check(&["wamp.2"], None);
    check(&[""], None);
    check(&[], None);
}
