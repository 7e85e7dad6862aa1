//! Where a transport listens: TCP with or without TLS, or a Unix domain socket.
//!
//! Deliberately does not resolve host names or read key files.

use super::reader::Cursor;
use std::net::IpAddr;
use std::path::PathBuf;

/// Connections the kernel holds for us before we accept them. Crossbar.io has 50, which a page reload by a few hundred
/// clients overruns; the kernel itself caps what is asked for.
pub const BACKLOG_DEFAULT: u32 = 1024;

/// One listening endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndpointConfig {
    /// A TCP port.
    Tcp {
        /// The port; `"$NAME"` has been resolved. 0 lets the system choose.
        port: u16,
        /// The address or host name to bind. `None`: all interfaces.
        interface: Option<String>,
        /// Connections waiting to be accepted, 1 to 65535.
        backlog: u32,
        /// The IP version, where it must be one of the two.
        version: Option<IpVersion>,
        /// Encrypted if there.
        tls: Option<TlsConfig>,
    },
    /// A Unix domain socket.
    Unix {
        /// The socket's file, resolved against the node directory.
        path: PathBuf,
        /// Connections waiting to be accepted, 1 to 65535.
        backlog: u32,
    },
}

/// A version of the Internet Protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IpVersion {
    /// IPv4 only.
    V4,
    /// IPv6 only.
    V6,
}

/// The PEM files of a TLS endpoint, resolved against the node directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsConfig {
    /// The private key.
    pub key: PathBuf,
    /// The certificate, which may hold its chain too.
    pub certificate: PathBuf,
    /// Intermediate certificates in further files.
    pub chain_certificates: Vec<PathBuf>,
}

impl EndpointConfig {
    /// Whether connections are encrypted by this endpoint itself.
    pub fn has_tls(&self) -> bool {
        matches!(self, Self::Tcp { tls: Some(_), .. })
    }

    /// Whether only programs on this machine reach a TCP endpoint. Names other than `localhost` are not resolved: what
    /// they mean may change. A Unix socket is no such endpoint, since it is there for a proxy.
    pub fn is_loopback(&self) -> bool {
        let Self::Tcp { interface: Some(name), .. } = self else { return false };
        name == "localhost" || name.parse().is_ok_and(|address: IpAddr| address.to_canonical().is_loopback())
    }

    /// The URL of this endpoint, without a slash at its end, where programs on this machine are all that reach it. A port
    /// that the system is to choose is left out.
    pub(super) fn loopback_url(&self) -> Option<String> {
        let Self::Tcp { port, interface: Some(name), tls, .. } = self else { return None };
        if !self.is_loopback() {
            return None;
        }
        let scheme = if tls.is_some() { "https" } else { "http" };
        let host = if name.contains(':') { format!("[{name}]") } else { name.clone() };
        let port = if *port == 0 { String::new() } else { format!(":{port}") };
        Some(format!("{scheme}://{host}{port}"))
    }

    /// Whether the second of two endpoints could not be opened: the same socket file, or the same port on interfaces
    /// of which one contains the other.
    pub(super) fn collides(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Unix { path, .. }, Self::Unix { path: other, .. }) => path == other,
            (
                Self::Tcp { port, interface, version, .. },
                Self::Tcp { port: port2, interface: interface2, version: version2, .. },
            ) => {
                let everywhere = |interface: &Option<String>| {
                    interface.as_deref().is_none_or(|name| matches!(name, "" | "0.0.0.0" | "::"))
                };
                let apart = matches!((version, version2), (Some(one), Some(two)) if one != two);
                let meet = interface == interface2 || everywhere(interface) || everywhere(interface2);
                *port != 0 && port == port2 && meet && !apart
            }
            _ => false,
        }
    }
}

/// Reads one endpoint.
pub(super) fn read(cursor: &Cursor<'_>) -> Option<EndpointConfig> {
    let mut dict = cursor.dict()?;
    let kind = dict.need("type")?;
    let mut backlog = BACKLOG_DEFAULT;
    dict.integer("backlog", 1..=65_535, &mut backlog);
    match kind.name()? {
        "tcp" => {
            let port = match dict.take("port") {
                Some(cursor) => port(&cursor),
                None if dict.take("portrange").is_some() => {
                    dict.fault("'portrange' of Crossbar.io is not supported by Stentor; name one 'port'");
                    None
                }
                None => dict.need("port").and(None),
            };
            let interface = dict.take("interface").and_then(|cursor| cursor.name().map(str::to_owned));
            let version = dict.take("version").and_then(|cursor| match cursor.node.value.describe().as_str() {
                "4" => Some(IpVersion::V4),
                "6" => Some(IpVersion::V6),
                _ => {
                    cursor.must("4 or 6");
                    None
                }
            });
            let tls = dict.take("tls").map(|cursor| tls(&cursor));
            dict.ignore("shared", "one process listens on the port");
            dict.ignore("user_timeout", "WebSocket pings find dead connections");
            dict.finish();
            // A TLS section with a fault in it must not turn into an endpoint without TLS.
            Some(EndpointConfig::Tcp {
                port: port?,
                interface,
                backlog,
                version,
                tls: tls.map_or(Some(None), |tls| tls.map(Some))?,
            })
        }
        "unix" => {
            let path = dict.need("path").and_then(|cursor| cursor.file());
            dict.finish();
            Some(EndpointConfig::Unix { path: path?, backlog })
        }
        other => {
            let sort =
                Sort { noun: "endpoint type", known: &["tcp", "unix"], unsupported: &["twisted", "onion", "tor"] };
            kind.fault(sort.refusal(other));
            None
        }
    }
}

/// A closed set of type names, and those of Crossbar.io that are missing from it.
#[derive(Debug)]
pub(super) struct Sort<'s> {
    pub(super) noun: &'s str,
    pub(super) known: &'s [&'s str],
    pub(super) unsupported: &'s [&'s str],
}

impl Sort<'_> {
    /// The sentence for a type name that is not known here.
    pub(super) fn refusal(&self, name: &str) -> String {
        let noun = self.noun;
        if self.unsupported.contains(&name) {
            return format!("{noun} '{name}' of Crossbar.io is not supported by Stentor");
        }
        let hint = super::reader::did_you_mean(name, self.known.iter().copied());
        let hint = if hint.is_empty() { format!("; known are {}", self.known.join(", ")) } else { hint };
        format!("unknown {noun} '{}'{hint}", super::reader::shown(name))
    }
}

/// A port number, or `"$NAME"` of an environment variable that holds one.
fn port(cursor: &Cursor<'_>) -> Option<u16> {
    const WANTED: &str = "a port number from 0 to 65535 or \"$NAME\" of an environment variable";
    match &cursor.node.value {
        super::tree::Value::Number(number) => {
            let port = number.as_u64().and_then(|port| u16::try_from(port).ok());
            if port.is_none() {
                cursor.must(WANTED);
            }
            port
        }
        super::tree::Value::Text(text) => {
            let Some(name) = text.strip_prefix('$').filter(|name| !name.is_empty()) else {
                cursor.must(WANTED);
                return None;
            };
            let Some(value) = (cursor.cx.surroundings.env)(name) else {
                cursor.fault(format!("the environment variable '{name}' is not set"));
                return None;
            };
            let port = value.trim().parse().ok();
            if port.is_none() {
                cursor.fault(format!(
                    "the environment variable '{name}' must hold a port number from 0 to 65535, not {}",
                    super::tree::quote(&value)
                ));
            }
            port
        }
        _ => {
            cursor.must(WANTED);
            None
        }
    }
}

fn tls(cursor: &Cursor<'_>) -> Option<TlsConfig> {
    let mut dict = cursor.dict()?;
    let key = dict.need("key").and_then(|cursor| cursor.existing("file"));
    let certificate = dict.need("certificate").and_then(|cursor| cursor.existing("file"));
    let chain_certificates = dict.list("chain_certificates").iter().filter_map(|item| item.existing("file")).collect();
    dict.ignore("dhparam", "keys are agreed on over elliptic curves");
    dict.ignore("ciphers", "the cipher suites of TLS 1.2 and 1.3 without known weakness are on");
    // Leaving this out would let in clients that the configuration means to keep out.
    dict.refuse("ca_certificates");
    dict.finish();
    Some(TlsConfig { key: key?, certificate: certificate?, chain_certificates })
}
