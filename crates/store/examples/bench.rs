//! What the store costs: durable appends beside a bare loop over SQLite, and what a subscription costs that does nothing.
//!
//! `cargo run --release -p stentor-store --example bench -- appends DIR` or `-- idle DIR COUNT`. DIR must lie on the disk that
//! is to be measured. The benchmark of the hub calls it with `rate DIR bare|store PUBLISHERS OCTETS SECONDS`, which prints
//! one number, and with `enter DIR COUNT`, which makes the file of a hub with so many subscriptions.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a measurement prints, stops at the first fault, and reads the clock"
)]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::{Connection, params};
use stentor_model::{Offset, PublicationId, Topic, WebhookId};
use stentor_store::sqlite::Sqlite;
use stentor_store::{
    Content, Draft, Hub, HubTopic, Limits, Log, NewSubscription, Scope, Store, Subscriptions, Timestamp,
};

const TOPICS: u64 = 1000;
const CELL: Duration = Duration::from_millis(1500);

/// In a thousand years: nobody's lease ends during a measurement.
const LEASE_END: Timestamp = Timestamp(33_000_000_000_000);
const ROUNDS: usize = 5;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let folder = arguments.get(2).expect("bench appends|idle DIR [COUNT]");
    match arguments[1].as_str() {
        "appends" => appends(Path::new(folder)),
        "idle" => idle(Path::new(folder), arguments[3].parse().unwrap()),
        "enter" => {
            let count = arguments[3].parse().unwrap();
            enter(&Path::new(folder).join(format!("idle-{count}.db")), count);
        }
        "rate" => rate(Path::new(folder), &arguments[3..]),
        other => panic!("{other} is none of appends, idle, enter, rate"),
    }
}

/// Both in turn, so that what else the machine does falls on both; the median of the rounds.
fn appends(folder: &Path) {
    for octets in [200, 5000] {
        for publishers in [1, 64] {
            let (mut bare, mut store) = (Vec::new(), Vec::new());
            for round in 0..ROUNDS {
                bare.push(bare_appends(&fresh(folder, &format!("bare-{round}")), publishers, octets, CELL));
                store.push(store_appends(&fresh(folder, &format!("store-{round}")), publishers, octets, CELL));
            }
            let (bare, store) = (median(&mut bare), median(&mut store));
            println!(
                "{octets:5} octets, {publishers:2} publishers: bare {bare:7.0}/s, store {store:7.0}/s, ratio {:.2}",
                store / bare
            );
        }
    }
}

/// One figure, for somebody who compares it with his own.
fn rate(folder: &Path, words: &[String]) {
    let [kind, publishers, octets, seconds] = words else { panic!("rate DIR bare|store PUBLISHERS OCTETS SECONDS") };
    let measure = if kind == "bare" { bare_appends } else { store_appends };
    let time = Duration::from_secs_f64(seconds.parse().unwrap());
    let path = fresh(folder, "rate");
    println!("{}", measure(&path, publishers.parse().unwrap(), octets.parse().unwrap(), time));
}

fn fresh(folder: &Path, name: &str) -> PathBuf {
    for end in ["", "-wal", "-shm", ".lock"] {
        let _ = std::fs::remove_file(folder.join(format!("{name}.db{end}")));
    }
    folder.join(format!("{name}.db"))
}

fn median(figures: &mut [f64]) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// Octets that do not compress, from a generator that costs nothing beside what is measured.
fn payload(octets: usize, mut seed: u64) -> Vec<u8> {
    let mut body = Vec::with_capacity(octets + 8);
    while body.len() < octets {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        body.extend_from_slice(&seed.to_le_bytes());
    }
    body.truncate(octets);
    body
}

/// Runs publishers for a while and answers how many appends were acknowledged each second.
fn clocked(publishers: u64, time: Duration, append: impl Fn(u64) + Sync) -> f64 {
    let (done, over) = (AtomicU64::new(0), AtomicBool::new(false));
    let started = Instant::now();
    thread::scope(|scope| {
        for publisher in 0..publishers {
            let (append, done, over) = (&append, &done, &over);
            scope.spawn(move || {
                let mut number = publisher * 7919;
                while !over.load(Ordering::Relaxed) {
                    number += 1;
                    append(number);
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        thread::sleep(time);
        over.store(true, Ordering::Relaxed);
    });
    done.into_inner() as f64 / started.elapsed().as_secs_f64()
}

fn store_appends(path: &Path, publishers: u64, octets: usize, time: Duration) -> f64 {
    let store = Sqlite::open(path, Limits::default()).unwrap();
    let topics: Vec<_> = (0..TOPICS).map(topic).collect();
    let body = bytes::Bytes::from(payload(octets, 1));
    let rate = clocked(publishers, time, |number| {
        let draft = Draft {
            topic: topics[(number % TOPICS) as usize].clone(),
            publication: PublicationId::from_random(number),
            at: Timestamp(number),
            content: Content { content_type: "text/plain".into(), extras: Vec::new(), body: body.clone() },
            idempotency: None,
        };
        store.append(draft).wait().unwrap();
    });
    store.close().wait().unwrap();
    rate
}

fn topic(number: u64) -> HubTopic {
    let url = format!("https://example.com/topics/{number}");
    HubTopic { hub: Hub::parse("main").unwrap(), topic: Topic::parse(&url).unwrap() }
}

/// The same work without a store: a thread, a bounded queue, one transaction for all that waits, two columns and a blob.
fn bare_appends(path: &Path, publishers: u64, octets: usize, time: Duration) -> f64 {
    type Job = (u64, Arc<[u8]>, SyncSender<()>);
    let connection = Connection::open(path).unwrap();
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(())).unwrap();
    connection
        .execute_batch(
            "PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=1000; PRAGMA journal_size_limit=67108864;
             PRAGMA cache_size=-65536; PRAGMA temp_store=MEMORY;
             CREATE TABLE pub(id INTEGER PRIMARY KEY, topic INTEGER NOT NULL, seq INTEGER NOT NULL, data BLOB NOT NULL) STRICT;
             CREATE UNIQUE INDEX pub_ts ON pub(topic, seq);",
        )
        .unwrap();
    let (jobs, queue): (SyncSender<Job>, Receiver<Job>) = sync_channel(8192);
    let writer = thread::spawn(move || {
        let mut sequences = vec![0_i64; TOPICS as usize];
        while let Ok(first) = queue.recv() {
            let mut batch = vec![first];
            batch.extend(queue.try_iter().take(1023));
            connection.prepare_cached("BEGIN IMMEDIATE").unwrap().execute([]).unwrap();
            for (topic, data, _) in &batch {
                let sequence = &mut sequences[*topic as usize];
                *sequence += 1;
                let mut insert =
                    connection.prepare_cached("INSERT INTO pub(topic, seq, data) VALUES (?, ?, ?)").unwrap();
                insert.execute(params![topic.cast_signed(), *sequence, &data[..]]).unwrap();
            }
            connection.prepare_cached("COMMIT").unwrap().execute([]).unwrap();
            for (.., answer) in batch {
                answer.send(()).unwrap();
            }
        }
    });
    let data: Arc<[u8]> = payload(octets, 1).into();
    let rate = clocked(publishers, time, |number| {
        let (answer, answered) = sync_channel(1);
        jobs.send((number % TOPICS, Arc::clone(&data), answer)).unwrap();
        answered.recv().unwrap();
    });
    drop(jobs);
    writer.join().unwrap();
    rate
}

/// Enters the subscriptions if the file is new, then starts anew in a process of its own and says what it took.
fn idle(folder: &Path, count: u64) {
    let path = folder.join(format!("idle-{count}.db"));
    if !path.exists() {
        enter(&path, count);
        println!("{count} entered; run again to measure the start");
        return;
    }
    let before = resident();
    let started = Instant::now();
    let store = Sqlite::open(&path, Limits::default()).unwrap();
    let (opened, of_store) = (started.elapsed(), resident() - before);
    let mut held = Vec::new();
    let mut after = WebhookId(0);
    loop {
        let page = store.list(&Scope::All, after, 1000).wait().unwrap();
        let Some(last) = page.last() else { break };
        after = last.id;
        held.extend(page);
    }
    let loaded = started.elapsed();
    assert_eq!(held.len() as u64, count);
    println!(
        "{count} subscriptions: open {opened:.2?}, all read {loaded:.2?}; {} octets each in the store, {} with all of them held",
        of_store / count,
        (resident() - before) / count,
    );
}

fn enter(path: &Path, count: u64) {
    let store = Sqlite::open(path, Limits::default()).unwrap();
    let mut pending = Vec::new();
    for number in 0..count {
        pending.push(store.put(NewSubscription {
            topic: topic(number % TOPICS),
            callback: format!("https://subscriber-{number}.example.org/hooks/incoming").into(),
            secret: Some(stentor_model::Secret::new(format!("secret-{number:020}"))),
            identity: Some("somebody".into()),
            extras: Vec::new(),
            created: Timestamp(1),
            verified: Some(Timestamp(2)),
            lease_end: LEASE_END,
            after: Offset::START,
        }));
        if pending.len() == 4000 {
            pending.drain(..).for_each(|pending| assert!(pending.wait().is_ok()));
        }
    }
    pending.drain(..).for_each(|pending| assert!(pending.wait().is_ok()));
    store.close().wait().unwrap();
}

/// Octets of this process in memory.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}
