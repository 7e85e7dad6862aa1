//! How many connections a transport has, and what their unfinished bodies weigh.
//!
//! A place is taken when a connection is accepted and given back when it ends, whatever it has become meanwhile.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use super::blocks::{Body, Pool};
use super::patience::Crowd as Density;
use crate::meter::Gauge;

/// How many there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Connections.
    pub connections_max: u64,
    /// Connections of one address, or of one IPv6 network of 64 bits; nothing for any number.
    pub connections_per_address_max: Option<u32>,
    /// Octets of bodies that are not complete, over all connections.
    pub bodies_bytes_max: u64,
}

/// The connections of the whole node, which share its file descriptors.
#[derive(Debug)]
pub struct House {
    open: Gauge,
    connections_max: u64,
}

impl House {
    /// A node that can have so many.
    #[must_use]
    pub fn new(connections_max: u64) -> Arc<Self> {
        Arc::new(Self { open: Gauge::default(), connections_max })
    }
}

/// The connections of one transport.
#[derive(Debug)]
pub struct Crowd {
    house: Arc<House>,
    bounds: Bounds,
    open: Gauge,
    bodies: Gauge,
    blocks: Arc<Pool>,
    addresses: Mutex<HashMap<IpAddr, u32>>,
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// All places are taken.
    Full,
    /// The address has as many as it may.
    Address,
}

impl Crowd {
    /// A transport without connections.
    #[must_use]
    pub fn new(bounds: Bounds, house: Arc<House>) -> Arc<Self> {
        let (open, bodies, blocks) = (Gauge::default(), Gauge::default(), Arc::default());
        Arc::new(Self { house, bounds, open, bodies, blocks, addresses: Mutex::default() })
    }

    /// Takes a place for a connection from `address`.
    ///
    /// # Errors
    /// When there is none.
    pub fn enter(self: &Arc<Self>, address: Option<IpAddr>) -> Result<Place, Refused> {
        if !self.house.open.increment_below(self.house.connections_max) {
            return Err(Refused::Full);
        }
        if !self.open.increment_below(self.bounds.connections_max) {
            self.house.open.decrement();
            return Err(Refused::Full);
        }
        // From here on, dropping the place gives back what was taken.
        let mut place = Place { crowd: Arc::clone(self), network: None };
        if let (Some(limit), Some(address)) = (self.bounds.connections_per_address_max, address) {
            let network = network(address);
            let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
            let count = addresses.entry(network).or_default();
            if *count >= limit {
                drop(addresses);
                return Err(Refused::Address);
            }
            *count += 1;
            drop(addresses);
            place.network = Some(network);
        }
        Ok(place)
    }

    /// How many connections there are.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.open.get()
    }

    /// How full it is.
    pub(super) fn density(&self) -> Density {
        let dense = |open: &Gauge, limit: u64| open.get() >= (limit - limit / 4).max(1);
        if dense(&self.open, self.bounds.connections_max) || dense(&self.house.open, self.house.connections_max) {
            return Density::Dense;
        }
        Density::Thin
    }

    /// A body that comes in pieces.
    pub(super) fn body(&self) -> Body {
        Body::new(Arc::clone(&self.blocks))
    }

    /// Room for one.
    pub(super) const fn claim(self: Arc<Self>) -> Claim {
        Claim { crowd: self, octets: 0 }
    }
}

/// Who counts as one: an IPv6 host has a whole network to itself and could come from any address in it.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::from([a, b, c, d, 0, 0, 0, 0])
        }
        address => address,
    }
}

/// A place among the connections of a transport.
#[derive(Debug)]
pub struct Place {
    crowd: Arc<Crowd>,
    network: Option<IpAddr>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.crowd.open.decrement();
        self.crowd.house.open.decrement();
        let Some(network) = self.network else { return };
        let mut addresses = self.crowd.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut entry) = addresses.entry(network) {
            *entry.get_mut() -= 1;
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }
}

/// A share of the memory for bodies, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Claim {
    crowd: Arc<Crowd>,
    octets: u64,
}

impl Claim {
    /// Claims so many octets in all; `None` when others have too many.
    pub(super) fn grow_to(&mut self, octets: u64) -> Option<()> {
        let more = octets.saturating_sub(self.octets);
        self.crowd.bodies.grow_within(more, self.crowd.bounds.bodies_bytes_max).then(|| self.octets += more)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.crowd.bodies.shrink(self.octets);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { connections_max: 4, connections_per_address_max: Some(2), bodies_bytes_max: 100 };

    #[test]
    fn transports_share_the_house() {
        let house = House::new(3);
        let (one, two) = (Crowd::new(BOUNDS, Arc::clone(&house)), Crowd::new(BOUNDS, Arc::clone(&house)));
        let places = [one.enter(None).unwrap(), two.enter(None).unwrap(), two.enter(None).unwrap()];
        assert_eq!((one.enter(None).unwrap_err(), one.density()), (Refused::Full, Density::Dense));
        drop(places);
        assert_eq!((house.open.get(), one.density()), (0, Density::Thin));
    }

    #[test]
    fn places_are_bounded_in_all_and_for_each_network() {
        let crowd = Crowd::new(BOUNDS, House::new(100));
        let from = |address: &str| crowd.enter(Some(address.parse().unwrap()));
        let mut places = vec![from("10.0.0.1").unwrap(), from("::ffff:10.0.0.1").unwrap()];
        assert_eq!(
            (from("10.0.0.1").unwrap_err(), crowd.open(), crowd.density()),
            (Refused::Address, 2, Density::Thin)
        );
        places.push(from("2001:db8::1").unwrap());
        assert_eq!(crowd.density(), Density::Dense);
        places.push(from("2001:db8::ffff:1").unwrap());
        assert_eq!((from("10.0.0.2").unwrap_err(), crowd.enter(None).unwrap_err()), (Refused::Full, Refused::Full));
        drop(places.drain(1..));
        // Unix sockets have no address, and somebody else has one of their own.
        places.extend([crowd.enter(None).unwrap(), from("2001:db8::2").unwrap(), from("10.0.0.1").unwrap()]);
        drop(places);
        assert_eq!(crowd.open(), 0);
        assert!(crowd.addresses.lock().unwrap().is_empty());
    }

    #[test]
    fn bodies_share_their_memory() {
        let crowd = Crowd::new(BOUNDS, House::new(100));
        let (mut one, mut two) = (Arc::clone(&crowd).claim(), Arc::clone(&crowd).claim());
        assert_eq!((one.grow_to(60), two.grow_to(40), two.grow_to(41)), (Some(()), Some(()), None));
        drop(one);
        assert_eq!((two.grow_to(100), two.grow_to(101)), (Some(()), None));
        drop(two);
        assert_eq!(crowd.bodies.get(), 0);
    }
}
