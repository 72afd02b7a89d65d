//! The planner: which slots are due, recorded before they run.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::Notify;

use crate::model::{Job, JobId, Outcome, RunId, Schedule, Slot, Trigger};
use crate::runner::{App, blocking};
use crate::schedule::{due, next_after};
use crate::store::{Ended, PlannerRow, StoreError};

/// A clock that steps back by more than this begins a new epoch for wildcard jobs.
const STEP_BACK: TimeDelta = TimeDelta::seconds(60);

/// A clock that steps back by more than this was wrong before: wall-clock jobs follow it, too.
const CORRECTION: TimeDelta = TimeDelta::hours(3);

/// After how long a job whose slots could not be recorded is looked at again.
const RETRY: TimeDelta = TimeDelta::seconds(10);

/// The planner.
pub struct Planner {
    app: Arc<App>,
    entries: Mutex<BTreeMap<JobId, Entry>>,
    changed: Notify,
}

/// A job that waits for its next slot.
#[derive(Clone)]
struct Entry {
    job: Job,
    schedule: Schedule,
    row: PlannerRow,
    next: Option<DateTime<Utc>>,
}

/// A run that is on record and is to begin now.
struct Due {
    job: Job,
    run: RunId,
    at: DateTime<Utc>,
}

impl Planner {
    /// With nothing planned yet.
    pub fn new(app: Arc<App>) -> Arc<Self> {
        Arc::new(Self { app, entries: Mutex::default(), changed: Notify::new() })
    }

    /// Plans the jobs of the configuration in force. With `starting`, slots that came while logkeeper was not running are
    /// recorded, and the last of them is made up for.
    ///
    /// # Errors
    /// Fails where the store can't be written.
    pub async fn plan(self: &Arc<Self>, starting: bool) -> Result<(), StoreError> {
        let planner = self.clone();
        let mut due = Vec::new();
        let planned = blocking(move || {
            let planned = planner.plan_blocking(starting, &mut due);
            (planned, due)
        });
        // A panic in there is in the log already; nothing was planned.
        let (planned, due) = planned.await.unwrap_or_else(|_| (Ok(()), Vec::new()));
        self.begin(due);
        self.changed.notify_one();
        planned
    }

    /// Records and begins what is due.
    pub async fn tick(self: &Arc<Self>) {
        let planner = self.clone();
        match blocking(move || planner.due_now()).await {
            Ok(due) => self.begin(due),
            Err(error) => tracing::error!("planning failed: {error}"),
        }
    }

    /// When the next slot comes, if one does.
    pub fn next(&self) -> Option<DateTime<Utc>> {
        self.lock().values().filter_map(|entry| entry.next).min()
    }

    /// Returns when the plan has changed.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// The present instant.
    pub fn now(&self) -> DateTime<Utc> {
        self.app.clock.now()
    }

    fn begin(&self, due: Vec<Due>) {
        for Due { job, run, at } in due {
            let app = self.app.clone();
            tokio::spawn(async move { app.execute(job, run, at).await });
        }
    }

    fn plan_blocking(&self, starting: bool, due: &mut Vec<Due>) -> Result<(), StoreError> {
        let config = self.app.config();
        let now = self.now();
        let mut rows: BTreeMap<JobId, PlannerRow> =
            self.app.store.planner_rows()?.into_iter().map(|row| (row.job.clone(), row)).collect();
        let mut entries = BTreeMap::new();
        for job in config.jobs.values().filter(|job| job.enabled) {
            let Some(schedule) = job.schedule.clone() else { continue };
            let fingerprint = schedule.fingerprint();
            let known = rows.remove(&job.id).filter(|row| row.fingerprint == fingerprint);
            let row = known.unwrap_or(PlannerRow { job: job.id.clone(), fingerprint, epoch: 0, cursor: now });
            entries.insert(job.id.clone(), Entry { job: job.clone(), schedule, row, next: None });
        }
        let planned: Vec<&JobId> = entries.keys().collect();
        self.app.store.keep_planner_rows(&planned)?;
        let trigger = if starting { Trigger::CatchUp } else { Trigger::Scheduled };
        let mut failure = Ok(());
        for entry in entries.values_mut() {
            failure = failure.and(self.advance(entry, now, trigger, due));
        }
        *self.lock() = entries;
        failure
    }

    fn due_now(&self) -> Vec<Due> {
        let now = self.now();
        let ripe = |entry: &&Entry| entry.next.is_some_and(|next| next <= now) || entry.row.cursor > now + STEP_BACK;
        let ripe: Vec<Entry> = self.lock().values().filter(ripe).cloned().collect();
        let mut due = Vec::new();
        for mut entry in ripe {
            if let Err(error) = self.advance(&mut entry, now, Trigger::Scheduled, &mut due) {
                tracing::error!(job = %entry.job.id, "a slot could not be recorded and will be tried again: {error}");
            }
            // A reload in between has put its own entry there, which knows better.
            if let Some(current) =
                self.lock().get_mut(&entry.job.id).filter(|c| c.row.fingerprint == entry.row.fingerprint)
            {
                (current.row, current.next) = (entry.row, entry.next);
            }
        }
        due
    }

    /// Records every slot of a job up to now and moves its cursor there. The last slot runs, older ones are missed.
    /// What is on record is in `due` also where a later step fails; the job is then looked at again after a pause.
    fn advance(
        &self,
        entry: &mut Entry,
        now: DateTime<Utc>,
        trigger: Trigger,
        due: &mut Vec<Due>,
    ) -> Result<(), StoreError> {
        entry.next = Some(now + RETRY);
        let store = &self.app.store;
        let allowed = if entry.schedule.expression.is_wildcard() { STEP_BACK } else { CORRECTION };
        if entry.row.cursor > now + allowed {
            // The clock went back: a wildcard job follows it, and its slots of the time that comes again are new ones.
            // A wall-clock job waits for the time it has seen, unless the clock was simply wrong (cron(8)).
            entry.row.epoch += 1;
            entry.row.cursor = now;
        }
        let (slots, dropped) = due::between(&entry.schedule, entry.row.cursor, now);
        if dropped > 0 {
            tracing::warn!(job = %entry.job.id, dropped, "so many slots were missed that the oldest are not put on record");
        }
        let last = slots.last().copied();
        for instant in slots {
            let slot = Slot { job: entry.job.id.clone(), epoch: entry.row.epoch, instant };
            let Some(run) = store.record_slot(&slot, &entry.job, trigger, now)? else { continue };
            if Some(instant) == last && instant >= now - due::CATCH_UP_WINDOW {
                due.push(Due { job: entry.job.clone(), run, at: instant });
            } else {
                store.finish_run(run, &Ended::new(Outcome::Missed, "logkeeper was not running at that time"), now)?;
            }
        }
        entry.row.cursor = entry.row.cursor.max(last.unwrap_or(now));
        store.save_planner_row(&entry.row)?;
        entry.next = next_after(&entry.schedule, entry.row.cursor);
        Ok(())
    }

    /// The map is whole whenever the lock is free, so a panic elsewhere doesn't matter.
    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<JobId, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
