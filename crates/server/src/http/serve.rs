//! One HTTP connection: from the accepted stream to its requests.

use std::convert::Infallible;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Version};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tracing::{debug, info};

use super::reply::{self, Reply};
use super::site::{Service, Site};
use super::{HEAD_BYTES_MAX, page, upgrade};
use crate::fanout::shard::Shard;
use crate::socket::SocketService;
use crate::socket::io::Stream;

/// What one transport does with its connections.
#[derive(Debug)]
pub struct Ingress {
    /// What answers.
    pub front: Front,
    /// Every request is logged.
    pub access_log: bool,
    /// The `Strict-Transport-Security` of answers over TLS.
    pub hsts: Option<String>,
    /// How long a request's headers may take, and how long a connection may idle.
    pub head_timeout: Duration,
}

/// What answers on a transport.
#[derive(Debug)]
pub enum Front {
    /// WebSocket, whatever the path.
    Socket {
        /// The service.
        service: Arc<SocketService>,
        /// Whether a browser window gets a page.
        status_page: StatusPage,
    },
    /// Services on paths.
    Site(Site),
}

/// What a browser window sees on a WebSocket address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusPage {
    /// A page that names the version.
    WithVersion,
    /// A page.
    Plain,
    /// A refusal.
    Off,
}

/// An accepted stream.
pub enum Arrival {
    /// A plain TCP socket.
    Plain(TcpStream),
    /// Anything else.
    Owned(Box<dyn Stream>),
}

impl std::fmt::Debug for Arrival {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Arrival")
    }
}

/// Who is at the other end.
#[derive(Clone, Copy, Debug)]
pub struct Remote {
    /// Its address; nothing on a Unix socket.
    pub address: Option<IpAddr>,
    /// Whether the stream is encrypted.
    pub tls: bool,
}

/// Serves the requests of one connection until it ends, is upgraded, or the node goes down.
pub async fn serve(
    arrival: Arrival,
    remote: Remote,
    ingress: Arc<Ingress>,
    shard: Rc<Shard>,
    shutdown: watch::Receiver<bool>,
) {
    match arrival {
        Arrival::Plain(stream) => serve_on(TokioIo::new(stream), remote, ingress, shard, shutdown).await,
        Arrival::Owned(stream) => serve_on(TokioIo::new(stream), remote, ingress, shard, shutdown).await,
    }
}

async fn serve_on<S>(
    io: TokioIo<S>,
    remote: Remote,
    ingress: Arc<Ingress>,
    shard: Rc<Shard>,
    mut shutdown: watch::Receiver<bool>,
) where
    S: Stream + 'static,
{
    let _guard = shard.serve_http();
    let head_timeout = ingress.head_timeout;
    let service = service_fn(move |request| {
        let (ingress, shard) = (Arc::clone(&ingress), Rc::clone(&shard));
        async move { Ok::<_, Infallible>(answer(request, remote, &ingress, &shard).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head_timeout)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(io, service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let outcome = tokio::select! {
        outcome = connection.as_mut() => outcome,
        _ = shutdown.wait_for(|down| *down) => {
            connection.as_mut().graceful_shutdown();
            connection.as_mut().await
        }
    };
    if let Err(error) = outcome {
        debug!(%error, "http connection ended");
    }
}

async fn answer(mut request: Request<Incoming>, remote: Remote, ingress: &Ingress, shard: &Rc<Shard>) -> Reply {
    let line = ingress.access_log.then(|| format!("{} {}", request.method(), request.uri().path()));
    let mut reply = route(&mut request, remote, ingress, shard).await;
    if let Some(hsts) = &ingress.hsts
        && remote.tls
        && let Ok(value) = HeaderValue::from_str(hsts)
    {
        reply.headers_mut().insert(header::STRICT_TRANSPORT_SECURITY, value);
    }
    if let Some(line) = line {
        let client = remote.address.map_or_else(|| "-".to_owned(), |address| address.to_string());
        info!(target: "access", %client, status = reply.status().as_u16(), "{line}");
    }
    reply
}

/// Only the pusher's future is kept in place; those of services that are asked less often are boxed, or every publication
/// would carry room for the largest of them.
async fn route(request: &mut Request<Incoming>, remote: Remote, ingress: &Ingress, shard: &Rc<Shard>) -> Reply {
    // RFC 9112 section 3.2: a request without one Host means different things to different readers.
    if request.version() == Version::HTTP_11 && request.headers().get_all(header::HOST).iter().count() != 1 {
        return reply::text(400, "A request has exactly one Host header");
    }
    let site = match &ingress.front {
        Front::Socket { service, status_page } => return socket(request, service, *status_page, shard),
        Front::Site(site) => site,
    };
    let path = request.uri().path();
    let Some((service, rest)) = site.find(path) else {
        return reply::text(404, format!("No service is configured on {path}"));
    };
    match &**service {
        Service::Files(files) => Box::pin(files.reply(request.method(), path, rest, request.headers())).await,
        Service::Socket(service, page) => socket(request, service, *page, shard),
        Service::Push(service) => service.answer(request, remote, shard).await,
        Service::Call(service) => Box::pin(service.answer(request, remote, shard)).await,
        Service::Redirect(location) => reply::redirect(303, location),
        Service::Json(page) => page.reply(),
        Service::NodeInfo(info) => info.reply(shard.clock.uptime()),
        Service::Demo => page::demo(rest),
    }
}

fn socket(request: &mut Request<Incoming>, service: &Arc<SocketService>, page: StatusPage, shard: &Rc<Shard>) -> Reply {
    let window = request.method() == Method::GET && !upgrade::is_upgrade(request.headers());
    match page {
        StatusPage::WithVersion if window => page::socket_status(true),
        StatusPage::Plain if window => page::socket_status(false),
        _ => upgrade::upgrade(request, service, shard),
    }
}
