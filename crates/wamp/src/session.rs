//! The life of one session on one transport, from HELLO to GOODBYE.
//!
//! This machine decides what a message means in the state that the session is in: which messages are violations, which
//! request ids are in order, who may join which realm. It does not route; what an established session asks for comes out
//! as [`Step::Route`].

use stentor_model::RequestId;

use crate::auth::{AuthPolicy, Challenge, Fresh, Method};
use crate::codec::DecodeError;
use crate::identity::Features;
use crate::message::{ClientMessage, RouterMessage};
use crate::uri::{self, Match, reason};
use crate::value::{Dict, Value};

#[cfg(test)]
mod tests;

/// Octets of an authid in HELLO. Of whoever was sent a CHALLENGE it is kept until the answer comes, once by itself and once in
/// the text to be signed, and strangers may let their time run out. It is what names of users have elsewhere, too.
pub const AUTHID_BYTES_MAX: usize = 1024;

/// What the machine asks about a realm when somebody wants to join it.
pub trait Realms {
    /// How the realm of this name counts request ids; nothing when there is no such realm.
    fn request_ids(&self, realm: &str) -> Option<RequestIds>;
    /// Whether the realm has that role.
    fn has_role(&self, realm: &str, role: &str) -> bool;
}

/// Whether the ids of a session's requests must count from 1 by 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RequestIds {
    /// They must (WAMP section "IDs").
    #[default]
    Sequential,
    /// Any will do, for clients from before that rule.
    Any,
}

#[derive(Debug)]
enum State {
    /// Waiting for HELLO.
    Fresh,
    /// Waiting for AUTHENTICATE.
    Challenging(Box<Pending>),
    /// Joined.
    Established { ids: RequestIds, last: u64 },
    /// GOODBYE was sent; everything but the client's own is ignored.
    Closing,
    /// The transport is to be closed.
    Ended,
}

/// What is kept of a stranger: a realm that is there, an authid of at most [`AUTHID_BYTES_MAX`], and what is made of it.
#[derive(Debug)]
struct Pending {
    realm: String,
    challenge: Challenge,
    features: Features,
}

/// A session that may join.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admission {
    /// The realm.
    pub realm: String,
    /// The proven name; nothing for anonymous sessions, which get a random one.
    pub authid: Option<Box<str>>,
    /// The role.
    pub authrole: Box<str>,
    /// How the name was proven.
    pub authmethod: &'static str,
    /// What the client announced.
    pub features: Features,
}

/// What the shell has to do.
#[derive(Debug, PartialEq)]
pub enum Step<'a> {
    /// Send this and go on reading.
    Send(RouterMessage<'static>),
    /// Put the session into its realm, send WELCOME and go on reading.
    Join(Admission),
    /// Hand this to the realm.
    Route(ClientMessage<'a>),
    /// Take the session out of its realm, answer with this GOODBYE, and read on: another HELLO may follow.
    Leave(RouterMessage<'static>),
    /// Take the session out of its realm where it is in one, send this ABORT and close the transport.
    Abort(RouterMessage<'static>),
    /// Take the session out of its realm and close the transport without a word.
    Close,
    /// Nothing.
    Ignore,
}

/// The machine.
#[derive(Debug)]
pub struct Session {
    state: State,
}

impl Default for Session {
    fn default() -> Self {
        Self { state: State::Fresh }
    }
}

/// An ABORT.
#[must_use]
pub fn abort(reason: &'static str, message: impl Into<String>) -> RouterMessage<'static> {
    RouterMessage::Abort { message: message.into().into(), reason }
}

impl Session {
    /// Whether the session is in a realm.
    #[must_use]
    pub const fn is_established(&self) -> bool {
        matches!(self.state, State::Established { .. })
    }

    /// The router has said GOODBYE on its own account.
    pub fn closing(&mut self) {
        self.state = State::Closing;
    }

    /// The shell found a violation that this machine cannot see. Once GOODBYE is said, there is nothing more to say.
    pub fn violate(&mut self, message: impl Into<String>) -> Step<'static> {
        if matches!(self.state, State::Closing | State::Ended) {
            return Step::Ignore;
        }
        self.fail(reason::PROTOCOL_VIOLATION, message)
    }

    fn fail(&mut self, reason: &'static str, message: impl Into<String>) -> Step<'static> {
        self.state = State::Ended;
        Step::Abort(abort(reason, message))
    }

    /// Takes the next message of the transport.
    pub fn receive<'a>(
        &mut self,
        message: Result<ClientMessage<'a>, DecodeError>,
        policy: &AuthPolicy,
        realms: &impl Realms,
        fresh: &Fresh<'_>,
    ) -> Step<'a> {
        let message = match (message, &self.state) {
            (_, State::Ended) => return Step::Ignore,
            (Ok(message), _) => message,
            (Err(_), State::Closing) => return Step::Ignore,
            (Err(error), _) => return self.violate(error.to_string()),
        };
        match (message, &mut self.state) {
            (ClientMessage::Abort { .. }, _) => {
                self.state = State::Ended;
                Step::Close
            }
            (ClientMessage::Goodbye { .. }, State::Closing) => {
                self.state = State::Ended;
                Step::Close
            }
            (_, State::Closing) => Step::Ignore,
            (ClientMessage::Hello { realm, details }, State::Fresh) => {
                self.hello(realm.into_owned(), &details, policy, realms, fresh)
            }
            (ClientMessage::Hello { .. }, _) => self.violate("HELLO in a session that has begun"),
            (ClientMessage::Authenticate { signature, .. }, State::Challenging(_)) => {
                self.authenticate(&signature, policy, realms)
            }
            (ClientMessage::Authenticate { .. }, _) => self.violate("AUTHENTICATE without a CHALLENGE"),
            (ClientMessage::Goodbye { .. }, State::Established { .. }) => {
                self.state = State::Fresh;
                Step::Leave(RouterMessage::Goodbye { reason: reason::GOODBYE_AND_OUT.into() })
            }
            (message, State::Established { ids, last }) => match in_sequence(&message, *ids, last) {
                Ok(()) => Step::Route(message),
                Err(sentence) => self.violate(sentence),
            },
            (message, _) => {
                let name = name(&message);
                self.violate(format!("{name} before the session was established"))
            }
        }
    }

    fn hello(
        &mut self,
        realm: String,
        details: &Dict,
        policy: &AuthPolicy,
        realms: &impl Realms,
        fresh: &Fresh<'_>,
    ) -> Step<'static> {
        if let Err(fault) = uri::check(&realm, Match::Exact, uri::Rule::Loose) {
            return self.fail(reason::INVALID_URI, format!("HELLO.Realm {fault}"));
        }
        let features = match announced(details) {
            Ok(features) => features,
            Err(sentence) => return self.violate(sentence),
        };
        let Some(ids) = realms.request_ids(&realm) else {
            return self.fail(reason::NO_SUCH_REALM, format!("there is no realm '{realm}'"));
        };
        let Some(method) = policy.choose(details) else {
            return self.fail(
                reason::NO_MATCHING_AUTH_METHOD,
                "none of the offered authentication methods is configured on this transport",
            );
        };
        if method == Method::Anonymous {
            let role = policy.anonymous.clone().unwrap_or_default();
            let admission =
                Admission { realm, authid: None, authrole: role.into(), authmethod: method.name(), features };
            return self.admit(admission, ids, realms);
        }
        let Some(authid) = details.get("authid").and_then(Value::as_str) else {
            return self.fail(
                reason::AUTHENTICATION_FAILED,
                format!("HELLO.Details.authid is missing, and authentication by {} needs it", method.name()),
            );
        };
        if authid.len() > AUTHID_BYTES_MAX {
            return self.violate(format!("HELLO.Details.authid may have {AUTHID_BYTES_MAX} octets"));
        }
        let mut challenge = policy.challenge(method, authid, fresh);
        // What the client is told needs not be kept while it thinks.
        let extra = std::mem::take(&mut challenge.extra);
        let message = RouterMessage::Challenge { method: method.name(), extra };
        self.state = State::Challenging(Box::new(Pending { realm, challenge, features }));
        Step::Send(message)
    }

    fn authenticate(&mut self, signature: &str, policy: &AuthPolicy, realms: &impl Realms) -> Step<'static> {
        let State::Challenging(pending) = std::mem::replace(&mut self.state, State::Ended) else {
            return Step::Ignore;
        };
        let Some(role) = policy.verify(&pending.challenge, signature) else {
            return self.fail(reason::AUTHENTICATION_FAILED, "the principal is unknown or its proof is wrong");
        };
        let Some(ids) = realms.request_ids(&pending.realm) else {
            return self.fail(reason::NO_SUCH_REALM, format!("there is no realm '{}'", pending.realm));
        };
        let admission = Admission {
            realm: pending.realm,
            authid: Some(pending.challenge.authid),
            authrole: role.into(),
            authmethod: pending.challenge.method.name(),
            features: pending.features,
        };
        self.admit(admission, ids, realms)
    }

    fn admit(&mut self, admission: Admission, ids: RequestIds, realms: &impl Realms) -> Step<'static> {
        if !realms.has_role(&admission.realm, &admission.authrole) {
            return self.fail(
                reason::NO_SUCH_ROLE,
                format!("realm '{}' has no role '{}'", admission.realm, admission.authrole),
            );
        }
        self.state = State::Established { ids, last: 0 };
        Step::Join(admission)
    }
}

/// What the client announces, when the details of its HELLO are what the specification demands.
fn announced(details: &Dict) -> Result<Features, String> {
    let roles = match details.get("roles") {
        Some(Value::Dict(roles)) => roles,
        Some(_) => return Err("HELLO.Details.roles must be a dictionary".to_owned()),
        None => return Err("HELLO.Details.roles is missing".to_owned()),
    };
    let mut known = 0;
    for name in ["publisher", "subscriber", "caller", "callee"] {
        let Some(role) = roles.get(name) else { continue };
        let Some(role) = role.as_dict() else {
            return Err(format!("HELLO.Details.roles.{name} must be a dictionary"));
        };
        if role.get("features").is_some_and(|features| features.as_dict().is_none()) {
            return Err(format!("HELLO.Details.roles.{name}.features must be a dictionary"));
        }
        known += 1;
    }
    if known == 0 {
        return Err("HELLO.Details.roles names none of publisher, subscriber, caller and callee".to_owned());
    }
    // Taken for no list at all, a mistyped one would let in as anonymous whoever meant to prove a name.
    let methods = details.get("authmethods");
    let listed = |value: &Value| value.as_list().is_some_and(|list| list.iter().all(|item| item.as_str().is_some()));
    if methods.is_some_and(|methods| !listed(methods)) {
        return Err("HELLO.Details.authmethods must be a list of strings".to_owned());
    }
    Ok(Features::from_roles(roles))
}

/// The name of a message, for sentences.
#[must_use]
pub const fn name(message: &ClientMessage<'_>) -> &'static str {
    match message {
        ClientMessage::Hello { .. } => "HELLO",
        ClientMessage::Abort { .. } => "ABORT",
        ClientMessage::Authenticate { .. } => "AUTHENTICATE",
        ClientMessage::Goodbye { .. } => "GOODBYE",
        ClientMessage::Error { .. } => "ERROR",
        ClientMessage::Publish { .. } => "PUBLISH",
        ClientMessage::Subscribe { .. } => "SUBSCRIBE",
        ClientMessage::Unsubscribe { .. } => "UNSUBSCRIBE",
        ClientMessage::Call { .. } => "CALL",
        ClientMessage::Cancel { .. } => "CANCEL",
        ClientMessage::Register { .. } => "REGISTER",
        ClientMessage::Unregister { .. } => "UNREGISTER",
        ClientMessage::Yield { .. } => "YIELD",
    }
}

/// The id of a message that counts in its session's sequence.
const fn counted(message: &ClientMessage<'_>) -> Option<RequestId> {
    match message {
        ClientMessage::Publish { request, .. }
        | ClientMessage::Subscribe { request, .. }
        | ClientMessage::Unsubscribe { request, .. }
        | ClientMessage::Call { request, .. }
        | ClientMessage::Register { request, .. }
        | ClientMessage::Unregister { request, .. } => Some(*request),
        _ => None,
    }
}

fn in_sequence(message: &ClientMessage<'_>, ids: RequestIds, last: &mut u64) -> Result<(), String> {
    let Some(request) = counted(message) else { return Ok(()) };
    let expected = RequestId::new(*last).map_or(RequestId::FIRST, RequestId::next);
    if ids == RequestIds::Sequential && request != expected {
        return Err(format!(
            "{}.Request is {request} where {expected} comes next: the requests of a session count from 1 by 1 (the realm's \
             option \"request_ids\": \"any\" admits clients that do not)",
            name(message)
        ));
    }
    *last = request.get();
    Ok(())
}
