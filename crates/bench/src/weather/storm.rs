//! The attackers' process: a crowd of culprits on one thread, which comes, misbehaves, and tells how it ended.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::LocalSet;
use tokio::time::Instant;

use super::attack::{Also, Attack, BULK_TOPIC};
use super::culprit;
use super::script::post;
use crate::fault::{Fault, io};

/// Octets of a large publication, and how many there are each second.
const BULK: (usize, u32) = (64 << 10, 32);

/// Connections from one address, of which the system has 28 000 ports.
const PORTS: usize = 20_000;

/// Attacks for so long and writes to `report` how many culprits ended in which way.
///
/// # Errors
/// When the report cannot be written.
pub(super) fn run(attack: &'static Attack, to: SocketAddr, time: Duration, report: &Path) -> Result<(), Fault> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = io(runtime, || "the runtime cannot be set up".to_owned())?;
    let script = Rc::new(attack.script(to));
    let ends: Rc<RefCell<BTreeMap<String, u64>>> = Rc::default();
    let local = LocalSet::new();
    local.block_on(&runtime, async {
        let begin = Instant::now();
        let until = begin + time;
        if attack.also == Also::Bulk {
            tokio::task::spawn_local(publish(to, until));
        }
        let mut culprits = Vec::new();
        for number in 0..attack.crowd {
            let (script, ends) = (Rc::clone(&script), Rc::clone(&ends));
            let at = begin + Duration::from_secs_f64(number as f64 / f64::from(attack.arrivals));
            culprits.push(tokio::task::spawn_local(async move {
                tokio::time::sleep_until(at).await;
                let last = 9 + u8::try_from(number / PORTS).unwrap_or(0);
                loop {
                    let end = culprit::play(&script, to, Ipv4Addr::new(127, 0, 0, last), until).await;
                    *ends.borrow_mut().entry(end).or_default() += 1;
                    let Some(pause) = attack.again else { return };
                    tokio::time::sleep(pause).await;
                    if Instant::now() >= until {
                        return;
                    }
                }
            }));
        }
        for culprit in culprits {
            // A culprit that panicked has said so on standard error and is missing from the report.
            drop(culprit.await);
        }
    });
    let text = serde_json::to_string(&*ends.borrow()).unwrap_or_default();
    io(std::fs::write(report, text), || "the report of the attackers cannot be written".to_owned())
}

/// Large publications at a steady pace, one after the other. They cannot be compressed to less than three quarters.
async fn publish(to: SocketAddr, until: Instant) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(to).await?;
    let mut rng = fastrand::Rng::with_seed(7);
    let noise: String = (0..BULK.0).map(|_| rng.alphanumeric()).collect();
    let body = format!(r#"{{"topic":"{BULK_TOPIC}","args":["{noise}"]}}"#);
    let mut request = post(to, &format!("Content-Length: {}", body.len()));
    request.extend_from_slice(body.as_bytes());
    let mut beat = tokio::time::interval(Duration::from_secs(1) / BULK.1);
    let mut room = vec![0; 4096];
    while Instant::now() < until {
        beat.tick().await;
        stream.write_all(&request).await?;
        if stream.read(&mut room).await? == 0 {
            return Ok(());
        }
    }
    Ok(())
}
