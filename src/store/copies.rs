//! Copies of archives elsewhere.

use std::path::Path;

use chrono::{DateTime, Utc};
use rusqlite::{OptionalExtension, params};

use super::{Result, Store};

/// A copy, or one on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    /// The name of the place.
    pub place: String,
    /// Its path there.
    pub key: String,
    /// What it was when it was last compared; `None` while it is on its way.
    pub version: Option<String>,
    /// How far it is on its way.
    pub noted: Option<String>,
}

impl Store {
    /// Puts on record how far a copy of an archive is on its way.
    ///
    /// # Errors
    /// Fails where the database can't be written.
    pub fn note_copy(&self, archive: &Path, place: &str, key: &str, noted: &str) -> Result<()> {
        let sql = "INSERT INTO copies (archive, place, key, noted)
                   VALUES ((SELECT id FROM archives WHERE path = ?1), ?2, ?3, ?4)
                   ON CONFLICT (archive, place) DO UPDATE SET key = ?3, noted = ?4, version = NULL, at = NULL";
        self.write(|tx| tx.execute(sql, params![archive.to_string_lossy(), place, key, noted]).map(drop))
    }

    /// Puts a copy on record that was read back and is the same.
    ///
    /// # Errors
    /// Fails where the database can't be written.
    pub fn record_copy(&self, archive: &Path, place: &str, key: &str, version: &str, now: DateTime<Utc>) -> Result<()> {
        let sql = "INSERT INTO copies (archive, place, key, version, at)
                   VALUES ((SELECT id FROM archives WHERE path = ?1), ?2, ?3, ?4, ?5)
                   ON CONFLICT (archive, place) DO UPDATE SET key = ?3, version = ?4, at = ?5, noted = NULL";
        let values = params![archive.to_string_lossy(), place, key, version, now.timestamp()];
        self.write(|tx| tx.execute(sql, values).map(drop))
    }

    /// Forgets a copy that is not there any more, or is another file now.
    ///
    /// # Errors
    /// Fails where the database can't be written.
    pub fn forget_copy(&self, archive: &Path, place: &str) -> Result<()> {
        let sql = "DELETE FROM copies WHERE place = ?2 AND archive = (SELECT id FROM archives WHERE path = ?1)";
        self.write(|tx| tx.execute(sql, params![archive.to_string_lossy(), place]).map(drop))
    }

    /// The copy of an archive at a place.
    ///
    /// # Errors
    /// Fails where the database can't be read.
    pub fn copy_of(&self, archive: &Path, place: &str) -> Result<Option<Copy>> {
        let sql = "SELECT key, version, noted FROM copies JOIN archives ON archive = id WHERE path = ?1 AND place = ?2";
        self.read(|db| {
            let row = db.query_row(sql, params![archive.to_string_lossy(), place], |row| {
                Ok(Copy { place: place.to_owned(), key: row.get(0)?, version: row.get(1)?, noted: row.get(2)? })
            });
            row.optional()
        })
    }

    /// All finished copies with that path or file name, with or without its ending; also those of archives that were let go.
    ///
    /// # Errors
    /// Fails where the database can't be read.
    pub fn copies_named(&self, name: &str) -> Result<Vec<Copy>> {
        let is_it = |key: &str| {
            let file = key.rsplit('/').next().unwrap_or(key);
            key == name || file == name || file.strip_prefix(name).is_some_and(|rest| rest.starts_with(".tar."))
        };
        self.read(|db| {
            let mut select =
                db.prepare("SELECT place, key, version FROM copies WHERE version IS NOT NULL ORDER BY key")?;
            let rows = select.query_map([], |row| {
                Ok(Copy { place: row.get(0)?, key: row.get(1)?, version: row.get(2)?, noted: None })
            })?;
            rows.filter(|row| row.as_ref().map_or(true, |copy| is_it(&copy.key))).collect()
        })
    }
}
