//! The connection to the database, and one commit for all that write at the same moment.
//!
//! A commit waits for the disk, so while one thread writes and others want to, what it wrote stays in an open transaction,
//! and the last of them commits for all. Nobody goes on, and nobody reads, before what was written is on the disk.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;

use rusqlite::{Connection, Error, Result, ffi};

/// A connection that threads share.
pub struct Shared {
    session: Mutex<Session>,
    /// How many writers wait for their turn.
    waiting: AtomicUsize,
}

/// The connection, and the writes that are not committed yet.
struct Session {
    connection: Connection,
    group: Option<Arc<Group>>,
}

/// What became of writes that are committed together, once it is known.
type Group = OnceLock<std::result::Result<(), Reason>>;

/// Why nothing was committed: what an error of SQLite consists of.
#[derive(Clone)]
struct Reason(ffi::Error, Option<String>);

impl Shared {
    /// Shares this connection.
    pub fn new(connection: Connection) -> Self {
        Self { session: Mutex::new(Session { connection, group: None }), waiting: AtomicUsize::new(0) }
    }

    /// Reads.
    ///
    /// # Errors
    /// Those of the reading.
    pub fn read<T>(&self, work: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        let mut session = self.lock();
        session.commit();
        work(&session.connection)
    }

    /// Writes, all of it or nothing, and returns once it is on the disk.
    ///
    /// # Errors
    /// Those of the writing, and of the commit.
    pub fn write<T>(&self, work: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let mut session = self.lock();
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        let joined = session.join(work);
        // Whoever waits has its turn after this one, so the last of them finds nobody waiting.
        if self.waiting.load(Ordering::SeqCst) == 0 {
            session.commit();
        }
        drop(session);
        let (group, made) = joined?;
        let made = made.unwrap_or_else(|panic| resume_unwind(panic))?;
        group.wait().clone().map_err(|Reason(error, text)| Error::SqliteFailure(error, text))?;
        Ok(made)
    }

    /// A panic while the lock was held left no half-done work.
    fn lock(&self) -> MutexGuard<'_, Session> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Session {
    /// Writes as one of the group; where that fails, only this write is undone. The inner error is a panic.
    fn join<T>(
        &mut self,
        work: impl FnOnce(&Connection) -> Result<T>,
    ) -> Result<(Arc<Group>, thread::Result<Result<T>>)> {
        let first = self.group.is_none();
        self.connection.execute_batch(if first { "BEGIN IMMEDIATE" } else { "SAVEPOINT member" })?;
        let group = self.group.get_or_insert_default().clone();
        let member = || {
            let made = work(&self.connection)?;
            self.connection.execute_batch(if first { "" } else { "RELEASE member" })?;
            Ok(made)
        };
        let made = catch_unwind(AssertUnwindSafe(member));
        match &made {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => self.undo(first, Reason::of(error)),
            Err(_panic) => self.undo(first, Reason::of(&Error::InvalidQuery)),
        }
        Ok((group, made))
    }

    /// Undoes the newest write of the group, or all of them where it can't be undone alone.
    fn undo(&mut self, first: bool, reason: Reason) {
        // After some errors, such as a full disk, SQLite has undone the whole transaction by itself.
        let lost = self.connection.is_autocommit();
        if !lost && !first && self.connection.execute_batch("ROLLBACK TO member; RELEASE member").is_ok() {
            return;
        }
        self.close(Err(reason));
    }

    /// Commits the group, if there is one.
    fn commit(&mut self) {
        if self.group.is_some() {
            let committed = self.connection.execute_batch("COMMIT").map_err(|error| Reason::of(&error));
            self.close(committed);
        }
    }

    /// Tells the group what became of it, and leaves no transaction open.
    fn close(&mut self, outcome: std::result::Result<(), Reason>) {
        if !self.connection.is_autocommit()
            && let Err(error) = self.connection.execute_batch("ROLLBACK")
        {
            tracing::error!("a transaction could not be rolled back: {error}");
        }
        if let Some(group) = self.group.take() {
            // Nobody else tells, because nobody else can take it.
            let _ = group.set(outcome);
        }
    }
}

impl Reason {
    fn of(error: &Error) -> Self {
        match error {
            Error::SqliteFailure(error, text) => Self(*error, text.clone()),
            other => Self(ffi::Error::new(ffi::SQLITE_ABORT), Some(other.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THREADS: i64 = 8;
    const WRITES: i64 = 100;

    fn shared(folder: &std::path::Path, pragma: &str) -> Shared {
        let connection = Connection::open(folder.join("db")).unwrap();
        connection.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE rows (id INTEGER, filler BLOB)").unwrap();
        connection.execute_batch(pragma).unwrap();
        Shared::new(connection)
    }

    fn ids(connection: &Connection) -> Vec<i64> {
        let mut select = connection.prepare("SELECT id FROM rows ORDER BY id").unwrap();
        select.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    }

    /// Writes from many threads at once; returns the numbers of what was said to be written.
    fn hammer(shared: &Shared, look: &(impl Fn(i64) + Sync)) -> Vec<i64> {
        let thread = |thread: i64| {
            let write = |n: i64| {
                let id = thread * WRITES + n;
                let insert = |db: &Connection| {
                    db.execute("INSERT INTO rows VALUES (?1, zeroblob(500))", [id])?;
                    match n % 10 {
                        3 => Err(Error::InvalidQuery),
                        7 => panic!("a write that panics"),
                        _ => Ok(()),
                    }
                };
                let written = catch_unwind(AssertUnwindSafe(|| shared.write(insert)));
                let written = matches!(written, Ok(Ok(())));
                written.then(|| look(id));
                written.then_some(id)
            };
            (0..WRITES).filter_map(write).collect::<Vec<i64>>()
        };
        let mut written: Vec<i64> = thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS).map(|n| scope.spawn(move || thread(n))).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        written.sort_unstable();
        written
    }

    #[test]
    fn of_writes_at_once_each_is_whole_and_on_the_disk_when_it_returns() {
        let folder = tempfile::tempdir().unwrap();
        let shared = shared(folder.path(), "");
        let database = folder.path().join("db");
        let committed = |id: i64| assert!(ids(&Connection::open(&database).unwrap()).contains(&id));
        let written = hammer(&shared, &committed);
        assert_eq!(written.len() as i64, THREADS * WRITES * 8 / 10, "only the broken ones fail");
        assert_eq!(shared.read(|db| Ok(ids(db))).unwrap(), written);
    }

    #[test]
    fn a_full_disk_fails_those_whose_writes_it_lost() {
        let folder = tempfile::tempdir().unwrap();
        let shared = shared(folder.path(), "PRAGMA max_page_count = 20");
        let written = hammer(&shared, &|_| {});
        assert!(!written.is_empty() && (written.len() as i64) < THREADS * WRITES / 2, "{} were written", written.len());
        assert_eq!(ids(&Connection::open(folder.path().join("db")).unwrap()), written);
    }
}
