//! From a goal to a stream, past the guard.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::RootCertStore;
use rustls::pki_types::ServerName;
use stentor_delivery::SendFault;
use stentor_websub::address::{Host, Scheme};
use stentor_websub::guard::Guard;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;

use super::goal::Goal;
use super::resolve::Resolve;
use super::stream::Stream;

/// Addresses of one name that are tried. A name may have thousands, and then nobody would wait for the last of them.
const ADDRESSES_MAX: usize = 8;

/// Makes connections.
pub(super) struct Dialer {
    guard: Guard,
    timeout: Duration,
    tls: TlsConnector,
    resolver: Box<dyn Resolve>,
}

impl Dialer {
    pub(super) fn new(guard: Guard, timeout: Duration, roots: Arc<RootCertStore>, resolver: Box<dyn Resolve>) -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider knows the versions that rustls recommends")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Self { guard, timeout, tls: TlsConnector::from(Arc::new(config)), resolver }
    }

    /// A stream to one of the goal's addresses, tried in their order; each gets its share of the time that is left.
    pub(super) async fn dial(&self, goal: &Goal) -> Result<Stream, SendFault> {
        let end = Instant::now() + self.timeout;
        let addresses = timeout_at(end, self.addresses(goal)).await.unwrap_or(Err(SendFault::Dns))?;
        let mut last = SendFault::Connect;
        for (at, address) in addresses.iter().enumerate() {
            let left = u32::try_from(addresses.len() - at).expect("there are few addresses");
            let share = Instant::now() + end.saturating_duration_since(Instant::now()) / left;
            let socket = SocketAddr::new(*address, goal.port);
            match timeout_at(share, self.connect(goal, socket)).await.unwrap_or(Err(SendFault::Connect)) {
                Ok(stream) => return Ok(stream),
                Err(fault) => last = fault,
            }
        }
        Err(last)
    }

    /// The addresses that the guard allows, and no other one is ever connected to.
    async fn addresses(&self, goal: &Goal) -> Result<Vec<IpAddr>, SendFault> {
        let found = match &goal.host {
            Host::Ipv4(ip) => vec![IpAddr::from(*ip)],
            Host::Ipv6(ip) => vec![IpAddr::from(*ip)],
            Host::Domain(name) => self.resolver.resolve(name).await.map_err(|error| {
                tracing::debug!(origin = &*goal.origin, %error, "the name is not resolved");
                SendFault::Dns
            })?,
        };
        if found.is_empty() {
            return Err(SendFault::Dns);
        }
        let mut allowed = self.guard.judge_all(&found).map_err(|blocked| {
            tracing::debug!(origin = &*goal.origin, %blocked, "no request is sent");
            SendFault::Address
        })?;
        allowed.truncate(ADDRESSES_MAX);
        Ok(allowed)
    }

    async fn connect(&self, goal: &Goal, socket: SocketAddr) -> Result<Stream, SendFault> {
        let told = |error: &dyn std::fmt::Display| {
            tracing::debug!(origin = &*goal.origin, %socket, %error, "no connection");
        };
        let stream = TcpStream::connect(socket).await.map_err(|error| {
            told(&error);
            SendFault::Connect
        })?;
        // A request is one write, so waiting for more only costs time. Where it cannot be set it is slower, not wrong.
        let _ = stream.set_nodelay(true);
        if goal.scheme == Scheme::Http {
            return Ok(Stream::Plain(stream));
        }
        let name = match &goal.host {
            Host::Domain(name) => ServerName::try_from(name.clone()).map_err(|_| SendFault::Tls)?,
            Host::Ipv4(ip) => ServerName::from(IpAddr::from(*ip)),
            Host::Ipv6(ip) => ServerName::from(IpAddr::from(*ip)),
        };
        let stream = self.tls.connect(name, stream).await.map_err(|error| {
            told(&error);
            SendFault::Tls
        })?;
        Ok(Stream::Secured(Box::new(stream)))
    }
}
