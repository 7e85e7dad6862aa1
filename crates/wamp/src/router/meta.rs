//! The meta API: what a realm tells about its own sessions and subscriptions, and its events.
//!
//! WAMP section "Session Meta API" and "Subscription Meta API". A caller needs the permission to call the procedure, a
//! subscriber the permission to subscribe to the event; there is no other gate.

use std::collections::HashSet;

use foldhash::fast::RandomState;
use stentor_model::limit::OPTIONS_BYTES_MAX;
use stentor_model::{SessionId, SubscriptionId};

use super::{Action, MetaApi, Refusal, Router};
use crate::broker::{Joined, Left, OwnEvent, Subscription};
use crate::codec::{self, OwnedPayload, Serializer};
use crate::identity::Identity;
use crate::message::Payload;
use crate::uri::{self, Match, reason};
use crate::value::{Dict, Value};

/// What looking at a session counts for, in octets of messages that would take as long to read.
pub(super) const LOOK_BYTES: usize = 8;

impl<P: Clone> Router<P> {
    /// Answers a procedure of the router's own. Returns what looking for the answer took, too, in octets of messages that
    /// would take as long: the answer may be a number and the search have been at every session of the realm.
    pub(super) fn meta_call<'a>(
        &mut self,
        caller: SessionId,
        procedure: &str,
        payload: &Payload<'_>,
        out: &mut Vec<Action<'a, P>>,
    ) -> Result<(Value, usize), Refusal> {
        let arguments = Arguments::read(payload)?;
        let looked_at = match procedure {
            "wamp.session.count" if arguments.first().is_none_or(|roles| *roles == Value::Null) => 0,
            "wamp.session.count"
            | "wamp.session.list"
            | "wamp.session.kill_by_authid"
            | "wamp.session.kill_by_authrole"
            | "wamp.session.kill_all" => self.sessions.len(),
            _ => 0,
        };
        let value = self.meta_answer(caller, procedure, &arguments, out)?;
        Ok((value, looked_at * LOOK_BYTES))
    }

    fn meta_answer<'a>(
        &mut self,
        caller: SessionId,
        procedure: &str,
        arguments: &Arguments,
        out: &mut Vec<Action<'a, P>>,
    ) -> Result<Value, Refusal> {
        match procedure {
            "wamp.session.count" => Ok(match arguments.roles()? {
                None => (self.sessions.len() as u64).into(),
                Some(roles) => (self.sessions_with(Some(&roles)).count() as u64).into(),
            }),
            "wamp.session.list" => Ok(ids(self.sessions_with(arguments.roles()?.as_ref()).map(|id| id.get()))),
            "wamp.session.get" => {
                let session = arguments.session()?;
                let attached = self.sessions.get(&session).ok_or_else(no_such_session)?;
                Ok(attached.member.identity.details().into())
            }
            "wamp.session.kill" => {
                let session = arguments.session()?;
                if session == caller || !self.sessions.contains_key(&session) {
                    return Err(no_such_session());
                }
                self.kill(&[session], &arguments.reason()?, out);
                Ok(Value::Null)
            }
            "wamp.session.kill_by_authid" | "wamp.session.kill_by_authrole" | "wamp.session.kill_all" => {
                let victims = self.victims(caller, procedure, arguments)?;
                self.kill(&victims, &arguments.reason()?, out);
                Ok(match procedure {
                    "wamp.session.kill_by_authid" => ids(victims.iter().map(|id| id.get())),
                    _ => (victims.len() as u64).into(),
                })
            }
            "wamp.subscription.list" => Ok(self.subscriptions_by_match()),
            "wamp.subscription.lookup" => {
                let found = self.broker.lookup(arguments.topic()?, arguments.matching()?);
                Ok(found.map_or(Value::Null, |subscription| subscription.id.get().into()))
            }
            "wamp.subscription.match" => {
                let mut found = Vec::new();
                self.broker.each_match(arguments.topic()?, &mut |subscription| found.push(subscription.id.get()));
                Ok(if found.is_empty() { Value::Null } else { ids(found) })
            }
            "wamp.subscription.get" => Ok(describe(self.subscription(arguments)?).into()),
            "wamp.subscription.list_subscribers" => {
                Ok(ids(self.subscription(arguments)?.members().iter().map(|member| member.session.get())))
            }
            "wamp.subscription.count_subscribers" => Ok((self.subscription(arguments)?.members().len() as u64).into()),
            _ => Err(Refusal::new(
                reason::NO_SUCH_PROCEDURE,
                format!("no callee registered for procedure '{procedure}'"),
            )),
        }
    }

    fn sessions_with<'r>(&'r self, roles: Option<&'r Roles<'_>>) -> impl Iterator<Item = SessionId> + 'r {
        let all = self.sessions.values().map(|attached| &attached.member.identity);
        all.filter(move |who| roles.is_none_or(|roles| roles.contains(&*who.authrole))).map(|who| who.session)
    }

    fn victims(&self, caller: SessionId, procedure: &str, arguments: &Arguments) -> Result<Vec<SessionId>, Refusal> {
        let name = match procedure {
            "wamp.session.kill_all" => None,
            _ => Some(arguments.text("the authid or authrole")?),
        };
        let hit = |who: &Identity| match procedure {
            "wamp.session.kill_by_authid" => Some(&*who.authid) == name,
            "wamp.session.kill_by_authrole" => Some(&*who.authrole) == name,
            _ => true,
        };
        let all = self.sessions.values().map(|attached| &attached.member.identity);
        Ok(all.filter(|who| who.session != caller && hit(who)).map(|who| who.session).collect())
    }

    fn kill<'a>(&mut self, victims: &[SessionId], reason: &str, out: &mut Vec<Action<'a, P>>) {
        for victim in victims {
            if let Some(attached) = self.sessions.get(victim) {
                out.push(Action::Kill { to: attached.member.peer.clone(), reason: reason.to_owned() });
                self.leave(*victim, out);
            }
        }
    }

    fn subscription(&self, arguments: &Arguments) -> Result<&Subscription<P>, Refusal> {
        let id = arguments.first().and_then(Value::as_u64).and_then(SubscriptionId::new);
        let id = id.ok_or_else(|| bad("the first argument must be a subscription id"))?;
        self.broker
            .get(id)
            .ok_or_else(|| Refusal::new(reason::NO_SUCH_SUBSCRIPTION, format!("there is no subscription {id}")))
    }

    fn subscriptions_by_match(&self) -> Value {
        let mut dict = Dict::new();
        for matching in [Match::Exact, Match::Prefix, Match::Wildcard] {
            let of_kind = self.broker.subscriptions().filter(|subscription| subscription.matching == matching);
            dict.set(matching.name(), ids(of_kind.map(|subscription| subscription.id.get())));
        }
        dict.into()
    }

    /// Queues an event of the router's own when somebody listens to it.
    fn tell<'a>(
        &self,
        topic: &'static str,
        about: SessionId,
        args: impl FnOnce() -> Vec<Value>,
        out: &mut Vec<Action<'a, P>>,
    ) {
        if self.settings.meta_api == MetaApi::Off {
            return;
        }
        let mut heard = false;
        self.broker.each_match(topic, &mut |_| heard = true);
        if heard {
            let payload = OwnedPayload::from_values(Serializer::Json, &args(), &Dict::new())
                .expect("text and integers are valid JSON");
            out.push(Action::Publish(OwnEvent { topic, payload, about: Some(about) }));
        }
    }

    pub(super) fn tell_joined<'a>(&self, who: &Identity, out: &mut Vec<Action<'a, P>>) {
        self.tell("wamp.session.on_join", who.session, || vec![who.details().into()], out);
    }

    pub(super) fn tell_left<'a>(&self, who: &Identity, out: &mut Vec<Action<'a, P>>) {
        let args = || vec![who.session.get().into(), (*who.authid).into(), (*who.authrole).into()];
        self.tell("wamp.session.on_leave", who.session, args, out);
    }

    pub(super) fn tell_subscribed<'a>(
        &self,
        session: SessionId,
        id: SubscriptionId,
        joined: Joined,
        out: &mut Vec<Action<'a, P>>,
    ) {
        let Some(subscription) = self.broker.get(id) else { return };
        // Nobody is told of the meta API's own subscriptions: telling would never end.
        if joined == Joined::Already || uri::is_reserved(&subscription.uri) {
            return;
        }
        let session_value = || Value::from(session.get());
        if joined == Joined::First {
            let args = || vec![session_value(), describe(subscription).into()];
            self.tell("wamp.subscription.on_create", session, args, out);
        }
        self.tell("wamp.subscription.on_subscribe", session, || vec![session_value(), id.get().into()], out);
    }

    pub(super) fn tell_unsubscribed<'a>(
        &self,
        session: SessionId,
        id: SubscriptionId,
        left: Left,
        out: &mut Vec<Action<'a, P>>,
    ) {
        let args = || vec![session.get().into(), id.get().into()];
        self.tell("wamp.subscription.on_unsubscribe", session, args, out);
        if left == Left::Last {
            self.tell("wamp.subscription.on_delete", session, args, out);
        }
    }
}

fn describe<P>(subscription: &Subscription<P>) -> Dict {
    Dict::new()
        .with("id", subscription.id.get())
        .with("created", &*subscription.created)
        .with("uri", &*subscription.uri)
        .with("match", subscription.matching.name())
}

fn ids(ids: impl IntoIterator<Item = u64>) -> Value {
    Value::List(ids.into_iter().map(Value::from).collect())
}

fn no_such_session() -> Refusal {
    Refusal::new(reason::NO_SUCH_SESSION, "there is no such session, or it is the caller's own")
}

fn bad(message: &'static str) -> Refusal {
    Refusal::new(reason::INVALID_ARGUMENT, message)
}

/// Names of roles that a caller gives: as many as it likes, and every session's is looked up.
type Roles<'a> = HashSet<&'a str, RandomState>;

/// The arguments of a meta procedure.
struct Arguments {
    args: Vec<Value>,
    kwargs: Dict,
}

impl Arguments {
    fn read(payload: &Payload<'_>) -> Result<Self, Refusal> {
        // The realm waits while they are read.
        let length = |part: Option<&[u8]>| part.map_or(0, <[u8]>::len);
        if length(payload.args) + length(payload.kwargs) > OPTIONS_BYTES_MAX {
            return Err(bad("the arguments are longer than any that this procedure takes"));
        }
        let value = |octets: Option<&[u8]>| {
            octets
                .map(|octets| codec::decode_value(payload.serializer, octets))
                .transpose()
                .map_err(|_| bad("the arguments cannot be read"))
        };
        let args = match value(payload.args)? {
            Some(Value::List(items)) => items,
            _ => Vec::new(),
        };
        let kwargs = match value(payload.kwargs)? {
            Some(Value::Dict(dict)) => dict,
            _ => Dict::new(),
        };
        Ok(Self { args, kwargs })
    }

    fn first(&self) -> Option<&Value> {
        self.args.first()
    }

    fn text(&self, what: &str) -> Result<&str, Refusal> {
        self.first().and_then(Value::as_str).ok_or_else(|| {
            Refusal::new(reason::INVALID_ARGUMENT, format!("the first argument must be {what}, a string"))
        })
    }

    fn topic(&self) -> Result<&str, Refusal> {
        self.text("a topic")
    }

    fn session(&self) -> Result<SessionId, Refusal> {
        let id = self.first().and_then(Value::as_u64).and_then(SessionId::new);
        id.ok_or_else(|| bad("the first argument must be a session id"))
    }

    fn matching(&self) -> Result<Match, Refusal> {
        match self.args.get(1).and_then(Value::as_dict).and_then(|options| options.get("match")) {
            None => Ok(Match::Exact),
            Some(value) => value
                .as_str()
                .and_then(Match::parse)
                .ok_or_else(|| bad("option 'match' must be \"exact\", \"prefix\" or \"wildcard\"")),
        }
    }

    fn roles(&self) -> Result<Option<Roles<'_>>, Refusal> {
        match self.first() {
            None | Some(Value::Null) => Ok(None),
            Some(Value::List(items)) => items
                .iter()
                .map(Value::as_str)
                .collect::<Option<_>>()
                .map(Some)
                .ok_or_else(|| bad("the first argument must be a list of authroles")),
            Some(_) => Err(bad("the first argument must be a list of authroles")),
        }
    }

    /// The reason of the victims' GOODBYE.
    fn reason(&self) -> Result<String, Refusal> {
        match self.kwargs.get("reason") {
            None | Some(Value::Null) => Ok(reason::KILLED.to_owned()),
            Some(Value::Str(text)) if uri::check(text, Match::Exact, uri::Rule::Loose).is_ok() => Ok(text.clone()),
            Some(_) => Err(Refusal::new(reason::INVALID_URI, "the reason must be a URI")),
        }
    }
}
