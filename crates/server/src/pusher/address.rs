//! Whose request is it: the client's address, also behind proxies, and whether the client used TLS.
//!
//! Forwarding headers are believed only when the peer is a trusted proxy, and only as far as trusted proxies wrote them:
//! everything to the left of the first address that is not one may be invented by the client. Neither reading addresses
//! from the configuration's keys nor deciding who is let in happens here.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use ipnet::{IpNet, Ipv4Net};

use super::answer::{Refusal, RefusalKind};
use super::gate::Head;

/// The client as far as it can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Client {
    /// Nothing for a peer without an address, or one that a proxy chose to hide.
    pub(super) address: Option<IpAddr>,
    /// Whether the client's own connection was encrypted.
    pub(super) tls: bool,
}

/// One step of a forwarding header, from the client on the left to the last proxy on the right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Hop {
    address: Option<IpAddr>,
    tls: Option<bool>,
}

/// A network of IPv4-mapped addresses becomes the IPv4 network, since peers are compared in that form.
pub(super) fn normal_network(network: IpNet) -> IpNet {
    let network = network.trunc();
    match network {
        IpNet::V6(v6) if v6.prefix_len() >= 96 => match v6.addr().to_ipv4_mapped() {
            Some(v4) => Ipv4Net::new(v4, v6.prefix_len() - 96).map_or(network, IpNet::V4),
            None => network,
        },
        IpNet::V4(_) | IpNet::V6(_) => network,
    }
}

/// Whether `address` lies in one of `networks`.
pub(super) fn among(address: IpAddr, networks: &[IpNet]) -> bool {
    networks.iter().any(|network| network.contains(&address))
}

/// Finds the client of a request.
///
/// `Forwarded` (RFC 7239) and `X-Forwarded-For` have to agree where both arrive: most proxies write only one of them and
/// pass the other on as the client wrote it, so that preferring either would let clients choose their address.
pub(super) fn client(head: &Head<'_>, trusted: &[IpNet]) -> Result<Client, Refusal> {
    let peer = Client { address: head.peer.map(|peer| peer.to_canonical()), tls: head.tls };
    if !peer.address.is_some_and(|address| among(address, trusted)) {
        return Ok(peer);
    }
    let standard = client_of(&forwarded(&head.forwarded), trusted);
    let customary = client_of(&x_forwarded(&head.x_forwarded_for, &head.x_forwarded_proto), trusted);
    let hop = match (standard, customary) {
        (None, None) => return Ok(peer),
        (Some(one), None) | (None, Some(one)) => one,
        (Some(standard), Some(customary)) if standard.address == customary.address => {
            // `proto` is optional in both, and both have to say https where both say something.
            let tls = match (standard.tls, customary.tls) {
                (Some(one), Some(other)) => Some(one && other),
                (one, other) => one.or(other),
            };
            Hop { address: standard.address, tls }
        }
        (Some(_), Some(_)) => {
            let sentence = "the headers Forwarded and X-Forwarded-For name different clients";
            return Err(Refusal::new(RefusalKind::Address, sentence).at("X-Forwarded-For"));
        }
    };
    // TLS between the proxy and this server says nothing about the client's own connection.
    Ok(Client { address: hop.address, tls: hop.tls.unwrap_or(false) })
}

/// The right-most hop that is not a trusted proxy; where all are, the left-most.
fn client_of(hops: &[Hop], trusted: &[IpNet]) -> Option<Hop> {
    let stranger = |hop: &&Hop| !hop.address.is_some_and(|address| among(address, trusted));
    hops.iter().rev().find(stranger).or(hops.first()).copied()
}

/// The hops of `X-Forwarded-For`, with the protocols of `X-Forwarded-Proto`.
///
/// Where every proxy appended to both, the protocols belong to the addresses one by one. Otherwise the last protocol is
/// the only one that a trusted proxy surely wrote.
fn x_forwarded(addresses: &[&[u8]], protocols: &[&[u8]]) -> Vec<Hop> {
    let protocols: Vec<bool> = items(protocols).map(|item| item.eq_ignore_ascii_case(b"https")).collect();
    let mut hops: Vec<Hop> = items(addresses).map(|item| Hop { address: parse_node(item), tls: None }).collect();
    let paired = hops.len() == protocols.len();
    for (index, hop) in hops.iter_mut().enumerate() {
        hop.tls = if paired { Some(protocols[index]) } else { protocols.last().copied() };
    }
    hops
}

fn items<'a>(headers: &'a [&'a [u8]]) -> impl Iterator<Item = &'a [u8]> {
    headers
        .iter()
        .flat_map(|header| header.split(|&octet| octet == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|item| !item.is_empty())
}

/// The hops of `Forwarded`: elements separated by commas, pairs by semicolons, values perhaps quoted (RFC 7239 section 4).
fn forwarded(headers: &[&[u8]]) -> Vec<Hop> {
    let mut hops = Vec::new();
    for header in headers {
        // A quote that the client left open hides the element which the proxy appended, and with it the proxy's word on
        // who the client is. Nothing in such a field can be believed.
        if header.iter().filter(|&&octet| octet == b'"').count() % 2 == 1 {
            hops.push(Hop { address: None, tls: None });
            continue;
        }
        for element in split_unquoted(header, b',').filter(|element| !element.is_empty()) {
            let mut hop = Hop { address: None, tls: None };
            for pair in split_unquoted(element, b';') {
                let Some(at) = pair.iter().position(|&octet| octet == b'=') else { continue };
                let (name, value) = (pair[..at].trim_ascii(), pair[at + 1..].trim_ascii());
                let value = value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or(value);
                if name.eq_ignore_ascii_case(b"for") {
                    hop.address = parse_node(value);
                } else if name.eq_ignore_ascii_case(b"proto") {
                    hop.tls = Some(value.eq_ignore_ascii_case(b"https"));
                }
            }
            hops.push(hop);
        }
    }
    hops
}

fn split_unquoted(text: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let mut quoted = false;
    text.split(move |&octet| {
        quoted ^= octet == b'"';
        octet == separator && !quoted
    })
    .map(<[u8]>::trim_ascii)
}

/// An address, perhaps with a port or in brackets. `unknown` and obfuscated names (RFC 7239 section 6) are nothing.
fn parse_node(node: &[u8]) -> Option<IpAddr> {
    let node = std::str::from_utf8(node).ok()?;
    let bare = node.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(node);
    let address = bare.parse::<IpAddr>().ok().or_else(|| with_port(node)).or_else(
        // A port may be obfuscated as well: `192.0.2.43:_x`.
        || node.split_once(':')?.0.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
    )?;
    Some(address.to_canonical())
}

/// The address before a port. One with a zone means something on the proxy's machine only, and RFC 7239 has none.
fn with_port(node: &str) -> Option<IpAddr> {
    node.parse::<SocketAddr>().ok().filter(|_| !node.contains('%')).map(|node| node.ip())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::network;

    fn networks(texts: &[&str]) -> Vec<IpNet> {
        texts.iter().map(|text| network::parse(text).unwrap()).collect()
    }

    #[test]
    fn networks_in_every_form() {
        for (text, expect) in [
            ("127.0.0.1", Some("127.0.0.1/32")),
            ("192.168.1.1/24", Some("192.168.1.0/24")),
            ("192.168.1.1/255.255.255.0", Some("192.168.1.0/24")),
            ("::1", Some("::1/128")),
            ("2001:db8::1/32", Some("2001:db8::/32")),
            ("2001:db8::1/ffff:ffff::", Some("2001:db8::/32")),
            ("::ffff:10.1.2.3/104", Some("10.0.0.0/8")),
            ("10.0.0.0/255.0.255.0", None),
            ("10.0.0.0/33", None),
            ("localhost", None),
            ("", None),
        ] {
            assert_eq!(
                network::parse(text).ok().map(|network| normal_network(network).to_string()).as_deref(),
                expect,
                "{text}"
            );
        }
    }

    /// `expect` is the address, and whether TLS; nothing stands for a refusal.
    fn check(peer: &str, forwarded: &[&str], x_for: &[&str], x_proto: &[&str], expect: Option<(Option<&str>, bool)>) {
        fn octets<'a>(texts: &[&'a str]) -> Vec<&'a [u8]> {
            texts.iter().map(|text| text.as_bytes()).collect()
        }
        let head = Head {
            method: "POST",
            peer: Some(peer.parse().unwrap()),
            forwarded: octets(forwarded),
            x_forwarded_for: octets(x_for),
            x_forwarded_proto: octets(x_proto),
            ..Head::default()
        };
        let got = client(&head, &networks(&["10.0.0.0/8", "fd00::/8"])).ok();
        let expect = expect.map(|(address, tls)| Client { address: address.map(|text| text.parse().unwrap()), tls });
        assert_eq!(got, expect, "{peer} {forwarded:?} {x_for:?} {x_proto:?}");
    }

    #[test]
    fn strangers_are_not_believed() {
        check(
            "203.0.113.9",
            &["for=127.0.0.1;proto=https"],
            &["127.0.0.1"],
            &["https"],
            Some((Some("203.0.113.9"), false)),
        );
        check("::ffff:203.0.113.9", &[], &[], &[], Some((Some("203.0.113.9"), false)));
    }

    #[test]
    fn the_right_most_stranger_is_the_client() {
        check("10.0.0.1", &[], &[], &[], Some((Some("10.0.0.1"), false)));
        check("::ffff:10.0.0.1", &[], &["198.51.100.1"], &[], Some((Some("198.51.100.1"), false)));
        check("10.0.0.1", &[], &["127.0.0.1, 198.51.100.1"], &[], Some((Some("198.51.100.1"), false)));
        check("10.0.0.1", &[], &["127.0.0.1, 198.51.100.1, 10.0.0.2"], &[], Some((Some("198.51.100.1"), false)));
        check("10.0.0.1", &[], &["127.0.0.1", "198.51.100.1", "10.0.0.2"], &[], Some((Some("198.51.100.1"), false)));
        check("10.0.0.1", &[], &["10.0.0.3, 10.0.0.2"], &[], Some((Some("10.0.0.3"), false)));
        check("fd00::1", &[], &["[2001:db8::7]:4711"], &[], Some((Some("2001:db8::7"), false)));
        check("10.0.0.1", &[], &["198.51.100.1:4711"], &[], Some((Some("198.51.100.1"), false)));
        check("10.0.0.1", &[], &["127.0.0.1, unknown"], &[], Some((None, false)));
    }

    /// Found by fuzzing, where a second reader knew no zones.
    #[test]
    fn an_address_with_a_zone_is_none() {
        check("10.0.0.1", &[], &["198.51.100.1, [fd00::%1]:0"], &[], Some((None, false)));
        check("10.0.0.1", &[], &["198.51.100.1:%"], &[], Some((Some("198.51.100.1"), false)));
    }

    /// Found by fuzzing, where a second reader took the sign for a part of the number.
    #[test]
    fn a_port_with_a_sign_hides_its_hop() {
        check("10.0.0.1", &[], &["198.51.100.1:80, [fd00::1]:+0"], &[], Some((None, false)));
        check("10.0.0.1", &[], &["198.51.100.1:80, [fd00::1]:0"], &[], Some((Some("198.51.100.1"), false)));
    }

    #[test]
    fn the_standard_header_is_read_too() {
        check("10.0.0.1", &["for=198.51.100.1"], &[], &[], Some((Some("198.51.100.1"), false)));
        check("10.0.0.1", &["For=\"[2001:db8::7]:4711\";Proto=https"], &[], &[], Some((Some("2001:db8::7"), true)));
        check(
            "10.0.0.1",
            &["for=127.0.0.1, for=198.51.100.1;by=10.0.0.2"],
            &[],
            &[],
            Some((Some("198.51.100.1"), false)),
        );
        check("10.0.0.1", &["for=\"_hidden, for=127.0.0.1\""], &[], &[], Some((None, false)));
        check("10.0.0.1", &["for=\"192.0.2.43:_x\""], &[], &[], Some((Some("192.0.2.43"), false)));
    }

    #[test]
    fn an_open_quote_does_not_hide_what_the_proxy_appended() {
        check("10.0.0.1", &["for=127.0.0.1;x=\", for=198.51.100.1"], &[], &[], Some((None, false)));
        check("10.0.0.1", &["for=127.0.0.1;x=\"\\\"\", for=198.51.100.1"], &[], &[], Some((None, false)));
        check("10.0.0.1", &["for=127.0.0.1;x=\"", "for=198.51.100.1"], &[], &[], Some((Some("198.51.100.1"), false)));
        check("10.0.0.1", &["for=127.0.0.1, for=\"198.51.100.1"], &[], &[], Some((None, false)));
    }

    #[test]
    fn headers_that_disagree_are_refused() {
        check("10.0.0.1", &["for=127.0.0.1"], &["198.51.100.1"], &[], None);
        check("10.0.0.1", &["for=198.51.100.1"], &["198.51.100.1"], &[], Some((Some("198.51.100.1"), false)));
        check(
            "10.0.0.1",
            &["for=198.51.100.1;proto=https"],
            &["198.51.100.1"],
            &["http"],
            Some((Some("198.51.100.1"), false)),
        );
    }

    #[test]
    fn the_protocol_belongs_to_the_client() {
        let client = Some("198.51.100.1");
        check("10.0.0.1", &[], &["198.51.100.1"], &["https"], Some((client, true)));
        check("10.0.0.1", &[], &["198.51.100.1, 10.0.0.2"], &["https, http"], Some((client, true)));
        check("10.0.0.1", &[], &["198.51.100.1, 10.0.0.2"], &["https"], Some((client, true)));
        // A client that writes a protocol of its own is told from the proxy that appended the true one.
        check("10.0.0.1", &[], &["198.51.100.1"], &["https, http"], Some((client, false)));
        check("10.0.0.1", &[], &["127.0.0.1, 198.51.100.1"], &["https, http"], Some((client, false)));
    }
}
