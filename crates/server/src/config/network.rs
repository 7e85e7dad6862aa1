//! IP networks as people write them in `require_ip` and `trusted_proxies`.
//!
//! Knows single addresses, prefix lengths and dotted masks, IPv4 and IPv6. An address inside a network names the
//! network: the reference's own example, `192.168.1.1/255.255.255.0`, is `192.168.1.0/24`.

use ipnet::IpNet;
use std::fmt;
use std::net::IpAddr;

/// Why a text names no network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NetworkError {
    /// What stands before the slash is no IP address.
    Address,
    /// What stands after the slash is neither a prefix length of that family nor a mask.
    Mask,
}

impl fmt::Display for NetworkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Address => "an IP address or network such as '10.0.0.7', '10.0.0.0/8' or '10.0.0.0/255.0.0.0'",
            Self::Mask => "an IP network whose part after '/' is a prefix length or a mask of leading ones",
        })
    }
}

impl std::error::Error for NetworkError {}

/// Reads an address or a network; a single address is the network that holds only itself.
pub fn parse(text: &str) -> Result<IpNet, NetworkError> {
    let (address, mask) = match text.split_once('/') {
        Some((address, mask)) => (address, Some(mask)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().map_err(|_| NetworkError::Address)?;
    let Some(mask) = mask else { return Ok(IpNet::from(address)) };
    let length = match mask.parse::<IpAddr>() {
        // `IpNet` takes the prefix length of a mask from either family, so that one is checked here; it does refuse
        // masks with holes (`255.0.255.0`).
        Ok(mask) if mask.is_ipv4() != address.is_ipv4() => return Err(NetworkError::Mask),
        Ok(mask) => return IpNet::with_netmask(address, mask).map(|net| net.trunc()).map_err(|_| NetworkError::Mask),
        Err(_) if mask.bytes().all(|byte| byte.is_ascii_digit()) => mask.parse().map_err(|_| NetworkError::Mask)?,
        Err(_) => return Err(NetworkError::Mask),
    };
    IpNet::new(address, length).map(|net| net.trunc()).map_err(|_| NetworkError::Mask)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_read() {
        let check = |text: &str, expect: &str| assert_eq!(parse(text).unwrap().to_string(), expect, "{text}");
        check("127.0.0.1", "127.0.0.1/32");
        check("10.0.0.0/8", "10.0.0.0/8");
        check("10.1.2.3/8", "10.0.0.0/8");
        check("192.168.1.1/255.255.255.0", "192.168.1.0/24");
        check("0.0.0.0/0", "0.0.0.0/0");
        check("0.0.0.0/0.0.0.0", "0.0.0.0/0");
        check("::1", "::1/128");
        check("2001:db8::17/32", "2001:db8::/32");
        check("2001:db8::1/ffff:ffff::", "2001:db8::/32");
    }

    #[test]
    fn other_texts_are_refused() {
        let check = |text: &str, expect: NetworkError| assert_eq!(parse(text), Err(expect), "{text}");
        check("", NetworkError::Address);
        check("localhost", NetworkError::Address);
        check("10.0.0", NetworkError::Address);
        check(" 10.0.0.1", NetworkError::Address);
        check("/8", NetworkError::Address);
        check("10.0.0.0/", NetworkError::Mask);
        check("10.0.0.0/33", NetworkError::Mask);
        check("10.0.0.0/+8", NetworkError::Mask);
        check("10.0.0.0/8/8", NetworkError::Mask);
        check("10.0.0.0/255.0.255.0", NetworkError::Mask);
        check("10.0.0.0/ffff::", NetworkError::Mask);
        check("::/129", NetworkError::Mask);
    }
}
