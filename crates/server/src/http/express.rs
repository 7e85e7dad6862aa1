//! The express lane: publications of the plainest kind, without hyper.
//!
//! Reading a request, building it and its answer out of parts, and carrying both through a service costs three times what
//! is done with a publication. Here a plain POST to a pusher or a hub is parsed where it was read, published, and answered
//! from a template. Whatever is not plain is not judged here: the connection goes to hyper with every octet that has not been
//! used, and stays there. So this knows only requests about which there are no two opinions: one `Host`, one
//! `Content-Length`, a target without oddities, and no header that could change their meaning. The parser is hyper's own.

use std::io::Write as _;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use hyper::StatusCode;
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};

use super::crowd::Claim;
use super::hub::{HubService, PlainPublication};
use super::patience::Phase;
use super::push::PushService;
use super::reply::{JSON_MEDIA_TYPE, NEVER_KEPT, TEXT_MEDIA_TYPE};
use super::serve::{Client, Front, Ingress, Remote};
use super::site::Service;
use super::vitals::Watched;
use super::watch as local;
use crate::pusher::gate::{ContentType, Head};
use crate::socket::io::Stream;

/// Headers of a plain request. Clients send half a dozen.
const FIELDS_MAX: usize = 16;

/// Octets of a body that is awaited here; a larger one goes the long way, unless it is here already.
const AWAITED_BYTES_MAX: usize = 16 * 1024;

/// Requests of one connection that are answered before other tasks have their turn.
const REQUESTS_PER_TURN: usize = 32;

/// Octets of effort that count as one more request.
const REQUEST_BYTES: usize = 4096;

/// Storage that a connection keeps between requests.
const IDLE_CAPACITY_MAX: usize = 1024;

/// Whether the connections of a transport may take it: where each request is logged, or answers carry more than usual,
/// there is one way only.
pub(super) fn is_open(ingress: &Ingress) -> bool {
    matches!(ingress.front, Front::Site(_)) && !ingress.access_log && ingress.hsts.is_none()
}

/// A connection on the express lane, until something comes that belongs on the long way.
///
/// It ends with the stream, to go on with, or with nothing where the connection is over.
pub(super) struct Lane<S> {
    stream: Option<Watched<S>>,
    client: Rc<Client>,
    /// What has come and is not used yet.
    rest: Vec<u8>,
    /// Octets of the request at the beginning of `rest` whose body is on its way; 0 for none.
    awaited: usize,
    /// Its share of the memory for bodies.
    claim: Option<Claim>,
    /// Answers on their way, and how much of them is written.
    answers: Vec<u8>,
    written: usize,
    date: Date,
    /// The publication whose answer comes next.
    underway: Option<Box<PlainPublication>>,
    /// Requests that were answered in this turn.
    turn: usize,
    next: Next,
}

/// What a lane does when its answers are out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// Read.
    Read,
    /// Look at what has been read.
    Serve,
    /// Let others have their turn, and then look.
    Yield,
    /// Leave for the long way.
    Leave,
}

impl<S: Stream> Lane<S> {
    pub(super) fn new(stream: Watched<S>, client: Rc<Client>) -> Self {
        let (rest, answers) = (Vec::new(), Vec::new());
        Self {
            stream: Some(stream),
            client,
            rest,
            awaited: 0,
            claim: None,
            answers,
            written: 0,
            date: Date::default(),
            underway: None,
            turn: 0,
            next: Next::Read,
        }
    }

    /// Ends the lane at the next opportunity.
    pub(super) fn leave(&mut self) {
        self.next = Next::Leave;
    }

    fn poll_lane(&mut self, cx: &mut Context<'_>) -> Poll<Option<Watched<S>>> {
        loop {
            if ready!(self.poll_answers(cx)).is_none() {
                return Poll::Ready(None);
            }
            if let Some(publication) = self.underway.take() {
                ready!(self.poll_underway(publication, cx));
                continue;
            }
            match self.next {
                // Without the beginning of a request there is nothing that the long way could answer.
                Next::Leave if self.rest.is_empty() => return self.poll_end(cx),
                Next::Leave => {
                    let rest = Bytes::from(std::mem::take(&mut self.rest));
                    return Poll::Ready(self.stream.take().map(|stream| stream.after(rest)));
                }
                Next::Yield => {
                    self.next = Next::Serve;
                    // Behind everybody else; Pending by its nature.
                    let _ = std::pin::pin!(tokio::task::yield_now()).poll(cx);
                    return Poll::Pending;
                }
                Next::Serve => {
                    let rest = std::mem::take(&mut self.rest);
                    let used = self.serve(&rest);
                    self.rest = rest;
                    self.rest.drain(..used);
                    self.rest.shrink_to(IDLE_CAPACITY_MAX);
                }
                Next::Read => ready!(self.poll_requests(cx)),
            }
        }
    }

    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Option<Watched<S>>> {
        if let Some(stream) = &mut self.stream {
            // How a stream ends that nobody waits for any more is of no interest.
            let _ = ready!(Pin::new(stream).poll_shutdown(cx));
        }
        Poll::Ready(None)
    }

    /// Writes what waits; nothing where the client has gone.
    fn poll_answers(&mut self, cx: &mut Context<'_>) -> Poll<Option<()>> {
        let Some(stream) = &mut self.stream else { return Poll::Ready(None) };
        while self.written < self.answers.len() {
            match ready!(Pin::new(&mut *stream).poll_write(cx, &self.answers[self.written..])) {
                Ok(written) if written > 0 => self.written += written,
                Ok(_) | Err(_) => return Poll::Ready(None),
            }
        }
        if self.written > 0 {
            if ready!(Pin::new(stream).poll_flush(cx)).is_err() {
                return Poll::Ready(None);
            }
            self.written = 0;
            self.answers.clear();
            self.answers.shrink_to(IDLE_CAPACITY_MAX);
        }
        Poll::Ready(Some(()))
    }

    /// Waits for what is on its way into a log, and answers it.
    fn poll_underway(&mut self, mut publication: Box<PlainPublication>, cx: &mut Context<'_>) -> Poll<()> {
        match publication.poll_answer(cx, &self.client.shard) {
            Poll::Pending => {
                self.underway = Some(publication);
                return Poll::Pending;
            }
            Poll::Ready(Ok(body)) => self.answer(202, Form::Json, None, &body),
            Poll::Ready(Err(denial)) => {
                self.answer(denial.status(), Form::Text, denial.field(), denial.line().as_bytes());
            }
        }
        Poll::Ready(())
    }

    /// Reads into the buffer of the thread, where most requests are served and forgotten.
    fn poll_requests(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(stream) = &mut self.stream else { return Poll::Ready(()) };
        let client = Rc::clone(&self.client);
        let mut room = client.shard.read_buffer.borrow_mut();
        let mut buffer = ReadBuf::new(&mut room);
        // An end or a fault is seen again by the long way, if there is anything left to answer.
        if ready!(Pin::new(stream).poll_read(cx, &mut buffer)).is_err() || buffer.filled().is_empty() {
            self.leave();
            return Poll::Ready(());
        }
        let octets = buffer.filled();
        if self.rest.is_empty() {
            let used = self.serve(octets);
            self.rest.extend_from_slice(&octets[used..]);
        } else {
            self.rest.extend_from_slice(octets);
            if self.rest.len() >= self.awaited {
                self.next = Next::Serve;
            }
        }
        if (self.next == Next::Read || self.underway.is_some()) && !self.rest.is_empty() {
            let claim = self.claim.get_or_insert_with(|| Arc::clone(&client.ingress.crowd).claim());
            if claim.grow_to(self.rest.capacity() as u64).is_none() {
                self.leave();
            }
        }
        Poll::Ready(())
    }

    /// Serves the requests at the beginning of `octets`, and says how many octets that used.
    fn serve(&mut self, octets: &[u8]) -> usize {
        let mut used = 0;
        while self.turn < REQUESTS_PER_TURN {
            if used == octets.len() {
                self.next = Next::Read;
                return used;
            }
            match self.serve_one(&octets[used..]) {
                Served::Answered(octets) => {
                    used += octets;
                    self.turn += 1;
                }
                Served::Underway(octets) => {
                    self.turn += 1;
                    self.next = Next::Serve;
                    return used + octets;
                }
                Served::Awaited(octets) => {
                    self.awaited = octets;
                    self.next = Next::Read;
                    return used;
                }
                Served::Not => {
                    self.leave();
                    return used;
                }
            }
        }
        self.next = Next::Yield;
        used
    }

    fn serve_one(&mut self, octets: &[u8]) -> Served {
        let client = Rc::clone(&self.client);
        let Some(plain) = Plain::parse(octets, client.remote) else { return Served::Not };
        let Some(service) = service(&client.ingress, plain.path) else { return Served::Not };
        let Some(body) = octets.get(plain.head_bytes..plain.bytes) else {
            let is_admitted = match service {
                Publisher::Push(service) => service.admits_plain(&plain.head),
                Publisher::Hub(service) => service.admits_plain(&plain.head),
            };
            if !is_admitted || plain.bytes - plain.head_bytes > AWAITED_BYTES_MAX {
                return Served::Not;
            }
            if self.awaited == 0 {
                client.vitals.begin_request();
                client.vitals.enter(Phase::Body);
            }
            return Served::Awaited(plain.bytes);
        };
        match service {
            Publisher::Push(service) => {
                let before = client.shard.effort();
                let Some(outcome) = service.publish_plain(&plain.head, plain.query, body, &client.shard) else {
                    return Served::Not;
                };
                self.charge(client.shard.effort().wrapping_sub(before));
                self.begin_answer();
                match outcome {
                    Ok((status, body)) => self.answer(status, Form::Json, None, &body),
                    Err(refusal) => self.answer(refusal.status(), Form::Json, refusal.header(), &refusal.body()),
                }
                Served::Answered(plain.bytes)
            }
            Publisher::Hub(service) => {
                let Some(publication) = service.begin_plain(&plain.head, plain.query, body, &client.shard) else {
                    return Served::Not;
                };
                self.begin_answer();
                self.underway = Some(Box::new(publication));
                Served::Underway(plain.bytes)
            }
        }
    }

    /// A publication to many takes as long as many requests.
    fn charge(&mut self, effort: usize) {
        self.turn += effort / REQUEST_BYTES;
        if let Some(stream) = &mut self.stream {
            stream.charge(effort);
        }
    }

    /// A request is complete, and is going to be answered here.
    fn begin_answer(&mut self) {
        if self.awaited == 0 {
            self.client.vitals.begin_request();
        } else {
            self.client.vitals.enter(Phase::Answer);
        }
        (self.awaited, self.claim) = (0, None);
    }

    /// Appends an answer like those of `reply`, and counts it.
    fn answer(&mut self, status: u16, form: Form, header: Option<(&str, &str)>, body: &[u8]) {
        const WRITES: &str = "a vector takes every octet";
        self.client.meters().requests.count(status);
        let out = &mut self.answers;
        match status {
            200 => out.extend_from_slice(b"HTTP/1.1 200 OK\r\n"),
            202 => out.extend_from_slice(b"HTTP/1.1 202 Accepted\r\n"),
            _ => {
                let reason = StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
                write!(out, "HTTP/1.1 {status} {}\r\n", reason.unwrap_or_default()).expect(WRITES);
            }
        }
        let fields: &[&str] = match form {
            Form::Json => &["content-type: ", JSON_MEDIA_TYPE, "\r\ncache-control: ", NEVER_KEPT],
            Form::Text => &["content-type: ", TEXT_MEDIA_TYPE],
        };
        for text in fields {
            out.extend_from_slice(text.as_bytes());
        }
        if let Some((name, value)) = header {
            write!(out, "\r\n{name}: {value}").expect(WRITES);
        }
        write!(out, "\r\ncontent-length: {}\r\ndate: ", body.len()).expect(WRITES);
        out.extend_from_slice(self.date.text(self.client.shard.clock.unix()).as_bytes());
        out.extend_from_slice(b"\r\n\r\n");
        out.extend_from_slice(body);
        self.client.vitals.enter(Phase::Head);
    }
}

impl<S: Stream> Future for Lane<S> {
    type Output = Option<Watched<S>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.turn = 0;
        self.poll_lane(cx)
    }
}

/// What an answer looks like.
#[derive(Clone, Copy, Debug)]
enum Form {
    /// As [`super::reply::json`].
    Json,
    /// As [`super::reply::text`].
    Text,
}

/// What became of a request.
enum Served {
    /// It is answered; so many octets were it.
    Answered(usize),
    /// It is on its way into a log; so many octets were it.
    Underway(usize),
    /// It will have so many octets when its body is here.
    Awaited(usize),
    /// It is not for this lane.
    Not,
}

/// What takes publications.
enum Publisher<'i> {
    Push(&'i PushService),
    Hub(&'i HubService),
}

fn service<'i>(ingress: &'i Ingress, path: &str) -> Option<Publisher<'i>> {
    let Front::Site(site) = &ingress.front else { return None };
    if local::question(path).is_some() {
        return None;
    }
    match &**site.find(path)?.0 {
        Service::Push(service) => Some(Publisher::Push(service)),
        Service::Hub(service) => Some(Publisher::Hub(service)),
        _ => None,
    }
}

/// A request about which there are no two opinions.
struct Plain<'r> {
    path: &'r str,
    query: &'r str,
    head: Head<'r>,
    head_bytes: usize,
    /// Head and body.
    bytes: usize,
}

impl<'r> Plain<'r> {
    /// The request at the beginning of `octets`; nothing where its head is not complete or not plain.
    fn parse(octets: &'r [u8], remote: Remote) -> Option<Self> {
        let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
        let mut request = httparse::Request::new(&mut fields);
        let Ok(httparse::Status::Complete(head_bytes)) = request.parse(octets) else { return None };
        let (Some("POST"), Some(1), Some(target)) = (request.method, request.version, request.path) else {
            return None;
        };
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        if !path.starts_with('/') || !path.bytes().all(is_of_path) || !query.bytes().all(is_of_query) {
            return None;
        }
        let (mut host, mut length, mut content_type) = (false, None, ContentType::Absent);
        for field in &*request.headers {
            match Meaning::of(field.name, field.value)? {
                Meaning::Nothing => {}
                Meaning::Host if !host => host = true,
                Meaning::Length(octets) if length.is_none() => length = Some(octets),
                Meaning::Type if content_type == ContentType::Absent => content_type = ContentType::Once(field.value),
                Meaning::Host | Meaning::Length(_) | Meaning::Type => return None,
            }
        }
        let length = length.filter(|_| host)?;
        let head = Head {
            method: "POST",
            content_type,
            content_length: Some(length as u64),
            peer: remote.address,
            tls: remote.tls,
            ..Head::default()
        };
        Some(Self { path, query, head, head_bytes, bytes: head_bytes + length })
    }
}

/// What a header of a plain request says.
enum Meaning {
    /// Nothing that matters here.
    Nothing,
    Host,
    Length(usize),
    Type,
}

/// Headers that change nothing about a publication, whatever they say.
const MEANINGLESS: [&str; 9] = [
    "accept",
    "user-agent",
    "accept-encoding",
    "accept-language",
    "cache-control",
    "date",
    "traceparent",
    "tracestate",
    "x-request-id",
];

impl Meaning {
    /// Nothing where the header does not belong to a plain request.
    fn of(name: &str, value: &[u8]) -> Option<Self> {
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        if is("host") {
            Some(Self::Host)
        } else if is("content-length") {
            // RFC 9110 section 8.6: digits and nothing else. More than seven are for no lane.
            let digits = Some(value).filter(|value| value.len() < 8 && value.iter().all(u8::is_ascii_digit))?;
            std::str::from_utf8(digits).ok()?.parse().ok().map(Self::Length)
        } else if is("content-type") {
            Some(Self::Type)
        } else if is("connection") {
            value.eq_ignore_ascii_case(b"keep-alive").then_some(Self::Nothing)
        } else {
            MEANINGLESS.iter().any(|known| is(known)).then_some(Self::Nothing)
        }
    }
}

const fn is_of_path(octet: u8) -> bool {
    matches!(octet, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'_' | b'-' | b'.' | b'~')
}

const fn is_of_query(octet: u8) -> bool {
    is_of_path(octet) || matches!(octet, b'=' | b'&' | b'%' | b'+' | b':' | b',')
}

/// The `Date` of answers (RFC 9110 section 6.6.1), written once in a second.
#[derive(Debug, Default)]
struct Date {
    second: u64,
    text: String,
}

impl Date {
    fn text(&mut self, unix: Duration) -> &str {
        if self.text.is_empty() || self.second != unix.as_secs() {
            self.second = unix.as_secs();
            self.text = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(self.second));
        }
        &self.text
    }
}
