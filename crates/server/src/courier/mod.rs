//! Sends requests to strangers, where a guard allows it: webhooks, verifications, content.
//!
//! It knows HTTP as a client speaks it, TLS, names and addresses, and keeps connections that can be used again. It does not
//! know hubs: whether to send, when to try again and what an answer means is the business of those who send. Redirects are
//! followed by [`fetch`] only (WebSub forbids it everywhere else; items 32 and 54 of `stentor_websub::clauses`).
//!
//! A courier lives on one thread and starts its tasks there, so it wants a `LocalSet` around it. It never fails: every
//! ending of a request is a [`Return`], and whoever drops the future of [`Courier::send`] breaks the request off.

mod answer;
mod connection;
mod dial;
mod fetch;
mod goal;
mod lane;
mod notice;
mod parcel;
mod pool;
mod resolve;
mod roots;
mod stream;

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use hyper::Method;
use hyper::header::{CONTENT_LENGTH, HOST, HeaderMap, HeaderValue};
use stentor_delivery::{SendFault, WaitFault};
use stentor_websub::guard::Guard;
use tokio::time::{Instant, timeout_at};

use self::connection::{Connection, Ending, Outgoing};
use self::dial::Dialer;
pub use self::fetch::fetch;
use self::goal::{Goal, Goals};
use self::lane::{Lane, Manner, Unheard};
pub use self::notice::Notice;
pub use self::parcel::{Answer, AnswerLimit, Parcel, Return};
use self::pool::Pool;
pub use self::resolve::{Addresses, Resolve, SystemResolver};
pub use self::roots::{authorities, roots};
use crate::clock::Clock;

/// What a courier is told once.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where requests may go.
    pub guard: Guard,
    /// For finding the address, connecting and agreeing on TLS, all addresses of a host together. A parcel's own limit may
    /// come first.
    pub connect_timeout: Duration,
    /// A connection that nobody used for so long is closed, a quarter of it later at most. Servers close idle
    /// connections as well, and a request sent at that moment is lost; shorter than they wait is safe.
    pub idle_timeout: Duration,
    /// Connections to one host that are kept for later, HTTP/1.1 only: of HTTP/2 there is one.
    pub idle_per_host_max: usize,
    /// The `User-Agent` of requests that do not bring their own. Operators on both sides rely on it for diagnosis.
    pub user_agent: String,
    /// Whose certificates are believed; see [`roots`].
    pub roots: Arc<rustls::RootCertStore>,
}

/// Sends requests where a guard allows it. Cheap to clone.
#[derive(Clone)]
pub struct Courier {
    office: Rc<Office>,
}

struct Office {
    goals: Goals,
    dialer: Dialer,
    pool: Rc<Pool>,
    user_agent: HeaderValue,
    clock: Clock,
}

impl std::fmt::Debug for Courier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Courier").field("idle", &self.office.pool.idle()).finish_non_exhaustive()
    }
}

impl Courier {
    /// A courier that asks the system for addresses, on threads of its own.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self::with_resolver(options, Box::new(SystemResolver::default()))
    }

    /// A courier that asks somebody else for addresses.
    #[must_use]
    pub fn with_resolver(options: Options, resolver: Box<dyn Resolve>) -> Self {
        let visible: String = options.user_agent.chars().filter(|c| matches!(c, ' '..='~')).collect();
        let user_agent = HeaderValue::from_str(&visible).expect("visible ASCII is a field value");
        let pool = Pool::new(options.idle_timeout, options.idle_per_host_max);
        let goals = Goals::new(options.guard.clone());
        let dialer = Dialer::new(options.guard, options.connect_timeout, options.roots, resolver);
        Self { office: Rc::new(Office { goals, dialer, pool, user_agent, clock: Clock::default() }) }
    }

    /// Sends a request and waits for the answer to it, for `parcel.timeout` at most.
    ///
    /// A request of which no octet was sent, because a connection kept from earlier had ended, is sent once more on a new
    /// connection. What may have been received is never repeated here, since only the receiver knows what it did with it.
    pub async fn send(&self, parcel: Parcel) -> Return {
        let (url, timeout) = (Arc::clone(&parcel.url), parcel.timeout);
        self.within(timeout, &url, async |goal, is_sent| self.office.exchange(goal, parcel, is_sent).await).await
    }

    /// Sends a webhook, as [`send`](Self::send) does. Of the answer there is no more than its status and its `Retry-After`.
    pub async fn notify(&self, notice: Notice) -> Return {
        self.within(notice.timeout, &notice.url, async |goal, is_sent| self.office.notify(goal, &notice, is_sent).await)
            .await
    }

    async fn within(
        &self,
        timeout: Duration,
        url: &Arc<str>,
        exchange: impl AsyncFnOnce(&Goal, &Cell<bool>) -> Return,
    ) -> Return {
        let deadline = Instant::now() + timeout;
        let goal = match self.office.goals.of(url) {
            Ok(goal) => goal,
            Err(fault) => return Return::NotSent(fault),
        };
        // Tells, when time is over, on which side of the wire the request was.
        let is_sent = Cell::new(false);
        match timeout_at(deadline, exchange(&goal, &is_sent)).await {
            Ok(result) => result,
            Err(_) if is_sent.get() => Return::NoAnswer(WaitFault::Timeout),
            Err(_) => Return::NotSent(SendFault::Connect),
        }
    }

    /// Connections that wait for their next request, for tests and metrics.
    #[must_use]
    pub fn idle(&self) -> usize {
        self.office.pool.idle()
    }
}

impl Office {
    async fn exchange(&self, goal: &Goal, parcel: Parcel, is_sent: &Cell<bool>) -> Return {
        let limit = parcel.answer;
        let mut request = self.request(goal, parcel);
        if let Some(kept) = self.pool.take(&goal.origin).await {
            match self.ask(goal, kept, request, limit, is_sent).await {
                Ok(result) => return result,
                Err(unsent) => request = unsent,
            }
        }
        // Connecting needs a lot of room and is rare, so that nobody else should carry it.
        Box::pin(self.begin(goal, request, limit, is_sent)).await
    }

    /// Sends on a new connection.
    async fn begin(&self, goal: &Goal, request: Box<Outgoing>, limit: AnswerLimit, is_sent: &Cell<bool>) -> Return {
        let stream = match self.dialer.dial(goal).await {
            Ok(stream) => stream,
            Err(fault) => return Return::NotSent(fault),
        };
        let Some(fresh) = Connection::over(stream).await else { return Return::NotSent(SendFault::Connect) };
        let fresh = self.pool.share(&goal.origin, fresh);
        let result = self.ask(goal, fresh, request, limit, is_sent).await;
        // A server that accepts and hangs up at once has not received anything either.
        result.unwrap_or(Return::NotSent(SendFault::Connect))
    }

    /// By a lane where the server is one for it.
    async fn notify(&self, goal: &Goal, notice: &Notice, is_sent: &Cell<bool>) -> Return {
        if notice.body.len() <= lane::BODY_BYTES_MAX && self.pool.has_lane(&goal.origin) {
            if let Some(lane) = self.pool.take_lane(&goal.origin)
                && let Some(result) = self.tell(goal, lane, notice, is_sent).await
            {
                return result;
            }
            match Box::pin(self.open_lane(goal)).await {
                Ok(Some(lane)) => {
                    // A server that accepts and hangs up at once has not received anything.
                    let result = self.tell(goal, lane, notice, is_sent).await;
                    return result.unwrap_or(Return::NotSent(SendFault::Connect));
                }
                Ok(None) => {}
                Err(fault) => return Return::NotSent(fault),
            }
        }
        Box::pin(self.exchange(goal, notice.parcel(), is_sent)).await
    }

    /// Nothing where the server speaks HTTP/2: that connection is shared then.
    async fn open_lane(&self, goal: &Goal) -> Result<Option<Lane>, SendFault> {
        let stream = self.dialer.dial(goal).await?;
        if !stream.is_http2() {
            return Ok(Some(Lane::new(stream)));
        }
        let connection = Connection::over(stream).await.ok_or(SendFault::Connect)?;
        self.pool.share(&goal.origin, connection);
        Ok(None)
    }

    /// Nothing when no octet of it was sent.
    async fn tell(&self, goal: &Goal, mut lane: Lane, notice: &Notice, is_sent: &Cell<bool>) -> Option<Return> {
        let heard = match lane.tell(goal, &self.user_agent, notice, is_sent).await {
            Ok(heard) => heard,
            Err(Unheard::Unsent) => return None,
            Err(Unheard::Silent(fault)) => return Some(Return::NoAnswer(fault)),
        };
        if matches!(heard.rest, answer::Rest::None) {
            self.pool.put_lane(&goal.origin, lane);
        }
        if heard.manner == Manner::Elaborate {
            self.pool.is_elaborate(&goal.origin);
        }
        let retry_after = heard.retry_after.and_then(|text| answer::retry_after(&text, self.clock.unix()));
        Some(Return::Answered(Answer {
            status: heard.status,
            headers: HeaderMap::new(),
            body: bytes::Bytes::new(),
            retry_after,
        }))
    }

    fn request(&self, goal: &Goal, parcel: Parcel) -> Box<Outgoing> {
        let mut headers = if parcel.is_in_order() { parcel.headers } else { Self::in_order(parcel.headers) };
        let mut own = headers.values_mut();
        if let (Some(host), Some(user_agent)) = (own.next(), own.next()) {
            *host = goal.host_field.clone();
            if user_agent.is_empty() {
                *user_agent = self.user_agent.clone();
            }
        }
        // RFC 9110, section 8.6: whoever waits for a body has to be told that there is none.
        if parcel.body.is_empty() && parcel.method == Method::POST {
            headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        // In one place from here on, since it goes through many hands.
        let mut request = Box::new(Outgoing::new(parcel.body.into()));
        *request.method_mut() = parcel.method;
        *request.headers_mut() = headers;
        request
    }

    /// RFC 9110, section 7.2: `Host` comes first.
    fn in_order(given: HeaderMap) -> HeaderMap {
        let mut headers = Parcel::fields();
        let mut last = None;
        for (name, value) in given {
            // Only the first value of several comes with its name.
            match (name, &last) {
                (Some(name), _) => {
                    if name != HOST {
                        headers.insert(name.clone(), value);
                    }
                    last = Some(name);
                }
                (None, Some(name)) if name != HOST => {
                    headers.append(name.clone(), value);
                }
                (None, _) => {}
            }
        }
        headers
    }

    /// Sends on this connection; gives the request back when nothing of it was sent.
    async fn ask(
        &self,
        goal: &Goal,
        mut connection: Connection,
        request: Box<Outgoing>,
        limit: AnswerLimit,
        is_sent: &Cell<bool>,
    ) -> Result<Return, Box<Outgoing>> {
        let watch = self.pool.watch(&goal.origin, &connection);
        is_sent.set(true);
        let response = match connection.ask(goal, request).await {
            Ok(response) => response,
            Err(Ending::Unsent(request)) => {
                is_sent.set(false);
                watch.ended();
                return Err(request);
            }
            Err(Ending::Silent(fault)) => {
                watch.ended();
                return Ok(Return::NoAnswer(fault));
            }
        };
        watch.answered();
        let unix = self.clock.unix();
        let (result, rest) = if answer::is_whole(&response, limit) {
            (answer::of_head(response, unix), answer::Rest::None)
        } else {
            // Apart, since few webhooks are answered with a body.
            Box::pin(answer::read(response, limit, unix)).await
        };
        if matches!(rest, answer::Rest::None) {
            self.pool.put(&goal.origin, connection);
        }
        Ok(result)
    }
}
