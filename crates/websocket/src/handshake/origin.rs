//! The origin check: which web pages may open a session (RFC 6455 section 10.2).
//!
//! It protects users of browsers, whose pages cannot forge this header. Other programs can send what they like, so it
//! authenticates nobody.

/// What to do with pages that have no origin to show: `Origin: null` (sandboxed frames, some redirects) and `file://`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NullOrigin {
    /// `allow_null_origin: true`.
    Allow,
    /// `allow_null_origin: false`.
    Refuse,
}

/// The settings `allowed_origins` and `allow_null_origin` of a Crossbar transport.
///
/// A pattern is an origin in which `*` stands for any characters, such as `http://*.example.com:*`. It is compared with
/// `scheme://host:port`, and when the port is the scheme's own one also with `scheme://host`. The rules in order:
///
/// 1. No `Origin` header: not a browser, admitted. Refusing would only teach programs to send one.
/// 2. `null` or `file://...`: as [`NullOrigin`] says, whatever the patterns are. A `*` is written by people who think of
///    sites, not of sandboxed frames.
/// 3. The pattern `*` admits everything else.
/// 4. What is not an origin (a path, a user name, a list) is refused. Otherwise one pattern must match.
///
/// No patterns admit no page at all.
#[derive(Debug, Clone)]
pub struct Origins {
    patterns: Vec<String>,
    null: NullOrigin,
}

impl Origins {
    /// The check for these patterns.
    pub fn new<P: AsRef<str>>(patterns: impl IntoIterator<Item = P>, null: NullOrigin) -> Self {
        let patterns = patterns.into_iter().map(|pattern| pattern.as_ref().trim().to_ascii_lowercase()).collect();
        Self { patterns, null }
    }

    /// Whether a request with this `Origin` header, or without one, is admitted.
    pub fn admits(&self, origin: Option<&str>) -> bool {
        let Some(origin) = origin else { return true };
        let origin = origin.trim().to_ascii_lowercase();
        if origin == "null" || origin.starts_with("file:") {
            return self.null == NullOrigin::Allow;
        }
        if self.patterns.iter().any(|pattern| pattern == "*") {
            return true;
        }
        let Some((full, short)) = forms(&origin) else { return false };
        let admits = |text: &str| self.patterns.iter().any(|pattern| matches(pattern, text));
        admits(&full) || short.as_deref().is_some_and(admits)
    }
}

/// The forms of an origin that patterns are compared with: the one with a port where there is one, and the one without
/// where the port is the scheme's own.
fn forms(origin: &str) -> Option<(String, Option<String>)> {
    let (scheme, authority) = origin.split_once("://")?;
    let (host, port) = match authority.rsplit_once(':') {
        // The colons within an IPv6 address stand before the bracket.
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (authority, None),
    };
    if scheme.is_empty() || !is_host(host) || port.is_some_and(|port| port.parse::<u16>().is_err()) {
        return None;
    }
    let own = match scheme {
        "http" | "ws" => Some("80"),
        "https" | "wss" => Some("443"),
        _ => None,
    };
    let bare = format!("{scheme}://{host}");
    Some(match port.or(own) {
        None => (bare, None),
        Some(port) => (format!("{bare}:{port}"), (own == Some(port)).then_some(bare)),
    })
}

/// Letters, digits, dots, hyphens and underscores, or an IPv6 address in brackets. A `*` in a pattern must never meet a
/// slash or an `@`, or `https://*.example.com` would admit `https://evil.org/.example.com`.
fn is_host(host: &str) -> bool {
    if let Some(address) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        return address.parse::<std::net::Ipv6Addr>().is_ok();
    }
    !host.is_empty() && host.bytes().all(|octet| octet.is_ascii_alphanumeric() || b".-_".contains(&octet))
}

/// Glob matching with `*` only. Remembers just the last star, so that the time is at most the product of the lengths.
fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    let mut star = None;
    while t < text.len() {
        if pattern.get(p) == Some(&b'*') {
            star = Some((p + 1, t));
            p += 1;
        } else if pattern.get(p) == Some(&text[t]) {
            (p, t) = (p + 1, t + 1);
        } else if let Some((after, from)) = star {
            star = Some((after, from + 1));
            (p, t) = (after, from + 1);
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|&octet| octet == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origin_table() {
        let check = |patterns: &[&str], null: NullOrigin, origin: Option<&str>, expect: bool| {
            assert_eq!(Origins::new(patterns, null).admits(origin), expect, "{patterns:?} {null:?} {origin:?}");
        };
        use NullOrigin::{Allow, Refuse};
        for null in [Allow, Refuse] {
            check(&[], null, None, true);
            check(&["https://example.com"], null, None, true);
            check(&["*"], null, Some("null"), null == Allow);
            check(&[], null, Some("NULL"), null == Allow);
            check(&["*"], null, Some("file:///home/a.html"), null == Allow);
        }
        let table: &[(&str, &[&str], &[&str])] = &[
            ("*", &["https://a", "http://a:1", "nonsense", "https://a/b"], &[]),
            (
                "http://*.example.com:*",
                &["http://a.example.com", "http://a.b.example.com:8080", "HTTP://A.Example.Com"],
                &[
                    "https://a.example.com",
                    "http://example.com",
                    "http://a.example.com.evil.org",
                    "http://evil.org/.example.com:80",
                    "http://user@a.example.com",
                    "http://evil.org?.example.com:80",
                    "http://a.example.com http://evil.org",
                    "http://a.example.com:x",
                    "http://a.example.com:",
                    "",
                    "a.example.com",
                    "://a.example.com:1",
                ],
            ),
            (
                "https://example.com",
                &["https://example.com", "https://example.com:443"],
                &["https://example.com:8443", "http://example.com", "https://example.com.", "https://xexample.com"],
            ),
            ("https://example.com:443", &["https://example.com"], &["https://example.com:444"]),
            ("https://example.com:8443", &["https://example.com:8443"], &["https://example.com"]),
            ("HTTP://LocalHost:*", &["http://localhost", "http://localhost:3000"], &["http://localhost.evil.org"]),
            ("http://[::1]:*", &["http://[::1]", "http://[::1]:8080"], &["http://[::2]", "http://[x]", "http://::1"]),
            ("chrome-extension://*", &["chrome-extension://abcdef"], &["https://abcdef"]),
            ("", &[], &["https://example.com"]),
        ];
        for (pattern, admitted, refused) in table {
            admitted.iter().for_each(|origin| check(&["x://y", pattern], Refuse, Some(origin), true));
            refused.iter().for_each(|origin| check(&["x://y", pattern], Refuse, Some(origin), false));
        }
        check(&[], Refuse, Some("https://example.com"), false);
    }
}
