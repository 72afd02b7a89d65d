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
            let is_it =
                |path: &[u8]| self.paths.iter().any(|login| path == login.as_bytes() || names_same(path, login));
            event.path().is_some_and(is_it)
        };
        !self.paths.is_empty()
            && self.failed.iter().any(|class| class.holds(status))
            && (event.is_post || event.request.starts_with(b"POST "))
            && is_login()
    }
}

/// Whether a web server takes two paths for the same, which may be written with several slashes, dots and percent signs (RFC 3986 6.2.2),
/// and with parameters behind a semicolon (3.3), as `;jsessionid=1`.
fn names_same(path: &[u8], other: &str) -> bool {
    plain_path(path) == plain_path(other.as_bytes())
}

fn plain_path(path: &[u8]) -> Vec<u8> {
    let (mut decoded, mut rest) = (Vec::with_capacity(path.len()), path);
    while let Some((byte, after)) = rest.split_first() {
        let coded =
            after.first_chunk::<2>().filter(|_| *byte == b'%').and_then(|digits| std::str::from_utf8(digits).ok());
        let coded =
            coded.filter(|digits| !digits.starts_with('+')).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        decoded.push(coded.unwrap_or(*byte));
        rest = if coded.is_some() { &after[2..] } else { after };
    }
    let mut names: Vec<&[u8]> = Vec::new();
    for name in decoded.split(|byte| *byte == b'/') {
        match name.split(|byte| *byte == b';').next().unwrap_or_default() {
            b"" | b"." => {}
            b".." => drop(names.pop()),
            name => names.push(name),
        }
    }
    names.join(&b'/')
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
