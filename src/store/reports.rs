//! Reports that were sent, with their figures: so a report can be shown again as it was.

use chrono::{DateTime, NaiveDate, Utc};
use rusqlite::{OptionalExtension, params};

use super::outbox::{Enqueued, enqueue};
use super::{Result, Store};
use crate::model::{Audience, ReportKind};

/// A report as sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentReport {
    /// Its kind.
    pub kind: ReportKind,
    /// For whom.
    pub audience: Audience,
    /// The server.
    pub host: String,
    /// The zone of its days.
    pub zone: String,
    /// The last day it covers.
    pub last_day: NaiveDate,
    /// When it was made.
    pub made: DateTime<Utc>,
    /// Its figures: a document of `report`.
    pub figures: String,
}

impl Store {
    /// Stores a report with the messages that carry it.
    ///
    /// # Errors
    /// Fails where the database can't be written; then nothing of it is stored.
    pub fn save_report(&self, report: &SentReport, messages: &[Enqueued<'_>], now: DateTime<Utc>) -> Result<()> {
        let sql = "INSERT INTO reports (kind, audience, host, zone, last_day, made, figures) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
        let r = report;
        let (kind, audience, last_day) = (r.kind.as_str(), r.audience.as_str(), r.last_day.to_string());
        self.write(|tx| {
            tx.execute(sql, params![kind, audience, r.host, r.zone, last_day, r.made.timestamp(), r.figures])?;
            messages.iter().try_for_each(|message| enqueue(tx, message, now).map(drop))
        })
    }

    /// The figures of a report that was sent, the last time where it was sent more than once.
    ///
    /// # Errors
    /// Fails where the database can't be read.
    pub fn sent_report(
        &self,
        kind: ReportKind,
        audience: Audience,
        host: &str,
        last_day: NaiveDate,
    ) -> Result<Option<String>> {
        let sql = "SELECT figures FROM reports WHERE kind = ?1 AND audience = ?2 AND host = ?3 AND last_day = ?4
                   ORDER BY id DESC LIMIT 1";
        let values = params![kind.as_str(), audience.as_str(), host, last_day.to_string()];
        self.read(|db| db.query_row(sql, values, |row| row.get(0)).optional())
    }
}
