//! How far each job's slots were planned.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use rusqlite::{Connection, params};

use super::{Result, Store};
use crate::model::JobId;

/// How far the slots of one job were planned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannerRow {
    /// The job.
    pub job: JobId,
    /// Its schedule then; a job with another one has no past slots.
    pub fingerprint: String,
    /// The clock's epoch.
    pub epoch: i64,
    /// Every slot up to this instant is on record.
    pub cursor: DateTime<Utc>,
}

impl Store {
    /// How far all jobs were planned.
    ///
    /// # Errors
    /// Fails where the database can't be read.
    pub fn planner_rows(&self) -> Result<Vec<PlannerRow>> {
        self.read(|db| {
            let mut statement = db.prepare("SELECT job, fingerprint, epoch, cursor FROM planner")?;
            let rows = statement.query_map([], |row| {
                let (job, cursor): (String, i64) = (row.get(0)?, row.get(3)?);
                Ok(PlannerRow {
                    job: job.parse().map_err(|error| super::corrupt(0, error))?,
                    fingerprint: row.get(1)?,
                    epoch: row.get(2)?,
                    cursor: DateTime::from_timestamp(cursor, 0).unwrap_or_default(),
                })
            })?;
            rows.collect()
        })
    }

    /// The jobs whose time began anew, with their newest epoch, whether they are planned now or not.
    ///
    /// # Errors
    /// Fails where the database can't be read.
    pub fn epochs(&self) -> Result<BTreeMap<String, i64>> {
        self.read(|db| {
            let mut statement = db.prepare("SELECT job, max(epoch) FROM slots WHERE epoch > 0 GROUP BY job")?;
            let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
            rows.collect()
        })
    }

    /// Forgets the jobs that are not among these: a job that comes back later has no past slots.
    ///
    /// # Errors
    /// Fails where the database can't be written.
    pub fn keep_planner_rows(&self, jobs: &[&JobId]) -> Result<()> {
        let names = super::to_json(&jobs);
        let sql = "DELETE FROM planner WHERE job NOT IN (SELECT value FROM json_each(?1))";
        self.write(|tx| tx.execute(sql, [names]).map(drop))
    }

    /// Stops following a job's schedule until it is resumed; false where it was paused already.
    ///
    /// # Errors
    /// Fails where the database can't be written.
    pub fn pause(&self, job: &JobId, now: DateTime<Utc>) -> Result<bool> {
        let sql = "INSERT OR IGNORE INTO paused (job, since) VALUES (?1, ?2)";
        self.write(|tx| Ok(tx.execute(sql, params![job.as_str(), now.timestamp()])? > 0))
    }

    /// Follows a paused job's schedule again; false where it was not paused.
    ///
    /// # Errors
    /// Fails where the database can't be written.
    pub fn resume(&self, job: &JobId) -> Result<bool> {
        self.write(|tx| Ok(tx.execute("DELETE FROM paused WHERE job = ?1", [job.as_str()])? > 0))
    }

    /// The paused jobs' ids, and since when.
    ///
    /// # Errors
    /// Fails where the database can't be read.
    pub fn paused(&self) -> Result<BTreeMap<String, DateTime<Utc>>> {
        self.read(|db| {
            let mut statement = db.prepare("SELECT job, since FROM paused")?;
            let rows = statement
                .query_map([], |row| Ok((row.get(0)?, DateTime::from_timestamp(row.get(1)?, 0).unwrap_or_default())))?;
            rows.collect()
        })
    }
}

pub(super) fn save(tx: &Connection, row: &PlannerRow) -> rusqlite::Result<()> {
    let sql = "INSERT INTO planner (job, fingerprint, epoch, cursor) VALUES (?1, ?2, ?3, ?4)
               ON CONFLICT (job) DO UPDATE SET fingerprint = ?2, epoch = ?3, cursor = ?4";
    let values = params![row.job.as_str(), row.fingerprint, row.epoch, row.cursor.timestamp()];
    tx.prepare_cached(sql)?.execute(values).map(drop)
}
