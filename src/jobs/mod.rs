//! Job kinds: they join the leaves, each in its own file.
//!
//! To add a kind: write its file, a variant of [`Work`] and a line in [`kind`].

pub mod access_logs;
mod address_counts;
pub mod ahead;
mod alert;
mod archive;
pub mod collect;
mod command;
mod comparison;
pub mod copies;
mod facts;
mod failures;
mod fold;
mod interests;
pub mod keep;
mod live;
mod log_times;
mod notice;
mod outgoing;
mod owners;
mod parsed;
mod read_stream;
mod report;
mod rotate;
mod rotate_tell;
mod rule_texts;
mod running;
mod scan;
mod scan_state;
pub mod scanner;
pub mod settler;
pub mod status_counts;
pub mod stream_state;
mod tallies;
mod top_counts;
mod verify;
mod web_failures;

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use chrono::{DateTime, Utc};
use chrono_tz::Tz;

pub use alert::Alert;
pub use archive::alone_in;
pub use fold::{Fold, What, fold};
pub use live::Live;
pub use log_times::log_times;
pub use notice::{NOTICED_RUNS, compose as compose_notice, tellings};
pub use outgoing::frozen;
pub use report::{Request as ReportRequest, as_sent, compose as compose_report, midnight, sent as sent_report};
pub use verify::share_of;

use crate::clock::Clock;
use crate::config::Config;
use crate::model::{Job, Outcome, RunId, Work};
use crate::store::{Ended, Store, StoreError};
use crate::supervise::Pool;

/// What a run is given.
pub struct Context<'a> {
    /// The job.
    pub job: &'a Job,
    /// The run's number; 0 in a dry run.
    pub run: RunId,
    /// The instant the run is about: its slot, or now when started by hand.
    pub at: DateTime<Utc>,
    /// The configuration.
    pub config: &'a Config,
    /// The store.
    pub store: &'a Store,
    /// The clock.
    pub clock: &'a dyn Clock,
    /// Tells when to stop.
    pub cancel: &'a Cancel,
    /// Shows those who watch what a command prints, and how far the run is.
    pub live: &'a Live,
    /// Runs commands.
    pub supervisors: &'a Pool,
}

impl Context<'_> {
    /// The zone of the job's dates: its schedule's.
    pub fn zone(&self) -> Tz {
        self.job.schedule.as_ref().map_or(self.config.zone, |schedule| schedule.zone)
    }

    /// Told once per block of work how many bytes are done since the last time; gives whether to stop.
    pub fn step(&self, bytes: u64) -> bool {
        self.live.advance(bytes);
        self.check().is_err()
    }

    /// Looked at once per block of work.
    ///
    /// # Errors
    /// [`JobError::Stopped`] once the run is to stop.
    pub fn check(&self) -> Result<(), JobError> {
        self.cancel.reason().map_or(Ok(()), |reason| Err(JobError::Stopped(reason)))
    }
}

/// Why a run is to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// It takes longer than allowed.
    Timeout,
    /// Somebody said so.
    Cancelled,
    /// logkeeper ends.
    Ending,
}

impl Stop {
    /// How a run that stopped has ended.
    pub fn outcome(self) -> Outcome {
        match self {
            Stop::Timeout => Outcome::TimedOut,
            Stop::Cancelled => Outcome::Cancelled,
            Stop::Ending => Outcome::Interrupted,
        }
    }

    /// What a run that stopped says about it.
    pub fn words(self, job: &Job) -> String {
        match (self, job.policy.timeout) {
            (Stop::Timeout, Some(limit)) => {
                format!("took longer than {} and was ended", humantime::format_duration(limit))
            }
            (Stop::Timeout | Stop::Cancelled, _) => "was stopped by hand".to_owned(),
            (Stop::Ending, _) => "logkeeper was ended, and this run with it".to_owned(),
        }
    }
}

/// A flag shared by a run and those who may stop it.
#[derive(Debug, Clone, Default)]
pub struct Cancel(Arc<AtomicU8>);

impl Cancel {
    /// Asks the run to stop; the first reason stays.
    pub fn stop(&self, reason: Stop) {
        let code = match reason {
            Stop::Timeout => 1,
            Stop::Cancelled => 2,
            Stop::Ending => 3,
        };
        // Lost where a reason is set already, which is meant.
        let _ = self.0.compare_exchange(0, code, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// The reason, once the run is to stop.
    pub fn reason(&self) -> Option<Stop> {
        match self.0.load(Ordering::Relaxed) {
            0 => None,
            1 => Some(Stop::Timeout),
            2 => Some(Stop::Cancelled),
            _ => Some(Stop::Ending),
        }
    }
}

/// Why a run could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// It was told to stop.
    #[error("stopped")]
    Stopped(Stop),
    /// It could not begin.
    #[error("{0}")]
    CouldNotStart(String),
    /// The store fails.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Anything else, in words.
    #[error("{0}")]
    Failed(String),
}

/// A kind of work.
pub trait JobKind {
    /// Does the work.
    ///
    /// # Errors
    /// Says why it could not be done at all; what could be done in part is a partial [`Ended`].
    fn run(&self, context: &Context<'_>) -> Result<Ended, JobError>;

    /// Says what [`JobKind::run`] would do now, line by line, and changes nothing.
    ///
    /// # Errors
    /// Says why that can't be told.
    fn preview(&self, context: &Context<'_>) -> Result<Vec<String>, JobError>;
}

/// The code for a piece of work.
pub fn kind(work: &Work) -> &dyn JobKind {
    match work {
        Work::Archive(spec) => spec,
        Work::Verify(spec) => spec,
        Work::Rotate(spec) => &**spec,
        Work::Scan(spec) => spec,
        Work::Report(spec) => spec,
        Work::Command(spec) => &**spec,
    }
}

/// `1 file`, `2 files`.
pub fn counted(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

/// That a rule dropped events, in words.
pub fn dropped_in_words(rule: &str, events: u64) -> String {
    let events = counted(events as usize, "event");
    format!("rule {rule} dropped {events}: it remembers no more at once; its only and allow may say whom it is about")
}

/// That failed logins were left to access logs, in words.
pub fn left_in_words(failures: u64) -> String {
    let are = if failures == 1 { "is" } else { "are" };
    let failures = counted(failures as usize, "failed login");
    format!("{failures} that error logs tell of {are} left to the access logs' answers 401")
}
