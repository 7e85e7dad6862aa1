//! The callbacks of the simulated world: how a host behaves today, and what becomes of one request.

use fastrand::Rng;
use stentor_delivery::{Outcome, SendFault, WaitFault};

/// How a host behaves for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    Healthy,
    /// Answers, but takes its time.
    Slow,
    /// Nobody listens, or the name is gone.
    Away,
    /// Takes the request and never answers.
    Hanging,
    /// Answers with errors only.
    Broken,
    /// Asks for patience.
    Busy,
    /// Anything, each time anew.
    Erratic,
}

impl Mood {
    pub(crate) fn draw(dice: &mut Rng) -> Self {
        match dice.u8(0..10) {
            0..4 => Self::Healthy,
            4 => Self::Slow,
            5 => Self::Away,
            6 => Self::Hanging,
            7 => Self::Broken,
            8 => Self::Busy,
            _ => Self::Erratic,
        }
    }
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fate {
    /// Milliseconds until the receiver takes it, when it does.
    pub(crate) arrives: Option<u64>,
    /// Milliseconds until the outcome is known.
    pub(crate) ends: u64,
    pub(crate) outcome: Outcome,
    /// Seconds.
    pub(crate) retry_after: Option<u64>,
    /// Whether the receiver means to have it: it answered 2xx, even if that answer is lost.
    pub(crate) is_accepted: bool,
}

/// The shell's limit for one request.
const TIMEOUT: u64 = 10_000;

impl Fate {
    pub(crate) fn draw(mood: Mood, odd_percent: u32, dice: &mut Rng) -> Self {
        match mood {
            Mood::Healthy if dice.u32(0..100) < odd_percent => Self::odd(dice),
            Mood::Healthy => Self::answer(204, dice.u64(1..100), dice),
            Mood::Slow => Self::answer(200, dice.u64(1000..TIMEOUT), dice),
            Mood::Away => Self::not_sent(dice),
            Mood::Hanging => Self::silent(TIMEOUT, WaitFault::Timeout, dice),
            Mood::Broken => Self::answer(500, dice.u64(1..100), dice),
            Mood::Busy => Self::patience(dice),
            Mood::Erratic => Self::odd(dice),
        }
    }

    /// The same, but what was to be accepted is refused.
    pub(crate) fn refused(self) -> Self {
        let outcome = match self.outcome {
            Outcome::Answered(200..=299) => Outcome::Answered(500),
            outcome => outcome,
        };
        Self { outcome, is_accepted: false, ..self }
    }

    fn odd(dice: &mut Rng) -> Self {
        let soon = dice.u64(1..200);
        match dice.u8(0..16) {
            0..4 => Self::answer(200, soon, dice),
            4 => Self::answer(500, soon, dice),
            5 => Self::answer(302, soon, dice),
            6 => Self::answer(404, soon, dice),
            7 => Self::patience(dice),
            8 if dice.u8(0..4) == 0 => Self::answer(410, soon, dice),
            9 => Self::not_sent(dice),
            10 => Self::silent(TIMEOUT, WaitFault::Timeout, dice),
            11 => Self::silent(soon, WaitFault::Reset, dice),
            12 => Self::silent(soon, WaitFault::Malformed, dice),
            13 => {
                Self { outcome: Outcome::NotTried, arrives: None, is_accepted: false, ..Self::answer(200, soon, dice) }
            }
            // The answer comes at once, within the same millisecond.
            _ => Self::answer(201, 0, dice),
        }
    }

    fn answer(status: u16, ends: u64, dice: &mut Rng) -> Self {
        let is_accepted = (200..300).contains(&status);
        let arrives = Some(dice.u64(0..=ends));
        Self { arrives, ends, outcome: Outcome::Answered(status), retry_after: None, is_accepted }
    }

    fn patience(dice: &mut Rng) -> Self {
        let retry_after = dice.bool().then(|| dice.u64(0..100_000));
        Self { retry_after, ..Self::answer(if dice.bool() { 429 } else { 503 }, dice.u64(1..100), dice) }
    }

    fn not_sent(dice: &mut Rng) -> Self {
        let fault = [SendFault::Dns, SendFault::Address, SendFault::Connect, SendFault::Tls][dice.usize(0..4)];
        let outcome = Outcome::NotSent(fault);
        Self { arrives: None, ends: dice.u64(0..3000), outcome, retry_after: None, is_accepted: false }
    }

    /// No answer comes back; the receiver may have taken the request all the same, and even be content with it.
    fn silent(ends: u64, fault: WaitFault, dice: &mut Rng) -> Self {
        let arrives = dice.bool().then(|| dice.u64(0..=ends));
        let is_accepted = arrives.is_some() && dice.bool();
        Self { arrives, ends, outcome: Outcome::NoAnswer(fault), retry_after: None, is_accepted }
    }
}
