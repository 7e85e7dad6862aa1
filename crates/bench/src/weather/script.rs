//! What a hostile client does, as data: how it begins, what it sends how often, and whether it reads.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use flate2::{Compress, Compression, FlushCompress};

use crate::frame;

/// How a connection begins, politely.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Prologue {
    /// Not at all.
    None,
    /// A WebSocket handshake.
    Upgrade,
    /// A session in the realm; compression is agreed on.
    Join,
    /// The same with a subprotocol that has batches.
    JoinBatched,
    /// A session that is subscribed to this topic.
    Subscribe(&'static str),
}

/// Whether it reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// Whatever comes.
    Eager,
    /// One octet a second.
    Drip,
    /// Nothing until the storm is over.
    Never,
}

/// What is sent after the prologue.
#[derive(Clone, Debug)]
pub(super) struct Script {
    pub(super) prologue: Prologue,
    pub(super) reading: Reading,
    /// Sent at once.
    pub(super) first: Arc<[u8]>,
    /// Sent again and again with this time between.
    pub(super) chunk: Arc<[u8]>,
    pub(super) every: Duration,
    /// How often.
    pub(super) times: u32,
    /// Sent after the last of them.
    pub(super) last: Arc<[u8]>,
}

/// For as long as the storm lasts.
pub(super) const ALWAYS: u32 = u32::MAX;

impl Script {
    /// Begins so, reads, and says nothing more.
    pub(super) fn new(prologue: Prologue) -> Self {
        let none: Arc<[u8]> = Arc::from([]);
        Self {
            prologue,
            reading: Reading::Eager,
            first: Arc::clone(&none),
            chunk: Arc::clone(&none),
            every: Duration::from_secs(1),
            times: 0,
            last: none,
        }
    }

    pub(super) const fn reading(mut self, reading: Reading) -> Self {
        self.reading = reading;
        self
    }

    pub(super) fn first(mut self, octets: impl Into<Arc<[u8]>>) -> Self {
        self.first = octets.into();
        self
    }

    pub(super) fn repeat(mut self, octets: impl Into<Arc<[u8]>>, every: Duration, times: u32) -> Self {
        (self.chunk, self.every, self.times) = (octets.into(), every, times);
        self
    }

    pub(super) fn last(mut self, octets: impl Into<Arc<[u8]>>) -> Self {
        self.last = octets.into();
        self
    }
}

/// The head of a client's frame that announces so many octets, 65 536 at the least, with a key of four zeros.
pub(super) fn head(first: u8, length: u64) -> Vec<u8> {
    let mut out = vec![first, 0x80 | 127];
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(&[0; 4]);
    out
}

/// A text message that inflates to so many blanks.
pub(super) fn bomb(inflated: usize) -> Vec<u8> {
    packed(&vec![b' '; inflated])
}

/// A beginning, then the same again and again until the message has so many octets, and an end, compressed.
pub(super) fn monotony(begin: &str, again: &str, end: &str, inflated: usize) -> Vec<u8> {
    let times = (inflated - begin.len() - end.len()) / again.len();
    packed(format!("{begin}{}{end}", again.repeat(times)).as_bytes())
}

/// A text message, compressed as RFC 7692 section 7.2.1 has it.
fn packed(text: &[u8]) -> Vec<u8> {
    let inflated = text.len();
    let mut payload = Vec::with_capacity(inflated / 500 + 1024);
    let mut compress = Compress::new(Compression::best(), false);
    while compress.total_in() < inflated as u64 {
        let at = usize::try_from(compress.total_in()).unwrap_or(inflated);
        payload.reserve(4096);
        let done = compress.compress_vec(&text[at..], &mut payload, FlushCompress::Sync);
        done.expect("memory compresses without fault");
    }
    payload.reserve(64);
    compress.compress_vec(&[], &mut payload, FlushCompress::Sync).expect("memory compresses without fault");
    if payload.ends_with(b"\x00\x00\xff\xff") {
        payload.truncate(payload.len() - 4);
    }
    // RFC 6455 section 5.2 wants the shortest form of a length, or this would end as a violation before it inflates.
    let mut out = Vec::with_capacity(payload.len() + 14);
    frame::append(frame::TEXT, &payload, &mut out);
    out[0] |= 0x40;
    out
}

/// The head of a POST to the pusher whose body has this framing.
pub(super) fn post(to: SocketAddr, framing: &str) -> Vec<u8> {
    format!("POST /push HTTP/1.1\r\nHost: {to}\r\nContent-Type: application/json\r\n{framing}\r\n\r\n").into_bytes()
}

/// A whole POST with a publication that nobody hears.
pub(super) fn publication(to: SocketAddr) -> Vec<u8> {
    let body = r#"{"topic":"com.weather.nobody","args":["x"]}"#;
    let mut out = post(to, &format!("Content-Length: {}", body.len()));
    out.extend_from_slice(body.as_bytes());
    out
}

/// One chunk of chunked coding.
pub(super) fn chunk(length: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(length + 16);
    drop(write!(out, "{length:x}\r\n"));
    out.resize(out.len() + length, b' ');
    out.extend_from_slice(b"\r\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Decompress, FlushDecompress};

    #[test]
    fn bombs_inflate() {
        let bomb = bomb(1_000_000);
        assert!(bomb.len() < 4000, "{}", bomb.len());
        let payload = [&bomb[8..], b"\x00\x00\xff\xff"].concat();
        let mut out = Vec::with_capacity(2_000_000);
        Decompress::new(false).decompress_vec(&payload, &mut out, FlushDecompress::Sync).expect("sound");
        assert!(out.len() == 1_000_000 && out.iter().all(|&octet| octet == b' '), "{}", out.len());
    }

    #[test]
    fn chunks_are_framed() {
        assert_eq!(chunk(17), b"11\r\n                 \r\n");
    }
}
