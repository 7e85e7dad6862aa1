//! Guests: sessions that join a running stream of events, listen for a while and leave again, each in its own way.
//!
//! A guest knows how far the publishers were when it came and when it went, so it can tell exactly what it was owed:
//! every POST that began after its SUBSCRIBED, and every POST that was answered before it said that it leaves. It may get
//! what was under way at either end, and nothing beyond.

use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use crate::dialect::{Serializer, Subscription};
use crate::fault::{Fault, io};
use crate::frame::{self, first};
use crate::ledger::Tally;
use crate::publishers::Marks;
use crate::session::{self, Session, Target};
use crate::stamp::Stamp;
use crate::system::TOPIC;
use crate::wire::{Wire, source};

/// How long a guest listens, in milliseconds: long enough for a stream of events, short enough for many guests.
const STAY: std::ops::Range<u64> = 100..700;

const EVENT: u8 = 36;
const SUBSCRIBED: u8 = 33;
const UNSUBSCRIBED: u8 = 35;
const GOODBYE: u8 = 6;

/// What guests have seen together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Visits {
    /// Guests that came and went.
    pub(super) count: u64,
    /// Events that they got.
    pub(super) events: u64,
    /// What was missing or came in the wrong order, and sessions that the server ended.
    pub(super) tally: Tally,
    /// Events from before SUBSCRIBE or from after the leave.
    pub(super) strays: u64,
}

impl Visits {
    pub(super) const fn add(&mut self, other: &Self) {
        self.count += other.count;
        self.events += other.events;
        self.tally.add(&other.tally);
        self.strays += other.strays;
    }
}

/// How a guest leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Farewell {
    /// UNSUBSCRIBE, GOODBYE, Close.
    Unsubscribe,
    /// GOODBYE, Close.
    Goodbye,
    /// The WebSocket's Close alone.
    Close,
    /// Without a word, in the middle of what comes.
    Vanish,
}

const FAREWELLS: [Farewell; 4] = [Farewell::Unsubscribe, Farewell::Goodbye, Farewell::Close, Farewell::Vanish];

/// One guest after the other, until then.
pub(super) fn keep_coming(target: &Target, marks: &Marks, until: Instant, seed: u64) -> Result<Visits, Fault> {
    let mut dice = fastrand::Rng::with_seed(seed);
    let mut all = Visits::default();
    while Instant::now() < until {
        let stay = Duration::from_millis(dice.u64(STAY));
        let farewell = FAREWELLS[dice.usize(..FAREWELLS.len())];
        all.add(&Guest::join(target, marks)?.visit(until.min(Instant::now() + stay), farewell)?);
    }
    Ok(all)
}

struct Guest<'a> {
    session: Session,
    marks: &'a Marks,
    subscription: u64,
    account: Account,
}

/// What a guest is owed and has got.
#[derive(Debug)]
struct Account {
    /// Answered before SUBSCRIBE: must not come.
    past: Vec<u32>,
    /// The last number that came, or the last that had begun when SUBSCRIBED came: what follows it must come.
    last: Vec<u32>,
    /// Whether something has come; before, `last` may be undercut, because what was under way may come.
    heard: Vec<bool>,
    visits: Visits,
}

impl Account {
    fn new(past: Vec<u32>, begun: Vec<u32>) -> Self {
        let heard = vec![false; begun.len()];
        Self { past, last: begun, heard, visits: Visits { count: 1, ..Visits::default() } }
    }

    fn arrived(&mut self, stamp: Stamp) {
        let at = usize::from(stamp.source);
        let (Some(last), Some(&past)) = (self.last.get_mut(at), self.past.get(at)) else { return };
        self.visits.events += 1;
        if stamp.sequence <= past {
            self.visits.strays += 1;
            return;
        }
        let heard = std::mem::replace(&mut self.heard[at], true);
        if !heard && stamp.sequence <= *last {
            *last = stamp.sequence;
        } else if stamp.sequence > *last {
            self.visits.tally.lost += u64::from(stamp.sequence - *last - 1);
            *last = stamp.sequence;
        } else if stamp.sequence == *last {
            self.visits.tally.duplicated += 1;
        } else {
            self.visits.tally.swapped += 1;
        }
    }

    /// Everything up to these numbers should be here.
    fn settle(&mut self, due: &[u32]) {
        let missing = self.last.iter().zip(due).map(|(last, due)| u64::from(due.saturating_sub(*last)));
        self.visits.tally.lost += missing.sum::<u64>();
    }
}

impl<'a> Guest<'a> {
    fn join(target: &Target, marks: &'a Marks) -> Result<Self, Fault> {
        let mut wire = Wire::connect(target.address, source(0), target.tls.as_ref())?;
        let request = session::upgrade(target);
        io(wire.write_all(request.as_bytes()), || "a guest cannot ask for its upgrade".to_owned())?;
        let mut session = Session { wire, rest: Vec::new(), ended: false };
        session.upgraded()?;
        session.say(Serializer::Json, &Serializer::Json.hello(&target.realm))?;
        session.hear(Serializer::Json, 2)?;
        let past = marks.answered();
        session.say(Serializer::Json, &Serializer::Json.subscribe(1, &Subscription::exact(TOPIC)))?;
        let account = Account::new(past, Vec::new());
        let mut guest = Self { session, marks, subscription: 0, account };
        // No event may come before SUBSCRIBED, and none is accepted: there is no source yet.
        let Some(Heard::Message(SUBSCRIBED, text)) = guest.next()? else {
            return Err(Fault::Protocol("a guest was not subscribed".to_owned()));
        };
        let id = serde_json::from_str::<serde_json::Value>(&text).ok().and_then(|message| message[2].as_u64());
        guest.subscription = id.ok_or_else(|| Fault::Protocol(format!("not a SUBSCRIBED: {text}")))?;
        let past = std::mem::take(&mut guest.account.past);
        guest.account = Account::new(past, marks.begun());
        Ok(guest)
    }

    fn visit(mut self, until: Instant, farewell: Farewell) -> Result<Visits, Fault> {
        while Instant::now() < until {
            match self.next()? {
                Some(Heard::Event(stamp)) => self.account.arrived(stamp),
                Some(Heard::Message(kind, text)) => {
                    return Err(Fault::Protocol(format!("a guest got a message {kind}: {text}")));
                }
                None => {
                    self.account.visits.tally.closed += 1;
                    return Ok(self.account.visits);
                }
            }
        }
        match farewell {
            Farewell::Vanish => return Ok(self.account.visits),
            Farewell::Close => {}
            Farewell::Unsubscribe => {
                let unsubscribe = format!("[34,2,{}]", self.subscription);
                self.leave(&unsubscribe, UNSUBSCRIBED)?;
                self.ask("[6,{},\"wamp.close.close_realm\"]", GOODBYE)?;
            }
            Farewell::Goodbye => self.leave("[6,{},\"wamp.close.close_realm\"]", GOODBYE)?,
        }
        self.close()?;
        Ok(self.account.visits)
    }

    /// Says something after which nothing may come, and holds the account against what was answered until then.
    fn leave(&mut self, message: &str, answer: u8) -> Result<(), Fault> {
        let due = self.marks.answered();
        self.session.say(Serializer::Json, message.as_bytes())?;
        loop {
            match self.next()? {
                Some(Heard::Event(stamp)) => self.account.arrived(stamp),
                Some(Heard::Message(kind, _)) if kind == answer => break,
                other => return Err(Fault::Protocol(format!("a guest that leaves got {other:?}"))),
            }
        }
        self.account.settle(&due);
        Ok(())
    }

    /// Says something and waits for the answer; events are strays.
    fn ask(&mut self, message: &str, answer: u8) -> Result<(), Fault> {
        self.session.say(Serializer::Json, message.as_bytes())?;
        loop {
            match self.next()? {
                Some(Heard::Event(_)) => self.account.visits.strays += 1,
                Some(Heard::Message(kind, _)) if kind == answer => return Ok(()),
                other => return Err(Fault::Protocol(format!("a guest that leaves got {other:?}"))),
            }
        }
    }

    /// Closes the WebSocket and waits for the end of the stream.
    fn close(&mut self) -> Result<(), Fault> {
        let mut out = Vec::new();
        frame::append(frame::CLOSE, &1000_u16.to_be_bytes(), &mut out);
        // The server may have closed by itself after its GOODBYE.
        drop(self.session.wire.write_all(&out));
        let mut buffer = [0; 16 * 1024];
        loop {
            match self.session.wire.read(&mut buffer) {
                Ok(1..) => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    return Err(Fault::Stalled("the server does not end a session that was closed".to_owned()));
                }
                Ok(_) | Err(_) => return Ok(()),
            }
        }
    }

    /// What comes next; nothing when the server ended the session.
    fn next(&mut self) -> Result<Option<Heard>, Fault> {
        loop {
            let Some((found, length)) = first(&self.session.rest) else {
                self.session.read()?;
                continue;
            };
            let heard = match found.opcode {
                frame::CLOSE => return Ok(None),
                frame::TEXT => match Serializer::Json.kind(found.payload) {
                    Some(EVENT) => Stamp::find(found.payload, &mut 0).map(Heard::Event),
                    kind => {
                        let text = String::from_utf8_lossy(found.payload).into_owned();
                        Some(Heard::Message(kind.unwrap_or_default(), text))
                    }
                },
                // A guest does not stay for so long that a ping would have to be answered.
                _ => None,
            };
            self.session.rest.drain(..length);
            if heard.is_some() {
                return Ok(heard);
            }
        }
    }
}

#[derive(Debug)]
enum Heard {
    Event(Stamp),
    Message(u8, String),
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One source: what was answered before SUBSCRIBE, what had begun at SUBSCRIBED, what came, and what was answered
    /// before the leave; then what is lost, swapped, doubled and astray.
    #[track_caller]
    fn check((past, begun): (u32, u32), arrivals: &[u32], due: u32, expect: [u64; 4]) {
        let mut account = Account::new(vec![past], vec![begun]);
        for &sequence in arrivals {
            account.arrived(Stamp { source: 0, sequence, time: 0 });
        }
        account.settle(&[due]);
        let Visits { tally: Tally { lost, swapped, duplicated, .. }, strays, .. } = account.visits;
        assert_eq!([lost, swapped, duplicated, strays], expect, "{arrivals:?}");
    }

    #[test]
    fn guests_know_what_they_are_owed() {
        check((4, 5), &[], 5, [0, 0, 0, 0]);
        check((4, 5), &[5, 6, 7], 7, [0, 0, 0, 0]);
        check((4, 5), &[6, 7, 8], 7, [0, 0, 0, 0]);
        check((4, 5), &[7], 7, [1, 0, 0, 0]);
        check((4, 5), &[], 7, [2, 0, 0, 0]);
        check((4, 5), &[5, 7], 8, [2, 0, 0, 0]);
        check((4, 5), &[4, 5, 6], 6, [0, 0, 0, 1]);
        check((4, 5), &[5, 5, 6], 6, [0, 0, 1, 0]);
        check((4, 5), &[6, 8, 7], 8, [1, 1, 0, 0]);
    }
}
