//! Findings: what a rule reported.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::run::words;

words! {
    /// How much a finding matters.
    Severity {
        /// Good to know.
        Low = "low",
        /// Look at it this week.
        Medium = "medium",
        /// Look at it today.
        High = "high",
        /// Look at it now.
        Critical = "critical",
    }
}

words! {
    /// What a finding counted.
    Counted {
        /// Failed logins, each attempt once.
        FailedLogins = "failed logins",
        /// Successful logins.
        Logins = "logins",
        /// Connections without an attempt to log in.
        Probes = "probes",
        /// Accounts locked because of failed logins.
        Lockouts = "lockouts",
        /// Logs that somebody emptied.
        ClearedLogs = "cleared logs",
        /// Lines of level `error` and worse.
        Errors = "errors",
        /// Lines that triage calls urgent.
        UrgentLines = "urgent lines",
        /// A web server's answers.
        Answers = "answers",
        /// Lines of a log.
        Lines = "lines",
        /// Different accounts.
        Accounts = "accounts",
        /// Different addresses.
        Addresses = "addresses",
        /// Different networks.
        Networks = "networks",
        /// Different hosts.
        Hosts = "hosts",
        /// Different paths on a web server.
        Paths = "paths",
        /// Different kinds of logs.
        Kinds = "kinds of logs",
        /// Somebody or something that was never seen before.
        Newcomers = "newcomer",
        /// Minutes without a line.
        QuietMinutes = "minutes without a line",
    }
}

impl Counted {
    /// The word for so many of them.
    pub fn word(self, n: u64) -> &'static str {
        match self {
            Self::Newcomers => "newcomer",
            _ if n != 1 => self.as_str(),
            Self::Addresses => "address",
            Self::Kinds => "kind of logs",
            Self::QuietMinutes => "minute without a line",
            _ => self.as_str().strip_suffix('s').unwrap_or(self.as_str()),
        }
    }
}

/// Whom or what a finding is about: ECS field name to value, as `source.ip` to `203.0.113.7`.
pub type Subject = BTreeMap<String, String>;

/// The file of a line that came from the journal, which has no numbers.
pub const JOURNAL: &str = "journal";

/// A line that shows what a finding rests on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// The file, or [`JOURNAL`].
    pub file: Arc<str>,
    /// The line's number in the file, counting from 1; 0 where it has none.
    pub line: u64,
    /// The line, printable and cut.
    pub text: String,
}

impl Evidence {
    /// Where it stands, as `FILE:LINE`.
    pub fn place(&self) -> String {
        if self.line == 0 { self.file.to_string() } else { format!("{}:{}", self.file, self.line) }
    }
}

/// A successful login from an address after its failures crossed the threshold: attempts became a success.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Breach {
    /// When, seconds since 1970 UTC.
    pub time: i64,
    /// The account.
    pub user: String,
    /// The logins of further accounts that had been guessed at as well, in the order of time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<Login>,
}

/// A login.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Login {
    /// When, seconds since 1970 UTC.
    pub time: i64,
    /// The account.
    pub user: String,
}

impl Breach {
    /// How many further accounts are known at most.
    pub const MOST_OTHERS: usize = 100;

    /// How many further accounts are named at most.
    pub const NAMED: usize = 8;

    /// That of these logins, the first of each account; none of none.
    pub fn of(logins: impl Iterator<Item = Login>) -> Option<Self> {
        let mut known: Vec<Login> = Vec::new();
        for login in logins {
            if known.len() <= Self::MOST_OTHERS && known.iter().all(|known| known.user != login.user) {
                known.push(login);
            }
        }
        let first = known.first()?.clone();
        Some(Self { time: first.time, user: first.user, others: known.split_off(1) })
    }

    /// All accounts that got in.
    pub fn accounts(&self) -> impl Iterator<Item = &str> {
        [&self.user].into_iter().chain(self.others.iter().map(|login| &login.user)).map(String::as_str)
    }
}

/// What a rule reported. Times are seconds since 1970 UTC, as the log tells them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The rule's name.
    pub rule: String,
    /// How much it matters.
    pub severity: Severity,
    /// Whom or what it is about.
    pub subject: Subject,
    /// How many it counted, and what.
    pub count: u64,
    /// What it counted.
    pub counted: Counted,
    /// The first event.
    pub first: i64,
    /// The last event.
    pub last: i64,
    /// The event with which the threshold was first met.
    pub reached: i64,
    /// The success that followed, the first by an account that had failed or else the first; only for sequences and for rules that count
    /// failed logins by address.
    pub breach: Option<Breach>,
    /// What makes it unusual, in words for people; none where the count says it all.
    pub note: Option<String>,
    /// Whether it can wait for the next report, so that nobody is told at once.
    pub can_wait: bool,
    /// A few of the lines, and last that of the success that followed.
    pub evidence: Vec<Evidence>,
    /// Whether it can still grow or change as further lines come.
    pub open: bool,
}

impl Finding {
    /// The logins that followed, the first one first.
    pub fn logins(&self) -> impl Iterator<Item = Login> {
        let of = |breach: &Breach| Login { time: breach.time, user: breach.user.clone() };
        let others = self.breach.iter().flat_map(|breach| breach.others.iter().cloned());
        self.breach.as_ref().map(of).into_iter().chain(others)
    }

    /// What is remarkable about it in a few words, if anything is. The account is as the log has it.
    pub fn remark(&self) -> String {
        match (&self.breach, &self.note) {
            (Some(breach), _) => format!("got in as {}", breach.accounts().collect::<Vec<_>>().join(", ")),
            (None, note) => note.clone().unwrap_or_default(),
        }
    }

    /// The subject in one line for people: `203.0.113.7`, `account root`, `status 404`.
    pub fn subject_words(&self) -> String {
        let word = |(field, value): (&String, &String)| match field.as_str() {
            "source.ip" | "source.domain" => value.clone(),
            "user.name" => format!("account {value}"),
            "source.network" => format!("network {value}"),
            "host.name" => format!("host {value}"),
            "url.path" => format!("path {value}"),
            "http.status" => format!("status {value}"),
            "log.kind" => format!("{value} lines"),
            "event.dataset" => format!("source {value}"),
            "keyword" => format!("\"{value}\""),
            _ => format!("{field} {value}"),
        };
        self.subject.iter().map(word).collect::<Vec<_>>().join(", ")
    }
}

/// A finding on record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredFinding {
    /// Its number.
    pub id: i64,
    /// The job that found it.
    pub job: String,
    /// The run that found it first.
    pub run: i64,
    /// When somebody was told, seconds since 1970 UTC.
    pub alerted: Option<i64>,
    /// When further lines disproved what somebody was told, seconds since 1970 UTC.
    #[serde(default)]
    pub withdrawn: Option<i64>,
    /// The finding.
    #[serde(flatten)]
    pub finding: Finding,
}
