//! From names to addresses.
//!
//! Names are chosen by strangers, and the system's call blocks a thread for as long as their servers are silent. So [`calls`]
//! counts the calls that are under way, each until it has returned; [`line`](mod@line) says which name may be asked for next, and
//! [`known`] remembers the names that were found lately, which never stand in one line with the others.

mod calls;
mod known;
mod line;

use std::cell::RefCell;
use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::pin::Pin;
use std::sync::{Arc, Weak};

use self::calls::Calls;

/// Addresses that are being looked up.
pub type Addresses<'a> = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + 'a>>;

/// Knows the addresses of names.
///
/// It is asked once for each connection, and the connection goes to one of the addresses that this one answer held. Asked
/// twice, once for the guard and once for the connection, a name could change in between and lead inside.
pub trait Resolve {
    /// The addresses of a name, those to be tried first in front.
    fn resolve<'a>(&'a self, name: &'a str) -> Addresses<'a>;
}

/// Asks the system, whose call blocks, on threads of its own. Nobody waits for them when the node goes down.
#[derive(Clone, Debug)]
pub struct SystemResolver {
    calls: Arc<Calls>,
}

thread_local! {
    /// What the couriers of this thread share. It ends with the last of them.
    static CALLS: RefCell<Weak<Calls>> = const { RefCell::new(Weak::new()) };
}

impl SystemResolver {
    /// The one of all couriers on this thread: the places for names that nobody answers for are few, and all hubs of a node
    /// live on one thread.
    #[must_use]
    pub fn of_this_thread() -> Self {
        CALLS.with_borrow_mut(|shared| {
            let calls = shared.upgrade().unwrap_or_else(|| Arc::new(Calls::new(Box::new(ask))));
            *shared = Arc::downgrade(&calls);
            Self { calls }
        })
    }
}

fn ask(name: &str) -> io::Result<Vec<IpAddr>> {
    // The port does not matter: it is not taken over.
    let found = (name, 443).to_socket_addrs()?;
    Ok(found.map(|address| address.ip()).collect())
}

impl Resolve for SystemResolver {
    fn resolve<'a>(&'a self, name: &'a str) -> Addresses<'a> {
        Box::pin(self.calls.ask_for(name).addresses())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn couriers_of_a_thread_share_their_calls() {
        let (one, other) = (SystemResolver::of_this_thread(), SystemResolver::of_this_thread());
        assert!(Arc::ptr_eq(&one.calls, &other.calls));
        let elsewhere = std::thread::spawn(SystemResolver::of_this_thread).join().unwrap();
        assert!(!Arc::ptr_eq(&one.calls, &elsewhere.calls));
    }

    #[tokio::test]
    async fn the_system_knows_this_machine() {
        let found = SystemResolver::of_this_thread().resolve("localhost").await.unwrap();
        assert!(found.iter().all(IpAddr::is_loopback) && !found.is_empty(), "{found:?}");
        assert!(SystemResolver::of_this_thread().resolve("no\0name").await.is_err());
    }
}
