//! Runs: one attempt at a slot, or at none when asked for by hand.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::JobId;

/// A run's number, counting up from 1.
pub type RunId = i64;

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum $name { $($(#[$vdoc])* $variant,)* }

        impl $name {
            /// The word used in the database, on the command line and in mails.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::model::Problem;
            fn from_str(text: &str) -> Result<Self, $crate::model::Problem> {
                match text {
                    $($word => Ok(Self::$variant),)*
                    _ => Err($crate::model::Problem::new(
                        format!("{text:?} is not known here"),
                        concat!("one of:" $(, " ", $word)*),
                        "use one of these words",
                    )),
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}
pub(crate) use words;

words! {
    /// Why a run began.
    Trigger {
        /// Its slot came.
        Scheduled = "scheduled",
        /// Its slot was missed and is made up for.
        CatchUp = "catch-up",
        /// The run before it failed.
        Retry = "retry",
        /// Another job has succeeded for its slot.
        After = "after",
        /// The machine was started.
        Boot = "boot",
        /// A log that the job follows has grown.
        Watch = "watch",
        /// Somebody asked for it.
        Manual = "manual",
    }
}

words! {
    /// How a run ended.
    Outcome {
        /// Everything was done.
        Succeeded = "succeeded",
        /// Some of it was done; the notes name what was not.
        Partial = "partial",
        /// It was not done.
        Failed = "failed",
        /// It was ended because it took longer than allowed.
        TimedOut = "timed-out",
        /// It could not begin.
        CouldNotStart = "could-not-start",
        /// It was not begun: another run of the job was still going on, the job was paused, or the job before it failed.
        Skipped = "skipped",
        /// logkeeper was not running when the slot came, and it is not made up for.
        Missed = "missed",
        /// logkeeper died during the run, or was ended.
        Interrupted = "interrupted",
        /// Somebody ended it.
        Cancelled = "cancelled",
    }
}

/// One instant at which a job was due. (job, epoch, instant) is unique for ever.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// Whose.
    pub job: JobId,
    /// Counts how often the machine's clock was seen to step back.
    pub epoch: i64,
    /// The due instant.
    pub instant: DateTime<Utc>,
}

impl Outcome {
    /// Whether the run began or should have, and did not do its work.
    pub fn is_failure(self) -> bool {
        matches!(self, Outcome::Failed | Outcome::TimedOut | Outcome::CouldNotStart | Outcome::Interrupted)
    }
}

words! {
    /// Where a command printed a line.
    Stream {
        /// Standard output.
        Out = "out",
        /// Standard error.
        Err = "err",
    }
}

/// A line that a command printed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputLine {
    /// Milliseconds since the command began.
    pub ms: u64,
    /// Where it came from.
    pub stream: Stream,
    /// The line without its end.
    pub text: String,
}

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Bytes gone through.
    pub done: u64,
    /// Of so many.
    pub total: u64,
}

impl Progress {
    /// The whole hundredths.
    pub fn percent(self) -> u64 {
        (u128::from(self.done) * 100).checked_div(u128::from(self.total)).map_or(0, |percent| percent as u64)
    }
}

/// What is seen of a run that goes on.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Glance {
    /// What its command printed lately.
    pub lines: Vec<OutputLine>,
    /// The number of the line that comes next.
    pub next: usize,
    /// How far it is, where that is known.
    pub progress: Option<Progress>,
}

/// A run as on record.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Run {
    /// Its number.
    pub id: RunId,
    /// The job's id.
    pub job: String,
    /// The job's kind.
    pub kind: String,
    /// Why it began.
    pub trigger: Trigger,
    /// The instant it was scheduled for; none when started by hand.
    pub slot: Option<DateTime<Utc>>,
    /// Which attempt at its slot it is, counting from 1.
    pub attempt: u32,
    /// When it was put on record.
    pub requested: DateTime<Utc>,
    /// Before which instant it does not begin: jitter, or the pause before a retry.
    pub begin: Option<DateTime<Utc>>,
    /// When its work began.
    pub started: Option<DateTime<Utc>>,
    /// When it ended.
    pub finished: Option<DateTime<Utc>>,
    /// How it ended; none while it runs.
    pub outcome: Option<Outcome>,
    /// One line: what it did.
    pub summary: String,
    /// What else somebody should know: skipped files, reasons, limits hit.
    pub notes: Vec<String>,
    /// What a command printed, within its limit.
    pub output: Vec<OutputLine>,
    /// A command's exit code.
    pub exit_code: Option<i32>,
    /// The signal that ended a command.
    pub signal: Option<i32>,
    /// Processor time of a command and all it started, in milliseconds.
    pub cpu_ms: Option<i64>,
    /// The most memory one process of a command held, in bytes; never less than the supervisor itself held when it
    /// started the command, some 8 MB, because the system counts from there (getrusage(2)).
    pub peak_bytes: Option<i64>,
}

impl Run {
    /// The word for its state: the outcome, `running` or `queued`.
    pub fn state(&self) -> &'static str {
        match (self.outcome, self.started) {
            (Some(outcome), _) => outcome.as_str(),
            (None, Some(_)) => "running",
            (None, None) => "queued",
        }
    }
}
