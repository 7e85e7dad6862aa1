//! From names to addresses.
//!
//! Names are chosen by strangers, and the system's call blocks a thread for as long as their servers are silent. So [`calls`]
//! counts the calls that are under way, each until it has returned; [`line`](mod@line) says which name may be asked for next, and
//! [`known`] remembers the names that were found lately, which never stand in one line with the others.

mod calls;
mod known;
mod line;

use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::pin::Pin;
use std::sync::Arc;

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
///
/// Clones share the threads: the places for names that nobody answers for are few, and there is one resolver for all hubs of
/// a node.
#[derive(Clone, Debug)]
pub struct SystemResolver {
    calls: Arc<Calls>,
}

impl Default for SystemResolver {
    fn default() -> Self {
        Self { calls: Arc::new(Calls::new(Box::new(ask))) }
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

    #[tokio::test]
    async fn the_system_knows_this_machine() {
        let resolver = SystemResolver::default();
        let found = resolver.resolve("localhost").await.unwrap();
        assert!(found.iter().all(IpAddr::is_loopback) && !found.is_empty(), "{found:?}");
        assert!(resolver.resolve("no\0name").await.is_err());
    }
}
