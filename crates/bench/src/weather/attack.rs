//! The attacks: who comes, how many, how often, and what has to become of them.
//!
//! Rates are chosen so that an attacker's own work takes a small part of a processor: the point is what the server does
//! about them, and not who starves whom on a machine with two processors.

use std::net::SocketAddr;
use std::time::Duration;

use super::script::{ALWAYS, Prologue, Reading, Script, bomb, chunk, head, monotony, post, publication};
use crate::frame;
use crate::system::TOPIC;

/// What large publications go to that only culprits hear.
pub(super) const BULK_TOPIC: &str = "com.weather.bulk";

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// What happens around the crowd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Also {
    /// Nothing.
    Nothing,
    /// Publications of 64 KiB, 32 a second, to those who do not read.
    Bulk,
    /// After the onset, the process that holds the sockets is stopped with SIGSTOP: it neither reads nor answers nor ends.
    Freeze,
}

/// One kind of hostile client.
#[derive(Clone, Copy, Debug)]
pub struct Attack {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it does.
    pub words: &'static str,
    /// Connections at one time.
    pub crowd: usize,
    /// New ones each second while the crowd gathers.
    pub arrivals: u32,
    /// After an end, a culprit comes back when this time is over.
    pub again: Option<Duration>,
    /// Seconds that it has to last for the limits to show.
    pub seconds: u64,
    pub(super) also: Also,
    script: fn(SocketAddr) -> Script,
    /// One of these counts it.
    pub reasons: &'static [&'static str],
    /// The most memory that one culprit may cost, in octets; what the whole crowd shares comes on top.
    pub each: u64,
    /// What all of them may cost together, in octets.
    pub shared: u64,
    /// Why those are the bounds.
    pub why: &'static str,
}

/// What every attack is granted: the allocator's slack, and the honest clients' own growth.
const SLACK: u64 = 8 * MIB;

const PLAIN: Attack = Attack {
    name: "",
    words: "",
    crowd: 100,
    arrivals: 200,
    again: None,
    seconds: 15,
    also: Also::Nothing,
    script: |_| Script::new(Prologue::None),
    reasons: &[],
    each: 130 * KIB,
    shared: 0,
    why: "130 KiB a connection within a request",
};

/// Those whose messages become long within `max_message_size`, four a second.
const WITHIN: Attack = Attack {
    crowd: 4,
    again: Some(ms(1000)),
    reasons: &["wamp_violation"],
    each: 0,
    shared: 2 * 32 * MIB,
    why: "one message of max_message_size a thread, its buffer doubling",
    ..PLAIN
};

/// The head of a publication whose payload has no end: that is found out when all of it has been read.
const PAYLOAD: &str = r#"[16,1,{},"com.weather.long",["#;

const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// All of them.
pub const ATTACKS: &[Attack] = &[
    Attack {
        name: "never-read",
        words: "20 subscribers that never read, 64 KiB events, 32/s",
        crowd: 20,
        also: Also::Bulk,
        script: |_| Script::new(Prologue::Subscribe(BULK_TOPIC)).reading(Reading::Never),
        reasons: &["outbox_full"],
        each: 4 * MIB,
        why: "outbox_bytes_max each (shared in fact)",
        ..PLAIN
    },
    Attack {
        name: "byte-a-second",
        words: "20 subscribers that read an octet a second, 64 KiB events, 32/s",
        crowd: 20,
        also: Also::Bulk,
        script: |_| Script::new(Prologue::Subscribe(BULK_TOPIC)).reading(Reading::Drip),
        reasons: &["outbox_full"],
        each: 4 * MIB,
        why: "outbox_bytes_max each (shared in fact)",
        ..PLAIN
    },
    Attack {
        name: "vanish",
        words: "200 subscribers whose process stops without a FIN",
        crowd: 200,
        seconds: 30,
        also: Also::Freeze,
        script: |_| Script::new(Prologue::Subscribe(TOPIC)),
        reasons: &["ping_timeout"],
        each: 64 * KIB,
        why: "sessions, and what waits unread",
        ..PLAIN
    },
    Attack {
        name: "ping-flood",
        words: "10 sessions, 2000 pings of 125 octets/s each, pongs unread",
        crowd: 10,
        seconds: 35,
        script: |_| {
            let mut ping = Vec::new();
            frame::append(frame::PING, &[b'x'; 125], &mut ping);
            Script::new(Prologue::Join).reading(Reading::Never).repeat(ping.repeat(100), ms(50), ALWAYS)
        },
        reasons: &["ping_timeout"],
        why: "256 pongs each, then only the newest",
        ..PLAIN
    },
    Attack {
        name: "half-frame",
        words: "50 sessions that stop within a frame of 8 MiB, 4 MiB sent",
        crowd: 50,
        arrivals: 10,
        seconds: 30,
        script: |_| {
            let mut half = head(0x81, 8 * MIB);
            half.resize(half.len() + 4 * MIB as usize, b' ');
            Script::new(Prologue::Join).reading(Reading::Never).first(half)
        },
        reasons: &["ping_timeout", "messages_full"],
        each: 0,
        shared: 256 * MIB,
        why: "messages_bytes_max for all",
        ..PLAIN
    },
    Attack {
        name: "huge-frame",
        words: "frames that announce 2^63 octets, 100 sessions/s",
        crowd: 100,
        again: Some(ms(1000)),
        script: |_| Script::new(Prologue::Join).first(head(0x82, 1 << 63)),
        reasons: &["protocol_error", "message_too_big"],
        each: 64 * KIB,
        why: "nothing is reserved for an announcement",
        ..PLAIN
    },
    Attack {
        name: "deflate-bomb",
        words: "64 KiB that inflate to 64 MiB, 4/s",
        crowd: 4,
        again: Some(ms(1000)),
        script: |_| Script::new(Prologue::Join).first(bomb(64 << 20)),
        reasons: &["message_too_big"],
        each: 0,
        shared: 2 * 32 * MIB,
        why: "one message of max_message_size a thread, its buffer doubling",
        ..PLAIN
    },
    Attack {
        name: "deflate-bomb-within",
        words: "messages of 15 MiB, 15 KiB compressed, 4/s",
        script: |_| Script::new(Prologue::Join).first(bomb(15 << 20)),
        ..WITHIN
    },
    Attack {
        name: "long-lists",
        words: "messages of 15 MiB that are five million lists, 15 KiB compressed, 4/s",
        script: |_| Script::new(Prologue::Join).first(monotony(PAYLOAD, "[],", "", 15 << 20)),
        ..WITHIN
    },
    Attack {
        name: "long-digits",
        words: "messages of 15 MiB that are one number, 15 KiB compressed, 4/s",
        script: |_| Script::new(Prologue::Join).first(monotony(PAYLOAD, "7", "", 15 << 20)),
        ..WITHIN
    },
    Attack {
        name: "long-batch",
        words: "batches of 2 MiB with two hundred thousand messages, 3 KiB compressed, 4/s",
        script: |_| Script::new(Prologue::JoinBatched).first(monotony("", "[49,1,{}]\x1e", "[0]\x1e", 2 << 20)),
        ..WITHIN
    },
    Attack {
        name: "fragments",
        words: "4 sessions, a message of a million fragments of an octet",
        crowd: 4,
        seconds: 20,
        script: |_| {
            let fragment = b"\x00\x81\0\0\0\0x";
            let first = b"\x01\x81\0\0\0\0x".to_vec();
            Script::new(Prologue::Join)
                .first(first)
                .repeat(fragment.repeat(1000), ms(12), 1000)
                .last(*b"\x80\x80\0\0\0\0")
        },
        reasons: &["message_too_big", "wamp_violation"],
        each: 2 * MIB,
        why: "the message's octets, its buffer doubling",
        ..PLAIN
    },
    Attack {
        name: "garbage-before-hello",
        words: "octets that are no frames before HELLO, 100 connections/s",
        crowd: 100,
        again: Some(ms(1000)),
        script: |_| Script::new(Prologue::Upgrade).first([0xa5; 4096]),
        reasons: &["protocol_error"],
        why: "64 KiB for strangers",
        ..PLAIN
    },
    Attack {
        name: "nonsense-before-hello",
        words: "a text that is no WAMP before HELLO, 100 connections/s",
        crowd: 100,
        again: Some(ms(1000)),
        script: |_| {
            let mut text = Vec::new();
            frame::append(frame::TEXT, &[b'{'; 4096], &mut text);
            Script::new(Prologue::Upgrade).first(text)
        },
        reasons: &["wamp_violation"],
        why: "64 KiB for strangers",
        ..PLAIN
    },
    Attack {
        name: "slow-handshake",
        words: "1000 handshakes, an octet a second",
        crowd: 1000,
        arrivals: 500,
        script: |to| {
            let text = format!("GET /ws HTTP/1.1\r\nHost: {to}\r\nUpgrade: websocket\r\nX-Slow: ");
            Script::new(Prologue::None).first(text.into_bytes()).repeat(*b"x", ms(1000), ALWAYS)
        },
        reasons: &["head_timeout"],
        each: 24 * KIB,
        why: "16 KiB of an unfinished head, task and stream",
        ..PLAIN
    },
    Attack {
        name: "no-hello",
        words: "1000 WebSockets that never say HELLO",
        crowd: 1000,
        arrivals: 500,
        script: |_| Script::new(Prologue::Upgrade),
        reasons: &["hello_timeout"],
        each: 24 * KIB,
        why: "no buffer once upgraded",
        ..PLAIN
    },
    Attack {
        name: "silent",
        words: "10 000 connections that say nothing",
        crowd: 10_000,
        arrivals: 2000,
        seconds: 20,
        script: |_| Script::new(Prologue::None),
        reasons: &["silent"],
        each: 3 * KIB,
        why: "3 KiB a silent connection",
        ..PLAIN
    },
    Attack {
        name: "trickled-heads",
        words: "10 000 heads, an octet every four seconds",
        crowd: 10_000,
        arrivals: 2000,
        seconds: 20,
        script: |to| {
            let text = format!("POST /push HTTP/1.1\r\nHost: {to}\r\nX-Slow: ");
            Script::new(Prologue::None).first(text.into_bytes()).repeat(*b"x", ms(4000), ALWAYS)
        },
        reasons: &["head_timeout"],
        each: 24 * KIB,
        why: "16 KiB of an unfinished head, task and stream",
        ..PLAIN
    },
    Attack {
        name: "endless-headers",
        words: "publishers with endless headers, 100 connections, 16 KiB/s each",
        again: Some(ms(1000)),
        script: |to| {
            let text = format!("POST /push HTTP/1.1\r\nHost: {to}\r\n");
            let line = format!("X-Filler: {}\r\n", "x".repeat(1010));
            Script::new(Prologue::None).first(text.into_bytes()).repeat(line.into_bytes().repeat(4), ms(250), ALWAYS)
        },
        reasons: &["head_too_large"],
        ..PLAIN
    },
    Attack {
        name: "endless-bodies",
        words: "publishers with endless bodies, 40 connections, 1 MiB/s each",
        crowd: 40,
        again: Some(ms(1000)),
        seconds: 20,
        script: |to| {
            let head = post(to, "Transfer-Encoding: chunked");
            Script::new(Prologue::None).first(head).repeat(chunk(64 << 10), ms(62), ALWAYS)
        },
        reasons: &["body_too_large", "bodies_full"],
        shared: (256 + 2 * 16) * MIB,
        why: "bodies_bytes_max for all, a body a thread that is put together, and what was read and is in none yet",
        ..PLAIN
    },
    Attack {
        name: "slow-bodies",
        words: "1000 publishers with an octet of their body a second",
        crowd: 1000,
        arrivals: 500,
        script: |to| {
            Script::new(Prologue::None).first(post(to, "Content-Length: 100000")).repeat(*b" ", ms(1000), ALWAYS)
        },
        reasons: &["body_timeout"],
        each: 32 * KIB,
        why: "one buffer of 16 KiB, task and stream",
        ..PLAIN
    },
    Attack {
        name: "stalled-bodies",
        words: "1000 publishers that stop after 200 KB of 1 MB",
        crowd: 1000,
        arrivals: 200,
        seconds: 35,
        script: |to| {
            let mut text = post(to, "Content-Length: 1000000");
            text.resize(text.len() + 200_000, b' ');
            Script::new(Prologue::None).first(text)
        },
        reasons: &["body_timeout", "bodies_full"],
        shared: 256 * MIB,
        why: "bodies_bytes_max for all, and 130 KiB each of what was read and is in no body yet",
        ..PLAIN
    },
    Attack {
        name: "pipelined-garbage",
        words: "a POST with garbage behind it, 100 connections/s",
        again: Some(ms(1000)),
        script: |to| {
            let mut text = publication(to);
            text.resize(text.len() + 8192, 0xa5);
            Script::new(Prologue::None).first(text)
        },
        reasons: &["malformed"],
        ..PLAIN
    },
    Attack {
        name: "pipelined-unread",
        words: "1000 clients pipeline 100 GETs of 64 KiB, then one a second, and read no answer",
        crowd: 1000,
        arrivals: 500,
        seconds: 25,
        script: |to| {
            let get = format!("GET /big HTTP/1.1\r\nHost: {to}\r\n\r\n").into_bytes();
            Script::new(Prologue::None).reading(Reading::Never).first(get.repeat(100)).repeat(get, ms(1000), ALWAYS)
        },
        reasons: &["write_timeout"],
        each: 130 * KIB,
        ..PLAIN
    },
];

impl Attack {
    /// The one of this name.
    #[must_use]
    pub fn find(name: &str) -> Option<&'static Self> {
        ATTACKS.iter().find(|attack| attack.name == name)
    }

    /// What each of the crowd does to the server at this address.
    pub(super) fn script(&self, to: SocketAddr) -> Script {
        (self.script)(to)
    }

    /// Octets that the server may grow by.
    #[must_use]
    pub const fn bound(&self) -> u64 {
        self.each * self.crowd as u64 + self.shared + SLACK
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attacks_are_whole() {
        for attack in ATTACKS {
            let namesakes = ATTACKS.iter().filter(|other| other.name == attack.name).count();
            assert!(namesakes == 1 && Attack::find(attack.name).is_some(), "{}", attack.name);
            assert!(!attack.reasons.is_empty() && attack.crowd > 0 && attack.arrivals > 0, "{}", attack.name);
            assert!(attack.bound() > SLACK && attack.seconds >= 10, "{}", attack.name);
        }
    }
}
