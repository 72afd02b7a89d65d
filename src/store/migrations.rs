//! The database's format, step by step; `user_version` counts the steps taken.

use std::cmp::Ordering;
use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};

use super::StoreError;

/// Never change a step that was released; add one.
const STEPS: [&str; 4] = [
    r"
CREATE TABLE runs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    job TEXT NOT NULL,
    kind TEXT NOT NULL,
    trigger TEXT NOT NULL,
    epoch INTEGER NOT NULL DEFAULT 0,
    slot INTEGER,
    attempt INTEGER NOT NULL DEFAULT 1,
    requested INTEGER NOT NULL,
    not_before INTEGER,
    started INTEGER,
    finished INTEGER,
    outcome TEXT,
    summary TEXT NOT NULL DEFAULT '',
    notes TEXT NOT NULL DEFAULT '[]',
    output TEXT NOT NULL DEFAULT '[]',
    exit_code INTEGER,
    signal INTEGER,
    cpu_ms INTEGER,
    peak_bytes INTEGER
) STRICT;
CREATE INDEX runs_by_job ON runs (job, id);
CREATE INDEX runs_by_time ON runs (requested);
CREATE INDEX runs_by_slot ON runs (slot, job) WHERE slot IS NOT NULL;
CREATE INDEX runs_open ON runs (id) WHERE outcome IS NULL;

CREATE TABLE slots (
    job TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    instant INTEGER NOT NULL,
    run INTEGER NOT NULL REFERENCES runs (id),
    PRIMARY KEY (job, epoch, instant)
) STRICT, WITHOUT ROWID;
CREATE INDEX slots_by_run ON slots (run);
CREATE INDEX slots_anew ON slots (job, epoch) WHERE epoch > 0;

CREATE TABLE paused (
    job TEXT PRIMARY KEY,
    since INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE planner (
    job TEXT PRIMARY KEY,
    fingerprint TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    cursor INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Parts may have many MiB, which a table without rowid would copy for each comparison of keys.
CREATE TABLE scan_states (
    job TEXT NOT NULL,
    part TEXT NOT NULL,
    state TEXT NOT NULL,
    PRIMARY KEY (job, part)
) STRICT;

CREATE TABLE scans (
    run INTEGER PRIMARY KEY REFERENCES runs (id),
    at INTEGER NOT NULL,
    job TEXT NOT NULL,
    files INTEGER NOT NULL,
    lines INTEGER NOT NULL,
    unparsed INTEGER NOT NULL,
    urgent INTEGER NOT NULL,
    failed_logins INTEGER NOT NULL,
    findings INTEGER NOT NULL,
    verdict TEXT NOT NULL
) STRICT;
CREATE INDEX scans_by_job ON scans (job, at);

CREATE TABLE findings (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    job TEXT NOT NULL,
    rule TEXT NOT NULL,
    severity TEXT NOT NULL,
    subject TEXT NOT NULL,
    count INTEGER NOT NULL,
    counted TEXT NOT NULL,
    note TEXT,
    can_wait INTEGER NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    reached INTEGER NOT NULL,
    breach TEXT NOT NULL,
    evidence TEXT NOT NULL,
    open INTEGER NOT NULL,
    run INTEGER NOT NULL REFERENCES runs (id),
    alerted INTEGER
) STRICT;
CREATE INDEX findings_by_subject ON findings (job, rule, subject, first);
CREATE INDEX findings_told ON findings (rule, subject) WHERE alerted IS NOT NULL;
CREATE INDEX findings_by_time ON findings (last);
CREATE INDEX findings_by_run ON findings (run);

CREATE TABLE exemptions (
    who TEXT PRIMARY KEY,
    since INTEGER NOT NULL,
    until INTEGER NOT NULL,
    why TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE tallies (
    source TEXT NOT NULL,
    bucket INTEGER NOT NULL,
    job TEXT NOT NULL,
    name TEXT NOT NULL,
    n INTEGER NOT NULL,
    PRIMARY KEY (source, bucket, job, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE tops (
    hour INTEGER NOT NULL,
    kind TEXT NOT NULL,
    source TEXT NOT NULL,
    job TEXT NOT NULL,
    name TEXT NOT NULL,
    n INTEGER NOT NULL,
    PRIMARY KEY (hour, kind, source, job, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE archives (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    run INTEGER REFERENCES runs (id),
    at INTEGER NOT NULL,
    path TEXT UNIQUE,
    store TEXT NOT NULL,
    host TEXT NOT NULL,
    source TEXT NOT NULL,
    first INTEGER,
    last INTEGER,
    verified INTEGER,
    checked INTEGER,
    damage TEXT,
    removed INTEGER,
    entry TEXT NOT NULL
) STRICT;
CREATE INDEX archives_by_run ON archives (run);
CREATE TABLE members (
    content_sha256 TEXT NOT NULL,
    host TEXT NOT NULL,
    source TEXT NOT NULL,
    archive INTEGER NOT NULL REFERENCES archives (id),
    head_sha256 TEXT NOT NULL,
    identity TEXT NOT NULL,
    PRIMARY KEY (content_sha256, host, source, archive)
) STRICT, WITHOUT ROWID;
CREATE INDEX members_by_identity ON members (identity);
CREATE INDEX members_by_archive ON members (archive);
CREATE INDEX members_by_head ON members (head_sha256);

CREATE TABLE announced (
    path TEXT PRIMARY KEY,
    entry TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE copies (
    sha256 TEXT NOT NULL,
    place TEXT NOT NULL,
    identity TEXT NOT NULL,
    key TEXT NOT NULL,
    version TEXT,
    sent TEXT,
    noted TEXT,
    manifest TEXT,
    compared TEXT,
    lost INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (sha256, place)
) STRICT, WITHOUT ROWID;

CREATE TABLE rotations (
    log TEXT PRIMARY KEY,
    job TEXT NOT NULL,
    target TEXT NOT NULL,
    at INTEGER NOT NULL,
    done INTEGER NOT NULL,
    told INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE intents (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    intent TEXT NOT NULL,
    message INTEGER REFERENCES messages (id)
) STRICT;
CREATE INDEX intents_open ON intents (id) WHERE message IS NULL;
CREATE TABLE messages (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    key TEXT NOT NULL UNIQUE,
    subject TEXT NOT NULL,
    alert INTEGER NOT NULL,
    body BLOB NOT NULL
) STRICT;
CREATE TABLE deliveries (
    message INTEGER NOT NULL REFERENCES messages (id),
    channel TEXT NOT NULL,
    recipient TEXT NOT NULL,
    state TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    tried_since INTEGER,
    next_attempt INTEGER NOT NULL,
    error TEXT,
    PRIMARY KEY (message, recipient)
) STRICT, WITHOUT ROWID;
CREATE INDEX deliveries_due ON deliveries (channel, message, recipient, next_attempt) WHERE state = 'queued';
CREATE INDEX deliveries_waiting ON deliveries (channel, recipient, message) WHERE state = 'queued';
CREATE INDEX deliveries_by_state ON deliveries (state) WHERE state <> 'sent';
CREATE TABLE told (
    channel TEXT NOT NULL,
    recipients TEXT NOT NULL,
    topic TEXT NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (channel, recipients, topic)
) STRICT, WITHOUT ROWID;
CREATE TABLE troubles (
    channel TEXT PRIMARY KEY,
    since INTEGER NOT NULL,
    failures INTEGER NOT NULL,
    next INTEGER NOT NULL,
    paused INTEGER NOT NULL,
    error TEXT NOT NULL,
    fingerprint TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE reports (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    audience TEXT NOT NULL,
    host TEXT NOT NULL,
    zone TEXT NOT NULL,
    last_day TEXT NOT NULL,
    made INTEGER NOT NULL,
    figures TEXT NOT NULL
) STRICT;
CREATE INDEX reports_by_day ON reports (kind, audience, host, last_day);
",
    r"
ALTER TABLE findings ADD COLUMN withdrawn INTEGER;
ALTER TABLE findings ADD COLUMN base TEXT;
",
    r"
ALTER TABLE findings ADD COLUMN told INTEGER;
",
    r"
ALTER TABLE findings ADD COLUMN tellings INTEGER NOT NULL DEFAULT 0;
ALTER TABLE findings ADD COLUMN told_severity INTEGER;
",
];

/// Looks whether a database that is only read has the newest format.
///
/// # Errors
/// Fails where it hasn't, or can't be read.
pub(super) fn check(connection: &Connection, path: &Path) -> super::Result<()> {
    let failed = |error| StoreError::of(path, error);
    let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(failed)?;
    let (path, known) = (path.to_owned(), STEPS.len() as i64);
    match found.cmp(&known) {
        Ordering::Less => Err(StoreError::Older { path, found, known }),
        Ordering::Equal => Ok(()),
        Ordering::Greater => Err(StoreError::Newer { path, found, known }),
    }
}

/// Brings the database to the newest format.
///
/// # Errors
/// Fails where the database is newer than this program or can't be changed.
pub(super) fn apply(connection: &mut Connection, path: &Path) -> super::Result<()> {
    let failed = |error| StoreError::of(path, error);
    let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(failed)?;
    let known = STEPS.len() as i64;
    if found > known {
        return Err(StoreError::Newer { path: path.to_owned(), found, known });
    }
    for (step, sql) in (1..=known).zip(STEPS).skip(found as usize) {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
        // Another process may have been faster.
        let reached: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(failed)?;
        if reached >= step {
            continue;
        }
        transaction.execute_batch(sql).map_err(failed)?;
        transaction.pragma_update(None, "user_version", step).map_err(failed)?;
        transaction.commit().map_err(failed)?;
    }
    Ok(())
}
