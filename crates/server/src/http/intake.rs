//! Bodies of requests: read whole, or read away.
//!
//! How long a body may take is decided by `patience`, which ends the stream below; here that shows as an error. A body
//! that is not read to its end is noted, because its connection cannot carry another request.

use std::error::Error;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::Request;
use hyper::body::{Body, Incoming};
use hyper::header;

use super::crowd::Claim;
use super::patience::Phase;
use super::serve::Client;
use crate::meter::Reason;
use crate::pusher::answer::{Refusal, RefusalKind};

/// Octets of a body that nobody wants and that is read all the same, to keep the connection.
const SKIP_BYTES_MAX: u64 = 16 * 1024;

/// Octets of an answer that count for nothing: as many as a socket takes at once.
const ANSWER_BYTES_FREE: usize = 64 * 1024;

/// A body that came in pieces, and its share of the memory for such bodies.
struct Held {
    octets: Vec<u8>,
    _claim: Claim,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.octets
    }
}

/// Reads a body of at most `limit` octets. The usual body comes in one piece and is not copied.
pub(super) async fn read(incoming: &mut Incoming, limit: usize, client: &Client) -> Result<Bytes, Refusal> {
    client.vitals.enter(Phase::Body);
    let outcome = collect(incoming, limit, client).await;
    client.vitals.enter(Phase::Answer);
    match &outcome {
        Ok(_) => client.vitals.set_unread(false),
        Err(refusal) => match refusal.kind() {
            RefusalKind::TooLarge => client.meters().closed.count(Reason::BodyTooLarge),
            RefusalKind::Unavailable => client.meters().closed.count(Reason::BodiesFull),
            RefusalKind::TooSlow => {}
            _ => client.meters().closed.count(Reason::Malformed),
        },
    }
    outcome
}

async fn collect(incoming: &mut Incoming, limit: usize, client: &Client) -> Result<Bytes, Refusal> {
    let Some(first) = next(incoming).await? else { return Ok(Bytes::new()) };
    check(first.len(), limit)?;
    if incoming.is_end_stream() {
        return Ok(first);
    }
    let Some(second) = next(incoming).await? else { return Ok(first) };
    let mut claim = Arc::clone(&client.ingress.crowd).claim();
    let mut body = client.ingress.crowd.body();
    body.append(&first);
    drop(first);
    let mut more = Some(second);
    while let Some(data) = more {
        check(body.length() + data.len(), limit)?;
        body.append(&data);
        claim.grow_to(body.capacity()).ok_or_else(|| {
            Refusal::new(RefusalKind::Unavailable, "the server is reading too many large bodies; try again")
        })?;
        more = next(incoming).await?;
    }
    Ok(Bytes::from_owner(Held { octets: body.join(), _claim: claim }))
}

/// An answer whose octets came from elsewhere, which the client may take its time to read: a long one has its share of the
/// memory for bodies too.
pub(super) fn hold(octets: Vec<u8>, client: &Client) -> Result<Bytes, Refusal> {
    if octets.len() <= ANSWER_BYTES_FREE {
        return Ok(octets.into());
    }
    let mut claim = Arc::clone(&client.ingress.crowd).claim();
    claim.grow_to(octets.capacity() as u64).ok_or_else(|| {
        Refusal::new(RefusalKind::Unavailable, "the server holds too many large answers that nobody reads; try again")
    })?;
    Ok(Bytes::from_owner(Held { octets, _claim: claim }))
}

fn check(length: usize, limit: usize) -> Result<(), Refusal> {
    if length > limit { Err(Refusal::too_large(limit)) } else { Ok(()) }
}

/// The next piece of the body; nothing at its end.
async fn next(incoming: &mut Incoming) -> Result<Option<Bytes>, Refusal> {
    while let Some(frame) = incoming.frame().await {
        // Trailers mean nothing here.
        if let Ok(data) = frame.map_err(|error| broken(&error))?.into_data() {
            return Ok(Some(data));
        }
    }
    Ok(None)
}

fn broken(error: &hyper::Error) -> Refusal {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
    if cause.is_some_and(|cause| cause.kind() == io::ErrorKind::TimedOut) {
        return Refusal::new(RefusalKind::TooSlow, "the request's body did not arrive in time");
    }
    Refusal::new(RefusalKind::Malformed, "the request's body broke off or is malformed")
}

/// Reads a small body away, so that the connection lives on. A large one, or one that the client would send only after
/// being invited (RFC 9110 section 10.1.1), stays unread.
pub(super) async fn skip(request: &mut Request<Incoming>, client: &Client) {
    let small = request.body().size_hint().upper().is_some_and(|octets| octets <= SKIP_BYTES_MAX);
    if !small || request.headers().contains_key(header::EXPECT) {
        return;
    }
    client.vitals.enter(Phase::Body);
    let limit = usize::try_from(SKIP_BYTES_MAX).unwrap_or(usize::MAX);
    // The request was answered for already; why its body broke off changes nothing.
    if collect(request.body_mut(), limit, client).await.is_ok() {
        client.vitals.set_unread(false);
    }
    client.vitals.enter(Phase::Answer);
}
