//! POSTs of one connection, until it ends or becomes a WebSocket.

use std::io;
use std::sync::Arc;

use tokio::net::TcpStream;

use super::Hub;
use crate::frame;

pub(super) const ACCEPTED: &[u8] = b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\n{}";

/// The answer to the one key that our own sessions send.
const UPGRADED: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Accept: ICX+Yqv66kxgM0FcWaLWlFLwTAI=\r\nSec-WebSocket-Protocol: wamp.2.json\r\n\r\n";

const GREETING: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

/// What became of a connection.
pub(super) enum End {
    Closed,
    Upgraded(TcpStream),
}

pub(super) async fn serve(tcp: TcpStream, hub: &Hub) -> io::Result<End> {
    let mut input = Vec::with_capacity(2048);
    loop {
        tcp.readable().await?;
        match tcp.try_read_buf(&mut input) {
            Ok(0) => return Ok(End::Closed),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error),
        }
        while let Some(request) = Request::first(&input) {
            match request.kind {
                Kind::Post => {
                    hub.publish(&event(&input[request.body..request.end]));
                    // An answer this short fits into the socket of a client that waits for it.
                    tcp.try_write(ACCEPTED)?;
                }
                Kind::Upgrade => {
                    tcp.try_write(UPGRADED)?;
                    return Ok(End::Upgraded(tcp));
                }
                Kind::Other => drop(tcp.try_write(GREETING)?),
            }
            input.drain(..request.end);
        }
        if input.len() == input.capacity() {
            input.reserve(input.len());
        }
    }
}

pub(super) enum Kind {
    Post,
    Upgrade,
    Other,
}

/// Where the parts of a request are.
pub(super) struct Request {
    pub(super) kind: Kind,
    pub(super) body: usize,
    pub(super) end: usize,
}

impl Request {
    pub(super) fn first(input: &[u8]) -> Option<Self> {
        let head = find(input, b"\r\n\r\n")?;
        let body = head + 4;
        if !input.starts_with(b"POST ") {
            let upgrade = find(&input[..head], b"Upgrade: websocket").is_some();
            let kind = if upgrade { Kind::Upgrade } else { Kind::Other };
            return Some(Self { kind, body, end: body });
        }
        let from = find(&input[..head], b"Content-Length: ")? + 16;
        let digits = input[from..].iter().take_while(|byte| byte.is_ascii_digit());
        let length = digits.fold(0, |length, digit| length * 10 + usize::from(digit - b'0'));
        (input.len() >= body + length).then_some(Self { kind: Kind::Post, body, end: body + length })
    }
}

pub(super) fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|window| window == wanted)
}

/// The one frame of a publication. The arguments are the rest of the body, which is how our own requests look.
fn event(body: &[u8]) -> Arc<[u8]> {
    let arguments = find(body, b"\"args\":").map_or(b"[]}".as_slice(), |at| &body[at + 7..]);
    let arguments = arguments.strip_suffix(b"}").unwrap_or(arguments);
    let opening = b"[36,1,1234567890123456,{},";
    let length = opening.len() + arguments.len() + 1;
    let mut frame = Vec::with_capacity(length + 10);
    frame::server_head(frame::TEXT, length, &mut frame);
    frame.extend_from_slice(opening);
    frame.extend_from_slice(arguments);
    frame.push(b']');
    frame.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_holds_the_arguments() {
        let frame = event(b"{\"topic\":\"a\",\"args\":[\"x\"]}");
        let (frame, _) = frame::first(&frame).expect("one whole frame");
        assert_eq!(frame.payload, b"[36,1,1234567890123456,{},[\"x\"]]");
    }

    #[test]
    fn requests_are_cut() {
        let post = b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcPOST";
        let request = Request::first(post).expect("whole");
        assert_eq!(&post[request.body..request.end], b"abc");
        assert!(Request::first(&post[..request.end - 1]).is_none());
    }
}
