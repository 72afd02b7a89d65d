//! Jobs: what to do, and when.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use chrono::{Days, Months, NaiveDate};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use super::run::words;
use super::{ArchiveSpec, Expression, Problem, RotateSpec, VerifySpec};

/// A job's id: the name of its file in `jobs/` without `.toml`.
///
/// Only `a-z`, `0-9`, `.`, `_` and `-`, not starting with a dot, at most 64 characters, so that it is
/// safe in file names, mail headers and on a terminal.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct JobId(String);

impl JobId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for JobId {
    type Err = Problem;
    fn from_str(text: &str) -> Result<Self, Problem> {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b);
        if text.is_empty() || text.len() > 64 || text.starts_with('.') || !text.bytes().all(allowed) {
            let message = format!("{text:?} is not a name");
            return Err(Problem::new(
                message,
                "1 to 64 of a-z 0-9 . _ -",
                "write it in small letters without blanks, as \"nightly-backup\"",
            ));
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for JobId {
    type Error = Problem;
    fn try_from(text: String) -> Result<Self, Problem> {
        text.parse()
    }
}

impl From<JobId> for String {
    fn from(id: JobId) -> Self {
        id.0
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A cron expression in a time zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// Which minutes match on the wall clock.
    pub expression: Expression,
    /// Whose wall clock.
    pub zone: Tz,
}

impl Schedule {
    /// Changes when the schedule means something else: a rescheduled job has no past slots.
    pub fn fingerprint(&self) -> String {
        format!("{} {}", self.expression, self.zone)
    }

    /// When it is due in plain English, with the zone: `Fridays at 12:00 Europe/Berlin`.
    pub fn explain(&self) -> String {
        let words = self.expression.explain();
        if self.expression.is_at_boot() { words } else { format!("{words} {}", self.zone.name()) }
    }
}

words! {
    /// What happens to slots that came while logkeeper was not running or the machine slept.
    CatchUp {
        /// The last of them runs.
        Last = "last",
        /// Each of them runs, one after the other as `overlap` allows.
        All = "all",
        /// None of them runs.
        None = "none",
    }
}

words! {
    /// What happens when a job is due while an earlier run of it still goes on.
    Overlap {
        /// The new run is skipped.
        Skip = "skip",
        /// The new run waits for its turn.
        Queue = "queue",
        /// Both run.
        Allow = "allow",
    }
}

/// How a job's runs are begun, limited and repeated. The main file's `[defaults]` hold for jobs that say nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// What happens to missed slots.
    pub catch_up: CatchUp,
    /// How old a missed slot may be to be made up for.
    pub catch_up_window: Duration,
    /// What happens to a slot that comes too early.
    pub overlap: Overlap,
    /// After how long a run is ended; `None`: never.
    pub timeout: Option<Duration>,
    /// How long a command may take to end after it was asked to (SIGTERM), before it is killed.
    pub grace: Duration,
    /// How often a failed run is tried again. A run that logkeeper's own end cut off counts as failed.
    pub retries: u32,
    /// How long after a failure the first retry begins; each further one waits twice as long, at most an hour or
    /// this, whichever is longer.
    pub retry_delay: Duration,
    /// A run begins up to so much later than its slot, by a different but fixed part of it for every slot.
    pub jitter: Duration,
}

impl Policy {
    /// How long after the failure of attempt number `attempt` the next one begins.
    pub fn backoff(&self, attempt: u32) -> Duration {
        let most = self.retry_delay.max(Duration::from_secs(3600));
        self.retry_delay.saturating_mul(1 << attempt.saturating_sub(1).min(20)).min(most)
    }
}

/// A named unit of work.
#[derive(Debug, Clone)]
pub struct Job {
    /// The file name in `jobs/`.
    pub id: JobId,
    /// One line for people.
    pub description: String,
    /// When it is due; `None`: after other jobs, or only by hand.
    pub schedule: Option<Schedule>,
    /// The jobs whose success for a slot makes it due for that slot.
    pub after: Vec<JobId>,
    /// Whether schedule and `after` are followed; a disabled job can still be started by hand.
    pub enabled: bool,
    /// How its runs are begun, limited and repeated.
    pub policy: Policy,
    /// The group whose limit of parallel runs it shares.
    pub group: Option<String>,
    /// Whom to tell what becomes of its runs.
    pub mail: JobMail,
    /// An address that is pinged after each run.
    pub heartbeat: Option<String>,
    /// What a run does.
    pub work: Work,
}

/// Whom to tell what becomes of a job's runs: recipient groups, addresses and channels. Runs started by hand are not told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobMail {
    /// When a run fails for good, also in part, or could not even start.
    pub on_failure: Vec<String>,
    /// So many slots in a row have to fail before anybody is told; at least 1.
    pub after_failures: u32,
    /// When a run succeeds after failures that were told.
    pub on_recovery: Vec<String>,
    /// When a run succeeds.
    pub on_success: Vec<String>,
    /// When a command prints something (cron's MAILTO).
    pub on_output: Vec<String>,
    /// When a slot is missed, or skipped because an earlier run goes on.
    pub on_missed: Vec<String>,
    /// When a run goes on for much longer than usual.
    pub on_slow: Vec<String>,
}

/// The kinds of work; the kind is the name of the table in the job's file.
#[derive(Debug, Clone)]
pub enum Work {
    /// `[archive]`
    Archive(ArchiveSpec),
    /// `[verify]`
    Verify(VerifySpec),
    /// `[rotate]`
    Rotate(Box<RotateSpec>),
    /// `[scan]`
    Scan(ScanSpec),
    /// `[report]`
    Report(ReportSpec),
    /// `[command]`
    Command(Box<CommandSpec>),
}

impl Work {
    /// The kind's name.
    pub fn kind(&self) -> &'static str {
        match self {
            Work::Archive(_) => "archive",
            Work::Verify(_) => "verify",
            Work::Rotate(_) => "rotate",
            Work::Scan(_) => "scan",
            Work::Report(_) => "report",
            Work::Command(_) => "command",
        }
    }
}

/// Read what is new in the sources and apply rules to it.
#[derive(Debug, Clone)]
pub struct ScanSpec {
    /// Names of sources.
    pub sources: Vec<String>,
    /// Names of rules.
    pub rules: Vec<String>,
    /// Recipient groups that get alerts; none: findings are only recorded.
    pub alert: Vec<String>,
    /// Whether it also runs as soon as a log grows.
    pub follow: bool,
    /// A plain text file to which every run appends a line.
    pub record: Option<PathBuf>,
}

/// Summarise a period by mail.
#[derive(Debug, Clone)]
pub struct ReportSpec {
    /// How long a period it covers.
    pub period: ReportKind,
    /// For whom it is written.
    pub audience: Audience,
    /// Recipient groups and addresses.
    pub to: Vec<String>,
}

words! {
    /// For whom a report is written.
    Audience {
        /// People who don't read logs: a verdict, five numbers, what to do.
        Management = "management",
        /// The same, and all that an administrator wants to look into.
        Admins = "admins",
    }
}

words! {
    /// The period of a report: whole days, up to the one before it is made.
    ReportKind {
        /// One day.
        Daily = "daily",
        /// Seven days.
        Weekly = "weekly",
        /// From the same day of the month before on: made on the first, the calendar month.
        Monthly = "monthly",
    }
}

impl ReportKind {
    /// The first day of the period that ends before `end`.
    pub fn begin(self, end: NaiveDate) -> NaiveDate {
        match self {
            Self::Daily => end - Days::new(1),
            Self::Weekly => end - Days::new(7),
            Self::Monthly => end - Months::new(1),
        }
    }
}

/// Run a program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandSpec {
    /// Program and arguments; a shell line is `/bin/sh -c LINE`.
    pub argv: Vec<String>,
    /// Working directory; `/` when absent.
    pub directory: Option<PathBuf>,
    /// Environment on top of the bare one (PATH, HOME, USER, LOGNAME, SHELL, LANG).
    pub env: BTreeMap<String, String>,
    /// A file with more of it, one `NAME=value` a line; read at every start.
    pub env_file: Option<PathBuf>,
    /// Environment whose values are the first lines of files; they are never shown, not even when printed.
    pub secrets: BTreeMap<String, PathBuf>,
    /// The account it runs as, with that account's groups; `None`: logkeeper's own.
    pub user: Option<String>,
    /// Its group instead of the account's own.
    pub group: Option<String>,
    /// The file mode creation mask.
    pub umask: Option<u32>,
    /// How far it stands back for others: -20 (first) to 19 (last).
    pub nice: Option<i32>,
    /// What each of its processes may use.
    pub limits: Limits,
    /// What it reads on standard input; nothing when absent.
    pub stdin: Option<String>,
    /// Exit codes that count as success.
    pub success_codes: Vec<i32>,
    /// How many bytes of output are kept: the first and the last half each.
    pub output_limit: usize,
}

/// What a command may use at most: each process by itself (setrlimit(2)), or where the daemon has control groups of its
/// own, everything it starts together as far as memory and processors go.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes of memory; of address space where it is a process's.
    pub memory: Option<u64>,
    /// Per cent of one processor, for everything it starts together; holds with control groups only.
    pub cpu_percent: Option<u32>,
    /// Seconds of processor time.
    pub cpu_seconds: Option<u64>,
    /// Open files.
    pub open_files: Option<u64>,
    /// Bytes of a file it writes.
    pub file_size: Option<u64>,
}
