//! Who and what occurred most often, per hour and source.
//!
//! As with tallies, two jobs may read the same source, and the larger count is believed.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use rusqlite::types::ToSqlOutput;
use rusqlite::{Connection, named_params, params, params_from_iter};

use super::{Result, Store};
use crate::model::top::{KEPT, KEPT_MEANWHILE};
use crate::model::{Top, TopKind};

const HOUR: i64 = 60 * 60;

/// For so many hours lines of one may still come.
const STILL_OPEN: i64 = 2;

impl Store {
    /// The names of a kind that occurred most often from the hour of one instant up to that of another, which is not counted any
    /// more, most first; of one source, or of all. Accounts are the same in capital and small letters, as in rules.
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
        let sql = "SELECT iif(:folded, lower(name), name) AS shown, sum(n) FROM (
                       SELECT name, max(n) AS n FROM tops
                       WHERE hour >= :from AND hour < :to AND kind = :kind AND (:source IS NULL OR source = :source)
                       GROUP BY source, hour, name)
                   GROUP BY shown ORDER BY sum(n) DESC, shown LIMIT :limit";
        let folded = matches!(kind, TopKind::User | TopKind::Target);
        let hour = |instant: DateTime<Utc>| instant.timestamp().div_euclid(HOUR);
        self.read(|db| {
            let values = named_params! { ":from": hour(from), ":to": hour(to), ":kind": kind.as_str(), ":source": source,
            ":folded": folded, ":limit": i64::try_from(limit).unwrap_or(i64::MAX) };
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

/// How many rows are added by one statement.
const TOGETHER: usize = 16;

/// A row of the table.
fn row<'t>(top: &'t Top, job: &'t str) -> [ToSqlOutput<'t>; 6] {
    let Top { source, hour, kind, name, count } = top;
    [
        (*hour).into(),
        kind.as_str().into(),
        source.as_str().into(),
        job.into(),
        name.as_str().into(),
        (*count as i64).into(),
    ]
}

/// Adds counts, those of a source, an hour and a kind one after the other, to those on record; of an hour that is over the most frequent
/// are kept. `before` is when the job scanned last.
pub(super) fn add(
    tx: &Connection,
    job: &str,
    tops: impl Iterator<Item = Top>,
    now: DateTime<Utc>,
    before: Option<DateTime<Utc>>,
) -> rusqlite::Result<()> {
    let add = |rows: usize| {
        let values = vec!["(?, ?, ?, ?, ?, ?)"; rows].join(", ");
        let sql = "INSERT INTO tops (hour, kind, source, job, name, n) VALUES";
        tx.prepare_cached(&format!("{sql} {values} ON CONFLICT DO UPDATE SET n = n + excluded.n"))
    };
    // There are tens of thousands of rows where a month is read at once.
    let (mut add_many, mut add_one) = (add(TOGETHER)?, add(1)?);
    let open = now.timestamp().div_euclid(HOUR) - STILL_OPEN;
    let kept = |hour| if hour < open { KEPT } else { KEPT_MEANWHILE };
    let mut is_known = tx.prepare_cached("SELECT EXISTS (SELECT * FROM tops WHERE hour = ?1 AND job = ?2)")?;
    // Those that were open then may be over now.
    let then = before.map(|before| before.timestamp().div_euclid(HOUR)).into_iter();
    let mut hours: BTreeSet<i64> = then.flat_map(|hour| hour - STILL_OPEN..=hour).collect();
    let mut tops = tops.peekable();
    while let Some(first) = tops.next() {
        let hour = first.hour;
        let mut of_hour = vec![first];
        of_hour.extend(std::iter::from_fn(|| tops.next_if(|next| next.hour == hour)));
        let is_known: bool = is_known.query_row(params![hour, job], |row| row.get(0))?;
        if is_known {
            hours.insert(hour);
        }
        // What would be taken away again is not put on record.
        let wanted = most(&of_hour, if is_known { usize::MAX } else { kept(hour) });
        let (together, rest) = wanted.as_chunks::<TOGETHER>();
        for tops in together {
            add_many.execute(params_from_iter(tops.iter().flat_map(|top| row(top, job))))?;
        }
        for top in rest {
            add_one.execute(row(top, job))?;
        }
    }
    let mut keep = tx.prepare_cached(
        "DELETE FROM tops WHERE hour = ?1 AND job = ?2 AND (kind, source, name) IN (
             SELECT kind, source, name FROM (
                 SELECT *, row_number() OVER (PARTITION BY kind, source ORDER BY n DESC, name) AS place
                 FROM tops WHERE hour = ?1 AND job = ?2)
             WHERE place > ?3)",
    )?;
    for hour in hours {
        keep.execute(params![hour, job, kept(hour) as i64])?;
    }
    Ok(())
}

/// The most frequent ones of each kind and source.
fn most<'t>(tops: &'t [Top], kept: usize) -> Vec<&'t Top> {
    let of_kinds = tops.chunk_by(|a, b| (a.kind, &a.source) == (b.kind, &b.source));
    let most = |of_kind: &'t [Top]| {
        let mut of_kind: Vec<&Top> = of_kind.iter().collect();
        if of_kind.len() > kept {
            of_kind.sort_unstable_by_key(|top| (Reverse(top.count), &top.name));
            of_kind.truncate(kept);
        }
        of_kind
    };
    of_kinds.flat_map(most).collect()
}
