//! One connection to a server: plain or TLS, blocking while it is set up and non-blocking afterwards.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, Stream};
use socket2::{Domain, Socket, Type};

use crate::fault::{Fault, io};

/// A server that has not answered by then will not.
const PATIENCE: Duration = Duration::from_secs(30);

/// Connections from one loopback address. The system hands out 28 232 ports for each, and some of them are taken.
const PORTS_PER_ADDRESS: usize = 20_000;

/// Connections that may wait to be accepted: more than sessions are opened together.
pub(crate) const BACKLOG: u32 = 4096;

/// A socket, and perhaps TLS over it.
pub struct Wire {
    tcp: TcpStream,
    tls: Option<Box<ClientConnection>>,
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire").field("tcp", &self.tcp).field("tls", &self.tls.is_some()).finish()
    }
}

/// The loopback address that the connection of this number starts from.
#[must_use]
pub fn source(number: usize) -> Ipv4Addr {
    let last = 1 + (number / PORTS_PER_ADDRESS) % 250;
    Ipv4Addr::new(127, 0, 0, u8::try_from(last).expect("below 251"))
}

impl Wire {
    /// Connects, for now blocking.
    ///
    /// # Errors
    /// When the server does not take the connection.
    pub fn connect(to: SocketAddr, from: Ipv4Addr, tls: Option<&Arc<ClientConfig>>) -> Result<Self, Fault> {
        let tcp = io(dial(to, from), || format!("no connection from {from} to {to}"))?;
        let tls = match tls {
            None => None,
            Some(config) => {
                let name = ServerName::try_from("localhost").expect("a valid name");
                let tls = ClientConnection::new(Arc::clone(config), name);
                Some(Box::new(tls.map_err(|error| Fault::Setup(format!("TLS cannot be set up: {error}")))?))
            }
        };
        Ok(Self { tcp, tls })
    }

    /// From now on nothing waits.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn stop_blocking(&self) -> io::Result<()> {
        self.tcp.set_nonblocking(true)
    }

    /// What to register for readiness.
    #[must_use]
    pub fn descriptor(&self) -> RawFd {
        self.tcp.as_raw_fd()
    }

    /// A read shorter than its buffer has emptied the socket, so that the next one need not be tried: true for sockets
    /// and edge-triggered readiness, and not for the records of TLS.
    #[must_use]
    pub const fn short_read_drains(&self) -> bool {
        self.tls.is_none()
    }
}

fn dial(to: SocketAddr, from: Ipv4Addr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    if from != Ipv4Addr::LOCALHOST {
        socket.bind(&SocketAddr::from((from, 0)).into())?;
    }
    socket.connect_timeout(&to.into(), PATIENCE)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    Ok(socket.into())
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.tls {
            None => self.tcp.read(buffer),
            Some(tls) => Stream::new(&mut **tls, &mut self.tcp).read(buffer),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        match &mut self.tls {
            None => self.tcp.write(octets),
            Some(tls) => Stream::new(&mut **tls, &mut self.tcp).write(octets),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.tls {
            None => Ok(()),
            Some(tls) => Stream::new(&mut **tls, &mut self.tcp).flush(),
        }
    }
}
