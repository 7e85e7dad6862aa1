//! The dealer: who answers which procedure, and the calls under way.
//!
//! It knows nothing of permissions or of how a message is written. Invocation ids are counted for each callee session from
//! 1, so an answer with an id that was never given out is a violation, and one with an old id is merely late.

use std::collections::HashMap;
use std::sync::Arc;

use stentor_model::{InvocationId, RegistrationId, RequestId, SessionId};

use crate::identity::Member;

/// Calls of one session that wait for their result, of some 250 octets each. A caller that never reads results must not fill the
/// memory.
pub const CALLS_PER_SESSION_MAX: usize = 16_384;

/// Calls that wait for one callee. When it leaves, each of them is an ERROR.
pub const CALLS_PER_CALLEE_MAX: usize = 65_536;

/// A registered procedure.
#[derive(Debug)]
pub struct Registration<P> {
    /// Its id.
    pub id: RegistrationId,
    /// The procedure.
    pub procedure: Arc<str>,
    /// The session that answers it.
    pub callee: Member<P>,
}

#[derive(Debug)]
struct Pending<P> {
    caller: Member<P>,
    request: RequestId,
    progress: Progress,
}

/// Whether a caller takes results piece by piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It asked for them.
    Wanted,
    /// It wants one result.
    Unwanted,
}

/// What a YIELD or an ERROR of a callee is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The last word on the call.
    Final,
    /// One piece of a progressive result.
    Piece,
}

#[derive(Debug)]
struct Callee<P> {
    /// The last invocation id given out; 0 before the first.
    last: u64,
    pending: HashMap<InvocationId, Pending<P>>,
}

impl<P> Default for Callee<P> {
    fn default() -> Self {
        Self { last: 0, pending: HashMap::new() }
    }
}

/// The dealer of one realm.
#[derive(Debug)]
pub struct Dealer<P> {
    procedures: HashMap<Arc<str>, Registration<P>>,
    names: HashMap<RegistrationId, Arc<str>>,
    next: RegistrationId,
    callees: HashMap<SessionId, Callee<P>>,
    /// The calls under way of each caller, and who answers them.
    calls: HashMap<SessionId, HashMap<RequestId, (SessionId, InvocationId)>>,
}

impl<P> Default for Dealer<P> {
    fn default() -> Self {
        Self {
            procedures: HashMap::new(),
            names: HashMap::new(),
            next: RegistrationId::FIRST,
            callees: HashMap::new(),
            calls: HashMap::new(),
        }
    }
}

/// A call on its way to its callee.
#[derive(Debug)]
pub struct Invocation<P> {
    /// Its id in the callee's session.
    pub id: InvocationId,
    /// The registration that matched.
    pub registration: RegistrationId,
    /// The callee.
    pub callee: Member<P>,
}

/// Why a call goes nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallRefusal {
    /// No registration matches.
    NoSuchProcedure,
    /// [`CALLS_PER_SESSION_MAX`] calls wait already.
    TooMany,
    /// [`CALLS_PER_CALLEE_MAX`] calls wait for this callee already.
    Busy,
}

/// Where an answer goes.
#[derive(Debug)]
pub enum Destination<P> {
    /// To the caller, under its request.
    Caller(Member<P>, RequestId),
    /// To nobody: the call was canceled, or its caller left.
    Late,
    /// To nobody: a piece for a caller who wants the whole; the call goes on.
    Unwanted,
    /// The callee invented the invocation.
    NeverMade,
}

/// A caller who waits in vain, or a callee who works in vain.
#[derive(Debug)]
pub struct Departure<P> {
    /// Procedures that nobody answers any more.
    pub registrations: Vec<RegistrationId>,
    /// Calls whose callee left.
    pub orphans: Vec<(Member<P>, RequestId)>,
    /// Invocations whose caller left.
    pub useless: Vec<(Member<P>, InvocationId)>,
}

impl<P: Clone> Dealer<P> {
    /// Registers a procedure unless somebody holds it.
    pub fn register(&mut self, callee: &Member<P>, procedure: &str) -> Option<RegistrationId> {
        if self.procedures.contains_key(procedure) {
            return None;
        }
        let id = self.next;
        self.next = id.next();
        let procedure: Arc<str> = procedure.into();
        self.names.insert(id, Arc::clone(&procedure));
        self.procedures.insert(Arc::clone(&procedure), Registration { id, procedure, callee: callee.clone() });
        Some(id)
    }

    /// Takes a registration away from the session that holds it, and returns its procedure; nothing when the session does not.
    pub fn unregister(&mut self, session: SessionId, id: RegistrationId) -> Option<Arc<str>> {
        let name = self.names.get(&id)?;
        if self.procedures.get(name).is_none_or(|held| held.callee.session != session) {
            return None;
        }
        self.procedures.remove(name);
        self.names.remove(&id)
    }

    /// Whether nothing is left of any session.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        let procedures = self.procedures.is_empty() && self.names.is_empty();
        procedures && self.callees.is_empty() && self.calls.is_empty()
    }

    /// Starts a call. The caller must have no call of that request open.
    ///
    /// # Errors
    /// When nobody answers the procedure, or the caller has too many calls open, or the callee.
    pub fn call(
        &mut self,
        caller: &Member<P>,
        request: RequestId,
        procedure: &str,
        progress: Progress,
    ) -> Result<Invocation<P>, CallRefusal> {
        let held = self.procedures.get(procedure).ok_or(CallRefusal::NoSuchProcedure)?;
        if self.calls.get(&caller.session).is_some_and(|open| open.len() >= CALLS_PER_SESSION_MAX) {
            return Err(CallRefusal::TooMany);
        }
        let callee = self.callees.entry(held.callee.session).or_default();
        if callee.pending.len() >= CALLS_PER_CALLEE_MAX {
            return Err(CallRefusal::Busy);
        }
        let id = InvocationId::new(callee.last).map_or(InvocationId::FIRST, InvocationId::next);
        callee.last = id.get();
        callee.pending.insert(id, Pending { caller: caller.clone(), request, progress });
        self.calls.entry(caller.session).or_default().insert(request, (held.callee.session, id));
        Ok(Invocation { id, registration: held.id, callee: held.callee.clone() })
    }

    /// A callee answers.
    pub fn answer(&mut self, callee: SessionId, id: InvocationId, answer: Answer) -> Destination<P> {
        let Some(state) = self.callees.get_mut(&callee) else { return Destination::NeverMade };
        let Some(pending) = state.pending.get(&id) else {
            return if id.get() <= state.last { Destination::Late } else { Destination::NeverMade };
        };
        if answer == Answer::Piece {
            return match pending.progress {
                Progress::Wanted => Destination::Caller(pending.caller.clone(), pending.request),
                Progress::Unwanted => Destination::Unwanted,
            };
        }
        let pending = state.pending.remove(&id).expect("it was found just above");
        self.forget(pending.caller.session, pending.request);
        Destination::Caller(pending.caller, pending.request)
    }

    /// The callee of a call under way, for CANCEL.
    #[must_use]
    pub fn callee_of(&self, caller: SessionId, request: RequestId) -> Option<(SessionId, InvocationId)> {
        self.calls.get(&caller)?.get(&request).copied()
    }

    /// Ends a call towards its caller; whatever the callee still says is late.
    pub fn drop_call(&mut self, caller: SessionId, request: RequestId) {
        if let Some((callee, id)) = self.callee_of(caller, request) {
            if let Some(state) = self.callees.get_mut(&callee) {
                state.pending.remove(&id);
            }
            self.forget(caller, request);
        }
    }

    fn forget(&mut self, caller: SessionId, request: RequestId) {
        if let Some(open) = self.calls.get_mut(&caller) {
            open.remove(&request);
            if open.is_empty() {
                self.calls.remove(&caller);
            }
        }
    }

    /// A session is gone, as callee and as caller. `member_of` finds the callees that may be told to stop.
    pub fn leave(
        &mut self,
        session: SessionId,
        registrations: &[RegistrationId],
        member_of: impl Fn(SessionId) -> Option<Member<P>>,
    ) -> Departure<P> {
        let registrations: Vec<_> =
            registrations.iter().copied().filter(|&id| self.unregister(session, id).is_some()).collect();
        let mut orphans = Vec::new();
        if let Some(state) = self.callees.remove(&session) {
            for pending in state.pending.into_values() {
                self.forget(pending.caller.session, pending.request);
                orphans.push((pending.caller, pending.request));
            }
        }
        let mut useless = Vec::new();
        for (callee, id) in self.calls.remove(&session).unwrap_or_default().into_values() {
            if let Some(state) = self.callees.get_mut(&callee) {
                state.pending.remove(&id);
            }
            useless.extend(member_of(callee).map(|callee| (callee, id)));
        }
        orphans.retain(|(caller, _)| caller.session != session);
        Departure { registrations, orphans, useless }
    }
}
