//! Answers: the few shapes that all services share.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::{self, HeaderValue};
use hyper::{Response, StatusCode};
use tokio::sync::mpsc;

use super::download::Download;

/// What every service answers with.
pub(crate) type Reply = Response<Octets>;

/// The body of an answer.
#[derive(Debug)]
pub(crate) enum Octets {
    /// It is there.
    Whole(Full<Bytes>),
    /// It comes from a file, piece by piece.
    Download(Box<Download>),
    /// It comes as it happens, and nobody knows when it ends.
    Stream(mpsc::Receiver<Bytes>),
}

impl Default for Octets {
    fn default() -> Self {
        Self::Whole(Full::default())
    }
}

impl Body for Octets {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match self.get_mut() {
            Self::Whole(octets) => Pin::new(octets).poll_frame(cx).map_err(|never| match never {}),
            Self::Download(download) => download.poll_frame(cx),
            Self::Stream(pieces) => pieces.poll_recv(cx).map(|piece| piece.map(|piece| Ok(Frame::data(piece)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(octets) => octets.is_end_stream(),
            Self::Download(download) => download.left() == 0,
            Self::Stream(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(octets) => octets.size_hint(),
            Self::Download(download) => SizeHint::with_exact(download.left()),
            Self::Stream(_) => SizeHint::default(),
        }
    }
}

/// An answer with a body of that type.
pub(crate) fn with_body(status: u16, media_type: &'static str, body: impl Into<Bytes>) -> Reply {
    let mut reply = Response::new(Octets::Whole(Full::new(body.into())));
    *reply.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    reply.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    reply
}

/// An answer without a body.
pub(crate) fn empty(status: u16) -> Reply {
    let mut reply = Response::new(Octets::default());
    *reply.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    reply
}

/// What the answers of the JSON services are.
pub(super) const JSON_MEDIA_TYPE: &str = "application/json; charset=UTF-8";

/// What sentences are.
pub(super) const TEXT_MEDIA_TYPE: &str = "text/plain; charset=utf-8";

/// Nobody on the way may keep an answer.
pub(super) const NEVER_KEPT: &str = "no-store, no-cache, must-revalidate, max-age=0";

/// An answer of the JSON services.
pub(crate) fn json(status: u16, body: impl Into<Bytes>) -> Reply {
    let mut reply = with_body(status, JSON_MEDIA_TYPE, body);
    reply.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static(NEVER_KEPT));
    reply
}

/// One sentence for people.
pub(crate) fn text(status: u16, sentence: impl Into<String>) -> Reply {
    let mut sentence = sentence.into();
    sentence.push('\n');
    with_body(status, TEXT_MEDIA_TYPE, sentence)
}

/// An answer without a body that points elsewhere.
pub(crate) fn redirect(status: u16, location: &str) -> Reply {
    let mut reply = text(status, format!("The resource is at {location}"));
    match HeaderValue::from_str(location) {
        Ok(location) => {
            reply.headers_mut().insert(header::LOCATION, location);
            reply
        }
        Err(_) => text(500, "The configured redirect is not a valid header"),
    }
}
