//! Which logs are access logs. Where one is read, its answers 401 are the failed logins that the same server's error log tells
//! of, too: one failure is counted once, by the log that tells of all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::logs::{Lines, MAX_LINE, split};
use crate::model::{Action, Category, Formats};
use crate::parse::{AutoParser, Context, YearRule};

/// Whether a log is an access log. The first line decides that is a request, or a failed login, or of no web server, so that what
/// is written later changes nothing. None where no line of the first block is any of these, or the file can't be read.
pub fn is_access_log(path: &Path, formats: &Formats) -> Option<bool> {
    let mut lines = Lines::open(path).ok()?;
    // Zone and year are no part of the answer.
    let context = Context { zone: chrono_tz::UTC, year: YearRule::Before(lines.identity.modified()) };
    let mut parser = AutoParser::new(context, formats).named(path);
    let lines = split(lines.next_block()?).filter(|line| line.len() <= MAX_LINE);
    // Headers begin with a "#".
    let mut events = lines.filter_map(|line| parser.parse(line).filter(|_| !line.starts_with(b"#")));
    events.find_map(|event| match (event.action, event.category) {
        (Action::Request { .. }, _) => Some(true),
        (Action::LoginFailed { .. }, _) => Some(false),
        (_, Category::Access | Category::Error | Category::Unknown) => None,
        (_, Category::Auth | Category::System) => Some(false),
    })
}

/// How many access logs are read of each host.
#[derive(Debug, Default)]
pub struct AccessLogs(BTreeMap<String, usize>);

impl AccessLogs {
    /// An access log of this host is read.
    pub fn add(&mut self, host: &str) {
        *self.0.entry(host.to_owned()).or_default() += 1;
    }

    /// Whether an access log of this host is read besides the log in question, which may be one itself.
    pub fn any_besides(&self, is_one: bool, host: &str) -> bool {
        self.0.get(host).is_some_and(|logs| *logs > usize::from(is_one))
    }
}

/// The hosts whose requests stand among the other lines of a log, as in a syslog: what else it says of failed logins is left to those
/// requests.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct RequestHosts {
    /// Whether there are requests that don't say of which host they are.
    unnamed: bool,
    named: BTreeSet<String>,
}

impl RequestHosts {
    /// Of more hosts than this nothing is remembered.
    const MOST: usize = 1000;

    /// A request of this host was read.
    pub fn add(&mut self, host: &[u8]) {
        if host.is_empty() {
            self.unnamed = true;
        } else if !self.holds(host) && self.named.len() < Self::MOST {
            self.named.extend(std::str::from_utf8(host).map(str::to_owned));
        }
    }

    /// Whether a request of this host was read.
    pub fn holds(&self, host: &[u8]) -> bool {
        if host.is_empty() {
            self.unnamed
        } else {
            std::str::from_utf8(host).is_ok_and(|host| self.named.contains(host))
        }
    }

    /// Whether there was none.
    pub fn is_empty(&self) -> bool {
        !self.unnamed && self.named.is_empty()
    }
}
