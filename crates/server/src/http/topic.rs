//! A hub's topics as resources: the newest content with the links of discovery (WebSub 4), and what comes as a stream of
//! server-sent events (HTML, section 9.2).

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, Request};
use percent_encoding::percent_decode_str;
use stentor_model::{Epoch, Offset, Topic};
use stentor_store::{Entry, HubTopic};
use stentor_websub::{address, headers};
use tokio::sync::mpsc;
use tracing::warn;

use super::hub::Denial;
use super::reply::{self, Octets, Reply};
use super::serve::Client;
use crate::hub::{Hub, Next, Reader, Since};

/// A line that means nothing goes out after so long without an event, so that proxies and our own patience do not take the
/// connection for dead. Shorter than any usual limit of silence.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// Pieces that wait for one reader; behind them it falls back to the log.
const PIECES_MAX: usize = 16;

/// Topics below a path.
#[derive(Debug)]
pub struct TopicService {
    /// Whose topics.
    pub hub: Arc<Hub>,
    /// A topic is this and the rest of the path.
    pub base_url: String,
}

/// The stream of any topic of a hub.
#[derive(Debug)]
pub struct StreamService {
    /// Whose topics.
    pub hub: Arc<Hub>,
}

impl TopicService {
    pub(super) async fn answer(&self, request: &Request<Incoming>, rest: &str, client: &Client) -> Reply {
        let topic = match request.uri().query() {
            None => format!("{}{rest}", self.base_url),
            Some(query) => format!("{}{rest}?{query}", self.base_url),
        };
        let Ok(topic) = address::topic(&topic) else {
            return reply::text(404, "the rest of this path does not make the URL of a topic");
        };
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return not_readable("GET, HEAD");
        }
        let mut reply = if wants_stream(request.headers()) {
            stream(&self.hub, &topic, request.headers(), client)
        } else {
            newest(&self.hub, &topic, request).await
        };
        if let Ok(link) = HeaderValue::try_from(headers::link(&self.hub.options().hub_url, &topic)) {
            reply.headers_mut().insert(header::LINK, link);
        }
        reply
    }
}

impl StreamService {
    pub(super) fn answer(&self, request: &Request<Incoming>, client: &Client) -> Reply {
        if *request.method() != Method::GET {
            return not_readable("GET");
        }
        let query = request.uri().query().unwrap_or_default();
        let mut topics = query.split('&').filter_map(|pair| pair.strip_prefix("topic="));
        let Some(topic) = topics.next() else {
            return reply::text(400, "the query has to name a topic, as in ?topic=URL");
        };
        if topics.any(|other| other != topic) {
            // As with publications: whoever reads the other one would take this for a stream of it.
            return reply::text(400, "topic is given twice with different values");
        }
        let topic = topic.replace('+', " ");
        match percent_decode_str(&topic).decode_utf8().map(|text| address::topic(&text)) {
            Ok(Ok(topic)) => stream(&self.hub, &topic, request.headers(), client),
            Ok(Err(fault)) => reply::text(400, format!("topic {fault}")),
            Err(_) => reply::text(400, "topic is not UTF-8"),
        }
    }
}

fn not_readable(allowed: &'static str) -> Reply {
    let mut reply = reply::text(405, "this path is read with GET");
    reply.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
    reply
}

fn wants_stream(headers: &HeaderMap) -> bool {
    let mut accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepted.any(|list| {
        list.split(',').any(|range| {
            let mut parts = range.split(';').map(str::trim);
            let is_stream = parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case("text/event-stream"));
            // RFC 9110, section 12.4.2: a weight of 0 means "not acceptable".
            let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
            is_stream && weight.is_none_or(|weight| weight.trim().parse().is_ok_and(|weight: f32| weight > 0.0))
        })
    })
}

/// The newest content of a topic, as its publisher sent it.
async fn newest(hub: &Hub, topic: &Topic, request: &Request<Incoming>) -> Reply {
    let name = HubTopic { hub: hub.name().clone(), topic: topic.clone() };
    let entry = match hub.store().newest(&name).await {
        Ok(Some(entry)) => entry,
        // A subscriber looks for the hub before the first publication as well, so this is no 404.
        Ok(None) => return reply::empty(204),
        Err(error) => {
            warn!(%error, "the newest content cannot be read");
            return Denial::new(503, "the hub's store does not answer at the moment").reply();
        }
    };
    let tag = format!("\"{}\"", place(hub.store().epoch(), entry.offset));
    let known = request.headers().get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let is_known = known.flat_map(|list| list.split(',')).any(|one| one.trim().trim_start_matches("W/") == tag);
    let mut reply = if is_known { reply::empty(304) } else { reply::with_body(200, "text/plain", entry.content.body) };
    let fields = reply.headers_mut();
    if let (false, Ok(kind)) = (is_known, HeaderValue::from_str(&entry.content.content_type)) {
        fields.insert(header::CONTENT_TYPE, kind);
    }
    if let Ok(tag) = HeaderValue::try_from(tag) {
        fields.insert(header::ETAG, tag);
    }
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    // What publishers send is not to be run as a page of this server.
    fields.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    fields.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"));
    reply
}

/// The place of a publication as readers send it back.
fn place(epoch: Epoch, offset: Offset) -> String {
    format!("{:x}-{}", epoch.0, offset)
}

fn parse_place(text: &str) -> Option<(Epoch, Offset)> {
    let (epoch, offset) = text.trim().split_once('-')?;
    Some((Epoch(u64::from_str_radix(epoch, 16).ok()?), Offset::new(offset.parse().ok()?)))
}

fn stream(hub: &Arc<Hub>, topic: &Topic, headers: &HeaderMap, client: &Client) -> Reply {
    let last = headers.get("last-event-id").and_then(|value| value.to_str().ok()).filter(|text| !text.is_empty());
    let since = match last.map(parse_place) {
        None => Since::Now,
        Some(Some((epoch, offset))) => Since::Place(epoch, offset),
        Some(None) => return reply::text(400, "Last-Event-ID is none that this server has given"),
    };
    let (reader, lost) = hub.reader(topic, since);
    let (pieces, receiver) = mpsc::channel(PIECES_MAX);
    client.spawn(feed(reader, lost, hub.store().epoch(), pieces));
    let mut reply = reply::empty(200);
    *reply.body_mut() = Octets::Stream(receiver);
    let fields = reply.headers_mut();
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // nginx would keep small events back.
    fields.insert("x-accel-buffering", HeaderValue::from_static("no"));
    reply
}

/// Writes events until the client is gone or the node goes down.
async fn feed(mut reader: Reader, mut lost: Option<Next>, epoch: Epoch, pieces: mpsc::Sender<Bytes>) {
    // Something at once, so that a client knows that it is connected.
    let mut piece = Bytes::from_static(b": connected\n\n");
    loop {
        if pieces.send(piece).await.is_err() {
            return;
        }
        let next = match lost.take() {
            Some(next) => Ok(Ok(next)),
            None => tokio::select! {
                next = tokio::time::timeout(HEARTBEAT, reader.next()) => next,
                () = pieces.closed() => return,
            },
        };
        piece = match next {
            Err(_) => Bytes::from_static(b":\n\n"),
            Ok(Ok(Next::Entry(entry))) => event(epoch, &entry),
            Ok(Ok(Next::Gap)) => {
                Bytes::from_static(b"event: gap\ndata: publications before the next one are no longer in the log\n\n")
            }
            Ok(Ok(Next::End)) => return,
            Ok(Err(error)) => return warn!(%error, "a stream ends, because the log cannot be read"),
        };
    }
}

/// One publication as an event. What is no text comes in Base64, under another name.
fn event(epoch: Epoch, entry: &Entry) -> Bytes {
    let body = &entry.content.body;
    let mut out = format!("id: {}\n", place(epoch, entry.offset));
    match std::str::from_utf8(body) {
        Ok(text) => {
            // A line of data may end in CRLF, CR or LF, so content with any of them becomes several.
            for line in text.replace("\r\n", "\n").split(['\n', '\r']) {
                out.push_str("data: ");
                out.push_str(line);
                out.push('\n');
            }
        }
        Err(_) => {
            out.push_str("event: base64\ndata: ");
            STANDARD.encode_string(body, &mut out);
            out.push('\n');
        }
    }
    out.push('\n');
    Bytes::from(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use stentor_model::PublicationId;
    use stentor_store::{Content, Hub as HubName, Sequence, Timestamp};

    #[test]
    fn events_keep_their_lines() {
        let check = |body: &'static [u8], expected: &str| {
            let entry = Entry {
                offset: Offset::new(7),
                sequence: Sequence(1),
                topic: HubTopic { hub: HubName::parse("h").unwrap(), topic: Topic::parse("http://t/").unwrap() },
                publication: PublicationId::FIRST,
                at: Timestamp(0),
                content: Content { content_type: "text/plain".into(), extras: Vec::new(), body: body.into() },
            };
            assert_eq!(event(Epoch(255), &entry), format!("id: ff-7\n{expected}\n"));
        };
        check(b"one", "data: one\n");
        check(b"", "data: \n");
        check(b"a\nb\r\nc\rd\n", "data: a\ndata: b\ndata: c\ndata: d\ndata: \n");
        check(b"id: 9\n\nx", "data: id: 9\ndata: \ndata: x\n");
        check(&[255, 0], "event: base64\ndata: /wA=\n");
    }

    #[test]
    fn places_come_back() {
        assert_eq!(parse_place(&place(Epoch(u64::MAX), Offset::new(3))), Some((Epoch(u64::MAX), Offset::new(3))));
        for wrong in ["", "7", "x-7", "7-x", "-7"] {
            assert_eq!(parse_place(wrong), None, "{wrong}");
        }
    }
}
