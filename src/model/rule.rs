//! Rules: detections as configured.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::{Problem, Severity};

/// A detection as configured in `config/rules/NAME.toml`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The file name without `.toml`.
    pub name: String,
    /// How much its findings matter.
    pub severity: Severity,
    /// What a finding means, in a sentence.
    pub meaning: String,
    /// What to do about it, in a sentence.
    pub advice: String,
    /// How long the same subject is not alerted about again.
    pub cooldown: Duration,
    /// After how long a quiet time further events make a new finding instead of growing the old one.
    pub merge: Duration,
    /// What is looked for; the kind is the name of the table in the file.
    pub kind: RuleKind,
}

/// The kinds of rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RuleKind {
    /// `[count]`: failed logins of one subject in a sliding window.
    Count {
        /// What makes a subject: one value of each of these fields.
        by: Vec<Field>,
        /// How many.
        threshold: u32,
        /// Within how long, both ends included.
        window: Duration,
    },
    /// `[spike]`: answers with an error status in one clock minute.
    Spike {
        /// The statuses counted, each by itself.
        statuses: Vec<StatusClass>,
        /// How many in a minute.
        threshold: u32,
    },
    /// `[pattern]`: lines that hold a text or match a regular expression.
    Pattern {
        /// What is looked for.
        needle: Needle,
        /// How many lines.
        threshold: u32,
        /// Within how long, both ends included.
        window: Duration,
    },
}

/// What a `[pattern]` looks for in a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Needle {
    /// This text, byte for byte.
    Text(String),
    /// A match of this regular expression (syntax of the regex crate).
    Regex(String),
}

impl Needle {
    /// The text or the expression, as written.
    pub fn as_str(&self) -> &str {
        match self {
            Needle::Text(text) | Needle::Regex(text) => text,
        }
    }
}

/// A field by which events are grouped, named as in the Elastic Common Schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// `source.ip`: the address, or the host name where the log has only that.
    SourceIp,
    /// `source.network`: the /24 of an IPv4 address, the /64 of an IPv6 address.
    SourceNetwork,
    /// `user.name`: the account.
    UserName,
    /// `host.name`: the host that wrote the line.
    HostName,
    /// `url.path`: the path that was asked for, without what follows a `?`.
    UrlPath,
}

impl FromStr for Field {
    type Err = Problem;
    fn from_str(text: &str) -> Result<Self, Problem> {
        match text {
            "source.ip" => Ok(Field::SourceIp),
            "source.network" => Ok(Field::SourceNetwork),
            "user.name" => Ok(Field::UserName),
            "host.name" => Ok(Field::HostName),
            "url.path" => Ok(Field::UrlPath),
            _ => {
                let message = format!("{text:?} is not a field to group by");
                let known = "one of: source.ip source.network user.name host.name url.path";
                Err(Problem::new(message, known, "write for example by = \"source.ip\", or a list of several"))
            }
        }
    }
}

/// One HTTP status, or all of a hundred as in `5xx`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StatusClass {
    low: u16,
    high: u16,
}

impl StatusClass {
    /// Whether a status belongs to it.
    pub fn holds(self, status: u16) -> bool {
        (self.low..=self.high).contains(&status)
    }
}

impl FromStr for StatusClass {
    type Err = Problem;
    fn from_str(text: &str) -> Result<Self, Problem> {
        let bytes = text.as_bytes();
        let class = match bytes {
            [hundred @ b'1'..=b'5', b'x', b'x'] => Some(u16::from(hundred - b'0') * 100).map(|low| (low, low + 99)),
            _ => text.parse::<u16>().ok().filter(|status| (100..600).contains(status)).map(|status| (status, status)),
        };
        class.map(|(low, high)| Self { low, high }).ok_or_else(|| {
            let message = format!("{text:?} is not an HTTP status");
            Problem::new(message, "100 to 599, or 4xx, 5xx", "write for example \"404\" or \"5xx\"")
        })
    }
}

impl fmt::Display for StatusClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.low == self.high { write!(f, "{}", self.low) } else { write!(f, "{}xx", self.low / 100) }
    }
}
