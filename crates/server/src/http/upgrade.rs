//! The handshake of a WebSocket connection, from the request to the task that serves it.

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::{HeaderMap, Request, Response, StatusCode, Version};
use hyper_util::rt::TokioIo;
use stentor_wamp::codec::Format;
use stentor_websocket::deflate::{self, Agreed};
use stentor_websocket::handshake::{self, HttpVersion, Refusal};
use tokio::net::TcpStream;
use tracing::debug;

use super::crowd::Place;
use super::reply::{self, Octets, Reply};
use super::vitals::Watched;
use crate::fanout::peer::Agreement;
use crate::fanout::shard::Shard;
use crate::meter::Reason;
use crate::socket::connection::{Connection, Opening};
use crate::socket::io::{Io, Stream};
use crate::socket::{SocketService, SubprotocolRule};
use crate::task;

struct Fields<'h>(&'h HeaderMap);

impl handshake::Headers for Fields<'_> {
    fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.get_all(name).iter().filter_map(|value| value.to_str().ok())
    }
}

/// Whether a request wants to become a WebSocket.
pub(crate) fn is_upgrade(headers: &HeaderMap) -> bool {
    headers.contains_key(header::UPGRADE)
}

/// Answers a handshake and, when it succeeds, starts the connection.
pub(crate) fn upgrade(request: &mut Request<Incoming>, service: &Arc<SocketService>, shard: &Rc<Shard>) -> Reply {
    match negotiate(request, service) {
        Err(reply) => *reply,
        Ok(handshake) => {
            if !service.open.increment_below(service.habits.connections_max as u64) {
                shard.meters.closed.count(Reason::SessionsFull);
                return reply::text(503, "The transport is full (max_sessions)");
            }
            let (reply, agreement, compression) = handshake.into_parts();
            start(request, agreement, compression, service, shard);
            reply
        }
    }
}

struct Handshake {
    accept: String,
    subprotocol: Option<&'static str>,
    extension: Option<String>,
    agreement: Agreement,
    compression: Option<Agreed>,
}

impl Handshake {
    fn into_parts(self) -> (Reply, Agreement, Option<Agreed>) {
        let mut reply = Response::new(Octets::default());
        *reply.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = reply.headers_mut();
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        let mut put = |name, value: &str| {
            headers.insert(name, HeaderValue::from_str(value).expect("Base64 and tokens are valid header values"));
        };
        put(header::SEC_WEBSOCKET_ACCEPT, &self.accept);
        if let Some(subprotocol) = self.subprotocol {
            put(header::SEC_WEBSOCKET_PROTOCOL, subprotocol);
        }
        if let Some(extension) = &self.extension {
            put(header::SEC_WEBSOCKET_EXTENSIONS, extension);
        }
        (reply, self.agreement, self.compression)
    }
}

fn negotiate(request: &Request<Incoming>, service: &SocketService) -> Result<Handshake, Box<Reply>> {
    let fields = Fields(request.headers());
    let version = if request.version() == Version::HTTP_11 { HttpVersion::Http11 } else { HttpVersion::Other };
    let accept =
        handshake::check(request.method().as_str(), version, &fields).map_err(|refusal| Box::new(refused(refusal)))?;
    let origin = request.headers().get(header::ORIGIN).map(|value| value.to_str().unwrap_or("?"));
    if !service.origins.admits(origin) {
        return Err(Box::new(reply::text(403, "Pages of this origin may not connect (allowed_origins)")));
    }
    let values = |name| handshake::Headers::values(&fields, name);
    let (format, subprotocol) = if service.is_echo() {
        (Format::ALL[0], None)
    } else {
        let supported: Vec<&'static str> = service.formats.iter().map(|format| format.subprotocol()).collect();
        let picked = handshake::pick_subprotocol(values("sec-websocket-protocol"), &supported);
        match picked.and_then(|name| Format::from_subprotocol(name).map(|format| (format, name))) {
            Some((format, _)) => (format, Some(format.subprotocol())),
            None if service.habits.subprotocol == SubprotocolRule::Optional
                && values("sec-websocket-protocol").next().is_none() =>
            {
                (Format::ALL[0], None)
            }
            None => {
                let words =
                    format!("A WAMP client names its serializer in Sec-WebSocket-Protocol: {}", supported.join(", "));
                return Err(Box::new(reply::text(400, words)));
            }
        }
    };
    let deflate =
        service.compression.as_ref().and_then(|policy| deflate::negotiate(values("sec-websocket-extensions"), policy));
    let (compression, extension) = deflate.unzip();
    let agreement = Agreement {
        format,
        window: compression.as_ref().map(|agreed| agreed.server_window),
        fragment_bytes: service.habits.fragment_bytes,
        outbox_bytes_max: service.habits.outbox_bytes_max,
        keepalive: service.habits.keepalive,
        ping_bytes: service.habits.ping_bytes,
    };
    Ok(Handshake { accept, subprotocol, extension, agreement, compression })
}

fn refused(refusal: Refusal) -> Reply {
    let status = match refusal {
        Refusal::NotAnUpgrade | Refusal::Version => 426,
        Refusal::Method => 405,
        Refusal::HttpVersion | Refusal::Connection | Refusal::Key => 400,
    };
    let mut reply = reply::text(status, refusal.to_string());
    if status == 426 {
        reply.headers_mut().insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        reply.headers_mut().insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static(handshake::VERSION));
    }
    reply
}

fn start(
    request: &mut Request<Incoming>,
    agreement: Agreement,
    compression: Option<Agreed>,
    service: &Arc<SocketService>,
    shard: &Rc<Shard>,
) {
    let (service, for_task) = (Arc::clone(service), Rc::clone(shard));
    let on_upgrade = hyper::upgrade::on(request);
    task::spawn(shard, async move {
        let shard = for_task;
        let upgraded = match on_upgrade.await {
            Ok(upgraded) => upgraded,
            Err(error) => {
                service.open.decrement();
                debug!(%error, "the connection ended during its handshake");
                return;
            }
        };
        // The place among the connections of the transport is given back when the session has ended.
        let (io, leftover, _place) = take_apart(upgraded);
        if let Io::Plain(stream) = &io {
            settle(stream, &service);
        }
        let opening = Opening { io, leftover, agreement, compression };
        // The connection is far larger than this block needs to be while it waits for the handshake.
        Box::pin(Connection::new(opening, service, shard)).await;
    });
}

/// Gives the socket of a session what it is to have; one that refuses an option works all the same.
fn settle(stream: &TcpStream, service: &SocketService) {
    if !service.habits.nodelay {
        drop(stream.set_nodelay(false));
    }
    // What the kernel takes by itself: a burst that is larger than the outbox is no fault of the subscriber.
    #[cfg(any(target_os = "android", target_os = "linux"))]
    drop(socket2::SockRef::from(stream).set_tcp_notsent_lowat(0));
}

/// The stream below HTTP, so that a plain socket can be written by every thread.
fn take_apart(upgraded: hyper::upgrade::Upgraded) -> (Io, Bytes, Option<Place>) {
    let upgraded = match upgraded.downcast::<TokioIo<Watched<TcpStream>>>() {
        Ok(parts) => {
            let (stream, ahead, place) = parts.io.into_inner().into_parts();
            return (Io::Plain(Arc::new(stream)), joined(parts.read_buf, ahead), place);
        }
        Err(upgraded) => upgraded,
    };
    match upgraded.downcast::<TokioIo<Watched<Box<dyn Stream>>>>() {
        Ok(parts) => {
            let (stream, ahead, place) = parts.io.into_inner().into_parts();
            (Io::Owned(stream), joined(parts.read_buf, ahead), place)
        }
        Err(upgraded) => (Io::Owned(Box::new(TokioIo::new(upgraded))), Bytes::new(), None),
    }
}

/// What hyper has read behind the handshake, and what it has not come to.
fn joined(read: Bytes, ahead: Bytes) -> Bytes {
    if ahead.is_empty() { read } else { [read, ahead].concat().into() }
}

/// A path with its percent signs resolved; nothing when they are broken or hide something that is not UTF-8.
pub(crate) fn percent_decoded(path: &str) -> Option<String> {
    if !path.contains('%') {
        return Some(path.to_owned());
    }
    let mut octets = Vec::with_capacity(path.len());
    let mut rest = path.bytes();
    while let Some(octet) = rest.next() {
        if octet == b'%' {
            let digit = |digit: Option<u8>| char::from(digit?).to_digit(16);
            let (high, low) = (digit(rest.next())?, digit(rest.next())?);
            octets.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            octets.push(octet);
        }
    }
    String::from_utf8(octets).ok()
}
