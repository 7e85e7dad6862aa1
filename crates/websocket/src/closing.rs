//! The closing handshake of a server: who has said the last word, and how long the other may take (RFC 6455 section 7).
//!
//! A machine without sockets and clock: the owner tells what happened and at which tick, sends what comes back, and comes
//! again at [`Closing::next_deadline`]. Does not know why a connection is closed; it is given codes and reasons.

use bytes::Bytes;

use crate::{close::CloseCode, decoder::Violation, frame};

/// Ticks of the owner's clock, and its habits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Ticks that the peer has for answering our Close; at least one is given.
    pub answer_ticks: u32,
    /// Ticks that a connection lingers after the last word. Without them the kernel would cut it off while the peer is
    /// still sending, and the peer might never see our Close.
    pub linger_ticks: u32,
    /// How a peer is told that it broke a rule.
    pub failure: Failure,
}

/// How a peer is told that it broke a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// By a Close frame with a code and a reason.
    Close,
    /// By dropping the connection (section 7.1.7 allows it).
    Drop,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<'e> {
    /// We want to end the session with this code and reason.
    Ours(CloseCode, &'e str),
    /// The peer's Close came; this frame would answer it.
    Theirs(Bytes),
    /// The peer broke a rule: nothing it says is of interest any more.
    Broken(Violation),
    /// The peer does not read: it is told so, and no answer is awaited.
    Deaf(CloseCode, &'e str),
    /// Everything is written, and our side of the stream is shut.
    Shut,
    /// The stream has ended, or nobody is there.
    Gone,
    /// A deadline has passed; in an open session it was the owner's, and this is what the peer is told.
    Late(CloseCode, &'e str),
}

/// What is to be done with the outbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Put this frame at its end, and nothing after it.
    Last(Bytes),
    /// Put nothing more into it.
    Stop,
}

/// What is still read from the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// Everything.
    Messages,
    /// Control frames: after our Close only the peer's is awaited.
    Control,
    /// Nothing; what arrives is dropped.
    Nothing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Messages flow.
    Open,
    /// Our Close is sent; theirs is awaited.
    Closing { until: u32 },
    /// Everything is said; the outbox runs empty.
    Draining { until: u32 },
    /// Our side is shut; what still arrives is dropped until the end of the stream.
    Lingering { until: u32 },
    /// The connection is to be dropped.
    Done,
}

/// The closing handshake of one connection.
#[derive(Clone, Copy, Debug)]
pub struct Closing {
    policy: Policy,
    state: State,
}

impl Closing {
    /// An open session.
    pub fn new(policy: Policy) -> Self {
        Self { policy, state: State::Open }
    }

    /// Takes notice of what happened.
    ///
    /// # Panics
    ///
    /// When a code is given that must never travel.
    pub fn handle(&mut self, event: Event<'_>, now: u32) -> Option<Action> {
        match (self.state, event) {
            (State::Open, Event::Ours(code, reason) | Event::Late(code, reason)) => {
                self.state = State::Closing { until: now.saturating_add(self.policy.answer_ticks.max(1)) };
                Some(Action::Last(frame::close(code, reason)))
            }
            (State::Open, Event::Theirs(reply)) => self.drain(Some(reply), now),
            // The two Closes have crossed: theirs is the answer to ours (section 7.1.3).
            (State::Closing { .. }, Event::Theirs(_)) => self.drain(None, now),
            (State::Open | State::Closing { .. }, Event::Broken(_)) if self.policy.failure == Failure::Drop => {
                self.state = State::Done;
                Some(Action::Stop)
            }
            (State::Open, Event::Broken(Violation { code, reason })) => {
                self.drain(Some(frame::close(code, reason)), now)
            }
            // One Close has been sent, and there is only one (section 5.5.1).
            (State::Closing { .. }, Event::Broken(_) | Event::Deaf(..)) => self.drain(None, now),
            (State::Open, Event::Deaf(code, reason)) => self.drain(Some(frame::close(code, reason)), now),
            (State::Draining { until }, Event::Shut) => {
                self.state = State::Lingering { until };
                None
            }
            (_, Event::Gone) => {
                self.state = State::Done;
                Some(Action::Stop)
            }
            // A deadline that was set before the state changed says nothing about this one.
            (_, Event::Late(..)) if self.next_deadline().is_some_and(|until| now >= until) => {
                self.state = State::Done;
                Some(Action::Stop)
            }
            (State::Closing { .. } | State::Draining { .. } | State::Lingering { .. } | State::Done, _)
            | (State::Open, Event::Shut) => None,
        }
    }

    fn drain(&mut self, last: Option<Bytes>, now: u32) -> Option<Action> {
        self.state = State::Draining { until: now.saturating_add(self.policy.linger_ticks) };
        Some(last.map_or(Action::Stop, Action::Last))
    }

    /// When [`Event::Late`] is due. None while the session is open, whose deadlines are the owner's, and in the end.
    pub fn next_deadline(&self) -> Option<u32> {
        match self.state {
            State::Closing { until } | State::Draining { until } | State::Lingering { until } => Some(until),
            State::Open | State::Done => None,
        }
    }

    /// What is still read.
    pub fn reading(&self) -> Reading {
        match self.state {
            State::Open => Reading::Messages,
            State::Closing { .. } => Reading::Control,
            State::Draining { .. } | State::Lingering { .. } | State::Done => Reading::Nothing,
        }
    }

    /// Whether messages flow.
    pub fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// Whether our side is to be shut as soon as everything is written; [`Event::Shut`] says that it was.
    pub fn is_draining(&self) -> bool {
        matches!(self.state, State::Draining { .. })
    }

    /// Whether the connection is to be dropped.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: Policy = Policy { answer_ticks: 50, linger_ticks: 10, failure: Failure::Close };
    const OURS: Event<'_> = Event::Ours(CloseCode::NORMAL, "bye");
    const LATE: Event<'_> = Event::Late(CloseCode::POLICY_VIOLATION, "late");
    const BROKEN: Event<'_> = Event::Broken(Violation { code: CloseCode::PROTOCOL_ERROR, reason: "bad" });
    const DEAF: Event<'_> = Event::Deaf(CloseCode::POLICY_VIOLATION, "deaf");
    const THEIRS: Event<'_> = Event::Theirs(Bytes::from_static(b"reply"));

    /// What is expected of one event.
    #[derive(Debug, PartialEq)]
    enum Expect {
        Nothing,
        Stop,
        Reply,
        Close(u16, &'static str),
    }
    use Expect::{Close, Nothing, Reply, Stop};

    fn seen(action: Option<Action>) -> Expect {
        match action {
            None => Nothing,
            Some(Action::Stop) => Stop,
            Some(Action::Last(octets)) if octets == b"reply".as_slice() => Reply,
            Some(Action::Last(octets)) => {
                let payload = frame::payload_of(&octets);
                let reason = ["bye", "late", "bad", "deaf"].into_iter().find(|word| payload.ends_with(word.as_bytes()));
                Close(u16::from_be_bytes([payload[0], payload[1]]), reason.unwrap_or("?"))
            }
        }
    }

    /// Events at ticks, what each leads to, and the state in the end.
    #[track_caller]
    fn check_with(policy: Policy, steps: &[(u32, Event<'_>, Expect)], state: State) {
        let mut closing = Closing::new(policy);
        for (now, event, expect) in steps {
            assert_eq!(seen(closing.handle(event.clone(), *now)), *expect, "{event:?} at {now}");
        }
        assert_eq!(closing.state, state);
    }

    #[track_caller]
    fn check(steps: &[(u32, Event<'_>, Expect)], state: State) {
        check_with(POLICY, steps, state);
    }

    #[test]
    fn their_close_is_answered() {
        check(&[], State::Open);
        check(&[(5, THEIRS, Reply)], State::Draining { until: 15 });
        check(&[(5, THEIRS, Reply), (6, Event::Shut, Nothing)], State::Lingering { until: 15 });
        check(&[(5, THEIRS, Reply), (6, Event::Shut, Nothing), (7, Event::Gone, Stop)], State::Done);
        check(&[(5, THEIRS, Reply), (6, Event::Shut, Nothing), (15, LATE, Stop)], State::Done);
        check(&[(5, THEIRS, Reply), (15, LATE, Stop)], State::Done);
    }

    #[test]
    fn ours_is_sent_once_and_awaits_theirs() {
        let sent = || (5, OURS, Close(1000, "bye"));
        check(&[sent()], State::Closing { until: 55 });
        check(&[sent(), (6, OURS, Nothing)], State::Closing { until: 55 });
        check(&[sent(), (9, THEIRS, Stop)], State::Draining { until: 19 });
        check(&[sent(), (9, BROKEN, Stop)], State::Draining { until: 19 });
        check(&[sent(), (9, DEAF, Stop)], State::Draining { until: 19 });
        check(&[sent(), (55, LATE, Stop)], State::Done);
        // The deadline of something earlier.
        check(&[sent(), (54, LATE, Nothing)], State::Closing { until: 55 });
        let hasty = Policy { answer_ticks: 0, ..POLICY };
        check_with(hasty, &[sent()], State::Closing { until: 6 });
    }

    #[test]
    fn whoever_is_at_fault_is_told_and_not_waited_for() {
        check(&[(5, BROKEN, Close(1002, "bad"))], State::Draining { until: 15 });
        check(&[(5, DEAF, Close(1008, "deaf")), (6, THEIRS, Nothing)], State::Draining { until: 15 });
        check(&[(5, LATE, Close(1008, "late"))], State::Closing { until: 55 });
        let rude = Policy { failure: Failure::Drop, ..POLICY };
        check_with(rude, &[(5, BROKEN, Stop)], State::Done);
        check_with(rude, &[(5, OURS, Close(1000, "bye")), (6, BROKEN, Stop)], State::Done);
        check_with(rude, &[(5, DEAF, Close(1008, "deaf"))], State::Draining { until: 15 });
    }

    #[test]
    fn nothing_happens_after_the_end() {
        for event in [OURS, THEIRS, BROKEN, DEAF, Event::Shut, LATE] {
            check(&[(5, Event::Gone, Stop), (9, event, Nothing)], State::Done);
        }
        check(&[(5, Event::Shut, Nothing)], State::Open);
    }

    #[test]
    fn what_is_read() {
        let mut closing = Closing::new(POLICY);
        assert_eq!((closing.reading(), closing.is_open(), closing.next_deadline()), (Reading::Messages, true, None));
        closing.handle(OURS, 5);
        assert_eq!((closing.reading(), closing.next_deadline()), (Reading::Control, Some(55)));
        closing.handle(THEIRS, 6);
        assert!(closing.is_draining() && closing.reading() == Reading::Nothing);
        closing.handle(Event::Gone, 7);
        assert!(closing.is_done() && closing.next_deadline().is_none());
    }
}
