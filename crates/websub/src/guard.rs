//! Which addresses a hub talks to. Callbacks, topics and content URLs are chosen by strangers, and a hub stands where
//! strangers cannot reach (WebSub 8, "Security Considerations"; item 65).
//!
//! Judged are addresses that a resolver gave, and the connection is then made to the judged one, so that a name cannot
//! resolve to something else a moment later. Names themselves say nothing and are not looked at.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use crate::address::{Address, Host};

/// How far into one's own networks requests may go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    /// Public addresses only.
    #[default]
    Public,
    /// Loopback and private networks as well (`allow_private_networks`). Link-local ones and the metadata services of
    /// clouds stay closed: nobody subscribes from there, and what answers there hands out credentials.
    Private,
}

/// What a request may be sent to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Guard {
    /// Own networks.
    pub reach: Reach,
    /// Networks that are allowed whatever they are.
    pub allow: Vec<IpNet>,
    /// Ports below 1024 that are allowed besides 80 and 443. The others belong to mail, shells and name servers, which
    /// can be made to read a request as commands.
    pub ports: Vec<u16>,
}

/// What sort of address it is that is not public.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// 0.0.0.0/8 and `::`, which many systems take for themselves.
    Unspecified,
    /// 127.0.0.0/8 and `::1`.
    Loopback,
    /// RFC 1918, and the old site-local fec0::/10.
    Private,
    /// 100.64.0.0/10, the inside of a carrier's NAT (RFC 6598).
    Shared,
    /// fc00::/7 (RFC 4193).
    UniqueLocal,
    /// 169.254.0.0/16 and fe80::/10.
    LinkLocal,
    /// Where clouds hand out credentials to their machines.
    Metadata,
    /// 224.0.0.0/4 and ff00::/8.
    Multicast,
    /// 255.255.255.255.
    Broadcast,
    /// 198.18.0.0/15 and 2001:2::/48 (RFC 2544, RFC 5180).
    Benchmarking,
    /// Addresses of books and manuals (RFC 5737, RFC 3849, RFC 9637).
    Documentation,
    /// Everything else that no host on the internet has.
    Reserved,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Unspecified => "an unspecified",
            Self::Loopback => "a loopback",
            Self::Private => "a private",
            Self::Shared => "a carrier's shared",
            Self::UniqueLocal => "a unique local",
            Self::LinkLocal => "a link-local",
            Self::Metadata => "a cloud's metadata",
            Self::Multicast => "a multicast",
            Self::Broadcast => "a broadcast",
            Self::Benchmarking => "a benchmarking",
            Self::Documentation => "a documentation",
            Self::Reserved => "a reserved",
        }
    }
}

/// Why a request is not sent. For the operator: told to strangers, it would let them map a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blocked {
    /// The address.
    Address {
        /// As the resolver gave it.
        address: IpAddr,
        /// What it is.
        kind: Kind,
    },
    /// The port.
    Port(u16),
    /// The name resolved to nothing.
    NoAddress,
}

impl fmt::Display for Blocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address { address, kind } => write!(f, "{address} is {} address", kind.name()),
            Self::Port(port) => write!(f, "port {port} is not for webhooks"),
            Self::NoAddress => f.write_str("the name has no address"),
        }
    }
}

impl std::error::Error for Blocked {}

impl Guard {
    /// Looks at what is known before anything is resolved: the port, and a host that is an address already.
    ///
    /// # Errors
    /// When nothing may be sent there.
    pub fn judge_url(&self, address: &Address) -> Result<(), Blocked> {
        let port = address.port;
        if port < 1024 && port != 80 && port != 443 && !self.ports.contains(&port) {
            return Err(Blocked::Port(port));
        }
        match address.host {
            Host::Ipv4(ip) => self.judge(ip.into()),
            Host::Ipv6(ip) => self.judge(ip.into()),
            Host::Domain(_) => Ok(()),
        }
    }

    /// Of the addresses that a name resolved to, those that one may connect to, in their order.
    ///
    /// # Errors
    /// When there is none; says what was wrong with the first.
    pub fn judge_all(&self, addresses: &[IpAddr]) -> Result<Vec<IpAddr>, Blocked> {
        let allowed: Vec<IpAddr> = addresses.iter().copied().filter(|ip| self.judge(*ip).is_ok()).collect();
        match addresses.first() {
            None => Err(Blocked::NoAddress),
            Some(first) if allowed.is_empty() => self.judge(*first).map(|()| allowed),
            Some(_) => Ok(allowed),
        }
    }

    /// Whether one may connect to this address.
    ///
    /// # Errors
    /// When one may not.
    pub fn judge(&self, address: IpAddr) -> Result<(), Blocked> {
        let Some(kind) = kind(address) else { return Ok(()) };
        let canonical = address.to_canonical();
        if self.allow.iter().any(|net| net.contains(&address) || net.contains(&canonical)) {
            return Ok(());
        }
        let is_own = matches!(kind, Kind::Loopback | Kind::Private | Kind::Shared | Kind::UniqueLocal);
        match self.reach {
            Reach::Private if is_own => Ok(()),
            _ => Err(Blocked::Address { address, kind }),
        }
    }
}

/// What an address is that is not public; nothing for a public one.
#[must_use]
pub fn kind(address: IpAddr) -> Option<Kind> {
    match address {
        IpAddr::V4(ip) => kind_v4(ip),
        IpAddr::V6(ip) => kind_v6(ip),
    }
}

fn kind_v4(ip: Ipv4Addr) -> Option<Kind> {
    Some(match ip.octets() {
        [0, ..] => Kind::Unspecified,
        [127, ..] => Kind::Loopback,
        // Alibaba's metadata service lives inside of the shared range.
        [169, 254, 169, 254] | [100, 100, 100, 200] => Kind::Metadata,
        [169, 254, ..] => Kind::LinkLocal,
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => Kind::Private,
        [100, 64..=127, ..] => Kind::Shared,
        [198, 18..=19, ..] => Kind::Benchmarking,
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => Kind::Documentation,
        [255, 255, 255, 255] => Kind::Broadcast,
        [224..=239, ..] => Kind::Multicast,
        // IETF protocol assignments, the old 6to4 relays, and the former class E.
        [192, 0, 0, _] | [192, 88, 99, _] | [240..=255, ..] => Kind::Reserved,
        _ => return None,
    })
}

fn kind_v6(ip: Ipv6Addr) -> Option<Kind> {
    let parts = ip.segments();
    if let Some(kind) = special_v6(ip, parts) {
        return Some(kind);
    }
    // A gateway turns these into IPv4, so what counts is the address inside.
    let inside = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        kind_v4(Ipv4Addr::new(a, b, c, d))
    };
    match parts {
        // ::ffff:a.b.c.d mapped, ::a.b.c.d compatible, ::ffff:0:a.b.c.d translated, 64:ff9b::a.b.c.d NAT64.
        [0, 0, 0, 0, 0, 0xffff | 0, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        // ISATAP (RFC 5214), under any prefix.
        | [_, _, _, _, 0 | 0x200, 0x5efe, high, low] => inside(high, low),
        // 6to4 (RFC 3056).
        [0x2002, high, low, ..] => inside(high, low),
        // Teredo (RFC 4380): the server, and the client with its bits turned over.
        [0x2001, 0, high, low, _, _, client_high, client_low] => {
            inside(high, low).or_else(|| inside(!client_high, !client_low))
        }
        // The rest of what the IETF keeps for protocols, and all that is not global unicast (RFC 4291, section 2.4).
        [0x2001, 0x1..=0x1ff, ..] => Some(Kind::Reserved),
        [0x2000..=0x3fff, ..] => None,
        _ => Some(Kind::Reserved),
    }
}

fn special_v6(ip: Ipv6Addr, parts: [u16; 8]) -> Option<Kind> {
    if ip.is_unspecified() {
        return Some(Kind::Unspecified);
    }
    if ip.is_loopback() {
        return Some(Kind::Loopback);
    }
    Some(match parts {
        // Amazon's metadata service lives among the unique local addresses.
        [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254] => Kind::Metadata,
        [0xfc00..=0xfdff, ..] => Kind::UniqueLocal,
        [0xfe80..=0xfebf, ..] => Kind::LinkLocal,
        // 64:ff9b:1::/48 is NAT64 of one's own network (RFC 8215).
        [0xfec0..=0xfeff, ..] | [0x64, 0xff9b, 1, ..] => Kind::Private,
        [0xff00..=0xffff, ..] => Kind::Multicast,
        [0x2001, 0x2, 0, ..] => Kind::Benchmarking,
        [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => Kind::Documentation,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<Kind>) {
        assert_eq!(kind(text.parse().unwrap()), expected, "{text}");
    }

    #[test]
    fn v4_addresses_are_told_apart() {
        check("0.0.0.0", Some(Kind::Unspecified));
        check("0.1.2.3", Some(Kind::Unspecified));
        check("127.0.0.1", Some(Kind::Loopback));
        check("127.255.255.255", Some(Kind::Loopback));
        check("128.0.0.1", None);
        check("10.0.0.0", Some(Kind::Private));
        check("11.0.0.0", None);
        check("172.15.255.255", None);
        check("172.16.0.0", Some(Kind::Private));
        check("172.31.255.255", Some(Kind::Private));
        check("172.32.0.0", None);
        check("192.168.1.1", Some(Kind::Private));
        check("192.169.0.0", None);
        check("100.63.255.255", None);
        check("100.64.0.0", Some(Kind::Shared));
        check("100.127.255.255", Some(Kind::Shared));
        check("100.128.0.0", None);
        check("100.100.100.200", Some(Kind::Metadata));
        check("169.254.169.254", Some(Kind::Metadata));
        check("169.254.1.1", Some(Kind::LinkLocal));
        check("192.0.0.8", Some(Kind::Reserved));
        check("192.0.2.1", Some(Kind::Documentation));
        check("198.17.255.255", None);
        check("198.18.0.1", Some(Kind::Benchmarking));
        check("198.19.255.255", Some(Kind::Benchmarking));
        check("198.51.100.1", Some(Kind::Documentation));
        check("203.0.113.1", Some(Kind::Documentation));
        check("224.0.0.1", Some(Kind::Multicast));
        check("240.0.0.1", Some(Kind::Reserved));
        check("255.255.255.255", Some(Kind::Broadcast));
        check("8.8.8.8", None);
    }

    #[test]
    fn v6_addresses_are_told_apart() {
        check("::", Some(Kind::Unspecified));
        check("::1", Some(Kind::Loopback));
        check("fc00::1", Some(Kind::UniqueLocal));
        check("fd00:ec2::254", Some(Kind::Metadata));
        check("fe80::1", Some(Kind::LinkLocal));
        check("fec0::1", Some(Kind::Private));
        check("ff02::1", Some(Kind::Multicast));
        check("2001:db8::1", Some(Kind::Documentation));
        check("3fff:fff::1", Some(Kind::Documentation));
        check("2001:2::1", Some(Kind::Benchmarking));
        check("2001:20::1", Some(Kind::Reserved));
        check("100::1", Some(Kind::Reserved));
        check("5f00::1", Some(Kind::Reserved));
        check("4000::1", Some(Kind::Reserved));
        check("2606:4700::1111", None);
        check("2001:4860:4860::8888", None);
    }

    #[test]
    fn addresses_inside_of_addresses_are_found() {
        check("::ffff:127.0.0.1", Some(Kind::Loopback));
        check("::ffff:8.8.8.8", None);
        check("::127.0.0.1", Some(Kind::Loopback));
        check("::ffff:0:10.0.0.1", Some(Kind::Private));
        check("64:ff9b::169.254.169.254", Some(Kind::Metadata));
        check("64:ff9b::8.8.8.8", None);
        check("64:ff9b:1::8.8.8.8", Some(Kind::Private));
        check("2002:7f00:1::1", Some(Kind::Loopback));
        check("2002:808:808::1", None);
        // Teredo, a private server; then a public server with the client 10.0.0.1 (bits turned over).
        check("2001:0:a00:1::1", Some(Kind::Private));
        check("2001:0:808:808:0:0:f5ff:fffe", Some(Kind::Private));
        check("2001:0:808:808:0:0:f7f7:f7f7", None);
        check("2606:4700::1:5efe:10.0.0.1", None);
        check("2606:4700:0:0:0:5efe:10.0.0.1", Some(Kind::Private));
    }

    #[test]
    fn reach_opens_own_networks_and_no_more() {
        let private = Guard { reach: Reach::Private, ..Guard::default() };
        let listed = Guard { allow: vec!["169.254.0.0/16".parse().unwrap()], ..Guard::default() };
        let check = |text: &str, expected: [bool; 3]| {
            let ip = text.parse().unwrap();
            let found = [&Guard::default(), &private, &listed].map(|guard| guard.judge(ip).is_ok());
            assert_eq!(found, expected, "{text}");
        };
        check("8.8.8.8", [true, true, true]);
        check("127.0.0.1", [false, true, false]);
        check("::1", [false, true, false]);
        check("::ffff:192.168.0.1", [false, true, false]);
        check("fd00::1", [false, true, false]);
        check("100.64.0.1", [false, true, false]);
        check("169.254.169.254", [false, false, true]);
        check("::ffff:169.254.169.254", [false, false, true]);
        check("fd00:ec2::254", [false, false, false]);
        check("224.0.0.1", [false, false, false]);
        check("0.0.0.0", [false, false, false]);
    }

    #[test]
    fn urls_are_judged_before_they_are_resolved() {
        let check = |url: &str, expected: &str| {
            let found = Guard::default().judge_url(&Address::parse(url).unwrap());
            assert_eq!(found.map_or_else(|blocked| blocked.to_string(), |()| "ok".to_owned()), expected, "{url}");
        };
        check("https://example.com/", "ok");
        check("https://example.com:8443/", "ok");
        check("http://example.com:25/", "port 25 is not for webhooks");
        check("http://example.com:1023/", "port 1023 is not for webhooks");
        // Odd spellings (item 65).
        check("http://2130706433/", "127.0.0.1 is a loopback address");
        check("http://0x7f.0.0.1/", "127.0.0.1 is a loopback address");
        check("http://0251.0376.0251.0376/", "169.254.169.254 is a cloud's metadata address");
        check("http://127.1/", "127.0.0.1 is a loopback address");
        check("http://[::ffff:10.0.0.1]/", "::ffff:10.0.0.1 is a private address");
        let open = Guard { ports: vec![25], ..Guard::default() };
        assert_eq!(open.judge_url(&Address::parse("http://example.com:25/").unwrap()), Ok(()));
    }

    #[test]
    fn only_allowed_answers_of_a_resolver_are_used() {
        let check = |addresses: &[&str], expected: Result<&[&str], Blocked>| {
            let parse = |list: &[&str]| list.iter().map(|ip| ip.parse().unwrap()).collect::<Vec<IpAddr>>();
            assert_eq!(Guard::default().judge_all(&parse(addresses)), expected.map(parse));
        };
        check(&["8.8.8.8", "10.0.0.1", "2606:4700::1"], Ok(&["8.8.8.8", "2606:4700::1"]));
        let kind = Kind::Private;
        check(&["10.0.0.1", "127.0.0.1"], Err(Blocked::Address { address: "10.0.0.1".parse().unwrap(), kind }));
        check(&[], Err(Blocked::NoAddress));
    }
}
