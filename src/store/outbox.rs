//! The outbox: intents, frozen messages, their deliveries, and how the channels do.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use rusqlite::{Connection, OptionalExtension, Row, named_params, params};
use serde::Serialize;

use super::{Result, Store, json, to_json};
use crate::model::{DeliveryState, Frozen, Intent};

/// An intent that no message was made of yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingIntent {
    /// Its number.
    pub id: i64,
    /// When it was stored.
    pub at: DateTime<Utc>,
    /// What is to be told.
    pub intent: Intent,
}

/// What was told by a channel to the same recipients, and is not told again at once.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Told {
    /// The channel.
    pub channel: String,
    /// The recipients, as the intent has them.
    pub to: Vec<String>,
    /// About what.
    pub topic: String,
}

/// A frozen message with its recipients and what it settles.
pub struct Enqueued<'a> {
    /// The message.
    pub frozen: &'a Frozen,
    /// Its recipients; a channel without recipients of its own has the empty one.
    pub recipients: &'a [String],
    /// The intents that are thereby told.
    pub intents: &'a [i64],
    /// What is thereby told.
    pub told: &'a [Told],
}

/// One message to one recipient.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeliveryRow {
    /// The message's number.
    pub message: i64,
    /// The channel.
    pub channel: String,
    /// To whom; empty where the channel has no recipients of its own.
    pub recipient: String,
    /// The message's subject.
    pub subject: String,
    /// How far it is.
    pub state: DeliveryState,
    /// How often it was tried.
    pub attempts: i64,
    /// Since when its recipient was asked in vain; none before that, and after the channel itself did not work.
    pub tried_since: Option<DateTime<Utc>>,
    /// When it was stored.
    pub at: DateTime<Utc>,
    /// When it is tried next, or was settled.
    pub next: DateTime<Utc>,
    /// Why the last attempt failed.
    pub error: Option<String>,
}

/// How a channel that doesn't work does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Trouble {
    /// The channel.
    pub channel: String,
    /// Since when.
    pub since: DateTime<Utc>,
    /// How often it was tried in vain.
    pub failures: i64,
    /// When it is tried next.
    pub next: DateTime<Utc>,
    /// Whether it is paused: somebody has to mend it.
    pub paused: bool,
    /// Why.
    pub error: String,
    /// What it was when it failed; another one is tried at once.
    #[serde(skip)]
    pub fingerprint: String,
}

const COLUMNS: &str =
    "message, deliveries.channel, recipient, subject, state, attempts, at, next_attempt, error, tried_since";

/// Whether a delivery is due at `:now`: what waits for a recipient holds back what is newer and no alert. What is due only hours later was
/// stored before the clock was set back.
const DUE: &str = "state = 'queued' AND (next_attempt <= :now OR next_attempt > :now + 14400)
    AND (messages.alert OR NOT EXISTS (
        SELECT 1 FROM deliveries AS earlier WHERE earlier.channel = deliveries.channel AND earlier.state = 'queued'
        AND earlier.recipient = deliveries.recipient AND earlier.message < deliveries.message))";

impl Store {
    /// The intents that no message was made of yet, oldest first.
    ///
    /// # Errors
    /// Fails where the database can't be read.
    pub fn pending_intents(&self) -> Result<Vec<PendingIntent>> {
        self.read(|db| {
            let mut statement = db.prepare("SELECT id, at, intent FROM intents WHERE message IS NULL ORDER BY id")?;
            let rows = statement.query_map([], |row| {
                Ok(PendingIntent { id: row.get(0)?, at: seconds(row, 1)?, intent: json(row, 2)? })
            })?;
            rows.collect()
        })
    }

    /// What was told since an instant, and when.
    ///
    /// # Errors
    /// Fails where the database can't be read.
    pub fn told_since(&self, since: DateTime<Utc>) -> Result<BTreeMap<Told, DateTime<Utc>>> {
        let sql = "SELECT channel, recipients, topic, at FROM told WHERE at > ?1";
        let read = |row: &Row<'_>| {
            Ok((Told { channel: row.get(0)?, to: json(row, 1)?, topic: row.get(2)? }, seconds(row, 3)?))
        };
        self.read(|db| db.prepare(sql)?.query_map([since.timestamp()], read)?.collect())
    }

    /// Stores a frozen message with its deliveries, and what is thereby told. A message with the same key is not stored twice.
    ///
    /// # Errors
    /// Fails where the database can't be written.
    pub fn enqueue(&self, enqueued: &Enqueued<'_>, now: DateTime<Utc>) -> Result<i64> {
        self.write(|tx| enqueue(tx, enqueued, now))
    }

    /// Forgets an intent that no message can be made of any more.
    ///
    /// # Errors
    /// Fails where the database can't be written.
    pub fn forget_intent(&self, id: i64) -> Result<()> {
        self.write(|tx| tx.execute("DELETE FROM intents WHERE id = ?1", [id]).map(drop))
    }

    /// The channels of deliveries that are due, those that are in trouble only when they are to be tried again.
    ///
    /// # Errors
    /// Fails where the database can't be read.
    pub fn due_channels(&self, now: DateTime<Utc>) -> Result<Vec<String>> {
        let queued = "SELECT DISTINCT channel FROM deliveries WHERE state = 'queued'
                      AND channel NOT IN (SELECT channel FROM troubles WHERE next > :now AND next <= :now + 3600) ORDER BY channel";
        let due = format!(
            "SELECT EXISTS (SELECT 1 FROM deliveries JOIN messages ON id = message WHERE deliveries.channel = :channel AND {DUE})"
        );
        self.read(|db| {
            let now = now.timestamp();
            let mut queued = db.prepare_cached(queued)?;
            let channels: Vec<String> =
                queued.query_map(named_params! { ":now": now }, |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
            let mut due = db.prepare_cached(&due)?;
            let mut is_due =
                |channel: &String| due.query_row(named_params! { ":now": now, ":channel": channel }, |row| row.get(0));
            let with_due = channels.into_iter().map(|channel| Ok((is_due(&channel)?, channel)));
            let with_due: Vec<(bool, String)> = with_due.collect::<rusqlite::Result<_>>()?;
            Ok(with_due.into_iter().filter_map(|(due, channel)| due.then_some(channel)).collect())
        })
    }

    /// Takes the next delivery of a channel that is due, to be tried now. What waits for a recipient holds back what is newer
    /// and no alert. What comes of an attempt that can't be recorded is tried again only at the next start.
    ///
    /// # Errors
    /// Fails where the database can't be written.
    pub fn take_delivery(&self, channel: &str, now: DateTime<Utc>) -> Result<Option<(DeliveryRow, Vec<u8>)>> {
        let sql = format!(
            "SELECT {COLUMNS}, body FROM deliveries JOIN messages ON id = message
             WHERE deliveries.channel = :channel AND {DUE} ORDER BY message, recipient LIMIT 1"
        );
        self.write(|tx| {
            let read = |row: &Row<'_>| Ok((read_delivery(row)?, row.get(10)?));
            let values = named_params! { ":channel": channel, ":now": now.timestamp() };
            let found: Option<(DeliveryRow, Vec<u8>)> = tx.prepare_cached(&sql)?.query_row(values, read).optional()?;
            if let Some((delivery, _)) = &found {
                let sql = "UPDATE deliveries SET state = 'sending', attempts = attempts + 1 WHERE message = ?1 AND recipient = ?2";
                tx.prepare_cached(sql)?.execute(params![delivery.message, delivery.recipient])?;
            }
            Ok(found)
        })
    }

    /// Puts on record what became of an attempt.
    ///
    /// # Errors
    /// Fails where the database can't be written.
    pub fn settle_delivery(
        &self,
        delivery: &DeliveryRow,
        state: DeliveryState,
        next: DateTime<Utc>,
        error: Option<&str>,
        tried_since: Option<DateTime<Utc>>,
    ) -> Result<()> {
        let sql = "UPDATE deliveries SET state = ?3, next_attempt = ?4, error = ?5, tried_since = ?6
                   WHERE message = ?1 AND recipient = ?2";
        let tried_since = tried_since.map(|since| since.timestamp());
        let values =
            params![delivery.message, delivery.recipient, state.as_str(), next.timestamp(), error, tried_since];
        self.write(|tx| tx.prepare_cached(sql)?.execute(values).map(drop))
    }

    /// Puts on record that a channel doesn't work. Where it has not since before `before`, and is not only paused, what was stored before
    /// is given up. Returns how many deliveries were.
    ///
    /// # Errors
    /// Fails where the database can't be written.
    pub fn channel_failed(&self, trouble: &Trouble, before: DateTime<Utc>) -> Result<usize> {
        let record = "INSERT INTO troubles (channel, since, failures, next, paused, error, fingerprint)
                      VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
                      ON CONFLICT DO UPDATE SET since = ?2, failures = ?3, next = ?4, paused = ?5, error = ?6, fingerprint = ?7";
        let give_up = "UPDATE deliveries SET state = 'dead', error = ?2 WHERE channel = ?1 AND state = 'queued'
                       AND message IN (SELECT id FROM messages WHERE at < ?3)";
        let t = trouble;
        self.write(|tx| {
            let (since, next) = (t.since.timestamp(), t.next.timestamp());
            tx.execute(record, params![t.channel, since, t.failures, next, t.paused, t.error, t.fingerprint])?;
            let for_long = !t.paused && t.since < before;
            if for_long { tx.execute(give_up, params![t.channel, t.error, before.timestamp()]) } else { Ok(0) }
        })
    }

    /// Puts on record that a channel works, or is another one.
    ///
    /// # Errors
    /// Fails where the database can't be written.
    pub fn channel_works(&self, channel: &str) -> Result<()> {
        self.write(|tx| tx.execute("DELETE FROM troubles WHERE channel = ?1", [channel]).map(drop))
    }

    /// The channels that don't work.
    ///
    /// # Errors
    /// Fails where the database can't be read.
    pub fn troubles(&self) -> Result<Vec<Trouble>> {
        let sql = "SELECT channel, since, failures, next, paused, error, fingerprint FROM troubles ORDER BY channel";
        let read = |row: &Row<'_>| {
            Ok(Trouble {
                channel: row.get(0)?,
                since: seconds(row, 1)?,
                failures: row.get(2)?,
                next: seconds(row, 3)?,
                paused: row.get(4)?,
                error: row.get(5)?,
                fingerprint: row.get(6)?,
            })
        };
        self.read(|db| db.prepare(sql)?.query_map([], read)?.collect())
    }

    /// Has deliveries tried again that were left half way: better twice than never. Returns how many.
    ///
    /// # Errors
    /// Fails where the database can't be written.
    pub fn recover_deliveries(&self) -> Result<usize> {
        let any = "SELECT EXISTS (SELECT 1 FROM deliveries WHERE state = 'sending')";
        if !self.read(|db| db.query_row(any, [], |row| row.get::<_, bool>(0)))? {
            return Ok(0);
        }
        self.write(|tx| tx.execute("UPDATE deliveries SET state = 'queued' WHERE state = 'sending'", []))
    }

    /// From now on it counts for how long channels don't work: nobody tried while logkeeper did not run.
    ///
    /// # Errors
    /// Fails where the database can't be written.
    pub fn restart_troubles(&self, now: DateTime<Utc>) -> Result<()> {
        self.write(|tx| {
            tx.execute("UPDATE troubles SET since = max(since, ?1) WHERE NOT paused", [now.timestamp()]).map(drop)
        })
    }

    /// Has what waits or was given up tried at once, and again for as long as at first: of one message, or of all. Returns how many
    /// deliveries that are.
    ///
    /// # Errors
    /// Fails where the database can't be written.
    pub fn retry_deliveries(&self, message: Option<i64>, now: DateTime<Utc>) -> Result<usize> {
        let sql = "UPDATE deliveries SET state = 'queued', next_attempt = ?2, attempts = 0, tried_since = NULL
                   WHERE (?1 IS NULL OR message = ?1) AND state IN ('queued', 'dead')";
        self.write(|tx| {
            let retried = tx.execute(sql, params![message, now.timestamp()])?;
            tx.execute("UPDATE troubles SET next = ?1, since = max(since, ?1)", [now.timestamp()])?;
            Ok(retried)
        })
    }

    /// The newest deliveries, also only those of one state.
    ///
    /// # Errors
    /// Fails where the database can't be read.
    pub fn deliveries(&self, state: Option<DeliveryState>, limit: usize) -> Result<Vec<DeliveryRow>> {
        let sql = format!(
            "SELECT {COLUMNS} FROM deliveries JOIN messages ON id = message WHERE (?1 IS NULL OR state = ?1)
             ORDER BY message DESC, recipient LIMIT ?2"
        );
        let values = params![state.map(DeliveryState::as_str), i64::try_from(limit).unwrap_or(i64::MAX)];
        self.read(|db| db.prepare(&sql)?.query_map(values, read_delivery)?.collect())
    }

    /// How many deliveries wait for a channel.
    ///
    /// # Errors
    /// Fails where the database can't be read.
    pub fn waiting_for(&self, channel: &str) -> Result<usize> {
        let sql = "SELECT count(*) FROM deliveries WHERE channel = ?1 AND state = 'queued'";
        self.read(|db| db.query_row(sql, [channel], |row| row.get::<_, i64>(0)).map(|n| n as usize))
    }

    /// How many deliveries of messages that were made between two instants were given up.
    ///
    /// # Errors
    /// Fails where the database can't be read.
    pub fn undelivered(&self, from: DateTime<Utc>, to: DateTime<Utc>) -> Result<usize> {
        let sql = "SELECT count(*) FROM deliveries JOIN messages ON id = message
                   WHERE state = 'dead' AND at >= ?1 AND at < ?2";
        let values = [from.timestamp(), to.timestamp()];
        self.read(|db| db.query_row(sql, values, |row| row.get::<_, i64>(0)).map(|n| n as usize))
    }

    /// A message's bytes.
    ///
    /// # Errors
    /// Fails where the database can't be read.
    pub fn message_body(&self, message: i64) -> Result<Option<Vec<u8>>> {
        let sql = "SELECT body FROM messages WHERE id = ?1";
        self.read(|db| db.query_row(sql, [message], |row| row.get(0)).optional())
    }

    /// Forgets messages made before `before` of which no delivery is open, at most `limit`. Returns how many.
    ///
    /// # Errors
    /// Fails where the database can't be written.
    pub fn prune_messages(&self, before: DateTime<Utc>, limit: usize) -> Result<usize> {
        let old = "SELECT id FROM messages WHERE at < ?1 AND NOT EXISTS
                   (SELECT 1 FROM deliveries WHERE message = id AND state IN ('queued', 'sending')) LIMIT ?2";
        self.write(|tx| {
            let values = params![before.timestamp(), limit as i64];
            let old: Vec<i64> =
                tx.prepare(old)?.query_map(values, |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
            for id in &old {
                for sql in [
                    "DELETE FROM deliveries WHERE message = ?1",
                    "DELETE FROM intents WHERE message = ?1",
                    "DELETE FROM messages WHERE id = ?1",
                ] {
                    tx.prepare_cached(sql)?.execute([id])?;
                }
            }
            tx.execute("DELETE FROM told WHERE at < ?1", [before.timestamp()])?;
            Ok(old.len())
        })
    }
}

/// Stores the intent to tell something.
pub(super) fn insert_intent(tx: &Connection, intent: &Intent, now: DateTime<Utc>) -> rusqlite::Result<()> {
    let sql = "INSERT INTO intents (at, intent) VALUES (?1, ?2)";
    tx.prepare_cached(sql)?.execute(params![now.timestamp(), to_json(intent)]).map(drop)
}

pub(super) fn enqueue(tx: &Connection, enqueued: &Enqueued<'_>, now: DateTime<Utc>) -> rusqlite::Result<i64> {
    let Frozen { channel, key, subject, alert, body } = enqueued.frozen;
    let known = tx.query_row("SELECT id FROM messages WHERE key = ?1", [key], |row| row.get(0)).optional()?;
    let id = match known {
        Some(id) => id,
        None => {
            let sql = "INSERT INTO messages (at, key, subject, alert, body) VALUES (?1, ?2, ?3, ?4, ?5)";
            tx.prepare_cached(sql)?.execute(params![now.timestamp(), key, subject, alert, body])?;
            tx.last_insert_rowid()
        }
    };
    let sql = "INSERT OR IGNORE INTO deliveries (message, channel, recipient, state, next_attempt)
               VALUES (?1, ?2, ?3, 'queued', ?4)";
    for recipient in enqueued.recipients {
        tx.prepare_cached(sql)?.execute(params![id, channel, recipient, now.timestamp()])?;
    }
    let sql = "UPDATE intents SET message = ?1 WHERE id IN (SELECT value FROM json_each(?2))";
    tx.execute(sql, params![id, to_json(&enqueued.intents)])?;
    let sql =
        "INSERT INTO told (channel, recipients, topic, at) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO UPDATE SET at = ?4";
    for told in enqueued.told {
        tx.execute(sql, params![told.channel, to_json(&told.to), told.topic, now.timestamp()])?;
    }
    Ok(id)
}

/// After how long something is not told by the same channel to the same recipients again, see [`Told`].
pub const TOLD_AGAIN: TimeDelta = TimeDelta::hours(1);

fn read_delivery(row: &Row<'_>) -> rusqlite::Result<DeliveryRow> {
    let state: String = row.get(4)?;
    Ok(DeliveryRow {
        message: row.get(0)?,
        channel: row.get(1)?,
        recipient: row.get(2)?,
        subject: row.get(3)?,
        state: state.parse().map_err(|error| super::corrupt(4, error))?,
        attempts: row.get(5)?,
        at: seconds(row, 6)?,
        next: seconds(row, 7)?,
        error: row.get(8)?,
        tried_since: row.get::<_, Option<i64>>(9)?.and_then(|at| DateTime::from_timestamp(at, 0)),
    })
}

fn seconds(row: &Row<'_>, column: usize) -> rusqlite::Result<DateTime<Utc>> {
    Ok(DateTime::from_timestamp(row.get(column)?, 0).unwrap_or_default())
}
