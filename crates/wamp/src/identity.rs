//! Who a session is, and what its client can do.

use stentor_model::SessionId;

use crate::value::{Dict, Value};

/// A session that has joined a realm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The session, random in the realm.
    pub session: SessionId,
    /// The name that was proven, or a random one for anonymous sessions.
    pub authid: Box<str>,
    /// The role whose permissions hold.
    pub authrole: Box<str>,
    /// How the name was proven.
    pub authmethod: &'static str,
    /// Who vouched for it.
    pub authprovider: &'static str,
    /// What the client announced.
    pub features: Features,
}

/// The announced features that change what the router sends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features {
    /// The callee understands INTERRUPT.
    pub callee_canceling: bool,
    /// The callee can send progressive results.
    pub callee_progressive: bool,
}

impl Features {
    /// Reads the `roles` of a HELLO.
    #[must_use]
    pub fn from_roles(roles: &Dict) -> Self {
        let announced = |role: &str, feature: &str| {
            roles
                .get(role)
                .and_then(Value::as_dict)
                .and_then(|role| role.get("features"))
                .and_then(Value::as_dict)
                .and_then(|features| features.get(feature))
                .and_then(Value::as_bool)
                .unwrap_or(false)
        };
        Self {
            callee_canceling: announced("callee", "call_canceling"),
            callee_progressive: announced("callee", "progressive_call_results"),
        }
    }
}

impl Identity {
    /// What the session meta API tells about this session.
    #[must_use]
    pub fn details(&self) -> Dict {
        Dict::new()
            .with("session", self.session.get())
            .with("authid", &*self.authid)
            .with("authrole", &*self.authrole)
            .with("authmethod", self.authmethod)
            .with("authprovider", self.authprovider)
    }
}

/// A session as the tables of the router hold it: its identity and the handle by which the shell reaches it.
#[derive(Debug)]
pub struct Member<P> {
    /// The session; stands here too because fan-out compares it for each receiver.
    pub session: SessionId,
    /// Who it is.
    pub identity: std::sync::Arc<Identity>,
    /// The shell's handle.
    pub peer: P,
}

impl<P: Clone> Clone for Member<P> {
    fn clone(&self) -> Self {
        Self { session: self.session, identity: std::sync::Arc::clone(&self.identity), peer: self.peer.clone() }
    }
}
