//! The keepalive: when to ask a silent peer for a sign of life, and when to give it up.
//!
//! A machine without a clock: whoever owns it looks at the connection now and then, says what it saw at which tick, and
//! does what comes back. Does not know what a ping contains, how a connection is ended, or how long a tick is.

/// The owner's wishes, in ticks of its clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Ticks of silence after which a ping is sent; 0 switches the keepalive off.
    pub interval: u32,
    /// Ticks after a ping in which something must be heard; 0 for ever.
    pub timeout: u32,
    /// What breaks the silence.
    pub sign: SignOfLife,
}

impl Policy {
    /// Whether this is a sign of life.
    pub fn counts(&self, sign: SignOfLife) -> bool {
        sign == SignOfLife::Pong || self.sign == SignOfLife::Traffic
    }
}

/// What counts as a sign of life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SignOfLife {
    /// Whatever the peer sends.
    #[default]
    Traffic,
    /// The answer to a ping.
    Pong,
}

/// How what we write gets out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outlet {
    /// The socket has room: what is written leaves at once.
    Free,
    /// The socket was full, and has taken some of what waits since the last look.
    Moving,
    /// The socket is full, and has taken nothing since the last look.
    Stuck,
}

/// What the owner saw of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// The tick of the last sign of life.
    pub heard: u32,
    /// How what we write gets out.
    pub outlet: Outlet,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send a ping.
    Ping,
    /// End the connection: nobody is there.
    GiveUp,
}

/// Whether a question is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// None is; the last sign of life came at this tick.
    Quiet { alive: u32 },
    /// A ping was sent at the tick `at`, and nothing newer than `alive` has been heard.
    Asked { alive: u32, at: u32 },
}

/// The keepalive of one connection.
#[derive(Clone, Copy, Debug)]
pub struct Keepalive {
    policy: Policy,
    state: State,
    /// The tick since which the peer takes nothing of what waits for it.
    stuck: Option<u32>,
}

impl Keepalive {
    /// The keepalive of a connection that begins now.
    pub fn new(policy: Policy, now: u32) -> Self {
        Self { policy, state: State::Quiet { alive: now }, stuck: None }
    }

    /// Judges what the owner saw.
    ///
    /// The time for an answer begins with the ping, not with the silence: after a standstill of the owner's own every look
    /// comes late, and all peers would be given up before they had a chance. A slow line that still takes octets is a sign of life, since our ping may wait behind them. A peer that
    /// takes nothing for as long as a silent one may be silent is given up even while it talks: it would never read its
    /// pings, and a client that floods us without reading would otherwise stay for ever.
    pub fn handle(&mut self, look: Look, now: u32) -> Option<Action> {
        let Policy { interval, timeout, .. } = self.policy;
        if interval == 0 {
            return None;
        }
        self.observe(look, now);
        if self.deadline_of_stuck().is_some_and(|deadline| now >= deadline) {
            return Some(Action::GiveUp);
        }
        match self.state {
            State::Quiet { alive } if now.saturating_sub(alive) >= interval => {
                self.state = State::Asked { alive, at: now };
                Some(Action::Ping)
            }
            State::Asked { at, .. } if timeout != 0 && now.saturating_sub(at) >= timeout => Some(Action::GiveUp),
            State::Quiet { .. } | State::Asked { .. } => None,
        }
    }

    /// The tick at which [`Keepalive::handle`] would act if nothing happened until then.
    pub fn next_deadline(&self) -> Option<u32> {
        let Policy { interval, timeout, .. } = self.policy;
        let silence = match self.state {
            _ if interval == 0 => return None,
            State::Quiet { alive } => Some(alive.saturating_add(interval)),
            State::Asked { at, .. } => (timeout != 0).then(|| at.saturating_add(timeout)),
        };
        [silence, self.deadline_of_stuck()].into_iter().flatten().min()
    }

    fn observe(&mut self, look: Look, now: u32) {
        let heard = if look.outlet == Outlet::Moving { now } else { look.heard };
        let (State::Quiet { alive } | State::Asked { alive, .. }) = self.state;
        if heard > alive {
            self.state = State::Quiet { alive: heard };
        }
        self.stuck = match look.outlet {
            Outlet::Stuck => Some(self.stuck.unwrap_or(now)),
            Outlet::Free | Outlet::Moving => None,
        };
    }

    fn deadline_of_stuck(&self) -> Option<u32> {
        let Policy { interval, timeout, .. } = self.policy;
        self.stuck.filter(|_| timeout != 0).map(|since| since.saturating_add(interval).saturating_add(timeout))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FREE: Outlet = Outlet::Free;
    const MOVING: Outlet = Outlet::Moving;
    const STUCK: Outlet = Outlet::Stuck;
    const PING: Option<Action> = Some(Action::Ping);
    const GIVE_UP: Option<Action> = Some(Action::GiveUp);

    /// A connection that begins at tick 100 with an interval of 10 and a timeout of 5, and looks at it: when, what was
    /// last heard when, the outlet, and the action; then the deadline after the last look.
    #[track_caller]
    fn check(policy: Policy, looks: &[(u32, u32, Outlet, Option<Action>)], deadline: Option<u32>) {
        let mut keepalive = Keepalive::new(policy, 100);
        for &(now, heard, outlet, expect) in looks {
            let due = keepalive.next_deadline().is_some_and(|deadline| now >= deadline);
            let action = keepalive.handle(Look { heard, outlet }, now);
            assert_eq!(action, expect, "at {now}");
            assert!(due || action.is_none(), "at {now} something was done that no deadline announced");
        }
        assert_eq!(keepalive.next_deadline(), deadline);
    }

    const POLICY: Policy = Policy { interval: 10, timeout: 5, sign: SignOfLife::Traffic };

    #[test]
    fn silence_is_asked_about_and_then_ended() {
        check(POLICY, &[(109, 100, FREE, None), (110, 100, FREE, PING), (114, 100, FREE, None)], Some(115));
        check(POLICY, &[(110, 100, FREE, PING), (115, 100, FREE, GIVE_UP)], Some(115));
        // After a standstill everybody is asked first.
        check(POLICY, &[(200, 100, FREE, PING), (201, 100, FREE, None), (205, 100, FREE, GIVE_UP)], Some(205));
        check(POLICY, &[], Some(110));
    }

    #[test]
    fn signs_of_life_begin_anew() {
        check(POLICY, &[(110, 100, FREE, PING), (111, 110, FREE, None), (119, 110, FREE, None)], Some(120));
        check(POLICY, &[(110, 105, FREE, None), (115, 105, FREE, PING), (119, 118, FREE, None)], Some(128));
        // The clock of one who heard may be a tick ahead of the one who looks.
        check(POLICY, &[(109, 110, FREE, None)], Some(120));
    }

    #[test]
    fn a_slow_line_is_alive() {
        check(POLICY, &[(110, 100, MOVING, None), (115, 100, STUCK, None)], Some(120));
        check(POLICY, &[(110, 100, FREE, PING), (114, 100, MOVING, None), (123, 100, MOVING, None)], Some(133));
    }

    #[test]
    fn whoever_talks_and_takes_nothing_is_given_up() {
        check(POLICY, &[(101, 101, STUCK, None), (115, 115, STUCK, None), (116, 116, STUCK, GIVE_UP)], Some(116));
        check(POLICY, &[(101, 101, STUCK, None), (115, 115, MOVING, None), (116, 116, STUCK, None)], Some(126));
        check(POLICY, &[(101, 101, STUCK, None), (115, 115, FREE, None), (120, 119, FREE, None)], Some(129));
    }

    #[test]
    fn zero_switches_off() {
        let never = Policy { interval: 0, ..POLICY };
        check(never, &[(u32::MAX, 100, STUCK, None)], None);
        let patient = Policy { timeout: 0, ..POLICY };
        check(patient, &[(110, 100, STUCK, PING), (u32::MAX, 100, STUCK, None)], None);
        // Ticks do not overflow.
        let long = Policy { interval: u32::MAX, timeout: u32::MAX, sign: SignOfLife::Pong };
        check(long, &[(u32::MAX - 1, 100, FREE, None)], Some(u32::MAX));
    }

    #[test]
    fn what_counts() {
        for (wanted, sign, expect) in [
            (SignOfLife::Traffic, SignOfLife::Traffic, true),
            (SignOfLife::Traffic, SignOfLife::Pong, true),
            (SignOfLife::Pong, SignOfLife::Traffic, false),
            (SignOfLife::Pong, SignOfLife::Pong, true),
        ] {
            assert_eq!(Policy { sign: wanted, ..POLICY }.counts(sign), expect, "{wanted:?} {sign:?}");
        }
    }
}
