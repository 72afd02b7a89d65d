//! The catalogue of archives.

use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use rusqlite::{OptionalExtension, Row, params};

use super::{Result, Store, json, to_json};
use crate::model::Identity;
use crate::model::{ArchiveEntry, RunId};

/// An archive on record.
#[derive(Debug, Clone)]
pub struct Catalogued {
    /// Where it is.
    pub path: PathBuf,
    /// When it was put on record.
    pub at: DateTime<Utc>,
    /// When it was last read and found whole.
    pub verified: Option<DateTime<Utc>>,
    /// When it was last read, whatever came out.
    pub checked: Option<DateTime<Utc>>,
    /// What was found wrong with it since.
    pub damage: Option<String>,
    /// What it holds, without its blocks.
    pub entry: ArchiveEntry,
}

/// Which archives.
#[derive(Debug, Clone, Default)]
pub struct ArchiveFilter {
    /// Only of this source.
    pub source: Option<String>,
    /// Only of this host.
    pub host: Option<String>,
    /// Only those with lines from then on, seconds since 1970 UTC, or without known times.
    pub since: Option<i64>,
    /// Only those with lines before then.
    pub until: Option<i64>,
}

const COLUMNS: &str = "path, at, verified, checked, damage, entry";

fn read_row(row: &Row<'_>) -> rusqlite::Result<Catalogued> {
    let instant = |seconds| DateTime::from_timestamp(seconds, 0).unwrap_or_default();
    Ok(Catalogued {
        path: PathBuf::from(row.get::<_, String>(0)?),
        at: instant(row.get(1)?),
        verified: row.get::<_, Option<i64>>(2)?.map(instant),
        checked: row.get::<_, Option<i64>>(3)?.map(instant),
        damage: row.get(4)?,
        entry: json(row, 5)?,
    })
}

impl Store {
    /// Puts an archive of a folder, which was just verified, on record; `run` made it, if it was made just now.
    ///
    /// # Errors
    /// Fails where the database can't be written, or there is one on record under that path.
    pub fn record_archive(
        &self,
        run: Option<RunId>,
        store: &Path,
        path: &Path,
        entry: &ArchiveEntry,
        now: DateTime<Utc>,
    ) -> Result<()> {
        let entry = entry.without_blocks();
        self.write(|tx| {
            let sql = "INSERT INTO archives (run, at, path, store, host, source, first, last, verified, checked, entry)
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?2, ?2, ?9)";
            let (path, at, store) = (path.to_string_lossy(), now.timestamp(), store.to_string_lossy());
            let (host, source) = (&entry.host, &entry.source);
            // One log without times may hold any.
            let is_timed = entry.members.iter().all(|member| member.size == 0 || member.first.is_some());
            let (first, last) = if is_timed { (entry.first(), entry.last()) } else { (None, None) };
            tx.execute(sql, params![run, at, path, store, host, source, first, last, to_json(&entry)])?;
            let archive = tx.last_insert_rowid();
            tx.execute("DELETE FROM announced WHERE path = ?1", [&path])?;
            let sql = "INSERT OR IGNORE INTO members (content_sha256, host, source, archive, head_sha256, identity)
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
            for member in &entry.members {
                let identity = to_json(&member.identity);
                let row = params![member.content_sha256, host, source, archive, member.head_sha256, identity];
                tx.execute(sql, row)?;
            }
            Ok(())
        })
    }

    /// Puts on record what an archive will hold that is about to be published, because an encrypted one doesn't tell.
    ///
    /// # Errors
    /// Fails where the database can't be written.
    pub fn announce_archive(&self, path: &Path, entry: &ArchiveEntry) -> Result<()> {
        let sql = "INSERT OR REPLACE INTO announced (path, entry) VALUES (?1, ?2)";
        let values = params![path.to_string_lossy(), to_json(&entry.without_blocks())];
        self.write(|tx| tx.execute(sql, values).map(drop))
    }

    /// What an archive should hold that was about to be published.
    ///
    /// # Errors
    /// Fails where the database can't be read.
    pub fn announced_archive(&self, path: &Path) -> Result<Option<ArchiveEntry>> {
        let sql = "SELECT entry FROM announced WHERE path = ?1";
        self.read(|db| db.query_row(sql, [path.to_string_lossy()], |row| json(row, 0)).optional())
    }

    /// Whether a log with this content, last changed then (seconds since 1970 UTC), is in a whole archive of a folder, or was in one that was
    /// let go. What was let go is known by its time as well: the same text may be written again, and compressing and renaming keep it.
    ///
    /// # Errors
    /// Fails where the database can't be read.
    pub fn has_content(
        &self,
        store: &Path,
        host: &str,
        source: &str,
        content_sha256: &str,
        modified: i64,
    ) -> Result<bool> {
        let sql = "SELECT 1 FROM members JOIN archives ON archive = id
                   WHERE store = ?1 AND members.host = ?2 AND members.source = ?3 AND content_sha256 = ?4
                   AND iif(removed IS NULL, damage IS NULL, json_extract(identity, '$.modified_ns') / 1000000000 = ?5)
                   LIMIT 1";
        let values = params![store.to_string_lossy(), host, source, content_sha256, modified];
        self.read(|db| Ok(db.query_row(sql, values, |_| Ok(())).optional()?.is_some()))
    }

    /// Whether any log that is or was in an archive begins like this.
    ///
    /// # Errors
    /// Fails where the database can't be read.
    pub fn has_head(&self, head_sha256: &str) -> Result<bool> {
        let sql = "SELECT 1 FROM members WHERE head_sha256 = ?1 LIMIT 1";
        self.read(|db| Ok(db.query_row(sql, [head_sha256], |_| Ok(())).optional()?.is_some()))
    }

    /// Remembers under which identity an archived content was seen last, so that it needn't be read again.
    ///
    /// # Errors
    /// Fails where the database can't be written.
    pub fn remember_file(&self, host: &str, source: &str, content_sha256: &str, identity: &Identity) -> Result<()> {
        let sql = "UPDATE members SET identity = ?4 WHERE host = ?1 AND source = ?2 AND content_sha256 = ?3";
        self.write(|tx| tx.execute(sql, params![host, source, content_sha256, to_json(identity)]).map(drop))
    }

    /// The archive of a folder that holds exactly this file of a source, unless it is damaged; one that was let go since has no path.
    ///
    /// # Errors
    /// Fails where the database can't be read.
    pub fn archive_of(&self, store: &Path, source: &str, identity: &Identity) -> Result<Option<Option<PathBuf>>> {
        let sql = "SELECT iif(removed IS NULL, path, NULL) FROM archives JOIN members ON archive = id
                   WHERE identity = ?1 AND members.source = ?2 AND store = ?3 AND (removed IS NOT NULL OR damage IS NULL)
                   ORDER BY removed IS NOT NULL LIMIT 1";
        self.read(|db| {
            let read = |row: &Row<'_>| Ok(row.get::<_, Option<String>>(0)?.map(PathBuf::from));
            db.query_row(sql, params![to_json(identity), source, store.to_string_lossy()], read).optional()
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

    /// The archives that were let go but may not be gone.
    ///
    /// # Errors
    /// Fails where the database can't be read.
    pub fn half_removed(&self) -> Result<Vec<PathBuf>> {
        let sql = "SELECT path FROM archives WHERE removed IS NOT NULL AND path IS NOT NULL";
        let read = |row: &Row<'_>| Ok(PathBuf::from(row.get::<_, String>(0)?));
        self.read(|db| db.prepare(sql)?.query_map([], read)?.collect())
    }

    /// The archives on record that were not let go, by path.
    ///
    /// # Errors
    /// Fails where the database can't be read.
    pub fn catalogue(&self, filter: &ArchiveFilter) -> Result<Vec<Catalogued>> {
        let sql = format!(
            "SELECT {COLUMNS} FROM archives WHERE removed IS NULL AND (?1 IS NULL OR source = ?1)
             AND (?2 IS NULL OR host = ?2) AND (?3 IS NULL OR last IS NULL OR last >= ?3)
             AND (?4 IS NULL OR first IS NULL OR first < ?4) ORDER BY path"
        );
        let ArchiveFilter { source, host, since, until } = filter;
        self.read(|db| db.prepare(&sql)?.query_map(params![source, host, since, until], read_row)?.collect())
    }

    /// Puts on record what reading an archive again has shown: damage, or that it is whole.
    ///
    /// # Errors
    /// Fails where the database can't be written.
    pub fn record_verification(&self, path: &Path, damage: Option<&str>, now: DateTime<Utc>) -> Result<()> {
        let sql =
            "UPDATE archives SET damage = ?2, checked = ?3, verified = iif(?2 IS NULL, ?3, verified) WHERE path = ?1";
        self.write(|tx| tx.execute(sql, params![path.to_string_lossy(), damage, now.timestamp()]).map(drop))
    }

    /// Puts on record that an archive is let go; its logs stay known, so that they are not archived again.
    ///
    /// # Errors
    /// Fails where the database can't be written.
    pub fn record_removal(&self, path: &Path, now: DateTime<Utc>) -> Result<()> {
        let sql = "UPDATE archives SET removed = ?2 WHERE path = ?1";
        self.write(|tx| tx.execute(sql, params![path.to_string_lossy(), now.timestamp()]).map(drop))
    }

    /// Puts on record that an archive that was let go is gone, so that another one may have its name.
    ///
    /// # Errors
    /// Fails where the database can't be written.
    pub fn record_gone(&self, path: &Path) -> Result<()> {
        let sql = "UPDATE archives SET path = NULL WHERE path = ?1 AND removed IS NOT NULL";
        self.write(|tx| tx.execute(sql, [path.to_string_lossy()]).map(drop))
    }

    /// Takes back that an archive is let go.
    ///
    /// # Errors
    /// Fails where the database can't be written.
    pub fn keep_archive(&self, path: &Path) -> Result<()> {
        let sql = "UPDATE archives SET removed = NULL WHERE path = ?1";
        self.write(|tx| tx.execute(sql, [path.to_string_lossy()]).map(drop))
    }

    /// Has archives that were made in the future, as a wrong clock said, be made now.
    ///
    /// # Errors
    /// Fails where the database can't be written.
    pub fn mend_archive_times(&self, now: DateTime<Utc>) -> Result<()> {
        let sql = "UPDATE archives SET at = ?1 WHERE at > ?1";
        self.write(|tx| tx.execute(sql, [now.timestamp()]).map(drop))
    }

    /// Forgets an archive that is not there any more; its logs may be archived again.
    ///
    /// # Errors
    /// Fails where the database can't be written.
    pub fn forget_archive(&self, path: &Path) -> Result<()> {
        self.write(|tx| {
            let path = path.to_string_lossy();
            tx.execute("DELETE FROM members WHERE archive IN (SELECT id FROM archives WHERE path = ?1)", [&path])?;
            tx.execute("DELETE FROM archives WHERE path = ?1", [&path]).map(drop)
        })
    }

    /// The archives recorded after one instant, up to and including another, with their paths.
    ///
    /// # Errors
    /// Fails where the database can't be read.
    pub fn archives(&self, from: DateTime<Utc>, to: DateTime<Utc>) -> Result<Vec<(String, ArchiveEntry)>> {
        let sql =
            "SELECT coalesce(path, ''), entry FROM archives WHERE at > ?1 AND at <= ?2 AND run IS NOT NULL ORDER BY id";
        self.read(|db| {
            let mut statement = db.prepare(sql)?;
            let rows =
                statement.query_map([from.timestamp(), to.timestamp()], |row| Ok((row.get(0)?, json(row, 1)?)))?;
            rows.collect()
        })
    }
}
