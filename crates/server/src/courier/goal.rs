//! A URL made ready for requests: the guard's first judgement, whom to connect to, and what stands in the request line.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use foldhash::fast::RandomState;
use hyper::Uri;
use hyper::header::HeaderValue;
use hyper::http::uri;
use stentor_delivery::SendFault;
use stentor_websub::address::{Address, Host, Scheme};
use stentor_websub::guard::Guard;

/// URLs whose parts are remembered. A subscription posts to one URL for weeks, and taking it apart costs a tenth of a
/// request; verifications, whose URLs come once, push everything out now and then.
const GOALS_MAX: usize = 4096;

/// Longer URLs are taken apart each time, so that what is remembered stays small whatever subscribers think of.
const REMEMBERED_BYTES_MAX: usize = 512;

/// Where a request goes.
#[derive(Debug)]
pub(super) struct Goal {
    /// Scheme, host and port in one spelling: requests with the same may share connections.
    pub(super) origin: Rc<str>,
    pub(super) scheme: Scheme,
    pub(super) host: Host<String>,
    pub(super) port: u16,
    pub(super) host_field: HeaderValue,
    /// For HTTP/1.1: path and query (RFC 9112, section 3.2.1).
    pub(super) origin_form: Uri,
    /// For HTTP/2, which makes pseudo fields of it (RFC 9113, section 8.3.1).
    pub(super) absolute_form: Uri,
}

impl Goal {
    fn parse(url: &str, guard: &Guard) -> Result<Self, SendFault> {
        let address = Address::parse(url).map_err(|_| SendFault::Address)?;
        if let Err(blocked) = guard.judge_url(&address) {
            tracing::debug!(authority = address.authority, %blocked, "no request is sent");
            return Err(SendFault::Address);
        }
        Self::new(address).ok_or(SendFault::Address)
    }

    /// Nothing for a host that only a browser takes for one (`a{b`); no name system has such names.
    fn new(address: Address) -> Option<Self> {
        let scheme = match address.scheme {
            Scheme::Http => uri::Scheme::HTTP,
            Scheme::Https => uri::Scheme::HTTPS,
        };
        let target = uri::PathAndQuery::from_maybe_shared(Bytes::from(address.target.clone())).ok()?;
        // What goes out is what the subscriber wrote, or nothing does.
        if target.as_str() != address.target {
            return None;
        }
        let mut parts = uri::Parts::default();
        parts.path_and_query = Some(target.clone());
        parts.authority = Some(uri::Authority::from_maybe_shared(Bytes::from(address.authority.clone())).ok()?);
        parts.scheme = Some(scheme.clone());
        Some(Self {
            origin: format!("{scheme}://{}", address.authority).into(),
            scheme: address.scheme,
            host: address.host,
            port: address.port,
            host_field: HeaderValue::from_maybe_shared(Bytes::from(address.authority)).ok()?,
            origin_form: Uri::from(target),
            absolute_form: Uri::from_parts(parts).ok()?,
        })
    }
}

/// Remembers goals.
#[derive(Debug)]
pub(super) struct Goals {
    guard: Guard,
    known: RefCell<HashMap<Arc<str>, Rc<Goal>, RandomState>>,
}

impl Goals {
    pub(super) fn new(guard: Guard) -> Self {
        Self { guard, known: RefCell::default() }
    }

    /// The goal that this URL names, if one may talk to it.
    pub(super) fn of(&self, url: &Arc<str>) -> Result<Rc<Goal>, SendFault> {
        let mut known = self.known.borrow_mut();
        if let Some(goal) = known.get(url) {
            return Ok(Rc::clone(goal));
        }
        let goal = Rc::new(Goal::parse(url, &self.guard)?);
        if url.len() <= REMEMBERED_BYTES_MAX {
            if known.len() >= GOALS_MAX {
                known.clear();
            }
            known.insert(Arc::clone(url), Rc::clone(&goal));
        }
        Ok(goal)
    }
}

#[cfg(test)]
mod tests {
    use stentor_websub::address::Callback;

    use super::*;

    #[test]
    fn targets_go_out_as_they_came_in() {
        let check = |url: &str, authority: &str, target: &str| {
            assert!(Callback::parse(url).is_ok(), "{url}");
            let goal = Goal::new(Address::parse(url).unwrap()).unwrap_or_else(|| panic!("{url}"));
            assert_eq!(goal.host_field, authority);
            assert_eq!(goal.origin_form.to_string(), target, "{url}");
            assert_eq!(goal.absolute_form.path_and_query().unwrap().as_str(), target);
            assert_eq!(goal.absolute_form.authority().unwrap().as_str(), authority);
        };
        check("http://a.example", "a.example", "/");
        check("http://a.example?", "a.example", "/?");
        check("HTTP://A.example:80/cb?", "a.example", "/cb?");
        check("http://a.example:8080//x//../y/./", "a.example:8080", "//x//../y/./");
        check("https://a.example:80/%7E%zz%?a='%27+&&b=??/=", "a.example:80", "/%7E%zz%?a='%27+&&b=??/=");
        check("http://[::1]:81/{a}|b^c[d]~!$&'()*+,;=:@", "[::1]:81", "/{a}|b^c[d]~!$&'()*+,;=:@");
        check("http://a.example/?{a}|b^c[d]~!$&'()*+,;=:@", "a.example", "/?{a}|b^c[d]~!$&'()*+,;=:@");
        check("http://0x7f.1/ü?ü=`\"<>", "127.0.0.1", "/%C3%BC?%C3%BC=%60%22%3C%3E");
    }

    #[test]
    fn hosts_that_cannot_be_addressed_are_refused() {
        let check =
            |url: &str| assert!(matches!(Goal::parse(url, &Guard::default()), Err(SendFault::Address)), "{url}");
        check("http://a{b/");
        check("http://a`b/");
        check("ftp://a.example/");
        check("http://me@a.example/");
        check("http://a.example:22/");
        for host in
            ["127.1", "0x7f000001", "017700000001", "[::ffff:127.0.0.1]", "[::1]", "0", "169.254.169.254", "10.1"]
        {
            check(&format!("http://{host}/"));
        }
    }

    proptest::proptest! {
        /// Whatever a subscriber may write can be asked for.
        #[test]
        fn every_callback_can_be_asked(rest in "([/?]\\PC{0,24})?") {
            let url = format!("http://a.example{rest}");
            if Callback::parse(&url).is_ok() {
                let address = Address::parse(&url).unwrap();
                let target = address.target.clone();
                let goal = Goal::new(address);
                proptest::prop_assert_eq!(goal.map(|goal| goal.origin_form.to_string()), Some(target));
            }
        }
    }
}
