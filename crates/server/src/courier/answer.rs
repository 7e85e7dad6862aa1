//! Reads answers, and no more of them than was asked for.

use std::time::{Duration, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::Response;
use hyper::body::{Body as _, Incoming};
use hyper::header::RETRY_AFTER;
use hyper::http::response::Parts;
use tokio::time::timeout;

use super::connection::silence;
use super::parcel::{Answer, AnswerLimit, Return};

/// Of a body that nobody wants, so much is read to save the connection. More costs more than a new one.
pub(super) const DRAIN_BYTES_MAX: usize = 64 << 10;

/// And for so long: the status is known, and whoever waits for it has other things to send.
pub(super) const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// What of an answer was not read.
pub(super) enum Rest {
    /// Nothing: the connection can be used again.
    None,
    /// Something, or nobody knows.
    Some,
}

/// A body as far as it was read.
enum Body {
    Whole(Bytes),
    Beginning(Bytes),
}

/// Whether the head is all that is wanted and all that there is.
pub(super) fn is_whole(response: &Response<Incoming>, limit: AnswerLimit) -> bool {
    limit == AnswerLimit::Discard && response.body().is_end_stream()
}

/// An answer of which the head is the whole. `unix` is the time now, since 1970.
pub(super) fn of_head(response: Response<Incoming>, unix: Duration) -> Return {
    answered(response.into_parts().0, Bytes::new(), unix)
}

fn answered(head: Parts, body: Bytes, unix: Duration) -> Return {
    let text = head.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    let retry_after = text.and_then(|text| retry_after(text, unix));
    Return::Answered(Answer { status: head.status.as_u16(), headers: head.headers, body, retry_after })
}

/// Reads the body as far as it is wanted. `unix` is the time now, since 1970.
pub(super) async fn read(response: Response<Incoming>, limit: AnswerLimit, unix: Duration) -> (Return, Rest) {
    let (head, mut body) = response.into_parts();
    let is_content = head.status.is_success();
    let read = match limit {
        AnswerLimit::Whole(bytes_max) => whole(&mut body, bytes_max).await,
        AnswerLimit::Content(bytes_max) if is_content => whole(&mut body, bytes_max).await,
        AnswerLimit::Discard | AnswerLimit::Content(_) => Ok(drain(&mut body).await),
        AnswerLimit::First(bytes_max) => beginning(&mut body, bytes_max).await,
    };
    let (body, rest) = match (read, limit) {
        (Ok(Body::Whole(octets)), _) => (octets, Rest::None),
        (Ok(Body::Beginning(_)), AnswerLimit::Whole(_)) => return (Return::TooLong, Rest::Some),
        (Ok(Body::Beginning(_)), AnswerLimit::Content(_)) if is_content => return (Return::TooLong, Rest::Some),
        (Ok(Body::Beginning(octets)), _) => (octets, Rest::Some),
        (Err(error), _) => return (Return::NoAnswer(silence(&error)), Rest::Some),
    };
    (answered(head, body, unix), rest)
}

/// Reads for the connection's sake only, and forgets.
async fn drain(body: &mut Incoming) -> Body {
    if body.is_end_stream() {
        return Body::Whole(Bytes::new());
    }
    match timeout(DRAIN_TIMEOUT, whole(body, DRAIN_BYTES_MAX)).await {
        Ok(Ok(Body::Whole(_))) => Body::Whole(Bytes::new()),
        _ => Body::Beginning(Bytes::new()),
    }
}

/// All of it, unless that is too much.
async fn whole(body: &mut Incoming, bytes_max: usize) -> Result<Body, hyper::Error> {
    let told = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if told > bytes_max {
        return Ok(Body::Beginning(Bytes::new()));
    }
    more_than(body, bytes_max).await
}

async fn beginning(body: &mut Incoming, bytes_max: usize) -> Result<Body, hyper::Error> {
    let Some(less) = bytes_max.checked_sub(1) else { return Ok(drain(body).await) };
    Ok(match more_than(body, less).await? {
        Body::Beginning(octets) if octets.len() == bytes_max && body.is_end_stream() => Body::Whole(octets),
        Body::Beginning(octets) => Body::Beginning(octets.slice(..bytes_max)),
        short @ Body::Whole(_) => short,
    })
}

/// Reads until it has more than `bytes_max` octets, or to the end.
async fn more_than(body: &mut Incoming, bytes_max: usize) -> Result<Body, hyper::Error> {
    // Nearly every answer comes in one piece, which then needs no copy.
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    while let Some(frame) = body.frame().await {
        // Trailers end a body and say nothing that anybody here wants.
        let Ok(octets) = frame?.into_data() else { continue };
        if first.is_empty() && all.is_empty() {
            first = octets;
        } else {
            all.extend_from_slice(&std::mem::take(&mut first));
            all.extend_from_slice(&octets);
        }
        if first.len().max(all.len()) > bytes_max {
            let octets = if all.is_empty() { first } else { all.freeze() };
            return Ok(Body::Beginning(octets));
        }
    }
    Ok(Body::Whole(if all.is_empty() { first } else { all.freeze() }))
}

/// `Retry-After`: seconds, or a date (RFC 9110, section 10.2.3). What is neither says nothing.
pub(super) fn retry_after(text: &str, unix: Duration) -> Option<Duration> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_digit()) {
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    let date = httpdate::parse_http_date(text).ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some(date.saturating_sub(unix))
}
