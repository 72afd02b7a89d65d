//! The one road every run takes, however it was asked for.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use chrono::{DateTime, Utc};
use tokio::sync::{Notify, watch};

use crate::clock::Clock;
use crate::config::{Config, ConfigErrors, Diagnostic};
use crate::jobs::{self, Cancel, Context, JobError, Stop};
use crate::model::{Job, JobId, Outcome, Problem, RunId};
use crate::store::{Ended, Store};

/// What a running logkeeper consists of.
pub struct App {
    config: RwLock<Arc<Config>>,
    /// The store.
    pub store: Arc<Store>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    running: Mutex<HashMap<JobId, (RunId, Cancel)>>,
    finished: watch::Sender<RunId>,
    /// Woken when there may be something to deliver.
    pub mail: Notify,
    ending: AtomicBool,
}

impl App {
    /// With this configuration and store.
    pub fn new(config: Config, store: Store, clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self {
            config: RwLock::new(Arc::new(config)),
            store: Arc::new(store),
            clock,
            running: Mutex::default(),
            finished: watch::Sender::new(0),
            mail: Notify::new(),
            ending: AtomicBool::new(false),
        })
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
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
        Ok(())
    }

    /// Changes with every run that ends.
    pub fn finished(&self) -> watch::Receiver<RunId> {
        self.finished.subscribe()
    }

    /// How many runs are going on.
    pub fn running(&self) -> usize {
        self.lock_running().len()
    }

    /// Whether a run is going on.
    pub fn is_running(&self, run: RunId) -> bool {
        self.lock_running().values().any(|(claimed, _)| *claimed == run)
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
        self.lock_running().values().for_each(|(_, cancel)| cancel.stop(Stop::Cancelled));
    }

    /// Does the work of a run that is on record, and records how it ended.
    /// `at` is the instant the run is about.
    pub async fn execute(self: &Arc<Self>, job: Job, run: RunId, at: DateTime<Utc>) -> Outcome {
        let cancel = Cancel::default();
        let ended = match self.claim(&job.id, run, &cancel) {
            Err(other) => Ended::new(Outcome::Skipped, format!("run {other} of this job was still going on")),
            Ok(()) => self.work(&job, run, at, &cancel).await,
        };
        let outcome = ended.outcome;
        let (app, id) = (self.clone(), job.id.clone());
        let record = blocking(move || {
            let recorded = app.store.finish_run(run, &ended, app.clock.now());
            let mut running = app.lock_running();
            if running.get(&id).is_some_and(|(claimed, _)| *claimed == run) {
                running.remove(&id);
            }
            recorded.map(|()| ended)
        });
        match record.await {
            Ok(Ok(ended)) => tracing::info!(job = %job.id, run, outcome = %outcome, "{}", ended.summary),
            Ok(Err(error)) => tracing::error!(job = %job.id, run, "the end of the run could not be recorded: {error}"),
            Err(_) => tracing::error!(job = %job.id, run, "the end of the run could not be recorded"),
        }
        self.finished.send_replace(run);
        self.mail.notify_one();
        outcome
    }

    /// Runs the work on a blocking thread and watches its time.
    async fn work(self: &Arc<Self>, job: &Job, run: RunId, at: DateTime<Utc>, cancel: &Cancel) -> Ended {
        let (app, owned, flag) = (self.clone(), job.clone(), cancel.clone());
        let mut work = tokio::task::spawn_blocking(move || {
            let config = app.config();
            app.store.start_run(run, app.clock.now())?;
            let context =
                Context { job: &owned, run, at, config: &config, store: &app.store, clock: &*app.clock, cancel: &flag };
            jobs::kind(&owned.work).run(&context)
        });
        let in_time = tokio::time::timeout(job.timeout, &mut work).await;
        let result = match in_time {
            Ok(result) => result,
            Err(_) => {
                cancel.stop(Stop::Timeout);
                work.await
            }
        };
        match result {
            Ok(Ok(ended)) => ended,
            Ok(Err(error)) => failed(job, &error),
            Err(_) => Ended::new(Outcome::Failed, "an error inside logkeeper ended this run; its log tells where"),
        }
    }

    fn claim(&self, job: &JobId, run: RunId, cancel: &Cancel) -> Result<(), RunId> {
        match self.lock_running().entry(job.clone()) {
            std::collections::hash_map::Entry::Occupied(other) => Err(other.get().0),
            std::collections::hash_map::Entry::Vacant(free) => {
                free.insert((run, cancel.clone()));
                Ok(())
            }
        }
    }

    /// The map is whole whenever the lock is free, so a panic elsewhere doesn't matter.
    fn lock_running(&self) -> std::sync::MutexGuard<'_, HashMap<JobId, (RunId, Cancel)>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs blocking work off the async threads.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, tokio::task::JoinError> {
    tokio::task::spawn_blocking(work).await
}

fn failed(job: &Job, error: &JobError) -> Ended {
    let outcome = match error {
        JobError::Stopped(Stop::Timeout) => Outcome::TimedOut,
        JobError::Stopped(Stop::Cancelled) => Outcome::Cancelled,
        JobError::CouldNotStart(_) => Outcome::CouldNotStart,
        JobError::Store(_) | JobError::Failed(_) => Outcome::Failed,
    };
    let summary = match error {
        JobError::Stopped(Stop::Timeout) => {
            format!("took longer than {} and was ended", humantime::format_duration(job.timeout))
        }
        JobError::Stopped(Stop::Cancelled) => "was ended before it was done".to_owned(),
        other => other.to_string(),
    };
    Ended::new(outcome, summary)
}

/// The lock on a state folder: one logkeeper at a time runs jobs in it.
pub struct Lock {
    _file: std::fs::File,
}

/// Why a state folder can't be locked.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another logkeeper holds it.
    #[error("another logkeeper is using {folder}: {holder}")]
    Held {
        /// The state folder.
        folder: PathBuf,
        /// What the holder wrote about itself.
        holder: String,
    },
    /// The folder or the lock file can't be used.
    #[error("can't lock {folder}: {error}")]
    Io {
        /// The state folder.
        folder: PathBuf,
        /// Why.
        error: std::io::Error,
    },
}

impl Lock {
    /// Takes the lock of a state folder, or says who holds it. `purpose` is what a second one is told.
    ///
    /// # Errors
    /// [`LockError::Held`] where another process holds it.
    pub fn take(state: &Path, purpose: &str) -> Result<Self, LockError> {
        use std::io::{Read, Seek, Write};
        let io = |error| LockError::Io { folder: state.to_owned(), error };
        crate::fs::create_folder(state).map_err(io)?;
        let mut file = crate::fs::create_private(&state.join("lock")).map_err(io)?;
        if rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive).is_err() {
            let mut holder = String::new();
            // A holder that has not written yet is nameless.
            let _ = file.read_to_string(&mut holder);
            let holder =
                if holder.trim().is_empty() { "it has just started".to_owned() } else { holder.trim().to_owned() };
            return Err(LockError::Held { folder: state.to_owned(), holder });
        }
        file.set_len(0).and_then(|()| file.rewind()).map_err(io)?;
        file.write_all(format!("pid {}, {purpose}\n", std::process::id()).as_bytes()).map_err(io)?;
        Ok(Self { _file: file })
    }
}
