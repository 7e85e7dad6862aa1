//! `limits` of a transport: how much of the node one client, or a crowd of them, may take.

use super::reader::Dict;
use std::time::Duration;

/// Limits of one transport, whatever it serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitsConfig {
    /// Connections at one time, sessions included.
    pub connections_max: u64,
    /// Connections of one address at one time. `None`: any number.
    pub connections_per_address_max: Option<u32>,
    /// Time for a TLS handshake, and for a request's head.
    pub head_timeout: Duration,
    /// Time for a request's body.
    pub body_timeout: Duration,
    /// Octets of a body for each second, on average. 0: any.
    pub body_rate_min: u64,
    /// Time in which a client must take something of its answer.
    pub write_timeout: Duration,
    /// Octets of unfinished bodies, over all connections.
    pub bodies_bytes_max: u64,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            // What max_sessions allows by default, and a tenth on top for requests.
            connections_max: 110_000,
            // Offices, schools and proxies have many people behind one address.
            connections_per_address_max: None,
            // A head is one packet or two; a real client sends it at once, over however bad a line.
            head_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            // Slower than any line, and fast enough that nobody holds a connection for the price of a few octets.
            body_rate_min: 256,
            // The kernel takes a piece of an answer when a third of its buffer is free, which over a bad line takes long.
            write_timeout: Duration::from_secs(60),
            // Sixteen bodies of the largest size, or thousands of the usual one.
            bodies_bytes_max: 256 << 20,
        }
    }
}

/// Milliseconds that a timeout may last: an hour.
const TIMEOUT_MS_MAX: u64 = 3_600_000;

/// Reads `limits` of a transport.
pub(super) fn read(parent: &mut Dict<'_>) -> LimitsConfig {
    let mut limits = LimitsConfig::default();
    let Some(mut dict) = parent.dict("limits") else { return limits };
    dict.integer("connections_max", 1..=10_000_000, &mut limits.connections_max);
    let mut per_address = 0;
    dict.integer("connections_per_address_max", 0..=10_000_000, &mut per_address);
    limits.connections_per_address_max = (per_address > 0).then_some(per_address);
    dict.deadline_ms("head_timeout", 0..=TIMEOUT_MS_MAX, &mut limits.head_timeout);
    dict.deadline_ms("body_timeout", 0..=TIMEOUT_MS_MAX, &mut limits.body_timeout);
    dict.integer("body_rate_min", 0..=1 << 30, &mut limits.body_rate_min);
    dict.deadline_ms("write_timeout", 0..=TIMEOUT_MS_MAX, &mut limits.write_timeout);
    dict.integer("bodies_bytes_max", 1 << 20..=1 << 40, &mut limits.bodies_bytes_max);
    dict.finish();
    limits
}
