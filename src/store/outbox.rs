//! The outbox: intents, frozen messages and their deliveries.

use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension, params};
use serde::Serialize;

use super::{Result, Store, json, to_json};
use crate::model::Intent;

/// An intent that no message was made of yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingIntent {
    /// Its number.
    pub id: i64,
    /// When it was stored, seconds since 1970 UTC.
    pub at: i64,
    /// What is to be told.
    pub intent: Intent,
}

/// A message as it goes over the wire, the same in every attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frozen {
    /// What it is about, unique for ever.
    pub key: String,
    /// Its subject.
    pub subject: String,
    /// Its bytes.
    pub mime: Vec<u8>,
}

/// One message to one recipient.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeliveryRow {
    /// The message's number.
    pub message: i64,
    /// The message's subject.
    pub subject: String,
    /// To whom.
    pub recipient: String,
    /// `queued`, `sent` or `dead`.
    pub state: String,
    /// How often it was tried.
    pub attempts: i64,
    /// When it was stored, seconds since 1970 UTC.
    pub at: i64,
    /// Why the last attempt failed.
    pub error: Option<String>,
}

impl Store {
    /// The intents that no message was made of yet, oldest first.
    ///
    /// # Errors
    /// Fails where the database can't be read.
    pub fn pending_intents(&self) -> Result<Vec<PendingIntent>> {
        self.read(|db| {
            let mut statement = db.prepare("SELECT id, at, intent FROM intents WHERE message IS NULL ORDER BY id")?;
            let rows = statement
                .query_map([], |row| Ok(PendingIntent { id: row.get(0)?, at: row.get(1)?, intent: json(row, 2)? }))?;
            rows.collect()
        })
    }

    /// Stores a frozen message for these recipients, and that these intents are thereby told.
    /// A message with the same key is not stored twice.
    ///
    /// # Errors
    /// Fails where the database can't be written.
    pub fn enqueue(&self, frozen: &Frozen, recipients: &[String], intents: &[i64], now: DateTime<Utc>) -> Result<i64> {
        self.write(|tx| {
            let known =
                tx.query_row("SELECT id FROM messages WHERE key = ?1", [&frozen.key], |row| row.get(0)).optional()?;
            let id = match known {
                Some(id) => id,
                None => insert_message(tx, frozen, recipients, now)?,
            };
            tx.execute(
                "UPDATE intents SET message = ?1 WHERE id IN (SELECT value FROM json_each(?2))",
                params![id, to_json(&intents)],
            )?;
            Ok(id)
        })
    }

    /// Forgets an intent that no message can be made of any more.
    ///
    /// # Errors
    /// Fails where the database can't be written.
    pub fn forget_intent(&self, id: i64) -> Result<()> {
        self.write(|tx| tx.execute("DELETE FROM intents WHERE id = ?1", [id]).map(drop))
    }

    /// The deliveries that are due, oldest first.
    ///
    /// # Errors
    /// Fails where the database can't be read.
    pub fn due_deliveries(&self, now: DateTime<Utc>) -> Result<Vec<(DeliveryRow, Vec<u8>)>> {
        let sql = "SELECT message, subject, recipient, state, attempts, at, error, mime FROM deliveries JOIN messages ON id = message
                   WHERE state = 'queued' AND next_attempt <= ?1 ORDER BY message, recipient LIMIT 100";
        self.read(|db| {
            let mut statement = db.prepare(sql)?;
            let rows = statement.query_map([now.timestamp()], |row| Ok((read_delivery(row)?, row.get(7)?)))?;
            rows.collect()
        })
    }

    /// The newest deliveries.
    ///
    /// # Errors
    /// Fails where the database can't be read.
    pub fn deliveries(&self, limit: usize) -> Result<Vec<DeliveryRow>> {
        let sql = "SELECT message, subject, recipient, state, attempts, at, error FROM deliveries JOIN messages ON id = message
                   ORDER BY message DESC, recipient LIMIT ?1";
        self.read(|db| db.prepare(sql)?.query_map([limit as i64], read_delivery)?.collect())
    }

    /// Puts a delivery off before it is tried: where its end can't be recorded, it is not tried again at once.
    ///
    /// # Errors
    /// Fails where the database can't be written.
    pub fn claim(&self, delivery: &DeliveryRow, until: DateTime<Utc>) -> Result<()> {
        let sql = "UPDATE deliveries SET next_attempt = ?3 WHERE message = ?1 AND recipient = ?2";
        let values = params![delivery.message, delivery.recipient, until.timestamp()];
        self.write(|tx| tx.execute(sql, values).map(drop))
    }

    /// Marks a delivery as done.
    ///
    /// # Errors
    /// Fails where the database can't be written.
    pub fn delivered(&self, delivery: &DeliveryRow) -> Result<()> {
        self.set_delivery(delivery, "sent", 0, None)
    }

    /// Marks a delivery as failed for good.
    ///
    /// # Errors
    /// Fails where the database can't be written.
    pub fn refused(&self, delivery: &DeliveryRow, error: &str) -> Result<()> {
        self.set_delivery(delivery, "dead", 0, Some(error))
    }

    /// Puts a failed delivery off.
    ///
    /// # Errors
    /// Fails where the database can't be written.
    pub fn deferred(&self, delivery: &DeliveryRow, until: DateTime<Utc>, error: &str) -> Result<()> {
        self.set_delivery(delivery, "queued", until.timestamp(), Some(error))
    }

    fn set_delivery(&self, delivery: &DeliveryRow, state: &str, next_attempt: i64, error: Option<&str>) -> Result<()> {
        let sql = "UPDATE deliveries SET state = ?3, next_attempt = ?4, error = ?5, attempts = attempts + 1
                   WHERE message = ?1 AND recipient = ?2";
        let values = params![delivery.message, delivery.recipient, state, next_attempt, error];
        self.write(|tx| tx.execute(sql, values).map(drop))
    }
}

/// Stores the intent to tell something.
pub(super) fn insert_intent(tx: &Connection, intent: &Intent, now: DateTime<Utc>) -> rusqlite::Result<()> {
    tx.execute("INSERT INTO intents (at, intent) VALUES (?1, ?2)", params![now.timestamp(), to_json(intent)]).map(drop)
}

fn insert_message(
    tx: &Connection,
    frozen: &Frozen,
    recipients: &[String],
    now: DateTime<Utc>,
) -> rusqlite::Result<i64> {
    let sql = "INSERT INTO messages (at, key, subject, mime) VALUES (?1, ?2, ?3, ?4)";
    tx.execute(sql, params![now.timestamp(), frozen.key, frozen.subject, frozen.mime])?;
    let id = tx.last_insert_rowid();
    let sql = "INSERT INTO deliveries (message, recipient, state, next_attempt) VALUES (?1, ?2, 'queued', ?3)";
    for recipient in recipients {
        tx.execute(sql, params![id, recipient, now.timestamp()])?;
    }
    Ok(id)
}

fn read_delivery(row: &rusqlite::Row<'_>) -> rusqlite::Result<DeliveryRow> {
    Ok(DeliveryRow {
        message: row.get(0)?,
        subject: row.get(1)?,
        recipient: row.get(2)?,
        state: row.get(3)?,
        attempts: row.get(4)?,
        at: row.get(5)?,
        error: row.get(6)?,
    })
}
