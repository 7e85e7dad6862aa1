//! One HTTP connection: from the accepted stream to its requests.

use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::{Body, Incoming};
use hyper::header::{self, HeaderValue};
use hyper::server::conn::http1::UpgradeableConnection;
use hyper::service::{HttpService, service_fn};
use hyper::{Method, Request, StatusCode, Version};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Sleep;
use tracing::{debug, info};

use super::alarm::{First, attend};
use super::crowd::{Crowd, Place};
use super::express::{self, Lane};
use super::patience::{Fault, Limits, Patience, Phase, Verdict};
use super::reply::{self, Reply};
use super::scrape::Watch;
use super::site::{Service, Site};
use super::vitals::{Vitals, Watched};
use super::watch as local;
use super::{HEAD_BYTES_MAX, intake, page, upgrade};
use crate::fanout::shard::Shard;
use crate::meter::{Meters, Reason};
use crate::socket::SocketService;
use crate::socket::io::Stream;
use crate::task;

/// What one transport does with its connections.
#[derive(Debug)]
pub struct Ingress {
    /// What answers.
    pub front: Front,
    /// Every request is logged.
    pub access_log: bool,
    /// The `Strict-Transport-Security` of answers over TLS.
    pub hsts: Option<String>,
    /// How long each step of a connection may take.
    pub limits: Limits,
    /// Its connections.
    pub crowd: Arc<Crowd>,
    /// Who tells programs on this machine about the node, where nobody else can reach the endpoint.
    pub local_watch: Option<Arc<Watch>>,
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

/// The client of one connection, as services see it.
pub(super) struct Client {
    pub(super) remote: Remote,
    pub(super) vitals: Arc<Vitals>,
    pub(super) ingress: Arc<Ingress>,
    pub(super) shard: Rc<Shard>,
}

impl Client {
    pub(super) fn meters(&self) -> &Meters {
        &self.shard.meters
    }

    /// Starts a task on the thread of this connection.
    pub(super) fn spawn(&self, future: impl Future<Output = ()> + 'static) {
        task::spawn(&self.shard, future);
    }
}

/// Waits for the first octet of a connection, or whatever else makes it readable. Until then it costs a task and its
/// socket: buffers and TLS begin when somebody speaks. False when nothing came in time or the node goes down.
pub async fn heard(
    readable: impl Future<Output = io::Result<()>>,
    ingress: &Ingress,
    shard: &Shard,
    mut shutdown: watch::Receiver<bool>,
) -> bool {
    let mut patience = Patience::new(ingress.limits, shard.clock.uptime());
    let silence = Vitals::default().sample();
    let mut readable = std::pin::pin!(readable);
    loop {
        let step = match patience.look(silence, ingress.crowd.density(), shard.clock.uptime()) {
            Verdict::Wait(step) => step,
            Verdict::Over(_) => {
                shard.meters.closed.count(Reason::Silent);
                return false;
            }
        };
        tokio::select! {
            outcome = readable.as_mut() => return outcome.is_ok(),
            _ = shutdown.wait_for(|down| *down) => return false,
            () = tokio::time::sleep(step) => {}
        }
    }
}

/// Serves the requests of one connection until it ends, is upgraded, or the node goes down.
pub async fn serve(
    arrival: Arrival,
    remote: Remote,
    place: Place,
    ingress: Arc<Ingress>,
    shard: Rc<Shard>,
    shutdown: watch::Receiver<bool>,
) {
    let client = Rc::new(Client { remote, vitals: Arc::default(), ingress, shard });
    match arrival {
        Arrival::Plain(stream) => serve_on(stream, place, client, shutdown).await,
        Arrival::Owned(stream) => serve_on(stream, place, client, shutdown).await,
    }
}

async fn serve_on<S>(stream: S, place: Place, client: Rc<Client>, shutdown: watch::Receiver<bool>)
where
    S: Stream + 'static,
{
    let _guard = client.shard.serve_http();
    let mut watch = Lookout::new(&client, shutdown);
    let mut stream = Watched::new(stream, Arc::clone(&client.vitals), Some(place), Arc::clone(&client.shard.turnstile));
    if express::is_open(&client.ingress) {
        match watch.over(Lane::new(stream, Rc::clone(&client))).await.flatten() {
            Some(left) => stream = left,
            None => return,
        }
    }
    let io = TokioIo::new(stream);
    let for_service = Rc::clone(&client);
    let service = service_fn(move |request| {
        let client = Rc::clone(&for_service);
        async move { Ok::<_, Infallible>(answer(request, &client).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        // Patience has deadlines for more than heads, and costs no timer for each request.
        .header_read_timeout(None)
        .writev(false)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(io, service)
        .with_upgrades();
    if let Some(Err(error)) = watch.over(connection).await {
        if error.is_parse_too_large() {
            client.meters().closed.count(Reason::HeadTooLarge);
        } else if error.is_parse() {
            client.meters().closed.count(Reason::Malformed);
        }
        debug!(%error, "http connection ended");
    }
}

/// Who looks after a connection, whichever way its requests take.
struct Lookout<'c> {
    client: &'c Client,
    shutdown: watch::Receiver<bool>,
    patience: Patience,
    look: Pin<Box<Sleep>>,
    /// The client was told that its time is over.
    condemned: bool,
}

impl<'c> Lookout<'c> {
    fn new(client: &'c Client, shutdown: watch::Receiver<bool>) -> Self {
        let limits = client.ingress.limits;
        let patience = Patience::new(limits, client.shard.clock.uptime());
        Self { client, shutdown, patience, look: Box::pin(tokio::time::sleep(limits.step())), condemned: false }
    }

    /// Runs a connection to its end; nothing where it had to be given up.
    async fn over<C: Future + Graceful>(&mut self, connection: C) -> Option<C::Output> {
        let mut connection = std::pin::pin!(connection);
        let mut going_down = false;
        loop {
            let alarm = async {
                tokio::select! {
                    _ = self.shutdown.wait_for(|down| *down), if !going_down => Alarm::Down,
                    () = self.look.as_mut() => Alarm::Look,
                }
            };
            match attend(connection.as_mut(), alarm).await {
                First::Done(outcome) => return Some(outcome),
                First::Alarm(Alarm::Down) => {
                    going_down = true;
                    connection.as_mut().end_gracefully();
                }
                First::Alarm(Alarm::Look) => {
                    let step = self.judge()?;
                    self.look.as_mut().reset(tokio::time::Instant::now() + step);
                }
            }
        }
    }

    /// The time until the next look; nothing where the connection is over.
    fn judge(&mut self) -> Option<Duration> {
        let (client, ingress) = (self.client, &self.client.ingress);
        match self.patience.look(client.vitals.sample(), ingress.crowd.density(), client.shard.clock.uptime()) {
            Verdict::Wait(step) => Some(step),
            // Whoever was told and is still there at the next look is told no more.
            Verdict::Over(_) if self.condemned => None,
            Verdict::Over(fault) => {
                self.condemned = true;
                (condemn(fault, client) == Sentence::Tell).then(|| ingress.limits.step())
            }
        }
    }
}

/// What interrupts the service of a connection.
enum Alarm {
    /// The node goes down.
    Down,
    /// It is time to look at what the client does.
    Look,
}

/// The one method of a connection that is not in `Future`.
trait Graceful {
    /// Ends it after the request that is being served.
    fn end_gracefully(self: Pin<&mut Self>);
}

impl<I, S> Graceful for UpgradeableConnection<I, S>
where
    S: HttpService<Incoming>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    I: hyper::rt::Read + hyper::rt::Write + Unpin,
    S::ResBody: Body + 'static,
    <S::ResBody as Body>::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn end_gracefully(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl<S: Stream> Graceful for Lane<S> {
    fn end_gracefully(mut self: Pin<&mut Self>) {
        self.leave();
    }
}

/// What becomes of a connection whose time is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sentence {
    /// It ends by itself, with an answer.
    Tell,
    /// It is dropped.
    Drop,
}

fn condemn(fault: Fault, client: &Client) -> Sentence {
    let (reason, sentence) = match fault {
        Fault::Silent => (Reason::Silent, Sentence::Drop),
        Fault::Idle => (Reason::Idle, Sentence::Drop),
        Fault::Write => (Reason::WriteTimeout, Sentence::Drop),
        // It has had its answer and its reason is counted.
        Fault::Linger => return Sentence::Drop,
        Fault::Head => {
            client.vitals.say_too_slow();
            (Reason::HeadTimeout, Sentence::Tell)
        }
        Fault::Body => {
            client.vitals.end_reading();
            (Reason::BodyTimeout, Sentence::Tell)
        }
    };
    client.meters().closed.count(reason);
    debug!(?fault, "the patience with an http connection is over");
    sentence
}

async fn answer(mut request: Request<Incoming>, client: &Client) -> Reply {
    let (ingress, remote) = (&*client.ingress, client.remote);
    client.vitals.begin_request();
    client.vitals.set_unread(!request.body().is_end_stream());
    let line = ingress.access_log.then(|| format!("{} {}", request.method(), request.uri().path()));
    let mut reply = route(&mut request, client).await;
    client.meters().requests.count(reply.status().as_u16());
    if client.vitals.is_unread() {
        Box::pin(intake::skip(&mut request, client)).await;
    }
    if client.vitals.is_unread() && reply.status() != StatusCode::SWITCHING_PROTOCOLS {
        // What follows on this connection is a body that nobody reads.
        reply.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
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
    client.vitals.enter(Phase::Head);
    reply
}

fn is_chunked(value: &HeaderValue) -> bool {
    value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked")
}

/// Only the pusher's future is kept in place; those of services that are asked less often are boxed, or every publication
/// would carry room for the largest of them.
async fn route(request: &mut Request<Incoming>, client: &Client) -> Reply {
    let shard = &client.shard;
    // RFC 9112 section 3.2: a request without one Host means different things to different readers.
    if request.version() == Version::HTTP_11 && request.headers().get_all(header::HOST).iter().count() != 1 {
        let mut reply = reply::text(400, "A request has exactly one Host header");
        reply.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        return reply;
    }
    if request.headers().get_all(header::TRANSFER_ENCODING).iter().any(|value| !is_chunked(value)) {
        // RFC 9112 section 6.1. Taken as it is, what is compressed would be handed on as if it were the content.
        let mut reply = reply::text(501, "Transfer-Encoding: no other coding than chunked is taken");
        reply.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        return reply;
    }
    let site = match &client.ingress.front {
        Front::Socket { service, status_page } => return socket(request, service, *status_page, client),
        Front::Site(site) => site,
    };
    let path = request.uri().path();
    if let Some(watch) = &client.ingress.local_watch
        && let Some(question) = local::question(path)
        && !site.claims(path)
        && local::is_local(request, client.remote)
    {
        return Box::pin(local::answer(watch, question, request.method())).await;
    }
    let Some((service, rest)) = site.find(path) else {
        return reply::text(404, format!("No service is configured on {path}"));
    };
    match &**service {
        Service::Files(files) => Box::pin(files.reply(request.method(), path, rest, request.headers())).await,
        Service::Socket(service, page) => socket(request, service, *page, client),
        Service::Push(service) => service.answer(request, client, shard).await,
        Service::Call(service) => Box::pin(service.answer(request, client, shard)).await,
        Service::Redirect(location) => reply::redirect(303, location),
        Service::Json(page) => page.reply(),
        Service::NodeInfo(info) => info.reply(shard.clock.uptime()),
        Service::Demo => page::demo(rest),
        Service::Watch(service) => Box::pin(service.answer(request.method(), rest, request.headers())).await,
        Service::Hub(service) => Box::pin(service.answer(request, client, shard)).await,
        Service::Topic(service) => Box::pin(service.answer(request, rest, client)).await,
        Service::Stream(service) => service.answer(request, client),
        Service::Admin(service) => {
            let rest = rest.to_owned();
            Box::pin(service.answer(request, &rest, client)).await
        }
    }
}

fn socket(request: &mut Request<Incoming>, service: &Arc<SocketService>, page: StatusPage, client: &Client) -> Reply {
    if client.vitals.is_unread() {
        // RFC 6455 section 4.1: a handshake is a GET, and what follows it are frames.
        return reply::text(400, "A request for a WebSocket has no body");
    }
    let window = request.method() == Method::GET && !upgrade::is_upgrade(request.headers());
    match page {
        StatusPage::WithVersion if window => page::socket_status(true),
        StatusPage::Plain if window => page::socket_status(false),
        _ => upgrade::upgrade(request, service, &client.shard),
    }
}
