//! Doing what the router says: frames into outboxes, in its order, while its lock is held.
//!
//! What follows from one message may be much: the end of a session with ten thousand subscriptions is twenty thousand events
//! for whoever listens to such things, and the end of a callee an ERROR for each call that waits. Beyond one turn's worth it
//! is put off, in its order, and done a turn at a time.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use stentor_model::RequestId;
use stentor_wamp::broker::Fanout;
use stentor_wamp::codec::{OwnedPayload, Serializer};
use stentor_wamp::message::{Payload, RequestKind, RouterMessage};
use stentor_wamp::router::{Action, Refusal, Router};
use stentor_wamp::value::{Dict, Value};

use super::{Effort, Published, Realm, Violation};
use crate::fanout::frames::{self, FrameCache, PayloadForms};
use crate::fanout::outbox::Pushed;
use crate::fanout::peer::Peer;
use crate::fanout::shard::Shard;
use crate::fanout::turnstile::Spent;
use crate::task;

/// Octets of messages that take as long as giving an event to one more receiver.
const RECEIVER_BYTES: usize = 4;

/// The same for a frame that has to be made for it, beside its own octets.
const FRAME_BYTES: usize = 256;

/// Frames of a publication that count for nothing: nearly all need one for each form in which somebody wants it.
const FRAMES_FREE: usize = 4;

/// What is done at once, and later between two looks at the sockets: some tenths of a millisecond's worth.
const STEP_BYTES: usize = 64 * 1024;

/// Subscriptions that end with their session and are told of at once.
const ENDED_AT_ONCE: usize = 16;

/// Deeds that are put off; what exceeds this is done at once, whoever has to wait.
const LATER_MAX: usize = 100_000;

/// What is put off.
#[derive(Debug, Default)]
pub(super) struct Aftermath(Mutex<Later>);

#[derive(Debug, Default)]
struct Later {
    deeds: VecDeque<Action<'static, Peer>>,
    /// A task sees to it.
    is_tended: bool,
}

impl Aftermath {
    /// Whoever holds the router's lock as well took that first.
    fn lock(&self) -> MutexGuard<'_, Later> {
        // A list is whole after every push.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A node that goes down tells nobody what becomes of sessions.
    pub(super) fn forget_events(&self) {
        self.lock().deeds.retain(|deed| !matches!(deed, Action::Publish(_) | Action::Ended(_)));
    }

    /// Does the oldest deed, or a part of it, and says what that took.
    fn step(&self, router: &mut Router<Peer>, shard: &Shard) -> Option<usize> {
        let mut deed = self.lock().deeds.pop_front()?;
        let mut actions = Vec::new();
        if let Action::Ended(ended) = &mut deed {
            let is_more = router.next_ended(ended, &mut actions) && ended.count() > 0;
            if is_more {
                self.lock().deeds.push_front(deed);
            }
        } else {
            actions.push(deed);
        }
        // Nothing that is put off can break the protocol.
        let took = |action| perform(router, action, shard).map_or(0, |Effort(took)| took);
        Some(actions.into_iter().map(took).sum::<usize>().max(RECEIVER_BYTES))
    }
}

/// Breaks with what may be done later: those whom it reaches cannot tell when it happened. It must not take anything for granted
/// that may end meanwhile, such as a session.
fn sort(action: Action<'_, Peer>) -> ControlFlow<Action<'static, Peer>, Action<'_, Peer>> {
    match action {
        Action::Publish(event) => ControlFlow::Break(Action::Publish(event)),
        Action::Ended(ended) => ControlFlow::Break(Action::Ended(ended)),
        Action::Orphaned { to, request } => ControlFlow::Break(Action::Orphaned { to, request }),
        other => ControlFlow::Continue(other),
    }
}

impl Realm {
    /// Does what the router says. What is put off is seen to by a task.
    pub(super) fn perform(
        self: &Arc<Self>,
        router: &mut Router<Peer>,
        actions: Vec<Action<'_, Peer>>,
        shard: &Rc<Shard>,
    ) -> Result<Effort, Violation> {
        let mut outcome = Ok(());
        let mut effort = 0;
        for action in actions {
            let is_late = effort >= STEP_BYTES
                || match &action {
                    // Events of the router's own come in their order.
                    Action::Publish(_) => self.has_aftermath(),
                    Action::Ended(ended) => ended.count() > ENDED_AT_ONCE || self.has_aftermath(),
                    _ => false,
                };
            let action = match if is_late { sort(action) } else { ControlFlow::Continue(action) } {
                ControlFlow::Continue(now) => now,
                ControlFlow::Break(later) => {
                    effort += self.put_off(router, later, shard);
                    continue;
                }
            };
            match perform(router, action, shard) {
                Ok(Effort(took)) => effort += took,
                Err(violation) => outcome = Err(violation),
            }
        }
        outcome.map(|()| Effort(effort))
    }

    fn has_aftermath(&self) -> bool {
        !self.aftermath.lock().deeds.is_empty()
    }

    /// Says what that took, which is nothing but for the oldest deed where too many wait.
    fn put_off(self: &Arc<Self>, router: &mut Router<Peer>, action: Action<'static, Peer>, shard: &Rc<Shard>) -> usize {
        let mut later = self.aftermath.lock();
        later.deeds.push_back(action);
        if !std::mem::replace(&mut later.is_tended, true) {
            task::spawn(shard, Arc::clone(self).tend(Rc::clone(shard)));
        }
        let is_too_much = later.deeds.len() > LATER_MAX;
        drop(later);
        if is_too_much { self.aftermath.step(router, shard).unwrap_or_default() } else { 0 }
    }

    /// Does what was put off, one step between two looks at the sockets.
    async fn tend(self: Arc<Self>, shard: Rc<Shard>) {
        loop {
            shard.turnstile.pass(Spent::All).await;
            let mut effort = 0;
            let mut router = self.write();
            while effort < STEP_BYTES {
                let Some(took) = self.aftermath.step(&mut router, &shard) else { break };
                effort += took;
            }
            // Under the router's lock, which whoever puts something off holds too.
            let mut later = self.aftermath.lock();
            if later.deeds.is_empty() {
                *later = Later::default();
                return;
            }
            drop(later);
            drop(router);
            shard.turnstile.spend(effort);
        }
    }
}

/// Tells a session what became of its publication.
pub(super) fn acknowledge(to: &Peer, request: RequestId, outcome: Result<Published, Refusal>, shard: &Shard) {
    match outcome {
        Ok(Published { publication, .. }) => {
            send_or_refuse(to, &RouterMessage::Published { request, publication }, shard);
        }
        Err(refusal) => refuse(to, RequestKind::Publish, request, &refusal, shard),
    }
}

/// Puts the frames of a publication into the outboxes of its receivers. Says how many they are, and what that took.
pub(super) fn deliver(fanout: &Fanout<'_, Peer>, payload: Payload<'_>, shard: &Shard) -> (usize, Effort) {
    let mut forms = PayloadForms::new(payload);
    let (mut count, mut receivers, mut made, mut octets) = (0, 0_usize, 0_usize, 0);
    for matched in &fanout.matched {
        let mut cache = FrameCache::default();
        for peer in fanout.receivers(matched) {
            let Peer::Socket(peer) = peer else { continue };
            receivers += 1;
            let form = peer.form();
            let frame = match cache.find(form) {
                Some(frame) => frame,
                // No frame is made for somebody who takes none: one session may have ten thousand patterns that match.
                None if peer.outbox.is_closed() => continue,
                None => {
                    let frame = forms.get(form.format.serializer).ok().and_then(|payload| {
                        let message = RouterMessage::Event {
                            subscription: matched.subscription,
                            publication: fanout.publication,
                            details: &matched.details,
                            payload,
                        };
                        frames::frame(&message, form, &mut shard.deflater.borrow_mut()).ok()
                    });
                    made += 1;
                    octets += frame.as_ref().map_or(0, bytes::Bytes::len);
                    cache.keep(form, frame.clone());
                    frame
                }
            };
            match frame {
                Some(frame) => {
                    let pushed = peer.push(frame, shard);
                    count += usize::from(!matches!(pushed, Pushed::Closed | Pushed::Overflow));
                }
                None => shard.meters.events_unencodable.increment(),
            }
        }
    }
    shard.meters.events.add(count as u64);
    let frames = if made > FRAMES_FREE { made * FRAME_BYTES + octets } else { 0 };
    let effort = receivers * RECEIVER_BYTES + frames;
    shard.note_effort(effort);
    (count, Effort(effort))
}

/// Does one thing that the router says.
fn perform(router: &mut Router<Peer>, action: Action<'_, Peer>, shard: &Shard) -> Result<Effort, Violation> {
    let mut effort = 0;
    match action {
        Action::Send { to, message } => send_or_refuse(&to, &message, shard),
        Action::Invoke { to, invocation, message } => {
            if to.peer.send(&message, shard).is_err() {
                let mut more = Vec::new();
                router.undeliverable(to.session, invocation, &mut more);
                for action in more {
                    effort += perform(router, action, shard)?.0;
                }
            }
        }
        Action::Refuse { to, kind, request, refusal } => refuse(&to, kind, request, &refusal, shard),
        Action::Orphaned { to, request } => {
            effort += FRAME_BYTES;
            // Whoever has left may be there again on the same connection, with calls of the same numbers.
            if matches!(to.peer, Peer::Caller(_)) || router.is_joined(to.session) {
                refuse(&to.peer, RequestKind::Call, request, &Refusal::orphaned(), shard);
            }
        }
        Action::Result { to, request, value, effort: search } => {
            let payload = own_payload(&[value]);
            // Lists of all that there is are long, and a number does not tell how much was looked at for it.
            effort += search + payload.args.as_ref().map_or(0, bytes::Bytes::len);
            let message = RouterMessage::Result { request, details: Dict::new(), payload: payload.as_payload() };
            send_or_refuse(&to, &message, shard);
        }
        Action::Retained { to, subscription } => {
            let mut count = 0;
            // An event that has no equal in this serializer is counted, as in every fan-out.
            effort += router.retained(&to, subscription, &mut |event| match to.peer.send(&event, shard) {
                Ok(Pushed::Closed | Pushed::Overflow) => ControlFlow::Break(()),
                Ok(_) => {
                    count += 1;
                    ControlFlow::Continue(())
                }
                Err(_) => ControlFlow::Continue(()),
            });
            shard.meters.events.add(count);
        }
        Action::Publish(event) => {
            let (_, Effort(took)) = deliver(&router.own_event(&event), event.payload.as_payload(), shard);
            effort += took;
        }
        Action::Ended(mut ended) => {
            let mut events = Vec::new();
            while router.next_ended(&mut ended, &mut events) {
                for event in events.drain(..) {
                    effort += perform(router, event, shard)?.0;
                }
            }
        }
        Action::Kill { to, reason } => {
            if let Peer::Socket(peer) = to {
                peer.kill(&reason, shard);
            }
        }
        Action::Violation(sentence) => return Err(Violation(sentence)),
    }
    Ok(Effort(effort))
}

/// Sends a message. Whoever waits for an answer that has no equal in its serializer gets an ERROR in its place; an ERROR
/// keeps its URI, which says what happened, and loses its payload.
fn send_or_refuse(to: &Peer, message: &RouterMessage<'_>, shard: &Shard) {
    if to.send(message, shard).is_ok() {
        return;
    }
    match message {
        RouterMessage::Result { request, .. } => {
            refuse(to, RequestKind::Call, *request, &Refusal::unencodable_answer(), shard);
        }
        RouterMessage::Error { kind, request, error, .. } => {
            let bare = RouterMessage::Error {
                kind: *kind,
                request: *request,
                details: Dict::new(),
                error: error.as_ref().into(),
                payload: Payload::none(Serializer::Json),
            };
            let sent = to.send(&bare, shard);
            debug_assert!(sent.is_ok(), "a URI has an equal in every serializer");
        }
        _ => {}
    }
}

pub(super) fn refuse(to: &Peer, kind: RequestKind, request: RequestId, refusal: &Refusal, shard: &Shard) {
    let payload = own_payload(&[Value::from(&*refusal.message)]);
    let message = RouterMessage::Error {
        kind,
        request,
        details: Dict::new(),
        error: refusal.error.into(),
        payload: payload.as_payload(),
    };
    let sent = to.send(&message, shard);
    debug_assert!(sent.is_ok(), "text has an equal in every serializer");
}

fn own_payload(args: &[Value]) -> OwnedPayload {
    OwnedPayload::from_values(Serializer::Json, args, &Dict::new())
        .expect("text, integers and lists of them are valid JSON")
}

#[cfg(test)]
mod tests {
    use stentor_model::SessionId;
    use stentor_wamp::identity::{Features, Identity, Member};
    use stentor_wamp::router::Settings;

    use super::*;
    use crate::fanout::peer::Caller;
    use crate::fanout::peer::tests::{peer, shard};

    fn orphaned(to: &Peer) -> Action<'static, Peer> {
        let identity = Arc::new(Identity {
            session: SessionId::FIRST,
            authid: "".into(),
            authrole: "".into(),
            authmethod: "internal",
            authprovider: "static",
            features: Features::default(),
        });
        let to = Member { session: SessionId::FIRST, identity, peer: to.clone() };
        Action::Orphaned { to, request: RequestId::FIRST }
    }

    /// Its connection may have joined anew, with a call of the same number.
    #[test]
    fn a_session_that_has_left_hears_of_no_orphaned_call() {
        let (shard, mut router) = (shard(), Router::new(Settings::default(), 7));
        let socket = peer(&shard, 0);
        let told = perform(&mut router, orphaned(&Peer::Socket(Arc::clone(&socket))), &shard);
        assert!(told.is_ok() && socket.outbox.is_empty());

        // A request is not a session, and waits for its answer.
        let (caller, mut answer) = Caller::new();
        let told = perform(&mut router, orphaned(&Peer::Caller(caller)), &shard);
        assert!(told.is_ok() && answer.try_recv().is_ok_and(|text| text.starts_with(b"[8,48,1,")));
    }
}
