//! The administration of the hubs, for whoever has its token: subscriptions, and publications that were given up.

use std::sync::Arc;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use stentor_store::{State, Timestamp};
use stentor_websub::address;

use super::intake;
use super::reply::{self, Reply};
use super::serve::Client;
use super::watch::Token;
use crate::hub::{AdminFault, DeadView, Hub, SubscriptionView};

/// Octets of a request's body: a reason.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// Entries of one page when nothing is asked for.
const PAGE_ENTRIES: usize = 100;

/// Entries of one page at most.
const PAGE_ENTRIES_MAX: usize = 1000;

/// The administration on a path.
#[derive(Debug)]
pub struct AdminService {
    /// What has to be shown.
    pub token: Token,
    /// The hubs of the node.
    pub hubs: Vec<Arc<Hub>>,
}

/// Why a request is not served.
struct Fault(u16, String);

impl From<AdminFault> for Fault {
    fn from(fault: AdminFault) -> Self {
        let status = match fault {
            AdminFault::UnknownSubscription | AdminFault::UnknownDead => 404,
            AdminFault::NotReplayed => 409,
            AdminFault::Store(_) | AdminFault::Waits | AdminFault::Closing => 503,
        };
        Self(status, fault.to_string())
    }
}

/// What a path names below that of the service.
struct Place<'a> {
    hub: &'a Arc<Hub>,
    kind: &'a str,
    id: Option<u64>,
    verb: Option<&'a str>,
}

impl AdminService {
    pub(super) async fn answer(&self, request: &mut Request<Incoming>, rest: &str, client: &Client) -> Reply {
        if !self.token.is_shown(request.headers()) {
            let mut reply = fault(401, "this path takes the token of its configuration, as Authorization: Bearer");
            reply.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            return reply;
        }
        match self.serve(request, rest, client).await {
            Ok((status, body)) => reply::json(status, Bytes::from(body.to_string())),
            Err(Fault(status, sentence)) => fault(status, &sentence),
        }
    }

    async fn serve(&self, request: &mut Request<Incoming>, rest: &str, client: &Client) -> Result<(u16, Value), Fault> {
        let decode = |part: &str| percent_decode_str(part).decode_utf8().map(std::borrow::Cow::into_owned);
        let parts: Result<Vec<String>, _> = rest.trim_end_matches('/').split('/').map(decode).collect();
        let parts = parts.map_err(|_| Fault(400, "the path is not UTF-8".to_owned()))?;
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        if parts == ["hubs"] {
            only(request.method(), &Method::GET)?;
            return Ok((200, self.hubs().await));
        }
        let place = self.place(&parts)?;
        let hub = place.hub;
        let method = request.method().clone();
        let query = request.uri().query().unwrap_or_default().to_owned();
        match (place.kind, place.id, place.verb) {
            ("subscriptions", None, None) => {
                only(&method, &Method::GET)?;
                subscriptions(hub, &query).await
            }
            ("subscriptions", Some(id), None) if method == Method::DELETE => {
                hub.remove(id).await?;
                Ok((200, json!({ "removed": id })))
            }
            ("subscriptions", Some(id), None) => {
                only(&method, &Method::GET)?;
                Ok((200, subscription(&hub.show(id).await?)))
            }
            ("subscriptions", Some(id), Some("deny")) => {
                only(&method, &Method::POST)?;
                let reason = reason(request, client).await?;
                hub.deny(id, reason).await?;
                Ok((200, json!({ "denied": id })))
            }
            ("dead", None, None) => {
                only(&method, &Method::GET)?;
                dead(hub, &query).await
            }
            ("dead", Some(id), None) => {
                only(&method, &Method::DELETE)?;
                hub.forget(id).await?;
                Ok((200, json!({ "forgotten": id })))
            }
            ("dead", Some(id), Some("replay")) => {
                only(&method, &Method::POST)?;
                hub.replay(id).await?;
                Ok((202, json!({ "replaying": id })))
            }
            _ => Err(unknown()),
        }
    }

    async fn hubs(&self) -> Value {
        let mut hubs = Vec::new();
        for hub in &self.hubs {
            let numbers = hub.numbers().await;
            let status = hub.store().status();
            hubs.push(json!({
                "name": hub.name().as_str(),
                "hub_url": hub.options().hub_url,
                "subscriptions": numbers.subscriptions,
                "requests_under_way": numbers.intents,
                "in_flight": numbers.in_flight,
                "backoffs": numbers.backoffs,
                "breakers_open": numbers.breakers_open,
                "accepted": numbers.accepted,
                "delivered": numbers.delivered,
                "failed_attempts": numbers.failed,
                "dead": numbers.dead,
                "gone": numbers.gone,
                "leases_ended": numbers.leases_ended,
                "log_end": status.end.get(),
                "log_bytes": status.log_bytes,
            }));
        }
        json!({ "hubs": hubs })
    }

    fn place<'a>(&'a self, parts: &[&'a str]) -> Result<Place<'a>, Fault> {
        let (name, kind, rest) = match parts {
            ["hubs", name, kind, rest @ ..] if rest.len() <= 2 => (*name, *kind, rest),
            _ => return Err(unknown()),
        };
        let hub = self.hubs.iter().find(|hub| hub.name().as_str() == name);
        let hub = hub.ok_or_else(|| Fault(404, format!("there is no hub {name:?} on this node")))?;
        let id =
            rest.first().map(|id| id.parse().map_err(|_| Fault(400, format!("{id:?} is no number")))).transpose()?;
        Ok(Place { hub, kind, id, verb: rest.get(1).copied() })
    }
}

fn unknown() -> Fault {
    Fault(404, "there is nothing here; see hubs, hubs/NAME/subscriptions and hubs/NAME/dead".to_owned())
}

fn only(method: &Method, expected: &Method) -> Result<(), Fault> {
    if method == expected { Ok(()) } else { Err(Fault(405, format!("the method has to be {expected}"))) }
}

fn fault(status: u16, sentence: &str) -> Reply {
    reply::json(status, Bytes::from(json!({ "error": sentence }).to_string()))
}

/// One value of a query.
fn value_of<'q>(query: &'q str, wanted: &str) -> Option<std::borrow::Cow<'q, str>> {
    let value = query.split('&').find_map(|pair| pair.split_once('=').filter(|(name, _)| *name == wanted))?.1;
    Some(percent_decode_str(value).decode_utf8_lossy())
}

fn page(query: &str) -> Result<(u64, usize), Fault> {
    let number = |name: &str| {
        let text = value_of(query, name);
        text.map(|text| text.parse::<u64>().map_err(|_| Fault(400, format!("{name} is no number")))).transpose()
    };
    let limit = number("limit")?.map_or(PAGE_ENTRIES, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    if !(1..=PAGE_ENTRIES_MAX).contains(&limit) {
        return Err(Fault(400, format!("limit has to be from 1 to {PAGE_ENTRIES_MAX}")));
    }
    Ok((number("after")?.unwrap_or_default(), limit))
}

/// Reads until a page is full or nothing is left, and where the next one begins: nowhere when nothing is left.
async fn fill<T>(
    (mut after, limit): (u64, usize),
    id: impl Fn(&T) -> u64,
    read: impl AsyncFn(u64, usize) -> Result<Vec<T>, AdminFault>,
) -> Result<(Vec<T>, Option<u64>), Fault> {
    let mut page = Vec::new();
    loop {
        // One more than is shown tells whether there is a next page.
        let more = read(after, limit + 1 - page.len()).await?;
        let Some(last) = more.last() else { return Ok((page, None)) };
        after = id(last);
        page.extend(more);
        if page.len() > limit {
            page.truncate(limit);
            let next = page.last().map(id);
            return Ok((page, next));
        }
    }
}

async fn subscriptions(hub: &Hub, query: &str) -> Result<(u16, Value), Fault> {
    let page = page(query)?;
    let topic = value_of(query, "topic").map(|text| address::topic(&text)).transpose();
    let topic = topic.map_err(|fault| Fault(400, format!("topic {fault}")))?;
    let read = async |after, limit| hub.list(topic.clone(), after, limit).await;
    let (found, next) = fill(page, |one: &SubscriptionView| one.stored.id.0, read).await?;
    Ok((200, json!({ "subscriptions": found.iter().map(subscription).collect::<Vec<_>>(), "next": next })))
}

async fn dead(hub: &Hub, query: &str) -> Result<(u16, Value), Fault> {
    let read = async |after, limit| hub.dead(after, limit).await;
    let (found, next) = fill(page(query)?, |one: &DeadView| one.id, read).await?;
    Ok((200, json!({ "dead": found.iter().map(dead_publication).collect::<Vec<_>>(), "next": next })))
}

async fn reason(request: &mut Request<Incoming>, client: &Client) -> Result<Option<String>, Fault> {
    let body = intake::read(request.body_mut(), BODY_BYTES_MAX, client).await;
    let body = body.map_err(|refusal| Fault(refusal.status(), refusal.to_string()))?;
    if body.is_empty() {
        return Ok(None);
    }
    let value: Value = serde_json::from_slice(&body).map_err(|_| Fault(400, "the body is not JSON".to_owned()))?;
    match value.get("reason") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(reason)) => Ok(Some(reason.clone())),
        Some(_) => Err(Fault(400, "reason has to be a string".to_owned())),
    }
}

fn time(at: Timestamp) -> Value {
    let millis = i64::try_from(at.0).unwrap_or(i64::MAX);
    jiff::Timestamp::from_millisecond(millis).map_or(Value::Null, |at| json!(format!("{at:.3}")))
}

fn subscription(view: &SubscriptionView) -> Value {
    let SubscriptionView { stored, callback, delivery } = view;
    let state = match &stored.state {
        State::Active => json!("active"),
        State::Denied { reason } => json!(format!("denied: {reason}")),
        State::Gone { reason } => json!(format!("gone: {reason}")),
    };
    let outcome = stored.outcome.as_ref();
    json!({
        "id": stored.id.0,
        "topic": stored.topic.topic.as_str(),
        "callback": callback,
        "identity": stored.identity,
        "has_secret": stored.secret.is_some(),
        "state": state,
        "created": time(stored.created),
        "verified": stored.verified.map(time),
        "lease_end": time(stored.lease_end),
        "position": delivery.as_ref().map_or(stored.position.get(), |delivery| delivery.cursor),
        "last_failure": outcome.map(|one| json!({ "at": time(one.at), "status": one.status, "text": one.text })),
        "delivery": delivery.as_ref().map(|delivery| json!({
            "state": delivery.state,
            "offset": delivery.offset,
            "attempt": delivery.attempt,
            "next_attempt_in_seconds": delivery.next_attempt_in.map(|wait| wait.as_secs_f64()),
        })),
    })
}

fn dead_publication(view: &DeadView) -> Value {
    json!({
        "id": view.id,
        "subscription": view.subscription,
        "topic": view.topic,
        "offset": view.offset,
        "publication": view.publication,
        "at": time(view.at),
        "attempts": view.attempts,
        "reason": view.reason,
        "content_type": view.content_type,
        "bytes": view.bytes,
    })
}
