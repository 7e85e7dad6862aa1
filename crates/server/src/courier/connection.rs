//! One connection, over which requests are sent. A task of its own drives it until either side closes.

use std::cell::Cell;
use std::io;
use std::rc::Rc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
use hyper::header::HOST;
use hyper::{Request, Response, Version};
use hyper_util::rt::TokioIo;
use stentor_delivery::WaitFault;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::client::TlsStream;

use super::goal::Goal;
use super::stream::Stream;

/// A request on its way.
pub(super) type Outgoing = Request<Full<Bytes>>;

/// Octets of an answer's head. Nobody has good reasons for more, and each connection may hold as many.
pub(super) const HEAD_BYTES_MAX: usize = 64 << 10;

/// What the other side of HTTP/2 may send unasked of one body, and of all. Answers are short and most are thrown away.
const STREAM_WINDOW: u32 = 64 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;

/// A connection that a request can be sent on.
pub(super) enum Connection {
    /// One request at a time.
    Http1(http1::SendRequest<Full<Bytes>>),
    /// Many at once.
    Http2(Rc<Shared>),
}

/// A connection of HTTP/2.
pub(super) struct Shared {
    sender: http2::SendRequest<Full<Bytes>>,
    /// When it last did something.
    pub(super) used: Cell<Instant>,
}

/// Why there is no answer.
pub(super) enum Ending {
    /// No octet was sent, so here the request is again.
    Unsent(Box<Outgoing>),
    /// Some may have been.
    Silent(WaitFault),
}

impl Connection {
    /// Speaks what the handshake agreed on.
    pub(super) async fn over(stream: Stream) -> Option<Self> {
        let is_http2 = stream.is_http2();
        match stream {
            Stream::Plain(stream) => Self::http1(TokioIo::new(stream)).await,
            Stream::Secured(stream) if is_http2 => Self::http2(TokioIo::new(*stream)).await,
            Stream::Secured(stream) => Self::http1(TokioIo::new(*stream)).await,
        }
    }

    async fn http1<Io>(io: Io) -> Option<Self>
    where
        Io: hyper::rt::Read + hyper::rt::Write + Unpin + 'static,
    {
        let (sender, driver) = http1::Builder::new()
            .max_buf_size(HEAD_BYTES_MAX)
            .max_header_size(HEAD_BYTES_MAX)
            .handshake::<_, Full<Bytes>>(io)
            .await
            .ok()?;
        // Its errors reach whoever waits for an answer; without anybody waiting they do not matter.
        tokio::task::spawn_local(async move {
            let _ = driver.await;
        });
        Some(Self::Http1(sender))
    }

    async fn http2(io: TokioIo<TlsStream<TcpStream>>) -> Option<Self> {
        let (sender, driver) = http2::Builder::new(Here)
            .max_header_list_size(u32::try_from(HEAD_BYTES_MAX).expect("a small constant"))
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .handshake::<_, Full<Bytes>>(io)
            .await
            .ok()?;
        tokio::task::spawn_local(async move {
            let _ = driver.await;
        });
        Some(Self::Http2(Rc::new(Shared { sender, used: Cell::new(Instant::now()) })))
    }

    /// Sends a request and waits for the head of its answer. Interim answers (1xx) are passed over.
    pub(super) async fn ask(&mut self, goal: &Goal, mut request: Box<Outgoing>) -> Result<Response<Incoming>, Ending> {
        let sent = match self {
            Self::Http1(sender) => {
                *request.uri_mut() = goal.origin_form.clone();
                *request.version_mut() = Version::HTTP_11;
                sender.try_send_request(*request).await
            }
            Self::Http2(shared) => {
                shared.used.set(Instant::now());
                *request.uri_mut() = goal.absolute_form.clone();
                *request.version_mut() = Version::HTTP_2;
                // Its place is `:authority` (RFC 9113, section 8.3.1).
                request.headers_mut().remove(HOST);
                shared.sender.clone().try_send_request(*request).await
            }
        };
        sent.map_err(|fault| Ending::of(fault, goal))
    }
}

impl Shared {
    pub(super) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }
}

impl Ending {
    fn of(mut fault: TrySendError<Outgoing>, goal: &Goal) -> Self {
        match fault.take_message() {
            Some(mut request) => {
                request.headers_mut().insert(HOST, goal.host_field.clone());
                Self::Unsent(Box::new(request))
            }
            None => Self::Silent(silence(fault.error())),
        }
    }
}

/// What an error says about the other side.
pub(super) fn silence(error: &hyper::Error) -> WaitFault {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<io::Error>());
    // Bodies in pieces of which one has no length come as such errors.
    let is_nonsense =
        source.is_some_and(|error| matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput));
    if error.is_parse() || is_nonsense { WaitFault::Malformed } else { WaitFault::Reset }
}

/// Starts the tasks of HTTP/2 on this thread.
#[derive(Clone, Copy)]
struct Here;

impl<F> hyper::rt::Executor<F> for Here
where
    F: Future<Output = ()> + 'static,
{
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}
