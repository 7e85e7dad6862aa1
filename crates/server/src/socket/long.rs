//! Long messages of one connection: inflated a piece at a time, read by the node's [`Reader`](super::reader), and carried out a
//! turn at a time. Nothing further is read from the connection meanwhile, so the order of what it says stays; what it is
//! sent, its pings and its end go on as ever.

use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use stentor_websocket::close::CloseCode;
use stentor_websocket::closing::Reading;
use stentor_websocket::decoder::{Progress, Remains, Violation, Whole, WholeSort};
use tokio::sync::{AcquireError, OwnedSemaphorePermit, oneshot};

use super::connection::{Connection, yield_turn};
use super::reader::{Answer, LONG_BYTES, Parcel, Part, Reply, Spent as Freed, Waiting};
use crate::fanout::turnstile::{Spent, Ticket};

/// The long message that is under way.
pub(super) enum Long {
    /// There is none.
    None,
    /// It is to be inflated, and another session's is being inflated: one for each thread at a time, since each takes as much
    /// memory as a message may have.
    Waits(Pin<Box<dyn Future<Output = Result<OwnedSemaphorePermit, AcquireError>> + Send>>),
    /// It is inflated.
    Inflates(OwnedSemaphorePermit),
    /// It is being read; with what is left of its batch, where it is one of a batch.
    Away(oneshot::Receiver<Reply>, Turns),
    /// It is a batch, and is carried out.
    Carries(Box<Carriage>),
    /// There is none, but short ones took long. What comes next waits at the turnstile: else a hundred connections, each with a
    /// turn of its own, would keep everybody waiting for as long as one that has no turns.
    Rests(Option<Ticket>),
}

/// Where the messages of the turns stand that are left.
type Turns = Box<std::vec::IntoIter<Range<usize>>>;

/// A batch that is carried out.
#[derive(Debug)]
pub(super) struct Carriage {
    parcel: Parcel,
    turns: Turns,
    /// What is left of the last turn, whose messages took long.
    left: Range<usize>,
    ticket: Option<Ticket>,
}

impl std::fmt::Debug for Long {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Waits(_) => "Waits",
            Self::Inflates(_) => "Inflates",
            Self::Away(..) => "Away",
            Self::Carries(_) => "Carries",
            Self::Rests(_) => "Rests",
        })
    }
}

/// There are too many.
const FULL: Violation =
    Violation { code: CloseCode::TRY_AGAIN_LATER, reason: "too many long messages wait to be read; try again" };

/// The fault is ours.
const LOST: Violation = Violation { code: CloseCode::INTERNAL_ERROR, reason: "the message could not be read" };

impl Connection {
    /// Goes on with a long message, if there is one. Ready when nothing keeps the connection from being read.
    pub(super) fn poll_long(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if matches!(self.long, Long::None) && !self.is_held_up() {
            return Poll::Ready(());
        }
        self.peer.stop_hearing();
        while self.is_held_up() || !matches!(self.long, Long::None) {
            if self.closing.reading() != Reading::Messages {
                // After our Close messages mean nothing any more, and the peer's Close stands behind this one.
                let remains = self.decoder.skip_long();
                self.free_remains(remains);
                drop(self.talk.take_rest());
                self.forget_long();
                break;
            }
            ready!(self.step_long(cx));
        }
        let given_back = self.service.unfinished.settle(&mut self.share, self.decoder.held_bytes());
        given_back.expect("a message that is done holds nothing");
        self.peer.hear_again(self.shard.clock.ticks());
        Poll::Ready(())
    }

    /// Whether something long has come that nobody deals with yet.
    pub(super) fn is_held_up(&self) -> bool {
        self.decoder.is_held_up() || self.talk.has_rest()
    }

    /// Lets others go first who have as much to do.
    pub(super) fn rest(&mut self) {
        if matches!(self.long, Long::None) {
            self.long = Long::Rests(None);
        }
    }

    /// Forgets a long message that is under way.
    pub(super) fn forget_long(&mut self) {
        if let Long::Carries(carriage) = std::mem::replace(&mut self.long, Long::None) {
            self.free(carriage.parcel);
        }
    }

    fn step_long(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match std::mem::replace(&mut self.long, Long::None) {
            Long::None => self.begin_long(),
            Long::Waits(mut turn) => match turn.as_mut().poll(cx) {
                Poll::Pending => {
                    self.long = Long::Waits(turn);
                    return Poll::Pending;
                }
                Poll::Ready(permit) => {
                    self.long = Long::Inflates(permit.expect("the semaphore lives as long as its thread"));
                }
            },
            Long::Inflates(permit) => match self.decoder.inflate_on() {
                Ok(Progress::Underway) => {
                    self.long = Long::Inflates(permit);
                    yield_turn(cx);
                    return Poll::Pending;
                }
                Ok(Progress::Done) => self.take_whole(Some(permit)),
                Err(violation) => self.fail(violation),
            },
            Long::Away(mut reply, turns) => match Pin::new(&mut reply).poll(cx) {
                Poll::Pending => {
                    self.long = Long::Away(reply, turns);
                    return Poll::Pending;
                }
                Poll::Ready(Ok(reply)) => self.come_back(reply, turns),
                Poll::Ready(Err(_)) => self.fail(LOST),
            },
            Long::Rests(mut ticket) => {
                if self.shard.turnstile.poll_pass(&mut ticket, Spent::All, cx).is_pending() {
                    self.long = Long::Rests(ticket);
                    return Poll::Pending;
                }
            }
            Long::Carries(mut carriage) => {
                // Between two looks at the sockets one turn of one session is carried out, however many have long batches.
                if self.shard.turnstile.poll_pass(&mut carriage.ticket, Spent::All, cx).is_pending() {
                    self.long = Long::Carries(carriage);
                    return Poll::Pending;
                }
                self.carry(carriage);
            }
        }
        Poll::Ready(())
    }

    fn begin_long(&mut self) {
        if let Some(rest) = self.talk.take_rest() {
            return self.carry_rest(rest);
        }
        if self.decoder.is_inflating() {
            self.long = Long::Waits(Box::pin(Arc::clone(&self.shard.inflation).acquire_owned()));
        } else {
            self.take_whole(None);
        }
    }

    /// Takes a message that is whole and has it read.
    fn take_whole(&mut self, permit: Option<OwnedSemaphorePermit>) {
        let Some(whole) = self.decoder.take_whole() else { return };
        let parcel = self.parcel(whole, permit);
        match self.talk.meet(&parcel.whole) {
            Ok(()) => self.send_away(parcel, Part::All, Turns::default()),
            Err(ending) => {
                self.free(parcel);
                ending.into_iter().for_each(|ending| self.end(ending));
            }
        }
    }

    fn parcel(&mut self, whole: Box<Whole>, permit: Option<OwnedSemaphorePermit>) -> Parcel {
        let loan = self.service.unfinished.lend(&mut self.share);
        Parcel { whole, _loan: loan, _permit: permit, _waiting: Waiting::new(&self.shard.meters) }
    }

    fn send_away(&mut self, parcel: Parcel, part: Part, turns: Turns) {
        match self.service.reader.read(parcel, part, self.talk.format()) {
            Some(reply) => {
                self.shard.meters.long_messages.increment();
                self.long = Long::Away(reply, turns);
            }
            None => self.fail(FULL),
        }
    }

    /// Acts on what was read.
    fn come_back(&mut self, reply: Reply, turns: Turns) {
        let Reply { parcel, answer } = reply;
        let (ending, turns) = match answer {
            Answer::Message(message, place) => {
                self.spent += place.len();
                let ending = self.talk.read(message, &parcel.whole.octets[place]);
                self.spent += self.talk.take_effort();
                (ending, turns)
            }
            Answer::Batch(batch) => {
                let ending = self.talk.batch(&batch);
                (ending, Box::new(batch.map(|batch| batch.turns).unwrap_or_default().into_iter()))
            }
        };
        self.go_on(Box::new(Carriage { parcel, turns, left: 0..0, ticket: None }), ending);
    }

    /// What is left of a short batch of many messages.
    fn carry_rest(&mut self, rest: Box<[u8]>) {
        let turns = self.talk.turns(&rest);
        // It counts for nothing, as the octets of other short messages.
        let whole = Box::new(Whole { sort: WholeSort::Binary, octets: rest.into() });
        let parcel = self.parcel(whole, None);
        self.go_on(Box::new(Carriage { parcel, turns: Box::new(turns.into_iter()), left: 0..0, ticket: None }), None);
    }

    /// Carries out the next turn of a batch.
    fn carry(&mut self, mut carriage: Box<Carriage>) {
        let left = Some(std::mem::take(&mut carriage.left)).filter(|left| !left.is_empty());
        let Some(turn) = left.or_else(|| carriage.turns.next()) else { return self.free(carriage.parcel) };
        if turn.len() > LONG_BYTES {
            let Carriage { parcel, turns, .. } = *carriage;
            return self.send_away(parcel, Part::Turn(turn), turns);
        }
        let (ending, left) = self.talk.turn(&carriage.parcel.whole.octets[turn.clone()]);
        self.spent += turn.len() - left + self.talk.take_effort();
        carriage.left = turn.end - left..turn.end;
        self.go_on(carriage, ending);
    }

    /// Goes on with what is left, unless that was the end of it or of the connection.
    fn go_on(&mut self, carriage: Box<Carriage>, ending: Option<super::talk::Ending>) {
        if ending.is_none() && (carriage.turns.len() > 0 || !carriage.left.is_empty()) {
            self.long = Long::Carries(carriage);
            return;
        }
        self.free(carriage.parcel);
        ending.into_iter().for_each(|ending| self.end(ending));
    }

    fn free(&self, parcel: Parcel) {
        if parcel.whole.octets.len() > LONG_BYTES {
            self.service.reader.free(Freed::Parcel(parcel));
        }
    }

    /// Gives back what is kept of a message that will not be finished: many sessions may end at once that have much of one.
    pub(super) fn free_unfinished(&mut self) {
        self.decoder.give_up();
        let remains = self.decoder.take_remains();
        self.free_remains(remains);
        self.service.unfinished.settle(&mut self.share, 0).expect("giving back finds room");
    }

    fn free_remains(&mut self, remains: Option<Box<Remains>>) {
        if let Some(remains) = remains {
            let loan = self.service.unfinished.lend(&mut self.share);
            self.service.reader.free(Freed::Remains(remains, loan));
        }
    }
}
