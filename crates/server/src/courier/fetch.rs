//! GETs content that is somewhere else, through redirects.

use std::sync::Arc;

use bytes::Bytes;
use hyper::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, HeaderValue, LOCATION};
use hyper::{HeaderMap, Method};
use stentor_delivery::{SendFault, WaitFault};
use stentor_websub::message::{Fetch, FetchFault, FetchOutcome, Redirects, Step};
use stentor_websub::options::FetchOptions;
use tokio::time::Instant;

use super::{Answer, AnswerLimit, Courier, Parcel, Return};

/// GETs the content, once. Redirects are followed as often as the options allow, each of them past the guard, and all of
/// it together takes no longer than `options.timeout`.
pub async fn fetch(courier: &Courier, fetch: &Fetch, options: &FetchOptions) -> FetchOutcome {
    let deadline = Instant::now() + options.timeout;
    let mut redirects = Redirects::new(&fetch.url, options);
    loop {
        let answer = match courier.send(get(redirects.url(), deadline, options)).await {
            Return::Answered(answer) => answer,
            Return::NotSent(SendFault::Address) => return FetchOutcome::Failed(FetchFault::Blocked),
            Return::NoAnswer(WaitFault::Reset) => return FetchOutcome::Failed(FetchFault::Broken),
            Return::NoAnswer(WaitFault::Malformed) => return FetchOutcome::Failed(FetchFault::Malformed),
            Return::NotSent(_) | Return::NoAnswer(WaitFault::Timeout) => {
                return FetchOutcome::Failed(FetchFault::Silence);
            }
            Return::TooLong => return FetchOutcome::Failed(FetchFault::TooLong),
        };
        // A URL is ASCII; a field that is not leads nowhere, like one that is missing.
        let location = answer.headers.get(LOCATION).and_then(|value| value.to_str().ok());
        match redirects.follow(answer.status, location) {
            Ok(Step::Further) => {}
            Ok(Step::Last) => return outcome(&answer),
            Err(fault) => return FetchOutcome::Failed(fault),
        }
    }
}

fn get(url: &str, deadline: Instant, options: &FetchOptions) -> Parcel {
    let mut headers = HeaderMap::with_capacity(1);
    // What is sent on is what the publisher has; compressed octets would need a field that subscribers do not get.
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    Parcel {
        method: Method::GET,
        url: Arc::from(url),
        headers,
        body: Bytes::new(),
        timeout: deadline.saturating_duration_since(Instant::now()),
        answer: AnswerLimit::Content(options.bytes_max),
    }
}

fn outcome(answer: &Answer) -> FetchOutcome {
    let is_packed = answer.headers.get_all(CONTENT_ENCODING).iter().any(|value| value != "identity");
    if is_packed && (200..300).contains(&answer.status) {
        return FetchOutcome::Failed(FetchFault::Encoded);
    }
    let content_type = answer.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).map(str::to_owned);
    FetchOutcome::Answered { status: answer.status, content_type, body: answer.body.to_vec() }
}
