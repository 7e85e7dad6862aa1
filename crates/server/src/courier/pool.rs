//! Connections that wait for their next request.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::{Rc, Weak};
use std::time::Duration;

use bytes::Bytes;
use foldhash::fast::RandomState;
use http_body_util::Full;
use hyper::client::conn::http1::SendRequest;
use tokio::time::Instant;

use super::connection::{Connection, Shared};
use super::lane::Lane;

/// Connections kept in all. Each is a descriptor and a buffer, and a hub may have more hosts than a process descriptors.
const IDLE_MAX: usize = 2048;

/// How long a connection may take to be ready for its next request. One whose receiver answered without reading the whole
/// request never is.
const READY_TIMEOUT: Duration = Duration::from_millis(50);

/// After so long a server is tried by a lane again: it may have been replaced.
const ELABORATE_TIME: Duration = Duration::from_secs(600);

/// Connections by origin.
pub(super) struct Pool {
    hosts: RefCell<HashMap<Rc<str>, Kept, RandomState>>,
    /// Connections of HTTP/1.1 in `hosts`, lanes among them.
    idle: Cell<usize>,
    idle_timeout: Duration,
    per_host_max: usize,
    is_swept: Cell<bool>,
    me: Weak<Self>,
}

#[derive(Default)]
struct Kept {
    /// The one used last is taken first, so that those too many grow old.
    single: Vec<(SendRequest<Full<Bytes>>, Instant)>,
    shared: Option<Rc<Shared>>,
    /// As `single`, for webhooks alone.
    lanes: Vec<(Lane, Instant)>,
    /// When it was found that no lane understands this server.
    elaborate_since: Option<Instant>,
}

impl Pool {
    pub(super) fn new(idle_timeout: Duration, per_host_max: usize) -> Rc<Self> {
        Rc::new_cyclic(|me| Self {
            hosts: RefCell::default(),
            idle: Cell::new(0),
            idle_timeout,
            per_host_max,
            is_swept: Cell::new(false),
            me: me.clone(),
        })
    }

    /// Connections kept, whether or not they still live.
    pub(super) fn idle(&self) -> usize {
        let hosts = self.hosts.borrow();
        self.idle.get() + hosts.values().filter(|kept| kept.shared.is_some()).count()
    }

    /// A connection that was kept and lives, as far as one can tell.
    pub(super) async fn take(&self, origin: &str) -> Option<Connection> {
        loop {
            let mut sender = match self.pop(origin)? {
                Connection::Http1(sender) => sender,
                shared @ Connection::Http2(_) => return Some(shared),
            };
            if sender.is_ready() {
                return Some(Connection::Http1(sender));
            }
            if let Ok(Ok(())) = tokio::time::timeout(READY_TIMEOUT, sender.ready()).await {
                return Some(Connection::Http1(sender));
            }
        }
    }

    fn pop(&self, origin: &str) -> Option<Connection> {
        let mut hosts = self.hosts.borrow_mut();
        let kept = hosts.get_mut(origin)?;
        if let Some(shared) = &kept.shared {
            if !shared.is_closed() {
                return Some(Connection::Http2(Rc::clone(shared)));
            }
            kept.shared = None;
        }
        while let Some((sender, since)) = kept.single.pop() {
            self.idle.set(self.idle.get() - 1);
            if !sender.is_closed() && since.elapsed() < self.idle_timeout {
                return Some(Connection::Http1(sender));
            }
        }
        None
    }

    /// Makes a new connection known if many can use it, or gives the one that others made known meanwhile.
    pub(super) fn share(&self, origin: &Rc<str>, connection: Connection) -> Connection {
        let Connection::Http2(fresh) = connection else { return connection };
        let mut hosts = self.hosts.borrow_mut();
        let kept = hosts.entry(Rc::clone(origin)).or_default();
        let shared = kept.shared.take().filter(|other| !other.is_closed()).unwrap_or(fresh);
        kept.shared = Some(Rc::clone(&shared));
        drop(hosts);
        self.sweep_later();
        Connection::Http2(shared)
    }

    /// Keeps a connection whose answer was read to its end.
    pub(super) fn put(&self, origin: &Rc<str>, connection: Connection) {
        let sender = match connection {
            Connection::Http1(sender) => sender,
            Connection::Http2(shared) => return shared.used.set(Instant::now()),
        };
        if sender.is_closed() || self.per_host_max == 0 || self.idle.get() >= IDLE_MAX {
            return;
        }
        self.keep(origin, |kept| &mut kept.single, sender);
    }

    /// Whether webhooks to this origin may go by a lane, as far as one knows.
    pub(super) fn has_lane(&self, origin: &str) -> bool {
        self.hosts.borrow().get(origin).is_none_or(|kept| kept.shared.is_none() && kept.elaborate_since.is_none())
    }

    /// A lane that was kept and lives, as far as one can tell.
    pub(super) fn take_lane(&self, origin: &str) -> Option<Lane> {
        let mut hosts = self.hosts.borrow_mut();
        let kept = hosts.get_mut(origin)?;
        while let Some((mut lane, since)) = kept.lanes.pop() {
            self.idle.set(self.idle.get() - 1);
            if since.elapsed() < self.idle_timeout && lane.is_alive() {
                return Some(lane);
            }
        }
        None
    }

    /// Keeps a lane whose answer was read to its end.
    pub(super) fn put_lane(&self, origin: &Rc<str>, lane: Lane) {
        if self.per_host_max > 0 && self.idle.get() < IDLE_MAX {
            self.keep(origin, |kept| &mut kept.lanes, lane);
        }
    }

    /// Speaks to this origin by hyper, for a while.
    pub(super) fn is_elaborate(&self, origin: &Rc<str>) {
        let mut hosts = self.hosts.borrow_mut();
        hosts.entry(Rc::clone(origin)).or_default().elaborate_since = Some(Instant::now());
        drop(hosts);
        self.sweep_later();
    }

    fn keep<T>(&self, origin: &Rc<str>, of: impl FnOnce(&mut Kept) -> &mut Vec<(T, Instant)>, connection: T) {
        let mut hosts = self.hosts.borrow_mut();
        if !hosts.contains_key(origin) {
            hosts.insert(Rc::clone(origin), Kept::default());
        }
        let kept = of(hosts.get_mut(origin).expect("it was entered above"));
        kept.push((connection, Instant::now()));
        if kept.len() > self.per_host_max {
            kept.remove(0);
        } else {
            self.idle.set(self.idle.get() + 1);
        }
        drop(hosts);
        self.sweep_later();
    }

    /// Watches over a request. A shared connection on which one gets no answer is not given to others: it may be dead
    /// without anybody having said so.
    pub(super) fn watch<'a>(&'a self, origin: &'a str, connection: &Connection) -> Watch<'a> {
        let shared = match connection {
            Connection::Http1(_) => None,
            Connection::Http2(shared) => Some(Rc::clone(shared)),
        };
        Watch { pool: self, origin, shared }
    }

    /// One task closes what was idle for too long, and ends when nothing is left.
    fn sweep_later(&self) {
        if self.is_swept.replace(true) {
            return;
        }
        let (pool, pause) = (self.me.clone(), self.idle_timeout / 4);
        tokio::task::spawn_local(async move {
            loop {
                tokio::time::sleep(pause.max(Duration::from_millis(10))).await;
                let Some(pool) = pool.upgrade() else { return };
                if !pool.sweep() {
                    pool.is_swept.set(false);
                    return;
                }
            }
        });
    }

    fn sweep(&self) -> bool {
        let mut hosts = self.hosts.borrow_mut();
        let mut idle = 0;
        hosts.retain(|_, kept| {
            kept.single.retain(|(sender, since)| !sender.is_closed() && since.elapsed() < self.idle_timeout);
            kept.lanes.retain_mut(|(lane, since)| since.elapsed() < self.idle_timeout && lane.is_alive());
            idle += kept.single.len() + kept.lanes.len();
            kept.elaborate_since = kept.elaborate_since.filter(|since| since.elapsed() < ELABORATE_TIME);
            // Whoever waits for an answer holds it as well.
            let is_used = |shared: &Rc<Shared>| {
                Rc::strong_count(shared) > 1 || (!shared.is_closed() && shared.used.get().elapsed() < self.idle_timeout)
            };
            kept.shared = kept.shared.take().filter(is_used);
            kept.shared.is_some() || !kept.single.is_empty() || !kept.lanes.is_empty() || kept.elaborate_since.is_some()
        });
        self.idle.set(idle);
        !hosts.is_empty()
    }
}

/// See [`Pool::watch`].
pub(super) struct Watch<'a> {
    pool: &'a Pool,
    origin: &'a str,
    shared: Option<Rc<Shared>>,
}

impl Watch<'_> {
    /// The connection answered.
    pub(super) fn answered(mut self) {
        self.shared = None;
    }

    /// The connection ended.
    pub(super) fn ended(self) {}
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        let Some(shared) = self.shared.take() else { return };
        let mut hosts = self.pool.hosts.borrow_mut();
        if let Some(kept) = hosts.get_mut(self.origin)
            && kept.shared.as_ref().is_some_and(|other| Rc::ptr_eq(other, &shared))
        {
            kept.shared = None;
        }
    }
}
