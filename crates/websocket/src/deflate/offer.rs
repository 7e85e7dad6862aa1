//! The agreement on permessage-deflate: reading `Sec-WebSocket-Extensions` and answering it (RFC 7692 section 7.1).
//!
//! Knows the header's grammar (RFC 6455 section 9.1) and the four parameters. Does not know any other extension: those
//! are passed over, which declines them.

/// The window of the compressor that a peer can follow. Two sizes serve all: what was written with 9 bits can be read
/// with any larger window, so a frame has at most three shared forms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Window {
    /// The full window.
    Bits15,
    /// The peer asked for 9 to 14 bits.
    Bits9,
    /// The peer asked for 8 bits, which zlib cannot write. Any message may be sent plain, so every one is.
    Never,
}

impl Window {
    /// The compressor for a window of that many bits.
    pub const fn for_bits(bits: u8) -> Self {
        match bits {
            15.. => Self::Bits15,
            9..=14 => Self::Bits9,
            _ => Self::Never,
        }
    }
}

/// What both ends agreed on. Context takeover is not mentioned: there is none, in either direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Agreed {
    /// The window of what the server sends. What it receives needs no field, since the inflater has the full window.
    pub server_window: Window,
}

/// The server's wishes; the settings `compression.deflate` of a Crossbar transport as far as they mean something here.
///
/// `no_context_takeover` and `request_no_context_takeover` are always on, and `memory_level` has no effect because the
/// compressors belong to threads and not to sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// `max_window_bits`: the largest window the server compresses with, 9 to 15.
    pub max_window_bits: u8,
    /// `request_max_window_bits`: the largest window that clients should compress with, 9 to 15. Only a client that
    /// says it can be told so is told (RFC 7692 section 7.1.2.2).
    pub request_max_window_bits: u8,
}

impl Default for Policy {
    fn default() -> Self {
        Self { max_window_bits: BITS_MAX, request_max_window_bits: BITS_MAX }
    }
}

const EXTENSION: &str = "permessage-deflate";
const BITS_MAX: u8 = 15;

/// What an offer says about the client's own window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientWindow {
    /// Parameter absent: the server must not restrict it.
    Unrestricted,
    /// Parameter without a value: the server may restrict it.
    Willing,
    /// The client will not use more than this many bits anyhow.
    AtMost(u8),
}

/// One acceptable offer of permessage-deflate (RFC 7692 section 7.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer {
    /// The client asks the server to forget its window after each message.
    pub server_no_context_takeover: bool,
    /// The client hints that it will forget its own.
    pub client_no_context_takeover: bool,
    /// The largest window that the client wants to hold for reading, 8 to 15.
    pub server_max_window_bits: Option<u8>,
    /// The window that the client writes with.
    pub client_max_window_bits: ClientWindow,
}

impl Offer {
    /// Reads one element of the header's list. `None` for another extension and for a parameter that is unknown, given
    /// twice, or has a value that its definition forbids; section 7 wants such an offer declined, not the handshake.
    pub fn parse(element: &str) -> Option<Self> {
        let mut pieces = split_outside_quotes(element, b';');
        if !pieces.next()?.trim().eq_ignore_ascii_case(EXTENSION) {
            return None;
        }
        let mut offer = Self {
            server_no_context_takeover: false,
            client_no_context_takeover: false,
            server_max_window_bits: None,
            client_max_window_bits: ClientWindow::Unrestricted,
        };
        for piece in pieces {
            let (name, value) = match piece.split_once('=') {
                Some((name, value)) => (name.trim(), Some(unquote(value.trim()))),
                None => (piece.trim(), None),
            };
            offer.set(&name.to_ascii_lowercase(), value)?;
        }
        Some(offer)
    }

    fn set(&mut self, name: &str, value: Option<&str>) -> Option<()> {
        match (name, value) {
            ("server_no_context_takeover", None) if !self.server_no_context_takeover => {
                self.server_no_context_takeover = true;
            }
            ("client_no_context_takeover", None) if !self.client_no_context_takeover => {
                self.client_no_context_takeover = true;
            }
            ("server_max_window_bits", Some(value)) if self.server_max_window_bits.is_none() => {
                self.server_max_window_bits = Some(window_bits(value)?);
            }
            ("client_max_window_bits", value) if self.client_max_window_bits == ClientWindow::Unrestricted => {
                self.client_max_window_bits = match value {
                    None => ClientWindow::Willing,
                    Some(value) => ClientWindow::AtMost(window_bits(value)?),
                };
            }
            _ => return None,
        }
        Some(())
    }

    /// The answer to this offer, with the value of the response header.
    fn accept(&self, policy: &Policy) -> (Agreed, String) {
        let mut answer = format!("{EXTENSION}; server_no_context_takeover; client_no_context_takeover");
        // A policy out of range is brought into it: 8 would silently switch compression off.
        let own = policy.max_window_bits.clamp(9, BITS_MAX);
        let server_bits = self.server_max_window_bits.unwrap_or(BITS_MAX).min(own);
        if self.server_max_window_bits.is_some() || server_bits < BITS_MAX {
            answer.push_str(&format!("; server_max_window_bits={server_bits}"));
        }
        let wish = policy.request_max_window_bits.clamp(9, BITS_MAX);
        match self.client_max_window_bits {
            ClientWindow::Unrestricted => {}
            ClientWindow::Willing if wish == BITS_MAX => {}
            ClientWindow::Willing => answer.push_str(&format!("; client_max_window_bits={wish}")),
            ClientWindow::AtMost(bits) => {
                answer.push_str(&format!("; client_max_window_bits={}", bits.min(wish)));
            }
        }
        (Agreed { server_window: Window::for_bits(server_bits) }, answer)
    }
}

/// Takes the first acceptable offer among the values of `Sec-WebSocket-Extensions`, in the client's order of preference.
///
/// `None` means to speak plain and to send no such header. The answer always carries both `no_context_takeover`
/// parameters; RFC 7692 sections 7.1.1.1 and 7.1.1.2 allow a server to add them unasked.
pub fn negotiate<'a>(values: impl IntoIterator<Item = &'a str>, policy: &Policy) -> Option<(Agreed, String)> {
    values
        .into_iter()
        .flat_map(|value| split_outside_quotes(value, b','))
        .find_map(Offer::parse)
        .map(|offer| offer.accept(policy))
}

/// 8 to 15, decimal, without leading zeros (RFC 7692 sections 7.1.2.1 and 7.1.2.2).
fn window_bits(value: &str) -> Option<u8> {
    match value {
        "8" => Some(8),
        "9" => Some(9),
        _ if value.len() == 2 && value.bytes().all(|octet| octet.is_ascii_digit()) => {
            value.parse().ok().filter(|bits| (10..=BITS_MAX).contains(bits))
        }
        _ => None,
    }
}

/// A value may be a quoted string whose content is a token (RFC 6455 section 9.1).
fn unquote(value: &str) -> &str {
    value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value)
}

/// Splits a header value at a delimiter, leaving alone what stands in double quotes.
fn split_outside_quotes(value: &str, delimiter: u8) -> impl Iterator<Item = &str> {
    let mut rest = Some(value);
    std::iter::from_fn(move || {
        let text = rest?;
        let (mut quoted, mut escaped) = (false, false);
        let end = text.bytes().position(|octet| {
            let here = octet == delimiter && !quoted;
            quoted ^= octet == b'"' && !escaped;
            escaped = quoted && octet == b'\\' && !escaped;
            here
        });
        rest = end.map(|end| &text[end + 1..]);
        Some(&text[..end.unwrap_or(text.len())])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn negotiation_table() {
        fn check(bits: (u8, u8), header: &[&str], expect: Option<(Window, &str)>) {
            const BOTH: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
            let policy = Policy { max_window_bits: bits.0, request_max_window_bits: bits.1 };
            let got = negotiate(header.iter().copied(), &policy);
            let expect = expect.map(|(server_window, rest)| (Agreed { server_window }, format!("{BOTH}{rest}")));
            assert_eq!(got, expect, "{bits:?} {header:?}");
        }
        fn full(header: &str, expect: Option<(Window, &str)>) {
            check((15, 15), &[header], expect);
        }
        full("permessage-deflate", Some((Window::Bits15, "")));
        full(" Permessage-Deflate ; Server_No_Context_Takeover", Some((Window::Bits15, "")));
        full("permessage-deflate; client_max_window_bits", Some((Window::Bits15, "")));
        full("permessage-deflate; client_max_window_bits=10", Some((Window::Bits15, "; client_max_window_bits=10")));
        for bits in 9..15 {
            let rest = format!("; server_max_window_bits={bits}");
            full(&format!("permessage-deflate{rest}"), Some((Window::Bits9, &rest)));
        }
        let rest = "; server_max_window_bits=15";
        full("permessage-deflate; server_max_window_bits=15", Some((Window::Bits15, rest)));
        full("permessage-deflate; server_max_window_bits=\"15\"", Some((Window::Bits15, rest)));
        let rest = "; server_max_window_bits=8";
        full("permessage-deflate; server_max_window_bits=8", Some((Window::Never, rest)));
        // Declined offers, alone and before an acceptable one.
        for bad in [
            "",
            "x-webkit-deflate-frame",
            "permessage-deflate; what",
            "permessage-deflate; ",
            "permessage-deflate; server_max_window_bits",
            "permessage-deflate; server_max_window_bits=7",
            "permessage-deflate; server_max_window_bits=16",
            "permessage-deflate; server_max_window_bits=09",
            "permessage-deflate; server_max_window_bits=+9",
            "permessage-deflate; server_max_window_bits=9; server_max_window_bits=9",
            "permessage-deflate; client_max_window_bits=0",
            "permessage-deflate; client_max_window_bits; client_max_window_bits=9",
            "permessage-deflate; server_no_context_takeover=1",
            "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
            "permessage-deflate; client_no_context_takeover; client_no_context_takeover",
            "other; x=\"a, permessage-deflate\"",
            "other; x=\"a\\\", permessage-deflate\"",
        ] {
            full(bad, None);
            full(&format!("{bad}, permessage-deflate"), Some((Window::Bits15, "")));
            check((15, 15), &[bad, "foo, permessage-deflate"], Some((Window::Bits15, "")));
        }
        check((15, 15), &[], None);
        // The server's own wishes.
        check((12, 15), &["permessage-deflate"], Some((Window::Bits9, "; server_max_window_bits=12")));
        check(
            (12, 11),
            &["permessage-deflate; server_max_window_bits=10; client_max_window_bits"],
            Some((Window::Bits9, "; server_max_window_bits=10; client_max_window_bits=11")),
        );
        check((15, 11), &["permessage-deflate"], Some((Window::Bits15, "")));
        let narrow = "permessage-deflate; client_max_window_bits=9";
        check((15, 11), &[narrow], Some((Window::Bits15, "; client_max_window_bits=9")));
        check((0, 0), &["permessage-deflate"], Some((Window::Bits9, "; server_max_window_bits=9")));
    }
}
