//! The store: one SQLite database, one writer, one file per group of tables.

mod archives;
mod connection;
mod copies;
mod exemptions;
mod findings;
mod migrations;
mod outbox;
mod planner;
mod reports;
mod rotations;
mod runs;
mod scans;
mod tallies;
mod tops;

use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, Utc};
use connection::Shared;
use rusqlite::{Connection, OpenFlags};

pub use archives::{ArchiveFilter, Catalogued};
pub use copies::Copy;
pub use findings::FindingFilter;
pub use outbox::{DeliveryRow, Enqueued, PendingIntent, TOLD_AGAIN, Told, Trouble};
pub use planner::PlannerRow;
pub use reports::SentReport;
pub use rotations::Rotation;
pub use runs::{Aftermath, Ended, OpenRun, QueuedRun, RunCount, RunFilter, SlotRecord};
pub use scans::{AlertPolicy, Route, ScanCommit, ScanOutcome, ScanRecord, ScanState, StateChange};
pub use tallies::BucketTally;

/// What can go wrong with the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// SQLite says no.
    #[error("database {path}: {error}")]
    Sqlite {
        /// The database file.
        path: PathBuf,
        /// What SQLite says.
        error: rusqlite::Error,
    },
    /// There is no room to work in; SQLite needs some even where it only reads.
    #[error(
        "database {path}: no space is left on its disk ({error}): free some, then what is on record is there again; nothing of it is lost"
    )]
    Full {
        /// The database file.
        path: PathBuf,
        /// What SQLite says.
        error: rusqlite::Error,
    },
    /// The database was written by a newer logkeeper.
    #[error("database {path} has format {found}, this logkeeper knows {known}: install the newer logkeeper again")]
    Newer {
        /// The database file.
        path: PathBuf,
        /// Its format.
        found: i64,
        /// The newest known format.
        known: i64,
    },
    /// The database was written by an older logkeeper.
    #[error(
        "database {path} has format {found}, this logkeeper knows {known}: restart the daemon, which brings it up to date"
    )]
    Older {
        /// The database file.
        path: PathBuf,
        /// Its format.
        found: i64,
        /// The newest known format.
        known: i64,
    },
    /// The state folder can't be looked into.
    #[error("can't look into the state folder {path}: {error}; use sudo, or an account of its group")]
    Unreadable {
        /// The folder.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// The state folder can't be used.
    #[error("can't create the state folder {path}: {error}; create it, or set state = \"…\" in config/logkeeper.toml")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
}

/// How much is free on a disk at least that is not full, in bytes: less than SQLite's index of its log takes.
const ROOM: u64 = 32 * 1024;

impl StoreError {
    /// What SQLite says of this database.
    fn of(path: &Path, error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode::{CannotOpen, DiskFull, SystemIoFailure};
        let may_be_full = matches!(error.sqlite_error_code(), Some(CannotOpen | DiskFull | SystemIoFailure));
        let path = path.to_owned();
        let disk = path.parent().filter(|_| may_be_full).and_then(|folder| rustix::fs::statvfs(folder).ok());
        match disk {
            Some(disk) if disk.f_bavail.saturating_mul(disk.f_frsize) < ROOM => Self::Full { path, error },
            _ => Self::Sqlite { path, error },
        }
    }
}

/// How often, and after how long, a database is opened again that somebody else is creating.
const BUSY_TRIES: u32 = 500;
const BUSY_PAUSE: Duration = Duration::from_millis(20);

fn is_busy(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy)
}

/// Short for a result of the store.
pub type Result<T> = std::result::Result<T, StoreError>;

/// The database of one state folder.
pub struct Store {
    connection: Shared,
    path: PathBuf,
}

impl Store {
    /// Opens the database in a state folder for writing; creates folder and database where they don't exist.
    ///
    /// # Errors
    /// Fails where the folder or the database can't be opened or written.
    pub fn open(state: &Path) -> Result<Self> {
        let folder = |error| StoreError::Folder { path: state.to_owned(), error };
        crate::fs::create_folder(state).map_err(folder)?;
        let path = Self::path_in(state);
        crate::fs::create_private(&path).map_err(folder)?;
        let open = || -> rusqlite::Result<Connection> {
            let connection = Connection::open(&path)?;
            connection.busy_timeout(Duration::from_secs(10))?;
            connection.pragma_update(None, "journal_mode", "WAL")?;
            // FULL: a commit survives a power cut, which "recorded before it runs" rests on.
            connection.pragma_update(None, "synchronous", "FULL")?;
            connection.pragma_update(None, "foreign_keys", true)?;
            Ok(connection)
        };
        // Two that create the database at once: SQLite does not wait for who makes its journal just now.
        let mut tries = 0;
        let opened = loop {
            match open() {
                Err(error) if is_busy(&error) && tries < BUSY_TRIES => {
                    tries += 1;
                    std::thread::sleep(BUSY_PAUSE);
                }
                opened => break opened,
            }
        };
        let mut connection = opened.map_err(|error| StoreError::of(&path, error))?;
        migrations::apply(&mut connection, &path)?;
        Ok(Self { connection: Shared::new(connection), path })
    }

    /// Opens an existing database for reading beside a running daemon.
    ///
    /// # Errors
    /// Fails where there is no database or it can't be read.
    pub fn open_readonly(state: &Path) -> Result<Self> {
        let path = Self::path_in(state);
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&path, flags);
        let connection = connection.map_err(|error| StoreError::of(&path, error))?;
        migrations::check(&connection, &path)?;
        Ok(Self { connection: Shared::new(connection), path })
    }

    /// An empty database that is forgotten at the end: for a look at what would happen where there is none yet.
    ///
    /// # Errors
    /// Fails where SQLite has no memory.
    pub fn open_in_memory() -> Result<Self> {
        let path = PathBuf::from(":memory:");
        let connection = Connection::open_in_memory();
        let mut connection = connection.map_err(|error| StoreError::of(&path, error))?;
        migrations::apply(&mut connection, &path)?;
        Ok(Self { connection: Shared::new(connection), path })
    }

    /// Opens what there is for reading; an empty one where there is no database yet.
    ///
    /// # Errors
    /// Fails where there is a database that can't be read.
    pub fn open_for_reading(state: &Path) -> Result<Self> {
        let folder = |error| StoreError::Unreadable { path: state.to_owned(), error };
        if Self::path_in(state).try_exists().map_err(folder)? {
            Self::open_readonly(state)
        } else {
            Self::open_in_memory()
        }
    }

    /// The database file of a state folder.
    pub fn path_in(state: &Path) -> PathBuf {
        state.join("logkeeper.db")
    }

    /// Reads with the connection.
    fn read<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T> {
        self.connection.read(work).map_err(|error| self.error(error))
    }

    /// Writes in one transaction.
    fn write<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T> {
        self.connection.write(work).map_err(|error| self.error(error))
    }

    fn error(&self, error: rusqlite::Error) -> StoreError {
        StoreError::of(&self.path, error)
    }
}

/// An instant as stored for runs: milliseconds since 1970 UTC.
fn millis(instant: DateTime<Utc>) -> i64 {
    instant.timestamp_millis()
}

fn from_millis(millis: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(millis).unwrap_or_default()
}

/// A stored value that isn't what it should be.
fn corrupt(column: usize, error: impl std::error::Error + Send + Sync + 'static) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, Box::new(error))
}

/// Reads a JSON column.
fn json<T: serde::de::DeserializeOwned>(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    serde_json::from_str(&text).map_err(|error| corrupt(column, error))
}

/// Writes a JSON column. The types stored have no maps with keys other than texts, so this can't fail.
fn to_json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
