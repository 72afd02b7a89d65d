//! The catalogue of archives.

use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use rusqlite::{OptionalExtension, params};

use super::{Result, Store, json, to_json};
use crate::model::Identity;
use crate::model::{ArchiveEntry, RunId};

impl Store {
    /// Puts an archive on record; one that is on record already stays as it is.
    ///
    /// # Errors
    /// Fails where the database can't be written.
    pub fn record_archive(&self, run: RunId, path: &Path, entry: &ArchiveEntry, now: DateTime<Utc>) -> Result<()> {
        self.write(|tx| {
            let sql = "INSERT INTO archives (run, at, path, entry) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING";
            if tx.execute(sql, params![run, now.timestamp(), path.to_string_lossy(), to_json(entry)])? == 0 {
                return Ok(());
            }
            let archive = tx.last_insert_rowid();
            let sql =
                "INSERT OR IGNORE INTO members (content_sha256, source, archive, identity) VALUES (?1, ?2, ?3, ?4)";
            for member in &entry.members {
                tx.execute(sql, params![member.content_sha256, entry.source, archive, to_json(&member.identity)])?;
            }
            Ok(())
        })
    }

    /// Whether a log of a source with this content is in an archive.
    ///
    /// # Errors
    /// Fails where the database can't be read.
    pub fn has_content(&self, source: &str, content_sha256: &str) -> Result<bool> {
        let sql = "SELECT 1 FROM members WHERE source = ?1 AND content_sha256 = ?2 LIMIT 1";
        self.read(|db| Ok(db.query_row(sql, [source, content_sha256], |_| Ok(())).optional()?.is_some()))
    }

    /// Remembers under which identity an archived content was seen last, so that it needn't be read again.
    ///
    /// # Errors
    /// Fails where the database can't be written.
    pub fn remember_file(&self, source: &str, content_sha256: &str, identity: &Identity) -> Result<()> {
        let sql = "UPDATE members SET identity = ?3 WHERE source = ?1 AND content_sha256 = ?2";
        self.write(|tx| tx.execute(sql, params![source, content_sha256, to_json(identity)]).map(drop))
    }

    /// The archive that holds exactly this file of a source, with its path.
    ///
    /// # Errors
    /// Fails where the database can't be read.
    pub fn archive_of(&self, source: &str, identity: &Identity) -> Result<Option<(PathBuf, ArchiveEntry)>> {
        let sql =
            "SELECT path, entry FROM archives JOIN members ON archive = id WHERE identity = ?1 AND source = ?2 LIMIT 1";
        self.read(|db| {
            let read = |row: &rusqlite::Row<'_>| Ok((PathBuf::from(row.get::<_, String>(0)?), json(row, 1)?));
            db.query_row(sql, [&to_json(identity), source], read).optional()
        })
    }

    /// Whether an archive is on record under this path.
    ///
    /// # Errors
    /// Fails where the database can't be read.
    pub fn has_archive(&self, path: &Path) -> Result<bool> {
        let sql = "SELECT 1 FROM archives WHERE path = ?1";
        self.read(|db| Ok(db.query_row(sql, [path.to_string_lossy()], |_| Ok(())).optional()?.is_some()))
    }

    /// The archives recorded after one instant, up to and including another, with their paths.
    ///
    /// # Errors
    /// Fails where the database can't be read.
    pub fn archives(&self, from: DateTime<Utc>, to: DateTime<Utc>) -> Result<Vec<(String, ArchiveEntry)>> {
        let sql = "SELECT path, entry FROM archives WHERE at > ?1 AND at <= ?2 ORDER BY id";
        self.read(|db| {
            let mut statement = db.prepare(sql)?;
            let rows =
                statement.query_map([from.timestamp(), to.timestamp()], |row| Ok((row.get(0)?, json(row, 1)?)))?;
            rows.collect()
        })
    }
}
