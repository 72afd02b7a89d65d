//! Rotation: giving a log that grew another name, so that a new one begins.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, Datelike, Days, NaiveDateTime, NaiveTime, Timelike, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use super::archive::Codec;
use super::run::words;
use super::{CommandSpec, Problem};

/// Rotate logs.
#[derive(Debug, Clone)]
pub struct RotateSpec {
    /// Patterns of live logs.
    pub files: Vec<String>,
    /// Whether the records that scan jobs write are rotated as well.
    pub records: bool,
    /// How.
    pub method: Method,
    /// What rotated logs are called.
    pub names: Names,
    /// A log is rotated once in each of these; `None`: in each run.
    pub every: Option<Every>,
    /// A smaller log, in bytes, is left alone.
    pub min_size: u64,
    /// A log of at least so many bytes is rotated before its time.
    pub max_size: Option<u64>,
    /// What the new log is like.
    pub create: Create,
    /// How rotated logs are compressed once they are finished; `None`: not at all.
    pub compress: Option<Codec>,
    /// So many rotated logs stay, of each log; `None`: all.
    pub keep: Option<u32>,
    /// How old rotated logs get.
    pub max_age: Option<Duration>,
    /// Whether a log that isn't there is nothing to tell about.
    pub missing_ok: bool,
    /// Who is told that a new log begins.
    pub signal: Option<SignalSpec>,
    /// Runs before logs are rotated.
    pub before: Option<Box<CommandSpec>>,
    /// Runs once they are, so that programs open the new ones.
    pub after: Option<Box<CommandSpec>>,
    /// Whether these two run for each log, and not once for all.
    pub each: bool,
}

/// A signal to the process whose number stands in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignalSpec {
    /// Which.
    pub signal: Signal,
    /// The file.
    pub pid_file: PathBuf,
}

words! {
    /// What tells a program to open its logs again.
    Signal {
        /// SIGHUP
        Hup = "HUP",
        /// SIGUSR1
        Usr1 = "USR1",
        /// SIGUSR2
        Usr2 = "USR2",
    }
}

words! {
    /// How a log is rotated.
    Method {
        /// It gets another name; its program has to open the new log.
        Rename = "rename",
        /// It is copied and emptied, for programs that can't be told; what is written in between is lost.
        CopyTruncate = "copytruncate",
    }
}

words! {
    /// What rotated logs are called.
    Names {
        /// `NAME-20261120`, by the day for which the run was due.
        Dated = "dated",
        /// `NAME.1`; older ones move on to `.2` and so forth.
        Numbered = "numbered",
    }
}

words! {
    /// A period of the calendar.
    Every {
        /// An hour.
        Hourly = "hourly",
        /// A day.
        Daily = "daily",
        /// A week from Sunday on, as `@weekly` has it.
        Weekly = "weekly",
        /// A month.
        Monthly = "monthly",
        /// A year.
        Yearly = "yearly",
    }
}

impl Every {
    /// When the period in which an instant lies began on the wall clock of a zone.
    fn start(self, at: DateTime<Utc>, zone: Tz) -> NaiveDateTime {
        let local = at.with_timezone(&zone).naive_local();
        let day = local.date();
        let first = match self {
            Every::Hourly => return day.and_time(NaiveTime::MIN) + chrono::Duration::hours(local.hour().into()),
            Every::Daily => day,
            Every::Weekly => day - Days::new(day.weekday().num_days_from_sunday().into()),
            Every::Monthly => day - Days::new(day.day0().into()),
            Every::Yearly => day - Days::new(day.ordinal0().into()),
        };
        first.and_time(NaiveTime::MIN)
    }
}

/// What the new log is like.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Create {
    /// As the old one.
    #[default]
    Same,
    /// There is none until the program makes one.
    None,
    /// So far as said; otherwise as the old one.
    As {
        /// Permission bits.
        mode: Option<u32>,
        /// An account.
        owner: Option<String>,
        /// A group.
        group: Option<String>,
    },
}

impl FromStr for Create {
    type Err = Problem;
    fn from_str(text: &str) -> Result<Self, Problem> {
        let wrong = || {
            let message = format!("{text:?} doesn't say what a new log is like");
            let help = "write \"same\", \"none\", or mode, owner and group as in \"0640 www-data adm\"";
            Problem::new(message, "same, none, or MODE OWNER GROUP", help)
        };
        let is_mode = |word: &&str| word.len() >= 3 && word.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
        let words: Vec<&str> = text.split_whitespace().collect();
        let (mode, names) = match words.as_slice() {
            ["same"] => return Ok(Create::Same),
            ["none"] => return Ok(Create::None),
            [mode, names @ ..] if is_mode(mode) => (Some(*mode), names),
            names => (None, names),
        };
        let mode = mode.map(|mode| u32::from_str_radix(mode, 8).map_err(|_| wrong())).transpose()?;
        let (owner, group) = match names {
            [] if mode.is_some() => (None, None),
            [owner, group] => (Some((*owner).to_owned()), Some((*group).to_owned())),
            _ => return Err(wrong()),
        };
        if mode.is_some_and(|mode| mode > 0o777) { Err(wrong()) } else { Ok(Create::As { mode, owner, group }) }
    }
}

impl RotateSpec {
    /// Whether the turn of a log of that size, rotated last then, has come at an instant; if not, why.
    ///
    /// # Errors
    /// Says why it has not.
    pub fn is_due(&self, size: u64, last: Option<DateTime<Utc>>, at: DateTime<Utc>, zone: Tz) -> Result<(), String> {
        if size == 0 {
            return Err("it is empty".to_owned());
        }
        if self.max_size.is_some_and(|most| size >= most) {
            return Ok(());
        }
        if let (Some(every), Some(last)) = (self.every, last)
            && every.start(last, zone) == every.start(at, zone)
        {
            let last = last.with_timezone(&zone).format("%Y-%m-%d %H:%M");
            return Err(format!("it was rotated at {last}, and is {every}"));
        }
        if size < self.min_size {
            return Err(format!("it has {size} bytes, not yet {}", self.min_size));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn periods_are_those_of_the_calendar_in_the_jobs_zone() {
        let berlin = chrono_tz::Europe::Berlin;
        let same = |every: Every, a: &str, b: &str| every.start(at(a), berlin) == every.start(at(b), berlin);
        assert!(same(Every::Daily, "2026-11-20T23:00:00Z", "2026-11-21T22:59:59Z"));
        assert!(!same(Every::Daily, "2026-11-20T22:59:59Z", "2026-11-20T23:00:00Z"));
        assert!(same(Every::Weekly, "2026-11-14T23:00:00Z", "2026-11-21T22:59:59Z"));
        assert!(!same(Every::Weekly, "2026-11-21T22:59:59Z", "2026-11-21T23:00:00Z"));
        assert!(same(Every::Monthly, "2026-10-31T23:00:00Z", "2026-11-30T22:59:59Z"));
        assert!(!same(Every::Yearly, "2026-12-31T22:59:59Z", "2026-12-31T23:00:00Z"));
        assert!(!same(Every::Hourly, "2026-11-20T10:59:59Z", "2026-11-20T11:00:00Z"));
    }

    #[test]
    fn what_a_new_log_is_like_is_read_as_logrotate_reads_it() {
        let read = |text: &str| text.parse::<Create>().ok();
        let names = |mode| Some(Create::As { mode, owner: Some("www-data".into()), group: Some("adm".into()) });
        assert_eq!(read("same"), Some(Create::Same));
        assert_eq!(read("none"), Some(Create::None));
        assert_eq!(read("0640 www-data adm"), names(Some(0o640)));
        assert_eq!(read("www-data adm"), names(None));
        assert_eq!(read("600"), Some(Create::As { mode: Some(0o600), owner: None, group: None }));
        for wrong in ["", "www-data", "0640 www-data", "4755", "0640 a b c"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
