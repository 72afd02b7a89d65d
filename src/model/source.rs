//! Sources: named sets of logs.

use std::path::PathBuf;
use std::sync::Arc;

use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use super::Format;

/// A named set of log files: patterns, format, time zone; or the systemd journal where no file matches.
#[derive(Debug, Clone)]
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
    /// How its lines look, where that is configured; known formats are recognised in any case.
    pub format: Option<Arc<Format>>,
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
