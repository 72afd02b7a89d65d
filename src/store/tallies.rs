//! Counts per quarter of an hour and source.
//!
//! Two jobs may read the same source, each at its own pace, so counts are kept per job and the
//! larger one is believed: it is the one that has read further.

use chrono::{DateTime, Utc};
use rusqlite::{Connection, params};

use super::{Result, Store};
use crate::model::Tally;
use crate::model::tally::BUCKET;

/// What was counted in one bucket of one source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketTally {
    /// The source's name.
    pub source: String,
    /// The bucket: seconds since 1970 UTC divided by [`BUCKET`].
    pub bucket: i64,
    /// The counts.
    pub tally: Tally,
}

impl Store {
    /// The counts of every bucket between two instants, by source and bucket.
    ///
    /// # Errors
    /// Fails where the database can't be read.
    pub fn tallies(&self, from: DateTime<Utc>, to: DateTime<Utc>) -> Result<Vec<BucketTally>> {
        let sql = "SELECT source, bucket, name, n FROM tallies WHERE source = ?1 AND bucket >= ?2 AND bucket < ?3 ORDER BY bucket";
        let bucket = |instant: DateTime<Utc>| instant.timestamp().div_euclid(BUCKET);
        self.read(|db| {
            let mut statement = db.prepare(sql)?;
            let mut tallies: Vec<BucketTally> = Vec::new();
            for source in sources(db)? {
                let mut rows = statement.query(params![source, bucket(from), bucket(to)])?;
                while let Some(row) = rows.next()? {
                    let (source, bucket, name, n): (String, i64, String, i64) =
                        (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
                    if tallies.last().is_none_or(|last| last.source != source || last.bucket != bucket) {
                        tallies.push(BucketTally { source, bucket, tally: Tally::default() });
                    }
                    // The line above made sure that there is a last one.
                    if let Some(field) = tallies.last_mut().and_then(|last| last.tally.field_mut(&name)) {
                        // Of two jobs that read the same, the larger count is that of the one that has read further.
                        *field = (*field).max(n as u64);
                    }
                }
            }
            Ok(tallies)
        })
    }

    /// The first bucket that was ever counted.
    ///
    /// # Errors
    /// Fails where the database can't be read.
    pub fn first_tally(&self) -> Result<Option<DateTime<Utc>>> {
        let sql = "SELECT min(bucket) FROM tallies WHERE source = ?1";
        let bucket: Option<i64> = self.read(|db| {
            let first = |source| db.prepare_cached(sql)?.query_row([source], |row| row.get(0));
            let firsts: Vec<Option<i64>> = sources(db)?.into_iter().map(first).collect::<rusqlite::Result<_>>()?;
            Ok(firsts.into_iter().flatten().min())
        })?;
        Ok(bucket.and_then(|bucket| DateTime::from_timestamp(bucket * BUCKET, 0)))
    }
}

impl Store {
    /// Forgets the counts of buckets before `before`, of each source at most a day's. Returns how many rows there were.
    ///
    /// # Errors
    /// Fails where the database can't be written.
    pub fn prune_tallies(&self, before: DateTime<Utc>) -> Result<usize> {
        let prune = "DELETE FROM tallies WHERE source = ?1 AND bucket < ?2
                     AND bucket < (SELECT min(bucket) FROM tallies WHERE source = ?1) + ?3";
        let (bucket, day) = (before.timestamp().div_euclid(BUCKET), 24 * 60 * 60 / BUCKET);
        self.write(|db| {
            let mut prune = db.prepare(prune)?;
            sources(db)?.iter().map(|source| prune.execute(params![source, bucket, day])).sum()
        })
    }
}

/// The sources of which anything was counted. The table is ordered by source and bucket, so that looking for one of each is quick and
/// looking at all is not.
fn sources(db: &Connection) -> rusqlite::Result<Vec<String>> {
    let sql = "WITH RECURSIVE sources (source) AS (
                   SELECT min(source) FROM tallies
                   UNION ALL
                   SELECT (SELECT min(source) FROM tallies WHERE source > sources.source) FROM sources
                   WHERE sources.source IS NOT NULL)
               SELECT source FROM sources WHERE source IS NOT NULL";
    db.prepare_cached(sql)?.query_map([], |row| row.get(0))?.collect()
}

/// Adds counts to those on record.
pub(super) fn add(tx: &Connection, job: &str, tallies: &[BucketTally]) -> rusqlite::Result<()> {
    let sql = "INSERT INTO tallies (source, bucket, job, name, n) VALUES (?1, ?2, ?3, ?4, ?5)
               ON CONFLICT DO UPDATE SET n = n + ?5";
    let mut statement = tx.prepare_cached(sql)?;
    for bucket in tallies {
        for (name, n) in Tally::NAMES.iter().zip(bucket.tally.values()).filter(|(_, n)| *n > 0) {
            statement.execute(params![bucket.source, bucket.bucket, job, name, n as i64])?;
        }
    }
    Ok(())
}
