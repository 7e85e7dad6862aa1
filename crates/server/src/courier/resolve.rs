//! From names to addresses.

use std::io;
use std::net::IpAddr;
use std::pin::Pin;

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

/// Asks the system, on threads of the runtime, since its call blocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve<'a>(&'a self, name: &'a str) -> Addresses<'a> {
        Box::pin(async move {
            // The port does not matter: it is not taken over.
            let found = tokio::net::lookup_host((name, 443)).await?;
            Ok(found.map(|address| address.ip()).collect())
        })
    }
}
