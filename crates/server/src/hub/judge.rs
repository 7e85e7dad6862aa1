//! Who is asked about a subscriber: nobody, everybody is let in, a list of tokens, an HTTP endpoint of the operator, or
//! their own function.
//!
//! What follows from a verdict is decided by `stentor_websub::authenticator`. Without an answer in time nobody is
//! subscribed (I7): the subscriber gets 503.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::header::{self, HeaderValue};
use hyper::{HeaderMap, Method};
use stentor_websub::authenticator::forward::{self, Outcome, Sender};
use stentor_websub::authenticator::token::Tokens;
use stentor_websub::authenticator::{Identity, TopicVerdict, Verdict};
use stentor_websub::request::Intent;
use tokio::sync::oneshot;

use super::door::{Asked, Closed, Command, Hub};
use crate::courier::{AnswerLimit, Courier, Parcel, Return};
use crate::sidecar::{Question, Sidecar};

/// Who is asked.
#[derive(Debug)]
pub enum Judge {
    /// Nobody: every subscription is denied.
    Nobody,
    /// Nobody, and everybody may.
    Everybody,
    /// A list of bearer tokens.
    Tokens(Tokens),
    /// An endpoint of the operator.
    Forward {
        /// Where.
        url: Arc<str>,
        /// How long it may take.
        timeout: Duration,
    },
    /// A Python function of the operator.
    Function(Sidecar),
}

impl Judge {
    /// Asks about a request.
    pub(super) async fn ask(&self, intent: Arc<Intent>, asked: Asked, hub: &Hub) -> Verdict {
        match self {
            Self::Nobody => Verdict::Nobody,
            Self::Everybody => {
                Verdict::Authenticated { identity: Identity::new("anyone"), topic: TopicVerdict::Allowed }
            }
            Self::Tokens(tokens) => {
                let mut shown = asked.headers.get_all(header::AUTHORIZATION).iter();
                let (first, second) = (shown.next(), shown.next());
                // Two of them mean different things to different readers.
                let only = first.filter(|_| second.is_none()).map(lossy);
                tokens.judge(only.as_deref(), intent.pair.topic.topic())
            }
            Self::Forward { .. } => {
                let (reply, verdict) = oneshot::channel();
                let asked = Box::new(asked);
                match hub.order(Command::Consult { intent, asked, reply }).await {
                    Ok(()) => verdict.await.unwrap_or(Verdict::Unavailable),
                    Err(Closed) => Verdict::Unavailable,
                }
            }
            Self::Function(sidecar) => sidecar.ask(question(&intent, asked)).await,
        }
    }

    /// Asks an endpoint; `courier` goes wherever the operator wrote. The other kinds are asked by [`Self::ask`].
    pub(super) async fn consult(&self, intent: &Intent, asked: &Asked, courier: &Courier) -> Verdict {
        let Self::Forward { url, timeout } = self else { return Verdict::Unavailable };
        let fields = asked.headers.iter();
        let told: Vec<_> = fields.map(|(name, value)| (name.as_str().to_owned(), lossy(value))).collect();
        let query = asked.target.split_once('?').map_or("", |(_, query)| query);
        let sender = Sender { client: &asked.client, headers: &told, query, form: &asked.body };
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let parcel = Parcel {
            method: Method::POST,
            url: Arc::clone(url),
            headers,
            body: Bytes::from(forward::question(intent, &sender)),
            timeout: *timeout,
            answer: AnswerLimit::Whole(forward::ANSWER_BYTES_MAX),
        };
        forward::judge(outcome(courier.send(parcel).await), intent)
    }

    /// Ends what works for it.
    pub(super) async fn stop(&self) {
        if let Self::Function(sidecar) = self {
            sidecar.stop().await;
        }
    }
}

fn lossy(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

fn question(intent: &Intent, asked: Asked) -> Question {
    Question {
        topic: intent.pair.topic.topic().as_str().to_owned(),
        method: asked.method.to_string(),
        target: asked.target,
        scheme: asked.scheme.to_owned(),
        http_version: asked.http_version.to_owned(),
        client: Some(asked.client).filter(|client| client != "-"),
        fields: asked.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect(),
        body: asked.body,
    }
}

fn outcome(answer: Return) -> Outcome {
    match answer {
        Return::Answered(answer) => {
            let text = |value: &HeaderValue| value.to_str().map(str::to_owned).ok();
            let headers = answer.headers.iter().filter_map(|(name, value)| Some((name.to_string(), text(value)?)));
            Outcome::Answered { status: answer.status, headers: headers.collect(), body: answer.body.to_vec() }
        }
        Return::NotSent(_) | Return::NoAnswer(_) => Outcome::Silence,
        Return::TooLong => Outcome::TooLong,
    }
}
