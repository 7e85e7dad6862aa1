//! Whether a file is what this program wrote: SQLite's own check, what must hold between our tables, and the checksums.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::fault::fault;
use super::sum::{self, Damage};
use super::{birth, path, query, schema};
use crate::StoreError;

/// Faults that are listed; a file with more is lost anyway.
const FAULTS_MAX: usize = 100;

/// What must find nothing, and what it means when it does. Each statement gives the number of an offending row.
const INVARIANTS: &[(&str, &str)] = &[
    (
        "the publications of topic {} are not dense",
        "SELECT topic FROM (SELECT topic, min(seq) a, max(seq) z, count(*) n FROM pub GROUP BY topic) WHERE n <> z - a + 1",
    ),
    (
        "topic {} does not have the first and last publication that it is said to have",
        "SELECT p.topic FROM place p LEFT JOIN
         (SELECT topic, min(seq) a, max(seq) z, max(id) m FROM pub GROUP BY topic) q ON q.topic = p.topic
         WHERE q.a IS NOT p.first_seq OR q.z IS NOT p.last_seq OR q.m IS NOT p.last_pub",
    ),
    (
        "publication {} belongs to a topic without a place",
        "SELECT id FROM pub WHERE topic NOT IN (SELECT topic FROM place)",
    ),
    (
        "publication {} has a smaller number than one before it",
        "SELECT id FROM (SELECT id, seq, lag(seq) OVER (PARTITION BY topic ORDER BY id) b FROM pub) WHERE b >= seq",
    ),
    ("place {} belongs to no topic", "SELECT topic FROM place WHERE topic NOT IN (SELECT id FROM topic)"),
    ("topic {} belongs to no hub", "SELECT id FROM topic WHERE hub NOT IN (SELECT id FROM hub)"),
    (
        "the octets of topic {} are miscounted",
        "SELECT p.topic FROM place p JOIN (SELECT topic, sum(length(body) + octet_length(content_type)
         + ifnull(length(extras), 0) + 64) n FROM pub GROUP BY topic) q ON q.topic = p.topic WHERE q.n <> p.bytes",
    ),
    ("subscription {} has no cursor", "SELECT id FROM sub WHERE id NOT IN (SELECT id FROM cur)"),
    ("cursor {} belongs to no subscription", "SELECT id FROM cur WHERE id NOT IN (SELECT id FROM sub)"),
    ("subscription {} belongs to no topic", "SELECT id FROM sub WHERE topic NOT IN (SELECT id FROM topic)"),
    (
        "cursor {} and its subscription differ in topic or state",
        "SELECT cur.id FROM cur JOIN sub USING (id) WHERE cur.topic <> sub.topic OR cur.holds <> (sub.state = 0)",
    ),
    (
        "cursor {} stands behind the end of the log",
        "SELECT id FROM cur WHERE position > (SELECT ifnull(max(id), 0) FROM pub)",
    ),
];

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// What is wrong, in words; nothing when all is well.
    pub faults: Vec<String>,
    /// The version of the tables.
    pub version: i64,
    /// Publications in the log.
    pub publications: u64,
    /// Subscriptions, whatever their state.
    pub subscriptions: u64,
}

/// Checks a store, which may be open in another process. It reads the whole file and changes nothing.
///
/// # Errors
/// When the file cannot be read at all, or is no store.
pub fn check(path: &Path) -> Result<Report, StoreError> {
    let connection = inspect(path)?;
    let version = schema::version(&connection)?;
    let mut report = Report { faults: Vec::new(), version, publications: 0, subscriptions: 0 };
    // One view for all statements.
    let view = connection.unchecked_transaction().map_err(fault)?;
    let found = integrity(&view, &mut report.faults)
        .and_then(|()| invariants(&view, &mut report))
        .and_then(|()| sums(&view, &mut report));
    if let Err(error) = found {
        // A file that is damaged enough cannot even be checked to the end. That is a finding.
        report.faults.push(error.to_string());
    }
    Ok(report)
}

/// A connection that sees a store without locking out its owner.
pub(super) fn inspect(path: &Path) -> Result<Connection, StoreError> {
    let path = &path::resolve(path)?;
    birth::judge(path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(fault)?;
    connection.busy_timeout(Duration::from_secs(5)).map_err(fault)?;
    match schema::version(&connection)? {
        0 => Err(StoreError::Unfit(birth::NOTHING_IN_IT.into())),
        found if found > schema::VERSION => {
            Err(StoreError::Unfit(format!("the store has version {found}, which this program does not know").into()))
        }
        _ => Ok(connection),
    }
}

/// What SQLite itself finds: pages, order of the trees, rows that an index lacks.
fn integrity(view: &Connection, faults: &mut Vec<String>) -> rusqlite::Result<()> {
    let mut statement = view.prepare(&format!("PRAGMA integrity_check({FAULTS_MAX})"))?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let said: String = row.get(0)?;
        if said != "ok" {
            faults.push(said);
        }
    }
    Ok(())
}

/// What only we know. All of them are run, since one fault seldom comes alone.
fn invariants(view: &Connection, report: &mut Report) -> rusqlite::Result<()> {
    let count = |sql| view.query_row(sql, [], |row| row.get::<_, i64>(0)).map(i64::cast_unsigned);
    report.publications = count("SELECT count(*) FROM pub")?;
    report.subscriptions = count("SELECT count(*) FROM sub")?;
    for (meaning, sql) in INVARIANTS {
        let mut statement = view.prepare(sql)?;
        let mut rows = statement.query([])?;
        while report.faults.len() < FAULTS_MAX
            && let Some(row) = rows.next()?
        {
            report.faults.push(meaning.replace("{}", &row.get::<_, i64>(0)?.to_string()));
        }
    }
    Ok(())
}

/// Compares every publication with its checksum, dead ones too.
fn sums(view: &Connection, report: &mut Report) -> rusqlite::Result<()> {
    if report.version < schema::VERSION_OF_SUMS {
        return Ok(());
    }
    for (sql, place) in [("SELECT * FROM pub", ""), (query::DEAD, "among the dead publications, ")] {
        let mut statement = view.prepare(sql)?;
        let mut rows = statement.query([])?;
        while report.faults.len() < FAULTS_MAX
            && let Some(row) = rows.next()?
        {
            if !sum::fits(row, 0)? {
                let (offset, topic) = (query::number(row, 0)?, query::number(row, 1)?);
                let name = query::topic(view, topic)
                    .map_or_else(|_| format!("topic {topic}"), |name| name.topic.as_str().to_owned());
                report.faults.push(format!("{place}{}", Damage::of(offset, &name)));
            }
        }
    }
    Ok(())
}
