//! Between a hub and a realm: what is published on a bridged URI becomes a publication of the hub, and what the log has on a
//! bridged topic becomes events, in the order of the log whoever published.
//!
//! To webhooks and streams an event of WAMP is a JSON object, `{"topic": URI, "args": [...], "kwargs": {...}}`. To WAMP
//! sessions a publication of the hub has one argument: the value where the content is JSON, the text where it is text, and
//! Base64 where it is neither; `kwargs` name its topic and content type.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashSet;
use std::rc::Rc;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use stentor_model::SessionId;
use stentor_store::{Content, Draft, Entry, IdempotencyKey, StoreError, Timestamp};
use stentor_wamp::codec::{self, Serializer};
use stentor_wamp::identity::Identity;
use stentor_wamp::message::Payload;
use stentor_wamp::publish_options::Filter;
use stentor_wamp::router::Refusal;
use stentor_wamp::uri::reason;
use stentor_wamp::value::{Dict, Value};
use tokio::sync::mpsc;
use tracing::warn;

use super::desk::Desk;
use super::publish::PublishFault;
use crate::realm::{Crosser, Realm, Rule, Terms};

/// Publications of sessions that may wait for the log.
pub const CROSSERS_MAX: usize = 4096;

/// The name under which the terms of an event are kept with its publication.
const TERMS: &str = "wamp";

/// The realm's side of a bridge.
#[derive(Debug)]
pub struct Bridge {
    /// Where events go.
    pub realm: Arc<Realm>,
    /// As whom publications of the hub are published there.
    pub identity: Arc<Identity>,
    /// Which topics are which URIs.
    pub rules: Vec<Rule>,
    /// What is published there on those URIs.
    pub crossers: mpsc::Receiver<Crosser>,
}

/// The body of an event for those who do not speak WAMP.
#[derive(Serialize, Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    topic: Cow<'a, str>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    args: Option<&'a RawValue>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    kwargs: Option<&'a RawValue>,
}

/// The terms of an event as they are kept.
#[derive(Default, Serialize, Deserialize, PartialEq, Eq, Debug)]
#[serde(default)]
struct KeptTerms {
    uri: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    publisher: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    publisher_authid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    publisher_authrole: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    without: Option<u64>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    retain: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    filter: Option<KeptFilter>,
}

/// Who is left out. Lists of those who alone may receive were refused before: nobody outside the realm could be held to them.
#[derive(Default, Serialize, Deserialize, PartialEq, Eq, Debug)]
#[serde(default)]
struct KeptFilter {
    exclude: Vec<u64>,
    exclude_authid: Vec<String>,
    exclude_authrole: Vec<String>,
}

impl KeptTerms {
    fn new(uri: &str, terms: &Terms) -> Self {
        let text = |name| terms.details.get(name).and_then(Value::as_str).map(str::to_owned);
        let numbers = |sessions: &[SessionId]| sessions.iter().map(|session| session.get()).collect();
        Self {
            uri: uri.to_owned(),
            publisher: terms.details.get("publisher").and_then(Value::as_u64),
            publisher_authid: text("publisher_authid"),
            publisher_authrole: text("publisher_authrole"),
            without: terms.without.map(SessionId::get),
            retain: terms.retain,
            filter: terms.filter.as_ref().map(|filter| KeptFilter {
                exclude: numbers(&filter.exclude),
                exclude_authid: filter.exclude_authid.clone(),
                exclude_authrole: filter.exclude_authrole.clone(),
            }),
        }
    }

    fn terms(&self) -> Terms {
        let mut details = Dict::new();
        if let Some(publisher) = self.publisher {
            details.set("publisher", publisher);
        }
        for (name, value) in
            [("publisher_authid", &self.publisher_authid), ("publisher_authrole", &self.publisher_authrole)]
        {
            if let Some(value) = value {
                details.set(name, value.as_str());
            }
        }
        let sessions = |numbers: &[u64]| numbers.iter().filter_map(|number| SessionId::new(*number)).collect();
        let filter = self.filter.as_ref().map(|filter| {
            Box::new(Filter {
                exclude: sessions(&filter.exclude),
                exclude_authid: filter.exclude_authid.clone(),
                exclude_authrole: filter.exclude_authrole.clone(),
                ..Filter::default()
            })
        });
        Terms { details, without: self.without.and_then(SessionId::new), filter, retain: self.retain }
    }
}

/// Takes what is published in the realm, for ever.
pub(super) async fn receive(desk: Rc<Desk>, mut crossers: mpsc::Receiver<Crosser>) {
    while let Some(crosser) = crossers.recv().await {
        cross(&desk, crosser);
    }
}

/// Appends an event. The store takes appends in the order in which they are asked for, so only the answer is waited for.
fn cross(desk: &Rc<Desk>, crosser: Crosser) {
    let (draft, reply) = match draft(desk, &crosser) {
        Ok(draft) => (draft, crosser.reply),
        // A session that did not ask to hear of it has dropped the other end, here and below.
        Err(refusal) => return drop(crosser.reply.send(Err(refusal))),
    };
    let place = match desk.hub.lines().join_if_any(&draft.topic.topic) {
        Ok(place) => place,
        Err(_) => return drop(reply.send(Err(refusal(&PublishFault::Crowded)))),
    };
    // Where nobody stands in line, the append is under way when this returns.
    let at_once = place.is_none().then(|| desk.hub.begin_append(draft.clone()));
    let desk_of_task = Rc::clone(desk);
    desk.spawn(async move {
        let _turn = match &place {
            Some(place) => Some(place.turn().await),
            None => None,
        };
        let appended = match at_once {
            Some(appended) => appended.await,
            None => desk_of_task.hub.append(draft).await,
        };
        drop(reply.send(appended.map(|receipt| receipt.publication).map_err(|fault| refusal(&fault))));
    });
}

fn draft(desk: &Desk, crosser: &Crosser) -> Result<Draft, Refusal> {
    let unfit = |sentence: &'static str| Refusal::new(reason::INVALID_ARGUMENT, sentence);
    let idempotency = crosser.idempotency.as_deref().map(IdempotencyKey::parse).transpose();
    let kept = serde_json::to_string(&KeptTerms::new(&crosser.uri, &crosser.terms));
    let raw = |octets: &Option<Bytes>| octets.as_deref().and_then(|octets| serde_json::from_slice(octets).ok());
    let (args, kwargs): (Option<Box<RawValue>>, _) = (raw(&crosser.payload.args), raw(&crosser.payload.kwargs));
    let body = Body { topic: Cow::Borrowed(&crosser.uri), args: args.as_deref(), kwargs: kwargs.as_deref() };
    let body = serde_json::to_vec(&body).map_err(|_| unfit("the payload cannot be written in JSON"))?;
    Ok(Draft {
        topic: desk.of_store(&crosser.topic),
        publication: crosser.publication,
        at: Timestamp(desk.unix_millis()),
        content: Content {
            content_type: "application/json".into(),
            extras: vec![(TERMS.into(), kept.map_err(|_| unfit("the options cannot be kept"))?.into())],
            body: Bytes::from(body),
        },
        idempotency: idempotency.map_err(|_| unfit("Idempotency-Key has to have 1 to 255 octets"))?,
    })
}

fn refusal(fault: &PublishFault) -> Refusal {
    let error = match fault {
        PublishFault::Store(StoreError::Full(_)) => reason::LOG_FULL,
        PublishFault::Store(StoreError::TooLarge(_) | StoreError::KeyReused) => reason::INVALID_ARGUMENT,
        _ => reason::UNAVAILABLE,
    };
    Refusal::new(error, fault.to_string())
}

impl Desk {
    /// Hands a publication of the log to the sessions of the realm.
    pub(super) fn bridge(&self, entry: &Entry) {
        let Some(outlet) = &self.outlet else { return };
        let kept = entry.content.extras.iter().find(|(name, _)| &**name == TERMS);
        match kept.map(|(_, text)| serde_json::from_str::<KeptTerms>(text)) {
            Some(Ok(kept)) => {
                let body = match serde_json::from_slice::<Body<'_>>(&entry.content.body) {
                    Ok(body) => body,
                    Err(error) => return warn!(hub = self.name(), %error, "a bridged event cannot be read"),
                };
                let octets = |raw: Option<&'_ RawValue>| raw.map(|raw| raw.get().as_bytes().to_vec());
                let (args, kwargs) = (octets(body.args), octets(body.kwargs));
                let payload =
                    Payload { serializer: Serializer::Json, args: args.as_deref(), kwargs: kwargs.as_deref() };
                self.shard.meters.publications.increment();
                outlet.realm.distribute(&self.shard, entry.publication, &kept.uri, &kept.terms(), payload);
            }
            Some(Err(error)) => warn!(hub = self.name(), %error, "the terms of a bridged event cannot be read"),
            None => self.announce(outlet, entry),
        }
    }

    /// A publication that did not come from the realm.
    fn announce(&self, outlet: &Outlet, entry: &Entry) {
        let Some(uri) = outlet.rules.iter().find_map(|rule| rule.uri(&entry.topic.topic)) else { return };
        let args = format!("[{}]", value(entry));
        let kwargs = serde_json::json!({
            "topic": entry.topic.topic.as_str(),
            "content_type": &*entry.content.content_type,
        })
        .to_string();
        let payload =
            Payload { serializer: Serializer::Json, args: Some(args.as_bytes()), kwargs: Some(kwargs.as_bytes()) };
        let by = &outlet.identity;
        if let Err(refusal) = outlet.realm.announce(&self.shard, by, &uri, entry.publication, payload) {
            // Once for each: it is the configuration that does not fit.
            let mut told = outlet.told.borrow_mut();
            if told.len() < TOLD_MAX && told.insert(uri.clone()) {
                let reason = &refusal.message;
                warn!(hub = self.name(), uri, %reason, "the bridge's role may not publish there: no session gets what the hub does");
            }
        }
    }
}

/// The realm's side, without the queue.
#[derive(Debug)]
pub(super) struct Outlet {
    pub(super) realm: Arc<Realm>,
    pub(super) identity: Arc<Identity>,
    pub(super) rules: Vec<Rule>,
    /// URIs of which the log has said that they reach no session.
    pub(super) told: RefCell<HashSet<String>>,
}

/// URIs that are kept in mind for the log.
const TOLD_MAX: usize = 1000;

/// The content as a value of JSON.
fn value(entry: &Entry) -> String {
    let Content { content_type, body, .. } = &entry.content;
    let kind = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if (kind == "application/json" || kind.ends_with("+json"))
        && let Ok(raw) = serde_json::from_slice::<&RawValue>(body)
        // What other serializers cannot say would reach some sessions and not others.
        && codec::transcode(Serializer::Json, Serializer::Msgpack, raw.get().as_bytes(), &mut Vec::new()).is_ok()
    {
        return raw.get().to_owned();
    }
    let text = std::str::from_utf8(body).map_or_else(|_| STANDARD.encode(body), str::to_owned);
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_come_back() {
        let mut details = Dict::new();
        details.set("publisher", 7_u64);
        details.set("publisher_authrole", "anonymous");
        let session = |raw| SessionId::new(raw).unwrap();
        let filter = Filter { exclude: vec![session(3)], exclude_authrole: vec!["a".to_owned()], ..Filter::default() };
        for given in [
            Terms::default(),
            Terms { details, without: Some(session(7)), filter: Some(Box::new(filter)), retain: true },
        ] {
            let text = serde_json::to_string(&KeptTerms::new("com.x", &given)).unwrap();
            let kept: KeptTerms = serde_json::from_str(&text).unwrap();
            assert_eq!((kept.terms(), kept.uri.as_str()), (given, "com.x"), "{text}");
        }
    }
}
