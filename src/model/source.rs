//! Sources: named sets of logs.

use std::path::{Path, PathBuf};

use chrono_tz::Tz;
use regex::Regex;
use serde::{Deserialize, Serialize};

use super::{Event, Formats, StatusClass};

/// A named set of log files: patterns, format, time zone; or the systemd journal where no file matches.
#[derive(Debug, Clone, Default)]
pub struct Source {
    /// The name of its table in the configuration.
    pub name: String,
    /// Glob patterns of the live files; rotated siblings are found by name.
    pub files: Vec<String>,
    /// Syslog identifiers to read from the systemd journal when no file matches.
    pub journal: Vec<String>,
    /// Where the journal's files are; the machine's own when absent.
    pub journal_folder: Option<PathBuf>,
    /// The zone of stamps without one.
    pub zone: Tz,
    /// What its lines may look like.
    pub formats: Formats,
    /// What of a file's path is the host that wrote it, for lines that don't say so: the first group.
    pub host_pattern: Option<Regex>,
    /// What a failed login looks like in its access logs.
    pub web_logins: WebLogins,
}

impl Source {
    /// The host whose log this file is, as far as its path tells.
    pub fn host_of(&self, file: &Path) -> String {
        let path = file.to_string_lossy();
        let found = self.host_pattern.as_ref().and_then(|pattern| pattern.captures(&path)?.get(1));
        found.map(|host| host.as_str().to_owned()).unwrap_or_default()
    }
}

/// What a failed login looks like to a web server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WebLogins {
    /// Whether an answer 401 to somebody who gave no name is none: browsers ask once without it. Sites where people log in by a
    /// form or an API never see a name, so by default it is one.
    pub ignore_challenges: bool,
    /// Paths to which a form is sent (POST) to log in.
    pub paths: Vec<String>,
    /// The answers there that tell of a failure.
    pub failed: Vec<StatusClass>,
}

impl WebLogins {
    /// Whether some request with this answer is a failed login.
    pub fn may_be_failure(&self, status: u16) -> bool {
        status == 401 || !self.paths.is_empty() && self.failed.iter().any(|class| class.holds(status))
    }

    /// Whether a request with this answer was a failed login.
    pub fn is_failure(&self, event: &Event<'_>, status: u16) -> bool {
        if status == 401 {
            return !(event.is_challenge || self.ignore_challenges && event.user.is_none());
        }
        let is_login = || {
            let path = event.path();
            self.paths.iter().any(|login| path == Some(login.as_bytes()))
        };
        !self.paths.is_empty()
            && self.failed.iter().any(|class| class.holds(status))
            && (event.is_post || event.request.starts_with(b"POST "))
            && is_login()
    }
}

/// What tells one file from another, and one state of it from the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Device number.
    pub device: u64,
    /// Inode number.
    pub inode: u64,
    /// Size in bytes as stored.
    pub size: u64,
    /// Last modification, nanoseconds since 1970 UTC.
    pub modified_ns: i64,
}

impl Identity {
    /// Last modification, seconds since 1970 UTC.
    pub fn modified(&self) -> i64 {
        self.modified_ns.div_euclid(1_000_000_000)
    }
}
