//! Listening sockets, and the hand-over of accepted connections to the threads.

use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::os::unix::fs::FileTypeExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{mpsc, watch};
use tokio_rustls::TlsAcceptor;
use tracing::{debug, error, warn};

use super::tls;
use crate::config::{EndpointConfig, IpVersion};
use crate::http::{Ingress, Place, Refused};
use crate::meter::{Meters, Reason};

/// Octets that the kernel takes of one connection before they can be sent. By itself it takes megabytes, all of which are copied
/// at once for somebody who asks for much and reads nothing: 1.5 ms and 2.8 MB for each on a loopback interface. What is on its
/// way does not count, so this slows nobody down who reads. A session has the kernel's own measure again, since that helps
/// its outbox over a burst; so have connections with TLS, whose socket is out of reach when they become sessions.
#[cfg(any(target_os = "android", target_os = "linux"))]
const UNSENT_BYTES_MAX: u32 = 64 * 1024;

/// How long accepting pauses when the process has no file descriptor left.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(50);

/// How often one complaint is logged at the most; whoever can cause it could otherwise fill the disk with it.
const COMPLAINT_PAUSE: Duration = Duration::from_secs(60);

/// What somebody hears for whom there is no place. It fits the socket's buffer, so nobody waits for its being read.
const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 1\r\n\
Content-Type: text/plain; charset=utf-8\r\nContent-Length: 36\r\n\r\nThe server has too many connections\n";

/// A connection on its way to its thread.
pub(super) struct Incoming {
    pub(super) stream: Accepted,
    pub(super) ingress: Arc<Ingress>,
    pub(super) tls: Option<Arc<TlsAcceptor>>,
    pub(super) place: Place,
}

/// A stream that belongs to no thread yet.
#[derive(Debug)]
pub(super) enum Accepted {
    Tcp(std::net::TcpStream, SocketAddr),
    Unix(std::os::unix::net::UnixStream),
}

/// A listening socket.
pub(super) struct Listener {
    socket: Listening,
    tls: Option<Arc<TlsAcceptor>>,
    /// What clients are told to connect to.
    pub(super) address: String,
    /// The same as a URL.
    pub(super) url: String,
}

#[derive(Debug)]
enum Listening {
    Tcp(TcpListener),
    Unix(UnixListener, PathBuf),
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Listening::Unix(_, path) = &self.socket {
            // Somebody may have removed it already.
            drop(std::fs::remove_file(path));
        }
    }
}

/// Opens an endpoint for `http` or `ws`.
///
/// # Errors
/// A sentence that names the endpoint and what to do about it.
pub(super) fn open(endpoint: &EndpointConfig, scheme: &str) -> Result<Listener, String> {
    match endpoint {
        EndpointConfig::Tcp { port, interface, backlog, version, tls } => {
            let tls = tls.as_ref().map(tls::acceptor).transpose()?.map(Arc::new);
            let place = interface.as_deref().unwrap_or("*");
            let socket = bind(*port, interface.as_deref(), *backlog, *version)
                .map_err(|error| explain(&error, &format!("port {port} on {place}")))?;
            // Accepted sockets inherit it, and a system that refuses the option works all the same.
            #[cfg(any(target_os = "android", target_os = "linux"))]
            if tls.is_none() {
                drop(socket2::SockRef::from(&socket).set_tcp_notsent_lowat(UNSENT_BYTES_MAX));
            }
            let address = socket.local_addr().map_err(|error| explain(&error, "the endpoint"))?;
            let secure = if tls.is_some() { "s" } else { "" };
            let url = match address.ip() {
                ip if ip.is_unspecified() => format!("{scheme}{secure}://localhost:{}", address.port()),
                _ => format!("{scheme}{secure}://{address}"),
            };
            Ok(Listener { socket: Listening::Tcp(socket), tls, address: address.to_string(), url })
        }
        EndpointConfig::Unix { path, backlog } => {
            remove_stale(path)?;
            let what = format!("socket {}", path.display());
            let listener = std::os::unix::net::UnixListener::bind(path).map_err(|error| explain(&error, &what))?;
            let backlog = i32::try_from(*backlog).unwrap_or(i32::MAX);
            socket2::SockRef::from(&listener).listen(backlog).map_err(|error| explain(&error, &what))?;
            listener.set_nonblocking(true).map_err(|error| explain(&error, &what))?;
            let listener = UnixListener::from_std(listener).map_err(|error| explain(&error, &what))?;
            let address = path.display().to_string();
            let url = format!("unix:{address}");
            Ok(Listener { socket: Listening::Unix(listener, path.clone()), tls: None, address, url })
        }
    }
}

/// A socket file that refuses connections is left over from a node that was killed. Anything else is not ours to remove.
fn remove_stale(path: &std::path::Path) -> Result<(), String> {
    let Ok(found) = std::fs::symlink_metadata(path) else { return Ok(()) };
    if !found.file_type().is_socket() {
        return Err(format!("{} is there and is no socket; move it away or configure another path", path.display()));
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path).map_err(|error| explain(&error, &format!("the old socket {}", path.display())))
        }
        Ok(_) => Err(format!("socket {} is in use by another process", path.display())),
        Err(error) => Err(explain(&error, &format!("socket {}", path.display()))),
    }
}

fn explain(error: &io::Error, what: &str) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!("{what} is in use by another process; stop that one or configure another endpoint")
        }
        io::ErrorKind::PermissionDenied => format!("{what} may not be used by this user: {error}"),
        io::ErrorKind::AddrNotAvailable => format!("{what}: this machine has no such address"),
        _ => format!("{what} cannot be opened: {error}"),
    }
}

fn bind(port: u16, interface: Option<&str>, backlog: u32, version: Option<IpVersion>) -> io::Result<TcpListener> {
    let addresses: Vec<SocketAddr> = match interface {
        // As with Crossbar.io, an endpoint is IPv4 unless its configuration says otherwise; an address list such as
        // require_ip then sees the addresses that it was written for.
        None if version == Some(IpVersion::V6) => vec![([0_u16; 8], port).into()],
        None => vec![([0, 0, 0, 0], port).into()],
        Some(name) => (name, port)
            .to_socket_addrs()?
            .filter(|address| match version {
                None => true,
                Some(IpVersion::V4) => address.is_ipv4(),
                Some(IpVersion::V6) => address.is_ipv6(),
            })
            .collect(),
    };
    let mut outcome = Err(io::ErrorKind::AddrNotAvailable.into());
    for address in addresses {
        let only_v6 = version == Some(IpVersion::V6);
        match listen_on(address, backlog, only_v6) {
            Ok(listener) => return Ok(listener),
            // A name may have addresses of a family that this machine does not have.
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Err(error),
            Err(error) => outcome = Err(error),
        }
    }
    outcome
}

fn listen_on(address: SocketAddr, backlog: u32, only_v6: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(only_v6)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
    TcpListener::from_std(socket.into())
}

/// Accepts until the node goes down, giving each thread its turn. A thread that has too many waiting is passed over.
pub(super) async fn accept(
    listener: Listener,
    ingress: Arc<Ingress>,
    threads: Vec<mpsc::Sender<Incoming>>,
    meters: Arc<Meters>,
    mut shutdown: watch::Receiver<bool>,
) {
    let mut turn = 0;
    let (mut exhausted, mut full, mut busy) = (Complaint::default(), Complaint::default(), Complaint::default());
    loop {
        let stream = tokio::select! {
            stream = listener.next() => stream,
            _ = shutdown.wait_for(|down| *down) => return,
        };
        match stream {
            Ok(stream) => {
                let place = match ingress.crowd.enter(stream.address()) {
                    Ok(place) => place,
                    Err(refused) => {
                        refuse(&stream, refused, &listener, &meters);
                        if full.is_due() {
                            warn!(?refused, address = %listener.address, "connections are refused");
                        }
                        continue;
                    }
                };
                turn = (turn + 1) % threads.len();
                let incoming = Incoming { stream, ingress: Arc::clone(&ingress), tls: listener.tls.clone(), place };
                if hand_over(incoming, &threads, turn).is_none() {
                    meters.closed.count(Reason::ThreadsBusy);
                    if busy.is_due() {
                        warn!("every thread has too many connections waiting, so some are closed");
                    }
                }
            }
            Err(error) if is_exhaustion(&error) => {
                meters.accept_exhausted.increment();
                if exhausted.is_due() {
                    warn!(%error, address = %listener.address, "no connection can be accepted for now");
                }
                tokio::time::sleep(EXHAUSTED_PAUSE).await;
            }
            // The client has gone before it was accepted; the next one is waiting.
            Err(error) => debug!(%error, "a connection ended before it was accepted"),
        }
    }
}

/// Gives a connection to the thread whose turn it is, or to the first one after it that takes it.
fn hand_over(mut incoming: Incoming, threads: &[mpsc::Sender<Incoming>], turn: usize) -> Option<()> {
    for place in (0..threads.len()).map(|step| (turn + step) % threads.len()) {
        match threads[place].try_send(incoming) {
            Ok(()) => return Some(()),
            Err(mpsc::error::TrySendError::Full(back)) => incoming = back,
            Err(mpsc::error::TrySendError::Closed(back)) => {
                error!(thread = place, "a serving thread has ended; the others take its connections");
                incoming = back;
            }
        }
    }
    None
}

/// Closes a connection for which there is no place, with a word where that costs nothing: over TLS it would cost a
/// handshake.
fn refuse(stream: &Accepted, refused: Refused, listener: &Listener, meters: &Meters) {
    match refused {
        Refused::Full => meters.closed.count(Reason::ConnectionsFull),
        Refused::Address => meters.closed.count(Reason::AddressFull),
    }
    if listener.tls.is_none() {
        // The socket does not block, and whoever has gone misses nothing.
        drop(match stream {
            Accepted::Tcp(stream, _) => (&*stream).write(FULL),
            Accepted::Unix(stream) => (&*stream).write(FULL),
        });
    }
}

/// Something that is worth a line in the log now and then.
#[derive(Debug, Default)]
struct Complaint(Option<tokio::time::Instant>);

impl Complaint {
    /// Whether it is time for the line.
    fn is_due(&mut self) -> bool {
        let now = tokio::time::Instant::now();
        let due = self.0.is_none_or(|last| now.duration_since(last) >= COMPLAINT_PAUSE);
        if due {
            self.0 = Some(now);
        }
        due
    }
}

impl Accepted {
    /// Who is at the other end; nothing on a Unix socket.
    pub(super) fn address(&self) -> Option<IpAddr> {
        match self {
            Self::Tcp(_, address) => Some(address.ip().to_canonical()),
            Self::Unix(_) => None,
        }
    }
}

/// Whether the process or the machine has run out of something; waiting lets some connections end.
fn is_exhaustion(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let exhausted = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];
    Errno::from_io_error(error).is_some_and(|errno| exhausted.contains(&errno))
}

impl Listener {
    async fn next(&self) -> io::Result<Accepted> {
        match &self.socket {
            Listening::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                // Small events must not wait for each other; a socket that refuses the option works all the same.
                drop(stream.set_nodelay(true));
                Ok(Accepted::Tcp(stream.into_std()?, address))
            }
            Listening::Unix(listener, _) => Ok(Accepted::Unix(listener.accept().await?.0.into_std()?)),
        }
    }
}
