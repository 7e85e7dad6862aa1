//! The caller: one POST becomes one call, and its result the answer.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::Request;
use hyper::body::Incoming;
use serde_json::value::RawValue;
use stentor_model::SessionId;
use stentor_wamp::codec::Serializer;
use stentor_wamp::identity::Member;
use stentor_wamp::message::Payload;
use tracing::info;

use super::intake;
use super::push::{Conditions, Judged, Submitter, refused};
use super::reply::{self, Reply};
use super::serve::Client;
use crate::fanout::peer::{Caller, Peer};
use crate::fanout::shard::Shard;
use crate::fanout::turnstile::Spent;
use crate::pusher::answer::{self, Refusal, RefusalKind};
use crate::pusher::body::{self, Submission};
use crate::pusher::debug::{self, Ending, Report};
use crate::realm::{Effort, Realm};
use crate::socket::reader::LONG_BYTES;

/// How long a callee may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);

/// The caller.
#[derive(Debug)]
pub struct CallService {
    /// Gate, realm and role.
    pub submitter: Submitter,
}

/// Ends the call when the HTTP client has hung up or the time is over.
struct HangUp<'s> {
    realm: &'s Arc<Realm>,
    session: SessionId,
    shard: &'s Rc<Shard>,
}

impl Drop for HangUp<'_> {
    fn drop(&mut self) {
        self.realm.hang_up(self.session, self.shard);
    }
}

impl CallService {
    pub(super) async fn answer(&self, request: &mut Request<Incoming>, client: &Client, shard: &Rc<Shard>) -> Reply {
        self.submitter
            .answer(request, async |conditions, request| self.post(conditions, request, client, shard).await)
            .await
    }

    async fn post(
        &self,
        conditions: &Arc<Conditions>,
        request: &mut Request<Incoming>,
        http: &Client,
        shard: &Rc<Shard>,
    ) -> Reply {
        let gate = &conditions.gate;
        let query = gate.options().debug.then(|| request.uri().query().unwrap_or_default().to_owned());
        let Judged { client, body, outcome } = self.submitter.judge(conditions, request, http, shard).await;
        let outcome = match outcome {
            Ok(_) => self.call(&body, shard).await.and_then(|result| intake::hold(result, http)),
            Err(refusal) => Err(refusal),
        };
        let (status, ending) = match &outcome {
            Ok(_) => (200, Ending::Called),
            Err(refusal) => (refusal.status(), Ending::Refused(refusal)),
        };
        if let Some(query) = query {
            let signed = gate.signed_parts(&query, &body);
            let line = debug::line(&Report { ending, status, client, signed: signed.as_ref() });
            info!(target: "caller", path = %self.submitter.path, "{line}");
        }
        match outcome {
            Ok(body) => reply::json(200, body),
            Err(refusal) => {
                shard.meters.submissions_refused.increment();
                refused(&refusal)
            }
        }
    }

    async fn call(&self, body: &Bytes, shard: &Rc<Shard>) -> Result<Vec<u8>, Refusal> {
        let submission = if body.len() > LONG_BYTES {
            let octets = body.clone();
            let read = move || body::parse_call(&octets).map(|call| Submission::from(call).lasting(&octets));
            Box::pin(self.submitter.read_aside(read)).await.flatten()?.lend(body)
        } else {
            body::parse_call(body)?.into()
        };
        let payload = Payload { serializer: Serializer::Json, args: submission.args, kwargs: submission.kwargs };
        let (caller, reply) = Caller::new();
        let member = Member {
            // Each request calls under a session id of its own, so that its result finds it.
            session: SessionId::from_random(shard.random()),
            identity: Arc::clone(&self.submitter.identity),
            peer: Peer::Caller(caller),
        };
        let hang_up = HangUp { realm: &self.submitter.realm, session: member.session, shard };
        // The router's own procedures may look at all that there is; one of those calls goes on between two looks at the sockets.
        shard.turnstile.pass(Spent::Little).await;
        let Effort(octets) = self.submitter.realm.call(&member, &submission.topic, payload, shard);
        shard.turnstile.spend(octets);
        let reply = tokio::time::timeout(CALL_TIMEOUT, reply).await;
        drop(hang_up);
        match reply {
            Ok(Ok(message)) => result_of(&message),
            Ok(Err(_)) => Err(Refusal::new(RefusalKind::Unavailable, "the node is going down")),
            Err(_) => {
                let words = format!("the callee did not answer within {} seconds", CALL_TIMEOUT.as_secs());
                Err(Refusal::new(RefusalKind::CalleeTimeout, words))
            }
        }
    }
}

/// Takes a RESULT or an ERROR apart.
fn result_of(message: &[u8]) -> Result<Vec<u8>, Refusal> {
    let unreadable = || Refusal::new(RefusalKind::CalleeFault, "the callee's result cannot be written in JSON");
    let parts: Vec<&RawValue> = serde_json::from_slice(message).map_err(|_| unreadable())?;
    let octets = |at: usize| parts.get(at).map(|part| part.get().as_bytes());
    match octets(0) {
        Some(b"50") => Ok(answer::called(octets(3), octets(4))),
        Some(b"8") => {
            let uri: String = octets(4).and_then(|text| serde_json::from_slice(text).ok()).ok_or_else(unreadable)?;
            Err(Refusal::wamp(&uri, octets(5), octets(6)))
        }
        _ => Err(unreadable()),
    }
}
