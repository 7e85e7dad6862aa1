//! Content that is somewhere else: where to look, which redirects to follow, and what the answer is worth.

use std::fmt;
use std::time::Duration;

use super::Content;
use crate::address::Address;
use crate::headers::ContentType;
use crate::options::FetchOptions;

/// Content to GET. Once for a message, however many subscribers there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// Where.
    pub url: String,
    /// What it is sent as, whatever the answer says.
    pub content_type: Option<ContentType>,
    /// What is sent if nothing can be had there.
    pub fallback: Option<Content>,
}

/// What came of a GET, after the redirects.
#[derive(Clone, PartialEq, Eq)]
pub enum FetchOutcome {
    /// An answer, and its body in full.
    Answered {
        /// The status code.
        status: u16,
        /// The `Content-Type` field.
        content_type: Option<String>,
        /// The body.
        body: Vec<u8>,
    },
    /// No answer, or not a whole one.
    Failed(FetchFault),
}

impl fmt::Debug for FetchOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answered { status, body, .. } => write!(f, "Answered({status}, {} octets)", body.len()),
            Self::Failed(fault) => write!(f, "Failed({fault:?})"),
        }
    }
}

/// Why there is no content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FetchFault {
    /// The status is not 2xx. An error page is never sent on.
    Status(u16),
    /// No connection, or no answer in time.
    Silence,
    /// The connection ended before the whole answer was there.
    Broken,
    /// What came is not HTTP.
    Malformed,
    /// The guard lets nobody talk to it.
    Blocked,
    /// The body is longer than `fetch_bytes_max`.
    TooLong,
    /// More redirects than `fetch_redirects_max`.
    TooManyRedirects,
    /// The content is packed although that was not asked for; subscribers would not be told how.
    Encoded,
    /// A redirect to nowhere, or to something that is no http(s) URL.
    BadRedirect,
}

impl FetchFault {
    /// Whether it may be different a little later.
    const fn is_passing(self) -> bool {
        matches!(self, Self::Silence | Self::Broken | Self::Malformed | Self::Status(408 | 425 | 429 | 500..=599))
    }
}

impl fmt::Display for FetchFault {
    /// What is to be said behind the name of the URL.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Status(status) => return write!(f, "answered with status {status}"),
            Self::Silence => "cannot be reached, or did not answer in time",
            Self::Broken => "ended the connection before its answer was complete",
            Self::Malformed => "answered with something that is not HTTP",
            Self::Blocked => "is not a URL that this hub talks to",
            Self::TooLong => "has longer content than this hub takes",
            Self::TooManyRedirects => "redirects too often",
            Self::Encoded => "answered with a Content-Encoding that was not asked for",
            Self::BadRedirect => "redirects to nowhere",
        })
    }
}

/// What to do after a GET.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// This is the content.
    Content(Content),
    /// Ask again after this while. Until then, later messages of the topic wait, for their order is kept.
    Retry(Duration),
    /// There is no content; the message is recorded as dead.
    Dead(FetchFault),
}

impl Fetch {
    /// Judges the outcome of an attempt, counted from 1. What is fallen back to is used at once, not after retries.
    #[must_use]
    pub fn settle(&self, outcome: FetchOutcome, attempt: u32, options: &FetchOptions) -> Settlement {
        let fault = match outcome {
            FetchOutcome::Answered { body, .. } if body.len() > options.bytes_max => FetchFault::TooLong,
            FetchOutcome::Answered { status: 200..=299, content_type, body } => {
                let told = || content_type.as_deref().and_then(ContentType::parse);
                let content_type = self.content_type.clone().or_else(told).unwrap_or_else(ContentType::octets);
                return Settlement::Content(Content { content_type, body });
            }
            FetchOutcome::Answered { status, .. } => FetchFault::Status(status),
            FetchOutcome::Failed(fault) => fault,
        };
        match &self.fallback {
            Some(content) => Settlement::Content(content.clone()),
            None if fault.is_passing() && attempt < options.attempts_max => {
                let factor = 1_u32.checked_shl(attempt.saturating_sub(1)).unwrap_or(u32::MAX);
                Settlement::Retry(options.delay_first.saturating_mul(factor))
            }
            None => Settlement::Dead(fault),
        }
    }
}

/// Follows the redirects of one GET. Each goal has to pass the guard like the first URL.
#[derive(Clone, Debug)]
pub struct Redirects {
    url: String,
    left: u32,
}

impl Redirects {
    /// Begins at this URL.
    #[must_use]
    pub fn new(url: &str, options: &FetchOptions) -> Self {
        Self { url: url.to_owned(), left: options.redirects_max }
    }

    /// Where the GET goes.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Looks at the head of an answer: whether it leads further, after which [`Redirects::url`] is the goal, or is the last.
    ///
    /// # Errors
    /// When it leads to nowhere, or has been led too often.
    pub fn follow(&mut self, status: u16, location: Option<&str>) -> Result<Step, FetchFault> {
        if !matches!(status, 301 | 302 | 303 | 307 | 308) {
            return Ok(Step::Last);
        }
        let location = location.ok_or(FetchFault::BadRedirect)?;
        self.left = self.left.checked_sub(1).ok_or(FetchFault::TooManyRedirects)?;
        self.url = Address::join(&self.url, location).map_err(|_| FetchFault::BadRedirect)?;
        Ok(Step::Further)
    }
}

/// What the head of an answer means for a GET.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The URL has changed; GET again.
    Further,
    /// This answer counts.
    Last,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(status: u16, content_type: Option<&str>) -> FetchOutcome {
        FetchOutcome::Answered { status, content_type: content_type.map(str::to_owned), body: b"new".to_vec() }
    }

    fn fetch(content_type: Option<&str>, fallback: Option<Content>) -> Fetch {
        Fetch { url: "http://c/".to_owned(), content_type: content_type.and_then(ContentType::parse), fallback }
    }

    fn content(content_type: &str, body: &str) -> Content {
        Content { content_type: ContentType::parse(content_type).unwrap(), body: body.into() }
    }

    #[test]
    fn the_type_of_the_message_wins() {
        let check = |own: Option<&str>, told: Option<&str>, expected: &str| {
            let found = fetch(own, None).settle(answered(200, told), 1, &FetchOptions::default());
            assert_eq!(found, Settlement::Content(content(expected, "new")));
        };
        check(Some("a/b"), Some("c/d"), "a/b");
        check(None, Some("c/d; e=f"), "c/d; e=f");
        check(None, None, "application/octet-stream");
        check(None, Some("nonsense"), "application/octet-stream");
    }

    #[test]
    fn errors_fall_back_or_are_tried_again() {
        let options = FetchOptions { bytes_max: 3, ..FetchOptions::default() };
        let failed = FetchOutcome::Failed;
        let too_long = FetchOutcome::Answered { status: 200, content_type: None, body: vec![0; 4] };
        let outcomes = [
            (answered(404, None), Settlement::Dead(FetchFault::Status(404))),
            (answered(304, None), Settlement::Dead(FetchFault::Status(304))),
            (answered(500, None), Settlement::Retry(Duration::from_secs(1))),
            (answered(429, None), Settlement::Retry(Duration::from_secs(1))),
            (failed(FetchFault::Silence), Settlement::Retry(Duration::from_secs(1))),
            (failed(FetchFault::Broken), Settlement::Retry(Duration::from_secs(1))),
            (failed(FetchFault::Malformed), Settlement::Retry(Duration::from_secs(1))),
            (failed(FetchFault::Blocked), Settlement::Dead(FetchFault::Blocked)),
            (failed(FetchFault::TooManyRedirects), Settlement::Dead(FetchFault::TooManyRedirects)),
            (too_long, Settlement::Dead(FetchFault::TooLong)),
        ];
        let old = content("text/plain", "old");
        for (outcome, expected) in outcomes {
            assert_eq!(fetch(None, None).settle(outcome.clone(), 1, &options), expected);
            let found = fetch(None, Some(old.clone())).settle(outcome, 1, &options);
            assert_eq!(found, Settlement::Content(old.clone()));
        }
    }

    #[test]
    fn attempts_are_bounded() {
        let check = |attempt, expected: Settlement| {
            let found = fetch(None, None).settle(answered(503, None), attempt, &FetchOptions::default());
            assert_eq!(found, expected);
        };
        check(1, Settlement::Retry(Duration::from_secs(1)));
        check(2, Settlement::Retry(Duration::from_secs(2)));
        check(4, Settlement::Retry(Duration::from_secs(8)));
        check(5, Settlement::Dead(FetchFault::Status(503)));
    }

    #[test]
    fn redirects_are_followed_a_few_times() {
        let options = FetchOptions { redirects_max: 2, ..FetchOptions::default() };
        let mut redirects = Redirects::new("http://c/a/b", &options);
        assert_eq!(redirects.follow(200, Some("x")), Ok(Step::Last));
        assert_eq!(redirects.follow(404, None), Ok(Step::Last));
        assert_eq!(redirects.follow(302, Some("x")), Ok(Step::Further));
        assert_eq!(redirects.url(), "http://c/a/x");
        assert_eq!(redirects.follow(301, None), Err(FetchFault::BadRedirect));
        assert_eq!(redirects.clone().follow(301, Some("ftp://x/")), Err(FetchFault::BadRedirect));
        assert_eq!(redirects.follow(308, Some("https://d/")), Ok(Step::Further));
        assert_eq!(redirects.follow(308, Some("/y")), Err(FetchFault::TooManyRedirects));
    }
}
