//! One hostile connection, from its beginning to its end, and what the end was.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use socket2::{Domain, Socket, Type};
use tokio::net::TcpStream;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until, timeout_at};

use super::script::{Prologue, Reading, Script};
use crate::dialect::{Serializer, Subscription};
use crate::frame;
use crate::system::REALM;

/// The receive buffer of those who do not read, so that what they do not read waits at the server soon.
const DEAF_BUFFER: usize = 4096;

/// How long after the storm the end of a connection is awaited: those who came last have the limits still before them.
const FAREWELL: Duration = Duration::from_secs(30);

/// What was read at the end and tells how the server ended it.
#[derive(Debug)]
struct Ending {
    /// The last octets of what was read: an answer, or frames.
    rest: Vec<u8>,
    upgraded: bool,
    /// The code of a Close frame.
    close: Option<u16>,
    status: Option<u16>,
}

/// Plays a script on a fresh connection, and says in a word how the server ended it.
pub(super) async fn play(script: &Script, to: SocketAddr, from: Ipv4Addr, until: Instant) -> String {
    let mut ending =
        Ending { rest: Vec::new(), upgraded: script.prologue != Prologue::None, close: None, status: None };
    let deadline = until + FAREWELL;
    let stream = match timeout_at(deadline, dial(script, to, from)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return format!("not connected ({})", error.kind()),
        Err(_) => return "not connected".to_owned(),
    };
    match timeout_at(deadline, begin(&stream, script.prologue, to, &mut ending)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => return ending.words(Some(&error)),
        Err(_) => return "not begun".to_owned(),
    }
    // Who does not read could not see the end; everybody else goes on until it comes.
    let until = if script.reading == Reading::Eager { deadline } else { until };
    let outcome = match Box::pin(misbehave(&stream, script, until, &mut ending)).await {
        Ok(()) => match timeout_at(deadline, read_to_end(&stream, &mut ending)).await {
            Ok(outcome) => outcome,
            Err(_) => return "still there".to_owned(),
        },
        // Whoever cannot write any more still reads why.
        Err(error) => match timeout_at(deadline, read_to_end(&stream, &mut ending)).await {
            Ok(Ok(())) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(()),
            Ok(Ok(())) => Err(error),
            Ok(Err(error)) => Err(error),
            Err(_) => return "still there".to_owned(),
        },
    };
    ending.words(outcome.as_ref().err())
}

async fn dial(script: &Script, to: SocketAddr, from: Ipv4Addr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    if script.reading != Reading::Eager {
        socket.set_recv_buffer_size(DEAF_BUFFER)?;
    }
    socket.bind(&SocketAddr::from((from, 0)).into())?;
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(true)?;
    tokio::net::TcpSocket::from_std_stream(socket.into()).connect(to).await
}

async fn begin(stream: &TcpStream, prologue: Prologue, to: SocketAddr, ending: &mut Ending) -> io::Result<()> {
    if prologue == Prologue::None {
        return Ok(());
    }
    let extension = if prologue == Prologue::Upgrade {
        ""
    } else {
        "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover\r\n"
    };
    let (subprotocol, separator) = if prologue == Prologue::JoinBatched {
        ("wamp.2.json.batched", &b"\x1e"[..])
    } else {
        ("wamp.2.json", &b""[..])
    };
    let request = format!(
        "GET /ws HTTP/1.1\r\nHost: {to}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{extension}\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\
         Sec-WebSocket-Protocol: {subprotocol}\r\n\r\n"
    );
    write_all(stream, request.as_bytes()).await?;
    let mut first = [0; 12];
    read_exact(stream, &mut first).await?;
    if &first != b"HTTP/1.1 101" {
        ending.upgraded = false;
        ending.keep(&first);
        return read_to_end(stream, ending).await.and(Err(io::ErrorKind::UnexpectedEof.into()));
    }
    let mut end = [0; 4];
    // An octet at a time, so that no frame behind the head is taken.
    while &end != b"\r\n\r\n" {
        end.rotate_left(1);
        read_exact(stream, &mut end[3..]).await?;
    }
    if prologue == Prologue::Upgrade {
        return Ok(());
    }
    say(stream, &[&Serializer::Json.hello(REALM), separator].concat()).await?;
    hear(stream).await?;
    if let Prologue::Subscribe(topic) = prologue {
        say(stream, &Serializer::Json.subscribe(1, &Subscription::exact(topic))).await?;
        hear(stream).await?;
    }
    Ok(())
}

async fn say(stream: &TcpStream, message: &[u8]) -> io::Result<()> {
    let mut out = Vec::new();
    frame::append(frame::TEXT, message, &mut out);
    write_all(stream, &out).await
}

/// One frame is read away; answers of the router are short.
async fn hear(stream: &TcpStream) -> io::Result<()> {
    let mut head = [0; 2];
    read_exact(stream, &mut head).await?;
    let length = match head[1] & 127 {
        126 => {
            let mut length = [0; 2];
            read_exact(stream, &mut length).await?;
            u16::from_be_bytes(length)
        }
        short => u16::from(short),
    };
    read_exact(stream, &mut vec![0; usize::from(length)]).await
}

/// Does what the script says until the server ends it (an error), or the storm is over.
async fn misbehave(stream: &TcpStream, script: &Script, until: Instant, ending: &mut Ending) -> io::Result<()> {
    let mut output: &[u8] = &script.first;
    let mut left = script.times;
    let mut farewell = &*script.last;
    let mut beat = interval_at(Instant::now() + script.every, script.every);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut drip = interval_at(Instant::now(), Duration::from_secs(1));
    let mut room = [0; 16 * 1024];
    loop {
        while !output.is_empty() {
            match stream.try_write(output) {
                Ok(count) => output = &output[count..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        if output.is_empty() && left == 0 && !farewell.is_empty() {
            output = std::mem::take(&mut farewell);
            continue;
        }
        tokio::select! {
            () = sleep_until(until) => return Ok(()),
            ready = stream.writable(), if !output.is_empty() => ready?,
            _ = beat.tick(), if output.is_empty() && left > 0 => {
                output = &script.chunk;
                left -= 1;
            }
            _ = drip.tick(), if script.reading == Reading::Drip => {
                let count = stream.try_read(&mut room[..1]).unwrap_or_default();
                ending.keep(&room[..count]);
            }
            ready = stream.readable(), if script.reading == Reading::Eager => {
                ready?;
                match stream.try_read(&mut room) {
                    Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                    Ok(count) => ending.keep(&room[..count]),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error),
                }
            }
        }
    }
}

async fn read_to_end(stream: &TcpStream, ending: &mut Ending) -> io::Result<()> {
    let mut room = vec![0; 64 * 1024];
    loop {
        stream.readable().await?;
        match stream.try_read(&mut room) {
            Ok(0) => return Ok(()),
            Ok(count) => ending.keep(&room[..count]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

async fn read_exact(stream: &TcpStream, mut room: &mut [u8]) -> io::Result<()> {
    while !room.is_empty() {
        stream.readable().await?;
        match stream.try_read(room) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => room = &mut room[count..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

async fn write_all(stream: &TcpStream, mut octets: &[u8]) -> io::Result<()> {
    while !octets.is_empty() {
        stream.writable().await?;
        match stream.try_write(octets) {
            Ok(count) => octets = &octets[count..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

impl Ending {
    /// Looks through what was read for a Close frame or the last status.
    fn keep(&mut self, octets: &[u8]) {
        self.rest.extend_from_slice(octets);
        let mut used = 0;
        if self.upgraded {
            while let Some((found, length)) = frame::first(&self.rest[used..]) {
                if found.opcode == frame::CLOSE {
                    self.close = Some(found.payload.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code)));
                }
                used += length;
            }
        } else {
            const LINE: &[u8] = b"HTTP/1.1 ";
            while let Some(at) = self.rest[used..].windows(LINE.len() + 3).position(|text| text.starts_with(LINE)) {
                let digits = &self.rest[used + at + LINE.len()..][..3];
                self.status = std::str::from_utf8(digits).ok().and_then(|text| text.parse().ok()).or(self.status);
                used += at + LINE.len();
            }
            used = used.max(self.rest.len().saturating_sub(LINE.len() + 2));
        }
        self.rest.drain(..used);
    }

    fn words(&self, error: Option<&io::Error>) -> String {
        match (self.close, self.status, error.map(io::Error::kind)) {
            (Some(code), ..) => format!("Close {code}"),
            (None, Some(status), _) => format!("status {status}"),
            (None, None, None | Some(io::ErrorKind::UnexpectedEof)) => "EOF".to_owned(),
            (None, None, Some(io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)) => "reset".to_owned(),
            (None, None, Some(kind)) => kind.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(upgraded: bool, parts: &[&[u8]], expect: &str) {
        let mut ending = Ending { rest: Vec::new(), upgraded, close: None, status: None };
        parts.iter().for_each(|part| ending.keep(part));
        assert_eq!(ending.words(None), expect);
    }

    #[test]
    fn ends_are_told() {
        check(true, &[b"\x81\x01x\x88", b"\x02\x03\xf0"], "Close 1008");
        check(true, &[b"\x81\x01x"], "EOF");
        check(false, &[b"HTTP/1.1 202 Accepted\r\n\r\n{}HTTP/1", b".1 40", b"8 Too late"], "status 408");
        check(false, &[], "EOF");
    }
}
