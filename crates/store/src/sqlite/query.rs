//! Reading rows back into what they were.

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Row, Rows, params};
use stentor_model::{IdMap, Offset, PublicationId, Secret, Topic, WebhookId};

use super::register::{ACTIVE, DENIED};
use super::sum::{self, Damage};
use crate::cursor::TopicNumber;
use crate::{
    Burial, Content, DeadId, DeadPublication, Entry, Freshness, Hub, HubTopic, IDEMPOTENCY_WINDOW, LastOutcome,
    ReadLimit, Receipt, Recipient, Sequence, State, StoreError, Subscription, Timestamp,
};

/// A row of `place`, as far as readers need it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extent {
    pub(super) topic: TopicNumber,
    pub(super) first_seq: u64,
    pub(super) last_seq: u64,
    pub(super) last_pub: u64,
    pub(super) cut_pub: u64,
}

impl Extent {
    /// From the columns topic, first_seq, last_seq, last_pub, cut_pub.
    pub(super) fn of(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            topic: number(row, 0)?,
            first_seq: number(row, 1)?,
            last_seq: number(row, 2)?,
            last_pub: number(row, 3)?,
            cut_pub: number(row, 4)?,
        })
    }

    /// The extent of a topic, if anybody has published on it.
    pub(super) fn find(connection: &Connection, topic: &HubTopic) -> rusqlite::Result<Option<Self>> {
        connection
            .prepare_cached(
                "SELECT p.topic, first_seq, last_seq, last_pub, cut_pub FROM hub h
                 JOIN topic t ON t.hub = h.id JOIN place p ON p.topic = t.id WHERE h.name = ? AND t.url = ?",
            )?
            .query_row([topic.hub.as_str(), topic.topic.as_str()], Self::of)
            .optional()
    }
}

/// Numbers of ours are below 2^63, or any 64 bits.
pub(super) fn number(row: &Row<'_>, at: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(at).map(i64::cast_unsigned)
}

/// The number of the last publication of the topic at or before `offset`; one less than its first if there is none.
///
/// Both numbers grow together, so this is a search in a sorted list. Mostly `offset` is a publication of the topic, where a
/// cursor stands, and one look-up does.
pub(super) fn sequence_at(connection: &Connection, extent: Extent, offset: Offset) -> rusqlite::Result<Sequence> {
    if offset.get() >= extent.last_pub {
        return Ok(Sequence(extent.last_seq));
    }
    let before = extent.first_seq - 1;
    if offset.get() <= extent.cut_pub {
        return Ok(Sequence(before));
    }
    let exact = connection
        .prepare_cached("SELECT seq FROM pub WHERE id = ? AND topic = ?")?
        .query_row([offset.get().cast_signed(), extent.topic.cast_signed()], |row| number(row, 0));
    // Where that row is damaged the index still leads to those behind it, which are all that somebody wants who has it.
    if let Ok(exact) = exact {
        return Ok(Sequence(exact));
    }
    let mut look = connection.prepare_cached("SELECT id FROM pub WHERE topic = ? AND seq = ?")?;
    let (mut low, mut high) = (before, extent.last_seq);
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        let id = look.query_row([extent.topic.cast_signed(), middle.cast_signed()], |row| number(row, 0)).optional()?;
        // What was cut since the extent was read lies before everything that is left.
        if id.is_none_or(|id| id <= offset.get()) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    Ok(Sequence(low))
}

/// When the publication with this number arrived.
pub(super) fn arrival(connection: &Connection, topic: TopicNumber, seq: u64) -> rusqlite::Result<Option<Timestamp>> {
    connection
        .prepare_cached("SELECT at FROM pub WHERE topic = ? AND seq = ?")?
        .query_row([topic.cast_signed(), seq.cast_signed()], |row| number(row, 0).map(Timestamp))
        .optional()
}

/// The name of a topic.
pub(super) fn topic(connection: &Connection, number: TopicNumber) -> rusqlite::Result<HubTopic> {
    connection
        .prepare_cached("SELECT name, url FROM hub JOIN topic ON topic.hub = hub.id WHERE topic.id = ?")?
        .query_row([number.cast_signed()], |row| {
            let hub = Hub::parse(row.get_ref(0)?.as_str()?).map_err(|_| damaged(0))?;
            let topic = Topic::parse(row.get_ref(1)?.as_str()?).map_err(|_| damaged(1))?;
            Ok(HubTopic { hub, topic })
        })
        .optional()?
        .ok_or_else(|| Damage(format!("there is no topic {number}, to which something is said to belong")).into())
}

/// Topics whose names a reader remembers. When there are more it forgets all of them, which costs one look-up each.
const NAMES_MAX: usize = 20_000;

/// Names of topics by their numbers, which never change, so that what is read shares them.
#[derive(Debug, Default)]
pub(super) struct Names(IdMap<TopicNumber, HubTopic>);

impl Names {
    /// The name of this topic.
    pub(super) fn get(&mut self, connection: &Connection, number: TopicNumber) -> rusqlite::Result<HubTopic> {
        if let Some(known) = self.0.get(&number) {
            return Ok(known.clone());
        }
        let found = topic(connection, number)?;
        if self.0.len() >= NAMES_MAX {
            self.0.clear();
        }
        self.0.insert(number, found.clone());
        Ok(found)
    }
}

/// What a read of the log found.
#[derive(Debug, Default)]
pub(super) struct Stretch {
    pub(super) entries: Vec<Entry>,
    /// Whether something was kept back, by the limit or by a fault.
    pub(super) has_more: bool,
    /// Why what lies behind the entries cannot be read. Whoever reads on from there is told so; until then this is no failure.
    pub(super) fault: Option<rusqlite::Error>,
}

/// The publications that a statement finds, as many as the limit lets in and as can be read. The columns of the statement are
/// those of `pub`; it is asked for one row more than are wanted.
///
/// # Errors
/// When the first of them cannot be read.
pub(super) fn entries(
    connection: &Connection,
    sql: &str,
    (at, after): (i64, u64),
    limit: ReadLimit,
    names: &mut Names,
) -> rusqlite::Result<Stretch> {
    let mut found = Stretch::default();
    let mut statement = connection.prepare_cached(sql)?;
    let rows = i64::try_from(limit.entries.saturating_add(1)).unwrap_or(i64::MAX);
    let mut rows = statement.query(params![at, after.cast_signed(), rows])?;
    match collect(connection, &mut rows, &mut found.entries, limit, names) {
        Ok(has_more) => found.has_more = has_more,
        Err(error) if found.entries.is_empty() => return Err(error),
        // A row that cannot be read is there all the same.
        Err(error) => (found.has_more, found.fault) = (true, Some(error)),
    }
    Ok(found)
}

/// Enters what the rows have, up to the limit. Answers whether there is more.
fn collect(
    connection: &Connection,
    rows: &mut Rows<'_>,
    entries: &mut Vec<Entry>,
    limit: ReadLimit,
    names: &mut Names,
) -> rusqlite::Result<bool> {
    let mut bytes = 0;
    while entries.is_empty() || entries.len() < limit.entries && bytes < limit.bytes {
        let Some(row) = rows.next()? else { return Ok(false) };
        bytes += row.get_ref(7)?.as_blob()?.len() as u64;
        if bytes > limit.bytes && !entries.is_empty() {
            return Ok(true);
        }
        entries.push(entry(row, 0, names.get(connection, number(row, 1)?)?)?);
    }
    Ok(rows.next()?.is_some())
}

/// The publication in the columns from `at` on: id, topic, seq, name, at, content_type, extras, body, sum.
fn entry(row: &Row<'_>, at: usize, topic: HubTopic) -> rusqlite::Result<Entry> {
    if !sum::fits(row, at)? {
        return Err(Damage::of(number(row, at)?, topic.topic.as_str()).into());
    }
    Ok(Entry {
        offset: Offset::new(number(row, at)?),
        topic,
        sequence: Sequence(number(row, at + 2)?),
        publication: publication_id(number(row, at + 3)?)?,
        at: Timestamp(number(row, at + 4)?),
        content: Content {
            content_type: row.get_ref(at + 5)?.as_str()?.into(),
            extras: extras(row, at + 6)?,
            body: bytes::Bytes::copy_from_slice(row.get_ref(at + 7)?.as_blob()?),
        },
    })
}

/// What is kept under an idempotency key.
#[derive(Debug)]
pub(super) struct Keyed {
    at: Timestamp,
    fingerprint: u64,
    receipt: Receipt,
}

impl Keyed {
    /// The publication that somebody means who comes with this fingerprint now; none when the key is too old to count.
    pub(super) fn judge(self, fingerprint: u64, now: Timestamp) -> Result<Option<Receipt>, StoreError> {
        if now.since(self.at) >= IDEMPOTENCY_WINDOW {
            Ok(None)
        } else if self.fingerprint == fingerprint {
            Ok(Some(self.receipt))
        } else {
            Err(StoreError::KeyReused)
        }
    }

    /// From the columns at, fingerprint, name, pub, seq.
    fn of(row: &Row<'_>) -> rusqlite::Result<Self> {
        let receipt = Receipt {
            publication: publication_id(number(row, 2)?)?,
            offset: Offset::new(number(row, 3)?),
            sequence: Sequence(number(row, 4)?),
            freshness: Freshness::Repeated,
        };
        Ok(Self { at: Timestamp(number(row, 0)?), fingerprint: number(row, 1)?, receipt })
    }
}

/// What is kept under a key of the hub with this number.
pub(super) fn keyed_by_number(connection: &Connection, hub: i64, key: &str) -> rusqlite::Result<Option<Keyed>> {
    connection
        .prepare_cached("SELECT at, fingerprint, name, pub, seq FROM key WHERE hub = ? AND key = ?")?
        .query_row(params![hub, key], Keyed::of)
        .optional()
}

/// What is kept under a key of this hub.
pub(super) fn keyed(connection: &Connection, hub: &Hub, key: &str) -> rusqlite::Result<Option<Keyed>> {
    connection
        .prepare_cached(
            "SELECT k.at, k.fingerprint, k.name, k.pub, k.seq FROM hub h JOIN key k ON k.hub = h.id
             WHERE h.name = ? AND k.key = ?",
        )?
        .query_row([hub.as_str(), key], Keyed::of)
        .optional()
}

/// The name of a publication from its number in the file.
pub(super) fn publication_id(raw: u64) -> rusqlite::Result<PublicationId> {
    PublicationId::new(raw).ok_or(rusqlite::Error::IntegralValueOutOfRange(0, raw.cast_signed()))
}

/// Extras are ours to decode; what does not decode is damage like any other.
fn extras(row: &Row<'_>, at: usize) -> rusqlite::Result<crate::Extras> {
    let octets = match row.get_ref(at)? {
        ValueRef::Null => None,
        value => Some(value.as_blob()?),
    };
    crate::extras::decode(octets).map_err(|_| damaged(at))
}

/// A value that this program never wrote, in words that `fault` knows as damage.
fn damaged(at: usize) -> rusqlite::Error {
    rusqlite::Error::IntegralValueOutOfRange(at, 0)
}

/// Columns of [`subscription`].
pub(super) const SUBSCRIPTION: &str =
    "SELECT s.id, s.topic, callback, secret, identity, extras, created, verified, lease_end,
    state, reason, o.at, o.status, o.text FROM sub s LEFT JOIN outcome o ON o.id = s.id";

/// A subscription, without what only the memory knows: `position` tells it for an identifier.
pub(super) fn subscription(row: &Row<'_>, topic: HubTopic, position: Offset) -> rusqlite::Result<Subscription> {
    let text = |at| row.get_ref(at)?.as_str_or_null().map(|text| text.map(Box::from)).map_err(rusqlite::Error::from);
    let reason = || Ok::<_, rusqlite::Error>(text(10)?.unwrap_or_default());
    let outcome = match row.get::<_, Option<i64>>(11)? {
        None => None,
        Some(at) => Some(LastOutcome {
            at: Timestamp(at.cast_unsigned()),
            status: row.get(12)?,
            text: text(13)?.unwrap_or_default(),
        }),
    };
    Ok(Subscription {
        id: WebhookId(number(row, 0)?),
        topic,
        callback: row.get_ref(2)?.as_str()?.into(),
        secret: row.get_ref(3)?.as_str_or_null()?.map(Secret::new),
        identity: text(4)?,
        extras: extras(row, 5)?,
        created: Timestamp(number(row, 6)?),
        verified: row.get::<_, Option<i64>>(7)?.map(|at| Timestamp(at.cast_unsigned())),
        lease_end: Timestamp(number(row, 8)?),
        state: match row.get::<_, i64>(9)? {
            ACTIVE => State::Active,
            DENIED => State::Denied { reason: reason()? },
            _ => State::Gone { reason: reason()? },
        },
        outcome,
        position,
    })
}

/// Columns of [`recipient`]. The identifiers are walked through in their order, whatever the states are.
pub(super) const RECIPIENT: &str = "SELECT id, topic, callback, extras, lease_end FROM sub WHERE id > ?1 AND state = ?3
    ORDER BY id LIMIT ?2";

/// What a start has to know of a subscription.
pub(super) fn recipient(
    row: &Row<'_>,
    id: WebhookId,
    topic: HubTopic,
    position: Offset,
) -> rusqlite::Result<Recipient> {
    Ok(Recipient {
        id,
        topic,
        callback: row.get_ref(2)?.as_str()?.into(),
        extras: extras(row, 3)?,
        lease_end: Timestamp(number(row, 4)?),
        position,
    })
}

/// Columns of [`dead`].
pub(super) const DEAD: &str =
    "SELECT pub, topic, seq, name, at, content_type, extras, body, sum, id, sub, buried, attempts, reason FROM dead";

/// A dead publication.
pub(super) fn dead(row: &Row<'_>, topic: HubTopic) -> rusqlite::Result<DeadPublication> {
    let entry = entry(row, 0, topic)?;
    Ok(DeadPublication {
        id: DeadId(number(row, 9)?),
        subscription: WebhookId(number(row, 10)?),
        burial: Burial {
            offset: entry.offset,
            at: Timestamp(number(row, 11)?),
            attempts: row.get(12)?,
            reason: row.get_ref(13)?.as_str()?.into(),
        },
        entry,
    })
}
