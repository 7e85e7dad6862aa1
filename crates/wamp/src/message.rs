//! The messages of WAMP, as the router sees them: [`ClientMessage`] comes in, [`RouterMessage`] goes out.
//!
//! Options and details are parsed; payloads are slices of the octets that arrived, because routing needs nothing of them.

use std::borrow::Cow;

use stentor_model::{InvocationId, PublicationId, RegistrationId, RequestId, SessionId, SubscriptionId};

use crate::codec::Serializer;
use crate::value::Dict;

/// The tail of a message: positional and keyword arguments in the octets of one serializer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payload<'a> {
    /// The serializer whose octets these are.
    pub serializer: Serializer,
    /// One whole array, or nothing when the message had none.
    pub args: Option<&'a [u8]>,
    /// One whole dictionary, or nothing when the message had none.
    pub kwargs: Option<&'a [u8]>,
}

/// What a client may send to a router.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the fields are those of the message in the line above")]
pub enum ClientMessage<'a> {
    /// `[1, Realm, Details]`
    Hello { realm: Cow<'a, str>, details: Dict },
    /// `[3, Details, Reason]`
    Abort { details: Dict, reason: Cow<'a, str> },
    /// `[5, Signature, Extra]`
    Authenticate { signature: Cow<'a, str>, extra: Dict },
    /// `[6, Details, Reason]`
    Goodbye { details: Dict, reason: Cow<'a, str> },
    /// `[8, INVOCATION, Request, Details, Error, Args?, Kwargs?]`: the only ERROR a client may send.
    Error { invocation: InvocationId, details: Dict, error: Cow<'a, str>, payload: Payload<'a> },
    /// `[16, Request, Options, Topic, Args?, Kwargs?]`
    Publish { request: RequestId, options: Dict, topic: Cow<'a, str>, payload: Payload<'a> },
    /// `[32, Request, Options, Topic]`
    Subscribe { request: RequestId, options: Dict, topic: Cow<'a, str> },
    /// `[34, Request, Subscription]`
    Unsubscribe { request: RequestId, subscription: SubscriptionId },
    /// `[48, Request, Options, Procedure, Args?, Kwargs?]`
    Call { request: RequestId, options: Dict, procedure: Cow<'a, str>, payload: Payload<'a> },
    /// `[49, Request, Options]`
    Cancel { request: RequestId, options: Dict },
    /// `[64, Request, Options, Procedure]`
    Register { request: RequestId, options: Dict, procedure: Cow<'a, str> },
    /// `[66, Request, Registration]`
    Unregister { request: RequestId, registration: RegistrationId },
    /// `[70, Invocation, Options, Args?, Kwargs?]`
    Yield { invocation: InvocationId, options: Dict, payload: Payload<'a> },
}

/// The request that an ERROR answers, by its message code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum RequestKind {
    /// PUBLISH
    Publish = 16,
    /// SUBSCRIBE
    Subscribe = 32,
    /// UNSUBSCRIBE
    Unsubscribe = 34,
    /// CALL
    Call = 48,
    /// REGISTER
    Register = 64,
    /// UNREGISTER
    Unregister = 66,
}

/// What a router may send to a client.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the fields are those of the message in the line above")]
pub enum RouterMessage<'a> {
    /// `[2, Session, Details]`
    Welcome { session: SessionId, details: Dict },
    /// `[3, Details, Reason]`; the sentence becomes `Details.message`.
    Abort { message: Cow<'a, str>, reason: &'static str },
    /// `[4, AuthMethod, Extra]`
    Challenge { method: &'static str, extra: Dict },
    /// `[6, {}, Reason]`
    Goodbye { reason: Cow<'a, str> },
    /// `[8, Kind, Request, Details, Error, Args?, Kwargs?]`
    Error { kind: RequestKind, request: RequestId, details: Dict, error: Cow<'a, str>, payload: Payload<'a> },
    /// `[17, Request, Publication]`
    Published { request: RequestId, publication: PublicationId },
    /// `[33, Request, Subscription]`
    Subscribed { request: RequestId, subscription: SubscriptionId },
    /// `[35, Request]`
    Unsubscribed { request: RequestId },
    /// `[36, Subscription, Publication, Details, Args?, Kwargs?]`
    Event { subscription: SubscriptionId, publication: PublicationId, details: &'a Dict, payload: Payload<'a> },
    /// `[50, Request, Details, Args?, Kwargs?]`
    Result { request: RequestId, details: Dict, payload: Payload<'a> },
    /// `[65, Request, Registration]`
    Registered { request: RequestId, registration: RegistrationId },
    /// `[67, Request]`
    Unregistered { request: RequestId },
    /// `[68, Invocation, Registration, Details, Args?, Kwargs?]`
    Invocation { invocation: InvocationId, registration: RegistrationId, details: Dict, payload: Payload<'a> },
    /// `[69, Invocation, Options]`
    Interrupt { invocation: InvocationId, options: Dict },
}
