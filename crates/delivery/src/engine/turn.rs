//! Whose turn it is.
//!
//! Hosts with something to send stand in two queues, those with nothing on its way and those with something, and the
//! queues take turns; a turn is one request. Within a host its subscriptions take turns. The last quarter of the places
//! is for hosts with nothing on its way. So a host with work waits for no more than two turns of each other host.

use crate::engine::{Engine, Mode};
use crate::event::{Action, Attempt, AttemptKey, EndReason};
use crate::host::Ring;
use crate::webhook::{Flight, Head, State};

impl Flight {
    pub(super) fn key(&self, index: u32) -> AttemptKey {
        AttemptKey { index, serial: self.serial }
    }
}

impl Engine {
    /// The head of this subscription may go, when its turn comes.
    pub(super) fn line_up(&mut self, at: u32, head: Head) {
        let webhook = &mut self.webhooks[at];
        webhook.state = State::Ready(head);
        let host = webhook.host;
        self.hosts[host].ready.push_back(&mut self.webhooks, at);
        self.place(host);
    }

    /// Puts a host into the queue where it belongs by now; one that stays in its queue keeps its place there.
    pub(super) fn place(&mut self, at: u32) {
        let host = &mut self.hosts[at];
        let wanted = host.wanted_ring(self.options.in_flight_per_host_max);
        let stood = std::mem::replace(&mut host.ring, wanted);
        if stood == wanted {
            return;
        }
        match stood {
            Some(Ring::Fresh) => self.fresh.remove(&mut self.hosts, at),
            Some(Ring::Busy) => self.busy.remove(&mut self.hosts, at),
            None => {}
        }
        match wanted {
            Some(Ring::Fresh) => self.fresh.push_back(&mut self.hosts, at),
            Some(Ring::Busy) => self.busy.push_back(&mut self.hosts, at),
            None => {}
        }
    }

    /// Sends as long as there is a place and somebody who may.
    pub(super) fn take_turns(&mut self, out: &mut Vec<Action>) {
        while self.mode == Mode::Open && self.flights.len() < self.options.in_flight_max {
            let Some(host) = self.next_host() else { return };
            if let Some(at) = self.hosts[host].ready.pop_front(&mut self.webhooks) {
                if u64::from(self.webhooks[at].lease_end) <= self.unix / 1000 {
                    // More leases ended at once than one turn looks at. It stands in no list now, as in a burial.
                    self.drop_overdue(at, out);
                    continue;
                }
                self.post(at, out);
            }
            self.place(host);
        }
    }

    /// Takes the host whose turn it is out of its queue.
    fn next_host(&mut self) -> Option<u32> {
        let is_scarce = self.options.in_flight_max - self.flights.len() <= self.options.in_flight_reserve();
        let ring = match (self.fresh.is_empty(), self.busy.is_empty() || is_scarce) {
            (true, true) => return None,
            (false, true) => Ring::Fresh,
            (true, false) => Ring::Busy,
            (false, false) => self.next_ring,
        };
        let queue = match ring {
            Ring::Fresh => &mut self.fresh,
            Ring::Busy => &mut self.busy,
        };
        self.next_ring = match ring {
            Ring::Fresh => Ring::Busy,
            Ring::Busy => Ring::Fresh,
        };
        let host = queue.pop_front(&mut self.hosts)?;
        self.hosts[host].ring = None;
        Some(host)
    }

    fn post(&mut self, at: u32, out: &mut Vec<Action>) {
        let State::Ready(head) = self.webhooks[at].state else { unreachable!("only who is ready stands in `ready`") };
        let serial = self.next_serial();
        let webhook = &mut self.webhooks[at];
        let index = self.flights.insert(Flight { serial, webhook: at, host: webhook.host, head });
        webhook.state = State::Flight(index);
        self.hosts[webhook.host].in_flight += 1;
        self.counters.posts += 1;
        out.push(Action::Post(Attempt {
            key: AttemptKey { index, serial },
            webhook: webhook.id,
            topic: self.topics[webhook.topic].name.clone(),
            offset: head.offset,
            attempt: head.failures.saturating_add(1),
            errand: head.errand,
        }));
    }

    fn drop_overdue(&mut self, at: u32, out: &mut Vec<Action>) {
        // Back into the list that its state names, from which `end` takes it.
        let host = self.webhooks[at].host;
        self.hosts[host].ready.push_back(&mut self.webhooks, at);
        self.end(at, EndReason::LeaseEnded, out);
    }
}
