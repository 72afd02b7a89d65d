//! Which logs are access logs. Where one is read, its answers 401 are the failed logins that the same server's error log tells
//! of, too: one failure is counted once, by the log that tells of all of them.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::logs::{Lines, MAX_LINE, split};
use crate::model::peer::parse_ip;
use crate::model::{Action, Category, Formats};
use crate::parse::{AutoParser, Context, YearRule};

/// Whether a log is an access log. The first line decides that is a request, or a failed login, or of no web server, so that what
/// is written later changes nothing. None where no line of the first block is any of these, or the file can't be read.
pub fn is_access_log(path: &Path, formats: &Formats) -> Option<bool> {
    let mut lines = Lines::open(path).ok()?;
    // Zone and year are no part of the answer.
    let context = Context { zone: chrono_tz::UTC, year: YearRule::Before(lines.identity.modified()) };
    let mut parser = AutoParser::new(context, formats).named(path);
    let mut lines = split(lines.next_block()?).filter(|line| line.len() <= MAX_LINE);
    lines.find_map(|line| {
        // Headers begin with a "#".
        let event = parser.parse(line).filter(|_| !line.starts_with(b"#"))?;
        match (event.action, event.category) {
            // Where a server writes JSON to syslog, other programs may write there, too.
            (Action::Request { .. }, _) => (!parser.is_in_json()).then_some(true),
            (Action::LoginFailed { .. }, _) => Some(false),
            (_, Category::Access | Category::Error | Category::Unknown) => None,
            (_, Category::Auth | Category::System) => Some(false),
        }
    })
}

/// How many access logs are read of each host.
#[derive(Debug, Default)]
pub struct AccessLogs {
    /// This machine's name, of which are the logs whose paths tell no host.
    own: String,
    by_host: BTreeMap<String, usize>,
}

impl AccessLogs {
    /// None yet, on the machine of that name.
    pub fn on(own: &str) -> Self {
        Self { own: own.to_owned(), by_host: BTreeMap::new() }
    }

    /// An access log of this host is read; of this machine where it is empty.
    pub fn add(&mut self, host: &str) {
        *self.by_host.entry(host.to_owned()).or_default() += 1;
    }

    /// Whether an access log of this host is read besides the log in question, which may be one itself.
    pub fn any_besides(&self, is_one: bool, host: &str) -> bool {
        self.by_host.get(host).is_some_and(|logs| *logs > usize::from(is_one))
    }

    /// Whether an access log is read of a host as lines name it, with or without its domain.
    pub fn any_of(&self, named: &[u8]) -> bool {
        let is_it = |host: &String| {
            let host = if host.is_empty() { &self.own } else { host };
            label(host.as_bytes()).eq_ignore_ascii_case(label(named))
        };
        self.by_host.keys().any(is_it)
    }
}

/// A host's name without its domain.
fn label(name: &[u8]) -> &[u8] {
    if parse_ip(name).is_some() { name } else { name.split(|byte| *byte == b'.').next().unwrap_or(name) }
}

/// The hosts whose requests stand among the other lines of a log, as in a syslog, each with the time of the latest one: what else the
/// log says of failed logins is left to those requests.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct RequestHosts {
    /// Of requests that don't say of which host they are.
    unnamed: Option<i64>,
    named: BTreeMap<String, i64>,
}

impl RequestHosts {
    /// Of more hosts than this, and of longer names, nothing is remembered.
    const MOST: usize = 1000;
    const LONGEST: usize = 255;

    /// For how long after its last request, in seconds, a host is believed to write requests.
    const WRITTEN: i64 = 24 * 60 * 60;

    /// A request of this host was read. Tells whether there was none within a day before.
    #[inline]
    pub fn add(&mut self, host: &[u8], time: i64) -> bool {
        if !host.is_empty() {
            return self.add_named(host, time);
        }
        match &mut self.unnamed {
            Some(latest) => Self::follow(latest, time),
            None => self.unnamed.replace(time).is_none(),
        }
    }

    fn add_named(&mut self, host: &[u8], time: i64) -> bool {
        let Ok(host) = std::str::from_utf8(host) else { return false };
        if let Some(latest) = self.named.get_mut(host) {
            return Self::follow(latest, time);
        }
        let has_room = self.named.len() < Self::MOST && host.len() <= Self::LONGEST;
        has_room && self.named.insert(host.to_owned(), time).is_none()
    }

    /// Goes on from the latest request to this one; tells whether the pause was long.
    fn follow(latest: &mut i64, time: i64) -> bool {
        let is_first = latest.saturating_add(Self::WRITTEN) < time;
        *latest = time.max(*latest);
        is_first
    }

    /// Forgets those whose last request is too long ago.
    pub fn forget(&mut self, now: i64) {
        self.named.retain(|_, latest| latest.saturating_add(Self::WRITTEN) >= now);
    }

    /// Whether a request of this host was read, at most a day before that time.
    pub fn holds(&self, host: &[u8], time: i64) -> bool {
        let latest = match std::str::from_utf8(host) {
            Ok("") => self.unnamed,
            Ok(host) => self.named.get(host).copied(),
            Err(_) => None,
        };
        latest.is_some_and(|latest| latest.saturating_add(Self::WRITTEN) >= time)
    }

    /// Whether there was none.
    pub fn is_empty(&self) -> bool {
        self.unnamed.is_none() && self.named.is_empty()
    }
}
