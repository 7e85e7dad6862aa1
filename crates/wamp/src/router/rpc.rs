//! The dealer half of a realm: registrations, calls, and their answers.

use std::borrow::Cow;

use stentor_model::{InvocationId, RegistrationId, RequestId, SessionId};

use super::{Action, MetaApi, REGISTRATIONS_PER_SESSION_MAX, Refusal, Router};
use crate::dealer::{Answer, CallRefusal, Destination, Progress};
use crate::identity::Member;
use crate::message::{Payload, RequestKind, RouterMessage};
use crate::permission::Deed;
use crate::publish_options::flag;
use crate::uri::{self, Match, reason};
use crate::value::{Dict, Value};

impl<P: Clone> Router<P> {
    /// Ends the calls and registrations of a session that is gone or that never joined (a call that came by HTTP).
    pub fn end_calls<'a>(
        &mut self,
        session: SessionId,
        registrations: &[RegistrationId],
        out: &mut Vec<Action<'a, P>>,
    ) {
        let sessions = &self.sessions;
        let departure = self
            .dealer
            .leave(session, registrations, |callee| sessions.get(&callee).map(|attached| attached.member.clone()));
        out.extend(departure.orphans.into_iter().map(|(to, request)| Action::Orphaned { to, request }));
        for (callee, invocation) in departure.useless {
            interrupt(&callee, invocation, "killnowait", out);
        }
    }

    pub(super) fn register<'a>(
        &mut self,
        member: &Member<P>,
        request: RequestId,
        options: &Dict,
        procedure: &str,
        out: &mut Vec<Action<'a, P>>,
    ) {
        let kind = RequestKind::Register;
        let outcome = self.may_register(member, options, procedure).and_then(|()| {
            self.dealer.register(member, procedure).ok_or_else(|| {
                Refusal::new(reason::PROCEDURE_ALREADY_EXISTS, format!("procedure '{procedure}' is registered already"))
            })
        });
        match outcome {
            Err(refusal) => out.push(Action::Refuse { to: member.peer.clone(), kind, request, refusal }),
            Ok(registration) => {
                if let Some(attached) = self.sessions.get_mut(&member.session) {
                    attached.registrations.add(registration, procedure, Match::Exact);
                }
                let message = RouterMessage::Registered { request, registration };
                out.push(Action::Send { to: member.peer.clone(), message });
            }
        }
    }

    fn may_register(&self, member: &Member<P>, options: &Dict, procedure: &str) -> Result<(), Refusal> {
        for (option, only) in [("match", "exact"), ("invoke", "single")] {
            if options.get(option).is_some_and(|value| value.as_str() != Some(only)) {
                return Err(Refusal::new(
                    reason::INVALID_ARGUMENT,
                    format!("option '{option}' must be \"{only}\", the only one of this router"),
                ));
            }
        }
        self.well_formed("procedure", procedure, Match::Exact)?;
        if uri::is_reserved(procedure) {
            return Err(Refusal::new(
                reason::INVALID_URI,
                format!("procedure '{procedure}' is reserved for the router, as is all that begins with 'wamp.'"),
            ));
        }
        self.authorize(&member.identity, Deed::Register, procedure)?;
        let refused = self.sessions.get(&member.session).and_then(|attached| {
            attached.registrations.refusal(procedure, Match::Exact, REGISTRATIONS_PER_SESSION_MAX, "registrations")
        });
        refused.map_or(Ok(()), Err)
    }

    pub(super) fn unregister<'a>(
        &mut self,
        member: &Member<P>,
        request: RequestId,
        registration: RegistrationId,
        out: &mut Vec<Action<'a, P>>,
    ) {
        let to = member.peer.clone();
        if let Some(procedure) = self.dealer.unregister(member.session, registration) {
            if let Some(attached) = self.sessions.get_mut(&member.session) {
                attached.registrations.take(registration, &procedure, Match::Exact);
            }
            return out.push(Action::Send { to, message: RouterMessage::Unregistered { request } });
        }
        let refusal = Refusal::new(
            reason::NO_SUCH_REGISTRATION,
            format!("this session does not hold registration {registration}"),
        );
        out.push(Action::Refuse { to, kind: RequestKind::Unregister, request, refusal });
    }

    /// Calls a procedure on behalf of `caller`, who need not have joined.
    pub fn call<'a>(
        &mut self,
        caller: &Member<P>,
        request: RequestId,
        options: &Dict,
        procedure: &str,
        payload: Payload<'a>,
        out: &mut Vec<Action<'a, P>>,
    ) {
        if let Err(refusal) = self.try_call(caller, request, options, procedure, payload, out) {
            out.push(Action::Refuse { to: caller.peer.clone(), kind: RequestKind::Call, request, refusal });
        }
    }

    fn try_call<'a>(
        &mut self,
        caller: &Member<P>,
        request: RequestId,
        options: &Dict,
        procedure: &str,
        payload: Payload<'a>,
        out: &mut Vec<Action<'a, P>>,
    ) -> Result<(), Refusal> {
        self.well_formed("procedure", procedure, Match::Exact)?;
        let grant = self.authorize(&caller.identity, Deed::Call, procedure)?;
        // Who may call anything is not meant to end other sessions: that takes a rule which speaks of the router.
        if procedure.starts_with("wamp.session.kill") && !grant.names_router {
            return Err(Refusal::new(
                reason::NOT_AUTHORIZED,
                format!(
                    "session not authorized to call procedure '{procedure}': that takes a rule which begins with 'wamp.'"
                ),
            ));
        }
        if uri::is_reserved(procedure) && self.settings.meta_api == MetaApi::On {
            let (value, effort) = self.meta_call(caller.session, procedure, &payload, out)?;
            out.push(Action::Result { to: caller.peer.clone(), request, value, effort });
            return Ok(());
        }
        let wants = |name| options.get(name).map_or(Ok(false), |value| flag(name, value));
        let progress = if wants("receive_progress")? { Progress::Wanted } else { Progress::Unwanted };
        if wants("disclose_me")? && !grant.disclose_caller {
            return Err(Refusal::new(
                reason::DISCLOSE_ME_DISALLOWED,
                format!("role '{}' may not disclose the caller of procedure '{procedure}'", caller.identity.authrole),
            ));
        }
        let invocation = self.dealer.call(caller, request, procedure, progress).map_err(|refusal| match refusal {
            CallRefusal::NoSuchProcedure => {
                Refusal::new(reason::NO_SUCH_PROCEDURE, format!("no callee registered for procedure '{procedure}'"))
            }
            CallRefusal::TooMany => {
                Refusal::new(reason::UNAVAILABLE, "too many calls of this session wait for results")
            }
            CallRefusal::Busy => Refusal::new(reason::UNAVAILABLE, "too many calls wait for this callee"),
        })?;
        let mut details = Dict::new();
        if grant.disclose_caller {
            details.set("caller", caller.session.get());
            details.set("caller_authid", &*caller.identity.authid);
            details.set("caller_authrole", &*caller.identity.authrole);
        }
        if progress == Progress::Wanted && invocation.callee.identity.features.callee_progressive {
            details.set("receive_progress", true);
        }
        let message = RouterMessage::Invocation {
            invocation: invocation.id,
            registration: invocation.registration,
            details,
            payload,
        };
        out.push(Action::Invoke { to: invocation.callee, invocation: invocation.id, message });
        Ok(())
    }

    /// An invocation could not be sent: its caller learns of it instead of waiting for ever.
    pub fn undeliverable<'a>(&mut self, callee: SessionId, invocation: InvocationId, out: &mut Vec<Action<'a, P>>) {
        if let Destination::Caller(caller, request) = self.dealer.answer(callee, invocation, Answer::Final) {
            let refusal = Refusal::unencodable_arguments();
            out.push(Action::Refuse { to: caller.peer, kind: RequestKind::Call, request, refusal });
        }
    }

    pub(super) fn cancel<'a>(
        &mut self,
        caller: &Member<P>,
        request: RequestId,
        options: &Dict,
        out: &mut Vec<Action<'a, P>>,
    ) {
        let mode = options.get("mode").map_or(Some("killnowait"), Value::as_str);
        let Some(mode) = mode.filter(|mode| ["skip", "kill", "killnowait"].contains(mode)) else {
            let sentence = "CANCEL.Options.mode must be \"skip\", \"kill\" or \"killnowait\"";
            return out.push(Action::Violation(sentence.to_owned()));
        };
        let Some((callee, invocation)) = self.dealer.callee_of(caller.session, request) else { return };
        let callee = self.sessions.get(&callee).map(|attached| attached.member.clone());
        let told = match &callee {
            Some(callee) if mode != "skip" => interrupt(callee, invocation, mode, out),
            _ => false,
        };
        // A callee that cannot be told would answer anyway, so waiting for it would be no cancellation.
        if mode != "kill" || !told {
            self.dealer.drop_call(caller.session, request);
            let refusal = Refusal::new(reason::CANCELED, "the call was canceled by its caller");
            out.push(Action::Refuse { to: caller.peer.clone(), kind: RequestKind::Call, request, refusal });
        }
    }

    pub(super) fn answer<'a>(
        &mut self,
        callee: SessionId,
        invocation: InvocationId,
        reply: Reply<'_, 'a>,
        payload: Payload<'a>,
        out: &mut Vec<Action<'a, P>>,
    ) {
        let piece = match &reply {
            Reply::Yield(options) => options.get("progress").and_then(Value::as_bool).unwrap_or(false),
            Reply::Error(..) => false,
        };
        let answer = if piece { Answer::Piece } else { Answer::Final };
        match self.dealer.answer(callee, invocation, answer) {
            Destination::Late | Destination::Unwanted => {}
            Destination::NeverMade => {
                out.push(Action::Violation(format!("there was no invocation {invocation} to answer")));
            }
            Destination::Caller(caller, request) => {
                let message = match reply {
                    Reply::Yield(_) => {
                        let mut details = Dict::new();
                        if piece {
                            details.set("progress", true);
                        }
                        RouterMessage::Result { request, details, payload }
                    }
                    Reply::Error(details, error) => {
                        RouterMessage::Error { kind: RequestKind::Call, request, details, error, payload }
                    }
                };
                out.push(Action::Send { to: caller.peer, message });
            }
        }
    }
}

/// What a callee answers with.
pub(super) enum Reply<'o, 'a> {
    Yield(&'o Dict),
    Error(Dict, Cow<'a, str>),
}

/// Tells a callee to stop, when it announced that it can be told.
fn interrupt<P: Clone>(callee: &Member<P>, invocation: InvocationId, mode: &str, out: &mut Vec<Action<'_, P>>) -> bool {
    if !callee.identity.features.callee_canceling {
        return false;
    }
    let options = Dict::new().with("mode", mode);
    out.push(Action::Send { to: callee.peer.clone(), message: RouterMessage::Interrupt { invocation, options } });
    true
}
