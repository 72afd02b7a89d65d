//! The planner: which slots are due, recorded before they run.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::Notify;

use crate::config::Config;
use crate::jobs::tellings;
use crate::model::{Job, JobId, Outcome, RunNews, Schedule, Slot, Trigger};
use crate::runner::App;
use crate::schedule::due::{self, Verdict};
use crate::schedule::next_after;
use crate::store::{Ended, PlannerRow, QueuedRun, SlotRecord, StoreError};
use crate::threads::blocking;

/// After how long jobs whose slots could not be recorded are looked at again.
const RETRY: TimeDelta = TimeDelta::seconds(10);

/// A slot that is due for so long shows that planning hangs.
pub(super) const HUNG: TimeDelta = TimeDelta::seconds(60);

/// A machine that was started so recently has been started since logkeeper ran last, even if nothing is on record.
const JUST_STARTED: Duration = Duration::from_secs(600);

/// How the fingerprints of jobs at the start of the machine begin.
const BOOT: &str = "@reboot ";

/// The planner.
pub struct Planner {
    app: Arc<App>,
    plan: Mutex<Plan>,
    /// Held while slots are decided and recorded, so that ticks and reloads don't mix.
    deciding: Mutex<()>,
    changed: Notify,
    /// Whether the last look at what is due could be put on record.
    recorded: AtomicBool,
}

/// What is to come.
#[derive(Default)]
struct Plan {
    entries: BTreeMap<JobId, Entry>,
    /// Runs on record that begin later: jitter, retries.
    delayed: BTreeMap<(DateTime<Utc>, i64), QueuedRun>,
    /// Wall clock and time since boot of the last look.
    seen: Option<(DateTime<Utc>, Duration)>,
}

/// A job that waits for its next slot.
#[derive(Clone)]
struct Entry {
    job: Arc<Job>,
    row: PlannerRow,
    next: Option<DateTime<Utc>>,
}

impl Planner {
    /// With nothing planned yet.
    pub fn new(app: Arc<App>) -> Arc<Self> {
        let (plan, deciding, changed) = (Mutex::default(), Mutex::default(), Notify::new());
        Arc::new(Self { app, plan, deciding, changed, recorded: AtomicBool::new(true) })
    }

    /// Plans the jobs of the configuration in force. With `starting`, runs that a dead logkeeper left open are resolved, and
    /// slots that came meanwhile are decided by each job's `catch_up`.
    ///
    /// # Errors
    /// Fails where the store can't be used.
    pub async fn plan(self: &Arc<Self>, starting: bool) -> Result<(), StoreError> {
        let planner = self.clone();
        // A panic in there is in the log already; nothing was planned.
        let planned = blocking(move || planner.plan_blocking(starting)).await.unwrap_or_else(|_| Ok(Vec::new()));
        self.app.begin(planned?);
        self.changed.notify_one();
        Ok(())
    }

    /// Records and begins what is due.
    pub async fn tick(self: &Arc<Self>) {
        let planner = self.clone();
        match blocking(move || planner.due_blocking()).await {
            Ok(due) => self.app.begin(due),
            Err(error) => tracing::error!("planning failed: {error}"),
        }
    }

    /// Takes runs that are on record: those whose time has come are returned, the others wait for it.
    pub fn take(&self, queued: Vec<QueuedRun>) -> Vec<QueuedRun> {
        let now = self.now();
        let (later, ripe): (Vec<_>, Vec<_>) =
            queued.into_iter().partition(|run| run.begin.is_some_and(|begin| begin > now));
        let mut plan = self.lock();
        plan.delayed.extend(later.into_iter().filter_map(|run| Some(((run.begin?, run.id), run))));
        drop(plan);
        self.changed.notify_one();
        ripe
    }

    /// When something is due next, if anything is.
    pub fn next(&self) -> Option<DateTime<Utc>> {
        let plan = self.lock();
        let slot = plan.entries.values().filter_map(|entry| entry.next).min();
        let delayed = plan.delayed.keys().next().map(|(begin, _)| *begin);
        slot.into_iter().chain(delayed).min()
    }

    /// Whether slots are recorded when they are due: the last attempt could do so, and none waits.
    pub fn is_well(&self) -> bool {
        self.recorded.load(Ordering::Relaxed) && self.next().is_none_or(|next| next > self.now() - HUNG)
    }

    /// Returns when the plan has changed.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// The present instant.
    pub fn now(&self) -> DateTime<Utc> {
        self.app.clock.now()
    }

    /// [`Planner::plan`] without its async wrapping; returns what is to begin.
    ///
    /// # Errors
    /// Fails where the store can't be used.
    pub fn plan_blocking(&self, starting: bool) -> Result<Vec<QueuedRun>, StoreError> {
        let _alone = self.deciding.lock().unwrap_or_else(PoisonError::into_inner);
        self.recorded.store(false, Ordering::Relaxed);
        let resumed = if starting { self.app.recover()? } else { Vec::new() };
        let (now, step) = self.look();
        let config = self.app.config();
        let mut rows: BTreeMap<JobId, PlannerRow> =
            self.app.store.planner_rows()?.into_iter().map(|row| (row.job.clone(), row)).collect();
        let epochs = self.app.store.epochs()?;
        let mut entries = Vec::new();
        let mut booted = Vec::new();
        for job in config.jobs.values().filter(|job| job.enabled) {
            let Some(schedule) = &job.schedule else { continue };
            let row = rows.remove(&job.id);
            if schedule.expression.is_at_boot() {
                let fresh = starting && self.is_first_start_since_boot(row.as_ref());
                booted.push((job.clone(), fresh));
                continue;
            }
            let fingerprint = schedule.fingerprint();
            let epoch = epochs.get(job.id.as_str()).copied().unwrap_or(0).max(row.as_ref().map_or(0, |row| row.epoch));
            let row = row.filter(|row| row.fingerprint == fingerprint);
            let row = row.unwrap_or(PlannerRow { job: job.id.clone(), fingerprint, epoch, cursor: now });
            entries.push(Entry { job: job.clone(), row, next: None });
        }
        let planned: Vec<&JobId> =
            entries.iter().map(|entry| &entry.job.id).chain(booted.iter().map(|(job, _)| &job.id)).collect();
        if let Err(error) = self.app.store.keep_planner_rows(&planned) {
            // The next plan tries again.
            tracing::error!("jobs that are gone could not be forgotten: {error}");
        }
        let mut due = self.take(resumed);
        due.extend(self.take(self.record_boot(&booted, now)?));
        let decided = self.decide(&mut entries, now, step);
        self.lock().entries = entries.into_iter().map(|entry| (entry.job.id.clone(), entry)).collect();
        due.extend(self.take(decided?));
        Ok(due)
    }

    /// Records what is due and returns what is to begin.
    pub fn due_blocking(&self) -> Vec<QueuedRun> {
        let _alone = self.deciding.lock().unwrap_or_else(PoisonError::into_inner);
        let (now, step) = self.look();
        let mut ripe: Vec<Entry> = {
            let plan = self.lock();
            let ripe = |entry: &&Entry| step.abs() > due::STEP || entry.next.is_some_and(|next| next <= now);
            plan.entries.values().filter(ripe).cloned().collect()
        };
        let decided = self.decide(&mut ripe, now, step);
        let mut due = match decided {
            Ok(queued) => self.take(queued),
            Err(error) => {
                tracing::error!("{} jobs have slots that can't be recorded, which is tried again: {error}", ripe.len());
                Vec::new()
            }
        };
        let mut plan = self.lock();
        for entry in ripe {
            plan.entries.insert(entry.job.id.clone(), entry);
        }
        let later = plan.delayed.split_off(&(now + TimeDelta::milliseconds(1), 0));
        let ripe: Vec<QueuedRun> = std::mem::replace(&mut plan.delayed, later).into_values().collect();
        drop(plan);
        due.extend(ripe.into_iter().filter(|run| !self.is_paused(run, now)));
        due
    }

    /// Whether a run's job was paused while the run waited for its time; then the run is skipped.
    fn is_paused(&self, run: &QueuedRun, now: DateTime<Utc>) -> bool {
        let store = &self.app.store;
        let paused = store.paused().is_ok_and(|paused| paused.contains_key(run.job.id.as_str()));
        let ended = Ended::new(Outcome::Skipped, "the job was paused before the run began");
        // Where that can't be recorded, it is still on the list of what waits, and the next start resolves it.
        paused && store.finish_run(run.id, &ended, now).is_ok()
    }

    /// The present instant, and how far the wall clock was set since the last look; delayed runs follow it.
    fn look(&self) -> (DateTime<Utc>, TimeDelta) {
        let (now, boot) = (self.app.clock.now(), self.app.clock.since_boot());
        let mut plan = self.lock();
        let step = plan.seen.replace((now, boot)).map_or(TimeDelta::zero(), |(wall, then)| {
            let passed = TimeDelta::from_std(boot.saturating_sub(then)).unwrap_or_default();
            now - wall - passed
        });
        if step.abs() > due::STEP {
            tracing::warn!("the clock was set by {} seconds", step.num_seconds());
            let delayed = std::mem::take(&mut plan.delayed);
            plan.delayed = delayed.into_iter().map(|((begin, id), run)| ((begin + step, id), run)).collect();
        }
        (now, step)
    }

    /// Decides about the slots of these jobs up to now and records them, all in one transaction.
    /// Where that fails nothing is on record, and they are looked at again after a pause.
    fn decide(&self, entries: &mut [Entry], now: DateTime<Utc>, step: TimeDelta) -> Result<Vec<QueuedRun>, StoreError> {
        self.recorded.store(false, Ordering::Relaxed);
        let config = self.app.config();
        let (mut slots, mut rows) = (Vec::new(), Vec::new());
        for entry in entries.iter_mut() {
            entry.next = Some(now + RETRY);
            let Some(schedule) = &entry.job.schedule else { continue };
            let decision = due::decide(schedule, &entry.job.policy, entry.row.cursor, now, step);
            if decision.more {
                tracing::warn!(job = %entry.job.id, "so many slots were missed that the oldest are not put on record");
            }
            let epoch = entry.row.epoch + i64::from(decision.anew);
            slots.extend(
                decision.slots.into_iter().map(|(at, verdict)| slot_record(&config, &entry.job, epoch, at, verdict)),
            );
            rows.push(PlannerRow { epoch, cursor: decision.cursor, ..entry.row.clone() });
        }
        let queued = self.app.store.record_slots(&slots, &rows, now)?;
        for (entry, row) in entries.iter_mut().zip(rows) {
            entry.next = entry.job.schedule.as_ref().and_then(|schedule: &Schedule| next_after(schedule, row.cursor));
            entry.row = row;
        }
        self.recorded.store(true, Ordering::Relaxed);
        Ok(queued)
    }

    fn is_first_start_since_boot(&self, row: Option<&PlannerRow>) -> bool {
        match row {
            Some(row) if row.fingerprint.starts_with(BOOT) => row.fingerprint != self.boot_fingerprint(),
            // It is new, or had a schedule until now.
            Some(_) => false,
            None => self.app.clock.since_boot() < JUST_STARTED,
        }
    }

    fn boot_fingerprint(&self) -> String {
        format!("{BOOT}{}", self.app.clock.boot())
    }

    /// Remembers for which start of the machine the `@reboot` jobs were looked at, and records those that are due.
    fn record_boot(&self, jobs: &[(Arc<Job>, bool)], now: DateTime<Utc>) -> Result<Vec<QueuedRun>, StoreError> {
        let row =
            |job: &Job| PlannerRow { job: job.id.clone(), fingerprint: self.boot_fingerprint(), epoch: 0, cursor: now };
        let rows: Vec<PlannerRow> = jobs.iter().map(|(job, _)| row(job)).collect();
        let config = self.app.config();
        let due = jobs.iter().filter(|(_, fresh)| *fresh);
        let records: Vec<SlotRecord> = due
            .map(|(job, _)| SlotRecord { trigger: Trigger::Boot, ..slot_record(&config, job, 0, now, Verdict::Due) })
            .collect();
        self.app.store.record_slots(&records, &rows, now)
    }

    /// The maps are whole whenever the lock is free, so a panic elsewhere doesn't matter.
    fn lock(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn slot_record(config: &Config, job: &Arc<Job>, epoch: i64, at: DateTime<Utc>, verdict: Verdict) -> SlotRecord {
    let (trigger, ended) = match verdict {
        Verdict::Due => (Trigger::Scheduled, None),
        Verdict::CatchUp => (Trigger::CatchUp, None),
        Verdict::Missed(why) => (Trigger::CatchUp, Some(Ended::new(Outcome::Missed, why))),
    };
    let slot = Slot { job: job.id.clone(), epoch, instant: at };
    let tell = match &ended {
        Some(_) => tellings(config, &job.mail.on_missed, RunNews::Missed),
        None => Vec::new(),
    };
    SlotRecord { begin: jitter(job, at).map(|late| at + late), job: job.clone(), slot, trigger, ended, tell }
}

/// By how much a slot's run begins later: always the same for one slot, spread over jobs and slots.
fn jitter(job: &Job, at: DateTime<Utc>) -> Option<TimeDelta> {
    let most = u64::try_from(job.policy.jitter.as_millis()).ok().filter(|most| *most > 0)?;
    let mut hash = std::hash::DefaultHasher::new();
    std::hash::Hash::hash(&(job.id.as_str(), at.timestamp()), &mut hash);
    let late = std::hash::Hasher::finish(&hash) % (most + 1);
    i64::try_from(late).ok().map(TimeDelta::milliseconds)
}
