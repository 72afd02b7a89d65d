//! Runs and the slots they belong to.

use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension, Row, named_params, params};

use super::{Result, Store, corrupt, from_millis, json, millis, to_json};
use crate::model::{Job, Outcome, Run, RunId, Slot, Trigger};

const COLUMNS: &str =
    "id, job, kind, trigger, slot, requested, started, finished, outcome, summary, notes, output, exit_code, signal";

/// How a run ended, to be put on record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// The outcome.
    pub outcome: Outcome,
    /// One line: what was done.
    pub summary: String,
    /// What else somebody should know.
    pub notes: Vec<String>,
    /// What a command printed.
    pub output: String,
    /// A command's exit code.
    pub exit_code: Option<i32>,
    /// The signal that ended a command.
    pub signal: Option<i32>,
}

impl Ended {
    /// An end without command output.
    pub fn new(outcome: Outcome, summary: impl Into<String>) -> Self {
        let summary = summary.into();
        Self { outcome, summary, notes: Vec::new(), output: String::new(), exit_code: None, signal: None }
    }
}

/// Which runs to list.
#[derive(Debug, Clone, Default)]
pub struct RunFilter {
    /// Only of this job.
    pub job: Option<String>,
    /// Only requested at or after this instant.
    pub since: Option<DateTime<Utc>>,
    /// At most so many, the newest.
    pub limit: Option<usize>,
}

impl Store {
    /// Puts a run on record that belongs to no slot.
    ///
    /// # Errors
    /// Fails where the database can't be written.
    pub fn request_run(&self, job: &Job, now: DateTime<Utc>) -> Result<RunId> {
        self.write(|tx| insert_run(tx, job, Trigger::Manual, None, now))
    }

    /// Puts a slot and its run on record; `None` where the slot is on record already.
    ///
    /// # Errors
    /// Fails where the database can't be written.
    pub fn record_slot(&self, slot: &Slot, job: &Job, trigger: Trigger, now: DateTime<Utc>) -> Result<Option<RunId>> {
        self.write(|tx| {
            let key = params![slot.job.as_str(), slot.epoch, slot.instant.timestamp()];
            let known = "SELECT 1 FROM slots WHERE job = ?1 AND epoch = ?2 AND instant = ?3";
            if tx.query_row(known, key, |_| Ok(())).optional()?.is_some() {
                return Ok(None);
            }
            let run = insert_run(tx, job, trigger, Some(slot.instant), now)?;
            let insert = "INSERT INTO slots (job, epoch, instant, run) VALUES (?1, ?2, ?3, ?4)";
            tx.execute(insert, params![slot.job.as_str(), slot.epoch, slot.instant.timestamp(), run])?;
            Ok(Some(run))
        })
    }

    /// Marks a run as begun.
    ///
    /// # Errors
    /// Fails where the database can't be written.
    pub fn start_run(&self, run: RunId, now: DateTime<Utc>) -> Result<()> {
        self.write(|tx| tx.execute("UPDATE runs SET started = ?2 WHERE id = ?1", params![run, millis(now)]).map(drop))
    }

    /// Marks a run as ended; a run that has ended stays as it is.
    ///
    /// # Errors
    /// Fails where the database can't be written.
    pub fn finish_run(&self, run: RunId, ended: &Ended, now: DateTime<Utc>) -> Result<()> {
        let sql = "UPDATE runs SET finished = :now, outcome = :outcome, summary = :summary, notes = :notes,
                   output = :output, exit_code = :exit_code, signal = :signal WHERE id = :id AND outcome IS NULL";
        self.write(|tx| {
            let values = named_params! {
                ":now": millis(now), ":outcome": ended.outcome.as_str(), ":summary": ended.summary,
                ":notes": to_json(&ended.notes), ":output": ended.output, ":exit_code": ended.exit_code,
                ":signal": ended.signal, ":id": run,
            };
            tx.execute(sql, values).map(drop)
        })
    }

    /// Marks every run that a dead logkeeper left open as interrupted; returns their numbers.
    ///
    /// # Errors
    /// Fails where the database can't be written.
    pub fn interrupt_open_runs(&self, now: DateTime<Utc>) -> Result<Vec<RunId>> {
        self.write(|tx| {
            let sql =
                "UPDATE runs SET finished = ?1, outcome = 'interrupted', summary = 'logkeeper died during this run'
                       WHERE outcome IS NULL RETURNING id";
            tx.prepare(sql)?.query_map([millis(now)], |row| row.get(0))?.collect()
        })
    }

    /// A run.
    ///
    /// # Errors
    /// Fails where the database can't be read.
    pub fn run(&self, id: RunId) -> Result<Option<Run>> {
        let sql = format!("SELECT {COLUMNS} FROM runs WHERE id = ?1");
        self.read(|db| db.query_row(&sql, [id], read_run).optional())
    }

    /// The runs that fit, newest first.
    ///
    /// # Errors
    /// Fails where the database can't be read.
    pub fn runs(&self, filter: &RunFilter) -> Result<Vec<Run>> {
        let sql = format!(
            "SELECT {COLUMNS} FROM runs WHERE (:job IS NULL OR job = :job) AND requested >= :since
             ORDER BY id DESC LIMIT :limit"
        );
        let limit = filter.limit.map_or(-1, |limit| i64::try_from(limit).unwrap_or(i64::MAX));
        self.read(|db| {
            let since = filter.since.map_or(i64::MIN, millis);
            let values = named_params! { ":job": filter.job, ":since": since, ":limit": limit };
            db.prepare(&sql)?.query_map(values, read_run)?.collect()
        })
    }

    /// The newest run of a job that went beyond being on record.
    ///
    /// # Errors
    /// Fails where the database can't be read.
    pub fn last_run(&self, job: &str) -> Result<Option<Run>> {
        let sql = format!("SELECT {COLUMNS} FROM runs WHERE job = ?1 AND started IS NOT NULL ORDER BY id DESC LIMIT 1");
        self.read(|db| db.query_row(&sql, [job], read_run).optional())
    }
}

fn insert_run(
    db: &Connection,
    job: &Job,
    trigger: Trigger,
    slot: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> rusqlite::Result<RunId> {
    let sql = "INSERT INTO runs (job, kind, trigger, slot, requested) VALUES (?1, ?2, ?3, ?4, ?5)";
    let slot = slot.map(|instant| instant.timestamp());
    db.execute(sql, params![job.id.as_str(), job.work.kind(), trigger.as_str(), slot, millis(now)])?;
    Ok(db.last_insert_rowid())
}

fn read_run(row: &Row<'_>) -> rusqlite::Result<Run> {
    let trigger: String = row.get(3)?;
    let outcome: Option<String> = row.get(8)?;
    let slot: Option<i64> = row.get(4)?;
    Ok(Run {
        id: row.get(0)?,
        job: row.get(1)?,
        kind: row.get(2)?,
        trigger: trigger.parse().map_err(|error| corrupt(3, error))?,
        slot: slot.and_then(|seconds| DateTime::from_timestamp(seconds, 0)),
        requested: from_millis(row.get(5)?),
        started: row.get::<_, Option<i64>>(6)?.map(from_millis),
        finished: row.get::<_, Option<i64>>(7)?.map(from_millis),
        outcome: outcome.map(|word| word.parse()).transpose().map_err(|error| corrupt(8, error))?,
        summary: row.get(9)?,
        notes: json(row, 10)?,
        output: row.get(11)?,
        exit_code: row.get(12)?,
        signal: row.get(13)?,
    })
}
