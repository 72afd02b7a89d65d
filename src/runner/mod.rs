//! The one road every run takes, however it was asked for.

mod dispatch;
mod lock;
mod news;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::{Notify, broadcast, mpsc, watch};

use crate::clock::Clock;
use crate::config::{Config, ConfigErrors, Diagnostic};
use crate::jobs::{self, Cancel, Context, JobError, Live, Stop};
use crate::model::{CatchUp, Glance, Job, JobId, Outcome, Problem, RunId, Slot, Trigger};
use crate::schedule::due;
use crate::store::{Aftermath, Ended, OpenRun, QueuedRun, Store, StoreError};
use crate::supervise::Pool;
use crate::threads::{blocking, try_blocking};

use dispatch::{Dispatch, Refusal};
pub use lock::{Lock, LockError, refuse_foreign};

/// What a running logkeeper consists of.
pub struct App {
    config: RwLock<Arc<Config>>,
    /// The store.
    pub store: Arc<Store>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    runs: Mutex<Runs>,
    /// Runs commands.
    pub supervisors: Pool,
    /// Changes with every run that ends.
    finished: watch::Sender<RunId>,
    /// Receives the runs that follow from the end of others.
    follow_ups: mpsc::UnboundedSender<Vec<QueuedRun>>,
    /// Woken when there may be something to deliver.
    pub mail: Notify,
    /// The addresses to ping because a run has ended.
    pub heartbeats: broadcast::Sender<Heartbeat>,
    /// Woken when another configuration is in force.
    pub reloaded: Notify,
    ending: AtomicBool,
}

/// Everything about runs that have not ended.
#[derive(Default)]
struct Runs {
    dispatch: Dispatch,
    handles: HashMap<RunId, Handle>,
}

/// What one has of a run that goes on.
#[derive(Clone, Default)]
struct Handle {
    cancel: Cancel,
    live: Live,
}

/// Receives the runs that follow from the end of others: retries, and jobs that come after.
pub type FollowUps = mpsc::UnboundedReceiver<Vec<QueuedRun>>;

impl App {
    /// With this configuration and store. Whoever drops the follow-ups leaves them to the next daemon: they are on record.
    pub fn new(config: Config, store: Store, clock: Arc<dyn Clock>) -> (Arc<Self>, FollowUps) {
        let (follow_ups, receiver) = mpsc::unbounded_channel();
        let mut runs = Runs::default();
        runs.dispatch.set_limits(config.max_parallel, config.groups.clone());
        let app = Self {
            config: RwLock::new(Arc::new(config)),
            store: Arc::new(store),
            clock,
            runs: Mutex::new(runs),
            supervisors: Pool::default(),
            finished: watch::Sender::new(0),
            follow_ups,
            mail: Notify::new(),
            heartbeats: broadcast::Sender::new(HEARTBEATS),
            reloaded: Notify::new(),
            ending: AtomicBool::new(false),
        };
        (Arc::new(app), receiver)
    }

    /// The configuration in force.
    pub fn config(&self) -> Arc<Config> {
        self.config.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads the configuration again; a broken one changes nothing.
    ///
    /// # Errors
    /// The mistakes in the new configuration.
    pub fn reload(&self) -> Result<(), ConfigErrors> {
        let root: PathBuf = self.config().root.clone();
        let new = Config::load(&root)?;
        let state = &self.config().state;
        if new.state != *state {
            let message = format!("state can't change from {} while logkeeper runs", state.display());
            let problem = Problem::new(message, "", "end the daemon and start it again");
            return Err(ConfigErrors(vec![Diagnostic::of_file(Path::new("config/logkeeper.toml"), problem)]));
        }
        self.replace_config(new);
        Ok(())
    }

    /// Puts another configuration in force.
    pub fn replace_config(&self, new: Config) {
        self.lock_runs().dispatch.set_limits(new.max_parallel, new.groups.clone());
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
        self.reloaded.notify_waiters();
    }

    /// Changes with every run that ends.
    pub fn finished(&self) -> watch::Receiver<RunId> {
        self.finished.subscribe()
    }

    /// How many runs go on, and how many wait for their turn.
    pub fn load(&self) -> (usize, usize) {
        let runs = self.lock_runs();
        (runs.dispatch.running(), runs.dispatch.waiting())
    }

    /// Whether a run waits for its turn or goes on.
    pub fn holds(&self, run: RunId) -> bool {
        self.lock_runs().dispatch.holds(run)
    }

    /// What a running command has printed from line number `from` on, and how far the run is.
    pub fn glance(&self, run: RunId, from: usize) -> Glance {
        let live = self.lock_runs().handles.get(&run).map(|handle| handle.live.clone());
        live.map_or(Glance { next: from, ..Glance::default() }, |live| live.glance(from))
    }

    /// From now on no run begins.
    pub fn end(&self) {
        self.ending.store(true, Ordering::Relaxed);
    }

    /// Whether no run begins any more.
    pub fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Relaxed)
    }

    /// Tells every run to stop.
    pub fn cancel_all(&self) {
        self.lock_runs().handles.values().for_each(|handle| handle.cancel.stop(Stop::Ending));
    }

    /// Stops a run that goes on, or takes one that waits off the list; false where it does neither.
    ///
    /// # Errors
    /// Fails where the end of a waiting run can't be recorded.
    pub fn stop(&self, run: RunId) -> Result<bool, StoreError> {
        let withdrawn = {
            let mut runs = self.lock_runs();
            if let Some(handle) = runs.handles.get(&run) {
                handle.cancel.stop(Stop::Cancelled);
                return Ok(true);
            }
            runs.dispatch.withdraw(run).is_some()
        };
        let open = withdrawn || self.store.run(run)?.is_some_and(|run| run.outcome.is_none());
        if open {
            let ended = Ended::new(Outcome::Cancelled, "was stopped before it began");
            self.store.finish_run(run, &ended, self.clock.now())?;
            self.finished.send_replace(run);
        }
        Ok(open)
    }

    /// Begins runs that are on record, as far as limits and overlap allow; the others wait or are skipped.
    pub fn begin(self: &Arc<Self>, queued: Vec<QueuedRun>) {
        let config = self.config();
        let mut refused = Vec::new();
        {
            let mut runs = self.lock_runs();
            for mut run in queued {
                // It may have waited for long, and the job may be another one by now.
                match config.jobs.get(&run.job.id) {
                    Some(job) if job.enabled || run.trigger == Trigger::Manual => {
                        run.job = job.clone();
                        refused.extend(runs.dispatch.admit(run).err());
                    }
                    _ => refused.push((run, Refusal::Gone)),
                }
            }
        }
        self.dispatch();
        if refused.is_empty() {
            return;
        }
        let app = self.clone();
        tokio::spawn(blocking(move || {
            for (run, refusal) in refused {
                app.skip(&run, &refusal);
            }
        }));
    }

    /// Waits for a run to end and returns it.
    ///
    /// # Errors
    /// Says why its end can't be told.
    pub async fn ended(self: &Arc<Self>, run: RunId) -> Result<crate::model::Run, EndError> {
        let mut finished = self.finished();
        let mut gone_since = None;
        loop {
            let app = self.clone();
            let found = blocking(move || app.store.run(run)).await.map_err(|_| EndError::Unknown(run))??;
            let found = found.ok_or(EndError::Unknown(run))?;
            if found.outcome.is_some() {
                return Ok(found);
            }
            // Woken or not, it is looked at again.
            let _ = tokio::time::timeout(PATIENCE, finished.changed()).await;
            let gone = *gone_since.get_or_insert_with(tokio::time::Instant::now);
            if self.holds(run) || found.begin.is_some() {
                gone_since = None;
            } else if gone.elapsed() > PATIENCE {
                return Err(EndError::Lost(run));
            }
        }
    }

    /// Resolves the runs that a dead logkeeper left open. What had begun is interrupted, and tried again where the job's
    /// `retries` allow; what had not begun follows the job's `catch_up`. Returns the runs that are to begin.
    ///
    /// # Errors
    /// Fails where the store can't be used.
    pub fn recover(&self) -> Result<Vec<QueuedRun>, StoreError> {
        let now = self.clock.now();
        let mut queued: Vec<QueuedRun> = Vec::new();
        let config = self.config();
        for open in self.store.open_runs()? {
            let job = open.job.parse::<JobId>().ok().and_then(|id| config.jobs.get(&id)).filter(|job| job.enabled);
            let Some(run) = job.map(|job| resumed(&open, job)) else {
                let ended = Ended::new(Outcome::Interrupted, "logkeeper ended, and the job is gone");
                self.store.finish_run(open.id, &ended, now)?;
                continue;
            };
            if open.started {
                let ended = Ended::new(Outcome::Interrupted, "logkeeper died during this run");
                let after = self.aftermath(&run, &ended);
                queued.extend(self.store.settle_run(&run, &ended, &after, now)?);
                self.beat(&run, &ended, &after);
            } else if let Some(reason) = unresumable(&run, now) {
                self.miss(&run, reason, now)?;
            } else {
                queued.push(run);
            }
        }
        self.only_last_of_each(queued)
    }

    /// Of several waiting runs of a job that makes up for the last slot only, the last one stays.
    fn only_last_of_each(&self, queued: Vec<QueuedRun>) -> Result<Vec<QueuedRun>, StoreError> {
        let now = self.clock.now();
        let old = |run: &QueuedRun| run.job.policy.catch_up == CatchUp::Last && run.at < now - due::FRESH;
        let mut kept = Vec::new();
        let mut last: HashMap<JobId, QueuedRun> = HashMap::new();
        for run in queued {
            if !old(&run) {
                kept.push(run);
                continue;
            }
            let other = last.remove(&run.job.id);
            let (later, earlier) = match other {
                Some(other) if other.at > run.at => (other, Some(run)),
                other => (run, other),
            };
            last.insert(later.job.id.clone(), later);
            if let Some(earlier) = earlier {
                self.miss(&earlier, "logkeeper ended before it began, and a later slot ran", now)?;
            }
        }
        kept.extend(last.into_values());
        Ok(kept)
    }

    fn skip(&self, run: &QueuedRun, refusal: &Refusal) {
        let why = match refusal {
            Refusal::Overlaps(other) => format!("run {other} of this job was still going on"),
            Refusal::Gone => "the job is gone or disabled by now".to_owned(),
            Refusal::QueueFull => "too many runs of this job wait already".to_owned(),
        };
        tracing::warn!(job = %run.job.id, run = run.id, "skipped: {why}");
        self.record(run, &Ended::new(Outcome::Skipped, why));
    }

    fn dispatch(self: &Arc<Self>) {
        if self.is_ending() {
            return;
        }
        let ready: Vec<(QueuedRun, Handle)> = {
            let mut runs = self.lock_runs();
            let ready = runs.dispatch.ready();
            let with_handle = ready.into_iter().map(|run| {
                let handle = Handle::default();
                runs.handles.insert(run.id, handle.clone());
                (run, handle)
            });
            with_handle.collect()
        };
        for (run, handle) in ready {
            tokio::spawn(self.clone().execute(run, handle));
        }
    }

    /// Does the work of a run, and records how it ended and what follows.
    async fn execute(self: Arc<Self>, run: QueuedRun, handle: Handle) {
        let ended = self.work(&run, &handle).await;
        let run = Arc::new(run);
        if let Some(ended) = &ended {
            // A line for each would make the log grow, which may be the very log that is followed.
            if run.trigger == Trigger::Watch && ended.outcome == Outcome::Succeeded {
                tracing::debug!(job = %run.job.id, run = run.id, outcome = %ended.outcome, "{}", ended.summary);
            } else {
                tracing::info!(job = %run.job.id, run = run.id, outcome = %ended.outcome, "{}", ended.summary);
            }
        }
        let ended = ended.map(Arc::new);
        let mut recorded = self.try_record(&run, ended.as_ref()).await;
        {
            let mut runs = self.lock_runs();
            runs.dispatch.release(run.id);
            runs.handles.remove(&run.id);
        }
        self.dispatch();
        // The end of a run is not forgotten because a disk is full just now.
        while !recorded {
            tokio::time::sleep(RECORD_AGAIN).await;
            recorded = self.try_record(&run, ended.as_ref()).await;
        }
        self.finished.send_replace(run.id);
        self.mail.notify_one();
    }

    async fn try_record(self: &Arc<Self>, run: &Arc<QueuedRun>, ended: Option<&Arc<Ended>>) -> bool {
        let Some(ended) = ended.cloned() else { return true };
        let (app, run) = (self.clone(), run.clone());
        // A panic in there is in the log, and would come again.
        blocking(move || app.record(&run, &ended)).await.unwrap_or(true)
    }

    /// Runs the work on a blocking thread and watches its time; `None` where the run has ended before it began.
    async fn work(self: &Arc<Self>, run: &QueuedRun, handle: &Handle) -> Option<Ended> {
        let (app, owned, shared) = (self.clone(), run.clone(), handle.clone());
        let work = try_blocking(move || {
            let config = app.config();
            if !app.store.start_run(owned.id, app.clock.now())? {
                return Ok(None);
            }
            let context = Context {
                job: &owned.job,
                run: owned.id,
                at: owned.at,
                config: &config,
                store: &app.store,
                clock: &*app.clock,
                cancel: &shared.cancel,
                live: &shared.live,
                supervisors: &app.supervisors,
            };
            jobs::kind(&owned.job.work).run(&context).map(Some)
        });
        tokio::pin!(work);
        let told = !run.job.mail.on_slow.is_empty() && run.trigger != Trigger::Manual;
        let slow = told.then(|| tokio::spawn(self.clone().tell_when_slow(run.clone())));
        let in_time = match run.job.policy.timeout {
            Some(limit) => tokio::time::timeout(limit, &mut work).await.ok(),
            None => Some((&mut work).await),
        };
        let result = match in_time {
            Some(result) => result,
            None => {
                handle.cancel.stop(Stop::Timeout);
                work.await
            }
        };
        slow.inspect(tokio::task::JoinHandle::abort);
        match result {
            Ok(Ok(Ok(ended))) => ended,
            Ok(Ok(Err(error))) => Some(failed(&run.job, &error)),
            Ok(Err(panicked)) => Some(Ended::new(Outcome::Failed, panicked.to_string())),
            Err(_not_begun) => Some(match handle.cancel.reason() {
                Some(stop) => failed(&run.job, &JobError::Stopped(stop)),
                None => Ended::new(Outcome::CouldNotStart, NO_THREAD),
            }),
        }
    }

    /// Puts on record how a run ended and what follows, and passes on what follows; false where the store can't be written.
    fn record(&self, run: &QueuedRun, ended: &Ended) -> bool {
        let after = self.aftermath(run, ended);
        match self.store.settle_run(run, ended, &after, self.clock.now()) {
            Ok(queued) if !queued.is_empty() => {
                // Nobody listens in a process that is no daemon: the next daemon finds them on record.
                let _ = self.follow_ups.send(queued);
            }
            Ok(_) => {}
            Err(error) => {
                tracing::error!(job = %run.job.id, run = run.id, "the end of the run could not be recorded yet: {error}");
                return false;
            }
        }
        self.beat(run, ended, &after);
        self.finished.send_replace(run.id);
        true
    }

    /// Has the job's address pinged.
    fn beat(&self, run: &QueuedRun, ended: &Ended, after: &Aftermath) {
        let url = heartbeat(&run.job, ended, after.retry.is_some()).filter(|_| run.trigger != Trigger::Manual);
        if let Some(url) = url {
            // Nobody pings in a process that is no daemon.
            let _ = self.heartbeats.send(Heartbeat { of: run.job.id.to_string(), url });
        }
    }

    /// What follows from the end of a run.
    fn aftermath(&self, run: &QueuedRun, ended: &Ended) -> Aftermath {
        let config = self.config();
        let Some(job) = config.jobs.get(&run.job.id) else { return Aftermath::default() };
        if run.trigger == Trigger::Manual {
            return Aftermath::default();
        }
        if run.slot.is_none() {
            return Aftermath { tell: self.news(run, job, ended, false), ..Aftermath::default() };
        }
        let failed = ended.outcome.is_failure();
        let again = failed && job.enabled && run.attempt <= job.policy.retries;
        let retry = again.then(|| self.clock.now() + job.policy.backoff(run.attempt));
        let tell = if retry.is_none() || !ended.output.is_empty() {
            self.news(run, job, ended, retry.is_some())
        } else {
            Vec::new()
        };
        let done = retry.is_none() && ended.outcome != Outcome::Skipped;
        let followers = if done { config.followers(&job.id) } else { Vec::new() };
        Aftermath { retry, followers, tell }
    }

    /// The maps are whole whenever the lock is free, so a panic elsewhere doesn't matter.
    fn lock_runs(&self) -> MutexGuard<'_, Runs> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many heartbeats wait to be sent before the oldest are left out.
const HEARTBEATS: usize = 1024;

/// After how long it is tried again to put the end of a run on record.
const RECORD_AGAIN: std::time::Duration = std::time::Duration::from_secs(10);

/// Why a run does not begin where no thread can be made.
const NO_THREAD: &str = "the system gives logkeeper no thread to run it on; see ulimit -u, and TasksMax of the service";

/// How long a run that nobody knows of may have no end on record.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(5);

/// Why the end of a run can't be told.
#[derive(Debug, thiserror::Error)]
pub enum EndError {
    /// There is no such run.
    #[error("there is no run {0}")]
    Unknown(RunId),
    /// It is over, but its end is not on record.
    #[error("run {0} is over, but its end could not be recorded; the daemon's log tells why")]
    Lost(RunId),
    /// The store fails.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A run as found at a start, with its job.
fn resumed(open: &OpenRun, job: &Arc<Job>) -> QueuedRun {
    let slot = open.slot.map(|(epoch, instant)| Slot { job: job.id.clone(), epoch, instant });
    let at = slot.as_ref().map_or(open.requested, |slot| slot.instant);
    let (id, trigger, attempt, begin) = (open.id, open.trigger, open.attempt, open.begin);
    QueuedRun { id, job: job.clone(), trigger, slot, at, attempt, begin }
}

/// Why a run that had not begun when logkeeper ended does not begin now.
fn unresumable(run: &QueuedRun, now: DateTime<Utc>) -> Option<&'static str> {
    let window = TimeDelta::from_std(run.job.policy.catch_up_window).unwrap_or(TimeDelta::MAX);
    let due = run.begin.map_or(run.at, |begin| begin.max(run.at));
    match run.job.policy.catch_up {
        _ if matches!(run.trigger, Trigger::Manual | Trigger::Watch) => Some("logkeeper ended before it began"),
        _ if due >= now - due::FRESH => None,
        CatchUp::None => Some("logkeeper ended before it began"),
        _ if now - due > window => Some("logkeeper ended before it began, and that was too long ago"),
        _ => None,
    }
}

/// An address to ping.
#[derive(Debug, Clone)]
pub struct Heartbeat {
    /// Whose: a job's id.
    pub of: String,
    /// The address.
    pub url: String,
}

/// What is pinged after a run: the job's address, with `/fail` behind its path where it failed for good, also in part, as healthchecks
/// has it; nothing where it did not run, was stopped, or is tried again.
fn heartbeat(job: &Job, ended: &Ended, tried_again: bool) -> Option<String> {
    let mut url = reqwest::Url::parse(job.heartbeat.as_deref()?).ok()?;
    match ended.outcome {
        Outcome::Succeeded => {}
        outcome if (outcome.is_failure() || outcome == Outcome::Partial) && !tried_again => {
            let path = format!("{}/fail", url.path().trim_end_matches('/'));
            url.set_path(&path);
        }
        _ => return None,
    }
    Some(url.into())
}

fn failed(job: &Job, error: &JobError) -> Ended {
    let outcome = match error {
        JobError::Stopped(stop) => stop.outcome(),
        JobError::CouldNotStart(_) => Outcome::CouldNotStart,
        JobError::Store(_) | JobError::Failed(_) => Outcome::Failed,
    };
    let summary = match error {
        JobError::Stopped(stop) => stop.words(job),
        other => other.to_string(),
    };
    Ended::new(outcome, summary)
}
