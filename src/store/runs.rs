//! Runs and the slots they belong to.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use rusqlite::{Connection, OptionalExtension, Row, named_params, params};

use super::{PlannerRow, Result, Store, corrupt, from_millis, json, millis, outbox, to_json};
use crate::model::{Job, JobId, Outcome, OutputLine, Run, RunId, Slot, Telling, Trigger};

const COLUMNS: &str =
    "id, job, kind, trigger, slot, requested, started, finished, outcome, summary, notes, output, exit_code, signal,
     attempt, not_before, cpu_ms, peak_bytes";

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
    pub output: Vec<OutputLine>,
    /// A command's exit code.
    pub exit_code: Option<i32>,
    /// The signal that ended a command.
    pub signal: Option<i32>,
    /// Processor time of a command, in milliseconds.
    pub cpu_ms: Option<i64>,
    /// The most memory a process of a command held, in bytes.
    pub peak_bytes: Option<i64>,
}

impl Ended {
    /// An end without command output.
    pub fn new(outcome: Outcome, summary: impl Into<String>) -> Self {
        Self {
            outcome,
            summary: summary.into(),
            notes: Vec::new(),
            output: Vec::new(),
            exit_code: None,
            signal: None,
            cpu_ms: None,
            peak_bytes: None,
        }
    }
}

/// A slot to be put on record with its run.
#[derive(Debug, Clone)]
pub struct SlotRecord {
    /// The job.
    pub job: Arc<Job>,
    /// When it was due.
    pub slot: Slot,
    /// Why it runs.
    pub trigger: Trigger,
    /// Before which instant it does not begin.
    pub begin: Option<DateTime<Utc>>,
    /// Set where it does not run at all, and says why.
    pub ended: Option<Ended>,
    /// What is then told about it.
    pub tell: Vec<Telling>,
}

/// A run that is on record and waits for its beginning.
#[derive(Debug, Clone)]
pub struct QueuedRun {
    /// Its number.
    pub id: RunId,
    /// The job.
    pub job: Arc<Job>,
    /// Why it runs.
    pub trigger: Trigger,
    /// Its slot, if it has one.
    pub slot: Option<Slot>,
    /// The instant it is about: its slot, or when it was asked for.
    pub at: DateTime<Utc>,
    /// Which attempt it is.
    pub attempt: u32,
    /// Before which instant it does not begin.
    pub begin: Option<DateTime<Utc>>,
}

/// A run that has not ended, as found at a start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenRun {
    /// Its number.
    pub id: RunId,
    /// The job's id.
    pub job: String,
    /// Why it ran.
    pub trigger: Trigger,
    /// Its slot's epoch and instant.
    pub slot: Option<(i64, DateTime<Utc>)>,
    /// When it was put on record.
    pub requested: DateTime<Utc>,
    /// Which attempt it is.
    pub attempt: u32,
    /// Before which instant it does not begin.
    pub begin: Option<DateTime<Utc>>,
    /// Whether its work had begun.
    pub started: bool,
}

/// What follows from the end of a run, put on record together with it.
#[derive(Debug, Clone, Default)]
pub struct Aftermath {
    /// When the next attempt begins, if there is one.
    pub retry: Option<DateTime<Utc>>,
    /// The jobs that are due for the same slot if it succeeded, and that will not run if it failed for good.
    pub followers: Vec<Arc<Job>>,
    /// What is told about it.
    pub tell: Vec<Telling>,
}

/// How many runs of a job ended in one way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunCount {
    /// The job's id.
    pub job: String,
    /// How they ended.
    pub outcome: Outcome,
    /// Whether somebody asked for them.
    pub by_hand: bool,
    /// Whether they had a slot.
    pub has_slot: bool,
    /// How many.
    pub count: usize,
    /// The last of them.
    pub last: RunId,
    /// How many of them began more than a minute late.
    pub late: usize,
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
    /// Puts a run on record that somebody asked for; `slot` is the slot it replays.
    ///
    /// # Errors
    /// Fails where the database can't be written.
    pub fn request_run(&self, job: &Arc<Job>, slot: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Result<QueuedRun> {
        let slot = slot.map(|instant| Slot { job: job.id.clone(), epoch: 0, instant });
        self.write(|tx| insert_run(tx, job, Trigger::Manual, slot, 1, None, now))
    }

    /// Puts a run on record that begins because a log has grown.
    ///
    /// # Errors
    /// Fails where the database can't be written.
    pub fn request_watch(&self, job: &Arc<Job>, now: DateTime<Utc>) -> Result<QueuedRun> {
        self.write(|tx| insert_run(tx, job, Trigger::Watch, None, 1, None, now))
    }

    /// Puts slots with their runs on record, and how far their jobs are planned now. Returns the runs that are to begin: a
    /// slot that is on record already has had its run, and a paused job's runs are skipped.
    ///
    /// # Errors
    /// Fails where the database can't be written; then nothing is on record.
    pub fn record_slots(
        &self,
        slots: &[SlotRecord],
        planned: &[PlannerRow],
        now: DateTime<Utc>,
    ) -> Result<Vec<QueuedRun>> {
        self.write(|tx| {
            let mut queued = Vec::new();
            for record in slots {
                let run = insert_slot(tx, &record.job, &record.slot, record.trigger, record.begin, now)?;
                match (run, &record.ended) {
                    (Some(run), Some(ended)) => {
                        finish(tx, run.id, ended, now)?;
                        for telling in &record.tell {
                            outbox::insert_intent(tx, &telling.of(run.id, run.job.id.as_str()), now)?;
                        }
                    }
                    (run, _) => queued.extend(run),
                }
            }
            planned.iter().try_for_each(|row| super::planner::save(tx, row))?;
            Ok(queued)
        })
    }

    /// Marks a run as begun; false where it has ended already.
    ///
    /// # Errors
    /// Fails where the database can't be written.
    pub fn start_run(&self, run: RunId, now: DateTime<Utc>) -> Result<bool> {
        let sql = "UPDATE runs SET started = ?2 WHERE id = ?1 AND outcome IS NULL";
        self.write(|tx| Ok(tx.prepare_cached(sql)?.execute(params![run, millis(now)])? > 0))
    }

    /// Marks a run as ended; a run that has ended stays as it is.
    ///
    /// # Errors
    /// Fails where the database can't be written.
    pub fn finish_run(&self, run: RunId, ended: &Ended, now: DateTime<Utc>) -> Result<()> {
        self.write(|tx| finish(tx, run, ended, now))
    }

    /// Marks a run as ended and puts on record what follows from it. Returns the runs that are to begin.
    ///
    /// # Errors
    /// Fails where the database can't be written.
    pub fn settle_run(
        &self,
        run: &QueuedRun,
        ended: &Ended,
        after: &Aftermath,
        now: DateTime<Utc>,
    ) -> Result<Vec<QueuedRun>> {
        self.write(|tx| {
            finish(tx, run.id, ended, now)?;
            if run.trigger == Trigger::Watch {
                fold_watch(tx, run, ended, now)?;
            }
            for telling in &after.tell {
                outbox::insert_intent(tx, &telling.of(run.id, run.job.id.as_str()), now)?;
            }
            let Some(slot) = &run.slot else { return Ok(Vec::new()) };
            if after.retry.is_some() {
                let retry =
                    insert_run(tx, &run.job, Trigger::Retry, Some(slot.clone()), run.attempt + 1, after.retry, now);
                return Ok(vec![retry?]);
            }
            let mut queued = Vec::new();
            for job in &after.followers {
                let slot = Slot { job: job.id.clone(), ..slot.clone() };
                if ended.outcome == Outcome::Succeeded {
                    if all_succeeded(tx, job, slot.instant)? {
                        queued.extend(insert_slot(tx, job, &slot, Trigger::After, None, now)?);
                    }
                } else {
                    let skipped = insert_run(tx, job, Trigger::After, Some(slot), 1, None, now)?;
                    let why = format!("{} did not succeed for this slot (run {})", run.job.id, run.id);
                    finish(tx, skipped.id, &Ended::new(Outcome::Skipped, why), now)?;
                }
            }
            Ok(queued)
        })
    }

    /// How the runs that were put on record between two instants ended, counted by job and outcome: of a slot the last attempt, and runs
    /// by hand. Those that began because a log grew count where they did not succeed.
    ///
    /// # Errors
    /// Fails where the database can't be read.
    pub fn run_counts(&self, from: DateTime<Utc>, to: DateTime<Utc>) -> Result<Vec<RunCount>> {
        let sql =
            "SELECT job, outcome, trigger = 'manual', slot IS NOT NULL AND trigger <> 'manual', count(*), max(id),
                       coalesce(sum(trigger IN ('scheduled', 'catch-up')
                                    AND started > max(slot * 1000, coalesce(not_before, 0)) + 60000), 0)
                   FROM runs WHERE requested >= ?1 AND requested < ?2 AND outcome IS NOT NULL
                   AND NOT (trigger = 'watch' AND outcome = 'succeeded')
                   AND (slot IS NULL OR NOT EXISTS (
                       SELECT 1 FROM runs AS later WHERE later.slot = runs.slot AND later.job = runs.job
                       AND later.trigger = 'retry' AND later.attempt > runs.attempt))
                   GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4";
        let read = |row: &Row<'_>| {
            let outcome: String = row.get(1)?;
            Ok(RunCount {
                job: row.get(0)?,
                outcome: outcome.parse().map_err(|error| corrupt(1, error))?,
                by_hand: row.get(2)?,
                has_slot: row.get(3)?,
                count: row.get::<_, i64>(4)? as usize,
                last: row.get(5)?,
                late: row.get::<_, i64>(6)? as usize,
            })
        };
        self.read(|db| db.prepare(sql)?.query_map([millis(from), millis(to)], read)?.collect())
    }

    /// Stores what is to be told of a run that goes on.
    ///
    /// # Errors
    /// Fails where the database can't be written.
    pub fn tell(&self, run: &QueuedRun, tell: &[Telling], now: DateTime<Utc>) -> Result<()> {
        self.write(|tx| {
            let intents = tell.iter().map(|telling| telling.of(run.id, run.job.id.as_str()));
            intents.into_iter().try_for_each(|intent| outbox::insert_intent(tx, &intent, now))
        })
    }

    /// How many slots of a job, or runs without one, had failed in a row before a run: since the last run that succeeded, by hand or not.
    ///
    /// # Errors
    /// Fails where the database can't be read.
    pub fn failures_before(&self, run: &QueuedRun) -> Result<u32> {
        let sql = "SELECT count(DISTINCT coalesce(slot, -id)) FROM runs WHERE job = ?1 AND id < ?2 AND trigger <> 'manual'
                   AND (slot IS NULL OR ?3 IS NULL OR slot <> ?3)
                   AND outcome IN ('failed', 'partial', 'timed-out', 'could-not-start', 'interrupted')
                   AND id > coalesce((SELECT max(id) FROM runs WHERE job = ?1 AND id < ?2 AND outcome = 'succeeded'), 0)";
        let slot = run.slot.as_ref().map(|slot| slot.instant.timestamp());
        let values = params![run.job.id.as_str(), run.id, slot];
        self.read(|db| db.prepare_cached(sql)?.query_row(values, |row| row.get(0)))
    }

    /// How long the last runs of a job took that succeeded, at most 20.
    ///
    /// # Errors
    /// Fails where the database can't be read.
    pub fn durations(&self, job: &JobId) -> Result<Vec<TimeDelta>> {
        let sql = "SELECT finished - started FROM runs WHERE job = ?1 AND outcome = 'succeeded' AND started IS NOT NULL
                   ORDER BY id DESC LIMIT 20";
        let read = |row: &Row<'_>| Ok(TimeDelta::milliseconds(row.get(0)?));
        self.read(|db| db.prepare_cached(sql)?.query_map([job.as_str()], read)?.collect())
    }

    /// Every run that has not ended, oldest first.
    ///
    /// # Errors
    /// Fails where the database can't be read.
    pub fn open_runs(&self) -> Result<Vec<OpenRun>> {
        let sql = "SELECT id, job, trigger, slot, epoch, requested, attempt, not_before, started IS NOT NULL FROM runs
                   WHERE outcome IS NULL ORDER BY id";
        self.read(|db| {
            let read = |row: &Row<'_>| {
                let (trigger, epoch): (String, i64) = (row.get(2)?, row.get(4)?);
                let slot = row.get::<_, Option<i64>>(3)?.and_then(|seconds| DateTime::from_timestamp(seconds, 0));
                Ok(OpenRun {
                    id: row.get(0)?,
                    job: row.get(1)?,
                    trigger: trigger.parse().map_err(|error| corrupt(2, error))?,
                    slot: slot.map(|instant| (epoch, instant)),
                    requested: from_millis(row.get(5)?),
                    attempt: row.get(6)?,
                    begin: row.get::<_, Option<i64>>(7)?.map(from_millis),
                    started: row.get(8)?,
                })
            };
            db.prepare(sql)?.query_map([], read)?.collect()
        })
    }

    /// Every slot of a job on record, oldest epoch and instant first, and how its first run ended.
    ///
    /// # Errors
    /// Fails where the database can't be read.
    pub fn slots_of(&self, job: &JobId) -> Result<Vec<(Slot, Option<Outcome>)>> {
        let sql =
            "SELECT slots.epoch, instant, outcome FROM slots JOIN runs ON id = run WHERE slots.job = ?1 ORDER BY 1, 2";
        self.read(|db| {
            let read = |row: &Row<'_>| {
                let outcome: Option<String> = row.get(2)?;
                let outcome = outcome.map(|word| word.parse()).transpose().map_err(|error| corrupt(2, error))?;
                let instant = DateTime::from_timestamp(row.get(1)?, 0).unwrap_or_default();
                Ok((Slot { job: job.clone(), epoch: row.get(0)?, instant }, outcome))
            };
            db.prepare(sql)?.query_map([job.as_str()], read)?.collect()
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
        let sql = format!(
            "SELECT {COLUMNS} FROM runs WHERE job = ?1 AND (started IS NOT NULL OR outcome = 'could-not-start')
             ORDER BY id DESC LIMIT 1"
        );
        self.read(|db| db.prepare_cached(&sql)?.query_row([job], read_run).optional())
    }

    /// The newest run of a job that has ended and was not skipped or missed.
    ///
    /// # Errors
    /// Fails where the database can't be read.
    pub fn last_ended_run(&self, job: &str) -> Result<Option<Run>> {
        let sql = format!(
            "SELECT {COLUMNS} FROM runs WHERE job = ?1 AND outcome NOT IN ('skipped', 'missed') ORDER BY id DESC LIMIT 1"
        );
        self.read(|db| db.prepare_cached(&sql)?.query_row([job], read_run).optional())
    }

    /// Forgets runs that were asked for before `before`, and all but the newest `keep` of each of these jobs. A run that a
    /// finding or an archive rests on stays. Returns how many were forgotten, about `limit` at most.
    ///
    /// # Errors
    /// Fails where the database can't be written.
    pub fn prune_runs(&self, before: DateTime<Utc>, keep: usize, jobs: &[&JobId], limit: usize) -> Result<usize> {
        const FREE: &str = "outcome IS NOT NULL AND NOT EXISTS (SELECT 1 FROM findings WHERE run = runs.id)
                            AND NOT EXISTS (SELECT 1 FROM archives WHERE run = runs.id)";
        let too_old = format!("SELECT id FROM runs WHERE requested < ?1 AND {FREE} ORDER BY requested LIMIT ?2");
        let beyond = "SELECT id FROM runs WHERE job = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2";
        let too_many = format!("SELECT id FROM runs WHERE job = ?1 AND id <= ?2 AND {FREE} ORDER BY id LIMIT ?3");
        let mut old: Vec<RunId> = self.read(|db| {
            db.prepare(&too_old)?.query_map(params![millis(before), limit as i64], |row| row.get(0))?.collect()
        })?;
        for job in jobs {
            let more: Vec<RunId> = self.read(|db| {
                let newest: Option<RunId> = db
                    .prepare_cached(beyond)?
                    .query_row(params![job.as_str(), keep as i64], |row| row.get(0))
                    .optional()?;
                let Some(newest) = newest else { return Ok(Vec::new()) };
                let values = params![job.as_str(), newest, limit as i64];
                db.prepare_cached(&too_many)?.query_map(values, |row| row.get(0))?.collect()
            })?;
            old.extend(more);
            if old.len() >= limit {
                break;
            }
        }
        if old.is_empty() {
            return Ok(0);
        }
        self.write(|tx| {
            for id in &old {
                for sql in [
                    "DELETE FROM slots WHERE run = ?1",
                    "DELETE FROM scans WHERE run = ?1",
                    "DELETE FROM runs WHERE id = ?1",
                ] {
                    tx.prepare_cached(sql)?.execute([id])?;
                }
            }
            Ok(old.len())
        })
    }
}

/// Puts a slot and its run on record; `None` where the slot is on record already, or its job is paused.
fn insert_slot(
    tx: &Connection,
    job: &Arc<Job>,
    slot: &Slot,
    trigger: Trigger,
    begin: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> rusqlite::Result<Option<QueuedRun>> {
    let key = params![slot.job.as_str(), slot.epoch, slot.instant.timestamp()];
    let known = "SELECT 1 FROM slots WHERE job = ?1 AND epoch = ?2 AND instant = ?3";
    if tx.prepare_cached(known)?.query_row(key, |_| Ok(())).optional()?.is_some() {
        return Ok(None);
    }
    let run = insert_run(tx, job, trigger, Some(slot.clone()), 1, begin, now)?;
    let insert = "INSERT INTO slots (job, epoch, instant, run) VALUES (?1, ?2, ?3, ?4)";
    tx.prepare_cached(insert)?.execute(params![slot.job.as_str(), slot.epoch, slot.instant.timestamp(), run.id])?;
    let paused = "SELECT since FROM paused WHERE job = ?1";
    let since: Option<i64> = tx.prepare_cached(paused)?.query_row([job.id.as_str()], |row| row.get(0)).optional()?;
    if let Some(since) = since.and_then(|seconds| DateTime::from_timestamp(seconds, 0)) {
        let why = format!("the job is paused since {}", since.format("%Y-%m-%d %H:%M UTC"));
        finish(tx, run.id, &Ended::new(Outcome::Skipped, why), now)?;
        return Ok(None);
    }
    Ok(Some(run))
}

fn insert_run(
    db: &Connection,
    job: &Arc<Job>,
    trigger: Trigger,
    slot: Option<Slot>,
    attempt: u32,
    begin: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> rusqlite::Result<QueuedRun> {
    let sql = "INSERT INTO runs (job, kind, trigger, epoch, slot, requested, attempt, not_before)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    let (epoch, instant) = slot.as_ref().map_or((0, None), |slot| (slot.epoch, Some(slot.instant.timestamp())));
    let (id, kind, trigger_word) = (job.id.as_str(), job.work.kind(), trigger.as_str());
    let values = params![id, kind, trigger_word, epoch, instant, millis(now), attempt, begin.map(millis)];
    db.prepare_cached(sql)?.execute(values)?;
    let at = slot.as_ref().map_or(now, |slot| slot.instant);
    Ok(QueuedRun { id: db.last_insert_rowid(), job: job.clone(), trigger, slot, at, attempt, begin })
}

fn finish(tx: &Connection, run: RunId, ended: &Ended, now: DateTime<Utc>) -> rusqlite::Result<()> {
    let sql = "UPDATE runs SET finished = :now, outcome = :outcome, summary = :summary, notes = :notes,
               output = :output, exit_code = :exit_code, signal = :signal, cpu_ms = :cpu_ms, peak_bytes = :peak_bytes
               WHERE id = :id AND outcome IS NULL";
    let values = named_params! {
        ":now": millis(now), ":outcome": ended.outcome.as_str(), ":summary": ended.summary,
        ":notes": to_json(&ended.notes), ":output": to_json(&ended.output), ":exit_code": ended.exit_code,
        ":signal": ended.signal, ":cpu_ms": ended.cpu_ms, ":peak_bytes": ended.peak_bytes, ":id": run,
    };
    tx.prepare_cached(sql)?.execute(values).map(drop)
}

/// Of the runs of one hour that began because a log grew, ended alike and found nothing new, the last one stays, with the sums
/// of all: there may be two every second.
fn fold_watch(tx: &Connection, run: &QueuedRun, ended: &Ended, now: DateTime<Utc>) -> rusqlite::Result<()> {
    let hour = millis(now).div_euclid(3_600_000) * 3_600_000;
    let quiet = "SELECT id, notes FROM runs
                 WHERE runs.job = ?1 AND id < ?2 AND trigger = 'watch' AND outcome = ?4 AND requested >= ?3
                 AND NOT EXISTS (SELECT 1 FROM scans WHERE run IN (runs.id, ?2) AND findings > 0)
                 AND NOT EXISTS (SELECT 1 FROM findings WHERE run IN (runs.id, ?2))
                 AND (?4 = 'succeeded' OR summary = ?5) ORDER BY id DESC";
    let values = params![run.job.id.as_str(), run.id, hour, ended.outcome.as_str(), ended.summary];
    let read = |row: &Row<'_>| Ok((row.get::<_, RunId>(0)?, json::<Vec<String>>(row, 1)?));
    let before: Vec<_> = tx.prepare_cached(quiet)?.query_map(values, read)?.collect::<rusqlite::Result<_>>()?;
    let without_numbers = |notes: &[String]| -> Vec<String> {
        // The first note of a scan says how much was read.
        notes.iter().skip(1).map(|note| note.chars().filter(|c| !c.is_ascii_digit()).collect()).collect()
    };
    let same = without_numbers(&ended.notes);
    let Some((before, _)) = before.into_iter().find(|(_, notes)| without_numbers(notes) == same) else { return Ok(()) };
    let columns = ["lines", "unparsed", "urgent", "failed_logins"];
    let sums =
        columns.map(|column| format!("{column} = {column} + coalesce((SELECT {column} FROM scans WHERE run = ?2), 0)"));
    let fold = format!("UPDATE scans SET {} WHERE run = ?1", sums.join(", "));
    let read: bool = tx
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM scans WHERE run = ?1)")?
        .query_row([before], |row| row.get(0))?;
    if tx.prepare_cached(&fold)?.execute([run.id, before])? > 0 || !read {
        tx.prepare_cached("DELETE FROM scans WHERE run = ?1")?.execute([before])?;
        tx.prepare_cached("DELETE FROM runs WHERE id = ?1")?.execute([before])?;
    }
    Ok(())
}

/// Whether every job that `job` comes after has succeeded for a slot.
fn all_succeeded(tx: &Connection, job: &Job, instant: DateTime<Utc>) -> rusqlite::Result<bool> {
    let sql = "SELECT 1 FROM runs WHERE slot = ?1 AND job = ?2 AND outcome = 'succeeded' LIMIT 1";
    let mut statement = tx.prepare_cached(sql)?;
    for before in &job.after {
        if !statement.exists(params![instant.timestamp(), before.as_str()])? {
            return Ok(false);
        }
    }
    Ok(true)
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
        attempt: row.get(14)?,
        requested: from_millis(row.get(5)?),
        begin: row.get::<_, Option<i64>>(15)?.map(from_millis),
        started: row.get::<_, Option<i64>>(6)?.map(from_millis),
        finished: row.get::<_, Option<i64>>(7)?.map(from_millis),
        outcome: outcome.map(|word| word.parse()).transpose().map_err(|error| corrupt(8, error))?,
        summary: row.get(9)?,
        notes: json(row, 10)?,
        output: json(row, 11)?,
        exit_code: row.get(12)?,
        signal: row.get(13)?,
        cpu_ms: row.get(16)?,
        peak_bytes: row.get(17)?,
    })
}
