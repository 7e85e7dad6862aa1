//! The ceilings: a server that does nothing but hand frames on, as fast as one thread of tokio can.
//!
//! It knows one topic, parses no more of a request than it must, checks nothing, and answers HELLO and SUBSCRIBE with
//! constants. What remains is what no server of this kind can save: one read and one write for each POST, one frame
//! built for each publication, and the writes to the subscribers. Those are done in two ways, see [`Mode`]. [`webhooks`] is the
//! same for hubs.

mod http;
mod peer;
pub(crate) mod webhooks;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use clap::ValueEnum;
use tokio::net::{TcpListener, TcpStream};

use crate::fault::{Fault, io};
use crate::wire::BACKLOG;
use peer::Peer;

/// How frames reach the sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// One write for each event and socket, from the task that publishes.
    Direct,
    /// A queue for each socket; its task writes all that waits with one vectored write.
    Coalesce,
}

/// What all connections share.
struct Hub {
    mode: Mode,
    peers: Mutex<Vec<Arc<Peer>>>,
}

impl Hub {
    fn join(&self, peer: &Arc<Peer>) {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(peer));
    }

    fn leave(&self, peer: &Arc<Peer>) {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner).retain(|other| !Arc::ptr_eq(other, peer));
    }

    fn publish(&self, frame: &Arc<[u8]>) {
        // Everything runs on one thread, so the lock is free whenever somebody asks.
        let peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        match self.mode {
            Mode::Direct => peers.iter().for_each(|peer| peer.write(frame)),
            Mode::Coalesce => peers.iter().for_each(|peer| peer.queue(frame)),
        }
    }
}

/// Serves until the process is ended.
///
/// # Errors
/// When the address cannot be bound.
pub(crate) fn serve(at: SocketAddr, mode: Mode) -> Result<(), Fault> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = io(runtime, || "the runtime cannot be set up".to_owned())?;
    runtime.block_on(async {
        let hub = Arc::new(Hub { mode, peers: Mutex::new(Vec::new()) });
        let listener = io(listen(at), || format!("{at} cannot be bound"))?;
        loop {
            let (tcp, _) = io(listener.accept().await, || "no more connections".to_owned())?;
            drop(tokio::spawn(converse(tcp, Arc::clone(&hub))));
        }
    })
}

fn listen(at: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = tokio::net::TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(at)?;
    socket.listen(BACKLOG)
}

async fn converse(tcp: TcpStream, hub: Arc<Hub>) {
    // A connection that breaks is simply over.
    if tcp.set_nodelay(true).is_ok()
        && let Ok(http::End::Upgraded(tcp)) = http::serve(tcp, &hub).await
    {
        peer::serve(tcp, &hub).await;
    }
}
