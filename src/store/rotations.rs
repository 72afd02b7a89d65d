//! The last rotation of each log.

use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use rusqlite::params;

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
    /// Whether those who write to the log were told.
    pub told: bool,
}

impl Store {
    /// Puts on record that a job is about to rotate a log.
    ///
    /// # Errors
    /// Fails where the database can't be written.
    pub fn begin_rotation(&self, job: &JobId, log: &Path, target: &Path, at: DateTime<Utc>) -> Result<()> {
        let sql = "INSERT INTO rotations (log, job, target, at, told) VALUES (?1, ?2, ?3, ?4, 0)
                   ON CONFLICT (log) DO UPDATE SET job = ?2, target = ?3, at = ?4, told = 0";
        let values = params![log.to_string_lossy(), job.as_str(), target.to_string_lossy(), at.timestamp()];
        self.write(|tx| tx.execute(sql, values).map(drop))
    }

    /// Puts on record that those who write to these logs were told.
    ///
    /// # Errors
    /// Fails where the database can't be written.
    pub fn end_rotations(&self, logs: &[PathBuf]) -> Result<()> {
        let sql = "UPDATE rotations SET told = 1 WHERE log = ?1";
        self.write(|tx| logs.iter().try_for_each(|log| tx.execute(sql, [log.to_string_lossy()]).map(drop)))
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
            let mut select = db.prepare("SELECT log, target, at, told FROM rotations WHERE job = ?1 ORDER BY log")?;
            let rows = select.query_map([job.as_str()], |row| {
                Ok(Rotation {
                    log: PathBuf::from(row.get::<_, String>(0)?),
                    target: PathBuf::from(row.get::<_, String>(1)?),
                    at: DateTime::from_timestamp(row.get(2)?, 0).unwrap_or_default(),
                    told: row.get(3)?,
                })
            })?;
            rows.collect()
        })
    }
}
