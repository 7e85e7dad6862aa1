//! Visitors: HTTP connections that come, ask for something, and go, more or less politely.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use crate::fault::{Fault, io};
use crate::request::{Answer, answer};
use crate::wire::Wire;

/// Between two connections of one visitor, in milliseconds.
const PAUSE: std::ops::Range<u64> = 10..100;

/// A topic that nobody listens to, so that the subscribers' account stays simple.
const BODY: &str = r#"{"topic":"com.bench.nobody","args":["visitor"]}"#;

/// What visitors did together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Calls {
    /// Connections that came and went.
    pub(super) count: u64,
    /// Those among them that went in the middle of a head, which a server may call malformed.
    pub(super) cut: u64,
}

/// Goes in the middle of a head.
const CUT: u8 = 1;

/// One connection after the other, until then.
pub(super) fn keep_coming(to: SocketAddr, until: Instant, seed: u64) -> Result<Calls, Fault> {
    let mut dice = fastrand::Rng::with_seed(seed);
    let mut calls = Calls::default();
    while Instant::now() < until {
        let kind = dice.u8(..5);
        visit(to, kind)?;
        calls.count += 1;
        calls.cut += u64::from(kind == CUT);
        std::thread::sleep(Duration::from_millis(dice.u64(PAUSE)));
    }
    Ok(calls)
}

fn visit(to: SocketAddr, kind: u8) -> Result<(), Fault> {
    let mut wire = Wire::connect(to, Ipv4Addr::LOCALHOST, None)?;
    let host = format!("Host: {to}\r\n");
    let post = |more: &str| {
        let length = BODY.len();
        format!(
            "POST /push HTTP/1.1\r\n{host}{more}Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{BODY}"
        )
    };
    match kind {
        // Says nothing at all.
        0 => Ok(()),
        CUT => say(&mut wire, &post("")[..20]),
        // Goes in the middle of a body.
        2 => {
            let post = post("");
            say(&mut wire, &post[..post.len() - 5])
        }
        // Asks for several things over one connection.
        3 => {
            for _ in 0..3 {
                say(&mut wire, &post(""))?;
                hear(&mut wire)?;
            }
            say(&mut wire, &format!("GET /health/live HTTP/1.1\r\n{host}\r\n"))?;
            hear(&mut wire).map(drop)
        }
        // Says that it goes, and waits for the end.
        _ => {
            say(&mut wire, &post("Connection: close\r\n"))?;
            hear(&mut wire)?;
            match wire.read(&mut [0; 16]) {
                Ok(1..) => Err(Fault::Protocol("the server said more than it was asked".to_owned())),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    Err(Fault::Stalled("the server does not end a connection that asks for it".to_owned()))
                }
                _ => Ok(()),
            }
        }
    }
}

fn say(wire: &mut Wire, text: &str) -> Result<(), Fault> {
    io(wire.write_all(text.as_bytes()), || "a visitor cannot speak".to_owned())
}

/// The answer, which has to be a success.
fn hear(wire: &mut Wire) -> Result<Vec<u8>, Fault> {
    let mut input = Vec::new();
    let mut buffer = [0; 16 * 1024];
    loop {
        match answer(&input) {
            Answer::Incomplete => {}
            Answer::Success(_) => return Ok(input),
            Answer::Refusal(words) => return Err(Fault::Protocol(format!("a visitor was refused: {words}"))),
        }
        let count = io(wire.read(&mut buffer), || "a visitor gets no answer".to_owned())?;
        if count == 0 {
            return Err(Fault::Protocol("the server hung up on a visitor".to_owned()));
        }
        input.extend_from_slice(&buffer[..count]);
    }
}

/// The page of a path.
pub(super) fn get(to: SocketAddr, path: &str) -> Result<String, Fault> {
    let mut wire = Wire::connect(to, Ipv4Addr::LOCALHOST, None)?;
    say(&mut wire, &format!("GET {path} HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\n\r\n"))?;
    let input = hear(&mut wire)?;
    Ok(String::from_utf8_lossy(&input).into_owned())
}
