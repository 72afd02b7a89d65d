//! The last rotation of each log.

use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use rusqlite::{Row, params};

use super::{Result, Store};
use crate::model::JobId;

/// The last rotation of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotation {
    /// The live log.
    pub log: PathBuf,
    /// What it was rotated to; on record before it is there.
    pub target: PathBuf,
    /// The instant the rotation was about.
    pub at: DateTime<Utc>,
    /// Whether all of it was done.
    pub done: bool,
    /// Whether those who write to the log were told.
    pub told: bool,
}

fn read_row(row: &Row<'_>) -> rusqlite::Result<Rotation> {
    Ok(Rotation {
        log: PathBuf::from(row.get::<_, String>(0)?),
        target: PathBuf::from(row.get::<_, String>(1)?),
        at: DateTime::from_timestamp(row.get(2)?, 0).unwrap_or_default(),
        done: row.get(3)?,
        told: row.get(4)?,
    })
}

impl Store {
    /// Puts the state of a rotation on record, in the place of what was there of its log.
    ///
    /// # Errors
    /// Fails where the database can't be written.
    pub fn record_rotation(&self, job: &JobId, rotation: &Rotation) -> Result<()> {
        let sql = "INSERT INTO rotations (log, job, target, at, done, told) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                   ON CONFLICT (log) DO UPDATE SET job = ?2, target = ?3, at = ?4, done = ?5, told = ?6";
        let Rotation { log, target, at, done, told } = rotation;
        let (log, target) = (log.to_string_lossy(), target.to_string_lossy());
        let values = params![log, job.as_str(), target, at.timestamp(), done, told];
        self.write(|tx| tx.execute(sql, values).map(drop))
    }

    /// Forgets a rotation that did not happen.
    ///
    /// # Errors
    /// Fails where the database can't be written.
    pub fn forget_rotation(&self, log: &Path) -> Result<()> {
        let log = log.to_string_lossy();
        self.write(|tx| tx.execute("DELETE FROM rotations WHERE log = ?1", [log]).map(drop))
    }

    /// The last rotations of a job's logs.
    ///
    /// # Errors
    /// Fails where the database can't be read.
    pub fn rotations(&self, job: &JobId) -> Result<Vec<Rotation>> {
        self.read(|db| {
            let sql = "SELECT log, target, at, done, told FROM rotations WHERE job = ?1 ORDER BY log";
            let mut select = db.prepare(sql)?;
            select.query_map([job.as_str()], read_row)?.collect()
        })
    }

    /// Rotations that are under way or were interrupted: what they rotate to may not be what it will be.
    ///
    /// # Errors
    /// Fails where the database can't be read.
    pub fn unfinished_rotations(&self) -> Result<Vec<Rotation>> {
        self.read(|db| {
            let mut select = db.prepare("SELECT log, target, at, done, told FROM rotations WHERE NOT done")?;
            select.query_map([], read_row)?.collect()
        })
    }
}
