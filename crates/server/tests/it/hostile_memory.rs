//! What hostile clients may cost in memory, measured on the binary: the peak of its resident set before and after.
//!
//! The bounds are far above what is needed and far below what the attack would take if nothing bounded it.
#![cfg(target_os = "linux")]

use serde_json::{Value, json};
use stentor_websocket::deflate::{Deflater, Window};
use tokio::net::TcpStream;

use crate::cli::{Process, home, join};
use crate::client::{Client, Frame, Offer};
use crate::frames::raw;
use crate::house::web_with;

const MIB: usize = 1 << 20;

/// A node whose peak is watched.
struct Watched {
    process: Process,
    address: std::net::SocketAddr,
    witness: Client,
    before: usize,
    _home: tempfile::TempDir,
}

impl Watched {
    async fn start(options: Value) -> Self {
        let home = home(&web_with(json!({}), options));
        let process = Process::start(home.path());
        let address = process.address();
        let mut witness = join(address).await;
        witness.subscribe("t").await;
        let before = peak(&process);
        Self { process, address, witness, before, _home: home }
    }

    /// The node goes on, and its peak has grown by less than this.
    async fn check(&mut self, what: &str, bound: usize) {
        let id = join(self.address).await.publish("t", json!([])).await;
        assert_eq!(self.witness.expect(36).await[2], id);
        let grown = peak(&self.process) - self.before;
        assert!(grown < bound, "{what} took {grown} octets, not {bound}");
    }
}

/// The most octets that a process has ever had in memory.
fn peak(process: &Process) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.child.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
}

/// A message of zeros that is a thousand times larger than what travels. Each part ends with the empty block that a sender
/// leaves out only at the very end, so that one part can be repeated.
fn bomb(mebibytes: usize) -> Vec<u8> {
    let mut part = Vec::new();
    Deflater::with_level(9).compress(Window::Bits15, &vec![0; MIB], &mut part).unwrap();
    part.extend_from_slice(&[0, 0, 0xFF, 0xFF]);
    part.repeat(mebibytes)
}

#[tokio::test]
async fn a_deflate_bomb_is_stopped_at_the_limit() {
    let mut node = Watched::start(json!({"compression": {"deflate": {}}, "auto_ping_interval": 0})).await;
    let octets = bomb(512);
    assert!(octets.len() < MIB, "{} octets travel", octets.len());
    let offer = Offer { extensions: "permessage-deflate", ..Offer::default() };
    let mut client = Client::open(TcpStream::connect(node.address).await.unwrap(), offer).await.unwrap();
    client.join("realm1").await;
    client.send_octets(raw(0xC1, &octets)).await;
    assert!(matches!(client.frame().await, Frame::Close(1009, _)));
    assert_eq!(client.frame().await, Frame::End);
    // The limit on messages is 16 MiB; a buffer that grows by doubling needs both halves for a moment.
    node.check("a bomb of 512 MiB", 64 * MIB).await;
}

#[tokio::test]
async fn announcements_cost_nothing() {
    let mut node = Watched::start(json!({"auto_ping_interval": 0})).await;
    let mut open = Vec::new();
    for length in [15 * MIB, 60 * MIB] {
        for _ in 0..50 {
            let mut client = join(node.address).await;
            client.send_octets([&[0x82, 0xFF], &(length as u64).to_be_bytes()[..], &[1, 2, 3, 4]].concat()).await;
            if length > 16 * MIB {
                assert!(matches!(client.frame().await, Frame::Close(1009, _)));
            } else {
                client.send_octets([0; 1000]).await;
            }
            open.push(client);
        }
    }
    node.check("the announcement of 750 MiB", 16 * MIB).await;
}

#[tokio::test]
async fn floods_of_pings_that_nobody_reads_cost_little() {
    let mut node = Watched::start(json!({"auto_ping_interval": 0})).await;
    let pings = raw(0x89, b"").repeat(300_000);
    let mut open = Vec::new();
    for _ in 0..8 {
        let mut client = join(node.address).await;
        client.send_octets(&pings).await;
        open.push(client);
    }
    // Three million pongs would be two hundred mebibytes of frames.
    node.check("pongs", 24 * MIB).await;
}
