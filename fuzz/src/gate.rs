//! The gate of the pusher: who asks, and whether the signature is theirs.

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ipnet::IpNet;
use jiff::Timestamp;
use ring::{digest, hmac};
use stentor::pusher::gate::ContentType;
use stentor::pusher::signature::Credentials;
use stentor::pusher::{Gate, GateOptions, Head, RefusalKind, Standing};
use stentor_model::Secret;

use crate::pusher::explained;

const PROXY: &str = "10.0.0.1";
const TRUSTED: [&str; 2] = ["10.0.0.0/8", "fd00::/8"];
/// An address that no proxy of ours has, which a proxy writes behind whatever the client said.
const STRANGER: &str = "198.51.100.7";

/// Headers of a request: lines of `F: Forwarded`, `X: X-Forwarded-For`, `P: X-Forwarded-Proto` and `T: Content-Type`.
pub(crate) fn head(data: &[u8]) {
    let lines: Vec<(u8, &[u8])> = data
        .split(|octet| *octet == b'\n')
        .filter_map(|line| match line {
            [name @ (b'F' | b'X' | b'P' | b'T'), b':', b' ', value @ ..] => Some((*name, value)),
            _ => None,
        })
        .collect();
    let values = |name: u8| -> Vec<&[u8]> {
        lines.iter().filter(|(found, _)| *found == name).map(|(_, value)| *value).collect()
    };
    let head = Head {
        method: "POST",
        content_type: match values(b'T').as_slice() {
            [] => ContentType::Absent,
            [one] => ContentType::Once(one),
            _ => ContentType::Repeated,
        },
        peer: PROXY.parse().ok(),
        forwarded: values(b'F'),
        x_forwarded_for: values(b'X'),
        x_forwarded_proto: values(b'P'),
        ..Head::default()
    };
    let direct = Head { peer: STRANGER.parse().ok(), ..head.clone() };
    if let Some(client) = admitted(&direct) {
        assert_eq!(client, direct.peer, "a stranger's headers are not believed");
    }
    let client = admitted(&head);
    let believed = head.forwarded.is_empty() && head.content_type == ContentType::Absent;
    if believed && let Some(client) = client {
        let expect = customary(&head.x_forwarded_for);
        assert_eq!(client, expect.unwrap_or(head.peer));
    }
    appended(&head);
}

/// The client of a request that is admitted.
fn admitted(head: &Head<'_>) -> Option<Option<IpAddr>> {
    let trusted_proxies = TRUSTED.iter().map(|text| text.parse().expect("a network")).collect();
    let gate = Gate::new(GateOptions { trusted_proxies, ..GateOptions::default() });
    match gate.admit(head) {
        Ok(admitted) => Some(admitted.client),
        Err(refusal) => {
            explained(&refusal);
            None
        }
    }
}

/// Whatever a client writes into a header that a proxy then adds its address to, it cannot be taken for anybody else.
fn appended(head: &Head<'_>) {
    let stranger: IpAddr = STRANGER.parse().expect("an address");
    let lists: [(&[&[u8]], &str); 2] = [(&head.forwarded, "for="), (&head.x_forwarded_for, "")];
    for (place, (values, prefix)) in lists.into_iter().enumerate() {
        let Some((last, before)) = values.split_last() else { continue };
        let last = [*last, b", ", prefix.as_bytes(), STRANGER.as_bytes()].concat();
        let list = [before, &[&*last]].concat();
        let mut head = Head { method: "POST", peer: head.peer, ..Head::default() };
        *(if place == 0 { &mut head.forwarded } else { &mut head.x_forwarded_for }) = list;
        let client = admitted(&head).expect("nothing else is asked");
        assert!(client.is_none_or(|client| client == stranger), "{client:?} was made up");
    }
}

/// The same walk, written down naively: from the right, past the trusted. Plain addresses only; `None` without any hop.
fn customary(values: &[&[u8]]) -> Option<Option<IpAddr>> {
    let trusted: Vec<IpNet> = TRUSTED.iter().map(|text| text.parse().expect("a network")).collect();
    let items: Vec<&[u8]> = values.iter().flat_map(|value| value.split(|octet| *octet == b',')).collect();
    let mut client = None;
    for item in items.into_iter().rev().map(<[u8]>::trim_ascii).filter(|item| !item.is_empty()) {
        let address = address(item);
        client = Some(address);
        if !address.is_some_and(|address| trusted.iter().any(|network| network.contains(&address))) {
            break;
        }
    }
    client
}

fn address(item: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(item).ok()?;
    let six = text.strip_prefix('[').and_then(|rest| {
        let (inside, port) = rest.split_once(']')?;
        // Digits only: what parses numbers takes a sign as well.
        let is_port = |port: &str| port.bytes().all(|octet| octet.is_ascii_digit()) && port.parse::<u16>().is_ok();
        (port.is_empty() || is_port(port.strip_prefix(':')?)).then_some(inside)
    });
    let address = match six {
        Some(inside) => inside.parse::<IpAddr>(),
        None => text.parse().or_else(|_| text.split(':').next().unwrap_or_default().parse()),
    };
    address.ok().map(|address| address.to_canonical())
}

const SECRET: &[u8] = b"secret";
const NOW: &str = "2026-11-22T00:19:14.527Z";

/// A query, and behind the first line feed a body.
pub(crate) fn query(data: &[u8]) {
    let end = data.iter().position(|octet| *octet == b'\n').unwrap_or(data.len());
    let Ok(query) = std::str::from_utf8(&data[..end]) else { return };
    let body = data.get(end + 1..).unwrap_or_default();
    let fields = fields(query);
    let gate = gate();
    let parts = gate.signed_parts(query, body).expect("this gate asks for signatures");
    let [key, timestamp, seq, nonce, _] = fields.each_ref().map(|field| field.as_deref().unwrap_or_default());
    let signed = [key, timestamp, seq, nonce, body];
    assert_eq!(parts.lengths, signed.map(<[u8]>::len), "the fields were read otherwise");
    let hash = digest::digest(&digest::SHA256, &signed.concat());
    let prefix: String = hash.as_ref()[..4].iter().map(|octet| format!("{octet:02x}")).collect();
    assert_eq!(parts.sha256_prefix, prefix);

    let now: Timestamp = NOW.parse().expect("a moment");
    match gate.verify(query, body, now) {
        Ok(standing) => {
            assert_eq!(standing, Standing::Signed);
            assert_eq!(key, b"foobar");
            assert!(fields.iter().all(Option::is_some));
        }
        Err(refusal) => explained(&refusal),
    }
    rightly_signed(query, body, signed, &fields, now);
}

/// The same request with the right key and signature passes, if the other fields are what they have to be.
fn rightly_signed(query: &str, body: &[u8], signed: [&[u8]; 5], fields: &[Option<Vec<u8>>; 5], now: Timestamp) {
    let [_, timestamp, seq, nonce, _] = signed;
    let signed = [b"foobar", timestamp, seq, nonce, body].concat();
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET), &signed);
    let query = format!("key=foobar&signature={}&{query}", URL_SAFE_NO_PAD.encode(tag));
    let gate = gate();
    let present = fields[1..4].iter().all(Option::is_some);
    match gate.verify(&query, body, now) {
        Ok(standing) => {
            assert_eq!(standing, Standing::Signed);
            assert!(present && is_integer(seq) && is_integer(nonce));
            let text = std::str::from_utf8(timestamp).expect("a timestamp is ASCII");
            assert!(text.parse::<Timestamp>().is_ok(), "{text} is no timestamp");
            let replay = gate.verify(&query, body, now).expect_err("the second time is a replay");
            assert_eq!(replay.kind(), RefusalKind::Replayed);
        }
        Err(refusal) => {
            explained(&refusal);
            let mended = match refusal.field() {
                Some("timestamp") => is_timestamp(timestamp),
                Some("seq") => is_integer(seq),
                Some("nonce") => is_integer(nonce),
                _ => true,
            };
            assert!(!present || !mended, "refused: {refusal}");
        }
    }
}

fn gate() -> Gate {
    let secret = Secret::new(std::str::from_utf8(SECRET).expect("ASCII"));
    let credentials = Some(Credentials { key: "foobar".to_owned(), secret });
    Gate::new(GateOptions { credentials, ..GateOptions::default() })
}

/// Key, timestamp, seq, nonce and signature by the letter of the URL standard (`application/x-www-form-urlencoded`).
fn fields(query: &str) -> [Option<Vec<u8>>; 5] {
    ["key", "timestamp", "seq", "nonce", "signature"].map(|name| {
        query.split('&').find_map(|pair| {
            let mut halves = pair.splitn(2, '=');
            let (found, value) = (halves.next().unwrap_or_default(), halves.next().unwrap_or_default());
            (decoded(found) == name.as_bytes()).then(|| decoded(value))
        })
    })
}

fn decoded(text: &str) -> Vec<u8> {
    let text = text.replace('+', " ").into_bytes();
    let mut out = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let digits = text.get(at + 1..at + 3).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        match digits.and_then(|digits| std::str::from_utf8(digits).ok()) {
            Some(digits) if text[at] == b'%' => {
                out.push(u8::from_str_radix(digits, 16).expect("two hexadecimal digits"));
                at += 3;
            }
            _ => {
                out.push(text[at]);
                at += 1;
            }
        }
    }
    out
}

fn is_integer(text: &[u8]) -> bool {
    let text = text.trim_ascii();
    let digits = text.strip_prefix(b"-").or_else(|| text.strip_prefix(b"+")).unwrap_or(text);
    digits.split(|octet| *octet == b'_').all(|part| !part.is_empty() && part.iter().all(u8::is_ascii_digit))
}

/// The form that clients send, and a moment that there is.
fn is_timestamp(text: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(text) else { return false };
    let Ok(moment) = text.parse::<Timestamp>() else { return false };
    let fraction = text.split_once('.').map_or("", |(_, fraction)| fraction.trim_end_matches('Z'));
    let whole = moment.to_string();
    let whole = whole.split(['.', 'Z']).next().unwrap_or_default();
    let expect = if text.contains('.') { format!("{whole}.{fraction}Z") } else { format!("{whole}Z") };
    text == expect
}
