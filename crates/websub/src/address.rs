//! URLs as WebSub needs them: kept byte for byte, compared after unreserved characters are decoded, and taken apart for a
//! client.
//!
//! A general URL type would parse and write again, and so change the query of a callback (`'` becomes `%27`), which
//! WebSub 5.3 forbids. Here the text stays, and the parser of browsers only says which host and port are meant. It knows
//! nothing of names that resolve to private addresses: that is [`crate::guard`], after the resolver has spoken.

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::sync::Arc;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use stentor_model::Topic;
pub use url::Host;
use url::{Position, Url};

/// What may not stand in a request line or between the angle brackets of a `Link`; everything else goes out as it came in.
const RAW: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'<').add(b'>').add(b'`');

/// What no URL has but encoded, besides white space and the backslash, which are refused (RFC 3986, section 2).
const ILLEGAL: &AsciiSet = &RAW.add(b'^').add(b'{').add(b'|').add(b'}');

/// Octets of a callback. As for topics: longer URLs are refused on the way by many servers.
pub const CALLBACK_BYTES_MAX: usize = 2048;

/// What is wrong with a URL, as the end of a sentence that begins with the field's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressFault {
    /// Nothing is there.
    Empty,
    /// More octets than the limit.
    TooLong {
        /// The limit.
        bytes_max: usize,
    },
    /// White space, control characters, or a backslash, which parsers read differently.
    Unprintable,
    /// Neither http nor https.
    Scheme,
    /// No host, or a host or port that is none.
    Host,
    /// A name or password before the host.
    UserInfo,
    /// A `#` part, which never reaches a server.
    Fragment,
}

impl fmt::Display for AddressFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("is empty"),
            Self::TooLong { bytes_max } => write!(f, "is longer than {bytes_max} octets"),
            Self::Unprintable => f.write_str("has white space, a control character or a backslash in it"),
            Self::Scheme => f.write_str("is neither an http:// nor an https:// URL"),
            Self::Host => f.write_str("has no valid host and port"),
            Self::UserInfo => f.write_str("has a user name or password in it"),
            Self::Fragment => f.write_str("has a fragment (#)"),
        }
    }
}

/// http or https.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Without TLS.
    Http,
    /// With TLS.
    Https,
}

impl Scheme {
    /// As it stands in a URL.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// The port of URLs that name none.
    const fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// An http(s) URL taken apart for a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Whether TLS is spoken. WebSub 7: the exact scheme of the callback must be used.
    pub scheme: Scheme,
    /// A name to resolve, or an address however oddly it was written (`0x7f.1` is 127.0.0.1 here).
    pub host: Host<String>,
    /// The port, with the scheme's own filled in.
    pub port: u16,
    /// For the `Host` field: host, and the port when it is not the scheme's own.
    pub authority: String,
    /// For the request line: path and query as they were written, with only that encoded which no request line can carry.
    pub target: String,
}

impl Address {
    /// Takes a URL apart.
    ///
    /// # Errors
    /// When it is no http(s) URL with a host, carries a user name, or is longer than any URL that this crate makes.
    pub fn parse(text: &str) -> Result<Self, AddressFault> {
        // Callback and topic, each encoded at worst threefold, and the other parameters.
        check(text, 8 * CALLBACK_BYTES_MAX)?;
        let (url, rest) = split(text)?;
        let scheme = if url.scheme() == "https" { Scheme::Https } else { Scheme::Http };
        let host = url.host().ok_or(AddressFault::Host)?.to_owned();
        let port = url.port_or_known_default().ok_or(AddressFault::Host)?;
        let rest = rest.split('#').next().unwrap_or_default();
        let slash = if rest.starts_with('/') { "" } else { "/" };
        let target = format!("{slash}{}", escape(rest));
        Ok(Self { scheme, host, port, authority: url[Position::BeforeHost..Position::AfterPort].to_owned(), target })
    }

    /// Scheme, host and port of a URL in one spelling.
    ///
    /// # Errors
    /// As [`Address::parse`].
    pub fn origin(text: &str) -> Result<String, AddressFault> {
        check(text, 8 * CALLBACK_BYTES_MAX)?;
        if let Some((scheme, host)) = plain_host(text) {
            let mut origin = String::with_capacity(scheme.name().len() + host.len() + ":///65535".len());
            write!(origin, "{}://{host}:{}", scheme.name(), scheme.port()).expect("memory takes text");
            return Ok(origin);
        }
        let Self { scheme, host, port, .. } = Self::parse(text)?;
        Ok(format!("{}://{host}:{port}", scheme.name()))
    }

    /// The address that a `Location` leads to from here. Relative ones are allowed (RFC 9110, section 10.2.2).
    ///
    /// # Errors
    /// As [`Address::parse`].
    pub fn join(base: &str, location: &str) -> Result<String, AddressFault> {
        check(location, CALLBACK_BYTES_MAX)?;
        let base = Url::parse(base).map_err(|_| AddressFault::Host)?;
        let goal = base.join(location).map_err(|_| AddressFault::Host)?.to_string();
        Self::parse(&goal).map(|_| goal)
    }
}

/// The octets of a URL that may stand in a header field or a request line.
#[must_use]
pub fn escape(text: &str) -> String {
    escaped(text).to_string()
}

/// The same, to be written elsewhere.
pub(crate) fn escaped(text: &str) -> impl fmt::Display {
    utf8_percent_encode(text, RAW)
}

fn check(text: &str, bytes_max: usize) -> Result<(), AddressFault> {
    if text.is_empty() {
        Err(AddressFault::Empty)
    } else if text.len() > bytes_max {
        Err(AddressFault::TooLong { bytes_max })
    } else if has_unprintable(text) {
        Err(AddressFault::Unprintable)
    } else {
        Ok(())
    }
}

fn has_unprintable(text: &str) -> bool {
    if text.is_ascii() {
        // Without an early end, so that many octets are compared at once.
        return text.bytes().fold(false, |found, octet| found | (octet <= b' ') | (octet == b'\\') | (octet == 0x7f));
    }
    text.contains(|c: char| c.is_control() || c.is_whitespace() || c == '\\')
}

/// The URL as browsers read it, and what stands behind its host and port as it was written.
fn split(text: &str) -> Result<(Url, &str), AddressFault> {
    let (scheme, rest) = text.split_once("://").ok_or(AddressFault::Scheme)?;
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return Err(AddressFault::Scheme);
    }
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, behind) = rest.split_at(end);
    // Browsers skip any number of slashes before the host; a text that needs this is a trick.
    if authority.is_empty() {
        return Err(AddressFault::Host);
    }
    if authority.contains('@') {
        return Err(AddressFault::UserInfo);
    }
    let url = Url::parse(text).map_err(|_| AddressFault::Host)?;
    if url.port() == Some(0) { Err(AddressFault::Host) } else { Ok((url, behind)) }
}

/// Decodes what never needed encoding: letters, digits, `-`, `.`, `_`, `~` (RFC 3986, section 2.3).
///
/// WebSub 5.1 has the hub do this to topics and callbacks, so that two spellings of one URL are one subscription.
///
/// What is decoded once stays so when it is decoded again, also where a stray `%` comes to stand before two digits.
#[must_use]
pub fn decode_unreserved(text: &str) -> String {
    let mut text = text.to_owned();
    loop {
        let decoded = decode_once(&text);
        if decoded.len() == text.len() {
            return decoded;
        }
        text = decoded;
    }
}

fn decode_once(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let octet = rest.get(1..3).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match octet {
            // `from_str_radix` takes a sign, which is no digit.
            Some(octet) if !rest.starts_with("%+") && is_unreserved(octet) => {
                out.push(char::from(octet));
                rest = &rest[3..];
            }
            _ => {
                out.push('%');
                rest = &rest[1..];
            }
        }
    }
    out.push_str(rest);
    out
}

const fn is_unreserved(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'.' | b'_' | b'~')
}

/// The topic that a URL names: http or https, otherwise free in form, compared byte for byte in its [`canonical`] spelling
/// (WebSub 5.1). Case and a slash at the end are significant.
///
/// # Errors
/// When it is no http(s) URL, or longer than a topic may be.
pub fn topic(text: &str) -> Result<Topic, AddressFault> {
    check(text, stentor_model::log::TOPIC_BYTES_MAX)?;
    if plain_host(text).is_none() {
        match split(text) {
            // Free-form: a user name may be part of a name that nobody fetches.
            Ok(_) | Err(AddressFault::UserInfo) => {}
            Err(fault) => return Err(fault),
        }
    }
    let topic = canonical(text);
    if matches!(topic, Cow::Owned(_)) {
        check(&topic, stentor_model::log::TOPIC_BYTES_MAX)?;
    }
    Topic::parse(&topic).map_err(|_| AddressFault::Unprintable)
}

/// The one spelling of all those that name the same topic: encoded is what no URL has otherwise, since that is how others will ask
/// for it, and nothing is that never needed it.
#[must_use]
pub fn canonical(text: &str) -> Cow<'_, str> {
    let decoded = if text.contains('%') { Cow::Owned(decode_unreserved(text)) } else { Cow::Borrowed(text) };
    // Without an early end, so that many octets are compared at once.
    let is_legal = decoded.bytes().fold(true, |legal, octet| {
        let is_illegal = matches!(octet, b'"' | b'<' | b'>' | b'^' | b'`' | b'{' | b'|' | b'}') | !octet.is_ascii();
        legal & !is_illegal
    });
    if is_legal { decoded } else { Cow::Owned(utf8_percent_encode(&decoded, ILLEGAL).to_string()) }
}

/// Scheme and host of a URL of the usual kind, about which no parser has to be asked: lower-case labels that begin with
/// letters and have single hyphens inside, and no port. Publications name their topic each time, and a parser is a third of reading one.
fn plain_host(text: &str) -> Option<(Scheme, &str)> {
    let https = text.strip_prefix("https://").map(|rest| (Scheme::Https, rest));
    let (scheme, rest) = https.or_else(|| Some((Scheme::Http, text.strip_prefix("http://")?)))?;
    // An octet at a time, since each is looked at in any case. The beginning of a label is like the octet behind a dot.
    let (mut end, mut before) = (rest.len(), b'.');
    for (at, octet) in rest.bytes().enumerate() {
        match (octet, before) {
            (b'a'..=b'z', _) => {}
            (b'0'..=b'9', before) if before != b'.' => {}
            // Two of them begin a name in another script.
            (b'-' | b'.', before) if before != b'.' && before != b'-' => {}
            (b'/' | b'?' | b'#', _) => {
                end = at;
                break;
            }
            _ => return None,
        }
        before = octet;
    }
    (before != b'.' && before != b'-' && end < 100).then(|| (scheme, &rest[..end]))
}

/// A topic as a subscriber asked for it: the topic itself, and the spelling that its verification has to repeat (WebSub
/// 5.3: "the topic URL given in the corresponding subscription request"). Equal when the topic is.
#[derive(Clone)]
pub struct AskedTopic {
    topic: Topic,
    text: Arc<str>,
}

impl AskedTopic {
    /// The topic that this URL names.
    ///
    /// # Errors
    /// As [`topic`].
    pub fn parse(text: &str) -> Result<Self, AddressFault> {
        Ok(Self { topic: topic(text)?, text: text.into() })
    }

    /// The topic.
    #[must_use]
    pub const fn topic(&self) -> &Topic {
        &self.topic
    }

    /// The spelling.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl fmt::Debug for AskedTopic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AskedTopic({:?})", self.text)
    }
}

/// Where a subscriber wants its notifications.
///
/// Two callbacks are the same when they agree after unreserved characters are decoded; requests go to the URL exactly as
/// the subscriber wrote it.
#[derive(Clone)]
pub struct Callback {
    url: Arc<str>,
    key: Arc<str>,
}

impl Callback {
    /// The callback with this URL.
    ///
    /// # Errors
    /// When it is no http(s) URL, or has a user name, a fragment or too many octets.
    pub fn parse(text: &str) -> Result<Self, AddressFault> {
        check(text, CALLBACK_BYTES_MAX)?;
        split(text)?;
        // A fragment is never sent, so two callbacks would be one; with parameters appended behind it they were lost.
        if text.contains('#') {
            return Err(AddressFault::Fragment);
        }
        let url: Arc<str> = text.into();
        let decoded = decode_unreserved(text);
        let key = if decoded == text { Arc::clone(&url) } else { decoded.into() };
        Ok(Self { url, key })
    }

    /// The URL as the subscriber wrote it, for requests.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What two spellings of one callback have in common, for the key of a store.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The URL taken apart.
    #[must_use]
    pub fn address(&self) -> Address {
        Address::parse(&self.url).expect("a callback was checked when it was made")
    }
}

macro_rules! compared_by {
    ($name:ident, $field:ident) => {
        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                self.$field == other.$field
            }
        }

        impl Eq for $name {}

        impl PartialOrd for $name {
            fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
                Some(self.cmp(other))
            }
        }

        impl Ord for $name {
            fn cmp(&self, other: &Self) -> std::cmp::Ordering {
                self.$field.cmp(&other.$field)
            }
        }

        impl std::hash::Hash for $name {
            fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
                self.$field.hash(state);
            }
        }
    };
}

compared_by!(AskedTopic, topic);
compared_by!(Callback, key);

/// What identifies a subscription (WebSub 5.1): asked for again, it is the same one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pair {
    /// What is subscribed to.
    pub topic: AskedTopic,
    /// Who is told.
    pub callback: Callback,
}

impl fmt::Debug for Callback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Many subscribers put a token of their own into the query, so it does not show.
        write!(f, "Callback({:?})", self.url.split('?').next().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unreserved_characters_are_decoded() {
        let check = |text: &str, expected: &str| assert_eq!(decode_unreserved(text), expected);
        check("http://a/%7Eb%2d%41%5F%2E", "http://a/~b-A_.");
        check("http://a/%2F%3f%25%20", "http://a/%2F%3f%25%20");
        check("http://a/%", "http://a/%");
        check("http://a/%4", "http://a/%4");
        check("http://a/%+1%zz%é", "http://a/%+1%zz%é");
        check("http://a/%2541", "http://a/%2541");
        check("http://a/%%34%31", "http://a/A");
    }

    proptest::proptest! {
        /// A topic read back from a store is the same topic, and a callback's parts are always found.
        #[test]
        fn decoding_is_done_once_for_all(text in "https?://[a-z]{1,3}(:[0-9]{1,5})?(/[%0-9A-Fa-f~?#&'é{^|]{0,12})?") {
            let decoded = decode_unreserved(&text);
            proptest::prop_assert_eq!(&decode_unreserved(&decoded), &decoded);
            let canonical = super::canonical(&text);
            proptest::prop_assert_eq!(&super::canonical(&canonical), &canonical);
            if let Ok(callback) = Callback::parse(&text) {
                let target = callback.address().target;
                proptest::prop_assert!(target.starts_with('/') && target.is_ascii());
            }
        }
    }

    proptest::proptest! {
        /// What is read without the parser is what the parser reads.
        #[test]
        fn usual_hosts_are_what_they_seem(text in "https?://[a-z0-9A.:-]{0,12}[/?#]{0,1}[a-z/%:@?#]{0,8}") {
            let parsed = Address::parse(&text);
            let origin = |address: &Address| format!("{}://{}:{}", address.scheme.name(), address.host, address.port);
            proptest::prop_assert_eq!(Address::origin(&text), parsed.as_ref().map(origin).map_err(|fault| *fault));
            proptest::prop_assert!(plain_host(&text).is_none() || parsed.is_ok());
        }
    }

    #[test]
    fn topics_are_http_urls() {
        let check = |text: &str, expected: Result<&str, AddressFault>| {
            assert_eq!(topic(text).map(|t| t.to_string()), expected.map(str::to_owned), "{text}");
        };
        // WebSub 5.1: http and https; the query, the case and the slash at the end are part of the name.
        check("http://example.com/feed", Ok("http://example.com/feed"));
        check("HTTPS://Example.com/Feed/?a=1&b=2", Ok("HTTPS://Example.com/Feed/?a=1&b=2"));
        check("http://example.com/%7Efeed#part", Ok("http://example.com/~feed#part"));
        check("http://user:pw@example.com/", Ok("http://user:pw@example.com/"));
        // RFC 3986, section 2: what no URL has is encoded, and what it has stays.
        check("http://a/\"<>^`{|}ö%7b", Ok("http://a/%22%3C%3E%5E%60%7B%7C%7D%C3%B6%7b"));
        check("http://a/!$&'()*+,;=:@/?[]%", Ok("http://a/!$&'()*+,;=:@/?[]%"));
        let long = format!("http://a/{}", "{".repeat(1000));
        check(&long, Err(AddressFault::TooLong { bytes_max: 2048 }));
        check("", Err(AddressFault::Empty));
        check("ftp://example.com/", Err(AddressFault::Scheme));
        check("example.com/feed", Err(AddressFault::Scheme));
        check("urn:isbn:1", Err(AddressFault::Scheme));
        check("http://", Err(AddressFault::Host));
        check("http:///feed", Err(AddressFault::Host));
        check("http://a b/", Err(AddressFault::Unprintable));
        check("http://a/\r\nX: y", Err(AddressFault::Unprintable));
        let long = format!("http://a/{}", "x".repeat(2048));
        check(&long, Err(AddressFault::TooLong { bytes_max: 2048 }));
    }

    #[test]
    fn callbacks_are_strict() {
        let check = |text: &str, expected: Result<&str, AddressFault>| {
            let callback = Callback::parse(text);
            assert_eq!(callback.as_ref().map(Callback::url), expected.as_ref().copied(), "{text}");
        };
        check("https://a.example/cb?x=%27'&hub.mode=x", Ok("https://a.example/cb?x=%27'&hub.mode=x"));
        check("http://[2001:db8::1]:8080/cb", Ok("http://[2001:db8::1]:8080/cb"));
        check("https://a.example/cb#x", Err(AddressFault::Fragment));
        check("https://u:p@a.example/cb", Err(AddressFault::UserInfo));
        check("https://a.example\\@b.example/", Err(AddressFault::Unprintable));
        check("http://a:0/", Err(AddressFault::Host));
        check("http://a:99999/", Err(AddressFault::Host));
        check("http://[::1/", Err(AddressFault::Host));
        check("javascript://a/", Err(AddressFault::Scheme));
        // Item 13: two spellings are one callback, and requests go to the last one as it was written.
        let (one, other) = (Callback::parse("http://a/%7Ex").unwrap(), Callback::parse("http://a/~x").unwrap());
        assert_eq!(one, other);
        assert_eq!((one.url(), one.key()), ("http://a/%7Ex", "http://a/~x"));
        assert_eq!(format!("{:?}", Callback::parse("http://a/x?token=1").unwrap()), "Callback(\"http://a/x\")");
    }

    #[test]
    fn addresses_keep_the_target() {
        let check = |text: &str, host: &str, port, authority: &str, target: &str| {
            let address = Address::parse(text).unwrap();
            let found = (address.host.to_string(), address.port, address.authority.as_str(), address.target.as_str());
            assert_eq!(found, (host.to_owned(), port, authority, target), "{text}");
        };
        check("http://Example.com", "example.com", 80, "example.com", "/");
        check("https://example.com:443/a/../b?x='y'&z=%27", "example.com", 443, "example.com", "/a/../b?x='y'&z=%27");
        check("http://example.com:8080?q=1", "example.com", 8080, "example.com:8080", "/?q=1");
        check("http://a/ä?b=<\">#part", "a", 80, "a", "/%C3%A4?b=%3C%22%3E");
        check("http://bücher.example/", "xn--bcher-kva.example", 80, "xn--bcher-kva.example", "/");
        // Item 65: odd spellings of an address are an address.
        check("http://2130706433/", "127.0.0.1", 80, "127.0.0.1", "/");
        check("http://0x7f.1/", "127.0.0.1", 80, "127.0.0.1", "/");
        check("http://0177.0.0.01/", "127.0.0.1", 80, "127.0.0.1", "/");
        check("http://①②⑦.0.0.1/", "127.0.0.1", 80, "127.0.0.1", "/");
        check("http://[::FFFF:127.0.0.1]/", "[::ffff:7f00:1]", 80, "[::ffff:7f00:1]", "/");
    }

    #[test]
    fn locations_are_joined() {
        let check = |location: &str, expected: Result<&str, AddressFault>| {
            assert_eq!(Address::join("http://a.example/x/y?q", location), expected.map(str::to_owned), "{location}");
        };
        check("z", Ok("http://a.example/x/z"));
        check("/z?1", Ok("http://a.example/z?1"));
        check("//b.example/", Ok("http://b.example/"));
        check("https://b.example/z", Ok("https://b.example/z"));
        check("file:///etc/passwd", Err(AddressFault::Scheme));
        check("http://u@b.example/", Err(AddressFault::UserInfo));
        check("", Err(AddressFault::Empty));
    }
}
