//! The opening handshake: may this request become a WebSocket, and what must the answer say (RFC 6455 section 4.2).
//!
//! Pure functions over header values. Does not know any HTTP library, and does not choose statuses: a [`Refusal`] says
//! what is wrong, and the server's table turns it into an answer.

mod origin;

use std::fmt;

use base64::{
    Engine, alphabet,
    engine::{GeneralPurpose, GeneralPurposeConfig, general_purpose::STANDARD},
};

pub use origin::{NullOrigin, Origins};

/// The only version of the protocol that is spoken; belongs into the header `Sec-WebSocket-Version` of a 426 answer.
pub const VERSION: &str = "13";

/// What the server appends to the key before hashing (RFC 6455 section 1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// A key is a nonce of 16 octets (RFC 6455 section 4.1).
const NONCE_BYTES: usize = 16;

/// Some clients draw 22 random letters instead of encoding 16 octets. Their last letter then has bits that mean nothing,
/// and turning them away over that would protect nobody.
const LENIENT: GeneralPurpose =
    GeneralPurpose::new(&alphabet::STANDARD, GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true));

/// The header fields of a request, as far as a handshake needs them.
pub trait Headers {
    /// The values of all fields with this name, in order. Names are compared without case; a field whose value is not
    /// readable as text is left out.
    fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str>;
}

impl Headers for [(&str, &str)] {
    fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.iter().filter(move |(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
    }
}

impl<const N: usize> Headers for [(&str, &str); N] {
    fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.as_slice().iter().filter(move |(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
    }
}

/// A version of HTTP, told apart only as far as section 4.2.1 does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpVersion {
    /// HTTP/1.1, the one with an `Upgrade` header.
    Http11,
    /// HTTP/1.0 cannot upgrade, and HTTP/2 does it in another way (RFC 8441).
    Other,
}

/// Why a request does not become a WebSocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// No `Upgrade: websocket`: an ordinary request, perhaps somebody's browser window. 426 suits it.
    NotAnUpgrade,
    /// Not a GET: 405.
    Method,
    /// Not HTTP/1.1: 400.
    HttpVersion,
    /// `Connection` does not name `Upgrade`, often because a proxy removed it: 400.
    Connection,
    /// Another `Sec-WebSocket-Version` than [`VERSION`]: 426 together with `Sec-WebSocket-Version: 13` (section 4.4).
    Version,
    /// `Sec-WebSocket-Key` is missing, repeated or not 16 octets in base64: 400.
    Key,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAnUpgrade => "not a WebSocket request",
            Self::Method => "a WebSocket handshake is a GET request",
            Self::HttpVersion => "a WebSocket handshake needs HTTP/1.1",
            Self::Connection => "the Connection header does not name Upgrade",
            Self::Version => "only WebSocket version 13 is spoken",
            Self::Key => "Sec-WebSocket-Key must be 16 octets in base64, once",
        })
    }
}

impl std::error::Error for Refusal {}

/// Judges a request and returns the value of `Sec-WebSocket-Accept` for the 101 answer.
///
/// Origin, subprotocol and extensions are separate questions, see [`Origins`], [`pick_subprotocol`] and
/// [`negotiate`](crate::deflate::negotiate).
///
/// # Errors
///
/// The first rule of section 4.2.1 that the request does not follow.
pub fn check<H: Headers + ?Sized>(method: &str, version: HttpVersion, headers: &H) -> Result<String, Refusal> {
    if !names(headers, "upgrade", "websocket") {
        return Err(Refusal::NotAnUpgrade);
    }
    if method != "GET" {
        return Err(Refusal::Method);
    }
    if version != HttpVersion::Http11 {
        return Err(Refusal::HttpVersion);
    }
    if !names(headers, "connection", "upgrade") {
        return Err(Refusal::Connection);
    }
    if only(headers, "sec-websocket-version") != Some(VERSION) {
        return Err(Refusal::Version);
    }
    let key = only(headers, "sec-websocket-key").ok_or(Refusal::Key)?;
    match LENIENT.decode(key) {
        Ok(nonce) if nonce.len() == NONCE_BYTES => Ok(accept(key)),
        _ => Err(Refusal::Key),
    }
}

/// The value of `Sec-WebSocket-Accept` for a key (section 4.2.2); a client checks its server's answer with it.
pub fn accept(key: &str) -> String {
    let mut hash = ring::digest::Context::new(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY);
    hash.update(key.as_bytes());
    hash.update(GUID);
    STANDARD.encode(hash.finish())
}

/// The first of the client's subprotocols that the server speaks: the client's order wins (section 1.9).
///
/// `values` are those of `Sec-WebSocket-Protocol`, each a list. `None` when nothing fits, and also when nothing was asked
/// for. Names are compared with case, as they are not keywords of HTTP.
pub fn pick_subprotocol<'s, 'v>(values: impl IntoIterator<Item = &'v str>, supported: &[&'s str]) -> Option<&'s str> {
    values
        .into_iter()
        .flat_map(|value| value.split(','))
        .find_map(|wanted| supported.iter().copied().find(|&name| name == wanted.trim()))
}

/// Whether a header that is a list of keywords contains this one.
fn names<H: Headers + ?Sized>(headers: &H, header: &str, keyword: &str) -> bool {
    headers.values(header).flat_map(|value| value.split(',')).any(|item| item.trim().eq_ignore_ascii_case(keyword))
}

/// The value of a header that must appear once.
fn only<'a, H: Headers + ?Sized>(headers: &'a H, header: &'a str) -> Option<&'a str> {
    let mut values = headers.values(header);
    let value = values.next()?.trim();
    values.next().is_none().then_some(value)
}

#[cfg(test)]
mod tests;
