//! Who and what occurred most often, per hour and source.
//!
//! As with tallies, two jobs may read the same source, and the larger count is believed.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use rusqlite::{Connection, named_params, params};

use super::{Result, Store};
use crate::model::top::{KEPT, KEPT_MEANWHILE};
use crate::model::{Top, TopKind};

const HOUR: i64 = 60 * 60;

/// For so many hours lines of one may still come.
const STILL_OPEN: i64 = 2;

impl Store {
    /// The names of a kind that occurred most often from the hour of one instant up to that of another, which is not counted any
    /// more, most first; of one source, or of all.
    ///
    /// # Errors
    /// Fails where the database can't be read.
    pub fn tops(
        &self,
        kind: TopKind,
        (from, to): (DateTime<Utc>, DateTime<Utc>),
        source: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, u64)>> {
        let sql = "SELECT name, sum(n) FROM (
                       SELECT name, max(n) AS n FROM tops
                       WHERE hour >= :from AND hour < :to AND kind = :kind AND (:source IS NULL OR source = :source)
                       GROUP BY source, hour, name)
                   GROUP BY name ORDER BY sum(n) DESC, name LIMIT :limit";
        let hour = |instant: DateTime<Utc>| instant.timestamp().div_euclid(HOUR);
        self.read(|db| {
            let values = named_params! { ":from": hour(from), ":to": hour(to), ":kind": kind.as_str(), ":source": source,
            ":limit": i64::try_from(limit).unwrap_or(i64::MAX) };
            db.prepare(sql)?.query_map(values, |row| Ok((row.get(0)?, row.get::<_, i64>(1)? as u64)))?.collect()
        })
    }

    /// Forgets what occurred in hours before `before`, at most `limit` rows. Returns how many there were.
    ///
    /// # Errors
    /// Fails where the database can't be written.
    pub fn prune_tops(&self, before: DateTime<Utc>, limit: usize) -> Result<usize> {
        let sql = "DELETE FROM tops WHERE (hour, kind, source, job, name) IN
                   (SELECT hour, kind, source, job, name FROM tops WHERE hour < ?1 LIMIT ?2)";
        let hour = before.timestamp().div_euclid(HOUR);
        self.write(|db| db.execute(sql, params![hour, i64::try_from(limit).unwrap_or(i64::MAX)]))
    }
}

/// Adds counts to those on record; of an hour that is over the most frequent are kept. `before` is when the job scanned last.
pub(super) fn add(
    tx: &Connection,
    job: &str,
    tops: &[Top],
    now: DateTime<Utc>,
    before: Option<DateTime<Utc>>,
) -> rusqlite::Result<()> {
    let mut add = tx.prepare_cached(
        "INSERT INTO tops (hour, kind, source, job, name, n) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT DO UPDATE SET n = n + ?6",
    )?;
    for top in tops {
        add.execute(params![top.hour, top.kind.as_str(), top.source, job, top.name, top.count as i64])?;
    }
    let open = now.timestamp().div_euclid(HOUR) - STILL_OPEN;
    // Those that were open then may be over now.
    let then = before.map(|before| before.timestamp().div_euclid(HOUR)).into_iter();
    let mut hours: BTreeSet<i64> = then.flat_map(|hour| hour - STILL_OPEN..=hour).collect();
    hours.extend(tops.iter().map(|top| top.hour));
    let mut keep = tx.prepare_cached(
        "DELETE FROM tops WHERE hour = ?1 AND job = ?2 AND (kind, source, name) IN (
             SELECT kind, source, name FROM (
                 SELECT *, row_number() OVER (PARTITION BY kind, source ORDER BY n DESC, name) AS place
                 FROM tops WHERE hour = ?1 AND job = ?2)
             WHERE place > ?3)",
    )?;
    for hour in hours {
        keep.execute(params![hour, job, if hour < open { KEPT } else { KEPT_MEANWHILE } as i64])?;
    }
    Ok(())
}
