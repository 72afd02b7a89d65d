//! Who and what occurred most often, per hour and source.
//!
//! As with tallies, two jobs may read the same source, and the larger count is believed.

use chrono::{DateTime, Utc};
use rusqlite::{Connection, named_params, params};

use super::{Result, Store};
use crate::model::top::KEPT;
use crate::model::{Top, TopKind};

const HOUR: i64 = 60 * 60;

impl Store {
    /// The names of a kind that occurred most often between two instants, in all hours that begin there, most first; of one
    /// source, or of all.
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

/// Adds counts to those on record; of each hour the most frequent are kept.
pub(super) fn add(tx: &Connection, job: &str, tops: &[Top]) -> rusqlite::Result<()> {
    let mut add = tx.prepare_cached(
        "INSERT INTO tops (hour, kind, source, job, name, n) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT DO UPDATE SET n = n + ?6",
    )?;
    let mut keep = tx.prepare_cached(
        "DELETE FROM tops WHERE hour = ?1 AND kind = ?2 AND source = ?3 AND job = ?4 AND name IN (
             SELECT name FROM tops WHERE hour = ?1 AND kind = ?2 AND source = ?3 AND job = ?4
             ORDER BY n DESC, name LIMIT -1 OFFSET ?5)",
    )?;
    let group = |top: &Top| (top.hour, top.kind.as_str(), top.source.clone());
    for same in tops.chunk_by(|a, b| group(a) == group(b)) {
        for top in same {
            add.execute(params![top.hour, top.kind.as_str(), top.source, job, top.name, top.count as i64])?;
        }
        let first = &same[0];
        keep.execute(params![first.hour, first.kind.as_str(), first.source, job, KEPT as i64])?;
    }
    Ok(())
}
