//! Copies of archives elsewhere. They are known by the digest of the archive, whether or not that is on record still.

use rusqlite::{OptionalExtension, Row, params};

use super::{Result, Store};

/// A copy, or one on its way.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Copy {
    /// SHA-256 of the archive, hexadecimal.
    pub sha256: String,
    /// The name of the place.
    pub place: String,
    /// Which place of that name it was.
    pub identity: String,
    /// Its path there.
    pub key: String,
    /// What it was when it was compared; `None` while it is on its way.
    pub version: Option<String>,
    /// The same of its manifest.
    pub manifest: Option<String>,
    /// What it was when it had been sent, until it is compared.
    pub sent: Option<String>,
    /// How far it is on its way, in the place's own words.
    pub noted: Option<String>,
    /// How far it has been compared, in bytes and with its version, until it is compared whole.
    pub compared: Option<String>,
    /// Whether it was not there any more, or not the same, when it was looked at last.
    pub lost: bool,
}

const COLUMNS: &str = "sha256, place, identity, key, version, sent, noted, manifest, compared, lost";

fn read_row(row: &Row<'_>) -> rusqlite::Result<Copy> {
    Ok(Copy {
        sha256: row.get(0)?,
        place: row.get(1)?,
        identity: row.get(2)?,
        key: row.get(3)?,
        version: row.get(4)?,
        sent: row.get(5)?,
        noted: row.get(6)?,
        manifest: row.get(7)?,
        compared: row.get(8)?,
        lost: row.get(9)?,
    })
}

impl Store {
    /// Puts the state of a copy on record.
    ///
    /// # Errors
    /// Fails where the database can't be written.
    pub fn record_copy(&self, copy: &Copy) -> Result<()> {
        let sql = format!("INSERT OR REPLACE INTO copies ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)");
        let Copy { sha256, place, identity, key, version, manifest, sent, noted, compared, lost } = copy;
        self.write(|tx| {
            tx.execute(&sql, params![sha256, place, identity, key, version, sent, noted, manifest, compared, lost])
                .map(drop)
        })
    }

    /// Forgets a copy that is not there any more, or is another file now.
    ///
    /// # Errors
    /// Fails where the database can't be written.
    pub fn forget_copy(&self, copy: &Copy) -> Result<()> {
        let sql = "DELETE FROM copies WHERE sha256 = ?1 AND place = ?2";
        self.write(|tx| tx.execute(sql, params![copy.sha256, copy.place]).map(drop))
    }

    /// The copy of an archive at a place.
    ///
    /// # Errors
    /// Fails where the database can't be read.
    pub fn copy_of(&self, sha256: &str, place: &str) -> Result<Option<Copy>> {
        let sql = format!("SELECT {COLUMNS} FROM copies WHERE sha256 = ?1 AND place = ?2");
        self.read(|db| db.query_row(&sql, params![sha256, place], read_row).optional())
    }

    /// The identity of the place of that name to which was copied before.
    ///
    /// # Errors
    /// Fails where the database can't be read.
    pub fn copied_to(&self, place: &str) -> Result<Option<String>> {
        let sql = "SELECT identity FROM copies WHERE place = ?1 AND version IS NOT NULL LIMIT 1";
        self.read(|db| db.query_row(sql, [place], |row| row.get(0)).optional())
    }

    /// Whether a copy has that path anywhere.
    ///
    /// # Errors
    /// Fails where the database can't be read.
    pub fn has_copy(&self, key: &str) -> Result<bool> {
        let sql = "SELECT 1 FROM copies WHERE key = ?1 LIMIT 1";
        self.read(|db| Ok(db.query_row(sql, [key], |_| Ok(())).optional()?.is_some()))
    }

    /// All finished copies, by place and path.
    ///
    /// # Errors
    /// Fails where the database can't be read.
    pub fn finished_copies(&self) -> Result<Vec<Copy>> {
        self.read(|db| {
            let sql = format!("SELECT {COLUMNS} FROM copies WHERE version IS NOT NULL ORDER BY place, key");
            db.prepare(&sql)?.query_map([], read_row)?.collect()
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
        let mut copies = self.finished_copies()?;
        copies.retain(|copy| is_it(&copy.key));
        copies.sort_by(|a, b| (&a.key, &a.place).cmp(&(&b.key, &b.place)));
        Ok(copies)
    }
}
