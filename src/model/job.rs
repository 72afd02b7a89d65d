//! Jobs: what to do, and when.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use super::{Expression, Problem};

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
}

/// A named unit of work.
#[derive(Debug, Clone)]
pub struct Job {
    /// The file name in `jobs/`.
    pub id: JobId,
    /// One line for people.
    pub description: String,
    /// When it is due; `None`: only by hand.
    pub schedule: Option<Schedule>,
    /// Whether the schedule is followed; a disabled job can still be started by hand.
    pub enabled: bool,
    /// After how long a run is ended.
    pub timeout: Duration,
    /// What a run does.
    pub work: Work,
}

/// The four kinds of work; the kind is the name of the table in the job's file.
#[derive(Debug, Clone)]
pub enum Work {
    /// `[archive]`
    Archive(ArchiveSpec),
    /// `[scan]`
    Scan(ScanSpec),
    /// `[report]`
    Report(ReportSpec),
    /// `[command]`
    Command(CommandSpec),
}

impl Work {
    /// The kind's name.
    pub fn kind(&self) -> &'static str {
        match self {
            Work::Archive(_) => "archive",
            Work::Scan(_) => "scan",
            Work::Report(_) => "report",
            Work::Command(_) => "command",
        }
    }
}

/// Collect rotated logs into verified archives.
#[derive(Debug, Clone)]
pub struct ArchiveSpec {
    /// Names of sources.
    pub sources: Vec<String>,
    /// The folder that receives the archives.
    pub store: PathBuf,
    /// Whether originals are removed once their archive is verified and recorded.
    pub remove_originals: bool,
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
    /// A plain text file to which every run appends a line.
    pub record: Option<PathBuf>,
}

/// Summarise a period by mail.
#[derive(Debug, Clone)]
pub struct ReportSpec {
    /// How long a period it covers.
    pub period: ReportKind,
    /// Recipient groups.
    pub to: Vec<String>,
}

/// The period of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReportKind {
    /// The seven whole days before the day it is made.
    Weekly,
}

impl ReportKind {
    /// The name used in configuration and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            ReportKind::Weekly => "weekly",
        }
    }

    /// The length of the period in whole days.
    pub fn days(self) -> u64 {
        match self {
            ReportKind::Weekly => 7,
        }
    }
}

impl FromStr for ReportKind {
    type Err = Problem;
    fn from_str(text: &str) -> Result<Self, Problem> {
        match text {
            "weekly" => Ok(ReportKind::Weekly),
            _ => Err(Problem::new(format!("{text:?} is not a report"), "one of: weekly", "write \"weekly\"")),
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
    /// Environment on top of the bare one (PATH, HOME, SHELL, LANG).
    pub env: std::collections::BTreeMap<String, String>,
    /// How many bytes of output are kept: the first and the last half each.
    pub output_limit: usize,
}
