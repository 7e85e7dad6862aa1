//! How commands talk to a node: one request, one answer, over HTTP or HTTPS.
//!
//! The courier does the work. Its guard is open here, because it is the operator who names the goal.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::Method;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use stentor_delivery::{SendFault, WaitFault};
use stentor_websub::address::{Address, Scheme};
use stentor_websub::guard::{Guard, Reach};

use crate::courier::{self, AnswerLimit, Courier, Options, Parcel, Return};

/// Time for a whole request. Publishing may wait until the hub has fetched content or its disk is done.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Octets of an answer: a page of a thousand subscriptions has a tenth of it.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// A body that does not fit the buffers between two programs, so that it may be refused before it is sent.
const LONG_BODY_BYTES: usize = 256 << 10;

/// What is asked of a node.
pub(super) struct Ask {
    pub(super) method: Method,
    pub(super) url: String,
    pub(super) fields: Vec<(HeaderName, String)>,
    pub(super) body: Bytes,
}

/// What a node said.
pub(super) struct Said {
    pub(super) status: u16,
    pub(super) text: String,
}

impl Said {
    pub(super) const fn is_fine(&self) -> bool {
        matches!(self.status, 200..=299)
    }
}

/// Asks, and waits for the answer.
///
/// # Errors
/// A sentence when there is none.
pub(super) fn ask(ask: Ask) -> Result<Said, String> {
    let place = ask.url.split('?').next().unwrap_or_default().to_owned();
    let address = Address::parse(&ask.url).map_err(|fault| format!("the URL {place} {fault}"))?;
    let mut headers = HeaderMap::new();
    for (name, text) in ask.fields {
        let value = HeaderValue::from_str(&text).map_err(|_| format!("the field {name} cannot have this value"))?;
        headers.insert(name, value);
    }
    let parcel = Parcel {
        method: ask.method,
        url: ask.url.into(),
        headers,
        body: ask.body,
        timeout: TIMEOUT,
        answer: AnswerLimit::Whole(ANSWER_BYTES_MAX),
    };
    let octets = parcel.body.len();
    let options = options(address.scheme)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("no runtime can be set up: {error}"))?;
    let local = tokio::task::LocalSet::new();
    let result = local.block_on(&runtime, async { Courier::new(options).send(parcel).await });
    match result {
        Return::Answered(answer) => {
            Ok(Said { status: answer.status, text: String::from_utf8_lossy(&answer.body).into_owned() })
        }
        // Whoever refuses a long body may hang up before all of it is sent, and the refusal is lost on the way.
        Return::NoAnswer(WaitFault::Reset) if octets >= LONG_BODY_BYTES => Err(format!(
            "{place}: {}; perhaps it takes less than these {octets} octets",
            reason(&Return::NoAnswer(WaitFault::Reset))
        )),
        other => Err(format!("{place}: {}", reason(&other))),
    }
}

fn options(scheme: Scheme) -> Result<Options, String> {
    let all = ["0.0.0.0/0", "::/0"].map(|net| net.parse().expect("a network"));
    let roots = match scheme {
        Scheme::Http => rustls::RootCertStore::empty(),
        Scheme::Https => courier::roots(None)?,
    };
    Ok(Options {
        guard: Guard { reach: Reach::Private, allow: all.into(), ports: (1..1024).collect() },
        connect_timeout: Duration::from_secs(10),
        idle_timeout: Duration::from_secs(1),
        idle_per_host_max: 1,
        user_agent: concat!("stentor/", env!("CARGO_PKG_VERSION")).to_owned(),
        roots: Arc::new(roots),
    })
}

fn reason(result: &Return) -> &'static str {
    match result {
        Return::NotSent(SendFault::Dns) => "the name has no address",
        Return::NotSent(SendFault::Address | SendFault::Connect) => "no connection; does the node run?",
        Return::NotSent(SendFault::Tls) => "no agreement on TLS; SSL_CERT_FILE names a certificate to trust",
        Return::NoAnswer(WaitFault::Timeout) => "no answer in time",
        Return::NoAnswer(WaitFault::Reset) => "the connection ended before the answer",
        Return::NoAnswer(WaitFault::Malformed) => "what answers there does not speak HTTP",
        Return::TooLong => "the answer is too long",
        Return::Answered(_) => "answered",
    }
}

/// A text of somebody else's, fit for a terminal: on one line, and without what would move its cursor or turn its line around.
pub(super) fn plain(text: &str) -> String {
    text.trim().chars().map(|c| if steers(c) { ' ' } else { c }).collect()
}

/// Control characters, and those that set the direction of the text behind them (Unicode's `Bidi_Control`).
pub(super) fn steers(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
